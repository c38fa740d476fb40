/* --ban of `latchkey enrollment disable` and `latchkey group disable`, and what enabling lifts. */
#ifndef LK_CLI_BAN_H
#define LK_CLI_BAN_H

#include "cli/options.h"
#include "cli/service.h"
#include "hub/ban.h"

struct lk_cli_ban {
    bool asked;
    const char *reason; /* NULL: none given */
};

enum { LK_CLI_OPT_BAN = LK_CLI_OPT_COMMAND + 100, LK_CLI_OPT_BAN_REASON };

#define LK_CLI_BAN_OPTIONS                                                                         \
    {"ban", no_argument, NULL, LK_CLI_OPT_BAN},                                                    \
    {                                                                                              \
        "reason", required_argument, NULL, LK_CLI_OPT_BAN_REASON                                   \
    }

/* LK_ERR_ARG: the reason is too long, or no text. */
LK_MUST_CHECK enum lk_err lk_cli_ban_take(struct lk_cli_ban *b, int option, const char *value);

/* What is to be done: lifting when the device is enabled, a ban when one was asked for. False: what
 * the device has at its hub is left alone. */
bool lk_cli_ban_is_due(const struct lk_cli_ban *b, bool enable, const char *actor,
                       struct lk_ban *ret);

#endif
