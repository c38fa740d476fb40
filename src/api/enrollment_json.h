/*
 * The JSON of the operators' API (service-api.md sections 5 to 8): enrollments and groups, which
 * have one shape, and registration states; each encoder beside its decoder.
 *
 * Members of ours, which other services do not have, stand in attestation.tpm:
 *   endorsementKeys     array of base64: every EK that is accepted, endorsementKey among them or
 *                       not. It is answered when there are several.
 *   pinStorageRootKey   true: no other SRK than storageRootKey is accepted.
 *   ekCertificate       groups only: the rules of provision/ek_group.h, by which the certificates
 *                       of endorsement keys admit devices.
 *
 * Members that are unknown here are ignored, and not kept. What only the store knows (whether a hub
 * is linked) is lk_enrollment_check_open()'s.
 */
#ifndef LK_API_ENROLLMENT_JSON_H
#define LK_API_ENROLLMENT_JSON_H

#include "api/fault.h"
#include "provision/shared_key.h"
#include "store/store.h"
#include "wire/dps.h"

enum lk_entity { LK_ENTITY_ENROLLMENT, LK_ENTITY_GROUP };

#define LK_TWIN_MAX ((size_t)32 * 1024) /* bytes of initialTwin, of optionalDeviceInformation */

/* Codes of section 9 that this surface answers. The first three digits are the status. */
#define LK_SVC_BAD_EK 400201
#define LK_SVC_BAD_REGISTRATION_ID 400202
#define LK_SVC_BAD_SRK 400203
#define LK_SVC_BAD_GROUP_ID 400204
#define LK_SVC_TOO_MANY 400205
#define LK_SVC_ID_TWICE 400206
#define LK_SVC_NO_ENROLLMENT 404201
#define LK_SVC_NO_REGISTRATION 404202
#define LK_SVC_NO_GROUP 404204
#define LK_SVC_ENROLLMENT_EXISTS 409201
#define LK_SVC_GROUP_EXISTS 409202
#define LK_SVC_PRECONDITION 412001

/* An enrollment or group as a client gives it. scope of e is left empty. */
struct lk_enrollment_doc {
    struct lk_enrollment e;
    struct lk_shared_keys keys;   /* SYMMETRIC_KEY: as given; length 0 when left out */
    bool keep_cert[2];            /* X509: named, but without the certificate, as answers show it */
    char etag[LK_ETAG_GIVEN_CAP]; /* without quotes; "" when left out */
};
void lk_enrollment_doc_init(struct lk_enrollment_doc *d);
void lk_enrollment_doc_fini(struct lk_enrollment_doc *d); /* wipes the keys */

/*
 * Read an object. ret is initialised anew. fallback_id (may be NULL) is the id where the object
 * names none; one that it names must be the same without regard to case. LK_ERR_FORMAT with *fault
 * set; LK_ERR_NOMEM, LK_ERR_CRYPTO.
 */
LK_MUST_CHECK enum lk_err lk_enrollment_json_parse(enum lk_entity entity, const json_t *object,
                                                   const char *fallback_id,
                                                   struct lk_svc_fault *fault,
                                                   struct lk_enrollment_doc *ret);

/* The id alone, judged: for items of which nothing else counts. As lk_enrollment_json_parse(). */
LK_MUST_CHECK enum lk_err lk_entity_id_parse(enum lk_entity entity, const json_t *object,
                                             const char *fallback_id, struct lk_svc_fault *fault,
                                             char ret[LK_REGISTRATION_ID_MAX + 1]);

/* What an answer holds beside the enrollment itself. */
struct lk_enrollment_view {
    enum lk_allocation fallback;         /* of the scope: shown where the enrollment names none */
    const struct lk_shared_keys *keys;   /* secrets to show; NULL: none */
    const struct lk_registration *state; /* NULL: there is none */
};
/* Put every member into object. */
LK_MUST_CHECK enum lk_err lk_enrollment_json_put(enum lk_entity entity,
                                                 const struct lk_enrollment *e,
                                                 const struct lk_enrollment_view *view,
                                                 json_t *object);
/* AttestationMechanism: the members "type" and the one that type names. */
LK_MUST_CHECK enum lk_err lk_attestation_json_put(enum lk_entity entity,
                                                  const struct lk_enrollment *e,
                                                  const struct lk_shared_keys *keys,
                                                  json_t *object);
/* DeviceRegistrationState. */
LK_MUST_CHECK enum lk_err lk_registration_json_put(const struct lk_registration *r, json_t *object);

/* ---- clients of ours (answer_json.c) ----------------------------------------------------------
 *
 * A request with the header LK_SVC_DETAILS_HEADER gets objects with one more member, `latchkey`:
 *   scope, import {id, line}, allocationIsDefault (true: the object names no policy), certificates
 *   {primary, secondary} as base64 DER; and of registrations scope, generation, operationId,
 *   attestedDateTimeUtc, endorsementKeyId.
 * Others see exactly what the vendor's service shows.
 */
#define LK_SVC_DETAILS_HEADER "x-latchkey-details"

LK_MUST_CHECK enum lk_err lk_enrollment_details_put(const struct lk_enrollment *e, json_t *object);
LK_MUST_CHECK enum lk_err lk_registration_details_put(const struct lk_registration *r,
                                                      json_t *object);

/* Read an answer, with details or without. As lk_enrollment_json_parse(); etag and times are in e.
 */
LK_MUST_CHECK enum lk_err lk_enrollment_answer_parse(enum lk_entity entity, const json_t *object,
                                                     struct lk_svc_fault *fault,
                                                     struct lk_enrollment_doc *ret);
/* ret is initialised by the caller, with zeros. */
LK_MUST_CHECK enum lk_err lk_registration_answer_parse(const json_t *object,
                                                       struct lk_svc_fault *fault,
                                                       struct lk_registration *ret);
/* Put every member of a request that creates or replaces e. keys: those of a SYMMETRIC_KEY to send;
 * NULL, or one of length 0: the service makes or keeps it. */
LK_MUST_CHECK enum lk_err lk_enrollment_request_put(enum lk_entity entity,
                                                    const struct lk_enrollment *e,
                                                    const struct lk_shared_keys *keys,
                                                    json_t *object);

/* ---- names in JSON and in queries; static storage ------------------------------------------- */

const char *lk_attestation_name(enum lk_attestation a);
const char *lk_allocation_name(enum lk_allocation a, enum lk_allocation fallback);
const char *lk_reg_status_name(enum lk_reg_status s);

/* ---- bulk (section 7) ------------------------------------------------------------------------ */

enum lk_bulk_mode { LK_BULK_CREATE, LK_BULK_UPDATE, LK_BULK_UPDATE_IF_MATCH, LK_BULK_DELETE };

/*
 * Read mode and items of a request. *ret_items is borrowed from object: an array of 1 to items_max
 * objects. LK_ERR_FORMAT with *fault set.
 */
LK_MUST_CHECK enum lk_err lk_bulk_json_parse(enum lk_entity entity, const json_t *object,
                                             size_t items_max, struct lk_svc_fault *fault,
                                             enum lk_bulk_mode *ret_mode, const json_t **ret_items);
/* Append one entry to the errors of a result. */
LK_MUST_CHECK enum lk_err lk_bulk_error_put(enum lk_entity entity, const char *id,
                                            const struct lk_svc_fault *fault, json_t *errors);
/* The whole result; takes errors, also when it fails. */
LK_MUST_CHECK enum lk_err lk_bulk_result_format(json_t *errors, struct lk_buf *ret);

#endif
