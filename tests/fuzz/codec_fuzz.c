/* The first byte picks a decoder; what decodes is encoded again, and has to be the same. */
#include <string.h>

#include "base/codec.h"
#include "fuzz.h"

#define BEFORE "kept"
#define BEFORE_LEN 4u

static void
expect_only(const struct lk_buf *b)
{
    check(b->len == BEFORE_LEN && memcmp(b->data, BEFORE, BEFORE_LEN) == 0);
}

static void
expect_text(const struct lk_buf *b, const char *text, size_t len)
{
    check(b->len == len && (len == 0 || memcmp(b->data, text, len) == 0));
}

static void
try_base64(const char *text, size_t len, struct lk_buf *bytes, struct lk_buf *again)
{
    if (lk_base64_decode(text, len, bytes) != LK_OK) {
        expect_only(bytes);
        return;
    }
    check(lk_base64_encode(bytes->data + BEFORE_LEN, bytes->len - BEFORE_LEN, again) == LK_OK);
    expect_text(again, text, len);
}

static void
try_hex(const char *text, size_t len, struct lk_buf *bytes, struct lk_buf *again)
{
    if (lk_hex_decode(text, len, bytes) != LK_OK) {
        expect_only(bytes);
        return;
    }
    check(lk_hex_encode(bytes->data + BEFORE_LEN, bytes->len - BEFORE_LEN, again) == LK_OK);
    check(lk_ascii_caseeq((const char *)again->data, again->len, text, len));
}

static void
try_percent(const char *text, size_t len, bool plus, struct lk_buf *bytes, struct lk_buf *again)
{
    LK_AUTO_BUF struct lk_buf back = LK_BUF_INIT;

    if (lk_percent_decode(text, len, plus, bytes) != LK_OK) {
        expect_only(bytes);
        return;
    }
    check(bytes->len - BEFORE_LEN <= len);
    check(lk_percent_encode((const char *)bytes->data + BEFORE_LEN, bytes->len - BEFORE_LEN,
                            again) == LK_OK);
    check(lk_percent_decode((const char *)again->data, again->len, plus, &back) == LK_OK);
    expect_text(&back, (const char *)bytes->data + BEFORE_LEN, bytes->len - BEFORE_LEN);
}

static void
try_decimal(const char *text, size_t len, struct lk_buf *again)
{
    uint64_t v = 0, w = 1;

    if (lk_decimal_parse(text, len, &v) == LK_OK) {
        check(lk_buf_printf(again, "%llu", (unsigned long long)v) == LK_OK);
        check(lk_decimal_parse((const char *)again->data, again->len, &w) == LK_OK && v == w);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LK_AUTO_BUF struct lk_buf bytes = LK_BUF_INIT, again = LK_BUF_INIT;
    const char *text = (const char *)data + 1;

    if (size == 0) {
        return 0;
    }
    check(lk_buf_puts(&bytes, BEFORE) == LK_OK);
    switch (data[0] % 5) {
    case 0:
        try_base64(text, size - 1, &bytes, &again);
        break;
    case 1:
        try_hex(text, size - 1, &bytes, &again);
        break;
    case 2:
        try_percent(text, size - 1, false, &bytes, &again);
        break;
    case 3:
        try_percent(text, size - 1, true, &bytes, &again);
        break;
    default:
        try_decimal(text, size - 1, &again);
        break;
    }
    return 0;
}
