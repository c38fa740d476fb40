/* Tests of src/wire/broker_ask.c, broker_rabbitmq.c, broker_emqx.c and form.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "wire/broker_ask.h"
#include "wire/form.h"

#define HUB "hub.example.test"

/* ---- forms ----------------------------------------------------------------------------------- */

static void
expect_member(const char *form, const char *name, const char *value)
{
    LK_AUTO_BUF struct lk_buf got = LK_BUF_INIT;

    assert_int_equal(lk_form_get(form, strlen(form), name, &got), LK_OK);
    assert_string_equal(lk_buf_text(&got), value);
}

static void
expect_no_member(const char *form, const char *name, enum lk_err err)
{
    LK_AUTO_BUF struct lk_buf got = LK_BUF_INIT;

    assert_int_equal(lk_form_get(form, strlen(form), name, &got), err);
}

/* A member is found by its whole name, decoded, and may be there once. */
static void
forms(void **state)
{
    expect_no_member("", "a", LK_ERR_NOT_FOUND);
    expect_no_member("a", "a", LK_ERR_NOT_FOUND);
    expect_no_member("aa=1&b=a=1", "a", LK_ERR_NOT_FOUND);
    expect_no_member("a=1&a=1", "a", LK_ERR_FORMAT);
    expect_no_member("a=%4", "a", LK_ERR_FORMAT);
    expect_no_member("a=%00", "a", LK_ERR_FORMAT);
    expect_member("a=", "a", "");
    expect_member("&&b=2&a=1+2%2B3%26=&c=%4", "a", "1 2+3&=");
    expect_member("a=x", "a", "x");
}

/* A value fits, or nothing of it is taken. */
static void
form_limit(void **state)
{
    LK_AUTO_BUF struct lk_buf four = {.max = 4}, three = {.max = 3};

    assert_int_equal(lk_form_get("a=abcd", 6, "a", &three), LK_ERR_LIMIT);
    assert_int_equal(three.len, 0);
    assert_int_equal(lk_form_get("a=abc", 5, "a", &four), LK_OK);
}

/* ---- judging --------------------------------------------------------------------------------- */

#define USER "username=hub.example.test%2Fdev-1%2F%3Fapi-version%3D2021-04-12%26x%3Dy"
#define USER_OF(id) "username=hub.example.test%2F" id "%2F%3Fapi-version%3D2021-04-12"

static void
expect(enum lk_broker_question question, const char *text, const char *reason)
{
    struct lk_broker_ask ask;
    enum lk_err err;

    memset(&ask, 0x5a, sizeof(ask));
    err = lk_broker_judge(question, HUB, text, strlen(text), &ask);
    if (err != (reason == NULL ? LK_OK : LK_ERR_REFUSED) ||
        (reason != NULL && strcmp(ask.reason, reason) != 0)) {
        fail_msg("%s: %s, %s", text, lk_err_name(err), ask.reason);
    }
    if (reason != NULL) {
        assert_string_equal(ask.token, "");
    }
}

static void
expect_malformed(enum lk_broker_question question, const char *text)
{
    struct lk_broker_ask ask;

    assert_int_equal(lk_broker_judge(question, HUB, text, strlen(text), &ask), LK_ERR_FORMAT);
    assert_string_equal(ask.token, "");
}

/* Who logs on has to be a device of this hub, by user name and by client id. */
static void
rabbit_user(void **state)
{
    struct lk_broker_ask ask;
    const char *good = USER "&password=a+b%26&vhost=%2F&client_id=dev-1";

    expect(LK_RABBIT_USER, "", "client.user_name");
    expect(LK_RABBIT_USER, "username=dev-1&client_id=dev-1&password=x", "client.user_name");
    expect(LK_RABBIT_USER, "username=other.test%2Fdev-1%2F%3Fapi-version%3D2021-04-12&password=x",
           "client.hub");
    expect(LK_RABBIT_USER, USER "&password=x", "client.client_id");
    expect(LK_RABBIT_USER, USER "&password=x&client_id=", "client.client_id");
    expect(LK_RABBIT_USER, USER "&password=x&client_id=Dev-1", "client.client_id");
    expect(LK_RABBIT_USER, USER "&client_id=dev-1", "token.malformed");
    expect(LK_RABBIT_USER, USER "&client_id=dev-1&password=", "token.malformed");
    expect_malformed(LK_RABBIT_USER, USER "&client_id=dev-1&password=x&password=y");
    expect_malformed(LK_RABBIT_USER, USER "&client_id=dev-1&password=%");
    assert_int_equal(lk_broker_judge(LK_RABBIT_USER, "HUB.example.TEST", good, strlen(good), &ask),
                     LK_OK);
    assert_string_equal(ask.user.device_id, "dev-1");
    assert_string_equal(ask.token, "a b&");
}

/* The longest token, and one byte more. */
static void
rabbit_longest(void **state)
{
    char form[LK_SAS_MAX + 256];
    int head = snprintf(form, sizeof(form), "%s", USER "&client_id=dev-1&password=");

    memset(form + head, 't', LK_SAS_MAX + 1);
    form[head + (int)LK_SAS_MAX + 1] = '\0';
    expect(LK_RABBIT_USER, form, "token.malformed");
    form[head + (int)LK_SAS_MAX] = '\0';
    expect(LK_RABBIT_USER, form, NULL);
}

/* An id with a character that RabbitMQ gives a meaning would be more than one device's. */
static void
rabbit_ids(void **state)
{
    expect(LK_RABBIT_VHOST, USER_OF("a.b"), "client.device_id");
    expect(LK_RABBIT_VHOST, USER_OF("%2A"), "client.device_id");
    expect(LK_RABBIT_VHOST, USER_OF("%2B"), "client.device_id");
    expect(LK_RABBIT_VHOST, USER_OF("%23"), "client.device_id");
    expect(LK_RABBIT_VHOST, USER_OF("-%3A%25_%3F%21%28%29%2C%3D%40%3B%24%27"), NULL);
}

#define RESOURCE(kind, name, permission)                                                           \
    USER "&vhost=%2F&resource=" kind "&name=" name "&permission=" permission

/* The exchange of all topics, to write and read, and the client's own two queues. */
static void
rabbit_resources(void **state)
{
    expect(LK_RABBIT_RESOURCE, RESOURCE("exchange", "amq.topic", "write"), NULL);
    expect(LK_RABBIT_RESOURCE, RESOURCE("exchange", "amq.topic", "read"), NULL);
    expect(LK_RABBIT_RESOURCE, RESOURCE("queue", "mqtt-subscription-dev-1qos0", "configure"), NULL);
    expect(LK_RABBIT_RESOURCE, RESOURCE("queue", "mqtt-subscription-dev-1qos1", "write"), NULL);
    expect(LK_RABBIT_RESOURCE, RESOURCE("queue", "mqtt-subscription-dev-1qos1", "read"), NULL);

    expect(LK_RABBIT_RESOURCE, USER, "right.resource");
    expect(LK_RABBIT_RESOURCE, RESOURCE("exchange", "amq.topic", "configure"), "right.resource");
    expect(LK_RABBIT_RESOURCE, RESOURCE("exchange", "amq.direct", "write"), "right.resource");
    expect(LK_RABBIT_RESOURCE, RESOURCE("exchange", "", "write"), "right.resource");
    expect(LK_RABBIT_RESOURCE, RESOURCE("topic", "amq.topic", "write"), "right.resource");
    expect(LK_RABBIT_RESOURCE, RESOURCE("queue", "amq.topic", "read"), "right.resource");
    expect(LK_RABBIT_RESOURCE, RESOURCE("queue", "mqtt-subscription-dev-2qos1", "read"),
           "right.resource");
    expect(LK_RABBIT_RESOURCE, RESOURCE("queue", "mqtt-subscription-dev-1qos1x", "read"),
           "right.resource");
    expect(LK_RABBIT_RESOURCE, RESOURCE("queue", "mqtt-subscription-dev-1", "read"),
           "right.resource");
    expect(LK_RABBIT_RESOURCE, RESOURCE("queue", "mqtt-subscription-dev-1qos1", "delete"),
           "right.resource");
    expect_malformed(LK_RABBIT_RESOURCE, RESOURCE("exchange", "amq.topic", "write&name=x"));
}

#define TOPIC(permission, key)                                                                     \
    USER "&resource=topic&name=amq.topic&permission=" permission "&routing_key=" key

/* Telemetry to write, cloud-to-device messages to read, and nothing else. */
static void
rabbit_topics(void **state)
{
    static const char *const no_write[] = {
        "",
        "%23",
        "%2A",
        "devices",
        "devices.dev-1",
        "devices.dev-1.messages",
        "devices.dev-1.messages.eventsx",
        "devices.dev-1.messages.devicebound.",
        "devices.dev-2.messages.events.",
        "devices.dev-11.messages.events.",
        "devices.Dev-1.messages.events.",
        "devices.%2A.messages.events.",
        ".devices.dev-1.messages.events.",
        "devices%2Fdev-1%2Fmessages%2Fevents%2F",
        "%24iothub.twin.GET.%3F%24rid=1",
    };
    static const char *const no_read[] = {
        "",
        "%23",
        "devices.%23",
        "devices.%2A.messages.devicebound.%23",
        "devices.dev-2.messages.devicebound.%23",
        "devices.dev-1.%23",
        "devices.dev-1.messages.%23",
        "devices.dev-1.messages.devicebound",
        "devices.dev-1.messages.devicebound.",
        "devices.dev-1.messages.devicebound.%2A",
        "devices.dev-1.messages.events.%23",
        "%24iothub.twin.res.%23",
    };
    char form[512];

    expect(LK_RABBIT_TOPIC, TOPIC("write", "devices.dev-1.messages.events"), NULL);
    expect(LK_RABBIT_TOPIC, TOPIC("write", "devices.dev-1.messages.events."), NULL);
    expect(LK_RABBIT_TOPIC, TOPIC("write", "devices.dev-1.messages.events.%2524.ct=a%2Fb"), NULL);
    expect(LK_RABBIT_TOPIC, TOPIC("read", "devices.dev-1.messages.devicebound.%23"), NULL);
    expect(LK_RABBIT_TOPIC, TOPIC("configure", "devices.dev-1.messages.events."), "right.topic");
    expect(LK_RABBIT_TOPIC,
           USER "&name=other&permission=write&routing_key=devices.dev-1.messages.events.",
           "right.topic");
    for (size_t i = 0; i < LK_ARRAY_LEN(no_write); i++) {
        (void)snprintf(form, sizeof(form), "%s%s", TOPIC("write", ""), no_write[i]);
        expect(LK_RABBIT_TOPIC, form, "right.topic");
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(no_read); i++) {
        (void)snprintf(form, sizeof(form), "%s%s", TOPIC("read", ""), no_read[i]);
        expect(LK_RABBIT_TOPIC, form, "right.topic");
    }
}

#define NAME_OF(id) "hub.example.test/" id "/?api-version=2021-04-12"
#define EMQX(id, client, more)                                                                     \
    "{\"username\":\"" NAME_OF(id) "\",\"clientid\":\"" client "\"" more "}"

/* The same of EMQX's questions, which are JSON. */
static void
emqx_user(void **state)
{
    struct lk_broker_ask ask;
    const char *good = EMQX("a.b", "a.b", ",\"password\":\"x\"");

    expect_malformed(LK_EMQX_AUTHN, "");
    expect_malformed(LK_EMQX_AUTHN, "[]");
    expect_malformed(LK_EMQX_AUTHN, "{\"username\":7}");
    expect_malformed(LK_EMQX_AUTHN, EMQX("dev-1", "dev-1", ",\"password\":7"));
    expect(LK_EMQX_AUTHN, "{}", "client.user_name");
    expect(LK_EMQX_AUTHN, "{\"username\":\"undefined\"}", "client.user_name");
    expect(LK_EMQX_AUTHN, EMQX("dev-1", "dev-2", ",\"password\":\"x\""), "client.client_id");
    expect(LK_EMQX_AUTHN, EMQX("+", "+", ",\"password\":\"x\""), "client.device_id");
    expect(LK_EMQX_AUTHN, EMQX("dev-1", "dev-1", ""), "token.malformed");
    expect(LK_EMQX_AUTHN, EMQX("dev-1", "dev-1", ",\"password\":\"\""), "token.malformed");
    assert_int_equal(lk_broker_judge(LK_EMQX_AUTHN, HUB, good, strlen(good), &ask), LK_OK);
    assert_string_equal(ask.user.device_id, "a.b");
    assert_string_equal(ask.token, "x");
}

#define AUTHZ(action, topic, more)                                                                 \
    EMQX("a.b", "a.b", ",\"action\":\"" action "\",\"topic\":\"" topic "\"" more)

/* Topics as they are, each device only its own, and no QoS 2. */
static void
emqx_topics(void **state)
{
    expect(LK_EMQX_AUTHZ, AUTHZ("publish", "devices/a.b/messages/events/x=y", ""), NULL);
    expect(LK_EMQX_AUTHZ, AUTHZ("publish", "devices/a.b/messages/events/", ",\"qos\":1"), NULL);
    expect(LK_EMQX_AUTHZ, AUTHZ("subscribe", "devices/a.b/messages/devicebound/#", ""), NULL);

    expect(LK_EMQX_AUTHZ, EMQX("a.b", "a.b", ""), "right.topic");
    expect(LK_EMQX_AUTHZ, AUTHZ("", "devices/a.b/messages/events/", ""), "right.topic");
    expect(LK_EMQX_AUTHZ, AUTHZ("subscribe", "devices/a.b/messages/events/#", ""), "right.topic");
    expect(LK_EMQX_AUTHZ, AUTHZ("publish", "devices/a/b/messages/events/", ""), "right.topic");
    expect(LK_EMQX_AUTHZ, AUTHZ("publish", "devices/c/messages/events/", ""), "right.topic");
    expect(LK_EMQX_AUTHZ, AUTHZ("publish", "$iothub/twin/GET/?$rid=1", ""), "right.topic");
    expect(LK_EMQX_AUTHZ, AUTHZ("subscribe", "$iothub/twin/res/#", ""), "right.topic");
    expect(LK_EMQX_AUTHZ, AUTHZ("subscribe", "#", ""), "right.topic");
    expect(LK_EMQX_AUTHZ, AUTHZ("publish", "$delayed/9/devices/a.b/messages/events/", ""),
           "right.topic");
    expect(LK_EMQX_AUTHZ, AUTHZ("publish", "devices/a.b/messages/events/", ",\"qos\":2"),
           "right.topic");
    expect(LK_EMQX_AUTHZ, AUTHZ("publish", "devices/a.b/messages/events/", ",\"qos\":\"2\""),
           "right.topic");
    expect_malformed(LK_EMQX_AUTHZ, EMQX("a.b", "a.b", ",\"action\":1"));
}

/* What EMQX reads: never a superuser, and an end only with a yes that has one. */
static void
emqx_answers(void **state)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;

    assert_int_equal(lk_emqx_answer_format(false, 0, &body), LK_OK);
    assert_string_equal(lk_buf_text(&body), "{\"result\":\"deny\",\"is_superuser\":false}");
    lk_buf_reset(&body);
    assert_int_equal(lk_emqx_answer_format(true, 1900000000, &body), LK_OK);
    assert_string_equal(lk_buf_text(&body),
                        "{\"result\":\"allow\",\"is_superuser\":false,\"expire_at\":1900000000}");
    lk_buf_reset(&body);
    assert_int_equal(lk_emqx_answer_format(true, UINT64_MAX, &body), LK_OK);
    assert_non_null(strstr(lk_buf_text(&body), ":9223372036854775807}"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),         cmocka_unit_test(form_limit),
        cmocka_unit_test(rabbit_user),   cmocka_unit_test(rabbit_longest),
        cmocka_unit_test(rabbit_ids),    cmocka_unit_test(rabbit_resources),
        cmocka_unit_test(rabbit_topics), cmocka_unit_test(emqx_user),
        cmocka_unit_test(emqx_topics),   cmocka_unit_test(emqx_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
