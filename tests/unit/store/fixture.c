#include "fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/pgsql.h"

/* ---- The store --------------------------------------------------------------------------------
 */

static struct lk_pgsql *server;

static int64_t
fixture_now(void *ctx)
{
    return ((struct fixture *)ctx)->now_ms;
}

void
fixture_open(struct fixture *f)
{
    char error[LK_STORE_ERROR_CAP] = "";

    if (lk_store_open(&f->config, error, &f->st) != LK_OK) {
        fail_msg("%s", error);
    }
    assert_int_equal(lk_session_open(f->st, &f->s), LK_OK);
}

void
fixture_close(struct fixture *f)
{
    lk_session_close(f->s);
    lk_store_close(f->st);
    f->s = NULL;
    f->st = NULL;
}

void
fixture_reopen(struct fixture *f)
{
    fixture_close(f);
    fixture_open(f);
}

static void
fixture_place(struct fixture *f)
{
    if (server != NULL) {
        assert_int_equal(lk_strcpy(f->url, sizeof(f->url), lk_pgsql_database(server)), LK_OK);
        return;
    }
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/lk-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->url, sizeof(f->url), "sqlite:%s/store.db", f->dir);
}

int
fixture_setup(void **state)
{
    struct fixture *f = (struct fixture *)calloc(1, sizeof(*f));

    assert_non_null(f);
    f->now_ms = 1700000000000;
    f->clock = (struct lk_clock){fixture_now, fixture_now, f};
    fixture_place(f);
    f->config.url = f->url;
    f->config.clock = &f->clock;
    f->config.create = true;
    memset(f->config.audit_key, 0x5a, sizeof(f->config.audit_key));
    fixture_open(f);
    assert_int_equal(do_scope_add(f, SCOPE), LK_OK);
    *state = f;
    return 0;
}

static void
folder_remove(const char *path)
{
    DIR *dir = opendir(path);
    char name[sizeof(((struct dirent *)NULL)->d_name) + 128];

    assert_non_null(dir);
    for (struct dirent *d = readdir(dir); d != NULL; d = readdir(dir)) {
        if (d->d_name[0] != '.') {
            (void)snprintf(name, sizeof(name), "%s/%s", path, d->d_name);
            assert_int_equal(unlink(name), 0);
        }
    }
    (void)closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

int
fixture_teardown(void **state)
{
    struct fixture *f = (struct fixture *)*state;

    fixture_close(f);
    if (f->dir[0] != '\0') {
        folder_remove(f->dir);
    }
    free(f);
    return 0;
}

enum lk_err
in_write(struct fixture *f, enum lk_err (*run)(struct lk_txn *, void *), void *arg)
{
    return lk_store_write_wait(f->s, run, arg);
}

enum lk_err
in_read(struct fixture *f, enum lk_err (*run)(struct lk_txn *, void *), void *arg)
{
    return lk_store_read_wait(f->s, run, arg);
}

/* ---- Calls ------------------------------------------------------------------------------------
 */

void
enrollment_make(struct lk_enrollment *e, const char *id, uint8_t ek)
{
    lk_enrollment_init(e);
    assert_int_equal(lk_strcpy(e->scope, sizeof(e->scope), SCOPE), LK_OK);
    assert_int_equal(lk_strcpy(e->id, sizeof(e->id), id), LK_OK);
    if (ek != 0) {
        memset(e->eks[0].id, ek, LK_EK_ID_LEN);
        memset(e->eks[0].pub, ek + 1, 316);
        e->eks[0].pub_len = 316;
        e->eks_count = 1;
    }
}

static void
buf_fill(struct lk_buf *b, int byte, size_t len)
{
    uint8_t *at = lk_buf_extend(b, len);

    assert_non_null(at);
    memset(at, byte, len);
}

void
enrollment_fill(struct lk_enrollment *e)
{
    e->attestation = LK_ATTESTATION_X509;
    buf_fill(&e->srk_pub, 1, LK_TPM_PUBLIC_MAX);
    e->pin_srk = true;
    buf_fill(&e->sealed_keys, 2, 300);
    buf_fill(&e->certs[0], 3, LK_CERT_DER_MAX);
    buf_fill(&e->certs[1], 4, LK_CERT_DER_MAX);
    buf_fill(&e->device_info, 5, 5000);
    e->iot_edge = true;
    memset(e->webhook_url, 'u', LK_WEBHOOK_URL_MAX);
    memset(e->webhook_api_version, 'v', LK_API_VERSION_CAP - 1);
}

static void
buf_equal(const struct lk_buf *a, const struct lk_buf *b)
{
    assert_int_equal(a->len, b->len);
    if (a->len > 0) {
        assert_memory_equal(a->data, b->data, a->len);
    }
}

void
enrollment_filled(const struct lk_enrollment *e, const struct lk_enrollment *got)
{
    assert_int_equal(got->attestation, e->attestation);
    buf_equal(&got->srk_pub, &e->srk_pub);
    assert_int_equal(got->pin_srk, e->pin_srk);
    buf_equal(&got->sealed_keys, &e->sealed_keys);
    buf_equal(&got->certs[0], &e->certs[0]);
    buf_equal(&got->certs[1], &e->certs[1]);
    buf_equal(&got->rules, &e->rules);
    buf_equal(&got->device_info, &e->device_info);
    assert_int_equal(got->iot_edge, e->iot_edge);
    assert_string_equal(got->webhook_url, e->webhook_url);
    assert_string_equal(got->webhook_api_version, e->webhook_api_version);
}

void
registration_make(struct lk_registration *r, const char *id, uint64_t generation)
{
    memset(r, 0, sizeof(*r));
    (void)snprintf(r->scope, sizeof(r->scope), SCOPE);
    (void)snprintf(r->id, sizeof(r->id), "%s", id);
    r->generation = generation;
    r->status = LK_REG_ASSIGNED;
}

/* The arguments of one call; each uses what it needs. */
struct call {
    struct lk_enrollment *e;
    struct lk_registration *r;
    struct lk_conflict *conflict;
    const char *id, *text;
    char *buf;
    size_t cap, limit;
    uint8_t ek[LK_EK_ID_LEN];
    int64_t number, line, *ret;
    uint64_t expected;
    bool *left;
    struct lk_audit_cursor *cursor;
};

static enum lk_err
run_scope_add(struct lk_txn *tx, void *arg)
{
    return lk_txn_scope_add(tx, ((struct call *)arg)->id);
}

enum lk_err
do_scope_add(struct fixture *f, const char *id)
{
    return in_write(f, run_scope_add, &(struct call){.id = id});
}

static enum lk_err
run_create(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_enrollment_create(tx, c->e, c->conflict);
}

enum lk_err
do_create(struct fixture *f, struct lk_enrollment *e, struct lk_conflict *conflict)
{
    return in_write(f, run_create, &(struct call){.e = e, .conflict = conflict});
}

static enum lk_err
run_replace(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_enrollment_replace(tx, c->e, c->text, c->conflict);
}

enum lk_err
do_replace(struct fixture *f, struct lk_enrollment *e, const char *etag,
           struct lk_conflict *conflict)
{
    return in_write(f, run_replace, &(struct call){.e = e, .text = etag, .conflict = conflict});
}

static enum lk_err
run_delete(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_enrollment_delete(tx, SCOPE, c->id, c->text);
}

enum lk_err
do_delete(struct fixture *f, const char *id, const char *etag)
{
    return in_write(f, run_delete, &(struct call){.id = id, .text = etag});
}

static enum lk_err
run_get(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_enrollment_get(tx, SCOPE, c->id, c->e);
}

enum lk_err
do_get(struct fixture *f, const char *id, struct lk_enrollment *ret)
{
    return in_read(f, run_get, &(struct call){.id = id, .e = ret});
}

static enum lk_err
run_by_ek(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_enrollment_by_ek(tx, SCOPE, c->ek, c->buf);
}

enum lk_err
do_by_ek(struct fixture *f, uint8_t ek, char ret_id[LK_REGISTRATION_ID_MAX + 1])
{
    struct call c = {.buf = ret_id};

    memset(c.ek, ek, sizeof(c.ek));
    return in_read(f, run_by_ek, &c);
}

static enum lk_err
run_count(struct lk_txn *tx, void *arg)
{
    return lk_txn_enrollment_count(tx, SCOPE, ((struct call *)arg)->ret);
}

int64_t
do_count(struct fixture *f)
{
    int64_t count = -1;

    if (in_read(f, run_count, &(struct call){.ret = &count}) != LK_OK) {
        fail_msg("%s", lk_store_error_text());
    }
    return count;
}

static enum lk_err
page_add(void *ctx, const struct lk_enrollment *e)
{
    struct call *c = (struct call *)ctx;
    size_t len = strlen(c->buf);

    (void)snprintf(c->buf + len, c->cap - len, "%s%s", len > 0 ? " " : "", e->id);
    return LK_OK;
}

static enum lk_err
run_page(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_enrollment_page(tx, SCOPE, c->id, c->limit, page_add, c);
}

void
do_page(struct fixture *f, const char *after, size_t limit, char *ret, size_t cap)
{
    struct call c = {.id = after, .limit = limit, .buf = ret, .cap = cap};

    ret[0] = '\0';
    assert_int_equal(in_read(f, run_page, &c), LK_OK);
}

static enum lk_err
run_import_begin(struct lk_txn *tx, void *arg)
{
    return lk_txn_import_begin(tx, SCOPE, "list.csv", ((struct call *)arg)->ret);
}

enum lk_err
do_import_begin(struct fixture *f, int64_t *ret)
{
    return in_write(f, run_import_begin, &(struct call){.ret = ret});
}

static enum lk_err
run_stage(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_import_stage(tx, c->number, c->line, c->e, c->conflict);
}

enum lk_err
do_stage(struct fixture *f, int64_t import_id, int64_t line, struct lk_enrollment *e,
         struct lk_conflict *conflict)
{
    struct call c = {.number = import_id, .line = line, .e = e, .conflict = conflict};

    return in_write(f, run_stage, &c);
}

static enum lk_err
run_finish(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_import_finish(tx, c->number, c->ret);
}

enum lk_err
do_finish(struct fixture *f, int64_t import_id, int64_t *ret_rows)
{
    return in_write(f, run_finish, &(struct call){.number = import_id, .ret = ret_rows});
}

static enum lk_err
run_drop(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_import_drop(tx, c->number, c->limit, c->left);
}

enum lk_err
do_drop(struct fixture *f, int64_t import_id, size_t limit, bool *ret_left)
{
    struct call c = {.number = import_id, .limit = limit, .left = ret_left};

    return in_write(f, run_drop, &c);
}

static enum lk_err
run_abandoned(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_import_abandoned(tx, c->number, c->ret);
}

enum lk_err
do_abandoned(struct fixture *f, int64_t older_than_ms, int64_t *ret)
{
    return in_read(f, run_abandoned, &(struct call){.number = older_than_ms, .ret = ret});
}

static enum lk_err
run_reg_get(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_registration_get(tx, SCOPE, c->id, c->r);
}

enum lk_err
do_reg_get(struct fixture *f, const char *id, struct lk_registration *ret)
{
    return in_read(f, run_reg_get, &(struct call){.id = id, .r = ret});
}

static enum lk_err
run_reg_put(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_registration_put(tx, c->r, c->expected);
}

enum lk_err
do_reg_put(struct fixture *f, struct lk_registration *r, uint64_t expected)
{
    return in_write(f, run_reg_put, &(struct call){.r = r, .expected = expected});
}

static enum lk_err
run_reg_delete(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_registration_delete(tx, SCOPE, c->id, c->text);
}

enum lk_err
do_reg_delete(struct fixture *f, const char *id, const char *etag)
{
    return in_write(f, run_reg_delete, &(struct call){.id = id, .text = etag});
}

static enum lk_err
run_audit(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_audit_append(tx, "cli:root", "enrollment.create", SCOPE, c->id, c->text);
}

enum lk_err
do_audit(struct fixture *f, const char *subject, const char *detail)
{
    return in_write(f, run_audit, &(struct call){.id = subject, .text = detail});
}

static enum lk_err
run_verify(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_audit_verify(tx, c->cursor, 3, c->left);
}

enum lk_err
do_verify(struct fixture *f, struct lk_audit_cursor *cursor)
{
    bool more = true;
    struct call c = {.cursor = cursor, .left = &more};
    enum lk_err err = LK_OK;

    while (err == LK_OK && more) {
        err = in_read(f, run_verify, &c);
    }
    return err;
}

static void
miscounted(void *ctx, const char *what, const char *name, int64_t kept, int64_t found)
{
    size_t len = strlen((char *)ctx);

    (void)snprintf((char *)ctx + len, 512 - len, "%s of %s: %d, not %d; ", what, name, (int)kept,
                   (int)found);
}

const char *
do_count_check(struct fixture *f, bool repair)
{
    static char said[512];
    char error[LK_STORE_ERROR_CAP] = "";

    said[0] = '\0';
    if (lk_store_count_check(f->st, repair, miscounted, said, error) != LK_OK) {
        fail_msg("%s", error);
    }
    return said;
}

static enum lk_err
uncounted_run(struct lk_txn *tx, void *arg)
{
    static const int want[] = {1, 0, 2, 1};
    int64_t count, rows, kept;
    enum lk_err err = LK_OK;

    for (int i = LK_REG_NONE; i <= LK_REG_FAILED && err == LK_OK; i++) {
        err = lk_txn_registration_count(tx, SCOPE, (enum lk_reg_status)i, &count);
        assert_int_equal(count, want[i]);
    }
    if (err == LK_OK) {
        err = lk_txn_registration_count_of_group(tx, SCOPE, "grp", &count);
        assert_int_equal(count, 2);
    }
    if (err == LK_OK) {
        err = lk_txn_import_undo(tx, 1, false, &rows, &kept);
        assert_int_equal(rows, 2);
    }
    return err;
}

void
uncounted_rows_seen(struct fixture *f)
{
    assert_string_equal(do_count_check(f, false), "");
    assert_int_equal(do_count(f), 3);
    assert_int_equal(in_write(f, uncounted_run, NULL), LK_OK);
    assert_int_equal(do_count(f), 1);
    assert_string_equal(do_count_check(f, false), "");
}

static int
server_begin(void **state)
{
    server = lk_pgsql_start();
    return 0;
}

static int
server_end(void **state)
{
    lk_pgsql_stop(server);
    return 0;
}

int
fixture_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    bool pgsql = argc == 2 && strcmp(argv[1], "pgsql") == 0;

    if (lk_crypto_init() != LK_OK || (argc > 1 && !pgsql)) {
        return 1;
    }
    return _cmocka_run_group_tests("store", tests, count, pgsql ? server_begin : NULL,
                                   pgsql ? server_end : NULL);
}
