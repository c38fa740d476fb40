/* A PostgreSQL server for one test program. */
#include "support/pgsql.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define BIN "/usr/lib/postgresql/15/bin/" /* Debian 12 */
#define START_TRIES 3000u                 /* of 10 ms */

struct lk_pgsql {
    pid_t pid;
    char dir[64];
    char url[256];
    int databases;
};

/* In the child: the server refuses to run as root. */
static void
become_nobody_special(void)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    int null = open("/dev/null", O_RDWR);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
        chdir("/tmp") != 0 ||
        (user != NULL && (setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))) {
        _exit(126);
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* setuid() took it back */
}

static void
cluster_make(const char *data)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        become_nobody_special();
        (void)execl(BIN "initdb", "initdb", "-D", data, "-U", "latchkey", "-A", "trust", "-E",
                    "UTF8", "--locale=C.UTF-8", "--no-sync", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0); /* is postgresql-15 installed? */
}

static void
server_start(struct lk_pgsql *p)
{
    char data[96], sockets[128];

    (void)snprintf(data, sizeof(data), "%s/data", p->dir);
    (void)snprintf(sockets, sizeof(sockets), "unix_socket_directories=%s", p->dir);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        become_nobody_special();
        (void)execl(BIN "postgres", "postgres", "-D", data, "-c", sockets, "-c",
                    "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60", "-c",
                    "shared_buffers=16MB", (char *)NULL);
        _exit(127);
    }
}

/* A connection to the database that is always there; NULL: not up. */
static PGconn *
connect_to(const struct lk_pgsql *p)
{
    char url[320];
    PGconn *c;

    (void)snprintf(url, sizeof(url), "%spostgres", p->url);
    c = PQconnectdb(url);
    if (PQstatus(c) != CONNECTION_OK) {
        PQfinish(c);
        return NULL;
    }
    return c;
}

static void
server_wait(const struct lk_pgsql *p)
{
    const struct timespec pause = {0, 10000000l};
    PGconn *c;

    for (unsigned i = 0; (c = connect_to(p)) == NULL; i++) {
        assert_true(i < START_TRIES);
        assert_int_equal(waitpid(p->pid, NULL, WNOHANG), 0);
        (void)nanosleep(&pause, NULL);
    }
    PQfinish(c);
}

static void
run(const struct lk_pgsql *p, const char *sql)
{
    PGconn *c = connect_to(p);
    PGresult *res;

    assert_non_null(c);
    res = PQexec(c, sql);
    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQresultErrorMessage(res));
    }
    PQclear(res);
    PQfinish(c);
}

struct lk_pgsql *
lk_pgsql_start(void)
{
    struct lk_pgsql *p = (struct lk_pgsql *)calloc(1, sizeof(*p));
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    char data[96];

    assert_non_null(p);
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/lk-pgsql-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    if (user != NULL) {
        assert_int_equal(chown(p->dir, user->pw_uid, user->pw_gid), 0);
    }
    (void)snprintf(data, sizeof(data), "%s/data", p->dir);
    (void)snprintf(p->url, sizeof(p->url), "postgresql:///?user=latchkey&host=%s&dbname=", p->dir);
    cluster_make(data);
    server_start(p);
    server_wait(p);
    return p;
}

static void
server_end(const struct lk_pgsql *p, int signo)
{
    (void)kill(p->pid, signo);
    while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

void
lk_pgsql_stop(struct lk_pgsql *p)
{
    pid_t pid;

    if (p == NULL) {
        return;
    }
    server_end(p, SIGQUIT);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", p->dir, (char *)NULL);
        _exit(127);
    }
    (void)waitpid(pid, NULL, 0);
    free(p);
}

const char *
lk_pgsql_database(struct lk_pgsql *p)
{
    static char url[320];
    char sql[64];

    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE t%d", ++p->databases);
    run(p, sql);
    (void)snprintf(url, sizeof(url), "%st%d", p->url, p->databases);
    return url;
}

void
lk_pgsql_cut(struct lk_pgsql *p)
{
    run(p, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
           " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
}

void
lk_pgsql_restart(struct lk_pgsql *p)
{
    server_end(p, SIGQUIT);
    server_start(p);
    server_wait(p);
}
