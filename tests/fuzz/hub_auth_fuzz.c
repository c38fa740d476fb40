/* The question of a hub's broker: what is taken is a host name and a bounded token. */
#include <string.h>

#include "fuzz.h"
#include "wire/hub_auth.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[LK_JSON_ERROR_CAP] = "";
    struct lk_hub_auth_request ask;

    if (lk_hub_auth_parse(data, size, error, &ask) != LK_OK) {
        check(error[0] != '\0' && memchr(error, '\0', sizeof(error)) != NULL);
        return 0;
    }
    check(lk_host_name_ok(ask.hub, strlen(ask.hub)));
    check(memchr(ask.token, '\0', sizeof(ask.token)) != NULL);
    return 0;
}
