/* What the files of `latchkey policy` share, and `latchkey init` with them. */
#ifndef LK_CLI_CMD_POLICY_H
#define LK_CLI_CMD_POLICY_H

#include "cli/options.h"
#include "cli/service.h"
#include "provision/policy.h"

/* Store a policy that there is not yet, with its audit record. LK_ERR_EXISTS. */
LK_MUST_CHECK enum lk_err lk_cli_policy_create(struct lk_txn *tx, const char *actor,
                                               const struct lk_policy *p);

/* One run of a command. Zeros begin it. */
struct lk_cli_policy {
    struct lk_cli_service s;
    struct lk_cli_common common;
    const struct lk_cli_form *form;
    struct lk_policy policy; /* scope and name are given; the rest is read or made */
    const char *host;        /* given */
    enum lk_policy_slot slot;
    bool both_slots, reveal;
    unsigned rights;
    char service_host[LK_HOST_NAME_MAX + 1]; /* of the scope */
};
void lk_cli_policy_fini(struct lk_cli_policy *c);
#define LK_AUTO_CLI_POLICY __attribute__((cleanup(lk_cli_policy_fini)))

/* Values of the options that lk_cli_policy_take() knows. */
enum {
    LK_CLI_POLICY_OPT_RIGHTS = LK_CLI_OPT_COMMAND,
    LK_CLI_POLICY_OPT_PRIMARY,
    LK_CLI_POLICY_OPT_SECONDARY,
    LK_CLI_POLICY_OPT_REVEAL,
    LK_CLI_POLICY_OPT_HOST
};
LK_MUST_CHECK enum lk_err lk_cli_policy_take(void *ctx, int option, const char *value);

/* Read the options, and the name where the form has one; as lk_cli_options(). */
LK_MUST_CHECK bool lk_cli_policy_options(struct lk_cli_policy *c, const struct lk_cli_form *form,
                                         int argc, char **argv, int *ret_code);

/* Open the store, or to read only a service elsewhere, and find the scope; 0 or an exit code. */
int lk_cli_policy_open(struct lk_cli_policy *c, enum lk_cli_access access);

LK_MUST_CHECK enum lk_err lk_cli_policy_audit(struct lk_txn *tx, const char *actor,
                                              const char *action, const struct lk_policy *p,
                                              const char *detail);

/* The names of the rights, in buf; NULL when out of memory, as the next. */
const char *lk_cli_policy_rights(unsigned rights, struct lk_buf *buf);
json_t *lk_cli_policy_json(const struct lk_policy *p, const char *rights);
/* Which key, as an audit record's detail. */
const char *lk_cli_policy_slot(enum lk_policy_slot slot);

int lk_cli_policy_show(int argc, char **argv);

#endif
