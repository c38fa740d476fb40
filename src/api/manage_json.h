/*
 * The JSON of what the operators' API has below /latchkey/v1, which no other service has; each
 * encoder beside its decoder. No answer has a key in it, but of a policy to who has just made it.
 *
 *   GET  hubs               array of {name, kind, weight, allocatable, region, createdDateTimeUtc}
 *   GET  policies           array of {name, scope, rights, createdDateTimeUtc,
 *                           lastUpdatedDateTimeUtc}, of the host's scope
 *   PUT  policies/{name}    {rights}: makes one; gives such an object, with primaryKey and
 *                           secondaryKey
 *   POST policies/{name}/roll  {key: "primary" or "secondary"}; gives such an object, with that key
 *   DELETE policies/{name}
 *   GET  audit?after&limit  {records: [{seq, time, actor, action, scope, subject, detail, hash}],
 *                           looked, last}: of the scope, and those of no scope, among the `looked`
 *                           records after `after`, of which `last` is the last
 *   POST audit/verify       {seq, hash, limit}: at most limit records after one that was verified
 *                           (absent: from the start); gives {seq, hash, more}, or {broken: seq}
 *   POST registrations/query  as the vendor's query of a group's registrations, of all of them
 */
#ifndef LK_API_MANAGE_JSON_H
#define LK_API_MANAGE_JSON_H

#include "api/fault.h"
#include "provision/policy.h"

#define LK_SVC_NO_HUB 404210
/* Ours. */
#define LK_SVC_NO_POLICY 404901
#define LK_SVC_POLICY_EXISTS 409901
#define LK_SVC_LAST_OWNER 409902

/* All decoders: LK_ERR_FORMAT when object is not what the encoder makes. Results are initialised
 * here; texts of an audit record are borrowed from object. */

LK_MUST_CHECK enum lk_err lk_hub_json_put(const struct lk_hub *hub, json_t *object);
LK_MUST_CHECK enum lk_err lk_hub_json_parse(const json_t *object, struct lk_hub *ret);

/* Rights as text, not keys. */
LK_MUST_CHECK enum lk_err lk_policy_json_put(const struct lk_policy *p, json_t *object);
LK_MUST_CHECK enum lk_err lk_policy_json_parse(const json_t *object, struct lk_policy *ret);

/* primaryKey or secondaryKey, which is secret: the buffer wipes itself. */
LK_MUST_CHECK enum lk_err lk_policy_key_json_put(const struct lk_keyring *ring,
                                                 const struct lk_policy *p,
                                                 enum lk_policy_slot slot, json_t *object);
LK_MUST_CHECK enum lk_err lk_policy_key_json_parse(const json_t *object, enum lk_policy_slot slot,
                                                   struct lk_buf *ret);
/* What changes ask for. LK_ERR_FORMAT with fault set. */
LK_MUST_CHECK enum lk_err lk_policy_rights_json_put(unsigned rights, json_t *object);
LK_MUST_CHECK enum lk_err lk_policy_rights_json_parse(const json_t *object,
                                                      struct lk_svc_fault *fault, unsigned *ret);
LK_MUST_CHECK enum lk_err lk_policy_slot_json_parse(const json_t *object,
                                                    struct lk_svc_fault *fault,
                                                    enum lk_policy_slot *ret);

LK_MUST_CHECK enum lk_err lk_audit_json_put(const struct lk_audit *a, json_t *object);
LK_MUST_CHECK enum lk_err lk_audit_json_parse(const json_t *object, struct lk_audit *ret);

/* seq and hash; a cursor at the start is {}. */
LK_MUST_CHECK enum lk_err lk_cursor_json_put(const struct lk_audit_cursor *c, json_t *object);
LK_MUST_CHECK enum lk_err lk_cursor_json_parse(const json_t *object, struct lk_audit_cursor *ret);

/* Text that a stranger may have chosen: what is no UTF-8 has its bytes' values as code points. NULL
 * when out of memory. */
json_t *lk_any_text_json(const char *text);

#endif
