/* How a call to a hub is answered, and its line in the log. */
#include <stdio.h>

#include "api/hub_int.h"
#include "base/codec.h"
#include "base/metrics.h"

static void
call_log(struct lk_hubapi_call *c, enum lk_log_level level, const char *event, int status,
         const char *reason)
{
    const char *policy = c->access.name[0] != '\0' ? c->access.name : NULL;

    if (!lk_api_may_log(&c->api->gate, c->api->clock, level, policy)) {
        return;
    }
    lk_log(level, event, LK_F_TEXT("request_id", lk_http_request_id(c->req)),
           LK_F_TEXT("peer", lk_http_request_peer(c->req)),
           LK_F_TEXT("operation", c->op == NULL ? NULL : c->op->name), LK_F_TEXT("hub", c->hub),
           LK_F_TEXT("path", lk_http_request_path(c->req)), LK_F_TEXT("policy", policy),
           LK_F_TEXT("reason", reason), LK_F_INT("status", status),
           LK_F_INT("duration_us", lk_api_duration_us(c->req)));
}

static void
answer_fault(struct lk_hubapi_call *c)
{
    lk_metric_add(LK_M_HUB_REJECTED, 1);
    call_log(c, LK_LOG_INFO, "hub.rejected", c->fault.code / 1000, c->fault.message);
    lk_hubapi_error(c->req, c->fault.code, c->fault.message);
}

/* One shape for all that is not let in. */
static void
answer_refused(struct lk_hubapi_call *c)
{
    lk_metric_add(LK_M_HUB_REFUSED, 1);
    call_log(c, LK_LOG_WARNING, "hub.refused", 401, c->access.reason);
    lk_hubapi_error(c->req, LK_HUBE_UNAUTHORIZED, "Unauthorized");
}

static void
answer_failure(struct lk_hubapi_call *c, enum lk_err err)
{
    bool busy = err == LK_ERR_BUSY, again = lk_err_kind(err) == LK_KIND_RETRY;
    int32_t code = busy ? LK_HUBE_THROTTLED : again ? LK_HUBE_UNAVAILABLE : LK_HUBE_SERVER;

    lk_metric_add(LK_M_HUB_FAILED, 1);
    call_log(c, busy ? LK_LOG_WARNING : LK_LOG_ERROR, busy ? "hub.busy" : "hub.error", code / 1000,
             lk_err_name(err));
    lk_hubapi_error(c->req, code, again ? "Busy, try again later" : "Internal error");
}

static enum lk_err
property_header(void *ctx, const char *header, const char *value)
{
    lk_http_reply_header(ctx, header, value);
    return LK_OK;
}

/* A message to the device: its body as it is, the rest in headers. */
static void
message_headers(struct lk_hubapi_call *c)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "\"%s\"", c->message.lock);
    lk_http_reply_header(c->req, "ETag", text);
    (void)snprintf(text, sizeof(text), "%lld", (long long)c->message.seq);
    lk_http_reply_header(c->req, "iothub-sequencenumber", text);
    (void)snprintf(text, sizeof(text), "%u", c->message.deliveries);
    lk_http_reply_header(c->req, "iothub-deliverycount", text);
    lk_timestamp_format(c->message.enqueued_ms, text);
    lk_http_reply_header(c->req, "iothub-enqueuedtime", text);
    lk_http_reply_header(c->req, "Content-Type", "application/octet-stream");
    if (lk_props_each((const char *)c->message.properties.data, c->message.properties.len,
                      property_header, c->req) != LK_OK) {
        call_log(c, LK_LOG_ERROR, "hub.properties_lost", 200, lk_err_name(LK_ERR_NOMEM));
    }
}

void
lk_hubapi_answer(struct lk_hubapi_call *c, enum lk_err err)
{
    char etag[LK_ETAG_CAP + 2];

    if (err == LK_ERR_REFUSED && c->access.reason != NULL) {
        answer_refused(c);
        return;
    }
    if ((err == LK_OK || err == LK_ERR_REFUSED || err == LK_ERR_FORMAT) && c->fault.code != 0) {
        answer_fault(c);
        return;
    }
    if (err != LK_OK) {
        answer_failure(c, err);
        return;
    }
    lk_metric_add(LK_M_HUB_DONE, 1);
    call_log(c, c->op->writes && !c->op->by_device ? LK_LOG_INFO : LK_LOG_DEBUG, "hub.call",
             c->status, NULL);
    if (c->etag[0] != '\0') {
        (void)snprintf(etag, sizeof(etag), "\"%s\"", c->etag);
        lk_http_reply_header(c->req, "ETag", etag);
    }
    if (c->is_page) {
        lk_api_page_headers(c->req, "Twin", c->page_max, c->next);
    }
    if (c->message.seq != 0) {
        message_headers(c);
        lk_http_reply(c->req, c->status, c->message.body.data, c->message.body.len);
        return;
    }
    lk_http_reply(c->req, c->status, c->answer.data, c->answer.len);
}
