/*
 * One HTTP/1.x request from bytes: no sockets, no clock. It is strict where leniency lets two
 * parties disagree on where a request ends (RFC 9112, 11.2): what is not plainly one request is
 * refused with a status and a reason for the log.
 */
#ifndef LK_NET_PARSE_H
#define LK_NET_PARSE_H

#include "net/chunk.h"
#include "net/http.h"

#define LK_HTTP_HOST_CAP 256u /* bytes of a host name or address literal with its NUL */

/* head -> [body] -> done, or refused at any point. */
enum lk_http_parse_state { LK_PARSE_HEAD, LK_PARSE_BODY, LK_PARSE_DONE, LK_PARSE_REFUSED };

struct lk_http_header {
    const char *name, *value; /* in head, NUL-terminated; the value without white space around it */
    size_t name_len;
};

struct lk_http_parse {
    const struct lk_http_limits *limits; /* borrowed; none of its members is zero */
    lk_http_body_max_fn body_max;        /* NULL after init: limits->body_max for all */
    void *ctx;                           /* of body_max */
    enum lk_http_parse_state state;

    /* LK_PARSE_REFUSED: what to answer, and the reason's stable name. Static storage. */
    int status;
    const char *reason;

    struct lk_buf head; /* as received; once complete, cut into strings in place */
    bool after_cr;
    uint32_t line_len, lines_count, blank_count;

    enum lk_http_method method;
    const char *method_name, *path, *query;
    char host[LK_HTTP_HOST_CAP];
    struct lk_http_header *headers; /* owned */
    size_t headers_count;
    bool is_http_1_0, keep_alive, expects_continue;

    bool is_chunked;
    struct lk_chunk chunk;
    uint64_t body_left; /* bytes, when not chunked */
    struct lk_buf body;
};

void lk_http_parse_init(struct lk_http_parse *p, const struct lk_http_limits *limits);
void lk_http_parse_fini(struct lk_http_parse *p);

/* Take bytes of the request; returns how many. Fewer than len only when done or refused. */
size_t lk_http_parse_feed(struct lk_http_parse *p, const uint8_t *data, size_t len);

#endif
