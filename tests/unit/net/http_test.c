/* Tests of the HTTPS engine over plain sockets: requests, answers and their order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "serving.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static struct serving serving;

static int
start(void **state)
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

/* Method, path, query, host without port in lower case, and body reach the handler as sent. */
static void
request_arrives_whole(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, "PUT /echo/%41%2f?a=b&c=%20 HTTP/1.1\r\nHost: Example.TEST:443\r\n"
                    "content-LENGTH: 5\r\n\r\nhello");
    client_expect(&c, 200, "PUT /echo/%41%2f?a=b&c=%20 example.test hello");
    client_close(&c);
}

/* Every answer has a length, a date, a type and a fresh request id. */
static void
answer_has_its_headers(void **state)
{
    char value[80], id[80];
    struct client c;
    struct answer a;

    client_connect(&c, &serving);
    client_text(&c, GET("/echo"));
    client_answer(&c, false, &a);
    assert_int_equal(a.status, 200);
    assert_memory_equal(a.head, "HTTP/1.1 200 OK\r\n", 17);
    assert_true(answer_header(&a, "content-type", value, sizeof(value)));
    assert_string_equal(value, "application/json; charset=utf-8");
    assert_true(answer_header(&a, "date", value, sizeof(value)));
    assert_int_equal(strlen(value), strlen("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_true(answer_header(&a, "x-ms-request-id", id, sizeof(id)));
    assert_int_equal(strspn(id, "0123456789abcdef"), 32);
    assert_false(answer_header(&a, "connection", value, sizeof(value)));
    answer_fini(&a);
    client_text(&c, GET("/echo"));
    client_answer(&c, false, &a);
    assert_true(answer_header(&a, "x-ms-request-id", value, sizeof(value)));
    assert_string_not_equal(value, id);
    answer_fini(&a);
    client_close(&c);
}

/* A handler's header replaces the default type; one that would split the answer is left out. */
static void
handler_headers(void **state)
{
    char value[80];
    struct client c;
    struct answer a;

    client_connect(&c, &serving);
    client_text(&c, GET("/header"));
    client_answer(&c, false, &a);
    assert_int_equal(a.status, 202);
    assert_true(answer_header(&a, "content-type", value, sizeof(value)));
    assert_string_equal(value, "text/plain");
    assert_null(strcasestr(a.head, "x-bad"));
    assert_null(strcasestr(a.head, "x-injected"));
    answer_fini(&a);
    client_close(&c);
}

/* HEAD has the length but not the bytes, 204 has neither, and the connection goes on. */
static void
answers_without_body(void **state)
{
    char value[80];
    struct client c;
    struct answer a;

    client_connect(&c, &serving);
    client_text(&c, "HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    client_answer(&c, true, &a);
    assert_true(answer_header(&a, "content-length", value, sizeof(value)));
    assert_string_equal(value, "14"); /* "HEAD /echo? h " */
    answer_fini(&a);
    client_text(&c, GET("/empty"));
    client_answer(&c, false, &a);
    assert_int_equal(a.status, 204);
    assert_false(answer_header(&a, "content-length", value, sizeof(value)));
    answer_fini(&a);
    client_text(&c, GET("/echo"));
    client_expect(&c, 200, "GET /echo? h ");
    client_close(&c);
}

/* A connection keeps what the handler ties to it, and frees that at its end. */
static void
keep_alive_and_connection_data(void **state)
{
    unsigned freed = serving.freed_count;
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, GET("/count"));
    client_expect(&c, 200, "1");
    client_text(&c, GET("/count"));
    client_expect(&c, 200, "2");
    client_close(&c);
    wait_until(&serving.freed_count, freed + 1);
}

/* Requests sent without waiting are answered in order, also when an early one is answered late. */
static void
pipelined_in_order(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, GET("/late?1") GET("/echo?2") GET("/late?3") GET("/count"));
    client_expect(&c, 200, "GET /late?1 h ");
    client_expect(&c, 200, "GET /echo?2 h ");
    client_expect(&c, 200, "GET /late?3 h ");
    client_expect(&c, 200, "1");
    client_close(&c);
}

/* Far more pipelined bytes than are kept ahead: none is lost while the first is held. */
static void
pipelined_more_than_is_kept(void **state)
{
    enum { REQUESTS = 2000 }; /* about 70 kB */
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, GET("/hold"));
    wait_until(&serving.held_count, 1);
    for (unsigned i = 0; i < REQUESTS; i++) {
        client_text(&c, GET("/count"));
    }
    serving_release(&serving);
    client_expect(&c, 200, "GET /hold? h ");
    for (unsigned i = 0; i < REQUESTS; i++) {
        char want[16];

        (void)snprintf(want, sizeof(want), "%u", i + 1);
        client_expect(&c, 200, want);
    }
    client_close(&c);
}

/* A head and a body that arrive a byte at a time are one request. */
static void
bytes_one_by_one(void **state)
{
    static const char text[] =
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n";
    struct client c;

    client_connect(&c, &serving);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        client_send(&c, text + i, 1);
    }
    client_expect(&c, 200, "POST /echo? h abcde");
    client_close(&c);
}

/* A GET may carry a body, or say that it has none. */
static void
get_with_body(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, "GET /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}");
    client_expect(&c, 200, "GET /echo? h {}");
    client_text(&c, "GET /echo HTTP/1.1\r\nHost: h\r\ncontent-length: 0\r\n\r\n");
    client_expect(&c, 200, "GET /echo? h ");
    client_close(&c);
}

/* HTTP/1.0 needs no host, and closes unless it asks to stay. */
static void
http_1_0(void **state)
{
    char value[80];
    struct client c;
    struct answer a;

    client_connect(&c, &serving);
    client_text(&c, "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_answer(&c, false, &a);
    assert_true(answer_header(&a, "connection", value, sizeof(value)));
    assert_string_equal(value, "keep-alive");
    answer_fini(&a);
    client_text(&c, "GET /echo HTTP/1.0\r\n\r\n");
    client_answer(&c, false, &a);
    assert_true(answer_header(&a, "connection", value, sizeof(value)));
    assert_string_equal(value, "close");
    answer_fini(&a);
    client_expect_closed(&c);
    client_close(&c);
}

/* "Connection: close" from either side ends the connection after the answer. */
static void
close_when_asked(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" GET("/echo?2"));
    client_expect(&c, 200, "GET /echo? h ");
    client_expect_closed(&c);
    client_close(&c);
    client_connect(&c, &serving);
    client_text(&c, GET("/close"));
    client_expect(&c, 200, "GET /close? h ");
    client_expect_closed(&c);
    client_close(&c);
}

/* A peer that waits to be told to go on is told so; one that sends at once is not. */
static void
expect_continue(void **state)
{
    static const char head[] = "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                               "Expect: 100-continue\r\n\r\n";
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, head);
    client_expect(&c, 100, NULL);
    client_text(&c, "ab");
    client_expect(&c, 200, "PUT /echo? h ab");
    client_text(&c, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                    "Expect: 100-continue\r\n\r\ncd");
    client_expect(&c, 200, "PUT /echo? h cd");
    client_close(&c);
    client_connect(&c, &serving);
    client_text(&c, "PUT /echo HTTP/1.1\r\nHost: h\r\nExpect: a-miracle\r\n\r\n");
    client_expect(&c, 417, "{\"message\":\"Expectation Failed\"}");
    client_expect_closed(&c);
    client_close(&c);
}

/* A body that is announced too large is refused before it is sent, and the answer arrives. */
static void
body_over_the_limit(void **state)
{
    int64_t bad = lk_metric_get(LK_M_HTTP_REQUESTS_BAD);
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 98305\r\n\r\nxxxx");
    client_expect(&c, 413, "{\"message\":\"Payload Too Large\"}");
    client_expect_closed(&c);
    client_close(&c);
    assert_int_equal(lk_metric_get(LK_M_HTTP_REQUESTS_BAD), bad + 1);
}

/* A megabyte announced and really sent: the answer is not lost to a reset. */
static void
large_body_sent_all_the_same(void **state)
{
    static uint8_t mebibyte[1024 * 1024];
    struct client c;
    ssize_t n;

    client_connect(&c, &serving);
    client_text(&c, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n");
    n = send(c.fd, mebibyte, 200000, MSG_NOSIGNAL);
    assert_int_equal(n, 200000);
    client_expect(&c, 413, NULL);
    client_close(&c);
}

/* An answer larger than any socket buffer arrives whole, and the connection goes on. */
static void
big_answer(void **state)
{
    struct client c;
    struct answer a;

    client_connect(&c, &serving);
    client_text(&c, GET("/big") GET("/echo"));
    assert_int_equal(usleep(100000), 0); /* let the server meet a full socket */
    client_answer(&c, false, &a);
    assert_int_equal(a.body_len, 1024 * 1024);
    assert_int_equal(strspn((const char *)a.body, "x"), 1024 * 1024);
    answer_fini(&a);
    client_expect(&c, 200, "GET /echo? h ");
    client_close(&c);
}

/* A peer that closes its direction still gets the answer to what it sent. */
static void
half_close(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, GET("/late") GET("/echo?2"));
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    client_expect(&c, 200, "GET /late? h ");
    client_expect(&c, 200, "GET /echo?2 h ");
    client_expect_closed(&c);
    client_close(&c);
}

/* A peer that is gone before its answer: the handler can tell, and answering is harmless. */
static void
peer_gone_before_answer(void **state)
{
    const struct linger reset = {.l_onoff = 1};
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, GET("/count") GET("/hold"));
    client_expect(&c, 200, "1");
    wait_until(&serving.held_count, 1);
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    client_close(&c);
    assert_int_equal(usleep(100000), 0); /* for the reset to be noticed */
    serving_release(&serving);
    assert_int_equal(serving.gone_count, 1);
    client_connect(&c, &serving);
    client_text(&c, GET("/echo"));
    client_expect(&c, 200, NULL);
    client_close(&c);
}

/* A refused request ends its connection: what follows it is not read as another one. */
static void
refusal_ends_the_connection(void **state)
{
    unsigned handled = serving.handled_count;
    struct client c;

    client_connect(&c, &serving);
    client_text(&c, "GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" GET("/echo"));
    client_expect(&c, 400, "{\"message\":\"Bad Request\"}");
    client_expect_closed(&c);
    client_close(&c);
    assert_int_equal(serving.handled_count, handled);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_arrives_whole),
        cmocka_unit_test(answer_has_its_headers),
        cmocka_unit_test(handler_headers),
        cmocka_unit_test(answers_without_body),
        cmocka_unit_test(keep_alive_and_connection_data),
        cmocka_unit_test(pipelined_in_order),
        cmocka_unit_test(pipelined_more_than_is_kept),
        cmocka_unit_test(bytes_one_by_one),
        cmocka_unit_test(get_with_body),
        cmocka_unit_test(http_1_0),
        cmocka_unit_test(close_when_asked),
        cmocka_unit_test(expect_continue),
        cmocka_unit_test(body_over_the_limit),
        cmocka_unit_test(large_body_sent_all_the_same),
        cmocka_unit_test(big_answer),
        cmocka_unit_test(half_close),
        cmocka_unit_test(peer_gone_before_answer),
        cmocka_unit_test(refusal_ends_the_connection),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
