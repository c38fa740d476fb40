/* The files of `latchkey init`. */
#include "cli/init_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/options.h"

static void
fd_drop(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* what was written has been synced */
    }
}
#define AUTO_FD __attribute__((cleanup(fd_drop)))

static int
fail_io(const char *what, const char *path)
{
    int saved_errno = errno;
    char shown[LK_CLI_SHOWN_CAP];

    (void)lk_cli_shown(path, shown);
    errno = saved_errno;
    return lk_cli_fail(errno == EEXIST ? LK_ERR_EXISTS : LK_ERR_IO, "cannot %s %s", what, shown);
}

static int
too_long(const char *path)
{
    char shown[LK_CLI_SHOWN_CAP];

    return lk_cli_fail(LK_ERR_LIMIT, "cannot use the name %s", lk_cli_shown(path, shown));
}

int
lk_init_files_made(struct lk_init_files *f, const char *path)
{
    if (f->made_count == LK_INIT_FILES_MAX ||
        lk_strcpy(f->made[f->made_count], sizeof(f->made[0]), path) != LK_OK) {
        return too_long(path);
    }
    f->made_count++;
    return 0;
}

int
lk_init_files_mkdir(struct lk_init_files *f, const char *path, mode_t mode)
{
    if (mkdir(path, mode) != 0) {
        return fail_io("make the folder", path);
    }
    return lk_init_files_made(f, path);
}

int
lk_init_files_path(const struct lk_init_files *f, const char *name, char ret[LK_CONFIG_TEXT_CAP])
{
    int n = snprintf(ret, LK_CONFIG_TEXT_CAP, "%s/%s", f->dir, name);

    return n > 0 && (size_t)n < LK_CONFIG_TEXT_CAP ? 0 : too_long(f->dir);
}

/* ---- the folder ------------------------------------------------------------------------------ */

static bool
is_empty(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    size_t count = 0;

    if (dir == NULL) {
        return false;
    }
    while ((entry = readdir(dir)) != NULL) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    (void)closedir(dir);
    return count == 0;
}

/* From here on root works as the folder's owner, whom the files have to belong to. */
static int
owner_become(struct lk_init_files *f, const struct stat *st)
{
    f->uid = geteuid();
    f->gid = getegid();
    if (f->uid != 0 || st->st_uid == 0) {
        return 0;
    }
    if (setegid(st->st_gid) != 0 || seteuid(st->st_uid) != 0) {
        return fail_io("work as the owner of", f->dir);
    }
    return 0;
}

static void
owner_leave(const struct lk_init_files *f)
{
    if (geteuid() != f->uid && (seteuid(f->uid) != 0 || setegid(f->gid) != 0)) {
        abort(); /* a process that was root may always return */
    }
}

static int
dir_take_over(struct lk_init_files *f, const char *path)
{
    char shown[LK_CLI_SHOWN_CAP];
    struct stat st;
    int code;

    if (stat(path, &st) != 0) {
        return fail_io("use", path);
    }
    if (!S_ISDIR(st.st_mode) || !is_empty(path)) {
        lk_cli_note("%s is there and is no empty folder; nothing is overwritten",
                    lk_cli_shown(path, shown));
        return lk_err_exit_code(LK_ERR_EXISTS);
    }
    if ((code = owner_become(f, &st)) != 0) {
        return code;
    }
    f->mode = st.st_mode & 07777;
    if ((f->mode & 077) != 0) {
        if (chmod(path, 0700) != 0) {
            return fail_io("take the rights of others from", path);
        }
        f->mode_changed = true;
    }
    return 0;
}

static int
dir_begin(struct lk_init_files *f, const char *path)
{
    char full[PATH_MAX];
    bool made = mkdir(path, 0700) == 0;
    int code;

    f->uid = geteuid();
    f->gid = getegid();
    if (!made && errno != EEXIST) {
        return fail_io("make the folder", path);
    }
    if (made && (code = lk_init_files_made(f, path)) != 0) {
        (void)rmdir(path); /* it is empty */
        return code;
    }
    if (!made && (code = dir_take_over(f, path)) != 0) {
        return code;
    }
    if (realpath(path, full) == NULL) {
        return fail_io("find", path);
    }
    return lk_strcpy(f->dir, sizeof(f->dir), full) == LK_OK ? 0 : too_long(path);
}

/* ---- the configuration file ------------------------------------------------------------------ */

/* The folder of a file, or "." */
static enum lk_err
parent_of(const char *path, char ret[LK_CONFIG_TEXT_CAP])
{
    const char *slash = strrchr(path, '/');

    if (lk_strcpy(ret, LK_CONFIG_TEXT_CAP, slash == NULL ? "." : path) != LK_OK) {
        return LK_ERR_LIMIT;
    }
    if (slash != NULL) {
        ret[slash == path ? 1 : slash - path] = '\0';
    }
    return LK_OK;
}

static int
config_begin(struct lk_init_files *f, const char *given)
{
    char parent[LK_CONFIG_TEXT_CAP], full[PATH_MAX];
    const char *name;
    struct stat st;
    int code, n;

    if (given == NULL) {
        return lk_init_files_path(f, "latchkeyd.conf", f->config);
    }
    if (parent_of(given, parent) != LK_OK) {
        return too_long(given);
    }
    if (lstat(given, &st) == 0) {
        errno = EEXIST;
        return fail_io("write", given);
    }
    /* Made as whoever called, like the file itself: /etc is not the service's. */
    owner_leave(f);
    code = stat(parent, &st) == 0 ? 0 : lk_init_files_mkdir(f, parent, 0755);
    if (code != 0 || realpath(parent, full) == NULL) {
        return code != 0 ? code : fail_io("find", parent);
    }
    name = strrchr(given, '/') != NULL ? strrchr(given, '/') + 1 : given;
    n = snprintf(f->config, sizeof(f->config), "%s/%s", strcmp(full, "/") == 0 ? "" : full, name);
    if (name[0] == '\0' || n < 0 || (size_t)n >= sizeof(f->config)) {
        return too_long(given);
    }
    return stat(f->dir, &st) == 0 ? owner_become(f, &st) : fail_io("find", f->dir);
}

static enum lk_err
file_write(int fd, const struct lk_buf *text)
{
    for (size_t done = 0; done < text->len;) {
        ssize_t n = write(fd, text->data + done, text->len - done);

        if (n < 0 && errno != EINTR) {
            return LK_ERR_IO;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0 ? LK_OK : LK_ERR_IO;
}

/* A file survives a power cut only when its folder's entry does. */
static enum lk_err
dir_sync(const char *path)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && fsync(fd) == 0 ? LK_OK : LK_ERR_IO;
}

static bool
is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return strncmp(path, dir, len) == 0 && path[len] == '/';
}

int
lk_init_files_finish(struct lk_init_files *f, const struct lk_buf *config_text)
{
    char parent[LK_CONFIG_TEXT_CAP];
    AUTO_FD int fd = -1;
    int code;

    if (!is_below(f->config, f->dir)) {
        owner_leave(f);
    }
    fd = open(f->config, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return fail_io("write", f->config);
    }
    if ((code = lk_init_files_made(f, f->config)) != 0) {
        (void)unlink(f->config); /* it is empty */
        return code;
    }
    if (parent_of(f->config, parent) != LK_OK || file_write(fd, config_text) != LK_OK ||
        dir_sync(parent) != LK_OK || dir_sync(f->dir) != LK_OK) {
        return fail_io("write", f->config);
    }
    f->finished = true;
    return 0;
}

/* ---- begin and end --------------------------------------------------------------------------- */

static int
absolute(const char *path, char ret[LK_CONFIG_TEXT_CAP])
{
    char full[PATH_MAX];

    if (realpath(path, full) == NULL) {
        return fail_io("find", path);
    }
    return lk_strcpy(ret, LK_CONFIG_TEXT_CAP, full) == LK_OK ? 0 : too_long(path);
}

int
lk_init_files_tls(struct lk_init_files *f, const char *cert, const char *key)
{
    int code;

    if (cert == NULL || key == NULL) {
        return 0;
    }
    if ((code = absolute(cert, f->cert_path)) != 0 || (code = absolute(key, f->key_path)) != 0) {
        return code;
    }
    f->tls_cert = f->cert_path;
    f->tls_key = f->key_path;
    return 0;
}

int
lk_init_files_begin(struct lk_init_files *f, const char *dir, const char *config)
{
    sigset_t block;
    int code;

    (void)sigemptyset(&block); /* these only fail for a bad signal number */
    (void)sigaddset(&block, SIGINT);
    (void)sigaddset(&block, SIGTERM);
    (void)sigaddset(&block, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &block, &f->signals);
    f->begun = true;
    code = dir_begin(f, dir);
    return code != 0 ? code : config_begin(f, config);
}

void
lk_init_files_undo(struct lk_init_files *f)
{
    if (!f->begun) {
        return;
    }
    owner_leave(f);
    for (size_t i = f->made_count; !f->finished && i > 0; i--) {
        (void)remove(f->made[i - 1]); /* what is not there need not go */
    }
    if (!f->finished && f->mode_changed) {
        (void)chmod(f->dir, f->mode);
    }
    (void)sigprocmask(SIG_SETMASK, &f->signals, NULL);
    f->begun = false;
}
