/*
 * Text forms of bytes: base64 (RFC 4648 section 4, padded), base32 (section 6, lower case,
 * unpadded), hexadecimal, percent-encoding (RFC 3986), RFC 3339 time stamps. All decoders are
 * strict.
 */
#ifndef LK_BASE_CODEC_H
#define LK_BASE_CODEC_H

#include "base/buf.h"

/* Append the base64 of data to ret. */
LK_MUST_CHECK enum lk_err lk_base64_encode(const void *data, size_t len, struct lk_buf *ret);

/*
 * Append the bytes of text to ret. Standard alphabet, padding required, no white space, unused bits
 * zero. LK_ERR_FORMAT (ret unchanged) otherwise.
 */
LK_MUST_CHECK enum lk_err lk_base64_decode(const char *text, size_t len, struct lk_buf *ret);

/* Append lower-case, unpadded base32. */
LK_MUST_CHECK enum lk_err lk_base32_encode(const void *data, size_t len, struct lk_buf *ret);

/* Append lower-case hexadecimal. */
LK_MUST_CHECK enum lk_err lk_hex_encode(const void *data, size_t len, struct lk_buf *ret);

/* Append the bytes of hexadecimal text of either case; LK_ERR_FORMAT (ret unchanged) otherwise. */
LK_MUST_CHECK enum lk_err lk_hex_decode(const char *text, size_t len, struct lk_buf *ret);

/* Append text with everything but RFC 3986 unreserved characters as %XX, upper-case hexadecimal. */
LK_MUST_CHECK enum lk_err lk_percent_encode(const char *text, size_t len, struct lk_buf *ret);

/*
 * Append text with %xx (either case) decoded once. plus_is_space also turns '+' into a space. A
 * broken escape is LK_ERR_FORMAT (ret unchanged). A decoded NUL is kept: the caller's character
 * rules refuse it.
 */
LK_MUST_CHECK enum lk_err lk_percent_decode(const char *text, size_t len, bool plus_is_space,
                                            struct lk_buf *ret);

/* Bytes of "2026-01-02T03:04:05.6789012Z" with its NUL. */
#define LK_TIMESTAMP_CAP 32u

/* Write unix_ms (milliseconds since 1970) as RFC 3339 UTC with seven fraction digits. */
void lk_timestamp_format(int64_t unix_ms, char ret[LK_TIMESTAMP_CAP]);

/*
 * Read RFC 3339 text as milliseconds since 1970: a date alone, or date, 'T' and time with up to
 * nine fraction digits and "Z" or an offset. Less than a millisecond is cut off. LK_ERR_FORMAT.
 */
LK_MUST_CHECK enum lk_err lk_timestamp_parse(const char *text, size_t len, int64_t *ret_unix_ms);

/* Strict decimal: digits only, no sign, no overflow; LK_ERR_FORMAT otherwise. */
LK_MUST_CHECK enum lk_err lk_decimal_parse(const char *text, size_t len, uint64_t *ret);

/*
 * Bytes of the UTF-8 sequence at p (RFC 3629: shortest form, no surrogates, up to U+10FFFF), with
 * the code point in *ret; 0 when there is none. left is at least 1.
 */
size_t lk_utf8_next(const uint8_t *p, size_t left, uint32_t *ret);

/* Narrow (*text, *len) past blanks, tabs and line ends at both ends. */
void lk_trim(const char **text, size_t *len);

/* Lower-case ASCII letters in place; other bytes stay. */
void lk_ascii_lower(char *text);

/* Equality of two texts without regard to ASCII case. */
bool lk_ascii_caseeq(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
