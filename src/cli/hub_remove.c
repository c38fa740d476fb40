/* latchkey hub remove: not while it is in use, unless told. */
#include <inttypes.h>
#include <string.h>

#include "base/codec.h"
#include "cli/cmd_hub.h"

#define SCOPES_MAX 1024u /* ID scopes that are searched */

struct removal {
    const char *actor;
    char name[LK_HOST_NAME_MAX + 1];
    bool force;
    uint64_t enrollments_count; /* that name the hub, groups of them too */
};

/* ---- who uses it ----------------------------------------------------------------------------- */

/* A walk through the enrollments of one scope after the other. Each page is a transaction of its
 * own: a million enrollments must not hold up the service. */
struct walk {
    const char *hub;
    struct lk_buf scopes; /* their ids, each with its NUL */
    const char *scope;
    char after[LK_REGISTRATION_ID_MAX + 1], last[LK_REGISTRATION_ID_MAX + 1];
    size_t rows_count, hits_count; /* of this page */
};

static void
walk_fini(struct walk *w)
{
    lk_buf_fini(&w->scopes);
}

static enum lk_err
scope_keep(void *ctx, const struct lk_scope *scope)
{
    return lk_buf_put((struct lk_buf *)ctx, scope->id, strlen(scope->id) + 1);
}

static enum lk_err
scopes_run(struct lk_txn *tx, void *arg)
{
    struct walk *w = (struct walk *)arg;

    lk_buf_reset(&w->scopes);
    w->scopes.max = SCOPES_MAX * (LK_ID_SCOPE_MAX + 1);
    return lk_txn_scope_each(tx, scope_keep, &w->scopes);
}

static enum lk_err
enrollment_look(void *ctx, const struct lk_enrollment *e)
{
    struct walk *w = (struct walk *)ctx;

    w->rows_count++;
    for (size_t i = 0; i < e->hubs_count; i++) {
        if (lk_ascii_caseeq(e->hubs[i], strlen(e->hubs[i]), w->hub, strlen(w->hub))) {
            w->hits_count++;
            break;
        }
    }
    return lk_strcpy(w->last, sizeof(w->last), e->id);
}

/* There are few: one transaction. */
static enum lk_err
groups_run(struct lk_txn *tx, void *arg)
{
    struct walk *w = (struct walk *)arg;

    w->hits_count = 0;
    return lk_txn_group_page(tx, w->scope, "", LK_GROUPS_MAX, enrollment_look, w);
}

static enum lk_err
page_run(struct lk_txn *tx, void *arg)
{
    struct walk *w = (struct walk *)arg;

    w->rows_count = w->hits_count = 0;
    return lk_txn_enrollment_page(tx, w->scope, w->after, LK_CLI_PAGE_ROWS, enrollment_look, w);
}

static enum lk_err
enrollments_count(struct lk_cli_service *s, const char *hub, uint64_t *ret)
{
    __attribute__((cleanup(walk_fini))) struct walk w = {.hub = hub};
    const char *end;
    enum lk_err err;

    *ret = 0;
    if ((err = lk_store_read_wait(s->session, scopes_run, &w)) != LK_OK || w.scopes.len == 0) {
        return err;
    }
    end = (const char *)w.scopes.data + w.scopes.len;
    for (w.scope = (const char *)w.scopes.data; w.scope < end; w.scope += strlen(w.scope) + 1) {
        w.after[0] = '\0';
        if ((err = lk_store_read_wait(s->session, groups_run, &w)) != LK_OK) {
            return err;
        }
        *ret += w.hits_count;
        do {
            if ((err = lk_store_read_wait(s->session, page_run, &w)) != LK_OK) {
                return err;
            }
            *ret += w.hits_count;
            memcpy(w.after, w.last, sizeof(w.after));
        } while (w.rows_count == LK_CLI_PAGE_ROWS);
    }
    return LK_OK;
}

/* ---- the change ------------------------------------------------------------------------------ */

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    const struct removal *r = (const struct removal *)arg;
    const struct lk_hub_author by = {.actor = r->actor};
    struct lk_hub_removal removal = {.force = r->force,
                                     .tells_enrollments = true,
                                     .enrollments_count = (int64_t)r->enrollments_count,
                                     .limit = SIZE_MAX};

    return lk_linked_hub_remove(tx, &by, r->name, &removal);
}

/* ---- the command ----------------------------------------------------------------------------- */

enum { OPT_FORCE = LK_CLI_OPT_COMMAND };

static enum lk_err
remove_take(void *ctx, int option, const char *value)
{
    (void)option;
    (void)value;
    ((struct removal *)ctx)->force = true;
    return LK_OK;
}

static const struct lk_cli_form form = {
    .usage = "latchkey hub remove NAME [--force] [SERVICE]",
    .help = "Remove a hub that no enrollment names and that no device is assigned to.\n\n"
            "  --force                  also when it is in use: its device identities are removed\n"
            "                           with it, and their devices have to register "
            "again\n" LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){{"force", no_argument, NULL, OPT_FORCE},
                                       LK_CLI_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = remove_take,
};

static int
in_use(const struct removal *r)
{
    if (r->enrollments_count > 0) {
        lk_cli_note("%" PRIu64 " enrollments name %s: change them first, or give --force",
                    r->enrollments_count, r->name);
    } else {
        lk_cli_note("devices are assigned to %s (latchkey hub devices %s): give --force if they "
                    "shall register again",
                    r->name, r->name);
    }
    return lk_err_exit_code(LK_ERR_REFUSED);
}

static int
remove_here(struct lk_cli_service *s, struct removal *r)
{
    enum lk_err err;

    if ((err = enrollments_count(s, r->name, &r->enrollments_count)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot search the enrollments");
    }
    if (r->enrollments_count > 0 && !r->force) {
        return in_use(r);
    }
    r->actor = s->actor;
    if ((err = lk_store_write_wait(s->session, remove_run, r)) == LK_ERR_REFUSED) {
        return in_use(r);
    }
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot remove the hub");
}

static int
remove_elsewhere(struct lk_remote *remote, struct removal *r)
{
    bool left = true;
    enum lk_err err = LK_OK;

    if (!r->force && (err = lk_remote_hub_use(remote, r->name, &r->enrollments_count)) != LK_OK) {
        return lk_remote_fail(remote, err, "cannot search the enrollments");
    }
    if (r->enrollments_count > 0) {
        return in_use(r);
    }
    while (err == LK_OK && left) {
        err = lk_remote_hub_remove(remote, r->name, r->force, &left);
    }
    if (lk_remote_code(remote) == LK_SVC_HUB_IN_USE) {
        return in_use(r);
    }
    return err == LK_OK ? 0 : lk_cli_hub_remote_fail(remote, err, "cannot remove the hub");
}

int
lk_cli_hub_remove(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    struct removal r = {.force = false};
    int code;

    if (!lk_cli_options(&form, argc, argv, &common, &r, &code) ||
        (code = lk_cli_hub_word(&form, argv[optind], r.name)) != 0 ||
        (code = lk_cli_target_open(&common, LK_CLI_WRITE, &s)) != 0) {
        return code;
    }
    return s.remote != NULL ? remove_elsewhere(s.remote, &r) : remove_here(&s, &r);
}
