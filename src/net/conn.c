/* One connection: its phases, and what moves it from one to the next. */
#include "net/net_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#define READS_MAX 8u /* in a row for one connection, before others have their turn */

static void conn_cb(evutil_socket_t fd, short what, void *ctx);

/* ---- phases and waiting ------------------------------------------------------------------------
 */

static uint32_t
phase_limit_ms(const struct lk_http_limits *l, enum lk_phase phase)
{
    switch (phase) {
    case LK_PHASE_HANDSHAKE:
        return l->handshake_ms;
    case LK_PHASE_IDLE:
        return l->idle_ms;
    case LK_PHASE_HEAD:
        return l->head_ms;
    case LK_PHASE_BODY:
        return l->body_ms;
    case LK_PHASE_WRITE:
        return l->write_ms;
    case LK_PHASE_LINGER:
        return LK_HTTP_LINGER_MS;
    case LK_PHASE_HANDLING:
    case LK_PHASE_GONE:
    case LK_PHASE_COUNT:
        break;
    }
    return 0;
}

static void
phase_enter(struct lk_conn *c, enum lk_phase phase)
{
    c->phase = phase;
    c->deadline_ms = lk_http_now_ms() + phase_limit_ms(&c->server->limits, phase);
    TAILQ_INSERT_TAIL(&c->server->queues[phase], c, link);
}

static void
phase_set(struct lk_conn *c, enum lk_phase phase)
{
    TAILQ_REMOVE(&c->server->queues[c->phase], c, link);
    phase_enter(c, phase);
}

/* Bytes that come are the next ones of a request. */
static bool
is_reading(const struct lk_conn *c)
{
    return c->fd >= 0 &&
           (c->phase == LK_PHASE_IDLE || c->phase == LK_PHASE_HEAD || c->phase == LK_PHASE_BODY);
}

/* what: EV_READ, EV_WRITE, or 0 to hear nothing. May close c. */
static void
wait_for(struct lk_conn *c, short what)
{
    if (c->fd < 0 || c->waits_for == what) {
        return;
    }
    if (c->waits_for != 0) {
        (void)event_del(&c->ev);
    }
    c->waits_for = what;
    if (what != 0 && (event_assign(&c->ev, lk_loop_base(c->server->loop), c->fd,
                                   (short)(what | EV_PERSIST), conn_cb, c) != 0 ||
                      event_add(&c->ev, NULL) != 0)) {
        c->waits_for = 0;
        lk_conn_close(c);
    }
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static void
conn_free(struct lk_conn *c)
{
    if (c->data_free != NULL) {
        c->data_free(c->data);
    }
    free(c);
}

void
lk_conn_close(struct lk_conn *c)
{
    struct lk_http_server *s = c->server;

    if (c->fd < 0) {
        return;
    }
    wait_for(c, 0);
    lk_tls_session_free(c->ssl);
    c->ssl = NULL;
    (void)close(c->fd); /* what was not sent is lost either way */
    c->fd = -1;
    lk_buf_fini(&c->ahead);
    lk_buf_fini(&c->out);
    lk_peers_remove(&s->peers, c->net);
    lk_metric_add(LK_M_HTTP_CONNECTIONS_OPEN, -1);
    s->conns_count--;
    if (c->phase == LK_PHASE_HANDLING) {
        phase_set(c, LK_PHASE_GONE);
    } else {
        TAILQ_REMOVE(&s->queues[c->phase], c, link);
        c->phase = LK_PHASE_COUNT;
        lk_http_request_free(c->req);
        c->req = NULL;
    }
    if (c->phase == LK_PHASE_COUNT && !c->entered) {
        conn_free(c);
    }
    lk_http_server_conn_closed(s);
}

static void
close_politely(struct lk_conn *c)
{
    if (c->ssl != NULL) {
        lk_tls_close_notify(c->ssl);
    }
    lk_conn_close(c);
}

static void
enter(struct lk_conn *c)
{
    c->entered = true;
}

/* The counterpart of enter(), after which c may be gone. */
static void
leave(struct lk_conn *c)
{
    c->entered = false;
    if (c->phase == LK_PHASE_COUNT) {
        conn_free(c);
    } else if (c->unread && c->waits_for == EV_READ) {
        event_active(&c->ev, EV_READ, 1); /* no readable socket will tell of these bytes */
    }
}

/*
 * Close our end only, and read what the peer still sends: a socket that is closed on unread bytes
 * is reset, and the reset may overtake the answer.
 */
static void
linger_start(struct lk_conn *c)
{
    if (c->peer_ended) {
        close_politely(c);
        return;
    }
    phase_set(c, LK_PHASE_LINGER);
    if (c->ssl != NULL) {
        lk_tls_close_notify(c->ssl);
        lk_tls_session_free(c->ssl);
        c->ssl = NULL;
    }
    if (shutdown(c->fd, SHUT_WR) != 0) {
        lk_conn_close(c);
        return;
    }
    wait_for(c, EV_READ);
}

static void
linger_read(struct lk_conn *c)
{
    ssize_t n = recv(c->fd, c->server->read_buf, LK_HTTP_READ_CAP, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    c->lingered += n > 0 ? (size_t)n : 0;
    if (n <= 0 || c->lingered > LK_HTTP_LINGER_MAX) {
        lk_conn_close(c);
    }
}

/* ---- output ------------------------------------------------------------------------------------
 */

static void
output_done(struct lk_conn *c)
{
    if (c->close_after || c->server->is_draining) {
        linger_start(c);
        return;
    }
    phase_set(c, LK_PHASE_IDLE);
    wait_for(c, EV_READ);
}

/* Write what the socket takes; what it does not take stays in c->out. */
static void
output_write(struct lk_conn *c, const uint8_t *data, size_t len)
{
    struct lk_reader r = lk_reader_of(data, len);
    enum lk_tls_io io = LK_TLS_DONE;

    while (r.left > 0) {
        const uint8_t *sent;
        size_t n = 0;

        io = lk_stream_write(c, r.p, r.left, &n);
        if (io == LK_TLS_WANT_READ || io == LK_TLS_WANT_WRITE) {
            break;
        }
        if (io != LK_TLS_DONE || lk_read_bytes(&r, n, &sent) != LK_OK) {
            lk_conn_close(c);
            return;
        }
    }
    if (r.left == 0) {
        output_done(c);
        return;
    }
    if (lk_buf_put(&c->out, r.p, r.left) != LK_OK) {
        lk_conn_close(c);
        return;
    }
    /* A key update that the peer has begun to send comes first. */
    wait_for(c, io == LK_TLS_WANT_READ ? EV_READ : EV_WRITE);
}

static void
output_flush(struct lk_conn *c)
{
    LK_AUTO_BUF struct lk_buf rest = LK_BUF_INIT;

    lk_buf_move(&rest, &c->out);
    output_write(c, rest.data, rest.len);
}

/*
 * Acknowledge what was read, now. A peer with Nagle's algorithm on, as the C SDK is, holds back its
 * next small write until then, and the kernel would wait 40 ms for an answer to send it along with.
 */
static void
acknowledge(const struct lk_conn *c)
{
    const int on = 1;

    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on)); /* late is no failure */
}

/* ---- input -------------------------------------------------------------------------------------
 */

static void
continue_send(struct lk_conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t n = 0;

    /* Nothing else is under way, so a socket that does not take this much is broken. */
    if (lk_stream_write(c, text, sizeof(text) - 1, &n) != LK_TLS_DONE || n != sizeof(text) - 1) {
        lk_conn_close(c);
    }
}

static void
request_refuse(struct lk_conn *c, int status, const char *reason)
{
    struct lk_http_request *req = c->req;

    lk_http_log(c->server, "net.request_bad", reason, lk_conn_peer(c), req->id, status);
    lk_http_reply_refusal(req, status);
}

/* A request is complete: it is the handler's until it answers. */
static void
request_hand_over(struct lk_conn *c)
{
    lk_http_request_complete(c->req);
    phase_set(c, LK_PHASE_HANDLING);
    c->server->handle(c->server->ctx, c->req);
}

/* After bytes were parsed; more says that others are here already. */
static void
request_advance(struct lk_conn *c, bool more)
{
    const struct lk_http_parse *p = &c->req->parse;

    switch (p->state) {
    case LK_PARSE_HEAD:
        break;
    case LK_PARSE_BODY:
        if (c->phase == LK_PHASE_HEAD) {
            phase_set(c, LK_PHASE_BODY);
            if (p->expects_continue && p->body.len == 0 && !more) {
                continue_send(c);
            }
        }
        break;
    case LK_PARSE_DONE:
        request_hand_over(c);
        break;
    case LK_PARSE_REFUSED:
        lk_metric_add(LK_M_HTTP_REQUESTS_BAD, 1);
        request_refuse(c, p->status, p->reason);
        break;
    }
}

/* Parse and serve requests until one has to be waited for. What is left goes to c->ahead. */
static void
requests_take(struct lk_conn *c, const uint8_t *data, size_t len)
{
    struct lk_reader r = lk_reader_of(data, len);

    while (r.left > 0 && is_reading(c)) {
        const uint8_t *used;

        if (c->req == NULL) {
            if (lk_http_request_new(c, &c->req) != LK_OK) {
                lk_conn_close(c);
                return;
            }
            phase_set(c, LK_PHASE_HEAD);
        }
        if (lk_read_bytes(&r, lk_http_parse_feed(&c->req->parse, r.p, r.left), &used) != LK_OK) {
            lk_conn_close(c);
            return;
        }
        request_advance(c, r.left > 0);
    }
    if (c->fd >= 0 && r.left > 0 && !c->close_after &&
        lk_buf_put(&c->ahead, r.p, r.left) != LK_OK) {
        lk_conn_close(c);
    }
}

/* Go on with what came while a request was handled. */
static void
ahead_take(struct lk_conn *c)
{
    LK_AUTO_BUF struct lk_buf ahead = LK_BUF_INIT;

    if (!is_reading(c)) {
        return;
    }
    if (c->ahead.len > 0) {
        lk_buf_move(&ahead, &c->ahead);
        requests_take(c, ahead.data, ahead.len);
    }
    if (c->peer_ended && is_reading(c)) {
        close_politely(c);
    }
}

/* The peer sends no more. It may still want the answer to what it sent. */
static void
input_end(struct lk_conn *c)
{
    c->peer_ended = true;
    c->unread = false;
    if (c->phase == LK_PHASE_HANDLING) {
        wait_for(c, 0);
    } else {
        close_politely(c);
    }
}

/* One read. False when no further one makes sense now. */
static bool
input_read_once(struct lk_conn *c)
{
    uint8_t *buf = c->server->read_buf;
    size_t cap = is_reading(c) ? LK_HTTP_READ_CAP : LK_HTTP_AHEAD_MAX - c->ahead.len;
    size_t n = 0;

    c->unread = lk_stream_buffered(c);
    if (cap == 0) {
        wait_for(c, 0);
        return false;
    }
    switch (lk_stream_read(c, buf, cap, &n)) {
    case LK_TLS_DONE:
        break;
    case LK_TLS_WANT_READ:
        c->unread = false;
        wait_for(c, EV_READ);
        return false;
    case LK_TLS_WANT_WRITE: /* no renegotiation: only a key update whose answer finds no room */
        c->unread = false;
        wait_for(c, EV_WRITE);
        return false;
    case LK_TLS_CLOSED:
        input_end(c);
        return false;
    case LK_TLS_FAILED:
        lk_conn_close(c);
        return false;
    }
    wait_for(c, EV_READ);
    if (is_reading(c)) {
        requests_take(c, buf, n);
    } else if (c->fd >= 0 && lk_buf_put(&c->ahead, buf, n) != LK_OK) {
        lk_conn_close(c);
    }
    c->unread = lk_stream_buffered(c);
    return c->unread && (is_reading(c) || c->phase == LK_PHASE_HANDLING);
}

static void
input_read(struct lk_conn *c)
{
    for (unsigned i = 0; i < READS_MAX && input_read_once(c); i++) {
    }
    if (c->fd >= 0 && (c->phase == LK_PHASE_HEAD || c->phase == LK_PHASE_BODY)) {
        acknowledge(c);
    }
}

/* ---- the handshake -----------------------------------------------------------------------------
 */

static void
handshake_step(struct lk_conn *c)
{
    struct lk_http_server *s = c->server;
    enum lk_tls_io io = lk_tls_handshake(c->ssl);

    switch (io) {
    case LK_TLS_DONE:
        lk_metric_add(LK_M_TLS_HANDSHAKES, 1);
        phase_set(c, LK_PHASE_IDLE);
        wait_for(c, EV_READ);
        if (lk_stream_buffered(c)) {
            input_read(c); /* the request came along with the end of the handshake */
        } else {
            acknowledge(c);
        }
        return;
    case LK_TLS_WANT_READ:
    case LK_TLS_WANT_WRITE:
        wait_for(c, io == LK_TLS_WANT_READ ? EV_READ : EV_WRITE);
        return;
    case LK_TLS_CLOSED:
    case LK_TLS_FAILED:
        break;
    }
    lk_metric_add(LK_M_TLS_HANDSHAKES_FAILED, 1);
    if (io == LK_TLS_FAILED) { /* a balancer's probe connects and closes: not worth a line */
        lk_http_log(s, "net.tls_failed", lk_tls_failure(), lk_conn_peer(c), NULL, 0);
    }
    lk_conn_close(c);
}

/* ---- entry points ------------------------------------------------------------------------------
 */

static void
conn_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct lk_conn *c = ctx;

    enter(c);
    switch (c->phase) {
    case LK_PHASE_HANDSHAKE:
        handshake_step(c);
        break;
    case LK_PHASE_IDLE:
    case LK_PHASE_HEAD:
    case LK_PHASE_BODY:
    case LK_PHASE_HANDLING:
        input_read(c);
        break;
    case LK_PHASE_WRITE:
        output_flush(c);
        ahead_take(c);
        break;
    case LK_PHASE_LINGER:
        linger_read(c);
        break;
    case LK_PHASE_GONE:
    case LK_PHASE_COUNT:
        break;
    }
    leave(c);
}

void
lk_conn_start(struct lk_http_server *s, int fd, const struct sockaddr_storage *address,
              uint64_t net)
{
    struct lk_conn *c = calloc(1, sizeof(*c));
    struct ssl_st *ssl = NULL;

    if (c == NULL || (s->tls != NULL && lk_tls_session(s->tls, fd, &ssl) != LK_OK)) {
        lk_peers_remove(&s->peers, net);
        (void)close(fd);
        free(c);
        lk_http_accept_failed(s, ENOMEM);
        return;
    }
    c->server = s;
    c->fd = fd;
    c->ssl = ssl;
    c->net = net;
    c->address = *address;
    c->ahead.max = LK_HTTP_AHEAD_MAX;
    s->conns_count++;
    lk_metric_add(LK_M_HTTP_CONNECTIONS_OPEN, 1);
    phase_enter(c, ssl != NULL ? LK_PHASE_HANDSHAKE : LK_PHASE_IDLE);
    wait_for(c, EV_READ);
}

void
lk_conn_answer(struct lk_conn *c, const struct lk_buf *answer, bool close_after)
{
    bool outermost = !c->entered;

    enter(c);
    c->req = NULL;
    if (c->phase == LK_PHASE_GONE) {
        if (c->server != NULL) {
            TAILQ_REMOVE(&c->server->queues[LK_PHASE_GONE], c, link);
            lk_http_server_conn_closed(c->server);
        }
        c->phase = LK_PHASE_COUNT;
    } else if (answer == NULL) {
        phase_set(c, LK_PHASE_WRITE);
        lk_conn_close(c);
    } else {
        c->close_after = close_after;
        phase_set(c, LK_PHASE_WRITE);
        output_write(c, answer->data, answer->len);
    }
    if (outermost) {
        ahead_take(c);
        leave(c);
    }
}

static void
expire(struct lk_conn *c)
{
    static const char *const reasons[LK_PHASE_COUNT] = {[LK_PHASE_HANDSHAKE] = "net.slow_handshake",
                                                        [LK_PHASE_HEAD] = "net.slow_head",
                                                        [LK_PHASE_BODY] = "net.slow_body",
                                                        [LK_PHASE_WRITE] = "net.slow_reader"};
    enum lk_phase phase = c->phase;

    if (reasons[phase] == NULL) { /* idle, or lingering: nothing wrong with it */
        close_politely(c);
        return;
    }
    lk_metric_add(LK_M_HTTP_CONNECTIONS_TIMED_OUT, 1);
    if (phase == LK_PHASE_HEAD || phase == LK_PHASE_BODY) {
        request_refuse(c, 408, reasons[phase]);
        return;
    }
    if (phase == LK_PHASE_HANDSHAKE) {
        lk_metric_add(LK_M_TLS_HANDSHAKES_FAILED, 1);
    }
    lk_http_log(c->server, "net.timed_out", reasons[phase], lk_conn_peer(c), NULL, 0);
    lk_conn_close(c);
}

void
lk_conns_expire(struct lk_http_server *s)
{
    int64_t now_ms = lk_http_now_ms();

    for (enum lk_phase phase = 0; phase < LK_PHASE_COUNT; phase++) {
        struct lk_conn *c;

        if (phase_limit_ms(&s->limits, phase) == 0) {
            continue;
        }
        while ((c = TAILQ_FIRST(&s->queues[phase])) != NULL && c->deadline_ms <= now_ms) {
            enter(c);
            expire(c);
            leave(c);
        }
    }
}

const char *
lk_conn_peer(struct lk_conn *c)
{
    if (c->peer[0] == '\0') {
        lk_peers_text(&c->address, c->peer);
    }
    return c->peer;
}
