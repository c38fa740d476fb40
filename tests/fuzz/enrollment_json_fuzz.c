/*
 * Bodies of the operators' API: each input is read as an enrollment, a group and a bulk request of
 * either. What is accepted can be shown, and what is shown reads as the same.
 */
#include <string.h>

#include "api/enrollment_json.h"
#include "fuzz.h"
#include "provision/enrollment.h"

#define BULK_MAX 10u
#define INPUT_MAX ((size_t)96 * 1024) /* what the service takes */

static const char *const id_names[] = {
    [LK_ENTITY_ENROLLMENT] = "registrationId", [LK_ENTITY_GROUP] = "enrollmentGroupId"};

static enum lk_err
read_doc(enum lk_entity entity, const json_t *object, struct lk_enrollment_doc *ret)
{
    struct lk_svc_fault fault = {.code = 0};
    enum lk_err err = lk_enrollment_json_parse(entity, object, NULL, &fault, ret);

    check(err == LK_OK || (err == LK_ERR_FORMAT && fault.code / 1000 == 400));
    check((err == LK_OK) == (fault.code == 0) && (err == LK_OK) == (fault.message[0] == '\0'));
    check(memchr(fault.message, '\0', sizeof(fault.message)) != NULL);
    return err;
}

static json_t *
show(enum lk_entity entity, const struct lk_enrollment_doc *d)
{
    const struct lk_enrollment_view view = {.fallback = LK_ALLOC_HASHED, .keys = &d->keys};
    json_t *object = json_object();

    check(lk_enrollment_json_put(entity, &d->e, &view, object) == LK_OK);
    return object;
}

static bool
key_equal(const struct lk_shared_key *a, const struct lk_shared_key *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* Certificates are not shown: where one was, the place is kept. */
static void
expect_kept(const struct lk_enrollment_doc *was, const struct lk_enrollment_doc *is)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(was->e.certs); i++) {
        check(is->keep_cert[i] == (was->e.certs[i].len > 0) && is->e.certs[i].len == 0);
    }
}

static void
as_doc(enum lk_entity entity, const json_t *object)
{
    struct lk_enrollment_doc first, second;
    LK_AUTO(json) json_t *shown = NULL;
    LK_AUTO(json) json_t *again = NULL;

    lk_enrollment_doc_init(&first);
    lk_enrollment_doc_init(&second);
    /* A place that is kept has nothing to show before the store fills it. */
    if (read_doc(entity, object, &first) == LK_OK && !first.keep_cert[0] && !first.keep_cert[1]) {
        shown = show(entity, &first);
        check(read_doc(entity, shown, &second) == LK_OK);
        check(key_equal(&first.keys.primary, &second.keys.primary));
        check(key_equal(&first.keys.secondary, &second.keys.secondary));
        if (first.e.attestation == LK_ATTESTATION_X509) {
            expect_kept(&first, &second);
        } else {
            check(lk_enrollment_same_proof(&first.e, &second.e));
            again = show(entity, &second);
            check(json_equal(shown, again));
        }
    }
    lk_enrollment_doc_fini(&first);
    lk_enrollment_doc_fini(&second);
}

static void
as_bulk(enum lk_entity entity, const json_t *object)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(json) json_t *result = NULL;
    struct lk_svc_fault fault = {.code = 0};
    const json_t *items = NULL;
    enum lk_bulk_mode mode;
    enum lk_err err = lk_bulk_json_parse(entity, object, BULK_MAX, &fault, &mode, &items);
    json_t *errors;

    if (err != LK_OK) {
        check(err == LK_ERR_FORMAT && fault.code / 1000 == 400 && items == NULL);
        return;
    }
    check(mode <= LK_BULK_DELETE && json_array_size(items) >= 1 &&
          json_array_size(items) <= BULK_MAX);
    errors = json_array();
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const char *id = json_string_value(json_object_get(item, id_names[entity]));

        as_doc(entity, item);
        fault.code = LK_SVC_BAD_REQUEST;
        check(lk_bulk_error_put(entity, id != NULL ? id : "", &fault, errors) == LK_OK);
    }
    check(lk_bulk_result_format(errors, &text) == LK_OK);
    check(lk_json_parse(text.data, text.len, false, NULL, &result) == LK_OK);
    check(json_is_false(json_object_get(result, "isSuccessful")));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LK_AUTO(json) json_t *object = NULL;

    if (size > INPUT_MAX || lk_json_parse(data, size, false, NULL, &object) != LK_OK) {
        return 0;
    }
    for (int entity = LK_ENTITY_ENROLLMENT; entity <= LK_ENTITY_GROUP; entity++) {
        as_doc((enum lk_entity)entity, object);
        as_bulk((enum lk_entity)entity, object);
    }
    return 0;
}
