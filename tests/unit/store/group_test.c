/*
 * The contract of src/store/store.h, as every backend keeps it: enrollment groups and the
 * registrations that came by them.
 *
 * usage: store_group_test [pgsql]      over which backend; see fixture_main()
 */
#include "fixture.h"

#include <stdio.h>

#define OTHER_SCOPE "0ne00000002"

struct group_call {
    struct lk_enrollment *g;
    const char *id, *etag, *after, *group;
    size_t limit;
    enum lk_attestation attestation;
    int64_t count;
    uint8_t ek[LK_EK_ID_LEN];
    char list[200];
};

static void
group_make(struct lk_enrollment *g, const char *id)
{
    enrollment_make(g, id, 0);
    g->attestation = LK_ATTESTATION_SYMMETRIC_KEY;
}

static enum lk_err
run_create(struct lk_txn *tx, void *arg)
{
    return lk_txn_group_create(tx, ((struct group_call *)arg)->g);
}

static enum lk_err
group_create(struct fixture *f, struct lk_enrollment *g)
{
    return in_write(f, run_create, &(struct group_call){.g = g});
}

static enum lk_err
run_replace(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;

    return lk_txn_group_replace(tx, c->g, c->etag);
}

static enum lk_err
group_replace(struct fixture *f, struct lk_enrollment *g, const char *etag)
{
    return in_write(f, run_replace, &(struct group_call){.g = g, .etag = etag});
}

static enum lk_err
run_delete(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;

    return lk_txn_group_delete(tx, SCOPE, c->id, c->etag);
}

static enum lk_err
group_delete(struct fixture *f, const char *id, const char *etag)
{
    return in_write(f, run_delete, &(struct group_call){.id = id, .etag = etag});
}

static enum lk_err
run_get(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;

    return lk_txn_group_get(tx, SCOPE, c->id, c->g);
}

static enum lk_err
group_get(struct fixture *f, const char *id, struct lk_enrollment *ret)
{
    return in_read(f, run_get, &(struct group_call){.id = id, .g = ret});
}

static enum lk_err
group_add(void *ctx, const struct lk_enrollment *g)
{
    strcat(strcat((char *)ctx, g->id), " ");
    return strcmp(g->id, "stop") == 0 ? LK_ERR_CANCELLED : LK_OK;
}

static enum lk_err
run_page(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;

    c->list[0] = '\0';
    return lk_txn_group_page(tx, SCOPE, c->after, c->limit, group_add, c->list);
}

static enum lk_err
run_each(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;

    c->list[0] = '\0';
    return lk_txn_group_each(tx, SCOPE, c->attestation, group_add, c->list);
}

/* ---- Groups -----------------------------------------------------------------------------------
 */

/* Every member of the largest group comes back, under any case of its id. */
static void
group_roundtrip(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment g, got;

    lk_enrollment_init(&got);
    group_make(&g, "");
    memset(g.id, 'X', LK_REGISTRATION_ID_MAX);
    g.enabled = false;
    g.allocation = LK_ALLOC_GEO;
    g.reprovision_update_hub = false;
    enrollment_fill(&g);
    lk_buf_fini(&g.srk_pub);
    assert_int_equal(lk_buf_puts(&g.rules, "{\"quota\":1}"), LK_OK);
    assert_int_equal(lk_buf_puts(&g.initial_twin, "{}"), LK_OK);
    g.hubs_count = LK_HUBS_PER_ENROLLMENT;
    for (size_t i = 0; i < g.hubs_count; i++) {
        memset(g.hubs[i], 'a' + (int)i, LK_HOST_NAME_MAX);
    }
    assert_int_equal(group_create(f, &g), LK_OK);
    memset(g.id, 'x', LK_REGISTRATION_ID_MAX);
    assert_int_equal(group_get(f, g.id, &got), LK_OK);
    memset(g.id, 'X', LK_REGISTRATION_ID_MAX);
    assert_string_equal(got.id, g.id);
    assert_string_equal(got.scope, SCOPE);
    assert_false(got.enabled || got.reprovision_update_hub);
    assert_true(got.reprovision_migrate);
    assert_int_equal(got.allocation, LK_ALLOC_GEO);
    assert_int_equal(got.hubs_count, g.hubs_count);
    assert_memory_equal(got.hubs, g.hubs, sizeof(g.hubs));
    assert_string_equal(lk_buf_text(&got.initial_twin), "{}");
    enrollment_filled(&g, &got);
    assert_string_equal(got.etag, g.etag);
    assert_int_equal(got.created_ms, f->now_ms);
    assert_int_equal(got.updated_ms, f->now_ms);
    lk_enrollment_fini(&g);
    lk_enrollment_fini(&got);
}

/* What a group does not have is not kept, and takes no EK from an enrollment. */
static void
group_keeps_no_device(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment g, got;
    char id[LK_REGISTRATION_ID_MAX + 1];

    lk_enrollment_init(&got);
    enrollment_make(&g, "g", 1);
    g.attestation = LK_ATTESTATION_EK_CERT;
    (void)snprintf(g.device_id, sizeof(g.device_id), "dev");
    assert_int_equal(lk_buf_puts(&g.srk_pub, "srk"), LK_OK);
    g.import_id = 3;
    assert_int_equal(group_create(f, &g), LK_OK);
    lk_enrollment_fini(&g);
    assert_int_equal(group_get(f, "G", &got), LK_OK);
    assert_string_equal(got.device_id, "");
    assert_int_equal(got.eks_count + got.srk_pub.len, 0);
    assert_int_equal(got.import_id, 0);
    assert_int_equal(got.attestation, LK_ATTESTATION_EK_CERT);
    lk_enrollment_fini(&got);
    assert_int_equal(do_by_ek(f, 1, id), LK_ERR_NOT_FOUND);
    assert_int_equal(do_get(f, "g", &got), LK_ERR_NOT_FOUND);
    assert_int_equal(do_count(f), 0);
    enrollment_make(&g, "g", 1);
    assert_int_equal(do_create(f, &g, NULL), LK_OK);
}

/* Misuse is refused before anything is written. */
static void
group_misuse(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment g;
    struct group_call c = {.g = &g, .after = "", .limit = 9};
    char too_long[LK_REGISTRATION_ID_MAX + 2];

    group_make(&g, "");
    assert_int_equal(group_create(f, &g), LK_ERR_ARG);
    group_make(&g, "a");
    g.attestation = LK_ATTESTATION_TPM;
    assert_int_equal(group_create(f, &g), LK_ERR_ARG);
    group_make(&g, "a");
    g.hubs_count = LK_HUBS_PER_ENROLLMENT + 1;
    assert_int_equal(group_create(f, &g), LK_ERR_ARG);
    group_make(&g, "a");
    assert_non_null(lk_buf_extend(&g.certs[0], LK_CERT_DER_MAX + 1));
    assert_int_equal(group_create(f, &g), LK_ERR_LIMIT);
    lk_enrollment_fini(&g);
    group_make(&g, "a");
    (void)snprintf(g.scope, sizeof(g.scope), "nowhere");
    assert_int_equal(group_create(f, &g), LK_ERR_NOT_FOUND);
    group_make(&g, "a");
    assert_int_equal(in_read(f, run_create, &c), LK_ERR_ARG);
    memset(too_long, 'a', sizeof(too_long));
    too_long[sizeof(too_long) - 1] = '\0';
    assert_int_equal(group_get(f, too_long, &g), LK_ERR_NOT_FOUND);
    assert_int_equal(group_get(f, "", &g), LK_ERR_NOT_FOUND);
    assert_int_equal(in_read(f, run_page, &c), LK_OK);
    assert_string_equal(c.list, "");
    c.after = too_long;
    assert_int_equal(in_read(f, run_page, &c), LK_ERR_ARG);
}

/* A replacement and a deletion need the current etag; the birthday stays. */
static void
group_changes(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment g, got;
    char old[LK_ETAG_CAP];
    int64_t born_ms = f->now_ms;

    lk_enrollment_init(&got);
    group_make(&g, "Group");
    assert_int_equal(group_replace(f, &g, NULL), LK_ERR_NOT_FOUND);
    assert_int_equal(group_delete(f, "group", NULL), LK_ERR_NOT_FOUND);
    assert_int_equal(group_create(f, &g), LK_OK);
    memcpy(old, g.etag, sizeof(old));
    assert_int_equal(group_create(f, &g), LK_ERR_EXISTS);
    memcpy(g.id, "gROUP", 6);
    assert_int_equal(group_create(f, &g), LK_ERR_EXISTS);
    f->now_ms += 10;
    g.enabled = false;
    memcpy(g.etag, old, sizeof(old));
    assert_int_equal(group_replace(f, &g, g.etag), LK_OK);
    assert_string_not_equal(g.etag, old);
    assert_int_equal(group_replace(f, &g, old), LK_ERR_PRECONDITION);
    assert_int_equal(group_get(f, "GROUP", &got), LK_OK);
    assert_string_equal(got.id, "gROUP");
    assert_false(got.enabled);
    assert_int_equal(got.created_ms, born_ms);
    assert_int_equal(got.updated_ms, f->now_ms);
    assert_int_equal(group_delete(f, "group", old), LK_ERR_PRECONDITION);
    assert_int_equal(group_delete(f, "group", got.etag), LK_OK);
    assert_int_equal(group_get(f, "group", &got), LK_ERR_NOT_FOUND);
}

/* The last group that fits is kept, one more is not; another scope has room of its own. */
static void
group_limit(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment g;
    char id[16];

    for (unsigned i = 0; i < LK_GROUPS_MAX; i++) {
        (void)snprintf(id, sizeof(id), "g%u", i);
        group_make(&g, id);
        assert_int_equal(group_create(f, &g), LK_OK);
    }
    assert_int_equal(group_create(f, &g), LK_ERR_EXISTS);
    group_make(&g, "more");
    assert_int_equal(group_create(f, &g), LK_ERR_LIMIT);
    assert_int_equal(do_scope_add(f, OTHER_SCOPE), LK_OK);
    (void)snprintf(g.scope, sizeof(g.scope), OTHER_SCOPE);
    assert_int_equal(group_create(f, &g), LK_OK);
    assert_int_equal(group_delete(f, "g0", NULL), LK_OK);
    group_make(&g, "more");
    assert_int_equal(group_create(f, &g), LK_OK);
}

/* Pages follow each other by lower-case id; each attestation has its own list, disabled or not. */
static void
group_lists(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    const char *ids[] = {"d", "B", "a", "C"};
    struct group_call c = {.after = "", .limit = 3};
    struct lk_enrollment g;

    assert_int_equal(do_scope_add(f, OTHER_SCOPE), LK_OK);
    group_make(&g, "a0");
    (void)snprintf(g.scope, sizeof(g.scope), OTHER_SCOPE);
    assert_int_equal(group_create(f, &g), LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(ids); i++) {
        group_make(&g, ids[i]);
        g.attestation = i == 2 ? LK_ATTESTATION_X509 : LK_ATTESTATION_SYMMETRIC_KEY;
        g.enabled = i != 1;
        assert_int_equal(group_create(f, &g), LK_OK);
    }
    assert_int_equal(in_read(f, run_page, &c), LK_OK);
    assert_string_equal(c.list, "a B C ");
    c.after = "c";
    assert_int_equal(in_read(f, run_page, &c), LK_OK);
    assert_string_equal(c.list, "d ");
    c.attestation = LK_ATTESTATION_SYMMETRIC_KEY;
    assert_int_equal(in_read(f, run_each, &c), LK_OK);
    assert_string_equal(c.list, "B C d ");
    c.attestation = LK_ATTESTATION_X509;
    assert_int_equal(in_read(f, run_each, &c), LK_OK);
    assert_string_equal(c.list, "a ");
    c.attestation = LK_ATTESTATION_EK_CERT;
    assert_int_equal(in_read(f, run_each, &c), LK_OK);
    assert_string_equal(c.list, "");
    group_make(&g, "stop");
    assert_int_equal(group_create(f, &g), LK_OK);
    group_make(&g, "tail");
    assert_int_equal(group_create(f, &g), LK_OK);
    c.attestation = LK_ATTESTATION_SYMMETRIC_KEY;
    assert_int_equal(in_read(f, run_each, &c), LK_ERR_CANCELLED);
    assert_string_equal(c.list, "B C d stop ");
}

/* ---- Registrations ----------------------------------------------------------------------------
 */

static enum lk_err
reg_add(void *ctx, const struct lk_registration *r)
{
    strcat(strcat((char *)ctx, r->id), " ");
    return LK_OK;
}

static enum lk_err
run_reg_page(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;

    c->list[0] = '\0';
    return lk_txn_registration_page_of_group(tx, SCOPE, c->group, c->after, c->limit, reg_add,
                                             c->list);
}

static enum lk_err
run_reg_count(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;

    return lk_txn_registration_count_of_group(tx, SCOPE, c->group, &c->count);
}

static void
reg_put(struct fixture *f, const char *id, const char *group, uint8_t ek, uint64_t generation)
{
    struct lk_registration r;

    registration_make(&r, id, generation);
    (void)snprintf(r.group, sizeof(r.group), "%s", group);
    memset(r.ek_id, ek, sizeof(r.ek_id));
    r.attested_ms = f->now_ms;
    assert_int_equal(do_reg_put(f, &r, generation - 1), LK_OK);
}

/* Pages and counts are of one group, in any case of its id, without what was deleted or has moved
 * to another. */
static void
registrations_of_group(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct group_call c = {.group = "group", .after = "", .limit = 2};

    reg_put(f, "e", "Group", 0, 1);
    reg_put(f, "D", "gROUP", 0, 1);
    reg_put(f, "c", "Group", 0, 1);
    reg_put(f, "b", "", 0, 1);
    reg_put(f, "a", "other", 0, 1);
    assert_int_equal(in_read(f, run_reg_page, &c), LK_OK);
    assert_string_equal(c.list, "c D ");
    c.after = "d";
    assert_int_equal(in_read(f, run_reg_page, &c), LK_OK);
    assert_string_equal(c.list, "e ");
    assert_int_equal(in_read(f, run_reg_count, &c), LK_OK);
    assert_int_equal(c.count, 3);
    assert_int_equal(do_reg_delete(f, "d", NULL), LK_OK);
    reg_put(f, "c", "other", 0, 2);
    assert_int_equal(in_read(f, run_reg_count, &c), LK_OK);
    assert_int_equal(c.count, 1);
    c.limit = 100;
    c.after = "";
    assert_int_equal(in_read(f, run_reg_page, &c), LK_OK);
    assert_string_equal(c.list, "e ");
    c.group = "OTHER";
    assert_int_equal(in_read(f, run_reg_page, &c), LK_OK);
    assert_string_equal(c.list, "a c ");
    c.group = "";
    assert_int_equal(in_read(f, run_reg_page, &c), LK_OK);
    assert_string_equal(c.list, "");
    assert_int_equal(in_read(f, run_reg_count, &c), LK_OK);
    assert_int_equal(c.count, 0);
}

static enum lk_err
run_reg_elsewhere(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;

    return lk_txn_registration_of_ek_elsewhere(tx, SCOPE, c->ek, c->id, c->list);
}

/* The id of another registration than own that was made with the EK; "": none. */
static const char *
elsewhere(struct fixture *f, struct group_call *c, uint8_t ek, const char *own)
{
    enum lk_err err;

    memset(c->ek, ek, sizeof(c->ek));
    c->id = own;
    c->list[0] = '\0';
    err = in_read(f, run_reg_elsewhere, c);
    assert_true(err == (c->list[0] != '\0' ? LK_OK : LK_ERR_NOT_FOUND));
    return c->list;
}

/* Every registration of an EK is found from every other id, also one that is older than the own
 * one; until another EK takes its place or it is deleted. An EK of zeros is none, another scope's
 * is another. */
static void
registration_of_ek_elsewhere(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct group_call c = {.limit = 0};
    struct lk_registration other;

    c.id = "";
    assert_int_equal(in_read(f, run_reg_elsewhere, &c), LK_ERR_ARG);
    assert_string_equal(elsewhere(f, &c, 1, "none"), "");
    reg_put(f, "no-tpm", "", 0, 1);
    assert_string_equal(elsewhere(f, &c, 0, "none"), "");
    reg_put(f, "First", "", 1, 1);
    assert_string_equal(elsewhere(f, &c, 1, "FIRST"), "");
    assert_string_equal(elsewhere(f, &c, 1, "none"), "First");
    f->now_ms += 10;
    reg_put(f, "second", "", 1, 1);
    assert_string_equal(elsewhere(f, &c, 1, "none"), "second");
    assert_string_equal(elsewhere(f, &c, 1, "Second"), "First");
    assert_string_equal(elsewhere(f, &c, 1, "first"), "second");
    f->now_ms -= 20; /* a clock that was set back */
    reg_put(f, "third", "", 1, 1);
    assert_string_equal(elsewhere(f, &c, 1, "third"), "second");
    assert_string_equal(elsewhere(f, &c, 1, "second"), "First");
    reg_put(f, "First", "", 2, 2);
    assert_string_equal(elsewhere(f, &c, 1, "second"), "third");
    assert_string_equal(elsewhere(f, &c, 2, "none"), "First");
    assert_int_equal(do_reg_delete(f, "second", NULL), LK_OK);
    assert_string_equal(elsewhere(f, &c, 1, "third"), "");
    assert_int_equal(do_scope_add(f, OTHER_SCOPE), LK_OK);
    registration_make(&other, "fourth", 1);
    (void)snprintf(other.scope, sizeof(other.scope), OTHER_SCOPE);
    memset(other.ek_id, 1, sizeof(other.ek_id));
    assert_int_equal(do_reg_put(f, &other, 0), LK_OK);
    assert_string_equal(elsewhere(f, &c, 1, "third"), "");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(group_roundtrip),
        CASE(group_keeps_no_device),
        CASE(group_misuse),
        CASE(group_changes),
        CASE(group_limit),
        CASE(group_lists),
        CASE(registrations_of_group),
        CASE(registration_of_ek_elsewhere),
    };

    return fixture_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
