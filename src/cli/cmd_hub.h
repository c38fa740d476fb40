/* What the files of `latchkey hub` share, and `latchkey init` with them. */
#ifndef LK_CLI_CMD_HUB_H
#define LK_CLI_CMD_HUB_H

#include "cli/options.h"
#include "cli/service.h"

/* A hub's name in the form of the store: lower case. LK_ERR_ARG when text is no host name with a
 * dot in it. */
LK_MUST_CHECK enum lk_err lk_cli_hub_name(const char *text, char ret[LK_HOST_NAME_MAX + 1]);

/* The same for a word of the command line: 0, or an exit code after telling the mistake. */
int lk_cli_hub_word(const struct lk_cli_form *form, const char *text,
                    char ret[LK_HOST_NAME_MAX + 1]);

/* Where the connection of a hub elsewhere comes from. */
struct lk_cli_hub_connection {
    const char *string_file; /* NULL: the hub is none, or keeps what it has */
    const char *ca_file;     /* NULL: no authorities of its own */
};
/* Take both for hub, whose name is set: 0, or an exit code after telling why not. */
int lk_cli_hub_connection_read(const struct lk_cli_hub_connection *from,
                               const struct lk_cli_service *s, struct lk_hub *hub);
#define LK_CLI_HUB_CONNECTION_HELP                                                                 \
    "  --connection-string FILE file with the hub's connection string (- is stdin)\n"              \
    "  --ca-file FILE           authorities that may sign the hub's certificate, PEM; kept\n"      \
    "                           with it. Default hub-ca-file of the configuration\n"

/* Create the hub, with its audit record. */
LK_MUST_CHECK enum lk_err lk_cli_hub_create(struct lk_txn *tx, const char *actor,
                                            const struct lk_hub *hub);

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
