/*
 * Tests of src/hub: identities as provisioning makes them, and the check of a device's token, with
 * a real store. The tokens are those of iot-hub.md section 4.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/rig.h"

#define EXPIRY_S INT64_C(1893456000)
#define SIGNED_ENCODED "nvUaR89G2PT8vvnvgekpGwinH62Crp2zeP%2F7Sb%2FdVL8%3D"
#define SIGNED_RAW "oB42cwV%2FBvr7QqfyBd6xFEysF0axOlye4Me23B3C0Ww%3D"
#define ENCODED_SR "sr=hub.example.test%2Fdevices%2FDev-1"
#define RAW_SR "sr=hub.example.test/devices/Dev-1"
#define SE "&se=1893456000"
#define SCHEME "SharedAccessSignature "

static struct softtpm_opened key_k, key_other; /* 32 bytes of 'k' as in the vectors; of 'o' */

/* ---- what provisioning does -------------------------------------------------------------------
 */

struct assign {
    struct rig *rig;
    struct lk_hub_assign a;
    struct lk_hub hub;
    bool existed;
};

static enum lk_err
assign_run(struct lk_txn *tx, void *arg)
{
    struct assign *s = arg;
    struct lk_hub_link link = lk_hub_core_link(s->rig->core);

    s->a.hub = &s->hub;
    return link.ops->assign_in_txn(link.ctx, tx, &s->a, &s->existed);
}

/* Returns whether the hub knew the device. */
static bool
assign(struct rig *r, const char *device_id, const struct softtpm_opened *key, bool keep)
{
    struct assign s = {.rig = r,
                       .a = {.device_id = device_id,
                             .owner = {RIG_SCOPE, device_id},
                             .key = key->key,
                             .key_len = key->key_len,
                             .keep_old_key = keep},
                       .hub = {.name = RIG_HUB, .kind = LK_HUB_EMBEDDED}};

    rig_write(r, assign_run, &s);
    return s.existed;
}

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    struct rig *r = arg;
    struct lk_hub_link link = lk_hub_core_link(r->core);
    const struct lk_hub hub = {.name = RIG_HUB};
    const struct lk_hub_owner owner = {RIG_SCOPE, "Dev-1"};

    return link.ops->remove_in_txn(link.ctx, tx, &hub, "Dev-1", &owner);
}

static enum lk_err
identity_put_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_identity_put(tx, arg, NULL);
}

/* ---- checks ------------------------------------------------------------------------------------
 */

struct check {
    struct rig *rig;
    const char *hub, *id, *token;
    struct lk_device_check *ret;
    enum lk_err err;
};

static enum lk_err
check_run(struct lk_txn *tx, void *arg)
{
    struct check *c = arg;

    c->err = lk_hub_check_device(c->rig->core, tx, c->hub, c->id, c->token, strlen(c->token),
                                 c->rig->now_ms, c->ret);
    return LK_OK;
}

static enum lk_err
check(struct rig *r, const char *token, struct lk_device_check *ret)
{
    struct check c = {.rig = r, .hub = RIG_HUB, .token = token, .ret = ret};

    memset(ret, 0xa5, sizeof(*ret));
    rig_read(r, check_run, &c);
    return c.err;
}

static void
assert_refused(struct rig *r, const char *token, const char *reason)
{
    struct lk_device_check found;

    assert_int_equal(check(r, token, &found), LK_ERR_REFUSED);
    assert_string_equal(found.reason, reason);
    assert_false(found.retire_secondary);
}

static void
assert_taken(struct rig *r, const char *token, enum lk_key_slot slot)
{
    struct lk_device_check found;

    assert_int_equal(check(r, token, &found), LK_OK);
    assert_string_equal(found.device_id, "Dev-1");
    assert_int_equal(found.slot, slot);
}

static const char *
token_of(const struct softtpm_opened *key, const char *resource, const char *key_name)
{
    static char token[LK_SAS_MAX + 1];

    rig_sign(key, resource, EXPIRY_S, key_name, token);
    return token;
}

/* Every way to spell the resource: encoded, plain, and encoded but signed over the plain text. */
static void
tokens_of_every_client(void **state)
{
    struct rig *r = *state;
    struct lk_device_check found;

    assert_false(assign(r, "Dev-1", &key_k, true));
    assert_taken(r, SCHEME ENCODED_SR "&sig=" SIGNED_ENCODED SE, LK_KEY_PRIMARY);
    assert_taken(r, SCHEME RAW_SR "&sig=" SIGNED_RAW SE, LK_KEY_PRIMARY);
    assert_taken(r, SCHEME ENCODED_SR "&sig=" SIGNED_RAW SE, LK_KEY_PRIMARY);
    assert_refused(r, SCHEME RAW_SR "&sig=" SIGNED_ENCODED SE, "token.signature");
    assert_taken(r, SCHEME RAW_SR "&sig=" SIGNED_RAW SE "&skn=", LK_KEY_PRIMARY);
    assert_taken(r, SCHEME RAW_SR "&sig=" SIGNED_RAW SE "&skn=Dev-1", LK_KEY_PRIMARY);
    assert_refused(r, SCHEME RAW_SR "&sig=" SIGNED_RAW SE "&skn=device", "policy.unknown");
    assert_int_equal(check(r, SCHEME RAW_SR "&sig=" SIGNED_RAW SE, &found), LK_OK);
    assert_int_equal(found.expiry_unix_s, EXPIRY_S);
    assert_false(found.retire_secondary);
}

/* The host in any case and with its port; the device id as it is; no more and no less than that. */
static void
resource_names_the_device(void **state)
{
    struct rig *r = *state;
    static const char *const wrong[] = {"hub2.example.test/devices/Dev-1",
                                        "hub.example.test.evil/devices/Dev-1",
                                        "hub.example.test",
                                        "hub.example.test/devices",
                                        "hub.example.test/devices/",
                                        "hub.example.test/devices/Dev-1/modules/m",
                                        "hub.example.test/devices/Dev-1/",
                                        "hub.example.test/Devices/Dev-1",
                                        "hub.example.test:/devices/Dev-1",
                                        "hub.example.test:123456/devices/Dev-1",
                                        "hub.example.test:88x3/devices/Dev-1",
                                        "/devices/Dev-1"};

    (void)assign(r, "Dev-1", &key_k, true);
    assert_taken(r, token_of(&key_k, "HUB.Example.test/devices/Dev-1", NULL), LK_KEY_PRIMARY);
    assert_taken(r, token_of(&key_k, "hub.example.test:8883/devices/Dev-1", NULL), LK_KEY_PRIMARY);
    for (size_t i = 0; i < LK_ARRAY_LEN(wrong); i++) {
        assert_refused(r, token_of(&key_k, wrong[i], NULL), "token.resource");
    }
    assert_refused(r, token_of(&key_k, "hub.example.test/devices/dev-1", NULL), "device.unknown");
}

/* The device that is reached has to be the one that the token names. */
static void
reached_device(void **state)
{
    struct rig *r = *state;
    struct lk_device_check found;
    struct check c = {.rig = r,
                      .hub = RIG_HUB,
                      .id = "Dev-1",
                      .token = SCHEME RAW_SR "&sig=" SIGNED_RAW SE,
                      .ret = &found};

    (void)assign(r, "Dev-1", &key_k, true);
    (void)assign(r, "Dev-2", &key_k, true);
    rig_read(r, check_run, &c);
    assert_int_equal(c.err, LK_OK);
    assert_string_equal(found.policy, "");
    c.id = "Dev-2";
    rig_read(r, check_run, &c);
    assert_int_equal(c.err, LK_ERR_REFUSED);
    assert_string_equal(found.reason, "token.resource");
}

static void
auth_set(struct lk_identity *id, enum lk_identity_auth auth)
{
    id->auth = auth;
    memset(id->thumbprints[0], 'A', 40);
}

/* A device that has a certificate, or nothing, is let in by no key, also if it has one. */
static void
only_who_signs_tokens(void **state)
{
    struct rig *r = *state;
    const enum lk_identity_auth kinds[] = {LK_AUTH_SELF_SIGNED, LK_AUTH_CA, LK_AUTH_NONE};
    struct lk_identity id;

    (void)assign(r, "Dev-1", &key_k, true);
    assert_int_equal(rig_identity(r, RIG_HUB, "Dev-1", &id), LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(kinds); i++) {
        auth_set(&id, kinds[i]);
        rig_write(r, identity_put_run, &id);
        assert_refused(r, SCHEME RAW_SR "&sig=" SIGNED_RAW SE, "device.signs_no_tokens");
    }
    auth_set(&id, LK_AUTH_SAS);
    rig_write(r, identity_put_run, &id);
    assert_taken(r, SCHEME RAW_SR "&sig=" SIGNED_RAW SE, LK_KEY_PRIMARY);
}

/* The name of the hub that asks, in any case. */
static void
asked_for_in_any_case(void **state)
{
    struct rig *r = *state;
    struct lk_device_check found;
    struct check c = {.rig = r,
                      .hub = "HUB.example.TEST",
                      .token = SCHEME RAW_SR "&sig=" SIGNED_RAW SE,
                      .ret = &found};

    (void)assign(r, "Dev-1", &key_k, true);
    rig_read(r, check_run, &c);
    assert_int_equal(c.err, LK_OK);
}

/* Five minutes past the expiry are granted, and not a second more. */
static void
expiry_and_skew(void **state)
{
    struct rig *r = *state;

    (void)assign(r, "Dev-1", &key_k, true);
    r->now_ms = (EXPIRY_S + LK_HUB_SKEW_S) * 1000 + 999;
    assert_taken(r, SCHEME RAW_SR "&sig=" SIGNED_RAW SE, LK_KEY_PRIMARY);
    r->now_ms += 1;
    assert_refused(r, SCHEME RAW_SR "&sig=" SIGNED_RAW SE, "token.expired");
}

/* An expiry as large as can be written is only far away. */
static void
largest_expiry(void **state)
{
    struct rig *r = *state;
    char token[LK_SAS_MAX + 1];

    (void)assign(r, "Dev-1", &key_k, true);
    rig_sign(&key_k, RIG_HUB "/devices/Dev-1", -1, NULL, token); /* 2^64 - 1 */
    assert_taken(r, token, LK_KEY_PRIMARY);
}

static void
disable(struct rig *r, const char *device_id)
{
    struct lk_identity id;

    assert_int_equal(rig_identity(r, RIG_HUB, device_id, &id), LK_OK);
    id.enabled = false;
    rig_write(r, identity_put_run, &id);
}

/* Refusals, each with its reason. */
static void
refused_tokens(void **state)
{
    struct rig *r = *state;
    char big[LK_SAS_MAX + 2];

    (void)assign(r, "Dev-1", &key_k, true);
    memset(big, 'a', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    assert_refused(r, "", "token.malformed");
    assert_refused(r, big, "token.malformed");
    assert_refused(r, SCHEME RAW_SR SE, "token.malformed");
    assert_refused(r, token_of(&key_other, RIG_HUB "/devices/Dev-1", NULL), "token.signature");
    assert_refused(r, token_of(&key_k, RIG_HUB "/devices/Dev-2", NULL), "device.unknown");
    disable(r, "Dev-1");
    assert_refused(r, SCHEME RAW_SR "&sig=" SIGNED_RAW SE, "device.disabled");
    assert_refused(r, token_of(&key_other, RIG_HUB "/devices/Dev-1", NULL), "token.signature");
}

/* A device without keys takes no token, not even one signed with the key that stands in. */
static void
empty_slots_open_to_nobody(void **state)
{
    struct rig *r = *state;
    struct softtpm_opened zeros = {.key_len = 32};
    struct lk_identity id = {
        .hub = RIG_HUB, .device_id = "Dev-1", .enabled = true, .auth = LK_AUTH_SAS};

    rig_write(r, identity_put_run, &id);
    assert_refused(r, token_of(&zeros, RIG_HUB "/devices/Dev-1", NULL), "token.signature");
    assert_refused(r, token_of(&zeros, RIG_HUB "/devices/none", NULL), "device.unknown");
}

/* ---- two keys -----------------------------------------------------------------------------------
 */

struct retire {
    struct rig *rig;
    struct lk_device_check *checked;
};

static enum lk_err
retire_run(struct lk_txn *tx, void *arg)
{
    struct retire *t = arg;

    return lk_hub_retire_secondary(t->rig->core, tx, "HUB.example.test", t->checked);
}

static void
retire(struct rig *r, struct lk_device_check *checked)
{
    struct retire t = {r, checked};

    rig_write(r, retire_run, &t);
}

/* The old key is taken until the new one has been used, and then no more. */
static void
old_key_until_first_use(void **state)
{
    struct rig *r = *state;
    const char *resource = RIG_HUB "/devices/Dev-1";
    struct lk_device_check found;

    (void)assign(r, "Dev-1", &key_k, true);
    assert_true(assign(r, "Dev-1", &key_other, true));
    assert_int_equal(check(r, token_of(&key_k, resource, NULL), &found), LK_OK);
    assert_int_equal(found.slot, LK_KEY_SECONDARY);
    assert_false(found.retire_secondary);
    assert_int_equal(check(r, token_of(&key_other, resource, NULL), &found), LK_OK);
    assert_int_equal(found.slot, LK_KEY_PRIMARY);
    assert_true(found.retire_secondary);
    assert_taken(r, token_of(&key_k, resource, NULL), LK_KEY_SECONDARY);

    retire(r, &found);
    assert_refused(r, token_of(&key_k, resource, NULL), "token.signature");
    assert_int_equal(check(r, token_of(&key_other, resource, NULL), &found), LK_OK);
    assert_false(found.retire_secondary);
    retire(r, &found); /* nothing left to do */
    assert_taken(r, token_of(&key_other, resource, NULL), LK_KEY_PRIMARY);
}

/* A registration between the check and the retirement: its old key is not the one that was meant.
 */
static void
retirement_comes_late(void **state)
{
    struct rig *r = *state;
    const char *resource = RIG_HUB "/devices/Dev-1";
    struct softtpm_opened third = {.key_len = 32};
    struct lk_device_check found;

    (void)assign(r, "Dev-1", &key_k, true);
    (void)assign(r, "Dev-1", &key_other, true);
    assert_int_equal(check(r, token_of(&key_other, resource, NULL), &found), LK_OK);
    (void)assign(r, "Dev-1", &third, true);
    retire(r, &found);
    assert_taken(r, token_of(&key_other, resource, NULL), LK_KEY_SECONDARY);
    rig_write(r, remove_run, r);
    retire(r, &found); /* gone altogether */
}

/* Without keeping it the old key is dead at once. */
static void
old_key_dropped(void **state)
{
    struct rig *r = *state;

    (void)assign(r, "Dev-1", &key_k, true);
    assert_true(assign(r, "Dev-1", &key_other, false));
    assert_refused(r, token_of(&key_k, RIG_HUB "/devices/Dev-1", NULL), "token.signature");
}

/* An identity that the operator disabled stays so, with whatever new key. */
static void
stays_disabled(void **state)
{
    struct rig *r = *state;
    struct lk_identity before, after;

    (void)assign(r, "Dev-1", &key_k, true);
    assert_int_equal(rig_identity(r, RIG_HUB, "Dev-1", &before), LK_OK);
    disable(r, "Dev-1");
    (void)assign(r, "Dev-1", &key_other, true);
    assert_refused(r, token_of(&key_other, RIG_HUB "/devices/Dev-1", NULL), "device.disabled");
    assert_int_equal(rig_identity(r, RIG_HUB, "Dev-1", &after), LK_OK);
    assert_string_equal(after.generation_id, before.generation_id);
}

/* Removed twice, and made again: another generation of the same name. */
static void
removed_and_made_again(void **state)
{
    struct rig *r = *state;
    struct lk_identity before, after;

    (void)assign(r, "Dev-1", &key_k, true);
    assert_int_equal(rig_identity(r, RIG_HUB, "Dev-1", &before), LK_OK);
    rig_write(r, remove_run, r);
    rig_write(r, remove_run, r);
    assert_refused(r, token_of(&key_k, RIG_HUB "/devices/Dev-1", NULL), "device.unknown");
    assert_false(assign(r, "Dev-1", &key_k, true));
    assert_int_equal(rig_identity(r, RIG_HUB, "Dev-1", &after), LK_OK);
    assert_int_equal(strlen(after.generation_id), 32);
    assert_string_not_equal(after.generation_id, before.generation_id);
}

/* ---- keys at rest -------------------------------------------------------------------------- */

static bool
holds(const uint8_t *bytes, size_t len, const void *part, size_t part_len)
{
    return memmem(bytes, len, part, part_len) != NULL;
}

/* What is stored shows nothing of the key, and belongs to this device and slot alone. */
static void
sealed_for_its_place(void **state)
{
    struct rig *r = *state;
    const char *resource = RIG_HUB "/devices/Dev-1";
    struct lk_device_check found;
    struct lk_identity one, two;

    (void)assign(r, "Dev-1", &key_k, true);
    (void)assign(r, "Dev-2", &key_other, true);
    assert_int_equal(rig_identity(r, RIG_HUB, "Dev-1", &one), LK_OK);
    assert_int_equal(rig_identity(r, RIG_HUB, "Dev-2", &two), LK_OK);
    assert_false(holds(one.primary, one.primary_len, key_k.key, 4));

    memcpy(one.primary, two.primary, sizeof(one.primary));
    rig_write(r, identity_put_run, &one);
    assert_int_equal(check(r, token_of(&key_other, resource, NULL), &found), LK_ERR_STORE);
    memcpy(two.secondary, two.primary, sizeof(two.secondary));
    two.secondary_len = two.primary_len;
    rig_write(r, identity_put_run, &two);
    assert_int_equal(check(r, token_of(&key_k, RIG_HUB "/devices/Dev-2", NULL), &found),
                     LK_ERR_STORE);
    /* A broken old key does not keep the device from a new one. */
    (void)assign(r, "Dev-1", &key_k, true);
    assert_taken(r, token_of(&key_k, resource, NULL), LK_KEY_PRIMARY);
}

/* Sealed before a rotation, opened after it; a ring without the key says so. */
static void
rotation(void **state)
{
    struct rig *r = *state;
    const char *resource = RIG_HUB "/devices/Dev-1";
    struct lk_keyring *before = lk_keyring_ref(r->ring);
    struct lk_device_check found;

    (void)assign(r, "Dev-1", &key_k, true);
    rig_rotate(r);
    assert_taken(r, token_of(&key_k, resource, NULL), LK_KEY_PRIMARY);
    (void)assign(r, "Dev-1", &key_other, true);
    assert_taken(r, token_of(&key_k, resource, NULL), LK_KEY_SECONDARY);
    lk_hub_core_set_keyring(r->core, before);
    lk_keyring_free(before);
    assert_int_equal(check(r, token_of(&key_k, resource, NULL), &found), LK_ERR_CONFIG);
}

struct identity_check {
    const char *hub, *device_id;
    struct lk_device_check found;
    enum lk_err err;
};

static enum lk_err
identity_check_run(struct lk_txn *tx, void *arg)
{
    struct identity_check *c = arg;

    c->err = lk_hub_check_identity(tx, c->hub, c->device_id, &c->found);
    return LK_OK;
}

static void
expect_identity(struct rig *r, const char *hub, const char *device_id, const char *reason)
{
    struct identity_check c = {.hub = hub, .device_id = device_id};

    memset(&c.found, 0xa5, sizeof(c.found));
    rig_read(r, identity_check_run, &c);
    assert_int_equal(c.err, reason == NULL ? LK_OK : LK_ERR_REFUSED);
    assert_string_equal(c.found.device_id, device_id);
    if (reason != NULL) {
        assert_string_equal(c.found.reason, reason);
    }
}

/* Without a token: a device that is there, by its exact name, at this hub and enabled. */
static void
identity_alone(void **state)
{
    struct rig *r = *state;

    expect_identity(r, RIG_HUB, "Dev-1", "device.unknown");
    (void)assign(r, "Dev-1", &key_k, true);
    expect_identity(r, RIG_HUB, "Dev-1", NULL);
    expect_identity(r, "HUB.example.TEST", "Dev-1", NULL);
    expect_identity(r, RIG_HUB, "dev-1", "device.unknown");
    expect_identity(r, "other.test", "Dev-1", "device.unknown");
    disable(r, "Dev-1");
    expect_identity(r, RIG_HUB, "Dev-1", "device.disabled");
}

/* Keys as long as a TPM takes them, and one byte longer. */
static void
key_lengths(void **state)
{
    struct rig *r = *state;
    struct softtpm_opened longest = {.key_len = LK_HMAC_KEY_MAX};
    struct assign s = {.rig = r,
                       .a = {.device_id = "Dev-1",
                             .owner = {RIG_SCOPE, "Dev-1"},
                             .key = longest.key,
                             .key_len = 65},
                       .hub = {.name = RIG_HUB, .kind = LK_HUB_EMBEDDED}};

    assert_int_equal(lk_store_write_wait(r->session, assign_run, &s), LK_ERR_ARG);
    s.a.key_len = 0;
    assert_int_equal(lk_store_write_wait(r->session, assign_run, &s), LK_ERR_ARG);
    (void)assign(r, "Dev-1", &longest, true);
    assert_taken(r, token_of(&longest, RIG_HUB "/devices/Dev-1", NULL), LK_KEY_PRIMARY);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(tokens_of_every_client),
        CASE(resource_names_the_device),
        CASE(reached_device),
        CASE(only_who_signs_tokens),
        CASE(asked_for_in_any_case),
        CASE(expiry_and_skew),
        CASE(largest_expiry),
        CASE(refused_tokens),
        CASE(empty_slots_open_to_nobody),
        CASE(old_key_until_first_use),
        CASE(retirement_comes_late),
        CASE(old_key_dropped),
        CASE(stays_disabled),
        CASE(removed_and_made_again),
        CASE(sealed_for_its_place),
        CASE(rotation),
        CASE(identity_alone),
        CASE(key_lengths),
    };

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    key_k.key_len = key_other.key_len = 32;
    memset(key_k.key, 'k', 32);
    memset(key_other.key, 'o', 32);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
