#include "link/registry.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "wire/members.h"

#define ANSWER_MAX ((size_t)1024 * 1024) /* bytes: nothing longer is read, whoever asks */

static enum lk_err
fault(char error[LK_JSON_ERROR_CAP], const char *what)
{
    (void)snprintf(error, LK_JSON_ERROR_CAP, "%s", what);
    return LK_ERR_FORMAT;
}

/* ---- what is sent ------------------------------------------------------------------------------
 */

/* Take over value as a member of object. */
static enum lk_err
put(json_t *object, const char *name, json_t *value)
{
    return lk_member_put(object, name, value);
}

static enum lk_err
keys_put(json_t *object, const struct lk_hub_identity *id)
{
    static const char *const names[] = {"primaryKey", "secondaryKey"};
    enum lk_err err = LK_OK;

    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(names); i++) {
        if (id->keys_len[i] > 0) {
            err = lk_member_base64(object, names[i], id->keys[i], id->keys_len[i]);
        }
    }
    return err;
}

/* second: the other thumbprint, that stays; "": none. A new reference. */
static enum lk_err
authentication_make(const struct lk_hub_identity *id, const char *second, json_t **ret)
{
    LK_AUTO(json) json_t *auth = json_object();
    LK_AUTO(json) json_t *inner = json_object();
    bool by_cert = id->thumbprint != NULL;
    enum lk_err err;

    if (auth == NULL || inner == NULL) {
        return LK_ERR_NOMEM;
    }
    err = lk_member_text(auth, "type", by_cert ? "selfSigned" : "sas");
    if (err == LK_OK && by_cert) {
        char upper[LK_HUB_THUMBPRINT_CAP];

        if ((err = lk_strcpy(upper, sizeof(upper), id->thumbprint)) != LK_OK) {
            return err;
        }
        for (char *at = upper; *at != '\0'; at++) {
            *at = (char)toupper((unsigned char)*at);
        }
        err = lk_member_text(inner, "primaryThumbprint", upper);
        if (err == LK_OK) {
            err = lk_member_text_some(inner, "secondaryThumbprint", second);
        }
    } else if (err == LK_OK) {
        err = keys_put(inner, id);
    }
    if (err == LK_OK) {
        err = put(auth, by_cert ? "x509Thumbprint" : "symmetricKey", json_incref(inner));
    }
    if (err == LK_OK) {
        *ret = json_take(&auth);
    }
    return err;
}

static enum lk_err
authentication_put(json_t *object, const struct lk_hub_identity *id, const char *second)
{
    json_t *auth = NULL;
    enum lk_err err = authentication_make(id, second, &auth);

    return err != LK_OK ? err : put(object, "authentication", auth);
}

/* A section without the members that a hub keeps itself; NULL when nothing is in it. */
static enum lk_err
section_take(json_t *holder, const char *name, json_t **ret)
{
    json_t *section = json_object_get(holder, name);

    *ret = NULL;
    if (section == NULL || json_is_null(section)) {
        return LK_OK;
    }
    if (!json_is_object(section)) {
        return LK_ERR_FORMAT;
    }
    (void)json_object_del(section, "$metadata"); /* fails when there is none */
    (void)json_object_del(section, "$version");
    *ret = json_object_size(section) == 0 ? NULL : section;
    return LK_OK;
}

/* Put tags and properties.desired of a twin into object, as far as there are any. */
static enum lk_err
twin_put(json_t *twin, json_t *object)
{
    json_t *properties = json_object_get(twin, "properties"), *tags, *desired = NULL;
    LK_AUTO(json) json_t *copy = NULL;
    enum lk_err err;

    if ((properties != NULL && !json_is_null(properties) && !json_is_object(properties)) ||
        (err = section_take(twin, "tags", &tags)) != LK_OK ||
        (json_is_object(properties) &&
         (err = section_take(properties, "desired", &desired)) != LK_OK)) {
        return LK_ERR_FORMAT;
    }
    if (tags != NULL && (err = put(object, "tags", json_incref(tags))) != LK_OK) {
        return err;
    }
    if (desired == NULL) {
        return LK_OK;
    }
    copy = json_object();
    if (copy == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = put(copy, "desired", json_incref(desired))) != LK_OK) {
        return err;
    }
    return put(object, "properties", json_incref(copy));
}

static enum lk_err
twin_text_put(const char *text, json_t *object)
{
    LK_AUTO(json) json_t *twin = NULL;
    enum lk_err err = lk_json_parse(text, strlen(text), false, NULL, &twin);

    return err != LK_OK ? err : twin_put(twin, object);
}

static enum lk_err
capabilities_put(json_t *object, bool iot_edge)
{
    return put(object, "capabilities", json_pack("{s:b}", "iotEdge", iot_edge));
}

enum lk_err
lk_registry_create_format(const struct lk_hub_identity *id, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *list = json_array();
    json_t *o = json_object();
    enum lk_err err;

    if (list == NULL || json_array_append_new(list, o) != 0) {
        return LK_ERR_NOMEM;
    }
    if ((err = lk_member_text(o, "id", id->device_id)) != LK_OK ||
        (err = lk_member_text(o, "importMode", "create")) != LK_OK ||
        (err = lk_member_text(o, "status", "enabled")) != LK_OK ||
        (err = authentication_put(o, id, "")) != LK_OK ||
        (id->twin != NULL && (err = twin_text_put(id->twin, o)) != LK_OK) ||
        (err = capabilities_put(o, id->iot_edge)) != LK_OK) {
        return err;
    }
    return lk_json_write(list, ret);
}

enum lk_err
lk_registry_update_format(const struct lk_hub_snapshot *was, const struct lk_hub_identity *id,
                          struct lk_buf *ret)
{
    LK_AUTO(json) json_t *o = NULL;
    enum lk_err err = lk_json_parse(was->identity.data, was->identity.len, false, NULL, &o);

    if (err != LK_OK || (err = authentication_put(o, id, was->thumbprints[0])) != LK_OK) {
        return err;
    }
    return lk_json_write(o, ret);
}

enum lk_err
lk_registry_twin_format(const char *twin, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *o = json_object();
    enum lk_err err;

    if (o == NULL) {
        return LK_ERR_NOMEM;
    }
    err = twin_text_put(twin, o);
    return err != LK_OK ? err : lk_json_write(o, ret);
}

/* ---- a device ----------------------------------------------------------------------------------
 */

/* It goes into a header: nothing in it needs an escape there. */
static enum lk_err
etag_take(const json_t *o, char error[LK_JSON_ERROR_CAP], struct lk_hub_snapshot *ret)
{
    const char *etag;

    if (lk_json_text(o, "etag", &etag) != LK_OK || etag == NULL || etag[0] == '\0' ||
        lk_strcpy(ret->etag, sizeof(ret->etag), etag) != LK_OK) {
        return fault(error, "the device has no etag");
    }
    for (const char *at = etag; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || *at == '"' || *at == '\\') {
            return fault(error, "the device's etag is none");
        }
    }
    return LK_OK;
}

static enum lk_err
key_take(const json_t *keys, const char *name, size_t slot, struct lk_hub_snapshot *ret)
{
    LK_AUTO_BUF struct lk_buf key = {.max = LK_HUB_DEVICE_KEY_MAX};
    const char *text;
    enum lk_err err = lk_json_text(keys, name, &text);

    if (err != LK_OK || text == NULL || text[0] == '\0') {
        return err;
    }
    if ((err = lk_base64_decode(text, strlen(text), &key)) != LK_OK) {
        return err == LK_ERR_NOMEM ? err : LK_ERR_FORMAT;
    }
    if (key.len > 0) {
        memcpy(ret->keys[slot], key.data, key.len);
    }
    ret->keys_len[slot] = key.len;
    return LK_OK;
}

static enum lk_err
thumbprint_take(const json_t *prints, const char *name, char ret[LK_HUB_THUMBPRINT_CAP])
{
    const char *text;
    enum lk_err err = lk_json_text(prints, name, &text);

    if (err != LK_OK || text == NULL) {
        return err;
    }
    for (const char *at = text; *at != '\0'; at++) {
        if (!isxdigit((unsigned char)*at)) {
            return LK_ERR_FORMAT;
        }
    }
    if (lk_strcpy(ret, LK_HUB_THUMBPRINT_CAP, text) != LK_OK) {
        return LK_ERR_FORMAT;
    }
    for (char *at = ret; *at != '\0'; at++) {
        *at = (char)toupper((unsigned char)*at);
    }
    return LK_OK;
}

/* NULL: absent or null. LK_ERR_FORMAT: something else than an object. */
static enum lk_err
object_get(const json_t *holder, const char *name, const json_t **ret)
{
    const json_t *o = json_object_get(holder, name);

    *ret = json_is_object(o) ? o : NULL;
    return o == NULL || json_is_null(o) || json_is_object(o) ? LK_OK : LK_ERR_FORMAT;
}

static enum lk_err
authentication_take(const json_t *o, struct lk_hub_snapshot *ret)
{
    const json_t *auth, *keys, *prints;
    enum lk_err err;

    if ((err = object_get(o, "authentication", &auth)) != LK_OK || auth == NULL) {
        return err;
    }
    if ((err = object_get(auth, "symmetricKey", &keys)) != LK_OK ||
        (err = object_get(auth, "x509Thumbprint", &prints)) != LK_OK) {
        return err;
    }
    if (keys != NULL && ((err = key_take(keys, "primaryKey", 0, ret)) != LK_OK ||
                         (err = key_take(keys, "secondaryKey", 1, ret)) != LK_OK)) {
        return err;
    }
    if (prints == NULL) {
        return LK_OK;
    }
    if ((err = thumbprint_take(prints, "primaryThumbprint", ret->thumbprints[0])) != LK_OK) {
        return err;
    }
    return thumbprint_take(prints, "secondaryThumbprint", ret->thumbprints[1]);
}

/* What an update gives back unchanged. */
static enum lk_err
identity_keep(const json_t *o, struct lk_buf *ret)
{
    static const char *const kept[] = {"deviceId",     "etag",        "status",      "statusReason",
                                       "capabilities", "deviceScope", "parentScopes"};
    LK_AUTO(json) json_t *copy = json_object();

    if (copy == NULL) {
        return LK_ERR_NOMEM;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(kept); i++) {
        json_t *value = json_object_get(o, kept[i]);

        if (value != NULL && json_object_set(copy, kept[i], value) != 0) {
            return LK_ERR_NOMEM;
        }
    }
    return lk_json_write(copy, ret);
}

static enum lk_err
answer_parse(const void *body, size_t len, const char *device_id, char error[LK_JSON_ERROR_CAP],
             json_t **ret)
{
    LK_AUTO(json) json_t *o = NULL;
    const char *id;
    enum lk_err err;

    if (len > ANSWER_MAX) {
        (void)fault(error, "the answer is too long");
        return LK_ERR_LIMIT;
    }
    if ((err = lk_json_parse(body, len, false, error, &o)) != LK_OK) {
        return err;
    }
    if (lk_json_text(o, "deviceId", &id) != LK_OK || id == NULL || strcmp(id, device_id) != 0) {
        return fault(error, "the answer is about another device");
    }
    *ret = json_take(&o);
    return LK_OK;
}

enum lk_err
lk_registry_device_parse(const void *body, size_t len, const char *device_id,
                         char error[LK_JSON_ERROR_CAP], struct lk_hub_snapshot *ret)
{
    LK_AUTO(json) json_t *o = NULL;
    const json_t *capabilities;
    enum lk_err err;

    if ((err = answer_parse(body, len, device_id, error, &o)) != LK_OK ||
        (err = etag_take(o, error, ret)) != LK_OK) {
        return err;
    }
    if ((err = authentication_take(o, ret)) != LK_OK ||
        (err = object_get(o, "capabilities", &capabilities)) != LK_OK) {
        return err == LK_ERR_FORMAT ? fault(error, "the device's authentication is none") : err;
    }
    ret->iot_edge = capabilities != NULL && json_is_true(json_object_get(capabilities, "iotEdge"));
    ret->found = true;
    return identity_keep(o, &ret->identity);
}

/* ---- a twin ------------------------------------------------------------------------------------
 */

static enum lk_err
section_judge(const json_t *section)
{
    LK_AUTO_BUF struct lk_buf text = {.max = LK_REGISTRY_SECTION_MAX};

    return section == NULL ? LK_OK : lk_json_write(section, &text);
}

enum lk_err
lk_registry_twin_parse(const void *body, size_t len, const char *device_id,
                       char error[LK_JSON_ERROR_CAP], struct lk_buf *ret)
{
    LK_AUTO(json) json_t *o = NULL;
    LK_AUTO(json) json_t *twin = json_object();
    enum lk_err err;

    if (twin == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = answer_parse(body, len, device_id, error, &o)) != LK_OK) {
        return err;
    }
    if ((err = twin_put(o, twin)) != LK_OK) {
        return err == LK_ERR_FORMAT ? fault(error, "the twin has a section that is no object")
                                    : err;
    }
    if ((err = section_judge(json_object_get(twin, "tags"))) != LK_OK ||
        (err = section_judge(json_object_get(twin, "properties"))) != LK_OK) {
        (void)fault(error, "the twin is too long");
        return err;
    }
    return json_object_size(twin) == 0 ? LK_OK : lk_json_write(twin, ret);
}

/* ---- results and errors ------------------------------------------------------------------------
 */

/* A name or a number, as a name. */
static void
code_name(const json_t *code, char ret[LK_REGISTRY_NAME_CAP])
{
    const char *text = json_is_string(code) ? json_string_value(code) : "";
    size_t len = 0;

    if (json_is_integer(code)) {
        (void)snprintf(ret, LK_REGISTRY_NAME_CAP, "%lld", (long long)json_integer_value(code));
        return;
    }
    while (len < LK_REGISTRY_NAME_CAP - 1 && isalnum((unsigned char)text[len])) {
        ret[len] = text[len];
        len++;
    }
    ret[len] = '\0';
}

static bool
is_one_of(const char *name, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (lk_ascii_caseeq(name, strlen(name), *list, strlen(*list))) {
            return true;
        }
    }
    return false;
}

static enum lk_err
bulk_error_judge(const json_t *errors, char error[LK_JSON_ERROR_CAP])
{
    static const char *const exists[] = {"DeviceAlreadyExists", "409001", "409002", NULL};
    static const char *const busy[] = {
        "ThrottlingException",          "429001", "ServerError",         "500001",
        "ServiceUnavailable",           "503001", "IotHubQuotaExceeded", "403002",
        "ThrottleBacklogLimitExceeded", NULL};
    char name[LK_REGISTRY_NAME_CAP];

    code_name(json_object_get(json_array_get(errors, 0), "errorCode"), name);
    (void)snprintf(error, LK_JSON_ERROR_CAP, "%s", name[0] == '\0' ? "no reason given" : name);
    return is_one_of(name, exists) ? LK_ERR_EXISTS
           : is_one_of(name, busy) ? LK_ERR_BUSY
                                   : LK_ERR_UNSUPPORTED;
}

enum lk_err
lk_registry_bulk_parse(const void *body, size_t len, char error[LK_JSON_ERROR_CAP])
{
    LK_AUTO(json) json_t *o = NULL;
    const json_t *done, *errors;
    enum lk_err err;

    if (len > ANSWER_MAX) {
        return fault(error, "the answer is too long");
    }
    if ((err = lk_json_parse(body, len, false, error, &o)) != LK_OK) {
        return err;
    }
    done = json_object_get(o, "isSuccessful");
    errors = json_object_get(o, "errors");
    if (!json_is_boolean(done) ||
        (errors != NULL && !json_is_null(errors) && !json_is_array(errors))) {
        return fault(error, "the answer is no bulk result");
    }
    if (json_array_size(errors) == 0) {
        return json_is_true(done) ? LK_OK : fault(error, "it failed, and does not say why");
    }
    return bulk_error_judge(errors, error);
}

/* "ErrorCode:DeviceNotFound;E2E-7f is not registered", or JSON text with an errorCode. */
static void
message_name(const char *message, char ret[LK_REGISTRY_NAME_CAP])
{
    static const char head[] = "ErrorCode:";
    LK_AUTO(json) json_t *inner = NULL;
    LK_AUTO(json) json_t *name = NULL;

    if (strncmp(message, head, sizeof(head) - 1) == 0) {
        name = json_stringn(message + sizeof(head) - 1, strcspn(message + sizeof(head) - 1, ";"));
        code_name(name, ret);
    } else if (message[0] == '{' &&
               lk_json_parse(message, strlen(message), false, NULL, &inner) == LK_OK) {
        code_name(json_object_get(inner, "errorCode"), ret);
    }
}

void
lk_registry_error_parse(const void *body, size_t len, char ret[LK_REGISTRY_NAME_CAP])
{
    LK_AUTO(json) json_t *o = NULL;
    const char *message;

    ret[0] = '\0';
    if (len > ANSWER_MAX || lk_json_parse(body, len, false, NULL, &o) != LK_OK) {
        return;
    }
    code_name(json_object_get(o, "errorCode"), ret);
    if (ret[0] == '\0' && lk_json_text(o, "Message", &message) == LK_OK && message != NULL) {
        message_name(message, ret);
    }
}

bool
lk_registry_is_device_missing(const char *name)
{
    static const char *const missing[] = {"DeviceNotFound", "404001", NULL};

    return is_one_of(name, missing);
}

enum lk_err
lk_registry_statistics_parse(const void *body, size_t len, int64_t *ret_devices)
{
    LK_AUTO(json) json_t *o = NULL;
    const json_t *count;
    enum lk_err err;

    if (len > ANSWER_MAX) {
        return LK_ERR_LIMIT;
    }
    if ((err = lk_json_parse(body, len, false, NULL, &o)) != LK_OK) {
        return err;
    }
    count = json_object_get(o, "totalDeviceCount");
    if (!json_is_integer(count)) {
        return LK_ERR_FORMAT;
    }
    *ret_devices = json_integer_value(count);
    return LK_OK;
}
