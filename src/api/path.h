/* The request target, taken apart once: path segments and query parameters. */
#ifndef LK_API_PATH_H
#define LK_API_PATH_H

#include "base/buf.h"

#define LK_PATH_SEGMENTS_MAX 8u
#define LK_PATH_TEXT_MAX 1024u /* bytes of all decoded segments with a NUL each */

/*
 * A path's segments, each percent-decoded once. They are text, not a place: "." and ".." mean
 * nothing, a decoded '/' stays inside its segment, '+' stays '+', and two slashes in a row or one
 * at the end make an empty segment, which matches nothing that is not empty.
 */
struct lk_path {
    struct lk_buf text;
    const char *segments[LK_PATH_SEGMENTS_MAX];
    size_t count;
};
#define LK_PATH_INIT                                                                               \
    {                                                                                              \
        .text = {.max = LK_PATH_TEXT_MAX }                                                         \
    }
void lk_path_fini(struct lk_path *path);

/*
 * Take raw apart into *ret, which is LK_PATH_INIT. LK_ERR_FORMAT: no slash first, a broken escape
 * or a NUL; LK_ERR_LIMIT: more or longer segments than any path that is served; LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_path_parse(const char *raw, struct lk_path *ret);

/* Whether segment i is word, without regard to ASCII case (as the vendor's service has it). */
bool lk_path_is(const struct lk_path *path, size_t i, const char *word);

/*
 * Check the query's api-version: once, "YYYY-MM-DD" with or without "-preview". Any date is served
 * alike, so clients that are older or newer than this service work. LK_ERR_NOT_FOUND when absent,
 * LK_ERR_FORMAT.
 */
LK_MUST_CHECK enum lk_err lk_query_api_version(const char *query);
/* Whether a query that has an api-version, which is judged already, has date ("2018-04-01") or an
 * earlier one, preview or not. */
bool lk_query_api_version_until(const char *query, const char *date);

#endif
