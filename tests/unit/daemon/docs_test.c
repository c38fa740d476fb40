/* The manual and the example show what the configuration's table says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/config_int.h"

static const char *man_page, *example; /* file names */

static void
file_read(const char *path, struct lk_buf *ret)
{
    FILE *f = fopen(path, "r");
    uint8_t *to = lk_buf_extend(ret, LK_CONFIG_FILE_MAX);

    assert_non_null(f);
    assert_non_null(to);
    ret->len = fread(to, 1, LK_CONFIG_FILE_MAX, f);
    assert_int_equal(fclose(f), 0);
    assert_in_range(ret->len, 1, LK_CONFIG_FILE_MAX - 1);
}

/* latchkeyd.conf(5) holds the rows as `latchkeyd --man-rows` prints them. */
static void
manual_is_the_table(void **state)
{
    LK_AUTO_BUF struct lk_buf page = LK_BUF_INIT, rows = LK_BUF_INIT;

    file_read(man_page, &page);
    assert_int_equal(lk_config_describe(true, &rows), LK_OK);
    assert_non_null(strstr(lk_buf_text(&page), lk_buf_text(&rows)));
}

/* The example is what `latchkeyd --default-config` prints. */
static void
example_is_the_table(void **state)
{
    LK_AUTO_BUF struct lk_buf got = LK_BUF_INIT, want = LK_BUF_INIT;

    file_read(example, &got);
    assert_int_equal(lk_config_template(NULL, 0, &want), LK_OK);
    assert_string_equal(lk_buf_text(&got), lk_buf_text(&want));
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manual_is_the_table),
        cmocka_unit_test(example_is_the_table),
    };

    if (argc != 3) {
        return 1;
    }
    man_page = argv[1];
    example = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
