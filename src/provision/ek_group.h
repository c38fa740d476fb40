/*
 * Enrollment groups of TPMs whose makers vouch for them: which certificate of an endorsement key
 * admits a device. A group keeps its rules as JSON text (struct lk_enrollment.rules):
 *
 *   {"roots":["64 hexadecimal digits",...],       SHA-256 of roots that the operator has imported
 *    "issuers":["CN=...",...],                    RFC 2253, compared exactly
 *    "vendors":["id:49465800","INTC",...],        of the TCG attribute, or what its digits spell
 *    "models":["SLB9670",...],                    compared exactly
 *    "firmwareMin":"id:...","firmwareMax":"id:...",
 *    "quota":1000,                                registrations of the group; absent: no limit
 *    "notBefore":"2026-01-01T00:00:00Z","notAfter":"...",   when the group admits; the end is out
 *    "anyRegistrationId":true}                    absent: the id that is derived from the EK
 *
 * All but the roots may be absent. Without a root a group admits nobody. Members that are not
 * listed here are refused: a restriction that is misspelt must not be one that is left out.
 */
#ifndef LK_PROVISION_EK_GROUP_H
#define LK_PROVISION_EK_GROUP_H

#include "attest/certified.h"
#include "base/json.h"

#define LK_EK_RULES_MAX ((size_t)8192) /* bytes of the text */
#define LK_EK_ROOTS_MAX 16u            /* roots of one group */
#define LK_EK_LIST_MAX 16u             /* issuers, vendors, models */
#define LK_EK_QUOTA_MAX INT64_C(1000000000)

struct lk_ek_rules {
    uint8_t roots[LK_EK_ROOTS_MAX][LK_EK_FINGERPRINT_LEN];
    size_t roots_count;
    char issuers[LK_EK_LIST_MAX][LK_EK_NAME_CAP];
    size_t issuers_count; /* 0, here and below: any */
    char vendors[LK_EK_LIST_MAX][LK_EK_ATTRIBUTE_CAP];
    size_t vendors_count;
    char models[LK_EK_LIST_MAX][LK_EK_ATTRIBUTE_CAP];
    size_t models_count;
    bool has_firmware_min, has_firmware_max;
    uint64_t firmware_min, firmware_max; /* both included */
    int64_t quota;                       /* 0: no limit */
    bool has_not_before, has_not_after;
    int64_t not_before_ms, not_after_ms; /* Unix */
    bool any_registration_id;
};

/*
 * Read the text of the rules. error (may be NULL) names the member at fault. LK_ERR_FORMAT, also
 * for a range or a window that is empty; LK_ERR_LIMIT; LK_ERR_NOMEM. *ret is untouched on failure.
 */
LK_MUST_CHECK enum lk_err lk_ek_rules_parse(const void *text, size_t len,
                                            char error[LK_JSON_ERROR_CAP], struct lk_ek_rules *ret);
/* Append the text, as lk_ek_rules_parse() reads it. LK_ERR_LIMIT when it is too long, LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_ek_rules_format(const struct lk_ek_rules *r, struct lk_buf *ret);

/* What a device brings. All is borrowed. */
struct lk_ek_claim {
    const char *registration_id;
    const struct lk_tpm_key *ek; /* judged */
    struct lk_part ek_pub;       /* the TPM2B_PUBLIC that it was read from */
    const struct lk_ek_cert *cert;
    const struct lk_part *chain; /* DER; at most LK_EK_CHAIN_MAX */
    size_t chain_count;
};

/*
 * Judge a claim at a time, all but the quota. The certificate's key is compared, and the chain is
 * verified last.
 *
 *   LK_ERR_REFUSED  *ret_why is group.no_roots, group.not_started, group.ended,
 *                   ek_cert.key_mismatch, group.registration_id, group.issuer, group.vendor,
 *                   group.model, group.firmware, or a reason of lk_ek_cert_verify()
 *   other           those of lk_ek_cert_verify()
 */
LK_MUST_CHECK enum lk_err lk_ek_rules_judge(const struct lk_ek_rules *r,
                                            const struct lk_ek_claim *claim,
                                            const struct lk_ek_trust *trust, int64_t now_ms,
                                            const char **ret_why);

/* Whether a group with so many registrations takes one more. */
bool lk_ek_rules_have_room(const struct lk_ek_rules *r, int64_t registrations);

#endif
