/* What the files of the hub share: its keyring, keys of identities at rest, limits of twins. */
#ifndef LK_HUB_INT_H
#define LK_HUB_INT_H

#include "hub/hub.h"
#include "hub/twin.h"

/* The keyring in use, as a reference that the caller drops. Any thread. */
struct lk_keyring *lk_hub_core_ring(struct lk_hub_core *h);
const struct lk_rand *lk_hub_core_rand(const struct lk_hub_core *h);

/* A name for one life of a device id, which is never made again. */
LK_MUST_CHECK enum lk_err lk_hub_generation_make(const struct lk_rand *rnd,
                                                 char ret[LK_GENERATION_ID_CAP]);

/*
 * The sealed key in a slot of id, opened and appended to ret. LK_ERR_NOT_FOUND when the slot is
 * empty; LK_ERR_CONFIG when the keyring lacks the key that it was sealed under; LK_ERR_STORE when
 * the bytes are not what was sealed for this hub, device and slot.
 */
LK_MUST_CHECK enum lk_err lk_hub_key_open(const struct lk_keyring *ring,
                                          const struct lk_identity *id, enum lk_key_slot slot,
                                          struct lk_buf *ret);

/* Seal key (1..LK_HMAC_KEY_MAX bytes) into a slot of id. */
LK_MUST_CHECK enum lk_err lk_hub_key_seal(const struct lk_keyring *ring, const struct lk_rand *rnd,
                                          enum lk_key_slot slot, const void *key, size_t key_len,
                                          struct lk_identity *id);

/* "$metadata" or "$version": made by us, and of no meaning in what is brought. */
bool lk_twin_member_ours(const char *name);
/* t with the patch, before it is stored; push gets what the device has to hear, if anything. */
LK_MUST_CHECK enum lk_err lk_twin_apply(struct lk_twin *t, const struct lk_twin_patch *p,
                                        int64_t now_ms, struct lk_buf *push,
                                        char error[LK_TWIN_ERROR_CAP]);
/* Bytes of compact JSON of a whole section. LK_ERR_LIMIT. */
LK_MUST_CHECK enum lk_err lk_twin_size_judge(enum lk_twin_section section, size_t len,
                                             char error[LK_TWIN_ERROR_CAP]);

#endif
