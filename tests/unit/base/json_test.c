/* Tests of src/base/json.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

static void
expect_refused(const char *text, size_t len, bool any_value, const char *why)
{
    char error[LK_JSON_ERROR_CAP] = "";
    json_t *value = NULL;

    assert_int_equal(lk_json_parse(text, len, any_value, error, &value), LK_ERR_FORMAT);
    assert_null(value);
    assert_non_null(strstr(error, why));
    assert_int_equal(lk_json_parse(text, len, any_value, NULL, &value), LK_ERR_FORMAT);
    assert_null(value);
}

/* Nothing at all, half a value, and what is not JSON. */
static void
refuses_what_is_no_json(void **state)
{
    expect_refused(NULL, 0, true, "ends too early");
    expect_refused("", 0, false, "ends too early");
    expect_refused(" ", 1, true, "ends too early");
    expect_refused("{\"a\":", 5, false, "ends too early");
    expect_refused("{'a':1}", 7, false, "not valid JSON");
    expect_refused("{\"a\":1,}", 8, false, "not valid JSON");
    expect_refused("{\"a\":01}", 8, false, "not valid JSON");
    expect_refused("]", 1, true, "not valid JSON");
}

/* Only an object, unless the caller asks for less. */
static void
wants_an_object(void **state)
{
    static const char *const rows[] = {"[]", "\"{}\"", "1", "null", "true"};

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        LK_AUTO(json) json_t *value = NULL;

        expect_refused(rows[i], strlen(rows[i]), false, "not an object");
        assert_int_equal(lk_json_parse(rows[i], strlen(rows[i]), true, NULL, &value), LK_OK);
        assert_non_null(value);
    }
}

/* A second member of the same name, also when one of them is escaped, at any depth. */
static void
refuses_duplicates(void **state)
{
    const char *escaped = "{\"a\":{\"b\":1,\"\\u0062\":1}}";

    expect_refused("{\"a\":1,\"a\":1}", 13, false, "given twice");
    expect_refused(escaped, strlen(escaped), false, "given twice");
}

/* Trailing text, also a second value and a NUL. */
static void
refuses_trailing_text(void **state)
{
    expect_refused("{}x", 3, false, "follows");
    expect_refused("{}{}", 4, false, "follows");
    expect_refused("{}\0", 3, false, "(near byte");
}

/* A NUL in a value or a name, escaped or not. */
static void
refuses_nul(void **state)
{
    expect_refused("{\"a\":\"\\u0000\"}", 14, false, "NUL");
    expect_refused("{\"\\u0000\":1}", 12, false, "NUL");
    expect_refused("{\"a\":\"\0\"}", 9, false, "not valid JSON");
}

/* Overlong forms, surrogates, and bytes past the last code point. */
static void
refuses_invalid_utf8(void **state)
{
    expect_refused("{\"a\":\"\xff\"}", 9, false, "UTF-8");
    expect_refused("{\"a\":\"\xc0\x80\"}", 10, false, "UTF-8");
    expect_refused("{\"a\":\"\xed\xa0\x80\"}", 11, false, "UTF-8");
    expect_refused("{\"a\":\"\xf4\x90\x80\x80\"}", 12, false, "UTF-8");
    expect_refused("{\"a\":\"\\ud800\"}", 14, false, "JSON");
}

/* The deepest allowed nesting, and one more; brackets in strings count for nothing. */
static void
bounds_depth(void **state)
{
    char text[2 * LK_JSON_DEPTH_MAX + 2];
    LK_AUTO(json) json_t *deepest = NULL, *quoted = NULL;
    const char *in_string = "{\"a\":\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[\\\\\"}";

    memset(text, '[', LK_JSON_DEPTH_MAX + 1);
    memset(text + LK_JSON_DEPTH_MAX + 1, ']', LK_JSON_DEPTH_MAX + 1);
    assert_int_equal(lk_json_parse(text + 1, 2 * LK_JSON_DEPTH_MAX, true, NULL, &deepest), LK_OK);
    expect_refused(text, 2 * LK_JSON_DEPTH_MAX + 2, true, "nested too deeply (near byte 16)");
    assert_int_equal(lk_json_parse(in_string, strlen(in_string), false, NULL, &quoted), LK_OK);
    expect_refused("]]]]{\"a\":[", 10, true, "not valid JSON");
}

/* A megabyte of brackets costs no stack. */
static void
nesting_costs_no_stack(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    uint8_t *at = lk_buf_extend(&text, 1u << 20);

    assert_non_null(at);
    memset(at, '[', text.len);
    expect_refused((const char *)text.data, text.len, true, "nested too deeply");
}

/* Numbers that do not fit are refused, not rounded. */
static void
refuses_huge_numbers(void **state)
{
    const char *integer = "{\"a\":9223372036854775808}";
    const char *real = "{\"a\":1e999}";

    expect_refused(integer, strlen(integer), false, "out of range");
    expect_refused(real, strlen(real), false, "out of range");
}

/* The error repeats nothing that the peer sent. */
static void
error_is_ours(void **state)
{
    char error[LK_JSON_ERROR_CAP];
    json_t *value = NULL;

    assert_int_equal(lk_json_parse("{\"a\":<script>}", 14, false, error, &value), LK_ERR_FORMAT);
    assert_null(strstr(error, "script"));
    assert_int_equal(lk_json_parse("{\"evil\":1,\"evil\":2}", 19, false, error, &value),
                     LK_ERR_FORMAT);
    assert_null(strstr(error, "evil"));
}

/* Compact, in insertion order, appended to what is there. */
static void
writes_compact(void **state)
{
    const char *text = "{ \"z\" : [1, 2.5, true, null], \"a\" : \"\xc3\xa9\\n\\\"\" }";
    LK_AUTO(json) json_t *value = NULL;
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;

    assert_int_equal(lk_buf_puts(&out, "> "), LK_OK);
    assert_int_equal(lk_json_parse(text, strlen(text), false, NULL, &value), LK_OK);
    assert_int_equal(lk_json_write(value, &out), LK_OK);
    assert_string_equal(lk_buf_text(&out), "> {\"z\":[1,2.5,true,null],\"a\":\"\xc3\xa9\\n\\\"\"}");
}

/* A value that is no container, and none at all. */
static void
writes_any_value(void **state)
{
    LK_AUTO(json) json_t *value = json_string("x");
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;

    assert_int_equal(lk_json_write(value, &out), LK_OK);
    assert_string_equal(lk_buf_text(&out), "\"x\"");
    assert_int_not_equal(lk_json_write(NULL, &out), LK_OK);
    assert_string_equal(lk_buf_text(&out), "\"x\"");
}

/* Past the buffer's limit nothing stays, and the error says which. */
static void
write_respects_limit(void **state)
{
    LK_AUTO(json) json_t *value = json_pack("{s:s}", "name", "value");
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;

    out.max = 15;
    assert_int_equal(lk_json_write(value, &out), LK_ERR_LIMIT);
    assert_int_equal(out.len, 0);
    out.max = 17; /* exactly {"name":"value"} and room for its NUL */
    assert_int_equal(lk_json_write(value, &out), LK_OK);
    assert_string_equal(lk_buf_text(&out), "{\"name\":\"value\"}");
}

/* Absent and null are nothing; another kind is an error; text is borrowed. */
static void
text_members(void **state)
{
    LK_AUTO(json)
    json_t *object = json_pack("{s:s, s:n, s:i, s:s}", "a", "x", "b", "c", 1, "d", "");
    const char *text = "untouched";

    assert_int_equal(lk_json_text(object, "c", &text), LK_ERR_FORMAT);
    assert_string_equal(text, "untouched");
    assert_int_equal(lk_json_text(object, "a", &text), LK_OK);
    assert_string_equal(text, "x");
    assert_int_equal(lk_json_text(object, "b", &text), LK_OK);
    assert_null(text);
    assert_int_equal(lk_json_text(object, "d", &text), LK_OK);
    assert_string_equal(text, "");
    assert_int_equal(lk_json_text(object, "missing", &text), LK_OK);
    assert_null(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_no_json),
        cmocka_unit_test(wants_an_object),
        cmocka_unit_test(refuses_duplicates),
        cmocka_unit_test(refuses_trailing_text),
        cmocka_unit_test(refuses_nul),
        cmocka_unit_test(refuses_invalid_utf8),
        cmocka_unit_test(bounds_depth),
        cmocka_unit_test(nesting_costs_no_stack),
        cmocka_unit_test(refuses_huge_numbers),
        cmocka_unit_test(error_is_ours),
        cmocka_unit_test(writes_compact),
        cmocka_unit_test(writes_any_value),
        cmocka_unit_test(write_respects_limit),
        cmocka_unit_test(text_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
