#include "base/log.h"

#define SD_JOURNAL_SUPPRESS_LOCATION /* the event's name says where, and survives a refactoring */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/codec.h"

/* A write of PIPE_BUF bytes to a pipe is whole even beside other writers. */
#define LINE_CAP ((size_t)PIPE_BUF)
#define LINE_TAIL ",\"truncated\":true}\n"
#define JOURNAL_FIELDS_MAX 24u
#define JOURNAL_CAP (3 * LINE_CAP)

static atomic_int log_target = LK_LOG_JSON;
static atomic_int log_fd = STDERR_FILENO;
static atomic_int log_level = LK_LOG_INFO;

/* Text that stops growing when it is full; no memory is asked for, since there may be none left. */
struct line {
    char *text;
    size_t len;
    size_t cap;
    bool full; /* something did not fit */
};

void
lk_log_open(enum lk_log_target target, int fd)
{
    atomic_store(&log_fd, fd);
    atomic_store(&log_target, (int)target);
}

void
lk_log_set_level(enum lk_log_level level)
{
    atomic_store(&log_level, (int)level);
}

bool
lk_log_enabled(enum lk_log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

static const struct {
    const char *name;
    enum lk_log_level level;
} levels[] = {
    {"error", LK_LOG_ERROR},
    {"warning", LK_LOG_WARNING},
    {"info", LK_LOG_INFO},
    {"debug", LK_LOG_DEBUG},
};

enum lk_err
lk_log_level_parse(const char *text, enum lk_log_level *ret)
{
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *ret = levels[i].level;
            return LK_OK;
        }
    }
    return LK_ERR_FORMAT;
}

static const char *
level_name(enum lk_log_level level)
{
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (levels[i].level == level) {
            return levels[i].name;
        }
    }
    return "error";
}

static void
line_put(struct line *l, const char *text, size_t len)
{
    if (l->full || len > l->cap - l->len) {
        l->full = true;
        return;
    }
    memcpy(l->text + l->len, text, len);
    l->len += len;
}

static void
line_puts(struct line *l, const char *text)
{
    line_put(l, text, strlen(text));
}

static void
line_put_int(struct line *l, int64_t v)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRId64, v);
    line_puts(l, text);
}

/* One character as it may stand between quotes on a terminal and in JSON. */
static void
line_put_char(struct line *l, const uint8_t *p, size_t len, uint32_t cp)
{
    char escape[8];

    if (cp == '"' || cp == '\\') {
        line_put(l, "\\", 1);
    } else if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) {
        (void)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)cp & 0xffffu);
        line_puts(l, escape);
        return;
    }
    line_put(l, (const char *)p, len);
}

/* Text between quotes: bounded, escaped, and valid UTF-8 whatever it was. */
static void
line_put_quoted(struct line *l, const char *text)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t left = strnlen(text, LK_LOG_TEXT_MAX + 4); /* a sequence that begins before the bound */
    size_t used = 0;

    line_put(l, "\"", 1);
    while (left > 0) {
        uint32_t cp = 0;
        size_t len = lk_utf8_next(p, left, &cp);
        size_t step = len > 0 ? len : 1;

        if (used + step > LK_LOG_TEXT_MAX) {
            line_puts(l, "\xe2\x80\xa6"); /* U+2026, the ellipsis */
            break;
        }
        if (len > 0) {
            line_put_char(l, p, len, cp);
        } else {
            line_puts(l, "\xef\xbf\xbd"); /* U+FFFD, the replacement character */
        }
        p += step;
        left -= step;
        used += step;
    }
    line_put(l, "\"", 1);
}

static bool
field_is_absent(const struct lk_log_field *f)
{
    return f->kind == LK_LOG_TEXT && f->text == NULL;
}

static void
line_put_value(struct line *l, const struct lk_log_field *f)
{
    switch (f->kind) {
    case LK_LOG_TEXT:
        line_put_quoted(l, f->text);
        break;
    case LK_LOG_INT:
        line_put_int(l, f->number);
        break;
    case LK_LOG_ERRCODE:
        line_put_quoted(l, lk_err_name((enum lk_err)f->number));
        break;
    }
}

/* A field that does not fit is left out whole, and with it all that follow. */
static void
line_put_member(struct line *l, const struct lk_log_field *f)
{
    size_t start = l->len;

    if (l->full) {
        return;
    }
    line_put(l, ",\"", 2);
    line_puts(l, f->name);
    line_put(l, "\":", 2);
    line_put_value(l, f);
    if (l->full) {
        l->len = start;
    }
}

static void
write_json(enum lk_log_level level, const char *event, const struct lk_log_field *fields,
           size_t fields_count)
{
    char text[LINE_CAP], now[LK_TIMESTAMP_CAP];
    struct line l = {text, 0, LINE_CAP - (sizeof(LINE_TAIL) - 1), false};
    ssize_t written;

    lk_timestamp_format(lk_clock_unix_ms(&lk_clock_system), now);
    line_puts(&l, "{\"time\":\"");
    line_puts(&l, now);
    line_puts(&l, "\",\"level\":\"");
    line_puts(&l, level_name(level));
    line_puts(&l, "\",\"event\":");
    line_put_quoted(&l, event);
    for (size_t i = 0; i < fields_count; i++) {
        if (!field_is_absent(&fields[i])) {
            line_put_member(&l, &fields[i]);
        }
    }
    l.cap = LINE_CAP;
    if (l.full) {
        l.full = false;
        line_puts(&l, LINE_TAIL);
    } else {
        line_puts(&l, "}\n");
    }
    do {
        written = write(atomic_load(&log_fd), text, l.len);
    } while (written < 0 && errno == EINTR);
    /* Any other failure is dropped: there is nowhere left to report it. */
}

/* Close what was put since start as one journal field. */
static void
journal_close(const struct line *l, size_t start, struct iovec *ret)
{
    ret->iov_base = l->text + start;
    ret->iov_len = l->len - start;
}

/* The name as journald wants it: upper case, in our own name space. */
static void
journal_put_name(struct line *l, const char *name)
{
    line_puts(l, "LATCHKEY_");
    for (; *name != 0; name++) {
        char c = *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name;

        line_put(l, &c, 1);
    }
    line_put(l, "=", 1);
}

/* The value of a field of its own needs no quotes; the escapes stay. */
static void
journal_put_value(struct line *l, const struct lk_log_field *f)
{
    size_t start = l->len;

    line_put_value(l, f);
    if (f->kind != LK_LOG_INT && !l->full) {
        memmove(l->text + start, l->text + start + 1, l->len - start - 2);
        l->len -= 2;
    }
}

/* The event with its fields, for a reader; bounded, so that the single fields still have room. */
static void
journal_put_message(struct line *l, const char *event, const struct lk_log_field *fields,
                    size_t fields_count)
{
    l->cap = LINE_CAP;
    line_puts(l, "MESSAGE=");
    line_puts(l, event);
    for (size_t i = 0; i < fields_count; i++) {
        if (!field_is_absent(&fields[i])) {
            line_put(l, " ", 1);
            line_puts(l, fields[i].name);
            line_put(l, "=", 1);
            line_put_value(l, &fields[i]);
        }
    }
    l->cap = JOURNAL_CAP;
    l->full = false;
}

/* MESSAGE for a reader; each field also stands alone for a query. */
static void
write_journald(enum lk_log_level level, const char *event, const struct lk_log_field *fields,
               size_t fields_count)
{
    char text[JOURNAL_CAP];
    struct line l = {text, 0, sizeof(text), false};
    struct iovec iov[JOURNAL_FIELDS_MAX];
    int iov_count = 0;
    size_t start;

    journal_put_message(&l, event, fields, fields_count);
    journal_close(&l, 0, &iov[iov_count++]);
    start = l.len;
    line_puts(&l, "PRIORITY=");
    line_put_int(&l, (int64_t)level);
    journal_close(&l, start, &iov[iov_count++]);
    start = l.len;
    line_puts(&l, "LATCHKEY_EVENT=");
    line_puts(&l, event);
    journal_close(&l, start, &iov[iov_count++]);
    for (size_t i = 0; i < fields_count && iov_count < (int)JOURNAL_FIELDS_MAX; i++) {
        if (field_is_absent(&fields[i])) {
            continue;
        }
        start = l.len;
        journal_put_name(&l, fields[i].name);
        journal_put_value(&l, &fields[i]);
        if (l.full) {
            break;
        }
        journal_close(&l, start, &iov[iov_count++]);
    }
    (void)sd_journal_sendv(iov, iov_count); /* nowhere left to report a failure */
}

void
lk_log_fields(enum lk_log_level level, const char *event, const struct lk_log_field *fields,
              size_t fields_count)
{
    if (!lk_log_enabled(level)) {
        return;
    }
    if (atomic_load(&log_target) == LK_LOG_JOURNALD) {
        write_journald(level, event, fields, fields_count);
    } else {
        write_json(level, event, fields, fields_count);
    }
}
