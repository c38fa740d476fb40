/* Tests of src/base/metrics.c. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"

static size_t
count_of(const char *text, const char *part)
{
    size_t n = 0;

    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) {
        n++;
    }
    return n;
}

/* A gauge goes up and down, and others stay where they are. */
static void
adds(void **state)
{
    lk_metric_add(LK_M_HTTP_CONNECTIONS_OPEN, 3);
    lk_metric_add(LK_M_HTTP_CONNECTIONS_OPEN, -1);
    assert_int_equal(lk_metric_get(LK_M_HTTP_CONNECTIONS_OPEN), 2);
    assert_int_equal(lk_metric_get(LK_M_HTTP_CONNECTIONS_ACCEPTED), 0);
}

static void *
count_many(void *arg)
{
    for (int i = 0; i < 100000; i++) {
        lk_metric_add(LK_M_REG_POLLS, 1);
    }
    return arg;
}

/* Nothing is lost between threads. */
static void
counts_from_many_threads(void **state)
{
    pthread_t threads[4];

    for (size_t i = 0; i < LK_ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, NULL), 0);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(lk_metric_get(LK_M_REG_POLLS), 400000);
}

/* Every line is a comment, or a name with a value; each name has its help and type once, before. */
static void
exposition_is_well_formed(void **state)
{
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    const char *text, *line;
    size_t types = 0;

    assert_int_equal(lk_metrics_write(&out), LK_OK);
    text = lk_buf_text(&out);
    assert_int_equal(text[out.len - 1], '\n');
    for (line = text; *line != 0; line = strchr(line, '\n') + 1) {
        types += strncmp(line, "# TYPE ", 7) == 0;
        assert_true(strncmp(line, "# HELP latchkey_", 16) == 0 ||
                    strncmp(line, "# TYPE latchkey_", 16) == 0 ||
                    strncmp(line, "latchkey_", 9) == 0);
    }
    assert_int_equal(types, count_of(text, "# HELP "));
    assert_int_equal(count_of(text, "# TYPE latchkey_registrations_total counter\n"), 1);
    assert_int_equal(count_of(text, "\nlatchkey_registrations_total{result=\""), 4);
    assert_int_equal(count_of(text, "\nlatchkey_http_connections_open 2\n"), 1);
    assert_int_equal(count_of(text, "\nlatchkey_registration_polls_total 400000\n"), 1);
}

/* Buckets are cumulative, their bounds inclusive and in seconds; the sum is exact. */
static void
histogram_in_seconds(void **state)
{
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    const char *text;

    lk_histogram_observe_us(LK_H_REQUEST_US, 0);
    lk_histogram_observe_us(LK_H_REQUEST_US, 1000);
    lk_histogram_observe_us(LK_H_REQUEST_US, 1001);
    lk_histogram_observe_us(LK_H_REQUEST_US, 60000000);
    assert_int_equal(lk_metrics_write(&out), LK_OK);
    text = lk_buf_text(&out);
    assert_non_null(strstr(text, "\n# TYPE latchkey_request_seconds histogram\n"));
    assert_non_null(strstr(text, "\nlatchkey_request_seconds_bucket{le=\"0.0005\"} 1\n"));
    assert_non_null(strstr(text, "\nlatchkey_request_seconds_bucket{le=\"0.001\"} 2\n"));
    assert_non_null(strstr(text, "\nlatchkey_request_seconds_bucket{le=\"0.0025\"} 3\n"));
    assert_non_null(strstr(text, "\nlatchkey_request_seconds_bucket{le=\"10\"} 3\n"));
    assert_non_null(strstr(text, "\nlatchkey_request_seconds_bucket{le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(text, "\nlatchkey_request_seconds_sum 60.002001\n"));
    assert_non_null(strstr(text, "\nlatchkey_request_seconds_count 4\n"));
    assert_non_null(strstr(text, "\nlatchkey_store_commit_seconds_count 0\n"));
}

/* A buffer that is too small is reported. */
static void
exposition_respects_limit(void **state)
{
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;

    out.max = 500;
    assert_int_equal(lk_metrics_write(&out), LK_ERR_LIMIT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds),
        cmocka_unit_test(counts_from_many_threads),
        cmocka_unit_test(exposition_is_well_formed),
        cmocka_unit_test(histogram_in_seconds),
        cmocka_unit_test(exposition_respects_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
