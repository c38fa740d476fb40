/* Tests of the HTTPS engine's limits: time, connections, draining. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "serving.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

/* Short enough for a test, long enough for a loaded machine. */
static const struct lk_http_limits short_limits = {.handshake_ms = 200,
                                                   .head_ms = 200,
                                                   .body_ms = 300,
                                                   .idle_ms = 500,
                                                   .write_ms = 300,
                                                   .connections_max = 40,
                                                   .connections_per_net = 30};

static struct serving serving;

static int
start_short(void **state)
{
    serving_start(&serving, &short_limits, NULL);
    return 0;
}

static int
start_few(void **state)
{
    const struct lk_http_limits few = {.connections_max = 3};

    serving_start(&serving, &few, NULL);
    return 0;
}

static int
start_default(void **state)
{
    serving_start(&serving, NULL, NULL);
    return 0;
}

static int
stop(void **state)
{
    serving_stop(&serving);
    return 0;
}

/* Send text a byte each 20 ms until the server has had enough; it must be within the limits. */
static void
trickle(struct client *c, const char *text, int64_t at_least_ms, int64_t at_most_ms)
{
    int64_t start_ms = mono_ms(), took_ms;
    uint8_t byte;

    for (const char *at = text; *at != '\0'; at++) {
        if (send(c->fd, at, 1, MSG_NOSIGNAL) != 1 ||
            recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
            break;
        }
        assert_int_equal(usleep(20000), 0);
    }
    took_ms = mono_ms() - start_ms;
    assert_in_range(took_ms, at_least_ms, at_most_ms);
}

/* A head that keeps coming, but slowly, is cut at its total time and told so. */
static void
slow_head(void **state)
{
    int64_t timed_out = lk_metric_get(LK_M_HTTP_CONNECTIONS_TIMED_OUT);
    struct client c;

    client_connect(&c, &serving);
    trickle(&c,
            "GET /echo HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            180, 1000);
    client_expect(&c, 408, "{\"message\":\"Request Timeout\"}");
    client_close(&c);
    assert_int_equal(lk_metric_get(LK_M_HTTP_CONNECTIONS_TIMED_OUT), timed_out + 1);
}

/* So is a body. */
static void
slow_body(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
    trickle(&c, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 280,
            1200);
    client_expect(&c, 408, NULL);
    client_close(&c);
}

/* A connection on which nothing happens is closed, before and after a request, without a word. */
static void
idle_is_closed(void **state)
{
    int64_t start_ms = mono_ms();
    struct client c;

    client_connect(&c, &serving);
    client_expect_closed(&c);
    assert_in_range(mono_ms() - start_ms, 480, 1500);
    client_close(&c);
    client_connect(&c, &serving);
    client_text(&c, GET("/echo"));
    client_expect(&c, 200, NULL);
    client_expect_closed(&c);
    client_close(&c);
}

/* A request that takes the service long is not the peer's fault: no limit cuts it. */
static void
handling_has_no_limit(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, GET("/hold"));
    wait_until(&serving.held_count, 1);
    assert_int_equal(usleep(800000), 0);
    serving_release(&serving);
    client_expect(&c, 200, "GET /hold? h ");
    client_close(&c);
}

/* A peer that does not read its answer is cut. */
static void
slow_reader(void **state)
{
    int64_t timed_out = lk_metric_get(LK_M_HTTP_CONNECTIONS_TIMED_OUT);
    int64_t end_ms = mono_ms() + 3000;
    const int small = 4096;
    struct client c;

    client_connect(&c, &serving);
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    for (unsigned i = 0; i < 8; i++) { /* more than any send buffer grows to */
        client_text(&c, GET("/big"));
    }
    while (lk_metric_get(LK_M_HTTP_CONNECTIONS_TIMED_OUT) == timed_out && mono_ms() < end_ms) {
        assert_int_equal(usleep(10000), 0);
    }
    assert_int_equal(lk_metric_get(LK_M_HTTP_CONNECTIONS_TIMED_OUT), timed_out + 1);
    client_close(&c);
}

/* One network gets its share and no more; when one of its connections ends, another fits. */
static void
connections_per_net(void **state)
{
    int64_t shed = lk_metric_get(LK_M_HTTP_CONNECTIONS_SHED);
    struct client clients[30], extra;
    unsigned freed = serving.freed_count;

    for (size_t i = 0; i < LK_ARRAY_LEN(clients); i++) {
        client_connect(&clients[i], &serving);
        client_text(&clients[i], GET("/count"));
        client_expect(&clients[i], 200, "1");
    }
    client_connect(&extra, &serving);
    client_expect_closed(&extra);
    client_close(&extra);
    assert_int_equal(lk_metric_get(LK_M_HTTP_CONNECTIONS_SHED), shed + 1);
    client_close(&clients[0]);
    wait_until(&serving.freed_count, freed + 1);
    client_connect(&clients[0], &serving);
    client_text(&clients[0], GET("/count"));
    client_expect(&clients[0], 200, "1");
    for (size_t i = 0; i < LK_ARRAY_LEN(clients); i++) {
        client_close(&clients[i]);
    }
    wait_until(&serving.freed_count, freed + 1 + 30);
}

/* Over the limit of all, a connection is closed at once, whoever it comes from. */
static void
connections_max(void **state)
{
    int64_t shed = lk_metric_get(LK_M_HTTP_CONNECTIONS_SHED);
    struct client clients[3], extra;

    for (size_t i = 0; i < LK_ARRAY_LEN(clients); i++) {
        client_connect(&clients[i], &serving);
        client_text(&clients[i], GET("/echo"));
        client_expect(&clients[i], 200, NULL);
    }
    client_connect(&extra, &serving);
    client_expect_closed(&extra);
    client_close(&extra);
    assert_int_equal(lk_metric_get(LK_M_HTTP_CONNECTIONS_SHED), shed + 1);
    for (size_t i = 0; i < LK_ARRAY_LEN(clients); i++) {
        client_close(&clients[i]);
    }
}

/* Two thousand idle connections, some of them in the middle of a head, and an honest request. */
static void
many_idle(void **state)
{
    enum { IDLE = 2000 };
    static int fds[IDLE];
    struct rlimit files;
    struct client c;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max < 8192 ? files.rlim_max : 8192;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    assert_true(files.rlim_cur > 2 * IDLE + 100);
    for (unsigned i = 0; i < IDLE; i++) {
        client_connect(&c, &serving);
        if (i % 10 == 0) {
            client_text(&c, "GET /echo HT");
        }
        fds[i] = c.fd;
    }
    client_connect(&c, &serving);
    client_text(&c, GET("/echo"));
    client_expect(&c, 200, "GET /echo? h ");
    client_close(&c);
    for (unsigned i = 0; i < IDLE; i++) {
        assert_int_equal(close(fds[i]), 0);
    }
}

/* Out of descriptors, the server waits for one without spinning, and then serves who waited. */
static void
descriptors_run_out(void **state)
{
    struct rlimit files, few;
    struct rusage before, after;
    struct client c;
    int next, spent_ms;

    client_connect(&c, &serving); /* makes the client's socket while there are descriptors */
    client_close(&c);
    assert_int_equal(usleep(50000), 0);
    c.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    next = dup(c.fd);
    assert_true(next > c.fd);
    assert_int_equal(close(next), 0);
    assert_int_equal(close(c.fd), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    few = files;
    few.rlim_cur = (rlim_t)next; /* room for the client's socket, none for the server's */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    client_connect(&c, &serving);
    client_text(&c, GET("/echo"));
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    assert_int_equal(usleep(500000), 0);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    spent_ms = (int)((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000 +
                     (after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1000 +
                     (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000 +
                     (after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1000);
    assert_true(spent_ms < 100);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    client_expect(&c, 200, "GET /echo? h ");
    client_close(&c);
}

static void
wait_drained(bool wanted, int64_t within_ms)
{
    int64_t end_ms = mono_ms() + within_ms;

    while (serving.drained != wanted && mono_ms() < end_ms) {
        assert_int_equal(usleep(5000), 0);
    }
    assert_int_equal(serving.drained, wanted);
}

/* Draining closes idle connections, answers what runs and says that it closes, and then ends. */
static void
drain_in_order(void **state)
{
    char value[16];
    struct client idle, running;
    struct answer a;

    client_connect(&idle, &serving);
    client_text(&idle, GET("/echo"));
    client_expect(&idle, 200, NULL);
    client_connect(&running, &serving);
    client_text(&running, GET("/hold"));
    wait_until(&serving.held_count, 1);
    serving_drain(&serving, 5000);
    client_expect_closed(&idle);
    assert_false(client_can_connect(&serving));
    assert_false(serving.drained);
    serving_release(&serving);
    client_answer(&running, false, &a);
    assert_int_equal(a.status, 200);
    assert_true(answer_header(&a, "connection", value, sizeof(value)));
    assert_string_equal(value, "close");
    answer_fini(&a);
    client_expect_closed(&running);
    client_close(&running);
    wait_drained(true, 2000);
    client_close(&idle);
}

/* Two servers share an address: each has its own connections. */
static void
reuse_port(void **state)
{
    char listen[32], error[LK_HTTP_ERROR_CAP];
    struct lk_http_server_config config = {.listen = "127.0.0.1:0", .reuse_port = true};
    LK_AUTO(lk_loop) struct lk_loop *loop = NULL;
    struct lk_http_server *first = NULL, *second = NULL;

    assert_int_equal(lk_loop_new(&loop), LK_OK);
    assert_int_equal(lk_http_server_new(loop, &config, error, &first), LK_OK);
    (void)snprintf(listen, sizeof(listen), "127.0.0.1:%u", lk_http_server_port(first));
    config.listen = listen;
    assert_int_equal(lk_http_server_new(loop, &config, error, &second), LK_OK);
    assert_int_equal(lk_http_server_port(second), lk_http_server_port(first));
    lk_http_server_free(second);
    lk_http_server_free(first);
}

/* With nothing open, draining ends at once. */
static void
drain_of_nothing(void **state)
{
    serving_drain(&serving, 5000);
    wait_drained(true, 1000);
}

/* At the deadline the rest is cut; a handler that answers later is not harmed. */
static void
drain_deadline(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, GET("/hold"));
    wait_until(&serving.held_count, 1);
    serving_drain(&serving, 100);
    client_expect_closed(&c);
    wait_drained(true, 2000);
    serving_release(&serving);
    assert_int_equal(serving.gone_count, 1);
    client_close(&c);
}

/* The server may be freed with requests unanswered; serving_stop() answers them afterwards. */
static void
freed_before_answer(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, GET("/hold"));
    wait_until(&serving.held_count, 1);
    client_close(&c);
}

/* What cannot be listened at is refused with a reason. */
static void
listen_errors(void **state)
{
    static const char *const bad[] = {"",       "localhost",   "127.0.0.1:", "127.0.0.1:65536",
                                      "::1:80", "127.0.0.1:x", "[::1:80"};
    char taken[32], error[LK_HTTP_ERROR_CAP];
    struct lk_http_server_config config = {0};
    struct lk_http_server *s = NULL;
    LK_AUTO(lk_loop) struct lk_loop *loop = NULL;

    assert_int_equal(lk_loop_new(&loop), LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        config.listen = bad[i];
        assert_int_equal(lk_http_server_new(loop, &config, error, &s), LK_ERR_CONFIG);
        assert_non_null(strstr(error, bad[i]));
    }
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", serving.port);
    config.listen = taken;
    assert_int_equal(lk_http_server_new(loop, &config, error, &s), LK_ERR_IO);
    assert_non_null(strstr(error, "in use"));
    assert_null(s);
}

int
main(void)
{
#define SHORT(f) cmocka_unit_test_setup_teardown(f, start_short, stop)
#define DEFAULT(f) cmocka_unit_test_setup_teardown(f, start_default, stop)
    const struct CMUnitTest tests[] = {
        SHORT(slow_head),
        SHORT(slow_body),
        SHORT(idle_is_closed),
        SHORT(handling_has_no_limit),
        SHORT(slow_reader),
        SHORT(connections_per_net),
        cmocka_unit_test_setup_teardown(connections_max, start_few, stop),
        DEFAULT(many_idle),
        DEFAULT(descriptors_run_out),
        DEFAULT(drain_in_order),
        DEFAULT(drain_of_nothing),
        DEFAULT(drain_deadline),
        DEFAULT(freed_before_answer),
        DEFAULT(listen_errors),
        cmocka_unit_test(reuse_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
