/*
 * Tests of src/device/tpm_identity.c against a software TPM: blobs made by src/attest for the TPM's
 * own keys are opened, kept and signed with, and what must not cross the bus does not.
 */
#include "fixture.h"

#include "device/tpm_nonce.h"

#define OWNER "owner-password-of-the-test"
#define ENDORSEMENT "endorsement-password-of-the-test"

/* ---- blobs ----------------------------------------------------------------------------------- */

/* The system's randomness, of which the first draw is kept: it is the inner wrapper's key. */
struct kept_rand {
    uint8_t inner[16];
    bool have;
};

static enum lk_err
kept_fill(void *ctx, void *buf, size_t len)
{
    struct kept_rand *k = (struct kept_rand *)ctx;
    enum lk_err err = lk_rand_fill(&lk_rand_system, buf, len);

    if (!k->have) {
        assert_int_equal(len, sizeof(k->inner));
        memcpy(k->inner, buf, len);
        k->have = true;
    }
    return err;
}

struct blob {
    struct lk_buf bytes;
    uint8_t key[32]; /* the HMAC key inside */
    uint8_t inner[16];
};

static void
judged(struct lk_tpm *tpm, enum lk_key_role role, struct lk_tpm_key *ret)
{
    struct lk_tpm_public pub;

    assert_int_equal(role == LK_ROLE_EK ? lk_tpm_ek(tpm, &pub) : lk_tpm_srk(tpm, &pub), LK_OK);
    assert_int_equal(lk_tpm_key_parse(role, pub.tpm2b, pub.tpm2b_len, NULL, ret), LK_OK);
}

/* What a service would send for these keys. */
static struct blob
blob_for_keys(const struct lk_tpm_key *ek, const struct lk_tpm_key *srk)
{
    struct kept_rand kept = {.have = false};
    const struct lk_rand rnd = {kept_fill, &kept};
    struct blob b = {.bytes = LK_BUF_INIT};

    assert_int_equal(lk_rand_fill(&lk_rand_system, b.key, sizeof(b.key)), LK_OK);
    assert_int_equal(lk_auth_key_wrap(ek, srk, b.key, sizeof(b.key), "0ne00000001/registrations/x",
                                      &rnd, &b.bytes),
                     LK_OK);
    memcpy(b.inner, kept.inner, sizeof(b.inner));
    return b;
}

static struct blob
blob_for(struct lk_tpm *tpm)
{
    struct lk_tpm_key ek, srk;

    judged(tpm, LK_ROLE_EK, &ek);
    judged(tpm, LK_ROLE_SRK, &srk);
    return blob_for_keys(&ek, &srk);
}

static enum lk_err
import(struct lk_tpm *tpm, const struct blob *b)
{
    return lk_tpm_identity_import(tpm, b->bytes.data, b->bytes.len);
}

/* The TPM signs len bytes as the key outside does. */
static void
expect_signs(struct lk_tpm *tpm, const struct blob *b, size_t len)
{
    static uint8_t text[8192];
    const struct lk_part part = LK_PART(text, len);
    uint8_t got[LK_TPM_HMAC_LEN], want[LK_HASH_MAX];

    assert_true(len <= sizeof(text));
    memset(text, 'a', sizeof(text));
    if (lk_tpm_identity_hmac(tpm, text, len, got) != LK_OK) {
        fail_msg("%s", lk_tpm_last_rc_text(tpm));
    }
    assert_int_equal(lk_hmac(LK_SHA256, b->key, sizeof(b->key), &part, 1, want), LK_OK);
    assert_memory_equal(got, want, sizeof(got));
}

static const struct lk_tpm_opts ecc = {.ek_recipe = LK_TPM_ECC_P256, .srk_recipe = LK_TPM_ECC_P256};

/* ---- the happy path -------------------------------------------------------------------------- */

/* Every kind of EK with every kind of SRK, found persistent or made for the occasion. */
static void
import_then_sign(void **state)
{
    static const enum lk_tpm_recipe recipes[] = {LK_TPM_RSA2048, LK_TPM_RSA2048_EMPTY_UNIQUE,
                                                 LK_TPM_ECC_P256};
    const struct fixture *f = (const struct fixture *)*state;

    for (size_t e = 0; e < LK_ARRAY_LEN(recipes); e++) {
        for (size_t s = 0; s < LK_ARRAY_LEN(recipes); s++) {
            struct lk_tpm *tpm =
                fixture_open(f, (struct lk_tpm_opts){
                                    .ek_recipe = recipes[e],
                                    .srk_recipe = recipes[s],
                                    .flags = e == s ? LK_TPM_PERSIST_EK | LK_TPM_PERSIST_SRK : 0,
                                });
            struct blob b = blob_for(tpm);

            assert_int_equal(import(tpm, &b), LK_OK);
            expect_signs(tpm, &b, 60);
            lk_buf_fini(&b.bytes);
            lk_tpm_close(tpm);
            fixture_no_leak(f);
        }
    }
}

/* Texts of no bytes, of the TPM's input buffer (1024 in swtpm), of one more, and of several. */
static void
sign_any_length(void **state)
{
    static const size_t lengths[] = {0, 1, 1023, 1024, 1025, 2048, 8192};
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob b = blob_for(tpm);

    assert_int_equal(import(tpm, &b), LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(lengths); i++) {
        expect_signs(tpm, &b, lengths[i]);
    }
    lk_buf_fini(&b.bytes);
    lk_tpm_close(tpm);
}

/* The key outlives the connection, a second import replaces it, and forget removes it. */
static void
replace_and_forget(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob first = blob_for(tpm), second = blob_for(tpm);
    uint8_t mac[LK_TPM_HMAC_LEN];

    assert_int_equal(lk_tpm_identity_hmac(tpm, "x", 1, mac), LK_ERR_NOT_FOUND);
    assert_int_equal(lk_tpm_identity_forget(tpm), LK_ERR_NOT_FOUND);
    assert_int_equal(import(tpm, &first), LK_OK);
    lk_tpm_close(tpm);
    tpm = fixture_open(f, ecc);
    expect_signs(tpm, &first, 1);
    assert_int_equal(import(tpm, &second), LK_OK);
    expect_signs(tpm, &second, 1);
    assert_int_equal(lk_device_forget(tpm), LK_OK);
    assert_int_equal(lk_tpm_identity_hmac(tpm, "x", 1, mac), LK_ERR_NOT_FOUND);
    lk_tpm_close(tpm);
    assert_int_equal(fixture_handles(f, FIRST_PERSISTENT, NULL, 0), 0);
    lk_buf_fini(&first.bytes);
    lk_buf_fini(&second.bytes);
}

/* A challenge's key signs for one registration, and touches neither the hub's key nor NV. */
static void
nonce_beside_the_identity(void **state)
{
    static const char text[] = "0ne00000001%2Fregistrations%2Fx\n1900000000";
    const struct fixture *f = (const struct fixture *)*state;
    const struct lk_part part = LK_PART(text, sizeof(text) - 1);
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob hub = blob_for(tpm), nonce = blob_for(tpm), other = blob_for(tpm);
    uint8_t got[LK_TPM_HMAC_LEN], want[LK_HASH_MAX];

    assert_int_equal(lk_tpm_nonce_hmac(tpm, text, part.len, got), LK_ERR_NOT_FOUND);
    assert_int_equal(import(tpm, &hub), LK_OK);
    lk_tpm_proxy_reset(f->proxy);
    assert_int_equal(lk_tpm_nonce_open(tpm, other.bytes.data, other.bytes.len), LK_OK);
    assert_int_equal(lk_tpm_nonce_open(tpm, nonce.bytes.data, nonce.bytes.len), LK_OK);
    for (int i = 0; i < 2; i++) { /* as often as a registration needs tokens */
        assert_int_equal(lk_tpm_nonce_hmac(tpm, text, part.len, got), LK_OK);
        assert_int_equal(lk_hmac(LK_SHA256, nonce.key, sizeof(nonce.key), &part, 1, want), LK_OK);
        assert_memory_equal(got, want, sizeof(got));
    }
    assert_int_equal(lk_tpm_proxy_sent(f->proxy, TPM2_CC_EvictControl), 0);
    assert_false(lk_tpm_proxy_saw(f->proxy, nonce.key, 16));
    assert_false(lk_tpm_proxy_saw(f->proxy, nonce.inner, 16));
    expect_signs(tpm, &hub, 10);
    lk_tpm_nonce_forget(tpm);
    lk_tpm_nonce_forget(NULL);
    assert_int_equal(lk_tpm_nonce_hmac(tpm, text, part.len, got), LK_ERR_NOT_FOUND);
    lk_buf_fini(&hub.bytes);
    lk_buf_fini(&nonce.bytes);
    lk_buf_fini(&other.bytes);
    lk_tpm_close(tpm);
}

/* A token for the hub is signed by the key in the TPM; names and room are checked first. */
static void
sas_for_the_hub(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob b = blob_for(tpm);
    char token[LK_DEVICE_SAS_CAP];

    assert_int_equal(lk_device_sas(tpm, "hub.test", "dev 1", 1, token, sizeof(token)), LK_ERR_ARG);
    assert_int_equal(lk_device_sas(tpm, NULL, "dev-1", 1, token, sizeof(token)), LK_ERR_ARG);
    assert_int_equal(lk_device_sas(tpm, "hub.test", "dev-1", 1, token, sizeof(token)),
                     LK_ERR_NOT_FOUND);
    assert_int_equal(import(tpm, &b), LK_OK);
    assert_int_equal(lk_device_sas(tpm, "hub.test", "dev-1", 1, token, 20), LK_ERR_LIMIT);
    assert_int_equal(lk_device_sas(tpm, "hub.test", "dev-1", 1900000000, token, sizeof(token)),
                     LK_OK);
    assert_non_null(strstr(token, "SharedAccessSignature sr=hub.test%2Fdevices%2Fdev-1&sig="));
    assert_non_null(strstr(token, "se=1900000000"));
    lk_buf_fini(&b.bytes);
    lk_tpm_close(tpm);
}

/* What an MQTT client logs on with: what is missing or wrong is told before the TPM is asked. */
static void
mqtt_for_the_hub(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    const struct lk_device_mqtt_opts good = {.hub = "hub.test", .device_id = "dev-1", .ttl_s = 600};
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob b = blob_for(tpm);
    struct lk_device_mqtt m, before;
    char token[LK_DEVICE_SAS_CAP];

    memset(&m, 0x5a, sizeof(m));
    before = m;
    assert_int_equal(lk_device_mqtt(tpm, &good, &m), LK_ERR_NOT_FOUND);
    assert_memory_equal(&m, &before, sizeof(m));
    assert_int_equal(import(tpm, &b), LK_OK);
    assert_int_equal(lk_device_mqtt(tpm, &good, &m), LK_OK);
    assert_string_equal(m.host, "hub.test");
    assert_int_equal(m.port, 8883);
    assert_string_equal(m.client_id, "dev-1");
    assert_string_equal(m.user_name, "hub.test/dev-1/?api-version=2021-04-12"
                                     "&DeviceClientType=latchkey%2F" LK_VERSION);
    assert_int_equal(m.expiry_unix_s, m.issued_unix_s + 600);
    assert_int_equal(m.renew_unix_s, m.issued_unix_s + 450);
    assert_int_equal(lk_device_sas(tpm, "hub.test", "dev-1", m.expiry_unix_s, token, sizeof(token)),
                     LK_OK);
    assert_string_equal(m.password, token);

    m.ttl_s = 1200; /* a renewal is told apart by its life */
    assert_int_equal(lk_device_mqtt_renew(tpm, &m), LK_OK);
    assert_int_equal(m.expiry_unix_s, m.issued_unix_s + 1200);
    assert_string_not_equal(m.password, token);
    before = m;
    assert_int_equal(lk_device_forget(tpm), LK_OK);
    assert_int_equal(lk_device_mqtt_renew(tpm, &m), LK_ERR_NOT_FOUND);
    assert_memory_equal(&m, &before, sizeof(m));
    lk_buf_fini(&b.bytes);
    lk_tpm_close(tpm);
}

/* ---- blobs that must not open ---------------------------------------------------------------- */

/* Made for another SRK, or another EK, of the very same TPM, of the same kind or another: refused,
 * and the key that was there before stays. */
static void
blob_of_other_keys(void **state)
{
    static const enum lk_tpm_recipe recipes[] = {LK_TPM_RSA2048_EMPTY_UNIQUE, LK_TPM_ECC_P256};
    const struct fixture *f = (const struct fixture *)*state;

    for (size_t i = 0; i < LK_ARRAY_LEN(recipes); i++) {
        struct lk_tpm *tpm = fixture_open(
            f, (struct lk_tpm_opts){.ek_recipe = recipes[i], .srk_recipe = recipes[i]});
        struct lk_tpm_key ek, srk, other_ek, other_srk;
        struct blob good, wrong_srk, wrong_ek;

        judged(tpm, LK_ROLE_EK, &other_ek);
        judged(tpm, LK_ROLE_SRK, &other_srk);
        lk_tpm_close(tpm);
        tpm = fixture_open(f, (struct lk_tpm_opts){.tcti = NULL});
        judged(tpm, LK_ROLE_EK, &ek);
        judged(tpm, LK_ROLE_SRK, &srk);
        good = blob_for_keys(&ek, &srk);
        wrong_srk = blob_for_keys(&ek, &other_srk);
        wrong_ek = blob_for_keys(&other_ek, &srk);
        assert_int_equal(import(tpm, &good), LK_OK);
        assert_int_equal(import(tpm, &wrong_srk), LK_ERR_REFUSED);
        assert_int_equal(import(tpm, &wrong_ek), LK_ERR_REFUSED);
        expect_signs(tpm, &good, 10);
        lk_buf_fini(&good.bytes);
        lk_buf_fini(&wrong_srk.bytes);
        lk_buf_fini(&wrong_ek.bytes);
        lk_tpm_close(tpm);
    }
}

/* A TPM that has failed for good is not mistaken for a blob that it refuses. */
static void
failed_tpm_is_no_refusal(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob b = blob_for(tpm);

    lk_tpm_proxy_fail_from(f->proxy, TPM2_CC_ActivateCredential, TPM2_RC_FAILURE);
    assert_int_equal(import(tpm, &b), LK_ERR_TPM);
    lk_tpm_proxy_reset(f->proxy);
    assert_int_equal(import(tpm, &b), LK_OK);
    lk_buf_fini(&b.bytes);
    lk_tpm_close(tpm);
}

/* The next owner's TPM: cleared, it has another SRK, and what was made for the old one is dead. */
static void
blob_from_before_a_clear(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob b = blob_for(tpm);
    uint8_t mac[LK_TPM_HMAC_LEN];

    assert_int_equal(import(tpm, &b), LK_OK);
    lk_tpm_close(tpm);
    fixture_clear(f);
    tpm = fixture_open(f, ecc);
    assert_int_equal(lk_tpm_identity_hmac(tpm, "x", 1, mac), LK_ERR_NOT_FOUND);
    assert_int_equal(import(tpm, &b), LK_ERR_REFUSED);
    lk_buf_fini(&b.bytes);
    lk_tpm_close(tpm);
}

/* Empty, cut at every length, one byte too long: the form is wrong, and no TPM is asked. */
static void
blob_of_wrong_length(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob b = blob_for(tpm);

    lk_tpm_proxy_reset(f->proxy);
    for (size_t len = 0; len < b.bytes.len; len++) {
        assert_int_equal(lk_tpm_identity_import(tpm, b.bytes.data, len), LK_ERR_FORMAT);
    }
    assert_int_equal(lk_buf_put_u8(&b.bytes, 0), LK_OK);
    assert_int_equal(import(tpm, &b), LK_ERR_FORMAT);
    assert_int_equal(lk_tpm_proxy_commands(f->proxy), 0);
    lk_buf_fini(&b.bytes);
    lk_tpm_close(tpm);
}

/* A bit turned over anywhere: refused or malformed, never taken for another key, nothing left. The
 * last item, which nothing uses, is text that may be anything. */
static void
blob_with_a_turned_bit(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob b = blob_for(tpm);
    size_t taken = 0;

    for (size_t i = 0; i < b.bytes.len; i++) {
        enum lk_err err;

        b.bytes.data[i] ^= 0x10;
        err = import(tpm, &b);
        b.bytes.data[i] ^= 0x10;
        if (err == LK_OK) {
            taken++;
            assert_true(i > b.bytes.len / 2);
            expect_signs(tpm, &b, 10);
            continue;
        }
        if (err != LK_ERR_REFUSED && err != LK_ERR_FORMAT) {
            fail_msg("byte %zu: %s (%s)", i, lk_err_name(err), lk_tpm_last_rc_text(tpm));
        }
    }
    assert_true(taken < 64); /* the bytes of the uri */
    lk_buf_fini(&b.bytes);
    lk_tpm_close(tpm);
}

/* Something else at the identity handle is left alone, and both say so. */
static void
handle_of_something_else(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    uint8_t mac[LK_TPM_HMAC_LEN];
    uint32_t left = 0;
    struct lk_tpm *tpm;
    struct blob b;

    fixture_occupy(f, LK_TPM_IDENTITY_HANDLE);
    tpm = fixture_open(f, ecc);
    b = blob_for(tpm);
    assert_int_equal(import(tpm, &b), LK_ERR_EXISTS);
    assert_int_equal(lk_tpm_nonce_open(tpm, b.bytes.data, b.bytes.len), LK_ERR_EXISTS);
    assert_int_equal(lk_tpm_identity_forget(tpm), LK_ERR_EXISTS);
    assert_int_equal(lk_tpm_identity_hmac(tpm, "x", 1, mac), LK_ERR_NOT_FOUND);
    lk_buf_fini(&b.bytes);
    lk_tpm_close(tpm);
    assert_int_equal(fixture_handles(f, FIRST_PERSISTENT, &left, 1), 1);
    assert_int_equal(left, LK_TPM_IDENTITY_HANDLE);
}

/* ---- the bus --------------------------------------------------------------------------------- */

/* Item 2, the credential's seed, goes to the TPM as it came. */
static void
expect_public_seen(const struct fixture *f, const struct blob *b)
{
    struct lk_reader r = lk_reader_of(b->bytes.data, b->bytes.len), item;

    assert_int_equal(lk_read_2b(&r, &item), LK_OK);
    assert_int_equal(lk_read_2b(&r, &item), LK_OK);
    assert_true(lk_tpm_proxy_saw(f->proxy, item.p, item.left));
}

/*
 * Neither a nonce key nor a hub key, nor the key of their inner wrapper, nor a password is readable
 * on the bus, while the proxy that looks for them does see what is public.
 */
static void
no_secret_on_the_bus(void **state)
{
    static const struct lk_tpm_opts kinds[] = {
        {.owner_password = OWNER, .endorsement_password = ENDORSEMENT},
        {.ek_recipe = LK_TPM_ECC_P256,
         .srk_recipe = LK_TPM_ECC_P256,
         .owner_password = OWNER,
         .endorsement_password = ENDORSEMENT},
    };
    const struct fixture *f = (const struct fixture *)*state;

    fixture_set_password(f, ESYS_TR_RH_OWNER, OWNER);
    fixture_set_password(f, ESYS_TR_RH_ENDORSEMENT, ENDORSEMENT);
    for (size_t i = 0; i < LK_ARRAY_LEN(kinds); i++) {
        struct lk_tpm *tpm = fixture_open(f, kinds[i]);
        struct blob blobs[2] = {blob_for(tpm), blob_for(tpm)}; /* of the challenge, of the hub */

        lk_tpm_proxy_reset(f->proxy);
        for (size_t n = 0; n < LK_ARRAY_LEN(blobs); n++) {
            assert_int_equal(import(tpm, &blobs[n]), LK_OK);
            expect_signs(tpm, &blobs[n], 60);
            expect_public_seen(f, &blobs[n]);
            assert_false(lk_tpm_proxy_saw(f->proxy, blobs[n].key, 16));
            assert_false(lk_tpm_proxy_saw(f->proxy, blobs[n].key + 16, 16));
            assert_false(lk_tpm_proxy_saw(f->proxy, blobs[n].inner, 16));
            lk_buf_fini(&blobs[n].bytes);
        }
        assert_int_equal(lk_device_forget(tpm), LK_OK);
        assert_false(lk_tpm_proxy_saw(f->proxy, OWNER, strlen(OWNER)));
        assert_false(lk_tpm_proxy_saw(f->proxy, ENDORSEMENT, strlen(ENDORSEMENT)));
        lk_tpm_close(tpm);
    }
}

/* The credential is encrypted on its way out and in; without that, the proxy would find it. This
 * makes sure that the test above can fail: the same bytes in clear are seen. */
static void
proxy_sees_clear_bytes(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    static const char text[] = "bytes that cross the bus in clear";
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob b = blob_for(tpm);
    uint8_t mac[LK_TPM_HMAC_LEN];

    assert_int_equal(import(tpm, &b), LK_OK);
    lk_tpm_proxy_reset(f->proxy);
    assert_int_equal(lk_tpm_identity_hmac(tpm, text, sizeof(text), mac), LK_OK);
    assert_true(lk_tpm_proxy_saw(f->proxy, text, sizeof(text)));
    assert_true(lk_tpm_proxy_saw(f->proxy, mac, sizeof(mac)));
    lk_buf_fini(&b.bytes);
    lk_tpm_close(tpm);
}

/* ---- passwords ------------------------------------------------------------------------------- */

/* Each hierarchy's password is needed where it is needed, a wrong one is tried once. The keys are
 * persistent, so that only the import itself asks. */
static void
import_needs_the_passwords(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    const struct lk_tpm_opts wrong[] = {
        {.owner_password = OWNER, .endorsement_password = "wrong"},
        {.owner_password = "wrong", .endorsement_password = ENDORSEMENT},
        {.owner_password = OWNER},
        {.endorsement_password = ENDORSEMENT},
    };
    const struct lk_tpm_opts right = {.owner_password = OWNER,
                                      .endorsement_password = ENDORSEMENT,
                                      .flags = LK_TPM_PERSIST_EK | LK_TPM_PERSIST_SRK};
    struct lk_tpm *tpm;
    struct blob b;

    fixture_set_password(f, ESYS_TR_RH_OWNER, OWNER);
    fixture_set_password(f, ESYS_TR_RH_ENDORSEMENT, ENDORSEMENT);
    tpm = fixture_open(f, right);
    b = blob_for(tpm);
    lk_tpm_close(tpm);
    for (size_t i = 0; i < LK_ARRAY_LEN(wrong); i++) {
        tpm = fixture_open(f, wrong[i]);
        lk_tpm_proxy_reset(f->proxy);
        assert_int_equal(import(tpm, &b), LK_ERR_TPM_AUTH);
        assert_int_equal(lk_tpm_proxy_answers(f->proxy, TPM2_RC_BAD_AUTH) +
                             lk_tpm_proxy_answers(f->proxy, TPM2_RC_AUTH_FAIL),
                         1);
        lk_tpm_close(tpm);
        fixture_no_leak(f);
    }
    tpm = fixture_open(f, right);
    assert_int_equal(import(tpm, &b), LK_OK);
    lk_tpm_close(tpm);
    tpm = fixture_open(f, (struct lk_tpm_opts){.owner_password = "wrong"});
    assert_int_equal(lk_tpm_identity_forget(tpm), LK_ERR_TPM_AUTH);
    expect_signs(tpm, &b, 10); /* signing needs none */
    lk_tpm_close(tpm);
    lk_buf_fini(&b.bytes);
}

/* ---- failures of the TPM --------------------------------------------------------------------- */

/*
 * Whichever command fails while a blob is opened, kept, signed with and forgotten, no object and no
 * session stays in the TPM. kinds: keys that are persistent, and keys that are saved between uses.
 */
static void
failures_leave_nothing(void **state)
{
    static const unsigned kinds[] = {0, LK_TPM_PERSIST_EK | LK_TPM_PERSIST_SRK};
    const struct fixture *f = (const struct fixture *)*state;

    fixture_set_password(f, ESYS_TR_RH_OWNER, OWNER);
    for (size_t k = 0; k < LK_ARRAY_LEN(kinds); k++) {
        struct lk_tpm_opts opts = ecc;
        size_t nth, recovered = 0;
        bool failed = true;

        opts.owner_password = OWNER;
        opts.flags = kinds[k];
        for (nth = 1; failed; nth++) {
            struct lk_tpm *tpm = fixture_open(f, opts);
            struct blob b = blob_for(tpm);
            uint8_t mac[LK_TPM_HMAC_LEN];
            enum lk_err err;

            assert_true(nth < 200);
            lk_tpm_proxy_fail(f->proxy, nth, TPM2_RC_NV_UNAVAILABLE);
            if ((err = lk_tpm_nonce_open(tpm, b.bytes.data, b.bytes.len)) == LK_OK &&
                (err = lk_tpm_nonce_hmac(tpm, "x", 1, mac)) == LK_OK &&
                (err = import(tpm, &b)) == LK_OK &&
                (err = lk_tpm_identity_hmac(tpm, "x", 1, mac)) == LK_OK &&
                (err = lk_tpm_identity_hmac(tpm, b.bytes.data, b.bytes.len, mac)) == LK_OK) {
                err = lk_tpm_identity_forget(tpm);
            }
            failed = lk_tpm_proxy_failed(f->proxy);
            /* A key that does not load from its saved context is made again: no failure then. */
            assert_true(err == LK_ERR_TPM || err == LK_OK);
            recovered += failed && err == LK_OK;
            lk_buf_fini(&b.bytes);
            lk_tpm_close(tpm);
            lk_tpm_proxy_reset(f->proxy);
            fixture_no_leak(f);
        }
        assert_true(nth > 20); /* it did fail at many places */
        assert_true(recovered <= 8);
    }
}

/* No room for another object: told as busy, and again nothing stays. */
static void
no_room_in_the_tpm(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, ecc);
    struct blob b = blob_for(tpm);

    lk_tpm_proxy_fail(f->proxy, 4, TPM2_RC_OBJECT_MEMORY);
    assert_int_equal(import(tpm, &b), LK_ERR_BUSY);
    assert_int_equal(import(tpm, &b), LK_OK);
    lk_tpm_proxy_fail(f->proxy, 3, TPM2_RC_LOCKOUT);
    assert_int_equal(import(tpm, &b), LK_ERR_TPM_LOCKOUT);
    lk_buf_fini(&b.bytes);
    lk_tpm_close(tpm);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(import_then_sign),
        CASE(sign_any_length),
        CASE(replace_and_forget),
        CASE(nonce_beside_the_identity),
        CASE(sas_for_the_hub),
        CASE(mqtt_for_the_hub),
        CASE(blob_of_other_keys),
        CASE(failed_tpm_is_no_refusal),
        CASE(blob_from_before_a_clear),
        CASE(blob_of_wrong_length),
        CASE(blob_with_a_turned_bit),
        CASE(handle_of_something_else),
        CASE(no_secret_on_the_bus),
        CASE(proxy_sees_clear_bytes),
        CASE(import_needs_the_passwords),
        CASE(failures_leave_nothing),
        CASE(no_room_in_the_tpm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
