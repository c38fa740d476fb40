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
    bool ask_peer_cert;    /* a client may present a certificate; see lk_tls_peer_certs() */
    bool any_dates;        /* take a certificate out of date too; error says so beside LK_OK */
};

#define LK_TLS_ERROR_CAP 256u

/*
 * Load certificate and key and check that they belong together and that the certificate is in date
 * (a certificate out of date is reported in error and refused). TLS 1.2 with forward-secret AEAD
 * suites and TLS 1.3, server preference, no renegotiation, no compression, no early data. Sessions
 * are not resumed: a device registers on one connection, so its ticket would be work for nothing,
 * and the ticket key a secret that opens old traffic. ALPN picks http/1.1 when the peer offers it.
 * error (may be NULL) names file and cause. LK_ERR_IO,
 * LK_ERR_CONFIG, LK_ERR_CRYPTO.
 */
LK_MUST_CHECK enum lk_err lk_tls_new(const struct lk_tls_config *config,
                                     char error[LK_TLS_ERROR_CAP], struct lk_tls **ret);
struct lk_tls *lk_tls_ref(struct lk_tls *tls);
void lk_tls_free(struct lk_tls *tls); /* drops one reference; NULL is allowed */
LK_DEFINE_AUTO(struct lk_tls, lk_tls, lk_tls_free);

/* Unix seconds after which the leaf is out of date. */
int64_t lk_tls_not_after_unix_s(const struct lk_tls *tls);

/* ---- one connection: TLS over a non-blocking socket --------------------------------------------
 * A call reads a bounded number of bytes from the socket, so that no peer keeps a thread in it.
 */

/* What a call below came to. */
enum lk_tls_io {
    LK_TLS_DONE,
    LK_TLS_WANT_READ,  /* call again when the socket is readable */
    LK_TLS_WANT_WRITE, /* call again when it is writable */
    LK_TLS_CLOSED,     /* the peer has ended its direction, politely or by closing the socket */
    LK_TLS_FAILED      /* lk_tls_failure() says why; nothing more can be read or written */
};

/* A new server-side session over fd, which is borrowed and stays open. LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err lk_tls_session(struct lk_tls *tls, int fd, struct ssl_st **ret);
void lk_tls_session_free(struct ssl_st *ssl); /* sends nothing; NULL is allowed */

LK_MUST_CHECK enum lk_tls_io lk_tls_handshake(struct ssl_st *ssl);

/* Read up to cap bytes, at least one when LK_TLS_DONE. */
LK_MUST_CHECK enum lk_tls_io lk_tls_read(struct ssl_st *ssl, void *buf, size_t cap,
                                         size_t *ret_len);

/* True while bytes lie in the session that no readable socket will announce: read again. */
bool lk_tls_buffered(const struct ssl_st *ssl);

/*
 * Write the first bytes of data, at least one when LK_TLS_DONE. After LK_TLS_WANT_READ or
 * LK_TLS_WANT_WRITE the next call must begin with the same bytes; they may have moved.
 */
LK_MUST_CHECK enum lk_tls_io lk_tls_write(struct ssl_st *ssl, const void *data, size_t len,
                                          size_t *ret_len);

/*
 * The certificates that the peer presented, DER, its own first; the buffers are empty before. It
 * has proved that it holds the key of the first; nothing else about them is verified: not who
 * signed it, and not its dates. LK_ERR_NOT_FOUND when there is none, LK_ERR_LIMIT when there are
 * more than LK_TLS_PEER_CERTS_MAX or one is longer than LK_TLS_PEER_CERT_MAX.
 */
#define LK_TLS_PEER_CERTS_MAX 4u
#define LK_TLS_PEER_CERT_MAX ((size_t)16384) /* bytes */
LK_MUST_CHECK enum lk_err lk_tls_peer_certs(const struct ssl_st *ssl,
                                            struct lk_buf ret[LK_TLS_PEER_CERTS_MAX],
                                            size_t *ret_count);

/* Tell the peer that nothing more will come, if the socket takes it at once. */
void lk_tls_close_notify(struct ssl_st *ssl);

/* Why this thread's last call above was LK_TLS_FAILED. Static storage, never NULL. */
const char *lk_tls_failure(void);

/* ---- certificates for a first start ---------------------------------------------------------- */

/*
 * Make a P-256 certification authority and a server certificate for names (DNS names or IP
 * addresses), days_valid days from now, and write them as PEM into dir: ca.pem, server.pem (leaf
 * and CA), server.key (mode 0600). The CA's private key is not kept.
 *
 *   LK_ERR_ARG     no name, more than LK_TLS_NAMES_MAX, one that is neither, or no or over
 *                  LK_TLS_DAYS_MAX days
 *   LK_ERR_EXISTS  one of the files exists; none was written
 *   LK_ERR_IO, LK_ERR_CRYPTO
 */
#define LK_TLS_NAMES_MAX 64u
#define LK_TLS_DAYS_MAX 36500u
LK_MUST_CHECK enum lk_err lk_tls_make_self_signed(const char *dir, const char *const *names,
                                                  size_t names_count, unsigned days_valid);

#endif
