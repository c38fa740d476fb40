#include "net/parse.h"

#include <stdlib.h>
#include <string.h>

#include "net/chars.h"
#include "net/head.h"

void
lk_http_parse_init(struct lk_http_parse *p, const struct lk_http_limits *limits)
{
    memset(p, 0, sizeof(*p));
    p->limits = limits;
    p->head.max = limits->head_max + 1u; /* and a NUL */
    p->body.max = limits->body_max;
}

void
lk_http_parse_fini(struct lk_http_parse *p)
{
    lk_buf_fini(&p->head); /* wiped: it holds a token */
    lk_buf_fini(&p->body);
    free(p->headers);
    p->headers = NULL;
}

void
lk_http_parse_refuse(struct lk_http_parse *p, int status, const char *reason)
{
    p->state = LK_PARSE_REFUSED;
    p->status = status;
    p->reason = reason;
}

/* ---- the head, byte by byte until its empty line -----------------------------------------------
 */

/* The end of a line that was terminated correctly. True when it was the head's last. */
static bool
line_end(struct lk_http_parse *p)
{
    bool is_empty = p->line_len == 0;

    p->after_cr = false;
    p->line_len = 0;
    if (!is_empty) {
        if (p->lines_count++ > p->limits->headers_max) {
            lk_http_parse_refuse(p, 431, "net.headers_many");
        }
        return false;
    }
    if (p->lines_count == 0 && p->blank_count++ > 0) {
        /* RFC 9112, 2.2: one empty line before a request is forgiven. */
        lk_http_parse_refuse(p, 400, "net.blank_lines");
    }
    return p->lines_count > 0;
}

/* One byte of the head. True when it was the last. */
static bool
head_byte(struct lk_http_parse *p, uint8_t c)
{
    if (p->after_cr) {
        if (c != '\n') {
            lk_http_parse_refuse(p, 400, "net.bare_cr");
            return false;
        }
        return line_end(p);
    }
    if (c == '\r') {
        p->after_cr = true;
        return false;
    }
    if (c == '\n') {
        lk_http_parse_refuse(p, 400, "net.bare_lf");
    } else if (!lk_is_field_char(c)) {
        lk_http_parse_refuse(p, 400, "net.control_character");
    } else if (p->line_len++ == 0 && (c == ' ' || c == '\t')) {
        lk_http_parse_refuse(p, 400, "net.folded_line");
    }
    return false;
}

static size_t
head_feed(struct lk_http_parse *p, const uint8_t *data, size_t len)
{
    size_t room = p->limits->head_max - p->head.len;
    size_t n = 0;
    bool complete = false;
    enum lk_err err;

    while (n < len && n < room && !complete && p->state == LK_PARSE_HEAD) {
        complete = head_byte(p, data[n++]);
    }
    if (p->state != LK_PARSE_HEAD) {
        return n;
    }
    if (!complete && n < len) {
        lk_http_parse_refuse(p, 431, "net.head_large");
        return n;
    }
    if ((err = lk_buf_put(&p->head, data, n)) != LK_OK) {
        lk_http_parse_refuse(p, 503, "net.memory");
    } else if (complete) {
        lk_http_head_parse(p);
    }
    return n;
}

/* ---- the body ----------------------------------------------------------------------------------
 */

static size_t
length_feed(struct lk_http_parse *p, const uint8_t *data, size_t len)
{
    size_t take = p->body_left < len ? (size_t)p->body_left : len;

    if (lk_buf_put(&p->body, data, take) != LK_OK) {
        lk_http_parse_refuse(p, 503, "net.memory");
        return take;
    }
    p->body_left -= take;
    if (p->body_left == 0) {
        p->state = LK_PARSE_DONE;
    }
    return take;
}

static size_t
chunk_feed(struct lk_http_parse *p, const uint8_t *data, size_t len)
{
    size_t used = 0;
    enum lk_err err = lk_chunk_feed(&p->chunk, data, len, &p->body, &used);

    if (err == LK_ERR_LIMIT) {
        lk_http_parse_refuse(p, 413, "net.body_large");
    } else if (err != LK_OK) {
        lk_http_parse_refuse(p, err == LK_ERR_NOMEM ? 503 : 400,
                             err == LK_ERR_NOMEM ? "net.memory" : "net.chunk");
    } else if (p->chunk.state == LK_CHUNK_END) {
        p->state = LK_PARSE_DONE;
    }
    return used;
}

size_t
lk_http_parse_feed(struct lk_http_parse *p, const uint8_t *data, size_t len)
{
    struct lk_reader r = lk_reader_of(data, len);

    while (r.left > 0 && (p->state == LK_PARSE_HEAD || p->state == LK_PARSE_BODY)) {
        const uint8_t *used;
        size_t n = p->state == LK_PARSE_HEAD ? head_feed(p, r.p, r.left)
                   : p->is_chunked           ? chunk_feed(p, r.p, r.left)
                                             : length_feed(p, r.p, r.left);

        if (lk_read_bytes(&r, n, &used) != LK_OK) {
            break;
        }
    }
    return len - r.left;
}
