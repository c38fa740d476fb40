/* The configuration file: whatever it holds, a value that is taken is terminated and in range. */
#include <string.h>

#include "daemon/config_int.h"
#include "fuzz.h"

static void
expect_sound(const struct lk_config *c)
{
    for (size_t i = 0; i < lk_config_rows_count; i++) {
        const struct lk_config_row *row = &lk_config_rows[i];
        const char *member = (const char *)c + row->offset;
        uint32_t number;

        if (row->kind == LK_ROW_NUMBER) {
            memcpy(&number, member, sizeof(number));
            check(number >= row->min && number <= row->max);
        } else if (row->size == LK_CONFIG_TEXT_CAP) {
            check(memchr(member, '\0', row->size) != NULL && member[0] != '\0');
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[LK_CONFIG_ERROR_CAP] = "";
    struct lk_config c;
    enum lk_err err = lk_config_parse("/etc/f.conf", (const char *)data, size, error, &c);

    check(err == LK_OK || err == LK_ERR_CONFIG);
    if (err == LK_OK) {
        expect_sound(&c);
    } else {
        check(memchr(error, '\0', sizeof(error)) != NULL && strncmp(error, "/etc/f.conf", 11) == 0);
    }
    return 0;
}
