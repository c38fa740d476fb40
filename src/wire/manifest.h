/*
 * Enrollment manifests: what a factory line writes (`latchkey device show --manifest`), an operator
 * imports and the service exports. One row is one enrollment, as CSV or as JSON lines.
 *
 * CSV is RFC 4180: a header row with the column names in any order, fields quoted where they need
 * it, lines ended by CRLF or LF. JSON lines hold one object each. Blank lines are skipped, a byte
 * order mark at the start too. In both forms the names are:
 *
 *   registrationId      required
 *   endorsementKey      required: base64 of a TPM2B_PUBLIC; in CSV several, separated by spaces or
 *                       ';', in JSON an array of texts called endorsementKeys instead
 *   deviceId            default: the registration ID
 *   provisioningStatus  enabled (default) or disabled
 *   allocationPolicy    hashed, geoLatency, static or custom; default: the service's
 *   iotHubs             host names; in CSV separated by spaces or ';', in JSON an array
 *   initialTwin         a JSON object; in CSV its text
 *   reprovisionPolicy   migrate, reset or never; default: migrate, as nobody's choice
 *   ekId                the key's identity, for a cross-check
 *   ekType              for people, not read
 *   tpmKind             "software" marks a TPM that proves nothing about hardware
 *
 * An empty field, an empty text and null are the same as none. Another name is an error: a column
 * that was misspelt would be lost without a word otherwise.
 */
#ifndef LK_WIRE_MANIFEST_H
#define LK_WIRE_MANIFEST_H

#include "wire/ids.h"

#define LK_MANIFEST_LINE_MAX ((size_t)128 * 1024) /* bytes of a row without its line end */
#define LK_MANIFEST_EKS_MAX 8u                    /* keys of a row */
#define LK_MANIFEST_EK_MAX ((size_t)1024)         /* bytes of a decoded key */
#define LK_MANIFEST_HUBS_MAX 16u                  /* host names of a row */
#define LK_MANIFEST_TWIN_MAX ((size_t)40 * 1024)  /* bytes of an initial twin as compact JSON */
#define LK_MANIFEST_COLUMNS_MAX 32u               /* of a CSV row */
#define LK_MANIFEST_EK_ID_CAP 65u                 /* an identity in hexadecimal, with its NUL */

enum lk_manifest_format { LK_MANIFEST_CSV, LK_MANIFEST_JSONL };

enum lk_manifest_allocation {
    LK_MANIFEST_ALLOC_DEFAULT,
    LK_MANIFEST_ALLOC_HASHED,
    LK_MANIFEST_ALLOC_GEO,
    LK_MANIFEST_ALLOC_STATIC,
    LK_MANIFEST_ALLOC_CUSTOM
};

enum lk_manifest_reprovision {
    LK_MANIFEST_REPROVISION_DEFAULT, /* migrate, which nobody chose */
    LK_MANIFEST_MIGRATE,             /* move to another hub with the device's data */
    LK_MANIFEST_RESET,               /* move, and start from the initial twin */
    LK_MANIFEST_NEVER                /* stay where the device is */
};

struct lk_manifest_row {
    int64_t line; /* where it begins, from 1; not written */
    char registration_id[LK_REGISTRATION_ID_MAX + 1];
    struct lk_buf eks[LK_MANIFEST_EKS_MAX]; /* TPM2B_PUBLIC, decoded from base64, not judged */
    size_t eks_count;
    char device_id[LK_DEVICE_ID_MAX + 1]; /* "" when absent */
    bool disabled;
    enum lk_manifest_allocation allocation;
    char hubs[LK_MANIFEST_HUBS_MAX][LK_HOST_NAME_MAX + 1];
    size_t hubs_count;
    struct lk_buf initial_twin; /* compact JSON; empty when absent */
    enum lk_manifest_reprovision reprovision;
    char ek_id[LK_MANIFEST_EK_ID_CAP]; /* lower case; "" when absent; not written */
    bool software_tpm;                 /* not written */
};

/* An empty row. It is some 5 KB and holds on to its memory from row to row. */
void lk_manifest_row_init(struct lk_manifest_row *row);
void lk_manifest_row_fini(struct lk_manifest_row *row);

/* What is wrong with a row, in words for whoever made it. Printable, whatever the row held. */
struct lk_manifest_problem {
    int64_t line;     /* where the row begins */
    char field[64];   /* the name of the column or member; "" when it is the row as a whole */
    char reason[192]; /* what was expected */
};

/* Where the bytes come from. *ret_len 0 is the end. Called again only after it gave something. */
struct lk_manifest_source {
    enum lk_err (*read)(void *ctx, void *buf, size_t cap, size_t *ret_len);
    void *ctx;
};

struct lk_manifest_reader;

/* source is copied, its ctx borrowed until lk_manifest_reader_free(). LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err lk_manifest_reader_new(enum lk_manifest_format format,
                                                 const struct lk_manifest_source *source,
                                                 struct lk_manifest_reader **ret);
void lk_manifest_reader_free(struct lk_manifest_reader *m);
LK_DEFINE_AUTO(struct lk_manifest_reader, lk_manifest_reader, lk_manifest_reader_free);

enum lk_manifest_verdict { LK_MANIFEST_ROW, LK_MANIFEST_BAD_ROW, LK_MANIFEST_END };

/*
 * Read the next row. LK_OK with *ret_verdict:
 *
 *   LK_MANIFEST_ROW      row is set
 *   LK_MANIFEST_BAD_ROW  problem is set; the next call goes on after that row
 *   LK_MANIFEST_END      there are no more rows
 *
 * LK_ERR_FORMAT when the header row is not acceptable, with problem set: nothing can be read.
 * LK_ERR_NOMEM, and what the source says. Memory does not grow with the rows.
 */
LK_MUST_CHECK enum lk_err lk_manifest_next(struct lk_manifest_reader *m,
                                           struct lk_manifest_row *row,
                                           struct lk_manifest_problem *problem,
                                           enum lk_manifest_verdict *ret_verdict);

/* Append the header row, which JSON lines have none of. */
LK_MUST_CHECK enum lk_err lk_manifest_header_format(enum lk_manifest_format format,
                                                    struct lk_buf *ret);
/* Append the row with its line end. A row that was read comes out as one that reads the same. */
LK_MUST_CHECK enum lk_err lk_manifest_row_format(enum lk_manifest_format format,
                                                 const struct lk_manifest_row *row,
                                                 struct lk_buf *ret);

#endif
