/* Tests of src/provision/shared_key.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/codec.h"
#include "provision/shared_key.h"

/* 32 bytes of 0x6B: the key of service-api.md section 12.1. */
#define VECTOR_KEY "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="

static struct lk_keyring *ring, *other_ring;

static struct lk_keyring *
ring_make(void)
{
    char folder[] = "/tmp/lk-shared-key-XXXXXX", path[64];
    struct lk_keyring *ret = NULL;

    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/master.key", folder);
    assert_int_equal(lk_keyring_create(path, 1, &lk_rand_system), LK_OK);
    assert_int_equal(lk_keyring_load(path, NULL, &ret), LK_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    return ret;
}

static int
rings_make(void **state)
{
    assert_int_equal(lk_crypto_init(), LK_OK);
    ring = ring_make();
    other_ring = ring_make();
    return 0;
}

static int
rings_drop(void **state)
{
    lk_keyring_free(ring);
    lk_keyring_free(other_ring);
    return 0;
}

static enum lk_err
failing_fill(void *ctx, void *buf, size_t len)
{
    return LK_ERR_CRYPTO;
}

static void
enrollment_make(struct lk_enrollment *e, const char *scope, const char *id)
{
    lk_enrollment_init(e);
    (void)strcpy(e->scope, scope);
    (void)strcpy(e->id, id);
}

static struct lk_shared_key
key_of(uint8_t byte, size_t len)
{
    struct lk_shared_key k = {.len = len};

    memset(k.data, byte, len);
    return k;
}

/* ---- text --------------------------------------------------------------------------------------
 */

static enum lk_err
parse_len(size_t len, struct lk_shared_key *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    uint8_t bytes[LK_SHARED_KEY_MAX + 1];

    memset(bytes, 0x41, sizeof(bytes));
    assert_int_equal(lk_base64_encode(bytes, len, &text), LK_OK);
    return lk_shared_key_parse((const char *)text.data, text.len, ret);
}

/* 16 to 64 bytes; one less, one more, none and what is no base64 are refused and change nothing. */
static void
key_text(void **state)
{
    struct lk_shared_key k = key_of(7, 20);

    assert_int_equal(parse_len(0, &k), LK_ERR_FORMAT);
    assert_int_equal(parse_len(15, &k), LK_ERR_FORMAT);
    assert_int_equal(parse_len(65, &k), LK_ERR_FORMAT);
    assert_int_equal(lk_shared_key_parse("", 0, &k), LK_ERR_FORMAT);
    assert_int_equal(lk_shared_key_parse("not base64 at all, is it", 24, &k), LK_ERR_FORMAT);
    assert_int_equal(k.len, 20);
    assert_int_equal(k.data[19], 7);
    assert_int_equal(parse_len(64, &k), LK_OK);
    assert_int_equal(k.len, 64);
    assert_int_equal(parse_len(16, &k), LK_OK);
    assert_int_equal(k.len, 16);
}

/* What is written is read back. */
static void
key_text_round(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_shared_key k = key_of(0x6b, 32);

    assert_int_equal(lk_shared_key_format(&k, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text), VECTOR_KEY);
}

/* ---- at rest -----------------------------------------------------------------------------------
 */

/* Absent keys are made, 64 bytes each and different; the caller gets them to see. */
static void
fresh_keys(void **state)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}}, opened;
    struct lk_enrollment e;

    enrollment_make(&e, "0ne1", "Dev-1");
    assert_int_equal(lk_shared_keys_seal(ring, &lk_rand_system, LK_KEYS_OF_ENROLLMENT, &keys, &e),
                     LK_OK);
    assert_int_equal(e.attestation, LK_ATTESTATION_SYMMETRIC_KEY);
    assert_int_equal(keys.primary.len, 64);
    assert_int_equal(keys.secondary.len, 64);
    assert_memory_not_equal(keys.primary.data, keys.secondary.data, 64);
    assert_int_equal(lk_shared_keys_open(ring, LK_KEYS_OF_ENROLLMENT, &e, &opened), LK_OK);
    assert_memory_equal(&opened.primary, &keys.primary, sizeof(keys.primary));
    assert_memory_equal(&opened.secondary, &keys.secondary, sizeof(keys.secondary));
    lk_enrollment_fini(&e);
}

/* Keys that are brought stay as they are, the shortest and the longest; other lengths are misuse.
 */
static void
brought_keys(void **state)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {key_of(1, 16), key_of(2, 64)}, opened;
    struct lk_enrollment e;

    enrollment_make(&e, "0ne1", "Dev-1");
    assert_int_equal(lk_shared_keys_seal(ring, &lk_rand_system, LK_KEYS_OF_GROUP, &keys, &e),
                     LK_OK);
    assert_int_equal(lk_shared_keys_open(ring, LK_KEYS_OF_GROUP, &e, &opened), LK_OK);
    assert_int_equal(opened.primary.len, 16);
    assert_int_equal(opened.secondary.len, 64);
    assert_int_equal(opened.secondary.data[63], 2);
    keys.primary.len = 15;
    assert_int_equal(lk_shared_keys_seal(ring, &lk_rand_system, LK_KEYS_OF_GROUP, &keys, &e),
                     LK_ERR_ARG);
    keys.primary.len = 65;
    assert_int_equal(lk_shared_keys_seal(ring, &lk_rand_system, LK_KEYS_OF_GROUP, &keys, &e),
                     LK_ERR_ARG);
    assert_int_equal(lk_shared_keys_open(ring, LK_KEYS_OF_GROUP, &e, &opened), LK_OK);
    lk_enrollment_fini(&e);
}

/* A row under another scope, id or owner opens nothing; the id's letter case does not matter. */
static void
keys_are_bound_to_their_place(void **state)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
    LK_AUTO_SHARED_KEYS struct lk_shared_keys opened = {.primary = {.len = 0}};
    struct lk_enrollment e;

    enrollment_make(&e, "0ne1", "Dev-1");
    assert_int_equal(lk_shared_keys_seal(ring, &lk_rand_system, LK_KEYS_OF_ENROLLMENT, &keys, &e),
                     LK_OK);
    assert_int_equal(lk_shared_keys_open(ring, LK_KEYS_OF_GROUP, &e, &opened), LK_ERR_STORE);
    (void)strcpy(e.id, "Dev-2");
    assert_int_equal(lk_shared_keys_open(ring, LK_KEYS_OF_ENROLLMENT, &e, &opened), LK_ERR_STORE);
    (void)strcpy(e.id, "dEV-1");
    (void)strcpy(e.scope, "0ne2");
    assert_int_equal(lk_shared_keys_open(ring, LK_KEYS_OF_ENROLLMENT, &e, &opened), LK_ERR_STORE);
    (void)strcpy(e.scope, "0ne1");
    assert_int_equal(lk_shared_keys_open(other_ring, LK_KEYS_OF_ENROLLMENT, &e, &opened),
                     LK_ERR_CONFIG);
    assert_int_equal(opened.primary.len, 0);
    assert_int_equal(lk_shared_keys_open(ring, LK_KEYS_OF_ENROLLMENT, &e, &opened), LK_OK);
    lk_enrollment_fini(&e);
}

/* Nothing sealed, something cut off, a changed byte, and randomness that fails. */
static void
damage_is_noticed(void **state)
{
    static const struct lk_rand failing = {.fill = failing_fill};
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}}, opened;
    struct lk_enrollment e;

    enrollment_make(&e, "0ne1", "Dev-1");
    assert_int_equal(lk_shared_keys_open(ring, LK_KEYS_OF_ENROLLMENT, &e, &opened), LK_ERR_STORE);
    assert_int_equal(lk_shared_keys_seal(ring, &failing, LK_KEYS_OF_ENROLLMENT, &keys, &e),
                     LK_ERR_CRYPTO);
    assert_int_equal(e.sealed_keys.len, 0);
    assert_int_equal(e.attestation, LK_ATTESTATION_TPM);
    assert_int_equal(lk_shared_keys_seal(ring, &lk_rand_system, LK_KEYS_OF_ENROLLMENT, &keys, &e),
                     LK_OK);
    e.sealed_keys.data[e.sealed_keys.len - 1] ^= 1;
    assert_int_equal(lk_shared_keys_open(ring, LK_KEYS_OF_ENROLLMENT, &e, &opened), LK_ERR_STORE);
    e.sealed_keys.data[e.sealed_keys.len - 1] ^= 1;
    e.sealed_keys.len--;
    assert_int_equal(lk_shared_keys_open(ring, LK_KEYS_OF_ENROLLMENT, &e, &opened), LK_ERR_STORE);
    lk_enrollment_fini(&e);
}

/* ---- groups ------------------------------------------------------------------------------------
 */

/* The vector of service-api.md section 6, in any case of the id; nothing from nothing. */
static void
derived_key(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_shared_key group = key_of(0x6b, 32), none = {.len = 0}, device;
    char long_id[LK_REGISTRATION_ID_MAX + 2];

    memset(long_id, 'a', sizeof(long_id) - 1);
    long_id[sizeof(long_id) - 1] = '\0';
    assert_int_equal(lk_shared_key_derive(&group, long_id, &device), LK_ERR_LIMIT);
    assert_int_equal(lk_shared_key_derive(&none, "dev-1", &device), LK_OK);
    assert_int_equal(device.len, 0);
    assert_int_equal(lk_shared_key_derive(&group, "DEV-1", &device), LK_OK);
    assert_int_equal(lk_shared_key_format(&device, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text), "f7fRTAF4k5CkPFAR5T2WaX96BDEMiBPwPNWYKFSgZto=");
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_text),          cmocka_unit_test(key_text_round),
        cmocka_unit_test(fresh_keys),        cmocka_unit_test(brought_keys),
        cmocka_unit_test(derived_key),       cmocka_unit_test(keys_are_bound_to_their_place),
        cmocka_unit_test(damage_is_noticed),
    };

    return cmocka_run_group_tests(tests, rings_make, rings_drop);
}
