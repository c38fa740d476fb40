/* What the files of the manifest share: the fields of a row as text, and each form's own part. */
#ifndef LK_WIRE_MANIFEST_INT_H
#define LK_WIRE_MANIFEST_INT_H

#include "base/json.h"
#include "wire/manifest.h"

enum manifest_field {
    FIELD_REGISTRATION_ID,
    FIELD_ENDORSEMENT_KEY,
    FIELD_DEVICE_ID,
    FIELD_PROVISIONING_STATUS,
    FIELD_ALLOCATION_POLICY,
    FIELD_IOT_HUBS,
    FIELD_INITIAL_TWIN,
    FIELD_REPROVISION_POLICY,
    FIELD_WRITTEN_COUNT, /* the fields before this one are written too */
    FIELD_EK_ID = FIELD_WRITTEN_COUNT,
    FIELD_EK_TYPE,
    FIELD_TPM_KIND,
    FIELDS_COUNT
};

const char *lk_manifest_field_name(enum manifest_field field);
LK_MUST_CHECK enum lk_err lk_manifest_field_find(const char *name, size_t len,
                                                 enum manifest_field *ret);

/* Start a row anew at a line. */
void lk_manifest_row_reset(struct lk_manifest_row *row, int64_t line);

/*
 * Take one value. An empty text changes nothing. A list's values are taken one by one. On
 * LK_ERR_FORMAT the problem has field and reason; LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_manifest_value_set(struct lk_manifest_row *row,
                                                enum manifest_field field, const char *text,
                                                size_t len, struct lk_manifest_problem *problem);
/* The initial twin, which is JSON and no text. value is borrowed. */
LK_MUST_CHECK enum lk_err lk_manifest_twin_set(struct lk_manifest_row *row, const json_t *value,
                                               struct lk_manifest_problem *problem);
/* What only the whole row shows: fields that must be there. */
LK_MUST_CHECK enum lk_err lk_manifest_row_check(const struct lk_manifest_row *row,
                                                struct lk_manifest_problem *problem);

/* The values of a field as it is written: how many, and append the index-th one. */
size_t lk_manifest_values_count(const struct lk_manifest_row *row, enum manifest_field field);
LK_MUST_CHECK enum lk_err lk_manifest_value_put(const struct lk_manifest_row *row,
                                                enum manifest_field field, size_t index,
                                                struct lk_buf *ret);

/* Say what is wrong with a field; name and value may be any bytes. Always LK_ERR_FORMAT. */
LK_MUST_CHECK enum lk_err lk_manifest_refuse(struct lk_manifest_problem *problem, const char *name,
                                             const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A short printable excerpt of a value. */
#define EXCERPT_CAP 40u
const char *lk_manifest_excerpt(const char *text, size_t len, char buf[EXCERPT_CAP]);

/* ---- CSV ------------------------------------------------------------------------------------- */

struct csv_text {
    char *p;
    size_t len;
};

enum csv_state {
    CSV_WHOLE, /* the record ends where the text does */
    CSV_OPEN,  /* a quoted field is open: the record goes on in the next line */
    CSV_BAD    /* no CSV; *ret_why says what was expected, *ret_index in which field */
};
enum csv_state lk_csv_scan(const char *text, size_t len, size_t *ret_index, const char **ret_why);

/*
 * Split a whole record into its fields, unquoted in place. LK_ERR_LIMIT when there are more than
 * LK_MANIFEST_COLUMNS_MAX.
 */
LK_MUST_CHECK enum lk_err lk_csv_split(char *text, size_t len,
                                       struct csv_text fields[LK_MANIFEST_COLUMNS_MAX],
                                       size_t *ret_count);

/* Which field each column holds. */
struct csv_columns {
    enum manifest_field fields[LK_MANIFEST_COLUMNS_MAX];
    size_t count; /* 0 until the header has been read */
};
LK_MUST_CHECK enum lk_err lk_csv_header_parse(char *text, size_t len, struct csv_columns *ret,
                                              struct lk_manifest_problem *problem);
LK_MUST_CHECK enum lk_err lk_csv_row_parse(const struct csv_columns *columns, char *text,
                                           size_t len, struct lk_manifest_row *row,
                                           struct lk_manifest_problem *problem);
LK_MUST_CHECK enum lk_err lk_csv_header_format(struct lk_buf *ret);
LK_MUST_CHECK enum lk_err lk_csv_row_format(const struct lk_manifest_row *row, struct lk_buf *ret);

/* ---- JSON lines ------------------------------------------------------------------------------ */

LK_MUST_CHECK enum lk_err lk_jsonl_row_parse(const char *text, size_t len,
                                             struct lk_manifest_row *row,
                                             struct lk_manifest_problem *problem);
LK_MUST_CHECK enum lk_err lk_jsonl_row_format(const struct lk_manifest_row *row,
                                              struct lk_buf *ret);

#endif
