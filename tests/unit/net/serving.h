/* A server in a thread of its own on a loopback port, and a plain client for it. */
#ifndef TESTS_UNIT_NET_SERVING_H
#define TESTS_UNIT_NET_SERVING_H

#include <pthread.h>
#include <stdatomic.h>

#include <openssl/ssl.h>

#include "net/http.h"
#include "net/loop.h"

/*
 * What the handler does, by path:
 *   /echo   "METHOD PATH?QUERY HOST BODY" of the request
 *   /count  how many requests this connection has sent, kept with lk_http_request_conn_set()
 *   /late   as /echo, 50 ms later
 *   /hold   as /echo, at serving_release()
 *   /big    a megabyte of 'x'
 *   /close  as /echo, closing
 *   /empty  204
 *   /header two headers of the handler's own, one of which would split the answer
 */
struct serving {
    struct lk_loop *loop;
    struct lk_http_server *server;
    pthread_t thread;
    uint16_t port;
    struct lk_http_request *held[8];
    atomic_uint held_count;
    atomic_uint gone_count;  /* held requests whose peer had gone when they were answered */
    atomic_uint freed_count; /* per-connection data that was freed */
    atomic_uint handled_count;
    atomic_bool drained;
};

/* limits and tls may be NULL. */
void serving_start(struct serving *s, const struct lk_http_limits *limits, struct lk_tls *tls);
void serving_stop(struct serving *s);

/* Run fn(ctx) on the server's thread and wait for it. */
void serving_run(struct serving *s, void (*fn)(void *ctx), void *ctx);
void serving_release(struct serving *s); /* answer what is held */
void serving_drain(struct serving *s, uint32_t deadline_ms);

/* Wait up to two seconds for value to become wanted; fail otherwise. */
void wait_until(const atomic_uint *value, unsigned wanted);

struct client {
    int fd;
    SSL *ssl; /* NULL: plain */
    uint8_t buf[4096];
    size_t buf_len;
};

struct answer {
    int status;
    char head[2048];
    uint8_t *body; /* owned, NUL-terminated */
    size_t body_len;
};

void client_connect(struct client *c, const struct serving *s);
/* Whether anybody listens at the server's port. */
bool client_can_connect(const struct serving *s);
/* The handshake must succeed. ctx verifies as it likes. */
void client_tls(struct client *c, SSL_CTX *ctx);
void client_send(struct client *c, const void *data, size_t len);
void client_text(struct client *c, const char *text);
/* Read one whole answer; status 0 when the server closed instead. is_head: it has no body. */
void client_answer(struct client *c, bool is_head, struct answer *ret);
/* Expect an answer with this status and, unless NULL, body. */
void client_expect(struct client *c, int status, const char *body);
/* Expect that the server closes, in order or not, with nothing before it. */
void client_expect_closed(struct client *c);
void client_close(struct client *c);
void answer_fini(struct answer *a);
/* Value of a header in the head, up to its CR, into buf. False when absent. */
bool answer_header(const struct answer *a, const char *name, char *buf, size_t cap);

int64_t mono_ms(void);

#endif
