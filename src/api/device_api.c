/*
 * The device API (device-protocol.md 1). A request is taken apart and checked here, decided by
 * provision/, and answered and logged here, once. What is checked here is only form: whether a
 * device is known, and every refusal, is provision's, so that all refusals look and cost the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "base/codec.h"

#define RETRY_AFTER_S "3" /* with every "assigning" (1.9) */

struct lk_device_api {
    struct lk_provision *provision;
    const struct lk_clock *clock;
    struct lk_log_gate gate;
    size_t pending;
};

typedef void start_fn(struct lk_provision *p, const struct lk_reg_request *req,
                      lk_reg_done_fn *done, void *arg);

static const struct operation {
    const char *name; /* for the log */
    enum lk_http_method method;
    const char *allow;
    start_fn *start;
} op_register = {"register", LK_HTTP_PUT, "PUT, OPTIONS", lk_provision_register},
  op_poll = {"poll", LK_HTTP_GET, "GET, OPTIONS", lk_provision_poll},
  op_lookup = {"lookup", LK_HTTP_POST, "POST, OPTIONS", lk_provision_lookup};

/* One request, from its arrival to its answer. */
struct call {
    struct lk_device_api *api;
    struct lk_http_request *req;
    const struct operation *op; /* NULL while the path says nothing */
    struct lk_path path;
    struct lk_dps_register body;
};

static void
call_free(struct call *c)
{
    lk_path_fini(&c->path);
    lk_dps_register_fini(&c->body);
    free(c);
}
LK_DEFINE_AUTO(struct call, call, call_free);

static const char *
call_scope(const struct call *c)
{
    return c->op == NULL ? NULL : c->path.segments[0];
}

static const char *
call_registration_id(const struct call *c)
{
    return c->op == NULL ? NULL : c->path.segments[2];
}

/* ---- the log's line -------------------------------------------------------------------------- */

static void
call_log(const struct call *c, enum lk_log_level level, const char *event, int status,
         const char *reason, const struct lk_reg_answer *answer)
{
    const struct lk_dps_state *state =
        answer != NULL && answer->verdict == LK_REG_STATE ? &answer->state : NULL;

    lk_log(level, event, LK_F_TEXT("request_id", lk_http_request_id(c->req)),
           LK_F_TEXT("peer", lk_http_request_peer(c->req)),
           LK_F_TEXT("operation", c->op == NULL ? NULL : c->op->name),
           LK_F_TEXT("path", c->op == NULL ? lk_http_request_path(c->req) : NULL),
           LK_F_TEXT("scope", call_scope(c)), LK_F_TEXT("registration_id", call_registration_id(c)),
           LK_F_TEXT("reason", reason),
           LK_F_TEXT("hub", state == NULL ? NULL : state->assigned_hub),
           LK_F_TEXT("device_id", state == NULL ? NULL : state->device_id),
           LK_F_TEXT("error",
                     answer == NULL || answer->err == LK_OK ? NULL : lk_err_name(answer->err)),
           LK_F_INT("status", status), LK_F_INT("duration_us", lk_api_duration_us(c->req)));
}

/* A line that a stranger can cause at will. */
static void
call_log_gated(struct call *c, enum lk_log_level level, const char *event, int status,
               const char *reason, const struct lk_reg_answer *answer)
{
    if (lk_log_enabled(level) && lk_log_gate_pass(&c->api->gate, lk_clock_mono_ms(c->api->clock))) {
        call_log(c, level, event, status, reason, answer);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

/* A request that is not one of ours in form; message tells the peer what was expected. */
static void
call_bad(struct call *c, int32_t code, const char *reason, const char *message)
{
    call_log_gated(c, LK_LOG_INFO, "request.bad", code / 1000, reason, NULL);
    lk_api_error(c->req, code, message);
}

static void
reply_or_fail(struct call *c, int status, enum lk_err err, const struct lk_buf *body)
{
    if (err != LK_OK) {
        lk_api_error(c->req, LK_DPS_INTERNAL, "Internal error");
        return;
    }
    lk_http_reply(c->req, status, body->data, body->len);
}

static void
answer_challenge(struct call *c, const struct lk_reg_answer *answer)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    enum lk_err err = lk_dps_challenge_format(answer->auth_key.data, answer->auth_key.len, &body);

    call_log(c, LK_LOG_DEBUG, "registration.challenged", 401, answer->reason, answer);
    reply_or_fail(c, 401, err, &body);
}

/* Where the register went, as the live service tells it; no client needs it. */
static void
location_add(struct call *c)
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
answer_accepted(struct call *c, const struct lk_reg_answer *answer)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    enum lk_err err = lk_dps_operation_format(&answer->state, false, &body);

    call_log(c, LK_LOG_DEBUG, "registration.accepted", 202, answer->reason, answer);
    lk_http_reply_header(c->req, "Retry-After", RETRY_AFTER_S);
    location_add(c);
    reply_or_fail(c, 202, err, &body);
}

static void
answer_state(struct call *c, const struct lk_reg_answer *answer)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    const struct lk_dps_state *state = &answer->state;
    bool told = c->op == &op_poll && state->status == LK_DPS_ASSIGNED;
    enum lk_err err = c->op == &op_lookup ? lk_dps_state_format(state, &body)
                                          : lk_dps_operation_format(state, true, &body);

    call_log(c, told ? LK_LOG_INFO : LK_LOG_DEBUG,
             told ? "registration.assigned" : "registration.state", 200, answer->reason, answer);
    if (state->status == LK_DPS_ASSIGNING) {
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
answer_failure(struct call *c, const struct lk_reg_answer *answer)
{
    const struct failure *f = failures;

    while (f->verdict != answer->verdict && f->verdict != LK_REG_ERROR) {
        f++;
    }
    call_log_gated(c, f->level, f->event, f->code / 1000, answer->reason, answer);
    lk_api_error(c->req, f->code, f->message);
}

/* The end of every call that reached provision/. */
static void
call_done(void *arg, const struct lk_reg_answer *answer)
{
    LK_AUTO(call) struct call *c = arg;

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

/* ---- checks ---------------------------------------------------------------------------------- */

/* Each check answers the request and returns false when it does not pass. */

static const struct operation *
operation_of(const struct lk_path *p)
{
    if (p->count < 3 || !lk_path_is(p, 1, "registrations") || p->segments[0][0] == '\0' ||
        p->segments[2][0] == '\0') {
        return NULL;
    }
    if (p->count == 3) {
        return &op_lookup;
    }
    if (p->count == 4 && lk_path_is(p, 3, "register")) {
        return &op_register;
    }
    if (p->count == 5 && lk_path_is(p, 3, "operations") && p->segments[4][0] != '\0') {
        return &op_poll;
    }
    return NULL;
}

static bool
check_path(struct call *c)
{
    enum lk_err err = lk_path_parse(lk_http_request_path(c->req), &c->path);

    if (err == LK_ERR_FORMAT) {
        call_bad(c, LK_DPS_BAD_REQUEST, "path.escape",
                 "The path has a broken percent-escape or a NUL");
        return false;
    }
    if (err == LK_OK) {
        c->op = operation_of(&c->path);
    }
    if (c->op == NULL) {
        call_bad(c, LK_DPS_NOT_FOUND, "path.unknown", "Not found");
        return false;
    }
    return true;
}

static bool
check_method(struct call *c)
{
    enum lk_http_method method = lk_http_request_method(c->req);

    if (method == c->op->method) {
        return true;
    }
    if (method != LK_HTTP_OPTIONS) {
        call_log_gated(c, LK_LOG_INFO, "request.bad", 405, "method", NULL);
    }
    lk_api_wrong_method(c->req, c->op->allow);
    return false;
}

static bool
check_query(struct call *c)
{
    enum lk_err err = lk_query_api_version(lk_http_request_query(c->req));

    if (err != LK_OK) {
        call_bad(c, LK_DPS_BAD_REQUEST, "query.api_version",
                 err == LK_ERR_NOT_FOUND
                     ? "The query needs api-version, for example api-version=2021-06-01"
                     : "api-version: expected once, YYYY-MM-DD or YYYY-MM-DD-preview");
        return false;
    }
    return true;
}

static bool
check_ids(struct call *c)
{
    const char *scope = call_scope(c), *id = call_registration_id(c);

    if (!lk_id_scope_ok(scope, strlen(scope))) {
        call_bad(c, LK_DPS_BAD_REQUEST, "path.scope",
                 "idScope: expected 1 to 64 letters, digits and '-'");
        return false;
    }
    if (!lk_registration_id_ok(id, strlen(id))) {
        call_bad(c, LK_DPS_BAD_REQUEST, "path.registration_id",
                 "registrationId: expected 1 to 128 letters, digits and - . _ : with a letter, "
                 "digit or dash last");
        return false;
    }
    return true;
}

static bool
check_headers(struct call *c)
{
    if (lk_http_request_header_count(c->req, "Authorization") > 1) {
        call_bad(c, LK_DPS_BAD_REQUEST, "header.authorization",
                 "Authorization: expected at most once");
        return false;
    }
    if (c->op != &op_poll && !lk_api_is_json(c->req)) {
        call_bad(c, LK_DPS_MEDIA_TYPE, "header.content_type",
                 "Content-Type: expected application/json");
        return false;
    }
    return true;
}

/* The body of a poll says nothing and is not read: some clients send one. */
static bool
check_body(struct call *c)
{
    struct lk_reader body = lk_http_request_body(c->req);
    const char *id = call_registration_id(c), *said = c->body.registration_id;
    char error[LK_JSON_ERROR_CAP] = "";
    enum lk_err err;

    if (c->op == &op_poll) {
        return true;
    }
    err = lk_dps_register_parse(body.p, body.left, error, &c->body);
    if (err == LK_ERR_NOMEM) {
        call_bad(c, LK_DPS_UNAVAILABLE, "body.memory", "Busy, try again later");
        return false;
    }
    if (err != LK_OK) {
        call_bad(c, err == LK_ERR_LIMIT ? LK_DPS_TOO_LARGE : LK_DPS_BAD_REQUEST,
                 err == LK_ERR_LIMIT ? "body.limit" : "body.form", error);
        return false;
    }
    if (said[0] != '\0' && !lk_ascii_caseeq(said, strlen(said), id, strlen(id))) {
        call_bad(c, LK_DPS_BAD_REQUEST, "body.registration_id",
                 "registrationId: expected the one in the path");
        return false;
    }
    return true;
}

static void
device_api_handle(void *ctx, struct lk_http_request *http)
{
    LK_AUTO(call) struct call *c = calloc(1, sizeof(*c));
    struct lk_device_api *api = ctx;
    struct lk_reg_request req = {0};

    if (c == NULL) {
        lk_api_error(http, LK_DPS_UNAVAILABLE, "Busy, try again later");
        return;
    }
    *c = (struct call){.api = api, .req = http, .path = LK_PATH_INIT, .body = LK_DPS_REGISTER_INIT};
    if (!check_path(c) || !check_method(c) || !check_query(c) || !check_ids(c) ||
        !check_headers(c) || !check_body(c)) {
        return;
    }
    req.scope = call_scope(c);
    req.registration_id = call_registration_id(c);
    req.token = lk_http_request_header(http, "Authorization");
    req.request_id = lk_http_request_id(http);
    if (c->op == &op_poll) {
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
                  struct lk_device_api **ret)
{
    struct lk_device_api *api = calloc(1, sizeof(*api));

    if (api == NULL) {
        return LK_ERR_NOMEM;
    }
    api->provision = provision;
    api->clock = clock;
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
}
