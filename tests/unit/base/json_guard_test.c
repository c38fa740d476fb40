/* Tests of lk_json_guard(): what is being read while memory runs out is read to its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

#define RESERVE_MIN ((size_t)1024 * 1024) /* what we take for the reserve itself */

void *__real_malloc(size_t len);
void __real_free(void *p);
void *__wrap_malloc(size_t len);
void __wrap_free(void *p);

/* Memory is gone from the n-th allocation on, until the reserve is given up. */
static size_t allocations_left = SIZE_MAX;
static bool has_reserve;
static void *reserve;

void *
__wrap_malloc(size_t len)
{
    void *p;

    if (allocations_left == 0) {
        return NULL;
    }
    if (allocations_left != SIZE_MAX) {
        allocations_left--;
    }
    p = __real_malloc(len);
    if (len >= RESERVE_MIN) {
        reserve = p;
        has_reserve = true;
    }
    return p;
}

void
__wrap_free(void *p)
{
    if (p != NULL && p == reserve) {
        has_reserve = false;
        reserve = NULL;
        allocations_left = SIZE_MAX;
    }
    __real_free(p);
}

static const char text[] = "{\"a\":[1,2,\"three\"],\"b\":{\"c\":null}}";

static enum lk_err
parse(json_t **ret)
{
    char error[LK_JSON_ERROR_CAP];

    return lk_json_parse(text, strlen(text), false, error, ret);
}

/* Wherever memory ends, the value is whole, and the reserve is what it was paid with. */
static void
reads_to_the_end(void **state)
{
    size_t n = 0;

    do {
        LK_AUTO(json) json_t *value = NULL;
        LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;

        allocations_left = SIZE_MAX;
        assert_int_equal(parse(&value), LK_OK); /* the reserve is there again */
        json_drop(&value);
        value = NULL;
        assert_true(has_reserve);
        allocations_left = n++;
        assert_int_equal(parse(&value), LK_OK);
        allocations_left = SIZE_MAX;
        assert_int_equal(lk_json_write(value, &out), LK_OK);
        assert_string_equal(lk_buf_text(&out), text);
    } while (!has_reserve);
    assert_true(n > 10);
}

/* Without a reserve nothing is begun, and it is said what is missing. */
static void
begins_nothing_without(void **state)
{
    LK_AUTO(json) json_t *value = NULL;
    char error[LK_JSON_ERROR_CAP];

    allocations_left = 0;
    assert_int_equal(parse(&value), LK_OK); /* gives it up */
    assert_false(has_reserve);
    json_drop(&value);
    value = NULL;
    allocations_left = 0;
    assert_int_equal(lk_json_parse(text, strlen(text), false, error, &value), LK_ERR_NOMEM);
    assert_null(value);
    assert_non_null(strstr(error, "out of memory"));
    allocations_left = SIZE_MAX;
    assert_int_equal(parse(&value), LK_OK);
    assert_true(has_reserve);
}

/* A process without memory for the reserve does not start. */
static void
needs_its_reserve(void **state)
{
    allocations_left = 0;
    assert_int_equal(lk_json_guard(), LK_ERR_NOMEM);
    allocations_left = SIZE_MAX;
    assert_int_equal(lk_json_guard(), LK_OK);
    assert_true(has_reserve);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needs_its_reserve),
        cmocka_unit_test(reads_to_the_end),
        cmocka_unit_test(begins_nothing_without),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
