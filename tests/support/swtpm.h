/*
 * A software TPM (swtpm) that a test starts for itself, in a directory of its own. The functions
 * fail the running test (cmocka) when swtpm does not work: a test without its TPM is a failed test.
 */
#ifndef LK_TESTS_SUPPORT_SWTPM_H
#define LK_TESTS_SUPPORT_SWTPM_H

#include <stddef.h>

struct lk_swtpm;

/* Start a freshly made TPM. Stop it with lk_swtpm_stop(). It dies with the test's process too. */
struct lk_swtpm *lk_swtpm_start(void);
void lk_swtpm_stop(struct lk_swtpm *s);

/* The TCTI string. Borrowed until lk_swtpm_stop(). swtpm serves one connection at a time. */
const char *lk_swtpm_tcti(const struct lk_swtpm *s);

#endif
