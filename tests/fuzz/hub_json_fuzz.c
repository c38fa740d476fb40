/*
 * Bodies that a hub's operators send: the first byte picks the decoder. What a decoder takes is
 * within the limits, and what is told of it can be read again.
 */
#include <string.h>

#include "api/hub_json.h"
#include "fuzz.h"

static void
told(enum lk_err err, const struct lk_svc_fault *fault)
{
    check(err == LK_OK || err == LK_ERR_FORMAT);
    check(err == LK_OK || (fault->code / 1000 >= 400 && fault->message[0] != '\0'));
}

static void
device(const json_t *object)
{
    LK_AUTO(json) json_t *again = json_object();
    struct lk_svc_fault fault = {.code = 0};
    struct lk_device_doc doc, second;
    struct lk_hub_device d = {.id = {.enabled = true, .auth = LK_AUTH_SAS}};
    enum lk_err err;

    lk_device_doc_init(&doc);
    lk_device_doc_init(&second);
    err = lk_device_json_parse(object, NULL, &fault, &doc);
    told(err, &fault);
    if (err == LK_OK) {
        check(lk_device_doc_apply(&doc, &d) == LK_OK);
        memcpy(d.id.device_id, doc.d.id.device_id, sizeof(d.id.device_id));
        check(lk_device_json_put(&d, again) == LK_OK);
        check(lk_device_json_parse(again, d.id.device_id, &fault, &second) == LK_OK);
        check(second.d.id.enabled == d.id.enabled && second.d.id.auth == d.id.auth);
        check(second.d.keys[0].len == d.keys[0].len && second.d.keys[1].len == d.keys[1].len);
        check(strcmp(second.d.id.thumbprints[0], d.id.thumbprints[0]) == 0);
    }
    lk_hub_device_fini(&d);
    lk_device_doc_fini(&doc);
    lk_device_doc_fini(&second);
}

static void
import(const json_t *object)
{
    struct lk_svc_fault fault = {.code = 0};
    struct lk_import_doc doc;

    lk_import_doc_init(&doc);
    told(lk_import_json_parse(object, &fault, &doc), &fault);
    lk_import_doc_fini(&doc);
}

static void
twin(const json_t *object)
{
    struct lk_svc_fault fault = {.code = 0};
    struct lk_twin_patch patch;
    enum lk_err err = lk_twin_json_parse(object, &fault, &patch);

    told(err, &fault);
    check(err != LK_OK || patch.reported == NULL);
}

static void
method(const json_t *object)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_svc_fault fault = {.code = 0};
    struct lk_method_doc doc;
    enum lk_err err;

    lk_method_doc_init(&doc);
    err = lk_method_json_parse(object, &fault, &doc);
    told(err, &fault);
    if (err == LK_OK) {
        check(doc.response_timeout_ms <= 300000 && doc.connect_timeout_ms <= 300000);
        check(strpbrk(doc.name, "/+#?") == NULL);
        check(lk_method_result_format(200, lk_buf_text(&doc.payload), doc.payload.len, &text) ==
              LK_OK);
    }
    lk_method_doc_fini(&doc);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const decoders[])(const json_t *) = {device, import, twin, method};
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(json) json_t *object = NULL;

    if (size == 0) {
        return 0;
    }
    if (lk_json_parse(data + 1, size - 1, false, NULL, &object) == LK_OK) {
        decoders[data[0] % LK_ARRAY_LEN(decoders)](object);
    }
    /* A device's answer to a method, whatever it is. */
    (void)!lk_method_result_format(200, (const char *)data, size, &text);
    return 0;
}
