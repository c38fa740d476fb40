/* Tests of src/api/auth_api.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/api_int.h"
#include "fake_http.h"

/* ---- a store that runs one job at a time, and a hub that says what the test wants -------------
 */

static enum lk_err check_result, retire_result;
static struct lk_device_check check_found;
static char asked_hub[LK_HOST_NAME_MAX + 1], asked_token[LK_SAS_MAX + 1];
static unsigned retired;
static bool answered_before_retired;
static struct lk_http_request *current;

int64_t
lk_txn_now_ms(const struct lk_txn *tx)
{
    return 1700000000000;
}

void
lk_store_read(struct lk_session *s, struct lk_job *job)
{
    job->done(job->arg, job->run(NULL, job->arg));
}

void
lk_store_write(struct lk_session *s, struct lk_job *job)
{
    job->done(job->arg, job->run(NULL, job->arg));
}

enum lk_err
lk_hub_check_device(struct lk_hub_core *h, struct lk_txn *tx, const char *hub,
                    const char *device_id, const char *token, size_t token_len, int64_t now_ms,
                    struct lk_device_check *ret)
{
    assert_null(device_id);
    assert_int_equal(now_ms, 1700000000000);
    assert_int_equal(token_len, strlen(token));
    (void)snprintf(asked_hub, sizeof(asked_hub), "%s", hub);
    (void)snprintf(asked_token, sizeof(asked_token), "%s", token);
    *ret = check_found;
    return check_result;
}

enum lk_err
lk_hub_retire_secondary(struct lk_hub_core *h, struct lk_txn *tx, const char *hub,
                        const struct lk_device_check *checked)
{
    answered_before_retired = current->answers != 0;
    assert_string_equal(hub, "hub.example.test");
    assert_string_equal(checked->device_id, "dev-1");
    retired++;
    return retire_result;
}

static struct lk_auth_api *api;

static int
setup(void **state)
{
    check_result = retire_result = LK_OK;
    check_found = (struct lk_device_check){
        .device_id = "dev-1", .slot = LK_KEY_PRIMARY, .expiry_unix_s = 1900000000};
    retired = 0;
    return lk_auth_api_new(NULL, NULL, &api) == LK_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    assert_int_equal(lk_auth_api_pending(api), 0);
    lk_auth_api_free(api);
    return 0;
}

static void
ask(struct lk_http_request *req, const char *body)
{
    struct lk_surface s = lk_auth_api_surface(api);

    if (req->path == NULL) {
        req->path = "/auth/device";
        req->method = LK_HTTP_POST;
    }
    req->body = body;
    req->body_len = strlen(body);
    current = req;
    assert_true(s.serves(s.ctx, "", req->path));
    s.handle(s.ctx, req);
}

static const char question[] =
    "{\"hub\":\"Hub.Example.test\",\"token\":\"SharedAccessSignature x\"}";

/* A device is let in: who it is, by which key, until when. */
static void
granted(void **state)
{
    struct lk_http_request req = {.path = NULL};

    ask(&req, question);
    fake_http_expect(&req, 200,
                     "{\"deviceId\":\"dev-1\",\"key\":\"primary\",\"expiry\":1900000000}");
    assert_string_equal(asked_hub, "hub.example.test");
    assert_string_equal(asked_token, "SharedAccessSignature x");
    assert_int_equal(retired, 0);
    fake_http_fini(&req);
    check_found.slot = LK_KEY_SECONDARY;
    ask(&req, question);
    fake_http_expect(&req, 200, "\"key\":\"secondary\"");
    fake_http_fini(&req);
}

/* The old key is dropped before the answer, once; a device gets in even when that fails. */
static void
retires(void **state)
{
    struct lk_http_request req = {.path = NULL};

    check_found.retire_secondary = true;
    ask(&req, question);
    fake_http_expect(&req, 200, "\"key\":\"primary\"");
    assert_int_equal(retired, 1);
    assert_false(answered_before_retired);
    fake_http_fini(&req);
    retire_result = LK_ERR_BUSY;
    ask(&req, question);
    fake_http_expect(&req, 200, "\"key\":\"primary\"");
    fake_http_fini(&req);
}

/* A refusal says why; a store that fails is not one. */
static void
refused(void **state)
{
    struct lk_http_request req = {.path = NULL};

    check_result = LK_ERR_REFUSED;
    check_found = (struct lk_device_check){.reason = "hub.expired"};
    ask(&req, question);
    fake_http_expect(&req, 401, "{\"reason\":\"hub.expired\"}");
    fake_http_fini(&req);
    check_result = LK_ERR_STORE;
    ask(&req, question);
    fake_http_expect(&req, 503, "\"errorCode\":503001");
    fake_http_expect_header(&req, "Retry-After: 5");
    fake_http_fini(&req);
}

static void
expect_bad(const char *body, const char *words)
{
    struct lk_http_request req = {.path = NULL};

    asked_hub[0] = '\0';
    ask(&req, body);
    fake_http_expect(&req, 400, words);
    assert_string_equal(asked_hub, "");
    fake_http_fini(&req);
}

/* What is not a question is told what one looks like, and asks the hub nothing. */
static void
bad_questions(void **state)
{
    char body[LK_SAS_MAX + 64];
    struct lk_http_request req = {.path = NULL};
    int head = snprintf(body, sizeof(body), "{\"hub\":\"h\",\"token\":\"");

    expect_bad("", "\"errorCode\":400004");
    expect_bad("[]", "\"errorCode\":400004");
    expect_bad("{\"token\":\"x\"}", "hub: expected a host name");
    expect_bad("{\"hub\":\"\",\"token\":\"x\"}", "hub: expected a host name");
    expect_bad("{\"hub\":\"a b\",\"token\":\"x\"}", "hub: expected a host name");
    expect_bad("{\"hub\":\"h\"}", "token: expected text");
    expect_bad("{\"hub\":\"h\",\"token\":null}", "token: expected text");
    expect_bad("{\"hub\":\"h\",\"token\":7}", "token: expected text");

    memset(body + head, 't', LK_SAS_MAX + 1);
    memcpy(body + head + LK_SAS_MAX + 1, "\"}", 3);
    expect_bad(body, "token: expected at most 2048 bytes");
    memcpy(body + head + LK_SAS_MAX, "\"}", 3);
    ask(&req, body);
    fake_http_expect(&req, 200, "dev-1");
    assert_int_equal(strlen(asked_token), LK_SAS_MAX);
    fake_http_fini(&req);
}

/* The path, the method and the content type have to be right first. */
static void
wrong_requests(void **state)
{
    struct lk_surface s = lk_auth_api_surface(api);
    struct lk_http_request req = {.path = "/auth/user", .method = LK_HTTP_POST};

    assert_false(s.serves(s.ctx, "", "/authdevice"));
    assert_false(s.serves(s.ctx, "", "/metrics"));
    ask(&req, question);
    fake_http_expect(&req, 404, "\"errorCode\":404201");
    fake_http_fini(&req);
    req = (struct lk_http_request){.path = "/auth/device", .method = LK_HTTP_GET};
    ask(&req, question);
    fake_http_expect(&req, 405, "\"errorCode\":405001");
    fake_http_expect_header(&req, "Allow: POST, OPTIONS");
    fake_http_fini(&req);
    req = (struct lk_http_request){.path = "/auth/device",
                                   .method = LK_HTTP_POST,
                                   .headers = {{"Content-Type", "text/plain"}}};
    ask(&req, question);
    fake_http_expect(&req, 415, "\"errorCode\":415001");
    fake_http_fini(&req);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(granted), CASE(retires), CASE(refused), CASE(bad_questions), CASE(wrong_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
