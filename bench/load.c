/*
 * The load generator: many software devices register with a running service, some at a time, each
 * on a connection of its own, and the service's CPU time is read from /proc. Keys are made before
 * anything is measured.
 *
 * usage: bench-load --port N --admin-port N --pid N --scope ID --manifest FILE --import COMMAND
 *                   [--devices N] [--warm-up N] [--concurrency N] [--idle N]
 *
 * It writes the manifest, runs COMMAND with the manifest's name after it, and prints a JSON object.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"
#include "device.h"

#define DEVICES_MAX 1000000u
#define THREADS_MAX 1024u
#define IDLE_MAX 20000u

struct options {
    unsigned port, admin_port, devices, warm_up, concurrency, idle;
    pid_t pid;
    const char *scope, *manifest, *import;
};

/* ---- devices
 * ------------------------------------------------------------------------------------- */

struct fleet {
    struct device **devices;
    unsigned count;
};

static struct fleet
fleet_make(const struct options *o, const struct softtpm_light *light)
{
    struct fleet f = {calloc(o->devices + o->warm_up, sizeof(*f.devices)), o->devices + o->warm_up};

    must(f.devices != NULL, "making devices");
    for (unsigned i = 0; i < f.count; i++) {
        f.devices[i] = device_new(light, o->scope, i);
    }
    return f;
}

static void
fleet_import(const struct options *o, const struct fleet *f)
{
    LK_AUTO_BUF struct lk_buf line = LK_BUF_INIT, command = LK_BUF_INIT;
    FILE *file = fopen(o->manifest, "we");

    must(file != NULL, "writing the manifest");
    for (unsigned i = 0; i < f->count; i++) {
        lk_buf_reset(&line);
        device_manifest(f->devices[i], &line);
        must(fwrite(line.data, 1, line.len, file) == line.len, "writing the manifest");
    }
    must(fclose(file) == 0, "writing the manifest");
    must(lk_buf_printf(&command, "%s %s >&2", o->import, o->manifest) == LK_OK &&
             lk_buf_text(&command) != NULL && system(lk_buf_text(&command)) == 0,
         "importing the manifest");
}

/* ---- a run: threads take device after device
 * ------------------------------------------------------ */

struct run {
    const struct target *target;
    struct device **devices;
    struct flow *flows;
    const char **problems; /* NULL where it went well */
    unsigned count;
    atomic_uint next;
};

static void *
run_thread(void *arg)
{
    struct run *r = arg;
    unsigned i;

    while ((i = atomic_fetch_add(&r->next, 1)) < r->count) {
        r->problems[i] = device_register(r->devices[i], r->target, &r->flows[i]);
    }
    return NULL;
}

/* Returns the seconds that it took. */
static double
run_all(struct run *r, unsigned threads_count)
{
    const double began_us = now_us();
    pthread_t threads[THREADS_MAX];

    r->flows = calloc(r->count + 1, sizeof(*r->flows));
    r->problems = calloc(r->count + 1, sizeof(*r->problems));
    must(r->flows != NULL && r->problems != NULL, "making room for results");
    for (unsigned i = 0; i < threads_count; i++) {
        must(pthread_create(&threads[i], NULL, run_thread, r) == 0, "starting a thread");
    }
    for (unsigned i = 0; i < threads_count; i++) {
        must(pthread_join(threads[i], NULL) == 0, "joining a thread");
    }
    return (now_us() - began_us) / 1e6;
}

/* How many went wrong; the first is named on standard error. */
static unsigned
run_problems(const struct run *r)
{
    unsigned count = 0;

    for (unsigned i = 0; i < r->count; i++) {
        if (r->problems[i] != NULL && count++ == 0) {
            fprintf(stderr, "bench-load: device %u: %s\n", i, r->problems[i]);
        }
    }
    return count;
}

static void
run_free(struct run *r)
{
    free(r->flows);
    free(r->problems);
}

/* ---- what the service says of itself
 * -------------------------------------------------------------- */

struct counts {
    double commits, jobs, handshakes, requests, assigned;
};

static double
metric_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at == NULL ? 0 : strtod(at + strlen(name), NULL);
}

static struct counts
counts_read(unsigned admin_port)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const struct target t = target_of(admin_port, false);
    struct client *c = malloc(sizeof(*c));
    struct reply reply;
    struct counts counts;

    must(c != NULL && client_open(c, &t) &&
             client_exchange(c, request, sizeof(request) - 1, &reply) && reply.status == 200,
         "reading /metrics");
    counts.commits = metric_of(reply.body, "\nlatchkey_store_commits_total ");
    counts.jobs = metric_of(reply.body, "\nlatchkey_store_jobs_total ");
    counts.handshakes = metric_of(reply.body, "\nlatchkey_tls_handshakes_total ");
    counts.requests = metric_of(reply.body, "\nlatchkey_http_requests_total ");
    counts.assigned = metric_of(reply.body, "\nlatchkey_registrations_total{result=\"assigned\"} ");
    client_close(c);
    free(c);
    return counts;
}

/* ---- idle connections
 * ----------------------------------------------------------------------------- */

/* KiB that the service grows by for count connections that have shaken hands and say nothing. */
static double
measure_idle(const struct options *o, const struct target *t)
{
    struct client **clients = calloc(o->idle + 1, sizeof(struct client *));
    const double before_kib = process_rss_kib(o->pid);
    double grown_kib;

    must(clients != NULL, "making clients");
    for (unsigned i = 0; i < o->idle; i++) {
        clients[i] = malloc(sizeof(struct client));
        must(clients[i] != NULL && client_open(clients[i], t), "opening an idle connection");
    }
    (void)usleep(200000);
    grown_kib = process_rss_kib(o->pid) - before_kib;
    for (unsigned i = 0; i < o->idle; i++) {
        client_close(clients[i]);
        free(clients[i]);
    }
    free(clients);
    (void)usleep(200000); /* for the service to see them go */
    return grown_kib;
}

/* ---- the report
 * ------------------------------------------------------------------------------------ */

static void
print_quantiles(const struct run *r, const char *name, size_t offset)
{
    double *values = calloc(r->count + 1, sizeof(double));

    must(values != NULL, "making room for results");
    for (unsigned i = 0; i < r->count; i++) {
        memcpy(&values[i], (const char *)&r->flows[i] + offset, sizeof(double));
    }
    printf(" \"%s\": {\"p50_us\": %.0f, \"p99_us\": %.0f},\n", name,
           quantile(values, r->count, 0.50), quantile(values, r->count, 0.99));
    free(values);
}

static double
own_cpu_us(void)
{
    struct rusage usage;

    must(getrusage(RUSAGE_SELF, &usage) == 0, "reading own CPU time");
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Measure the run and print it. Returns how many registrations failed. */
static unsigned
measure_run(const struct options *o, struct run *r)
{
    const struct counts counts = counts_read(o->admin_port);
    const struct cpu_time cpu = process_cpu(o->pid);
    const double own_us = own_cpu_us(), seconds = run_all(r, o->concurrency);
    const struct cpu_time spent = process_cpu(o->pid);
    const double load_us = own_cpu_us() - own_us;
    const struct counts counted = counts_read(o->admin_port);
    const unsigned failed = run_problems(r);

    printf(" \"devices\": %u, \"concurrency\": %u, \"failed\": %u, \"seconds\": %.3f,\n", r->count,
           o->concurrency, failed, seconds);
    printf(" \"server_cpu_us\": %.2f, \"server_user_us\": %.2f, \"server_sys_us\": %.2f,\n",
           (spent.all_us - cpu.all_us) / r->count, (spent.user_us - cpu.user_us) / r->count,
           (spent.sys_us - cpu.sys_us) / r->count);
    printf(" \"load_cpu_us\": %.2f,\n", load_us / r->count);
    printf(" \"commits\": %.0f, \"jobs\": %.0f, \"handshakes\": %.0f, \"requests\": %.0f, "
           "\"assigned\": %.0f,\n",
           counted.commits - counts.commits, counted.jobs - counts.jobs,
           counted.handshakes - counts.handshakes, counted.requests - counts.requests,
           counted.assigned - counts.assigned);
    print_quantiles(r, "connect", offsetof(struct flow, connect_us));
    print_quantiles(r, "challenge", offsetof(struct flow, challenge_us));
    print_quantiles(r, "register", offsetof(struct flow, register_us));
    print_quantiles(r, "poll", offsetof(struct flow, poll_us));
    print_quantiles(r, "registration", offsetof(struct flow, total_us));
    return failed;
}

static struct options
options_read(int argc, char **argv)
{
    static const struct option known[] = {{"port", required_argument, NULL, 'p'},
                                          {"admin-port", required_argument, NULL, 'a'},
                                          {"pid", required_argument, NULL, 'P'},
                                          {"scope", required_argument, NULL, 's'},
                                          {"manifest", required_argument, NULL, 'm'},
                                          {"import", required_argument, NULL, 'i'},
                                          {"devices", required_argument, NULL, 'd'},
                                          {"warm-up", required_argument, NULL, 'w'},
                                          {"idle", required_argument, NULL, 'I'},
                                          {"concurrency", required_argument, NULL, 'c'},
                                          {NULL, 0, NULL, 0}};
    struct options o = {.devices = 2000, .warm_up = 200, .concurrency = 64, .idle = 1000};
    unsigned *const numbers[256] = {
        ['p'] = &o.port,    ['a'] = &o.admin_port, ['d'] = &o.devices,
        ['w'] = &o.warm_up, ['I'] = &o.idle,       ['c'] = &o.concurrency};
    const char **const texts[256] = {['s'] = &o.scope, ['m'] = &o.manifest, ['i'] = &o.import};
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (c == 'P') {
            o.pid = (pid_t)strtol(optarg, NULL, 10);
        } else if (numbers[c & 0xff] != NULL) {
            *numbers[c & 0xff] = (unsigned)strtoul(optarg, NULL, 10);
        } else if (texts[c & 0xff] != NULL) {
            *texts[c & 0xff] = optarg;
        } else {
            exit(64);
        }
    }
    if (o.port == 0 || o.admin_port == 0 || o.pid <= 0 || o.scope == NULL || o.manifest == NULL ||
        o.import == NULL || o.devices == 0 || o.devices + o.warm_up > DEVICES_MAX ||
        o.concurrency == 0 || o.concurrency > THREADS_MAX || o.idle > IDLE_MAX) {
        fprintf(stderr, "bench-load: see the top of bench/load.c for its options\n");
        exit(64);
    }
    return o;
}

int
main(int argc, char **argv)
{
    const struct options o = options_read(argc, argv);
    const struct target target = target_of(o.port, true);
    LK_AUTO(softtpm_light) struct softtpm_light *light = softtpm_light_new();
    struct fleet fleet = fleet_make(&o, light);
    struct run warm_up = {.target = &target, .devices = fleet.devices, .count = o.warm_up};
    struct run run = {.target = &target, .devices = fleet.devices + o.warm_up, .count = o.devices};
    unsigned failed;

    fleet_import(&o, &fleet);
    (void)run_all(&warm_up, o.concurrency);
    failed = run_problems(&warm_up);
    printf("{\"idle_connections\": %u, \"idle_kib\": %.0f,\n", o.idle, measure_idle(&o, &target));
    failed += measure_run(&o, &run);
    printf(" \"rss_kib\": %.0f}\n", process_rss_kib(o.pid));
    run_free(&warm_up);
    run_free(&run);
    for (unsigned i = 0; i < fleet.count; i++) {
        device_free(fleet.devices[i]);
    }
    free(fleet.devices);
    return failed == 0 ? 0 : 1;
}
