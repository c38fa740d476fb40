/* IndividualEnrollment and EnrollmentGroup, both ways (service-api.md section 5). */
#include <string.h>

#include "api/enrollment_json_int.h"
#include "base/codec.h"

/* ---- members ----------------------------------------------------------------------------------
 */

void
lk_enrollment_doc_init(struct lk_enrollment_doc *d)
{
    memset(d, 0, sizeof(*d));
    lk_enrollment_init(&d->e);
}

void
lk_enrollment_doc_fini(struct lk_enrollment_doc *d)
{
    lk_enrollment_fini(&d->e);
    lk_shared_keys_wipe(&d->keys);
}

/* ---- ids and etags ----------------------------------------------------------------------------
 */

enum lk_err
lk_entity_id_parse(enum lk_entity entity, const json_t *object, const char *fallback_id,
                   struct lk_svc_fault *fault, char ret[LK_REGISTRATION_ID_MAX + 1])
{
    const char *name = entity == LK_ENTITY_GROUP ? "enrollmentGroupId" : "registrationId";
    int32_t code = entity == LK_ENTITY_GROUP ? LK_SVC_BAD_GROUP_ID : LK_SVC_BAD_REGISTRATION_ID;
    const char *text;
    enum lk_err err;

    if ((err = lk_svc_text(object, name, code, fault, &text)) != LK_OK) {
        return err;
    }
    if (text == NULL) {
        text = fallback_id != NULL ? fallback_id : "";
    }
    if (!lk_registration_id_ok(text, strlen(text))) {
        return lk_svc_fault(fault, code,
                            "%s: expected 1 to 128 letters, digits and - . _ : with a letter, "
                            "digit or dash last",
                            name);
    }
    if (fallback_id != NULL &&
        !lk_ascii_caseeq(text, strlen(text), fallback_id, strlen(fallback_id))) {
        return lk_svc_fault(fault, code, "%s: is another in the path than in the body", name);
    }
    return lk_strcpy(ret, LK_REGISTRATION_ID_MAX + 1, text);
}

/* ---- policies ---------------------------------------------------------------------------------
 */

static const char *const allocation_names[] = {[LK_ALLOC_HASHED] = "hashed",
                                               [LK_ALLOC_GEO] = "geoLatency",
                                               [LK_ALLOC_STATIC] = "static",
                                               [LK_ALLOC_CUSTOM] = "custom"};

const char *
lk_allocation_name(enum lk_allocation a, enum lk_allocation fallback)
{
    if (a == LK_ALLOC_DEFAULT) {
        a = fallback;
    }
    return a == LK_ALLOC_DEFAULT ? allocation_names[LK_ALLOC_HASHED] : allocation_names[a];
}

static enum lk_err
allocation_parse(const json_t *object, struct lk_svc_fault *fault, enum lk_allocation *ret)
{
    const char *text;
    enum lk_err err = lk_svc_text(object, "allocationPolicy", LK_SVC_BAD_REQUEST, fault, &text);

    if (err != LK_OK || text == NULL) {
        return err;
    }
    for (size_t i = LK_ALLOC_HASHED; i < LK_ARRAY_LEN(allocation_names); i++) {
        if (lk_ascii_caseeq(text, strlen(text), allocation_names[i], strlen(allocation_names[i]))) {
            *ret = (enum lk_allocation)i;
            return LK_OK;
        }
    }
    return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                        "allocationPolicy: expected hashed, geoLatency, static or custom");
}

static enum lk_err
hub_take(const json_t *value, const char *name, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    const char *text = json_string_value(value);
    char *hub = e->hubs[e->hubs_count];

    if (text == NULL || !lk_host_name_ok(text, strlen(text))) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "%s: expected host names", name);
    }
    memcpy(hub, text, strlen(text) + 1);
    lk_ascii_lower(hub);
    for (size_t i = 0; i < e->hubs_count; i++) {
        if (strcmp(e->hubs[i], hub) == 0) {
            return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "%s: %.140s is named twice", name, hub);
        }
    }
    e->hubs_count++;
    return LK_OK;
}

/*
 * The older iotHubHostName is a static policy with one hub. Beside the newer members it may say the
 * same as they do, or say what a static policy leaves open; what contradicts them is refused, since
 * either reading would send devices where the operator did not want them.
 */
static enum lk_err
legacy_hub_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    const char *text;
    enum lk_err err = lk_svc_text(object, "iotHubHostName", LK_SVC_BAD_REQUEST, fault, &text);

    if (err != LK_OK || text == NULL || text[0] == '\0') {
        return err;
    }
    if (e->hubs_count == 1 && lk_ascii_caseeq(text, strlen(text), e->hubs[0], strlen(e->hubs[0]))) {
        return LK_OK;
    }
    if (e->hubs_count > 0 ||
        (e->allocation != LK_ALLOC_DEFAULT && e->allocation != LK_ALLOC_STATIC)) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "iotHubHostName: contradicts allocationPolicy or iotHubs, which take "
                            "its place");
    }
    e->allocation = LK_ALLOC_STATIC;
    return hub_take(json_object_get(object, "iotHubHostName"), "iotHubHostName", fault, e);
}

static enum lk_err
hubs_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    const json_t *hubs = json_object_get(object, "iotHubs");
    enum lk_err err = LK_OK;

    if (hubs != NULL && !json_is_null(hubs) && !json_is_array(hubs)) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "iotHubs: expected an array");
    }
    if (json_array_size(hubs) > LK_HUBS_PER_ENROLLMENT) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "iotHubs: expected at most %u",
                            LK_HUBS_PER_ENROLLMENT);
    }
    for (size_t i = 0; err == LK_OK && i < json_array_size(hubs); i++) {
        err = hub_take(json_array_get(hubs, i), "iotHubs", fault, e);
    }
    return err != LK_OK ? err : legacy_hub_parse(object, fault, e);
}

static enum lk_err
webhook_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    const json_t *custom;
    const char *url, *version;
    enum lk_err err = lk_svc_object(object, "customAllocationDefinition", fault, &custom);

    if (err != LK_OK || custom == NULL) {
        return err;
    }
    if (e->allocation != LK_ALLOC_CUSTOM) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "customAllocationDefinition: needs allocationPolicy custom");
    }
    if ((err = lk_svc_text(custom, "webhookUrl", LK_SVC_BAD_REQUEST, fault, &url)) != LK_OK ||
        (err = lk_svc_text(custom, "apiVersion", LK_SVC_BAD_REQUEST, fault, &version)) != LK_OK) {
        return err;
    }
    if (url == NULL || version == NULL ||
        lk_strcpy(e->webhook_url, sizeof(e->webhook_url), url) != LK_OK ||
        lk_strcpy(e->webhook_api_version, sizeof(e->webhook_api_version), version) != LK_OK) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "customAllocationDefinition: expected webhookUrl of at most %u bytes, "
                            "and apiVersion",
                            LK_WEBHOOK_URL_MAX);
    }
    return LK_OK;
}

static enum lk_err
reprovision_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    const json_t *policy;
    enum lk_err err = lk_svc_object(object, "reprovisionPolicy", fault, &policy);

    if (err != LK_OK || policy == NULL) {
        return err;
    }
    if (!json_is_boolean(json_object_get(policy, "updateHubAssignment")) ||
        !json_is_boolean(json_object_get(policy, "migrateDeviceData"))) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "reprovisionPolicy: expected updateHubAssignment and "
                            "migrateDeviceData, each true or false");
    }
    e->reprovision_chosen = true;
    e->reprovision_update_hub = json_is_true(json_object_get(policy, "updateHubAssignment"));
    e->reprovision_migrate = json_is_true(json_object_get(policy, "migrateDeviceData"));
    return LK_OK;
}

/* ---- the rest ---------------------------------------------------------------------------------
 */

static enum lk_err
text_keep(const json_t *value, const char *name, struct lk_svc_fault *fault, struct lk_buf *ret)
{
    enum lk_err err;

    ret->max = LK_TWIN_MAX;
    err = lk_json_write(value, ret);
    return err != LK_ERR_LIMIT ? err
                               : lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                                              "%s: expected at most %zu bytes", name, LK_TWIN_MAX);
}

/* Only what reaches a device is kept: tags and desired properties. */
static enum lk_err
twin_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    LK_AUTO(json) json_t *kept = NULL;
    const json_t *twin, *tags, *properties, *desired;
    enum lk_err err;

    if ((err = lk_svc_object(object, "initialTwin", fault, &twin)) != LK_OK || twin == NULL ||
        (err = lk_svc_object(twin, "tags", fault, &tags)) != LK_OK ||
        (err = lk_svc_object(twin, "properties", fault, &properties)) != LK_OK ||
        (err = lk_svc_object(properties, "desired", fault, &desired)) != LK_OK) {
        return err;
    }
    kept = json_pack("{s:O*, s:{s:O*}}", "tags", tags, "properties", "desired", desired);
    return kept == NULL ? LK_ERR_NOMEM : text_keep(kept, "initialTwin", fault, &e->initial_twin);
}

static enum lk_err
status_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    const char *text;
    enum lk_err err = lk_svc_text(object, "provisioningStatus", LK_SVC_BAD_REQUEST, fault, &text);

    if (err != LK_OK || text == NULL) {
        return err;
    }
    e->enabled = lk_ascii_caseeq(text, strlen(text), "enabled", strlen("enabled"));
    if (!e->enabled && !lk_ascii_caseeq(text, strlen(text), "disabled", strlen("disabled"))) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "provisioningStatus: expected enabled or disabled");
    }
    return LK_OK;
}

/* What a group has not. */
static enum lk_err
individual_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    const char *id;
    const json_t *info;
    enum lk_err err;

    if ((err = lk_svc_text(object, "deviceId", LK_SVC_BAD_REQUEST, fault, &id)) != LK_OK ||
        (err = lk_svc_object(object, "optionalDeviceInformation", fault, &info)) != LK_OK) {
        return err;
    }
    if (id != NULL && id[0] != '\0' && !lk_device_id_ok(id, strlen(id))) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "deviceId: expected 1 to 128 letters, digits and -:.+%%_#*?!(),=@;$'");
    }
    if (id != NULL && (err = lk_strcpy(e->device_id, sizeof(e->device_id), id)) != LK_OK) {
        return err;
    }
    return info == NULL ? LK_OK
                        : text_keep(info, "optionalDeviceInformation", fault, &e->device_info);
}

static enum lk_err
etag_member_parse(const json_t *object, struct lk_svc_fault *fault, char ret[LK_ETAG_GIVEN_CAP])
{
    const char *text;
    enum lk_err err = lk_svc_text(object, "etag", LK_SVC_BAD_REQUEST, fault, &text);

    if (err != LK_OK || text == NULL) {
        return err;
    }
    return lk_etag_parse(text, ret) == LK_OK
               ? LK_OK
               : lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "etag: too long for one of ours");
}

enum lk_err
lk_enrollment_json_parse(enum lk_entity entity, const json_t *object, const char *fallback_id,
                         struct lk_svc_fault *fault, struct lk_enrollment_doc *ret)
{
    const json_t *attestation, *capabilities;
    struct lk_enrollment *e = &ret->e;
    enum lk_err err;

    lk_enrollment_doc_fini(ret);
    lk_enrollment_doc_init(ret);
    if ((err = lk_entity_id_parse(entity, object, fallback_id, fault, e->id)) != LK_OK ||
        (err = etag_member_parse(object, fault, ret->etag)) != LK_OK ||
        (err = lk_svc_object(object, "attestation", fault, &attestation)) != LK_OK ||
        (err = lk_svc_object(object, "capabilities", fault, &capabilities)) != LK_OK) {
        return err;
    }
    if (attestation == NULL) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "attestation: required");
    }
    if ((err = lk_attestation_json_parse(entity, attestation, fault, ret)) != LK_OK ||
        (err = lk_svc_bool(capabilities, "iotEdge", fault, &e->iot_edge)) != LK_OK ||
        (err = status_parse(object, fault, e)) != LK_OK ||
        (err = allocation_parse(object, fault, &e->allocation)) != LK_OK ||
        (err = hubs_parse(object, fault, e)) != LK_OK ||
        (err = webhook_parse(object, fault, e)) != LK_OK ||
        (err = reprovision_parse(object, fault, e)) != LK_OK ||
        (err = twin_parse(object, fault, e)) != LK_OK) {
        return err;
    }
    return entity == LK_ENTITY_GROUP ? LK_OK : individual_parse(object, fault, e);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

/* The value holds literal quotes (section 3). */
static enum lk_err
etag_put(json_t *object, const char *etag)
{
    return lk_member_put(object, "etag", json_sprintf("\"%s\"", etag));
}

static enum lk_err
hubs_put(const struct lk_enrollment *e, json_t *object)
{
    json_t *hubs;
    enum lk_err err;

    if (e->hubs_count == 0) {
        return LK_OK;
    }
    hubs = json_array();
    err = lk_member_put(object, "iotHubs", hubs);
    for (size_t i = 0; err == LK_OK && i < e->hubs_count; i++) {
        err = json_array_append_new(hubs, json_string(e->hubs[i])) == 0 ? LK_OK : LK_ERR_NOMEM;
    }
    return err;
}

static enum lk_err
policies_put(const struct lk_enrollment *e, enum lk_allocation fallback, json_t *object)
{
    enum lk_err err;

    if ((err = lk_member_put(object, "capabilities", json_pack("{s:b}", "iotEdge", e->iot_edge))) !=
            LK_OK ||
        (err = lk_member_text(object, "provisioningStatus", e->enabled ? "enabled" : "disabled")) !=
            LK_OK ||
        (err =
             lk_member_put(object, "reprovisionPolicy",
                           json_pack("{s:b, s:b}", "updateHubAssignment", e->reprovision_update_hub,
                                     "migrateDeviceData", e->reprovision_migrate))) != LK_OK ||
        (err = lk_member_text(object, "allocationPolicy",
                              lk_allocation_name(e->allocation, fallback))) != LK_OK ||
        (err = hubs_put(e, object)) != LK_OK) {
        return err;
    }
    return e->webhook_url[0] == '\0'
               ? LK_OK
               : lk_member_put(object, "customAllocationDefinition",
                               json_pack("{s:s, s:s}", "webhookUrl", e->webhook_url, "apiVersion",
                                         e->webhook_api_version));
}

static enum lk_err
state_put(const struct lk_registration *r, json_t *object)
{
    json_t *state = json_object();
    enum lk_err err = lk_member_put(object, "registrationState", state);

    return err != LK_OK ? err : lk_registration_json_put(r, state);
}

enum lk_err
lk_enrollment_json_put(enum lk_entity entity, const struct lk_enrollment *e,
                       const struct lk_enrollment_view *view, json_t *object)
{
    json_t *attestation = json_object();
    bool group = entity == LK_ENTITY_GROUP;
    enum lk_err err = lk_member_put(object, "attestation", attestation);

    if (err != LK_OK ||
        (err = lk_attestation_json_put(entity, e, view->keys, attestation)) != LK_OK ||
        (err = lk_member_text(object, group ? "enrollmentGroupId" : "registrationId", e->id)) !=
            LK_OK ||
        (err = lk_member_text_some(object, "deviceId", group ? "" : e->device_id)) != LK_OK ||
        (!group &&
         (err = lk_member_json(object, "optionalDeviceInformation", &e->device_info)) != LK_OK) ||
        (err = lk_member_json(object, "initialTwin", &e->initial_twin)) != LK_OK ||
        (err = policies_put(e, view->fallback, object)) != LK_OK ||
        (err = etag_put(object, e->etag)) != LK_OK ||
        (err = lk_member_time_some(object, "createdDateTimeUtc", e->created_ms)) != LK_OK ||
        (err = lk_member_time_some(object, "lastUpdatedDateTimeUtc", e->updated_ms)) != LK_OK) {
        return err;
    }
    return view->state == NULL ? LK_OK : state_put(view->state, object);
}

/* ---- registration states ----------------------------------------------------------------------
 */

const char *
lk_reg_status_name(enum lk_reg_status s)
{
    switch (s) {
    case LK_REG_ASSIGNING:
        return "assigning";
    case LK_REG_ASSIGNED:
        return "assigned";
    case LK_REG_FAILED:
        return "failed";
    case LK_REG_NONE:
        break;
    }
    return "unassigned";
}

enum lk_err
lk_registration_json_put(const struct lk_registration *r, json_t *object)
{
    enum lk_err err;

    if ((err = lk_member_text(object, "registrationId", r->id)) != LK_OK ||
        (err = lk_member_time_some(object, "createdDateTimeUtc", r->created_ms)) != LK_OK ||
        (err = lk_member_text_some(object, "assignedHub", r->hub)) != LK_OK ||
        (err = lk_member_text_some(object, "deviceId", r->device_id)) != LK_OK ||
        (err = lk_member_text(object, "status", lk_reg_status_name(r->status))) != LK_OK ||
        (err = lk_member_text_some(object, "substatus",
                                   lk_dps_substatus_name((enum lk_dps_substatus)r->substatus))) !=
            LK_OK ||
        (err = lk_member_time_some(object, "lastUpdatedDateTimeUtc", r->updated_ms)) != LK_OK ||
        (err = lk_member_json(object, "payload", &r->payload)) != LK_OK ||
        (err = etag_put(object, r->etag)) != LK_OK || r->error_code == 0) {
        return err;
    }
    err = lk_member_put(object, "errorCode", json_integer(r->error_code));
    return err != LK_OK ? err : lk_member_text(object, "errorMessage", r->error_message);
}
