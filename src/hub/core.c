/* Identities of the embedded hub: their keys at rest, and what provisioning does to them. */
#include "hub/hub_int.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"

struct lk_hub_core {
    pthread_mutex_t lock; /* over ring: it changes on the loop's thread, and the store's writer
                             seals with it */
    struct lk_keyring *ring;
    const struct lk_rand *rnd;
};

enum lk_err
lk_hub_core_new(struct lk_keyring *ring, const struct lk_rand *rnd, struct lk_hub_core **ret)
{
    struct lk_hub_core *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        return LK_ERR_NOMEM;
    }
    if (pthread_mutex_init(&h->lock, NULL) != 0) {
        free(h);
        return LK_ERR_NOMEM;
    }
    h->ring = lk_keyring_ref(ring);
    h->rnd = rnd;
    *ret = h;
    return LK_OK;
}

void
lk_hub_core_free(struct lk_hub_core *h)
{
    if (h == NULL) {
        return;
    }
    lk_keyring_free(h->ring);
    (void)pthread_mutex_destroy(&h->lock); /* fails only while it is held */
    free(h);
}

void
lk_hub_core_set_keyring(struct lk_hub_core *h, struct lk_keyring *ring)
{
    struct lk_keyring *old;

    (void)pthread_mutex_lock(&h->lock); /* a plain mutex: no way to fail */
    old = h->ring;
    h->ring = lk_keyring_ref(ring);
    (void)pthread_mutex_unlock(&h->lock);
    lk_keyring_free(old);
}

struct lk_keyring *
lk_hub_core_ring(struct lk_hub_core *h)
{
    struct lk_keyring *ring;

    (void)pthread_mutex_lock(&h->lock);
    ring = lk_keyring_ref(h->ring);
    (void)pthread_mutex_unlock(&h->lock);
    return ring;
}

const struct lk_rand *
lk_hub_core_rand(const struct lk_hub_core *h)
{
    return h->rnd;
}

enum lk_err
lk_hub_generation_make(const struct lk_rand *rnd, char ret[LK_GENERATION_ID_CAP])
{
    LK_AUTO_BUF struct lk_buf hex = LK_BUF_INIT;
    uint8_t generation[(LK_GENERATION_ID_CAP - 1) / 2];
    enum lk_err err;

    if ((err = lk_rand_fill(rnd, generation, sizeof(generation))) != LK_OK ||
        (err = lk_hex_encode(generation, sizeof(generation), &hex)) != LK_OK) {
        return err;
    }
    memcpy(ret, hex.data, hex.len);
    ret[hex.len] = '\0';
    return LK_OK;
}

/* ---- keys at rest -------------------------------------------------------------------------- */

/* The place that a sealed key is bound to. Neither name can hold the separator. */
static enum lk_err
key_place(const struct lk_identity *id, enum lk_key_slot slot, struct lk_buf *ret)
{
    return lk_buf_printf(ret, "identity|%s|%s|%s", id->hub, id->device_id,
                         slot == LK_KEY_PRIMARY ? "primary" : "secondary");
}

enum lk_err
lk_hub_key_open(const struct lk_keyring *ring, const struct lk_identity *id, enum lk_key_slot slot,
                struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    const uint8_t *sealed = slot == LK_KEY_PRIMARY ? id->primary : id->secondary;
    size_t len = slot == LK_KEY_PRIMARY ? id->primary_len : id->secondary_len;
    const char *ad;
    enum lk_err err;

    if (len == 0) {
        return LK_ERR_NOT_FOUND;
    }
    if ((err = key_place(id, slot, &place)) != LK_OK) {
        return err;
    }
    if ((ad = lk_buf_text(&place)) == NULL) {
        return LK_ERR_NOMEM;
    }
    err = lk_keyring_unseal(ring, ad, sealed, len, ret);
    return err == LK_ERR_NOT_FOUND                         ? LK_ERR_CONFIG
           : err == LK_ERR_REFUSED || err == LK_ERR_FORMAT ? LK_ERR_STORE
                                                           : err;
}

enum lk_err
lk_hub_key_seal(const struct lk_keyring *ring, const struct lk_rand *rnd, enum lk_key_slot slot,
                const void *key, size_t key_len, struct lk_identity *id)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf sealed = {.max = LK_SEALED_KEY_MAX};
    uint8_t *into = slot == LK_KEY_PRIMARY ? id->primary : id->secondary;
    const char *ad;
    enum lk_err err;

    if (key_len == 0 || key_len > LK_HMAC_KEY_MAX) {
        return LK_ERR_ARG;
    }
    if ((err = key_place(id, slot, &place)) != LK_OK) {
        return err;
    }
    if ((ad = lk_buf_text(&place)) == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = lk_keyring_seal(ring, ad, key, key_len, rnd, &sealed)) != LK_OK) {
        return err;
    }
    memcpy(into, sealed.data, sealed.len);
    *(slot == LK_KEY_PRIMARY ? &id->primary_len : &id->secondary_len) = sealed.len;
    return LK_OK;
}

/* ---- the link ------------------------------------------------------------------------------ */

static enum lk_err
identity_make(const struct lk_hub_core *h, const struct lk_hub_assign *a, struct lk_identity *ret)
{
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    ret->enabled = true;
    ret->auth = LK_AUTH_SAS;
    if ((err = lk_hub_generation_make(h->rnd, ret->generation_id)) != LK_OK ||
        (err = lk_strcpy(ret->hub, sizeof(ret->hub), a->hub->name)) != LK_OK) {
        return err;
    }
    return lk_strcpy(ret->device_id, sizeof(ret->device_id), a->device_id);
}

/* Move the primary key into the secondary slot, where it stays until the new one is used. */
static enum lk_err
old_key_keep(const struct lk_hub_core *h, const struct lk_keyring *ring, struct lk_identity *id)
{
    LK_AUTO_BUF struct lk_buf old = LK_BUF_INIT;
    enum lk_err err = lk_hub_key_open(ring, id, LK_KEY_PRIMARY, &old);

    /* A key that we cannot read opens nothing any more; it must not keep a new one away. */
    if (err == LK_ERR_NOT_FOUND || err == LK_ERR_CONFIG || err == LK_ERR_STORE) {
        return LK_OK;
    }
    if (err != LK_OK ||
        (err = lk_hub_key_seal(ring, h->rnd, LK_KEY_SECONDARY, old.data, old.len, id)) != LK_OK) {
        return err;
    }
    id->secondary_retires = true;
    return LK_OK;
}

/* A new identity, or a new primary key for the one that is there. Its status stays as it was. */
static enum lk_err
core_assign(void *ctx, struct lk_txn *tx, const struct lk_hub_assign *a, bool *ret_existed)
{
    struct lk_hub_core *h = ctx;
    LK_AUTO(lk_keyring) struct lk_keyring *ring = lk_hub_core_ring(h);
    struct lk_identity id;
    enum lk_err err = lk_txn_identity_get(tx, a->hub->name, a->device_id, &id);
    bool existed = err == LK_OK;

    if (existed && a->must_be_new) {
        return LK_ERR_EXISTS;
    }
    if (err == LK_ERR_NOT_FOUND) {
        err = identity_make(h, a, &id);
    }
    if (err != LK_OK) {
        return err;
    }
    id.secondary_len = 0;
    id.secondary_retires = false;
    if ((a->keep_old_key && (err = old_key_keep(h, ring, &id)) != LK_OK) ||
        (a->secondary_key_len > 0 &&
         (err = lk_hub_key_seal(ring, h->rnd, LK_KEY_SECONDARY, a->secondary_key,
                                a->secondary_key_len, &id)) != LK_OK) ||
        (err = lk_hub_key_seal(ring, h->rnd, LK_KEY_PRIMARY, a->key, a->key_len, &id)) != LK_OK ||
        (err = lk_txn_identity_put(tx, &id, NULL)) != LK_OK) {
        return err;
    }
    *ret_existed = existed;
    return LK_OK;
}

static enum lk_err
core_remove(void *ctx, struct lk_txn *tx, const struct lk_hub *hub, const char *device_id)
{
    enum lk_err err = lk_txn_identity_delete(tx, hub->name, device_id, NULL);

    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

struct lk_hub_link
lk_hub_core_link(struct lk_hub_core *h)
{
    static const struct lk_hub_link_ops ops = {.assign_in_txn = core_assign,
                                               .remove_in_txn = core_remove};

    return (struct lk_hub_link){&ops, h};
}
