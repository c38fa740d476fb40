/* A software TPM for a test of src/device. */
#include "fixture.h"

#include <tss2/tss2_tctildr.h>

/* ---- a way in -------------------------------------------------------------------------------- */

struct link {
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
};

static void
ok(TSS2_RC rc)
{
    if (rc != TSS2_RC_SUCCESS) {
        fail_msg("TPM answered 0x%08x", rc);
    }
}

static struct link
link_open(const struct fixture *f)
{
    struct link l = {NULL, NULL};

    ok(Tss2_TctiLdr_Initialize(lk_swtpm_tcti(f->tpm), &l.tcti));
    ok(Esys_Initialize(&l.esys, l.tcti, NULL));
    return l;
}

static void
link_close(struct link *l)
{
    Esys_Finalize(&l->esys);
    Tss2_TctiLdr_Finalize(&l->tcti);
}

size_t
fixture_handles(const struct fixture *f, uint32_t first, uint32_t *ret, size_t cap)
{
    struct link l = link_open(f);
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more;
    size_t count;

    ok(Esys_GetCapability(l.esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, first,
                          32, &more, &data));
    count = data->data.handles.count;
    for (size_t i = 0; i < count && i < cap; i++) {
        ret[i] = data->data.handles.handle[i];
    }
    Esys_Free(data);
    link_close(&l);
    return count;
}

void
fixture_no_leak(const struct fixture *f)
{
    assert_int_equal(fixture_handles(f, FIRST_TRANSIENT, NULL, 0), 0);
    assert_int_equal(fixture_handles(f, FIRST_LOADED_SESSION, NULL, 0), 0);
    assert_int_equal(fixture_handles(f, FIRST_SAVED_SESSION, NULL, 0), 0);
}

void
fixture_set_password(const struct fixture *f, ESYS_TR hierarchy, const char *password)
{
    struct link l = link_open(f);
    TPM2B_AUTH auth = {.size = (UINT16)strlen(password)};

    memcpy(auth.buffer, password, auth.size);
    ok(Esys_HierarchyChangeAuth(l.esys, hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                &auth));
    link_close(&l);
}

void
fixture_clear(const struct fixture *f)
{
    struct link l = link_open(f);

    ok(Esys_Clear(l.esys, ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE));
    link_close(&l);
}

void
fixture_occupy(const struct fixture *f, uint32_t handle)
{
    const TPM2B_PUBLIC template = {
        .publicArea = {.type = TPM2_ALG_ECC,
                       .nameAlg = TPM2_ALG_SHA256,
                       .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                           TPMA_OBJECT_SENSITIVEDATAORIGIN |
                                           TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT |
                                           TPMA_OBJECT_USERWITHAUTH,
                       .parameters.eccDetail = {.symmetric = {.algorithm = TPM2_ALG_AES,
                                                              .keyBits.aes = 128,
                                                              .mode.aes = TPM2_ALG_CFB},
                                                .scheme.scheme = TPM2_ALG_NULL,
                                                .curveID = TPM2_ECC_NIST_P256,
                                                .kdf.scheme = TPM2_ALG_NULL}}};
    const TPM2B_SENSITIVE_CREATE sensitive = {.size = 0};
    const TPM2B_DATA outside = {.size = 0};
    const TPML_PCR_SELECTION pcrs = {.count = 0};
    struct link l = link_open(f);
    ESYS_TR made, stored;

    ok(Esys_CreatePrimary(l.esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                          &sensitive, &template, &outside, &pcrs, &made, NULL, NULL, NULL, NULL));
    ok(Esys_EvictControl(l.esys, ESYS_TR_RH_OWNER, made, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                         ESYS_TR_NONE, handle, &stored));
    ok(Esys_FlushContext(l.esys, made));
    link_close(&l);
}

/* ---- each test's own ------------------------------------------------------------------------- */

int
fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(lk_crypto_init(), LK_OK);
    f->tpm = lk_swtpm_start();
    f->proxy = lk_tpm_proxy_start(f->tpm);
    f->tcti = lk_tpm_proxy_tcti(f->proxy);
    fixture_no_leak(f);
    *state = f;
    return 0;
}

int
fixture_teardown(void **state)
{
    struct fixture *f = (struct fixture *)*state;

    fixture_no_leak(f);
    lk_tpm_proxy_stop(f->proxy);
    lk_swtpm_stop(f->tpm);
    free(f);
    return 0;
}

struct lk_tpm *
fixture_open(const struct fixture *f, struct lk_tpm_opts opts)
{
    struct lk_tpm *tpm = NULL;

    opts.tcti = f->tcti;
    assert_int_equal(lk_tpm_open(&opts, &tpm), LK_OK);
    assert_non_null(tpm);
    return tpm;
}
