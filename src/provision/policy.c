#include "provision/policy.h"

#include <string.h>

#include "base/codec.h"

static const struct {
    const char *name;
    unsigned right;
} right_names[] = {
    {"ServiceConfig", LK_RIGHT_SERVICE_CONFIG},
    {"EnrollmentRead", LK_RIGHT_ENROLLMENT_READ},
    {"EnrollmentWrite", LK_RIGHT_ENROLLMENT_WRITE},
    {"DeviceConnect", LK_RIGHT_DEVICE_CONNECT},
    {"RegistrationStatusRead", LK_RIGHT_REGISTRATION_STATUS_READ},
    {"RegistrationStatusWrite", LK_RIGHT_REGISTRATION_STATUS_WRITE},
};

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
right_of(const char *text, size_t len)
{
    for (; len > 0 && *text == ' '; text++, len--) {
    }
    for (; len > 0 && text[len - 1] == ' '; len--) {
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(right_names); i++) {
        if (lk_ascii_caseeq(text, len, right_names[i].name, strlen(right_names[i].name))) {
            return right_names[i].right;
        }
    }
    return 0;
}

enum lk_err
lk_rights_parse(const char *text, unsigned *ret)
{
    unsigned rights = 0;

    for (;;) {
        size_t len = strcspn(text, ",");
        unsigned right = right_of(text, len);

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
lk_rights_format(unsigned rights, struct lk_buf *ret)
{
    const char *comma = "";
    enum lk_err err;

    for (size_t i = 0; i < LK_ARRAY_LEN(right_names); i++) {
        if ((rights & right_names[i].right) == 0) {
            continue;
        }
        if ((err = lk_buf_puts(ret, comma)) != LK_OK ||
            (err = lk_buf_puts(ret, right_names[i].name)) != LK_OK) {
            return err;
        }
        comma = ",";
    }
    return LK_OK;
}

/* ---- keys at rest ------------------------------------------------------------------------------
 */

/* The place that a sealed key is bound to. Neither scope nor name can hold the separator. */
static enum lk_err
key_place(const struct lk_policy *p, enum lk_policy_slot slot, struct lk_buf *place,
          const char **ret)
{
    enum lk_err err = lk_buf_printf(place, "policy|%s|%s|%s", p->scope, p->name,
                                    slot == LK_POLICY_PRIMARY ? "primary" : "secondary");

    *ret = err == LK_OK ? lk_buf_text(place) : NULL;
    return err == LK_OK && *ret == NULL ? LK_ERR_NOMEM : err;
}

static enum lk_err
key_seal(const struct lk_keyring *ring, const struct lk_rand *rnd, enum lk_policy_slot slot,
         const void *key, size_t key_len, struct lk_policy *p)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf sealed = LK_BUF_INIT;
    const char *ad;
    enum lk_err err;

    if ((err = key_place(p, slot, &place, &ad)) != LK_OK ||
        (err = lk_keyring_seal(ring, ad, key, key_len, rnd, &sealed)) != LK_OK) {
        return err;
    }
    lk_buf_move(slot == LK_POLICY_PRIMARY ? &p->sealed_primary : &p->sealed_secondary, &sealed);
    return LK_OK;
}

enum lk_err
lk_policy_key_set(const struct lk_keyring *ring, const struct lk_rand *rnd,
                  enum lk_policy_slot slot, const void *key, size_t key_len, struct lk_policy *p)
{
    uint8_t fresh[LK_POLICY_KEY_LEN];
    enum lk_err err;

    if (key != NULL) {
        if (key_len < LK_POLICY_KEY_MIN || key_len > LK_POLICY_KEY_MAX) {
            return LK_ERR_ARG;
        }
        return key_seal(ring, rnd, slot, key, key_len, p);
    }
    if ((err = lk_rand_fill(rnd, fresh, sizeof(fresh))) == LK_OK) {
        err = key_seal(ring, rnd, slot, fresh, sizeof(fresh), p);
    }
    lk_wipe(fresh, sizeof(fresh));
    return err;
}

enum lk_err
lk_policy_key_get(const struct lk_keyring *ring, const struct lk_policy *p,
                  enum lk_policy_slot slot, struct lk_buf *ret)
{
    const struct lk_buf *sealed =
        slot == LK_POLICY_PRIMARY ? &p->sealed_primary : &p->sealed_secondary;
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    const char *ad;
    enum lk_err err = key_place(p, slot, &place, &ad);

    return err != LK_OK ? err : lk_keyring_unseal(ring, ad, sealed->data, sealed->len, ret);
}

enum lk_err
lk_policy_make(const struct lk_keyring *ring, const struct lk_rand *rnd, const char *scope,
               const char *name, unsigned rights, struct lk_policy *ret)
{
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    if (!lk_policy_name_ok(name, strlen(name)) || rights == 0 || (rights & ~LK_RIGHTS_ALL) != 0) {
        return LK_ERR_ARG;
    }
    ret->rights = rights;
    if ((err = lk_strcpy(ret->scope, sizeof(ret->scope), scope)) != LK_OK ||
        (err = lk_strcpy(ret->name, sizeof(ret->name), name)) != LK_OK ||
        (err = lk_policy_key_set(ring, rnd, LK_POLICY_PRIMARY, NULL, 0, ret)) != LK_OK) {
        return err;
    }
    return lk_policy_key_set(ring, rnd, LK_POLICY_SECONDARY, NULL, 0, ret);
}

enum lk_err
lk_policy_connection_string(const struct lk_keyring *ring, const struct lk_policy *p,
                            enum lk_policy_slot slot, const char *host, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    enum lk_err err;

    if ((err = lk_policy_key_get(ring, p, slot, &key)) != LK_OK ||
        (err = lk_buf_printf(ret, "HostName=%s;SharedAccessKeyName=%s;SharedAccessKey=", host,
                             p->name)) != LK_OK) {
        return err;
    }
    return lk_base64_encode(key.data, key.len, ret);
}

/* ---- the check ---------------------------------------------------------------------------------
 */

static enum lk_err
refuse(const char *reason, struct lk_policy_check *ret)
{
    ret->reason = reason;
    return LK_ERR_REFUSED;
}

/* What the token says by itself. */
static enum lk_err
token_judge(const char *token, size_t token_len, const char *resource, int64_t now_ms,
            struct lk_sas *sas, struct lk_policy_check *ret)
{
    if (lk_sas_parse(token, token_len, sas) != LK_OK) {
        return refuse("token.malformed", ret);
    }
    if (!lk_policy_name_ok(sas->key_name, strlen(sas->key_name))) {
        return refuse("token.key_name", ret);
    }
    if (!lk_resource_covers(sas->resource, resource, true)) {
        return refuse("token.resource", ret);
    }
    if (now_ms >= 0 && sas->expiry_unix_s < UINT64_MAX - LK_POLICY_SKEW_S &&
        (uint64_t)now_ms / 1000 > sas->expiry_unix_s + LK_POLICY_SKEW_S) {
        return refuse("token.expired", ret);
    }
    return LK_OK;
}

/*
 * In place of a policy that does not exist: keys that are sealed under the newest master key as far
 * as anybody can see, and do not open.
 */
static enum lk_err
decoy_make(const struct lk_keyring *ring, const char *scope, const char *name,
           struct lk_policy *ret)
{
    static const uint8_t zeros[LK_KEYRING_SEAL_OVERHEAD - 8 + LK_POLICY_KEY_LEN];
    const uint64_t id = lk_keyring_id(ring, lk_keyring_count(ring) - 1);
    enum lk_err err;

    if ((err = lk_strcpy(ret->scope, sizeof(ret->scope), scope)) != LK_OK ||
        (err = lk_strcpy(ret->name, sizeof(ret->name), name)) != LK_OK ||
        (err = lk_buf_put_u64(&ret->sealed_primary, id)) != LK_OK ||
        (err = lk_buf_put(&ret->sealed_primary, zeros, sizeof(zeros))) != LK_OK ||
        (err = lk_buf_put_u64(&ret->sealed_secondary, id)) != LK_OK) {
        return err;
    }
    return lk_buf_put(&ret->sealed_secondary, zeros, sizeof(zeros));
}

/* A decoy's key is one of zeros, which is tried like any other; nobody gets in by it. */
static enum lk_err
slot_check(const struct lk_keyring *ring, const struct lk_policy *p, enum lk_policy_slot slot,
           const struct lk_sas *sas, bool exists)
{
    static const uint8_t nobody[LK_POLICY_KEY_LEN];
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    enum lk_err err = lk_policy_key_get(ring, p, slot, &key);

    if (!exists && err == LK_ERR_REFUSED) {
        err = lk_buf_put(&key, nobody, sizeof(nobody));
    }
    if (err == LK_OK) {
        err = lk_sas_verify(sas, key.data, key.len, false);
    }
    return err == LK_OK && !exists ? LK_ERR_REFUSED : err;
}

static enum lk_err
policy_judge(const struct lk_keyring *ring, const struct lk_policy *p, bool exists,
             const struct lk_sas *sas, unsigned rights, struct lk_policy_check *ret)
{
    enum lk_err primary = slot_check(ring, p, LK_POLICY_PRIMARY, sas, exists);
    enum lk_err secondary = slot_check(ring, p, LK_POLICY_SECONDARY, sas, exists);

    if (primary != LK_OK && secondary != LK_OK) {
        if (primary != LK_ERR_REFUSED) {
            return primary;
        }
        return secondary != LK_ERR_REFUSED
                   ? secondary
                   : refuse(exists ? "token.signature" : "policy.unknown", ret);
    }
    memcpy(ret->name, p->name, sizeof(ret->name));
    return (p->rights & rights) == rights ? LK_OK : refuse("policy.right_missing", ret);
}

enum lk_err
lk_policy_check(const struct lk_keyring *ring, struct lk_txn *tx, const char *scope,
                const char *resource, const char *token, size_t token_len, int64_t now_ms,
                unsigned rights, struct lk_policy_check *ret)
{
    struct lk_policy p = {.rights = 0};
    struct lk_sas sas;
    bool exists;
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    if ((err = token_judge(token, token_len, resource, now_ms, &sas, ret)) != LK_OK) {
        return err;
    }
    err = lk_txn_policy_get(tx, scope, sas.key_name, &p);
    exists = err == LK_OK;
    if (err == LK_ERR_NOT_FOUND) {
        err = decoy_make(ring, scope, sas.key_name, &p);
    }
    if (err == LK_OK) {
        err = policy_judge(ring, &p, exists, &sas, rights, ret);
    }
    lk_policy_fini(&p);
    return err;
}
