#include "link/connection.h"

#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "wire/sas.h"

#define TOKEN_LIFE_S 3600

void
lk_hub_connection_fini(struct lk_hub_connection *c)
{
    lk_wipe(c->key, sizeof(c->key));
    c->key_len = 0;
    lk_buf_fini(&c->ca);
}

/* ---- the string --------------------------------------------------------------------------------
 */

enum lk_err
lk_hub_connection_parse(const char *text, size_t len, char error[LK_HUB_CONNECTION_ERROR_CAP],
                        struct lk_hub_connection *ret)
{
    LK_AUTO_SVC_CONNECTION struct lk_svc_connection at = {.port = 0};
    enum lk_err err = lk_svc_connection_parse(LK_SVC_CONNECTION_HUB, text, len, error, &at);

    if (err != LK_OK) {
        return err;
    }
    lk_hub_connection_fini(ret);
    *ret = (struct lk_hub_connection){.port = at.port, .key_len = at.key_len};
    memcpy(ret->host, at.host, sizeof(ret->host));
    memcpy(ret->gateway, at.gateway, sizeof(ret->gateway));
    memcpy(ret->policy, at.key_name, sizeof(ret->policy));
    memcpy(ret->key, at.key, sizeof(ret->key));
    return LK_OK;
}

static enum lk_err
fault(char error[LK_HUB_CONNECTION_ERROR_CAP], const char *what)
{
    (void)snprintf(error, LK_HUB_CONNECTION_ERROR_CAP, "%s", what);
    return LK_ERR_FORMAT;
}

/* A hub that is called by another name than the one in its certificate is told so here, not by a
 * device that cannot connect. */
enum lk_err
lk_hub_connection_check(const struct lk_hub_connection_text *from, const char *hub,
                        char error[LK_HUB_CONNECTION_ERROR_CAP])
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    const char *text = from->text;
    size_t len = from->len;
    struct lk_hub_connection c = {.port = 0};
    enum lk_err err = lk_hub_connection_parse(from->text, from->len, error, &c);
    bool same = err == LK_OK && strcmp(c.host, hub) == 0;

    lk_hub_connection_fini(&c);
    if (err != LK_OK) {
        return err;
    }
    lk_trim(&text, &len);
    if (memchr(text, '\n', len) != NULL) {
        return fault(error, "it is more than one line");
    }
    if (!same) {
        return fault(error, "it is of another hub: its HostName is not this one's name");
    }
    return from->ca->len == 0 ||
                   memmem(from->ca->data, from->ca->len, begin, sizeof(begin) - 1) != NULL
               ? LK_OK
               : fault(error, "the authorities hold no certificate in PEM");
}

/* ---- at rest -----------------------------------------------------------------------------------
 */

/* The place that it is bound to. */
static enum lk_err
place_of(const char *hub, struct lk_buf *place, const char **ret)
{
    enum lk_err err = lk_buf_printf(place, "hub|%s|connection", hub);

    *ret = err == LK_OK ? lk_buf_text(place) : NULL;
    return err == LK_OK && *ret == NULL ? LK_ERR_NOMEM : err;
}

#define REMOTE_MARK '@' /* no string begins with it */

/* The string has no line end in it: what follows one is the PEM. */
enum lk_err
lk_hub_connection_seal(const struct lk_keyring *ring, const struct lk_rand *rnd, const char *hub,
                       const struct lk_hub_connection_text *from, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf clear = LK_BUF_INIT;
    const struct lk_buf *ca = from->ca;
    const char *ad, *text = from->text;
    size_t len = from->len;
    enum lk_err err;

    lk_trim(&text, &len);
    if (len == 0 || text[0] == REMOTE_MARK || memchr(text, '\n', len) != NULL ||
        ca->len > LK_HUB_CONNECTION_CA_MAX) {
        return LK_ERR_ARG;
    }
    if ((err = place_of(hub, &place, &ad)) != LK_OK ||
        (from->is_remote && (err = lk_buf_put_u8(&clear, REMOTE_MARK)) != LK_OK) ||
        (err = lk_buf_put(&clear, text, len)) != LK_OK ||
        (err = lk_buf_put_u8(&clear, '\n')) != LK_OK ||
        (err = lk_buf_put(&clear, ca->data, ca->len)) != LK_OK) {
        return err;
    }
    return lk_keyring_seal(ring, ad, clear.data, clear.len, rnd, ret);
}

static enum lk_err
clear_parse(const struct lk_buf *clear, struct lk_hub_connection *ret)
{
    const char *text = (const char *)clear->data;
    const char *end = clear->len == 0 ? NULL : memchr(text, '\n', clear->len);
    bool is_remote = clear->len > 0 && text[0] == REMOTE_MARK;
    enum lk_err err;

    if (end == NULL) {
        return LK_ERR_FORMAT;
    }
    text += is_remote ? 1 : 0;
    if ((err = lk_hub_connection_parse(text, (size_t)(end - text), NULL, ret)) != LK_OK) {
        return err;
    }
    ret->is_remote = is_remote;
    return lk_buf_put(&ret->ca, end + 1,
                      clear->len - (size_t)(end - (const char *)clear->data) - 1);
}

enum lk_err
lk_hub_connection_open(const struct lk_keyring *ring, const struct lk_hub *hub,
                       struct lk_hub_connection *ret)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf clear = LK_BUF_INIT;
    const char *ad;
    enum lk_err err;

    if ((err = place_of(hub->name, &place, &ad)) != LK_OK) {
        return err;
    }
    err = lk_keyring_unseal(ring, ad, hub->sealed_connection.data, hub->sealed_connection.len,
                            &clear);
    if (err == LK_OK) {
        err = clear_parse(&clear, ret);
    }
    return err == LK_ERR_NOT_FOUND                         ? LK_ERR_CONFIG
           : err == LK_ERR_REFUSED || err == LK_ERR_FORMAT ? LK_ERR_STORE
                                                           : err;
}

/* ---- the token ---------------------------------------------------------------------------------
 */

enum lk_err
lk_hub_connection_token(const struct lk_hub_connection *c, int64_t now_ms, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    uint64_t expiry = (uint64_t)(now_ms / 1000) + TOKEN_LIFE_S;
    uint8_t sig[LK_SAS_SIG_LEN];
    struct lk_part signed_text;
    enum lk_err err;

    if ((err = lk_sas_string_to_sign(c->host, expiry, &text)) != LK_OK) {
        return err;
    }
    signed_text = LK_PART(text.data, text.len);
    if ((err = lk_hmac(LK_SHA256, c->key, c->key_len, &signed_text, 1, sig)) != LK_OK) {
        return err;
    }
    return lk_sas_format(c->host, expiry, sig, c->policy, ret);
}
