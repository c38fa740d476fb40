/* The table of the configuration's keys. Only config*.c includes this. */
#ifndef LK_DAEMON_CONFIG_INT_H
#define LK_DAEMON_CONFIG_INT_H

#include "daemon/config.h"

#define LK_CONFIG_ROWS_MAX 48u

enum lk_config_kind {
    LK_ROW_FILE,
    LK_ROW_STORE,  /* "sqlite:" and a file */
    LK_ROW_LISTEN, /* address and port */
    LK_ROW_ADMIN,  /* the same on loopback, or "none" */
    LK_ROW_LISTEN_OR_NONE,
    LK_ROW_ALLOW, /* host names and networks, or "none" */
    LK_ROW_FILE_OR_NONE,
    LK_ROW_REGIONS, /* networks with their regions, or "none" */
    LK_ROW_REGION,  /* a name, or "none" */
    LK_ROW_SOCKET,  /* the path of a local socket, or "none" */
    LK_ROW_USER,    /* a user of this machine */
    LK_ROW_NUMBER,
    LK_ROW_LOG_TARGET,
    LK_ROW_LOG_LEVEL
};

struct lk_config_row {
    const char *key;
    enum lk_config_kind kind;
    bool reloadable;
    size_t offset;        /* of the member in struct lk_config */
    size_t size;          /* of the member, bytes */
    uint32_t min, max;    /* LK_ROW_NUMBER */
    const char *unit;     /* LK_ROW_NUMBER; "" for a plain count */
    const char *fallback; /* the default, as it would stand in the file; "<data-dir>" is replaced */
    const char *sentence;
};

extern const struct lk_config_row lk_config_rows[]; /* data-dir is the first */
extern const size_t lk_config_rows_count;

/* Where a value comes from, and where its error goes. */
struct lk_config_place {
    const char *name; /* of the file */
    unsigned line;    /* 0: the file as a whole */
    const char *key;  /* NULL: none yet */
    char *error;      /* LK_CONFIG_ERROR_CAP bytes */
};

/* Write "file:line: key: ..." and return LK_ERR_CONFIG, so that a check can end with it. */
enum lk_err lk_config_fail(const struct lk_config_place *at, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Set the member of row to what value says. LK_ERR_CONFIG. */
LK_MUST_CHECK enum lk_err lk_config_value_set(const struct lk_config_place *at,
                                              const struct lk_config_row *row, const char *value,
                                              struct lk_config *c);

/* Set the member of row to its default; one below the data folder follows c->data_dir. */
LK_MUST_CHECK enum lk_err lk_config_default_set(const struct lk_config_place *at,
                                                const struct lk_config_row *row,
                                                struct lk_config *c);

#endif
