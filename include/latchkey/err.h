/*
 * Error codes of Latchkey: one enumeration for the device SDK and the service.
 *
 * A code answers "what can the caller do", not "which line failed": retry, fix the own call, blame
 * the peer, accept a refusal, or give up. lk_err_kind() tells which.
 */
#ifndef LK_ERR_H
#define LK_ERR_H

#ifdef __cplusplus
#define LK_BEGIN_DECLS extern "C" {
#define LK_END_DECLS }
#else
#define LK_BEGIN_DECLS
#define LK_END_DECLS
#endif

#if defined(__GNUC__)
#define LK_MUST_CHECK __attribute__((warn_unused_result))
#define LK_EXPORT __attribute__((visibility("default")))
#else
#define LK_MUST_CHECK
#define LK_EXPORT
#endif

LK_BEGIN_DECLS

enum lk_err {
    LK_OK = 0,
    LK_ERR_ARG = 1,          /* the caller broke a documented precondition */
    LK_ERR_NOMEM = 2,        /* out of memory */
    LK_ERR_FORMAT = 3,       /* bytes from outside do not have the documented form */
    LK_ERR_LIMIT = 4,        /* well formed, but larger than a named limit */
    LK_ERR_UNSUPPORTED = 5,  /* well formed, but a kind that is not served */
    LK_ERR_REFUSED = 6,      /* credentials or evidence were judged and refused */
    LK_ERR_NOT_FOUND = 7,    /* the thing named does not exist */
    LK_ERR_EXISTS = 8,       /* the thing to be created exists already */
    LK_ERR_PRECONDITION = 9, /* an etag or generation is not the current one */
    LK_ERR_BUSY = 10,        /* overloaded or locked: try again later */
    LK_ERR_TIMEOUT = 11,     /* the deadline passed first */
    LK_ERR_CANCELLED = 12,   /* the caller asked to stop */
    LK_ERR_IO = 13,          /* a file or descriptor failed; errno says more */
    LK_ERR_NETWORK = 14,     /* could not reach the peer, or the connection broke */
    LK_ERR_TLS = 15,         /* the peer's certificate or handshake was not acceptable */
    LK_ERR_PROTOCOL = 16,    /* the peer answered outside the protocol */
    LK_ERR_CRYPTO = 17,      /* the cryptographic library failed */
    LK_ERR_STORE = 18,       /* the database failed */
    LK_ERR_SCHEMA = 19,   /* the database has a schema that is newer than this program, or none */
    LK_ERR_CONFIG = 20,   /* a configuration value is not acceptable */
    LK_ERR_TPM = 21,      /* the TPM answered with an error */
    LK_ERR_TPM_AUTH = 22, /* a hierarchy or object password was not the right one */
    LK_ERR_TPM_LOCKOUT = 23, /* the TPM is in dictionary-attack lockout, or asks to retry */
    LK_ERR_COUNT             /* number of codes, not a code */
};

/* What the caller can do about an error. */
enum lk_err_kind {
    LK_KIND_OK,
    LK_KIND_RETRY,  /* the same call may succeed later */
    LK_KIND_CALLER, /* fix the call or the configuration */
    LK_KIND_PEER,   /* the other side sent something unacceptable */
    LK_KIND_REFUSE, /* the request was understood and refused */
    LK_KIND_GIVE_UP /* nothing here can repair it */
};

/* The kind of err. A value outside the enumeration is LK_KIND_GIVE_UP. */
LK_EXPORT enum lk_err_kind lk_err_kind(enum lk_err err);

/* Short stable name, for example "not_found". Static storage, never NULL. */
LK_EXPORT const char *lk_err_name(enum lk_err err);

/* One sentence in English, without a final full stop. Static storage, never NULL. */
LK_EXPORT const char *lk_err_text(enum lk_err err);

LK_END_DECLS

#endif
