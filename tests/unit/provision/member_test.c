/*
 * Tests of src/provision/member.c: devices that prove themselves with a shared key, of their own
 * enrollment or derived from a group's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "provision/shared_key.h"
#include "support/rig.h"

static struct softtpm_key *ek, *srk;

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

static struct lk_shared_key
key_of(uint8_t byte)
{
    struct lk_shared_key k = {.len = 32};

    memset(k.data, byte, k.len);
    return k;
}

/* An enrollment or group with the keys of two bytes, 32 of each; made, or replaced. */
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

static void
put_done(void *arg, enum lk_err err)
{
    assert_int_equal(err, LK_OK);
}

static void
put(struct rig *r, bool is_group, const char *id, uint8_t primary, uint8_t secondary, bool enabled)
{
    struct put p = {.is_group = is_group};
    struct lk_shared_keys keys = {key_of(primary), key_of(secondary)};

    lk_enrollment_init(&p.e);
    (void)strcpy(p.e.scope, RIG_SCOPE);
    (void)strcpy(p.e.id, id);
    p.e.enabled = enabled;
    assert_int_equal(lk_shared_keys_seal(r->ring, &lk_rand_system,
                                         is_group ? LK_KEYS_OF_GROUP : LK_KEYS_OF_ENROLLMENT, &keys,
                                         &p.e),
                     LK_OK);
    rig_write(r, put_run, &p);
    lk_enrollment_fini(&p.e);
}

static enum lk_err
group_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_group_delete(tx, RIG_SCOPE, arg, NULL);
}

static void
group_delete(struct rig *r, const char *id)
{
    char copy[LK_REGISTRATION_ID_MAX + 1];

    (void)strcpy(copy, id);
    rig_write(r, group_delete_run, copy);
}

/* ---- the device's side -------------------------------------------------------------------------
 */

static void
sign_for(const struct lk_shared_key *key, const char *resource, int64_t expiry_s,
         const char *key_name, char ret[LK_SAS_MAX + 1])
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, token = LK_BUF_INIT;
    uint8_t sig[LK_SAS_SIG_LEN];

    assert_int_equal(lk_sas_string_to_sign(resource, (uint64_t)expiry_s, &text), LK_OK);
    assert_int_equal(lk_hmac(LK_SHA256, key->data, key->len, &LK_PART(text.data, text.len), 1, sig),
                     LK_OK);
    assert_int_equal(lk_sas_format(resource, (uint64_t)expiry_s, sig, key_name, &token), LK_OK);
    assert_int_equal(lk_strcpy(ret, LK_SAS_MAX + 1, lk_buf_text(&token)), LK_OK);
}

static void
sign_until(const struct lk_shared_key *key, const char *resource, int64_t expiry_s,
           char ret[LK_SAS_MAX + 1])
{
    sign_for(key, resource, expiry_s, "registration", ret);
}

/* A token of an hour's life for the registration id. */
static const char *
sign(struct rig *r, const struct lk_shared_key *key, const char *id, char ret[LK_SAS_MAX + 1])
{
    char resource[256];

    (void)snprintf(resource, sizeof(resource), "%s/registrations/%s", RIG_SCOPE, id);
    sign_until(key, resource, r->now_ms / 1000 + 3600, ret);
    return ret;
}

static const char *
sign_by(struct rig *r, uint8_t byte, const char *id, char ret[LK_SAS_MAX + 1])
{
    struct lk_shared_key key = key_of(byte);

    return sign(r, &key, id, ret);
}

static const char *
sign_derived(struct rig *r, uint8_t group, const char *id, char ret[LK_SAS_MAX + 1])
{
    struct lk_shared_key key = key_of(group), derived;

    assert_int_equal(lk_shared_key_derive(&key, id, &derived), LK_OK);
    return sign(r, &derived, id, ret);
}

static void
send(struct rig *r, const char *id, const char *token, struct rig_answer *ret)
{
    struct lk_dps_register body = LK_DPS_REGISTER_INIT;

    rig_register_body(r, RIG_SCOPE, id, token, &body, ret);
}

static void
assert_refused(struct rig *r, const char *id, const char *token, const char *reason)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    send(r, id, token, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    assert_string_equal(a.reason, reason);
    assert_int_equal(a.auth_key.len, 0);
}

static void
poll_with(struct rig *r, const char *id, const char *token, const char *operation_id,
          struct rig_answer *ret)
{
    struct rig_device d = {.rig = r, .scope = RIG_SCOPE, .id = id};

    rig_poll(&d, token, operation_id, ret);
}

/* Register and poll: must be assigned. */
static void
provision(struct rig *r, const char *id, const char *token, struct rig_answer *ret)
{
    char operation_id[LK_OPERATION_ID_MAX + 1];

    send(r, id, token, ret);
    if (ret->verdict != LK_REG_ACCEPTED) {
        fail_msg("not accepted: %s", ret->reason);
    }
    (void)strcpy(operation_id, ret->state.operation_id);
    poll_with(r, id, token, operation_id, ret);
    assert_int_equal(ret->verdict, LK_REG_STATE);
    assert_int_equal(ret->state.status, LK_DPS_ASSIGNED);
    assert_int_equal(ret->state.auth_key.len, 0);
}

/* What the hub says of a token under key: the slot, 0 when it is refused. */
struct hub_check {
    struct rig *r;
    const char *device_id;
    const struct lk_shared_key *key;
    int slot;
};

static enum lk_err
hub_check_run(struct lk_txn *tx, void *arg)
{
    struct hub_check *c = arg;
    struct lk_device_check found;
    char resource[256], token[LK_SAS_MAX + 1];
    enum lk_err err;

    (void)snprintf(resource, sizeof(resource), "%s/devices/%s", RIG_HUB, c->device_id);
    sign_for(c->key, resource, c->r->now_ms / 1000 + 60, NULL, token);
    err = lk_hub_check_device(c->r->core, tx, RIG_HUB, NULL, token, strlen(token), c->r->now_ms,
                              &found);
    assert_false(err == LK_OK && found.retire_secondary);
    c->slot = err == LK_OK ? (int)found.slot : 0;
    return LK_OK;
}

static int
hub_slot(struct rig *r, const char *device_id, const struct lk_shared_key *key)
{
    struct hub_check c = {r, device_id, key, -1};

    rig_read(r, hub_check_run, &c);
    return c.slot;
}

static int
hub_slot_by(struct rig *r, const char *device_id, uint8_t byte)
{
    struct lk_shared_key key = key_of(byte);

    return hub_slot(r, device_id, &key);
}

/* ---- enrollments of their own ------------------------------------------------------------------
 */

/* One leg to the hub, where the enrollment's two keys are the identity's; the record says how. */
static void
first_registration(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char token[LK_SAS_MAX + 1];
    struct lk_registration record;

    put(r, false, "Sensor-1", 1, 2, true);
    provision(r, "Sensor-1", sign_by(r, 1, "Sensor-1", token), &a);
    assert_string_equal(a.state.registration_id, "Sensor-1");
    assert_string_equal(a.state.device_id, "Sensor-1");
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_INITIAL);
    assert_int_equal(hub_slot_by(r, "Sensor-1", 1), LK_KEY_PRIMARY);
    assert_int_equal(hub_slot_by(r, "Sensor-1", 2), LK_KEY_SECONDARY);
    assert_int_equal(hub_slot_by(r, "Sensor-1", 3), 0);
    assert_int_equal(rig_registration(r, "sensor-1", &record), LK_OK);
    assert_int_equal(record.attestation, LK_ATTESTATION_SYMMETRIC_KEY);
    assert_string_equal(record.group, "");
    assert_int_equal(record.auth_key_len, 0);
    assert_int_equal(record.generation, 1);
    lk_registration_fini(&record);
}

/* The secondary key is as good; a roll of the primary ends the old one and reaches the hub with the
 * next registration. */
static void
secondary_key_and_a_roll(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char token[LK_SAS_MAX + 1];

    put(r, false, "s", 1, 2, true);
    provision(r, "s", sign_by(r, 2, "s", token), &a);
    put(r, false, "s", 3, 2, true);
    assert_refused(r, "s", sign_by(r, 1, "s", token), "token.signature");
    assert_int_equal(hub_slot_by(r, "s", 1), LK_KEY_PRIMARY);
    rig_advance_s(r, 1);
    provision(r, "S", sign_by(r, 3, "S", token), &a);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_REPROVISIONED);
    assert_string_equal(a.state.device_id, "s");
    assert_int_equal(hub_slot_by(r, "s", 1), 0);
    assert_int_equal(hub_slot_by(r, "s", 3), LK_KEY_PRIMARY);
    assert_int_equal(hub_slot_by(r, "s", 2), LK_KEY_SECONDARY);
}

/* A foreign key, one under another id, an old token, another resource, no token, disabled. */
static void
refusals(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char token[LK_SAS_MAX + 1];
    struct lk_shared_key key = key_of(1);
    bool enabled = false;

    put(r, false, "s", 1, 2, true);
    put(r, false, "t", 4, 5, true);
    assert_refused(r, "s", sign_by(r, 3, "s", token), "token.signature");
    assert_refused(r, "s", sign_by(r, 4, "s", token), "token.signature");
    assert_refused(r, "t", sign_by(r, 1, "s", token), "token.resource");
    assert_refused(r, "unknown", sign_by(r, 1, "unknown", token), "enrollment.unknown");
    sign_until(&key, RIG_SCOPE "/registrations/s", r->now_ms / 1000 - 1, token);
    assert_refused(r, "s", token, "token.expired");
    assert_refused(r, "s", "", "token.malformed");
    send(r, "s", NULL, &a);
    assert_int_equal(a.verdict, LK_REG_BAD);
    rig_enrollment_change(r, "s", rig_enrollment_set_enabled, &enabled);
    assert_refused(r, "s", sign_by(r, 1, "s", token), "enrollment.disabled");
    assert_refused(r, "s", sign_by(r, 3, "s", token), "enrollment.disabled");
    rig_enrollment_delete(r, "s");
    assert_refused(r, "s", sign_by(r, 1, "s", token), "enrollment.unknown");
}

/* Sealed keys that cannot be opened are our fault, not the device's. */
static void
damaged_keys(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct put p = {.is_group = false};
    char token[LK_SAS_MAX + 1];

    lk_enrollment_init(&p.e);
    (void)strcpy(p.e.scope, RIG_SCOPE);
    (void)strcpy(p.e.id, "s");
    p.e.attestation = LK_ATTESTATION_SYMMETRIC_KEY;
    assert_int_equal(lk_buf_puts(&p.e.sealed_keys, "0123456789"), LK_OK);
    rig_write(r, put_run, &p);
    lk_enrollment_fini(&p.e);
    send(r, "s", sign_by(r, 1, "s", token), &a);
    assert_int_equal(a.verdict, LK_REG_ERROR);
}

/* Each kind of enrollment takes its own evidence only. */
static void
other_evidence(void **state)
{
    struct rig *r = *state;
    LK_AUTO(softtpm) struct softtpm *tpm = softtpm_new(ek, srk);
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct rig_device d = {.rig = r, .scope = RIG_SCOPE, .id = "s", .tpm = tpm};
    char token[LK_SAS_MAX + 1];

    put(r, false, "s", 1, 2, true);
    rig_register(&d, NULL, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    assert_string_equal(a.reason, "enrollment.other_attestation");
    rig_register(&d, sign_by(r, 1, "s", token), &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    assert_string_equal(a.reason, "enrollment.other_attestation");
    rig_enroll(r, RIG_SCOPE, "tpm", tpm, NULL);
    put(r, true, "group", 7, 8, true);
    assert_refused(r, "tpm", sign_derived(r, 7, "tpm", token), "token.signature");
}

/* From a TPM to a key under the same id: the key that was in the TPM is dead at the hub. */
static void
tpm_device_turns_to_a_key(void **state)
{
    struct rig *r = *state;
    LK_AUTO(softtpm) struct softtpm *tpm = softtpm_new(ek, srk);
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct rig_device d = {.rig = r, .scope = RIG_SCOPE, .id = "s", .tpm = tpm};
    struct softtpm_opened opened;
    struct lk_shared_key old = {.len = 32};
    char token[LK_SAS_MAX + 1];

    rig_enroll(r, RIG_SCOPE, "s", tpm, NULL);
    rig_provision(&d, &a, &opened);
    memcpy(old.data, opened.key, 32);
    assert_int_equal(hub_slot(r, "s", &old), LK_KEY_PRIMARY);
    rig_enrollment_delete(r, "s");
    put(r, false, "s", 1, 2, true);
    poll_with(r, "s", d.token, d.operation_id, &a); /* its record is still the TPM's */
    assert_int_equal(a.verdict, LK_REG_STATE);
    assert_int_equal(a.state.status, LK_DPS_DISABLED);
    provision(r, "s", sign_by(r, 1, "s", token), &a);
    assert_int_equal(hub_slot(r, "s", &old), 0);
    assert_int_equal(hub_slot_by(r, "s", 1), LK_KEY_PRIMARY);
}

static enum lk_err
registration_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_registration_delete(tx, RIG_SCOPE, arg, NULL);
}

/* A group's secret does not take the place of a TPM, whose registration outlives its enrollment:
 * not before the operator has deleted it. */
static void
id_of_a_tpm(void **state)
{
    struct rig *r = *state;
    LK_AUTO(softtpm) struct softtpm *tpm = softtpm_new(ek, srk);
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    RIG_AUTO_ANSWER struct rig_answer b = {.answered = false};
    struct rig_device d = {.rig = r, .scope = RIG_SCOPE, .id = "gate", .tpm = tpm};
    struct lk_registration record;
    char token[LK_SAS_MAX + 1], id[] = "gate";

    put(r, true, "fleet", 7, 8, true);
    rig_enroll(r, RIG_SCOPE, "gate", tpm, NULL);
    rig_attest(&d);
    rig_enrollment_delete(r, "gate");
    assert_refused(r, "Gate", sign_derived(r, 7, "Gate", token), "group.id_registered");
    assert_refused(r, "gate", sign_derived(r, 9, "gate", token), "enrollment.unknown");
    assert_int_equal(rig_registration(r, "gate", &record), LK_OK);
    assert_int_equal(record.attestation, LK_ATTESTATION_TPM);
    assert_int_equal(record.generation, 1);
    lk_registration_fini(&record);
    rig_write(r, registration_delete_run, id);
    provision(r, "gate", sign_derived(r, 7, "gate", token), &a);
    provision(r, "gate", sign_derived(r, 8, "gate", token), &b);
}

/* ---- time --------------------------------------------------------------------------------------
 */

/* A token registers again until it expires: the same request within a minute is the same operation,
 * unless the enrollment was changed in between; later it is a new one. */
static void
the_same_token_again(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false}, b = {.answered = false};
    char token[LK_SAS_MAX + 1];

    put(r, false, "s", 1, 2, true);
    send(r, "s", sign_by(r, 1, "s", token), &a);
    rig_advance_s(r, 60);
    send(r, "s", token, &b);
    assert_int_equal(b.verdict, LK_REG_ACCEPTED);
    assert_string_equal(a.state.operation_id, b.state.operation_id);
    put(r, false, "s", 1, 3, true);
    send(r, "s", token, &b);
    assert_string_not_equal(a.state.operation_id, b.state.operation_id);
    assert_int_equal(hub_slot_by(r, "s", 3), LK_KEY_SECONDARY);
    rig_advance_s(r, 3600 - 60);
    send(r, "s", token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    assert_string_not_equal(a.state.operation_id, b.state.operation_id);
    rig_advance_s(r, 1);
    assert_refused(r, "s", token, "token.expired");
    assert_int_equal(rig_audit_count(r, "registration.assigned", NULL, 0), 3);
}

/* A failed registration is tried anew by the same token at once. */
static void
failure_is_not_repeated(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char token[LK_SAS_MAX + 1], operation_id[LK_OPERATION_ID_MAX + 1];

    put(r, false, "s", 1, 2, true);
    rig_hub_delete(r, RIG_HUB);
    send(r, "s", sign_by(r, 1, "s", token), &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    (void)strcpy(operation_id, a.state.operation_id);
    poll_with(r, "s", token, operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_FAILED);
    rig_hub_add(r, RIG_HUB, LK_HUB_EMBEDDED);
    provision(r, "s", token, &a);
}

/* Polls: any token of the device; an expired one only if it is the one that registered, and for
 * some minutes; nobody else's; not once the keys are gone. */
static void
polls(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_shared_key key = key_of(1);
    char brief[LK_SAS_MAX + 1], other[LK_SAS_MAX + 1], token[LK_SAS_MAX + 1];
    char operation_id[LK_OPERATION_ID_MAX + 1];
    bool enabled = false;

    put(r, false, "s", 1, 2, true);
    sign_until(&key, RIG_SCOPE "/registrations/s", r->now_ms / 1000 + 30, brief);
    sign_until(&key, RIG_SCOPE "/registrations/s", r->now_ms / 1000 + 31, other);
    send(r, "s", brief, &a);
    (void)strcpy(operation_id, a.state.operation_id);
    poll_with(r, "s", sign_by(r, 2, "s", token), operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    poll_with(r, "s", token, "1.0.0", &a);
    assert_int_equal(a.verdict, LK_REG_UNKNOWN);
    poll_with(r, "s", sign_by(r, 3, "s", token), operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    assert_string_equal(a.reason, "token.signature");
    rig_advance_s(r, 32);
    poll_with(r, "s", brief, operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
    poll_with(r, "s", other, operation_id, &a);
    assert_string_equal(a.reason, "token.expired");
    rig_advance_s(r, 600);
    poll_with(r, "s", brief, operation_id, &a);
    assert_string_equal(a.reason, "token.expired");
    rig_enrollment_change(r, "s", rig_enrollment_set_enabled, &enabled);
    poll_with(r, "s", sign_by(r, 1, "s", token), operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_DISABLED);
    assert_string_equal(a.state.assigned_hub, "");
    rig_enrollment_delete(r, "s");
    poll_with(r, "s", token, operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
}

/* The state of the registration, for the device's key only. */
static void
lookup(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    LK_AUTO(softtpm) struct softtpm *tpm = softtpm_new(ek, srk);
    struct rig_device d = {
        .rig = r, .scope = RIG_SCOPE, .id = "s", .tpm = tpm, .without_keys = true};
    char token[LK_SAS_MAX + 1];

    put(r, false, "s", 1, 2, true);
    rig_lookup(&d, sign_by(r, 1, "s", token), &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    provision(r, "s", token, &a);
    rig_lookup(&d, token, &a);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    rig_lookup(&d, sign_by(r, 9, "s", token), &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
}

/* ---- groups ------------------------------------------------------------------------------------
 */

/* The group's key derived for the id, primary or secondary; the derived keys are the hub's too. */
static void
group_registration(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_shared_key group = key_of(7), other = key_of(8), first, second;
    char token[LK_SAS_MAX + 1], detail[512];
    struct lk_registration record;

    put(r, true, "Fleet-A", 7, 8, true);
    provision(r, "Pump-9", sign_derived(r, 7, "Pump-9", token), &a);
    assert_string_equal(a.state.device_id, "Pump-9");
    assert_int_equal(lk_shared_key_derive(&group, "pump-9", &first), LK_OK);
    assert_int_equal(lk_shared_key_derive(&other, "pump-9", &second), LK_OK);
    assert_int_equal(hub_slot(r, "Pump-9", &first), LK_KEY_PRIMARY);
    assert_int_equal(hub_slot(r, "Pump-9", &second), LK_KEY_SECONDARY);
    assert_int_equal(hub_slot(r, "Pump-9", &group), 0);
    assert_int_equal(rig_registration(r, "pump-9", &record), LK_OK);
    assert_string_equal(record.group, "Fleet-A");
    assert_int_equal(record.attestation, LK_ATTESTATION_SYMMETRIC_KEY);
    lk_registration_fini(&record);
    assert_int_equal(rig_audit_count(r, "registration.assigned", detail, sizeof(detail)), 1);
    assert_non_null(strstr(detail, "\"group\":\"Fleet-A\""));

    /* in another spelling it is the same device */
    provision(r, "PUMP-9", sign_derived(r, 8, "PUMP-9", token), &a);
    assert_string_equal(a.state.device_id, "Pump-9");
    assert_int_equal(a.state.substatus, LK_DPS_SUB_REPROVISIONED);
}

/* The group's own key, one derived for another id or from another key, a disabled group. */
static void
group_refusals(void **state)
{
    struct rig *r = *state;
    struct lk_shared_key group = key_of(7), derived;
    char token[LK_SAS_MAX + 1];

    put(r, true, "fleet", 7, 8, true);
    assert_refused(r, "p", sign_by(r, 7, "p", token), "group.none_fits");
    assert_refused(r, "p", sign_derived(r, 9, "p", token), "group.none_fits");
    assert_int_equal(lk_shared_key_derive(&group, "q", &derived), LK_OK);
    assert_refused(r, "p", sign(r, &derived, "p", token), "group.none_fits");
    put(r, true, "fleet", 7, 8, false);
    assert_refused(r, "p", sign_derived(r, 7, "p", token), "group.disabled");
    group_delete(r, "fleet");
    assert_refused(r, "p", sign_derived(r, 7, "p", token), "enrollment.unknown");
}

/* One member is shut out by an enrollment of its own that is disabled; one with another key takes
 * it out of the group. */
static void
own_enrollment_comes_first(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char token[LK_SAS_MAX + 1];
    struct lk_registration record;

    put(r, true, "fleet", 7, 8, true);
    put(r, false, "p", 1, 2, false);
    assert_refused(r, "p", sign_derived(r, 7, "p", token), "enrollment.disabled");
    put(r, false, "p", 1, 2, true);
    assert_refused(r, "p", sign_derived(r, 7, "p", token), "token.signature");
    provision(r, "p", sign_by(r, 1, "p", token), &a);
    assert_int_equal(rig_registration(r, "p", &record), LK_OK);
    assert_string_equal(record.group, "");
    lk_registration_fini(&record);
    rig_enrollment_delete(r, "p");
    provision(r, "p", sign_derived(r, 7, "p", token), &a);
}

/* Two groups with the same key: an enabled one admits, whichever comes first. */
static void
two_groups_that_fit(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char token[LK_SAS_MAX + 1];
    struct lk_registration record;

    put(r, true, "a", 7, 8, false);
    put(r, true, "b", 9, 7, true);
    put(r, true, "c", 7, 8, true);
    provision(r, "p", sign_derived(r, 7, "p", token), &a);
    assert_int_equal(rig_registration(r, "p", &record), LK_OK);
    assert_string_equal(record.group, "b");
    lk_registration_fini(&record);
}

/* A group whose keys cannot be opened keeps out its own devices only. */
static void
damaged_group(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct put p = {.is_group = true};
    char token[LK_SAS_MAX + 1];

    lk_enrollment_init(&p.e);
    (void)strcpy(p.e.scope, RIG_SCOPE);
    (void)strcpy(p.e.id, "a");
    p.e.attestation = LK_ATTESTATION_SYMMETRIC_KEY;
    assert_int_equal(lk_buf_puts(&p.e.sealed_keys, "0123456789"), LK_OK);
    rig_write(r, put_run, &p);
    lk_enrollment_fini(&p.e);
    put(r, true, "b", 7, 8, true);
    put(r, false, "own", 1, 2, true);
    provision(r, "p", sign_derived(r, 7, "p", token), &a);
    provision(r, "own", sign_by(r, 1, "own", token), &a);
    send(r, "q", sign_derived(r, 9, "q", token), &a);
    assert_int_equal(a.verdict, LK_REG_ERROR);
}

/* Polls of a member go by its group: a roll of both keys, a disabled group, a deleted one. */
static void
group_polls(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char token[LK_SAS_MAX + 1], operation_id[LK_OPERATION_ID_MAX + 1];

    put(r, true, "fleet", 7, 8, true);
    put(r, true, "other", 5, 6, true);
    send(r, "p", sign_derived(r, 7, "p", token), &a);
    (void)strcpy(operation_id, a.state.operation_id);
    poll_with(r, "p", sign_derived(r, 5, "p", token), operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    put(r, true, "fleet", 7, 8, false);
    poll_with(r, "p", sign_derived(r, 8, "p", token), operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_DISABLED);
    put(r, true, "fleet", 7, 3, true);
    poll_with(r, "p", token, operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    poll_with(r, "p", sign_derived(r, 3, "p", token), operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    group_delete(r, "fleet");
    poll_with(r, "p", token, operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
}

/* The group changes, or the device gets an enrollment, while the registration waits for the
 * store: it is judged again. */
static void
changes_under_way(void **state)
{
    struct rig *r = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct rig_device d = {.rig = r, .scope = RIG_SCOPE, .id = "p", .without_keys = true};
    LK_AUTO(softtpm) struct softtpm *tpm = softtpm_new(ek, srk);
    struct put p = {.is_group = false};
    char token[LK_SAS_MAX + 1];
    struct lk_shared_keys keys = {key_of(1), key_of(2)};
    struct lk_job job = {.run = put_run, .done = put_done, .arg = &p};

    d.tpm = tpm;
    put(r, true, "fleet", 7, 8, true);
    lk_enrollment_init(&p.e);
    (void)strcpy(p.e.scope, RIG_SCOPE);
    (void)strcpy(p.e.id, "p");
    p.e.enabled = false;
    assert_int_equal(
        lk_shared_keys_seal(r->ring, &lk_rand_system, LK_KEYS_OF_ENROLLMENT, &keys, &p.e), LK_OK);
    rig_hold(r);
    lk_store_write(r->session, &job);
    rig_register_begin(&d, sign_derived(r, 7, "p", token), &a);
    rig_release(r);
    rig_wait(r, &a);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
    assert_string_equal(a.reason, "enrollment.disabled");
    lk_enrollment_fini(&p.e);
}

static int
keys_make(void **state)
{
    assert_int_equal(lk_crypto_init(), LK_OK);
    ek = softtpm_key_from_vectors("ek_rsa2048");
    srk = softtpm_key_from_vectors("srk_rsa2048");
    return 0;
}

static int
keys_drop(void **state)
{
    softtpm_key_free(ek);
    softtpm_key_free(srk);
    return 0;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE(first_registration),
        CASE(secondary_key_and_a_roll),
        CASE(refusals),
        CASE(damaged_keys),
        CASE(other_evidence),
        CASE(tpm_device_turns_to_a_key),
        CASE(id_of_a_tpm),
        CASE(the_same_token_again),
        CASE(failure_is_not_repeated),
        CASE(polls),
        CASE(lookup),
        CASE(group_registration),
        CASE(group_refusals),
        CASE(own_enrollment_comes_first),
        CASE(two_groups_that_fit),
        CASE(damaged_group),
        CASE(group_polls),
        CASE(changes_under_way),
    };

    return cmocka_run_group_tests(tests, keys_make, keys_drop);
}
