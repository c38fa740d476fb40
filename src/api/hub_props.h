/*
 * Properties of messages (iot-hub.md sections 5.2 and 7): as HTTP headers, and as they stand in an
 * MQTT topic and in the store: "name=value" pairs joined by '&', both percent-encoded, a system
 * property's name beginning with '$'.
 */
#ifndef LK_API_HUB_PROPS_H
#define LK_API_HUB_PROPS_H

#include "base/buf.h"

#define LK_PROPS_MAX 8192u        /* bytes of a message's properties */
#define LK_PROPS_COUNT_MAX 64u    /* properties of a message */
#define LK_PROPS_HEADER_CAP 1040u /* bytes of a header's name as it is answered, with its NUL */

struct lk_props {
    struct lk_buf text;
    size_t count;
};
#define LK_PROPS_INIT                                                                              \
    {                                                                                              \
        .text = {.max = LK_PROPS_MAX }                                                             \
    }
void lk_props_fini(struct lk_props *p);
#define LK_AUTO_PROPS __attribute__((cleanup(lk_props_fini)))

/* Add what a header says; one that is no property of a message is nothing. LK_ERR_LIMIT. */
LK_MUST_CHECK enum lk_err lk_props_put(struct lk_props *p, const char *header, const char *value);

/*
 * Call each for every property of a stored text with the header that carries it. Names and values
 * that a header cannot carry are percent-encoded. A broken property ends it, as does the limit of
 * their number; an error of each ends it and is returned.
 */
LK_MUST_CHECK enum lk_err
lk_props_each(const char *text, size_t len,
              enum lk_err (*each)(void *ctx, const char *header, const char *value), void *ctx);

#endif
