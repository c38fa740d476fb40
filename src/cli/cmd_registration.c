/* latchkey registration: what became of the devices that registered. */
#include <inttypes.h>
#include <string.h>

#include "base/codec.h"
#include "cli/options.h"
#include "cli/service.h"
#include "wire/dps.h"

static const char *
status_name(enum lk_reg_status status)
{
    switch (status) {
    case LK_REG_NONE:
        break;
    case LK_REG_ASSIGNING:
        return "assigning";
    case LK_REG_ASSIGNED:
        return "assigned";
    case LK_REG_FAILED:
        return "failed";
    }
    return "none";
}

/* ---- list ------------------------------------------------------------------------------------ */

static const struct lk_cli_form list_form = {
    .usage = "latchkey registration list [--scope ID] [--json] [SERVICE]",
    .help = "List the registrations of an ID scope.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP
        LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
};

/* What the list and show have in common. */
static json_t *
summary_json(const struct lk_registration *r)
{
    char created[LK_CLI_TIME_CAP], updated[LK_CLI_TIME_CAP];

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "scope", r->scope,
                     "registrationId", r->id, "status", status_name(r->status), "substatus",
                     lk_dps_substatus_name((enum lk_dps_substatus)r->substatus), "assignedHub",
                     r->hub, "deviceId", r->device_id, "created",
                     lk_cli_time(r->created_ms, created), "updated",
                     lk_cli_time(r->updated_ms, updated), "generation", (json_int_t)r->generation);
}

static enum lk_err
registration_put(void *ctx, const struct lk_registration *r)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)ctx;
    char updated[LK_CLI_TIME_CAP];
    enum lk_err err;

    l->rows_count++;
    if ((err = lk_strcpy(l->last, sizeof(l->last), r->id)) != LK_OK) {
        return err;
    }
    if (l->json) {
        return lk_cli_put_json(&l->text, summary_json(r));
    }
    return lk_buf_printf(&l->text, "%-52s %-9s %-32s %s\n", r->id, status_name(r->status),
                         r->hub[0] != '\0' ? r->hub : "-", lk_cli_time(r->updated_ms, updated));
}

static enum lk_err
registrations_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    return lk_txn_registration_page(tx, (const char *)l->ctx, l->after, limit, registration_put, l);
}

static enum lk_err
registrations_fetch(struct lk_remote *r, struct lk_cli_listing *l)
{
    return lk_remote_registration_page(r, l->continuation, registration_put, l);
}

static int
registration_list(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    char scope[LK_ID_SCOPE_MAX + 1];
    struct lk_cli_listing list = {
        .page = registrations_page,
        .remote_page = registrations_fetch,
        .what = "cannot list the registrations",
        .head = "REGISTRATION ID                                      STATUS    HUB"
                "                              UPDATED",
        .ctx = scope};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&list_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_target_open(&common, LK_CLI_READ, &s)) != 0 ||
        (code = lk_cli_scope(&s, common.scope, scope)) != 0) {
        return code;
    }
    list.json = common.json;
    return lk_cli_list(&s, &list);
}

/* ---- one of them ----------------------------------------------------------------------------- */

struct lookup {
    const char *actor;
    char scope[LK_ID_SCOPE_MAX + 1];
    const char *id;
    struct lk_registration found;
};

static void
lookup_fini(struct lookup *l)
{
    lk_registration_fini(&l->found);
}
#define AUTO_LOOKUP __attribute__((cleanup(lookup_fini)))

/* Open the store and find the scope, for the registration ID at argv[optind]. */
static int
lookup_open(const struct lk_cli_common *common, enum lk_cli_access access, const char *id,
            struct lk_cli_service *s, struct lookup *l)
{
    int code;

    l->id = id;
    l->actor = s->actor;
    if (!lk_registration_id_ok(id, strlen(id))) {
        char shown[LK_CLI_SHOWN_CAP];

        return lk_cli_fail(LK_ERR_NOT_FOUND, "there is no registration \"%s\"",
                           lk_cli_shown(id, shown));
    }
    if ((code = lk_cli_target_open(common, access, s)) != 0) {
        return code;
    }
    return lk_cli_scope(s, common->scope, l->scope);
}

static int
lookup_fail(const struct lk_cli_service *s, enum lk_err err, const char *what)
{
    return s->remote != NULL ? lk_remote_fail(s->remote, err, what) : lk_cli_store_fail(err, what);
}

static enum lk_err
show_run(struct lk_txn *tx, void *arg)
{
    struct lookup *l = (struct lookup *)arg;
    enum lk_err err = lk_txn_registration_get(tx, l->scope, l->id, &l->found);

    return err == LK_OK && l->found.status == LK_REG_NONE ? LK_ERR_NOT_FOUND : err;
}

static const struct lk_cli_form show_form = {
    .usage = "latchkey registration show ID [--scope ID] [--json] [SERVICE]",
    .help = "Show one registration.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static int
show_json(const struct lk_registration *r, const char *ek_id)
{
    LK_AUTO(json) json_t *o = summary_json(r);
    json_t *payload = NULL;
    char attested[LK_CLI_TIME_CAP];

    if (o == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    /* Without memory a member would be missing: the whole answer fails. */
    if (json_object_set_new(o, "endorsementKeyId", json_string(ek_id)) != 0 ||
        json_object_set_new(o, "operationId", json_string(r->operation_id)) != 0 ||
        json_object_set_new(o, "attested", json_string(lk_cli_time(r->attested_ms, attested))) !=
            0 ||
        json_object_set_new(o, "etag", json_string(r->etag)) != 0 ||
        json_object_set_new(o, "errorCode", json_integer(r->error_code)) != 0 ||
        json_object_set_new(o, "errorMessage", json_string(r->error_message)) != 0) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    if (r->payload.len > 0 &&
        lk_json_parse(r->payload.data, r->payload.len, true, NULL, &payload) == LK_OK) {
        (void)json_object_set_new(o, "payload", payload);
    }
    return lk_cli_print_json(o);
}

static int
show_print(const struct lk_registration *r, const char *ek_id)
{
    char time[LK_CLI_TIME_CAP], shown[LK_CLI_SHOWN_CAP];

    (void)printf("ID scope          %s\nregistration ID   %s\nstatus            %s\n", r->scope,
                 r->id, status_name(r->status));
    (void)printf("substatus         %s\n",
                 lk_dps_substatus_name((enum lk_dps_substatus)r->substatus));
    (void)printf("hub               %s\ndevice ID         %s\nendorsement key   %s\n", r->hub,
                 r->device_id, ek_id);
    (void)printf("attestations      %" PRIu64 "\n", r->generation);
    (void)printf("attested          %s\n", lk_cli_time(r->attested_ms, time));
    (void)printf("created           %s\n", lk_cli_time(r->created_ms, time));
    (void)printf("updated           %s\n", lk_cli_time(r->updated_ms, time));
    if (r->error_code != 0) {
        (void)printf("error             %d %s\n", r->error_code,
                     lk_cli_shown(r->error_message, shown));
    }
    return 0;
}

static int
registration_show(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    AUTO_LOOKUP struct lookup l = {.id = NULL};
    LK_AUTO_BUF struct lk_buf hex = LK_BUF_INIT;
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&show_form, argc, argv, &common, NULL, &code) ||
        (code = lookup_open(&common, LK_CLI_READ, argv[optind], &s, &l)) != 0) {
        return code;
    }
    err = s.remote != NULL ? lk_remote_registration_get(s.remote, l.id, &l.found)
                           : lk_store_read_wait(s.session, show_run, &l);
    if (err != LK_OK) {
        return lookup_fail(&s, err, "cannot show the registration");
    }
    if (lk_hex_encode(l.found.ek_id, LK_EK_ID_LEN, &hex) != LK_OK || lk_buf_text(&hex) == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    return common.json ? show_json(&l.found, lk_buf_text(&hex))
                       : show_print(&l.found, lk_buf_text(&hex));
}

/* ---- remove ---------------------------------------------------------------------------------- */

static const struct lk_cli_form remove_form = {
    .usage = "latchkey registration remove ID [--scope ID] [SERVICE]",
    .help = "Forget a registration: the next one of this device chooses a hub afresh. Its\n"
            "enrollment stays, and so does its identity at the "
            "hub.\n\n" LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    const struct lookup *l = (const struct lookup *)arg;
    enum lk_err err = lk_txn_registration_delete(tx, l->scope, l->id, NULL);

    return err != LK_OK
               ? err
               : lk_txn_audit_append(tx, l->actor, "registration.remove", l->scope, l->id, "");
}

static int
registration_remove(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    AUTO_LOOKUP struct lookup l = {.id = NULL};
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&remove_form, argc, argv, &common, NULL, &code) ||
        (code = lookup_open(&common, LK_CLI_WRITE, argv[optind], &s, &l)) != 0) {
        return code;
    }
    err = s.remote != NULL ? lk_remote_registration_delete(s.remote, l.id)
                           : lk_store_write_wait(s.session, remove_run, &l);
    return err == LK_OK ? 0 : lookup_fail(&s, err, "cannot remove the registration");
}

int
lk_cmd_registration(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"list", registration_list, "list the registrations"},
        {"show", registration_show, "show one of them"},
        {"remove", registration_remove, "forget one of them"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey registration", argc, argv);
}
