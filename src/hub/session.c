#include "hub/session.h"

#include <string.h>

#include "hub/hub_int.h"

static enum lk_err
key_tag(const struct lk_keyring *ring, const struct lk_identity *id, enum lk_key_slot slot,
        uint8_t ret[LK_KEY_TAG_LEN])
{
    static const char domain[] = "latchkey hub session";
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    uint8_t digest[LK_HASH_MAX];
    enum lk_err err = lk_hub_key_open(ring, id, slot, &key);

    if (err != LK_OK) {
        return err;
    }
    const struct lk_part parts[] = {LK_PART(domain, sizeof(domain)), LK_PART(key.data, key.len)};

    if ((err = lk_digest(LK_SHA256, parts, LK_ARRAY_LEN(parts), digest)) == LK_OK) {
        memcpy(ret, digest, LK_KEY_TAG_LEN);
    }
    lk_wipe(digest, sizeof(digest));
    return err;
}

static enum lk_err
policy_tag(const char *name, uint8_t ret[LK_KEY_TAG_LEN])
{
    static const char domain[] = "latchkey hub session by policy";
    const struct lk_part parts[] = {LK_PART(domain, sizeof(domain)), LK_PART(name, strlen(name))};
    uint8_t digest[LK_HASH_MAX];
    enum lk_err err = lk_digest(LK_SHA256, parts, LK_ARRAY_LEN(parts), digest);

    if (err == LK_OK) {
        memcpy(ret, digest, LK_KEY_TAG_LEN);
    }
    return err;
}

/* The tag of what signed the token of a login. */
static enum lk_err
login_tag(const struct lk_keyring *ring, struct lk_txn *tx, const char *hub,
          const struct lk_device_check *check, uint8_t ret[LK_KEY_TAG_LEN])
{
    struct lk_identity id;
    enum lk_err err;

    if (check->policy[0] != '\0') {
        return policy_tag(check->policy, ret);
    }
    if ((err = lk_txn_identity_get(tx, hub, check->device_id, &id)) != LK_OK) {
        return err;
    }
    return key_tag(ring, &id, check->slot, ret);
}

enum lk_err
lk_hub_login(struct lk_hub_core *h, struct lk_txn *tx, const char *hub, const char *device_id,
             const char *token, size_t token_len, int64_t now_ms, struct lk_hub_login *ret)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = lk_hub_core_ring(h);
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    err = lk_hub_check_device(h, tx, hub, device_id, token, token_len, now_ms, &ret->check);
    if (err != LK_OK || (err = login_tag(ring, tx, hub, &ret->check, ret->key_tag)) != LK_OK) {
        return err;
    }
    ret->cut_at_unix_s = ret->check.expiry_unix_s;
    if (now_ms >= 0 && ret->cut_at_unix_s <= (uint64_t)now_ms / 1000) {
        ret->cut_at_unix_s += LK_HUB_SKEW_S;
    }
    return LK_OK;
}

/* LK_ERR_REFUSED when neither slot has the key. */
static enum lk_err
key_look(const struct lk_keyring *ring, const struct lk_identity *id, const uint8_t *tag)
{
    static const enum lk_key_slot slots[] = {LK_KEY_PRIMARY, LK_KEY_SECONDARY};
    uint8_t other[LK_KEY_TAG_LEN];

    for (size_t i = 0; i < LK_ARRAY_LEN(slots); i++) {
        enum lk_err err = key_tag(ring, id, slots[i], other);

        if (err == LK_OK && lk_ct_equal(tag, other, LK_KEY_TAG_LEN)) {
            return LK_OK;
        }
        if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
            return err;
        }
    }
    return LK_ERR_REFUSED;
}

struct policy_search {
    const uint8_t *tag;
    bool found;
};

static enum lk_err
policy_look(void *ctx, const struct lk_hub_policy *p)
{
    struct policy_search *s = ctx;
    uint8_t other[LK_KEY_TAG_LEN];
    enum lk_err err = policy_tag(p->name, other);

    s->found = s->found || (err == LK_OK && (p->rights & LK_HUB_DEVICE_CONNECT) != 0 &&
                            lk_ct_equal(s->tag, other, LK_KEY_TAG_LEN));
    return err;
}

/* LK_ERR_REFUSED when neither a key of the device nor a policy of its hub stands behind tag. */
static enum lk_err
tag_look(const struct lk_keyring *ring, struct lk_txn *tx, const struct lk_identity *id,
         const uint8_t *tag)
{
    struct policy_search search = {.tag = tag};
    enum lk_err err = key_look(ring, id, tag);

    if (err != LK_ERR_REFUSED) {
        return err;
    }
    err = lk_txn_hub_policy_each(tx, id->hub, policy_look, &search);
    return err != LK_OK ? err : search.found ? LK_OK : LK_ERR_REFUSED;
}

enum lk_err
lk_hub_session_judge(struct lk_hub_core *h, struct lk_txn *tx, const struct lk_hub_session *session,
                     char ret_etag[LK_ETAG_CAP], const char **ret_reason)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = lk_hub_core_ring(h);
    struct lk_identity id;
    enum lk_err err = lk_txn_identity_get(tx, session->hub, session->device_id, &id);

    if (err == LK_OK && strcmp(id.generation_id, session->generation_id) != 0) {
        err = LK_ERR_NOT_FOUND;
    }
    if (err != LK_OK) {
        return err;
    }
    if (!id.enabled) {
        *ret_reason = "device.disabled";
        return LK_ERR_REFUSED;
    }
    err = strcmp(id.etag, session->etag) == 0 ? LK_OK : tag_look(ring, tx, &id, session->key_tag);
    if (err == LK_ERR_REFUSED) {
        *ret_reason = "device.key_changed";
    }
    return err != LK_OK ? err : lk_strcpy(ret_etag, LK_ETAG_CAP, id.etag);
}
