/* What the two files of the software device share. */
#ifndef LK_TEST_SOFTTPM_INT_H
#define LK_TEST_SOFTTPM_INT_H

#include "support/softtpm.h"

#include <stdatomic.h>

#include <openssl/evp.h>

/* What a kind of key looks like as EK and as SRK. */
struct softtpm_template {
    unsigned bits;
    uint16_t curve; /* TPM_ECC_CURVE; 0 for RSA */
    const char *hash;
    uint16_t name_alg;
    unsigned sym_bits;
    uint32_t ek_attributes;
    const uint8_t *ek_policy;
    size_t ek_policy_len;
};

struct softtpm_light_parts; /* softtpm_light.c */

struct softtpm_key {
    atomic_uint refs;
    EVP_PKEY *pkey; /* of a light key only the public half */
    enum softtpm_kind kind;
    struct softtpm_light_parts *light; /* NULL but for light keys */
};

struct softtpm {
    struct softtpm_key *ek, *srk;
    struct softtpm_public ek_public, srk_public;
    uint8_t srk_name[LK_TPM_NAME_MAX];
    size_t srk_name_len;
};

const struct softtpm_template *softtpm_template_of(const struct softtpm_key *key);

/* RSAES-OAEP decryption by the parts of a light key: seed_len bytes into ret, or false. */
bool softtpm_light_decrypt(const struct softtpm_light_parts *parts, const EVP_MD *md,
                           const char *label, const uint8_t *in, size_t in_len, uint8_t *ret,
                           size_t seed_len);
void softtpm_light_parts_free(struct softtpm_light_parts *parts); /* NULL is allowed */

/* End the program when a call that cannot fail in a test has failed. */
void softtpm_must(bool ok, const char *what);

#endif
