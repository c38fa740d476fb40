/*
 * Tests of src/broker: the service's side, asked by a plugin that the test plays over the socket.
 * Whatever it waits for comes within seconds or not at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/broker.h"
#include "hub/message.h"
#include "hub/registry.h"
#include "net/loop.h"
#include "support/rig.h"
#include "wire/plug.h"

#define WAIT_S 30
#define RID "$iothub/methods/POST/reboot/?$rid="

static struct {
    struct rig rig;
    struct lk_broker *broker;
    char socket[108];
} t;

/* ---- devices of the hub ---------------------------------------------------------------------- */

static struct softtpm_opened key = {.key_len = 32};

static enum lk_err
device_create_run(struct lk_txn *tx, void *arg)
{
    struct lk_hub_device d = {.id = {.hub = RIG_HUB, .enabled = true, .auth = LK_AUTH_SAS}};
    enum lk_err err;

    if ((err = lk_strcpy(d.id.device_id, sizeof(d.id.device_id), arg)) == LK_OK &&
        (err = lk_buf_put(&d.keys[0], key.key, key.key_len)) == LK_OK) {
        err = lk_hub_device_create(t.rig.core, tx, &d);
    }
    lk_hub_device_fini(&d);
    return err;
}

static enum lk_err
device_disable_run(struct lk_txn *tx, void *arg)
{
    return lk_hub_device_set_status(t.rig.core, tx, RIG_HUB, arg, false, "");
}

static enum lk_err
device_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_hub_device_delete(t.rig.core, tx, RIG_HUB, arg, NULL);
}

static enum lk_err
message_send_run(struct lk_txn *tx, void *arg)
{
    struct lk_c2d m = {.hub = RIG_HUB, .properties = LK_BUF_INIT, .body = LK_BUF_INIT};
    enum lk_err err;

    if ((err = lk_strcpy(m.device_id, sizeof(m.device_id), arg)) == LK_OK &&
        (err = lk_buf_puts(&m.properties, "a=b")) == LK_OK &&
        (err = lk_buf_puts(&m.body, "hello")) == LK_OK) {
        err = lk_c2d_send(tx, &m);
    }
    lk_c2d_fini(&m);
    return err;
}

static void
change(enum lk_err (*run)(struct lk_txn *tx, void *arg), const char *device_id)
{
    char id[LK_DEVICE_ID_MAX + 1];

    assert_int_equal(lk_strcpy(id, sizeof(id), device_id), LK_OK);
    rig_write(&t.rig, run, id);
}

/* ---- the plugin ------------------------------------------------------------------------------ */

struct plugin {
    int fd;
    struct lk_buf in;
    size_t read; /* bytes of in that the last message took */
};

static struct plugin
plugin_open(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = WAIT_S};
    struct plugin p = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    assert_true(p.fd >= 0);
    assert_int_equal(lk_strcpy(to.sun_path, sizeof(to.sun_path), t.socket), LK_OK);
    assert_int_equal(connect(p.fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(setsockopt(p.fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
    return p;
}

static void
plugin_close(struct plugin *p)
{
    (void)close(p->fd);
    lk_buf_fini(&p->in);
}

static void
say(struct plugin *p, const struct lk_plug_msg *m)
{
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;

    assert_int_equal(lk_plug_write(m, &out), LK_OK);
    assert_int_equal(send(p->fd, out.data, out.len, MSG_NOSIGNAL), out.len);
}

/* The next message; borrows until the next call. */
static struct lk_plug_msg
hear_any(struct plugin *p)
{
    struct lk_plug_msg m;

    lk_buf_consume(&p->in, p->read);
    p->read = 0;
    for (;;) {
        struct lk_reader r = lk_reader_of(p->in.data, p->in.len);
        uint8_t piece[4096];
        ssize_t got;

        if (lk_plug_read(&r, &m) == LK_OK) {
            p->read = p->in.len - r.left;
            return m;
        }
        got = recv(p->fd, piece, sizeof(piece), 0);
        assert_true(got > 0);
        assert_int_equal(lk_buf_put(&p->in, piece, (size_t)got), LK_OK);
    }
}

/* The next one that is no MARK, unless that is wanted; it has to be of that type. */
static struct lk_plug_msg
hear(struct plugin *p, enum lk_plug_type type)
{
    struct lk_plug_msg m;

    do {
        m = hear_any(p);
    } while (m.type == LK_PLUG_MARK && type != LK_PLUG_MARK);
    assert_int_equal(m.type, type);
    return m;
}

static void
hello(struct plugin *p, unsigned kind, uint32_t expected)
{
    const struct lk_plug_msg m = {
        .type = LK_PLUG_HELLO, .hub = RIG_HUB, .serial = LK_PLUG_VERSION, .flags = kind};

    say(p, &m);
    assert_int_equal(hear(p, LK_PLUG_WELCOME).flags, expected);
}

/* The service has to close the connection. */
static void
expect_closed(struct plugin *p)
{
    uint8_t piece[256];
    ssize_t got;

    do {
        got = recv(p->fd, piece, sizeof(piece), 0);
    } while (got > 0);
    assert_int_equal(got, 0);
}

static struct lk_plug_msg
ask(struct plugin *p, const char *device_id, const char *user, const char *secret)
{
    struct lk_plug_msg m = {.type = LK_PLUG_ASK,
                            .name = user,
                            .name_len = strlen(user),
                            .secret = secret,
                            .secret_len = strlen(secret)};

    assert_int_equal(lk_strcpy(m.device_id, sizeof(m.device_id), device_id), LK_OK);
    say(p, &m);
    return hear(p, LK_PLUG_VERDICT);
}

/* A login of device_id that the hub takes; what it is bound to. */
static struct lk_plug_msg
login(const char *device_id)
{
    struct plugin p = plugin_open();
    char user[256], resource[256], token[LK_SAS_MAX + 1];
    struct lk_plug_msg verdict;

    (void)snprintf(user, sizeof(user), "%s/%s/?api-version=2021-04-12", RIG_HUB, device_id);
    (void)snprintf(resource, sizeof(resource), "%s/devices/%s", RIG_HUB, device_id);
    rig_sign(&key, resource, t.rig.now_ms / 1000 + 3600, NULL, token);
    hello(&p, LK_PLUG_ASKS, LK_PLUG_OK);
    verdict = ask(&p, device_id, user, token);
    assert_int_equal(verdict.flags, LK_PLUG_OK);
    plugin_close(&p);
    return verdict;
}

static void
say_session(struct plugin *p, const struct lk_plug_msg *verdict, uint64_t serial, unsigned filters)
{
    struct lk_plug_msg m = *verdict;

    m.type = LK_PLUG_SESSION;
    m.serial = serial;
    m.flags = filters;
    m.number = 60;
    say(p, &m);
}

/* A broker with dev-1 in it, and the service looking for events. */
static struct plugin
stream_open(void)
{
    const struct lk_plug_msg ready = {.type = LK_PLUG_READY};
    struct lk_plug_msg verdict = login("dev-1");
    struct plugin p = plugin_open();

    hello(&p, LK_PLUG_STREAMS, LK_PLUG_OK);
    say_session(&p, &verdict, 1, LK_PLUG_FILTERS_ALL);
    say(&p, &ready);
    (void)hear(&p, LK_PLUG_MARK);
    return p;
}

/* ---- calls of other threads ------------------------------------------------------------------ */

struct outcome {
    struct lk_loop *loop;
    bool done;
    enum lk_err err;
    int status;
    char payload[64];
};

static void
method_done(void *arg, enum lk_err err, int status, const char *payload, size_t payload_len)
{
    struct outcome *o = arg;

    assert_false(o->done);
    o->done = true;
    o->err = err;
    o->status = status;
    assert_true(payload_len < sizeof(o->payload));
    memcpy(o->payload, payload_len > 0 ? payload : "", payload_len);
    lk_loop_stop(o->loop);
}

static void
telemetry_done(void *arg, enum lk_err err)
{
    method_done(arg, err, 0, "", 0);
}

static void
call_method(struct outcome *o, const char *device_id, uint32_t response_ms, uint32_t connect_ms)
{
    const struct lk_method_call call = {.hub = RIG_HUB,
                                        .device_id = device_id,
                                        .name = "reboot",
                                        .payload = "{\"in\":5}",
                                        .payload_len = 8,
                                        .response_timeout_ms = response_ms,
                                        .connect_timeout_ms = connect_ms};
    struct lk_hub_broker hub = lk_broker_hub(t.broker);

    *o = (struct outcome){.loop = o->loop};
    hub.ops->method(hub.ctx, o->loop, &call, method_done, o);
}

static enum lk_err
outcome_of(struct outcome *o)
{
    assert_int_equal(lk_loop_run(o->loop), LK_OK);
    assert_true(o->done);
    return o->err;
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static int
setup(void **state)
{
    struct lk_broker_config config = {.user = "nobody-of-this-name"};
    char error[LK_BROKER_ERROR_CAP] = "";

    memset(&t, 0, sizeof(t));
    memset(key.key, 'k', sizeof(key.key));
    rig_start(&t.rig, NULL);
    (void)snprintf(t.socket, sizeof(t.socket), "%s/s", t.rig.dir);
    config.socket = t.socket;
    config.store = t.rig.store;
    config.ring = t.rig.ring;
    if (lk_broker_new(&config, error, &t.broker) != LK_OK) {
        fail_msg("%s", error);
    }
    assert_int_equal(lk_broker_start(t.broker), LK_OK);
    change(device_create_run, "dev-1");
    return 0;
}

static int
teardown(void **state)
{
    char lock[128];

    assert_int_equal(lk_broker_drain(t.broker), LK_OK);
    lk_broker_free(t.broker);
    (void)snprintf(lock, sizeof(lock), "%s.lock", t.socket);
    (void)unlink(lock);
    rig_stop(&t.rig);
    return 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* The socket is the group's at most; a second service on it waits; paths that cannot be are told.
 */
static void
one_socket(void **state)
{
    struct lk_broker_config config = {
        .socket = t.socket, .user = "root", .store = t.rig.store, .ring = t.rig.ring};
    struct lk_broker *second = NULL;
    char error[LK_BROKER_ERROR_CAP] = "", far[256];
    struct plugin p;
    struct stat st;

    assert_int_equal(stat(t.socket, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(lk_broker_new(&config, error, &second), LK_OK);
    p = plugin_open(); /* still the first one's */
    hello(&p, LK_PLUG_ASKS, LK_PLUG_OK);
    plugin_close(&p);
    lk_broker_free(second);

    memset(far, 'x', sizeof(far));
    far[0] = '/';
    far[sizeof(far) - 1] = '\0';
    config.socket = far;
    assert_int_equal(lk_broker_new(&config, error, &second), LK_ERR_CONFIG);
    config.socket = "/nowhere/at/all";
    assert_int_equal(lk_broker_new(&config, error, &second), LK_ERR_IO);
}

/* No hello, another version, no kind, no hub; then what a plugin does not say. */
static void
not_a_plugin(void **state)
{
    static const struct lk_plug_msg wrong[] = {
        {.type = LK_PLUG_READY},
        {.type = LK_PLUG_HELLO, .hub = RIG_HUB, .serial = 99, .flags = LK_PLUG_ASKS},
        {.type = LK_PLUG_HELLO, .hub = RIG_HUB, .serial = LK_PLUG_VERSION, .flags = 7},
        {.type = LK_PLUG_HELLO, .hub = "", .serial = LK_PLUG_VERSION, .flags = LK_PLUG_ASKS},
    };
    static const struct lk_plug_msg mark = {.type = LK_PLUG_MARK};
    struct plugin p;

    for (size_t i = 0; i < LK_ARRAY_LEN(wrong); i++) {
        p = plugin_open();
        say(&p, &wrong[i]);
        expect_closed(&p);
        plugin_close(&p);
    }
    for (unsigned kind = LK_PLUG_ASKS; kind <= LK_PLUG_STREAMS; kind++) {
        p = plugin_open();
        hello(&p, kind, LK_PLUG_OK);
        say(&p, &mark);
        expect_closed(&p);
        plugin_close(&p);
    }
}

/* What is asked about is the device that user name, client id and token name together. */
static void
verdicts(void **state)
{
    const char *user = RIG_HUB "/dev-1/?api-version=2021-04-12";
    char token[LK_SAS_MAX + 1], other[LK_SAS_MAX + 1];
    struct plugin p = plugin_open();
    struct lk_plug_msg v;

    rig_sign(&key, RIG_HUB "/devices/dev-1", t.rig.now_ms / 1000 + 3600, NULL, token);
    rig_sign(&key, RIG_HUB "/devices/dev-2", t.rig.now_ms / 1000 + 3600, NULL, other);
    hello(&p, LK_PLUG_ASKS, LK_PLUG_OK);
    v = ask(&p, "dev-1", user, token);
    assert_int_equal(v.flags, LK_PLUG_OK);
    assert_string_equal(v.device_id, "dev-1");
    assert_int_equal(v.number, t.rig.now_ms / 1000 + 3600);
    assert_true(strlen(v.generation) > 0 && strlen(v.etag) > 0);
    assert_int_equal(ask(&p, "dev-2", user, token).flags, LK_PLUG_REFUSED);
    assert_int_equal(ask(&p, "dev-1", user, other).flags, LK_PLUG_REFUSED);
    assert_int_equal(ask(&p, "dev-1", user, "").flags, LK_PLUG_REFUSED);
    assert_int_equal(ask(&p, "dev-1", "h2.test/dev-1/?api-version=2021-04-12", token).flags,
                     LK_PLUG_REFUSED);
    assert_int_equal(ask(&p, "dev-1", user, token).flags, LK_PLUG_OK);
    plugin_close(&p);
}

/* A hub has one broker; another is welcome when that has gone. */
static void
one_broker(void **state)
{
    const struct lk_plug_msg m = {
        .type = LK_PLUG_HELLO, .hub = RIG_HUB, .serial = LK_PLUG_VERSION, .flags = LK_PLUG_STREAMS};
    struct plugin first = plugin_open(), second = plugin_open();
    bool welcome = false;

    hello(&first, LK_PLUG_STREAMS, LK_PLUG_OK);
    hello(&second, LK_PLUG_STREAMS, LK_PLUG_REFUSED);
    expect_closed(&second);
    plugin_close(&second);
    plugin_close(&first);
    for (int i = 0; i < WAIT_S * 10 && !welcome; i++) {
        second = plugin_open();
        say(&second, &m);
        welcome = hear(&second, LK_PLUG_WELCOME).flags == LK_PLUG_OK;
        plugin_close(&second);
        (void)usleep(welcome ? 0 : 100000);
    }
    assert_true(welcome);
}

/* A ban and a deletion reach the session that they are about. */
static void
cut(void **state)
{
    struct plugin p = stream_open();
    struct lk_plug_msg m;

    change(device_disable_run, "dev-1");
    m = hear(&p, LK_PLUG_KICK);
    assert_string_equal(m.device_id, "dev-1");
    assert_int_equal(m.serial, 1);
    assert_int_equal(m.flags, 0);
    change(device_delete_run, "dev-1");
    assert_int_equal(hear(&p, LK_PLUG_KICK).flags, LK_PLUG_FORGET);
    plugin_close(&p);
}

/* A session of an identity that was banned while nobody looked is cut when the stream begins. */
static void
cut_at_the_beginning(void **state)
{
    const struct lk_plug_msg ready = {.type = LK_PLUG_READY};
    struct lk_plug_msg verdict = login("dev-1");
    struct plugin p = plugin_open();

    change(device_disable_run, "dev-1");
    hello(&p, LK_PLUG_STREAMS, LK_PLUG_OK);
    say_session(&p, &verdict, 4, 0);
    say(&p, &ready);
    assert_int_equal(hear(&p, LK_PLUG_KICK).serial, 4);
    plugin_close(&p);
}

static void
say_result(struct plugin *p, const char *device_id, uint64_t serial, const char *topic)
{
    struct lk_plug_msg m = {.type = LK_PLUG_REQUEST,
                            .serial = serial,
                            .topic = topic,
                            .topic_len = strlen(topic),
                            .body = "{}",
                            .body_len = 2};

    assert_int_equal(lk_strcpy(m.device_id, sizeof(m.device_id), device_id), LK_OK);
    say(p, &m);
}

/* Asked, and answered by the session that was asked: what others say does not count. */
static void
method(void **state)
{
    struct plugin p = stream_open();
    LK_AUTO(lk_loop) struct lk_loop *loop = NULL;
    struct lk_plug_msg verdict, m;
    char topic[128], wrong[128];
    struct outcome o;

    change(device_create_run, "dev-2");
    verdict = login("dev-2");
    say_session(&p, &verdict, 2, LK_PLUG_FILTERS_ALL);
    assert_int_equal(lk_loop_new(&loop), LK_OK);
    o.loop = loop;
    call_method(&o, "dev-1", 60000, 0);
    m = hear(&p, LK_PLUG_PUSH);
    assert_string_equal(m.device_id, "dev-1");
    assert_int_equal(m.flags, 1u << LK_MQTT_METHODS);
    assert_memory_equal(m.topic, RID, strlen(RID));
    assert_memory_equal(m.body, "{\"in\":5}", 8);
    (void)snprintf(topic, sizeof(topic), "$iothub/methods/res/201/?$rid=%.*s",
                   (int)(m.topic_len - strlen(RID)), m.topic + strlen(RID));
    (void)snprintf(wrong, sizeof(wrong), "$iothub/methods/res/500/?$rid=%.*s",
                   (int)(m.topic_len - strlen(RID)), m.topic + strlen(RID));
    say_result(&p, "dev-2", 2, wrong);
    say_result(&p, "dev-1", 9, wrong);
    say_result(&p, "dev-1", 1, "$iothub/methods/res/500/?$rid=0");
    say_result(&p, "dev-1", 1, "$iothub/methods/res/500/?$rid=nothing");
    say_result(&p, "dev-1", 1, topic);
    assert_int_equal(outcome_of(&o), LK_OK);
    assert_int_equal(o.status, 201);
    assert_string_equal(o.payload, "{}");
    plugin_close(&p);
}

/* No broker, nobody there, no answer; one that waits for its device; a broker that goes. */
static void
method_without_answer(void **state)
{
    LK_AUTO(lk_loop) struct lk_loop *loop = NULL;
    struct lk_plug_msg verdict;
    struct plugin p;
    struct outcome o;

    assert_int_equal(lk_loop_new(&loop), LK_OK);
    o.loop = loop;
    call_method(&o, "dev-1", 60000, 60000);
    assert_int_equal(outcome_of(&o), LK_ERR_BUSY);

    p = stream_open();
    call_method(&o, "dev-2", 60000, 0);
    assert_int_equal(outcome_of(&o), LK_ERR_NOT_FOUND);
    call_method(&o, "dev-2", 60000, 1);
    assert_int_equal(outcome_of(&o), LK_ERR_NOT_FOUND);
    call_method(&o, "dev-1", 1, 0);
    assert_int_equal(outcome_of(&o), LK_ERR_TIMEOUT);
    (void)hear(&p, LK_PLUG_PUSH);

    change(device_create_run, "dev-2");
    verdict = login("dev-2");
    call_method(&o, "dev-2", 60000, 60000);
    say_session(&p, &verdict, 2, 1u << LK_MQTT_METHODS);
    assert_string_equal(hear(&p, LK_PLUG_PUSH).device_id, "dev-2");
    plugin_close(&p);
    assert_int_equal(outcome_of(&o), LK_ERR_BUSY);
}

/* Telemetry by HTTPS is with the broker when the broker says so. */
static void
telemetry(void **state)
{
    const struct lk_telemetry one = {.hub = RIG_HUB,
                                     .device_id = "dev-1",
                                     .properties = "a=b",
                                     .body = (const uint8_t *)"x",
                                     .body_len = 1};
    struct lk_hub_broker hub = lk_broker_hub(t.broker);
    struct lk_plug_msg m, taken = {.type = LK_PLUG_TAKEN};
    LK_AUTO(lk_loop) struct lk_loop *loop = NULL;
    struct outcome o = {.done = false};
    struct plugin p = stream_open();

    assert_int_equal(lk_loop_new(&loop), LK_OK);
    o.loop = loop;
    hub.ops->telemetry(hub.ctx, loop, &one, telemetry_done, &o);
    m = hear(&p, LK_PLUG_PUBLISH);
    assert_string_equal(m.device_id, "dev-1");
    assert_memory_equal(m.topic, "a=b", 3);
    assert_memory_equal(m.body, "x", 1);
    taken.number = m.number + 7; /* of nobody */
    say(&p, &taken);
    taken.number = m.number;
    say(&p, &taken);
    assert_int_equal(outcome_of(&o), LK_OK);
    plugin_close(&p);
}

static enum lk_err
waiting_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_c2d_count(tx, RIG_HUB, "dev-1", arg);
}

static void
expect_waiting(uint32_t expected)
{
    uint32_t count = UINT32_MAX;

    for (int i = 0; i < WAIT_S * 10 && count != expected; i++) {
        (void)usleep(i == 0 ? 0 : 100000);
        rig_read(&t.rig, waiting_run, &count);
    }
    assert_int_equal(count, expected);
}

/* Handed out, given back when the session ends, handed out again, and complete once it was heard.
 */
static void
messages(void **state)
{
    const struct lk_plug_msg gone = {.type = LK_PLUG_GONE, .device_id = "dev-1", .serial = 1};
    const struct lk_plug_msg heard = {.type = LK_PLUG_HEARD, .device_id = "dev-1", .serial = 2};
    struct lk_plug_msg verdict = login("dev-1"), m;
    struct plugin p = stream_open();

    change(message_send_run, "dev-1");
    m = hear(&p, LK_PLUG_PUSH);
    assert_int_equal(m.flags, 1u << LK_MQTT_DEVICEBOUND | LK_PLUG_QOS1 | LK_PLUG_TELL);
    assert_int_equal(m.topic_len, strlen("devices/dev-1/messages/devicebound/a=b"));
    assert_memory_equal(m.topic, "devices/dev-1/messages/devicebound/a=b", m.topic_len);
    assert_memory_equal(m.body, "hello", 5);
    expect_waiting(1);
    say(&p, &gone);
    say_session(&p, &verdict, 2, 1u << LK_MQTT_DEVICEBOUND);
    assert_int_equal(hear(&p, LK_PLUG_PUSH).serial, 2);
    expect_waiting(1);
    (void)usleep(1100000); /* what it says at once may have been on its way before */
    say(&p, &heard);
    expect_waiting(0);
    plugin_close(&p);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(one_socket), CASE(not_a_plugin),
        CASE(verdicts),   CASE(one_broker),
        CASE(cut),        CASE(cut_at_the_beginning),
        CASE(method),     CASE(method_without_answer),
        CASE(telemetry),  CASE(messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
