/* A software TPM for one test. */
#include "support/swtpm.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define START_TRIES 1000u /* of 10 ms */

struct lk_swtpm {
    pid_t pid;
    char dir[64];
    char tcti[96];
};

/* Never returns. The output goes nowhere: a test's output is its own. */
static _Noreturn void
child_run(const char *dir)
{
    char state[96], server[96], ctrl[96];
    int null = open("/dev/null", O_RDWR);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(state, sizeof(state), "dir=%s", dir);
    (void)snprintf(server, sizeof(server), "type=unixio,path=%s/s", dir);
    (void)snprintf(ctrl, sizeof(ctrl), "type=unixio,path=%s/s.ctrl", dir);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0) {
        _exit(126);
    }
    (void)execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server", server,
                 "--ctrl", ctrl, "--flags", "not-need-init,startup-clear", (char *)NULL);
    _exit(127);
}

/* A socket's name is there before anybody listens on it: only a connection proves that. */
static bool
listens(const struct lk_swtpm *s, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    assert_true(fd >= 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", s->dir, name);
    ok = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    (void)close(fd);
    return ok;
}

static void
wait_until_listening(const struct lk_swtpm *s)
{
    const struct timespec pause = {0, 10000000l};

    for (unsigned i = 0; !listens(s, "s.ctrl") || !listens(s, "s"); i++) {
        assert_true(i < START_TRIES);
        assert_int_equal(waitpid(s->pid, NULL, WNOHANG), 0); /* is swtpm installed? */
        (void)nanosleep(&pause, NULL);
    }
}

struct lk_swtpm *
lk_swtpm_start(void)
{
    struct lk_swtpm *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    (void)setenv("TSS2_LOG", "all+none", 0); /* refusals are what many tests are about */
    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/lk-swtpm-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->tcti, sizeof(s->tcti), "swtpm:path=%s/s", s->dir);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        child_run(s->dir);
    }
    wait_until_listening(s);
    return s;
}

void
lk_swtpm_stop(struct lk_swtpm *s)
{
    static const char *const files[] = {"s", "s.ctrl", "tpm2-00.permall", "tpm2-00.volatilestate",
                                        ".lock"};
    char path[128];

    if (s == NULL) {
        return;
    }
    (void)kill(s->pid, SIGTERM);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", s->dir, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(s->dir), 0);
    free(s);
}

const char *
lk_swtpm_tcti(const struct lk_swtpm *s)
{
    return s->tcti;
}
