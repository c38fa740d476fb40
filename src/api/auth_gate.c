/*
 * What stands between brokers on other machines and the questions that they ask: a secret that both
 * know. RabbitMQ sends it as the password of HTTP Basic (its URLs may hold one), EMQX in a header
 * of its configuration. A stranger learns nothing here, not even which paths there are.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "base/codec.h"
#include "crypto/crypto.h"

#define DIGEST_LEN 32u

struct lk_auth_gate {
    struct lk_surface inside;
    uint8_t digest[DIGEST_LEN]; /* of the secret */
    struct lk_log_gate log;
};

static enum lk_err
secret_digest(const void *secret, size_t len, uint8_t ret[DIGEST_LEN])
{
    const struct lk_part part = LK_PART(secret, len);

    return lk_digest(LK_SHA256, &part, 1, ret);
}

bool
lk_auth_secret_ok(const char *secret, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = secret[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '.' || c == '_' || c == '~')) {
            return false;
        }
    }
    return len >= LK_AUTH_SECRET_MIN && len <= LK_AUTH_SECRET_MAX;
}

/* What follows a scheme and one space; NULL when value begins otherwise. */
static const char *
credentials_of(const char *value, const char *scheme)
{
    size_t len = strlen(scheme);

    return strlen(value) > len && value[len] == ' ' && lk_ascii_caseeq(value, len, scheme, len)
               ? value + len + 1
               : NULL;
}

/* The password in base64("user:password"): whoever the user is. */
static enum lk_err
basic_digest(const char *base64, uint8_t ret[DIGEST_LEN])
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = lk_base64_decode(base64, strlen(base64), &text);
    const uint8_t *colon;

    if (err != LK_OK) {
        return err;
    }
    colon = text.len == 0 ? NULL : memchr(text.data, ':', text.len);
    if (colon == NULL) {
        return LK_ERR_FORMAT;
    }
    return secret_digest(colon + 1, text.len - (size_t)(colon + 1 - text.data), ret);
}

static bool
is_let_in(const struct lk_auth_gate *gate, const struct lk_http_request *req)
{
    const char *value = lk_http_request_header(req, "Authorization");
    uint8_t digest[DIGEST_LEN] = {0};
    const char *given;
    enum lk_err err = LK_ERR_FORMAT;

    if (value == NULL || lk_http_request_header_count(req, "Authorization") != 1) {
        return false;
    }
    if ((given = credentials_of(value, "Basic")) != NULL) {
        err = basic_digest(given, digest);
    } else if ((given = credentials_of(value, "Bearer")) != NULL) {
        err = secret_digest(given, strlen(given), digest);
    }
    return err == LK_OK && lk_ct_equal(digest, gate->digest, sizeof(digest));
}

static void
gate_handle(void *ctx, struct lk_http_request *req)
{
    struct lk_auth_gate *gate = ctx;

    if (!is_let_in(gate, req)) {
        if (lk_log_gate_pass(&gate->log, lk_clock_mono_ms(&lk_clock_system))) {
            lk_log(
                LK_LOG_WARNING, "broker.refused", LK_F_TEXT("request_id", lk_http_request_id(req)),
                LK_F_TEXT("peer", lk_http_request_peer(req)), LK_F_TEXT("reason", "broker.secret"));
        }
        lk_http_reply_header(req, "WWW-Authenticate", "Basic realm=\"latchkey\"");
        lk_api_error(req, LK_DPS_UNAUTHORIZED, "Unauthorized");
        return;
    }
    if (!gate->inside.serves(gate->inside.ctx, lk_http_request_host(req),
                             lk_http_request_path(req))) {
        lk_api_error(req, LK_DPS_NOT_FOUND, "Not found");
        return;
    }
    gate->inside.handle(gate->inside.ctx, req);
}

enum lk_err
lk_auth_gate_new(const char *secret, size_t len, struct lk_surface inside,
                 struct lk_auth_gate **ret)
{
    LK_AUTO(lk_auth_gate) struct lk_auth_gate *gate = calloc(1, sizeof(*gate));
    enum lk_err err;

    if (gate == NULL) {
        return LK_ERR_NOMEM;
    }
    if (!lk_auth_secret_ok(secret, len)) {
        return LK_ERR_ARG;
    }
    gate->inside = inside;
    if ((err = secret_digest(secret, len, gate->digest)) != LK_OK) {
        return err;
    }
    *ret = lk_auth_gate_take(&gate);
    return LK_OK;
}

void
lk_auth_gate_free(struct lk_auth_gate *gate)
{
    if (gate != NULL) {
        lk_wipe(gate, sizeof(*gate));
        free(gate);
    }
}

struct lk_surface
lk_auth_gate_surface(struct lk_auth_gate *gate)
{
    return (struct lk_surface){.serves = NULL, .handle = gate_handle, .ctx = gate};
}

void
lk_auth_gate_tick(struct lk_auth_gate *gate)
{
    lk_log_gate_tick(&gate->log, lk_clock_mono_ms(&lk_clock_system));
}
