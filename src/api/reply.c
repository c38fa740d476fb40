/* Answers and log lines that all surfaces have alike. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/api_int.h"
#include "base/codec.h"

void
lk_api_error(struct lk_http_request *req, int32_t code, const char *message)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    int status = code / 1000;
    char text[sizeof("-2147483648")];

    (void)snprintf(text, sizeof(text), "%d", (int)code); /* any 32-bit number fits */
    lk_http_reply_header(req, "x-ms-error-code", text);
    if (status == 429 || status == 503) {
        lk_http_reply_header(req, "Retry-After", LK_RETRY_AFTER_BUSY);
    }
    if (lk_dps_error_format(code, lk_http_request_id(req), message,
                            lk_clock_unix_ms(&lk_clock_system), &body) != LK_OK) {
        lk_buf_reset(&body); /* out of memory: the status alone says enough */
    }
    lk_http_reply(req, status, body.data, body.len);
}

void
lk_api_wrong_method(struct lk_http_request *req, const char *allow)
{
    lk_http_reply_header(req, "Allow", allow);
    if (lk_http_request_method(req) == LK_HTTP_OPTIONS) {
        lk_http_reply(req, 204, NULL, 0);
        return;
    }
    lk_api_error(req, LK_DPS_METHOD_NOT_ALLOWED, "Method not allowed");
}

bool
lk_api_is_json(const struct lk_http_request *req)
{
    static const char json[] = "application/json";
    const char *type = lk_http_request_header(req, "Content-Type");
    size_t len = type == NULL ? 0 : strcspn(type, "; \t");

    return type == NULL || lk_ascii_caseeq(type, len, json, strlen(json));
}

int64_t
lk_api_duration_us(const struct lk_http_request *req)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with a clock that exists */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - lk_http_request_started_us(req);
}

bool
lk_log_gate_pass(struct lk_log_gate *gate, int64_t mono_ms)
{
    if (mono_ms / 1000 != gate->second) {
        gate->second = mono_ms / 1000;
        gate->lines = 0;
    }
    if (gate->lines == (gate->lines_max != 0 ? gate->lines_max : LK_LOG_GATE_LINES)) {
        gate->suppressed++;
        return false;
    }
    gate->lines++;
    return true;
}

void
lk_log_gate_tick(struct lk_log_gate *gate, int64_t mono_ms)
{
    if (gate->suppressed == 0 || mono_ms / 1000 == gate->second) {
        return;
    }
    lk_log(LK_LOG_WARNING, "log.suppressed", LK_F_INT("lines", (int64_t)gate->suppressed));
    gate->suppressed = 0;
}

bool
lk_api_may_log(struct lk_log_gate *gate, const struct lk_clock *clock, enum lk_log_level level,
               const char *policy)
{
    return lk_log_enabled(level) &&
           (policy != NULL || lk_log_gate_pass(gate, lk_clock_mono_ms(clock)));
}

void
lk_api_page_headers(struct lk_http_request *req, const char *type, size_t max, const char *next)
{
    char count[24];

    (void)snprintf(count, sizeof(count), "%zu", max);
    lk_http_reply_header(req, "x-ms-item-type", type);
    lk_http_reply_header(req, "x-ms-max-item-count", count);
    if (next[0] != '\0') {
        lk_http_reply_header(req, "x-ms-continuation", next);
    }
}
