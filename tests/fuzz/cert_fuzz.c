/* What a TPM's NV index holds in place of its endorsement key's certificate. */
#include <stdlib.h>
#include <string.h>

#include "crypto/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_cert_info info;

    if (lk_cert_read(data, size, &info) != LK_OK) {
        return 0;
    }
    if (info.der_len > size || info.x_len > sizeof(info.x) || info.y_len > sizeof(info.y) ||
        memchr(info.issuer, 0, sizeof(info.issuer)) == NULL) {
        abort();
    }
    return 0;
}
