/*
 * The JSON of what the operators' API has below /latchkey/v1, which no other service has; each
 * encoder beside its decoder. Never a key.
 *
 *   GET  hubs               array of {name, kind, weight, allocatable, region, createdDateTimeUtc}
 *   GET  policies           array of {name, scope, rights, createdDateTimeUtc,
 *                           lastUpdatedDateTimeUtc}, of the host's scope
 *   GET  audit?after&limit  {records: [{seq, time, actor, action, scope, subject, detail, hash}],
 *                           looked, last}: of the scope, and those of no scope, among the `looked`
 *                           records after `after`, of which `last` is the last
 *   POST audit/verify       {seq, hash, limit}: at most limit records after one that was verified
 *                           (absent: from the start); gives {seq, hash, more}, or {broken: seq}
 *   POST registrations/query  as the vendor's query of a group's registrations, of all of them
 */
#ifndef LK_API_MANAGE_JSON_H
#define LK_API_MANAGE_JSON_H

#include "base/json.h"
#include "store/store.h"

/* All decoders: LK_ERR_FORMAT when object is not what the encoder makes. Results are initialised
 * here; texts of an audit record are borrowed from object. */

LK_MUST_CHECK enum lk_err lk_hub_json_put(const struct lk_hub *hub, json_t *object);
LK_MUST_CHECK enum lk_err lk_hub_json_parse(const json_t *object, struct lk_hub *ret);

/* Rights as text, not keys. */
LK_MUST_CHECK enum lk_err lk_policy_json_put(const struct lk_policy *p, json_t *object);
LK_MUST_CHECK enum lk_err lk_policy_json_parse(const json_t *object, struct lk_policy *ret);

LK_MUST_CHECK enum lk_err lk_audit_json_put(const struct lk_audit *a, json_t *object);
LK_MUST_CHECK enum lk_err lk_audit_json_parse(const json_t *object, struct lk_audit *ret);

/* seq and hash; a cursor at the start is {}. */
LK_MUST_CHECK enum lk_err lk_cursor_json_put(const struct lk_audit_cursor *c, json_t *object);
LK_MUST_CHECK enum lk_err lk_cursor_json_parse(const json_t *object, struct lk_audit_cursor *ret);

/* Text that a stranger may have chosen: what is no UTF-8 has its bytes' values as code points. NULL
 * when out of memory. */
json_t *lk_any_text_json(const char *text);

#endif
