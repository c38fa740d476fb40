/*
 * The JSON of what the operators' API has below /latchkey/v1, which no other service has; each
 * encoder beside its decoder. No answer has a key in it, but of a policy to who has just made it.
 *
 *   GET  hubs               array of {name, kind, weight, allocatable, region, createdDateTimeUtc}
 *   PUT  hubs/{name}        {weight, allocatable, region, connectionString, authorities}, all of
 *                           them optional: links one, with a connection string one elsewhere, whose
 *                           certificate PEM authorities may have signed; gives such an object
 *   PATCH hubs/{name}       the same members, of which those that are there change
 *   DELETE hubs/{name}?force=1  {identities, left}: the first are gone; while left, the same call
 *                           removes more of them, then the hub
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
#include "provision/linked_hub.h"
#include "provision/policy.h"

#define LK_SVC_NO_HUB 404210
/* Ours. */
#define LK_SVC_NO_POLICY 404901
#define LK_SVC_POLICY_EXISTS 409901
#define LK_SVC_LAST_OWNER 409902
#define LK_SVC_HUB_EXISTS 409903
#define LK_SVC_HUB_IN_USE 409904
#define LK_SVC_HUBS_SHARED 409905

#define LK_HUB_REMOVE_ROWS                                                                         \
    500u /* identities that one call removes: the writer is soon free again */

/* All decoders: LK_ERR_FORMAT when object is not what the encoder makes. Results are initialised
 * here; texts of an audit record are borrowed from object. */

LK_MUST_CHECK enum lk_err lk_hub_json_put(const struct lk_hub *hub, json_t *object);
LK_MUST_CHECK enum lk_err lk_hub_json_parse(const json_t *object, struct lk_hub *ret);

/* A change as a client sends it: connection is NULL or the string, which is secret; authorities is
 * NULL or PEM. Texts are borrowed from object. */
struct lk_hub_request {
    struct lk_hub_change change; /* but for the connection */
    const char *connection, *authorities;
};
LK_MUST_CHECK enum lk_err lk_hub_request_put(const struct lk_hub_request *r, json_t *object);
/* LK_ERR_FORMAT with fault set, which quotes nothing. */
LK_MUST_CHECK enum lk_err lk_hub_request_parse(const json_t *object, struct lk_svc_fault *fault,
                                               struct lk_hub_request *ret);
/* What a removal answers. */
LK_MUST_CHECK enum lk_err lk_hub_removal_json_put(const struct lk_hub_removal *r, json_t *object);
LK_MUST_CHECK enum lk_err lk_hub_removal_json_parse(const json_t *object,
                                                    struct lk_hub_removal *ret);

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
