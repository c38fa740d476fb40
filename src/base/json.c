#include "base/json.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

/* ---- the guard ------------------------------------------------------------------------------- */

/* More than the largest body of a stranger's becomes: of its 96 KiB each "1," takes 50 bytes. */
#define RESERVE ((size_t)4 * 1024 * 1024)

static bool is_guarded;
static _Atomic(void *) reserve; /* NULL: given up */

static void *
guarded_alloc(size_t len)
{
    void *p = malloc(len);

    if (p == NULL) {
        free(atomic_exchange(&reserve, NULL));
        p = malloc(len);
    }
    if (p == NULL) {
        lk_log(LK_LOG_ERROR, "memory.exhausted", LK_F_INT("wanted", (int64_t)len));
        _exit(lk_err_exit_code(LK_ERR_NOMEM));
    }
    return p;
}

/* There is a reserve, or there is one again. */
static enum lk_err
reserve_fill(void)
{
    void *none = NULL, *fresh;

    if (atomic_load(&reserve) != NULL) {
        return LK_OK;
    }
    if ((fresh = malloc(RESERVE)) == NULL) {
        return LK_ERR_NOMEM;
    }
    if (!atomic_compare_exchange_strong(&reserve, &none, fresh)) {
        free(fresh); /* another thread was faster */
    }
    return LK_OK;
}

enum lk_err
lk_json_guard(void)
{
    is_guarded = true;
    json_set_alloc_funcs(guarded_alloc, free);
    return reserve_fill();
}

/* ---- reading --------------------------------------------------------------------------------- */

/*
 * Nesting is counted before the parser runs: jansson recurses, and its own limit is 2048. Strings
 * are skipped; what is not JSON at all is left for the parser to refuse. Returns the byte where the
 * limit is passed, or len.
 */
static size_t
depth_exceeded_at(const char *text, size_t len)
{
    bool in_string = false;
    size_t depth = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > LK_JSON_DEPTH_MAX) {
                return i;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return len;
}

/* Our words for jansson's codes: its own text quotes the peer's. */
static const char *
words_of(const json_error_t *e)
{
    switch (json_error_code(e)) {
    case json_error_premature_end_of_input:
        return "JSON ends too early";
    case json_error_end_of_input_expected:
        return "something follows the JSON value";
    case json_error_invalid_utf8:
        return "invalid UTF-8 in JSON";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "NUL in a JSON string";
    case json_error_duplicate_key:
        return "JSON member given twice";
    case json_error_numeric_overflow:
        return "JSON number out of range";
    case json_error_stack_overflow:
        return "JSON nested too deeply";
    default:
        return "not valid JSON";
    }
}

static void
say(char error[LK_JSON_ERROR_CAP], const char *what, size_t at)
{
    if (error != NULL) {
        (void)snprintf(error, LK_JSON_ERROR_CAP, "%s (near byte %zu)", what, at);
    }
}

enum lk_err
lk_json_parse(const void *text, size_t len, bool any_value, char error[LK_JSON_ERROR_CAP],
              json_t **ret)
{
    size_t deep = depth_exceeded_at(text, len);
    LK_AUTO(json) json_t *value = NULL;
    json_error_t e = {.position = 0};

    if (is_guarded && reserve_fill() != LK_OK) {
        say(error, "out of memory", 0);
        return LK_ERR_NOMEM;
    }
    if (deep < len) {
        say(error, "JSON nested too deeply", deep);
        return LK_ERR_FORMAT;
    }
    value = json_loadb(len > 0 ? text : "", len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (value == NULL) {
        say(error, words_of(&e), e.position > 0 ? (size_t)e.position : 0);
        return json_error_code(&e) == json_error_out_of_memory ? LK_ERR_NOMEM : LK_ERR_FORMAT;
    }
    if (!any_value && !json_is_object(value)) {
        say(error, "JSON value is not an object", 0);
        return LK_ERR_FORMAT;
    }
    *ret = json_take(&value);
    return LK_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* What the dump callback appends to, and why it stopped. */
struct sink {
    struct lk_buf *buf;
    enum lk_err err;
};

static int
sink_put(const char *text, size_t len, void *ctx)
{
    struct sink *s = ctx;

    s->err = lk_buf_put(s->buf, text, len);
    return s->err == LK_OK ? 0 : -1;
}

enum lk_err
lk_json_write(const json_t *value, struct lk_buf *ret)
{
    struct sink s = {ret, LK_OK};
    size_t start = ret->len;

    if (json_dump_callback(value, sink_put, &s, JSON_COMPACT | JSON_ENCODE_ANY) == 0) {
        return LK_OK;
    }
    if (ret->len > start) {
        lk_wipe(ret->data + start, ret->len - start);
        ret->len = start;
    }
    return s.err != LK_OK ? s.err : LK_ERR_NOMEM;
}

enum lk_err
lk_json_text(const json_t *object, const char *name, const char **ret)
{
    const json_t *member = json_object_get(object, name);

    if (member != NULL && !json_is_null(member) && !json_is_string(member)) {
        return LK_ERR_FORMAT;
    }
    *ret = json_string_value(member);
    return LK_OK;
}
