/* What a request to a hub asks for, by method and path (iot-hub.md sections 2 and 7). */
#ifndef LK_API_HUB_PATH_H
#define LK_API_HUB_PATH_H

#include "api/path.h"
#include "net/http.h"

enum lk_hubapi_action {
    LK_HUBAPI_NONE,
    LK_HUBAPI_LIST,
    LK_HUBAPI_BULK,
    LK_HUBAPI_QUERY,
    LK_HUBAPI_DEVICE_GET,
    LK_HUBAPI_DEVICE_PUT,
    LK_HUBAPI_DEVICE_DELETE,
    LK_HUBAPI_STATISTICS_DEVICES,
    LK_HUBAPI_STATISTICS_SERVICE,
    LK_HUBAPI_TWIN_GET,
    LK_HUBAPI_TWIN_PATCH,
    LK_HUBAPI_TWIN_PUT,
    LK_HUBAPI_METHOD,
    LK_HUBAPI_C2D_SEND, /* ours: the vendor's hub takes them by AMQP only */
    LK_HUBAPI_EVENTS,   /* this one and the next three are the device's */
    LK_HUBAPI_C2D_TAKE,
    LK_HUBAPI_C2D_COMPLETE, /* or reject, by the query */
    LK_HUBAPI_C2D_ABANDON
};

struct lk_hubapi_route {
    enum lk_hubapi_action action;
    const char *id, *lock; /* decoded, not judged; borrowed from the path; NULL: it has none */
    const char *allow;     /* methods that the path knows, for a 405 */
};

/* Whether a raw path is this surface's, by its first segment. An ID scope is never called so. */
bool lk_hubapi_path_serves(const char *raw);

/*
 * Fixed segments are matched without regard to case, and one slash at the end is free. A device may
 * be called `query`: only POST goes to queries.
 *
 *   LK_ERR_NOT_FOUND    no such path
 *   LK_ERR_UNSUPPORTED  the path has no such method; ret->allow is set
 */
LK_MUST_CHECK enum lk_err lk_hubapi_route(const struct lk_path *path, enum lk_http_method method,
                                          struct lk_hubapi_route *ret);

/*
 * Bytes of body that a request may have beyond what is allowed to all, 0 for most: telemetry and
 * method calls are larger than anything else that comes in (iot-hub.md section 11), and in JSON
 * they grow by base64 and escapes.
 */
#define LK_HUBAPI_BODY_MAX ((uint32_t)384 * 1024)
uint32_t lk_hubapi_body_max(enum lk_http_method method, const char *raw);

/*
 * A parameter of a query, its name without regard to case: true with (*ret, *ret_len) borrowed and
 * as sent; a bare name has an empty value. The first of several counts.
 */
bool lk_hubapi_parameter(const char *query, const char *name, const char **ret, size_t *ret_len);

#endif
