/*
 * Tests of src/hub/policy.c, and of what src/hub/check.c makes of a policy's token. That the keys
 * of policies are checked in equal time is tested with those of ID scopes, whose code they share.
 */
#include "hub/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "hub/registry.h"
#include "support/rig.h"

#define READ_WRITE ((unsigned)(LK_HUB_REGISTRY_READ | LK_HUB_REGISTRY_WRITE))
#define HOUR_S 3600

/* ---- a hub with two policies and two devices --------------------------------------------------
 */

static uint8_t key_bytes[2][32]; /* primary keys: of "registry", of "fleet" */

static enum lk_err
policy_put(struct lk_txn *tx, struct rig *r, const char *name, unsigned rights, uint8_t key[32])
{
    struct lk_hub_policy p;
    enum lk_err err = lk_hub_policy_make(r->ring, &lk_rand_system, RIG_HUB, name, rights, &p);

    memset(key, name[0], 32);
    if (err == LK_OK) {
        err = lk_hub_policy_key_set(r->ring, &lk_rand_system, LK_POLICY_PRIMARY, key, 32, &p);
    }
    if (err == LK_OK) {
        err = lk_txn_hub_policy_put(tx, &p);
    }
    lk_hub_policy_fini(&p);
    return err;
}

static enum lk_err
device_put(struct lk_txn *tx, struct rig *r, const char *id, enum lk_identity_auth auth)
{
    struct lk_hub_device d = {.id = {.hub = RIG_HUB, .enabled = true, .auth = auth}};
    enum lk_err err = lk_strcpy(d.id.device_id, sizeof(d.id.device_id), id);

    if (auth == LK_AUTH_SELF_SIGNED) {
        memset(d.id.thumbprints[0], 'A', 40);
    }
    if (err == LK_OK) {
        err = lk_hub_device_create(r->core, tx, &d);
    }
    lk_hub_device_fini(&d);
    return err;
}

static enum lk_err
stage_run(struct lk_txn *tx, void *arg)
{
    struct rig *r = arg;
    enum lk_err err;

    if ((err = policy_put(tx, r, "registry", READ_WRITE, key_bytes[0])) != LK_OK ||
        (err = policy_put(tx, r, "fleet", LK_HUB_DEVICE_CONNECT, key_bytes[1])) != LK_OK ||
        (err = device_put(tx, r, "Dev-1", LK_AUTH_SAS)) != LK_OK) {
        return err;
    }
    return device_put(tx, r, "x509", LK_AUTH_SELF_SIGNED);
}

static int
setup(void **state)
{
    static struct rig rig;

    rig_start(&rig, NULL);
    rig_write(&rig, stage_run, &rig);
    *state = &rig;
    return 0;
}

static int
teardown(void **state)
{
    rig_stop(*state);
    return 0;
}

static const char *
token_of(struct rig *r, int key, const char *resource, const char *name, int64_t life_s)
{
    static char token[LK_SAS_MAX + 1];
    struct softtpm_opened opened = {.key_len = 32};

    memcpy(opened.key, key_bytes[key], 32);
    rig_sign(&opened, resource, r->now_ms / 1000 + life_s, name, token);
    return token;
}

struct question {
    struct rig *rig;
    const char *hub, *resource, *id, *token;
    unsigned rights;
    bool by_device;
    struct lk_policy_check found;
    struct lk_device_check device;
    enum lk_err err;
};

static enum lk_err
ask_run(struct lk_txn *tx, void *arg)
{
    struct question *q = arg;
    struct rig *r = q->rig;
    size_t len = strlen(q->token);

    q->err = q->by_device ? lk_hub_check_device(r->core, tx, q->hub, q->id, q->token, len,
                                                r->now_ms, &q->device)
                          : lk_hub_policy_check(r->ring, tx, q->hub, q->resource, q->token, len,
                                                r->now_ms, q->rights, &q->found);
    return LK_OK;
}

/* NULL when the token opens GET /devices, else why not. */
static const char *
refusal_of(struct rig *r, const char *hub, const char *token, unsigned rights)
{
    struct question q = {.rig = r,
                         .hub = hub,
                         .resource = RIG_HUB "/devices/Dev-1",
                         .token = token,
                         .rights = rights};

    rig_read(r, ask_run, &q);
    if (q.err == LK_OK) {
        return NULL;
    }
    assert_int_equal(q.err, LK_ERR_REFUSED);
    return q.found.reason;
}

/* NULL when the token lets device id in, by a policy's key; else why not. */
static const char *
device_refusal(struct rig *r, const char *id, const char *token)
{
    struct question q = {.rig = r, .hub = RIG_HUB, .id = id, .token = token, .by_device = true};

    rig_read(r, ask_run, &q);
    if (q.err == LK_OK) {
        assert_string_equal(q.device.policy, "fleet");
        assert_string_equal(q.device.device_id, id != NULL ? id : "Dev-1");
        assert_int_equal(strlen(q.device.generation_id), 32);
        assert_false(q.device.retire_secondary);
        return NULL;
    }
    assert_int_equal(q.err, LK_ERR_REFUSED);
    return q.device.reason;
}

/* ---- names and rights -------------------------------------------------------------------------
 */

/* Every right by its name, in any case, and what the usual names stand for. */
static void
rights(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    unsigned got = 0;

    assert_int_equal(lk_hub_rights_parse("", &got), LK_ERR_FORMAT);
    assert_int_equal(lk_hub_rights_parse("RegistryRead,", &got), LK_ERR_FORMAT);
    assert_int_equal(lk_hub_rights_parse("EnrollmentRead", &got), LK_ERR_FORMAT);
    assert_int_equal(
        lk_hub_rights_parse("registryread, RegistryWrite,ServiceConnect,DeviceConnect", &got),
        LK_OK);
    assert_int_equal(got, LK_HUB_RIGHTS_ALL);
    assert_int_equal(lk_hub_rights_format(got, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text),
                        "RegistryRead,RegistryWrite,ServiceConnect,DeviceConnect");
    assert_int_equal(lk_hub_rights_usual("iothubowner"), LK_HUB_RIGHTS_ALL);
    assert_int_equal(lk_hub_rights_usual("service"), LK_HUB_SERVICE_CONNECT);
    assert_int_equal(lk_hub_rights_usual("device"), LK_HUB_DEVICE_CONNECT);
    assert_int_equal(lk_hub_rights_usual("registryRead"), LK_HUB_REGISTRY_READ);
    assert_int_equal(lk_hub_rights_usual("registryReadWrite"), READ_WRITE);
    assert_int_equal(lk_hub_rights_usual("registryread"), 0);
}

/* No right, one that there is not, no name; and what is made opens the hub by its own string. */
static void
makes(void **state)
{
    struct rig *r = *state;
    struct lk_hub_policy p;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    assert_int_equal(lk_hub_policy_make(r->ring, &lk_rand_system, RIG_HUB, "p", 0, &p), LK_ERR_ARG);
    lk_hub_policy_fini(&p);
    assert_int_equal(
        lk_hub_policy_make(r->ring, &lk_rand_system, RIG_HUB, "p", LK_HUB_RIGHTS_ALL + 1, &p),
        LK_ERR_ARG);
    lk_hub_policy_fini(&p);
    assert_int_equal(lk_hub_policy_make(r->ring, &lk_rand_system, RIG_HUB, "a b", 1, &p),
                     LK_ERR_ARG);
    lk_hub_policy_fini(&p);
    assert_int_equal(lk_hub_policy_make(r->ring, &lk_rand_system, RIG_HUB, "p", 1, &p), LK_OK);
    assert_int_equal(lk_hub_policy_key_set(r->ring, &lk_rand_system, LK_POLICY_SECONDARY,
                                           "0123456789abcdef", LK_POLICY_KEY_MIN, &p),
                     LK_OK);
    assert_int_equal(
        lk_hub_policy_connection_string(r->ring, &p, LK_POLICY_SECONDARY, RIG_HUB, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text),
                        "HostName=" RIG_HUB ";SharedAccessKeyName=p;SharedAccessKey="
                        "MDEyMzQ1Njc4OWFiY2RlZg==");
    lk_hub_policy_fini(&p);
}

/* ---- the operators' tokens --------------------------------------------------------------------
 */

/* For the hub, or a longer prefix of what is asked; the right has to be there. */
static void
opens_the_registry(void **state)
{
    struct rig *r = *state;

    assert_null(refusal_of(r, RIG_HUB, token_of(r, 0, RIG_HUB, "registry", HOUR_S), READ_WRITE));
    assert_null(refusal_of(r, RIG_HUB, token_of(r, 0, RIG_HUB "/devices", "registry", HOUR_S),
                           LK_HUB_REGISTRY_READ));
    assert_string_equal(
        refusal_of(r, RIG_HUB, token_of(r, 0, RIG_HUB, "registry", HOUR_S), LK_HUB_SERVICE_CONNECT),
        "policy.right_missing");
    assert_string_equal(refusal_of(r, RIG_HUB, token_of(r, 0, RIG_HUB "/twins", "registry", HOUR_S),
                                   LK_HUB_REGISTRY_READ),
                        "token.resource");
    assert_string_equal(refusal_of(r, RIG_HUB, token_of(r, 0, RIG_HUB, "registry", -301), 1),
                        "token.expired");
    assert_string_equal(refusal_of(r, RIG_HUB, token_of(r, 0, RIG_HUB, NULL, HOUR_S), 1),
                        "token.key_name");
    assert_string_equal(refusal_of(r, RIG_HUB, token_of(r, 1, RIG_HUB, "registry", HOUR_S), 1),
                        "token.signature");
    assert_string_equal(refusal_of(r, RIG_HUB, token_of(r, 0, RIG_HUB, "nobody", HOUR_S), 1),
                        "policy.unknown");
    assert_string_equal(refusal_of(r, RIG_HUB, "SharedAccessSignature", 1), "token.malformed");
}

/* A policy is one hub's: of another hub there is none with its name, and no key fits there. */
static void
is_of_one_hub(void **state)
{
    struct rig *r = *state;

    rig_hub_add(r, RIG_OTHER_HUB, LK_HUB_EMBEDDED);
    assert_string_equal(
        refusal_of(r, RIG_OTHER_HUB, token_of(r, 0, RIG_HUB, "registry", HOUR_S), 1),
        "policy.unknown");
}

/* ---- the devices' -----------------------------------------------------------------------------
 */

/* A policy with DeviceConnect speaks for every device, as wide as its token says. */
static void
speaks_for_devices(void **state)
{
    struct rig *r = *state;
    static const char *const wide[] = {RIG_HUB, RIG_HUB ":8883", RIG_HUB "/devices",
                                       "HUB.example.test/devices/Dev-1"};
    static const char *const wrong[] = {RIG_HUB "/devices/Dev-2",
                                        RIG_HUB "/devices/dev-1",
                                        RIG_HUB "/Devices",
                                        RIG_HUB "/",
                                        RIG_HUB "/devices/",
                                        RIG_HUB "x",
                                        "hub.example",
                                        RIG_HUB "/devices/Dev-1/messages"};

    for (size_t i = 0; i < LK_ARRAY_LEN(wide); i++) {
        assert_null(device_refusal(r, "Dev-1", token_of(r, 1, wide[i], "fleet", HOUR_S)));
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(wrong); i++) {
        assert_string_equal(device_refusal(r, "Dev-1", token_of(r, 1, wrong[i], "fleet", HOUR_S)),
                            "token.resource");
    }
    assert_null(device_refusal(r, NULL, token_of(r, 1, RIG_HUB "/devices/Dev-1", "fleet", HOUR_S)));
    assert_string_equal(device_refusal(r, NULL, token_of(r, 1, RIG_HUB, "fleet", HOUR_S)),
                        "token.resource");
}

/* Without the right, the key or the device, past its time, and for a device that signs nothing. */
static void
speaks_for_no_device(void **state)
{
    struct rig *r = *state;
    const char *one = RIG_HUB "/devices/Dev-1";

    assert_string_equal(device_refusal(r, "Dev-1", token_of(r, 0, one, "registry", HOUR_S)),
                        "policy.right_missing");
    assert_string_equal(device_refusal(r, "Dev-1", token_of(r, 0, one, "fleet", HOUR_S)),
                        "token.signature");
    assert_string_equal(device_refusal(r, "Dev-1", token_of(r, 1, one, "nobody", HOUR_S)),
                        "policy.unknown");
    assert_string_equal(device_refusal(r, "Dev-1", token_of(r, 1, one, "fleet", -301)),
                        "token.expired");
    assert_string_equal(device_refusal(r, "Dev-2", token_of(r, 1, RIG_HUB, "fleet", HOUR_S)),
                        "device.unknown");
    assert_string_equal(device_refusal(r, "x509", token_of(r, 1, RIG_HUB, "fleet", HOUR_S)),
                        "device.signs_no_tokens");
    assert_string_equal(device_refusal(r, "a/b", token_of(r, 1, RIG_HUB, "fleet", HOUR_S)),
                        "device.malformed");
    assert_string_equal(device_refusal(r, "", token_of(r, 1, RIG_HUB, "fleet", HOUR_S)),
                        "device.malformed");
}

/* A policy that is named like the device: the token is the device's, and its key has to fit. */
static void
device_named_like_a_policy(void **state)
{
    struct rig *r = *state;

    assert_string_equal(
        device_refusal(r, "fleet", token_of(r, 1, RIG_HUB "/devices/fleet", "fleet", HOUR_S)),
        "device.unknown");
    assert_string_equal(device_refusal(r, "fleet", token_of(r, 1, RIG_HUB, "fleet", HOUR_S)),
                        "token.resource");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rights),         CASE(makes),
        CASE(opens_the_registry),         CASE(is_of_one_hub),
        CASE(speaks_for_devices),         CASE(speaks_for_no_device),
        CASE(device_named_like_a_policy),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
