/* Gives a type its drop and its take; used in the header that declares the type. */
#ifndef LK_BASE_AUTO_H
#define LK_BASE_AUTO_H

#include <stddef.h>

/*
 * LK_DEFINE_AUTO(struct x, x, x_free) defines x_drop() for LK_AUTO(x), and x_take(), which moves
 * ownership out of a guarded variable and leaves NULL behind. Either may stay unused, which clang
 * would report in a .c file.
 */
#define LK_DEFINE_AUTO(T, name, release)                                                           \
    __attribute__((unused)) static inline void name##_drop(T **slot)                               \
    {                                                                                              \
        if (*slot != NULL) {                                                                       \
            release(*slot);                                                                        \
        }                                                                                          \
    }                                                                                              \
    __attribute__((unused)) static inline T *name##_take(T **slot)                                 \
    {                                                                                              \
        T *own = *slot;                                                                            \
        *slot = NULL;                                                                              \
        return own;                                                                                \
    }                                                                                              \
    _Static_assert(sizeof(T *) != 0, "used as a declaration")

#define LK_AUTO(name) __attribute__((cleanup(name##_drop)))

#define LK_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
