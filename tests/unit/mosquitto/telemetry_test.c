/* Tests of src/mosquitto/telemetry.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mosquitto/telemetry.h"

static void
expect(const char *id, const char *props, unsigned marks, const char *topic)
{
    LK_AUTO_BUF struct lk_buf got = LK_BUF_INIT;

    assert_int_equal(
        lk_telemetry_topic("h.test", id, props, strlen(props), (enum lk_telemetry_mark)marks, &got),
        LK_OK);
    assert_string_equal(lk_buf_text(&got), topic);
}

/* Without properties, with the device's, with ours, with both. */
static void
topics(void **state)
{
    expect("dev-1", "", 0, "latchkey/h.test/dev-1/messages/events/");
    expect("dev-1", "a=b&%24.ct=x", 0, "latchkey/h.test/dev-1/messages/events/a=b&%24.ct=x");
    expect("dev-1", "", LK_TELEMETRY_RETAINED,
           "latchkey/h.test/dev-1/messages/events/mqtt-retain=true");
    expect("dev-1", "a=\xc3\xa4", LK_TELEMETRY_RETAINED | LK_TELEMETRY_WILL,
           "latchkey/h.test/dev-1/messages/events/a=\xc3\xa4&mqtt-retain=true&"
           "iothub-MessageType=Will");
}

/* Two ids never share a topic, whatever characters they have. */
static void
ids(void **state)
{
    expect("a+b#c", "", 0, "latchkey/h.test/a%2Bb%23c/messages/events/");
    expect("a%2Bb%23c", "", 0, "latchkey/h.test/a%252Bb%2523c/messages/events/");
    expect("$SYS", "", 0, "latchkey/h.test/$SYS/messages/events/");
}

static void
refuse(const char *props, size_t len)
{
    LK_AUTO_BUF struct lk_buf got = LK_BUF_INIT;

    assert_int_equal(
        lk_telemetry_topic("h.test", "dev-1", props, len, (enum lk_telemetry_mark)0, &got),
        LK_ERR_FORMAT);
}

/* Wildcards, control characters, a NUL and what is not UTF-8. */
static void
bad_properties(void **state)
{
    refuse("a=+", 3);
    refuse("a=#", 3);
    refuse("a=\n", 3);
    refuse("a=\x7f", 3);
    refuse("a=\0", 3);
    refuse("a=\xff", 3);
    refuse("a=\xc3", 3);
    refuse("a=\xed\xa0\x80", 5);     /* a surrogate */
    refuse("a=\xf4\x90\x80\x80", 6); /* past the last code point */
    refuse("a=\xc0\x80", 4);         /* longer than needed */
}

/* The longest topic that MQTT has, and one byte more. */
static void
longest(void **state)
{
    static char props[LK_MQTT_TOPIC_MAX];
    LK_AUTO_BUF struct lk_buf got = LK_BUF_INIT;
    size_t fits = LK_MQTT_TOPIC_MAX - strlen("latchkey/h.test/d/messages/events/");

    memset(props, 'p', sizeof(props));
    assert_int_equal(
        lk_telemetry_topic("h.test", "d", props, fits, (enum lk_telemetry_mark)0, &got), LK_OK);
    assert_int_equal(got.len, LK_MQTT_TOPIC_MAX);
    lk_buf_reset(&got);
    assert_int_equal(
        lk_telemetry_topic("h.test", "d", props, fits + 1, (enum lk_telemetry_mark)0, &got),
        LK_ERR_LIMIT);
}

/* Operators read telemetry and the broker's own figures, and nothing of the devices' topics. */
static void
operators(void **state)
{
    assert_true(lk_operator_filter_ok("latchkey/#"));
    assert_true(lk_operator_filter_ok("latchkey/+/+/messages/events/#"));
    assert_true(lk_operator_filter_ok("$share/g/latchkey/#"));
    assert_true(lk_operator_filter_ok("$SYS/broker/#"));
    assert_false(lk_operator_filter_ok("#"));
    assert_false(lk_operator_filter_ok("+/h.test/#"));
    assert_false(lk_operator_filter_ok("latchkey"));
    assert_false(lk_operator_filter_ok("devices/#"));
    assert_false(lk_operator_filter_ok("$share/g/#"));
    assert_false(lk_operator_filter_ok("$share/g"));
    assert_false(lk_operator_filter_ok("$share/g/$SYS/#"));
    assert_false(lk_operator_filter_ok("$iothub/#"));
    assert_false(lk_operator_filter_ok("$CONTROL/#"));
    assert_false(lk_operator_filter_ok(""));
    assert_true(lk_operator_topic_ok("latchkey/h/d/messages/events/"));
    assert_false(lk_operator_topic_ok("devices/d/messages/events/"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics),  cmocka_unit_test(ids),       cmocka_unit_test(bad_properties),
        cmocka_unit_test(longest), cmocka_unit_test(operators),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
