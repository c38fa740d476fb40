#include "hub/registry.h"

#include <string.h>

#include "base/codec.h"
#include "hub/hub_int.h"

void
lk_hub_device_fini(struct lk_hub_device *d)
{
    lk_buf_fini(&d->keys[0]);
    lk_buf_fini(&d->keys[1]);
}

/* ---- keys -------------------------------------------------------------------------------------
 */

static const enum lk_key_slot slots[] = {LK_KEY_PRIMARY, LK_KEY_SECONDARY};

static void
slot_clear(struct lk_identity *id, enum lk_key_slot slot)
{
    if (slot == LK_KEY_PRIMARY) {
        id->primary_len = 0;
    } else {
        id->secondary_len = 0;
        id->secondary_retires = false;
    }
}

/* The keys of id in clear; a slot that is empty stays empty. */
static enum lk_err
keys_open(const struct lk_keyring *ring, const struct lk_identity *id, struct lk_buf ret[2])
{
    for (size_t i = 0; i < LK_ARRAY_LEN(slots); i++) {
        enum lk_err err;

        lk_buf_reset(&ret[i]);
        err = lk_hub_key_open(ring, id, slots[i], &ret[i]);
        if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
            return err;
        }
    }
    return LK_OK;
}

static bool
key_is(const struct lk_keyring *ring, const struct lk_identity *id, enum lk_key_slot slot,
       const struct lk_buf *key)
{
    LK_AUTO_BUF struct lk_buf have = LK_BUF_INIT;

    return lk_hub_key_open(ring, id, slot, &have) == LK_OK && have.len == key->len &&
           memcmp(have.data, key->data, key->len) == 0;
}

/*
 * What is brought goes into its slot, and an empty slot gets a fresh key. A client that writes back
 * what it has read changes nothing: the old key of a lost answer still retires.
 */
static enum lk_err
slot_fill(struct lk_hub_core *h, const struct lk_keyring *ring, enum lk_key_slot slot,
          const struct lk_buf *brought, struct lk_identity *id)
{
    bool empty = (slot == LK_KEY_PRIMARY ? id->primary_len : id->secondary_len) == 0;
    const struct lk_rand *rnd = lk_hub_core_rand(h);
    uint8_t fresh[LK_HUB_KEY_LEN];
    enum lk_err err;

    if (brought->len > 0) {
        if (key_is(ring, id, slot, brought)) {
            return LK_OK;
        }
        slot_clear(id, slot);
        return lk_hub_key_seal(ring, rnd, slot, brought->data, brought->len, id);
    }
    if (!empty) {
        return LK_OK;
    }
    if ((err = lk_rand_fill(rnd, fresh, sizeof(fresh))) == LK_OK) {
        err = lk_hub_key_seal(ring, rnd, slot, fresh, sizeof(fresh), id);
    }
    lk_wipe(fresh, sizeof(fresh));
    return err;
}

/* Only a device that signs tokens has keys. d's own are made what id has. */
static enum lk_err
keys_settle(struct lk_hub_core *h, struct lk_identity *id, struct lk_buf keys[2])
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = lk_hub_core_ring(h);
    enum lk_err err;

    for (size_t i = 0; i < LK_ARRAY_LEN(slots); i++) {
        if (id->auth != LK_AUTH_SAS) {
            slot_clear(id, slots[i]);
        } else if ((err = slot_fill(h, ring, slots[i], &keys[i], id)) != LK_OK) {
            return err;
        }
    }
    return keys_open(ring, id, keys);
}

/* ---- what an operator may ask for -------------------------------------------------------------
 */

static bool
key_ok(const struct lk_buf *key)
{
    return key->len == 0 || (key->len >= LK_HUB_KEY_MIN && key->len <= LK_HUB_KEY_MAX);
}

/* "" or the hexadecimal of SHA-1 or SHA-256, which is made upper case. */
static bool
thumbprint_settle(char *text)
{
    size_t len = strlen(text);

    if (strspn(text, "0123456789abcdefABCDEF") != len || (len != 0 && len != 40 && len != 64)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)(text[i] >= 'a' ? text[i] - 'a' + 'A' : text[i]);
    }
    return true;
}

static enum lk_err
device_judge(struct lk_hub_device *d)
{
    struct lk_identity *id = &d->id;

    lk_ascii_lower(id->hub);
    if (!lk_device_id_ok(id->device_id, strlen(id->device_id)) || !key_ok(&d->keys[0]) ||
        !key_ok(&d->keys[1])) {
        return LK_ERR_ARG;
    }
    if (id->auth != LK_AUTH_SELF_SIGNED) {
        memset(id->thumbprints, 0, sizeof(id->thumbprints));
        return LK_OK;
    }
    if (!thumbprint_settle(id->thumbprints[0]) || !thumbprint_settle(id->thumbprints[1]) ||
        (id->thumbprints[0][0] == '\0' && id->thumbprints[1][0] == '\0')) {
        return LK_ERR_ARG;
    }
    return LK_OK;
}

enum lk_err
lk_hub_is_ours(struct lk_txn *tx, const char *name)
{
    struct lk_hub hub = {.sealed_connection = LK_BUF_INIT};
    enum lk_err err = lk_txn_hub_get(tx, name, &hub);
    bool embedded = hub.kind == LK_HUB_EMBEDDED;

    lk_hub_fini(&hub);
    return err == LK_OK && !embedded ? LK_ERR_NOT_FOUND : err;
}

/* What is known of a device beside its identity. */
static enum lk_err
around_read(struct lk_txn *tx, struct lk_hub_device *d)
{
    enum lk_err err = lk_txn_presence_get(tx, d->id.hub, d->id.device_id, &d->present);

    return err != LK_OK ? err : lk_txn_c2d_count(tx, d->id.hub, d->id.device_id, &d->c2d_count);
}

/* ---- calls ------------------------------------------------------------------------------------
 */

enum lk_err
lk_hub_device_create(struct lk_hub_core *h, struct lk_txn *tx, struct lk_hub_device *d)
{
    struct lk_identity *id = &d->id;
    enum lk_err err;

    if ((err = device_judge(d)) != LK_OK || (err = lk_hub_is_ours(tx, id->hub)) != LK_OK) {
        return err;
    }
    id->owner_scope[0] = '\0';
    id->owner_id[0] = '\0';
    slot_clear(id, LK_KEY_PRIMARY);
    slot_clear(id, LK_KEY_SECONDARY);
    if ((err = lk_hub_generation_make(lk_hub_core_rand(h), id->generation_id)) != LK_OK ||
        (err = keys_settle(h, id, d->keys)) != LK_OK ||
        (err = lk_txn_identity_put(tx, id, "")) != LK_OK) {
        return err;
    }
    return around_read(tx, d);
}

enum lk_err
lk_hub_device_update(struct lk_hub_core *h, struct lk_txn *tx, struct lk_hub_device *d,
                     const char *etag)
{
    struct lk_identity next;
    enum lk_err err;

    if ((err = device_judge(d)) != LK_OK ||
        (err = lk_txn_identity_get(tx, d->id.hub, d->id.device_id, &next)) != LK_OK) {
        return err;
    }
    if (etag != NULL && etag[0] == '\0') { /* to the store: there must be none */
        return LK_ERR_PRECONDITION;
    }
    next.enabled = d->id.enabled;
    next.auth = d->id.auth;
    next.iot_edge = d->id.iot_edge;
    memcpy(next.status_reason, d->id.status_reason, sizeof(next.status_reason));
    memcpy(next.thumbprints, d->id.thumbprints, sizeof(next.thumbprints));
    if ((err = keys_settle(h, &next, d->keys)) != LK_OK ||
        (err = lk_txn_identity_put(tx, &next, etag)) != LK_OK) {
        return err;
    }
    d->id = next;
    return around_read(tx, d);
}

enum lk_err
lk_hub_device_delete(struct lk_hub_core *h, struct lk_txn *tx, const char *hub,
                     const char *device_id, const char *etag)
{
    return lk_txn_identity_delete(tx, hub, device_id, etag);
}

enum lk_err
lk_hub_device_get(struct lk_hub_core *h, struct lk_txn *tx, const char *hub, const char *device_id,
                  struct lk_hub_device *ret)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = lk_hub_core_ring(h);
    struct lk_hub_device d = {.c2d_count = 0};
    enum lk_err err;

    if ((err = lk_txn_identity_get(tx, hub, device_id, &d.id)) != LK_OK ||
        (err = keys_open(ring, &d.id, d.keys)) != LK_OK || (err = around_read(tx, &d)) != LK_OK) {
        lk_hub_device_fini(&d);
        return err;
    }
    lk_hub_device_fini(ret);
    *ret = d;
    return LK_OK;
}

/* Hands each identity of a page on with what belongs to it. */
struct paging {
    struct lk_txn *tx;
    const struct lk_keyring *ring;
    struct lk_hub_device d;
    enum lk_err (*each)(void *ctx, const struct lk_hub_device *);
    void *ctx;
};

static enum lk_err
page_row(void *ctx, const struct lk_identity *id)
{
    struct paging *p = ctx;
    enum lk_err err;

    p->d.id = *id;
    if ((err = keys_open(p->ring, id, p->d.keys)) != LK_OK ||
        (err = around_read(p->tx, &p->d)) != LK_OK) {
        return err;
    }
    return p->each(p->ctx, &p->d);
}

enum lk_err
lk_hub_device_page(struct lk_hub_core *h, struct lk_txn *tx, const char *hub, const char *after,
                   size_t limit, enum lk_err (*each)(void *ctx, const struct lk_hub_device *),
                   void *ctx)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = lk_hub_core_ring(h);
    struct paging p = {.tx = tx, .ring = ring, .each = each, .ctx = ctx};
    enum lk_err err = lk_txn_identity_page(tx, hub, after, limit, page_row, &p);

    lk_hub_device_fini(&p.d);
    return err;
}

enum lk_err
lk_hub_device_set_status(struct lk_hub_core *h, struct lk_txn *tx, const char *hub,
                         const char *device_id, bool enabled, const char *reason)
{
    struct lk_identity id;
    enum lk_err err;

    if (strlen(reason) > LK_STATUS_REASON_MAX) {
        return LK_ERR_ARG;
    }
    if ((err = lk_txn_identity_get(tx, hub, device_id, &id)) != LK_OK ||
        (id.enabled == enabled && strcmp(id.status_reason, reason) == 0) ||
        (err = lk_strcpy(id.status_reason, sizeof(id.status_reason), reason)) != LK_OK) {
        return err;
    }
    id.enabled = enabled;
    return lk_txn_identity_put(tx, &id, NULL);
}

enum lk_err
lk_hub_statistics(struct lk_txn *tx, const char *hub, struct lk_hub_statistics *ret)
{
    uint64_t total, disabled, connected;
    enum lk_err err = lk_txn_identity_count(tx, hub, &total, &disabled, &connected);

    if (err == LK_OK) {
        *ret = (struct lk_hub_statistics){total, total - disabled, disabled, connected};
    }
    return err;
}
