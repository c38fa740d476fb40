/* Tests of src/api/path.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/path.h"

/* want is the segments, each followed by '|'. */
static void
expect_segments(const char *raw, const char *want)
{
    struct lk_path path = LK_PATH_INIT;
    LK_AUTO_BUF struct lk_buf got = LK_BUF_INIT;

    assert_int_equal(lk_path_parse(raw, &path), LK_OK);
    for (size_t i = 0; i < path.count; i++) {
        assert_int_equal(lk_buf_printf(&got, "%s|", path.segments[i]), LK_OK);
    }
    assert_string_equal(lk_buf_text(&got), want);
    lk_path_fini(&path);
}

static void
expect_error(const char *raw, enum lk_err want)
{
    struct lk_path path = LK_PATH_INIT;

    assert_int_equal(lk_path_parse(raw, &path), want);
    lk_path_fini(&path);
}

/* Segments are text: what means something to a file system means nothing here. */
static void
segments(void **state)
{
    expect_segments("/", "|");
    expect_segments("/a", "a|");
    expect_segments("/a/", "a||");
    expect_segments("//a", "|a|");
    expect_segments("/a//b", "a||b|");
    expect_segments("/a/./../b", "a|.|..|b|");
    expect_segments("/a\\b;c=d", "a\\b;c=d|");
    expect_segments("/0ne0/registrations/dev-1/register", "0ne0|registrations|dev-1|register|");
}

/* Escapes are undone once and never make a separator; '+' stays. */
static void
escapes(void **state)
{
    expect_segments("/%41%2f%2F..", "A//..|");
    expect_segments("/%252e", "%2e|");
    expect_segments("/%2e%2E/a", "..|a|");
    expect_segments("/a+b%2Bc%20", "a+b+c |");
    expect_segments("/%3fq%23f", "?q#f|");
    expect_segments("/\xc3\xa9%ff", "\xc3\xa9\xff|");
}

/* What has no meaning at all is an error, not a guess. */
static void
broken(void **state)
{
    static const char *const bad[] = {"",     "a/b",  "%2Fa",  "/%",       "/%4",    "/a/%zz",
                                      "/%4g", "/%00", "/a%00", "/a/%00/b", "/a%2%46"};

    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        expect_error(bad[i], LK_ERR_FORMAT);
    }
}

/* The most segments and the longest text are taken; one more of either is not. */
static void
limits(void **state)
{
    char raw[LK_PATH_TEXT_MAX + 2];

    expect_segments("/1/2/3/4/5/6/7/8", "1|2|3|4|5|6|7|8|");
    expect_error("/1/2/3/4/5/6/7/8/", LK_ERR_LIMIT);
    expect_error("/////////", LK_ERR_LIMIT);

    memset(raw, 'a', sizeof(raw));
    raw[0] = '/';
    raw[LK_PATH_TEXT_MAX] = '\0'; /* 1,023 bytes and a NUL */
    {
        struct lk_path path = LK_PATH_INIT;

        assert_int_equal(lk_path_parse(raw, &path), LK_OK);
        assert_int_equal(strlen(path.segments[0]), LK_PATH_TEXT_MAX - 1);
        lk_path_fini(&path);
    }
    raw[LK_PATH_TEXT_MAX] = 'a';
    raw[LK_PATH_TEXT_MAX + 1] = '\0';
    expect_error(raw, LK_ERR_LIMIT);
}

/* Fixed words are compared without regard to case, and only where there is a segment. */
static void
words(void **state)
{
    struct lk_path path = LK_PATH_INIT;

    assert_int_equal(lk_path_parse("/Registrations/", &path), LK_OK);
    assert_true(lk_path_is(&path, 0, "registrations"));
    assert_false(lk_path_is(&path, 0, "registration"));
    assert_false(lk_path_is(&path, 0, "registrationsx"));
    assert_true(lk_path_is(&path, 1, ""));
    assert_false(lk_path_is(&path, 2, ""));
    lk_path_fini(&path);
}

/* Any date will do, once; what is not a date will not. */
static void
api_version(void **state)
{
    static const char *const good[] = {"api-version=2021-06-01", "api-version=2018-09-01-preview",
                                       "api-version=2016-11-14", "a=b&api-version=2099-12-31&c",
                                       "API-Version=2019-03-31", "&&api-version=2019-03-31&"};
    static const char *const bad[] = {"api-version",
                                      "api-version=",
                                      "api-version=2021-06-01&api-version=2021-06-01",
                                      "api-version=2021-06-1",
                                      "api-version=2021-06-011",
                                      "api-version=2021-06-01-Beta-ver",
                                      "api-version=2021-06-01-",
                                      "api-version=2021/06/01",
                                      "api-version=2021-06-01;x",
                                      "api-version=v2021-06-0",
                                      "api-version=2021%2D06-01"};
    static const char *const none[] = {"",
                                       "&",
                                       "api-versio=2021-06-01",
                                       "forceRegistration=true",
                                       "x=api-version=2021-06-01",
                                       "api-version2=2021-06-01"};

    for (size_t i = 0; i < LK_ARRAY_LEN(good); i++) {
        assert_int_equal(lk_query_api_version(good[i]), LK_OK);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        assert_int_equal(lk_query_api_version(bad[i]), LK_ERR_FORMAT);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(none); i++) {
        assert_int_equal(lk_query_api_version(none[i]), LK_ERR_NOT_FOUND);
    }
}

/* Versions up to a date, and what comes right after it. */
static void
api_version_until(void **state)
{
    static const char *const before[] = {"api-version=2018-04-01", "api-version=2018-04-01-preview",
                                         "a=b&API-Version=2016-11-14&c", "api-version=2018-03-31"};
    static const char *const after[] = {"api-version=2018-04-02", "api-version=2018-09-01-preview",
                                        "api-version=2021-06-01", "x-api-version=2016-11-14"};

    for (size_t i = 0; i < LK_ARRAY_LEN(before); i++) {
        assert_true(lk_query_api_version_until(before[i], "2018-04-01"));
        assert_false(lk_query_api_version_until(after[i], "2018-04-01"));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments),
        cmocka_unit_test(escapes),
        cmocka_unit_test(broken),
        cmocka_unit_test(limits),
        cmocka_unit_test(words),
        cmocka_unit_test(api_version),
        cmocka_unit_test(api_version_until),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
