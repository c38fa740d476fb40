/* Tests of src/api/hub_path.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/hub_path.h"

static enum lk_err
route(const char *raw, enum lk_http_method method, struct lk_path *path,
      struct lk_hubapi_route *ret)
{
    *path = (struct lk_path)LK_PATH_INIT;
    assert_int_equal(lk_path_parse(raw, path), LK_OK);
    return lk_hubapi_route(path, method, ret);
}

static void
expect(const char *raw, enum lk_http_method method, enum lk_hubapi_action action, const char *id,
       const char *lock)
{
    struct lk_hubapi_route r = {.action = LK_HUBAPI_NONE};
    struct lk_path path;

    assert_int_equal(route(raw, method, &path, &r), LK_OK);
    assert_int_equal(r.action, action);
    assert_true(id == NULL ? r.id == NULL : r.id != NULL && strcmp(r.id, id) == 0);
    assert_true(lock == NULL ? r.lock == NULL : r.lock != NULL && strcmp(r.lock, lock) == 0);
    lk_path_fini(&path);
}

static void
expect_error(const char *raw, enum lk_http_method method, enum lk_err err, const char *allow)
{
    struct lk_hubapi_route r = {.allow = NULL};
    struct lk_path path;

    assert_int_equal(route(raw, method, &path, &r), err);
    if (allow != NULL) {
        assert_string_equal(r.allow, allow);
    }
    lk_path_fini(&path);
}

/* Every row of sections 2 and 7, with what clients make of the slash at the end. */
static void
rows(void **state)
{
    expect("/devices", LK_HTTP_GET, LK_HUBAPI_LIST, NULL, NULL);
    expect("/devices/", LK_HTTP_GET, LK_HUBAPI_LIST, NULL, NULL);
    expect("/Devices/", LK_HTTP_POST, LK_HUBAPI_BULK, NULL, NULL);
    expect("/devices/query", LK_HTTP_POST, LK_HUBAPI_QUERY, NULL, NULL);
    expect("/devices/query/", LK_HTTP_POST, LK_HUBAPI_QUERY, NULL, NULL);
    expect("/devices/dev-1", LK_HTTP_GET, LK_HUBAPI_DEVICE_GET, "dev-1", NULL);
    expect("/devices/dev-1/", LK_HTTP_PUT, LK_HUBAPI_DEVICE_PUT, "dev-1", NULL);
    expect("/devices/dev-1", LK_HTTP_DELETE, LK_HUBAPI_DEVICE_DELETE, "dev-1", NULL);
    expect("/statistics/devices", LK_HTTP_GET, LK_HUBAPI_STATISTICS_DEVICES, NULL, NULL);
    expect("/statistics/service", LK_HTTP_GET, LK_HUBAPI_STATISTICS_SERVICE, NULL, NULL);
    expect("/twins/dev-1", LK_HTTP_GET, LK_HUBAPI_TWIN_GET, "dev-1", NULL);
    expect("/twins/dev-1", LK_HTTP_PATCH, LK_HUBAPI_TWIN_PATCH, "dev-1", NULL);
    expect("/twins/dev-1", LK_HTTP_PUT, LK_HUBAPI_TWIN_PUT, "dev-1", NULL);
    expect("/twins/dev-1/methods", LK_HTTP_POST, LK_HUBAPI_METHOD, "dev-1", NULL);
    expect("/devices/d/messages/events", LK_HTTP_POST, LK_HUBAPI_EVENTS, "d", NULL);
    expect("/devices/d/messages/deviceBound", LK_HTTP_GET, LK_HUBAPI_C2D_TAKE, "d", NULL);
    expect("/devices/d/messages/devicebound", LK_HTTP_POST, LK_HUBAPI_C2D_SEND, "d", NULL);
    expect("/devices/d/messages/devicebound/L", LK_HTTP_DELETE, LK_HUBAPI_C2D_COMPLETE, "d", "L");
    expect("/devices/d/messages/devicebound/L/abandon", LK_HTTP_POST, LK_HUBAPI_C2D_ABANDON, "d",
           "L");
}

/* An id keeps its case and what was escaped in it, also when it looks like a word of ours. */
static void
ids(void **state)
{
    expect("/devices/A%25b%23c%2fd", LK_HTTP_GET, LK_HUBAPI_DEVICE_GET, "A%b#c/d", NULL);
    expect("/devices/query", LK_HTTP_GET, LK_HUBAPI_DEVICE_GET, "query", NULL);
    expect("/devices/Query", LK_HTTP_PUT, LK_HUBAPI_DEVICE_PUT, "Query", NULL);
    expect("/devices/messages/messages/events", LK_HTTP_POST, LK_HUBAPI_EVENTS, "messages", NULL);
    expect("/twins/methods/methods", LK_HTTP_POST, LK_HUBAPI_METHOD, "methods", NULL);
}

/* What is none of these is not found; what has another method says which. */
static void
others(void **state)
{
    static const char *const none[] = {"/",
                                       "/device",
                                       "/devices//",
                                       "/devices//messages/events",
                                       "/devices/d/messages",
                                       "/devices/d/messages/eventz",
                                       "/devices/d/messages/devicebound//abandon",
                                       "/devices/d/messages/devicebound/L/abandon/x",
                                       "/devices/d/modules",
                                       "/twins",
                                       "/twins/",
                                       "/statistics",
                                       "/statistics/x"};

    for (size_t i = 0; i < LK_ARRAY_LEN(none); i++) {
        expect_error(none[i], LK_HTTP_GET, LK_ERR_NOT_FOUND, NULL);
    }
    expect_error("/devices", LK_HTTP_DELETE, LK_ERR_UNSUPPORTED, "GET, POST, OPTIONS");
    expect_error("/devices/d", LK_HTTP_PATCH, LK_ERR_UNSUPPORTED, "GET, PUT, DELETE, OPTIONS");
    expect_error("/devices/d/messages/events", LK_HTTP_GET, LK_ERR_UNSUPPORTED, "POST, OPTIONS");
    expect_error("/twins/d", LK_HTTP_DELETE, LK_ERR_UNSUPPORTED, "GET, PATCH, PUT, OPTIONS");
    expect_error("/twins/d", LK_HTTP_OTHER, LK_ERR_UNSUPPORTED, "GET, PATCH, PUT, OPTIONS");
}

/* Only whole first segments are this surface's. */
static void
serves(void **state)
{
    assert_true(lk_hubapi_path_serves("/devices"));
    assert_true(lk_hubapi_path_serves("/TWINS/x"));
    assert_true(lk_hubapi_path_serves("/statistics/anything"));
    assert_false(lk_hubapi_path_serves("/"));
    assert_false(lk_hubapi_path_serves(""));
    assert_false(lk_hubapi_path_serves("/devicesx"));
    assert_false(lk_hubapi_path_serves("/device"));
    assert_false(lk_hubapi_path_serves("//devices"));
    assert_false(lk_hubapi_path_serves("/0ne/registrations/d/register"));
}

/* Parameters by name, wherever they stand. */
static void
parameters(void **state)
{
    const char *text = NULL;
    size_t len = 99;

    assert_false(lk_hubapi_parameter("", "top", &text, &len));
    assert_false(lk_hubapi_parameter("atop=1&top2=3", "top", &text, &len));
    assert_true(lk_hubapi_parameter("api-version=2021-04-12&Top=17&x", "top", &text, &len));
    assert_int_equal(len, 2);
    assert_memory_equal(text, "17", 2);
    assert_true(lk_hubapi_parameter("reject&x=y", "reject", &text, &len));
    assert_int_equal(len, 0);
    assert_true(lk_hubapi_parameter("x&reject", "reject", &text, &len));
    assert_int_equal(len, 0);
    assert_true(lk_hubapi_parameter("top=&top=3", "top", &text, &len));
    assert_int_equal(len, 0);
}

/* Telemetry and method calls only, and not what only looks like them. */
static void
body_max(void **state)
{
    assert_int_equal(lk_hubapi_body_max(LK_HTTP_POST, ""), 0);
    assert_int_equal(lk_hubapi_body_max(LK_HTTP_POST, "/devices/%zz/messages/events"), 0);
    assert_int_equal(lk_hubapi_body_max(LK_HTTP_PUT, "/devices/d/messages/events"), 0);
    assert_int_equal(lk_hubapi_body_max(LK_HTTP_POST, "/devices/d/messages/devicebound"), 0);
    assert_int_equal(lk_hubapi_body_max(LK_HTTP_POST, "/devices/d/messages/events/x"), 0);
    assert_int_equal(lk_hubapi_body_max(LK_HTTP_POST, "/devices"), 0);
    assert_int_equal(lk_hubapi_body_max(LK_HTTP_PATCH, "/twins/d"), 0);
    assert_int_equal(lk_hubapi_body_max(LK_HTTP_POST, "/devices/d/messages/events"),
                     LK_HUBAPI_BODY_MAX);
    assert_int_equal(lk_hubapi_body_max(LK_HTTP_POST, "/Devices/a%2Fb/Messages/Events/"),
                     LK_HUBAPI_BODY_MAX);
    assert_int_equal(lk_hubapi_body_max(LK_HTTP_POST, "/twins/d/methods"), LK_HUBAPI_BODY_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows),   cmocka_unit_test(ids),        cmocka_unit_test(others),
        cmocka_unit_test(serves), cmocka_unit_test(parameters), cmocka_unit_test(body_max),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
