/* Tests of src/api/service_policies.c and src/provision/policy_change.c, on a real store: who may
 * make, roll and remove policies over the network, and what is told of their keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/manage_json.h"
#include "service_stage.h"

#define POLICIES "/latchkey/v1/policies"
#define ALL_RIGHTS                                                                                 \
    "{\"rights\":\"ServiceConfig,EnrollmentRead,EnrollmentWrite,DeviceConnect,"                    \
    "RegistrationStatusRead,RegistrationStatusWrite\"}"

static void
put(struct stage *s, const char *name, const char *body)
{
    char path[200];

    (void)snprintf(path, sizeof(path), POLICIES "/%s", name);
    stage_ask(s, LK_HTTP_PUT, path, body);
}

/* The key of a slot that the latest answer tells becomes the one that asks, under name. */
static void
become(struct stage *s, const char *name, enum lk_policy_slot slot)
{
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    json_t *answer = stage_json(s);

    assert_int_equal(lk_policy_key_json_parse(answer, slot, &key), LK_OK);
    assert_int_equal(key.len, sizeof(s->key));
    memcpy(s->key, key.data, key.len);
    assert_int_equal(lk_strcpy(s->policy, sizeof(s->policy), name), LK_OK);
    json_decref(answer);
}

static bool
answer_has(struct stage *s, const char *text)
{
    return strstr(lk_buf_text(&s->req.answer), text) != NULL;
}

/* Both keys are told to who makes a policy, open what its rights say, and are told by nothing
 * else. */
static void
keys_are_told_once(void **state)
{
    struct stage s;
    struct lk_policy p;
    json_t *answer;

    stage_start(&s, NULL);
    put(&s, "dash", "{\"rights\":\" enrollmentread , ServiceConfig\",\"scope\":\"x\",\"later\":1}");
    stage_expect(&s, 200);
    answer = stage_json(&s);
    assert_int_equal(lk_policy_json_parse(answer, &p), LK_OK);
    assert_string_equal(p.name, "dash");
    assert_string_equal(p.scope, RIG_SCOPE);
    assert_int_equal(p.rights, LK_RIGHT_ENROLLMENT_READ | LK_RIGHT_SERVICE_CONFIG);
    assert_true(p.created_ms > 0);
    json_decref(answer);
    put(&s, "dash", "{\"rights\":\"EnrollmentRead\"}");
    stage_expect_code(&s, LK_SVC_POLICY_EXISTS);
    assert_false(answer_has(&s, "Key\""));
    put(&s, "other", "{\"rights\":\"EnrollmentRead,ServiceConfig\"}");
    become(&s, "other", LK_POLICY_SECONDARY);
    stage_ask(&s, LK_HTTP_GET, "/enrollments/none", NULL);
    stage_expect(&s, 404);
    stage_ask(&s, LK_HTTP_GET, POLICIES, NULL);
    stage_expect(&s, 200);
    assert_true(answer_has(&s, "\"dash\"") && !answer_has(&s, "Key\""));
    stage_stop(&s);
}

/* A rolled key is told alone; what it replaced opens nothing, the other goes on. */
static void
rolled(void **state)
{
    struct stage s;
    uint8_t primary[LK_POLICY_KEY_LEN];

    stage_start(&s, NULL);
    put(&s, "tool", "{\"rights\":\"EnrollmentRead,ServiceConfig\"}");
    become(&s, "tool", LK_POLICY_PRIMARY);
    memcpy(primary, s.key, sizeof(primary));
    stage_ask(&s, LK_HTTP_POST, POLICIES "/tool/roll", "{\"key\":\"secondary\"}");
    stage_expect(&s, 200);
    assert_true(answer_has(&s, "secondaryKey") && !answer_has(&s, "primaryKey"));
    become(&s, "tool", LK_POLICY_SECONDARY);
    stage_ask(&s, LK_HTTP_POST, POLICIES "/tool/roll", "{\"key\":\"primary\",\"length\":1}");
    stage_expect(&s, 200);
    assert_true(answer_has(&s, "primaryKey") && !answer_has(&s, "secondaryKey"));
    memcpy(s.key, primary, sizeof(primary));
    stage_ask(&s, LK_HTTP_GET, POLICIES, NULL);
    stage_expect(&s, 401);
    stage_stop(&s);
}

/* With a right that the asking policy lacks nothing is made, renewed or removed, and no key told:
 * not another's, not more for itself under another name. */
static void
nothing_beyond_own_rights(void **state)
{
    static const char *const bodies[] = {
        ALL_RIGHTS, "{\"rights\":\"EnrollmentWrite\"}", "{\"rights\":\"DeviceConnect\"}",
        "{\"rights\":\"ServiceConfig,EnrollmentRead,RegistrationStatusRead\"}"};
    struct stage s;

    stage_start(&s, NULL);
    put(&s, "writer", "{\"rights\":\"EnrollmentWrite\"}");
    stage_become(&s, "limited", LK_RIGHT_SERVICE_CONFIG | LK_RIGHT_ENROLLMENT_READ);
    for (size_t i = 0; i < LK_ARRAY_LEN(bodies); i++) {
        put(&s, "more", bodies[i]);
        stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
        assert_false(answer_has(&s, "Key"));
    }
    for (size_t i = 0; i < 2; i++) {
        stage_ask(&s, LK_HTTP_POST, i == 0 ? POLICIES "/operator/roll" : POLICIES "/writer/roll",
                  "{\"key\":\"primary\"}");
        stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
        assert_false(answer_has(&s, "Key"));
        stage_ask(&s, LK_HTTP_DELETE, i == 0 ? POLICIES "/operator" : POLICIES "/writer", NULL);
        stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
    }
    assert_int_equal(rig_audit_count(&s.rig, "policy.add", NULL, 0), 1);
    assert_int_equal(rig_audit_count(&s.rig, "policy.roll", NULL, 0), 0);
    assert_int_equal(rig_audit_count(&s.rig, "policy.remove", NULL, 0), 0);
    put(&s, "like-me", "{\"rights\":\"ServiceConfig,EnrollmentRead\"}");
    stage_expect(&s, 200);
    stage_ask(&s, LK_HTTP_DELETE, POLICIES "/like-me", NULL);
    stage_expect(&s, 204);
    stage_ask(&s, LK_HTTP_POST, POLICIES "/limited/roll", "{\"key\":\"secondary\"}");
    stage_expect(&s, 200);
    stage_stop(&s);
}

/* Without ServiceConfig not even the form is looked at. */
static void
without_the_right(void **state)
{
    struct stage s;

    stage_start(&s, NULL);
    stage_become(&s, "others", LK_RIGHTS_ALL & ~(unsigned)LK_RIGHT_SERVICE_CONFIG);
    put(&s, "a b", "{");
    stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
    stage_ask(&s, LK_HTTP_POST, POLICIES "/others/roll", "{");
    stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
    stage_ask(&s, LK_HTTP_DELETE, POLICIES "/others", NULL);
    stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
    stage_stop(&s);
}

/* Somebody with every right stays; with a second one the first may go, and is out at once. */
static void
last_owner(void **state)
{
    struct stage s;

    stage_start(&s, NULL);
    put(&s, "almost",
        "{\"rights\":\"ServiceConfig,EnrollmentRead,EnrollmentWrite,DeviceConnect,"
        "RegistrationStatusRead\"}");
    stage_expect(&s, 200);
    stage_ask(&s, LK_HTTP_DELETE, POLICIES "/" STAGE_POLICY, NULL);
    stage_expect_code(&s, LK_SVC_LAST_OWNER);
    put(&s, "heir", ALL_RIGHTS);
    stage_expect(&s, 200);
    stage_ask(&s, LK_HTTP_DELETE, POLICIES "/" STAGE_POLICY, NULL);
    stage_expect(&s, 204);
    stage_ask(&s, LK_HTTP_DELETE, POLICIES "/heir", NULL);
    stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
    stage_stop(&s);
}

/* What is malformed is told by its member, and what there is not by its code. */
static void
forms(void **state)
{
    static const struct {
        enum lk_http_method method;
        const char *path, *if_match, *body;
        int32_t code;
    } cases[] = {
        {LK_HTTP_PUT, "/a%20b", NULL, ALL_RIGHTS, LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a%7Cb", NULL, ALL_RIGHTS, LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", /* 65 */
         NULL, ALL_RIGHTS, LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a", NULL, "", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a", NULL, "[]", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a", NULL, "{}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a", NULL, "{\"rights\":\"\"}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a", NULL, "{\"rights\":63}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a", NULL, "{\"rights\":\"EnrollmentRead,All\"}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a", "*", ALL_RIGHTS, LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a", "\"etag\"", ALL_RIGHTS, LK_SVC_PRECONDITION},
        {LK_HTTP_POST, "/operator/roll", NULL, "{}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_POST, "/operator/roll", NULL, "{\"key\":\"both\"}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_POST, "/operator/roll", NULL, "{\"key\":1}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_POST, "/operator/roll", "x", "{\"key\":\"primary\"}", LK_SVC_PRECONDITION},
        {LK_HTTP_POST, "/Operator/roll", NULL, "{\"key\":\"primary\"}", LK_SVC_NO_POLICY},
        {LK_HTTP_DELETE, "/nobody", NULL, NULL, LK_SVC_NO_POLICY},
        {LK_HTTP_DELETE, "/nobody", "*", NULL, LK_SVC_NO_POLICY},
        {LK_HTTP_DELETE, "/operator", "x", NULL, LK_SVC_PRECONDITION},
    };
    char path[200];
    struct stage s;

    stage_start(&s, NULL);
    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        (void)snprintf(path, sizeof(path), POLICIES "%s", cases[i].path);
        s.if_match = cases[i].if_match;
        stage_ask(&s, cases[i].method, path, cases[i].body);
        stage_expect_code(&s, cases[i].code);
    }
    stage_stop(&s);
}

/* As many as one answer lists. */
static void
bounded(void **state)
{
    struct stage s;
    char name[16];

    stage_start(&s, NULL);
    for (unsigned i = 1; i < LK_POLICIES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "p%u", i);
        put(&s, name, "{\"rights\":\"EnrollmentRead\"}");
        stage_expect(&s, 200);
    }
    put(&s, "one-more", "{\"rights\":\"EnrollmentRead\"}");
    stage_expect_code(&s, LK_SVC_TOO_MANY);
    stage_stop(&s);
}

/* Each change is one record, with request and rights, and without a key. */
static void
recorded(void **state)
{
    char detail[LK_AUDIT_DETAIL_MAX];
    struct stage s;

    stage_start(&s, NULL);
    put(&s, "dash", "{\"rights\":\"EnrollmentRead\"}");
    assert_int_equal(rig_audit_count(&s.rig, "policy.add", detail, sizeof(detail)), 1);
    assert_string_equal(detail, "{\"requestId\":\"0123456789abcdef0123456789abcdef\","
                                "\"rights\":\"EnrollmentRead\"}");
    stage_ask(&s, LK_HTTP_POST, POLICIES "/dash/roll", "{\"key\":\"primary\"}");
    assert_int_equal(rig_audit_count(&s.rig, "policy.roll", detail, sizeof(detail)), 1);
    assert_string_equal(detail, "{\"requestId\":\"0123456789abcdef0123456789abcdef\","
                                "\"key\":\"primary\"}");
    stage_ask(&s, LK_HTTP_DELETE, POLICIES "/dash", NULL);
    assert_int_equal(rig_audit_count(&s.rig, "policy.remove", detail, sizeof(detail)), 1);
    assert_string_equal(detail, "{\"requestId\":\"0123456789abcdef0123456789abcdef\"}");
    stage_stop(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_told_once),
        cmocka_unit_test(rolled),
        cmocka_unit_test(nothing_beyond_own_rights),
        cmocka_unit_test(without_the_right),
        cmocka_unit_test(last_owner),
        cmocka_unit_test(forms),
        cmocka_unit_test(bounded),
        cmocka_unit_test(recorded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
