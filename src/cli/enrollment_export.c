/* latchkey enrollment export. */
#include <string.h>

#include "cli/cmd_enrollment.h"

enum { OPT_FORMAT = LK_CLI_OPT_COMMAND };

enum lk_err
lk_cli_manifest_format(const char *value, enum lk_manifest_format *ret)
{
    if (strcmp(value, "csv") != 0 && strcmp(value, "jsonl") != 0) {
        return LK_ERR_ARG;
    }
    *ret = strcmp(value, "csv") == 0 ? LK_MANIFEST_CSV : LK_MANIFEST_JSONL;
    return LK_OK;
}

static enum lk_err
export_take(void *ctx, int option, const char *value)
{
    return lk_cli_manifest_format(value, (enum lk_manifest_format *)ctx);
}

static const struct lk_cli_form export_form = {
    .usage = "latchkey enrollment export [--format csv|jsonl] [--scope ID] [SERVICE]",
    .help = "Write the enrollments of an ID scope to standard output, as a manifest that\n"
            "`latchkey enrollment import` takes: those by TPM, for others have no key to name.\n\n"
            "  --format csv|jsonl       default: csv\n" LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){{"format", required_argument, NULL, OPT_FORMAT},
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .take = export_take,
};

struct export
{
    char scope[LK_ID_SCOPE_MAX + 1];
    enum lk_manifest_format format;
    struct lk_cli_listing *listing;
    struct lk_manifest_row row;
    size_t left_out; /* of devices without a TPM: a manifest has no place for their secrets */
};

static enum lk_err
row_put(void *ctx, const struct lk_enrollment *e)
{
    struct export *x = (struct export *)ctx;
    struct lk_cli_listing *l = x->listing;
    enum lk_err err;

    l->rows_count++;
    if ((err = lk_strcpy(l->last, sizeof(l->last), e->id)) != LK_OK) {
        return err;
    }
    if (e->attestation != LK_ATTESTATION_TPM) {
        x->left_out++;
        return LK_OK;
    }
    if ((err = lk_enrollment_to_row(e, &x->row)) != LK_OK) {
        return err;
    }
    return lk_manifest_row_format(x->format, &x->row, &l->text);
}

static enum lk_err
rows_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    struct export *x = (struct export *)l->ctx;

    return lk_txn_enrollment_page(tx, x->scope, l->after, limit, row_put, x);
}

static enum lk_err
rows_fetch(struct lk_remote *r, struct lk_cli_listing *l)
{
    return lk_remote_entity_page(r, LK_ENTITY_ENROLLMENT, l->continuation, row_put, l->ctx);
}

static int
header_print(enum lk_manifest_format format)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = lk_manifest_header_format(format, &text);

    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot write the header");
    }
    if (text.len > 0 && fwrite(text.data, 1, text.len, stdout) != text.len) {
        return lk_cli_fail(LK_ERR_IO, "cannot write the header");
    }
    return 0;
}

int
lk_cli_enrollment_export(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct export x = {.format = LK_MANIFEST_CSV};
    struct lk_cli_listing list = {.page = rows_page,
                                  .remote_page = rows_fetch,
                                  .what = "cannot export the enrollments",
                                  .ctx = &x,
                                  .text = {.max = LK_CLI_PAGE_ROWS * LK_MANIFEST_LINE_MAX}};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&export_form, argc, argv, &common, &x.format, &code) ||
        (code = lk_cli_target_open(&common, LK_CLI_READ, &s)) != 0 ||
        (code = lk_cli_scope(&s, common.scope, x.scope)) != 0 ||
        (code = header_print(x.format)) != 0) {
        return code;
    }
    x.listing = &list;
    lk_manifest_row_init(&x.row);
    code = lk_cli_list(&s, &list);
    lk_manifest_row_fini(&x.row);
    if (code == 0 && x.left_out > 0) {
        lk_cli_note("%zu enrollments of devices without a TPM are left out: a manifest holds keys "
                    "of TPMs",
                    x.left_out);
    }
    return code;
}
