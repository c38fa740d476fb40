/* latchkey hub set: what allocation knows of a hub. */
#include <string.h>

#include "cli/cmd_hub.h"
#include "net/regions.h"

enum {
    OPT_WEIGHT = LK_CLI_OPT_COMMAND,
    OPT_REGION,
    OPT_NO_REGION,
    OPT_ALLOCATION,
    OPT_NO_ALLOCATION,
    OPT_CONNECTION_STRING,
    OPT_CA_FILE
};

struct change {
    const char *actor;
    char name[LK_HOST_NAME_MAX + 1];
    struct lk_hub_change change;
    struct lk_cli_hub_connection connection;
    struct lk_buf sealed_connection;
};

static enum lk_err
set_take(void *ctx, int option, const char *value)
{
    struct change *c = (struct change *)ctx;
    uint64_t weight;

    switch (option) {
    case OPT_WEIGHT:
        if (lk_cli_number(value, 1, LK_HUB_WEIGHT_MAX, &weight) != LK_OK) {
            return LK_ERR_ARG;
        }
        c->change.weight = (uint32_t)weight;
        return LK_OK;
    case OPT_REGION:
        c->change.region = value;
        return lk_region_ok(value) ? LK_OK : LK_ERR_ARG;
    case OPT_CONNECTION_STRING:
        c->connection.string_file = value;
        return LK_OK;
    case OPT_CA_FILE:
        c->connection.ca_file = value;
        return LK_OK;
    case OPT_NO_REGION:
        c->change.region = "";
        return LK_OK;
    default:
        c->change.has_allocatable = true;
        c->change.allocatable = option == OPT_ALLOCATION;
        return LK_OK;
    }
}

static const struct lk_cli_form set_form = {
    .usage = "latchkey hub set NAME [--weight N] [--region REGION|--no-region]\n"
             "         [--allocation|--no-allocation] [--connection-string FILE [--ca-file FILE]]\n"
             "         [SERVICE]",
    .help =
        "Change what allocation knows of a hub, or how one elsewhere is reached. Devices that\n"
        "are assigned already may be given another hub when they register "
        "again.\n\n" LK_CLI_HUB_CONNECTION_HELP
        "  --weight N               share of devices, 1 to 1000 against the other hubs'\n"
        "  --region REGION          devices of this region come here under geoLatency\n"
        "                           allocation\n"
        "  --no-region              the hub is in no region\n"
        "  --allocation             for every enrollment\n"
        "  --no-allocation          only for enrollments that name it\n" LK_CLI_HUB_SERVICE_HELP,
    .options = (const struct option[]){{"weight", required_argument, NULL, OPT_WEIGHT},
                                       {"region", required_argument, NULL, OPT_REGION},
                                       {"no-region", no_argument, NULL, OPT_NO_REGION},
                                       {"allocation", no_argument, NULL, OPT_ALLOCATION},
                                       {"no-allocation", no_argument, NULL, OPT_NO_ALLOCATION},
                                       {"connection-string", required_argument, NULL,
                                        OPT_CONNECTION_STRING},
                                       {"ca-file", required_argument, NULL, OPT_CA_FILE},
                                       LK_CLI_HUB_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = set_take,
};

static enum lk_err
set_run(struct lk_txn *tx, void *arg)
{
    const struct change *c = (const struct change *)arg;
    const struct lk_hub_author by = {.actor = c->actor};
    struct lk_hub hub = {.sealed_connection = LK_BUF_INIT};
    enum lk_err err = lk_linked_hub_change(tx, &by, c->name, &c->change, &hub);

    lk_hub_fini(&hub);
    return err;
}

static void
change_fini(struct change *c)
{
    lk_cli_hub_connection_fini(&c->connection);
    lk_buf_fini(&c->sealed_connection);
}

static bool
is_empty(const struct change *c)
{
    return c->change.weight == 0 && c->change.region == NULL && !c->change.has_allocatable &&
           c->connection.string_file == NULL;
}

static int
set_elsewhere(struct lk_remote *r, const struct change *c)
{
    struct lk_hub_request request = {.change = c->change};
    enum lk_err err;

    lk_cli_hub_connection_put(&c->connection, &request);
    err = lk_remote_hub_set(r, c->name, &request);
    return err == LK_OK ? 0 : lk_cli_hub_remote_fail(r, err, "cannot change the hub");
}

static int
set_here(struct lk_cli_service *s, struct change *c)
{
    enum lk_err err = LK_OK;

    if (c->connection.string_file != NULL) {
        err = lk_cli_hub_connection_seal(&c->connection, s, c->name, &c->sealed_connection);
        c->change.sealed_connection = &c->sealed_connection;
    }
    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot keep the connection string");
    }
    c->actor = s->actor;
    if ((err = lk_store_write_wait(s->session, set_run, c)) == LK_ERR_ARG) {
        lk_cli_note("%s is embedded: it has no connection string", c->name);
        return lk_err_exit_code(LK_ERR_ARG);
    }
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot change the hub");
}

int
lk_cli_hub_set(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    __attribute__((cleanup(change_fini))) struct change c = {.actor = NULL};
    int code;

    if (!lk_cli_options(&set_form, argc, argv, &common, &c, &code) ||
        (code = lk_cli_hub_word(&set_form, argv[optind], c.name)) != 0) {
        return code;
    }
    if (is_empty(&c)) {
        return lk_cli_usage(set_form.usage, "what to change is needed");
    }
    if (c.connection.ca_file != NULL && c.connection.string_file == NULL) {
        return lk_cli_usage(set_form.usage, "--ca-file goes with --connection-string");
    }
    if ((code = lk_cli_target_open(&common, LK_CLI_WRITE, &s)) != 0 ||
        (c.connection.string_file != NULL &&
         (code = lk_cli_hub_connection_read(&c.connection, &common, c.name)) != 0)) {
        return code;
    }
    return s.remote != NULL ? set_elsewhere(s.remote, &c) : set_here(&s, &c);
}
