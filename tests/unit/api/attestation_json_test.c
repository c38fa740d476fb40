/* Tests of src/api/attestation_json.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "doc_stage.h"
#include "provision/ek_group.h"

#define ROOT "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_16 "AAAAAAAAAAAAAAAAAAAAAA=="

/* '~' is the attestation. */
#define ONE "{'registrationId':'dev-1','attestation':~}"
#define GROUP "{'enrollmentGroupId':'line-a','attestation':~}"

static void
accept(struct doc_stage *d, enum lk_entity entity, char *attestation)
{
    doc_accept(d, entity, body_make(entity == LK_ENTITY_GROUP ? GROUP : ONE, attestation, NULL));
    free(attestation);
}

static void
refuse(struct doc_stage *d, enum lk_entity entity, char *attestation, int32_t code,
       const char *word)
{
    doc_refuse(d, entity, body_make(entity == LK_ENTITY_GROUP ? GROUP : ONE, attestation, NULL),
               code, word);
    free(attestation);
}

/* Kinds that there are not, or not of this entity, or without what they need. */
static void
kinds(void **state)
{
    static const char *const bad[] = {"{}",
                                      "{'type':null}",
                                      "{'type':7}",
                                      "{'type':'none'}",
                                      "{'type':'TPM'}",
                                      "{'type':'symmetricKey','symmetricKey':7}",
                                      "{'type':'x509'}",
                                      "{'type':'x509','x509':{'caReferences':{'primary':'a'}}}"};
    struct doc_stage d;

    doc_start(&d);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        refuse(&d, LK_ENTITY_ENROLLMENT, body_make(bad[i], NULL), LK_SVC_BAD_REQUEST, "");
        refuse(&d, LK_ENTITY_GROUP, body_make(bad[i], NULL), LK_SVC_BAD_REQUEST, "");
    }
    refuse(&d, LK_ENTITY_ENROLLMENT, body_make("{'type':'tpm'}", NULL), LK_SVC_BAD_EK,
           "endorsementKey");
    refuse(&d, LK_ENTITY_GROUP, body_make("{'type':'tpm'}", NULL), LK_SVC_BAD_REQUEST,
           "ekCertificate");
    /* The members of the other kinds do not count. */
    accept(&d, LK_ENTITY_ENROLLMENT,
           body_make("{'type':'symmetricKey','tpm':7,'x509':[],'symmetricKey':null}", NULL));
    assert_int_equal(d.doc.e.attestation, LK_ATTESTATION_SYMMETRIC_KEY);
    doc_stop(&d);
}

/* ---- tpm --------------------------------------------------------------------------------------
 */

static void
bad_eks(void **state)
{
    static const char *const bad[] = {"", "a", "AAAA", "!!!!", "AToAAQALAAMAsgAg"};
    struct doc_stage d;
    char *longer;

    doc_start(&d);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        refuse(&d, LK_ENTITY_ENROLLMENT,
               body_make("{'type':'tpm','tpm':{'endorsementKey':'~'}}", bad[i], NULL),
               LK_SVC_BAD_EK, "endorsement key");
    }
    longer = body_make("~AAAA", body_ek(0), NULL);
    refuse(&d, LK_ENTITY_ENROLLMENT,
           body_make("{'type':'tpm','tpm':{'endorsementKey':'~'}}", longer, NULL), LK_SVC_BAD_EK,
           "endorsement key");
    free(longer);
    refuse(&d, LK_ENTITY_ENROLLMENT,
           body_make("{'type':'tpm','tpm':{'endorsementKey':'~'}}", body_srk(), NULL),
           LK_SVC_BAD_EK, "endorsement key");
    refuse(&d, LK_ENTITY_ENROLLMENT, body_make("{'type':'tpm','tpm':{'endorsementKey':[]}}", NULL),
           LK_SVC_BAD_EK, "endorsementKey");
    refuse(&d, LK_ENTITY_ENROLLMENT,
           body_make("{'type':'tpm','tpm':{'endorsementKeys':'~'}}", body_ek(0), NULL),
           LK_SVC_BAD_EK, "endorsementKeys");
    refuse(&d, LK_ENTITY_ENROLLMENT,
           body_make("{'type':'tpm','tpm':{'endorsementKeys':['~',7]}}", body_ek(0), NULL),
           LK_SVC_BAD_EK, "endorsementKeys");
    doc_stop(&d);
}

/* The array of count keys, the first one of them spelt first. */
static char *
eks_body(size_t first, size_t count)
{
    LK_AUTO_BUF struct lk_buf list = LK_BUF_INIT;

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(lk_buf_printf(&list, "%s'%s'", i == 0 ? "" : ",", body_ek(first + i)),
                         LK_OK);
    }
    return body_make("{'type':'tpm','tpm':{'endorsementKey':'~','endorsementKeys':[~]}}",
                     body_ek(0), lk_buf_text(&list), NULL);
}

/* As many as an enrollment takes, and one more; the same one twice is one. */
static void
several_eks(void **state)
{
    struct doc_stage d;
    LK_AUTO(json) json_t *shown = NULL;

    doc_start(&d);
    accept(&d, LK_ENTITY_ENROLLMENT, eks_body(0, LK_EKS_MAX));
    assert_int_equal(d.doc.e.eks_count, LK_EKS_MAX);
    shown = doc_write(&d, LK_ENTITY_ENROLLMENT);
    assert_string_equal(doc_text(shown, "attestation/tpm/endorsementKey"), body_ek(0));
    assert_int_equal(json_array_size(doc_at(shown, "attestation/tpm/endorsementKeys")), LK_EKS_MAX);
    assert_string_equal(doc_text(shown, "attestation/tpm/endorsementKeys/7"), body_ek(7));
    doc_accept(&d, LK_ENTITY_ENROLLMENT, json_dumps(shown, 0));
    assert_int_equal(d.doc.e.eks_count, LK_EKS_MAX);

    accept(&d, LK_ENTITY_ENROLLMENT, eks_body(1, LK_EKS_MAX - 1));
    assert_int_equal(d.doc.e.eks_count, LK_EKS_MAX);
    refuse(&d, LK_ENTITY_ENROLLMENT, eks_body(1, LK_EKS_MAX), LK_SVC_BAD_EK, "at most 8");
    refuse(&d, LK_ENTITY_ENROLLMENT, eks_body(0, LK_EKS_MAX + 1), LK_SVC_BAD_EK, "at most 8");
    accept(&d, LK_ENTITY_ENROLLMENT,
           body_make("{'type':'tpm','tpm':{'endorsementKeys':['~','~']}}", body_ek(2), body_ek(2),
                     NULL));
    assert_int_equal(d.doc.e.eks_count, 1);
    doc_stop(&d);
}

/* A storage root key is judged, kept as it was given, and pinned only when that is asked for. */
static void
storage_root_keys(void **state)
{
    static const char format[] = "{'type':'tpm','tpm':{'endorsementKey':'~','storageRootKey':~~}}";
    struct doc_stage d;
    LK_AUTO(json) json_t *shown = NULL;
    char *srk = body_make("'~'", body_srk(), NULL);
    char *ek = body_make("'~'", body_ek(0), NULL);

    doc_start(&d);
    refuse(&d, LK_ENTITY_ENROLLMENT, body_make(format, body_ek(0), "'AAAA'", "", NULL),
           LK_SVC_BAD_SRK, "storageRootKey");
    refuse(&d, LK_ENTITY_ENROLLMENT, body_make(format, body_ek(0), "7", "", NULL), LK_SVC_BAD_SRK,
           "storageRootKey");
    refuse(&d, LK_ENTITY_ENROLLMENT, body_make(format, body_ek(0), ek, "", NULL), LK_SVC_BAD_SRK,
           "storageRootKey");
    refuse(&d, LK_ENTITY_ENROLLMENT,
           body_make(format, body_ek(0), "null", ",'pinStorageRootKey':true", NULL), LK_SVC_BAD_SRK,
           "pinStorageRootKey");
    refuse(&d, LK_ENTITY_ENROLLMENT,
           body_make(format, body_ek(0), srk, ",'pinStorageRootKey':'yes'", NULL),
           LK_SVC_BAD_REQUEST, "pinStorageRootKey");
    accept(&d, LK_ENTITY_ENROLLMENT, body_make(format, body_ek(0), srk, "", NULL));
    assert_false(d.doc.e.pin_srk);
    accept(&d, LK_ENTITY_ENROLLMENT,
           body_make(format, body_ek(0), srk, ",'pinStorageRootKey':true", NULL));
    assert_true(d.doc.e.pin_srk);
    shown = doc_write(&d, LK_ENTITY_ENROLLMENT);
    assert_string_equal(doc_text(shown, "attestation/tpm/storageRootKey"), body_srk());
    assert_true(json_is_true(doc_at(shown, "attestation/tpm/pinStorageRootKey")));
    assert_null(doc_at(shown, "attestation/tpm/endorsementKeys")); /* there is one */
    free(srk);
    free(ek);
    doc_stop(&d);
}

/* Rules of a group: read by provision/, kept in one spelling, and shown as an object. */
static void
rules(void **state)
{
    static const char format[] = "{'type':'tpm','tpm':{'ekCertificate':~}}";
    struct doc_stage d;
    LK_AUTO(json) json_t *shown = NULL;

    doc_start(&d);
    refuse(&d, LK_ENTITY_GROUP, body_make(format, "[]", NULL), LK_SVC_BAD_REQUEST, "ekCertificate");
    refuse(&d, LK_ENTITY_GROUP, body_make(format, "{'root':[]}", NULL), LK_SVC_BAD_REQUEST,
           "ekCertificate");
    refuse(&d, LK_ENTITY_GROUP, body_make(format, "{'quota':0}", NULL), LK_SVC_BAD_REQUEST,
           "ekCertificate: quota");
    accept(&d, LK_ENTITY_GROUP,
           body_make(format, "{'quota':5,'roots':['" ROOT "'],'firmwareMin':'id:1'}", NULL));
    assert_int_equal(d.doc.e.attestation, LK_ATTESTATION_EK_CERT);
    shown = doc_write(&d, LK_ENTITY_GROUP);
    assert_string_equal(doc_text(shown, "attestation/type"), "tpm");
    assert_string_equal(doc_text(shown, "attestation/tpm/ekCertificate/roots/0"), ROOT);
    assert_int_equal(json_integer_value(doc_at(shown, "attestation/tpm/ekCertificate/quota")), 5);
    doc_stop(&d);
}

/* Rules whose text is len bytes long: it is kept with its roots, and its version in seven bytes
 * more. */
static char *
rules_of(size_t len)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    static const char tail[] = "']}";

    assert_int_equal(lk_buf_puts(&text, "{'firmwareMin':'id:1','issuers':["), LK_OK);
    for (size_t i = 0; i < 15; i++) {
        assert_int_equal(lk_buf_puts(&text, "'"), LK_OK);
        for (size_t k = 0; k < 88; k++) {
            assert_int_equal(lk_buf_puts(&text, "\\u0001"), LK_OK); /* one byte of a name */
        }
        assert_int_equal(lk_buf_puts(&text, "',"), LK_OK);
    }
    assert_int_equal(lk_buf_puts(&text, "'"), LK_OK);
    assert_in_range(len - text.len - strlen(tail), 1, LK_EK_NAME_CAP - 1);
    while (text.len + strlen(tail) < len) {
        assert_int_equal(lk_buf_puts(&text, "x"), LK_OK);
    }
    assert_int_equal(lk_buf_puts(&text, tail), LK_OK);
    return body_make("{'type':'tpm','tpm':{'ekCertificate':~}}", lk_buf_text(&text), NULL);
}

/*
 * The longest rules; what fits as it is given but not as it is kept is the client's fault, and
 * told, and so is what does not fit at all.
 */
static void
long_rules(void **state)
{
    const size_t growth = strlen("0000000") + strlen("\"roots\":[],");
    struct doc_stage d;

    doc_start(&d);
    accept(&d, LK_ENTITY_GROUP, rules_of(LK_EK_RULES_MAX - growth));
    assert_int_equal(d.doc.e.rules.len, LK_EK_RULES_MAX);
    refuse(&d, LK_ENTITY_GROUP, rules_of(LK_EK_RULES_MAX - growth + 1), LK_SVC_BAD_REQUEST,
           "too long");
    refuse(&d, LK_ENTITY_GROUP, rules_of(LK_EK_RULES_MAX), LK_SVC_BAD_REQUEST, "too long");
    refuse(&d, LK_ENTITY_GROUP, rules_of(LK_EK_RULES_MAX + 1), LK_SVC_BAD_REQUEST, "too long");
    doc_stop(&d);
}

/* ---- symmetricKey -----------------------------------------------------------------------------
 */

/* Keys of 16 to 64 bytes, or none; shown only with what an answer is told to show. */
static void
shared_keys(void **state)
{
    static const char format[] = "{'type':'symmetricKey','symmetricKey':{'primaryKey':'~'}}";
    static const char key_15[] = "AAAAAAAAAAAAAAAAAAAA";
    char key_64[89], key_65[93];
    struct doc_stage d;
    LK_AUTO(json) json_t *shown = NULL;
    LK_AUTO(json) json_t *without = json_object();
    const struct lk_enrollment_view view = {.fallback = LK_ALLOC_HASHED};

    memset(key_64, 'A', sizeof(key_64));
    memcpy(key_64 + 86, "==", 3);
    memset(key_65, 'A', sizeof(key_65));
    memcpy(key_65 + 87, "=", 2);
    doc_start(&d);
    refuse(&d, LK_ENTITY_ENROLLMENT, body_make(format, key_15, NULL), LK_SVC_BAD_REQUEST,
           "primaryKey");
    refuse(&d, LK_ENTITY_ENROLLMENT, body_make(format, key_65, NULL), LK_SVC_BAD_REQUEST,
           "16 to 64");
    refuse(&d, LK_ENTITY_ENROLLMENT, body_make(format, "not base64", NULL), LK_SVC_BAD_REQUEST,
           "primaryKey");
    refuse(&d, LK_ENTITY_ENROLLMENT,
           body_make("{'type':'symmetricKey','symmetricKey':{'secondaryKey':7}}", NULL),
           LK_SVC_BAD_REQUEST, "secondaryKey");
    accept(&d, LK_ENTITY_ENROLLMENT, body_make(format, KEY_16, NULL));
    assert_int_equal(d.doc.keys.primary.len, 16);
    accept(&d, LK_ENTITY_GROUP, body_make(format, key_64, NULL));
    assert_int_equal(d.doc.keys.primary.len, 64);
    assert_int_equal(d.doc.keys.secondary.len, 0);
    shown = doc_write(&d, LK_ENTITY_GROUP);
    assert_string_equal(doc_text(shown, "attestation/symmetricKey/primaryKey"), key_64);
    assert_null(doc_at(shown, "attestation/symmetricKey/secondaryKey"));
    assert_int_equal(lk_enrollment_json_put(LK_ENTITY_GROUP, &d.doc.e, &view, without), LK_OK);
    assert_int_equal(json_object_size(doc_at(without, "attestation/symmetricKey")), 0);
    accept(&d, LK_ENTITY_ENROLLMENT, body_make(format, "", NULL));
    assert_int_equal(d.doc.keys.primary.len, 0);
    doc_stop(&d);
}

/* ---- x509 -------------------------------------------------------------------------------------
 */

#define LEAF "{'type':'x509','x509':{'clientCertificates':~}}"
#define SIGNER "{'type':'x509','x509':{'signingCertificates':~}}"

static char *
slot(const char *format, const char *name, const char *cert)
{
    char *certs = body_make("{'~':{'certificate':'~'}}", name, cert, NULL);
    char *body = body_make(format, certs, NULL);

    free(certs);
    return body;
}

/* PEM of a certificate, as JSON spells its line ends. */
static char *
pem_of(const char *base64)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    assert_int_equal(lk_buf_puts(&text, "-----BEGIN CERTIFICATE-----\\r\\n"), LK_OK);
    for (size_t at = 0; at < strlen(base64); at += 64) {
        assert_int_equal(lk_buf_printf(&text, "%.64s\\r\\n", base64 + at), LK_OK);
    }
    assert_int_equal(lk_buf_puts(&text, "-----END CERTIFICATE-----\\r\\n"), LK_OK);
    return strdup(lk_buf_text(&text));
}

/* A leaf for a device, one that may sign for a group; PEM or base64; info alone is what is kept. */
static void
certificates(void **state)
{
    struct doc_stage d;
    LK_AUTO(json) json_t *shown = NULL;
    char *pem = pem_of(body_leaf_cert(0));

    doc_start(&d);
    accept(&d, LK_ENTITY_ENROLLMENT, slot(LEAF, "primary", body_leaf_cert(0)));
    assert_true(d.doc.e.certs[0].len > 0 && d.doc.e.certs[1].len == 0 && !d.doc.keep_cert[0]);
    shown = doc_write(&d, LK_ENTITY_ENROLLMENT);
    assert_null(doc_at(shown, "attestation/x509/clientCertificates/primary/certificate"));
    assert_null(doc_at(shown, "attestation/x509/clientCertificates/secondary"));
    assert_int_equal(
        strlen(doc_text(shown, "attestation/x509/clientCertificates/primary/info/sha1Thumbprint")),
        40);
    assert_string_equal(
        doc_text(shown, "attestation/x509/clientCertificates/primary/info/notBeforeUtc"),
        "2026-01-01T00:00:00.0000000Z");
    accept(&d, LK_ENTITY_ENROLLMENT, slot(LEAF, "primary", pem));
    doc_accept(&d, LK_ENTITY_ENROLLMENT, json_dumps(shown, 0));
    assert_true(d.doc.keep_cert[0] && !d.doc.keep_cert[1] && d.doc.e.certs[0].len == 0);

    accept(&d, LK_ENTITY_GROUP, slot(SIGNER, "primary", body_ca_cert()));
    refuse(&d, LK_ENTITY_GROUP, slot(SIGNER, "primary", body_leaf_cert(0)), LK_SVC_BAD_REQUEST,
           "signingCertificates.primary.certificate");
    /* Each entity has its own member. */
    refuse(&d, LK_ENTITY_GROUP, slot(LEAF, "primary", body_ca_cert()), LK_SVC_BAD_REQUEST,
           "signingCertificates");
    refuse(&d, LK_ENTITY_ENROLLMENT, slot(SIGNER, "primary", body_leaf_cert(0)), LK_SVC_BAD_REQUEST,
           "clientCertificates");
    free(pem);
    doc_stop(&d);
}

static void
bad_certificates(void **state)
{
    static const char *const bad[] = {"{}",
                                      "7",
                                      "{'primary':7}",
                                      "{'primary':{'certificate':7}}",
                                      "{'primary':{'certificate':'AAAA'}}",
                                      "{'primary':{'certificate':'not base64'}}",
                                      "{'secondary':{'info':{}}}"};
    struct doc_stage d;
    char *two = body_make("~\\n~", body_leaf_cert(0), body_leaf_cert(1), NULL);

    doc_start(&d);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        char *certs = body_make(bad[i], NULL);

        refuse(&d, LK_ENTITY_ENROLLMENT, body_make(LEAF, certs, NULL), LK_SVC_BAD_REQUEST, "");
        free(certs);
    }
    refuse(&d, LK_ENTITY_ENROLLMENT, slot(LEAF, "secondary", body_leaf_cert(0)), LK_SVC_BAD_REQUEST,
           "primary");
    refuse(&d, LK_ENTITY_ENROLLMENT, slot(LEAF, "primary", two), LK_SVC_BAD_REQUEST,
           "clientCertificates.primary.certificate");
    free(two);
    doc_stop(&d);
}

static int
teardown(void **state)
{
    bodies_free();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(bad_eks),
        cmocka_unit_test(several_eks),
        cmocka_unit_test(storage_root_keys),
        cmocka_unit_test(rules),
        cmocka_unit_test(long_rules),
        cmocka_unit_test(shared_keys),
        cmocka_unit_test(certificates),
        cmocka_unit_test(bad_certificates),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
