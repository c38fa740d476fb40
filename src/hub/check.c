/* The credential of a device at its hub: iot-hub.md section 4, in its order. */
#include "hub/hub_int.h"

#include <string.h>

#include "base/codec.h"
#include "hub/policy.h"

static const char devices[] = "/devices/";

static enum lk_err
refuse(struct lk_device_check *check, const char *reason)
{
    check->reason = reason;
    check->retire_secondary = false;
    return LK_ERR_REFUSED;
}

/* Bytes of ":8883" at text, 0 when there is no port. Clients that were given one sign it too. */
static size_t
port_len(const char *text)
{
    size_t digits = text[0] == ':' ? strspn(text + 1, "0123456789") : 0;

    return digits >= 1 && digits <= 5 ? 1 + digits : 0;
}

/* What follows "{hub}[:port]" in a resource; NULL for any other one. */
static const char *
resource_rest(const char *resource, const char *hub)
{
    size_t hub_len = strlen(hub);

    if (strlen(resource) < hub_len || !lk_ascii_caseeq(resource, hub_len, hub, hub_len)) {
        return NULL;
    }
    return resource + hub_len + port_len(resource + hub_len);
}

/* Where the token leads: to the device that ret is of, or the one that it names itself. */
static enum lk_err
resource_judge(const struct lk_sas *sas, const char *hub, struct lk_device_check *ret)
{
    const char *rest = resource_rest(sas->resource, hub);
    bool names_device = rest != NULL && strncmp(rest, devices, sizeof(devices) - 1) == 0;
    const char *named = names_device ? rest + sizeof(devices) - 1 : NULL;

    if (named != NULL && ret->device_id[0] == '\0' && lk_device_id_ok(named, strlen(named)) &&
        lk_strcpy(ret->device_id, sizeof(ret->device_id), named) == LK_OK) {
        return LK_OK;
    }
    if (named != NULL && ret->device_id[0] != '\0' && strcmp(named, ret->device_id) == 0) {
        return LK_OK;
    }
    return refuse(ret, "token.resource");
}

/* As it is for a policy's token, which may cover all devices. */
static bool
resource_is_wide(const struct lk_sas *sas, const char *hub)
{
    const char *rest = resource_rest(sas->resource, hub);

    return rest != NULL && (rest[0] == '\0' || strcmp(rest, "/devices") == 0);
}

static bool
by_policy(const struct lk_sas *sas, const char *device_id)
{
    return sas->key_name[0] != '\0' && strcmp(sas->key_name, device_id) != 0;
}

/* Everything that the token says by itself. */
static enum lk_err
token_judge(const struct lk_sas *sas, const char *hub, int64_t now_ms, struct lk_device_check *ret)
{
    uint64_t now_s = now_ms < 0 ? 0 : (uint64_t)now_ms / 1000;
    bool wide =
        ret->device_id[0] != '\0' && by_policy(sas, ret->device_id) && resource_is_wide(sas, hub);
    enum lk_err err;

    if (!wide && (err = resource_judge(sas, hub, ret)) != LK_OK) {
        return err;
    }
    if (now_s > LK_HUB_SKEW_S && now_s - LK_HUB_SKEW_S > sas->expiry_unix_s) {
        return refuse(ret, "token.expired");
    }
    ret->expiry_unix_s = sas->expiry_unix_s;
    return LK_OK;
}

/* LK_ERR_REFUSED when the slot is empty, after the work that a key in it would have made. */
static enum lk_err
slot_verify(const struct lk_keyring *ring, const struct lk_identity *id, enum lk_key_slot slot,
            const struct lk_sas *sas)
{
    static const uint8_t nobody[LK_SAS_SIG_LEN];
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    enum lk_err err = lk_hub_key_open(ring, id, slot, &key);

    if (err == LK_ERR_NOT_FOUND) {
        err = lk_sas_verify(sas, nobody, sizeof(nobody), true);
        return err == LK_OK ? LK_ERR_REFUSED : err;
    }
    return err != LK_OK ? err : lk_sas_verify(sas, key.data, key.len, true);
}

/* Both slots, always. */
static enum lk_err
signature_judge(const struct lk_keyring *ring, const struct lk_identity *id,
                const struct lk_sas *sas, struct lk_device_check *ret)
{
    enum lk_err primary = slot_verify(ring, id, LK_KEY_PRIMARY, sas);
    enum lk_err secondary = slot_verify(ring, id, LK_KEY_SECONDARY, sas);

    if (primary == LK_OK) {
        ret->slot = LK_KEY_PRIMARY;
        ret->retire_secondary = id->secondary_retires;
        return LK_OK;
    }
    if (secondary == LK_OK) {
        ret->slot = LK_KEY_SECONDARY;
        return LK_OK;
    }
    if (primary != LK_ERR_REFUSED || secondary != LK_ERR_REFUSED) {
        return primary != LK_ERR_REFUSED ? primary : secondary;
    }
    return refuse(ret, "token.signature");
}

/* By the keys of a policy that may speak for devices. */
static enum lk_err
policy_judge(const struct lk_keyring *ring, struct lk_txn *tx, const char *hub,
             const struct lk_sas *sas, struct lk_device_check *ret)
{
    struct lk_policy_check found = {.reason = NULL};
    enum lk_err err = lk_hub_policy_judge(ring, tx, hub, sas, true, LK_HUB_DEVICE_CONNECT, &found);

    if (err == LK_ERR_REFUSED) {
        return refuse(ret, found.reason);
    }
    return err != LK_OK ? err : lk_strcpy(ret->policy, sizeof(ret->policy), found.name);
}

/* id: zeros when there is no such device. The work is the same for both. */
static enum lk_err
identity_judge(const struct lk_keyring *ring, struct lk_txn *tx, const char *hub,
               const struct lk_identity *id, const struct lk_sas *sas, struct lk_device_check *ret)
{
    enum lk_err err = by_policy(sas, ret->device_id) ? policy_judge(ring, tx, hub, sas, ret)
                                                     : signature_judge(ring, id, sas, ret);
    bool ours = err == LK_OK || err == LK_ERR_REFUSED;

    if (ours && id->device_id[0] == '\0') {
        return refuse(ret, "device.unknown");
    }
    if (err != LK_OK) {
        return err;
    }
    if (!id->enabled) {
        return refuse(ret, "device.disabled");
    }
    if (id->auth != LK_AUTH_SAS) {
        return refuse(ret, "device.signs_no_tokens");
    }
    memcpy(ret->etag, id->etag, sizeof(ret->etag));
    memcpy(ret->generation_id, id->generation_id, sizeof(ret->generation_id));
    return LK_OK;
}

enum lk_err
lk_hub_check_device(struct lk_hub_core *h, struct lk_txn *tx, const char *hub,
                    const char *device_id, const char *token, size_t token_len, int64_t now_ms,
                    struct lk_device_check *ret)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = lk_hub_core_ring(h);
    char name[LK_HOST_NAME_MAX + 1];
    struct lk_identity id;
    struct lk_sas sas;
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    if (lk_strcpy(name, sizeof(name), hub) != LK_OK) {
        return LK_ERR_ARG;
    }
    lk_ascii_lower(name);
    if (device_id != NULL &&
        (!lk_device_id_ok(device_id, strlen(device_id)) ||
         lk_strcpy(ret->device_id, sizeof(ret->device_id), device_id) != LK_OK)) {
        return refuse(ret, "device.malformed");
    }
    err = token_len > LK_SAS_MAX ? LK_ERR_LIMIT : lk_sas_parse(token, token_len, &sas);
    if (err == LK_ERR_NOMEM) {
        return err;
    }
    if (err != LK_OK) {
        return refuse(ret, "token.malformed");
    }
    if ((err = token_judge(&sas, name, now_ms, ret)) != LK_OK) {
        return err;
    }
    err = lk_txn_identity_get(tx, name, ret->device_id, &id);
    if (err == LK_ERR_NOT_FOUND) {
        memset(&id, 0, sizeof(id)); /* no keys */
    } else if (err != LK_OK) {
        return err;
    }
    return identity_judge(ring, tx, name, &id, &sas, ret);
}

enum lk_err
lk_hub_check_identity(struct lk_txn *tx, const char *hub, const char *device_id,
                      struct lk_device_check *ret)
{
    char name[LK_HOST_NAME_MAX + 1];
    struct lk_identity id = {.enabled = false};
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    if (lk_strcpy(name, sizeof(name), hub) != LK_OK ||
        lk_strcpy(ret->device_id, sizeof(ret->device_id), device_id) != LK_OK) {
        return LK_ERR_ARG;
    }
    lk_ascii_lower(name);
    err = lk_txn_identity_get(tx, name, device_id, &id);
    if (err == LK_ERR_NOT_FOUND) {
        return refuse(ret, "device.unknown");
    }
    if (err == LK_OK && !id.enabled) {
        return refuse(ret, "device.disabled");
    }
    return err == LK_OK && id.auth != LK_AUTH_SAS ? refuse(ret, "device.signs_no_tokens") : err;
}

enum lk_err
lk_hub_retire_secondary(struct lk_hub_core *h, struct lk_txn *tx, const char *hub,
                        const struct lk_device_check *checked)
{
    char name[LK_HOST_NAME_MAX + 1];
    struct lk_identity id;
    enum lk_err err;

    if (lk_strcpy(name, sizeof(name), hub) != LK_OK) {
        return LK_ERR_ARG;
    }
    lk_ascii_lower(name);
    err = lk_txn_identity_get(tx, name, checked->device_id, &id);
    if (err == LK_ERR_NOT_FOUND) {
        return LK_OK;
    }
    if (err != LK_OK || !id.secondary_retires || strcmp(id.etag, checked->etag) != 0) {
        return err;
    }
    id.secondary_len = 0;
    id.secondary_retires = false;
    return lk_txn_identity_put(tx, &id, NULL);
}
