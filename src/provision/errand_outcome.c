/* The end of an ASSIGN: one transaction that makes registration, identity and audit record agree.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "provision/errand.h"

bool
lk_errand_target_is_ours(const struct lk_errand_try *t)
{
    return strcmp(t->errand.hub, t->body.hub) != 0;
}

enum lk_err
lk_errand_place_judge(struct lk_txn *tx, struct lk_errand_try *t)
{
    char scope[LK_ID_SCOPE_MAX + 1], id[LK_REGISTRATION_ID_MAX + 1];
    enum lk_err err;

    if (lk_errand_target_is_ours(t)) {
        return LK_OK; /* that hub knows for itself */
    }
    err = lk_txn_registration_at(tx, t->body.hub, t->body.device_id, t->errand.owner,
                                 t->errand.name, scope, id);
    if (err != LK_OK) {
        return err == LK_ERR_NOT_FOUND ? LK_OK : err;
    }
    lk_log(LK_LOG_WARNING, "registration.device_id_taken",
           LK_F_TEXT("request_id", t->body.request_id), LK_F_TEXT("scope", t->errand.owner),
           LK_F_TEXT("registration_id", t->errand.name), LK_F_TEXT("hub", t->body.hub),
           LK_F_TEXT("device_id", t->body.device_id), LK_F_TEXT("owner_scope", scope),
           LK_F_TEXT("owner_registration_id", id),
           LK_F_TEXT("reason", "its registration is still there"));
    t->unfit = LK_NAME_TAKEN;
    t->unfit_code = LK_DPS_HUB_REFUSED;
    return LK_OK;
}

static enum lk_err
fail_in_txn(struct lk_txn *tx, const struct lk_errand_try *t, struct lk_registration *r)
{
    return lk_errand_fail_in_txn(tx, &t->errand, r, t->fail_code, t->fail_why, t->body.request_id);
}

/* The identity in our store, with what was carried over. */
static enum lk_err
target_assign(struct lk_txn *tx, struct lk_errand_try *t)
{
    const struct lk_hub_link *link = &t->p->config.embedded;
    struct lk_hub hub = {.sealed_connection = LK_BUF_INIT};
    struct lk_buf *twin = t->carried.found ? &t->carried.twin : &t->body.initial_twin;
    char thumbprint[LK_CERT_THUMBPRINT_CAP];
    struct lk_hub_assign a = {
        .hub = &hub,
        .device_id = t->body.device_id,
        .owner = {t->errand.owner, t->errand.name},
        .thumbprint = t->body.has_thumbprint ? thumbprint : NULL,
        .key = t->body.keys.primary.data,
        .key_len = t->body.keys.primary.len,
        .secondary_key = t->body.keys.secondary.data,
        .secondary_key_len = t->body.keys.secondary.len,
        .from_hub = t->record.hub,
        .migrate = t->carried.found,
        .initial_twin = twin->len > 0 ? lk_buf_text(twin) : NULL,
        .iot_edge = t->carried.found ? t->carried.iot_edge : t->body.iot_edge,
        .must_be_new = t->body.must_be_new,
    };
    enum lk_err err = lk_txn_hub_get(tx, t->body.hub, &hub);

    lk_thumbprint_text(t->body.thumbprint, thumbprint);
    if (err == LK_OK) {
        err = link->ops->assign_in_txn(link->ctx, tx, &a, &t->existed);
    }
    if (err == LK_ERR_EXISTS) {
        lk_device_id_taken(tx, t->body.request_id, t->body.hub, t->body.device_id, &a.owner);
    }
    lk_hub_fini(&hub);
    return err;
}

/* r becomes what the device reads. */
static enum lk_err
record_fill(const struct lk_errand_try *t, struct lk_registration *r)
{
    const struct lk_errand_body *b = &t->body;
    const char *previous = t->record.hub[0] != '\0' ? t->record.hub : NULL;
    enum lk_err err;

    if (b->auth_key.len > sizeof(r->auth_key) ||
        (err = lk_strcpy(r->hub, sizeof(r->hub), b->hub)) != LK_OK ||
        (err = lk_strcpy(r->device_id, sizeof(r->device_id), b->device_id)) != LK_OK) {
        return LK_ERR_STORE;
    }
    r->status = LK_REG_ASSIGNED;
    r->substatus = (int)lk_substatus_of(previous, b->hub, b->migrate, t->existed);
    r->error_code = 0;
    r->error_message[0] = '\0';
    if (b->auth_key.len > 0) {
        memcpy(r->auth_key, b->auth_key.data, b->auth_key.len);
    }
    r->auth_key_len = b->auth_key.len;
    lk_buf_reset(&r->payload);
    return lk_buf_put(&r->payload, b->payload.data, b->payload.len);
}

static enum lk_err
assigned_in_txn(struct lk_txn *tx, struct lk_errand_try *t, struct lk_registration *r)
{
    const struct lk_move move = {.owner = {t->errand.owner, t->errand.name},
                                 .old_hub = t->record.hub,
                                 .old_device_id = t->record.device_id,
                                 .hub = t->body.hub,
                                 .device_id = t->body.device_id,
                                 .version = t->errand.version,
                                 .etag = t->carried.etag};
    enum lk_err err;

    if ((lk_errand_target_is_ours(t) && (err = target_assign(tx, t)) != LK_OK) ||
        (err = record_fill(t, r)) != LK_OK ||
        (err = lk_old_identity_leave(tx, t->p, &move)) != LK_OK ||
        (err = lk_txn_registration_put(tx, r, r->generation)) != LK_OK ||
        (err = lk_txn_errand_delete(tx, t->errand.kind, t->errand.owner, t->errand.name)) !=
            LK_OK) {
        return err;
    }
    return lk_assignment_audit(tx, t->body.request_id, r);
}

static void
fail_set(struct lk_errand_try *t, int32_t code, const char *why, const char *detail)
{
    t->fail_code = code;
    (void)snprintf(t->fail_why, sizeof(t->fail_why), "%s%s%s", why, detail[0] == '\0' ? "" : ": ",
                   detail); /* cut when too long */
}

/* The outcome, unless a newer attestation has taken over or another try was first. */
static enum lk_err
outcome_run(struct lk_txn *tx, void *arg)
{
    struct lk_errand_try *t = arg;
    struct lk_registration r = {.generation = 0};
    enum lk_err err = lk_txn_registration_get(tx, t->errand.owner, t->errand.name, &r);

    t->stands = err == LK_OK && r.status == LK_REG_ASSIGNING && r.generation == t->errand.version;
    if (t->stands && t->fail_code == 0 && (err = lk_errand_place_judge(tx, t)) == LK_OK &&
        t->unfit != NULL) {
        fail_set(t, t->unfit_code, t->unfit, "");
    }
    if (t->stands && err == LK_OK) {
        err = t->fail_code != 0 ? fail_in_txn(tx, t, &r) : assigned_in_txn(tx, t, &r);
    }
    if (t->stands && err == LK_ERR_EXISTS) {
        fail_set(t, LK_DPS_HUB_REFUSED, LK_NAME_TAKEN, "");
        err = fail_in_txn(tx, t, &r);
    }
    lk_registration_fini(&r);
    return err == LK_ERR_NOT_FOUND && !t->stands ? LK_OK : err;
}

static void
outcome_done(void *arg, enum lk_err err)
{
    struct lk_errand_try *t = arg;

    if (err != LK_OK) {
        lk_errand_postpone(t, err == LK_ERR_NOT_FOUND ? LK_ERR_PRECONDITION : err, 0,
                           "the outcome could not be written");
        return;
    }
    if (t->stands) {
        lk_status_count(t->fail_code != 0 ? LK_REG_FAILED : LK_REG_ASSIGNED);
        lk_log(t->fail_code != 0 ? LK_LOG_ERROR : LK_LOG_INFO,
               t->fail_code != 0 ? "hub.assignment_failed" : "hub.assigned",
               LK_F_TEXT("request_id", t->body.request_id), LK_F_TEXT("hub", t->body.hub),
               LK_F_TEXT("scope", t->errand.owner), LK_F_TEXT("registration_id", t->errand.name),
               LK_F_INT("tries", t->errand.tries),
               LK_F_TEXT("reason", t->fail_code != 0 ? t->fail_why : NULL));
    }
    lk_errand_end(t);
}

void
lk_errand_outcome(struct lk_errand_try *t)
{
    t->job = (struct lk_job){.run = outcome_run, .done = outcome_done, .arg = t};
    lk_store_write(t->p->config.session, &t->job);
}

void
lk_errand_give_up(struct lk_errand_try *t, int32_t code, const char *why, const char *detail)
{
    fail_set(t, code, why, detail);
    lk_errand_outcome(t);
}

void
lk_errand_unfit(struct lk_errand_try *t)
{
    lk_errand_give_up(t, t->unfit_code, t->unfit, "");
}
