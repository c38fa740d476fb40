/* Tests of src/base/buf.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

/* A buffer that was never written is valid: freed, reset, read as text. */
static void
empty_buffer(void **state)
{
    struct lk_buf b = LK_BUF_INIT;

    lk_buf_reset(&b);
    lk_buf_fini(&b);
    lk_buf_fini(&b);
    assert_int_equal(lk_buf_put(&b, NULL, 0), LK_OK);
    assert_int_equal(b.len, 0);
    assert_string_equal(lk_buf_text(&b), "");
    lk_buf_fini(&b);
    assert_null(b.data);
}

/* Growth keeps the content, over many reallocations. */
static void
grows(void **state)
{
    LK_AUTO_BUF struct lk_buf b = LK_BUF_INIT;

    for (unsigned i = 0; i < 100000; i++) {
        assert_int_equal(lk_buf_put_u8(&b, (uint8_t)(i % 251)), LK_OK);
    }
    assert_int_equal(b.len, 100000);
    for (unsigned i = 0; i < 100000; i++) {
        assert_int_equal(b.data[i], i % 251);
    }
}

/* The maximum is reached exactly and never passed; a refused write changes nothing. */
static void
maximum_holds(void **state)
{
    LK_AUTO_BUF struct lk_buf b = LK_BUF_INIT;
    const uint8_t bytes[101] = {0};

    b.max = 100;
    assert_int_equal(lk_buf_put(&b, bytes, 101), LK_ERR_LIMIT);
    assert_int_equal(lk_buf_put(&b, bytes, SIZE_MAX), LK_ERR_LIMIT);
    assert_int_equal(b.len, 0);
    assert_int_equal(lk_buf_put(&b, bytes, 99), LK_OK);
    assert_int_equal(lk_buf_put_u16(&b, 1), LK_ERR_LIMIT);
    assert_null(lk_buf_extend(&b, 2));
    assert_int_equal(lk_buf_put_2b(&b, bytes, 0), LK_ERR_LIMIT);
    assert_int_equal(b.len, 99);
    assert_int_equal(lk_buf_put_u8(&b, 1), LK_OK);
    assert_null(lk_buf_text(&b));
    assert_int_equal(b.len, 100);
    lk_buf_fini(&b);
    assert_int_equal(b.max, 100);
}

/* Without a maximum of its own a buffer still has one. */
static void
default_maximum(void **state)
{
    LK_AUTO_BUF struct lk_buf b = LK_BUF_INIT;

    assert_null(lk_buf_extend(&b, LK_BUF_MAX_DEFAULT + 1));
    assert_non_null(lk_buf_extend(&b, LK_BUF_MAX_DEFAULT));
    assert_int_equal(lk_buf_put_u8(&b, 0), LK_ERR_LIMIT);
}

/* Forgotten bytes are gone from memory, not just out of sight. */
static void
reset_wipes(void **state)
{
    LK_AUTO_BUF struct lk_buf b = LK_BUF_INIT;
    const uint8_t zeros[6] = {0};

    assert_int_equal(lk_buf_puts(&b, "secret"), LK_OK);
    lk_buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_memory_equal(b.data, zeros, sizeof(zeros));
}

/* Integers are big-endian, and a 2B carries its length before it. */
static void
puts_big_endian(void **state)
{
    static const uint8_t want[] = {1,  2,  3,  4,  5, 6, 7,   8,   9, 10, 11,
                                   12, 13, 14, 15, 0, 2, 'o', 'k', 0, 0};
    LK_AUTO_BUF struct lk_buf b = LK_BUF_INIT;

    assert_int_equal(lk_buf_put_u8(&b, 1), LK_OK);
    assert_int_equal(lk_buf_put_u16(&b, 0x0203), LK_OK);
    assert_int_equal(lk_buf_put_u32(&b, 0x04050607), LK_OK);
    assert_int_equal(lk_buf_put_u64(&b, 0x08090a0b0c0d0e0f), LK_OK);
    assert_int_equal(lk_buf_put_2b(&b, "ok", 2), LK_OK);
    assert_int_equal(lk_buf_put_2b(&b, NULL, 0), LK_OK);
    assert_int_equal(b.len, sizeof(want));
    assert_memory_equal(b.data, want, sizeof(want));
}

/* A 2B holds 65535 bytes and not one more. */
static void
two_b_limit(void **state)
{
    LK_AUTO_BUF struct lk_buf bytes = LK_BUF_INIT, b = LK_BUF_INIT;
    uint8_t *at = lk_buf_extend(&bytes, 65536);

    assert_non_null(at);
    memset(at, 0x5a, bytes.len);
    assert_int_equal(lk_buf_put_2b(&b, bytes.data, 65536), LK_ERR_LIMIT);
    assert_int_equal(b.len, 0);
    assert_int_equal(lk_buf_put_2b(&b, bytes.data, 65535), LK_OK);
    assert_int_equal(b.len, 65537);
}

/* Formatted text of any length is whole, and leaves no NUL in the content. */
static void
formats(void **state)
{
    LK_AUTO_BUF struct lk_buf b = LK_BUF_INIT;

    assert_int_equal(lk_buf_printf(&b, "%s-%d", "a", -1), LK_OK);
    assert_int_equal(lk_buf_printf(&b, "%300s", "x"), LK_OK);
    assert_int_equal(b.len, 304);
    assert_memory_equal(b.data, "a--1 ", 5);
    assert_int_equal(b.data[303], 'x');
    b.max = 310;
    assert_int_equal(lk_buf_printf(&b, "%s", "1234567"), LK_ERR_LIMIT);
    assert_int_equal(b.len, 304);
}

/* A move empties the source, frees what the target had, and keeps each one's maximum. */
static void
moves(void **state)
{
    LK_AUTO_BUF struct lk_buf a = LK_BUF_INIT, b = LK_BUF_INIT;
    const uint8_t *data;

    b.max = 10;
    assert_int_equal(lk_buf_puts(&a, "from"), LK_OK);
    assert_int_equal(lk_buf_puts(&b, "to"), LK_OK);
    data = a.data;
    lk_buf_move(&b, &a);
    assert_ptr_equal(b.data, data);
    assert_string_equal(lk_buf_text(&b), "from");
    assert_null(a.data);
    assert_int_equal(a.len + a.cap, 0);
    assert_int_equal(b.max, 10);
}

/* Each read is checked against what is left, and a refused one consumes nothing. */
static void
reads_are_bounded(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7};
    struct lk_reader r = lk_reader_of(bytes, sizeof(bytes));
    const uint8_t *p = NULL;
    uint8_t u8 = 0;
    uint16_t u16 = 0;
    uint32_t u32 = 0;
    uint64_t u64 = 9;

    assert_int_equal(lk_read_u64(&r, &u64), LK_ERR_FORMAT);
    assert_int_equal(u64, 9);
    assert_int_equal(lk_read_bytes(&r, 8, &p), LK_ERR_FORMAT);
    assert_int_equal(lk_read_bytes(&r, SIZE_MAX, &p), LK_ERR_FORMAT);
    assert_int_equal(r.left, 7);
    assert_int_equal(lk_read_u8(&r, &u8), LK_OK);
    assert_int_equal(lk_read_u16(&r, &u16), LK_OK);
    assert_int_equal(lk_reader_end(&r), LK_ERR_FORMAT);
    assert_int_equal(lk_read_u32(&r, &u32), LK_OK);
    assert_int_equal(u8, 1);
    assert_int_equal(u16, 0x0203);
    assert_int_equal(u32, 0x04050607);
    assert_int_equal(lk_reader_end(&r), LK_OK);
    assert_int_equal(lk_read_u8(&r, &u8), LK_ERR_FORMAT);
    assert_int_equal(lk_read_bytes(&r, 0, &p), LK_OK);
}

/* All eight bytes of the largest integer. */
static void
reads_u64(void **state)
{
    static const uint8_t bytes[] = {0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88};
    struct lk_reader r = lk_reader_of(bytes, sizeof(bytes));
    uint64_t v = 0;

    assert_int_equal(lk_read_u64(&r, &v), LK_OK);
    assert_true(v == 0xffeeddccbbaa9988u);
}

/* A 2B that promises more than there is consumes nothing; an empty one is allowed. */
static void
reads_2b(void **state)
{
    static const uint8_t bytes[] = {0, 2, 'o', 'k', 0, 0, 0, 3, 'n', 'o'};
    struct lk_reader r = lk_reader_of(bytes, sizeof(bytes)), part;

    assert_int_equal(lk_read_2b(&r, &part), LK_OK);
    assert_int_equal(part.left, 2);
    assert_memory_equal(part.p, "ok", 2);
    assert_int_equal(lk_read_2b(&r, &part), LK_OK);
    assert_int_equal(part.left, 0);
    assert_int_equal(lk_read_2b(&r, &part), LK_ERR_FORMAT);
    assert_int_equal(r.left, 4);
    r.left = 1;
    assert_int_equal(lk_read_2b(&r, &part), LK_ERR_FORMAT);
    assert_int_equal(r.left, 1);
}

/* Text fits with its NUL or is not copied at all. */
static void
strcpy_fits_or_refuses(void **state)
{
    char buf[4] = "zzz";

    assert_int_equal(lk_strcpy(buf, sizeof(buf), "1234"), LK_ERR_LIMIT);
    assert_string_equal(buf, "zzz");
    assert_int_equal(lk_strcpy(buf, 0, ""), LK_ERR_LIMIT);
    assert_int_equal(lk_strcpy(buf, sizeof(buf), "123"), LK_OK);
    assert_string_equal(buf, "123");
    assert_int_equal(lk_strcpy(buf, 1, ""), LK_OK);
    assert_string_equal(buf, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_buffer),
        cmocka_unit_test(grows),
        cmocka_unit_test(maximum_holds),
        cmocka_unit_test(default_maximum),
        cmocka_unit_test(reset_wipes),
        cmocka_unit_test(puts_big_endian),
        cmocka_unit_test(two_b_limit),
        cmocka_unit_test(formats),
        cmocka_unit_test(moves),
        cmocka_unit_test(reads_are_bounded),
        cmocka_unit_test(reads_u64),
        cmocka_unit_test(reads_2b),
        cmocka_unit_test(strcpy_fits_or_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
