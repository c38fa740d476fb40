#include "cli/attestation.h"

#include <errno.h>
#include <string.h>

#include "base/codec.h"
#include "crypto/x509.h"

#define CERT_FILE_MAX (4 * LK_X509_DER_MAX) /* bytes: PEM has lines and comments */

enum lk_err
lk_cli_attestation_take(struct lk_cli_attestation *a, int option, const char *value)
{
    switch (option) {
    case LK_CLI_OPT_SYMMETRIC_KEY:
        a->symmetric_key = true;
        return LK_OK;
    case LK_CLI_OPT_PRIMARY_KEY:
        a->key_files[0] = value;
        return LK_OK;
    case LK_CLI_OPT_SECONDARY_KEY:
        a->key_files[1] = value;
        return LK_OK;
    default:
        if (a->certs_count == LK_ARRAY_LEN(a->certs)) {
            return LK_ERR_ARG;
        }
        a->certs[a->certs_count++] = value;
        return LK_OK;
    }
}

unsigned
lk_cli_attestation_ways(const struct lk_cli_attestation *a)
{
    return (a->symmetric_key ? 1u : 0u) + (a->certs_count > 0 ? 1u : 0u);
}

bool
lk_cli_attestation_is_odd(const struct lk_cli_attestation *a)
{
    return !a->symmetric_key && (a->key_files[0] != NULL || a->key_files[1] != NULL);
}

/* ---- files ------------------------------------------------------------------------------------
 */

static int
key_read(const char *path, struct lk_shared_key *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if (path == NULL) {
        return 0;
    }
    errno = 0;
    if ((err = lk_cli_secret_read(path, &text)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(path, shown));
    }
    if ((err = lk_shared_key_parse((const char *)text.data, text.len, ret)) != LK_OK) {
        lk_cli_note("%s: expected base64 of %u to %u bytes", lk_cli_shown(path, shown),
                    LK_SHARED_KEY_MIN, LK_SHARED_KEY_MAX);
        return lk_err_exit_code(err);
    }
    return 0;
}

static int
keys_fill(const struct lk_cli_attestation *a, const struct lk_cli_service *s,
          enum lk_shared_key_owner owner, struct lk_shared_keys *keys, struct lk_enrollment *e)
{
    int code;
    enum lk_err err;

    if ((code = key_read(a->key_files[0], &keys->primary)) != 0 ||
        (code = key_read(a->key_files[1], &keys->secondary)) != 0) {
        return code;
    }
    if (s->remote != NULL) {
        e->attestation = LK_ATTESTATION_SYMMETRIC_KEY;
        return 0;
    }
    err = lk_shared_keys_seal(s->ring, &lk_rand_system, owner, keys, e);
    return err == LK_OK ? 0 : lk_cli_fail(err, "cannot seal the keys");
}

/* What would only show when devices are refused. */
static int
cert_judge(const char *path, enum lk_shared_key_owner owner, const struct lk_enrollment *e,
           const struct lk_buf *der)
{
    struct lk_x509_info info;
    char shown[LK_CLI_SHOWN_CAP], name[LK_CLI_SHOWN_CAP];
    enum lk_err err = lk_x509_read(der->data, der->len, &info);

    if (err != LK_OK) {
        return lk_cli_fail(err, "%s", lk_cli_shown(path, shown));
    }
    if (owner == LK_KEYS_OF_GROUP) {
        if (lk_x509_is_ca(der->data, der->len)) {
            return 0;
        }
        lk_cli_note("%s: the certificate is of no authority that may sign others",
                    lk_cli_shown(path, shown));
        return lk_err_exit_code(LK_ERR_FORMAT);
    }
    if (!lk_ascii_caseeq(info.common_name, strlen(info.common_name), e->id, strlen(e->id))) {
        lk_cli_note("%s: the certificate's common name is \"%s\"; a device needs its registration "
                    "ID there",
                    lk_cli_shown(path, shown), lk_cli_shown(info.common_name, name));
        return lk_err_exit_code(LK_ERR_FORMAT);
    }
    return 0;
}

static int
cert_fill(const char *path, enum lk_shared_key_owner owner, struct lk_enrollment *e,
          struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    errno = 0;
    if ((err = lk_cli_bytes_read(path, CERT_FILE_MAX, &text)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(path, shown));
    }
    if ((err = lk_x509_from_text(text.data, text.len, ret)) != LK_OK) {
        lk_cli_note("%s: expected one certificate, PEM or DER", lk_cli_shown(path, shown));
        return lk_err_exit_code(err);
    }
    return cert_judge(path, owner, e, ret);
}

int
lk_cli_attestation_fill(const struct lk_cli_attestation *a, const struct lk_cli_service *s,
                        enum lk_shared_key_owner owner, struct lk_shared_keys *keys,
                        struct lk_enrollment *e)
{
    int code = 0;

    if (a->symmetric_key) {
        return keys_fill(a, s, owner, keys, e);
    }
    e->attestation = LK_ATTESTATION_X509;
    for (size_t i = 0; code == 0 && i < a->certs_count; i++) {
        code = cert_fill(a->certs[i], owner, e, &e->certs[i]);
    }
    return code;
}

/* ---- shown ------------------------------------------------------------------------------------
 */

const char *
lk_cli_attestation_name(enum lk_attestation kind)
{
    switch (kind) {
    case LK_ATTESTATION_TPM:
        break;
    case LK_ATTESTATION_SYMMETRIC_KEY:
        return "symmetricKey";
    case LK_ATTESTATION_X509:
        return "x509";
    case LK_ATTESTATION_EK_CERT:
        return "ekCertificate";
    }
    return "tpm";
}

static const char *
thumbprint(const struct lk_x509_info *info, char buf[2 * sizeof(info->sha256) + 1])
{
    for (size_t i = 0; i < sizeof(info->sha256); i++) {
        (void)snprintf(buf + 2 * i, 3, "%02x", info->sha256[i]);
    }
    return buf;
}

static json_t *
cert_json(const struct lk_x509_info *info)
{
    char hex[2 * sizeof(info->sha256) + 1], from[LK_CLI_TIME_CAP], to[LK_CLI_TIME_CAP];
    json_t *o = json_pack("{s:s, s:s, s:s}", "sha256", thumbprint(info, hex), "notBefore",
                          lk_cli_time(info->not_before_ms, from), "notAfter",
                          lk_cli_time(info->not_after_ms, to));

    if (json_object_set_new(o, "subject", lk_cli_json_text(info->subject)) != 0 ||
        json_object_set_new(o, "issuer", lk_cli_json_text(info->issuer)) != 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

enum lk_err
lk_cli_attestation_json(const struct lk_enrollment *e, json_t *root)
{
    json_t *list = json_array();
    struct lk_x509_info info;

    if (json_object_set_new(root, "attestation",
                            json_string(lk_cli_attestation_name(e->attestation))) != 0 ||
        (e->attestation == LK_ATTESTATION_X509 &&
         json_object_set(root, "certificates", list) != 0)) {
        json_decref(list);
        return LK_ERR_NOMEM;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(e->certs); i++) {
        if (lk_x509_read(e->certs[i].data, e->certs[i].len, &info) == LK_OK &&
            json_array_append_new(list, cert_json(&info)) != 0) {
            json_decref(list);
            return LK_ERR_NOMEM;
        }
    }
    json_decref(list);
    return LK_OK;
}

void
lk_cli_attestation_print(const struct lk_enrollment *e)
{
    char hex[2 * 32 + 1], time[LK_CLI_TIME_CAP], shown[LK_CLI_SHOWN_CAP];
    struct lk_x509_info info;

    (void)printf("attestation       %s\n", lk_cli_attestation_name(e->attestation));
    for (size_t i = 0; i < LK_ARRAY_LEN(e->certs); i++) {
        if (lk_x509_read(e->certs[i].data, e->certs[i].len, &info) != LK_OK) {
            continue;
        }
        (void)printf("certificate       %s\n", lk_cli_shown(info.subject, shown));
        (void)printf("  SHA-256         %s\n", thumbprint(&info, hex));
        (void)printf("  until           %s\n", lk_cli_time(info.not_after_ms, time));
    }
}

static const char *
key_text(const struct lk_shared_key *key, struct lk_buf *buf)
{
    return lk_shared_key_format(key, buf) == LK_OK ? lk_buf_text(buf) : NULL;
}

int
lk_cli_keys_get(const struct lk_cli_service *s, enum lk_shared_key_owner owner,
                const struct lk_enrollment *e, struct lk_shared_keys *ret)
{
    enum lk_err err;

    if (s->remote != NULL) {
        err = lk_remote_entity_keys(
            s->remote, owner == LK_KEYS_OF_GROUP ? LK_ENTITY_GROUP : LK_ENTITY_ENROLLMENT, e->id,
            ret);
        return err == LK_OK ? 0 : lk_remote_fail(s->remote, err, "cannot tell the keys");
    }
    err = lk_shared_keys_open(s->ring, owner, e, ret);
    return err == LK_OK ? 0 : lk_cli_fail(err, "cannot open the keys");
}

int
lk_cli_keys_print(const struct lk_cli_service *s, enum lk_shared_key_owner owner,
                  const struct lk_enrollment *e, bool json)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
    LK_AUTO_BUF struct lk_buf first = LK_BUF_INIT, second = LK_BUF_INIT;
    LK_AUTO(json) json_t *o = NULL;
    const char *primary, *secondary;
    int code = lk_cli_keys_get(s, owner, e, &keys);

    if (code != 0) {
        return code;
    }
    primary = key_text(&keys.primary, &first);
    secondary = key_text(&keys.secondary, &second);
    if (primary == NULL || secondary == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    if (!json) {
        (void)printf("primary    %s\nsecondary  %s\n", primary, secondary);
        return 0;
    }
    o = json_pack("{s:s, s:s}", "primaryKey", primary, "secondaryKey", secondary);
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}
