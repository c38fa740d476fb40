/* Tests of src/wire/dps_state.c: registration state and operation status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "wire/dps.h"

#define AUTO_STATE __attribute__((cleanup(lk_dps_state_fini))) struct lk_dps_state

static void
text_set(char *buf, size_t cap, const char *text)
{
    assert_int_equal(lk_strcpy(buf, cap, text), LK_OK);
}

/* The state of a device that was just assigned, as in section 1.7. */
static struct lk_dps_state
assigned_state(void)
{
    struct lk_dps_state s = {.status = LK_DPS_ASSIGNED,
                             .substatus = LK_DPS_SUB_INITIAL,
                             .created_ms = 1661983370516,
                             .updated_ms = 1661983370737};

    text_set(s.registration_id, sizeof(s.registration_id), "dev-1");
    text_set(s.device_id, sizeof(s.device_id), "dev-1");
    text_set(s.assigned_hub, sizeof(s.assigned_hub), "hub.example.test");
    text_set(s.operation_id, sizeof(s.operation_id), "5.316aac5bdc130deb.b1e02da8");
    text_set(s.etag, sizeof(s.etag), "69003552-0000-0300-0000-630fd04a0000");
    assert_int_equal(lk_buf_put(&s.auth_key, "\x00\x34\x00\x20", 4), LK_OK);
    assert_int_equal(lk_buf_puts(&s.payload, "{\"optional\": \"json\"}"), LK_OK);
    return s;
}

#define STATE                                                                                      \
    "{\"tpm\":{\"authenticationKey\":\"ADQAIA==\"},\"registrationId\":\"dev-1\","                  \
    "\"createdDateTimeUtc\":\"2022-08-31T22:02:50.5160000Z\","                                     \
    "\"assignedHub\":\"hub.example.test\",\"deviceId\":\"dev-1\",\"status\":\"assigned\","         \
    "\"substatus\":\"initialAssignment\","                                                         \
    "\"lastUpdatedDateTimeUtc\":\"2022-08-31T22:02:50.7370000Z\","                                 \
    "\"etag\":\"IjY5MDAzNTUyLTAwMDAtMDMwMC0wMDAwLTYzMGZkMDRhMDAwMCI=\","                           \
    "\"payload\":{\"optional\":\"json\"}}"

static void
expect_text(struct lk_buf *got, const char *want)
{
    assert_string_equal(lk_buf_text(got), want);
}

static enum lk_err
parse(const char *body, struct lk_dps_state *ret)
{
    return lk_dps_operation_parse(body, strlen(body), ret);
}

static void
expect_refused(const char *body)
{
    struct lk_dps_state s, before;

    memset(&s, 0xa5, sizeof(s));
    before = s;
    if (parse(body, &s) != LK_ERR_FORMAT) {
        fail_msg("accepted: %s", body);
    }
    assert_memory_equal(&s, &before, sizeof(s));
}

/* ---- format ---------------------------------------------------------------------------------- */

/* The last answer of a registration: members and order of section 1.7. */
static void
format_assigned(void **state)
{
    AUTO_STATE s = assigned_state();
    LK_AUTO_BUF struct lk_buf whole = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf bare = LK_BUF_INIT;

    assert_int_equal(lk_dps_operation_format(&s, true, &whole), LK_OK);
    expect_text(&whole, "{\"operationId\":\"5.316aac5bdc130deb.b1e02da8\",\"status\":\"assigned\","
                        "\"registrationState\":" STATE "}");
    assert_int_equal(lk_dps_state_format(&s, &bare), LK_OK);
    expect_text(&bare, STATE);
}

/* What register answers, and what a poll answers while a hub is slow. */
static void
format_assigning(void **state)
{
    AUTO_STATE s = {.status = LK_DPS_ASSIGNING};
    LK_AUTO_BUF struct lk_buf first = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf poll = LK_BUF_INIT;

    text_set(s.registration_id, sizeof(s.registration_id), "dev-1");
    text_set(s.operation_id, sizeof(s.operation_id), "5.a.b");
    assert_int_equal(lk_dps_operation_format(&s, false, &first), LK_OK);
    expect_text(&first, "{\"operationId\":\"5.a.b\",\"status\":\"assigning\"}");
    assert_int_equal(lk_dps_operation_format(&s, true, &poll), LK_OK);
    expect_text(&poll, "{\"operationId\":\"5.a.b\",\"status\":\"assigning\",\"registrationState\":"
                       "{\"registrationId\":\"dev-1\",\"status\":\"assigning\"}}");
}

/* A failure carries its code and words, which Rust insists on, even if the words are empty. */
static void
format_failed(void **state)
{
    AUTO_STATE s = {.status = LK_DPS_FAILED, .error_code = LK_DPS_NO_HUB};
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;

    assert_int_equal(lk_dps_operation_format(&s, true, &body), LK_OK);
    expect_text(&body, "{\"status\":\"failed\",\"registrationState\":{\"status\":\"failed\","
                       "\"errorCode\":400208,\"errorMessage\":\"\"}}");
}

/* Texts that need escapes get them, and a payload that is not JSON is not sent. */
static void
format_escapes(void **state)
{
    AUTO_STATE s = {.status = LK_DPS_FAILED, .error_code = 1};
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;

    text_set(s.error_message, sizeof(s.error_message), "\"\\\n\x01");
    assert_int_equal(lk_dps_state_format(&s, &body), LK_OK);
    expect_text(&body,
                "{\"status\":\"failed\",\"errorCode\":1,\"errorMessage\":\"\\\"\\\\\\n\\u0001\"}");
    assert_int_equal(lk_buf_puts(&s.payload, "{\"a\":1"), LK_OK);
    assert_int_equal(lk_dps_state_format(&s, &body), LK_ERR_FORMAT);
}

/* The names on the wire. */
static void
names(void **state)
{
    assert_string_equal(lk_dps_status_name(LK_DPS_UNASSIGNED), "unassigned");
    assert_string_equal(lk_dps_status_name(LK_DPS_ASSIGNING), "assigning");
    assert_string_equal(lk_dps_status_name(LK_DPS_ASSIGNED), "assigned");
    assert_string_equal(lk_dps_status_name(LK_DPS_FAILED), "failed");
    assert_string_equal(lk_dps_status_name(LK_DPS_DISABLED), "disabled");
    assert_string_equal(lk_dps_substatus_name(LK_DPS_SUB_NONE), "");
    assert_string_equal(lk_dps_substatus_name(LK_DPS_SUB_INITIAL), "initialAssignment");
    assert_string_equal(lk_dps_substatus_name(LK_DPS_SUB_MIGRATED), "deviceDataMigrated");
    assert_string_equal(lk_dps_substatus_name(LK_DPS_SUB_RESET), "deviceDataReset");
    assert_string_equal(lk_dps_substatus_name(LK_DPS_SUB_REPROVISIONED),
                        "reprovisionedToInitialAssignment");
}

/* ---- parse ----------------------------------------------------------------------------------- */

/* What was written is read back whole. */
static void
parse_assigned(void **state)
{
    AUTO_STATE s = assigned_state();
    AUTO_STATE got = {0};
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;

    assert_int_equal(lk_dps_operation_format(&s, true, &body), LK_OK);
    assert_int_equal(lk_dps_operation_parse(body.data, body.len, &got), LK_OK);
    assert_int_equal(got.status, LK_DPS_ASSIGNED);
    assert_int_equal(got.substatus, LK_DPS_SUB_INITIAL);
    assert_string_equal(got.registration_id, s.registration_id);
    assert_string_equal(got.device_id, s.device_id);
    assert_string_equal(got.assigned_hub, s.assigned_hub);
    assert_string_equal(got.operation_id, s.operation_id);
    assert_string_equal(got.etag, s.etag);
    assert_int_equal(got.created_ms, s.created_ms);
    assert_int_equal(got.updated_ms, s.updated_ms);
    assert_int_equal(got.auth_key.len, s.auth_key.len);
    assert_memory_equal(got.auth_key.data, s.auth_key.data, s.auth_key.len);
    expect_text(&got.payload, "{\"optional\":\"json\"}");
}

/* The live service's answer, with members that we have no use for. */
static void
parse_live(void **state)
{
    AUTO_STATE s = {0};

    assert_int_equal(
        parse("{\"operationId\":\"5.316aac5bdc130deb.b1e02da8-0000-0000-0000-000000000000\","
              "\"status\":\"assigned\",\"registrationState\":{\"x509\":{},"
              "\"registrationId\":\"my-device\",\"createdDateTimeUtc\":"
              "\"2022-08-31T22:02:50.5163352Z\",\"assignedHub\":\"h.azure-devices.net\","
              "\"deviceId\":\"my-device\",\"status\":\"assigned\",\"substatus\":\"new one\","
              "\"lastUpdatedDateTimeUtc\":\"2022-08-31T22:02:50Z\",\"etag\":\"AAAA\","
              "\"errorCode\":null,\"errorMessage\":null,\"payload\":null}}",
              &s),
        LK_OK);
    assert_int_equal(s.created_ms, 1661983370516);
    assert_int_equal(s.updated_ms, 1661983370000);
    assert_int_equal(s.substatus, LK_DPS_SUB_NONE);
    assert_string_equal(s.etag, "");
    assert_int_equal(s.auth_key.len + s.payload.len, 0);
}

/* The short form of register, and each status. */
static void
parse_short(void **state)
{
    static const char *const statuses[] = {"unassigned", "assigning", "assigned", "failed",
                                           "disabled"};

    for (size_t i = 0; i < LK_ARRAY_LEN(statuses); i++) {
        AUTO_STATE s = {0};
        char body[128];

        (void)snprintf(body, sizeof(body), "{\"operationId\":\"5.a\",\"status\":\"%s\"}",
                       statuses[i]);
        assert_int_equal(parse(body, &s), LK_OK);
        assert_int_equal(s.status, i);
        assert_string_equal(s.operation_id, "5.a");
    }
}

/* A failure's words are cut to what fits. */
static void
parse_failed(void **state)
{
    AUTO_STATE s = {0};
    char body[512], words[300];

    memset(words, 'w', sizeof(words));
    (void)snprintf(body, sizeof(body),
                   "{\"status\":\"failed\",\"registrationState\":{\"errorCode\":400209,"
                   "\"errorMessage\":\"%.299s\"}}",
                   words);
    assert_int_equal(parse(body, &s), LK_OK);
    assert_int_equal(s.error_code, 400209);
    assert_int_equal(strlen(s.error_message), sizeof(s.error_message) - 1);
}

/* Statuses that are missing, null, unknown or in another case. */
static void
parse_status(void **state)
{
    expect_refused("{}");
    expect_refused("{\"operationId\":\"5.a\"}");
    expect_refused("{\"status\":null}");
    expect_refused("{\"status\":1}");
    expect_refused("{\"status\":\"\"}");
    expect_refused("{\"status\":\"Assigned\"}");
    expect_refused("{\"status\":\"assignedd\"}");
}

#define IN_STATE(members) "{\"status\":\"assigned\",\"registrationState\":{" members "}}"

/* Members of another kind or with a value that their rule does not allow. */
static void
parse_members(void **state)
{
    expect_refused("{\"status\":\"assigned\",\"registrationState\":[]}");
    expect_refused(IN_STATE("\"tpm\":[]"));
    expect_refused(IN_STATE("\"tpm\":{\"authenticationKey\":\"A\"}"));
    expect_refused(IN_STATE("\"tpm\":{\"authenticationKey\":1}"));
    expect_refused(IN_STATE("\"registrationId\":\"a/b\""));
    expect_refused(IN_STATE("\"deviceId\":\"a b\""));
    expect_refused(IN_STATE("\"deviceId\":1"));
    expect_refused(IN_STATE("\"assignedHub\":\"hub:8883\""));
    expect_refused(IN_STATE("\"assignedHub\":\"\""));
    expect_refused(IN_STATE("\"substatus\":1"));
    expect_refused(IN_STATE("\"errorCode\":\"1\""));
    expect_refused(IN_STATE("\"errorMessage\":1"));
    expect_refused(IN_STATE("\"createdDateTimeUtc\":\"2022-08-31\""));
    expect_refused(IN_STATE("\"createdDateTimeUtc\":\"2022-08-31T22:02:50.Z\""));
    expect_refused(IN_STATE("\"createdDateTimeUtc\":\"2022-08-31T22:02:50.12345678Z\""));
    expect_refused(IN_STATE("\"createdDateTimeUtc\":\"2022-08-31T22:02:50+01:00\""));
    expect_refused(IN_STATE("\"createdDateTimeUtc\":1"));
    expect_refused(IN_STATE("\"status\":\"a\",\"status\":\"a\""));
}

/* An operation ID of 63 bytes fits, of 64 or none does not. */
static void
parse_operation_id(void **state)
{
    AUTO_STATE s = {0};
    char body[256], id[65];

    memset(id, 'o', sizeof(id));
    (void)snprintf(body, sizeof(body), "{\"operationId\":\"%.63s\",\"status\":\"assigning\"}", id);
    assert_int_equal(parse(body, &s), LK_OK);
    assert_int_equal(strlen(s.operation_id), 63);
    (void)snprintf(body, sizeof(body), "{\"operationId\":\"%.64s\",\"status\":\"assigning\"}", id);
    expect_refused(body);
    expect_refused("{\"operationId\":\"\",\"status\":\"assigning\"}");
}

/* An etag that fits when its quotes are off, and the first that does not. */
static void
etag_limit(void **state)
{
    AUTO_STATE s = {.status = LK_DPS_ASSIGNED};
    AUTO_STATE got = {0};
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;

    memset(s.etag, 'e', sizeof(s.etag) - 1);
    assert_int_equal(lk_dps_operation_format(&s, true, &body), LK_OK);
    assert_int_equal(lk_dps_operation_parse(body.data, body.len, &got), LK_OK);
    assert_string_equal(got.etag, s.etag);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format_assigned), cmocka_unit_test(format_assigning),
        cmocka_unit_test(format_failed),   cmocka_unit_test(format_escapes),
        cmocka_unit_test(names),           cmocka_unit_test(parse_assigned),
        cmocka_unit_test(parse_live),      cmocka_unit_test(parse_short),
        cmocka_unit_test(parse_failed),    cmocka_unit_test(parse_status),
        cmocka_unit_test(parse_members),   cmocka_unit_test(parse_operation_id),
        cmocka_unit_test(etag_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
