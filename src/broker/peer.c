/* Connections of plugins: frames in, frames out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/log.h"
#include "broker/broker_int.h"

#define READ_PIECE ((size_t)16 * 1024) /* bytes */
#define READ_PIECES_MAX 16u            /* in one turn: others wait too */

static void
peer_free(struct lk_peer *p)
{
    *p->at = p->next;
    if (p->next != NULL) {
        p->next->at = p->at;
    }
    p->broker->peers_count--;
    lk_buf_fini(&p->in);
    lk_buf_fini(&p->out);
    free(p);
}

void
lk_peer_close(struct lk_peer *p, const char *reason)
{
    if (p->closed) {
        return;
    }
    p->closed = true;
    if (p->state == LK_PEER_STREAMS) {
        lk_log(LK_LOG_WARNING, "broker.left", LK_F_TEXT("hub", p->hub),
               LK_F_TEXT("reason", reason));
    } else if (reason != NULL) {
        lk_log(LK_LOG_DEBUG, "broker.connection_closed", LK_F_TEXT("reason", reason));
    }
    lk_line_close(p->line, p->broker->draining);
    p->line = NULL;
    lk_watch_free(lk_watch_take(&p->watch));
    (void)close(p->fd);
    if (!p->asking && !p->taking) {
        peer_free(p);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Wait for what is to be done next. False: p was closed. */
static bool
peer_wait(struct lk_peer *p)
{
    if (lk_watch_wait(p->watch, !p->asking, p->out.len > 0) != LK_OK) {
        lk_peer_close(p, "out of memory");
        return false;
    }
    return true;
}

/* False: p was closed. */
static bool
peer_flush(struct lk_peer *p)
{
    ssize_t sent;

    if (p->out.len > 0) {
        sent = send(p->fd, p->out.data, p->out.len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            lk_peer_close(p, strerror(errno));
            return false;
        }
        lk_buf_consume(&p->out, sent < 0 ? 0 : (size_t)sent);
    }
    return peer_wait(p);
}

static void
peer_hang_up(struct lk_peer *p)
{
    /* The next reading finds the end; p may be in use further up. */
    (void)shutdown(p->fd, SHUT_RDWR);
    lk_buf_reset(&p->out);
}

void
lk_peer_send(struct lk_peer *p, const struct lk_plug_msg *m)
{
    ssize_t sent;

    if (p->closed) {
        return;
    }
    if (lk_plug_write(m, &p->out) != LK_OK) {
        peer_hang_up(p);
        return;
    }
    sent = send(p->fd, p->out.data, p->out.len, MSG_NOSIGNAL);
    if (sent > 0) {
        lk_buf_consume(&p->out, (size_t)sent);
    }
    if (p->out.len > 0 && lk_watch_wait(p->watch, !p->asking, true) != LK_OK) {
        peer_hang_up(p);
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static void
welcome(struct lk_peer *p, uint32_t flags, const char *words)
{
    const struct lk_plug_msg m = {
        .type = LK_PLUG_WELCOME, .flags = flags, .name = words, .name_len = strlen(words)};

    lk_peer_send(p, &m);
}

/* NULL: it goes on; else why the connection ends. */
static const char *
hello_take(struct lk_peer *p, const struct lk_plug_msg *m)
{
    if (m->type != LK_PLUG_HELLO || m->serial != LK_PLUG_VERSION) {
        return "expected a plugin of this version";
    }
    if (!lk_host_name_ok(m->hub, strlen(m->hub))) {
        return "expected the name of a hub";
    }
    memcpy(p->hub, m->hub, sizeof(p->hub));
    lk_ascii_lower(p->hub);
    if (m->flags == LK_PLUG_ASKS) {
        p->state = LK_PEER_ASKS;
        welcome(p, LK_PLUG_OK, "");
        return NULL;
    }
    if (m->flags != LK_PLUG_STREAMS) {
        return "expected a kind of connection";
    }
    if ((p->line = lk_line_new(p, m)) == NULL) {
        welcome(p, LK_PLUG_REFUSED, "another broker has this hub");
        lk_log(LK_LOG_WARNING, "broker.refused", LK_F_TEXT("hub", p->hub),
               LK_F_TEXT("reason", "another broker has this hub"));
        return "refused";
    }
    p->state = LK_PEER_STREAMS;
    welcome(p, LK_PLUG_OK, "");
    return NULL;
}

static const char *
message_take(struct lk_peer *p, const struct lk_plug_msg *m)
{
    switch (p->state) {
    case LK_PEER_NEW:
        return hello_take(p, m);
    case LK_PEER_ASKS:
        if (m->type != LK_PLUG_ASK) {
            return "expected a question";
        }
        lk_broker_ask(p, m);
        return NULL;
    case LK_PEER_STREAMS:
        return lk_line_take(p->line, m) ? NULL : "a message that plugins do not send";
    }
    return "no state";
}

/* Take the frames that are complete. False: p was closed. */
static bool
frames_take(struct lk_peer *p)
{
    struct lk_reader r = lk_reader_of(p->in.data, p->in.len);
    struct lk_plug_msg m;
    const char *fault = NULL;
    enum lk_err err;

    p->taking = true;
    while (fault == NULL && !p->asking && !p->closed &&
           (err = lk_plug_read(&r, &m)) != LK_ERR_NOT_FOUND) {
        fault = err != LK_OK ? "not the protocol" : message_take(p, &m);
    }
    lk_buf_consume(&p->in, p->in.len - r.left);
    p->taking = false;
    if (fault != NULL) {
        lk_peer_close(p, fault);
        return false;
    }
    if (p->closed && !p->asking) {
        peer_free(p);
        return false;
    }
    return !p->closed;
}

/* False: p was closed. */
static bool
peer_read(struct lk_peer *p)
{
    uint8_t piece[READ_PIECE];

    for (unsigned i = 0; i < READ_PIECES_MAX && !p->asking; i++) {
        ssize_t got = recv(p->fd, piece, sizeof(piece), 0);

        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (got <= 0 || lk_buf_put(&p->in, piece, (size_t)got) != LK_OK) {
            lk_peer_close(p, got == 0 ? "it closed the connection" : "connection lost");
            return false;
        }
        if (!frames_take(p)) {
            return false;
        }
        if ((size_t)got < sizeof(piece)) {
            break;
        }
    }
    return true;
}

static void
peer_ready(void *ctx)
{
    struct lk_peer *p = ctx;

    if (peer_read(p)) {
        (void)peer_flush(p); /* false: p is gone, and nothing follows */
    }
}

void
lk_peer_resume(struct lk_peer *p)
{
    p->asking = false;
    if (p->taking) { /* the answer was there at once, and what follows is read anyway */
        return;
    }
    if (p->closed) {
        peer_free(p);
        return;
    }
    if (frames_take(p)) {
        (void)peer_flush(p); /* false: p is gone, and nothing follows */
    }
}

/* ---- coming ---------------------------------------------------------------------------------- */

/* Whether the process at the other end may ask us about devices. */
static bool
peer_allowed(const struct lk_broker *b, int fd, struct ucred *ret)
{
    socklen_t len = sizeof(*ret);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &len) != 0 || len != sizeof(*ret)) {
        return false;
    }
    return ret->uid == 0 || ret->uid == geteuid() || ret->uid == b->user_id;
}

void
lk_peer_accept(struct lk_broker *b, int fd)
{
    struct ucred who = {0};
    struct lk_peer *p = NULL;

    if (!peer_allowed(b, fd, &who)) {
        lk_log(LK_LOG_WARNING, "broker.stranger", LK_F_INT("uid", who.uid),
               LK_F_INT("pid", who.pid));
    } else if (b->peers_count < LK_PEERS_MAX && !b->draining) {
        p = calloc(1, sizeof(*p));
    }
    if (p == NULL || lk_watch_new(b->loop, fd, peer_ready, p, &p->watch) != LK_OK) {
        free(p);
        (void)close(fd);
        return;
    }
    p->broker = b;
    p->fd = fd;
    p->out.max = LK_PEER_OUT_MAX;
    p->since_mono_ms = lk_clock_mono_ms(&lk_clock_system);
    p->next = b->peers;
    p->at = &b->peers;
    if (p->next != NULL) {
        p->next->at = &p->next;
    }
    b->peers = p;
    b->peers_count++;
}

void
lk_peers_look(struct lk_broker *b)
{
    int64_t now_ms = lk_clock_mono_ms(&lk_clock_system);
    struct lk_peer *next;

    for (struct lk_peer *p = b->peers; p != NULL; p = next) {
        next = p->next;
        if (p->state == LK_PEER_NEW && !p->closed && now_ms - p->since_mono_ms > LK_PEER_HELLO_MS) {
            lk_peer_close(p, "it said nothing");
        }
    }
}
