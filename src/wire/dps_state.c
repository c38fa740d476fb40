/* The registration state, and the operation status that carries it (device-protocol.md 1.6, 1.7).
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/codec.h"
#include "wire/dps.h"
#include "wire/wire_int.h"

static const char *const status_names[] = {
    [LK_DPS_UNASSIGNED] = "unassigned", [LK_DPS_ASSIGNING] = "assigning",
    [LK_DPS_ASSIGNED] = "assigned",     [LK_DPS_FAILED] = "failed",
    [LK_DPS_DISABLED] = "disabled",
};

static const char *const substatus_names[] = {
    [LK_DPS_SUB_NONE] = "",
    [LK_DPS_SUB_INITIAL] = "initialAssignment",
    [LK_DPS_SUB_MIGRATED] = "deviceDataMigrated",
    [LK_DPS_SUB_RESET] = "deviceDataReset",
    [LK_DPS_SUB_REPROVISIONED] = "reprovisionedToInitialAssignment",
};

const char *
lk_dps_status_name(enum lk_dps_status s)
{
    return (size_t)s < LK_ARRAY_LEN(status_names) ? status_names[s] : "failed";
}

const char *
lk_dps_substatus_name(enum lk_dps_substatus s)
{
    return (size_t)s < LK_ARRAY_LEN(substatus_names) ? substatus_names[s] : "";
}

void
lk_dps_state_fini(struct lk_dps_state *s)
{
    lk_buf_fini(&s->auth_key);
    lk_buf_fini(&s->payload);
}

/* ---- format ---------------------------------------------------------------------------------- */

static enum lk_err
auth_key_put(struct lk_object *state, const struct lk_buf *auth_key)
{
    struct lk_object tpm;
    enum lk_err err;

    if (auth_key->len == 0) {
        return LK_OK;
    }
    if ((err = lk_object_name(state, "tpm")) != LK_OK ||
        (err = lk_object_begin(state->buf, &tpm)) != LK_OK) {
        return err;
    }
    return lk_object_end(
        &tpm, lk_object_base64(&tpm, "authenticationKey", auth_key->data, auth_key->len));
}

static enum lk_err
error_put(struct lk_object *state, const struct lk_dps_state *s)
{
    char code[sizeof("-2147483648")];
    enum lk_err err;

    if (s->error_code == 0) {
        return LK_OK;
    }
    (void)snprintf(code, sizeof(code), "%d", (int)s->error_code); /* any 32-bit number fits */
    err = lk_object_raw(state, "errorCode", code);
    return err != LK_OK ? err : lk_object_text(state, "errorMessage", s->error_message);
}

/* Base64 of the etag in double quotes. */
static enum lk_err
etag_put(struct lk_object *state, const char *etag)
{
    char quoted[sizeof(((struct lk_dps_state *)NULL)->etag) + 2] = "\"";
    size_t len = strlen(etag);

    if (len == 0) {
        return LK_OK;
    }
    memcpy(quoted + 1, etag, len);
    quoted[len + 1] = '"';
    return lk_object_base64(state, "etag", quoted, len + 2);
}

static enum lk_err
state_members(struct lk_object *state, const struct lk_dps_state *s)
{
    enum lk_err err;

    if ((err = auth_key_put(state, &s->auth_key)) != LK_OK ||
        (err = lk_object_text_some(state, "registrationId", s->registration_id)) != LK_OK ||
        (err = lk_object_time_some(state, "createdDateTimeUtc", s->created_ms)) != LK_OK ||
        (err = lk_object_text_some(state, "assignedHub", s->assigned_hub)) != LK_OK ||
        (err = lk_object_text_some(state, "deviceId", s->device_id)) != LK_OK ||
        (err = lk_object_text(state, "status", lk_dps_status_name(s->status))) != LK_OK ||
        (err = lk_object_text_some(state, "substatus", lk_dps_substatus_name(s->substatus))) !=
            LK_OK ||
        (err = error_put(state, s)) != LK_OK ||
        (err = lk_object_time_some(state, "lastUpdatedDateTimeUtc", s->updated_ms)) != LK_OK ||
        (err = etag_put(state, s->etag)) != LK_OK) {
        return err;
    }
    return lk_object_json(state, "payload", &s->payload);
}

enum lk_err
lk_dps_state_format(const struct lk_dps_state *s, struct lk_buf *ret)
{
    struct lk_object state;
    enum lk_err err = lk_object_begin(ret, &state);

    return lk_object_end(&state, err != LK_OK ? err : state_members(&state, s));
}

static enum lk_err
operation_members(struct lk_object *root, const struct lk_dps_state *s, bool with_state)
{
    enum lk_err err;

    if ((err = lk_object_text_some(root, "operationId", s->operation_id)) != LK_OK ||
        (err = lk_object_text(root, "status", lk_dps_status_name(s->status))) != LK_OK ||
        !with_state || (err = lk_object_name(root, "registrationState")) != LK_OK) {
        return err;
    }
    return lk_dps_state_format(s, root->buf);
}

enum lk_err
lk_dps_operation_format(const struct lk_dps_state *s, bool with_state, struct lk_buf *ret)
{
    struct lk_object root;
    enum lk_err err = lk_object_begin(ret, &root);

    return lk_object_end(&root, err != LK_OK ? err : operation_members(&root, s, with_state));
}

/* ---- parse ----------------------------------------------------------------------------------- */

/* The index of text among names; LK_ERR_FORMAT when it is none of them. */
static enum lk_err
name_find(const char *const *names, size_t names_count, const char *text, size_t *ret)
{
    for (size_t i = 0; i < names_count; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret = i;
            return LK_OK;
        }
    }
    return LK_ERR_FORMAT;
}

static enum lk_err
status_get(const json_t *object, enum lk_dps_status *ret)
{
    const char *text;
    size_t index = 0;
    enum lk_err err = lk_json_text(object, "status", &text);

    if (err != LK_OK || text == NULL) {
        return LK_ERR_FORMAT;
    }
    err = name_find(status_names, LK_ARRAY_LEN(status_names), text, &index);
    *ret = (enum lk_dps_status)index;
    return err;
}

/* One that we do not know yet is none. */
static enum lk_err
substatus_get(const json_t *state, enum lk_dps_substatus *ret)
{
    const char *text;
    size_t index = LK_DPS_SUB_NONE;
    enum lk_err err = lk_json_text(state, "substatus", &text);

    if (err != LK_OK) {
        return err;
    }
    if (text != NULL &&
        name_find(substatus_names, LK_ARRAY_LEN(substatus_names), text, &index) != LK_OK) {
        index = LK_DPS_SUB_NONE;
    }
    *ret = (enum lk_dps_substatus)index;
    return LK_OK;
}

/* "2022-08-31T22:02:50[.5163352]Z", up to 7 fraction digits, to milliseconds. */
static enum lk_err
time_parse(const char *text, int64_t *ret)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t ms = 0, unit_ms = 100;

    if (rest == NULL) {
        return LK_ERR_FORMAT;
    }
    if (*rest == '.') {
        const char *digits = ++rest;

        for (; *rest >= '0' && *rest <= '9'; rest++, unit_ms /= 10) {
            ms += (*rest - '0') * unit_ms;
        }
        if (rest == digits || rest - digits > 7) {
            return LK_ERR_FORMAT;
        }
    }
    if (strcmp(rest, "Z") != 0) {
        return LK_ERR_FORMAT;
    }
    *ret = (int64_t)timegm(&tm) * 1000 + ms;
    return LK_OK;
}

static enum lk_err
time_get(const json_t *state, const char *name, int64_t *ret)
{
    const char *text;
    enum lk_err err = lk_json_text(state, name, &text);

    return err != LK_OK || text == NULL ? err : time_parse(text, ret);
}

static enum lk_err
auth_key_get(const json_t *state, struct lk_buf *ret)
{
    const json_t *tpm = json_object_get(state, "tpm");
    enum lk_err err;

    if (tpm == NULL || json_is_null(tpm)) {
        return LK_OK;
    }
    if (!json_is_object(tpm)) {
        return LK_ERR_FORMAT;
    }
    err = lk_member_get_base64(tpm, "authenticationKey", ret);
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static enum lk_err
error_get(const json_t *state, struct lk_dps_state *s)
{
    const char *text;
    enum lk_err err;

    if ((err = lk_member_get_int32(state, "errorCode", &s->error_code)) != LK_OK ||
        (err = lk_json_text(state, "errorMessage", &text)) != LK_OK) {
        return err;
    }
    lk_text_cut(s->error_message, sizeof(s->error_message), text != NULL ? text : "");
    return LK_OK;
}

/* The etag without its quotes. One that is not made as ours are is not an error: nobody needs it.
 */
static enum lk_err
etag_get(const json_t *state, struct lk_dps_state *s)
{
    LK_AUTO_BUF struct lk_buf quoted = LK_BUF_INIT;
    enum lk_err err = lk_member_get_base64(state, "etag", &quoted);

    if (err == LK_ERR_NOMEM) {
        return err;
    }
    if (err != LK_OK || quoted.len < 3 || quoted.len - 2 >= sizeof(s->etag) ||
        quoted.data[0] != '"' || quoted.data[quoted.len - 1] != '"' ||
        memchr(quoted.data, 0, quoted.len) != NULL) {
        return LK_OK;
    }
    memcpy(s->etag, quoted.data + 1, quoted.len - 2);
    s->etag[quoted.len - 2] = '\0';
    return LK_OK;
}

static enum lk_err
state_get(const json_t *state, struct lk_dps_state *s)
{
    enum lk_err err;

    if (!json_is_object(state)) {
        return LK_ERR_FORMAT;
    }
    if ((err = auth_key_get(state, &s->auth_key)) != LK_OK ||
        (err = lk_member_get_id(state, "registrationId", lk_registration_id_ok, s->registration_id,
                                sizeof(s->registration_id))) != LK_OK ||
        (err = time_get(state, "createdDateTimeUtc", &s->created_ms)) != LK_OK ||
        (err = lk_member_get_id(state, "assignedHub", lk_host_name_ok, s->assigned_hub,
                                sizeof(s->assigned_hub))) != LK_OK ||
        (err = lk_member_get_id(state, "deviceId", lk_device_id_ok, s->device_id,
                                sizeof(s->device_id))) != LK_OK ||
        (err = substatus_get(state, &s->substatus)) != LK_OK ||
        (err = error_get(state, s)) != LK_OK ||
        (err = time_get(state, "lastUpdatedDateTimeUtc", &s->updated_ms)) != LK_OK ||
        (err = etag_get(state, s)) != LK_OK) {
        return err;
    }
    return lk_member_get_json(state, "payload", &s->payload);
}

static bool
operation_id_ok(const char *text, size_t len)
{
    return len >= 1 && len <= LK_OPERATION_ID_MAX;
}

static enum lk_err
operation_get(const json_t *root, struct lk_dps_state *s)
{
    const json_t *state = json_object_get(root, "registrationState");
    enum lk_err err;

    if ((err = lk_member_get_id(root, "operationId", operation_id_ok, s->operation_id,
                                sizeof(s->operation_id))) != LK_OK ||
        (err = status_get(root, &s->status)) != LK_OK || state == NULL || json_is_null(state)) {
        return err;
    }
    return state_get(state, s);
}

enum lk_err
lk_dps_operation_parse(const void *body, size_t len, struct lk_dps_state *ret)
{
    __attribute__((cleanup(lk_dps_state_fini))) struct lk_dps_state s = {
        .payload = {.max = LK_DPS_PAYLOAD_MAX}};
    LK_AUTO(json) json_t *root = NULL;
    enum lk_err err;

    if ((err = lk_dps_body_parse(body, len, NULL, &root)) != LK_OK ||
        (err = operation_get(root, &s)) != LK_OK) {
        return err;
    }
    *ret = s;
    memset(&s.auth_key, 0, sizeof(s.auth_key)); /* both moved */
    memset(&s.payload, 0, sizeof(s.payload));
    return LK_OK;
}
