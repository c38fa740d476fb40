/* The small calls of <latchkey/device.h>: tokens for the hub, forgetting, names. */
#include <string.h>

#include <latchkey/latchkey.h>

#include "wire/ids.h"
#include "wire/sas.h"

const char *
lk_version(void)
{
    return LK_VERSION;
}

static enum lk_err
hub_resource(const char *hub, const char *device_id, struct lk_buf *ret)
{
    if (hub == NULL || device_id == NULL || !lk_host_name_ok(hub, strlen(hub)) ||
        !lk_device_id_ok(device_id, strlen(device_id))) {
        return LK_ERR_ARG;
    }
    return lk_buf_printf(ret, "%s/devices/%s", hub, device_id);
}

enum lk_err
lk_device_sas(struct lk_tpm *tpm, const char *hub, const char *device_id, uint64_t expiry_unix_s,
              char *buf, size_t cap)
{
    LK_AUTO_BUF struct lk_buf resource = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf token = LK_BUF_INIT;
    uint8_t sig[LK_TPM_HMAC_LEN];
    enum lk_err err;

    if ((err = hub_resource(hub, device_id, &resource)) != LK_OK) {
        return err;
    }
    if (lk_buf_text(&resource) == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = lk_sas_string_to_sign(lk_buf_text(&resource), expiry_unix_s, &text)) != LK_OK ||
        (err = lk_tpm_identity_hmac(tpm, text.data, text.len, sig)) != LK_OK ||
        (err = lk_sas_format(lk_buf_text(&resource), expiry_unix_s, sig, NULL, &token)) != LK_OK) {
        return err;
    }
    return lk_buf_text(&token) == NULL ? LK_ERR_NOMEM : lk_strcpy(buf, cap, lk_buf_text(&token));
}

enum lk_err
lk_device_forget(struct lk_tpm *tpm)
{
    return lk_tpm_identity_forget(tpm);
}

const char *
lk_register_step_name(enum lk_register_step step)
{
    static const char *const names[] = {
        [LK_STEP_KEYS] = "keys",         [LK_STEP_CHALLENGE] = "challenge",
        [LK_STEP_ACTIVATE] = "activate", [LK_STEP_AUTHORIZE] = "authorize",
        [LK_STEP_POLL] = "poll",         [LK_STEP_IMPORT] = "import",
        [LK_STEP_ASSIGNED] = "assigned", [LK_STEP_RETRY] = "retry",
    };

    return (unsigned)step < LK_ARRAY_LEN(names) ? names[step] : "unknown";
}

const char *
lk_register_status_name(enum lk_register_status status)
{
    static const char *const names[] = {
        [LK_REGISTER_NONE] = "none",
        [LK_REGISTER_ASSIGNED] = "assigned",
        [LK_REGISTER_FAILED] = "failed",
        [LK_REGISTER_DISABLED] = "disabled",
    };

    return (unsigned)status < LK_ARRAY_LEN(names) ? names[status] : "unknown";
}

const char *
lk_register_substatus_name(enum lk_register_substatus substatus)
{
    static const char *const names[] = {
        [LK_SUBSTATUS_NONE] = "",
        [LK_SUBSTATUS_INITIAL] = "initialAssignment",
        [LK_SUBSTATUS_MIGRATED] = "deviceDataMigrated",
        [LK_SUBSTATUS_RESET] = "deviceDataReset",
        [LK_SUBSTATUS_REPROVISIONED] = "reprovisionedToInitialAssignment",
    };

    return (unsigned)substatus < LK_ARRAY_LEN(names) ? names[substatus] : "unknown";
}
