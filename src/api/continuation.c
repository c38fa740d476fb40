/* A token is base64 of key id (8 bytes), MAC (16), and the id. */
#include "api/continuation.h"

#include <string.h>

#include "base/codec.h"

#define MAC_LEN 16u

/* Every field with its length in front, so that no two queries share a MAC. */
static enum lk_err
mac_make(const struct lk_keyring *ring, size_t key, const struct lk_continuation_of *of,
         const char *after, uint8_t ret[32])
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    const char *fields[] = {of->collection, of->owner, of->group, of->query, after};
    enum lk_err err = LK_OK;

    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(fields); i++) {
        err = lk_buf_put_2b(&text, fields[i], strlen(fields[i]));
    }
    return err != LK_OK
               ? err
               : lk_keyring_continuation_mac(ring, key, &LK_PART(text.data, text.len), 1, ret);
}

enum lk_err
lk_continuation_make(const struct lk_keyring *ring, int64_t now_ms,
                     const struct lk_continuation_of *of, const char *after,
                     char ret[LK_CONTINUATION_CAP])
{
    LK_AUTO_BUF struct lk_buf raw = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    size_t key = lk_keyring_issuing(ring, now_ms);
    uint8_t mac[32];
    enum lk_err err;

    if ((err = mac_make(ring, key, of, after, mac)) != LK_OK ||
        (err = lk_buf_put_u64(&raw, lk_keyring_id(ring, key))) != LK_OK ||
        (err = lk_buf_put(&raw, mac, MAC_LEN)) != LK_OK ||
        (err = lk_buf_puts(&raw, after)) != LK_OK ||
        (err = lk_base64_encode(raw.data, raw.len, &text)) != LK_OK) {
        return err;
    }
    return lk_buf_text(&text) == NULL ? LK_ERR_NOMEM
                                      : lk_strcpy(ret, LK_CONTINUATION_CAP, lk_buf_text(&text));
}

enum lk_err
lk_continuation_read(const struct lk_keyring *ring, const struct lk_continuation_of *of,
                     const char *token, char ret[LK_CONTINUATION_ID_MAX + 1])
{
    LK_AUTO_BUF struct lk_buf raw = {.max = LK_CONTINUATION_CAP};
    char after[LK_CONTINUATION_ID_MAX + 1];
    struct lk_reader r;
    const uint8_t *given;
    uint8_t mac[32];
    uint64_t key_id;
    size_t key;
    enum lk_err err;

    if (strlen(token) >= LK_CONTINUATION_CAP ||
        lk_base64_decode(token, strlen(token), &raw) != LK_OK) {
        return LK_ERR_REFUSED;
    }
    r = lk_reader_of(raw.data, raw.len);
    if (lk_read_u64(&r, &key_id) != LK_OK || lk_read_bytes(&r, MAC_LEN, &given) != LK_OK ||
        r.left > LK_CONTINUATION_ID_MAX || !of->id_ok((const char *)r.p, r.left) ||
        lk_keyring_find(ring, key_id, &key) != LK_OK) {
        return LK_ERR_REFUSED;
    }
    memcpy(after, r.p, r.left);
    after[r.left] = '\0';
    if ((err = mac_make(ring, key, of, after, mac)) != LK_OK) {
        return err;
    }
    if (!lk_ct_equal(given, mac, MAC_LEN)) {
        return LK_ERR_REFUSED;
    }
    memcpy(ret, after, r.left + 1);
    return LK_OK;
}
