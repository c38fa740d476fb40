/* Tests of src/api/service_manage.c, on a real store: what is below /latchkey/v1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "service_stage.h"

static void
get(struct stage *s, const char *path, const char *query)
{
    stage_ask(s, LK_HTTP_GET, path, NULL); /* makes the token too */
    s->req.query = query;
    stage_send(s);
    stage_wait(s);
}

/* No vendor's version is asked for; methods and other paths are refused as everywhere. */
static void
paths(void **state)
{
    struct stage s;

    stage_start(&s, NULL);
    get(&s, "/latchkey/v1/hubs", "");
    stage_expect(&s, 200);
    stage_ask(&s, LK_HTTP_GET, "/latchkey/v1/hubs/", NULL);
    stage_expect(&s, 200);
    stage_ask(&s, LK_HTTP_PUT, "/latchkey/v1/hubs", "{}");
    stage_expect(&s, 405);
    fake_http_expect_header(&s.req, "Allow: GET, OPTIONS");
    stage_ask(&s, LK_HTTP_POST, "/latchkey/v1/hubs/a.b", "{}");
    stage_expect(&s, 405);
    fake_http_expect_header(&s.req, "Allow: PUT, PATCH, DELETE, OPTIONS");
    stage_ask(&s, LK_HTTP_GET, "/latchkey/v1", NULL);
    stage_expect(&s, 404);
    stage_ask(&s, LK_HTTP_GET, "/latchkey/v2/hubs", NULL);
    stage_expect(&s, 404);
    stage_ask(&s, LK_HTTP_GET, "/latchkey/v1/hubs/a.b/c", NULL);
    stage_expect(&s, 404);
    stage_ask(&s, LK_HTTP_GET, "/latchkey", NULL);
    stage_expect(&s, 404);
    stage_stop(&s);
}

/* The policy that asks is in the list, and none of its keys. */
static void
policies_have_no_keys(void **state)
{
    struct stage s;
    json_t *list;

    stage_start(&s, NULL);
    stage_ask(&s, LK_HTTP_GET, "/latchkey/v1/policies", NULL);
    stage_expect(&s, 200);
    list = stage_json(&s);
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "name")),
                        STAGE_POLICY);
    assert_null(strstr(lk_buf_text(&s.req.answer), "ey\"")); /* "primaryKey", "key" */
    json_decref(list);
    stage_stop(&s);
}

/* Records come in steps of limit, each with where the next begins. */
static void
audit_in_steps(void **state)
{
    struct stage s;
    json_t *answer;
    json_int_t seq;

    stage_start(&s, NULL);
    stage_enroll_many(&s, "dev-", 3);
    stage_ask(&s, LK_HTTP_DELETE, "/enrollments/dev-0000", NULL);
    stage_ask(&s, LK_HTTP_DELETE, "/enrollments/dev-0001", NULL);
    get(&s, "/latchkey/v1/audit", "after=0&limit=1");
    stage_expect(&s, 200);
    answer = stage_json(&s);
    assert_int_equal(json_integer_value(json_object_get(answer, "looked")), 1);
    seq = json_integer_value(json_object_get(answer, "last"));
    assert_int_equal(seq, 1);
    assert_int_equal(json_array_size(json_object_get(answer, "records")), 1);
    json_decref(answer);
    get(&s, "/latchkey/v1/audit", "limit=0");
    stage_expect(&s, 200);
    answer = stage_json(&s);
    assert_int_equal(json_integer_value(json_object_get(answer, "looked")), 0);
    json_decref(answer);
    get(&s, "/latchkey/v1/audit", "after=1000000");
    answer = stage_json(&s);
    assert_int_equal(json_integer_value(json_object_get(answer, "last")), 1000000);
    json_decref(answer);
    get(&s, "/latchkey/v1/audit", "after=x");
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    get(&s, "/latchkey/v1/audit", "after=18446744073709551615");
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    get(&s, "/latchkey/v1/audit", "limit=-1");
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    stage_stop(&s);
}

/* From the start, and from a record that was kept; one that does not fit is named. */
static void
verified(void **state)
{
    static const char body[] = "{\"seq\":1,\"hash\":\"00000000000000000000000000000000"
                               "00000000000000000000000000000000\"}";
    struct stage s;
    json_t *answer;

    stage_start(&s, NULL);
    stage_enroll_many(&s, "dev-", 1);
    stage_ask(&s, LK_HTTP_DELETE, "/enrollments/dev-0000", NULL); /* a record */
    stage_ask(&s, LK_HTTP_POST, "/latchkey/v1/audit/verify", NULL);
    stage_expect(&s, 200);
    answer = stage_json(&s);
    assert_true(json_is_false(json_object_get(answer, "more")));
    assert_true(json_integer_value(json_object_get(answer, "seq")) >= 1);
    json_decref(answer);
    stage_ask(&s, LK_HTTP_POST, "/latchkey/v1/audit/verify", body);
    stage_expect(&s, 200);
    answer = stage_json(&s);
    assert_true(json_is_integer(json_object_get(answer, "broken")));
    json_decref(answer);
    stage_ask(&s, LK_HTTP_POST, "/latchkey/v1/audit/verify", "{\"seq\":1}");
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    stage_ask(&s, LK_HTTP_POST, "/latchkey/v1/audit/verify", "{\"limit\":0}");
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    stage_stop(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(policies_have_no_keys),
        cmocka_unit_test(audit_in_steps),
        cmocka_unit_test(verified),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
