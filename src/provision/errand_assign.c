/*
 * ASSIGN: a device that waits is given to its hub (iot-hub.md section 8).
 *
 *   new at the hub           create
 *   again at the same hub    read -> update with the new key, on condition of the etag; a device
 *                            without a TPM has its own keys and is left alone; absent: create
 *   moves, data carried      read the old hub -> create on the new one -> (LEAVE: delete on the
 * old) moves, data reset        create with the initial twin -> (LEAVE) moves to a hub of ours read
 * the old hub -> one transaction: identity and outcome
 *
 * What a create finds there already is read and updated: an earlier try's, or a stranger's.
 */
#include <string.h>

#include "base/codec.h"
#include "provision/errand.h"

static const struct lk_hub_link *
remote(const struct lk_errand_try *t)
{
    return &t->p->config.remote;
}

static bool
moves(const struct lk_errand_try *t)
{
    return t->record.hub[0] != '\0' && strcmp(t->record.hub, t->body.hub) != 0;
}

/* It has been on this hub under this name. */
static bool
comes_again(const struct lk_errand_try *t)
{
    return strcmp(t->record.hub, t->body.hub) == 0 &&
           strcmp(t->record.device_id, t->body.device_id) == 0;
}

/* A step that did not succeed. What a hub will never take ends the errand. */
static void
step_fail(struct lk_errand_try *t, const struct lk_hub_answer *a)
{
    if (a->err == LK_ERR_UNSUPPORTED) {
        lk_errand_give_up(t, LK_DPS_HUB_REFUSED, "The hub does not take the device", a->detail);
    } else {
        lk_errand_postpone(t, a->err, a->retry_after_s, a->detail);
    }
}

/* True when the try ends here because the service stops. */
static bool
stops(struct lk_errand_try *t)
{
    if (!lk_errands_stopping(t->p->errands)) {
        return false;
    }
    lk_errand_postpone(t, LK_ERR_CANCELLED, 0, "the service is stopping");
    return true;
}

/* ---- the new hub -------------------------------------------------------------------------------
 */

static bool
is_present_key(const struct lk_errand_try *t)
{
    const struct lk_shared_key *key = &t->body.keys.primary;

    return t->present.keys_len[0] == key->len &&
           lk_ct_equal(t->present.keys[0], key->data, key->len);
}

/* The hub's primary key is one that no device was told. */
static bool
is_untold(const struct lk_errand_try *t)
{
    const struct lk_part key = LK_PART(t->present.keys[0], t->present.keys_len[0]);
    uint8_t digest[32];

    if (lk_digest(LK_SHA256, &key, 1, digest) != LK_OK) {
        return false;
    }
    for (size_t i = 0; i < t->body.untold_count; i++) {
        if (lk_ct_equal(digest, t->body.untold[i], sizeof(digest))) {
            return true;
        }
    }
    return false;
}

/*
 * The identity as it shall be; thumbprint is where its text goes. A slot that is left empty is for
 * a hub to fill, or to leave as it was: a device without a second key gets one that nobody knows.
 */
static enum lk_err
identity_make(struct lk_errand_try *t, struct lk_buf *thumbprint, struct lk_hub_identity *ret)
{
    const struct lk_errand_body *b = &t->body;
    enum lk_err err;

    *ret = (struct lk_hub_identity){.device_id = b->device_id, .iot_edge = b->iot_edge};
    if (b->has_thumbprint) {
        if ((err = lk_hex_encode(b->thumbprint, sizeof(b->thumbprint), thumbprint)) != LK_OK) {
            return err;
        }
        ret->thumbprint = lk_buf_text(thumbprint);
        return ret->thumbprint == NULL ? LK_ERR_NOMEM : LK_OK;
    }
    ret->keys[0] = b->keys.primary.data;
    ret->keys_len[0] = b->keys.primary.len;
    ret->keys[1] = b->keys.secondary.data;
    ret->keys_len[1] = b->keys.secondary.len;
    if (ret->keys_len[1] == 0) {
        ret->keys[1] = t->filler;
        ret->keys_len[1] = sizeof(t->filler);
        return lk_rand_fill(t->p->config.rnd, t->filler, sizeof(t->filler));
    }
    return LK_OK;
}

static void
twin_merged(void *arg, struct lk_hub_answer *a)
{
    if (a->err == LK_OK) {
        lk_errand_outcome(arg);
    } else {
        step_fail(arg, a);
    }
}

/* What the device brings along goes over what a leftover of it has there. */
static void
updated_next(struct lk_errand_try *t)
{
    const char *twin = t->carried.found && t->carried.twin.len > 0 && t->unknown_key
                           ? lk_buf_text(&t->carried.twin)
                           : NULL;

    if (twin == NULL) {
        lk_errand_outcome(t);
    } else if (!stops(t)) {
        remote(t)->ops->twin_merge(remote(t)->ctx, &t->hub, t->body.device_id, twin, twin_merged,
                                   t);
    }
}

static void
updated(void *arg, struct lk_hub_answer *a)
{
    struct lk_errand_try *t = arg;

    if (a->err == LK_OK) {
        updated_next(t);
        return;
    }
    if (a->err == LK_ERR_NOT_FOUND) {
        a->err = LK_ERR_PRECONDITION; /* gone since it was read */
    }
    step_fail(t, a);
}

/* The old key stays as the secondary one, for a device that loses the answer. */
static void
update_step(struct lk_errand_try *t)
{
    LK_AUTO_BUF struct lk_buf thumbprint = LK_BUF_INIT;
    struct lk_hub_identity id;
    enum lk_err err = identity_make(t, &thumbprint, &id);
    size_t old = is_untold(t) ? 1 : 0;

    if (err != LK_OK) {
        lk_errand_postpone(t, err, 0, "the identity could not be made");
        return;
    }
    if (t->body.keep_old_key && comes_again(t) && id.thumbprint == NULL &&
        t->present.keys_len[old] > 0) {
        id.keys[1] = t->present.keys[old];
        id.keys_len[1] = t->present.keys_len[old];
    }
    if (!stops(t)) {
        remote(t)->ops->update(remote(t)->ctx, &t->hub, &t->present, &id, updated, t);
    }
}

static bool
has_thumbprint(const struct lk_errand_try *t)
{
    LK_AUTO_BUF struct lk_buf hex = LK_BUF_INIT;
    const char *own = lk_hex_encode(t->body.thumbprint, sizeof(t->body.thumbprint), &hex) == LK_OK
                          ? lk_buf_text(&hex)
                          : NULL;

    for (size_t i = 0; own != NULL && i < LK_ARRAY_LEN(t->present.thumbprints); i++) {
        const char *there = t->present.thumbprints[i];

        if (lk_ascii_caseeq(there, strlen(there), own, strlen(own))) {
            return true;
        }
    }
    return false;
}

/* Whether the identity that is there can stay as it is. */
static bool
is_as_it_should_be(const struct lk_errand_try *t)
{
    if (t->body.has_thumbprint) {
        return has_thumbprint(t);
    }
    return is_present_key(t) || (comes_again(t) && !lk_attestation_is_tpm(t->record.attestation) &&
                                 t->present.keys_len[0] > 0);
}

static void create_step(struct lk_errand_try *t);

static void
present_judge(struct lk_errand_try *t)
{
    bool own = is_present_key(t) && !t->body.has_thumbprint;

    /* A device that is new, and there with the very key: an earlier try made it. */
    t->existed = comes_again(t) || !own;
    t->unknown_key = !own;
    if (t->body.must_be_new && !own && !is_untold(t)) {
        lk_errand_give_up(t, LK_DPS_HUB_REFUSED, LK_NAME_TAKEN, "");
    } else if (is_as_it_should_be(t)) {
        updated_next(t);
    } else {
        lk_errand_recheck(t, update_step);
    }
}

/* After a create that found it there. */
static void
present_read_again(void *arg, struct lk_hub_answer *a)
{
    struct lk_errand_try *t = arg;

    if (a->err == LK_OK && !a->snapshot->found) {
        a->err = LK_ERR_PRECONDITION;
        a->detail = "the device came and went";
    }
    if (a->err != LK_OK) {
        step_fail(t, a);
        return;
    }
    t->present = *a->snapshot;
    *a->snapshot = (struct lk_hub_snapshot){.found = false};
    present_judge(t);
}

static void
present_read(void *arg, struct lk_hub_answer *a)
{
    struct lk_errand_try *t = arg;

    if (a->err == LK_OK && !a->snapshot->found) {
        create_step(t);
        return;
    }
    present_read_again(t, a);
}

static void
created(void *arg, struct lk_hub_answer *a)
{
    struct lk_errand_try *t = arg;

    if (a->err == LK_OK) {
        lk_errand_outcome(t);
    } else if (a->err != LK_ERR_EXISTS) {
        step_fail(t, a);
    } else if (!stops(t)) {
        remote(t)->ops->read(remote(t)->ctx, &t->hub, t->body.device_id, false, present_read_again,
                             t);
    }
}

static void
create_step(struct lk_errand_try *t)
{
    LK_AUTO_BUF struct lk_buf thumbprint = LK_BUF_INIT;
    struct lk_buf *twin = t->carried.found ? &t->carried.twin : &t->body.initial_twin;
    struct lk_hub_identity id;
    enum lk_err err = identity_make(t, &thumbprint, &id);

    if (err != LK_OK || (twin->len > 0 && lk_buf_text(twin) == NULL)) {
        lk_errand_postpone(t, err != LK_OK ? err : LK_ERR_NOMEM, 0,
                           "the identity could not be made");
        return;
    }
    id.twin = twin->len > 0 ? lk_buf_text(twin) : NULL;
    if (t->carried.found) {
        id.iot_edge = t->carried.iot_edge;
    }
    if (!stops(t)) {
        remote(t)->ops->create(remote(t)->ctx, &t->hub, &id, created, t);
    }
}

static void
target_step(struct lk_errand_try *t)
{
    if (lk_errand_target_is_ours(t)) {
        lk_errand_outcome(t);
    } else if (!comes_again(t)) {
        create_step(t);
    } else if (!stops(t)) {
        remote(t)->ops->read(remote(t)->ctx, &t->hub, t->body.device_id, false, present_read, t);
    }
}

/* ---- the old hub -------------------------------------------------------------------------------
 */

static void
old_read(void *arg, struct lk_hub_answer *a)
{
    struct lk_errand_try *t = arg;

    if (a->err != LK_OK) {
        step_fail(t, a);
        return;
    }
    t->carried = *a->snapshot;
    *a->snapshot = (struct lk_hub_snapshot){.found = false};
    target_step(t);
}

static void
old_step(struct lk_errand_try *t)
{
    if (!moves(t) || !t->body.migrate || t->old_hub.kind != LK_HUB_HTTP) {
        target_step(t);
        return;
    }
    if (strcmp(t->old_hub.name, t->errand.hub) != 0) {
        t->old_reserved = remote(t)->ops->reserve(remote(t)->ctx, t->old_hub.name, 1) == 1;
        if (!t->old_reserved) {
            lk_errand_postpone(t, LK_ERR_BUSY, 0, "the hub that the device leaves is not there");
            return;
        }
    }
    remote(t)->ops->read(remote(t)->ctx, &t->old_hub, t->record.device_id, true, old_read, t);
}

/* ---- the beginning -----------------------------------------------------------------------------
 */

static enum lk_err
hub_get(struct lk_txn *tx, const char *name, struct lk_hub *ret)
{
    enum lk_err err = name[0] == '\0' ? LK_OK : lk_txn_hub_get(tx, name, ret);

    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* An enrollment that was disabled or deleted meanwhile gives nobody a hub. */
static enum lk_err
enrollment_judge(struct lk_txn *tx, struct lk_errand_try *t)
{
    const struct lk_registration *r = &t->record;
    struct lk_enrollment e;
    enum lk_err err;

    lk_enrollment_init(&e);
    err = lk_txn_enrollment_get(tx, r->scope, r->id, &e);
    if (err == LK_ERR_NOT_FOUND && r->group[0] != '\0') {
        err = lk_txn_group_get(tx, r->scope, r->group, &e);
    }
    if (err == LK_ERR_NOT_FOUND || (err == LK_OK && !e.enabled)) {
        t->unfit = "The enrollment was disabled or deleted meanwhile";
        t->unfit_code = LK_DPS_NO_HUB;
        err = LK_OK;
    }
    lk_enrollment_fini(&e);
    return err;
}

static enum lk_err
hubs_load(struct lk_txn *tx, struct lk_errand_try *t)
{
    const struct lk_hub_link *ours = &t->p->config.embedded;
    struct lk_hub target = {.sealed_connection = LK_BUF_INIT};
    enum lk_err err;

    if ((err = hub_get(tx, t->body.hub, &target)) != LK_OK ||
        (err = hub_get(tx, t->record.hub, &t->old_hub)) != LK_OK) {
        lk_hub_fini(&target);
        return err;
    }
    if (target.name[0] == '\0') {
        t->unfit = "The hub is no longer linked";
        t->unfit_code = LK_DPS_NO_HUB;
    }
    t->hub = target;
    if (moves(t) && t->body.migrate && t->old_hub.name[0] != '\0' &&
        t->old_hub.kind == LK_HUB_EMBEDDED && ours->ops->read_in_txn != NULL) {
        const struct lk_hub_owner owner = {t->record.scope, t->record.id};

        err = ours->ops->read_in_txn(ours->ctx, tx, &t->old_hub, t->record.device_id, &owner,
                                     &t->carried);
    }
    return err;
}

static enum lk_err
load_run(struct lk_txn *tx, void *arg)
{
    struct lk_errand_try *t = arg;
    struct lk_errand *e = &t->errand;
    struct lk_errand now = {.tries = 0};
    enum lk_err err = lk_txn_errand_get(tx, e->kind, e->owner, e->name, &now);

    t->stands = err == LK_OK && now.version == e->version;
    lk_errand_fini(&now);
    if (err != LK_OK || !t->stands) {
        return err == LK_ERR_NOT_FOUND ? LK_OK : err;
    }
    if ((err = lk_txn_registration_get(tx, e->owner, e->name, &t->record)) != LK_OK) {
        return err;
    }
    if (t->record.status != LK_REG_ASSIGNING || t->record.generation != e->version) {
        return LK_ERR_STORE; /* they are written together */
    }
    if ((err = lk_errand_body_open(t->ring, t->record.scope, t->record.id, e->version, &e->sealed,
                                   &t->body)) != LK_OK ||
        (err = enrollment_judge(tx, t)) != LK_OK || (err = hubs_load(tx, t)) != LK_OK) {
        return err;
    }
    return t->unfit != NULL ? LK_OK : lk_errand_place_judge(tx, t);
}

static void
load_done(void *arg, enum lk_err err)
{
    struct lk_errand_try *t = arg;

    if (err != LK_OK) {
        lk_errand_postpone(t, err, 0, "the errand could not be read");
    } else if (!t->stands) {
        lk_errand_end(t);
    } else if (t->unfit != NULL) {
        lk_errand_unfit(t);
    } else {
        old_step(t);
    }
}

void
lk_errand_assign_try(struct lk_errand_try *t)
{
    t->job = (struct lk_job){.run = load_run, .done = load_done, .arg = t};
    lk_store_read(t->p->config.session, &t->job);
}
