/* Comparing a judged key with a certified one. */
#include "attest/certified.h"

#include <string.h>

static bool
kind_is_same(const struct lk_tpm_key *ek, const struct lk_ek_cert_facts *cert)
{
    if (ek->alg == LK_KEY_RSA) {
        return cert->alg == LK_EK_CERT_RSA && cert->bits == ek->bits &&
               cert->exponent == ek->exponent;
    }
    return cert->alg == LK_EK_CERT_ECC && cert->curve == ek->curve;
}

bool
lk_tpm_key_is_certified(const struct lk_tpm_key *ek, const struct lk_ek_cert_facts *cert)
{
    return kind_is_same(ek, cert) && cert->x_len == ek->x_len && cert->y_len == ek->y_len &&
           memcmp(cert->x, ek->x, ek->x_len) == 0 && memcmp(cert->y, ek->y, ek->y_len) == 0;
}
