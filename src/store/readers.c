/*
 * Where reading waits for a server, each session has a thread that runs its read jobs one after the
 * other, so that no event loop waits. A job that finds the server gone is run again on the next
 * connection.
 */
#include "store/store_int.h"

#define READ_TRIES 3

static enum lk_err
job_try(struct lk_session *s, struct lk_job *job)
{
    const struct store_ops *ops = s->store->ops;
    struct lk_txn tx = {s->store, s->conn, lk_clock_unix_ms(s->store->clock), false};
    enum lk_err err = ops->begin(s->conn);

    if (err == LK_OK) {
        err = job->run(&tx, job->arg);
        ops->rollback(s->conn); /* nothing was written */
    }
    return err;
}

static struct lk_job *
job_take(struct store_reader *r)
{
    struct lk_job *job;

    (void)pthread_mutex_lock(&r->lock);
    while (r->head == NULL && !r->stopping) {
        (void)pthread_cond_wait(&r->wake, &r->lock);
    }
    job = r->head;
    if (job != NULL) {
        r->head = job->next;
        r->tail = r->head == NULL ? &r->head : r->tail;
        r->queued--;
    }
    (void)pthread_mutex_unlock(&r->lock);
    return job;
}

static void *
reader_main(void *arg)
{
    struct lk_session *s = (struct lk_session *)arg;
    struct lk_job *job;

    while ((job = job_take(&s->reader)) != NULL) {
        int tries = READ_TRIES;

        do {
            job->result = job_try(s, job);
        } while (job->result == LK_ERR_BUSY && --tries > 0);
        session_deliver(job);
    }
    return NULL;
}

enum lk_err
reader_start(struct lk_session *s)
{
    struct store_reader *r = &s->reader;
    enum lk_err err;

    (void)pthread_mutex_init(&r->lock, NULL); /* neither can fail with default attributes */
    (void)pthread_cond_init(&r->wake, NULL);
    r->tail = &r->head;
    err = store_thread_start(&r->thread, reader_main, s, "reader thread");
    r->started = err == LK_OK;
    return err;
}

void
reader_stop(struct lk_session *s)
{
    struct store_reader *r = &s->reader;

    if (!r->started) {
        return;
    }
    (void)pthread_mutex_lock(&r->lock);
    r->stopping = true;
    (void)pthread_cond_signal(&r->wake);
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_join(r->thread, NULL);
    (void)pthread_cond_destroy(&r->wake);
    (void)pthread_mutex_destroy(&r->lock);
}

void
reader_submit(struct lk_session *s, struct lk_job *job)
{
    struct store_reader *r = &s->reader;
    bool full;

    job->next = NULL;
    s->pending++;
    (void)pthread_mutex_lock(&r->lock);
    full = r->queued == STORE_QUEUE_MAX;
    if (!full) {
        *r->tail = job;
        r->tail = &job->next;
        r->queued++;
        (void)pthread_cond_signal(&r->wake);
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (full) {
        store_error_set("%u read jobs are waiting already", STORE_QUEUE_MAX);
        job->result = LK_ERR_BUSY;
        session_deliver(job);
    }
}
