/*
 * A ban: a device that is refused at provisioning is cut off at its embedded hub in the same
 * transaction. It is a status of the hub's identity with a reason of its own, so that lifting it
 * lets nobody in whom the hub's operator had disabled.
 */
#ifndef LK_HUB_BAN_H
#define LK_HUB_BAN_H

#include "store/store.h"

/* The status reason, alone or followed by ": " and the operator's. */
#define LK_BAN_REASON "banned"
#define LK_BAN_WHY_MAX (LK_STATUS_REASON_MAX - sizeof(LK_BAN_REASON ": ") + 1) /* bytes */

enum lk_ban_outcome {
    LK_BAN_DONE,
    LK_BAN_NOTHING,  /* no identity at a hub, or it is already as it shall be */
    LK_BAN_ELSEWHERE /* at a hub that is not ours: disable it there */
};

struct lk_ban {
    const char *actor; /* of the audit records */
    const char *why;   /* the operator's reason, "" for none, UTF-8; NULL: lift the ban */
};

/*
 * Ban the device of a registration, or lift its ban. Only an identity that the registration owns is
 * touched; a change has its audit record. ret_hub is the hub that the registration names, "" for
 * none. The caller has changed the enrollment in the same transaction. LK_ERR_ARG: why is too long.
 */
LK_MUST_CHECK enum lk_err lk_hub_ban(struct lk_txn *tx, const struct lk_ban *ban, const char *scope,
                                     const char *registration_id, enum lk_ban_outcome *ret,
                                     char ret_hub[LK_HOST_NAME_MAX + 1]);

/*
 * The same for every device that a group has admitted, so many in one transaction: after the
 * registration `after` ("" from the start), at most limit. ret_last is where to go on, "" when
 * there is no more.
 */
struct lk_ban_count {
    uint64_t done, nothing, elsewhere; /* added to */
};
LK_MUST_CHECK enum lk_err lk_hub_ban_group(struct lk_txn *tx, const struct lk_ban *ban,
                                           const char *scope, const char *group, const char *after,
                                           size_t limit, struct lk_ban_count *count,
                                           char ret_last[LK_REGISTRATION_ID_MAX + 1]);

#endif
