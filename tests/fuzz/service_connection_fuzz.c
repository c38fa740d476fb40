/* Connection strings and files of profiles: what is accepted keeps its promises, and what is told
 * of the rest is printable. */
#include <string.h>

#include "cli/profile.h"
#include "fuzz.h"

static void
printable(const char *text)
{
    for (; *text != '\0'; text++) {
        check(*text >= ' ' && *text <= '~');
    }
}

static void
connection_check(const struct lk_svc_connection *c)
{
    check(c->port != 0 && c->host[0] != '\0' && c->key_name[0] != '\0');
    check(strlen(c->host) <= LK_HOST_NAME_MAX && strlen(c->key_name) <= LK_SVC_CONNECTION_NAME_MAX);
    check(c->key_len > 0 && c->key_len <= LK_SVC_CONNECTION_KEY_MAX);
    check(c->is_ipv6 || lk_host_name_ok(c->host, strlen(c->host)));
    printable(c->host);
    printable(c->key_name);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[LK_PROFILE_ERROR_CAP] = "";
    struct lk_svc_connection c;
    struct lk_profile p;

    for (int of = LK_SVC_CONNECTION_SERVICE; of <= LK_SVC_CONNECTION_HUB; of++) {
        if (lk_svc_connection_parse((enum lk_svc_connection_of)of, (const char *)data, size, error,
                                    &c) == LK_OK) {
            check(size <= LK_SVC_CONNECTION_TEXT_MAX);
            connection_check(&c);
            check(of == LK_SVC_CONNECTION_HUB ? !c.is_ipv6 : c.gateway[0] == '\0');
            printable(c.gateway);
        }
        printable(error);
    }
    error[0] = '\0';
    if (lk_profile_parse("profiles.conf", (const char *)data, size, "one", error, &p) == LK_OK) {
        connection_check(&p.connection);
        check(strlen(p.ca_file) < sizeof(p.ca_file));
    }
    printable(error);
    return 0;
}
