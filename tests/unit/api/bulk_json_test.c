/* Tests of src/api/bulk_json.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "doc_stage.h"

#define ITEMS_MAX 3u

struct bulk {
    json_t *object;
    const json_t *items;
    enum lk_bulk_mode mode;
    struct lk_svc_fault fault;
};

static enum lk_err
parse(struct bulk *b, enum lk_entity entity, const char *format)
{
    char error[LK_JSON_ERROR_CAP] = "";
    char *body = body_make(format, NULL);

    json_decref(b->object);
    memset(b, 0, sizeof(*b));
    if (lk_json_parse(body, strlen(body), false, error, &b->object) != LK_OK) {
        fail_msg("%s in %s", error, body);
    }
    free(body);
    return lk_bulk_json_parse(entity, b->object, ITEMS_MAX, &b->fault, &b->mode, &b->items);
}

static void
refuse(struct bulk *b, const char *body, int32_t code, const char *word)
{
    assert_int_equal(parse(b, LK_ENTITY_ENROLLMENT, body), LK_ERR_FORMAT);
    assert_int_equal(b->fault.code, code);
    assert_non_null(strstr(b->fault.message, word));
    assert_null(b->items);
}

/* The four modes in any letter case; no other. */
static void
modes(void **state)
{
    static const struct {
        const char *body;
        enum lk_bulk_mode mode;
    } cases[] = {{"{'mode':'create','enrollments':[{}]}", LK_BULK_CREATE},
                 {"{'mode':'UPDATE','enrollments':[{}]}", LK_BULK_UPDATE},
                 {"{'mode':'updateIfMatchEtag','enrollments':[{}]}", LK_BULK_UPDATE_IF_MATCH},
                 {"{'mode':'updateIfMatchETag','enrollments':[{}]}", LK_BULK_UPDATE_IF_MATCH},
                 {"{'enrollments':[{}],'mode':'delete'}", LK_BULK_DELETE}};
    struct bulk b = {.object = NULL};

    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(&b, LK_ENTITY_ENROLLMENT, cases[i].body), LK_OK);
        assert_int_equal(b.mode, cases[i].mode);
        assert_int_equal(json_array_size(b.items), 1);
    }
    refuse(&b, "{'enrollments':[{}]}", LK_SVC_BAD_REQUEST, "mode");
    refuse(&b, "{'mode':7,'enrollments':[{}]}", LK_SVC_BAD_REQUEST, "mode");
    refuse(&b, "{'mode':'updateIfMatch','enrollments':[{}]}", LK_SVC_BAD_REQUEST, "mode");
    json_decref(b.object);
}

/* None, the most, one more, and what is no list of objects. */
static void
counts(void **state)
{
    struct bulk b = {.object = NULL};

    refuse(&b, "{'mode':'create'}", LK_SVC_BAD_REQUEST, "enrollments");
    refuse(&b, "{'mode':'create','enrollments':[]}", LK_SVC_BAD_REQUEST, "enrollments");
    refuse(&b, "{'mode':'create','enrollments':{}}", LK_SVC_BAD_REQUEST, "enrollments");
    refuse(&b, "{'mode':'create','enrollmentGroups':[{}]}", LK_SVC_BAD_REQUEST, "enrollments");
    assert_int_equal(parse(&b, LK_ENTITY_ENROLLMENT, "{'mode':'create','enrollments':[{},{},{}]}"),
                     LK_OK);
    refuse(&b, "{'mode':'create','enrollments':[{},{},{},{}]}", LK_SVC_TOO_MANY, "at most 3");
    assert_int_equal(parse(&b, LK_ENTITY_ENROLLMENT, "{'mode':'create','enrollments':[{},7]}"),
                     LK_ERR_FORMAT);
    assert_int_equal(b.fault.code, LK_SVC_BAD_REQUEST);
    assert_non_null(strstr(b.fault.message, "item 2"));
    assert_int_equal(
        parse(&b, LK_ENTITY_GROUP, "{'mode':'create','enrollmentGroups':[{}],'enrollments':7}"),
        LK_OK);
    json_decref(b.object);
}

/* The same id twice, in any letter case, is the request's fault; without an id, the item's own. */
static void
ids_alone(void **state)
{
    struct bulk b = {.object = NULL};

    assert_int_equal(parse(&b, LK_ENTITY_ENROLLMENT,
                           "{'mode':'delete','enrollments':[{'registrationId':'A'},"
                           "{'registrationId':'b'},{'registrationId':'a'}]}"),
                     LK_ERR_FORMAT);
    assert_int_equal(b.fault.code, LK_SVC_ID_TWICE);
    assert_non_null(strstr(b.fault.message, "item 3"));
    assert_null(b.items);
    assert_int_equal(parse(&b, LK_ENTITY_ENROLLMENT,
                           "{'mode':'delete','enrollments':[{},{'registrationId':7},"
                           "{'registrationId':null}]}"),
                     LK_OK);
    assert_int_equal(parse(&b, LK_ENTITY_GROUP,
                           "{'mode':'delete','enrollmentGroups':[{'registrationId':'a'},"
                           "{'registrationId':'a'},{'enrollmentGroupId':'g'}]}"),
                     LK_OK);
    assert_int_equal(parse(&b, LK_ENTITY_GROUP,
                           "{'mode':'delete','enrollmentGroups':[{'enrollmentGroupId':'g'},"
                           "{'enrollmentGroupId':'G'}]}"),
                     LK_ERR_FORMAT);
    assert_int_equal(b.fault.code, LK_SVC_ID_TWICE);
    json_decref(b.object);
}

/* The result, without errors and with one of each entity. */
static void
results(void **state)
{
    const struct lk_svc_fault fault = {.code = LK_SVC_ENROLLMENT_EXISTS, .message = "It \"is\""};
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    json_t *errors = json_array();

    assert_int_equal(lk_bulk_result_format(errors, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text), "{\"isSuccessful\":true,\"errors\":[]}");
    lk_buf_reset(&text);
    errors = json_array();
    assert_int_equal(lk_bulk_error_put(LK_ENTITY_ENROLLMENT, "dev-1", &fault, errors), LK_OK);
    assert_int_equal(lk_bulk_error_put(LK_ENTITY_GROUP, "", &fault, errors), LK_OK);
    assert_int_equal(lk_bulk_result_format(errors, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text),
                        "{\"isSuccessful\":false,\"errors\":[{\"registrationId\":\"dev-1\","
                        "\"errorCode\":409201,\"errorStatus\":\"It \\\"is\\\"\"},"
                        "{\"enrollmentGroupId\":\"\",\"errorCode\":409201,"
                        "\"errorStatus\":\"It \\\"is\\\"\"}]}");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modes),
        cmocka_unit_test(counts),
        cmocka_unit_test(ids_alone),
        cmocka_unit_test(results),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
