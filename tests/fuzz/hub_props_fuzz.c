/*
 * Properties of messages: stored text to headers, and those headers back to what is stored, which
 * is the same from then on.
 */
#include <string.h>

#include "api/hub_props.h"
#include "fuzz.h"

static enum lk_err
take(void *ctx, const char *header, const char *value)
{
    struct lk_props *p = ctx;
    enum lk_err err;

    check(header[0] != '\0' && strpbrk(header, "\r\n: ") == NULL && strlen(header) < 1040);
    check(strpbrk(value, "\r\n") == NULL);
    err = lk_props_put(p, header, value);
    check(err == LK_OK || err == LK_ERR_LIMIT);
    return LK_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LK_AUTO_PROPS struct lk_props first = LK_PROPS_INIT;
    LK_AUTO_PROPS struct lk_props second = LK_PROPS_INIT;

    if (size > LK_PROPS_MAX) {
        return 0;
    }
    check(lk_props_each((const char *)data, size, take, &first) == LK_OK);
    check(lk_props_each((const char *)first.text.data, first.text.len, take, &second) == LK_OK);
    check(first.count == second.count && first.text.len == second.text.len);
    check(first.text.len == 0 || memcmp(first.text.data, second.text.data, first.text.len) == 0);
    return 0;
}
