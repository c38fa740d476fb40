/* The options of `latchkey group add --ek-certificate`, and how a group's rules are shown. */
#ifndef LK_CLI_GROUP_RULES_H
#define LK_CLI_GROUP_RULES_H

#include "cli/options.h"
#include "provision/ek_group.h"
#include "store/store.h"

struct lk_cli_group_rules {
    bool asked;  /* --ek-certificate */
    bool is_odd; /* one of the other options */
    struct lk_ek_rules rules;
};

enum {
    LK_CLI_OPT_EK_CERTIFICATE = LK_CLI_OPT_COMMAND + 128,
    LK_CLI_OPT_ROOT,
    LK_CLI_OPT_ISSUER,
    LK_CLI_OPT_VENDOR,
    LK_CLI_OPT_MODEL,
    LK_CLI_OPT_FIRMWARE_MIN,
    LK_CLI_OPT_FIRMWARE_MAX,
    LK_CLI_OPT_QUOTA,
    LK_CLI_OPT_NOT_BEFORE,
    LK_CLI_OPT_NOT_AFTER,
    LK_CLI_OPT_ANY_ID
};
/* clang-format off */
#define LK_CLI_GROUP_RULES_OPTIONS                                                                 \
    {"ek-certificate", no_argument, NULL, LK_CLI_OPT_EK_CERTIFICATE},                              \
    {"root", required_argument, NULL, LK_CLI_OPT_ROOT},                                            \
    {"issuer", required_argument, NULL, LK_CLI_OPT_ISSUER},                                        \
    {"vendor", required_argument, NULL, LK_CLI_OPT_VENDOR},                                        \
    {"model", required_argument, NULL, LK_CLI_OPT_MODEL},                                          \
    {"firmware-min", required_argument, NULL, LK_CLI_OPT_FIRMWARE_MIN},                            \
    {"firmware-max", required_argument, NULL, LK_CLI_OPT_FIRMWARE_MAX},                            \
    {"quota", required_argument, NULL, LK_CLI_OPT_QUOTA},                                          \
    {"not-before", required_argument, NULL, LK_CLI_OPT_NOT_BEFORE},                                \
    {"not-after", required_argument, NULL, LK_CLI_OPT_NOT_AFTER},                                  \
    {"any-registration-id", no_argument, NULL, LK_CLI_OPT_ANY_ID}
/* clang-format on */

static inline bool
lk_cli_group_rules_is(int option)
{
    return option >= LK_CLI_OPT_EK_CERTIFICATE && option <= LK_CLI_OPT_ANY_ID;
}

/* Takes one of them. LK_ERR_ARG: not acceptable, or one too many. */
LK_MUST_CHECK enum lk_err lk_cli_group_rules_take(struct lk_cli_group_rules *r, int option,
                                                  const char *value);

/* Make g such a group. 0, or an exit code after saying what is wrong. */
int lk_cli_group_rules_fill(const struct lk_cli_group_rules *r, struct lk_enrollment *g);

/* Member "rules" into root. */
LK_MUST_CHECK enum lk_err lk_cli_group_rules_json(const struct lk_enrollment *g, json_t *root);
/* The same as a line of a show. */
void lk_cli_group_rules_print(const struct lk_enrollment *g);

#endif
