#include "hub/policy.h"

#include <string.h>

static const struct lk_right_name right_names[] = {
    {"RegistryRead", LK_HUB_REGISTRY_READ},
    {"RegistryWrite", LK_HUB_REGISTRY_WRITE},
    {"ServiceConnect", LK_HUB_SERVICE_CONNECT},
    {"DeviceConnect", LK_HUB_DEVICE_CONNECT},
};

enum lk_err
lk_hub_rights_parse(const char *text, unsigned *ret)
{
    return lk_right_names_parse(right_names, LK_ARRAY_LEN(right_names), text, ret);
}

enum lk_err
lk_hub_rights_format(unsigned rights, struct lk_buf *ret)
{
    return lk_right_names_format(right_names, LK_ARRAY_LEN(right_names), rights, ret);
}

unsigned
lk_hub_rights_usual(const char *policy_name)
{
    static const struct {
        const char *name;
        unsigned rights;
    } usual[] = {
        {LK_HUB_POLICY_OWNER, LK_HUB_RIGHTS_ALL},
        {"service", LK_HUB_SERVICE_CONNECT},
        {"device", LK_HUB_DEVICE_CONNECT},
        {"registryRead", LK_HUB_REGISTRY_READ},
        {"registryReadWrite", LK_HUB_REGISTRY_READ | LK_HUB_REGISTRY_WRITE},
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(usual); i++) {
        if (strcmp(policy_name, usual[i].name) == 0) {
            return usual[i].rights;
        }
    }
    return 0;
}

static struct lk_access
access_of(const struct lk_hub_policy *p)
{
    return (struct lk_access){.kind = "hubpolicy",
                              .home = p->hub,
                              .name = p->name,
                              .rights = p->rights,
                              .primary = &p->sealed_primary,
                              .secondary = &p->sealed_secondary};
}

enum lk_err
lk_hub_policy_key_set(const struct lk_keyring *ring, const struct lk_rand *rnd,
                      enum lk_policy_slot slot, const void *key, size_t key_len,
                      struct lk_hub_policy *p)
{
    const struct lk_access at = access_of(p);

    return lk_access_key_set(ring, rnd, &at, slot, key, key_len,
                             slot == LK_POLICY_PRIMARY ? &p->sealed_primary : &p->sealed_secondary);
}

enum lk_err
lk_hub_policy_make(const struct lk_keyring *ring, const struct lk_rand *rnd, const char *hub,
                   const char *name, unsigned rights, struct lk_hub_policy *ret)
{
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    if (!lk_policy_name_ok(name, strlen(name)) || rights == 0 ||
        (rights & ~LK_HUB_RIGHTS_ALL) != 0) {
        return LK_ERR_ARG;
    }
    ret->rights = rights;
    if ((err = lk_strcpy(ret->hub, sizeof(ret->hub), hub)) != LK_OK ||
        (err = lk_strcpy(ret->name, sizeof(ret->name), name)) != LK_OK ||
        (err = lk_hub_policy_key_set(ring, rnd, LK_POLICY_PRIMARY, NULL, 0, ret)) != LK_OK) {
        return err;
    }
    return lk_hub_policy_key_set(ring, rnd, LK_POLICY_SECONDARY, NULL, 0, ret);
}

enum lk_err
lk_hub_policy_connection_string(const struct lk_keyring *ring, const struct lk_hub_policy *p,
                                enum lk_policy_slot slot, const char *host, struct lk_buf *ret)
{
    const struct lk_access a = access_of(p);

    return lk_access_connection_string(ring, &a, slot, host, ret);
}

enum lk_err
lk_hub_policy_judge(const struct lk_keyring *ring, struct lk_txn *tx, const char *hub,
                    const struct lk_sas *sas, bool also_decoded, unsigned rights,
                    struct lk_policy_check *ret)
{
    struct lk_hub_policy p = {.rights = 0};
    struct lk_access a;
    enum lk_err err = lk_txn_hub_policy_get(tx, hub, sas->key_name, &p);

    if (err == LK_OK || err == LK_ERR_NOT_FOUND) {
        a = access_of(&p);
        a.home = hub;
        a.name = sas->key_name;
        err = lk_access_judge(ring, &a, err == LK_OK, sas, also_decoded, rights, ret);
    }
    lk_hub_policy_fini(&p);
    return err;
}

enum lk_err
lk_hub_policy_check(const struct lk_keyring *ring, struct lk_txn *tx, const char *hub,
                    const char *resource, const char *token, size_t token_len, int64_t now_ms,
                    unsigned rights, struct lk_policy_check *ret)
{
    struct lk_sas sas;
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    if ((err = lk_access_token_parse(token, token_len, now_ms, &sas, ret)) != LK_OK) {
        return err;
    }
    if (!lk_resource_covers(sas.resource, resource, true)) {
        return lk_access_refuse("token.resource", ret);
    }
    return lk_hub_policy_judge(ring, tx, hub, &sas, false, rights, ret);
}
