/* Tests of src/api/service_api.c: from a request's line to its access, and how a call ends. */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/codec.h"
#include "service_stage.h"
#include "store/store_int.h"

#define SYMMETRIC "{\"registrationId\":\"dev-1\",\"attestation\":{\"type\":\"symmetricKey\"}}"

/* What a path does not do is 405 with what it does, HEAD too; before any token is looked at. */
static void
wrong_methods(void **state)
{
    static const struct {
        enum lk_http_method method;
        const char *path, *allow;
    } cases[] = {
        {LK_HTTP_GET, "/enrollments", "POST, OPTIONS"},
        {LK_HTTP_PUT, "/enrollmentgroups/", "POST, OPTIONS"},
        {LK_HTTP_POST, "/registrations", "OPTIONS"},
        {LK_HTTP_HEAD, "/enrollments/x", "PUT, GET, DELETE, OPTIONS"},
        {LK_HTTP_PATCH, "/enrollments/x", "PUT, GET, DELETE, OPTIONS"},
        {LK_HTTP_POST, "/enrollmentGroups/x", "PUT, GET, DELETE, OPTIONS"},
        {LK_HTTP_HEAD, "/enrollments/query", "PUT, GET, DELETE, POST, OPTIONS"},
        {LK_HTTP_PUT, "/registrations/x", "GET, DELETE, OPTIONS"},
        {LK_HTTP_POST, "/registrations/query", "GET, DELETE, OPTIONS"},
        {LK_HTTP_GET, "/registrations/x/query", "POST, OPTIONS"},
        {LK_HTTP_OTHER, "/enrollments/x/attestationmechanism", "POST, OPTIONS"},
    };
    struct stage s;

    stage_start(&s, NULL);
    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        char allow[64];

        fake_http_fini(&s.req);
        s.req = (struct lk_http_request){
            .method = cases[i].method, .path = cases[i].path, .host = STAGE_HOST};
        stage_send(&s);
        stage_expect_code(&s, LK_DPS_METHOD_NOT_ALLOWED);
        assert_true(stage_header(&s, "Allow", allow, sizeof(allow)));
        assert_string_equal(allow, cases[i].allow);
        fake_http_fini(&s.req);
        s.req.method = LK_HTTP_OPTIONS;
        stage_send(&s);
        fake_http_expect(&s.req, 204, NULL);
        assert_true(stage_header(&s, "Allow", allow, sizeof(allow)));
        assert_string_equal(allow, cases[i].allow);
        assert_false(stage_header(&s, "x-ms-error-code", allow, sizeof(allow)));
    }
    stage_stop(&s);
}

/* What is no path of the API, and what is no path at all. */
static void
wrong_paths(void **state)
{
    static const char *const missing[] = {
        "/enrollments//x", "/enrollments/x/y", "/enrollments/x/attestationmechanism/y",
        "/registrations/x/attestationmechanism", "/enrollments/1/2/3/4/5/6/7/8"};
    static const char *const broken[] = {"/enrollments/%", "/enrollments/a%00", "/enrollments/%zz"};
    struct stage s;

    stage_start(&s, NULL);
    for (size_t i = 0; i < LK_ARRAY_LEN(missing); i++) {
        stage_ask(&s, LK_HTTP_POST, missing[i], "{}");
        stage_expect_code(&s, LK_DPS_NOT_FOUND);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(broken); i++) {
        stage_ask(&s, LK_HTTP_GET, broken[i], NULL);
        stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    }
    stage_stop(&s);
}

static enum lk_err
second_host_run(struct lk_txn *tx, void *arg)
{
    struct lk_scope scope = {.id = RIG_OTHER_SCOPE};
    enum lk_err err;

    (void)snprintf(scope.service_host, sizeof(scope.service_host), "%s", (const char *)arg);
    err = lk_txn_scope_set(tx, &scope);
    return err;
}

/*
 * With several scopes the host says which: a policy opens its own scope under its own host, and a
 * host of none is 404 whatever the token.
 */
static void
hosts_and_scopes(void **state)
{
    struct stage s;

    stage_start(&s, NULL);
    stage_ask(&s, LK_HTTP_PUT, "/enrollments/dev-1", SYMMETRIC);
    stage_expect(&s, 200);

    /* The other scope has no host yet, and is nobody's. */
    fake_http_fini(&s.req);
    s.req = (struct lk_http_request){.method = LK_HTTP_GET,
                                     .path = "/enrollments/dev-1",
                                     .query = "api-version=2021-10-01",
                                     .host = "other.example.test"};
    s.req.headers[0] = (struct fake_header){"Authorization", s.token};
    stage_send(&s);
    stage_expect_code(&s, LK_DPS_NOT_FOUND);
    s.req.host = NULL; /* HTTP/1.0 */
    stage_send(&s);
    stage_expect_code(&s, LK_DPS_NOT_FOUND);

    rig_write(&s.rig, second_host_run, (void *)(uintptr_t) "other.example.test");
    s.req.host = "other.example.test";
    stage_send(&s);
    stage_expect_code(&s, LK_DPS_UNAUTHORIZED); /* the first scope's policy is none here */
    s.req.host = STAGE_HOST;
    stage_send(&s);
    stage_wait(&s);
    stage_expect(&s, 200);
    stage_stop(&s);
}

/* No token, one of another kind, and two of them. */
static void
tokens(void **state)
{
    struct stage s;

    stage_start(&s, NULL);
    stage_ask(&s, LK_HTTP_GET, "/enrollments/x", NULL); /* makes a good one */
    stage_expect_code(&s, LK_SVC_NO_ENROLLMENT);
    memset(s.req.headers, 0, sizeof(s.req.headers));
    stage_send(&s);
    stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
    s.req.headers[0] = (struct fake_header){"Authorization", "Bearer x"};
    stage_send(&s);
    stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
    s.req.headers[0] = (struct fake_header){"Authorization", s.token};
    s.req.headers[1] = s.req.headers[0];
    stage_send(&s);
    stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
    stage_stop(&s);
}

/* Another media type is 415; none is JSON. */
static void
media_types(void **state)
{
    struct stage s;

    stage_start(&s, NULL);
    stage_ask(&s, LK_HTTP_PUT, "/enrollments/dev-1", SYMMETRIC);
    stage_expect(&s, 200);
    s.req.headers[1] = (struct fake_header){"Content-Type", "text/plain"};
    stage_send(&s);
    stage_expect_code(&s, LK_DPS_MEDIA_TYPE);
    s.req.headers[1] = (struct fake_header){"Content-Type", "Application/JSON; charset=utf-8"};
    stage_send(&s);
    stage_wait(&s);
    stage_expect_code(&s, LK_SVC_ENROLLMENT_EXISTS);
    stage_stop(&s);
}

/* Jobs in front of a call: the first one waits in the writer until it is let go. */
struct crowd {
    sem_t entered, leave;
    size_t left; /* jobs that are not done */
    struct lk_job jobs[1 + STORE_QUEUE_MAX];
};

static enum lk_err
first_run(struct lk_txn *tx, void *arg)
{
    struct crowd *crowd = arg;

    (void)sem_post(&crowd->entered);
    while (sem_wait(&crowd->leave) != 0) {
    }
    return LK_OK;
}

static enum lk_err
other_run(struct lk_txn *tx, void *arg)
{
    return LK_OK;
}

static void
crowd_done(void *arg, enum lk_err err)
{
    struct crowd *crowd = arg;

    assert_int_equal(err, LK_OK);
    crowd->left--;
}

static void
crowd_gather(struct crowd *crowd, struct lk_session *session)
{
    assert_int_equal(sem_init(&crowd->entered, 0, 0), 0);
    assert_int_equal(sem_init(&crowd->leave, 0, 0), 0);
    for (size_t i = 0; i < LK_ARRAY_LEN(crowd->jobs); i++) {
        crowd->jobs[i] = (struct lk_job){
            .run = i == 0 ? first_run : other_run, .done = crowd_done, .arg = crowd};
        lk_store_write(session, &crowd->jobs[i]);
        crowd->left++;
        while (i == 0 && sem_wait(&crowd->entered) != 0) {
        }
    }
}

static void
crowd_leave(struct crowd *crowd, struct stage *s)
{
    assert_int_equal(sem_post(&crowd->leave), 0);
    while (crowd->left > 0) {
        stage_dispatch(s);
    }
    (void)sem_destroy(&crowd->entered);
    (void)sem_destroy(&crowd->leave);
}

/* A writer whose queue is full answers 429 and when to try again; nothing of the call is done. */
static void
a_full_queue(void **state)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    struct stage s;
    char seconds[16];

    assert_non_null(crowd);
    stage_start(&s, NULL);
    crowd_gather(crowd, s.rig.session);
    stage_ask(&s, LK_HTTP_PUT, "/enrollments/dev-1", SYMMETRIC);
    stage_expect_code(&s, LK_DPS_THROTTLED);
    assert_true(stage_header(&s, "Retry-After", seconds, sizeof(seconds)));
    assert_true(atoi(seconds) > 0);
    assert_int_equal(lk_service_api_pending(s.api), 0);
    crowd_leave(crowd, &s);

    stage_ask(&s, LK_HTTP_GET, "/enrollments/dev-1", NULL);
    stage_expect_code(&s, LK_SVC_NO_ENROLLMENT);
    stage_ask(&s, LK_HTTP_PUT, "/enrollments/dev-1", SYMMETRIC);
    stage_expect(&s, 200);
    stage_stop(&s);
    free(crowd);
}

/* ---- reads in the audit chain -----------------------------------------------------------------
 */

static void
with_audit(struct lk_service_api_config *config)
{
    config->audit_reads = true;
}

static void
expect_record(struct stage *s, const char *action, size_t count, const char *member)
{
    char detail[LK_AUDIT_DETAIL_MAX + 1];

    assert_int_equal(rig_audit_count(&s->rig, action, detail, sizeof(detail)), count);
    if (member != NULL && strstr(detail, member) == NULL) {
        fail_msg("%s is not in %s", member, detail);
    }
}

/* Each kind of read is recorded before it is answered, with what it found; a stranger's is not. */
static void
reads_are_recorded(void **state)
{
    struct stage s;

    stage_start(&s, with_audit);
    stage_ask(&s, LK_HTTP_PUT, "/enrollments/dev-1", SYMMETRIC);
    stage_expect(&s, 200);
    stage_ask(&s, LK_HTTP_GET, "/enrollments/DEV-1", NULL);
    stage_expect(&s, 200);
    expect_record(&s, "enrollment.read", 1, "\"status\":200");
    stage_ask(&s, LK_HTTP_GET, "/enrollments/dev-2", NULL);
    stage_expect_code(&s, LK_SVC_NO_ENROLLMENT);
    expect_record(&s, "enrollment.read", 2, "\"status\":404");
    stage_ask(&s, LK_HTTP_GET, "/enrollmentGroups/g", NULL);
    expect_record(&s, "group.read", 1, "\"requestId\":\"0123456789abcdef0123456789abcdef\"");
    stage_ask(&s, LK_HTTP_GET, "/registrations/dev-1", NULL);
    stage_expect_code(&s, LK_SVC_NO_REGISTRATION);
    expect_record(&s, "registration.read", 1, "\"status\":404");
    stage_ask(&s, LK_HTTP_POST, "/registrations/g/query", NULL);
    expect_record(&s, "registration.query", 1, "\"rows\":0");
    stage_ask(&s, LK_HTTP_POST, "/enrollments/query",
              "{\"query\":\"SELECT * WHERE deviceId != 'gr\xc3\xb6\xc3\x9f\\\"e'\"}");
    stage_expect(&s, 200);
    expect_record(&s, "enrollment.query", 1,
                  "\"query\":\"SELECT * WHERE deviceId != 'gr\xc3\xb6\xc3\x9f\\\"e'\",\"rows\":1");

    memset(s.req.headers, 0, sizeof(s.req.headers));
    stage_send(&s);
    stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
    stage_ask(&s, LK_HTTP_POST, "/enrollments/query", "{}"); /* was not carried out */
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    expect_record(&s, "enrollment.query", 1, NULL);
    stage_stop(&s);
}

/* The largest query there may be, all of it what JSON has to escape, fits into its record. */
static void
the_largest_query_is_recorded(void **state)
{
    struct stage s;
    char query[LK_QUERY_MAX + 1], body[4 * LK_QUERY_MAX];
    json_t *object;
    char *text;

    stage_start(&s, with_audit);
    memset(query, '\t', sizeof(query) - 1);
    query[sizeof(query) - 1] = '\0';
    memcpy(query, "SELECT *", strlen("SELECT *"));
    object = json_pack("{s:s}", "query", query);
    text = json_dumps(object, JSON_COMPACT);
    assert_int_equal(lk_strcpy(body, sizeof(body), text), LK_OK);
    free(text);
    json_decref(object);
    stage_ask(&s, LK_HTTP_POST, "/enrollments/query", body);
    stage_expect(&s, 200);
    expect_record(&s, "enrollment.query", 1, "\"query\":\"SELECT *\\t\\t");
    stage_stop(&s);
}

/* Without the setting reads leave no record, and no write. */
static void
reads_are_not_recorded(void **state)
{
    struct stage s;

    stage_start(&s, NULL);
    rig_hold(&s.rig); /* a read that waited for the writer would not return */
    stage_ask(&s, LK_HTTP_GET, "/enrollments/dev-1", NULL);
    stage_expect_code(&s, LK_SVC_NO_ENROLLMENT);
    rig_release(&s.rig);
    expect_record(&s, "enrollment.read", 0, NULL);
    stage_stop(&s);
}

/* What cannot be recorded is not told: the answer is the writer's trouble, without the rows. */
static void
a_read_without_a_record(void **state)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    struct stage s;

    assert_non_null(crowd);
    stage_start(&s, with_audit);
    stage_ask(&s, LK_HTTP_PUT, "/enrollments/dev-1", SYMMETRIC);
    stage_expect(&s, 200);
    crowd_gather(crowd, s.rig.session);
    stage_begin(&s, LK_HTTP_GET, "/enrollments/dev-1", NULL);
    assert_int_equal(lk_service_api_pending(s.api), 1);
    stage_wait(&s);
    stage_expect_code(&s, LK_DPS_THROTTLED);
    stage_ask(&s, LK_HTTP_GET, "/enrollments/dev-2", NULL); /* nor that there is none */
    stage_expect_code(&s, LK_DPS_THROTTLED);
    assert_int_equal(lk_service_api_pending(s.api), 0);
    crowd_leave(crowd, &s);
    stage_ask(&s, LK_HTTP_GET, "/enrollments/dev-1", NULL);
    stage_expect(&s, 200);
    expect_record(&s, "enrollment.read", 1, NULL);
    stage_stop(&s);
    free(crowd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_methods),
        cmocka_unit_test(wrong_paths),
        cmocka_unit_test(hosts_and_scopes),
        cmocka_unit_test(tokens),
        cmocka_unit_test(reads_are_recorded),
        cmocka_unit_test(the_largest_query_is_recorded),
        cmocka_unit_test(reads_are_not_recorded),
        cmocka_unit_test(a_read_without_a_record),
        cmocka_unit_test(media_types),
        cmocka_unit_test(a_full_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
