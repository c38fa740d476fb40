/* A TPM maker of the tests: certificates of endorsement keys in the forms that chips carry. */
#ifndef LK_TESTS_EK_MAKER_H
#define LK_TESTS_EK_MAKER_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto/crypto.h"

#define MAKER_NOW_MS INT64_C(1790000000000) /* what the tests take for the present, Unix */

struct maker_der {
    uint8_t bytes[8192];
    size_t len;
};

/* What a certificate is to be. Texts NULL: without; times 0: from a day ago for a year. */
struct maker_recipe {
    EVP_PKEY *key;
    EVP_PKEY *issuer_key;                      /* NULL: its own */
    const char *subject, *issuer;              /* common names */
    const char *constraints, *usage, *ext_use; /* extensions as OpenSSL's configuration has them */
    const char *unknown;                       /* a critical extension that nobody knows */
    const char *manufacturer, *model, *version;
    int64_t not_before_s, not_after_s; /* from MAKER_NOW_MS */
    long serial;
    int oaep;             /* the key under the identifier of RSAES-OAEP */
    const EVP_MD *digest; /* NULL: SHA-256 */
};
struct maker_der maker_certify(const struct maker_recipe *r);

/* A list of issuer that revokes serial (0: nothing), until next_s from MAKER_NOW_MS. */
struct maker_der maker_crl(EVP_PKEY *key, const char *issuer, long serial, int64_t next_s);

#endif
