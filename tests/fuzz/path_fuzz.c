/* Request targets: "path?query" as a stranger sends it, taken apart as the APIs do. */
#include <string.h>

#include "api/hub_path.h"
#include "base/codec.h"
#include "fuzz.h"

/* Put together again, the segments are the path they came from. */
static void
rejoin(const struct lk_path *path, const char *raw)
{
    LK_AUTO_BUF struct lk_buf encoded = LK_BUF_INIT, wanted = LK_BUF_INIT, got = LK_BUF_INIT;

    for (size_t i = 0; i < path->count; i++) {
        const char *s = path->segments[i];

        check(lk_buf_puts(&encoded, "/") == LK_OK);
        check(lk_percent_encode(s, strlen(s), &encoded) == LK_OK);
    }
    check(lk_percent_decode(raw, strlen(raw), false, &wanted) == LK_OK);
    check(lk_percent_decode((const char *)encoded.data, encoded.len, false, &got) == LK_OK);
    check(wanted.len == got.len && memcmp(wanted.data, got.data, got.len) == 0);
}

/* A hub's surface says of every method what it makes of the path. */
static void
hub_routes(const struct lk_path *path)
{
    for (int m = LK_HTTP_GET; m <= LK_HTTP_OTHER; m++) {
        struct lk_hubapi_route r = {.allow = NULL};
        enum lk_err err = lk_hubapi_route(path, (enum lk_http_method)m, &r);

        check(err == LK_OK || err == LK_ERR_NOT_FOUND || err == LK_ERR_UNSUPPORTED);
        check(err == LK_ERR_NOT_FOUND || r.allow != NULL);
        check(err != LK_OK || r.action != LK_HUBAPI_NONE);
        check(err != LK_OK || r.id == NULL || r.id[0] != '\0');
        check(r.lock == NULL || r.id != NULL);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_path path = LK_PATH_INIT;
    char *raw = malloc(size + 1);
    char *query;
    const char *value;
    size_t value_len;
    enum lk_err err;

    check(raw != NULL);
    memcpy(raw, data, size);
    raw[size] = '\0';
    query = strchr(raw, '?');
    if (query != NULL) {
        *query++ = '\0';
        err = lk_query_api_version(query);
        check(err == LK_OK || err == LK_ERR_FORMAT || err == LK_ERR_NOT_FOUND);
        if (lk_hubapi_parameter(query, "top", &value, &value_len)) {
            check(value >= query && value + value_len <= query + strlen(query));
        }
    }
    err = lk_path_parse(raw, &path);
    check(err == LK_OK || err == LK_ERR_FORMAT || err == LK_ERR_LIMIT);
    if (err == LK_OK) {
        check(path.count >= 1 && path.count <= LK_PATH_SEGMENTS_MAX);
        check(path.text.len <= LK_PATH_TEXT_MAX);
        rejoin(&path, raw);
        hub_routes(&path);
    }
    lk_path_fini(&path);
    free(raw);
    return 0;
}
