/* Reading a manifest: bytes into lines, lines into records, records into rows. */
#include "wire/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "wire/manifest_int.h"

struct lk_manifest_reader {
    enum lk_manifest_format format;
    struct lk_manifest_source source;
    struct csv_columns columns;
    struct lk_buf record; /* the row that is being read */
    int64_t line;         /* number of the latest line that was begun, from 1 */
    bool ended;           /* the source has no more */
    size_t chunk_at, chunk_len;
    char chunk[32 * 1024]; /* what was read from the source and is not yet used */
};

enum lk_err
lk_manifest_reader_new(enum lk_manifest_format format, const struct lk_manifest_source *source,
                       struct lk_manifest_reader **ret)
{
    struct lk_manifest_reader *m = (struct lk_manifest_reader *)malloc(sizeof(*m));

    if (m == NULL) {
        return LK_ERR_NOMEM;
    }
    m->format = format;
    m->source = *source;
    m->columns.count = 0;
    m->record = (struct lk_buf){.max = LK_MANIFEST_LINE_MAX};
    m->line = 0;
    m->ended = false;
    m->chunk_at = m->chunk_len = 0;
    *ret = m;
    return LK_OK;
}

void
lk_manifest_reader_free(struct lk_manifest_reader *m)
{
    if (m == NULL) {
        return;
    }
    lk_buf_fini(&m->record);
    lk_wipe(m->chunk, sizeof(m->chunk));
    free(m);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static enum lk_err
chunk_fill(struct lk_manifest_reader *m)
{
    enum lk_err err;

    if (m->chunk_at < m->chunk_len || m->ended) {
        return LK_OK;
    }
    m->chunk_at = m->chunk_len = 0;
    err = m->source.read(m->source.ctx, m->chunk, sizeof(m->chunk), &m->chunk_len);
    m->ended = err != LK_OK || m->chunk_len == 0;
    return err;
}

/*
 * Append the next line to the record, without its LF. *ret_read is false at the end.
 * LK_ERR_LIMIT when the record would become too long; the line has been passed all the same.
 */
static enum lk_err
line_append(struct lk_manifest_reader *m, bool *ret_read)
{
    bool begun = false, too_long = false, ends = false;
    enum lk_err err;

    while (!ends) {
        const char *start, *lf;
        size_t len;

        if ((err = chunk_fill(m)) != LK_OK) {
            return err;
        }
        if (m->chunk_at == m->chunk_len) {
            break;
        }
        m->line += begun ? 0 : 1;
        begun = true;
        start = m->chunk + m->chunk_at;
        lf = memchr(start, '\n', m->chunk_len - m->chunk_at);
        ends = lf != NULL;
        len = ends ? (size_t)(lf - start) : m->chunk_len - m->chunk_at;
        m->chunk_at += len + (ends ? 1 : 0);
        err = too_long ? LK_OK : lk_buf_put(&m->record, start, len);
        if (err != LK_OK && err != LK_ERR_LIMIT) {
            return err;
        }
        too_long = too_long || err == LK_ERR_LIMIT;
    }
    *ret_read = begun;
    return too_long ? LK_ERR_LIMIT : LK_OK;
}

/* ---- records --------------------------------------------------------------------------------- */

static enum lk_err
refuse_record(struct lk_manifest_problem *problem, enum lk_err err)
{
    return err == LK_ERR_LIMIT
               ? lk_manifest_refuse(problem, "", "expected a row of at most %zu bytes",
                                    LK_MANIFEST_LINE_MAX)
               : err;
}

static const char *
column_name(const struct lk_manifest_reader *m, size_t index)
{
    return index < m->columns.count ? lk_manifest_field_name(m->columns.fields[index]) : "";
}

static bool
has_open_quote(const struct lk_buf *record)
{
    bool open = false;

    for (size_t i = 0; i < record->len; i++) {
        open = record->data[i] == '"' ? !open : open;
    }
    return open;
}

/*
 * Go on to the line where the quote that is open is closed. In a record without errors that is
 * where the quotes are even, so it is scanned twice at most, however many lines it has.
 */
static enum lk_err
csv_continue(struct lk_manifest_reader *m, bool *ret_closed)
{
    bool open = true, more = true;
    enum lk_err err;

    while (open && more) {
        size_t before = m->record.len;
        struct lk_buf tail;

        if ((err = lk_buf_put_u8(&m->record, '\n')) != LK_OK ||
            (err = line_append(m, &more)) != LK_OK) {
            return err;
        }
        tail = (struct lk_buf){.data = m->record.data + before, .len = m->record.len - before};
        open ^= has_open_quote(&tail);
    }
    *ret_closed = !open;
    return LK_OK;
}

/* The bytes of the record without the CR of its line end. */
static size_t
record_len(const struct lk_buf *record)
{
    return record->len > 0 && record->data[record->len - 1] == '\r' ? record->len - 1 : record->len;
}

/* See that the record is one of CSV, and read the lines that belong to it too. */
static enum lk_err
csv_complete(struct lk_manifest_reader *m, struct lk_manifest_problem *problem)
{
    const struct lk_buf *r = &m->record;
    size_t index = 0;
    const char *why = NULL;
    bool closed = true;
    enum csv_state at = lk_csv_scan((const char *)r->data, record_len(r), &index, &why);
    enum lk_err err;

    if (at == CSV_OPEN) {
        if ((err = csv_continue(m, &closed)) != LK_OK) {
            return refuse_record(problem, err);
        }
        at = closed ? lk_csv_scan((const char *)r->data, record_len(r), &index, &why) : at;
    }
    if (at == CSV_WHOLE) {
        return LK_OK;
    }
    return m->line == problem->line
               ? lk_manifest_refuse(problem, column_name(m, index), "%s", why)
               : lk_manifest_refuse(problem, column_name(m, index),
                                    "%s; an open quote made one row of the lines up to %lld", why,
                                    (long long)m->line);
}

/* A byte order mark at the start of the file is no part of the first row. */
static void
mark_drop(struct lk_manifest_reader *m)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    struct lk_buf *r = &m->record;

    if (m->line == 1 && r->len >= sizeof(mark) && memcmp(r->data, mark, sizeof(mark)) == 0) {
        r->len -= sizeof(mark);
        memmove(r->data, r->data + sizeof(mark), r->len);
    }
}

static bool
record_is_blank(const struct lk_buf *record)
{
    for (size_t i = 0; i < record_len(record); i++) {
        if (record->data[i] != ' ' && record->data[i] != '\t') {
            return false;
        }
    }
    return true;
}

/*
 * Read the next line that is not blank, and what belongs to it. problem has its line from then on.
 * LK_ERR_FORMAT with problem set; *ret_read is false at the end.
 */
static enum lk_err
record_read(struct lk_manifest_reader *m, struct lk_manifest_problem *problem, bool *ret_read)
{
    enum lk_err err;

    do {
        lk_buf_reset(&m->record);
        problem->line = m->line + 1;
        if ((err = line_append(m, ret_read)) != LK_OK || !*ret_read) {
            return refuse_record(problem, err);
        }
        mark_drop(m);
    } while (record_is_blank(&m->record));
    if (m->format == LK_MANIFEST_CSV && (err = csv_complete(m, problem)) != LK_OK) {
        return err;
    }
    m->record.len = record_len(&m->record);
    return memchr(m->record.data, 0, m->record.len) != NULL
               ? lk_manifest_refuse(problem, "", "expected text without NUL bytes")
               : LK_OK;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* LK_ERR_FORMAT: the header is not acceptable. */
static enum lk_err
header_read(struct lk_manifest_reader *m, struct lk_manifest_problem *problem)
{
    bool read = false;
    enum lk_err err;

    if (m->format != LK_MANIFEST_CSV || m->columns.count > 0) {
        return LK_OK;
    }
    if ((err = record_read(m, problem, &read)) != LK_OK) {
        return err;
    }
    if (!read) {
        return lk_manifest_refuse(problem, "", "expected a row of column names");
    }
    return lk_csv_header_parse((char *)m->record.data, m->record.len, &m->columns, problem);
}

enum lk_err
lk_manifest_next(struct lk_manifest_reader *m, struct lk_manifest_row *row,
                 struct lk_manifest_problem *problem, enum lk_manifest_verdict *ret_verdict)
{
    bool read = false;
    enum lk_err err;

    *problem = (struct lk_manifest_problem){.line = m->line + 1};
    if ((err = header_read(m, problem)) != LK_OK) {
        return err;
    }
    err = record_read(m, problem, &read);
    if (err == LK_OK && !read) {
        *ret_verdict = LK_MANIFEST_END;
        return LK_OK;
    }
    if (err == LK_OK) {
        lk_manifest_row_reset(row, problem->line);
        err =
            m->format == LK_MANIFEST_CSV
                ? lk_csv_row_parse(&m->columns, (char *)m->record.data, m->record.len, row, problem)
                : lk_jsonl_row_parse((const char *)m->record.data, m->record.len, row, problem);
    }
    if (err != LK_OK && err != LK_ERR_FORMAT) {
        return err;
    }
    *ret_verdict = err == LK_OK ? LK_MANIFEST_ROW : LK_MANIFEST_BAD_ROW;
    return LK_OK;
}

enum lk_err
lk_manifest_header_format(enum lk_manifest_format format, struct lk_buf *ret)
{
    return format == LK_MANIFEST_CSV ? lk_csv_header_format(ret) : LK_OK;
}

enum lk_err
lk_manifest_row_format(enum lk_manifest_format format, const struct lk_manifest_row *row,
                       struct lk_buf *ret)
{
    return format == LK_MANIFEST_CSV ? lk_csv_row_format(row, ret) : lk_jsonl_row_format(row, ret);
}
