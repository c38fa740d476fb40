/* What the commands on one enrollment group share. */
#ifndef LK_CLI_CMD_GROUP_H
#define LK_CLI_CMD_GROUP_H

#include "cli/attestation.h"
#include "cli/ban.h"
#include "cli/group_rules.h"
#include "cli/terms.h"
#include "provision/enrollment.h"

/* One group that a command works on, in one transaction. */
struct lk_cli_group {
    struct lk_cli_service s;
    struct lk_cli_common common;
    struct lk_cli_attestation attestation;
    struct lk_cli_group_rules rules;
    struct lk_cli_terms terms;
    char root[2 * LK_EK_FINGERPRINT_LEN + 1]; /* that is not imported; "": none */
    bool disabled;
    char scope[LK_ID_SCOPE_MAX + 1];
    const char *id; /* as typed */
    struct lk_enrollment g;
    struct lk_shared_keys keys;         /* secret: given for a service elsewhere, or told by one */
    struct lk_manifest_problem problem; /* set with LK_ERR_FORMAT */
    bool enabled;                       /* enable, disable: what is asked for */
    bool changed;
    struct lk_cli_ban ban;
    char after[LK_REGISTRATION_ID_MAX + 1]; /* registration that a batch begins after */
    char last[LK_REGISTRATION_ID_MAX + 1];  /* and that it ended with; "": there is no more */
    struct lk_ban_count batch;
};

/* All that c holds, secrets included, on every path. */
void lk_cli_group_init(struct lk_cli_group *c);
void lk_cli_group_fini(struct lk_cli_group *c);
#define LK_AUTO_CLI_GROUP __attribute__((cleanup(lk_cli_group_fini))) struct lk_cli_group

/* Read the options, and open the store for the group that the first word names. False when the
 * command is over, with its exit code in *ret_code. */
bool lk_cli_group_begin(struct lk_cli_group *c, const struct lk_cli_form *form,
                        enum lk_cli_access access, int argc, char **argv, int *ret_code);

/* The exit code, after telling what was not done and why. */
int lk_cli_group_fail(enum lk_err err, const struct lk_cli_group *c, const char *what);

/* The group as it is: of this machine's service, a job with a struct lk_cli_group, or at the
 * service elsewhere. */
LK_MUST_CHECK enum lk_err lk_cli_group_get_run(struct lk_txn *tx, void *arg);
LK_MUST_CHECK enum lk_err lk_cli_group_fetch(struct lk_cli_group *c);

/* To the service elsewhere: what was fetched and changed; refused if somebody else was faster. */
LK_MUST_CHECK enum lk_err lk_cli_group_send(struct lk_cli_group *c);

LK_MUST_CHECK enum lk_err lk_cli_group_audit(struct lk_txn *tx, const struct lk_cli_group *c,
                                             const char *action, const char *detail);

/* enabled or disabled; static storage */
const char *lk_cli_group_status(const struct lk_enrollment *g);

/* The commands that have a file of their own. */
int lk_cli_group_add(int argc, char **argv);
int lk_cli_group_enable(int argc, char **argv);
int lk_cli_group_disable(int argc, char **argv);
int lk_cli_group_keys(int argc, char **argv);
int lk_cli_group_device_key(int argc, char **argv);

#endif
