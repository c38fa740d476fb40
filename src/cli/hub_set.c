/* latchkey hub set: what allocation knows of a hub. */
#include <string.h>

#include "cli/cmd_hub.h"
#include "net/regions.h"

enum {
    OPT_WEIGHT = LK_CLI_OPT_COMMAND,
    OPT_REGION,
    OPT_NO_REGION,
    OPT_ALLOCATION,
    OPT_NO_ALLOCATION
};

struct change {
    const char *actor;
    char name[LK_HOST_NAME_MAX + 1];
    uint64_t weight;                   /* 0: as it is */
    const char *region;                /* NULL: as it is */
    bool has_allocatable, allocatable; /* otherwise it stays too */
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
             "         [--allocation|--no-allocation] [--config FILE]",
    .help = "Change what allocation knows of a hub. Devices that are assigned already may be\n"
            "given another hub when they register again.\n\n"
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
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = set_take,
};

static enum lk_err
hub_change(struct lk_txn *tx, const struct change *c, struct lk_hub *hub)
{
    char detail[96 + LK_REGION_MAX];
    enum lk_err err;

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
    (void)snprintf(detail, sizeof(detail), "{\"weight\":%u,\"allocatable\":%s,\"region\":\"%s\"}",
                   hub->weight, hub->allocatable ? "true" : "false", hub->region);
    return lk_txn_audit_append(tx, c->actor, "hub.set", "", hub->name, detail);
}

static enum lk_err
set_run(struct lk_txn *tx, void *arg)
{
    const struct change *c = (const struct change *)arg;
    struct lk_hub hub = {.sealed_connection = LK_BUF_INIT};
    enum lk_err err = lk_txn_hub_get(tx, c->name, &hub);

    if (err == LK_OK) {
        err = hub_change(tx, c, &hub);
    }
    lk_hub_fini(&hub);
    return err;
}

int
lk_cli_hub_set(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    struct change c = {.actor = s.actor};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&set_form, argc, argv, &common, &c, &code) ||
        (code = lk_cli_hub_word(&set_form, argv[optind], c.name)) != 0) {
        return code;
    }
    if (c.weight == 0 && c.region == NULL && !c.has_allocatable) {
        return lk_cli_usage(set_form.usage, "what to change is needed");
    }
    if ((code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0) {
        return code;
    }
    err = lk_store_write_wait(s.session, set_run, &c);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot change the hub");
}
