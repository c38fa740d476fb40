/* Members of JSON objects, put and got. */
#include "wire/wire_int.h"

#include <string.h>

#include "base/codec.h"

enum lk_err
lk_member_put(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0 ? LK_OK : LK_ERR_NOMEM;
}

enum lk_err
lk_member_text(json_t *object, const char *name, const char *text)
{
    json_t *value = json_string(text);

    /* The one other reason for a NULL is text that is not UTF-8. */
    return value == NULL ? LK_ERR_NOMEM : lk_member_put(object, name, value);
}

enum lk_err
lk_member_text_some(json_t *object, const char *name, const char *text)
{
    return text[0] == '\0' ? LK_OK : lk_member_text(object, name, text);
}

enum lk_err
lk_member_base64(json_t *object, const char *name, const void *data, size_t len)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = lk_base64_encode(data, len, &text);
    json_t *value;

    if (err != LK_OK) {
        return err;
    }
    value = json_stringn_nocheck(text.len > 0 ? (const char *)text.data : "", text.len);
    return value == NULL ? LK_ERR_NOMEM : lk_member_put(object, name, value);
}

enum lk_err
lk_member_json(json_t *object, const char *name, const struct lk_buf *text)
{
    json_t *value = NULL;
    enum lk_err err;

    if (text->len == 0) {
        return LK_OK;
    }
    err = lk_json_parse(text->data, text->len, true, NULL, &value);
    return err != LK_OK ? err : lk_member_put(object, name, value);
}

enum lk_err
lk_member_time_some(json_t *object, const char *name, int64_t unix_ms)
{
    char text[LK_TIMESTAMP_CAP];

    if (unix_ms == 0) {
        return LK_OK;
    }
    lk_timestamp_format(unix_ms, text);
    return lk_member_text(object, name, text);
}

enum lk_err
lk_member_get_base64(const json_t *object, const char *name, struct lk_buf *ret)
{
    const char *text;
    enum lk_err err;

    if ((err = lk_json_text(object, name, &text)) != LK_OK) {
        return err;
    }
    if (text == NULL) {
        return LK_ERR_NOT_FOUND;
    }
    return text[0] == '\0' ? LK_ERR_FORMAT : lk_base64_decode(text, strlen(text), ret);
}

enum lk_err
lk_member_get_json(const json_t *object, const char *name, struct lk_buf *ret)
{
    const json_t *value = json_object_get(object, name);

    return value == NULL || json_is_null(value) ? LK_OK : lk_json_write(value, ret);
}

void
lk_text_cut(char *buf, size_t cap, const char *text)
{
    size_t len = strnlen(text, cap);

    if (len == cap) {
        len--;
        while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    memcpy(buf, text, len);
    buf[len] = '\0';
}

enum lk_err
lk_member_get_id(const json_t *object, const char *name, bool (*id_ok)(const char *, size_t),
                 char *buf, size_t cap)
{
    const char *text;
    enum lk_err err = lk_json_text(object, name, &text);

    if (err != LK_OK || text == NULL) {
        return err;
    }
    return id_ok(text, strlen(text)) ? lk_strcpy(buf, cap, text) : LK_ERR_FORMAT;
}

enum lk_err
lk_member_get_int32(const json_t *object, const char *name, int32_t *ret)
{
    const json_t *value = json_object_get(object, name);

    if (value == NULL || json_is_null(value)) {
        return LK_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < INT32_MIN ||
        json_integer_value(value) > INT32_MAX) {
        return LK_ERR_FORMAT;
    }
    *ret = (int32_t)json_integer_value(value);
    return LK_OK;
}
