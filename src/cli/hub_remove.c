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
    uint64_t enrollments_count; /* that name the hub */
    uint64_t identities_count;  /* of the hub: those removed, or without force the first page */
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

/* The device ids of one page of identities: they are removed once the page has been read. */
struct ids {
    size_t count;
    char id[LK_CLI_PAGE_ROWS][LK_DEVICE_ID_MAX + 1];
};

static enum lk_err
identity_keep(void *ctx, const struct lk_identity *identity)
{
    struct ids *ids = (struct ids *)ctx;

    return lk_strcpy(ids->id[ids->count++], sizeof(ids->id[0]), identity->device_id);
}

static enum lk_err
identities_remove(struct lk_txn *tx, struct removal *r)
{
    struct ids ids;
    enum lk_err err;

    do {
        ids.count = 0;
        if ((err = lk_txn_identity_page(tx, r->name, "", LK_CLI_PAGE_ROWS, identity_keep, &ids)) !=
            LK_OK) {
            return err;
        }
        r->identities_count += ids.count;
        if (ids.count > 0 && !r->force) {
            return LK_ERR_REFUSED;
        }
        for (size_t i = 0; i < ids.count; i++) {
            if ((err = lk_txn_identity_delete(tx, r->name, ids.id[i], NULL)) != LK_OK) {
                return err;
            }
        }
    } while (ids.count > 0);
    return LK_OK;
}

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    struct removal *r = (struct removal *)arg;
    char detail[96];
    enum lk_err err;

    r->identities_count = 0;
    if ((err = identities_remove(tx, r)) != LK_OK ||
        (err = lk_txn_hub_delete(tx, r->name)) != LK_OK) {
        return err;
    }
    (void)snprintf(detail, sizeof(detail),
                   "{\"forced\":%s,\"identities\":%" PRIu64 ",\"enrollments\":%" PRIu64 "}",
                   r->force ? "true" : "false", r->identities_count, r->enrollments_count);
    return lk_txn_audit_append(tx, r->actor, "hub.remove", "", r->name, detail);
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
    .usage = "latchkey hub remove NAME [--force] [--config FILE]",
    .help = "Remove a hub that no enrollment names and that no device is assigned to.\n\n"
            "  --force                  also when it is in use: its device identities are removed\n"
            "                           with it, and their devices have to register "
            "again\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"force", no_argument, NULL, OPT_FORCE},
                                       LK_CLI_CONFIG_OPTION,
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

int
lk_cli_hub_remove(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    struct removal r = {.actor = s.actor};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&form, argc, argv, &common, &r, &code) ||
        (code = lk_cli_hub_word(&form, argv[optind], r.name)) != 0 ||
        (code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0) {
        return code;
    }
    if ((err = enrollments_count(&s, r.name, &r.enrollments_count)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot search the enrollments");
    }
    if (r.enrollments_count > 0 && !r.force) {
        return in_use(&r);
    }
    if ((err = lk_store_write_wait(s.session, remove_run, &r)) == LK_ERR_REFUSED) {
        return in_use(&r);
    }
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot remove the hub");
}
