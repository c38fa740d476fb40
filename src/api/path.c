#include "api/path.h"

#include <string.h>

#include "base/codec.h"

void
lk_path_fini(struct lk_path *path)
{
    lk_buf_fini(&path->text);
    path->count = 0;
}

/* Append one segment and its NUL. */
static enum lk_err
segment_put(const char *raw, size_t len, struct lk_buf *text)
{
    size_t start = text->len;
    enum lk_err err;

    if ((err = lk_percent_decode(raw, len, false, text)) != LK_OK) {
        return err;
    }
    if (text->len > start && memchr(text->data + start, '\0', text->len - start) != NULL) {
        return LK_ERR_FORMAT;
    }
    return lk_buf_put_u8(text, '\0');
}

enum lk_err
lk_path_parse(const char *raw, struct lk_path *ret)
{
    size_t starts[LK_PATH_SEGMENTS_MAX];
    size_t count = 0;
    enum lk_err err;

    if (raw[0] != '/') {
        return LK_ERR_FORMAT;
    }
    while (*raw == '/') {
        size_t len = strcspn(++raw, "/");

        if (count == LK_PATH_SEGMENTS_MAX) {
            return LK_ERR_LIMIT;
        }
        starts[count++] = ret->text.len;
        if ((err = segment_put(raw, len, &ret->text)) != LK_OK) {
            return err;
        }
        raw += len;
    }
    for (size_t i = 0; i < count; i++) {
        ret->segments[i] = (const char *)ret->text.data + starts[i];
    }
    ret->count = count;
    return LK_OK;
}

bool
lk_path_is(const struct lk_path *path, size_t i, const char *word)
{
    return i < path->count &&
           lk_ascii_caseeq(path->segments[i], strlen(path->segments[i]), word, strlen(word));
}

static bool
is_api_version(const char *text, size_t len)
{
    static const char shape[] = "dddd-dd-dd", preview[] = "-preview";

    if (len != strlen(shape) &&
        (len != strlen(shape) + strlen(preview) ||
         !lk_ascii_caseeq(text + strlen(shape), strlen(preview), preview, strlen(preview)))) {
        return false;
    }
    for (size_t i = 0; i < strlen(shape); i++) {
        if (shape[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i]) {
            return false;
        }
    }
    return true;
}

/* The next api-version of *query, which is moved past it: false when there is none. Without '=' the
 * value is NULL. */
static bool
version_next(const char **query, const char **ret, size_t *ret_len)
{
    static const char name[] = "api-version";

    while (**query != '\0') {
        const char *at = *query;
        size_t len = strcspn(at, "&");
        const char *equals = memchr(at, '=', len);
        size_t name_len = equals == NULL ? len : (size_t)(equals - at);

        *query += at[len] == '&' ? len + 1 : len;
        if (lk_ascii_caseeq(at, name_len, name, strlen(name))) {
            *ret = equals == NULL ? NULL : equals + 1;
            *ret_len = equals == NULL ? 0 : len - name_len - 1;
            return true;
        }
    }
    return false;
}

enum lk_err
lk_query_api_version(const char *query)
{
    const char *text;
    bool found = false;
    size_t len;

    while (version_next(&query, &text, &len)) {
        if (found || text == NULL || !is_api_version(text, len)) {
            return LK_ERR_FORMAT;
        }
        found = true;
    }
    return found ? LK_OK : LK_ERR_NOT_FOUND;
}

bool
lk_query_api_version_until(const char *query, const char *date)
{
    const char *text;
    size_t len;

    return version_next(&query, &text, &len) && text != NULL &&
           strncmp(text, date, strlen(date)) <= 0;
}
