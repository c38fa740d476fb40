/* Tests of src/api/import_json.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/import_json.h"

/* What is put is parsed as what it was, the longest source included. */
static void
entries(void **state)
{
    struct lk_import i = {.id = 1, .state = LK_IMPORT_DROPPING, .begun_ms = 1, .touched_ms = 2};
    struct lk_import back;
    json_t *object = json_object();

    i.rows_count = INT64_MAX;
    memset(i.source, 'x', sizeof(i.source) - 1);
    assert_int_equal(lk_import_entry_put(&i, object), LK_OK);
    assert_int_equal(lk_import_entry_parse(object, &back), LK_OK);
    assert_int_equal(back.id, 1);
    assert_int_equal(back.state, LK_IMPORT_DROPPING);
    assert_int_equal(back.rows_count, INT64_MAX);
    assert_int_equal(back.begun_ms, 1);
    assert_int_equal(back.touched_ms, 2);
    assert_string_equal(back.source, i.source);
    assert_int_equal(json_object_set_new(object, "state", json_string("done")), 0);
    assert_int_equal(lk_import_entry_parse(object, &back), LK_ERR_FORMAT);
    json_decref(object);
}

/* A source that is no UTF-8 grows on its way, and is cut at a whole character. */
static void
sources(void **state)
{
    struct lk_import i = {.id = 1, .begun_ms = 1, .touched_ms = 1}, back;
    json_t *object = json_object();

    memset(i.source, 0xff, sizeof(i.source) - 1);
    assert_int_equal(lk_import_entry_put(&i, object), LK_OK);
    assert_int_equal(lk_import_entry_parse(object, &back), LK_OK);
    assert_int_equal(strlen(back.source), sizeof(back.source) - 2);
    json_decref(object);
}

/* Each member is needed, and of its kind. */
static void
undone(void **state)
{
    static const char *const names[] = {"unfinished", "gone", "kept", "left"};
    struct lk_import_undone u = {.unfinished = true, .rows_gone = 5, .rows_kept = 7}, back;
    bool left = false;

    for (size_t n = 0; n <= LK_ARRAY_LEN(names); n++) {
        json_t *object = json_object();

        assert_int_equal(lk_import_undone_put(&u, true, object), LK_OK);
        if (n < LK_ARRAY_LEN(names)) {
            assert_int_equal(json_object_set_new(object, names[n], json_string("1")), 0);
            assert_int_equal(lk_import_undone_parse(object, &back, &left), LK_ERR_FORMAT);
        } else {
            assert_int_equal(lk_import_undone_parse(object, &back, &left), LK_OK);
            assert_true(back.unfinished && left);
            assert_int_equal(back.rows_gone, 5);
            assert_int_equal(back.rows_kept, 7);
            assert_int_equal(json_object_set_new(object, "gone", json_integer(-1)), 0);
            assert_int_equal(lk_import_undone_parse(object, &back, &left), LK_ERR_FORMAT);
        }
        json_decref(object);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries),
        cmocka_unit_test(sources),
        cmocka_unit_test(undone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
