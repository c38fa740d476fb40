/* Lists of networks: what is taken from a configuration says something about every address. */
#include <string.h>

#include "fuzz.h"
#include "net/regions.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LK_AUTO(lk_allow) struct lk_allow *allow = NULL;
    LK_AUTO(lk_regions) struct lk_regions *regions = NULL;
    char text[512], error[LK_ALLOW_ERROR_CAP] = "";
    struct lk_network loopback, any;

    if (size >= sizeof(text) || lk_network_parse("127.0.0.1", &loopback) != LK_OK ||
        lk_network_parse("192.0.2.1", &any) != LK_OK) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    if (lk_allow_parse(text, error, &allow) == LK_OK) {
        /* Loopback is open only to who wrote it out. */
        check(!lk_allow_connect(allow, "localhost", &loopback) || strstr(text, "127.0.0.1") ||
              strstr(text, ":"));
        (void)lk_allow_connect(allow, "hook.test", &any);
    } else {
        check(error[0] != '\0');
    }
    if (lk_regions_parse(text, "rest", error, &regions) == LK_OK) {
        check(lk_region_ok(lk_regions_of(regions, "192.0.2.1")));
        check(lk_region_ok(lk_regions_of(regions, "2001:db8::1")));
    }
    return 0;
}
