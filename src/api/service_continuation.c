/*
 * Continuation tokens: base64 of key id (8 bytes), MAC (16), and the id after which the query goes
 * on. Any instance with the keyring reads them, also after a restart; none is kept.
 */
#include <string.h>

#include "api/service_int.h"
#include "base/codec.h"

#define MAC_LEN 16u

/* Every field with its length in front, so that no two queries share a MAC. */
static enum lk_err
mac_make(const struct lk_service_call *c, size_t key, const char *after, uint8_t ret[32])
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    const char *group = c->route.id != NULL ? c->route.id : "";
    enum lk_err err;

    if ((err = lk_buf_put_u8(&text, (uint8_t)c->route.collection)) != LK_OK ||
        (err = lk_buf_put_2b(&text, c->scope.id, strlen(c->scope.id))) != LK_OK ||
        (err = lk_buf_put_2b(&text, group, strlen(group))) != LK_OK ||
        (err = lk_buf_put_2b(&text, c->query_text, strlen(c->query_text))) != LK_OK ||
        (err = lk_buf_put_2b(&text, after, strlen(after))) != LK_OK) {
        return err;
    }
    return lk_keyring_continuation_mac(c->ring, key, &LK_PART(text.data, text.len), 1, ret);
}

enum lk_err
lk_svc_continuation_make(const struct lk_service_call *c, const char *after,
                         char ret[LK_SVC_CONTINUATION_CAP])
{
    LK_AUTO_BUF struct lk_buf raw = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    size_t key = lk_keyring_issuing(c->ring, lk_clock_unix_ms(c->api->clock));
    uint8_t mac[32];
    enum lk_err err;

    if ((err = mac_make(c, key, after, mac)) != LK_OK ||
        (err = lk_buf_put_u64(&raw, lk_keyring_id(c->ring, key))) != LK_OK ||
        (err = lk_buf_put(&raw, mac, MAC_LEN)) != LK_OK ||
        (err = lk_buf_puts(&raw, after)) != LK_OK ||
        (err = lk_base64_encode(raw.data, raw.len, &text)) != LK_OK) {
        return err;
    }
    return lk_buf_text(&text) == NULL ? LK_ERR_NOMEM
                                      : lk_strcpy(ret, LK_SVC_CONTINUATION_CAP, lk_buf_text(&text));
}

enum lk_err
lk_svc_continuation_read(const struct lk_service_call *c, const char *token,
                         char ret[LK_REGISTRATION_ID_MAX + 1])
{
    LK_AUTO_BUF struct lk_buf raw = {.max = LK_SVC_CONTINUATION_CAP};
    char after[LK_REGISTRATION_ID_MAX + 1];
    struct lk_reader r;
    const uint8_t *given;
    uint8_t mac[32];
    uint64_t key_id;
    size_t key;
    enum lk_err err;

    if (strlen(token) >= LK_SVC_CONTINUATION_CAP ||
        lk_base64_decode(token, strlen(token), &raw) != LK_OK) {
        return LK_ERR_REFUSED;
    }
    r = lk_reader_of(raw.data, raw.len);
    if (lk_read_u64(&r, &key_id) != LK_OK || lk_read_bytes(&r, MAC_LEN, &given) != LK_OK ||
        !lk_registration_id_ok((const char *)r.p, r.left) ||
        lk_keyring_find(c->ring, key_id, &key) != LK_OK) {
        return LK_ERR_REFUSED;
    }
    memcpy(after, r.p, r.left);
    after[r.left] = '\0';
    if ((err = mac_make(c, key, after, mac)) != LK_OK) {
        return err;
    }
    if (!lk_ct_equal(given, mac, MAC_LEN)) {
        return LK_ERR_REFUSED;
    }
    memcpy(ret, after, r.left + 1);
    return LK_OK;
}
