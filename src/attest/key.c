/* Parsing and judging the public areas of endorsement and storage root keys. */
#include "attest/attest.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#define RSA_EXPONENT 65537u /* 0 in a public area means it too: TPM 2.0 Part 2, 12.2.3.5 */

/* One judgement: what it is for and, once refused, why. */
struct judge {
    enum lk_key_role role;
    const char *why;
};

static enum lk_err
refuse(struct judge *j, enum lk_err err, const char *ek_why, const char *srk_why)
{
    j->why = j->role == LK_ROLE_EK ? ek_why : srk_why;
    return err;
}

/* The reason code under the name of the key that it is about. */
#define REFUSE(j, err, reason) refuse((j), (err), "ek." reason, "srk." reason)

/* TCG EK Credential Profile, annex B.6: PolicyA and PolicyB for each name algorithm. */
static const uint8_t policies_sha256[][32] = {
    {0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,
     0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,
     0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa},
    {0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34,
     0x24, 0x14, 0xef, 0xcf, 0xb3, 0xa3, 0x85, 0xd4, 0x4c, 0xd1, 0xfd,
     0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0},
};
static const uint8_t policies_sha384[][48] = {
    {0x8b, 0xbf, 0x22, 0x66, 0x53, 0x7c, 0x17, 0x1c, 0xb5, 0x6e, 0x40, 0x3c,
     0x4d, 0xc1, 0xd4, 0xb6, 0x4f, 0x43, 0x26, 0x11, 0xdc, 0x38, 0x6e, 0x6f,
     0x53, 0x20, 0x50, 0xc3, 0x27, 0x8c, 0x93, 0x0e, 0x14, 0x3e, 0x8b, 0xb1,
     0x13, 0x38, 0x24, 0xcc, 0xb4, 0x31, 0x05, 0x38, 0x71, 0xc6, 0xdb, 0x53},
    {0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc,
     0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4,
     0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09,
     0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12},
};

/*
 * Take the bytes apart. libtss2-mu reads on past what it does not know and has its own idea of
 * some fields, so the structure counts only if writing it again gives the same bytes.
 */
static enum lk_err
area_parse(struct judge *j, const void *tpm2b, size_t len, struct lk_reader *ret_wire,
           TPMT_PUBLIC *ret)
{
    uint8_t again[sizeof(TPMT_PUBLIC)];
    size_t read_len = 0, again_len = 0;
    struct lk_reader r = lk_reader_of(tpm2b, len), wire, peek;
    uint16_t type;

    if (lk_read_2b(&r, &wire) != LK_OK || lk_reader_end(&r) != LK_OK) {
        return REFUSE(j, LK_ERR_FORMAT, "malformed");
    }
    peek = wire;
    if (lk_read_u16(&peek, &type) != LK_OK) {
        return REFUSE(j, LK_ERR_FORMAT, "malformed");
    }
    if (type != TPM2_ALG_RSA && type != TPM2_ALG_ECC) {
        return REFUSE(j, LK_ERR_UNSUPPORTED, "type_unsupported");
    }
    memset(ret, 0, sizeof(*ret));
    if (Tss2_MU_TPMT_PUBLIC_Unmarshal(wire.p, wire.left, &read_len, ret) != TSS2_RC_SUCCESS ||
        Tss2_MU_TPMT_PUBLIC_Marshal(ret, again, sizeof(again), &again_len) != TSS2_RC_SUCCESS ||
        read_len != wire.left || again_len != wire.left || memcmp(again, wire.p, again_len) != 0) {
        return REFUSE(j, LK_ERR_FORMAT, "malformed");
    }
    *ret_wire = wire;
    return LK_OK;
}

static enum lk_err
name_alg_judge(struct judge *j, const TPMT_PUBLIC *area, struct lk_tpm_key *key)
{
    if (area->nameAlg == TPM2_ALG_SHA256) {
        key->name_alg = LK_SHA256;
        return LK_OK;
    }
    if (area->nameAlg == TPM2_ALG_SHA384) {
        key->name_alg = LK_SHA384;
        return LK_OK;
    }
    return REFUSE(j, LK_ERR_UNSUPPORTED, "name_alg_unsupported");
}

static enum lk_err
symmetric_judge(struct judge *j, const TPMT_SYM_DEF_OBJECT *sym, struct lk_tpm_key *key)
{
    if (sym->algorithm != TPM2_ALG_AES || sym->mode.aes != TPM2_ALG_CFB ||
        (sym->keyBits.aes != 128 && sym->keyBits.aes != 256)) {
        return REFUSE(j, LK_ERR_UNSUPPORTED, "symmetric_unsupported");
    }
    key->sym_bits = sym->keyBits.aes;
    return LK_OK;
}

static enum lk_err
rsa_judge(struct judge *j, const TPMT_PUBLIC *area, struct lk_tpm_key *key)
{
    const TPMS_RSA_PARMS *parms = &area->parameters.rsaDetail;
    const TPM2B_PUBLIC_KEY_RSA *n = &area->unique.rsa;
    enum lk_err err;

    if ((err = symmetric_judge(j, &parms->symmetric, key)) != LK_OK) {
        return err;
    }
    if (parms->scheme.scheme != TPM2_ALG_NULL) {
        return REFUSE(j, LK_ERR_UNSUPPORTED, "scheme_not_null");
    }
    if (parms->keyBits != 2048 && parms->keyBits != 3072 && parms->keyBits != 4096) {
        return REFUSE(j, LK_ERR_UNSUPPORTED, "rsa_bits_unsupported");
    }
    if (parms->exponent != 0 && parms->exponent != RSA_EXPONENT) {
        return REFUSE(j, LK_ERR_UNSUPPORTED, "exponent_unsupported");
    }
    if (n->size != parms->keyBits / 8) {
        return REFUSE(j, LK_ERR_FORMAT, "modulus_length");
    }
    if ((n->buffer[0] & 0x80) == 0) {
        return REFUSE(j, LK_ERR_FORMAT, "modulus_top_bit_clear");
    }
    if (n->buffer[n->size - 1] % 2 == 0) {
        return REFUSE(j, LK_ERR_FORMAT, "modulus_even");
    }
    key->alg = LK_KEY_RSA;
    key->bits = parms->keyBits;
    key->exponent = RSA_EXPONENT;
    key->x_len = n->size;
    memcpy(key->x, n->buffer, n->size);
    return LK_OK;
}

/* Both coordinates in the field's full length: TPM 2.0 Part 1, C.8 pads them. */
static enum lk_err
point_judge(struct judge *j, const TPMS_ECC_POINT *point, struct lk_tpm_key *key)
{
    const size_t len = lk_curve_len(key->curve);
    enum lk_err err;

    if (point->x.size != len || point->y.size != len) {
        return REFUSE(j, LK_ERR_FORMAT, "point_length");
    }
    err = lk_curve_check(key->curve, point->x.buffer, point->y.buffer);
    if (err == LK_ERR_FORMAT) {
        return REFUSE(j, err, "point_off_curve");
    }
    key->x_len = key->y_len = len;
    memcpy(key->x, point->x.buffer, len);
    memcpy(key->y, point->y.buffer, len);
    return err;
}

static enum lk_err
ecc_judge(struct judge *j, const TPMT_PUBLIC *area, struct lk_tpm_key *key)
{
    const TPMS_ECC_PARMS *parms = &area->parameters.eccDetail;
    enum lk_err err;

    if ((err = symmetric_judge(j, &parms->symmetric, key)) != LK_OK) {
        return err;
    }
    if (parms->scheme.scheme != TPM2_ALG_NULL) {
        return REFUSE(j, LK_ERR_UNSUPPORTED, "scheme_not_null");
    }
    if (parms->kdf.scheme != TPM2_ALG_NULL) {
        return REFUSE(j, LK_ERR_UNSUPPORTED, "kdf_not_null");
    }
    if (parms->curveID != TPM2_ECC_NIST_P256 && parms->curveID != TPM2_ECC_NIST_P384) {
        return REFUSE(j, LK_ERR_UNSUPPORTED, "curve_unsupported");
    }
    key->alg = LK_KEY_ECC;
    key->curve = parms->curveID == TPM2_ECC_NIST_P256 ? LK_P256 : LK_P384;
    key->bits = key->curve == LK_P256 ? 256 : 384;
    return point_judge(j, &area->unique.ecc, key);
}

/*
 * Attributes that make a key one that was born in this TPM, cannot leave it and only opens what is
 * addressed to it. TPM 2.0 Part 2, 8.3; the bits not named there stay clear. A key with noDA,
 * stClear or without is as good.
 */
static enum lk_err
attributes_judge(struct judge *j, TPMA_OBJECT attributes)
{
    const TPMA_OBJECT known = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_STCLEAR | TPMA_OBJECT_FIXEDPARENT |
                              TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                              TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_NODA |
                              TPMA_OBJECT_ENCRYPTEDDUPLICATION | TPMA_OBJECT_RESTRICTED |
                              TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SIGN_ENCRYPT;
    static const struct {
        TPMA_OBJECT bit;
        bool set;
        const char *ek_why, *srk_why; /* NULL: no rule for that role */
    } rules[] = {
        {TPMA_OBJECT_FIXEDTPM, true, "ek.fixed_tpm_clear", "srk.fixed_tpm_clear"},
        {TPMA_OBJECT_FIXEDPARENT, true, "ek.fixed_parent_clear", "srk.fixed_parent_clear"},
        {TPMA_OBJECT_SENSITIVEDATAORIGIN, true, "ek.sensitive_data_origin_clear",
         "srk.sensitive_data_origin_clear"},
        {TPMA_OBJECT_RESTRICTED, true, "ek.restricted_clear", "srk.restricted_clear"},
        {TPMA_OBJECT_DECRYPT, true, "ek.decrypt_clear", "srk.decrypt_clear"},
        {TPMA_OBJECT_SIGN_ENCRYPT, false, "ek.sign_set", "srk.sign_set"},
        {TPMA_OBJECT_ENCRYPTEDDUPLICATION, false, "ek.encrypted_duplication_set",
         "srk.encrypted_duplication_set"},
        {TPMA_OBJECT_ADMINWITHPOLICY, true, "ek.admin_with_policy_clear", NULL},
        {TPMA_OBJECT_USERWITHAUTH, true, NULL, "srk.user_with_auth_clear"},
    };

    if ((attributes & ~known) != 0) {
        return REFUSE(j, LK_ERR_REFUSED, "reserved_attribute_set");
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(rules); i++) {
        const char *why = j->role == LK_ROLE_EK ? rules[i].ek_why : rules[i].srk_why;

        if (why != NULL && ((attributes & rules[i].bit) != 0) != rules[i].set) {
            return refuse(j, LK_ERR_REFUSED, why, why);
        }
    }
    return LK_OK;
}

static bool
policy_is_ek_policy(enum lk_hash h, const uint8_t *digest)
{
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *policy = h == LK_SHA256 ? policies_sha256[i] : policies_sha384[i];

        if (memcmp(policy, digest, lk_hash_len(h)) == 0) {
            return true;
        }
    }
    return false;
}

static enum lk_err
policy_judge(struct judge *j, const TPM2B_DIGEST *policy, enum lk_hash h)
{
    if (policy->size != 0 && policy->size != lk_hash_len(h)) {
        return REFUSE(j, LK_ERR_FORMAT, "policy_length");
    }
    if (j->role == LK_ROLE_EK && (policy->size == 0 || !policy_is_ek_policy(h, policy->buffer))) {
        return REFUSE(j, LK_ERR_REFUSED, "policy_unknown");
    }
    return LK_OK;
}

/* Name: nameAlg and digest of the TPMT_PUBLIC as it was received (TPM 2.0 Part 1, 16). */
static enum lk_err
name_compute(const struct lk_reader *wire, uint16_t name_alg, struct lk_tpm_key *key)
{
    const struct lk_part part = LK_PART(wire->p, wire->left);

    key->name[0] = (uint8_t)(name_alg >> 8);
    key->name[1] = (uint8_t)name_alg;
    key->name_len = 2 + lk_hash_len(key->name_alg);
    return lk_digest(key->name_alg, &part, 1, key->name + 2);
}

/*
 * The identity: SHA-256 over algorithm, bits and exponent or curve, as one byte and two big-endian
 * 32-bit numbers, then modulus or x and y. The lengths follow from the bits.
 */
static enum lk_err
id_compute(struct lk_tpm_key *key)
{
    const uint32_t kind = key->alg == LK_KEY_RSA ? key->exponent : (uint32_t)key->curve;
    const uint8_t head[] = {
        (uint8_t)key->alg,         (uint8_t)(key->bits >> 24), (uint8_t)(key->bits >> 16),
        (uint8_t)(key->bits >> 8), (uint8_t)key->bits,         (uint8_t)(kind >> 24),
        (uint8_t)(kind >> 16),     (uint8_t)(kind >> 8),       (uint8_t)kind};
    const struct lk_part parts[] = {LK_PART(head, sizeof(head)), LK_PART(key->x, key->x_len),
                                    LK_PART(key->y, key->y_len)};

    return lk_digest(LK_SHA256, parts, LK_ARRAY_LEN(parts), key->id);
}

static enum lk_err
key_judge(struct judge *j, const void *tpm2b, size_t len, struct lk_tpm_key *key)
{
    struct lk_reader wire;
    TPMT_PUBLIC area;
    enum lk_err err;

    if ((err = area_parse(j, tpm2b, len, &wire, &area)) != LK_OK ||
        (err = name_alg_judge(j, &area, key)) != LK_OK) {
        return err;
    }
    err = area.type == TPM2_ALG_RSA ? rsa_judge(j, &area, key) : ecc_judge(j, &area, key);
    if (err != LK_OK || (err = attributes_judge(j, area.objectAttributes)) != LK_OK ||
        (err = policy_judge(j, &area.authPolicy, key->name_alg)) != LK_OK ||
        (err = name_compute(&wire, area.nameAlg, key)) != LK_OK) {
        return err;
    }
    return id_compute(key);
}

enum lk_err
lk_tpm_key_parse(enum lk_key_role role, const void *tpm2b, size_t len, const char **ret_why,
                 struct lk_tpm_key *ret)
{
    struct judge j = {role, NULL};
    struct lk_tpm_key key;
    enum lk_err err;

    memset(&key, 0, sizeof(key));
    err = len > LK_TPM_PUBLIC_MAX ? REFUSE(&j, LK_ERR_FORMAT, "malformed")
                                  : key_judge(&j, tpm2b, len, &key);
    if (err != LK_OK) {
        if (ret_why != NULL) {
            *ret_why = j.why != NULL ? j.why : lk_err_name(err);
        }
        return err;
    }
    *ret = key;
    return LK_OK;
}

enum lk_err
lk_tpm_pair_check(const struct lk_tpm_key *ek, const struct lk_tpm_key *srk, const char **ret_why)
{
    if (memcmp(ek->id, srk->id, sizeof(ek->id)) != 0) {
        return LK_OK;
    }
    if (ret_why != NULL) {
        *ret_why = "srk.is_ek";
    }
    return LK_ERR_REFUSED;
}
