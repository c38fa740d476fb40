/*
 * Provision this device: from its TPM to a hub, in one call.
 *
 * lk_device_register() speaks the DPS device protocol with TPM attestation over HTTPS: it presents
 * the endorsement and the storage root key, opens the challenge in the TPM, comes back with a token
 * that the TPM has signed, waits for the assignment and puts the hub's key into the TPM. Afterwards
 * lk_device_sas() makes the tokens with which an MQTT, AMQP or HTTPS client logs on to the hub.
 *
 * Both run on the calling thread and block; no thread is started. A registration ends at its
 * deadline, or when the caller cancels it, at any wait.
 */
#ifndef LK_DEVICE_H
#define LK_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include <latchkey/err.h>
#include <latchkey/tpm.h>

LK_BEGIN_DECLS

/* Where a registration is. */
enum lk_register_step {
    LK_STEP_KEYS,      /* reading or creating EK and SRK */
    LK_STEP_CHALLENGE, /* asking for the challenge */
    LK_STEP_ACTIVATE,  /* opening the challenge in the TPM */
    LK_STEP_AUTHORIZE, /* registering with a token */
    LK_STEP_POLL,      /* waiting for the assignment */
    LK_STEP_IMPORT,    /* putting the hub's key into the TPM */
    LK_STEP_ASSIGNED,  /* done */
    LK_STEP_RETRY      /* something did not work and will be tried again */
};

struct lk_register_progress {
    enum lk_register_step step;
    enum lk_err err;     /* LK_STEP_RETRY: why */
    int http_status;     /* of the last answer; 0 when there was none */
    uint32_t wait_ms;    /* pause that comes now, milliseconds */
    uint32_t elapsed_ms; /* since the start */
};

/* Longest wait that a server's Retry-After is granted, and the wait without one; seconds. */
#define LK_RETRY_AFTER_MAX_S 300u
#define LK_RETRY_AFTER_DEFAULT_S 2u

#define LK_REGISTER_DEADLINE_DEFAULT_MS 300000u

/* Zeros are the defaults. Everything is borrowed until the call returns. */
struct lk_register_opts {
    /* Required: the service, "https://host", with ":port" if it is not 443. A bare host[:port]
     * means the same. Only HTTPS is spoken. */
    const char *url;
    const char *id_scope;        /* required: 1..64 letters, digits and dashes */
    const char *registration_id; /* NULL: the one of lk_tpm_registration_id() */
    const char *ca_file;         /* PEM file of the CAs to trust; NULL: the system's */
    const char *payload_json;    /* JSON value for the service's allocation; NULL: none */
    uint32_t deadline_ms;        /* for everything; 0: LK_REGISTER_DEADLINE_DEFAULT_MS */

    /*
     * Ways to cancel. The flag may be set from another thread or a signal handler; the callback is
     * called on the calling thread a few times a second while the registration waits, and cancels
     * by returning non-zero. Neither is looked at while the TPM works. Both may be NULL.
     */
    const volatile int *cancel_flag;
    int (*is_cancelled)(void *ctx);

    /* Called on the calling thread at each step and before each pause. It must not use the TPM
     * object of this registration. May be NULL. */
    void (*progress)(void *ctx, const struct lk_register_progress *progress);

    void *ctx; /* handed to both callbacks */

    /*
     * Not 0: send the maker's certificate of the endorsement key that is in the TPM's NV memory, by
     * which a group of the service can admit a device that is not enrolled. Without one that
     * matches the key the registration fails with LK_ERR_NOT_FOUND.
     */
    int send_ek_cert;
};

enum lk_register_status {
    LK_REGISTER_NONE = 0, /* the registration did not get as far as an answer */
    LK_REGISTER_ASSIGNED,
    LK_REGISTER_FAILED,  /* the service could not assign a hub; error_code says why */
    LK_REGISTER_DISABLED /* the enrollment is disabled */
};

enum lk_register_substatus {
    LK_SUBSTATUS_NONE = 0,
    LK_SUBSTATUS_INITIAL,      /* first assignment */
    LK_SUBSTATUS_MIGRATED,     /* another hub, the device's data moved with it */
    LK_SUBSTATUS_RESET,        /* another hub, the device's data was reset */
    LK_SUBSTATUS_REPROVISIONED /* the same assignment again */
};

/* What the service said. Plain data but for payload_json. */
struct lk_register_result {
    enum lk_register_status status;
    enum lk_register_substatus substatus;
    char registration_id[129]; /* under which the device registered */
    char hub[254];             /* host name of the assigned hub */
    char device_id[129];       /* the device's name there */
    int http_status;           /* of the last answer; 0 when none came */
    int error_code;            /* the service's, such as 401002; 0 when it sent none */
    char error_message[160];   /* the service's words, for people only */
    char *payload_json;        /* owned; what the service's allocation returned, or NULL */
};

/*
 * Register. On LK_OK the device is assigned, *ret tells where, and the hub's key is in the TPM. On
 * failure *ret is set too, to what is known (status, HTTP status, error code and message). Either
 * way the caller hands it to lk_register_result_fini().
 *
 * Network failures, 429 and 5xx are tried again until the deadline, with exponential pauses and
 * full jitter. The key at the identity handle is replaced as the last step, once the new one has
 * loaded: a registration that fails leaves the device with the hub key that it had.
 *
 *   LK_ERR_ARG        url, id_scope or registration_id is missing or malformed, or payload_json is
 *                     not JSON
 *   LK_ERR_REFUSED    the service does not accept this device: no enrollment, other EK, disabled.
 *                     It does not say which; the operator's log does. Do not retry at once
 *   LK_ERR_TIMEOUT    the deadline passed
 *   LK_ERR_CANCELLED  the caller cancelled
 *   LK_ERR_TLS        the server's certificate was not acceptable; not tried again
 *   LK_ERR_PROTOCOL   an answer outside the protocol, or a client error that no retry repairs
 *   LK_ERR_LIMIT      an answer larger than the protocol allows
 *   and what lk_tpm_ek(), lk_tpm_srk() and lk_tpm_identity_import() return
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_device_register(struct lk_tpm *tpm,
                                                       const struct lk_register_opts *opts,
                                                       struct lk_register_result *ret);

/* Free what a result owns. NULL and a zeroed result are allowed. */
LK_EXPORT void lk_register_result_fini(struct lk_register_result *result);

/* Names for people: "poll", "assigned", "initialAssignment" ("" for none). Static storage. */
LK_EXPORT const char *lk_register_step_name(enum lk_register_step step);
LK_EXPORT const char *lk_register_status_name(enum lk_register_status status);
LK_EXPORT const char *lk_register_substatus_name(enum lk_register_substatus substatus);

#define LK_DEVICE_SAS_CAP                                                                          \
    1024u /* bytes that any token of lk_device_sas() fits in, with its NUL                         \
           */

/*
 * A SAS token for hub and device_id, valid until expiry_unix_s (seconds since 1970), signed in the
 * TPM by the key that the last registration put there. Writes at most cap bytes with the NUL.
 *
 *   LK_ERR_ARG        hub or device_id is missing or malformed
 *   LK_ERR_LIMIT      it does not fit into cap bytes
 *   LK_ERR_NOT_FOUND  there is no identity key in the TPM: register first
 *   and what lk_tpm_identity_hmac() returns
 */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_device_sas(struct lk_tpm *tpm, const char *hub,
                                                  const char *device_id, uint64_t expiry_unix_s,
                                                  char *buf, size_t cap);

/* Remove the hub's key from the TPM; as lk_tpm_identity_forget(). */
LK_EXPORT LK_MUST_CHECK enum lk_err lk_device_forget(struct lk_tpm *tpm);

LK_END_DECLS

#endif
