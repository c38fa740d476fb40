/* What a device asks of its twin (iot-hub.md 5.2), answered on its own topics. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "broker/broker_int.h"
#include "hub/twin.h"

#define REQUESTS_MAX 1024u /* of one hub, at the store */

struct request {
    struct lk_work work;
    char device_id[LK_DEVICE_ID_MAX + 1];
    uint64_t serial;
    char rid[LK_MQTT_RID_MAX + 1];
    json_t *patch; /* reported; owned */
    struct lk_twin twin;
    struct lk_buf answer;
    char error[LK_TWIN_ERROR_CAP];
};

static void
request_free(struct request *r)
{
    json_decref(r->patch);
    lk_twin_fini(&r->twin);
    lk_buf_fini(&r->answer);
    free(r);
}
LK_DEFINE_AUTO(struct request, request, request_free);

/* ---- answers --------------------------------------------------------------------------------- */

/* version 0: none. */
static void
answer(struct lk_line *l, const struct request *r, int status, int64_t version, const void *body,
       size_t body_len)
{
    char topic[LK_MQTT_RID_MAX + 96], more[40] = "";

    if (version > 0) {
        (void)snprintf(more, sizeof(more), "&$version=%" PRId64, version);
    }
    (void)snprintf(topic, sizeof(topic), "$iothub/twin/res/%d/?$rid=%s%s", status, r->rid, more);
    lk_line_push(l, r->device_id, r->serial, 1u << LK_MQTT_TWIN_ANSWERS, topic, body, body_len);
}

/* Status in the topic and code in the body: clients look at one of them. */
static void
answer_error(struct lk_line *l, const struct request *r, int status, int code, const char *message)
{
    LK_AUTO(json) json_t *body = json_pack("{s:i, s:s}", "errorCode", code, "message", message);
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    if (body == NULL || lk_json_write(body, &text) != LK_OK) {
        lk_buf_reset(&text); /* out of memory: the status says it */
    }
    answer(l, r, status, 0, text.data, text.len);
}

static void
answer_failure(struct lk_line *l, const struct request *r, enum lk_err err)
{
    switch (err) {
    case LK_ERR_NOT_FOUND:
        answer_error(l, r, 404, 404001, "The device is not registered");
        break;
    case LK_ERR_FORMAT:
    case LK_ERR_LIMIT:
        answer_error(l, r, 400, 400004, r->error[0] == '\0' ? "Expected JSON" : r->error);
        break;
    case LK_ERR_BUSY:
        answer_error(l, r, 429, 429001, "Busy, try again later");
        break;
    default:
        lk_log(LK_LOG_ERROR, "hub.request_failed", LK_F_TEXT("hub", l->hub),
               LK_F_TEXT("device_id", r->device_id), LK_F_ERR(err));
        answer_error(l, r, 500, 500001, "Internal error");
        break;
    }
}

/* ---- get ------------------------------------------------------------------------------------- */

static enum lk_err
get_run(struct lk_txn *tx, void *arg)
{
    struct request *r = arg;
    enum lk_err err = lk_txn_twin_get(tx, r->work.line->hub, r->device_id, &r->twin);

    lk_buf_reset(&r->answer);
    return err != LK_OK ? err : lk_twin_for_device(&r->twin, &r->answer);
}

static void
get_done(struct lk_work *work, enum lk_err err)
{
    LK_AUTO(request) struct request *r = (struct request *)work;

    work->line->requests--;
    if (err == LK_OK) {
        answer(work->line, r, 200, 0, r->answer.data, r->answer.len);
    } else {
        answer_failure(work->line, r, err);
    }
}

/* ---- reported patch -------------------------------------------------------------------------- */

static enum lk_err
reported_run(struct lk_txn *tx, void *arg)
{
    struct request *r = arg;
    const struct lk_twin_patch patch = {.reported = r->patch, .how = LK_TWIN_MERGE};

    r->error[0] = '\0';
    return lk_twin_change(tx, r->work.line->hub, r->device_id, &patch, NULL, &r->twin, r->error);
}

static void
reported_done(struct lk_work *work, enum lk_err err)
{
    LK_AUTO(request) struct request *r = (struct request *)work;

    work->line->requests--;
    if (err == LK_OK) {
        answer(work->line, r, 204, r->twin.reported_version, NULL, 0);
    } else {
        answer_failure(work->line, r, err);
    }
}

/* ---- coming ---------------------------------------------------------------------------------- */

static struct request *
request_new(const struct lk_broker_session *s, const struct lk_mqtt_publish *what)
{
    struct request *r = calloc(1, sizeof(*r));

    if (r != NULL) {
        r->twin = (struct lk_twin)LK_TWIN_INIT;
        memcpy(r->device_id, s->device_id, sizeof(r->device_id));
        r->serial = s->serial;
        memcpy(r->rid, what->rid, what->rid_len);
    }
    return r;
}

void
lk_request_take(struct lk_line *l, const struct lk_broker_session *s, const struct lk_plug_msg *m)
{
    LK_AUTO(request) struct request *r = NULL;
    struct lk_mqtt_publish what;
    char error[LK_JSON_ERROR_CAP] = "";

    if (lk_mqtt_publish_parse(s->device_id, m->topic, m->topic_len, &what) != LK_OK ||
        what.kind == LK_MQTT_TELEMETRY) {
        return; /* the plugin lets none through */
    }
    lk_metric_add(LK_M_TAKEN_REQUEST, 1);
    if (what.kind == LK_MQTT_METHOD_RESULT) {
        lk_method_result(l, m, &what);
        return;
    }
    if ((r = request_new(s, &what)) == NULL) {
        return; /* out of memory: the device asks again */
    }
    if (l->requests >= REQUESTS_MAX) {
        answer_failure(l, r, LK_ERR_BUSY);
        return;
    }
    if (what.kind == LK_MQTT_TWIN_REPORTED &&
        lk_json_parse(m->body, m->body_len, false, error, &r->patch) != LK_OK) {
        (void)snprintf(r->error, sizeof(r->error), "%s", error);
        answer_failure(l, r, LK_ERR_FORMAT);
        return;
    }
    l->requests++;
    if (what.kind == LK_MQTT_TWIN_GET) {
        lk_line_read(l, &request_take(&r)->work, get_run, get_done);
    } else {
        lk_line_write(l, &request_take(&r)->work, reported_run, reported_done);
    }
}
