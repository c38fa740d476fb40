/* Files of certificates and revocation lists that an operator imports. */
#include <string.h>

#include "crypto/trust_file.h"
#include "fuzz.h"

static enum lk_err
each(void *ctx, const struct lk_trust_item *item)
{
    check(item->der_len > 0 && memchr(item->name, 0, sizeof(item->name)) != NULL);
    check(!item->is_crl || !item->is_ca);
    ++*(unsigned *)ctx;
    return LK_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char reason[LK_TRUST_REASON_CAP];
    unsigned count = 0;
    enum lk_err err = lk_trust_file_read(data, size, reason, each, &count);

    check(memchr(reason, 0, sizeof(reason)) != NULL);
    check(err != LK_OK || (count > 0 && count <= LK_TRUST_FILE_ITEMS_MAX && reason[0] == '\0'));
    return 0;
}
