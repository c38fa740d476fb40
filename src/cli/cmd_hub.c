/* latchkey hub: the hubs that devices are assigned to. */
#include "cli/cmd_hub.h"

#include <string.h>

#include "net/regions.h"

/* ---- add ------------------------------------------------------------------------------------- */

enum {
    OPT_WEIGHT = LK_CLI_OPT_COMMAND,
    OPT_NO_ALLOCATION,
    OPT_REGION,
    OPT_CONNECTION_STRING,
    OPT_CA_FILE
};

struct addition {
    const char *actor;
    struct lk_hub hub;
    struct lk_cli_hub_connection connection;
};

static enum lk_err
add_take(void *ctx, int option, const char *value)
{
    struct addition *a = (struct addition *)ctx;
    struct lk_hub *hub = &a->hub;
    uint64_t weight;

    if (option == OPT_CONNECTION_STRING) {
        a->connection.string_file = value;
        return LK_OK;
    }
    if (option == OPT_CA_FILE) {
        a->connection.ca_file = value;
        return LK_OK;
    }

    if (option == OPT_NO_ALLOCATION) {
        hub->allocatable = false;
        return LK_OK;
    }
    if (option == OPT_REGION) {
        return lk_region_ok(value) ? lk_strcpy(hub->region, sizeof(hub->region), value)
                                   : LK_ERR_ARG;
    }
    if (lk_cli_number(value, 1, 1000, &weight) != LK_OK) {
        return LK_ERR_ARG;
    }
    hub->weight = (uint32_t)weight;
    return LK_OK;
}

static const struct lk_cli_form add_form = {
    .usage = "latchkey hub add NAME [--connection-string FILE [--ca-file FILE]] [--weight N]\n"
             "         [--region REGION] [--no-allocation] [SERVICE]",
    .help =
        "Add a hub. NAME is the host name that devices get to know, with a dot in it. Without\n"
        "a connection string it is an embedded one: its device identities live in the\n"
        "service's own store. With one it is elsewhere: a hub of another Latchkey, or an Azure\n"
        "IoT Hub, which is called for every device (`latchkey hub test` tries "
        "it).\n\n" LK_CLI_HUB_CONNECTION_HELP
        "  --weight N               share of new devices, 1 to 1000 against the other hubs';\n"
        "                           default 1\n"
        "  --region REGION          devices of this region (client-regions in the service's\n"
        "                           configuration) come here under geoLatency allocation\n"
        "  --no-allocation          only for enrollments that name it\n" LK_CLI_HUB_SERVICE_HELP,
    .options = (const struct option[]){{"weight", required_argument, NULL, OPT_WEIGHT},
                                       {"region", required_argument, NULL, OPT_REGION},
                                       {"no-allocation", no_argument, NULL, OPT_NO_ALLOCATION},
                                       {"connection-string", required_argument, NULL,
                                        OPT_CONNECTION_STRING},
                                       {"ca-file", required_argument, NULL, OPT_CA_FILE},
                                       LK_CLI_HUB_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = add_take,
};

int
lk_cli_hub_word(const struct lk_cli_form *form, const char *text, char ret[LK_HOST_NAME_MAX + 1])
{
    char shown[LK_CLI_SHOWN_CAP];

    if (lk_hub_name_parse(text, ret) == LK_OK) {
        return 0;
    }
    return lk_cli_usage(form->usage, "\"%s\" is no host name with a dot in it",
                        lk_cli_shown(text, shown));
}

int
lk_cli_hub_remote_fail(const struct lk_remote *r, enum lk_err err, const char *what)
{
    int code = lk_remote_fail(r, err, what);

    switch (lk_remote_code(r)) {
    case LK_SVC_HUB_IN_USE:
    case LK_SVC_HUBS_SHARED:
        return lk_err_exit_code(LK_ERR_REFUSED);
    default:
        return code;
    }
}

static enum lk_err
add_run(struct lk_txn *tx, void *arg)
{
    const struct addition *a = (const struct addition *)arg;
    const struct lk_hub_author by = {.actor = a->actor};

    return lk_linked_hub_add(tx, &by, &a->hub);
}

static void
addition_fini(struct addition *a)
{
    lk_cli_hub_connection_fini(&a->connection);
    lk_hub_fini(&a->hub);
}

static int
add_elsewhere(struct lk_remote *r, const struct addition *a)
{
    struct lk_hub_request request = {.change = {.weight = a->hub.weight,
                                                .has_allocatable = true,
                                                .allocatable = a->hub.allocatable,
                                                .region = a->hub.region}};
    enum lk_err err;

    lk_cli_hub_connection_put(&a->connection, &request);
    err = lk_remote_hub_add(r, a->hub.name, &request);
    return err == LK_OK ? 0 : lk_cli_hub_remote_fail(r, err, "cannot add the hub");
}

static int
add_here(struct lk_cli_service *s, struct addition *a)
{
    enum lk_err err = LK_OK;

    if (a->connection.string_file != NULL) {
        a->hub.kind = LK_HUB_HTTP;
        err = lk_cli_hub_connection_seal(&a->connection, s, a->hub.name, &a->hub.sealed_connection);
    }
    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot keep the connection string");
    }
    a->actor = s->actor;
    if ((err = lk_store_write_wait(s->session, add_run, a)) != LK_OK) {
        return lk_cli_store_fail(err, err == LK_ERR_LIMIT
                                          ? "cannot add the hub: there are as many as can be served"
                                          : "cannot add the hub");
    }
    return 0;
}

static int
hub_add(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    __attribute__((cleanup(addition_fini))) struct addition a = {
        .hub = {.kind = LK_HUB_EMBEDDED, .weight = 1, .allocatable = true}};
    int code;

    if (!lk_cli_options(&add_form, argc, argv, &common, &a, &code) ||
        (code = lk_cli_hub_word(&add_form, argv[optind], a.hub.name)) != 0) {
        return code;
    }
    if (a.connection.ca_file != NULL && a.connection.string_file == NULL) {
        return lk_cli_usage(add_form.usage, "--ca-file goes with --connection-string");
    }
    if ((code = lk_cli_target_open(&common, LK_CLI_WRITE, &s)) != 0 ||
        (a.connection.string_file != NULL &&
         (code = lk_cli_hub_connection_read(&a.connection, &common, a.hub.name)) != 0)) {
        return code;
    }
    return s.remote != NULL ? add_elsewhere(s.remote, &a) : add_here(&s, &a);
}

/* ---- list ------------------------------------------------------------------------------------ */

static const struct lk_cli_form list_form = {
    .usage = "latchkey hub list [--json] [SERVICE]",
    .help = "List the hubs.\n\n" LK_CLI_JSON_HELP LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
};

static enum lk_err
hub_put(void *ctx, const struct lk_hub *hub)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)ctx;
    const char *kind = hub->kind == LK_HUB_EMBEDDED ? "embedded" : "http";
    char time[LK_CLI_TIME_CAP];

    (void)lk_cli_time(hub->created_ms, time);
    if (!l->json) {
        return lk_buf_printf(&l->text, "%-40s %-9s %6u  %-10s %-25s %s\n", hub->name, kind,
                             hub->weight, hub->allocatable ? "yes" : "no", time,
                             hub->region[0] != '\0' ? hub->region : "-");
    }
    return lk_cli_put_json(&l->text,
                           json_pack("{s:s, s:s, s:i, s:b, s:s, s:s}", "name", hub->name, "kind",
                                     kind, "weight", (int)hub->weight, "allocatable",
                                     hub->allocatable, "created", time, "region", hub->region));
}

/* There are few: one page. */
static enum lk_err
hubs_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    (void)limit;
    return lk_txn_hub_each(tx, hub_put, l);
}

static enum lk_err
hubs_fetch(struct lk_remote *r, struct lk_cli_listing *l)
{
    return lk_remote_hubs(r, hub_put, l);
}

static int
hub_list(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_listing list = {.page = hubs_page,
                                  .remote_page = hubs_fetch,
                                  .what = "cannot list the hubs",
                                  .head = "NAME                                     KIND      "
                                          "WEIGHT  ALLOCATED  CREATED           "
                                          "        REGION"};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&list_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_target_open(&common, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    list.json = common.json;
    return lk_cli_list(&s, &list);
}

int
lk_cmd_hub(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"add", hub_add, "add a hub"},
        {"mosquitto-config", lk_cli_hub_mosquitto_config, "print a configuration of its broker"},
        {"list", hub_list, "list the hubs"},
        {"show", lk_cli_hub_show, "show a hub"},
        {"set", lk_cli_hub_set, "change a hub's share, region or connection"},
        {"test", lk_cli_hub_test, "call a hub elsewhere, and say what fails"},
        {"remove", lk_cli_hub_remove, "remove a hub that is not in use"},
        {"device", lk_cli_hub_device, "device identities of a hub, and their keys"},
        {"twin", lk_cli_hub_twin, "what a hub keeps about a device"},
        {"message", lk_cli_hub_message, "messages to devices"},
        {"method", lk_cli_hub_method, "direct methods of devices"},
        {"check-token", lk_cli_hub_check_token, "check a device's token as the hub does"},
        {"policy", lk_cli_hub_policy, "access policies of a hub"},
        {"devices", lk_cli_hub_device_list, NULL},
        {"show-device", lk_cli_hub_device_show, NULL},
        {"disable-device", lk_cli_hub_device_disable, NULL},
        {"enable-device", lk_cli_hub_device_enable, NULL},
        {"remove-device", lk_cli_hub_device_remove, NULL},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey hub", argc, argv);
}
