/* Certificates, keyring and log level that change while the service runs. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/log.h"
#include "daemon/daemon.h"

enum lk_err
lk_daemon_load_tls(const struct lk_config *config, bool any_dates, char error[LK_DAEMON_ERROR_CAP],
                   struct lk_tls **ret)
{
    struct lk_tls_config opts = {.cert_file = config->tls_cert,
                                 .key_file = config->tls_key,
                                 .ask_peer_cert = true,
                                 .any_dates = any_dates};
    char why[LK_TLS_ERROR_CAP] = "";
    enum lk_err err;

    if ((err = lk_tls_new(&opts, why, ret)) != LK_OK) {
        (void)snprintf(error, LK_DAEMON_ERROR_CAP, "certificate: %s",
                       why[0] == '\0' ? lk_err_text(err) : why);
    } else if (why[0] != '\0') {
        lk_log(LK_LOG_ERROR, "certificate.out_of_date", LK_F_TEXT("reason", why));
    }
    return err;
}

enum lk_err
lk_daemon_load_keyring(const struct lk_config *config, char error[LK_DAEMON_ERROR_CAP],
                       struct stat *ret_stat, struct lk_keyring **ret)
{
    char why[LK_KEYRING_ERROR_CAP] = "";
    enum lk_err err;

    /* Before the file is read: a change in between is seen as one. */
    if (stat(config->keyring, ret_stat) != 0) {
        memset(ret_stat, 0, sizeof(*ret_stat));
    }
    if ((err = lk_keyring_load(config->keyring, why, ret)) != LK_OK) {
        (void)snprintf(error, LK_DAEMON_ERROR_CAP, "keyring: %s",
                       why[0] == '\0' ? lk_err_text(err) : why);
    }
    return err;
}

/* The audit chain and all that is sealed belong to the ring's first key: it cannot be another. */
static enum lk_err
ring_check(const struct lk_keyring *now, const struct lk_keyring *fresh,
           char error[LK_DAEMON_ERROR_CAP])
{
    uint8_t a[LK_AUDIT_KEY_LEN], b[LK_AUDIT_KEY_LEN];
    bool same;

    lk_keyring_audit_key(now, a);
    lk_keyring_audit_key(fresh, b);
    same = memcmp(a, b, sizeof(a)) == 0;
    lk_wipe(a, sizeof(a));
    lk_wipe(b, sizeof(b));
    if (!same) {
        (void)snprintf(error, LK_DAEMON_ERROR_CAP,
                       "keyring: expected the first key to be the one that is in use");
        return LK_ERR_CONFIG;
    }
    return LK_OK;
}

/* Hand tls and ring to everyone who uses them. */
static void
renew_all(struct lk_daemon *d, struct lk_tls *tls, struct lk_keyring *ring)
{
    for (size_t i = 0; i < d->workers_count; i++) {
        enum lk_err err = lk_worker_renew(d->workers[i], tls, ring);

        if (err != LK_OK) { /* out of memory; the next reload or rotation tries again */
            lk_log(LK_LOG_ERROR, "worker.renew_failed", LK_F_INT("worker", (int64_t)i),
                   LK_F_ERR(err));
        }
    }
    if (d->broker != NULL) {
        enum lk_err err = lk_broker_renew(d->broker, ring);

        if (err != LK_OK) { /* the same */
            lk_log(LK_LOG_ERROR, "broker.renew_failed", LK_F_ERR(err));
        }
    }
    lk_hub_core_set_keyring(d->hub, ring);
    if (d->broker_server != NULL) {
        lk_http_server_set_tls(d->broker_server, tls);
    }
    (void)lk_tls_ref(tls); /* first: it may be the one that is in use */
    lk_tls_free(d->tls);
    d->tls = tls;
    (void)lk_keyring_ref(ring);
    lk_keyring_free(d->ring);
    d->ring = ring;
}

static void
difference_log(void *ctx, const char *key, bool reloadable)
{
    lk_log(reloadable ? LK_LOG_INFO : LK_LOG_WARNING,
           reloadable ? "config.changed" : "config.needs_restart", LK_F_TEXT("key", key));
}

/* Everything that a reload reads, before anything is changed. */
static enum lk_err
fresh_load(const struct lk_daemon *d, struct lk_config *config, char error[LK_DAEMON_ERROR_CAP],
           struct lk_tls **ret_tls, struct stat *ret_stat, struct lk_keyring **ret_ring)
{
    char why[LK_CONFIG_ERROR_CAP] = "";
    enum lk_err err;

    if ((err = lk_config_load(d->config_path, why, config)) != LK_OK) {
        (void)snprintf(error, LK_DAEMON_ERROR_CAP, "%s", why[0] == '\0' ? lk_err_text(err) : why);
        return err;
    }
    if ((err = lk_daemon_load_tls(config, false, error, ret_tls)) != LK_OK ||
        (err = lk_daemon_load_keyring(&d->config, error, ret_stat, ret_ring)) != LK_OK) {
        return err;
    }
    return ring_check(d->ring, *ret_ring, error);
}

static void
reload(struct lk_daemon *d)
{
    LK_AUTO(lk_tls) struct lk_tls *tls = NULL;
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;
    char error[LK_DAEMON_ERROR_CAP] = "";
    struct lk_config fresh;
    struct stat ring_stat;
    enum lk_err err;

    if ((err = fresh_load(d, &fresh, error, &tls, &ring_stat, &ring)) != LK_OK) {
        d->reloads_failed++;
        lk_log(LK_LOG_ERROR, "config.rejected", LK_F_TEXT("reason", error), LK_F_ERR(err));
        return;
    }
    d->ring_stat = ring_stat;
    renew_all(d, tls, ring);
    lk_config_diff(&d->config, &fresh, difference_log, NULL);
    lk_config_adopt(&d->config, &fresh);
    lk_log_set_level(d->config.log_level);
    d->reloads++;
    lk_log(LK_LOG_INFO, "config.reloaded",
           LK_F_INT("certificate_expiry", lk_tls_not_after_unix_s(tls)),
           LK_F_INT("keyring_keys", (int64_t)lk_keyring_count(ring)));
}

void
lk_daemon_reload(struct lk_daemon *d)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with a clock that exists */
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", /* without systemd there is nobody */
                     (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    reload(d);
    (void)sd_notify(0, "READY=1");
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/*
 * A file that was not taken is tried again each time, since the reason may be ours (no descriptor
 * or memory is left): without the new key, challenges that other instances make with it would be
 * refused here. It is told once.
 */
void
lk_daemon_keyring_watch(struct lk_daemon *d)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;
    char error[LK_DAEMON_ERROR_CAP] = "";
    struct stat now;
    enum lk_err err;

    if (stat(d->config.keyring, &now) != 0) {
        memset(&now, 0, sizeof(now));
    }
    if (same_file(&now, &d->ring_stat)) {
        return;
    }
    if ((err = lk_daemon_load_keyring(&d->config, error, &now, &ring)) != LK_OK ||
        (err = ring_check(d->ring, ring, error)) != LK_OK) {
        if (!same_file(&now, &d->ring_refused_stat)) {
            lk_log(LK_LOG_ERROR, "keyring.rejected", LK_F_TEXT("reason", error), LK_F_ERR(err));
        }
        d->ring_refused_stat = now;
        return;
    }
    d->ring_stat = now;
    renew_all(d, d->tls, ring);
    lk_log(LK_LOG_INFO, "keyring.loaded",
           LK_F_INT("keyring_keys", (int64_t)lk_keyring_count(ring)));
}
