/*
 * Shared access policies: who may use the operators' API, and for what (service-api.md section
 * 12.1). A policy opens one ID scope, has some of six rights, and two keys, so that one can be
 * rolled while clients still sign with the other. There is no default key: what exists was made by
 * an operator, and its keys are sealed under the keyring, bound to scope, name and slot.
 */
#ifndef LK_PROVISION_POLICY_H
#define LK_PROVISION_POLICY_H

#include "provision/access_key.h"

/* What `latchkey init` makes: the built-in name that tools expect, with every right. */
#define LK_POLICY_OWNER "provisioningserviceowner"

/* "EnrollmentRead,EnrollmentWrite", in any order, without regard to case, white space around the
 * names allowed; at least one. LK_ERR_FORMAT. */
LK_MUST_CHECK enum lk_err lk_rights_parse(const char *text, unsigned *ret);
/* Append the names, separated by commas. */
LK_MUST_CHECK enum lk_err lk_rights_format(unsigned rights, struct lk_buf *ret);

/* A policy with two fresh keys; *ret is initialised here and the caller hands it to
 * lk_policy_fini(), also after a failure. */
LK_MUST_CHECK enum lk_err lk_policy_make(const struct lk_keyring *ring, const struct lk_rand *rnd,
                                         const char *scope, const char *name, unsigned rights,
                                         struct lk_policy *ret);
/* Put this key, or a fresh one when key is NULL, into a slot. LK_ERR_ARG: its length. */
LK_MUST_CHECK enum lk_err lk_policy_key_set(const struct lk_keyring *ring,
                                            const struct lk_rand *rnd, enum lk_policy_slot slot,
                                            const void *key, size_t key_len, struct lk_policy *p);
/* Append the key of a slot. It is secret: the buffer wipes itself. */
LK_MUST_CHECK enum lk_err lk_policy_key_get(const struct lk_keyring *ring,
                                            const struct lk_policy *p, enum lk_policy_slot slot,
                                            struct lk_buf *ret);
/* Append "HostName=..;SharedAccessKeyName=..;SharedAccessKey=..", which is secret too. */
LK_MUST_CHECK enum lk_err lk_policy_connection_string(const struct lk_keyring *ring,
                                                      const struct lk_policy *p,
                                                      enum lk_policy_slot slot, const char *host,
                                                      struct lk_buf *ret);

/*
 * Check a token inside a read transaction, as section 12.1 lists: a policy of this scope is named,
 * the token is in date, its resource is a segment-wise prefix of resource ("host/path", decoded),
 * the HMAC fits the primary or the secondary key, and the policy has all rights that are needed.
 * The work is the same for a policy that does not exist. LK_ERR_REFUSED with ret->reason set; other
 * errors are ours.
 */
LK_MUST_CHECK enum lk_err lk_policy_check(const struct lk_keyring *ring, struct lk_txn *tx,
                                          const char *scope, const char *resource,
                                          const char *token, size_t token_len, int64_t now_ms,
                                          unsigned rights, struct lk_policy_check *ret);

/* ---- changes, each with its audit record (policy_change.c) ------------------------------------
 */

#define LK_POLICIES_MAX 256u /* of one scope: one answer lists them all */

/*
 * Who changes policies. Nobody hands out, renews or takes away what he does not have himself: with
 * a policy that has a right which the author lacks, every change is LK_ERR_REFUSED.
 */
struct lk_policy_author {
    const char *actor;      /* of the record */
    const char *request_id; /* of the request; NULL: there is none */
    unsigned rights;        /* LK_RIGHTS_ALL: on the service's own machine */
    bool is_remote; /* who could not come back: the last policy with every right is not his to
                       remove */
};

/* Store p, of which there must be none yet. LK_ERR_EXISTS, LK_ERR_LIMIT, LK_ERR_NOT_FOUND (the
 * scope). */
LK_MUST_CHECK enum lk_err lk_policy_add(struct lk_txn *tx, const struct lk_policy_author *by,
                                        const struct lk_policy *p);
/* Put a fresh key into a slot of the policy that p names by scope and name; *p becomes what is
 * stored. LK_ERR_NOT_FOUND. */
LK_MUST_CHECK enum lk_err lk_policy_roll(struct lk_txn *tx, const struct lk_policy_author *by,
                                         const struct lk_keyring *ring, const struct lk_rand *rnd,
                                         enum lk_policy_slot slot, struct lk_policy *p);
/* LK_ERR_NOT_FOUND; LK_ERR_PRECONDITION: it is the last one with every right. */
LK_MUST_CHECK enum lk_err lk_policy_remove(struct lk_txn *tx, const struct lk_policy_author *by,
                                           const char *scope, const char *name);

/* "primary", "secondary" */
const char *lk_policy_slot_name(enum lk_policy_slot slot);

#endif
