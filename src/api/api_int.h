/* What the surfaces share: error answers, the log line of a request, and its limit. */
#ifndef LK_API_API_INT_H
#define LK_API_API_INT_H

#include "api/api.h"
#include "api/path.h"
#include "base/log.h"

#define LK_RETRY_AFTER_BUSY "5" /* seconds, with 429 and 503 */

/* Answer with the error body of device-protocol.md 1.8, and its code in a header; the status is
 * code / 1000. */
void lk_api_error(struct lk_http_request *req, int32_t code, const char *message);

/* 405 with Allow, or 204 to OPTIONS. allow is a list of methods. */
void lk_api_wrong_method(struct lk_http_request *req, const char *allow);

/* True when a Content-Type is absent or is application/json. */
bool lk_api_is_json(const struct lk_http_request *req);

/* Microseconds since the request was complete. */
int64_t lk_api_duration_us(const struct lk_http_request *req);

/* At most lines_max lines a second pass (0: LK_LOG_GATE_LINES); the rest is counted. */
#define LK_LOG_GATE_LINES 20u
struct lk_log_gate {
    unsigned lines_max;
    int64_t second;
    unsigned lines;
    uint64_t suppressed;
};
bool lk_log_gate_pass(struct lk_log_gate *gate, int64_t mono_ms);
/* Log how many lines did not pass, once the flood is over. Call it every second. */
void lk_log_gate_tick(struct lk_log_gate *gate, int64_t mono_ms);
/*
 * Whether a line of this level is written about a call: what no policy (NULL) answers for, anybody
 * can cause, and has to pass the gate.
 */
bool lk_api_may_log(struct lk_log_gate *gate, const struct lk_clock *clock, enum lk_log_level level,
                    const char *policy);

/* The headers of a page of type; next is the token of the one behind it, "" for the last. */
void lk_api_page_headers(struct lk_http_request *req, const char *type, size_t max,
                         const char *next);

#endif
