#include "api/hub_error.h"

#include <stdio.h>

#include "api/api_int.h"
#include "base/codec.h"
#include "wire/members.h"

static const struct {
    int32_t code;
    const char *name;
} names[] = {
    {LK_HUBE_ARGUMENT, "ArgumentInvalid"},
    {LK_HUBE_TWICE, "DeviceDefinedMultipleTimes"},
    {LK_HUBE_UNAUTHORIZED, "IotHubUnauthorizedAccess"},
    {LK_HUBE_QUEUE_FULL, "DeviceMaximumQueueDepthExceeded"},
    {LK_HUBE_NO_DEVICE, "DeviceNotFound"},
    {LK_HUBE_NO_HUB, "IotHubNotFound"},
    {LK_HUBE_NO_PATH, "ResourceNotFound"},
    {LK_HUBE_NOT_ONLINE, "DeviceNotOnline"},
    {LK_HUBE_METHOD_NOT_ALLOWED, "InvalidOperation"},
    {LK_HUBE_EXISTS, "DeviceAlreadyExists"},
    {LK_HUBE_PRECONDITION, "PreconditionFailed"},
    {LK_HUBE_LOCK_LOST, "DeviceMessageLockLost"},
    {LK_HUBE_TOO_LARGE, "MessageTooLarge"},
    {LK_HUBE_TOO_MANY, "TooManyDevices"},
    {LK_HUBE_MEDIA_TYPE, "UnsupportedMediaType"},
    {LK_HUBE_THROTTLED, "ThrottlingException"},
    {LK_HUBE_SERVER, "ServerError"},
    {LK_HUBE_BAD_DEVICE_ANSWER, "BadDeviceResponse"},
    {LK_HUBE_UNAVAILABLE, "ServiceUnavailable"},
    {LK_HUBE_DEVICE_TIMEOUT, "GatewayTimeout"},
};

const char *
lk_hub_error_name(int32_t code)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(names); i++) {
        if (names[i].code == code) {
            return names[i].name;
        }
    }
    return "ServerError";
}

/* A ';' in the message would end it for some clients. */
static enum lk_err
message_put(int32_t code, const char *message, struct lk_buf *ret)
{
    enum lk_err err = lk_buf_printf(ret, "ErrorCode:%s;", lk_hub_error_name(code));

    for (; err == LK_OK && *message != '\0'; message++) {
        err = lk_buf_put_u8(ret, *message == ';' ? ',' : (uint8_t)*message);
    }
    return err;
}

enum lk_err
lk_hub_error_format(int32_t code, const char *message, const char *tracking_id, int64_t now_ms,
                    struct lk_buf *ret)
{
    LK_AUTO(json) json_t *root = json_object();
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf tracking = LK_BUF_INIT;
    char now[LK_TIMESTAMP_CAP];
    enum lk_err err;

    lk_timestamp_format(now_ms, now);
    if ((err = message_put(code, message, &text)) != LK_OK ||
        (err = lk_buf_printf(&tracking, "Tracking ID:%s-TimeStamp:%s", tracking_id, now)) !=
            LK_OK) {
        return err;
    }
    if (root == NULL || lk_buf_text(&text) == NULL || lk_buf_text(&tracking) == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = lk_member_text(root, "Message", lk_buf_text(&text))) != LK_OK ||
        (err = lk_member_text(root, "ExceptionMessage", lk_buf_text(&tracking))) != LK_OK) {
        return err;
    }
    return lk_json_write(root, ret);
}

void
lk_hubapi_error(struct lk_http_request *req, int32_t code, const char *message)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    int status = code / 1000;

    lk_http_reply_header(req, "iothub-errorcode", lk_hub_error_name(code));
    if (status == 429 || status == 503) {
        lk_http_reply_header(req, "Retry-After", LK_RETRY_AFTER_BUSY);
    }
    if (lk_hub_error_format(code, message, lk_http_request_id(req),
                            lk_clock_unix_ms(&lk_clock_system), &body) != LK_OK) {
        lk_buf_reset(&body); /* out of memory: the status alone says enough */
    }
    lk_http_reply(req, status, body.data, body.len);
}
