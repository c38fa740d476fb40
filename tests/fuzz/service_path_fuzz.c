/* Request targets of the operators' API: "path?query" under every method. */
#include <string.h>

#include "api/service_path.h"
#include "fuzz.h"

static const char *const names[] = {
    [LK_HTTP_GET] = "GET",   [LK_HTTP_HEAD] = "HEAD",   [LK_HTTP_PUT] = "PUT",
    [LK_HTTP_POST] = "POST", [LK_HTTP_PATCH] = "PATCH", [LK_HTTP_DELETE] = "DELETE",
    [LK_HTTP_OPTIONS] = "x", [LK_HTTP_OTHER] = "x"};

/* The id is one of the path's own segments, and there when the action needs one. */
static void
id_check(const struct lk_path *path, const struct lk_svc_route *r)
{
    bool of_all = r->action == LK_SVC_BULK ||
                  (r->action == LK_SVC_QUERY && r->collection != LK_SVC_REGISTRATIONS);

    check(!r->is_own || r->collection >= LK_SVC_REGISTRATIONS);
    check(r->id == NULL || r->id == path->segments[r->is_own ? 3 : 1]);
    if (r->is_own) {
        check(r->id == NULL || (r->collection != LK_SVC_AUDIT && r->id[0] != '\0'));
        return;
    }
    check((r->id == NULL) == of_all);
    check(r->id == NULL || r->id[0] != '\0');
    check(r->action != LK_SVC_BULK || r->collection != LK_SVC_REGISTRATIONS);
    check(r->action != LK_SVC_MECHANISM || r->collection != LK_SVC_REGISTRATIONS);
}

/* What is served is told by the raw path, but for escapes in its first word. */
static void
serves_check(const char *raw)
{
    bool escaped = memchr(raw, '%', strcspn(raw + 1, "/") + 1) != NULL;

    check(escaped || lk_svc_path_serves(raw));
}

static void
routes(const char *raw, const struct lk_path *path)
{
    size_t found = 0;

    for (int method = LK_HTTP_GET; method <= LK_HTTP_OTHER; method++) {
        struct lk_svc_route r = {.allow = NULL};
        enum lk_err err = lk_svc_route(path, (enum lk_http_method)method, &r);

        check(err == LK_OK || err == LK_ERR_NOT_FOUND || err == LK_ERR_UNSUPPORTED);
        found += err != LK_ERR_NOT_FOUND;
        if (err == LK_ERR_NOT_FOUND) {
            continue;
        }
        check((strstr(r.allow, names[method]) != NULL) == (err == LK_OK));
        if (err == LK_OK) {
            id_check(path, &r);
            serves_check(raw);
        }
    }
    check(found == 0 || found == LK_HTTP_OTHER + 1); /* a path is there, or not */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_path path = LK_PATH_INIT;
    char *raw = malloc(size + 1);
    char *query;

    check(raw != NULL);
    memcpy(raw, data, size);
    raw[size] = '\0';
    if ((query = strchr(raw, '?')) != NULL) {
        enum lk_err err;

        *query++ = '\0';
        err = lk_svc_api_version(query);
        check(err == LK_OK || err == LK_ERR_FORMAT || err == LK_ERR_NOT_FOUND);
        check(err != LK_OK || strstr(query, "20") != NULL);
    }
    if (lk_path_parse(raw, &path) == LK_OK) {
        routes(raw, &path);
    }
    lk_path_fini(&path);
    free(raw);
    return 0;
}
