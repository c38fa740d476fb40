/*
 * What the files of the TPM room share. Nothing outside src/device/tpm*.c includes this header, or
 * ESYS.
 */
#ifndef LK_DEVICE_TPM_INT_H
#define LK_DEVICE_TPM_INT_H

#include <tss2/tss2_esys.h>

#include <latchkey/tpm.h>

#include "attest/attest.h"
#include "base/auto.h"

/* The endorsement or the storage root key: how to get it, and what is known once it was there. */
struct tpm_slot {
    enum lk_key_role role;
    ESYS_TR hierarchy;         /* under which it is created */
    uint32_t handle;           /* where it is kept if it is persistent */
    enum lk_tpm_recipe recipe; /* as asked for */
    bool persist;              /* make it persistent when the handle is free */

    bool ready;              /* the rest is valid */
    uint32_t at;             /* persistent handle that it is at; 0: it is in saved */
    enum lk_tpm_recipe made; /* LK_TPM_PERSISTENT when it was found */
    TPMS_CONTEXT *saved;     /* owned (Esys_Free); wrapped by the TPM itself, not secret */
    TPM2B_PUBLIC pub;
};

struct lk_tpm {
    ESYS_CONTEXT *esys;
    TSS2_TCTI_CONTEXT *tcti;
    bool owner_has_password;
    bool endorsement_has_password;
    uint32_t identity_handle;
    struct tpm_slot ek, srk;
    TPMS_CONTEXT *nonce; /* owned (Esys_Free): the challenge's key, wrapped; or NULL */
    TSS2_RC last_rc;
};

/*
 * An object or session that lives in the TPM while this guard is in scope. flush: it is transient
 * and leaves the TPM with the guard; otherwise only ESYS's note of it goes.
 */
struct tpm_obj {
    ESYS_CONTEXT *esys;
    ESYS_TR tr; /* ESYS_TR_NONE when empty */
    bool flush;
};
#define TPM_OBJ_INIT                                                                               \
    {                                                                                              \
        NULL, ESYS_TR_NONE, false                                                                  \
    }
void lk_tpm_obj_drop(struct tpm_obj *obj);
#define TPM_AUTO_OBJ __attribute__((cleanup(lk_tpm_obj_drop)))

/* Memory that ESYS allocated, wiped by the size of its type before it is freed. */
#define TPM_DEFINE_MEMORY(T, name)                                                                 \
    static inline void name##_free(T *p)                                                           \
    {                                                                                              \
        lk_wipe(p, sizeof(*p));                                                                    \
        Esys_Free(p);                                                                              \
    }                                                                                              \
    LK_DEFINE_AUTO(T, name, name##_free)
TPM_DEFINE_MEMORY(TPM2B_DIGEST, tpm_digest);
TPM_DEFINE_MEMORY(TPM2B_PUBLIC, tpm_public);
TPM_DEFINE_MEMORY(TPM2B_PRIVATE, tpm_private);
TPM_DEFINE_MEMORY(TPM2B_NV_PUBLIC, tpm_nv_public);
TPM_DEFINE_MEMORY(TPM2B_MAX_NV_BUFFER, tpm_nv_bytes);
TPM_DEFINE_MEMORY(TPMS_CAPABILITY_DATA, tpm_capability);
TPM_DEFINE_MEMORY(TPMS_CONTEXT, tpm_context);

/*
 * True when rc is a warning that asks for the same command again, after a pause that grows with
 * *tries; false when it is final or the patience is over.
 */
bool lk_tpm_again(TSS2_RC rc, unsigned *tries);

/* Remember a failure for lk_tpm_last_rc() and tell what the caller can do about it. */
enum lk_err lk_tpm_judge(struct lk_tpm *tpm, TSS2_RC rc);

/* Run one ESYS call, again while the TPM asks for that; yields an enum lk_err. */
#define TPM_CALL(tpm, call)                                                                        \
    ({                                                                                             \
        TSS2_RC tpm_call_rc_;                                                                      \
        unsigned tpm_call_tries_ = 0;                                                              \
        do {                                                                                       \
            tpm_call_rc_ = (call);                                                                 \
        } while (lk_tpm_again(tpm_call_rc_, &tpm_call_tries_));                                    \
        lk_tpm_judge((tpm), tpm_call_rc_);                                                         \
    })

/*
 * Start a session of type TPM2_SE_HMAC or TPM2_SE_POLICY. salt is a loaded decryption key, to which
 * the session secret is encrypted, or NULL: then what the session encrypts is open to whoever reads
 * the bus, and only passwords are kept off it.
 */
LK_MUST_CHECK enum lk_err lk_tpm_session(struct lk_tpm *tpm, const struct tpm_obj *salt,
                                         TPM2_SE type, struct tpm_obj *ret);

/* Encrypt the first parameter of the next commands and answers of this session, or stop doing so.
 */
LK_MUST_CHECK enum lk_err lk_tpm_session_encrypt(struct lk_tpm *tpm, const struct tpm_obj *session,
                                                 bool on);

/* A session that proves the owner's password; salted to the SRK when there is a password. */
LK_MUST_CHECK enum lk_err lk_tpm_owner_session(struct lk_tpm *tpm, struct tpm_obj *ret);

/* Is there an object (persistent or NV) at this handle? */
LK_MUST_CHECK enum lk_err lk_tpm_handle_exists(struct lk_tpm *tpm, uint32_t handle, bool *ret);

/* ESYS's view of the object at a persistent handle or NV index. */
LK_MUST_CHECK enum lk_err lk_tpm_obj_at(struct lk_tpm *tpm, uint32_t handle, struct tpm_obj *ret);

/* Public area of a loaded object. */
LK_MUST_CHECK enum lk_err lk_tpm_obj_public(struct lk_tpm *tpm, const struct tpm_obj *obj,
                                            TPM2B_PUBLIC *ret);

/* One value of TPM_CAP_TPM_PROPERTIES; 0 when this TPM does not have the property. */
LK_MUST_CHECK enum lk_err lk_tpm_property(struct lk_tpm *tpm, uint32_t property, uint32_t *ret);

/* Find or create the slot's key; nothing stays loaded. */
LK_MUST_CHECK enum lk_err lk_tpm_slot_ensure(struct lk_tpm *tpm, struct tpm_slot *slot);

/* Have the slot's key in the TPM, for as long as the guard *ret lives. */
LK_MUST_CHECK enum lk_err lk_tpm_slot_load(struct lk_tpm *tpm, struct tpm_slot *slot,
                                           struct tpm_obj *ret);

#endif
