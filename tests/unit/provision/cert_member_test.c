/*
 * Tests of src/provision/member.c: devices that prove themselves with a certificate, their own that
 * was enrolled, or one that a group's authority signed. That they hold its key is TLS's matter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/certs.h"
#include "support/rig.h"

#define NOW_S INT64_C(1767225600) /* when a rig starts */

/* Two authorities, one below the first, and devices of theirs. */
static struct test_cert root, sub, other, dev1, dev2, dev1_new, foreign;

static int
certs_make(void **state)
{
    assert_int_equal(lk_crypto_init(), LK_OK);
    test_ca_make(&root, "Root", NOW_S, NULL);
    test_ca_make(&sub, "Sub", NOW_S, &root);
    test_ca_make(&other, "Root", NOW_S, NULL);
    test_leaf_make(&dev1, "Dev-1", NOW_S, &root);
    test_leaf_make(&dev1_new, "dev-1", NOW_S, &other);
    test_leaf_make(&dev2, "dev-2", NOW_S, &sub);
    test_leaf_make(&foreign, "dev-1", NOW_S, NULL);
    return 0;
}

static int
certs_drop(void **state)
{
    struct test_cert *const all[] = {&root, &sub, &other, &dev1, &dev2, &dev1_new, &foreign};

    for (size_t i = 0; i < LK_ARRAY_LEN(all); i++) {
        test_cert_fini(all[i]);
    }
    return 0;
}

static int
setup(void **state)
{
    static struct rig r;

    rig_start(&r, NULL);
    *state = &r;
    return 0;
}

static int
teardown(void **state)
{
    rig_stop(*state);
    return 0;
}

/* ---- the operator's side -----------------------------------------------------------------------
 */

struct put {
    struct lk_enrollment e;
    bool is_group;
};

static enum lk_err
put_run(struct lk_txn *tx, void *arg)
{
    struct put *p = arg;
    enum lk_err err =
        p->is_group ? lk_txn_group_create(tx, &p->e) : lk_txn_enrollment_create(tx, &p->e, NULL);

    if (err == LK_ERR_EXISTS) {
        err = p->is_group ? lk_txn_group_replace(tx, &p->e, NULL)
                          : lk_txn_enrollment_replace(tx, &p->e, NULL, NULL);
    }
    return err;
}

/* secondary may be NULL. */
static void
put(struct rig *r, bool is_group, const char *id, const struct test_cert *primary,
    const struct test_cert *secondary, bool enabled)
{
    struct put p = {.is_group = is_group};

    lk_enrollment_init(&p.e);
    (void)strcpy(p.e.scope, RIG_SCOPE);
    (void)strcpy(p.e.id, id);
    p.e.enabled = enabled;
    p.e.attestation = LK_ATTESTATION_X509;
    assert_int_equal(lk_buf_put(&p.e.certs[0], primary->der, primary->der_len), LK_OK);
    if (secondary != NULL) {
        assert_int_equal(lk_buf_put(&p.e.certs[1], secondary->der, secondary->der_len), LK_OK);
    }
    rig_write(r, put_run, &p);
    lk_enrollment_fini(&p.e);
}

/* ---- the device's side -------------------------------------------------------------------------
 */

static void
answered(void *arg, const struct lk_reg_answer *answer)
{
    struct rig_answer *a = arg;

    a->answered = true;
    a->verdict = answer->verdict;
    a->err = answer->err;
    (void)snprintf(a->reason, sizeof(a->reason), "%s",
                   answer->reason == NULL ? "" : answer->reason);
    a->state = answer->state;
    assert_int_equal(answer->auth_key.len, 0);
    assert_int_equal(answer->state.auth_key.len, 0);
    memset(&a->state.auth_key, 0, sizeof(a->state.auth_key));
    memset(&a->state.payload, 0, sizeof(a->state.payload));
}

/* Register (operation NULL), poll, or look up ("") with a chain of one or two. */
static void
ask(struct rig *r, const char *id, const struct test_cert *own, const struct test_cert *above,
    const char *operation, struct rig_answer *ret)
{
    struct lk_dps_register body = LK_DPS_REGISTER_INIT;
    struct lk_part chain[2] = {test_cert_part(own)};
    struct lk_reg_request req = {.scope = RIG_SCOPE,
                                 .registration_id = id,
                                 .body = &body,
                                 .certs = chain,
                                 .certs_count = above == NULL ? 1 : 2,
                                 .request_id = "req-1"};

    if (above != NULL) {
        chain[1] = test_cert_part(above);
    }
    rig_answer_fini(ret);
    if (operation == NULL) {
        lk_provision_register(r->p, &req, answered, ret);
    } else if (operation[0] == '\0') {
        lk_provision_lookup(r->p, &req, answered, ret);
    } else {
        req.body = NULL;
        req.operation_id = operation;
        lk_provision_poll(r->p, &req, answered, ret);
    }
    rig_wait(r, ret);
}

static void
assert_refused(struct rig *r, const char *id, const struct test_cert *own,
               const struct test_cert *above, const char *reason)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    ask(r, id, own, above, NULL, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    assert_string_equal(a.reason, reason);
}

static void
provision(struct rig *r, const char *id, const struct test_cert *own, const struct test_cert *above,
          struct rig_answer *ret)
{
    char operation_id[LK_OPERATION_ID_MAX + 1];

    ask(r, id, own, above, NULL, ret);
    if (ret->verdict != LK_REG_ACCEPTED) {
        fail_msg("not accepted: %s", ret->reason);
    }
    (void)strcpy(operation_id, ret->state.operation_id);
    ask(r, id, own, above, operation_id, ret);
    assert_int_equal(ret->verdict, LK_REG_STATE);
    assert_int_equal(ret->state.status, LK_DPS_ASSIGNED);
}

/* ---- cases -------------------------------------------------------------------------------------
 */

/* The enrolled certificate itself, primary or secondary; the identity has its thumbprint, and no
 * key. */
static void
own_certificate(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_registration record;
    struct lk_identity first, second;

    put(r, false, "DEV-1", &dev1, &dev1_new, true);
    provision(r, "dev-1", &dev1, NULL, &a);
    assert_string_equal(a.state.device_id, "DEV-1");
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_INITIAL);
    assert_int_equal(rig_registration(r, "dev-1", &record), LK_OK);
    assert_int_equal(record.attestation, LK_ATTESTATION_X509);
    lk_registration_fini(&record);
    assert_int_equal(rig_identity(r, RIG_HUB, "DEV-1", &first), LK_OK);
    assert_int_equal(first.auth, LK_AUTH_SELF_SIGNED);
    assert_int_equal(strspn(first.thumbprints[0], "0123456789ABCDEF"), LK_THUMBPRINT_MAX);
    assert_int_equal(first.primary_len + first.secondary_len, 0);

    provision(r, "Dev-1", &dev1_new, NULL, &a);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_REPROVISIONED);
    assert_int_equal(rig_identity(r, RIG_HUB, "DEV-1", &second), LK_OK);
    assert_string_not_equal(first.thumbprints[0], second.thumbprints[0]);
    assert_string_equal(first.generation_id, second.generation_id);
    assert_int_equal(second.primary_len + second.secondary_len, 0);
}

/* Another id, another certificate of the same name, an unknown device, disabled, gone. */
static void
own_certificate_refusals(void **state)
{
    struct rig *r = *state;
    bool enabled = false;

    put(r, false, "dev-1", &dev1, NULL, true);
    put(r, false, "dev-3", &dev1, NULL, true);
    assert_refused(r, "dev-3", &dev1, NULL, "cert.common_name");
    assert_refused(r, "dev-1", &foreign, NULL, "cert.unknown");
    assert_refused(r, "dev-1", &dev1_new, NULL, "cert.unknown");
    assert_refused(r, "dev-2", &dev2, NULL, "enrollment.unknown");
    rig_enrollment_change(r, "dev-1", rig_enrollment_set_enabled, &enabled);
    assert_refused(r, "dev-1", &dev1, NULL, "enrollment.disabled");
    rig_enrollment_delete(r, "dev-1");
    assert_refused(r, "dev-1", &dev1, NULL, "enrollment.unknown");
    assert_int_equal(rig_audit_count(r, "registration.refused", NULL, 0), 6);
}

/* Out of date on either side. */
static void
own_certificate_dates(void **state)
{
    struct rig *r = *state;

    put(r, false, "dev-1", &dev1, NULL, true);
    rig_advance_s(r, -1);
    assert_refused(r, "dev-1", &dev1, NULL, "cert.not_yet_valid");
    rig_advance_s(r, 86400 + 2);
    assert_refused(r, "dev-1", &dev1, NULL, "cert.expired");
}

/* Bytes that are no certificate; more than one common name. */
static void
odd_certificates(void **state)
{
    struct rig *r = *state;
    const struct test_cert_spec spec = {
        .cn = "dev-1", .cn2 = "dev-1", .from_s = NOW_S, .to_s = NOW_S + 100};
    struct test_cert odd = {.der_len = 8}, twice;

    put(r, false, "dev-1", &dev1, NULL, true);
    assert_refused(r, "dev-1", &odd, NULL, "cert.malformed");
    test_cert_make(&twice, &spec, NULL);
    assert_refused(r, "dev-1", &twice, NULL, "cert.common_name");
    test_cert_fini(&twice);
}

/* Signed by the group's authority, directly or below it; the id keeps its first spelling. */
static void
group_members(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_registration record;

    put(r, true, "fleet", &root, NULL, true);
    provision(r, "Dev-1", &dev1, NULL, &a);
    assert_string_equal(a.state.device_id, "Dev-1");
    provision(r, "dev-1", &dev1, NULL, &a);
    assert_string_equal(a.state.device_id, "Dev-1");
    provision(r, "dev-2", &dev2, &sub, &a);
    assert_int_equal(rig_registration(r, "dev-2", &record), LK_OK);
    assert_string_equal(record.group, "fleet");
    assert_int_equal(record.attestation, LK_ATTESTATION_X509);
    lk_registration_fini(&record);
    assert_refused(r, "dev-2", &dev2, NULL, "chain.unknown_signer");
    put(r, true, "fleet", &sub, NULL, true);
    provision(r, "dev-2", &dev2, NULL, &a);
}

/* Two authorities of one name, as when one is replaced by the next. */
static void
group_with_two_signers(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    put(r, true, "fleet", &other, &root, true);
    provision(r, "dev-1", &dev1, NULL, &a);
    provision(r, "dev-1", &dev1_new, NULL, &a);
    put(r, true, "fleet", &other, NULL, true);
    assert_refused(r, "dev-1", &dev1, NULL, "chain.signature");
}

/* A foreign chain, a signer that is no authority, a disabled group, a member that is shut out, an
 * expired certificate. */
static void
group_refusals(void **state)
{
    struct rig *r = *state;
    struct test_cert below;

    put(r, true, "fleet", &root, NULL, true);
    assert_refused(r, "dev-1", &foreign, NULL, "chain.unknown_signer");
    assert_refused(r, "dev-2", &dev1, NULL, "cert.common_name");
    put(r, true, "wrong", &dev2, NULL, true);
    assert_refused(r, "dev-2", &dev2, NULL, "chain.is_signer");
    test_leaf_make(&below, "dev-3", NOW_S, &dev2);
    assert_refused(r, "dev-3", &below, NULL, "chain.signer_not_ca");
    test_cert_fini(&below);
    put(r, false, "dev-1", &dev1_new, NULL, false);
    assert_refused(r, "dev-1", &dev1, NULL, "enrollment.disabled");
    rig_enrollment_delete(r, "dev-1");
    put(r, true, "fleet", &root, NULL, false);
    assert_refused(r, "dev-1", &dev1, NULL, "group.disabled");
    rig_advance_s(r, 86401);
    assert_refused(r, "dev-1", &dev1, NULL, "cert.expired");
}

/* The certificate opens the record of its own kind only, and no longer when it is replaced. */
static void
polls_and_lookups(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char operation_id[LK_OPERATION_ID_MAX + 1];

    put(r, true, "fleet", &root, NULL, true);
    ask(r, "dev-1", &dev1, NULL, "", &a);
    assert_string_equal(a.reason, "registration.unknown");
    ask(r, "dev-1", &dev1, NULL, NULL, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    (void)strcpy(operation_id, a.state.operation_id);
    ask(r, "dev-1", &dev1, NULL, "1.0.0", &a);
    assert_int_equal(a.verdict, LK_REG_UNKNOWN);
    ask(r, "dev-1", &dev1, NULL, "", &a);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    ask(r, "dev-1", &dev1_new, NULL, operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    ask(r, "dev-2", &dev1, NULL, operation_id, &a);
    assert_string_equal(a.reason, "cert.common_name");
    put(r, true, "fleet", &root, NULL, false);
    ask(r, "dev-1", &dev1, NULL, operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_DISABLED);
    put(r, true, "fleet", &other, NULL, true);
    ask(r, "dev-1", &dev1, NULL, operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
}

/* An enrollment by certificate takes no token, one by TPM no certificate; its record neither. */
static void
other_evidence(void **state)
{
    struct rig *r = *state;
    LK_AUTO(softtpm_key) struct softtpm_key *ek = softtpm_key_from_vectors("ek_rsa2048");
    LK_AUTO(softtpm_key) struct softtpm_key *srk = softtpm_key_from_vectors("srk_rsa2048");
    LK_AUTO(softtpm) struct softtpm *tpm = softtpm_new(ek, srk);
    struct rig_device d = {.rig = r, .scope = RIG_SCOPE, .id = "dev-1", .tpm = tpm};
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    put(r, true, "fleet", &root, NULL, true);
    rig_enroll(r, RIG_SCOPE, "dev-1", tpm, NULL);
    assert_refused(r, "dev-1", &dev1, NULL, "enrollment.other_attestation");
    rig_attest(&d);
    ask(r, "dev-1", &dev1, NULL, d.operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    rig_enrollment_delete(r, "dev-1");
    assert_refused(r, "dev-1", &dev1, NULL, "group.id_registered"); /* it is the TPM's */
    put(r, false, "dev-1", &dev1, NULL, true);
    rig_register(&d, NULL, &a);
    assert_string_equal(a.reason, "enrollment.other_attestation");
    d.without_keys = true;
    rig_register(&d, d.token, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    assert_string_equal(a.reason, "enrollment.other_attestation");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE(own_certificate),       CASE(own_certificate_refusals),
        CASE(own_certificate_dates), CASE(odd_certificates),
        CASE(group_members),         CASE(group_with_two_signers),
        CASE(group_refusals),        CASE(polls_and_lookups),
        CASE(other_evidence),
    };

    return cmocka_run_group_tests(tests, certs_make, certs_drop);
}
