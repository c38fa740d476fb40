#include "wire/mqtt_name.h"

#include <string.h>

#include "base/codec.h"

#define PORT_LEN_MAX 5u /* digits */

static const char version_is[] = "api-version=";

/* A text that is taken apart from the left. */
struct text {
    const char *p;
    size_t len;
};

/* Take words from the front of t; false, and t unchanged, when it begins otherwise. */
static bool
text_skip(struct text *t, const char *words)
{
    size_t len = strlen(words);

    if (t->len < len || memcmp(t->p, words, len) != 0) {
        return false;
    }
    t->p += len;
    t->len -= len;
    return true;
}

/* What stands before the first c, or everything; t goes on behind that c. */
static struct text
text_split(struct text *t, char c)
{
    const char *end = memchr(t->p, c, t->len);
    struct text part = {t->p, end == NULL ? t->len : (size_t)(end - t->p)};
    size_t taken = end == NULL ? t->len : part.len + 1;

    t->p += taken;
    t->len -= taken;
    return part;
}

static bool
text_is(struct text t, const char *words)
{
    return t.len == strlen(words) && memcmp(t.p, words, t.len) == 0;
}

static bool
text_has(struct text t, const char *any_of)
{
    for (size_t i = 0; i < t.len; i++) {
        if (t.p[i] != '\0' && strchr(any_of, t.p[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool
text_has_controls(struct text t)
{
    for (size_t i = 0; i < t.len; i++) {
        if ((unsigned char)t.p[i] < ' ' || t.p[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

/* ---- user names ------------------------------------------------------------------------------ */

static bool
is_port(struct text t)
{
    uint64_t port;

    return t.len >= 1 && t.len <= PORT_LEN_MAX && lk_decimal_parse(t.p, t.len, &port) == LK_OK;
}

static enum lk_err
hub_take(struct text host, char ret[LK_HOST_NAME_MAX + 1])
{
    bool has_port = memchr(host.p, ':', host.len) != NULL;
    struct text name = text_split(&host, ':');

    if ((has_port && !is_port(host)) || !lk_host_name_ok(name.p, name.len)) {
        return LK_ERR_FORMAT;
    }
    memcpy(ret, name.p, name.len);
    ret[name.len] = '\0';
    lk_ascii_lower(ret);
    return LK_OK;
}

/* "2021-04-12", or with "-preview" behind. */
static bool
is_version(struct text t)
{
    static const char shape[] = "dddd-dd-dd";

    if (t.len < strlen(shape)) {
        return false;
    }
    for (size_t i = 0; i < strlen(shape); i++) {
        if (shape[i] == 'd' ? t.p[i] < '0' || t.p[i] > '9' : t.p[i] != shape[i]) {
            return false;
        }
    }
    t.p += strlen(shape);
    t.len -= strlen(shape);
    return t.len == 0 || text_is(t, "-preview");
}

/* Members joined by '&', one of them the version, once. */
static enum lk_err
members_check(struct text members)
{
    bool found = false;

    while (members.len > 0) {
        struct text value = text_split(&members, '&');

        if (text_skip(&value, version_is)) {
            if (found || !is_version(value)) {
                return LK_ERR_FORMAT;
            }
            found = true;
        }
    }
    return found ? LK_OK : LK_ERR_FORMAT;
}

enum lk_err
lk_mqtt_user_parse(const char *text, size_t len, struct lk_mqtt_user *ret)
{
    struct text rest = {text, len}, old;
    struct lk_mqtt_user user;
    struct text host, id;
    enum lk_err err;

    if (len > LK_MQTT_USER_NAME_MAX) {
        return LK_ERR_FORMAT;
    }
    host = text_split(&rest, '/');
    id = text_split(&rest, '/');
    old = rest;
    if (!lk_device_id_ok(id.p, id.len) ||
        (!text_skip(&rest, "?") && !text_skip(&old, version_is))) {
        return LK_ERR_FORMAT;
    }
    if ((err = hub_take(host, user.hub)) != LK_OK || (err = members_check(rest)) != LK_OK) {
        return err;
    }
    memcpy(user.device_id, id.p, id.len);
    user.device_id[id.len] = '\0';
    *ret = user;
    return LK_OK;
}

enum lk_err
lk_mqtt_user_format(const char *hub, const char *device_id, const char *client, struct lk_buf *ret)
{
    enum lk_err err =
        lk_buf_printf(ret, "%s/%s/?%s2021-04-12&DeviceClientType=", hub, device_id, version_is);

    return err != LK_OK ? err : lk_percent_encode(client, strlen(client), ret);
}

/* ---- property bags --------------------------------------------------------------------------- */

/* Percent-encoded, and no NUL when decoded. */
static bool
is_encoded(struct text t)
{
    static const char hex[] = "0123456789abcdefABCDEF";

    for (size_t i = 0; i < t.len; i++) {
        if (t.p[i] == '\0') {
            return false;
        }
        if (t.p[i] != '%') {
            continue;
        }
        if (t.len - i < 3 || memchr(hex, t.p[i + 1], sizeof(hex) - 1) == NULL ||
            memchr(hex, t.p[i + 2], sizeof(hex) - 1) == NULL || memcmp(t.p + i, "%00", 3) == 0) {
            return false;
        }
        i += 2;
    }
    return true;
}

/* The next member that is not empty; NULL in p past the last. */
static struct text
props_split(struct text *bag)
{
    struct text member = {NULL, 0};

    while (bag->len > 0 && member.len == 0) {
        member = text_split(bag, '&');
    }
    return member.len > 0 ? member : (struct text){NULL, 0};
}

static bool
is_member(struct text member)
{
    return member.p[0] != '=' && is_encoded(member);
}

enum lk_err
lk_mqtt_props_next(struct lk_mqtt_props *it, struct lk_buf *name, struct lk_buf *value,
                   bool *ret_has_value)
{
    struct text bag = {it->p, it->left};
    struct text member = props_split(&bag), key;
    bool has_value;
    enum lk_err err;

    if (member.p == NULL) {
        return LK_ERR_NOT_FOUND;
    }
    if (!is_member(member)) {
        return LK_ERR_FORMAT;
    }
    has_value = memchr(member.p, '=', member.len) != NULL;
    key = text_split(&member, '=');
    lk_buf_reset(name);
    lk_buf_reset(value);
    if ((err = lk_percent_decode(key.p, key.len, false, name)) != LK_OK ||
        (err = lk_percent_decode(member.p, member.len, false, value)) != LK_OK) {
        return err;
    }
    it->p = bag.p;
    it->left = bag.len;
    *ret_has_value = has_value;
    return LK_OK;
}

static bool
is_bag(struct text bag)
{
    struct text member;

    while ((member = props_split(&bag)).p != NULL) {
        if (!is_member(member)) {
            return false;
        }
    }
    return true;
}

/* ---- topics ---------------------------------------------------------------------------------- */

bool
lk_mqtt_id_has_topics(const char *id)
{
    return strpbrk(id, "+#") == NULL;
}

/* Take "devices/{id}/messages/" from the front of topic. */
static bool
device_skip(struct text *topic, const char *device_id)
{
    struct text rest = *topic;

    if (!lk_mqtt_id_has_topics(device_id) || !text_skip(&rest, "devices/") ||
        !text_skip(&rest, device_id) || !text_skip(&rest, "/messages/")) {
        return false;
    }
    *topic = rest;
    return true;
}

/* Behind "events". Some clients end the bag with a '/'. */
static enum lk_err
telemetry_parse(struct text rest, struct lk_mqtt_publish *ret)
{
    if (rest.len > 0 && !text_skip(&rest, "/")) {
        return LK_ERR_REFUSED;
    }
    if (rest.len > 0 && rest.p[rest.len - 1] == '/') {
        rest.len--;
    }
    if (!is_bag(rest)) {
        return LK_ERR_REFUSED;
    }
    *ret =
        (struct lk_mqtt_publish){.kind = LK_MQTT_TELEMETRY, .props = rest.p, .props_len = rest.len};
    return LK_OK;
}

/* "?$rid={rid}", perhaps with more: what a request is told apart by. */
static enum lk_err
request_parse(struct text query, struct lk_mqtt_publish *ret)
{
    if (!text_skip(&query, "?") || text_has(query, "/")) {
        return LK_ERR_REFUSED;
    }
    while (query.len > 0) {
        struct text value = text_split(&query, '&');

        if (text_skip(&value, "$rid=")) {
            if (ret->rid != NULL || value.len == 0 || value.len > LK_MQTT_RID_MAX) {
                return LK_ERR_REFUSED;
            }
            ret->rid = value.p;
            ret->rid_len = value.len;
        } else if (text_skip(&value, "$version=")) {
            if (ret->has_version || lk_decimal_parse(value.p, value.len, &ret->version) != LK_OK) {
                return LK_ERR_REFUSED;
            }
            ret->has_version = true;
        }
    }
    return ret->rid != NULL ? LK_OK : LK_ERR_REFUSED;
}

static enum lk_err
status_parse(struct text digits, int32_t *ret)
{
    bool negative = text_skip(&digits, "-");
    uint64_t value;

    if (lk_decimal_parse(digits.p, digits.len, &value) != LK_OK || value > INT32_MAX) {
        return LK_ERR_REFUSED;
    }
    *ret = negative ? -(int32_t)value : (int32_t)value;
    return LK_OK;
}

/* Behind "$iothub/". */
static enum lk_err
service_parse(struct text rest, struct lk_mqtt_publish *ret)
{
    struct lk_mqtt_publish found = {0};
    enum lk_err err;

    if (text_skip(&rest, "twin/GET/")) {
        found.kind = LK_MQTT_TWIN_GET;
    } else if (text_skip(&rest, "twin/PATCH/properties/reported/")) {
        found.kind = LK_MQTT_TWIN_REPORTED;
    } else if (text_skip(&rest, "methods/res/")) {
        found.kind = LK_MQTT_METHOD_RESULT;
        if ((err = status_parse(text_split(&rest, '/'), &found.status)) != LK_OK) {
            return err;
        }
    } else {
        return LK_ERR_REFUSED;
    }
    if ((err = request_parse(rest, &found)) != LK_OK) {
        return err;
    }
    *ret = found;
    return LK_OK;
}

enum lk_err
lk_mqtt_publish_parse(const char *device_id, const char *topic, size_t len,
                      struct lk_mqtt_publish *ret)
{
    struct text rest = {topic, len};

    if (len > LK_MQTT_TOPIC_MAX || text_has_controls(rest) || text_has(rest, "+#")) {
        return LK_ERR_REFUSED;
    }
    if (text_skip(&rest, "$iothub/")) {
        return service_parse(rest, ret);
    }
    if (device_skip(&rest, device_id) && text_skip(&rest, "events")) {
        return telemetry_parse(rest, ret);
    }
    return LK_ERR_REFUSED;
}

enum lk_err
lk_mqtt_filter_parse(const char *device_id, const char *filter, size_t len,
                     enum lk_mqtt_filter_kind *ret)
{
    struct text rest = {filter, len};

    if (device_skip(&rest, device_id) && text_is(rest, "devicebound/#")) {
        *ret = LK_MQTT_DEVICEBOUND;
    } else if (text_is(rest, "$iothub/twin/res/#")) {
        *ret = LK_MQTT_TWIN_ANSWERS;
    } else if (text_is(rest, "$iothub/twin/PATCH/properties/desired/#")) {
        *ret = LK_MQTT_TWIN_DESIRED;
    } else if (text_is(rest, "$iothub/methods/POST/#")) {
        *ret = LK_MQTT_METHODS;
    } else {
        return LK_ERR_REFUSED;
    }
    return LK_OK;
}
