/* The parts of the floor that take more than a loop over one call (floor.c). */
#ifndef LK_BENCH_FLOOR_H
#define LK_BENCH_FLOOR_H

/* How long a part is measured, in CPU time. */
#define FLOOR_SLICE_US 400000.0

/* The server's CPU time for one TLS 1.3 handshake in memory: P-256 certificate, X25519. */
double floor_handshake_us(void);

/*
 * The same handshake on a connection over the loopback, which then carries as many requests and
 * answers as a registration has, as long as they are, and ends: the kernel's part and the records.
 * Whatever the server reads is there already, so nothing is spent on waiting.
 */
double floor_connection_us(void);

/*
 * What making a registration durable costs on SQLite with prepared statements: each one's own rows
 * (rows_us), and each commit, which registrations share (commit_us). The database is made in
 * folder.
 */
struct floor_commit {
    double rows_us, commit_us;
};
struct floor_commit floor_commit_measure(const char *folder);

#endif
