/* Tests of src/net/chunk.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/chunk.h"

#define BODY_MAX 16u

/* Decode one byte at a time (step 1) or all at once (step 0); *ret_used counts what was taken. */
static enum lk_err
decode(const char *text, size_t step, struct lk_chunk *c, struct lk_buf *body, size_t *ret_used)
{
    size_t len = strlen(text), used = 0;
    enum lk_err err = LK_OK;

    while (used < len && err == LK_OK && c->state != LK_CHUNK_END) {
        size_t n = 0;

        err =
            lk_chunk_feed(c, (const uint8_t *)text + used, step == 0 ? len - used : step, body, &n);
        used += n;
    }
    *ret_used = used;
    return err;
}

struct row {
    const char *text;
    enum lk_err err;
    const char *body; /* of a complete one */
    size_t rest;      /* bytes behind the end that must not be taken */
};

static const struct row rows[] = {
    {"0\r\n\r\n", LK_OK, "", 0},
    {"000\r\n\r\nGET", LK_OK, "", 3},
    {"3\r\nabc\r\n0\r\n\r\n", LK_OK, "abc", 0},
    {"3\r\na\r\n\r\n0\r\n\r\n", LK_OK, "a\r\n", 0},
    {"1\r\na\r\n0f\r\nbcdefghijklmnop\r\n0\r\n\r\n", LK_OK, "abcdefghijklmnop", 0},
    {"1;a=b;c=\"d\"\r\nx\r\n0;e\r\nT1: v\r\nT2:\r\n\r\n\r\n", LK_OK, "x", 2},
    {"\r\n", LK_ERR_FORMAT, NULL, 0},
    {";a\r\n", LK_ERR_FORMAT, NULL, 0},
    {"-1\r\n", LK_ERR_FORMAT, NULL, 0},
    {"0x1\r\n", LK_ERR_FORMAT, NULL, 0},
    {" 1\r\n", LK_ERR_FORMAT, NULL, 0},
    {"1 \r\n", LK_ERR_FORMAT, NULL, 0},
    {"1\nab", LK_ERR_FORMAT, NULL, 0},
    {"1\rXa", LK_ERR_FORMAT, NULL, 0},
    {"1\r\nabc", LK_ERR_FORMAT, NULL, 0},
    {"1\r\na\n0", LK_ERR_FORMAT, NULL, 0},
    {"1\r\na\rX", LK_ERR_FORMAT, NULL, 0},
    {"1;a\nb\r\n", LK_ERR_FORMAT, NULL, 0},
    {"1;a\x01\r\n", LK_ERR_FORMAT, NULL, 0},
    {"0\r\n a: b\r\n\r\n", LK_ERR_FORMAT, NULL, 0},
    {"0\r\na\r\n\r\n", LK_ERR_FORMAT, NULL, 0},
    {"0\r\na b: c\r\n\r\n", LK_ERR_FORMAT, NULL, 0},
    {"0\r\na: b\n\r\n", LK_ERR_FORMAT, NULL, 0},
    {"0\r\n: b\r\n\r\n", LK_ERR_FORMAT, NULL, 0},
    {"0\r\n\rX", LK_ERR_FORMAT, NULL, 0},
    {"11\r\n", LK_ERR_LIMIT, NULL, 0},
    {"f\r\nabcdefghijklmno\r\n2\r\n", LK_ERR_LIMIT, NULL, 0},
    {"000000001\r\n", LK_ERR_LIMIT, NULL, 0},
    {"fffffffff\r\n", LK_ERR_LIMIT, NULL, 0},
};

/* The coding and what only resembles it, in one piece and byte by byte. */
static void
table(void **state)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        for (size_t step = 0; step < 2; step++) {
            LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
            struct lk_chunk c = {0};
            size_t used;

            body.max = BODY_MAX;
            if (decode(rows[i].text, step, &c, &body, &used) != rows[i].err) {
                fail_msg("row %zu, step %zu: %s", i, step, rows[i].text);
            }
            if (rows[i].err == LK_OK) {
                assert_int_equal(c.state, LK_CHUNK_END);
                assert_int_equal(used, strlen(rows[i].text) - rows[i].rest);
                assert_int_equal(body.len, strlen(rows[i].body));
                assert_memory_equal(body.data != NULL ? (const char *)body.data : "", rows[i].body,
                                    body.len);
            }
        }
    }
}

/* What is dropped beside the data is bounded, in one extension, in many, and in trailers. */
static void
side_is_bounded(void **state)
{
    static const char *const starts[] = {"1;", "0\r\nt:", "0\r\n"};

    for (size_t i = 0; i < LK_ARRAY_LEN(starts); i++) {
        LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
        struct lk_chunk c = {0};
        char *text = calloc(1, LK_CHUNK_SIDE_MAX + 16);
        size_t used;

        assert_non_null(text);
        body.max = BODY_MAX;
        memcpy(text, starts[i], strlen(starts[i]));
        memset(text + strlen(starts[i]), 'a', LK_CHUNK_SIDE_MAX + 2);
        assert_int_equal(decode(text, 0, &c, &body, &used), LK_ERR_LIMIT);
        free(text);
    }
    for (size_t extra = 0; extra < 2; extra++) {
        LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
        LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
        struct lk_chunk c = {0};
        size_t used;

        body.max = LK_CHUNK_SIDE_MAX;
        for (size_t i = 0; i < LK_CHUNK_SIDE_MAX / 4 + extra; i++) {
            assert_int_equal(lk_buf_puts(&text, "1;abcd\r\nx\r\n"), LK_OK);
        }
        assert_int_equal(decode(lk_buf_text(&text), 0, &c, &body, &used),
                         extra == 0 ? LK_OK : LK_ERR_LIMIT);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(side_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
