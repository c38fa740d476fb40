/*
 * The authenticationKey blob (device-protocol.md section 2.1) as the device takes it apart: six
 * sized items. What it protects stays closed until the TPM opens it.
 */
#ifndef LK_DEVICE_AUTH_BLOB_H
#define LK_DEVICE_AUTH_BLOB_H

#include <stddef.h>

#include <tss2/tss2_tpm2_types.h>

#include <latchkey/err.h>

/* The items as ESYS takes them; the sixth is not used by the protocol, but has to be there. */
struct lk_auth_blob {
    TPM2B_ID_OBJECT credential;             /* to the EK, bound to the SRK's Name */
    TPM2B_ENCRYPTED_SECRET credential_seed; /* to the EK */
    TPM2B_PRIVATE duplicate;                /* the HMAC key, wrapped for the SRK */
    TPM2B_ENCRYPTED_SECRET duplicate_seed;  /* to the SRK */
    TPM2B_PUBLIC pub;                       /* of the HMAC key */
};

/*
 * Parse a whole blob, nothing left over. The public area has to be that of an HMAC-SHA256 key that
 * signs and does nothing else. LK_ERR_FORMAT otherwise, and *ret is then unspecified.
 */
LK_MUST_CHECK enum lk_err lk_auth_blob_parse(const void *data, size_t len,
                                             struct lk_auth_blob *ret);

#endif
