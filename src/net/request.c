#include "net/net_int.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/codec.h"

enum lk_err
lk_http_request_new(struct lk_conn *c, struct lk_http_request **ret)
{
    struct lk_http_request *req = calloc(1, sizeof(*req));
    enum lk_err err;

    if (req == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = lk_http_server_id(c->server, req->id)) != LK_OK) {
        free(req);
        return err;
    }
    req->conn = c;
    lk_http_parse_init(&req->parse, &c->server->limits);
    req->parse.body_max = c->server->body_max;
    req->parse.ctx = c->server->ctx;
    *ret = req;
    return LK_OK;
}

void
lk_http_request_free(struct lk_http_request *req)
{
    if (req != NULL) {
        lk_http_parse_fini(&req->parse);
        lk_buf_fini(&req->reply_headers);
        free(req);
    }
}

static int64_t
now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void
lk_http_request_complete(struct lk_http_request *req)
{
    req->started_us = now_us();
    lk_metric_add(LK_M_HTTP_REQUESTS, 1);
}

enum lk_http_method
lk_http_request_method(const struct lk_http_request *req)
{
    return req->parse.method;
}

const char *
lk_http_request_method_name(const struct lk_http_request *req)
{
    return req->parse.method_name;
}

const char *
lk_http_request_path(const struct lk_http_request *req)
{
    return req->parse.path;
}

const char *
lk_http_request_query(const struct lk_http_request *req)
{
    return req->parse.query;
}

const char *
lk_http_request_host(const struct lk_http_request *req)
{
    return req->parse.host;
}

static bool
header_is(const struct lk_http_header *h, const char *name, size_t name_len)
{
    return h->name_len == name_len && lk_ascii_caseeq(h->name, name_len, name, name_len);
}

const char *
lk_http_request_header(const struct lk_http_request *req, const char *name)
{
    const struct lk_http_parse *p = &req->parse;
    size_t name_len = strlen(name);

    for (size_t i = 0; i < p->headers_count; i++) {
        if (header_is(&p->headers[i], name, name_len)) {
            return p->headers[i].value;
        }
    }
    return NULL;
}

unsigned
lk_http_request_header_count(const struct lk_http_request *req, const char *name)
{
    const struct lk_http_parse *p = &req->parse;
    size_t name_len = strlen(name);
    unsigned count = 0;

    for (size_t i = 0; i < p->headers_count; i++) {
        count += header_is(&p->headers[i], name, name_len) ? 1 : 0;
    }
    return count;
}

bool
lk_http_request_header_at(const struct lk_http_request *req, size_t i, const char **ret_name,
                          const char **ret_value)
{
    const struct lk_http_parse *p = &req->parse;

    if (i >= p->headers_count) {
        return false;
    }
    *ret_name = p->headers[i].name;
    *ret_value = p->headers[i].value;
    return true;
}

struct lk_reader
lk_http_request_body(const struct lk_http_request *req)
{
    return lk_reader_of(req->parse.body.data, req->parse.body.len);
}

const char *
lk_http_request_peer(const struct lk_http_request *req)
{
    return lk_conn_peer(req->conn);
}

enum lk_err
lk_http_request_peer_certs(const struct lk_http_request *req,
                           struct lk_buf ret[LK_TLS_PEER_CERTS_MAX], size_t *ret_count)
{
    return req->conn->ssl == NULL ? LK_ERR_NOT_FOUND
                                  : lk_tls_peer_certs(req->conn->ssl, ret, ret_count);
}

const char *
lk_http_request_id(const struct lk_http_request *req)
{
    return req->id;
}

int64_t
lk_http_request_started_us(const struct lk_http_request *req)
{
    return req->started_us;
}

void
lk_http_request_conn_set(struct lk_http_request *req, void *data, void (*free_fn)(void *))
{
    struct lk_conn *c = req->conn;

    if (c->data_free != NULL) {
        c->data_free(c->data);
    }
    c->data = data;
    c->data_free = free_fn;
}

void *
lk_http_request_conn_get(const struct lk_http_request *req)
{
    return req->conn->data;
}

bool
lk_http_request_gone(const struct lk_http_request *req)
{
    return req->conn->phase == LK_PHASE_GONE;
}
