/* Tests of src/api/service_entity.c and service_bulk.c: what a change keeps, and what it may not
 * touch where manifests have to be signed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bodies.h"
#include "service_stage.h"

#define ROOT "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_A "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
#define KEY_B "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJC"

/* The last '~' of each is for more members. */
#define TPM "{'registrationId':'~','attestation':{'type':'tpm','tpm':{'endorsementKey':'~'}}~}"
#define SHARED                                                                                     \
    "{'registrationId':'sym-1','attestation':{'type':'symmetricKey','symmetricKey':{~}}~}"
#define LEAF                                                                                       \
    "{'registrationId':'crt-1','attestation':{'type':'x509','x509':{'clientCertificates':"         \
    "{'primary':{'certificate':'~'}}}}~}"
#define LEAF_KEPT                                                                                  \
    "{'registrationId':'crt-1','attestation':{'type':'x509','x509':{'clientCertificates':"         \
    "{'primary':{'info':{}}}}}~}"
#define RULES                                                                                      \
    "{'enrollmentGroupId':'grp-1','attestation':{'type':'tpm','tpm':{'ekCertificate':"             \
    "{'roots':['" ROOT "'],'quota':~}}}~}"
#define SIGNER                                                                                     \
    "{'enrollmentGroupId':'ca-1','attestation':{'type':'x509','x509':{'signingCertificates':"      \
    "{'primary':{'certificate':'~'}}}}~}"
#define BULK "{'mode':'~','enrollments':[~]}"
#define OFF ",'provisioningStatus':'disabled'"

/* Takes body. */
static void
send(struct stage *s, enum lk_http_method method, const char *path, const char *etag, char *body)
{
    s->if_match = etag;
    stage_ask(s, method, path, body);
    s->if_match = NULL;
    free(body);
}

static void
put(struct stage *s, const char *path, const char *etag, char *body)
{
    send(s, LK_HTTP_PUT, path, etag, body);
}

/* One of each kind, made while nothing forbids it. */
static void
populate(struct stage *s)
{
    put(s, "/enrollments/tpm-1", NULL, body_make(TPM, "tpm-1", body_ek(0), "", NULL));
    stage_expect(s, 200);
    put(s, "/enrollments/sym-1", NULL,
        body_make(SHARED, "'primaryKey':'" KEY_A "','secondaryKey':'" KEY_B "'", "", NULL));
    stage_expect(s, 200);
    put(s, "/enrollments/crt-1", NULL, body_make(LEAF, body_leaf_cert(0), "", NULL));
    stage_expect(s, 200);
    put(s, "/enrollmentGroups/grp-1", NULL, body_make(RULES, "5", "", NULL));
    stage_expect(s, 200);
    put(s, "/enrollmentGroups/ca-1", NULL, body_make(SIGNER, body_ca_cert(), "", NULL));
    stage_expect(s, 200);
}

static void
refused(struct stage *s)
{
    stage_expect_code(s, LK_SVC_BAD_REQUEST);
    fake_http_expect(&s->req, 400, "import-signature-required");
}

/* Nothing new comes in by this API, by whatever call. */
static void
signed_only_creates_nothing(void **state)
{
    struct stage s;
    json_t *body;

    stage_start(&s, NULL);
    s.api->signatures_required = true;
    put(&s, "/enrollments/tpm-1", NULL, body_make(TPM, "tpm-1", body_ek(0), "", NULL));
    refused(&s);
    put(&s, "/enrollments/sym-1", NULL, body_make(SHARED, "", "", NULL));
    refused(&s);
    put(&s, "/enrollments/crt-1", NULL, body_make(LEAF, body_leaf_cert(0), "", NULL));
    refused(&s);
    put(&s, "/enrollmentGroups/grp-1", NULL, body_make(RULES, "5", "", NULL));
    refused(&s);
    put(&s, "/enrollmentGroups/ca-1", NULL, body_make(SIGNER, body_ca_cert(), "", NULL));
    refused(&s);
    put(&s, "/enrollments/tpm-1", "*", body_make(TPM, "tpm-1", body_ek(0), "", NULL));
    stage_expect_code(&s, LK_SVC_NO_ENROLLMENT);

    send(&s, LK_HTTP_POST, "/enrollments", NULL,
         body_make(BULK, "create",
                   "{'registrationId':'b-1','attestation':{'type':'symmetricKey'}},"
                   "{'registrationId':'b-2','attestation':{'type':'symmetricKey'}}",
                   NULL));
    stage_expect(&s, 200);
    body = stage_json(&s);
    assert_int_equal(json_array_size(json_object_get(body, "errors")), 2);
    json_decref(body);
    fake_http_expect(&s.req, 200, "import-signature-required");
    stage_ask(&s, LK_HTTP_POST, "/enrollments/query", "{\"query\":\"*\"}");
    fake_http_expect(&s.req, 200, "[]");
    assert_int_equal(rig_audit_count(&s.rig, "enrollment.create", NULL, 0), 0);
    stage_stop(&s);
}

/* What proves a device, and who it then is, stays; all else may change, and go. */
static void
signed_only_changes_no_proof(void **state)
{
    struct stage s;

    stage_start(&s, NULL);
    populate(&s);
    s.api->signatures_required = true;

    put(&s, "/enrollments/tpm-1", "*", body_make(TPM, "tpm-1", body_ek(0), OFF, NULL));
    stage_expect(&s, 200);
    put(&s, "/enrollments/tpm-1", "*",
        body_make(TPM, "tpm-1", body_ek(0),
                  ",'deviceId':'tpm-1','reprovisionPolicy':"
                  "{'updateHubAssignment':true,'migrateDeviceData':true}",
                  NULL));
    stage_expect(&s, 200); /* the same device, spelt out */
    put(&s, "/enrollments/tpm-1", "*", body_make(TPM, "tpm-1", body_ek(1), "", NULL));
    refused(&s);
    put(&s, "/enrollments/tpm-1", "*",
        body_make(TPM, "tpm-1", body_ek(0), ",'deviceId':'tpm-2'", NULL));
    refused(&s);
    put(&s, "/enrollments/tpm-1", "*",
        body_make("{'registrationId':'tpm-1','attestation':{'type':'tpm','tpm':{'endorsementKey':"
                  "'~','endorsementKeys':['~']}}}",
                  body_ek(0), body_ek(1), NULL));
    refused(&s);
    put(&s, "/enrollments/tpm-1", "*",
        body_make("{'registrationId':'tpm-1','attestation':{'type':'tpm','tpm':{'endorsementKey':"
                  "'~','storageRootKey':'~','pinStorageRootKey':true}}}",
                  body_ek(0), body_srk(), NULL));
    refused(&s);
    put(&s, "/enrollments/tpm-1", "*",
        body_make("{'registrationId':'tpm-1','attestation':{'type':'symmetricKey'}}", NULL));
    refused(&s);
    send(&s, LK_HTTP_POST, "/enrollments", NULL,
         body_make("{'mode':'update','enrollments':[" TPM "]}", "tpm-1", body_ek(1), "", NULL));
    stage_expect(&s, 200);
    fake_http_expect(&s.req, 200, "import-signature-required");
    send(&s, LK_HTTP_POST, "/enrollments", NULL,
         body_make("{'mode':'update','enrollments':[" TPM "]}", "tpm-1", body_ek(0), OFF, NULL));
    fake_http_expect(&s.req, 200, "{\"isSuccessful\":true,\"errors\":[]}");

    send(&s, LK_HTTP_POST, "/enrollments", NULL,
         body_make(BULK, "delete", "{'registrationId':'tpm-1'}", NULL));
    fake_http_expect(&s.req, 200, "{\"isSuccessful\":true,\"errors\":[]}");
    stage_ask(&s, LK_HTTP_DELETE, "/enrollmentGroups/grp-1", NULL);
    stage_expect(&s, 204);
    stage_stop(&s);
}

/* The same of shared keys, certificates and rules: left out or as they were, they stay. */
static void
signed_only_keeps_secrets(void **state)
{
    struct stage s;

    stage_start(&s, NULL);
    populate(&s);
    s.api->signatures_required = true;

    put(&s, "/enrollments/sym-1", "*", body_make(SHARED, "", OFF, NULL));
    stage_expect(&s, 200);
    fake_http_expect(&s.req, 200, "\"primaryKey\":\"" KEY_A "\",\"secondaryKey\":\"" KEY_B "\"");
    put(&s, "/enrollments/sym-1", "*", body_make(SHARED, "'secondaryKey':'" KEY_B "'", "", NULL));
    stage_expect(&s, 200);
    put(&s, "/enrollments/sym-1", "*", body_make(SHARED, "'secondaryKey':'" KEY_A "'", "", NULL));
    refused(&s);
    put(&s, "/enrollments/sym-1", "*", body_make(SHARED, "'primaryKey':'" KEY_B "'", "", NULL));
    refused(&s);

    put(&s, "/enrollments/crt-1", "*", body_make(LEAF_KEPT, OFF, NULL));
    stage_expect(&s, 200);
    put(&s, "/enrollments/crt-1", "*", body_make(LEAF, body_leaf_cert(0), "", NULL));
    stage_expect(&s, 200);
    put(&s, "/enrollments/crt-1", "*", body_make(LEAF, body_leaf_cert(1), "", NULL));
    refused(&s);

    put(&s, "/enrollmentGroups/grp-1", "*", body_make(RULES, "5", OFF, NULL));
    stage_expect(&s, 200);
    put(&s, "/enrollmentGroups/grp-1", "*", body_make(RULES, "6", "", NULL));
    refused(&s);
    put(&s, "/enrollmentGroups/ca-1", "*", body_make(SIGNER, body_ca_cert(), OFF, NULL));
    stage_expect(&s, 200);
    stage_stop(&s);
}

/*
 * Certificates are not answered, and stay when an update shows them as answers do; a place that was
 * empty has none to keep, nor has one of another kind.
 */
static void
certificates_are_kept(void **state)
{
    struct stage s;
    json_t *got;
    char *text;

    stage_start(&s, NULL);
    populate(&s);
    stage_ask(&s, LK_HTTP_GET, "/enrollments/crt-1", NULL);
    stage_expect(&s, 200);
    got = stage_json(&s);
    text = json_dumps(got, JSON_COMPACT);
    json_decref(got);
    assert_null(strstr(text, "\"certificate\""));
    assert_non_null(strstr(text, "\"sha256Thumbprint\""));
    put(&s, "/enrollments/crt-1", "*", text);
    stage_expect(&s, 200);

    put(&s, "/enrollments/crt-1", "*",
        body_make("{'registrationId':'crt-1','attestation':{'type':'x509','x509':"
                  "{'clientCertificates':{'primary':{'info':{}},'secondary':{'info':{}}}}}}",
                  NULL));
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    put(&s, "/enrollments/sym-1", "*",
        body_make("{'registrationId':'sym-1','attestation':{'type':'x509','x509':"
                  "{'clientCertificates':{'primary':{'info':{}}}}}}",
                  NULL));
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    /* Roll over: the new one beside the old one, then alone. */
    put(&s, "/enrollments/crt-1", "*",
        body_make(
            "{'registrationId':'crt-1','attestation':{'type':'x509','x509':"
            "{'clientCertificates':{'primary':{'info':{}},'secondary':{'certificate':'~'}}}}}",
            body_leaf_cert(1), NULL));
    stage_expect(&s, 200);
    fake_http_expect(&s.req, 200, "\"secondary\":{\"info\":{\"subjectName\"");
    put(&s, "/enrollments/crt-1", "*", body_make(LEAF, body_leaf_cert(1), "", NULL));
    stage_expect(&s, 200);
    assert_null(strstr(lk_buf_text(&s.req.answer), "\"secondary\""));
    stage_stop(&s);
}

/* Keys that are sealed under a master key that is gone are our trouble, not a 404. */
static void
keys_that_do_not_open(void **state)
{
    struct stage s;
    struct lk_keyring *ring;
    char file[160];

    stage_start(&s, NULL);
    populate(&s);
    (void)snprintf(file, sizeof(file), "%s/other.key", s.rig.dir);
    assert_int_equal(lk_keyring_create(file, 1, &lk_rand_system), LK_OK);
    assert_int_equal(lk_keyring_load(file, NULL, &ring), LK_OK);
    assert_int_equal(remove(file), 0);
    lk_service_api_set_keyring(s.api, ring);
    lk_keyring_free(ring);
    stage_ask(&s, LK_HTTP_POST, "/enrollments/sym-1/attestationmechanism", NULL);
    stage_expect_code(&s, LK_DPS_INTERNAL); /* the policy's own keys are such */
    lk_service_api_set_keyring(s.api, s.rig.ring);
    stage_ask(&s, LK_HTTP_POST, "/enrollments/sym-1/attestationmechanism", NULL);
    stage_expect(&s, 200);
    fake_http_expect(&s.req, 200, KEY_A);
    stage_stop(&s);
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
        cmocka_unit_test(signed_only_creates_nothing),
        cmocka_unit_test(signed_only_changes_no_proof),
        cmocka_unit_test(signed_only_keeps_secrets),
        cmocka_unit_test(certificates_are_kept),
        cmocka_unit_test(keys_that_do_not_open),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
