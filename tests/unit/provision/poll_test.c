/* Tests of src/provision/poll.c: what became of a registration, and who is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/rig.h"

static struct softtpm_key *ek, *srk, *other_ek, *other_srk;

/* Two enrolled devices; the first has attested. */
struct fixture {
    struct rig rig;
    struct softtpm *tpm, *other_tpm;
    struct rig_device device, other;
};

static int
setup(void **state)
{
    static struct fixture f;

    rig_start(&f.rig, NULL);
    f.tpm = softtpm_new(ek, srk);
    f.other_tpm = softtpm_new(other_ek, other_srk);
    f.device = (struct rig_device){.rig = &f.rig, .scope = RIG_SCOPE, .id = "dev-1", .tpm = f.tpm};
    f.other =
        (struct rig_device){.rig = &f.rig, .scope = RIG_SCOPE, .id = "dev-2", .tpm = f.other_tpm};
    rig_enroll(&f.rig, RIG_SCOPE, "dev-1", f.tpm, NULL);
    rig_enroll(&f.rig, RIG_SCOPE, "dev-2", f.other_tpm, NULL);
    rig_attest(&f.device);
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    softtpm_free(f->tpm);
    softtpm_free(f->other_tpm);
    rig_stop(&f->rig);
    return 0;
}

static void
assert_refused(const struct rig_answer *a, const char *reason)
{
    assert_int_equal(a->verdict, LK_REG_REFUSED);
    assert_string_equal(a->reason, reason);
    assert_int_equal(a->state.auth_key.len, 0);
    assert_string_equal(a->state.registration_id, "");
}

static void
assert_poll_refused(struct rig_device *d, const char *token, const char *reason)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_poll(d, token, d->operation_id, &a);
    assert_refused(&a, reason);
}

static void
assert_lookup_refused(struct rig_device *d, const char *token, const char *reason)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_lookup(d, token, &a);
    assert_refused(&a, reason);
}

/* Who does not prove anything is not told whether there is such an operation. */
static void
polls_need_a_token(void **state)
{
    struct fixture *f = *state;
    struct softtpm_opened nobody = {.key_len = 32};
    char token[LK_SAS_MAX + 1];

    assert_poll_refused(&f->device, NULL, "token.missing");
    assert_poll_refused(&f->device, "", "token.malformed");
    assert_poll_refused(&f->other, f->device.token, "token.resource");
    rig_sign(&nobody, RIG_SCOPE "/registrations/dev-1", f->rig.now_ms / 1000 + 60, NULL, token);
    assert_poll_refused(&f->device, token, "token.signature");
    rig_sign(&nobody, RIG_SCOPE "/registrations/dev-2", f->rig.now_ms / 1000 + 60, NULL, token);
    assert_poll_refused(&f->other, token, "registration.unknown");
}

/* An operation id that is not its own, another device's included, is 404 for whoever is in. */
static void
other_operations(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char before[LK_OPERATION_ID_MAX + 1];

    rig_attest(&f->other);
    rig_poll(&f->device, f->device.token, f->other.operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_UNKNOWN);
    assert_int_equal(a.state.auth_key.len, 0);
    rig_poll(&f->device, f->device.token, "", &a);
    assert_int_equal(a.verdict, LK_REG_UNKNOWN);
    rig_poll(&f->other, f->device.token, f->device.operation_id, &a);
    assert_refused(&a, "token.resource");

    (void)strcpy(before, f->device.operation_id);
    rig_attest(&f->device);
    rig_poll(&f->device, f->device.token, before, &a);
    assert_int_equal(a.verdict, LK_REG_UNKNOWN);
}

/* A token that is too old to register serves the operation for ten minutes more. */
static void
expired_token_for_ten_minutes(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce;
    char token[LK_SAS_MAX + 1];

    rig_challenge(&f->device, &nonce);
    rig_sign(&nonce, RIG_SCOPE "/registrations/dev-1", f->rig.now_ms / 1000 + 30, NULL, token);
    rig_register(&f->device, token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    (void)strcpy(f->device.operation_id, a.state.operation_id);
    rig_advance_s(&f->rig, 600);
    rig_poll(&f->device, token, f->device.operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
    rig_lookup(&f->device, token, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
    rig_advance_s(&f->rig, 1);
    assert_poll_refused(&f->device, token, "token.expired");
    assert_lookup_refused(&f->device, token, "token.expired");
}

/* A token that is still good is good for as long as it says, whatever the epoch. */
static void
token_for_an_hour(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_advance_s(&f->rig, 3600);
    rig_poll(&f->device, f->device.token, f->device.operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    rig_advance_s(&f->rig, 1);
    assert_poll_refused(&f->device, f->device.token, "token.expired");
}

/* Tokens of an earlier attestation tell nothing any more. */
static void
earlier_attestation(void **state)
{
    struct fixture *f = *state;
    char token[LK_SAS_MAX + 1];

    (void)strcpy(token, f->device.token);
    rig_attest(&f->device);
    assert_poll_refused(&f->device, token, "token.signature");
    assert_lookup_refused(&f->device, token, "token.signature");
}

static void
assert_disabled(struct rig_device *d)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_poll(d, d->token, d->operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
    assert_int_equal(a.state.status, LK_DPS_DISABLED);
    assert_int_equal(a.state.auth_key.len, 0);
    assert_string_equal(a.state.assigned_hub, "");
    rig_lookup(d, d->token, &a);
    assert_int_equal(a.state.status, LK_DPS_DISABLED);
    assert_int_equal(a.state.auth_key.len, 0);
}

/* Disabled, without an enrollment, or with another EK in it: no key, and it says so. */
static void
no_longer_enrolled(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    bool enabled = false;

    rig_enrollment_change(&f->rig, "dev-1", rig_enrollment_set_enabled, &enabled);
    assert_disabled(&f->device);
    enabled = true;
    rig_enrollment_change(&f->rig, "dev-1", rig_enrollment_set_enabled, &enabled);
    rig_poll(&f->device, f->device.token, f->device.operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    rig_enrollment_delete(&f->rig, "dev-1");
    assert_disabled(&f->device);
    rig_enrollment_delete(&f->rig, "dev-2");
    rig_enroll(&f->rig, RIG_SCOPE, "dev-1", f->other_tpm, NULL);
    assert_disabled(&f->device);
}

/* Look-up: the whole state, for the keys on record or without any. */
static void
look_up(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;

    rig_lookup(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    assert_null(softtpm_open(f->tpm, a.state.auth_key.data, a.state.auth_key.len, &key));
    f->device.without_keys = true;
    rig_lookup(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
}

/* Look-up refused: no proof, other keys than those that attested, somebody else's name. */
static void
look_up_refused(void **state)
{
    struct fixture *f = *state;
    struct rig_device d = f->device;

    assert_lookup_refused(&f->device, NULL, "token.missing");
    assert_lookup_refused(&f->other, f->device.token, "token.resource");
    d.tpm = f->other_tpm;
    assert_lookup_refused(&d, f->device.token, "registration.other_keys");
    softtpm_clear(f->tpm, other_srk);
    assert_lookup_refused(&f->device, f->device.token, "registration.other_keys");
}

/* A record that names a master key that is gone from the ring (restored from elsewhere). */
static enum lk_err
forget_key_run(struct lk_txn *tx, void *arg)
{
    struct lk_registration r = {.generation = 0};
    enum lk_err err = lk_txn_registration_get(tx, RIG_SCOPE, "dev-1", &r);

    if (err == LK_OK) {
        r.nonce_key_id ^= 1;
        err = lk_txn_registration_put(tx, &r, r.generation);
    }
    lk_registration_fini(&r);
    return err;
}

static void
master_key_gone(void **state)
{
    struct fixture *f = *state;

    rig_write(&f->rig, forget_key_run, NULL);
    assert_poll_refused(&f->device, f->device.token, "token.signature");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(polls_need_a_token),
        CASE(other_operations),
        CASE(expired_token_for_ten_minutes),
        CASE(token_for_an_hour),
        CASE(earlier_attestation),
        CASE(no_longer_enrolled),
        CASE(look_up),
        CASE(look_up_refused),
        CASE(master_key_gone),
    };
    int failed;

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    ek = softtpm_key_generate(SOFTTPM_P256);
    srk = softtpm_key_generate(SOFTTPM_P256);
    other_ek = softtpm_key_generate(SOFTTPM_P256);
    other_srk = softtpm_key_generate(SOFTTPM_P256);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    softtpm_key_free(ek);
    softtpm_key_free(srk);
    softtpm_key_free(other_ek);
    softtpm_key_free(other_srk);
    return failed;
}
