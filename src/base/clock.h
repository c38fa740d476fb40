/* Time comes in as a parameter: tests hand over a clock of their own. */
#ifndef LK_BASE_CLOCK_H
#define LK_BASE_CLOCK_H

#include <stdint.h>

struct lk_clock {
    int64_t (*unix_ms)(void *ctx); /* wall clock, milliseconds since 1970 UTC */
    int64_t (*mono_ms)(void *ctx); /* monotonic, milliseconds since an arbitrary start */
    void *ctx;                     /* borrowed, handed to both; any thread may call them */
};

/* The machine's own clocks. Static storage. */
extern const struct lk_clock lk_clock_system;

static inline int64_t
lk_clock_unix_ms(const struct lk_clock *c)
{
    return c->unix_ms(c->ctx);
}

static inline int64_t
lk_clock_mono_ms(const struct lk_clock *c)
{
    return c->mono_ms(c->ctx);
}

#endif
