/*
 * Enrollments as operators give them, whichever way they come (command line, manifest): keys are
 * judged, and what names something else is checked against it.
 */
#ifndef LK_PROVISION_ENROLLMENT_H
#define LK_PROVISION_ENROLLMENT_H

#include "provision/ek_group.h"
#include "store/store.h"
#include "wire/manifest.h"

/*
 * Accept one more EK, a TPM2B_PUBLIC. *ret_why (may be NULL) is a static reason code.
 *
 *   LK_ERR_FORMAT, LK_ERR_UNSUPPORTED, LK_ERR_REFUSED  as lk_tpm_key_parse() says
 *   LK_ERR_EXISTS  "ek.repeated": it is one of e's already, however it was spelt
 *   LK_ERR_LIMIT   "ek.too_many"
 */
LK_MUST_CHECK enum lk_err lk_enrollment_ek_add(struct lk_enrollment *e, const void *tpm2b,
                                               size_t len, const char **ret_why);

/*
 * What a manifest row enrolls in scope. e is initialised anew. LK_ERR_FORMAT with problem set (but
 * for its line) when a key is refused or ekId is none of the keys'.
 */
LK_MUST_CHECK enum lk_err lk_enrollment_from_row(const char *scope,
                                                 const struct lk_manifest_row *row,
                                                 struct lk_enrollment *e,
                                                 struct lk_manifest_problem *problem);
/* The reverse. row is initialised; what it held is replaced. */
LK_MUST_CHECK enum lk_err lk_enrollment_to_row(const struct lk_enrollment *e,
                                               struct lk_manifest_row *row);

/* Make e what row, which lk_enrollment_from_row() made, says; what a manifest does not carry stays.
 */
LK_MUST_CHECK enum lk_err lk_enrollment_merge(const struct lk_enrollment *row,
                                              struct lk_enrollment *e);

/*
 * Whether text looks like the URL of a webhook: http or https, a host, no user, printable. Where it
 * may lead is judged when it is called.
 */
bool lk_webhook_url_ok(const char *url);

/*
 * The names, as in a manifest and with ", " between them, of what differs in two enrollments of one
 * registration ID; "" when nothing that a manifest carries does. A choice that b makes and a does
 * not is a difference; what a chose and b leaves open, is none. Cut to fit.
 */
LK_MUST_CHECK enum lk_err lk_enrollment_diff(const struct lk_enrollment *a,
                                             const struct lk_enrollment *b, char *buf, size_t cap);

/*
 * Whether two enrollments, or two groups, take the same devices for the same identity: attestation
 * and deviceId are the same. Shared keys are sealed, and not compared.
 */
bool lk_enrollment_same_proof(const struct lk_enrollment *a, const struct lk_enrollment *b);

/*
 * What only the store knows, or only the whole: every hub that is named is linked, a static policy
 * names no second one, a custom one a webhook. LK_ERR_FORMAT with problem set.
 *
 * The operators' API takes a static policy that names no hub, as the replaced service does: clients
 * name it later, and until then a registration fails. lk_enrollment_check() does not.
 */
LK_MUST_CHECK enum lk_err lk_enrollment_check_open(struct lk_txn *tx, const struct lk_enrollment *e,
                                                   struct lk_manifest_problem *problem);
LK_MUST_CHECK enum lk_err lk_enrollment_check(struct lk_txn *tx, const struct lk_enrollment *e,
                                              struct lk_manifest_problem *problem);

/* LK_ERR_NOT_FOUND: a root of the rules of g, a group by EK certificate, has not been imported; ret
 * is its fingerprint. */
LK_MUST_CHECK enum lk_err lk_enrollment_roots_check(struct lk_txn *tx,
                                                    const struct lk_enrollment *g,
                                                    char ret[2 * LK_EK_FINGERPRINT_LEN + 1]);

#endif
