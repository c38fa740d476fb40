/* Twins and method calls (iot-hub.md 2.3 and 2.5). */
#include <string.h>

#include "api/hub_json_int.h"

#define RESPONSE_TIMEOUT_MIN_S 5
#define RESPONSE_TIMEOUT_MAX_S 300
#define RESPONSE_TIMEOUT_DEFAULT_S 30
#define CONNECT_TIMEOUT_MAX_S 300

/* ---- twins -----------------------------------------------------------------------------------
 */

enum lk_err
lk_twin_section_parse(const json_t *parent, const char *name, enum lk_twin_section section,
                      struct lk_svc_fault *fault, const json_t **ret)
{
    char error[LK_TWIN_ERROR_CAP] = "";
    enum lk_err err = lk_svc_object(parent, name, fault, ret);

    if (err != LK_OK || *ret == NULL) {
        return err;
    }
    err = lk_twin_judge(section, *ret, error);
    return err == LK_ERR_FORMAT || err == LK_ERR_LIMIT
               ? lk_svc_fault(fault, LK_HUBE_ARGUMENT, "%s: %s", name, error)
               : err;
}

enum lk_err
lk_twin_json_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_twin_patch *ret)
{
    const json_t *properties;
    enum lk_err err;

    ret->tags = ret->desired = ret->reported = NULL;
    if ((err = lk_twin_section_parse(object, "tags", LK_TWIN_TAGS, fault, &ret->tags)) != LK_OK ||
        (err = lk_svc_object(object, "properties", fault, &properties)) != LK_OK) {
        return err;
    }
    return lk_twin_section_parse(properties, "desired", LK_TWIN_DESIRED, fault, &ret->desired);
}

static enum lk_err
sections_put(const struct lk_twin *t, json_t *object)
{
    json_t *properties = NULL;
    enum lk_err err = t->tags.len == 0 ? lk_member_put(object, "tags", json_object())
                                       : lk_member_json(object, "tags", &t->tags);

    if (err != LK_OK || (err = lk_twin_properties(t, &properties)) != LK_OK) {
        return err;
    }
    return lk_member_put(object, "properties", properties);
}

enum lk_err
lk_twin_json_put(const struct lk_hub_device *d, const struct lk_twin *t, json_t *object)
{
    enum lk_err err;

    if ((err = lk_status_json_put(d, "statusUpdateTime", object)) != LK_OK ||
        (err = lk_member_text(object, "etag", t->etag)) != LK_OK ||
        (err = lk_member_text(object, "deviceEtag", d->id.etag)) != LK_OK ||
        (err = lk_presence_json_put(d, object)) != LK_OK ||
        (err = lk_member_text(object, "authenticationType", lk_identity_auth_name(d->id.auth))) !=
            LK_OK ||
        (err = lk_thumbprints_json_put(&d->id, object)) != LK_OK ||
        (err = lk_member_put(object, "version", json_integer(t->version))) != LK_OK) {
        return err;
    }
    return sections_put(t, object);
}

/* ---- method calls ----------------------------------------------------------------------------
 */

void
lk_method_doc_init(struct lk_method_doc *doc)
{
    memset(doc, 0, sizeof(*doc));
    doc->payload.max = LK_METHOD_PAYLOAD_MAX + 1; /* and a NUL */
}

void
lk_method_doc_fini(struct lk_method_doc *doc)
{
    lk_buf_fini(&doc->payload);
}

/* The name stands in a topic, between two slashes. */
static bool
method_name_ok(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > LK_METHOD_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~' || strchr("/+#?", text[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static enum lk_err
timeout_parse(const json_t *object, const char *name, int32_t min_s, int32_t max_s,
              int32_t default_s, struct lk_svc_fault *fault, uint32_t *ret_ms)
{
    int32_t s = default_s;

    if (lk_member_get_int32(object, name, &s) != LK_OK || s < min_s || s > max_s) {
        return lk_svc_fault(fault, LK_HUBE_ARGUMENT, "%s: expected %d to %d", name, (int)min_s,
                            (int)max_s);
    }
    *ret_ms = (uint32_t)s * 1000;
    return LK_OK;
}

enum lk_err
lk_method_json_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_method_doc *ret)
{
    const json_t *payload = json_object_get(object, "payload");
    const char *name;
    enum lk_err err;

    lk_method_doc_fini(ret);
    lk_method_doc_init(ret);
    if ((err = lk_svc_text(object, "methodName", LK_HUBE_ARGUMENT, fault, &name)) != LK_OK) {
        return err;
    }
    if (name == NULL || !method_name_ok(name)) {
        return lk_svc_fault(fault, LK_HUBE_ARGUMENT,
                            "methodName: expected 1 to %u printable ASCII characters without "
                            "/ + # ?",
                            LK_METHOD_NAME_MAX);
    }
    if ((err = lk_strcpy(ret->name, sizeof(ret->name), name)) != LK_OK ||
        (err = timeout_parse(object, "responseTimeoutInSeconds", RESPONSE_TIMEOUT_MIN_S,
                             RESPONSE_TIMEOUT_MAX_S, RESPONSE_TIMEOUT_DEFAULT_S, fault,
                             &ret->response_timeout_ms)) != LK_OK ||
        (err = timeout_parse(object, "connectTimeoutInSeconds", 0, CONNECT_TIMEOUT_MAX_S, 0, fault,
                             &ret->connect_timeout_ms)) != LK_OK) {
        return err;
    }
    err = payload == NULL ? LK_OK : lk_json_write(payload, &ret->payload);
    return err == LK_ERR_LIMIT || ret->payload.len > LK_METHOD_PAYLOAD_MAX
               ? lk_svc_fault(fault, LK_HUBE_TOO_LARGE, "payload: expected at most %zu bytes",
                              LK_METHOD_PAYLOAD_MAX)
               : err;
}

/* A device that answers without a payload has answered null. */
enum lk_err
lk_method_result_format(int status, const char *payload, size_t payload_len, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *root = json_object();
    json_t *value = NULL;
    enum lk_err err;

    if (root == NULL) {
        return LK_ERR_NOMEM;
    }
    if (payload_len == 0) {
        value = json_null();
    } else if ((err = lk_json_parse(payload, payload_len, true, NULL, &value)) != LK_OK) {
        return err;
    }
    if ((err = lk_member_put(root, "payload", value)) != LK_OK ||
        (err = lk_member_put(root, "status", json_integer(status))) != LK_OK) {
        return err;
    }
    return lk_json_write(root, ret);
}
