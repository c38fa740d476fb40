/* Items of a bulk request and its result (iot-hub.md 2.2). */
#include <string.h>

#include "api/hub_json_int.h"
#include "base/codec.h"

static const char *const mode_names[] = {
    [LK_IMPORT_CREATE] = "create",
    [LK_IMPORT_UPDATE] = "update",
    [LK_IMPORT_UPDATE_IF_MATCH] = "updateIfMatchETag",
    [LK_IMPORT_CREATE_OR_UPDATE] = "createOrUpdate",
    [LK_IMPORT_CREATE_OR_UPDATE_IF_MATCH] = "createOrUpdateIfMatchETag",
    [LK_IMPORT_DELETE] = "delete",
    [LK_IMPORT_DELETE_IF_MATCH] = "deleteIfMatchETag",
    [LK_IMPORT_UPDATE_TWIN] = "updateTwin",
    [LK_IMPORT_UPDATE_TWIN_IF_MATCH] = "updateTwinIfMatchETag",
};

void
lk_import_doc_init(struct lk_import_doc *doc)
{
    memset(doc, 0, sizeof(*doc));
    lk_device_doc_init(&doc->device);
}

void
lk_import_doc_fini(struct lk_import_doc *doc)
{
    lk_device_doc_fini(&doc->device);
}

/* A member whose name is compared without regard to case; the value of the first. */
static const json_t *
member_any_case(const json_t *object, const char *name)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (lk_ascii_caseeq(key, strlen(key), name, strlen(name))) {
            return value;
        }
    }
    return NULL;
}

/* Clients spell "eTag" and "twinETag" in several ways. */
static enum lk_err
etag_parse(const json_t *object, const char *name, struct lk_svc_fault *fault,
           char ret[LK_ETAG_GIVEN_CAP])
{
    const json_t *value = member_any_case(object, name);

    if (value == NULL || json_is_null(value)) {
        return LK_OK;
    }
    return json_is_string(value) && lk_etag_parse(json_string_value(value), ret) == LK_OK
               ? LK_OK
               : lk_svc_fault(fault, LK_HUBE_ARGUMENT, "%s: expected one of ours", name);
}

/* A mode that is left out is createOrUpdate, as in the vendor's imports. */
static enum lk_err
mode_parse(const json_t *object, struct lk_svc_fault *fault, enum lk_import_mode *ret)
{
    const char *text;
    enum lk_err err = lk_svc_text(object, "importMode", LK_HUBE_ARGUMENT, fault, &text);

    *ret = LK_IMPORT_CREATE_OR_UPDATE;
    if (err != LK_OK || text == NULL) {
        return err;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(mode_names); i++) {
        if (lk_ascii_caseeq(text, strlen(text), mode_names[i], strlen(mode_names[i]))) {
            *ret = (enum lk_import_mode)i;
            return LK_OK;
        }
    }
    return lk_svc_fault(fault, LK_HUBE_ARGUMENT, "importMode: not one that there is");
}

static enum lk_err
twin_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_import_doc *ret)
{
    const json_t *properties;
    enum lk_err err;

    if ((err = lk_twin_section_parse(object, "tags", LK_TWIN_TAGS, fault, &ret->tags)) != LK_OK ||
        (err = lk_svc_object(object, "properties", fault, &properties)) != LK_OK ||
        (err = lk_twin_section_parse(properties, "desired", LK_TWIN_DESIRED, fault,
                                     &ret->desired)) != LK_OK) {
        return err;
    }
    return lk_twin_section_parse(properties, "reported", LK_TWIN_REPORTED, fault, &ret->reported);
}

static bool
has_etag(const struct lk_import_doc *doc)
{
    switch (doc->mode) {
    case LK_IMPORT_UPDATE_IF_MATCH:
    case LK_IMPORT_CREATE_OR_UPDATE_IF_MATCH:
    case LK_IMPORT_DELETE_IF_MATCH:
        return doc->device.etag[0] != '\0';
    case LK_IMPORT_UPDATE_TWIN_IF_MATCH:
        return doc->twin_etag[0] != '\0';
    case LK_IMPORT_CREATE:
    case LK_IMPORT_UPDATE:
    case LK_IMPORT_CREATE_OR_UPDATE:
    case LK_IMPORT_DELETE:
    case LK_IMPORT_UPDATE_TWIN:
        break;
    }
    return true;
}

enum lk_err
lk_import_json_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_import_doc *ret)
{
    const char *id;
    enum lk_err err;

    lk_import_doc_fini(ret);
    lk_import_doc_init(ret);
    if ((err = lk_svc_text(object, "id", LK_HUBE_ARGUMENT, fault, &id)) != LK_OK ||
        (err = mode_parse(object, fault, &ret->mode)) != LK_OK ||
        (err = lk_device_json_parse(object, id, fault, &ret->device)) != LK_OK ||
        (err = etag_parse(object, "eTag", fault, ret->device.etag)) != LK_OK ||
        (err = etag_parse(object, "twinETag", fault, ret->twin_etag)) != LK_OK ||
        (err = twin_parse(object, fault, ret)) != LK_OK) {
        return err;
    }
    return has_etag(ret)
               ? LK_OK
               : lk_svc_fault(fault, LK_HUBE_ARGUMENT, "%s: required by importMode",
                              ret->mode == LK_IMPORT_UPDATE_TWIN_IF_MATCH ? "twinETag" : "eTag");
}

enum lk_err
lk_import_error_put(const char *id, const struct lk_svc_fault *fault, json_t *errors)
{
    json_t *entry = json_pack("{s:s, s:s, s:s}", "deviceId", id, "errorCode",
                              lk_hub_error_name(fault->code), "errorStatus", fault->message);

    return json_array_append_new(errors, entry) == 0 ? LK_OK : LK_ERR_NOMEM;
}

enum lk_err
lk_import_result_format(json_t *errors, struct lk_buf *ret)
{
    LK_AUTO(json)
    json_t *root = json_pack("{s:b, s:o, s:[]}", "isSuccessful", json_array_size(errors) == 0,
                             "errors", errors, "warnings");

    return root == NULL ? LK_ERR_NOMEM : lk_json_write(root, ret);
}
