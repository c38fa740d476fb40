/* Tests of src/api/service_continuation.c: what a token is good for, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/codec.h"
#include "service_stage.h"

/* A call as far as tokens look at it. */
static struct lk_service_call
call_of(struct stage *s, const char *query)
{
    struct lk_service_call c = {.api = s->api, .ring = s->rig.ring, .query_text = query};

    c.route.collection = LK_SVC_ENROLLMENTS;
    (void)snprintf(c.scope.id, sizeof(c.scope.id), "%s", RIG_SCOPE);
    return c;
}

static enum lk_err
read_back(const struct lk_service_call *c, const char *token)
{
    char after[LK_REGISTRATION_ID_MAX + 1];

    return lk_svc_continuation_read(c, token, after);
}

/* The shortest and the longest id come back, in a token that fits. */
static void
ids_come_back(void **state)
{
    struct stage s;
    struct lk_service_call c;
    char token[LK_SVC_CONTINUATION_CAP], longest[LK_REGISTRATION_ID_MAX + 1];
    char after[LK_REGISTRATION_ID_MAX + 1];

    stage_start(&s, NULL);
    c = call_of(&s, "*");
    assert_int_equal(lk_svc_continuation_make(&c, "a", token), LK_OK);
    assert_int_equal(lk_svc_continuation_read(&c, token, after), LK_OK);
    assert_string_equal(after, "a");
    memset(longest, 'z', LK_REGISTRATION_ID_MAX);
    longest[LK_REGISTRATION_ID_MAX] = '\0';
    assert_int_equal(lk_svc_continuation_make(&c, longest, token), LK_OK);
    assert_int_equal(lk_svc_continuation_read(&c, token, after), LK_OK);
    assert_string_equal(after, longest);
    stage_stop(&s);
}

/* Another scope, collection, group or query text: not this query's token. */
static void
bound_to_the_query(void **state)
{
    struct stage s;
    struct lk_service_call c, other;
    char token[LK_SVC_CONTINUATION_CAP];

    stage_start(&s, NULL);
    c = call_of(&s, "SELECT *");
    assert_int_equal(lk_svc_continuation_make(&c, "dev-1", token), LK_OK);
    assert_int_equal(read_back(&c, token), LK_OK);
    other = call_of(&s, "SELECT * ");
    assert_int_equal(read_back(&other, token), LK_ERR_REFUSED);
    other = c;
    other.route.collection = LK_SVC_GROUPS;
    assert_int_equal(read_back(&other, token), LK_ERR_REFUSED);
    other = c;
    other.route.id = "group-1";
    assert_int_equal(read_back(&other, token), LK_ERR_REFUSED);
    other = c;
    (void)snprintf(other.scope.id, sizeof(other.scope.id), "%s", RIG_OTHER_SCOPE);
    assert_int_equal(read_back(&other, token), LK_ERR_REFUSED);
    stage_stop(&s);
}

/* What is no base64, too short, too long, of no key of ours, or changed in any one bit. */
static void
forgeries(void **state)
{
    static const char *const bad[] = {"",
                                      "=",
                                      "AAAA",
                                      "not base64",
                                      "AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAYQ=="};
    LK_AUTO_BUF struct lk_buf raw = LK_BUF_INIT;
    struct stage s;
    struct lk_service_call c;
    char token[LK_SVC_CONTINUATION_CAP], large[LK_SVC_CONTINUATION_CAP + 1];

    stage_start(&s, NULL);
    c = call_of(&s, "*");
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        assert_int_equal(read_back(&c, bad[i]), LK_ERR_REFUSED);
    }
    memset(large, 'A', LK_SVC_CONTINUATION_CAP);
    large[LK_SVC_CONTINUATION_CAP] = '\0';
    assert_int_equal(read_back(&c, large), LK_ERR_REFUSED);

    assert_int_equal(lk_svc_continuation_make(&c, "dev-1", token), LK_OK);
    assert_int_equal(lk_base64_decode(token, strlen(token), &raw), LK_OK);
    for (size_t bit = 0; bit < raw.len * 8; bit++) {
        LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

        raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(lk_base64_encode(raw.data, raw.len, &text), LK_OK);
        assert_int_equal(read_back(&c, lk_buf_text(&text)), LK_ERR_REFUSED);
        raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(read_back(&c, token), LK_OK);
    stage_stop(&s);
}

static uint64_t
key_of(const char *token)
{
    LK_AUTO_BUF struct lk_buf raw = LK_BUF_INIT;
    struct lk_reader r;
    uint64_t id = 0;

    assert_int_equal(lk_base64_decode(token, strlen(token), &raw), LK_OK);
    r = lk_reader_of(raw.data, raw.len);
    assert_int_equal(lk_read_u64(&r, &id), LK_OK);
    return id;
}

/*
 * A rotation in the middle of a query: tokens of the old key go on being read, an instance that has
 * not read the new key yet is not given one that it cannot read, and then the new key is used.
 */
static void
a_rotation(void **state)
{
    struct stage s;
    struct lk_service_call c;
    struct lk_keyring *before;
    char old[LK_SVC_CONTINUATION_CAP], soon[LK_SVC_CONTINUATION_CAP],
        later[LK_SVC_CONTINUATION_CAP];

    stage_start(&s, NULL);
    c = call_of(&s, "*");
    assert_int_equal(lk_svc_continuation_make(&c, "dev-1", old), LK_OK);
    before = lk_keyring_ref(s.rig.ring);
    stage_rotate(&s);
    c = call_of(&s, "*");
    assert_int_equal(read_back(&c, old), LK_OK);
    assert_int_equal(lk_svc_continuation_make(&c, "dev-2", soon), LK_OK);
    rig_advance_s(&s.rig, LK_KEYRING_GRACE_MS / 1000 + 1);
    assert_int_equal(lk_svc_continuation_make(&c, "dev-3", later), LK_OK);
    assert_int_equal(read_back(&c, old), LK_OK);
    assert_int_equal(read_back(&c, later), LK_OK);
    assert_true(key_of(later) != key_of(old));

    c.ring = before; /* the instance that has not read the file again */
    assert_int_equal(read_back(&c, soon), LK_OK);
    assert_int_equal(read_back(&c, later), LK_ERR_REFUSED);
    lk_keyring_free(before);
    stage_stop(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_come_back),
        cmocka_unit_test(bound_to_the_query),
        cmocka_unit_test(forgeries),
        cmocka_unit_test(a_rotation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
