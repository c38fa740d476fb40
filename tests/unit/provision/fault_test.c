/*
 * Tests of src/provision when something of ours fails: the device gets a fault and never half an
 * answer, and what was begun leaves nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/rig.h"

static struct softtpm_key *ek, *srk;

struct fixture {
    struct rig rig;
    struct softtpm *tpm;
    struct rig_device device;
};

static int
setup_with(void **state, void (*change)(struct lk_provision_config *config))
{
    static struct fixture f;

    rig_start(&f.rig, change);
    f.tpm = softtpm_new(ek, srk);
    f.device = (struct rig_device){.rig = &f.rig, .scope = RIG_SCOPE, .id = "dev-1", .tpm = f.tpm};
    rig_enroll(&f.rig, RIG_SCOPE, "dev-1", f.tpm, NULL);
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    softtpm_free(f->tpm);
    rig_stop(&f->rig);
    return 0;
}

static void
assert_nothing_left(struct fixture *f)
{
    struct lk_registration r;
    struct lk_identity id;

    assert_int_equal(rig_registration(&f->rig, "dev-1", &r), LK_ERR_NOT_FOUND);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_ERR_NOT_FOUND);
    assert_int_equal(rig_audit_count(&f->rig, "registration.assigned", NULL, 0), 0);
}

static void
assert_fault(const struct rig_answer *a, enum lk_reg_verdict verdict, enum lk_err err)
{
    assert_int_equal(a->verdict, verdict);
    assert_int_equal(a->err, err);
    assert_string_equal(a->reason, lk_err_name(err));
    assert_int_equal(a->auth_key.len, 0);
    assert_string_equal(a->state.operation_id, "");
}

/* ---- randomness ------------------------------------------------------------------------------ */

static unsigned draws_left;

static enum lk_err
scarce_fill(void *ctx, void *buf, size_t len)
{
    if (draws_left == 0) {
        return LK_ERR_CRYPTO;
    }
    draws_left--;
    return lk_rand_fill(&lk_rand_system, buf, len);
}

static const struct lk_rand scarce = {scarce_fill, NULL};

static void
use_scarce(struct lk_provision_config *config)
{
    config->rnd = &scarce;
}

static int
setup_scarce(void **state)
{
    draws_left = 1000;
    return setup_with(state, use_scarce);
}

/* Each draw of the challenge fails once, for a device that is enrolled and one that is not. */
static void
challenge_without_randomness(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    unsigned n;

    for (n = 0; a.verdict != LK_REG_CHALLENGE || !a.answered; n++) {
        draws_left = n;
        f->device.id = "nobody";
        rig_register(&f->device, NULL, &a);
        assert_fault(&a, LK_REG_BUSY, LK_ERR_CRYPTO);
        draws_left = n;
        f->device.id = "dev-1";
        rig_register(&f->device, NULL, &a);
        if (a.verdict != LK_REG_CHALLENGE) {
            assert_fault(&a, LK_REG_BUSY, LK_ERR_CRYPTO);
        }
    }
    assert_true(n > 3);
}

/* Each draw of the assignment fails once; the same token then still serves. */
static void
assignment_without_randomness(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce;
    unsigned n = 0;

    rig_challenge(&f->device, &nonce);
    for (;;) {
        draws_left = n++;
        rig_register(&f->device, f->device.token, &a);
        if (a.verdict == LK_REG_ACCEPTED) {
            break;
        }
        assert_fault(&a, LK_REG_BUSY, LK_ERR_CRYPTO);
        assert_nothing_left(f);
    }
    assert_true(n > 4);
    rig_poll(&f->device, f->device.token, a.state.operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
}

/* ---- a hub in the transaction ------------------------------------------------------------------
 */

static enum lk_err hub_err;
static unsigned hub_calls;
static struct lk_hub_link real;

/* Does the work, and fails after it. */
static enum lk_err
failing_assign(void *ctx, struct lk_txn *tx, const struct lk_hub_assign *a, bool *ret_existed)
{
    enum lk_err err = real.ops->assign_in_txn(real.ctx, tx, a, ret_existed);

    (void)ctx;
    hub_calls++;
    return err != LK_OK ? err : hub_err;
}

static const struct lk_hub_link_ops failing_ops = {.assign_in_txn = failing_assign};

static void
use_failing(struct lk_provision_config *config)
{
    real = config->embedded;
    config->embedded.ops = &failing_ops;
}

static int
setup_failing(void **state)
{
    hub_calls = 0;
    return setup_with(state, use_failing);
}

/* What the hub did goes with the rest; the device can try again with the same token. */
static void
hub_fails_in_the_transaction(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce;

    rig_challenge(&f->device, &nonce);
    hub_err = LK_ERR_NOMEM;
    rig_register(&f->device, f->device.token, &a);
    assert_fault(&a, LK_REG_BUSY, LK_ERR_NOMEM);
    assert_nothing_left(f);
    hub_err = LK_ERR_CONFIG;
    rig_register(&f->device, f->device.token, &a);
    assert_fault(&a, LK_REG_ERROR, LK_ERR_CONFIG);
    assert_nothing_left(f);
    assert_int_equal(hub_calls, 2);
    hub_err = LK_OK;
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
}

/* A store that has always changed meanwhile: four tries, then the device has to come again. */
static void
starts_over_so_many_times(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce;

    rig_challenge(&f->device, &nonce);
    hub_err = LK_ERR_PRECONDITION;
    rig_register(&f->device, f->device.token, &a);
    assert_fault(&a, LK_REG_BUSY, LK_ERR_BUSY);
    assert_int_equal(hub_calls, 4);
    assert_nothing_left(f);
    hub_err = LK_OK;
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
}

/* The hub is unlinked between the read and the write: another one is chosen. */
static enum lk_err
hub_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_hub_delete(tx, arg);
}

static void
ignore_done(void *arg, enum lk_err err)
{
    assert_int_equal(err, LK_OK);
}

static void
hub_unlinked_under_way(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char name[] = RIG_HUB;
    struct lk_job job = {.run = hub_delete_run, .done = ignore_done, .arg = name};
    struct softtpm_opened nonce;

    hub_err = LK_OK;
    rig_challenge(&f->device, &nonce);
    rig_hold(&f->rig);
    lk_store_write(f->rig.session, &job);
    rig_register_begin(&f->device, f->device.token, &a);
    rig_release(&f->rig);
    rig_wait(&f->rig, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    assert_int_equal(hub_calls, 0);
    rig_poll(&f->device, f->device.token, a.state.operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_FAILED);
    assert_int_equal(a.state.error_code, LK_DPS_NO_HUB);
}

/* ---- misuse ------------------------------------------------------------------------------------
 */

static int
setup(void **state)
{
    return setup_with(state, NULL);
}

/* An epoch of no length is a configuration that cannot be. */
static void
epoch_of_nothing(void **state)
{
    struct fixture *f = *state;
    struct lk_provision_config config = f->rig.config;
    struct lk_provision *p = NULL;

    config.epoch_s = 0;
    assert_int_equal(lk_provision_new(&config, &p), LK_ERR_ARG);
    assert_null(p);
    lk_provision_free(NULL);
}

/* More hubs than the service takes: a fault that says so, no choice among some of them. */
static void
too_many_hubs(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce;
    char name[64];

    for (unsigned i = 0; i < 49; i++) {
        (void)snprintf(name, sizeof(name), "h%u.example.test", i);
        rig_hub_add(&f->rig, name, LK_HUB_EMBEDDED);
    }
    rig_attest(&f->device);
    rig_hub_add(&f->rig, "one-more.example.test", LK_HUB_EMBEDDED);
    rig_challenge(&f->device, &nonce);
    rig_register(&f->device, f->device.token, &a);
    assert_fault(&a, LK_REG_ERROR, LK_ERR_LIMIT);
}

#define CASE(name, set) cmocka_unit_test_setup_teardown(name, set, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(challenge_without_randomness, setup_scarce),
        CASE(assignment_without_randomness, setup_scarce),
        CASE(hub_fails_in_the_transaction, setup_failing),
        CASE(starts_over_so_many_times, setup_failing),
        CASE(hub_unlinked_under_way, setup_failing),
        CASE(epoch_of_nothing, setup),
        CASE(too_many_hubs, setup),
    };
    int failed;

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    ek = softtpm_key_from_vectors("ek_rsa2048");
    srk = softtpm_key_from_vectors("srk_rsa2048");
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    softtpm_key_free(ek);
    softtpm_key_free(srk);
    return failed;
}
