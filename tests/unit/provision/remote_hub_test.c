/*
 * Tests of src/provision/assignment.c with hubs that are not in our store: the device is told
 * `assigning` until the hub has answered, whatever the answer is and whenever it comes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/rig.h"

#define REMOTE_HUB "remote.example.test"

static struct softtpm_key *ek, *srk;

/* A hub that answers when a test says so, and remembers what it was asked. */
struct call {
    char hub[LK_HOST_NAME_MAX + 1], device_id[LK_DEVICE_ID_MAX + 1], from_hub[LK_HOST_NAME_MAX + 1];
    char twin[64];
    uint8_t key[32];
    bool keep_old_key, migrate;
    lk_hub_assigned_fn *done;
    void *arg;
};

static struct call calls[4];
static size_t calls_count;
static bool at_once; /* answer LK_OK within the call */

static void
fake_assign(void *ctx, const struct lk_hub_assign *a, lk_hub_assigned_fn *done, void *arg)
{
    struct call *c = &calls[calls_count++];

    assert_true(calls_count <= LK_ARRAY_LEN(calls));
    assert_int_equal(a->key_len, sizeof(c->key));
    (void)snprintf(c->hub, sizeof(c->hub), "%s", a->hub->name);
    (void)snprintf(c->device_id, sizeof(c->device_id), "%s", a->device_id);
    (void)snprintf(c->from_hub, sizeof(c->from_hub), "%s", a->from_hub == NULL ? "" : a->from_hub);
    (void)snprintf(c->twin, sizeof(c->twin), "%s", a->initial_twin == NULL ? "" : a->initial_twin);
    memcpy(c->key, a->key, sizeof(c->key));
    c->keep_old_key = a->keep_old_key;
    c->migrate = a->migrate;
    c->done = done;
    c->arg = arg;
    if (at_once) {
        done(arg, LK_OK, false);
    }
}

static const struct lk_hub_link_ops fake_ops = {.assign = fake_assign};

static void
add_fake(struct lk_provision_config *config)
{
    config->remote.ops = &fake_ops;
}

struct fixture {
    struct rig rig;
    struct softtpm *tpm;
    struct rig_device device;
};

static void
hub_set(struct lk_enrollment *e, void *arg)
{
    e->allocation = LK_ALLOC_STATIC;
    e->hubs_count = 1;
    assert_int_equal(lk_strcpy(e->hubs[0], sizeof(e->hubs[0]), arg), LK_OK);
}

static void
use_hub(struct fixture *f, const char *name)
{
    char copy[64];

    assert_int_equal(lk_strcpy(copy, sizeof(copy), name), LK_OK);
    rig_enrollment_change(&f->rig, "dev-1", hub_set, copy);
}

static int
setup(void **state)
{
    static struct fixture f;

    calls_count = 0;
    at_once = false;
    rig_start(&f.rig, add_fake);
    rig_hub_add(&f.rig, REMOTE_HUB, LK_HUB_HTTP);
    f.tpm = softtpm_new(ek, srk);
    f.device = (struct rig_device){.rig = &f.rig, .scope = RIG_SCOPE, .id = "dev-1", .tpm = f.tpm};
    rig_enroll(&f.rig, RIG_SCOPE, "dev-1", f.tpm, NULL);
    use_hub(&f, REMOTE_HUB);
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
answer(struct fixture *f, size_t call, enum lk_err err, bool existed)
{
    size_t pending = lk_provision_pending(f->rig.p);

    calls[call].done(calls[call].arg, err, existed);
    rig_settle_to(&f->rig, pending - 1);
}

static void
assert_status(struct fixture *f, enum lk_dps_status status, struct rig_answer *ret)
{
    rig_poll(&f->device, f->device.token, f->device.operation_id, ret);
    assert_int_equal(ret->verdict, LK_REG_STATE);
    assert_int_equal(ret->state.status, status);
    assert_string_equal(ret->state.registration_id, "dev-1");
    assert_int_equal(ret->state.auth_key.len > 0, status == LK_DPS_ASSIGNED);
}

/* Assigning while the hub thinks; then assigned, with the key that the hub was given. */
static void
assigned_when_the_hub_says_so(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;

    rig_attest(&f->device);
    assert_int_equal(calls_count, 1);
    assert_string_equal(calls[0].hub, REMOTE_HUB);
    assert_string_equal(calls[0].device_id, "dev-1");
    assert_string_equal(calls[0].from_hub, "");
    assert_false(calls[0].keep_old_key);
    assert_int_equal(lk_provision_pending(f->rig.p), 1);
    assert_status(f, LK_DPS_ASSIGNING, &a);
    answer(f, 0, LK_OK, false);
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_INITIAL);
    assert_string_equal(a.state.assigned_hub, REMOTE_HUB);
    assert_null(softtpm_open(f->tpm, a.state.auth_key.data, a.state.auth_key.len, &key));
    assert_memory_equal(key.key, calls[0].key, 32);
    assert_int_equal(rig_audit_count(&f->rig, "registration.assigned", NULL, 0), 1);

    rig_attest(&f->device);
    assert_true(calls[1].keep_old_key);
    answer(f, 1, LK_OK, true);
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_REPROVISIONED);
}

static void
assert_failed(struct fixture *f, int32_t code)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    assert_status(f, LK_DPS_FAILED, &a);
    assert_int_equal(a.state.error_code, code);
    assert_true(a.state.error_message[0] != '\0');
    assert_string_equal(a.state.assigned_hub, "");
}

/* The hub refuses, or cannot be reached: failed, with a code each; the next try starts anew. */
static void
fails_when_the_hub_does_not(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char detail[512];

    rig_attest(&f->device);
    answer(f, 0, LK_ERR_REFUSED, false);
    assert_failed(f, LK_DPS_HUB_REFUSED);
    rig_attest(&f->device);
    answer(f, 1, LK_ERR_NETWORK, false);
    assert_failed(f, LK_DPS_UNAVAILABLE);
    assert_int_equal(rig_audit_count(&f->rig, "registration.failed", detail, sizeof(detail)), 2);
    assert_non_null(strstr(detail, "503001"));
    rig_attest(&f->device);
    assert_string_equal(calls[2].from_hub, "");
    answer(f, 2, LK_OK, false);
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_INITIAL);
}

/* An answer to an attestation that another has followed changes nothing. */
static void
late_answer(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;

    rig_attest(&f->device);
    rig_attest(&f->device);
    assert_int_equal(lk_provision_pending(f->rig.p), 2);
    answer(f, 1, LK_OK, true);
    answer(f, 0, LK_ERR_NETWORK, false);
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_null(softtpm_open(f->tpm, a.state.auth_key.data, a.state.auth_key.len, &key));
    assert_memory_equal(key.key, calls[1].key, 32);
    assert_int_equal(rig_audit_count(&f->rig, "registration.failed", NULL, 0), 0);
}

/* A hub that answers within the call. */
static void
answer_within_the_call(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    at_once = true;
    rig_attest(&f->device);
    rig_settle(&f->rig);
    assert_status(f, LK_DPS_ASSIGNED, &a);
}

/* The record goes while the hub thinks: there is nothing to report to. */
static enum lk_err
record_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_registration_delete(tx, RIG_SCOPE, "dev-1", NULL);
}

static void
record_deleted_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct lk_registration r;

    rig_attest(&f->device);
    rig_write(&f->rig, record_delete_run, NULL);
    answer(f, 0, LK_OK, false);
    assert_int_equal(rig_registration(&f->rig, "dev-1", &r), LK_OK);
    assert_int_equal(r.status, LK_REG_NONE);
    lk_registration_fini(&r);
}

/* ---- moving -------------------------------------------------------------------------------- */

/* From our hub to the other: ours is left once the other has the device, not before. */
static void
moves_there(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;
    struct lk_identity id;

    use_hub(f, RIG_HUB);
    rig_provision(&f->device, &a, &key);
    use_hub(f, REMOTE_HUB);
    rig_attest(&f->device);
    assert_string_equal(calls[0].from_hub, RIG_HUB);
    assert_true(calls[0].migrate);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_OK);
    answer(f, 0, LK_ERR_TIMEOUT, false);
    assert_failed(f, LK_DPS_UNAVAILABLE);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_OK);

    rig_attest(&f->device);
    assert_string_equal(calls[1].from_hub, RIG_HUB); /* remembered through the failure */
    answer(f, 1, LK_OK, false);
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_MIGRATED);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_ERR_NOT_FOUND);
}

/* A device that registers again while the other hub thinks leaves ours all the same. */
static void
moves_impatiently(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;
    struct lk_identity id;

    use_hub(f, RIG_HUB);
    rig_provision(&f->device, &a, &key);
    use_hub(f, REMOTE_HUB);
    rig_attest(&f->device);
    rig_attest(&f->device);
    assert_string_equal(calls[1].from_hub, RIG_HUB);
    answer(f, 0, LK_OK, false);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_OK);
    answer(f, 1, LK_OK, true);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_ERR_NOT_FOUND);
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_MIGRATED);
}

/* And back; a reset carries nothing over. */
static void
moves_back(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;

    rig_attest(&f->device);
    answer(f, 0, LK_OK, false);
    use_hub(f, RIG_HUB);
    rig_provision(&f->device, &a, &key);
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_MIGRATED);
}

static void
twin_set(struct lk_enrollment *e, void *arg)
{
    e->reprovision_migrate = false;
    assert_int_equal(lk_buf_puts(&e->initial_twin, arg), LK_OK);
}

/* The hub gets the initial twin, and is told not to carry data over. */
static void
initial_twin_and_reset(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;
    char twin[] = "{\"tags\":{}}";

    use_hub(f, RIG_HUB);
    rig_provision(&f->device, &a, &key);
    use_hub(f, REMOTE_HUB);
    rig_enrollment_change(&f->rig, "dev-1", twin_set, twin);
    rig_attest(&f->device);
    assert_string_equal(calls[0].twin, twin);
    assert_false(calls[0].migrate);
    answer(f, 0, LK_OK, false);
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_RESET);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(assigned_when_the_hub_says_so),
        CASE(fails_when_the_hub_does_not),
        CASE(late_answer),
        CASE(answer_within_the_call),
        CASE(record_deleted_meanwhile),
        CASE(moves_there),
        CASE(moves_impatiently),
        CASE(moves_back),
        CASE(initial_twin_and_reset),
    };
    int failed;

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    ek = softtpm_key_generate(SOFTTPM_P256);
    srk = softtpm_key_generate(SOFTTPM_P256);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    softtpm_key_free(ek);
    softtpm_key_free(srk);
    return failed;
}
