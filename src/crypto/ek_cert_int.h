/* What the files of EK certificates share: reading (ek_cert.c) and verifying (ek_chain.c). */
#ifndef LK_CRYPTO_EK_CERT_INT_H
#define LK_CRYPTO_EK_CERT_INT_H

#include "crypto/ek_cert.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>

LK_DEFINE_AUTO(X509, ek_x509, X509_free);

struct lk_ek_cert {
    X509 *x509;
    struct lk_ek_cert_facts facts;
};

/* SHA-256 of the certificate's DER. LK_ERR_CRYPTO. */
LK_MUST_CHECK enum lk_err lk_ek_fingerprint(const X509 *x509, uint8_t ret[LK_EK_FINGERPRINT_LEN]);

#endif
