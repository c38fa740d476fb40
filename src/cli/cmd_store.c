/* latchkey store: the whole database, into another one or a file; its numbers. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cmd_store.h"
#include "daemon/config.h"

/* Where the copy goes, and what is told of it. */
struct copying {
    const char *to; /* as it was given */
    char url[LK_CONFIG_TEXT_CAP];
    const char *action; /* of the audit record */
    bool record_in_target;
    bool json, progress;
    uint64_t rows;
    const char *table; /* under way, and its rows */
    uint64_t table_rows;
};

enum { OPT_TO = LK_CLI_OPT_COMMAND };

static enum lk_err
to_take(void *ctx, int option, const char *value)
{
    struct copying *c = (struct copying *)ctx;

    c->to = value;
    return value[0] != '\0' ? LK_OK : LK_ERR_ARG;
}

static void
copied(void *ctx, const char *table, uint64_t rows)
{
    struct copying *c = (struct copying *)ctx;

    if (c->table != table) {
        c->rows += c->table_rows;
    }
    c->table = table;
    c->table_rows = rows;
    if (c->progress) {
        (void)fprintf(stderr, "\r\033[K%s: %" PRIu64, table, rows);
    }
}

static enum lk_err
target_open(const struct copying *c, const struct lk_cli_service *s, struct lk_store **ret)
{
    struct lk_store_config opts = {.url = c->url, .create = true};
    char error[LK_STORE_ERROR_CAP] = "", shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    lk_keyring_audit_key(s->ring, opts.audit_key);
    err = lk_store_open(&opts, error, ret);
    lk_wipe(&opts, sizeof(opts));
    if (err != LK_OK) {
        lk_cli_note("%s", lk_cli_shown(error[0] != '\0' ? error : lk_err_text(err), shown));
    }
    return err;
}

struct record {
    const struct copying *c;
    const char *actor;
};

static enum lk_err
record_run(struct lk_txn *tx, void *arg)
{
    const struct record *r = (const struct record *)arg;
    char detail[64];

    (void)snprintf(detail, sizeof(detail), "{\"rows\":%" PRIu64 "}", r->c->rows);
    return lk_txn_audit_append(tx, r->actor, r->c->action, "", "", detail);
}

/* The record is the target's last, or, of a backup, the source's next. */
static enum lk_err
record_write(const struct copying *c, const struct lk_cli_service *s, struct lk_store *target)
{
    LK_AUTO(lk_session) struct lk_session *session = NULL;
    struct record r = {c, s->actor};
    enum lk_err err;

    if (!c->record_in_target) {
        return lk_store_write_wait(s->session, record_run, &r);
    }
    err = lk_session_open(target, &session);
    return err != LK_OK ? err : lk_store_write_wait(session, record_run, &r);
}

static int
copy_all(struct copying *c, struct lk_cli_service *s)
{
    LK_AUTO(lk_store) struct lk_store *target = NULL;
    char error[LK_STORE_ERROR_CAP] = "", shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if ((err = target_open(c, s, &target)) != LK_OK) {
        return lk_err_exit_code(err);
    }
    c->progress = !c->json && isatty(STDERR_FILENO) != 0;
    err = lk_store_copy(s->store, target, copied, c, error);
    c->rows += c->table_rows;
    if (c->progress) {
        (void)fputs("\r\033[K", stderr);
    }
    if (err != LK_OK) {
        lk_cli_note("nothing was copied: %s",
                    lk_cli_shown(error[0] != '\0' ? error : lk_err_text(err), shown));
        return lk_err_exit_code(err);
    }
    if ((err = record_write(c, s, target)) != LK_OK) {
        lk_cli_note("everything was copied, but there is no audit record of it");
        return lk_cli_store_fail(err, "cannot write the audit record");
    }
    return 0;
}

static int
result_print(const struct copying *c, const char *next)
{
    LK_AUTO(json) json_t *o = NULL;

    if (!c->json) {
        (void)printf("%" PRIu64 " rows copied and compared.\n%s", c->rows, next);
        return 0;
    }
    o = json_pack("{s:s, s:I}", "to", c->to, "rows", (json_int_t)c->rows);
    return o != NULL ? lk_cli_print_json(o) : lk_cli_fail(LK_ERR_NOMEM, "cannot tell the result");
}

/* ---- migrate --------------------------------------------------------------------------------- */

static const struct lk_cli_form migrate_form = {
    .usage = "latchkey store migrate --to URL [--json] [--config FILE]",
    .help =
        "Copy the whole database into an empty one, and compare it there row by row. Stop the\n"
        "service first: what it writes meanwhile stays behind. Afterwards write the URL into the\n"
        "configuration (store = URL). The source is left as it is, the master key serves both.\n\n"
        "  --to URL       postgresql://USER@HOST/DATABASE?passfile=FILE, or "
        "sqlite:FILE\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"to", required_argument, NULL, OPT_TO},
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .take = to_take,
};

/* The target's URL as the configuration would take it. */
static int
url_read(struct copying *c)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char error[LK_CONFIG_ERROR_CAP] = "", shown[LK_CLI_SHOWN_CAP];
    struct lk_config config;
    enum lk_err err;

    if ((err = lk_buf_printf(&text, "store = %s\n", c->to)) == LK_OK) {
        err = lk_config_parse("--to", (const char *)text.data, text.len, error, &config);
    }
    if (err != LK_OK) {
        return lk_cli_usage(migrate_form.usage, "%s",
                            lk_cli_shown(error[0] != '\0' ? error : lk_err_text(err), shown));
    }
    err = lk_strcpy(c->url, sizeof(c->url), config.store);
    return err == LK_OK ? 0 : lk_cli_fail(err, "cannot use this URL");
}

static int
store_migrate(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct copying c = {.action = "store.migrate", .record_in_target = true};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&migrate_form, argc, argv, &common, &c, &code)) {
        return code;
    }
    if (c.to == NULL) {
        return lk_cli_usage(migrate_form.usage, "--to is needed");
    }
    c.json = common.json;
    if ((code = url_read(&c)) != 0 ||
        (code = lk_cli_service_open(common.config, LK_CLI_READ, &s)) != 0 ||
        (code = copy_all(&c, &s)) != 0) {
        return code;
    }
    return result_print(&c, "Now write the URL into the configuration: store = URL\n");
}

/* ---- backup ---------------------------------------------------------------------------------- */

static const struct lk_cli_form backup_form = {
    .usage = "latchkey store backup [--json] [--config FILE] FILE",
    .help =
        "Write the whole database, as it is at one moment, into a new SQLite file, and compare it\n"
        "there row by row. The service may go on meanwhile. The file is of no use without the\n"
        "master key: keep a copy of that in another place. To restore, stop the service, and "
        "write\n"
        "store = sqlite:FILE into the configuration, or `latchkey store migrate` from "
        "it.\n\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

/* The file is made whole or not at all: under another name first. */
static int
backup_write(struct copying *c, struct lk_cli_service *s)
{
    static const char *const beside[] = {"", "-wal", "-shm"};
    char part[LK_CONFIG_TEXT_CAP], path[LK_CONFIG_TEXT_CAP + 8];
    int code;

    if ((size_t)snprintf(part, sizeof(part), "%s.part", c->to) >= sizeof(part) ||
        (size_t)snprintf(c->url, sizeof(c->url), "sqlite:%s", part) >= sizeof(c->url)) {
        return lk_cli_fail(LK_ERR_ARG, "the file's name is too long");
    }
    if (access(c->to, F_OK) == 0 || access(part, F_OK) == 0) {
        return lk_cli_fail(LK_ERR_EXISTS, "expected a file that is not there yet");
    }
    code = copy_all(c, s);
    if (code == 0 && rename(part, c->to) != 0) {
        code = lk_cli_fail(LK_ERR_IO, "cannot give the file its name");
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(beside) && code != 0; i++) {
        (void)snprintf(path, sizeof(path), "%s%s", part, beside[i]);
        (void)unlink(path); /* it may not be there */
    }
    return code;
}

static int
store_backup(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct copying c = {.action = "store.backup"};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&backup_form, argc, argv, &common, &c, &code)) {
        return code;
    }
    c.to = argv[optind];
    c.json = common.json;
    if ((code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0 ||
        (code = backup_write(&c, &s)) != 0) {
        return code;
    }
    return result_print(&c, "The file is of no use without the master key: keep that elsewhere.\n");
}

int
lk_cmd_store(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"migrate", store_migrate, "copy everything into an empty database of another kind"},
        {"backup", store_backup, "write everything into a file while the service runs"},
        {"status", lk_cmd_store_status, "print how many enrollments and registrations there are"},
        {"verify", lk_cmd_store_verify, "compare the numbers that are kept with the rows"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey store", argc, argv);
}
