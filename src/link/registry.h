/*
 * Messages of a hub's registry (iot-hub.md sections 2.1 to 2.3 and 2.6) as who calls it writes and
 * reads them. What a hub answers is a stranger's text: it is bounded, judged, and only what is
 * needed of it is kept.
 */
#ifndef LK_LINK_REGISTRY_H
#define LK_LINK_REGISTRY_H

#include "base/json.h"
#include "provision/hub_link.h"

#define LK_REGISTRY_API_VERSION "2021-04-12"
#define LK_REGISTRY_NAME_CAP 64u                    /* bytes of an error's name with the NUL */
#define LK_REGISTRY_SECTION_MAX ((size_t)64 * 1024) /* bytes of tags, or of desired properties */

/* ---- what is sent ------------------------------------------------------------------------------
 */

/* The body of a bulk create of one device, twin included. LK_ERR_FORMAT: its twin is none. */
LK_MUST_CHECK enum lk_err lk_registry_create_format(const struct lk_hub_identity *id,
                                                    struct lk_buf *ret);
/* The device as was says, with the keys or the thumbprint of id. */
LK_MUST_CHECK enum lk_err lk_registry_update_format(const struct lk_hub_snapshot *was,
                                                    const struct lk_hub_identity *id,
                                                    struct lk_buf *ret);
/* The patch that puts twin, an initial twin's text, over the one that is there. */
LK_MUST_CHECK enum lk_err lk_registry_twin_format(const char *twin, struct lk_buf *ret);

/* ---- what is answered --------------------------------------------------------------------------
 */

/*
 * A device, which must be device_id; ret is zeroed. found is set. LK_ERR_FORMAT and LK_ERR_LIMIT:
 * error says what is wrong with it.
 */
LK_MUST_CHECK enum lk_err lk_registry_device_parse(const void *body, size_t len,
                                                   const char *device_id,
                                                   char error[LK_JSON_ERROR_CAP],
                                                   struct lk_hub_snapshot *ret);
/* A twin, as an initial twin's text; ret stays empty when there is nothing in it. */
LK_MUST_CHECK enum lk_err lk_registry_twin_parse(const void *body, size_t len,
                                                 const char *device_id,
                                                 char error[LK_JSON_ERROR_CAP], struct lk_buf *ret);
/*
 * The result of a bulk create of one device: LK_OK, LK_ERR_EXISTS, LK_ERR_BUSY (throttled), or
 * LK_ERR_UNSUPPORTED with the name of the error; LK_ERR_FORMAT: it is no result.
 */
LK_MUST_CHECK enum lk_err lk_registry_bulk_parse(const void *body, size_t len,
                                                 char error[LK_JSON_ERROR_CAP]);
/*
 * The name (or the number, as text) in the body of an error: "DeviceNotFound". "" when there is
 * none; letters and digits only.
 */
void lk_registry_error_parse(const void *body, size_t len, char ret[LK_REGISTRY_NAME_CAP]);
/* The error says that the device does not exist, rather than the hub or the path. */
bool lk_registry_is_device_missing(const char *name);

/* {"totalDeviceCount":..}: LK_ERR_FORMAT without it. */
LK_MUST_CHECK enum lk_err lk_registry_statistics_parse(const void *body, size_t len,
                                                       int64_t *ret_devices);

#endif
