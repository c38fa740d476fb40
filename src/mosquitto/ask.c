/* Questions of the plugin: one frame out, one frame in, within a time. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "mosquitto/socket.h"

void
lk_asker_init(struct lk_asker *a, const struct lk_plug_peer *peer, uint32_t timeout_ms)
{
    *a = (struct lk_asker){.peer = peer, .timeout_ms = timeout_ms, .fd = -1};
}

static void
hang_up(struct lk_asker *a)
{
    if (a->fd >= 0) {
        (void)close(a->fd);
        a->fd = -1;
    }
    lk_buf_reset(&a->in);
    lk_buf_reset(&a->out);
}

void
lk_asker_fini(struct lk_asker *a)
{
    hang_up(a);
    lk_buf_fini(&a->in);
    lk_buf_fini(&a->out);
}

static enum lk_err
await(int fd, short events, int64_t deadline_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = deadline_ms - lk_clock_mono_ms(&lk_clock_system);
    int ready = left <= 0 ? 0 : poll(&p, 1, (int)left);

    if (ready < 0 && errno != EINTR) {
        return LK_ERR_NETWORK;
    }
    return ready == 0 ? LK_ERR_TIMEOUT : LK_OK;
}

/* Send what is in out. */
static enum lk_err
speak(struct lk_asker *a, int64_t deadline_ms)
{
    while (a->out.len > 0) {
        ssize_t sent = send(a->fd, a->out.data, a->out.len, MSG_NOSIGNAL);
        enum lk_err err = LK_OK;

        if (sent >= 0) {
            lk_buf_consume(&a->out, (size_t)sent);
        } else if (errno == EAGAIN || errno == EINTR) {
            err = await(a->fd, POLLOUT, deadline_ms);
        } else {
            err = LK_ERR_NETWORK;
        }
        if (err != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

/* The next frame, of that type; ret borrows from in. */
static enum lk_err
listen_for(struct lk_asker *a, enum lk_plug_type type, int64_t deadline_ms, struct lk_plug_msg *ret)
{
    for (;;) {
        struct lk_reader r = lk_reader_of(a->in.data, a->in.len);
        enum lk_err err = lk_plug_read(&r, ret);

        if (err == LK_OK) {
            /* One answer to one question: more would be the answer to another. */
            return ret->type == type && r.left == 0 ? LK_OK : LK_ERR_PROTOCOL;
        }
        if (err != LK_ERR_NOT_FOUND) {
            return LK_ERR_PROTOCOL;
        }
        if ((err = await(a->fd, POLLIN, deadline_ms)) != LK_OK ||
            (err = lk_plug_receive(a->fd, &a->in)) != LK_OK) {
            return err;
        }
    }
}

static enum lk_err
dial(struct lk_asker *a, int64_t deadline_ms)
{
    struct lk_plug_msg welcome;
    enum lk_err err;

    if ((a->fd = lk_plug_connect(a->peer->path)) < 0) {
        return LK_ERR_NETWORK;
    }
    if ((err = lk_plug_hello(a->peer, LK_PLUG_ASKS, 0, &a->out)) != LK_OK ||
        (err = speak(a, deadline_ms)) != LK_OK ||
        (err = listen_for(a, LK_PLUG_WELCOME, deadline_ms, &welcome)) != LK_OK) {
        return err;
    }
    return welcome.flags == LK_PLUG_OK ? LK_OK : LK_ERR_NETWORK;
}

static enum lk_err
exchange(struct lk_asker *a, const struct lk_plug_msg *question, int64_t deadline_ms,
         struct lk_plug_msg *ret)
{
    enum lk_err err = a->fd >= 0 ? LK_OK : dial(a, deadline_ms);

    if (err != LK_OK) {
        return err;
    }
    lk_buf_reset(&a->in);
    if ((err = lk_plug_write(question, &a->out)) != LK_OK ||
        (err = speak(a, deadline_ms)) != LK_OK) {
        return err;
    }
    return listen_for(a, LK_PLUG_VERDICT, deadline_ms, ret);
}

enum lk_err
lk_ask(struct lk_asker *a, const struct lk_plug_msg *question, struct lk_plug_msg *ret)
{
    int64_t now_ms = lk_clock_mono_ms(&lk_clock_system);
    bool was_open = a->fd >= 0;
    enum lk_err err;

    if (now_ms < a->rest_until_ms) {
        return LK_ERR_TIMEOUT;
    }
    err = exchange(a, question, now_ms + a->timeout_ms, ret);
    if (err == LK_ERR_NETWORK && was_open) { /* the service was started anew since */
        hang_up(a);
        err = exchange(a, question, now_ms + a->timeout_ms, ret);
    }
    if (err != LK_OK) {
        hang_up(a);
    }
    if (err == LK_ERR_TIMEOUT) {
        a->rest_until_ms = lk_clock_mono_ms(&lk_clock_system) + LK_ASK_REST_MS;
    }
    return err;
}
