/* The signature of a manifest. The input is a trusted certificate behind its length, then the
 * signature: without one that is trusted, most of the work would never be reached. */
#include <string.h>

#include "crypto/cms.h"
#include "fuzz.h"

#define SIGNED "registrationId,endorsementKey\n" /* corpus_cms.py signs this */
#define NOW_S 1800000000                         /* within the days of its certificates */

static enum lk_err
content_read(void *ctx, void *buf, size_t cap, size_t *ret_len)
{
    struct lk_reader *r = ctx;
    size_t n = r->left < cap ? r->left : cap;

    memcpy(buf, r->p, n);
    r->p += n;
    r->left -= n;
    *ret_len = n;
    return LK_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_reader in = lk_reader_of(data, size), cert, text = lk_reader_of(SIGNED, 30);
    const struct lk_cms_content content = {content_read, &text};
    struct lk_part trusted;
    const struct lk_cms_trust trust = {.certs = &trusted, .certs_count = 1, .now_unix_s = NOW_S};
    char reason[LK_CMS_REASON_CAP];
    struct lk_cms_signer signer;
    enum lk_err err;

    if (lk_read_2b(&in, &cert) != LK_OK) {
        return 0;
    }
    trusted = LK_PART(cert.p, cert.left);
    err = lk_cms_verify(in.p, in.left, &trust, &content, reason, &signer);
    check(memchr(reason, 0, sizeof(reason)) != NULL);
    check(err != LK_OK || (reason[0] == '\0' && text.left == 0));
    check(err != LK_OK || memchr(signer.subject, 0, sizeof(signer.subject)) != NULL);
    return 0;
}
