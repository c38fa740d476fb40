/* Certificates of endorsement keys that a device brings, and what vouches for them. */
#include <stdlib.h>
#include <string.h>

#include "crypto/ek_cert.h"

#define NOW_MS INT64_C(1790000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
facts_check(const struct lk_ek_cert_facts *f)
{
    uint64_t version;

    if (f->x_len > sizeof(f->x) || f->y_len > sizeof(f->y) ||
        memchr(f->issuer, 0, sizeof(f->issuer)) == NULL ||
        memchr(f->model, 0, sizeof(f->model)) == NULL ||
        (f->alg == LK_EK_CERT_RSA && f->x_len * 8 != f->bits)) {
        abort();
    }
    (void)lk_ek_version_parse(f->version, &version); /* either way, within its text */
}

/* The input is the EK's certificate, part of the chain, and everything that is trusted. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LK_AUTO(lk_ek_cert) struct lk_ek_cert *c = NULL;
    LK_AUTO(lk_ek_trust) struct lk_ek_trust *t = NULL;
    const struct lk_part chain = LK_PART(data, size);
    uint8_t roots[1][LK_EK_FINGERPRINT_LEN];
    struct lk_ek_verify how = {
        .roots = roots, .roots_count = 1, .chain = &chain, .chain_count = 1, .now_ms = NOW_MS};
    const char *why = NULL;

    if (lk_ek_trust_new(&t) != LK_OK || lk_digest(LK_SHA256, &chain, 1, roots[0]) != LK_OK) {
        return 0;
    }
    for (int kind = LK_EK_TRUST_ROOT; kind <= LK_EK_TRUST_CRL; kind++) {
        (void)lk_ek_trust_add(t, (enum lk_ek_trust_kind)kind, data, size); /* often not one */
    }
    if (lk_ek_cert_parse(data, size, &why, &c) != LK_OK) {
        return why == NULL ? abort(), 0 : 0;
    }
    facts_check(lk_ek_cert_facts(c));
    how.trust = t;
    if (lk_ek_cert_verify(c, &how, &why) == LK_OK) {
        abort(); /* nothing that vouches for itself is admitted */
    }
    return 0;
}
