/*
 * The TPM of this device: open it, read its keys and say what it is.
 *
 * A struct lk_tpm is one connection to one TPM. Between two calls it holds no object and no session
 * inside the TPM: a TPM has room for about three, and other programs need them too. Keys that are
 * not persistent are saved (wrapped by the TPM) after use and loaded again for the next one.
 *
 * Nothing here ever clears a TPM, changes a password, or writes to it unless asked: what writes
 * says so. Passwords of hierarchies are only needed where the owner of the TPM has set them; they
 * prove themselves through HMAC sessions and do not cross the bus.
 *
 * One thread at a time per object. Calls block for as long as the TPM takes, which for the creation
 * of an RSA key on a discrete TPM can be many seconds.
 *
 * Errors that every function here can return, besides those that it lists:
 *
 *   LK_ERR_ARG          a documented precondition does not hold
 *   LK_ERR_NOMEM        out of memory
 *   LK_ERR_TPM          the TPM answered with an error; lk_tpm_last_rc() has it
 *   LK_ERR_TPM_AUTH     a password was not the right one. Stop: more tries may lock the TPM
 *   LK_ERR_TPM_LOCKOUT  the TPM is in dictionary-attack lockout, or asked to retry later
 *   LK_ERR_BUSY         no room in the TPM for another object or session: others left theirs behind
 *   LK_ERR_IO           the TPM could not be reached
 */
#ifndef LK_TPM_H
#define LK_TPM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <latchkey/err.h>

LK_BEGIN_DECLS

struct lk_tpm; /* opaque */

/* Where the provisioning SDKs and the TCG keep the keys. */
#define LK_TPM_EK_HANDLE 0x81010001u       /* endorsement key */
#define LK_TPM_SRK_HANDLE 0x81000001u      /* storage root key */
#define LK_TPM_IDENTITY_HANDLE 0x81000100u /* HMAC key that signs tokens */

#define LK_TPM_PUBLIC_CAP 640u /* bytes that any TPM2B_PUBLIC here fits in */
#define LK_TPM_KEY_ID_CAP 65u  /* bytes of a key's identity in hexadecimal, with its NUL */

/*
 * How a key comes to be. One TPM yields different keys from different templates, and only those of
 * the TCG's default templates match the certificate that the TPM's maker has signed.
 */
enum lk_tpm_recipe {
    /*
     * The key at its persistent handle whatever it is, else one created from LK_TPM_RSA2048. The
     * default, and what lets a device keep the endorsement key that it was enrolled with.
     */
    LK_TPM_PERSISTENT = 0,
    LK_TPM_RSA2048 = 1, /* TCG template L-1: RSA-2048, unique is 256 zero bytes */
    /* As L-1, but with an empty unique: what the C, Node and Java SDKs create. Another key than
     * L-1, and not the one in the maker's certificate. */
    LK_TPM_RSA2048_EMPTY_UNIQUE = 2,
    LK_TPM_ECC_P256 = 3 /* TCG template L-2: ECC NIST P-256, coordinates 32 zero bytes each */
};

enum lk_tpm_flag {
    /*
     * Make a created key persistent at its handle, if that handle is free: later starts are faster.
     * Writes to the TPM and needs the owner password if one is set.
     */
    LK_TPM_PERSIST_EK = 1u << 0,
    LK_TPM_PERSIST_SRK = 1u << 1
};

/* Zeros are the defaults. Texts are copied. */
struct lk_tpm_opts {
    /*
     * TCTI string of tpm2-tss, for example "device:/dev/tpmrm0" or "swtpm:port=2321". NULL takes
     * the first that tctildr finds: the resource manager's device, then the TPM's own.
     */
    const char *tcti;
    const char *owner_password;       /* of the storage hierarchy; NULL when none is set */
    const char *endorsement_password; /* of the endorsement hierarchy; NULL when none is set */
    uint32_t ek_handle;               /* 0 means LK_TPM_EK_HANDLE */
    uint32_t srk_handle;              /* 0 means LK_TPM_SRK_HANDLE */
    uint32_t identity_handle;         /* 0 means LK_TPM_IDENTITY_HANDLE */
    enum lk_tpm_recipe ek_recipe;
    enum lk_tpm_recipe srk_recipe;
    unsigned flags; /* of enum lk_tpm_flag */
};

/*
 * Connect to a TPM. opts may be NULL for all defaults. The TPM is started (TPM2_Startup) only if
 * nothing has started it since it got power. On success *ret is a new object that the caller closes
 * with lk_tpm_close(); on failure it is unchanged.
 *
 *   LK_ERR_ARG  a password is too long, or a handle is outside the persistent range
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_tpm_open(const struct lk_tpm_opts *opts,
                                                struct lk_tpm **ret);

/* Disconnect, wipe and free. NULL is allowed. The TPM's own content stays as it is. */
LK_EXPORT void lk_tpm_close(struct lk_tpm *tpm);

/*
 * The TPM's answer to the last command that failed (a TSS2_RC), 0 when none did, and its text in
 * English. The text lives until the next call with tpm. For messages; decide by enum lk_err.
 */
LK_EXPORT uint32_t lk_tpm_last_rc(const struct lk_tpm *tpm);
LK_EXPORT const char *lk_tpm_last_rc_text(const struct lk_tpm *tpm);

/* ---- keys ------------------------------------------------------------------------------------ */

/* A public key of this TPM, and where it came from. */
struct lk_tpm_public {
    uint8_t tpm2b[LK_TPM_PUBLIC_CAP]; /* TPM2B_PUBLIC as on the wire, size prefix included */
    size_t tpm2b_len;                 /* bytes */
    uint32_t handle;                  /* persistent handle that it is at; 0 when it is at none */
    enum lk_tpm_recipe recipe;        /* LK_TPM_PERSISTENT when it was found at its handle */
    bool is_ecc;                      /* else RSA */
    unsigned bits;                    /* of the modulus or of the curve */
    /*
     * SHA-256 over the canonical public key in lower-case hexadecimal: how Latchkey names this key
     * in lists and logs, whatever bytes carry it. "" when a service would refuse the key.
     */
    char id[LK_TPM_KEY_ID_CAP];
    const char *refusal; /* why a service would refuse it, such as "ek.rsa_size"; NULL if it takes
                            it. Static storage */
};

/*
 * The endorsement key, found or created as the options say. The first call may create it, which
 * takes the endorsement password; with LK_TPM_PERSIST_EK it may also write.
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_tpm_ek(struct lk_tpm *tpm, struct lk_tpm_public *ret);

/* The storage root key, in the same way, under the owner password. */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_tpm_srk(struct lk_tpm *tpm, struct lk_tpm_public *ret);

/*
 * Which template makes the endorsement key in use: for a key that was found at its handle, the
 * candidates are created one after the other and compared. Slow on a discrete TPM. *ret is
 * LK_TPM_PERSISTENT when none of them does.
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_tpm_ek_recipe(struct lk_tpm *tpm, enum lk_tpm_recipe *ret);

/* One line for people about a recipe. Static storage. */
LK_EXPORT const char *lk_tpm_recipe_text(enum lk_tpm_recipe recipe);

#define LK_TPM_REGISTRATION_ID_CAP 53u /* bytes of a default registration ID with its NUL */

/*
 * The registration ID that the device SDKs derive when the application gives none: base32 of
 * SHA-256 over the endorsement key's TPM2B_PUBLIC, 52 characters.
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_tpm_registration_id(struct lk_tpm *tpm,
                                                           char ret[LK_TPM_REGISTRATION_ID_CAP]);

/* ---- what kind of TPM it is ------------------------------------------------------------------ */

enum lk_tpm_kind {
    LK_TPM_KIND_UNKNOWN = 0,
    LK_TPM_KIND_DISCRETE, /* a chip of its own, judged by its maker */
    LK_TPM_KIND_FIRMWARE, /* part of the processor or of its firmware */
    LK_TPM_KIND_SOFTWARE  /* swtpm, a simulator or a hypervisor: proves nothing about hardware */
};

/* Facts that the TPM states about itself. They are not proofs: only an EK certificate is one. */
struct lk_tpm_info {
    enum lk_tpm_kind kind;       /* a judgement from manufacturer and vendor string */
    char manufacturer[5];        /* such as "IFX", "AMD", "IBM" */
    char vendor[17];             /* vendor string, trimmed */
    char spec_family[5];         /* "2.0" */
    unsigned spec_revision;      /* times 100: 138 is 1.38 */
    unsigned spec_year;          /* of the specification; 0 when not told */
    uint32_t firmware_version_1; /* as the maker counts */
    uint32_t firmware_version_2;
    unsigned nv_buffer_max; /* bytes of one NV read or write */

    /* What it can do (TPM_CAP_ALGS, TPM_CAP_ECC_CURVES, TPM_CAP_COMMANDS). */
    bool has_rsa, has_ecc_p256, has_ecc_p384, has_sha256, has_sha384, has_aes_cfb;
    bool has_commands; /* ActivateCredential, Import, Load, EvictControl and HMAC are there */

    /* State (TPM_PT_PERMANENT, TPM_PT_STARTUP_CLEAR and counters). */
    bool owner_password_set, endorsement_password_set, lockout_password_set;
    bool owner_enabled, endorsement_enabled; /* hierarchies that are switched on */
    bool in_lockout;
    unsigned lockout_count;      /* failures so far */
    unsigned lockout_max;        /* failures that lock */
    unsigned lockout_interval_s; /* seconds after which one failure is forgotten */
    unsigned lockout_recovery_s; /* seconds before the lockout password may be tried again */
    unsigned transient_free;     /* objects that can be loaded now */
    unsigned session_free;       /* sessions that can be loaded now */
    unsigned persistent_free;    /* persistent objects that are likely to fit */

    /* Handles in use. */
    bool has_persistent_ek, has_persistent_srk, has_identity_key;
};

LK_EXPORT LK_MUST_CHECK enum lk_err lk_tpm_info(struct lk_tpm *tpm, struct lk_tpm_info *ret);

/* "discrete", "firmware", "software", "unknown". Static storage. */
LK_EXPORT const char *lk_tpm_kind_name(enum lk_tpm_kind kind);

/* ---- the maker's certificate of the endorsement key ------------------------------------------ */

#define LK_TPM_NV_EK_CERT_RSA 0x01c00002u /* RSA-2048, template L-1 */
#define LK_TPM_NV_EK_CERT_ECC 0x01c0000au /* ECC P-256, template L-2 */

#define LK_TPM_EK_CERT_CAP 8192u /* bytes of a certificate that is read */

enum lk_tpm_cert_match {
    LK_TPM_CERT_UNKNOWN = 0, /* its public key has a form that could not be read */
    LK_TPM_CERT_MATCHES,     /* it certifies the endorsement key in use */
    LK_TPM_CERT_DIFFERS      /* it certifies another key of this TPM, or of another one */
};

/* The certificate's chain is not checked: that is for whoever trusts the maker. */
struct lk_tpm_cert {
    uint32_t nv_index;
    enum lk_tpm_cert_match match;
    size_t der_len; /* bytes */
    uint8_t der[LK_TPM_EK_CERT_CAP];
    char issuer[256]; /* one line for people; "" when it could not be read */
};

/*
 * Read the certificate from NV index LK_TPM_NV_EK_CERT_RSA or LK_TPM_NV_EK_CERT_ECC and compare its
 * public key with the endorsement key in use. Padding behind the certificate is cut off.
 *
 *   LK_ERR_NOT_FOUND  the index is not defined: the TPM carries no certificate there
 *   LK_ERR_FORMAT     the index holds something else
 *   LK_ERR_LIMIT      it is larger than LK_TPM_EK_CERT_CAP
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_tpm_ek_cert(struct lk_tpm *tpm, uint32_t nv_index,
                                                   struct lk_tpm_cert *ret);

/* ---- the identity key ------------------------------------------------------------------------ */

#define LK_TPM_HMAC_LEN 32u /* bytes of a signature */

/*
 * Open an authenticationKey blob (device-protocol, section 2) and put the HMAC key inside it at the
 * identity handle. The blob only opens in the TPM that it was made for. The key in it, and the
 * credential that protects it, cross the bus encrypted: sessions are salted to the storage root
 * key. A key that is at the handle already is replaced once the new one has loaded, not before.
 * Writes to the TPM and takes the owner and endorsement passwords.
 *
 * Applications call lk_device_register(), which does this.
 *
 *   LK_ERR_FORMAT   the blob does not have the documented form
 *   LK_ERR_REFUSED  the TPM would not open it: made for other keys, or changed on the way
 *   LK_ERR_EXISTS   the identity handle holds an object of another kind, which is left alone
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_tpm_identity_import(struct lk_tpm *tpm, const void *blob,
                                                           size_t len);

/*
 * HMAC-SHA256 of data under the identity key, computed by the TPM, of any length.
 *
 *   LK_ERR_NOT_FOUND  there is no identity key: register first
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_tpm_identity_hmac(struct lk_tpm *tpm, const void *data,
                                                         size_t len, uint8_t ret[LK_TPM_HMAC_LEN]);

/*
 * Remove the identity key from the TPM. Takes the owner password.
 *
 *   LK_ERR_NOT_FOUND  there is none
 *   LK_ERR_EXISTS     the handle holds an object of another kind, which is left alone
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_tpm_identity_forget(struct lk_tpm *tpm);

LK_END_DECLS

#endif
