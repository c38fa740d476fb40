#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_CAP_FIRST 64u /* bytes of the first allocation */

void
lk_wipe(void *p, size_t len)
{
    if (len > 0) {
        explicit_bzero(p, len);
    }
}

void
lk_buf_fini(struct lk_buf *b)
{
    if (b->data != NULL) {
        lk_wipe(b->data, b->cap);
        free(b->data);
    }
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
}

void
lk_buf_reset(struct lk_buf *b)
{
    if (b->data != NULL) {
        lk_wipe(b->data, b->len);
    }
    b->len = 0;
}

/* Make room for more bytes after len. realloc() is not used: it may leave a copy of a secret
 * behind. */
static enum lk_err
buf_reserve(struct lk_buf *b, size_t more)
{
    size_t max = b->max != 0 ? b->max : LK_BUF_MAX_DEFAULT;
    size_t cap = b->cap != 0 ? b->cap : BUF_CAP_FIRST;
    uint8_t *data;

    if (more > max || b->len > max - more) {
        return LK_ERR_LIMIT;
    }
    if (b->data != NULL && b->len + more <= b->cap) {
        return LK_OK;
    }
    while (cap < b->len + more) {
        cap = cap > max / 2 ? max : cap * 2;
    }
    data = (uint8_t *)malloc(cap);
    if (data == NULL) {
        return LK_ERR_NOMEM;
    }
    if (b->data != NULL) {
        memcpy(data, b->data, b->len);
        lk_wipe(b->data, b->cap);
        free(b->data);
    }
    b->data = data;
    b->cap = cap;
    return LK_OK;
}

uint8_t *
lk_buf_extend(struct lk_buf *b, size_t len)
{
    uint8_t *at;

    if (buf_reserve(b, len) != LK_OK) {
        return NULL;
    }
    at = b->data + b->len;
    b->len += len;
    return at;
}

enum lk_err
lk_buf_put(struct lk_buf *b, const void *data, size_t len)
{
    enum lk_err err = buf_reserve(b, len);

    if (err != LK_OK) {
        return err;
    }
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
    return LK_OK;
}

enum lk_err
lk_buf_puts(struct lk_buf *b, const char *text)
{
    return lk_buf_put(b, text, strlen(text));
}

static enum lk_err
buf_put_be(struct lk_buf *b, uint64_t v, size_t width)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < width; i++) {
        bytes[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
    }
    return lk_buf_put(b, bytes, width);
}

enum lk_err
lk_buf_put_u8(struct lk_buf *b, uint8_t v)
{
    return buf_put_be(b, v, 1);
}

enum lk_err
lk_buf_put_u16(struct lk_buf *b, uint16_t v)
{
    return buf_put_be(b, v, 2);
}

enum lk_err
lk_buf_put_u32(struct lk_buf *b, uint32_t v)
{
    return buf_put_be(b, v, 4);
}

enum lk_err
lk_buf_put_u64(struct lk_buf *b, uint64_t v)
{
    return buf_put_be(b, v, 8);
}

enum lk_err
lk_buf_put_2b(struct lk_buf *b, const void *data, size_t len)
{
    enum lk_err err;

    if (len > UINT16_MAX) {
        return LK_ERR_LIMIT;
    }
    err = buf_reserve(b, len + 2);
    if (err != LK_OK) {
        return err;
    }
    if ((err = lk_buf_put_u16(b, (uint16_t)len)) != LK_OK) {
        return err;
    }
    return lk_buf_put(b, data, len);
}

enum lk_err
lk_buf_printf(struct lk_buf *b, const char *fmt, ...)
{
    va_list ap;
    int need;
    enum lk_err err;

    va_start(ap, fmt);
    need = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (need < 0) {
        return LK_ERR_ARG;
    }
    err = buf_reserve(b, (size_t)need + 1);
    if (err != LK_OK) {
        return err;
    }
    va_start(ap, fmt);
    (void)vsnprintf((char *)b->data + b->len, (size_t)need + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)need;
    return LK_OK;
}

const char *
lk_buf_text(struct lk_buf *b)
{
    if (buf_reserve(b, 1) != LK_OK) {
        return NULL;
    }
    b->data[b->len] = 0;
    return (const char *)b->data;
}

void
lk_buf_consume(struct lk_buf *b, size_t len)
{
    assert(len <= b->len);
    if (len == 0) {
        return;
    }
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
    lk_wipe(b->data + b->len, len);
}

void
lk_buf_move(struct lk_buf *to, struct lk_buf *from)
{
    lk_buf_fini(to);
    to->data = from->data;
    to->len = from->len;
    to->cap = from->cap;
    from->data = NULL;
    from->len = 0;
    from->cap = 0;
}

enum lk_err
lk_read_bytes(struct lk_reader *r, size_t len, const uint8_t **ret)
{
    if (len > r->left) {
        return LK_ERR_FORMAT;
    }
    *ret = r->p;
    r->p += len;
    r->left -= len;
    return LK_OK;
}

static enum lk_err
read_be(struct lk_reader *r, size_t width, uint64_t *ret)
{
    const uint8_t *p;
    enum lk_err err = lk_read_bytes(r, width, &p);
    uint64_t v = 0;

    if (err != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < width; i++) {
        v = v << 8 | p[i];
    }
    *ret = v;
    return LK_OK;
}

enum lk_err
lk_read_u8(struct lk_reader *r, uint8_t *ret)
{
    uint64_t v;
    enum lk_err err = read_be(r, 1, &v);

    if (err == LK_OK) {
        *ret = (uint8_t)v;
    }
    return err;
}

enum lk_err
lk_read_u16(struct lk_reader *r, uint16_t *ret)
{
    uint64_t v;
    enum lk_err err = read_be(r, 2, &v);

    if (err == LK_OK) {
        *ret = (uint16_t)v;
    }
    return err;
}

enum lk_err
lk_read_u32(struct lk_reader *r, uint32_t *ret)
{
    uint64_t v;
    enum lk_err err = read_be(r, 4, &v);

    if (err == LK_OK) {
        *ret = (uint32_t)v;
    }
    return err;
}

enum lk_err
lk_read_u64(struct lk_reader *r, uint64_t *ret)
{
    return read_be(r, 8, ret);
}

enum lk_err
lk_read_2b(struct lk_reader *r, struct lk_reader *ret)
{
    struct lk_reader copy = *r;
    uint16_t len;
    const uint8_t *p;
    enum lk_err err;

    if ((err = lk_read_u16(&copy, &len)) != LK_OK ||
        (err = lk_read_bytes(&copy, len, &p)) != LK_OK) {
        return err;
    }
    *r = copy;
    *ret = lk_reader_of(p, len);
    return LK_OK;
}

enum lk_err
lk_reader_end(const struct lk_reader *r)
{
    return r->left == 0 ? LK_OK : LK_ERR_FORMAT;
}

enum lk_err
lk_strcpy(char *buf, size_t cap, const char *text)
{
    size_t len = strlen(text);

    if (len >= cap) {
        return LK_ERR_LIMIT;
    }
    memcpy(buf, text, len + 1);
    return LK_OK;
}
