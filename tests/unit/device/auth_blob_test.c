/* Tests of src/device/auth_blob.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "attest/attest.h"
#include "base/json.h"
#include "device/auth_blob.h"
#include "support/vectors.h"

/* Offset of item 5's attributes, counted back from the start of item 6 (device-protocol.md 2.2). */
#define ATTRIBUTES_FROM_END (48u - 4u)

struct sample {
    uint8_t bytes[LK_AUTH_KEY_MAX];
    size_t len;
};

static struct sample
sample_at(size_t index)
{
    LK_AUTO(json) json_t *file = vectors_load("authentication-key.json");
    struct sample s;

    assert_true(index < json_array_size(file));
    s.len = vectors_base64(json_array_get(file, index), "blob", s.bytes, sizeof(s.bytes));
    return s;
}

static enum lk_err
parse(const struct sample *s)
{
    struct lk_auth_blob blob;

    return lk_auth_blob_parse(s->bytes, s->len, &blob);
}

/* Where item number (from 1) begins, its size field included. */
static size_t
item_at(const struct sample *s, unsigned number)
{
    size_t at = 0;

    for (unsigned i = 1; i < number; i++) {
        at += 2u + ((size_t)s->bytes[at] << 8 | s->bytes[at + 1]);
    }
    return at;
}

/* Nothing, and every prefix of a good blob, is refused: each byte counts. */
static void
truncated_blobs(void **state)
{
    struct sample s = sample_at(0);
    size_t whole = s.len;

    for (s.len = 0; s.len < whole; s.len++) {
        assert_int_equal(parse(&s), LK_ERR_FORMAT);
    }
}

/* One byte more than the six items is refused. */
static void
trailing_byte(void **state)
{
    struct sample s = sample_at(0);

    s.bytes[s.len++] = 0;
    assert_int_equal(parse(&s), LK_ERR_FORMAT);
}

/* An item that is empty where something has to be, or larger than the TPM's own type. */
static void
item_sizes(void **state)
{
    struct sample s = sample_at(0);

    s.bytes[0] = s.bytes[1] = 0;
    assert_int_equal(parse(&s), LK_ERR_FORMAT);
    s = sample_at(0);
    s.bytes[item_at(&s, 3)] = 0xff;
    assert_int_equal(parse(&s), LK_ERR_FORMAT);
}

/* The sixth item may be empty, but not absent. */
static void
sixth_item(void **state)
{
    struct sample s = sample_at(0);

    s.len = item_at(&s, 6);
    assert_int_equal(parse(&s), LK_ERR_FORMAT);
    s.bytes[s.len++] = 0;
    s.bytes[s.len++] = 0;
    assert_int_equal(parse(&s), LK_OK);
}

/* A key that could decrypt, is restricted, or is no key for HMAC-SHA256 is not taken in. */
static void
other_keys(void **state)
{
    static const struct {
        size_t from_end;
        uint8_t flip;
    } changes[] = {
        {ATTRIBUTES_FROM_END - 1, 0x02},     /* decrypt */
        {ATTRIBUTES_FROM_END - 1, 0x01},     /* restricted */
        {ATTRIBUTES_FROM_END - 1, 0x04},     /* sign cleared */
        {ATTRIBUTES_FROM_END - 3, 0x02},     /* fixedTPM */
        {ATTRIBUTES_FROM_END - 3, 0x40},     /* userWithAuth cleared */
        {ATTRIBUTES_FROM_END - 9, 0x07},     /* SHA-384 in the scheme */
        {ATTRIBUTES_FROM_END + 4 - 1, 0x2d}, /* another type of object */
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(changes); i++) {
        struct sample s = sample_at(0);
        size_t end = item_at(&s, 6);

        s.bytes[end - changes[i].from_end] ^= changes[i].flip;
        assert_int_equal(parse(&s), LK_ERR_FORMAT);
    }
}

/* Blobs for every kind of key are taken, and the items are the ones that were sent. */
static void
good_blobs(void **state)
{
    LK_AUTO(json) json_t *file = vectors_load("authentication-key.json");
    size_t count = json_array_size(file);

    assert_true(count >= 4);
    for (size_t i = 0; i < count; i++) {
        struct sample s = sample_at(i);
        struct lk_auth_blob blob;

        assert_int_equal(lk_auth_blob_parse(s.bytes, s.len, &blob), LK_OK);
        assert_memory_equal(blob.credential.credential, s.bytes + 2, blob.credential.size);
        assert_memory_equal(blob.duplicate.buffer, s.bytes + item_at(&s, 3) + 2,
                            blob.duplicate.size);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncated_blobs), cmocka_unit_test(trailing_byte),
        cmocka_unit_test(item_sizes),      cmocka_unit_test(sixth_item),
        cmocka_unit_test(other_keys),      cmocka_unit_test(good_blobs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
