/*
 * The floor: what a registration costs at least on one core of this machine, in OpenSSL calls made
 * as cheaply as they can be: keys imported and contexts set up beforehand. None of our own code is
 * in it.
 *
 * usage: bench-floor THREADS    prints a JSON object; each thread measures, the median counts
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "bench.h"

#define THREADS_MAX 64u
#define KEYS 8u           /* RSA keys taken in turn, as devices come with different ones */
#define SLICE_US 400000.0 /* CPU time for each part */
#define TEXT_LEN 314u     /* bytes of an EK's public area, the longest that is hashed */

/*
 * How often a registration needs each part.
 *
 * OAEP: the credential's and the duplicate's secret, in the challenge and in the final answer.
 * HMAC: each of the two blobs derives four keys (KDFa) and authenticates two wrappers; the nonce
 * key is made once and derived again to check a token twice; a token is checked twice.
 * Digests: unique, Name and inner integrity of each blob; Names of EK and SRK in both registers.
 */
#define OAEP_COUNT 4
#define HMAC_COUNT (2 * 6 + 3 + 2)
#define DIGEST_COUNT (2 * 3 + 2 * 2)

struct floor {
    double handshake_us; /* one TLS 1.3 handshake, the server's side: P-256 certificate, X25519 */
    double oaep_us;      /* one RSA-2048 OAEP encryption with SHA-256 */
    double hmac_us;      /* one HMAC-SHA256 of a short text */
    double digest_us;    /* one SHA-256 of a public area */
};

/* ---- TLS ---------------------------------------------------------------------------------------
 */

static void
certify(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name;

    must(key != NULL && cert != NULL, "making a certificate");
    name = X509_get_subject_name(cert);
    must(X509_set_version(cert, X509_VERSION_3) == 1 &&
             X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"localhost", -1,
                                        -1, 0) == 1 &&
             X509_set_issuer_name(cert, name) == 1 &&
             X509_gmtime_adj(X509_getm_notBefore(cert), -60) != NULL &&
             X509_gmtime_adj(X509_getm_notAfter(cert), 3600) != NULL &&
             X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0 &&
             SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1,
         "making a certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* Move what one side wrote to where the other reads. */
static void
carry(SSL *from, SSL *to)
{
    uint8_t bytes[8192];
    int len;

    while ((len = BIO_read(SSL_get_wbio(from), bytes, sizeof(bytes))) > 0) {
        must(BIO_write(SSL_get_rbio(to), bytes, len) == len, "carrying records");
    }
}

static SSL *
session(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

    must(ssl != NULL && in != NULL && out != NULL, "making a session");
    SSL_set_bio(ssl, in, out);
    return ssl;
}

/* Spans of CPU time that are summed in a handshake: new, hello, finished, free. */
#define CLOCK_READS 4u

/* One handshake; returns the CPU time of the server's calls. */
static double
handshake(SSL_CTX *server_ctx, SSL_CTX *client_ctx)
{
    double began_us = thread_cpu_us(), server_us;
    SSL *server = session(server_ctx), *client;

    server_us = thread_cpu_us() - began_us;
    client = session(client_ctx);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    while (!SSL_is_init_finished(server) || !SSL_is_init_finished(client)) {
        (void)SSL_do_handshake(client);
        carry(client, server);
        began_us = thread_cpu_us();
        (void)SSL_do_handshake(server);
        server_us += thread_cpu_us() - began_us;
        carry(server, client);
    }
    must(strcmp(SSL_get_version(server), "TLSv1.3") == 0, "TLS 1.3");
    SSL_free(client);
    began_us = thread_cpu_us();
    SSL_free(server);
    return server_us + thread_cpu_us() - began_us;
}

static double
measure_handshake(void)
{
    SSL_CTX *server = SSL_CTX_new(TLS_server_method()), *client = SSL_CTX_new(TLS_client_method());
    double server_us = 0, clock_us = thread_cpu_us();
    unsigned count = 0;

    must(server != NULL && client != NULL && SSL_CTX_set_num_tickets(server, 0) == 1 &&
             SSL_CTX_set_ciphersuites(server, "TLS_AES_128_GCM_SHA256") == 1 &&
             SSL_CTX_set_min_proto_version(client, TLS1_3_VERSION) == 1,
         "preparing TLS");
    for (unsigned i = 0; i < CLOCK_READS * 1000; i++) { /* what reading the clock adds */
        (void)thread_cpu_us();
    }
    clock_us = (thread_cpu_us() - clock_us) / 1000;
    certify(server);
    (void)handshake(server, client);
    for (; server_us < SLICE_US; count++) {
        server_us += handshake(server, client);
    }
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    return server_us / count - clock_us;
}

/* ---- the rest
 * ------------------------------------------------------------------------------------ */

static EVP_PKEY_CTX *
oaep_prepare(EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    void *label = OPENSSL_memdup("IDENTITY", 9);

    must(ctx != NULL && label != NULL && EVP_PKEY_encrypt_init(ctx) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1 &&
             EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1 &&
             EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, label, 9) == 1,
         "preparing OAEP");
    return ctx;
}

static double
measure_oaep(void)
{
    EVP_PKEY *keys[KEYS];
    EVP_PKEY_CTX *ctx[KEYS];
    const uint8_t seed[32] = {1};
    double began_us, spent_us;
    unsigned count = 0;

    for (unsigned i = 0; i < KEYS; i++) {
        must((keys[i] = EVP_RSA_gen(2048)) != NULL, "making a key");
        ctx[i] = oaep_prepare(keys[i]);
    }
    began_us = thread_cpu_us();
    do {
        for (unsigned i = 0; i < 100; i++, count++) {
            uint8_t out[256];
            size_t out_len = sizeof(out);

            must(EVP_PKEY_encrypt(ctx[i % KEYS], out, &out_len, seed, sizeof(seed)) == 1, "OAEP");
        }
        spent_us = thread_cpu_us() - began_us;
    } while (spent_us < SLICE_US);
    for (unsigned i = 0; i < KEYS; i++) {
        EVP_PKEY_CTX_free(ctx[i]);
        EVP_PKEY_free(keys[i]);
    }
    return spent_us / count;
}

static double
measure_hmac(void)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                 OSSL_PARAM_construct_end()};
    uint8_t key[32] = {1}, text[100] = {2}, out[32];
    double began_us, spent_us;
    size_t out_len;
    unsigned count = 0;

    must(ctx != NULL && EVP_MAC_CTX_set_params(ctx, params) == 1, "preparing HMAC");
    began_us = thread_cpu_us();
    do {
        for (unsigned i = 0; i < 1000; i++, count++) {
            must(EVP_MAC_init(ctx, key, sizeof(key), NULL) == 1 &&
                     EVP_MAC_update(ctx, text, sizeof(text)) == 1 &&
                     EVP_MAC_final(ctx, out, &out_len, sizeof(out)) == 1,
                 "HMAC");
            key[0] = out[0]; /* another key each time */
        }
        spent_us = thread_cpu_us() - began_us;
    } while (spent_us < SLICE_US / 4);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return spent_us / count;
}

static double
measure_digest(void)
{
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t text[TEXT_LEN] = {1}, out[32];
    double began_us, spent_us;
    unsigned count = 0;

    must(md != NULL && ctx != NULL, "preparing a digest");
    began_us = thread_cpu_us();
    do {
        for (unsigned i = 0; i < 1000; i++, count++) {
            must(EVP_DigestInit_ex2(ctx, md, NULL) == 1 &&
                     EVP_DigestUpdate(ctx, text, sizeof(text)) == 1 &&
                     EVP_DigestFinal_ex(ctx, out, NULL) == 1,
                 "digest");
            text[0] = out[0];
        }
        spent_us = thread_cpu_us() - began_us;
    } while (spent_us < SLICE_US / 4);
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return spent_us / count;
}

static void *
measure_all(void *arg)
{
    struct floor *f = arg;

    f->handshake_us = measure_handshake();
    f->oaep_us = measure_oaep();
    f->hmac_us = measure_hmac();
    f->digest_us = measure_digest();
    return NULL;
}

static double
median_of(const struct floor *floors, unsigned count, size_t offset)
{
    double values[THREADS_MAX];

    for (unsigned i = 0; i < count; i++) {
        memcpy(&values[i], (const char *)&floors[i] + offset, sizeof(double));
    }
    return quantile(values, count, 0.5);
}

int
main(int argc, char **argv)
{
    const unsigned count = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    struct floor floors[THREADS_MAX], median;
    pthread_t threads[THREADS_MAX];

    if (count == 0 || count > THREADS_MAX) {
        fprintf(stderr, "usage: bench-floor THREADS (1 to %u)\n", THREADS_MAX);
        return 64;
    }
    for (unsigned i = 0; i < count; i++) {
        must(pthread_create(&threads[i], NULL, measure_all, &floors[i]) == 0, "starting a thread");
    }
    for (unsigned i = 0; i < count; i++) {
        must(pthread_join(threads[i], NULL) == 0, "joining a thread");
    }
    median.handshake_us = median_of(floors, count, offsetof(struct floor, handshake_us));
    median.oaep_us = median_of(floors, count, offsetof(struct floor, oaep_us));
    median.hmac_us = median_of(floors, count, offsetof(struct floor, hmac_us));
    median.digest_us = median_of(floors, count, offsetof(struct floor, digest_us));
    printf("{\"threads\": %u, \"handshake_us\": %.2f, \"oaep_us\": %.2f, \"hmac_us\": %.3f, "
           "\"digest_us\": %.3f,\n \"oaep_count\": %d, \"hmac_count\": %d, \"digest_count\": %d, "
           "\"registration_us\": %.2f}\n",
           count, median.handshake_us, median.oaep_us, median.hmac_us, median.digest_us, OAEP_COUNT,
           HMAC_COUNT, DIGEST_COUNT,
           median.handshake_us + OAEP_COUNT * median.oaep_us + HMAC_COUNT * median.hmac_us +
               DIGEST_COUNT * median.digest_us);
    return 0;
}
