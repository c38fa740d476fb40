/*
 * To be preloaded into a service: memory that runs out, and a disk that takes nothing any more. The
 * test decides when, by a page that both have mapped; it is the file that LK_FAULTS names
 * (tests/system/lib/faults.py). With all zero nothing is different.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct faults {
    _Atomic uint32_t alloc_one_in; /* so many allocations, one fails */
    _Atomic uint32_t write_errno;  /* of writing to the database's files */
    _Atomic uint32_t sync_errno;   /* of making that durable */
    _Atomic uint32_t happened;
};

static struct faults none;
static struct faults *faults = &none;

static void attach(void) __attribute__((constructor));

static void
attach(void)
{
    const char *path = getenv("LK_FAULTS");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page = fd >= 0 ? mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                         : MAP_FAILED;

    if (page == MAP_FAILED) {
        (void)fputs("faults: LK_FAULTS does not name a file to map\n", stderr);
        _exit(1);
    }
    faults = page;
    (void)close(fd);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* What glibc calls its own. */
extern void *__libc_malloc(size_t len);
extern void *__libc_calloc(size_t count, size_t len);
extern void *__libc_realloc(void *p, size_t len);

/*
 * By chance, a sequence of each thread's own. Never twice in a row: whoever gives up a reserve for
 * what it could not get has it then, as when memory really is short.
 */
static bool
is_unlucky(void)
{
    static _Thread_local uint64_t draw;
    static _Thread_local bool was_unlucky;
    uint32_t one_in = atomic_load_explicit(&faults->alloc_one_in, memory_order_relaxed);

    if (one_in == 0) {
        return false;
    }
    if (draw == 0) {
        draw = (uint64_t)gettid() * 0x9e3779b97f4a7c15u;
    }
    draw ^= draw << 13;
    draw ^= draw >> 7;
    draw ^= draw << 17;
    was_unlucky = !was_unlucky && draw % one_in == 0;
    if (was_unlucky) {
        atomic_fetch_add(&faults->happened, 1);
        errno = ENOMEM;
    }
    return was_unlucky;
}

EXPORT void *
malloc(size_t len)
{
    return is_unlucky() ? NULL : __libc_malloc(len);
}

EXPORT void *
calloc(size_t count, size_t len)
{
    return is_unlucky() ? NULL : __libc_calloc(count, len);
}

EXPORT void *
realloc(void *p, size_t len)
{
    return is_unlucky() ? NULL : __libc_realloc(p, len);
}

/* ---- disk ------------------------------------------------------------------------------------ */

/* The library's own function of that name, once; pointers to functions do not fit one to data. */
#define REAL(name)                                                                                 \
    static __typeof__(name) *real;                                                                 \
    if (real == NULL) {                                                                            \
        *(void **)&real = dlsym(RTLD_NEXT, #name);                                                 \
    }

static bool
is_database(int fd)
{
    char link[32], path[512];
    ssize_t len;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    path[len > 0 ? len : 0] = '\0';
    return strstr(path, "/latchkey.db") != NULL;
}

static bool
is_refused(int fd, const _Atomic uint32_t *why)
{
    uint32_t error = atomic_load_explicit(why, memory_order_relaxed);

    if (error == 0 || !is_database(fd)) {
        return false;
    }
    atomic_fetch_add(&faults->happened, 1);
    errno = (int)error;
    return true;
}

EXPORT ssize_t
pwrite64(int fd, const void *buf, size_t len, off64_t at)
{
    REAL(pwrite64)
    return is_refused(fd, &faults->write_errno) ? -1 : real(fd, buf, len, at);
}

EXPORT int
ftruncate64(int fd, off64_t len)
{
    REAL(ftruncate64)
    return is_refused(fd, &faults->write_errno) ? -1 : real(fd, len);
}

EXPORT int
fdatasync(int fd)
{
    REAL(fdatasync)
    return is_refused(fd, &faults->sync_errno) ? -1 : real(fd);
}
