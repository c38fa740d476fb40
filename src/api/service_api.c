/*
 * The operators' API (service-api.md). A call is routed by method and path, its access is checked
 * by a read (so that a stranger reaches neither a parser nor the writer), its form is judged, and
 * then it runs as one job of the store, in which access is checked once more: what was granted is
 * still so when the change takes effect. A call that reads does so on the event loop; where reads
 * are recorded, its answer waits for the record, which is a job of the writer like any change.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/service_int.h"
#include "base/codec.h"
#include "base/metrics.h"

static void
call_free(struct lk_service_call *c)
{
    lk_path_fini(&c->path);
    json_decref(c->body);
    lk_enrollment_doc_fini(&c->doc);
    for (size_t i = 0; i < c->items_count; i++) {
        lk_enrollment_doc_fini(&c->items[i].doc);
    }
    free(c->items);
    lk_buf_fini(&c->sealed_connection);
    lk_buf_fini(&c->answer);
    lk_keyring_free(c->ring);
    free(c);
}
LK_DEFINE_AUTO(struct lk_service_call, call, call_free);

/* ---- answers ----------------------------------------------------------------------------------
 */

static void
call_log(struct lk_service_call *c, enum lk_log_level level, const char *event, int status,
         const char *reason)
{
    const char *policy = c->access.name[0] != '\0' ? c->access.name : NULL;

    if (!lk_api_may_log(&c->api->gate, c->api->clock, level, policy)) {
        return;
    }
    lk_log(level, event, LK_F_TEXT("request_id", lk_http_request_id(c->req)),
           LK_F_TEXT("peer", lk_http_request_peer(c->req)),
           LK_F_TEXT("operation", c->op == NULL ? NULL : c->op->name),
           LK_F_TEXT("path", lk_http_request_path(c->req)),
           LK_F_TEXT("scope", c->scope.id[0] != '\0' ? c->scope.id : NULL),
           LK_F_TEXT("policy", policy), LK_F_TEXT("reason", reason), LK_F_INT("status", status),
           LK_F_INT("duration_us", lk_api_duration_us(c->req)));
}

static void
answer_fault(struct lk_service_call *c)
{
    lk_metric_add(LK_M_SERVICE_REJECTED, 1);
    call_log(c, LK_LOG_INFO, "service.rejected", c->fault.code / 1000, c->fault.message);
    lk_api_error(c->req, c->fault.code, c->fault.message);
}

/* One shape for all that is not let in. */
static void
answer_refused(struct lk_service_call *c)
{
    lk_metric_add(LK_M_SERVICE_REFUSED, 1);
    call_log(c, LK_LOG_WARNING, "service.refused", 401, c->access.reason);
    lk_api_error(c->req, LK_DPS_UNAUTHORIZED, "Unauthorized");
}

static void
answer_failure(struct lk_service_call *c, enum lk_err err)
{
    bool busy = err == LK_ERR_BUSY, again = lk_err_kind(err) == LK_KIND_RETRY;
    int32_t code = busy ? LK_DPS_THROTTLED : again ? LK_DPS_UNAVAILABLE : LK_DPS_INTERNAL;

    lk_metric_add(LK_M_SERVICE_FAILED, 1);
    call_log(c, busy ? LK_LOG_WARNING : LK_LOG_ERROR, busy ? "service.busy" : "service.error",
             code / 1000, lk_err_name(err));
    lk_api_error(c->req, code, again ? "Busy, try again later" : "Internal error");
}

static void
page_headers_put(struct lk_service_call *c)
{
    static const char *const types[] = {[LK_SVC_ENROLLMENTS] = "Enrollment",
                                        [LK_SVC_GROUPS] = "EnrollmentGroup",
                                        [LK_SVC_REGISTRATIONS] = "DeviceRegistration"};

    lk_api_page_headers(c->req, types[c->route.collection], c->page_max, c->next);
}

/* A call that ended: err is the job's. */
static void
call_answer(struct lk_service_call *c, enum lk_err err)
{
    if (err == LK_ERR_REFUSED && c->access.reason != NULL) {
        answer_refused(c);
        return;
    }
    if ((err == LK_OK || err == LK_ERR_REFUSED || err == LK_ERR_FORMAT) && c->fault.code != 0) {
        answer_fault(c);
        return;
    }
    if (err != LK_OK) {
        answer_failure(c, err);
        return;
    }
    lk_metric_add(LK_M_SERVICE_DONE, 1);
    call_log(c, c->op->writes ? LK_LOG_INFO : LK_LOG_DEBUG, "service.call", c->status, NULL);
    if (c->is_page) {
        page_headers_put(c);
    }
    lk_http_reply(c->req, c->status, c->answer.data, c->answer.len);
}

/* ---- what operations use ----------------------------------------------------------------------
 */

enum lk_err
lk_svc_refuse(struct lk_service_call *c, int32_t code, const char *message)
{
    (void)lk_svc_fault(&c->fault, code, "%s", message);
    return LK_ERR_REFUSED;
}

enum lk_err
lk_svc_refuse_access(struct lk_service_call *c, const char *reason)
{
    return lk_access_refuse(reason, &c->access);
}

enum lk_err
lk_svc_answer(struct lk_service_call *c, enum lk_err err, const json_t *value)
{
    c->status = 200;
    return err != LK_OK ? err : lk_json_write(value, &c->answer);
}

enum lk_err
lk_svc_body_parse(struct lk_service_call *c, bool may_be_empty)
{
    struct lk_reader body = lk_http_request_body(c->req);
    char error[LK_JSON_ERROR_CAP] = "";
    enum lk_err err;

    if (!lk_api_is_json(c->req)) {
        return lk_svc_fault(&c->fault, LK_DPS_MEDIA_TYPE,
                            "Content-Type: expected application/json");
    }
    if (body.left == 0 && may_be_empty) {
        c->body = json_object();
        return c->body == NULL ? LK_ERR_NOMEM : LK_OK;
    }
    err = lk_json_parse(body.p, body.left, false, error, &c->body);
    return err != LK_ERR_FORMAT ? err : lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST, "%s", error);
}

enum lk_err
lk_svc_id_check(struct lk_service_call *c)
{
    bool group = c->entity == LK_ENTITY_GROUP || c->op == &lk_svc_registration_query;

    if (lk_registration_id_ok(c->route.id, strlen(c->route.id))) {
        return LK_OK;
    }
    return lk_svc_fault(&c->fault, group ? LK_SVC_BAD_GROUP_ID : LK_SVC_BAD_REGISTRATION_ID,
                        "%s: expected 1 to 128 letters, digits and - . _ : with a letter, digit "
                        "or dash last",
                        group ? "enrollmentGroupId" : "registrationId");
}

void
lk_svc_if_match_read(struct lk_service_call *c)
{
    const char *text = lk_http_request_header(c->req, "If-Match");

    c->has_if_match = text != NULL;
    if (text != NULL && lk_etag_parse(text, c->if_match) != LK_OK) {
        c->if_match[0] = '\0'; /* none of ours: it matches nothing */
    }
}

enum lk_err
lk_svc_if_match_any(struct lk_service_call *c)
{
    lk_svc_if_match_read(c);
    return !c->has_if_match || strcmp(c->if_match, "*") == 0
               ? LK_OK
               : lk_svc_fault(&c->fault, LK_SVC_PRECONDITION, "If-Match: nothing here has an etag");
}

/* ---- access -----------------------------------------------------------------------------------
 */

struct scope_find {
    const char *host;
    struct lk_scope *ret;
    size_t count;
    bool named;
};

static enum lk_err
scope_each(void *ctx, const struct lk_scope *s)
{
    struct scope_find *f = ctx;

    f->count++;
    if (!f->named) {
        f->named = s->service_host[0] != '\0' && strcmp(s->service_host, f->host) == 0;
        *f->ret = *s;
    }
    return LK_OK;
}

/* The scope of that host, or the only one there is. */
static enum lk_err
scope_find(struct lk_service_call *c, struct lk_txn *tx)
{
    struct scope_find f = {.host = lk_http_request_host(c->req), .ret = &c->scope};
    enum lk_err err = lk_txn_scope_each(tx, scope_each, &f);

    if (err != LK_OK || f.named || f.count == 1) {
        return err;
    }
    memset(&c->scope, 0, sizeof(c->scope));
    return lk_svc_refuse(c, LK_DPS_NOT_FOUND, "No ID scope is operated under this host name");
}

static enum lk_err
access_check(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO_BUF struct lk_buf resource = LK_BUF_INIT;
    const char *token = lk_http_request_header(c->req, "Authorization");
    const char *path = lk_http_request_path(c->req);
    enum lk_err err;

    c->fault.code = 0;
    memset(&c->access, 0, sizeof(c->access));
    if ((err = scope_find(c, tx)) != LK_OK) {
        return err;
    }
    if (token == NULL || lk_http_request_header_count(c->req, "Authorization") != 1) {
        c->access.reason = token == NULL ? "token.absent" : "token.repeated";
        return LK_ERR_REFUSED;
    }
    if ((err = lk_buf_puts(&resource, lk_http_request_host(c->req))) != LK_OK ||
        (err = lk_percent_decode(path, strlen(path), false, &resource)) != LK_OK ||
        lk_buf_text(&resource) == NULL) {
        return err != LK_OK ? err : LK_ERR_NOMEM;
    }
    return lk_policy_check(c->ring, tx, c->scope.id, lk_buf_text(&resource), token, strlen(token),
                           lk_txn_now_ms(tx), c->op->right, &c->access);
}

/* ---- the call ---------------------------------------------------------------------------------
 */

static enum lk_err
knock_run(struct lk_txn *tx, void *arg)
{
    return access_check(arg, tx);
}

static enum lk_err
call_run(struct lk_txn *tx, void *arg)
{
    struct lk_service_call *c = arg;
    enum lk_err err;

    lk_buf_reset(&c->answer);
    c->status = 0;
    c->is_page = false;
    c->rows = 0;
    c->next[0] = '\0';
    err = access_check(c, tx);
    return err != LK_OK ? err : c->op->run(c, tx);
}

/* The call has ended, and its record, where it has one, is durable. */
static void
call_end(struct lk_service_call *c, enum lk_err err)
{
    LK_AUTO(call) struct lk_service_call *own = c;

    own->api->pending--;
    call_answer(own, err);
}

static enum lk_err
record_run(struct lk_txn *tx, void *arg)
{
    return lk_svc_audit_read(arg, tx);
}

/* What could not be recorded is not told. */
static void
record_done(void *arg, enum lk_err err)
{
    struct lk_service_call *c = arg;

    if (err != LK_OK) {
        c->fault.code = 0;
        call_end(c, err);
        return;
    }
    call_end(c, c->read_result);
}

/* Whether the call was let in and came to an answer about what is stored, "not found" included. */
static bool
has_read(const struct lk_service_call *c, enum lk_err err)
{
    return c->op->read_verb != NULL && c->access.reason == NULL &&
           (err == LK_OK || (err == LK_ERR_REFUSED && c->fault.code != 0));
}

static void
call_done(void *arg, enum lk_err err)
{
    struct lk_service_call *c = arg;

    if (!c->api->audit_reads || !has_read(c, err)) {
        call_end(c, err);
        return;
    }
    c->read_result = err;
    c->job = (struct lk_job){.run = record_run, .done = record_done, .arg = c};
    lk_store_write(c->api->session, &c->job);
}

static const struct lk_svc_operation *
operation_of(const struct lk_svc_route *r)
{
    bool registrations = r->collection == LK_SVC_REGISTRATIONS;

    switch (r->collection) {
    case LK_SVC_HUBS:
        return r->action == LK_SVC_PUT      ? &lk_svc_hub_put
               : r->action == LK_SVC_PATCH  ? &lk_svc_hub_patch
               : r->action == LK_SVC_DELETE ? &lk_svc_hub_delete
                                            : &lk_svc_hubs_list;
    case LK_SVC_POLICIES:
        return r->action == LK_SVC_PUT      ? &lk_svc_policy_put
               : r->action == LK_SVC_ROLL   ? &lk_svc_policy_roll
               : r->action == LK_SVC_DELETE ? &lk_svc_policy_delete
                                            : &lk_svc_policies_list;
    case LK_SVC_AUDIT:
        return r->action == LK_SVC_VERIFY ? &lk_svc_audit_verify : &lk_svc_audit_list;
    case LK_SVC_IMPORTS:
        return r->action == LK_SVC_DELETE ? &lk_svc_import_undo : &lk_svc_imports_list;
    case LK_SVC_ENROLLMENTS:
    case LK_SVC_GROUPS:
    case LK_SVC_REGISTRATIONS:
        break;
    }

    switch (r->action) {
    case LK_SVC_PUT:
        return &lk_svc_entity_put;
    case LK_SVC_GET:
        return registrations ? &lk_svc_registration_get : &lk_svc_entity_get;
    case LK_SVC_DELETE:
        return registrations ? &lk_svc_registration_delete : &lk_svc_entity_delete;
    case LK_SVC_MECHANISM:
        return &lk_svc_entity_mechanism;
    case LK_SVC_BULK:
        return &lk_svc_bulk;
    case LK_SVC_QUERY:
    case LK_SVC_LIST:
    case LK_SVC_VERIFY:
    case LK_SVC_ROLL:
    case LK_SVC_PATCH:
        break;
    }
    return registrations ? &lk_svc_registration_query : &lk_svc_query;
}

/* True with c->op set; otherwise the request is answered. */
static bool
call_route(struct lk_service_call *c)
{
    enum lk_err err = lk_path_parse(lk_http_request_path(c->req), &c->path);

    if (err == LK_OK) {
        err = lk_svc_route(&c->path, lk_http_request_method(c->req), &c->route);
    }
    if (err == LK_ERR_UNSUPPORTED && lk_http_request_method(c->req) == LK_HTTP_OPTIONS) {
        lk_api_wrong_method(c->req, c->route.allow);
        return false;
    }
    if (err == LK_ERR_UNSUPPORTED) {
        lk_http_reply_header(c->req, "Allow", c->route.allow);
        (void)lk_svc_fault(&c->fault, LK_DPS_METHOD_NOT_ALLOWED, "Method not allowed");
        answer_fault(c);
        return false;
    }
    if (err == LK_ERR_NOMEM) {
        answer_failure(c, err);
        return false;
    }
    if (err != LK_OK) {
        bool form = err == LK_ERR_FORMAT;

        (void)lk_svc_fault(&c->fault, form ? LK_SVC_BAD_REQUEST : LK_DPS_NOT_FOUND, "%s",
                           form ? "The path has a broken percent-escape or a NUL" : "Not found");
        answer_fault(c);
        return false;
    }
    c->op = operation_of(&c->route);
    c->entity = c->route.collection == LK_SVC_GROUPS ? LK_ENTITY_GROUP : LK_ENTITY_ENROLLMENT;
    return true;
}

/* Access was granted or refused; what comes next is judged again in its own transaction. */
static void
knock_done(void *arg, enum lk_err err)
{
    struct lk_service_call *c = arg;

    if (err == LK_OK && c->op->form != NULL) {
        err = c->op->form(c);
    }
    if (err != LK_OK) {
        call_end(c, err);
        return;
    }
    c->job = (struct lk_job){.run = call_run, .done = call_done, .arg = c};
    if (c->op->writes) {
        lk_store_write(c->api->session, &c->job);
    } else {
        lk_store_read(c->api->session, &c->job);
    }
}

static void
service_api_handle(void *ctx, struct lk_http_request *req)
{
    LK_AUTO(call) struct lk_service_call *c = calloc(1, sizeof(*c));
    struct lk_service_api *api = ctx;

    if (c == NULL) {
        lk_api_error(req, LK_DPS_UNAVAILABLE, "Busy, try again later");
        return;
    }
    c->api = api;
    c->req = req;
    c->ring = lk_keyring_ref(api->ring);
    c->details = lk_http_request_header(req, LK_SVC_DETAILS_HEADER) != NULL;
    c->path = (struct lk_path)LK_PATH_INIT;
    lk_enrollment_doc_init(&c->doc);
    if (!call_route(c)) {
        return;
    }
    if (!c->route.is_own && lk_svc_api_version(lk_http_request_query(req)) != LK_OK) {
        call_answer(c, lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST, "api-version: expected once, %s",
                                    LK_SVC_API_VERSIONS));
        return;
    }
    /* A stranger's body is not even parsed. */
    c->job = (struct lk_job){.run = knock_run, .done = knock_done, .arg = c};
    api->pending++;
    lk_store_read(api->session, &c->job);
    (void)call_take(&c); /* call_end() freed it, or will */
}

/* ---- the object -------------------------------------------------------------------------------
 */

enum lk_err
lk_service_api_new(const struct lk_service_api_config *config, struct lk_service_api **ret)
{
    struct lk_service_api *api = calloc(1, sizeof(*api));

    if (api == NULL) {
        return LK_ERR_NOMEM;
    }
    api->session = config->session;
    api->clock = config->clock;
    api->rnd = config->rnd;
    api->ring = lk_keyring_ref(config->keyring);
    api->bulk_max = config->bulk_max;
    api->audit_reads = config->audit_reads;
    api->signatures_required = config->signatures_required;
    api->links_hubs = config->links_hubs;
    *ret = api;
    return LK_OK;
}

void
lk_service_api_set_keyring(struct lk_service_api *api, struct lk_keyring *ring)
{
    lk_keyring_free(api->ring);
    api->ring = lk_keyring_ref(ring);
}

size_t
lk_service_api_pending(const struct lk_service_api *api)
{
    return api->pending;
}

void
lk_service_api_free(struct lk_service_api *api)
{
    if (api != NULL) {
        assert(api->pending == 0);
        lk_keyring_free(api->ring);
        free(api);
    }
}

static bool
service_api_serves(void *ctx, const char *host, const char *path)
{
    return lk_svc_path_serves(path);
}

struct lk_surface
lk_service_api_surface(struct lk_service_api *api)
{
    return (struct lk_surface){
        .serves = service_api_serves, .handle = service_api_handle, .ctx = api};
}

void
lk_service_api_tick(struct lk_service_api *api)
{
    lk_log_gate_tick(&api->gate, lk_clock_mono_ms(api->clock));
}
