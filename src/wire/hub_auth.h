/*
 * The question that a hub's broker asks on the local listener, POST /auth/device, and its answers:
 * whether a device with this token may come in.
 */
#ifndef LK_WIRE_HUB_AUTH_H
#define LK_WIRE_HUB_AUTH_H

#include "base/json.h"
#include "wire/ids.h"
#include "wire/sas.h"

/* {"hub":"hub.example.test","token":"SharedAccessSignature ..."} */
struct lk_hub_auth_request {
    char hub[LK_HOST_NAME_MAX + 1]; /* lower case */
    char token[LK_SAS_MAX + 1];
};

/* Unknown members are ignored. error (may be NULL) names the member at fault. LK_ERR_FORMAT,
 * LK_ERR_LIMIT, LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err lk_hub_auth_parse(const void *body, size_t len,
                                            char error[LK_JSON_ERROR_CAP],
                                            struct lk_hub_auth_request *ret);

/* {"deviceId":"dev-1","key":"primary","expiry":1900000000}; expiry is the token's, Unix seconds. */
LK_MUST_CHECK enum lk_err lk_hub_auth_granted_format(const char *device_id, const char *key,
                                                     uint64_t expiry_unix_s, struct lk_buf *ret);

/* {"reason":"..."}: the broker is ours, so it is told. */
LK_MUST_CHECK enum lk_err lk_hub_auth_refused_format(const char *reason, struct lk_buf *ret);

#endif
