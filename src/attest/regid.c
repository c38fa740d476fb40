/* The registration ID that the SDKs derive from an EK when the application names none. */
#include "attest/attest.h"

#include "base/codec.h"

enum lk_err
lk_default_registration_id(const void *ek_tpm2b, size_t len,
                           char ret[LK_DEFAULT_REGISTRATION_ID_CAP])
{
    const struct lk_part part = LK_PART(ek_tpm2b, len);
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    uint8_t digest[32];
    enum lk_err err;

    if ((err = lk_digest(LK_SHA256, &part, 1, digest)) != LK_OK ||
        (err = lk_base32_encode(digest, sizeof(digest), &text)) != LK_OK) {
        return err;
    }
    if (lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_strcpy(ret, LK_DEFAULT_REGISTRATION_ID_CAP, lk_buf_text(&text));
}
