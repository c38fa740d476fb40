/* Tests of src/wire/dps.c: register, challenge and error messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/dps.h"

#define EK "\"endorsementKey\":\"AToAAQ==\"" /* 01 3a 00 01 */
#define AUTO_REGISTER __attribute__((cleanup(lk_dps_register_fini))) struct lk_dps_register

static enum lk_err
parse(const char *body, struct lk_dps_register *ret)
{
    return lk_dps_register_parse(body, strlen(body), NULL, ret);
}

/* A body is refused for what, in words that name the member; nothing is left in the result. */
static void
expect_refused(const char *body, enum lk_err want, const char *what)
{
    AUTO_REGISTER m = LK_DPS_REGISTER_INIT;
    char error[LK_JSON_ERROR_CAP] = "";

    if (lk_dps_register_parse(body, strlen(body), error, &m) != want) {
        fail_msg("not refused: %.200s", body);
    }
    if (strstr(error, what) == NULL) {
        fail_msg("\"%s\" does not tell of \"%s\"", error, what);
    }
    assert_int_equal(parse(body, &m), want);
    assert_string_equal(m.registration_id, "");
    assert_false(m.has_tpm);
    assert_int_equal(m.ek.len + m.srk.len + m.payload.len, 0);
}

static void
expect_text(struct lk_buf *got, const char *want)
{
    assert_string_equal(lk_buf_text(got), want);
}

/* ---- register -------------------------------------------------------------------------------- */

/* The body of section 1.3, as the C client sends it. */
static void
register_whole(void **state)
{
    AUTO_REGISTER m = LK_DPS_REGISTER_INIT;

    assert_int_equal(parse("{\"registrationId\":\"dev-1\",\"tpm\":{" EK
                           ",\"storageRootKey\":\"ARo=\"},\"payload\":{\"any\": [1, \"json\"]}}",
                           &m),
                     LK_OK);
    assert_string_equal(m.registration_id, "dev-1");
    assert_true(m.has_tpm);
    assert_int_equal(m.ek.len, 4);
    assert_memory_equal(m.ek.data, "\x01\x3a\x00\x01", 4);
    assert_int_equal(m.srk.len, 2);
    assert_memory_equal(m.srk.data, "\x01\x1a", 2);
    expect_text(&m.payload, "{\"any\":[1,\"json\"]}");
}

/* Nothing at all, {}, members of null, and members of later versions are all fine. */
static void
register_tolerance(void **state)
{
    static const char *const bodies[] = {
        "", "{}", " {\n}\r\n", "{\"registrationId\":null,\"tpm\":null,\"payload\":null}",
        "{\"csr\":\"x\",\"returnData\":{\"a\":1},\"status\":null}"};

    for (size_t i = 0; i < LK_ARRAY_LEN(bodies); i++) {
        AUTO_REGISTER m = LK_DPS_REGISTER_INIT;

        assert_int_equal(parse(bodies[i], &m), LK_OK);
        assert_string_equal(m.registration_id, "");
        assert_false(m.has_tpm);
        assert_int_equal(m.ek.len + m.srk.len + m.payload.len, 0);
    }
}

/* Rust's second register names itself only; an API client may leave the SRK out. */
static void
register_parts(void **state)
{
    AUTO_REGISTER rust = LK_DPS_REGISTER_INIT;
    AUTO_REGISTER no_srk = LK_DPS_REGISTER_INIT;

    assert_int_equal(parse("{\"registrationId\":\"dev-1\"}", &rust), LK_OK);
    assert_false(rust.has_tpm);
    assert_int_equal(parse("{\"tpm\":{" EK ",\"storageRootKey\":null,\"x\":1}}", &no_srk), LK_OK);
    assert_true(no_srk.has_tpm);
    assert_int_equal(no_srk.srk.len, 0);
}

/* A text of len base64 digits, a multiple of four, in quotes and with a final NUL. */
static void
digits_write(char *buf, size_t len)
{
    memset(buf, 'A', len + 2);
    buf[0] = buf[len + 1] = '"';
    buf[len + 2] = '\0';
}

/* Certificates of the EK: neither of another kind, nor too long or too many. */
static void
register_bad_ek_cert(void **state)
{
    static char cert[16384], body[65536];
    static const char *const chains[] = {"{}", "\"AA==\"", "[1]", "[\"\"]", "[\"A\"]", "[null]"};

    expect_refused("{\"tpm\":{" EK ",\"endorsementKeyCertificate\":1}}", LK_ERR_FORMAT,
                   "tpm.endorsementKeyCertificate is not base64");
    expect_refused("{\"tpm\":{" EK ",\"endorsementKeyCertificate\":\"\"}}", LK_ERR_FORMAT,
                   "tpm.endorsementKeyCertificate is not base64");
    digits_write(cert, (LK_DPS_EK_CERT_MAX / 3 + 1) * 4);
    (void)snprintf(body, sizeof(body), "{\"tpm\":{" EK ",\"endorsementKeyCertificate\":%s}}", cert);
    expect_refused(body, LK_ERR_LIMIT, "tpm.endorsementKeyCertificate is too long");
    (void)snprintf(body, sizeof(body), "{\"tpm\":{" EK ",\"endorsementKeyCertificateChain\":[%s]}}",
                   cert);
    expect_refused(body, LK_ERR_LIMIT, "tpm.endorsementKeyCertificateChain is too long");
    for (size_t i = 0; i < LK_ARRAY_LEN(chains); i++) {
        (void)snprintf(body, sizeof(body),
                       "{\"tpm\":{" EK ",\"endorsementKeyCertificateChain\":%s}}", chains[i]);
        expect_refused(body, LK_ERR_FORMAT, "tpm.endorsementKeyCertificateChain");
    }
    expect_refused("{\"tpm\":{" EK ",\"endorsementKeyCertificateChain\":"
                   "[\"AA==\",\"AA==\",\"AA==\",\"AA==\",\"AA==\"]}}",
                   LK_ERR_LIMIT, "tpm.endorsementKeyCertificateChain is too long");
}

/* The longest that is taken, and what is written is read as it was. */
static void
register_ek_cert(void **state)
{
    AUTO_REGISTER m = LK_DPS_REGISTER_INIT;
    AUTO_REGISTER again = LK_DPS_REGISTER_INIT;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    static uint8_t cert[LK_DPS_EK_CERT_MAX];

    m.has_tpm = true;
    assert_int_equal(lk_buf_put(&m.ek, "ek", 2), LK_OK);
    memset(cert, 0xc5, sizeof(cert));
    assert_int_equal(lk_buf_put(&m.ek_cert, cert, sizeof(cert)), LK_OK);
    for (m.ek_chain_count = 0; m.ek_chain_count < LK_DPS_EK_CHAIN_MAX; m.ek_chain_count++) {
        assert_int_equal(lk_buf_put(&m.ek_chain[m.ek_chain_count], "chain", m.ek_chain_count + 1),
                         LK_OK);
    }
    assert_int_equal(lk_dps_register_format(&m, &text), LK_OK);
    assert_int_equal(lk_dps_register_parse(text.data, text.len, NULL, &again), LK_OK);
    assert_int_equal(again.ek_cert.len, sizeof(cert));
    assert_memory_equal(again.ek_cert.data, cert, sizeof(cert));
    assert_int_equal(again.ek_chain_count, LK_DPS_EK_CHAIN_MAX);
    assert_int_equal(again.ek_chain[3].len, 4);
    assert_memory_equal(again.ek_chain[3].data, "chai", 4);
}

/* The payload may be of any kind; Java's is a text that contains JSON. */
static void
register_payload_kinds(void **state)
{
    static const char *const payloads[] = {"1",  "-0.5", "true", "false",
                                           "[]", "{}",   "\"\"", "\"{\\\"a\\\":1}\""};

    for (size_t i = 0; i < LK_ARRAY_LEN(payloads); i++) {
        AUTO_REGISTER m = LK_DPS_REGISTER_INIT;
        char body[128];

        (void)snprintf(body, sizeof(body), "{\"payload\":%s}", payloads[i]);
        assert_int_equal(parse(body, &m), LK_OK);
        expect_text(&m.payload, payloads[i]);
    }
}

/* A registration ID of 128 characters is taken, one of 129 or with a NUL or a slash is not. */
static void
register_id(void **state)
{
    AUTO_REGISTER m = LK_DPS_REGISTER_INIT;
    char id[130], body[200];

    memset(id, 'x', sizeof(id));
    (void)snprintf(body, sizeof(body), "{\"registrationId\":\"%.128s\"}", id);
    assert_int_equal(parse(body, &m), LK_OK);
    assert_int_equal(strlen(m.registration_id), 128);
    (void)snprintf(body, sizeof(body), "{\"registrationId\":\"%.129s\"}", id);
    expect_refused(body, LK_ERR_FORMAT, "registrationId");
    expect_refused("{\"registrationId\":\"a\\u0000b\"}", LK_ERR_FORMAT, "");
    expect_refused("{\"registrationId\":\"../x\"}", LK_ERR_FORMAT, "registrationId");
    expect_refused("{\"registrationId\":\"\"}", LK_ERR_FORMAT, "registrationId");
    expect_refused("{\"registrationId\":7}", LK_ERR_FORMAT, "registrationId");
}

/* What is no JSON object, or not only one. */
static void
register_not_json(void **state)
{
    static const char *const bodies[] = {"{",
                                         "[]",
                                         "null",
                                         "\"x\"",
                                         "{}{}",
                                         "{}x",
                                         "{'a':1}",
                                         "{\"a\":01}",
                                         "{\"a\":1,}",
                                         "{\"a\"}",
                                         "{\"a\":\"\xff\"}",
                                         " ",
                                         "{\"a\":\"\\ud800\"}"};

    for (size_t i = 0; i < LK_ARRAY_LEN(bodies); i++) {
        expect_refused(bodies[i], LK_ERR_FORMAT, "");
    }
}

/* A member that comes twice is refused wherever it is: two readers could read two things. */
static void
register_duplicate_members(void **state)
{
    expect_refused("{\"registrationId\":\"a\",\"registrationId\":\"a\"}", LK_ERR_FORMAT, "");
    expect_refused("{\"tpm\":{" EK "," EK "}}", LK_ERR_FORMAT, "");
    expect_refused("{\"payload\":{\"a\":1,\"a\":2}}", LK_ERR_FORMAT, "");
}

/* 15 arrays in the payload make 16 levels with the body; one more is too deep. */
static void
register_nesting(void **state)
{
    AUTO_REGISTER m = LK_DPS_REGISTER_INIT;

    assert_int_equal(parse("{\"payload\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}", &m), LK_OK);
    expect_refused("{\"payload\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", LK_ERR_FORMAT, "");
}

/* A hundred thousand brackets do not fit, and ninety thousand are refused without a deep stack. */
static void
register_bracket_bomb(void **state)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;

    memset(lk_buf_extend(&body, 100000), '[', 100000);
    expect_refused(lk_buf_text(&body), LK_ERR_LIMIT, "body");
    body.len = 90000;
    expect_refused(lk_buf_text(&body), LK_ERR_FORMAT, "");
}

/* Keys that are missing, of another kind, empty, or not strict base64. */
static void
register_keys(void **state)
{
    static const char *const bad[] = {"",      "A",    "AAA",  "AA=A",  "AA==AA==",    "AAAA\\n",
                                      " AAAA", "AA-_", "AB==", "AAAAA", "AAA=\\u0020", "\xc3\xa9"};
    char body[128];

    expect_refused("{\"tpm\":{}}", LK_ERR_FORMAT, "tpm.endorsementKey is missing");
    expect_refused("{\"tpm\":[]}", LK_ERR_FORMAT, "tpm");
    expect_refused("{\"tpm\":\"x\"}", LK_ERR_FORMAT, "tpm");
    expect_refused("{\"tpm\":{\"storageRootKey\":\"AAAA\"}}", LK_ERR_FORMAT, "tpm.endorsementKey");
    expect_refused("{\"tpm\":{\"endorsementKey\":7}}", LK_ERR_FORMAT, "tpm.endorsementKey");
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        (void)snprintf(body, sizeof(body), "{\"tpm\":{\"endorsementKey\":\"%s\"}}", bad[i]);
        expect_refused(body, LK_ERR_FORMAT, "tpm.endorsementKey");
        (void)snprintf(body, sizeof(body), "{\"tpm\":{" EK ",\"storageRootKey\":\"%s\"}}", bad[i]);
        expect_refused(body, LK_ERR_FORMAT, "tpm.storageRootKey");
    }
}

/* A body of exactly the limit and one byte more; white space counts. */
static void
register_body_limit(void **state)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    AUTO_REGISTER m = LK_DPS_REGISTER_INIT;

    assert_int_equal(lk_buf_puts(&body, "{}"), LK_OK);
    memset(lk_buf_extend(&body, LK_DPS_BODY_MAX - 2), ' ', LK_DPS_BODY_MAX - 2);
    assert_int_equal(lk_dps_register_parse(body.data, body.len, NULL, &m), LK_OK);
    assert_int_equal(lk_buf_puts(&body, " "), LK_OK);
    assert_int_equal(lk_dps_register_parse(body.data, body.len, NULL, &m), LK_ERR_LIMIT);
}

/* A payload of exactly the limit as compact JSON and one byte more; white space does not count. */
static void
register_payload_limit(void **state)
{
    for (size_t more = 0; more < 2; more++) {
        LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
        AUTO_REGISTER m = LK_DPS_REGISTER_INIT;
        size_t letters = LK_DPS_PAYLOAD_MAX - 2 + more;

        assert_int_equal(lk_buf_puts(&body, "{\"payload\":   \""), LK_OK);
        memset(lk_buf_extend(&body, letters), 'p', letters);
        assert_int_equal(lk_buf_puts(&body, "\"   }"), LK_OK);
        assert_int_equal(lk_dps_register_parse(body.data, body.len, NULL, &m),
                         more == 0 ? LK_OK : LK_ERR_LIMIT);
        assert_int_equal(m.payload.len, more == 0 ? LK_DPS_PAYLOAD_MAX : 0);
    }
}

/* What our SDK sends, byte for byte, and that it is read as it was meant. */
static void
register_format(void **state)
{
    AUTO_REGISTER m = LK_DPS_REGISTER_INIT;
    AUTO_REGISTER again = LK_DPS_REGISTER_INIT;
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;

    m.has_tpm = true;
    assert_int_equal(lk_strcpy(m.registration_id, sizeof(m.registration_id), "dev-1"), LK_OK);
    assert_int_equal(lk_buf_put(&m.ek, "\x01\x3a\x00\x01", 4), LK_OK);
    assert_int_equal(lk_buf_put(&m.srk, "\x01\x1a", 2), LK_OK);
    assert_int_equal(lk_buf_puts(&m.payload, "{\"z\":1, \"a\":\"\xc3\xa9\"}"), LK_OK);
    assert_int_equal(lk_dps_register_format(&m, &body), LK_OK);
    expect_text(&body, "{\"registrationId\":\"dev-1\",\"tpm\":{" EK ",\"storageRootKey\":\"ARo=\"},"
                       "\"payload\":{\"z\":1,\"a\":\"\xc3\xa9\"}}");
    assert_int_equal(lk_dps_register_parse(body.data, body.len, NULL, &again), LK_OK);
    assert_string_equal(again.registration_id, "dev-1");
    assert_memory_equal(again.ek.data, m.ek.data, 4);
    assert_memory_equal(again.srk.data, m.srk.data, 2);
}

/* Without keys, ID or payload it is {}; a payload that is not JSON is not sent. */
static void
register_format_parts(void **state)
{
    AUTO_REGISTER m = LK_DPS_REGISTER_INIT;
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;

    assert_int_equal(lk_dps_register_format(&m, &body), LK_OK);
    expect_text(&body, "{}");
    assert_int_equal(lk_buf_puts(&m.payload, "{oops"), LK_OK);
    assert_int_equal(lk_dps_register_format(&m, &body), LK_ERR_FORMAT);
    expect_text(&body, "{}");
}

/* ---- challenge ------------------------------------------------------------------------------- */

/* The four members of the live service, in its order, and no status. */
static void
challenge_format(void **state)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;

    assert_int_equal(lk_dps_challenge_format("\x00\x34\x00\x20", 4, &body), LK_OK);
    expect_text(&body, "{\"message\":\"Authorization required, resend request using supplied key\","
                       "\"authenticationKey\":\"ADQAIA==\",\"unencryptedAuthenticationKey\":null,"
                       "\"keyName\":\"registration\"}");
    assert_int_equal(lk_dps_challenge_parse(body.data, body.len, &blob), LK_OK);
    assert_int_equal(blob.len, 4);
    assert_memory_equal(blob.data, "\x00\x34\x00\x20", 4);
}

static enum lk_err
challenge_verdict(const char *body)
{
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
    enum lk_err err = lk_dps_challenge_parse(body, strlen(body), &blob);

    assert_true(err == LK_OK || blob.len == 0);
    return err;
}

/* An error without a key is a refusal; anything else without one is no answer of a service. */
static void
challenge_parse(void **state)
{
    assert_int_equal(challenge_verdict("{\"authenticationKey\":\"ADQ=\",\"errorCode\":401000,"
                                       "\"unknown\":[{}]}"),
                     LK_OK);
    assert_int_equal(challenge_verdict("{\"errorCode\":401002,\"message\":\"Unauthorized\"}"),
                     LK_ERR_REFUSED);
    assert_int_equal(challenge_verdict("{\"errorCode\":401002,\"authenticationKey\":null}"),
                     LK_ERR_REFUSED);
    assert_int_equal(challenge_verdict("{\"errorCode\":\"401002\"}"), LK_ERR_FORMAT);
    assert_int_equal(challenge_verdict("{}"), LK_ERR_FORMAT);
    assert_int_equal(challenge_verdict(""), LK_ERR_FORMAT);
    assert_int_equal(challenge_verdict("<html>"), LK_ERR_FORMAT);
    assert_int_equal(challenge_verdict("{\"authenticationKey\":\"\"}"), LK_ERR_FORMAT);
    assert_int_equal(challenge_verdict("{\"authenticationKey\":\"ADQ\"}"), LK_ERR_FORMAT);
    assert_int_equal(challenge_verdict("{\"authenticationKey\":[]}"), LK_ERR_FORMAT);
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* The body of section 1.8, in its order, with seven fraction digits. */
static void
error_format(void **state)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    char message[32];
    int32_t code = 0;

    assert_int_equal(
        lk_dps_error_format(LK_DPS_UNAUTHORIZED, "9f2c", "Unauthorized", 1552678982790, &body),
        LK_OK);
    expect_text(&body, "{\"errorCode\":401002,\"trackingId\":\"9f2c\",\"message\":\"Unauthorized\","
                       "\"timestampUtc\":\"2019-03-15T19:43:02.7900000Z\"}");
    assert_int_equal(lk_dps_error_parse(body.data, body.len, &code, message, sizeof(message)),
                     LK_OK);
    assert_int_equal(code, 401002);
    assert_string_equal(message, "Unauthorized");
}

static enum lk_err
error_verdict(const char *body, char *message, size_t cap)
{
    int32_t code = 0;

    return lk_dps_error_parse(body, strlen(body), &code, message, cap);
}

/* A message is cut to what fits, between characters; none is an empty one. */
static void
error_message_is_bounded(void **state)
{
    const char *body = "{\"errorCode\":400004,\"message\":\"abc\xc3\xa9"
                       "f\"}";
    char message[16];

    memset(message, 'x', sizeof(message));
    assert_int_equal(error_verdict(body, message, 4), LK_OK);
    assert_memory_equal(message, "abc\0x", 5);
    assert_int_equal(error_verdict(body, message, 5), LK_OK);
    assert_string_equal(message, "abc");
    assert_int_equal(error_verdict(body, message, 6), LK_OK);
    assert_string_equal(message, "abc\xc3\xa9");
    assert_int_equal(error_verdict(body, message, 7), LK_OK);
    assert_string_equal(message, "abc\xc3\xa9"
                                 "f");
    assert_int_equal(error_verdict(body, message, 1), LK_OK);
    assert_string_equal(message, "");
    assert_int_equal(error_verdict("{\"errorCode\":1}", message, sizeof(message)), LK_OK);
    assert_string_equal(message, "");
}

/* No code, one of another kind, and the first numbers that do not fit. */
static void
error_parse_refuses(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "{\"errorCode\":null}",
        "{\"errorCode\":0}",
        "{\"errorCode\":\"401002\"}",
        "{\"errorCode\":401002.5}",
        "{\"errorCode\":2147483648}",
        "{\"errorCode\":-2147483649}",
        "{\"errorCode\":99999999999999999999}",
        "{\"errorCode\":401002,\"message\":{}}",
    };
    char message[8] = "as was";

    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        assert_int_equal(error_verdict(bad[i], message, sizeof(message)), LK_ERR_FORMAT);
        assert_string_equal(message, "as was");
    }
    assert_int_equal(error_verdict("{\"errorCode\":2147483647}", message, sizeof(message)), LK_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(register_whole),
        cmocka_unit_test(register_tolerance),
        cmocka_unit_test(register_parts),
        cmocka_unit_test(register_bad_ek_cert),
        cmocka_unit_test(register_ek_cert),
        cmocka_unit_test(register_payload_kinds),
        cmocka_unit_test(register_id),
        cmocka_unit_test(register_not_json),
        cmocka_unit_test(register_duplicate_members),
        cmocka_unit_test(register_nesting),
        cmocka_unit_test(register_bracket_bomb),
        cmocka_unit_test(register_keys),
        cmocka_unit_test(register_body_limit),
        cmocka_unit_test(register_payload_limit),
        cmocka_unit_test(register_format),
        cmocka_unit_test(register_format_parts),
        cmocka_unit_test(challenge_format),
        cmocka_unit_test(challenge_parse),
        cmocka_unit_test(error_format),
        cmocka_unit_test(error_message_is_bounded),
        cmocka_unit_test(error_parse_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
