#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/codec.h"
#include "bench.h"
#include "wire/dps.h"
#include "wire/sas.h"

#define API "?api-version=2021-06-01"
#define TOKEN_LIFE_S 3600u
#define POLLS_MAX 1000        /* with a millisecond between them */
#define SRK_INDEX 0x80000000u /* where SRKs begin among the light keys */

struct device {
    struct softtpm *tpm;
    char scope[LK_ID_SCOPE_MAX + 1];
    char registration_id[LK_REGISTRATION_ID_MAX + 1];
    char resource[LK_SAS_RESOURCE_MAX + 1];
    struct lk_buf body; /* of both register requests */
};

struct device *
device_new(const struct softtpm_light *light, const char *scope, uint32_t index)
{
    LK_AUTO(softtpm_key) struct softtpm_key *ek = softtpm_light_key(light, index);
    LK_AUTO(softtpm_key) struct softtpm_key *srk = softtpm_light_key(light, SRK_INDEX + index);
    struct lk_dps_register message = LK_DPS_REGISTER_INIT;
    struct device *d = calloc(1, sizeof(*d));
    const struct softtpm_public *ek_public, *srk_public;

    must(d != NULL && lk_strcpy(d->scope, sizeof(d->scope), scope) == LK_OK, "making a device");
    d->tpm = softtpm_new(ek, srk);
    ek_public = softtpm_public(d->tpm, LK_ROLE_EK);
    srk_public = softtpm_public(d->tpm, LK_ROLE_SRK);
    (void)snprintf(d->registration_id, sizeof(d->registration_id), "bench-%06u", index);
    (void)snprintf(d->resource, sizeof(d->resource), "%s/registrations/%s", d->scope,
                   d->registration_id);
    memcpy(message.registration_id, d->registration_id, sizeof(message.registration_id));
    message.has_tpm = true;
    must(lk_buf_put(&message.ek, ek_public->bytes, ek_public->len) == LK_OK &&
             lk_buf_put(&message.srk, srk_public->bytes, srk_public->len) == LK_OK &&
             lk_dps_register_format(&message, &d->body) == LK_OK,
         "making a device");
    lk_dps_register_fini(&message);
    return d;
}

void
device_free(struct device *d)
{
    softtpm_free(d->tpm);
    lk_buf_fini(&d->body);
    free(d);
}

void
device_manifest(const struct device *d, struct lk_buf *ret)
{
    const struct softtpm_public *ek = softtpm_public(d->tpm, LK_ROLE_EK);

    must(lk_buf_printf(ret, "{\"registrationId\":\"%s\",\"endorsementKey\":\"",
                       d->registration_id) == LK_OK &&
             lk_base64_encode(ek->bytes, ek->len, ret) == LK_OK &&
             lk_buf_puts(ret, "\"}\n") == LK_OK,
         "writing the manifest");
}

/* Send a request of this device; token may be NULL, and so may operation (then it registers). */
static bool
ask(const struct device *d, struct client *c, const struct target *t, const char *operation,
    const char *token, struct reply *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err;

    err = operation == NULL
              ? lk_buf_printf(&text, "PUT /%s/registrations/%s/register" API " HTTP/1.1\r\n",
                              d->scope, d->registration_id)
              : lk_buf_printf(&text, "GET /%s/registrations/%s/operations/%s" API " HTTP/1.1\r\n",
                              d->scope, d->registration_id, operation);
    must(err == LK_OK &&
             lk_buf_printf(&text,
                           "Host: %s\r\nUser-Agent: latchkey-bench\r\n"
                           "Accept: application/json\r\n"
                           "Content-Type: application/json; charset=utf-8\r\n",
                           t->host) == LK_OK &&
             (token == NULL || lk_buf_printf(&text, "Authorization: %s\r\n", token) == LK_OK) &&
             lk_buf_printf(&text, "Content-Length: %zu\r\n\r\n",
                           operation == NULL ? d->body.len : 0) == LK_OK &&
             (operation != NULL || lk_buf_put(&text, d->body.data, d->body.len) == LK_OK),
         "writing a request");
    return client_exchange(c, (const char *)text.data, text.len, ret);
}

/* Open the challenge and sign with what was in it. */
static const char *
token_make(const struct device *d, const struct reply *challenge, struct lk_buf *ret)
{
    const uint64_t expiry_s = (uint64_t)time(NULL) + TOKEN_LIFE_S;
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT, text = LK_BUF_INIT;
    struct softtpm_opened opened;
    const char *objection;
    uint8_t sig[LK_SAS_SIG_LEN];

    if (challenge->status != 401 ||
        lk_dps_challenge_parse(challenge->body, challenge->body_len, &blob) != LK_OK) {
        return "no challenge";
    }
    if ((objection = softtpm_open(d->tpm, blob.data, blob.len, &opened)) != NULL) {
        return objection;
    }
    must(lk_sas_string_to_sign(d->resource, expiry_s, &text) == LK_OK, "signing");
    softtpm_hmac(&opened, text.data, text.len, sig);
    must(lk_sas_format(d->resource, expiry_s, sig, "registration", ret) == LK_OK &&
             lk_buf_text(ret) != NULL,
         "signing");
    return NULL;
}

/* Poll until the operation is done; *state is then the last answer. */
static const char *
poll_until_assigned(const struct device *d, struct client *c, const struct target *t,
                    const char *token, struct lk_dps_state *state)
{
    const struct timespec pause = {0, 1000000};
    char operation[LK_OPERATION_ID_MAX + 1];
    struct reply reply;

    memcpy(operation, state->operation_id, sizeof(operation));
    for (int i = 0; i < POLLS_MAX; i++) {
        lk_dps_state_fini(state);
        if (!ask(d, c, t, operation, token, &reply)) {
            return "connection broke in a poll";
        }
        if ((reply.status != 200 && reply.status != 202) ||
            lk_dps_operation_parse(reply.body, reply.body_len, state) != LK_OK) {
            return "poll refused";
        }
        if (state->status == LK_DPS_ASSIGNED) {
            return NULL;
        }
        if (state->status != LK_DPS_ASSIGNING) {
            return "not assigned";
        }
        (void)nanosleep(&pause, NULL);
    }
    return "assigning for too long";
}

/* The flow on an open connection. */
static const char *
register_on(const struct device *d, struct client *c, const struct target *t, struct flow *ret)
{
    LK_AUTO_BUF struct lk_buf token = LK_BUF_INIT;
    struct lk_dps_state state = {.operation_id = ""};
    struct softtpm_opened opened;
    struct reply reply;
    const char *problem;
    double began_us = now_us();

    if (!ask(d, c, t, NULL, NULL, &reply)) {
        return "connection broke before the challenge";
    }
    ret->challenge_us = now_us() - began_us;
    if ((problem = token_make(d, &reply, &token)) != NULL) {
        return problem;
    }
    began_us = now_us();
    if (!ask(d, c, t, NULL, lk_buf_text(&token), &reply)) {
        return "connection broke after the challenge";
    }
    ret->register_us = now_us() - began_us;
    if (reply.status != 202 ||
        lk_dps_operation_parse(reply.body, reply.body_len, &state) != LK_OK) {
        return "register refused";
    }
    began_us = now_us();
    problem = poll_until_assigned(d, c, t, lk_buf_text(&token), &state);
    ret->poll_us = now_us() - began_us;
    if (problem == NULL) {
        problem = softtpm_open(d->tpm, state.auth_key.data, state.auth_key.len, &opened);
    }
    lk_dps_state_fini(&state);
    return problem;
}

const char *
device_register(const struct device *d, const struct target *t, struct flow *ret)
{
    struct client *c = malloc(sizeof(*c));
    const double began_us = now_us();
    const char *problem;

    must(c != NULL, "making a client");
    if (!client_open(c, t)) {
        problem = "connecting";
    } else {
        ret->connect_us = now_us() - began_us;
        problem = register_on(d, c, t, ret);
        ret->total_us = now_us() - began_us;
    }
    client_close(c);
    free(c);
    return problem;
}
