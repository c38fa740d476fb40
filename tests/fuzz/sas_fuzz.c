/* SAS tokens as strangers send them: what is accepted keeps its promises and can be made again. */
#include <string.h>

#include "crypto/crypto.h"
#include "fuzz.h"
#include "wire/ids.h"
#include "wire/sas.h"

static bool
within(const char *p, size_t len, const uint8_t *data, size_t size)
{
    const char *start = (const char *)data;

    return p >= start && len <= size && p + len <= start + size;
}

static void
make_again(const struct lk_sas *sas)
{
    LK_AUTO_BUF struct lk_buf token = LK_BUF_INIT;
    const char *key_name = sas->has_key_name ? sas->key_name : NULL;
    struct lk_sas again;

    check(lk_sas_format(sas->resource, sas->expiry_unix_s, sas->sig, key_name, &token) == LK_OK);
    if (token.len > LK_SAS_MAX) {
        return; /* escapes made it longer than what was parsed */
    }
    check(lk_sas_parse((const char *)token.data, token.len, &again) == LK_OK);
    check(strcmp(again.resource, sas->resource) == 0);
    check(strcmp(again.key_name, sas->key_name) == 0 && again.has_key_name == sas->has_key_name);
    check(again.expiry_unix_s == sas->expiry_unix_s);
    check(memcmp(again.sig, sas->sig, sizeof(sas->sig)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[32] = {1};
    struct lk_sas sas;

    if (lk_sas_parse((const char *)data, size, &sas) != LK_OK) {
        return 0;
    }
    check(size <= LK_SAS_MAX);
    check(within(sas.raw_sr, sas.raw_sr_len, data, size) && sas.raw_sr_len > 0);
    check(within(sas.raw_se, sas.raw_se_len, data, size) && sas.raw_se_len > 0);
    check(strlen(sas.resource) <= LK_SAS_RESOURCE_MAX);
    check(strlen(sas.key_name) <= LK_SAS_KEY_NAME_MAX);
    check(lk_sas_verify(&sas, key, sizeof(key), true) == LK_ERR_REFUSED);
    check(sas.resource[0] == '\0' || lk_resource_covers(sas.resource, sas.resource, false));
    make_again(&sas);
    return 0;
}
