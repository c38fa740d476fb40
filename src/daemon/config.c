#include "daemon/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/codec.h"
#include "daemon/config_int.h"

static bool
is_blank(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r';
}

static size_t
row_find(const char *key, size_t len)
{
    size_t i = 0;

    while (i < lk_config_rows_count &&
           (strlen(lk_config_rows[i].key) != len || memcmp(lk_config_rows[i].key, key, len) != 0)) {
        i++;
    }
    return i;
}

/* Split a line that is neither blank nor a comment; value is copied out with a NUL. */
static enum lk_err
line_split(const struct lk_config_place *at, const char *line, size_t len, size_t *ret_row,
           char ret_value[LK_CONFIG_TEXT_CAP])
{
    const char *key = line, *equals = memchr(line, '=', len), *value;
    size_t key_len, value_len;

    if (equals == NULL) {
        return lk_config_fail(at, "expected \"key = value\"");
    }
    key_len = (size_t)(equals - line);
    lk_trim(&key, &key_len);
    value = equals + 1;
    value_len = len - (size_t)(value - line);
    lk_trim(&value, &value_len);
    *ret_row = row_find(key, key_len);
    if (*ret_row == lk_config_rows_count) {
        return lk_config_fail(at, "unknown key \"%.*s\"", key_len > 64 ? 64 : (int)key_len, key);
    }
    if (value_len == 0 || value_len >= LK_CONFIG_TEXT_CAP) {
        return lk_config_fail(at, "expected \"%s = value\" of 1 to %u bytes",
                              lk_config_rows[*ret_row].key, LK_CONFIG_TEXT_CAP - 1);
    }
    memcpy(ret_value, value, value_len);
    ret_value[value_len] = '\0';
    return LK_OK;
}

static bool
has_control(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (((unsigned char)line[i] < 0x20 && !is_blank(line[i])) || line[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

/* One line; lines[] holds where each row was set, 0 for not yet. */
static enum lk_err
line_read(struct lk_config_place *at, const char *line, size_t len, unsigned *lines,
          struct lk_config *c)
{
    char value[LK_CONFIG_TEXT_CAP];
    size_t row = 0;
    enum lk_err err;

    at->key = NULL;
    lk_trim(&line, &len);
    if (len == 0 || line[0] == '#') {
        return LK_OK;
    }
    if (has_control(line, len)) {
        return lk_config_fail(at, "expected text without control characters");
    }
    if ((err = line_split(at, line, len, &row, value)) != LK_OK) {
        return err;
    }
    at->key = lk_config_rows[row].key;
    if (lines[row] != 0) {
        return lk_config_fail(at, "is set again; line %u sets it first", lines[row]);
    }
    lines[row] = at->line;
    return lk_config_value_set(at, &lk_config_rows[row], value, c);
}

/* The rows that the file does not set. data-dir is the first row: others follow it. */
static enum lk_err
defaults_fill(struct lk_config_place *at, const unsigned *lines, struct lk_config *c)
{
    at->line = 0;
    for (size_t i = 0; i < lk_config_rows_count; i++) {
        enum lk_err err;

        at->key = lk_config_rows[i].key;
        if (lines[i] == 0 && (err = lk_config_default_set(at, &lk_config_rows[i], c)) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

/* Some editors begin a file with a byte order mark: it is no part of the first line. */
static void
mark_skip(const char **text, size_t *len)
{
    static const char mark[] = "\xef\xbb\xbf";

    if (*len >= strlen(mark) && memcmp(*text, mark, strlen(mark)) == 0) {
        *text += strlen(mark);
        *len -= strlen(mark);
    }
}

enum lk_err
lk_config_parse(const char *name, const char *text, size_t len, char error[LK_CONFIG_ERROR_CAP],
                struct lk_config *ret)
{
    struct lk_config_place at = {.name = name, .error = error};
    unsigned lines[LK_CONFIG_ROWS_MAX] = {0};
    struct lk_config c = {0};
    enum lk_err err;

    if (len > LK_CONFIG_FILE_MAX) {
        return lk_config_fail(&at, "expected at most %zu bytes", LK_CONFIG_FILE_MAX);
    }
    mark_skip(&text, &len);
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line_len = end == NULL ? len : (size_t)(end - text);
        size_t used = end == NULL ? len : line_len + 1;

        at.line++;
        if ((err = line_read(&at, text, line_len, lines, &c)) != LK_OK) {
            return err;
        }
        text += used;
        len -= used;
    }
    if ((err = defaults_fill(&at, lines, &c)) != LK_OK) {
        return err;
    }
    *ret = c;
    return LK_OK;
}

void
lk_config_defaults(struct lk_config *c)
{
    char error[LK_CONFIG_ERROR_CAP];

    if (lk_config_parse("defaults", "", 0, error, c) != LK_OK) {
        abort(); /* a row of the table is wrong: the unit test reads them all */
    }
}

/* Read at most LK_CONFIG_FILE_MAX + 1 bytes, so that the parser sees what is too long. */
static enum lk_err
file_read(int fd, struct lk_buf *ret)
{
    ssize_t n = 1;

    ret->max = LK_CONFIG_FILE_MAX + 1;
    while (n > 0 && ret->len < ret->max) {
        size_t want = ret->max - ret->len < 4096 ? ret->max - ret->len : 4096;
        uint8_t *to = lk_buf_extend(ret, want);

        if (to == NULL) {
            return LK_ERR_NOMEM;
        }
        while ((n = read(fd, to, want)) < 0 && errno == EINTR) {
            continue;
        }
        ret->len -= n > 0 ? want - (size_t)n : want;
    }
    return n < 0 ? LK_ERR_IO : LK_OK;
}

enum lk_err
lk_config_load(const char *path, char error[LK_CONFIG_ERROR_CAP], struct lk_config *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_config_place at = {.name = path, .error = error};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum lk_err err;

    if (fd < 0) {
        lk_config_fail(&at, "%s", strerror(errno));
        return errno == ENOENT ? LK_ERR_NOT_FOUND : LK_ERR_IO;
    }
    err = file_read(fd, &text);
    if (err != LK_OK) {
        lk_config_fail(&at, "%s", err == LK_ERR_IO ? strerror(errno) : lk_err_text(err));
    }
    (void)close(fd); /* it was only read */
    return err != LK_OK ? err
                        : lk_config_parse(path, (const char *)text.data, text.len, error, ret);
}
