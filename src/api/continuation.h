/*
 * Continuation tokens of queries: the id after which one goes on, authenticated. Any instance with
 * the keyring reads them, also after a restart; none is kept.
 */
#ifndef LK_API_CONTINUATION_H
#define LK_API_CONTINUATION_H

#include "crypto/keyring.h"

#define LK_CONTINUATION_CAP 320u    /* bytes of a token with its NUL */
#define LK_CONTINUATION_ID_MAX 128u /* bytes of an id in it */

/*
 * What a token is good for: the collection, whose it is, and the text of the query. parts that are
 * not the same ones are refused.
 */
struct lk_continuation_of {
    const char *collection, *owner, *group, *query;
    bool (*id_ok)(const char *text, size_t len); /* at most LK_CONTINUATION_ID_MAX bytes */
};

LK_MUST_CHECK enum lk_err lk_continuation_make(const struct lk_keyring *ring, int64_t now_ms,
                                               const struct lk_continuation_of *of,
                                               const char *after, char ret[LK_CONTINUATION_CAP]);
/* LK_ERR_REFUSED: not one of ours for this. */
LK_MUST_CHECK enum lk_err lk_continuation_read(const struct lk_keyring *ring,
                                               const struct lk_continuation_of *of,
                                               const char *token,
                                               char ret[LK_CONTINUATION_ID_MAX + 1]);

#endif
