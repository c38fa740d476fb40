/*
 * Wrapping an HMAC key for one TPM: credential protection and duplication of TPM 2.0 Part 1
 * (sections 24 and 23.3), laid out as the authenticationKey blob of the device protocol.
 */
#include "attest/attest.h"

#include <string.h>

#define INNER_KEY_LEN 16u     /* bytes: every client fixes AES-128 for the inner wrapper */
#define OBJECT_HASH LK_SHA256 /* nameAlg of the HMAC key */
#define OBJECT_HASH_LEN 32u

/* TPM 2.0 Part 2: TPM_ALG_KEYEDHASH, TPM_ALG_SHA256, TPM_ALG_HMAC, and TPMA_OBJECT with sign,
 * noDA and userWithAuth. */
#define ALG_KEYEDHASH 0x0008u
#define ALG_SHA256 0x000bu
#define ALG_HMAC 0x0005u
#define HMAC_KEY_ATTRIBUTES 0x00040440u

/* What is drawn for one blob and is worth stealing. */
struct wrap_secrets {
    uint8_t inner_key[INNER_KEY_LEN];
    uint8_t seed_value[OBJECT_HASH_LEN];
    uint8_t ek_seed[LK_HASH_MAX];
    uint8_t srk_seed[LK_HASH_MAX];
};

static void
secrets_drop(struct wrap_secrets *s)
{
    lk_wipe(s, sizeof(*s));
}
#define AUTO_SECRETS __attribute__((cleanup(secrets_drop)))

/* The HMAC key as an object: public area and Name in the clear, sensitive area secret. */
struct hmac_object {
    struct lk_buf public;    /* TPMT_PUBLIC */
    struct lk_buf sensitive; /* TPM2B_SENSITIVE */
    uint8_t name[2 + OBJECT_HASH_LEN];
};

static void
object_drop(struct hmac_object *o)
{
    lk_buf_fini(&o->public);
    lk_buf_fini(&o->sensitive);
}
#define AUTO_OBJECT __attribute__((cleanup(object_drop)))

/* TPMT_PUBLIC with unique = H(seedValue, key) and scheme HMAC with SHA-256. */
static enum lk_err
object_public(const uint8_t *seed_value, const uint8_t *key, size_t key_len, struct lk_buf *ret)
{
    const struct lk_part parts[] = {LK_PART(seed_value, OBJECT_HASH_LEN), LK_PART(key, key_len)};
    uint8_t unique[OBJECT_HASH_LEN];
    enum lk_err err;

    if ((err = lk_digest(OBJECT_HASH, parts, LK_ARRAY_LEN(parts), unique)) != LK_OK ||
        (err = lk_buf_put_u16(ret, ALG_KEYEDHASH)) != LK_OK ||
        (err = lk_buf_put_u16(ret, ALG_SHA256)) != LK_OK ||
        (err = lk_buf_put_u32(ret, HMAC_KEY_ATTRIBUTES)) != LK_OK ||
        (err = lk_buf_put_2b(ret, NULL, 0)) != LK_OK || /* authPolicy */
        (err = lk_buf_put_u16(ret, ALG_HMAC)) != LK_OK ||
        (err = lk_buf_put_u16(ret, ALG_SHA256)) != LK_OK) {
        return err;
    }
    return lk_buf_put_2b(ret, unique, sizeof(unique));
}

/* TPM2B_SENSITIVE: type, empty authValue, seedValue, key. */
static enum lk_err
object_sensitive(const uint8_t *seed_value, const uint8_t *key, size_t key_len, struct lk_buf *ret)
{
    const uint16_t len = (uint16_t)(2 + 2 + 2 + OBJECT_HASH_LEN + 2 + key_len);
    enum lk_err err;

    if ((err = lk_buf_put_u16(ret, len)) != LK_OK ||
        (err = lk_buf_put_u16(ret, ALG_KEYEDHASH)) != LK_OK ||
        (err = lk_buf_put_2b(ret, NULL, 0)) != LK_OK ||
        (err = lk_buf_put_2b(ret, seed_value, OBJECT_HASH_LEN)) != LK_OK) {
        return err;
    }
    return lk_buf_put_2b(ret, key, key_len);
}

static enum lk_err
object_make(const uint8_t *seed_value, const uint8_t *key, size_t key_len, struct hmac_object *ret)
{
    enum lk_err err;

    if ((err = object_public(seed_value, key, key_len, &ret->public)) != LK_OK ||
        (err = object_sensitive(seed_value, key, key_len, &ret->sensitive)) != LK_OK) {
        return err;
    }
    ret->name[0] = ALG_SHA256 >> 8;
    ret->name[1] = ALG_SHA256 & 0xff;
    return lk_digest(OBJECT_HASH, &LK_PART(ret->public.data, ret->public.len), 1, ret->name + 2);
}

/* Secret sharing by ECDH (Part 1, C.6): ret gets the ephemeral TPMS_ECC_POINT. */
static enum lk_err
secret_make_ecc(const struct lk_tpm_key *key, const char *label, const struct lk_rand *rnd,
                uint8_t *ret_seed, struct lk_buf *ret)
{
    const size_t len = key->x_len;
    uint8_t x[LK_HASH_MAX], y[LK_HASH_MAX], z[LK_HASH_MAX];
    enum lk_err err;

    err = lk_ecdh_ephemeral(key->curve, key->x, key->y, rnd, x, y, z);
    if (err == LK_OK) {
        err = lk_kdfe(key->name_alg, LK_PART(z, len), label, LK_PART(x, len), LK_PART(key->x, len),
                      ret_seed, 8 * lk_hash_len(key->name_alg));
    }
    lk_wipe(z, sizeof(z));
    if (err != LK_OK || (err = lk_buf_put_2b(ret, x, len)) != LK_OK) {
        return err;
    }
    return lk_buf_put_2b(ret, y, len);
}

/* A seed that only key's TPM can learn, and the secret that carries it (Part 1, B.10 and C.6). */
static enum lk_err
secret_make(const struct lk_tpm_key *key, const char *label, const struct lk_rand *rnd,
            uint8_t *ret_seed, struct lk_buf *ret)
{
    const size_t seed_len = lk_hash_len(key->name_alg);
    enum lk_err err;

    if (key->alg == LK_KEY_ECC) {
        return secret_make_ecc(key, label, rnd, ret_seed, ret);
    }
    if ((err = lk_rand_fill(rnd, ret_seed, seed_len)) != LK_OK) {
        return err;
    }
    /* The label's NUL is part of it: Part 1, B.4. */
    return lk_rsa_oaep_encrypt(key->x, key->x_len, key->exponent, key->name_alg, label,
                               strlen(label) + 1, ret_seed, seed_len, rnd, ret);
}

/*
 * The outer wrapper (Part 1, 23.3.2.3 and 24): data encrypted in place under the key's symmetric
 * algorithm, preceded by an HMAC over it and the Name that it is bound to.
 */
static enum lk_err
outer_wrap(const struct lk_tpm_key *key, const uint8_t *seed, struct lk_part name, uint8_t *data,
           size_t len, struct lk_buf *ret)
{
    const enum lk_hash h = key->name_alg;
    const struct lk_part none = LK_PART(NULL, 0), mac_over[] = {LK_PART(data, len), name};
    uint8_t sym_key[32], hmac_key[LK_HASH_MAX], mac[LK_HASH_MAX];
    const size_t seed_len = lk_hash_len(h);
    enum lk_err err;

    if ((err = lk_kdfa(h, seed, seed_len, "STORAGE", name, none, sym_key, key->sym_bits)) ==
            LK_OK &&
        (err = lk_kdfa(h, seed, seed_len, "INTEGRITY", none, none, hmac_key, 8 * seed_len)) ==
            LK_OK &&
        (err = lk_aes_cfb_encrypt(sym_key, key->sym_bits, data, len, data)) == LK_OK) {
        err = lk_hmac(h, hmac_key, seed_len, mac_over, LK_ARRAY_LEN(mac_over), mac);
    }
    lk_wipe(sym_key, sizeof(sym_key));
    lk_wipe(hmac_key, sizeof(hmac_key));
    if (err != LK_OK || (err = lk_buf_put_2b(ret, mac, seed_len)) != LK_OK) {
        return err;
    }
    return lk_buf_put(ret, data, len);
}

/* Items 1 and 2: the inner key as a credential for the TPM that holds EK and SRK. */
static enum lk_err
credential_make(const struct lk_tpm_key *ek, const struct lk_tpm_key *srk, struct wrap_secrets *s,
                const struct lk_rand *rnd, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf credential = LK_BUF_INIT, id_object = LK_BUF_INIT,
                              secret = LK_BUF_INIT;
    enum lk_err err;

    if ((err = secret_make(ek, "IDENTITY", rnd, s->ek_seed, &secret)) != LK_OK ||
        (err = lk_buf_put_2b(&credential, s->inner_key, INNER_KEY_LEN)) != LK_OK ||
        (err = outer_wrap(ek, s->ek_seed, LK_PART(srk->name, srk->name_len), credential.data,
                          credential.len, &id_object)) != LK_OK ||
        (err = lk_buf_put_2b(ret, id_object.data, id_object.len)) != LK_OK) {
        return err;
    }
    return lk_buf_put_2b(ret, secret.data, secret.len);
}

/* The inner wrapper (Part 1, 23.3.2.2): digest and sensitive area under the inner key. */
static enum lk_err
inner_wrap(const struct hmac_object *o, const uint8_t *inner_key, struct lk_buf *ret)
{
    const struct lk_part parts[] = {LK_PART(o->sensitive.data, o->sensitive.len),
                                    LK_PART(o->name, sizeof(o->name))};
    uint8_t digest[OBJECT_HASH_LEN];
    enum lk_err err;

    if ((err = lk_digest(OBJECT_HASH, parts, LK_ARRAY_LEN(parts), digest)) != LK_OK ||
        (err = lk_buf_put_2b(ret, digest, sizeof(digest))) != LK_OK ||
        (err = lk_buf_put(ret, o->sensitive.data, o->sensitive.len)) != LK_OK) {
        return err;
    }
    return lk_aes_cfb_encrypt(inner_key, 8 * INNER_KEY_LEN, ret->data, ret->len, ret->data);
}

/* Items 3 to 5: the HMAC key as a duplicate for the SRK, its secret, its public area. */
static enum lk_err
duplicate_make(const struct lk_tpm_key *srk, const struct hmac_object *o, struct wrap_secrets *s,
               const struct lk_rand *rnd, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf inner = LK_BUF_INIT, duplicate = LK_BUF_INIT, secret = LK_BUF_INIT;
    enum lk_err err;

    if ((err = secret_make(srk, "DUPLICATE", rnd, s->srk_seed, &secret)) != LK_OK ||
        (err = inner_wrap(o, s->inner_key, &inner)) != LK_OK ||
        (err = outer_wrap(srk, s->srk_seed, LK_PART(o->name, sizeof(o->name)), inner.data,
                          inner.len, &duplicate)) != LK_OK ||
        (err = lk_buf_put_2b(ret, duplicate.data, duplicate.len)) != LK_OK ||
        (err = lk_buf_put_2b(ret, secret.data, secret.len)) != LK_OK) {
        return err;
    }
    return lk_buf_put_2b(ret, o->public.data, o->public.len);
}

/* Item 6: text that Java's client has its TPM decrypt. Nobody reads it. */
static enum lk_err
uri_put(const char *uri, const uint8_t *inner_key, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err;

    if ((err = lk_buf_puts(&text, uri)) != LK_OK ||
        (err = lk_aes_cfb_encrypt(inner_key, 8 * INNER_KEY_LEN, text.data, text.len, text.data)) !=
            LK_OK) {
        return err;
    }
    return lk_buf_put_2b(ret, text.data, text.len);
}

enum lk_err
lk_auth_key_wrap(const struct lk_tpm_key *ek, const struct lk_tpm_key *srk, const uint8_t *key,
                 size_t key_len, const char *uri, const struct lk_rand *rnd, struct lk_buf *ret)
{
    AUTO_SECRETS struct wrap_secrets s;
    AUTO_OBJECT struct hmac_object object = {LK_BUF_INIT, LK_BUF_INIT, {0}};
    LK_AUTO_BUF struct lk_buf blob = {.max = LK_AUTH_KEY_MAX};
    enum lk_err err;

    if (key_len == 0 || key_len > LK_HMAC_KEY_MAX || uri[0] == '\0') {
        return LK_ERR_ARG;
    }
    if ((err = lk_rand_fill(rnd, s.inner_key, sizeof(s.inner_key))) != LK_OK ||
        (err = lk_rand_fill(rnd, s.seed_value, sizeof(s.seed_value))) != LK_OK ||
        (err = object_make(s.seed_value, key, key_len, &object)) != LK_OK ||
        (err = credential_make(ek, srk, &s, rnd, &blob)) != LK_OK ||
        (err = duplicate_make(srk, &object, &s, rnd, &blob)) != LK_OK ||
        (err = uri_put(uri, s.inner_key, &blob)) != LK_OK) {
        return err;
    }
    return lk_buf_put(ret, blob.data, blob.len);
}
