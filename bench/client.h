/* A small blocking HTTP client, over TLS or plain, for a service that answers with Content-Length.
 */
#ifndef LK_BENCH_CLIENT_H
#define LK_BENCH_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct ssl_st;
struct ssl_ctx_st;

struct target {
    struct sockaddr_in address; /* on the loopback */
    char host[32];              /* for the Host header */
    struct ssl_ctx_st *tls;     /* NULL: plain HTTP */
};

/* 127.0.0.1:port, over TLS 1.3 with full handshakes (nothing is resumed) or plain. */
struct target target_of(unsigned port, bool tls);

#define CLIENT_BUF_CAP 65536u

struct client {
    int fd;
    struct ssl_st *ssl;
    char buf[CLIENT_BUF_CAP]; /* the last answer */
};

struct reply {
    int status;
    const char *body; /* in the client's buffer, until the next exchange; NUL-terminated */
    size_t body_len;
};

/* Connect and shake hands. False when that fails or takes more than ten seconds. */
bool client_open(struct client *c, const struct target *t);

/* Send a request as it is and read its answer. False when the connection broke. */
bool client_exchange(struct client *c, const char *request, size_t len, struct reply *ret);

void client_close(struct client *c);

#endif
