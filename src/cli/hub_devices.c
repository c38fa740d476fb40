/* latchkey hub device list, show: the identities of embedded hubs. Keys are never shown. */
#include <inttypes.h>
#include <string.h>

#include "base/codec.h"
#include "cli/cmd_hub.h"

static const char *
secondary_word(const struct lk_identity *i)
{
    return i->secondary_len == 0 ? "none" : i->secondary_retires ? "previous key" : "set";
}

static const char *
auth_word(const struct lk_identity *i)
{
    switch (i->auth) {
    case LK_AUTH_SAS:
        return "sas";
    case LK_AUTH_SELF_SIGNED:
        return "selfSigned";
    case LK_AUTH_CA:
        return "certificateAuthority";
    case LK_AUTH_NONE:
        break;
    }
    return "none";
}

static json_t *
identity_json(const struct lk_identity *i)
{
    char created[LK_CLI_TIME_CAP], updated[LK_CLI_TIME_CAP];

    return json_pack(
        "{s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:o, s:s, s:s}", "hub", i->hub, "deviceId",
        i->device_id, "generationId", i->generation_id, "enabled", i->enabled, "authentication",
        auth_word(i), "secondaryKey", secondary_word(i), "etag", i->etag, "scope", i->owner_scope,
        "statusReason", lk_cli_json_text(i->status_reason), "created",
        lk_cli_time(i->created_ms, created), "updated", lk_cli_time(i->updated_ms, updated));
}

/* ---- list ------------------------------------------------------------------------------------ */

static const struct lk_cli_form devices_form = {
    .usage = "latchkey hub device list HUB [--json] [--config FILE]",
    .help =
        "List the device identities of an embedded hub.\n\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static enum lk_err
device_put(void *ctx, const struct lk_identity *i)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)ctx;
    char updated[LK_CLI_TIME_CAP];
    enum lk_err err;

    l->rows_count++;
    if ((err = lk_strcpy(l->last, sizeof(l->last), i->device_id)) != LK_OK) {
        return err;
    }
    if (l->json) {
        return lk_cli_put_json(&l->text, identity_json(i));
    }
    return lk_buf_printf(&l->text, "%-52s %-8s %-13s %s\n", i->device_id, i->enabled ? "yes" : "no",
                         secondary_word(i), lk_cli_time(i->updated_ms, updated));
}

static enum lk_err
devices_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    return lk_txn_identity_page(tx, (const char *)l->ctx, l->after, limit, device_put, l);
}

/* LK_ERR_NOT_FOUND for a hub that is not there: an empty list would hide a typing mistake. */
static enum lk_err
hub_check(struct lk_txn *tx, void *arg)
{
    struct lk_hub hub = {.sealed_connection = LK_BUF_INIT};
    enum lk_err err = lk_txn_hub_get(tx, (const char *)arg, &hub);

    lk_buf_fini(&hub.sealed_connection);
    return err;
}

int
lk_cli_hub_device_list(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    char name[LK_HOST_NAME_MAX + 1];
    struct lk_cli_listing list = {
        .page = devices_page,
        .what = "cannot list the devices",
        .head = "DEVICE ID                                            ENABLED  SECONDARY     "
                "UPDATED",
        .ctx = name};
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&devices_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_hub_word(&devices_form, argv[optind], name)) != 0 ||
        (code = lk_cli_service_open(common.config, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    if ((err = lk_store_read_wait(s.session, hub_check, name)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot find the hub");
    }
    list.json = common.json;
    return lk_cli_list(&s, &list);
}

/* ---- show ----------------------------------------------------------------------------------- */

static const struct lk_cli_form show_form = {
    .usage = "latchkey hub device show HUB DEVICE_ID [--json] [--config FILE]",
    .help = "Show one device identity of an embedded hub, without its keys. The secondary key is\n"
            "\"previous key\" from a registration on until the device uses its new "
            "key.\n\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
};

struct lookup {
    char hub[LK_HOST_NAME_MAX + 1];
    const char *device_id;
    struct lk_identity found;
    struct lk_presence present;
    uint32_t messages;
};

static enum lk_err
show_run(struct lk_txn *tx, void *arg)
{
    struct lookup *l = (struct lookup *)arg;
    enum lk_err err;

    if ((err = lk_txn_identity_get(tx, l->hub, l->device_id, &l->found)) != LK_OK ||
        (err = lk_txn_presence_get(tx, l->hub, l->device_id, &l->present)) != LK_OK) {
        return err;
    }
    return lk_txn_c2d_count(tx, l->hub, l->device_id, &l->messages);
}

static json_t *
lookup_json(const struct lookup *l)
{
    json_t *o = identity_json(&l->found);
    char active[LK_CLI_TIME_CAP];

    if (o != NULL &&
        (json_object_set_new(o, "connected", json_boolean(l->present.connected)) != 0 ||
         json_object_set_new(o, "lastActivity",
                             json_string(lk_cli_time(l->present.activity_ms, active))) != 0 ||
         json_object_set_new(o, "messages", json_integer(l->messages)) != 0)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static int
lookup_print(const struct lookup *l)
{
    const struct lk_identity *i = &l->found;
    char created[LK_CLI_TIME_CAP], updated[LK_CLI_TIME_CAP], active[LK_CLI_TIME_CAP];
    char reason[LK_CLI_SHOWN_CAP];

    (void)printf("hub               %s\ndevice ID         %s\ngeneration        %s\n"
                 "enabled           %s\nstatus reason     %s\nauthentication    %s\n"
                 "secondary key     %s\nregistered in     %s\netag              %s\n"
                 "connected         %s\nlast activity     %s\nmessages waiting  %u\n"
                 "created           %s\nupdated           %s\n",
                 i->hub, i->device_id, i->generation_id, i->enabled ? "yes" : "no",
                 i->status_reason[0] != '\0' ? lk_cli_shown(i->status_reason, reason) : "-",
                 auth_word(i), secondary_word(i), i->owner_scope[0] != '\0' ? i->owner_scope : "-",
                 i->etag, l->present.connected ? "yes" : "no",
                 lk_cli_time(l->present.activity_ms, active), (unsigned)l->messages,
                 lk_cli_time(i->created_ms, created), lk_cli_time(i->updated_ms, updated));
    return 0;
}

int
lk_cli_hub_device_show(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    LK_AUTO(json) json_t *o = NULL;
    struct lk_cli_common common = {.json = false};
    struct lookup l = {.device_id = NULL};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&show_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_hub_word(&show_form, argv[optind], l.hub)) != 0 ||
        (code = lk_cli_service_open(common.config, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    l.device_id = argv[optind + 1];
    if ((err = lk_store_read_wait(s.session, show_run, &l)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot show the device");
    }
    if (!common.json) {
        return lookup_print(&l);
    }
    o = lookup_json(&l);
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}
