/* What provisioning does to identities of an embedded hub: the link that it uses. */
#include <string.h>

#include "base/codec.h"
#include "base/json.h"
#include "base/log.h"
#include "hub/hub_int.h"

/* ---- whose an identity is ---------------------------------------------------------------------
 */

static bool
is_owned_by(const struct lk_identity *id, const struct lk_hub_owner *owner)
{
    return strcmp(id->owner_scope, owner->scope) == 0 &&
           lk_ascii_caseeq(id->owner_id, strlen(id->owner_id), owner->id, strlen(owner->id));
}

/*
 * Whether nobody is left who could claim id: its registration was deleted, and no enrollment has
 * that id. Both are an operator's doing, so that a device id never changes hands by what a device,
 * or who wrote a list of devices, does.
 */
static enum lk_err
owner_is_gone(struct lk_txn *tx, const struct lk_identity *id, bool *ret)
{
    struct lk_registration r = {.status = LK_REG_NONE};
    struct lk_enrollment e;
    enum lk_err err = lk_txn_registration_get(tx, id->owner_scope, id->owner_id, &r);
    bool registered = err == LK_OK && r.status != LK_REG_NONE;

    lk_registration_fini(&r);
    if ((err != LK_OK && err != LK_ERR_NOT_FOUND) || registered) {
        *ret = false;
        return err == LK_ERR_NOT_FOUND ? LK_OK : err;
    }
    lk_enrollment_init(&e);
    err = lk_txn_enrollment_get(tx, id->owner_scope, id->owner_id, &e);
    lk_enrollment_fini(&e);
    *ret = err == LK_ERR_NOT_FOUND;
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* Only a registration of the same scope may come after one that is gone. */
static enum lk_err
succession_judge(struct lk_txn *tx, const struct lk_identity *id, const struct lk_hub_owner *owner)
{
    bool gone;
    enum lk_err err;

    if (id->owner_scope[0] == '\0' || strcmp(id->owner_scope, owner->scope) != 0) {
        return LK_ERR_EXISTS;
    }
    if ((err = owner_is_gone(tx, id, &gone)) != LK_OK) {
        return err;
    }
    return gone ? LK_OK : LK_ERR_EXISTS;
}

/* ---- the twin that an identity begins with ----------------------------------------------------
 */

/* An initial twin that is none, or is over a hub's limits, must not keep a device away. */
static void
twin_refused(const struct lk_hub_assign *a, const char *why)
{
    lk_log(LK_LOG_WARNING, "hub.initial_twin_refused", LK_F_TEXT("hub", a->hub->name),
           LK_F_TEXT("device_id", a->device_id), LK_F_TEXT("scope", a->owner.scope),
           LK_F_TEXT("registration_id", a->owner.id), LK_F_TEXT("reason", why));
}

static enum lk_err
twin_begin(struct lk_txn *tx, const struct lk_hub_assign *a)
{
    LK_AUTO(json) json_t *twin = NULL;
    char error[LK_TWIN_ERROR_CAP > LK_JSON_ERROR_CAP ? LK_TWIN_ERROR_CAP : LK_JSON_ERROR_CAP];
    struct lk_twin_patch patch = {.how = LK_TWIN_REPLACE};
    enum lk_err err;

    if (a->initial_twin == NULL) {
        return LK_OK;
    }
    err = lk_json_parse(a->initial_twin, strlen(a->initial_twin), false, error, &twin);
    if (err == LK_OK) {
        patch.tags = json_object_get(twin, "tags");
        patch.desired = json_object_get(json_object_get(twin, "properties"), "desired");
        patch.tags = json_is_null(patch.tags) ? NULL : patch.tags;
        patch.desired = json_is_null(patch.desired) ? NULL : patch.desired;
        err = lk_twin_begin(tx, a->hub->name, a->device_id, &patch, error);
    }
    if (err == LK_ERR_FORMAT || err == LK_ERR_LIMIT) {
        twin_refused(a, error);
        return LK_OK;
    }
    return err;
}

/* ---- assign -----------------------------------------------------------------------------------
 */

static enum lk_err
identity_make(struct lk_hub_core *h, const struct lk_hub_assign *a, struct lk_identity *ret)
{
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    ret->enabled = true;
    ret->iot_edge = a->iot_edge;
    if ((err = lk_hub_generation_make(lk_hub_core_rand(h), ret->generation_id)) != LK_OK ||
        (err = lk_strcpy(ret->hub, sizeof(ret->hub), a->hub->name)) != LK_OK ||
        (err = lk_strcpy(ret->device_id, sizeof(ret->device_id), a->device_id)) != LK_OK ||
        (err = lk_strcpy(ret->owner_scope, sizeof(ret->owner_scope), a->owner.scope)) != LK_OK ||
        (err = lk_strcpy(ret->owner_id, sizeof(ret->owner_id), a->owner.id)) != LK_OK) {
        return err;
    }
    lk_ascii_lower(ret->owner_id);
    return LK_OK;
}

/* After an owner that is gone: nothing of that one's is left but that the device was disabled. */
static enum lk_err
identity_succeed(struct lk_hub_core *h, struct lk_txn *tx, const struct lk_hub_assign *a,
                 struct lk_identity *id)
{
    struct lk_identity next;
    enum lk_err err;

    if ((err = succession_judge(tx, id, &a->owner)) != LK_OK ||
        (err = identity_make(h, a, &next)) != LK_OK ||
        (err = lk_txn_identity_delete(tx, id->hub, id->device_id, NULL)) != LK_OK) {
        return err;
    }
    next.enabled = id->enabled;
    memcpy(next.status_reason, id->status_reason, sizeof(next.status_reason));
    *id = next;
    return LK_OK;
}

/* The device's identity as it is, or one that is yet to be stored. */
static enum lk_err
identity_find(struct lk_hub_core *h, struct lk_txn *tx, const struct lk_hub_assign *a,
              struct lk_identity *ret, bool *ret_existed)
{
    enum lk_err err = lk_txn_identity_get(tx, a->hub->name, a->device_id, ret);

    *ret_existed = false;
    if (err == LK_ERR_NOT_FOUND) {
        return identity_make(h, a, ret);
    }
    if (err != LK_OK || a->must_be_new) {
        return err != LK_OK ? err : LK_ERR_EXISTS;
    }
    if (!is_owned_by(ret, &a->owner)) {
        return identity_succeed(h, tx, a, ret);
    }
    *ret_existed = true;
    return LK_OK;
}

/* Move the primary key into the secondary slot, where it stays until the new one is used. */
static enum lk_err
old_key_keep(struct lk_hub_core *h, const struct lk_keyring *ring, struct lk_identity *id)
{
    LK_AUTO_BUF struct lk_buf old = LK_BUF_INIT;
    enum lk_err err = lk_hub_key_open(ring, id, LK_KEY_PRIMARY, &old);

    /* A key that we cannot read opens nothing any more; it must not keep a new one away. */
    if (err == LK_ERR_NOT_FOUND || err == LK_ERR_CONFIG || err == LK_ERR_STORE) {
        return LK_OK;
    }
    if (err != LK_OK || (err = lk_hub_key_seal(ring, lk_hub_core_rand(h), LK_KEY_SECONDARY,
                                               old.data, old.len, id)) != LK_OK) {
        return err;
    }
    id->secondary_retires = true;
    return LK_OK;
}

static enum lk_err
keys_set(struct lk_hub_core *h, const struct lk_hub_assign *a, struct lk_identity *id)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = lk_hub_core_ring(h);
    const struct lk_rand *rnd = lk_hub_core_rand(h);
    enum lk_err err;

    id->auth = LK_AUTH_SAS;
    memset(id->thumbprints, 0, sizeof(id->thumbprints));
    id->secondary_len = 0;
    id->secondary_retires = false;
    if ((a->keep_old_key && (err = old_key_keep(h, ring, id)) != LK_OK) ||
        (a->secondary_key_len > 0 &&
         (err = lk_hub_key_seal(ring, rnd, LK_KEY_SECONDARY, a->secondary_key, a->secondary_key_len,
                                id)) != LK_OK)) {
        return err;
    }
    return lk_hub_key_seal(ring, rnd, LK_KEY_PRIMARY, a->key, a->key_len, id);
}

/* A device that has a certificate proves itself by that, and by nothing else. */
static enum lk_err
certificate_set(const struct lk_hub_assign *a, struct lk_identity *id)
{
    id->auth = LK_AUTH_SELF_SIGNED;
    id->primary_len = 0;
    id->secondary_len = 0;
    id->secondary_retires = false;
    id->thumbprints[1][0] = '\0';
    return lk_strcpy(id->thumbprints[0], sizeof(id->thumbprints[0]), a->thumbprint);
}

/* A new identity, or a new primary key for the one that is there. Its status stays as it was. */
static enum lk_err
link_assign(void *ctx, struct lk_txn *tx, const struct lk_hub_assign *a, bool *ret_existed)
{
    struct lk_hub_core *h = ctx;
    struct lk_identity id;
    bool existed;
    enum lk_err err;

    if ((err = identity_find(h, tx, a, &id, &existed)) != LK_OK ||
        (err = a->thumbprint != NULL ? certificate_set(a, &id) : keys_set(h, a, &id)) != LK_OK ||
        (err = lk_txn_identity_put(tx, &id, NULL)) != LK_OK ||
        (!existed && (err = twin_begin(tx, a)) != LK_OK)) {
        return err;
    }
    *ret_existed = existed;
    return LK_OK;
}

/* ---- remove and read: only of an identity that is the owner's own -----------------------------
 */

static enum lk_err
own_identity_get(struct lk_txn *tx, const struct lk_hub *hub, const char *device_id,
                 const struct lk_hub_owner *owner, struct lk_identity *ret)
{
    enum lk_err err = lk_txn_identity_get(tx, hub->name, device_id, ret);

    return err == LK_OK && !is_owned_by(ret, owner) ? LK_ERR_NOT_FOUND : err;
}

static enum lk_err
link_remove(void *ctx, struct lk_txn *tx, const struct lk_hub *hub, const char *device_id,
            const struct lk_hub_owner *owner)
{
    struct lk_identity id;
    enum lk_err err = own_identity_get(tx, hub, device_id, owner, &id);

    if (err == LK_OK) {
        err = lk_txn_identity_delete(tx, hub->name, device_id, NULL);
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static enum lk_err
section_add(json_t *object, const char *name, const struct lk_buf *text)
{
    json_t *value = NULL;
    enum lk_err err;

    if (text->len == 0) {
        return LK_OK;
    }
    if ((err = lk_json_parse(text->data, text->len, false, NULL, &value)) != LK_OK) {
        return err == LK_ERR_FORMAT ? LK_ERR_STORE : err; /* not what was written there */
    }
    return json_object_set_new(object, name, value) == 0 ? LK_OK : LK_ERR_NOMEM;
}

/* Tags and desired properties in the form of an initial twin; nothing when there are none. */
static enum lk_err
twin_carry(struct lk_txn *tx, const struct lk_identity *id, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *properties = json_object();
    LK_AUTO(json) json_t *whole = json_object();
    struct lk_twin t = LK_TWIN_INIT;
    enum lk_err err = lk_txn_twin_get(tx, id->hub, id->device_id, &t);

    if (properties == NULL || whole == NULL) {
        err = LK_ERR_NOMEM;
    }
    if (err == LK_OK && (err = section_add(whole, "tags", &t.tags)) == LK_OK) {
        err = section_add(properties, "desired", &t.desired);
    }
    lk_twin_fini(&t);
    if (err != LK_OK || (json_object_size(whole) == 0 && json_object_size(properties) == 0)) {
        return err;
    }
    return json_object_set(whole, "properties", properties) == 0 ? lk_json_write(whole, ret)
                                                                 : LK_ERR_NOMEM;
}

static enum lk_err
link_read(void *ctx, struct lk_txn *tx, const struct lk_hub *hub, const char *device_id,
          const struct lk_hub_owner *owner, struct lk_hub_snapshot *ret)
{
    struct lk_identity id;
    enum lk_err err = own_identity_get(tx, hub, device_id, owner, &id);

    if (err != LK_OK) {
        return err == LK_ERR_NOT_FOUND ? LK_OK : err;
    }
    if ((err = twin_carry(tx, &id, &ret->twin)) != LK_OK) {
        return err;
    }
    ret->iot_edge = id.iot_edge;
    ret->found = true;
    return LK_OK;
}

struct lk_hub_link
lk_hub_core_link(struct lk_hub_core *h)
{
    static const struct lk_hub_link_ops ops = {
        .assign_in_txn = link_assign, .remove_in_txn = link_remove, .read_in_txn = link_read};

    return (struct lk_hub_link){&ops, h};
}
