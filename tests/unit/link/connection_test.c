/* Tests of src/link/connection.c: connection strings, at rest, and the tokens made with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "link/connection.h"
#include "wire/sas.h"

#define GOOD "HostName=Hub.Example.test;SharedAccessKeyName=owner;SharedAccessKey=a2V5"

static enum lk_err
parse(const char *text, char error[LK_HUB_CONNECTION_ERROR_CAP], struct lk_hub_connection *c)
{
    memset(c, 0, sizeof(*c));
    error[0] = '\0';
    return lk_hub_connection_parse(text, strlen(text), error, c);
}

/* In any order and case, with space around it, a port, a gateway. */
static void
taken(void **state)
{
    char error[LK_HUB_CONNECTION_ERROR_CAP];
    struct lk_hub_connection c;

    assert_int_equal(parse("\n " GOOD "\r\n", error, &c), LK_OK);
    assert_string_equal(c.host, "hub.example.test");
    assert_int_equal(c.port, 443);
    assert_string_equal(c.gateway, "");
    assert_string_equal(c.policy, "owner");
    assert_int_equal(c.key_len, 3);
    assert_memory_equal(c.key, "key", 3);
    lk_hub_connection_fini(&c);
    assert_int_equal(c.key_len, 0);
    assert_int_equal(parse("sharedaccesskey=a2V5;GATEWAYHOSTNAME=10.0.0.1;"
                           "hostname=h.test:8443;sharedaccesskeyname=p;",
                           error, &c),
                     LK_OK);
    assert_int_equal(c.port, 8443);
    assert_string_equal(c.gateway, "10.0.0.1:443");
    lk_hub_connection_fini(&c);
}

/* ---- at rest -----------------------------------------------------------------------------------
 */

static struct lk_keyring *
ring_make(void)
{
    char path[] = "/tmp/latchkey-connection-XXXXXX";
    struct lk_keyring *ring = NULL;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(lk_keyring_create(path, 1, &lk_rand_system), LK_OK);
    assert_int_equal(lk_keyring_load(path, NULL, &ring), LK_OK);
    assert_int_equal(unlink(path), 0);
    return ring;
}

static enum lk_err
seal(struct lk_keyring *ring, const char *text, const struct lk_buf *ca, bool is_remote,
     struct lk_hub *hub)
{
    const struct lk_hub_connection_text from = {text, strlen(text), ca, is_remote};

    lk_buf_reset(&hub->sealed_connection);
    return lk_hub_connection_seal(ring, &lk_rand_system, hub->name, &from, &hub->sealed_connection);
}

/* That it came over the network is sealed with it, and nobody can say so in a string. */
static void
where_it_came_from(void **state)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = ring_make();
    LK_AUTO_BUF struct lk_buf ca = LK_BUF_INIT;
    struct lk_hub hub = {.name = "hub.example.test", .kind = LK_HUB_HTTP};
    struct lk_hub_connection c = {.port = 0};

    assert_int_equal(lk_buf_puts(&ca, "PEM\n"), LK_OK);
    assert_int_equal(seal(ring, GOOD, &ca, true, &hub), LK_OK);
    assert_int_equal(lk_hub_connection_open(ring, &hub, &c), LK_OK);
    assert_true(c.is_remote);
    assert_string_equal(c.host, "hub.example.test");
    assert_memory_equal(c.key, "key", 3);
    assert_int_equal(c.ca.len, 4);
    assert_memory_equal(c.ca.data, "PEM\n", 4);
    lk_hub_connection_fini(&c);
    lk_hub_fini(&hub);
}

/* What belongs to another hub, is no string, or has no certificate where there should be some. */
static void
checked(void **state)
{
    static const struct {
        const char *text, *ca, *hub, *error; /* NULL: it is all right */
    } cases[] = {
        {GOOD, "", "hub.example.test", NULL},
        {GOOD, "x\n-----BEGIN CERTIFICATE-----\n", "hub.example.test", NULL},
        {GOOD, "x", "hub.example.test", "no certificate"},
        {GOOD, "", "hub2.example.test", "another hub"},
        {GOOD ";DeviceId=a", "", "hub.example.test", "a device's"},
        {GOOD ";\nGatewayHostName=a", "", "hub.example.test", "more than one line"},
        {"", "", "hub.example.test", "HostName: is missing"},
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        LK_AUTO_BUF struct lk_buf ca = LK_BUF_INIT;
        const struct lk_hub_connection_text from = {cases[i].text, strlen(cases[i].text), &ca,
                                                    true};
        char error[LK_HUB_CONNECTION_ERROR_CAP] = "";

        assert_int_equal(lk_buf_puts(&ca, cases[i].ca), LK_OK);
        assert_int_equal(lk_hub_connection_check(&from, cases[i].hub, error),
                         cases[i].error == NULL ? LK_OK : LK_ERR_FORMAT);
        assert_true(cases[i].error == NULL ? error[0] == '\0'
                                           : strstr(error, cases[i].error) != NULL);
        assert_null(strstr(error, "a2V5"));
    }
}

/* What was sealed for one hub opens for that one only, with its authorities, by that keyring only.
 */
static void
at_rest(void **state)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = ring_make();
    LK_AUTO(lk_keyring) struct lk_keyring *other = ring_make();
    LK_AUTO_BUF struct lk_buf ca = LK_BUF_INIT;
    struct lk_hub hub = {.name = "hub.example.test", .kind = LK_HUB_HTTP};
    struct lk_hub_connection c = {.port = 0};

    assert_int_equal(lk_buf_puts(&ca, "-----BEGIN CERTIFICATE-----\nx\n"), LK_OK);
    assert_int_equal(seal(ring, "a\nb", &ca, false, &hub), LK_ERR_ARG);
    assert_int_equal(seal(ring, " ", &ca, false, &hub), LK_ERR_ARG);
    assert_int_equal(seal(ring, "@" GOOD, &ca, false, &hub), LK_ERR_ARG);
    assert_int_equal(seal(ring, GOOD "\n", &ca, false, &hub), LK_OK);
    assert_int_equal(lk_hub_connection_open(ring, &hub, &c), LK_OK);
    assert_false(c.is_remote);
    assert_string_equal(c.policy, "owner");
    assert_memory_equal(c.key, "key", 3);
    assert_int_equal(c.ca.len, ca.len);
    assert_memory_equal(c.ca.data, ca.data, ca.len);
    lk_hub_connection_fini(&c);
    assert_int_equal(lk_hub_connection_open(other, &hub, &c), LK_ERR_CONFIG);
    hub.name[0] = 'x';
    assert_int_equal(lk_hub_connection_open(ring, &hub, &c), LK_ERR_STORE);
    hub.name[0] = 'h';
    hub.sealed_connection.data[hub.sealed_connection.len - 1] ^= 1;
    assert_int_equal(lk_hub_connection_open(ring, &hub, &c), LK_ERR_STORE);
    lk_hub_fini(&hub);
    assert_int_not_equal(lk_hub_connection_open(ring, &hub, &c), LK_OK);
}

/* The token is what a hub's check takes: its resource, its policy, an hour. */
static void
token(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char error[LK_HUB_CONNECTION_ERROR_CAP];
    struct lk_hub_connection c;
    struct lk_sas sas;

    assert_int_equal(parse(GOOD, error, &c), LK_OK);
    assert_int_equal(lk_hub_connection_token(&c, 1000000, &text), LK_OK);
    assert_int_equal(lk_sas_parse((const char *)text.data, text.len, &sas), LK_OK);
    assert_string_equal(sas.resource, "hub.example.test");
    assert_string_equal(sas.key_name, "owner");
    assert_int_equal(sas.expiry_unix_s, 1000 + 3600);
    assert_int_equal(lk_sas_verify(&sas, "key", 3, false), LK_OK);
    assert_int_equal(lk_sas_verify(&sas, "kez", 3, false), LK_ERR_REFUSED);
    lk_hub_connection_fini(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {

        cmocka_unit_test(taken),   cmocka_unit_test(at_rest), cmocka_unit_test(where_it_came_from),
        cmocka_unit_test(checked), cmocka_unit_test(token),
    };

    return lk_crypto_init() == LK_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
