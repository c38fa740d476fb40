/* Tests of src/net/loop.c. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/loop.h"

static int64_t
mono_ms(void)
{
    struct timespec ts;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct log {
    struct lk_loop *loop;
    struct lk_timer *timer;
    struct lk_watch *watch;
    unsigned seen[8];
    unsigned seen_count;
    unsigned times;
    int fds[2];
};

struct note {
    struct log *log;
    unsigned number;
};

static void
note_cb(void *ctx)
{
    const struct note *note = ctx;

    note->log->seen[note->log->seen_count++] = note->number;
}

static void
stop_cb(void *ctx)
{
    struct log *log = ctx;

    lk_loop_stop(log->loop);
}

/* A stop before the run, and one with nothing else to do, end the run; it can be run again. */
static void
stop_ends_the_run(void **state)
{
    struct log log = {0};

    assert_int_equal(lk_loop_new(&log.loop), LK_OK);
    lk_loop_stop(log.loop);
    assert_int_equal(lk_loop_run(log.loop), LK_OK);
    assert_int_equal(lk_loop_post(log.loop, stop_cb, &log), LK_OK);
    assert_int_equal(lk_loop_run(log.loop), LK_OK);
    lk_loop_free(log.loop);
}

/* Posts run in order, also those made just before the stop; what never ran is not leaked. */
static void
posts_in_order(void **state)
{
    struct log log = {0};
    struct note notes[3];

    assert_int_equal(lk_loop_new(&log.loop), LK_OK);
    for (unsigned i = 0; i < 3; i++) {
        notes[i] = (struct note){&log, i};
        assert_int_equal(lk_loop_post(log.loop, note_cb, &notes[i]), LK_OK);
    }
    lk_loop_stop(log.loop);
    assert_int_equal(lk_loop_run(log.loop), LK_OK);
    assert_int_equal(log.seen_count, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(log.seen[i], i);
    }
    assert_int_equal(lk_loop_post(log.loop, note_cb, &notes[0]), LK_OK);
    lk_loop_free(log.loop);
    assert_int_equal(log.seen_count, 3);
}

enum { POSTS_EACH = 20000, THREADS = 3 };

struct poster {
    struct log *log;
    pthread_t thread;
};

static void
times_cb(void *ctx)
{
    struct log *log = ctx;

    if (++log->times == POSTS_EACH * THREADS) {
        lk_loop_stop(log->loop);
    }
}

static void *
post_many(void *ctx)
{
    struct poster *poster = ctx;

    for (unsigned i = 0; i < POSTS_EACH; i++) {
        assert_int_equal(lk_loop_post(poster->log->loop, times_cb, poster->log), LK_OK);
    }
    return NULL;
}

/* Posts from several threads at once all arrive. */
static void
posts_from_threads(void **state)
{
    struct log log = {0};
    struct poster posters[THREADS];

    assert_int_equal(lk_loop_new(&log.loop), LK_OK);
    for (size_t i = 0; i < THREADS; i++) {
        posters[i].log = &log;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    assert_int_equal(lk_loop_run(log.loop), LK_OK);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
    }
    assert_int_equal(log.times, POSTS_EACH * THREADS);
    lk_loop_free(log.loop);
}

static void
again_cb(void *ctx)
{
    struct log *log = ctx;

    if (++log->times < 3) {
        lk_timer_arm(log->timer, 10);
    } else {
        lk_loop_stop(log->loop);
    }
}

/* A timer fires once for each arming, not early, and may arm itself. */
static void
timer_arms_itself(void **state)
{
    struct log log = {0};
    int64_t start_ms = mono_ms();

    assert_int_equal(lk_loop_new(&log.loop), LK_OK);
    assert_int_equal(lk_timer_new(log.loop, again_cb, &log, &log.timer), LK_OK);
    lk_timer_arm(log.timer, 30);
    assert_int_equal(lk_loop_run(log.loop), LK_OK);
    assert_int_equal(log.times, 3);
    assert_true(mono_ms() - start_ms >= 40); /* the loop's clock ticks every 4 ms */
    lk_timer_free(log.timer);
    lk_loop_free(log.loop);
}

static void
free_timer_cb(void *ctx)
{
    struct log *log = ctx;

    lk_timer_free(log->timer);
    log->timer = NULL;
    lk_loop_stop(log->loop);
}

/* A disarmed timer stays silent; arming again moves the deadline; a callback may free its timer. */
static void
timer_disarmed_and_freed(void **state)
{
    struct log log = {0};
    struct lk_timer *silent = NULL, *moved = NULL;
    struct note note = {&log, 1};

    assert_int_equal(lk_loop_new(&log.loop), LK_OK);
    assert_int_equal(lk_timer_new(log.loop, note_cb, &note, &silent), LK_OK);
    assert_int_equal(lk_timer_new(log.loop, note_cb, &note, &moved), LK_OK);
    assert_int_equal(lk_timer_new(log.loop, free_timer_cb, &log, &log.timer), LK_OK);
    lk_timer_arm(silent, 5);
    lk_timer_disarm(silent);
    lk_timer_arm(moved, 5);
    lk_timer_arm(moved, 60000);
    lk_timer_arm(log.timer, 50);
    assert_int_equal(lk_loop_run(log.loop), LK_OK);
    assert_int_equal(log.seen_count, 0);
    assert_null(log.timer);
    lk_timer_free(silent);
    lk_timer_free(moved);
    lk_loop_free(log.loop);
}

static void
readable_cb(void *ctx)
{
    struct log *log = ctx;
    char byte;

    assert_int_equal(read(log->fds[0], &byte, 1), 1);
    if (++log->times == 2) {
        lk_watch_free(log->watch);
        lk_loop_stop(log->loop);
    }
}

/* A watch calls for as long as there is something to read, and may be freed from its callback. */
static void
watch_until_read(void **state)
{
    struct log log = {0};

    assert_int_equal(lk_loop_new(&log.loop), LK_OK);
    assert_int_equal(pipe(log.fds), 0);
    assert_int_equal(lk_watch_new(log.loop, log.fds[0], readable_cb, &log, &log.watch), LK_OK);
    assert_int_equal(write(log.fds[1], "ab", 2), 2);
    assert_int_equal(lk_loop_run(log.loop), LK_OK);
    assert_int_equal(log.times, 2);
    assert_int_equal(close(log.fds[0]), 0);
    assert_int_equal(close(log.fds[1]), 0);
    lk_loop_free(log.loop);
}

/* A descriptor that cannot be watched is an error, not a silence. */
static void
watch_of_nothing(void **state)
{
    struct log log = {0};

    assert_int_equal(lk_loop_new(&log.loop), LK_OK);
    assert_int_equal(lk_watch_new(log.loop, 1000000, readable_cb, &log, &log.watch), LK_ERR_IO);
    assert_null(log.watch);
    lk_loop_free(log.loop);
}

/* A signal arrives as a callback. */
static void
signal_calls(void **state)
{
    struct log log = {0};

    assert_int_equal(lk_loop_new(&log.loop), LK_OK);
    assert_int_equal(lk_watch_signal(log.loop, SIGUSR1, stop_cb, &log, &log.watch), LK_OK);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(lk_loop_run(log.loop), LK_OK);
    lk_watch_free(log.watch);
    lk_loop_free(log.loop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stop_ends_the_run),        cmocka_unit_test(posts_in_order),
        cmocka_unit_test(posts_from_threads),       cmocka_unit_test(timer_arms_itself),
        cmocka_unit_test(timer_disarmed_and_freed), cmocka_unit_test(watch_until_read),
        cmocka_unit_test(watch_of_nothing),         cmocka_unit_test(signal_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
