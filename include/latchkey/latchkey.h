/*
 * Latchkey device SDK: from a TPM 2.0 to an assigned IoT hub.
 *
 * Link with liblatchkey (pkg-config latchkey). Whole programs are examples/register.c and, with an
 * MQTT client, examples/device.c:
 *
 *   lk_tpm_open()         find the TPM                                     <latchkey/tpm.h>
 *   lk_device_register()  prove it to the provisioning service, get a hub  <latchkey/device.h>
 *   lk_device_mqtt()      what an MQTT client logs on to it with           <latchkey/mqtt.h>
 *   lk_device_sas()       tokens for other protocols, signed in the TPM    <latchkey/device.h>
 *   lk_tpm_close()
 *
 * The key that authenticates the device never leaves the TPM and never crosses the TPM's bus in
 * clear. The SDK starts no thread, installs no signal handler and writes no log; it reports by
 * return values (enum lk_err, <latchkey/err.h>) and by the progress callback. One thread at a time
 * per object; two objects share nothing but the TPM itself.
 */
#ifndef LK_LATCHKEY_H
#define LK_LATCHKEY_H

#include <latchkey/device.h>
#include <latchkey/err.h>
#include <latchkey/mqtt.h>
#include <latchkey/tpm.h>

/* The version that these headers belong to. */
#define LK_VERSION_MAJOR 0
#define LK_VERSION_MINOR 1
#define LK_VERSION_PATCH 0
#define LK_VERSION "0.1.0"

LK_BEGIN_DECLS

/* The version of the library that runs, for example "0.1.0". Static storage, never NULL. */
LK_EXPORT const char *lk_version(void);

LK_END_DECLS

#endif
