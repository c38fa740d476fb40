/* Tests of src/provision/nonce.c: what a nonce key depends on, and for how long it is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/codec.h"
#include "provision/nonce.h"
#include "wire/ids.h"

#define EPOCH_S 600u
#define START_MS (INT64_C(1767225600) * 1000)

struct ring_file {
    char dir[64], path[96];
    struct lk_keyring *ring;
};

static int
setup(void **state)
{
    static struct ring_file f;

    (void)strcpy(f.dir, "/tmp/latchkey-test-XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    (void)snprintf(f.path, sizeof(f.path), "%s/master.key", f.dir);
    assert_int_equal(lk_keyring_create(f.path, START_MS - 1000, &lk_rand_system), LK_OK);
    assert_int_equal(lk_keyring_load(f.path, NULL, &f.ring), LK_OK);
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct ring_file *f = *state;

    lk_keyring_free(f->ring);
    (void)unlink(f->path);
    return rmdir(f->dir);
}

static void
rotate(struct ring_file *f, int64_t now_ms)
{
    assert_int_equal(lk_keyring_rotate(f->path, now_ms, &lk_rand_system, NULL), LK_OK);
    lk_keyring_free(f->ring);
    assert_int_equal(lk_keyring_load(f->path, NULL, &f->ring), LK_OK);
}

static const uint8_t ek_id[LK_EK_ID_LEN] = {1}, srk_name[34] = {0, 11, 2};

static struct lk_nonce_subject
subject(void)
{
    struct lk_nonce_subject s = {.scope = "0ne1",
                                 .registration_id = "dev-1",
                                 .ek_id = ek_id,
                                 .srk_name = srk_name,
                                 .srk_name_len = sizeof(srk_name),
                                 .generation = 0};

    return s;
}

static void
derive(const struct ring_file *f, const struct lk_nonce_subject *s, uint64_t epoch,
       uint8_t ret[LK_NONCE_KEY_LEN])
{
    struct lk_nonce_place at = {lk_keyring_id(f->ring, 0), epoch};

    assert_int_equal(lk_nonce_key(f->ring, s, &at, ret), LK_OK);
}

/* The same subject has the same key, whatever the case of its id. */
static void
one_key_for_one_subject(void **state)
{
    struct lk_nonce_subject s = subject();
    uint8_t a[LK_NONCE_KEY_LEN], b[LK_NONCE_KEY_LEN];

    derive(*state, &s, 7, a);
    derive(*state, &s, 7, b);
    assert_memory_equal(a, b, sizeof(a));
    s.registration_id = "DEV-1";
    derive(*state, &s, 7, b);
    assert_memory_equal(a, b, sizeof(a));
}

/* Every member counts, and none runs into the next. */
static void
every_member_counts(void **state)
{
    static const uint8_t other[34] = {9};
    struct lk_nonce_subject variants[9];
    uint8_t keys[LK_ARRAY_LEN(variants)][LK_NONCE_KEY_LEN];

    for (size_t i = 0; i < LK_ARRAY_LEN(variants); i++) {
        variants[i] = subject();
    }
    variants[1].scope = "0ne2";
    variants[2].scope = "0NE1";
    variants[3].scope = "0ne1d";
    variants[3].registration_id = "ev-1";
    variants[4].registration_id = "dev-2";
    variants[5].ek_id = other;
    variants[6].srk_name = other;
    variants[7].srk_name_len--;
    variants[8].generation = 1;
    for (size_t i = 0; i < LK_ARRAY_LEN(variants); i++) {
        derive(*state, &variants[i], 7, keys[i]);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(keys[i], keys[j], LK_NONCE_KEY_LEN);
        }
    }
    variants[0] = subject();
    derive(*state, &variants[0], 8, keys[1]);
    assert_memory_not_equal(keys[0], keys[1], LK_NONCE_KEY_LEN);
}

/* An id that is too long has no key; nor has a place whose master key is not in the ring. */
static void
no_key(void **state)
{
    struct ring_file *f = *state;
    struct lk_nonce_subject s = subject();
    struct lk_nonce_place at = {lk_keyring_id(f->ring, 0) ^ 1, 7};
    char longest[LK_REGISTRATION_ID_MAX + 2];
    uint8_t key[LK_NONCE_KEY_LEN];

    assert_int_equal(lk_nonce_key(f->ring, &s, &at, key), LK_ERR_NOT_FOUND);
    at.key_id ^= 1;
    memset(longest, 'a', sizeof(longest));
    longest[LK_REGISTRATION_ID_MAX + 1] = '\0';
    s.registration_id = longest;
    assert_int_equal(lk_nonce_key(f->ring, &s, &at, key), LK_ERR_LIMIT);
    longest[LK_REGISTRATION_ID_MAX] = '\0';
    assert_int_equal(lk_nonce_key(f->ring, &s, &at, key), LK_OK);
}

/* Epochs, also before 1970 and at the seam. */
static void
epochs(void **state)
{
    assert_int_equal(lk_nonce_epoch(-1, EPOCH_S), 0);
    assert_int_equal(lk_nonce_epoch(0, EPOCH_S), 0);
    assert_int_equal(lk_nonce_epoch(599999, EPOCH_S), 0);
    assert_int_equal(lk_nonce_epoch(600000, EPOCH_S), 1);
}

/* ---- verifying ----------------------------------------------------------------------------------
 */

/* A token signed at the place of a challenge made at made_ms, checked at now_ms. */
static enum lk_err
verify(struct ring_file *f, struct lk_nonce_place made, int64_t now_ms, struct lk_nonce_place *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, token = LK_BUF_INIT;
    struct lk_nonce_subject s = subject();
    uint8_t key[LK_NONCE_KEY_LEN], sig[LK_SAS_SIG_LEN];
    struct lk_sas sas;

    assert_int_equal(lk_nonce_key(f->ring, &s, &made, key), LK_OK);
    assert_int_equal(lk_sas_string_to_sign("r", 1, &text), LK_OK);
    assert_int_equal(lk_hmac(LK_SHA256, key, sizeof(key), &LK_PART(text.data, text.len), 1, sig),
                     LK_OK);
    assert_int_equal(lk_sas_format("r", 1, sig, NULL, &token), LK_OK);
    assert_int_equal(lk_sas_parse((const char *)token.data, token.len, &sas), LK_OK);
    return lk_nonce_verify(f->ring, &s, &sas, now_ms, EPOCH_S, ret);
}

/* This epoch and the one before; the place is told. */
static void
two_epochs(void **state)
{
    struct ring_file *f = *state;
    struct lk_nonce_place made = lk_nonce_current(f->ring, START_MS, EPOCH_S), found;

    assert_int_equal(verify(f, made, START_MS, &found), LK_OK);
    assert_int_equal(found.epoch, made.epoch);
    assert_int_equal(found.key_id, made.key_id);
    assert_int_equal(verify(f, made, START_MS + 1199999, &found), LK_OK);
    assert_int_equal(found.epoch, made.epoch);
    assert_int_equal(verify(f, made, START_MS + 1200000, &found), LK_ERR_REFUSED);
    assert_int_equal(verify(f, made, START_MS - 1, &found), LK_ERR_REFUSED);
}

/* Near the start of time there is no epoch before. */
static void
first_epoch(void **state)
{
    struct ring_file *f = *state;
    struct lk_nonce_place made = {lk_keyring_id(f->ring, 0), 0}, found;

    assert_int_equal(verify(f, made, 0, &found), LK_OK);
    made.epoch = UINT64_MAX;
    assert_int_equal(verify(f, made, 0, &found), LK_ERR_REFUSED);
}

/*
 * A new master key issues only after its grace; the old one is taken as long as its challenges
 * live, and then no more, however often the ring was turned since.
 */
static void
rotation(void **state)
{
    struct ring_file *f = *state;
    struct lk_nonce_place before = lk_nonce_current(f->ring, START_MS, EPOCH_S), after, found;
    int64_t issues_ms = START_MS + LK_KEYRING_GRACE_MS;

    rotate(f, START_MS);
    assert_int_equal(lk_nonce_current(f->ring, issues_ms - 1, EPOCH_S).key_id, before.key_id);
    after = lk_nonce_current(f->ring, issues_ms, EPOCH_S);
    assert_int_not_equal(after.key_id, before.key_id);
    /* Another instance's clock may be ahead. */
    assert_int_equal(verify(f, after, START_MS, &found), LK_OK);
    assert_int_equal(found.key_id, after.key_id);
    assert_int_equal(verify(f, before, issues_ms, &found), LK_OK);
    assert_int_equal(found.key_id, before.key_id);
    before.epoch++;
    assert_int_equal(verify(f, before, issues_ms + 1199999, &found), LK_OK);
    before.epoch += 2;
    assert_int_equal(verify(f, before, issues_ms + 1800000, &found), LK_ERR_REFUSED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(one_key_for_one_subject),
        CASE(every_member_counts),
        CASE(no_key),
        CASE(epochs),
        CASE(two_epochs),
        CASE(first_epoch),
        CASE(rotation),
    };

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
