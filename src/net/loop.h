/*
 * An event loop: timers, descriptors and wake-ups from other threads, over libevent. A loop belongs
 * to one thread; only lk_loop_stop() and lk_loop_post() may be called from others. Timers and
 * watches are freed before their loop, and may be freed from their own callback.
 */
#ifndef LK_NET_LOOP_H
#define LK_NET_LOOP_H

#include "base/buf.h"

struct lk_loop;
struct lk_timer;
struct lk_watch;

/* The process ignores SIGPIPE from then on. LK_ERR_NOMEM, LK_ERR_IO. */
LK_MUST_CHECK enum lk_err lk_loop_new(struct lk_loop **ret);
/* Posts that never ran are dropped. */
void lk_loop_free(struct lk_loop *loop);
LK_DEFINE_AUTO(struct lk_loop, lk_loop, lk_loop_free);

/* Run until lk_loop_stop(); what was posted before that is run first. It may be run again. */
LK_MUST_CHECK enum lk_err lk_loop_run(struct lk_loop *loop);

/* Ask the loop to return from lk_loop_run(). Any thread; async-signal-safe it is not. */
void lk_loop_stop(struct lk_loop *loop);

/* Run fn(ctx) on the loop's thread soon. Any thread. LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err lk_loop_post(struct lk_loop *loop, void (*fn)(void *ctx), void *ctx);

/* One-shot timer on the loop's own thread; it may be armed again from its callback. */
LK_MUST_CHECK enum lk_err lk_timer_new(struct lk_loop *loop, void (*fn)(void *ctx), void *ctx,
                                       struct lk_timer **ret);
void lk_timer_arm(struct lk_timer *t, uint32_t delay_ms);
void lk_timer_disarm(struct lk_timer *t);
void lk_timer_free(struct lk_timer *t);
LK_DEFINE_AUTO(struct lk_timer, lk_timer, lk_timer_free);

/* Call fn(ctx) on the loop's thread whenever fd is readable. fd is borrowed until lk_watch_free().
 */
LK_MUST_CHECK enum lk_err lk_watch_new(struct lk_loop *loop, int fd, void (*fn)(void *ctx),
                                       void *ctx, struct lk_watch **ret);
/* From now on call fn when fd is readable, or writable, or either; both false: not at all. */
LK_MUST_CHECK enum lk_err lk_watch_wait(struct lk_watch *w, bool readable, bool writable);
void lk_watch_free(struct lk_watch *w);
LK_DEFINE_AUTO(struct lk_watch, lk_watch, lk_watch_free);

/* Call fn(ctx) on the loop's thread when the process gets signo. One loop of a process only. */
LK_MUST_CHECK enum lk_err lk_watch_signal(struct lk_loop *loop, int signo, void (*fn)(void *ctx),
                                          void *ctx, struct lk_watch **ret);

#endif
