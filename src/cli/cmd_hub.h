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

/* Create the hub, with its audit record. */
LK_MUST_CHECK enum lk_err lk_cli_hub_create(struct lk_txn *tx, const char *actor,
                                            const struct lk_hub *hub);

int lk_cli_hub_set(int argc, char **argv);
int lk_cli_hub_remove(int argc, char **argv);
int lk_cli_hub_devices(int argc, char **argv);
int lk_cli_hub_show_device(int argc, char **argv);
int lk_cli_hub_disable_device(int argc, char **argv);
int lk_cli_hub_enable_device(int argc, char **argv);
int lk_cli_hub_remove_device(int argc, char **argv);
int lk_cli_hub_check_token(int argc, char **argv);

#endif
