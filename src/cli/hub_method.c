/*
 * latchkey hub method: direct methods of devices. A device is asked by its hub's broker, so this
 * needs a running service, which it calls over HTTPS as any operator does: an embedded hub at this
 * machine's own service, with the key of one of its policies, a hub elsewhere by its connection.
 */
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "cli/hub_device.h"
#include "hub/broker.h"
#include "hub/policy.h"
#include "link/connection.h"
#include "net/client.h"
#include "wire/members.h"

#define ANSWER_MAX (LK_METHOD_PAYLOAD_MAX + 4096) /* bytes */
#define MARGIN_MS 10000u                          /* for everything but the device */
#define AUTHORITY "ca.pem" /* beside the certificate of a service that `latchkey init` made */

enum { OPT_PAYLOAD = LK_CLI_OPT_COMMAND, OPT_RESPONSE, OPT_CONNECT, OPT_CA };

struct method {
    struct lk_cli_hub_call call;
    const char *name, *payload_file, *ca_file;
    uint64_t response_s, connect_s;
    struct lk_hub hub;
    struct lk_hub_connection connection;
    char connect_to[LK_HUB_CONNECTION_PEER_CAP]; /* "": where the name leads */
    struct lk_buf body;
    struct lk_loop *loop;
    struct lk_buf answer;
    int status;
    enum lk_err err;
    const char *detail;
};

static void
method_fini(struct method *m)
{
    lk_hub_fini(&m->hub);
    lk_hub_connection_fini(&m->connection);
    lk_buf_fini(&m->body);
    lk_buf_fini(&m->answer);
    lk_cli_hub_call_fini(&m->call);
}

static enum lk_err
call_take(void *ctx, int option, const char *value)
{
    struct method *m = ctx;

    switch (option) {
    case OPT_PAYLOAD:
        m->payload_file = value;
        return LK_OK;
    case OPT_CA:
        m->ca_file = value;
        return LK_OK;
    case OPT_RESPONSE:
        return lk_cli_number(value, 5, 300, &m->response_s);
    default:
        return lk_cli_number(value, 0, 300, &m->connect_s);
    }
}

static const struct lk_cli_form call_form = {
    .usage = "latchkey hub method call HUB DEVICE_ID METHOD [--payload-file FILE]\n"
             "         [--response-timeout-s SECONDS] [--connect-timeout-s SECONDS]\n"
             "         [--ca-file FILE] [--config FILE]",
    .help = "Call a direct method of a device, and print its answer as JSON: its status and its\n"
            "payload. The service has to run, and the device to be connected.\n\n"
            "  --payload-file FILE      JSON for the method; - is stdin; default none\n"
            "  --response-timeout-s SECONDS\n"
            "                           for the device's answer, 5 to 300; default 30\n"
            "  --connect-timeout-s SECONDS\n"
            "                           for it to connect, 0 to 300; default 0\n"
            "  --ca-file FILE           who signed the service's certificate; default ca.pem\n"
            "                           beside that, else the system's "
            "authorities\n" LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){{"payload-file", required_argument, NULL, OPT_PAYLOAD},
                                {"response-timeout-s", required_argument, NULL, OPT_RESPONSE},
                                {"connect-timeout-s", required_argument, NULL, OPT_CONNECT},
                                {"ca-file", required_argument, NULL, OPT_CA},
                                LK_CLI_CONFIG_OPTION,
                                LK_CLI_END_OPTIONS},
    .words_min = 3,
    .words_max = 3,
    .take = call_take,
};

/* ---- what is asked --------------------------------------------------------------------------- */

static json_t *
body_json(const struct method *m, const struct lk_buf *payload)
{
    json_t *o =
        json_pack("{s:s, s:I, s:I}", "methodName", m->name, "responseTimeoutInSeconds",
                  (json_int_t)m->response_s, "connectTimeoutInSeconds", (json_int_t)m->connect_s);

    if (o != NULL && lk_member_json(o, "payload", payload) != LK_OK) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* 0, or an exit code after telling what is wrong. */
static int
body_make(struct method *m)
{
    LK_AUTO_BUF struct lk_buf payload = LK_BUF_INIT;
    LK_AUTO(json) json_t *judged = NULL;
    LK_AUTO(json) json_t *o = NULL;
    char shown[LK_CLI_SHOWN_CAP], error[LK_JSON_ERROR_CAP] = "";
    enum lk_err err = LK_OK;

    if (m->payload_file != NULL) {
        if ((err = lk_cli_file_read(m->payload_file, LK_METHOD_PAYLOAD_MAX, &payload)) != LK_OK) {
            return lk_cli_fail(err, "cannot read %s", lk_cli_shown(m->payload_file, shown));
        }
        if ((err = lk_json_parse(payload.data, payload.len, true, error, &judged)) != LK_OK) {
            return lk_cli_fail(err, "%s: %s", lk_cli_shown(m->payload_file, shown), error);
        }
    }
    o = body_json(m, &payload);
    err = o == NULL ? LK_ERR_NOMEM : lk_json_write(o, &m->body);
    return err == LK_OK ? 0 : lk_cli_fail(err, "cannot build the call");
}

/* ---- where ----------------------------------------------------------------------------------- */

struct policy_search {
    struct method *m;
    bool found;
};

/* The first that may. LK_ERR_CANCELLED ends the walk. */
static enum lk_err
policy_each(void *ctx, const struct lk_hub_policy *p)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct policy_search *s = ctx;
    struct method *m = s->m;
    enum lk_err err;

    if ((p->rights & LK_HUB_SERVICE_CONNECT) == 0) {
        return LK_OK;
    }
    err = lk_hub_policy_connection_string(m->call.s.ring, p, LK_POLICY_PRIMARY, m->call.hub, &text);
    if (err == LK_OK) {
        err = lk_hub_connection_parse((const char *)text.data, text.len, NULL, &m->connection);
    }
    s->found = err == LK_OK;
    return err == LK_OK ? LK_ERR_CANCELLED : err;
}

static enum lk_err
connection_run(struct lk_txn *tx, void *arg)
{
    struct method *m = arg;
    struct policy_search search = {.m = m};
    enum lk_err err = lk_txn_hub_get(tx, m->call.hub, &m->hub);

    if (err != LK_OK || m->hub.kind == LK_HUB_HTTP) {
        return err;
    }
    err = lk_txn_hub_policy_each(tx, m->call.hub, policy_each, &search);
    return search.found ? LK_OK : err == LK_OK ? LK_ERR_REFUSED : err;
}

/* This machine's own service, wherever the hub's name leads. */
static enum lk_err
listen_find(const char *listen, char ret[LK_HUB_CONNECTION_PEER_CAP])
{
    const char *port = strrchr(listen, ':');
    size_t host = port == NULL ? 0 : (size_t)(port - listen);
    bool any = host == 0 || strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0;
    int len = any ? snprintf(ret, LK_HUB_CONNECTION_PEER_CAP, "127.0.0.1%s", port)
                  : snprintf(ret, LK_HUB_CONNECTION_PEER_CAP, "%s", listen);

    return port != NULL && len > 0 && (size_t)len < LK_HUB_CONNECTION_PEER_CAP ? LK_OK
                                                                               : LK_ERR_CONFIG;
}

static enum lk_err
authority_find(struct method *m)
{
    LK_AUTO_BUF struct lk_buf path = LK_BUF_INIT;
    const char *cert = m->call.s.config.tls_cert, *slash = strrchr(cert, '/');
    enum lk_err err = lk_buf_put(&path, cert, slash == NULL ? 0 : (size_t)(slash - cert) + 1);

    if (err != LK_OK || (err = lk_buf_puts(&path, AUTHORITY)) != LK_OK ||
        lk_buf_text(&path) == NULL) {
        return err != LK_OK ? err : LK_ERR_NOMEM;
    }
    err = lk_cli_file_read(lk_buf_text(&path), LK_HUB_CONNECTION_CA_MAX, &m->connection.ca);
    return err == LK_ERR_IO ? LK_OK : err;
}

/* 0, or an exit code after telling what is wrong. */
static int
connection_find(struct method *m)
{
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err = lk_store_read_wait(m->call.s.session, connection_run, m);

    if (err == LK_ERR_REFUSED) {
        return lk_cli_fail(err,
                           "no policy of the hub may call methods: add one with "
                           "`latchkey hub policy add %s iothubowner`",
                           m->call.hub);
    }
    if (err != LK_OK) {
        return lk_cli_store_fail(err, "cannot find the hub");
    }
    if (m->hub.kind == LK_HUB_HTTP) {
        err = lk_hub_connection_open(m->call.s.ring, &m->hub, &m->connection);
        memcpy(m->connect_to, m->connection.gateway, sizeof(m->connect_to));
    } else if ((err = listen_find(m->call.s.config.listen, m->connect_to)) == LK_OK &&
               m->ca_file == NULL) {
        err = authority_find(m);
    }
    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot tell how the hub is reached");
    }
    err = m->ca_file == NULL
              ? LK_OK
              : lk_cli_file_read(m->ca_file, LK_HUB_CONNECTION_CA_MAX, &m->connection.ca);
    return err == LK_OK ? 0 : lk_cli_fail(err, "cannot read %s", lk_cli_shown(m->ca_file, shown));
}

/* ---- the call -------------------------------------------------------------------------------- */

static void
called(void *arg, const struct lk_client_answer *answer)
{
    struct method *m = arg;

    m->status = answer->status;
    m->detail = answer->detail;
    m->err = answer->err != LK_OK ? answer->err
                                  : lk_buf_put(&m->answer, answer->body.p, answer->body.left);
    lk_loop_stop(m->loop);
}

static enum lk_err
url_make(const struct method *m, struct lk_buf *ret)
{
    enum lk_err err;

    if ((err = lk_buf_printf(ret, "https://%s:%u/twins/", m->connection.host,
                             (unsigned)m->connection.port)) != LK_OK ||
        (err = lk_percent_encode(m->call.device_id, strlen(m->call.device_id), ret)) != LK_OK ||
        (err = lk_buf_puts(ret, "/methods?api-version=2021-04-12")) != LK_OK) {
        return err;
    }
    return lk_buf_text(ret) == NULL ? LK_ERR_NOMEM : LK_OK;
}

static enum lk_err
call_run(struct method *m)
{
    LK_AUTO(lk_loop) struct lk_loop *loop = NULL;
    LK_AUTO(lk_allow) struct lk_allow *allow = NULL;
    LK_AUTO(lk_client) struct lk_client *client = NULL;
    LK_AUTO_BUF struct lk_buf url = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf token = LK_BUF_INIT;
    struct lk_client_config opts = {.total_ms =
                                        (uint32_t)(m->response_s + m->connect_s) * 1000 + MARGIN_MS,
                                    .answer_max = ANSWER_MAX};
    struct lk_client_request req = {.method = "POST", .body = &m->body};
    enum lk_err err;

    if ((err = url_make(m, &url)) != LK_OK ||
        (err = lk_hub_connection_token(&m->connection, lk_clock_unix_ms(&lk_clock_system),
                                       &token)) != LK_OK ||
        (err = lk_loop_new(&loop)) != LK_OK ||
        (err = lk_allow_parse(lk_config_list(m->call.s.config.hub_allow), NULL, &allow)) != LK_OK) {
        return err;
    }
    opts.allow = m->connection.is_remote ? allow : NULL;
    if ((err = lk_client_new(loop, &opts, &client)) != LK_OK) {
        return err;
    }
    m->loop = loop;
    req.url = lk_buf_text(&url);
    req.authorization = lk_buf_text(&token);
    req.connect_to = m->connect_to[0] != '\0' ? m->connect_to : NULL;
    req.ca_pem = m->connection.ca.len > 0 ? lk_buf_text(&m->connection.ca) : NULL;
    if (req.authorization == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = lk_client_send(client, &req, called, m)) != LK_OK) {
        return err;
    }
    return lk_loop_run(loop);
}

static enum lk_err
err_of(int status)
{
    switch (status) {
    case 400:
    case 413:
        return LK_ERR_FORMAT;
    case 401:
    case 403:
        return LK_ERR_REFUSED;
    case 404:
        return LK_ERR_NOT_FOUND;
    case 504:
        return LK_ERR_TIMEOUT;
    case 429:
    case 503:
        return LK_ERR_BUSY;
    default:
        return LK_ERR_PROTOCOL;
    }
}

static int
answer_tell(const struct method *m)
{
    LK_AUTO(json) json_t *o = NULL;
    const char *message = NULL;
    char shown[LK_CLI_SHOWN_CAP];

    if (m->err != LK_OK) {
        return lk_cli_fail(m->err, "cannot ask the hub: %s", m->detail);
    }
    if (lk_json_parse(m->answer.data, m->answer.len, false, NULL, &o) != LK_OK) {
        o = NULL;
    }
    if (m->status == 200 && o != NULL) {
        return lk_cli_print_json(o);
    }
    if (lk_json_text(o, "Message", &message) == LK_OK && message != NULL &&
        strchr(message, ';') != NULL) {
        message = strchr(message, ';') + 1;
    }
    return lk_cli_fail(m->status == 200 ? LK_ERR_PROTOCOL : err_of(m->status),
                       "the hub answered with %d: %s", m->status,
                       lk_cli_shown(message != NULL ? message : "", shown));
}

static int
method_call(int argc, char **argv)
{
    __attribute__((cleanup(method_fini))) struct method m = {.response_s = 30};
    int code;
    enum lk_err err;

    if (!lk_cli_hub_call_open(&m.call, &call_form, argc, argv, &m, LK_CLI_READ, &code)) {
        return code;
    }
    m.name = argv[optind + 2];
    if ((code = body_make(&m)) != 0 || (code = connection_find(&m)) != 0) {
        return code;
    }
    err = call_run(&m);
    return err == LK_OK ? answer_tell(&m) : lk_cli_fail(err, "cannot ask the hub");
}

int
lk_cli_hub_method(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"call", method_call, "call a direct method of a device"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey hub method", argc, argv);
}
