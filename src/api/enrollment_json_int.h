/* What enrollment_json.c and attestation_json.c share. */
#ifndef LK_API_ENROLLMENT_JSON_INT_H
#define LK_API_ENROLLMENT_JSON_INT_H

#include "api/enrollment_json.h"
#include "wire/members.h"

/* Text member; NULL when absent or null. Another kind is a fault with this code. */
LK_MUST_CHECK enum lk_err lk_svc_text(const json_t *object, const char *name, int32_t code,
                                      struct lk_svc_fault *fault, const char **ret);
/* Object member; NULL when absent or null. */
LK_MUST_CHECK enum lk_err lk_svc_object(const json_t *object, const char *name,
                                        struct lk_svc_fault *fault, const json_t **ret);
/* Boolean member; *ret stays when it is absent or null. */
LK_MUST_CHECK enum lk_err lk_svc_bool(const json_t *object, const char *name,
                                      struct lk_svc_fault *fault, bool *ret);

/* The attestation member's object into ret. */
LK_MUST_CHECK enum lk_err lk_attestation_json_parse(enum lk_entity entity, const json_t *object,
                                                    struct lk_svc_fault *fault,
                                                    struct lk_enrollment_doc *ret);

#endif
