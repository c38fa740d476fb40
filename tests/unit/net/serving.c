#include "serving.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <sys/socket.h>

#include <cmocka.h>

#define BIG_LEN (1024u * 1024u)

/* ---- the handler -------------------------------------------------------------------------------
 */

static void
echo(struct lk_http_request *req, bool close_after)
{
    struct lk_reader body = lk_http_request_body(req);
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;

    assert_int_equal(lk_buf_printf(&out, "%s %s?%s %s ", lk_http_request_method_name(req),
                                   lk_http_request_path(req), lk_http_request_query(req),
                                   lk_http_request_host(req)),
                     LK_OK);
    assert_int_equal(lk_buf_put(&out, body.p, body.left), LK_OK);
    if (close_after) {
        lk_http_reply_close(req, 200, out.data, out.len);
    } else {
        lk_http_reply(req, 200, out.data, out.len);
    }
}

struct count {
    struct serving *s;
    unsigned n;
};

static void
count_free(void *data)
{
    struct count *count = data;

    count->s->freed_count++;
    free(count);
}

static void
count_reply(struct serving *s, struct lk_http_request *req)
{
    struct count *count = lk_http_request_conn_get(req);
    char text[16];
    int len;

    if (count == NULL) {
        count = calloc(1, sizeof(*count));
        assert_non_null(count);
        count->s = s;
        lk_http_request_conn_set(req, count, count_free);
    }
    len = snprintf(text, sizeof(text), "%u", ++count->n);
    lk_http_reply(req, 200, text, (size_t)len);
}

struct late {
    struct lk_timer *timer;
    struct lk_http_request *req;
};

static void
late_cb(void *ctx)
{
    struct late *late = ctx;

    echo(late->req, false);
    lk_timer_free(late->timer);
    free(late);
}

static void
late_reply(struct serving *s, struct lk_http_request *req)
{
    struct late *late = calloc(1, sizeof(*late));

    assert_non_null(late);
    late->req = req;
    assert_int_equal(lk_timer_new(s->loop, late_cb, late, &late->timer), LK_OK);
    lk_timer_arm(late->timer, 50);
}

/* "2 415": how many certificates the peer presented, and their bytes in all. */
static void
certs_reply(struct lk_http_request *req)
{
    struct lk_buf certs[LK_TLS_PEER_CERTS_MAX] = {{.len = 0}};
    size_t count = 0, bytes = 0;
    char text[64];
    enum lk_err err = lk_http_request_peer_certs(req, certs, &count);

    for (size_t i = 0; i < LK_ARRAY_LEN(certs); i++) {
        bytes += certs[i].len;
        lk_buf_fini(&certs[i]);
    }
    (void)snprintf(text, sizeof(text), "%s %zu %zu", lk_err_name(err), count, bytes);
    lk_http_reply(req, 200, text, strlen(text));
}

static void
hold(struct serving *s, struct lk_http_request *req)
{
    assert_true(s->held_count < LK_ARRAY_LEN(s->held));
    s->held[s->held_count] = req;
    s->held_count++;
}

static void
big_reply(struct lk_http_request *req)
{
    char *big = malloc(BIG_LEN);

    assert_non_null(big);
    memset(big, 'x', BIG_LEN);
    lk_http_reply(req, 200, big, BIG_LEN);
    free(big);
}

static void
handle(void *ctx, struct lk_http_request *req)
{
    struct serving *s = ctx;
    const char *path = lk_http_request_path(req);

    s->handled_count++;
    if (strcmp(path, "/count") == 0) {
        count_reply(s, req);
    } else if (strcmp(path, "/late") == 0) {
        late_reply(s, req);
    } else if (strcmp(path, "/hold") == 0) {
        hold(s, req);
    } else if (strcmp(path, "/certs") == 0) {
        certs_reply(req);
    } else if (strcmp(path, "/big") == 0) {
        big_reply(req);
    } else if (strcmp(path, "/empty") == 0) {
        lk_http_reply(req, 204, NULL, 0);
    } else if (strcmp(path, "/header") == 0) {
        lk_http_reply_header(req, "Content-Type", "text/plain");
        lk_http_reply_header(req, "x-bad", "a\r\nx-injected: b");
        lk_http_reply(req, 202, "ok", 2);
    } else {
        echo(req, strcmp(path, "/close") == 0);
    }
}

/* ---- the server's thread -----------------------------------------------------------------------
 */

static void *
serve(void *ctx)
{
    struct serving *s = ctx;

    assert_int_equal(lk_loop_run(s->loop), LK_OK);
    return NULL;
}

void
serving_start(struct serving *s, const struct lk_http_limits *limits, struct lk_tls *tls)
{
    struct lk_http_server_config config = {
        .listen = "127.0.0.1:0", .tls = tls, .handle = handle, .ctx = s};
    char error[LK_HTTP_ERROR_CAP];

    memset(s, 0, sizeof(*s));
    if (limits != NULL) {
        config.limits = *limits;
    }
    assert_int_equal(lk_loop_new(&s->loop), LK_OK);
    assert_int_equal(lk_http_server_new(s->loop, &config, error, &s->server), LK_OK);
    s->port = lk_http_server_port(s->server);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

struct call {
    void (*fn)(void *ctx);
    void *ctx;
    sem_t done;
};

static void
call_cb(void *ctx)
{
    struct call *call = ctx;

    call->fn(call->ctx);
    assert_int_equal(sem_post(&call->done), 0);
}

void
serving_run(struct serving *s, void (*fn)(void *ctx), void *ctx)
{
    struct call call = {.fn = fn, .ctx = ctx};

    assert_int_equal(sem_init(&call.done, 0, 0), 0);
    assert_int_equal(lk_loop_post(s->loop, call_cb, &call), LK_OK);
    assert_int_equal(sem_wait(&call.done), 0);
    assert_int_equal(sem_destroy(&call.done), 0);
}

static void
release_cb(void *ctx)
{
    struct serving *s = ctx;
    unsigned count = s->held_count;

    s->held_count = 0;
    for (unsigned i = 0; i < count; i++) {
        s->gone_count += lk_http_request_gone(s->held[i]) ? 1 : 0;
        echo(s->held[i], false);
    }
}

void
serving_release(struct serving *s)
{
    serving_run(s, release_cb, s);
}

static void
drained_cb(void *ctx)
{
    struct serving *s = ctx;

    s->drained = true;
}

struct drain {
    struct serving *s;
    uint32_t deadline_ms;
};

static void
drain_cb(void *ctx)
{
    const struct drain *drain = ctx;

    lk_http_server_drain(drain->s->server, drain->deadline_ms, drained_cb, drain->s);
}

void
serving_drain(struct serving *s, uint32_t deadline_ms)
{
    struct drain drain = {s, deadline_ms};

    serving_run(s, drain_cb, &drain);
}

void
serving_stop(struct serving *s)
{
    lk_loop_stop(s->loop);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    lk_http_server_free(s->server);
    release_cb(s); /* answers after the server is gone are dropped */
    lk_loop_free(s->loop);
}

int64_t
mono_ms(void)
{
    struct timespec ts;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
wait_until(const atomic_uint *value, unsigned wanted)
{
    int64_t end_ms = mono_ms() + 2000;

    while (*value != wanted && mono_ms() < end_ms) {
        assert_int_equal(usleep(5000), 0);
    }
    assert_int_equal(*value, wanted);
}

/* ---- the client --------------------------------------------------------------------------------
 */

static int
connect_to(const struct serving *s, int fd)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(s->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    return connect(fd, (const struct sockaddr *)&to, sizeof(to));
}

void
client_connect(struct client *c, const struct serving *s)
{
    const struct timeval limit = {.tv_sec = 10};

    c->ssl = NULL;
    c->buf_len = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(connect_to(s, c->fd), 0);
}

bool
client_can_connect(const struct serving *s)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool can;

    assert_true(fd >= 0);
    can = connect_to(s, fd) == 0;
    assert_int_equal(close(fd), 0);
    return can;
}

void
client_tls(struct client *c, SSL_CTX *ctx)
{
    c->ssl = SSL_new(ctx);
    assert_non_null(c->ssl);
    assert_int_equal(SSL_set_fd(c->ssl, c->fd), 1);
    assert_int_equal(SSL_connect(c->ssl), 1);
}

void
client_send(struct client *c, const void *data, size_t len)
{
    if (c->ssl != NULL) {
        assert_int_equal(SSL_write(c->ssl, data, (int)len), (int)len);
    } else {
        assert_int_equal(send(c->fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
    }
}

void
client_text(struct client *c, const char *text)
{
    client_send(c, text, strlen(text));
}

/* Bytes read into buf; 0 when the server closed, in order or with a reset. */
static size_t
client_read(struct client *c, void *buf, size_t cap)
{
    ssize_t n = c->ssl != NULL ? SSL_read(c->ssl, buf, (int)cap) : recv(c->fd, buf, cap, 0);

    return n > 0 ? (size_t)n : 0;
}

static void
client_consume(struct client *c, size_t n)
{
    memmove(c->buf, c->buf + n, c->buf_len - n);
    c->buf_len -= n;
}

/* Read until the head is whole; false when the server closes first. */
static bool
head_read(struct client *c, char *head, size_t cap)
{
    uint8_t *end;

    while ((end = memmem(c->buf, c->buf_len, "\r\n\r\n", 4)) == NULL) {
        size_t n = client_read(c, c->buf + c->buf_len, sizeof(c->buf) - c->buf_len);

        if (n == 0) {
            return false;
        }
        c->buf_len += n;
    }
    assert_true((size_t)(end + 4 - c->buf) < cap);
    memcpy(head, c->buf, (size_t)(end + 4 - c->buf));
    head[end + 4 - c->buf] = '\0';
    client_consume(c, (size_t)(end + 4 - c->buf));
    return true;
}

bool
answer_header(const struct answer *a, const char *name, char *buf, size_t cap)
{
    char line[64];
    const char *at;
    size_t len;

    (void)snprintf(line, sizeof(line), "\r\n%s: ", name);
    at = strcasestr(a->head, line);
    if (at == NULL) {
        return false;
    }
    at += strlen(line);
    len = strcspn(at, "\r");
    assert_true(len < cap);
    memcpy(buf, at, len);
    buf[len] = '\0';
    return true;
}

void
client_answer(struct client *c, bool is_head, struct answer *ret)
{
    char length[24];
    size_t got;

    memset(ret, 0, sizeof(*ret));
    if (!head_read(c, ret->head, sizeof(ret->head))) {
        return;
    }
    assert_int_equal(sscanf(ret->head, "HTTP/1.1 %d ", &ret->status), 1);
    if (!is_head && answer_header(ret, "content-length", length, sizeof(length))) {
        ret->body_len = strtoul(length, NULL, 10);
    }
    ret->body = calloc(1, ret->body_len + 1);
    assert_non_null(ret->body);
    got = c->buf_len < ret->body_len ? c->buf_len : ret->body_len;
    memcpy(ret->body, c->buf, got);
    client_consume(c, got);
    while (got < ret->body_len) {
        size_t n = client_read(c, ret->body + got, ret->body_len - got);

        assert_true(n > 0);
        got += n;
    }
}

void
answer_fini(struct answer *a)
{
    free(a->body);
    a->body = NULL;
}

void
client_expect(struct client *c, int status, const char *body)
{
    struct answer a;

    client_answer(c, false, &a);
    assert_int_equal(a.status, status);
    if (body != NULL) {
        assert_string_equal((const char *)a.body, body);
    }
    answer_fini(&a);
}

void
client_expect_closed(struct client *c)
{
    uint8_t byte;

    assert_int_equal(c->buf_len, 0);
    assert_int_equal(client_read(c, &byte, 1), 0);
}

void
client_close(struct client *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    assert_int_equal(close(c->fd), 0);
}
