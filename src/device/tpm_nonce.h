/*
 * The key of a challenge, in the TPM for one registration. It never becomes persistent: a
 * registration that is refused half-way leaves the hub's key where it was, and costs no write to
 * the TPM's NV memory, which wears.
 */
#ifndef LK_DEVICE_TPM_NONCE_H
#define LK_DEVICE_TPM_NONCE_H

#include <latchkey/tpm.h>

/*
 * Open an authenticationKey blob and keep the HMAC key in it for lk_tpm_nonce_hmac(), as a context
 * that the TPM has wrapped; one from before is forgotten. Errors as lk_tpm_identity_import():
 * LK_ERR_EXISTS tells that a hub's key would find something else in its place.
 */
LK_MUST_CHECK enum lk_err lk_tpm_nonce_open(struct lk_tpm *tpm, const void *blob, size_t len);

/* HMAC-SHA256 of data under it, computed by the TPM. LK_ERR_NOT_FOUND: there is none. */
LK_MUST_CHECK enum lk_err lk_tpm_nonce_hmac(struct lk_tpm *tpm, const void *data, size_t len,
                                            uint8_t ret[LK_TPM_HMAC_LEN]);

/* Forget it, if there is one. NULL is allowed. */
void lk_tpm_nonce_forget(struct lk_tpm *tpm);

#endif
