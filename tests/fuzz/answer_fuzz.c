/* Answers of a service elsewhere, as the command line reads them: what is accepted fits, and an
 * enrollment is asked for again as what it was. */
#include <string.h>

#include "api/enrollment_json.h"
#include "api/import_json.h"
#include "api/manage_json.h"
#include "fuzz.h"

/* What is sent back says the same, but for what only the service sets. */
static void
send_again(enum lk_entity entity, const struct lk_enrollment *e)
{
    LK_AUTO(json) json_t *object = json_object();
    struct lk_enrollment_doc doc;
    struct lk_svc_fault fault = {.code = 0};

    lk_enrollment_doc_init(&doc);
    check(lk_enrollment_request_put(entity, e, NULL, object) == LK_OK);
    check(lk_enrollment_json_parse(entity, object, NULL, &fault, &doc) == LK_OK ||
          e->attestation == LK_ATTESTATION_X509); /* certificates that are none */
    check(strcmp(doc.e.id, e->id) == 0 || e->attestation == LK_ATTESTATION_X509);
    lk_enrollment_doc_fini(&doc);
}

static void
entity(enum lk_entity kind, const json_t *object)
{
    struct lk_svc_fault fault = {.code = 0};
    struct lk_enrollment_doc doc;

    lk_enrollment_doc_init(&doc);
    if (lk_enrollment_answer_parse(kind, object, &fault, &doc) == LK_OK) {
        check(doc.e.id[0] != '\0' && strlen(doc.e.scope) <= LK_ID_SCOPE_MAX);
        check(strlen(doc.e.etag) < LK_ETAG_CAP);
        send_again(kind, &doc.e);
    } else {
        check(fault.code == 0 || fault.message[0] != '\0');
    }
    lk_enrollment_doc_fini(&doc);
}

static void
registration(const json_t *object)
{
    struct lk_registration r = {.generation = 0};
    struct lk_svc_fault fault;

    if (lk_registration_answer_parse(object, &fault, &r) == LK_OK) {
        check(r.id[0] != '\0' && strlen(r.hub) <= LK_HOST_NAME_MAX);
    }
    lk_registration_fini(&r);
}

/* What the small ones accept comes out as what is accepted again. */
static void
lists(const json_t *object)
{
    LK_AUTO(json) json_t *again = json_object();
    struct lk_audit_cursor cursor;
    struct lk_policy policy;
    struct lk_audit record;
    struct lk_hub hub;

    if (lk_hub_json_parse(object, &hub) == LK_OK) {
        check(lk_hub_json_put(&hub, again) == LK_OK);
    }
    if (lk_policy_json_parse(object, &policy) == LK_OK) {
        check(lk_policy_json_put(&policy, again) == LK_OK && policy.rights != 0);
    }
    if (lk_audit_json_parse(object, &record) == LK_OK) {
        check(lk_audit_json_put(&record, again) == LK_OK);
    }
    if (lk_cursor_json_parse(object, &cursor) == LK_OK) {
        check(cursor.seq >= 0 && lk_cursor_json_put(&cursor, again) == LK_OK);
    }
}

static void
imports(const json_t *object)
{
    LK_AUTO(json) json_t *again = json_object();
    struct lk_import_undone undone;
    struct lk_import import;
    bool left = false;

    if (lk_import_entry_parse(object, &import) == LK_OK) {
        check(import.id > 0 && import.rows_count >= 0);
        check(lk_import_entry_put(&import, again) == LK_OK);
    }
    if (lk_import_undone_parse(object, &undone, &left) == LK_OK) {
        check(undone.rows_gone >= 0 && undone.rows_kept >= 0);
        check(lk_import_undone_put(&undone, left, again) == LK_OK);
    }
}

/* What changes of hubs ask for and answer. */
static void
hub_change(const json_t *object)
{
    LK_AUTO(json) json_t *again = json_object();
    struct lk_svc_fault fault = {.code = 0};
    struct lk_hub_removal removal = {.limit = 0};
    struct lk_hub_request r, twin;

    if (lk_hub_request_parse(object, &fault, &r) != LK_OK) {
        check(fault.code == LK_SVC_BAD_REQUEST && fault.message[0] != '\0');
    } else {
        check(r.change.weight <= LK_HUB_WEIGHT_MAX);
        check(r.change.region == NULL || strlen(r.change.region) <= LK_REGION_MAX);
        check(lk_hub_request_put(&r, again) == LK_OK);
        check(lk_hub_request_parse(again, &fault, &twin) == LK_OK);
        check(twin.change.weight == r.change.weight);
        check((twin.connection == NULL) == (r.connection == NULL));
    }
    if (lk_hub_removal_json_parse(object, &removal) == LK_OK) {
        check(lk_hub_removal_json_put(&removal, again) == LK_OK);
    }
}

/* What changes of policies ask for and answer. */
static void
policy_change(const json_t *object)
{
    struct lk_svc_fault fault = {.code = 0};
    enum lk_policy_slot slot;
    unsigned rights;

    if (lk_policy_rights_json_parse(object, &fault, &rights) == LK_OK) {
        check(rights != 0 && (rights & ~LK_RIGHTS_ALL) == 0);
    } else {
        check(fault.code == LK_SVC_BAD_REQUEST && fault.message[0] != '\0');
    }
    if (lk_policy_slot_json_parse(object, &fault, &slot) == LK_OK) {
        check(slot == LK_POLICY_PRIMARY || slot == LK_POLICY_SECONDARY);
    }
    for (slot = LK_POLICY_PRIMARY; slot <= LK_POLICY_SECONDARY; slot++) {
        LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;

        if (lk_policy_key_json_parse(object, slot, &key) == LK_OK) {
            check(key.len > 0 && key.len <= LK_POLICY_KEY_MAX);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LK_AUTO(json) json_t *object = NULL;

    if (lk_json_parse(data, size, true, NULL, &object) == LK_OK) {
        entity(LK_ENTITY_ENROLLMENT, object);
        entity(LK_ENTITY_GROUP, object);
        registration(object);
        lists(object);
        imports(object);
        policy_change(object);
        hub_change(object);
    }
    return 0;
}
