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

/*
 * For a process that must not be harmed by what strangers send while memory runs out: jansson
 * (2.14) overlooks that it got none for a string that it reads, and then writes past the end of a
 * shorter one. With the guard it always gets some: a reserve is given up for what is being read at
 * that moment, and until there is one again lk_json_parse() is LK_ERR_NOMEM at once. When even that
 * was not enough the process ends with a line in the log. Once, before threads are started;
 * LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_json_guard(void);

/* Append value as compact JSON in insertion order. */
LK_MUST_CHECK enum lk_err lk_json_write(const json_t *value, struct lk_buf *ret);

/* Text member of object: NULL when absent or null; LK_ERR_FORMAT when it is another kind. Borrowed.
 */
LK_MUST_CHECK enum lk_err lk_json_text(const json_t *object, const char *name, const char **ret);

#endif
