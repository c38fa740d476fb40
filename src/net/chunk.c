#include "net/chunk.h"

#include "net/chars.h"

#define SIZE_DIGITS_MAX 8u

static int
hex_value(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static enum lk_err
expect(struct lk_chunk *c, uint8_t byte, uint8_t wanted, enum lk_chunk_state next)
{
    if (byte != wanted) {
        return LK_ERR_FORMAT;
    }
    c->state = next;
    return LK_OK;
}

static enum lk_err
size_byte(struct lk_chunk *c, uint8_t byte, const struct lk_buf *body)
{
    int digit = hex_value(byte);

    if (digit >= 0) {
        if (c->digits == SIZE_DIGITS_MAX) {
            return LK_ERR_LIMIT;
        }
        c->left = c->left << 4 | (uint32_t)digit;
        c->digits++;
        return c->left > body->max - body->len ? LK_ERR_LIMIT : LK_OK;
    }
    if (c->digits == 0) {
        return LK_ERR_FORMAT;
    }
    c->digits = 0;
    if (byte == ';') {
        c->state = LK_CHUNK_EXTENSION;
        return LK_OK;
    }
    return expect(c, byte, '\r', LK_CHUNK_SIZE_LF);
}

/* A byte of what is dropped, up to its CR. */
static enum lk_err
side_byte(struct lk_chunk *c, uint8_t byte, enum lk_chunk_state after_cr)
{
    if (byte == '\r') {
        c->state = after_cr;
        return LK_OK;
    }
    if (!lk_is_field_char(byte)) {
        return LK_ERR_FORMAT;
    }
    return ++c->side > LK_CHUNK_SIDE_MAX ? LK_ERR_LIMIT : LK_OK;
}

static enum lk_err
trailer_byte(struct lk_chunk *c, uint8_t byte)
{
    if (c->state == LK_CHUNK_TRAILER_START && byte == '\r') {
        c->state = LK_CHUNK_END_LF;
        return LK_OK;
    }
    if (c->state == LK_CHUNK_TRAILER_NAME && byte == ':') {
        c->state = LK_CHUNK_TRAILER_VALUE;
        return LK_OK;
    }
    if (!lk_is_token_char(byte)) {
        return LK_ERR_FORMAT;
    }
    c->state = LK_CHUNK_TRAILER_NAME;
    return ++c->side > LK_CHUNK_SIDE_MAX ? LK_ERR_LIMIT : LK_OK;
}

static enum lk_err
framing_byte(struct lk_chunk *c, uint8_t byte, const struct lk_buf *body)
{
    switch (c->state) {
    case LK_CHUNK_SIZE:
        return size_byte(c, byte, body);
    case LK_CHUNK_EXTENSION:
        return side_byte(c, byte, LK_CHUNK_SIZE_LF);
    case LK_CHUNK_SIZE_LF:
        return expect(c, byte, '\n', c->left > 0 ? LK_CHUNK_DATA : LK_CHUNK_TRAILER_START);
    case LK_CHUNK_DATA_CR:
        return expect(c, byte, '\r', LK_CHUNK_DATA_LF);
    case LK_CHUNK_DATA_LF:
        return expect(c, byte, '\n', LK_CHUNK_SIZE);
    case LK_CHUNK_TRAILER_START:
    case LK_CHUNK_TRAILER_NAME:
        return trailer_byte(c, byte);
    case LK_CHUNK_TRAILER_VALUE:
        return side_byte(c, byte, LK_CHUNK_TRAILER_LF);
    case LK_CHUNK_TRAILER_LF:
        return expect(c, byte, '\n', LK_CHUNK_TRAILER_START);
    case LK_CHUNK_END_LF:
        return expect(c, byte, '\n', LK_CHUNK_END);
    case LK_CHUNK_DATA:
    case LK_CHUNK_END:
        break;
    }
    return LK_ERR_ARG;
}

enum lk_err
lk_chunk_feed(struct lk_chunk *c, const uint8_t *data, size_t len, struct lk_buf *body,
              size_t *ret_used)
{
    struct lk_reader r = lk_reader_of(data, len);
    enum lk_err err = LK_OK;

    while (r.left > 0 && c->state != LK_CHUNK_END && err == LK_OK) {
        const uint8_t *run;
        size_t take = 1;

        if (c->state == LK_CHUNK_DATA) {
            take = c->left < r.left ? c->left : r.left;
        }
        if ((err = lk_read_bytes(&r, take, &run)) != LK_OK) {
            return err;
        }
        if (c->state != LK_CHUNK_DATA) {
            err = framing_byte(c, *run, body);
        } else if ((err = lk_buf_put(body, run, take)) == LK_OK) {
            c->left -= (uint32_t)take;
            c->state = c->left > 0 ? LK_CHUNK_DATA : LK_CHUNK_DATA_CR;
        }
    }
    *ret_used = len - r.left;
    return err;
}
