#include "crypto/tls.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define READS_MAX 4u /* of the socket, by one call */

LK_DEFINE_AUTO(SSL_CTX, ssl_ctx, SSL_CTX_free);

struct lk_tls {
    atomic_uint refs;
    SSL_CTX *ctx; /* shared by all threads that serve */
    int64_t not_after_unix_s;
};

static _Thread_local const char *failure = "none";
static _Thread_local unsigned reads_left; /* to the call under way */

/* ---- the context ------------------------------------------------------------------------------
 */

/* What OpenSSL complained about first, which names the cause; its queue is empty afterwards. */
static const char *
queue_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    ERR_clear_error();
    return reason != NULL ? reason : "OpenSSL gives no reason";
}

static void
explain(char error[LK_TLS_ERROR_CAP], const char *file, const char *what)
{
    if (error != NULL) {
        (void)snprintf(error, LK_TLS_ERROR_CAP, "%s: %s", file, what);
    }
}

/* An encrypted key is refused rather than asked for on a terminal that nobody watches. */
static int
passphrase_none(char *buf, int size, int rwflag, void *ctx)
{
    return -1;
}

static int
alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
            unsigned in_len, void *ctx)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *picked;

    if (SSL_select_next_proto(&picked, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK; /* h2 alone: the peer may still speak HTTP/1.1 */
    }
    *out = picked;
    return SSL_TLSEXT_ERR_OK;
}

/* Who the peer is, is judged when it asks for something: then we know whom it claims to be. */
static int
peer_take(X509_STORE_CTX *ctx, void *arg)
{
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

/* The request names no authority, so that a client sends whichever certificate it has. */
static void
peer_ask(SSL_CTX *ctx)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, peer_take, NULL);
    SSL_CTX_set_max_cert_list(ctx, (long)(LK_TLS_PEER_CERTS_MAX * (LK_TLS_PEER_CERT_MAX + 16)));
}

/* Protocol, suites and what an idle connection keeps. */
static enum lk_err
ctx_configure(SSL_CTX *ctx)
{
    static const unsigned char session_id[] = "latchkey";

    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_NO_AUTO_CHAIN); /* the file has the chain: build none */
    SSL_CTX_set_read_ahead(ctx, 1);                    /* one read(2) a record instead of two */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* nothing is resumed */
    SSL_CTX_set_default_passwd_cb(ctx, passphrase_none);
    SSL_CTX_set_alpn_select_cb(ctx, alpn_select, NULL);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_num_tickets(ctx, 0) != 1 ||
        SSL_CTX_set_session_id_context(ctx, session_id, sizeof(session_id) - 1) != 1 ||
        SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") != 1 ||
        SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                      "TLS_CHACHA20_POLY1305_SHA256") != 1 ||
        SSL_CTX_set_cipher_list(ctx,
                                "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305") != 1) {
        return LK_ERR_CRYPTO;
    }
    return LK_OK;
}

/* A file that cannot be read at all is told apart from one with the wrong content. */
static enum lk_err
file_check(const char *file, char error[LK_TLS_ERROR_CAP])
{
    if (file == NULL || access(file, R_OK) != 0) {
        explain(error, file != NULL ? file : "TLS", file != NULL ? strerror(errno) : "no file");
        return LK_ERR_IO;
    }
    return LK_OK;
}

static enum lk_err
ctx_load(SSL_CTX *ctx, const struct lk_tls_config *config, char error[LK_TLS_ERROR_CAP])
{
    enum lk_err err;

    if ((err = file_check(config->cert_file, error)) != LK_OK ||
        (err = file_check(config->key_file, error)) != LK_OK) {
        return err;
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, config->cert_file) != 1) {
        explain(error, config->cert_file, queue_reason());
        return LK_ERR_CONFIG;
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, config->key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1) {
        char what[160];

        (void)snprintf(what, sizeof(what),
                       "expected the certificate's private key, PEM, not encrypted: %s",
                       queue_reason());
        explain(error, config->key_file, what);
        return LK_ERR_CONFIG;
    }
    return LK_OK;
}

static enum lk_err
end_read(const X509 *leaf, const char *file, char error[LK_TLS_ERROR_CAP], int64_t *ret)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &tm) != 1) {
        explain(error, file, "the certificate's end date is not readable");
        return LK_ERR_CONFIG;
    }
    *ret = (int64_t)timegm(&tm);
    return LK_OK;
}

static enum lk_err
dates_check(const X509 *leaf, const char *file, char error[LK_TLS_ERROR_CAP])
{
    if (X509_cmp_current_time(X509_get0_notBefore(leaf)) >= 0) {
        explain(error, file, "the certificate is not valid yet");
        return LK_ERR_CONFIG;
    }
    if (X509_cmp_current_time(X509_get0_notAfter(leaf)) <= 0) {
        explain(error, file, "the certificate has expired");
        return LK_ERR_CONFIG;
    }
    return LK_OK;
}

enum lk_err
lk_tls_new(const struct lk_tls_config *config, char error[LK_TLS_ERROR_CAP], struct lk_tls **ret)
{
    LK_AUTO(ssl_ctx) SSL_CTX *ctx = NULL;
    struct lk_tls *tls;
    const X509 *leaf;
    int64_t not_after_unix_s;
    enum lk_err err;

    ERR_clear_error();
    ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || (err = ctx_configure(ctx)) != LK_OK) {
        explain(error, "TLS", queue_reason());
        return LK_ERR_CRYPTO;
    }
    if ((err = ctx_load(ctx, config, error)) != LK_OK) {
        return err;
    }
    leaf = SSL_CTX_get0_certificate(ctx);
    if ((err = end_read(leaf, config->cert_file, error, &not_after_unix_s)) != LK_OK ||
        ((err = dates_check(leaf, config->cert_file, error)) != LK_OK && !config->any_dates)) {
        return err;
    }
    if (config->ask_peer_cert) {
        peer_ask(ctx);
    }
    tls = calloc(1, sizeof(*tls));
    if (tls == NULL) {
        explain(error, "TLS", "out of memory");
        return LK_ERR_CRYPTO;
    }
    atomic_init(&tls->refs, 1);
    tls->ctx = ssl_ctx_take(&ctx);
    tls->not_after_unix_s = not_after_unix_s;
    *ret = tls;
    return LK_OK;
}

struct lk_tls *
lk_tls_ref(struct lk_tls *tls)
{
    atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

void
lk_tls_free(struct lk_tls *tls)
{
    if (tls == NULL || atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    SSL_CTX_free(tls->ctx);
    free(tls);
}

int64_t
lk_tls_not_after_unix_s(const struct lk_tls *tls)
{
    return tls->not_after_unix_s;
}

/* ---- a connection -----------------------------------------------------------------------------
 */

/*
 * OpenSSL reads on until there is something for the application. Key updates are nothing of the
 * kind, so a peer that sends one after the other would keep the thread in one call for good. What
 * the socket still holds is announced again.
 */
static long
reads_ration(BIO *bio, int op, const char *data, size_t len, int i, long l, int ret,
             size_t *processed)
{
    if (op != BIO_CB_READ) {
        return ret;
    }
    if (reads_left == 0) {
        BIO_clear_retry_flags(bio);
        BIO_set_retry_read(bio);
        return -1;
    }
    reads_left--;
    return ret;
}

/* Before each call on a session. SSL_get_error() reads the thread's queue of errors: what others
 * left there would mislead. */
static void
call_begin(void)
{
    ERR_clear_error();
    errno = 0;
    reads_left = READS_MAX;
}

enum lk_err
lk_tls_session(struct lk_tls *tls, int fd, struct ssl_st **ret)
{
    SSL *ssl = SSL_new(tls->ctx);

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return LK_ERR_NOMEM;
    }
    BIO_set_callback_ex(SSL_get_rbio(ssl), reads_ration);
    SSL_set_accept_state(ssl);
    *ret = ssl;
    return LK_OK;
}

void
lk_tls_session_free(struct ssl_st *ssl)
{
    SSL_free(ssl);
}

/* Judge the outcome n of a call on ssl; the thread's error queue was empty before that call. */
static enum lk_tls_io
io_of(const SSL *ssl, int n)
{
    int saved_errno = errno;

    switch (SSL_get_error(ssl, n)) {
    case SSL_ERROR_NONE:
        return LK_TLS_DONE;
    case SSL_ERROR_WANT_READ:
        return LK_TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return LK_TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return LK_TLS_CLOSED;
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        if (saved_errno == 0) { /* end of file, in the middle of a handshake */
            return LK_TLS_CLOSED;
        }
        failure = saved_errno == ECONNRESET ? "reset by the peer" : "the socket failed";
        return LK_TLS_FAILED;
    default:
        failure = queue_reason();
        return LK_TLS_FAILED;
    }
}

enum lk_tls_io
lk_tls_handshake(struct ssl_st *ssl)
{
    int n;

    call_begin();
    n = SSL_do_handshake(ssl);
    return n == 1 ? LK_TLS_DONE : io_of(ssl, n);
}

enum lk_tls_io
lk_tls_read(struct ssl_st *ssl, void *buf, size_t cap, size_t *ret_len)
{
    int n;

    call_begin();
    n = SSL_read(ssl, buf, cap > INT_MAX ? INT_MAX : (int)cap);
    if (n <= 0) {
        return io_of(ssl, n);
    }
    *ret_len = (size_t)n;
    return LK_TLS_DONE;
}

bool
lk_tls_buffered(const struct ssl_st *ssl)
{
    return SSL_has_pending(ssl) == 1;
}

enum lk_tls_io
lk_tls_write(struct ssl_st *ssl, const void *data, size_t len, size_t *ret_len)
{
    int n;

    call_begin();
    n = SSL_write(ssl, data, len > INT_MAX ? INT_MAX : (int)len);
    if (n <= 0) {
        return io_of(ssl, n);
    }
    *ret_len = (size_t)n;
    return LK_TLS_DONE;
}

static enum lk_err
peer_cert_put(const X509 *cert, struct lk_buf *ret)
{
    int len = i2d_X509(cert, NULL);
    unsigned char *p;

    if (len <= 0 || (size_t)len > LK_TLS_PEER_CERT_MAX) {
        return LK_ERR_LIMIT;
    }
    p = lk_buf_extend(ret, (size_t)len);
    return p == NULL ? LK_ERR_NOMEM : i2d_X509(cert, &p) == len ? LK_OK : LK_ERR_CRYPTO;
}

/* On the server's side OpenSSL keeps the peer's own certificate apart from the others. */
enum lk_err
lk_tls_peer_certs(const struct ssl_st *ssl, struct lk_buf ret[LK_TLS_PEER_CERTS_MAX],
                  size_t *ret_count)
{
    const X509 *own = SSL_get0_peer_certificate(ssl);
    STACK_OF(X509) *others = SSL_get_peer_cert_chain(ssl);
    int others_count = others == NULL ? 0 : sk_X509_num(others);
    enum lk_err err;

    if (own == NULL) {
        return LK_ERR_NOT_FOUND;
    }
    if (others_count > (int)LK_TLS_PEER_CERTS_MAX - 1) {
        return LK_ERR_LIMIT;
    }
    err = peer_cert_put(own, &ret[0]);
    for (int i = 0; err == LK_OK && i < others_count; i++) {
        err = peer_cert_put(sk_X509_value(others, i), &ret[i + 1]);
    }
    if (err == LK_OK) {
        *ret_count = (size_t)others_count + 1;
    }
    return err;
}

void
lk_tls_close_notify(struct ssl_st *ssl)
{
    if (SSL_is_init_finished(ssl)) {
        ERR_clear_error();
        (void)SSL_shutdown(ssl); /* the peer's own notice is not waited for */
        ERR_clear_error();
    }
}

const char *
lk_tls_failure(void)
{
    return failure;
}
