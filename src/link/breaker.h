/*
 * Whether a hub elsewhere is called at all: a circuit breaker. Time comes in as monotonic
 * milliseconds. Not thread-safe by itself.
 *
 *   closed     calls are made. LK_BREAKER_FAILURES in a row open it
 *   open       none is made, for a pause that doubles each time
 *   half open  the pause is over: one errand at a time tries; a success closes it, a failure opens
 *
 * A hub that asks for patience (429, 503 with Retry-After) is left alone for that long, which is no
 * failure.
 */
#ifndef LK_LINK_BREAKER_H
#define LK_LINK_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define LK_BREAKER_FAILURES 5u
#define LK_BREAKER_PAUSE_MS 2000
#define LK_BREAKER_PAUSE_MAX_MS 30000
#define LK_BREAKER_PATIENCE_MAX_MS 60000 /* longest Retry-After that is heeded */

enum lk_breaker_state { LK_BREAKER_CLOSED, LK_BREAKER_OPEN, LK_BREAKER_HALF_OPEN };

struct lk_breaker {
    unsigned failures;       /* in a row */
    bool opened;             /* and not closed since */
    int64_t pause_ms;        /* of the latest opening */
    int64_t until_mono_ms;   /* opened: end of the pause */
    int64_t patient_mono_ms; /* the hub asked not to be called before */
    unsigned running;        /* errands under way */
};

enum lk_breaker_state lk_breaker_state(const struct lk_breaker *b, int64_t now_mono_ms);

/* How many of the errands that are wanted may begin, when most may run at once. They count as
 * running until lk_breaker_release(). */
unsigned lk_breaker_reserve(struct lk_breaker *b, unsigned wanted, unsigned most,
                            int64_t now_mono_ms);
void lk_breaker_release(struct lk_breaker *b, unsigned count);

/* A call has ended. True when that has opened or closed the breaker. */
bool lk_breaker_success(struct lk_breaker *b);
bool lk_breaker_failure(struct lk_breaker *b, int64_t now_mono_ms);
void lk_breaker_patience(struct lk_breaker *b, uint32_t retry_after_s, int64_t now_mono_ms);

#endif
