/*
 * src/attest/ against a TPM that others wrote (libtpms in swtpm): keys from TCG's templates must be
 * judged sound under the Name that the TPM gives them, and what is wrapped for them must pass
 * ActivateCredential, Import and Load and then sign like the key outside.
 *
 * libtpms makes no RSA-4096 keys; everything else that attest/ accepts is here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_tctildr.h>

#include "attest/attest.h"
#include "support/swtpm.h"

#define PERSISTENT_EK 0x81010001u
#define PERSISTENT_SRK 0x81000001u
#define STORAGE_ATTRIBUTES                                                                         \
    (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |            \
     TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

static struct lk_swtpm *tpm;
static TSS2_TCTI_CONTEXT *tcti;
static ESYS_CONTEXT *esys;

static void
ok(TSS2_RC rc)
{
    if (rc != TSS2_RC_SUCCESS) {
        fail_msg("TPM answered 0x%08x", rc);
    }
}

/* ---- templates: TCG EK Credential Profile 2.5, annex B --------------------------------------- */

static const char *const policy_a[] = {
    "\x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24"
    "\xfd\x52\xd7\x6e\x06\x52\x0b\x64\xf2\xa1\xda\x1b\x33\x14\x69\xaa",
    "\x8b\xbf\x22\x66\x53\x7c\x17\x1c\xb5\x6e\x40\x3c\x4d\xc1\xd4\xb6"
    "\x4f\x43\x26\x11\xdc\x38\x6e\x6f\x53\x20\x50\xc3\x27\x8c\x93\x0e"
    "\x14\x3e\x8b\xb1\x13\x38\x24\xcc\xb4\x31\x05\x38\x71\xc6\xdb\x53"};
static const char *const policy_b[] = {
    "\xca\x3d\x0a\x99\xa2\xb9\x39\x06\xf7\xa3\x34\x24\x14\xef\xcf\xb3"
    "\xa3\x85\xd4\x4c\xd1\xfd\x45\x90\x89\xd1\x9b\x50\x71\xc0\xb7\xa0",
    "\xb2\x6e\x7d\x28\xd1\x1a\x50\xbc\x53\xd8\x82\xbc\xf5\xfd\x3a\x1a"
    "\x07\x41\x48\xbb\x35\xd3\xb4\xe4\xcb\x1c\x0a\xd9\xbd\xe4\x19\xca"
    "\xcb\x47\xba\x09\x69\x96\x46\x15\x0f\x9f\xc0\x00\xf3\xf8\x0e\x12"};
/* The other branch of PolicyB: a policy that the administrator keeps in NV. */
static const char *const policy_c[] = {
    "\x37\x67\xe2\xed\xd4\x3f\xf4\x5a\x3a\x7e\x1e\xae\xfc\xef\x78\x64"
    "\x3d\xca\x96\x46\x32\xe7\xaa\xd8\x2c\x67\x3a\x30\xd8\x63\x3f\xde",
    "\xd6\x03\x2c\xe6\x1f\x2f\xb3\xc2\x40\xeb\x3c\xf6\xa3\x32\x37\xef"
    "\x2b\x6a\x16\xf4\x29\x3c\x22\xb4\x55\xe2\x61\xcf\xfd\x21\x7a\xd5"
    "\xb4\x94\x7c\x2d\x73\xe6\x30\x05\xee\xd2\xdc\x2b\x35\x93\xd1\x65"};

static const struct kind {
    const char *text;
    TPM2_ALG_ID type, hash;
    uint16_t bits, aes_bits;
    TPM2_ECC_CURVE curve;
    bool high; /* high-range template: PolicyB, userWithAuth on the EK, empty unique */
} kinds[] = {
    {"RSA-2048 (L-1)", TPM2_ALG_RSA, TPM2_ALG_SHA256, 2048, 128, 0, false},
    {"RSA-2048 (H-1)", TPM2_ALG_RSA, TPM2_ALG_SHA256, 2048, 128, 0, true},
    {"RSA-3072 (H-6)", TPM2_ALG_RSA, TPM2_ALG_SHA384, 3072, 256, 0, true},
    {"P-256 (L-2)", TPM2_ALG_ECC, TPM2_ALG_SHA256, 256, 128, TPM2_ECC_NIST_P256, false},
    {"P-256 (H-2)", TPM2_ALG_ECC, TPM2_ALG_SHA256, 256, 128, TPM2_ECC_NIST_P256, true},
    {"P-384 (H-3)", TPM2_ALG_ECC, TPM2_ALG_SHA384, 384, 256, TPM2_ECC_NIST_P384, true},
};

static size_t
hash_index(TPM2_ALG_ID hash)
{
    return hash == TPM2_ALG_SHA256 ? 0 : 1;
}

static TPM2B_DIGEST
digest_of(const char *const texts[2], TPM2_ALG_ID hash)
{
    TPM2B_DIGEST d = {.size = hash == TPM2_ALG_SHA256 ? 32 : 48};

    memcpy(d.buffer, texts[hash_index(hash)], d.size);
    return d;
}

static TPM2B_PUBLIC
template_make(const struct kind *k, enum lk_key_role role)
{
    const TPMT_SYM_DEF_OBJECT aes = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = k->aes_bits, .mode.aes = TPM2_ALG_CFB};
    TPM2B_PUBLIC t = {.publicArea = {.type = k->type,
                                     .nameAlg = k->hash,
                                     .objectAttributes = STORAGE_ATTRIBUTES}};
    TPMT_PUBLIC *area = &t.publicArea;
    bool user = role == LK_ROLE_SRK || k->high;

    area->objectAttributes |= user ? TPMA_OBJECT_USERWITHAUTH : 0;
    area->objectAttributes |=
        role == LK_ROLE_EK ? TPMA_OBJECT_ADMINWITHPOLICY : (TPMA_OBJECT)TPMA_OBJECT_NODA;
    if (role == LK_ROLE_EK) {
        area->authPolicy = digest_of(k->high ? policy_b : policy_a, k->hash);
    }
    if (k->type == TPM2_ALG_RSA) {
        area->parameters.rsaDetail.symmetric = aes;
        area->parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
        area->parameters.rsaDetail.keyBits = k->bits;
        area->unique.rsa.size = k->high ? 0 : k->bits / 8;
        return t;
    }
    area->parameters.eccDetail.symmetric = aes;
    area->parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
    area->parameters.eccDetail.curveID = k->curve;
    area->parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
    area->unique.ecc.x.size = area->unique.ecc.y.size = k->high ? 0 : k->bits / 8;
    return t;
}

/* ---- keys in the TPM ------------------------------------------------------------------------- */

struct tpm_key {
    const struct kind *kind;
    ESYS_TR tr; /* persistent, so that it takes none of the TPM's few places for objects */
    uint8_t area[LK_TPM_PUBLIC_MAX];
    size_t area_len;
    struct lk_tpm_key judged;
};

static struct tpm_key eks[LK_ARRAY_LEN(kinds)], srks[LK_ARRAY_LEN(kinds)];

static void
expect_name(const struct tpm_key *key)
{
    TPM2B_NAME *name = NULL;

    ok(Esys_TR_GetName(esys, key->tr, &name));
    assert_int_equal(name->size, key->judged.name_len);
    assert_memory_equal(name->name, key->judged.name, name->size);
    Esys_Free(name);
}

static void
key_create(const struct kind *k, enum lk_key_role role, TPM2_HANDLE handle, struct tpm_key *ret)
{
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION pcrs = {0};
    const TPM2B_PUBLIC template = template_make(k, role);
    TPM2B_PUBLIC *public = NULL;
    const char *why = "taken";
    ESYS_TR made;

    ok(Esys_CreatePrimary(esys, role == LK_ROLE_EK ? ESYS_TR_RH_ENDORSEMENT : ESYS_TR_RH_OWNER,
                          ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &template,
                          &outside, &pcrs, &made, &public, NULL, NULL, NULL));
    ok(Esys_EvictControl(esys, ESYS_TR_RH_OWNER, made, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                         handle, &ret->tr));
    ok(Esys_FlushContext(esys, made));
    ret->kind = k;
    ok(Tss2_MU_TPM2B_PUBLIC_Marshal(public, ret->area, sizeof(ret->area), &ret->area_len));
    Esys_Free(public);
    if (lk_tpm_key_parse(role, ret->area, ret->area_len, &why, &ret->judged) != LK_OK) {
        fail_msg("%s: %s", k->text, why);
    }
}

/* ---- what a device does with a blob ---------------------------------------------------------- */

/* A session that satisfies the EK's policy: PolicySecret(endorsement), in the high range or'ed. */
static ESYS_TR
ek_session(const struct kind *k)
{
    const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
    TPML_DIGEST branches = {.count = 2};
    ESYS_TR session;

    ok(Esys_StartAuthSession(esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                             ESYS_TR_NONE, NULL, TPM2_SE_POLICY, &none, k->hash, &session));
    ok(Esys_PolicySecret(esys, ESYS_TR_RH_ENDORSEMENT, session, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                         ESYS_TR_NONE, NULL, NULL, NULL, 0, NULL, NULL));
    if (k->high) {
        branches.digests[0] = digest_of(policy_a, k->hash);
        branches.digests[1] = digest_of(policy_c, k->hash);
        ok(Esys_PolicyOR(esys, session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &branches));
    }
    return session;
}

/* The blob's items as the TPM wants them. */
struct items {
    TPM2B_ID_OBJECT id_object;
    TPM2B_ENCRYPTED_SECRET ek_secret, srk_secret;
    TPM2B_PRIVATE duplicate;
    TPM2B_PUBLIC public;
};

/* size and buffer are those of the TPM2B that an item goes to. */
static void
item_copy(struct lk_reader *r, uint16_t *size, uint8_t *buffer, size_t cap)
{
    struct lk_reader item;

    assert_int_equal(lk_read_2b(r, &item), LK_OK);
    assert_true(item.left <= cap);
    *size = (uint16_t)item.left;
    memcpy(buffer, item.p, item.left);
}

static void
items_split(const struct lk_buf *blob, struct items *ret)
{
    struct lk_reader r = lk_reader_of(blob->data, blob->len), uri;
    size_t used = 0;

    memset(ret, 0, sizeof(*ret));
    item_copy(&r, &ret->id_object.size, ret->id_object.credential,
              sizeof(ret->id_object.credential));
    item_copy(&r, &ret->ek_secret.size, ret->ek_secret.secret, sizeof(ret->ek_secret.secret));
    item_copy(&r, &ret->duplicate.size, ret->duplicate.buffer, sizeof(ret->duplicate.buffer));
    item_copy(&r, &ret->srk_secret.size, ret->srk_secret.secret, sizeof(ret->srk_secret.secret));
    ok(Tss2_MU_TPM2B_PUBLIC_Unmarshal(r.p, r.left, &used, &ret->public));
    r = lk_reader_of(r.p + used, r.left - used);
    assert_int_equal(lk_read_2b(&r, &uri), LK_OK);
    assert_int_equal(lk_reader_end(&r), LK_OK);
}

static TSS2_RC
activate(const struct tpm_key *ek, const struct tpm_key *srk, const struct items *in,
         TPM2B_DATA *ret)
{
    ESYS_TR session = ek_session(ek->kind);
    TPM2B_DIGEST *credential = NULL;
    TSS2_RC rc;

    rc = Esys_ActivateCredential(esys, srk->tr, ek->tr, ESYS_TR_PASSWORD, session, ESYS_TR_NONE,
                                 &in->id_object, &in->ek_secret, &credential);
    ok(Esys_FlushContext(esys, session));
    if (rc == TSS2_RC_SUCCESS) {
        ret->size = credential->size;
        memcpy(ret->buffer, credential->buffer, credential->size);
        Esys_Free(credential);
    }
    return rc;
}

/* Import and Load; *ret is the loaded key. */
static TSS2_RC
import(const struct tpm_key *srk, const struct items *in, const TPM2B_DATA *inner_key, ESYS_TR *ret)
{
    const TPMT_SYM_DEF_OBJECT aes128 = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
    TPM2B_PRIVATE *private = NULL;
    TSS2_RC rc;

    rc = Esys_Import(esys, srk->tr, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, inner_key,
                     &in->public, &in->duplicate, &in->srk_secret, &aes128, &private);
    if (rc == TSS2_RC_SUCCESS) {
        rc = Esys_Load(esys, srk->tr, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, private,
                       &in->public, ret);
        Esys_Free(private);
    }
    return rc;
}

/* The loaded key signs as the key outside does; the hash comes from its scheme. */
static void
expect_hmac(ESYS_TR loaded, const uint8_t *key, size_t key_len)
{
    static const char text[] = "0ne00000000%2Fregistrations%2Fdev-1\n1900000000";
    const struct lk_part part = LK_PART(text, sizeof(text) - 1);
    TPM2B_MAX_BUFFER message = {.size = sizeof(text) - 1};
    TPM2B_DIGEST *mac = NULL;
    uint8_t want[LK_HASH_MAX];

    memcpy(message.buffer, text, message.size);
    ok(Esys_HMAC(esys, loaded, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &message,
                 TPM2_ALG_NULL, &mac));
    assert_int_equal(lk_hmac(LK_SHA256, key, key_len, &part, 1, want), LK_OK);
    assert_int_equal(mac->size, 32);
    assert_memory_equal(mac->buffer, want, 32);
    Esys_Free(mac);
}

static void
pair_run(const struct tpm_key *ek, const struct tpm_key *srk, size_t key_len)
{
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
    uint8_t key[LK_HMAC_KEY_MAX];
    TPM2B_DATA inner_key = {.size = 0};
    struct items items;
    ESYS_TR loaded;

    assert_int_equal(lk_rand_fill(&lk_rand_system, key, sizeof(key)), LK_OK);
    assert_int_equal(lk_auth_key_wrap(&ek->judged, &srk->judged, key, key_len, "scope/x",
                                      &lk_rand_system, &blob),
                     LK_OK);
    items_split(&blob, &items);
    ok(activate(ek, srk, &items, &inner_key));
    assert_int_equal(inner_key.size, 16);
    ok(import(srk, &items, &inner_key, &loaded));
    expect_hmac(loaded, key, key_len);
    ok(Esys_FlushContext(esys, loaded));
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Every key of TCG's templates is sound in our eyes, and has the Name that the TPM gives it. */
static void
judges_real_keys(void **state)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(kinds); i++) {
        expect_name(&eks[i]);
        expect_name(&srks[i]);
        assert_int_equal(lk_tpm_pair_check(&eks[i].judged, &srks[i].judged, NULL), LK_OK);
        assert_int_equal(eks[i].judged.bits, kinds[i].bits);
        assert_int_equal(eks[i].judged.sym_bits, kinds[i].aes_bits);
    }
}

/* Every EK with every SRK. */
static void
tpm_opens_every_pair(void **state)
{
    for (size_t e = 0; e < LK_ARRAY_LEN(kinds); e++) {
        for (size_t s = 0; s < LK_ARRAY_LEN(kinds); s++) {
            pair_run(&eks[e], &srks[s], 32);
        }
    }
}

/* Shortest and longest HMAC key that a TPM takes. */
static void
tpm_takes_all_key_lengths(void **state)
{
    pair_run(&eks[0], &srks[0], 1);
    pair_run(&eks[0], &srks[0], 16);
    pair_run(&eks[3], &srks[3], LK_HMAC_KEY_MAX);
}

/* Shared points with a leading zero come up once in 256: KDFe must see them padded. */
static void
tpm_opens_many_ecc_blobs(void **state)
{
    for (int i = 0; i < 100; i++) {
        pair_run(&eks[3], &srks[3], 32);
    }
}

/* A response code without the number of the parameter or session (Part 2, 6.6.2). */
static TSS2_RC
bare(TSS2_RC rc)
{
    return rc & (TPM2_RC_FMT1 | 0x3f);
}

/* A credential for one SRK is worthless for another, as for the next owner's. */
static void
tpm_binds_credential_to_srk(void **state)
{
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
    const uint8_t key[32] = {1};
    TPM2B_DATA inner_key = {.size = 0};
    struct items items;
    ESYS_TR loaded;

    assert_int_equal(lk_auth_key_wrap(&eks[0].judged, &srks[0].judged, key, sizeof(key), "u",
                                      &lk_rand_system, &blob),
                     LK_OK);
    items_split(&blob, &items);
    assert_int_equal(bare(activate(&eks[0], &srks[1], &items, &inner_key)), TPM2_RC_INTEGRITY);
    ok(activate(&eks[0], &srks[0], &items, &inner_key));
    items.duplicate.buffer[40] ^= 1;
    assert_int_equal(bare(import(&srks[0], &items, &inner_key, &loaded)), TPM2_RC_INTEGRITY);
}

static void
link_open(void)
{
    ok(Tss2_TctiLdr_Initialize(lk_swtpm_tcti(tpm), &tcti));
    ok(Esys_Initialize(&esys, tcti, NULL));
}

static int
setup(void **state)
{
    tpm = lk_swtpm_start();
    link_open();
    for (size_t i = 0; i < LK_ARRAY_LEN(kinds); i++) {
        key_create(&kinds[i], LK_ROLE_EK, (TPM2_HANDLE)(PERSISTENT_EK + i), &eks[i]);
        key_create(&kinds[i], LK_ROLE_SRK, (TPM2_HANDLE)(PERSISTENT_SRK + i), &srks[i]);
    }
    return 0;
}

/* Nothing may be left in the TPM: every object and session was flushed. */
static void
expect_no_handles(TPM2_HANDLE first)
{
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more;

    ok(Esys_GetCapability(esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, first,
                          16, &more, &data));
    assert_int_equal(data->data.handles.count, 0);
    Esys_Free(data);
}

static void
nothing_is_left_in_the_tpm(void **state)
{
    /* TPM2_TRANSIENT_FIRST is a shift into the sign bit, undefined in C. */
    expect_no_handles((TPM2_HANDLE)TPM2_HT_TRANSIENT << TPM2_HR_SHIFT);
    expect_no_handles(TPM2_LOADED_SESSION_FIRST);
    expect_no_handles(TPM2_ACTIVE_SESSION_FIRST);
}

static int
teardown(void **state)
{
    Esys_Finalize(&esys);
    Tss2_TctiLdr_Finalize(&tcti);
    lk_swtpm_stop(tpm);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_real_keys),
        cmocka_unit_test(tpm_opens_every_pair),
        cmocka_unit_test(tpm_takes_all_key_lengths),
        cmocka_unit_test(tpm_opens_many_ecc_blobs),
        cmocka_unit_test(tpm_binds_credential_to_srk),
        cmocka_unit_test(nothing_is_left_in_the_tpm),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, setup, teardown);
}
