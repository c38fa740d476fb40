#include "api/hub_path.h"

#include <string.h>

#include "base/codec.h"

#define SEGMENTS_MAX 6u
#define METHODS_MAX 4u

static const char any_id[] = "{id}", any_lock[] = "{lock}";

struct shape {
    const char *segments[SEGMENTS_MAX];
    const char *allow;
    struct {
        enum lk_http_method method;
        enum lk_hubapi_action action; /* LK_HUBAPI_NONE ends the row */
    } methods[METHODS_MAX];
};

/* The first that matches counts. */
static const struct shape shapes[] = {
    {{"devices"},
     "GET, POST, OPTIONS",
     {{LK_HTTP_GET, LK_HUBAPI_LIST}, {LK_HTTP_POST, LK_HUBAPI_BULK}}},
    {{"devices", "query"},
     "GET, PUT, DELETE, POST, OPTIONS",
     {{LK_HTTP_GET, LK_HUBAPI_DEVICE_GET},
      {LK_HTTP_PUT, LK_HUBAPI_DEVICE_PUT},
      {LK_HTTP_DELETE, LK_HUBAPI_DEVICE_DELETE},
      {LK_HTTP_POST, LK_HUBAPI_QUERY}}},
    {{"devices", any_id},
     "GET, PUT, DELETE, OPTIONS",
     {{LK_HTTP_GET, LK_HUBAPI_DEVICE_GET},
      {LK_HTTP_PUT, LK_HUBAPI_DEVICE_PUT},
      {LK_HTTP_DELETE, LK_HUBAPI_DEVICE_DELETE}}},
    {{"devices", any_id, "messages", "events"},
     "POST, OPTIONS",
     {{LK_HTTP_POST, LK_HUBAPI_EVENTS}}},
    {{"devices", any_id, "messages", "devicebound"},
     "GET, POST, OPTIONS",
     {{LK_HTTP_GET, LK_HUBAPI_C2D_TAKE}, {LK_HTTP_POST, LK_HUBAPI_C2D_SEND}}},
    {{"devices", any_id, "messages", "devicebound", any_lock},
     "DELETE, OPTIONS",
     {{LK_HTTP_DELETE, LK_HUBAPI_C2D_COMPLETE}}},
    {{"devices", any_id, "messages", "devicebound", any_lock, "abandon"},
     "POST, OPTIONS",
     {{LK_HTTP_POST, LK_HUBAPI_C2D_ABANDON}}},
    {{"statistics", "devices"}, "GET, OPTIONS", {{LK_HTTP_GET, LK_HUBAPI_STATISTICS_DEVICES}}},
    {{"statistics", "service"}, "GET, OPTIONS", {{LK_HTTP_GET, LK_HUBAPI_STATISTICS_SERVICE}}},
    {{"twins", any_id},
     "GET, PATCH, PUT, OPTIONS",
     {{LK_HTTP_GET, LK_HUBAPI_TWIN_GET},
      {LK_HTTP_PATCH, LK_HUBAPI_TWIN_PATCH},
      {LK_HTTP_PUT, LK_HUBAPI_TWIN_PUT}}},
    {{"twins", any_id, "methods"}, "POST, OPTIONS", {{LK_HTTP_POST, LK_HUBAPI_METHOD}}},
};

bool
lk_hubapi_path_serves(const char *raw)
{
    static const char *const words[] = {"devices", "twins", "statistics"};
    size_t len = raw[0] == '/' ? strcspn(raw + 1, "/") : 0;

    for (size_t i = 0; i < LK_ARRAY_LEN(words); i++) {
        if (len > 0 && lk_ascii_caseeq(raw + 1, len, words[i], strlen(words[i]))) {
            return true;
        }
    }
    return false;
}

static size_t
shape_len(const struct shape *s)
{
    size_t n = 0;

    while (n < SEGMENTS_MAX && s->segments[n] != NULL) {
        n++;
    }
    return n;
}

static bool
shape_fits(const struct shape *s, const struct lk_path *p, size_t count,
           struct lk_hubapi_route *ret)
{
    struct lk_hubapi_route r = {.allow = s->allow};

    if (shape_len(s) != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const char *want = s->segments[i];

        if (p->segments[i][0] == '\0') {
            return false;
        }
        if (want == any_id) {
            r.id = p->segments[i];
        } else if (want == any_lock) {
            r.lock = p->segments[i];
        } else if (!lk_path_is(p, i, want)) {
            return false;
        }
    }
    *ret = r;
    return true;
}

static bool
action_of(const struct shape *s, enum lk_http_method method, enum lk_hubapi_action *ret)
{
    for (size_t i = 0; i < METHODS_MAX && s->methods[i].action != LK_HUBAPI_NONE; i++) {
        if (s->methods[i].method == method) {
            *ret = s->methods[i].action;
            return true;
        }
    }
    return false;
}

enum lk_err
lk_hubapi_route(const struct lk_path *path, enum lk_http_method method, struct lk_hubapi_route *ret)
{
    size_t count = path->count;

    if (count > 1 && path->segments[count - 1][0] == '\0') {
        count--;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(shapes); i++) {
        if (!shape_fits(&shapes[i], path, count, ret)) {
            continue;
        }
        if (!action_of(&shapes[i], method, &ret->action)) {
            return LK_ERR_UNSUPPORTED;
        }
        if (count == 2 && lk_path_is(path, 0, "devices") && ret->action != LK_HUBAPI_QUERY) {
            ret->id = path->segments[1]; /* also of a device that is called query */
        }
        return LK_OK;
    }
    return LK_ERR_NOT_FOUND;
}

uint32_t
lk_hubapi_body_max(enum lk_http_method method, const char *raw)
{
    struct lk_path path = LK_PATH_INIT;
    struct lk_hubapi_route route = {.action = LK_HUBAPI_NONE};
    bool is_large = lk_path_parse(raw, &path) == LK_OK &&
                    lk_hubapi_route(&path, method, &route) == LK_OK &&
                    (route.action == LK_HUBAPI_EVENTS || route.action == LK_HUBAPI_METHOD);

    lk_path_fini(&path);
    return is_large ? LK_HUBAPI_BODY_MAX : 0;
}

bool
lk_hubapi_parameter(const char *query, const char *name, const char **ret, size_t *ret_len)
{
    while (*query != '\0') {
        size_t len = strcspn(query, "&");
        const char *equals = memchr(query, '=', len);
        size_t name_len = equals == NULL ? len : (size_t)(equals - query);

        if (lk_ascii_caseeq(query, name_len, name, strlen(name))) {
            *ret = equals == NULL ? query + len : equals + 1;
            *ret_len = equals == NULL ? 0 : len - name_len - 1;
            return true;
        }
        query += query[len] == '&' ? len + 1 : len;
    }
    return false;
}
