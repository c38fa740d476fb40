/* latchkey hub add --connection-string, hub test: hubs elsewhere. */
#include <string.h>
#include <sysexits.h>

#include "base/codec.h"
#include "cli/cmd_hub.h"
#include "link/connection.h"
#include "link/link.h"
#include "net/loop.h"

/* ---- the connection of a hub ------------------------------------------------------------------
 */

void
lk_cli_hub_connection_fini(struct lk_cli_hub_connection *c)
{
    lk_buf_fini(&c->string);
    lk_buf_fini(&c->ca);
}

static struct lk_hub_connection_text
text_of(const struct lk_cli_hub_connection *c)
{
    return (struct lk_hub_connection_text){
        .text = (const char *)c->string.data, .len = c->string.len, .ca = &c->ca};
}

static int
files_read(struct lk_cli_hub_connection *c)
{
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err = LK_OK;

    if (c->ca_file != NULL) {
        err = lk_cli_file_read(c->ca_file, LK_HUB_CONNECTION_CA_MAX, &c->ca);
    }
    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(c->ca_file, shown));
    }
    err = lk_cli_secret_read(c->string_file, &c->string);
    if (err == LK_OK && (lk_buf_text(&c->string) == NULL || lk_buf_text(&c->ca) == NULL)) {
        err = LK_ERR_NOMEM;
    }
    return err == LK_OK ? 0
                        : lk_cli_fail(err, "cannot read %s", lk_cli_shown(c->string_file, shown));
}

int
lk_cli_hub_connection_read(struct lk_cli_hub_connection *c, const struct lk_cli_common *common,
                           const char *hub)
{
    struct lk_hub_connection_text from;
    char error[LK_HUB_CONNECTION_ERROR_CAP] = "";
    int code;
    enum lk_err err;

    /* It is not taken from the command line, where others can read it, and not quoted either. */
    if (strstr(c->string_file, "SharedAccessKey") != NULL) {
        lk_cli_note("a connection string is secret: give the name of a file that holds it, or -");
        return EX_USAGE;
    }
    if (strcmp(c->string_file, "-") == 0 && common->connection != NULL &&
        strcmp(common->connection, "-") == 0) {
        lk_cli_note("standard input can be one connection string: the hub's or the service's");
        return EX_USAGE;
    }
    if ((code = files_read(c)) != 0) {
        return code;
    }
    if (c->ca_file != NULL && c->ca.len == 0) {
        lk_cli_note("there is no certificate in the file of authorities");
        return lk_err_exit_code(LK_ERR_FORMAT);
    }
    from = text_of(c);
    if ((err = lk_hub_connection_check(&from, hub, error)) != LK_OK) {
        lk_cli_note("the connection string is not acceptable: %s",
                    error[0] != '\0' ? error : lk_err_text(err));
        return lk_err_exit_code(err);
    }
    return 0;
}

enum lk_err
lk_cli_hub_connection_seal(const struct lk_cli_hub_connection *c, const struct lk_cli_service *s,
                           const char *hub, struct lk_buf *ret)
{
    const struct lk_hub_connection_text from = text_of(c);

    return lk_hub_connection_seal(s->ring, &lk_rand_system, hub, &from, ret);
}

void
lk_cli_hub_connection_put(const struct lk_cli_hub_connection *c, struct lk_hub_request *r)
{
    r->connection = c->string_file != NULL ? (const char *)c->string.data : NULL;
    r->authorities = c->ca_file != NULL ? (const char *)c->ca.data : NULL;
}

/* ---- show --------------------------------------------------------------------------------------
 */

static const struct lk_cli_form show_form = {
    .usage = "latchkey hub show NAME [--json] [--config FILE]",
    .help = "Show a hub. Of one elsewhere: where it is reached and by which policy, not its key;\n"
            "and how many devices wait for it (errands: counted up to 10000).\n\n" LK_CLI_JSON_HELP
                LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

#define ERRANDS_COUNTED 10000

struct shown {
    struct lk_hub hub;
    int64_t errands;
    struct lk_hub_connection connection; /* of a hub elsewhere */
    bool opened;
};

static void
shown_fini(struct shown *s)
{
    lk_hub_connection_fini(&s->connection);
    lk_hub_fini(&s->hub);
}

static enum lk_err
show_run(struct lk_txn *tx, void *arg)
{
    struct shown *s = (struct shown *)arg;
    enum lk_err err = lk_txn_hub_get(tx, s->hub.name, &s->hub);

    return err != LK_OK ? err : lk_txn_errand_count(tx, s->hub.name, ERRANDS_COUNTED, &s->errands);
}

static json_t *
shown_json(const struct shown *s)
{
    const struct lk_hub_connection *c = &s->connection;
    char time[LK_CLI_TIME_CAP];
    bool http = s->hub.kind == LK_HUB_HTTP;
    json_t *o = json_pack("{s:s, s:s, s:i, s:b, s:s, s:s, s:I}", "name", s->hub.name, "kind",
                          http ? "http" : "embedded", "weight", (int)s->hub.weight, "allocatable",
                          s->hub.allocatable, "created", lk_cli_time(s->hub.created_ms, time),
                          "region", s->hub.region, "errands", (json_int_t)s->errands);

    if (o != NULL && http && s->opened &&
        (json_object_set_new(o, "port", json_integer(c->port)) != 0 ||
         json_object_set_new(o, "gateway", json_string(c->gateway)) != 0 ||
         json_object_set_new(o, "policy", json_string(c->policy)) != 0 ||
         json_object_set_new(o, "ownAuthorities", json_boolean(c->ca.len > 0)) != 0)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static void
shown_print(const struct shown *s)
{
    const struct lk_hub_connection *c = &s->connection;
    char time[LK_CLI_TIME_CAP];

    (void)printf("name         %s\nkind         %s\nweight       %u\nallocated    %s\n"
                 "region       %s\ncreated      %s\n",
                 s->hub.name, s->hub.kind == LK_HUB_HTTP ? "http" : "embedded", s->hub.weight,
                 s->hub.allocatable ? "yes" : "no", s->hub.region[0] != '\0' ? s->hub.region : "-",
                 lk_cli_time(s->hub.created_ms, time));
    if (s->hub.kind != LK_HUB_HTTP) {
        return;
    }
    if (s->opened) {
        (void)printf("port         %u\ngateway      %s\npolicy       %s\nauthorities  %s\n",
                     c->port, c->gateway[0] != '\0' ? c->gateway : "-", c->policy,
                     c->ca.len > 0 ? "its own" : "hub-ca-file, or the system's");
    } else {
        (void)printf("connection   does not open with this keyring\n");
    }
    (void)printf("errands      %lld\n", (long long)s->errands);
}

int
lk_cli_hub_show(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    __attribute__((cleanup(shown_fini))) struct shown shown = {.opened = false};
    struct lk_cli_common common = {.json = false};
    LK_AUTO(json) json_t *o = NULL;
    int code;
    enum lk_err err;

    if (!lk_cli_options(&show_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_hub_word(&show_form, argv[optind], shown.hub.name)) != 0 ||
        (code = lk_cli_service_open(common.config, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    if ((err = lk_store_read_wait(s.session, show_run, &shown)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot show the hub");
    }
    shown.opened = shown.hub.kind == LK_HUB_HTTP &&
                   lk_hub_connection_open(s.ring, &shown.hub, &shown.connection) == LK_OK;
    if (!common.json) {
        shown_print(&shown);
        return 0;
    }
    o = shown_json(&shown);
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

/* ---- test --------------------------------------------------------------------------------------
 */

static const struct lk_cli_form test_form = {
    .usage = "latchkey hub test NAME [--json] [--config FILE]",
    .help = "Call a hub elsewhere as the service would: find it, verify its certificate, sign in,\n"
            "and ask how many devices it has. Says what failed, and what to look "
            "at.\n\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

struct probe {
    struct lk_loop *loop;
    bool done;
    enum lk_err err;
    char detail[200];
    int64_t devices;
};

static void
probed(void *arg, const struct lk_hub_answer *answer, int64_t devices)
{
    struct probe *p = (struct probe *)arg;

    p->done = true;
    p->err = answer->err;
    p->devices = devices;
    (void)snprintf(p->detail, sizeof(p->detail), "%s", answer->detail); /* cut when too long */
    lk_loop_stop(p->loop);
}

static const char *
advice(enum lk_err err)
{
    switch (err) {
    case LK_ERR_TLS:
        return "its certificate was not accepted: it must be in date, name the hub, and be signed "
               "by an authority of `hub add --ca-file`, hub-ca-file or the system";
    case LK_ERR_REFUSED:
        return "it refuses the credential: look at policy and key, at its rights (RegistryRead, "
               "RegistryWrite, ServiceConnect), and at both clocks; or hub-allow does not list the "
               "address of a hub that was linked over the network";
    case LK_ERR_NETWORK:
    case LK_ERR_TIMEOUT:
        return "it was not reached: look at the host name, the port, GatewayHostName and firewalls";
    case LK_ERR_BUSY:
        return "it answers, but that it is busy or broken: try again later";
    case LK_ERR_PROTOCOL:
    case LK_ERR_NOT_FOUND:
    case LK_ERR_UNSUPPORTED:
        return "whoever answers there is no hub's registry: look at the host name and port";
    case LK_ERR_CONFIG:
    case LK_ERR_STORE:
        return "the connection string cannot be opened with this keyring: add the hub again";
    default:
        return NULL;
    }
}

/* The exit code is the same in either form. */
static int
probe_tell_json(const struct probe *p, const char *name)
{
    char shown[LK_CLI_SHOWN_CAP]; /* the peer may have a word in it */
    LK_AUTO(json)
    json_t *o = p->err == LK_OK
                    ? json_pack("{s:s, s:b, s:I}", "hub", name, "accepted", 1, "devices",
                                (json_int_t)p->devices)
                    : json_pack("{s:s, s:b, s:s, s:s}", "hub", name, "accepted", 0, "error",
                                lk_err_text(p->err), "detail", lk_cli_shown(p->detail, shown));
    int code;

    if (o == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    code = lk_cli_print_json(o);
    return code != 0 || p->err == LK_OK ? code : lk_err_exit_code(p->err);
}

static int
probe_tell(const struct probe *p, const char *name)
{
    const char *hint = advice(p->err);

    if (p->err == LK_OK) {
        (void)printf("%s answers and accepts this service: %lld devices\n", name,
                     (long long)p->devices);
        return 0;
    }
    lk_cli_note("%s: %s: %s", name, lk_err_text(p->err), p->detail);
    if (hint != NULL) {
        lk_cli_note("%s", hint);
    }
    return lk_err_exit_code(p->err);
}

static int
probe_run(const struct lk_cli_service *s, const struct lk_hub *hub, bool json)
{
    LK_AUTO(lk_loop) struct lk_loop *loop = NULL;
    LK_AUTO(lk_allow) struct lk_allow *allow = NULL;
    LK_AUTO(lk_client) struct lk_client *client = NULL;
    LK_AUTO(lk_client) struct lk_client *limited = NULL;
    LK_AUTO(lk_hub_board) struct lk_hub_board *board = NULL;
    LK_AUTO(lk_hub_http) struct lk_hub_http *http = NULL;
    const char *ca = lk_config_list(s->config.hub_ca_file);
    const char *list = lk_config_list(s->config.hub_allow);
    struct lk_client_config client_opts = {.ca_file = ca[0] == '\0' ? NULL : ca,
                                           .total_ms = s->config.hub_call_ms,
                                           .answer_max = LK_HUB_ANSWER_MAX};
    struct lk_hub_http_config opts = {.clock = &lk_clock_system, .keyring = s->ring};
    struct probe p = {.done = false};
    enum lk_err err;

    if ((err = lk_loop_new(&loop)) != LK_OK ||
        (err = lk_allow_parse(list, NULL, &allow)) != LK_OK ||
        (err = lk_client_new(loop, &client_opts, &client)) != LK_OK ||
        (err = lk_hub_board_new(&lk_clock_system, 1, &board)) != LK_OK) {
        return lk_cli_fail(err, "cannot call anybody");
    }
    client_opts.allow = allow; /* an empty list allows nothing */
    if ((err = lk_client_new(loop, &client_opts, &limited)) != LK_OK) {
        return lk_cli_fail(err, "cannot call anybody");
    }
    opts.client = client;
    opts.limited = limited;
    opts.board = board;
    if ((err = lk_hub_http_new(&opts, &http)) != LK_OK) {
        return lk_cli_fail(err, "cannot call anybody");
    }
    p.loop = loop;
    lk_hub_http_probe(http, hub, probed, &p);
    if (!p.done && (err = lk_loop_run(loop)) != LK_OK) {
        return lk_cli_fail(err, "cannot call anybody");
    }
    return json ? probe_tell_json(&p, hub->name) : probe_tell(&p, hub->name);
}

int
lk_cli_hub_test(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    __attribute__((cleanup(shown_fini))) struct shown shown = {.opened = false};
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&test_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_hub_word(&test_form, argv[optind], shown.hub.name)) != 0 ||
        (code = lk_cli_service_open(common.config, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    if ((err = lk_store_read_wait(s.session, show_run, &shown)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot find the hub");
    }
    if (shown.hub.kind != LK_HUB_HTTP) {
        lk_cli_note("%s is embedded: there is nobody to call", shown.hub.name);
        return lk_err_exit_code(LK_ERR_ARG);
    }
    return probe_run(&s, &shown.hub, common.json);
}
