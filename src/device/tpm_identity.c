/*
 * Opening an authenticationKey blob (device-protocol.md section 2), keeping the HMAC key in it (a
 * hub's at the identity handle, a challenge's for one registration), and signing with it.
 */
#include <string.h>

#include "device/auth_blob.h"
#include "device/tpm_int.h"
#include "device/tpm_nonce.h"

/* ---- activate, import, load, keep ------------------------------------------------------------ */

/*
 * Was it the blob that the TPM did not like? Yes, for a format-one answer about a parameter
 * (TPM 2.0 Part 2, 6.6.2): not its own state, nor our session. libtpms answers with a general
 * failure when OAEP does not fit, which is what a blob for another RSA key looks like; a TPM that
 * really has failed refuses ReadPublic too.
 */
static enum lk_err
refused_by(struct lk_tpm *tpm, enum lk_err err, const struct tpm_obj *srk)
{
    TSS2_RC rc = tpm->last_rc;
    bool about_parameter = (rc & TPM2_RC_FMT1) != 0 && (rc & TPM2_RC_P) == TPM2_RC_P;
    TPM2B_PUBLIC unused;

    if (err == LK_ERR_TPM && (rc & ~(TSS2_RC)TSS2_RC_LAYER_MASK) == TPM2_RC_FAILURE) {
        about_parameter = lk_tpm_obj_public(tpm, srk, &unused) == LK_OK;
    }
    return err == LK_ERR_TPM && about_parameter ? LK_ERR_REFUSED : err;
}

/* Satisfy the EK's own authorisation: its policy, or the empty password where its template allows
 * that (TCG EK Credential Profile 2.5, B.4 and on: high-range templates). */
static enum lk_err
ek_authorize(struct lk_tpm *tpm, const struct tpm_obj *session, struct tpm_obj *ret)
{
    TPM_AUTO_OBJ struct tpm_obj policy = TPM_OBJ_INIT;
    enum lk_err err;

    if ((tpm->ek.pub.publicArea.objectAttributes & TPMA_OBJECT_USERWITHAUTH) != 0) {
        *ret = (struct tpm_obj){tpm->esys, ESYS_TR_PASSWORD, false};
        return LK_OK;
    }
    if ((err = lk_tpm_session(tpm, NULL, TPM2_SE_POLICY, &policy)) != LK_OK) {
        return err;
    }
    err = TPM_CALL(tpm,
                   Esys_PolicySecret(tpm->esys, ESYS_TR_RH_ENDORSEMENT, policy.tr, session->tr,
                                     ESYS_TR_NONE, ESYS_TR_NONE, NULL, NULL, NULL, 0, NULL, NULL));
    if (err != LK_OK) {
        return err;
    }
    *ret = policy;
    policy.tr = ESYS_TR_NONE;
    return LK_OK;
}

/* ActivateCredential: yields the key of the duplicate's inner wrapper. It leaves the TPM encrypted
 * under the session's salt, which only the SRK can open. */
static enum lk_err
activate(struct lk_tpm *tpm, const struct tpm_obj *srk, const struct tpm_obj *session,
         const struct lk_auth_blob *blob, TPM2B_DIGEST **ret_credential)
{
    TPM_AUTO_OBJ struct tpm_obj ek = TPM_OBJ_INIT;
    TPM_AUTO_OBJ struct tpm_obj policy = TPM_OBJ_INIT;
    enum lk_err err;

    if ((err = lk_tpm_slot_load(tpm, &tpm->ek, &ek)) != LK_OK ||
        (err = ek_authorize(tpm, session, &policy)) != LK_OK) {
        return err;
    }
    err = TPM_CALL(tpm, Esys_ActivateCredential(tpm->esys, srk->tr, ek.tr, session->tr, policy.tr,
                                                ESYS_TR_NONE, &blob->credential,
                                                &blob->credential_seed, ret_credential));
    if (policy.tr == ESYS_TR_PASSWORD) {
        policy.tr = ESYS_TR_NONE; /* no session: nothing to end */
    }
    return refused_by(tpm, err, srk);
}

/* Import under the SRK and load. The credential goes back in as the first, encrypted parameter. */
static enum lk_err
import_load(struct lk_tpm *tpm, const struct tpm_obj *srk, const struct tpm_obj *session,
            const struct lk_auth_blob *blob, const TPM2B_DIGEST *credential, struct tpm_obj *ret)
{
    TPMT_SYM_DEF_OBJECT inner = {.algorithm = TPM2_ALG_AES, .mode.aes = TPM2_ALG_CFB};
    LK_AUTO(tpm_private) TPM2B_PRIVATE *priv = NULL;
    ESYS_TR loaded = ESYS_TR_NONE;
    TPM2B_DATA key = {0};
    enum lk_err err;

    if (credential->size != 16 && credential->size != 32) {
        return LK_ERR_FORMAT;
    }
    inner.keyBits.aes = (TPMI_AES_KEY_BITS)(credential->size * 8);
    key.size = credential->size;
    memcpy(key.buffer, credential->buffer, credential->size);
    err = TPM_CALL(tpm,
                   Esys_Import(tpm->esys, srk->tr, session->tr, ESYS_TR_NONE, ESYS_TR_NONE, &key,
                               &blob->pub, &blob->duplicate, &blob->duplicate_seed, &inner, &priv));
    lk_wipe(&key, sizeof(key));
    if (err != LK_OK) {
        return refused_by(tpm, err, srk);
    }
    err = TPM_CALL(tpm, Esys_Load(tpm->esys, srk->tr, session->tr, ESYS_TR_NONE, ESYS_TR_NONE, priv,
                                  &blob->pub, &loaded));
    if (err == LK_OK) {
        *ret = (struct tpm_obj){tpm->esys, loaded, true};
    }
    return err;
}

static bool
is_identity_key(const TPM2B_PUBLIC *pub)
{
    return pub->publicArea.type == TPM2_ALG_KEYEDHASH &&
           (pub->publicArea.objectAttributes & TPMA_OBJECT_SIGN_ENCRYPT) != 0;
}

/* Remove what is at the identity handle. LK_ERR_EXISTS when that is not ours to remove. */
static enum lk_err
identity_evict(struct lk_tpm *tpm, const struct tpm_obj *session)
{
    TPM_AUTO_OBJ struct tpm_obj old = TPM_OBJ_INIT;
    ESYS_TR none = ESYS_TR_NONE;
    TPM2B_PUBLIC pub;
    enum lk_err err;

    if ((err = lk_tpm_obj_at(tpm, tpm->identity_handle, &old)) != LK_OK ||
        (err = lk_tpm_obj_public(tpm, &old, &pub)) != LK_OK) {
        return err;
    }
    if (!is_identity_key(&pub)) {
        return LK_ERR_EXISTS;
    }
    /* ESYS 3.2 keeps its note of the object, and would take the next key at this handle for the old
     * one: the guard closes it. */
    return TPM_CALL(tpm,
                    Esys_EvictControl(tpm->esys, ESYS_TR_RH_OWNER, old.tr, session->tr,
                                      ESYS_TR_NONE, ESYS_TR_NONE, tpm->identity_handle, &none));
}

static enum lk_err
identity_keep(struct lk_tpm *tpm, const struct tpm_obj *session, const struct tpm_obj *key)
{
    TPM_AUTO_OBJ struct tpm_obj stored = {tpm->esys, ESYS_TR_NONE, false};
    bool taken;
    enum lk_err err;

    if ((err = lk_tpm_handle_exists(tpm, tpm->identity_handle, &taken)) != LK_OK) {
        return err;
    }
    if (taken && (err = identity_evict(tpm, session)) != LK_OK) {
        return err;
    }
    return TPM_CALL(tpm, Esys_EvictControl(tpm->esys, ESYS_TR_RH_OWNER, key->tr, session->tr,
                                           ESYS_TR_NONE, ESYS_TR_NONE, tpm->identity_handle,
                                           &stored.tr));
}

/* Open a blob: the session, no longer encrypting, and the key, loaded. Both are guarded by the
 * caller from the start. */
static enum lk_err
blob_open(struct lk_tpm *tpm, const void *data, size_t len, struct tpm_obj *session,
          struct tpm_obj *key)
{
    LK_AUTO(tpm_digest) TPM2B_DIGEST *credential = NULL;
    TPM_AUTO_OBJ struct tpm_obj srk = TPM_OBJ_INIT;
    struct lk_auth_blob blob;
    enum lk_err err;

    /* Both keys first: creating one later would need a third and fourth place in the TPM. */
    if ((err = lk_auth_blob_parse(data, len, &blob)) != LK_OK ||
        (err = lk_tpm_slot_ensure(tpm, &tpm->ek)) != LK_OK ||
        (err = lk_tpm_slot_load(tpm, &tpm->srk, &srk)) != LK_OK ||
        (err = lk_tpm_session(tpm, &srk, TPM2_SE_HMAC, session)) != LK_OK ||
        (err = lk_tpm_session_encrypt(tpm, session, true)) != LK_OK ||
        (err = activate(tpm, &srk, session, &blob, &credential)) != LK_OK ||
        (err = import_load(tpm, &srk, session, &blob, credential, key)) != LK_OK) {
        return err;
    }
    return lk_tpm_session_encrypt(tpm, session, false);
}

enum lk_err
lk_tpm_identity_import(struct lk_tpm *tpm, const void *data, size_t len)
{
    TPM_AUTO_OBJ struct tpm_obj session = TPM_OBJ_INIT;
    TPM_AUTO_OBJ struct tpm_obj key = TPM_OBJ_INIT;
    enum lk_err err = blob_open(tpm, data, len, &session, &key);

    return err != LK_OK ? err : identity_keep(tpm, &session, &key);
}

/* Will the hub's key find its place? Better known before the hub has made one. */
static enum lk_err
identity_place_check(struct lk_tpm *tpm)
{
    TPM_AUTO_OBJ struct tpm_obj there = TPM_OBJ_INIT;
    TPM2B_PUBLIC pub;
    bool taken;
    enum lk_err err;

    if ((err = lk_tpm_handle_exists(tpm, tpm->identity_handle, &taken)) != LK_OK || !taken) {
        return err;
    }
    if ((err = lk_tpm_obj_at(tpm, tpm->identity_handle, &there)) != LK_OK ||
        (err = lk_tpm_obj_public(tpm, &there, &pub)) != LK_OK) {
        return err;
    }
    return is_identity_key(&pub) ? LK_OK : LK_ERR_EXISTS;
}

enum lk_err
lk_tpm_nonce_open(struct lk_tpm *tpm, const void *data, size_t len)
{
    TPM_AUTO_OBJ struct tpm_obj session = TPM_OBJ_INIT;
    TPM_AUTO_OBJ struct tpm_obj key = TPM_OBJ_INIT;
    enum lk_err err;

    lk_tpm_nonce_forget(tpm);
    if ((err = identity_place_check(tpm)) != LK_OK ||
        (err = blob_open(tpm, data, len, &session, &key)) != LK_OK) {
        return err;
    }
    return TPM_CALL(tpm, Esys_ContextSave(tpm->esys, key.tr, &tpm->nonce));
}

void
lk_tpm_nonce_forget(struct lk_tpm *tpm)
{
    if (tpm != NULL) {
        Esys_Free(tpm->nonce);
        tpm->nonce = NULL;
    }
}

enum lk_err
lk_tpm_identity_forget(struct lk_tpm *tpm)
{
    TPM_AUTO_OBJ struct tpm_obj session = TPM_OBJ_INIT;
    bool there;
    enum lk_err err;

    if ((err = lk_tpm_handle_exists(tpm, tpm->identity_handle, &there)) != LK_OK) {
        return err;
    }
    if (!there) {
        return LK_ERR_NOT_FOUND;
    }
    if ((err = lk_tpm_owner_session(tpm, &session)) != LK_OK) {
        return err;
    }
    return identity_evict(tpm, &session);
}

/* ---- signing --------------------------------------------------------------------------------- */

static enum lk_err
digest_take(const TPM2B_DIGEST *digest, uint8_t ret[LK_TPM_HMAC_LEN])
{
    if (digest->size != LK_TPM_HMAC_LEN) {
        return LK_ERR_TPM;
    }
    memcpy(ret, digest->buffer, LK_TPM_HMAC_LEN);
    return LK_OK;
}

/* Up to cap bytes of what is left, the TPM's input buffer at most. */
static enum lk_err
chunk_next(struct lk_reader *r, size_t cap, TPM2B_MAX_BUFFER *ret)
{
    size_t n = r->left < cap ? r->left : cap;
    const uint8_t *bytes;
    enum lk_err err;

    if ((err = lk_read_bytes(r, n, &bytes)) != LK_OK) {
        return err;
    }
    ret->size = (UINT16)n;
    if (n > 0) {
        memcpy(ret->buffer, bytes, n);
    }
    return LK_OK;
}

/* HMAC_Start, SequenceUpdate..., SequenceComplete: for what is longer than the input buffer. */
static enum lk_err
hmac_sequence(struct lk_tpm *tpm, const struct tpm_obj *key, struct lk_reader r, size_t cap,
              uint8_t ret[LK_TPM_HMAC_LEN])
{
    const TPM2B_AUTH empty = {0};
    LK_AUTO(tpm_digest) TPM2B_DIGEST *digest = NULL;
    TPM_AUTO_OBJ struct tpm_obj sequence = {tpm->esys, ESYS_TR_NONE, true};
    TPM2B_MAX_BUFFER chunk;
    enum lk_err err;

    err = TPM_CALL(tpm, Esys_HMAC_Start(tpm->esys, key->tr, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                        ESYS_TR_NONE, &empty, TPM2_ALG_SHA256, &sequence.tr));
    if (err != LK_OK) {
        return err;
    }
    while (r.left > cap) {
        if ((err = chunk_next(&r, cap, &chunk)) != LK_OK) {
            return err;
        }
        err = TPM_CALL(tpm, Esys_SequenceUpdate(tpm->esys, sequence.tr, ESYS_TR_PASSWORD,
                                                ESYS_TR_NONE, ESYS_TR_NONE, &chunk));
        if (err != LK_OK) {
            return err;
        }
    }
    if ((err = chunk_next(&r, cap, &chunk)) != LK_OK) {
        return err;
    }
    err =
        TPM_CALL(tpm, Esys_SequenceComplete(tpm->esys, sequence.tr, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                            ESYS_TR_NONE, &chunk, ESYS_TR_RH_NULL, &digest, NULL));
    if (err != LK_OK) {
        return err;
    }
    sequence.tr = ESYS_TR_NONE; /* the TPM ends a completed sequence itself */
    return digest_take(digest, ret);
}

static enum lk_err
hmac_once(struct lk_tpm *tpm, const struct tpm_obj *key, struct lk_reader r,
          uint8_t ret[LK_TPM_HMAC_LEN])
{
    LK_AUTO(tpm_digest) TPM2B_DIGEST *digest = NULL;
    TPM2B_MAX_BUFFER buffer;
    enum lk_err err;

    if ((err = chunk_next(&r, sizeof(buffer.buffer), &buffer)) != LK_OK) {
        return err;
    }
    err = TPM_CALL(tpm, Esys_HMAC(tpm->esys, key->tr, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                  &buffer, TPM2_ALG_SHA256, &digest));
    return err != LK_OK ? err : digest_take(digest, ret);
}

static enum lk_err
hmac(struct lk_tpm *tpm, const struct tpm_obj *key, const void *data, size_t len,
     uint8_t ret[LK_TPM_HMAC_LEN])
{
    struct lk_reader r = lk_reader_of(data, len);
    uint32_t cap;
    enum lk_err err;

    if ((err = lk_tpm_property(tpm, TPM2_PT_INPUT_BUFFER, &cap)) != LK_OK) {
        return err;
    }
    if (cap == 0 || cap > sizeof(((TPM2B_MAX_BUFFER *)NULL)->buffer)) {
        cap = sizeof(((TPM2B_MAX_BUFFER *)NULL)->buffer);
    }
    return len <= cap ? hmac_once(tpm, key, r, ret) : hmac_sequence(tpm, key, r, cap, ret);
}

enum lk_err
lk_tpm_identity_hmac(struct lk_tpm *tpm, const void *data, size_t len, uint8_t ret[LK_TPM_HMAC_LEN])
{
    TPM_AUTO_OBJ struct tpm_obj key = TPM_OBJ_INIT;
    TPM2B_PUBLIC pub;
    bool there;
    enum lk_err err;

    if ((err = lk_tpm_handle_exists(tpm, tpm->identity_handle, &there)) != LK_OK) {
        return err;
    }
    if (!there) {
        return LK_ERR_NOT_FOUND;
    }
    if ((err = lk_tpm_obj_at(tpm, tpm->identity_handle, &key)) != LK_OK ||
        (err = lk_tpm_obj_public(tpm, &key, &pub)) != LK_OK) {
        return err;
    }
    return is_identity_key(&pub) ? hmac(tpm, &key, data, len, ret) : LK_ERR_NOT_FOUND;
}

enum lk_err
lk_tpm_nonce_hmac(struct lk_tpm *tpm, const void *data, size_t len, uint8_t ret[LK_TPM_HMAC_LEN])
{
    TPM_AUTO_OBJ struct tpm_obj key = {tpm->esys, ESYS_TR_NONE, true};
    enum lk_err err;

    if (tpm->nonce == NULL) {
        return LK_ERR_NOT_FOUND;
    }
    err = TPM_CALL(tpm, Esys_ContextLoad(tpm->esys, tpm->nonce, &key.tr));
    return err != LK_OK ? err : hmac(tpm, &key, data, len, ret);
}
