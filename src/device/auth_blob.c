/* Taking an authenticationKey blob apart. */
#include "device/auth_blob.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#include "base/buf.h"

/* One "2B" of at most cap bytes. */
static enum lk_err
item_read(struct lk_reader *r, uint8_t *buf, size_t cap, UINT16 *ret_size)
{
    struct lk_reader item;
    const uint8_t *bytes;
    size_t len;
    enum lk_err err;

    if ((err = lk_read_2b(r, &item)) != LK_OK) {
        return err;
    }
    len = item.left;
    if (len == 0 || len > cap) {
        return LK_ERR_FORMAT;
    }
    if ((err = lk_read_bytes(&item, len, &bytes)) != LK_OK) {
        return err;
    }
    memcpy(buf, bytes, len);
    *ret_size = (UINT16)len;
    return LK_OK;
}

/* Item 5. What the TPM is about to keep must be an HMAC-SHA256 key that signs and nothing else. */
static enum lk_err
public_read(struct lk_reader *r, TPM2B_PUBLIC *ret)
{
    const TPMA_OBJECT banned = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_FIXEDTPM |
                               TPMA_OBJECT_FIXEDPARENT;
    const TPMT_KEYEDHASH_SCHEME *scheme = &ret->publicArea.parameters.keyedHashDetail.scheme;
    TPMA_OBJECT attributes;
    struct lk_reader item;
    const uint8_t *bytes;
    size_t len, used = 0;
    enum lk_err err;

    if ((err = lk_read_2b(r, &item)) != LK_OK) {
        return err;
    }
    len = item.left;
    if ((err = lk_read_bytes(&item, len, &bytes)) != LK_OK) {
        return err;
    }
    memset(ret, 0, sizeof(*ret));
    if (Tss2_MU_TPMT_PUBLIC_Unmarshal(bytes, len, &used, &ret->publicArea) != TSS2_RC_SUCCESS ||
        used != len) {
        return LK_ERR_FORMAT;
    }
    attributes = ret->publicArea.objectAttributes;
    if (ret->publicArea.type != TPM2_ALG_KEYEDHASH || scheme->scheme != TPM2_ALG_HMAC ||
        scheme->details.hmac.hashAlg != TPM2_ALG_SHA256 ||
        (attributes & TPMA_OBJECT_SIGN_ENCRYPT) == 0 ||
        (attributes & TPMA_OBJECT_USERWITHAUTH) == 0 || (attributes & banned) != 0) {
        return LK_ERR_FORMAT;
    }
    return LK_OK;
}

enum lk_err
lk_auth_blob_parse(const void *data, size_t len, struct lk_auth_blob *ret)
{
    struct lk_reader r = lk_reader_of(data, len);
    struct lk_reader uri; /* item 6: nothing in the protocol uses it, but it has to be there */
    enum lk_err err;

    if ((err = item_read(&r, ret->credential.credential, sizeof(ret->credential.credential),
                         &ret->credential.size)) != LK_OK ||
        (err = item_read(&r, ret->credential_seed.secret, sizeof(ret->credential_seed.secret),
                         &ret->credential_seed.size)) != LK_OK ||
        (err = item_read(&r, ret->duplicate.buffer, sizeof(ret->duplicate.buffer),
                         &ret->duplicate.size)) != LK_OK ||
        (err = item_read(&r, ret->duplicate_seed.secret, sizeof(ret->duplicate_seed.secret),
                         &ret->duplicate_seed.size)) != LK_OK ||
        (err = public_read(&r, &ret->pub)) != LK_OK || (err = lk_read_2b(&r, &uri)) != LK_OK) {
        return err;
    }
    return lk_reader_end(&r);
}
