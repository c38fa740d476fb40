/* Who signed a manifest, by what the store trusts. */
#include "cli/manifest_verify.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "cli/options.h"

#define TRUSTED_MAX 256u /* factory certificates, and as many revocation lists */
#define TRUSTED_BYTES_MAX ((size_t)64 * 1024 * 1024)

int
lk_cli_interrupted(void)
{
    lk_cli_note("interrupted: nothing was imported");
    return lk_err_exit_code(LK_ERR_CANCELLED);
}

/* What the store trusts to sign manifests. */
struct factory {
    struct lk_buf bytes;                             /* DER, one behind the other */
    size_t ends[TRUSTED_MAX], crl_ends[TRUSTED_MAX]; /* of each, in bytes and in crls */
    struct lk_buf crls;
    size_t count, crls_count;
};

static void
factory_fini(struct factory *f)
{
    lk_buf_fini(&f->bytes);
    lk_buf_fini(&f->crls);
}

static enum lk_err
trust_take(void *ctx, const struct lk_trust *t)
{
    struct factory *f = (struct factory *)ctx;
    bool crl = t->kind == LK_TRUST_CRL;
    size_t *count = crl ? &f->crls_count : &f->count;
    struct lk_buf *bytes = crl ? &f->crls : &f->bytes;
    enum lk_err err;

    if (!crl && t->kind != LK_TRUST_FACTORY) {
        return LK_OK;
    }
    if (*count == TRUSTED_MAX) {
        return LK_ERR_LIMIT;
    }
    if ((err = lk_buf_put(bytes, t->der.data, t->der.len)) == LK_OK) {
        (crl ? f->crl_ends : f->ends)[(*count)++] = bytes->len;
    }
    return err;
}

static enum lk_err
trust_run(struct lk_txn *tx, void *arg)
{
    struct factory *f = (struct factory *)arg;

    f->count = f->crls_count = 0;
    lk_buf_reset(&f->bytes);
    lk_buf_reset(&f->crls);
    return lk_txn_trust_each(tx, trust_take, f);
}

static void
parts_of(const struct lk_buf *bytes, const size_t *ends, size_t count, struct lk_part *ret)
{
    for (size_t i = 0, from = 0; i < count; from = ends[i++]) {
        ret[i] = LK_PART(bytes->data + from, ends[i] - from);
    }
}

static int
verify_by(const struct factory *f, const struct lk_buf *signature, struct lk_cli_input *in,
          const char *name, struct lk_cli_verified *ret)
{
    struct lk_part certs[TRUSTED_MAX], crls[TRUSTED_MAX];
    const struct lk_cms_trust trust = {certs, f->count, crls, f->crls_count,
                                       lk_clock_unix_ms(&lk_clock_system) / 1000};
    const struct lk_cms_content content = {lk_cli_input_read, in};
    char reason[LK_CMS_REASON_CAP];
    enum lk_err err;

    parts_of(&f->bytes, f->ends, f->count, certs);
    parts_of(&f->crls, f->crl_ends, f->crls_count, crls);
    errno = 0;
    err = lk_cms_verify(signature->data, signature->len, &trust, &content, reason, &ret->cms);
    if (err == LK_OK) {
        memcpy(ret->sha256, ret->cms.content_sha256, sizeof(ret->sha256));
        memcpy(ret->signer.cert_sha256, ret->cms.cert_sha256, sizeof(ret->signer.cert_sha256));
        ret->signer.subject = ret->cms.subject;
        ret->has_signer = true;
        return 0;
    }
    if (reason[0] != '\0') {
        lk_cli_note("nothing was imported: the signature of %s is not good: %s", name, reason);
        return lk_err_exit_code(err);
    }
    return err == LK_ERR_CANCELLED
               ? lk_cli_interrupted()
               : lk_cli_fail(err, "nothing was imported: cannot verify %s", name);
}

static int
signature_verify(struct lk_cli_service *s, const char *path, struct lk_cli_input *in,
                 const char *name, struct lk_cli_verified *ret)
{
    __attribute__((cleanup(factory_fini))) struct factory f = {.bytes = {.max = TRUSTED_BYTES_MAX},
                                                               .crls = {.max = TRUSTED_BYTES_MAX}};
    LK_AUTO_BUF struct lk_buf signature = LK_BUF_INIT;
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    errno = 0;
    if ((err = lk_cli_bytes_read(path, LK_CMS_SIGNATURE_MAX, &signature)) != LK_OK) {
        return lk_cli_fail(
            err, err == LK_ERR_LIMIT ? "%s: no detached signature is so long" : "cannot read %s",
            lk_cli_shown(path, shown));
    }
    if ((err = lk_store_read_wait(s->session, trust_run, &f)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot read what is trusted");
    }
    if (f.count == 0) {
        lk_cli_note("nothing was imported: no factory certificate is trusted: import one with "
                    "`latchkey trust add --factory`");
        return lk_err_exit_code(LK_ERR_REFUSED);
    }
    return verify_by(&f, &signature, in, name, ret);
}

static enum lk_err
digest_read(struct lk_cli_input *in, uint8_t ret[LK_IMPORT_SHA256_LEN])
{
    LK_AUTO(lk_digester) struct lk_digester *d = NULL;
    char buf[65536];
    size_t len = 1;
    enum lk_err err = lk_digester_new(LK_SHA256, &d);

    while (err == LK_OK && len > 0) {
        if ((err = lk_cli_input_read(in, buf, sizeof(buf), &len)) == LK_OK) {
            err = lk_digester_put(d, buf, len);
        }
    }
    return err != LK_OK ? err : lk_digester_end(d, ret);
}

/* The first reading. What is imported by the second are the same bytes, or nothing. */
int
lk_cli_manifest_verify(struct lk_cli_service *s, const char *signature, struct lk_cli_input *in,
                       const char *name, struct lk_cli_verified *ret)
{
    int code = 0;
    enum lk_err err;

    if (signature != NULL) {
        code = signature_verify(s, signature, in, name, ret);
    } else if (s->config.import_signature_required != 0) {
        lk_cli_note("nothing was imported: the configuration asks for signed manifests "
                    "(import-signature-required): give --signature");
        code = lk_err_exit_code(LK_ERR_REFUSED);
    } else if ((err = digest_read(in, ret->sha256)) != LK_OK) {
        code = err == LK_ERR_CANCELLED ? lk_cli_interrupted()
                                       : lk_cli_fail(err, "cannot read %s", name);
    }
    if (code == 0 && (err = lk_cli_input_rewind(in)) != LK_OK) {
        code = lk_cli_fail(err, "cannot read %s again", name);
    }
    return code;
}
