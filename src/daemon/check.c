/* latchkeyd --check-config: everything that a start or a reload would stumble over, told at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/err.h"
#include "daemon/daemon.h"

#define EXPIRY_WARNING_S (14 * 86400)

/* Tell a problem; the first one gives the exit code. */
static void
problem(enum lk_err *first, enum lk_err err, const char *text)
{
    (void)fprintf(stderr, "latchkeyd: %s\n", text);
    *first = *first == LK_OK ? err : *first;
}

static void
certificate_check(const struct lk_config *config, enum lk_err *first)
{
    LK_AUTO(lk_tls) struct lk_tls *tls = NULL;
    char error[LK_DAEMON_ERROR_CAP] = "", date[LK_TIMESTAMP_CAP];
    int64_t expiry_s;
    enum lk_err err;

    if ((err = lk_daemon_load_tls(config, false, error, &tls)) != LK_OK) {
        problem(first, err, error);
        return;
    }
    expiry_s = lk_tls_not_after_unix_s(tls);
    if (expiry_s - lk_clock_unix_ms(&lk_clock_system) / 1000 < EXPIRY_WARNING_S) {
        lk_timestamp_format(expiry_s * 1000, date);
        (void)fprintf(stderr, "latchkeyd: note: the certificate is out of date after %s\n", date);
    }
}

static void
ca_file_check(const char *key, const char *value, enum lk_err *first)
{
    const char *path = lk_config_list(value);
    char text[LK_CONFIG_TEXT_CAP + 32];

    if (path[0] != '\0' && access(path, R_OK) != 0) {
        (void)snprintf(text, sizeof(text), "%s: cannot read %s", key, path);
        problem(first, LK_ERR_IO, text);
    }
}

/* What the service runs with, but would better not: told, and no mistake. */
static void
mode_check(const char *path, mode_t forbidden, const char *expected)
{
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & forbidden) != 0) {
        (void)fprintf(stderr, "latchkeyd: note: %s: expected mode %s, got %04o\n", path, expected,
                      (unsigned)(st.st_mode & 07777));
    }
}

static void
broker_check(const struct lk_config *config, enum lk_err *first)
{
    LK_AUTO_BUF struct lk_buf secret = LK_BUF_INIT;
    char error[LK_DAEMON_ERROR_CAP] = "";
    enum lk_err err;

    if (lk_config_list(config->broker_listen)[0] == '\0') {
        return;
    }
    if ((err = lk_daemon_load_broker_secret(config, error, &secret)) != LK_OK) {
        problem(first, err, error);
    }
    mode_check(config->broker_secret, 0077, "0600");
}

/* The check opens the database for reading only, which a read-only one passes. */
static void
store_file_check(const struct lk_config *config, enum lk_err *first)
{
    const char *colon = strchr(config->store, ':');
    const char *path = colon != NULL ? colon + 1 : config->store;
    char text[LK_CONFIG_TEXT_CAP + 64];

    if (strncmp(config->store, "sqlite:", 7) != 0 || access(path, F_OK) != 0) {
        return; /* opening it tells */
    }
    if (access(path, W_OK) != 0) {
        (void)snprintf(text, sizeof(text), "store: %s: cannot be written: %s", path,
                       strerror(errno));
        problem(first, LK_ERR_STORE, text);
    }
    mode_check(path, 0077, "0600");
}

static enum lk_err
count_scope(void *ctx, const struct lk_scope *scope)
{
    (*(unsigned *)ctx)++;
    return LK_OK;
}

static enum lk_err
count_hub(void *ctx, const struct lk_hub *hub)
{
    (*(unsigned *)ctx)++;
    return LK_OK;
}

struct content {
    unsigned scopes, hubs;
};

static enum lk_err
content_run(struct lk_txn *tx, void *arg)
{
    struct content *c = arg;
    enum lk_err err;

    *c = (struct content){0, 0};
    err = lk_txn_scope_each(tx, count_scope, &c->scopes);
    return err != LK_OK ? err : lk_txn_hub_each(tx, count_hub, &c->hubs);
}

static void
content_check(struct lk_store *store, enum lk_err *first)
{
    LK_AUTO(lk_session) struct lk_session *session = NULL;
    struct content c = {0, 0};
    char text[256];
    enum lk_err err;

    if ((err = lk_session_open(store, &session)) != LK_OK ||
        (err = lk_store_read_wait(session, content_run, &c)) != LK_OK) {
        (void)snprintf(text, sizeof(text), "store: %s", lk_store_error_text());
        problem(first, err, text);
        return;
    }
    if (c.scopes == 0) {
        (void)fprintf(stderr,
                      "latchkeyd: note: there is no ID scope yet: every device is refused\n");
    }
    if (c.hubs == 0) {
        (void)fprintf(stderr, "latchkeyd: note: no hub is linked yet: no device can be assigned\n");
    }
}

static void
store_check(const struct lk_config *config, enum lk_err *first)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;
    LK_AUTO(lk_store) struct lk_store *store = NULL;
    char error[LK_DAEMON_ERROR_CAP] = "";
    struct stat ignored;
    enum lk_err err;

    if ((err = lk_daemon_load_keyring(config, error, &ignored, &ring)) != LK_OK ||
        (err = lk_daemon_open_store(config, ring, true, error, &store)) != LK_OK) {
        problem(first, err, error);
        return;
    }
    content_check(store, first);
}

int
lk_daemon_check(const char *config_path)
{
    struct lk_config config;
    char error[LK_CONFIG_ERROR_CAP] = "";
    enum lk_err first = LK_OK, err;

    if ((err = lk_config_load(config_path, error, &config)) != LK_OK) {
        problem(&first, err == LK_ERR_NOT_FOUND ? LK_ERR_CONFIG : err, error);
        return lk_err_exit_code(first);
    }
    certificate_check(&config, &first);
    mode_check(config.tls_key, 0007, "0640 or less");
    ca_file_check("webhook-ca", config.webhook_ca, &first);
    ca_file_check("hub-ca-file", config.hub_ca_file, &first);
    broker_check(&config, &first);
    store_file_check(&config, &first);
    store_check(&config, &first);
    if (first == LK_OK) {
        (void)printf("%s: good\n", config_path);
    }
    return lk_err_exit_code(first);
}
