/* A device of the load: keys in software, and a whole registration as a client would do it. */
#ifndef LK_BENCH_DEVICE_H
#define LK_BENCH_DEVICE_H

#include "client.h"
#include "support/softtpm.h"

struct device;

/* Device number index in scope, with keys of its own. The caller frees it. */
struct device *device_new(const struct softtpm_light *light, const char *scope, uint32_t index);
void device_free(struct device *d);

/* Its line of the import file, with a newline, appended to ret. */
void device_manifest(const struct device *d, struct lk_buf *ret);

/* How long the parts of one registration took, in microseconds. */
struct flow {
    double connect_us;   /* TCP and TLS */
    double challenge_us; /* the first register, request to answer */
    double register_us;  /* the second */
    double poll_us;      /* the poll; all of them when there were several */
    double total_us;     /* connect to `assigned`, the device's own work included */
};

/*
 * Register on a fresh connection that is kept for the whole flow, and open what came. It polls at
 * once where a client would wait for Retry-After. NULL when the device was assigned and its TPM
 * took the key, else what went wrong (static storage).
 */
const char *device_register(const struct device *d, const struct target *t, struct flow *ret);

#endif
