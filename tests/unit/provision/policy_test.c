/* Shared access policies: their keys, and who gets in with which token (src/provision/policy.c). */
#include "provision/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/rig.h"

#define HOST "dps.example.test"
#define POLICY "operator_1@example.test"
#define READ_WRITE ((unsigned)(LK_RIGHT_ENROLLMENT_READ | LK_RIGHT_ENROLLMENT_WRITE))

/* ---- what a check costs: the calls are counted on their way -----------------------------------
 */

struct work {
    size_t unseals, unsealed_bytes, verifies;
    enum lk_err unseal_err; /* of the latest */
};
static struct work work;

enum lk_err __real_lk_keyring_unseal(const struct lk_keyring *k, const char *ad, const void *in,
                                     size_t in_len, struct lk_buf *ret);
enum lk_err __wrap_lk_keyring_unseal(const struct lk_keyring *k, const char *ad, const void *in,
                                     size_t in_len, struct lk_buf *ret);
enum lk_err __real_lk_sas_verify(const struct lk_sas *sas, const void *key, size_t key_len,
                                 bool also_decoded);
enum lk_err __wrap_lk_sas_verify(const struct lk_sas *sas, const void *key, size_t key_len,
                                 bool also_decoded);

enum lk_err
__wrap_lk_keyring_unseal(const struct lk_keyring *k, const char *ad, const void *in, size_t in_len,
                         struct lk_buf *ret)
{
    work.unseals++;
    work.unsealed_bytes += in_len;
    work.unseal_err = __real_lk_keyring_unseal(k, ad, in, in_len, ret);
    return work.unseal_err;
}

enum lk_err
__wrap_lk_sas_verify(const struct lk_sas *sas, const void *key, size_t key_len, bool also_decoded)
{
    work.verifies++;
    assert_int_equal(key_len, LK_POLICY_KEY_LEN);
    return __real_lk_sas_verify(sas, key, key_len, also_decoded);
}

/* ---- the stage --------------------------------------------------------------------------------
 */

struct stage {
    struct rig rig;
    struct lk_policy policy; /* POLICY of RIG_SCOPE, with the rights READ_WRITE */
    char token[LK_SAS_MAX + 1];
    struct lk_policy_check found;
};

static enum lk_err
put_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_policy_put(tx, (const struct lk_policy *)arg);
}

static void
stage_start(struct stage *s)
{
    memset(s, 0, sizeof(*s));
    rig_start(&s->rig, NULL);
    assert_int_equal(
        lk_policy_make(s->rig.ring, &lk_rand_system, RIG_SCOPE, POLICY, READ_WRITE, &s->policy),
        LK_OK);
    rig_write(&s->rig, put_run, &s->policy);
}

static void
stage_stop(struct stage *s)
{
    lk_policy_fini(&s->policy);
    rig_stop(&s->rig);
}

static void
sign(const void *key, size_t key_len, const char *resource, uint64_t expiry_s, const char *name,
     char ret[LK_SAS_MAX + 1])
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, token = LK_BUF_INIT;
    uint8_t sig[LK_SAS_SIG_LEN];
    struct lk_part part;

    assert_int_equal(lk_sas_string_to_sign(resource, expiry_s, &text), LK_OK);
    part = LK_PART(text.data, text.len);
    assert_int_equal(lk_hmac(LK_SHA256, key, key_len, &part, 1, sig), LK_OK);
    assert_int_equal(lk_sas_format(resource, expiry_s, sig, name, &token), LK_OK);
    assert_int_equal(lk_strcpy(ret, LK_SAS_MAX + 1, lk_buf_text(&token)), LK_OK);
}

static uint64_t
in_s(const struct stage *s, int64_t seconds)
{
    return (uint64_t)(s->rig.now_ms / 1000 + seconds);
}

/* A token by one of the policy's own keys. */
static void
sign_slot(struct stage *s, enum lk_policy_slot slot, const char *resource, int64_t life_s)
{
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;

    assert_int_equal(lk_policy_key_get(s->rig.ring, &s->policy, slot, &key), LK_OK);
    sign(key.data, key.len, resource, in_s(s, life_s), POLICY, s->token);
}

struct question {
    struct stage *s;
    const char *scope, *resource;
    unsigned rights;
    enum lk_err err;
};

static enum lk_err
check_run(struct lk_txn *tx, void *arg)
{
    struct question *q = (struct question *)arg;
    struct stage *s = q->s;

    memset(&work, 0, sizeof(work));
    memset(&s->found, 0x55, sizeof(s->found));
    q->err = lk_policy_check(s->rig.ring, tx, q->scope, q->resource, s->token, strlen(s->token),
                             s->rig.now_ms, q->rights, &s->found);
    return LK_OK;
}

/* NULL when s->token opens resource of scope with these rights; else why not. */
static const char *
refusal_in(struct stage *s, const char *scope, const char *resource, unsigned rights)
{
    struct question q = {s, scope, resource, rights, LK_OK};

    rig_read(&s->rig, check_run, &q);
    if (q.err == LK_OK) {
        assert_null(s->found.reason);
        assert_string_equal(s->found.name, POLICY);
        return NULL;
    }
    assert_int_equal(q.err, LK_ERR_REFUSED);
    assert_non_null(s->found.reason);
    return s->found.reason;
}

static const char *
refusal(struct stage *s)
{
    return refusal_in(s, RIG_SCOPE, HOST "/enrollments/dev-1", LK_RIGHT_ENROLLMENT_READ);
}

/* ---- names, rights and keys -------------------------------------------------------------------
 */

/* One of each allowed character up to the longest; empty, one longer and anything else is none. */
static void
names(void **state)
{
    char longest[LK_POLICY_NAME_MAX + 1];

    memset(longest, 'a', sizeof(longest));
    assert_false(lk_policy_name_ok("", 0));
    assert_true(lk_policy_name_ok("aZ09_-@.", 8));
    assert_true(lk_policy_name_ok(longest, LK_POLICY_NAME_MAX));
    assert_false(lk_policy_name_ok(longest, LK_POLICY_NAME_MAX + 1));
    assert_false(lk_policy_name_ok("a b", 3));
    assert_false(lk_policy_name_ok("a\0b", 3));
    assert_false(lk_policy_name_ok("a|b", 3));
    assert_false(lk_policy_name_ok("\xc3\xa4", 2));
}

/* Rights are read in any order, case and spacing, and written in one; what is none is refused. */
static void
rights(void **state)
{
    static const char *const wrong[] = {"",
                                        ",",
                                        "EnrollmentRead,",
                                        ",EnrollmentRead",
                                        "Enroll",
                                        " ",
                                        "EnrollmentRead EnrollmentWrite",
                                        "all",
                                        "EnrollmentRead;EnrollmentWrite"};
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    unsigned got = 77;

    for (size_t i = 0; i < LK_ARRAY_LEN(wrong); i++) {
        assert_int_equal(lk_rights_parse(wrong[i], &got), LK_ERR_FORMAT);
    }
    assert_int_equal(got, 77);
    assert_int_equal(lk_rights_parse(" enrollmentwrite , ENROLLMENTREAD,EnrollmentRead", &got),
                     LK_OK);
    assert_int_equal(got, READ_WRITE);
    assert_int_equal(lk_rights_format(LK_RIGHTS_ALL, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text),
                        "ServiceConfig,EnrollmentRead,EnrollmentWrite,DeviceConnect,"
                        "RegistrationStatusRead,RegistrationStatusWrite");
    assert_int_equal(lk_rights_parse(lk_buf_text(&text), &got), LK_OK);
    assert_int_equal(got, LK_RIGHTS_ALL);
}

/* A policy has two different keys, that open in their own place only. */
static void
keys_are_bound(void **state)
{
    LK_AUTO_BUF struct lk_buf primary = LK_BUF_INIT, secondary = LK_BUF_INIT, other = LK_BUF_INIT;
    struct lk_policy p;
    struct stage s;

    stage_start(&s);
    assert_int_equal(lk_policy_key_get(s.rig.ring, &s.policy, LK_POLICY_PRIMARY, &primary), LK_OK);
    assert_int_equal(lk_policy_key_get(s.rig.ring, &s.policy, LK_POLICY_SECONDARY, &secondary),
                     LK_OK);
    assert_int_equal(primary.len, LK_POLICY_KEY_LEN);
    assert_int_equal(secondary.len, LK_POLICY_KEY_LEN);
    assert_memory_not_equal(primary.data, secondary.data, LK_POLICY_KEY_LEN);
    p = s.policy;
    p.sealed_secondary = p.sealed_primary;
    assert_int_equal(lk_policy_key_get(s.rig.ring, &p, LK_POLICY_SECONDARY, &other),
                     LK_ERR_REFUSED);
    p.name[0] = 'O';
    assert_int_equal(lk_policy_key_get(s.rig.ring, &p, LK_POLICY_PRIMARY, &other), LK_ERR_REFUSED);
    p.name[0] = 'o';
    p.scope[0] = '1';
    assert_int_equal(lk_policy_key_get(s.rig.ring, &p, LK_POLICY_PRIMARY, &other), LK_ERR_REFUSED);
    assert_int_equal(other.len, 0);
    stage_stop(&s);
}

/* A key that is brought has 16 to 64 bytes; the connection string carries it. */
static void
brought_keys(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    uint8_t key[LK_POLICY_KEY_MAX + 1];
    struct lk_policy p;
    struct stage s;

    stage_start(&s);
    memset(key, 0x6b, sizeof(key));
    assert_int_equal(lk_policy_key_set(s.rig.ring, &lk_rand_system, LK_POLICY_PRIMARY, key,
                                       LK_POLICY_KEY_MIN - 1, &s.policy),
                     LK_ERR_ARG);
    assert_int_equal(lk_policy_key_set(s.rig.ring, &lk_rand_system, LK_POLICY_PRIMARY, key,
                                       LK_POLICY_KEY_MAX + 1, &s.policy),
                     LK_ERR_ARG);
    assert_int_equal(lk_policy_key_set(s.rig.ring, &lk_rand_system, LK_POLICY_PRIMARY, key,
                                       LK_POLICY_KEY_MAX, &s.policy),
                     LK_OK);
    assert_int_equal(
        lk_policy_key_set(s.rig.ring, &lk_rand_system, LK_POLICY_PRIMARY, key, 32, &s.policy),
        LK_OK);
    assert_int_equal(
        lk_policy_connection_string(s.rig.ring, &s.policy, LK_POLICY_PRIMARY, HOST, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text),
                        "HostName=" HOST ";SharedAccessKeyName=" POLICY
                        ";SharedAccessKey=a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=");
    assert_int_equal(lk_policy_make(s.rig.ring, &lk_rand_system, RIG_SCOPE, "a b", READ_WRITE, &p),
                     LK_ERR_ARG);
    assert_int_equal(lk_policy_make(s.rig.ring, &lk_rand_system, RIG_SCOPE, "a", 0, &p),
                     LK_ERR_ARG);
    assert_int_equal(
        lk_policy_make(s.rig.ring, &lk_rand_system, RIG_SCOPE, "a", LK_RIGHTS_ALL + 1, &p),
        LK_ERR_ARG);
    stage_stop(&s);
}

/* ---- the check --------------------------------------------------------------------------------
 */

/* The vector of service-api.md 12.1, in both orders of members that SDKs send. */
static void
published_vector(void **state)
{
#define SIG "nbMdXF7tqW%2f1tKzq%2BUg92cWVBYQyJuzejc4qaXmM5ws%3D"
    static const char *const tokens[] = {
        "SharedAccessSignature sr=" HOST "&sig=" SIG "&skn=" POLICY "&se=1893456000",
        "SharedAccessSignature sr=" HOST "&sig=" SIG "&se=1893456000&skn=" POLICY};
    uint8_t key[32];
    struct stage s;

    stage_start(&s);
    memset(key, 0x6b, sizeof(key));
    assert_int_equal(lk_policy_key_set(s.rig.ring, &lk_rand_system, LK_POLICY_PRIMARY, key,
                                       sizeof(key), &s.policy),
                     LK_OK);
    rig_write(&s.rig, put_run, &s.policy);
    for (size_t i = 0; i < LK_ARRAY_LEN(tokens); i++) {
        assert_int_equal(lk_strcpy(s.token, sizeof(s.token), tokens[i]), LK_OK);
        assert_null(refusal(&s));
    }
    stage_stop(&s);
#undef SIG
}

/* Either key opens. The one that was rolled stops, the other goes on. */
static void
both_keys_and_a_roll(void **state)
{
    char old[LK_SAS_MAX + 1];
    struct stage s;

    stage_start(&s);
    sign_slot(&s, LK_POLICY_SECONDARY, HOST, 3600);
    assert_null(refusal(&s));
    sign_slot(&s, LK_POLICY_PRIMARY, HOST, 3600);
    assert_null(refusal(&s));
    memcpy(old, s.token, sizeof(old));
    assert_int_equal(
        lk_policy_key_set(s.rig.ring, &lk_rand_system, LK_POLICY_PRIMARY, NULL, 0, &s.policy),
        LK_OK);
    rig_write(&s.rig, put_run, &s.policy);
    assert_string_equal(refusal(&s), "token.signature");
    assert_string_equal(s.found.name, "");
    sign_slot(&s, LK_POLICY_SECONDARY, HOST, 3600);
    assert_null(refusal(&s));
    sign_slot(&s, LK_POLICY_PRIMARY, HOST, 3600);
    assert_null(refusal(&s));
    assert_string_not_equal(old, s.token);
    rig_rotate(&s.rig);
    assert_null(refusal(&s));
    stage_stop(&s);
}

/* A token is taken to the end of the second that is five minutes past its expiry. */
static void
expiry_and_skew(void **state)
{
    struct stage s;

    stage_start(&s);
    sign_slot(&s, LK_POLICY_PRIMARY, HOST, 0);
    rig_advance_s(&s.rig, LK_POLICY_SKEW_S);
    s.rig.now_ms += 999;
    assert_null(refusal(&s));
    s.rig.now_ms += 1;
    assert_string_equal(refusal(&s), "token.expired");
    assert_string_equal(s.found.name, "");
    sign_slot(&s, LK_POLICY_PRIMARY, HOST, -(int64_t)in_s(&s, 0));
    assert_string_equal(refusal(&s), "token.expired");
    sign_slot(&s, LK_POLICY_PRIMARY, HOST, INT64_MAX - (int64_t)in_s(&s, 0));
    assert_null(refusal(&s));
    stage_stop(&s);
}

/* The resource covers whole segments, in any case, and nothing of another host. */
static void
resources(void **state)
{
    static const struct {
        const char *signed_for;
        bool opens; /* HOST/enrollments/dev-1 */
    } cases[] = {
        {HOST, true},
        {"DPS.Example.TEST", true},
        {HOST "/enrollments", true},
        {HOST "/Enrollments/DEV-1", true},
        {HOST "/enrollments/dev", false},
        {HOST "/enrollments/dev-1/x", false},
        {HOST "/enrollmentGroups", false},
        {HOST "/", false},
        {"dps.example", false},
        {"dps.example.test.evil.test", false},
        {"other.example.test", false},
        {RIG_SCOPE "/registrations/dev-1", false},
    };
    struct stage s;

    stage_start(&s);
    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        const char *reason;

        sign_slot(&s, LK_POLICY_PRIMARY, cases[i].signed_for, 3600);
        reason = refusal(&s);
        if (cases[i].opens != (reason == NULL) ||
            (reason != NULL && strcmp(reason, "token.resource") != 0)) {
            fail_msg("%s: %s", cases[i].signed_for, reason != NULL ? reason : "opens");
        }
    }
    stage_stop(&s);
}

/* What is no token, or names no policy, is told apart from a wrong one. */
static void
malformed(void **state)
{
    static const char *const tokens[] = {"", "x", "SharedAccessSignature ",
                                         "SharedAccessSignature sr=a&sig=b&se=c",
                                         "Bearer eyJhbGciOiJub25lIn0"};
    uint8_t key[32] = {1};
    struct stage s;

    stage_start(&s);
    for (size_t i = 0; i < LK_ARRAY_LEN(tokens); i++) {
        assert_int_equal(lk_strcpy(s.token, sizeof(s.token), tokens[i]), LK_OK);
        assert_string_equal(refusal(&s), "token.malformed");
    }
    sign(key, sizeof(key), HOST, in_s(&s, 60), NULL, s.token);
    assert_string_equal(refusal(&s), "token.key_name");
    sign(key, sizeof(key), HOST, in_s(&s, 60), "a|b", s.token);
    assert_string_equal(refusal(&s), "token.key_name");
    sign_slot(&s, LK_POLICY_PRIMARY, HOST, 3600);
    strcat(s.token, "&se=1");
    assert_string_equal(refusal(&s), "token.malformed");
    stage_stop(&s);
}

/* Every right that is needed is asked of the policy, whose name is known by then. */
static void
right_missing(void **state)
{
    struct stage s;

    stage_start(&s);
    sign_slot(&s, LK_POLICY_PRIMARY, HOST, 3600);
    assert_null(refusal_in(&s, RIG_SCOPE, HOST "/enrollments", READ_WRITE));
    assert_null(refusal_in(&s, RIG_SCOPE, HOST "/enrollments", 0));
    for (unsigned right = 1; right <= LK_RIGHTS_ALL; right <<= 1) {
        const char *reason = refusal_in(&s, RIG_SCOPE, HOST "/x", right | LK_RIGHT_ENROLLMENT_READ);

        if ((right & READ_WRITE) != 0) {
            assert_null(reason);
            continue;
        }
        assert_string_equal(reason, "policy.right_missing");
        assert_string_equal(s.found.name, POLICY);
    }
    stage_stop(&s);
}

/* A policy opens its own scope only; a namesake elsewhere has other keys. */
static void
wrong_scope(void **state)
{
    struct lk_policy other;
    struct stage s;

    stage_start(&s);
    sign_slot(&s, LK_POLICY_PRIMARY, HOST, 3600);
    assert_string_equal(refusal_in(&s, RIG_OTHER_SCOPE, HOST "/enrollments", 0), "policy.unknown");
    assert_int_equal(
        lk_policy_make(s.rig.ring, &lk_rand_system, RIG_OTHER_SCOPE, POLICY, LK_RIGHTS_ALL, &other),
        LK_OK);
    rig_write(&s.rig, put_run, &other);
    lk_policy_fini(&other);
    assert_string_equal(refusal_in(&s, RIG_OTHER_SCOPE, HOST "/enrollments", 0), "token.signature");
    assert_null(refusal(&s));
    stage_stop(&s);
}

/* An unknown policy costs what a wrong key costs: both keys are unsealed as far as the tag, and
 * both signatures computed. The key of zeros that stands in for it opens nothing. */
static void
unknown_policy_costs_the_same(void **state)
{
    static const uint8_t zeros[LK_POLICY_KEY_LEN];
    struct work wrong_key;
    struct stage s;

    stage_start(&s);
    sign(zeros, sizeof(zeros), HOST, in_s(&s, 3600), POLICY, s.token);
    assert_string_equal(refusal(&s), "token.signature");
    wrong_key = work;
    assert_int_equal(wrong_key.unseals, 2);
    assert_int_equal(wrong_key.verifies, 2);
    sign(zeros, sizeof(zeros), HOST, in_s(&s, 3600), "nobody", s.token);
    assert_string_equal(refusal(&s), "policy.unknown");
    assert_string_equal(s.found.name, "");
    assert_int_equal(work.unseals, wrong_key.unseals);
    assert_int_equal(work.unsealed_bytes, wrong_key.unsealed_bytes);
    assert_int_equal(work.verifies, wrong_key.verifies);
    assert_int_equal(work.unseal_err, LK_ERR_REFUSED);
    stage_stop(&s);
}

/* Sealed keys that do not open are an error of ours, not a refusal. */
static void
damaged_keys(void **state)
{
    struct question q;
    struct stage s;

    stage_start(&s);
    sign_slot(&s, LK_POLICY_PRIMARY, HOST, 3600);
    lk_buf_reset(&s.policy.sealed_primary);
    lk_buf_reset(&s.policy.sealed_secondary);
    rig_write(&s.rig, put_run, &s.policy);
    q = (struct question){&s, RIG_SCOPE, HOST "/enrollments", 0, LK_OK};
    rig_read(&s.rig, check_run, &q);
    assert_int_equal(q.err, LK_ERR_FORMAT);
    stage_stop(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(rights),
        cmocka_unit_test(keys_are_bound),
        cmocka_unit_test(brought_keys),
        cmocka_unit_test(published_vector),
        cmocka_unit_test(both_keys_and_a_roll),
        cmocka_unit_test(expiry_and_skew),
        cmocka_unit_test(resources),
        cmocka_unit_test(malformed),
        cmocka_unit_test(right_missing),
        cmocka_unit_test(wrong_scope),
        cmocka_unit_test(unknown_policy_costs_the_same),
        cmocka_unit_test(damaged_keys),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
