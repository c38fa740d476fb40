/* What the fuzz targets share. */
#ifndef LK_FUZZ_FUZZ_H
#define LK_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that must hold whatever the input; libFuzzer keeps the input that breaks it. */
static inline void
check(bool holds)
{
    if (!holds) {
        abort();
    }
}

#endif
