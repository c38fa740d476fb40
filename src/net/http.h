/*
 * The HTTPS engine. Nothing outside net/ knows which engine it is. One lk_http_server belongs to
 * one event loop and one thread; its handler runs there and may answer at once or later, on the
 * same thread.
 *
 * It promises that a request it hands over has one unambiguous framing, a complete body within
 * its limit, and arrived within the time limits; that an answer leaves in one write; and that a
 * connection stays open for further requests unless the peer or a limit says otherwise.
 */
#ifndef LK_NET_HTTP_H
#define LK_NET_HTTP_H

#include "base/clock.h"
#include "crypto/tls.h"

struct lk_loop; /* an event loop (net/loop.h) */
struct lk_http_server;
struct lk_http_request;

/* Every limit that a stranger meets, in one table. Zero picks the default in parentheses. */
struct lk_http_limits {
    uint32_t head_max;            /* bytes of request line and headers (16384) */
    uint32_t headers_max;         /* header lines (64) */
    uint32_t body_max;            /* bytes of a body (98304), unless more is allowed */
    uint32_t handshake_ms;        /* whole TLS handshake (10000) */
    uint32_t head_ms;             /* first byte of a head to its end (10000) */
    uint32_t body_ms;             /* end of head to end of body (20000) */
    uint32_t idle_ms;             /* between requests of a connection (75000) */
    uint32_t write_ms;            /* for the peer to take a whole answer (20000) */
    uint32_t connections_max;     /* of this server (8192) */
    uint32_t connections_per_net; /* of one IPv4 address or IPv6 /64 on this server (2048) */
};

enum lk_http_method {
    LK_HTTP_GET,
    LK_HTTP_HEAD,
    LK_HTTP_PUT,
    LK_HTTP_POST,
    LK_HTTP_PATCH,
    LK_HTTP_DELETE,
    LK_HTTP_OPTIONS,
    LK_HTTP_OTHER
};

/*
 * Bytes that the body of such a request may have where that is more than limits.body_max, asked
 * once its head is complete, unless that announces a body within limits.body_max; 0: no more. host
 * and path are what lk_http_request_host() and lk_http_request_path() give.
 */
typedef uint32_t (*lk_http_body_max_fn)(void *ctx, enum lk_http_method method, const char *host,
                                        const char *path);

struct lk_http_server_config {
    const char *listen; /* "host:port", "[v6]:port" or ":port"; port 0 picks one */
    bool reuse_port;    /* SO_REUSEPORT: several servers share the address */
    struct lk_tls *tls; /* NULL serves plain HTTP (local metrics listener only); referenced */
    struct lk_http_limits limits;
    void (*handle)(void *ctx, struct lk_http_request *req); /* owns req until it answers */
    lk_http_body_max_fn body_max;                           /* NULL: limits.body_max for all */
    void *ctx;                                              /* of both */
};

#define LK_HTTP_ERROR_CAP 256u

/* Start listening on loop. error (may be NULL) says what could not be done. LK_ERR_IO,
 * LK_ERR_CONFIG. */
LK_MUST_CHECK enum lk_err lk_http_server_new(struct lk_loop *loop,
                                             const struct lk_http_server_config *config,
                                             char error[LK_HTTP_ERROR_CAP],
                                             struct lk_http_server **ret);

/* The port that is bound, host order. */
uint16_t lk_http_server_port(const struct lk_http_server *s);

/* Use tls for connections accepted from now on. */
void lk_http_server_set_tls(struct lk_http_server *s, struct lk_tls *tls);

/*
 * Stop accepting, let running requests be answered (with "Connection: close"), close idle
 * connections, and call done once none is left, or after deadline_ms when the rest is cut.
 */
void lk_http_server_drain(struct lk_http_server *s, uint32_t deadline_ms, void (*done)(void *ctx),
                          void *ctx);
void lk_http_server_free(struct lk_http_server *s);
LK_DEFINE_AUTO(struct lk_http_server, lk_http_server, lk_http_server_free);

/* ---- a request: borrowed strings live until it is answered
 * ------------------------------------------- */

enum lk_http_method lk_http_request_method(const struct lk_http_request *req);
const char *lk_http_request_method_name(const struct lk_http_request *req);
/* The path as sent, percent-escapes and all, without the query; begins with '/'. */
const char *lk_http_request_path(const struct lk_http_request *req);
/* The query as sent, without '?'; "" when there is none. */
const char *lk_http_request_query(const struct lk_http_request *req);
/* Host header without a port, lower case; "" when there is none (HTTP/1.0). */
const char *lk_http_request_host(const struct lk_http_request *req);
/* First header of that name, any case; NULL when absent. */
const char *lk_http_request_header(const struct lk_http_request *req, const char *name);
/* How many header lines have that name. */
unsigned lk_http_request_header_count(const struct lk_http_request *req, const char *name);
/* Header line i, from 0, with its name as sent: false past the last. */
bool lk_http_request_header_at(const struct lk_http_request *req, size_t i, const char **ret_name,
                               const char **ret_value);
struct lk_reader lk_http_request_body(const struct lk_http_request *req);
/* Numeric address of the peer, without port. */
const char *lk_http_request_peer(const struct lk_http_request *req);
/* What the peer presented in TLS, as lk_tls_peer_certs() says; LK_ERR_NOT_FOUND without TLS too. */
LK_MUST_CHECK enum lk_err lk_http_request_peer_certs(const struct lk_http_request *req,
                                                     struct lk_buf ret[LK_TLS_PEER_CERTS_MAX],
                                                     size_t *ret_count);
/* 32 lower-case hexadecimal digits, random; every answer carries it as x-ms-request-id. */
const char *lk_http_request_id(const struct lk_http_request *req);
/* Monotonic microseconds when the request was complete. */
int64_t lk_http_request_started_us(const struct lk_http_request *req);

/*
 * Per-connection memory for the handler: one pointer, freed by free_fn when the connection ends or
 * another is set. Lets a flow keep what it said earlier on the same connection.
 */
void lk_http_request_conn_set(struct lk_http_request *req, void *data, void (*free_fn)(void *));
void *lk_http_request_conn_get(const struct lk_http_request *req);

/* True once the peer has gone: an answer would be dropped (answering is still what frees req). */
bool lk_http_request_gone(const struct lk_http_request *req);

/* ---- the answer
 * -------------------------------------------------------------------------------------- */

/* Add a header to the coming answer. name is ours; value must not hold CR or LF (asserted away:
 * dropped). */
void lk_http_reply_header(struct lk_http_request *req, const char *name, const char *value);

/*
 * Answer and give req back. body (may be NULL) is copied. Content-Length, Date, Content-Type (when
 * body_len is not 0, "application/json; charset=utf-8" unless set by a header) and x-ms-request-id
 * are added.
 */
void lk_http_reply(struct lk_http_request *req, int status, const void *body, size_t body_len);

/* As lk_http_reply(), and close the connection after it. */
void lk_http_reply_close(struct lk_http_request *req, int status, const void *body,
                         size_t body_len);

#endif
