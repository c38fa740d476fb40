/* What a webhook is told and what it answers (service-api.md section 11). */
#include <stdio.h>
#include <string.h>

#include "api/enrollment_json.h"
#include "api/webhook.h"
#include "wire/members.h"

/* ---- the question ------------------------------------------------------------------------------
 */

/*
 * The enrollment as GET of the operators' API shows it; of shared keys not even the member that
 * would hold them (section 11). ask->enrollment has the device's id, also where the terms are a
 * group's.
 */
static enum lk_err
enrollment_set(json_t *o, const struct lk_webhook_ask *ask)
{
    static const struct lk_enrollment_view view = {.fallback = LK_ALLOC_DEFAULT};
    bool is_group = ask->group[0] != '\0';
    json_t *m = json_object();
    enum lk_err err = lk_member_put(o, is_group ? "enrollmentGroup" : "individualEnrollment", m);

    if (err != LK_OK ||
        (err = lk_enrollment_json_put(is_group ? LK_ENTITY_GROUP : LK_ENTITY_ENROLLMENT,
                                      ask->enrollment, &view, m)) != LK_OK ||
        (is_group && (err = lk_member_text(m, "enrollmentGroupId", ask->group)) != LK_OK)) {
        return err;
    }
    if (ask->enrollment->attestation == LK_ATTESTATION_SYMMETRIC_KEY) {
        (void)json_object_del(json_object_get(m, "attestation"), "symmetricKey");
    }
    return LK_OK;
}

/* Of the EKs that the enrollment accepts, the one that was proved. */
static enum lk_err
proof_set(json_t *context, const struct lk_webhook_ask *ask)
{
    const struct lk_enrollment *e = ask->enrollment;
    json_t *proof = json_object();
    enum lk_err err = lk_member_put(context, lk_attestation_name(e->attestation), proof);

    if (err != LK_OK || ask->proof->srk_pub_len == 0) {
        return err; /* no TPM: its kind is all that there is to tell */
    }
    for (size_t i = 0; err == LK_OK && i < e->eks_count; i++) {
        if (memcmp(e->eks[i].id, ask->proof->ek_id, LK_EK_ID_LEN) == 0) {
            err = lk_member_base64(proof, "endorsementKey", e->eks[i].pub, e->eks[i].pub_len);
        }
    }
    return err != LK_OK ? err
                        : lk_member_base64(proof, "storageRootKey", ask->proof->srk_pub,
                                           ask->proof->srk_pub_len);
}

static enum lk_err
context_set(json_t *o, const struct lk_webhook_ask *ask)
{
    json_t *context = json_object();
    const char *hub = ask->current_hub, *device_id = ask->current_device_id;
    enum lk_err err = lk_member_put(o, "deviceRuntimeContext", context);

    if (err != LK_OK ||
        (err = lk_member_text(context, "registrationId", ask->enrollment->id)) != LK_OK ||
        (hub != NULL && (err = lk_member_text(context, "currentIotHubHostName", hub)) != LK_OK) ||
        (device_id != NULL &&
         (err = lk_member_text(context, "currentDeviceId", device_id)) != LK_OK) ||
        (err = proof_set(context, ask)) != LK_OK) {
        return err;
    }
    return lk_member_json(context, "payload", ask->payload);
}

enum lk_err
lk_webhook_ask_format(const struct lk_webhook_ask *ask, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *o = json_object();
    json_t *hubs = json_array();
    enum lk_err err;

    if ((err = enrollment_set(o, ask)) != LK_OK || (err = context_set(o, ask)) != LK_OK ||
        (err = lk_member_put(o, "linkedHubs", hubs)) != LK_OK) {
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
    err = lk_member_get_json(o, "initialTwin", &ret->initial_twin);
    return err != LK_OK ? err : lk_member_get_json(o, "payload", &ret->payload);
}
