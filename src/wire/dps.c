/* Register, challenge and error messages. */
#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "wire/dps.h"
#include "wire/wire_int.h"

#define KEY_NAME "registration" /* which key signs: C needs the member, others assume the value */

/* Remember in words what is wrong with a member. */
static enum lk_err
refuse(enum lk_err err, char error[LK_JSON_ERROR_CAP], const char *member, const char *what)
{
    if (error != NULL) {
        (void)snprintf(error, LK_JSON_ERROR_CAP, "%s %s", member, what);
    }
    return err;
}

enum lk_err
lk_dps_body_parse(const void *body, size_t len, char error[LK_JSON_ERROR_CAP], json_t **ret)
{
    if (len > LK_DPS_BODY_MAX) {
        return refuse(LK_ERR_LIMIT, error, "the body", "is too long");
    }
    return lk_json_parse(body, len, false, error, ret);
}

/* ---- register request ------------------------------------------------------------------------ */

void
lk_dps_register_fini(struct lk_dps_register *m)
{
    lk_buf_fini(&m->ek);
    lk_buf_fini(&m->srk);
    lk_buf_fini(&m->ek_cert);
    for (size_t i = 0; i < LK_ARRAY_LEN(m->ek_chain); i++) {
        lk_buf_fini(&m->ek_chain[i]);
    }
    lk_buf_fini(&m->payload);
}

/* Members of ours, which no client of DPS sends. */
static enum lk_err
ek_chain_get(const json_t *tpm, char error[LK_JSON_ERROR_CAP], struct lk_dps_register *m)
{
    static const char name[] = "tpm.endorsementKeyCertificateChain";
    const json_t *chain = json_object_get(tpm, "endorsementKeyCertificateChain");
    size_t count = json_array_size(chain);

    if (chain == NULL || json_is_null(chain)) {
        return LK_OK;
    }
    if (!json_is_array(chain)) {
        return refuse(LK_ERR_FORMAT, error, name, "is not an array");
    }
    if (count > LK_DPS_EK_CHAIN_MAX) {
        return refuse(LK_ERR_LIMIT, error, name, "is too long");
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(chain, i);
        enum lk_err err = LK_ERR_FORMAT;

        m->ek_chain[i].max = LK_DPS_EK_CERT_MAX;
        if (json_is_string(item) && json_string_length(item) > 0) {
            err = lk_base64_decode(json_string_value(item), json_string_length(item),
                                   &m->ek_chain[i]);
        }
        if (err != LK_OK) {
            return refuse(err, error, name,
                          err == LK_ERR_LIMIT ? "is too long" : "is not of base64");
        }
    }
    m->ek_chain_count = count;
    return LK_OK;
}

static enum lk_err
ek_cert_get(const json_t *tpm, char error[LK_JSON_ERROR_CAP], struct lk_dps_register *m)
{
    enum lk_err err;

    m->ek_cert.max = LK_DPS_EK_CERT_MAX;
    err = lk_member_get_base64(tpm, "endorsementKeyCertificate", &m->ek_cert);
    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        return refuse(err, error, "tpm.endorsementKeyCertificate",
                      err == LK_ERR_LIMIT ? "is too long" : "is not base64");
    }
    return ek_chain_get(tpm, error, m);
}

static enum lk_err
tpm_get(const json_t *root, char error[LK_JSON_ERROR_CAP], struct lk_dps_register *m)
{
    const json_t *tpm = json_object_get(root, "tpm");
    enum lk_err err;

    if (tpm == NULL || json_is_null(tpm)) {
        return LK_OK;
    }
    if (!json_is_object(tpm)) {
        return refuse(LK_ERR_FORMAT, error, "tpm", "is not an object");
    }
    m->has_tpm = true;
    if ((err = lk_member_get_base64(tpm, "endorsementKey", &m->ek)) != LK_OK) {
        return refuse(err == LK_ERR_NOT_FOUND ? LK_ERR_FORMAT : err, error, "tpm.endorsementKey",
                      err == LK_ERR_NOT_FOUND ? "is missing" : "is not base64");
    }
    err = lk_member_get_base64(tpm, "storageRootKey", &m->srk);
    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        return refuse(err, error, "tpm.storageRootKey", "is not base64");
    }
    return ek_cert_get(tpm, error, m);
}

static enum lk_err
register_get(const json_t *root, char error[LK_JSON_ERROR_CAP], struct lk_dps_register *m)
{
    enum lk_err err;

    err = lk_member_get_id(root, "registrationId", lk_registration_id_ok, m->registration_id,
                           sizeof(m->registration_id));
    if (err != LK_OK) {
        return refuse(err, error, "registrationId", "is not a registration ID");
    }
    if ((err = tpm_get(root, error, m)) != LK_OK) {
        return err;
    }
    err = lk_member_get_json(root, "payload", &m->payload);
    return err == LK_ERR_LIMIT ? refuse(err, error, "payload", "is too long") : err;
}

enum lk_err
lk_dps_register_parse(const void *body, size_t len, char error[LK_JSON_ERROR_CAP],
                      struct lk_dps_register *ret)
{
    __attribute__((cleanup(lk_dps_register_fini))) struct lk_dps_register m = LK_DPS_REGISTER_INIT;
    LK_AUTO(json) json_t *root = NULL;
    enum lk_err err;

    m.payload.max = LK_DPS_PAYLOAD_MAX;
    if (len > 0 && ((err = lk_dps_body_parse(body, len, error, &root)) != LK_OK ||
                    (err = register_get(root, error, &m)) != LK_OK)) {
        return err;
    }
    memcpy(ret->registration_id, m.registration_id, sizeof(m.registration_id));
    ret->has_tpm = m.has_tpm;
    lk_buf_move(&ret->ek, &m.ek);
    lk_buf_move(&ret->srk, &m.srk);
    lk_buf_move(&ret->ek_cert, &m.ek_cert);
    for (size_t i = 0; i < LK_ARRAY_LEN(m.ek_chain); i++) {
        lk_buf_move(&ret->ek_chain[i], &m.ek_chain[i]);
    }
    ret->ek_chain_count = m.ek_chain_count;
    lk_buf_move(&ret->payload, &m.payload);
    return LK_OK;
}

static enum lk_err
ek_cert_put(json_t *tpm, const struct lk_dps_register *m)
{
    json_t *chain;
    enum lk_err err;

    if (m->ek_cert.len > 0 && (err = lk_member_base64(tpm, "endorsementKeyCertificate",
                                                      m->ek_cert.data, m->ek_cert.len)) != LK_OK) {
        return err;
    }
    if (m->ek_chain_count == 0) {
        return LK_OK;
    }
    chain = json_array();
    err = lk_member_put(tpm, "endorsementKeyCertificateChain", chain);
    for (size_t i = 0; err == LK_OK && i < m->ek_chain_count; i++) {
        LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

        err = lk_base64_encode(m->ek_chain[i].data, m->ek_chain[i].len, &text);
        if (err == LK_OK &&
            json_array_append_new(chain, json_stringn((const char *)text.data, text.len)) != 0) {
            return LK_ERR_NOMEM;
        }
    }
    return err;
}

static enum lk_err
tpm_put(json_t *root, const struct lk_dps_register *m)
{
    json_t *tpm;
    enum lk_err err;

    if (!m->has_tpm) {
        return LK_OK;
    }
    tpm = json_object();
    if ((err = lk_member_put(root, "tpm", tpm)) != LK_OK) {
        return err;
    }
    err = lk_member_base64(tpm, "endorsementKey", m->ek.data, m->ek.len);
    if (err != LK_OK ||
        (m->srk.len > 0 &&
         (err = lk_member_base64(tpm, "storageRootKey", m->srk.data, m->srk.len)) != LK_OK)) {
        return err;
    }
    return ek_cert_put(tpm, m);
}

enum lk_err
lk_dps_register_format(const struct lk_dps_register *m, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *root = json_object();
    enum lk_err err;

    if (root == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = lk_member_text_some(root, "registrationId", m->registration_id)) != LK_OK ||
        (err = tpm_put(root, m)) != LK_OK ||
        (err = lk_member_json(root, "payload", &m->payload)) != LK_OK) {
        return err;
    }
    return lk_json_write(root, ret);
}

/* ---- 401 challenge --------------------------------------------------------------------------- */

/* The four members that the live service sends. A status member would end it for C (1.4). */
enum lk_err
lk_dps_challenge_format(const void *auth_key, size_t len, struct lk_buf *ret)
{
    struct lk_object root;
    enum lk_err err = lk_object_begin(ret, &root);

    if (err != LK_OK ||
        (err = lk_object_text(&root, "message",
                              "Authorization required, resend request using supplied key")) !=
            LK_OK ||
        (err = lk_object_base64(&root, "authenticationKey", auth_key, len)) != LK_OK ||
        (err = lk_object_raw(&root, "unencryptedAuthenticationKey", "null")) != LK_OK) {
        return lk_object_end(&root, err);
    }
    return lk_object_end(&root, lk_object_text(&root, "keyName", KEY_NAME));
}

enum lk_err
lk_dps_challenge_parse(const void *body, size_t len, struct lk_buf *ret_auth_key)
{
    LK_AUTO(json) json_t *root = NULL;
    enum lk_err err;

    if ((err = lk_dps_body_parse(body, len, NULL, &root)) != LK_OK) {
        return err;
    }
    err = lk_member_get_base64(root, "authenticationKey", ret_auth_key);
    if (err != LK_ERR_NOT_FOUND) {
        return err;
    }
    return json_is_integer(json_object_get(root, "errorCode")) ? LK_ERR_REFUSED : LK_ERR_FORMAT;
}

/* ---- errors ---------------------------------------------------------------------------------- */

enum lk_err
lk_dps_error_format(int32_t error_code, const char *tracking_id, const char *message,
                    int64_t now_ms, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *root = json_object();
    char now[LK_TIMESTAMP_CAP];
    enum lk_err err;

    if (root == NULL) {
        return LK_ERR_NOMEM;
    }
    lk_timestamp_format(now_ms, now);
    if ((err = lk_member_put(root, "errorCode", json_integer(error_code))) != LK_OK ||
        (err = lk_member_text(root, "trackingId", tracking_id)) != LK_OK ||
        (err = lk_member_text(root, "message", message)) != LK_OK ||
        (err = lk_member_text(root, "timestampUtc", now)) != LK_OK) {
        return err;
    }
    return lk_json_write(root, ret);
}

enum lk_err
lk_dps_error_parse(const void *body, size_t len, int32_t *ret_code, char *message, size_t cap)
{
    LK_AUTO(json) json_t *root = NULL;
    const char *text;
    int32_t code = 0;
    enum lk_err err;

    if ((err = lk_dps_body_parse(body, len, NULL, &root)) != LK_OK ||
        (err = lk_member_get_int32(root, "errorCode", &code)) != LK_OK ||
        (err = lk_json_text(root, "message", &text)) != LK_OK) {
        return err;
    }
    if (code == 0) {
        return LK_ERR_FORMAT;
    }
    *ret_code = code;
    lk_text_cut(message, cap, text != NULL ? text : "");
    return LK_OK;
}
