/* Tests of src/daemon/config_template.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/config.h"

static void
fail_on_difference(void *ctx, const char *key, bool reloadable)
{
    (void)ctx;
    (void)reloadable;
    fail_msg("%s differs", key);
}

/* Take the comment sign from the lines that hold a key: "#key = value". */
static void
uncomment(struct lk_buf *text)
{
    char *p = (char *)text->data;

    for (size_t i = 0; i + 1 < text->len; i++) {
        if (p[i] == '#' && (i == 0 || p[i - 1] == '\n') && p[i + 1] != ' ') {
            p[i] = ' ';
        }
    }
}

/* What is in comments is at its default: the file reads as defaults with and without them. */
static void
template_is_the_defaults(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_config defaults, got;
    char error[LK_CONFIG_ERROR_CAP];

    lk_config_defaults(&defaults);
    assert_int_equal(lk_config_template(NULL, 0, &text), LK_OK);
    assert_int_equal(lk_config_parse("t", (const char *)text.data, text.len, error, &got), LK_OK);
    lk_config_diff(&defaults, &got, fail_on_difference, NULL);
    uncomment(&text);
    if (lk_config_parse("t", (const char *)text.data, text.len, error, &got) != LK_OK) {
        fail_msg("%s", error);
    }
    lk_config_diff(&defaults, &got, fail_on_difference, NULL);
}

/* A setting is taken; defaults below the data folder follow it, in comments too; NULL is none. */
static void
template_with_settings(void **state)
{
    const struct lk_config_setting settings[] = {
        {"data-dir", "/srv/x y"}, {"listen", "127.0.0.1:8443"}, {"tls-cert", NULL}};
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_config got;
    char error[LK_CONFIG_ERROR_CAP];

    assert_int_equal(lk_config_template(settings, LK_ARRAY_LEN(settings), &text), LK_OK);
    assert_int_equal(lk_config_parse("t", (const char *)text.data, text.len, error, &got), LK_OK);
    assert_string_equal(got.data_dir, "/srv/x y");
    assert_string_equal(got.listen, "127.0.0.1:8443");
    assert_string_equal(got.keyring, "/srv/x y/master.key");
    assert_non_null(strstr(lk_buf_text(&text), "\n#keyring = /srv/x y/master.key\n"));
    uncomment(&text);
    assert_int_equal(lk_config_parse("t", (const char *)text.data, text.len, error, &got), LK_OK);
}

/* A line end in a value would be another key. */
static void
template_refuses_line_ends(void **state)
{
    const struct lk_config_setting lf = {"listen", ":1\nworkers = 3"}, cr = {"listen", ":1\r"};
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    assert_int_equal(lk_config_template(&lf, 1, &text), LK_ERR_ARG);
    assert_int_equal(lk_config_template(&cr, 1, &text), LK_ERR_ARG);
    assert_int_equal(text.len, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(template_is_the_defaults),
        cmocka_unit_test(template_with_settings),
        cmocka_unit_test(template_refuses_line_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
