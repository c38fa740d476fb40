/*
 * SAS tokens (device-protocol.md 1.5, service-api.md 12.1, iot-hub.md 4): parse once, verify over
 * the raw text that was signed, and make.
 */
#ifndef LK_WIRE_SAS_H
#define LK_WIRE_SAS_H

#include "base/buf.h"

#define LK_SAS_MAX 2048u         /* bytes of a whole token */
#define LK_SAS_RESOURCE_MAX 512u /* bytes of a decoded sr */
#define LK_SAS_KEY_NAME_MAX 128u /* bytes of a decoded skn */
#define LK_SAS_SIG_LEN 32u

/* A parsed token. raw_sr borrows from the text that was parsed. */
struct lk_sas {
    const char *raw_sr; /* exactly as signed */
    size_t raw_sr_len;
    const char *raw_se; /* exactly as signed, digits */
    size_t raw_se_len;
    char resource[LK_SAS_RESOURCE_MAX + 1]; /* sr, percent-decoded once; no NUL inside */
    char key_name[LK_SAS_KEY_NAME_MAX + 1]; /* skn, decoded; "" when empty or absent */
    bool has_key_name;                      /* skn was there, even if empty */
    uint64_t expiry_unix_s;
    uint8_t sig[LK_SAS_SIG_LEN];
};

/*
 * Parse "SharedAccessSignature sr=..&sig=..&se=..[&skn=..]": scheme without regard to case, one
 * space, members in any order, each once, no others needed; unknown members are refused.
 * LK_ERR_FORMAT.
 */
LK_MUST_CHECK enum lk_err lk_sas_parse(const char *text, size_t len, struct lk_sas *ret);

/*
 * LK_OK when sig is HMAC-SHA256(key, sr "\n" se) over the raw text; LK_ERR_REFUSED when not.
 * Constant time. With also_decoded a signature over the percent-decoded sr counts too (hub tokens
 * only, iot-hub.md 4).
 */
LK_MUST_CHECK enum lk_err lk_sas_verify(const struct lk_sas *sas, const void *key, size_t key_len,
                                        bool also_decoded);

/* The text that is signed for resource: percent-encoded resource, "\n", expiry. Appended to ret. */
LK_MUST_CHECK enum lk_err lk_sas_string_to_sign(const char *resource, uint64_t expiry_unix_s,
                                                struct lk_buf *ret);

/* The token for a signature made over lk_sas_string_to_sign(); key_name may be NULL. Appended to
 * ret. */
LK_MUST_CHECK enum lk_err lk_sas_format(const char *resource, uint64_t expiry_unix_s,
                                        const uint8_t sig[LK_SAS_SIG_LEN], const char *key_name,
                                        struct lk_buf *ret);

/* True when prefix equals resource, or ends where a segment of it ends. ASCII case ignored when
 * asked. */
bool lk_resource_covers(const char *prefix, const char *resource, bool ignore_case);

#endif
