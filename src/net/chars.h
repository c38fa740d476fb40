/* Character classes of RFC 9110 and 9112. */
#ifndef LK_NET_CHARS_H
#define LK_NET_CHARS_H

#include <stdbool.h>
#include <stdint.h>

/* One bit for each of the ASCII characters 0 to 127. */
static inline bool
lk_in_set(uint8_t c, uint64_t low, uint64_t high)
{
    return c < 128 && ((c < 64 ? low >> c : high >> (c - 64)) & 1) != 0;
}

/* tchar: letters, digits and !#$%&'*+-.^_`|~ */
static inline bool
lk_is_token_char(uint8_t c)
{
    return lk_in_set(c, 0x03ff6cfa00000000u, 0x57ffffffc7fffffeu);
}

/* Visible ASCII, which is all that a request target may consist of. */
static inline bool
lk_is_target_char(uint8_t c)
{
    return c > 0x20 && c < 0x7f;
}

/* What may stand in a field value: no control character but the tab. */
static inline bool
lk_is_field_char(uint8_t c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

#endif
