/* Tests of src/wire/manifest*.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/manifest.h"

/* A text as source, given in pieces of a few bytes so that every line crosses some border. */
struct text_source {
    const char *text;
    size_t left, piece;
    enum lk_err fail; /* given instead of the end */
};

static enum lk_err
text_read(void *ctx, void *buf, size_t cap, size_t *ret_len)
{
    struct text_source *s = ctx;
    size_t len = s->left < s->piece ? s->left : s->piece;

    len = len < cap ? len : cap;
    memcpy(buf, s->text, len);
    s->text += len;
    s->left -= len;
    *ret_len = len;
    return len == 0 ? s->fail : LK_OK;
}

/* One reading of a text. */
struct reading {
    struct text_source text;
    struct lk_manifest_reader *reader;
    struct lk_manifest_row row;
    struct lk_manifest_problem problem;
};

static void
reading_fini(struct reading *r)
{
    lk_manifest_reader_free(r->reader);
    lk_manifest_row_fini(&r->row);
}
#define AUTO_READING __attribute__((cleanup(reading_fini))) struct reading

static void
reading_init(struct reading *r, enum lk_manifest_format format, const char *text, size_t len,
             size_t piece)
{
    const struct lk_manifest_source source = {text_read, &r->text};

    r->text = (struct text_source){text, len, piece, LK_OK};
    r->reader = NULL;
    lk_manifest_row_init(&r->row);
    assert_int_equal(lk_manifest_reader_new(format, &source, &r->reader), LK_OK);
}

static enum lk_manifest_verdict
next(struct reading *r)
{
    enum lk_manifest_verdict verdict = LK_MANIFEST_END;

    assert_int_equal(lk_manifest_next(r->reader, &r->row, &r->problem, &verdict), LK_OK);
    return verdict;
}

static void
expect_row(struct reading *r, int64_t line, const char *registration_id)
{
    if (next(r) != LK_MANIFEST_ROW) {
        fail_msg("%s at line %lld: %s", r->problem.field, (long long)r->problem.line,
                 r->problem.reason);
    }
    assert_int_equal(r->row.line, line);
    assert_string_equal(r->row.registration_id, registration_id);
}

static void
expect_bad(struct reading *r, int64_t line, const char *field, const char *reason)
{
    assert_int_equal(next(r), LK_MANIFEST_BAD_ROW);
    assert_int_equal(r->problem.line, line);
    assert_string_equal(r->problem.field, field);
    if (strstr(r->problem.reason, reason) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", r->problem.reason, reason);
    }
}

/* The text is one bad row, for this reason. */
static void
expect_refused(enum lk_manifest_format format, const char *text, const char *field,
               const char *reason)
{
    AUTO_READING r;

    reading_init(&r, format, text, strlen(text), SIZE_MAX);
    expect_bad(&r, format == LK_MANIFEST_CSV ? 2 : 1, field, reason);
    assert_int_equal(next(&r), LK_MANIFEST_END);
}

static void
expect_header_refused(const char *text, const char *field, const char *reason)
{
    AUTO_READING r;
    enum lk_manifest_verdict verdict;

    reading_init(&r, LK_MANIFEST_CSV, text, strlen(text), SIZE_MAX);
    assert_int_equal(lk_manifest_next(r.reader, &r.row, &r.problem, &verdict), LK_ERR_FORMAT);
    assert_string_equal(r.problem.field, field);
    if (strstr(r.problem.reason, reason) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", r.problem.reason, reason);
    }
}

static void
expect_text(struct lk_buf *got, const char *want)
{
    assert_string_equal(lk_buf_text(got), want);
}

#define SHORT "registrationId,endorsementKey\n"

/* ---- CSV: the syntax ------------------------------------------------------------------------- */

/* What a factory line collects, in any order of columns, with either line end, in any pieces. */
static void
csv_factory(void **state)
{
    const char *text = "\xef\xbb\xbf"
                       "tpmKind,ekType,registrationId,ekId,endorsementKey\r\n"
                       "discrete,RSA-2048,dev-1,,AToAAQ==\r\n"
                       "\r\n"
                       "software,RSA-2048,dev-2,"
                       "ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789,ARo=\n"
                       "  \n"
                       "firmware,,dev-3,,\"ARo=\"";

    for (size_t piece = 1; piece < 40; piece++) {
        AUTO_READING r;

        reading_init(&r, LK_MANIFEST_CSV, text, strlen(text), piece);
        expect_row(&r, 2, "dev-1");
        assert_int_equal(r.row.eks_count, 1);
        assert_memory_equal(r.row.eks[0].data, "\x01\x3a\x00\x01", 4);
        assert_false(r.row.software_tpm);
        assert_string_equal(r.row.ek_id, "");
        expect_row(&r, 4, "dev-2");
        assert_true(r.row.software_tpm);
        assert_string_equal(r.row.ek_id, "abcdef0123456789abcdef0123456789"
                                         "abcdef0123456789abcdef0123456789");
        expect_row(&r, 6, "dev-3");
        assert_false(r.row.software_tpm);
        assert_string_equal(r.row.ek_id, "");
        assert_int_equal(next(&r), LK_MANIFEST_END);
        assert_int_equal(next(&r), LK_MANIFEST_END);
    }
}

/* Quotes, doubled quotes, commas and line ends in a field. The row is named by its first line. */
static void
csv_quotes(void **state)
{
    const char *text = "registrationId,initialTwin,endorsementKey\r\n"
                       "dev-1,\"{\"\"tags\"\":\r\n {\"\"a,b\"\": \"\"c\"\"}\n}\",ARo=\r\n"
                       "\"dev-2\",\"\",\"ARo=\"\r\n";
    AUTO_READING r;

    reading_init(&r, LK_MANIFEST_CSV, text, strlen(text), 7);
    expect_row(&r, 2, "dev-1");
    expect_text(&r.row.initial_twin, "{\"tags\":{\"a,b\":\"c\"}}");
    expect_row(&r, 5, "dev-2");
    assert_int_equal(r.row.initial_twin.len, 0);
    assert_int_equal(next(&r), LK_MANIFEST_END);
}

/* A quote out of place spoils its own row only. */
static void
csv_bad_quotes(void **state)
{
    const char *text = SHORT "a\"b,ARo=\n"
                             "dev-2,\"ARo=\"x\n"
                             "dev-3,ARo=\n"
                             "dev-4,\"AR\"\"o=\n"
                             "dev-5,ARo=\n";
    AUTO_READING r;

    reading_init(&r, LK_MANIFEST_CSV, text, strlen(text), 1000);
    expect_bad(&r, 2, "registrationId", "quotes around the whole field");
    expect_bad(&r, 3, "endorsementKey", "after the closing quote");
    expect_row(&r, 4, "dev-3");
    expect_bad(&r, 5, "endorsementKey", "a closing quote; an open quote made one row of the lines");
    assert_int_equal(next(&r), LK_MANIFEST_END);
}

/* Too few and too many fields, and a row that is one quote. */
static void
csv_field_counts(void **state)
{
    expect_refused(LK_MANIFEST_CSV, SHORT "dev-1\n", "", "2 fields");
    expect_refused(LK_MANIFEST_CSV, SHORT "dev-1,ARo=,\n", "", "2 fields");
    expect_refused(LK_MANIFEST_CSV, SHORT ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\n", "", "2 fields");
    expect_refused(LK_MANIFEST_CSV, SHORT "\"", "registrationId", "closing quote");
}

/* A NUL is no text, wherever it is. */
static void
nul_bytes(void **state)
{
    const char csv[] = SHORT "dev-1\0,ARo=\n";
    const char json[] = "{\"registrationId\":\"dev-1\"\0}";
    AUTO_READING a;
    AUTO_READING b;

    reading_init(&a, LK_MANIFEST_CSV, csv, sizeof(csv) - 1, 9);
    expect_bad(&a, 2, "", "NUL");
    reading_init(&b, LK_MANIFEST_JSONL, json, sizeof(json) - 1, 9);
    expect_bad(&b, 1, "", "NUL");
}

/* ---- CSV: the header ------------------------------------------------------------------------- */

/* Nothing, columns that nobody knows, that are there twice, or that are needed and missing. */
static void
csv_header(void **state)
{
    expect_header_refused("", "", "column names");
    expect_header_refused("\n\r\n", "", "column names");
    expect_header_refused("\"registrationId", "", "expected a closing quote");
    expect_header_refused("registrationId,endorsmentKey\n", "endorsmentKey", "no such column");
    expect_header_refused("RegistrationId,endorsementKey\n", "RegistrationId", "no such column");
    expect_header_refused("registrationId,endorsementKey,\n", "", "no such column");
    expect_header_refused("registrationId,endorsementKey,registrationId\n", "registrationId",
                          "twice");
    expect_header_refused("registrationId,deviceId\n", "endorsementKey", "no such column");
    expect_header_refused("endorsementKey\n", "registrationId", "no such column");
    expect_header_refused("registrationId;endorsementKey\n", "registrationId;endorsementKey",
                          "no such column");
    expect_header_refused("\x1b[2J,\xc3\xa9\n", "?[2J", "no such column");
    expect_header_refused("dev-1,ARo=\n", "dev-1", "no such column");
}

/* ---- JSON lines ------------------------------------------------------------------------------ */

/* What `device show` prints, blank lines between, no line end at the end. */
static void
jsonl_factory(void **state)
{
    const char *text =
        "{\"registrationId\":\"dev-1\",\"endorsementKey\":\"AToAAQ==\",\"ekId\":\"\","
        "\"ekType\":\"RSA-2048\",\"tpmKind\":\"software\"}\n"
        "\n"
        " { \"endorsementKeys\" : [ \"ARo=\", \"AToAAQ==\" ], \"registrationId\":\"dev-2\" }\r\n"
        "{\"registrationId\":\"dev-3\",\"endorsementKey\":\"ARo=\",\"deviceId\":null}";

    for (size_t piece = 1; piece < 40; piece++) {
        AUTO_READING r;

        reading_init(&r, LK_MANIFEST_JSONL, text, strlen(text), piece);
        expect_row(&r, 1, "dev-1");
        assert_true(r.row.software_tpm);
        expect_row(&r, 3, "dev-2");
        assert_false(r.row.software_tpm);
        assert_int_equal(r.row.eks_count, 2);
        assert_memory_equal(r.row.eks[1].data, "\x01\x3a\x00\x01", 4);
        expect_row(&r, 4, "dev-3");
        assert_int_equal(next(&r), LK_MANIFEST_END);
    }
}

/* What is no object, has members that nobody knows, twice, or of another kind. */
static void
jsonl_refused(void **state)
{
    const enum lk_manifest_format f = LK_MANIFEST_JSONL;

    expect_refused(f, "[]", "", "one JSON object");
    expect_refused(f, "{", "", "one JSON object");
    expect_refused(f, "{}{}", "", "one JSON object");
    expect_refused(f, "registrationId,endorsementKey", "", "one JSON object");
    expect_refused(f, "{\"registrationId\":\"a\",\"registrationId\":\"a\"}", "", "given twice");
    expect_refused(f, "{\"a\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", "", "nested too deeply");
    expect_refused(f, "{\"etag\":\"x\"}", "etag", "no such member");
    expect_refused(f, "{\"registrationId\":1}", "registrationId", "a text");
    expect_refused(f, "{\"endorsementKey\":[\"ARo=\"]}", "endorsementKey", "a text");
    expect_refused(f, "{\"endorsementKeys\":\"ARo=\"}", "endorsementKeys", "an array");
    expect_refused(f, "{\"endorsementKeys\":[1]}", "endorsementKeys", "a text");
    expect_refused(f, "{\"endorsementKey\":\"ARo=\",\"endorsementKeys\":[\"ARo=\"]}",
                   "endorsementKeys", "only one of it");
    expect_refused(f, "{\"endorsementKeys\":[\"ARo=\"],\"endorsementKey\":\"ARo=\"}",
                   "endorsementKey", "only one of it");
    expect_refused(f, "{\"iotHubs\":\"hub.example.test\"}", "iotHubs", "an array");
    expect_refused(f, "{\"initialTwin\":\"{}\"}", "initialTwin", "a JSON object");
    expect_refused(f, "{\"initialTwin\":[]}", "initialTwin", "a JSON object");
    expect_refused(f, "{}", "registrationId", "is missing");
    expect_refused(f, "{\"registrationId\":\"a\"}", "endorsementKey", "is missing");
    expect_refused(f, "{\"registrationId\":\"a\",\"endorsementKeys\":[]}", "endorsementKey",
                   "is missing");
}

/* ---- the fields, the same in both forms ------------------------------------------------------ */

/* Every field that is written, read from CSV. */
static void
fields_all(void **state)
{
    const char *text = "registrationId,endorsementKey,deviceId,provisioningStatus,"
                       "allocationPolicy,iotHubs,initialTwin,reprovisionPolicy\n"
                       "R.1,ARo=;AToAAQ==  ;,D+1,disabled,static,a.test b.test;c,{},never\n"
                       "R.2,ARo=,,enabled,hashed,,,reset\n"
                       "R.3,ARo=,,,,,,\n"
                       "R.4,ARo=,,,,,,migrate\n";
    AUTO_READING r;

    reading_init(&r, LK_MANIFEST_CSV, text, strlen(text), 100);
    expect_row(&r, 2, "R.1");
    assert_int_equal(r.row.eks_count, 2);
    assert_string_equal(r.row.device_id, "D+1");
    assert_true(r.row.disabled);
    assert_int_equal(r.row.allocation, LK_MANIFEST_ALLOC_STATIC);
    assert_int_equal(r.row.hubs_count, 3);
    assert_string_equal(r.row.hubs[1], "b.test");
    assert_string_equal(r.row.hubs[2], "c");
    expect_text(&r.row.initial_twin, "{}");
    assert_int_equal(r.row.reprovision, LK_MANIFEST_NEVER);
    expect_row(&r, 3, "R.2");
    assert_false(r.row.disabled);
    assert_int_equal(r.row.allocation, LK_MANIFEST_ALLOC_HASHED);
    assert_int_equal(r.row.reprovision, LK_MANIFEST_RESET);
    expect_row(&r, 4, "R.3");
    assert_int_equal(r.row.eks_count, 1);
    assert_string_equal(r.row.device_id, "");
    assert_false(r.row.disabled);
    assert_int_equal(r.row.allocation, LK_MANIFEST_ALLOC_DEFAULT);
    assert_int_equal(r.row.hubs_count, 0);
    assert_int_equal(r.row.initial_twin.len, 0);
    assert_int_equal(r.row.reprovision, LK_MANIFEST_REPROVISION_DEFAULT);
    expect_row(&r, 5, "R.4");
    assert_int_equal(r.row.reprovision, LK_MANIFEST_MIGRATE);
}

static void
expect_value_refused(const char *name, const char *value, const char *reason)
{
    char text[512];

    (void)snprintf(text, sizeof(text), "%s%s\n%s%s\n",
                   strcmp(name, "registrationId") == 0 ? "endorsementKey," : "registrationId,",
                   name, strcmp(name, "registrationId") == 0 ? "ARo=," : "dev-1,", value);
    if (strcmp(name, "registrationId") != 0 && strcmp(name, "endorsementKey") != 0) {
        (void)snprintf(text, sizeof(text), "registrationId,endorsementKey,%s\ndev-1,ARo=,%s\n",
                       name, value);
    }
    expect_refused(LK_MANIFEST_CSV, text, name, reason);
}

/* Each field's error says what was expected and what was there. */
static void
fields_refused(void **state)
{
    expect_value_refused("registrationId", "a/b", "not \"a/b\"");
    expect_value_refused("registrationId", "", "is missing");
    expect_value_refused("registrationId", "\x1b]0;x\x07", "not \"?]0;x?\"");
    expect_value_refused("endorsementKey", "", "is missing");
    expect_value_refused("endorsementKey", ";; ;", "is missing");
    expect_value_refused("endorsementKey", "ARo", "base64 with its padding, not \"ARo\"");
    expect_value_refused("endorsementKey", "ARo= ARp=", "not \"ARp=\"");
    expect_value_refused("deviceId", "a b", "not \"a b\"");
    expect_value_refused("provisioningStatus", "Enabled", "enabled or disabled, not \"Enabled\"");
    expect_value_refused("allocationPolicy", "random",
                         "hashed, geoLatency, static or custom, not \"random\"");
    expect_value_refused("iotHubs", "hub:8883", "host names, not \"hub:8883\"");
    expect_value_refused("initialTwin", "x", "a JSON object");
    expect_value_refused("initialTwin", "1", "a JSON object");
    expect_value_refused("initialTwin", "\"{},{}\"", "a JSON object");
    expect_value_refused("initialTwin", "\"{\"\"a\"\":1,\"\"a\"\":1}\"", "given twice");
    expect_value_refused("reprovisionPolicy", "always", "migrate, reset or never, not \"always\"");
    expect_value_refused("ekId", "abc", "64 hexadecimal digits, not \"abc\"");
    expect_value_refused("ekId", "g000000000000000000000000000000000000000000000000000000000000000",
                         "not \"g00000000000000000000000000000000000...\"");
}

/* A JSON row of a field's count of values and one more. */
static void
counts_limit(enum lk_manifest_format f, const char *before, const char *value, size_t max,
             const char *after, const char *field)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    for (size_t count = max; count <= max + 1; count++) {
        AUTO_READING r;

        lk_buf_reset(&text);
        assert_int_equal(lk_buf_puts(&text, before), LK_OK);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(lk_buf_printf(&text, "%s%s", i == 0 ? "" : ",", value), LK_OK);
        }
        assert_int_equal(lk_buf_puts(&text, after), LK_OK);
        reading_init(&r, f, (const char *)text.data, text.len, 1000);
        if (count == max) {
            expect_row(&r, 1, "a");
        } else {
            expect_bad(&r, 1, field, "at most");
        }
    }
}

/* The most keys and hubs, and one more. */
static void
fields_counts(void **state)
{
    counts_limit(LK_MANIFEST_JSONL, "{\"registrationId\":\"a\",\"endorsementKeys\":[", "\"ARo=\"",
                 LK_MANIFEST_EKS_MAX, "]}", "endorsementKey");
    counts_limit(LK_MANIFEST_JSONL,
                 "{\"registrationId\":\"a\",\"endorsementKey\":\"ARo=\",\"iotHubs\":[", "\"h\"",
                 LK_MANIFEST_HUBS_MAX, "]}", "iotHubs");
}

/* A row of `before`, so many letters and `after`. */
static void
fill_text(struct lk_buf *text, const char *before, char letter, size_t count, const char *after)
{
    lk_buf_reset(text);
    assert_int_equal(lk_buf_puts(text, before), LK_OK);
    memset(lk_buf_extend(text, count), letter, count);
    assert_int_equal(lk_buf_puts(text, after), LK_OK);
}

/* The largest key and twin, and the first that are too large. */
static void
fields_sizes(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    const char *twin = "{\"registrationId\":\"a\",\"endorsementKey\":\"ARo=\","
                       "\"initialTwin\":{\"a\":\"";
    size_t letters = LK_MANIFEST_TWIN_MAX - strlen("{\"a\":\"\"}");

    for (size_t more = 0; more < 2; more++) {
        AUTO_READING key;
        AUTO_READING object;

        fill_text(&text, SHORT "a,", 'A', (LK_MANIFEST_EK_MAX + 2) / 3 * 4 - 4,
                  more ? "AAA=" : "AA==");
        reading_init(&key, LK_MANIFEST_CSV, (const char *)text.data, text.len, 999);
        assert_int_equal(next(&key), more ? LK_MANIFEST_BAD_ROW : LK_MANIFEST_ROW);
        assert_string_equal(key.problem.field, more ? "endorsementKey" : "");
        fill_text(&text, twin, 't', letters + more, "\"}}");
        reading_init(&object, LK_MANIFEST_JSONL, (const char *)text.data, text.len, 999);
        assert_int_equal(next(&object), more ? LK_MANIFEST_BAD_ROW : LK_MANIFEST_ROW);
        assert_string_equal(object.problem.field, more ? "initialTwin" : "");
    }
}

/* ---- limits of the row ----------------------------------------------------------------------- */

/* The longest row, then one that is a byte longer, then a row that is fine again. */
static void
line_limit(void **state)
{
    static const size_t pieces[] = {SIZE_MAX, 4096, 333};
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    const char *row = "{\"registrationId\":\"a\",\"endorsementKey\":\"ARo=\"}";
    size_t spaces = LK_MANIFEST_LINE_MAX - strlen(row);

    assert_int_equal(lk_buf_puts(&text, row), LK_OK);
    memset(lk_buf_extend(&text, spaces), ' ', spaces);
    assert_int_equal(lk_buf_printf(&text, "\n%s", row), LK_OK);
    memset(lk_buf_extend(&text, spaces + 1), ' ', spaces + 1);
    assert_int_equal(lk_buf_printf(&text, "\n%s\n", row), LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(pieces); i++) {
        AUTO_READING r;

        reading_init(&r, LK_MANIFEST_JSONL, (const char *)text.data, text.len, pieces[i]);
        expect_row(&r, 1, "a");
        expect_bad(&r, 2, "", "at most 131072 bytes");
        expect_row(&r, 3, "a");
        assert_int_equal(next(&r), LK_MANIFEST_END);
    }
}

/* A quote that is never closed takes lines until the limit, not the memory; then rows go on. */
static void
open_quote_is_bounded(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    AUTO_READING r;
    int64_t line = 0;

    assert_int_equal(lk_buf_puts(&text, SHORT "\"dev-1,ARo=\n"), LK_OK);
    for (size_t i = 0; i < 20000; i++) {
        assert_int_equal(lk_buf_printf(&text, "dev-%zu,ARo=\n", i), LK_OK);
    }
    reading_init(&r, LK_MANIFEST_CSV, (const char *)text.data, text.len, 4096);
    expect_bad(&r, 2, "", "at most 131072 bytes");
    while (next(&r) == LK_MANIFEST_ROW) {
        line = r.row.line;
    }
    assert_int_equal(line, 20002);
}

/* What the source says comes through, in the header as in a row. */
static void
source_failure(void **state)
{
    AUTO_READING r;
    enum lk_manifest_verdict verdict;

    reading_init(&r, LK_MANIFEST_CSV, "registr", 7, 3);
    r.text.fail = LK_ERR_IO;
    assert_int_equal(lk_manifest_next(r.reader, &r.row, &r.problem, &verdict), LK_ERR_IO);
    lk_manifest_reader_free(r.reader);
    lk_manifest_row_fini(&r.row);
    reading_init(&r, LK_MANIFEST_CSV, SHORT "dev", strlen(SHORT "dev"), 100);
    r.text.fail = LK_ERR_IO;
    assert_int_equal(lk_manifest_next(r.reader, &r.row, &r.problem, &verdict), LK_ERR_IO);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void
rows_equal(struct lk_manifest_row *a, struct lk_manifest_row *b)
{
    assert_string_equal(a->registration_id, b->registration_id);
    assert_int_equal(a->eks_count, b->eks_count);
    for (size_t i = 0; i < a->eks_count; i++) {
        assert_int_equal(a->eks[i].len, b->eks[i].len);
        assert_memory_equal(a->eks[i].data, b->eks[i].data, a->eks[i].len);
    }
    assert_string_equal(a->device_id, b->device_id);
    assert_int_equal(a->disabled, b->disabled);
    assert_int_equal(a->allocation, b->allocation);
    assert_int_equal(a->hubs_count, b->hubs_count);
    for (size_t i = 0; i < a->hubs_count; i++) {
        assert_string_equal(a->hubs[i], b->hubs[i]);
    }
    assert_int_equal(a->initial_twin.len, b->initial_twin.len);
    if (a->initial_twin.len > 0) {
        assert_memory_equal(a->initial_twin.data, b->initial_twin.data, a->initial_twin.len);
    }
    assert_int_equal(a->reprovision, b->reprovision);
}

static void
round_trip(enum lk_manifest_format format, struct lk_manifest_row *row)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    AUTO_READING r;

    assert_int_equal(lk_manifest_header_format(format, &text), LK_OK);
    assert_int_equal(lk_manifest_row_format(format, row, &text), LK_OK);
    reading_init(&r, format, (const char *)text.data, text.len, 1000);
    expect_row(&r, format == LK_MANIFEST_CSV ? 2 : 1, row->registration_id);
    rows_equal(&r.row, row);
    assert_int_equal(next(&r), LK_MANIFEST_END);
}

/* Each example row, written in either form, reads the same. */
static void
format_round_trips(void **state)
{
    const char *text =
        "{\"registrationId\":\"a\",\"endorsementKey\":\"ARo=\"}\n"
        "{\"registrationId\":\"A:b_c.d-\",\"endorsementKeys\":[\"ARo=\",\"AToAAQ==\"],"
        "\"deviceId\":\"d,\\u0027=;$@\",\"provisioningStatus\":\"disabled\","
        "\"allocationPolicy\":\"geoLatency\",\"iotHubs\":[\"a.test\",\"b.test\"],"
        "\"initialTwin\":{\"tags\":{\"x\":\"\\\"q\\\", \\n\xc3\xa9 "
        ";\"},\"properties\":{\"desired\":{}}},"
        "\"reprovisionPolicy\":\"never\"}\n"
        "{\"registrationId\":\"b\",\"endorsementKey\":\"ARo=\",\"allocationPolicy\":\"custom\","
        "\"initialTwin\":{},\"reprovisionPolicy\":\"reset\"}\n";
    AUTO_READING r;
    size_t rows = 0;

    reading_init(&r, LK_MANIFEST_JSONL, text, strlen(text), 1000);
    while (next(&r) == LK_MANIFEST_ROW) {
        round_trip(LK_MANIFEST_CSV, &r.row);
        round_trip(LK_MANIFEST_JSONL, &r.row);
        rows++;
    }
    assert_int_equal(rows, 3);
}

/* The bytes of both forms: defaults are left out where they can be, quotes only where needed. */
static void
format_bytes(void **state)
{
    const char *text = "{\"registrationId\":\"a\",\"endorsementKeys\":[\"ARo=\",\"AA==\"],"
                       "\"initialTwin\":{\"a\":1},\"iotHubs\":[\"h\",\"i\"]}\n";
    LK_AUTO_BUF struct lk_buf csv = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf jsonl = LK_BUF_INIT;
    AUTO_READING r;

    reading_init(&r, LK_MANIFEST_JSONL, text, strlen(text), 1000);
    expect_row(&r, 1, "a");
    assert_int_equal(lk_manifest_header_format(LK_MANIFEST_CSV, &csv), LK_OK);
    assert_int_equal(lk_manifest_row_format(LK_MANIFEST_CSV, &r.row, &csv), LK_OK);
    expect_text(&csv, "registrationId,endorsementKey,deviceId,provisioningStatus,allocationPolicy,"
                      "iotHubs,initialTwin,reprovisionPolicy\r\n"
                      "a,ARo= AA==,,enabled,,h i,\"{\"\"a\"\":1}\",\r\n");
    assert_int_equal(lk_manifest_header_format(LK_MANIFEST_JSONL, &jsonl), LK_OK);
    assert_int_equal(lk_manifest_row_format(LK_MANIFEST_JSONL, &r.row, &jsonl), LK_OK);
    expect_text(&jsonl, "{\"registrationId\":\"a\",\"endorsementKeys\":[\"ARo=\",\"AA==\"],"
                        "\"provisioningStatus\":\"enabled\",\"iotHubs\":[\"h\",\"i\"],"
                        "\"initialTwin\":{\"a\":1}}\n");
}

/* The largest row there can be fits a line in both forms. */
static void
format_largest(void **state)
{
    struct lk_manifest_row row;

    lk_manifest_row_init(&row);
    memset(row.registration_id, 'r', LK_REGISTRATION_ID_MAX);
    memset(row.device_id, '\'', LK_DEVICE_ID_MAX);
    row.eks_count = LK_MANIFEST_EKS_MAX;
    for (size_t i = 0; i < LK_MANIFEST_EKS_MAX; i++) {
        memset(lk_buf_extend(&row.eks[i], LK_MANIFEST_EK_MAX), 0xff, LK_MANIFEST_EK_MAX);
    }
    row.hubs_count = LK_MANIFEST_HUBS_MAX;
    for (size_t i = 0; i < LK_MANIFEST_HUBS_MAX; i++) {
        for (size_t k = 0; k < LK_HOST_NAME_MAX; k++) {
            row.hubs[i][k] = k % 2 == 0 ? 'h' : '.';
        }
    }
    fill_text(&row.initial_twin, "{\"a\":\"", 't', LK_MANIFEST_TWIN_MAX - 8, "\"}");
    for (size_t k = 6; k + 3 < row.initial_twin.len; k += 2) {
        memcpy(row.initial_twin.data + k, "\\\"", 2); /* quotes, which CSV doubles */
    }
    round_trip(LK_MANIFEST_CSV, &row);
    round_trip(LK_MANIFEST_JSONL, &row);
    lk_manifest_row_fini(&row);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_factory),    cmocka_unit_test(csv_quotes),
        cmocka_unit_test(csv_bad_quotes), cmocka_unit_test(csv_field_counts),
        cmocka_unit_test(nul_bytes),      cmocka_unit_test(csv_header),
        cmocka_unit_test(jsonl_factory),  cmocka_unit_test(jsonl_refused),
        cmocka_unit_test(fields_all),     cmocka_unit_test(fields_refused),
        cmocka_unit_test(fields_counts),  cmocka_unit_test(fields_sizes),
        cmocka_unit_test(line_limit),     cmocka_unit_test(open_quote_is_bounded),
        cmocka_unit_test(source_failure), cmocka_unit_test(format_round_trips),
        cmocka_unit_test(format_bytes),   cmocka_unit_test(format_largest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
