/*
 * The JSON of a hub's registry (iot-hub.md 2.1 to 2.5): devices, items of a bulk request, twins and
 * method calls; each encoder beside its decoder. Members that are unknown here are ignored, and not
 * kept.
 */
#ifndef LK_API_HUB_JSON_H
#define LK_API_HUB_JSON_H

#include "api/hub_error.h"
#include "hub/broker.h"
#include "hub/registry.h"
#include "hub/twin.h"

#define LK_HUB_BULK_MAX 100u /* items of one bulk request */

/* ---- devices --------------------------------------------------------------------------------- */

/* A device as a client gives it. What it leaves out has no has_ flag. */
struct lk_device_doc {
    struct lk_hub_device d; /* hub is left empty */
    bool has_status, has_reason, has_auth, has_edge;
    char etag[LK_ETAG_GIVEN_CAP]; /* without quotes; "" when left out */
};
void lk_device_doc_init(struct lk_device_doc *doc);
void lk_device_doc_fini(struct lk_device_doc *doc);

/*
 * Read an object. ret is initialised anew. fallback_id (may be NULL) is the id where the object
 * names none; one that it names must be the same. An empty key is one that is to be made.
 * LK_ERR_FORMAT with *fault set; LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_device_json_parse(const json_t *object, const char *fallback_id,
                                               struct lk_svc_fault *fault,
                                               struct lk_device_doc *ret);
/* What doc gives, over what d has. Keys that it does not give are left empty in d. */
LK_MUST_CHECK enum lk_err lk_device_doc_apply(const struct lk_device_doc *doc,
                                              struct lk_hub_device *d);

/* Put every member into object. */
LK_MUST_CHECK enum lk_err lk_device_json_put(const struct lk_hub_device *d, json_t *object);

/* Names in JSON; static storage. */
const char *lk_identity_auth_name(enum lk_identity_auth auth);

/* ---- bulk ------------------------------------------------------------------------------------ */

enum lk_import_mode {
    LK_IMPORT_CREATE,
    LK_IMPORT_UPDATE,
    LK_IMPORT_UPDATE_IF_MATCH,
    LK_IMPORT_CREATE_OR_UPDATE,
    LK_IMPORT_CREATE_OR_UPDATE_IF_MATCH,
    LK_IMPORT_DELETE,
    LK_IMPORT_DELETE_IF_MATCH,
    LK_IMPORT_UPDATE_TWIN,
    LK_IMPORT_UPDATE_TWIN_IF_MATCH
};

/* An ExportImportDevice. The twin's sections are borrowed from the object; NULL: left out. */
struct lk_import_doc {
    struct lk_device_doc device;
    enum lk_import_mode mode;
    char twin_etag[LK_ETAG_GIVEN_CAP];
    const json_t *tags, *desired, *reported;
};
void lk_import_doc_init(struct lk_import_doc *doc);
void lk_import_doc_fini(struct lk_import_doc *doc);

/* As lk_device_json_parse(); sections are judged by lk_twin_judge(). */
LK_MUST_CHECK enum lk_err lk_import_json_parse(const json_t *object, struct lk_svc_fault *fault,
                                               struct lk_import_doc *ret);
/* Append an entry to the errors of a result. id is what the client sent, cut. */
LK_MUST_CHECK enum lk_err lk_import_error_put(const char *id, const struct lk_svc_fault *fault,
                                              json_t *errors);
/* The whole result; takes errors, also when it fails. */
LK_MUST_CHECK enum lk_err lk_import_result_format(json_t *errors, struct lk_buf *ret);

/* ---- twins ----------------------------------------------------------------------------------- */

/* Read a Twin fragment: its sections, borrowed from object, into ret; how is not touched. Reported
 * properties, which only the device writes, are left out. */
LK_MUST_CHECK enum lk_err lk_twin_json_parse(const json_t *object, struct lk_svc_fault *fault,
                                             struct lk_twin_patch *ret);
/* Put every member into object. */
LK_MUST_CHECK enum lk_err lk_twin_json_put(const struct lk_hub_device *d, const struct lk_twin *t,
                                           json_t *object);

/* ---- method calls ---------------------------------------------------------------------------- */

struct lk_method_doc {
    char name[LK_METHOD_NAME_MAX + 1];
    struct lk_buf payload; /* JSON text; empty: none was given */
    uint32_t response_timeout_ms, connect_timeout_ms;
};
void lk_method_doc_init(struct lk_method_doc *doc);
void lk_method_doc_fini(struct lk_method_doc *doc);

LK_MUST_CHECK enum lk_err lk_method_json_parse(const json_t *object, struct lk_svc_fault *fault,
                                               struct lk_method_doc *ret);
/* What the device answered. LK_ERR_FORMAT: payload is not JSON. Appended to ret. */
LK_MUST_CHECK enum lk_err lk_method_result_format(int status, const char *payload,
                                                  size_t payload_len, struct lk_buf *ret);

#endif
