#include "provision/nonce.h"

#include <string.h>

#include "base/codec.h"
#include "wire/ids.h"

static const char domain[] = "latchkey nonce v1";

uint64_t
lk_nonce_epoch(int64_t now_ms, uint32_t epoch_s)
{
    return now_ms < 0 ? 0 : (uint64_t)now_ms / 1000u / epoch_s;
}

/* The MAC input: every field with its length in front, so that no two subjects share one. */
static enum lk_err
subject_write(const struct lk_nonce_subject *s, uint64_t epoch, struct lk_buf *ret)
{
    char id[LK_REGISTRATION_ID_MAX + 1];
    enum lk_err err;

    if ((err = lk_strcpy(id, sizeof(id), s->registration_id)) != LK_OK) {
        return err;
    }
    lk_ascii_lower(id);
    if ((err = lk_buf_put(ret, domain, sizeof(domain))) != LK_OK ||
        (err = lk_buf_put_2b(ret, s->scope, strlen(s->scope))) != LK_OK ||
        (err = lk_buf_put_2b(ret, id, strlen(id))) != LK_OK ||
        (err = lk_buf_put_2b(ret, s->ek_id, LK_EK_ID_LEN)) != LK_OK ||
        (err = lk_buf_put_2b(ret, s->srk_name, s->srk_name_len)) != LK_OK ||
        (err = lk_buf_put_u64(ret, epoch)) != LK_OK) {
        return err;
    }
    return lk_buf_put_u64(ret, s->generation);
}

static enum lk_err
derive(const struct lk_keyring *ring, size_t key, const struct lk_nonce_subject *s, uint64_t epoch,
       uint8_t ret[LK_NONCE_KEY_LEN])
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = subject_write(s, epoch, &text);

    if (err != LK_OK) {
        return err;
    }
    return lk_keyring_challenge_mac(ring, key, &LK_PART(text.data, text.len), 1, ret);
}

enum lk_err
lk_nonce_key(const struct lk_keyring *ring, const struct lk_nonce_subject *s,
             const struct lk_nonce_place *at, uint8_t ret[LK_NONCE_KEY_LEN])
{
    size_t key;
    enum lk_err err = lk_keyring_find(ring, at->key_id, &key);

    return err != LK_OK ? err : derive(ring, key, s, at->epoch, ret);
}

struct lk_nonce_place
lk_nonce_current(const struct lk_keyring *ring, int64_t now_ms, uint32_t epoch_s)
{
    struct lk_nonce_place at = {lk_keyring_id(ring, lk_keyring_issuing(ring, now_ms)),
                                lk_nonce_epoch(now_ms, epoch_s)};

    return at;
}

static enum lk_err
candidate_check(const struct lk_keyring *ring, size_t key, const struct lk_nonce_subject *s,
                uint64_t epoch, const struct lk_sas *sas)
{
    uint8_t nonce[LK_NONCE_KEY_LEN];
    enum lk_err err = derive(ring, key, s, epoch, nonce);

    if (err == LK_OK) {
        err = lk_sas_verify(sas, nonce, sizeof(nonce), false);
    }
    lk_wipe(nonce, sizeof(nonce));
    return err;
}

enum lk_err
lk_nonce_verify(const struct lk_keyring *ring, const struct lk_nonce_subject *s,
                const struct lk_sas *sas, int64_t now_ms, uint32_t epoch_s,
                struct lk_nonce_place *ret)
{
    uint64_t now_epoch = lk_nonce_epoch(now_ms, epoch_s);
    int64_t window_ms = (int64_t)epoch_s * 2000;
    enum lk_err found = LK_ERR_REFUSED;

    for (size_t key = 0; key < lk_keyring_count(ring); key++) {
        if (!lk_keyring_accepts(ring, key, now_ms, window_ms)) {
            continue;
        }
        for (uint64_t back = 0; back < 2 && back <= now_epoch; back++) {
            enum lk_err err = candidate_check(ring, key, s, now_epoch - back, sas);

            if (err == LK_OK) {
                ret->key_id = lk_keyring_id(ring, key);
                ret->epoch = now_epoch - back;
                found = LK_OK;
            } else if (err != LK_ERR_REFUSED) {
                return err;
            }
        }
    }
    return found;
}
