/* Tests of src/base/err.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

/* Every code has a name of its own, a sentence, and a way out of the process. */
static void
every_code_has_its_row(void **state)
{
    for (int i = 0; i < LK_ERR_COUNT; i++) {
        assert_true(strlen(lk_err_name((enum lk_err)i)) > 0);
        assert_true(strlen(lk_err_text((enum lk_err)i)) > 0);
        assert_string_not_equal(lk_err_name((enum lk_err)i), "unknown");
        assert_in_range(lk_err_http_status((enum lk_err)i), 200, 599);
        assert_in_range(lk_err_exit_code((enum lk_err)i), 0, 78);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(lk_err_name((enum lk_err)i), lk_err_name((enum lk_err)j));
        }
    }
}

/* Only success looks like success to the caller, to HTTP and to the shell. */
static void
only_ok_is_success(void **state)
{
    assert_int_equal(LK_OK, 0);
    assert_int_equal(lk_err_kind(LK_OK), LK_KIND_OK);
    assert_int_equal(lk_err_http_status(LK_OK), 200);
    assert_int_equal(lk_err_exit_code(LK_OK), 0);
    for (int i = 1; i < LK_ERR_COUNT; i++) {
        assert_int_not_equal(lk_err_kind((enum lk_err)i), LK_KIND_OK);
        assert_true(lk_err_http_status((enum lk_err)i) >= 400);
        assert_int_not_equal(lk_err_exit_code((enum lk_err)i), 0);
    }
}

/* What a client may repeat unchanged is answered with a status that says so. */
static void
retry_is_never_the_clients_fault(void **state)
{
    for (int i = 0; i < LK_ERR_COUNT; i++) {
        if (lk_err_kind((enum lk_err)i) == LK_KIND_RETRY) {
            assert_true(lk_err_http_status((enum lk_err)i) >= 500);
        }
        if (lk_err_kind((enum lk_err)i) == LK_KIND_REFUSE) {
            assert_in_range(lk_err_http_status((enum lk_err)i), 400, 499);
        }
    }
}

/* A number that is no code is answered as a failure, at both ends. */
static void
unknown_codes_fail(void **state)
{
    static const int codes[] = {-1, LK_ERR_COUNT, 1000000};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        assert_string_equal(lk_err_name((enum lk_err)codes[i]), "unknown");
        assert_int_equal(lk_err_kind((enum lk_err)codes[i]), LK_KIND_GIVE_UP);
        assert_int_equal(lk_err_http_status((enum lk_err)codes[i]), 500);
        assert_int_not_equal(lk_err_exit_code((enum lk_err)codes[i]), 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_row),
        cmocka_unit_test(only_ok_is_success),
        cmocka_unit_test(retry_is_never_the_clients_fault),
        cmocka_unit_test(unknown_codes_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
