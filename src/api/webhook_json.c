/* What a webhook is told and what it answers (service-api.md section 11). */
#include <stdio.h>
#include <string.h>

#include "api/webhook.h"
#include "base/codec.h"

/* Take value, which may be NULL for want of memory, into o. */
static enum lk_err
member_set(json_t *o, const char *name, json_t *value)
{
    return json_object_set_new(o, name, value) == 0 ? LK_OK : LK_ERR_NOMEM;
}

static enum lk_err
bytes_set(json_t *o, const char *name, const void *data, size_t len)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = lk_base64_encode(data, len, &text);

    if (err != LK_OK) {
        return err;
    }
    return member_set(o, name, json_stringn((const char *)text.data, text.len));
}

/* JSON text of ours, as it was stored. */
static enum lk_err
text_set(json_t *o, const char *name, const struct lk_buf *text)
{
    json_t *value = NULL;
    enum lk_err err;

    if (text->len == 0) {
        return LK_OK;
    }
    err = lk_json_parse(text->data, text->len, true, NULL, &value);
    return err != LK_OK ? err : member_set(o, name, value);
}

static bool
is_tpm(const struct lk_enrollment *e)
{
    return e->attestation == LK_ATTESTATION_TPM || e->attestation == LK_ATTESTATION_EK_CERT;
}

static const char *
attestation_name(const struct lk_enrollment *e)
{
    return is_tpm(e)                                        ? "tpm"
           : e->attestation == LK_ATTESTATION_SYMMETRIC_KEY ? "symmetricKey"
                                                            : "x509";
}

/* ---- the enrollment ---------------------------------------------------------------------------
 */

/* Public parts only: EKs are, certificates are left out as in all answers, shared keys are secret.
 */
static enum lk_err
attestation_set(json_t *o, const struct lk_enrollment *e)
{
    json_t *attestation = json_pack("{s:s}", "type", attestation_name(e));
    json_t *tpm;
    enum lk_err err = member_set(o, "attestation", attestation);

    if (err != LK_OK || e->attestation != LK_ATTESTATION_TPM || e->eks_count == 0) {
        return err;
    }
    tpm = json_object();
    if ((err = member_set(attestation, "tpm", tpm)) != LK_OK ||
        (err = bytes_set(tpm, "endorsementKey", e->eks[0].pub, e->eks[0].pub_len)) != LK_OK ||
        e->srk_pub.len == 0) {
        return err;
    }
    return bytes_set(tpm, "storageRootKey", e->srk_pub.data, e->srk_pub.len);
}

static enum lk_err
named_hubs_set(json_t *o, const struct lk_enrollment *e)
{
    json_t *hubs = json_array();
    enum lk_err err = member_set(o, "iotHubs", hubs);

    for (size_t i = 0; err == LK_OK && i < e->hubs_count; i++) {
        err = json_array_append_new(hubs, json_string(e->hubs[i])) == 0 ? LK_OK : LK_ERR_NOMEM;
    }
    return err;
}

static enum lk_err
enrollment_set(json_t *o, const struct lk_webhook_ask *ask)
{
    const struct lk_enrollment *e = ask->enrollment;
    bool is_group = ask->group[0] != '\0';
    json_t *m = json_pack(
        "{s:s, s:s, s:s, s:{s:b}, s:{s:b, s:b}, s:{s:s, s:s}, s:o}",
        is_group ? "enrollmentGroupId" : "registrationId", is_group ? ask->group : e->id,
        "provisioningStatus", e->enabled ? "enabled" : "disabled", "allocationPolicy", "custom",
        "capabilities", "iotEdge", e->iot_edge, "reprovisionPolicy", "updateHubAssignment",
        e->reprovision_update_hub, "migrateDeviceData", e->reprovision_migrate,
        "customAllocationDefinition", "webhookUrl", e->webhook_url, "apiVersion",
        e->webhook_api_version, "etag", json_sprintf("\"%s\"", e->etag));
    enum lk_err err = member_set(o, is_group ? "enrollmentGroup" : "individualEnrollment", m);

    if (err == LK_OK && !is_group && e->device_id[0] != '\0') {
        err = member_set(m, "deviceId", json_string(e->device_id));
    }
    if (err != LK_OK || (err = attestation_set(m, e)) != LK_OK ||
        (e->hubs_count > 0 && (err = named_hubs_set(m, e)) != LK_OK) ||
        (err = text_set(m, "optionalDeviceInformation", &e->device_info)) != LK_OK) {
        return err;
    }
    return text_set(m, "initialTwin", &e->initial_twin);
}

/* ---- the device -------------------------------------------------------------------------------
 */

/* Of the EKs that the enrollment accepts, the one that was proved. */
static enum lk_err
proof_set(json_t *o, const struct lk_webhook_ask *ask)
{
    const struct lk_enrollment *e = ask->enrollment;
    json_t *proof = json_object();
    enum lk_err err = member_set(o, attestation_name(e), proof);

    if (err != LK_OK || !is_tpm(e)) {
        return err;
    }
    for (size_t i = 0; err == LK_OK && i < e->eks_count; i++) {
        if (memcmp(e->eks[i].id, ask->proof->ek_id, LK_EK_ID_LEN) == 0) {
            err = bytes_set(proof, "endorsementKey", e->eks[i].pub, e->eks[i].pub_len);
        }
    }
    return err != LK_OK
               ? err
               : bytes_set(proof, "storageRootKey", ask->proof->srk_pub, ask->proof->srk_pub_len);
}

static enum lk_err
context_set(json_t *o, const struct lk_webhook_ask *ask)
{
    json_t *context = json_pack("{s:s}", "registrationId", ask->enrollment->id);
    enum lk_err err = member_set(o, "deviceRuntimeContext", context);

    if (err == LK_OK && ask->current_hub != NULL) {
        err = member_set(context, "currentIotHubHostName", json_string(ask->current_hub));
    }
    if (err == LK_OK && ask->current_device_id != NULL) {
        err = member_set(context, "currentDeviceId", json_string(ask->current_device_id));
    }
    if (err != LK_OK || (err = proof_set(context, ask)) != LK_OK) {
        return err;
    }
    return text_set(context, "payload", ask->payload);
}

enum lk_err
lk_webhook_ask_format(const struct lk_webhook_ask *ask, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *o = json_object();
    json_t *hubs = json_array();
    enum lk_err err;

    if ((err = enrollment_set(o, ask)) != LK_OK || (err = context_set(o, ask)) != LK_OK ||
        (err = member_set(o, "linkedHubs", hubs)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < ask->hubs_count; i++) {
        if (json_array_append_new(hubs, json_string(ask->hubs[i]->name)) != 0) {
            return LK_ERR_NOMEM;
        }
    }
    return lk_json_write(o, ret);
}

/* ---- the answer -------------------------------------------------------------------------------
 */

/* A member that is absent or null stays away. */
static enum lk_err
member_take(const json_t *o, const char *name, struct lk_buf *ret)
{
    const json_t *value = json_object_get(o, name);

    return value == NULL || json_is_null(value) ? LK_OK : lk_json_write(value, ret);
}

static enum lk_err
answer_fault(char error[LK_JSON_ERROR_CAP], const char *text)
{
    (void)snprintf(error, LK_JSON_ERROR_CAP, "%s", text);
    return LK_ERR_FORMAT;
}

enum lk_err
lk_webhook_answer_parse(const void *body, size_t len, char error[LK_JSON_ERROR_CAP],
                        struct lk_webhook_answer *ret)
{
    LK_AUTO(json) json_t *o = NULL;
    const json_t *twin;
    const char *hub;
    enum lk_err err = lk_json_parse(body, len, false, error, &o);

    if (err != LK_OK) {
        return err;
    }
    if (lk_json_text(o, "iotHubHostName", &hub) != LK_OK || hub == NULL ||
        lk_strcpy(ret->hub, sizeof(ret->hub), hub) != LK_OK) {
        return answer_fault(error, "iotHubHostName is not a host name");
    }
    twin = json_object_get(o, "initialTwin");
    if (twin != NULL && !json_is_null(twin) && !json_is_object(twin)) {
        return answer_fault(error, "initialTwin is not an object");
    }
    err = member_take(o, "initialTwin", &ret->initial_twin);
    return err != LK_OK ? err : member_take(o, "payload", &ret->payload);
}
