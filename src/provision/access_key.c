#include "provision/access_key.h"

#include <string.h>

#include "base/codec.h"
#include "wire/service_connection.h"

/* ---- names and rights --------------------------------------------------------------------------
 */

bool
lk_policy_name_ok(const char *text, size_t len)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-@.";

    if (len < 1 || len > LK_POLICY_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\0' || strchr(allowed, text[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static unsigned
right_of(const struct lk_right_name *names, size_t count, const char *text, size_t len)
{
    for (; len > 0 && *text == ' '; text++, len--) {
    }
    for (; len > 0 && text[len - 1] == ' '; len--) {
    }
    for (size_t i = 0; i < count; i++) {
        if (lk_ascii_caseeq(text, len, names[i].name, strlen(names[i].name))) {
            return names[i].right;
        }
    }
    return 0;
}

enum lk_err
lk_right_names_parse(const struct lk_right_name *names, size_t count, const char *text,
                     unsigned *ret)
{
    unsigned rights = 0;

    for (;;) {
        size_t len = strcspn(text, ",");
        unsigned right = right_of(names, count, text, len);

        if (right == 0) {
            return LK_ERR_FORMAT;
        }
        rights |= right;
        if (text[len] == '\0') {
            *ret = rights;
            return LK_OK;
        }
        text += len + 1;
    }
}

enum lk_err
lk_right_names_format(const struct lk_right_name *names, size_t count, unsigned rights,
                      struct lk_buf *ret)
{
    const char *comma = "";
    enum lk_err err;

    for (size_t i = 0; i < count; i++) {
        if ((rights & names[i].right) == 0) {
            continue;
        }
        if ((err = lk_buf_puts(ret, comma)) != LK_OK ||
            (err = lk_buf_puts(ret, names[i].name)) != LK_OK) {
            return err;
        }
        comma = ",";
    }
    return LK_OK;
}

/* ---- keys at rest ------------------------------------------------------------------------------
 */

/* The place that a sealed key is bound to. Neither home nor name can hold the separator. */
static enum lk_err
key_place(const struct lk_access *a, enum lk_policy_slot slot, struct lk_buf *place,
          const char **ret)
{
    enum lk_err err = lk_buf_printf(place, "%s|%s|%s|%s", a->kind, a->home, a->name,
                                    slot == LK_POLICY_PRIMARY ? "primary" : "secondary");

    *ret = err == LK_OK ? lk_buf_text(place) : NULL;
    return err == LK_OK && *ret == NULL ? LK_ERR_NOMEM : err;
}

static enum lk_err
key_seal(const struct lk_keyring *ring, const struct lk_rand *rnd, const struct lk_access *at,
         enum lk_policy_slot slot, const void *key, size_t key_len, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf sealed = LK_BUF_INIT;
    const char *ad;
    enum lk_err err;

    if ((err = key_place(at, slot, &place, &ad)) != LK_OK ||
        (err = lk_keyring_seal(ring, ad, key, key_len, rnd, &sealed)) != LK_OK) {
        return err;
    }
    lk_buf_move(ret, &sealed);
    return LK_OK;
}

enum lk_err
lk_access_key_set(const struct lk_keyring *ring, const struct lk_rand *rnd,
                  const struct lk_access *at, enum lk_policy_slot slot, const void *key,
                  size_t key_len, struct lk_buf *sealed)
{
    uint8_t fresh[LK_POLICY_KEY_LEN];
    enum lk_err err;

    if (key != NULL) {
        if (key_len < LK_POLICY_KEY_MIN || key_len > LK_POLICY_KEY_MAX) {
            return LK_ERR_ARG;
        }
        return key_seal(ring, rnd, at, slot, key, key_len, sealed);
    }
    if ((err = lk_rand_fill(rnd, fresh, sizeof(fresh))) == LK_OK) {
        err = key_seal(ring, rnd, at, slot, fresh, sizeof(fresh), sealed);
    }
    lk_wipe(fresh, sizeof(fresh));
    return err;
}

enum lk_err
lk_access_key_get(const struct lk_keyring *ring, const struct lk_access *a,
                  enum lk_policy_slot slot, struct lk_buf *ret)
{
    const struct lk_buf *sealed = slot == LK_POLICY_PRIMARY ? a->primary : a->secondary;
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    const char *ad;
    enum lk_err err = key_place(a, slot, &place, &ad);

    return err != LK_OK ? err : lk_keyring_unseal(ring, ad, sealed->data, sealed->len, ret);
}

enum lk_err
lk_access_connection_string(const struct lk_keyring *ring, const struct lk_access *a,
                            enum lk_policy_slot slot, const char *host, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    enum lk_err err = lk_access_key_get(ring, a, slot, &key);

    return err != LK_OK ? err : lk_svc_connection_format(host, a->name, key.data, key.len, ret);
}

/* ---- the check ---------------------------------------------------------------------------------
 */

enum lk_err
lk_access_refuse(const char *reason, struct lk_policy_check *ret)
{
    ret->reason = reason;
    return LK_ERR_REFUSED;
}

enum lk_err
lk_access_token_parse(const char *token, size_t token_len, int64_t now_ms, struct lk_sas *sas,
                      struct lk_policy_check *ret)
{
    enum lk_err err = lk_sas_parse(token, token_len, sas);

    if (err == LK_ERR_NOMEM) {
        return err;
    }
    if (err != LK_OK) {
        return lk_access_refuse("token.malformed", ret);
    }
    if (!lk_policy_name_ok(sas->key_name, strlen(sas->key_name))) {
        return lk_access_refuse("token.key_name", ret);
    }
    if (now_ms >= 0 && sas->expiry_unix_s < UINT64_MAX - LK_POLICY_SKEW_S &&
        (uint64_t)now_ms / 1000 > sas->expiry_unix_s + LK_POLICY_SKEW_S) {
        return lk_access_refuse("token.expired", ret);
    }
    return LK_OK;
}

/*
 * In place of a policy that does not exist: a key that is sealed under the newest master key as far
 * as anybody can see, and does not open.
 */
static enum lk_err
decoy_make(const struct lk_keyring *ring, struct lk_buf *ret)
{
    static const uint8_t zeros[LK_KEYRING_SEAL_OVERHEAD - 8 + LK_POLICY_KEY_LEN];
    const uint64_t id = lk_keyring_id(ring, lk_keyring_count(ring) - 1);
    enum lk_err err = lk_buf_put_u64(ret, id);

    return err != LK_OK ? err : lk_buf_put(ret, zeros, sizeof(zeros));
}

/* A decoy's key is one of zeros, which is tried like any other; nobody gets in by it. */
static enum lk_err
slot_check(const struct lk_keyring *ring, const struct lk_access *a, enum lk_policy_slot slot,
           const struct lk_sas *sas, bool also_decoded, bool exists)
{
    static const uint8_t nobody[LK_POLICY_KEY_LEN];
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    enum lk_err err = lk_access_key_get(ring, a, slot, &key);

    if (!exists && err == LK_ERR_REFUSED) {
        err = lk_buf_put(&key, nobody, sizeof(nobody));
    }
    if (err == LK_OK) {
        err = lk_sas_verify(sas, key.data, key.len, also_decoded);
    }
    return err == LK_OK && !exists ? LK_ERR_REFUSED : err;
}

static enum lk_err
keys_check(const struct lk_keyring *ring, const struct lk_access *a, bool exists,
           const struct lk_sas *sas, bool also_decoded, struct lk_policy_check *ret)
{
    enum lk_err primary = slot_check(ring, a, LK_POLICY_PRIMARY, sas, also_decoded, exists);
    enum lk_err secondary = slot_check(ring, a, LK_POLICY_SECONDARY, sas, also_decoded, exists);

    if (primary == LK_OK || secondary == LK_OK) {
        return LK_OK;
    }
    if (primary != LK_ERR_REFUSED || secondary != LK_ERR_REFUSED) {
        return primary != LK_ERR_REFUSED ? primary : secondary;
    }
    return lk_access_refuse(exists ? "token.signature" : "policy.unknown", ret);
}

enum lk_err
lk_access_judge(const struct lk_keyring *ring, const struct lk_access *a, bool exists,
                const struct lk_sas *sas, bool also_decoded, unsigned rights,
                struct lk_policy_check *ret)
{
    LK_AUTO_BUF struct lk_buf decoy = LK_BUF_INIT;
    struct lk_access tried = *a;
    enum lk_err err;

    if (!exists) {
        if ((err = decoy_make(ring, &decoy)) != LK_OK) {
            return err;
        }
        tried.primary = &decoy;
        tried.secondary = &decoy;
    }
    if ((err = keys_check(ring, &tried, exists, sas, also_decoded, ret)) != LK_OK) {
        return err;
    }
    if ((err = lk_strcpy(ret->name, sizeof(ret->name), a->name)) != LK_OK) {
        return err;
    }
    if ((a->rights & rights) != rights) {
        return lk_access_refuse("policy.right_missing", ret);
    }
    ret->rights = a->rights;
    return LK_OK;
}
