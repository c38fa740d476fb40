#include "provision/shared_key.h"

#include <string.h>

#include "base/codec.h"

void
lk_shared_keys_wipe(struct lk_shared_keys *k)
{
    lk_wipe(k, sizeof(*k));
}

/* ---- text --------------------------------------------------------------------------------------
 */

static bool
len_ok(size_t len)
{
    return len >= LK_SHARED_KEY_MIN && len <= LK_SHARED_KEY_MAX;
}

enum lk_err
lk_shared_key_parse(const char *text, size_t len, struct lk_shared_key *ret)
{
    LK_AUTO_BUF struct lk_buf bytes = {.max = LK_SHARED_KEY_MAX};
    enum lk_err err = lk_base64_decode(text, len, &bytes);

    if (err == LK_ERR_LIMIT || (err == LK_OK && !len_ok(bytes.len))) {
        return LK_ERR_FORMAT;
    }
    if (err == LK_OK) {
        memcpy(ret->data, bytes.data, bytes.len);
        ret->len = bytes.len;
    }
    return err;
}

enum lk_err
lk_shared_key_format(const struct lk_shared_key *k, struct lk_buf *ret)
{
    return lk_base64_encode(k->data, k->len, ret);
}

/* ---- keys at rest ------------------------------------------------------------------------------
 */

/* The place that sealed keys are bound to. Neither scope nor id can hold the separator. */
static enum lk_err
keys_place(enum lk_shared_key_owner owner, const struct lk_enrollment *e, struct lk_buf *place,
           const char **ret)
{
    char id[LK_REGISTRATION_ID_MAX + 1];
    enum lk_err err;

    if ((err = lk_strcpy(id, sizeof(id), e->id)) != LK_OK) {
        return err;
    }
    lk_ascii_lower(id);
    err = lk_buf_printf(place, "shared_key|%s|%s|%s",
                        owner == LK_KEYS_OF_GROUP ? "group" : "enrollment", e->scope, id);
    *ret = err == LK_OK ? lk_buf_text(place) : NULL;
    return err == LK_OK && *ret == NULL ? LK_ERR_NOMEM : err;
}

static enum lk_err
key_fresh(const struct lk_rand *rnd, struct lk_shared_key *k)
{
    enum lk_err err;

    if (k->len != 0) {
        return len_ok(k->len) ? LK_OK : LK_ERR_ARG;
    }
    if ((err = lk_rand_fill(rnd, k->data, LK_SHARED_KEY_FRESH)) == LK_OK) {
        k->len = LK_SHARED_KEY_FRESH;
    }
    return err;
}

enum lk_err
lk_shared_keys_seal(const struct lk_keyring *ring, const struct lk_rand *rnd,
                    enum lk_shared_key_owner owner, struct lk_shared_keys *keys,
                    struct lk_enrollment *e)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf plain = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf sealed = LK_BUF_INIT;
    const char *ad;
    enum lk_err err;

    if ((err = key_fresh(rnd, &keys->primary)) != LK_OK ||
        (err = key_fresh(rnd, &keys->secondary)) != LK_OK ||
        (err = lk_buf_put_2b(&plain, keys->primary.data, keys->primary.len)) != LK_OK ||
        (err = lk_buf_put_2b(&plain, keys->secondary.data, keys->secondary.len)) != LK_OK ||
        (err = keys_place(owner, e, &place, &ad)) != LK_OK ||
        (err = lk_keyring_seal(ring, ad, plain.data, plain.len, rnd, &sealed)) != LK_OK) {
        return err;
    }
    e->attestation = LK_ATTESTATION_SYMMETRIC_KEY;
    lk_buf_move(&e->sealed_keys, &sealed);
    return LK_OK;
}

static enum lk_err
key_read(struct lk_reader *r, struct lk_shared_key *ret)
{
    struct lk_reader key;

    if (lk_read_2b(r, &key) != LK_OK || !len_ok(key.left)) {
        return LK_ERR_STORE;
    }
    memcpy(ret->data, key.p, key.left);
    ret->len = key.left;
    return LK_OK;
}

enum lk_err
lk_shared_keys_open(const struct lk_keyring *ring, enum lk_shared_key_owner owner,
                    const struct lk_enrollment *e, struct lk_shared_keys *ret)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf plain = LK_BUF_INIT;
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
    struct lk_reader r;
    const char *ad;
    enum lk_err err;

    if ((err = keys_place(owner, e, &place, &ad)) != LK_OK) {
        return err;
    }
    err = lk_keyring_unseal(ring, ad, e->sealed_keys.data, e->sealed_keys.len, &plain);
    if (err != LK_OK) {
        return err == LK_ERR_NOT_FOUND                         ? LK_ERR_CONFIG
               : err == LK_ERR_REFUSED || err == LK_ERR_FORMAT ? LK_ERR_STORE
                                                               : err;
    }
    r = lk_reader_of(plain.data, plain.len);
    if (key_read(&r, &keys.primary) != LK_OK || key_read(&r, &keys.secondary) != LK_OK ||
        lk_reader_end(&r) != LK_OK) {
        return LK_ERR_STORE;
    }
    *ret = keys;
    return LK_OK;
}

/* ---- groups ------------------------------------------------------------------------------------
 */

enum lk_err
lk_shared_key_derive(const struct lk_shared_key *group, const char *registration_id,
                     struct lk_shared_key *ret)
{
    char id[LK_REGISTRATION_ID_MAX + 1];
    enum lk_err err;

    if (group->len == 0) {
        ret->len = 0;
        return LK_OK;
    }
    if ((err = lk_strcpy(id, sizeof(id), registration_id)) != LK_OK) {
        return err;
    }
    lk_ascii_lower(id);
    err = lk_hmac(LK_SHA256, group->data, group->len, &LK_PART(id, strlen(id)), 1, ret->data);
    if (err == LK_OK) {
        ret->len = LK_DERIVED_KEY_LEN;
    }
    return err;
}
