/* Tests of src/device/backoff.c, on a clock that only sleeping moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "device/backoff.h"

static struct {
    int64_t now_ms;
    uint32_t slept_ms;      /* in all */
    uint32_t longest_ms;    /* of one sleep */
    uint32_t wake_early_ms; /* each sleep ends this much early, as a signal would do */
    int64_t cancel_at_ms;   /* 0: never */
} fake;

static int64_t
fake_now(void *ctx)
{
    return fake.now_ms;
}

static void
fake_sleep(void *ctx, uint32_t ms)
{
    uint32_t real_ms = ms > fake.wake_early_ms ? ms - fake.wake_early_ms : 1;

    fake.now_ms += real_ms;
    fake.slept_ms += real_ms;
    fake.longest_ms = ms > fake.longest_ms ? ms : fake.longest_ms;
}

static int
fake_cancelled(void *ctx)
{
    return fake.cancel_at_ms != 0 && fake.now_ms >= fake.cancel_at_ms;
}

static const struct lk_clock fake_clock = {fake_now, fake_now, NULL};

/* A waiter with ten seconds left. */
static struct lk_waiter
waiter(void)
{
    memset(&fake, 0, sizeof(fake));
    fake.now_ms = 1000;
    return (struct lk_waiter){.clock = &fake_clock,
                              .deadline_mono_ms = 11000,
                              .is_cancelled = fake_cancelled,
                              .sleep_ms = fake_sleep};
}

/* The deadline itself is past. */
static void
check_at_the_deadline(void **state)
{
    struct lk_waiter w = waiter();

    fake.now_ms = 10999;
    assert_int_equal(lk_waiter_check(&w), LK_OK);
    assert_int_equal(lk_waiter_left_ms(&w), 1);
    fake.now_ms = 11000;
    assert_int_equal(lk_waiter_check(&w), LK_ERR_TIMEOUT);
    assert_int_equal(lk_waiter_left_ms(&w), 0);
    fake.now_ms = 999999;
    assert_int_equal(lk_waiter_check(&w), LK_ERR_TIMEOUT);
    assert_int_equal(lk_waiter_left_ms(&w), 0);
}

/* Either way to cancel counts, and before the deadline does. */
static void
check_cancelled(void **state)
{
    struct lk_waiter w = waiter();
    volatile int flag = 1;

    fake.now_ms = 11000;
    w.cancel_flag = &flag;
    assert_int_equal(lk_waiter_check(&w), LK_ERR_CANCELLED);
    flag = 0;
    assert_int_equal(lk_waiter_check(&w), LK_ERR_TIMEOUT);
    fake.cancel_at_ms = 1;
    assert_int_equal(lk_waiter_check(&w), LK_ERR_CANCELLED);
    w.is_cancelled = NULL;
    w.cancel_flag = NULL;
    assert_int_equal(lk_waiter_check(&w), LK_ERR_TIMEOUT);
}

/* A pause takes its time in short slices, and no time at all when it is nothing. */
static void
pause_in_slices(void **state)
{
    struct lk_waiter w = waiter();

    assert_int_equal(lk_waiter_pause(&w, 0), LK_OK);
    assert_int_equal(fake.slept_ms, 0);
    assert_int_equal(lk_waiter_pause(&w, 2345), LK_OK);
    assert_int_equal(fake.slept_ms, 2345);
    assert_int_equal(fake.longest_ms, LK_WAIT_SLICE_MS);
}

/* Sleeps that end early do not shorten the pause. */
static void
pause_survives_signals(void **state)
{
    struct lk_waiter w = waiter();

    fake.wake_early_ms = 70;
    assert_int_equal(lk_waiter_pause(&w, 1000), LK_OK);
    assert_int_equal(fake.slept_ms, 1000);
}

/* A pause that would end at the deadline is refused at once; one that ends before it is not. */
static void
pause_past_the_deadline(void **state)
{
    struct lk_waiter w = waiter();

    assert_int_equal(lk_waiter_pause(&w, 10000), LK_ERR_TIMEOUT);
    assert_int_equal(lk_waiter_pause(&w, UINT32_MAX), LK_ERR_TIMEOUT);
    assert_int_equal(fake.slept_ms, 0);
    assert_int_equal(lk_waiter_pause(&w, 9999), LK_OK);
    assert_int_equal(fake.slept_ms, 9999);
}

/* A cancellation ends the pause within one slice, and prevents it when it came before. */
static void
pause_cancelled(void **state)
{
    struct lk_waiter w = waiter();

    fake.cancel_at_ms = 1550;
    assert_int_equal(lk_waiter_pause(&w, 5000), LK_ERR_CANCELLED);
    assert_in_range(fake.now_ms, 1550, 1550 + LK_WAIT_SLICE_MS);
    fake.slept_ms = 0;
    assert_int_equal(lk_waiter_pause(&w, 5000), LK_ERR_CANCELLED);
    assert_int_equal(fake.slept_ms, 0);
}

static enum lk_err
fill_with(void *ctx, void *buf, size_t len)
{
    memset(buf, *(const int *)ctx, len);
    return LK_OK;
}

static enum lk_err
failing_fill(void *ctx, void *buf, size_t len)
{
    return LK_ERR_CRYPTO;
}

/* The lowest draw is always the smallest pause: full jitter. */
static void
backoff_lowest(void **state)
{
    int zero = 0;
    const struct lk_rand rnd = {fill_with, &zero};
    struct lk_backoff b = {0};
    uint32_t ms = 0;

    for (int i = 0; i < 20; i++) {
        assert_int_equal(lk_backoff_next(&b, &rnd, &ms), LK_OK);
        assert_int_equal(ms, LK_BACKOFF_MIN_MS);
    }
}

/* Pauses stay between the minimum and a ceiling that doubles up to the cap, and come near to both
 * (a thousand draws miss a tenth of the range once in 10^45). */
static void
backoff_range(void **state)
{
    static const uint32_t ceilings[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};

    for (unsigned n = 0; n < LK_ARRAY_LEN(ceilings); n++) {
        uint32_t lowest = UINT32_MAX, highest = 0;

        for (int i = 0; i < 1000; i++) {
            struct lk_backoff b = {.attempt = n};
            uint32_t ms = 0;

            assert_int_equal(lk_backoff_next(&b, &lk_rand_system, &ms), LK_OK);
            assert_int_equal(b.attempt, n + 1);
            assert_in_range(ms, LK_BACKOFF_MIN_MS, ceilings[n]);
            lowest = ms < lowest ? ms : lowest;
            highest = ms > highest ? ms : highest;
        }
        assert_in_range(lowest, 0, LK_BACKOFF_MIN_MS + ceilings[n] / 10);
        assert_in_range(highest, ceilings[n] - ceilings[n] / 10, ceilings[n]);
    }
}

/* After very many attempts the pause is still one of the cap's. */
static void
backoff_never_wraps(void **state)
{
    struct lk_backoff b = {.attempt = 1u << 31};
    uint32_t ms = 0;

    assert_int_equal(lk_backoff_next(&b, &lk_rand_system, &ms), LK_OK);
    assert_in_range(ms, LK_BACKOFF_MIN_MS, LK_BACKOFF_CAP_MS);
}

/* Without randomness there is no pause to give, and the attempt does not count. */
static void
backoff_without_randomness(void **state)
{
    const struct lk_rand rnd = {failing_fill, NULL};
    struct lk_backoff b = {.attempt = 3};
    uint32_t ms = 7;

    assert_int_equal(lk_backoff_next(&b, &rnd, &ms), LK_ERR_CRYPTO);
    assert_int_equal(ms, 7);
    assert_int_equal(b.attempt, 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_at_the_deadline),   cmocka_unit_test(check_cancelled),
        cmocka_unit_test(pause_in_slices),         cmocka_unit_test(pause_survives_signals),
        cmocka_unit_test(pause_past_the_deadline), cmocka_unit_test(pause_cancelled),
        cmocka_unit_test(backoff_lowest),          cmocka_unit_test(backoff_range),
        cmocka_unit_test(backoff_never_wraps),     cmocka_unit_test(backoff_without_randomness),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
