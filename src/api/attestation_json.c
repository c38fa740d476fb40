/* AttestationMechanism, both ways (service-api.md section 6). */
#include <string.h>

#include "api/enrollment_json_int.h"
#include "base/codec.h"
#include "crypto/x509.h"
#include "provision/ek_group.h"
#include "provision/enrollment.h"

static const char *const slots[] = {"primary", "secondary"};

const char *
lk_attestation_name(enum lk_attestation a)
{
    switch (a) {
    case LK_ATTESTATION_SYMMETRIC_KEY:
        return "symmetricKey";
    case LK_ATTESTATION_X509:
        return "x509";
    case LK_ATTESTATION_TPM:
    case LK_ATTESTATION_EK_CERT:
        break;
    }
    return "tpm";
}

/* ---- tpm --------------------------------------------------------------------------------------
 */

static enum lk_err
ek_take(const char *text, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    LK_AUTO_BUF struct lk_buf bytes = {.max = LK_TPM_PUBLIC_MAX};
    const char *why = "ek.malformed";
    enum lk_err err = lk_base64_decode(text, strlen(text), &bytes);

    if (err == LK_OK) {
        err = lk_enrollment_ek_add(e, bytes.data, bytes.len, &why);
    }
    if (err == LK_OK || err == LK_ERR_EXISTS || err == LK_ERR_NOMEM || err == LK_ERR_CRYPTO) {
        return err == LK_ERR_EXISTS ? LK_OK : err; /* endorsementKey stands in the array too */
    }
    return lk_svc_fault(fault, LK_SVC_BAD_EK,
                        "attestation.tpm: expected the endorsement key as base64 of a whole "
                        "TPM2B_PUBLIC, at most %u of them (%s)",
                        LK_EKS_MAX, why);
}

static enum lk_err
eks_parse(const json_t *tpm, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    const json_t *more = json_object_get(tpm, "endorsementKeys");
    const char *text;
    enum lk_err err;

    if ((err = lk_svc_text(tpm, "endorsementKey", LK_SVC_BAD_EK, fault, &text)) != LK_OK ||
        (text != NULL && (err = ek_take(text, fault, e)) != LK_OK)) {
        return err;
    }
    if (more != NULL && !json_is_null(more) && !json_is_array(more)) {
        return lk_svc_fault(fault, LK_SVC_BAD_EK, "endorsementKeys: expected an array");
    }
    if (json_array_size(more) > LK_EKS_MAX) {
        return lk_svc_fault(fault, LK_SVC_BAD_EK, "endorsementKeys: expected at most %u",
                            LK_EKS_MAX);
    }
    for (size_t i = 0; i < json_array_size(more); i++) {
        if ((text = json_string_value(json_array_get(more, i))) == NULL) {
            return lk_svc_fault(fault, LK_SVC_BAD_EK, "endorsementKeys: expected base64 texts");
        }
        if ((err = ek_take(text, fault, e)) != LK_OK) {
            return err;
        }
    }
    return e->eks_count > 0
               ? LK_OK
               : lk_svc_fault(fault, LK_SVC_BAD_EK, "attestation.tpm.endorsementKey: required");
}

static enum lk_err
srk_parse(const json_t *tpm, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    const char *text, *why = "srk.malformed";
    struct lk_tpm_key key;
    enum lk_err err;

    if ((err = lk_svc_text(tpm, "storageRootKey", LK_SVC_BAD_SRK, fault, &text)) != LK_OK ||
        (err = lk_svc_bool(tpm, "pinStorageRootKey", fault, &e->pin_srk)) != LK_OK) {
        return err;
    }
    if (text == NULL || text[0] == '\0') {
        return !e->pin_srk
                   ? LK_OK
                   : lk_svc_fault(fault, LK_SVC_BAD_SRK, "pinStorageRootKey: needs storageRootKey");
    }
    e->srk_pub.max = LK_TPM_PUBLIC_MAX;
    err = lk_base64_decode(text, strlen(text), &e->srk_pub);
    if (err == LK_OK) {
        err = lk_tpm_key_parse(LK_ROLE_SRK, e->srk_pub.data, e->srk_pub.len, &why, &key);
    }
    if (err == LK_OK || err == LK_ERR_NOMEM || err == LK_ERR_CRYPTO) {
        return err;
    }
    return lk_svc_fault(fault, LK_SVC_BAD_SRK,
                        "storageRootKey: expected the storage root key as base64 of a whole "
                        "TPM2B_PUBLIC (%s)",
                        why);
}

static enum lk_err
rules_parse(const json_t *tpm, struct lk_svc_fault *fault, struct lk_enrollment *e)
{
    LK_AUTO_BUF struct lk_buf text = {.max = LK_EK_RULES_MAX};
    char error[LK_JSON_ERROR_CAP] = "too long";
    struct lk_ek_rules rules;
    const json_t *object;
    enum lk_err err;

    if ((err = lk_svc_object(tpm, "ekCertificate", fault, &object)) != LK_OK) {
        return err;
    }
    if (object == NULL) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "attestation.tpm of a group: needs ekCertificate with its rules");
    }
    e->attestation = LK_ATTESTATION_EK_CERT;
    if ((err = lk_json_write(object, &text)) == LK_OK &&
        (err = lk_ek_rules_parse(text.data, text.len, error, &rules)) == LK_OK &&
        (err = lk_ek_rules_format(&rules, &e->rules)) == LK_OK) {
        return LK_OK;
    }
    return err == LK_ERR_NOMEM
               ? err
               : lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "ekCertificate: %s", error);
}

static enum lk_err
tpm_parse(enum lk_entity entity, const json_t *tpm, struct lk_svc_fault *fault,
          struct lk_enrollment_doc *ret)
{
    enum lk_err err;

    ret->e.attestation = LK_ATTESTATION_TPM;
    if (entity == LK_ENTITY_GROUP) {
        return rules_parse(tpm, fault, &ret->e);
    }
    err = eks_parse(tpm, fault, &ret->e);
    return err != LK_OK ? err : srk_parse(tpm, fault, &ret->e);
}

static enum lk_err
tpm_put(const struct lk_enrollment *e, json_t *tpm)
{
    json_t *all;
    enum lk_err err;

    if (e->attestation == LK_ATTESTATION_EK_CERT) {
        return lk_member_json(tpm, "ekCertificate", &e->rules);
    }
    if (e->eks_count > 0 && (err = lk_member_base64(tpm, "endorsementKey", e->eks[0].pub,
                                                    e->eks[0].pub_len)) != LK_OK) {
        return err;
    }
    if (e->srk_pub.len > 0 &&
        (err = lk_member_base64(tpm, "storageRootKey", e->srk_pub.data, e->srk_pub.len)) != LK_OK) {
        return err;
    }
    if (e->pin_srk && (err = lk_member_put(tpm, "pinStorageRootKey", json_true())) != LK_OK) {
        return err;
    }
    if (e->eks_count < 2) {
        return LK_OK;
    }
    all = json_array();
    err = lk_member_put(tpm, "endorsementKeys", all);
    for (size_t i = 0; err == LK_OK && i < e->eks_count; i++) {
        LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

        err = lk_base64_encode(e->eks[i].pub, e->eks[i].pub_len, &text);
        if (err == LK_OK &&
            json_array_append_new(all, json_stringn((const char *)text.data, text.len)) != 0) {
            err = LK_ERR_NOMEM;
        }
    }
    return err;
}

/* ---- symmetricKey -----------------------------------------------------------------------------
 */

static enum lk_err
shared_key_parse(const json_t *object, const char *name, struct lk_svc_fault *fault,
                 struct lk_shared_key *ret)
{
    const char *text;
    enum lk_err err = lk_svc_text(object, name, LK_SVC_BAD_REQUEST, fault, &text);

    if (err != LK_OK || text == NULL || text[0] == '\0') {
        return err;
    }
    err = lk_shared_key_parse(text, strlen(text), ret);
    return err != LK_ERR_FORMAT
               ? err
               : lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "%s: expected base64 of %u to %u bytes",
                              name, LK_SHARED_KEY_MIN, LK_SHARED_KEY_MAX);
}

static enum lk_err
symmetric_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_enrollment_doc *ret)
{
    enum lk_err err;

    ret->e.attestation = LK_ATTESTATION_SYMMETRIC_KEY;
    if ((err = shared_key_parse(object, "primaryKey", fault, &ret->keys.primary)) != LK_OK) {
        return err;
    }
    return shared_key_parse(object, "secondaryKey", fault, &ret->keys.secondary);
}

static enum lk_err
shared_key_put(json_t *object, const char *name, const struct lk_shared_key *key)
{
    return key->len == 0 ? LK_OK : lk_member_base64(object, name, key->data, key->len);
}

static enum lk_err
symmetric_put(const struct lk_shared_keys *keys, json_t *object)
{
    enum lk_err err;

    if (keys == NULL) {
        return LK_OK;
    }
    err = shared_key_put(object, "primaryKey", &keys->primary);
    return err != LK_OK ? err : shared_key_put(object, "secondaryKey", &keys->secondary);
}

/* ---- x509 -------------------------------------------------------------------------------------
 */

static const char *
certificates_name(enum lk_entity entity)
{
    return entity == LK_ENTITY_GROUP ? "signingCertificates" : "clientCertificates";
}

/* A device's own certificate may be self-signed as authorities' are; a signer's has to be one. */
static enum lk_err
certificate_parse(enum lk_entity entity, const json_t *object, const char *slot,
                  struct lk_svc_fault *fault, struct lk_buf *ret, bool *ret_keep)
{
    struct lk_x509_info info;
    const char *text;
    enum lk_err err = lk_svc_text(object, "certificate", LK_SVC_BAD_REQUEST, fault, &text);

    if (err != LK_OK) {
        return err;
    }
    if (text == NULL || text[0] == '\0') {
        *ret_keep = true;
        return LK_OK;
    }
    ret->max = LK_CERT_DER_MAX;
    if ((err = lk_x509_from_text(text, strlen(text), ret)) != LK_OK ||
        (err = lk_x509_read(ret->data, ret->len, &info)) != LK_OK) {
        return err == LK_ERR_NOMEM || err == LK_ERR_CRYPTO
                   ? err
                   : lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                                  "%s.%s.certificate: expected one certificate, as PEM or base64",
                                  certificates_name(entity), slot);
    }
    if (entity == LK_ENTITY_GROUP && !lk_x509_is_ca(ret->data, ret->len)) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "%s.%s.certificate: not one that may sign others",
                            certificates_name(entity), slot);
    }
    return LK_OK;
}

static enum lk_err
x509_parse(enum lk_entity entity, const json_t *x509, struct lk_svc_fault *fault,
           struct lk_enrollment_doc *ret)
{
    const json_t *certs, *slot;
    enum lk_err err = lk_svc_object(x509, certificates_name(entity), fault, &certs);

    ret->e.attestation = LK_ATTESTATION_X509;
    if (err != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(slots); i++) {
        if ((err = lk_svc_object(certs, slots[i], fault, &slot)) != LK_OK ||
            (slot != NULL &&
             (err = certificate_parse(entity, slot, slots[i], fault, &ret->e.certs[i],
                                      &ret->keep_cert[i])) != LK_OK)) {
            return err;
        }
    }
    if (ret->e.certs[0].len == 0 && !ret->keep_cert[0]) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "attestation.x509: needs %s.primary with its certificate (references "
                            "to authorities are not served)",
                            certificates_name(entity));
    }
    return LK_OK;
}

static enum lk_err
thumbprint_put(json_t *info, const char *name, const uint8_t *hash, size_t len)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = lk_hex_encode(hash, len, &text);

    if (err != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 'a') {
            text.data[i] = (uint8_t)(text.data[i] - 'a' + 'A');
        }
    }
    return lk_member_put(info, name, json_stringn((const char *)text.data, text.len));
}

/* A name that is not UTF-8 is left out. */
static enum lk_err
name_put(json_t *info, const char *name, const char *text)
{
    json_t *value = json_string(text);

    return lk_member_put(info, name, value != NULL ? value : json_string(""));
}

static enum lk_err
info_put(const struct lk_buf *der, json_t *info)
{
    struct lk_x509_info x;
    enum lk_err err;

    if ((err = lk_x509_read(der->data, der->len, &x)) != LK_OK ||
        (err = name_put(info, "subjectName", x.subject)) != LK_OK ||
        (err = thumbprint_put(info, "sha1Thumbprint", x.sha1, sizeof(x.sha1))) != LK_OK ||
        (err = thumbprint_put(info, "sha256Thumbprint", x.sha256, sizeof(x.sha256))) != LK_OK ||
        (err = name_put(info, "issuerName", x.issuer)) != LK_OK ||
        (err = lk_member_time_some(info, "notBeforeUtc", x.not_before_ms)) != LK_OK ||
        (err = lk_member_time_some(info, "notAfterUtc", x.not_after_ms)) != LK_OK ||
        (err = name_put(info, "serialNumber", x.serial)) != LK_OK) {
        return err;
    }
    return lk_member_put(info, "version", json_integer(x.version));
}

static enum lk_err
x509_put(enum lk_entity entity, const struct lk_enrollment *e, json_t *x509)
{
    json_t *certs = json_object();
    enum lk_err err = lk_member_put(x509, certificates_name(entity), certs);

    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(slots); i++) {
        json_t *slot, *info;

        if (e->certs[i].len == 0) {
            continue;
        }
        slot = json_object();
        info = json_object();
        if ((err = lk_member_put(certs, slots[i], slot)) != LK_OK) {
            json_decref(info);
            return err;
        }
        if ((err = lk_member_put(slot, "info", info)) == LK_OK) {
            err = info_put(&e->certs[i], info);
        }
    }
    return err;
}

/* ---- the mechanism ----------------------------------------------------------------------------
 */

enum lk_err
lk_attestation_json_parse(enum lk_entity entity, const json_t *object, struct lk_svc_fault *fault,
                          struct lk_enrollment_doc *ret)
{
    const char *type;
    const json_t *member = NULL;
    enum lk_err err = lk_svc_text(object, "type", LK_SVC_BAD_REQUEST, fault, &type);

    if (err != LK_OK) {
        return err;
    }
    if (type == NULL ||
        (strcmp(type, "tpm") != 0 && strcmp(type, "x509") != 0 && strcmp(type, "symmetricKey"))) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "attestation.type: expected tpm, x509 or symmetricKey");
    }
    if ((err = lk_svc_object(object, type, fault, &member)) != LK_OK) {
        return err;
    }
    if (strcmp(type, "symmetricKey") == 0) {
        return symmetric_parse(member, fault, ret); /* without keys: they are made */
    }
    return strcmp(type, "tpm") == 0 ? tpm_parse(entity, member, fault, ret)
                                    : x509_parse(entity, member, fault, ret);
}

enum lk_err
lk_attestation_json_put(enum lk_entity entity, const struct lk_enrollment *e,
                        const struct lk_shared_keys *keys, json_t *object)
{
    const char *type = lk_attestation_name(e->attestation);
    json_t *member = json_object();
    enum lk_err err = lk_member_put(object, type, member);

    if (err != LK_OK || (err = lk_member_text(object, "type", type)) != LK_OK) {
        return err;
    }
    switch (e->attestation) {
    case LK_ATTESTATION_SYMMETRIC_KEY:
        return symmetric_put(keys, member);
    case LK_ATTESTATION_X509:
        return x509_put(entity, e, member);
    case LK_ATTESTATION_TPM:
    case LK_ATTESTATION_EK_CERT:
        break;
    }
    return tpm_put(e, member);
}
