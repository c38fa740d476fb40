/* What the files of this room share. */
#ifndef LK_WIRE_WIRE_INT_H
#define LK_WIRE_WIRE_INT_H

#include "wire/members.h"

/* The root object of a message of at most LK_DPS_BODY_MAX bytes. Errors as lk_json_parse(), and
 * LK_ERR_LIMIT. */
LK_MUST_CHECK enum lk_err lk_dps_body_parse(const void *body, size_t len,
                                            char error[LK_JSON_ERROR_CAP], json_t **ret);

#endif
