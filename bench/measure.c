/* Clocks and what /proc says. */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void
must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "bench: %s failed (%s)\n", what, strerror(errno));
        exit(1);
    }
}

static double
clock_us(clockid_t id)
{
    struct timespec t;

    must(clock_gettime(id, &t) == 0, "reading a clock");
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

double
now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

double
thread_cpu_us(void)
{
    return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

/* The first line of a file, or "" when it cannot be read. */
static void
line_read(const char *path, char *buf, int cap)
{
    FILE *f = fopen(path, "re");

    if (f == NULL || fgets(buf, cap, f) == NULL) {
        buf[0] = 0;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

/* Time on a CPU of all threads, from schedstat; 0 when the kernel keeps none. */
static double
schedstat_us(pid_t pid)
{
    char path[320], line[128];
    struct dirent *entry;
    double sum_us = 0;
    DIR *tasks;

    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    must(tasks != NULL, "looking at the process");
    while ((entry = readdir(tasks)) != NULL) {
        (void)snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
        if (entry->d_name[0] != '.') {
            line_read(path, line, sizeof(line));
            sum_us += strtod(line, NULL) / 1e3;
        }
    }
    (void)closedir(tasks);
    return sum_us;
}

struct cpu_time
process_cpu(pid_t pid)
{
    const double tick_us = 1e6 / (double)sysconf(_SC_CLK_TCK);
    unsigned long user = 0, sys = 0;
    struct cpu_time cpu;
    char path[64], line[1024];
    const char *after_name;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    line_read(path, line, sizeof(line));
    after_name = strrchr(line, ')'); /* fields 14 and 15 of proc(5) */
    must(after_name != NULL &&
             sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                    &sys) == 2,
         "reading the process's times");
    cpu.user_us = (double)user * tick_us;
    cpu.sys_us = (double)sys * tick_us;
    cpu.all_us = schedstat_us(pid);
    if (cpu.all_us == 0) {
        cpu.all_us = cpu.user_us + cpu.sys_us;
    }
    return cpu;
}

double
process_rss_kib(pid_t pid)
{
    char path[64], line[128];
    unsigned long resident = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    line_read(path, line, sizeof(line));
    must(sscanf(line, "%*u %lu", &resident) == 1, "reading the process's memory");
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double
quantile(double *values, unsigned count, double p)
{
    if (count == 0) {
        return 0;
    }
    qsort(values, count, sizeof(*values), compare);
    return values[(unsigned)(p * (count - 1) + 0.5)];
}
