/*
 * Messages of the device API, in both directions: each input is read as every kind of message, and
 * what is accepted as one can be written and read again as the same.
 */
#include <string.h>

#include "fuzz.h"
#include "wire/dps.h"

static bool
equal(const struct lk_buf *a, const struct lk_buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void
expect_same_certs(const struct lk_dps_register *a, const struct lk_dps_register *b)
{
    check(equal(&a->ek_cert, &b->ek_cert) && a->ek_chain_count == b->ek_chain_count);
    for (size_t i = 0; i < a->ek_chain_count; i++) {
        check(equal(&a->ek_chain[i], &b->ek_chain[i]));
    }
}

static void
as_register(const uint8_t *data, size_t size)
{
    struct lk_dps_register m = LK_DPS_REGISTER_INIT, again = LK_DPS_REGISTER_INIT;
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    char error[LK_JSON_ERROR_CAP] = "";

    if (lk_dps_register_parse(data, size, error, &m) != LK_OK) {
        check(error[0] != '\0' && memchr(error, 0, sizeof(error)) != NULL);
        return;
    }
    check(m.has_tpm == (m.ek.len > 0) && m.payload.len <= LK_DPS_PAYLOAD_MAX);
    check(m.registration_id[0] == '\0' ||
          lk_registration_id_ok(m.registration_id, strlen(m.registration_id)));
    check(lk_dps_register_format(&m, &body) == LK_OK);
    if (body.len <= LK_DPS_BODY_MAX) {
        check(lk_dps_register_parse(body.data, body.len, NULL, &again) == LK_OK);
        check(strcmp(again.registration_id, m.registration_id) == 0);
        check(equal(&again.ek, &m.ek) && equal(&again.srk, &m.srk));
        check(equal(&again.payload, &m.payload));
        expect_same_certs(&again, &m);
    }
    lk_dps_register_fini(&m);
    lk_dps_register_fini(&again);
}

static void
as_challenge(const uint8_t *data, size_t size)
{
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf again = LK_BUF_INIT;

    if (lk_dps_challenge_parse(data, size, &blob) != LK_OK) {
        check(blob.len == 0);
        return;
    }
    check(blob.len > 0);
    check(lk_dps_challenge_format(blob.data, blob.len, &body) == LK_OK);
    if (body.len <= LK_DPS_BODY_MAX) {
        check(lk_dps_challenge_parse(body.data, body.len, &again) == LK_OK);
        check(equal(&again, &blob));
    }
}

static void
expect_same_state(const struct lk_dps_state *a, const struct lk_dps_state *b)
{
    check(a->status == b->status && a->substatus == b->substatus);
    check(strcmp(a->registration_id, b->registration_id) == 0);
    check(strcmp(a->device_id, b->device_id) == 0);
    check(strcmp(a->assigned_hub, b->assigned_hub) == 0);
    check(strcmp(a->operation_id, b->operation_id) == 0);
    check(strcmp(a->etag, b->etag) == 0);
    check(a->created_ms == b->created_ms && a->updated_ms == b->updated_ms);
    check(a->error_code == b->error_code);
    check(a->error_code == 0 || strcmp(a->error_message, b->error_message) == 0);
    check(equal(&a->auth_key, &b->auth_key) && equal(&a->payload, &b->payload));
}

static void
as_operation(const uint8_t *data, size_t size)
{
    struct lk_dps_state s = {0}, again = {0};
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf bare = LK_BUF_INIT;

    if (lk_dps_operation_parse(data, size, &s) != LK_OK) {
        return;
    }
    check(lk_dps_operation_format(&s, true, &body) == LK_OK);
    check(lk_dps_state_format(&s, &bare) == LK_OK && bare.len < body.len);
    if (body.len <= LK_DPS_BODY_MAX) {
        check(lk_dps_operation_parse(body.data, body.len, &again) == LK_OK);
        expect_same_state(&s, &again);
    }
    lk_dps_state_fini(&s);
    lk_dps_state_fini(&again);
}

static void
as_error(const uint8_t *data, size_t size)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    char message[64], again[64];
    int32_t code, code_again;

    if (lk_dps_error_parse(data, size, &code, message, sizeof(message)) != LK_OK) {
        return;
    }
    check(lk_dps_error_format(code, "t", message, 0, &body) == LK_OK);
    check(lk_dps_error_parse(body.data, body.len, &code_again, again, sizeof(again)) == LK_OK);
    check(code == code_again && strcmp(message, again) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    as_register(data, size);
    as_challenge(data, size);
    as_operation(data, size);
    as_error(data, size);
    return 0;
}
