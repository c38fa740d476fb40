/* Tests of src/store/writer.c over SQLite: shared commits, failures, other processes, crashes. */
#include "fixture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/metrics.h"

#define QUEUE_MAX 4096 /* STORE_QUEUE_MAX */

/* A job that puts one registration and an audit record, as a device's would. */
struct put {
    struct lk_job job;
    char id[32];
    enum lk_err fail; /* what run() returns after it wrote */
    bool swallow;     /* run() returns LK_OK whatever happened */
    bool done;
    enum lk_err result;
    pthread_t thread; /* that called done() */
    char text[LK_STORE_ERROR_CAP];
};

static enum lk_err
put_run(struct lk_txn *tx, void *arg)
{
    struct put *p = (struct put *)arg;
    struct lk_registration r = {.generation = 1, .status = LK_REG_ASSIGNED};
    enum lk_err err;

    (void)snprintf(r.scope, sizeof(r.scope), SCOPE);
    (void)snprintf(r.id, sizeof(r.id), "%s", p->id);
    r.auth_key_len = 1000;
    if ((err = lk_txn_registration_put(tx, &r, 0)) == LK_OK) {
        err = lk_txn_audit_append(tx, "device", "registration.assigned", SCOPE, p->id, "");
    }
    if (p->swallow) {
        return LK_OK;
    }
    return err != LK_OK ? err : p->fail;
}

static void
put_done(void *arg, enum lk_err err)
{
    struct put *p = (struct put *)arg;

    p->done = true;
    p->result = err;
    p->thread = pthread_self();
    (void)snprintf(p->text, sizeof(p->text), "%s", lk_store_error_text());
}

static void
put_init(struct put *p, const char *prefix, int number)
{
    memset(p, 0, sizeof(*p));
    p->job.run = put_run;
    p->job.done = put_done;
    p->job.arg = p;
    (void)snprintf(p->id, sizeof(p->id), "%s%d", prefix, number);
}

static void
session_pump(struct lk_session *s, const bool *until)
{
    struct pollfd pfd = {lk_session_fd(s), POLLIN, 0};

    while (!*until) {
        assert_true(poll(&pfd, 1, 60000) == 1);
        lk_session_dispatch(s);
    }
}

static bool
registered(struct fixture *f, const char *id)
{
    struct lk_registration r = {0};
    enum lk_err err = do_reg_get(f, id, &r);

    lk_registration_fini(&r);
    assert_true(err == LK_OK || err == LK_ERR_NOT_FOUND);
    return err == LK_OK;
}

/* ---- Batches ----------------------------------------------------------------------------------
 */

/* A job that keeps the writer until it is let go, so that those after it gather. */
struct gate {
    struct lk_job job;
    sem_t entered, leave;
    bool done;
};

static enum lk_err
gate_run(struct lk_txn *tx, void *arg)
{
    struct gate *g = (struct gate *)arg;

    assert_int_equal(sem_post(&g->entered), 0);
    while (sem_wait(&g->leave) != 0) {
    }
    return LK_OK;
}

static void
gate_done(void *arg, enum lk_err err)
{
    ((struct gate *)arg)->done = true;
}

static void
gate_close(struct fixture *f, struct gate *g)
{
    memset(g, 0, sizeof(*g));
    g->job.run = gate_run;
    g->job.done = gate_done;
    g->job.arg = g;
    assert_int_equal(sem_init(&g->entered, 0, 0), 0);
    assert_int_equal(sem_init(&g->leave, 0, 0), 0);
    lk_store_write(f->s, &g->job);
    while (sem_wait(&g->entered) != 0) {
    }
}

static void
gate_open(struct gate *g)
{
    assert_int_equal(sem_post(&g->leave), 0);
}

/* Jobs that gather behind a commit share the next one; done() comes on the session's thread. */
static void
jobs_share_a_commit(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct put puts[100];
    struct gate gate;
    int64_t commits, jobs;

    gate_close(f, &gate);
    for (int i = 0; i < 100; i++) {
        put_init(&puts[i], "d", i);
        lk_store_write(f->s, &puts[i].job);
    }
    commits = lk_metric_get(LK_M_STORE_COMMITS);
    jobs = lk_metric_get(LK_M_STORE_JOBS);
    assert_int_equal(lk_metric_get(LK_M_STORE_QUEUE), 100);
    lk_session_dispatch(f->s);
    assert_false(puts[0].done);
    gate_open(&gate);
    session_pump(f->s, &puts[99].done);
    assert_int_equal(lk_metric_get(LK_M_STORE_COMMITS) - commits, 2); /* the gate's, and one */
    assert_int_equal(lk_metric_get(LK_M_STORE_JOBS) - jobs, 101);
    assert_int_equal(lk_metric_get(LK_M_STORE_QUEUE), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(puts[i].result, LK_OK);
        assert_true(pthread_equal(puts[i].thread, pthread_self()));
        assert_true(registered(f, puts[i].id));
    }
}

/* A job that fails after it wrote leaves nothing, and its batch-mates everything. */
static void
failure_is_its_own(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_audit_cursor cursor = {0};
    struct put puts[5];
    struct gate gate;

    gate_close(f, &gate);
    for (int i = 0; i < 5; i++) {
        put_init(&puts[i], "d", i);
        puts[i].fail = i % 2 == 1 ? LK_ERR_REFUSED : LK_OK;
        lk_store_write(f->s, &puts[i].job);
    }
    gate_open(&gate);
    session_pump(f->s, &puts[4].done);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(puts[i].result, i % 2 == 1 ? LK_ERR_REFUSED : LK_OK);
        assert_int_equal(registered(f, puts[i].id), i % 2 == 0);
    }
    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 3);
}

/* The job after the last that fits is told so from the next dispatch; the others are done. */
static void
full_queue_is_busy(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct put *puts = (struct put *)calloc(QUEUE_MAX + 1, sizeof(*puts));
    struct put *last = &puts[QUEUE_MAX];
    struct gate gate;

    assert_non_null(puts);
    gate_close(f, &gate);
    for (int i = 0; i <= QUEUE_MAX; i++) {
        put_init(&puts[i], "d", i);
        lk_store_write(f->s, &puts[i].job);
    }
    assert_false(last->done);
    session_pump(f->s, &last->done);
    assert_int_equal(last->result, LK_ERR_BUSY);
    assert_non_null(strstr(last->text, "waiting"));
    assert_false(puts[QUEUE_MAX - 1].done);
    gate_open(&gate);
    session_pump(f->s, &puts[QUEUE_MAX - 1].done);
    for (int i = 0; i < QUEUE_MAX; i++) {
        assert_int_equal(puts[i].result, LK_OK);
    }
    assert_true(registered(f, puts[QUEUE_MAX - 1].id));
    assert_false(registered(f, last->id));
    free(puts);
}

/* Closing the store waits for nothing that was submitted by nobody; done() may free its job and
 * submit another. */
struct chain {
    struct lk_job job;
    struct fixture *f;
    int *left;
    bool *end;
};

static enum lk_err
chain_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_audit_append(tx, "a", "b", "", "c", "");
}

static void
chain_done(void *arg, enum lk_err err)
{
    struct chain *c = (struct chain *)arg;

    assert_int_equal(err, LK_OK);
    if (--*c->left > 0) {
        struct chain *next = (struct chain *)malloc(sizeof(*next));

        assert_non_null(next);
        *next = *c;
        next->job.arg = next;
        lk_store_write(c->f->s, &next->job);
    } else {
        *c->end = true;
    }
    free(c);
}

static void
done_may_submit(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct chain *first = (struct chain *)calloc(1, sizeof(*first));
    int left = 20;
    bool end = false;

    assert_non_null(first);
    *first = (struct chain){.f = f, .left = &left, .end = &end};
    first->job.run = chain_run;
    first->job.done = chain_done;
    first->job.arg = first;
    lk_store_write(f->s, &first->job);
    session_pump(f->s, &end);
    assert_int_equal(left, 0);
}

/* Several threads, each with a session of its own, write and read at once. */
struct worker {
    struct fixture *f;
    int number;
    int failures;
};

static void *
worker_main(void *arg)
{
    struct worker *w = (struct worker *)arg;
    struct fixture own = *w->f;
    struct put p;

    if (lk_session_open(w->f->st, &own.s) != LK_OK) {
        w->failures = 1000;
        return NULL;
    }
    for (int i = 0; i < 100; i++) {
        put_init(&p, w->number == 0 ? "a" : w->number == 1 ? "b" : "c", i);
        lk_store_write(own.s, &p.job);
        session_pump(own.s, &p.done);
        w->failures += p.result == LK_OK && registered(&own, p.id) ? 0 : 1;
    }
    lk_session_close(own.s);
    return NULL;
}

static void
sessions_on_threads(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct worker workers[3];
    pthread_t threads[3];
    struct lk_audit_cursor cursor = {0};

    for (int i = 0; i < 3; i++) {
        workers[i] = (struct worker){f, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, worker_main, &workers[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(workers[i].failures, 0);
    }
    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 300);
}

/* A read job sees one state, though an import is finished by another session meanwhile. */
struct snapshot {
    struct fixture *writer;
    int64_t import, before, after, rows;
    enum lk_err finish;
};

static enum lk_err
snapshot_run(struct lk_txn *tx, void *arg)
{
    struct snapshot *snap = (struct snapshot *)arg;
    enum lk_err err = lk_txn_enrollment_count(tx, SCOPE, &snap->before);

    if (err != LK_OK) {
        return err;
    }
    snap->finish = do_finish(snap->writer, snap->import, &snap->rows);
    return lk_txn_enrollment_count(tx, SCOPE, &snap->after);
}

static void
import_finish_is_atomic(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct fixture reader = *f;
    struct snapshot snap = {.writer = f};
    struct lk_enrollment e;
    char id[8];

    assert_int_equal(lk_session_open(f->st, &reader.s), LK_OK);
    assert_int_equal(do_import_begin(f, &snap.import), LK_OK);
    for (int i = 0; i < 50; i++) {
        (void)snprintf(id, sizeof(id), "d%d", i);
        enrollment_make(&e, id, (uint8_t)(i + 1));
        assert_int_equal(do_stage(f, snap.import, i, &e, NULL), LK_OK);
    }
    assert_int_equal(in_read(&reader, snapshot_run, &snap), LK_OK);
    assert_int_equal(snap.finish, LK_OK);
    assert_int_equal(snap.rows, 50);
    assert_int_equal(snap.before, 0);
    assert_int_equal(snap.after, 0);
    assert_int_equal(do_count(&reader), 50);
    lk_session_close(reader.s);
}

/* ---- Disk -------------------------------------------------------------------------------------
 */

/* Let no file grow past bytes; 0: as far as it likes. */
static void
file_size_limit(rlim_t bytes)
{
    struct rlimit limit;

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes != 0 ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* On a full disk every job of the batch fails in words, also one that overlooks it; reading goes
 * on, nothing is half there, and with room again writing goes on too. */
static void
disk_full(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_audit_cursor cursor = {0};
    struct put before, after, puts[50];
    struct gate gate;
    char path[160];
    struct stat st;
    uint64_t seen = 0;
    char words[LK_STORE_ERROR_CAP];

    put_init(&before, "before", 0);
    lk_store_write(f->s, &before.job);
    session_pump(f->s, &before.done);
    (void)snprintf(path, sizeof(path), "%s/store.db-wal", f->dir);
    assert_int_equal(stat(path, &st), 0);
    gate_close(f, &gate);
    for (int i = 0; i < 50; i++) {
        put_init(&puts[i], "d", i);
        puts[i].swallow = i % 2 == 1;
        lk_store_write(f->s, &puts[i].job);
    }
    file_size_limit((rlim_t)st.st_size);
    gate_open(&gate);
    session_pump(f->s, &puts[49].done);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(puts[i].result, LK_ERR_STORE);
        assert_false(registered(f, puts[i].id));
    }
    assert_true(strlen(puts[49].text) > 0);
    assert_true(lk_store_failed(f->st, &seen, words));
    assert_string_equal(words, puts[49].text);
    assert_false(lk_store_failed(f->st, &seen, words)); /* once for each */
    assert_true(registered(f, "before0"));
    file_size_limit(0);
    put_init(&after, "after", 0);
    lk_store_write(f->s, &after.job);
    session_pump(f->s, &after.done);
    assert_int_equal(after.result, LK_OK);
    assert_false(lk_store_failed(f->st, &seen, words));
    fixture_reopen(f);
    assert_true(registered(f, "before0") && registered(f, "after0"));
    assert_false(registered(f, "d0"));
    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 2);
}

/* A job too large for the disk costs its batch-mates nothing. */
static enum lk_err
huge_run(struct lk_txn *tx, void *arg)
{
    struct put p;
    enum lk_err err = LK_OK;

    for (int i = 0; i < 20000 && err == LK_OK; i++) { /* more than the page cache holds */
        put_init(&p, "huge", i);
        err = put_run(tx, &p);
    }
    return err;
}

static void
disk_full_by_one_job(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_audit_cursor cursor = {0};
    struct put puts[3];
    struct gate gate;

    gate_close(f, &gate);
    for (int i = 0; i < 3; i++) {
        put_init(&puts[i], "d", i);
        puts[i].job.run = i == 1 ? huge_run : put_run;
        lk_store_write(f->s, &puts[i].job);
    }
    file_size_limit(4 << 20);
    gate_open(&gate);
    session_pump(f->s, &puts[2].done);
    file_size_limit(0);
    assert_int_equal(puts[0].result, LK_OK);
    assert_int_equal(puts[1].result, LK_ERR_STORE);
    assert_int_equal(puts[2].result, LK_OK);
    assert_true(registered(f, "d0") && registered(f, "d2"));
    assert_false(registered(f, "huge0"));
    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 2);
}

/* ---- Other processes --------------------------------------------------------------------------
 */

/*
 * Run child in a process of its own with a store of its own. The parent's store is closed around
 * the fork: what SQLite knows of an open file does not survive one.
 */
static pid_t
child_start(const struct fixture *f, int (*child)(struct fixture *f, void *arg), void *arg)
{
    pid_t pid = fork();

    assert_null(f->st);
    if (pid == 0) {
        struct fixture own = *f;

        own.config.clock = NULL;
        if (lk_store_open(&own.config, NULL, &own.st) != LK_OK ||
            lk_session_open(own.st, &own.s) != LK_OK) {
            _exit(99);
        }
        _exit(child(&own, arg));
    }
    assert_true(pid > 0);
    return pid;
}

static int
write_many(struct fixture *f, void *arg)
{
    const char *prefix = (const char *)arg;
    struct put p;

    for (int i = 0; i < 200; i++) {
        put_init(&p, prefix, i);
        if (lk_store_write_wait(f->s, put_run, &p) != LK_OK) {
            return 1;
        }
    }
    fixture_close(f);
    return 0;
}

/* Two processes write at once; nobody is refused, and the audit chain is one. */
static void
two_processes(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_audit_cursor cursor = {0};
    char one[] = "one", two[] = "two";
    pid_t pids[2];
    int status;

    fixture_close(f);
    pids[0] = child_start(f, write_many, one);
    pids[1] = child_start(f, write_many, two);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    fixture_open(f);
    assert_true(registered(f, "one199") && registered(f, "two199"));
    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 400);
}

/* In a child: keep 16 jobs in flight for ever, and tell the number of each that is committed. */
struct stream {
    struct put put;
    struct fixture *f;
    int fd, number, *next;
};

static void
stream_submit(struct stream *s)
{
    s->number = (*s->next)++;
    put_init(&s->put, "d", s->number);
    s->put.job.arg = s;
    s->put.job.done = NULL;
}

static void
stream_done(void *arg, enum lk_err err)
{
    struct stream *s = (struct stream *)arg;

    if (err != LK_OK || write(s->fd, &s->number, sizeof(s->number)) != sizeof(s->number)) {
        _exit(1);
    }
    stream_submit(s);
    s->put.job.done = stream_done;
    lk_store_write(s->f->s, &s->put.job);
}

static int
stream_for_ever(struct fixture *f, void *arg)
{
    struct stream streams[16];
    int next = 0;
    const bool never = false;

    for (size_t i = 0; i < LK_ARRAY_LEN(streams); i++) {
        streams[i].f = f;
        streams[i].fd = *(int *)arg;
        streams[i].next = &next;
        stream_submit(&streams[i]);
        streams[i].put.job.done = stream_done;
        lk_store_write(f->s, &streams[i].put.job);
    }
    session_pump(f->s, &never);
    return 0;
}

/* What was told before a SIGKILL is there afterwards, each time. */
static void
killed_writer_keeps_its_word(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char id[32];

    for (int round = 0; round < 5; round++) {
        struct lk_audit_cursor cursor = {0};
        int ends[2], number, told = 0, most = 200 + 150 * round, *numbers;
        char path[160];
        pid_t pid;

        fixture_close(f);
        (void)snprintf(path, sizeof(path), "%s/store.db", f->dir);
        assert_int_equal(unlink(path), 0);
        numbers = (int *)calloc(100000, sizeof(int));
        assert_non_null(numbers);
        assert_int_equal(pipe(ends), 0);
        pid = child_start(f, stream_for_ever, &ends[1]);
        assert_int_equal(close(ends[1]), 0);
        while (told < 100000 && read(ends[0], &number, sizeof(number)) == sizeof(number)) {
            numbers[told++] = number;
            if (told == most) {
                assert_int_equal(kill(pid, SIGKILL), 0);
            }
        }
        assert_int_equal(waitpid(pid, &number, 0), pid);
        assert_true(WIFSIGNALED(number) && WTERMSIG(number) == SIGKILL);
        assert_int_equal(close(ends[0]), 0);
        assert_true(told >= most);
        fixture_open(f);
        for (int i = 0; i < told; i++) {
            (void)snprintf(id, sizeof(id), "d%d", numbers[i]);
            assert_true(registered(f, id));
        }
        free(numbers);
        assert_int_equal(do_verify(f, &cursor), LK_OK);
        assert_true(cursor.seq >= told);
    }
}

/* In a child: hold the write lock for as long as *arg says, then let go. */
struct hold {
    int fd;
    unsigned ms;
};

static enum lk_err
hold_run(struct lk_txn *tx, void *arg)
{
    const struct hold *hold = (const struct hold *)arg;

    if (write(hold->fd, "", 1) != 1) {
        return LK_ERR_IO;
    }
    (void)usleep(hold->ms * 1000);
    return LK_OK;
}

static int
hold_lock(struct fixture *f, void *arg)
{
    return (int)lk_store_write_wait(f->s, hold_run, arg);
}

static enum lk_err
write_while_held(struct fixture *f, unsigned ms, struct put *p)
{
    struct hold hold = {.ms = ms};
    int ends[2], status;
    pid_t pid;
    char byte;

    assert_int_equal(pipe(ends), 0);
    hold.fd = ends[1];
    fixture_close(f);
    pid = child_start(f, hold_lock, &hold);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    fixture_open(f);
    lk_store_write(f->s, &p->job);
    session_pump(f->s, &p->done);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
    return p->result;
}

/* Another process's transaction is waited for, not for ever; a reader does not notice it. */
static void
lock_held_elsewhere(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct put p;

    put_init(&p, "d", 0);
    assert_int_equal(write_while_held(f, 300, &p), LK_OK);
    put_init(&p, "d", 1);
    assert_int_equal(write_while_held(f, 60000, &p), LK_ERR_BUSY);
    assert_non_null(strstr(p.text, "locked"));
    assert_true(registered(f, "d0"));
    assert_false(registered(f, "d1"));
    assert_int_equal(lk_store_write_wait(f->s, put_run, &p), LK_OK);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(jobs_share_a_commit), CASE(failure_is_its_own),
        CASE(full_queue_is_busy),  CASE(done_may_submit),
        CASE(sessions_on_threads), CASE(import_finish_is_atomic),
        CASE(disk_full),           CASE(disk_full_by_one_job),
        CASE(two_processes),       CASE(killed_writer_keeps_its_word),
        CASE(lock_held_elsewhere),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
