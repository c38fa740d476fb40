/*
 * What lookups cost in a store that bench/large.py has filled.
 *
 * usage: bench-large make URL        create the store, with the ID scope
 *        bench-large look URL KIND ROWS REGISTERED COUNT COMMIT_EVERY
 *
 * KIND is ek, id, registration or page (PAGE_ROWS enrollments behind a random one). Each of COUNT
 * lookups is a read job for a random one of ROWS devices, of which the first REGISTERED have a
 * registration. Between COMMIT_EVERY lookups there is one commit, which empties the reading
 * connection's page cache, as it does in the service; 0: none. All is done PASSES times, with the
 * same devices: the first pass meets what the kernel had cached. CPU time and I/O are those of the
 * reading thread, which with SQLite does all the work.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench.h"
#include "store/store.h"

#define SCOPE "0ne00000001"
#define PAGE_ROWS 100u
#define PASSES 2

enum kind { BY_EK, BY_ID, REGISTRATION, PAGE, KINDS };
static const char *const kind_names[KINDS] = {"ek", "id", "registration", "page"};

/* Of this thread, so far or in between. */
struct usage {
    double cpu_us, read_calls, read_bytes, disk_bytes, faults;
};

struct look {
    enum kind kind;
    uint64_t rows, registered, random, rows_found;
    char id[LK_REGISTRATION_ID_MAX + 1]; /* of this lookup */
    uint8_t ek_id[LK_EK_ID_LEN];
    struct lk_enrollment enrollment;
    struct lk_registration registration;
};

static struct usage
usage_io(void)
{
    struct usage u = {0};
    FILE *f = fopen("/proc/thread-self/io", "re");
    char line[128];

    must(f != NULL, "reading /proc/thread-self/io");
    while (fgets(line, sizeof(line), f) != NULL) {
        const char *value = strchr(line, ' ');
        double n = value != NULL ? strtod(value, NULL) : 0;

        if (strncmp(line, "rchar:", 6) == 0) {
            u.read_bytes = n;
        } else if (strncmp(line, "syscr:", 6) == 0) {
            u.read_calls = n;
        } else if (strncmp(line, "read_bytes:", 11) == 0) {
            u.disk_bytes = n;
        }
    }
    (void)fclose(f);
    return u;
}

static double
faults_now(void)
{
    struct rusage r;

    must(getrusage(RUSAGE_THREAD, &r) == 0, "asking for page faults");
    return (double)(r.ru_minflt + r.ru_majflt);
}

static struct usage
usage_begin(void)
{
    struct usage u = usage_io();

    u.faults = faults_now();
    u.cpu_us = thread_cpu_us();
    return u;
}

/* Add what was used since begin to sum, less what looking takes. */
static void
usage_end(const struct usage *begin, const struct usage *looking, struct usage *sum)
{
    double cpu_us = thread_cpu_us(), faults = faults_now();
    struct usage now = usage_io();

    sum->cpu_us += cpu_us - begin->cpu_us - looking->cpu_us;
    sum->faults += faults - begin->faults;
    sum->read_calls += now.read_calls - begin->read_calls - looking->read_calls;
    sum->read_bytes += now.read_bytes - begin->read_bytes - looking->read_bytes;
    sum->disk_bytes += now.disk_bytes - begin->disk_bytes;
}

/* The same sequence of devices in each pass. */
static uint64_t
random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* As bench/large.py makes them. */
static void
device_choose(struct look *l)
{
    uint64_t of = l->kind == REGISTRATION ? l->registered : l->rows;
    uint64_t number = random_next(&l->random) % of;
    char text[64];
    struct lk_part part;

    (void)snprintf(l->id, sizeof(l->id), "device-%09" PRIu64, number);
    (void)snprintf(text, sizeof(text), "ek-%" PRIu64, number);
    part = LK_PART(text, strlen(text));
    must(lk_digest(LK_SHA256, &part, 1, l->ek_id) == LK_OK, "hashing");
}

static enum lk_err
row_count(void *ctx, const struct lk_enrollment *e)
{
    (void)e;
    ((struct look *)ctx)->rows_found++;
    return LK_OK;
}

static enum lk_err
lookup_run(struct lk_txn *tx, void *arg)
{
    struct look *l = arg;
    char found[LK_REGISTRATION_ID_MAX + 1];
    enum lk_err err = LK_OK;

    switch (l->kind) {
    case BY_EK:
        err = lk_txn_enrollment_by_ek(tx, SCOPE, l->ek_id, found);
        break;
    case BY_ID:
        err = lk_txn_enrollment_get(tx, SCOPE, l->id, &l->enrollment);
        break;
    case REGISTRATION:
        err = lk_txn_registration_get(tx, SCOPE, l->id, &l->registration);
        break;
    case PAGE:
        return lk_txn_enrollment_page(tx, SCOPE, l->id, PAGE_ROWS, row_count, l);
    case KINDS:
        return LK_ERR_ARG;
    }
    l->rows_found += err == LK_OK;
    return err;
}

/* A small commit; what is put is another each time, since SQLite does not write what is there. */
static enum lk_err
commit_run(struct lk_txn *tx, void *arg)
{
    struct lk_hub hub = {.name = "bench.example.test", .kind = LK_HUB_EMBEDDED};

    hub.weight = (uint32_t)(1 + ((const struct look *)arg)->random % 1000);
    return lk_txn_hub_put(tx, &hub);
}

static void
pass_print(const char *kind, int pass, uint64_t count, const struct look *l, const struct usage *u)
{
    double n = (double)count;

    printf("%s{\"kind\": \"%s\", \"pass\": %d, \"lookups\": %" PRIu64 ", \"rows\": %.2f,"
           " \"cpu_us\": %.3f, \"read_calls\": %.3f, \"read_bytes\": %.1f, \"disk_bytes\": %.1f,"
           " \"faults\": %.3f}",
           pass > 1 ? ",\n" : "[", kind, pass, count, (double)l->rows_found / n, u->cpu_us / n,
           u->read_calls / n, u->read_bytes / n, u->disk_bytes / n, u->faults / n);
}

static struct usage
looking_measure(void)
{
    const struct usage none = {0};
    struct usage sum = {0}, begin;

    for (int i = 0; i < 100; i++) {
        begin = usage_begin();
        usage_end(&begin, &none, &sum);
    }
    return (struct usage){.cpu_us = sum.cpu_us / 100,
                          .read_calls = sum.read_calls / 100,
                          .read_bytes = sum.read_bytes / 100};
}

static struct usage
pass_run(struct lk_session *s, struct look *l, uint64_t count, uint64_t commit_every,
         const struct usage *looking)
{
    struct usage sum = {0};
    uint64_t block = commit_every > 0 ? commit_every : 1000;

    for (uint64_t done = 0; done < count;) {
        struct usage begin;

        if (commit_every > 0) {
            must(lk_store_write_wait(s, commit_run, l) == LK_OK, "a commit");
        }
        begin = usage_begin();
        for (uint64_t i = 0; i < block && done < count; i++, done++) {
            device_choose(l);
            must(lk_store_read_wait(s, lookup_run, l) == LK_OK, "a lookup");
        }
        usage_end(&begin, looking, &sum);
    }
    return sum;
}

static uint64_t
number(const char *text)
{
    return strtoull(text, NULL, 10);
}

static void
look(struct lk_session *s, char **argv)
{
    struct look l = {.rows = number(argv[1]), .registered = number(argv[2])};
    struct usage looking = looking_measure(), sum;
    uint64_t count = number(argv[3]);

    while (l.kind < KINDS && strcmp(kind_names[l.kind], argv[0]) != 0) {
        l.kind++;
    }
    must(l.kind < KINDS && l.rows > 0 && l.registered > 0 && count > 0, "understanding arguments");
    lk_enrollment_init(&l.enrollment);
    for (int pass = 1; pass <= PASSES; pass++) {
        l.random = 1;
        l.rows_found = 0;
        sum = pass_run(s, &l, count, number(argv[4]), &looking);
        pass_print(argv[0], pass, count, &l, &sum);
    }
    printf("]\n");
    lk_enrollment_fini(&l.enrollment);
    lk_registration_fini(&l.registration);
}

static enum lk_err
scope_run(struct lk_txn *tx, void *arg)
{
    (void)arg;
    return lk_txn_scope_add(tx, SCOPE);
}

int
main(int argc, char **argv)
{
    bool make = argc == 3 && strcmp(argv[1], "make") == 0;
    struct lk_store_config config = {.url = argc > 2 ? argv[2] : NULL, .create = make};
    LK_AUTO(lk_store) struct lk_store *store = NULL;
    LK_AUTO(lk_session) struct lk_session *session = NULL;
    char error[LK_STORE_ERROR_CAP] = "";

    if (!make && (argc != 8 || strcmp(argv[1], "look") != 0)) {
        fprintf(stderr, "usage: bench-large make URL\n"
                        "       bench-large look URL KIND ROWS REGISTERED COUNT COMMIT_EVERY\n");
        return 64;
    }
    must(lk_crypto_init() == LK_OK, "OpenSSL");
    if (lk_store_open(&config, error, &store) != LK_OK ||
        lk_session_open(store, &session) != LK_OK) {
        fprintf(stderr, "bench-large: %s\n", error);
        return 1;
    }
    if (make) {
        must(lk_store_write_wait(session, scope_run, NULL) == LK_OK, "adding the scope");
        return 0;
    }
    look(session, argv + 3);
    return 0;
}
