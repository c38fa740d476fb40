/* What kind of TPM this is, its state, and the certificate that its maker left in it. */
#include <string.h>

#include "crypto/cert.h"
#include "device/tpm_int.h"

/* ---- properties ------------------------------------------------------------------------------ */

/* Four characters that a TPM packs into one property (TPM 2.0 Part 2, 6.13), printable ones only.
 */
static void
chars_put(uint32_t value, char ret[4])
{
    for (unsigned i = 0; i < 4; i++) {
        char c = (char)(value >> (24 - 8 * i) & 0xff);
        ret[i] = c >= ' ' && c <= '~' ? c : ' ';
    }
}

/* End text before its trailing blanks. */
static void
trim(char *text, size_t len)
{
    while (len > 0 && text[len - 1] == ' ') {
        len--;
    }
    text[len] = '\0';
}

static enum lk_err
identity_read(struct lk_tpm *tpm, struct lk_tpm_info *info)
{
    uint32_t family, manufacturer, vendor, revision, year, nv_max;
    enum lk_err err;

    if ((err = lk_tpm_property(tpm, TPM2_PT_FAMILY_INDICATOR, &family)) != LK_OK ||
        (err = lk_tpm_property(tpm, TPM2_PT_REVISION, &revision)) != LK_OK ||
        (err = lk_tpm_property(tpm, TPM2_PT_YEAR, &year)) != LK_OK ||
        (err = lk_tpm_property(tpm, TPM2_PT_MANUFACTURER, &manufacturer)) != LK_OK ||
        (err = lk_tpm_property(tpm, TPM2_PT_FIRMWARE_VERSION_1, &info->firmware_version_1)) !=
            LK_OK ||
        (err = lk_tpm_property(tpm, TPM2_PT_FIRMWARE_VERSION_2, &info->firmware_version_2)) !=
            LK_OK ||
        (err = lk_tpm_property(tpm, TPM2_PT_NV_BUFFER_MAX, &nv_max)) != LK_OK) {
        return err;
    }
    for (unsigned i = 0; i < 4; i++) {
        if ((err = lk_tpm_property(tpm, TPM2_PT_VENDOR_STRING_1 + i, &vendor)) != LK_OK) {
            return err;
        }
        chars_put(vendor, info->vendor + (size_t)4 * i);
    }
    trim(info->vendor, 16);
    chars_put(family, info->spec_family);
    trim(info->spec_family, 4);
    chars_put(manufacturer, info->manufacturer);
    trim(info->manufacturer, 4);
    info->spec_revision = revision;
    info->spec_year = year;
    info->nv_buffer_max = nv_max;
    return LK_OK;
}

/*
 * Makers by the TCG vendor ID registry. What is missing is unknown, which is no accusation. IBM and
 * MSFT are the reference code in its usual software forms (swtpm, simulator, hypervisors); Pluton
 * is Microsoft's own silicon.
 */
static enum lk_tpm_kind
kind_judge(const struct lk_tpm_info *info)
{
    static const char *const discrete[] = {"IFX", "STM",  "NTC", "NTZ",  "ATML", "NSM",
                                           "SNS", "SEAL", "WEC", "SECE", "CROS"};
    static const char *const firmware[] = {"AMD", "INTC", "QCOM", "HISI", "SMSN", "ROCC", "LEN"};
    static const char *const software[] = {"IBM", "MSFT", "VMW", "GOOG", "AMZN"};

    if (strcmp(info->manufacturer, "MSFT") == 0 && strstr(info->vendor, "Pluton") != NULL) {
        return LK_TPM_KIND_FIRMWARE;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(software); i++) {
        if (strcmp(info->manufacturer, software[i]) == 0) {
            return LK_TPM_KIND_SOFTWARE;
        }
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(discrete); i++) {
        if (strcmp(info->manufacturer, discrete[i]) == 0) {
            return LK_TPM_KIND_DISCRETE;
        }
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(firmware); i++) {
        if (strcmp(info->manufacturer, firmware[i]) == 0) {
            return LK_TPM_KIND_FIRMWARE;
        }
    }
    return LK_TPM_KIND_UNKNOWN;
}

static enum lk_err
state_read(struct lk_tpm *tpm, struct lk_tpm_info *info)
{
    uint32_t permanent, startup, v[7];
    static const uint32_t counters[] = {TPM2_PT_LOCKOUT_COUNTER,    TPM2_PT_MAX_AUTH_FAIL,
                                        TPM2_PT_LOCKOUT_INTERVAL,   TPM2_PT_LOCKOUT_RECOVERY,
                                        TPM2_PT_HR_TRANSIENT_AVAIL, TPM2_PT_HR_LOADED_AVAIL,
                                        TPM2_PT_HR_PERSISTENT_AVAIL};
    enum lk_err err;

    _Static_assert(LK_ARRAY_LEN(v) == LK_ARRAY_LEN(counters), "one value each");
    if ((err = lk_tpm_property(tpm, TPM2_PT_PERMANENT, &permanent)) != LK_OK ||
        (err = lk_tpm_property(tpm, TPM2_PT_STARTUP_CLEAR, &startup)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(counters); i++) {
        if ((err = lk_tpm_property(tpm, counters[i], &v[i])) != LK_OK) {
            return err;
        }
    }
    info->owner_password_set = (permanent & TPMA_PERMANENT_OWNERAUTHSET) != 0;
    info->endorsement_password_set = (permanent & TPMA_PERMANENT_ENDORSEMENTAUTHSET) != 0;
    info->lockout_password_set = (permanent & TPMA_PERMANENT_LOCKOUTAUTHSET) != 0;
    info->in_lockout = (permanent & TPMA_PERMANENT_INLOCKOUT) != 0;
    info->owner_enabled = (startup & TPMA_STARTUP_CLEAR_SHENABLE) != 0;
    info->endorsement_enabled = (startup & TPMA_STARTUP_CLEAR_EHENABLE) != 0;
    info->lockout_count = v[0];
    info->lockout_max = v[1];
    info->lockout_interval_s = v[2];
    info->lockout_recovery_s = v[3];
    info->transient_free = v[4];
    info->session_free = v[5];
    info->persistent_free = v[6];
    return LK_OK;
}

/* ---- abilities ------------------------------------------------------------------------------- */

/* Is the algorithm, curve or command whose number is first in the TPM's list from it on? */
static enum lk_err
ability_read(struct lk_tpm *tpm, TPM2_CAP cap, uint32_t number, bool *ret)
{
    LK_AUTO(tpm_capability) TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more;
    enum lk_err err;

    err = TPM_CALL(tpm, Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, cap,
                                           number, 1, &more, &data));
    if (err != LK_OK) {
        return err;
    }
    switch (cap) {
    case TPM2_CAP_ALGS:
        *ret =
            data->data.algorithms.count > 0 && data->data.algorithms.algProperties[0].alg == number;
        return LK_OK;
    case TPM2_CAP_ECC_CURVES:
        *ret = data->data.eccCurves.count > 0 && data->data.eccCurves.eccCurves[0] == number;
        return LK_OK;
    default:
        *ret = data->data.command.count > 0 &&
               (data->data.command.commandAttributes[0] & TPMA_CC_COMMANDINDEX_MASK) == number;
        return LK_OK;
    }
}

static enum lk_err
abilities_read(struct lk_tpm *tpm, struct lk_tpm_info *info)
{
    static const TPM2_CC needed[] = {TPM2_CC_ActivateCredential, TPM2_CC_Import, TPM2_CC_Load,
                                     TPM2_CC_EvictControl, TPM2_CC_HMAC};
    bool aes, cfb, ecc, p256, p384, there;
    enum lk_err err;

    if ((err = ability_read(tpm, TPM2_CAP_ALGS, TPM2_ALG_RSA, &info->has_rsa)) != LK_OK ||
        (err = ability_read(tpm, TPM2_CAP_ALGS, TPM2_ALG_ECC, &ecc)) != LK_OK ||
        (err = ability_read(tpm, TPM2_CAP_ALGS, TPM2_ALG_AES, &aes)) != LK_OK ||
        (err = ability_read(tpm, TPM2_CAP_ALGS, TPM2_ALG_CFB, &cfb)) != LK_OK ||
        (err = ability_read(tpm, TPM2_CAP_ALGS, TPM2_ALG_SHA256, &info->has_sha256)) != LK_OK ||
        (err = ability_read(tpm, TPM2_CAP_ALGS, TPM2_ALG_SHA384, &info->has_sha384)) != LK_OK ||
        (err = ability_read(tpm, TPM2_CAP_ECC_CURVES, TPM2_ECC_NIST_P256, &p256)) != LK_OK ||
        (err = ability_read(tpm, TPM2_CAP_ECC_CURVES, TPM2_ECC_NIST_P384, &p384)) != LK_OK) {
        return err;
    }
    info->has_aes_cfb = aes && cfb;
    info->has_ecc_p256 = ecc && p256;
    info->has_ecc_p384 = ecc && p384;
    info->has_commands = true;
    for (size_t i = 0; i < LK_ARRAY_LEN(needed); i++) {
        if ((err = ability_read(tpm, TPM2_CAP_COMMANDS, needed[i], &there)) != LK_OK) {
            return err;
        }
        info->has_commands = info->has_commands && there;
    }
    return LK_OK;
}

enum lk_err
lk_tpm_info(struct lk_tpm *tpm, struct lk_tpm_info *ret)
{
    struct lk_tpm_info info = {0};
    enum lk_err err;

    if ((err = identity_read(tpm, &info)) != LK_OK || (err = state_read(tpm, &info)) != LK_OK ||
        (err = abilities_read(tpm, &info)) != LK_OK ||
        (err = lk_tpm_handle_exists(tpm, tpm->ek.handle, &info.has_persistent_ek)) != LK_OK ||
        (err = lk_tpm_handle_exists(tpm, tpm->srk.handle, &info.has_persistent_srk)) != LK_OK ||
        (err = lk_tpm_handle_exists(tpm, tpm->identity_handle, &info.has_identity_key)) != LK_OK) {
        return err;
    }
    info.kind = kind_judge(&info);
    *ret = info;
    return LK_OK;
}

const char *
lk_tpm_kind_name(enum lk_tpm_kind kind)
{
    switch (kind) {
    case LK_TPM_KIND_UNKNOWN:
        break;
    case LK_TPM_KIND_DISCRETE:
        return "discrete";
    case LK_TPM_KIND_FIRMWARE:
        return "firmware";
    case LK_TPM_KIND_SOFTWARE:
        return "software";
    }
    return "unknown";
}

/* ---- the EK certificate ---------------------------------------------------------------------- */

/* How an NV index is read: by its own, empty password, or by the owner's. */
static enum lk_err
nv_authorize(struct lk_tpm *tpm, TPMA_NV attributes, const struct tpm_obj *nv,
             struct tpm_obj *ret_session, ESYS_TR *ret_auth)
{
    *ret_auth = (attributes & TPMA_NV_AUTHREAD) != 0 ? nv->tr : ESYS_TR_RH_OWNER;
    return lk_tpm_session(tpm, NULL, TPM2_SE_HMAC, ret_session);
}

/* Read all of an index into (buf, cap). */
static enum lk_err
nv_read(struct lk_tpm *tpm, uint32_t index, uint8_t *buf, size_t cap, size_t *ret_len)
{
    TPM_AUTO_OBJ struct tpm_obj nv = TPM_OBJ_INIT;
    TPM_AUTO_OBJ struct tpm_obj session = TPM_OBJ_INIT;
    LK_AUTO(tpm_nv_public) TPM2B_NV_PUBLIC *pub = NULL;
    uint32_t chunk_max;
    ESYS_TR auth;
    enum lk_err err;

    if ((err = lk_tpm_obj_at(tpm, index, &nv)) != LK_OK ||
        (err = TPM_CALL(tpm, Esys_NV_ReadPublic(tpm->esys, nv.tr, ESYS_TR_NONE, ESYS_TR_NONE,
                                                ESYS_TR_NONE, &pub, NULL))) != LK_OK ||
        (err = lk_tpm_property(tpm, TPM2_PT_NV_BUFFER_MAX, &chunk_max)) != LK_OK) {
        return err;
    }
    if ((pub->nvPublic.attributes & TPMA_NV_WRITTEN) == 0) {
        return LK_ERR_NOT_FOUND;
    }
    if (pub->nvPublic.dataSize > cap) {
        return LK_ERR_LIMIT;
    }
    chunk_max = chunk_max == 0 || chunk_max > 1024 ? 512 : chunk_max;
    if ((err = nv_authorize(tpm, pub->nvPublic.attributes, &nv, &session, &auth)) != LK_OK) {
        return err;
    }
    for (size_t done = 0; done < pub->nvPublic.dataSize;) {
        LK_AUTO(tpm_nv_bytes) TPM2B_MAX_NV_BUFFER *part = NULL;
        size_t left = pub->nvPublic.dataSize - done;
        UINT16 want = (UINT16)(left < chunk_max ? left : chunk_max);

        err = TPM_CALL(tpm, Esys_NV_Read(tpm->esys, auth, nv.tr, session.tr, ESYS_TR_NONE,
                                         ESYS_TR_NONE, want, (UINT16)done, &part));
        if (err != LK_OK) {
            return err;
        }
        if (part->size != want) {
            return LK_ERR_TPM;
        }
        memcpy(buf + done, part->buffer, want);
        done += want;
    }
    *ret_len = pub->nvPublic.dataSize;
    return LK_OK;
}

/* A 2B number of the TPM against one without leading zeros. */
static bool
number_equal(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    while (a_len > 0 && a[0] == 0) {
        a++;
        a_len--;
    }
    while (b_len > 0 && b[0] == 0) {
        b++;
        b_len--;
    }
    return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static enum lk_tpm_cert_match
cert_match(const struct lk_cert_info *cert, const TPMT_PUBLIC *ek)
{
    bool same = false;

    if (cert->alg == LK_CERT_OTHER) {
        return LK_TPM_CERT_UNKNOWN;
    }
    if (cert->alg == LK_CERT_RSA && ek->type == TPM2_ALG_RSA) {
        same = number_equal(cert->x, cert->x_len, ek->unique.rsa.buffer, ek->unique.rsa.size);
    }
    if (cert->alg == LK_CERT_EC && ek->type == TPM2_ALG_ECC) {
        same = number_equal(cert->x, cert->x_len, ek->unique.ecc.x.buffer, ek->unique.ecc.x.size) &&
               number_equal(cert->y, cert->y_len, ek->unique.ecc.y.buffer, ek->unique.ecc.y.size);
    }
    return same ? LK_TPM_CERT_MATCHES : LK_TPM_CERT_DIFFERS;
}

enum lk_err
lk_tpm_ek_cert(struct lk_tpm *tpm, uint32_t nv_index, struct lk_tpm_cert *ret)
{
    struct lk_cert_info info;
    size_t len;
    bool there;
    enum lk_err err;

    if (nv_index < TPM2_NV_INDEX_FIRST || nv_index > TPM2_NV_INDEX_LAST) {
        return LK_ERR_ARG;
    }
    if ((err = lk_tpm_handle_exists(tpm, nv_index, &there)) != LK_OK) {
        return err;
    }
    if (!there) {
        return LK_ERR_NOT_FOUND;
    }
    if ((err = lk_tpm_slot_ensure(tpm, &tpm->ek)) != LK_OK ||
        (err = nv_read(tpm, nv_index, ret->der, sizeof(ret->der), &len)) != LK_OK ||
        (err = lk_cert_read(ret->der, len, &info)) != LK_OK) {
        return err;
    }
    ret->nv_index = nv_index;
    ret->der_len = info.der_len;
    ret->match = cert_match(&info, &tpm->ek.pub.publicArea);
    return lk_strcpy(ret->issuer, sizeof(ret->issuer), info.issuer);
}
