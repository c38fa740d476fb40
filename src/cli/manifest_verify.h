/* Judging a manifest before it is imported: its digest, and who signed it. */
#ifndef LK_CLI_MANIFEST_VERIFY_H
#define LK_CLI_MANIFEST_VERIFY_H

#include "cli/manifest_input.h"
#include "cli/service.h"
#include "crypto/cms.h"
#include "provision/import.h"

/* What is known of a manifest's bytes. */
struct lk_cli_verified {
    uint8_t sha256[LK_IMPORT_SHA256_LEN];
    struct lk_cms_signer cms;
    struct lk_import_signer signer; /* points into cms */
    bool has_signer;
};

/*
 * Read in to its end, and rewind it. signature is the name of the signature's file, or NULL, which
 * the configuration may forbid. name is the manifest's for messages. 0, or an exit code after
 * telling what is wrong. ret stays where it is: it points into itself.
 */
int lk_cli_manifest_verify(struct lk_cli_service *s, const char *signature, struct lk_cli_input *in,
                           const char *name, struct lk_cli_verified *ret);

/* Tell that nothing was imported for an interruption; its exit code. */
int lk_cli_interrupted(void);

#endif
