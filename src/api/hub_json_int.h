/* What the files of the hub's JSON share. */
#ifndef LK_API_HUB_JSON_INT_H
#define LK_API_HUB_JSON_INT_H

#include "api/hub_json.h"
#include "wire/members.h"

/* deviceId, status, statusReason, its time by this name, capabilities. */
LK_MUST_CHECK enum lk_err lk_status_json_put(const struct lk_hub_device *d, const char *time_name,
                                             json_t *object);
/* connectionState, lastActivityTime, cloudToDeviceMessageCount. */
LK_MUST_CHECK enum lk_err lk_presence_json_put(const struct lk_hub_device *d, json_t *object);
/* x509Thumbprint. */
LK_MUST_CHECK enum lk_err lk_thumbprints_json_put(const struct lk_identity *id, json_t *object);

/* A twin's section, judged; NULL when absent or null. Borrowed from parent. */
LK_MUST_CHECK enum lk_err lk_twin_section_parse(const json_t *parent, const char *name,
                                                enum lk_twin_section section,
                                                struct lk_svc_fault *fault, const json_t **ret);

#endif
