/* What a request to the operators' API asks for, by method and path (service-api.md section 2), or
 * to what we have beside it below /latchkey/v1. */
#ifndef LK_API_SERVICE_PATH_H
#define LK_API_SERVICE_PATH_H

#include "api/path.h"
#include "net/http.h"

enum lk_svc_collection {
    LK_SVC_ENROLLMENTS,
    LK_SVC_GROUPS,
    LK_SVC_REGISTRATIONS,
    /* Below /latchkey/v1 only. */
    LK_SVC_HUBS,
    LK_SVC_POLICIES,
    LK_SVC_AUDIT,
    LK_SVC_IMPORTS
};

enum lk_svc_action {
    LK_SVC_PUT,
    LK_SVC_GET,
    LK_SVC_DELETE,
    LK_SVC_MECHANISM, /* attestationmechanism */
    LK_SVC_BULK,
    LK_SVC_QUERY,
    LK_SVC_LIST,
    LK_SVC_VERIFY,
    LK_SVC_ROLL,
    LK_SVC_PATCH
};

struct lk_svc_route {
    enum lk_svc_collection collection;
    enum lk_svc_action action;
    const char *id;    /* decoded, not judged; borrowed from the path; NULL: the path has none */
    const char *allow; /* methods that the path knows, for a 405 */
    bool is_own;       /* below /latchkey/v1: no vendor's version applies */
};

/* Whether a raw path is this surface's: its first segment is one of the three collections, or
 * LK_SVC_OWN. */
#define LK_SVC_OWN "latchkey"
bool lk_svc_path_serves(const char *raw);

/*
 * Fixed segments are matched without regard to case, and one slash at the end is free. An id may be
 * `query` or `attestationmechanism`: method and depth keep them apart.
 *
 *   LK_ERR_NOT_FOUND    no such path
 *   LK_ERR_UNSUPPORTED  the path has no such method; ret->allow is set
 */
LK_MUST_CHECK enum lk_err lk_svc_route(const struct lk_path *path, enum lk_http_method method,
                                       struct lk_svc_route *ret);

/* Check the query's api-version against those of section 1. LK_ERR_NOT_FOUND when it is absent,
 * LK_ERR_FORMAT when it is none of them or given twice. */
LK_MUST_CHECK enum lk_err lk_svc_api_version(const char *query);
#define LK_SVC_API_VERSIONS "2018-04-01, 2018-09-01-preview, 2019-03-31, 2021-06-01 or 2021-10-01"

#endif
