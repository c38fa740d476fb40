/*
 * Shared access policies of an embedded hub: who may use its registry, its twins and methods, or
 * speak for any of its devices (iot-hub.md section 3). As provision/policy.h for an ID scope: there
 * is no default key; what exists was made by an operator, and its keys are sealed.
 */
#ifndef LK_HUB_POLICY_H
#define LK_HUB_POLICY_H

#include "provision/access_key.h"

#define LK_HUB_POLICY_OWNER "iothubowner"

/* "RegistryRead,RegistryWrite,ServiceConnect,DeviceConnect", as lk_rights_parse(). */
LK_MUST_CHECK enum lk_err lk_hub_rights_parse(const char *text, unsigned *ret);
LK_MUST_CHECK enum lk_err lk_hub_rights_format(unsigned rights, struct lk_buf *ret);
/* What the names that every hub of the replaced service has stand for; 0 for any other name. */
unsigned lk_hub_rights_usual(const char *policy_name);

/* A policy with two fresh keys; *ret is initialised here and the caller hands it to
 * lk_hub_policy_fini(), also after a failure. */
LK_MUST_CHECK enum lk_err lk_hub_policy_make(const struct lk_keyring *ring,
                                             const struct lk_rand *rnd, const char *hub,
                                             const char *name, unsigned rights,
                                             struct lk_hub_policy *ret);
/* Put this key, or a fresh one when key is NULL, into a slot. LK_ERR_ARG: its length. */
LK_MUST_CHECK enum lk_err lk_hub_policy_key_set(const struct lk_keyring *ring,
                                                const struct lk_rand *rnd, enum lk_policy_slot slot,
                                                const void *key, size_t key_len,
                                                struct lk_hub_policy *p);
/* Append "HostName=..;SharedAccessKeyName=..;SharedAccessKey=..", which is secret. host: usually
 * the hub's own name. */
LK_MUST_CHECK enum lk_err lk_hub_policy_connection_string(const struct lk_keyring *ring,
                                                          const struct lk_hub_policy *p,
                                                          enum lk_policy_slot slot,
                                                          const char *host, struct lk_buf *ret);

/*
 * Check a token of the hub's operators inside a read transaction: a policy of this hub (lower case)
 * is named, the token is in date, its resource is a segment-wise prefix of resource ("host/path",
 * decoded), the HMAC fits one of the keys, and the policy has all of rights (enum lk_hub_right).
 * The work is the same for a policy that does not exist. LK_ERR_REFUSED with ret->reason set; other
 * errors are ours.
 */
LK_MUST_CHECK enum lk_err lk_hub_policy_check(const struct lk_keyring *ring, struct lk_txn *tx,
                                              const char *hub, const char *resource,
                                              const char *token, size_t token_len, int64_t now_ms,
                                              unsigned rights, struct lk_policy_check *ret);

/*
 * The same for a token that is parsed and whose resource was judged: of a device, whose signature
 * may also be over the decoded resource (section 4).
 */
LK_MUST_CHECK enum lk_err lk_hub_policy_judge(const struct lk_keyring *ring, struct lk_txn *tx,
                                              const char *hub, const struct lk_sas *sas,
                                              bool also_decoded, unsigned rights,
                                              struct lk_policy_check *ret);

#endif
