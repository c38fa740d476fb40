/* What the commands for enrollments and for groups share about devices without a TPM: the options
 * that say how they prove themselves, and how that is shown. */
#ifndef LK_CLI_ATTESTATION_H
#define LK_CLI_ATTESTATION_H

#include "cli/options.h"
#include "cli/service.h"
#include "provision/shared_key.h"

/* What the options said. Borrowed from argv. */
struct lk_cli_attestation {
    bool symmetric_key;
    const char *key_files[2]; /* primary, secondary; NULL: a fresh key */
    const char *certs[2];     /* primary, secondary; NULL: none */
    size_t certs_count;
};

/* Values of their options, apart from every command's own. */
enum {
    LK_CLI_OPT_SYMMETRIC_KEY = LK_CLI_OPT_COMMAND + 64,
    LK_CLI_OPT_PRIMARY_KEY,
    LK_CLI_OPT_SECONDARY_KEY,
    LK_CLI_OPT_CERTIFICATE
};
/* clang-format off */
#define LK_CLI_SYMMETRIC_OPTIONS                                                                   \
    {"symmetric-key", no_argument, NULL, LK_CLI_OPT_SYMMETRIC_KEY},                                \
    {"primary-key-file", required_argument, NULL, LK_CLI_OPT_PRIMARY_KEY},                         \
    {"secondary-key-file", required_argument, NULL, LK_CLI_OPT_SECONDARY_KEY}
/* clang-format on */

/* Takes one of them. LK_ERR_ARG: a certificate too many. */
LK_MUST_CHECK enum lk_err lk_cli_attestation_take(struct lk_cli_attestation *a, int option,
                                                  const char *value);

/* How many of the ways were asked for: one is right. */
unsigned lk_cli_attestation_ways(const struct lk_cli_attestation *a);
/* Key files without --symmetric-key. */
bool lk_cli_attestation_is_odd(const struct lk_cli_attestation *a);

/*
 * Make e, whose scope and id are set, an enrollment or group of that attestation: read the files,
 * judge them, seal the keys. For a service elsewhere, which seals them itself, they are in *keys
 * (secret, zeros before), as given. 0, or an exit code after saying what is wrong.
 */
int lk_cli_attestation_fill(const struct lk_cli_attestation *a, const struct lk_cli_service *s,
                            enum lk_shared_key_owner owner, struct lk_shared_keys *keys,
                            struct lk_enrollment *e);

/* "tpm", "symmetricKey", ...: as the service API calls them. */
const char *lk_cli_attestation_name(enum lk_attestation kind);

/* Members "attestation" and, of certificates, "certificates" into root. */
LK_MUST_CHECK enum lk_err lk_cli_attestation_json(const struct lk_enrollment *e, json_t *root);
/* The same as lines of a show. */
void lk_cli_attestation_print(const struct lk_enrollment *e);

/* The two keys of e: opened here, or told by the service elsewhere. 0, or an exit code. */
int lk_cli_keys_get(const struct lk_cli_service *s, enum lk_shared_key_owner owner,
                    const struct lk_enrollment *e, struct lk_shared_keys *ret);
/* Tell them, which are secret: as text or as JSON. 0, or an exit code. */
int lk_cli_keys_print(const struct lk_cli_service *s, enum lk_shared_key_owner owner,
                      const struct lk_enrollment *e, bool json);

#endif
