/* Tests of src/provision/ek_member.c: devices that a group admits by their EK's certificate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/pem.h>

#include "base/codec.h"
#include "base/metrics.h"
#include "provision/ek_group.h"
#include "support/ek_maker.h"
#include "support/rig.h"

#define DAY_S 86400

/* A maker with a root, and two chips with their certificates. */
struct chip {
    EVP_PKEY *key;
    struct softtpm *tpm;
    struct maker_der cert;
    char id[LK_DEFAULT_REGISTRATION_ID_CAP];
};

struct world {
    struct rig rig;
    EVP_PKEY *root_key;
    struct maker_der root;
    char root_id[2 * 32 + 1];
    struct chip one, two;
};

static struct maker_recipe
recipe(const struct world *w, EVP_PKEY *key, long serial)
{
    return (struct maker_recipe){.key = key,
                                 .issuer_key = w->root_key,
                                 .issuer = "root",
                                 .ext_use = "2.23.133.8.1",
                                 .manufacturer = "id:49465800",
                                 .model = "SLB9670",
                                 .version = "id:00020008",
                                 .serial = serial};
}

static void
chip_make(const struct world *w, struct chip *c, long serial)
{
    struct softtpm_key *ek = softtpm_key_generate(SOFTTPM_P256),
                       *srk = softtpm_key_generate(SOFTTPM_P256);
    char *pem = softtpm_key_to_pem(ek);
    BIO *bio = BIO_new_mem_buf(pem, -1);
    const struct softtpm_public *pub;
    struct maker_recipe r;

    c->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    assert_non_null(c->key);
    BIO_free(bio);
    free(pem);
    c->tpm = softtpm_new(ek, srk);
    softtpm_key_free(ek);
    softtpm_key_free(srk);
    pub = softtpm_public(c->tpm, LK_ROLE_EK);
    assert_int_equal(lk_default_registration_id(pub->bytes, pub->len, c->id), LK_OK);
    r = recipe(w, c->key, serial);
    c->cert = maker_certify(&r);
}

static void
chip_drop(struct chip *c)
{
    EVP_PKEY_free(c->key);
    softtpm_free(c->tpm);
}

static enum lk_err
trust_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_trust_put(tx, arg);
}

static void
trust(struct world *w, enum lk_trust_kind kind, const struct maker_der *der)
{
    struct lk_trust t = {.kind = kind};

    assert_int_equal(lk_digest(LK_SHA256, &LK_PART(der->bytes, der->len), 1, t.id), LK_OK);
    assert_int_equal(lk_buf_put(&t.der, der->bytes, der->len), LK_OK);
    rig_write(&w->rig, trust_run, &t);
    lk_trust_fini(&t);
}

static enum lk_err
group_run(struct lk_txn *tx, void *arg)
{
    struct lk_enrollment *g = arg;
    enum lk_err err = lk_txn_group_create(tx, g);

    return err == LK_ERR_EXISTS ? lk_txn_group_replace(tx, g, NULL) : err;
}

/* A group of w's root; more are further members of its rules, hub (NULL: any) where its devices go.
 */
static void
group_on(struct world *w, const char *id, const char *more, bool enabled, const char *hub)
{
    struct lk_enrollment g;

    lk_enrollment_init(&g);
    (void)strcpy(g.scope, RIG_SCOPE);
    (void)strcpy(g.id, id);
    g.attestation = LK_ATTESTATION_EK_CERT;
    g.enabled = enabled;
    if (hub != NULL) {
        assert_int_equal(lk_strcpy(g.hubs[0], sizeof(g.hubs[0]), hub), LK_OK);
        g.hubs_count = 1;
    }
    assert_int_equal(lk_buf_printf(&g.rules, "{\"roots\":[\"%s\"]%s}", w->root_id, more), LK_OK);
    rig_write(&w->rig, group_run, &g);
    lk_enrollment_fini(&g);
}

static void
group(struct world *w, const char *id, const char *more, bool enabled)
{
    group_on(w, id, more, enabled, NULL);
}

/* ---- a hub elsewhere that has every device already, with a key of its own ---------------------
 */

static bool hub_is_empty; /* but for the devices that were created since */
static size_t created_count, updated_count;

static unsigned
full_reserve(void *ctx, const char *hub, unsigned wanted)
{
    return wanted;
}

static void
full_release(void *ctx, const char *hub, unsigned count)
{
}

static void
full_answer(enum lk_err err, bool found, lk_hub_done_fn *done, void *arg)
{
    struct lk_hub_snapshot s = {.found = found, .etag = "e1", .keys_len = {32, 32}};
    struct lk_hub_answer a = {.err = err, .detail = "as the test says", .snapshot = &s};

    memset(s.keys, 9, sizeof(s.keys));
    done(arg, &a);
    lk_hub_snapshot_fini(&s);
}

static void
full_read(void *ctx, const struct lk_hub *hub, const char *device_id, bool with_twin,
          lk_hub_done_fn *done, void *arg)
{
    full_answer(LK_OK, true, done, arg);
}

static void
full_create(void *ctx, const struct lk_hub *hub, const struct lk_hub_identity *id,
            lk_hub_done_fn *done, void *arg)
{
    created_count += hub_is_empty ? 1 : 0;
    full_answer(hub_is_empty ? LK_OK : LK_ERR_EXISTS, false, done, arg);
}

static void
full_update(void *ctx, const struct lk_hub *hub, const struct lk_hub_snapshot *was,
            const struct lk_hub_identity *id, lk_hub_done_fn *done, void *arg)
{
    updated_count++;
    full_answer(LK_OK, false, done, arg);
}

static void
full_hub_add(struct lk_provision_config *config)
{
    static const struct lk_hub_link_ops ops = {.reserve = full_reserve,
                                               .release = full_release,
                                               .read = full_read,
                                               .create = full_create,
                                               .update = full_update};

    config->remote.ops = &ops;
}

static enum lk_err
group_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_group_delete(tx, RIG_SCOPE, (const char *)arg, NULL);
}

static void
group_delete(struct world *w, const char *id)
{
    rig_write(&w->rig, group_delete_run, (void *)(uintptr_t)id);
}

static int
setup(void **state)
{
    static struct world w;
    LK_AUTO_BUF struct lk_buf hex = LK_BUF_INIT;
    uint8_t digest[32];
    struct maker_recipe root = {.subject = "root",
                                .issuer = "root",
                                .constraints = "critical,CA:TRUE",
                                .usage = "keyCertSign,cRLSign"};

    memset(&w, 0, sizeof(w));
    hub_is_empty = false;
    created_count = updated_count = 0;
    rig_start(&w.rig, full_hub_add);
    rig_advance_s(&w.rig, (MAKER_NOW_MS - w.rig.now_ms) / 1000);
    root.key = w.root_key = EVP_EC_gen("P-256");
    w.root = maker_certify(&root);
    assert_int_equal(lk_digest(LK_SHA256, &LK_PART(w.root.bytes, w.root.len), 1, digest), LK_OK);
    assert_int_equal(lk_hex_encode(digest, sizeof(digest), &hex), LK_OK);
    (void)strcpy(w.root_id, lk_buf_text(&hex));
    chip_make(&w, &w.one, 101);
    chip_make(&w, &w.two, 102);
    *state = &w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    rig_stop(&w->rig);
    chip_drop(&w->one);
    chip_drop(&w->two);
    EVP_PKEY_free(w->root_key);
    return 0;
}

static struct rig_device
device(struct world *w, const struct chip *c)
{
    return (struct rig_device){.rig = &w->rig,
                               .scope = RIG_SCOPE,
                               .id = c->id,
                               .tpm = c->tpm,
                               .ek_cert = LK_PART(c->cert.bytes, c->cert.len)};
}

/* The first leg is refused for this reason. */
static void
expect_refused(struct rig_device *d, const char *why)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_register(d, NULL, &a);
    assert_string_equal(a.reason, why);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
}

/* As expect_refused(), for the second leg of a device that was challenged. */
static void
expect_second_refused(struct rig_device *d, const char *why)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_register(d, d->token, &a);
    assert_string_equal(a.reason, why);
    assert_int_equal(a.verdict, LK_REG_REFUSED);
}

/* ---- who is not admitted --------------------------------------------------------------------- */

/* No certificate; no group; a group and no root imported; rules that cannot be read. */
static void
no_group(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one);

    expect_refused(&d, "enrollment.unknown");
    group(w, "chips", "", true);
    expect_refused(&d, "ek_cert.chain");
    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"typo\":1", true);
    expect_refused(&d, "group.rules");
    d.ek_cert.len = 0;
    expect_refused(&d, "enrollment.unknown");
}

/* What is no certificate is named, and that of another chip, and one that is out of date. */
static void
bad_certificates(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one);
    struct maker_recipe r = recipe(w, w->one.key, 103);
    struct maker_der old;

    r.not_after_s = -1;
    old = maker_certify(&r);
    group(w, "chips", "", true);
    trust(w, LK_TRUST_ROOT, &w->root);
    d.ek_cert.len--;
    expect_refused(&d, "ek_cert.malformed");
    d.ek_cert = LK_PART(w->two.cert.bytes, w->two.cert.len);
    expect_refused(&d, "ek_cert.key_mismatch");
    d.ek_cert = LK_PART(old.bytes, old.len);
    expect_refused(&d, "ek_cert.expired");
}

/* Rules are obeyed; the id is the one derived from the EK unless the group says so. */
static void
rules_count(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one);

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"vendors\":[\"INTC\"]", true);
    expect_refused(&d, "group.vendor");
    group(w, "chips", ",\"vendors\":[\"IFX\"]", true);
    d.id = "chosen";
    expect_refused(&d, "group.registration_id");
    group(w, "chips", ",\"anyRegistrationId\":true", true);
    rig_attest(&d);
}

/* A disabled enrollment wins, by its id and by its EK. */
static void
enrollment_wins(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one);
    bool off = false;

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"anyRegistrationId\":true", true);
    rig_enroll(&w->rig, RIG_SCOPE, w->one.id, w->one.tpm, NULL);
    rig_enrollment_change(&w->rig, w->one.id, rig_enrollment_set_enabled, &off);
    expect_refused(&d, "enrollment.disabled");
    d.id = "elsewhere";
    expect_refused(&d, "group.ek_enrolled");
}

/* A disabled group that fits is told, and an enabled one comes before it. */
static void
disabled_group(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one);
    struct lk_registration r = {.generation = 0};

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "a", "", false);
    expect_refused(&d, "group.disabled");
    group(w, "b", "", true);
    group(w, "c", "", true);
    rig_attest(&d);
    assert_int_equal(rig_registration(&w->rig, w->one.id, &r), LK_OK);
    assert_string_equal(r.group, "b");
    lk_registration_fini(&r);
}

/* ---- between the legs ------------------------------------------------------------------------ */

/* The second leg brings the certificate again, and with it the keys. */
static void
second_leg(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one);
    struct softtpm_opened nonce;
    struct lk_part cert = d.ek_cert;

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", "", true);
    rig_challenge(&d, &nonce);
    d.ek_cert.len = 0;
    expect_second_refused(&d, "enrollment.unknown");
    d.without_keys = true;
    expect_second_refused(&d, "enrollment.unknown");
    d.without_keys = false;
    d.ek_cert = cert;
    rig_attest(&d);
}

/* What is revoked or disabled meanwhile is refused; another TPM's token was never good. */
static void
changes_meanwhile(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one), e = device(w, &w->two);
    struct maker_der crl = maker_crl(w->root_key, "root", 101, DAY_S);
    struct softtpm_opened nonce;

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", "", true);
    rig_challenge(&d, &nonce);
    rig_challenge(&e, &nonce);
    trust(w, LK_TRUST_CRL, &crl);
    expect_second_refused(&d, "ek_cert.revoked");
    group(w, "chips", "", false);
    expect_second_refused(&e, "group.disabled");
    group(w, "chips", "", true);
    d.ek_cert = e.ek_cert;
    expect_second_refused(&d, "ek_cert.key_mismatch");
    rig_attest(&e);
}

/* ---- quota and duplicates -------------------------------------------------------------------- */

/* The quota counts devices, not registrations. */
static void
quota(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one), e = device(w, &w->two);

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"quota\":1", true);
    rig_attest(&d);
    expect_refused(&e, "group.quota");
    rig_attest(&d);
    group(w, "chips", ",\"quota\":2", true);
    rig_attest(&e);
    group_delete(w, "chips"); /* and made anew in another spelling: the same group to its devices */
    group(w, "Chips", ",\"quota\":2", true);
    rig_attest(&d);
}

/* Two that come at once for the last place: one gets it. */
static void
last_place(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one), e = device(w, &w->two);
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    RIG_AUTO_ANSWER struct rig_answer b = {.answered = false};
    struct softtpm_opened nonce;

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"quota\":1", true);
    rig_challenge(&d, &nonce);
    rig_challenge(&e, &nonce);
    rig_hold(&w->rig);
    rig_register_begin(&d, d.token, &a);
    rig_register_begin(&e, e.token, &b);
    rig_release(&w->rig);
    rig_wait(&w->rig, &a);
    rig_wait(&w->rig, &b);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    assert_int_equal(b.verdict, LK_REG_REFUSED);
    assert_string_equal(b.reason, "group.quota");
}

static enum lk_err
registration_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_registration_delete(tx, RIG_SCOPE, (const char *)arg, NULL);
}

static void
registration_delete(struct world *w, const char *id)
{
    rig_write(&w->rig, registration_delete_run, (void *)(uintptr_t)id);
}

/* The alarm was raised as often as this, in the metrics and in the audit record, which says last
 * that the EK is registered as registered. */
static void
expect_alarms(struct world *w, int64_t metric_before, size_t count, const char *registered)
{
    char detail[1024], want[256];

    assert_int_equal(lk_metric_get(LK_M_EK_DUPLICATES) - metric_before, count);
    assert_int_equal(rig_audit_count(&w->rig, "registration.ek_duplicate", detail, sizeof(detail)),
                     count);
    if (count > 0) {
        (void)snprintf(want, sizeof(want), "\"registeredAs\":\"%s\"", registered);
        assert_non_null(strstr(detail, want));
        assert_non_null(strstr(detail, "\"reason\":\"group.ek_registered\""));
    }
}

/* One EK, one registration: not under another id, nor under two at once. */
static void
duplicate(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one), e = device(w, &w->one);
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    RIG_AUTO_ANSWER struct rig_answer b = {.answered = false};
    int64_t alarms = lk_metric_get(LK_M_EK_DUPLICATES);
    struct softtpm_opened nonce;

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"anyRegistrationId\":true", true);
    e.id = "another";
    rig_challenge(&d, &nonce);
    rig_challenge(&e, &nonce);
    rig_hold(&w->rig);
    rig_register_begin(&d, d.token, &a);
    rig_register_begin(&e, e.token, &b);
    rig_release(&w->rig);
    rig_wait(&w->rig, &a);
    rig_wait(&w->rig, &b);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    assert_string_equal(b.reason, "group.ek_registered");
    expect_alarms(w, alarms, 1, w->one.id);
    registration_delete(w, w->one.id);
    rig_attest(&e);
    rig_challenge(&d, &nonce);
    expect_second_refused(&d, "group.ek_registered");
    expect_alarms(w, alarms, 2, "another");
}

/*
 * The alarm names a chip, so only the chip raises it: who has its certificate and public key, which
 * are no secrets, is challenged as ever and learns nothing; nor does a wrong token raise it.
 */
static void
duplicate_is_proved(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one), e = device(w, &w->one);
    int64_t alarms = lk_metric_get(LK_M_EK_DUPLICATES);
    struct softtpm_opened nonce, other;
    char resource[256];

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"anyRegistrationId\":true", true);
    rig_attest(&d);
    e.id = "another";
    rig_challenge(&e, &nonce);
    expect_alarms(w, alarms, 0, NULL);
    rig_challenge(&d, &other);
    rig_sign(&other, rig_resource(&e, resource), w->rig.now_ms / 1000 + 60, "registration",
             e.token);
    expect_second_refused(&e, "token.signature");
    expect_alarms(w, alarms, 0, NULL);
    rig_sign(&nonce, rig_resource(&e, resource), w->rig.now_ms / 1000 + 60, "registration",
             e.token);
    expect_second_refused(&e, "group.ek_registered");
    expect_second_refused(&e, "group.ek_registered");
    expect_alarms(w, alarms, 2, w->one.id);
}

/*
 * Registrations outlive the enrollments that they were made by, so one EK may have two. Then a
 * group admits it under neither id, whichever came last, nor counts it twice, until the operator
 * has deleted one.
 */
static void
two_registrations(void **state)
{
    struct world *w = *state;
    struct rig_device first = device(w, &w->one), second = device(w, &w->one),
                      third = device(w, &w->one);
    int64_t alarms = lk_metric_get(LK_M_EK_DUPLICATES);
    struct rig_device *const made[] = {&first, &second};
    struct softtpm_opened nonce;

    trust(w, LK_TRUST_ROOT, &w->root);
    first.id = "first";
    second.id = "second";
    third.id = "third";
    for (size_t i = 0; i < LK_ARRAY_LEN(made); i++) {
        rig_enroll(&w->rig, RIG_SCOPE, made[i]->id, w->one.tpm, NULL);
        rig_attest(made[i]);
        rig_enrollment_delete(&w->rig, made[i]->id);
        rig_advance_s(&w->rig, 1);
    }
    group(w, "chips", ",\"anyRegistrationId\":true,\"quota\":2", true);
    rig_challenge(&second, &nonce);
    expect_second_refused(&second, "group.ek_registered");
    expect_alarms(w, alarms, 1, "first");
    rig_challenge(&first, &nonce);
    expect_second_refused(&first, "group.ek_registered");
    rig_challenge(&third, &nonce);
    expect_second_refused(&third, "group.ek_registered");
    expect_alarms(w, alarms, 3, "second");
    registration_delete(w, "second");
    rig_attest(&first);
    rig_challenge(&second, &nonce);
    expect_second_refused(&second, "group.ek_registered");
    expect_alarms(w, alarms, 4, "first");
}

/*
 * An ID that a device has registered under is nobody else's, whatever certificate that one has,
 * until the operator deletes the registration.
 */
static void
taken_id(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one), e = device(w, &w->two);
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    RIG_AUTO_ANSWER struct rig_answer b = {.answered = false};
    struct softtpm_opened nonce, key;

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"anyRegistrationId\":true", true);
    d.id = "gate-1";
    e.id = "GATE-1";
    rig_challenge(&d, &nonce);
    rig_challenge(&e, &nonce);
    rig_hold(&w->rig);
    rig_register_begin(&d, d.token, &a);
    rig_register_begin(&e, e.token, &b);
    rig_release(&w->rig);
    rig_wait(&w->rig, &a);
    rig_wait(&w->rig, &b);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    assert_int_equal(b.verdict, LK_REG_REFUSED);
    expect_refused(&e, "group.id_registered");
    rig_provision(&d, &b, &key);
    registration_delete(w, "gate-1");
    rig_provision(&e, &b, &key);
}

static void
device_id_set(struct lk_enrollment *e, void *arg)
{
    assert_int_equal(lk_strcpy(e->device_id, sizeof(e->device_id), arg), LK_OK);
}

static enum lk_err
identity_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_identity_delete(tx, RIG_HUB, arg, NULL);
}

/* Registers, and comes to this end. */
static void
expect_end(struct rig_device *d, enum lk_dps_status status, int32_t code)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_attest(d);
    rig_settle(d->rig);
    rig_poll(d, d->token, d->operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
    assert_int_equal(a.state.status, status);
    assert_int_equal(a.state.error_code, code);
}

/*
 * The name that a device chooses may be the one that another device has at the hub. It does not
 * take that one's place; once the name is free it may have it, and then again.
 */
static void
chosen_name_is_taken(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one);
    struct rig_device e = {.rig = &w->rig, .scope = RIG_SCOPE, .id = "other", .tpm = w->two.tpm};
    struct lk_identity before, after;
    char truck[] = "truck";

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"anyRegistrationId\":true", true);
    rig_enroll(&w->rig, RIG_SCOPE, "other", w->two.tpm, NULL);
    rig_enrollment_change(&w->rig, "other", device_id_set, truck);
    rig_attest(&e);
    assert_int_equal(rig_identity(&w->rig, RIG_HUB, truck, &before), LK_OK);
    d.id = truck;
    expect_end(&d, LK_DPS_FAILED, LK_DPS_HUB_REFUSED);
    assert_int_equal(rig_identity(&w->rig, RIG_HUB, truck, &after), LK_OK);
    assert_string_equal(after.etag, before.etag);
    assert_int_equal(after.primary_len, before.primary_len);
    assert_memory_equal(after.primary, before.primary, before.primary_len);
    rig_write(&w->rig, identity_delete_run, truck);
    expect_end(&d, LK_DPS_ASSIGNED, 0);
    expect_end(&d, LK_DPS_ASSIGNED, 0);
}

/*
 * An id that is derived from the EK takes nobody's place either. But it is nobody's choice: what
 * the device has left there itself is its own again after its registration was deleted.
 */
static void
derived_name_is_there(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one);
    struct rig_device e = {.rig = &w->rig, .scope = RIG_SCOPE, .id = "other", .tpm = w->two.tpm};

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"anyRegistrationId\":true", true);
    rig_enroll(&w->rig, RIG_SCOPE, "other", w->two.tpm, NULL);
    rig_enrollment_change(&w->rig, "other", device_id_set, w->one.id);
    rig_attest(&e);
    expect_end(&d, LK_DPS_FAILED, LK_DPS_HUB_REFUSED);
    rig_write(&w->rig, identity_delete_run, w->one.id);
    expect_end(&d, LK_DPS_ASSIGNED, 0);
    registration_delete(w, w->one.id);
    expect_end(&d, LK_DPS_ASSIGNED, 0);
}

/* The same at a hub elsewhere, which is not asked to change what it has. */
static void
chosen_name_is_taken_elsewhere(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one), e = device(w, &w->two);

    rig_hub_add(&w->rig, RIG_OTHER_HUB, LK_HUB_HTTP);
    trust(w, LK_TRUST_ROOT, &w->root);
    group_on(w, "chips", ",\"anyRegistrationId\":true", true, RIG_OTHER_HUB);
    d.id = "truck";
    expect_end(&d, LK_DPS_FAILED, LK_DPS_HUB_REFUSED);
    assert_int_equal(updated_count, 0);
    expect_end(&e, LK_DPS_ASSIGNED, 0); /* under the id that is derived */
    assert_int_equal(updated_count, 1);
    hub_is_empty = true;
    expect_end(&d, LK_DPS_ASSIGNED, 0);
    assert_int_equal(created_count, 1);
    expect_end(&d, LK_DPS_ASSIGNED, 0); /* its own by now, and read */
    assert_int_equal(updated_count, 2);
}

/* ---- who is admitted ------------------------------------------------------------------------- */

/* A device with an enrollment may send anything for a certificate. */
static void
enrolled_is_not_asked(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one);
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_registration r = {.generation = 0};
    struct softtpm_opened key;

    rig_enroll(&w->rig, RIG_SCOPE, w->one.id, w->one.tpm, NULL);
    d.ek_cert = LK_PART("nonsense", 8);
    rig_provision(&d, &a, &key);
    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", "", true);
    d.ek_cert = LK_PART(w->one.cert.bytes, w->one.cert.len);
    rig_attest(&d);
    assert_int_equal(rig_registration(&w->rig, w->one.id, &r), LK_OK);
    assert_string_equal(r.group, "");
    assert_int_equal(r.attestation, LK_ATTESTATION_TPM);
    lk_registration_fini(&r);
}

/* Both legs, the poll, the same request again, look-up, all over again; until it is disabled. */
static void
whole_way(void **state)
{
    struct world *w = *state;
    struct rig_device d = device(w, &w->one);
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_registration r = {.generation = 0};
    struct softtpm_opened key;
    char detail[1024];

    trust(w, LK_TRUST_ROOT, &w->root);
    group(w, "chips", ",\"quota\":5", true);
    rig_provision(&d, &a, &key);
    rig_register(&d, d.token, &a);
    assert_int_equal(a.verdict, LK_REG_ACCEPTED);
    assert_string_equal(a.state.operation_id, d.operation_id);
    rig_lookup(&d, d.token, &a);
    assert_int_equal(a.state.status, LK_DPS_ASSIGNED);
    assert_string_equal(a.state.device_id, w->one.id);
    assert_int_equal(rig_registration(&w->rig, w->one.id, &r), LK_OK);
    assert_string_equal(r.group, "chips");
    assert_int_equal(r.attestation, LK_ATTESTATION_EK_CERT);
    lk_registration_fini(&r);
    assert_int_equal(rig_audit_count(&w->rig, "registration.assigned", detail, sizeof(detail)), 1);
    assert_non_null(strstr(detail, "\"group\":\"chips\""));
    rig_provision(&d, &a, &key);
    group(w, "chips", "", false);
    rig_poll(&d, d.token, d.operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_DISABLED);
    assert_int_equal(a.state.auth_key.len, 0);
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(chosen_name_is_taken),
        CASE(derived_name_is_there),
        CASE(chosen_name_is_taken_elsewhere),
        CASE(duplicate_is_proved),
        CASE(two_registrations),
        CASE(no_group),
        CASE(bad_certificates),
        CASE(rules_count),
        CASE(enrollment_wins),
        CASE(disabled_group),
        CASE(second_leg),
        CASE(changes_meanwhile),
        CASE(quota),
        CASE(last_place),
        CASE(duplicate),
        CASE(taken_id),
        CASE(enrolled_is_not_asked),
        CASE(whole_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
