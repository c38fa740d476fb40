/* Reading a manifest from a file or a pipe, until the end or Ctrl-C. */
#include "cli/manifest_input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

void
lk_cli_input_close(struct lk_cli_input *in)
{
    if (in->fd > STDIN_FILENO) {
        (void)close(in->fd); /* read only, or a copy: nothing is lost */
    }
    if (in->signals >= 0) {
        (void)close(in->signals);
    }
}

/* Ends what was begun in good order. Before there is a second thread, which shall not get them. */
static enum lk_err
signals_open(struct lk_cli_input *in)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return LK_ERR_IO;
    }
    in->signals = signalfd(-1, &set, SFD_CLOEXEC);
    return in->signals < 0 ? LK_ERR_IO : LK_OK;
}

enum lk_err
lk_cli_input_read(void *ctx, void *buf, size_t cap, size_t *ret_len)
{
    struct lk_cli_input *in = (struct lk_cli_input *)ctx;
    struct pollfd fds[] = {{.fd = in->signals, .events = POLLIN}, {.fd = in->fd, .events = POLLIN}};
    ssize_t n;

    while (poll(fds, LK_ARRAY_LEN(fds), -1) < 0) {
        if (errno != EINTR) {
            return LK_ERR_IO;
        }
    }
    if (fds[0].revents != 0) {
        return LK_ERR_CANCELLED;
    }
    do {
        n = read(in->fd, buf, cap);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return LK_ERR_IO;
    }
    in->read_len += n;
    *ret_len = (size_t)n;
    return LK_OK;
}

enum lk_err
lk_cli_input_rewind(struct lk_cli_input *in)
{
    in->read_len = 0;
    return lseek(in->fd, 0, SEEK_SET) == 0 ? LK_OK : LK_ERR_IO;
}

/* ---- pipes ----------------------------------------------------------------------------------- */

static int
spool_open(void)
{
    const char *dir = getenv("TMPDIR");

    return open(dir != NULL && dir[0] != '\0' ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC,
                S_IRUSR | S_IWUSR);
}

static enum lk_err
all_write(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR) {
            return LK_ERR_IO;
        }
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return LK_OK;
}

/* Put a copy in the place of what cannot be read twice. */
static enum lk_err
spool(struct lk_cli_input *in)
{
    char buf[65536];
    int copy = spool_open();
    size_t len = 0;
    enum lk_err err = copy < 0 ? LK_ERR_IO : LK_OK;

    do {
        if (err == LK_OK && (err = lk_cli_input_read(in, buf, sizeof(buf), &len)) == LK_OK) {
            err = all_write(copy, buf, len);
        }
    } while (err == LK_OK && len > 0);
    if (in->fd > STDIN_FILENO) {
        (void)close(in->fd);
    }
    in->fd = copy;
    return err;
}

enum lk_err
lk_cli_input_open(const char *path, struct lk_cli_input *ret)
{
    struct stat st;
    enum lk_err err;

    ret->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (ret->fd < 0 || fstat(ret->fd, &st) != 0 || signals_open(ret) != LK_OK) {
        return LK_ERR_IO;
    }
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return LK_ERR_IO;
    }
    if (!S_ISREG(st.st_mode) || lseek(ret->fd, 0, SEEK_CUR) != 0) {
        if ((err = spool(ret)) != LK_OK) {
            return err;
        }
        if (fstat(ret->fd, &st) != 0) {
            return LK_ERR_IO;
        }
    }
    ret->size = st.st_size;
    return lk_cli_input_rewind(ret);
}

/* ---- its form -------------------------------------------------------------------------------- */

static bool
ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

enum lk_manifest_format
lk_cli_input_format(const char *path, const struct lk_cli_input *in)
{
    static const char skipped[] = " \t\r\n\xef\xbb\xbf";
    char first[4096];
    ssize_t len, at = 0;

    if (ends_with(path, ".csv")) {
        return LK_MANIFEST_CSV;
    }
    if (ends_with(path, ".jsonl") || ends_with(path, ".ndjson")) {
        return LK_MANIFEST_JSONL;
    }
    len = pread(in->fd, first, sizeof(first), 0);
    while (at < len && first[at] != '\0' && strchr(skipped, first[at]) != NULL) {
        at++;
    }
    return at < len && first[at] == '{' ? LK_MANIFEST_JSONL : LK_MANIFEST_CSV;
}
