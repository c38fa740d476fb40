/* What enrollment_json.c and attestation_json.c share. */
#ifndef LK_API_ENROLLMENT_JSON_INT_H
#define LK_API_ENROLLMENT_JSON_INT_H

#include "api/enrollment_json.h"
#include "wire/members.h"

/* The attestation member's object into ret. */
LK_MUST_CHECK enum lk_err lk_attestation_json_parse(enum lk_entity entity, const json_t *object,
                                                    struct lk_svc_fault *fault,
                                                    struct lk_enrollment_doc *ret);

#endif
