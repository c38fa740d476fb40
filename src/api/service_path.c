#include "api/service_path.h"

#include <string.h>

#include "base/codec.h"

static const char *const collections[] = {[LK_SVC_ENROLLMENTS] = "enrollments",
                                          [LK_SVC_GROUPS] = "enrollmentGroups",
                                          [LK_SVC_REGISTRATIONS] = "registrations"};

/* What there is below /latchkey/v1: a row for each method of a path. */
#define LISTS "GET, OPTIONS"
#define POSTS "POST, OPTIONS"
#define CHANGES "PUT, DELETE, OPTIONS"
#define HUB_CHANGES "PUT, PATCH, DELETE, OPTIONS"
static const struct own {
    const char *words[3]; /* the segments there, "*" for an id; NULL: no more */
    enum lk_http_method method;
    const char *allow;
    enum lk_svc_collection collection;
    enum lk_svc_action action;
} owns[] = {
    {{"registrations", "query"}, LK_HTTP_POST, POSTS, LK_SVC_REGISTRATIONS, LK_SVC_QUERY},
    {{"hubs"}, LK_HTTP_GET, LISTS, LK_SVC_HUBS, LK_SVC_LIST},
    {{"hubs", "*"}, LK_HTTP_PUT, HUB_CHANGES, LK_SVC_HUBS, LK_SVC_PUT},
    {{"hubs", "*"}, LK_HTTP_PATCH, HUB_CHANGES, LK_SVC_HUBS, LK_SVC_PATCH},
    {{"hubs", "*"}, LK_HTTP_DELETE, HUB_CHANGES, LK_SVC_HUBS, LK_SVC_DELETE},
    {{"policies"}, LK_HTTP_GET, LISTS, LK_SVC_POLICIES, LK_SVC_LIST},
    {{"policies", "*"}, LK_HTTP_PUT, CHANGES, LK_SVC_POLICIES, LK_SVC_PUT},
    {{"policies", "*"}, LK_HTTP_DELETE, CHANGES, LK_SVC_POLICIES, LK_SVC_DELETE},
    {{"policies", "*", "roll"}, LK_HTTP_POST, POSTS, LK_SVC_POLICIES, LK_SVC_ROLL},
    {{"audit"}, LK_HTTP_GET, LISTS, LK_SVC_AUDIT, LK_SVC_LIST},
    {{"audit", "verify"}, LK_HTTP_POST, POSTS, LK_SVC_AUDIT, LK_SVC_VERIFY},
    {{"imports"}, LK_HTTP_GET, LISTS, LK_SVC_IMPORTS, LK_SVC_LIST},
    {{"imports", "*"}, LK_HTTP_DELETE, "DELETE, OPTIONS", LK_SVC_IMPORTS, LK_SVC_DELETE},
};

static bool
collection_of(const char *text, size_t len, enum lk_svc_collection *ret)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(collections); i++) {
        if (lk_ascii_caseeq(text, len, collections[i], strlen(collections[i]))) {
            *ret = (enum lk_svc_collection)i;
            return true;
        }
    }
    return false;
}

bool
lk_svc_path_serves(const char *raw)
{
    enum lk_svc_collection unused;

    size_t len = raw[0] == '/' ? strcspn(raw + 1, "/") : 0;

    return len > 0 && (collection_of(raw + 1, len, &unused) ||
                       lk_ascii_caseeq(raw + 1, len, LK_SVC_OWN, strlen(LK_SVC_OWN)));
}

/* *ret_id is set where the path has one. */
static bool
own_matches(const struct own *o, const struct lk_path *path, size_t count, const char **ret_id)
{
    size_t words = 0;

    while (words < LK_ARRAY_LEN(o->words) && o->words[words] != NULL) {
        bool is_id = strcmp(o->words[words], "*") == 0;

        if (2 + words >= count || (is_id ? path->segments[2 + words][0] == '\0'
                                         : !lk_path_is(path, 2 + words, o->words[words]))) {
            return false;
        }
        *ret_id = is_id ? path->segments[2 + words] : *ret_id;
        words++;
    }
    return count == 2 + words;
}

/* A path may be in several rows, one for each method. */
static enum lk_err
own_route(const struct lk_path *path, size_t count, enum lk_http_method method,
          struct lk_svc_route *ret)
{
    enum lk_err err = LK_ERR_NOT_FOUND;

    for (size_t i = 0; count > 2 && lk_path_is(path, 1, "v1") && i < LK_ARRAY_LEN(owns); i++) {
        struct lk_svc_route r = {.is_own = true};

        if (!own_matches(&owns[i], path, count, &r.id)) {
            continue;
        }
        r.collection = owns[i].collection;
        r.action = owns[i].action;
        r.allow = owns[i].allow;
        *ret = r;
        if (method == owns[i].method) {
            return LK_OK;
        }
        err = LK_ERR_UNSUPPORTED;
    }
    return err;
}

/* A path's shape: what each method does there; the fixed segments stand in the caller. */
struct shape {
    const char *allow;
    bool put_get_delete, get_delete, post;
    enum lk_svc_action on_post;
};

static bool
shape_of(const struct lk_path *p, size_t count, enum lk_svc_collection c, struct shape *ret)
{
    bool registrations = c == LK_SVC_REGISTRATIONS;

    *ret = (struct shape){.allow = "OPTIONS"};
    if (count == 1) {
        ret->post = !registrations;
        ret->on_post = LK_SVC_BULK;
        ret->allow = registrations ? "OPTIONS" : "POST, OPTIONS";
        return true;
    }
    if (count == 2) {
        ret->put_get_delete = !registrations;
        ret->get_delete = registrations;
        ret->post = !registrations && lk_path_is(p, 1, "query");
        ret->on_post = LK_SVC_QUERY;
        ret->allow = registrations ? "GET, DELETE, OPTIONS"
                     : ret->post   ? "PUT, GET, DELETE, POST, OPTIONS"
                                   : "PUT, GET, DELETE, OPTIONS";
        return true;
    }
    ret->post = true;
    ret->allow = "POST, OPTIONS";
    ret->on_post = registrations ? LK_SVC_QUERY : LK_SVC_MECHANISM;
    return count == 3 && lk_path_is(p, 2, registrations ? "query" : "attestationmechanism");
}

static bool
action_of(const struct shape *s, enum lk_http_method method, enum lk_svc_action *ret)
{
    switch (method) {
    case LK_HTTP_PUT:
        *ret = LK_SVC_PUT;
        return s->put_get_delete;
    case LK_HTTP_GET:
        *ret = LK_SVC_GET;
        return s->put_get_delete || s->get_delete;
    case LK_HTTP_DELETE:
        *ret = LK_SVC_DELETE;
        return s->put_get_delete || s->get_delete;
    case LK_HTTP_POST:
        *ret = s->on_post;
        return s->post;
    case LK_HTTP_HEAD:
    case LK_HTTP_PATCH:
    case LK_HTTP_OPTIONS:
    case LK_HTTP_OTHER:
        break;
    }
    return false;
}

enum lk_err
lk_svc_route(const struct lk_path *path, enum lk_http_method method, struct lk_svc_route *ret)
{
    struct lk_svc_route r = {.id = NULL};
    size_t count = path->count;
    struct shape shape;

    if (count > 1 && path->segments[count - 1][0] == '\0') {
        count--;
    }
    if (count > 0 && lk_path_is(path, 0, LK_SVC_OWN)) {
        return own_route(path, count, method, ret);
    }
    if (count == 0 || !collection_of(path->segments[0], strlen(path->segments[0]), &r.collection) ||
        (count > 1 && path->segments[1][0] == '\0') ||
        !shape_of(path, count, r.collection, &shape)) {
        return LK_ERR_NOT_FOUND;
    }
    r.allow = shape.allow;
    if (!action_of(&shape, method, &r.action)) {
        *ret = r;
        return LK_ERR_UNSUPPORTED;
    }
    if (r.action != LK_SVC_BULK && !(r.action == LK_SVC_QUERY && count == 2)) {
        r.id = path->segments[1];
    }
    *ret = r;
    return LK_OK;
}

static bool
version_known(const char *text, size_t len)
{
    static const char *const known[] = {"2018-04-01", "2018-09-01-preview", "2019-03-31",
                                        "2021-06-01", "2021-10-01"};

    for (size_t i = 0; i < LK_ARRAY_LEN(known); i++) {
        if (lk_ascii_caseeq(text, len, known[i], strlen(known[i]))) {
            return true;
        }
    }
    return false;
}

enum lk_err
lk_svc_api_version(const char *query)
{
    static const char name[] = "api-version=";
    const char *at = query;
    size_t len;
    enum lk_err err = lk_query_api_version(query); /* once, and of the form of a version */

    if (err != LK_OK) {
        return err;
    }
    while (!lk_ascii_caseeq(at, strnlen(at, strlen(name)), name, strlen(name))) {
        at += strcspn(at, "&") + 1; /* there is one further on */
    }
    at += strlen(name);
    len = strcspn(at, "&");
    return version_known(at, len) ? LK_OK : LK_ERR_FORMAT;
}
