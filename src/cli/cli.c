/* Usage errors, exit codes, secrets and output: what every subcommand needs. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/json.h"

static void
table_print(const struct lk_command *table, const char *path, FILE *out)
{
    (void)fprintf(out, "usage: %s <command> [options]\n\ncommands:\n", path);
    for (const struct lk_command *c = table; c->name != NULL; c++) {
        if (c->help != NULL) {
            (void)fprintf(out, "  %-15s %s\n", c->name, c->help);
        }
    }
    (void)fprintf(out, "\n%s <command> --help tells more about each.\n", path);
}

int
lk_cli_dispatch(const struct lk_command *table, const char *path, int argc, char **argv)
{
    if (argc < 2) {
        table_print(table, path, stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        table_print(table, path, stdout);
        return lk_cli_finish(0);
    }
    for (const struct lk_command *c = table; c->name != NULL; c++) {
        if (strcmp(argv[1], c->name) == 0) {
            return lk_cli_finish(c->run(argc - 1, argv + 1));
        }
    }
    (void)fprintf(stderr, "latchkey: no command \"%s\"\n", argv[1]);
    table_print(table, path, stderr);
    return EX_USAGE;
}

int
lk_cli_usage(const char *usage, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)fputs("latchkey: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "\nusage: %s\n", usage);
    return EX_USAGE;
}

int
lk_cli_fail(enum lk_err err, const char *fmt, ...)
{
    int saved_errno = errno;
    va_list ap;

    va_start(ap, fmt);
    (void)fputs("latchkey: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    if (err == LK_ERR_IO && saved_errno != 0) {
        (void)fprintf(stderr, ": %s\n", strerror(saved_errno));
    } else {
        (void)fprintf(stderr, ": %s\n", lk_err_text(err));
    }
    return lk_err_exit_code(err);
}

void
lk_cli_note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)fputs("latchkey: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
}

/* ASCII only: what a stranger chose may hold what a terminal obeys. */
#define JSON_FLAGS (JSON_COMPACT | JSON_ENSURE_ASCII)

int
lk_cli_print_json(const struct json_t *value)
{
    errno = 0;
    if (json_dumpf(value, stdout, JSON_FLAGS) != 0 || fputc('\n', stdout) == EOF) {
        return lk_cli_fail(LK_ERR_IO, "cannot write the answer");
    }
    return 0;
}

static int
json_append(const char *text, size_t len, void *ctx)
{
    return lk_buf_put((struct lk_buf *)ctx, text, len) == LK_OK ? 0 : -1;
}

enum lk_err
lk_cli_put_json(struct lk_buf *out, json_t *value)
{
    LK_AUTO(json) json_t *own = value;

    if (own == NULL || json_dump_callback(own, json_append, out, JSON_FLAGS) != 0) {
        return LK_ERR_NOMEM;
    }
    return lk_buf_puts(out, "\n");
}

static void
fd_drop(int *fd)
{
    if (*fd > STDIN_FILENO) {
        (void)close(*fd); /* read only: nothing is lost */
    }
}

enum lk_err
lk_cli_bytes_read(const char *path, size_t max, struct lk_buf *ret)
{
    __attribute__((cleanup(fd_drop))) int fd =
        strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    uint8_t chunk[4096];
    enum lk_err err = LK_OK;
    ssize_t n = 0;

    if (fd < 0) {
        return LK_ERR_IO;
    }
    ret->max = max;
    while (err == LK_OK &&
           ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR))) {
        err = n > 0 ? lk_buf_put(ret, chunk, (size_t)n) : LK_OK;
    }
    lk_wipe(chunk, sizeof(chunk));
    return err == LK_OK && n < 0 ? LK_ERR_IO : err;
}

enum lk_err
lk_cli_file_read(const char *path, size_t max, struct lk_buf *ret)
{
    enum lk_err err = lk_cli_bytes_read(path, max, ret);

    return err == LK_OK && ret->len > 0 && memchr(ret->data, 0, ret->len) != NULL ? LK_ERR_FORMAT
                                                                                  : err;
}

enum lk_err
lk_cli_secret_read(const char *path, struct lk_buf *ret)
{
    enum lk_err err = lk_cli_file_read(path, LK_CLI_SECRET_MAX, ret);

    if (err == LK_OK && ret->len > 0 && ret->data[ret->len - 1] == '\n') {
        ret->len--;
    }
    return err;
}

int
lk_cli_finish(int code)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return code != 0 ? code : lk_cli_fail(LK_ERR_IO, "cannot write to standard output");
    }
    return code;
}
