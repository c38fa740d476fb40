/*
 * What shared access policies of an ID scope (provision/policy.h) and of a hub (hub/policy.h) have
 * in common: a name, rights, two keys that are sealed under the keyring and bound to their place,
 * and the check of a token that was signed with one of them (service-api.md section 12.1).
 */
#ifndef LK_PROVISION_ACCESS_KEY_H
#define LK_PROVISION_ACCESS_KEY_H

#include "crypto/keyring.h"
#include "store/store.h"
#include "wire/sas.h"

#define LK_POLICY_KEY_LEN 32u /* bytes of a key that is made here */
#define LK_POLICY_KEY_MAX 64u /* bytes of a key that is brought */
#define LK_POLICY_KEY_MIN 16u
#define LK_POLICY_SKEW_S 300u /* seconds that an expired token is still taken (12.1) */

enum lk_policy_slot { LK_POLICY_PRIMARY = 1, LK_POLICY_SECONDARY = 2 };

/* What a check found. */
struct lk_policy_check {
    char name[LK_POLICY_NAME_MAX + 1]; /* of the policy; "" while it is not known to be real */
    unsigned rights;                   /* that it has, of a check that was passed */
    const char *reason;                /* of a refusal, for the operator's log; static storage */
};

/* A policy as a check sees it; all borrowed. */
struct lk_access {
    const char *kind; /* of the place that the keys are bound to: "policy", "hubpolicy" */
    const char *home; /* what it opens: a scope, a hub */
    const char *name;
    unsigned rights;
    const struct lk_buf *primary, *secondary; /* sealed */
};

/* 1..LK_POLICY_NAME_MAX of letters, digits and _ - @ . */
bool lk_policy_name_ok(const char *text, size_t len);

/* Names of rights. parse: separated by commas, in any order, without regard to case, spaces around
 * them allowed, at least one; LK_ERR_FORMAT. format appends them, separated by commas. */
struct lk_right_name {
    const char *name;
    unsigned right;
};
LK_MUST_CHECK enum lk_err lk_right_names_parse(const struct lk_right_name *names, size_t count,
                                               const char *text, unsigned *ret);
LK_MUST_CHECK enum lk_err lk_right_names_format(const struct lk_right_name *names, size_t count,
                                                unsigned rights, struct lk_buf *ret);

/* Seal key, or a fresh one when it is NULL, for a slot of the policy at kind, home and name; sealed
 * is replaced. LK_ERR_ARG: its length. */
LK_MUST_CHECK enum lk_err lk_access_key_set(const struct lk_keyring *ring,
                                            const struct lk_rand *rnd, const struct lk_access *at,
                                            enum lk_policy_slot slot, const void *key,
                                            size_t key_len, struct lk_buf *sealed);
/* Append the key of a slot. It is secret: the buffer wipes itself. */
LK_MUST_CHECK enum lk_err lk_access_key_get(const struct lk_keyring *ring,
                                            const struct lk_access *a, enum lk_policy_slot slot,
                                            struct lk_buf *ret);
/* Append "HostName=..;SharedAccessKeyName=..;SharedAccessKey=..", which is secret too. */
LK_MUST_CHECK enum lk_err lk_access_connection_string(const struct lk_keyring *ring,
                                                      const struct lk_access *a,
                                                      enum lk_policy_slot slot, const char *host,
                                                      struct lk_buf *ret);

/*
 * What a token says by itself: it can be read, names a policy, is in date at now_ms. Its resource
 * is the caller's to judge. LK_ERR_REFUSED with ret->reason set. sas borrows from token.
 */
LK_MUST_CHECK enum lk_err lk_access_token_parse(const char *token, size_t token_len, int64_t now_ms,
                                                struct lk_sas *sas, struct lk_policy_check *ret);
LK_MUST_CHECK enum lk_err lk_access_refuse(const char *reason, struct lk_policy_check *ret);

/*
 * Whether sas was signed with a key of a, which has all rights that are needed. exists false: there
 * is no policy of that name, kind and home; the work is the same, and the answer a refusal.
 * also_decoded as in lk_sas_verify(). LK_ERR_REFUSED with ret->reason set; other errors are ours.
 */
LK_MUST_CHECK enum lk_err lk_access_judge(const struct lk_keyring *ring, const struct lk_access *a,
                                          bool exists, const struct lk_sas *sas, bool also_decoded,
                                          unsigned rights, struct lk_policy_check *ret);

#endif
