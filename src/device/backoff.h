/* Waiting: until when, how long, and how to stop. */
#ifndef LK_DEVICE_BACKOFF_H
#define LK_DEVICE_BACKOFF_H

#include "base/clock.h"
#include "crypto/crypto.h"

/*
 * One deadline and the ways to cancel before it. Everything is borrowed. A test hands over a clock
 * of its own and a sleep that moves it.
 */
struct lk_waiter {
    const struct lk_clock *clock;
    int64_t deadline_mono_ms;                 /* on the clock's monotonic scale */
    const volatile int *cancel_flag;          /* may be NULL */
    int (*is_cancelled)(void *ctx);           /* may be NULL */
    void *ctx;                                /* handed to is_cancelled */
    void (*sleep_ms)(void *ctx, uint32_t ms); /* NULL sleeps for real */
    void *sleep_ctx;
};

/* The longest that a cancellation goes unnoticed while waiting, milliseconds. */
#define LK_WAIT_SLICE_MS 100u

/* LK_OK to go on, LK_ERR_CANCELLED, or LK_ERR_TIMEOUT past the deadline. */
LK_MUST_CHECK enum lk_err lk_waiter_check(const struct lk_waiter *w);

/* Milliseconds to the deadline; 0 when it has passed. */
int64_t lk_waiter_left_ms(const struct lk_waiter *w);

/*
 * Wait for ms, or less: a pause that would end past the deadline is LK_ERR_TIMEOUT at once, since
 * nothing could follow it.
 */
LK_MUST_CHECK enum lk_err lk_waiter_pause(const struct lk_waiter *w, uint32_t ms);

/*
 * Exponential back-off with full jitter: the n-th pause is uniform between LK_BACKOFF_MIN_MS and
 * base * 2^n, which stops growing at the cap, so that a fleet that lost its server together does
 * not come back together. Zero it to begin, and again after a success.
 */
struct lk_backoff {
    unsigned attempt; /* pauses so far */
};

#define LK_BACKOFF_MIN_MS 100u
#define LK_BACKOFF_BASE_MS 1000u
#define LK_BACKOFF_CAP_MS 60000u

/* The next pause in milliseconds. */
LK_MUST_CHECK enum lk_err lk_backoff_next(struct lk_backoff *b, const struct lk_rand *rnd,
                                          uint32_t *ret_ms);

#endif
