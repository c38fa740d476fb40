/* Several APIs on one listener: who gets a request. */
#include "api/api_int.h"

static const struct lk_surface *
surface_of(const struct lk_router *router, const char *host, const char *path)
{
    const struct lk_surface *s = router->surfaces;

    for (size_t left = router->surfaces_count; left > 1; left--, s++) {
        if (s->serves(s->ctx, host, path)) {
            break;
        }
    }
    return s;
}

void
lk_router_handle(void *ctx, struct lk_http_request *req)
{
    const struct lk_surface *s =
        surface_of(ctx, lk_http_request_host(req), lk_http_request_path(req));

    s->handle(s->ctx, req);
}

uint32_t
lk_router_body_max(void *ctx, enum lk_http_method method, const char *host, const char *path)
{
    const struct lk_surface *s = surface_of(ctx, host, path);

    return s->body_max == NULL ? 0 : s->body_max(s->ctx, method, path);
}
