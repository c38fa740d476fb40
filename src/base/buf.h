/*
 * Byte buffers and bounded cursors. Nothing else in the tree does pointer arithmetic on bytes that
 * came from outside.
 */
#ifndef LK_BASE_BUF_H
#define LK_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <latchkey/err.h>

#include "base/auto.h"

/*
 * A growable byte buffer that never grows past max and wipes its memory when it is freed or moved.
 * Embed by value, initialise with LK_BUF_INIT or lk_buf_init(), guard with LK_AUTO_BUF.
 */
struct lk_buf {
    uint8_t *data; /* NULL while empty; owned */
    size_t len;    /* bytes in use */
    size_t cap;    /* bytes allocated */
    size_t max;    /* bytes it may grow to; 0 means LK_BUF_MAX_DEFAULT */
};

#define LK_BUF_MAX_DEFAULT ((size_t)16 * 1024 * 1024)
#define LK_BUF_INIT                                                                                \
    {                                                                                              \
        NULL, 0, 0, 0                                                                              \
    }
#define LK_AUTO_BUF __attribute__((cleanup(lk_buf_fini)))

/* Wipe and release the bytes; b is empty and usable afterwards, with the same max. */
void lk_buf_fini(struct lk_buf *b);

/* Forget the content (wiped) but keep the memory for the next use. */
void lk_buf_reset(struct lk_buf *b);

/* Append len bytes. LK_ERR_LIMIT past max, LK_ERR_NOMEM; b is unchanged on failure. */
LK_MUST_CHECK enum lk_err lk_buf_put(struct lk_buf *b, const void *data, size_t len);

/* Append a NUL-terminated string without its NUL. */
LK_MUST_CHECK enum lk_err lk_buf_puts(struct lk_buf *b, const char *text);

/* Append one byte, or a big-endian integer. */
LK_MUST_CHECK enum lk_err lk_buf_put_u8(struct lk_buf *b, uint8_t v);
LK_MUST_CHECK enum lk_err lk_buf_put_u16(struct lk_buf *b, uint16_t v);
LK_MUST_CHECK enum lk_err lk_buf_put_u32(struct lk_buf *b, uint32_t v);
LK_MUST_CHECK enum lk_err lk_buf_put_u64(struct lk_buf *b, uint64_t v);

/* Append a TPM "2B": big-endian 16-bit size, then the bytes. LK_ERR_LIMIT over 65535 bytes. */
LK_MUST_CHECK enum lk_err lk_buf_put_2b(struct lk_buf *b, const void *data, size_t len);

/* Append formatted text. */
LK_MUST_CHECK enum lk_err lk_buf_printf(struct lk_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Ensure a NUL after the content (not counted in len) and return it as text; NULL when out of
 * memory. */
const char *lk_buf_text(struct lk_buf *b);

/* Append len uninitialised bytes and return where they start; NULL on LK_ERR_LIMIT or LK_ERR_NOMEM.
 */
uint8_t *lk_buf_extend(struct lk_buf *b, size_t len);

/* Drop the first len bytes (wiped), len being at most what is there. */
void lk_buf_consume(struct lk_buf *b, size_t len);

/* Move the content of from into to (whose old content is wiped); from is empty afterwards. */
void lk_buf_move(struct lk_buf *to, struct lk_buf *from);

/* Wipe len bytes so that the compiler cannot drop the wipe. */
void lk_wipe(void *p, size_t len);

/* Reads big-endian values from borrowed memory; every read is checked against what is left. */
struct lk_reader {
    const uint8_t *p;
    size_t left;
};

static inline struct lk_reader
lk_reader_of(const void *data, size_t len)
{
    struct lk_reader r = {(const uint8_t *)data, len};
    return r;
}

/* Each returns LK_ERR_FORMAT when fewer bytes are left, and then consumes nothing. */
LK_MUST_CHECK enum lk_err lk_read_u8(struct lk_reader *r, uint8_t *ret);
LK_MUST_CHECK enum lk_err lk_read_u16(struct lk_reader *r, uint16_t *ret);
LK_MUST_CHECK enum lk_err lk_read_u32(struct lk_reader *r, uint32_t *ret);
LK_MUST_CHECK enum lk_err lk_read_u64(struct lk_reader *r, uint64_t *ret);
/* Borrow len bytes in place. */
LK_MUST_CHECK enum lk_err lk_read_bytes(struct lk_reader *r, size_t len, const uint8_t **ret);
/* Borrow a TPM "2B": reads the 16-bit size and yields a reader over its bytes. */
LK_MUST_CHECK enum lk_err lk_read_2b(struct lk_reader *r, struct lk_reader *ret);
/* LK_ERR_FORMAT unless everything was consumed. */
LK_MUST_CHECK enum lk_err lk_reader_end(const struct lk_reader *r);

/* Copy text into (buf, cap) with a NUL; LK_ERR_LIMIT (buf untouched) when it does not fit. */
LK_MUST_CHECK enum lk_err lk_strcpy(char *buf, size_t cap, const char *text);

#endif
