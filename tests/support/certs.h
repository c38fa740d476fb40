/* Certificates made in a test, with P-256 keys. Whatever fails ends the test through cmocka. */
#ifndef LK_TEST_CERTS_H
#define LK_TEST_CERTS_H

#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto/crypto.h"

struct test_cert {
    EVP_PKEY *key;
    X509 *x;
    uint8_t der[4096];
    size_t der_len;
};

struct test_cert_spec {
    const char *cn, *cn2;        /* common names; NULL: none */
    int64_t from_s, to_s;        /* Unix seconds */
    const char *constraints;     /* "critical,CA:TRUE,pathlen:0"; NULL: no such extension */
    const char *key_usage, *eku; /* likewise */
    bool sha1;                   /* signed with it */
    unsigned rsa_bits;           /* 0: P-256 */
};

/* issuer NULL: signed by itself. */
void test_cert_make(struct test_cert *ret, const struct test_cert_spec *spec,
                    const struct test_cert *issuer);
void test_cert_fini(struct test_cert *c);
struct lk_part test_cert_part(const struct test_cert *c); /* its DER */

/* An authority, and a device's certificate, both good for from_s to from_s plus a day. */
void test_ca_make(struct test_cert *ret, const char *cn, int64_t from_s,
                  const struct test_cert *issuer);
void test_leaf_make(struct test_cert *ret, const char *cn, int64_t from_s,
                    const struct test_cert *issuer);

#endif
