/* What the files of `latchkey policy` share, and `latchkey init` with them. */
#ifndef LK_CLI_CMD_POLICY_H
#define LK_CLI_CMD_POLICY_H

#include "cli/options.h"
#include "cli/service.h"
#include "provision/policy.h"

/* Who changes policies on this machine. Borrows actor. */
struct lk_policy_author lk_cli_policy_author(const char *actor);

/* One run of a command. Zeros begin it. */
struct lk_cli_policy {
    struct lk_cli_service s;
    struct lk_cli_common common;
    const struct lk_cli_form *form;
    struct lk_policy policy; /* scope and name are given; the rest is read or made */
    const char *host;        /* given, or found by lk_cli_policy_host() */
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

/* Open the store or a service elsewhere, and find the scope; 0 or an exit code. */
int lk_cli_policy_open(struct lk_cli_policy *c, enum lk_cli_access access);

/* Find the host for the connection string, when one is to be told; 0 or an exit code. */
int lk_cli_policy_host(struct lk_cli_policy *c);
/* Record that the key of c's slot was told. */
LK_MUST_CHECK enum lk_err lk_cli_policy_revealed(struct lk_txn *tx, const struct lk_cli_policy *c);
/* Print the policy, or its connection string with key, which was recorded. An exit code. */
int lk_cli_policy_tell(const struct lk_cli_policy *c, const struct lk_buf *key);
/* The same with the key of c's slot, of this machine's store. */
int lk_cli_policy_print(const struct lk_cli_policy *c);

/* The names of the rights, in buf; NULL when out of memory, as the next. */
const char *lk_cli_policy_rights(unsigned rights, struct lk_buf *buf);
json_t *lk_cli_policy_json(const struct lk_policy *p, const char *rights);

int lk_cli_policy_show(int argc, char **argv);

#endif
