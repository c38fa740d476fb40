#include "store/store_int.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const struct store_ops *const backends[] = {&store_sqlite, &store_pgsql};

static _Thread_local char error_text[LK_STORE_ERROR_CAP];

const char *
lk_store_error_text(void)
{
    return error_text;
}

void
store_error_set(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(error_text, sizeof(error_text), fmt, ap); /* cut to what fits */
    va_end(ap);
}

/* The backend for a URL, and where its scheme ends. */
static const struct store_ops *
backend_find(const char *url, const char **ret_location)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(backends); i++) {
        for (size_t k = 0; k < LK_ARRAY_LEN(backends[i]->schemes); k++) {
            const char *scheme = backends[i]->schemes[k];
            size_t len = scheme != NULL ? strlen(scheme) : 0;

            if (len > 0 && strncmp(url, scheme, len) == 0 && url[len] != '\0') {
                *ret_location = url + len;
                return backends[i];
            }
        }
    }
    return NULL;
}

static enum lk_err
store_start(const struct lk_store_config *config, struct lk_store *st)
{
    const char *location = NULL;
    enum lk_err err;

    st->ops = config->url != NULL ? backend_find(config->url, &location) : NULL;
    if (st->ops == NULL) {
        store_error_set("store: expected sqlite:PATH or postgresql://HOST/DATABASE");
        return LK_ERR_CONFIG;
    }
    if ((err = st->ops->open(config, location, &st->db)) != LK_OK || st->read_only) {
        return err;
    }
    if ((err = st->ops->conn_open(st->db, true, &st->writer_conn)) != LK_OK) {
        return err;
    }
    return writer_start(st);
}

enum lk_err
lk_store_open(const struct lk_store_config *config, char error[LK_STORE_ERROR_CAP],
              struct lk_store **ret)
{
    LK_AUTO(lk_store) struct lk_store *st = (struct lk_store *)calloc(1, sizeof(*st));
    enum lk_err err;

    if (st == NULL) {
        return LK_ERR_NOMEM;
    }
    st->clock = config->clock != NULL ? config->clock : &lk_clock_system;
    st->read_only = config->read_only;
    memcpy(st->audit_key, config->audit_key, sizeof(st->audit_key));
    st->tail = &st->head;
    (void)pthread_mutex_init(&st->lock, NULL); /* neither can fail with default attributes */
    (void)pthread_cond_init(&st->wake, NULL);
    error_text[0] = '\0';
    err = store_start(config, st);
    if (err != LK_OK) {
        if (error != NULL) {
            memcpy(error, error_text, LK_STORE_ERROR_CAP);
        }
        return err;
    }
    *ret = lk_store_take(&st);
    return LK_OK;
}

void
lk_store_close(struct lk_store *st)
{
    if (st == NULL) {
        return;
    }
    writer_stop(st);
    if (st->writer_conn != NULL) {
        st->ops->conn_close(st->writer_conn);
    }
    if (st->db != NULL) {
        st->ops->close(st->db);
    }
    (void)pthread_cond_destroy(&st->wake);
    (void)pthread_mutex_destroy(&st->lock);
    lk_wipe(st->audit_key, sizeof(st->audit_key));
    free(st);
}

enum lk_err
lk_session_open(struct lk_store *st, struct lk_session **ret)
{
    LK_AUTO(lk_session) struct lk_session *s = (struct lk_session *)calloc(1, sizeof(*s));
    enum lk_err err;

    if (s == NULL) {
        return LK_ERR_NOMEM;
    }
    s->store = st;
    s->done_tail = &s->done_head;
    (void)pthread_mutex_init(&s->lock, NULL); /* cannot fail with default attributes */
    s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->fd < 0) {
        store_error_set("eventfd: %s", strerror(errno));
        return LK_ERR_IO;
    }
    if ((err = st->ops->conn_open(st->db, false, &s->conn)) != LK_OK ||
        (st->ops->reads_wait && (err = reader_start(s)) != LK_OK)) {
        return err;
    }
    *ret = lk_session_take(&s);
    return LK_OK;
}

void
lk_session_close(struct lk_session *s)
{
    if (s == NULL) {
        return;
    }
    assert(s->pending == 0);
    reader_stop(s);
    if (s->conn != NULL) {
        s->store->ops->conn_close(s->conn);
    }
    if (s->fd >= 0) {
        (void)close(s->fd); /* an eventfd has nothing to lose */
    }
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

int
lk_session_fd(const struct lk_session *s)
{
    return s->fd;
}

void
lk_session_dispatch(struct lk_session *s)
{
    struct lk_job *jobs;
    uint64_t ticks;

    (void)pthread_mutex_lock(&s->lock);
    (void)!read(s->fd, &ticks, sizeof(ticks)); /* nothing to read is fine: a call without need */
    jobs = s->done_head;
    s->done_head = NULL;
    s->done_tail = &s->done_head;
    if (jobs != NULL && s->error[0] != '\0') {
        memcpy(error_text, s->error, sizeof(error_text));
        s->error[0] = '\0';
    }
    (void)pthread_mutex_unlock(&s->lock);

    for (struct lk_job *job = jobs, *next; job != NULL; job = next) {
        next = job->next; /* done() may free job */
        s->pending--;
        job->done(job->arg, job->result);
    }
}

void
lk_store_read(struct lk_session *s, struct lk_job *job)
{
    const struct store_ops *ops = s->store->ops;
    struct lk_txn tx = {s->store, s->conn, lk_clock_unix_ms(s->store->clock), false};

    job->session = s;
    if (ops->reads_wait) {
        reader_submit(s, job);
        return;
    }
    job->result = ops->begin(s->conn);
    if (job->result == LK_OK) {
        job->result = job->run(&tx, job->arg);
        ops->rollback(s->conn); /* nothing was written */
    }
    job->done(job->arg, job->result);
}

/* A job whose end somebody waits for. */
struct wait_job {
    struct lk_job job;
    enum lk_err (*run)(struct lk_txn *tx, void *arg);
    void *arg;
    bool finished;
    enum lk_err result;
};

static enum lk_err
wait_run(struct lk_txn *tx, void *arg)
{
    struct wait_job *w = (struct wait_job *)arg;

    return w->run(tx, w->arg);
}

static void
wait_done(void *arg, enum lk_err err)
{
    struct wait_job *w = (struct wait_job *)arg;

    w->finished = true;
    w->result = err;
}

static struct wait_job
wait_job_of(enum lk_err (*run)(struct lk_txn *, void *), void *arg)
{
    struct wait_job w = {.run = run, .arg = arg};

    w.job.run = wait_run;
    w.job.done = wait_done;
    return w;
}

/* Dispatch until w is done: at once where it is already. */
static enum lk_err
wait_for(struct lk_session *s, const struct wait_job *w)
{
    struct pollfd pfd = {s->fd, POLLIN, 0};

    while (!w->finished) {
        (void)poll(&pfd, 1, -1); /* a signal may end it early; then dispatch finds nothing */
        lk_session_dispatch(s);
    }
    return w->result;
}

enum lk_err
lk_store_write_while(struct lk_session *s, enum lk_err (*run)(struct lk_txn *, void *), void *arg,
                     void (*meanwhile)(void *))
{
    struct wait_job w = wait_job_of(run, arg);

    w.job.arg = &w;
    lk_store_write(s, &w.job);
    if (meanwhile != NULL) {
        meanwhile(arg);
    }
    return wait_for(s, &w);
}

enum lk_err
lk_store_write_wait(struct lk_session *s, enum lk_err (*run)(struct lk_txn *, void *), void *arg)
{
    return lk_store_write_while(s, run, arg, NULL);
}

enum lk_err
lk_store_read_wait(struct lk_session *s, enum lk_err (*run)(struct lk_txn *, void *), void *arg)
{
    struct wait_job w = wait_job_of(run, arg);

    w.job.arg = &w;
    lk_store_read(s, &w.job);
    return wait_for(s, &w);
}
