/* latchkey hub mosquitto-config: a broker's configuration, to begin with. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cmd_hub.h"
#include "hub/registry.h"

enum {
    OPT_CERT = LK_CLI_OPT_COMMAND,
    OPT_KEY,
    OPT_PASSWORDS,
    OPT_PLUGIN,
    OPT_PORT,
    OPT_OPERATOR_PORT
};

struct wish {
    char hub[LK_HOST_NAME_MAX + 1];
    const char *cert, *key, *passwords, *plugin;
    uint64_t port, operator_port;
};

static enum lk_err
wish_take(void *ctx, int option, const char *value)
{
    struct wish *w = (struct wish *)ctx;

    switch (option) {
    case OPT_CERT:
        w->cert = value;
        break;
    case OPT_KEY:
        w->key = value;
        break;
    case OPT_PASSWORDS:
        w->passwords = value;
        break;
    case OPT_PLUGIN:
        w->plugin = value;
        break;
    case OPT_PORT:
        return lk_cli_number(value, 1, UINT16_MAX, &w->port);
    default:
        return lk_cli_number(value, 1, UINT16_MAX, &w->operator_port);
    }
    /* A line end would be another setting. */
    return value[0] == '/' && strpbrk(value, "\r\n") == NULL ? LK_OK : LK_ERR_ARG;
}

static const struct lk_cli_form mosquitto_form = {
    .usage = "latchkey hub mosquitto-config NAME [--cert FILE] [--key FILE] [--port N]\n"
             "         [--operator-port N] [--passwords FILE] [--plugin FILE] [--config FILE]",
    .help =
        "Print a mosquitto.conf that makes a Mosquitto 2 broker the embedded hub NAME; it is\n"
        "all that the broker needs. Set mqtt-socket in the service's configuration first. File\n"
        "names are absolute.\n\n"
        "  --cert FILE              certificate of the hub's name, then those that signed it;\n"
        "                           default /etc/mosquitto/certs/hub.pem\n"
        "  --key FILE               its key; default /etc/mosquitto/certs/hub.key\n"
        "  --port N                 where devices connect; default 8883\n"
        "  --operator-port N        where operators read telemetry, on loopback; default 1884\n"
        "  --passwords FILE         the operators, made by mosquitto_passwd(1); default\n"
        "                           /etc/mosquitto/operators\n"
        "  --plugin FILE            default " LK_HUB_PLUGIN "\n" LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){{"cert", required_argument, NULL, OPT_CERT},
                                {"key", required_argument, NULL, OPT_KEY},
                                {"passwords", required_argument, NULL, OPT_PASSWORDS},
                                {"plugin", required_argument, NULL, OPT_PLUGIN},
                                {"port", required_argument, NULL, OPT_PORT},
                                {"operator-port", required_argument, NULL, OPT_OPERATOR_PORT},
                                LK_CLI_CONFIG_OPTION,
                                LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = wish_take,
};

static enum lk_err
hub_find_run(struct lk_txn *tx, void *arg)
{
    return lk_hub_is_ours(tx, ((const struct wish *)arg)->hub);
}

static void
config_print(const struct wish *w, const char *socket)
{
    (void)printf(
        "# Mosquitto as the hub %s of Latchkey. One broker is one hub. See latchkey-mosquitto(7).\n"
        "\n"
        "# One plugin judges every listener.\n"
        "per_listener_settings false\n"
        "allow_anonymous false\n"
        "plugin %s\n"
        "plugin_opt_hub %s\n"
        "plugin_opt_socket %s\n"
        "\n"
        "# Operators, who read what devices send. Their client ids have a '/', which no device's "
        "has.\n"
        "password_file %s\n"
        "auto_id_prefix op/\n"
        "\n"
        "# A message of 256 KB with its topic. Do not set message_size_limit: it drops what it "
        "has\n"
        "# acknowledged.\n"
        "max_packet_size 330000\n"
        "# For each client that is slow or away. Not 0: this version closes connections then.\n"
        "max_queued_messages 100000\n"
        "# A message is on its way to an operator who keeps up before its sender is told that it "
        "is\n"
        "# taken: a broker that is killed then loses none.\n"
        "max_inflight_messages 10000\n"
        "\n"
        "# Sessions of devices and operators outlive a restart of the broker.\n"
        "persistence true\n"
        "persistence_location /var/lib/mosquitto/\n"
        "autosave_interval 60\n"
        "persistent_client_expiration 30d\n"
        "log_type error\nlog_type warning\nlog_type notice\n"
        "\n"
        "# Operators, on this machine; give it certfile and keyfile before it listens elsewhere.\n"
        "listener %" PRIu64 " 127.0.0.1\n"
        "\n"
        "# Devices.\n"
        "listener %" PRIu64 "\n"
        "max_qos 1\n"
        "certfile %s\n"
        "keyfile %s\n",
        w->hub, w->plugin, w->hub, socket, w->passwords, w->operator_port, w->port, w->cert,
        w->key);
}

int
lk_cli_hub_mosquitto_config(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    struct wish w = {.cert = "/etc/mosquitto/certs/hub.pem",
                     .key = "/etc/mosquitto/certs/hub.key",
                     .passwords = "/etc/mosquitto/operators",
                     .plugin = LK_HUB_PLUGIN,
                     .port = 8883,
                     .operator_port = 1884};
    const char *socket;
    int code;
    enum lk_err err;

    if (!lk_cli_options(&mosquitto_form, argc, argv, &common, &w, &code) ||
        (code = lk_cli_hub_word(&mosquitto_form, argv[optind], w.hub)) != 0 ||
        (code = lk_cli_service_open(common.config, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    if ((err = lk_store_read_wait(s.session, hub_find_run, &w)) == LK_ERR_NOT_FOUND) {
        return lk_cli_fail(err, "no embedded hub \"%s\"", w.hub);
    }
    if (err != LK_OK) {
        return lk_cli_store_fail(err, "cannot look for the hub");
    }
    socket = lk_config_list(s.config.mqtt_socket);
    if (socket[0] == '\0') {
        return lk_cli_fail(LK_ERR_CONFIG, "mqtt-socket is none: set it in the service's "
                                          "configuration, to /run/latchkey/broker.sock");
    }
    config_print(&w, socket);
    return 0;
}
