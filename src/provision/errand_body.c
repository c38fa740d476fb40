/*
 * What an errand is about, as bytes: a version, flags, and parts with 32-bit lengths. Sealed, since
 * it holds the key that the hub is to be given; it is gone with the errand.
 */
#include <string.h>

#include "base/codec.h"
#include "provision/errand.h"

#define BODY_VERSION 1u
#define BODY_MAX ((size_t)512 * 1024) /* bytes: the largest twin and payload with room to spare */

enum {
    FLAG_THUMBPRINT = 1u << 0,
    FLAG_KEEP_OLD_KEY = 1u << 1,
    FLAG_MIGRATE = 1u << 2,
    FLAG_IOT_EDGE = 1u << 3,
    FLAG_MUST_BE_NEW = 1u << 4
};

void
lk_errand_body_fini(struct lk_errand_body *b)
{
    lk_shared_keys_wipe(&b->keys);
    lk_buf_fini(&b->auth_key);
    lk_buf_fini(&b->initial_twin);
    lk_buf_fini(&b->payload);
}

void
lk_hub_snapshot_fini(struct lk_hub_snapshot *s)
{
    lk_wipe(s->keys, sizeof(s->keys));
    lk_buf_fini(&s->identity);
    lk_buf_fini(&s->twin);
}

/* ---- parts -------------------------------------------------------------------------------------
 */

static enum lk_err
part_put(struct lk_buf *b, const void *data, size_t len)
{
    enum lk_err err = len > UINT32_MAX ? LK_ERR_LIMIT : lk_buf_put_u32(b, (uint32_t)len);

    return err != LK_OK || len == 0 ? err : lk_buf_put(b, data, len);
}

static enum lk_err
part_read(struct lk_reader *r, const uint8_t **ret, size_t *ret_len)
{
    uint32_t len;
    enum lk_err err = lk_read_u32(r, &len);

    *ret_len = len;
    return err != LK_OK ? err : lk_read_bytes(r, len, ret);
}

static enum lk_err
part_read_text(struct lk_reader *r, char *buf, size_t cap)
{
    const uint8_t *data;
    size_t len;
    enum lk_err err = part_read(r, &data, &len);

    if (err != LK_OK || len >= cap || memchr(data, '\0', len) != NULL) {
        return err != LK_OK ? err : LK_ERR_FORMAT;
    }
    memcpy(buf, data, len);
    buf[len] = '\0';
    return LK_OK;
}

static enum lk_err
part_read_buf(struct lk_reader *r, struct lk_buf *ret)
{
    const uint8_t *data;
    size_t len;
    enum lk_err err = part_read(r, &data, &len);

    return err != LK_OK ? err : lk_buf_put(ret, data, len);
}

static enum lk_err
part_read_key(struct lk_reader *r, struct lk_shared_key *ret)
{
    const uint8_t *data;
    size_t len;
    enum lk_err err = part_read(r, &data, &len);

    if (err != LK_OK || len > sizeof(ret->data)) {
        return err != LK_OK ? err : LK_ERR_FORMAT;
    }
    memcpy(ret->data, data, len);
    ret->len = len;
    return LK_OK;
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

static enum lk_err
body_write(const struct lk_errand_body *b, struct lk_buf *ret)
{
    unsigned flags = (b->has_thumbprint ? FLAG_THUMBPRINT : 0u) |
                     (b->keep_old_key ? FLAG_KEEP_OLD_KEY : 0u) | (b->migrate ? FLAG_MIGRATE : 0u) |
                     (b->iot_edge ? FLAG_IOT_EDGE : 0u) | (b->must_be_new ? FLAG_MUST_BE_NEW : 0u);
    enum lk_err err;

    if ((err = lk_buf_put_u8(ret, BODY_VERSION)) != LK_OK ||
        (err = lk_buf_put_u8(ret, (uint8_t)flags)) != LK_OK ||
        (err = part_put(ret, b->hub, strlen(b->hub))) != LK_OK ||
        (err = part_put(ret, b->device_id, strlen(b->device_id))) != LK_OK ||
        (err = part_put(ret, b->request_id, strlen(b->request_id))) != LK_OK ||
        (err = part_put(ret, b->keys.primary.data, b->keys.primary.len)) != LK_OK ||
        (err = part_put(ret, b->keys.secondary.data, b->keys.secondary.len)) != LK_OK ||
        (err = lk_buf_put(ret, b->thumbprint, sizeof(b->thumbprint))) != LK_OK ||
        (err = part_put(ret, b->untold, b->untold_count * sizeof(b->untold[0]))) != LK_OK ||
        (err = part_put(ret, b->auth_key.data, b->auth_key.len)) != LK_OK ||
        (err = part_put(ret, b->initial_twin.data, b->initial_twin.len)) != LK_OK) {
        return err;
    }
    return part_put(ret, b->payload.data, b->payload.len);
}

static enum lk_err
untold_read(struct lk_reader *r, struct lk_errand_body *b)
{
    const uint8_t *data;
    size_t len;
    enum lk_err err = part_read(r, &data, &len);

    if (err != LK_OK || len > sizeof(b->untold) || len % sizeof(b->untold[0]) != 0) {
        return err != LK_OK ? err : LK_ERR_FORMAT;
    }
    memcpy(b->untold, data, len);
    b->untold_count = len / sizeof(b->untold[0]);
    return LK_OK;
}

/* b is zeroed. */
static enum lk_err
body_read(struct lk_reader r, struct lk_errand_body *b)
{
    const uint8_t *thumbprint;
    uint8_t version, flags;
    enum lk_err err;

    if ((err = lk_read_u8(&r, &version)) != LK_OK || (err = lk_read_u8(&r, &flags)) != LK_OK ||
        (err = part_read_text(&r, b->hub, sizeof(b->hub))) != LK_OK ||
        (err = part_read_text(&r, b->device_id, sizeof(b->device_id))) != LK_OK ||
        (err = part_read_text(&r, b->request_id, sizeof(b->request_id))) != LK_OK ||
        (err = part_read_key(&r, &b->keys.primary)) != LK_OK ||
        (err = part_read_key(&r, &b->keys.secondary)) != LK_OK ||
        (err = lk_read_bytes(&r, sizeof(b->thumbprint), &thumbprint)) != LK_OK ||
        (err = untold_read(&r, b)) != LK_OK || (err = part_read_buf(&r, &b->auth_key)) != LK_OK ||
        (err = part_read_buf(&r, &b->initial_twin)) != LK_OK ||
        (err = part_read_buf(&r, &b->payload)) != LK_OK || (err = lk_reader_end(&r)) != LK_OK) {
        return err;
    }
    memcpy(b->thumbprint, thumbprint, sizeof(b->thumbprint));
    b->has_thumbprint = (flags & FLAG_THUMBPRINT) != 0;
    b->keep_old_key = (flags & FLAG_KEEP_OLD_KEY) != 0;
    b->migrate = (flags & FLAG_MIGRATE) != 0;
    b->iot_edge = (flags & FLAG_IOT_EDGE) != 0;
    b->must_be_new = (flags & FLAG_MUST_BE_NEW) != 0;
    return version == BODY_VERSION ? LK_OK : LK_ERR_FORMAT;
}

/* The place that a body is bound to. Neither scope nor id can hold the separator. */
static enum lk_err
body_place(const char *scope, const char *id, uint64_t generation, struct lk_buf *place,
           const char **ret)
{
    char lower[LK_REGISTRATION_ID_MAX + 1];
    enum lk_err err = lk_strcpy(lower, sizeof(lower), id);

    if (err != LK_OK) {
        return err;
    }
    lk_ascii_lower(lower);
    err = lk_buf_printf(place, "errand|%s|%s|%llu", scope, lower, (unsigned long long)generation);
    *ret = err == LK_OK ? lk_buf_text(place) : NULL;
    return err == LK_OK && *ret == NULL ? LK_ERR_NOMEM : err;
}

enum lk_err
lk_errand_body_seal(const struct lk_keyring *ring, const struct lk_rand *rnd, const char *scope,
                    const char *id, uint64_t generation, const struct lk_errand_body *b,
                    struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf bytes = {.max = BODY_MAX};
    const char *ad;
    enum lk_err err;

    if ((err = body_place(scope, id, generation, &place, &ad)) != LK_OK ||
        (err = body_write(b, &bytes)) != LK_OK) {
        return err;
    }
    return lk_keyring_seal(ring, ad, bytes.data, bytes.len, rnd, ret);
}

enum lk_err
lk_errand_body_open(const struct lk_keyring *ring, const char *scope, const char *id,
                    uint64_t generation, const struct lk_buf *sealed, struct lk_errand_body *ret)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf bytes = {.max = BODY_MAX};
    struct lk_errand_body b = {.untold_count = 0};
    const char *ad;
    enum lk_err err;

    if ((err = body_place(scope, id, generation, &place, &ad)) != LK_OK) {
        return err;
    }
    err = lk_keyring_unseal(ring, ad, sealed->data, sealed->len, &bytes);
    if (err == LK_OK) {
        err = body_read(lk_reader_of(bytes.data, bytes.len), &b);
    }
    if (err != LK_OK) {
        lk_errand_body_fini(&b);
        return err == LK_ERR_NOT_FOUND                         ? LK_ERR_CONFIG
               : err == LK_ERR_REFUSED || err == LK_ERR_FORMAT ? LK_ERR_STORE
                                                               : err;
    }
    lk_errand_body_fini(ret);
    *ret = b;
    lk_wipe(&b.keys, sizeof(b.keys));
    return LK_OK;
}
