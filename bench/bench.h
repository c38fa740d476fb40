/* What the benchmark's programs share. */
#ifndef LK_BENCH_BENCH_H
#define LK_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* End the program with what and errno when it did not hold: a benchmark has nothing to save. */
void must(bool holds, const char *what);

/* Microseconds of the monotonic clock, and of this thread's own CPU time. */
double now_us(void);
double thread_cpu_us(void);

/* CPU time of a process since its start. */
struct cpu_time {
    double all_us;  /* exact where the kernel keeps schedstat, else user_us + sys_us */
    double user_us; /* from clock ticks, 10 ms as a rule */
    double sys_us;
};
struct cpu_time process_cpu(pid_t pid);

/* Resident memory of a process, KiB. */
double process_rss_kib(pid_t pid);

/* The p-th part (0 to 1) of count values, which are sorted in place; 0 for no values. */
double quantile(double *values, unsigned count, double p);

#endif
