/* The endorsement key and the storage root key: found, created from templates, saved and loaded. */
#include <string.h>

#include <tss2/tss2_mu.h>

#include "device/tpm_int.h"

/* PolicySecret(TPM_RH_ENDORSEMENT): TCG EK Credential Profile 2.5, B.3.3 ("policy A", SHA-256). */
static const uint8_t policy_a[32] = {
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa};

#define ATTRIBUTES_STORAGE                                                                         \
    (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |            \
     TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

/* TCG EK Credential Profile 2.5, B.3.3 and B.3.4; the SRK differs as in the TCG TPM v2.0
 * Provisioning Guidance, 7.5.1: its own authorisation, no policy. */
static void
template_build(enum lk_key_role role, enum lk_tpm_recipe recipe, TPM2B_PUBLIC *ret)
{
    const TPMT_SYM_DEF_OBJECT aes = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
    TPMT_PUBLIC *area = &ret->publicArea;

    memset(ret, 0, sizeof(*ret));
    area->nameAlg = TPM2_ALG_SHA256;
    if (role == LK_ROLE_EK) {
        area->objectAttributes = ATTRIBUTES_STORAGE | TPMA_OBJECT_ADMINWITHPOLICY;
        area->authPolicy.size = sizeof(policy_a);
        memcpy(area->authPolicy.buffer, policy_a, sizeof(policy_a));
    } else {
        area->objectAttributes = ATTRIBUTES_STORAGE | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA;
    }
    if (recipe == LK_TPM_ECC_P256) {
        area->type = TPM2_ALG_ECC;
        area->parameters.eccDetail.symmetric = aes;
        area->parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
        area->parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
        area->parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
        area->unique.ecc.x.size = 32;
        area->unique.ecc.y.size = 32;
        return;
    }
    area->type = TPM2_ALG_RSA;
    area->parameters.rsaDetail.symmetric = aes;
    area->parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
    area->parameters.rsaDetail.keyBits = 2048;
    area->unique.rsa.size = recipe == LK_TPM_RSA2048_EMPTY_UNIQUE ? 0 : 256;
}

/* Create the primary key of a recipe. The hierarchy's password proves itself by HMAC. */
static enum lk_err
primary_create(struct lk_tpm *tpm, const struct tpm_slot *slot, enum lk_tpm_recipe recipe,
               struct tpm_obj *ret, TPM2B_PUBLIC *ret_pub)
{
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION pcrs = {0};
    LK_AUTO(tpm_public) TPM2B_PUBLIC *pub = NULL;
    TPM_AUTO_OBJ struct tpm_obj session = TPM_OBJ_INIT;
    TPM2B_PUBLIC template;
    ESYS_TR made = ESYS_TR_NONE;
    enum lk_err err;

    template_build(slot->role, recipe, &template);
    if ((err = lk_tpm_session(tpm, NULL, TPM2_SE_HMAC, &session)) != LK_OK) {
        return err;
    }
    err = TPM_CALL(tpm, Esys_CreatePrimary(tpm->esys, slot->hierarchy, session.tr, ESYS_TR_NONE,
                                           ESYS_TR_NONE, &sensitive, &template, &outside, &pcrs,
                                           &made, &pub, NULL, NULL, NULL));
    if (err != LK_OK) {
        return err;
    }
    *ret = (struct tpm_obj){tpm->esys, made, true};
    *ret_pub = *pub;
    return LK_OK;
}

static bool
public_equal(const TPM2B_PUBLIC *a, const TPM2B_PUBLIC *b)
{
    uint8_t wire_a[sizeof(TPM2B_PUBLIC)], wire_b[sizeof(TPM2B_PUBLIC)];
    size_t len_a = 0, len_b = 0;

    return Tss2_MU_TPM2B_PUBLIC_Marshal(a, wire_a, sizeof(wire_a), &len_a) == TSS2_RC_SUCCESS &&
           Tss2_MU_TPM2B_PUBLIC_Marshal(b, wire_b, sizeof(wire_b), &len_b) == TSS2_RC_SUCCESS &&
           len_a == len_b && memcmp(wire_a, wire_b, len_a) == 0;
}

/* Keep a fresh key: at its handle when that was asked for and is free, else as a saved context. */
static enum lk_err
slot_keep(struct lk_tpm *tpm, struct tpm_slot *slot, const struct tpm_obj *key, bool handle_taken)
{
    TPM_AUTO_OBJ struct tpm_obj session = TPM_OBJ_INIT;
    TPM_AUTO_OBJ struct tpm_obj stored = {tpm->esys, ESYS_TR_NONE, false};
    enum lk_err err;

    if (!slot->persist || handle_taken) {
        Esys_Free(slot->saved);
        slot->saved = NULL;
        return TPM_CALL(tpm, Esys_ContextSave(tpm->esys, key->tr, &slot->saved));
    }
    /* Not lk_tpm_owner_session(): the key that it salts with may be the one in hand. */
    if ((err = lk_tpm_session(tpm, key, TPM2_SE_HMAC, &session)) != LK_OK) {
        return err;
    }
    err = TPM_CALL(tpm, Esys_EvictControl(tpm->esys, ESYS_TR_RH_OWNER, key->tr, session.tr,
                                          ESYS_TR_NONE, ESYS_TR_NONE, slot->handle, &stored.tr));
    if (err == LK_OK) {
        slot->at = slot->handle;
    }
    return err;
}

/* Take the key at the slot's handle: always for LK_TPM_PERSISTENT, else if it is the same key. */
static enum lk_err
slot_from_handle(struct lk_tpm *tpm, struct tpm_slot *slot, const TPM2B_PUBLIC *same_as)
{
    TPM_AUTO_OBJ struct tpm_obj obj = TPM_OBJ_INIT;
    TPM2B_PUBLIC pub;
    enum lk_err err;

    if ((err = lk_tpm_obj_at(tpm, slot->handle, &obj)) != LK_OK ||
        (err = lk_tpm_obj_public(tpm, &obj, &pub)) != LK_OK) {
        return err;
    }
    if (same_as != NULL && !public_equal(same_as, &pub)) {
        return LK_ERR_NOT_FOUND;
    }
    slot->pub = pub;
    slot->at = slot->handle;
    return LK_OK;
}

static enum lk_err
slot_create(struct lk_tpm *tpm, struct tpm_slot *slot, bool handle_taken)
{
    TPM_AUTO_OBJ struct tpm_obj key = TPM_OBJ_INIT;
    TPM2B_PUBLIC pub;
    enum lk_err err;

    slot->made = slot->recipe == LK_TPM_PERSISTENT ? LK_TPM_RSA2048 : slot->recipe;
    if ((err = primary_create(tpm, slot, slot->made, &key, &pub)) != LK_OK) {
        return err;
    }
    if (handle_taken && (err = slot_from_handle(tpm, slot, &pub)) != LK_ERR_NOT_FOUND) {
        return err;
    }
    slot->pub = pub;
    return slot_keep(tpm, slot, &key, handle_taken);
}

enum lk_err
lk_tpm_slot_ensure(struct lk_tpm *tpm, struct tpm_slot *slot)
{
    bool taken;
    enum lk_err err;

    if (slot->ready) {
        return LK_OK;
    }
    slot->at = 0;
    slot->made = LK_TPM_PERSISTENT;
    if ((err = lk_tpm_handle_exists(tpm, slot->handle, &taken)) != LK_OK) {
        return err;
    }
    err = taken && slot->recipe == LK_TPM_PERSISTENT ? slot_from_handle(tpm, slot, NULL)
                                                     : slot_create(tpm, slot, taken);
    slot->ready = err == LK_OK;
    return err;
}

/* Load without creating. */
static enum lk_err
slot_reload(struct lk_tpm *tpm, struct tpm_slot *slot, struct tpm_obj *ret)
{
    ESYS_TR loaded = ESYS_TR_NONE;
    enum lk_err err;

    if (slot->at != 0) {
        return lk_tpm_obj_at(tpm, slot->at, ret);
    }
    err = TPM_CALL(tpm, Esys_ContextLoad(tpm->esys, slot->saved, &loaded));
    if (err == LK_OK) {
        *ret = (struct tpm_obj){tpm->esys, loaded, true};
    }
    return err;
}

enum lk_err
lk_tpm_slot_load(struct lk_tpm *tpm, struct tpm_slot *slot, struct tpm_obj *ret)
{
    TPM2B_PUBLIC before;
    enum lk_err err;

    if ((err = lk_tpm_slot_ensure(tpm, slot)) != LK_OK ||
        (err = slot_reload(tpm, slot, ret)) != LK_ERR_TPM) {
        return err;
    }
    /* A saved context dies with a reset of the TPM: make the same key again, once. */
    before = slot->pub;
    slot->ready = false;
    if ((err = lk_tpm_slot_ensure(tpm, slot)) != LK_OK) {
        return err;
    }
    if (!public_equal(&before, &slot->pub)) {
        return LK_ERR_TPM; /* cleared under our feet: whoever holds the old public key must know */
    }
    return slot_reload(tpm, slot, ret);
}

/* ---- what callers see ------------------------------------------------------------------------ */

/* The judgement that a service will make of this key. */
static void
judge(enum lk_key_role role, struct lk_tpm_public *pub)
{
    static const char hex[] = "0123456789abcdef";
    struct lk_tpm_key key;

    pub->refusal = NULL;
    pub->id[0] = '\0';
    if (lk_tpm_key_parse(role, pub->tpm2b, pub->tpm2b_len, &pub->refusal, &key) != LK_OK) {
        pub->refusal = pub->refusal != NULL ? pub->refusal : "unknown";
        return;
    }
    pub->refusal = NULL;
    for (size_t i = 0; i < LK_EK_ID_LEN; i++) {
        pub->id[2 * i] = hex[key.id[i] >> 4];
        pub->id[2 * i + 1] = hex[key.id[i] & 15];
    }
    pub->id[2 * LK_EK_ID_LEN] = '\0';
}

static unsigned
public_bits(const TPMT_PUBLIC *area)
{
    if (area->type == TPM2_ALG_RSA) {
        return area->parameters.rsaDetail.keyBits;
    }
    if (area->type != TPM2_ALG_ECC) {
        return 0;
    }
    return area->parameters.eccDetail.curveID == TPM2_ECC_NIST_P256   ? 256
           : area->parameters.eccDetail.curveID == TPM2_ECC_NIST_P384 ? 384
                                                                      : 0;
}

static enum lk_err
slot_public(struct lk_tpm *tpm, struct tpm_slot *slot, struct lk_tpm_public *ret)
{
    struct lk_tpm_public pub = {0};
    enum lk_err err;

    if ((err = lk_tpm_slot_ensure(tpm, slot)) != LK_OK) {
        return err;
    }
    err = lk_tpm_judge(tpm, Tss2_MU_TPM2B_PUBLIC_Marshal(&slot->pub, pub.tpm2b, sizeof(pub.tpm2b),
                                                         &pub.tpm2b_len));
    if (err != LK_OK) {
        return err;
    }
    pub.handle = slot->at;
    pub.recipe = slot->made;
    pub.is_ecc = slot->pub.publicArea.type == TPM2_ALG_ECC;
    pub.bits = public_bits(&slot->pub.publicArea);
    judge(slot->role, &pub);
    *ret = pub;
    return LK_OK;
}

enum lk_err
lk_tpm_ek(struct lk_tpm *tpm, struct lk_tpm_public *ret)
{
    return slot_public(tpm, &tpm->ek, ret);
}

enum lk_err
lk_tpm_srk(struct lk_tpm *tpm, struct lk_tpm_public *ret)
{
    return slot_public(tpm, &tpm->srk, ret);
}

enum lk_err
lk_tpm_ek_recipe(struct lk_tpm *tpm, enum lk_tpm_recipe *ret)
{
    static const enum lk_tpm_recipe candidates[] = {LK_TPM_RSA2048, LK_TPM_RSA2048_EMPTY_UNIQUE,
                                                    LK_TPM_ECC_P256};
    enum lk_err err;

    if ((err = lk_tpm_slot_ensure(tpm, &tpm->ek)) != LK_OK) {
        return err;
    }
    if (tpm->ek.made != LK_TPM_PERSISTENT) {
        *ret = tpm->ek.made;
        return LK_OK;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(candidates); i++) {
        TPM_AUTO_OBJ struct tpm_obj key = TPM_OBJ_INIT;
        bool is_ecc = candidates[i] == LK_TPM_ECC_P256;
        TPM2B_PUBLIC pub;

        if (is_ecc != (tpm->ek.pub.publicArea.type == TPM2_ALG_ECC)) {
            continue;
        }
        if ((err = primary_create(tpm, &tpm->ek, candidates[i], &key, &pub)) != LK_OK) {
            return err;
        }
        if (public_equal(&pub, &tpm->ek.pub)) {
            *ret = candidates[i];
            return LK_OK;
        }
    }
    *ret = LK_TPM_PERSISTENT;
    return LK_OK;
}

const char *
lk_tpm_recipe_text(enum lk_tpm_recipe recipe)
{
    switch (recipe) {
    case LK_TPM_PERSISTENT:
        return "found at its persistent handle";
    case LK_TPM_RSA2048:
        return "RSA-2048, TCG template L-1 (the one that EK certificates are for)";
    case LK_TPM_RSA2048_EMPTY_UNIQUE:
        return "RSA-2048, L-1 with an empty unique (as the C, Node and Java SDKs create it)";
    case LK_TPM_ECC_P256:
        return "ECC P-256, TCG template L-2";
    }
    return "unknown";
}

enum lk_err
lk_tpm_registration_id(struct lk_tpm *tpm, char ret[LK_TPM_REGISTRATION_ID_CAP])
{
    struct lk_tpm_public ek;
    enum lk_err err;

    if ((err = lk_tpm_ek(tpm, &ek)) != LK_OK) {
        return err;
    }
    return lk_default_registration_id(ek.tpm2b, ek.tpm2b_len, ret);
}
