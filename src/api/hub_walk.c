/*
 * Many devices in one answer: the list of identities, and queries, page by page (iot-hub.md 2 and
 * 2.4). A walk is cut into turns. It goes by device id from the last one that was looked at.
 */
#include <string.h>

#include "api/hub_int.h"
#include "base/codec.h"

/* ---- a turn ----------------------------------------------------------------------------------
 */

/* Whether the turn takes another row. */
static bool
turn_goes_on(const struct lk_hubapi_call *c)
{
    size_t looked = c->turn.looked - c->walk.looked;

    return looked < LK_HUBAPI_TURN_ROWS_MIN ||
           lk_clock_mono_ms(c->api->clock) - c->turn_begun_ms < LK_HUBAPI_TURN_MS;
}

/* Append an element to the array that is the answer; takes object. */
static enum lk_err
row_put(struct lk_hubapi_call *c, json_t *object)
{
    LK_AUTO(json) json_t *own = object;
    enum lk_err err = lk_buf_puts(&c->answer, c->turn.rows++ == 0 ? "[" : ",");

    return err != LK_OK ? err : own == NULL ? LK_ERR_NOMEM : lk_json_write(own, &c->answer);
}

static void
row_pass(struct lk_hubapi_call *c, const char *device_id)
{
    memcpy(c->turn.after, device_id, strlen(device_id) + 1);
    c->turn.looked++;
}

/* A turn that was not broken off, and had less than it asked for, was the last. */
static enum lk_err
turn_end(struct lk_hubapi_call *c, enum lk_err err, size_t asked)
{
    bool last = err == LK_OK && c->turn.looked - c->walk.looked < asked;

    if (err != LK_OK && err != LK_ERR_CANCELLED) {
        return err;
    }
    if (!last && !c->turn.ended) {
        return LK_OK; /* status stays 0: another turn */
    }
    c->status = 200;
    err = c->turn.rows == 0 ? lk_buf_puts(&c->answer, "[") : LK_OK;
    return err != LK_OK ? err : lk_buf_puts(&c->answer, "]");
}

static size_t
rows_of_turn(size_t left)
{
    return left < LK_HUBAPI_TURN_ROWS_MAX ? left : LK_HUBAPI_TURN_ROWS_MAX;
}

/* ---- list ------------------------------------------------------------------------------------
 */

static enum lk_err
list_form(struct lk_hubapi_call *c)
{
    const char *text;
    uint64_t top = LK_HUBAPI_LIST_MAX;
    size_t len;

    if (lk_hubapi_parameter(lk_http_request_query(c->req), "top", &text, &len) &&
        (lk_decimal_parse(text, len, &top) != LK_OK || top == 0)) {
        return lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT, "top: expected a number from 1 on");
    }
    c->page_max = top > LK_HUBAPI_LIST_MAX ? LK_HUBAPI_LIST_MAX : (size_t)top;
    return LK_OK;
}

static enum lk_err
list_each(void *ctx, const struct lk_hub_device *d)
{
    struct lk_hubapi_call *c = ctx;
    json_t *object;
    enum lk_err err;

    if (!turn_goes_on(c)) {
        return LK_ERR_CANCELLED;
    }
    row_pass(c, d->id.device_id);
    object = json_object();
    if ((err = lk_device_json_put(d, object)) != LK_OK) {
        json_decref(object);
        return err;
    }
    err = row_put(c, object);
    c->turn.ended = c->turn.rows == c->page_max;
    return err;
}

static enum lk_err
list_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    size_t asked = rows_of_turn(c->page_max - c->turn.rows);
    char after[LK_DEVICE_ID_MAX + 1];

    memcpy(after, c->turn.after, sizeof(after));
    return turn_end(c, lk_hub_device_page(c->api->hub, tx, c->hub, after, asked, list_each, c),
                    asked);
}

/* ---- query -----------------------------------------------------------------------------------
 */

static struct lk_continuation_of
good_for(const struct lk_hubapi_call *c)
{
    return (struct lk_continuation_of){.collection = "devices",
                                       .owner = c->hub,
                                       .group = "",
                                       .query = c->query_text,
                                       .id_ok = lk_device_id_ok};
}

static enum lk_err
page_headers_read(struct lk_hubapi_call *c)
{
    const char *count = lk_http_request_header(c->req, "x-ms-max-item-count");
    uint64_t n = 0;

    if (count != NULL && count[0] != '\0' && lk_decimal_parse(count, strlen(count), &n) != LK_OK) {
        return lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT, "x-ms-max-item-count: expected a number");
    }
    c->page_max = n == 0                   ? LK_HUBAPI_PAGE_DEFAULT
                  : n > LK_HUBAPI_PAGE_MAX ? LK_HUBAPI_PAGE_MAX
                                           : (size_t)n;
    return LK_OK;
}

/* Where the walk begins. */
static enum lk_err
start_find(struct lk_hubapi_call *c)
{
    const char *continuation = lk_http_request_header(c->req, "x-ms-continuation");
    struct lk_continuation_of of = good_for(c);
    char *after = c->walk.after;
    char bound[LK_DEVICE_ID_MAX + 1];
    enum lk_err err;

    if (continuation != NULL && continuation[0] != '\0' &&
        (err = lk_continuation_read(c->ring, &of, continuation, after)) != LK_OK) {
        return err == LK_ERR_REFUSED
                   ? lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT,
                                  "x-ms-continuation: not of this query, or not ours")
                   : err;
    }
    lk_query_walk_start(&c->query, LK_DEVICE_ID_MAX, bound);
    if (strcmp(bound, after) > 0) {
        memcpy(after, bound, sizeof(bound));
    }
    return LK_OK;
}

static enum lk_err
query_form(struct lk_hubapi_call *c)
{
    char error[LK_QUERY_ERROR_CAP] = "";
    enum lk_err err;

    c->is_page = true;
    if ((err = page_headers_read(c)) != LK_OK || (err = lk_hubapi_body_parse(c, false)) != LK_OK) {
        return err;
    }
    if (lk_json_text(c->body, "query", &c->query_text) != LK_OK || c->query_text == NULL) {
        return lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT, "query: expected a text");
    }
    err = lk_query_parse(LK_QUERY_DEVICES, c->query_text, strlen(c->query_text), error, &c->query);
    return err != LK_OK ? lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT, "query: %s", error)
                        : start_find(c);
}

/* A walk in one transaction. */
struct query_turn {
    struct lk_hubapi_call *c;
    struct lk_txn *tx;
};

static enum lk_err
twin_put(const struct query_turn *q, struct lk_hub_device *d)
{
    struct lk_twin t = LK_TWIN_INIT;
    LK_AUTO(json) json_t *object = json_object();
    enum lk_err err;

    if ((err = lk_txn_twin_get(q->tx, q->c->hub, d->id.device_id, &t)) == LK_OK &&
        (err = lk_txn_c2d_count(q->tx, q->c->hub, d->id.device_id, &d->c2d_count)) == LK_OK) {
        err = lk_twin_json_put(d, &t, object);
    }
    lk_twin_fini(&t);
    return err != LK_OK ? err : row_put(q->c, json_incref(object));
}

static bool
page_is_full(const struct lk_hubapi_call *c)
{
    return c->turn.looked >= LK_HUBAPI_SCAN_MAX || c->turn.rows >= c->page_max ||
           c->answer.len > LK_HUBAPI_PAGE_BYTES;
}

static enum lk_err
query_each(void *ctx, const struct lk_identity *id)
{
    struct query_turn *q = ctx;
    struct lk_hubapi_call *c = q->c;
    struct lk_hub_device d = {.id = *id};
    struct lk_query_row row = {.text = {[LK_QF_EXACT_ID] = id->device_id,
                                        [LK_QF_STATUS] = id->enabled ? "enabled" : "disabled",
                                        [LK_QF_ATTESTATION] = lk_identity_auth_name(id->auth)}};
    enum lk_err err;

    if (lk_query_id_past(&c->query, id->device_id)) {
        c->turn.ended = true;
        return LK_ERR_CANCELLED;
    }
    if (page_is_full(c)) {
        struct lk_continuation_of of = good_for(c);

        c->turn.ended = true;
        err = lk_continuation_make(c->ring, lk_clock_unix_ms(c->api->clock), &of, c->turn.after,
                                   c->next);
        return err != LK_OK ? err : LK_ERR_CANCELLED;
    }
    if (!turn_goes_on(c)) {
        return LK_ERR_CANCELLED;
    }
    row_pass(c, id->device_id);
    if ((err = lk_txn_presence_get(q->tx, c->hub, id->device_id, &d.present)) != LK_OK) {
        return err;
    }
    row.text[LK_QF_CONNECTION] = d.present.connected ? "connected" : "disconnected";
    return lk_query_matches(&c->query, &row) ? twin_put(q, &d) : LK_OK;
}

static enum lk_err
query_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    struct query_turn q = {c, tx};
    char after[LK_DEVICE_ID_MAX + 1];

    memcpy(after, c->turn.after, sizeof(after));
    return turn_end(
        c, lk_txn_identity_page(tx, c->hub, after, LK_HUBAPI_TURN_ROWS_MAX, query_each, &q),
        LK_HUBAPI_TURN_ROWS_MAX);
}

const struct lk_hubapi_operation lk_hubapi_list = {.name = "device.list",
                                                   .right = LK_HUB_REGISTRY_READ,
                                                   .read_action = "hub.device.list",
                                                   .form = list_form,
                                                   .run = list_run};
const struct lk_hubapi_operation lk_hubapi_query = {.name = "query",
                                                    .right = LK_HUB_REGISTRY_READ,
                                                    .read_action = "hub.query",
                                                    .form = query_form,
                                                    .run = query_run};
