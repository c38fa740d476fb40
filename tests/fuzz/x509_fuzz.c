/* Certificates that devices present in TLS, and that operators bring as text. */
#include <string.h>

#include "crypto/x509.h"
#include "fuzz.h"

static bool
is_text(const char *text, size_t cap)
{
    return memchr(text, 0, cap) != NULL;
}

static void
info_check(const struct lk_x509_info *info)
{
    check(is_text(info->subject, sizeof(info->subject)));
    check(is_text(info->issuer, sizeof(info->issuer)));
    check(is_text(info->common_name, sizeof(info->common_name)));
    check(is_text(info->serial, sizeof(info->serial)));
    check(info->version >= 1);
}

/* What text holds is one certificate, whose PEM is the same one again. */
static void
text_check(const uint8_t *data, size_t size)
{
    LK_AUTO_BUF struct lk_buf der = LK_BUF_INIT, pem = LK_BUF_INIT, again = LK_BUF_INIT;

    if (lk_x509_from_text(data, size, &der) != LK_OK) {
        check(der.len == 0);
        return;
    }
    check(der.len <= LK_X509_DER_MAX);
    if (lk_x509_to_pem(der.data, der.len, &pem) != LK_OK) {
        return; /* what OpenSSL writes anew it may no longer read */
    }
    check(lk_x509_from_text(pem.data, pem.len, &again) == LK_OK);
    check(again.len == der.len && memcmp(again.data, der.data, der.len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct lk_part part = LK_PART(data, size);
    struct lk_x509_info info;
    const char *why = NULL;
    enum lk_err err;

    text_check(data, size);
    err = lk_x509_chain_check(&part, 1, &part, 1, INT64_C(1790000000000), &why);
    check(err != LK_OK && why != NULL); /* nothing vouches for itself */
    if (lk_x509_read(data, size, &info) == LK_OK) {
        info_check(&info);
        (void)lk_x509_is_ca(data, size); /* either way */
    }
    return 0;
}
