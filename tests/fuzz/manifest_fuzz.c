/*
 * Manifests in both forms. Every row that is accepted is written in both forms and read again as
 * the same; every problem is printable; and reading ends.
 */
#include <string.h>

#include "fuzz.h"
#include "wire/manifest.h"

struct bytes {
    const uint8_t *p;
    size_t left;
};

static enum lk_err
bytes_read(void *ctx, void *buf, size_t cap, size_t *ret_len)
{
    struct bytes *b = ctx;
    size_t len = b->left < 61 ? b->left : 61; /* so that lines cross borders */

    len = len < cap ? len : cap;
    if (len > 0) {
        memcpy(buf, b->p, len);
    }
    b->p += len;
    b->left -= len;
    *ret_len = len;
    return LK_OK;
}

static bool
buf_equal(const struct lk_buf *a, const struct lk_buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void
expect_same(const struct lk_manifest_row *a, const struct lk_manifest_row *b)
{
    check(strcmp(a->registration_id, b->registration_id) == 0);
    check(strcmp(a->device_id, b->device_id) == 0 && a->disabled == b->disabled);
    check(a->allocation == b->allocation && a->reprovision == b->reprovision);
    check(a->eks_count == b->eks_count && a->hubs_count == b->hubs_count);
    for (size_t i = 0; i < a->eks_count; i++) {
        check(buf_equal(&a->eks[i], &b->eks[i]));
    }
    for (size_t i = 0; i < a->hubs_count; i++) {
        check(strcmp(a->hubs[i], b->hubs[i]) == 0);
    }
    check(buf_equal(&a->initial_twin, &b->initial_twin));
}

static void
round_trip(enum lk_manifest_format format, const struct lk_manifest_row *row)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(lk_manifest_reader) struct lk_manifest_reader *m = NULL;
    struct lk_manifest_problem problem;
    enum lk_manifest_verdict verdict;
    struct lk_manifest_row again;
    struct bytes bytes;
    const struct lk_manifest_source source = {bytes_read, &bytes};

    check(lk_manifest_header_format(format, &text) == LK_OK);
    check(lk_manifest_row_format(format, row, &text) == LK_OK);
    bytes = (struct bytes){text.data, text.len};
    lk_manifest_row_init(&again);
    check(lk_manifest_reader_new(format, &source, &m) == LK_OK);
    check(lk_manifest_next(m, &again, &problem, &verdict) == LK_OK && verdict == LK_MANIFEST_ROW);
    expect_same(row, &again);
    check(lk_manifest_next(m, &again, &problem, &verdict) == LK_OK && verdict == LK_MANIFEST_END);
    lk_manifest_row_fini(&again);
}

static void
expect_printable(const char *text, size_t cap)
{
    check(memchr(text, 0, cap) != NULL);
    for (; *text != '\0'; text++) {
        check(*text >= ' ' && *text <= '~');
    }
}

static void
read_as(enum lk_manifest_format format, const uint8_t *data, size_t size)
{
    LK_AUTO(lk_manifest_reader) struct lk_manifest_reader *m = NULL;
    struct lk_manifest_problem problem;
    enum lk_manifest_verdict verdict = LK_MANIFEST_ROW;
    struct lk_manifest_row row;
    struct bytes bytes = {data, size};
    const struct lk_manifest_source source = {bytes_read, &bytes};
    int64_t line = 0;

    lk_manifest_row_init(&row);
    check(lk_manifest_reader_new(format, &source, &m) == LK_OK);
    while (verdict != LK_MANIFEST_END) {
        enum lk_err err = lk_manifest_next(m, &row, &problem, &verdict);

        expect_printable(problem.field, sizeof(problem.field));
        expect_printable(problem.reason, sizeof(problem.reason));
        if (err != LK_OK) {
            check(err == LK_ERR_FORMAT && problem.reason[0] != '\0');
            break;
        }
        check(verdict == LK_MANIFEST_END || problem.line > line);
        line = problem.line;
        if (verdict == LK_MANIFEST_ROW) {
            check(row.line == line && row.eks_count > 0);
            round_trip(LK_MANIFEST_CSV, &row);
            round_trip(LK_MANIFEST_JSONL, &row);
        } else {
            check(verdict == LK_MANIFEST_END || problem.reason[0] != '\0');
        }
    }
    lk_manifest_row_fini(&row);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as(LK_MANIFEST_CSV, data, size);
    read_as(LK_MANIFEST_JSONL, data, size);
    return 0;
}
