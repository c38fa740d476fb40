/* What a loop has of the embedded hub, and the keys of identities at rest. */
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
