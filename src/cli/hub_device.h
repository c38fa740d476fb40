/* What the commands on one device of an embedded hub share. */
#ifndef LK_CLI_HUB_DEVICE_H
#define LK_CLI_HUB_DEVICE_H

#include "cli/cmd_hub.h"
#include "hub/registry.h"

struct lk_cli_hub_call {
    struct lk_cli_service s;
    struct lk_cli_common common;
    struct lk_hub_core *core;
    char hub[LK_HOST_NAME_MAX + 1];
    const char *device_id; /* borrowed from argv */
};
void lk_cli_hub_call_fini(struct lk_cli_hub_call *c); /* a zeroed one is allowed */

/*
 * Read the command line of a form whose first two words are hub and device, and open the store. ctx
 * is the form's. False when the command is over, with its exit code.
 */
LK_MUST_CHECK bool lk_cli_hub_call_open(struct lk_cli_hub_call *c, const struct lk_cli_form *form,
                                        int argc, char **argv, void *ctx, enum lk_cli_access access,
                                        int *ret_code);
/* Append the audit record of an action on the device. */
LK_MUST_CHECK enum lk_err lk_cli_hub_audit(const struct lk_cli_hub_call *c, struct lk_txn *tx,
                                           const char *action);

#endif
