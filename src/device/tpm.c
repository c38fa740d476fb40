/* The connection to a TPM: opening, sessions, handles, and what its answers mean. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "device/tpm_int.h"

/* A TPM that is busy with itself gets this many tries, the pause growing by 50 ms from each to the
 * next: 2.75 seconds in all. ESYS has tried a few times at once before. */
#define TRIES_MAX 10u
#define TRY_PAUSE_NS 50000000l

void
lk_tpm_obj_drop(struct tpm_obj *obj)
{
    if (obj->tr == ESYS_TR_NONE) {
        return;
    }
    if (!obj->flush || Esys_FlushContext(obj->esys, obj->tr) != TSS2_RC_SUCCESS) {
        (void)Esys_TR_Close(obj->esys, &obj->tr); /* only frees ESYS's memory of it */
    }
    obj->tr = ESYS_TR_NONE;
}

/* ---- what the TPM's answers mean ------------------------------------------------------------- */

/* The answer came from the TPM itself, perhaps through a resource manager. */
static bool
rc_is_tpm(TSS2_RC rc)
{
    TSS2_RC layer = rc & TSS2_RC_LAYER_MASK;

    return layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER;
}

/* TPM 2.0 Part 2, 6.6: strip what tells handle, session or parameter number. */
static TSS2_RC
rc_code(TSS2_RC rc)
{
    TSS2_RC code = rc & ~(TSS2_RC)TSS2_RC_LAYER_MASK;

    return (code & TPM2_RC_FMT1) != 0 ? code & (TPM2_RC_FMT1 | 0x3f) : code;
}

static bool
rc_asks_again(TSS2_RC rc)
{
    if (!rc_is_tpm(rc)) {
        return false;
    }
    switch (rc_code(rc)) {
    case TPM2_RC_RETRY:
    case TPM2_RC_YIELDED:
    case TPM2_RC_TESTING:
    case TPM2_RC_CANCELED:
    case TPM2_RC_NV_RATE:
        return true;
    default:
        return false;
    }
}

bool
lk_tpm_again(TSS2_RC rc, unsigned *tries)
{
    struct timespec pause = {0, 0};

    if (!rc_asks_again(rc) || *tries >= TRIES_MAX) {
        return false;
    }
    *tries += 1;
    pause.tv_nsec = TRY_PAUSE_NS * (long)*tries;
    (void)nanosleep(&pause, NULL); /* shorter is fine */
    return true;
}

static enum lk_err
tpm_rc_err(TSS2_RC rc)
{
    switch (rc_code(rc)) {
    case TPM2_RC_AUTH_FAIL:
    case TPM2_RC_BAD_AUTH:
        return LK_ERR_TPM_AUTH;
    case TPM2_RC_LOCKOUT:
        return LK_ERR_TPM_LOCKOUT;
    case TPM2_RC_OBJECT_MEMORY:
    case TPM2_RC_SESSION_MEMORY:
    case TPM2_RC_MEMORY:
    case TPM2_RC_SESSION_HANDLES:
    case TPM2_RC_OBJECT_HANDLES:
        return LK_ERR_BUSY;
    default:
        return rc_asks_again(rc) ? LK_ERR_TPM_LOCKOUT : LK_ERR_TPM;
    }
}

enum lk_err
lk_tpm_judge(struct lk_tpm *tpm, TSS2_RC rc)
{
    if (rc == TSS2_RC_SUCCESS) {
        return LK_OK;
    }
    tpm->last_rc = rc;
    if (rc_is_tpm(rc)) {
        return tpm_rc_err(rc);
    }
    switch (rc & ~(TSS2_RC)TSS2_RC_LAYER_MASK) {
    case TSS2_BASE_RC_MEMORY:
        return LK_ERR_NOMEM;
    case TSS2_BASE_RC_IO_ERROR:
    case TSS2_BASE_RC_NO_CONNECTION:
    case TSS2_BASE_RC_NOT_PERMITTED:
        return LK_ERR_IO;
    default:
        return (rc & TSS2_RC_LAYER_MASK) == TSS2_TCTI_RC_LAYER ? LK_ERR_IO : LK_ERR_TPM;
    }
}

uint32_t
lk_tpm_last_rc(const struct lk_tpm *tpm)
{
    return tpm->last_rc;
}

const char *
lk_tpm_last_rc_text(const struct lk_tpm *tpm)
{
    return tpm->last_rc == TSS2_RC_SUCCESS ? "no failure" : Tss2_RC_Decode(tpm->last_rc);
}

/* ---- opening --------------------------------------------------------------------------------- */

void
lk_tpm_close(struct lk_tpm *tpm)
{
    if (tpm == NULL) {
        return;
    }
    Esys_Free(tpm->ek.saved);
    Esys_Free(tpm->srk.saved);
    Esys_Free(tpm->nonce);
    if (tpm->esys != NULL) {
        Esys_Finalize(&tpm->esys);
    }
    if (tpm->tcti != NULL) {
        Tss2_TctiLdr_Finalize(&tpm->tcti);
    }
    lk_wipe(tpm, sizeof(*tpm));
    free(tpm);
}
LK_DEFINE_AUTO(struct lk_tpm, tpm_conn, lk_tpm_close);

/* ESYS keeps a copy of the password (and wipes it when it is finalised). */
static enum lk_err
password_set(struct lk_tpm *tpm, ESYS_TR hierarchy, const char *password, bool *ret_has)
{
    TPM2B_AUTH auth = {0};
    size_t len = password == NULL ? 0 : strlen(password);
    enum lk_err err;

    /* No hierarchy takes more than its longest digest (TPM 2.0 Part 3, 24.8). */
    if (len > 64 || len > sizeof(auth.buffer)) {
        return LK_ERR_ARG;
    }
    auth.size = (UINT16)len;
    if (len > 0) {
        memcpy(auth.buffer, password, len);
    }
    err = lk_tpm_judge(tpm, Esys_TR_SetAuth(tpm->esys, hierarchy, &auth));
    lk_wipe(&auth, sizeof(auth));
    *ret_has = len > 0;
    return err;
}

/* A TPM behind a kernel has been started. One that was not says so, and then it is for us. */
static enum lk_err
startup(struct lk_tpm *tpm)
{
    uint32_t unused;
    enum lk_err err = lk_tpm_property(tpm, TPM2_PT_MANUFACTURER, &unused);

    if (err == LK_ERR_TPM && rc_code(tpm->last_rc) == TPM2_RC_INITIALIZE) {
        tpm->last_rc = TSS2_RC_SUCCESS;
        return TPM_CALL(tpm, Esys_Startup(tpm->esys, TPM2_SU_CLEAR));
    }
    return err;
}

/* Persistent objects: TPM 2.0 Part 2, 7.5. tpm2-tss's names for the bounds shift into the sign bit,
 * which C leaves undefined. */
static bool
handle_ok(uint32_t handle)
{
    return handle >> 24 == TPM2_HT_PERSISTENT;
}

static enum lk_err
options_take(struct lk_tpm *tpm, const struct lk_tpm_opts *opts)
{
    tpm->identity_handle =
        opts->identity_handle != 0 ? opts->identity_handle : LK_TPM_IDENTITY_HANDLE;
    tpm->ek = (struct tpm_slot){
        .role = LK_ROLE_EK,
        .hierarchy = ESYS_TR_RH_ENDORSEMENT,
        .handle = opts->ek_handle != 0 ? opts->ek_handle : LK_TPM_EK_HANDLE,
        .recipe = opts->ek_recipe,
        .persist = (opts->flags & LK_TPM_PERSIST_EK) != 0,
    };
    tpm->srk = (struct tpm_slot){
        .role = LK_ROLE_SRK,
        .hierarchy = ESYS_TR_RH_OWNER,
        .handle = opts->srk_handle != 0 ? opts->srk_handle : LK_TPM_SRK_HANDLE,
        .recipe = opts->srk_recipe,
        .persist = (opts->flags & LK_TPM_PERSIST_SRK) != 0,
    };
    if (!handle_ok(tpm->identity_handle) || !handle_ok(tpm->ek.handle) ||
        !handle_ok(tpm->srk.handle) || tpm->identity_handle == tpm->ek.handle ||
        tpm->identity_handle == tpm->srk.handle || tpm->ek.handle == tpm->srk.handle ||
        (unsigned)opts->ek_recipe > LK_TPM_ECC_P256 ||
        (unsigned)opts->srk_recipe > LK_TPM_ECC_P256) {
        return LK_ERR_ARG;
    }
    return LK_OK;
}

enum lk_err
lk_tpm_open(const struct lk_tpm_opts *opts, struct lk_tpm **ret)
{
    static const struct lk_tpm_opts defaults = {0};
    LK_AUTO(tpm_conn) struct lk_tpm *tpm = calloc(1, sizeof(*tpm));
    enum lk_err err;

    if (tpm == NULL) {
        return LK_ERR_NOMEM;
    }
    opts = opts != NULL ? opts : &defaults;
    if ((err = options_take(tpm, opts)) != LK_OK || (err = lk_crypto_init()) != LK_OK) {
        return err;
    }
    if ((err = lk_tpm_judge(tpm, Tss2_TctiLdr_Initialize(opts->tcti, &tpm->tcti))) != LK_OK) {
        return err == LK_ERR_NOMEM ? err : LK_ERR_IO;
    }
    if ((err = lk_tpm_judge(tpm, Esys_Initialize(&tpm->esys, tpm->tcti, NULL))) != LK_OK ||
        (err = startup(tpm)) != LK_OK ||
        (err = password_set(tpm, ESYS_TR_RH_OWNER, opts->owner_password,
                            &tpm->owner_has_password)) != LK_OK ||
        (err = password_set(tpm, ESYS_TR_RH_ENDORSEMENT, opts->endorsement_password,
                            &tpm->endorsement_has_password)) != LK_OK) {
        return err;
    }
    *ret = tpm_conn_take(&tpm);
    return LK_OK;
}

/* ---- sessions -------------------------------------------------------------------------------- */

enum lk_err
lk_tpm_session_encrypt(struct lk_tpm *tpm, const struct tpm_obj *session, bool on)
{
    TPMA_SESSION both = TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT;

    return lk_tpm_judge(tpm,
                        Esys_TRSess_SetAttributes(tpm->esys, session->tr, on ? both : 0, both));
}

enum lk_err
lk_tpm_session(struct lk_tpm *tpm, const struct tpm_obj *salt, TPM2_SE type, struct tpm_obj *ret)
{
    const TPMT_SYM_DEF aes = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
    TPM_AUTO_OBJ struct tpm_obj session = {tpm->esys, ESYS_TR_NONE, true};
    enum lk_err err;

    err =
        TPM_CALL(tpm, Esys_StartAuthSession(tpm->esys, salt != NULL ? salt->tr : ESYS_TR_NONE,
                                            ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                            NULL, type, &aes, TPM2_ALG_SHA256, &session.tr));
    if (err != LK_OK) {
        session.tr = ESYS_TR_NONE;
        return err;
    }
    /* The guard, not the TPM, ends a session: then every path ends it the same way. */
    err = lk_tpm_judge(
        tpm, Esys_TRSess_SetAttributes(tpm->esys, session.tr, TPMA_SESSION_CONTINUESESSION, 0xff));
    if (err != LK_OK) {
        return err;
    }
    *ret = session;
    session.tr = ESYS_TR_NONE;
    return LK_OK;
}

enum lk_err
lk_tpm_owner_session(struct lk_tpm *tpm, struct tpm_obj *ret)
{
    TPM_AUTO_OBJ struct tpm_obj srk = TPM_OBJ_INIT;
    enum lk_err err;

    if (!tpm->owner_has_password) {
        return lk_tpm_session(tpm, NULL, TPM2_SE_HMAC, ret);
    }
    if ((err = lk_tpm_slot_load(tpm, &tpm->srk, &srk)) != LK_OK) {
        return err;
    }
    return lk_tpm_session(tpm, &srk, TPM2_SE_HMAC, ret);
}

/* ---- handles and properties ------------------------------------------------------------------ */

enum lk_err
lk_tpm_handle_exists(struct lk_tpm *tpm, uint32_t handle, bool *ret)
{
    LK_AUTO(tpm_capability) TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more;
    enum lk_err err;

    err = TPM_CALL(tpm, Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                           TPM2_CAP_HANDLES, handle, 1, &more, &data));
    if (err != LK_OK) {
        return err;
    }
    *ret = data->data.handles.count > 0 && data->data.handles.handle[0] == handle;
    return LK_OK;
}

enum lk_err
lk_tpm_property(struct lk_tpm *tpm, uint32_t property, uint32_t *ret)
{
    LK_AUTO(tpm_capability) TPMS_CAPABILITY_DATA *data = NULL;
    const TPML_TAGGED_TPM_PROPERTY *found;
    TPMI_YES_NO more;
    enum lk_err err;

    err = TPM_CALL(tpm, Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                           TPM2_CAP_TPM_PROPERTIES, property, 1, &more, &data));
    if (err != LK_OK) {
        return err;
    }
    found = &data->data.tpmProperties;
    *ret = found->count > 0 && found->tpmProperty[0].property == property
               ? found->tpmProperty[0].value
               : 0;
    return LK_OK;
}

enum lk_err
lk_tpm_obj_at(struct lk_tpm *tpm, uint32_t handle, struct tpm_obj *ret)
{
    struct tpm_obj obj = {tpm->esys, ESYS_TR_NONE, false};
    enum lk_err err;

    err = TPM_CALL(tpm, Esys_TR_FromTPMPublic(tpm->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE,
                                              ESYS_TR_NONE, &obj.tr));
    if (err == LK_OK) {
        *ret = obj;
    }
    return err;
}

enum lk_err
lk_tpm_obj_public(struct lk_tpm *tpm, const struct tpm_obj *obj, TPM2B_PUBLIC *ret)
{
    LK_AUTO(tpm_public) TPM2B_PUBLIC *pub = NULL;
    enum lk_err err;

    err = TPM_CALL(tpm, Esys_ReadPublic(tpm->esys, obj->tr, ESYS_TR_NONE, ESYS_TR_NONE,
                                        ESYS_TR_NONE, &pub, NULL, NULL));
    if (err == LK_OK) {
        *ret = *pub;
    }
    return err;
}
