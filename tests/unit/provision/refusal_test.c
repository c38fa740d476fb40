/*
 * Tests of how src/provision turns devices away: one shape for every refusal, an exact reason for
 * the operator, 400 for what is malformed, and an audit (refusal.c) that cannot be used as a lever.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "support/rig.h"

#define FIXED_TPM 0x2u

static struct softtpm_key *ek, *srk, *stranger_ek;

struct fixture {
    struct rig rig;
    struct softtpm *tpm, *stranger;
    struct rig_device device;
};

static int
setup_with(void **state, void (*change)(struct lk_provision_config *config))
{
    static struct fixture f;

    rig_start(&f.rig, change);
    f.tpm = softtpm_new(ek, srk);
    f.stranger = softtpm_new(stranger_ek, srk);
    f.device = (struct rig_device){.rig = &f.rig, .scope = RIG_SCOPE, .id = "dev-1", .tpm = f.tpm};
    rig_enroll(&f.rig, RIG_SCOPE, "dev-1", f.tpm, NULL);
    *state = &f;
    return 0;
}

static int
setup(void **state)
{
    return setup_with(state, NULL);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    softtpm_free(f->tpm);
    softtpm_free(f->stranger);
    rig_stop(&f->rig);
    return 0;
}

/* The one shape: nothing but the verdict, and the reason for us. */
static void
assert_refusal(const struct rig_answer *a, const char *reason)
{
    static const struct lk_dps_state nothing;

    assert_int_equal(a->verdict, LK_REG_REFUSED);
    assert_string_equal(a->reason, reason);
    assert_int_equal(a->err, LK_OK);
    assert_int_equal(a->auth_key.len, 0);
    assert_memory_equal(&a->state, &nothing, sizeof(nothing));
}

static void
assert_first_leg(struct rig_device *d, const char *reason)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_register(d, NULL, &a);
    assert_refusal(&a, reason);
}

static void
assert_second_leg(struct rig_device *d, const char *token, const char *reason)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_register(d, token, &a);
    assert_refusal(&a, reason);
}

/* ---- first leg ----------------------------------------------------------------------------------
 */

/* Unknown scope, unknown id, another EK, disabled, and an id of another scope. */
static void
first_leg_refusals(void **state)
{
    struct fixture *f = *state;
    struct rig_device d = f->device;
    bool enabled = false;

    d.scope = "0ne0000000f";
    assert_first_leg(&d, "scope.unknown");
    d.scope = RIG_OTHER_SCOPE;
    assert_first_leg(&d, "enrollment.unknown");
    d = f->device;
    d.id = "dev-2";
    assert_first_leg(&d, "enrollment.unknown");
    d = f->device;
    d.tpm = f->stranger;
    assert_first_leg(&d, "enrollment.ek_mismatch");
    rig_enrollment_change(&f->rig, "dev-1", rig_enrollment_set_enabled, &enabled);
    assert_first_leg(&f->device, "enrollment.disabled");
    d.tpm = f->stranger;
    assert_first_leg(&d, "enrollment.ek_mismatch");
    enabled = true;
    rig_enrollment_change(&f->rig, "dev-1", rig_enrollment_set_enabled, &enabled);
    rig_attest(&f->device);
    rig_enrollment_delete(&f->rig, "dev-1");
    assert_first_leg(&f->device, "enrollment.unknown");
}

/* A random source that counts what is drawn from it. */
static size_t drawn;

static enum lk_err
count_fill(void *ctx, void *buf, size_t len)
{
    drawn += len;
    return lk_rand_fill(&lk_rand_system, buf, len);
}

static const struct lk_rand counting = {count_fill, NULL};

static void
count_randomness(struct lk_provision_config *config)
{
    config->rnd = &counting;
}

static int
setup_counting(void **state)
{
    return setup_with(state, count_randomness);
}

/* A refusal wraps a key as a challenge does: as much randomness, and the throw-away key on top. */
static void
refusal_does_the_work(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    size_t challenge;

    drawn = 0;
    rig_register(&f->device, NULL, &a);
    assert_int_equal(a.verdict, LK_REG_CHALLENGE);
    challenge = drawn;
    assert_true(challenge > 48);
    f->device.id = "dev-2";
    drawn = 0;
    assert_first_leg(&f->device, "enrollment.unknown");
    assert_int_equal(drawn, challenge + LK_NONCE_KEY_LEN);
    f->device.scope = "nowhere";
    drawn = 0;
    assert_first_leg(&f->device, "scope.unknown");
    assert_int_equal(drawn, challenge + LK_NONCE_KEY_LEN);
}

/* ---- bodies -------------------------------------------------------------------------------------
 */

static void
body_put(struct lk_buf *buf, const struct softtpm_public *pub)
{
    lk_buf_reset(buf);
    assert_int_equal(lk_buf_put(buf, pub->bytes, pub->len), LK_OK);
}

static void
body_make(struct lk_dps_register *m, uint32_t ek_flip, uint32_t srk_flip)
{
    struct softtpm_public e = softtpm_public_make(ek, LK_ROLE_EK, ek_flip);
    struct softtpm_public s = softtpm_public_make(srk, LK_ROLE_SRK, srk_flip);

    m->has_tpm = true;
    body_put(&m->ek, &e);
    body_put(&m->srk, &s);
}

/* The verdict is the same whether or not there is such a device: decided before any look-up. */
static void
assert_body(struct fixture *f, const struct lk_dps_register *m, enum lk_reg_verdict verdict,
            const char *reason)
{
    static const char *const ids[] = {"dev-1", "nobody"};

    for (size_t i = 0; i < LK_ARRAY_LEN(ids); i++) {
        RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

        rig_register_body(&f->rig, RIG_SCOPE, ids[i], NULL, m, &a);
        assert_int_equal(a.verdict, verdict);
        assert_string_equal(a.reason, reason);
        assert_int_equal(a.auth_key.len, 0);
    }
}

/* Malformed and unsupported keys are 400; sound keys that no TPM would vouch for are refused. */
static void
judged_bodies(void **state)
{
    struct fixture *f = *state;
    struct lk_dps_register m = LK_DPS_REGISTER_INIT;
    struct softtpm_public e = softtpm_public_make(ek, LK_ROLE_EK, 0);

    assert_body(f, &m, LK_REG_BAD, "body.tpm_missing");
    m.has_tpm = true;
    assert_body(f, &m, LK_REG_BAD, "ek.missing");
    body_put(&m.ek, &e);
    assert_body(f, &m, LK_REG_BAD, "srk.missing");
    body_make(&m, 0, 0);
    m.srk.len--;
    assert_body(f, &m, LK_REG_BAD, "srk.malformed");
    body_make(&m, 0, 0);
    assert_non_null(lk_buf_extend(&m.ek, LK_TPM_PUBLIC_MAX));
    assert_body(f, &m, LK_REG_BAD, "key.too_long");
    body_make(&m, FIXED_TPM, 0);
    assert_body(f, &m, LK_REG_REFUSED, "ek.fixed_tpm_clear");
    body_make(&m, 0, FIXED_TPM);
    assert_body(f, &m, LK_REG_REFUSED, "srk.fixed_tpm_clear");
    lk_dps_register_fini(&m);
}

/* The EK posing as its own SRK. */
static void
ek_as_srk(void **state)
{
    struct fixture *f = *state;
    struct lk_dps_register m = LK_DPS_REGISTER_INIT;
    struct softtpm_public e = softtpm_public_make(ek, LK_ROLE_EK, 0);
    struct softtpm_public s = softtpm_public_make(ek, LK_ROLE_SRK, 0);

    m.has_tpm = true;
    body_put(&m.ek, &e);
    body_put(&m.srk, &s);
    assert_body(f, &m, LK_REG_REFUSED, "srk.is_ek");
    lk_dps_register_fini(&m);
}

/* Ids in path and body. */
static void
ids_of_the_request(void **state)
{
    struct fixture *f = *state;
    struct lk_dps_register m = LK_DPS_REGISTER_INIT;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char longest[LK_REGISTRATION_ID_MAX + 2];

    body_make(&m, 0, 0);
    memset(longest, 'a', sizeof(longest));
    longest[LK_REGISTRATION_ID_MAX] = '\0';
    rig_register_body(&f->rig, RIG_SCOPE, longest, NULL, &m, &a);
    assert_refusal(&a, "enrollment.unknown");
    longest[LK_REGISTRATION_ID_MAX] = 'a';
    longest[LK_REGISTRATION_ID_MAX + 1] = '\0';
    rig_register_body(&f->rig, RIG_SCOPE, longest, NULL, &m, &a);
    assert_int_equal(a.verdict, LK_REG_BAD);
    assert_string_equal(a.reason, "path.registration_id");
    rig_register_body(&f->rig, RIG_SCOPE, "../dev-1", NULL, &m, &a);
    assert_string_equal(a.reason, "path.registration_id");
    rig_register_body(&f->rig, RIG_SCOPE, "", NULL, &m, &a);
    assert_string_equal(a.reason, "path.registration_id");
    rig_register_body(&f->rig, "", "dev-1", NULL, &m, &a);
    assert_string_equal(a.reason, "path.scope");
    (void)strcpy(m.registration_id, "dev-2");
    rig_register_body(&f->rig, RIG_SCOPE, "dev-1", NULL, &m, &a);
    assert_int_equal(a.verdict, LK_REG_BAD);
    assert_string_equal(a.reason, "body.registration_id");
    (void)strcpy(m.registration_id, "DEV-1");
    rig_register_body(&f->rig, RIG_SCOPE, "dev-1", NULL, &m, &a);
    assert_int_equal(a.verdict, LK_REG_CHALLENGE);
    lk_dps_register_fini(&m);
}

/* ---- second leg ---------------------------------------------------------------------------- */

/* What a token says by itself. */
static void
tokens_that_do_not_fit(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce;
    char token[LK_SAS_MAX + 1], big[LK_SAS_MAX + 2];
    int64_t soon_s = f->rig.now_ms / 1000 + 60;

    rig_challenge(&f->device, &nonce);
    assert_second_leg(&f->device, "", "token.malformed");
    assert_second_leg(&f->device, "SharedAccessSignature sr=a&se=1", "token.malformed");
    memset(big, 'a', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    assert_second_leg(&f->device, big, "token.malformed");
    rig_sign(&nonce, RIG_SCOPE "/registrations/dev-2", soon_s, NULL, token);
    assert_second_leg(&f->device, token, "token.resource");
    rig_sign(&nonce, RIG_OTHER_SCOPE "/registrations/dev-1", soon_s, NULL, token);
    assert_second_leg(&f->device, token, "token.resource");
    rig_sign(&nonce, RIG_SCOPE "/registrations", soon_s, NULL, token);
    assert_second_leg(&f->device, token, "token.resource");
    rig_sign(&nonce, RIG_SCOPE "/registrations/dev-1", soon_s, "provisioningserviceowner", token);
    assert_second_leg(&f->device, token, "token.key_name");
    rig_sign(&nonce, RIG_SCOPE "/registrations/dev-1", f->rig.now_ms / 1000 - 1, NULL, token);
    assert_second_leg(&f->device, token, "token.expired");
    rig_sign(&nonce, RIG_SCOPE "/registrations/dev-1", f->rig.now_ms / 1000, NULL, token);
    rig_register(&f->device, token, &a); /* its last second */
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
}

/* Signed with what is not this registration's nonce key now. */
static void
foreign_signatures(void **state)
{
    struct fixture *f = *state;
    LK_AUTO(softtpm) struct softtpm *other = softtpm_new(stranger_ek, srk);
    struct rig_device d = {.rig = &f->rig, .scope = RIG_SCOPE, .id = "dev-2", .tpm = other};
    struct softtpm_opened nonce, zeros = {.key_len = 32};
    char token[LK_SAS_MAX + 1];
    int64_t soon_s = f->rig.now_ms / 1000 + 60;

    rig_enroll(&f->rig, RIG_SCOPE, "dev-2", other, NULL);
    rig_enroll(&f->rig, RIG_OTHER_SCOPE, "dev-1", f->tpm, NULL);
    rig_challenge(&d, &nonce); /* another device's nonce */
    rig_sign(&nonce, RIG_SCOPE "/registrations/dev-1", soon_s, NULL, token);
    assert_second_leg(&f->device, token, "token.signature");
    d = f->device;
    d.scope = RIG_OTHER_SCOPE;
    rig_challenge(&d, &nonce); /* the same device's nonce of another scope */
    rig_sign(&nonce, RIG_SCOPE "/registrations/dev-1", soon_s, NULL, token);
    assert_second_leg(&f->device, token, "token.signature");
    rig_sign(&zeros, RIG_SCOPE "/registrations/dev-1", soon_s, NULL, token);
    assert_second_leg(&f->device, token, "token.signature");
    f->device.without_keys = true;
    assert_second_leg(&f->device, token, "token.signature");
}

/* The nonce of one SRK does not admit another: the hub key would go to that one. */
static void
another_srk_in_the_second_leg(void **state)
{
    struct fixture *f = *state;
    LK_AUTO(softtpm_key) struct softtpm_key *other = softtpm_key_generate(SOFTTPM_P256);
    struct softtpm_opened nonce;

    rig_challenge(&f->device, &nonce);
    softtpm_clear(f->tpm, other);
    assert_second_leg(&f->device, f->device.token, "token.signature");
}

/* A valid token, and an enrollment that is not what it was. */
static void
enrollment_between_the_legs(void **state)
{
    struct fixture *f = *state;
    struct softtpm_opened nonce;
    bool enabled = false;

    rig_challenge(&f->device, &nonce);
    rig_enrollment_change(&f->rig, "dev-1", rig_enrollment_set_enabled, &enabled);
    assert_second_leg(&f->device, f->device.token, "enrollment.disabled");
    f->device.without_keys = true;
    assert_second_leg(&f->device, f->device.token, "enrollment.disabled");
    rig_enrollment_delete(&f->rig, "dev-1");
    assert_second_leg(&f->device, f->device.token, "enrollment.unknown");
    rig_enroll(&f->rig, RIG_SCOPE, "dev-1", f->stranger, NULL);
    assert_second_leg(&f->device, f->device.token, "enrollment.ek_mismatch");
    f->device.without_keys = false;
    assert_second_leg(&f->device, f->device.token, "enrollment.ek_mismatch");
}

/* Spent: the same token when the minute is over, and another one under the same nonce at once. */
static void
replays(void **state)
{
    struct fixture *f = *state;
    struct softtpm_opened nonce;
    char token[LK_SAS_MAX + 1], fresh[LK_SAS_MAX + 1];
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_challenge(&f->device, &nonce);
    (void)strcpy(token, f->device.token);
    rig_register(&f->device, token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    rig_sign(&nonce, RIG_SCOPE "/registrations/dev-1", f->rig.now_ms / 1000 + 1200, NULL, fresh);
    assert_second_leg(&f->device, fresh, "token.replayed");
    f->device.without_keys = true;
    assert_second_leg(&f->device, fresh, "token.replayed");
    rig_advance_s(&f->rig, 61);
    assert_second_leg(&f->device, token, "token.replayed");
    f->device.without_keys = false;
    assert_second_leg(&f->device, token, "token.replayed");
    rig_attest(&f->device);
    assert_second_leg(&f->device, token, "token.signature"); /* not even the latest any more */
}

/* The same request with other keys in it is not the same request. */
static void
retry_with_other_keys(void **state)
{
    struct fixture *f = *state;
    LK_AUTO(softtpm_key) struct softtpm_key *other = softtpm_key_generate(SOFTTPM_P256);

    rig_attest(&f->device);
    softtpm_clear(f->tpm, other);
    assert_second_leg(&f->device, f->device.token, "token.replayed");
}

/* ---- the audit ----------------------------------------------------------------------------- */

/* A refusal's record names scope, id, reason and request. */
static void
refusal_is_audited(void **state)
{
    struct fixture *f = *state;
    char detail[256];
    int64_t refused = lk_metric_get(LK_M_REG_REFUSED);

    f->device.id = "dev-2";
    assert_first_leg(&f->device, "enrollment.unknown");
    assert_int_equal(rig_audit_count(&f->rig, "registration.refused", detail, sizeof(detail)), 1);
    assert_string_equal(detail, "{\"reason\":\"enrollment.unknown\",\"requestId\":\"req\"}");
    assert_int_equal(lk_metric_get(LK_M_REG_REFUSED), refused + 1);
}

static void
refuse_many(struct fixture *f, unsigned count)
{
    f->device.id = "dev-2";
    for (unsigned i = 0; i < count; i++) {
        assert_first_leg(&f->device, "enrollment.unknown");
    }
}

/* So many in a second, the rest counted; a summary a minute later, with whatever comes then. */
static void
audit_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct rig_device honest = f->device;
    int64_t suppressed = lk_metric_get(LK_M_AUDIT_SUPPRESSED);
    char detail[256];

    refuse_many(f, 30);
    assert_int_equal(rig_audit_count(&f->rig, "registration.refused", NULL, 0), 20);
    assert_int_equal(lk_metric_get(LK_M_AUDIT_SUPPRESSED), suppressed + 10);
    rig_advance_s(&f->rig, 1);
    refuse_many(f, 5);
    assert_int_equal(rig_audit_count(&f->rig, "registration.refused", NULL, 0), 25);
    assert_int_equal(rig_audit_count(&f->rig, "registration.refused_summary", NULL, 0), 0);
    rig_advance_s(&f->rig, 60);
    rig_attest(&honest);
    assert_int_equal(
        rig_audit_count(&f->rig, "registration.refused_summary", detail, sizeof(detail)), 1);
    assert_string_equal(detail, "{\"count\":10,\"since\":\"2026-01-01T00:00:00.0000000Z\"}");
    rig_advance_s(&f->rig, 60);
    rig_attest(&honest);
    assert_int_equal(rig_audit_count(&f->rig, "registration.refused_summary", NULL, 0), 1);
}

static void
one_a_second(struct lk_provision_config *config)
{
    config->audit_refusals_per_s = 1;
}

static int
setup_one_a_second(void **state)
{
    return setup_with(state, one_a_second);
}

/* An attack that lasts is bounded by the hour: 60 times a second's share. */
static void
audit_is_bounded_by_the_hour(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 100; i++) {
        refuse_many(f, 1);
        rig_advance_s(&f->rig, 1);
    }
    assert_int_equal(rig_audit_count(&f->rig, "registration.refused", NULL, 0), 60);
    rig_advance_s(&f->rig, 3600);
    refuse_many(f, 1);
    assert_int_equal(rig_audit_count(&f->rig, "registration.refused", NULL, 0), 61);
}

/* While the writer is busy, refusals are answered all the same, and fill one batch at most. */
static void
audit_waits_for_nobody(void **state)
{
    struct fixture *f = *state;

    rig_hold(&f->rig);
    refuse_many(f, 20);
    assert_int_equal(lk_provision_pending(f->rig.p), 1);
    rig_release(&f->rig);
    assert_int_equal(rig_audit_count(&f->rig, "registration.refused", NULL, 0), 20);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(first_leg_refusals),
        cmocka_unit_test_setup_teardown(refusal_does_the_work, setup_counting, teardown),
        CASE(judged_bodies),
        CASE(ek_as_srk),
        CASE(ids_of_the_request),
        CASE(tokens_that_do_not_fit),
        CASE(foreign_signatures),
        CASE(another_srk_in_the_second_leg),
        CASE(enrollment_between_the_legs),
        CASE(replays),
        CASE(retry_with_other_keys),
        CASE(refusal_is_audited),
        CASE(audit_is_bounded),
        cmocka_unit_test_setup_teardown(audit_is_bounded_by_the_hour, setup_one_a_second, teardown),
        CASE(audit_waits_for_nobody),
    };
    int failed;

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    ek = softtpm_key_generate(SOFTTPM_P256);
    srk = softtpm_key_generate(SOFTTPM_P256);
    stranger_ek = softtpm_key_generate(SOFTTPM_P256);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    softtpm_key_free(ek);
    softtpm_key_free(srk);
    softtpm_key_free(stranger_ek);
    return failed;
}
