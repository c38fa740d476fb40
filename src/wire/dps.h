/*
 * The messages of the DPS device API (device-protocol.md 1.3 to 1.8), each with its encoder beside
 * its decoder. The service decodes requests and encodes answers; the SDK and the load generator do
 * the reverse.
 */
#ifndef LK_WIRE_DPS_H
#define LK_WIRE_DPS_H

#include "base/json.h"
#include "wire/ids.h"

#define LK_DPS_BODY_MAX                                                                            \
    ((size_t)96 * 1024) /* bytes of a request body: the documented message size */
#define LK_DPS_PAYLOAD_MAX ((size_t)64 * 1024) /* bytes of the custom payload, as compact JSON */

#define LK_DPS_EK_CERT_MAX ((size_t)8192) /* bytes of a certificate that a device brings */
#define LK_DPS_EK_CHAIN_MAX 4u            /* certificates besides the EK's own */

/* ---- register request ---------------------------------------------------------------------------
 */

struct lk_dps_register {
    char registration_id[LK_REGISTRATION_ID_MAX + 1]; /* "" when the member is absent */
    bool has_tpm;
    struct lk_buf ek;  /* TPM2B_PUBLIC, decoded from base64 */
    struct lk_buf srk; /* empty when absent */
    /* Ours: the EK's certificate, DER, and what leads to its maker's root; empty when absent. */
    struct lk_buf ek_cert;
    struct lk_buf ek_chain[LK_DPS_EK_CHAIN_MAX];
    size_t ek_chain_count;
    struct lk_buf payload; /* compact JSON; empty when absent */
};
#define LK_DPS_REGISTER_INIT                                                                       \
    {                                                                                              \
        .ek = LK_BUF_INIT, .srk = LK_BUF_INIT, .payload = LK_BUF_INIT                              \
    }
void lk_dps_register_fini(struct lk_dps_register *m);

/*
 * Parse a register body. An empty body counts as {}. Unknown members are ignored. error (may be
 * NULL) names the member at fault. LK_ERR_FORMAT, LK_ERR_LIMIT, LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_dps_register_parse(const void *body, size_t len,
                                                char error[LK_JSON_ERROR_CAP],
                                                struct lk_dps_register *ret);
LK_MUST_CHECK enum lk_err lk_dps_register_format(const struct lk_dps_register *m,
                                                 struct lk_buf *ret);

/* ---- 401 challenge
 * -------------------------------------------------------------------------------- */

/* auth_key is the raw blob; the formatter writes it as base64. */
LK_MUST_CHECK enum lk_err lk_dps_challenge_format(const void *auth_key, size_t len,
                                                  struct lk_buf *ret);
/* Appends the decoded blob to ret_auth_key. LK_ERR_REFUSED when the body is an error without a key.
 */
LK_MUST_CHECK enum lk_err lk_dps_challenge_parse(const void *body, size_t len,
                                                 struct lk_buf *ret_auth_key);

/* ---- registration state and operation status
 * -------------------------------------------------------- */

enum lk_dps_status {
    LK_DPS_UNASSIGNED,
    LK_DPS_ASSIGNING,
    LK_DPS_ASSIGNED,
    LK_DPS_FAILED,
    LK_DPS_DISABLED
};
enum lk_dps_substatus {
    LK_DPS_SUB_NONE,
    LK_DPS_SUB_INITIAL,      /* initialAssignment */
    LK_DPS_SUB_MIGRATED,     /* deviceDataMigrated */
    LK_DPS_SUB_RESET,        /* deviceDataReset */
    LK_DPS_SUB_REPROVISIONED /* reprovisionedToInitialAssignment */
};

const char *lk_dps_status_name(enum lk_dps_status s);
const char *lk_dps_substatus_name(enum lk_dps_substatus s); /* "" for none */

struct lk_dps_state {
    enum lk_dps_status status;
    enum lk_dps_substatus substatus;
    char registration_id[LK_REGISTRATION_ID_MAX + 1];
    char device_id[LK_DEVICE_ID_MAX + 1];       /* "" leaves it out */
    char assigned_hub[LK_HOST_NAME_MAX + 1];    /* "" leaves it out */
    char operation_id[LK_OPERATION_ID_MAX + 1]; /* "" leaves the envelope's member out */
    int64_t created_ms, updated_ms;             /* Unix milliseconds; 0 leaves it out */
    char etag[64];                              /* without quotes; "" leaves it out */
    int32_t error_code;                         /* 0 leaves code and message out */
    char error_message[160];
    struct lk_buf auth_key; /* raw blob of tpm.authenticationKey; empty leaves tpm out */
    struct lk_buf payload;  /* JSON text; empty leaves it out */
};
void lk_dps_state_fini(struct lk_dps_state *s);

/* {"operationId","status"[,"registrationState"]}; the envelope that answers register and poll. */
LK_MUST_CHECK enum lk_err lk_dps_operation_format(const struct lk_dps_state *s, bool with_state,
                                                  struct lk_buf *ret);
/* The bare registrationState, as look-up answers. */
LK_MUST_CHECK enum lk_err lk_dps_state_format(const struct lk_dps_state *s, struct lk_buf *ret);
/* Either form of the envelope. */
LK_MUST_CHECK enum lk_err lk_dps_operation_parse(const void *body, size_t len,
                                                 struct lk_dps_state *ret);

/* ---- errors
 * ----------------------------------------------------------------------------------------- */

#define LK_DPS_BAD_REQUEST 400004
#define LK_DPS_UNAUTHORIZED 401002
#define LK_DPS_NOT_FOUND 404201
#define LK_DPS_METHOD_NOT_ALLOWED 405001
#define LK_DPS_TOO_LARGE 413001
#define LK_DPS_MEDIA_TYPE 415001
#define LK_DPS_THROTTLED 429001
#define LK_DPS_INTERNAL 500001
#define LK_DPS_UNAVAILABLE 503001
#define LK_DPS_CUSTOM_FAILED 400207 /* in registrationState: custom allocation */
#define LK_DPS_NO_HUB 400208        /* in registrationState */
#define LK_DPS_HUB_REFUSED 400209   /* in registrationState */

LK_MUST_CHECK enum lk_err lk_dps_error_format(int32_t error_code, const char *tracking_id,
                                              const char *message, int64_t now_ms,
                                              struct lk_buf *ret);
/* message is bounded to cap and may be empty. */
LK_MUST_CHECK enum lk_err lk_dps_error_parse(const void *body, size_t len, int32_t *ret_code,
                                             char *message, size_t cap);

#endif
