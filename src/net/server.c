/* Listening, limits and what the connections of one server share. */
#include "net/net_int.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "net/listen.h"

#define ACCEPTS_MAX 64u      /* in a row, before connections have their turn */
#define ACCEPT_PAUSE_MS 100  /* when descriptors or memory ran out */
#define ACCEPT_TELL_MS 10000 /* between lines about that */
#define LOG_LINES_PER_SECOND 50u
#define TICK_MIN_MS 10u
#define TICK_MAX_MS 1000u

/* ---- what connections ask for ------------------------------------------------------------------
 */

int64_t
lk_http_now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &ts); /* cannot fail for this clock */
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
lk_http_log(struct lk_http_server *s, const char *event, const char *reason, const char *peer,
            const char *request_id, int status)
{
    int64_t second = lk_http_now_ms() / 1000;

    if (second != s->log_second) {
        if (s->log_suppressed > 0) {
            lk_log(LK_LOG_INFO, "net.suppressed", LK_F_INT("lines", (int64_t)s->log_suppressed));
        }
        s->log_second = second;
        s->log_lines = 0;
        s->log_suppressed = 0;
    }
    if (s->log_lines >= LOG_LINES_PER_SECOND) {
        s->log_suppressed++;
        return;
    }
    s->log_lines++;
    if (status == 0) {
        lk_log(LK_LOG_INFO, event, LK_F_TEXT("reason", reason), LK_F_TEXT("peer", peer));
    } else {
        lk_log(LK_LOG_INFO, event, LK_F_TEXT("reason", reason), LK_F_TEXT("peer", peer),
               LK_F_TEXT("request_id", request_id), LK_F_INT("status", status));
    }
}

enum lk_err
lk_http_server_id(struct lk_http_server *s, char id[LK_HTTP_ID_CAP])
{
    static const char digits[] = "0123456789abcdef";
    size_t bytes_count = (LK_HTTP_ID_CAP - 1) / 2;
    enum lk_err err;

    if (s->random_left < bytes_count) {
        if ((err = lk_rand_fill(&lk_rand_system, s->random, sizeof(s->random))) != LK_OK) {
            return err;
        }
        s->random_left = sizeof(s->random);
    }
    for (size_t i = 0; i < bytes_count; i++) {
        uint8_t byte = s->random[--s->random_left];

        id[2 * i] = digits[byte >> 4];
        id[2 * i + 1] = digits[byte & 15];
    }
    id[2 * bytes_count] = '\0';
    return LK_OK;
}

const char *
lk_http_server_date(struct lk_http_server *s)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct timespec now;
    struct tm tm;

    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now); /* cannot fail for this clock */
    if (now.tv_sec != s->date_unix_s && gmtime_r(&now.tv_sec, &tm) != NULL) {
        (void)snprintf(s->date, sizeof(s->date), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                       &days[3 * tm.tm_wday], tm.tm_mday, &months[3 * tm.tm_mon],
                       (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
        s->date_unix_s = now.tv_sec;
    }
    return s->date;
}

/* ---- accepting ---------------------------------------------------------------------------------
 */

static void
shed(struct lk_http_server *s, int fd, const struct sockaddr_storage *address, const char *reason)
{
    char peer[LK_PEER_TEXT_CAP];

    lk_metric_add(LK_M_HTTP_CONNECTIONS_SHED, 1); /* before the peer can see it */
    (void)close(fd);
    lk_peers_text(address, peer);
    lk_http_log(s, "net.shed", reason, peer, NULL, 0);
}

static void
ticking_set(struct lk_http_server *s, bool wanted)
{
    const struct timeval period = {.tv_sec = s->tick_ms / 1000,
                                   .tv_usec = (suseconds_t)(s->tick_ms % 1000) * 1000};

    if (wanted && !s->is_ticking) {
        s->is_ticking = event_add(s->tick, &period) == 0;
    } else if (!wanted && s->is_ticking) {
        (void)event_del(s->tick);
        s->is_ticking = false;
    }
}

static void
tick_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct lk_http_server *s = ctx;

    lk_conns_expire(s);
    ticking_set(s, s->conns_count > 0);
}

static void
accepted(struct lk_http_server *s, int fd, const struct sockaddr_storage *address)
{
    uint64_t net = lk_peers_net(address);

    lk_metric_add(LK_M_HTTP_CONNECTIONS_ACCEPTED, 1);
    if (s->conns_count >= s->limits.connections_max) {
        shed(s, fd, address, "net.connections_max");
        return;
    }
    if (!lk_peers_add(&s->peers, net, s->limits.connections_per_net)) {
        shed(s, fd, address, "net.connections_per_net");
        return;
    }
    lk_conn_start(s, fd, address, net);
    ticking_set(s, s->conns_count > 0);
}

void
lk_http_accept_failed(struct lk_http_server *s, int why)
{
    int64_t now_ms = lk_http_now_ms();

    lk_metric_add(LK_M_HTTP_ACCEPTS_FAILED, 1);
    if (s->accept_told_ms == 0 || now_ms - s->accept_told_ms >= ACCEPT_TELL_MS) {
        s->accept_told_ms = now_ms;
        lk_log(LK_LOG_ERROR, "net.accept_failed", LK_F_TEXT("reason", strerror(why)),
               LK_F_INT("connections", (int64_t)s->conns_count));
    }
}

/* Out of descriptors or memory: what waits stays in the backlog for a moment, and nothing spins. */
static void
accept_pause(struct lk_http_server *s, int why)
{
    const struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000L};

    if (event_add(s->accept_again, &pause) == 0) {
        (void)event_del(s->listener);
    }
    lk_http_accept_failed(s, why);
}

static void
accept_again_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct lk_http_server *s = ctx;

    if (event_add(s->listener, NULL) != 0) {
        accept_pause(s, ENOMEM);
    }
}

static void
listener_cb(evutil_socket_t listen_fd, short what, void *ctx)
{
    struct lk_http_server *s = ctx;

    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof(address);
        int fd =
            accept4(listen_fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            accepted(s, fd, &address);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            accept_pause(s, errno);
            return;
        } else if (errno == EAGAIN) {
            return;
        } /* else that one connection is broken already */
    }
}

/* ---- draining ----------------------------------------------------------------------------------
 */

static void
queue_close(struct lk_http_server *s, enum lk_phase phase)
{
    struct lk_conn *c;

    while ((c = TAILQ_FIRST(&s->queues[phase])) != NULL) {
        lk_conn_close(c);
    }
}

static void
listener_close(struct lk_http_server *s)
{
    if (s->listener != NULL) {
        event_free(s->listener);
        s->listener = NULL;
    }
    if (s->accept_again != NULL) {
        event_free(s->accept_again);
        s->accept_again = NULL;
    }
    if (s->listen_fd >= 0) {
        (void)close(s->listen_fd);
        s->listen_fd = -1;
    }
}

static void
conns_close(struct lk_http_server *s)
{
    for (enum lk_phase phase = 0; phase < LK_PHASE_GONE; phase++) {
        queue_close(s, phase);
    }
}

static bool
is_drained(const struct lk_http_server *s)
{
    return s->conns_count == 0 && TAILQ_EMPTY(&s->queues[LK_PHASE_GONE]);
}

void
lk_http_server_conn_closed(struct lk_http_server *s)
{
    if (s->is_draining && is_drained(s)) {
        event_active(s->drain, EV_TIMEOUT, 1); /* not from here: done may free the server */
    }
}

static void
drain_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct lk_http_server *s = ctx;
    void (*done)(void *) = s->drained;

    s->is_draining = false; /* closing below must not bring us here again */
    conns_close(s);
    (void)event_del(s->drain);
    s->drained = NULL;
    if (done != NULL) {
        done(s->drained_ctx);
    }
}

void
lk_http_server_drain(struct lk_http_server *s, uint32_t deadline_ms, void (*done)(void *ctx),
                     void *ctx)
{
    const struct timeval deadline = {.tv_sec = deadline_ms / 1000,
                                     .tv_usec = (suseconds_t)(deadline_ms % 1000) * 1000};

    s->drained = done;
    s->drained_ctx = ctx;
    listener_close(s);
    queue_close(s, LK_PHASE_HANDSHAKE);
    queue_close(s, LK_PHASE_IDLE);
    s->is_draining = true;
    if (is_drained(s) || event_add(s->drain, &deadline) != 0) {
        event_active(s->drain, EV_TIMEOUT, 1);
    }
}

/* ---- the server --------------------------------------------------------------------------------
 */

static uint32_t
limit_of(uint32_t given, uint32_t otherwise)
{
    return given != 0 ? given : otherwise;
}

static void
limits_fill(const struct lk_http_limits *given, struct lk_http_limits *ret)
{
    *ret = (struct lk_http_limits){
        .head_max = limit_of(given->head_max, 16384),
        .headers_max = limit_of(given->headers_max, 64),
        .body_max = limit_of(given->body_max, 98304),
        .handshake_ms = limit_of(given->handshake_ms, 10000),
        .head_ms = limit_of(given->head_ms, 10000),
        .body_ms = limit_of(given->body_ms, 20000),
        .idle_ms = limit_of(given->idle_ms, 75000),
        .write_ms = limit_of(given->write_ms, 20000),
        .connections_max = limit_of(given->connections_max, 8192),
        .connections_per_net = limit_of(given->connections_per_net, 2048),
    };
}

/* A quarter of the shortest time limit, so that none is late by more. */
static uint32_t
tick_of(const struct lk_http_limits *l)
{
    const uint32_t limits_ms[] = {l->handshake_ms, l->head_ms, l->body_ms, l->idle_ms, l->write_ms};
    uint32_t tick_ms = TICK_MAX_MS;

    for (size_t i = 0; i < LK_ARRAY_LEN(limits_ms); i++) {
        tick_ms = limits_ms[i] / 4 < tick_ms ? limits_ms[i] / 4 : tick_ms;
    }
    return tick_ms < TICK_MIN_MS ? TICK_MIN_MS : tick_ms;
}

static enum lk_err
server_tables(struct lk_http_server *s)
{
    uint64_t seed;
    enum lk_err err;

    if ((err = lk_rand_fill(&lk_rand_system, &seed, sizeof(seed))) != LK_OK) {
        return err;
    }
    return lk_peers_init(&s->peers, s->limits.connections_max, seed);
}

static enum lk_err
server_events(struct lk_http_server *s)
{
    struct event_base *base = lk_loop_base(s->loop);

    s->listener = event_new(base, s->listen_fd, EV_READ | EV_PERSIST, listener_cb, s);
    s->accept_again = event_new(base, -1, 0, accept_again_cb, s);
    s->tick = event_new(base, -1, EV_PERSIST, tick_cb, s);
    s->drain = event_new(base, -1, 0, drain_cb, s);
    if (s->listener == NULL || s->accept_again == NULL || s->tick == NULL || s->drain == NULL) {
        return LK_ERR_NOMEM;
    }
    return event_add(s->listener, NULL) == 0 ? LK_OK : LK_ERR_IO;
}

enum lk_err
lk_http_server_new(struct lk_loop *loop, const struct lk_http_server_config *config,
                   char error[LK_HTTP_ERROR_CAP], struct lk_http_server **ret)
{
    LK_AUTO(lk_http_server) struct lk_http_server *s = calloc(1, sizeof(*s));
    enum lk_err err;

    if (s == NULL) {
        return LK_ERR_NOMEM;
    }
    s->loop = loop;
    s->listen_fd = -1;
    s->tls = config->tls != NULL ? lk_tls_ref(config->tls) : NULL;
    s->handle = config->handle;
    s->body_max = config->body_max;
    s->ctx = config->ctx;
    limits_fill(&config->limits, &s->limits);
    s->tick_ms = tick_of(&s->limits);
    for (enum lk_phase phase = 0; phase < LK_PHASE_COUNT; phase++) {
        TAILQ_INIT(&s->queues[phase]);
    }
    if ((err = server_tables(s)) != LK_OK ||
        (err = lk_listen(config->listen, config->reuse_port, error, &s->listen_fd)) != LK_OK ||
        (err = server_events(s)) != LK_OK) {
        return err;
    }
    *ret = lk_http_server_take(&s);
    return LK_OK;
}

uint16_t
lk_http_server_port(const struct lk_http_server *s)
{
    return lk_listen_port(s->listen_fd);
}

void
lk_http_server_set_tls(struct lk_http_server *s, struct lk_tls *tls)
{
    struct lk_tls *old = s->tls;

    s->tls = lk_tls_ref(tls);
    lk_tls_free(old); /* sessions hold OpenSSL's own context */
}

/* Requests that a handler still holds stay valid until it answers them. */
static void
gone_detach(struct lk_http_server *s)
{
    struct lk_conn *c;

    while ((c = TAILQ_FIRST(&s->queues[LK_PHASE_GONE])) != NULL) {
        TAILQ_REMOVE(&s->queues[LK_PHASE_GONE], c, link);
        c->server = NULL;
    }
}

void
lk_http_server_free(struct lk_http_server *s)
{
    if (s == NULL) {
        return;
    }
    s->is_draining = false;
    listener_close(s);
    conns_close(s);
    gone_detach(s);
    if (s->tick != NULL) {
        event_free(s->tick);
    }
    if (s->drain != NULL) {
        event_free(s->drain);
    }
    lk_peers_fini(&s->peers);
    lk_buf_fini(&s->answer);
    lk_wipe(s->read_buf, sizeof(s->read_buf)); /* requests carry tokens */
    lk_tls_free(s->tls);
    free(s);
}
