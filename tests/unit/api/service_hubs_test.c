/* Tests of src/api/service_hubs.c and src/provision/linked_hub.c, on a real store: which hubs are
 * linked, changed and removed over the network, by whom, and that no secret of theirs is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/manage_json.h"
#include "link/connection.h"
#include "provision/allocation.h"
#include "service_stage.h"

#define HUBS "/latchkey/v1/hubs"
#define STRING                                                                                     \
    "HostName=far.example.test;SharedAccessKeyName=owner;SharedAccessKey=c2VjcmV0LWtleQ==;"        \
    "GatewayHostName=10.0.0.7:8443"
#define ELSEWHERE "{\"connectionString\":\"" STRING "\"}"
#define KEY_TEXT "c2VjcmV0LWtleQ"

static void
links_hubs(struct lk_service_api_config *config)
{
    config->links_hubs = true;
}

static void
expect_hub(struct stage *s, const char *kind, unsigned weight, bool allocatable, const char *region)
{
    json_t *answer;
    struct lk_hub hub;

    stage_expect(s, 200);
    answer = stage_json(s);
    assert_int_equal(lk_hub_json_parse(answer, &hub), LK_OK);
    assert_string_equal(hub.kind == LK_HUB_HTTP ? "http" : "embedded", kind);
    assert_int_equal(hub.weight, weight);
    assert_int_equal(hub.allocatable, allocatable);
    assert_string_equal(hub.region, region);
    assert_null(strstr(lk_buf_text(&s->req.answer), "SharedAccess"));
    assert_null(strstr(lk_buf_text(&s->req.answer), KEY_TEXT));
    json_decref(answer);
}

struct look {
    const char *name;
    struct lk_hub hub;
    enum lk_err err;
};

static enum lk_err
look_run(struct lk_txn *tx, void *arg)
{
    struct look *l = arg;

    l->err = lk_txn_hub_get(tx, l->name, &l->hub);
    return LK_OK;
}

/* Defaults, and what is said; a name is the same in any case. */
static void
linked(void **state)
{
    struct stage s;

    stage_start_with_one_scope(&s, NULL);
    stage_ask(&s, LK_HTTP_PUT, HUBS "/New.example.test", "{\"later\":1,\"kind\":\"http\"}");
    expect_hub(&s, "embedded", 1, true, "");
    stage_ask(&s, LK_HTTP_PUT, HUBS "/new.EXAMPLE.test", "{}");
    stage_expect_code(&s, LK_SVC_HUB_EXISTS);
    stage_ask(&s, LK_HTTP_PUT, HUBS "/b.test",
              "{\"weight\":1000,\"allocatable\":false,\"region\":\"north-1\"}");
    expect_hub(&s, "embedded", 1000, false, "north-1");
    stage_ask(&s, LK_HTTP_PATCH, HUBS "/B.test", "{\"allocatable\":true,\"weight\":null}");
    expect_hub(&s, "embedded", 1000, true, "north-1");
    stage_ask(&s, LK_HTTP_PATCH, HUBS "/b.test", "{\"weight\":2,\"region\":\"\"}");
    expect_hub(&s, "embedded", 2, true, "");
    stage_ask(&s, LK_HTTP_DELETE, HUBS "/b.test", NULL);
    stage_expect(&s, 200);
    stage_ask(&s, LK_HTTP_PATCH, HUBS "/b.test", "{\"weight\":2}");
    stage_expect_code(&s, LK_SVC_NO_HUB);
    stage_ask(&s, LK_HTTP_DELETE, HUBS "/b.test", NULL);
    stage_expect_code(&s, LK_SVC_NO_HUB);
    stage_stop(&s);
}

/* A hub elsewhere is sealed as one that came over the network, when it is linked and when its
 * connection changes, also that of one which was linked on the machine. */
static void
elsewhere(void **state)
{
    struct look l = {.name = "far.example.test"};
    struct lk_hub_connection c = {.port = 0};
    struct stage s;

    stage_start_with_one_scope(&s, links_hubs);
    stage_ask(&s, LK_HTTP_PUT, HUBS "/far.example.test", ELSEWHERE);
    expect_hub(&s, "http", 1, true, "");
    rig_read(&s.rig, look_run, &l);
    assert_int_equal(l.err, LK_OK);
    assert_int_equal(lk_hub_connection_open(s.rig.ring, &l.hub, &c), LK_OK);
    assert_true(c.is_remote);
    assert_string_equal(c.gateway, "10.0.0.7:8443");
    lk_hub_connection_fini(&c);
    lk_hub_fini(&l.hub);
    stage_ask(&s, LK_HTTP_PATCH, HUBS "/far.example.test",
              "{\"connectionString\":\"HostName=far.example.test;SharedAccessKeyName=p;"
              "SharedAccessKey=AAAA\",\"authorities\":\"-----BEGIN CERTIFICATE-----\"}");
    expect_hub(&s, "http", 1, true, "");
    rig_read(&s.rig, look_run, &l);
    assert_int_equal(lk_hub_connection_open(s.rig.ring, &l.hub, &c), LK_OK);
    assert_true(c.is_remote && c.ca.len > 0);
    assert_string_equal(c.policy, "p");
    lk_hub_connection_fini(&c);
    lk_hub_fini(&l.hub);
    stage_ask(&s, LK_HTTP_GET, HUBS, NULL);
    stage_expect(&s, 200);
    assert_null(strstr(lk_buf_text(&s.req.answer), "Shared"));
    assert_null(strstr(lk_buf_text(&s.req.answer), "10.0.0.7"));
    stage_stop(&s);
}

/* Unless a list of the machine says where hubs may be, none is linked elsewhere. */
static void
nowhere_by_default(void **state)
{
    struct stage s;

    stage_start_with_one_scope(&s, NULL);
    stage_ask(&s, LK_HTTP_PUT, HUBS "/far.example.test", ELSEWHERE);
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    assert_non_null(strstr(lk_buf_text(&s.req.answer), "hub-allow"));
    rig_hub_add(&s.rig, "far.example.test", LK_HUB_HTTP);
    stage_ask(&s, LK_HTTP_PATCH, HUBS "/far.example.test", ELSEWHERE);
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    stage_ask(&s, LK_HTTP_PATCH, HUBS "/far.example.test", "{\"weight\":7}");
    expect_hub(&s, "http", 7, true, "");
    stage_stop(&s);
}

/* What is malformed is told by its member, and nothing of a connection string is quoted. */
static void
forms(void **state)
{
    static const struct {
        enum lk_http_method method;
        const char *path, *if_match, *body;
        int32_t code;
    } cases[] = {
        {LK_HTTP_PUT, "/nodot", NULL, "{}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a..b", NULL, "{}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b%2Fc", NULL, "{}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b:1", NULL, "{}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", NULL, "", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", NULL, "{\"weight\":0}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", NULL, "{\"weight\":1001}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", NULL, "{\"weight\":1.5}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", NULL, "{\"allocatable\":1}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", NULL, "{\"region\":\"a b\"}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", NULL, "{\"region\":\"a\\\",\\\"b\"}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", NULL, "{\"connectionString\":7}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", NULL, "{\"connectionString\":\"\"}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", NULL, ELSEWHERE, LK_SVC_BAD_REQUEST}, /* another hub's */
        {LK_HTTP_PUT, "/far.example.test", NULL, "{\"connectionString\":\"" STRING ";x=y\"}",
         LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/far.example.test", NULL, "{\"connectionString\":\"@" STRING "\"}",
         LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/far.example.test", NULL,
         "{\"connectionString\":\"" STRING "\",\"authorities\":\"" KEY_TEXT "\"}",
         LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/far.example.test", NULL, "{\"authorities\":\"x\"}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", "*", "{}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PUT, "/a.b", "x", "{}", LK_SVC_PRECONDITION},
        {LK_HTTP_PATCH, "/" RIG_HUB, NULL, "{}", LK_SVC_BAD_REQUEST},
        {LK_HTTP_PATCH, "/" RIG_HUB, "\"e\"", "{\"weight\":1}", LK_SVC_PRECONDITION},
        {LK_HTTP_DELETE, "/" RIG_HUB, "x", NULL, LK_SVC_PRECONDITION},
        {LK_HTTP_DELETE, "/nodot", NULL, NULL, LK_SVC_BAD_REQUEST},
    };
    char path[200];
    struct stage s;

    stage_start_with_one_scope(&s, links_hubs);
    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        (void)snprintf(path, sizeof(path), HUBS "%s", cases[i].path);
        s.if_match = cases[i].if_match;
        stage_ask(&s, cases[i].method, path, cases[i].body);
        stage_expect_code(&s, cases[i].code);
        assert_null(strstr(lk_buf_text(&s.req.answer), KEY_TEXT));
    }
    assert_int_equal(rig_audit_count(&s.rig, "hub.add", NULL, 0), 0);
    stage_stop(&s);
}

/* An embedded hub has no connection to be changed. */
static void
embedded_stays(void **state)
{
    struct stage s;

    stage_start_with_one_scope(&s, links_hubs);
    stage_ask(&s, LK_HTTP_PUT, HUBS "/far.example.test", "{}");
    stage_ask(&s, LK_HTTP_PATCH, HUBS "/far.example.test", ELSEWHERE);
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    stage_stop(&s);
}

/* Each of the rights is needed, and for each change those that it says. */
static void
rights(void **state)
{
    static const unsigned lacks[] = {LK_RIGHT_SERVICE_CONFIG, LK_RIGHT_ENROLLMENT_WRITE,
                                     LK_RIGHT_REGISTRATION_STATUS_WRITE};
    struct stage s;
    char name[16];

    stage_start_with_one_scope(&s, links_hubs);
    for (size_t i = 0; i < LK_ARRAY_LEN(lacks); i++) {
        (void)snprintf(name, sizeof(name), "p%zu", i);
        stage_become(&s, name, LK_RIGHTS_ALL & ~lacks[i]);
        stage_ask(&s, LK_HTTP_DELETE, HUBS "/" RIG_HUB, NULL);
        stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
        if (i < 2) {
            stage_ask(&s, LK_HTTP_PUT, HUBS "/far.example.test", ELSEWHERE);
            stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
            stage_ask(&s, LK_HTTP_PATCH, HUBS "/" RIG_HUB, "{\"weight\":2}");
            stage_expect_code(&s, LK_DPS_UNAUTHORIZED);
        } else {
            stage_ask(&s, LK_HTTP_PATCH, HUBS "/" RIG_HUB, "{\"weight\":2}");
            stage_expect(&s, 200);
        }
    }
    assert_int_equal(rig_audit_count(&s.rig, "hub.set", NULL, 0), 1);
    stage_stop(&s);
}

/* Hubs that several scopes share are none of one scope's policies to change; to list, they are. */
static void
shared(void **state)
{
    struct stage s;

    stage_start(&s, links_hubs);
    stage_ask(&s, LK_HTTP_PUT, HUBS "/new.example.test", "{}");
    stage_expect_code(&s, LK_SVC_HUBS_SHARED);
    stage_ask(&s, LK_HTTP_PATCH, HUBS "/" RIG_HUB, "{\"weight\":2}");
    stage_expect_code(&s, LK_SVC_HUBS_SHARED);
    stage_ask(&s, LK_HTTP_DELETE, HUBS "/" RIG_HUB, NULL);
    stage_expect_code(&s, LK_SVC_HUBS_SHARED);
    stage_ask(&s, LK_HTTP_GET, HUBS, NULL);
    stage_expect(&s, 200);
    stage_stop(&s);
}

struct many {
    struct rig *rig;
    size_t count;
};

static enum lk_err
many_run(struct lk_txn *tx, void *arg)
{
    const struct many *m = arg;
    enum lk_err err = LK_OK;

    for (size_t i = 0; err == LK_OK && i < m->count; i++) {
        struct lk_identity id = {.hub = RIG_HUB, .enabled = true, .auth = LK_AUTH_NONE};

        (void)snprintf(id.device_id, sizeof(id.device_id), "dev-%05zu", i);
        (void)snprintf(id.generation_id, sizeof(id.generation_id), "%zu", i);
        err = lk_txn_identity_put(tx, &id, "");
    }
    return err;
}

static void
expect_removal(struct stage *s, size_t identities, bool left)
{
    struct lk_hub_removal r = {.limit = 0};
    json_t *answer;

    stage_expect(s, 200);
    answer = stage_json(s);
    assert_int_equal(lk_hub_removal_json_parse(answer, &r), LK_OK);
    assert_int_equal(r.identities_count, identities);
    assert_int_equal(r.left, left);
    json_decref(answer);
}

static void
delete_forced(struct stage *s)
{
    stage_ask(s, LK_HTTP_DELETE, HUBS "/" RIG_HUB, NULL); /* makes the token too */
    stage_expect_code(s, LK_SVC_HUB_IN_USE);
    s->req.query = "force=1";
    stage_send(s);
    stage_wait(s);
}

/* A hub with devices goes by force only, and in pieces. */
static void
in_pieces(void **state)
{
    struct many m = {.count = LK_HUB_REMOVE_ROWS + 1};
    char detail[LK_AUDIT_DETAIL_MAX];
    struct stage s;

    stage_start_with_one_scope(&s, NULL);
    rig_write(&s.rig, many_run, &m);
    delete_forced(&s);
    expect_removal(&s, LK_HUB_REMOVE_ROWS, true);
    delete_forced(&s);
    expect_removal(&s, 1, false);
    stage_ask(&s, LK_HTTP_DELETE, HUBS "/" RIG_HUB, NULL);
    stage_expect_code(&s, LK_SVC_NO_HUB);
    assert_int_equal(rig_audit_count(&s.rig, "hub.clear", NULL, 0), 1);
    assert_int_equal(rig_audit_count(&s.rig, "hub.remove", detail, sizeof(detail)), 1);
    assert_string_equal(detail, "{\"requestId\":\"0123456789abcdef0123456789abcdef\","
                                "\"forced\":true,\"identities\":1}");
    stage_stop(&s);
}

/* As many as are chosen among. */
static void
bounded(void **state)
{
    struct stage s;
    char path[64];

    stage_start_with_one_scope(&s, NULL);
    for (unsigned i = 1; i < LK_LINKED_HUBS_MAX; i++) {
        (void)snprintf(path, sizeof(path), HUBS "/h%u.test", i);
        stage_ask(&s, LK_HTTP_PUT, path, "{}");
        stage_expect(&s, 200);
    }
    stage_ask(&s, LK_HTTP_PUT, HUBS "/more.test", "{}");
    stage_expect_code(&s, LK_SVC_TOO_MANY);
    stage_stop(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linked),
        cmocka_unit_test(elsewhere),
        cmocka_unit_test(nowhere_by_default),
        cmocka_unit_test(forms),
        cmocka_unit_test(embedded_stays),
        cmocka_unit_test(rights),
        cmocka_unit_test(shared),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
