#include "base/clock.h"

#include <time.h>

static int64_t
clock_ms(clockid_t id)
{
    struct timespec t = {0, 0};

    (void)clock_gettime(id, &t); /* both clocks always exist on Linux */
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t
system_unix_ms(void *ctx)
{
    (void)ctx;
    return clock_ms(CLOCK_REALTIME);
}

static int64_t
system_mono_ms(void *ctx)
{
    (void)ctx;
    return clock_ms(CLOCK_MONOTONIC);
}

const struct lk_clock lk_clock_system = {system_unix_ms, system_mono_ms, NULL};
