/* Verifying a detached CMS signature: read it, judge its signer, then read what it is over. */
#include "crypto/cms.h"

#include <stdio.h>
#include <string.h>

#include <openssl/pem.h> /* before cms.h, which declares its PEM calls only then */

#include <openssl/cms.h>
#include <openssl/err.h>

#include "crypto/cms_int.h"

#define DER_SEQUENCE 0x30 /* how a DER signature begins, and no PEM */

LK_DEFINE_AUTO(CMS_ContentInfo, cms, CMS_ContentInfo_free);
LK_DEFINE_AUTO(EVP_MD_CTX, cms_md_ctx, EVP_MD_CTX_free);
LK_DEFINE_AUTO(BIO_METHOD, cms_bio_method, BIO_meth_free);

static enum lk_err
say(char reason[LK_CMS_REASON_CAP], enum lk_err err, const char *text)
{
    (void)snprintf(reason, LK_CMS_REASON_CAP, "%s", text);
    return err;
}

/* ---- the signature --------------------------------------------------------------------------- */

/* Instead of the library's, which would ask at the terminal. */
static int
no_password(char *buf, int size, int writing, void *ctx)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

static CMS_ContentInfo *
signature_decode(const void *data, size_t len)
{
    const unsigned char *p = data;
    LK_AUTO(cms_bio) BIO *pem = NULL;
    LK_AUTO(cms) CMS_ContentInfo *cms = NULL;

    if (len == 0) {
        return NULL;
    }
    if (*p != DER_SEQUENCE) {
        pem = BIO_new_mem_buf(data, (int)len);
        return pem != NULL ? PEM_read_bio_CMS(pem, NULL, no_password, NULL) : NULL;
    }
    cms = d2i_CMS_ContentInfo(NULL, &p, (long)len);
    return p == (const unsigned char *)data + len ? cms_take(&cms) : NULL;
}

static enum lk_err
signature_parse(const void *data, size_t len, char reason[LK_CMS_REASON_CAP], CMS_ContentInfo **ret)
{
    LK_AUTO(cms) CMS_ContentInfo *cms = NULL;

    if (len > LK_CMS_SIGNATURE_MAX) {
        return say(reason, LK_ERR_LIMIT, "the signature is longer than 64 KiB");
    }
    if ((cms = signature_decode(data, len)) == NULL) {
        return say(reason, LK_ERR_FORMAT, "no CMS (PKCS#7) signature in DER or PEM");
    }
    if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed ||
        OBJ_obj2nid(CMS_get0_eContentType(cms)) != NID_pkcs7_data) {
        return say(reason, LK_ERR_UNSUPPORTED, "not a CMS SignedData over plain data");
    }
    if (CMS_is_detached(cms) != 1) {
        return say(reason, LK_ERR_UNSUPPORTED,
                   "the signature holds a file of its own; a detached one is needed");
    }
    *ret = cms_take(&cms);
    return LK_OK;
}

static bool
digest_ok(const X509_ALGOR *alg)
{
    const ASN1_OBJECT *oid;
    int nid;

    X509_ALGOR_get0(&oid, NULL, NULL, alg);
    nid = OBJ_obj2nid(oid);
    return nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512;
}

/* Its only signer, the cms's own. */
static enum lk_err
signer_info(CMS_ContentInfo *cms, char reason[LK_CMS_REASON_CAP], CMS_SignerInfo **ret)
{
    STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);
    X509_ALGOR *digest = NULL;
    CMS_SignerInfo *info;

    if (sk_CMS_SignerInfo_num(infos) != 1) {
        return say(reason, LK_ERR_UNSUPPORTED, "exactly one signer is needed");
    }
    info = sk_CMS_SignerInfo_value(infos, 0);
    CMS_SignerInfo_get0_algs(info, NULL, NULL, &digest, NULL);
    if (digest == NULL || !digest_ok(digest)) {
        return say(reason, LK_ERR_UNSUPPORTED, "the digest is not SHA-256, SHA-384 or SHA-512");
    }
    if (CMS_signed_get_attr_count(info) <= 0) {
        return say(reason, LK_ERR_UNSUPPORTED, "the signature has no signed attributes");
    }
    *ret = info;
    return LK_OK;
}

/* The signer's certificate: inside the signature, or one of those that are trusted. */
static enum lk_err
signer_find(CMS_ContentInfo *cms, CMS_SignerInfo *info, struct stack_st_X509 *trusted,
            char reason[LK_CMS_REASON_CAP], X509 **ret)
{
    X509 *cert = NULL;

    if (CMS_set1_signers_certs(cms, trusted, 0) < 0) {
        return LK_ERR_CRYPTO;
    }
    CMS_SignerInfo_get0_algs(info, NULL, &cert, NULL, NULL);
    if (cert == NULL) {
        return say(reason, LK_ERR_REFUSED,
                   "the signer's certificate is neither in the signature nor among the trusted");
    }
    *ret = cert;
    return LK_OK;
}

/* ---- the content ----------------------------------------------------------------------------- */

/* The content as OpenSSL reads it. */
struct reading {
    const struct lk_cms_content *content;
    EVP_MD_CTX *sha256;
    enum lk_err err;
    bool end;
};

static int
reading_read(BIO *bio, char *buf, int cap)
{
    struct reading *r = BIO_get_data(bio);
    size_t len = 0;

    if (r->err != LK_OK || r->end || cap <= 0) {
        return r->err != LK_OK ? -1 : 0;
    }
    r->err = r->content->read(r->content->ctx, buf, (size_t)cap, &len);
    r->end = r->err == LK_OK && len == 0;
    if (r->err == LK_OK && EVP_DigestUpdate(r->sha256, buf, len) != 1) {
        r->err = LK_ERR_CRYPTO;
    }
    return r->err != LK_OK ? -1 : (int)len;
}

static long
reading_ctrl(BIO *bio, int cmd, long number, void *arg)
{
    const struct reading *r = BIO_get_data(bio);

    (void)number;
    (void)arg;
    if (cmd == BIO_CTRL_EOF) {
        return r->end ? 1 : 0;
    }
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO *
reading_bio(BIO_METHOD *method, struct reading *r)
{
    BIO *bio;

    if (method == NULL || BIO_meth_set_read(method, reading_read) != 1 ||
        BIO_meth_set_ctrl(method, reading_ctrl) != 1 || (bio = BIO_new(method)) == NULL) {
        return NULL;
    }
    BIO_set_data(bio, r);
    BIO_set_init(bio, 1);
    return bio;
}

/* Digests run over the whole content, so a signature must not name thousands of them. */
static enum lk_err
digests_check(CMS_ContentInfo *cms, BIO *content, char reason[LK_CMS_REASON_CAP])
{
    BIO *chain = CMS_dataInit(cms, content);
    int count = 0;

    if (chain == NULL) {
        return say(reason, LK_ERR_UNSUPPORTED, "a digest of the signature is not known");
    }
    while (chain != content) {
        BIO *next = BIO_pop(chain);

        (void)BIO_free(chain);
        chain = next;
        count++;
    }
    return count == 1 ? LK_OK : say(reason, LK_ERR_UNSUPPORTED, "exactly one digest is needed");
}

static enum lk_err
content_verify(CMS_ContentInfo *cms, const struct lk_cms_content *content,
               char reason[LK_CMS_REASON_CAP], uint8_t ret_sha256[32])
{
    LK_AUTO(cms_md_ctx) EVP_MD_CTX *sha256 = EVP_MD_CTX_new();
    LK_AUTO(cms_bio_method)
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "content");
    struct reading r = {.content = content, .sha256 = sha256, .err = LK_OK};
    LK_AUTO(cms_bio) BIO *bio = reading_bio(method, &r);
    unsigned flags = CMS_DETACHED | CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY | CMS_NOINTERN;
    enum lk_err err;
    int ok;

    if (sha256 == NULL || bio == NULL || EVP_DigestInit_ex(sha256, EVP_sha256(), NULL) != 1) {
        return LK_ERR_NOMEM;
    }
    if ((err = digests_check(cms, bio, reason)) != LK_OK) {
        return err;
    }
    ok = CMS_verify(cms, NULL, NULL, bio, NULL, flags);
    if (r.err != LK_OK) {
        return r.err;
    }
    if (ok != 1) {
        return say(reason, LK_ERR_REFUSED,
                   "the signature is over something else: another file, or one that was changed");
    }
    return r.end && EVP_DigestFinal_ex(sha256, ret_sha256, NULL) == 1 ? LK_OK : LK_ERR_CRYPTO;
}

/* ---- all together ---------------------------------------------------------------------------- */

static enum lk_err
signer_report(const X509 *cert, struct lk_cms_signer *ret)
{
    unsigned len = sizeof(ret->cert_sha256);

    lk_cms_name(X509_get_subject_name(cert), ret->subject, sizeof(ret->subject));
    return X509_digest(cert, EVP_sha256(), ret->cert_sha256, &len) == 1 ? LK_OK : LK_ERR_CRYPTO;
}

/* Everything that can be known without the content. */
static enum lk_err
signer_verify(CMS_ContentInfo *cms, CMS_SignerInfo *info, const struct lk_cms_trust *trust,
              char reason[LK_CMS_REASON_CAP], struct lk_cms_signer *ret)
{
    LK_AUTO(cms_certs) struct stack_st_X509 *trusted = NULL;
    LK_AUTO(cms_certs) struct stack_st_X509 *others = CMS_get1_certs(cms);
    X509 *signer = NULL;
    enum lk_err err;

    if (sk_X509_num(others) > LK_CMS_CERTS_MAX) {
        return say(reason, LK_ERR_LIMIT, "there are more than 16 certificates in the signature");
    }
    if ((err = lk_cms_trusted(trust, reason, &trusted)) != LK_OK ||
        (err = signer_find(cms, info, trusted, reason, &signer)) != LK_OK ||
        (err = lk_cms_signer_judge(signer, trusted, others, trust, reason)) != LK_OK) {
        return err;
    }
    if (CMS_SignerInfo_verify(info) != 1) {
        return say(reason, LK_ERR_REFUSED, "the signature was not made with the signer's key");
    }
    return signer_report(signer, ret);
}

enum lk_err
lk_cms_verify(const void *signature, size_t signature_len, const struct lk_cms_trust *trust,
              const struct lk_cms_content *content, char reason[LK_CMS_REASON_CAP],
              struct lk_cms_signer *ret)
{
    LK_AUTO(cms) CMS_ContentInfo *cms = NULL;
    CMS_SignerInfo *info = NULL;
    struct lk_cms_signer signer = {.subject = ""};
    enum lk_err err;

    reason[0] = '\0';
    if ((err = signature_parse(signature, signature_len, reason, &cms)) == LK_OK &&
        (err = signer_info(cms, reason, &info)) == LK_OK &&
        (err = signer_verify(cms, info, trust, reason, &signer)) == LK_OK) {
        err = content_verify(cms, content, reason, signer.content_sha256);
    }
    ERR_clear_error();
    if (err == LK_OK) {
        *ret = signer;
    }
    return err;
}
