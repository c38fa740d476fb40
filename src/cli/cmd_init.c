/*
 * latchkey init: everything that the service needs, in one go. Either all of it is there
 * afterwards, or nothing that this run made.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/codec.h"
#include "cli/cmd_hub.h"
#include "cli/cmd_policy.h"
#include "cli/init_files.h"
#include "crypto/tls.h"

#define HOSTS_MAX 16u
/* The CA's private key is not kept, so this is also how long devices can trust it. */
#define CERT_DAYS 3650u

struct init {
    /* What was given; borrowed. */
    const char *data_dir, *config_given, *scope_given, *hub_given;
    const char *store, *listen, *admin_listen, *tls_cert, *tls_key;
    const char *hosts[HOSTS_MAX + 1]; /* the last is for the hub's name */
    size_t hosts_count;

    struct lk_init_files files;
    char actor[64];
    char scope[LK_ID_SCOPE_MAX + 1], hub[LK_HOST_NAME_MAX + 1];
    struct lk_policy owner;   /* of the scope, with every right */
    struct lk_buf connection; /* its connection string; secret */
    struct lk_buf config_text;
    struct lk_config config; /* as config_text reads */
};

static void
init_fini(struct init *i)
{
    lk_init_files_undo(&i->files);
    lk_buf_fini(&i->config_text);
    lk_policy_fini(&i->owner);
    lk_buf_fini(&i->connection);
}

/* ---- the options ----------------------------------------------------------------------------- */

enum {
    OPT_DATA_DIR = LK_CLI_OPT_COMMAND,
    OPT_ID_SCOPE,
    OPT_HOST,
    OPT_HUB,
    OPT_STORE,
    OPT_LISTEN,
    OPT_ADMIN_LISTEN,
    OPT_TLS_CERT,
    OPT_TLS_KEY
};

static bool
is_address(const char *text)
{
    uint8_t address[16];

    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static enum lk_err
host_take(struct init *i, const char *value)
{
    if (i->hosts_count == HOSTS_MAX ||
        (!is_address(value) && !lk_host_name_ok(value, strlen(value)))) {
        return LK_ERR_ARG;
    }
    i->hosts[i->hosts_count++] = value;
    return LK_OK;
}

static enum lk_err
init_take(void *ctx, int option, const char *value)
{
    struct init *i = (struct init *)ctx;

    switch (option) {
    case OPT_DATA_DIR:
        i->data_dir = value;
        return value[0] != '\0' ? LK_OK : LK_ERR_ARG;
    case OPT_ID_SCOPE:
        i->scope_given = value;
        return lk_cli_scope_ok(value) ? LK_OK : LK_ERR_ARG;
    case OPT_HOST:
        return host_take(i, value);
    case OPT_HUB:
        i->hub_given = value;
        return lk_hub_name_parse(value, i->hub) == LK_OK ? LK_OK : LK_ERR_ARG;
    case OPT_STORE:
        i->store = value;
        return LK_OK;
    case OPT_LISTEN:
        i->listen = value;
        return LK_OK;
    case OPT_ADMIN_LISTEN:
        i->admin_listen = value;
        return LK_OK;
    case OPT_TLS_CERT:
        i->tls_cert = value;
        return LK_OK;
    default:
        i->tls_key = value;
        return LK_OK;
    }
}

static const struct lk_cli_form form = {
    .usage =
        "latchkey init --data-dir DIR [--config FILE] [--id-scope ID] [--host NAME]...\n"
        "                     [--hub NAME] [--store URL] [--listen ADDR] [--admin-listen ADDR]\n"
        "                     [--tls-cert FILE --tls-key FILE] [--json]",
    .help =
        "Make a new service: its data folder with master key and database, one ID scope, one\n"
        "embedded hub, an access policy for the operators' tools, a certificate and the\n"
        "configuration file. Nothing is overwritten. When root gives an empty folder of another\n"
        "user, the files in it become that user's. The policy's connection string, which is\n"
        "secret, is part of what is printed.\n\n"
        "  --data-dir DIR           folder that is made, or is there and empty\n"
        "  --config FILE            configuration file; default DIR/latchkeyd.conf\n"
        "  --id-scope ID            default: a fresh one\n"
        "  --host NAME              name or address by which devices reach the service; may be\n"
        "                           repeated; default localhost\n"
        "  --hub NAME               name of the hub; default hub. and the first host\n"
        "  --store URL              database: postgresql://USER@HOST/DATABASE?passfile=FILE, "
        "which\n"
        "                           is there and empty; default a SQLite file in DIR\n"
        "  --listen ADDR            address:port of the device API; default :443\n"
        "  --admin-listen ADDR      address:port for health and metrics, or none; default\n"
        "                           127.0.0.1:9464\n"
        "  --tls-cert FILE          certificate (PEM) instead of one signed by a CA of its own\n"
        "  --tls-key FILE           and its private key\n"
        "  --json                   the result as one JSON document\n",
    .options = (const struct option[]){{"data-dir", required_argument, NULL, OPT_DATA_DIR},
                                       {"id-scope", required_argument, NULL, OPT_ID_SCOPE},
                                       {"host", required_argument, NULL, OPT_HOST},
                                       {"hub", required_argument, NULL, OPT_HUB},
                                       {"store", required_argument, NULL, OPT_STORE},
                                       {"listen", required_argument, NULL, OPT_LISTEN},
                                       {"admin-listen", required_argument, NULL, OPT_ADMIN_LISTEN},
                                       {"tls-cert", required_argument, NULL, OPT_TLS_CERT},
                                       {"tls-key", required_argument, NULL, OPT_TLS_KEY},
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .take = init_take,
};

/* What was not given. */
static int
defaults_fill(struct init *i)
{
    char name[LK_HOST_NAME_MAX + sizeof("hub.")];
    enum lk_err err;

    if (i->hosts_count == 0) {
        i->hosts[i->hosts_count++] = "localhost";
        i->hosts[i->hosts_count++] = "127.0.0.1";
        i->hosts[i->hosts_count++] = "::1";
    }
    (void)snprintf(name, sizeof(name), "hub.%s",
                   is_address(i->hosts[0]) ? "localhost" : i->hosts[0]);
    if (i->hub_given == NULL && lk_hub_name_parse(name, i->hub) != LK_OK) {
        return lk_cli_usage(form.usage, "name the hub with --hub: \"%s\" would be too long", name);
    }
    err = i->scope_given != NULL ? lk_strcpy(i->scope, sizeof(i->scope), i->scope_given)
                                 : lk_cli_scope_make(i->scope);
    return err == LK_OK ? 0 : lk_cli_fail(err, "cannot make an ID scope");
}

/* ---- the configuration ----------------------------------------------------------------------- */

static enum lk_err
config_build(struct init *i)
{
    const struct lk_config_setting settings[] = {
        {"data-dir", i->files.dir},      {"store", i->store},
        {"listen", i->listen},           {"admin-listen", i->admin_listen},
        {"tls-cert", i->files.tls_cert}, {"tls-key", i->files.tls_key},
    };

    return lk_config_template(settings, LK_ARRAY_LEN(settings), &i->config_text);
}

/* What is written is what the service will read: a value that it refuses is found now. */
static int
config_check(struct init *i)
{
    char error[LK_CONFIG_ERROR_CAP] = "";
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if ((err = config_build(i)) != LK_OK) {
        return lk_cli_fail(err, "cannot write a configuration with these values");
    }
    err = lk_config_parse(i->files.config, (const char *)i->config_text.data, i->config_text.len,
                          error, &i->config);
    if (err != LK_OK) {
        lk_cli_note("%s", lk_cli_shown(error, shown));
        return lk_err_exit_code(err);
    }
    if (strcmp(i->config.data_dir, i->files.dir) != 0) {
        lk_cli_note("a configuration file cannot hold the name of this folder");
        return lk_err_exit_code(LK_ERR_ARG);
    }
    return 0;
}

/*
 * A clock that was never set is before the program was built. What is made by it (certificate,
 * times of the audit record) would be wrong for good.
 */
static int
clock_check(void)
{
    struct tm built = {.tm_year = LK_BUILD_YEAR - 1900, .tm_mday = 1};
    int64_t now_ms = lk_clock_unix_ms(&lk_clock_system);
    char now[LK_CLI_TIME_CAP];

    if (now_ms >= (int64_t)timegm(&built) * 1000) {
        return 0;
    }
    lk_cli_note("the clock says %s, and this program was built in %d: set the clock first, or the "
                "certificate will be out of date",
                now_ms == 0 ? "1970" : lk_cli_time(now_ms, now), LK_BUILD_YEAR);
    return lk_err_exit_code(LK_ERR_PRECONDITION);
}

/* ---- the files ------------------------------------------------------------------------------- */

static int
key_make(struct init *i)
{
    int64_t now_ms = lk_clock_unix_ms(&lk_clock_system);
    enum lk_err err;

    errno = 0;
    if ((err = lk_keyring_create(i->config.keyring, now_ms, &lk_rand_system)) != LK_OK) {
        return lk_cli_fail(err, "cannot make the master key %s", i->config.keyring);
    }
    return lk_init_files_made(&i->files, i->config.keyring);
}

static int
tls_given_check(const struct init *i)
{
    const struct lk_tls_config config = {.cert_file = i->config.tls_cert,
                                         .key_file = i->config.tls_key};
    LK_AUTO(lk_tls) struct lk_tls *tls = NULL;
    char error[LK_TLS_ERROR_CAP] = "";
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if ((err = lk_tls_new(&config, error, &tls)) == LK_OK) {
        return 0;
    }
    lk_cli_note("%s", lk_cli_shown(error[0] != '\0' ? error : lk_err_text(err), shown));
    return lk_err_exit_code(err);
}

static int
tls_make(struct init *i)
{
    static const char *const names[] = {"ca.pem", "server.pem", "server.key"};
    char dir[LK_CONFIG_TEXT_CAP];
    int code;
    enum lk_err err;

    if (i->files.tls_cert != NULL) {
        return tls_given_check(i);
    }
    if ((code = lk_init_files_path(&i->files, "tls", dir)) != 0 ||
        (code = lk_init_files_mkdir(&i->files, dir, 0700)) != 0) {
        return code;
    }
    for (size_t n = 0; n < LK_ARRAY_LEN(names); n++) {
        char path[LK_CONFIG_TEXT_CAP], file[32];

        (void)snprintf(file, sizeof(file), "tls/%s", names[n]);
        if ((code = lk_init_files_path(&i->files, file, path)) != 0 ||
            (code = lk_init_files_made(&i->files, path)) != 0) {
            return code;
        }
    }
    i->hosts[i->hosts_count] = i->hub;
    errno = 0;
    err = lk_tls_make_self_signed(dir, i->hosts, i->hosts_count + 1, CERT_DAYS);
    return err == LK_OK ? 0 : lk_cli_fail(err, "cannot make a certificate in %s", dir);
}

/* The scope's own host, so that tools still find it when there are more scopes. */
static enum lk_err
host_set(struct lk_txn *tx, const struct init *i)
{
    struct lk_scope scope;
    enum lk_err err = lk_txn_scope_get(tx, i->scope, &scope);

    if (err != LK_OK || is_address(i->hosts[0])) {
        return err;
    }
    err = lk_strcpy(scope.service_host, sizeof(scope.service_host), i->hosts[0]);
    return err != LK_OK ? err : lk_txn_scope_set(tx, &scope);
}

static enum lk_err
content_run(struct lk_txn *tx, void *arg)
{
    const struct init *i = (const struct init *)arg;
    const struct lk_policy_author by = lk_cli_policy_author(i->actor);
    const struct lk_hub_author hub_by = {.actor = i->actor};
    struct lk_hub hub = {.kind = LK_HUB_EMBEDDED, .weight = 1, .allocatable = true};
    enum lk_err err;

    if ((err = lk_strcpy(hub.name, sizeof(hub.name), i->hub)) != LK_OK ||
        (err = lk_txn_audit_append(tx, i->actor, "service.init", "", "", "")) != LK_OK ||
        (err = lk_txn_scope_add(tx, i->scope)) != LK_OK || (err = host_set(tx, i)) != LK_OK ||
        (err = lk_txn_audit_append(tx, i->actor, "scope.add", i->scope, i->scope, "")) != LK_OK ||
        (err = lk_policy_add(tx, &by, &i->owner)) != LK_OK) {
        return err;
    }
    return lk_linked_hub_add(tx, &hub_by, &hub);
}

static enum lk_err
store_fill(const struct init *i, struct lk_store *store)
{
    LK_AUTO(lk_session) struct lk_session *session = NULL;
    enum lk_err err = lk_session_open(store, &session);

    return err != LK_OK ? err : lk_store_write_wait(session, content_run, (void *)(uintptr_t)i);
}

static enum lk_err
owner_make(struct init *i, const struct lk_keyring *ring)
{
    enum lk_err err =
        lk_policy_make(ring, &lk_rand_system, i->scope, LK_POLICY_OWNER, LK_RIGHTS_ALL, &i->owner);

    if (err == LK_OK) {
        err = lk_policy_connection_string(ring, &i->owner, LK_POLICY_PRIMARY, i->hosts[0],
                                          &i->connection);
    }
    return err == LK_OK && lk_buf_text(&i->connection) == NULL ? LK_ERR_NOMEM : err;
}

static int
store_make(struct init *i)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;
    LK_AUTO(lk_store) struct lk_store *store = NULL;
    struct lk_store_config opts = {.url = i->config.store, .create = true};
    char error[LK_STORE_ERROR_CAP] = "";
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if ((err = lk_keyring_load(i->config.keyring, NULL, &ring)) != LK_OK) {
        return lk_cli_fail(err, "cannot read the master key again");
    }
    if ((err = owner_make(i, ring)) != LK_OK) {
        return lk_cli_fail(err, "cannot make the access policy");
    }
    lk_keyring_audit_key(ring, opts.audit_key);
    err = lk_store_open(&opts, error, &store);
    lk_wipe(&opts, sizeof(opts));
    if (err != LK_OK) {
        lk_cli_note("%s", lk_cli_shown(error[0] != '\0' ? error : lk_err_text(err), shown));
        return lk_err_exit_code(err);
    }
    err = store_fill(i, store);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot fill the database");
}

/* SQLite keeps two more files beside the database while it is open. */
static int
store_note(struct init *i)
{
    static const char *const names[] = {"latchkey.db", "latchkey.db-wal", "latchkey.db-shm"};
    char path[LK_CONFIG_TEXT_CAP];
    int code = 0;

    for (size_t n = 0; n < LK_ARRAY_LEN(names) && code == 0; n++) {
        if ((code = lk_init_files_path(&i->files, names[n], path)) == 0) {
            code = lk_init_files_made(&i->files, path);
        }
    }
    return code;
}

static int
all_make(struct init *i)
{
    int code;

    if ((code = lk_init_files_begin(&i->files, i->data_dir, i->config_given)) != 0 ||
        (code = lk_init_files_tls(&i->files, i->tls_cert, i->tls_key)) != 0 ||
        (code = config_check(i)) != 0 || (code = key_make(i)) != 0 || (code = tls_make(i)) != 0 ||
        (code = store_note(i)) != 0 || (code = store_make(i)) != 0) {
        return code;
    }
    return lk_init_files_finish(&i->files, &i->config_text);
}

/* ---- the result ------------------------------------------------------------------------------ */

static void
url_make(const struct init *i, char *buf, size_t cap)
{
    const char *host = i->hosts[0];
    const char *port = strrchr(i->config.listen, ':'); /* the parser made sure of it */
    bool is_v6 = strchr(host, ':') != NULL;

    (void)snprintf(buf, cap, "https://%s%s%s%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
                   port == NULL || strcmp(port, ":443") == 0 ? "" : port);
}

static int
result_json(const struct init *i, const char *connection, const char *url, const char *ca)
{
    LK_AUTO(json)
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s*}", "dataDir", i->files.dir,
                          "config", i->files.config, "idScope", i->scope, "hub", i->hub, "url", url,
                          "listen", i->config.listen, "adminListen", i->config.admin_listen,
                          "connectionString", connection, "caFile", ca);

    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

static int
result_print(struct init *i, const struct lk_cli_common *common)
{
    const char *connection = lk_buf_text(&i->connection);
    char url[LK_HOST_NAME_MAX + 32], ca[LK_CONFIG_TEXT_CAP];
    const char *ca_file = NULL;
    const char *c = i->files.config;
    int code;

    if (connection == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    url_make(i, url, sizeof(url));
    if (i->files.tls_cert == NULL) {
        if ((code = lk_init_files_path(&i->files, "tls/ca.pem", ca)) != 0) {
            return code;
        }
        ca_file = ca;
    }
    if (common->json) {
        return result_json(i, connection, url, ca_file);
    }
    (void)printf("ID scope          %s\nhub               %s\nservice           %s\n"
                 "data              %s\nconfiguration     %s\n",
                 i->scope, i->hub, url, i->files.dir, c);
    if (ca_file != NULL) {
        (void)printf("CA certificate    %s\n", ca_file);
    }
    (void)printf(
        "\nFor the operators' tools, secret, with every right, and not printed again unless "
        "asked for:\n  %s\n",
        connection);
    (void)printf("\nNext:\n"
                 "  export LATCHKEY_CONFIG=%s\n"
                 "  latchkey enrollment import manifest.csv   # lines of `latchkey device show "
                 "--manifest csv`\n"
                 "  latchkeyd --config %s\n"
                 "and on each device%s:\n"
                 "  latchkey device register --url %s --scope %s%s\n",
                 c, c, ca_file != NULL ? ", with a copy of the CA certificate" : "", url, i->scope,
                 ca_file != NULL ? " --ca-file ca.pem" : "");
    return 0;
}

int
lk_cmd_init(int argc, char **argv)
{
    __attribute__((cleanup(init_fini))) struct init i = {.data_dir = NULL};
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&form, argc, argv, &common, &i, &code)) {
        return code;
    }
    i.config_given = common.config;
    if (i.data_dir == NULL) {
        return lk_cli_usage(form.usage, "--data-dir is needed");
    }
    if ((i.tls_cert == NULL) != (i.tls_key == NULL)) {
        return lk_cli_usage(form.usage, "--tls-cert and --tls-key belong together");
    }
    if ((err = lk_crypto_init()) != LK_OK) {
        return lk_cli_fail(err, "cannot start");
    }
    lk_cli_actor(i.actor, sizeof(i.actor));
    if ((code = clock_check()) != 0 || (code = defaults_fill(&i)) != 0 ||
        (code = all_make(&i)) != 0) {
        return code;
    }
    return result_print(&i, &common);
}
