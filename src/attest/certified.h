/* Whether a certificate of an endorsement key is the one of a key that was judged. */
#ifndef LK_ATTEST_CERTIFIED_H
#define LK_ATTEST_CERTIFIED_H

#include "attest/attest.h"
#include "crypto/ek_cert.h"

/* The certified key is ek: algorithm, size, exponent or curve, and every byte of it. */
bool lk_tpm_key_is_certified(const struct lk_tpm_key *ek, const struct lk_ek_cert_facts *cert);

#endif
