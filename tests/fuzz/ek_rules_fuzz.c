/* Rules of groups by EK certificates: what is read can be written, and is then read as the same. */
#include <string.h>

#include "fuzz.h"
#include "provision/ek_group.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, again = LK_BUF_INIT;
    char error[LK_JSON_ERROR_CAP] = "";
    struct lk_ek_rules rules;
    enum lk_err err = lk_ek_rules_parse(data, size, error, &rules);

    check(memchr(error, '\0', sizeof(error)) != NULL);
    if (err != LK_OK) {
        check((err == LK_ERR_FORMAT || err == LK_ERR_LIMIT) && error[0] != '\0');
        return 0;
    }
    check(rules.roots_count <= LK_EK_ROOTS_MAX && rules.issuers_count <= LK_EK_LIST_MAX);
    check(rules.vendors_count <= LK_EK_LIST_MAX && rules.models_count <= LK_EK_LIST_MAX);
    check(rules.quota >= 0 && rules.quota <= LK_EK_QUOTA_MAX);
    err = lk_ek_rules_format(&rules, &text);
    if (err == LK_ERR_LIMIT) {
        return 0; /* versions and times are spelt longer than they may be given */
    }
    check(err == LK_OK && text.len <= LK_EK_RULES_MAX);
    check(lk_ek_rules_parse(text.data, text.len, NULL, &rules) == LK_OK);
    check(lk_ek_rules_format(&rules, &again) == LK_OK);
    check(again.len == text.len && memcmp(again.data, text.data, text.len) == 0);
    return 0;
}
