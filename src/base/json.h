/* JSON through jansson, with the limits that a stranger's text gets. The one header that includes
 * it. */
#ifndef LK_BASE_JSON_H
#define LK_BASE_JSON_H

#include <jansson.h>

#include "base/buf.h"

LK_DEFINE_AUTO(json_t, json, json_decref);

#define LK_JSON_DEPTH_MAX 16u /* nested arrays and objects in anything that a peer sends */
#define LK_JSON_ERROR_CAP 160u

/*
 * Parse one JSON value (any kind when any_value, else an object). Duplicate members, nesting over
 * LK_JSON_DEPTH_MAX, a NUL in a string, invalid UTF-8 and trailing text are LK_ERR_FORMAT. error
 * (may be NULL) then says what and where, in our words, safe to show to the peer. *ret is owned by
 * the caller.
 */
LK_MUST_CHECK enum lk_err lk_json_parse(const void *text, size_t len, bool any_value,
                                        char error[LK_JSON_ERROR_CAP], json_t **ret);

/* Append value as compact JSON in insertion order. */
LK_MUST_CHECK enum lk_err lk_json_write(const json_t *value, struct lk_buf *ret);

/* Text member of object: NULL when absent or null; LK_ERR_FORMAT when it is another kind. Borrowed.
 */
LK_MUST_CHECK enum lk_err lk_json_text(const json_t *object, const char *name, const char **ret);

#endif
