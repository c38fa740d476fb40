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
static char asked_device[LK_DEVICE_ID_MAX + 1]; /* "?": whom the token names */
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
    (void)snprintf(asked_device, sizeof(asked_device), "%s", device_id == NULL ? "?" : device_id);
    assert_int_equal(now_ms, 1700000000000);
    assert_int_equal(token_len, strlen(token));
    (void)snprintf(asked_hub, sizeof(asked_hub), "%s", hub);
    (void)snprintf(asked_token, sizeof(asked_token), "%s", token);
    *ret = check_found;
    return check_result;
}

static enum lk_err identity_result;

enum lk_err
lk_hub_check_identity(struct lk_txn *tx, const char *hub, const char *device_id,
                      struct lk_device_check *ret)
{
    (void)snprintf(asked_hub, sizeof(asked_hub), "%s", hub);
    (void)snprintf(asked_token, sizeof(asked_token), "identity of %s", device_id);
    *ret = (struct lk_device_check){.reason = "device.disabled"};
    return identity_result;
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
    check_result = retire_result = identity_result = LK_OK;
    asked_hub[0] = asked_token[0] = '\0';
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
    assert_string_equal(asked_device, "?");
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

/* ---- other brokers ----------------------------------------------------------------------------
 */

#define RABBIT "/auth/rabbitmq/hub.example.test/"
#define EMQX "/auth/emqx/hub.example.test/"
#define RABBIT_USER                                                                                \
    "username=hub.example.test%2Fdev-1%2F%3Fapi-version%3D2021-04-12&client_id=dev-1"
#define EMQX_USER                                                                                  \
    "{\"username\":\"hub.example.test/dev-1/?api-version=2021-04-12\",\"clientid\":\"dev-1\""

/* Ask and expect an answer with this status and exactly this body, or the words in it. */
static void
expect_answer(enum lk_http_method method, const char *path, const char *query, const char *body,
              int status, const char *words)
{
    struct lk_http_request req = {.path = path, .method = method, .query = query};

    ask(&req, body);
    fake_http_expect(&req, status, words);
    fake_http_fini(&req);
}

static void
post(const char *path, const char *body, const char *words)
{
    expect_answer(LK_HTTP_POST, path, "", body, 200, words);
}

/* RabbitMQ's log-on: the token is checked at the hub of the path, and has to be the client's. */
static void
rabbit_user(void **state)
{
    struct lk_http_request req = {.path = RABBIT "user", .method = LK_HTTP_POST};

    ask(&req, RABBIT_USER "&password=to+ken");
    fake_http_expect(&req, 200, "allow");
    fake_http_expect_header(&req, "Content-Type: text/plain");
    assert_string_equal(asked_hub, "hub.example.test");
    assert_string_equal(asked_token, "to ken");
    assert_string_equal(asked_device, "dev-1");
    fake_http_fini(&req);
    expect_answer(LK_HTTP_GET, RABBIT "user", RABBIT_USER "&password=by+query", "", 200, "allow");
    assert_string_equal(asked_token, "by query");

    check_result = LK_ERR_REFUSED;
    post(RABBIT "user", RABBIT_USER "&password=x", "deny");
    check_result = LK_ERR_STORE; /* a service in trouble lets nobody in */
    post(RABBIT "user", RABBIT_USER "&password=x", "deny");
}

/* A new key that is used for the first time retires the old one here too. */
static void
rabbit_retires(void **state)
{
    check_found.retire_secondary = true;
    post(RABBIT "user", RABBIT_USER "&password=x", "allow");
    assert_int_equal(retired, 1);
}

/* What is no question, or not this client's right, is refused without a look at the hub. */
static void
rabbit_refused_by_itself(void **state)
{
    post(RABBIT "user", "", "deny");
    post(RABBIT "user", "username=%", "deny");
    post(RABBIT "user", RABBIT_USER, "deny");
    post("/auth/rabbitmq/other.test/user", RABBIT_USER "&password=x", "deny");
    post(RABBIT "topic", RABBIT_USER "&name=amq.topic&permission=read&routing_key=%23", "deny");
    post(RABBIT "resource", RABBIT_USER "&resource=queue&name=q&permission=read", "deny");
    assert_string_equal(asked_token, "");
}

/* Rights need no token, but a device that is there and enabled. */
static void
rabbit_rights(void **state)
{
    const char *topic = RABBIT_USER "&name=amq.topic&permission=write&routing_key="
                                    "devices.dev-1.messages.events.";

    post(RABBIT "vhost", RABBIT_USER "&vhost=%2F", "allow");
    assert_string_equal(asked_token, "identity of dev-1");
    post(RABBIT "resource", RABBIT_USER "&resource=exchange&name=amq.topic&permission=read",
         "allow");
    post(RABBIT "topic", topic, "allow");
    identity_result = LK_ERR_REFUSED;
    post(RABBIT "topic", topic, "deny");
    identity_result = LK_ERR_STORE;
    post(RABBIT "topic", topic, "deny");
}

/* EMQX's log-on and rights; the connection ends with the token. */
static void
emqx(void **state)
{
    post(EMQX "authn", EMQX_USER ",\"password\":\"token\"}",
         "{\"result\":\"allow\",\"is_superuser\":false,\"expire_at\":1900000000}");
    assert_string_equal(asked_token, "token");
    post(EMQX "authz",
         EMQX_USER ",\"action\":\"publish\",\"topic\":\"devices/dev-1/messages/events/\"}",
         "{\"result\":\"allow\",\"is_superuser\":false}");
    assert_string_equal(asked_token, "identity of dev-1");
    post(EMQX "authz", EMQX_USER ",\"action\":\"subscribe\",\"topic\":\"#\"}",
         "{\"result\":\"deny\",\"is_superuser\":false}");
    post(EMQX "authn", "{", "{\"result\":\"deny\",\"is_superuser\":false}");
    check_result = LK_ERR_REFUSED;
    post(EMQX "authn", EMQX_USER ",\"password\":\"token\"}", "\"deny\"");
    check_result = LK_ERR_BUSY;
    post(EMQX "authn", EMQX_USER ",\"password\":\"token\"}", "\"deny\"");
}

/* A token that is taken a little late, for clocks that differ, is not one that ends at once. */
static void
emqx_late(void **state)
{
    check_found.expiry_unix_s = 1700000000;
    post(EMQX "authn", EMQX_USER ",\"password\":\"token\"}", "\"expire_at\":1700000300}");
}

/* Other paths and methods. */
static void
other_paths(void **state)
{
    static const char *const paths[] = {
        "/auth/rabbitmq/",           "/auth/rabbitmq/user", "/auth/rabbitmq//user",
        "/auth/rabbitmq/a%20b/user", RABBIT "authn",        RABBIT "user/",
        "/auth/emqx/h/user",         "/auth/kafka/h/user",  "/auth/rabbitmq/%zz/user",
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(paths); i++) {
        expect_answer(LK_HTTP_POST, paths[i], "", RABBIT_USER "&password=x", 404, "404201");
    }
    expect_answer(LK_HTTP_PUT, RABBIT "user", "", RABBIT_USER, 405, "405001");
    expect_answer(LK_HTTP_GET, EMQX "authn", "", "", 405, "405001");
    assert_string_equal(asked_token, "");
}

/* ---- the gate ----------------------------------------------------------------------------------
 */

#define SECRET "0123456789abcdef0123456789ABCDEF"

static unsigned let_in;

static bool
inside_serves(void *ctx, const char *host, const char *path)
{
    return strcmp(path, "/auth/x") == 0;
}

static void
inside_handle(void *ctx, struct lk_http_request *req)
{
    let_in++;
    lk_http_reply(req, 200, "in", 2);
}

static void
knock(struct lk_auth_gate *gate, const char *path, const char *authorization, int status)
{
    struct lk_http_request req = {.path = path, .headers = {{"Authorization", authorization}}};
    struct lk_surface s = lk_auth_gate_surface(gate);

    if (authorization == NULL) {
        req.headers[0].name = NULL;
    }
    current = &req;
    s.handle(s.ctx, &req);
    fake_http_expect(&req, status, status == 200 ? "in" : "errorCode");
    fake_http_fini(&req);
}

/* Who knows the secret comes in; to all others every path looks alike. */
static void
gate(void **state)
{
    const struct lk_surface inside = {.serves = inside_serves, .handle = inside_handle};
    LK_AUTO(lk_auth_gate) struct lk_auth_gate *g = NULL;

    assert_int_equal(lk_auth_gate_new(SECRET, strlen(SECRET), inside, &g), LK_OK);
    let_in = 0;
    knock(g, "/auth/x", NULL, 401);
    knock(g, "/auth/x", "", 401);
    knock(g, "/auth/x", "Basic", 401);
    knock(g, "/auth/x", "Basic !", 401);
    knock(g, "/auth/x", "Basic YWJj", 401); /* no colon */
    knock(g, "/auth/x", "Basic eDo=", 401); /* "x:" */
    knock(g, "/auth/x", "Bearer", 401);
    knock(g, "/auth/x", "Bearer ", 401);
    knock(g, "/auth/x", "Bearer 0123456789abcdef0123456789ABCDE", 401);
    knock(g, "/auth/x", "Bearer " SECRET "F", 401);
    knock(g, "/auth/x", "Digest " SECRET, 401);
    knock(g, "/auth/x", SECRET, 401);
    knock(g, "/elsewhere", NULL, 401);
    assert_int_equal(let_in, 0);
    knock(g, "/auth/x", "Bearer " SECRET, 200);
    knock(g, "/auth/x", "bearer " SECRET, 200);
    knock(g, "/auth/x", "Basic eDowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OUFCQ0RFRg==", 200);
    knock(g, "/elsewhere", "Bearer " SECRET, 404);
    assert_int_equal(let_in, 3);
}

/* The secret is twice as long as a guess could ever be, and can stand in a URL. */
static void
secrets(void **state)
{
    const struct lk_surface inside = {.serves = inside_serves, .handle = inside_handle};
    struct lk_auth_gate *g = NULL;
    char longest[LK_AUTH_SECRET_MAX + 1];

    memset(longest, 'a', sizeof(longest));
    assert_true(lk_auth_secret_ok(SECRET, 32));
    assert_false(lk_auth_secret_ok(SECRET, 31));
    assert_true(lk_auth_secret_ok(longest, LK_AUTH_SECRET_MAX));
    assert_false(lk_auth_secret_ok(longest, LK_AUTH_SECRET_MAX + 1));
    assert_true(lk_auth_secret_ok("-._~0123456789abcdef0123456789ABCDEF", 36));
    for (const char *bad = "/:@%+= \n"; *bad != '\0'; bad++) {
        longest[5] = *bad;
        assert_false(lk_auth_secret_ok(longest, LK_AUTH_SECRET_MAX));
    }
    assert_int_equal(lk_auth_gate_new("", 0, inside, &g), LK_ERR_ARG);
    assert_null(g);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(granted),        CASE(retires),
        CASE(refused),        CASE(bad_questions),
        CASE(wrong_requests), CASE(rabbit_user),
        CASE(rabbit_retires), CASE(rabbit_refused_by_itself),
        CASE(rabbit_rights),  CASE(emqx),
        CASE(emqx_late),      CASE(other_paths),
        CASE(gate),           CASE(secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
