/* Tests of src/api/service_path.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/service_path.h"

static enum lk_err
route(const char *raw, enum lk_http_method method, struct lk_path *path, struct lk_svc_route *ret)
{
    *path = (struct lk_path)LK_PATH_INIT;
    assert_int_equal(lk_path_parse(raw, path), LK_OK);
    return lk_svc_route(path, method, ret);
}

/* The surface takes what begins with one of its three words, as a whole segment. */
static void
serves(void **state)
{
    static const char *const mine[] = {
        "/enrollments",      "/enrollments/",          "/ENROLLMENTS/a",   "/enrollmentGroups/a",
        "/enrollmentgroups", "/Registrations/a/query", "/registrations//x"};
    static const char *const others[] = {"",
                                         "/",
                                         "//enrollments",
                                         "enrollments",
                                         "/enrollment",
                                         "/enrollmentsx/a",
                                         "/enrollment%73/a",
                                         "/0ne00000001/registrations/a/register",
                                         "/enrollmentGroup/a"};

    for (size_t i = 0; i < LK_ARRAY_LEN(mine); i++) {
        assert_true(lk_svc_path_serves(mine[i]));
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(others); i++) {
        assert_false(lk_svc_path_serves(others[i]));
    }
}

/* Every endpoint of section 2, in the spellings that SDKs send. */
static void
endpoints(void **state)
{
    static const struct {
        const char *path;
        enum lk_http_method method;
        enum lk_svc_collection collection;
        enum lk_svc_action action;
        const char *id;
    } cases[] = {
        {"/enrollments/a", LK_HTTP_PUT, LK_SVC_ENROLLMENTS, LK_SVC_PUT, "a"},
        {"/enrollments/a/", LK_HTTP_GET, LK_SVC_ENROLLMENTS, LK_SVC_GET, "a"},
        {"/enrollments/My%3ADev.1_x", LK_HTTP_DELETE, LK_SVC_ENROLLMENTS, LK_SVC_DELETE,
         "My:Dev.1_x"},
        {"/enrollments", LK_HTTP_POST, LK_SVC_ENROLLMENTS, LK_SVC_BULK, NULL},
        {"/enrollments/", LK_HTTP_POST, LK_SVC_ENROLLMENTS, LK_SVC_BULK, NULL},
        {"/enrollments/query", LK_HTTP_POST, LK_SVC_ENROLLMENTS, LK_SVC_QUERY, NULL},
        {"/enrollments/QUERY/", LK_HTTP_POST, LK_SVC_ENROLLMENTS, LK_SVC_QUERY, NULL},
        {"/enrollments/a/attestationmechanism", LK_HTTP_POST, LK_SVC_ENROLLMENTS, LK_SVC_MECHANISM,
         "a"},
        {"/enrollmentGroups/g", LK_HTTP_PUT, LK_SVC_GROUPS, LK_SVC_PUT, "g"},
        {"/enrollmentGroups/", LK_HTTP_POST, LK_SVC_GROUPS, LK_SVC_BULK, NULL},
        {"/enrollmentGroups/query", LK_HTTP_POST, LK_SVC_GROUPS, LK_SVC_QUERY, NULL},
        {"/enrollmentgroups/g/attestationmechanism", LK_HTTP_POST, LK_SVC_GROUPS, LK_SVC_MECHANISM,
         "g"},
        {"/registrations/a", LK_HTTP_GET, LK_SVC_REGISTRATIONS, LK_SVC_GET, "a"},
        {"/registrations/a", LK_HTTP_DELETE, LK_SVC_REGISTRATIONS, LK_SVC_DELETE, "a"},
        {"/registrations/g/query", LK_HTTP_POST, LK_SVC_REGISTRATIONS, LK_SVC_QUERY, "g"},
        /* Things may have the names of endpoints. */
        {"/enrollments/query", LK_HTTP_PUT, LK_SVC_ENROLLMENTS, LK_SVC_PUT, "query"},
        {"/enrollments/attestationmechanism", LK_HTTP_GET, LK_SVC_ENROLLMENTS, LK_SVC_GET,
         "attestationmechanism"},
        {"/enrollments/query/attestationMechanism", LK_HTTP_POST, LK_SVC_ENROLLMENTS,
         LK_SVC_MECHANISM, "query"},
        {"/registrations/query", LK_HTTP_GET, LK_SVC_REGISTRATIONS, LK_SVC_GET, "query"},
        {"/registrations/query/query", LK_HTTP_POST, LK_SVC_REGISTRATIONS, LK_SVC_QUERY, "query"},
        /* What an id holds is judged elsewhere. */
        {"/enrollments/a%2Fb", LK_HTTP_GET, LK_SVC_ENROLLMENTS, LK_SVC_GET, "a/b"},
        {"/enrollments/..", LK_HTTP_GET, LK_SVC_ENROLLMENTS, LK_SVC_GET, ".."},
        /* Ours. */
        {"/latchkey/v1/Policies/", LK_HTTP_GET, LK_SVC_POLICIES, LK_SVC_LIST, NULL},
        {"/latchkey/v1/policies/roll", LK_HTTP_PUT, LK_SVC_POLICIES, LK_SVC_PUT, "roll"},
        {"/latchkey/v1/policies/a%40b/", LK_HTTP_DELETE, LK_SVC_POLICIES, LK_SVC_DELETE, "a@b"},
        {"/latchkey/v1/hubs/a.b", LK_HTTP_PUT, LK_SVC_HUBS, LK_SVC_PUT, "a.b"},
        {"/latchkey/v1/hubs/a.b", LK_HTTP_PATCH, LK_SVC_HUBS, LK_SVC_PATCH, "a.b"},
        {"/latchkey/v1/hubs/a.b/", LK_HTTP_DELETE, LK_SVC_HUBS, LK_SVC_DELETE, "a.b"},
        {"/latchkey/v1/policies/a/roll", LK_HTTP_POST, LK_SVC_POLICIES, LK_SVC_ROLL, "a"},
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        struct lk_svc_route r;
        struct lk_path path;

        assert_int_equal(route(cases[i].path, cases[i].method, &path, &r), LK_OK);
        assert_int_equal(r.collection, cases[i].collection);
        assert_int_equal(r.action, cases[i].action);
        if (cases[i].id == NULL) {
            assert_null(r.id);
        } else {
            assert_string_equal(r.id, cases[i].id);
        }
        lk_path_fini(&path);
    }
}

/* What there is not, whatever the method. */
static void
no_endpoints(void **state)
{
    static const char *const paths[] = {"/",
                                        "/enrollment",
                                        "/enrollments//",
                                        "/enrollments//x",
                                        "/enrollments/a//",
                                        "/enrollments/a/b",
                                        "/enrollments/a/query",
                                        "/enrollments/a/attestationmechanism/b",
                                        "/enrollments/a/attestationmechanism//",
                                        "/registrations/a/attestationmechanism",
                                        "/registrations//query",
                                        "/%65nrollments2/a",
                                        "/latchkey/v1/policies//",
                                        "/latchkey/v1/policies//roll",
                                        "/latchkey/v1/policies/a/show",
                                        "/latchkey/v1/policies/a/roll/b",
                                        "/latchkey/v2/policies/a"};

    for (size_t i = 0; i < LK_ARRAY_LEN(paths); i++) {
        for (int method = LK_HTTP_GET; method <= LK_HTTP_OTHER; method++) {
            struct lk_svc_route r = {.allow = "untouched"};
            struct lk_path path;

            assert_int_equal(route(paths[i], (enum lk_http_method)method, &path, &r),
                             LK_ERR_NOT_FOUND);
            assert_string_equal(r.allow, "untouched");
            lk_path_fini(&path);
        }
    }
}

/* Of each endpoint, the methods that it takes are those that it says it does. */
static void
allow_is_true(void **state)
{
    static const char *const paths[] = {"/latchkey/v1/hubs",
                                        "/latchkey/v1/hubs/a.b",
                                        "/latchkey/v1/policies",
                                        "/latchkey/v1/policies/a",
                                        "/latchkey/v1/policies/a/roll",
                                        "/enrollments",
                                        "/enrollments/a",
                                        "/enrollments/query",
                                        "/enrollments/a/attestationmechanism",
                                        "/enrollmentGroups",
                                        "/enrollmentGroups/query",
                                        "/registrations",
                                        "/registrations/a",
                                        "/registrations/query",
                                        "/registrations/a/query"};
    static const char *const names[] = {
        [LK_HTTP_GET] = "GET",       [LK_HTTP_HEAD] = "HEAD",   [LK_HTTP_PUT] = "PUT",
        [LK_HTTP_POST] = "POST",     [LK_HTTP_PATCH] = "PATCH", [LK_HTTP_DELETE] = "DELETE",
        [LK_HTTP_OPTIONS] = "x-not", [LK_HTTP_OTHER] = "x-not"};

    for (size_t i = 0; i < LK_ARRAY_LEN(paths); i++) {
        for (int method = LK_HTTP_GET; method <= LK_HTTP_OTHER; method++) {
            struct lk_svc_route r;
            struct lk_path path;
            enum lk_err err = route(paths[i], (enum lk_http_method)method, &path, &r);

            assert_int_equal(err,
                             strstr(r.allow, names[method]) != NULL ? LK_OK : LK_ERR_UNSUPPORTED);
            assert_non_null(strstr(r.allow, "OPTIONS"));
            lk_path_fini(&path);
        }
    }
}

/* The five versions of section 1, once; and nothing else. */
static void
api_versions(void **state)
{
    static const char *const good[] = {"api-version=2018-04-01", "api-version=2018-09-01-preview",
                                       "api-version=2019-03-31", "api-version=2021-06-01",
                                       "a=b&API-Version=2021-10-01&c"};
    static const char *const bad[] = {"api-version=",
                                      "api-version=2021-10-01-preview",
                                      "api-version=2018-09-01",
                                      "api-version=2017-11-15",
                                      "api-version=2021-10-01&api-version=2021-10-01",
                                      "api-version=2021-10-01x",
                                      "api-version=2021-10-1"};

    for (size_t i = 0; i < LK_ARRAY_LEN(good); i++) {
        assert_int_equal(lk_svc_api_version(good[i]), LK_OK);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        assert_int_equal(lk_svc_api_version(bad[i]), LK_ERR_FORMAT);
    }
    assert_int_equal(lk_svc_api_version(""), LK_ERR_NOT_FOUND);
    assert_int_equal(lk_svc_api_version("x-api-version=2021-10-01"), LK_ERR_NOT_FOUND);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves),       cmocka_unit_test(endpoints),
        cmocka_unit_test(no_endpoints), cmocka_unit_test(allow_is_true),
        cmocka_unit_test(api_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
