/* Reading members of what a client sends, each mistake told by its name. */
#include "api/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum lk_err
lk_svc_fault(struct lk_svc_fault *ret, int32_t code, const char *fmt, ...)
{
    va_list ap;

    ret->code = code;
    va_start(ap, fmt);
    (void)vsnprintf(ret->message, sizeof(ret->message), fmt, ap);
    va_end(ap);
    return LK_ERR_FORMAT;
}

enum lk_err
lk_svc_text(const json_t *object, const char *name, int32_t code, struct lk_svc_fault *fault,
            const char **ret)
{
    *ret = NULL;
    return lk_json_text(object, name, ret) == LK_OK
               ? LK_OK
               : lk_svc_fault(fault, code, "%s: expected a text", name);
}

enum lk_err
lk_svc_object(const json_t *object, const char *name, struct lk_svc_fault *fault,
              const json_t **ret)
{
    const json_t *member = json_object_get(object, name);

    *ret = NULL;
    if (member != NULL && !json_is_null(member) && !json_is_object(member)) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "%s: expected an object", name);
    }
    *ret = json_is_object(member) ? member : NULL;
    return LK_OK;
}

enum lk_err
lk_svc_bool(const json_t *object, const char *name, struct lk_svc_fault *fault, bool *ret)
{
    const json_t *member = json_object_get(object, name);

    if (member == NULL || json_is_null(member)) {
        return LK_OK;
    }
    if (!json_is_boolean(member)) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "%s: expected true or false", name);
    }
    *ret = json_is_true(member);
    return LK_OK;
}

enum lk_err
lk_etag_parse(const char *text, char ret[LK_ETAG_GIVEN_CAP])
{
    size_t len = strlen(text);

    if (strncmp(text, "W/", 2) == 0) {
        text += 2;
        len -= 2;
    }
    if (len >= 2 && text[0] == '"' && text[len - 1] == '"') {
        text++;
        len -= 2;
    }
    if (len >= LK_ETAG_GIVEN_CAP) {
        return LK_ERR_LIMIT;
    }
    memcpy(ret, text, len);
    ret[len] = '\0';
    return LK_OK;
}
