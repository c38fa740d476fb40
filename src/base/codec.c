#include "base/codec.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";

/* Value + 1 of each base64 character; 0 for every other byte. */
static const uint8_t base64_value[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

/* Room for len more bytes, with the reason when there is none. */
static enum lk_err
codec_room(struct lk_buf *b, size_t len, uint8_t **ret)
{
    size_t max = b->max != 0 ? b->max : LK_BUF_MAX_DEFAULT;
    uint8_t *at = lk_buf_extend(b, len);

    if (at == NULL) {
        return len > max || b->len > max - len ? LK_ERR_LIMIT : LK_ERR_NOMEM;
    }
    *ret = at;
    return LK_OK;
}

/* Take back what was appended after start, leaving none of it in memory. */
static enum lk_err
codec_undo(struct lk_buf *b, size_t start)
{
    lk_wipe(b->data + start, b->len - start);
    b->len = start;
    return LK_ERR_FORMAT;
}

/* One to three bytes as four characters. */
static void
base64_put_group(const uint8_t *in, size_t len, uint8_t out[4])
{
    uint32_t v = (uint32_t)in[0] << 16;

    if (len > 1) {
        v |= (uint32_t)in[1] << 8;
    }
    if (len > 2) {
        v |= in[2];
    }
    out[0] = (uint8_t)base64_alphabet[v >> 18];
    out[1] = (uint8_t)base64_alphabet[v >> 12 & 63];
    out[2] = len > 1 ? (uint8_t)base64_alphabet[v >> 6 & 63] : '=';
    out[3] = len > 2 ? (uint8_t)base64_alphabet[v & 63] : '=';
}

enum lk_err
lk_base64_encode(const void *data, size_t len, struct lk_buf *ret)
{
    const uint8_t *in = data;
    uint8_t *out;
    enum lk_err err;

    if (len == 0) {
        return LK_OK;
    }
    if (len > SIZE_MAX / 4 * 3 - 3) {
        return LK_ERR_LIMIT;
    }
    if ((err = codec_room(ret, (len + 2) / 3 * 4, &out)) != LK_OK) {
        return err;
    }
    for (; len > 3; in += 3, len -= 3, out += 4) {
        base64_put_group(in, 3, out);
    }
    base64_put_group(in, len, out);
    return LK_OK;
}

/* Four characters as three bytes; false when one is not of the alphabet. */
static bool
base64_get_group(const uint8_t in[4], uint8_t out[3])
{
    uint32_t a = base64_value[in[0]], b = base64_value[in[1]];
    uint32_t c = base64_value[in[2]], d = base64_value[in[3]];
    uint32_t v;

    if (a == 0 || b == 0 || c == 0 || d == 0) {
        return false;
    }
    v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
    out[0] = (uint8_t)(v >> 16);
    out[1] = (uint8_t)(v >> 8);
    out[2] = (uint8_t)v;
    return true;
}

/* The last group, with pad ('=') characters standing for zero bits; other bits there are refused.
 */
static bool
base64_get_last(const uint8_t in[4], size_t pad, uint8_t *out)
{
    uint8_t text[4], bytes[3];
    bool ok;

    memcpy(text, in, sizeof(text));
    memset(text + 4 - pad, 'A', pad);
    ok = base64_get_group(text, bytes) && (pad < 1 || bytes[2] == 0) && (pad < 2 || bytes[1] == 0);
    if (ok) {
        memcpy(out, bytes, 3 - pad);
    }
    lk_wipe(text, sizeof(text));
    lk_wipe(bytes, sizeof(bytes));
    return ok;
}

enum lk_err
lk_base64_decode(const char *text, size_t len, struct lk_buf *ret)
{
    const uint8_t *in = (const uint8_t *)text;
    size_t start = ret->len, pad;
    uint8_t *out;
    enum lk_err err;

    if (len == 0) {
        return LK_OK;
    }
    if (len % 4 != 0) {
        return LK_ERR_FORMAT;
    }
    pad = in[len - 1] != '=' ? 0 : in[len - 2] != '=' ? 1 : 2;
    if ((err = codec_room(ret, len / 4 * 3 - pad, &out)) != LK_OK) {
        return err;
    }
    for (; len > 4; in += 4, len -= 4, out += 3) {
        if (!base64_get_group(in, out)) {
            return codec_undo(ret, start);
        }
    }
    return base64_get_last(in, pad, out) ? LK_OK : codec_undo(ret, start);
}

enum lk_err
lk_base32_encode(const void *data, size_t len, struct lk_buf *ret)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    const uint8_t *in = data;
    uint32_t bits = 0;
    unsigned bits_count = 0;
    uint8_t *out;
    enum lk_err err;

    if (len > SIZE_MAX / 8 - 1) {
        return LK_ERR_LIMIT;
    }
    if ((err = codec_room(ret, (len * 8 + 4) / 5, &out)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | in[i]) & 0xfff; /* at most four are left over */
        bits_count += 8;
        for (; bits_count >= 5; bits_count -= 5) {
            *out++ = (uint8_t)alphabet[bits >> (bits_count - 5) & 31];
        }
    }
    if (bits_count > 0) {
        *out = (uint8_t)alphabet[bits << (5 - bits_count) & 31];
    }
    return LK_OK;
}

enum lk_err
lk_hex_encode(const void *data, size_t len, struct lk_buf *ret)
{
    const uint8_t *in = data;
    uint8_t *out;
    enum lk_err err;

    if (len > SIZE_MAX / 2) {
        return LK_ERR_LIMIT;
    }
    if ((err = codec_room(ret, len * 2, &out)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < len; i++) {
        *out++ = (uint8_t)hex_lower[in[i] >> 4];
        *out++ = (uint8_t)hex_lower[in[i] & 15];
    }
    return LK_OK;
}

/* 0 to 15, or 16 for a byte that is no hexadecimal digit. */
static unsigned
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return (unsigned)(c - 'a') + 10;
    }
    return c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : 16;
}

/* Two digits as one byte. */
static bool
hex_pair(const char *in, uint8_t *out)
{
    unsigned high = hex_value(in[0]), low = hex_value(in[1]);

    *out = (uint8_t)(high << 4 | (low & 15));
    return high < 16 && low < 16;
}

enum lk_err
lk_hex_decode(const char *text, size_t len, struct lk_buf *ret)
{
    size_t start = ret->len;
    uint8_t *out;
    enum lk_err err;

    if (len % 2 != 0) {
        return LK_ERR_FORMAT;
    }
    if ((err = codec_room(ret, len / 2, &out)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < len; i += 2) {
        if (!hex_pair(text + i, out++)) {
            return codec_undo(ret, start);
        }
    }
    return LK_OK;
}

/* RFC 3986, section 2.3. */
static bool
is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

enum lk_err
lk_percent_encode(const char *text, size_t len, struct lk_buf *ret)
{
    size_t need = 0;
    uint8_t *out;
    enum lk_err err;

    if (len > SIZE_MAX / 3) {
        return LK_ERR_LIMIT;
    }
    for (size_t i = 0; i < len; i++) {
        need += is_unreserved(text[i]) ? 1 : 3;
    }
    if ((err = codec_room(ret, need, &out)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < len; i++) {
        if (is_unreserved(text[i])) {
            *out++ = (uint8_t)text[i];
            continue;
        }
        *out++ = '%';
        *out++ = (uint8_t)hex_upper[(uint8_t)text[i] >> 4];
        *out++ = (uint8_t)hex_upper[(uint8_t)text[i] & 15];
    }
    return LK_OK;
}

enum lk_err
lk_percent_decode(const char *text, size_t len, bool plus_is_space, struct lk_buf *ret)
{
    size_t start = ret->len;
    uint8_t *out, *at;
    enum lk_err err;

    if ((err = codec_room(ret, len, &out)) != LK_OK) {
        return err;
    }
    at = out;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '%') {
            if (len - i < 3 || !hex_pair(text + i + 1, at)) {
                return codec_undo(ret, start);
            }
            at++;
            i += 2;
            continue;
        }
        *at++ = (uint8_t)(text[i] == '+' && plus_is_space ? ' ' : text[i]);
    }
    ret->len = start + (size_t)(at - out);
    return LK_OK;
}

void
lk_timestamp_format(int64_t unix_ms, char ret[LK_TIMESTAMP_CAP])
{
    const int64_t first_ms = -62135596800000; /* 0001-01-01, where RFC 3339 years make sense */
    const int64_t last_ms = 253402300799999;  /* the end of 9999, the last year of four digits */
    int64_t ms = unix_ms < first_ms ? first_ms : unix_ms > last_ms ? last_ms : unix_ms;
    int64_t part_ms = (ms % 1000 + 1000) % 1000;
    time_t s = (time_t)((ms - part_ms) / 1000);
    struct tm t;

    (void)gmtime_r(&s, &t); /* cannot fail within those years */
    (void)snprintf(ret, LK_TIMESTAMP_CAP, "%04u-%02u-%02uT%02u:%02u:%02u.%03u0000Z",
                   ((unsigned)t.tm_year + 1900u) % 10000u, ((unsigned)t.tm_mon + 1u) % 100u,
                   (unsigned)t.tm_mday % 100u, (unsigned)t.tm_hour % 100u,
                   (unsigned)t.tm_min % 100u, (unsigned)t.tm_sec % 100u, (unsigned)part_ms % 1000u);
}

/* Take a number of exactly this many digits. */
static bool
digits_take(struct lk_reader *r, size_t count, unsigned *ret)
{
    const uint8_t *p;
    uint64_t v;

    if (lk_read_bytes(r, count, &p) != LK_OK ||
        lk_decimal_parse((const char *)p, count, &v) != LK_OK) {
        return false;
    }
    *ret = (unsigned)v;
    return true;
}

static bool
char_take(struct lk_reader *r, char wanted)
{
    if (r->left == 0 || *r->p != (uint8_t)wanted) {
        return false;
    }
    r->p++;
    r->left--;
    return true;
}

static bool
date_take(struct lk_reader *r, struct tm *t)
{
    unsigned year, month, day;
    struct tm same;

    if (!digits_take(r, 4, &year) || !char_take(r, '-') || !digits_take(r, 2, &month) ||
        !char_take(r, '-') || !digits_take(r, 2, &day) || year == 0 || month < 1 || month > 12 ||
        day < 1 || day > 31) {
        return false;
    }
    t->tm_year = (int)year - 1900;
    t->tm_mon = (int)month - 1;
    t->tm_mday = (int)day;
    same = *t;
    (void)timegm(&same); /* makes 2 March of 30 February */
    return same.tm_mday == t->tm_mday;
}

/* ".123456789" as milliseconds; nothing is 0. */
static bool
fraction_take(struct lk_reader *r, unsigned *ret_ms)
{
    unsigned digit, weight = 100, count = 0;

    *ret_ms = 0;
    if (!char_take(r, '.')) {
        return true;
    }
    for (; r->left > 0 && *r->p >= '0' && *r->p <= '9'; count++) {
        if (!digits_take(r, 1, &digit)) {
            return false;
        }
        *ret_ms += digit * weight;
        weight /= 10;
    }
    return count >= 1 && count <= 9;
}

/* "Z" or "+hh:mm", as minutes east. */
static bool
offset_take(struct lk_reader *r, int *ret_min)
{
    unsigned hours, minutes;
    int sign = r->left > 0 && *r->p == '-' ? -1 : 1;

    *ret_min = 0;
    if (char_take(r, 'Z') || char_take(r, 'z')) {
        return true;
    }
    if ((!char_take(r, '+') && !char_take(r, '-')) || !digits_take(r, 2, &hours) ||
        !char_take(r, ':') || !digits_take(r, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_min = sign * (int)(hours * 60 + minutes);
    return true;
}

/* "Thh:mm:ss" with fraction and offset. A leap second counts as the second after it. */
static bool
time_take(struct lk_reader *r, struct tm *t, unsigned *ret_ms, int *ret_offset_min)
{
    unsigned hour, minute, second;

    if ((!char_take(r, 'T') && !char_take(r, 't') && !char_take(r, ' ')) ||
        !digits_take(r, 2, &hour) || !char_take(r, ':') || !digits_take(r, 2, &minute) ||
        !char_take(r, ':') || !digits_take(r, 2, &second) || hour > 23 || minute > 59 ||
        second > 60) {
        return false;
    }
    t->tm_hour = (int)hour;
    t->tm_min = (int)minute;
    t->tm_sec = (int)second;
    return fraction_take(r, ret_ms) && offset_take(r, ret_offset_min);
}

enum lk_err
lk_timestamp_parse(const char *text, size_t len, int64_t *ret_unix_ms)
{
    struct lk_reader r = lk_reader_of(text, len);
    struct tm t = {0};
    int offset_min = 0;
    unsigned ms = 0;

    if (!date_take(&r, &t) || (r.left > 0 && !time_take(&r, &t, &ms, &offset_min)) ||
        lk_reader_end(&r) != LK_OK) {
        return LK_ERR_FORMAT;
    }
    *ret_unix_ms = ((int64_t)timegm(&t) - offset_min * 60) * 1000 + ms;
    return LK_OK;
}

enum lk_err
lk_decimal_parse(const char *text, size_t len, uint64_t *ret)
{
    uint64_t v = 0;

    if (len == 0) {
        return LK_ERR_FORMAT;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(text[i] - '0');

        if (text[i] < '0' || text[i] > '9' || v > (UINT64_MAX - digit) / 10) {
            return LK_ERR_FORMAT;
        }
        v = v * 10 + digit;
    }
    *ret = v;
    return LK_OK;
}

static char
ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

size_t
lk_utf8_next(const uint8_t *p, size_t left, uint32_t *ret)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t cp = p[0];

    if (len == 0 || len > left || p[0] > 0xf4) {
        return 0;
    }
    if (len > 1) {
        cp = p[0] & (0xffu >> (len + 1));
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        cp = cp << 6 | (p[i] & 0x3fu);
    }
    if (cp < smallest[len] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff)) {
        return 0;
    }
    *ret = cp;
    return len;
}

static bool
is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void
lk_trim(const char **text, size_t *len)
{
    while (*len > 0 && is_white((*text)[*len - 1])) {
        (*len)--;
    }
    while (*len > 0 && is_white(**text)) {
        (*text)++;
        (*len)--;
    }
}

void
lk_ascii_lower(char *text)
{
    for (; *text != 0; text++) {
        *text = ascii_lower(*text);
    }
}

bool
lk_ascii_caseeq(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len) {
        return false;
    }
    for (size_t i = 0; i < a_len; i++) {
        if (ascii_lower(a[i]) != ascii_lower(b[i])) {
            return false;
        }
    }
    return true;
}
