/* Tests of src/wire/mqtt_name.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "wire/mqtt_name.h"

#define VERSION "?api-version=2021-04-12"

/* ---- user names ------------------------------------------------------------------------------ */

static void
expect_user(const char *text, const char *hub, const char *device_id)
{
    struct lk_mqtt_user user;

    memset(&user, 0x5a, sizeof(user));
    if (lk_mqtt_user_parse(text, strlen(text), &user) != LK_OK) {
        fail_msg("\"%s\" is refused", text);
    }
    assert_string_equal(user.hub, hub);
    assert_string_equal(user.device_id, device_id);
}

/* Refused, and what was in the result stays. */
static void
expect_no_user_of(const char *text, size_t len)
{
    struct lk_mqtt_user user, before;

    memset(&user, 0x5a, sizeof(user));
    before = user;
    if (lk_mqtt_user_parse(text, len, &user) != LK_ERR_FORMAT) {
        fail_msg("\"%s\" is taken", text);
    }
    assert_memory_equal(&user, &before, sizeof(user));
}

static void
expect_no_user(const char *text)
{
    expect_no_user_of(text, strlen(text));
}

/* Nothing at all, parts that are missing, and parts too many: a module is not served. */
static void
user_parts(void **state)
{
    expect_no_user("");
    expect_no_user("/");
    expect_no_user("hub.example.test");
    expect_no_user("hub.example.test/dev-1");
    expect_no_user("hub.example.test/dev-1/");
    expect_no_user("hub.example.test/dev-1/?");
    expect_no_user("hub.example.test//" VERSION);
    expect_no_user("/dev-1/" VERSION);
    expect_no_user("hub.example.test/dev-1" VERSION);
    expect_no_user("hub.example.test/dev-1/module/" VERSION);
    expect_no_user("hub.example.test/dev-1//" VERSION);
    expect_no_user("hub.example.test/dev-1/x&api-version=2021-04-12");
}

/* The version is a date, there once; anything may stand beside it. */
static void
user_version(void **state)
{
    expect_no_user("h/d/?api-version=");
    expect_no_user("h/d/?api-version=2021-04-1");
    expect_no_user("h/d/?api-version=2021-04-122");
    expect_no_user("h/d/?api-version=2021/04/12");
    expect_no_user("h/d/?api-version=2021-04-12-previe");
    expect_no_user("h/d/?api-version=2021-04-12&api-version=2021-04-12");
    expect_no_user("h/d/?model-id=x");
    expect_no_user("h/d/?Api-Version=2021-04-12");
    expect_user("h/d/?api-version=2019-07-01-preview&model-id=dtmi%3Aa%3B1", "h", "d");
    expect_user("h/d/?DeviceClientType=x&api-version=2018-06-30&&y", "h", "d");
}

/* What each client sends. */
static void
user_clients(void **state)
{
    expect_user("hub.example.test/dev-1/?api-version=2021-04-12&DeviceClientType=azure-iot-device"
                "%2F1.18.4%20(node%20v20.0.0%3B%20Linux)",
                "hub.example.test", "dev-1");
    expect_user("hub.example.test/dev-1/?api-version=2020-09-30&DeviceClientType=iothubclient%2f1"
                ".10.0%20(native%3b%20Linux%3b%20x86_64)",
                "hub.example.test", "dev-1");
    expect_user("hub.example.test/dev-1/api-version=2016-11-14", "hub.example.test", "dev-1");
    expect_user("hub.example.test/dev-1/api-version=2016-11-14&DeviceClientType=x",
                "hub.example.test", "dev-1");
}

/* The hub's name has no case; a port is put up with, anything else behind the name is not. */
static void
user_hub(void **state)
{
    expect_user("HUB.Example.TEST/Dev-1/" VERSION, "hub.example.test", "Dev-1");
    expect_user("hub.example.test:8883/dev-1/" VERSION, "hub.example.test", "dev-1");
    expect_user("h:0/d/" VERSION, "h", "d");
    expect_no_user("h:/d/" VERSION);
    expect_no_user("h:888888/d/" VERSION);
    expect_no_user("h:88x/d/" VERSION);
    expect_no_user("h:88:83/d/" VERSION);
    expect_no_user(":8883/d/" VERSION);
    expect_no_user("h h/d/" VERSION);
}

/* Each of an id's characters, the longest id, and one more. */
static void
user_id(void **state)
{
    char text[512], id[LK_DEVICE_ID_MAX + 2];

    expect_user("h/-:.+%_#*?!(),=@;$'/" VERSION, "h", "-:.+%_#*?!(),=@;$'");
    expect_no_user("h/a b/" VERSION);
    expect_no_user("h/a&b/" VERSION);
    expect_no_user_of("h/a\0b/" VERSION, 6 + strlen(VERSION));
    memset(id, 'a', sizeof(id));
    id[LK_DEVICE_ID_MAX + 1] = '\0';
    (void)snprintf(text, sizeof(text), "h/%s/" VERSION, id);
    expect_no_user(text);
    id[LK_DEVICE_ID_MAX] = '\0';
    (void)snprintf(text, sizeof(text), "h/%s/" VERSION, id);
    expect_user(text, "h", id);
}

/* The longest user name, and one byte more. */
static void
user_longest(void **state)
{
    char text[LK_MQTT_USER_NAME_MAX + 2];
    static const char head[] = "h/d/" VERSION "&DeviceClientType=";

    memset(text, 'x', sizeof(text));
    memcpy(text, head, strlen(head));
    text[LK_MQTT_USER_NAME_MAX + 1] = '\0';
    expect_no_user(text);
    text[LK_MQTT_USER_NAME_MAX] = '\0';
    expect_user(text, "h", "d");
}

/* What is made is what is read. */
static void
user_made(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    assert_int_equal(lk_mqtt_user_format("hub.example.test", "a?b=&", "pump/2 (x&y)", &text),
                     LK_OK);
    assert_string_equal(lk_buf_text(&text), "hub.example.test/a?b=&/?api-version=2021-04-12"
                                            "&DeviceClientType=pump%2F2%20%28x%26y%29");
    lk_buf_reset(&text);
    assert_int_equal(lk_mqtt_user_format("hub.example.test", "$(a)", "x", &text), LK_OK);
    expect_user(lk_buf_text(&text), "hub.example.test", "$(a)");
}

/* ---- topics ---------------------------------------------------------------------------------- */

static struct lk_mqtt_publish
taken(const char *device_id, const char *topic)
{
    struct lk_mqtt_publish p;

    memset(&p, 0x5a, sizeof(p));
    if (lk_mqtt_publish_parse(device_id, topic, strlen(topic), &p) != LK_OK) {
        fail_msg("\"%s\" is refused", topic);
    }
    return p;
}

static void
refused_of(const char *device_id, const char *topic, size_t len)
{
    struct lk_mqtt_publish p, before;

    memset(&p, 0x5a, sizeof(p));
    memcpy(&before, &p, sizeof(p));
    if (lk_mqtt_publish_parse(device_id, topic, len, &p) != LK_ERR_REFUSED) {
        fail_msg("\"%s\" is taken", topic);
    }
    assert_memory_equal(&p, &before, sizeof(p));
}

static void
refused(const char *device_id, const char *topic)
{
    refused_of(device_id, topic, strlen(topic));
}

static void
expect_bag(const char *topic, const char *bag)
{
    struct lk_mqtt_publish p = taken("dev-1", topic);

    assert_int_equal(p.kind, LK_MQTT_TELEMETRY);
    assert_int_equal(p.props_len, strlen(bag));
    assert_memory_equal(p.props, bag, strlen(bag));
    assert_null(p.rid);
}

#define EVENTS "devices/dev-1/messages/events"

/* Telemetry: without properties, with them, and with the '/' that some clients put behind. */
static void
telemetry(void **state)
{
    expect_bag(EVENTS, "");
    expect_bag(EVENTS "/", "");
    expect_bag(EVENTS "//", "");
    expect_bag(EVENTS "/a=b", "a=b");
    expect_bag(EVENTS "/a=b/", "a=b");
    expect_bag(EVENTS "/%24.mid=7&%24.ct=application%2Fjson&bare&empty=",
               "%24.mid=7&%24.ct=application%2Fjson&bare&empty=");
    expect_bag(EVENTS "/$.ct=application/json", "$.ct=application/json");
    expect_bag(EVENTS "/&a=b&", "&a=b&");
}

/* Bags that cannot be read are not passed on. */
static void
bad_bags(void **state)
{
    refused("dev-1", EVENTS "/=b");
    refused("dev-1", EVENTS "/a=b&=c");
    refused("dev-1", EVENTS "/a=%");
    refused("dev-1", EVENTS "/a=%2");
    refused("dev-1", EVENTS "/a=%2g");
    refused("dev-1", EVENTS "/a=%00");
    refused("dev-1", EVENTS "/a=\x01");
    refused("dev-1", EVENTS "/a=\x7f");
    refused_of("dev-1", EVENTS "/a=\0", strlen(EVENTS) + 4);
}

/* Another device's topics, by every spelling that comes near, and words that nobody may say. */
static void
not_its_own(void **state)
{
    static const char *const topics[] = {
        "",
        "/",
        "$",
        "#",
        "+",
        "devices",
        "devices/dev-1",
        "devices/dev-1/messages",
        "devices/dev-1/messages/",
        "devices/dev-2/messages/events/",
        "devices/dev-11/messages/events/",
        "devices/dev-/messages/events/",
        "devices/Dev-1/messages/events/",
        "devices/dev%2D1/messages/events/",
        "Devices/dev-1/messages/events/",
        "/devices/dev-1/messages/events/",
        "devices//dev-1/messages/events/",
        "devices/+/messages/events/",
        "devices/dev-1/messages/events/#",
        "devices/dev-1/messages/events/a=+",
        "devices/dev-1/messages/eventsx",
        "devices/dev-1/messages/devicebound/",
        "devices/dev-1/messages/devicebound/a=b",
        "devices/dev-1/modules/m/messages/events/",
        "$SYS/broker/uptime",
        "$share/g/devices/dev-1/messages/events/",
        "$queue/devices/dev-1/messages/events/",
        "$iothub",
        "$iothub/",
        "$iothub/twin/res/200/?$rid=1",
        "$iothub/twin/PATCH/properties/desired/?$version=1",
        "$iothub/methods/POST/reboot/?$rid=1",
        "$iothub/clientproxy/x",
    };

    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        refused("dev-1", topics[i]);
    }
}

/* The longest topic, and one byte more. */
static void
longest_topic(void **state)
{
    static char topic[LK_MQTT_TOPIC_MAX + 2];

    memset(topic, 'x', sizeof(topic) - 1);
    memcpy(topic, EVENTS "/", strlen(EVENTS) + 1);
    refused("dev-1", topic);
    topic[LK_MQTT_TOPIC_MAX] = '\0';
    assert_int_equal(taken("dev-1", topic).kind, LK_MQTT_TELEMETRY);
}

static void
expect_rid(const struct lk_mqtt_publish *p, const char *rid)
{
    assert_int_equal(p->rid_len, strlen(rid));
    assert_memory_equal(p->rid, rid, strlen(rid));
}

/* A twin is asked for, and its reported part patched; a request id comes back as it was. */
static void
twin_topics(void **state)
{
    struct lk_mqtt_publish p = taken("d", "$iothub/twin/GET/?$rid=1");

    assert_int_equal(p.kind, LK_MQTT_TWIN_GET);
    expect_rid(&p, "1");
    p = taken("d", "$iothub/twin/PATCH/properties/reported/?$rid=0a%2F-9&x=y");
    assert_int_equal(p.kind, LK_MQTT_TWIN_REPORTED);
    expect_rid(&p, "0a%2F-9");
    assert_false(p.has_version);
    p = taken("d", "$iothub/twin/PATCH/properties/reported/?$version=7&$rid=r");
    assert_true(p.has_version);
    assert_int_equal(p.version, 7);
    expect_rid(&p, "r");
}

/* A method's result says which call it answers and how it went. */
static void
method_topics(void **state)
{
    struct lk_mqtt_publish p = taken("d", "$iothub/methods/res/200/?$rid=ab");

    assert_int_equal(p.kind, LK_MQTT_METHOD_RESULT);
    assert_int_equal(p.status, 200);
    expect_rid(&p, "ab");
    assert_int_equal(taken("d", "$iothub/methods/res/-1/?$rid=a").status, -1);
    assert_int_equal(taken("d", "$iothub/methods/res/2147483647/?$rid=a").status, INT32_MAX);
    refused("d", "$iothub/methods/res/2147483648/?$rid=a");
    refused("d", "$iothub/methods/res//?$rid=a");
    refused("d", "$iothub/methods/res/-/?$rid=a");
    refused("d", "$iothub/methods/res/2x/?$rid=a");
    refused("d", "$iothub/methods/res/200");
    refused("d", "$iothub/methods/res/200?$rid=a");
}

/* Without a request id, with two, with an empty one or one too long, nothing could be answered. */
static void
request_ids(void **state)
{
    char topic[LK_MQTT_RID_MAX + 64];
    int head = snprintf(topic, sizeof(topic), "$iothub/twin/GET/?$rid=");

    refused("d", "$iothub/twin/GET/");
    refused("d", "$iothub/twin/GET");
    refused("d", "$iothub/twin/GET/?");
    refused("d", "$iothub/twin/GET/?$rid=");
    refused("d", "$iothub/twin/GET/?rid=1");
    refused("d", "$iothub/twin/GET/?$rid=1&$rid=1");
    refused("d", "$iothub/twin/GET/?$rid=1/2");
    refused("d", "$iothub/twin/GET/?$rid=1#");
    refused("d", "$iothub/twin/GET/?$rid=1\n");
    refused("d", "$iothub/twin/GET/?$rid=1&$version=x");
    refused("d", "$iothub/twin/GET/?$rid=1&$version=1&$version=1");
    memset(topic + head, 'r', LK_MQTT_RID_MAX + 1);
    topic[head + (int)LK_MQTT_RID_MAX + 1] = '\0';
    refused("d", topic);
    topic[head + (int)LK_MQTT_RID_MAX] = '\0';
    assert_int_equal(taken("d", topic).rid_len, LK_MQTT_RID_MAX);
}

/* ---- filters --------------------------------------------------------------------------------- */

static void
expect_filter(const char *device_id, const char *filter, enum lk_mqtt_filter_kind kind)
{
    enum lk_mqtt_filter_kind found = 0;

    if (lk_mqtt_filter_parse(device_id, filter, strlen(filter), &found) != LK_OK) {
        fail_msg("\"%s\" is refused", filter);
    }
    assert_int_equal(found, kind);
}

static void
expect_no_filter(const char *device_id, const char *filter)
{
    enum lk_mqtt_filter_kind found = 0;

    if (lk_mqtt_filter_parse(device_id, filter, strlen(filter), &found) != LK_ERR_REFUSED) {
        fail_msg("\"%s\" is taken", filter);
    }
    assert_int_equal(found, 0);
}

/* The four documented filters, and nothing near them. */
static void
filters(void **state)
{
    static const char *const others[] = {
        "",
        "#",
        "+",
        "/#",
        "+/#",
        "devices/#",
        "devices/+/messages/devicebound/#",
        "devices/dev-2/messages/devicebound/#",
        "devices/dev-11/messages/devicebound/#",
        "devices/dev-1/#",
        "devices/dev-1/+/devicebound/#",
        "devices/dev-1/messages/#",
        "devices/dev-1/messages/devicebound",
        "devices/dev-1/messages/devicebound/+",
        "devices/dev-1/messages/devicebound/#/",
        "devices/dev-1/messages/events/#",
        "$share/g/devices/dev-1/messages/devicebound/#",
        "$queue/devices/dev-1/messages/devicebound/#",
        "$SYS/#",
        "$iothub/#",
        "$iothub/twin/#",
        "$iothub/twin/res/+/#",
        "$iothub/twin/res/200/#",
        "$iothub/twin/PATCH/properties/#",
        "$iothub/twin/PATCH/properties/reported/#",
        "$iothub/methods/#",
        "$iothub/methods/POST/reboot/#",
        "$iothub/methods/res/#",
        "$IOTHUB/methods/POST/#",
    };

    expect_filter("dev-1", "devices/dev-1/messages/devicebound/#", LK_MQTT_DEVICEBOUND);
    expect_filter("dev-1", "$iothub/twin/res/#", LK_MQTT_TWIN_ANSWERS);
    expect_filter("dev-1", "$iothub/twin/PATCH/properties/desired/#", LK_MQTT_TWIN_DESIRED);
    expect_filter("dev-1", "$iothub/methods/POST/#", LK_MQTT_METHODS);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        expect_no_filter("dev-1", others[i]);
    }
}

/* An id may be '+' or hold a '#'. In a topic it would stand for every device. */
static void
wildcard_ids(void **state)
{
    assert_true(lk_mqtt_id_has_topics("-:.%_*?!(),=@;$'"));
    assert_false(lk_mqtt_id_has_topics("+"));
    assert_false(lk_mqtt_id_has_topics("a#"));
    expect_no_filter("+", "devices/+/messages/devicebound/#");
    expect_no_filter("#", "devices/#/messages/devicebound/#");
    expect_no_filter("a+b", "devices/a+b/messages/devicebound/#");
    expect_filter("+", "$iothub/methods/POST/#", LK_MQTT_METHODS);
    refused("+", "devices/+/messages/events/");
    assert_int_equal(taken("+", "$iothub/twin/GET/?$rid=1").kind, LK_MQTT_TWIN_GET);
}

/* ---- property bags --------------------------------------------------------------------------- */

struct bag {
    struct lk_mqtt_props it;
    struct lk_buf name, value;
};

static void
expect_next(struct bag *b, const char *name, const char *value)
{
    bool has_value;

    assert_int_equal(lk_mqtt_props_next(&b->it, &b->name, &b->value, &has_value), LK_OK);
    assert_string_equal(lk_buf_text(&b->name), name);
    assert_int_equal(has_value, value != NULL);
    assert_string_equal(lk_buf_text(&b->value), value != NULL ? value : "");
}

static struct bag
bag_of(const char *text)
{
    return (struct bag){.it = lk_mqtt_props_of(text, strlen(text))};
}

static void
expect_end(struct bag *b, enum lk_err err)
{
    bool has_value;

    assert_int_equal(lk_mqtt_props_next(&b->it, &b->name, &b->value, &has_value), err);
    lk_buf_fini(&b->name);
    lk_buf_fini(&b->value);
}

/* Properties come in order, decoded; one without a value differs from one with an empty value. */
static void
properties(void **state)
{
    struct bag b = bag_of("");

    expect_end(&b, LK_ERR_NOT_FOUND);
    b = bag_of("&&");
    expect_end(&b, LK_ERR_NOT_FOUND);
    b = bag_of("%24.ct=application%2fjson&bare&empty=&a=b=c&+=%2B&");
    expect_next(&b, "$.ct", "application/json");
    expect_next(&b, "bare", NULL);
    expect_next(&b, "empty", "");
    expect_next(&b, "a", "b=c");
    expect_next(&b, "+", "+");
    expect_end(&b, LK_ERR_NOT_FOUND);
}

/* What is broken is told, not skipped. */
static void
broken_properties(void **state)
{
    struct bag b = bag_of("=x");

    expect_end(&b, LK_ERR_FORMAT);
    b = bag_of("a=%4");
    expect_end(&b, LK_ERR_FORMAT);
    b = bag_of("a=1&%00=2");
    expect_next(&b, "a", "1");
    expect_end(&b, LK_ERR_FORMAT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_parts),    cmocka_unit_test(user_version),
        cmocka_unit_test(user_clients),  cmocka_unit_test(user_hub),
        cmocka_unit_test(user_id),       cmocka_unit_test(user_longest),
        cmocka_unit_test(user_made),     cmocka_unit_test(telemetry),
        cmocka_unit_test(bad_bags),      cmocka_unit_test(not_its_own),
        cmocka_unit_test(longest_topic), cmocka_unit_test(twin_topics),
        cmocka_unit_test(method_topics), cmocka_unit_test(request_ids),
        cmocka_unit_test(filters),       cmocka_unit_test(wildcard_ids),
        cmocka_unit_test(properties),    cmocka_unit_test(broken_properties),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
