/* What the files of a CMS verification share: the judgement on its signer's certificate. */
#ifndef LK_CRYPTO_CMS_INT_H
#define LK_CRYPTO_CMS_INT_H

#include <openssl/x509v3.h>

#include "crypto/cms.h"

LK_DEFINE_AUTO(X509, cms_x509, X509_free);
LK_DEFINE_AUTO(X509_CRL, cms_crl, X509_CRL_free);
LK_DEFINE_AUTO(X509_STORE, cms_store, X509_STORE_free);
LK_DEFINE_AUTO(X509_STORE_CTX, cms_store_ctx, X509_STORE_CTX_free);
LK_DEFINE_AUTO(BIO, cms_bio, BIO_free);

__attribute__((unused)) static inline void
lk_cms_certs_free(struct stack_st_X509 *certs)
{
    sk_X509_pop_free(certs, X509_free);
}
LK_DEFINE_AUTO(struct stack_st_X509, cms_certs, lk_cms_certs_free);

/* The certificates of trust, a new stack. LK_ERR_CONFIG, LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err lk_cms_trusted(const struct lk_cms_trust *trust,
                                         char reason[LK_CMS_REASON_CAP],
                                         struct stack_st_X509 **ret);

/*
 * Is signer one of trusted, or does its chain lead there through others (may be NULL)? Everything
 * of cms.h that is about certificates. LK_ERR_REFUSED, LK_ERR_CONFIG, LK_ERR_CRYPTO, LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_cms_signer_judge(X509 *signer, struct stack_st_X509 *trusted,
                                              struct stack_st_X509 *others,
                                              const struct lk_cms_trust *trust,
                                              char reason[LK_CMS_REASON_CAP]);

/* A name as printable ASCII, cut to fit. */
void lk_cms_name(const X509_NAME *name, char *buf, size_t cap);

#endif
