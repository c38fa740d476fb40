/* The socket that plugins connect to. Who holds the lock beside it owns the path. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "broker/broker_int.h"

#define RETRY_MS 1000
#define BACKLOG 64

static void
accept_ready(void *ctx)
{
    struct lk_lease *l = ctx;
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        l->accepted(l->ctx, fd);
    }
}

/* A listening socket at path, in place of what another process left there; -1 with errno. */
static int
listen_at(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int saved_errno;

    if (fd < 0) {
        return -1;
    }
    /* Nobody can connect before listen(), so the mode may come after bind(). */
    if (lk_strcpy(at.sun_path, sizeof(at.sun_path), path) == LK_OK &&
        (unlink(path) == 0 || errno == ENOENT) &&
        bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 && chmod(path, 0660) == 0 &&
        listen(fd, BACKLOG) == 0) {
        return fd;
    }
    saved_errno = errno;
    (void)close(fd);
    errno = saved_errno;
    return -1;
}

static void
lease_try(void *ctx)
{
    struct lk_lease *l = ctx;
    enum lk_err err;

    if (flock(l->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        lk_timer_arm(l->retry, RETRY_MS);
        return;
    }
    l->listen_fd = listen_at(l->path);
    if (l->listen_fd < 0) {
        lk_log(LK_LOG_ERROR, "broker.listen_failed", LK_F_TEXT("socket", l->path),
               LK_F_TEXT("reason", strerror(errno)));
        lk_timer_arm(l->retry, RETRY_MS);
        return;
    }
    if ((err = lk_watch_new(l->loop, l->listen_fd, accept_ready, l, &l->watch)) != LK_OK) {
        (void)close(l->listen_fd);
        l->listen_fd = -1;
        lk_timer_arm(l->retry, RETRY_MS);
        return;
    }
    lk_log(LK_LOG_INFO, "broker.listening", LK_F_TEXT("socket", l->path));
}

enum lk_err
lk_lease_init(struct lk_lease *l, struct lk_loop *loop, const char *path,
              void (*accepted)(void *ctx, int fd), void *ctx, char error[LK_BROKER_ERROR_CAP])
{
    enum lk_err err;

    *l = (struct lk_lease){
        .loop = loop, .lock_fd = -1, .listen_fd = -1, .accepted = accepted, .ctx = ctx};
    if (lk_strcpy(l->path, sizeof(l->path), path) != LK_OK) {
        (void)snprintf(error, LK_BROKER_ERROR_CAP, "mqtt-socket: expected at most %zu bytes",
                       sizeof(l->path) - 1);
        return LK_ERR_CONFIG;
    }
    (void)snprintf(l->lock_path, sizeof(l->lock_path), "%s.lock", l->path);
    l->lock_fd = open(l->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->lock_fd < 0) {
        (void)snprintf(error, LK_BROKER_ERROR_CAP, "mqtt-socket: cannot make %s: %s", l->lock_path,
                       strerror(errno));
        return LK_ERR_IO;
    }
    if ((err = lk_timer_new(loop, lease_try, l, &l->retry)) != LK_OK) {
        return err;
    }
    lease_try(l);
    if (l->listen_fd < 0) {
        lk_log(LK_LOG_INFO, "broker.waiting", LK_F_TEXT("socket", l->path),
               LK_F_TEXT("reason", "another service holds it"));
    }
    return LK_OK;
}

void
lk_lease_fini(struct lk_lease *l)
{
    lk_timer_free(lk_timer_take(&l->retry));
    lk_watch_free(lk_watch_take(&l->watch));
    if (l->listen_fd >= 0) {
        (void)unlink(l->path); /* while the lock is held, so it is ours */
        (void)close(l->listen_fd);
        l->listen_fd = -1;
    }
    if (l->lock_fd >= 0) {
        (void)close(l->lock_fd);
        l->lock_fd = -1;
    }
}
