/*
 * Errors as a hub tells them (iot-hub.md 2.6): the name in the header iothub-errorcode and in
 * "Message", from which clients take it. The first three digits of a code are the status.
 */
#ifndef LK_API_HUB_ERROR_H
#define LK_API_HUB_ERROR_H

#include "api/fault.h"
#include "net/http.h"

#define LK_HUBE_ARGUMENT LK_SVC_BAD_REQUEST /* ArgumentInvalid */
#define LK_HUBE_TWICE 400011                /* DeviceDefinedMultipleTimes */
#define LK_HUBE_UNAUTHORIZED 401002
#define LK_HUBE_QUEUE_FULL 403004
#define LK_HUBE_NO_DEVICE 404001
#define LK_HUBE_NO_HUB 404101 /* ours: no hub of that name; the vendor's host would not exist */
#define LK_HUBE_NO_PATH 404102
#define LK_HUBE_NOT_ONLINE 404103
#define LK_HUBE_METHOD_NOT_ALLOWED 405001
#define LK_HUBE_EXISTS 409001
#define LK_HUBE_PRECONDITION 412001
#define LK_HUBE_LOCK_LOST 412002
#define LK_HUBE_TOO_LARGE 413001
#define LK_HUBE_TOO_MANY 413002
#define LK_HUBE_MEDIA_TYPE 415001
#define LK_HUBE_THROTTLED 429001
#define LK_HUBE_SERVER 500001
#define LK_HUBE_BAD_DEVICE_ANSWER 502101
#define LK_HUBE_UNAVAILABLE 503001
#define LK_HUBE_DEVICE_TIMEOUT 504101

/* The name of a code; "ServerError" of one that is not in the table. Static storage. */
const char *lk_hub_error_name(int32_t code);

/* The body. message is ours. Appended to ret. */
LK_MUST_CHECK enum lk_err lk_hub_error_format(int32_t code, const char *message,
                                              const char *tracking_id, int64_t now_ms,
                                              struct lk_buf *ret);

/* Answer with it. */
void lk_hubapi_error(struct lk_http_request *req, int32_t code, const char *message);

#endif
