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

struct softtpm_key {
    atomic_uint refs;
    EVP_PKEY *pkey;
    enum softtpm_kind kind;
};

struct softtpm {
    struct softtpm_key *ek, *srk;
    struct softtpm_public ek_public, srk_public;
    uint8_t srk_name[LK_TPM_NAME_MAX];
    size_t srk_name_len;
};

const struct softtpm_template *softtpm_template_of(const struct softtpm_key *key);

/* End the program when a call that cannot fail in a test has failed. */
void softtpm_must(bool ok, const char *what);

#endif
