/* Tests of src/base/log.c. journald is played by a replaced sd_journal_sendv() (see meson.build).
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/log.h"

int __wrap_sd_journal_sendv(const struct iovec *iov, int n);

static struct lk_buf journal = LK_BUF_INIT;

/* Each field on a line of its own. */
int
__wrap_sd_journal_sendv(const struct iovec *iov, int n)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(lk_buf_put(&journal, iov[i].iov_base, iov[i].iov_len), LK_OK);
        assert_int_equal(lk_buf_puts(&journal, "\n"), LK_OK);
    }
    return 0;
}

static int pipe_fds[2];

static int
open_pipe(void **state)
{
    lk_log_set_level(LK_LOG_INFO);
    if (pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC) != 0) {
        return -1;
    }
    lk_log_open(LK_LOG_JSON, pipe_fds[1]);
    return 0;
}

static int
close_pipe(void **state)
{
    lk_log_open(LK_LOG_JSON, STDERR_FILENO);
    lk_buf_fini(&journal);
    return close(pipe_fds[0]) | close(pipe_fds[1]);
}

/* What was logged, as text. */
static const char *
logged(void)
{
    static char text[PIPE_BUF + 1];
    ssize_t len = read(pipe_fds[0], text, sizeof(text) - 1);

    text[len > 0 ? len : 0] = 0;
    return text;
}

/* What was logged, which must be one line and one JSON object. */
static json_t *
logged_object(void)
{
    const char *text = logged();
    json_t *object = NULL;
    char error[LK_JSON_ERROR_CAP] = "";

    assert_non_null(strchr(text, '\n'));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    if (lk_json_parse(text, strlen(text), false, error, &object) != LK_OK) {
        fail_msg("%s: %s", error, text);
    }
    return object;
}

static const char *
text_of(const json_t *object, const char *name)
{
    const char *text = NULL;

    assert_int_equal(lk_json_text(object, name, &text), LK_OK);
    return text;
}

/* Time, level and event come first; a field without text is left out. */
static void
writes_one_object(void **state)
{
    LK_AUTO(json) json_t *object = NULL;

    lk_log(LK_LOG_WARNING, "registration.refused", LK_F_TEXT("reason", "srk.not_restricted"),
           LK_F_TEXT("absent", NULL), LK_F_INT("bytes", -7), LK_F_ERR(LK_ERR_REFUSED));
    object = logged_object();
    assert_int_equal(strlen(text_of(object, "time")), strlen("2026-01-02T03:04:05.6789012Z"));
    assert_string_equal(text_of(object, "level"), "warning");
    assert_string_equal(text_of(object, "event"), "registration.refused");
    assert_string_equal(text_of(object, "reason"), "srk.not_restricted");
    assert_string_equal(text_of(object, "error"), "refused");
    assert_int_equal(json_integer_value(json_object_get(object, "bytes")), -7);
    assert_int_equal(json_object_size(object), 6);
}

/* An event needs no fields. */
static void
writes_without_fields(void **state)
{
    LK_AUTO(json) json_t *object = NULL;

    lk_log(LK_LOG_ERROR, "daemon.stopped");
    object = logged_object();
    assert_int_equal(json_object_size(object), 3);
}

/* The level drops what is less important, and may change at any time. */
static void
level_drops(void **state)
{
    assert_false(lk_log_enabled(LK_LOG_DEBUG));
    lk_log(LK_LOG_DEBUG, "a", LK_F_INT("n", 1));
    lk_log_fields(LK_LOG_DEBUG, "b", NULL, 0);
    assert_string_equal(logged(), "");
    lk_log_set_level(LK_LOG_DEBUG);
    lk_log(LK_LOG_DEBUG, "c", LK_F_INT("n", 1));
    assert_non_null(strstr(logged(), "\"level\":\"debug\",\"event\":\"c\",\"n\":1}"));
    lk_log_set_level(LK_LOG_ERROR);
    lk_log(LK_LOG_WARNING, "d", LK_F_INT("n", 1));
    assert_string_equal(logged(), "");
}

/* Whatever a peer puts into a field, the line stays one line of JSON with the same text in it. */
static void
escapes_text(void **state)
{
    LK_AUTO(json) json_t *object = NULL;
    const char *text = "\"}\n{\\\t\x1b[2J\x7f \xc2\x85 \xc3\xa9 \xf0\x9f\x98\x80";

    lk_log(LK_LOG_INFO, "x", LK_F_TEXT("t", text));
    object = logged_object();
    assert_string_equal(text_of(object, "t"), text);
    assert_int_equal(json_object_size(object), 4);
}

/* No control character reaches a terminal, C1 controls in UTF-8 included. */
static void
writes_no_controls(void **state)
{
    char text[160];
    size_t len = 0;

    for (int c = 1; c < 0x20; c++) {
        text[len++] = (char)c;
    }
    text[len++] = 0x7f;
    for (int c = 0x80; c < 0xa0; c++) {
        text[len++] = (char)0xc2;
        text[len++] = (char)c;
    }
    text[len] = 0;
    lk_log(LK_LOG_INFO, "x", LK_F_TEXT("t", text));
    for (const char *p = logged(); *p != 0 && *p != '\n'; p++) {
        assert_in_range((unsigned char)*p, 0x20, 0x7e);
    }
}

/* Bytes that are no UTF-8 become replacement characters, one a byte, and swallow nothing after. */
static void
replaces_invalid_utf8(void **state)
{
    static const char *const rows[][2] = {
        {"\xff.", "\xef\xbf\xbd."},
        {"\x80.", "\xef\xbf\xbd."},
        {"\xc3.", "\xef\xbf\xbd."},
        {"\xc3\"", "\xef\xbf\xbd\""},
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe0\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf8\x88\x80\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        LK_AUTO(json) json_t *object = NULL;

        lk_log(LK_LOG_INFO, "x", LK_F_TEXT("t", rows[i][0]));
        object = logged_object();
        assert_string_equal(text_of(object, "t"), rows[i][1]);
    }
}

/* The longest text is whole; one byte more ends in an ellipsis, never inside a character. */
static void
bounds_text(void **state)
{
    char text[LK_LOG_TEXT_MAX + 200];
    LK_AUTO(json) json_t *whole = NULL, *cut = NULL, *wide = NULL;

    memset(text, 'a', sizeof(text));
    text[LK_LOG_TEXT_MAX] = 0;
    lk_log(LK_LOG_INFO, "x", LK_F_TEXT("t", text));
    whole = logged_object();
    assert_string_equal(text_of(whole, "t"), text);

    text[LK_LOG_TEXT_MAX] = 'b';
    text[LK_LOG_TEXT_MAX + 1] = 0;
    lk_log(LK_LOG_INFO, "x", LK_F_TEXT("t", text));
    cut = logged_object();
    assert_int_equal(strlen(text_of(cut, "t")), LK_LOG_TEXT_MAX + 3);
    assert_string_equal(text_of(cut, "t") + LK_LOG_TEXT_MAX, "\xe2\x80\xa6");

    memcpy(text + LK_LOG_TEXT_MAX - 1, "\xc3\xa9", 3);
    lk_log(LK_LOG_INFO, "x", LK_F_TEXT("t", text));
    wide = logged_object();
    assert_string_equal(text_of(wide, "t") + LK_LOG_TEXT_MAX - 1, "\xe2\x80\xa6");
}

/* Fields that do not fit into one atomic write are left out whole, and the line says so. */
static void
bounds_line(void **state)
{
    char text[LK_LOG_TEXT_MAX + 1];
    LK_AUTO(json) json_t *object = NULL;

    memset(text, 1, sizeof(text));
    text[LK_LOG_TEXT_MAX] = 0;
    lk_log(LK_LOG_INFO, "x", LK_F_TEXT("a", text), LK_F_TEXT("b", text), LK_F_TEXT("c", text),
           LK_F_TEXT("d", text));
    object = logged_object();
    assert_string_equal(text_of(object, "a"), text);
    assert_string_equal(text_of(object, "b"), text);
    assert_null(json_object_get(object, "c"));
    assert_null(json_object_get(object, "d"));
    assert_true(json_is_true(json_object_get(object, "truncated")));
}

static void *
log_many(void *arg)
{
    for (int i = 0; i < 20; i++) {
        lk_log(LK_LOG_INFO, "thread", LK_F_TEXT("t", arg));
    }
    return NULL;
}

/* Lines of many threads stay whole. */
static void
lines_do_not_mix(void **state)
{
    static char text[LK_LOG_TEXT_MAX + 1], all[1u << 16];
    pthread_t threads[4];
    size_t lines = 0;
    ssize_t len;

    memset(text, 'y', LK_LOG_TEXT_MAX);
    for (size_t i = 0; i < LK_ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, text), 0);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    len = read(pipe_fds[0], all, sizeof(all) - 1);
    assert_true(len > 0);
    all[len] = 0;
    for (char *at = all, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        LK_AUTO(json) json_t *object = NULL;

        assert_int_equal(lk_json_parse(at, (size_t)(end - at), false, NULL, &object), LK_OK);
        assert_string_equal(text_of(object, "t"), text);
        lines++;
    }
    assert_int_equal(lines, 80);
}

/* A descriptor that takes nothing costs the line, not the program. */
static void
survives_bad_descriptor(void **state)
{
    lk_log_open(LK_LOG_JSON, -1);
    lk_log(LK_LOG_ERROR, "lost", LK_F_INT("n", 1));
    lk_log_open(LK_LOG_JSON, pipe_fds[1]);
    lk_log(LK_LOG_ERROR, "found", LK_F_INT("n", 1));
    assert_non_null(strstr(logged(), "found"));
}

/* journald gets a sentence to read, and each field by its own name. */
static void
journald_fields(void **state)
{
    lk_log_open(LK_LOG_JOURNALD, -1);
    lk_log(LK_LOG_WARNING, "registration.refused", LK_F_TEXT("registration_id", "a\"\nb"),
           LK_F_TEXT("absent", NULL), LK_F_INT("bytes", 5), LK_F_ERR(LK_ERR_REFUSED));
    assert_string_equal(
        lk_buf_text(&journal),
        "MESSAGE=registration.refused registration_id=\"a\\\"\\u000ab\" bytes=5 error=\"refused\"\n"
        "PRIORITY=4\n"
        "LATCHKEY_EVENT=registration.refused\n"
        "LATCHKEY_REGISTRATION_ID=a\\\"\\u000ab\n"
        "LATCHKEY_BYTES=5\n"
        "LATCHKEY_ERROR=refused\n");
    assert_string_equal(logged(), "");
}

/* More fields than an entry holds: the first ones are there, and the entry is sent. */
static void
journald_bounds(void **state)
{
    struct lk_log_field fields[40];
    char text[LK_LOG_TEXT_MAX + 1];

    memset(text, 1, sizeof(text));
    text[LK_LOG_TEXT_MAX] = 0;
    for (size_t i = 0; i < LK_ARRAY_LEN(fields); i++) {
        fields[i] = LK_F_TEXT("field", text);
    }
    lk_log_open(LK_LOG_JOURNALD, -1);
    lk_log_fields(LK_LOG_ERROR, "x", fields, LK_ARRAY_LEN(fields));
    assert_non_null(strstr(lk_buf_text(&journal), "PRIORITY=3\nLATCHKEY_EVENT=x\nLATCHKEY_FIELD="));
    lk_buf_reset(&journal);
    for (size_t i = 0; i < LK_ARRAY_LEN(fields); i++) {
        fields[i] = LK_F_INT("field", 1);
    }
    lk_log_fields(LK_LOG_ERROR, "x", fields, LK_ARRAY_LEN(fields));
    assert_non_null(strstr(lk_buf_text(&journal), "\nLATCHKEY_FIELD=1\n"));
}

/* Four words, exactly. */
static void
parses_levels(void **state)
{
    static const char *const refused[] = {"", "Error", "warn", "info ", "7"};
    enum lk_log_level level = LK_LOG_DEBUG;

    for (size_t i = 0; i < LK_ARRAY_LEN(refused); i++) {
        assert_int_equal(lk_log_level_parse(refused[i], &level), LK_ERR_FORMAT);
        assert_int_equal(level, LK_LOG_DEBUG);
    }
    assert_int_equal(lk_log_level_parse("error", &level), LK_OK);
    assert_int_equal(level, LK_LOG_ERROR);
    assert_int_equal(lk_log_level_parse("warning", &level), LK_OK);
    assert_int_equal(level, LK_LOG_WARNING);
    assert_int_equal(lk_log_level_parse("info", &level), LK_OK);
    assert_int_equal(level, LK_LOG_INFO);
    assert_int_equal(lk_log_level_parse("debug", &level), LK_OK);
    assert_int_equal(level, LK_LOG_DEBUG);
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, open_pipe, close_pipe)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(writes_one_object),  LOG_TEST(writes_without_fields),
        LOG_TEST(level_drops),        LOG_TEST(escapes_text),
        LOG_TEST(writes_no_controls), LOG_TEST(replaces_invalid_utf8),
        LOG_TEST(bounds_text),        LOG_TEST(bounds_line),
        LOG_TEST(lines_do_not_mix),   LOG_TEST(survives_bad_descriptor),
        LOG_TEST(journald_fields),    LOG_TEST(journald_bounds),
        LOG_TEST(parses_levels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
