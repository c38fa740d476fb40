/* Identifiers on the wire (service-api.md section 4, device-protocol.md 1.1). */
#ifndef LK_WIRE_IDS_H
#define LK_WIRE_IDS_H

#include "base/buf.h"

#define LK_ID_SCOPE_MAX 64u         /* bytes */
#define LK_REGISTRATION_ID_MAX 128u /* bytes */
#define LK_DEVICE_ID_MAX 128u       /* bytes */
#define LK_HOST_NAME_MAX 253u       /* bytes */
#define LK_OPERATION_ID_MAX 63u     /* bytes */

/* 1..64 of letters, digits and '-'. Compared exactly. */
bool lk_id_scope_ok(const char *text, size_t len);

/*
 * 1..128 of letters, digits and - . _ : with a letter, digit or dash last (the documented rule; a
 * special first character is legal there and accepted).
 */
bool lk_registration_id_ok(const char *text, size_t len);

/* IoT Hub device id: 1..128 of letters, digits and -:.+%_#*?!(),=@;$' . */
bool lk_device_id_ok(const char *text, size_t len);

/* A DNS host name: labels of letters, digits and '-', at most 253 bytes; a dot is not required. */
bool lk_host_name_ok(const char *text, size_t len);

#endif
