/* Tests of src/device/tpm.c, tpm_keys.c and tpm_info.c against a software TPM. */
#include "fixture.h"

#include "base/codec.h"

static struct lk_tpm_public
ek_of(struct lk_tpm *tpm)
{
    struct lk_tpm_public ek;

    assert_int_equal(lk_tpm_ek(tpm, &ek), LK_OK);
    return ek;
}

/* Open, read the EK, close. */
static struct lk_tpm_public
ek_once(const struct fixture *f, struct lk_tpm_opts opts)
{
    struct lk_tpm *tpm = fixture_open(f, opts);
    struct lk_tpm_public ek = ek_of(tpm);

    lk_tpm_close(tpm);
    return ek;
}

static void
expect_same(const struct lk_tpm_public *a, const struct lk_tpm_public *b)
{
    assert_int_equal(a->tpm2b_len, b->tpm2b_len);
    assert_memory_equal(a->tpm2b, b->tpm2b, a->tpm2b_len);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Handles outside the persistent range, or one for two purposes, and a password that no TPM takes
 * are mistakes of the caller; the object stays untouched. */
static void
open_refuses_misuse(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    static char long_password[66];
    const struct lk_tpm_opts wrong[] = {
        {.tcti = f->tcti, .ek_handle = 0x80ffffff},
        {.tcti = f->tcti, .srk_handle = 0x82000000},
        {.tcti = f->tcti, .identity_handle = LK_TPM_EK_HANDLE},
        {.tcti = f->tcti, .ek_handle = LK_TPM_SRK_HANDLE},
        {.tcti = f->tcti, .ek_recipe = (enum lk_tpm_recipe)4},
        {.tcti = f->tcti, .owner_password = long_password},
    };
    struct lk_tpm *tpm = NULL;

    memset(long_password, 'x', sizeof(long_password) - 1);
    for (size_t i = 0; i < LK_ARRAY_LEN(wrong); i++) {
        assert_int_equal(lk_tpm_open(&wrong[i], &tpm), LK_ERR_ARG);
        assert_null(tpm);
    }
    lk_tpm_close(NULL);
}

/* A TPM that is not there is an I/O failure, whatever the TCTI's name. */
static void
open_without_tpm(void **state)
{
    const struct lk_tpm_opts nobody = {.tcti = "swtpm:path=/nonexistent/s"};
    const struct lk_tpm_opts nonsense = {.tcti = "no-such-tcti:x"};
    struct lk_tpm *tpm = NULL;

    (void)state;
    assert_int_equal(lk_tpm_open(&nobody, &tpm), LK_ERR_IO);
    assert_int_equal(lk_tpm_open(&nonsense, &tpm), LK_ERR_IO);
    assert_null(tpm);
}

/* ---- recipes --------------------------------------------------------------------------------- */

/* Each recipe gives its own key, the same each time, a service would take it, and the object tells
 * which recipe it was. */
static void
recipes_give_their_keys(void **state)
{
    static const enum lk_tpm_recipe recipes[] = {LK_TPM_RSA2048, LK_TPM_RSA2048_EMPTY_UNIQUE,
                                                 LK_TPM_ECC_P256};
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm_public eks[LK_ARRAY_LEN(recipes)];

    for (size_t i = 0; i < LK_ARRAY_LEN(recipes); i++) {
        struct lk_tpm *tpm = fixture_open(f, (struct lk_tpm_opts){.ek_recipe = recipes[i]});
        struct lk_tpm_public again;
        enum lk_tpm_recipe told;

        eks[i] = ek_of(tpm);
        assert_int_equal(eks[i].recipe, recipes[i]);
        assert_int_equal(lk_tpm_ek_recipe(tpm, &told), LK_OK);
        assert_int_equal(told, recipes[i]);
        assert_int_equal(eks[i].handle, 0);
        assert_null(eks[i].refusal);
        assert_int_equal(strlen(eks[i].id), 2 * LK_EK_ID_LEN);
        assert_int_equal(eks[i].is_ecc, recipes[i] == LK_TPM_ECC_P256);
        assert_int_equal(eks[i].bits, eks[i].is_ecc ? 256 : 2048);
        lk_tpm_close(tpm);
        again = ek_once(f, (struct lk_tpm_opts){.ek_recipe = recipes[i]});
        expect_same(&eks[i], &again);
    }
    assert_string_not_equal(eks[0].id, eks[1].id);
    assert_string_not_equal(eks[0].id, eks[2].id);
}

/* With an empty TPM the default is the L-1 key, which is what the maker's certificate is for. */
static void
default_is_the_certified_recipe(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm_public by_default = ek_once(f, (struct lk_tpm_opts){.tcti = NULL});
    struct lk_tpm_public l1 = ek_once(f, (struct lk_tpm_opts){.ek_recipe = LK_TPM_RSA2048});

    assert_int_equal(by_default.recipe, LK_TPM_RSA2048);
    expect_same(&by_default, &l1);
}

/* A persistent key is taken as it is, and its recipe is found by trying; asked for another recipe,
 * that one is made besides it. */
static void
persistent_key_is_kept(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    const struct lk_tpm_opts keep = {.ek_recipe = LK_TPM_RSA2048_EMPTY_UNIQUE,
                                     .flags = LK_TPM_PERSIST_EK | LK_TPM_PERSIST_SRK};
    struct lk_tpm_public made = ek_once(f, keep), found, other;
    enum lk_tpm_recipe told = LK_TPM_PERSISTENT;
    struct lk_tpm *tpm;

    assert_int_equal(made.handle, LK_TPM_EK_HANDLE);
    assert_int_equal(made.recipe, LK_TPM_RSA2048_EMPTY_UNIQUE);
    tpm = fixture_open(f, (struct lk_tpm_opts){.tcti = NULL});
    found = ek_of(tpm);
    expect_same(&made, &found);
    assert_int_equal(found.recipe, LK_TPM_PERSISTENT);
    assert_int_equal(found.handle, LK_TPM_EK_HANDLE);
    assert_int_equal(lk_tpm_ek_recipe(tpm, &told), LK_OK);
    assert_int_equal(told, LK_TPM_RSA2048_EMPTY_UNIQUE);
    lk_tpm_close(tpm);
    other = ek_once(f, (struct lk_tpm_opts){.ek_recipe = LK_TPM_RSA2048});
    assert_int_equal(other.handle, 0);
    assert_string_not_equal(other.id, made.id);
}

/* A key that no template makes is told as such, and a service's refusal comes with its reason. */
static void
foreign_key_at_the_handle(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    enum lk_tpm_recipe told = LK_TPM_RSA2048;
    struct lk_tpm_public ek;
    struct lk_tpm *tpm;

    fixture_occupy(f, LK_TPM_EK_HANDLE);
    tpm = fixture_open(f, (struct lk_tpm_opts){.tcti = NULL});
    ek = ek_of(tpm);
    assert_true(ek.is_ecc);
    assert_non_null(ek.refusal);
    assert_string_equal(ek.id, "");
    assert_int_equal(lk_tpm_ek_recipe(tpm, &told), LK_OK);
    assert_int_equal(told, LK_TPM_PERSISTENT);
    lk_tpm_close(tpm);
}

/* Clearing the TPM gives another SRK and the same EK: the device stays who it is. */
static void
clear_changes_the_srk_only(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, (struct lk_tpm_opts){.tcti = NULL});
    struct lk_tpm_public ek = ek_of(tpm), ek_after, srk, srk_after;

    assert_int_equal(lk_tpm_srk(tpm, &srk), LK_OK);
    assert_null(srk.refusal);
    lk_tpm_close(tpm);
    fixture_clear(f);
    tpm = fixture_open(f, (struct lk_tpm_opts){.tcti = NULL});
    ek_after = ek_of(tpm);
    assert_int_equal(lk_tpm_srk(tpm, &srk_after), LK_OK);
    lk_tpm_close(tpm);
    expect_same(&ek, &ek_after);
    assert_string_not_equal(srk.id, srk_after.id);
}

/* The default registration ID is the SDKs': base32 of SHA-256 over the EK's TPM2B_PUBLIC, in lower
 * case and without padding (tests/data/vectors/registration-id.json has four of them). */
static void
registration_id_as_the_sdks(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, (struct lk_tpm_opts){.tcti = NULL});
    struct lk_tpm_public ek = ek_of(tpm);
    const struct lk_part area = LK_PART(ek.tpm2b, ek.tpm2b_len);
    LK_AUTO_BUF struct lk_buf want = LK_BUF_INIT;
    char id[LK_TPM_REGISTRATION_ID_CAP];
    uint8_t digest[32];

    assert_int_equal(lk_tpm_registration_id(tpm, id), LK_OK);
    lk_tpm_close(tpm);
    assert_int_equal(lk_digest(LK_SHA256, &area, 1, digest), LK_OK);
    assert_int_equal(lk_base32_encode(digest, sizeof(digest), &want), LK_OK);
    assert_string_equal(id, lk_buf_text(&want));
    assert_int_equal(strlen(id), 52);
}

/* ---- passwords ------------------------------------------------------------------------------- */

static const char owner_password[] = "owner-password-of-the-test";
static const char endorsement_password[] = "endorsement-password-of-the-test";

static void
passwords_set(const struct fixture *f)
{
    fixture_set_password(f, ESYS_TR_RH_OWNER, owner_password);
    fixture_set_password(f, ESYS_TR_RH_ENDORSEMENT, endorsement_password);
}

/* Keys are made and kept under passwords, and no password crosses the bus. */
static void
passwords_open_the_hierarchies(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm_public srk;
    struct lk_tpm_info info;
    struct lk_tpm *tpm;

    passwords_set(f);
    lk_tpm_proxy_reset(f->proxy);
    tpm = fixture_open(f, (struct lk_tpm_opts){.owner_password = owner_password,
                                               .endorsement_password = endorsement_password,
                                               .flags = LK_TPM_PERSIST_EK | LK_TPM_PERSIST_SRK});
    (void)ek_of(tpm);
    assert_int_equal(lk_tpm_srk(tpm, &srk), LK_OK);
    assert_int_equal(lk_tpm_info(tpm, &info), LK_OK);
    lk_tpm_close(tpm);
    assert_true(info.owner_password_set && info.endorsement_password_set);
    assert_true(info.has_persistent_ek && info.has_persistent_srk);
    assert_true(lk_tpm_proxy_saw(f->proxy, srk.tpm2b, srk.tpm2b_len)); /* the proxy does see */
    assert_false(lk_tpm_proxy_saw(f->proxy, owner_password, strlen(owner_password)));
    assert_false(lk_tpm_proxy_saw(f->proxy, endorsement_password, strlen(endorsement_password)));
}

/* A wrong or missing password is told as such after exactly one try. */
static void
wrong_password_is_tried_once(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    const struct lk_tpm_opts tries[] = {
        {.tcti = NULL},
        {.owner_password = "wrong", .endorsement_password = "wrong"},
    };

    passwords_set(f);
    for (size_t i = 0; i < LK_ARRAY_LEN(tries); i++) {
        struct lk_tpm *tpm = fixture_open(f, tries[i]);
        struct lk_tpm_public key;

        lk_tpm_proxy_reset(f->proxy);
        assert_int_equal(lk_tpm_ek(tpm, &key), LK_ERR_TPM_AUTH);
        assert_int_equal(lk_tpm_proxy_answers(f->proxy, TPM2_RC_BAD_AUTH) +
                             lk_tpm_proxy_answers(f->proxy, TPM2_RC_AUTH_FAIL),
                         1);
        assert_int_not_equal(lk_tpm_last_rc(tpm), 0);
        lk_tpm_proxy_reset(f->proxy);
        assert_int_equal(lk_tpm_srk(tpm, &key), LK_ERR_TPM_AUTH);
        assert_int_equal(lk_tpm_proxy_sent(f->proxy, TPM2_CC_CreatePrimary), 1);
        lk_tpm_close(tpm);
        fixture_no_leak(f);
    }
}

/* ---- what kind of TPM ------------------------------------------------------------------------ */

/* swtpm is known for what it is, and its facts make sense. */
static void
info_of_a_software_tpm(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, (struct lk_tpm_opts){.tcti = NULL});
    struct lk_tpm_info info;

    assert_int_equal(lk_tpm_info(tpm, &info), LK_OK);
    lk_tpm_close(tpm);
    assert_int_equal(info.kind, LK_TPM_KIND_SOFTWARE);
    assert_string_equal(info.manufacturer, "IBM");
    assert_string_equal(info.spec_family, "2.0");
    assert_true(info.has_rsa && info.has_ecc_p256 && info.has_ecc_p384 && info.has_sha256 &&
                info.has_sha384 && info.has_aes_cfb && info.has_commands);
    assert_true(info.owner_enabled && info.endorsement_enabled);
    assert_false(info.owner_password_set || info.endorsement_password_set || info.in_lockout);
    assert_false(info.has_persistent_ek || info.has_persistent_srk || info.has_identity_key);
    assert_true(info.transient_free >= 3 && info.session_free >= 3 && info.persistent_free > 0);
}

/* No certificate is no error of its own; an index outside NV is the caller's mistake. */
static void
ek_certificate_absent(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, (struct lk_tpm_opts){.tcti = NULL});
    static struct lk_tpm_cert cert;

    assert_int_equal(lk_tpm_ek_cert(tpm, LK_TPM_NV_EK_CERT_RSA, &cert), LK_ERR_NOT_FOUND);
    assert_int_equal(lk_tpm_ek_cert(tpm, LK_TPM_NV_EK_CERT_ECC, &cert), LK_ERR_NOT_FOUND);
    assert_int_equal(lk_tpm_ek_cert(tpm, LK_TPM_EK_HANDLE, &cert), LK_ERR_ARG);
    lk_tpm_close(tpm);
}

/* ---- failures of the TPM --------------------------------------------------------------------- */

/* Whichever command fails while keys are made and kept, nothing stays in the TPM. */
static void
key_failures_leave_nothing(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    bool failed = true;
    size_t nth;

    for (nth = 1; failed; nth++) {
        struct lk_tpm *tpm = fixture_open(
            f, (struct lk_tpm_opts){.ek_recipe = LK_TPM_ECC_P256, .srk_recipe = LK_TPM_ECC_P256});
        struct lk_tpm_public ek, srk;
        enum lk_err err;

        assert_true(nth < 100);
        lk_tpm_proxy_fail(f->proxy, nth, TPM2_RC_NV_UNAVAILABLE);
        if ((err = lk_tpm_ek(tpm, &ek)) == LK_OK) {
            err = lk_tpm_srk(tpm, &srk);
        }
        failed = lk_tpm_proxy_failed(f->proxy);
        assert_int_equal(err, failed ? LK_ERR_TPM : LK_OK);
        lk_tpm_close(tpm);
        lk_tpm_proxy_reset(f->proxy);
        fixture_no_leak(f);
    }
    assert_true(nth > 6); /* it did fail at several places */
}

/* A TPM that asks to be asked again is asked again; one that always does is given up on. */
static void
busy_tpm_is_asked_again(void **state)
{
    const struct fixture *f = (const struct fixture *)*state;
    struct lk_tpm *tpm = fixture_open(f, (struct lk_tpm_opts){.ek_recipe = LK_TPM_ECC_P256});
    struct lk_tpm_public ek;

    lk_tpm_proxy_reset(f->proxy);
    lk_tpm_proxy_fail(f->proxy, 2, TPM2_RC_RETRY);
    assert_int_equal(lk_tpm_ek(tpm, &ek), LK_OK);
    assert_int_equal(lk_tpm_proxy_answers(f->proxy, TPM2_RC_RETRY), 1);
    lk_tpm_close(tpm);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(open_refuses_misuse),
        cmocka_unit_test(open_without_tpm),
        CASE(recipes_give_their_keys),
        CASE(default_is_the_certified_recipe),
        CASE(persistent_key_is_kept),
        CASE(foreign_key_at_the_handle),
        CASE(clear_changes_the_srk_only),
        CASE(registration_id_as_the_sdks),
        CASE(passwords_open_the_hierarchies),
        CASE(wrong_password_is_tried_once),
        CASE(info_of_a_software_tpm),
        CASE(ek_certificate_absent),
        CASE(key_failures_leave_nothing),
        CASE(busy_tpm_is_asked_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
