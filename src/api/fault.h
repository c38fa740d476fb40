/*
 * What is wrong with what a client sent, for the surfaces that operators use: reading the members
 * of a JSON object, and telling a mistake by the member's name.
 */
#ifndef LK_API_FAULT_H
#define LK_API_FAULT_H

#include "base/json.h"

#define LK_SVC_BAD_REQUEST 400004
#define LK_ETAG_GIVEN_CAP 64u /* bytes of an etag that a client sends, with the NUL */

/* What is wrong with what a client sent, for the client: our words, naming the member. */
struct lk_svc_fault {
    int32_t code;
    char message[256];
};
/* Set *ret and return LK_ERR_FORMAT, so that a check can end with it. */
enum lk_err lk_svc_fault(struct lk_svc_fault *ret, int32_t code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Text member; NULL when absent or null. Another kind is a fault with this code. */
LK_MUST_CHECK enum lk_err lk_svc_text(const json_t *object, const char *name, int32_t code,
                                      struct lk_svc_fault *fault, const char **ret);
/* Object member; NULL when absent or null. */
LK_MUST_CHECK enum lk_err lk_svc_object(const json_t *object, const char *name,
                                        struct lk_svc_fault *fault, const json_t **ret);
/* Boolean member; *ret stays when it is absent or null. */
LK_MUST_CHECK enum lk_err lk_svc_bool(const json_t *object, const char *name,
                                      struct lk_svc_fault *fault, bool *ret);

/* An etag as a client writes it, "W/" and one pair of quotes off; LK_ERR_LIMIT: none of ours. */
LK_MUST_CHECK enum lk_err lk_etag_parse(const char *text, char ret[LK_ETAG_GIVEN_CAP]);

#endif
