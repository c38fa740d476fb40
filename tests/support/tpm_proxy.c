/* A proxy in front of swtpm. */
#include "support/tpm_proxy.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define MESSAGE_MAX 4096u /* bytes of a command or an answer */
#define HEAD_LEN 10u      /* tag, size, code: TPM 2.0 Part 1, 18 */
#define COUNTED_MAX 4096u
#define CC_FLUSH_CONTEXT 0x165u

struct lk_tpm_proxy {
    char dir[64], tcti[96];
    char path[96], ctrl[96]; /* of the proxy; ctrl leads straight to swtpm */
    char tpm_path[96];
    int listener;
    pthread_t thread;

    pthread_mutex_t lock; /* of what follows */
    uint8_t *seen;
    size_t seen_len, seen_cap;
    uint32_t commands[COUNTED_MAX], answers[COUNTED_MAX];
    size_t count;
    size_t fail_in;     /* commands until the one that fails; 0: none */
    uint32_t fail_from; /* code of the command that fails with all after it; 0: none */
    bool failing;       /* it has come */
    uint32_t fail_rc;
    bool failed;
};

/* ---- bytes ----------------------------------------------------------------------------------- */

static uint32_t
u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool
read_all(int fd, uint8_t *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, buf, len);

        if (n <= 0) {
            return false;
        }
        buf += n;
        len -= (size_t)n;
    }
    return true;
}

static bool
write_all(int fd, const uint8_t *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

        if (n <= 0) {
            return false;
        }
        buf += n;
        len -= (size_t)n;
    }
    return true;
}

static bool
message_read(int fd, uint8_t buf[MESSAGE_MAX], size_t *ret_len)
{
    size_t len;

    if (!read_all(fd, buf, HEAD_LEN)) {
        return false;
    }
    len = u32_at(buf + 2);
    if (len < HEAD_LEN || len > MESSAGE_MAX || !read_all(fd, buf + HEAD_LEN, len - HEAD_LEN)) {
        return false;
    }
    *ret_len = len;
    return true;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void
keep(struct lk_tpm_proxy *p, const uint8_t *bytes, size_t len)
{
    if (p->seen_cap - p->seen_len < len) {
        p->seen_cap = (p->seen_cap + len) * 2;
        p->seen = realloc(p->seen, p->seen_cap);
        if (p->seen == NULL) {
            abort(); /* out of memory in a test */
        }
    }
    memcpy(p->seen + p->seen_len, bytes, len);
    p->seen_len += len;
}

/* True when the command fails by order; the answer is then made. */
static bool
fails(struct lk_tpm_proxy *p, const uint8_t *command, uint8_t answer[MESSAGE_MAX], size_t *ret_len)
{
    const uint8_t head[HEAD_LEN] = {0x80, 0x01, 0, 0, 0, HEAD_LEN, 0, 0, 0, 0};
    uint32_t code = u32_at(command + 6);
    bool now;

    (void)pthread_mutex_lock(&p->lock);
    p->failing = p->failing || (p->fail_from != 0 && code == p->fail_from);
    now = (p->fail_in == 1 || p->failing) && code != CC_FLUSH_CONTEXT;
    p->fail_in -= p->fail_in > 0 && code != CC_FLUSH_CONTEXT;
    memcpy(answer, head, sizeof(head));
    p->failed = p->failed || now;
    answer[8] = (uint8_t)(p->fail_rc >> 8);
    answer[9] = (uint8_t)p->fail_rc;
    (void)pthread_mutex_unlock(&p->lock);
    *ret_len = HEAD_LEN;
    return now;
}

static void
note(struct lk_tpm_proxy *p, const uint8_t *command, size_t command_len, const uint8_t *answer,
     size_t answer_len)
{
    (void)pthread_mutex_lock(&p->lock);
    keep(p, command, command_len);
    keep(p, answer, answer_len);
    if (p->count < COUNTED_MAX) {
        p->commands[p->count] = u32_at(command + 6);
        p->answers[p->count] = u32_at(answer + 6);
        p->count++;
    }
    (void)pthread_mutex_unlock(&p->lock);
}

static int
tpm_connect(const struct lk_tpm_proxy *p)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", p->tpm_path);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&name, sizeof(name)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void
client_serve(struct lk_tpm_proxy *p, int client)
{
    uint8_t command[MESSAGE_MAX], answer[MESSAGE_MAX];
    size_t command_len, answer_len;
    int tpm = tpm_connect(p);

    while (tpm >= 0 && message_read(client, command, &command_len)) {
        if (!fails(p, command, answer, &answer_len) &&
            (!write_all(tpm, command, command_len) || !message_read(tpm, answer, &answer_len))) {
            break;
        }
        note(p, command, command_len, answer, answer_len);
        if (!write_all(client, answer, answer_len)) {
            break;
        }
    }
    if (tpm >= 0) {
        (void)close(tpm);
    }
}

static void *
thread_run(void *arg)
{
    struct lk_tpm_proxy *p = (struct lk_tpm_proxy *)arg;
    int client;

    while ((client = accept(p->listener, NULL, NULL)) >= 0) {
        client_serve(p, client);
        (void)close(client);
    }
    return NULL;
}

/* ---- start and stop -------------------------------------------------------------------------- */

struct lk_tpm_proxy *
lk_tpm_proxy_start(const struct lk_swtpm *tpm)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct lk_tpm_proxy *p = calloc(1, sizeof(*p));
    char tpm_ctrl[128];

    assert_non_null(p);
    assert_int_equal(sscanf(lk_swtpm_tcti(tpm), "swtpm:path=%95s", p->tpm_path), 1);
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/lk-proxy-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof(p->path), "%s/p", p->dir);
    (void)snprintf(p->ctrl, sizeof(p->ctrl), "%s/p.ctrl", p->dir);
    (void)snprintf(p->tcti, sizeof(p->tcti), "swtpm:path=%s/p", p->dir);
    (void)snprintf(tpm_ctrl, sizeof(tpm_ctrl), "%s.ctrl", p->tpm_path);
    assert_int_equal(symlink(tpm_ctrl, p->ctrl), 0);
    (void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", p->path);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->listener >= 0);
    assert_int_equal(bind(p->listener, (const struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(p->listener, 4), 0);
    assert_int_equal(pthread_mutex_init(&p->lock, NULL), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, thread_run, p), 0);
    return p;
}

void
lk_tpm_proxy_stop(struct lk_tpm_proxy *p)
{
    if (p == NULL) {
        return;
    }
    (void)shutdown(p->listener, SHUT_RDWR); /* ends accept() */
    assert_int_equal(pthread_join(p->thread, NULL), 0);
    (void)close(p->listener);
    (void)pthread_mutex_destroy(&p->lock);
    (void)unlink(p->path);
    (void)unlink(p->ctrl);
    assert_int_equal(rmdir(p->dir), 0);
    free(p->seen);
    free(p);
}

const char *
lk_tpm_proxy_tcti(const struct lk_tpm_proxy *p)
{
    return p->tcti;
}

/* ---- what was seen --------------------------------------------------------------------------- */

void
lk_tpm_proxy_reset(struct lk_tpm_proxy *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->seen_len = 0;
    p->count = 0;
    p->fail_in = 0;
    p->fail_from = 0;
    p->failing = false;
    (void)pthread_mutex_unlock(&p->lock);
}

bool
lk_tpm_proxy_saw(struct lk_tpm_proxy *p, const void *bytes, size_t len)
{
    bool found;

    (void)pthread_mutex_lock(&p->lock);
    found = p->seen_len > 0 && memmem(p->seen, p->seen_len, bytes, len) != NULL;
    (void)pthread_mutex_unlock(&p->lock);
    return found;
}

size_t
lk_tpm_proxy_commands(struct lk_tpm_proxy *p)
{
    size_t count;

    (void)pthread_mutex_lock(&p->lock);
    count = p->count;
    (void)pthread_mutex_unlock(&p->lock);
    return count;
}

/* TPM 2.0 Part 2, 6.6: format one codes carry a number in bits 6 and 8 to 11. */
static uint32_t
bare(uint32_t rc)
{
    return (rc & 0x80) != 0 ? rc & 0xbf : rc;
}

size_t
lk_tpm_proxy_answers(struct lk_tpm_proxy *p, uint32_t rc)
{
    size_t count = 0;

    (void)pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        count += bare(p->answers[i]) == bare(rc);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return count;
}

size_t
lk_tpm_proxy_sent(struct lk_tpm_proxy *p, uint32_t command_code)
{
    size_t count = 0;

    (void)pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        count += p->commands[i] == command_code;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return count;
}

void
lk_tpm_proxy_fail(struct lk_tpm_proxy *p, size_t nth, uint32_t rc)
{
    (void)pthread_mutex_lock(&p->lock);
    p->fail_in = nth;
    p->fail_rc = rc;
    p->failed = false;
    (void)pthread_mutex_unlock(&p->lock);
}

void
lk_tpm_proxy_fail_from(struct lk_tpm_proxy *p, uint32_t command_code, uint32_t rc)
{
    (void)pthread_mutex_lock(&p->lock);
    p->fail_from = command_code;
    p->fail_rc = rc;
    p->failed = false;
    (void)pthread_mutex_unlock(&p->lock);
}

bool
lk_tpm_proxy_failed(struct lk_tpm_proxy *p)
{
    bool failed;

    (void)pthread_mutex_lock(&p->lock);
    failed = p->failed;
    (void)pthread_mutex_unlock(&p->lock);
    return failed;
}
