/*
 * What goes over the bus between a program and its software TPM: a proxy in front of swtpm that
 * keeps every byte, counts, and lets single commands fail. One client at a time, as swtpm itself.
 * The functions fail the running test (cmocka) when the proxy does not work.
 */
#ifndef LK_TESTS_SUPPORT_TPM_PROXY_H
#define LK_TESTS_SUPPORT_TPM_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/swtpm.h"

struct lk_tpm_proxy;

/* The TPM is borrowed until lk_tpm_proxy_stop(); the client must have left by then. */
struct lk_tpm_proxy *lk_tpm_proxy_start(const struct lk_swtpm *tpm);
void lk_tpm_proxy_stop(struct lk_tpm_proxy *p);

/* The TCTI string of the way through the proxy. */
const char *lk_tpm_proxy_tcti(const struct lk_tpm_proxy *p);

/* Forget what was seen and counted, and the failures that were ordered. */
void lk_tpm_proxy_reset(struct lk_tpm_proxy *p);

/* Since the last reset: did these bytes cross the bus in one piece, in either direction? */
bool lk_tpm_proxy_saw(struct lk_tpm_proxy *p, const void *bytes, size_t len);
size_t lk_tpm_proxy_commands(struct lk_tpm_proxy *p);
/* Answers whose code, without the number of parameter, session or handle, is rc. */
size_t lk_tpm_proxy_answers(struct lk_tpm_proxy *p, uint32_t rc);
/* How often a command (TPM2_CC_...) was sent. */
size_t lk_tpm_proxy_sent(struct lk_tpm_proxy *p, uint32_t command_code);

/*
 * Answer the nth command from now (1: the next) with rc instead of asking the TPM. FlushContext is
 * not counted and always passes: whoever cannot flush cannot clean up.
 */
void lk_tpm_proxy_fail(struct lk_tpm_proxy *p, size_t nth, uint32_t rc);
/* The same for every command, from the first one with this code (TPM2_CC_...) on. */
void lk_tpm_proxy_fail_from(struct lk_tpm_proxy *p, uint32_t command_code, uint32_t rc);
/* Did the failure that was ordered last happen? */
bool lk_tpm_proxy_failed(struct lk_tpm_proxy *p);

#endif
