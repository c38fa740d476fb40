#include "client.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "bench.h"

struct target
target_of(unsigned port, bool tls)
{
    struct target t = {.address = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}}};

    (void)snprintf(t.host, sizeof(t.host), "localhost:%u", port);
    if (tls) {
        t.tls = SSL_CTX_new(TLS_client_method());
        must(t.tls != NULL && SSL_CTX_set_min_proto_version(t.tls, TLS1_3_VERSION) == 1,
             "preparing TLS");
        (void)SSL_CTX_set_session_cache_mode(t.tls, SSL_SESS_CACHE_OFF);
    }
    return t;
}

bool
client_open(struct client *c, const struct target *t)
{
    const struct timeval patience = {10, 0};
    const int on = 1;

    c->ssl = NULL;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(c->fd >= 0, "making a socket");
    must(setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
             setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
             setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0,
         "setting up a socket");
    if (connect(c->fd, (const struct sockaddr *)&t->address, sizeof(t->address)) != 0) {
        return false;
    }
    if (t->tls == NULL) {
        return true;
    }
    c->ssl = SSL_new(t->tls);
    must(c->ssl != NULL && SSL_set_fd(c->ssl, c->fd) == 1, "making a session");
    return SSL_connect(c->ssl) == 1;
}

void
client_close(struct client *c)
{
    if (c->ssl != NULL) {
        (void)SSL_shutdown(c->ssl); /* says goodbye, and waits for no answer */
        SSL_free(c->ssl);
    }
    (void)close(c->fd);
}

static bool
send_all(struct client *c, const char *data, size_t len)
{
    size_t written = 0;

    if (c->ssl != NULL) {
        return SSL_write_ex(c->ssl, data, len, &written) == 1 && written == len;
    }
    return send(c->fd, data, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* Some more bytes; 0 at the end or on a failure. */
static size_t
receive(struct client *c, char *buf, size_t cap)
{
    size_t got = 0;
    ssize_t n;

    if (c->ssl != NULL) {
        return SSL_read_ex(c->ssl, buf, cap, &got) == 1 ? got : 0;
    }
    n = recv(c->fd, buf, cap, 0);
    return n > 0 ? (size_t)n : 0;
}

/* Length of the body by the head's Content-Length; 0 without one. */
static size_t
content_length(const char *head, const char *end)
{
    static const char name[] = "content-length:";

    for (const char *line = strstr(head, "\r\n"); line != NULL && line < end;
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, sizeof(name) - 1) == 0) {
            return strtoul(line + 2 + sizeof(name) - 1, NULL, 10);
        }
    }
    return 0;
}

bool
client_exchange(struct client *c, const char *request, size_t len, struct reply *ret)
{
    const char *head_end = NULL;
    size_t have = 0, want = 0;

    if (!send_all(c, request, len)) {
        return false;
    }
    while (head_end == NULL || have < want) {
        size_t got = receive(c, c->buf + have, sizeof(c->buf) - 1 - have);

        if (got == 0) {
            return false;
        }
        have += got;
        c->buf[have] = 0;
        if (head_end == NULL && (head_end = strstr(c->buf, "\r\n\r\n")) != NULL) {
            want = (size_t)(head_end + 4 - c->buf) + content_length(c->buf, head_end);
        }
    }
    if (have != want || sscanf(c->buf, "HTTP/1.1 %3d ", &ret->status) != 1) {
        return false;
    }
    ret->body = head_end + 4;
    ret->body_len = want - (size_t)(ret->body - c->buf);
    return true;
}
