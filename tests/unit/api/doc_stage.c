#include "doc_stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void
doc_start(struct doc_stage *d)
{
    memset(d, 0, sizeof(*d));
    lk_enrollment_doc_init(&d->doc);
}

void
doc_stop(struct doc_stage *d)
{
    lk_enrollment_doc_fini(&d->doc);
}

enum lk_err
doc_read(struct doc_stage *d, enum lk_entity entity, char *body)
{
    char error[LK_JSON_ERROR_CAP] = "";
    LK_AUTO(json) json_t *object = NULL;

    if (lk_json_parse(body, strlen(body), false, error, &object) != LK_OK) {
        fail_msg("%s in %s", error, body);
    }
    free(body);
    memset(&d->fault, 0, sizeof(d->fault));
    return lk_enrollment_json_parse(entity, object, NULL, &d->fault, &d->doc);
}

void
doc_accept(struct doc_stage *d, enum lk_entity entity, char *body)
{
    if (doc_read(d, entity, body) != LK_OK) {
        fail_msg("%d %s", (int)d->fault.code, d->fault.message);
    }
}

void
doc_refuse(struct doc_stage *d, enum lk_entity entity, char *body, int32_t code, const char *word)
{
    assert_int_equal(doc_read(d, entity, body), LK_ERR_FORMAT);
    assert_int_equal(d->fault.code, code);
    if (strstr(d->fault.message, word) == NULL) {
        fail_msg("%s is not in: %s", word, d->fault.message);
    }
}

json_t *
doc_write(struct doc_stage *d, enum lk_entity entity)
{
    const struct lk_enrollment_view view = {.fallback = LK_ALLOC_HASHED, .keys = &d->doc.keys};
    json_t *object = json_object();

    assert_int_equal(lk_enrollment_json_put(entity, &d->doc.e, &view, object), LK_OK);
    return object;
}

json_t *
doc_at(const json_t *object, const char *path)
{
    json_t *at = (json_t *)(uintptr_t)object;

    while (path[0] != '\0') {
        size_t len = strcspn(path, "/");
        char name[64];

        assert_true(len < sizeof(name));
        memcpy(name, path, len);
        name[len] = '\0';
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(name)) : json_object_get(at, name);
        path += path[len] == '/' ? len + 1 : len;
    }
    return at;
}

const char *
doc_text(const json_t *object, const char *path)
{
    return json_string_value(doc_at(object, path));
}
