/*
 * The device API (device-protocol.md 1). A request is checked in form (device_check.c), decided by
 * provision/, and answered and logged here, once. Whether a device is known, and every refusal, is
 * provision's, so that all refusals look and cost the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/device_int.h"

#define RETRY_AFTER_S "3" /* with every "assigning" (1.9) */

/* Lines a second of devices that we fail, for whatever reason: when the database does, it is all of
 * them, the disk that is full may be the log's too, and the cause is told apart (store.failing). */
#define FAULT_LINES 2u

/* The last api-version that knows no reprovisioning (service-api.md section 10). */
#define LAST_WITHOUT_REPROVISIONING "2018-04-01"

struct lk_device_api {
    struct lk_provision *provision;
    const struct lk_clock *clock;
    const struct lk_regions *regions; /* NULL: none */
    struct lk_log_gate gate, fault_gate;
    size_t pending;
};

static void
call_free(struct lk_device_call *c)
{
    lk_path_fini(&c->path);
    lk_dps_register_fini(&c->body);
    for (size_t i = 0; i < LK_ARRAY_LEN(c->certs); i++) {
        lk_buf_fini(&c->certs[i]);
    }
    free(c);
}
LK_DEFINE_AUTO(struct lk_device_call, call, call_free);

/* ---- the log's line -------------------------------------------------------------------------- */

static const char *
text_or_none(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static void
call_log(const struct lk_device_call *c, enum lk_log_level level, const char *event, int status,
         const char *reason, const struct lk_reg_answer *answer)
{
    const struct lk_dps_state *state =
        answer != NULL && answer->verdict == LK_REG_STATE ? &answer->state : NULL;

    lk_log(level, event, LK_F_TEXT("request_id", lk_http_request_id(c->req)),
           LK_F_TEXT("peer", lk_http_request_peer(c->req)),
           LK_F_TEXT("operation", c->op == NULL ? NULL : c->op->name),
           LK_F_TEXT("path", c->op == NULL ? lk_http_request_path(c->req) : NULL),
           LK_F_TEXT("scope", lk_device_call_scope(c)),
           LK_F_TEXT("registration_id", lk_device_call_registration_id(c)),
           LK_F_TEXT("reason", reason),
           LK_F_TEXT("registered_as", answer == NULL ? NULL : answer->registered_as),
           LK_F_TEXT("hub", state == NULL ? NULL : text_or_none(state->assigned_hub)),
           LK_F_TEXT("device_id", state == NULL ? NULL : text_or_none(state->device_id)),
           LK_F_TEXT("error",
                     answer == NULL || answer->err == LK_OK ? NULL : lk_err_name(answer->err)),
           LK_F_INT("status", status), LK_F_INT("duration_us", lk_api_duration_us(c->req)));
}

/* A line that a stranger can cause at will, or our own failing with every request. */
static void
call_log_gated(struct lk_device_call *c, enum lk_log_level level, const char *event, int status,
               const char *reason, const struct lk_reg_answer *answer)
{
    struct lk_log_gate *gate = status >= 500 ? &c->api->fault_gate : &c->api->gate;

    if (lk_api_may_log(gate, c->api->clock, level, NULL)) {
        call_log(c, level, event, status, reason, answer);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

/* A request that is not one of ours in form; the peer is told what was expected. */
static void
answer_fault(struct lk_device_call *c, const struct lk_device_fault *f)
{
    if (f->code == LK_DPS_METHOD_NOT_ALLOWED && lk_http_request_method(c->req) == LK_HTTP_OPTIONS) {
        lk_api_wrong_method(c->req, c->op->allow);
        return;
    }
    call_log_gated(c, LK_LOG_INFO, "request.bad", f->code / 1000, f->reason, NULL);
    if (f->code == LK_DPS_METHOD_NOT_ALLOWED) {
        lk_api_wrong_method(c->req, c->op->allow);
    } else {
        lk_api_error(c->req, f->code, f->message);
    }
}

static void
reply_or_fail(struct lk_device_call *c, int status, enum lk_err err, const struct lk_buf *body)
{
    if (err != LK_OK) { /* out of memory */
        lk_api_error(c->req, LK_DPS_UNAVAILABLE, "Busy, try again later");
        return;
    }
    lk_http_reply(c->req, status, body->data, body->len);
}

static void
answer_challenge(struct lk_device_call *c, const struct lk_reg_answer *answer)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    enum lk_err err = lk_dps_challenge_format(answer->auth_key.data, answer->auth_key.len, &body);

    call_log(c, LK_LOG_DEBUG, "registration.challenged", 401, answer->reason, answer);
    reply_or_fail(c, 401, err, &body);
}

/* Where the register went, as the live service tells it; no client needs it. */
static void
location_add(struct lk_device_call *c)
{
    LK_AUTO_BUF struct lk_buf url = LK_BUF_INIT;
    const char *host = lk_http_request_header(c->req, "Host");

    if (host != NULL && lk_buf_puts(&url, "https://") == LK_OK &&
        lk_buf_puts(&url, host) == LK_OK &&
        lk_buf_puts(&url, lk_http_request_path(c->req)) == LK_OK && lk_buf_text(&url) != NULL) {
        lk_http_reply_header(c->req, "Location", lk_buf_text(&url));
    }
}

static void
answer_accepted(struct lk_device_call *c, const struct lk_reg_answer *answer)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    enum lk_err err = lk_dps_operation_format(&answer->state, false, &body);

    call_log(c, LK_LOG_DEBUG, "registration.accepted", 202, answer->reason, answer);
    if (err == LK_OK) {
        lk_http_reply_header(c->req, "Retry-After", RETRY_AFTER_S);
        location_add(c);
    }
    reply_or_fail(c, 202, err, &body);
}

/* An operator looks for the end of a registration; the rest is for whoever looks closer. */
static void
state_log(struct lk_device_call *c, const struct lk_reg_answer *answer)
{
    enum lk_dps_status status = answer->state.status;

    if (c->op != &lk_device_op_poll || (status != LK_DPS_ASSIGNED && status != LK_DPS_FAILED)) {
        call_log(c, LK_LOG_DEBUG, "registration.state", 200, answer->reason, answer);
    } else if (status == LK_DPS_ASSIGNED) {
        call_log(c, LK_LOG_INFO, "registration.assigned", 200, answer->reason, answer);
    } else {
        call_log(c, LK_LOG_WARNING, "registration.failed", 200,
                 text_or_none(answer->state.error_message), answer);
    }
}

static void
answer_state(struct lk_device_call *c, const struct lk_reg_answer *answer)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    const struct lk_dps_state *state = &answer->state;
    enum lk_err err = c->op == &lk_device_op_lookup ? lk_dps_state_format(state, &body)
                                                    : lk_dps_operation_format(state, true, &body);

    state_log(c, answer);
    if (err == LK_OK && state->status == LK_DPS_ASSIGNING) {
        lk_http_reply_header(c->req, "Retry-After", RETRY_AFTER_S);
    }
    reply_or_fail(c, 200, err, &body);
}

/* The verdicts that answer with an error body. */
static const struct failure {
    enum lk_reg_verdict verdict;
    int32_t code;
    enum lk_log_level level;
    const char *event, *message;
} failures[] = {
    {LK_REG_REFUSED, LK_DPS_UNAUTHORIZED, LK_LOG_WARNING, "registration.refused", "Unauthorized"},
    {LK_REG_BAD, LK_DPS_BAD_REQUEST, LK_LOG_WARNING, "registration.bad",
     "The keys or the token of the request are not of an acceptable form"},
    {LK_REG_UNKNOWN, LK_DPS_NOT_FOUND, LK_LOG_INFO, "registration.not_found", "Not found"},
    {LK_REG_BUSY, LK_DPS_UNAVAILABLE, LK_LOG_WARNING, "registration.busy", "Busy, try again later"},
    {LK_REG_ERROR, LK_DPS_INTERNAL, LK_LOG_ERROR, "registration.error", "Internal error"},
};

static void
answer_failure(struct lk_device_call *c, const struct lk_reg_answer *answer)
{
    const struct failure *f = failures;
    enum lk_log_level level;

    while (f->verdict != answer->verdict && f->verdict != LK_REG_ERROR) {
        f++;
    }
    level = answer->err == LK_ERR_STORE ? LK_LOG_ERROR : f->level;
    call_log_gated(c, level, answer->registered_as != NULL ? "ek.duplicate" : f->event,
                   f->code / 1000, answer->reason, answer);
    lk_api_error(c->req, f->code, f->message);
}

/* The end of every call that reached provision/. */
static void
call_done(void *arg, const struct lk_reg_answer *answer)
{
    LK_AUTO(call) struct lk_device_call *c = arg;

    c->api->pending--;
    switch (answer->verdict) {
    case LK_REG_CHALLENGE:
        answer_challenge(c, answer);
        return;
    case LK_REG_ACCEPTED:
        answer_accepted(c, answer);
        return;
    case LK_REG_STATE:
        answer_state(c, answer);
        return;
    case LK_REG_REFUSED:
    case LK_REG_BAD:
    case LK_REG_UNKNOWN:
    case LK_REG_BUSY:
    case LK_REG_ERROR:
        break;
    }
    answer_failure(c, answer);
}

static void
device_api_handle(void *ctx, struct lk_http_request *http)
{
    LK_AUTO(call) struct lk_device_call *c = calloc(1, sizeof(*c));
    struct lk_device_api *api = ctx;
    struct lk_reg_request req = {0};
    struct lk_device_fault fault;

    if (c == NULL) {
        lk_api_error(http, LK_DPS_UNAVAILABLE, "Busy, try again later");
        return;
    }
    *c = (struct lk_device_call){
        .api = api, .req = http, .path = LK_PATH_INIT, .body = LK_DPS_REGISTER_INIT};
    if (!lk_device_call_check(c, &fault)) {
        answer_fault(c, &fault);
        return;
    }
    req.scope = lk_device_call_scope(c);
    req.registration_id = lk_device_call_registration_id(c);
    req.token = lk_http_request_header(http, "Authorization");
    req.request_id = lk_http_request_id(http);
    req.certs = c->cert_parts;
    req.certs_count = c->certs_count;
    req.region =
        api->regions == NULL ? NULL : lk_regions_of(api->regions, lk_http_request_peer(http));
    req.before_reprovisioning =
        lk_query_api_version_until(lk_http_request_query(http), LAST_WITHOUT_REPROVISIONING);
    if (c->op == &lk_device_op_poll) {
        req.operation_id = c->path.segments[4];
    } else {
        req.body = &c->body;
    }
    api->pending++;
    c->op->start(api->provision, &req, call_done, c);
    (void)call_take(&c); /* call_done() freed it, or will */
}

/* ---- the object ------------------------------------------------------------------------------ */

enum lk_err
lk_device_api_new(struct lk_provision *provision, const struct lk_clock *clock,
                  const struct lk_regions *regions, struct lk_device_api **ret)
{
    struct lk_device_api *api = calloc(1, sizeof(*api));

    if (api == NULL) {
        return LK_ERR_NOMEM;
    }
    api->provision = provision;
    api->clock = clock;
    api->regions = regions;
    api->fault_gate.lines_max = FAULT_LINES;
    *ret = api;
    return LK_OK;
}

void
lk_device_api_free(struct lk_device_api *api)
{
    if (api != NULL) {
        assert(api->pending == 0);
        free(api);
    }
}

struct lk_surface
lk_device_api_surface(struct lk_device_api *api)
{
    return (struct lk_surface){.handle = device_api_handle, .ctx = api};
}

void
lk_device_api_tick(struct lk_device_api *api)
{
    lk_log_gate_tick(&api->gate, lk_clock_mono_ms(api->clock));
    lk_log_gate_tick(&api->fault_gate, lk_clock_mono_ms(api->clock));
}
