/*
 * What a device's login at its hub is worth, and for how long: a session is bound to the identity
 * that it was checked against and to the key that its token was signed with.
 */
#ifndef LK_HUB_SESSION_H
#define LK_HUB_SESSION_H

#include "hub/hub.h"

#define LK_KEY_TAG_LEN 16u

struct lk_hub_login {
    struct lk_device_check check; /* reason is set when it is refused */
    uint8_t
        key_tag[LK_KEY_TAG_LEN]; /* tells what signed the token: a key, or a policy by its name */
    uint64_t cut_at_unix_s;      /* when the session ends at the latest */
};

/*
 * As lk_hub_check_device(), for a device that says it is device_id. The session ends when its token
 * expires; one that is taken although it had expired, since clocks differ, lasts as long as such
 * tokens are taken.
 */
LK_MUST_CHECK enum lk_err lk_hub_login(struct lk_hub_core *h, struct lk_txn *tx, const char *hub,
                                       const char *device_id, const char *token, size_t token_len,
                                       int64_t now_ms, struct lk_hub_login *ret);

/* A session as its broker remembers it. */
struct lk_hub_session {
    const char *hub, *device_id;
    const char *generation_id; /* as check.generation_id */
    const char *etag;          /* of the identity that it was judged against last */
    const uint8_t *key_tag;
};

/*
 * Judge a session by the identity as it is now. LK_OK, with the identity's etag in ret_etag: it may
 * go on. LK_ERR_REFUSED with *ret_reason: the identity is disabled, or the key is none of its keys
 * any more, or the policy is gone. LK_ERR_NOT_FOUND: there is no such identity, or another of the
 * same name.
 */
LK_MUST_CHECK enum lk_err lk_hub_session_judge(struct lk_hub_core *h, struct lk_txn *tx,
                                               const struct lk_hub_session *session,
                                               char ret_etag[LK_ETAG_CAP], const char **ret_reason);

#endif
