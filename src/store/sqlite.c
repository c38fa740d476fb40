/* The SQLite backend: files, connections and transactions. */
#include "store/sqlite_int.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUSY_WRITER_MS 10000 /* how long another process may hold the write lock */
#define BUSY_READER_MS 1000  /* a reader waits only while the log is being recovered or removed */
#define BUSY_SLEEP_US 500 /* between tries: half the pause of an import, so that none is missed */

/*
 * The log is copied into the database between two batches of the writer, never in a commit: from
 * this many pages on when no job came for a moment, and when that never happens. The second costs
 * the jobs that arrive meanwhile a write and a sync of that many pages, some 20 ms on a plain SSD.
 */
#define CHECKPOINT_IDLE 1000
#define CHECKPOINT_BUSY 4000

/* Bytes that the log keeps after a burst. */
#define WAL_KEEP "33554432"

static void
fd_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* after fsync there is nothing left to lose */
    }
}
#define AUTO_FD __attribute__((cleanup(fd_close)))

static void
text_free(char *text)
{
    free(text);
}
LK_DEFINE_AUTO(char, text, text_free);

/* The folder's entry for a new file survives a power cut only after this. */
static enum lk_err
folder_sync(const char *path)
{
    LK_AUTO(text) char *copy = strdup(path);
    AUTO_FD int fd = -1;

    if (copy == NULL) {
        return LK_ERR_NOMEM;
    }
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        store_error_set("%s: its folder: %s", path, strerror(errno));
        return LK_ERR_STORE;
    }
    return LK_OK;
}

/* The database holds sealed keys: for its owner only. SQLite gives log and index the same mode. */
static enum lk_err
file_create(const char *path)
{
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 && errno == EEXIST) {
        return LK_OK;
    }
    if (fd < 0 || fchmod(fd, 0600) != 0) {
        store_error_set("%s: %s", path, strerror(errno));
        return LK_ERR_STORE;
    }
    return folder_sync(path);
}

static enum lk_err
file_check(const char *path, bool create)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        return LK_OK;
    }
    if (create) {
        return file_create(path);
    }
    store_error_set("%s: no such database", path);
    return LK_ERR_NOT_FOUND;
}

static void
db_close(struct store_db *db)
{
    free(db->path);
    free(db);
}
LK_DEFINE_AUTO(struct store_db, db, db_close);

/* Wait for another process's transaction. ctx is the limit in tries. */
static int
busy_wait(void *ctx, int tries)
{
    const struct timespec pause = {0, BUSY_SLEEP_US * 1000};

    if (tries >= *(const int *)ctx) {
        return 0;
    }
    (void)nanosleep(&pause, NULL); /* a signal only makes it try earlier */
    return 1;
}

static int busy_writer_tries = BUSY_WRITER_MS * 1000 / BUSY_SLEEP_US;
static int busy_reader_tries = BUSY_READER_MS * 1000 / BUSY_SLEEP_US;

static int
wal_grown(void *ctx, sqlite3 *db, const char *name, int pages)
{
    struct sqlite_conn *c = (struct sqlite_conn *)ctx;

    c->wal_pages = pages;
    return SQLITE_OK;
}

static enum lk_err
conn_configure(struct sqlite_conn *c, const char *path)
{
    static const struct {
        int option, value;
    } options[] = {{SQLITE_DBCONFIG_DEFENSIVE, 1},
                   {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                   {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
                   {SQLITE_DBCONFIG_DQS_DDL, 0},
                   {SQLITE_DBCONFIG_DQS_DML, 0}};
    static const char pragmas[] = "PRAGMA synchronous = FULL;"
                                  "PRAGMA cell_size_check = ON;"
                                  "PRAGMA temp_store = MEMORY;"
                                  "PRAGMA cache_size = -16384;" /* KiB */
                                  "PRAGMA wal_autocheckpoint = 0;"
                                  "PRAGMA journal_size_limit = " WAL_KEEP ";";
    int rc = SQLITE_OK;

    (void)sqlite3_extended_result_codes(c->db, 1); /* cannot fail on an open connection */
    (void)sqlite3_busy_handler(c->db, busy_wait,
                               c->base.writable ? &busy_writer_tries : &busy_reader_tries);
    for (size_t i = 0; i < LK_ARRAY_LEN(options) && rc == SQLITE_OK; i++) {
        rc = sqlite3_db_config(c->db, options[i].option, options[i].value, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(c->db, pragmas, NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && !c->base.writable) {
        rc = sqlite3_exec(c->db, "PRAGMA query_only = ON;", NULL, NULL, NULL);
    }
    (void)sqlite3_wal_hook(c->db, wal_grown, c); /* returns the hook before, which is none */
    return rc == SQLITE_OK ? LK_OK : sqlite_fail(c, rc, path);
}

static void
conn_close(struct sqlite_conn *c)
{
    sq_cache_clear(&c->base);
    (void)sqlite3_close(c->db); /* no statement is left, so it cannot be refused */
    free(c);
}
LK_DEFINE_AUTO(struct sqlite_conn, conn, conn_close);

static enum lk_err
conn_open(struct store_db *db, bool writable, struct sqlite_conn **ret)
{
    LK_AUTO(conn) struct sqlite_conn *c = (struct sqlite_conn *)calloc(1, sizeof(*c));
    enum lk_err err;
    int rc;

    if (c == NULL) {
        return LK_ERR_NOMEM;
    }
    c->base.engine = &sqlite_engine;
    c->base.writable = writable;
    /* A reader writes too: the index of the log. It is refused writes to the data later. */
    rc = sqlite3_open_v2(db->path, &c->db,
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
                         NULL);
    if (rc != SQLITE_OK) {
        return sqlite_fail(c, rc, db->path);
    }
    /* SQLite opens what it may not write without a word, and only the first change would tell. */
    if (writable && sqlite3_db_readonly(c->db, "main") != 0) {
        store_error_set("%s: expected a database that can be written: it is read-only", db->path);
        return LK_ERR_STORE;
    }
    if ((err = conn_configure(c, db->path)) != LK_OK) {
        return err;
    }
    *ret = conn_take(&c);
    return LK_OK;
}

static enum lk_err
wal_try(struct sqlite_conn *c, const char *path)
{
    LK_AUTO(sq) struct sq *q = NULL;
    char mode[16];
    enum lk_err err;

    if ((err = sq_use(&c->base, "PRAGMA journal_mode = WAL", &q)) != LK_OK ||
        (err = sq_step(q)) != LK_OK) {
        return err == LK_ERR_NOT_FOUND ? LK_ERR_STORE : err;
    }
    sq_text(q, 0, mode, sizeof(mode));
    if (q->err == LK_OK && strcmp(mode, "wal") != 0) {
        store_error_set("%s: no write-ahead log here (journal mode %s)", path, mode);
        return LK_ERR_STORE;
    }
    return q->err;
}

/*
 * The journal mode is kept in the file: this does something once in a database's life. Only then
 * does SQLite want the file for itself, and gives up without asking the busy handler.
 */
static enum lk_err
wal_enter(struct sqlite_conn *c, const char *path)
{
    enum lk_err err;
    int tries = 0;

    do {
        err = wal_try(c, path);
    } while (err == LK_ERR_BUSY && busy_wait(&busy_writer_tries, tries++) != 0);
    return err;
}

static enum lk_err
db_prepare(const struct lk_store_config *config, struct store_db *db)
{
    LK_AUTO(conn) struct sqlite_conn *c = NULL;
    enum lk_err err;

    if ((err = file_check(db->path, config->create && !config->read_only)) != LK_OK ||
        (err = conn_open(db, !config->read_only, &c)) != LK_OK) {
        return err;
    }
    if (!config->read_only && (err = wal_enter(c, db->path)) != LK_OK) {
        return err;
    }
    return sqlite_schema_update(c, db->path, config->create, config->read_only);
}

static enum lk_err
db_open(const struct lk_store_config *config, const char *location, struct store_db **ret)
{
    LK_AUTO(db) struct store_db *db = (struct store_db *)calloc(1, sizeof(*db));
    size_t len = strlen(location) + sizeof("./");
    enum lk_err err;

    if (db == NULL || (db->path = (char *)malloc(len)) == NULL) {
        return LK_ERR_NOMEM;
    }
    /* ":memory:" and "file:..." mean something else to SQLite than to the file system. */
    (void)snprintf(db->path, len, "%s%s", location[0] == '/' ? "" : "./", location);
    if ((err = db_prepare(config, db)) != LK_OK) {
        return err;
    }
    *ret = db_take(&db);
    return LK_OK;
}

/* The connections as the front knows them. */
static enum lk_err
db_conn_open(struct store_db *db, bool writable, struct store_conn **ret)
{
    struct sqlite_conn *c;
    enum lk_err err = conn_open(db, writable, &c);

    if (err == LK_OK) {
        *ret = &c->base;
    }
    return err;
}

static void
db_conn_close(struct store_conn *c)
{
    conn_close((struct sqlite_conn *)c);
}

static sqlite3 *
handle_of(struct store_conn *c)
{
    return ((struct sqlite_conn *)c)->db;
}

static enum lk_err
db_begin(struct store_conn *c)
{
    c->broken = false;
    return sq_exec(c, c->writable ? "BEGIN IMMEDIATE" : "BEGIN");
}

static void
db_rollback(struct store_conn *c)
{
    if (sqlite3_get_autocommit(handle_of(c)) == 0) {
        (void)!sq_exec(c, "ROLLBACK"); /* even when it reports an error, the transaction is over */
    }
}

static enum lk_err
db_commit(struct store_conn *c)
{
    enum lk_err err = sq_exec(c, "COMMIT");

    if (err != LK_OK) {
        db_rollback(c);
    }
    return err;
}

static enum lk_err
db_job_begin(struct store_conn *c)
{
    c->broken = false;
    return sq_exec(c, "SAVEPOINT job");
}

static enum lk_err
db_job_keep(struct store_conn *c)
{
    return c->broken ? LK_ERR_STORE : sq_exec(c, "RELEASE job");
}

static enum lk_err
db_job_undo(struct store_conn *c)
{
    /* Some errors (a full disk, a failed write) end the transaction around the savepoint. */
    if (sqlite3_get_autocommit(handle_of(c)) != 0 || sq_exec(c, "ROLLBACK TO job") != LK_OK ||
        sq_exec(c, "RELEASE job") != LK_OK) {
        return LK_ERR_CANCELLED;
    }
    return LK_OK;
}

static bool
db_maintain(struct store_conn *base, bool idle)
{
    struct sqlite_conn *c = (struct sqlite_conn *)base;
    int left = 0, copied = 0;

    if (c->wal_pages >= (idle ? CHECKPOINT_IDLE : CHECKPOINT_BUSY)) {
        /* Passive: waits for nobody. What readers keep it from doing is done another time. */
        (void)sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &left, &copied);
        c->wal_pages = left - copied;
    }
    return !idle && c->wal_pages >= CHECKPOINT_IDLE;
}

static enum lk_err
db_triggers(struct store_conn *c, bool on)
{
    int rc = sqlite3_db_config(handle_of(c), SQLITE_DBCONFIG_ENABLE_TRIGGER, on ? 1 : 0, NULL);

    return rc == SQLITE_OK ? LK_OK : sqlite_fail((struct sqlite_conn *)c, rc, "triggers");
}

const struct store_ops store_sqlite = {
    .schemes = {"sqlite:"},
    .open = db_open,
    .close = db_close,
    .conn_open = db_conn_open,
    .conn_close = db_conn_close,
    .begin = db_begin,
    .commit = db_commit,
    .rollback = db_rollback,
    .job_begin = db_job_begin,
    .job_keep = db_job_keep,
    .job_undo = db_job_undo,
    .maintain = db_maintain,
    .triggers = db_triggers,
};
