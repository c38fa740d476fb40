/* Tests of src/api/hub_props.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/hub_props.h"

static enum lk_err
collect(void *ctx, const char *header, const char *value)
{
    return lk_buf_printf(ctx, "%s: %s\n", header, value);
}

static void
expect_headers(const char *stored, const char *want)
{
    LK_AUTO_BUF struct lk_buf got = LK_BUF_INIT;

    assert_int_equal(lk_props_each(stored, strlen(stored), collect, &got), LK_OK);
    assert_string_equal(lk_buf_text(&got), want);
}

/* A header of a message becomes a property of the name that it has in a topic; others do not. */
static void
from_headers(void **state)
{
    LK_AUTO_PROPS struct lk_props p = LK_PROPS_INIT;

    assert_int_equal(lk_props_put(&p, "Content-Type", "text/plain"), LK_OK);
    assert_int_equal(lk_props_put(&p, "iothub-app-", "no name"), LK_OK);
    assert_int_equal(lk_props_put(&p, "iothub-to", "/devices/d/messages/events"), LK_OK);
    assert_int_equal(p.text.len, 0);
    assert_int_equal(lk_props_put(&p, "IoTHub-App-Alert", "a&b=c"), LK_OK);
    assert_int_equal(lk_props_put(&p, "IoTHub-MessageId", "m-1"), LK_OK);
    assert_int_equal(lk_props_put(&p, "iothub-contenttype", "application/json"), LK_OK);
    assert_int_equal(lk_props_put(&p, "iothub-app-e", ""), LK_OK);
    assert_string_equal(lk_buf_text(&p.text),
                        "Alert=a%26b%3Dc&%24.mid=m-1&%24.ct=application%2Fjson&e=");
    assert_int_equal(p.count, 4);
}

/* The most properties, and one more; the longest text, and one byte more. */
static void
limits(void **state)
{
    LK_AUTO_PROPS struct lk_props many = LK_PROPS_INIT;
    LK_AUTO_PROPS struct lk_props big = LK_PROPS_INIT;
    char value[LK_PROPS_MAX];
    char name[32];

    for (unsigned i = 0; i < LK_PROPS_COUNT_MAX; i++) {
        (void)snprintf(name, sizeof(name), "iothub-app-p%u", i);
        assert_int_equal(lk_props_put(&many, name, "v"), LK_OK);
    }
    assert_int_equal(lk_props_put(&many, "iothub-app-x", "v"), LK_ERR_LIMIT);
    assert_int_equal(many.count, LK_PROPS_COUNT_MAX);

    memset(value, 'v', sizeof(value));
    value[LK_PROPS_MAX - strlen("n=") + 1] = '\0';
    assert_int_equal(lk_props_put(&big, "iothub-app-n", value), LK_ERR_LIMIT);
    assert_int_equal(big.text.len, 0);
    value[LK_PROPS_MAX - strlen("n=")] = '\0';
    assert_int_equal(lk_props_put(&big, "iothub-app-n", value), LK_OK);
    assert_int_equal(big.text.len, LK_PROPS_MAX);
}

/* What is stored comes out as headers; what no header can carry stays encoded, or inside. */
static void
to_headers(void **state)
{
    expect_headers("", "");
    expect_headers("Alert=a%26b&%24.mid=m-1", "iothub-app-Alert: a&b\niothub-messageid: m-1\n");
    expect_headers("bare&e=", "iothub-app-bare: \niothub-app-e: \n");
    expect_headers("%24.to=%2Fdevices&%24.unknown=1&k=v", "iothub-app-k: v\n");
    expect_headers("k=a%0D%0Ab&l=%C3%A9&m=%20x", "iothub-app-k: a%0D%0Ab\niothub-app-l: %C3%A9\n"
                                                 "iothub-app-m: %20x\n");
    expect_headers("a%3A%20b=1&%0A=2", "iothub-app-a%3A%20b: 1\niothub-app-%0A: 2\n");
}

/* A broken property ends it, as what comes after it has no certain meaning. */
static void
broken(void **state)
{
    expect_headers("k=v&%zz=1&l=w", "iothub-app-k: v\n");
    expect_headers("k=v&=1&l=w", "iothub-app-k: v\n");
}

static enum lk_err
refuse(void *ctx, const char *header, const char *value)
{
    ++*(unsigned *)ctx;
    return LK_ERR_CANCELLED;
}

/* An error of the callback ends it, and is told. */
static void
callback_error(void **state)
{
    unsigned calls = 0;

    assert_int_equal(lk_props_each("a=1&b=2", 7, refuse, &calls), LK_ERR_CANCELLED);
    assert_int_equal(calls, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_headers),   cmocka_unit_test(limits),
        cmocka_unit_test(to_headers),     cmocka_unit_test(broken),
        cmocka_unit_test(callback_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
