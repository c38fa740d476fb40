#include "net/loop_int.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/log.h"

struct post {
    struct post *next;
    void (*fn)(void *ctx);
    void *ctx;
};

/* Only posts, their lock, stopping and wake_fd are touched by other threads, so libevent itself
 * runs without locks. */
struct lk_loop {
    struct event_base *base;
    struct event *wake;
    int wake_fd; /* eventfd */
    atomic_bool stopping;
    pthread_mutex_t lock;
    struct post *posts; /* in order, guarded by lock */
    struct post **posts_end;
};

struct lk_timer {
    struct event *ev;
    void (*fn)(void *ctx);
    void *ctx;
};

struct lk_watch {
    struct event *ev;
    void (*fn)(void *ctx);
    void *ctx;
};

struct event_base *
lk_loop_base(struct lk_loop *loop)
{
    return loop->base;
}

static struct post *
posts_take(struct lk_loop *loop)
{
    struct post *all;

    (void)pthread_mutex_lock(&loop->lock);
    all = loop->posts;
    loop->posts = NULL;
    loop->posts_end = &loop->posts;
    (void)pthread_mutex_unlock(&loop->lock);
    return all;
}

static void
posts_run(struct lk_loop *loop)
{
    struct post *next;

    for (struct post *p = posts_take(loop); p != NULL; p = next) {
        next = p->next;
        p->fn(p->ctx);
        free(p);
    }
}

static void
wake_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct lk_loop *loop = ctx;
    uint64_t count;

    (void)!read(loop->wake_fd, &count, sizeof(count)); /* empty when another wake was first */
    posts_run(loop);
    if (atomic_load(&loop->stopping)) {
        (void)event_base_loopbreak(loop->base);
    }
}

static void
wake(struct lk_loop *loop)
{
    const uint64_t one = 1;

    (void)!write(loop->wake_fd, &one, sizeof(one)); /* full means that a wake is due anyway */
}

/* libevent's own complaints go where ours go. */
static void
complain(int severity, const char *text)
{
    if (severity >= EVENT_LOG_WARN) {
        lk_log(LK_LOG_WARNING, "net.libevent", LK_F_TEXT("message", text));
    }
}

static struct event_base *
base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0) {
        base = event_base_new_with_config(config);
    }
    if (config != NULL) {
        event_config_free(config);
    }
    return base;
}

enum lk_err
lk_loop_new(struct lk_loop **ret)
{
    LK_AUTO(lk_loop) struct lk_loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL) {
        return LK_ERR_NOMEM;
    }
    if (pthread_mutex_init(&loop->lock, NULL) != 0) {
        free(loop);
        loop = NULL;
        return LK_ERR_NOMEM;
    }
    loop->posts_end = &loop->posts;
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        return LK_ERR_IO;
    }
    event_set_log_callback(complain);
    (void)signal(SIGPIPE, SIG_IGN); /* a write to a closed socket is an error code, not a death */
    loop->base = base_new();
    loop->wake = loop->base == NULL
                     ? NULL
                     : event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, wake_cb, loop);
    if (loop->wake == NULL || event_add(loop->wake, NULL) != 0) {
        return LK_ERR_NOMEM;
    }
    *ret = lk_loop_take(&loop);
    return LK_OK;
}

void
lk_loop_free(struct lk_loop *loop)
{
    struct post *next;

    if (loop == NULL) {
        return;
    }
    for (struct post *p = posts_take(loop); p != NULL; p = next) {
        next = p->next;
        free(p);
    }
    if (loop->wake != NULL) {
        event_free(loop->wake);
    }
    if (loop->base != NULL) {
        event_base_free(loop->base);
    }
    if (loop->wake_fd >= 0) {
        (void)close(loop->wake_fd);
    }
    (void)pthread_mutex_destroy(&loop->lock);
    free(loop);
}

enum lk_err
lk_loop_run(struct lk_loop *loop)
{
    int n = event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);

    atomic_store(&loop->stopping, false);
    posts_run(loop); /* what was handed over before the stop is still done */
    return n < 0 ? LK_ERR_IO : LK_OK;
}

void
lk_loop_stop(struct lk_loop *loop)
{
    atomic_store(&loop->stopping, true);
    wake(loop);
}

enum lk_err
lk_loop_post(struct lk_loop *loop, void (*fn)(void *ctx), void *ctx)
{
    struct post *p = malloc(sizeof(*p));
    bool was_empty;

    if (p == NULL) {
        return LK_ERR_NOMEM;
    }
    *p = (struct post){.fn = fn, .ctx = ctx};
    (void)pthread_mutex_lock(&loop->lock);
    was_empty = loop->posts == NULL;
    *loop->posts_end = p;
    loop->posts_end = &p->next;
    (void)pthread_mutex_unlock(&loop->lock);
    if (was_empty) {
        wake(loop);
    }
    return LK_OK;
}

/* ---- timers -----------------------------------------------------------------------------------
 */

static void
timer_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct lk_timer *t = ctx;

    t->fn(t->ctx);
}

enum lk_err
lk_timer_new(struct lk_loop *loop, void (*fn)(void *ctx), void *ctx, struct lk_timer **ret)
{
    struct lk_timer *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        return LK_ERR_NOMEM;
    }
    *t = (struct lk_timer){.fn = fn, .ctx = ctx};
    t->ev = event_new(loop->base, -1, 0, timer_cb, t);
    if (t->ev == NULL) {
        free(t);
        return LK_ERR_NOMEM;
    }
    *ret = t;
    return LK_OK;
}

void
lk_timer_arm(struct lk_timer *t, uint32_t delay_ms)
{
    const struct timeval delay = {.tv_sec = delay_ms / 1000,
                                  .tv_usec = (suseconds_t)(delay_ms % 1000) * 1000};

    if (event_add(t->ev, &delay) != 0) {
        /* The heap of timers could not grow: late is impossible, so early. */
        event_active(t->ev, EV_TIMEOUT, 1);
    }
}

void
lk_timer_disarm(struct lk_timer *t)
{
    (void)event_del(t->ev);
}

void
lk_timer_free(struct lk_timer *t)
{
    if (t != NULL) {
        event_free(t->ev);
        free(t);
    }
}

/* ---- descriptors and signals ------------------------------------------------------------------
 */

static void
watch_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct lk_watch *w = ctx;

    w->fn(w->ctx);
}

static enum lk_err
watch_new(struct lk_loop *loop, int fd, short what, void (*fn)(void *ctx), void *ctx,
          struct lk_watch **ret)
{
    LK_AUTO(lk_watch) struct lk_watch *w = calloc(1, sizeof(*w));

    if (w == NULL) {
        return LK_ERR_NOMEM;
    }
    w->fn = fn;
    w->ctx = ctx;
    w->ev = event_new(loop->base, fd, what, watch_cb, w);
    if (w->ev == NULL) {
        return LK_ERR_NOMEM;
    }
    if (event_add(w->ev, NULL) != 0) {
        return LK_ERR_IO;
    }
    *ret = lk_watch_take(&w);
    return LK_OK;
}

enum lk_err
lk_watch_new(struct lk_loop *loop, int fd, void (*fn)(void *ctx), void *ctx, struct lk_watch **ret)
{
    return watch_new(loop, fd, EV_READ | EV_PERSIST, fn, ctx, ret);
}

enum lk_err
lk_watch_wait(struct lk_watch *w, bool readable, bool writable)
{
    struct event_base *base = event_get_base(w->ev);
    int fd = event_get_fd(w->ev);
    int what = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);

    (void)event_del(w->ev); /* it can only fail for one that was never assigned */
    if (what == 0) {
        return LK_OK;
    }
    if (event_assign(w->ev, base, fd, (short)(what | EV_PERSIST), watch_cb, w) != 0 ||
        event_add(w->ev, NULL) != 0) {
        return LK_ERR_IO;
    }
    return LK_OK;
}

enum lk_err
lk_watch_signal(struct lk_loop *loop, int signo, void (*fn)(void *ctx), void *ctx,
                struct lk_watch **ret)
{
    return watch_new(loop, signo, EV_SIGNAL | EV_PERSIST, fn, ctx, ret);
}

void
lk_watch_free(struct lk_watch *w)
{
    if (w == NULL) {
        return;
    }
    if (w->ev != NULL) {
        event_free(w->ev);
    }
    free(w);
}
