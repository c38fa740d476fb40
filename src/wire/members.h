/* Members of JSON objects, put and got, for those who read and write messages. */
#ifndef LK_WIRE_MEMBERS_H
#define LK_WIRE_MEMBERS_H

#include "base/json.h"

/* Give object a member, whose reference it takes. value is NULL when memory ran out before. */
LK_MUST_CHECK enum lk_err lk_member_put(json_t *object, const char *name, json_t *value);

/* A text of ours, which is UTF-8; with _some an empty one is left out. */
LK_MUST_CHECK enum lk_err lk_member_text(json_t *object, const char *name, const char *text);
LK_MUST_CHECK enum lk_err lk_member_text_some(json_t *object, const char *name, const char *text);

LK_MUST_CHECK enum lk_err lk_member_base64(json_t *object, const char *name, const void *data,
                                           size_t len);

/* A value given as JSON text; an empty text is left out. LK_ERR_FORMAT when it is not JSON. */
LK_MUST_CHECK enum lk_err lk_member_json(json_t *object, const char *name,
                                         const struct lk_buf *text);

/* A time stamp; 0 is left out. */
LK_MUST_CHECK enum lk_err lk_member_time_some(json_t *object, const char *name, int64_t unix_ms);

/* Append the bytes of a base64 member, at least one; LK_ERR_NOT_FOUND when it is absent or null. */
LK_MUST_CHECK enum lk_err lk_member_get_base64(const json_t *object, const char *name,
                                               struct lk_buf *ret);

/* Append a member as compact JSON, within ret's own limit; an absent one or null appends nothing.
 */
LK_MUST_CHECK enum lk_err lk_member_get_json(const json_t *object, const char *name,
                                             struct lk_buf *ret);

/* A text that an identifier's rule judges; an absent one or null leaves buf. LK_ERR_FORMAT. */
LK_MUST_CHECK enum lk_err lk_member_get_id(const json_t *object, const char *name,
                                           bool (*id_ok)(const char *, size_t), char *buf,
                                           size_t cap);

/* An integer that fits; an absent one or null leaves *ret. LK_ERR_FORMAT. */
LK_MUST_CHECK enum lk_err lk_member_get_int32(const json_t *object, const char *name, int32_t *ret);

/*
 * An object that is appended to a buffer as compact JSON, member by member (object.c). Names need
 * no escape. lk_object_end() takes the outcome of the members and returns it, or its own: on
 * failure nothing was appended. Between begin and end nothing else is, but objects within it.
 */
struct lk_object {
    struct lk_buf *buf;
    size_t start; /* of the object, in bytes */
};
LK_MUST_CHECK enum lk_err lk_object_begin(struct lk_buf *b, struct lk_object *ret);
LK_MUST_CHECK enum lk_err lk_object_end(struct lk_object *o, enum lk_err err);

/* A member's name; its value is appended next. */
LK_MUST_CHECK enum lk_err lk_object_name(struct lk_object *o, const char *name);
/* value is JSON text of ours. */
LK_MUST_CHECK enum lk_err lk_object_raw(struct lk_object *o, const char *name, const char *value);
/* As the lk_member_ functions of these names. */
LK_MUST_CHECK enum lk_err lk_object_text(struct lk_object *o, const char *name, const char *text);
LK_MUST_CHECK enum lk_err lk_object_text_some(struct lk_object *o, const char *name,
                                              const char *text);
LK_MUST_CHECK enum lk_err lk_object_base64(struct lk_object *o, const char *name, const void *data,
                                           size_t len);
LK_MUST_CHECK enum lk_err lk_object_json(struct lk_object *o, const char *name,
                                         const struct lk_buf *text);
/* A time stamp; 0 is left out. */
LK_MUST_CHECK enum lk_err lk_object_time_some(struct lk_object *o, const char *name,
                                              int64_t unix_ms);

/* Copy what fits of text into (buf, cap) with a NUL, whole UTF-8 characters only. */
void lk_text_cut(char *buf, size_t cap, const char *text);

#endif
