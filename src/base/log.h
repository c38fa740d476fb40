/*
 * The log: one line per event, as a JSON object on a descriptor, or a journald entry with fields. A
 * function either logs or returns the error; the daemon and the CLI log once, where a request ends.
 */
#ifndef LK_BASE_LOG_H
#define LK_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <latchkey/err.h>

enum lk_log_level { LK_LOG_ERROR = 3, LK_LOG_WARNING = 4, LK_LOG_INFO = 6, LK_LOG_DEBUG = 7 };

enum lk_log_target { LK_LOG_JSON, LK_LOG_JOURNALD };

/* One field. Text is bounded (LK_LOG_TEXT_MAX bytes, then an ellipsis) and escaped: any byte is
 * safe. */
struct lk_log_field {
    const char *name;                                      /* lower_case, ours, never a peer's */
    enum { LK_LOG_TEXT, LK_LOG_INT, LK_LOG_ERRCODE } kind; /* which member counts */
    const char *text;                                      /* NULL leaves the field out */
    int64_t number;
};

#define LK_LOG_TEXT_MAX 256u

#define LK_F_TEXT(n, v)                                                                            \
    (struct lk_log_field)                                                                          \
    {                                                                                              \
        .name = (n), .kind = LK_LOG_TEXT, .text = (v)                                              \
    }
#define LK_F_INT(n, v)                                                                             \
    (struct lk_log_field)                                                                          \
    {                                                                                              \
        .name = (n), .kind = LK_LOG_INT, .number = (v)                                             \
    }
#define LK_F_ERR(v)                                                                                \
    (struct lk_log_field)                                                                          \
    {                                                                                              \
        .name = "error", .kind = LK_LOG_ERRCODE, .number = (v)                                     \
    }

/*
 * Choose the target. fd is borrowed and used by LK_LOG_JSON only (default: standard error). May be
 * called again at any time; lines are written whole, from any thread.
 */
void lk_log_open(enum lk_log_target target, int fd);

/* Lines less important than level are dropped. Atomic. */
void lk_log_set_level(enum lk_log_level level);
bool lk_log_enabled(enum lk_log_level level);

/* "error", "warning", "info", "debug"; LK_ERR_FORMAT for another word. */
LK_MUST_CHECK enum lk_err lk_log_level_parse(const char *text, enum lk_log_level *ret);

/* Write one event. event is a stable dotted name of ours, for example "registration.refused". */
void lk_log_fields(enum lk_log_level level, const char *event, const struct lk_log_field *fields,
                   size_t fields_count);

#define lk_log(level, event, ...)                                                                  \
    do {                                                                                           \
        if (lk_log_enabled(level)) {                                                               \
            const struct lk_log_field lk_log_fields_[] = {__VA_ARGS__};                            \
            lk_log_fields((level), (event), lk_log_fields_,                                        \
                          sizeof(lk_log_fields_) / sizeof(lk_log_fields_[0]));                     \
        }                                                                                          \
    } while (0)

#endif
