/* The listener for brokers on other machines: HTTPS, and a secret that they have to know. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/daemon.h"

#define SECRET_FILE_MAX 4096u /* bytes; a secret is at most LK_AUTH_SECRET_MAX */

static enum lk_err
secret_fail(char error[LK_DAEMON_ERROR_CAP], const char *path, const char *what)
{
    (void)snprintf(error, LK_DAEMON_ERROR_CAP, "broker-secret: %s: %s", path, what);
    return LK_ERR_CONFIG;
}

static enum lk_err
file_read(const char *path, struct lk_buf *ret)
{
    FILE *f = fopen(path, "re");
    uint8_t *to = lk_buf_extend(ret, SECRET_FILE_MAX);

    if (f == NULL || to == NULL) {
        if (f != NULL) {
            (void)fclose(f);
        }
        return LK_ERR_IO;
    }
    (void)setvbuf(f, NULL, _IONBF, 0); /* no copy of the secret stays in a buffer of stdio's */
    ret->len = fread(to, 1, SECRET_FILE_MAX, f);
    return ferror(f) | fclose(f) ? LK_ERR_IO : LK_OK;
}

enum lk_err
lk_daemon_load_broker_secret(const struct lk_config *config, char error[LK_DAEMON_ERROR_CAP],
                             struct lk_buf *ret)
{
    const char *path = lk_config_list(config->broker_secret);

    if (path[0] == '\0') {
        (void)snprintf(error, LK_DAEMON_ERROR_CAP,
                       "broker-secret: expected a file, since there is a broker-listen");
        return LK_ERR_CONFIG;
    }
    if (file_read(path, ret) != LK_OK) {
        return secret_fail(error, path, "cannot be read");
    }
    if (ret->len > 0 && ret->data[ret->len - 1] == '\n') {
        ret->len--;
    }
    if (!lk_auth_secret_ok((const char *)ret->data, ret->len)) {
        return secret_fail(error, path,
                           "expected one line of 32 to 256 letters, digits and - . _ ~");
    }
    return LK_OK;
}

static enum lk_err
listen_on(struct lk_daemon *d, char error[LK_DAEMON_ERROR_CAP])
{
    struct lk_http_server_config opts = {
        .listen = d->config.broker_listen,
        .tls = d->tls,
        .limits = d->config.limits,
        .handle = lk_router_handle,
        .ctx = &d->broker_router,
    };
    char why[LK_HTTP_ERROR_CAP] = "";
    enum lk_err err;

    d->broker_surface = lk_auth_gate_surface(d->broker_gate);
    d->broker_router = (struct lk_router){&d->broker_surface, 1};
    if ((err = lk_http_server_new(d->loop, &opts, why, &d->broker_server)) != LK_OK) {
        (void)snprintf(error, LK_DAEMON_ERROR_CAP, "broker-listen: %s",
                       why[0] == '\0' ? lk_err_text(err) : why);
    }
    return err;
}

enum lk_err
lk_daemon_broker_open(struct lk_daemon *d, char error[LK_DAEMON_ERROR_CAP])
{
    LK_AUTO_BUF struct lk_buf secret = LK_BUF_INIT;
    enum lk_err err;

    if (lk_config_list(d->config.broker_listen)[0] == '\0') {
        return LK_OK;
    }
    if ((err = lk_daemon_load_broker_secret(&d->config, error, &secret)) != LK_OK ||
        (err = lk_auth_gate_new((const char *)secret.data, secret.len,
                                lk_auth_api_surface(d->auth_api), &d->broker_gate)) != LK_OK) {
        return err;
    }
    return listen_on(d, error);
}

static void
drained(void *ctx)
{
    struct lk_daemon *d = ctx;

    d->broker_drained = true;
}

void
lk_daemon_broker_drain(struct lk_daemon *d, uint32_t deadline_ms)
{
    if (d->broker_server == NULL) {
        d->broker_drained = true;
        return;
    }
    lk_http_server_drain(d->broker_server, deadline_ms, drained, d);
}

void
lk_daemon_broker_close(struct lk_daemon *d)
{
    lk_http_server_drop(&d->broker_server);
    lk_auth_gate_drop(&d->broker_gate);
}
