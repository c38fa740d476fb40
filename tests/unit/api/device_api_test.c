/* Tests of src/api/device_api.c and device_check.c: what reaches provision/, and how each of its
 * answers looks. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/api_int.h"
#include "fake_http.h"

#define V "api-version=2021-06-01"

/* ---- a provision/ that remembers and says what the test wants -------------------------------- */

struct lk_provision {
    const char *called; /* NULL: not at all */
    char scope[80], id[160], operation[128], token[64], request_id[40];
    bool has_body, has_token, before_reprovisioning;
    size_t ek_len, certs_count;
    struct lk_reg_answer answer;
    bool later; /* keep done and arg for the test */
    lk_reg_done_fn *done;
    void *arg;
};

static struct lk_provision fake;
static struct lk_device_api *api;

static void
remember(const char *called, struct lk_provision *p, const struct lk_reg_request *req,
         lk_reg_done_fn *done, void *arg)
{
    p->called = called;
    (void)snprintf(p->scope, sizeof(p->scope), "%s", req->scope);
    (void)snprintf(p->id, sizeof(p->id), "%s", req->registration_id);
    (void)snprintf(p->operation, sizeof(p->operation), "%s",
                   req->operation_id == NULL ? "" : req->operation_id);
    (void)snprintf(p->token, sizeof(p->token), "%s", req->token == NULL ? "" : req->token);
    (void)snprintf(p->request_id, sizeof(p->request_id), "%s", req->request_id);
    p->has_token = req->token != NULL;
    p->has_body = req->body != NULL;
    p->before_reprovisioning = req->before_reprovisioning;
    p->ek_len = req->body == NULL ? 0 : req->body->ek.len;
    p->certs_count = req->certs_count;
    for (size_t i = 0; i < req->certs_count; i++) {
        assert_int_equal(req->certs[i].len, i + 1);
        assert_memory_equal(req->certs[i].data, "abcdef", i + 1);
    }
    if (p->later) {
        p->done = done;
        p->arg = arg;
        return;
    }
    done(arg, &p->answer);
}

void
lk_provision_register(struct lk_provision *p, const struct lk_reg_request *req,
                      lk_reg_done_fn *done, void *arg)
{
    remember("register", p, req, done, arg);
}

void
lk_provision_poll(struct lk_provision *p, const struct lk_reg_request *req, lk_reg_done_fn *done,
                  void *arg)
{
    remember("poll", p, req, done, arg);
}

void
lk_provision_lookup(struct lk_provision *p, const struct lk_reg_request *req, lk_reg_done_fn *done,
                    void *arg)
{
    remember("lookup", p, req, done, arg);
}

static int
setup(void **state)
{
    memset(&fake, 0, sizeof(fake));
    fake.answer.verdict = LK_REG_REFUSED;
    fake.answer.reason = "test.reason";
    return lk_device_api_new(&fake, &lk_clock_system, NULL, &api) == LK_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    lk_device_api_free(api);
    lk_buf_fini(&fake.answer.auth_key);
    lk_dps_state_fini(&fake.answer.state);
    return 0;
}

static void
handle(struct lk_http_request *req)
{
    struct lk_surface s = lk_device_api_surface(api);

    fake.called = NULL;
    fake_http_fini(req);
    s.handle(s.ctx, req);
}

static struct lk_http_request
put(const char *path)
{
    return (struct lk_http_request){.method = LK_HTTP_PUT, .path = path, .query = V};
}

static void
expect_code(struct lk_http_request *req, int code)
{
    char want[32];

    (void)snprintf(want, sizeof(want), "\"errorCode\":%d,", code);
    handle(req);
    fake_http_expect(req, code / 1000, want);
    fake_http_fini(req);
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* The three calls, with ids as clients write them. */
static void
calls(void **state)
{
    struct lk_http_request req = put("/0ne00000001/registrations/dev-1/register");

    handle(&req);
    assert_string_equal(fake.called, "register");
    assert_string_equal(fake.scope, "0ne00000001");
    assert_string_equal(fake.id, "dev-1");
    assert_string_equal(fake.request_id, "0123456789abcdef0123456789abcdef");
    assert_true(fake.has_body && !fake.has_token);
    fake_http_fini(&req);

    req = put("/0ne00000001/registrations/My%3aDev.1_x/operations/5.31%2d6a.b1");
    req.method = LK_HTTP_GET;
    req.headers[0] = (struct fake_header){"authorization", "SharedAccessSignature x"};
    handle(&req);
    assert_string_equal(fake.called, "poll");
    assert_string_equal(fake.id, "My:Dev.1_x");
    assert_string_equal(fake.operation, "5.31-6a.b1");
    assert_string_equal(fake.token, "SharedAccessSignature x");
    assert_false(fake.has_body);
    fake_http_fini(&req);

    req = put("/0ne00000001/REGISTRATIONS/:/");
    expect_code(&req, LK_DPS_NOT_FOUND);
    req = put("/0ne00000001/registrations/d");
    req.method = LK_HTTP_POST;
    handle(&req);
    assert_string_equal(fake.called, "lookup");
    assert_true(fake.has_body);
    fake_http_fini(&req);
}

/* Ids of the largest size reach provision/ in one piece; one byte more does not. */
static void
longest_ids(void **state)
{
    char path[512], id[LK_REGISTRATION_ID_MAX + 2], scope[LK_ID_SCOPE_MAX + 2];
    struct lk_http_request req = put(path);

    memset(id, 'r', sizeof(id));
    memset(scope, 's', sizeof(scope));
    (void)snprintf(path, sizeof(path), "/%.64s/registrations/%.128s/register", scope, id);
    handle(&req);
    assert_string_equal(fake.called, "register");
    assert_int_equal(strlen(fake.id), LK_REGISTRATION_ID_MAX);
    assert_int_equal(strlen(fake.scope), LK_ID_SCOPE_MAX);
    (void)snprintf(path, sizeof(path), "/%.64s/registrations/%.129s/register", scope, id);
    expect_code(&req, LK_DPS_BAD_REQUEST);
    (void)snprintf(path, sizeof(path), "/%.65s/registrations/%.128s/register", scope, id);
    expect_code(&req, LK_DPS_BAD_REQUEST);
    assert_null(fake.called);
}

/* Nothing but the exact shapes is a path of ours. */
static void
unknown_paths(void **state)
{
    static const char *const paths[] = {"/",
                                        "//",
                                        "/a",
                                        "/a/registrations",
                                        "/a/registrations/",
                                        "//registrations/d/register",
                                        "/a/registrations//register",
                                        "/a/registrations/d/register/",
                                        "/a/registrations/d/",
                                        "/a/registrations/d/register/x",
                                        "/a//registrations/d/register",
                                        "/a/registration/d",
                                        "/a/registrations/d/operations",
                                        "/a/registrations/d/operations/",
                                        "/a/registrations/d/operations/o/",
                                        "/a/registrations/d/operations/o/x",
                                        "/a/registrations/d/registe",
                                        "/a/./registrations/d/register",
                                        "/a/b/../registrations/d/register",
                                        "/a%2Fregistrations/d/register",
                                        "/1/2/3/4/5/6/7/8/9",
                                        "/a/registrations%2Fd/register"};

    for (size_t i = 0; i < LK_ARRAY_LEN(paths); i++) {
        struct lk_http_request req = put(paths[i]);

        expect_code(&req, LK_DPS_NOT_FOUND);
        assert_null(fake.called);
    }
}

/* Ids that play tricks are not ids, and broken escapes are not text. */
static void
bad_ids(void **state)
{
    static const char *const paths[] = {
        "/a/registrations/../register",        "/a/registrations/./register",
        "/a/registrations/%2e%2e/register",    "/a/registrations/d%2fx/register",
        "/a/registrations/d%00/register",      "/a/registrations/d%00x/register",
        "/a/registrations/d%/register",        "/a/registrations/%zz/register",
        "/a/registrations/d+x/register",       "/a/registrations/d%20x/register",
        "/a/registrations/d%252d/register",    "/a/registrations/d./register",
        "/a/registrations/d;x=y/register",     "/a/registrations/\xc3\xa9/register",
        "/../registrations/d/register",        "/a_b/registrations/d/register",
        "/%00/registrations/d/register",       "/a%2fb/registrations/d/register",
        "/a/registrations/d%0d%0aX:y/register"};

    for (size_t i = 0; i < LK_ARRAY_LEN(paths); i++) {
        struct lk_http_request req = put(paths[i]);

        expect_code(&req, LK_DPS_BAD_REQUEST);
        assert_null(fake.called);
    }
}

/* ---- methods, query, headers, body ------------------------------------------------------------
 */

/* A method that a path does not have is told which it has; OPTIONS asks for just that. */
static void
methods(void **state)
{
    struct lk_http_request req = put("/a/registrations/d/register");

    req.method = LK_HTTP_POST;
    handle(&req);
    fake_http_expect(&req, 405, "\"errorCode\":405001");
    fake_http_expect_header(&req, "Allow: PUT, OPTIONS");
    req.method = LK_HTTP_HEAD;
    handle(&req);
    fake_http_expect_header(&req, "Allow: PUT, OPTIONS");
    req.method = LK_HTTP_OPTIONS;
    req.query = "";
    handle(&req);
    fake_http_expect(&req, 204, NULL);
    fake_http_expect_header(&req, "Allow: PUT, OPTIONS");
    req = (fake_http_fini(&req), put("/a/registrations/d/operations/o"));
    handle(&req);
    fake_http_expect_header(&req, "Allow: GET, OPTIONS");
    req = (fake_http_fini(&req), put("/a/registrations/d"));
    req.method = LK_HTTP_DELETE;
    handle(&req);
    fake_http_expect_header(&req, "Allow: POST, OPTIONS");
    fake_http_fini(&req);
    assert_null(fake.called);
}

/* api-version is needed, in any version; the rest of the query does not matter. */
static void
query(void **state)
{
    struct lk_http_request req = put("/a/registrations/d/register");

    req.query = "";
    expect_code(&req, LK_DPS_BAD_REQUEST);
    req.query = "api-version=new";
    expect_code(&req, LK_DPS_BAD_REQUEST);
    assert_null(fake.called);
    req.query = "api-version=2016-01-01&forceRegistration=true";
    handle(&req);
    assert_string_equal(fake.called, "register");
    fake_http_fini(&req);
}

/* Another content type is refused where a body counts, and two credentials always. */
static void
headers(void **state)
{
    struct lk_http_request req = put("/a/registrations/d/register");

    req.headers[0] = (struct fake_header){"Content-Type", "text/plain"};
    expect_code(&req, LK_DPS_MEDIA_TYPE);
    req.headers[0].value = "application/json; charset=utf-8";
    handle(&req);
    assert_string_equal(fake.called, "register");
    req.headers[0] = (struct fake_header){"Authorization", "a"};
    req.headers[1] = (struct fake_header){"AUTHORIZATION", "b"};
    expect_code(&req, LK_DPS_BAD_REQUEST);

    req = put("/a/registrations/d/operations/o");
    req.method = LK_HTTP_GET;
    req.headers[0] = (struct fake_header){"Content-Type", "text/plain"};
    req.body = "{}x";
    req.body_len = 3;
    handle(&req);
    assert_string_equal(fake.called, "poll");
    fake_http_fini(&req);
}

static void
expect_body(const char *body, int code, const char *words)
{
    struct lk_http_request req = put("/a/registrations/Dev-1/register");

    req.body = body;
    req.body_len = strlen(body);
    handle(&req);
    if (code == 0) {
        assert_string_equal(fake.called, "register");
    } else {
        assert_null(fake.called);
        fake_http_expect(&req, code / 1000, words);
    }
    fake_http_fini(&req);
}

/* A bad body is told what was expected; the id in it is that of the path, in any case. */
static void
bodies(void **state)
{
    expect_body("", 0, NULL);
    expect_body("{}", 0, NULL);
    expect_body("{\"registrationId\":\"dEV-1\",\"tpm\":{\"endorsementKey\":\"AToA\"}}", 0, NULL);
    assert_int_equal(fake.ek_len, 3);
    expect_body("{\"registrationId\":\"dev-2\"}", LK_DPS_BAD_REQUEST,
                "registrationId: expected the one in the path");
    expect_body("[]", LK_DPS_BAD_REQUEST, "\"errorCode\":400004");
    expect_body("{", LK_DPS_BAD_REQUEST, "\"errorCode\":400004");
    expect_body("{\"a\":1,\"a\":1}", LK_DPS_BAD_REQUEST, "\"errorCode\":400004");
    expect_body("{\"tpm\":{\"endorsementKey\":\"A\"}}", LK_DPS_BAD_REQUEST, "endorsementKey");
}

/* ---- answers --------------------------------------------------------------------------------- */

/* 401 with a key and its name, and no status. */
static void
challenge(void **state)
{
    struct lk_http_request req = put("/a/registrations/d/register");

    fake.answer.verdict = LK_REG_CHALLENGE;
    assert_int_equal(lk_buf_puts(&fake.answer.auth_key, "key"), LK_OK);
    handle(&req);
    fake_http_expect(&req, 401, "\"authenticationKey\":\"a2V5\"");
    fake_http_expect(&req, 401, "\"keyName\":\"registration\"");
    assert_null(strstr(lk_buf_text(&req.answer), "status"));
    fake_http_fini(&req);
}

/* 202 with the operation, where to look, and when. */
static void
accepted(void **state)
{
    struct lk_http_request req = put("/a/registrations/d%2D1/register");

    req.headers[0] = (struct fake_header){"Host", "dps.example.test:8443"};
    fake.answer.verdict = LK_REG_ACCEPTED;
    fake.answer.state.status = LK_DPS_ASSIGNING;
    (void)snprintf(fake.answer.state.operation_id, LK_OPERATION_ID_MAX, "5.31.b1");
    handle(&req);
    fake_http_expect(&req, 202, "\"operationId\":\"5.31.b1\"");
    fake_http_expect(&req, 202, "\"status\":\"assigning\"");
    fake_http_expect_header(&req, "Retry-After: 3");
    fake_http_expect_header(
        &req, "Location: https://dps.example.test:8443/a/registrations/d%2D1/register");
    fake_http_fini(&req);
}

/* A poll answers the envelope with the state in it, the look-up the state alone. */
static void
states(void **state)
{
    struct lk_http_request req = put("/a/registrations/d/operations/o");
    struct lk_dps_state *s = &fake.answer.state;

    fake.answer.verdict = LK_REG_STATE;
    s->status = LK_DPS_ASSIGNING;
    (void)snprintf(s->operation_id, sizeof(s->operation_id), "o");
    (void)snprintf(s->registration_id, sizeof(s->registration_id), "d");
    req.method = LK_HTTP_GET;
    handle(&req);
    fake_http_expect(&req, 200, "\"registrationState\":{");
    fake_http_expect(&req, 200, "\"registrationId\":\"d\"");
    fake_http_expect_header(&req, "Retry-After: 3");

    s->status = LK_DPS_ASSIGNED;
    (void)snprintf(s->assigned_hub, sizeof(s->assigned_hub), "hub.example.test");
    handle(&req);
    fake_http_expect(&req, 200, "\"assignedHub\":\"hub.example.test\"");
    assert_string_equal(lk_buf_text(&req.answer_heads), "");
    fake_http_fini(&req);

    req = put("/a/registrations/d");
    req.method = LK_HTTP_POST;
    handle(&req);
    fake_http_expect(&req, 200, "{\"registrationId\":\"d\"");
    assert_null(strstr(lk_buf_text(&req.answer), "operationId"));
    fake_http_fini(&req);
}

/* Every refusal is the same bytes but for time and request; the reason is not in them. */
static void
failures(void **state)
{
    static const struct {
        enum lk_reg_verdict verdict;
        int code;
    } cases[] = {{LK_REG_REFUSED, LK_DPS_UNAUTHORIZED},
                 {LK_REG_BAD, LK_DPS_BAD_REQUEST},
                 {LK_REG_UNKNOWN, LK_DPS_NOT_FOUND},
                 {LK_REG_BUSY, LK_DPS_UNAVAILABLE},
                 {LK_REG_ERROR, LK_DPS_INTERNAL}};

    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        struct lk_http_request req = put("/a/registrations/d/register");

        fake.answer.verdict = cases[i].verdict;
        fake.answer.err = LK_ERR_BUSY;
        handle(&req);
        assert_int_equal(req.status, cases[i].code / 1000);
        assert_null(strstr(lk_buf_text(&req.answer), "test.reason"));
        assert_null(strstr(lk_buf_text(&req.answer), "authenticationKey"));
        expect_code(&req, cases[i].code);
    }
}

/* An answer may come long after the call; what the call borrowed is still there then. */
static void
later(void **state)
{
    struct lk_http_request req = put("/a/registrations/d/register");

    fake.later = true;
    handle(&req);
    assert_int_equal(req.answers, 0);
    fake.done(fake.arg, &fake.answer);
    fake_http_expect(&req, 401, "\"errorCode\":401002");
    fake_http_fini(&req);
}

/* ---- the log --------------------------------------------------------------------------------- */

/* One line for each request, with what an operator needs and nothing that breaks a line. */
static void
log_lines(void **state)
{
    struct lk_http_request req = put("/0ne0/registrations/dev-1/register");
    struct lk_http_request odd = put("/0ne0/registrations/d%0a\"x/register");
    char text[4096] = "";
    FILE *file = tmpfile();

    assert_non_null(file);
    lk_log_open(LK_LOG_JSON, fileno(file));
    lk_log_set_level(LK_LOG_INFO);
    handle(&req);
    handle(&odd);
    lk_log_open(LK_LOG_JSON, STDERR_FILENO);
    rewind(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);
    fake_http_fini(&req);
    fake_http_fini(&odd);

    assert_non_null(strstr(text, "\"registration.refused\""));
    assert_non_null(strstr(text, "\"reason\":\"test.reason\""));
    assert_non_null(strstr(text, "\"scope\":\"0ne0\""));
    assert_non_null(strstr(text, "\"registration_id\":\"dev-1\""));
    assert_non_null(strstr(text, "\"peer\":\"192.0.2.7\""));
    assert_non_null(strstr(text, "\"request_id\":\"0123456789abcdef0123456789abcdef\""));
    assert_non_null(strstr(text, "\"status\":401"));
    assert_non_null(strstr(text, "\"duration_us\":"));
    assert_non_null(strstr(text, "\"registration_id\":\"d\\u000a\\\"x\""));
    assert_non_null(strstr(text, "\"reason\":\"path.registration_id\""));
    assert_ptr_equal(strchr(strchr(text, '\n') + 1, '\n') + 1, text + strlen(text));
}

/* The alarm of an EK is a refusal to the device, and the operator is told where it is registered.
 */
static void
log_alarm(void **state)
{
    struct lk_http_request req = put("/0ne0/registrations/dev-1/register");
    char text[4096] = "";
    FILE *file = tmpfile();

    assert_non_null(file);
    lk_log_open(LK_LOG_JSON, fileno(file));
    fake.answer.registered_as = "first-name";
    handle(&req);
    lk_log_open(LK_LOG_JSON, STDERR_FILENO);
    rewind(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);

    assert_null(strstr(lk_buf_text(&req.answer), "first-name"));
    expect_code(&req, LK_DPS_UNAUTHORIZED);
    assert_non_null(strstr(text, "\"event\":\"ek.duplicate\""));
    assert_non_null(strstr(text, "\"registered_as\":\"first-name\""));
    assert_null(strstr(text, "registration.refused"));
}

/* An assigned device and a failed one are told with what an operator asks first. */
static void
log_ends(void **state)
{
    struct lk_http_request req = put("/0ne0/registrations/dev-1/operations/o");
    struct lk_dps_state *s = &fake.answer.state;
    char text[4096] = "";
    FILE *file = tmpfile();

    assert_non_null(file);
    lk_log_open(LK_LOG_JSON, fileno(file));
    req.method = LK_HTTP_GET;
    fake.answer.verdict = LK_REG_STATE;
    fake.answer.reason = NULL;
    s->status = LK_DPS_ASSIGNING;
    handle(&req);
    s->status = LK_DPS_ASSIGNED;
    (void)snprintf(s->assigned_hub, sizeof(s->assigned_hub), "hub.example.test");
    (void)snprintf(s->device_id, sizeof(s->device_id), "Dev-1");
    handle(&req);
    s->status = LK_DPS_FAILED;
    s->assigned_hub[0] = '\0';
    (void)snprintf(s->error_message, sizeof(s->error_message), "no hub");
    handle(&req);
    lk_log_open(LK_LOG_JSON, STDERR_FILENO);
    rewind(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);
    fake_http_fini(&req);

    assert_null(strstr(text, "registration.state"));
    assert_non_null(strstr(text, "\"event\":\"registration.assigned\""));
    assert_non_null(strstr(text, "\"hub\":\"hub.example.test\",\"device_id\":\"Dev-1\""));
    assert_non_null(strstr(text, "\"event\":\"registration.failed\""));
    assert_non_null(strstr(text, "\"reason\":\"no hub\",\"device_id\""));
}

/* What the peer presented in TLS comes along, unless a token or the keys of a TPM say who asks; a
 * chain past the limit is an error of form. */
static void
certificates(void **state)
{
    static const struct lk_part certs[] = {{"a", 1}, {"ab", 2}, {"abc", 3}, {"abcd", 4}, {"b", 1}};
    static const char keys[] =
        "{\"tpm\":{\"endorsementKey\":\"AAAA\",\"storageRootKey\":\"AAAA\"}}";
    struct lk_http_request req = put("/0ne0/registrations/dev-1/register");

    req.certs = certs;
    req.certs_count = 4;
    handle(&req);
    assert_string_equal(fake.called, "register");
    assert_int_equal(fake.certs_count, 4);
    req.body = keys;
    req.body_len = sizeof(keys) - 1;
    req.headers[0] = (struct fake_header){"Content-Type", "application/json"};
    handle(&req);
    assert_string_equal(fake.called, "register");
    assert_int_equal(fake.certs_count, 0);
    fake_http_fini(&req);

    req = put("/0ne0/registrations/dev-1/operations/1.2");
    req.method = LK_HTTP_GET;
    req.certs = certs;
    req.certs_count = 1;
    handle(&req);
    assert_string_equal(fake.called, "poll");
    assert_int_equal(fake.certs_count, 1);
    req.headers[0] = (struct fake_header){"Authorization", "SharedAccessSignature x"};
    handle(&req);
    assert_int_equal(fake.certs_count, 0);
    req.headers[0] = (struct fake_header){NULL, NULL};
    req.certs_count = 5;
    expect_code(&req, LK_DPS_BAD_REQUEST);
    assert_null(fake.called);
}

/* A flood of refusals is answered in full and told in part. */
static void
log_flood(void **state)
{
    struct lk_http_request req = put("/0ne0/registrations/dev-1/register");
    char text[65536] = "";
    unsigned lines = 0;
    FILE *file = tmpfile();

    assert_non_null(file);
    lk_log_open(LK_LOG_JSON, fileno(file));
    for (unsigned i = 0; i < 200; i++) {
        handle(&req);
        assert_int_equal(req.status, 401);
    }
    lk_log_open(LK_LOG_JSON, STDERR_FILENO);
    rewind(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);
    fake_http_fini(&req);
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    assert_in_range(lines, LK_LOG_GATE_LINES, 3 * LK_LOG_GATE_LINES); /* it may meet a new second */
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Which clients are older than reprovisioning is, by what they ask for. */
static void
old_versions(void **state)
{
    struct lk_http_request req = put("/0ne0/registrations/dev-1/register");

    handle(&req);
    assert_string_equal(fake.called, "register");
    assert_false(fake.before_reprovisioning);
    req.query = "api-version=2018-09-01-preview";
    handle(&req);
    assert_false(fake.before_reprovisioning);
    req.query = "api-version=2018-04-01";
    handle(&req);
    assert_true(fake.before_reprovisioning);
    fake_http_fini(&req);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(calls),    CASE(longest_ids), CASE(unknown_paths), CASE(bad_ids),      CASE(methods),
        CASE(query),    CASE(headers),     CASE(bodies),        CASE(challenge),    CASE(accepted),
        CASE(states),   CASE(failures),    CASE(later),         CASE(log_lines),    CASE(log_flood),
        CASE(log_ends), CASE(log_alarm),   CASE(certificates),  CASE(old_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
