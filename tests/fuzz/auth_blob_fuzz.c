/* authenticationKey blobs as a service, or whoever poses as one, sends them to a device. */
#include <stdlib.h>

#include "device/auth_blob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_auth_blob blob;

    if (lk_auth_blob_parse(data, size, &blob) != LK_OK) {
        return 0;
    }
    /* What goes on to the TPM is never empty, and fits the types that ESYS copies from. */
    if (blob.credential.size == 0 || blob.credential.size > sizeof(blob.credential.credential) ||
        blob.duplicate.size == 0 || blob.duplicate.size > sizeof(blob.duplicate.buffer) ||
        blob.credential_seed.size > sizeof(blob.credential_seed.secret) ||
        blob.duplicate_seed.size > sizeof(blob.duplicate_seed.secret) ||
        blob.pub.publicArea.type != TPM2_ALG_KEYEDHASH) {
        abort();
    }
    return 0;
}
