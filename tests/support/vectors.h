/*
 * The known-answer files in tests/data/vectors, and a random source that plays back given bytes.
 * A broken vector file ends the test program: nothing in here returns an error.
 */
#ifndef LK_TEST_VECTORS_H
#define LK_TEST_VECTORS_H

#include <jansson.h>

#include "crypto/crypto.h"

/* The parsed file; the caller releases it with json_decref(). */
json_t *vectors_load(const char *file);

/* The string member key of obj, borrowed from it. */
const char *vectors_text(const json_t *obj, const char *key);

/* Bytes of a hexadecimal or base64 member; returns their count, at most cap. */
size_t vectors_hex(const json_t *obj, const char *key, uint8_t *buf, size_t cap);
size_t vectors_base64(const json_t *obj, const char *key, uint8_t *buf, size_t cap);

/* A hexadecimal number, big-endian in exactly len bytes, however many digits it is written with. */
void vectors_number(const json_t *obj, const char *key, uint8_t *buf, size_t len);

/* Bytes of hexadecimal text. */
size_t vectors_unhex(const char *text, uint8_t *buf, size_t cap);

/* Plays bytes back in order; more than were put in is LK_ERR_CRYPTO. */
struct script_rand {
    uint8_t bytes[512];
    size_t len, used;
};
void script_rand_put(struct script_rand *s, const void *bytes, size_t len);
struct lk_rand script_rand_source(struct script_rand *s);

#endif
