/* latchkey audit: read the chain of records, and check that nobody changed it. */
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

#include "base/codec.h"
#include "cli/options.h"
#include "cli/service.h"

/* ---- list ------------------------------------------------------------------------------------ */

enum { OPT_AFTER = LK_CLI_OPT_COMMAND, OPT_LIMIT, OPT_EXPECT };

struct range {
    uint64_t after, limit;
    const char *scope; /* NULL: all */
    int64_t end;       /* the last record that may be shown */
};

static enum lk_err
list_take(void *ctx, int option, const char *value)
{
    struct range *r = (struct range *)ctx;

    return option == OPT_AFTER ? lk_cli_number(value, 0, INT64_MAX / 2, &r->after)
                               : lk_cli_number(value, 1, INT64_MAX / 2, &r->limit);
}

static const struct lk_cli_form list_form = {
    .usage = "latchkey audit list [--after SEQ] [--limit N] [--scope ID] [--json] [SERVICE]",
    .help = "List audit records, oldest first: who did what to what. What a stranger chose is\n"
            "escaped.\n\n"
            "  --after SEQ              only what came after this record\n"
            "  --limit N                look at no more than N records\n"
            "  --scope ID               only records of this ID scope\n" LK_CLI_JSON_HELP
                LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){{"after", required_argument, NULL, OPT_AFTER},
                                       {"limit", required_argument, NULL, OPT_LIMIT},
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .take = list_take,
};

static json_t *
detail_json(const char *detail)
{
    json_t *value = NULL;

    return lk_json_parse(detail, strlen(detail), false, NULL, &value) == LK_OK
               ? value
               : lk_cli_json_text(detail);
}

static enum lk_err
record_put_json(const struct lk_audit *a, struct lk_buf *out)
{
    LK_AUTO_BUF struct lk_buf hash = LK_BUF_INIT;
    char time[LK_CLI_TIME_CAP];

    if (lk_hex_encode(a->hash, sizeof(a->hash), &hash) != LK_OK || lk_buf_text(&hash) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_cli_put_json(
        out, json_pack("{s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:s}", "seq", (json_int_t)a->seq,
                       "time", lk_cli_time(a->time_ms, time), "actor", lk_cli_json_text(a->actor),
                       "action", lk_cli_json_text(a->action), "scope", lk_cli_json_text(a->scope),
                       "subject", lk_cli_json_text(a->subject), "detail", detail_json(a->detail),
                       "hash", lk_buf_text(&hash)));
}

static const char *
shown_or_dash(const char *text, char buf[LK_CLI_SHOWN_CAP])
{
    return text[0] != '\0' ? lk_cli_shown(text, buf) : "-";
}

static enum lk_err
record_put_text(const struct lk_audit *a, struct lk_buf *out)
{
    char time[LK_CLI_TIME_CAP], actor[LK_CLI_SHOWN_CAP], action[LK_CLI_SHOWN_CAP];
    char scope[LK_CLI_SHOWN_CAP], subject[LK_CLI_SHOWN_CAP], detail[LK_CLI_SHOWN_CAP];

    return lk_buf_printf(out, "%-8" PRId64 " %s %-16s %-24s %-12s %s %s\n", a->seq,
                         lk_cli_time(a->time_ms, time), shown_or_dash(a->actor, actor),
                         shown_or_dash(a->action, action), shown_or_dash(a->scope, scope),
                         shown_or_dash(a->subject, subject), lk_cli_shown(a->detail, detail));
}

static enum lk_err
record_put(void *ctx, const struct lk_audit *a)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)ctx;
    const struct range *range = (const struct range *)l->ctx;

    l->rows_count++;
    (void)snprintf(l->last, sizeof(l->last), "%" PRId64, a->seq);
    if (range->scope != NULL && strcmp(range->scope, a->scope) != 0) {
        return LK_OK;
    }
    return l->json ? record_put_json(a, &l->text) : record_put_text(a, &l->text);
}

/* Where a page begins that comes after the record at ("": the first page), and how many records it
 * has at most: numbers have no gaps. */
static enum lk_err
range_step(const struct range *range, const char *at, size_t *limit, int64_t *ret_after)
{
    uint64_t after = range->after, left;
    enum lk_err err = LK_OK;

    if (at[0] != '\0' && (err = lk_decimal_parse(at, strlen(at), &after)) != LK_OK) {
        return err;
    }
    left = (uint64_t)range->end - after;
    *limit = left < *limit ? (size_t)left : *limit;
    *ret_after = (int64_t)after;
    return LK_OK;
}

static enum lk_err
records_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    int64_t after;
    enum lk_err err = range_step((const struct range *)l->ctx, l->after, &limit, &after);

    return err != LK_OK || limit == 0 ? err : lk_txn_audit_page(tx, after, limit, record_put, l);
}

/* The continuation is the last record that was looked at. */
static enum lk_err
records_fetch(struct lk_remote *r, struct lk_cli_listing *l)
{
    size_t limit = LK_CLI_PAGE_ROWS, looked = 0;
    int64_t after, last = 0;
    enum lk_err err = range_step((const struct range *)l->ctx, l->continuation, &limit, &after);

    l->continuation[0] = '\0';
    if (err != LK_OK || limit == 0 ||
        (err = lk_remote_audit_page(r, after, limit, record_put, l, &looked, &last)) != LK_OK) {
        return err;
    }
    if (looked == LK_CLI_PAGE_ROWS) {
        (void)snprintf(l->continuation, sizeof(l->continuation), "%" PRId64, last);
    }
    return LK_OK;
}

static int
audit_list(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct range range = {.after = 0, .limit = INT64_MAX / 2};
    struct lk_cli_listing list = {
        .page = records_page,
        .remote_page = records_fetch,
        .what = "cannot list the audit records",
        .head = "SEQ      TIME                     ACTOR            ACTION                   SCOPE"
                "        SUBJECT DETAIL",
        .ctx = &range};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&list_form, argc, argv, &common, &range, &code) ||
        (code = lk_cli_target_open(&common, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    range.scope = common.scope; /* also of a service elsewhere: it shows records of no scope too */
    range.end = (int64_t)(range.after + range.limit);
    list.json = common.json;
    return lk_cli_list(&s, &list);
}

/* ---- verify ---------------------------------------------------------------------------------- */

#define VERIFY_PAGE 5000u /* records in one transaction */

struct verification {
    struct lk_audit_cursor at;   /* where the walk is */
    struct lk_audit_cursor kept; /* of --expect; seq 0: none */
    /* Of one page. */
    struct lk_audit_cursor cursor;
    size_t limit;
    bool more;
};

/* "SEQ:HASH", as verify prints it. */
static enum lk_err
head_parse(const char *text, struct lk_audit_cursor *ret)
{
    LK_AUTO_BUF struct lk_buf hash = LK_BUF_INIT;
    const char *colon = strchr(text, ':');
    uint64_t seq;

    if (colon == NULL || lk_decimal_parse(text, (size_t)(colon - text), &seq) != LK_OK ||
        seq == 0 || seq > INT64_MAX / 2 ||
        lk_hex_decode(colon + 1, strlen(colon + 1), &hash) != LK_OK ||
        hash.len != sizeof(ret->hash)) {
        return LK_ERR_ARG;
    }
    ret->seq = (int64_t)seq;
    memcpy(ret->hash, hash.data, sizeof(ret->hash));
    return LK_OK;
}

static enum lk_err
verify_take(void *ctx, int option, const char *value)
{
    (void)option;
    return head_parse(value, &((struct verification *)ctx)->kept);
}

static const struct lk_cli_form verify_form = {
    .usage = "latchkey audit verify [--expect SEQ:HASH] [--json] [SERVICE]",
    .help =
        "Check that no audit record was changed, removed or put in between, and print the number\n"
        "of records and the head of the chain, SEQ:HASH. Keep the head elsewhere: with it, the\n"
        "next run also finds that the end was cut off or that all was written anew. Exit code 65\n"
        "when the chain is broken.\n\n"
        "  --expect SEQ:HASH        a head that was kept: it has to be in the chain "
        "still\n" LK_CLI_JSON_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){{"expect", required_argument, NULL, OPT_EXPECT},
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .take = verify_take,
};

static enum lk_err
verify_run(struct lk_txn *tx, void *arg)
{
    struct verification *v = (struct verification *)arg;

    v->cursor = v->at;
    return lk_txn_audit_verify(tx, &v->cursor, v->limit, &v->more);
}

static int
broken(const struct lk_cli_common *common, int64_t seq, const char *why)
{
    LK_AUTO(json) json_t *o = NULL;

    lk_cli_note("the audit chain is broken at record %" PRId64 ": %s", seq, why);
    if (common->json) {
        o = json_pack("{s:b, s:I, s:s}", "intact", false, "record", (json_int_t)seq, "reason", why);
        if (o == NULL || lk_cli_print_json(o) != 0) {
            return lk_err_exit_code(LK_ERR_IO);
        }
    }
    return EX_DATAERR;
}

static int
whole(const struct lk_cli_common *common, const struct lk_audit_cursor *head)
{
    LK_AUTO_BUF struct lk_buf hash = LK_BUF_INIT;
    LK_AUTO(json) json_t *o = NULL;
    char text[96];

    if (lk_hex_encode(head->hash, sizeof(head->hash), &hash) != LK_OK ||
        lk_buf_text(&hash) == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    (void)snprintf(text, sizeof(text), "%" PRId64 ":%s", head->seq, lk_buf_text(&hash));
    if (!common->json) {
        (void)printf("%" PRId64 " records, the chain is whole\nhead %s\n", head->seq, text);
        return 0;
    }
    o = json_pack("{s:b, s:I, s:s}", "intact", true, "records", (json_int_t)head->seq, "head",
                  text);
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

/* A page ends at the kept head, to compare it. */
static size_t
page_limit(const struct verification *v)
{
    int64_t left = v->kept.seq - v->at.seq;

    return left > 0 && left < (int64_t)VERIFY_PAGE ? (size_t)left : VERIFY_PAGE;
}

/* One page. v->cursor is where it ended, or with *ret_broken the record that does not fit. 0, or an
 * exit code. */
static int
verify_page(struct lk_cli_service *s, struct verification *v, bool *ret_broken)
{
    enum lk_err err;

    *ret_broken = false;
    if (s->remote != NULL) {
        v->cursor = v->at;
        err = lk_remote_audit_verify(s->remote, v->limit, &v->cursor, ret_broken, &v->more);
        return err == LK_OK ? 0 : lk_remote_fail(s->remote, err, "cannot verify the audit records");
    }
    err = lk_store_read_wait(s->session, verify_run, v);
    *ret_broken = err == LK_ERR_REFUSED;
    return err == LK_OK || *ret_broken ? 0
                                       : lk_cli_store_fail(err, "cannot read the audit records");
}

static int
verify(struct lk_cli_service *s, const struct lk_cli_common *common, struct verification *v)
{
    bool is_broken;
    int code;

    do {
        v->limit = page_limit(v);
        if ((code = verify_page(s, v, &is_broken)) != 0) {
            return code;
        }
        if (is_broken) {
            return broken(common, v->cursor.seq, "it does not fit to the one before it");
        }
        v->at = v->cursor;
        if (v->kept.seq != 0 && v->at.seq == v->kept.seq &&
            !lk_ct_equal(v->at.hash, v->kept.hash, sizeof(v->at.hash))) {
            return broken(common, v->at.seq, "it is another than the one that was kept");
        }
    } while (v->more);
    if (v->at.seq < v->kept.seq) {
        return broken(common, v->at.seq + 1, "it is missing: the end of the chain was cut off");
    }
    return whole(common, &v->at);
}

static int
audit_verify(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct verification v = {.more = false};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&verify_form, argc, argv, &common, &v, &code) ||
        (code = lk_cli_target_open(&common, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    return verify(&s, &common, &v);
}

int
lk_cmd_audit(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"list", audit_list, "list the audit records"},
        {"verify", audit_verify, "check that the chain of records is whole"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey audit", argc, argv);
}
