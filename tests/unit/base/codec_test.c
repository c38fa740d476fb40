/* Tests of src/base/codec.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/codec.h"

/* What the buffer holds before each call: a decoder that fails must leave exactly this. */
#define BEFORE "x"

static void
expect_text(struct lk_buf *b, const char *want)
{
    assert_string_equal(lk_buf_text(b), want);
    assert_int_equal(b->len, strlen(want));
}

/* RFC 4648, section 10, both ways. */
static void
base64_vectors(void **state)
{
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"},
                                          {"\xfb\xff\xbf", "+/+/"}};

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, bytes = LK_BUF_INIT;

        assert_int_equal(lk_base64_encode(rows[i][0], strlen(rows[i][0]), &text), LK_OK);
        expect_text(&text, rows[i][1]);
        assert_int_equal(lk_base64_decode(rows[i][1], strlen(rows[i][1]), &bytes), LK_OK);
        expect_text(&bytes, rows[i][0]);
    }
}

/* Lengths, padding, alphabet and unused bits are all judged; a refusal appends nothing. */
static void
base64_refusals(void **state)
{
    static const char *const rows[] = {
        "Z",    "Zg",   "Zg=",      "Zg===",    "=",        "====",     "Z===",
        "Zh==", "Zm9=", "Zm9v\n",   "Zm9 ",     "Zm9v Zg=", "Zg==Zg==", "Z=g=",
        "Zm-v", "Zm_v", "Zm9vZ===", "Zm9v=m9v", "Zm9vZg=v", "\xffm9v",  "Zm9vZm9",
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        LK_AUTO_BUF struct lk_buf bytes = LK_BUF_INIT;

        assert_int_equal(lk_buf_puts(&bytes, BEFORE), LK_OK);
        assert_int_equal(lk_base64_decode(rows[i], strlen(rows[i]), &bytes), LK_ERR_FORMAT);
        expect_text(&bytes, BEFORE);
    }
    {
        LK_AUTO_BUF struct lk_buf bytes = LK_BUF_INIT;

        assert_int_equal(lk_base64_decode("Zm\0v", 4, &bytes), LK_ERR_FORMAT);
        assert_int_equal(bytes.len, 0);
    }
}

/* Every length up to some groups, and every byte value, comes back as it went. */
static void
base64_round_trip(void **state)
{
    uint8_t in[300];

    for (size_t i = 0; i < sizeof(in); i++) {
        in[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (size_t len = 0; len <= sizeof(in); len++) {
        LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, bytes = LK_BUF_INIT;

        assert_int_equal(lk_base64_encode(in, len, &text), LK_OK);
        assert_int_equal(text.len, (len + 2) / 3 * 4);
        assert_int_equal(lk_base64_decode((const char *)text.data, text.len, &bytes), LK_OK);
        assert_int_equal(bytes.len, len);
        if (len > 0) {
            assert_memory_equal(bytes.data, in, len);
        }
    }
}

/* The buffer's own limit holds, to the byte. */
static void
base64_buffer_limit(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, bytes = LK_BUF_INIT;

    text.max = 8;
    bytes.max = 4;
    assert_int_equal(lk_base64_encode("foobar", 6, &text), LK_OK);
    assert_int_equal(lk_base64_encode("f", 1, &text), LK_ERR_LIMIT);
    expect_text(&bytes, "");
    assert_int_equal(lk_base64_decode("Zm9vYg==", 8, &bytes), LK_OK);
    assert_int_equal(lk_base64_decode("Zg==", 4, &bytes), LK_ERR_LIMIT);
    assert_int_equal(bytes.len, 4);
}

/* RFC 4648, section 10, in lower case and without padding. */
static void
base32_vectors(void **state)
{
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "my"},
                                          {"fo", "mzxq"},
                                          {"foo", "mzxw6"},
                                          {"foob", "mzxw6yq"},
                                          {"fooba", "mzxw6ytb"},
                                          {"foobar", "mzxw6ytboi"},
                                          {"\xff\xff\xff\xff\xff", "77777777"}};

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

        assert_int_equal(lk_base32_encode(rows[i][0], strlen(rows[i][0]), &text), LK_OK);
        expect_text(&text, rows[i][1]);
    }
}

/* Lower case out, either case in. */
static void
hex_both_ways(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, bytes = LK_BUF_INIT;

    assert_int_equal(lk_hex_encode("\x00\x7f\xab\xff", 4, &text), LK_OK);
    expect_text(&text, "007fabff");
    assert_int_equal(lk_hex_decode("007FaBfF", 8, &bytes), LK_OK);
    assert_int_equal(bytes.len, 4);
    assert_memory_equal(bytes.data, "\x00\x7f\xab\xff", 4);
    assert_int_equal(lk_hex_decode("", 0, &bytes), LK_OK);
    assert_int_equal(bytes.len, 4);
}

/* Odd lengths, signs, prefixes and letters past f. */
static void
hex_refusals(void **state)
{
    static const char *const rows[] = {"0",  "0g", "g0",  "0x",   "+1",
                                       " 1", "1 ", "00f", "00:0", "/:"};

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        LK_AUTO_BUF struct lk_buf bytes = LK_BUF_INIT;

        assert_int_equal(lk_buf_puts(&bytes, BEFORE), LK_OK);
        assert_int_equal(lk_hex_decode(rows[i], strlen(rows[i]), &bytes), LK_ERR_FORMAT);
        expect_text(&bytes, BEFORE);
    }
}

/* Only unreserved characters pass as they are. */
static void
percent_encodes_the_rest(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    assert_int_equal(lk_percent_encode("aZ09-._~", 8, &text), LK_OK);
    expect_text(&text, "aZ09-._~");
    lk_buf_reset(&text);
    assert_int_equal(lk_percent_encode("0ne/registrations/a b+\xc3\xa9\0", 25, &text), LK_OK);
    expect_text(&text, "0ne%2Fregistrations%2Fa%20b%2B%C3%A9%00");
}

/* Decoded once, plus signs only on request, NUL kept. */
static void
percent_decodes_once(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    assert_int_equal(lk_percent_decode("a%2fb%2F+%2525%00", 17, false, &text), LK_OK);
    assert_int_equal(text.len, 9);
    assert_memory_equal(text.data, "a/b/+%25\0", 9);
    lk_buf_reset(&text);
    assert_int_equal(lk_percent_decode("a+b%2B", 6, true, &text), LK_OK);
    expect_text(&text, "a b+");
}

/* An escape that is cut short or not hexadecimal. */
static void
percent_refusals(void **state)
{
    static const char *const rows[] = {"%", "a%", "a%2", "%2g", "%g2", "%%20", "% 2", "ok%4"};

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

        assert_int_equal(lk_buf_puts(&text, BEFORE), LK_OK);
        assert_int_equal(lk_percent_decode(rows[i], strlen(rows[i]), false, &text), LK_ERR_FORMAT);
        expect_text(&text, BEFORE);
    }
}

/* A time is read back from what was written, and from the other spellings of RFC 3339. */
static void
timestamps_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"1970-01-01T00:00:00.0000000Z", 0},
        {"1970-01-01", 0},
        {"2026-01-02T03:04:05.6789012Z", 1767323045678},
        {"2026-01-02t03:04:05z", 1767323045000},
        {"2026-01-02 03:04:05.5Z", 1767323045500},
        {"2026-01-02T01:04:05-02:00", 1767323045000},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2024-02-29", 1709164800000},
        {"2016-12-31T23:59:60Z", 1483228800000},
    };
    static const char *const refused[] = {
        "",
        "2026",
        "2026-1-2",
        "2026-02-29",
        "2026-13-01",
        "2026-00-01",
        "2026-01-32",
        "0000-01-01",
        "2026-01-02T",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:04:61Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05.1234567890Z",
        "2026-01-02T03:04:05Z ",
        " 2026-01-02",
        "2026-01-02T03:04:05+0100",
        "2026-01-02T03:04:05+24:00",
        "-026-01-02",
    };
    int64_t ms = 42;

    for (size_t i = 0; i < LK_ARRAY_LEN(refused); i++) {
        assert_int_equal(lk_timestamp_parse(refused[i], strlen(refused[i]), &ms), LK_ERR_FORMAT);
        assert_int_equal(ms, 42);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        assert_int_equal(lk_timestamp_parse(rows[i].text, strlen(rows[i].text), &ms), LK_OK);
        assert_int_equal(ms, rows[i].ms);
    }
}

/* Leap days, the time before 1970, and times past what four digits of year can say. */
static void
timestamps(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {{0, "1970-01-01T00:00:00.0000000Z"},
                {1, "1970-01-01T00:00:00.0010000Z"},
                {-1, "1969-12-31T23:59:59.9990000Z"},
                {951782400123, "2000-02-29T00:00:00.1230000Z"},
                {1767323045678, "2026-01-02T03:04:05.6780000Z"},
                {253402300799999, "9999-12-31T23:59:59.9990000Z"},
                {INT64_MAX, "9999-12-31T23:59:59.9990000Z"},
                {INT64_MIN, "0001-01-01T00:00:00.0000000Z"}};

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        char text[LK_TIMESTAMP_CAP];

        lk_timestamp_format(rows[i].ms, text);
        assert_string_equal(text, rows[i].text);
    }
}

/* Digits only, up to 2^64 - 1. */
static void
decimals(void **state)
{
    static const char *const refused[] = {"",
                                          " ",
                                          "-1",
                                          "+1",
                                          "1 ",
                                          " 1",
                                          "1.0",
                                          "0x1",
                                          "1e3",
                                          "18446744073709551616",
                                          "99999999999999999999",
                                          "/",
                                          ":"};
    uint64_t v = 7;

    for (size_t i = 0; i < LK_ARRAY_LEN(refused); i++) {
        assert_int_equal(lk_decimal_parse(refused[i], strlen(refused[i]), &v), LK_ERR_FORMAT);
        assert_int_equal(v, 7);
    }
    assert_int_equal(lk_decimal_parse("1\0", 2, &v), LK_ERR_FORMAT);
    assert_int_equal(lk_decimal_parse("18446744073709551615", 20, &v), LK_OK);
    assert_true(v == UINT64_MAX);
    assert_int_equal(lk_decimal_parse("0012345", 4, &v), LK_OK);
    assert_int_equal(v, 12);
}

/* Case is folded for ASCII letters and nothing else, whatever the locale. */
static void
ascii_case(void **state)
{
    char text[] = "AZ@[`{\xc3\x89-09";

    lk_ascii_lower(text);
    assert_string_equal(text, "az@[`{\xc3\x89-09");
    assert_true(lk_ascii_caseeq("HoSt", 4, "hOsT", 4));
    assert_true(lk_ascii_caseeq("", 0, "", 0));
    assert_false(lk_ascii_caseeq("host", 4, "hos", 3));
    assert_false(lk_ascii_caseeq("@", 1, "`", 1));
    assert_false(lk_ascii_caseeq("a\0b", 3, "a\0c", 3));
}

/* White space goes at both ends only; what is nothing else becomes empty. */
static void
trims(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {{"", ""},
                 {" \t\r\n", ""},
                 {"x", "x"},
                 {" a b\t", "a b"},
                 {"\r\na\n\n b\r\n", "a\n\n b"},
                 {"\v x", "\v x"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *text = cases[i].text;
        size_t len = strlen(text);

        lk_trim(&text, &len);
        assert_int_equal(len, strlen(cases[i].want));
        assert_memory_equal(text, cases[i].want, len);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_vectors),
        cmocka_unit_test(base64_refusals),
        cmocka_unit_test(base64_round_trip),
        cmocka_unit_test(base64_buffer_limit),
        cmocka_unit_test(base32_vectors),
        cmocka_unit_test(hex_both_ways),
        cmocka_unit_test(hex_refusals),
        cmocka_unit_test(percent_encodes_the_rest),
        cmocka_unit_test(percent_decodes_once),
        cmocka_unit_test(percent_refusals),
        cmocka_unit_test(timestamps),
        cmocka_unit_test(timestamps_read),
        cmocka_unit_test(decimals),
        cmocka_unit_test(ascii_case),
        cmocka_unit_test(trims),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
