/*
 * The floor: what a registration costs at least on one core of this machine, in calls of OpenSSL
 * and SQLite made as cheaply as they can be: keys imported, contexts set up and statements prepared
 * beforehand. None of our own code is in it.
 *
 * usage: bench-floor THREADS FOLDER    prints a JSON object; each thread measures, the median
 *                                      counts; FOLDER is for a database
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "bench.h"
#include "floor.h"

#define THREADS_MAX 64u
#define KEYS 8u       /* RSA keys taken in turn, as devices come with different ones */
#define TEXT_LEN 314u /* bytes of an EK's public area, the longest that is hashed */

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
    double handshake_us;  /* floor.h */
    double connection_us; /* floor.h */
    double oaep_us;       /* one RSA-2048 OAEP encryption with SHA-256 */
    double hmac_us;       /* one HMAC-SHA256 of a short text */
    double digest_us;     /* one SHA-256 of a public area */
};

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
    } while (spent_us < FLOOR_SLICE_US);
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
    } while (spent_us < FLOOR_SLICE_US / 4);
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
    } while (spent_us < FLOOR_SLICE_US / 4);
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return spent_us / count;
}

static void *
measure_all(void *arg)
{
    struct floor *f = arg;

    f->handshake_us = floor_handshake_us();
    f->connection_us = floor_connection_us();
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
    const unsigned count = argc == 3 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    struct floor floors[THREADS_MAX], median;
    struct floor_commit commit;
    pthread_t threads[THREADS_MAX];

    if (count == 0 || count > THREADS_MAX) {
        fprintf(stderr, "usage: bench-floor THREADS (1 to %u) FOLDER\n", THREADS_MAX);
        return 64;
    }
    for (unsigned i = 0; i < count; i++) {
        must(pthread_create(&threads[i], NULL, measure_all, &floors[i]) == 0, "starting a thread");
    }
    for (unsigned i = 0; i < count; i++) {
        must(pthread_join(threads[i], NULL) == 0, "joining a thread");
    }
    median.handshake_us = median_of(floors, count, offsetof(struct floor, handshake_us));
    median.connection_us = median_of(floors, count, offsetof(struct floor, connection_us));
    median.oaep_us = median_of(floors, count, offsetof(struct floor, oaep_us));
    median.hmac_us = median_of(floors, count, offsetof(struct floor, hmac_us));
    median.digest_us = median_of(floors, count, offsetof(struct floor, digest_us));
    commit = floor_commit_measure(argv[2]); /* by itself: it has one writer */
    printf("{\"threads\": %u, \"handshake_us\": %.2f, \"connection_us\": %.2f, "
           "\"rows_us\": %.2f, \"commit_us\": %.2f,\n"
           " \"oaep_us\": %.2f, \"hmac_us\": %.3f, \"digest_us\": %.3f,\n \"oaep_count\": %d, "
           "\"hmac_count\": %d, \"digest_count\": %d, "
           "\"crypto_us\": %.2f}\n",
           count, median.handshake_us, median.connection_us, commit.rows_us, commit.commit_us,
           median.oaep_us, median.hmac_us, median.digest_us, OAEP_COUNT, HMAC_COUNT, DIGEST_COUNT,
           median.handshake_us + OAEP_COUNT * median.oaep_us + HMAC_COUNT * median.hmac_us +
               DIGEST_COUNT * median.digest_us);
    return 0;
}
