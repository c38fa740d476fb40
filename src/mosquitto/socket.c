#include "mosquitto/socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_PIECE ((size_t)16 * 1024) /* bytes */
#define IN_MAX (LK_PLUG_FRAME_MAX + LK_PLUG_HEAD_LEN + READ_PIECE)

int
lk_plug_connect(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd, saved_errno;

    if (lk_strcpy(to.sun_path, sizeof(to.sun_path), path) != LK_OK) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0) {
        return fd;
    }
    saved_errno = errno;
    (void)close(fd);
    errno = saved_errno;
    return -1;
}

enum lk_err
lk_plug_hello(const struct lk_plug_peer *peer, unsigned kind, uint64_t mark, struct lk_buf *ret)
{
    struct lk_plug_msg hello = {
        .type = LK_PLUG_HELLO, .serial = LK_PLUG_VERSION, .flags = kind, .number = mark};

    memcpy(hello.hub, peer->hub, sizeof(hello.hub));
    memcpy(hello.tag, peer->boot, sizeof(hello.tag));
    return lk_plug_write(&hello, ret);
}

enum lk_err
lk_plug_receive(int fd, struct lk_buf *in)
{
    uint8_t piece[READ_PIECE];

    while (in->len <= IN_MAX - READ_PIECE) {
        ssize_t got = recv(fd, piece, sizeof(piece), 0);
        enum lk_err err;

        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return LK_OK;
        }
        if (got <= 0) {
            return LK_ERR_NETWORK;
        }
        if ((err = lk_buf_put(in, piece, (size_t)got)) != LK_OK) {
            return err;
        }
        if ((size_t)got < sizeof(piece)) {
            return LK_OK;
        }
    }
    return LK_OK;
}
