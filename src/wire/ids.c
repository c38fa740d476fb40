#include "wire/ids.h"

#include <string.h>

#define DNS_LABEL_MAX 63u /* RFC 1035, 2.3.4 */

static bool
is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Every character is a letter, a digit or one of others. A NUL is none of them. */
static bool
chars_ok(const char *text, size_t len, const char *others)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_alnum(text[i]) && (text[i] == '\0' || strchr(others, text[i]) == NULL)) {
            return false;
        }
    }
    return true;
}

bool
lk_id_scope_ok(const char *text, size_t len)
{
    return len >= 1 && len <= LK_ID_SCOPE_MAX && chars_ok(text, len, "-");
}

bool
lk_registration_id_ok(const char *text, size_t len)
{
    return len >= 1 && len <= LK_REGISTRATION_ID_MAX && chars_ok(text, len, "-._:") &&
           (is_alnum(text[len - 1]) || text[len - 1] == '-');
}

bool
lk_device_id_ok(const char *text, size_t len)
{
    return len >= 1 && len <= LK_DEVICE_ID_MAX && chars_ok(text, len, "-:.+%_#*?!(),=@;$'");
}

static bool
label_ok(const char *text, size_t len)
{
    return len >= 1 && len <= DNS_LABEL_MAX && chars_ok(text, len, "-") && text[0] != '-' &&
           text[len - 1] != '-';
}

bool
lk_host_name_ok(const char *text, size_t len)
{
    size_t start = 0;

    if (len > LK_HOST_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '.') {
            if (!label_ok(text + start, i - start)) {
                return false;
            }
            start = i + 1;
        }
    }
    return label_ok(text + start, len - start);
}
