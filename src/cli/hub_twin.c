/* latchkey hub twin: what a hub keeps about a device, and what the device is to be. */
#include <string.h>

#include "cli/hub_device.h"
#include "hub/twin.h"
#include "wire/members.h"

#define FRAGMENT_MAX ((size_t)256 * 1024) /* bytes of a file */

/* ---- show ------------------------------------------------------------------------------------ */

static const struct lk_cli_form show_form = {
    .usage = "latchkey hub twin show HUB DEVICE_ID [--config FILE]",
    .help = "Print a device's twin as one JSON document.\n\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
};

struct look {
    struct lk_cli_hub_call call;
    struct lk_twin t;
};

static void
look_fini(struct look *l)
{
    lk_twin_fini(&l->t);
    lk_cli_hub_call_fini(&l->call);
}

static enum lk_err
show_run(struct lk_txn *tx, void *arg)
{
    struct look *l = arg;

    return lk_txn_twin_get(tx, l->call.hub, l->call.device_id, &l->t);
}

static enum lk_err
twin_json(const struct lk_twin *t, json_t *ret)
{
    json_t *properties = NULL;
    enum lk_err err;

    if ((err = lk_member_text(ret, "deviceId", t->device_id)) != LK_OK ||
        (err = lk_member_text(ret, "etag", t->etag)) != LK_OK ||
        (err = lk_member_put(ret, "version", json_integer(t->version))) != LK_OK ||
        (err = t->tags.len == 0 ? lk_member_put(ret, "tags", json_object())
                                : lk_member_json(ret, "tags", &t->tags)) != LK_OK ||
        (err = lk_twin_properties(t, &properties)) != LK_OK) {
        return err;
    }
    return lk_member_put(ret, "properties", properties);
}

static int
twin_print(const struct lk_twin *t)
{
    LK_AUTO(json) json_t *o = json_object();
    enum lk_err err = o == NULL ? LK_ERR_NOMEM : twin_json(t, o);

    return err != LK_OK ? lk_cli_fail(err, "cannot build the answer") : lk_cli_print_json(o);
}

static int
twin_show(int argc, char **argv)
{
    __attribute__((cleanup(look_fini))) struct look l = {.t = LK_TWIN_INIT};
    int code;
    enum lk_err err;

    if (!lk_cli_hub_call_open(&l.call, &show_form, argc, argv, NULL, LK_CLI_READ, &code)) {
        return code;
    }
    err = lk_store_read_wait(l.call.s.session, show_run, &l);
    return err != LK_OK ? lk_cli_store_fail(err, "cannot show the twin") : twin_print(&l.t);
}

/* ---- set ------------------------------------------------------------------------------------- */

enum { OPT_FILE = LK_CLI_OPT_COMMAND, OPT_REPLACE, OPT_ETAG };

struct change {
    struct lk_cli_hub_call call;
    const char *file, *etag;
    json_t *fragment;
    struct lk_twin_patch patch;
    char error[LK_TWIN_ERROR_CAP];
};

static void
change_fini(struct change *c)
{
    json_decref(c->fragment);
    lk_cli_hub_call_fini(&c->call);
}

static enum lk_err
set_take(void *ctx, int option, const char *value)
{
    struct change *c = ctx;

    switch (option) {
    case OPT_FILE:
        c->file = value;
        return LK_OK;
    case OPT_ETAG:
        c->etag = value;
        return value[0] != '\0' ? LK_OK : LK_ERR_ARG;
    default:
        c->patch.how = LK_TWIN_REPLACE;
        return LK_OK;
    }
}

static const struct lk_cli_form set_form = {
    .usage = "latchkey hub twin set HUB DEVICE_ID [--file FILE] [--replace] [--etag ETAG]\n"
             "         [--config FILE]",
    .help = "Change tags and desired properties of a device's twin. What is desired reaches the\n"
            "device: at once when it is connected.\n\n"
            "  --file FILE              {\"tags\":{..},\"properties\":{\"desired\":{..}}}, both\n"
            "                           optional; default - (stdin). Members that are null are\n"
            "                           removed\n"
            "  --replace                the sections that are given, instead of merging\n"
            "  --etag ETAG              only if the twin still has it\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"file", required_argument, NULL, OPT_FILE},
                                       {"replace", no_argument, NULL, OPT_REPLACE},
                                       {"etag", required_argument, NULL, OPT_ETAG},
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
    .take = set_take,
};

/* 0, or an exit code after telling what is wrong. */
static int
fragment_read(struct change *c)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char shown[LK_CLI_SHOWN_CAP], error[LK_JSON_ERROR_CAP] = "";
    enum lk_err err;

    if ((err = lk_cli_file_read(c->file, FRAGMENT_MAX, &text)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(c->file, shown));
    }
    if ((err = lk_json_parse(text.data, text.len, false, error, &c->fragment)) != LK_OK) {
        return lk_cli_fail(err, "%s: %s", lk_cli_shown(c->file, shown), error);
    }
    c->patch.tags = json_object_get(c->fragment, "tags");
    c->patch.desired = json_object_get(json_object_get(c->fragment, "properties"), "desired");
    return c->patch.tags != NULL || c->patch.desired != NULL
               ? 0
               : lk_cli_fail(LK_ERR_FORMAT, "%s has neither tags nor properties.desired",
                             lk_cli_shown(c->file, shown));
}

static enum lk_err
set_run(struct lk_txn *tx, void *arg)
{
    struct change *c = arg;
    enum lk_err err;

    c->error[0] = '\0';
    err = lk_twin_change(tx, c->call.hub, c->call.device_id, &c->patch, c->etag, NULL, c->error);
    return err != LK_OK ? err : lk_cli_hub_audit(&c->call, tx, "hub.twin.update");
}

static int
twin_set(int argc, char **argv)
{
    __attribute__((cleanup(change_fini))) struct change c = {.file = "-"};
    char shown[LK_CLI_SHOWN_CAP];
    int code;
    enum lk_err err;

    if (!lk_cli_hub_call_open(&c.call, &set_form, argc, argv, &c, LK_CLI_WRITE, &code) ||
        (code = fragment_read(&c)) != 0) {
        return code;
    }
    err = lk_store_write_wait(c.call.s.session, set_run, &c);
    if ((err == LK_ERR_FORMAT || err == LK_ERR_LIMIT) && c.error[0] != '\0') {
        return lk_cli_fail(err, "cannot change the twin: %s", lk_cli_shown(c.error, shown));
    }
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot change the twin");
}

int
lk_cli_hub_twin(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"show", twin_show, "print a device's twin"},
        {"set", twin_set, "change its tags and desired properties"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey hub twin", argc, argv);
}
