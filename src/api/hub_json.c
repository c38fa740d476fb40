/* Devices of a hub's registry, both ways (iot-hub.md 2.1). */
#include "api/hub_json_int.h"

#include <string.h>

#include "base/codec.h"

static const char *const auth_names[] = {[LK_AUTH_SAS] = "sas",
                                         [LK_AUTH_SELF_SIGNED] = "selfSigned",
                                         [LK_AUTH_CA] = "certificateAuthority",
                                         [LK_AUTH_NONE] = "none"};
static const char *const key_names[] = {"primaryKey", "secondaryKey"};
static const char *const thumbprint_names[] = {"primaryThumbprint", "secondaryThumbprint"};

const char *
lk_identity_auth_name(enum lk_identity_auth auth)
{
    return auth >= LK_AUTH_SAS && auth <= LK_AUTH_NONE ? auth_names[auth]
                                                       : auth_names[LK_AUTH_NONE];
}

void
lk_device_doc_init(struct lk_device_doc *doc)
{
    memset(doc, 0, sizeof(*doc));
    doc->d.id.enabled = true;
    doc->d.id.auth = LK_AUTH_SAS;
}

void
lk_device_doc_fini(struct lk_device_doc *doc)
{
    lk_hub_device_fini(&doc->d);
}

/* ---- decoding --------------------------------------------------------------------------------
 */

static enum lk_err
id_parse(const json_t *object, const char *fallback_id, struct lk_svc_fault *fault,
         char ret[LK_DEVICE_ID_MAX + 1])
{
    const char *text;
    enum lk_err err;

    if ((err = lk_svc_text(object, "deviceId", LK_HUBE_ARGUMENT, fault, &text)) != LK_OK) {
        return err;
    }
    if (text == NULL) {
        text = fallback_id != NULL ? fallback_id : "";
    }
    if (!lk_device_id_ok(text, strlen(text))) {
        return lk_svc_fault(fault, LK_HUBE_ARGUMENT,
                            "deviceId: expected 1 to 128 letters, digits and others that a "
                            "device ID may have");
    }
    if (fallback_id != NULL && strcmp(text, fallback_id) != 0) {
        return lk_svc_fault(fault, LK_HUBE_ARGUMENT,
                            "deviceId: is another in the path than in the body");
    }
    return lk_strcpy(ret, LK_DEVICE_ID_MAX + 1, text);
}

static enum lk_err
status_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_device_doc *ret)
{
    const char *text;
    enum lk_err err;

    if ((err = lk_svc_text(object, "status", LK_HUBE_ARGUMENT, fault, &text)) != LK_OK) {
        return err;
    }
    if (text != NULL) {
        ret->d.id.enabled = lk_ascii_caseeq(text, strlen(text), "enabled", strlen("enabled"));
        ret->has_status = true;
        if (!ret->d.id.enabled &&
            !lk_ascii_caseeq(text, strlen(text), "disabled", strlen("disabled"))) {
            return lk_svc_fault(fault, LK_HUBE_ARGUMENT, "status: expected enabled or disabled");
        }
    }
    if ((err = lk_svc_text(object, "statusReason", LK_HUBE_ARGUMENT, fault, &text)) != LK_OK) {
        return err;
    }
    if (text == NULL) {
        return LK_OK;
    }
    ret->has_reason = true;
    return lk_strcpy(ret->d.id.status_reason, sizeof(ret->d.id.status_reason), text) == LK_OK
               ? LK_OK
               : lk_svc_fault(fault, LK_HUBE_ARGUMENT, "statusReason: expected at most %u bytes",
                              LK_STATUS_REASON_MAX);
}

/* A key that is empty, or left out, is one that the hub makes. */
static enum lk_err
keys_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_buf keys[2])
{
    enum lk_err err;

    for (size_t i = 0; i < LK_ARRAY_LEN(key_names); i++) {
        const char *text;

        if ((err = lk_svc_text(object, key_names[i], LK_HUBE_ARGUMENT, fault, &text)) != LK_OK) {
            return err;
        }
        if (text == NULL || text[0] == '\0') {
            continue;
        }
        err = lk_base64_decode(text, strlen(text), &keys[i]);
        if (err == LK_ERR_NOMEM) {
            return err;
        }
        if (err != LK_OK || keys[i].len < LK_HUB_KEY_MIN || keys[i].len > LK_HUB_KEY_MAX) {
            return lk_svc_fault(fault, LK_HUBE_ARGUMENT,
                                "authentication.symmetricKey.%s: expected base64 of %u to %u bytes",
                                key_names[i], LK_HUB_KEY_MIN, LK_HUB_KEY_MAX);
        }
    }
    return LK_OK;
}

static bool
thumbprint_ok(const char *text)
{
    size_t len = strlen(text);

    return (len == 40 || len == LK_THUMBPRINT_MAX) && strspn(text, "0123456789abcdefABCDEF") == len;
}

static enum lk_err
thumbprints_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_identity *id)
{
    enum lk_err err;

    for (size_t i = 0; i < LK_ARRAY_LEN(thumbprint_names); i++) {
        const char *text;

        if ((err = lk_svc_text(object, thumbprint_names[i], LK_HUBE_ARGUMENT, fault, &text)) !=
            LK_OK) {
            return err;
        }
        if (text == NULL || text[0] == '\0') {
            continue;
        }
        if (!thumbprint_ok(text)) {
            return lk_svc_fault(fault, LK_HUBE_ARGUMENT,
                                "authentication.x509Thumbprint.%s: expected 40 or 64 hexadecimal "
                                "digits",
                                thumbprint_names[i]);
        }
        for (size_t n = 0; n <= strlen(text); n++) {
            id->thumbprints[i][n] =
                text[n] >= 'a' && text[n] <= 'f' ? (char)(text[n] - 'a' + 'A') : text[n];
        }
    }
    return LK_OK;
}

/* Older clients leave the type out, and say by what they give. */
static enum lk_err
auth_type_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_identity *id)
{
    const char *text;
    enum lk_err err = lk_svc_text(object, "type", LK_HUBE_ARGUMENT, fault, &text);

    if (err != LK_OK) {
        return err;
    }
    if (text == NULL) {
        id->auth = id->thumbprints[0][0] != '\0' ? LK_AUTH_SELF_SIGNED : LK_AUTH_SAS;
        return LK_OK;
    }
    for (size_t i = LK_AUTH_SAS; i < LK_ARRAY_LEN(auth_names); i++) {
        if (lk_ascii_caseeq(text, strlen(text), auth_names[i], strlen(auth_names[i]))) {
            id->auth = (enum lk_identity_auth)i;
            return LK_OK;
        }
    }
    return lk_svc_fault(fault, LK_HUBE_ARGUMENT,
                        "authentication.type: expected sas, selfSigned, certificateAuthority or "
                        "none");
}

static enum lk_err
auth_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_device_doc *ret)
{
    const json_t *auth, *keys, *thumbprints;
    enum lk_err err;

    if ((err = lk_svc_object(object, "authentication", fault, &auth)) != LK_OK || auth == NULL) {
        return err;
    }
    ret->has_auth = true;
    if ((err = lk_svc_object(auth, "symmetricKey", fault, &keys)) != LK_OK ||
        (err = lk_svc_object(auth, "x509Thumbprint", fault, &thumbprints)) != LK_OK ||
        (err = keys_parse(keys, fault, ret->d.keys)) != LK_OK ||
        (err = thumbprints_parse(thumbprints, fault, &ret->d.id)) != LK_OK ||
        (err = auth_type_parse(auth, fault, &ret->d.id)) != LK_OK) {
        return err;
    }
    return ret->d.id.auth != LK_AUTH_SELF_SIGNED || ret->d.id.thumbprints[0][0] != '\0'
               ? LK_OK
               : lk_svc_fault(fault, LK_HUBE_ARGUMENT,
                              "authentication.x509Thumbprint.primaryThumbprint: required");
}

static enum lk_err
edge_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_device_doc *ret)
{
    const json_t *capabilities;
    enum lk_err err = lk_svc_object(object, "capabilities", fault, &capabilities);

    if (err != LK_OK || capabilities == NULL) {
        return err;
    }
    ret->has_edge = json_object_get(capabilities, "iotEdge") != NULL;
    return lk_svc_bool(capabilities, "iotEdge", fault, &ret->d.id.iot_edge);
}

static enum lk_err
etag_parse(const json_t *object, struct lk_svc_fault *fault, char ret[LK_ETAG_GIVEN_CAP])
{
    const char *text;
    enum lk_err err = lk_svc_text(object, "etag", LK_HUBE_ARGUMENT, fault, &text);

    if (err != LK_OK || text == NULL) {
        return err;
    }
    return lk_etag_parse(text, ret) == LK_OK
               ? LK_OK
               : lk_svc_fault(fault, LK_HUBE_ARGUMENT, "etag: too long for one of ours");
}

enum lk_err
lk_device_json_parse(const json_t *object, const char *fallback_id, struct lk_svc_fault *fault,
                     struct lk_device_doc *ret)
{
    enum lk_err err;

    lk_device_doc_fini(ret);
    lk_device_doc_init(ret);
    if ((err = id_parse(object, fallback_id, fault, ret->d.id.device_id)) != LK_OK ||
        (err = etag_parse(object, fault, ret->etag)) != LK_OK ||
        (err = status_parse(object, fault, ret)) != LK_OK ||
        (err = auth_parse(object, fault, ret)) != LK_OK) {
        return err;
    }
    return edge_parse(object, fault, ret);
}

enum lk_err
lk_device_doc_apply(const struct lk_device_doc *doc, struct lk_hub_device *d)
{
    enum lk_err err = LK_OK;

    if (doc->has_status) {
        d->id.enabled = doc->d.id.enabled;
    }
    if (doc->has_reason) {
        memcpy(d->id.status_reason, doc->d.id.status_reason, sizeof(d->id.status_reason));
    }
    if (doc->has_edge) {
        d->id.iot_edge = doc->d.id.iot_edge;
    }
    if (doc->has_auth) {
        d->id.auth = doc->d.id.auth;
        memcpy(d->id.thumbprints, doc->d.id.thumbprints, sizeof(d->id.thumbprints));
    }
    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(d->keys); i++) {
        lk_buf_reset(&d->keys[i]);
        err = lk_buf_put(&d->keys[i], doc->d.keys[i].data, doc->d.keys[i].len);
    }
    return err;
}

/* ---- encoding --------------------------------------------------------------------------------
 */

/* The form in which the vendor's service says never. */
static enum lk_err
time_put(json_t *object, const char *name, int64_t unix_ms)
{
    return unix_ms == 0 ? lk_member_text(object, name, "0001-01-01T00:00:00")
                        : lk_member_time_some(object, name, unix_ms);
}

/* A text, or null. */
static enum lk_err
text_or_null(json_t *object, const char *name, const char *text)
{
    return text[0] == '\0' ? lk_member_put(object, name, json_null())
                           : lk_member_text(object, name, text);
}

static enum lk_err
keys_put(const struct lk_hub_device *d, json_t *auth)
{
    json_t *keys = json_object();
    enum lk_err err = lk_member_put(auth, "symmetricKey", keys);

    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(key_names); i++) {
        err = d->keys[i].len == 0
                  ? lk_member_put(keys, key_names[i], json_null())
                  : lk_member_base64(keys, key_names[i], d->keys[i].data, d->keys[i].len);
    }
    return err;
}

enum lk_err
lk_thumbprints_json_put(const struct lk_identity *id, json_t *object)
{
    json_t *thumbprints = json_object();
    enum lk_err err = lk_member_put(object, "x509Thumbprint", thumbprints);

    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(thumbprint_names); i++) {
        err = text_or_null(thumbprints, thumbprint_names[i], id->thumbprints[i]);
    }
    return err;
}

static enum lk_err
auth_put(const struct lk_hub_device *d, json_t *object)
{
    json_t *auth = json_object();
    enum lk_err err;

    if ((err = lk_member_put(object, "authentication", auth)) != LK_OK ||
        (err = keys_put(d, auth)) != LK_OK ||
        (err = lk_thumbprints_json_put(&d->id, auth)) != LK_OK) {
        return err;
    }
    return lk_member_text(auth, "type", lk_identity_auth_name(d->id.auth));
}

enum lk_err
lk_presence_json_put(const struct lk_hub_device *d, json_t *object)
{
    enum lk_err err = lk_member_text(object, "connectionState",
                                     d->present.connected ? "Connected" : "Disconnected");

    if (err != LK_OK) {
        return err;
    }
    if ((err = time_put(object, "lastActivityTime", d->present.activity_ms)) != LK_OK) {
        return err;
    }
    return lk_member_put(object, "cloudToDeviceMessageCount",
                         json_integer((json_int_t)d->c2d_count));
}

enum lk_err
lk_status_json_put(const struct lk_hub_device *d, const char *time_name, json_t *object)
{
    enum lk_err err;

    if ((err = lk_member_text(object, "deviceId", d->id.device_id)) != LK_OK ||
        (err = lk_member_text(object, "status", d->id.enabled ? "enabled" : "disabled")) != LK_OK ||
        (err = text_or_null(object, "statusReason", d->id.status_reason)) != LK_OK ||
        (err = time_put(object, time_name, d->id.status_updated_ms)) != LK_OK) {
        return err;
    }
    return lk_member_put(object, "capabilities", json_pack("{s:b}", "iotEdge", d->id.iot_edge));
}

enum lk_err
lk_device_json_put(const struct lk_hub_device *d, json_t *object)
{
    enum lk_err err;

    if ((err = lk_status_json_put(d, "statusUpdatedTime", object)) != LK_OK ||
        (err = lk_member_text(object, "generationId", d->id.generation_id)) != LK_OK ||
        (err = lk_member_text(object, "etag", d->id.etag)) != LK_OK ||
        (err = time_put(object, "connectionStateUpdatedTime", d->present.changed_ms)) != LK_OK ||
        (err = lk_presence_json_put(d, object)) != LK_OK) {
        return err;
    }
    return auth_put(d, object);
}
