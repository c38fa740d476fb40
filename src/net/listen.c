#include "net/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/codec.h"

#define HOST_CAP 256u
#define BACKLOG 4096 /* connections; the kernel caps it at net.core.somaxconn */

struct place {
    char host[HOST_CAP]; /* "" for every address */
    char port[6];
};

static void
explain(char error[LK_HTTP_ERROR_CAP], const char *text, const char *what)
{
    if (error != NULL) {
        (void)snprintf(error, LK_HTTP_ERROR_CAP, "%s: %s", text, what);
    }
}

static enum lk_err
place_parse(const char *text, struct place *ret)
{
    const char *colon = strrchr(text, ':');
    size_t host_len = colon == NULL ? 0 : (size_t)(colon - text);
    bool bracketed = host_len >= 2 && text[0] == '[' && text[host_len - 1] == ']';
    const char *host = bracketed ? text + 1 : text;
    uint64_t port;

    host_len -= bracketed ? 2 : 0;
    if (colon == NULL || host_len >= HOST_CAP ||
        (!bracketed && memchr(host, ':', host_len) != NULL) ||
        lk_decimal_parse(colon + 1, strlen(colon + 1), &port) != LK_OK || port > UINT16_MAX ||
        lk_strcpy(ret->port, sizeof(ret->port), colon + 1) != LK_OK) {
        return LK_ERR_CONFIG;
    }
    memcpy(ret->host, host, host_len);
    ret->host[host_len] = '\0';
    return LK_OK;
}

static bool
options_set(int fd, const struct addrinfo *a, bool reuse_port, bool both_families)
{
    const int on = 1, off = 0;

    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
           (!reuse_port || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
           /* Accepted sockets inherit it, which saves a call for each. */
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
           (a->ai_family != AF_INET6 ||
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, both_families ? &off : &on, sizeof(on)) == 0);
}

/* A listening descriptor, or -1 with errno. */
static int
listen_at(const struct addrinfo *a, bool reuse_port, bool both_families)
{
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    int saved_errno;

    if (fd < 0) {
        return -1;
    }
    if (options_set(fd, a, reuse_port, both_families) && bind(fd, a->ai_addr, a->ai_addrlen) == 0 &&
        listen(fd, BACKLOG) == 0) {
        return fd;
    }
    saved_errno = errno;
    (void)close(fd);
    errno = saved_errno;
    return -1;
}

/* Every address is one IPv6 socket that takes IPv4 too, where the machine has IPv6. */
static int
listen_any_of(const struct addrinfo *all, bool reuse_port, bool both_families)
{
    const int families[] = {AF_INET6, AF_INET};
    int fd = -1;

    for (size_t i = 0; both_families && i < LK_ARRAY_LEN(families) && fd < 0; i++) {
        for (const struct addrinfo *a = all; a != NULL && fd < 0; a = a->ai_next) {
            fd = a->ai_family == families[i] ? listen_at(a, reuse_port, true) : -1;
        }
    }
    /* A name's next address is tried where the machine lacks the family of the first, and not where
     * another process listens: that would be a second service that nobody asks. */
    for (const struct addrinfo *a = all; !both_families && a != NULL && fd < 0; a = a->ai_next) {
        fd = listen_at(a, reuse_port, false);
        if (fd < 0 && errno == EADDRINUSE) {
            return fd;
        }
    }
    return fd;
}

enum lk_err
lk_listen(const char *text, bool reuse_port, char error[LK_HTTP_ERROR_CAP], int *ret)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *all = NULL;
    struct place place;
    int fd, gai;

    if (text == NULL || place_parse(text, &place) != LK_OK) {
        explain(error, text != NULL ? text : "listen", "expected \"host:port\" or \"[v6]:port\"");
        return LK_ERR_CONFIG;
    }
    gai = getaddrinfo(place.host[0] != '\0' ? place.host : NULL, place.port, &hints, &all);
    if (gai != 0) {
        explain(error, text, gai_strerror(gai));
        return LK_ERR_CONFIG;
    }
    fd = listen_any_of(all, reuse_port, place.host[0] == '\0');
    if (fd < 0) {
        explain(error, text, strerror(errno));
    }
    freeaddrinfo(all);
    *ret = fd >= 0 ? fd : *ret;
    return fd >= 0 ? LK_OK : LK_ERR_IO;
}

uint16_t
lk_listen_port(int fd)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof(bound);

    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0) {
        return 0;
    }
    return ntohs(bound.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&bound)->sin6_port
                                             : ((const struct sockaddr_in *)&bound)->sin_port);
}
