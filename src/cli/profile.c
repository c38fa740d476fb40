#include "cli/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/codec.h"

struct reading {
    const char *file;
    unsigned line;
    const char *wanted;
    char *error;
    bool inside; /* the section of the profile that is wanted */
    bool found, has_connection, in_section;
    struct lk_profile *ret;
};

static enum lk_err __attribute__((format(printf, 3, 4)))
fail(struct reading *r, enum lk_err err, const char *fmt, ...)
{
    char text[LK_PROFILE_ERROR_CAP];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (r->line > 0) {
        (void)snprintf(r->error, LK_PROFILE_ERROR_CAP, "%.120s:%u: %.160s", r->file, r->line, text);
    } else {
        (void)snprintf(r->error, LK_PROFILE_ERROR_CAP, "%.120s: %.160s", r->file, text);
    }
    return err;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static bool
name_ok(const char *text, size_t len)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

    for (size_t i = 0; i < len; i++) {
        if (memchr(allowed, text[i], strlen(allowed)) == NULL) {
            return false;
        }
    }
    return len > 0 && len <= LK_PROFILE_NAME_MAX;
}

static enum lk_err
section_read(struct reading *r, const char *line, size_t len)
{
    const char *name = line + 1;
    size_t name_len = len - 1;

    if (line[len - 1] != ']') {
        return fail(r, LK_ERR_FORMAT, "expected [name]");
    }
    name_len--;
    lk_trim(&name, &name_len);
    if (!name_ok(name, name_len)) {
        return fail(r, LK_ERR_FORMAT, "expected [name] with at most %u letters, digits and - _ .",
                    LK_PROFILE_NAME_MAX);
    }
    r->in_section = true;
    r->inside = strlen(r->wanted) == name_len && memcmp(r->wanted, name, name_len) == 0;
    if (r->inside && r->found) {
        return fail(r, LK_ERR_FORMAT, "the profile %s is there twice", r->wanted);
    }
    r->found = r->found || r->inside;
    return LK_OK;
}

static enum lk_err
connection_take(struct reading *r, const char *value, size_t len)
{
    char error[LK_SVC_CONNECTION_ERROR_CAP] = "";
    enum lk_err err;

    if (!r->inside) {
        return LK_OK;
    }
    if (r->has_connection) {
        return fail(r, LK_ERR_FORMAT, "connection-string is set again");
    }
    r->has_connection = true;
    err =
        lk_svc_connection_parse(LK_SVC_CONNECTION_SERVICE, value, len, error, &r->ret->connection);
    return err == LK_OK || err == LK_ERR_NOMEM
               ? err
               : fail(r, LK_ERR_FORMAT, "connection-string: %s", error);
}

static enum lk_err
ca_file_take(struct reading *r, const char *value, size_t len)
{
    if (!r->inside) {
        return LK_OK;
    }
    if (r->ret->ca_file[0] != '\0') {
        return fail(r, LK_ERR_FORMAT, "ca-file is set again");
    }
    if (len == 0 || len >= sizeof(r->ret->ca_file) || memchr(value, 0, len) != NULL) {
        return fail(r, LK_ERR_FORMAT, "ca-file: expected the name of a file");
    }
    memcpy(r->ret->ca_file, value, len);
    r->ret->ca_file[len] = '\0';
    return LK_OK;
}

/* "key = value". Keys are checked in every profile: a mistake should not wait for its day. */
static enum lk_err
setting_read(struct reading *r, const char *line, size_t len)
{
    static const char connection[] = "connection-string", ca_file[] = "ca-file";
    const char *equals = memchr(line, '=', len), *key = line, *value;
    size_t key_len, value_len;

    if (equals == NULL || !r->in_section) {
        return fail(r, LK_ERR_FORMAT, "expected %s",
                    equals == NULL ? "\"key = value\" or [name]" : "[name] before the first key");
    }
    key_len = (size_t)(equals - line);
    lk_trim(&key, &key_len);
    value = equals + 1;
    value_len = len - (size_t)(value - line);
    lk_trim(&value, &value_len);
    if (key_len == strlen(connection) && memcmp(key, connection, key_len) == 0) {
        return connection_take(r, value, value_len);
    }
    if (key_len == strlen(ca_file) && memcmp(key, ca_file, key_len) == 0) {
        return ca_file_take(r, value, value_len);
    }
    return fail(r, LK_ERR_FORMAT, "expected one of the keys connection-string and ca-file");
}

static enum lk_err
line_read(struct reading *r, const char *line, size_t len)
{
    lk_trim(&line, &len);
    if (len == 0 || line[0] == '#') {
        return LK_OK;
    }
    return line[0] == '[' ? section_read(r, line, len) : setting_read(r, line, len);
}

static enum lk_err
lines_read(struct reading *r, const char *text, size_t len)
{
    static const char mark[] = "\xef\xbb\xbf"; /* that some editors begin a file with */
    enum lk_err err;

    if (len >= strlen(mark) && memcmp(text, mark, strlen(mark)) == 0) {
        text += strlen(mark);
        len -= strlen(mark);
    }
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line_len = end == NULL ? len : (size_t)(end - text);
        size_t used = end == NULL ? len : line_len + 1;

        r->line++;
        if ((err = line_read(r, text, line_len)) != LK_OK) {
            return err;
        }
        text += used;
        len -= used;
    }
    r->line = 0;
    return LK_OK;
}

static void
profile_wipe(struct lk_profile *p)
{
    lk_svc_connection_wipe(&p->connection);
}

enum lk_err
lk_profile_parse(const char *file, const char *text, size_t len, const char *name,
                 char error[LK_PROFILE_ERROR_CAP], struct lk_profile *ret)
{
    __attribute__((cleanup(profile_wipe))) struct lk_profile p = {.ca_file = ""};
    struct reading r = {.file = file, .wanted = name, .error = error, .ret = &p};
    enum lk_err err;

    if (len > LK_PROFILE_FILE_MAX) {
        return fail(&r, LK_ERR_FORMAT, "expected at most %zu bytes", LK_PROFILE_FILE_MAX);
    }
    if ((err = lines_read(&r, text, len)) != LK_OK) {
        return err;
    }
    if (!r.found) {
        return fail(&r, LK_ERR_NOT_FOUND, "there is no profile [%s]",
                    name_ok(name, strlen(name)) ? name : "...");
    }
    if (!r.has_connection) {
        return fail(&r, LK_ERR_FORMAT, "the profile [%s] has no connection-string", name);
    }
    *ret = p;
    return LK_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

enum lk_err
lk_profile_path(char ret[LK_PROFILE_PATH_CAP])
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n;

    if (config != NULL && config[0] == '/') {
        n = snprintf(ret, LK_PROFILE_PATH_CAP, "%s/latchkey/profiles.conf", config);
    } else if (home != NULL && home[0] == '/') {
        n = snprintf(ret, LK_PROFILE_PATH_CAP, "%s/.config/latchkey/profiles.conf", home);
    } else {
        return LK_ERR_NOT_FOUND;
    }
    return n > 0 && (size_t)n < LK_PROFILE_PATH_CAP ? LK_OK : LK_ERR_LIMIT;
}

/* A key that others can read is not a secret any more. */
static enum lk_err
file_judge(struct reading *r, int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return fail(r, LK_ERR_IO, "%s", strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(r, LK_ERR_REFUSED, "expected a regular file");
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        return fail(r, LK_ERR_REFUSED, "it belongs to another user");
    }
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return fail(r, LK_ERR_REFUSED,
                    "others may read it (mode %04o), and it holds keys: chmod 600",
                    (unsigned)st.st_mode & 07777u);
    }
    return LK_OK;
}

static enum lk_err
file_read(struct reading *r, int fd, struct lk_buf *ret)
{
    ssize_t n = 1;

    ret->max = LK_PROFILE_FILE_MAX + 4096;
    while (n > 0 && ret->len <= LK_PROFILE_FILE_MAX) {
        uint8_t *to = lk_buf_extend(ret, 4096);

        if (to == NULL) {
            return fail(r, LK_ERR_NOMEM, "%s", lk_err_text(LK_ERR_NOMEM));
        }
        while ((n = read(fd, to, 4096)) < 0 && errno == EINTR) {
            continue;
        }
        ret->len -= n > 0 ? 4096 - (size_t)n : 4096;
    }
    return n < 0 ? fail(r, LK_ERR_IO, "%s", strerror(errno)) : LK_OK;
}

/* A relative ca-file is found beside the file of profiles. */
static enum lk_err
ca_file_place(struct reading *r, const char *path, struct lk_profile *p)
{
    const char *slash = strrchr(path, '/');
    char name[LK_PROFILE_PATH_CAP];
    int n;

    if (p->ca_file[0] == '\0' || p->ca_file[0] == '/' || slash == NULL) {
        return LK_OK;
    }
    memcpy(name, p->ca_file, sizeof(name));
    n = snprintf(p->ca_file, sizeof(p->ca_file), "%.*s/%s", (int)(slash - path), path, name);
    return n > 0 && (size_t)n < sizeof(p->ca_file)
               ? LK_OK
               : fail(r, LK_ERR_FORMAT, "ca-file: the name is too long");
}

enum lk_err
lk_profile_load(const char *path, const char *name, char error[LK_PROFILE_ERROR_CAP],
                struct lk_profile *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct reading r = {.file = path, .error = error};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum lk_err err;

    if (fd < 0) {
        return fail(&r, errno == ENOENT ? LK_ERR_NOT_FOUND : LK_ERR_IO, "%s", strerror(errno));
    }
    if ((err = file_judge(&r, fd)) == LK_OK) {
        err = file_read(&r, fd, &text);
    }
    (void)close(fd); /* it was only read */
    if (err != LK_OK ||
        (err = lk_profile_parse(path, text.data == NULL ? "" : (const char *)text.data, text.len,
                                name, error, ret)) != LK_OK) {
        return err;
    }
    return ca_file_place(&r, path, ret);
}
