/* Tests of src/link/breaker.c, by a clock of the test's own, and of the board above it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "link/board.h"

static int64_t now_ms;

static int64_t
clock_ms(void *ctx)
{
    return now_ms;
}

static const struct lk_clock stopped = {clock_ms, clock_ms, NULL};

/* One failure less than it takes leaves it closed, and a success in between starts the count anew.
 */
static void
opens_after_failures_in_a_row(void **state)
{
    struct lk_breaker b = {.failures = 0};

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 1; i < LK_BREAKER_FAILURES; i++) {
            assert_false(lk_breaker_failure(&b, 1000));
        }
        assert_int_equal(lk_breaker_state(&b, 1000), LK_BREAKER_CLOSED);
        assert_false(lk_breaker_success(&b));
    }
    for (unsigned i = 1; i < LK_BREAKER_FAILURES; i++) {
        assert_false(lk_breaker_failure(&b, 1000));
    }
    assert_true(lk_breaker_failure(&b, 1000));
    assert_int_equal(lk_breaker_state(&b, 1000), LK_BREAKER_OPEN);
    assert_int_equal(lk_breaker_reserve(&b, 16, 16, 1000), 0);
}

static void
open_it(struct lk_breaker *b, int64_t at_ms)
{
    for (unsigned i = 0; i < LK_BREAKER_FAILURES; i++) {
        (void)lk_breaker_failure(b, at_ms);
    }
}

/* After the pause one errand tries; its failure doubles the pause up to the longest. */
static void
half_open_lets_one_try(void **state)
{
    struct lk_breaker b = {.failures = 0};
    int64_t at = 0, pause = LK_BREAKER_PAUSE_MS;

    open_it(&b, at);
    for (unsigned i = 0; i < 8; i++) {
        at += pause - 1;
        assert_int_equal(lk_breaker_reserve(&b, 16, 16, at), 0);
        at++;
        assert_int_equal(lk_breaker_state(&b, at), LK_BREAKER_HALF_OPEN);
        assert_int_equal(lk_breaker_reserve(&b, 16, 16, at), 1);
        assert_int_equal(lk_breaker_reserve(&b, 16, 16, at), 0); /* it is still under way */
        assert_false(lk_breaker_failure(&b, at));                /* no news */
        lk_breaker_release(&b, 1);
        pause = pause * 2 < LK_BREAKER_PAUSE_MAX_MS ? pause * 2 : LK_BREAKER_PAUSE_MAX_MS;
    }
    at += pause;
    assert_int_equal(lk_breaker_reserve(&b, 16, 16, at), 1);
    assert_true(lk_breaker_success(&b));
    assert_int_equal(lk_breaker_state(&b, at), LK_BREAKER_CLOSED);
    assert_int_equal(lk_breaker_reserve(&b, 16, 16, at), 15);
    open_it(&b, at); /* from the shortest pause again */
    assert_int_equal(lk_breaker_state(&b, at + LK_BREAKER_PAUSE_MS), LK_BREAKER_HALF_OPEN);
}

/* What fails while it is open began before it was: the pause stays as it is. */
static void
late_failures_say_nothing(void **state)
{
    struct lk_breaker b = {.failures = 0};

    open_it(&b, 0);
    for (unsigned i = 0; i < 100; i++) {
        assert_false(lk_breaker_failure(&b, 10));
    }
    assert_int_equal(lk_breaker_state(&b, LK_BREAKER_PAUSE_MS), LK_BREAKER_HALF_OPEN);
}

/* No more at a time than may be, and no release takes it below nothing. */
static void
running_is_bounded(void **state)
{
    struct lk_breaker b = {.failures = 0};

    assert_int_equal(lk_breaker_reserve(&b, 0, 16, 0), 0);
    assert_int_equal(lk_breaker_reserve(&b, 10, 16, 0), 10);
    assert_int_equal(lk_breaker_reserve(&b, 10, 16, 0), 6);
    assert_int_equal(lk_breaker_reserve(&b, 10, 16, 0), 0);
    lk_breaker_release(&b, 1);
    assert_int_equal(lk_breaker_reserve(&b, 10, 16, 0), 1);
    lk_breaker_release(&b, 100);
    assert_int_equal(lk_breaker_reserve(&b, 100, 16, 0), 16);
}

/* Patience is heeded for as long as the hub asks, a minute at most, and never shortened. */
static void
patience(void **state)
{
    struct lk_breaker b = {.failures = 0};

    lk_breaker_patience(&b, 5, 0);
    lk_breaker_patience(&b, 1, 0);
    assert_int_equal(lk_breaker_reserve(&b, 1, 16, 4999), 0);
    assert_int_equal(lk_breaker_reserve(&b, 1, 16, 5000), 1);
    lk_breaker_patience(&b, UINT32_MAX, 10000);
    assert_int_equal(lk_breaker_reserve(&b, 1, 16, 10000 + LK_BREAKER_PATIENCE_MAX_MS - 1), 0);
    assert_int_equal(lk_breaker_reserve(&b, 1, 16, 10000 + LK_BREAKER_PATIENCE_MAX_MS), 1);
    assert_int_equal(lk_breaker_state(&b, 10000), LK_BREAKER_CLOSED);
}

/* Each hub has a breaker of its own; hubs that were used longest ago make room for others. */
static void
board(void **state)
{
    LK_AUTO(lk_hub_board) struct lk_hub_board *b = NULL;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char name[32];

    now_ms = 0;
    assert_int_equal(lk_hub_board_new(&stopped, 4, &b), LK_OK);
    assert_int_equal(lk_hub_board_metrics(b, &text), LK_OK);
    assert_int_equal(text.len, 0);
    assert_int_equal(lk_hub_board_reserve(b, "a.test", 9), 4);
    assert_int_equal(lk_hub_board_reserve(b, "b.test", 1), 1);
    for (unsigned i = 0; i < LK_BREAKER_FAILURES; i++) {
        lk_hub_board_report(b, "a.test", LK_HUB_UNREACHABLE, 0, "no route");
    }
    lk_hub_board_report(b, "b.test", LK_HUB_THROTTLED, 3, "");
    lk_hub_board_release(b, "a.test", 4);
    lk_hub_board_release(b, "b.test", 1);
    assert_int_equal(lk_hub_board_reserve(b, "a.test", 1), 0);
    assert_int_equal(lk_hub_board_reserve(b, "b.test", 1), 0);
    now_ms = 3000;
    assert_int_equal(lk_hub_board_reserve(b, "b.test", 1), 1);
    assert_int_equal(lk_hub_board_metrics(b, &text), LK_OK);
    assert_non_null(strstr(lk_buf_text(&text), "latchkey_hub_calls_total{hub=\"a.test\","
                                               "result=\"unreachable\"} 5\n"));
    assert_non_null(strstr(lk_buf_text(&text), "latchkey_hub_breaker_state{hub=\"a.test\"} 2\n"));
    assert_non_null(strstr(lk_buf_text(&text), "latchkey_hub_breaker_state{hub=\"b.test\"} 0\n"));
    assert_non_null(
        strstr(lk_buf_text(&text), "latchkey_hub_breaker_opened_total{hub=\"a.test\"} 1\n"));
    assert_non_null(strstr(lk_buf_text(&text), "latchkey_hub_errands_running{hub=\"b.test\"} 1\n"));
    for (unsigned i = 2; i < LK_BOARD_HUBS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "h%u.test", i);
        assert_int_equal(lk_hub_board_reserve(b, name, 1), 1);
    }
    /* All are in use: one more is not called, until one of them is done. */
    assert_int_equal(lk_hub_board_reserve(b, "one.too.many.test", 1), 1); /* for a.test */
    assert_int_equal(lk_hub_board_reserve(b, "another.test", 1), 0);
    lk_hub_board_report(b, "another.test", LK_HUB_ANSWERED, 0, "");
    lk_hub_board_release(b, "another.test", 1);
    lk_hub_board_release(b, "h7.test", 1);
    assert_int_equal(lk_hub_board_reserve(b, "another.test", 1), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_after_failures_in_a_row),
        cmocka_unit_test(half_open_lets_one_try),
        cmocka_unit_test(late_failures_say_nothing),
        cmocka_unit_test(running_is_bounded),
        cmocka_unit_test(patience),
        cmocka_unit_test(board),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
