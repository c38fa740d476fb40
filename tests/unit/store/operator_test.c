/*
 * The contract of src/store/store.h, as every backend keeps it: what the operators' API asks about
 * scopes, policies, trust and past imports.
 *
 * usage: store_operator_test [pgsql]      over which backend; see fixture_main()
 */
#include "fixture.h"

#include <stdio.h>

#define OTHER_SCOPE "0ne00000002"

/* ---- Scopes -----------------------------------------------------------------------------------
 */

static enum lk_err
run_scope_set(struct lk_txn *tx, void *arg)
{
    return lk_txn_scope_set(tx, (const struct lk_scope *)arg);
}

static enum lk_err
run_scope_get(struct lk_txn *tx, void *arg)
{
    return lk_txn_scope_get(tx, SCOPE, (struct lk_scope *)arg);
}

/* A new scope has no host and no policy of its own; both can be set, and taken back. */
static void
scope_set(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_scope s = {.allocation = LK_ALLOC_STATIC};

    assert_int_equal(in_read(f, run_scope_get, &s), LK_OK);
    assert_string_equal(s.service_host, "");
    assert_int_equal(s.allocation, LK_ALLOC_DEFAULT);
    memset(s.service_host, 'H', LK_HOST_NAME_MAX);
    s.allocation = LK_ALLOC_STATIC;
    s.created_ms = 1;
    assert_int_equal(in_write(f, run_scope_set, &s), LK_OK);
    assert_int_equal(in_read(f, run_scope_get, &s), LK_OK);
    assert_int_equal(strspn(s.service_host, "h"), LK_HOST_NAME_MAX);
    assert_int_equal(s.allocation, LK_ALLOC_STATIC);
    assert_int_equal(s.created_ms, f->now_ms);
    s.service_host[0] = '\0';
    assert_int_equal(in_write(f, run_scope_set, &s), LK_OK);
    assert_int_equal(in_read(f, run_scope_get, &s), LK_OK);
    assert_string_equal(s.service_host, "");
}

/* A host leads to one scope; any number of scopes have none. Custom is for enrollments only. */
static void
scope_set_refusals(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_scope one = {.id = SCOPE, .service_host = "ops.example"};
    struct lk_scope two = {.id = OTHER_SCOPE, .service_host = "OPS.example"};

    assert_int_equal(in_write(f, run_scope_set, &one), LK_OK);
    assert_int_equal(in_write(f, run_scope_set, &two), LK_ERR_NOT_FOUND);
    assert_int_equal(do_scope_add(f, OTHER_SCOPE), LK_OK);
    assert_int_equal(in_write(f, run_scope_set, &two), LK_ERR_EXISTS);
    two.service_host[0] = '\0';
    assert_int_equal(in_write(f, run_scope_set, &two), LK_OK);
    one.service_host[0] = '\0';
    assert_int_equal(in_write(f, run_scope_set, &one), LK_OK);
    one.allocation = LK_ALLOC_CUSTOM;
    assert_int_equal(in_write(f, run_scope_set, &one), LK_ERR_ARG);
    one.allocation = LK_ALLOC_GEO;
    assert_int_equal(in_read(f, run_scope_set, &one), LK_ERR_ARG);
    one.id[0] = '\0';
    assert_int_equal(in_write(f, run_scope_set, &one), LK_ERR_ARG);
}

/* ---- Policies ---------------------------------------------------------------------------------
 */

static enum lk_err
run_policy_put(struct lk_txn *tx, void *arg)
{
    return lk_txn_policy_put(tx, (const struct lk_policy *)arg);
}

/* In scope and name of what it fills. */
static enum lk_err
run_policy_get(struct lk_txn *tx, void *arg)
{
    struct lk_policy *p = (struct lk_policy *)arg;

    return lk_txn_policy_get(tx, p->scope, p->name, p);
}

static enum lk_err
run_policy_delete(struct lk_txn *tx, void *arg)
{
    const struct lk_policy *p = (const struct lk_policy *)arg;

    return lk_txn_policy_delete(tx, p->scope, p->name);
}

static enum lk_err
policy_add(void *ctx, const struct lk_policy *p)
{
    strcat(strcat((char *)ctx, p->name), " ");
    return strcmp(p->name, "stop") == 0 ? LK_ERR_CANCELLED : LK_OK;
}

static enum lk_err
run_policy_each(struct lk_txn *tx, void *arg)
{
    ((char *)arg)[0] = '\0';
    return lk_txn_policy_each(tx, SCOPE, policy_add, arg);
}

/* A policy comes back whole, and a second put replaces all but its birthday. */
static void
policies(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_policy p = {.scope = SCOPE, .rights = LK_RIGHTS_ALL}, got = {.scope = SCOPE};
    int64_t born_ms = f->now_ms;

    memset(p.name, 'P', LK_POLICY_NAME_MAX);
    memcpy(got.name, p.name, sizeof(got.name));
    assert_int_equal(in_read(f, run_policy_get, &got), LK_ERR_NOT_FOUND);
    assert_int_equal(lk_buf_puts(&p.sealed_primary, "one"), LK_OK);
    assert_int_equal(lk_buf_puts(&p.sealed_secondary, "second"), LK_OK);
    assert_int_equal(in_write(f, run_policy_put, &p), LK_OK);
    f->now_ms += 10;
    lk_buf_fini(&p.sealed_secondary);
    p.rights = LK_RIGHT_ENROLLMENT_READ;
    assert_int_equal(in_write(f, run_policy_put, &p), LK_OK);
    fixture_reopen(f);
    assert_int_equal(in_read(f, run_policy_get, &got), LK_OK);
    assert_string_equal(got.scope, SCOPE);
    assert_string_equal(got.name, p.name);
    assert_int_equal(got.rights, LK_RIGHT_ENROLLMENT_READ);
    assert_string_equal(lk_buf_text(&got.sealed_primary), "one");
    assert_int_equal(got.sealed_secondary.len, 0);
    assert_int_equal(got.created_ms, born_ms);
    assert_int_equal(got.updated_ms, f->now_ms);
    lk_policy_fini(&got);
    memset(got.name, 'p', LK_POLICY_NAME_MAX);
    assert_int_equal(in_read(f, run_policy_get, &got), LK_ERR_NOT_FOUND);
    assert_int_equal(in_write(f, run_policy_delete, &got), LK_ERR_NOT_FOUND);
    assert_int_equal(in_write(f, run_policy_delete, &p), LK_OK);
    assert_int_equal(in_write(f, run_policy_delete, &p), LK_ERR_NOT_FOUND);
    lk_policy_fini(&p);
}

/* Misuse is refused: no name, no right, one that there is not, no such scope, a read job. */
static void
policy_misuse(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_policy p = {.scope = SCOPE, .rights = LK_RIGHTS_ALL};

    assert_int_equal(in_write(f, run_policy_put, &p), LK_ERR_ARG);
    memcpy(p.name, "p", 2);
    p.rights = 0;
    assert_int_equal(in_write(f, run_policy_put, &p), LK_ERR_ARG);
    p.rights = LK_RIGHTS_ALL + 1;
    assert_int_equal(in_write(f, run_policy_put, &p), LK_ERR_ARG);
    p.rights = LK_RIGHTS_ALL;
    assert_int_equal(in_read(f, run_policy_put, &p), LK_ERR_ARG);
    assert_int_equal(in_read(f, run_policy_delete, &p), LK_ERR_ARG);
    memcpy(p.scope, OTHER_SCOPE, sizeof(OTHER_SCOPE));
    assert_int_equal(in_write(f, run_policy_put, &p), LK_ERR_NOT_FOUND);
    p.scope[0] = '\0';
    assert_int_equal(in_write(f, run_policy_put, &p), LK_ERR_ARG);
}

/* The list is of one scope, in order of the exact name, until a callback stops it. */
static void
policies_are_listed(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    const char *names[] = {"b", "B", "a"};
    struct lk_policy p = {.scope = OTHER_SCOPE, .name = "other", .rights = 1};
    char list[200];

    assert_int_equal(do_scope_add(f, OTHER_SCOPE), LK_OK);
    assert_int_equal(in_write(f, run_policy_put, &p), LK_OK);
    memcpy(p.scope, SCOPE, sizeof(SCOPE));
    for (size_t i = 0; i < LK_ARRAY_LEN(names); i++) {
        (void)snprintf(p.name, sizeof(p.name), "%s", names[i]);
        assert_int_equal(in_write(f, run_policy_put, &p), LK_OK);
    }
    assert_int_equal(in_read(f, run_policy_each, list), LK_OK);
    assert_string_equal(list, "B a b ");
    memcpy(p.name, "stop", 5);
    assert_int_equal(in_write(f, run_policy_put, &p), LK_OK);
    memcpy(p.name, "tail", 5);
    assert_int_equal(in_write(f, run_policy_put, &p), LK_OK);
    assert_int_equal(in_read(f, run_policy_each, list), LK_ERR_CANCELLED);
    assert_string_equal(list, "B a b stop ");
}

/* ---- Trust ------------------------------------------------------------------------------------
 */

static void
trust_make(struct lk_trust *t, enum lk_trust_kind kind, int byte, size_t len)
{
    struct lk_part part;
    uint8_t *der;

    memset(t, 0, sizeof(*t));
    t->kind = kind;
    (void)snprintf(t->subject, sizeof(t->subject), "CN=%d", byte);
    der = lk_buf_extend(&t->der, len);
    assert_non_null(der);
    memset(der, byte, len);
    part = LK_PART(der, len);
    assert_int_equal(lk_digest(LK_SHA256, &part, 1, t->id), LK_OK);
}

static enum lk_err
run_trust_put(struct lk_txn *tx, void *arg)
{
    return lk_txn_trust_put(tx, (const struct lk_trust *)arg);
}

static enum lk_err
run_trust_delete(struct lk_txn *tx, void *arg)
{
    return lk_txn_trust_delete(tx, ((const struct lk_trust *)arg)->id);
}

struct trust_seen {
    char list[300];
    size_t bytes;
    int64_t created_ms;
};

static enum lk_err
trust_add(void *ctx, const struct lk_trust *t)
{
    struct trust_seen *seen = (struct trust_seen *)ctx;
    size_t len = strlen(seen->list);
    struct lk_part part = LK_PART(t->der.data, t->der.len);
    uint8_t id[32];

    assert_int_equal(lk_digest(LK_SHA256, &part, 1, id), LK_OK);
    assert_memory_equal(id, t->id, sizeof(id));
    (void)snprintf(seen->list + len, sizeof(seen->list) - len, "%d:%s ", (int)t->kind, t->subject);
    seen->bytes += t->der.len;
    seen->created_ms = t->created_ms;
    return LK_OK;
}

static enum lk_err
run_trust_each(struct lk_txn *tx, void *arg)
{
    memset(arg, 0, sizeof(struct trust_seen));
    return lk_txn_trust_each(tx, trust_add, arg);
}

static enum lk_err
run_trust_version(struct lk_txn *tx, void *arg)
{
    return lk_txn_trust_version(tx, (int64_t *)arg);
}

static int64_t
trust_version(struct fixture *f)
{
    int64_t version = -1;

    assert_int_equal(in_read(f, run_trust_version, &version), LK_OK);
    return version;
}

/* The largest one is kept, one byte more is not; so is nothing under a hash that is not its own. */
static void
trust_limits(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct trust_seen seen;
    struct lk_trust t;
    int64_t version = trust_version(f);

    trust_make(&t, LK_TRUST_CRL, 1, LK_TRUST_DER_MAX + 1);
    assert_int_equal(in_write(f, run_trust_put, &t), LK_ERR_LIMIT);
    lk_trust_fini(&t);
    trust_make(&t, LK_TRUST_CRL, 1, 10);
    t.id[31] ^= 1;
    assert_int_equal(in_write(f, run_trust_put, &t), LK_ERR_ARG);
    t.id[31] ^= 1;
    t.kind = (enum lk_trust_kind)0;
    assert_int_equal(in_write(f, run_trust_put, &t), LK_ERR_ARG);
    t.kind = LK_TRUST_ROOT;
    assert_int_equal(in_read(f, run_trust_put, &t), LK_ERR_ARG);
    assert_int_equal(in_read(f, run_trust_delete, &t), LK_ERR_ARG);
    assert_int_equal(in_write(f, run_trust_delete, &t), LK_ERR_NOT_FOUND);
    lk_trust_fini(&t);
    assert_int_equal(in_write(f, run_trust_put, &t), LK_ERR_ARG);
    assert_int_equal(trust_version(f), version);

    trust_make(&t, LK_TRUST_CRL, 1, LK_TRUST_DER_MAX);
    memset(t.subject, 's', sizeof(t.subject) - 1);
    assert_int_equal(in_write(f, run_trust_put, &t), LK_OK);
    lk_trust_fini(&t);
    assert_int_equal(in_read(f, run_trust_each, &seen), LK_OK);
    assert_int_equal(seen.bytes, LK_TRUST_DER_MAX);
    assert_int_equal(strspn(seen.list + 2, "s"), sizeof(t.subject) - 1);
}

/* Each change counts the version up, for whoever has the store open; what changes nothing does
 * not. */
static void
trust_changes(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct fixture other = *f; /* as another process: its own connections */
    struct trust_seen seen;
    struct lk_trust root, crl;
    int64_t version, before;

    fixture_open(&other);
    before = trust_version(&other);
    trust_make(&root, LK_TRUST_ROOT, 2, 100);
    trust_make(&crl, LK_TRUST_CRL, 1, 100);
    assert_int_equal(in_write(f, run_trust_put, &crl), LK_OK);
    assert_int_equal(in_write(f, run_trust_put, &root), LK_OK);
    assert_true((version = trust_version(&other)) > before);
    before = version;
    f->now_ms += 5;
    assert_int_equal(in_write(f, run_trust_put, &root), LK_OK);
    assert_int_equal(trust_version(&other), before);
    assert_int_equal(in_read(&other, run_trust_each, &seen), LK_OK);
    assert_string_equal(seen.list, "1:CN=2 3:CN=1 ");
    assert_int_equal(seen.bytes, 200);
    assert_int_equal(seen.created_ms, f->now_ms - 5);
    root.kind = LK_TRUST_FACTORY;
    assert_int_equal(in_write(&other, run_trust_put, &root), LK_OK);
    assert_true((version = trust_version(f)) > before);
    before = version;
    assert_int_equal(in_write(f, run_trust_delete, &crl), LK_OK);
    assert_int_equal(in_write(f, run_trust_delete, &crl), LK_ERR_NOT_FOUND);
    assert_true((version = trust_version(&other)) > before);
    assert_int_equal(in_read(&other, run_trust_each, &seen), LK_OK);
    assert_string_equal(seen.list, "4:CN=2 ");
    fixture_close(&other);
    fixture_reopen(f);
    assert_int_equal(trust_version(f), version);
    lk_trust_fini(&root);
    lk_trust_fini(&crl);
}

/* ---- Imports ----------------------------------------------------------------------------------
 */

struct import_call {
    int64_t id, rows, kept, line, before;
    bool force;
    const char *source, *scope;
    size_t limit;
    char list[2000];
};

static enum lk_err
run_begin(struct lk_txn *tx, void *arg)
{
    struct import_call *c = (struct import_call *)arg;

    return lk_txn_import_begin(tx, SCOPE, c->source, &c->id);
}

static enum lk_err
run_undo(struct lk_txn *tx, void *arg)
{
    struct import_call *c = (struct import_call *)arg;

    return lk_txn_import_undo(tx, c->id, c->force, &c->rows, &c->kept);
}

static enum lk_err
run_resume(struct lk_txn *tx, void *arg)
{
    struct import_call *c = (struct import_call *)arg;

    return lk_txn_import_resume(tx, c->id, c->source, &c->line);
}

static enum lk_err
import_add(void *ctx, const struct lk_import *i)
{
    struct import_call *c = (struct import_call *)ctx;
    size_t len = strlen(c->list);

    assert_string_equal(i->scope, SCOPE);
    (void)snprintf(c->list + len, sizeof(c->list) - len, "%d:%s:%d:%d:%d ", (int)i->id, i->source,
                   (int)i->state, (int)i->rows_count, (int)(i->touched_ms - i->begun_ms));
    return LK_OK;
}

static enum lk_err
run_imports(struct lk_txn *tx, void *arg)
{
    struct import_call *c = (struct import_call *)arg;

    c->list[0] = '\0';
    return lk_txn_import_page(tx, c->scope != NULL ? c->scope : SCOPE, c->before, c->limit,
                              import_add, c);
}

/* Stage count rows d1, d2, ... with EKs 1, 2, ... as lines 10, 20, ... */
static int64_t
import_make(struct fixture *f, int count, bool finish)
{
    struct import_call c = {.source = "list.csv"};
    struct lk_enrollment e;
    char id[16];
    int64_t rows;

    assert_int_equal(in_write(f, run_begin, &c), LK_OK);
    for (int i = 1; i <= count; i++) {
        (void)snprintf(id, sizeof(id), "d%d", i);
        enrollment_make(&e, id, (uint8_t)i);
        assert_int_equal(do_stage(f, c.id, 10 * i, &e, NULL), LK_OK);
    }
    if (finish) {
        assert_int_equal(do_finish(f, c.id, &rows), LK_OK);
    }
    return c.id;
}

/* An undone import is gone for readers at once, keeps what was changed, and gives ids and EKs back
 * once it is dropped. */
static void
undo_keeps_changes(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct import_call c = {.id = import_make(f, 4, true)};
    struct lk_enrollment e;
    char id[LK_REGISTRATION_ID_MAX + 1], page[100];
    bool left = true;

    enrollment_make(&e, "D2", 2);
    e.enabled = false;
    assert_int_equal(do_replace(f, &e, NULL, NULL), LK_OK);
    assert_int_equal(do_delete(f, "d3", NULL), LK_OK);
    enrollment_make(&e, "hand", 9);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(do_replace(f, &e, NULL, NULL), LK_OK);
    assert_int_equal(do_count(f), 4);

    assert_int_equal(in_write(f, run_undo, &c), LK_OK);
    assert_int_equal(c.rows, 2);
    assert_int_equal(c.kept, 1);
    do_page(f, "", 10, page, sizeof(page));
    assert_string_equal(page, "D2 hand");
    assert_int_equal(do_count(f), 2);
    assert_int_equal(do_by_ek(f, 1, id), LK_ERR_NOT_FOUND);
    assert_int_equal(do_get(f, "d2", &e), LK_OK);
    assert_int_equal(e.import_id + e.import_line, 0);
    assert_false(e.enabled);
    enrollment_make(&e, "d1", 20);
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_EXISTS);
    assert_int_equal(in_write(f, run_undo, &c), LK_ERR_PRECONDITION);

    assert_int_equal(do_drop(f, c.id, 10, &left), LK_OK);
    assert_false(left);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(in_write(f, run_undo, &c), LK_ERR_NOT_FOUND);
    assert_int_equal(do_count(f), 3);
}

/* With force, changed ones go too. What was never there, or is not finished, is not undone. */
static void
undo_forced(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct import_call c = {.id = 12345, .rows = -1, .kept = -1};
    struct lk_enrollment e;
    int64_t abandoned = 0, rows;

    assert_int_equal(in_write(f, run_undo, &c), LK_ERR_NOT_FOUND);
    c.id = import_make(f, 3, false);
    assert_int_equal(in_write(f, run_undo, &c), LK_ERR_PRECONDITION);
    assert_int_equal(c.rows + c.kept, -2);
    assert_int_equal(do_finish(f, c.id, &rows), LK_OK);
    assert_int_equal(in_read(f, run_undo, &c), LK_ERR_ARG);
    enrollment_make(&e, "d1", 1);
    assert_int_equal(do_replace(f, &e, NULL, NULL), LK_OK);
    c.force = true;
    assert_int_equal(in_write(f, run_undo, &c), LK_OK);
    assert_int_equal(c.rows, 3);
    assert_int_equal(c.kept, 0);
    assert_int_equal(do_count(f), 0);
    assert_int_equal(do_abandoned(f, f->now_ms + 1, &abandoned), LK_OK);
    assert_int_equal(abandoned, c.id);
}

/* An import of no row can be undone. */
static void
undo_empty(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct import_call c = {.id = import_make(f, 0, true), .rows = -1, .kept = -1};
    bool left = true;

    assert_int_equal(in_write(f, run_undo, &c), LK_OK);
    assert_int_equal(c.rows, 0);
    assert_int_equal(c.kept, 0);
    assert_int_equal(do_drop(f, c.id, 1, &left), LK_OK);
    assert_false(left);
}

/* An import goes on behind the last line that was staged, for the same source, and is fresh again;
 * one that is finished or being dropped does not. */
static void
resume(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct import_call c = {.source = "list.csv", .id = 12345, .line = -1};
    struct lk_enrollment e;
    int64_t rows, found;
    bool left;

    assert_int_equal(in_write(f, run_resume, &c), LK_ERR_NOT_FOUND);
    c.id = import_make(f, 0, false);
    assert_int_equal(in_write(f, run_resume, &c), LK_OK);
    assert_int_equal(c.line, 0);
    enrollment_make(&e, "a", 1);
    assert_int_equal(do_stage(f, c.id, 40, &e, NULL), LK_OK);
    enrollment_make(&e, "b", 2);
    assert_int_equal(do_stage(f, c.id, 7, &e, NULL), LK_OK);
    fixture_reopen(f);
    f->now_ms += 60000;
    assert_int_equal(do_abandoned(f, f->now_ms, &found), LK_OK);
    c.source = "other.csv";
    c.line = -1;
    assert_int_equal(in_write(f, run_resume, &c), LK_ERR_PRECONDITION);
    assert_int_equal(c.line, -1);
    c.source = "list.csv";
    assert_int_equal(in_read(f, run_resume, &c), LK_ERR_ARG);
    assert_int_equal(in_write(f, run_resume, &c), LK_OK);
    assert_int_equal(c.line, 40);
    assert_int_equal(do_abandoned(f, f->now_ms, &found), LK_ERR_NOT_FOUND);
    enrollment_make(&e, "c", 3);
    assert_int_equal(do_stage(f, c.id, 41, &e, NULL), LK_OK);
    assert_int_equal(do_finish(f, c.id, &rows), LK_OK);
    assert_int_equal(rows, 3);
    assert_int_equal(in_write(f, run_resume, &c), LK_ERR_NOT_FOUND);
    c.id = import_make(f, 0, false);
    enrollment_make(&e, "d", 4);
    assert_int_equal(do_stage(f, c.id, 1, &e, NULL), LK_OK);
    assert_int_equal(do_drop(f, c.id, 1, &left), LK_OK);
    assert_true(left);
    assert_int_equal(in_write(f, run_resume, &c), LK_ERR_NOT_FOUND);
}

/* A source is kept as far as it fits, between two characters, and is still the same source. */
static void
long_sources(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char source[400];
    struct import_call c = {.source = source, .limit = 10};

    memset(source, 's', sizeof(source));
    memcpy(source + 254, "\xe2\x82\xac", 3);
    source[sizeof(source) - 1] = '\0';
    assert_int_equal(in_write(f, run_begin, &c), LK_OK);
    assert_int_equal(in_write(f, run_resume, &c), LK_OK);
    assert_int_equal(in_read(f, run_imports, &c), LK_OK);
    assert_int_equal(strspn(strchr(c.list, ':') + 1, "s"), 254);
    assert_int_equal(strchr(c.list, ':')[255], ':');
    source[200] = 'x';
    assert_int_equal(in_write(f, run_resume, &c), LK_ERR_PRECONDITION);
}

/* Imports are listed newest first, in pages, of one scope, with what became of them. */
static void
imports_are_listed(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct import_call c = {.limit = 2}, undo = {0};
    bool left;

    assert_int_equal(in_read(f, run_imports, &c), LK_OK);
    assert_string_equal(c.list, "");
    undo.id = import_make(f, 2, true);
    assert_int_equal(undo.id, 1);
    f->now_ms += 3;
    assert_int_equal(in_write(f, run_undo, &undo), LK_OK);
    (void)import_make(f, 0, true);
    (void)import_make(f, 0, false);
    assert_int_equal(in_read(f, run_imports, &c), LK_OK);
    assert_string_equal(c.list, "3:list.csv:0:0:0 2:list.csv:1:0:0 ");
    c.before = 2;
    assert_int_equal(in_read(f, run_imports, &c), LK_OK);
    assert_string_equal(c.list, "1:list.csv:2:2:3 ");
    c.before = 1;
    assert_int_equal(in_read(f, run_imports, &c), LK_OK);
    assert_string_equal(c.list, "");
    c.before = 0;
    c.scope = OTHER_SCOPE;
    assert_int_equal(in_read(f, run_imports, &c), LK_OK);
    assert_string_equal(c.list, "");
    assert_int_equal(do_drop(f, 1, 9, &left), LK_OK);
    c.scope = NULL;
    c.before = 2;
    assert_int_equal(in_read(f, run_imports, &c), LK_OK);
    assert_string_equal(c.list, "");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(scope_set),
        CASE(scope_set_refusals),
        CASE(policies),
        CASE(policy_misuse),
        CASE(policies_are_listed),
        CASE(trust_limits),
        CASE(trust_changes),
        CASE(undo_keeps_changes),
        CASE(undo_forced),
        CASE(undo_empty),
        CASE(resume),
        CASE(long_sources),
        CASE(imports_are_listed),
    };

    return fixture_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
