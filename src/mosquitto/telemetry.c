#include "mosquitto/telemetry.h"

#include <string.h>

static enum lk_err
id_put(const char *id, struct lk_buf *ret)
{
    for (;;) {
        size_t plain = strcspn(id, "%+#");
        enum lk_err err = lk_buf_put(ret, id, plain);

        id += plain;
        if (err != LK_OK || *id == '\0' || (err = lk_buf_printf(ret, "%%%02X", *id++)) != LK_OK) {
            return err;
        }
    }
}

/* Bytes of the UTF-8 sequence at p (RFC 3629), 0 when it is none. */
static size_t
utf8_len(const uint8_t *p, size_t left)
{
    size_t len = p[0] < 0x80                    ? 1
                 : p[0] >= 0xc2 && p[0] <= 0xdf ? 2
                 : p[0] >= 0xe0 && p[0] <= 0xef ? 3
                 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                : 0;

    if (len == 0 || len > left) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* The shortest form only, no surrogates, nothing past U+10FFFF. */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) {
        return 0;
    }
    return len;
}

static bool
props_ok(const char *props, size_t len)
{
    const uint8_t *p = (const uint8_t *)props;

    while (len > 0) {
        size_t step = utf8_len(p, len);

        if (step == 0 || p[0] < ' ' || p[0] == 0x7f || p[0] == '+' || p[0] == '#') {
            return false;
        }
        p += step;
        len -= step;
    }
    return true;
}

static enum lk_err
mark_put(const char *mark, size_t begin, struct lk_buf *ret)
{
    enum lk_err err = ret->len > begin ? lk_buf_puts(ret, "&") : LK_OK;

    return err != LK_OK ? err : lk_buf_puts(ret, mark);
}

enum lk_err
lk_telemetry_topic(const char *hub, const char *device_id, const char *props, size_t props_len,
                   enum lk_telemetry_mark marks, struct lk_buf *ret)
{
    size_t begin;
    enum lk_err err;

    if (!props_ok(props, props_len)) {
        return LK_ERR_FORMAT;
    }
    if ((err = lk_buf_puts(ret, LK_OPERATOR_PREFIX)) != LK_OK ||
        (err = lk_buf_puts(ret, hub)) != LK_OK || (err = lk_buf_puts(ret, "/")) != LK_OK ||
        (err = id_put(device_id, ret)) != LK_OK ||
        (err = lk_buf_puts(ret, "/messages/events/")) != LK_OK) {
        return err;
    }
    begin = ret->len;
    if ((err = lk_buf_put(ret, props, props_len)) != LK_OK ||
        ((marks & LK_TELEMETRY_RETAINED) != 0 &&
         (err = mark_put("mqtt-retain=true", begin, ret)) != LK_OK) ||
        ((marks & LK_TELEMETRY_WILL) != 0 &&
         (err = mark_put("iothub-MessageType=Will", begin, ret)) != LK_OK)) {
        return err;
    }
    return ret->len <= LK_MQTT_TOPIC_MAX ? LK_OK : LK_ERR_LIMIT;
}

/* ---- operators ------------------------------------------------------------------------------- */

static bool
begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool
lk_operator_topic_ok(const char *topic)
{
    return begins(topic, LK_OPERATOR_PREFIX) || begins(topic, "$SYS/");
}

bool
lk_operator_filter_ok(const char *filter)
{
    if (begins(filter, "$share/")) {
        filter = strchr(filter + strlen("$share/"), '/');
        return filter != NULL && begins(filter + 1, LK_OPERATOR_PREFIX);
    }
    return lk_operator_topic_ok(filter);
}
