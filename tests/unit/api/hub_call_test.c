/*
 * Tests of a hub's surface on a real store, with a broker of the test's own: what waits for a
 * broker or a device, and walks that are cut into turns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/hub_int.h"
#include "fake_http.h"
#include "net/loop.h"
#include "support/rig.h"

#define POLICY "owner"
#define VERSION "api-version=2021-04-12"

/* What the broker answers, and what it was told. */
struct broker {
    bool at_once; /* calls back before it returns */
    enum lk_err err;
    int status;
    const char *payload;
    struct lk_loop *loop;
    struct lk_buf told;
    struct answer {
        struct broker *broker;
        lk_method_done_fn *method;
        lk_telemetry_done_fn *telemetry;
        void *arg;
    } answers[8];
    size_t answers_count;
};

struct stage {
    struct rig rig;
    struct lk_loop *loop;
    struct lk_watch *watch;
    struct lk_timer *look;
    struct lk_clock clock; /* mono moves by tick_ms whenever it is read */
    int64_t mono_ms, tick_ms;
    struct broker broker;
    struct lk_hub_api *api;
    uint8_t policy_key[LK_POLICY_KEY_LEN], device_key[LK_HUB_KEY_LEN];
    char token[LK_SAS_MAX + 1];
    struct lk_http_request req;
};

/* ---- the broker ------------------------------------------------------------------------------ */

static void
answer_run(void *ctx)
{
    struct answer *a = ctx;
    const char *payload = a->broker->payload;

    if (a->method != NULL) {
        a->method(a->arg, a->broker->err, a->broker->status, payload, strlen(payload));
    } else {
        a->telemetry(a->arg, a->broker->err);
    }
}

static void
answer_begin(struct broker *b, struct answer answer)
{
    struct answer *a = &b->answers[b->answers_count++];

    *a = answer;
    a->broker = b;
    if (b->at_once) {
        answer_run(a);
    } else {
        assert_int_equal(lk_loop_post(b->loop, answer_run, a), LK_OK);
    }
}

static void
broker_method(void *ctx, struct lk_loop *loop, const struct lk_method_call *call,
              lk_method_done_fn *done, void *arg)
{
    struct broker *b = ctx;

    assert_ptr_equal(loop, b->loop);
    assert_int_equal(lk_buf_printf(&b->told, "%s %s %s %s %u %u\n", call->hub, call->device_id,
                                   call->name, call->payload, call->response_timeout_ms,
                                   call->connect_timeout_ms),
                     LK_OK);
    assert_int_equal(strlen(call->payload), call->payload_len);
    answer_begin(b, (struct answer){.method = done, .arg = arg});
}

static void
broker_telemetry(void *ctx, struct lk_loop *loop, const struct lk_telemetry *t,
                 lk_telemetry_done_fn *done, void *arg)
{
    struct broker *b = ctx;

    assert_int_equal(lk_buf_printf(&b->told, "%s %s %s %.*s\n", t->hub, t->device_id, t->properties,
                                   (int)t->body_len, (const char *)t->body),
                     LK_OK);
    answer_begin(b, (struct answer){.telemetry = done, .arg = arg});
}

static const struct lk_hub_broker_ops broker_ops = {broker_method, broker_telemetry};

/* ---- the stage ------------------------------------------------------------------------------- */

static int64_t
clock_unix_ms(void *ctx)
{
    return ((struct stage *)ctx)->rig.now_ms;
}

static int64_t
clock_mono_ms(void *ctx)
{
    struct stage *s = ctx;

    return s->mono_ms += s->tick_ms;
}

static void
session_ready(void *ctx)
{
    lk_session_dispatch(ctx);
}

/* The loop ends once the request is answered. */
static void
look(void *ctx)
{
    struct stage *s = ctx;

    if (s->req.answers > 0) {
        lk_loop_stop(s->loop);
    }
    lk_timer_arm(s->look, 1);
}

static enum lk_err
policy_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_hub_policy_put(tx, arg);
}

static void
policy_make(struct stage *s)
{
    struct lk_hub_policy p = {.rights = 0};

    memset(s->policy_key, 'p', sizeof(s->policy_key));
    assert_int_equal(
        lk_hub_policy_make(s->rig.ring, &lk_rand_system, RIG_HUB, POLICY, LK_HUB_RIGHTS_ALL, &p),
        LK_OK);
    assert_int_equal(lk_hub_policy_key_set(s->rig.ring, &lk_rand_system, LK_POLICY_PRIMARY,
                                           s->policy_key, sizeof(s->policy_key), &p),
                     LK_OK);
    rig_write(&s->rig, policy_run, &p);
    lk_hub_policy_fini(&p);
}

struct many {
    struct stage *s;
    const char *prefix;
    size_t count;
};

static enum lk_err
many_run(struct lk_txn *tx, void *arg)
{
    const struct many *m = arg;
    enum lk_err err = LK_OK;

    for (size_t i = 0; err == LK_OK && i < m->count; i++) {
        struct lk_hub_device d = {.id = {.hub = RIG_HUB, .enabled = true, .auth = LK_AUTH_SAS}};

        (void)snprintf(d.id.device_id, sizeof(d.id.device_id), "%s%04zu", m->prefix, i);
        err = lk_buf_put(&d.keys[0], m->s->device_key, sizeof(m->s->device_key));
        if (err == LK_OK) {
            err = lk_hub_device_create(m->s->rig.core, tx, &d);
        }
        lk_hub_device_fini(&d);
    }
    return err;
}

static void
devices_make(struct stage *s, const char *prefix, size_t count)
{
    struct many m = {s, prefix, count};

    rig_write(&s->rig, many_run, &m);
}

static void
api_open(struct stage *s, bool has_broker)
{
    struct lk_hub_api_config opts = {.session = s->rig.session,
                                     .loop = s->loop,
                                     .hub = s->rig.core,
                                     .clock = &s->clock,
                                     .rnd = &lk_rand_system,
                                     .keyring = s->rig.ring};

    if (has_broker) {
        opts.broker = (struct lk_hub_broker){&broker_ops, &s->broker};
    }
    assert_int_equal(lk_hub_api_new(&opts, &s->api), LK_OK);
}

static int
setup(void **state)
{
    static struct stage stage;
    struct stage *s = &stage;

    memset(s, 0, sizeof(*s));
    rig_start(&s->rig, NULL);
    memset(s->device_key, 'd', sizeof(s->device_key));
    s->clock = (struct lk_clock){clock_unix_ms, clock_mono_ms, s};
    assert_int_equal(lk_loop_new(&s->loop), LK_OK);
    assert_int_equal(lk_watch_new(s->loop, lk_session_fd(s->rig.session), session_ready,
                                  s->rig.session, &s->watch),
                     LK_OK);
    assert_int_equal(lk_timer_new(s->loop, look, s, &s->look), LK_OK);
    s->broker.loop = s->loop;
    s->broker.payload = "";
    policy_make(s);
    api_open(s, true);
    *state = s;
    return 0;
}

static int
teardown(void **state)
{
    struct stage *s = *state;

    fake_http_fini(&s->req);
    lk_buf_fini(&s->broker.told);
    lk_hub_api_free(s->api);
    lk_timer_free(s->look);
    lk_watch_free(s->watch);
    lk_loop_free(s->loop);
    rig_stop(&s->rig);
    return 0;
}

static void
token_make(struct stage *s, const char *resource, const uint8_t *key, const char *name)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, token = LK_BUF_INIT;
    uint64_t expiry_s = (uint64_t)s->rig.now_ms / 1000 + 600;
    uint8_t sig[LK_SAS_SIG_LEN];

    assert_int_equal(lk_sas_string_to_sign(resource, expiry_s, &text), LK_OK);
    assert_int_equal(lk_hmac(LK_SHA256, key, 32, &LK_PART(text.data, text.len), 1, sig), LK_OK);
    assert_int_equal(lk_sas_format(resource, expiry_s, sig, name, &token), LK_OK);
    assert_int_equal(lk_strcpy(s->token, sizeof(s->token), lk_buf_text(&token)), LK_OK);
}

/* Ask and wait; header (may be NULL) is one more of the request. */
static void
ask(struct stage *s, enum lk_http_method method, const char *path, const char *body,
    const struct fake_header *header)
{
    struct lk_surface surface = lk_hub_api_surface(s->api);

    fake_http_fini(&s->req);
    s->req = (struct lk_http_request){.method = method,
                                      .path = path,
                                      .query = VERSION,
                                      .host = RIG_HUB,
                                      .body = body,
                                      .body_len = body == NULL ? 0 : strlen(body)};
    s->req.headers[0] = (struct fake_header){"Authorization", s->token};
    if (header != NULL) {
        s->req.headers[1] = *header;
    }
    s->broker.answers_count = 0;
    lk_buf_reset(&s->broker.told);
    assert_true(surface.serves(surface.ctx, RIG_HUB, path));
    surface.handle(surface.ctx, &s->req);
    lk_timer_arm(s->look, 1);
    assert_int_equal(lk_loop_run(s->loop), LK_OK);
    lk_timer_disarm(s->look);
    assert_int_equal(lk_hub_api_pending(s->api), 0);
}

static void
ask_operator(struct stage *s, enum lk_http_method method, const char *path, const char *body)
{
    token_make(s, RIG_HUB, s->policy_key, POLICY);
    ask(s, method, path, body, NULL);
}

static void
ask_device(struct stage *s, const char *path, const char *body, const struct fake_header *header)
{
    token_make(s, RIG_HUB "/devices/dev-0000", s->device_key, NULL);
    ask(s, LK_HTTP_POST, path, body, header);
}

static const char *
told(struct stage *s)
{
    return lk_buf_text(&s->broker.told);
}

/* ---- methods --------------------------------------------------------------------------------- */

static const char method_path[] = "/twins/dev-0000/methods";
static const char method_body[] = "{\"methodName\":\"reboot\",\"payload\":{\"a\":[1]},"
                                  "\"responseTimeoutInSeconds\":7,\"connectTimeoutInSeconds\":3}";

/* What the device answers is answered, whenever it comes. */
static void
method_answered(void **state)
{
    struct stage *s = *state;

    devices_make(s, "dev-", 1);
    s->broker.status = 207;
    s->broker.payload = "{\"done\":true}";
    for (int at_once = 0; at_once < 2; at_once++) {
        s->broker.at_once = at_once != 0;
        ask_operator(s, LK_HTTP_POST, method_path, method_body);
        fake_http_expect(&s->req, 200, "{\"payload\":{\"done\":true},\"status\":207}");
        assert_string_equal(told(s), RIG_HUB " dev-0000 reboot {\"a\":[1]} 7000 3000\n");
    }
    assert_int_equal(rig_audit_count(&s->rig, "hub.method.call", NULL, 0), 2);
}

/* Each way in which it does not answer has a code of its own. */
static void
method_not_answered(void **state)
{
    static const struct {
        enum lk_err err;
        int status;
        const char *name;
    } rows[] = {
        {LK_ERR_NOT_FOUND, 404, "DeviceNotOnline"},
        {LK_ERR_TIMEOUT, 504, "GatewayTimeout"},
        {LK_ERR_BUSY, 503, "ServiceUnavailable"},
        {LK_ERR_NOMEM, 503, "ServiceUnavailable"},
        {LK_ERR_IO, 500, "ServerError"},
    };
    struct stage *s = *state;

    devices_make(s, "dev-", 1);
    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        char header[64];

        s->broker.err = rows[i].err;
        ask_operator(s, LK_HTTP_POST, method_path, method_body);
        fake_http_expect(&s->req, rows[i].status, rows[i].name);
        (void)snprintf(header, sizeof(header), "iothub-errorcode: %s", rows[i].name);
        fake_http_expect_header(&s->req, header);
    }
}

/* A device cannot put what it likes into our answer. */
static void
method_answered_badly(void **state)
{
    struct stage *s = *state;

    devices_make(s, "dev-", 1);
    s->broker.payload = "1},\"status\":0,\"x\":{\"y\":1";
    ask_operator(s, LK_HTTP_POST, method_path, method_body);
    fake_http_expect(&s->req, 502, "BadDeviceResponse");
    s->broker.payload = "";
    ask_operator(s, LK_HTTP_POST, method_path, method_body);
    fake_http_expect(&s->req, 200, "{\"payload\":null,\"status\":0}");
}

/* A device that there is not is not asked for, and nobody is asked without a broker. */
static void
method_not_asked(void **state)
{
    struct stage *s = *state;

    ask_operator(s, LK_HTTP_POST, method_path, method_body);
    fake_http_expect(&s->req, 404, "DeviceNotFound");
    assert_int_equal(s->broker.answers_count, 0);
    assert_int_equal(rig_audit_count(&s->rig, "hub.method.call", NULL, 0), 0);

    devices_make(s, "dev-", 1);
    lk_hub_api_free(s->api);
    api_open(s, false);
    ask_operator(s, LK_HTTP_POST, method_path, method_body);
    fake_http_expect(&s->req, 503, "no broker");
    fake_http_expect_header(&s->req, "Retry-After: 5");
}

/* ---- telemetry ------------------------------------------------------------------------------- */

static const char events_path[] = "/devices/dev-0000/messages/events";

/* One message goes to the broker as it would be published, and is answered after it is there. */
static void
telemetry_one(void **state)
{
    static const struct fake_header property = {"iothub-app-Alert", "a b"};
    struct stage *s = *state;

    devices_make(s, "dev-", 1);
    for (int at_once = 0; at_once < 2; at_once++) {
        s->broker.at_once = at_once != 0;
        ask_device(s, events_path, "20.5", &property);
        fake_http_expect(&s->req, 204, NULL);
        assert_string_equal(told(s), RIG_HUB " dev-0000 Alert=a%20b 20.5\n");
    }
    s->broker.err = LK_ERR_BUSY;
    ask_device(s, events_path, "20.5", NULL);
    fake_http_expect(&s->req, 503, "ServiceUnavailable");
}

/* A batch goes message by message, and nothing of one that is malformed. */
static void
telemetry_batch(void **state)
{
    static const struct fake_header batch = {"Content-Type",
                                             "application/vnd.microsoft.iothub.json"};
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "[7]",
                                      "[{}]",
                                      "[{\"body\":\"MQ==\"},{\"body\":\"!\"}]",
                                      "[{\"body\":7}]",
                                      "[{\"body\":\"MQ==\",\"properties\":{\"iothub-app-a\":1}}]"};
    struct stage *s = *state;

    devices_make(s, "dev-", 1);
    for (int at_once = 0; at_once < 2; at_once++) {
        s->broker.at_once = at_once != 0;
        ask_device(s, events_path,
                   "[{\"body\":\"MQ==\",\"properties\":{\"iothub-app-k\":\"v\"}},"
                   "{\"body\":\"two\",\"base64Encoded\":false},{\"body\":\"\"}]",
                   &batch);
        fake_http_expect(&s->req, 204, NULL);
        assert_string_equal(told(s), RIG_HUB " dev-0000 k=v 1\n" RIG_HUB " dev-0000  two\n" RIG_HUB
                                             " dev-0000  \n");
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        ask_device(s, events_path, bad[i], &batch);
        fake_http_expect(&s->req, 400, "ArgumentInvalid");
        assert_int_equal(s->broker.answers_count, 0);
    }
}

/* Another device's path is not opened, nor is a disabled one's. */
static void
telemetry_refused(void **state)
{
    struct stage *s = *state;

    devices_make(s, "dev-", 2);
    ask_device(s, "/devices/dev-0001/messages/events", "1", NULL);
    fake_http_expect(&s->req, 401, "IotHubUnauthorizedAccess");
    ask_operator(s, LK_HTTP_PUT, "/devices/dev-0000", "{\"status\":\"disabled\"}");
    fake_http_expect(&s->req, 409, "DeviceAlreadyExists");
    token_make(s, RIG_HUB, s->policy_key, POLICY);
    ask(s, LK_HTTP_PUT, "/devices/dev-0000", "{\"status\":\"disabled\"}",
        &(struct fake_header){"If-Match", "*"});
    fake_http_expect(&s->req, 200, "disabled");
    ask_device(s, events_path, "1", NULL);
    fake_http_expect(&s->req, 401, "IotHubUnauthorizedAccess");
    assert_int_equal(s->broker.answers_count, 0);
}

/* As a registration leaves it: the secondary key goes with the first use of the primary. */
static enum lk_err
renew_run(struct lk_txn *tx, void *arg)
{
    struct lk_identity id;
    enum lk_err err = lk_txn_identity_get(tx, RIG_HUB, "dev-0000", &id);

    if (err != LK_OK) {
        return err;
    }
    id.secondary_retires = true;
    return lk_txn_identity_put(tx, &id, NULL);
}

/* The first request under a new key retires the one before it, and is carried out like any other.
 */
static void
old_key_retires(void **state)
{
    struct stage *s = *state;
    struct lk_identity id;

    devices_make(s, "dev-", 1);
    rig_write(&s->rig, renew_run, NULL);
    assert_int_equal(rig_identity(&s->rig, RIG_HUB, "dev-0000", &id), LK_OK);
    assert_true(id.secondary_len > 0);
    ask_device(s, events_path, "2", NULL);
    fake_http_expect(&s->req, 204, NULL);
    assert_string_equal(told(s), RIG_HUB " dev-0000  2\n");
    assert_int_equal(rig_identity(&s->rig, RIG_HUB, "dev-0000", &id), LK_OK);
    assert_int_equal(id.secondary_len, 0);
}

/* ---- walks ----------------------------------------------------------------------------------- */

/* The device ids of the answer, in order; checks that each is the next one. */
static void
expect_row(struct stage *s, size_t first, size_t count)
{
    LK_AUTO(json) json_t *rows = NULL;

    assert_int_equal(s->req.status, 200);
    assert_int_equal(lk_json_parse(s->req.answer.data, s->req.answer.len, true, NULL, &rows),
                     LK_OK);
    assert_int_equal(json_array_size(rows), count);
    for (size_t i = 0; i < count; i++) {
        char want[16];

        (void)snprintf(want, sizeof(want), "dev-%04zu", first + i);
        assert_string_equal(json_string_value(json_object_get(json_array_get(rows, i), "deviceId")),
                            want);
    }
}

/* A walk whose every turn is over before it is done is whole all the same. */
static void
list_in_turns(void **state)
{
    struct stage *s = *state;

    devices_make(s, "dev-", 450);
    for (int64_t tick_ms = 0; tick_ms < 10; tick_ms += 3) {
        s->tick_ms = tick_ms;
        ask_operator(s, LK_HTTP_GET, "/devices", NULL);
        expect_row(s, 0, 450);
    }
}

/* An empty hub is an empty list, and an empty page. */
static void
nothing(void **state)
{
    struct stage *s = *state;

    ask_operator(s, LK_HTTP_GET, "/devices/", NULL);
    fake_http_expect(&s->req, 200, "[]");
    ask_operator(s, LK_HTTP_POST, "/devices/query", "{\"query\":\"SELECT * FROM devices\"}");
    fake_http_expect(&s->req, 200, "[]");
}

/* A query looks at so many rows and no more; what comes after is a page of its own. */
static void
query_in_turns(void **state)
{
    struct stage *s = *state;

    s->tick_ms = 5;
    devices_make(s, "dev-", 1100);
    ask_operator(s, LK_HTTP_POST, "/devices/query",
                 "{\"query\":\"SELECT * FROM devices WHERE deviceId >= 'dev-0030' AND deviceId < "
                 "'dev-0070'\"}");
    expect_row(s, 30, 40);
    ask_operator(s, LK_HTTP_POST, "/devices/query",
                 "{\"query\":\"SELECT * FROM devices WHERE status = 'disabled'\"}");
    fake_http_expect(&s->req, 200, "[]");
    assert_non_null(strstr(lk_buf_text(&s->req.answer_heads), "x-ms-continuation: "));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(method_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(method_not_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(method_answered_badly, setup, teardown),
        cmocka_unit_test_setup_teardown(method_not_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(telemetry_one, setup, teardown),
        cmocka_unit_test_setup_teardown(telemetry_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(telemetry_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(old_key_retires, setup, teardown),
        cmocka_unit_test_setup_teardown(list_in_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(query_in_turns, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
