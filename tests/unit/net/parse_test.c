/* Tests of src/net/parse.c and src/net/head.c: one request from bytes, or a reason why not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/parse.h"

#define HEAD "GET / HTTP/1.1\r\nHost: h\r\n"

static const struct lk_http_limits limits = {.head_max = 512, .headers_max = 8, .body_max = 64};

/* Feed in pieces of step bytes (0: all at once); returns how many bytes were taken. */
static size_t
feed(struct lk_http_parse *p, const char *bytes, size_t len, size_t step)
{
    size_t used = 0;

    while (used < len && p->state != LK_PARSE_DONE && p->state != LK_PARSE_REFUSED) {
        size_t left = len - used;
        /* A copy of the exact size lets the address sanitizer see a read past its end. */
        size_t piece = step == 0 || step > left ? left : step;
        uint8_t *copy = malloc(piece);
        size_t n;

        assert_non_null(copy);
        memcpy(copy, bytes + used, piece);
        n = lk_http_parse_feed(p, copy, piece);
        free(copy);
        assert_true(n <= piece);
        used += n;
    }
    return used;
}

struct bad {
    const char *bytes;
    size_t len;
    int status;
    const char *reason;
};
#define BAD(text, status, reason)                                                                  \
    {                                                                                              \
        text, sizeof(text) - 1, status, reason                                                     \
    }

/* What two parties could read in two ways, and what is no HTTP/1.x request at all. */
static const struct bad bads[] = {
    /* framing */
    BAD(HEAD "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
        "net.framing_conflict"),
    BAD(HEAD "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400,
        "net.framing_conflict"),
    BAD(HEAD "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "net.framing_conflict"),
    BAD(HEAD "Content-Length: 1\r\ncontent-length: 1\r\n\r\n", 400, "net.framing_conflict"),
    BAD(HEAD "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400, "net.framing_conflict"),
    BAD(HEAD "Content-Length: 1, 1\r\n\r\n", 400, "net.content_length"),
    BAD(HEAD "Content-Length: +1\r\n\r\n", 400, "net.content_length"),
    BAD(HEAD "Content-Length: -1\r\n\r\n", 400, "net.content_length"),
    BAD(HEAD "Content-Length: 0x1\r\n\r\n", 400, "net.content_length"),
    BAD(HEAD "Content-Length: 1 1\r\n\r\n", 400, "net.content_length"),
    BAD(HEAD "Content-Length:\r\n\r\n", 400, "net.content_length"),
    BAD(HEAD "Content-Length: \t \r\n\r\n", 400, "net.content_length"),
    BAD(HEAD "Content-Length: 18446744073709551617\r\n\r\n", 400, "net.content_length"),
    BAD(HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
        "net.framing_conflict"),
    BAD(HEAD "Transfer-Encoding: identity\r\n\r\n", 400, "net.transfer_encoding"),
    BAD(HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n", 400, "net.transfer_encoding"),
    BAD(HEAD "Transfer-Encoding: chunked, chunked\r\n\r\n", 400, "net.transfer_encoding"),
    BAD(HEAD "Transfer-Encoding: chunked, identity\r\n\r\n", 400, "net.transfer_encoding"),
    BAD(HEAD "Transfer-Encoding: xchunked\r\n\r\n", 400, "net.transfer_encoding"),
    BAD(HEAD "Transfer-Encoding: \"chunked\"\r\n\r\n", 400, "net.transfer_encoding"),
    BAD(HEAD "Transfer-Encoding: chunked;q=1\r\n\r\n", 400, "net.transfer_encoding"),
    BAD(HEAD "Transfer-Encoding:\r\n\r\n", 400, "net.transfer_encoding"),
    BAD(HEAD "Transfer-Encoding: \x0b"
             "chunked\r\n\r\n",
        400, "net.control_character"),
    BAD("GET / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
        "net.transfer_encoding"),
    BAD(HEAD "Content-Length : 1\r\n\r\n", 400, "net.header_name"),
    BAD(HEAD "Transfer-Encoding\t: chunked\r\n\r\n", 400, "net.syntax"),
    BAD(HEAD "Content Length: 1\r\n\r\n", 400, "net.header_name"),
    BAD(HEAD " Content-Length: 1\r\n\r\n", 400, "net.folded_line"),
    BAD(HEAD "X: a\r\n b\r\n\r\n", 400, "net.folded_line"),
    BAD(HEAD "X: a\r\n\tTransfer-Encoding: chunked\r\n\r\n", 400, "net.folded_line"),
    BAD(HEAD "X: a\nTransfer-Encoding: chunked\r\n\r\n", 400, "net.bare_lf"),
    BAD("GET / HTTP/1.1\nHost: h\n\n", 400, "net.bare_lf"),
    BAD(HEAD "X: a\rTransfer-Encoding: chunked\r\n\r\n", 400, "net.bare_cr"),
    BAD(HEAD "X: a\r\r\n\r\n", 400, "net.bare_cr"),
    BAD(HEAD "X: a\0b\r\n\r\n", 400, "net.control_character"),
    BAD(HEAD "X: a\x01\r\n\r\n", 400, "net.control_character"),
    BAD(HEAD "X: a\x7f\r\n\r\n", 400, "net.control_character"),
    BAD(HEAD "X\r\n\r\n", 400, "net.syntax"),
    BAD(HEAD ": a\r\n\r\n", 400, "net.syntax"),
    BAD(HEAD "X\x80: a\r\n\r\n", 400, "net.syntax"),
    BAD(HEAD "X(y): a\r\n\r\n", 400, "net.syntax"),
    /* the request line */
    BAD("GET /\r\n\r\n", 400, "net.request_line"),
    BAD("GET\r\n\r\n", 400, "net.request_line"),
    BAD("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.request_line"),
    BAD("GET /  HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.request_line"),
    BAD("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400, "net.request_line"),
    BAD("GET /\tHTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.request_line"),
    BAD("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.request_line"),
    BAD("GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.request_line"),
    BAD("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.request_line"),
    BAD(" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.folded_line"),
    BAD("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.blank_lines"),
    BAD("get / HTTP/1.1\r\nHost: h\r\n\r\n", 501, "net.method"),
    BAD("BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 501, "net.method"),
    BAD("GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505, "net.version"),
    BAD("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505, "net.version"),
    BAD("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "net.version"),
    BAD("GET / http/1.1\r\nHost: h\r\n\r\n", 400, "net.version"),
    BAD("GET / HTTP/1.10\r\nHost: h\r\n\r\n", 505, "net.version"),
    BAD("GET / ICE/1.1\r\nHost: h\r\n\r\n", 400, "net.version"),
    BAD("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 405, "net.connect"),
    BAD("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.target_form"),
    BAD("GET h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.target_form"),
    BAD("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.target_form"),
    BAD("GET ?a HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.target_form"),
    BAD("GET /#a HTTP/1.1\r\nHost: h\r\n\r\n", 400, "net.target_fragment"),
    BAD(HEAD "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", 501, "net.upgrade"),
    /* the host */
    BAD("GET / HTTP/1.1\r\n\r\n", 400, "net.host_missing"),
    BAD(HEAD "Host: h\r\n\r\n", 400, "net.host_twice"),
    BAD("GET / HTTP/1.0\r\nHost: h\r\nhost: i\r\n\r\n", 400, "net.host_twice"),
    BAD("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "net.host"),
    BAD("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "net.host"),
    BAD("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400, "net.host"),
    BAD("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "net.host"),
    BAD("GET / HTTP/1.1\r\nHost: h:x\r\n\r\n", 400, "net.host"),
    BAD("GET / HTTP/1.1\r\nHost: h:1:2\r\n\r\n", 400, "net.host"),
    BAD("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "net.host"),
    BAD("GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400, "net.host"),
    BAD("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400, "net.host"),
    /* size */
    BAD(HEAD "Content-Length: 65\r\n\r\n", 413, "net.body_large"),
    BAD(HEAD "Content-Length: 1844674407370955160\r\n\r\n", 413, "net.body_large"),
    BAD(HEAD "Transfer-Encoding: chunked\r\n\r\n41\r\n", 413, "net.body_large"),
    BAD(HEAD "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n40\r\n", 413, "net.body_large"),
    BAD(HEAD "Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n", 413, "net.body_large"),
    BAD(HEAD "1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\n8:\r\n\r\n", 431, "net.headers_many"),
    /* the body and what is asked about it */
    BAD(HEAD "Transfer-Encoding: chunked\r\n\r\nx\r\n", 400, "net.chunk"),
    BAD(HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nabcd0\r\n\r\n", 400, "net.chunk"),
    BAD(HEAD "Expect: 200-ok\r\n\r\n", 417, "net.expect"),
    BAD(HEAD "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n", 417, "net.expect"),
};

/* Each is refused with its status and reason, whatever pieces it comes in. */
static void
refusals(void **state)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(bads); i++) {
        for (size_t step = 0; step < 4; step++) {
            struct lk_http_parse p;

            lk_http_parse_init(&p, &limits);
            (void)feed(&p, bads[i].bytes, bads[i].len, step);
            if (p.state != LK_PARSE_REFUSED || p.status != bads[i].status ||
                strcmp(p.reason, bads[i].reason) != 0) {
                print_error("row %zu, step %zu: %s gives state %d, %d, %s\n", i, step,
                            bads[i].bytes, (int)p.state, p.status,
                            p.reason != NULL ? p.reason : "-");
            }
            assert_int_equal(p.state, LK_PARSE_REFUSED);
            assert_int_equal(p.status, bads[i].status);
            assert_string_equal(p.reason, bads[i].reason);
            lk_http_parse_fini(&p);
        }
    }
}

struct good {
    const char *bytes; /* of one request, followed by nothing */
    const char *path, *query, *host, *body;
    bool keep_alive;
};

static const struct good goods[] = {
    {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "/", "", "h", "", true},
    {"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "/", "", "h", "", true},
    {"GET /a?b?c HTTP/1.1\r\nhOST:\t H.X:8443 \r\n\r\n", "/a", "b?c", "h.x", "", true},
    {"GET //a/../%00%2e? HTTP/1.1\r\nHost: [2001:DB8::1]:443\r\n\r\n", "//a/../%00%2e", "",
     "[2001:db8::1]", "", true},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "/", "", "", "", true},
    {"GET / HTTP/1.1\r\nHost: h:\r\nConnection: close\r\n\r\n", "/", "", "h", "", false},
    {"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", "/", "", "h", "", false},
    {"GET / HTTP/1.0\r\n\r\n", "/", "", "", "", false},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "/", "", "", "", true},
    {"GET / HTTP/1.1\r\nHost: h\r\ncontent-length: 0\r\n\r\n", "/", "", "h", "", true},
    {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 002 \r\n\r\n{}", "/", "", "h", "{}", true},
    {"PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked \r\n\r\n0\r\n\r\n", "/x", "", "h",
     "", true},
    {"PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
     "A;n=\"v\"\r\n0123456789\r\n01\r\na\r\n0\r\nTrailer: x\r\n\r\n",
     "/x", "", "h", "0123456789a", true},
    {"PUT /x HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n", "/x", "", "h", "", true},
    {"PUT /x HTTP/1.1\r\nHost: h\r\nX: \xc3\xa9\r\n\r\n", "/x", "", "h", "", true},
};

/* Each is one request, takes all its bytes, and none of what follows it. */
static void
requests(void **state)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(goods); i++) {
        const struct good *g = &goods[i];

        for (size_t step = 0; step < 4; step++) {
            char bytes[512];
            int len = snprintf(bytes, sizeof(bytes), "%sGET ", g->bytes);
            struct lk_http_parse p;

            assert_true(len > 0 && (size_t)len < sizeof(bytes));
            lk_http_parse_init(&p, &limits);
            assert_int_equal(feed(&p, bytes, (size_t)len, step), strlen(g->bytes));
            assert_int_equal(p.state, LK_PARSE_DONE);
            assert_string_equal(p.path, g->path);
            assert_string_equal(p.query, g->query);
            assert_string_equal(p.host, g->host);
            assert_int_equal(p.body.len, strlen(g->body));
            assert_memory_equal(p.body.data != NULL ? (const char *)p.body.data : "", g->body,
                                p.body.len);
            assert_int_equal(p.keep_alive, g->keep_alive);
            lk_http_parse_fini(&p);
        }
    }
}

/* Names and values come out trimmed, in order, empty ones too. */
static void
headers(void **state)
{
    static const char bytes[] = "GET / HTTP/1.1\r\nHost: h\r\nA:  b c\t \r\nEmpty:\r\nBlank: \t\r\n"
                                "a:2\r\n\r\n";
    static const char *const want[][2] = {
        {"Host", "h"}, {"A", "b c"}, {"Empty", ""}, {"Blank", ""}, {"a", "2"}};
    struct lk_http_parse p;

    lk_http_parse_init(&p, &limits);
    assert_int_equal(feed(&p, bytes, sizeof(bytes) - 1, 0), sizeof(bytes) - 1);
    assert_int_equal(p.state, LK_PARSE_DONE);
    assert_int_equal(p.headers_count, LK_ARRAY_LEN(want));
    for (size_t i = 0; i < LK_ARRAY_LEN(want); i++) {
        assert_string_equal(p.headers[i].name, want[i][0]);
        assert_string_equal(p.headers[i].value, want[i][1]);
        assert_int_equal(p.headers[i].name_len, strlen(want[i][0]));
    }
    lk_http_parse_fini(&p);
}

/* A head of exactly the limit passes, one byte more does not. */
static void
head_size(void **state)
{
    for (size_t extra = 0; extra < 2; extra++) {
        char bytes[600];
        struct lk_http_parse p;
        size_t len = limits.head_max + extra;

        memset(bytes, 'a', len);
        memcpy(bytes, "GET / HTTP/1.1\r\nHost: h\r\nX: ", 28);
        memcpy(bytes + len - 4, "\r\n\r\n", 4);
        lk_http_parse_init(&p, &limits);
        (void)feed(&p, bytes, len, 100);
        if (extra == 0) {
            assert_int_equal(p.state, LK_PARSE_DONE);
        } else {
            assert_int_equal(p.state, LK_PARSE_REFUSED);
            assert_int_equal(p.status, 431);
            assert_string_equal(p.reason, "net.head_large");
        }
        lk_http_parse_fini(&p);
    }
}

/* So does a request line without an end. */
static void
request_line_size(void **state)
{
    char bytes[600];
    struct lk_http_parse p;

    memset(bytes, 'a', sizeof(bytes));
    lk_http_parse_init(&p, &limits);
    (void)feed(&p, bytes, sizeof(bytes), 0);
    assert_int_equal(p.state, LK_PARSE_REFUSED);
    assert_int_equal(p.status, 431);
    lk_http_parse_fini(&p);
}

/* As many header lines as the limit, and a host name as long as it may be, pass. */
static void
largest(void **state)
{
    static const char many[] = HEAD "1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\n\r\n";
    char bytes[512], host[LK_HTTP_HOST_CAP + 1];
    struct lk_http_parse p;

    lk_http_parse_init(&p, &limits);
    (void)feed(&p, many, sizeof(many) - 1, 0);
    assert_int_equal(p.state, LK_PARSE_DONE);
    assert_int_equal(p.headers_count, 8);
    lk_http_parse_fini(&p);
    for (size_t len = LK_HTTP_HOST_CAP - 1; len <= LK_HTTP_HOST_CAP; len++) {
        memset(host, 'h', len);
        host[len] = '\0';
        (void)snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host);
        lk_http_parse_init(&p, &limits);
        (void)feed(&p, bytes, strlen(bytes), 0);
        assert_int_equal(p.state, len < LK_HTTP_HOST_CAP ? LK_PARSE_DONE : LK_PARSE_REFUSED);
        lk_http_parse_fini(&p);
    }
}

/* A body of exactly the limit passes in both framings. */
static void
body_size(void **state)
{
    char bytes[256];
    struct lk_http_parse p;

    (void)snprintf(bytes, sizeof(bytes), HEAD "Content-Length: 64\r\n\r\n%064d", 7);
    lk_http_parse_init(&p, &limits);
    assert_int_equal(feed(&p, bytes, strlen(bytes), 0), strlen(bytes));
    assert_int_equal(p.state, LK_PARSE_DONE);
    assert_int_equal(p.body.len, 64);
    lk_http_parse_fini(&p);
    (void)snprintf(bytes, sizeof(bytes),
                   HEAD "Transfer-Encoding: chunked\r\n\r\n40\r\n%064d\r\n0\r\n\r\n", 7);
    lk_http_parse_init(&p, &limits);
    assert_int_equal(feed(&p, bytes, strlen(bytes), 0), strlen(bytes));
    assert_int_equal(p.state, LK_PARSE_DONE);
    assert_int_equal(p.body.len, 64);
    lk_http_parse_fini(&p);
}

/* 100-continue is noticed on HTTP/1.1 and has no meaning on HTTP/1.0. */
static void
expectation(void **state)
{
    struct lk_http_parse p;

    lk_http_parse_init(&p, &limits);
    (void)feed(&p, HEAD "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n", 68, 0);
    assert_int_equal(p.state, LK_PARSE_BODY);
    assert_true(p.expects_continue);
    lk_http_parse_fini(&p);
    lk_http_parse_init(&p, &limits);
    (void)feed(&p, "PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: x\r\n\r\n", 48, 0);
    assert_int_equal(p.state, LK_PARSE_BODY);
    assert_false(p.expects_continue);
    lk_http_parse_fini(&p);
}

static uint32_t
more_for_posts(void *ctx, enum lk_http_method method, const char *host, const char *path)
{
    assert_string_equal(host, "h");
    assert_string_equal(path, "/p%61th");
    return method == LK_HTTP_POST ? *(const uint32_t *)ctx : 0;
}

/* The state after a request's head, and of a chunked one its first size. */
static enum lk_http_parse_state
state_with_more(uint32_t more, const char *method, const char *framing)
{
    char bytes[256];
    struct lk_http_parse p;
    enum lk_http_parse_state state;
    int len = snprintf(bytes, sizeof(bytes), "%s /p%%61th?q HTTP/1.1\r\nHost: H:1\r\n%s", method,
                       framing);

    assert_in_range(len, 1, sizeof(bytes) - 1);
    lk_http_parse_init(&p, &limits);
    p.body_max = more_for_posts;
    p.ctx = &more;
    (void)feed(&p, bytes, (size_t)len, 0);
    state = p.state;
    assert_true(state == LK_PARSE_BODY || p.status == 413);
    lk_http_parse_fini(&p);
    return state;
}

/* One request may have more than others, in either framing; none has less for being asked about. */
static void
body_max(void **state)
{
    assert_int_equal(state_with_more(100, "POST", "Content-Length: 101\r\n\r\n"), LK_PARSE_REFUSED);
    assert_int_equal(state_with_more(100, "POST", "Content-Length: 100\r\n\r\n"), LK_PARSE_BODY);
    assert_int_equal(state_with_more(100, "POST", "Transfer-Encoding: chunked\r\n\r\n65\r\n"),
                     LK_PARSE_REFUSED);
    assert_int_equal(state_with_more(100, "POST", "Transfer-Encoding: chunked\r\n\r\n64\r\n"),
                     LK_PARSE_BODY);
    assert_int_equal(state_with_more(100, "PUT", "Content-Length: 65\r\n\r\n"), LK_PARSE_REFUSED);
    assert_int_equal(state_with_more(10, "POST", "Content-Length: 64\r\n\r\n"), LK_PARSE_BODY);
    assert_int_equal(state_with_more(10, "POST", "Content-Length: 65\r\n\r\n"), LK_PARSE_REFUSED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),          cmocka_unit_test(requests),
        cmocka_unit_test(headers),           cmocka_unit_test(head_size),
        cmocka_unit_test(request_line_size), cmocka_unit_test(largest),
        cmocka_unit_test(body_size),         cmocka_unit_test(expectation),
        cmocka_unit_test(body_max),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
