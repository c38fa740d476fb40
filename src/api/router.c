/* Several APIs on one listener: who gets a request. */
#include "api/api_int.h"

void
lk_router_handle(void *ctx, struct lk_http_request *req)
{
    const struct lk_router *router = ctx;
    const char *host = lk_http_request_host(req), *path = lk_http_request_path(req);
    const struct lk_surface *s = router->surfaces;

    for (size_t left = router->surfaces_count; left > 1; left--, s++) {
        if (s->serves(s->ctx, host, path)) {
            break;
        }
    }
    s->handle(s->ctx, req);
}
