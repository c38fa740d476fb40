/*
 * Queries, page by page (service-api.md section 8). Rows are walked in order of their lower-case
 * ids, and those that match are answered. The work of a call is bounded in time, in rows that are
 * looked at and in bytes of the answer: a page may end early, even empty, with a continuation.
 */
#include <string.h>

#include "api/service_int.h"
#include "base/codec.h"

/* ---- one row ----------------------------------------------------------------------------------
 */

struct page {
    struct lk_service_call *c;
    int64_t begun_ms; /* of the monotonic clock */
    size_t looked;
    bool more;
    char last[LK_REGISTRATION_ID_MAX + 1]; /* lower case; "" before the first row */
};

/* A page has its rows, or the event loop has done enough for it. */
static bool
page_is_full(const struct page *p)
{
    if (p->looked == LK_SVC_SCAN_MAX || p->c->rows == p->c->page_max ||
        p->c->answer.len > LK_SVC_PAGE_BYTES) {
        return true;
    }
    return p->looked >= LK_SVC_TURN_ROWS_MIN &&
           lk_clock_mono_ms(p->c->api->clock) - p->begun_ms >= LK_SVC_TURN_MS;
}

/* Whether to go on with this row. False: the page is whole, or nothing more can match. */
static bool
row_begin(struct page *p, const char *id)
{
    char lower[LK_REGISTRATION_ID_MAX + 1];

    memcpy(lower, id, strlen(id) + 1);
    lk_ascii_lower(lower);
    if (lk_query_id_past(&p->c->query, lower)) {
        return false;
    }
    if (page_is_full(p)) {
        p->more = true;
        return false;
    }
    memcpy(p->last, lower, sizeof(p->last));
    p->looked++;
    return true;
}

static enum lk_err
row_put(struct page *p, const json_t *object)
{
    enum lk_err err;

    if (p->c->rows++ > 0 && (err = lk_buf_puts(&p->c->answer, ",")) != LK_OK) {
        return err;
    }
    return lk_json_write(object, &p->c->answer);
}

/* LK_ERR_CANCELLED ends the walk. */
static enum lk_err
entity_each(void *ctx, const struct lk_enrollment *e)
{
    struct page *p = ctx;
    enum lk_allocation fallback = p->c->scope.allocation;
    struct lk_enrollment_view view = {.fallback = fallback};
    LK_AUTO(json) json_t *object = NULL;
    const char *hubs[LK_HUBS_PER_ENROLLMENT];
    struct lk_query_row row = {
        .text = {[LK_QF_ID] = e->id,
                 [LK_QF_DEVICE_ID] = e->device_id[0] != '\0' ? e->device_id : e->id,
                 [LK_QF_STATUS] = e->enabled ? "enabled" : "disabled",
                 [LK_QF_ATTESTATION] = lk_attestation_name(e->attestation),
                 [LK_QF_ALLOCATION] = lk_allocation_name(e->allocation, fallback)},
        .hubs = hubs,
        .hubs_count = e->hubs_count,
        .created_ms = e->created_ms,
        .updated_ms = e->updated_ms};
    enum lk_err err;

    if (!row_begin(p, e->id)) {
        return LK_ERR_CANCELLED;
    }
    for (size_t i = 0; i < e->hubs_count; i++) {
        hubs[i] = e->hubs[i];
    }
    if (!lk_query_matches(&p->c->query, &row)) {
        return LK_OK;
    }
    object = json_object();
    err = lk_enrollment_json_put(p->c->entity, e, &view, object);
    if (err == LK_OK && p->c->details) {
        err = lk_enrollment_details_put(e, object);
    }
    return err != LK_OK ? err : row_put(p, object);
}

static enum lk_err
registration_each(void *ctx, const struct lk_registration *r)
{
    struct page *p = ctx;
    LK_AUTO(json) json_t *object = NULL;
    struct lk_query_row row = {.text = {[LK_QF_ID] = r->id,
                                        [LK_QF_DEVICE_ID] = r->device_id,
                                        [LK_QF_HUB] = r->hub[0] != '\0' ? r->hub : NULL,
                                        [LK_QF_REG_STATUS] = lk_reg_status_name(r->status)},
                               .created_ms = r->created_ms,
                               .updated_ms = r->updated_ms};
    enum lk_err err;

    if (!row_begin(p, r->id)) {
        return LK_ERR_CANCELLED;
    }
    if (!lk_query_matches(&p->c->query, &row)) {
        return LK_OK;
    }
    object = json_object();
    err = lk_registration_json_put(r, object);
    if (err == LK_OK && p->c->details) {
        err = lk_registration_details_put(r, object);
    }
    return err != LK_OK ? err : row_put(p, object);
}

/* ---- where to begin ---------------------------------------------------------------------------
 */

static enum lk_err
start_find(struct lk_service_call *c, char ret[LK_REGISTRATION_ID_MAX + 1])
{
    char bound[LK_REGISTRATION_ID_MAX + 1];
    enum lk_err err;

    ret[0] = '\0';
    if (c->continuation != NULL &&
        (err = lk_svc_continuation_read(c, c->continuation, ret)) != LK_OK) {
        return err == LK_ERR_REFUSED
                   ? lk_svc_refuse(c, LK_SVC_BAD_REQUEST,
                                   "x-ms-continuation: not of this query, or not ours")
                   : err;
    }
    lk_query_walk_start(&c->query, LK_REGISTRATION_ID_MAX, bound);
    if (strcmp(bound, ret) > 0) {
        memcpy(ret, bound, sizeof(bound));
    }
    return LK_OK;
}

/* ---- the call ---------------------------------------------------------------------------------
 */

static enum lk_err
page_headers_read(struct lk_service_call *c)
{
    const char *count = lk_http_request_header(c->req, "x-ms-max-item-count");
    uint64_t n = 0;

    c->continuation = lk_http_request_header(c->req, "x-ms-continuation");
    if (c->continuation != NULL && c->continuation[0] == '\0') {
        c->continuation = NULL;
    }
    if (count != NULL && count[0] != '\0' && lk_decimal_parse(count, strlen(count), &n) != LK_OK) {
        return lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST,
                            "x-ms-max-item-count: expected a number");
    }
    c->page_max = n == 0 ? LK_SVC_PAGE_DEFAULT : n > LK_SVC_PAGE_MAX ? LK_SVC_PAGE_MAX : (size_t)n;
    return LK_OK;
}

static enum lk_err
query_form(struct lk_service_call *c)
{
    bool registrations = c->route.collection == LK_SVC_REGISTRATIONS;
    enum lk_query_collection collection = registrations                  ? LK_QUERY_REGISTRATIONS
                                          : c->entity == LK_ENTITY_GROUP ? LK_QUERY_GROUPS
                                                                         : LK_QUERY_ENROLLMENTS;
    char error[LK_QUERY_ERROR_CAP] = "";
    const char *text = NULL;
    enum lk_err err;

    if ((registrations && c->route.id != NULL && (err = lk_svc_id_check(c)) != LK_OK) ||
        (err = page_headers_read(c)) != LK_OK ||
        (err = lk_svc_body_parse(c, registrations)) != LK_OK) {
        return err;
    }
    if (lk_json_text(c->body, "query", &text) != LK_OK || (text == NULL && !registrations)) {
        return lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST, "query: expected a text");
    }
    c->query_text = text != NULL ? text : "*";
    err = lk_query_parse(collection, c->query_text, strlen(c->query_text), error, &c->query);
    return err == LK_OK ? LK_OK : lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST, "query: %s", error);
}

static enum lk_err
rows_walk(struct page *p, struct lk_txn *tx, const char *after)
{
    const char *scope = p->c->scope.id;
    size_t limit = LK_SVC_SCAN_MAX + 1;

    if (p->c->route.collection == LK_SVC_REGISTRATIONS && p->c->route.id == NULL) {
        return lk_txn_registration_page(tx, scope, after, limit, registration_each, p);
    }
    if (p->c->route.collection == LK_SVC_REGISTRATIONS) {
        return lk_txn_registration_page_of_group(tx, scope, p->c->route.id, after, limit,
                                                 registration_each, p);
    }
    return p->c->entity == LK_ENTITY_GROUP
               ? lk_txn_group_page(tx, scope, after, limit, entity_each, p)
               : lk_txn_enrollment_page(tx, scope, after, limit, entity_each, p);
}

static enum lk_err
query_run(struct lk_service_call *c, struct lk_txn *tx)
{
    char after[LK_REGISTRATION_ID_MAX + 1];
    struct page p = {.c = c, .begun_ms = lk_clock_mono_ms(c->api->clock)};
    enum lk_err err;

    c->status = 200;
    c->is_page = true;
    if ((err = start_find(c, after)) != LK_OK || (err = lk_buf_puts(&c->answer, "[")) != LK_OK) {
        return err;
    }
    err = rows_walk(&p, tx, after);
    if (err != LK_OK && err != LK_ERR_CANCELLED) {
        return err;
    }
    if ((err = lk_buf_puts(&c->answer, "]")) != LK_OK) {
        return err;
    }
    return p.more ? lk_svc_continuation_make(c, p.last, c->next) : LK_OK;
}

const struct lk_svc_operation lk_svc_query = {
    "query", LK_RIGHT_ENROLLMENT_READ, false, "query", query_form, query_run};
const struct lk_svc_operation lk_svc_registration_query = {
    "registrations", LK_RIGHT_REGISTRATION_STATUS_READ, false, "query", query_form, query_run};
