/* Tests of src/cli/options.c. */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

/* ---- what is shown --------------------------------------------------------------------------- */

static void
expect_shown(const char *text, const char *want)
{
    char buf[LK_CLI_SHOWN_CAP];

    assert_ptr_equal(lk_cli_shown(text, buf), buf);
    assert_string_equal(buf, want);
}

/* Printable ASCII stays, everything else is escaped, and an escape cannot be forged. */
static void
shown_escapes(void **state)
{
    expect_shown("", "");
    expect_shown(" ~", " ~");
    expect_shown("\x1b[31m\n\x7f", "\\x1b[31m\\x0a\\x7f");
    expect_shown("\xc3\xa4\x9b", "\\xc3\\xa4\\x9b");
    expect_shown("\\x1b", "\\\\x1b");
}

/* The longest text that fits, one past it, and far past it, of bytes that take one and four places:
 * always ended, never over the buffer's end. */
static void
shown_is_bounded(void **state)
{
    static const char bytes[] = {'a', '\x01', '\\'};

    for (size_t i = 0; i < sizeof(bytes); i++) {
        for (size_t len = 200; len<3000; len += len> 1100 ? 500 : 1) {
            char *text = malloc(len + 1);
            char buf[LK_CLI_SHOWN_CAP + 16];
            size_t got;

            assert_non_null(text);
            memset(text, bytes[i], len);
            text[len] = '\0';
            memset(buf, 0x5a, sizeof(buf));
            (void)lk_cli_shown(text, buf);
            got = strnlen(buf, sizeof(buf));
            assert_true(got < LK_CLI_SHOWN_CAP);
            for (size_t n = LK_CLI_SHOWN_CAP; n < sizeof(buf); n++) {
                assert_int_equal(buf[n], 0x5a);
            }
            if (len > LK_CLI_SHOWN_CAP) {
                assert_string_equal(buf + got - 3, "...");
            } else if (bytes[i] == 'a' && len < LK_CLI_SHOWN_CAP - 8) {
                assert_int_equal(got, len);
            }
            free(text);
        }
    }
}

/* UTF-8 goes into JSON as it is, other bytes as they are shown. */
static void
json_text_takes_any_bytes(void **state)
{
    LK_AUTO(json) json_t *good = lk_cli_json_text("\xc3\xa4");
    LK_AUTO(json) json_t *bad = lk_cli_json_text("a\xff");

    assert_string_equal(json_string_value(good), "\xc3\xa4");
    assert_string_equal(json_string_value(bad), "a\\xff");
}

/* Milliseconds are kept, nothing finer is made up; 0 is "never". */
static void
times(void **state)
{
    char buf[LK_CLI_TIME_CAP];

    assert_string_equal(lk_cli_time(0, buf), "-");
    assert_string_equal(lk_cli_time(1, buf), "1970-01-01T00:00:00.001Z");
    assert_string_equal(lk_cli_time(1900000000123, buf), "2030-03-17T17:46:40.123Z");
    assert_true(strlen(lk_cli_time(INT64_MAX, buf)) < sizeof(buf));
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void
numbers(void **state)
{
    static const char *const wrong[] = {
        "", "-1", "+1", "1 ", " 1", "0x1", "1.0", "one", "0", "1001", "18446744073709551616"};
    uint64_t n = 7;

    for (size_t i = 0; i < LK_ARRAY_LEN(wrong); i++) {
        assert_int_equal(lk_cli_number(wrong[i], 1, 1000, &n), LK_ERR_ARG);
        assert_int_equal(n, 7);
    }
    assert_int_equal(lk_cli_number("1", 1, 1000, &n), LK_OK);
    assert_int_equal(n, 1);
    assert_int_equal(lk_cli_number("1000", 1, 1000, &n), LK_OK);
    assert_int_equal(n, 1000);
}

/* ---- options --------------------------------------------------------------------------------- */

enum { OPT_SIZE = LK_CLI_OPT_COMMAND };

static enum lk_err
take(void *ctx, int option, const char *value)
{
    assert_int_equal(option, OPT_SIZE);
    return lk_cli_number(value, 1, 9, (uint64_t *)ctx);
}

static const struct lk_cli_form form = {
    .usage = "x",
    .help = "",
    .options = (const struct option[]){{"size", required_argument, NULL, OPT_SIZE},
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 2,
    .take = take,
};

struct parsed {
    struct lk_cli_common common;
    uint64_t size;
    bool go_on;
    int code;
    const char *first; /* word */
};

/* argv is a text of words with one blank between them. */
static struct parsed
parse(char *text)
{
    struct parsed p = {.code = -1};
    char *argv[16] = {NULL};
    int argc = 0;

    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    p.go_on = lk_cli_options(&form, argc, argv, &p.common, &p.size, &p.code);
    p.first = p.go_on ? argv[optind] : NULL;
    return p;
}

/* Options and words in any order; what follows "--" is a word. */
static void
options_in_any_order(void **state)
{
    char before[] = "x --size 5 --json --scope s --config c word";
    char after[] = "x word --size=5 --json --scope=s --config=c";
    char dashes[] = "x -- --json";
    struct parsed p = parse(before);

    assert_true(p.go_on && p.common.json && p.size == 5);
    assert_string_equal(p.common.scope, "s");
    assert_string_equal(p.common.config, "c");
    assert_string_equal(p.first, "word");
    p = parse(after);
    assert_true(p.go_on && p.common.json && p.size == 5);
    assert_string_equal(p.first, "word");
    p = parse(dashes);
    assert_true(p.go_on && !p.common.json);
    assert_string_equal(p.first, "--json");
}

/* Each mistake ends the command as a usage error, help ends it well. */
static void
options_mistakes(void **state)
{
    static const char *const wrong[] = {"x",          "x a b c",       "x a --size",
                                        "x a --what", "x a --size 10", "x a --size -1",
                                        "x a -j",     "x a --json=yes"};
    char help[] = "x --help --what";

    for (size_t i = 0; i < LK_ARRAY_LEN(wrong); i++) {
        char text[32];
        struct parsed p;

        (void)snprintf(text, sizeof(text), "%s", wrong[i]);
        p = parse(text);
        assert_false(p.go_on);
        assert_int_equal(p.code, EX_USAGE);
    }
    assert_false(parse(help).go_on);
    assert_int_equal(parse((char[]){"x --help"}).code, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shown_escapes),
        cmocka_unit_test(shown_is_bounded),
        cmocka_unit_test(json_text_takes_any_bytes),
        cmocka_unit_test(times),
        cmocka_unit_test(numbers),
        cmocka_unit_test(options_in_any_order),
        cmocka_unit_test(options_mistakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
