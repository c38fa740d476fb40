/* What `latchkey policy` and `latchkey init` share. */
#ifndef LK_CLI_CMD_POLICY_H
#define LK_CLI_CMD_POLICY_H

#include "cli/options.h"
#include "cli/service.h"
#include "provision/policy.h"

/* Store a policy that there is not yet, with its audit record. LK_ERR_EXISTS. */
LK_MUST_CHECK enum lk_err lk_cli_policy_create(struct lk_txn *tx, const char *actor,
                                               const struct lk_policy *p);

#endif
