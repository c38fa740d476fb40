/* Tests of src/api/service_query.c and service_registrations.c: pages, and rows of registrations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "service_stage.h"

#define ALL "{\"query\":\"SELECT *\"}"
#define ENABLED "{\"query\":\"SELECT * WHERE provisioningStatus = 'enabled'\"}"
#define NOBODY "{\"query\":\"SELECT * WHERE attestation.type = 'x509'\"}"

/* ---- pages ------------------------------------------------------------------------------------
 */

/* One page's count of rows; next is its continuation, "" on the last. */
static size_t
page(struct stage *s, const char *path, const char *body, const char *from,
     char next[LK_SVC_CONTINUATION_CAP])
{
    json_t *rows;
    size_t count;

    s->continuation = from[0] == '\0' ? NULL : from;
    stage_ask(s, LK_HTTP_POST, path, body);
    s->continuation = NULL;
    stage_expect(s, 200);
    rows = stage_json(s);
    assert_true(json_is_array(rows));
    count = json_array_size(rows);
    json_decref(rows);
    next[0] = '\0';
    if (stage_header(s, "x-ms-continuation", next, LK_SVC_CONTINUATION_CAP)) {
        assert_string_not_equal(next, "");
    }
    return count;
}

/* Rows over all pages; *ret_pages of them. */
static size_t
walk(struct stage *s, const char *path, const char *body, size_t *ret_pages)
{
    char at[LK_SVC_CONTINUATION_CAP] = "", next[LK_SVC_CONTINUATION_CAP];
    size_t rows = 0;

    *ret_pages = 0;
    do {
        rows += page(s, path, body, at, next);
        memcpy(at, next, sizeof(at));
        ++*ret_pages;
    } while (at[0] != '\0');
    return rows;
}

/* Nothing at all is one empty page, with its type and without a continuation. */
static void
nothing(void **state)
{
    struct stage s;
    char next[LK_SVC_CONTINUATION_CAP];

    stage_start(&s, NULL);
    assert_int_equal(page(&s, "/enrollments/query", ALL, "", next), 0);
    assert_string_equal(next, "");
    fake_http_expect(&s.req, 200, "[]");
    fake_http_expect_header(&s.req, "x-ms-item-type: Enrollment");
    fake_http_expect_header(&s.req, "x-ms-max-item-count: 100");
    assert_int_equal(page(&s, "/enrollmentGroups/query", ALL, "", next), 0);
    fake_http_expect_header(&s.req, "x-ms-item-type: EnrollmentGroup");
    assert_int_equal(page(&s, "/registrations/no-group/query", NULL, "", next), 0);
    fake_http_expect_header(&s.req, "x-ms-item-type: DeviceRegistration");
    stage_stop(&s);
}

/* The last page says so also when it is full, and one row past it makes another page. */
static void
exact_pages(void **state)
{
    struct stage s;
    char next[LK_SVC_CONTINUATION_CAP], last[LK_SVC_CONTINUATION_CAP];

    stage_start(&s, NULL);
    stage_enroll_many(&s, "a-", 10);
    s.max_item_count = "10";
    assert_int_equal(page(&s, "/enrollments/query", ALL, "", next), 10);
    assert_string_equal(next, "");
    s.max_item_count = "9";
    assert_int_equal(page(&s, "/enrollments/query", ALL, "", next), 9);
    assert_int_equal(page(&s, "/enrollments/query", ALL, next, last), 1);
    assert_string_equal(last, "");
    /* Of ten rows five match: the page is full before the table ends. */
    s.max_item_count = "5";
    assert_int_equal(page(&s, "/enrollments/query", ENABLED, "", next), 5);
    stage_stop(&s);
}

/* No number and zero pick the default; more than the most is cut to it; what is no number is told.
 */
static void
page_sizes(void **state)
{
    static const char *const bad[] = {"many", "-1", "1.5", "99999999999999999999"};
    struct stage s;
    char next[LK_SVC_CONTINUATION_CAP];

    stage_start(&s, NULL);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        s.max_item_count = bad[i];
        stage_ask(&s, LK_HTTP_POST, "/enrollments/query", ALL);
        stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    }
    s.max_item_count = "0";
    (void)page(&s, "/enrollments/query", ALL, "", next);
    fake_http_expect_header(&s.req, "x-ms-max-item-count: 100");
    s.max_item_count = "1000000";
    (void)page(&s, "/enrollments/query", ALL, "", next);
    fake_http_expect_header(&s.req, "x-ms-max-item-count: 1000");
    stage_stop(&s);
}

/* A scan that finds nothing ends after so many rows, and its continuation goes on there. */
static void
bounded_in_rows(void **state)
{
    struct stage s;
    char next[LK_SVC_CONTINUATION_CAP], last[LK_SVC_CONTINUATION_CAP];
    size_t pages;

    stage_start(&s, NULL);
    stage_enroll_many(&s, "a-", LK_SVC_SCAN_MAX + 1);
    assert_int_equal(page(&s, "/enrollments/query", NOBODY, "", next), 0);
    assert_string_not_equal(next, "");
    assert_int_equal(page(&s, "/enrollments/query", NOBODY, next, last), 0);
    assert_string_equal(last, "");
    s.max_item_count = "1000";
    assert_int_equal(walk(&s, "/enrollments/query", ALL, &pages), LK_SVC_SCAN_MAX + 1);
    assert_int_equal(pages, 2);
    stage_stop(&s);
}

/*
 * A page ends when it has held the loop for its time, not before the least number of rows, and what
 * follows is neither lost nor told twice.
 */
static void
bounded_in_time(void **state)
{
    struct stage s;
    char next[LK_SVC_CONTINUATION_CAP];
    size_t pages;

    stage_start(&s, NULL);
    stage_enroll_many(&s, "a-", 100);
    s.tick_ms = LK_SVC_TURN_MS; /* every look at the clock finds the time over */
    assert_int_equal(page(&s, "/enrollments/query", ALL, "", next), LK_SVC_TURN_ROWS_MIN);
    assert_string_not_equal(next, "");
    assert_int_equal(walk(&s, "/enrollments/query", ALL, &pages), 100);
    assert_int_equal(pages, (100 + LK_SVC_TURN_ROWS_MIN - 1) / LK_SVC_TURN_ROWS_MIN);
    assert_int_equal(walk(&s, "/enrollments/query", ENABLED, &pages), 50);
    s.tick_ms = 1; /* four rows after the least number */
    assert_int_equal(page(&s, "/enrollments/query", ALL, "", next),
                     LK_SVC_TURN_ROWS_MIN + LK_SVC_TURN_MS - 1);
    stage_stop(&s);
}

/* Rows that come and go while somebody pages: those that stay are told once each. */
static void
changes_under_way(void **state)
{
    struct stage s;
    char next[LK_SVC_CONTINUATION_CAP], last[LK_SVC_CONTINUATION_CAP];

    stage_start(&s, NULL);
    stage_enroll_many(&s, "b-", 20);
    s.max_item_count = "10";
    assert_int_equal(page(&s, "/enrollments/query", ALL, "", next), 10);
    stage_ask(&s, LK_HTTP_DELETE, "/enrollments/b-0009", NULL); /* where the token points */
    stage_expect(&s, 204);
    stage_ask(&s, LK_HTTP_DELETE, "/enrollments/b-0015", NULL);
    stage_expect(&s, 204);
    stage_enroll_many(&s, "a-", 3); /* before it */
    stage_enroll_many(&s, "c-", 1); /* after it */
    assert_int_equal(page(&s, "/enrollments/query", ALL, next, last), 10);
    assert_string_equal(last, "");
    stage_stop(&s);
}

/* Bounds on the id decide where the walk begins, whichever way they are written. */
static void
bounds_on_the_id(void **state)
{
    static const struct {
        const char *condition;
        size_t count;
    } cases[] = {{"registrationId >= 'A-0005'", 5},
                 {"registrationId > 'a-0005'", 4},
                 {"registrationId >= 'a-0005x'", 4},
                 {"registrationId = 'a-0000'", 1},
                 {"registrationId < 'a-0001'", 1},
                 {"registrationId > 'b'", 0},
                 {"registrationId >= 'a'", 10},
                 {"registrationId >= '!'", 10},
                 {"registrationId >= 'a-0005' AND registrationId < 'a-0007'", 2}};
    struct stage s;
    char body[256], next[LK_SVC_CONTINUATION_CAP];

    stage_start(&s, NULL);
    stage_enroll_many(&s, "a-", 10);
    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        (void)snprintf(body, sizeof(body), "{\"query\":\"SELECT * WHERE %s\"}", cases[i].condition);
        assert_int_equal(page(&s, "/enrollments/query", body, "", next), cases[i].count);
        assert_string_equal(next, "");
    }
    stage_stop(&s);
}

/* What is no query, or a token of another one, is told. */
static void
refused(void **state)
{
    static const char *const bad[] = {"{}",
                                      "{\"query\":null}",
                                      "{\"query\":1}",
                                      "{\"query\":\"\"}",
                                      "{\"query\":\"SELECT * FROM enrollmentGroups\"}",
                                      "[]",
                                      "{"};
    struct stage s;
    char next[LK_SVC_CONTINUATION_CAP];

    stage_start(&s, NULL);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        stage_ask(&s, LK_HTTP_POST, "/enrollments/query", bad[i]);
        stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    }
    stage_enroll_many(&s, "a-", 2);
    s.max_item_count = "1";
    (void)page(&s, "/enrollments/query", ALL, "", next);
    s.continuation = next;
    stage_ask(&s, LK_HTTP_POST, "/enrollments/query", ENABLED);
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    s.continuation = "AAAA";
    stage_ask(&s, LK_HTTP_POST, "/enrollments/query", ALL);
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    stage_ask(&s, LK_HTTP_POST, "/registrations/a./query", NULL);
    stage_expect_code(&s, LK_SVC_BAD_GROUP_ID);
    stage_stop(&s);
}

/* ---- registrations ----------------------------------------------------------------------------
 */

static enum lk_err
registrations_run(struct lk_txn *tx, void *arg)
{
    enum lk_err err = LK_OK;

    (void)arg;
    for (int i = 0; err == LK_OK && i < 6; i++) {
        struct lk_registration r = {.generation = 1,
                                    .status = i == 5 ? LK_REG_FAILED : LK_REG_ASSIGNED,
                                    .substatus = LK_DPS_SUB_INITIAL,
                                    .attestation = LK_ATTESTATION_SYMMETRIC_KEY,
                                    .created_ms = INT64_C(1767225600000)};

        (void)snprintf(r.scope, sizeof(r.scope), "%s", RIG_SCOPE);
        (void)snprintf(r.id, sizeof(r.id), "Dev-%d", i);
        (void)snprintf(r.group, sizeof(r.group), "%s", i < 4 ? "Line-A" : i == 4 ? "" : "line-b");
        (void)snprintf(r.hub, sizeof(r.hub), "%s", i == 5 ? "" : RIG_HUB);
        (void)snprintf(r.device_id, sizeof(r.device_id), "Dev-%d", i);
        if (i == 5) {
            r.error_code = LK_DPS_NO_HUB;
            (void)snprintf(r.error_message, sizeof(r.error_message), "No linked hub fits");
        }
        err = lk_txn_registration_put(tx, &r, 0);
        lk_registration_fini(&r);
    }
    return err;
}

static void
expect_member(const json_t *object, const char *name, const char *value)
{
    const char *text = json_string_value(json_object_get(object, name));

    if (value == NULL) {
        assert_null(text);
    } else {
        assert_non_null(text);
        assert_string_equal(text, value);
    }
}

/* A record is read under its id in any case, forgotten once, and its etag counts. */
static void
a_record(void **state)
{
    struct stage s;
    json_t *body;
    char etag[64];

    stage_start(&s, NULL);
    stage_ask(&s, LK_HTTP_GET, "/registrations/dev-0", NULL);
    stage_expect_code(&s, LK_SVC_NO_REGISTRATION);
    rig_write(&s.rig, registrations_run, NULL);
    stage_ask(&s, LK_HTTP_GET, "/registrations/DEV-0", NULL);
    stage_expect(&s, 200);
    body = stage_json(&s);
    expect_member(body, "registrationId", "Dev-0");
    expect_member(body, "assignedHub", RIG_HUB);
    expect_member(body, "status", "assigned");
    expect_member(body, "substatus", "initialAssignment");
    expect_member(body, "errorMessage", NULL);
    (void)snprintf(etag, sizeof(etag), "%s", json_string_value(json_object_get(body, "etag")));
    json_decref(body);

    s.if_match = "\"0123\"";
    stage_ask(&s, LK_HTTP_DELETE, "/registrations/dev-0", NULL);
    stage_expect_code(&s, LK_SVC_PRECONDITION);
    s.if_match = etag;
    stage_ask(&s, LK_HTTP_DELETE, "/registrations/dev-0", NULL);
    stage_expect(&s, 204);
    fake_http_expect(&s.req, 204, NULL);
    s.if_match = NULL;
    stage_ask(&s, LK_HTTP_DELETE, "/registrations/dev-0", NULL);
    stage_expect_code(&s, LK_SVC_NO_REGISTRATION);
    stage_ask(&s, LK_HTTP_GET, "/registrations/dev-0", NULL);
    stage_expect_code(&s, LK_SVC_NO_REGISTRATION);
    assert_int_equal(rig_audit_count(&s.rig, "registration.remove", NULL, 0), 1);
    stage_stop(&s);
}

/* A group's records, in any letter case of its name, page by page; a forgotten one is not there. */
static void
records_of_a_group(void **state)
{
    struct stage s;
    char next[LK_SVC_CONTINUATION_CAP];
    size_t pages;
    json_t *rows;

    stage_start(&s, NULL);
    rig_write(&s.rig, registrations_run, NULL);
    s.max_item_count = "3";
    assert_int_equal(walk(&s, "/registrations/LINE-A/query", NULL, &pages), 4);
    assert_int_equal(pages, 2);
    assert_int_equal(page(&s, "/registrations/line-a/query",
                          "{\"query\":\"SELECT * WHERE registrationId > 'dev-1'\"}", "", next),
                     2);
    assert_int_equal(page(&s, "/registrations/line-a/query",
                          "{\"query\":\"SELECT * WHERE status = 'failed'\"}", "", next),
                     0);
    stage_ask(&s, LK_HTTP_DELETE, "/registrations/dev-1", NULL);
    stage_expect(&s, 204);
    assert_int_equal(walk(&s, "/registrations/line-a/query", "{}", &pages), 3);

    assert_int_equal(page(&s, "/registrations/line-b/query", NULL, "", next), 1);
    rows = stage_json(&s);
    expect_member(json_array_get(rows, 0), "registrationId", "Dev-5");
    expect_member(json_array_get(rows, 0), "status", "failed");
    expect_member(json_array_get(rows, 0), "errorMessage", "No linked hub fits");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "errorCode")),
                     LK_DPS_NO_HUB);
    json_decref(rows);
    stage_stop(&s);
}

/* One group's token does not go on in another. */
static void
tokens_of_a_group(void **state)
{
    struct stage s;
    char next[LK_SVC_CONTINUATION_CAP];

    stage_start(&s, NULL);
    rig_write(&s.rig, registrations_run, NULL);
    s.max_item_count = "1";
    assert_int_equal(page(&s, "/registrations/line-a/query", NULL, "", next), 1);
    s.continuation = next;
    stage_ask(&s, LK_HTTP_POST, "/registrations/line-b/query", NULL);
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    stage_stop(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),           cmocka_unit_test(exact_pages),
        cmocka_unit_test(page_sizes),        cmocka_unit_test(bounded_in_rows),
        cmocka_unit_test(bounded_in_time),   cmocka_unit_test(changes_under_way),
        cmocka_unit_test(bounds_on_the_id),  cmocka_unit_test(refused),
        cmocka_unit_test(a_record),          cmocka_unit_test(records_of_a_group),
        cmocka_unit_test(tokens_of_a_group),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
