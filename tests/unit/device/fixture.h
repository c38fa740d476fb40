/* One software TPM for each test of src/device, with a way in beside the SDK and a check that
 * nothing was left in it. */
#ifndef LK_TESTS_DEVICE_FIXTURE_H
#define LK_TESTS_DEVICE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <tss2/tss2_esys.h>

#include <latchkey/latchkey.h>

#include "attest/attest.h"
#include "support/swtpm.h"
#include "support/tpm_proxy.h"

/* TPM 2.0 Part 2, 7.4 and table 29, as numbers: tpm2-tss shifts into the sign bit. */
#define FIRST_TRANSIENT 0x80000000u
#define FIRST_PERSISTENT 0x81000000u
#define FIRST_LOADED_SESSION 0x02000000u
#define FIRST_SAVED_SESSION 0x03000000u

struct fixture {
    struct lk_swtpm *tpm;
    struct lk_tpm_proxy *proxy;
    const char *tcti; /* through the proxy */
};

/* cmocka's setup and teardown: the latter fails when an object or session was left behind. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Open the SDK's view of the fixture's TPM with these options (tcti is filled in). */
struct lk_tpm *fixture_open(const struct fixture *f, struct lk_tpm_opts opts);

/* ---- beside the SDK; no struct lk_tpm may be open meanwhile -----------------------------------
 */

size_t fixture_handles(const struct fixture *f, uint32_t first, uint32_t *ret, size_t cap);
void fixture_no_leak(const struct fixture *f);
void fixture_set_password(const struct fixture *f, ESYS_TR hierarchy, const char *password);
void fixture_clear(const struct fixture *f); /* TPM2_Clear */
/* A storage key, of no use to the SDK, at a persistent handle. */
void fixture_occupy(const struct fixture *f, uint32_t handle);

#endif
