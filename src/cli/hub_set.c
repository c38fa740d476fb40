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
    uint64_t weight;                   /* 0: as it is */
    const char *region;                /* NULL: as it is */
    bool has_allocatable, allocatable; /* otherwise it stays too */
    struct lk_cli_hub_connection connection;
    struct lk_hub fresh; /* holds the new connection */
    bool embedded;       /* which has none */
};

static enum lk_err
set_take(void *ctx, int option, const char *value)
{
    struct change *c = (struct change *)ctx;

    switch (option) {
    case OPT_WEIGHT:
        return lk_cli_number(value, 1, 1000, &c->weight);
    case OPT_REGION:
        c->region = value;
        return lk_region_ok(value) ? LK_OK : LK_ERR_ARG;
    case OPT_CONNECTION_STRING:
        c->connection.string_file = value;
        return LK_OK;
    case OPT_CA_FILE:
        c->connection.ca_file = value;
        return LK_OK;
    case OPT_NO_REGION:
        c->region = "";
        return LK_OK;
    default:
        c->has_allocatable = true;
        c->allocatable = option == OPT_ALLOCATION;
        return LK_OK;
    }
}

static const struct lk_cli_form set_form = {
    .usage = "latchkey hub set NAME [--weight N] [--region REGION|--no-region]\n"
             "         [--allocation|--no-allocation] [--connection-string FILE [--ca-file FILE]]\n"
             "         [--config FILE]",
    .help = "Change what allocation knows of a hub, or how one elsewhere is reached. Devices that\n"
            "are assigned already may be given another hub when they register "
            "again.\n\n" LK_CLI_HUB_CONNECTION_HELP
            "  --weight N               share of devices, 1 to 1000 against the other hubs'\n"
            "  --region REGION          devices of this region come here under geoLatency\n"
            "                           allocation\n"
            "  --no-region              the hub is in no region\n"
            "  --allocation             for every enrollment\n"
            "  --no-allocation          only for enrollments that name it\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"weight", required_argument, NULL, OPT_WEIGHT},
                                       {"region", required_argument, NULL, OPT_REGION},
                                       {"no-region", no_argument, NULL, OPT_NO_REGION},
                                       {"allocation", no_argument, NULL, OPT_ALLOCATION},
                                       {"no-allocation", no_argument, NULL, OPT_NO_ALLOCATION},
                                       {"connection-string", required_argument, NULL,
                                        OPT_CONNECTION_STRING},
                                       {"ca-file", required_argument, NULL, OPT_CA_FILE},
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = set_take,
};

static enum lk_err
hub_change(struct lk_txn *tx, struct change *c, struct lk_hub *hub)
{
    char detail[128 + LK_REGION_MAX];
    bool connects = c->connection.string_file != NULL;
    enum lk_err err;

    c->embedded = connects && hub->kind != LK_HUB_HTTP;
    if (c->embedded) {
        return LK_ERR_ARG;
    }
    if (connects) {
        lk_buf_reset(&hub->sealed_connection);
        if ((err = lk_buf_put(&hub->sealed_connection, c->fresh.sealed_connection.data,
                              c->fresh.sealed_connection.len)) != LK_OK) {
            return err;
        }
    }

    if (c->weight != 0) {
        hub->weight = (uint32_t)c->weight;
    }
    if (c->has_allocatable) {
        hub->allocatable = c->allocatable;
    }
    if ((c->region != NULL &&
         (err = lk_strcpy(hub->region, sizeof(hub->region), c->region)) != LK_OK) ||
        (err = lk_txn_hub_put(tx, hub)) != LK_OK) {
        return err;
    }
    (void)snprintf(detail, sizeof(detail),
                   "{\"weight\":%u,\"allocatable\":%s,\"region\":\"%s\",\"connection\":%s}",
                   hub->weight, hub->allocatable ? "true" : "false", hub->region,
                   connects ? "true" : "false");
    return lk_txn_audit_append(tx, c->actor, "hub.set", "", hub->name, detail);
}

static enum lk_err
set_run(struct lk_txn *tx, void *arg)
{
    struct change *c = (struct change *)arg;
    struct lk_hub hub = {.sealed_connection = LK_BUF_INIT};
    enum lk_err err = lk_txn_hub_get(tx, c->name, &hub);

    if (err == LK_OK) {
        err = hub_change(tx, c, &hub);
    }
    lk_hub_fini(&hub);
    return err;
}

static void
change_fini(struct change *c)
{
    lk_hub_fini(&c->fresh);
}

static bool
is_empty(const struct change *c)
{
    return c->weight == 0 && c->region == NULL && !c->has_allocatable &&
           c->connection.string_file == NULL;
}

int
lk_cli_hub_set(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    __attribute__((cleanup(change_fini))) struct change c = {.actor = s.actor};
    int code;
    enum lk_err err;

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
    memcpy(c.fresh.name, c.name, sizeof(c.fresh.name));
    if ((code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0 ||
        (c.connection.string_file != NULL &&
         (code = lk_cli_hub_connection_read(&c.connection, &s, &c.fresh)) != 0)) {
        return code;
    }
    err = lk_store_write_wait(s.session, set_run, &c);
    if (c.embedded) {
        lk_cli_note("%s is embedded: it has no connection string", c.name);
        return lk_err_exit_code(LK_ERR_ARG);
    }
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot change the hub");
}
