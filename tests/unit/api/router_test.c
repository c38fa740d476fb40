/* Tests of src/api/router.c and reply.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/api_int.h"
#include "fake_http.h"

static const char *served;

static void
serve(void *ctx, struct lk_http_request *req)
{
    served = ctx;
    lk_http_reply(req, 200, NULL, 0);
}

static bool
is_hub(void *ctx, const char *host, const char *path)
{
    return strcmp(host, "hub.example.test") == 0;
}

static bool
is_enrollments(void *ctx, const char *host, const char *path)
{
    return strncmp(path, "/enrollments", 12) == 0;
}

static void
expect_served(const char *host, const char *path, const char *want)
{
    char hub[] = "hub", service[] = "service", device[] = "device";
    const struct lk_surface surfaces[] = {{is_hub, serve, hub, NULL},
                                          {is_enrollments, serve, service, NULL},
                                          {NULL, serve, device, NULL}};
    struct lk_router router = {surfaces, LK_ARRAY_LEN(surfaces)};
    struct lk_http_request req = {.host = host, .path = path};

    served = NULL;
    lk_router_handle(&router, &req);
    fake_http_expect(&req, 200, NULL);
    assert_string_equal(served, want);
    fake_http_fini(&req);
}

/* Host before path, the first that serves it, and the last one for all that is left. */
static void
routes(void **state)
{
    expect_served("hub.example.test", "/enrollments/a", "hub");
    expect_served("dps.example.test", "/enrollments/a", "service");
    expect_served("dps.example.test", "/0ne0/registrations/a", "device");
    expect_served("", "/", "device");
}

/* A router of one surface never asks it. */
static void
routes_single(void **state)
{
    char device[] = "device";
    const struct lk_surface surface = {NULL, serve, device, NULL};
    struct lk_router router = {&surface, 1};
    struct lk_http_request req = {.path = "/"};

    lk_router_handle(&router, &req);
    assert_string_equal(served, "device");
    fake_http_fini(&req);
}

static uint32_t
posts_only(void *ctx, enum lk_http_method method, const char *path)
{
    assert_string_equal(ctx, "hub");
    return method == LK_HTTP_POST && strcmp(path, "/large") == 0 ? 1000 : 0;
}

/* The surface that gets a request says how large it may be; of one that says nothing none is
 * larger. */
static void
body_max(void **state)
{
    char hub[] = "hub", device[] = "device";
    const struct lk_surface surfaces[] = {{is_hub, serve, hub, posts_only},
                                          {NULL, serve, device, NULL}};
    struct lk_router router = {surfaces, LK_ARRAY_LEN(surfaces)};

    assert_int_equal(lk_router_body_max(&router, LK_HTTP_POST, "dps.example.test", "/large"), 0);
    assert_int_equal(lk_router_body_max(&router, LK_HTTP_PUT, "hub.example.test", "/large"), 0);
    assert_int_equal(lk_router_body_max(&router, LK_HTTP_POST, "hub.example.test", "/"), 0);
    assert_int_equal(lk_router_body_max(&router, LK_HTTP_POST, "hub.example.test", "/large"), 1000);
}

/* Errors carry the code, the request id and, when it is worth another try, how long to wait. */
static void
errors(void **state)
{
    struct lk_http_request req = {.path = "/"};

    lk_api_error(&req, LK_DPS_UNAUTHORIZED, "Unauthorized");
    fake_http_expect(&req, 401, "\"errorCode\":401002");
    fake_http_expect(&req, 401, "\"trackingId\":\"0123456789abcdef0123456789abcdef\"");
    fake_http_expect(&req, 401, "\"message\":\"Unauthorized\"");
    assert_string_equal(lk_buf_text(&req.answer_heads), "x-ms-error-code: 401002\n");
    fake_http_fini(&req);
    lk_api_error(&req, LK_DPS_UNAVAILABLE, "Busy");
    fake_http_expect(&req, 503, "\"errorCode\":503001");
    fake_http_expect_header(&req, "Retry-After: 5");
    fake_http_fini(&req);
    lk_api_error(&req, LK_DPS_THROTTLED, "Slow down");
    fake_http_expect_header(&req, "Retry-After: 5");
    fake_http_fini(&req);
}

static bool
is_json(const char *type)
{
    struct lk_http_request req = {.headers = {{"content-type", type}}};

    return lk_api_is_json(&req);
}

/* JSON with any parameters, in any case; nothing that only begins like it. */
static void
content_types(void **state)
{
    struct lk_http_request none = {.path = "/"};

    assert_true(lk_api_is_json(&none));
    assert_true(is_json("application/json"));
    assert_true(is_json("application/json; charset=utf-8"));
    assert_true(is_json("Application/JSON ;charset=utf-8"));
    assert_false(is_json(""));
    assert_false(is_json("application/jsonp"));
    assert_false(is_json("application/json,text/plain"));
    assert_false(is_json("text/plain; application/json"));
}

/* A flood fills one second, and is told once it is over. */
static void
log_gate(void **state)
{
    struct lk_log_gate gate = {.lines_max = 0};

    for (unsigned i = 0; i < LK_LOG_GATE_LINES; i++) {
        assert_true(lk_log_gate_pass(&gate, 5000 + i));
    }
    assert_false(lk_log_gate_pass(&gate, 5999));
    assert_false(lk_log_gate_pass(&gate, 5999));
    assert_int_equal(gate.suppressed, 2);
    lk_log_gate_tick(&gate, 5999);
    assert_int_equal(gate.suppressed, 2);
    assert_true(lk_log_gate_pass(&gate, 6000));
    lk_log_gate_tick(&gate, 7000);
    assert_int_equal(gate.suppressed, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes),   cmocka_unit_test(routes_single),
        cmocka_unit_test(errors),   cmocka_unit_test(content_types),
        cmocka_unit_test(log_gate), cmocka_unit_test(body_max),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
