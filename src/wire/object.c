/*
 * Objects written straight to their text, for the answers that every registration gets: building
 * one of jansson's and dumping it costs ten times as much. What would need an escape goes through
 * jansson all the same.
 */
#include "wire/wire_int.h"

#include <string.h>

#include "base/codec.h"

enum lk_err
lk_object_begin(struct lk_buf *b, struct lk_object *ret)
{
    *ret = (struct lk_object){b, b->len};
    return lk_buf_put_u8(b, '{');
}

enum lk_err
lk_object_end(struct lk_object *o, enum lk_err err)
{
    if (err == LK_OK) {
        err = lk_buf_put_u8(o->buf, '}');
    }
    if (err != LK_OK && o->buf->len > o->start) {
        lk_wipe(o->buf->data + o->start, o->buf->len - o->start);
        o->buf->len = o->start;
    }
    return err;
}

enum lk_err
lk_object_name(struct lk_object *o, const char *name)
{
    bool first = o->buf->len == o->start + 1;
    enum lk_err err;

    if ((err = lk_buf_puts(o->buf, first ? "\"" : ",\"")) != LK_OK ||
        (err = lk_buf_puts(o->buf, name)) != LK_OK) {
        return err;
    }
    return lk_buf_puts(o->buf, "\":");
}

enum lk_err
lk_object_raw(struct lk_object *o, const char *name, const char *value)
{
    enum lk_err err = lk_object_name(o, name);

    return err != LK_OK ? err : lk_buf_puts(o->buf, value);
}

static bool
is_plain(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~' || *at == '"' || *at == '\\') {
            return false;
        }
    }
    return true;
}

static enum lk_err
text_escape(struct lk_buf *b, const char *text)
{
    LK_AUTO(json) json_t *value = json_string(text);

    return value == NULL ? LK_ERR_NOMEM : lk_json_write(value, b);
}

enum lk_err
lk_object_text(struct lk_object *o, const char *name, const char *text)
{
    enum lk_err err = lk_object_name(o, name);

    if (err != LK_OK) {
        return err;
    }
    if (!is_plain(text)) {
        return text_escape(o->buf, text);
    }
    if ((err = lk_buf_put_u8(o->buf, '"')) != LK_OK || (err = lk_buf_puts(o->buf, text)) != LK_OK) {
        return err;
    }
    return lk_buf_put_u8(o->buf, '"');
}

enum lk_err
lk_object_text_some(struct lk_object *o, const char *name, const char *text)
{
    return text[0] == '\0' ? LK_OK : lk_object_text(o, name, text);
}

enum lk_err
lk_object_time_some(struct lk_object *o, const char *name, int64_t unix_ms)
{
    char text[LK_TIMESTAMP_CAP];

    if (unix_ms == 0) {
        return LK_OK;
    }
    lk_timestamp_format(unix_ms, text);
    return lk_object_text(o, name, text);
}

enum lk_err
lk_object_base64(struct lk_object *o, const char *name, const void *data, size_t len)
{
    enum lk_err err = lk_object_name(o, name);

    if (err != LK_OK || (err = lk_buf_put_u8(o->buf, '"')) != LK_OK ||
        (err = lk_base64_encode(data, len, o->buf)) != LK_OK) {
        return err;
    }
    return lk_buf_put_u8(o->buf, '"');
}

enum lk_err
lk_object_json(struct lk_object *o, const char *name, const struct lk_buf *text)
{
    LK_AUTO(json) json_t *value = NULL;
    enum lk_err err;

    if (text->len == 0) {
        return LK_OK;
    }
    if ((err = lk_json_parse(text->data, text->len, true, NULL, &value)) != LK_OK ||
        (err = lk_object_name(o, name)) != LK_OK) {
        return err;
    }
    return lk_json_write(value, o->buf);
}
