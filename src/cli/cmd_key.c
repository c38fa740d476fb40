/* latchkey key: the master keys of the service. No key is ever shown. */
#include <inttypes.h>
#include <string.h>

#include "cli/options.h"
#include "cli/service.h"

/* ---- list ------------------------------------------------------------------------------------ */

static const struct lk_cli_form list_form = {
    .usage = "latchkey key list [--json] [--config FILE]",
    .help = "List the master keys: id, when they were made, and which one new challenges are made\n"
            "with. The keys themselves are never shown. Old ones are kept, since what was sealed\n"
            "under them must still open.\n\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
};

/* "12 d", "3 h": how long ago, in the largest unit that fits. */
static void
age_format(int64_t ms, char *buf, size_t cap)
{
    int64_t s = ms > 0 ? ms / 1000 : 0;

    if (s >= 2 * 86400) {
        (void)snprintf(buf, cap, "%" PRId64 " d", s / 86400);
    } else if (s >= 2 * 3600) {
        (void)snprintf(buf, cap, "%" PRId64 " h", s / 3600);
    } else if (s >= 2 * 60) {
        (void)snprintf(buf, cap, "%" PRId64 " min", s / 60);
    } else {
        (void)snprintf(buf, cap, "%" PRId64 " s", s);
    }
}

static enum lk_err
key_put(const struct lk_keyring *ring, size_t i, int64_t now_ms, bool json, struct lk_buf *out)
{
    int64_t created_ms = lk_keyring_created_ms(ring, i);
    bool issuing = lk_keyring_issuing(ring, now_ms) == i;
    char id[17], created[LK_CLI_TIME_CAP], age[24];

    (void)snprintf(id, sizeof(id), "%016" PRIx64, lk_keyring_id(ring, i));
    (void)lk_cli_time(created_ms, created);
    if (json) {
        return lk_cli_put_json(
            out, json_pack("{s:s, s:s, s:b}", "id", id, "created", created, "issuing", issuing));
    }
    age_format(now_ms - created_ms, age, sizeof(age));
    return lk_buf_printf(out, "%s  %s  %-8s %s\n", id, created, age, issuing ? "yes" : "no");
}

static int
key_list(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    struct lk_cli_common common = {.json = false};
    int64_t now_ms = lk_clock_unix_ms(&lk_clock_system);
    enum lk_err err = LK_OK;
    int code;

    if (!lk_cli_options(&list_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_service_open(common.config, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    if (!common.json) {
        err = lk_buf_puts(&out, "ID                CREATED                   AGE      ISSUING\n");
    }
    for (size_t i = 0; err == LK_OK && i < lk_keyring_count(s.ring); i++) {
        err = key_put(s.ring, i, now_ms, common.json, &out);
    }
    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot list the keys");
    }
    return fwrite(out.data, 1, out.len, stdout) == out.len
               ? 0
               : lk_cli_fail(LK_ERR_IO, "cannot write the answer");
}

/* ---- rotate ---------------------------------------------------------------------------------- */

static const struct lk_cli_form rotate_form = {
    .usage = "latchkey key rotate [--json] [--config FILE]",
    .help =
        "Add a fresh master key. The running service takes it by itself: new challenges are made\n"
        "with it 15 seconds later, and those that are on their way can still be "
        "answered.\n\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
};

struct rotation {
    const char *actor;
    char id[17]; /* of the new key */
};

static enum lk_err
record_run(struct lk_txn *tx, void *arg)
{
    const struct rotation *r = (const struct rotation *)arg;

    return lk_txn_audit_append(tx, r->actor, "key.rotate", "", r->id, "");
}

/* The file first: a record of a key that does not exist would be worse than a key whose record is
 * missing, and the latter is told. */
static int
rotate(struct lk_cli_service *s, struct rotation *r)
{
    int64_t now_ms = lk_clock_unix_ms(&lk_clock_system);
    LK_AUTO(lk_keyring) struct lk_keyring *fresh = NULL;
    char error[LK_KEYRING_ERROR_CAP] = "", shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if ((err = lk_keyring_rotate(s->config.keyring, now_ms, &lk_rand_system, error)) != LK_OK ||
        (err = lk_keyring_load(s->config.keyring, error, &fresh)) != LK_OK) {
        lk_cli_note("%s", lk_cli_shown(error[0] != '\0' ? error : lk_err_text(err), shown));
        return lk_err_exit_code(err);
    }
    (void)snprintf(r->id, sizeof(r->id), "%016" PRIx64,
                   lk_keyring_id(fresh, lk_keyring_count(fresh) - 1));
    if ((err = lk_store_write_wait(s->session, record_run, r)) != LK_OK) {
        lk_cli_note("the key %s was added, but there is no audit record of it", r->id);
        return lk_cli_store_fail(err, "cannot write the audit record");
    }
    return 0;
}

static int
key_rotate(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    LK_AUTO(json) json_t *o = NULL;
    struct lk_cli_common common = {.json = false};
    struct rotation r = {.actor = s.actor};
    int code;

    if (!lk_cli_options(&rotate_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0 ||
        (code = rotate(&s, &r)) != 0) {
        return code;
    }
    if (!common.json) {
        (void)puts(r.id);
        return 0;
    }
    o = json_pack("{s:s}", "id", r.id);
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

int
lk_cmd_key(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"list", key_list, "list the master keys"},
        {"rotate", key_rotate, "add a fresh master key"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey key", argc, argv);
}
