/*
 * The configuration of the service: one table (config.c) of key, type, range, default, unit,
 * whether a reload takes it, and one sentence. The parser, `latchkeyd --help` and the manual page
 * come from that table. The command line reads the same file to find the store and the keyring.
 *
 * A file holds lines "key = value"; '#' begins a comment line. Unknown and repeated keys are errors
 * with file and line. A file name that begins with "%d/" is in the folder that systemd hands
 * credentials over in ($CREDENTIALS_DIRECTORY); other relative ones are in the file's own folder.
 */
#ifndef LK_DAEMON_CONFIG_H
#define LK_DAEMON_CONFIG_H

#include "base/log.h"
#include "net/http.h"

#define LK_CONFIG_DEFAULT_PATH "/etc/latchkey/latchkeyd.conf"
#define LK_CONFIG_FILE_MAX ((size_t)64 * 1024) /* bytes */
#define LK_CONFIG_TEXT_CAP 512u                /* bytes of any text value with its NUL */
#define LK_CONFIG_ERROR_CAP 512u

/* Keys in the file are the members with '-' for '_'. */
struct lk_config {
    char data_dir[LK_CONFIG_TEXT_CAP];      /* default /var/lib/latchkey */
    char store[LK_CONFIG_TEXT_CAP];         /* default sqlite:<data-dir>/latchkey.db */
    char keyring[LK_CONFIG_TEXT_CAP];       /* default <data-dir>/master.key */
    char listen[LK_CONFIG_TEXT_CAP];        /* device API over HTTPS; default :443 */
    char admin_listen[LK_CONFIG_TEXT_CAP];  /* plain HTTP: health, metrics, device check; loopback
                                               only; default 127.0.0.1:9464; "none": off */
    char health_listen[LK_CONFIG_TEXT_CAP]; /* plain HTTP: health for balancers elsewhere; "none"
                                               (default): off */
    char broker_listen[LK_CONFIG_TEXT_CAP]; /* HTTPS for brokers elsewhere; "none" (default): off */
    char broker_secret[LK_CONFIG_TEXT_CAP]; /* file of what they have to know; "none" (default) */
    char tls_cert[LK_CONFIG_TEXT_CAP];      /* reloadable; default <data-dir>/tls/server.pem */
    char tls_key[LK_CONFIG_TEXT_CAP];       /* reloadable; default <data-dir>/tls/server.key */
    /* Lists and names; "none" (default) is empty. */
    char webhook_allow[LK_CONFIG_TEXT_CAP];
    char hub_allow[LK_CONFIG_TEXT_CAP];
    char webhook_ca[LK_CONFIG_TEXT_CAP];
    char hub_ca_file[LK_CONFIG_TEXT_CAP];
    char client_regions[LK_CONFIG_TEXT_CAP];
    char region[LK_CONFIG_TEXT_CAP];
    char mqtt_socket[LK_CONFIG_TEXT_CAP]; /* where plugins of hubs' brokers connect */
    char mqtt_user[LK_CONFIG_TEXT_CAP];   /* whom they run as; default mosquitto */
    uint32_t workers;                     /* event loops; 0 (default): one a core */
    uint32_t challenge_epoch_s;           /* default 600 */
    uint32_t audit_refusals_per_s;        /* default 20 */
    uint32_t bulk_max;                    /* default 10 */
    uint32_t hub_call_ms;                 /* default 5000 */
    uint32_t hub_deadline_s;              /* default 600 */
    uint32_t hub_calls_max;               /* default 16 */
    uint32_t drain_ms;                    /* default 10000 */
    uint32_t import_signature_required;   /* 0 (default) or 1 */
    uint32_t audit_reads;                 /* 0 or 1 (default) */
    enum lk_log_target log_target;        /* "json" (default) or "journald" */
    enum lk_log_level log_level;          /* reloadable; default info */
    struct lk_http_limits limits; /* http-head-max, http-handshake-ms, ...: the members' names */
};

/* Every key at its default. */
void lk_config_defaults(struct lk_config *c);

/* A value of which "none" stands for empty, without that word. */
const char *lk_config_list(const char *value);

/*
 * Read the file at path over the defaults. error says file, line, key and what was expected.
 * LK_ERR_NOT_FOUND, LK_ERR_IO, LK_ERR_CONFIG, LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_config_load(const char *path, char error[LK_CONFIG_ERROR_CAP],
                                         struct lk_config *ret);

/* As lk_config_load(), from memory; name stands for the file in errors. For tests and fuzzing. */
LK_MUST_CHECK enum lk_err lk_config_parse(const char *name, const char *text, size_t len,
                                          char error[LK_CONFIG_ERROR_CAP], struct lk_config *ret);

/* Calls each for every key whose values in a and b differ; reloadable as the table says. */
void lk_config_diff(const struct lk_config *a, const struct lk_config *b,
                    void (*each)(void *ctx, const char *key, bool reloadable), void *ctx);

/* Set what a reload takes in running to what fresh says. */
void lk_config_adopt(struct lk_config *running, const struct lk_config *fresh);

/* A value that a new configuration file begins with; value NULL leaves the key at its default. */
struct lk_config_setting {
    const char *key, *value;
};

/*
 * A configuration file with every key below its sentence: those of settings with their values, the
 * others in comments at their defaults. LK_ERR_ARG for a value with a line end in it. That the
 * values are acceptable is for lk_config_parse() to say.
 */
LK_MUST_CHECK enum lk_err lk_config_template(const struct lk_config_setting *settings,
                                             size_t settings_count, struct lk_buf *ret);

/* The documented table as text for --help, or as man page rows (roff) when roff is set. */
LK_MUST_CHECK enum lk_err lk_config_describe(bool roff, struct lk_buf *ret);

#endif
