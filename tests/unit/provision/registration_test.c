/*
 * Tests of src/provision/registration.c and assignment.c: devices that belong here, from first
 * contact to their hub key, with a real store.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "support/rig.h"

static struct softtpm_key *ek, *srk, *ek2, *srk2;

/* One service and one enrolled device; every case starts with fresh ones. */
struct fixture {
    struct rig rig;
    struct softtpm *tpm;
    struct rig_device device;
};

static int
setup(void **state)
{
    static struct fixture f;

    rig_start(&f.rig, NULL);
    f.tpm = softtpm_new(ek, srk);
    f.device = (struct rig_device){.rig = &f.rig, .scope = RIG_SCOPE, .id = "Dev-1", .tpm = f.tpm};
    rig_enroll(&f.rig, RIG_SCOPE, "Dev-1", f.tpm, NULL);
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

/* Which of the identity's keys signs with key: the check of the device's own hub. */
struct check {
    struct rig *rig;
    const char *hub, *device_id;
    const struct softtpm_opened *key;
    struct lk_device_check found;
    enum lk_err err;
};

static enum lk_err
check_run(struct lk_txn *tx, void *arg)
{
    struct check *c = arg;
    char resource[256], token[LK_SAS_MAX + 1];

    (void)snprintf(resource, sizeof(resource), "%s/devices/%s", c->hub, c->device_id);
    rig_sign(c->key, resource, c->rig->now_ms / 1000 + 60, NULL, token);
    c->err = lk_hub_check_device(c->rig->core, tx, c->hub, NULL, token, strlen(token),
                                 c->rig->now_ms, &c->found);
    return LK_OK;
}

static enum lk_err
hub_takes(struct rig *r, const char *hub, const struct softtpm_opened *key,
          enum lk_key_slot *ret_slot)
{
    struct check c = {.rig = r, .hub = hub, .device_id = "Dev-1", .key = key};

    rig_read(r, check_run, &c);
    *ret_slot = c.found.slot;
    return c.err;
}

static void
assert_slot(struct rig *r, const char *hub, const struct softtpm_opened *key, enum lk_key_slot slot)
{
    enum lk_key_slot found = 0;

    assert_int_equal(hub_takes(r, hub, key, &found), LK_OK);
    assert_int_equal(found, slot);
}

static void
assert_dead(struct rig *r, const char *hub, const struct softtpm_opened *key)
{
    enum lk_key_slot found;

    assert_int_equal(hub_takes(r, hub, key, &found), LK_ERR_REFUSED);
}

/* ---- one device -------------------------------------------------------------------------------
 */

/* From nothing to a hub key: every answer's members, and the key in the TPM is the identity's. */
static void
first_registration(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce, key;
    struct lk_registration r;

    rig_challenge(&f->device, &nonce);
    assert_string_equal(nonce.uri, RIG_SCOPE "/registrations/Dev-1");
    assert_int_equal(nonce.key_len, 32);
    assert_int_equal(rig_registration(&f->rig, "dev-1", &r), LK_ERR_NOT_FOUND);
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNING);
    assert_string_equal(a.state.registration_id, "Dev-1");
    assert_int_equal(strlen(a.state.operation_id), 55);
    assert_int_equal(a.state.auth_key.len, 0);
    (void)strcpy(f->device.operation_id, a.state.operation_id);

    rig_poll(&f->device, f->device.token, f->device.operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_INITIAL);
    assert_string_equal(a.state.registration_id, "Dev-1");
    assert_string_equal(a.state.device_id, "Dev-1");
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    assert_string_equal(a.state.operation_id, f->device.operation_id);
    assert_int_equal(a.state.created_ms, f->rig.now_ms);
    assert_true(a.state.etag[0] != '\0');
    assert_null(softtpm_open(f->tpm, a.state.auth_key.data, a.state.auth_key.len, &key));
    assert_string_equal(key.uri, RIG_HUB "/devices/Dev-1");
    assert_memory_not_equal(key.key, nonce.key, 32);
    assert_slot(&f->rig, RIG_HUB, &key, LK_KEY_PRIMARY);
}

/* Keys of every kind get there, also mixed. */
static void
every_kind_of_key(void **state)
{
    struct fixture *f = *state;
    static const char *const names[][2] = {{"ek_rsa2048", "srk_rsa2048"},
                                           {"ek_rsa3072", "srk_rsa3072"},
                                           {"ek_p384", "srk_p384"},
                                           {"ek_rsa2048", "srk_p256"}};

    for (size_t i = 0; i < LK_ARRAY_LEN(names); i++) {
        LK_AUTO(softtpm_key) struct softtpm_key *e = softtpm_key_from_vectors(names[i][0]);
        LK_AUTO(softtpm_key) struct softtpm_key *s = softtpm_key_from_vectors(names[i][1]);
        LK_AUTO(softtpm) struct softtpm *tpm = softtpm_new(e, s);
        RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
        struct rig_device d = {.rig = &f->rig, .scope = RIG_SCOPE, .id = "kind", .tpm = tpm};
        struct softtpm_opened key;

        rig_enroll(&f->rig, RIG_SCOPE, "kind", tpm, NULL);
        rig_provision(&d, &a, &key);
        assert_string_equal(a.state.device_id, "kind");
        rig_enrollment_delete(&f->rig, "kind");
    }
}

/* The audit says who got what, in the same transaction. */
static void
assignment_is_audited(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;
    char detail[512];

    rig_provision(&f->device, &a, &key);
    assert_int_equal(rig_audit_count(&f->rig, "registration.assigned", detail, sizeof(detail)), 1);
    assert_non_null(strstr(detail, a.state.operation_id));
    assert_non_null(strstr(detail, "\"hub\":\"" RIG_HUB "\""));
    assert_non_null(strstr(detail, "\"deviceId\":\"Dev-1\""));
    assert_non_null(strstr(detail, "\"substatus\":\"initialAssignment\""));
}

static void
device_id_set(struct lk_enrollment *e, void *arg)
{
    assert_int_equal(lk_strcpy(e->device_id, sizeof(e->device_id), arg), LK_OK);
}

/* A device id of the enrollment's own; ids in the path in any case. */
static void
device_id_of_the_enrollment(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char name[] = "Pump.7", *arg = name;
    struct softtpm_opened key;

    rig_enrollment_change(&f->rig, "Dev-1", device_id_set, arg);
    f->device.id = "DEV-1";
    rig_provision(&f->device, &a, &key);
    assert_string_equal(a.state.device_id, "Pump.7");
    assert_string_equal(a.state.registration_id, "DEV-1");
    assert_string_equal(key.uri, RIG_HUB "/devices/Pump.7");
}

/* Another device id for a device that has one: the identity under the old one is gone. */
static void
device_id_changed(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key, key2;
    char name[] = "Pump.7";
    struct lk_identity id;

    rig_provision(&f->device, &a, &key);
    rig_enrollment_change(&f->rig, "Dev-1", device_id_set, name);
    rig_provision(&f->device, &a, &key2);
    assert_string_equal(a.state.device_id, "Pump.7");
    assert_dead(&f->rig, RIG_HUB, &key);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "Dev-1", &id), LK_ERR_NOT_FOUND);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "Pump.7", &id), LK_OK);
}

/* Two EKs of one TPM, as different client stacks make them: one enrollment, one device. */
static void
two_accepted_eks(void **state)
{
    struct fixture *f = *state;
    LK_AUTO(softtpm) struct softtpm *other = softtpm_new(ek2, srk2);
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct rig_device first = {.rig = &f->rig, .scope = RIG_SCOPE, .id = "two", .tpm = other};
    struct softtpm_opened key;

    rig_enrollment_delete(&f->rig, "Dev-1");
    rig_enroll(&f->rig, RIG_SCOPE, "two", f->tpm, other);
    rig_provision(&first, &a, &key);
    first.tpm = f->tpm;
    rig_provision(&first, &a, &key);
    assert_string_equal(a.state.device_id, "two");
    assert_int_equal(a.state.substatus, LK_DPS_SUB_REPROVISIONED);
}

/* Tokens as the clients make them: no key name, an empty one, a lower-cased resource. */
static void
every_clients_token(void **state)
{
    struct fixture *f = *state;
    static const char *const key_names[] = {"registration", ""};
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce;
    char token[LK_SAS_MAX + 1];

    for (size_t i = 0; i < LK_ARRAY_LEN(key_names); i++) {
        f->device.key_name = key_names[i];
        rig_attest(&f->device);
    }
    rig_challenge(&f->device, &nonce);
    rig_sign(&nonce, RIG_SCOPE "/registrations/dev-1", f->rig.now_ms / 1000 + 30, NULL, token);
    rig_register(&f->device, token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
}

/* ---- again and again ---------------------------------------------------------------------------
 */

/* A second registration: same hub and device, another key; the first one stays as secondary. */
static void
registers_again(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false}, b = {.answered = false};
    struct softtpm_opened key, key2, key3;

    rig_provision(&f->device, &a, &key);
    rig_advance_s(&f->rig, 86400);
    rig_provision(&f->device, &b, &key2);
    assert_int_equal(b.state.substatus, LK_DPS_SUB_REPROVISIONED);
    assert_string_equal(b.state.device_id, a.state.device_id);
    assert_string_not_equal(b.state.operation_id, a.state.operation_id);
    assert_int_equal(b.state.created_ms, a.state.created_ms);
    assert_slot(&f->rig, RIG_HUB, &key2, LK_KEY_PRIMARY);
    assert_slot(&f->rig, RIG_HUB, &key, LK_KEY_SECONDARY);

    rig_provision(&f->device, &b, &key3);
    assert_slot(&f->rig, RIG_HUB, &key3, LK_KEY_PRIMARY);
    assert_slot(&f->rig, RIG_HUB, &key2, LK_KEY_SECONDARY);
    assert_dead(&f->rig, RIG_HUB, &key);
}

/* TPM2_Clear, a new owner: accepted without anybody's action, and the old key is dead at once. */
static void
cleared_tpm(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false}, b = {.answered = false};
    struct softtpm_opened key, key2;

    rig_provision(&f->device, &a, &key);
    softtpm_clear(f->tpm, srk2);
    assert_non_null(softtpm_open(f->tpm, a.state.auth_key.data, a.state.auth_key.len, &key2));
    rig_provision(&f->device, &b, &key2);
    assert_string_equal(b.state.device_id, a.state.device_id);
    assert_slot(&f->rig, RIG_HUB, &key2, LK_KEY_PRIMARY);
    assert_dead(&f->rig, RIG_HUB, &key);
}

/* The answer got lost: the same request within a minute is the same operation, and no other key. */
static void
same_request_again(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_registration r;
    int64_t retried = lk_metric_get(LK_M_REG_RETRIED);

    rig_attest(&f->device);
    rig_advance_s(&f->rig, 60);
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    assert_string_equal(a.state.operation_id, f->device.operation_id);
    assert_int_equal(lk_metric_get(LK_M_REG_RETRIED), retried + 1);
    f->device.without_keys = true;
    rig_register(&f->device, f->device.token, &a);
    assert_string_equal(a.state.operation_id, f->device.operation_id);
    assert_int_equal(rig_registration(&f->rig, "dev-1", &r), LK_OK);
    assert_int_equal(r.generation, 1);
    lk_registration_fini(&r);
    assert_int_equal(rig_audit_count(&f->rig, "registration.assigned", NULL, 0), 1);
}

/* Two connections carry the same request at once: one attests, both get its operation. */
static void
concurrent_second_legs(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false}, b = {.answered = false};
    struct softtpm_opened nonce;
    struct lk_registration r;

    rig_challenge(&f->device, &nonce);
    rig_hold(&f->rig);
    rig_register_begin(&f->device, f->device.token, &a);
    rig_register_begin(&f->device, f->device.token, &b);
    assert_false(a.answered || b.answered);
    rig_release(&f->rig);
    rig_wait(&f->rig, &a);
    rig_wait(&f->rig, &b);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    assert_int_equal(b.verdict, LK_REG_ACCEPTED);
    assert_string_equal(a.state.operation_id, b.state.operation_id);
    assert_int_equal(rig_registration(&f->rig, "dev-1", &r), LK_OK);
    assert_int_equal(r.generation, 1);
    lk_registration_fini(&r);
    assert_int_equal(rig_audit_count(&f->rig, "registration.assigned", NULL, 0), 1);
}

/* Two different tokens under one nonce key at once: the nonce is spent by one of them. */
static void
concurrent_tokens_of_one_nonce(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false}, b = {.answered = false};
    struct softtpm_opened nonce;
    char token[LK_SAS_MAX + 1], resource[256];

    rig_challenge(&f->device, &nonce);
    rig_sign(&nonce, rig_resource(&f->device, resource), f->rig.now_ms / 1000 + 99, NULL, token);
    rig_hold(&f->rig);
    rig_register_begin(&f->device, f->device.token, &a);
    rig_register_begin(&f->device, token, &b);
    rig_release(&f->rig);
    rig_wait(&f->rig, &a);
    rig_wait(&f->rig, &b);
    assert_int_equal((a.verdict == LK_REG_ACCEPTED) + (b.verdict == LK_REG_ACCEPTED), 1);
    assert_string_equal(a.verdict == LK_REG_ACCEPTED ? b.reason : a.reason, "token.replayed");
}

/* Two devices' challenges at once do not disturb each other; nor do two of one device. */
static void
challenges_side_by_side(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce, again;

    rig_challenge(&f->device, &nonce);
    rig_challenge(&f->device, &again);
    assert_memory_equal(nonce.key, again.key, 32);
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
}

/* ---- time and keys of ours ---------------------------------------------------------------------
 */

/* A token for a challenge of the previous epoch counts; two epochs back it does not. */
static void
challenge_lives_one_to_two_epochs(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce;

    rig_challenge(&f->device, &nonce);
    rig_advance_s(&f->rig, 2 * RIG_EPOCH_S);
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    assert_string_equal(a.reason, "token.signature");
    rig_challenge(&f->device, &nonce);
    rig_advance_s(&f->rig, 2 * RIG_EPOCH_S - 1);
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
}

/* Rotation between the legs, and long after: the token of the old key's challenge is good. */
static void
rotation_between_the_legs(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce, key;

    rig_challenge(&f->device, &nonce);
    rig_rotate(&f->rig);
    rig_advance_s(&f->rig, LK_KEYRING_GRACE_MS / 1000 + 1);
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    rig_poll(&f->device, f->device.token, a.state.operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    rig_provision(&f->device, &a, &key);
    rig_rotate(&f->rig);
    rig_poll(&f->device, f->device.token, f->device.operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    assert_slot(&f->rig, RIG_HUB, &key, LK_KEY_PRIMARY);
}

/* ---- without keys -------------------------------------------------------------------------------
 */

/* Rust's client repeats no keys: those of its challenge are remembered, or those of its record. */
static void
second_leg_without_keys(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;

    f->device.without_keys = true;
    rig_provision(&f->device, &a, &key);
    assert_slot(&f->rig, RIG_HUB, &key, LK_KEY_PRIMARY);
    softtpm_clear(f->tpm, srk2);
    rig_provision(&f->device, &a, &key);
    assert_slot(&f->rig, RIG_HUB, &key, LK_KEY_PRIMARY);
}

/* On an instance that did not make the challenge only a device on record can leave them out. */
static void
without_keys_elsewhere(void **state)
{
    struct fixture *f = *state;
    LK_AUTO(lk_srk_cache) struct lk_srk_cache *empty = NULL;
    struct lk_provision *here = f->rig.p, *elsewhere = NULL;
    struct lk_provision_config config = f->rig.config;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce;

    assert_int_equal(lk_srk_cache_new(&empty), LK_OK);
    config.srk_cache = empty;
    assert_int_equal(lk_provision_new(&config, &elsewhere), LK_OK);
    f->device.without_keys = true;
    rig_challenge(&f->device, &nonce);
    f->rig.p = elsewhere;
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    assert_string_equal(a.reason, "token.signature");
    rig_settle(&f->rig);
    f->rig.p = here;
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);

    rig_challenge(&f->device, &nonce);
    f->rig.p = elsewhere;
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    f->rig.p = here;
    lk_provision_free(elsewhere);
}

/* ---- the record ---------------------------------------------------------------------------------
 */

static enum lk_err
record_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_registration_delete(tx, RIG_SCOPE, "dev-1", NULL);
}

/* Deleting the record spends what is in flight, and brings no spent challenge back. */
static void
deleted_record(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce, key;
    char spent[LK_SAS_MAX + 1];

    rig_attest(&f->device);
    (void)strcpy(spent, f->device.token);
    rig_challenge(&f->device, &nonce);
    rig_write(&f->rig, record_delete_run, NULL);
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    rig_register(&f->device, spent, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    rig_poll(&f->device, spent, f->device.operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    rig_provision(&f->device, &a, &key);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_REPROVISIONED); /* the hub knows it */
}

/* ---- other hubs ---------------------------------------------------------------------------- */

static void
hub_set(struct lk_enrollment *e, void *arg)
{
    e->allocation = LK_ALLOC_STATIC;
    e->hubs_count = 1;
    assert_int_equal(lk_strcpy(e->hubs[0], sizeof(e->hubs[0]), arg), LK_OK);
}

static void
never_and_hub_set(struct lk_enrollment *e, void *arg)
{
    hub_set(e, arg);
    e->reprovision_update_hub = false;
}

static void
reset_and_hub_set(struct lk_enrollment *e, void *arg)
{
    hub_set(e, arg);
    e->reprovision_migrate = false;
}

/* The policy moves the device: the identity is made there and gone here. */
static void
moves_to_another_hub(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char other[] = RIG_OTHER_HUB, first[] = RIG_HUB;
    struct softtpm_opened key, key2;
    struct lk_identity id;

    rig_provision(&f->device, &a, &key);
    rig_hub_add(&f->rig, RIG_OTHER_HUB, LK_HUB_EMBEDDED);
    rig_enrollment_change(&f->rig, "Dev-1", hub_set, other);
    rig_provision(&f->device, &a, &key2);
    assert_string_equal(a.state.assigned_hub, RIG_OTHER_HUB);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_MIGRATED);
    assert_slot(&f->rig, RIG_OTHER_HUB, &key2, LK_KEY_PRIMARY);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "Dev-1", &id), LK_ERR_NOT_FOUND);
    rig_enrollment_change(&f->rig, "Dev-1", reset_and_hub_set, first);
    rig_provision(&f->device, &a, &key);
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_RESET);
}

/* With the policy "never" it stays where it is, and fails when that is gone. */
static void
stays_on_its_hub(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char other[] = RIG_OTHER_HUB;
    struct softtpm_opened key;

    rig_provision(&f->device, &a, &key);
    rig_hub_add(&f->rig, RIG_OTHER_HUB, LK_HUB_EMBEDDED);
    rig_enrollment_change(&f->rig, "Dev-1", never_and_hub_set, other);
    rig_provision(&f->device, &a, &key);
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    rig_hub_delete(&f->rig, RIG_HUB);
    rig_attest(&f->device);
    rig_poll(&f->device, f->device.token, f->device.operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_FAILED);
    assert_int_equal(a.state.error_code, LK_DPS_NO_HUB);
}

static void
migrate_chosen(struct lk_enrollment *e, void *arg)
{
    e->reprovision_chosen = true;
}

/*
 * A client that is older than reprovisioning stays where it is as long as nobody chose a policy; a
 * newer one moves, and so does the old one once somebody did.
 */
static void
old_clients_stay(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char other[] = RIG_OTHER_HUB, first[] = RIG_HUB;
    struct softtpm_opened key;

    f->rig.old_clients = true;
    rig_provision(&f->device, &a, &key);
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    rig_hub_add(&f->rig, RIG_OTHER_HUB, LK_HUB_EMBEDDED);
    rig_enrollment_change(&f->rig, "Dev-1", hub_set, other);
    rig_provision(&f->device, &a, &key);
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    f->rig.old_clients = false;
    rig_provision(&f->device, &a, &key);
    assert_string_equal(a.state.assigned_hub, RIG_OTHER_HUB);

    f->rig.old_clients = true;
    rig_enrollment_change(&f->rig, "Dev-1", hub_set, first);
    rig_enrollment_change(&f->rig, "Dev-1", migrate_chosen, NULL);
    rig_provision(&f->device, &a, &key);
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_MIGRATED);
}

/* No hub fits: the operation fails with a code, is audited, and works once there is a hub. */
static void
no_hub(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char other[] = RIG_OTHER_HUB, detail[512];
    struct softtpm_opened key;

    rig_enrollment_change(&f->rig, "Dev-1", hub_set, other);
    rig_attest(&f->device);
    rig_poll(&f->device, f->device.token, f->device.operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
    assert_int_equal(a.state.status, LK_DPS_FAILED);
    assert_int_equal(a.state.error_code, LK_DPS_NO_HUB);
    assert_true(a.state.error_message[0] != '\0');
    assert_int_equal(a.state.auth_key.len, 0);
    assert_string_equal(a.state.assigned_hub, "");
    assert_int_equal(rig_audit_count(&f->rig, "registration.failed", detail, sizeof(detail)), 1);
    assert_non_null(strstr(detail, "\"errorCode\":400208"));
    rig_hub_add(&f->rig, RIG_OTHER_HUB, LK_HUB_EMBEDDED);
    rig_provision(&f->device, &a, &key);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_INITIAL);
}

/* A hub of a kind that nobody serves is no hub. */
static void
hub_of_a_kind_not_served(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char other[] = RIG_OTHER_HUB;

    rig_hub_add(&f->rig, RIG_OTHER_HUB, LK_HUB_HTTP);
    rig_enrollment_change(&f->rig, "Dev-1", hub_set, other);
    rig_attest(&f->device);
    rig_poll(&f->device, f->device.token, f->device.operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_FAILED);
    assert_int_equal(a.state.error_code, LK_DPS_NO_HUB);
}

/* ---- changes between the legs -------------------------------------------------------------- */

/*
 * While the assignment waits for the writer, somebody changes the enrollment: the registration
 * starts over and goes by the new one.
 */
static void
enrollment_changed_under_way(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char name[] = "Pump.8";
    struct softtpm_opened nonce;

    rig_challenge(&f->device, &nonce);
    rig_enrollment_change(&f->rig, "Dev-1", device_id_set, name);
    rig_register(&f->device, f->device.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    rig_poll(&f->device, f->device.token, a.state.operation_id, &a);
    assert_string_equal(a.state.device_id, "Pump.8");
}

/* The first job in front of the assignment's own, which has read already. */
struct race {
    struct lk_job job;
    struct lk_enrollment e;
    bool done;
};

static enum lk_err
race_run(struct lk_txn *tx, void *arg)
{
    struct race *r = arg;

    return lk_txn_enrollment_replace(tx, &r->e, NULL, NULL);
}

static void
race_done(void *arg, enum lk_err err)
{
    struct race *r = arg;

    assert_int_equal(err, LK_OK);
    r->done = true;
}

static enum lk_err
race_read_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_enrollment_get(tx, RIG_SCOPE, "dev-1", arg);
}

static void
race_begin(struct fixture *f, struct race *r)
{
    lk_enrollment_init(&r->e);
    rig_read(&f->rig, race_read_run, &r->e);
    r->job = (struct lk_job){.run = race_run, .done = race_done, .arg = r};
}

/* It commits after the registration has read and before it writes. */
static void
race_with(struct fixture *f, struct race *race, struct rig_answer *ret)
{
    struct softtpm_opened nonce;

    rig_challenge(&f->device, &nonce);
    rig_hold(&f->rig);
    lk_store_write(f->rig.session, &race->job);
    rig_register_begin(&f->device, f->device.token, ret);
    rig_release(&f->rig);
    rig_wait(&f->rig, ret);
    assert_true(race->done);
    lk_enrollment_fini(&race->e);
}

/* Disabled in that moment: refused, and nothing of it remains. */
static void
disabled_under_way(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_registration r;
    struct lk_identity id;
    struct race race = {.done = false};

    race_begin(f, &race);
    race.e.enabled = false;
    race_with(f, &race, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    assert_string_equal(a.reason, "enrollment.disabled");
    assert_int_equal(rig_registration(&f->rig, "dev-1", &r), LK_ERR_NOT_FOUND);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "Dev-1", &id), LK_ERR_NOT_FOUND);
}

/* Another device id in that moment: the identity has the new one. */
static void
changed_under_way(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_identity id;
    struct race race = {.done = false};

    race_begin(f, &race);
    assert_int_equal(lk_strcpy(race.e.device_id, sizeof(race.e.device_id), "Pump.9"), LK_OK);
    race_with(f, &race, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "Pump.9", &id), LK_OK);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "Dev-1", &id), LK_ERR_NOT_FOUND);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(first_registration),
        CASE(every_kind_of_key),
        CASE(assignment_is_audited),
        CASE(device_id_of_the_enrollment),
        CASE(device_id_changed),
        CASE(two_accepted_eks),
        CASE(every_clients_token),
        CASE(registers_again),
        CASE(cleared_tpm),
        CASE(same_request_again),
        CASE(concurrent_second_legs),
        CASE(concurrent_tokens_of_one_nonce),
        CASE(challenges_side_by_side),
        CASE(challenge_lives_one_to_two_epochs),
        CASE(rotation_between_the_legs),
        CASE(second_leg_without_keys),
        CASE(without_keys_elsewhere),
        CASE(deleted_record),
        CASE(moves_to_another_hub),
        CASE(stays_on_its_hub),
        CASE(old_clients_stay),
        CASE(no_hub),
        CASE(hub_of_a_kind_not_served),
        CASE(enrollment_changed_under_way),
        CASE(disabled_under_way),
        CASE(changed_under_way),
    };
    int failed;

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    ek = softtpm_key_generate(SOFTTPM_P256);
    srk = softtpm_key_generate(SOFTTPM_P256);
    ek2 = softtpm_key_generate(SOFTTPM_P256);
    srk2 = softtpm_key_generate(SOFTTPM_P256);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    softtpm_key_free(ek);
    softtpm_key_free(srk);
    softtpm_key_free(ek2);
    softtpm_key_free(srk2);
    return failed;
}
