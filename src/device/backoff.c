/* Waiting with a deadline, and how long to wait after a failure. */
#include "device/backoff.h"

#include <time.h>

int64_t
lk_waiter_left_ms(const struct lk_waiter *w)
{
    int64_t left = w->deadline_mono_ms - lk_clock_mono_ms(w->clock);

    return left > 0 ? left : 0;
}

enum lk_err
lk_waiter_check(const struct lk_waiter *w)
{
    if ((w->cancel_flag != NULL && *w->cancel_flag != 0) ||
        (w->is_cancelled != NULL && w->is_cancelled(w->ctx) != 0)) {
        return LK_ERR_CANCELLED;
    }
    return lk_waiter_left_ms(w) == 0 ? LK_ERR_TIMEOUT : LK_OK;
}

static void
sleep_for(const struct lk_waiter *w, uint32_t ms)
{
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000l};

    if (w->sleep_ms != NULL) {
        w->sleep_ms(w->sleep_ctx, ms);
        return;
    }
    (void)nanosleep(&t, NULL); /* a signal ends the slice early, and the loop looks again */
}

enum lk_err
lk_waiter_pause(const struct lk_waiter *w, uint32_t ms)
{
    int64_t end = lk_clock_mono_ms(w->clock) + ms;
    int64_t left;
    enum lk_err err;

    if ((err = lk_waiter_check(w)) != LK_OK) {
        return err;
    }
    if (end >= w->deadline_mono_ms) {
        return LK_ERR_TIMEOUT;
    }
    while ((left = end - lk_clock_mono_ms(w->clock)) > 0) {
        sleep_for(w, left < LK_WAIT_SLICE_MS ? (uint32_t)left : LK_WAIT_SLICE_MS);
        if ((err = lk_waiter_check(w)) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

enum lk_err
lk_backoff_next(struct lk_backoff *b, const struct lk_rand *rnd, uint32_t *ret_ms)
{
    uint32_t ceiling = LK_BACKOFF_CAP_MS;
    uint32_t random;
    enum lk_err err;

    if (b->attempt < 6) { /* 2^6 seconds are past the cap */
        ceiling = LK_BACKOFF_BASE_MS << b->attempt;
    }
    if ((err = lk_rand_fill(rnd, &random, sizeof(random))) != LK_OK) {
        return err;
    }
    b->attempt++;
    /* The modulus's bias is below one in 70,000. */
    *ret_ms = LK_BACKOFF_MIN_MS + random % (ceiling - LK_BACKOFF_MIN_MS + 1);
    return LK_OK;
}
