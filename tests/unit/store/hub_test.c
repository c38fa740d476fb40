/*
 * The contract of src/store/store.h, as every backend keeps it: what an embedded hub keeps of its
 * devices, and the events that tell its broker.
 *
 * usage: store_hub_test [pgsql]      over which backend; see fixture_main()
 */
#include "fixture.h"

#include <inttypes.h>
#include <stdio.h>

#define HUB "hub.example"
#define OTHER_HUB "other.example"

/* Input and output of any one call. */
struct call {
    const char *hub, *id, *after, *etag;
    size_t limit;
    bool connected;
    struct lk_identity *identity;
    struct lk_presence present;
    struct lk_twin *twin;
    struct lk_c2d *message;
    struct lk_hub_event *event;
    struct lk_hub_policy *policy;
    int64_t seq;
    uint64_t total, disabled, online;
    uint32_t count;
    char list[512];
};

static void
list_add(struct call *c, const char *text)
{
    assert_true(strlen(c->list) + strlen(text) + 2 < sizeof(c->list));
    strcat(c->list, text);
    strcat(c->list, " ");
}

/* ---- Identities -------------------------------------------------------------------------------
 */

static enum lk_err
run_identity_put(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_identity_put(tx, c->identity, c->etag);
}

static enum lk_err
run_identity_get(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_identity_get(tx, c->hub, c->id, c->identity);
}

static enum lk_err
run_identity_delete(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_identity_delete(tx, c->hub, c->id, NULL);
}

static enum lk_err
run_count(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_identity_count(tx, c->hub, &c->total, &c->disabled, &c->online);
}

static struct lk_identity
identity_of(const char *hub, const char *id)
{
    struct lk_identity i = {.enabled = true, .auth = LK_AUTH_SAS};

    assert_int_equal(lk_strcpy(i.hub, sizeof(i.hub), hub), LK_OK);
    assert_int_equal(lk_strcpy(i.device_id, sizeof(i.device_id), id), LK_OK);
    return i;
}

static void
device_add(struct fixture *f, const char *hub, const char *id)
{
    struct lk_identity i = identity_of(hub, id);

    assert_int_equal(in_write(f, run_identity_put, &(struct call){.identity = &i}), LK_OK);
}

static void
device_delete(struct fixture *f, const char *hub, const char *id)
{
    assert_int_equal(in_write(f, run_identity_delete, &(struct call){.hub = hub, .id = id}), LK_OK);
}

static void
counts_are(struct fixture *f, const char *hub, uint64_t total, uint64_t disabled, uint64_t online)
{
    struct call c = {.hub = hub, .total = 99, .disabled = 99, .online = 99};

    assert_int_equal(in_read(f, run_count, &c), LK_OK);
    assert_int_equal(c.total, total);
    assert_int_equal(c.disabled, disabled);
    assert_int_equal(c.online, online);
}

/* Every field at its largest comes back; the status has the time of its last change. */
static void
identity_fields(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_identity i = identity_of(HUB, "Dev"), got = {.enabled = false};
    struct call put = {.identity = &i}, get = {.hub = HUB, .id = "Dev", .identity = &got};

    memset(i.owner_scope, 's', LK_ID_SCOPE_MAX);
    memset(i.owner_id, 'o', LK_REGISTRATION_ID_MAX);
    memset(i.thumbprints[0], 'A', LK_THUMBPRINT_MAX);
    memset(i.thumbprints[1], 'B', LK_THUMBPRINT_MAX);
    memset(i.status_reason, 'r', LK_STATUS_REASON_MAX);
    i.auth = LK_AUTH_NONE;
    i.iot_edge = true;
    i.status_updated_ms = 7;
    assert_int_equal(in_write(f, run_identity_put, &put), LK_OK);
    assert_int_equal(in_read(f, run_identity_get, &get), LK_OK);
    assert_string_equal(got.owner_scope, i.owner_scope);
    assert_string_equal(got.owner_id, i.owner_id);
    assert_string_equal(got.thumbprints[0], i.thumbprints[0]);
    assert_string_equal(got.thumbprints[1], i.thumbprints[1]);
    assert_string_equal(got.status_reason, i.status_reason);
    assert_int_equal(got.auth, LK_AUTH_NONE);
    assert_true(got.iot_edge && got.enabled);
    assert_int_equal(got.status_updated_ms, 0);

    f->now_ms += 10;
    i.enabled = false;
    assert_int_equal(in_write(f, run_identity_put, &put), LK_OK);
    f->now_ms += 10;
    assert_int_equal(in_write(f, run_identity_put, &put), LK_OK);
    assert_int_equal(in_read(f, run_identity_get, &get), LK_OK);
    assert_int_equal(got.status_updated_ms, f->now_ms - 10);
    assert_int_equal(got.updated_ms, f->now_ms);
}

/* A kind of authentication that there is not, and half an owner. */
static void
identity_misuse(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_identity i = identity_of(HUB, "Dev");
    struct call c = {.identity = &i};

    i.auth = (enum lk_identity_auth)0;
    assert_int_equal(in_write(f, run_identity_put, &c), LK_ERR_ARG);
    i.auth = (enum lk_identity_auth)5;
    assert_int_equal(in_write(f, run_identity_put, &c), LK_ERR_ARG);
    i.auth = LK_AUTH_CA;
    i.owner_scope[0] = 's';
    assert_int_equal(in_write(f, run_identity_put, &c), LK_ERR_ARG);
    i.owner_scope[0] = '\0';
    i.owner_id[0] = 'o';
    assert_int_equal(in_write(f, run_identity_put, &c), LK_ERR_ARG);
    i.owner_scope[0] = 's';
    assert_int_equal(in_read(f, run_identity_put, &c), LK_ERR_ARG);
    assert_int_equal(in_write(f, run_identity_put, &c), LK_OK);
}

static enum lk_err
run_failing_put(struct lk_txn *tx, void *arg)
{
    enum lk_err err = run_identity_put(tx, arg);

    return err != LK_OK ? err : LK_ERR_CANCELLED;
}

/* Identities are counted with each change, of each hub apart, and not when the job is undone. */
static void
identities_are_counted(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_identity i = identity_of(HUB, "b");
    struct call c = {.identity = &i};

    counts_are(f, HUB, 0, 0, 0);
    device_add(f, HUB, "a");
    device_add(f, OTHER_HUB, "a");
    i.enabled = false;
    assert_int_equal(in_write(f, run_failing_put, &c), LK_ERR_CANCELLED);
    counts_are(f, HUB, 1, 0, 0);
    assert_int_equal(in_write(f, run_identity_put, &c), LK_OK);
    counts_are(f, HUB, 2, 1, 0);
    assert_int_equal(in_write(f, run_identity_put, &c), LK_OK);
    counts_are(f, HUB, 2, 1, 0);
    i.enabled = true;
    assert_int_equal(in_write(f, run_identity_put, &c), LK_OK);
    counts_are(f, HUB, 2, 0, 0);
    i.enabled = false;
    assert_int_equal(in_write(f, run_identity_put, &c), LK_OK);
    device_delete(f, HUB, "b");
    counts_are(f, HUB, 1, 0, 0);
    device_delete(f, HUB, "a");
    counts_are(f, HUB, 0, 0, 0);
    counts_are(f, OTHER_HUB, 1, 0, 0);
}

/* ---- Presence ---------------------------------------------------------------------------------
 */

static enum lk_err
run_presence_set(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_presence_set(tx, c->hub, c->id, c->connected);
}

static enum lk_err
run_presence_get(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_presence_get(tx, c->hub, c->id, &c->present);
}

static enum lk_err
run_presence_clear(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_presence_clear(tx, c->hub);
}

static enum lk_err
do_presence(struct fixture *f, const char *hub, const char *id, bool connected)
{
    struct call c = {.hub = hub, .id = id, .connected = connected};

    return in_write(f, run_presence_set, &c);
}

static void
presence_is(struct fixture *f, const char *id, bool connected, int64_t changed_ms,
            int64_t activity_ms)
{
    struct call c = {.hub = HUB, .id = id, .present = {true, 99, 99}};

    assert_int_equal(in_read(f, run_presence_get, &c), LK_OK);
    assert_int_equal(c.present.connected, connected);
    assert_int_equal(c.present.changed_ms, changed_ms);
    assert_int_equal(c.present.activity_ms, activity_ms);
}

/* A session begins, goes on, ends; of a device that there is not, it cannot. */
static void
presence(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    int64_t begin_ms = f->now_ms;

    presence_is(f, "a", false, 0, 0);
    assert_int_equal(do_presence(f, HUB, "a", true), LK_ERR_NOT_FOUND);
    assert_int_equal(do_presence(f, HUB, "a", false), LK_ERR_NOT_FOUND);
    device_add(f, HUB, "a");
    assert_int_equal(do_presence(f, HUB, "a", false), LK_OK);
    presence_is(f, "a", false, 0, 0);
    assert_int_equal(do_presence(f, HUB, "a", true), LK_OK);
    f->now_ms += 10;
    assert_int_equal(do_presence(f, HUB, "a", true), LK_OK);
    presence_is(f, "a", true, begin_ms, begin_ms + 10);
    counts_are(f, HUB, 1, 0, 1);
    f->now_ms += 10;
    assert_int_equal(do_presence(f, HUB, "a", false), LK_OK);
    f->now_ms += 10;
    assert_int_equal(do_presence(f, HUB, "a", false), LK_OK);
    presence_is(f, "a", false, begin_ms + 20, begin_ms + 10);
    counts_are(f, HUB, 1, 0, 0);
    assert_int_equal(in_read(f, run_presence_set, &(struct call){.hub = HUB, .id = "a"}),
                     LK_ERR_ARG);
}

/* A broker that begins anew has no sessions; those of another hub's stay. */
static void
presence_cleared(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct call c = {.hub = HUB};

    device_add(f, HUB, "a");
    device_add(f, HUB, "b");
    device_add(f, OTHER_HUB, "a");
    assert_int_equal(do_presence(f, HUB, "a", true), LK_OK);
    assert_int_equal(do_presence(f, HUB, "b", true), LK_OK);
    assert_int_equal(do_presence(f, OTHER_HUB, "a", true), LK_OK);
    counts_are(f, HUB, 2, 0, 2);
    assert_int_equal(in_read(f, run_presence_clear, &c), LK_ERR_ARG);
    f->now_ms += 10;
    assert_int_equal(in_write(f, run_presence_clear, &c), LK_OK);
    counts_are(f, HUB, 2, 0, 0);
    counts_are(f, OTHER_HUB, 1, 0, 1);
    presence_is(f, "a", false, f->now_ms, f->now_ms - 10);
}

/* Who is deleted while connected is no longer counted, and not remembered when made anew. */
static void
presence_goes_with_identity(void **state)
{
    struct fixture *f = (struct fixture *)*state;

    device_add(f, HUB, "a");
    assert_int_equal(do_presence(f, HUB, "a", true), LK_OK);
    device_delete(f, HUB, "a");
    counts_are(f, HUB, 0, 0, 0);
    device_add(f, HUB, "a");
    presence_is(f, "a", false, 0, 0);
}

/* ---- Twins ------------------------------------------------------------------------------------
 */

static enum lk_err
run_twin_get(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_twin_get(tx, c->hub, c->id, c->twin);
}

static enum lk_err
run_twin_put(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_twin_put(tx, c->twin, c->etag);
}

static enum lk_err
twin_add(void *ctx, const struct lk_twin *t)
{
    list_add((struct call *)ctx, t->device_id);
    return LK_OK;
}

static enum lk_err
run_twin_page(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    c->list[0] = '\0';
    return lk_txn_twin_page(tx, c->hub, c->after, c->limit, twin_add, c);
}

static void
text_set(struct lk_buf *b, const char *text)
{
    lk_buf_reset(b);
    assert_int_equal(lk_buf_puts(b, text), LK_OK);
}

static void
text_is(struct lk_buf *b, const char *text)
{
    assert_string_equal(b->len > 0 ? lk_buf_text(b) : "", text);
}

/* A new identity has an empty twin, which goes with it. */
static void
twin_of_new_identity(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_twin t = LK_TWIN_INIT;
    struct call c = {.hub = HUB, .id = "a", .twin = &t};

    assert_int_equal(in_read(f, run_twin_get, &c), LK_ERR_NOT_FOUND);
    device_add(f, HUB, "a");
    assert_int_equal(in_read(f, run_twin_get, &c), LK_OK);
    assert_string_equal(t.hub, HUB);
    assert_string_equal(t.device_id, "a");
    assert_int_equal(t.tags.len + t.desired.len + t.reported.len, 0);
    assert_int_equal(t.desired_version, 1);
    assert_int_equal(t.reported_version, 1);
    assert_int_equal(t.version, 1);
    assert_int_equal(strlen(t.etag), LK_ETAG_CAP - 1);
    assert_int_equal(t.created_ms, f->now_ms);
    text_set(&t.tags, "{\"a\":1}");
    assert_int_equal(in_write(f, run_twin_put, &c), LK_OK);
    device_delete(f, HUB, "a");
    assert_int_equal(in_read(f, run_twin_get, &c), LK_ERR_NOT_FOUND);
    text_is(&t.tags, "{\"a\":1}");
    assert_int_equal(in_write(f, run_twin_put, &c), LK_ERR_NOT_FOUND);
    device_add(f, HUB, "a");
    assert_int_equal(in_read(f, run_twin_get, &c), LK_OK);
    assert_int_equal(t.tags.len, 0);
    lk_twin_fini(&t);
}

/* Each section comes back; an etag is a condition; another put of the identity changes nothing. */
static void
twin_put(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_twin t = LK_TWIN_INIT, got = LK_TWIN_INIT;
    struct call put = {.twin = &t}, get = {.hub = HUB, .id = "a", .twin = &got};
    char first[LK_ETAG_CAP];

    device_add(f, HUB, "a");
    assert_int_equal(in_read(f, run_twin_get, &(struct call){.hub = HUB, .id = "a", .twin = &t}),
                     LK_OK);
    memcpy(first, t.etag, sizeof(first));
    text_set(&t.tags, "1");
    text_set(&t.desired, "2");
    text_set(&t.reported, "3");
    text_set(&t.desired_meta, "4");
    text_set(&t.reported_meta, "5");
    t.desired_version = 6;
    t.reported_version = 7;
    t.version = INT64_MAX;
    put.etag = first;
    f->now_ms += 10;
    assert_int_equal(in_write(f, run_twin_put, &put), LK_OK);
    assert_int_equal(in_write(f, run_twin_put, &put), LK_ERR_PRECONDITION);
    put.etag = "*";
    assert_int_equal(in_write(f, run_twin_put, &put), LK_OK);
    device_add(f, HUB, "a");
    assert_int_equal(in_read(f, run_twin_get, &get), LK_OK);
    text_is(&got.tags, "1");
    text_is(&got.desired, "2");
    text_is(&got.reported, "3");
    text_is(&got.desired_meta, "4");
    text_is(&got.reported_meta, "5");
    assert_int_equal(got.desired_version, 6);
    assert_int_equal(got.reported_version, 7);
    assert_true(got.version == INT64_MAX);
    assert_string_equal(got.etag, t.etag);
    assert_int_equal(got.updated_ms, f->now_ms);
    t.version = 0;
    assert_int_equal(in_write(f, run_twin_put, &put), LK_ERR_ARG);
    t.version = 1;
    assert_int_equal(in_read(f, run_twin_put, &put), LK_ERR_ARG);
    lk_twin_fini(&t);
    lk_twin_fini(&got);
}

/* In order of the exact device id, of one hub, in pages. */
static void
twin_pages(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct call c = {.hub = HUB, .after = "", .limit = 2};

    device_add(f, HUB, "a");
    device_add(f, HUB, "B");
    device_add(f, HUB, "c");
    device_add(f, OTHER_HUB, "b");
    assert_int_equal(in_read(f, run_twin_page, &c), LK_OK);
    assert_string_equal(c.list, "B a ");
    c.after = "a";
    assert_int_equal(in_read(f, run_twin_page, &c), LK_OK);
    assert_string_equal(c.list, "c ");
    c.after = "c";
    assert_int_equal(in_read(f, run_twin_page, &c), LK_OK);
    assert_string_equal(c.list, "");
}

/* ---- Cloud-to-device messages -----------------------------------------------------------------
 */

static enum lk_err
run_c2d_add(struct lk_txn *tx, void *arg)
{
    return lk_txn_c2d_add(tx, ((struct call *)arg)->message);
}

static enum lk_err
run_c2d_update(struct lk_txn *tx, void *arg)
{
    return lk_txn_c2d_update(tx, ((struct call *)arg)->message);
}

static enum lk_err
run_c2d_delete(struct lk_txn *tx, void *arg)
{
    return lk_txn_c2d_delete(tx, ((struct call *)arg)->seq);
}

static enum lk_err
run_c2d_count(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_c2d_count(tx, c->hub, c->id, &c->count);
}

static enum lk_err
c2d_list(void *ctx, const struct lk_c2d *m)
{
    char line[600];

    (void)snprintf(line, sizeof(line), "%.*s:%.*s:%s:%" PRId64 ":%" PRId64 ":%" PRId64 ":%u",
                   (int)m->body.len, (const char *)m->body.data, (int)m->properties.len,
                   (const char *)m->properties.data, m->lock, m->enqueued_ms, m->expires_ms,
                   m->locked_until_ms, (unsigned)m->deliveries);
    list_add((struct call *)ctx, line);
    return LK_OK;
}

static enum lk_err
run_c2d_each(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    c->list[0] = '\0';
    return lk_txn_c2d_each(tx, c->hub, c->id, c2d_list, c);
}

static enum lk_err
device_list(void *ctx, const char *device_id)
{
    list_add((struct call *)ctx, device_id);
    return LK_OK;
}

static enum lk_err
run_c2d_devices(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    c->list[0] = '\0';
    return lk_txn_c2d_devices(tx, c->hub, c->after, c->limit, device_list, c);
}

static enum lk_err
do_c2d_add(struct fixture *f, const char *hub, const char *id, const char *body, int64_t *ret_seq)
{
    struct lk_c2d m = {.expires_ms = 77};
    enum lk_err err;

    assert_int_equal(lk_strcpy(m.hub, sizeof(m.hub), hub), LK_OK);
    assert_int_equal(lk_strcpy(m.device_id, sizeof(m.device_id), id), LK_OK);
    assert_int_equal(lk_buf_puts(&m.body, body), LK_OK);
    assert_int_equal(lk_buf_puts(&m.properties, "a=b"), LK_OK);
    err = in_write(f, run_c2d_add, &(struct call){.message = &m});
    if (err == LK_OK) {
        *ret_seq = m.seq;
    }
    lk_c2d_fini(&m);
    return err;
}

/* Messages keep their order; locks are kept and looked for; what is deleted is gone. */
static void
messages(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct call c = {.hub = HUB, .id = "a"};
    struct lk_c2d lock = {.locked_until_ms = 88, .deliveries = 3};
    int64_t first = 0, second = 0, third = 0;

    f->now_ms = 55;
    assert_int_equal(do_c2d_add(f, HUB, "a", "one", &first), LK_ERR_NOT_FOUND);
    device_add(f, HUB, "a");
    assert_int_equal(do_c2d_add(f, HUB, "a", "one", &first), LK_OK);
    assert_int_equal(do_c2d_add(f, HUB, "a", "two", &second), LK_OK);
    assert_true(second > first && first > 0);
    lock.seq = first;
    memset(lock.lock, 'L', LK_C2D_LOCK_CAP - 1);
    c.message = &lock;
    assert_int_equal(in_write(f, run_c2d_update, &c), LK_OK);
    assert_int_equal(in_read(f, run_c2d_each, &c), LK_OK);
    assert_string_equal(c.list, "one:a=b:LLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLL:55:77:88:3 "
                                "two:a=b::55:77:0:0 ");
    assert_int_equal(in_read(f, run_c2d_count, &c), LK_OK);
    assert_int_equal(c.count, 2);
    c.seq = second;
    assert_int_equal(in_write(f, run_c2d_delete, &c), LK_OK);
    assert_int_equal(in_write(f, run_c2d_delete, &c), LK_ERR_NOT_FOUND);
    lock.seq = second;
    assert_int_equal(in_write(f, run_c2d_update, &c), LK_ERR_NOT_FOUND);
    assert_int_equal(do_c2d_add(f, HUB, "a", "three", &third), LK_OK);
    assert_true(third > second);
    device_delete(f, HUB, "a");
    device_add(f, HUB, "a");
    assert_int_equal(in_read(f, run_c2d_each, &c), LK_OK);
    assert_string_equal(c.list, "");
    assert_int_equal(in_read(f, run_c2d_count, &c), LK_OK);
    assert_int_equal(c.count, 0);
}

/* Properties past their limit, and changes in a read job. */
static void
message_misuse(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_c2d m = {.hub = HUB, .device_id = "a"};
    struct call c = {.hub = HUB, .id = "a", .message = &m, .seq = 1};

    device_add(f, HUB, "a");
    assert_non_null(lk_buf_extend(&m.properties, LK_C2D_PROPERTIES_MAX));
    memset(m.properties.data, 'p', m.properties.len);
    assert_int_equal(in_read(f, run_c2d_add, &c), LK_ERR_ARG);
    assert_int_equal(in_write(f, run_c2d_add, &c), LK_OK);
    assert_int_equal(in_read(f, run_c2d_update, &c), LK_ERR_ARG);
    assert_int_equal(in_read(f, run_c2d_delete, &c), LK_ERR_ARG);
    assert_int_equal(lk_buf_puts(&m.properties, "p"), LK_OK);
    assert_int_equal(in_write(f, run_c2d_add, &c), LK_ERR_ARG);
    assert_int_equal(in_read(f, run_c2d_count, &c), LK_OK);
    assert_int_equal(c.count, 1);
    lk_c2d_fini(&m);
}

/* Devices with a message that can be handed out now: each once, of one hub, in pages. */
static void
message_devices(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct call c = {.hub = HUB, .after = "", .limit = 2};
    const char *ids[] = {"c", "a", "b", "a"};
    struct lk_c2d lock = {.deliveries = 1};
    int64_t seq[4] = {0};

    device_add(f, HUB, "a");
    device_add(f, HUB, "b");
    device_add(f, HUB, "c");
    device_add(f, OTHER_HUB, "d");
    for (size_t i = 0; i < LK_ARRAY_LEN(ids); i++) {
        assert_int_equal(do_c2d_add(f, HUB, ids[i], "m", &seq[i]), LK_OK);
    }
    assert_int_equal(do_c2d_add(f, OTHER_HUB, "d", "m", &(int64_t){0}), LK_OK);
    assert_int_equal(in_read(f, run_c2d_devices, &c), LK_OK);
    assert_string_equal(c.list, "a b ");
    lock.seq = seq[2];
    lock.locked_until_ms = f->now_ms + 1;
    c.message = &lock;
    assert_int_equal(in_write(f, run_c2d_update, &c), LK_OK);
    assert_int_equal(in_read(f, run_c2d_devices, &c), LK_OK);
    assert_string_equal(c.list, "a c ");
    c.after = "a";
    assert_int_equal(in_read(f, run_c2d_devices, &c), LK_OK);
    assert_string_equal(c.list, "c ");
    f->now_ms++;
    assert_int_equal(in_read(f, run_c2d_devices, &c), LK_OK);
    assert_string_equal(c.list, "b c ");
}

/* ---- Hub events -------------------------------------------------------------------------------
 */

static enum lk_err
run_event_add(struct lk_txn *tx, void *arg)
{
    return lk_txn_hub_event_add(tx, ((struct call *)arg)->event);
}

static enum lk_err
event_list(void *ctx, const struct lk_hub_event *e)
{
    char line[600];

    (void)snprintf(line, sizeof(line), "%" PRId64 ":%d:%s/%s:%.*s", e->seq, (int)e->kind, e->hub,
                   e->device_id, (int)e->detail.len, (const char *)e->detail.data);
    list_add((struct call *)ctx, line);
    return LK_OK;
}

static enum lk_err
run_event_each(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    c->list[0] = '\0';
    return lk_txn_hub_event_each(tx, c->seq, c->limit, event_list, c);
}

static enum lk_err
run_event_prune(struct lk_txn *tx, void *arg)
{
    return lk_txn_hub_event_prune(tx, ((struct call *)arg)->seq);
}

static enum lk_err
run_event_marks(struct lk_txn *tx, void *arg)
{
    int64_t *marks = (int64_t *)arg;
    enum lk_err err = lk_txn_hub_event_last(tx, &marks[0]);

    return err != LK_OK ? err : lk_txn_hub_event_pruned(tx, &marks[1]);
}

static void
marks_are(struct fixture *f, int64_t last, int64_t pruned)
{
    int64_t marks[2] = {-1, -1};

    assert_int_equal(in_read(f, run_event_marks, marks), LK_OK);
    assert_int_equal(marks[0], last);
    assert_int_equal(marks[1], pruned);
}

/* Each change of an identity is told, its end too; twins, presence and messages tell nothing. */
static void
events_of_identities(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_twin t = LK_TWIN_INIT;
    struct call c = {.hub = HUB, .id = "a", .limit = 10, .twin = &t};

    marks_are(f, 0, 0);
    device_add(f, HUB, "a");
    device_add(f, HUB, "a");
    assert_int_equal(do_presence(f, HUB, "a", true), LK_OK);
    assert_int_equal(do_c2d_add(f, HUB, "a", "m", &(int64_t){0}), LK_OK);
    assert_int_equal(in_read(f, run_twin_get, &c), LK_OK);
    assert_int_equal(in_write(f, run_twin_put, &c), LK_OK);
    lk_twin_fini(&t);
    device_delete(f, HUB, "a");
    assert_int_equal(in_write(f, run_identity_delete, &c), LK_ERR_NOT_FOUND);
    assert_int_equal(in_read(f, run_event_each, &c), LK_OK);
    assert_string_equal(c.list, "1:1:" HUB "/a: 2:1:" HUB "/a: 3:1:" HUB "/a: ");
    marks_are(f, 3, 0);
}

/* Events are read in order from anywhere; what was dropped is known, and numbers go on. */
static void
events(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_hub_event e = {.kind = LK_HUB_EVENT_DESIRED, .hub = HUB, .device_id = "a"};
    struct call c = {.event = &e, .limit = 2};

    assert_int_equal(lk_buf_puts(&e.detail, "{}"), LK_OK);
    for (int i = 1; i <= 4; i++) {
        assert_int_equal(in_write(f, run_event_add, &c), LK_OK);
        assert_int_equal(e.seq, i);
    }
    assert_int_equal(in_read(f, run_event_each, &c), LK_OK);
    assert_string_equal(c.list, "1:2:" HUB "/a:{} 2:2:" HUB "/a:{} ");
    c.seq = 3;
    assert_int_equal(in_read(f, run_event_each, &c), LK_OK);
    assert_string_equal(c.list, "4:2:" HUB "/a:{} ");
    assert_int_equal(in_read(f, run_event_prune, &c), LK_ERR_ARG);
    assert_int_equal(in_write(f, run_event_prune, &c), LK_OK);
    marks_are(f, 4, 3);
    c.seq = 1;
    assert_int_equal(in_write(f, run_event_prune, &c), LK_OK);
    marks_are(f, 4, 3);
    c.seq = 99;
    assert_int_equal(in_write(f, run_event_prune, &c), LK_OK);
    marks_are(f, 4, 4);
    c.seq = 0;
    assert_int_equal(in_read(f, run_event_each, &c), LK_OK);
    assert_string_equal(c.list, "");
    assert_int_equal(in_write(f, run_event_add, &c), LK_OK);
    assert_int_equal(e.seq, 5);
    marks_are(f, 5, 4);
    lk_hub_event_fini(&e);
}

/* The largest detail, one byte more, no device, no kind. */
static void
event_misuse(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_hub_event e = {.kind = LK_HUB_EVENT_C2D, .hub = HUB, .device_id = "a"};
    struct call c = {.event = &e};

    assert_non_null(lk_buf_extend(&e.detail, LK_HUB_EVENT_DETAIL_MAX));
    memset(e.detail.data, 'd', e.detail.len);
    assert_int_equal(in_read(f, run_event_add, &c), LK_ERR_ARG);
    assert_int_equal(in_write(f, run_event_add, &c), LK_OK);
    assert_int_equal(lk_buf_puts(&e.detail, "d"), LK_OK);
    assert_int_equal(in_write(f, run_event_add, &c), LK_ERR_LIMIT);
    lk_hub_event_fini(&e);
    e.kind = (enum lk_hub_event_kind)0;
    assert_int_equal(in_write(f, run_event_add, &c), LK_ERR_ARG);
    e.kind = LK_HUB_EVENT_C2D;
    e.device_id[0] = '\0';
    assert_int_equal(in_write(f, run_event_add, &c), LK_ERR_ARG);
    marks_are(f, 1, 0);
}

/* ---- Policies ---------------------------------------------------------------------------------
 */

static enum lk_err
run_hub_put(struct lk_txn *tx, void *arg)
{
    struct lk_hub h = {.kind = LK_HUB_EMBEDDED, .weight = 1};
    enum lk_err err = lk_strcpy(h.name, sizeof(h.name), (const char *)arg);

    return err != LK_OK ? err : lk_txn_hub_put(tx, &h);
}

static enum lk_err
run_hub_delete(struct lk_txn *tx, void *arg)
{
    return lk_txn_hub_delete(tx, (const char *)arg);
}

static enum lk_err
run_policy_put(struct lk_txn *tx, void *arg)
{
    return lk_txn_hub_policy_put(tx, ((struct call *)arg)->policy);
}

static enum lk_err
run_policy_get(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_hub_policy_get(tx, c->hub, c->id, c->policy);
}

static enum lk_err
run_policy_delete(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    return lk_txn_hub_policy_delete(tx, c->hub, c->id);
}

static enum lk_err
policy_list(void *ctx, const struct lk_hub_policy *p)
{
    list_add((struct call *)ctx, p->name);
    return LK_OK;
}

static enum lk_err
run_policy_each(struct lk_txn *tx, void *arg)
{
    struct call *c = (struct call *)arg;

    c->list[0] = '\0';
    return lk_txn_hub_policy_each(tx, c->hub, policy_list, c);
}

/* Policies are put, read, replaced, listed by name, deleted, and go with their hub. */
static void
policies(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char hub[] = HUB, other[] = OTHER_HUB;
    struct lk_hub_policy p = {.hub = HUB, .rights = LK_HUB_REGISTRY_READ}, got = {.rights = 0};
    struct call c = {.hub = HUB, .policy = &p};
    int64_t born_ms = f->now_ms;

    memset(p.name, 'n', LK_POLICY_NAME_MAX);
    assert_int_equal(lk_buf_puts(&p.sealed_primary, "one"), LK_OK);
    assert_int_equal(lk_buf_puts(&p.sealed_secondary, "two"), LK_OK);
    assert_int_equal(in_write(f, run_policy_put, &c), LK_ERR_NOT_FOUND);
    assert_int_equal(in_write(f, run_hub_put, hub), LK_OK);
    assert_int_equal(in_write(f, run_hub_put, other), LK_OK);
    assert_int_equal(in_write(f, run_policy_put, &c), LK_OK);
    f->now_ms += 10;
    p.rights = LK_HUB_RIGHTS_ALL;
    assert_int_equal(in_write(f, run_policy_put, &c), LK_OK);
    c.policy = &got;
    c.id = p.name;
    assert_int_equal(in_read(f, run_policy_get, &c), LK_OK);
    assert_string_equal(got.name, p.name);
    assert_int_equal(got.rights, LK_HUB_RIGHTS_ALL);
    text_is(&got.sealed_primary, "one");
    text_is(&got.sealed_secondary, "two");
    assert_int_equal(got.created_ms, born_ms);
    assert_int_equal(got.updated_ms, f->now_ms);

    memcpy(p.name, "A", 2);
    c.policy = &p;
    assert_int_equal(in_write(f, run_policy_put, &c), LK_OK);
    memcpy(p.name, "B", 2);
    memcpy(p.hub, other, sizeof(other));
    assert_int_equal(in_write(f, run_policy_put, &c), LK_OK);
    c.id = "B";
    assert_int_equal(in_read(f, run_policy_get, &c), LK_ERR_NOT_FOUND);
    assert_int_equal(in_write(f, run_policy_delete, &c), LK_ERR_NOT_FOUND);
    c.id = got.name;
    assert_int_equal(in_write(f, run_policy_delete, &c), LK_OK);
    assert_int_equal(in_read(f, run_policy_each, &c), LK_OK);
    assert_string_equal(c.list, "A ");
    assert_int_equal(in_write(f, run_hub_delete, hub), LK_OK);
    assert_int_equal(in_read(f, run_policy_each, &c), LK_OK);
    assert_string_equal(c.list, "");
    c.hub = OTHER_HUB;
    assert_int_equal(in_read(f, run_policy_each, &c), LK_OK);
    assert_string_equal(c.list, "B ");
    lk_hub_policy_fini(&p);
    lk_hub_policy_fini(&got);
}

/* No right, one that there is not, no name, and changes in a read job. */
static void
policy_misuse(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char hub[] = HUB;
    struct lk_hub_policy p = {.hub = HUB, .name = "p"};
    struct call c = {.hub = HUB, .id = "p", .policy = &p};

    assert_int_equal(in_write(f, run_hub_put, hub), LK_OK);
    assert_int_equal(in_write(f, run_policy_put, &c), LK_ERR_ARG);
    p.rights = LK_HUB_RIGHTS_ALL + 1;
    assert_int_equal(in_write(f, run_policy_put, &c), LK_ERR_ARG);
    p.rights = LK_HUB_DEVICE_CONNECT;
    assert_int_equal(in_read(f, run_policy_put, &c), LK_ERR_ARG);
    assert_int_equal(in_read(f, run_policy_delete, &c), LK_ERR_ARG);
    p.name[0] = '\0';
    assert_int_equal(in_write(f, run_policy_put, &c), LK_ERR_ARG);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(identity_fields),
        CASE(identity_misuse),
        CASE(identities_are_counted),
        CASE(presence),
        CASE(presence_cleared),
        CASE(presence_goes_with_identity),
        CASE(twin_of_new_identity),
        CASE(twin_put),
        CASE(twin_pages),
        CASE(messages),
        CASE(message_misuse),
        CASE(message_devices),
        CASE(events_of_identities),
        CASE(events),
        CASE(event_misuse),
        CASE(policies),
        CASE(policy_misuse),
    };

    return fixture_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
