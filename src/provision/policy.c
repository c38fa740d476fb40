#include "provision/policy.h"

#include <string.h>

static const struct lk_right_name right_names[] = {
    {"ServiceConfig", LK_RIGHT_SERVICE_CONFIG},
    {"EnrollmentRead", LK_RIGHT_ENROLLMENT_READ},
    {"EnrollmentWrite", LK_RIGHT_ENROLLMENT_WRITE},
    {"DeviceConnect", LK_RIGHT_DEVICE_CONNECT},
    {"RegistrationStatusRead", LK_RIGHT_REGISTRATION_STATUS_READ},
    {"RegistrationStatusWrite", LK_RIGHT_REGISTRATION_STATUS_WRITE},
};

enum lk_err
lk_rights_parse(const char *text, unsigned *ret)
{
    return lk_right_names_parse(right_names, LK_ARRAY_LEN(right_names), text, ret);
}

enum lk_err
lk_rights_format(unsigned rights, struct lk_buf *ret)
{
    return lk_right_names_format(right_names, LK_ARRAY_LEN(right_names), rights, ret);
}

static struct lk_access
access_of(const struct lk_policy *p)
{
    return (struct lk_access){.kind = "policy",
                              .home = p->scope,
                              .name = p->name,
                              .rights = p->rights,
                              .primary = &p->sealed_primary,
                              .secondary = &p->sealed_secondary};
}

enum lk_err
lk_policy_key_set(const struct lk_keyring *ring, const struct lk_rand *rnd,
                  enum lk_policy_slot slot, const void *key, size_t key_len, struct lk_policy *p)
{
    const struct lk_access at = access_of(p);

    return lk_access_key_set(ring, rnd, &at, slot, key, key_len,
                             slot == LK_POLICY_PRIMARY ? &p->sealed_primary : &p->sealed_secondary);
}

enum lk_err
lk_policy_key_get(const struct lk_keyring *ring, const struct lk_policy *p,
                  enum lk_policy_slot slot, struct lk_buf *ret)
{
    const struct lk_access a = access_of(p);

    return lk_access_key_get(ring, &a, slot, ret);
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
    const struct lk_access a = access_of(p);

    return lk_access_connection_string(ring, &a, slot, host, ret);
}

enum lk_err
lk_policy_check(const struct lk_keyring *ring, struct lk_txn *tx, const char *scope,
                const char *resource, const char *token, size_t token_len, int64_t now_ms,
                unsigned rights, struct lk_policy_check *ret)
{
    struct lk_policy p = {.rights = 0};
    struct lk_access a;
    struct lk_sas sas;
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    if ((err = lk_access_token_parse(token, token_len, now_ms, &sas, ret)) != LK_OK) {
        return err;
    }
    if (!lk_resource_covers(sas.resource, resource, true)) {
        return lk_access_refuse("token.resource", ret);
    }
    err = lk_txn_policy_get(tx, scope, sas.key_name, &p);
    if (err == LK_OK || err == LK_ERR_NOT_FOUND) {
        a = access_of(&p);
        a.home = scope;
        a.name = sas.key_name;
        err = lk_access_judge(ring, &a, err == LK_OK, &sas, false, rights, ret);
    }
    lk_policy_fini(&p);
    return err;
}
