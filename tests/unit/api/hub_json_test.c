/* Tests of src/api/hub_json.c, hub_bulk_json.c, hub_twin_json.c and hub_error.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/hub_json.h"

#define KEY_16 "AAAAAAAAAAAAAAAAAAAAAA==" /* 16 bytes */
#define KEY_15 "AAAAAAAAAAAAAAAAAAAA"
#define SHA1 "0123456789abcdef0123456789ABCDEF01234567"

static json_t *
json_of(const char *text)
{
    json_t *value = NULL;

    assert_int_equal(lk_json_parse(text, strlen(text), true, NULL, &value), LK_OK);
    return value;
}

static const char *
text_of(json_t *object, struct lk_buf *buf)
{
    lk_buf_reset(buf);
    assert_int_equal(lk_json_write(object, buf), LK_OK);
    return lk_buf_text(buf);
}

static enum lk_err
device_parse(const char *text, struct lk_svc_fault *fault, struct lk_device_doc *doc)
{
    json_t *object = json_of(text);
    enum lk_err err = lk_device_json_parse(object, "dev-1", fault, doc);

    json_decref(object);
    return err;
}

/* What is left out is not there to overwrite what a device has. */
static void
device_left_out(void **state)
{
    struct lk_svc_fault fault;
    struct lk_device_doc doc;
    struct lk_hub_device d = {.id = {.enabled = false,
                                     .auth = LK_AUTH_SELF_SIGNED,
                                     .thumbprints = {"AA"},
                                     .status_reason = "stolen",
                                     .iot_edge = true}};

    lk_device_doc_init(&doc);
    assert_int_equal(device_parse("{}", &fault, &doc), LK_OK);
    assert_string_equal(doc.d.id.device_id, "dev-1");
    assert_false(doc.has_status || doc.has_reason || doc.has_auth || doc.has_edge);
    assert_int_equal(lk_device_doc_apply(&doc, &d), LK_OK);
    assert_false(d.id.enabled);
    assert_true(d.id.iot_edge);
    assert_int_equal(d.id.auth, LK_AUTH_SELF_SIGNED);
    assert_string_equal(d.id.status_reason, "stolen");
    assert_string_equal(d.id.thumbprints[0], "AA");
    lk_hub_device_fini(&d);
    lk_device_doc_fini(&doc);
}

/* Everything that an operator may give. */
static void
device_whole(void **state)
{
    struct lk_svc_fault fault;
    struct lk_device_doc doc;
    struct lk_hub_device d = {.id = {.enabled = true, .auth = LK_AUTH_SAS}};

    lk_device_doc_init(&doc);
    assert_int_equal(device_parse("{\"deviceId\":\"dev-1\",\"etag\":\"\\\"abc\\\"\",\"status\":"
                                  "\"Disabled\",\"statusReason\":\"stolen\",\"authentication\":{"
                                  "\"type\":\"SAS\",\"symmetricKey\":{\"primaryKey\":\"" KEY_16
                                  "\",\"secondaryKey\":\"\"}},\"capabilities\":{\"iotEdge\":true},"
                                  "\"aMemberOfALaterVersion\":{}}",
                                  &fault, &doc),
                     LK_OK);
    assert_string_equal(doc.etag, "abc");
    assert_int_equal(lk_device_doc_apply(&doc, &d), LK_OK);
    assert_false(d.id.enabled);
    assert_true(d.id.iot_edge);
    assert_int_equal(d.keys[0].len, 16);
    assert_int_equal(d.keys[1].len, 0); /* empty means: make one */
    lk_hub_device_fini(&d);
    assert_int_equal(device_parse("{\"authentication\":{\"x509Thumbprint\":{\"primaryThumbprint\":"
                                  "\"" SHA1 "\",\"secondaryThumbprint\":null}}}",
                                  &fault, &doc),
                     LK_OK);
    assert_int_equal(doc.d.id.auth, LK_AUTH_SELF_SIGNED); /* by what it gives */
    assert_string_equal(doc.d.id.thumbprints[0], "0123456789ABCDEF0123456789ABCDEF01234567");
    lk_device_doc_fini(&doc);
}

/* A mistake is told by the member's name. */
static void
device_refused(void **state)
{
    static const struct {
        const char *text, *member;
    } bad[] = {
        {"{\"deviceId\":\"dev-2\"}", "deviceId"},
        {"{\"deviceId\":\"\"}", "deviceId"},
        {"{\"deviceId\":7}", "deviceId"},
        {"{\"deviceId\":\"DEV-1\"}", "deviceId"},
        {"{\"status\":\"perhaps\"}", "status"},
        {"{\"status\":true}", "status"},
        {"{\"statusReason\":[]}", "statusReason"},
        {"{\"authentication\":[]}", "authentication"},
        {"{\"authentication\":{\"type\":\"tpm\"}}", "authentication.type"},
        {"{\"authentication\":{\"type\":\"selfSigned\"}}", "x509Thumbprint"},
        {"{\"authentication\":{\"symmetricKey\":{\"primaryKey\":\"" KEY_15 "\"}}}", "primaryKey"},
        {"{\"authentication\":{\"symmetricKey\":{\"secondaryKey\":\"!\"}}}", "secondaryKey"},
        {"{\"authentication\":{\"x509Thumbprint\":{\"primaryThumbprint\":\"abc\"}}}",
         "primaryThumbprint"},
        {"{\"capabilities\":{\"iotEdge\":1}}", "iotEdge"},
        {"{\"etag\":1}", "etag"},
    };
    struct lk_device_doc doc;

    lk_device_doc_init(&doc);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        struct lk_svc_fault fault = {.code = 0};

        assert_int_equal(device_parse(bad[i].text, &fault, &doc), LK_ERR_FORMAT);
        assert_int_equal(fault.code, LK_HUBE_ARGUMENT);
        if (strstr(fault.message, bad[i].member) == NULL) {
            fail_msg("%s: %s", bad[i].text, fault.message);
        }
    }
    lk_device_doc_fini(&doc);
}

/* The longest reason and the largest key, and one more of each. */
static void
device_limits(void **state)
{
    struct lk_svc_fault fault;
    struct lk_device_doc doc;
    char text[512], reason[LK_STATUS_REASON_MAX + 2], key[96];

    lk_device_doc_init(&doc);
    memset(reason, 'r', sizeof(reason));
    reason[LK_STATUS_REASON_MAX] = '\0';
    memset(key, 'A', 86);
    memcpy(key + 86, "==", 3); /* 64 bytes */
    (void)snprintf(text, sizeof(text),
                   "{\"statusReason\":\"%s\",\"authentication\":{\"symmetricKey\":{\"primaryKey\":"
                   "\"%s\"}}}",
                   reason, key);
    assert_int_equal(device_parse(text, &fault, &doc), LK_OK);
    assert_int_equal(doc.d.keys[0].len, 64);

    memcpy(key + 86, "A=", 3); /* 65 bytes */
    (void)snprintf(text, sizeof(text),
                   "{\"authentication\":{\"symmetricKey\":{\"primaryKey\":\"%s\"}}}", key);
    assert_int_equal(device_parse(text, &fault, &doc), LK_ERR_FORMAT);
    reason[LK_STATUS_REASON_MAX] = 'r';
    reason[LK_STATUS_REASON_MAX + 1] = '\0';
    (void)snprintf(text, sizeof(text), "{\"statusReason\":\"%s\"}", reason);
    assert_int_equal(device_parse(text, &fault, &doc), LK_ERR_FORMAT);
    lk_device_doc_fini(&doc);
}

/* What is answered has every member that SDKs look at, with null and the year 1 for what is not. */
static void
device_encoded(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(json) json_t *object = json_object();
    struct lk_hub_device d = {.id = {.device_id = "dev-1",
                                     .generation_id = "g",
                                     .etag = "e",
                                     .enabled = true,
                                     .auth = LK_AUTH_SAS},
                              .c2d_count = 3};

    assert_int_equal(lk_buf_puts(&d.keys[0], "0123456789abcdef"), LK_OK);
    assert_int_equal(lk_device_json_put(&d, object), LK_OK);
    assert_string_equal(
        text_of(object, &text),
        "{\"deviceId\":\"dev-1\",\"status\":\"enabled\",\"statusReason\":null,"
        "\"statusUpdatedTime\":\"0001-01-01T00:00:00\",\"capabilities\":{\"iotEdge\":false},"
        "\"generationId\":\"g\",\"etag\":\"e\",\"connectionStateUpdatedTime\":"
        "\"0001-01-01T00:00:00\",\"connectionState\":\"Disconnected\",\"lastActivityTime\":"
        "\"0001-01-01T00:00:00\",\"cloudToDeviceMessageCount\":3,\"authentication\":{"
        "\"symmetricKey\":{\"primaryKey\":\"MDEyMzQ1Njc4OWFiY2RlZg==\",\"secondaryKey\":null},"
        "\"x509Thumbprint\":{\"primaryThumbprint\":null,\"secondaryThumbprint\":null},\"type\":"
        "\"sas\"}}");
    lk_hub_device_fini(&d);
}

static enum lk_err
import_parse(const char *text, struct lk_svc_fault *fault, struct lk_import_doc *doc, json_t **ret)
{
    *ret = json_of(text);
    return lk_import_json_parse(*ret, fault, doc);
}

/* Modes and names of etags are taken as each SDK spells them. */
static void
import_spellings(void **state)
{
    static const struct {
        const char *text;
        enum lk_import_mode mode;
    } good[] = {
        {"{\"id\":\"d\"}", LK_IMPORT_CREATE_OR_UPDATE},
        {"{\"id\":\"d\",\"importMode\":\"create\"}", LK_IMPORT_CREATE},
        {"{\"id\":\"d\",\"importMode\":\"Update\"}", LK_IMPORT_UPDATE},
        {"{\"id\":\"d\",\"importMode\":\"UpdateIfMatchETag\",\"etag\":\"x\"}",
         LK_IMPORT_UPDATE_IF_MATCH},
        {"{\"id\":\"d\",\"importMode\":\"createOrUpdateIfMatchETag\",\"eTag\":\"x\"}",
         LK_IMPORT_CREATE_OR_UPDATE_IF_MATCH},
        {"{\"id\":\"d\",\"importMode\":\"Delete\"}", LK_IMPORT_DELETE},
        {"{\"id\":\"d\",\"importMode\":\"DELETEIFMATCHETAG\",\"ETag\":\"\\\"x\\\"\"}",
         LK_IMPORT_DELETE_IF_MATCH},
        {"{\"deviceId\":\"d\",\"importMode\":\"updateTwin\"}", LK_IMPORT_UPDATE_TWIN},
        {"{\"id\":\"d\",\"importMode\":\"updateTwinIfMatchETag\",\"twinEtag\":\"x\"}",
         LK_IMPORT_UPDATE_TWIN_IF_MATCH},
    };
    struct lk_import_doc doc;

    lk_import_doc_init(&doc);
    for (size_t i = 0; i < LK_ARRAY_LEN(good); i++) {
        struct lk_svc_fault fault = {.code = 0};
        json_t *object;

        if (import_parse(good[i].text, &fault, &doc, &object) != LK_OK) {
            fail_msg("%s: %s", good[i].text, fault.message);
        }
        assert_int_equal(doc.mode, good[i].mode);
        assert_string_equal(doc.device.d.id.device_id, "d");
        json_decref(object);
    }
    lk_import_doc_fini(&doc);
}

/* A condition without an etag, a mode that there is not, a section beyond its limits. */
static void
import_refused(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"id\":\"d\",\"deviceId\":\"e\"}",
        "{\"id\":\"d\",\"importMode\":\"destroy\"}",
        "{\"id\":\"d\",\"importMode\":\"updateIfMatchETag\"}",
        "{\"id\":\"d\",\"importMode\":\"deleteIfMatchETag\",\"etag\":\"\"}",
        "{\"id\":\"d\",\"importMode\":\"updateTwinIfMatchETag\",\"eTag\":\"x\"}",
        "{\"id\":\"d\",\"eTag\":7}",
        "{\"id\":\"d\",\"tags\":[]}",
        "{\"id\":\"d\",\"tags\":{\"a.b\":1}}",
        "{\"id\":\"d\",\"properties\":{\"desired\":{\"n\":9007199254740993}}}",
        "{\"id\":\"d\",\"properties\":{\"reported\":{\"$x\":1}}}",
    };
    struct lk_import_doc doc;

    lk_import_doc_init(&doc);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        struct lk_svc_fault fault = {.code = 0};
        json_t *object;

        if (import_parse(bad[i], &fault, &doc, &object) != LK_ERR_FORMAT || fault.code == 0) {
            fail_msg("%s was taken", bad[i]);
        }
        json_decref(object);
    }
    lk_import_doc_fini(&doc);
}

/* The errors of a result name device, code and what is wrong. */
static void
import_result(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_svc_fault fault = {.code = LK_HUBE_EXISTS, .message = "m"};
    json_t *errors = json_array();

    assert_int_equal(lk_import_result_format(json_array(), &text), LK_OK);
    assert_string_equal(lk_buf_text(&text),
                        "{\"isSuccessful\":true,\"errors\":[],\"warnings\":[]}");
    lk_buf_reset(&text);
    assert_int_equal(lk_import_error_put("d", &fault, errors), LK_OK);
    assert_int_equal(lk_import_result_format(errors, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text),
                        "{\"isSuccessful\":false,\"errors\":[{\"deviceId\":\"d\",\"errorCode\":"
                        "\"DeviceAlreadyExists\",\"errorStatus\":\"m\"}],\"warnings\":[]}");
}

/* A fragment's sections; reported ones are not an operator's to write. */
static void
twin_fragment(void **state)
{
    struct lk_svc_fault fault = {.code = 0};
    struct lk_twin_patch patch;
    json_t *object = json_of("{\"etag\":\"x\",\"tags\":{\"a\":null},\"properties\":{\"desired\":"
                             "{\"$version\":3,\"b\":1},\"reported\":{\"c\":1}}}");

    assert_int_equal(lk_twin_json_parse(object, &fault, &patch), LK_OK);
    assert_non_null(patch.tags);
    assert_non_null(patch.desired);
    assert_null(patch.reported);
    json_decref(object);
    object = json_of("{\"properties\":{\"desired\":7}}");
    assert_int_equal(lk_twin_json_parse(object, &fault, &patch), LK_ERR_FORMAT);
    json_decref(object);
}

static enum lk_err
method_parse(const char *text, struct lk_method_doc *doc)
{
    struct lk_svc_fault fault = {.code = 0};
    json_t *object = json_of(text);
    enum lk_err err = lk_method_json_parse(object, &fault, doc);

    assert_true(err == LK_OK || fault.code != 0);
    json_decref(object);
    return err;
}

/* Defaults, bounds, and any JSON as payload. */
static void
method_call(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"methodName\":\"\"}",
        "{\"methodName\":\"a/b\"}",
        "{\"methodName\":\"a b\"}",
        "{\"methodName\":\"m\",\"responseTimeoutInSeconds\":4}",
        "{\"methodName\":\"m\",\"responseTimeoutInSeconds\":301}",
        "{\"methodName\":\"m\",\"responseTimeoutInSeconds\":\"30\"}",
        "{\"methodName\":\"m\",\"connectTimeoutInSeconds\":-1}",
        "{\"methodName\":\"m\",\"connectTimeoutInSeconds\":301}",
    };
    struct lk_method_doc doc;

    lk_method_doc_init(&doc);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        assert_int_equal(method_parse(bad[i], &doc), LK_ERR_FORMAT);
    }
    assert_int_equal(method_parse("{\"methodName\":\"reboot\"}", &doc), LK_OK);
    assert_int_equal(doc.payload.len, 0);
    assert_int_equal(doc.response_timeout_ms, 30000);
    assert_int_equal(doc.connect_timeout_ms, 0);
    assert_int_equal(method_parse("{\"methodName\":\"reboot\",\"payload\":[1,null],"
                                  "\"responseTimeoutInSeconds\":300,\"connectTimeoutInSeconds\":5}",
                                  &doc),
                     LK_OK);
    assert_string_equal(lk_buf_text(&doc.payload), "[1,null]");
    assert_int_equal(doc.response_timeout_ms, 300000);
    assert_int_equal(doc.connect_timeout_ms, 5000);
    lk_method_doc_fini(&doc);
}

/* The largest payload is a text for whoever sends it on; one byte more is too large. */
static void
method_payload_size(void **state)
{
    static const char head[] = "{\"methodName\":\"m\",\"payload\":\"", tail[] = "\"}";

    for (size_t more = 0; more < 2; more++) {
        LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
        struct lk_method_doc doc;
        size_t letters = LK_METHOD_PAYLOAD_MAX - 2 + more;

        assert_int_equal(lk_buf_puts(&text, head), LK_OK);
        memset(lk_buf_extend(&text, letters), 'p', letters);
        assert_int_equal(lk_buf_puts(&text, tail), LK_OK);
        lk_method_doc_init(&doc);
        assert_int_equal(method_parse(lk_buf_text(&text), &doc), more == 0 ? LK_OK : LK_ERR_FORMAT);
        if (more == 0) {
            assert_non_null(lk_buf_text(&doc.payload));
            assert_int_equal(doc.payload.len, LK_METHOD_PAYLOAD_MAX);
        }
        lk_method_doc_fini(&doc);
    }
}

/* What a device answers is put into ours only when it is JSON. */
static void
method_result(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    assert_int_equal(lk_method_result_format(200, "{\"a\":1}", 7, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text), "{\"payload\":{\"a\":1},\"status\":200}");
    lk_buf_reset(&text);
    assert_int_equal(lk_method_result_format(-7, NULL, 0, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text), "{\"payload\":null,\"status\":-7}");
    lk_buf_reset(&text);
    assert_int_equal(lk_method_result_format(200, "1,\"x\":2", 7, &text), LK_ERR_FORMAT);
    assert_int_equal(text.len, 0);
}

/* The name stands where clients look for it. */
static void
errors(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    assert_int_equal(lk_hub_error_format(LK_HUBE_NO_DEVICE, "It; \"is\" not", "id", 0, &text),
                     LK_OK);
    assert_string_equal(lk_buf_text(&text),
                        "{\"Message\":\"ErrorCode:DeviceNotFound;It, \\\"is\\\" not\","
                        "\"ExceptionMessage\":\"Tracking ID:id-TimeStamp:1970-01-01T00:00:00."
                        "0000000Z\"}");
    assert_string_equal(lk_hub_error_name(1), "ServerError");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_left_out),
        cmocka_unit_test(device_whole),
        cmocka_unit_test(device_refused),
        cmocka_unit_test(device_limits),
        cmocka_unit_test(device_encoded),
        cmocka_unit_test(import_spellings),
        cmocka_unit_test(import_refused),
        cmocka_unit_test(import_result),
        cmocka_unit_test(twin_fragment),
        cmocka_unit_test(method_call),
        cmocka_unit_test(method_payload_size),
        cmocka_unit_test(method_result),
        cmocka_unit_test(errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
