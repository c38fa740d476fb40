/*
 * The chunked transfer coding (RFC 9112, 7.1), strictly: http_parser as Debian builds it takes any
 * two bytes for the CRLF after a chunk, which is how a proxy and a server come to disagree.
 */
#ifndef LK_NET_CHUNK_H
#define LK_NET_CHUNK_H

#include "base/buf.h"

#define LK_CHUNK_SIDE_MAX 4096u /* bytes of extensions and trailers of one body, all dropped */

/* size -> [extension] -> LF -> data -> CR -> LF -> size ...; size 0 -> trailer lines -> end */
enum lk_chunk_state {
    LK_CHUNK_SIZE,
    LK_CHUNK_EXTENSION,
    LK_CHUNK_SIZE_LF,
    LK_CHUNK_DATA,
    LK_CHUNK_DATA_CR,
    LK_CHUNK_DATA_LF,
    LK_CHUNK_TRAILER_START,
    LK_CHUNK_TRAILER_NAME,
    LK_CHUNK_TRAILER_VALUE,
    LK_CHUNK_TRAILER_LF,
    LK_CHUNK_END_LF,
    LK_CHUNK_END
};

/* Zeros are the start of a body. */
struct lk_chunk {
    enum lk_chunk_state state;
    unsigned digits; /* of the size being read */
    uint32_t left;   /* bytes of data that the current chunk still has */
    size_t side;     /* bytes of extensions and trailers so far */
};

/*
 * Decode bytes of a body and append its data to body, whose max is the limit of the whole. Ends
 * early, with fewer bytes used, when the body is complete (LK_CHUNK_END).
 *
 *   LK_ERR_FORMAT  not the coding
 *   LK_ERR_LIMIT   more data than body->max, known from the chunk's size already, or too much
 * beside LK_ERR_NOMEM
 */
LK_MUST_CHECK enum lk_err lk_chunk_feed(struct lk_chunk *c, const uint8_t *data, size_t len,
                                        struct lk_buf *body, size_t *ret_used);

#endif
