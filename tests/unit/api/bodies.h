/* Parts of enrollments as JSON has them, made once for a test program. */
#ifndef LK_TEST_BODIES_H
#define LK_TEST_BODIES_H

#include <stddef.h>

#define BODIES_EKS 10u

/* Base64 of a TPM2B_PUBLIC. nr below BODIES_EKS; each is another P-256 key. */
const char *body_ek(size_t nr);
const char *body_srk(void);
/* Base64 of a DER certificate that is in date in 2026: of a device, or of one that signs others. */
const char *body_leaf_cert(size_t nr); /* nr below 2 */
const char *body_ca_cert(void);
/*
 * The text with every '~' replaced by the next of the arguments, which end with NULL, and then
 * every ' by ". The caller frees it.
 */
char *body_make(const char *format, ...) __attribute__((sentinel));

void bodies_free(void);

#endif
