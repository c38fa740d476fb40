/* Tests of src/api/enrollment_json.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "doc_stage.h"

/* An individual enrollment and a group with shared keys; '~' is for more members. */
#define ONE "{'registrationId':'dev-1','attestation':{'type':'symmetricKey'}~}"
#define GROUP "{'enrollmentGroupId':'line-a','attestation':{'type':'symmetricKey'}~}"

static char *
one(const char *more)
{
    return body_make(ONE, more, NULL);
}

static void
accept(struct doc_stage *d, const char *more)
{
    doc_accept(d, LK_ENTITY_ENROLLMENT, one(more));
}

static void
refuse(struct doc_stage *d, const char *more, const char *word)
{
    doc_refuse(d, LK_ENTITY_ENROLLMENT, one(more), LK_SVC_BAD_REQUEST, word);
}

/* ---- ids and etags ----------------------------------------------------------------------------
 */

/* The id is needed, of the one form, and the path's where both name it. */
static void
ids(void **state)
{
    static const char *const bad[] = {"{}",
                                      "{'registrationId':null}",
                                      "{'registrationId':''}",
                                      "{'registrationId':7}",
                                      "{'registrationId':'a.'}",
                                      "{'registrationId':'a b'}",
                                      "{'registrationId':'gr\xc3\xb6'}"};
    char longest[LK_REGISTRATION_ID_MAX + 2];
    struct doc_stage d;
    LK_AUTO(json) json_t *object = json_pack("{s:s}", "registrationId", "Dev-1");
    LK_AUTO(json) json_t *empty = json_object();
    char id[LK_REGISTRATION_ID_MAX + 1];

    doc_start(&d);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        doc_refuse(&d, LK_ENTITY_ENROLLMENT, body_make(bad[i], NULL), LK_SVC_BAD_REGISTRATION_ID,
                   "registrationId");
    }
    doc_refuse(&d, LK_ENTITY_GROUP, body_make("{'registrationId':'a'}", NULL), LK_SVC_BAD_GROUP_ID,
               "enrollmentGroupId");
    memset(longest, 'a', sizeof(longest) - 1);
    longest[LK_REGISTRATION_ID_MAX] = '\0';
    doc_accept(
        &d, LK_ENTITY_ENROLLMENT,
        body_make("{'registrationId':'~','attestation':{'type':'symmetricKey'}}", longest, NULL));
    longest[LK_REGISTRATION_ID_MAX] = 'a';
    longest[LK_REGISTRATION_ID_MAX + 1] = '\0';
    doc_refuse(&d, LK_ENTITY_ENROLLMENT, body_make("{'registrationId':'~'}", longest, NULL),
               LK_SVC_BAD_REGISTRATION_ID, "128");

    assert_int_equal(lk_entity_id_parse(LK_ENTITY_ENROLLMENT, object, "dEV-1", &d.fault, id),
                     LK_OK);
    assert_string_equal(id, "Dev-1"); /* as the body spells it */
    assert_int_equal(lk_entity_id_parse(LK_ENTITY_ENROLLMENT, object, "dev-2", &d.fault, id),
                     LK_ERR_FORMAT);
    assert_int_equal(lk_entity_id_parse(LK_ENTITY_ENROLLMENT, empty, "Dev-3", &d.fault, id), LK_OK);
    assert_string_equal(id, "Dev-3");
    doc_stop(&d);
}

/* Every spelling of one etag is the same; one that cannot be ours is told from all of them. */
static void
etags(void **state)
{
    static const struct {
        const char *given, *want;
    } cases[] = {{"", ""},         {"\"\"", ""},     {"\"a\"", "a"}, {"a", "a"},
                 {"W/\"a\"", "a"}, {"W/a", "a"},     {"*", "*"},     {"\"*\"", "*"},
                 {"\"", "\""},     {"\"\"\"", "\""}, {"W/", ""},     {"\"a\", \"b\"", "a\", \"b"}};
    char long_one[LK_ETAG_GIVEN_CAP + 1], ret[LK_ETAG_GIVEN_CAP];

    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        assert_int_equal(lk_etag_parse(cases[i].given, ret), LK_OK);
        assert_string_equal(ret, cases[i].want);
    }
    memset(long_one, 'x', sizeof(long_one));
    long_one[LK_ETAG_GIVEN_CAP] = '\0';
    assert_int_equal(lk_etag_parse(long_one, ret), LK_ERR_LIMIT);
    long_one[LK_ETAG_GIVEN_CAP - 1] = '\0';
    assert_int_equal(lk_etag_parse(long_one, ret), LK_OK);
}

/* ---- what is left out -------------------------------------------------------------------------
 */

/* The least there is, its defaults, and null for whatever may be left out. */
static void
defaults(void **state)
{
    static const char nulls[] =
        ",'deviceId':null,'capabilities':null,'iotHubHostName':null,'initialTwin':null,"
        "'etag':null,'provisioningStatus':null,'reprovisionPolicy':null,'allocationPolicy':null,"
        "'iotHubs':null,'customAllocationDefinition':null,'optionalDeviceInformation':null";
    static const char empty[] =
        ",'deviceId':'','iotHubHostName':'','iotHubs':[],'capabilities':{},'unknown':{'a':[]},"
        "'registrationState':{'status':'assigned'},'createdDateTimeUtc':7";
    static const char *const bodies[] = {"", nulls, empty};
    struct doc_stage d;

    doc_start(&d);
    for (size_t i = 0; i < LK_ARRAY_LEN(bodies); i++) {
        LK_AUTO(json) json_t *shown = NULL;

        accept(&d, bodies[i]);
        assert_true(d.doc.e.enabled && d.doc.e.reprovision_update_hub &&
                    d.doc.e.reprovision_migrate && !d.doc.e.iot_edge);
        assert_false(d.doc.e.reprovision_chosen);
        assert_int_equal(d.doc.e.allocation, LK_ALLOC_DEFAULT);
        assert_int_equal(d.doc.e.hubs_count, 0);
        assert_string_equal(d.doc.e.device_id, "");
        assert_string_equal(d.doc.etag, "");
        assert_int_equal(d.doc.e.initial_twin.len, 0);
        shown = doc_write(&d, LK_ENTITY_ENROLLMENT);
        assert_string_equal(doc_text(shown, "allocationPolicy"), "hashed");
        assert_string_equal(doc_text(shown, "provisioningStatus"), "enabled");
        assert_true(json_is_false(doc_at(shown, "capabilities/iotEdge")));
        assert_true(json_is_true(doc_at(shown, "reprovisionPolicy/migrateDeviceData")));
        assert_null(doc_at(shown, "iotHubs"));
        assert_null(doc_at(shown, "unknown"));
        assert_null(doc_at(shown, "registrationState"));
    }
    doc_stop(&d);
}

/* A second reading starts from nothing. */
static void
read_again(void **state)
{
    struct doc_stage d;

    doc_start(&d);
    doc_accept(&d, LK_ENTITY_ENROLLMENT,
               body_make("{'registrationId':'dev-1','deviceId':'a','etag':'x','iotHubs':"
                         "['a.example'],'initialTwin':{'tags':{}},'attestation':{'type':'tpm',"
                         "'tpm':{'endorsementKey':'~','storageRootKey':'~'}}}",
                         body_ek(0), body_srk(), NULL));
    assert_int_equal(d.doc.e.eks_count, 1);
    accept(&d, "");
    assert_int_equal(d.doc.e.eks_count, 0);
    assert_int_equal(d.doc.e.srk_pub.len, 0);
    assert_int_equal(d.doc.e.initial_twin.len, 0);
    assert_int_equal(d.doc.e.hubs_count, 0);
    assert_string_equal(d.doc.e.device_id, "");
    assert_string_equal(d.doc.etag, "");
    doc_stop(&d);
}

/* ---- members ----------------------------------------------------------------------------------
 */

/* Members of the wrong kind or value, each named in what is told. */
static void
bad_members(void **state)
{
    static const struct {
        const char *more, *word;
    } cases[] = {
        {",'deviceId':7", "deviceId"},
        {",'deviceId':'a b'", "deviceId"},
        {",'deviceId':'a/b'", "deviceId"},
        {",'etag':7", "etag"},
        {",'capabilities':[]", "capabilities"},
        {",'capabilities':{'iotEdge':'yes'}", "iotEdge"},
        {",'provisioningStatus':true", "provisioningStatus"},
        {",'provisioningStatus':'on'", "provisioningStatus"},
        {",'allocationPolicy':1", "allocationPolicy"},
        {",'allocationPolicy':'nearest'", "allocationPolicy"},
        {",'iotHubs':'a.example'", "iotHubs"},
        {",'iotHubs':[7]", "iotHubs"},
        {",'iotHubs':['']", "iotHubs"},
        {",'iotHubs':['a_b']", "iotHubs"},
        {",'iotHubs':['a.example','A.example']", "a.example is named twice"},
        {",'reprovisionPolicy':true", "reprovisionPolicy"},
        {",'reprovisionPolicy':{}", "updateHubAssignment"},
        {",'reprovisionPolicy':{'updateHubAssignment':true}", "migrateDeviceData"},
        {",'reprovisionPolicy':{'updateHubAssignment':1,'migrateDeviceData':true}",
         "true or false"},
        {",'initialTwin':[]", "initialTwin"},
        {",'initialTwin':{'tags':7}", "tags"},
        {",'initialTwin':{'properties':[]}", "properties"},
        {",'initialTwin':{'properties':{'desired':'x'}}", "desired"},
        {",'optionalDeviceInformation':'x'", "optionalDeviceInformation"},
        {",'customAllocationDefinition':{'webhookUrl':'https://a/','apiVersion':'1'}", "custom"},
        {",'allocationPolicy':'custom','customAllocationDefinition':[]", "customAllocation"},
        {",'allocationPolicy':'custom','customAllocationDefinition':{'webhookUrl':'https://a/'}",
         "apiVersion"},
        {",'allocationPolicy':'custom','customAllocationDefinition':{'apiVersion':'1'}",
         "webhookUrl"},
        {",'allocationPolicy':'custom','customAllocationDefinition':{'webhookUrl':7}",
         "webhookUrl"},
    };
    struct doc_stage d;

    doc_start(&d);
    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        refuse(&d, cases[i].more, cases[i].word);
    }
    doc_refuse(&d, LK_ENTITY_ENROLLMENT, body_make("{'registrationId':'a'}", NULL),
               LK_SVC_BAD_REQUEST, "attestation");
    doc_refuse(&d, LK_ENTITY_ENROLLMENT, body_make("{'registrationId':'a','attestation':7}", NULL),
               LK_SVC_BAD_REQUEST, "attestation");
    doc_stop(&d);
}

/* A text of count bytes between head and tail. */
static char *
long_member(const char *head, size_t count, const char *tail)
{
    char *fill = malloc(count + 1), *more, *body;

    assert_non_null(fill);
    memset(fill, 'x', count);
    fill[count] = '\0';
    more = body_make("~~~", head, fill, tail, NULL);
    body = one(more);
    free(more);
    free(fill);
    return body;
}

/* The longest of what has a length, and one past it. */
static void
sizes(void **state)
{
    static const char tags[] = ",'initialTwin':{'tags':{'a':'", tags_end[] = "'}}";
    static const char info[] = ",'optionalDeviceInformation':{'a':'", info_end[] = "'}";
    static const char url[] = ",'allocationPolicy':'custom','customAllocationDefinition':"
                              "{'apiVersion':'1','webhookUrl':'",
                      url_end[] = "'}";
    const size_t twin_rest = strlen("{\"tags\":{\"a\":\"\"},\"properties\":{}}");
    const size_t info_rest = strlen("{\"a\":\"\"}");
    LK_AUTO_BUF struct lk_buf hubs = LK_BUF_INIT;
    struct doc_stage d;

    doc_start(&d);
    doc_accept(&d, LK_ENTITY_ENROLLMENT, long_member(tags, LK_TWIN_MAX - twin_rest, tags_end));
    assert_int_equal(d.doc.e.initial_twin.len, LK_TWIN_MAX);
    doc_refuse(&d, LK_ENTITY_ENROLLMENT, long_member(tags, LK_TWIN_MAX - twin_rest + 1, tags_end),
               LK_SVC_BAD_REQUEST, "initialTwin");
    doc_accept(&d, LK_ENTITY_ENROLLMENT, long_member(info, LK_TWIN_MAX - info_rest, info_end));
    doc_refuse(&d, LK_ENTITY_ENROLLMENT, long_member(info, LK_TWIN_MAX - info_rest + 1, info_end),
               LK_SVC_BAD_REQUEST, "optionalDeviceInformation");
    doc_accept(&d, LK_ENTITY_ENROLLMENT, long_member(url, LK_WEBHOOK_URL_MAX, url_end));
    doc_refuse(&d, LK_ENTITY_ENROLLMENT, long_member(url, LK_WEBHOOK_URL_MAX + 1, url_end),
               LK_SVC_BAD_REQUEST, "webhookUrl");
    doc_accept(&d, LK_ENTITY_ENROLLMENT, long_member(",'deviceId':'", LK_DEVICE_ID_MAX, "'"));
    doc_refuse(&d, LK_ENTITY_ENROLLMENT, long_member(",'deviceId':'", LK_DEVICE_ID_MAX + 1, "'"),
               LK_SVC_BAD_REQUEST, "deviceId");

    for (unsigned i = 0; i < LK_HUBS_PER_ENROLLMENT; i++) {
        assert_int_equal(lk_buf_printf(&hubs, "%s'h%u.example'", i == 0 ? ",'iotHubs':[" : ",", i),
                         LK_OK);
    }
    assert_int_equal(lk_buf_puts(&hubs, "]"), LK_OK);
    accept(&d, lk_buf_text(&hubs));
    assert_int_equal(d.doc.e.hubs_count, LK_HUBS_PER_ENROLLMENT);
    hubs.len--;
    assert_int_equal(lk_buf_puts(&hubs, ",'one-more.example']"), LK_OK);
    refuse(&d, lk_buf_text(&hubs), "at most 16");
    doc_stop(&d);
}

/* Words of policies and statuses in any letter case; hub names are kept in lower case. */
static void
words(void **state)
{
    struct doc_stage d;

    doc_start(&d);
    accept(&d, ",'provisioningStatus':'Disabled','allocationPolicy':'GeoLatency','iotHubs':"
               "['A.Example','b']");
    assert_false(d.doc.e.enabled);
    assert_int_equal(d.doc.e.allocation, LK_ALLOC_GEO);
    assert_string_equal(d.doc.e.hubs[0], "a.example");
    accept(&d, ",'reprovisionPolicy':{'updateHubAssignment':false,'migrateDeviceData':true}");
    assert_false(d.doc.e.reprovision_update_hub);
    assert_true(d.doc.e.reprovision_migrate && d.doc.e.reprovision_chosen);
    doc_stop(&d);
}

/* The older member for one hub, alone and beside the newer ones. */
static void
the_older_hub_member(void **state)
{
    static const char *const same[] = {
        ",'iotHubHostName':'A.example'",
        ",'iotHubHostName':'a.example','allocationPolicy':'static'",
        ",'iotHubHostName':'a.example','allocationPolicy':'static','iotHubs':['A.example']",
        ",'iotHubHostName':'a.example','allocationPolicy':'static','iotHubs':[]"};
    static const char *const contrary[] = {
        ",'iotHubHostName':'a.example','allocationPolicy':'hashed'",
        ",'iotHubHostName':'a.example','allocationPolicy':'custom'",
        ",'iotHubHostName':'a.example','iotHubs':['b.example']",
        ",'iotHubHostName':'a.example','iotHubs':['a.example','b.example']",
        ",'iotHubHostName':'a.example','allocationPolicy':'static','iotHubs':['b.example']"};
    struct doc_stage d;

    doc_start(&d);
    for (size_t i = 0; i < LK_ARRAY_LEN(same); i++) {
        accept(&d, same[i]);
        assert_int_equal(d.doc.e.allocation, LK_ALLOC_STATIC);
        assert_int_equal(d.doc.e.hubs_count, 1);
        assert_string_equal(d.doc.e.hubs[0], "a.example");
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(contrary); i++) {
        refuse(&d, contrary[i], "iotHubHostName: contradicts");
    }
    accept(&d, ",'iotHubHostName':'a.example','iotHubs':['a.example'],'allocationPolicy':'hashed'");
    assert_int_equal(d.doc.e.allocation, LK_ALLOC_HASHED); /* among one hub */
    refuse(&d, ",'iotHubHostName':7", "iotHubHostName");
    refuse(&d, ",'iotHubHostName':'a b'", "iotHubHostName");
    doc_stop(&d);
}

/* Of a twin, what reaches devices is kept, and nothing else of what the definition lists. */
static void
twins(void **state)
{
    struct doc_stage d;

    doc_start(&d);
    accept(&d, ",'initialTwin':{'tags':{'a':{'b':[1,null]}},'properties':{'desired':{'c':true},"
               "'reported':{}},'version':3,'metadata':{}}");
    assert_string_equal(lk_buf_text(&d.doc.e.initial_twin),
                        "{\"tags\":{\"a\":{\"b\":[1,null]}},\"properties\":"
                        "{\"desired\":{\"c\":true}}}");
    accept(&d, ",'initialTwin':{}");
    assert_string_equal(lk_buf_text(&d.doc.e.initial_twin), "{\"properties\":{}}");
    doc_stop(&d);
}

/* What a group has not is ignored in one. */
static void
groups(void **state)
{
    struct doc_stage d;
    LK_AUTO(json) json_t *shown = NULL;

    doc_start(&d);
    doc_accept(
        &d, LK_ENTITY_GROUP,
        body_make(GROUP, ",'deviceId':7,'optionalDeviceInformation':7,'registrationId':7", NULL));
    shown = doc_write(&d, LK_ENTITY_GROUP);
    assert_string_equal(doc_text(shown, "enrollmentGroupId"), "line-a");
    assert_null(doc_at(shown, "registrationId"));
    assert_null(doc_at(shown, "deviceId"));
    doc_stop(&d);
}

/* What is shown is read again as the same, whatever the kind. */
static void
shown_is_read_again(void **state)
{
    struct doc_stage d;
    LK_AUTO(json) json_t *first = NULL;
    LK_AUTO(json) json_t *second = NULL;

    doc_start(&d);
    accept(&d, ",'deviceId':'A#1','capabilities':{'iotEdge':true},'provisioningStatus':'disabled',"
               "'reprovisionPolicy':{'updateHubAssignment':true,'migrateDeviceData':false},"
               "'allocationPolicy':'custom','iotHubs':['a.example','b.example'],"
               "'customAllocationDefinition':{'webhookUrl':'https://a/?b=c','apiVersion':'v'},"
               "'initialTwin':{'tags':{'\xc3\xb6':'\\u0001'}},"
               "'optionalDeviceInformation':{'n':1.5e300,'big':9007199254740993}");
    first = doc_write(&d, LK_ENTITY_ENROLLMENT);
    doc_accept(&d, LK_ENTITY_ENROLLMENT, json_dumps(first, 0));
    second = doc_write(&d, LK_ENTITY_ENROLLMENT);
    assert_true(json_equal(first, second));
    assert_string_equal(doc_text(second, "etag"), "\"\"");
    doc_stop(&d);
}

/* ---- registration states ----------------------------------------------------------------------
 */

static void
registration_states(void **state)
{
    struct lk_registration r = {.status = LK_REG_ASSIGNED,
                                .substatus = LK_DPS_SUB_MIGRATED,
                                .created_ms = 1,
                                .updated_ms = INT64_C(1767225600123)};
    LK_AUTO(json) json_t *assigned = json_object();
    LK_AUTO(json) json_t *failed = json_object();

    (void)snprintf(r.id, sizeof(r.id), "Dev-1");
    (void)snprintf(r.hub, sizeof(r.hub), "a.example");
    (void)snprintf(r.device_id, sizeof(r.device_id), "Dev");
    (void)snprintf(r.etag, sizeof(r.etag), "0123");
    assert_int_equal(lk_buf_puts(&r.payload, "[{\"a\":1}]"), LK_OK);
    assert_int_equal(lk_registration_json_put(&r, assigned), LK_OK);
    assert_string_equal(doc_text(assigned, "registrationId"), "Dev-1");
    assert_string_equal(doc_text(assigned, "status"), "assigned");
    assert_string_equal(doc_text(assigned, "substatus"), "deviceDataMigrated");
    assert_string_equal(doc_text(assigned, "lastUpdatedDateTimeUtc"),
                        "2026-01-01T00:00:00.1230000Z");
    assert_string_equal(doc_text(assigned, "etag"), "\"0123\"");
    assert_int_equal(json_integer_value(doc_at(assigned, "payload/0/a")), 1);
    assert_null(doc_at(assigned, "errorCode"));

    r.status = LK_REG_FAILED;
    r.error_code = LK_DPS_NO_HUB;
    r.hub[0] = '\0';
    lk_buf_reset(&r.payload);
    assert_int_equal(lk_registration_json_put(&r, failed), LK_OK);
    assert_string_equal(doc_text(failed, "status"), "failed");
    assert_int_equal(json_integer_value(doc_at(failed, "errorCode")), LK_DPS_NO_HUB);
    assert_null(doc_at(failed, "assignedHub"));
    assert_null(doc_at(failed, "payload"));
    lk_registration_fini(&r);
}

static int
teardown(void **state)
{
    bodies_free();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids),
        cmocka_unit_test(etags),
        cmocka_unit_test(defaults),
        cmocka_unit_test(read_again),
        cmocka_unit_test(bad_members),
        cmocka_unit_test(sizes),
        cmocka_unit_test(words),
        cmocka_unit_test(the_older_hub_member),
        cmocka_unit_test(twins),
        cmocka_unit_test(groups),
        cmocka_unit_test(shown_is_read_again),
        cmocka_unit_test(registration_states),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
