/* Tests of src/api/webhook_json.c: what a webhook is told, and which answers are one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/webhook.h"
#include "support/certs.h"

static struct lk_enrollment e;
static struct lk_registration proof;
static struct lk_buf payload;
static struct lk_hub hubs[2];

/* Fields by hand: the store is a room below. */
static int
setup(void **state)
{
    memset(&e, 0, sizeof(e));
    memset(&proof, 0, sizeof(proof));
    memset(&payload, 0, sizeof(payload));
    memset(hubs, 0, sizeof(hubs));
    (void)snprintf(e.id, sizeof(e.id), "dev-1");
    (void)snprintf(e.etag, sizeof(e.etag), "e1");
    (void)snprintf(e.webhook_url, sizeof(e.webhook_url), "https://hook.test/?c=1");
    (void)snprintf(e.webhook_api_version, sizeof(e.webhook_api_version), "2021-10-01");
    (void)snprintf(hubs[0].name, sizeof(hubs[0].name), "a.test");
    (void)snprintf(hubs[1].name, sizeof(hubs[1].name), "b.test");
    e.enabled = e.reprovision_update_hub = true;
    e.allocation = LK_ALLOC_CUSTOM;
    e.eks_count = 2;
    for (size_t i = 0; i < 2; i++) {
        memset(e.eks[i].id, (int)i, LK_EK_ID_LEN);
        memset(e.eks[i].pub, 'A' + (int)i, 3);
        e.eks[i].pub_len = 3;
    }
    memset(proof.ek_id, 1, LK_EK_ID_LEN);
    memcpy(proof.srk_pub, "SRK", 3);
    proof.srk_pub_len = 3;
    return 0;
}

static int
teardown(void **state)
{
    lk_buf_fini(&e.sealed_keys);
    lk_buf_fini(&e.initial_twin);
    lk_buf_fini(&e.certs[0]);
    lk_buf_fini(&payload);
    return 0;
}

static void
expect_ask(const char *group, const char *current, const char *want)
{
    const struct lk_hub *linked[] = {&hubs[0], &hubs[1]};
    const struct lk_webhook_ask ask = {.enrollment = &e,
                                       .group = group,
                                       .current_hub = current,
                                       .current_device_id = current == NULL ? NULL : "Dev",
                                       .proof = &proof,
                                       .payload = &payload,
                                       .hubs = linked,
                                       .hubs_count = 2};
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    assert_int_equal(lk_webhook_ask_format(&ask, &text), LK_OK);
    assert_string_equal(lk_buf_text(&text), want);
}

#define TERMS                                                                                      \
    "\"capabilities\":{\"iotEdge\":false},\"provisioningStatus\":\"enabled\","                     \
    "\"reprovisionPolicy\":{\"updateHubAssignment\":true,\"migrateDeviceData\":false},"            \
    "\"allocationPolicy\":\"custom\","
#define TAIL                                                                                       \
    "\"customAllocationDefinition\":{\"webhookUrl\":\"https://hook.test/?c=1\","                   \
    "\"apiVersion\":\"2021-10-01\"},\"etag\":\"\\\"e1\\\"\"},"

/* A TPM: the EK that was proved, not the first one; payload and present hub when there are. */
static void
ask_of_a_tpm(void **state)
{
    expect_ask("", NULL,
               "{\"individualEnrollment\":{\"attestation\":{\"tpm\":{\"endorsementKey\":\"QUFB\","
               "\"endorsementKeys\":[\"QUFB\",\"QkJC\"]},\"type\":\"tpm\"},"
               "\"registrationId\":\"dev-1\"," TERMS TAIL
               "\"deviceRuntimeContext\":{\"registrationId\":\"dev-1\",\"tpm\":{"
               "\"endorsementKey\":\"QkJC\",\"storageRootKey\":\"U1JL\"}},"
               "\"linkedHubs\":[\"a.test\",\"b.test\"]}");
    assert_int_equal(lk_buf_puts(&payload, "{\"m\":[1]}"), LK_OK);
    assert_int_equal(lk_buf_puts(&e.initial_twin, "{\"tags\":{}}"), LK_OK);
    (void)snprintf(e.device_id, sizeof(e.device_id), "Dev");
    (void)snprintf(e.hubs[0], sizeof(e.hubs[0]), "a.test");
    e.hubs_count = e.eks_count = 1;
    memset(e.eks[0].id, 1, LK_EK_ID_LEN);
    expect_ask("", "a.test",
               "{\"individualEnrollment\":{\"attestation\":{\"tpm\":{\"endorsementKey\":\"QUFB\"},"
               "\"type\":\"tpm\"},\"registrationId\":\"dev-1\",\"deviceId\":\"Dev\","
               "\"initialTwin\":{\"tags\":{}}," TERMS "\"iotHubs\":[\"a.test\"]," TAIL
               "\"deviceRuntimeContext\":{\"registrationId\":\"dev-1\",\"currentIotHubHostName\":"
               "\"a.test\",\"currentDeviceId\":\"Dev\",\"tpm\":{\"endorsementKey\":\"QUFB\","
               "\"storageRootKey\":\"U1JL\"},\"payload\":{\"m\":[1]}},"
               "\"linkedHubs\":[\"a.test\",\"b.test\"]}");
}

/* Of a shared key nothing but that there is one; a group under its own name, and the device under
 * the device's. */
static void
ask_without_secrets(void **state)
{
    e.attestation = LK_ATTESTATION_SYMMETRIC_KEY;
    e.eks_count = proof.srk_pub_len = 0;
    assert_int_equal(lk_buf_puts(&e.sealed_keys, "SECRET"), LK_OK);
    expect_ask("Group-1", NULL,
               "{\"enrollmentGroup\":{\"attestation\":{\"type\":\"symmetricKey\"},"
               "\"enrollmentGroupId\":\"Group-1\"," TERMS TAIL
               "\"deviceRuntimeContext\":{\"registrationId\":\"dev-1\",\"symmetricKey\":{}},"
               "\"linkedHubs\":[\"a.test\",\"b.test\"]}");
}

/* Of certificates what is in them, not themselves. */
static void
ask_of_certificates(void **state)
{
    static const struct {
        const char *group, *member;
    } cases[] = {{"", "clientCertificates"}, {"Group-1", "signingCertificates"}};
    const struct lk_hub *linked[] = {&hubs[0]};
    struct test_cert cert;

    test_leaf_make(&cert, "dev-1", 1800000000, NULL);
    e.attestation = LK_ATTESTATION_X509;
    e.eks_count = proof.srk_pub_len = 0;
    assert_int_equal(lk_buf_put(&e.certs[0], cert.der, cert.der_len), LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        const struct lk_webhook_ask ask = {.enrollment = &e,
                                           .group = cases[i].group,
                                           .proof = &proof,
                                           .payload = &payload,
                                           .hubs = linked,
                                           .hubs_count = 1};
        LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

        assert_int_equal(lk_webhook_ask_format(&ask, &text), LK_OK);
        assert_non_null(strstr(lk_buf_text(&text), cases[i].member));
        assert_non_null(strstr(lk_buf_text(&text), "\"subjectName\":\"CN=dev-1\""));
        assert_non_null(strstr(lk_buf_text(&text), "\"x509\":{}"));
        assert_null(strstr(lk_buf_text(&text), "\"certificate\":"));
    }
    test_cert_fini(&cert);
}

/* What is no answer. */
static void
bad_answers(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"iotHubHostName\":null}",
        "{\"iotHubHostName\":7}",
        "{\"iotHubHostName\":\"a.test\"",
        "{\"iotHubHostName\":\"a.test\",\"iotHubHostName\":\"b.test\"}",
        "{\"iotHubHostName\":\"a.test\",\"initialTwin\":[]}",
        "{\"iotHubHostName\":\"a.test\"} x",
    };
    char long_name[LK_HOST_NAME_MAX + 64], error[LK_JSON_ERROR_CAP];

    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        struct lk_webhook_answer a = {.err = LK_OK};

        error[0] = '\0';
        assert_int_equal(lk_webhook_answer_parse(bad[i], strlen(bad[i]), error, &a), LK_ERR_FORMAT);
        assert_true(error[0] != '\0');
        lk_buf_fini(&a.initial_twin);
        lk_buf_fini(&a.payload);
    }
    for (int len = LK_HOST_NAME_MAX; len <= (int)LK_HOST_NAME_MAX + 1; len++) {
        struct lk_webhook_answer a = {.err = LK_OK};

        (void)snprintf(long_name, sizeof(long_name), "{\"iotHubHostName\":\"%0*d\"}", len, 0);
        assert_int_equal(lk_webhook_answer_parse(long_name, strlen(long_name), error, &a),
                         len > (int)LK_HOST_NAME_MAX ? LK_ERR_FORMAT : LK_OK);
    }
}

/* The least and the most of one; what is unknown is passed over. */
static void
good_answers(void **state)
{
    static const char whole[] = "{\"payload\": [1, {\"a\": null}],\"initialTwin\": {\"tags\": {}},"
                                "\"more\":1,\"iotHubHostName\":\"A.test\"}";
    static const char least[] =
        "{\"iotHubHostName\":\"a.test\",\"payload\":null,\"initialTwin\":null}";
    struct lk_webhook_answer a = {.err = LK_OK}, b = {.err = LK_OK};
    char error[LK_JSON_ERROR_CAP];

    assert_int_equal(lk_webhook_answer_parse(whole, strlen(whole), error, &a), LK_OK);
    assert_string_equal(a.hub, "A.test");
    assert_string_equal(lk_buf_text(&a.payload), "[1,{\"a\":null}]");
    assert_string_equal(lk_buf_text(&a.initial_twin), "{\"tags\":{}}");
    assert_int_equal(lk_webhook_answer_parse(least, strlen(least), error, &b), LK_OK);
    assert_int_equal(b.payload.len + b.initial_twin.len, 0);
    lk_buf_fini(&a.initial_twin);
    lk_buf_fini(&a.payload);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {CASE(ask_of_a_tpm), CASE(ask_without_secrets),
                                       CASE(ask_of_certificates), CASE(bad_answers),
                                       CASE(good_answers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
