/* Tests of src/api/answer_json.c and manage_json.c: what the command line reads of a service
 * elsewhere is what that service has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/manage_json.h"
#include "doc_stage.h"
#include "provision/enrollment.h"

#define TIME_MS 1767323045678 /* 2026-01-02T03:04:05.678Z */

/* What only the store sets. */
static void
stored(struct lk_enrollment *e)
{
    strcpy(e->scope, "0ne00000001");
    strcpy(e->etag, "abc");
    e->created_ms = TIME_MS;
    e->updated_ms = TIME_MS + 1;
}

static json_t *
answer_of(enum lk_entity entity, const struct lk_enrollment *e, bool details)
{
    const struct lk_enrollment_view view = {.fallback = LK_ALLOC_GEO};
    json_t *object = json_object();

    assert_int_equal(lk_enrollment_json_put(entity, e, &view, object), LK_OK);
    if (details) {
        assert_int_equal(lk_enrollment_details_put(e, object), LK_OK);
    }
    return object;
}

static void
expect_same(const struct lk_enrollment *a, const struct lk_enrollment *b)
{
    char differs[128];

    assert_int_equal(lk_enrollment_diff(a, b, differs, sizeof(differs)), LK_OK);
    assert_string_equal(differs, "");
    assert_string_equal(a->scope, b->scope);
    assert_string_equal(a->etag, b->etag);
    assert_string_equal(a->webhook_url, b->webhook_url);
    assert_int_equal(a->created_ms, b->created_ms);
    assert_int_equal(a->updated_ms, b->updated_ms);
    assert_int_equal(a->import_id, b->import_id);
    assert_int_equal(a->import_line, b->import_line);
    assert_int_equal(a->iot_edge, b->iot_edge);
    assert_int_equal(a->pin_srk, b->pin_srk);
    assert_int_equal(a->reprovision_chosen, b->reprovision_chosen);
    assert_int_equal(a->srk_pub.len, b->srk_pub.len);
    assert_int_equal(a->device_info.len, b->device_info.len);
    for (size_t i = 0; i < LK_ARRAY_LEN(a->certs); i++) {
        assert_int_equal(a->certs[i].len, b->certs[i].len);
        assert_true(a->certs[i].len == 0 ||
                    memcmp(a->certs[i].data, b->certs[i].data, a->certs[i].len) == 0);
    }
}

/* body, stored, answered with details and read, is the same; and so is what is sent back. */
static void
round_trip(enum lk_entity entity, char *body, bool import)
{
    LK_AUTO(json) json_t *answer = NULL;
    LK_AUTO(json) json_t *request = json_object();
    struct lk_enrollment_doc read;
    struct lk_svc_fault fault = {.code = 0};
    struct doc_stage d;

    doc_start(&d);
    doc_accept(&d, entity, body);
    stored(&d.doc.e);
    d.doc.e.import_id = import ? 7 : 0;
    d.doc.e.import_line = import ? 8 : 0;
    answer = answer_of(entity, &d.doc.e, true);
    lk_enrollment_doc_init(&read);
    assert_int_equal(lk_enrollment_answer_parse(entity, answer, &fault, &read), LK_OK);
    expect_same(&d.doc.e, &read.e);

    assert_int_equal(lk_enrollment_request_put(entity, &read.e, &d.doc.keys, request), LK_OK);
    assert_int_equal(lk_enrollment_json_parse(entity, request, NULL, &fault, &read), LK_OK);
    stored(&read.e);
    read.e.import_id = d.doc.e.import_id;
    read.e.import_line = d.doc.e.import_line;
    expect_same(&d.doc.e, &read.e);
    assert_int_equal(read.keys.primary.len, d.doc.keys.primary.len);
    assert_false(read.keep_cert[0]);
    lk_enrollment_doc_fini(&read);
    doc_stop(&d);
}

/* A policy that nobody chose is left out of a request, where it would be a choice. */
static void
policy_unchosen(void **state)
{
    struct doc_stage d;

    doc_start(&d);
    doc_accept(&d, LK_ENTITY_ENROLLMENT,
               body_make("{'registrationId':'a','attestation':{'type':'tpm','tpm':{"
                         "'endorsementKey':'~'}}}",
                         body_ek(0), NULL));
    for (int chosen = 0; chosen <= 1; chosen++) {
        LK_AUTO(json) json_t *request = json_object();

        d.doc.e.reprovision_chosen = chosen == 1;
        assert_int_equal(
            lk_enrollment_request_put(LK_ENTITY_ENROLLMENT, &d.doc.e, &d.doc.keys, request), LK_OK);
        assert_int_equal(json_object_get(request, "reprovisionPolicy") != NULL, chosen);
    }
    doc_stop(&d);
}

static void
round_trips(void **state)
{
    round_trip(LK_ENTITY_ENROLLMENT,
               body_make("{'registrationId':'Dev:1','attestation':{'type':'tpm','tpm':{"
                         "'endorsementKey':'~','endorsementKeys':['~'],'storageRootKey':'~',"
                         "'pinStorageRootKey':true}},'deviceId':'D,1','iotHubs':['a.b'],"
                         "'allocationPolicy':'static','provisioningStatus':'disabled',"
                         "'capabilities':{'iotEdge':true},'optionalDeviceInformation':{'a':1},"
                         "'initialTwin':{'tags':{'t':[1.5]}},'reprovisionPolicy':"
                         "{'updateHubAssignment':true,'migrateDeviceData':false}}",
                         body_ek(0), body_ek(1), body_srk(), NULL),
               true);
    round_trip(LK_ENTITY_ENROLLMENT,
               body_make("{'registrationId':'s','attestation':{'type':'symmetricKey',"
                         "'symmetricKey':{'primaryKey':'AAAAAAAAAAAAAAAAAAAAAA=='}},"
                         "'allocationPolicy':'custom','customAllocationDefinition':"
                         "{'webhookUrl':'https://a/','apiVersion':'2021-10-01'}}",
                         NULL),
               false);
    round_trip(LK_ENTITY_ENROLLMENT,
               body_make("{'registrationId':'c','attestation':{'type':'x509','x509':{"
                         "'clientCertificates':{'primary':{'certificate':'~'},"
                         "'secondary':{'certificate':'~'}}}}}",
                         body_leaf_cert(0), body_leaf_cert(1), NULL),
               false);
    round_trip(LK_ENTITY_GROUP,
               body_make("{'enrollmentGroupId':'g','attestation':{'type':'x509','x509':{"
                         "'signingCertificates':{'primary':{'certificate':'~'}}}}}",
                         body_ca_cert(), NULL),
               false);
}

/* A service of another make has no details, names the policy that counts, and shows no
 * certificate. */
static void
without_details(void **state)
{
    struct lk_enrollment_doc read;
    struct lk_svc_fault fault;
    struct doc_stage d;
    json_t *answer;

    doc_start(&d);
    doc_accept(&d, LK_ENTITY_ENROLLMENT,
               body_make("{'registrationId':'c','attestation':{'type':'x509','x509':{"
                         "'clientCertificates':{'primary':{'certificate':'~'}}}}}",
                         body_leaf_cert(0), NULL));
    stored(&d.doc.e);
    answer = answer_of(LK_ENTITY_ENROLLMENT, &d.doc.e, false);
    assert_null(json_object_get(answer, "latchkey"));
    lk_enrollment_doc_init(&read);
    assert_int_equal(lk_enrollment_answer_parse(LK_ENTITY_ENROLLMENT, answer, &fault, &read),
                     LK_OK);
    assert_int_equal(read.e.allocation, LK_ALLOC_GEO);
    assert_string_equal(read.e.scope, "");
    assert_string_equal(read.e.etag, "abc");
    assert_int_equal(read.e.certs[0].len, 0);
    json_decref(answer);
    lk_enrollment_doc_fini(&read);
    doc_stop(&d);
}

static enum lk_err
registration_read(const char *text, struct lk_registration *ret)
{
    LK_AUTO(json) json_t *object = NULL;
    struct lk_svc_fault fault;
    char *body = body_make(text, NULL);

    assert_int_equal(lk_json_parse(body, strlen(body), false, NULL, &object), LK_OK);
    free(body);
    return lk_registration_answer_parse(object, &fault, ret);
}

static void
registrations(void **state)
{
    LK_AUTO(json) json_t *answer = json_object();
    struct lk_registration r = {.generation = 5,
                                .status = LK_REG_FAILED,
                                .substatus = LK_DPS_SUB_MIGRATED,
                                .error_code = 400208,
                                .attested_ms = TIME_MS,
                                .created_ms = TIME_MS,
                                .updated_ms = TIME_MS};
    struct lk_registration read = {.generation = 0};
    struct lk_svc_fault fault;

    strcpy(r.scope, "0ne00000001");
    strcpy(r.id, "Dev-1");
    strcpy(r.hub, "hub.test");
    strcpy(r.device_id, "D");
    strcpy(r.operation_id, "5.aa");
    strcpy(r.etag, "e");
    strcpy(r.error_message, "no hub");
    memset(r.ek_id, 0xa7, sizeof(r.ek_id));
    assert_int_equal(lk_buf_puts(&r.payload, "{\"a\":1}"), LK_OK);
    assert_int_equal(lk_registration_json_put(&r, answer), LK_OK);
    assert_int_equal(lk_registration_details_put(&r, answer), LK_OK);
    assert_int_equal(lk_registration_answer_parse(answer, &fault, &read), LK_OK);
    assert_string_equal(read.scope, r.scope);
    assert_string_equal(read.id, r.id);
    assert_string_equal(read.hub, r.hub);
    assert_string_equal(read.operation_id, r.operation_id);
    assert_string_equal(read.error_message, r.error_message);
    assert_int_equal(read.generation, 5);
    assert_int_equal(read.status, LK_REG_FAILED);
    assert_int_equal(read.substatus, LK_DPS_SUB_MIGRATED);
    assert_int_equal(read.error_code, 400208);
    assert_int_equal(read.attested_ms, TIME_MS);
    assert_memory_equal(read.ek_id, r.ek_id, sizeof(r.ek_id));
    assert_string_equal(lk_buf_text(&read.payload), "{\"a\":1}");

    /* Of another make, and not one at all. */
    assert_int_equal(registration_read("{'registrationId':'x','status':'assigned'}", &read), LK_OK);
    assert_int_equal(read.status, LK_REG_ASSIGNED);
    assert_int_equal(read.generation, 0);
    assert_int_equal(registration_read("{}", &read), LK_ERR_FORMAT);
    assert_int_equal(registration_read("{'registrationId':7}", &read), LK_ERR_FORMAT);
    assert_int_equal(
        registration_read("{'registrationId':'x','latchkey':{'generation':'5'}}", &read),
        LK_ERR_FORMAT);
    lk_registration_fini(&r);
    lk_registration_fini(&read);
}

/* Members that are missing, of another kind or out of form, one at a time. */
static void
details_refused(void **state)
{
    static const char *const bad[] = {"'etag':7",
                                      "'createdDateTimeUtc':'yesterday'",
                                      "'lastUpdatedDateTimeUtc':1",
                                      "'latchkey':[]",
                                      "'latchkey':{'scope':1}",
                                      "'latchkey':{'import':{'id':'1'}}",
                                      "'latchkey':{'certificates':{'primary':'!'}}",
                                      "'latchkey':{'certificates':{'primary':'MIIB'}}",
                                      "'latchkey':{'allocationIsDefault':1}"};
    struct lk_enrollment_doc read;
    struct lk_svc_fault fault;

    lk_enrollment_doc_init(&read);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        LK_AUTO(json) json_t *object = NULL;
        char *part = body_make(bad[i], NULL);
        char *body =
            body_make("{'registrationId':'a','attestation':{'type':'symmetricKey'},~}", part, NULL);

        assert_int_equal(lk_json_parse(body, strlen(body), false, NULL, &object), LK_OK);
        if (lk_enrollment_answer_parse(LK_ENTITY_ENROLLMENT, object, &fault, &read) !=
            LK_ERR_FORMAT) {
            fail_msg("accepted: %s", body);
        }
        free(part);
        free(body);
    }
    lk_enrollment_doc_fini(&read);
}

/* ---- /latchkey/v1 ------------------------------------------------------------------------------
 */

static void
lists(void **state)
{
    LK_AUTO(json) json_t *hub_json = json_object();
    LK_AUTO(json) json_t *policy_json = json_object();
    LK_AUTO(json) json_t *record_json = json_object();
    struct lk_hub hub = {.name = "hub.test",
                         .kind = LK_HUB_HTTP,
                         .weight = 1000,
                         .region = "north",
                         .created_ms = TIME_MS};
    struct lk_policy policy = {.scope = "s",
                               .name = "p@x",
                               .rights = LK_RIGHT_SERVICE_CONFIG | LK_RIGHT_ENROLLMENT_READ,
                               .created_ms = TIME_MS,
                               .updated_ms = TIME_MS};
    struct lk_audit record = {.seq = 3,
                              .time_ms = TIME_MS,
                              .actor = "cli:root",
                              .action = "a",
                              .scope = "",
                              .subject = "\xff",
                              .detail = "{}",
                              .hash = {1}};
    struct lk_hub hub_read;
    struct lk_policy policy_read;
    struct lk_audit record_read;

    assert_int_equal(lk_hub_json_put(&hub, hub_json), LK_OK);
    assert_int_equal(lk_hub_json_parse(hub_json, &hub_read), LK_OK);
    assert_string_equal(hub_read.name, "hub.test");
    assert_string_equal(hub_read.region, "north");
    assert_int_equal(hub_read.kind, LK_HUB_HTTP);
    assert_int_equal(hub_read.weight, 1000);
    assert_false(hub_read.allocatable);
    assert_int_equal(hub_read.created_ms, TIME_MS);
    assert_int_equal(lk_policy_json_put(&policy, policy_json), LK_OK);
    assert_int_equal(json_object_size(policy_json), 5); /* and no key */
    assert_int_equal(lk_policy_json_parse(policy_json, &policy_read), LK_OK);
    assert_string_equal(policy_read.name, "p@x");
    assert_int_equal(policy_read.rights, policy.rights);
    assert_int_equal(lk_audit_json_put(&record, record_json), LK_OK);
    assert_int_equal(lk_audit_json_parse(record_json, &record_read), LK_OK);
    assert_int_equal(record_read.seq, 3);
    assert_string_equal(record_read.subject, "\xc3\xbf"); /* what was no UTF-8 is now */
    assert_memory_equal(record_read.hash, record.hash, sizeof(record.hash));
    /* Each of the others' objects is refused. */
    assert_int_equal(lk_hub_json_parse(policy_json, &hub_read), LK_ERR_FORMAT);
    assert_int_equal(lk_policy_json_parse(record_json, &policy_read), LK_ERR_FORMAT);
    assert_int_equal(lk_audit_json_parse(hub_json, &record_read), LK_ERR_FORMAT);
}

static void
cursors(void **state)
{
    LK_AUTO(json) json_t *start = json_object();
    LK_AUTO(json) json_t *some = json_object();
    struct lk_audit_cursor at = {.seq = 9, .hash = {0xee}}, read;

    assert_int_equal(lk_cursor_json_parse(start, &read), LK_OK);
    assert_int_equal(read.seq, 0);
    assert_int_equal(lk_cursor_json_put(&read, start), LK_OK);
    assert_int_equal(json_object_size(start), 0);
    assert_int_equal(lk_cursor_json_put(&at, some), LK_OK);
    assert_int_equal(lk_cursor_json_parse(some, &read), LK_OK);
    assert_int_equal(read.seq, 9);
    assert_memory_equal(read.hash, at.hash, sizeof(at.hash));
    assert_int_equal(json_object_set_new(some, "seq", json_integer(0)), 0);
    assert_int_equal(lk_cursor_json_parse(some, &read), LK_ERR_FORMAT);
    assert_int_equal(json_object_set_new(some, "seq", json_integer(9)), 0);
    assert_int_equal(json_object_set_new(some, "hash", json_string("ee")), 0);
    assert_int_equal(lk_cursor_json_parse(some, &read), LK_ERR_FORMAT);
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
        cmocka_unit_test(round_trips),     cmocka_unit_test(policy_unchosen),
        cmocka_unit_test(without_details), cmocka_unit_test(registrations),
        cmocka_unit_test(details_refused), cmocka_unit_test(lists),
        cmocka_unit_test(cursors),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
