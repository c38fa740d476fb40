/*
 * A device in software, for tests, fuzzing and load: private EK and SRK, their public areas as a
 * TPM would show them, and the opening of an authenticationKey blob with every check that a TPM
 * makes. It uses OpenSSL alone, none of our own cryptography, so the two check each other.
 *
 * Nothing here protects anything: keys are in memory, and a pool's keys share their primes.
 *
 * Keys are immutable and counted, so thousands of devices may share them; a device is read-only
 * after softtpm_new() and may be used from several threads, except by softtpm_clear().
 * Out of memory or a failing OpenSSL ends the program: this is test code.
 */
#ifndef LK_TEST_SOFTTPM_H
#define LK_TEST_SOFTTPM_H

#include "attest/attest.h"

enum softtpm_kind {
    SOFTTPM_RSA2048, /* SHA-256, AES-128: TCG templates L-1 and H-1 */
    SOFTTPM_RSA3072, /* this and the others but P-256: SHA-384, AES-256, TCG's high range */
    SOFTTPM_RSA4096,
    SOFTTPM_P256, /* SHA-256, AES-128 */
    SOFTTPM_P384
};

struct softtpm_key;

/* A new key: RSA-2048 takes about 100 ms, RSA-4096 a second, P-256 nothing. */
struct softtpm_key *softtpm_key_generate(enum softtpm_kind kind);

/* PKCS#8 (or traditional) PEM, not encrypted; NULL when it is not a key of one of the kinds. */
struct softtpm_key *softtpm_key_from_pem(const char *pem);

/* Private key from the vectors' keys.json by its name, such as "ek_rsa2048". */
struct softtpm_key *softtpm_key_from_vectors(const char *name);

/* PKCS#8 PEM, to keep made keys; the caller frees the text. */
char *softtpm_key_to_pem(const struct softtpm_key *key);

enum softtpm_kind softtpm_key_kind(const struct softtpm_key *key);
struct softtpm_key *softtpm_key_ref(struct softtpm_key *key);
void softtpm_key_free(struct softtpm_key *key); /* drops one reference; NULL is allowed */
LK_DEFINE_AUTO(struct softtpm_key, softtpm_key, softtpm_key_free);

/*
 * A pool of primes gives n * (n - 1) / 2 different RSA-2048 keys for the price of n primes (about
 * 30 ms each) and 1 ms a key: 100 primes are 4,950 devices. Such keys fall to a common divisor, and
 * are for devices that only have to differ.
 */
struct softtpm_pool;
struct softtpm_pool *softtpm_pool_new(size_t primes_count); /* at least 2 */
void softtpm_pool_free(struct softtpm_pool *pool);
LK_DEFINE_AUTO(struct softtpm_pool, softtpm_pool, softtpm_pool_free);
size_t softtpm_pool_keys_count(const struct softtpm_pool *pool);
/* The index-th key, index < softtpm_pool_keys_count(); a new object that the caller frees. */
struct softtpm_key *softtpm_pool_key(const struct softtpm_pool *pool, size_t index);

/*
 * Keys for load: RSA-2048 public keys like any other, made of sixteen primes of 128 bits, so that
 * their private operation costs a sixth of an ordinary one and making one costs nothing. There are
 * as many as anyone can count. They are even weaker than those of a pool, and have no PEM. The set
 * must outlive its keys.
 */
struct softtpm_light;
struct softtpm_light *softtpm_light_new(void);
void softtpm_light_free(struct softtpm_light *light);
LK_DEFINE_AUTO(struct softtpm_light, softtpm_light, softtpm_light_free);
/* The index-th key, index below 2^32; a new object that the caller frees. */
struct softtpm_key *softtpm_light_key(const struct softtpm_light *light, uint32_t index);

/* A public area: the TPM2B_PUBLIC that goes over the wire. */
struct softtpm_public {
    uint8_t bytes[LK_TPM_PUBLIC_MAX];
    size_t len;
};

/*
 * The public area of key in a role. Attribute bits in flip are inverted, for keys that must be
 * refused: flip TPMA_OBJECT fixedTPM (0x2) and it is a software key posing as an SRK.
 */
struct softtpm_public softtpm_public_make(const struct softtpm_key *key, enum lk_key_role role,
                                          uint32_t flip);

struct softtpm;

/* A device with these keys, which it shares (both stay the caller's to free). */
struct softtpm *softtpm_new(struct softtpm_key *ek, struct softtpm_key *srk);
void softtpm_free(struct softtpm *tpm);
LK_DEFINE_AUTO(struct softtpm, softtpm, softtpm_free);

/* TPM2_Clear: another SRK, the same EK. */
void softtpm_clear(struct softtpm *tpm, struct softtpm_key *new_srk);

/* Borrowed until softtpm_clear() or softtpm_free(). */
const struct softtpm_public *softtpm_public(const struct softtpm *tpm, enum lk_key_role role);

/* What a blob brought. */
struct softtpm_opened {
    uint8_t key[LK_HMAC_KEY_MAX]; /* the HMAC key, which a TPM would not show */
    size_t key_len;
    char uri[1024]; /* text of item 6 */
};

/*
 * ActivateCredential and Import: NULL when the TPM would take the blob, else what it objects to,
 * such as "credential integrity"; *ret is then unchanged.
 */
const char *softtpm_open(const struct softtpm *tpm, const void *blob, size_t len,
                         struct softtpm_opened *ret);

/* TPM2_HMAC with an opened key. */
void softtpm_hmac(const struct softtpm_opened *opened, const void *text, size_t len,
                  uint8_t ret[32]);

#endif
