/* The options about the TPM that `device` and `doctor` share, and how their failures are told. */
#ifndef LK_CLI_TPM_OPTS_H
#define LK_CLI_TPM_OPTS_H

#include <getopt.h>

#include <latchkey/tpm.h>

#include "cli/options.h"

/* What the options gave. opts borrows from the rest and from argv. */
struct lk_cli_tpm {
    struct lk_tpm_opts opts;
    struct lk_buf owner_password, endorsement_password;
};
void lk_cli_tpm_fini(struct lk_cli_tpm *t);
#define LK_AUTO_CLI_TPM __attribute__((cleanup(lk_cli_tpm_fini)))

/* Values of getopt_long() for the rows below, apart from those in cli/options.h. */
enum {
    LK_CLI_OPT_TCTI = 256,
    LK_CLI_OPT_OWNER_PASSWORD,
    LK_CLI_OPT_ENDORSEMENT_PASSWORD,
    LK_CLI_OPT_EK_RECIPE,
    LK_CLI_OPT_SRK_RECIPE,
    LK_CLI_OPT_EK_HANDLE,
    LK_CLI_OPT_SRK_HANDLE,
    LK_CLI_OPT_IDENTITY_HANDLE,
    LK_CLI_OPT_PERSIST_EK,
    LK_CLI_OPT_PERSIST_SRK
};

/* clang-format off */
#define LK_CLI_TPM_OPTIONS \
    {"tcti", required_argument, NULL, LK_CLI_OPT_TCTI}, \
    {"owner-password-file", required_argument, NULL, LK_CLI_OPT_OWNER_PASSWORD}, \
    {"endorsement-password-file", required_argument, NULL, LK_CLI_OPT_ENDORSEMENT_PASSWORD}, \
    {"ek-recipe", required_argument, NULL, LK_CLI_OPT_EK_RECIPE}, \
    {"srk-recipe", required_argument, NULL, LK_CLI_OPT_SRK_RECIPE}, \
    {"ek-handle", required_argument, NULL, LK_CLI_OPT_EK_HANDLE}, \
    {"srk-handle", required_argument, NULL, LK_CLI_OPT_SRK_HANDLE}, \
    {"identity-handle", required_argument, NULL, LK_CLI_OPT_IDENTITY_HANDLE}, \
    {"persist-ek", no_argument, NULL, LK_CLI_OPT_PERSIST_EK}, \
    {"persist-srk", no_argument, NULL, LK_CLI_OPT_PERSIST_SRK}
/* clang-format on */

/* Their part of a --help text. */
#define LK_CLI_TPM_HELP                                                                            \
    "TPM options:\n"                                                                               \
    "  --tcti STRING                     TCTI of tpm2-tss; default: what tctildr finds\n"          \
    "  --owner-password-file FILE        password of the storage hierarchy (- is stdin)\n"         \
    "  --endorsement-password-file FILE  password of the endorsement hierarchy (- is stdin)\n"     \
    "  --ek-recipe RECIPE                persistent (default), rsa2048, rsa2048-empty-unique,\n"   \
    "  --srk-recipe RECIPE               ecc-p256\n"                                               \
    "  --ek-handle HANDLE                default 0x81010001\n"                                     \
    "  --srk-handle HANDLE               default 0x81000001\n"                                     \
    "  --identity-handle HANDLE          default 0x81000100\n"                                     \
    "  --persist-ek, --persist-srk       keep a created key at its handle, if that is free\n"

/* Take one option. LK_ERR_NOT_FOUND when it is none of these; LK_ERR_ARG for a bad value; what
 * lk_cli_secret_read() returns. */
LK_MUST_CHECK enum lk_err lk_cli_tpm_option(struct lk_cli_tpm *t, int option, const char *value);

/* Open the TPM. On failure, tell why on stderr and return the exit code; 0 with *ret set. */
int lk_cli_tpm_open(const struct lk_cli_tpm *t, struct lk_tpm **ret);

/* lk_cli_fail() with the TPM's own words where it has some. */
int lk_cli_tpm_fail(const struct lk_tpm *tpm, enum lk_err err, const char *what);

/* "RSA-2048", "ECC P-256". */
void lk_cli_key_name(const struct lk_tpm_public *pub, char *buf, size_t cap);

LK_DEFINE_AUTO(struct lk_tpm, lk_cli_tpm_conn, lk_tpm_close);

#endif
