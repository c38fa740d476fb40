#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/codec.h"
#include "fake_http.h"

void
fake_http_fini(struct lk_http_request *req)
{
    lk_buf_fini(&req->answer);
    lk_buf_fini(&req->answer_heads);
    req->answers = 0;
    req->status = 0;
}

void
fake_http_expect(struct lk_http_request *req, int status, const char *text)
{
    assert_int_equal(req->answers, 1);
    assert_int_equal(req->status, status);
    if (text == NULL) {
        assert_int_equal(req->answer.len, 0);
    } else if (strstr(lk_buf_text(&req->answer), text) == NULL) {
        fail_msg("%s is not in %s", text, lk_buf_text(&req->answer));
    }
}

void
fake_http_expect_header(struct lk_http_request *req, const char *line)
{
    const char *heads = lk_buf_text(&req->answer_heads);
    const char *at = strstr(heads, line);

    if (at == NULL || (at != heads && at[-1] != '\n') || at[strlen(line)] != '\n') {
        fail_msg("%s is not in %s", line, heads);
    }
}

enum lk_http_method
lk_http_request_method(const struct lk_http_request *req)
{
    return req->method;
}

const char *
lk_http_request_path(const struct lk_http_request *req)
{
    return req->path;
}

const char *
lk_http_request_query(const struct lk_http_request *req)
{
    return req->query == NULL ? "" : req->query;
}

const char *
lk_http_request_host(const struct lk_http_request *req)
{
    return req->host == NULL ? "" : req->host;
}

static const struct fake_header *
header_find(const struct lk_http_request *req, const char *name, unsigned nth)
{
    for (size_t i = 0; i < FAKE_HEADERS_MAX && req->headers[i].name != NULL; i++) {
        if (lk_ascii_caseeq(name, strlen(name), req->headers[i].name,
                            strlen(req->headers[i].name)) &&
            nth-- == 0) {
            return &req->headers[i];
        }
    }
    return NULL;
}

const char *
lk_http_request_header(const struct lk_http_request *req, const char *name)
{
    const struct fake_header *h = header_find(req, name, 0);

    return h == NULL ? NULL : h->value;
}

unsigned
lk_http_request_header_count(const struct lk_http_request *req, const char *name)
{
    unsigned n = 0;

    while (header_find(req, name, n) != NULL) {
        n++;
    }
    return n;
}

bool
lk_http_request_header_at(const struct lk_http_request *req, size_t i, const char **ret_name,
                          const char **ret_value)
{
    if (i >= FAKE_HEADERS_MAX || req->headers[i].name == NULL) {
        return false;
    }
    *ret_name = req->headers[i].name;
    *ret_value = req->headers[i].value;
    return true;
}

struct lk_reader
lk_http_request_body(const struct lk_http_request *req)
{
    return lk_reader_of(req->body, req->body_len);
}

/* As the engine does: one too many, or one too long, is too much. */
enum lk_err
lk_http_request_peer_certs(const struct lk_http_request *req,
                           struct lk_buf ret[LK_TLS_PEER_CERTS_MAX], size_t *ret_count)
{
    if (req->certs_count == 0) {
        return LK_ERR_NOT_FOUND;
    }
    if (req->certs_count > LK_TLS_PEER_CERTS_MAX) {
        return LK_ERR_LIMIT;
    }
    for (size_t i = 0; i < req->certs_count; i++) {
        assert_int_equal(lk_buf_put(&ret[i], req->certs[i].data, req->certs[i].len), LK_OK);
    }
    *ret_count = req->certs_count;
    return LK_OK;
}

const char *
lk_http_request_peer(const struct lk_http_request *req)
{
    return "192.0.2.7";
}

const char *
lk_http_request_id(const struct lk_http_request *req)
{
    return "0123456789abcdef0123456789abcdef";
}

int64_t
lk_http_request_started_us(const struct lk_http_request *req)
{
    return 0;
}

void
lk_http_reply_header(struct lk_http_request *req, const char *name, const char *value)
{
    assert_int_equal(req->answers, 0);
    assert_int_equal(lk_buf_printf(&req->answer_heads, "%s: %s\n", name, value), LK_OK);
}

void
lk_http_reply(struct lk_http_request *req, int status, const void *body, size_t body_len)
{
    req->answers++;
    req->status = status;
    assert_int_equal(lk_buf_put(&req->answer, body, body_len), LK_OK);
    assert_non_null(lk_buf_text(&req->answer_heads));
}
