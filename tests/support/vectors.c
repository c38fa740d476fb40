#include "support/vectors.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

json_t *
vectors_load(const char *file)
{
    char path[512];
    json_error_t why;
    json_t *root;

    assert(snprintf(path, sizeof(path), "%s/vectors/%s", LK_TEST_DATA, file) < (int)sizeof(path));
    root = json_load_file(path, 0, &why);
    if (root == NULL) {
        fprintf(stderr, "%s: %s\n", path, why.text);
    }
    assert(root != NULL);
    return root;
}

const char *
vectors_text(const json_t *obj, const char *key)
{
    const char *text = json_string_value(json_object_get(obj, key));

    if (text == NULL) {
        fprintf(stderr, "vector has no text member %s\n", key);
    }
    assert(text != NULL);
    return text;
}

static unsigned
nibble(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = strchr(digits, c);

    assert(c != 0 && at != NULL);
    return (unsigned)(at - digits);
}

size_t
vectors_unhex(const char *text, uint8_t *buf, size_t cap)
{
    size_t len = strlen(text) / 2;

    assert(strlen(text) % 2 == 0 && len <= cap);
    for (size_t i = 0; i < len; i++) {
        buf[i] = (uint8_t)(nibble(text[2 * i]) << 4 | nibble(text[2 * i + 1]));
    }
    return len;
}

size_t
vectors_hex(const json_t *obj, const char *key, uint8_t *buf, size_t cap)
{
    return vectors_unhex(vectors_text(obj, key), buf, cap);
}

void
vectors_number(const json_t *obj, const char *key, uint8_t *buf, size_t len)
{
    const char *text = vectors_text(obj, key);
    size_t digits = strlen(text);

    assert(digits <= 2 * len);
    memset(buf, 0, len);
    for (size_t i = 0; i < digits; i++) {
        uint8_t *byte = &buf[len - 1 - i / 2];

        *byte = (uint8_t)(*byte | nibble(text[digits - 1 - i]) << (i % 2 == 0 ? 0 : 4));
    }
}

size_t
vectors_base64(const json_t *obj, const char *key, uint8_t *buf, size_t cap)
{
    const char *text = vectors_text(obj, key);
    size_t text_len = strlen(text), len;
    uint8_t raw[4096];

    assert(text_len % 4 == 0 && text_len / 4 * 3 <= sizeof(raw));
    len = text_len == 0 ? 0 : (size_t)EVP_DecodeBlock(raw, (const uint8_t *)text, (int)text_len);
    for (size_t i = text_len; i > 0 && text[i - 1] == '='; i--) {
        len--; /* EVP_DecodeBlock counts the padding as bytes */
    }
    assert(len <= cap);
    memcpy(buf, raw, len);
    return len;
}

void
script_rand_put(struct script_rand *s, const void *bytes, size_t len)
{
    assert(len <= sizeof(s->bytes) - s->len);
    memcpy(s->bytes + s->len, bytes, len);
    s->len += len;
}

static enum lk_err
script_fill(void *ctx, void *buf, size_t len)
{
    struct script_rand *s = ctx;

    if (len > s->len - s->used) {
        return LK_ERR_CRYPTO;
    }
    memcpy(buf, s->bytes + s->used, len);
    s->used += len;
    return LK_OK;
}

struct lk_rand
script_rand_source(struct script_rand *s)
{
    return (struct lk_rand){script_fill, s};
}
