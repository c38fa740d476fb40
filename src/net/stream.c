#include "net/net_int.h"

#include <errno.h>

static enum lk_tls_io
socket_io(ssize_t n, enum lk_tls_io would_block, size_t *ret_len)
{
    if (n > 0) {
        *ret_len = (size_t)n;
        return LK_TLS_DONE;
    }
    if (n == 0) {
        return LK_TLS_CLOSED;
    }
    return errno == EAGAIN || errno == EINTR ? would_block : LK_TLS_FAILED;
}

enum lk_tls_io
lk_stream_read(struct lk_conn *c, void *buf, size_t cap, size_t *ret_len)
{
    return c->ssl != NULL ? lk_tls_read(c->ssl, buf, cap, ret_len)
                          : socket_io(recv(c->fd, buf, cap, 0), LK_TLS_WANT_READ, ret_len);
}

enum lk_tls_io
lk_stream_write(struct lk_conn *c, const void *data, size_t len, size_t *ret_len)
{
    return c->ssl != NULL
               ? lk_tls_write(c->ssl, data, len, ret_len)
               : socket_io(send(c->fd, data, len, MSG_NOSIGNAL), LK_TLS_WANT_WRITE, ret_len);
}

bool
lk_stream_buffered(const struct lk_conn *c)
{
    return c->ssl != NULL && lk_tls_buffered(c->ssl);
}
