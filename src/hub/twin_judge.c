/* What a section of a twin may be: iot-hub.md 2.3. */
#include <stdio.h>
#include <string.h>

#include "hub/hub_int.h"
#include "hub/twin.h"

#define INTEGER_MAX ((json_int_t)1 << 52)
#define NAME_SHOWN 48u /* bytes of a member's name in a message */

static const char *const section_names[] = {"tags", "properties.desired", "properties.reported"};

/* Where in a section, and where to say what is wrong. */
struct place {
    enum lk_twin_section section;
    const char *member; /* "": the section itself */
    char *error;        /* LK_TWIN_ERROR_CAP bytes */
};

/* Bytes of text to show: no part of a UTF-8 sequence, and nothing that a name may not hold. */
static int
shown_len(const char *text)
{
    size_t len = 0;

    while (len < NAME_SHOWN && (uint8_t)text[len] > ' ' && text[len] != 0x7f) {
        len++;
    }
    while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80) {
        len--;
    }
    return (int)len;
}

static enum lk_err
say(const struct place *p, enum lk_err err, const char *what)
{
    const char *dot = p->member[0] != '\0' ? ": " : "";

    (void)snprintf(p->error, LK_TWIN_ERROR_CAP, "%s%s%.*s: %s", section_names[p->section], dot,
                   shown_len(p->member), p->member, what);
    return err;
}

/* C0, delete, C1 (two bytes of UTF-8), and what paths and operators are written with. */
static bool
name_char_ok(const char *at)
{
    uint8_t c = (uint8_t)at[0], next = (uint8_t)at[1];

    return c > ' ' && c != 0x7f && c != '.' && c != '$' &&
           !(c == 0xc2 && next >= 0x80 && next <= 0x9f);
}

static enum lk_err
name_judge(const struct place *p)
{
    size_t len = strlen(p->member);

    if (len == 0) {
        return say(p, LK_ERR_FORMAT, "a member has an empty name");
    }
    if (len > LK_TWIN_KEY_MAX) {
        return say(p, LK_ERR_LIMIT, "expected a name of at most 1024 bytes");
    }
    for (size_t i = 0; i < len; i++) {
        if (!name_char_ok(p->member + i)) {
            return say(p, LK_ERR_FORMAT,
                       "expected a name without control characters, '.', '$' and space");
        }
    }
    return LK_OK;
}

static enum lk_err value_judge(const struct place *p, const json_t *value, unsigned depth);

static enum lk_err
object_judge(const struct place *p, const json_t *object, unsigned depth)
{
    void *at = json_object_iter((json_t *)object); /* only read */

    for (; at != NULL; at = json_object_iter_next((json_t *)object, at)) {
        struct place inner = {p->section, json_object_iter_key(at), p->error};
        enum lk_err err;

        if (depth == 0 && lk_twin_member_ours(inner.member)) {
            continue;
        }
        if ((err = name_judge(&inner)) != LK_OK ||
            (err = value_judge(&inner, json_object_iter_value(at), depth + 1)) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

static enum lk_err
array_judge(const struct place *p, const json_t *array, unsigned depth)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        enum lk_err err = value_judge(p, json_array_get(array, i), depth + 1);

        if (err != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

/* depth: containers around value. The section itself does not count as one. */
static enum lk_err
value_judge(const struct place *p, const json_t *value, unsigned depth)
{
    json_int_t n = json_integer_value(value);

    if ((json_is_object(value) || json_is_array(value)) && depth > LK_TWIN_DEPTH_MAX) {
        return say(p, LK_ERR_LIMIT, "nested more than 10 deep");
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return object_judge(p, value, depth);
    case JSON_ARRAY:
        return array_judge(p, value, depth);
    case JSON_STRING:
        return json_string_length(value) <= LK_TWIN_STRING_MAX
                   ? LK_OK
                   : say(p, LK_ERR_LIMIT, "expected a text of at most 4096 bytes");
    case JSON_INTEGER:
        return n >= -INTEGER_MAX && n <= INTEGER_MAX
                   ? LK_OK
                   : say(p, LK_ERR_LIMIT, "expected an integer within 2^52");
    default:
        return LK_OK;
    }
}

bool
lk_twin_member_ours(const char *name)
{
    return strcmp(name, "$metadata") == 0 || strcmp(name, "$version") == 0;
}

enum lk_err
lk_twin_size_judge(enum lk_twin_section section, size_t len, char error[LK_TWIN_ERROR_CAP])
{
    const struct place p = {section, "", error};

    if (section == LK_TWIN_TAGS) {
        return len <= LK_TWIN_TAGS_MAX ? LK_OK : say(&p, LK_ERR_LIMIT, "larger than 8 KB");
    }
    return len <= LK_TWIN_SECTION_MAX ? LK_OK : say(&p, LK_ERR_LIMIT, "larger than 32 KB");
}

enum lk_err
lk_twin_judge(enum lk_twin_section section, const json_t *value, char error[LK_TWIN_ERROR_CAP])
{
    LK_AUTO(json) json_t *bare = NULL;
    const struct place p = {section, "", error};
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err;

    if (!json_is_object(value)) {
        return say(&p, LK_ERR_FORMAT, "expected an object");
    }
    if ((err = object_judge(&p, value, 0)) != LK_OK) {
        return err;
    }
    if ((bare = json_copy((json_t *)value)) == NULL) {
        return LK_ERR_NOMEM;
    }
    (void)json_object_del(bare, "$metadata"); /* fails when it is not there */
    (void)json_object_del(bare, "$version");
    if ((err = lk_json_write(bare, &text)) != LK_OK) {
        return err;
    }
    return lk_twin_size_judge(section, text.len, error);
}
