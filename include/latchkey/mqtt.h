/*
 * Connect this device to its hub over MQTT: everything that an MQTT client asks for.
 *
 * After lk_device_register(), lk_device_mqtt() gives host, port, client id, user name and password
 * for the assigned hub. The password is a token that the TPM has signed, and the hub closes a
 * connection whose token has expired: before that, make a new one and connect again with it.
 *
 *   lk_device_mqtt(tpm, &opts, &m)            connect with m
 *   loop: serve the connection, wake up within lk_device_mqtt_due_s(&m, time(NULL)) seconds
 *         when that is 0: lk_device_mqtt_renew(tpm, &m), disconnect, connect with m
 *   lk_device_mqtt_wipe(&m)
 *
 * Tokens follow the device's clock, which must be within five minutes of the hub's. A clock that is
 * set later, as many devices do it after boot, is no trouble: what is due is told by the clock of
 * each call, and a token that it makes look too old or too young is due at once.
 *
 * Which MQTT client is used is up to the application; this library brings none. examples/device.c
 * is a whole device with libmosquitto.
 */
#ifndef LK_MQTT_H
#define LK_MQTT_H

#include <stddef.h>
#include <stdint.h>

#include <latchkey/device.h>
#include <latchkey/err.h>
#include <latchkey/tpm.h>

LK_BEGIN_DECLS

#define LK_DEVICE_MQTT_PORT 8883u      /* MQTT over TLS */
#define LK_DEVICE_MQTT_TTL_S 3600u     /* default life of a token, seconds */
#define LK_DEVICE_MQTT_TTL_MIN_S 20u   /* shorter ones would be renewed all the time */
#define LK_DEVICE_MQTT_CLIENT_MAX 128u /* bytes of a client's description of itself */
#define LK_DEVICE_MQTT_USER_CAP 1024u  /* bytes that any user name here fits in, with its NUL */

/* Zeros are the defaults. Everything is borrowed until the call returns. */
struct lk_device_mqtt_opts {
    const char *hub;       /* required: lk_register_result.hub */
    const char *device_id; /* required: lk_register_result.device_id */
    uint16_t port;         /* 0: LK_DEVICE_MQTT_PORT */
    uint32_t ttl_s;        /* life of each token; 0: LK_DEVICE_MQTT_TTL_S */
    /* What the client is, for the hub's operator, such as "acme-pump/2.1": up to
     * LK_DEVICE_MQTT_CLIENT_MAX printable ASCII characters. NULL: the name of this library. */
    const char *client;
};

/*
 * What to log on with. Plain data; hold it as long as the device runs. The password is a secret
 * until it expires: wipe the structure when it is no longer needed.
 */
struct lk_device_mqtt {
    char host[254]; /* connect there with TLS, and check the server's certificate for this name */
    uint16_t port;
    char client_id[129];
    char user_name[LK_DEVICE_MQTT_USER_CAP];
    char password[LK_DEVICE_SAS_CAP];
    uint32_t ttl_s;
    uint64_t issued_unix_s; /* when the password was made, by this device's clock */
    uint64_t renew_unix_s;  /* when a new one is due: at three quarters of its life */
    uint64_t expiry_unix_s; /* when the hub closes the connection */
};

/*
 * Make the settings, with a password that is valid from now on. *ret is untouched on failure.
 *
 *   LK_ERR_ARG        hub, device_id or client is missing or malformed, or ttl_s is less than
 *                     LK_DEVICE_MQTT_TTL_MIN_S
 *   LK_ERR_NOT_FOUND  there is no identity key in the TPM: register first
 *   and what lk_tpm_identity_hmac() returns
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_device_mqtt(struct lk_tpm *tpm,
                                                   const struct lk_device_mqtt_opts *opts,
                                                   struct lk_device_mqtt *ret);

/*
 * Put a new password into m. The connection that is open goes on with the old one until that
 * expires: disconnect, and connect with the new one. On failure m is unchanged: what it holds is
 * good until it expires, so try again a little later. Errors as lk_device_mqtt().
 *
 * A hub that refuses a password that is in date (CONNACK 4 or 5) no longer has the key in this TPM:
 * the device was registered again, moved to another hub, or banned. Register, with pauses.
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_device_mqtt_renew(struct lk_tpm *tpm,
                                                         struct lk_device_mqtt *m);

/*
 * Seconds from now_unix_s (seconds since 1970, time(NULL)) until a new password is due; 0 when it
 * is due now. Never fails and takes no TPM: fit for computing the time-out of a poll().
 */
LK_EXPORT uint32_t lk_device_mqtt_due_s(const struct lk_device_mqtt *m, uint64_t now_unix_s);

/* Forget the password and the rest, in a way that the compiler cannot drop. NULL is allowed. */
LK_EXPORT void lk_device_mqtt_wipe(struct lk_device_mqtt *m);

LK_END_DECLS

#endif
