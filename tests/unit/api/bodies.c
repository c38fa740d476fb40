#include "bodies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/codec.h"
#include "support/certs.h"
#include "support/softtpm.h"

#define CERTS_FROM_S INT64_C(1767225600) /* 2026-01-01 */

static struct lk_buf eks[BODIES_EKS], srk, leaves[2], ca;

static void
key_make(enum lk_key_role role, struct lk_buf *ret)
{
    LK_AUTO(softtpm_key) struct softtpm_key *key = softtpm_key_generate(SOFTTPM_P256);
    struct softtpm_public public = softtpm_public_make(key, role, 0);

    assert_int_equal(lk_base64_encode(public.bytes, public.len, ret), LK_OK);
}

const char *
body_ek(size_t nr)
{
    assert_true(nr < BODIES_EKS);
    if (eks[nr].len == 0) {
        key_make(LK_ROLE_EK, &eks[nr]);
    }
    return lk_buf_text(&eks[nr]);
}

const char *
body_srk(void)
{
    if (srk.len == 0) {
        key_make(LK_ROLE_SRK, &srk);
    }
    return lk_buf_text(&srk);
}

static const char *
cert_of(struct lk_buf *slot, const char *cn,
        void (*make)(struct test_cert *, const char *, int64_t, const struct test_cert *))
{
    struct test_cert cert;

    if (slot->len == 0) {
        make(&cert, cn, CERTS_FROM_S, NULL);
        assert_int_equal(lk_base64_encode(cert.der, cert.der_len, slot), LK_OK);
        test_cert_fini(&cert);
    }
    return lk_buf_text(slot);
}

const char *
body_leaf_cert(size_t nr)
{
    assert_true(nr < LK_ARRAY_LEN(leaves));
    return cert_of(&leaves[nr], nr == 0 ? "dev-1" : "dev-1 again", test_leaf_make);
}

const char *
body_ca_cert(void)
{
    return cert_of(&ca, "Line A", test_ca_make);
}

char *
body_make(const char *format, ...)
{
    struct lk_buf text = LK_BUF_INIT;
    char *ret;
    va_list ap;

    va_start(ap, format);
    for (; *format != '\0'; format++) {
        const char *part = *format == '~' ? va_arg(ap, const char *) : NULL;

        assert_true(*format != '~' || part != NULL);
        assert_int_equal(part != NULL ? lk_buf_puts(&text, part) : lk_buf_put(&text, format, 1),
                         LK_OK);
    }
    va_end(ap);
    assert_int_equal(lk_buf_put_u8(&text, 0), LK_OK);
    ret = strdup((const char *)text.data);
    assert_non_null(ret);
    lk_buf_fini(&text);
    for (char *at = ret; (at = strchr(at, '\'')) != NULL;) {
        *at = '"';
    }
    return ret;
}

void
bodies_free(void)
{
    for (size_t i = 0; i < BODIES_EKS; i++) {
        lk_buf_fini(&eks[i]);
    }
    lk_buf_fini(&srk);
    lk_buf_fini(&leaves[0]);
    lk_buf_fini(&leaves[1]);
    lk_buf_fini(&ca);
}
