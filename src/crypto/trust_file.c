/* Reading certificates and revocation lists, PEM or DER. */
#include "crypto/trust_file.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "crypto/cms_int.h"

#define DER_SEQUENCE 0x30 /* how DER begins, and no PEM */

struct reading {
    char *reason;
    enum lk_err (*each)(void *ctx, const struct lk_trust_item *item);
    void *ctx;
    unsigned count;
};

static enum lk_err
say(const struct reading *r, enum lk_err err, const char *text)
{
    (void)snprintf(r->reason, LK_TRUST_REASON_CAP, "%s", text);
    return err;
}

static int64_t
time_of(const ASN1_TIME *at)
{
    struct tm tm;

    return at != NULL && ASN1_TIME_to_tm(at, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static enum lk_err
item_give(struct reading *r, struct lk_trust_item *item)
{
    const struct lk_part part = LK_PART(item->der, item->der_len);
    enum lk_err err;

    if (r->count++ == LK_TRUST_FILE_ITEMS_MAX) {
        return say(r, LK_ERR_LIMIT, "there are more than 256 certificates and lists in it");
    }
    err = lk_digest(LK_SHA256, &part, 1, item->sha256);
    return err != LK_OK ? err : r->each(r->ctx, item);
}

static enum lk_err
cert_read(struct reading *r, const uint8_t *der, size_t len)
{
    const unsigned char *p = der;
    LK_AUTO(cms_x509) X509 *cert = d2i_X509(NULL, &p, (long)len);
    struct lk_trust_item item = {.der = der, .der_len = len};

    if (cert == NULL || p != der + len) {
        return say(r, LK_ERR_FORMAT, "a certificate in it cannot be read");
    }
    item.is_ca = X509_check_ca(cert) > 0;
    item.until_unix_s = time_of(X509_get0_notAfter(cert));
    lk_cms_name(X509_get_subject_name(cert), item.name, sizeof(item.name));
    return item_give(r, &item);
}

static enum lk_err
crl_read(struct reading *r, const uint8_t *der, size_t len)
{
    const unsigned char *p = der;
    LK_AUTO(cms_crl) X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)len);
    struct lk_trust_item item = {.is_crl = true, .der = der, .der_len = len};

    if (crl == NULL || p != der + len) {
        return say(r, LK_ERR_FORMAT, "no certificate and no revocation list in PEM or DER");
    }
    item.until_unix_s = time_of(X509_CRL_get0_nextUpdate(crl));
    lk_cms_name(X509_CRL_get_issuer(crl), item.name, sizeof(item.name));
    return item_give(r, &item);
}

static bool
is_cert(const uint8_t *der, size_t len)
{
    const unsigned char *p = der;
    LK_AUTO(cms_x509) X509 *cert = d2i_X509(NULL, &p, (long)len);

    return cert != NULL;
}

static enum lk_err
pem_item_read(struct reading *r, const char *name, const char *header, const uint8_t *der,
              size_t len)
{
    if (header[0] == '\0' && strcmp(name, PEM_STRING_X509) == 0) {
        return cert_read(r, der, len);
    }
    if (header[0] == '\0' && strcmp(name, PEM_STRING_X509_CRL) == 0) {
        return crl_read(r, der, len);
    }
    return say(r, LK_ERR_FORMAT,
               strstr(name, "PRIVATE KEY") != NULL
                   ? "there is a private key in it: only certificates are imported"
                   : "there is something else in it than certificates and revocation lists");
}

static enum lk_err
pem_read(struct reading *r, BIO *in)
{
    enum lk_err err = LK_OK;

    while (err == LK_OK) {
        char *name = NULL, *header = NULL;
        unsigned char *der = NULL;
        long len = 0;

        if (PEM_read_bio(in, &name, &header, &der, &len) != 1) {
            unsigned long code = ERR_peek_last_error();

            err =
                r->count > 0 && ERR_GET_REASON(code) == PEM_R_NO_START_LINE
                    ? LK_OK
                    : say(r, LK_ERR_FORMAT, "no certificate and no revocation list in PEM or DER");
            return err;
        }
        err = pem_item_read(r, name, header, der, (size_t)len);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)len); /* it may have been a private key */
    }
    return err;
}

enum lk_err
lk_trust_file_read(const void *data, size_t len, char reason[LK_TRUST_REASON_CAP],
                   enum lk_err (*each)(void *ctx, const struct lk_trust_item *item), void *ctx)
{
    struct reading r = {.reason = reason, .each = each, .ctx = ctx};
    const uint8_t *bytes = data;
    LK_AUTO(cms_bio) BIO *in = NULL;
    enum lk_err err;

    reason[0] = '\0';
    if (len > LK_TRUST_FILE_MAX) {
        return say(&r, LK_ERR_LIMIT, "it is longer than 8 MiB");
    }
    if (len == 0) {
        return say(&r, LK_ERR_FORMAT, "it is empty");
    }
    if (bytes[0] == DER_SEQUENCE) {
        err = is_cert(bytes, len) ? cert_read(&r, bytes, len) : crl_read(&r, bytes, len);
    } else if ((in = BIO_new_mem_buf(data, (int)len)) == NULL) {
        err = LK_ERR_NOMEM;
    } else {
        err = pem_read(&r, in);
    }
    ERR_clear_error();
    return err;
}
