/* Configuration, keyring, store and session of a command on the store. */
#include "cli/service.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/options.h"

/* ---- opening --------------------------------------------------------------------------------- */

void
lk_cli_actor(char *buf, size_t cap)
{
    const struct passwd *user = getpwuid(getuid());

    if (user != NULL) {
        (void)snprintf(buf, cap, "cli:%s", user->pw_name);
    } else {
        (void)snprintf(buf, cap, "cli:%u", (unsigned)getuid());
    }
}

/* Words of ours or of the system; the hint may be NULL. Returns err's exit code. */
static int
fail_hint(enum lk_err err, const char *text, const char *hint)
{
    char shown[LK_CLI_SHOWN_CAP];

    lk_cli_note("%s", lk_cli_shown(text, shown));
    if (hint != NULL) {
        lk_cli_note("%s", hint);
    }
    return lk_err_exit_code(err);
}

static const char *
rights_hint(enum lk_err err)
{
    return err == LK_ERR_IO && (errno == EACCES || errno == EPERM)
               ? "run it as the service's user, or as root"
               : NULL;
}

static int
config_open(const char *path, struct lk_config *ret)
{
    char error[LK_CONFIG_ERROR_CAP] = "";
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if (path == NULL) {
        path = getenv("LATCHKEY_CONFIG");
    }
    if (path == NULL || path[0] == '\0') {
        path = LK_CONFIG_DEFAULT_PATH;
    }
    errno = 0;
    if ((err = lk_config_load(path, error, ret)) == LK_OK) {
        return 0;
    }
    if (err == LK_ERR_NOT_FOUND) {
        lk_cli_note("no configuration at %s: run `latchkey init`, or name the file with --config "
                    "or $LATCHKEY_CONFIG",
                    lk_cli_shown(path, shown));
        return lk_err_exit_code(LK_ERR_CONFIG);
    }
    return error[0] != '\0' ? fail_hint(err, error, rights_hint(err))
                            : lk_cli_fail(err, "cannot read %s", lk_cli_shown(path, shown));
}

static int
keyring_open(const char *path, struct lk_keyring **ret)
{
    char error[LK_KEYRING_ERROR_CAP] = "";
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    errno = 0;
    if ((err = lk_keyring_load(path, error, ret)) == LK_OK) {
        return 0;
    }
    return error[0] != '\0'
               ? fail_hint(err, error, rights_hint(err))
               : lk_cli_fail(err, "cannot read the keyring %s", lk_cli_shown(path, shown));
}

static int
store_open(const struct lk_config *config, const struct lk_keyring *ring, enum lk_cli_access access,
           struct lk_store **ret)
{
    struct lk_store_config opts = {.url = config->store, .read_only = access == LK_CLI_READ};
    char error[LK_STORE_ERROR_CAP] = "";
    const char *hint = NULL;
    enum lk_err err;

    lk_keyring_audit_key(ring, opts.audit_key);
    errno = 0;
    err = lk_store_open(&opts, error, ret);
    lk_wipe(&opts, sizeof(opts));
    if (err == LK_OK) {
        return 0;
    }
    if (err == LK_ERR_NOT_FOUND) {
        hint = "the configuration names it, but it is not there: restore it, or run `latchkey "
               "init` with another --data-dir";
    } else if (errno == EACCES || errno == EPERM) {
        hint = "run it as the service's user, or as root";
    }
    return fail_hint(err, error[0] != '\0' ? error : lk_err_text(err), hint);
}

int
lk_cli_service_open(const char *config_path, enum lk_cli_access access, struct lk_cli_service *ret)
{
    const struct lk_cli_common common = {.config = config_path};
    int code;
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    if ((code = lk_cli_store_needed(&common)) != 0) {
        return code;
    }
    lk_cli_actor(ret->actor, sizeof(ret->actor));
    if ((err = lk_crypto_init()) != LK_OK) {
        return lk_cli_fail(err, "cannot start");
    }
    if ((code = config_open(config_path, &ret->config)) != 0 ||
        (code = keyring_open(ret->config.keyring, &ret->ring)) != 0 ||
        (code = store_open(&ret->config, ret->ring, access, &ret->store)) != 0) {
        lk_cli_service_close(ret);
        return code;
    }
    if ((err = lk_session_open(ret->store, &ret->session)) != LK_OK) {
        lk_cli_service_close(ret);
        return lk_cli_store_fail(err, "cannot use the store");
    }
    return 0;
}

void
lk_cli_service_close(struct lk_cli_service *s)
{
    lk_remote_free(s->remote);
    if (s->session != NULL) {
        lk_session_close(s->session);
    }
    if (s->store != NULL) {
        lk_store_close(s->store);
    }
    lk_keyring_free(s->ring);
    memset(s, 0, sizeof(*s));
}

int
lk_cli_store_fail(enum lk_err err, const char *what)
{
    const char *words = lk_store_error_text();
    char shown[LK_CLI_SHOWN_CAP];

    if ((err == LK_ERR_STORE || err == LK_ERR_BUSY) && words != NULL && words[0] != '\0') {
        lk_cli_note("%s: %s", what, lk_cli_shown(words, shown));
        return lk_err_exit_code(err);
    }
    errno = 0;
    return lk_cli_fail(err, "%s", what);
}

/* ---- the scope ------------------------------------------------------------------------------- */

struct scopes {
    const char *given;               /* NULL: any */
    char first[LK_ID_SCOPE_MAX + 1]; /* the given one, or the first */
    size_t count;                    /* of those that match */
    bool print;
};

static enum lk_err
scope_each(void *ctx, const struct lk_scope *scope)
{
    struct scopes *s = (struct scopes *)ctx;

    if (s->print) {
        lk_cli_note("  %s", scope->id);
        return LK_OK;
    }
    if (s->given != NULL && strcmp(s->given, scope->id) != 0) {
        return LK_OK;
    }
    s->count++;
    return s->count > 1 ? LK_OK : lk_strcpy(s->first, sizeof(s->first), scope->id);
}

static enum lk_err
scopes_read(struct lk_txn *tx, void *arg)
{
    struct scopes *s = (struct scopes *)arg;

    s->count = 0;
    return lk_txn_scope_each(tx, scope_each, s);
}

int
lk_cli_scope(struct lk_cli_service *s, const char *given, char ret[LK_ID_SCOPE_MAX + 1])
{
    struct scopes scopes = {.given = given};
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if (s->remote != NULL) {
        ret[0] = '\0';
        if (given == NULL) {
            return 0;
        }
        lk_cli_note("--scope is for the store of this machine: a service elsewhere is asked by the "
                    "host name of its scope");
        return lk_err_exit_code(LK_ERR_ARG);
    }
    if ((err = lk_store_read_wait(s->session, scopes_read, &scopes)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot read the ID scopes");
    }
    if (scopes.count == 1) {
        return lk_strcpy(ret, LK_ID_SCOPE_MAX + 1, scopes.first) == LK_OK ? 0 : EX_SOFTWARE;
    }
    if (given == NULL && scopes.count == 0) {
        lk_cli_note("there is no ID scope: add one with `latchkey scope add`");
        return lk_err_exit_code(LK_ERR_NOT_FOUND);
    }
    if (given == NULL) {
        lk_cli_note("there are several ID scopes: choose one with --scope");
    } else {
        lk_cli_note("there is no ID scope \"%s\"; there are", lk_cli_shown(given, shown));
    }
    scopes.print = true;
    if ((err = lk_store_read_wait(s->session, scopes_read, &scopes)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot read the ID scopes");
    }
    return lk_err_exit_code(given == NULL ? LK_ERR_ARG : LK_ERR_NOT_FOUND);
}

/* ---- listings -------------------------------------------------------------------------------- */

static enum lk_err
page_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)arg;

    lk_buf_reset(&l->text);
    l->rows_count = 0;
    return l->page(tx, l, LK_CLI_PAGE_ROWS);
}

/* One page into l->text; *ret_more tells whether another may follow. */
static enum lk_err
page_get(struct lk_cli_service *s, struct lk_cli_listing *l, bool *ret_more)
{
    enum lk_err err;

    if (s->remote != NULL) {
        lk_buf_reset(&l->text);
        l->rows_count = 0;
        err = l->remote_page(s->remote, l);
        *ret_more = l->continuation[0] != '\0';
        return err;
    }
    if ((err = lk_store_read_wait(s->session, page_run, l)) == LK_OK) {
        memcpy(l->after, l->last, sizeof(l->after));
        *ret_more = l->rows_count == LK_CLI_PAGE_ROWS;
    }
    return err;
}

int
lk_cli_list(struct lk_cli_service *s, struct lk_cli_listing *l)
{
    size_t written;
    bool more = false, first = true;
    enum lk_err err;

    do {
        if ((err = page_get(s, l, &more)) != LK_OK) {
            lk_buf_fini(&l->text);
            return s->remote != NULL ? lk_remote_fail(s->remote, err, l->what)
                                     : lk_cli_store_fail(err, l->what);
        }
        if (first && !l->json && l->head != NULL) {
            (void)puts(l->head);
        }
        first = false;
        errno = 0;
        written = l->text.len == 0 ? 0 : fwrite(l->text.data, 1, l->text.len, stdout);
        if (written != l->text.len) {
            lk_buf_fini(&l->text);
            return lk_cli_fail(LK_ERR_IO, "cannot write the answer");
        }
    } while (more);
    lk_buf_fini(&l->text);
    return 0;
}
