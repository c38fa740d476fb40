/* latchkey enrollment set: on what terms a device is given to a hub. */
#include "cli/cmd_enrollment.h"
#include "cli/terms.h"

/* One enrollment and what changes in it. */
struct set_call {
    struct lk_cli_enrollment c;
    struct lk_cli_terms terms;
};

static void
set_call_fini(struct set_call *s)
{
    lk_cli_enrollment_fini(&s->c);
    lk_cli_terms_fini(&s->terms);
}
#define AUTO_SET_CALL __attribute__((cleanup(set_call_fini))) struct set_call

static enum lk_err
set_take(void *ctx, int option, const char *value)
{
    return lk_cli_terms_take(&((struct set_call *)ctx)->terms, option, value);
}

static const struct lk_cli_form set_form = {
    .usage = "latchkey enrollment set ID [--any-hub] " LK_CLI_TERMS_USAGE "\n"
             "         [--scope ID] [SERVICE]",
    .help = "Change on what terms a device is given to a hub. What is not named stays. A device\n"
            "that is assigned already may be given another hub when it registers again.\n\n"
            "  --any-hub                assign to any linked hub again\n" LK_CLI_TERMS_HELP
                LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){LK_CLI_ANY_HUB_OPTION, LK_CLI_TERMS_OPTIONS, LK_CLI_SCOPE_OPTION,
                                LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = set_take,
};

static enum lk_err
set_run(struct lk_txn *tx, void *arg)
{
    struct set_call *s = (struct set_call *)arg;
    LK_AUTO(json) json_t *detail = json_object();
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err;

    if ((err = lk_cli_enrollment_get(tx, &s->c)) != LK_OK ||
        (err = lk_cli_terms_apply(&s->terms, &s->c.e)) != LK_OK ||
        (err = lk_enrollment_check(tx, &s->c.e, &s->c.problem)) != LK_OK) {
        return err;
    }
    if (detail == NULL || lk_cli_terms_record(&s->c.e, detail) != LK_OK ||
        lk_json_write(detail, &text) != LK_OK || lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_cli_enrollment_update(tx, &s->c, lk_buf_text(&text));
}

static enum lk_err
set_send(struct set_call *s)
{
    enum lk_err err;

    if ((err = lk_cli_enrollment_fetch(&s->c)) != LK_OK ||
        (err = lk_cli_terms_apply(&s->terms, &s->c.e)) != LK_OK) {
        return err;
    }
    return lk_cli_enrollment_send(&s->c);
}

int
lk_cli_enrollment_set(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service service = {.store = NULL};
    AUTO_SET_CALL s = {.terms = {.hubs_count = 0}};
    struct lk_cli_common common = {.json = false};
    const char *objection;
    int code;
    enum lk_err err;

    lk_cli_enrollment_init(&s.c);
    if (!lk_cli_options(&set_form, argc, argv, &common, &s, &code)) {
        return code;
    }
    objection = lk_cli_terms_are_given(&s.terms) ? lk_cli_terms_objection(&s.terms)
                                                 : "what to change is needed";
    if (objection != NULL) {
        return lk_cli_usage(set_form.usage, "%s", objection);
    }
    if ((code = lk_cli_terms_read(&s.terms)) != 0 ||
        (code = lk_cli_enrollment_open(&common, LK_CLI_WRITE, argv[optind], &service, &s.c)) != 0) {
        return code;
    }
    err = service.remote != NULL ? set_send(&s) : lk_store_write_wait(service.session, set_run, &s);
    return err == LK_OK ? 0 : lk_cli_enrollment_fail(err, &s.c, "cannot change the enrollment");
}
