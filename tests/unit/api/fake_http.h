/* A request without a network: what a test puts in, and what the handler answered. */
#ifndef LK_TEST_FAKE_HTTP_H
#define LK_TEST_FAKE_HTTP_H

#include "crypto/crypto.h"
#include "net/http.h"

#define FAKE_HEADERS_MAX 8u

struct fake_header {
    const char *name, *value;
};

struct lk_http_request {
    enum lk_http_method method;
    const char *path, *query, *host;
    struct fake_header headers[FAKE_HEADERS_MAX]; /* ends at a NULL name */
    const void *body;
    size_t body_len;
    const struct lk_part *certs; /* that the peer presented */
    size_t certs_count;

    unsigned answers; /* how often it was answered: once, in the end */
    int status;
    struct lk_buf answer;       /* the body */
    struct lk_buf answer_heads; /* "Name: value\n" each */
};

/* Free what the answer holds, and forget it. */
void fake_http_fini(struct lk_http_request *req);

/* Fail unless req was answered once with status, and its body holds text (NULL: is empty). */
void fake_http_expect(struct lk_http_request *req, int status, const char *text);

/* Fail unless the answer has this header, value and all. */
void fake_http_expect_header(struct lk_http_request *req, const char *line);

#endif
