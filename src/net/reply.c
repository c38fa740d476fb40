#include "net/net_int.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <http_parser.h>

#include "net/chars.h"

#define RETRY_AFTER_S "5" /* of a refusal for want of memory */
#define DECIMAL_CAP 21u   /* digits of 2^64 and a NUL */

/* snprintf() is a tenth of what a small answer costs. */
static const char *
decimal(char buf[DECIMAL_CAP], uint64_t n)
{
    char *at = buf + DECIMAL_CAP - 1;

    *at = '\0';
    do {
        *--at = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return at;
}

static const char *
status_text(int status)
{
    const char *text = http_status_str((enum http_status)status);

    return text[0] == '<' ? "Other" : text; /* "<unknown>" */
}

static enum lk_err
puts_all(struct lk_buf *b, const char *const *texts, size_t count)
{
    enum lk_err err = LK_OK;

    for (size_t i = 0; err == LK_OK && i < count; i++) {
        err = lk_buf_puts(b, texts[i]);
    }
    return err;
}

static bool
has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

static enum lk_err
head_put(struct lk_http_request *req, int status, size_t body_len, bool close_after,
         struct lk_buf *ret)
{
    char status_buf[DECIMAL_CAP], length_buf[DECIMAL_CAP];
    const char *connection = close_after              ? "\r\nConnection: close"
                             : req->parse.is_http_1_0 ? "\r\nConnection: keep-alive"
                                                      : "";
    bool typed = body_len > 0 && has_body(status) && !req->has_content_type;
    const char *const texts[] = {"HTTP/1.1 ",
                                 decimal(status_buf, (uint64_t)status),
                                 " ",
                                 status_text(status),
                                 "\r\nDate: ",
                                 lk_http_server_date(req->conn->server),
                                 "\r\nx-ms-request-id: ",
                                 req->id,
                                 typed ? "\r\nContent-Type: application/json; charset=utf-8" : "",
                                 has_body(status) ? "\r\nContent-Length: " : "",
                                 has_body(status) ? decimal(length_buf, body_len) : "",
                                 connection,
                                 "\r\n"};
    enum lk_err err;

    if ((err = puts_all(ret, texts, LK_ARRAY_LEN(texts))) != LK_OK ||
        (err = lk_buf_put(ret, req->reply_headers.data, req->reply_headers.len)) != LK_OK) {
        return err;
    }
    return lk_buf_puts(ret, "\r\n");
}

static enum lk_err
answer_put(struct lk_http_request *req, int status, const void *body, size_t body_len,
           bool close_after, struct lk_buf *ret)
{
    enum lk_err err = head_put(req, status, body_len, close_after, ret);

    if (err != LK_OK || !has_body(status) || req->parse.method == LK_HTTP_HEAD) {
        return err;
    }
    return lk_buf_put(ret, body, body_len);
}

static void
answer(struct lk_http_request *req, int status, const void *body, size_t body_len, bool close_after)
{
    struct lk_conn *c = req->conn;
    struct lk_http_server *s = c->server;
    struct timespec now;
    enum lk_err err;

    if (req->started_us != 0) {
        (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
        lk_histogram_observe_us(LK_H_REQUEST_US, (uint64_t)((int64_t)now.tv_sec * 1000000 +
                                                            now.tv_nsec / 1000 - req->started_us));
    }
    if (c->phase == LK_PHASE_GONE) {
        lk_http_request_free(req);
        lk_conn_answer(c, NULL, true);
        return;
    }
    close_after = close_after || s->is_draining || !req->parse.keep_alive;
    lk_buf_reset(&s->answer);
    /* Whoever gets no answer asks again; a page without the name of the next would be the last. */
    err = req->has_lost_header ? LK_ERR_NOMEM
                               : answer_put(req, status, body, body_len, close_after, &s->answer);
    lk_http_request_free(req);
    lk_conn_answer(c, err == LK_OK ? &s->answer : NULL, close_after);
}

void
lk_http_reply(struct lk_http_request *req, int status, const void *body, size_t body_len)
{
    answer(req, status, body, body_len, false);
}

void
lk_http_reply_close(struct lk_http_request *req, int status, const void *body, size_t body_len)
{
    answer(req, status, body, body_len, true);
}

void
lk_http_reply_refusal(struct lk_http_request *req, int status)
{
    char body[96];
    int len = snprintf(body, sizeof(body), "{\"message\":\"%s\"}", status_text(status));

    assert(len > 0 && (size_t)len < sizeof(body)); /* the longest status has 31 letters */
    if (status == 503) {
        lk_http_reply_header(req, "Retry-After", RETRY_AFTER_S);
    }
    answer(req, status, body, (size_t)len, true);
}

void
lk_http_reply_header(struct lk_http_request *req, const char *name, const char *value)
{
    struct lk_buf *b = &req->reply_headers;
    size_t old_len = b->len;
    const char *const texts[] = {name, ": ", value, "\r\n"};

    for (const char *at = value; *at != '\0'; at++) {
        if (!lk_is_field_char((uint8_t)*at)) {
            return;
        }
    }
    if (puts_all(b, texts, LK_ARRAY_LEN(texts)) != LK_OK) {
        b->len = old_len;
        req->has_lost_header = true;
        return;
    }
    if (strcasecmp(name, "content-type") == 0) {
        req->has_content_type = true;
    }
}
