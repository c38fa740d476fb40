#include "base/err.h"

#include <stddef.h>
#include <sysexits.h>

#include "base/auto.h"

/* One row for each code: a new code that lacks a row does not compile (see the assertion below). */
static const struct row {
    const char *name;
    const char *text;
    enum lk_err_kind kind;
    int http_status;
    int exit_code;
} rows[] = {
    [LK_OK] = {"ok", "success", LK_KIND_OK, 200, EX_OK},
    [LK_ERR_ARG] = {"argument", "a documented precondition of the call was not met", LK_KIND_CALLER,
                    500, EX_USAGE},
    [LK_ERR_NOMEM] = {"no_memory", "out of memory", LK_KIND_RETRY, 503, EX_OSERR},
    [LK_ERR_FORMAT] = {"format", "the data does not have the documented form", LK_KIND_PEER, 400,
                       EX_DATAERR},
    [LK_ERR_LIMIT] = {"limit", "the data is larger than the limit", LK_KIND_PEER, 413, EX_DATAERR},
    [LK_ERR_UNSUPPORTED] = {"unsupported", "a kind that is not supported", LK_KIND_PEER, 400,
                            EX_DATAERR},
    [LK_ERR_REFUSED] = {"refused", "refused", LK_KIND_REFUSE, 401, EX_NOPERM},
    [LK_ERR_NOT_FOUND] = {"not_found", "not found", LK_KIND_REFUSE, 404, EX_UNAVAILABLE},
    [LK_ERR_EXISTS] = {"exists", "exists already", LK_KIND_REFUSE, 409, EX_CANTCREAT},
    [LK_ERR_PRECONDITION] = {"precondition", "changed by somebody else in the meantime",
                             LK_KIND_REFUSE, 412, EX_TEMPFAIL},
    [LK_ERR_BUSY] = {"busy", "busy, try again later", LK_KIND_RETRY, 503, EX_TEMPFAIL},
    [LK_ERR_TIMEOUT] = {"timeout", "the deadline passed", LK_KIND_RETRY, 503, EX_TEMPFAIL},
    [LK_ERR_CANCELLED] = {"cancelled", "cancelled", LK_KIND_CALLER, 500, EX_TEMPFAIL},
    [LK_ERR_IO] = {"io", "a file or descriptor failed", LK_KIND_GIVE_UP, 500, EX_IOERR},
    [LK_ERR_NETWORK] = {"network", "the peer could not be reached, or the connection broke",
                        LK_KIND_RETRY, 502, EX_NOHOST},
    [LK_ERR_TLS] = {"tls", "the peer's certificate or handshake was not acceptable", LK_KIND_PEER,
                    502, EX_PROTOCOL},
    [LK_ERR_PROTOCOL] = {"protocol", "the peer answered outside the protocol", LK_KIND_PEER, 502,
                         EX_PROTOCOL},
    [LK_ERR_CRYPTO] = {"crypto", "the cryptographic library failed", LK_KIND_RETRY, 503,
                       EX_SOFTWARE},
    [LK_ERR_STORE] = {"store", "the database failed", LK_KIND_RETRY, 503, EX_IOERR},
    [LK_ERR_SCHEMA] = {"schema", "the database has no schema, or one newer than this program",
                       LK_KIND_CALLER, 500, EX_CONFIG},
    [LK_ERR_CONFIG] = {"config", "a configuration value is not acceptable", LK_KIND_CALLER, 500,
                       EX_CONFIG},
    [LK_ERR_TPM] = {"tpm", "the TPM answered with an error", LK_KIND_GIVE_UP, 500, EX_UNAVAILABLE},
    [LK_ERR_TPM_AUTH] = {"tpm_auth", "a TPM hierarchy or object password was not the right one",
                         LK_KIND_CALLER, 500, EX_NOPERM},
    [LK_ERR_TPM_LOCKOUT] = {"tpm_lockout", "the TPM is in lockout or asks to retry", LK_KIND_RETRY,
                            503, EX_TEMPFAIL},
};
_Static_assert(LK_ARRAY_LEN(rows) == LK_ERR_COUNT, "every error code has a row");

static const struct row *
row_of(enum lk_err err)
{
    static const struct row unknown = {"unknown", "unknown error", LK_KIND_GIVE_UP, 500,
                                       EX_SOFTWARE};

    if ((unsigned)err >= LK_ARRAY_LEN(rows)) {
        return &unknown;
    }
    return &rows[err];
}

enum lk_err_kind
lk_err_kind(enum lk_err err)
{
    return row_of(err)->kind;
}

const char *
lk_err_name(enum lk_err err)
{
    return row_of(err)->name;
}

const char *
lk_err_text(enum lk_err err)
{
    return row_of(err)->text;
}

int
lk_err_http_status(enum lk_err err)
{
    return row_of(err)->http_status;
}

int
lk_err_exit_code(enum lk_err err)
{
    return row_of(err)->exit_code;
}
