#include "wire/form.h"

#include <string.h>

#include "base/codec.h"

/* The value of a member if it has this name, which senders write as it is; NULL otherwise. */
static const char *
member_value(const char *member, size_t len, const char *name)
{
    size_t name_len = strlen(name);

    return len > name_len && memcmp(member, name, name_len) == 0 && member[name_len] == '='
               ? member + name_len + 1
               : NULL;
}

static enum lk_err
value_decode(const char *value, size_t len, struct lk_buf *ret)
{
    size_t start = ret->len;
    enum lk_err err = lk_percent_decode(value, len, true, ret);

    if (err != LK_OK) {
        return err;
    }
    if (ret->len > start && memchr(ret->data + start, 0, ret->len - start) != NULL) {
        return LK_ERR_FORMAT;
    }
    return lk_buf_text(ret) == NULL ? LK_ERR_NOMEM : LK_OK;
}

enum lk_err
lk_form_get(const char *form, size_t len, const char *name, struct lk_buf *ret)
{
    const char *found = NULL;
    size_t found_len = 0, start = 0;

    while (start < len) {
        const char *ampersand = memchr(form + start, '&', len - start);
        size_t end = ampersand != NULL ? (size_t)(ampersand - form) : len;
        const char *value = member_value(form + start, end - start, name);

        if (value != NULL && found != NULL) {
            return LK_ERR_FORMAT;
        }
        if (value != NULL) {
            found = value;
            found_len = (size_t)(form + end - value);
        }
        start = end + 1;
    }
    return found == NULL ? LK_ERR_NOT_FOUND : value_decode(found, found_len, ret);
}
