/* Tests of src/link/registry.c: what is sent to a hub, and what of its answers is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "link/registry.h"

#define DEVICE                                                                                     \
    "{\"deviceId\":\"Dev-1\",\"generationId\":\"7\",\"etag\":\"AAAA==\",\"status\":\"disabled\","  \
    "\"statusReason\":\"lost\",\"authentication\":{\"type\":\"sas\",\"symmetricKey\":{"            \
    "\"primaryKey\":\"cHJpbWFyeS1wcmltYXJ5\",\"secondaryKey\":\"\"}},"                             \
    "\"capabilities\":{\"iotEdge\":true},\"cloudToDeviceMessageCount\":3}"

static const uint8_t key_1[] = "0123456789abcdef", key_2[] = "fedcba9876543210";

static const struct lk_hub_identity by_keys = {
    .device_id = "Dev-1", .keys = {key_1, key_2}, .keys_len = {16, 16}};

static void
text_is(struct lk_buf *b, const char *want)
{
    assert_string_equal(lk_buf_text(b), want);
    lk_buf_fini(b);
}

/* ---- what is sent ------------------------------------------------------------------------------
 */

/* A bulk create of one device, with and without a twin; a twin's own members are left out. */
static void
create(void **state)
{
    struct lk_hub_identity id = by_keys;
    struct lk_buf b = LK_BUF_INIT;

    assert_int_equal(lk_registry_create_format(&id, &b), LK_OK);
    text_is(&b, "[{\"id\":\"Dev-1\",\"importMode\":\"create\",\"status\":\"enabled\","
                "\"authentication\":{\"type\":\"sas\",\"symmetricKey\":{"
                "\"primaryKey\":\"MDEyMzQ1Njc4OWFiY2RlZg==\","
                "\"secondaryKey\":\"ZmVkY2JhOTg3NjU0MzIxMA==\"}},"
                "\"capabilities\":{\"iotEdge\":false}}]");
    id.keys_len[1] = 0;
    id.iot_edge = true;
    id.twin = "{\"tags\":{\"a\":{\"b\":null}},\"etag\":\"x\",\"properties\":{\"desired\":{\"n\":1,"
              "\"$version\":4,\"$metadata\":{}},\"reported\":{\"r\":1}}}";
    assert_int_equal(lk_registry_create_format(&id, &b), LK_OK);
    text_is(&b, "[{\"id\":\"Dev-1\",\"importMode\":\"create\",\"status\":\"enabled\","
                "\"authentication\":{\"type\":\"sas\",\"symmetricKey\":{"
                "\"primaryKey\":\"MDEyMzQ1Njc4OWFiY2RlZg==\"}},\"tags\":{\"a\":{\"b\":null}},"
                "\"properties\":{\"desired\":{\"n\":1}},\"capabilities\":{\"iotEdge\":true}}]");
    id.twin = "{\"tags\":{},\"properties\":{}}";
    id.thumbprint = "abcdef0123";
    assert_int_equal(lk_registry_create_format(&id, &b), LK_OK);
    text_is(&b, "[{\"id\":\"Dev-1\",\"importMode\":\"create\",\"status\":\"enabled\","
                "\"authentication\":{\"type\":\"selfSigned\",\"x509Thumbprint\":{"
                "\"primaryThumbprint\":\"ABCDEF0123\"}},\"capabilities\":{\"iotEdge\":true}}]");
}

/* What is no twin is not sent. */
static void
create_misuse(void **state)
{
    static const char *const bad[] = {
        "",    "[]", "{\"tags\":[]}", "{\"properties\":7}", "{\"properties\":{\"desired\":[]}}",
        "{} x"};
    struct lk_hub_identity id = by_keys;
    struct lk_buf b = LK_BUF_INIT;

    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        id.twin = bad[i];
        assert_int_equal(lk_registry_create_format(&id, &b), LK_ERR_FORMAT);
        assert_int_equal(b.len, 0);
    }
}

static enum lk_err
device_parse(const char *text, struct lk_hub_snapshot *s)
{
    char error[LK_JSON_ERROR_CAP] = "";
    enum lk_err err;

    memset(s, 0, sizeof(*s));
    err = lk_registry_device_parse(text, strlen(text), "Dev-1", error, s);
    assert_true(err == LK_OK || error[0] != '\0');
    assert_int_equal(s->found, err == LK_OK);
    return err;
}

/* An update gives back what it read, but the authentication; a read-only member is not sent. */
static void
update(void **state)
{
    struct lk_hub_identity id = by_keys;
    struct lk_hub_snapshot s;
    struct lk_buf b = LK_BUF_INIT;

    assert_int_equal(device_parse(DEVICE, &s), LK_OK);
    assert_string_equal(s.etag, "AAAA==");
    assert_int_equal(s.keys_len[0], 15);
    assert_memory_equal(s.keys[0], "primary-primary", 15);
    assert_int_equal(s.keys_len[1], 0);
    assert_true(s.iot_edge);
    assert_int_equal(lk_registry_update_format(&s, &id, &b), LK_OK);
    text_is(&b, "{\"deviceId\":\"Dev-1\",\"etag\":\"AAAA==\",\"status\":\"disabled\","
                "\"statusReason\":\"lost\",\"capabilities\":{\"iotEdge\":true},"
                "\"authentication\":{\"type\":\"sas\",\"symmetricKey\":{"
                "\"primaryKey\":\"MDEyMzQ1Njc4OWFiY2RlZg==\","
                "\"secondaryKey\":\"ZmVkY2JhOTg3NjU0MzIxMA==\"}}}");
    lk_hub_snapshot_fini(&s);

    assert_int_equal(device_parse("{\"deviceId\":\"Dev-1\",\"etag\":\"e\",\"authentication\":{"
                                  "\"symmetricKey\":null,\"x509Thumbprint\":{"
                                  "\"primaryThumbprint\":\"aB01\",\"secondaryThumbprint\":null}}}",
                                  &s),
                     LK_OK);
    assert_string_equal(s.thumbprints[0], "AB01");
    assert_string_equal(s.thumbprints[1], "");
    id.thumbprint = "cd";
    assert_int_equal(lk_registry_update_format(&s, &id, &b), LK_OK);
    text_is(&b, "{\"deviceId\":\"Dev-1\",\"etag\":\"e\",\"authentication\":{\"type\":"
                "\"selfSigned\",\"x509Thumbprint\":{\"primaryThumbprint\":\"CD\","
                "\"secondaryThumbprint\":\"AB01\"}}}");
    lk_hub_snapshot_fini(&s);
}

/* ---- what is answered --------------------------------------------------------------------------
 */

/* No device, another one, or one whose parts are none: nothing of it is believed. */
static void
device_misuse(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        DEVICE "x",
        "{\"deviceId\":7}",
        "{\"deviceId\":\"dev-1\",\"etag\":\"e\"}", /* case tells devices apart */
        "{\"deviceId\":\"Dev-1\"}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"\"}",
        "{\"deviceId\":\"Dev-1\",\"etag\":7}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"a b\"}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"a\\r\\nX: 1\"}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"a\\\"\"}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"a\\\\\"}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"\\u00e4\"}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"e\",\"authentication\":7}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"e\",\"capabilities\":[]}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"e\",\"authentication\":{\"symmetricKey\":[]}}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"e\",\"authentication\":{\"symmetricKey\":{"
        "\"primaryKey\":\"***\"}}}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"e\",\"authentication\":{\"symmetricKey\":{"
        "\"secondaryKey\":{}}}}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"e\",\"authentication\":{\"x509Thumbprint\":{"
        "\"primaryThumbprint\":\"xyz\"}}}",
        "{\"deviceId\":\"Dev-1\",\"etag\":\"e\",\"authentication\":{\"x509Thumbprint\":{"
        "\"primaryThumbprint\":"
        "\"00000000000000000000000000000000000000000000000000000000000000000\"}}}",
    };
    struct lk_hub_snapshot s;

    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        if (device_parse(bad[i], &s) == LK_OK) {
            fail_msg("taken: %s", bad[i]);
        }
        lk_hub_snapshot_fini(&s);
    }
}

/* A key and an etag at their longest, and one past that. */
static void
device_limits(void **state)
{
    char text[512], etag[LK_HUB_ETAG_CAP + 1], key[96];
    struct lk_hub_snapshot s;

    memset(etag, 'e', sizeof(etag));
    memset(key, 'A', sizeof(key));
    (void)strcpy(key + 84, "AA==");
    etag[LK_HUB_ETAG_CAP - 1] = '\0';
    (void)snprintf(text, sizeof(text),
                   "{\"deviceId\":\"Dev-1\",\"etag\":\"%s\",\"authentication\":{\"symmetricKey\":{"
                   "\"primaryKey\":\"%s\"}}}",
                   etag, key);
    assert_int_equal(device_parse(text, &s), LK_OK);
    assert_int_equal(s.keys_len[0], LK_HUB_DEVICE_KEY_MAX);
    lk_hub_snapshot_fini(&s);
    etag[LK_HUB_ETAG_CAP - 1] = 'e';
    etag[LK_HUB_ETAG_CAP] = '\0';
    (void)snprintf(text, sizeof(text), "{\"deviceId\":\"Dev-1\",\"etag\":\"%s\"}", etag);
    assert_int_equal(device_parse(text, &s), LK_ERR_FORMAT);
    (void)strcpy(key + 84, "AAA=");
    (void)snprintf(text, sizeof(text),
                   "{\"deviceId\":\"Dev-1\",\"etag\":\"e\",\"authentication\":{\"symmetricKey\":{"
                   "\"primaryKey\":\"%s\"}}}",
                   key);
    assert_int_equal(device_parse(text, &s), LK_ERR_FORMAT);
    lk_hub_snapshot_fini(&s);
}

/* A twin as an initial twin's text: tags and desired, without what the hub keeps itself. */
static void
twin(void **state)
{
    char error[LK_JSON_ERROR_CAP];
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_buf b = LK_BUF_INIT;
    static const char whole[] =
        "{\"deviceId\":\"Dev-1\",\"etag\":\"x\",\"tags\":{\"t\":1},\"properties\":{\"desired\":{"
        "\"d\":{\"$lastUpdated\":1},\"$metadata\":{\"d\":{}},\"$version\":9},\"reported\":{}}}";
    static const char none[] = "{\"deviceId\":\"Dev-1\",\"tags\":{},\"properties\":{\"desired\":{"
                               "\"$metadata\":{},\"$version\":1}}}";

    assert_int_equal(lk_registry_twin_parse(whole, strlen(whole), "Dev-1", error, &b), LK_OK);
    text_is(&b, "{\"tags\":{\"t\":1},\"properties\":{\"desired\":{\"d\":{\"$lastUpdated\":1}}}}");
    assert_int_equal(lk_registry_twin_parse(none, strlen(none), "Dev-1", error, &b), LK_OK);
    assert_int_equal(b.len, 0);
    assert_int_equal(lk_registry_twin_parse(whole, strlen(whole), "Dev-2", error, &b),
                     LK_ERR_FORMAT);
    assert_int_equal(
        lk_registry_twin_parse("{\"deviceId\":\"Dev-1\",\"tags\":3}", 29, "Dev-1", error, &b),
        LK_ERR_FORMAT);
    assert_int_equal(lk_buf_puts(&text, "{\"deviceId\":\"Dev-1\",\"tags\":{\"t\":\""), LK_OK);
    for (size_t i = 0; i < LK_REGISTRY_SECTION_MAX; i++) {
        assert_int_equal(lk_buf_put_u8(&text, 'x'), LK_OK);
    }
    assert_int_equal(lk_buf_puts(&text, "\"}}"), LK_OK);
    assert_int_equal(lk_registry_twin_parse(text.data, text.len, "Dev-1", error, &b), LK_ERR_LIMIT);
    assert_int_equal(b.len, 0);
}

static enum lk_err
bulk(const char *text)
{
    char error[LK_JSON_ERROR_CAP] = "";

    return lk_registry_bulk_parse(text, strlen(text), error);
}

#define FAILED(code) "{\"isSuccessful\":false,\"errors\":[{\"errorCode\":" code "}]}"

/* Results by name and by number; what is neither good nor explained is no result. */
static void
results(void **state)
{
    assert_int_equal(bulk(""), LK_ERR_FORMAT);
    assert_int_equal(bulk("{}"), LK_ERR_FORMAT);
    assert_int_equal(bulk("[]"), LK_ERR_FORMAT);
    assert_int_equal(bulk("{\"isSuccessful\":1}"), LK_ERR_FORMAT);
    assert_int_equal(bulk("{\"isSuccessful\":true,\"errors\":{}}"), LK_ERR_FORMAT);
    assert_int_equal(bulk("{\"isSuccessful\":false,\"errors\":[]}"), LK_ERR_FORMAT);
    assert_int_equal(bulk("{\"isSuccessful\":true}"), LK_OK);
    assert_int_equal(bulk("{\"isSuccessful\":true,\"errors\":[],\"warnings\":[]}"), LK_OK);
    assert_int_equal(bulk("{\"isSuccessful\":true,\"errors\":[{}]}"), LK_ERR_UNSUPPORTED);
    assert_int_equal(bulk(FAILED("\"DeviceAlreadyExists\"")), LK_ERR_EXISTS);
    assert_int_equal(bulk(FAILED("409001")), LK_ERR_EXISTS);
    assert_int_equal(bulk(FAILED("\"ThrottlingException\"")), LK_ERR_BUSY);
    assert_int_equal(bulk(FAILED("500001")), LK_ERR_BUSY);
    assert_int_equal(bulk(FAILED("\"ArgumentInvalid\"")), LK_ERR_UNSUPPORTED);
    assert_int_equal(bulk(FAILED("null")), LK_ERR_UNSUPPORTED);
}

static void
error_is(const char *body, const char *want)
{
    char name[LK_REGISTRY_NAME_CAP] = "before";

    lk_registry_error_parse(body, strlen(body), name);
    assert_string_equal(name, want);
}

/* Both forms of an error's body; nothing in a name but letters and digits, and not too many. */
static void
errors(void **state)
{
    char longest[300] = "{\"Message\":\"ErrorCode:";

    error_is("", "");
    error_is("<html>", "");
    error_is("{\"Message\":7}", "");
    error_is("{\"Message\":\"no code\"}", "");
    error_is("{\"Message\":\"ErrorCode:\"}", "");
    error_is("{\"Message\":\"ErrorCode:DeviceNotFound;x is not there\"}", "DeviceNotFound");
    error_is("{\"Message\":\"{\\\"errorCode\\\":404001,\\\"message\\\":\\\"x\\\"}\"}", "404001");
    error_is("{\"Message\":\"{\\\"errorCode\"}", "");
    error_is("{\"errorCode\":401002}", "401002");
    error_is("{\"Message\":\"ErrorCode:Evil\\u001b[2J;\"}", "Evil");
    memset(longest + strlen(longest), 'A', 200);
    (void)strcat(longest, "\"}");
    error_is(longest, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_true(lk_registry_is_device_missing("DeviceNotFound"));
    assert_true(lk_registry_is_device_missing("404001"));
    assert_false(lk_registry_is_device_missing("IotHubNotFound"));
    assert_false(lk_registry_is_device_missing(""));
}

static void
statistics(void **state)
{
    int64_t devices = 0;

    assert_int_equal(lk_registry_statistics_parse("{}", 2, &devices), LK_ERR_FORMAT);
    assert_int_equal(lk_registry_statistics_parse("{\"totalDeviceCount\":\"1\"}", 24, &devices),
                     LK_ERR_FORMAT);
    assert_int_equal(lk_registry_statistics_parse("{\"totalDeviceCount\":17}", 23, &devices),
                     LK_OK);
    assert_int_equal(devices, 17);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create),        cmocka_unit_test(create_misuse),
        cmocka_unit_test(update),        cmocka_unit_test(device_misuse),
        cmocka_unit_test(device_limits), cmocka_unit_test(twin),
        cmocka_unit_test(results),       cmocka_unit_test(errors),
        cmocka_unit_test(statistics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
