#include "crypto/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/codec.h"

#define KEYRING_FILE_MAX 16384u /* bytes: 64 lines and room for comments */

struct ring_key {
    uint64_t id;
    int64_t created_ms;
    uint8_t challenge[32];         /* derived, "latchkey challenge v1" */
    uint8_t continuation[32];      /* derived, "latchkey continuation v1" */
    uint8_t seal[LK_SEAL_KEY_LEN]; /* derived, "latchkey seal v1" */
};

struct lk_keyring {
    atomic_uint refs;
    size_t count;
    struct ring_key keys[LK_KEYRING_KEYS_MAX];
    uint8_t audit[32]; /* derived from the first key, "latchkey audit v1" */
};

static void
fd_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* after fsync there is nothing left to lose */
    }
}
#define AUTO_FD __attribute__((cleanup(fd_close)))

static enum lk_err
write_whole(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return LK_ERR_IO;
        }
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0 ? LK_OK : LK_ERR_IO;
}

/* A new name is durable only once its folder is. */
static enum lk_err
folder_sync(const char *path)
{
    LK_AUTO_BUF struct lk_buf folder = LK_BUF_INIT;
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    AUTO_FD int fd = -1;
    const char *name;
    enum lk_err err;

    if ((err = lk_buf_put(&folder, len > 0 ? path : ".", len > 0 ? len : 1)) != LK_OK) {
        return err;
    }
    if ((name = lk_buf_text(&folder)) == NULL) {
        return LK_ERR_NOMEM;
    }
    fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? LK_OK : LK_ERR_IO;
}

/* Append the line of a fresh key. */
static enum lk_err
line_make(int64_t now_ms, const struct lk_rand *rnd, struct lk_buf *ret)
{
    uint8_t raw[8 + LK_MASTER_KEY_LEN];
    enum lk_err err;

    if ((err = lk_rand_fill(rnd, raw, sizeof(raw))) != LK_OK) {
        return err;
    }
    if ((err = lk_hex_encode(raw, 8, ret)) == LK_OK &&
        (err = lk_buf_printf(ret, " %" PRId64 " ", now_ms)) == LK_OK &&
        (err = lk_base64_encode(raw + 8, LK_MASTER_KEY_LEN, ret)) == LK_OK) {
        err = lk_buf_puts(ret, "\n");
    }
    lk_wipe(raw, sizeof(raw));
    return err;
}

enum lk_err
lk_keyring_create(const char *path, int64_t now_ms, const struct lk_rand *rnd)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    AUTO_FD int fd = -1;
    enum lk_err err;

    if ((err = lk_buf_puts(&text, "# Latchkey master keys. Whoever reads this file can impersonate "
                                  "the service: keep it 0600.\n")) != LK_OK ||
        (err = line_make(now_ms, rnd, &text)) != LK_OK) {
        return err;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno == EEXIST ? LK_ERR_EXISTS : LK_ERR_IO;
    }
    if (write_whole(fd, text.data, text.len) != LK_OK) {
        (void)unlink(path); /* half a key would stand in the way of the next attempt */
        return LK_ERR_IO;
    }
    return folder_sync(path);
}

static void
explain(char error[LK_KEYRING_ERROR_CAP], const char *path, unsigned line, const char *what)
{
    if (error == NULL) {
        return;
    }
    if (line > 0) {
        (void)snprintf(error, LK_KEYRING_ERROR_CAP, "%s:%u: %s", path, line, what);
    } else {
        (void)snprintf(error, LK_KEYRING_ERROR_CAP, "%s: %s", path, what);
    }
}

/*
 * The bits that give the file to more than the service. In systemd's folder of credentials, which
 * is the service's alone, the group's bit is an access control list for the service's own user.
 */
static mode_t
foreign_bits(const char *path)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    size_t len = dir == NULL ? 0 : strlen(dir);

    return len > 0 && strncmp(path, dir, len) == 0 && path[len] == '/' ? 037 : 077;
}

/* Read the file after checking that nobody else can. */
static enum lk_err
file_read(const char *path, char error[LK_KEYRING_ERROR_CAP], struct lk_buf *ret)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    enum lk_err err;

    if (fd < 0 || fstat(fd, &st) != 0) {
        err = errno == ENOENT ? LK_ERR_NOT_FOUND : LK_ERR_IO;
        explain(error, path, 0, strerror(errno));
        return err;
    }
    if ((st.st_mode & foreign_bits(path)) != 0) {
        explain(error, path, 0, "expected mode 0600: group or others may access it");
        return LK_ERR_CONFIG;
    }
    ret->max = KEYRING_FILE_MAX;
    for (;;) {
        uint8_t *at = lk_buf_extend(ret, 1024);
        ssize_t n;

        if (at == NULL) {
            explain(error, path, 0, "expected at most 64 keys");
            return LK_ERR_LIMIT;
        }
        n = read(fd, at, 1024);
        ret->len -= n > 0 ? 1024 - (size_t)n : 1024;
        if (n < 0) {
            explain(error, path, 0, strerror(errno));
            return LK_ERR_IO;
        }
        if (n == 0) {
            return LK_OK;
        }
    }
}

/* Fill key from one line without its newline. */
static enum lk_err
line_parse(const char *line, size_t len, struct ring_key *key, uint8_t audit[32])
{
    LK_AUTO_BUF struct lk_buf raw = LK_BUF_INIT;
    const char *created = memchr(line, ' ', len);
    const char *base64 =
        created == NULL ? NULL : memchr(created + 1, ' ', len - (size_t)(created + 1 - line));
    struct lk_reader id;
    uint64_t created_ms;
    enum lk_err err;

    if (base64 == NULL || (err = lk_hex_decode(line, (size_t)(created - line), &raw)) != LK_OK) {
        return LK_ERR_FORMAT;
    }
    id = lk_reader_of(raw.data, raw.len);
    if ((err = lk_read_u64(&id, &key->id)) != LK_OK || (err = lk_reader_end(&id)) != LK_OK ||
        (err = lk_decimal_parse(created + 1, (size_t)(base64 - created - 1), &created_ms)) !=
            LK_OK) {
        return LK_ERR_FORMAT;
    }
    lk_buf_reset(&raw);
    err = lk_base64_decode(base64 + 1, len - (size_t)(base64 + 1 - line), &raw);
    if (err != LK_OK || raw.len != LK_MASTER_KEY_LEN || created_ms > INT64_MAX) {
        return LK_ERR_FORMAT;
    }
    key->created_ms = (int64_t)created_ms;
    if ((err = lk_hkdf(raw.data, raw.len, "latchkey challenge v1", key->challenge, 32)) != LK_OK ||
        (err = lk_hkdf(raw.data, raw.len, "latchkey continuation v1", key->continuation, 32)) !=
            LK_OK ||
        (err = lk_hkdf(raw.data, raw.len, "latchkey seal v1", key->seal, LK_SEAL_KEY_LEN)) !=
            LK_OK) {
        return err;
    }
    return audit == NULL ? LK_OK : lk_hkdf(raw.data, raw.len, "latchkey audit v1", audit, 32);
}

static enum lk_err
ring_parse(const char *path, const char *text, size_t len, char error[LK_KEYRING_ERROR_CAP],
           struct lk_keyring *ring)
{
    unsigned line_no = 0;

    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line_len = end == NULL ? len : (size_t)(end - text);
        size_t used = end == NULL ? len : line_len + 1;
        struct ring_key *key = &ring->keys[ring->count];
        enum lk_err err;

        line_no++;
        if (line_len > 0 && text[0] != '#') {
            if (ring->count == LK_KEYRING_KEYS_MAX) {
                explain(error, path, line_no, "expected at most 64 keys");
                return LK_ERR_LIMIT;
            }
            err = line_parse(text, line_len, key, ring->count == 0 ? ring->audit : NULL);
            if (err != LK_OK) {
                explain(error, path, line_no,
                        "expected '<id: 16 hex digits> <created: Unix ms> <base64 of 32 bytes>'");
                return err;
            }
            if (ring->count > 0 && key->created_ms < key[-1].created_ms) {
                explain(error, path, line_no, "expected the oldest key first");
                return LK_ERR_FORMAT;
            }
            ring->count++;
        }
        text += used;
        len -= used;
    }
    if (ring->count == 0) {
        explain(error, path, 0, "expected at least one key");
        return LK_ERR_FORMAT;
    }
    return LK_OK;
}

enum lk_err
lk_keyring_load(const char *path, char error[LK_KEYRING_ERROR_CAP], struct lk_keyring **ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;
    enum lk_err err;

    if ((err = file_read(path, error, &text)) != LK_OK) {
        return err;
    }
    ring = calloc(1, sizeof(*ring));
    if (ring == NULL) {
        return LK_ERR_NOMEM;
    }
    atomic_init(&ring->refs, 1);
    err = ring_parse(path, (const char *)text.data, text.len, error, ring);
    if (err != LK_OK) {
        return err;
    }
    *ret = lk_keyring_take(&ring);
    return LK_OK;
}

/*
 * Write beside, then rename over. Root keeps the owner, since the service may run under another
 * user; the owner is set before the rename, so that the service never finds a file it cannot read.
 */
static enum lk_err
file_replace(const char *path, const struct stat *was, const struct lk_buf *text)
{
    LK_AUTO_BUF struct lk_buf beside = LK_BUF_INIT;
    AUTO_FD int fd = -1;
    const char *name;
    enum lk_err err;

    if ((err = lk_buf_printf(&beside, "%s.new", path)) != LK_OK) {
        return err;
    }
    if ((name = lk_buf_text(&beside)) == NULL) {
        return LK_ERR_NOMEM;
    }
    (void)unlink(name); /* left behind by a rotation that was cut off */
    fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return LK_ERR_IO;
    }
    if ((geteuid() == 0 && fchown(fd, was->st_uid, was->st_gid) != 0) ||
        write_whole(fd, text->data, text->len) != LK_OK || rename(name, path) != 0) {
        (void)unlink(name); /* holds a key; nothing uses it */
        return LK_ERR_IO;
    }
    return folder_sync(path);
}

enum lk_err
lk_keyring_rotate(const char *path, int64_t now_ms, const struct lk_rand *rnd,
                  char error[LK_KEYRING_ERROR_CAP])
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;
    struct stat was;
    enum lk_err err;

    /* Loading first: a damaged ring is not written over. */
    if ((err = lk_keyring_load(path, error, &ring)) != LK_OK ||
        (err = file_read(path, error, &text)) != LK_OK) {
        return err;
    }
    if (ring->count == LK_KEYRING_KEYS_MAX) {
        explain(error, path, 0, "expected at most 64 keys: the ring is full");
        return LK_ERR_LIMIT;
    }
    if (now_ms < ring->keys[ring->count - 1].created_ms) {
        explain(error, path, 0, "the clock is behind the newest key");
        return LK_ERR_CONFIG;
    }
    if (text.data[text.len - 1] != '\n' && (err = lk_buf_puts(&text, "\n")) != LK_OK) {
        return err;
    }
    if (stat(path, &was) != 0 || (err = line_make(now_ms, rnd, &text)) != LK_OK ||
        (err = file_replace(path, &was, &text)) != LK_OK) {
        explain(error, path, 0, "cannot be written");
        return LK_ERR_IO;
    }
    return LK_OK;
}

struct lk_keyring *
lk_keyring_ref(struct lk_keyring *k)
{
    atomic_fetch_add(&k->refs, 1);
    return k;
}

void
lk_keyring_free(struct lk_keyring *k)
{
    if (k == NULL || atomic_fetch_sub(&k->refs, 1) != 1) {
        return;
    }
    lk_wipe(k, sizeof(*k));
    free(k);
}

size_t
lk_keyring_count(const struct lk_keyring *k)
{
    return k->count;
}

uint64_t
lk_keyring_id(const struct lk_keyring *k, size_t i)
{
    return k->keys[i].id;
}

int64_t
lk_keyring_created_ms(const struct lk_keyring *k, size_t i)
{
    return k->keys[i].created_ms;
}

size_t
lk_keyring_issuing(const struct lk_keyring *k, int64_t now_ms)
{
    size_t i = k->count - 1;

    while (i > 0 && k->keys[i].created_ms + LK_KEYRING_GRACE_MS > now_ms) {
        i--;
    }
    return i;
}

bool
lk_keyring_accepts(const struct lk_keyring *k, size_t i, int64_t now_ms, int64_t window_ms)
{
    /* Key i issued until its successor's grace was over; another instance's clock may be ahead. */
    return i >= lk_keyring_issuing(k, now_ms) ||
           k->keys[i + 1].created_ms + LK_KEYRING_GRACE_MS > now_ms - window_ms;
}

enum lk_err
lk_keyring_find(const struct lk_keyring *k, uint64_t id, size_t *ret)
{
    for (size_t i = 0; i < k->count; i++) {
        if (k->keys[i].id == id) {
            *ret = i;
            return LK_OK;
        }
    }
    return LK_ERR_NOT_FOUND;
}

enum lk_err
lk_keyring_challenge_mac(const struct lk_keyring *k, size_t i, const struct lk_part *parts,
                         size_t parts_count, uint8_t ret[32])
{
    return lk_hmac(LK_SHA256, k->keys[i].challenge, 32, parts, parts_count, ret);
}

enum lk_err
lk_keyring_continuation_mac(const struct lk_keyring *k, size_t i, const struct lk_part *parts,
                            size_t parts_count, uint8_t ret[32])
{
    return lk_hmac(LK_SHA256, k->keys[i].continuation, 32, parts, parts_count, ret);
}

void
lk_keyring_audit_key(const struct lk_keyring *k, uint8_t ret[32])
{
    memcpy(ret, k->audit, 32);
}

enum lk_err
lk_keyring_seal(const struct lk_keyring *k, const char *ad, const void *in, size_t in_len,
                const struct lk_rand *rnd, struct lk_buf *ret)
{
    const struct ring_key *key = &k->keys[k->count - 1];
    size_t start = ret->len;
    enum lk_err err;

    if ((err = lk_buf_put_u64(ret, key->id)) != LK_OK) {
        return err;
    }
    err = lk_seal(key->seal, ad, strlen(ad), in, in_len, rnd, ret);
    if (err != LK_OK) {
        ret->len = start;
    }
    return err;
}

enum lk_err
lk_keyring_unseal(const struct lk_keyring *k, const char *ad, const void *in, size_t in_len,
                  struct lk_buf *ret)
{
    struct lk_reader r = lk_reader_of(in, in_len);
    uint64_t id;
    size_t i;
    enum lk_err err;

    if ((err = lk_read_u64(&r, &id)) != LK_OK || (err = lk_keyring_find(k, id, &i)) != LK_OK) {
        return err;
    }
    return lk_unseal(k->keys[i].seal, ad, strlen(ad), r.p, r.left, ret);
}
