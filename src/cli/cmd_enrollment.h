/* What the files of `latchkey enrollment` share. */
#ifndef LK_CLI_CMD_ENROLLMENT_H
#define LK_CLI_CMD_ENROLLMENT_H

#include "cli/options.h"
#include "cli/service.h"
#include "provision/enrollment.h"

/* One enrollment that a command works on, in one transaction, or at a service elsewhere. */
struct lk_cli_enrollment {
    struct lk_remote *remote; /* of that service; NULL: the store's. Borrowed */
    const char *actor;
    char scope[LK_ID_SCOPE_MAX + 1];
    const char *id; /* as typed */
    struct lk_enrollment e;
    struct lk_conflict conflict;        /* set with LK_ERR_EXISTS */
    struct lk_manifest_problem problem; /* set with LK_ERR_FORMAT */
};
void lk_cli_enrollment_init(struct lk_cli_enrollment *c);
void lk_cli_enrollment_fini(struct lk_cli_enrollment *c);
#define LK_AUTO_CLI_ENROLLMENT                                                                     \
    __attribute__((cleanup(lk_cli_enrollment_fini))) struct lk_cli_enrollment

/* Open the store and find the scope for the enrollment called id. 0, or an exit code. */
int lk_cli_enrollment_open(const struct lk_cli_common *common, enum lk_cli_access access,
                           const char *id, struct lk_cli_service *s, struct lk_cli_enrollment *c);

/* Read c->id into c->e. */
LK_MUST_CHECK enum lk_err lk_cli_enrollment_get(struct lk_txn *tx, struct lk_cli_enrollment *c);

/* Store the changed c->e, which was read in this transaction, with its audit record. */
LK_MUST_CHECK enum lk_err lk_cli_enrollment_update(struct lk_txn *tx, struct lk_cli_enrollment *c,
                                                   const char *detail);

/* The same two at the service elsewhere; the change is refused if somebody else was faster. */
LK_MUST_CHECK enum lk_err lk_cli_enrollment_fetch(struct lk_cli_enrollment *c);
LK_MUST_CHECK enum lk_err lk_cli_enrollment_send(struct lk_cli_enrollment *c);

/* Say why a change of c failed; returns the exit code. what: "cannot add the enrollment". */
int lk_cli_enrollment_fail(enum lk_err err, const struct lk_cli_enrollment *c, const char *what);

/* The --ek options: base64 text, or @ and the name of a file that holds it. */
struct lk_cli_eks {
    const char *values[LK_EKS_MAX];
    size_t count;
};
LK_MUST_CHECK enum lk_err lk_cli_ek_take(struct lk_cli_eks *eks, const char *value);
/* Its lines of a --help text. */
#define LK_CLI_EK_HELP                                                                             \
    "  --ek BASE64|@FILE        public endorsement key, a TPM2B_PUBLIC in base64 or a file with\n" \
    "                           that; again for each further key of the same device\n"

/* Judge and add them all to e. 0, or an exit code after saying what is wrong with which. */
int lk_cli_eks_add(const struct lk_cli_eks *eks, struct lk_enrollment *e);

/* The value of --format; LK_ERR_ARG. */
LK_MUST_CHECK enum lk_err lk_cli_manifest_format(const char *value, enum lk_manifest_format *ret);

/* Text of a key's identity: hexadecimal. */
#define LK_CLI_EK_ID_CAP (2 * LK_EK_ID_LEN + 1)
const char *lk_cli_ek_id(const uint8_t id[LK_EK_ID_LEN], char buf[LK_CLI_EK_ID_CAP]);

/* The commands that have a file of their own. */
int lk_cli_enrollment_add(int argc, char **argv);
int lk_cli_enrollment_add_ek(int argc, char **argv);
int lk_cli_enrollment_remove_ek(int argc, char **argv);
int lk_cli_enrollment_set(int argc, char **argv);
int lk_cli_enrollment_show(int argc, char **argv);
int lk_cli_enrollment_list(int argc, char **argv);
int lk_cli_enrollment_import(int argc, char **argv);
int lk_cli_enrollment_imports(int argc, char **argv);
int lk_cli_enrollment_undo(int argc, char **argv);
int lk_cli_enrollment_export(int argc, char **argv);

#endif
