/* The stream between plugin and service: never waited for, begun anew whenever it breaks. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "mosquitto/socket.h"

#define PAUSE_FIRST_MS 100u
#define PAUSE_MAX_MS 2000u

void
lk_stream_init(struct lk_stream *s, const struct lk_plug_peer *peer)
{
    *s = (struct lk_stream){.peer = peer,
                            .fd = -1,
                            .pause_ms = PAUSE_FIRST_MS,
                            .out = {.max = LK_STREAM_OUT_MAX},
                            .held = {.max = LK_STREAM_HELD_MAX}};
}

void
lk_stream_fini(struct lk_stream *s)
{
    if (s->fd >= 0) {
        (void)close(s->fd);
        s->fd = -1;
    }
    lk_buf_fini(&s->in);
    lk_buf_fini(&s->out);
    lk_buf_fini(&s->held);
}

static void
stream_end(struct lk_stream *s, const struct lk_stream_events *events, const char *reason)
{
    bool was_welcome = s->welcome;

    (void)close(s->fd);
    s->fd = -1;
    s->welcome = false;
    lk_buf_reset(&s->in);
    lk_buf_reset(&s->out);
    s->next_try_ms = lk_clock_mono_ms(&lk_clock_system) + s->pause_ms;
    s->pause_ms = s->pause_ms * 2 < PAUSE_MAX_MS ? s->pause_ms * 2 : PAUSE_MAX_MS;
    if (was_welcome) {
        events->end(events->ctx, reason);
    }
}

static void
stream_begin(struct lk_stream *s)
{
    int64_t now_ms = lk_clock_mono_ms(&lk_clock_system);

    if (now_ms < s->next_try_ms) {
        return;
    }
    s->next_try_ms = now_ms + s->pause_ms;
    if ((s->fd = lk_plug_connect(s->peer->path)) < 0) {
        return;
    }
    if (lk_plug_hello(s->peer, LK_PLUG_STREAMS, s->mark, &s->out) != LK_OK) {
        (void)close(s->fd); /* out of memory: later */
        s->fd = -1;
        lk_buf_reset(&s->out);
    }
}

/* False when the peer is gone. */
static bool
stream_write(struct lk_stream *s)
{
    size_t done = 0;
    ssize_t sent = 0;

    while (done < s->out.len && sent >= 0) {
        sent = send(s->fd, s->out.data + done, s->out.len - done, MSG_NOSIGNAL);
        done += sent > 0 ? (size_t)sent : 0;
    }
    lk_buf_consume(&s->out, done);
    return sent >= 0 || errno == EAGAIN || errno == EINTR;
}

/* The service serves us: it is told all sessions, then what devices asked while it was away. */
static const char *
stream_welcome(struct lk_stream *s, const struct lk_stream_events *events,
               const struct lk_plug_msg *m)
{
    if (m->type != LK_PLUG_WELCOME || m->flags != LK_PLUG_OK) {
        s->pause_ms = PAUSE_MAX_MS;
        return "not welcome";
    }
    s->welcome = true;
    s->pause_ms = PAUSE_FIRST_MS;
    events->begin(events->ctx);
    if (lk_buf_put(&s->out, s->held.data, s->held.len) == LK_OK) {
        lk_buf_reset(&s->held);
    }
    return NULL;
}

static const char *
stream_take(struct lk_stream *s, const struct lk_stream_events *events)
{
    struct lk_reader r = lk_reader_of(s->in.data, s->in.len);
    struct lk_plug_msg m;
    const char *fault = NULL;
    enum lk_err err;

    while (fault == NULL && (err = lk_plug_read(&r, &m)) != LK_ERR_NOT_FOUND) {
        if (err != LK_OK) {
            return "not the protocol";
        }
        if (!s->welcome) {
            fault = stream_welcome(s, events, &m);
        } else if (m.type == LK_PLUG_MARK) {
            s->mark = m.number;
        } else {
            events->take(events->ctx, &m);
        }
    }
    lk_buf_consume(&s->in, s->in.len - r.left);
    return fault;
}

void
lk_stream_turn(struct lk_stream *s, const struct lk_stream_events *events)
{
    const char *fault = NULL;

    if (s->fd < 0) {
        stream_begin(s);
    }
    if (s->fd < 0) {
        return;
    }
    if (!stream_write(s) || lk_plug_receive(s->fd, &s->in) != LK_OK) {
        fault = "connection lost";
    }
    if (fault == NULL) {
        fault = stream_take(s, events);
    }
    if (fault == NULL && !stream_write(s)) {
        fault = "connection lost";
    }
    if (fault != NULL) {
        stream_end(s, events, fault);
    }
}

void
lk_stream_send(struct lk_stream *s, const struct lk_plug_msg *msg)
{
    struct lk_buf *to = s->welcome ? &s->out : &s->held;

    if (!s->welcome && msg->type != LK_PLUG_REQUEST) {
        return; /* what is to be known is told when the stream begins */
    }
    if (lk_plug_write(msg, to) != LK_OK && s->welcome) {
        /* The service does not read. All there is to know is told again when it does. */
        (void)shutdown(s->fd, SHUT_RDWR);
        s->welcome = false;
    }
}
