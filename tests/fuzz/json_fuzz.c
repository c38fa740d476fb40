/* JSON as strangers send it: what is accepted is written, and reads back as the same value. */
#include <string.h>

#include "base/json.h"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[LK_JSON_ERROR_CAP] = "";
    LK_AUTO(json) json_t *value = NULL, *again = NULL;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    json_t *object = NULL;

    if (lk_json_parse(data, size, true, error, &value) != LK_OK) {
        check(value == NULL && strlen(error) > 0);
        check(lk_json_parse(data, size, false, NULL, &object) != LK_OK && object == NULL);
        return 0;
    }
    check(lk_json_write(value, &text) == LK_OK);
    check(lk_json_parse(text.data, text.len, true, NULL, &again) == LK_OK);
    check(json_equal(value, again) == 1);
    check((lk_json_parse(data, size, false, NULL, &object) == LK_OK) == json_is_object(value));
    json_decref(object);
    return 0;
}
