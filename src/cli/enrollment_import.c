/* latchkey enrollment import. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cmd_enrollment.h"
#include "provision/import.h"

enum { OPT_FORMAT = LK_CLI_OPT_COMMAND, OPT_DRY_RUN, OPT_SKIP_BAD };

struct import_args {
    bool has_format, dry_run, skip_bad;
    enum lk_manifest_format format;
};

static enum lk_err
import_take(void *ctx, int option, const char *value)
{
    struct import_args *a = (struct import_args *)ctx;

    switch (option) {
    case OPT_FORMAT:
        a->has_format = true;
        return lk_cli_manifest_format(value, &a->format);
    case OPT_DRY_RUN:
        a->dry_run = true;
        return LK_OK;
    default:
        a->skip_bad = true;
        return LK_OK;
    }
}

/* ---- the file -------------------------------------------------------------------------------- */

struct input {
    int fd;
    int signals;      /* readable after Ctrl-C: a signal cannot slip in between two reads */
    int64_t size;     /* bytes; 0 when that cannot be known */
    int64_t read_len; /* bytes so far */
    char first[4096]; /* what was read to guess the format */
    size_t first_len, first_at;
};

static void
input_close(struct input *in)
{
    if (in->fd > STDIN_FILENO) {
        (void)close(in->fd); /* read only: nothing is lost */
    }
    if (in->signals >= 0) {
        (void)close(in->signals);
    }
}

/* Ends what was begun in good order. Before there is a second thread, which shall not get them. */
static enum lk_err
signals_open(struct input *in)
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

static enum lk_err
fd_read(struct input *in, void *buf, size_t cap, size_t *ret_len)
{
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

static enum lk_err
input_read(void *ctx, void *buf, size_t cap, size_t *ret_len)
{
    struct input *in = (struct input *)ctx;
    size_t len = in->first_len - in->first_at;

    if (len == 0) {
        return fd_read(in, buf, cap, ret_len);
    }
    len = len < cap ? len : cap;
    memcpy(buf, in->first + in->first_at, len);
    in->first_at += len;
    *ret_len = len;
    return LK_OK;
}

static enum lk_err
input_open(const char *path, struct input *ret)
{
    struct stat st;

    ret->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (ret->fd < 0 || fstat(ret->fd, &st) != 0 || signals_open(ret) != LK_OK) {
        return LK_ERR_IO;
    }
    ret->size = S_ISREG(st.st_mode) ? st.st_size : 0;
    return fd_read(ret, ret->first, sizeof(ret->first), &ret->first_len);
}

static bool
ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* By the name, else by how the text begins: an object is no row of column names. */
static enum lk_manifest_format
format_guess(const char *path, const struct input *in)
{
    static const char skipped[] = " \t\r\n\xef\xbb\xbf";
    size_t at = 0;

    if (ends_with(path, ".csv")) {
        return LK_MANIFEST_CSV;
    }
    if (ends_with(path, ".jsonl") || ends_with(path, ".ndjson")) {
        return LK_MANIFEST_JSONL;
    }
    while (at < in->first_len && in->first[at] != '\0' && strchr(skipped, in->first[at]) != NULL) {
        at++;
    }
    return at < in->first_len && in->first[at] == '{' ? LK_MANIFEST_JSONL : LK_MANIFEST_CSV;
}

/* ---- what is told ---------------------------------------------------------------------------- */

#define BAR_WIDTH 30

struct telling {
    struct input in;
    char name[LK_CLI_SHOWN_CAP];
    bool bar;       /* stderr is a terminal */
    bool bar_drawn; /* the cursor is behind a bar */
};

static void
telling_fini(struct telling *t)
{
    input_close(&t->in);
}

static void
bar_erase(struct telling *t)
{
    if (t->bar_drawn) {
        (void)fputs("\r\x1b[K", stderr);
        t->bar_drawn = false;
    }
}

static void
on_problem(void *ctx, const struct lk_manifest_problem *p)
{
    struct telling *t = (struct telling *)ctx;

    bar_erase(t);
    lk_cli_note("%s, line %lld: %s%s%s", t->name, (long long)p->line, p->field,
                p->field[0] != '\0' ? ": " : "", p->reason);
}

static void
on_progress(void *ctx, const struct lk_import_result *so_far)
{
    struct telling *t = (struct telling *)ctx;
    char bar[BAR_WIDTH + 1];
    int64_t done = t->in.size > 0 ? t->in.read_len * BAR_WIDTH / t->in.size : 0;

    if (!t->bar) {
        return;
    }
    done = done < BAR_WIDTH ? done : BAR_WIDTH;
    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '#', (size_t)done);
    bar[BAR_WIDTH] = '\0';
    bar_erase(t);
    if (t->in.size > 0) {
        (void)fprintf(stderr, "[%s] ", bar);
    }
    (void)fprintf(stderr, "%lld rows, %lld bad", (long long)so_far->rows_read,
                  (long long)so_far->rows_bad);
    t->bar_drawn = true;
}

static void
software_warn(const struct lk_import_result *r)
{
    if (r->rows_software > 0) {
        lk_cli_note("warning: %lld of the rows are of a software TPM, which proves nothing about "
                    "hardware",
                    (long long)r->rows_software);
    }
}

static int
import_failed(enum lk_err err, const struct telling *t, const struct lk_import_result *r)
{
    if (err == LK_ERR_FORMAT && r->rows_read > 0) {
        lk_cli_note("nothing was imported: %lld of %lld rows are bad%s", (long long)r->rows_bad,
                    (long long)r->rows_read, r->stopped ? "; reading stopped there" : "");
        return lk_err_exit_code(err);
    }
    if (err == LK_ERR_FORMAT) { /* the header, which has been told */
        lk_cli_note("nothing was imported");
        return lk_err_exit_code(err);
    }
    if (err == LK_ERR_CANCELLED) {
        lk_cli_note("interrupted: nothing was imported");
        return lk_err_exit_code(err);
    }
    if (err == LK_ERR_NOT_FOUND) {
        lk_cli_note("nothing was imported: no row came for more than a minute, and another import "
                    "took this one for dead");
        return lk_err_exit_code(err);
    }
    if (err == LK_ERR_IO) {
        return lk_cli_fail(err, "nothing was imported: cannot read %s", t->name);
    }
    return lk_cli_store_fail(err, "nothing was imported");
}

static int
import_done(const struct import_args *a, const char *scope, const struct lk_import_result *r)
{
    software_warn(r);
    if (r->rows_bad > 0) {
        lk_cli_note("%lld bad rows were skipped", (long long)r->rows_bad);
    }
    if (a->dry_run) {
        (void)printf("%lld rows could be imported into %s; dry run, nothing was\n",
                     (long long)r->rows_imported, scope);
    } else {
        (void)printf("%lld enrollments imported into %s, import %lld\n",
                     (long long)r->rows_imported, scope, (long long)r->import_id);
    }
    return 0;
}

/* ---- the command
 * ---------------------------------------------------------------------------------- */

static const struct lk_cli_form import_form = {
    .usage = "latchkey enrollment import FILE|- [--format csv|jsonl] [--dry-run] [--skip-bad]\n"
             "         [--scope ID] [--config FILE]",
    .help =
        "Enroll every device of a manifest, as `latchkey device show --manifest` and `latchkey\n"
        "enrollment export` write it. All rows take effect at the same moment, or none does.\n\n"
        "  --format csv|jsonl       default: by the file's name or its first character\n"
        "  --dry-run                check every row, against the store too; change nothing\n"
        "  --skip-bad               import the good rows although others are "
        "bad\n" LK_CLI_SCOPE_HELP LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"format", required_argument, NULL, OPT_FORMAT},
                                       {"dry-run", no_argument, NULL, OPT_DRY_RUN},
                                       {"skip-bad", no_argument, NULL, OPT_SKIP_BAD},
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = import_take,
};

static int
import_from(struct lk_cli_service *s, const char *path, const char *scope,
            const struct import_args *a, struct telling *t)
{
    const struct lk_manifest_source source = {input_read, &t->in};
    const struct lk_import_options options = {
        .scope = scope,
        .source = path,
        .actor = s->actor,
        .format = a->has_format ? a->format : format_guess(path, &t->in),
        .skip_bad = a->skip_bad,
        .dry_run = a->dry_run,
        .problem = on_problem,
        .progress = on_progress,
        .ctx = t,
    };
    struct lk_import_result result;
    enum lk_err err;

    t->bar = isatty(STDERR_FILENO) == 1;
    errno = 0;
    err = lk_import_run(s->session, &source, &options, &result);
    bar_erase(t);
    return err != LK_OK ? import_failed(err, t, &result) : import_done(a, scope, &result);
}

int
lk_cli_enrollment_import(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    __attribute__((cleanup(telling_fini))) struct telling t = {.in = {.fd = -1, .signals = -1}};
    struct lk_cli_common common = {.json = false};
    struct import_args a = {.has_format = false};
    char scope[LK_ID_SCOPE_MAX + 1];
    const char *path;
    int code;
    enum lk_err err;

    if (!lk_cli_options(&import_form, argc, argv, &common, &a, &code)) {
        return code;
    }
    path = argv[optind];
    (void)lk_cli_shown(strcmp(path, "-") == 0 ? "standard input" : path, t.name);
    errno = 0;
    if ((err = input_open(path, &t.in)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", t.name);
    }
    if ((code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0 ||
        (code = lk_cli_scope(&s, common.scope, scope)) != 0) {
        return code;
    }
    return import_from(&s, path, scope, &a, &t);
}
