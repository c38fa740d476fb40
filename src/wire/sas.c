#include "wire/sas.h"

#include <inttypes.h>
#include <string.h>

#include "base/codec.h"
#include "crypto/crypto.h"

#define SCHEME "SharedAccessSignature"

_Static_assert(LK_SAS_SIG_LEN == 32, "a signature is a whole HMAC-SHA256");

/* The members of a token, and what each one's text is while it is taken apart. */
enum member { SR, SIG, SE, SKN, MEMBERS_COUNT };

struct text {
    const char *p; /* NULL: the member is absent */
    size_t len;
};

/* ---- parse ----------------------------------------------------------------------------------- */

static enum lk_err
member_take(const char *text, size_t len, struct text members[MEMBERS_COUNT])
{
    static const char *const names[MEMBERS_COUNT] = {
        [SR] = "sr", [SIG] = "sig", [SE] = "se", [SKN] = "skn"};
    const char *equals = memchr(text, '=', len);
    size_t name_len;

    if (equals == NULL) {
        return LK_ERR_FORMAT;
    }
    name_len = (size_t)(equals - text);
    for (size_t i = 0; i < MEMBERS_COUNT; i++) {
        if (name_len != strlen(names[i]) || memcmp(text, names[i], name_len) != 0) {
            continue;
        }
        if (members[i].p != NULL) {
            return LK_ERR_FORMAT;
        }
        members[i] = (struct text){equals + 1, len - name_len - 1};
        return LK_OK;
    }
    return LK_ERR_FORMAT;
}

static enum lk_err
members_split(const char *text, size_t len, struct text members[MEMBERS_COUNT])
{
    size_t start = 0;
    enum lk_err err;

    while (start <= len) {
        const char *ampersand = memchr(text + start, '&', len - start);
        size_t end = ampersand != NULL ? (size_t)(ampersand - text) : len;

        if ((err = member_take(text + start, end - start, members)) != LK_OK) {
            return err;
        }
        start = end + 1;
    }
    return LK_OK;
}

/* A percent-encoded text of 0 to cap - 1 bytes, none of them NUL. */
static enum lk_err
text_decode(struct text in, char *buf, size_t cap)
{
    LK_AUTO_BUF struct lk_buf raw = {.max = LK_SAS_MAX};
    enum lk_err err = lk_percent_decode(in.p, in.len, false, &raw);

    if (err != LK_OK) {
        return err;
    }
    if (raw.len >= cap || (raw.len > 0 && memchr(raw.data, 0, raw.len) != NULL)) {
        return LK_ERR_FORMAT;
    }
    if (raw.len > 0) {
        memcpy(buf, raw.data, raw.len);
    }
    buf[raw.len] = '\0';
    return LK_OK;
}

static enum lk_err
sig_decode(struct text in, uint8_t sig[LK_SAS_SIG_LEN])
{
    LK_AUTO_BUF struct lk_buf base64 = {.max = LK_SAS_MAX};
    LK_AUTO_BUF struct lk_buf raw = {.max = LK_SAS_MAX};
    enum lk_err err;

    if ((err = lk_percent_decode(in.p, in.len, false, &base64)) != LK_OK ||
        (err = lk_base64_decode((const char *)base64.data, base64.len, &raw)) != LK_OK) {
        return err;
    }
    if (raw.len != LK_SAS_SIG_LEN) {
        return LK_ERR_FORMAT;
    }
    memcpy(sig, raw.data, LK_SAS_SIG_LEN);
    return LK_OK;
}

static enum lk_err
members_decode(const struct text members[MEMBERS_COUNT], struct lk_sas *sas)
{
    enum lk_err err;

    if (members[SR].p == NULL || members[SR].len == 0 || members[SIG].p == NULL ||
        members[SE].p == NULL) {
        return LK_ERR_FORMAT;
    }
    sas->raw_sr = members[SR].p;
    sas->raw_sr_len = members[SR].len;
    sas->raw_se = members[SE].p;
    sas->raw_se_len = members[SE].len;
    sas->has_key_name = members[SKN].p != NULL;
    if ((err = text_decode(members[SR], sas->resource, sizeof(sas->resource))) != LK_OK ||
        (err = lk_decimal_parse(members[SE].p, members[SE].len, &sas->expiry_unix_s)) != LK_OK ||
        (err = sig_decode(members[SIG], sas->sig)) != LK_OK) {
        return err;
    }
    return sas->has_key_name ? text_decode(members[SKN], sas->key_name, sizeof(sas->key_name))
                             : LK_OK;
}

enum lk_err
lk_sas_parse(const char *text, size_t len, struct lk_sas *ret)
{
    const size_t scheme_len = strlen(SCHEME);
    struct text members[MEMBERS_COUNT] = {{NULL, 0}};
    struct lk_sas sas = {0};
    enum lk_err err;

    if (len > LK_SAS_MAX || len <= scheme_len || text[scheme_len] != ' ' ||
        !lk_ascii_caseeq(text, scheme_len, SCHEME, scheme_len)) {
        return LK_ERR_FORMAT;
    }
    if ((err = members_split(text + scheme_len + 1, len - scheme_len - 1, members)) != LK_OK ||
        (err = members_decode(members, &sas)) != LK_OK) {
        return err;
    }
    *ret = sas;
    return LK_OK;
}

/* ---- verify ---------------------------------------------------------------------------------- */

static enum lk_err
signature(const void *key, size_t key_len, struct lk_part resource, const struct lk_sas *sas,
          uint8_t ret[LK_SAS_SIG_LEN])
{
    const struct lk_part parts[] = {resource, LK_PART("\n", 1),
                                    LK_PART(sas->raw_se, sas->raw_se_len)};

    return lk_hmac(LK_SHA256, key, key_len, parts, LK_ARRAY_LEN(parts), ret);
}

enum lk_err
lk_sas_verify(const struct lk_sas *sas, const void *key, size_t key_len, bool also_decoded)
{
    uint8_t raw[LK_SAS_SIG_LEN], decoded[LK_SAS_SIG_LEN];
    bool equal = false;
    enum lk_err err;

    err = signature(key, key_len, LK_PART(sas->raw_sr, sas->raw_sr_len), sas, raw);
    if (err == LK_OK && also_decoded) {
        err = signature(key, key_len, LK_PART(sas->resource, strlen(sas->resource)), sas, decoded);
    }
    if (err == LK_OK) {
        equal = lk_ct_equal(raw, sas->sig, sizeof(raw));
        if (also_decoded) {
            equal |= lk_ct_equal(decoded, sas->sig, sizeof(decoded));
        }
    }
    lk_wipe(raw, sizeof(raw));
    lk_wipe(decoded, sizeof(decoded));
    if (err != LK_OK) {
        return err;
    }
    return equal ? LK_OK : LK_ERR_REFUSED;
}

/* ---- make ------------------------------------------------------------------------------------ */

enum lk_err
lk_sas_string_to_sign(const char *resource, uint64_t expiry_unix_s, struct lk_buf *ret)
{
    enum lk_err err = lk_percent_encode(resource, strlen(resource), ret);

    return err != LK_OK ? err : lk_buf_printf(ret, "\n%" PRIu64, expiry_unix_s);
}

static enum lk_err
sig_encode(const uint8_t sig[LK_SAS_SIG_LEN], struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf base64 = LK_BUF_INIT;
    enum lk_err err = lk_base64_encode(sig, LK_SAS_SIG_LEN, &base64);

    return err != LK_OK ? err : lk_percent_encode((const char *)base64.data, base64.len, ret);
}

enum lk_err
lk_sas_format(const char *resource, uint64_t expiry_unix_s, const uint8_t sig[LK_SAS_SIG_LEN],
              const char *key_name, struct lk_buf *ret)
{
    enum lk_err err;

    if ((err = lk_buf_puts(ret, SCHEME " sr=")) != LK_OK ||
        (err = lk_percent_encode(resource, strlen(resource), ret)) != LK_OK ||
        (err = lk_buf_puts(ret, "&sig=")) != LK_OK || (err = sig_encode(sig, ret)) != LK_OK ||
        (err = lk_buf_printf(ret, "&se=%" PRIu64, expiry_unix_s)) != LK_OK || key_name == NULL) {
        return err;
    }
    if ((err = lk_buf_puts(ret, "&skn=")) != LK_OK) {
        return err;
    }
    return lk_percent_encode(key_name, strlen(key_name), ret);
}

bool
lk_resource_covers(const char *prefix, const char *resource, bool ignore_case)
{
    size_t len = strlen(prefix);

    if (len == 0 || len > strlen(resource) || (resource[len] != '\0' && resource[len] != '/')) {
        return false;
    }
    return ignore_case ? lk_ascii_caseeq(prefix, len, resource, len)
                       : memcmp(prefix, resource, len) == 0;
}
