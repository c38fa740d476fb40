/*
 * The writer: takes all write jobs that wait, runs them in one transaction, each in a savepoint of
 * its own unless it is alone, commits once, and hands every job back to its session.
 */
#include "store/sql_int.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/metrics.h"

void
session_deliver(struct lk_job *job)
{
    struct lk_session *s = job->session;
    const uint64_t one = 1;

    /* The descriptor is written under the lock: once the session's thread has the job, it may close
     * the session. */
    (void)pthread_mutex_lock(&s->lock);
    job->next = NULL;
    if (job->result == LK_ERR_STORE || job->result == LK_ERR_BUSY) {
        memcpy(s->error, lk_store_error_text(), sizeof(s->error));
    }
    if (s->done_head == NULL) {
        (void)!write(s->fd, &one, sizeof(one)); /* fails only when it is readable already */
    }
    *s->done_tail = job;
    s->done_tail = &job->next;
    (void)pthread_mutex_unlock(&s->lock);
}

void
lk_store_write(struct lk_session *s, struct lk_job *job)
{
    struct lk_store *st = s->store;
    bool full;

    job->session = s;
    job->next = NULL;
    s->pending++;
    if (st->read_only) {
        job->result = LK_ERR_ARG;
        session_deliver(job);
        return;
    }
    (void)pthread_mutex_lock(&st->lock);
    full = st->queued == STORE_QUEUE_MAX;
    if (!full) {
        *st->tail = job;
        st->tail = &job->next;
        if (st->queued++ == 0) {
            (void)pthread_cond_signal(&st->wake);
        }
        lk_metric_add(LK_M_STORE_QUEUE, 1);
    }
    (void)pthread_mutex_unlock(&st->lock);
    if (full) {
        store_error_set("%u write jobs are waiting already", STORE_QUEUE_MAX);
        job->result = LK_ERR_BUSY;
        session_deliver(job);
    }
}

/* Wait for jobs, at most STORE_IDLE_MS when impatient. */
static void
queue_wait(struct lk_store *st, bool impatient)
{
    struct timespec until;
    int rc = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail for this clock */
    until.tv_nsec += STORE_IDLE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (st->head == NULL && !st->stopping && rc == 0) {
        rc = impatient ? pthread_cond_clockwait(&st->wake, &st->lock, CLOCK_MONOTONIC, &until)
                       : pthread_cond_wait(&st->wake, &st->lock);
    }
}

/*
 * When jobs come side by side, let those that are about to come share the commit: a sync costs the
 * CPU of several jobs, and each commit empties the readers' caches. A job that comes alone is not
 * kept waiting, and jobs of callers who all wait for them already, not for long.
 */
static void
batch_gather(struct lk_store *st, size_t before_count)
{
    const struct timespec pause = {0, STORE_GATHER_SLICE_US * 1000};
    bool more = before_count > 1;

    for (unsigned us = 0; more && us < STORE_GATHER_US; us += STORE_GATHER_SLICE_US) {
        const size_t seen = st->queued;

        if (seen >= STORE_GATHER_JOBS || st->stopping) {
            return;
        }
        (void)pthread_mutex_unlock(&st->lock);
        (void)nanosleep(&pause, NULL); /* a signal only makes the batch smaller */
        (void)pthread_mutex_lock(&st->lock);
        more = st->queued > seen;
    }
}

/*
 * Wait for jobs and take at most STORE_BATCH_MAX; 0: none came in time, or it is time to stop.
 * before_count is the size of the batch before.
 */
static size_t
batch_take(struct lk_store *st, bool impatient, size_t before_count, struct lk_job **batch,
           bool *ret_stop)
{
    size_t count = 0;

    (void)pthread_mutex_lock(&st->lock);
    queue_wait(st, impatient);
    if (st->head != NULL) {
        batch_gather(st, before_count);
    }
    while (st->head != NULL && count < STORE_BATCH_MAX) {
        batch[count++] = st->head;
        st->head = st->head->next;
    }
    if (st->head == NULL) {
        st->tail = &st->head;
    }
    st->queued -= count;
    *ret_stop = count == 0 && st->stopping;
    (void)pthread_mutex_unlock(&st->lock);
    lk_metric_add(LK_M_STORE_QUEUE, -(int64_t)count);
    return count;
}

/* Run one job in a savepoint. LK_ERR_CANCELLED: the transaction around it is gone. */
static enum lk_err
job_run(struct lk_txn *tx, struct lk_job *job)
{
    const struct store_ops *ops = tx->store->ops;
    enum lk_err err = ops->job_begin(tx->conn);

    if (err != LK_OK) {
        job->result = err;
        return LK_ERR_CANCELLED;
    }
    job->result = job->run(tx, job->arg);
    if (job->result == LK_OK) {
        job->result = ops->job_keep(tx->conn);
    }
    return job->result == LK_OK ? LK_OK : ops->job_undo(tx->conn);
}

/*
 * Run a job that has the transaction for itself: without a savepoint, which costs two statements,
 * and SQLite a copy of every page that a statement changes. LK_ERR_CANCELLED as job_run().
 */
static enum lk_err
job_run_alone(struct lk_txn *tx, struct lk_job *job)
{
    job->result = job->run(tx, job->arg);
    if (job->result == LK_OK && tx->conn->broken) {
        job->result = LK_ERR_STORE;
    }
    return job->result == LK_ERR_BUSY && tx->conn->broken ? LK_ERR_CANCELLED : LK_OK;
}

static uint64_t
mono_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static enum lk_err
batch_commit(struct lk_store *st, struct lk_job **batch, size_t count)
{
    uint64_t start_us = mono_us();
    int64_t kept = 0;
    enum lk_err err;

    for (size_t i = 0; i < count; i++) {
        kept += batch[i]->result == LK_OK ? 1 : 0;
    }
    if (kept == 0) {
        st->ops->rollback(st->writer_conn);
        return LK_OK;
    }
    if ((err = st->ops->commit(st->writer_conn)) != LK_OK) {
        return err;
    }
    lk_histogram_observe_us(LK_H_COMMIT_US, mono_us() - start_us);
    lk_metric_add(LK_M_STORE_COMMITS, 1);
    lk_metric_add(LK_M_STORE_JOBS, kept);
    return LK_OK;
}

bool
lk_store_failed(struct lk_store *st, uint64_t *seen, char ret_words[LK_STORE_ERROR_CAP])
{
    bool failed;

    (void)pthread_mutex_lock(&st->lock);
    failed = st->failures != *seen;
    if (failed) {
        *seen = st->failures;
        memcpy(ret_words, st->failure, LK_STORE_ERROR_CAP);
    }
    (void)pthread_mutex_unlock(&st->lock);
    return failed;
}

static void
batch_fail(struct lk_job **batch, size_t count, enum lk_err err)
{
    for (size_t i = 0; i < count; i++) {
        batch[i]->result = err;
    }
}

/*
 * All jobs in one transaction, results set. LK_ERR_CANCELLED: one of them, or another process, cost
 * the others their transaction, so each should be tried alone.
 */
static enum lk_err
batch_try(struct lk_store *st, struct lk_job **batch, size_t count)
{
    struct lk_txn tx = {st, st->writer_conn, lk_clock_unix_ms(st->clock), true};
    enum lk_err err = st->ops->begin(st->writer_conn);

    if (err != LK_OK) {
        batch_fail(batch, count, err);
        return err;
    }
    for (size_t i = 0; i < count; i++) {
        if ((err = count == 1 ? job_run_alone(&tx, batch[i]) : job_run(&tx, batch[i])) != LK_OK) {
            st->ops->rollback(st->writer_conn);
            return LK_ERR_CANCELLED;
        }
    }
    if ((err = batch_commit(st, batch, count)) != LK_OK) {
        /* A job that failed by itself may have failed because of a batch-mate's work. */
        batch_fail(batch, count, err);
    }
    return err == LK_ERR_BUSY ? LK_ERR_CANCELLED : err;
}

static void
batch_run(struct lk_store *st, struct lk_job **batch, size_t count)
{
    if (batch_try(st, batch, count) != LK_ERR_CANCELLED) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        /* The job's result says it all, but for a database that begins no transaction: each of the
         * others would wait for it as long. */
        if (batch_try(st, &batch[i], 1) == LK_ERR_BUSY) {
            batch_fail(&batch[i], count - i, LK_ERR_BUSY);
            return;
        }
    }
}

/* Jobs that failed, and words of the database since the batch began: it was the database. */
static void
failure_note(struct lk_store *st, struct lk_job *const *batch, size_t count)
{
    bool failed = false;

    for (size_t i = 0; i < count && !failed; i++) {
        failed = batch[i]->result == LK_ERR_STORE || batch[i]->result == LK_ERR_BUSY;
    }
    if (failed && lk_store_error_text()[0] != '\0') {
        (void)pthread_mutex_lock(&st->lock);
        st->failures++;
        memcpy(st->failure, lk_store_error_text(), sizeof(st->failure));
        (void)pthread_mutex_unlock(&st->lock);
    }
}

static void *
writer_main(void *arg)
{
    struct lk_store *st = (struct lk_store *)arg;
    struct lk_job *batch[STORE_BATCH_MAX];
    bool owes = false, stop = false;
    size_t count = 0;

    while (!stop) {
        count = batch_take(st, owes, count, batch, &stop);
        if (count > 0) {
            store_error_set("%s", "");
            batch_run(st, batch, count);
            failure_note(st, batch, count);
        }
        for (size_t i = 0; i < count; i++) {
            session_deliver(batch[i]);
        }
        owes = st->ops->maintain(st->writer_conn, count == 0);
    }
    return NULL;
}

enum lk_err
store_thread_start(pthread_t *thread, void *(*run)(void *), void *arg, const char *what)
{
    sigset_t all, before;
    int rc;

    /* Signals are for the threads that wait for them. */
    (void)sigfillset(&all); /* none of the three can fail with these arguments */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(thread, NULL, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        store_error_set("%s: %s", what, strerror(rc));
        return LK_ERR_NOMEM;
    }
    return LK_OK;
}

enum lk_err
writer_start(struct lk_store *st)
{
    enum lk_err err = store_thread_start(&st->writer, writer_main, st, "writer thread");

    st->writer_started = err == LK_OK;
    return err;
}

void
writer_stop(struct lk_store *st)
{
    if (!st->writer_started) {
        return;
    }
    (void)pthread_mutex_lock(&st->lock);
    st->stopping = true;
    (void)pthread_cond_signal(&st->wake);
    (void)pthread_mutex_unlock(&st->lock);
    (void)pthread_join(st->writer, NULL);
}
