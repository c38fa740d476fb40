#include "wire/plug.h"

#include <assert.h>
#include <string.h>

#define HELLO_FIELDS                                                                               \
    (LK_PLUG_F_HUB | LK_PLUG_F_SERIAL | LK_PLUG_F_FLAGS | LK_PLUG_F_NUMBER | LK_PLUG_F_TAG)
#define VERDICT_FIELDS                                                                             \
    (LK_PLUG_F_DEVICE | LK_PLUG_F_FLAGS | LK_PLUG_F_NUMBER | LK_PLUG_F_GENERATION |                \
     LK_PLUG_F_ETAG | LK_PLUG_F_TAG | LK_PLUG_F_NAME)
#define SESSION_FIELDS                                                                             \
    (LK_PLUG_F_DEVICE | LK_PLUG_F_SERIAL | LK_PLUG_F_FLAGS | LK_PLUG_F_NUMBER |                    \
     LK_PLUG_F_GENERATION | LK_PLUG_F_ETAG | LK_PLUG_F_TAG)

unsigned
lk_plug_fields(enum lk_plug_type type)
{
    static const unsigned fields[LK_PLUG_TYPES] = {
        [LK_PLUG_HELLO] = HELLO_FIELDS,
        [LK_PLUG_WELCOME] = LK_PLUG_F_FLAGS | LK_PLUG_F_NAME,
        [LK_PLUG_ASK] = LK_PLUG_F_DEVICE | LK_PLUG_F_NAME | LK_PLUG_F_SECRET,
        [LK_PLUG_VERDICT] = VERDICT_FIELDS,
        [LK_PLUG_SESSION] = SESSION_FIELDS,
        [LK_PLUG_FILTERS] = LK_PLUG_F_DEVICE | LK_PLUG_F_SERIAL | LK_PLUG_F_FLAGS,
        [LK_PLUG_GONE] = LK_PLUG_F_DEVICE | LK_PLUG_F_SERIAL,
        [LK_PLUG_HEARD] = LK_PLUG_F_DEVICE | LK_PLUG_F_SERIAL,
        [LK_PLUG_REQUEST] = LK_PLUG_F_DEVICE | LK_PLUG_F_SERIAL | LK_PLUG_F_TOPIC | LK_PLUG_F_BODY,
        [LK_PLUG_TAKEN] = LK_PLUG_F_NUMBER,
        [LK_PLUG_READY] = LK_PLUG_F_NUMBER,
        [LK_PLUG_PUSH] = LK_PLUG_F_DEVICE | LK_PLUG_F_SERIAL | LK_PLUG_F_FLAGS | LK_PLUG_F_TOPIC |
                         LK_PLUG_F_BODY,
        [LK_PLUG_KICK] = LK_PLUG_F_DEVICE | LK_PLUG_F_SERIAL | LK_PLUG_F_FLAGS | LK_PLUG_F_NAME,
        [LK_PLUG_PUBLISH] = LK_PLUG_F_DEVICE | LK_PLUG_F_NUMBER | LK_PLUG_F_TOPIC | LK_PLUG_F_BODY,
        [LK_PLUG_MARK] = LK_PLUG_F_NUMBER,
    };

    return (unsigned)type < LK_PLUG_TYPES ? fields[type] : 0;
}

/* ---- writing ------------------------------------------------------------------------------- */

static enum lk_err
text_put(struct lk_buf *ret, const char *text, size_t len, size_t max)
{
    enum lk_err err;

    if (len > max) {
        return LK_ERR_LIMIT;
    }
    if ((err = lk_buf_put_u16(ret, (uint16_t)len)) != LK_OK) {
        return err;
    }
    return lk_buf_put(ret, text, len);
}

static enum lk_err
body_put(struct lk_buf *ret, const struct lk_plug_msg *m)
{
    enum lk_err err;

    if (m->body_len > LK_PLUG_BODY_MAX) {
        return LK_ERR_LIMIT;
    }
    if ((err = lk_buf_put_u32(ret, (uint32_t)m->body_len)) != LK_OK) {
        return err;
    }
    return lk_buf_put(ret, m->body, m->body_len);
}

static enum lk_err
field_put(const struct lk_plug_msg *m, enum lk_plug_field field, struct lk_buf *ret)
{
    switch (field) {
    case LK_PLUG_F_HUB:
        return text_put(ret, m->hub, strlen(m->hub), LK_HOST_NAME_MAX);
    case LK_PLUG_F_DEVICE:
        return text_put(ret, m->device_id, strlen(m->device_id), LK_DEVICE_ID_MAX);
    case LK_PLUG_F_SERIAL:
        return lk_buf_put_u64(ret, m->serial);
    case LK_PLUG_F_FLAGS:
        return lk_buf_put_u32(ret, m->flags);
    case LK_PLUG_F_NUMBER:
        return lk_buf_put_u64(ret, m->number);
    case LK_PLUG_F_GENERATION:
        return text_put(ret, m->generation, strlen(m->generation), LK_PLUG_WORD_MAX);
    case LK_PLUG_F_ETAG:
        return text_put(ret, m->etag, strlen(m->etag), LK_PLUG_WORD_MAX);
    case LK_PLUG_F_TAG:
        return lk_buf_put(ret, m->tag, sizeof(m->tag));
    case LK_PLUG_F_NAME:
        return text_put(ret, m->name, m->name_len, LK_MQTT_USER_NAME_MAX);
    case LK_PLUG_F_SECRET:
        return text_put(ret, m->secret, m->secret_len, LK_SAS_MAX);
    case LK_PLUG_F_TOPIC:
        return text_put(ret, m->topic, m->topic_len, LK_MQTT_TOPIC_MAX);
    case LK_PLUG_F_BODY:
        return body_put(ret, m);
    }
    return LK_ERR_ARG;
}

enum lk_err
lk_plug_write(const struct lk_plug_msg *m, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf frame = {.max = LK_PLUG_FRAME_MAX};
    unsigned fields = lk_plug_fields(m->type);
    enum lk_err err;

    assert(fields != 0);
    if ((err = lk_buf_put_u8(&frame, (uint8_t)m->type)) != LK_OK) {
        return err;
    }
    for (unsigned bit = 1; bit <= fields; bit <<= 1) {
        if ((fields & bit) != 0 && (err = field_put(m, (enum lk_plug_field)bit, &frame)) != LK_OK) {
            return err;
        }
    }
    if ((err = lk_buf_put_u32(ret, (uint32_t)frame.len)) != LK_OK) {
        return err;
    }
    if ((err = lk_buf_put(ret, frame.data, frame.len)) != LK_OK) {
        ret->len -= sizeof(uint32_t);
    }
    return err;
}

/* ---- reading ------------------------------------------------------------------------------- */

static enum lk_err
text_read(struct lk_reader *r, size_t max, const char **ret, size_t *ret_len)
{
    const uint8_t *bytes;
    uint16_t len;
    enum lk_err err;

    if ((err = lk_read_u16(r, &len)) != LK_OK || (err = lk_read_bytes(r, len, &bytes)) != LK_OK) {
        return err;
    }
    if (len > max || (len > 0 && memchr(bytes, '\0', len) != NULL)) {
        return LK_ERR_FORMAT;
    }
    *ret = (const char *)bytes;
    *ret_len = len;
    return LK_OK;
}

/* As text_read(), copied with a NUL into ret of max + 1 bytes. */
static enum lk_err
word_read(struct lk_reader *r, size_t max, char *ret)
{
    const char *text;
    size_t len;
    enum lk_err err = text_read(r, max, &text, &len);

    if (err == LK_OK) {
        memcpy(ret, text, len);
        ret[len] = '\0';
    }
    return err;
}

static enum lk_err
tag_read(struct lk_reader *r, uint8_t ret[LK_PLUG_TAG_LEN])
{
    const uint8_t *bytes;
    enum lk_err err = lk_read_bytes(r, LK_PLUG_TAG_LEN, &bytes);

    if (err == LK_OK) {
        memcpy(ret, bytes, LK_PLUG_TAG_LEN);
    }
    return err;
}

static enum lk_err
body_read(struct lk_reader *r, struct lk_plug_msg *ret)
{
    const uint8_t *bytes;
    uint32_t len;
    enum lk_err err;

    if ((err = lk_read_u32(r, &len)) != LK_OK || (err = lk_read_bytes(r, len, &bytes)) != LK_OK) {
        return err;
    }
    ret->body = bytes;
    ret->body_len = len;
    return len <= LK_PLUG_BODY_MAX ? LK_OK : LK_ERR_FORMAT;
}

static enum lk_err
field_read(struct lk_reader *r, enum lk_plug_field field, struct lk_plug_msg *ret)
{
    switch (field) {
    case LK_PLUG_F_HUB:
        return word_read(r, LK_HOST_NAME_MAX, ret->hub);
    case LK_PLUG_F_DEVICE:
        return word_read(r, LK_DEVICE_ID_MAX, ret->device_id);
    case LK_PLUG_F_SERIAL:
        return lk_read_u64(r, &ret->serial);
    case LK_PLUG_F_FLAGS:
        return lk_read_u32(r, &ret->flags);
    case LK_PLUG_F_NUMBER:
        return lk_read_u64(r, &ret->number);
    case LK_PLUG_F_GENERATION:
        return word_read(r, LK_PLUG_WORD_MAX, ret->generation);
    case LK_PLUG_F_ETAG:
        return word_read(r, LK_PLUG_WORD_MAX, ret->etag);
    case LK_PLUG_F_TAG:
        return tag_read(r, ret->tag);
    case LK_PLUG_F_NAME:
        return text_read(r, LK_MQTT_USER_NAME_MAX, &ret->name, &ret->name_len);
    case LK_PLUG_F_SECRET:
        return text_read(r, LK_SAS_MAX, &ret->secret, &ret->secret_len);
    case LK_PLUG_F_TOPIC:
        return text_read(r, LK_MQTT_TOPIC_MAX, &ret->topic, &ret->topic_len);
    case LK_PLUG_F_BODY:
        return body_read(r, ret);
    }
    return LK_ERR_FORMAT;
}

/* The bytes of the frame that in begins with, without its length. */
static enum lk_err
frame_read(struct lk_reader *in, struct lk_reader *ret)
{
    struct lk_reader r = *in;
    const uint8_t *bytes;
    uint32_t len;

    if (lk_read_u32(&r, &len) != LK_OK) {
        return LK_ERR_NOT_FOUND;
    }
    if (len > LK_PLUG_FRAME_MAX) {
        return LK_ERR_LIMIT;
    }
    if (lk_read_bytes(&r, len, &bytes) != LK_OK) {
        return LK_ERR_NOT_FOUND;
    }
    *ret = lk_reader_of(bytes, len);
    *in = r;
    return LK_OK;
}

enum lk_err
lk_plug_read(struct lk_reader *in, struct lk_plug_msg *ret)
{
    struct lk_reader frame;
    unsigned fields;
    uint8_t type;
    enum lk_err err;

    if ((err = frame_read(in, &frame)) != LK_OK || (err = lk_read_u8(&frame, &type)) != LK_OK) {
        return err;
    }
    memset(ret, 0, sizeof(*ret));
    ret->type = (enum lk_plug_type)type;
    if ((fields = lk_plug_fields(ret->type)) == 0) {
        return LK_ERR_FORMAT;
    }
    for (unsigned bit = 1; bit <= fields; bit <<= 1) {
        if ((fields & bit) != 0 &&
            (err = field_read(&frame, (enum lk_plug_field)bit, ret)) != LK_OK) {
            return err;
        }
    }
    return lk_reader_end(&frame);
}
