/* TLS contexts and the X.509 that they need. struct ssl_st and ssl_ctx_st are OpenSSL's SSL and
 * SSL_CTX. */
#ifndef LK_CRYPTO_TLS_H
#define LK_CRYPTO_TLS_H

#include "base/buf.h"

struct ssl_st;
struct ssl_ctx_st;
struct lk_tls; /* a server context; reference counted, so that a reload can swap it under live
                  connections */

struct lk_tls_config {
    const char *cert_file; /* PEM, leaf first, then intermediates */
    const char *key_file;  /* PEM; a P-256 key is what makes a handshake cheap */
};

#define LK_TLS_ERROR_CAP 256u

/*
 * Load certificate and key and check that they belong together and that the certificate is in date
 * (a certificate out of date is reported in error and refused). TLS 1.2 with forward-secret AEAD
 * suites and TLS 1.3, server preference, session tickets rotated by OpenSSL, no renegotiation, no
 * compression. error (may be NULL) names file and cause. LK_ERR_IO, LK_ERR_CONFIG, LK_ERR_CRYPTO.
 */
LK_MUST_CHECK enum lk_err lk_tls_new(const struct lk_tls_config *config,
                                     char error[LK_TLS_ERROR_CAP], struct lk_tls **ret);
struct lk_tls *lk_tls_ref(struct lk_tls *tls);
void lk_tls_free(struct lk_tls *tls); /* drops one reference; NULL is allowed */
LK_DEFINE_AUTO(struct lk_tls, lk_tls, lk_tls_free);

/* A new server-side session in accept state; owned by the caller (the bufferevent frees it). */
LK_MUST_CHECK enum lk_err lk_tls_session(struct lk_tls *tls, struct ssl_st **ret);

/* Unix seconds after which the leaf is out of date. */
int64_t lk_tls_not_after_unix_s(const struct lk_tls *tls);

/*
 * Make a P-256 certification authority and a server certificate for names (DNS names or IP
 * addresses), days_valid days from now, and write them as PEM into dir: ca.pem, server.pem (leaf
 * and CA), server.key (mode 0600). Existing files are LK_ERR_EXISTS. The CA's private key is not
 * kept.
 */
LK_MUST_CHECK enum lk_err lk_tls_make_self_signed(const char *dir, const char *const *names,
                                                  size_t names_count, unsigned days_valid);

#endif
