/* Tests of src/wire/query.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "wire/query.h"

static enum lk_err
parse(enum lk_query_collection collection, const char *text, struct lk_query *q)
{
    return lk_query_parse(collection, text, strlen(text), NULL, q);
}

static bool
matches(const char *text, const struct lk_query_row *row)
{
    struct lk_query q;

    assert_int_equal(parse(LK_QUERY_ENROLLMENTS, text, &q), LK_OK);
    return lk_query_matches(&q, row);
}

/* What the SDKs send, with the letter case and the space that people add, is everything. */
static void
everything(void **state)
{
    static const char *const texts[] = {
        "*",
        "SELECT *",
        "SELECT * FROM enrollments",
        "select * from ENROLLMENTS",
        " * ; ",
        "SELECT*FROM enrollments ;",
        "\tSELECT\n*\r\nFROM enrollments",
    };
    struct lk_query q;

    for (size_t i = 0; i < LK_ARRAY_LEN(texts); i++) {
        assert_int_equal(parse(LK_QUERY_ENROLLMENTS, texts[i], &q), LK_OK);
        assert_int_equal(q.conditions_count, 0);
    }
    assert_int_equal(parse(LK_QUERY_GROUPS, "SELECT * FROM enrollmentGroups", &q), LK_OK);
}

/* Anything else is refused, and *ret stays as it was. */
static void
refused(void **state)
{
    static const char *const texts[] = {
        "",
        "SELECT",
        "SELECT registrationId",
        "SELECT * FROM devices",
        "SELECT * FROM enrollmentGroups",
        "SELECT * enrollments",
        "SELECT * WHERE",
        "SELECT * WHERE registrationId",
        "SELECT * WHERE registrationId = 5",
        "SELECT * WHERE registrationId = 'a",
        "SELECT * WHERE registrationId = 'a' OR deviceId = 'b'",
        "SELECT * WHERE registrationId = 'a' AND",
        "SELECT * WHERE registrationId ! 'a'",
        "SELECT * WHERE registrationId == 'a'",
        "SELECT * WHERE provisioningStatus < 'enabled'",
        "SELECT * WHERE status = 'assigned'",
        "SELECT * WHERE createdDateTimeUtc > 'yesterday'",
        "SELECT * WHERE createdDateTimeUtc > '2026-02-30'",
        "SELECT * ORDER BY registrationId",
        "SELECT * ; SELECT *",
        "*;;",
        "**",
    };
    struct lk_query q = {.conditions_count = 7};

    for (size_t i = 0; i < LK_ARRAY_LEN(texts); i++) {
        assert_int_equal(parse(LK_QUERY_ENROLLMENTS, texts[i], &q), LK_ERR_FORMAT);
        assert_int_equal(q.conditions_count, 7);
    }
}

/* The refusal says what was expected and where, in our words. */
static void
refusal_text(void **state)
{
    char error[LK_QUERY_ERROR_CAP];
    const char *text = "SELECT * WHERE secret = 'x'";
    struct lk_query q;

    assert_int_equal(lk_query_parse(LK_QUERY_ENROLLMENTS, text, strlen(text), error, &q),
                     LK_ERR_FORMAT);
    assert_string_equal(error, "expected a field that can be queried at character 16 of the query");
}

/* The longest query, the longest value and the most conditions are taken; one more is not. */
static void
limits(void **state)
{
    char text[LK_QUERY_MAX + 2];
    size_t len;
    struct lk_query q;

    memset(text, ' ', sizeof(text));
    text[0] = '*';
    assert_int_equal(lk_query_parse(LK_QUERY_GROUPS, text, LK_QUERY_MAX, NULL, &q), LK_OK);
    assert_int_equal(lk_query_parse(LK_QUERY_GROUPS, text, LK_QUERY_MAX + 1, NULL, &q),
                     LK_ERR_LIMIT);

    len = (size_t)stpcpy(text, "SELECT * WHERE deviceId='") - (size_t)text;
    memset(text + len, 'v', LK_QUERY_VALUE_MAX + 1);
    text[len + LK_QUERY_VALUE_MAX] = '\'';
    assert_int_equal(
        lk_query_parse(LK_QUERY_ENROLLMENTS, text, len + LK_QUERY_VALUE_MAX + 1, NULL, &q), LK_OK);
    text[len + LK_QUERY_VALUE_MAX] = 'v';
    text[len + LK_QUERY_VALUE_MAX + 1] = '\'';
    assert_int_equal(
        lk_query_parse(LK_QUERY_ENROLLMENTS, text, len + LK_QUERY_VALUE_MAX + 2, NULL, &q),
        LK_ERR_FORMAT);

    (void)strcpy(text, "SELECT * WHERE deviceId='0'");
    for (size_t i = 1; i < LK_QUERY_CONDITIONS_MAX; i++) {
        (void)strcat(text, " AND deviceId='0'");
    }
    assert_int_equal(parse(LK_QUERY_ENROLLMENTS, text, &q), LK_OK);
    assert_int_equal(q.conditions_count, LK_QUERY_CONDITIONS_MAX);
    (void)strcat(text, " AND deviceId='0'");
    assert_int_equal(parse(LK_QUERY_ENROLLMENTS, text, &q), LK_ERR_LIMIT);
}

/* A NUL is no part of a value. */
static void
nul_in_value(void **state)
{
    static const char text[] = "SELECT * WHERE deviceId='a\0b'";
    struct lk_query q;

    assert_int_equal(lk_query_parse(LK_QUERY_ENROLLMENTS, text, sizeof(text) - 1, NULL, &q),
                     LK_ERR_FORMAT);
}

/* A quote inside a value is written twice. */
static void
quotes(void **state)
{
    struct lk_query q;

    assert_int_equal(parse(LK_QUERY_ENROLLMENTS, "SELECT * WHERE deviceId = 'it''s'", &q), LK_OK);
    assert_string_equal(q.conditions[0].text, "it's");
    assert_int_equal(parse(LK_QUERY_ENROLLMENTS, "SELECT * WHERE deviceId = \"a'b\"", &q), LK_OK);
    assert_string_equal(q.conditions[0].text, "a'b");
}

/* Registration ids compare without regard to case, device ids with. */
static void
letter_case(void **state)
{
    const struct lk_query_row row = {.text = {[LK_QF_ID] = "Dev-1", [LK_QF_DEVICE_ID] = "Dev-1"}};

    assert_true(matches("SELECT * WHERE registrationId = 'dEV-1'", &row));
    assert_false(matches("SELECT * WHERE registrationId != 'dev-1'", &row));
    assert_true(matches("SELECT * WHERE deviceId = 'Dev-1'", &row));
    assert_false(matches("SELECT * WHERE deviceId = 'dev-1'", &row));
    assert_true(matches("SELECT * WHERE DEVICEID <> 'dev-1'", &row));
}

/* All conditions have to hold; an absent text equals nothing. */
static void
conjunction(void **state)
{
    const struct lk_query_row row = {
        .text = {[LK_QF_STATUS] = "enabled", [LK_QF_ATTESTATION] = "tpm"}};

    assert_true(matches("SELECT * WHERE provisioningStatus = 'Enabled' AND "
                        "attestation.type = 'TPM'",
                        &row));
    assert_false(matches("SELECT * WHERE provisioningStatus = 'enabled' AND "
                         "attestationType = 'x509'",
                         &row));
    assert_false(matches("SELECT * WHERE allocationPolicy = 'hashed'", &row));
    assert_true(matches("SELECT * WHERE allocationPolicy != 'hashed'", &row));
}

/* Any of several hubs may fit; "!=" wants none of them to. */
static void
hubs(void **state)
{
    static const char *const names[] = {"one.example", "two.example"};
    const struct lk_query_row row = {.hubs = names, .hubs_count = 2};

    assert_true(matches("SELECT * WHERE iotHubs = 'TWO.example'", &row));
    assert_false(matches("SELECT * WHERE iotHubs = 'three.example'", &row));
    assert_false(matches("SELECT * WHERE iotHubs != 'two.example'", &row));
    assert_true(matches("SELECT * WHERE iotHubs != 'three.example'", &row));
}

/* Times compare as times, whatever their spelling. */
static void
times(void **state)
{
    const struct lk_query_row row = {.created_ms = 1767323045678, .updated_ms = 1767323045678};

    assert_true(matches("SELECT * WHERE createdDateTimeUtc = '2026-01-02T03:04:05.678Z'", &row));
    assert_true(
        matches("SELECT * WHERE createdDateTimeUtc = '2026-01-02T04:04:05.6789+01:00'", &row));
    assert_true(matches("SELECT * WHERE lastUpdatedDateTimeUtc >= '2026-01-02'", &row));
    assert_false(matches("SELECT * WHERE createdDateTimeUtc < '2026-01-02T03:04:05Z'", &row));
}

/* Conditions on the id bound the walk from both sides. */
static void
bounds(void **state)
{
    struct lk_query q;
    char start[5];

    assert_int_equal(parse(LK_QUERY_ENROLLMENTS, "*", &q), LK_OK);
    lk_query_walk_start(&q, 4, start);
    assert_string_equal(start, "");
    assert_false(lk_query_id_past(&q, "zzz"));

    assert_int_equal(parse(LK_QUERY_ENROLLMENTS,
                           "SELECT * WHERE registrationId >= 'B' AND registrationId > 'c' AND "
                           "registrationId < 'F'",
                           &q),
                     LK_OK);
    lk_query_walk_start(&q, 4, start);
    assert_string_equal(start, "c");
    assert_false(lk_query_id_past(&q, "ee"));
    assert_true(lk_query_id_past(&q, "f"));

    assert_int_equal(parse(LK_QUERY_ENROLLMENTS, "SELECT * WHERE registrationId = 'd'", &q), LK_OK);
    lk_query_walk_start(&q, 4, start);
    assert_string_equal(start, "c\x7f");
    assert_false(lk_query_id_past(&q, "d"));
    assert_true(lk_query_id_past(&q, "d0"));
}

/* A bound as long as ids get, and one that is longer. */
static void
long_bounds(void **state)
{
    struct lk_query q;
    char start[5];

    assert_int_equal(parse(LK_QUERY_DEVICES, "SELECT * WHERE deviceId >= 'abcd'", &q), LK_OK);
    lk_query_walk_start(&q, 4, start);
    assert_string_equal(start, "abcc");
    assert_int_equal(parse(LK_QUERY_DEVICES, "SELECT * WHERE deviceId >= 'abcde'", &q), LK_OK);
    lk_query_walk_start(&q, 4, start);
    assert_string_equal(start, "abcd");
    assert_int_equal(parse(LK_QUERY_DEVICES, "SELECT * WHERE deviceId > 'abcd'", &q), LK_OK);
    lk_query_walk_start(&q, 4, start);
    assert_string_equal(start, "abcd");
}

/* A hub's devices are named with regard to case; what else is compared, is without. */
static void
devices(void **state)
{
    const struct lk_query_row row = {.text = {[LK_QF_EXACT_ID] = "Dev-1",
                                              [LK_QF_STATUS] = "enabled",
                                              [LK_QF_ATTESTATION] = "sas",
                                              [LK_QF_CONNECTION] = "Disconnected"}};
    struct lk_query q;

    assert_int_equal(parse(LK_QUERY_DEVICES, "SELECT * FROM devices WHERE deviceId = 'Dev-1'", &q),
                     LK_OK);
    assert_true(lk_query_matches(&q, &row));
    assert_int_equal(parse(LK_QUERY_DEVICES, "SELECT * FROM devices WHERE deviceId = 'dev-1'", &q),
                     LK_OK);
    assert_false(lk_query_matches(&q, &row));
    assert_int_equal(parse(LK_QUERY_DEVICES,
                           "SELECT * FROM devices WHERE status = 'Enabled' AND connectionState != "
                           "'connected' AND authenticationType = 'SAS'",
                           &q),
                     LK_OK);
    assert_true(lk_query_matches(&q, &row));
    assert_int_equal(parse(LK_QUERY_DEVICES, "SELECT * FROM devices WHERE tags.x = '1'", &q),
                     LK_ERR_FORMAT);
    assert_int_equal(parse(LK_QUERY_DEVICES, "SELECT * FROM devices.modules", &q), LK_ERR_FORMAT);
    assert_int_equal(parse(LK_QUERY_REGISTRATIONS, "SELECT * WHERE connectionState = 'x'", &q),
                     LK_ERR_FORMAT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything),   cmocka_unit_test(refused),
        cmocka_unit_test(refusal_text), cmocka_unit_test(limits),
        cmocka_unit_test(nul_in_value), cmocka_unit_test(quotes),
        cmocka_unit_test(letter_case),  cmocka_unit_test(conjunction),
        cmocka_unit_test(hubs),         cmocka_unit_test(times),
        cmocka_unit_test(bounds),       cmocka_unit_test(long_bounds),
        cmocka_unit_test(devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
