/*
 * A registration, as device-protocol.md section 0 numbers it:
 *
 *   keys -> challenge -> activate -> authorize -> poll ... -> import -> assigned
 *
 * Each HTTP step is repeated through network failures, 429 and 5xx. An authorised register whose
 * answer was lost may find its challenge spent: then the flow goes back to the challenge.
 */
#include <stdlib.h>
#include <string.h>

#include <latchkey/latchkey.h>

#include "base/codec.h"
#include "device/http.h"
#include "device/tpm_nonce.h"
#include "wire/dps.h"
#include "wire/sas.h"

#define API_VERSION "2021-06-01"
#define TOKEN_LIFE_S 3600 /* as the Node SDK's; a registration takes seconds */
#define TOKEN_RENEW_S 600 /* a token with less than this left is made anew before a poll */
#define CHALLENGES_MAX 4u /* challenges opened in one registration */

struct flow {
    struct lk_tpm *tpm;
    const struct lk_register_opts *opts;
    struct lk_register_result *result;
    struct lk_waiter waiter;
    int64_t started_mono_ms;
    struct lk_http_conn *http;

    char registration_id[LK_REGISTRATION_ID_MAX + 1];
    struct lk_buf resource; /* "{idScope}/registrations/{registrationId}" */
    struct lk_buf path;     /* the same, percent-encoded, with slashes before it */
    struct lk_buf body;     /* of register */
    struct lk_buf token;    /* SAS, as text */
    int64_t token_expiry_s; /* Unix seconds */
    bool answer_lost;       /* a try of the current step may have reached the service unanswered */
    struct lk_dps_state state;
};

static void
flow_fini(struct flow *f)
{
    lk_http_free(f->http);
    lk_tpm_nonce_forget(f->tpm);
    lk_buf_fini(&f->resource);
    lk_buf_fini(&f->path);
    lk_buf_fini(&f->body);
    lk_buf_fini(&f->token);
    lk_dps_state_fini(&f->state);
}

static void
report(const struct flow *f, enum lk_register_step step, enum lk_err err, uint32_t wait_ms)
{
    struct lk_register_progress p = {
        .step = step, .err = err, .http_status = f->result->http_status, .wait_ms = wait_ms};

    if (f->opts->progress == NULL) {
        return;
    }
    p.elapsed_ms = (uint32_t)(lk_clock_mono_ms(f->waiter.clock) - f->started_mono_ms);
    f->opts->progress(f->opts->ctx, &p);
}

/* ---- HTTP with patience ---------------------------------------------------------------------- */

static bool
worth_retrying(enum lk_err err, int status)
{
    return err == LK_OK ? status == 429 || status >= 500 : err == LK_ERR_NETWORK;
}

static uint32_t
retry_after_ms(uint32_t retry_after_s)
{
    uint32_t s = retry_after_s == 0                     ? LK_RETRY_AFTER_DEFAULT_S
                 : retry_after_s > LK_RETRY_AFTER_MAX_S ? LK_RETRY_AFTER_MAX_S
                                                        : retry_after_s;
    return s * 1000;
}

/* The pause before the next try: the jitter, on top of what an overloaded service asked for. */
static enum lk_err
retry_pause(struct flow *f, struct lk_backoff *backoff, enum lk_err why,
            const struct lk_http_answer *answer)
{
    uint32_t ms;
    enum lk_err err;

    if ((err = lk_backoff_next(backoff, &lk_rand_system, &ms)) != LK_OK) {
        return err;
    }
    if (answer->retry_after_s != 0) {
        ms += retry_after_ms(answer->retry_after_s);
    }
    report(f, LK_STEP_RETRY, why, ms);
    return lk_waiter_pause(&f->waiter, ms);
}

/* One exchange, repeated until it got an answer that is neither 429 nor 5xx. */
static enum lk_err
exchange(struct flow *f, const char *method, const char *path, const char *authorization,
         const struct lk_buf *body, struct lk_http_answer *ret)
{
    struct lk_backoff backoff = {0};
    enum lk_err err, pause_err;

    f->answer_lost = false;
    for (;;) {
        err = lk_http_exchange(f->http, &f->waiter, method, path, authorization, body, ret);
        if (ret->status != 0) {
            f->result->http_status = ret->status;
        }
        if (!worth_retrying(err, ret->status)) {
            return err;
        }
        f->answer_lost = true;
        err = err == LK_OK ? LK_ERR_BUSY : err;
        if ((pause_err = retry_pause(f, &backoff, err, ret)) != LK_OK) {
            return pause_err;
        }
    }
}

/* An answer that ends the registration: keep the service's words, and say whose fault it is. */
static enum lk_err
answer_refuse(struct flow *f, const struct lk_http_answer *answer)
{
    int32_t code = 0;

    if (lk_dps_error_parse(answer->body.data, answer->body.len, &code, f->result->error_message,
                           sizeof(f->result->error_message)) == LK_OK) {
        f->result->error_code = code;
    }
    return answer->status == 401 || answer->status == 403 ? LK_ERR_REFUSED : LK_ERR_PROTOCOL;
}

/* ---- the steps ------------------------------------------------------------------------------- */

/* The certificate of the EK in use, from where its kind of key has it. */
static enum lk_err
ek_cert_put(struct lk_tpm *tpm, struct lk_buf *ret)
{
    static const uint32_t indices[] = {LK_TPM_NV_EK_CERT_RSA, LK_TPM_NV_EK_CERT_ECC};

    for (size_t i = 0; i < LK_ARRAY_LEN(indices); i++) {
        struct lk_tpm_cert cert;
        enum lk_err err = lk_tpm_ek_cert(tpm, indices[i], &cert);

        if (err == LK_OK && cert.match == LK_TPM_CERT_MATCHES) {
            return lk_buf_put(ret, cert.der, cert.der_len);
        }
        if (err != LK_OK && err != LK_ERR_NOT_FOUND && err != LK_ERR_FORMAT) {
            return err;
        }
    }
    return LK_ERR_NOT_FOUND;
}

static enum lk_err
keys_step(struct flow *f, const char *payload)
{
    struct lk_dps_register message = LK_DPS_REGISTER_INIT;
    struct lk_tpm_public ek, srk;
    enum lk_err err;

    report(f, LK_STEP_KEYS, LK_OK, 0);
    if ((err = lk_tpm_ek(f->tpm, &ek)) != LK_OK || (err = lk_tpm_srk(f->tpm, &srk)) != LK_OK) {
        return err;
    }
    message.has_tpm = true;
    if ((err = lk_strcpy(message.registration_id, sizeof(message.registration_id),
                         f->registration_id)) == LK_OK &&
        (err = lk_buf_put(&message.ek, ek.tpm2b, ek.tpm2b_len)) == LK_OK &&
        (err = lk_buf_put(&message.srk, srk.tpm2b, srk.tpm2b_len)) == LK_OK &&
        (payload == NULL || (err = lk_buf_puts(&message.payload, payload)) == LK_OK) &&
        (f->opts->send_ek_cert == 0 || (err = ek_cert_put(f->tpm, &message.ek_cert)) == LK_OK)) {
        err = lk_dps_register_format(&message, &f->body);
    }
    lk_dps_register_fini(&message);
    return err;
}

static enum lk_err
register_path(const struct flow *f, struct lk_buf *ret)
{
    enum lk_err err;

    if ((err = lk_buf_put(ret, f->path.data, f->path.len)) != LK_OK ||
        (err = lk_buf_puts(ret, "/register?api-version=" API_VERSION)) != LK_OK) {
        return err;
    }
    return lk_buf_text(ret) == NULL ? LK_ERR_NOMEM : LK_OK;
}

static enum lk_err
challenge_open(struct flow *f, const struct lk_http_answer *answer)
{
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
    enum lk_err err;

    if (answer->status != 401) {
        return answer_refuse(f, answer);
    }
    err = lk_dps_challenge_parse(answer->body.data, answer->body.len, &blob);
    if (err == LK_ERR_REFUSED) {
        return answer_refuse(f, answer);
    }
    if (err != LK_OK) {
        return err == LK_ERR_NOMEM ? err : LK_ERR_PROTOCOL;
    }
    f->token_expiry_s = 0; /* signed by the key that is now replaced */
    report(f, LK_STEP_ACTIVATE, LK_OK, 0);
    return lk_tpm_nonce_open(f->tpm, blob.data, blob.len);
}

static enum lk_err
challenge_step(struct flow *f)
{
    LK_AUTO_ANSWER struct lk_http_answer answer = {0};
    LK_AUTO_BUF struct lk_buf path = LK_BUF_INIT;
    enum lk_err err;

    report(f, LK_STEP_CHALLENGE, LK_OK, 0);
    if ((err = register_path(f, &path)) != LK_OK ||
        (err = exchange(f, "PUT", lk_buf_text(&path), NULL, &f->body, &answer)) != LK_OK) {
        return err;
    }
    return challenge_open(f, &answer);
}

/* A token of the registration, signed in the TPM. Not made anew while the last has life left. */
static enum lk_err
token_make(struct flow *f)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    int64_t now_s = lk_clock_unix_ms(f->waiter.clock) / 1000;
    uint8_t sig[LK_TPM_HMAC_LEN];
    const char *resource;
    int64_t expiry_s = now_s + TOKEN_LIFE_S;
    enum lk_err err;

    if (f->token_expiry_s - now_s > TOKEN_RENEW_S) {
        return LK_OK;
    }
    if ((resource = lk_buf_text(&f->resource)) == NULL) {
        return LK_ERR_NOMEM;
    }
    lk_buf_reset(&f->token);
    if ((err = lk_sas_string_to_sign(resource, (uint64_t)expiry_s, &text)) != LK_OK ||
        (err = lk_tpm_nonce_hmac(f->tpm, text.data, text.len, sig)) != LK_OK ||
        (err = lk_sas_format(resource, (uint64_t)expiry_s, sig, "registration", &f->token)) !=
            LK_OK) {
        return err;
    }
    if (lk_buf_text(&f->token) == NULL) {
        return LK_ERR_NOMEM;
    }
    f->token_expiry_s = expiry_s;
    return LK_OK;
}

static enum lk_err
state_take(struct flow *f, const struct lk_http_answer *answer)
{
    enum lk_err err;

    if (answer->status != 200 && answer->status != 202) {
        return answer_refuse(f, answer);
    }
    lk_dps_state_fini(&f->state);
    memset(&f->state, 0, sizeof(f->state));
    err = lk_dps_operation_parse(answer->body.data, answer->body.len, &f->state);
    return err == LK_OK || err == LK_ERR_NOMEM ? err : LK_ERR_PROTOCOL;
}

/* The authorised register. *ret_again: the challenge must be asked for and opened once more. */
static enum lk_err
authorize_step(struct flow *f, uint32_t *ret_retry_after_s, bool *ret_again)
{
    LK_AUTO_ANSWER struct lk_http_answer answer = {0};
    LK_AUTO_BUF struct lk_buf path = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
    enum lk_err err;

    *ret_again = false;
    report(f, LK_STEP_AUTHORIZE, LK_OK, 0);
    if ((err = register_path(f, &path)) != LK_OK || (err = token_make(f)) != LK_OK ||
        (err = exchange(f, "PUT", lk_buf_text(&path), lk_buf_text(&f->token), &f->body, &answer)) !=
            LK_OK) {
        return err;
    }
    *ret_retry_after_s = answer.retry_after_s;
    if (answer.status == 401 &&
        (f->answer_lost ||
         lk_dps_challenge_parse(answer.body.data, answer.body.len, &blob) == LK_OK)) {
        *ret_again = true;
        return LK_OK;
    }
    return state_take(f, &answer);
}

static enum lk_err
poll_path(const struct flow *f, struct lk_buf *ret)
{
    const char *operation = f->state.operation_id;
    enum lk_err err;

    if (operation[0] == '\0') {
        return LK_ERR_PROTOCOL;
    }
    if ((err = lk_buf_put(ret, f->path.data, f->path.len)) != LK_OK ||
        (err = lk_buf_puts(ret, "/operations/")) != LK_OK ||
        (err = lk_percent_encode(operation, strlen(operation), ret)) != LK_OK ||
        (err = lk_buf_puts(ret, "?api-version=" API_VERSION)) != LK_OK) {
        return err;
    }
    return lk_buf_text(ret) == NULL ? LK_ERR_NOMEM : LK_OK;
}

/* Ask until the service has made up its mind. */
static enum lk_err
poll_step(struct flow *f, uint32_t retry_after_s)
{
    LK_AUTO_BUF struct lk_buf path = LK_BUF_INIT;
    enum lk_err err;

    while (f->state.status == LK_DPS_ASSIGNING) {
        LK_AUTO_ANSWER struct lk_http_answer answer = {0};
        uint32_t wait_ms = retry_after_ms(retry_after_s);

        report(f, LK_STEP_POLL, LK_OK, wait_ms);
        lk_buf_reset(&path);
        if ((err = poll_path(f, &path)) != LK_OK ||
            (err = lk_waiter_pause(&f->waiter, wait_ms)) != LK_OK ||
            (err = token_make(f)) != LK_OK ||
            (err = exchange(f, "GET", lk_buf_text(&path), lk_buf_text(&f->token), NULL, &answer)) !=
                LK_OK ||
            (err = state_take(f, &answer)) != LK_OK) {
            return err;
        }
        retry_after_s = answer.retry_after_s;
    }
    return LK_OK;
}

static enum lk_register_substatus
substatus_of(enum lk_dps_substatus s)
{
    switch (s) {
    case LK_DPS_SUB_NONE:
        return LK_SUBSTATUS_NONE;
    case LK_DPS_SUB_INITIAL:
        return LK_SUBSTATUS_INITIAL;
    case LK_DPS_SUB_MIGRATED:
        return LK_SUBSTATUS_MIGRATED;
    case LK_DPS_SUB_RESET:
        return LK_SUBSTATUS_RESET;
    case LK_DPS_SUB_REPROVISIONED:
        return LK_SUBSTATUS_REPROVISIONED;
    }
    return LK_SUBSTATUS_NONE;
}

static enum lk_err
result_texts(struct flow *f)
{
    struct lk_register_result *r = f->result;
    const struct lk_dps_state *s = &f->state;
    enum lk_err err;

    if ((err = lk_strcpy(r->hub, sizeof(r->hub), s->assigned_hub)) != LK_OK ||
        (err = lk_strcpy(r->device_id, sizeof(r->device_id), s->device_id)) != LK_OK ||
        s->payload.len == 0) {
        return err;
    }
    if (memchr(s->payload.data, 0, s->payload.len) != NULL) {
        return LK_ERR_PROTOCOL;
    }
    r->payload_json = strndup((const char *)s->payload.data, s->payload.len);
    return r->payload_json == NULL ? LK_ERR_NOMEM : LK_OK;
}

/* The service's last word. */
static enum lk_err
assign_step(struct flow *f)
{
    const struct lk_dps_state *s = &f->state;
    enum lk_err err;

    f->result->substatus = substatus_of(s->substatus);
    if (s->status == LK_DPS_FAILED || s->status == LK_DPS_DISABLED) {
        f->result->status = s->status == LK_DPS_FAILED ? LK_REGISTER_FAILED : LK_REGISTER_DISABLED;
        f->result->error_code = s->error_code;
        err =
            lk_strcpy(f->result->error_message, sizeof(f->result->error_message), s->error_message);
        return err != LK_OK ? err : LK_ERR_REFUSED;
    }
    if (s->status != LK_DPS_ASSIGNED || s->auth_key.len == 0 || s->assigned_hub[0] == '\0' ||
        s->device_id[0] == '\0') {
        return LK_ERR_PROTOCOL;
    }
    report(f, LK_STEP_IMPORT, LK_OK, 0);
    if ((err = lk_tpm_identity_import(f->tpm, s->auth_key.data, s->auth_key.len)) != LK_OK ||
        (err = result_texts(f)) != LK_OK) {
        return err;
    }
    f->result->status = LK_REGISTER_ASSIGNED;
    report(f, LK_STEP_ASSIGNED, LK_OK, 0);
    return LK_OK;
}

/* ---- the flow -------------------------------------------------------------------------------- */

static enum lk_err
attest(struct flow *f, uint32_t *ret_retry_after_s)
{
    bool again = true;
    enum lk_err err;

    for (unsigned n = 0; again; n++) {
        if (n == CHALLENGES_MAX) {
            return LK_ERR_REFUSED;
        }
        if ((err = challenge_step(f)) != LK_OK ||
            (err = authorize_step(f, ret_retry_after_s, &again)) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

static enum lk_err
flow_run(struct flow *f)
{
    uint32_t retry_after_s = 0;
    enum lk_err err;

    if ((err = keys_step(f, f->opts->payload_json)) != LK_OK ||
        (err = attest(f, &retry_after_s)) != LK_OK ||
        (err = poll_step(f, retry_after_s)) != LK_OK) {
        return err;
    }
    return assign_step(f);
}

static enum lk_err
flow_registration_id(struct flow *f)
{
    const char *given = f->opts->registration_id;
    enum lk_err err;

    if (given != NULL && !lk_registration_id_ok(given, strlen(given))) {
        return LK_ERR_ARG;
    }
    err = given != NULL ? lk_strcpy(f->registration_id, sizeof(f->registration_id), given)
                        : lk_tpm_registration_id(f->tpm, f->registration_id);
    if (err != LK_OK) {
        return err;
    }
    return lk_strcpy(f->result->registration_id, sizeof(f->result->registration_id),
                     f->registration_id);
}

static enum lk_err
flow_paths(struct flow *f)
{
    const char *scope = f->opts->id_scope;
    enum lk_err err;

    if ((err = lk_buf_printf(&f->resource, "%s/registrations/%s", scope, f->registration_id)) !=
            LK_OK ||
        (err = lk_buf_printf(&f->path, "/%s/registrations/", scope)) != LK_OK) {
        return err;
    }
    return lk_percent_encode(f->registration_id, strlen(f->registration_id), &f->path);
}

static enum lk_err
flow_init(struct flow *f)
{
    const struct lk_register_opts *o = f->opts;
    LK_AUTO(json) json_t *payload = NULL;
    uint32_t deadline_ms = o->deadline_ms != 0 ? o->deadline_ms : LK_REGISTER_DEADLINE_DEFAULT_MS;
    enum lk_err err;

    f->started_mono_ms = lk_clock_mono_ms(&lk_clock_system);
    f->waiter = (struct lk_waiter){.clock = &lk_clock_system,
                                   .deadline_mono_ms = f->started_mono_ms + deadline_ms,
                                   .cancel_flag = o->cancel_flag,
                                   .is_cancelled = o->is_cancelled,
                                   .ctx = o->ctx};
    if (o->url == NULL || o->id_scope == NULL ||
        !lk_id_scope_ok(o->id_scope, strlen(o->id_scope))) {
        return LK_ERR_ARG;
    }
    if (o->payload_json != NULL &&
        (strlen(o->payload_json) > LK_DPS_PAYLOAD_MAX ||
         lk_json_parse(o->payload_json, strlen(o->payload_json), true, NULL, &payload) != LK_OK)) {
        return LK_ERR_ARG;
    }
    if ((err = lk_http_new(o->url, o->ca_file, &f->http)) != LK_OK ||
        (err = flow_registration_id(f)) != LK_OK) {
        return err;
    }
    return flow_paths(f);
}

enum lk_err
lk_device_register(struct lk_tpm *tpm, const struct lk_register_opts *opts,
                   struct lk_register_result *ret)
{
    __attribute__((cleanup(flow_fini))) struct flow f = {.tpm = tpm, .opts = opts, .result = ret};
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    if (tpm == NULL || opts == NULL) {
        return LK_ERR_ARG;
    }
    if ((err = flow_init(&f)) != LK_OK) {
        return err;
    }
    return flow_run(&f);
}

void
lk_register_result_fini(struct lk_register_result *result)
{
    if (result != NULL) {
        free(result->payload_json);
        result->payload_json = NULL;
    }
}
