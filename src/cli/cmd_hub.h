/* What the files of `latchkey hub` share, and `latchkey init` with them. */
#ifndef LK_CLI_CMD_HUB_H
#define LK_CLI_CMD_HUB_H

#include "api/manage_json.h"
#include "cli/options.h"
#include "cli/service.h"

/* A hub's name, a word of the command line, in the form of the store: 0, or an exit code after
 * telling the mistake. */
int lk_cli_hub_word(const struct lk_cli_form *form, const char *text,
                    char ret[LK_HOST_NAME_MAX + 1]);

/* The connection of a hub elsewhere. */
struct lk_cli_hub_connection {
    const char *string_file; /* NULL: the hub is none, or keeps what it has */
    const char *ca_file;     /* NULL: no authorities of its own */
    struct lk_buf string, ca;
};
void lk_cli_hub_connection_fini(struct lk_cli_hub_connection *c);
/* Read both, and judge them for the hub of this name: 0, or an exit code after telling why not. */
int lk_cli_hub_connection_read(struct lk_cli_hub_connection *c, const struct lk_cli_common *common,
                               const char *hub);
/* Seal them for this machine's store. */
LK_MUST_CHECK enum lk_err lk_cli_hub_connection_seal(const struct lk_cli_hub_connection *c,
                                                     const struct lk_cli_service *s,
                                                     const char *hub, struct lk_buf *ret);
/* Put them into what a service elsewhere is asked. */
void lk_cli_hub_connection_put(const struct lk_cli_hub_connection *c, struct lk_hub_request *r);
#define LK_CLI_HUB_CONNECTION_HELP                                                                 \
    "  --connection-string FILE file with the hub's connection string (- is stdin)\n"              \
    "  --ca-file FILE           authorities that may sign the hub's certificate, PEM; kept\n"      \
    "                           with it. Default hub-ca-file of the configuration\n"

/* What else it is not: the codes of service_hubs.c as those of this machine. */
int lk_cli_hub_remote_fail(const struct lk_remote *r, enum lk_err err, const char *what);

/* In place of LK_CLI_SERVICE_OPTIONS where --ca-file is of the hub. */
/* clang-format off */
#define LK_CLI_HUB_SERVICE_OPTIONS                                                                 \
    LK_CLI_CONFIG_OPTION,                                                                          \
    {"profile", required_argument, NULL, LK_CLI_OPT_PROFILE},                                      \
    {"connection", required_argument, NULL, LK_CLI_OPT_CONNECTION},                                \
    {"service-ca-file", required_argument, NULL, LK_CLI_OPT_CA_FILE}
/* clang-format on */
#define LK_CLI_HUB_SERVICE_HELP                                                                    \
    "\nSERVICE is as for `latchkey hub list`, but for the authority of one elsewhere:\n"           \
    "  --config FILE, --profile NAME, --connection FILE|-\n"                                       \
    "  --service-ca-file FILE   who signed its certificate\n"

int lk_cli_hub_set(int argc, char **argv);
int lk_cli_hub_show(int argc, char **argv);
int lk_cli_hub_test(int argc, char **argv);
int lk_cli_hub_remove(int argc, char **argv);
int lk_cli_hub_device(int argc, char **argv);
int lk_cli_hub_device_list(int argc, char **argv);
int lk_cli_hub_device_show(int argc, char **argv);
int lk_cli_hub_device_disable(int argc, char **argv);
int lk_cli_hub_device_enable(int argc, char **argv);
int lk_cli_hub_device_remove(int argc, char **argv);
int lk_cli_hub_twin(int argc, char **argv);
int lk_cli_hub_message(int argc, char **argv);
int lk_cli_hub_method(int argc, char **argv);
int lk_cli_hub_check_token(int argc, char **argv);
int lk_cli_hub_mosquitto_config(int argc, char **argv);
int lk_cli_hub_policy(int argc, char **argv);

#endif
