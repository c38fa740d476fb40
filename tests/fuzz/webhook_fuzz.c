/* The answer of a webhook: a bounded host name, and JSON that can be read again. */
#include <string.h>

#include "api/webhook.h"
#include "fuzz.h"

static void
check_json(struct lk_buf *text)
{
    json_t *value = NULL;

    check(text->len == 0 || lk_json_parse(text->data, text->len, true, NULL, &value) == LK_OK);
    json_decref(value);
    lk_buf_fini(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[LK_JSON_ERROR_CAP] = "";
    struct lk_webhook_answer answer = {.err = LK_OK};

    if (lk_webhook_answer_parse(data, size, error, &answer) != LK_OK) {
        check(error[0] != '\0' && memchr(error, '\0', sizeof(error)) != NULL);
    }
    check(memchr(answer.hub, '\0', sizeof(answer.hub)) != NULL);
    check_json(&answer.initial_twin);
    check_json(&answer.payload);
    return 0;
}
