/*
 * The operators' API as its own clients see it: answers read back, requests written, and the member
 * `latchkey`, which holds what an answer of the vendor's shape has no place for.
 */
#include <string.h>

#include "api/enrollment_json_int.h"
#include "base/codec.h"
#include "crypto/x509.h"

static const char *const slots[] = {"primary", "secondary"};

/* ---- details ----------------------------------------------------------------------------------
 */

static enum lk_err
certificates_put(const struct lk_enrollment *e, json_t *details)
{
    json_t *certs;
    enum lk_err err;

    if (e->attestation != LK_ATTESTATION_X509) {
        return LK_OK;
    }
    certs = json_object();
    err = lk_member_put(details, "certificates", certs);
    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(slots); i++) {
        if (e->certs[i].len > 0) {
            err = lk_member_base64(certs, slots[i], e->certs[i].data, e->certs[i].len);
        }
    }
    return err;
}

/* What answers tell then is what nobody chose. */
static bool
reprovision_is_default(const struct lk_enrollment *e)
{
    return e->reprovision_update_hub && e->reprovision_migrate && !e->reprovision_chosen;
}

enum lk_err
lk_enrollment_details_put(const struct lk_enrollment *e, json_t *object)
{
    json_t *details = json_object();
    enum lk_err err = lk_member_put(object, "latchkey", details);

    if (err != LK_OK || (err = lk_member_text(details, "scope", e->scope)) != LK_OK ||
        (err = certificates_put(e, details)) != LK_OK) {
        return err;
    }
    if (e->allocation == LK_ALLOC_DEFAULT &&
        (err = lk_member_put(details, "allocationIsDefault", json_true())) != LK_OK) {
        return err;
    }
    if (reprovision_is_default(e) &&
        (err = lk_member_put(details, "reprovisionIsDefault", json_true())) != LK_OK) {
        return err;
    }
    return e->import_id == 0 ? LK_OK
                             : lk_member_put(details, "import",
                                             json_pack("{s:I, s:I}", "id", (json_int_t)e->import_id,
                                                       "line", (json_int_t)e->import_line));
}

enum lk_err
lk_registration_details_put(const struct lk_registration *r, json_t *object)
{
    LK_AUTO_BUF struct lk_buf hex = LK_BUF_INIT;
    json_t *details = json_object();
    enum lk_err err = lk_member_put(object, "latchkey", details);

    if (err != LK_OK || (err = lk_hex_encode(r->ek_id, LK_EK_ID_LEN, &hex)) != LK_OK ||
        (err = lk_member_text(details, "scope", r->scope)) != LK_OK ||
        (err = lk_member_put(details, "generation", json_integer((json_int_t)r->generation))) !=
            LK_OK ||
        (err = lk_member_text_some(details, "operationId", r->operation_id)) != LK_OK ||
        (err = lk_member_time_some(details, "attestedDateTimeUtc", r->attested_ms)) != LK_OK) {
        return err;
    }
    return lk_member_put(details, "endorsementKeyId",
                         json_stringn((const char *)hex.data, hex.len));
}

/* ---- what answers share -----------------------------------------------------------------------
 */

/* An absent time stays. */
static enum lk_err
time_get(const json_t *object, const char *name, struct lk_svc_fault *fault, int64_t *ret)
{
    const char *text;
    enum lk_err err = lk_svc_text(object, name, LK_SVC_BAD_REQUEST, fault, &text);

    if (err != LK_OK || text == NULL) {
        return err;
    }
    return lk_timestamp_parse(text, strlen(text), ret) == LK_OK
               ? LK_OK
               : lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "%s: expected a time", name);
}

/* A text that fits; an absent one stays. */
static enum lk_err
text_get(const json_t *object, const char *name, struct lk_svc_fault *fault, char *buf, size_t cap)
{
    const char *text;
    enum lk_err err = lk_svc_text(object, name, LK_SVC_BAD_REQUEST, fault, &text);

    if (err != LK_OK || text == NULL) {
        return err;
    }
    return lk_strcpy(buf, cap, text) == LK_OK
               ? LK_OK
               : lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "%s: too long", name);
}

static enum lk_err
integer_get(const json_t *object, const char *name, struct lk_svc_fault *fault, int64_t *ret)
{
    const json_t *value = json_object_get(object, name);

    if (value == NULL || json_is_null(value)) {
        return LK_OK;
    }
    if (!json_is_integer(value)) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "%s: expected an integer", name);
    }
    *ret = json_integer_value(value);
    return LK_OK;
}

static enum lk_err
etag_get(const json_t *object, struct lk_svc_fault *fault, char ret[LK_ETAG_CAP])
{
    char etag[LK_ETAG_GIVEN_CAP];
    const char *text;
    enum lk_err err = lk_svc_text(object, "etag", LK_SVC_BAD_REQUEST, fault, &text);

    if (err != LK_OK || text == NULL) {
        return err;
    }
    return lk_etag_parse(text, etag) == LK_OK && lk_strcpy(ret, LK_ETAG_CAP, etag) == LK_OK
               ? LK_OK
               : lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "etag: too long");
}

static enum lk_err
times_get(const json_t *object, struct lk_svc_fault *fault, int64_t *ret_created_ms,
          int64_t *ret_updated_ms)
{
    enum lk_err err = time_get(object, "createdDateTimeUtc", fault, ret_created_ms);

    return err != LK_OK ? err : time_get(object, "lastUpdatedDateTimeUtc", fault, ret_updated_ms);
}

/* ---- enrollments ------------------------------------------------------------------------------
 */

static enum lk_err
certificates_get(const json_t *details, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    struct lk_x509_info info;
    const json_t *certs;
    enum lk_err err = lk_svc_object(details, "certificates", fault, &certs);

    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(slots); i++) {
        lk_buf_reset(&e->certs[i]);
        e->certs[i].max = LK_CERT_DER_MAX;
        err = lk_member_get_base64(certs, slots[i], &e->certs[i]);
        if (err == LK_OK) {
            err = lk_x509_read(e->certs[i].data, e->certs[i].len, &info);
        }
        err = err == LK_ERR_NOT_FOUND ? LK_OK : err;
    }
    return err == LK_ERR_FORMAT || err == LK_ERR_LIMIT
               ? lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                              "certificates: expected certificates in base64")
               : err;
}

static enum lk_err
details_get(const json_t *object, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    const json_t *details, *import;
    bool is_default = false, policy_is_default = false;
    enum lk_err err;

    if ((err = lk_svc_object(object, "latchkey", fault, &details)) != LK_OK || details == NULL ||
        (err = text_get(details, "scope", fault, e->scope, sizeof(e->scope))) != LK_OK ||
        (err = certificates_get(details, fault, e)) != LK_OK ||
        (err = lk_svc_bool(details, "allocationIsDefault", fault, &is_default)) != LK_OK ||
        (err = lk_svc_bool(details, "reprovisionIsDefault", fault, &policy_is_default)) != LK_OK ||
        (err = lk_svc_object(details, "import", fault, &import)) != LK_OK) {
        return err;
    }
    e->allocation = is_default ? LK_ALLOC_DEFAULT : e->allocation;
    e->reprovision_chosen = !policy_is_default;
    if (import == NULL) {
        return LK_OK;
    }
    err = integer_get(import, "id", fault, &e->import_id);
    return err != LK_OK ? err : integer_get(import, "line", fault, &e->import_line);
}

enum lk_err
lk_enrollment_answer_parse(enum lk_entity entity, const json_t *object, struct lk_svc_fault *fault,
                           struct lk_enrollment_doc *ret)
{
    enum lk_err err = lk_enrollment_json_parse(entity, object, NULL, fault, ret);

    if (err != LK_OK || (err = etag_get(object, fault, ret->e.etag)) != LK_OK ||
        (err = times_get(object, fault, &ret->e.created_ms, &ret->e.updated_ms)) != LK_OK) {
        return err;
    }
    return details_get(object, fault, &ret->e);
}

/* The certificates, which answers do not hold. */
static enum lk_err
certificates_write(enum lk_entity entity, const struct lk_enrollment *e, json_t *object)
{
    json_t *x509 = json_object_get(json_object_get(object, "attestation"), "x509");
    json_t *certs = json_object();
    enum lk_err err = lk_member_put(
        x509, entity == LK_ENTITY_GROUP ? "signingCertificates" : "clientCertificates", certs);

    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(slots); i++) {
        json_t *slot;

        if (e->certs[i].len == 0) {
            continue;
        }
        slot = json_object();
        if ((err = lk_member_put(certs, slots[i], slot)) == LK_OK) {
            err = lk_member_base64(slot, "certificate", e->certs[i].data, e->certs[i].len);
        }
    }
    return err;
}

enum lk_err
lk_enrollment_request_put(enum lk_entity entity, const struct lk_enrollment *e,
                          const struct lk_shared_keys *keys, json_t *object)
{
    const struct lk_enrollment_view view = {.keys = keys};
    enum lk_err err = lk_enrollment_json_put(entity, e, &view, object);

    if (err == LK_OK && e->attestation == LK_ATTESTATION_X509) {
        err = certificates_write(entity, e, object);
    }
    if (err == LK_OK && e->allocation == LK_ALLOC_DEFAULT) {
        (void)json_object_del(object, "allocationPolicy"); /* it was just put */
    }
    if (err == LK_OK && reprovision_is_default(e)) {
        (void)json_object_del(object, "reprovisionPolicy"); /* sent, it would be a choice */
    }
    return err;
}

/* ---- registrations ----------------------------------------------------------------------------
 */

static enum lk_err
statuses_get(const json_t *object, struct lk_svc_fault *fault, struct lk_registration *r)
{
    char status[32] = "", substatus[64] = "";
    enum lk_err err;

    if ((err = text_get(object, "status", fault, status, sizeof(status))) != LK_OK ||
        (err = text_get(object, "substatus", fault, substatus, sizeof(substatus))) != LK_OK) {
        return err;
    }
    for (int i = LK_REG_NONE; i <= LK_REG_FAILED; i++) {
        if (strcmp(status, lk_reg_status_name((enum lk_reg_status)i)) == 0) {
            r->status = (enum lk_reg_status)i;
        }
    }
    for (int i = LK_DPS_SUB_NONE; i <= LK_DPS_SUB_REPROVISIONED; i++) {
        if (strcmp(substatus, lk_dps_substatus_name((enum lk_dps_substatus)i)) == 0) {
            r->substatus = i;
        }
    }
    return LK_OK;
}

static enum lk_err
registration_details_get(const json_t *object, struct lk_svc_fault *fault,
                         struct lk_registration *r)
{
    LK_AUTO_BUF struct lk_buf ek_id = LK_BUF_INIT;
    const json_t *details;
    const char *hex;
    int64_t generation = 0;
    enum lk_err err;

    if ((err = lk_svc_object(object, "latchkey", fault, &details)) != LK_OK || details == NULL ||
        (err = text_get(details, "scope", fault, r->scope, sizeof(r->scope))) != LK_OK ||
        (err = integer_get(details, "generation", fault, &generation)) != LK_OK ||
        (err = text_get(details, "operationId", fault, r->operation_id, sizeof(r->operation_id))) !=
            LK_OK ||
        (err = time_get(details, "attestedDateTimeUtc", fault, &r->attested_ms)) != LK_OK ||
        (err = lk_svc_text(details, "endorsementKeyId", LK_SVC_BAD_REQUEST, fault, &hex)) !=
            LK_OK) {
        return err;
    }
    r->generation = (uint64_t)generation;
    if (hex != NULL && lk_hex_decode(hex, strlen(hex), &ek_id) == LK_OK &&
        ek_id.len == LK_EK_ID_LEN) {
        memcpy(r->ek_id, ek_id.data, LK_EK_ID_LEN);
    }
    return LK_OK;
}

enum lk_err
lk_registration_answer_parse(const json_t *object, struct lk_svc_fault *fault,
                             struct lk_registration *ret)
{
    enum lk_err err;

    lk_registration_fini(ret);
    memset(ret, 0, sizeof(*ret));
    if ((err = text_get(object, "registrationId", fault, ret->id, sizeof(ret->id))) != LK_OK ||
        (err = text_get(object, "deviceId", fault, ret->device_id, sizeof(ret->device_id))) !=
            LK_OK ||
        (err = text_get(object, "assignedHub", fault, ret->hub, sizeof(ret->hub))) != LK_OK ||
        (err = statuses_get(object, fault, ret)) != LK_OK ||
        (err = etag_get(object, fault, ret->etag)) != LK_OK ||
        (err = times_get(object, fault, &ret->created_ms, &ret->updated_ms)) != LK_OK ||
        (err = text_get(object, "errorMessage", fault, ret->error_message,
                        sizeof(ret->error_message))) != LK_OK ||
        (err = registration_details_get(object, fault, ret)) != LK_OK) {
        return err;
    }
    if (ret->id[0] == '\0' || lk_member_get_int32(object, "errorCode", &ret->error_code) != LK_OK) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "registrationId, errorCode: not as expected");
    }
    return lk_member_get_json(object, "payload", &ret->payload);
}
