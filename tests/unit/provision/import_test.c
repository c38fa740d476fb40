/* Tests of src/provision/import.c and enrollment.c, on a real store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/codec.h"
#include "crypto/crypto.h"
#include "provision/enrollment.h"
#include "provision/import.h"
#include "support/rig.h"

#define HEADER "registrationId,endorsementKey\n"

/* ---- manifests ------------------------------------------------------------------------------- */

/* The public area of an RSA-2048 EK whose modulus begins with number: nobody's key, but a sound
 * one. The exponent is written as 0 or as 65537. */
static void
ek_make(unsigned number, uint32_t exponent, struct lk_buf *ret)
{
    uint8_t modulus[256];

    memset(modulus, 0xa5, sizeof(modulus));
    modulus[0] = 0xc0;
    modulus[1] = (uint8_t)(number >> 16);
    modulus[2] = (uint8_t)(number >> 8);
    modulus[3] = (uint8_t)number;
    assert_int_equal(
        lk_hex_decode("013a0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e"
                      "06520b64f2a1da1b331469aa00060080004300100800",
                      108, ret),
        LK_OK);
    assert_int_equal(lk_buf_put_u32(ret, exponent), LK_OK);
    assert_int_equal(lk_buf_put_2b(ret, modulus, sizeof(modulus)), LK_OK);
}

static void
put_ek(struct lk_buf *text, unsigned number, uint32_t exponent)
{
    LK_AUTO_BUF struct lk_buf ek = LK_BUF_INIT;

    ek_make(number, exponent, &ek);
    assert_int_equal(ek.len, 316);
    assert_int_equal(lk_base64_encode(ek.data, ek.len, text), LK_OK);
}

/* The row "<id>,<EK of that number>". */
static void
put_row(struct lk_buf *text, const char *id, unsigned number)
{
    assert_int_equal(lk_buf_printf(text, "%s,", id), LK_OK);
    put_ek(text, number, 0);
    assert_int_equal(lk_buf_puts(text, "\n"), LK_OK);
}

static void
put_rows(struct lk_buf *text, unsigned first, unsigned count)
{
    char id[32];

    for (unsigned i = first; i < first + count; i++) {
        (void)snprintf(id, sizeof(id), "dev-%06u", i);
        put_row(text, id, i);
    }
}

static void
put(struct lk_buf *text, const char *more)
{
    assert_int_equal(lk_buf_puts(text, more), LK_OK);
}

/* ---- one import ------------------------------------------------------------------------------ */

struct run {
    struct rig rig;
    struct lk_buf text; /* the manifest */
    size_t at;          /* what of it has been read */
    enum lk_err fail;   /* given at its end */
    struct lk_import_options options;
    struct lk_import_result result;
    struct lk_buf problems; /* "line field: reason\n" for each */
    size_t problems_count, progress_count;
};

static enum lk_err
text_read(void *ctx, void *buf, size_t cap, size_t *ret_len)
{
    struct run *r = ctx;
    size_t len = r->text.len - r->at;

    len = len < cap ? len : cap;
    if (len > 0) {
        memcpy(buf, r->text.data + r->at, len);
    }
    r->at += len;
    *ret_len = len;
    return len == 0 ? r->fail : LK_OK;
}

static void
on_problem(void *ctx, const struct lk_manifest_problem *p)
{
    struct run *r = ctx;

    r->problems_count++;
    assert_int_equal(
        lk_buf_printf(&r->problems, "%lld %s: %s\n", (long long)p->line, p->field, p->reason),
        LK_OK);
}

static void
on_progress(void *ctx, const struct lk_import_result *so_far)
{
    struct run *r = ctx;

    r->progress_count++;
}

static int
run_setup(void **state)
{
    struct run *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    rig_start(&r->rig, NULL);
    r->options = (struct lk_import_options){.scope = RIG_SCOPE,
                                            .source = "devices.csv",
                                            .actor = "cli:tester",
                                            .format = LK_MANIFEST_CSV,
                                            .problem = on_problem,
                                            .progress = on_progress,
                                            .ctx = r};
    put(&r->text, HEADER);
    *state = r;
    return 0;
}

static int
run_teardown(void **state)
{
    struct run *r = *state;

    rig_stop(&r->rig);
    lk_buf_fini(&r->text);
    lk_buf_fini(&r->problems);
    free(r);
    return 0;
}

static enum lk_err
import(struct run *r)
{
    const struct lk_manifest_source source = {text_read, r};

    r->at = r->problems_count = r->progress_count = 0;
    lk_buf_reset(&r->problems);
    return lk_import_run(r->rig.session, &source, &r->options, &r->result);
}

/* A manifest anew, with the usual header. */
static void
restart(struct run *r)
{
    lk_buf_reset(&r->text);
    put(&r->text, HEADER);
}

static enum lk_err
count_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_enrollment_count(tx, RIG_SCOPE, arg);
}

static int64_t
enrolled(struct run *r)
{
    int64_t count = -1;

    rig_read(&r->rig, count_run, &count);
    return count;
}

struct get {
    const char *id;
    struct lk_enrollment *e;
    enum lk_err err;
};

static enum lk_err
get_run(struct lk_txn *tx, void *arg)
{
    struct get *g = arg;

    g->err = lk_txn_enrollment_get(tx, RIG_SCOPE, g->id, g->e);
    return LK_OK;
}

static enum lk_err
enrollment_get(struct run *r, const char *id, struct lk_enrollment *ret)
{
    struct get g = {id, ret, LK_OK};

    rig_read(&r->rig, get_run, &g);
    return g.err;
}

static void
expect_problems(struct run *r, const char *want)
{
    assert_string_equal(r->problems.len == 0 ? "" : lk_buf_text(&r->problems), want);
}

/* Nothing took effect: as many enrollments as before, and no record. */
static void
expect_nothing(struct run *r, int64_t before)
{
    assert_int_equal(enrolled(r), before);
    assert_int_equal(r->result.rows_imported, 0);
    assert_int_equal(rig_audit_count(&r->rig, "enrollment.import", NULL, 0), 0);
}

/* ---- what takes effect ----------------------------------------------------------------------- */

/* Rows of several batches become enrollments that tell where they came from, with one record. */
static void
imports_all(void **state)
{
    struct run *r = *state;
    struct lk_enrollment e;
    char detail[256], counts[64];

    put_rows(&r->text, 0, 2 * LK_IMPORT_BATCH + 1);
    assert_int_equal(import(r), LK_OK);
    expect_problems(r, "");
    assert_int_equal(r->result.rows_read, 2 * LK_IMPORT_BATCH + 1);
    assert_int_equal(r->result.rows_imported, 2 * LK_IMPORT_BATCH + 1);
    assert_int_equal(r->result.rows_bad, 0);
    assert_int_equal(r->progress_count, 3);
    assert_int_equal(enrolled(r), 2 * LK_IMPORT_BATCH + 1);
    lk_enrollment_init(&e);
    assert_int_equal(enrollment_get(r, "DEV-000300", &e), LK_OK);
    assert_string_equal(e.id, "dev-000300");
    assert_true(e.enabled && e.reprovision_update_hub && e.reprovision_migrate);
    assert_int_equal(e.eks_count, 1);
    assert_int_equal(e.eks[0].pub_len, 316);
    assert_int_equal(e.import_id, r->result.import_id);
    assert_int_equal(e.import_line, 302);
    lk_enrollment_fini(&e);
    assert_int_equal(rig_audit_count(&r->rig, "enrollment.import", detail, sizeof(detail)), 1);
    (void)snprintf(counts, sizeof(counts), "\"rows\":%u,\"skipped\":0", 2 * LK_IMPORT_BATCH + 1);
    assert_non_null(strstr(detail, counts));
}

/* A manifest without rows is an import of none. */
static void
imports_none(void **state)
{
    struct run *r = *state;

    assert_int_equal(import(r), LK_OK);
    assert_int_equal(r->result.rows_imported, 0);
    assert_int_equal(enrolled(r), 0);
}

/* Every field of a row, from JSON lines. */
static void
imports_fields(void **state)
{
    struct run *r = *state;
    struct lk_enrollment e;

    lk_buf_reset(&r->text);
    put(&r->text, "{\"registrationId\":\"dev-1\",\"deviceId\":\"D,1\",\"provisioningStatus\":"
                  "\"disabled\",\"allocationPolicy\":\"static\",\"iotHubs\":[\"HUB.example.test\"],"
                  "\"initialTwin\":{\"tags\":{\"a\":1}},\"reprovisionPolicy\":\"never\","
                  "\"endorsementKeys\":[\"");
    put_ek(&r->text, 1, 0);
    put(&r->text, "\",\"");
    put_ek(&r->text, 2, 0);
    put(&r->text, "\"]}");
    r->options.format = LK_MANIFEST_JSONL;
    assert_int_equal(import(r), LK_OK);
    lk_enrollment_init(&e);
    assert_int_equal(enrollment_get(r, "dev-1", &e), LK_OK);
    assert_string_equal(e.device_id, "D,1");
    assert_false(e.enabled);
    assert_int_equal(e.allocation, LK_ALLOC_STATIC);
    assert_int_equal(e.hubs_count, 1);
    assert_string_equal(lk_buf_text(&e.initial_twin), "{\"tags\":{\"a\":1}}");
    assert_false(e.reprovision_update_hub);
    assert_int_equal(e.eks_count, 2);
    lk_enrollment_fini(&e);
}

/* Software TPMs are counted, and imported all the same. */
static void
counts_software(void **state)
{
    struct run *r = *state;

    lk_buf_reset(&r->text);
    put(&r->text, "tpmKind,registrationId,endorsementKey\n");
    put(&r->text, "software,");
    put_row(&r->text, "dev-1", 1);
    put(&r->text, "discrete,");
    put_row(&r->text, "dev-2", 2);
    put(&r->text, "software,");
    put_row(&r->text, "dev/3", 3);
    r->options.skip_bad = true;
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(r->result.rows_software, 1);
    assert_int_equal(r->result.rows_imported, 2);
}

/* ---- what doesn't ---------------------------------------------------------------------------- */

/* One bad row of a thousand: all bad rows are told, nothing is there, and the rest can be imported
 * again at once. */
static void
one_bad_row_stops_all(void **state)
{
    struct run *r = *state;

    put_rows(&r->text, 0, 300);
    put(&r->text, "dev-x,AAAA\n");
    put_rows(&r->text, 300, 300);
    put(&r->text, "dev/y,AAAA\n");
    assert_int_equal(import(r), LK_ERR_FORMAT);
    expect_problems(r, "302 endorsementKey: not an acceptable endorsement key: ek.malformed\n"
                       "603 registrationId: expected 1 to 128 letters, digits, '-', '.', '_', ':' "
                       "with a letter, digit or '-' last, not \"dev/y\"\n");
    assert_int_equal(r->result.rows_bad, 2);
    assert_int_equal(r->result.rows_read, 602);
    expect_nothing(r, 0);
    restart(r);
    put_rows(&r->text, 0, 600);
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(enrolled(r), 600);
}

/* With skip_bad the good rows take effect, and the record says how many did not. */
static void
skips_bad_rows(void **state)
{
    struct run *r = *state;
    char detail[256];

    put_rows(&r->text, 0, 3);
    put(&r->text, "dev-x\n");
    put_rows(&r->text, 3, 2);
    r->options.skip_bad = true;
    assert_int_equal(import(r), LK_OK);
    expect_problems(r, "5 : expected 2 fields, as the header row has\n");
    assert_int_equal(r->result.rows_imported, 5);
    assert_int_equal(enrolled(r), 5);
    assert_int_equal(rig_audit_count(&r->rig, "enrollment.import", detail, sizeof(detail)), 1);
    assert_non_null(strstr(detail, "\"rows\":5,\"skipped\":1"));
}

/* A dry run finds what a real one would, and leaves nothing: not even a reserved ID. */
static void
dry_run_leaves_nothing(void **state)
{
    struct run *r = *state;

    put_rows(&r->text, 0, 300);
    r->options.dry_run = true;
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(r->result.rows_imported, 300);
    assert_int_equal(enrolled(r), 0);
    assert_int_equal(rig_audit_count(&r->rig, "enrollment.import", NULL, 0), 0);
    put_rows(&r->text, 7, 1);
    assert_int_equal(import(r), LK_ERR_FORMAT);
    expect_problems(r, "302 registrationId: the same registration ID as in line 9 (dev-000007)\n");
    r->options.dry_run = false;
    restart(r);
    put_rows(&r->text, 0, 300);
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(enrolled(r), 300);
}

/* Without a header nothing can be read, and that is told once. */
static void
bad_header(void **state)
{
    struct run *r = *state;

    lk_buf_reset(&r->text);
    put(&r->text, "registrationId,ek\n");
    put_rows(&r->text, 0, 3);
    assert_int_equal(import(r), LK_ERR_FORMAT);
    expect_problems(r, "1 ek: no such column; the manual page lists them\n");
    expect_nothing(r, 0);
}

/* Reading stops when there are very many bad rows; with skip_bad it does not. */
static void
stops_at_many_bad_rows(void **state)
{
    struct run *r = *state;

    for (unsigned i = 0; i < 2 * LK_IMPORT_BAD_MAX; i++) {
        put(&r->text, "x,y\n");
    }
    put_rows(&r->text, 0, 1);
    assert_int_equal(import(r), LK_ERR_FORMAT);
    assert_true(r->result.stopped);
    assert_in_range(r->result.rows_bad, LK_IMPORT_BAD_MAX, LK_IMPORT_BAD_MAX + LK_IMPORT_BATCH);
    assert_int_equal(r->result.rows_bad, r->problems_count);
    expect_nothing(r, 0);
    r->options.skip_bad = true;
    assert_int_equal(import(r), LK_OK);
    assert_false(r->result.stopped);
    assert_int_equal(r->result.rows_bad, 2 * LK_IMPORT_BAD_MAX);
    assert_int_equal(enrolled(r), 1);
}

/* Stopped half way, by the user or by a file that cannot be read on: nothing stays. */
static void
interrupted(void **state)
{
    struct run *r = *state;

    put_rows(&r->text, 0, 4 * LK_IMPORT_BATCH - 24);
    r->fail = LK_ERR_CANCELLED;
    assert_int_equal(import(r), LK_ERR_CANCELLED);
    assert_int_equal(r->result.rows_read, 3 * LK_IMPORT_BATCH);
    expect_nothing(r, 0);
    r->fail = LK_ERR_IO;
    assert_int_equal(import(r), LK_ERR_IO);
    expect_nothing(r, 0);
    r->fail = LK_OK;
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(enrolled(r), 4 * LK_IMPORT_BATCH - 24);
}

/* A scope that does not exist. */
static void
unknown_scope(void **state)
{
    struct run *r = *state;

    r->options.scope = "0neFFFFFFFF";
    put_rows(&r->text, 0, 1);
    assert_int_equal(import(r), LK_ERR_NOT_FOUND);
    assert_int_equal(r->result.import_id, 0);
}

/* ---- duplicates ------------------------------------------------------------------------------ */

/* The same ID in another case, the same key in another spelling, in one batch and in two. */
static void
duplicates_in_file(void **state)
{
    struct run *r = *state;
    char problems[512];

    put_row(&r->text, "dev-1", 900001);
    put_row(&r->text, "DEV-1", 900002);
    put(&r->text, "dev-3,");
    put_ek(&r->text, 900001, 65537);
    put(&r->text, "\n");
    put_rows(&r->text, 10, 2 * LK_IMPORT_BATCH);
    put_row(&r->text, "dev-4", 900001);
    put_row(&r->text, "Dev-000010", 900005);
    assert_int_equal(import(r), LK_ERR_FORMAT);
    (void)snprintf(problems, sizeof(problems),
                   "3 registrationId: the same registration ID as in line 2 (dev-1)\n"
                   "4 endorsementKey: the same key as in line 2 (dev-1)\n"
                   "%u endorsementKey: the same key as in line 2 (dev-1)\n"
                   "%u registrationId: the same registration ID as in line 5 (dev-000010)\n",
                   2 * LK_IMPORT_BATCH + 5, 2 * LK_IMPORT_BATCH + 6);
    expect_problems(r, problems);
    expect_nothing(r, 0);
}

/* One row with the same key twice, and with more keys than there may be. */
static void
duplicates_in_row(void **state)
{
    struct run *r = *state;

    put(&r->text, "dev-1,");
    put_ek(&r->text, 1, 0);
    put(&r->text, " ");
    put_ek(&r->text, 1, 65537);
    put(&r->text, "\n");
    assert_int_equal(import(r), LK_ERR_FORMAT);
    expect_problems(r, "2 endorsementKey: not an acceptable endorsement key: ek.repeated\n");
}

/* What is enrolled already is named, and stays as it was. */
static void
duplicates_in_store(void **state)
{
    struct run *r = *state;
    struct lk_enrollment e;

    put_rows(&r->text, 0, 2);
    assert_int_equal(import(r), LK_OK);
    restart(r);
    put_row(&r->text, "DEV-000000", 50);
    put_row(&r->text, "dev-other", 1);
    put_row(&r->text, "dev-new", 51);
    r->options.skip_bad = true;
    assert_int_equal(import(r), LK_OK);
    expect_problems(r,
                    "2 registrationId: the same registration ID as the enrollment dev-000000 has, "
                    "but another registrationId, endorsementKey, deviceId\n"
                    "3 endorsementKey: the same key as the enrollment dev-000001 has\n");
    assert_int_equal(enrolled(r), 3);
    lk_enrollment_init(&e);
    assert_int_equal(enrollment_get(r, "dev-000000", &e), LK_OK);
    assert_int_equal(e.eks[0].pub[63], 0); /* the last byte of the modulus' number */
    lk_enrollment_fini(&e);
}

/* What says the same is passed over, what says something else is not taken, each with its fields.
 */
static void
diff_with_store(void **state)
{
    struct run *r = *state;

    put_rows(&r->text, 0, 3);
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(r->result.rows_same, 3);
    assert_int_equal(r->result.rows_imported, 0);
    lk_buf_reset(&r->text);
    put(&r->text, "deviceId,provisioningStatus,iotHubs,initialTwin,reprovisionPolicy,"
                  "registrationId,endorsementKey\n");
    put(&r->text, "dev-000000,enabled,,,migrate,");
    put_row(&r->text, "dev-000000", 0);
    put(&r->text, "D,disabled,hub.example.test,{},never,");
    put_row(&r->text, "dev-000001", 1);
    put(&r->text, ",,,,,");
    put_row(&r->text, "dev-000002", 0);
    put(&r->text, ",,,,,");
    put_row(&r->text, "dev-000003", 3);
    assert_int_equal(import(r), LK_ERR_FORMAT);
    expect_problems(r, "2 registrationId: the same registration ID as the enrollment dev-000000 "
                       "has, but another reprovisionPolicy\n" /* which nobody chose there */
                       "3 registrationId: the same registration ID as the enrollment dev-000001 "
                       "has, but another deviceId, provisioningStatus, iotHubs, initialTwin, "
                       "reprovisionPolicy\n"
                       "4 registrationId: the same registration ID as the enrollment dev-000002 "
                       "has, but another endorsementKey\n");
    assert_int_equal(r->result.rows_same, 0);
    assert_int_equal(r->result.rows_new, 1);
    assert_int_equal(r->result.rows_changed, 2);
    assert_int_equal(r->result.rows_conflicting, 1); /* its key is another enrollment's */
    assert_int_equal(enrolled(r), 3);
}

/*
 * With update what is there becomes what the row says, and what a manifest does not carry stays. A
 * dry run tells the same and changes nothing; a key of another enrollment is a conflict as before.
 */
static void
update(void **state)
{
    struct run *r = *state;
    struct lk_enrollment e;

    put_rows(&r->text, 0, 3);
    assert_int_equal(import(r), LK_OK);
    lk_buf_reset(&r->text);
    put(&r->text, "deviceId,provisioningStatus,iotHubs,initialTwin,reprovisionPolicy,"
                  "registrationId,endorsementKey\n");
    put(&r->text, ",,,,migrate,");
    put_row(&r->text, "dev-000000", 0);
    put(&r->text, "D,disabled,hub.example.test,{},never,");
    put_row(&r->text, "dev-000001", 7);
    put(&r->text, ",,,,,");
    put_row(&r->text, "dev-000009", 9);
    r->options.update = true;
    r->options.dry_run = true;
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(r->result.rows_changed, 2);
    assert_int_equal(r->result.rows_updated, 0);
    assert_int_equal(r->result.rows_bad, 0);
    assert_int_equal(r->problems_count, 0);
    lk_enrollment_init(&e);
    assert_int_equal(enrollment_get(r, "dev-000001", &e), LK_OK);
    assert_true(e.enabled);
    r->options.dry_run = false;
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(r->result.rows_changed, 2);
    assert_int_equal(r->result.rows_updated, 2);
    assert_int_equal(r->result.rows_same, 0);
    assert_int_equal(r->result.rows_imported, 1);
    assert_int_equal(enrollment_get(r, "dev-000001", &e), LK_OK);
    assert_false(e.enabled);
    assert_string_equal(e.device_id, "D");
    assert_string_equal(e.hubs[0], "hub.example.test");
    assert_false(e.reprovision_update_hub);
    assert_int_equal(e.import_id, 1); /* where it came from */
    assert_int_equal(enrollment_get(r, "dev-000000", &e), LK_OK);
    assert_true(e.reprovision_chosen && e.reprovision_migrate);
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(r->result.rows_same, 3);

    lk_buf_reset(&r->text);
    put(&r->text, HEADER);
    put_row(&r->text, "dev-000002", 7);
    assert_int_equal(import(r), LK_ERR_FORMAT);
    assert_int_equal(r->result.rows_conflicting, 1);
    assert_int_equal(r->result.rows_bad, 1);
    assert_int_equal(r->result.rows_updated, 0);

    /* A key that an earlier row of the same file brings. */
    lk_buf_reset(&r->text);
    put(&r->text, HEADER);
    put_row(&r->text, "dev-000020", 20);
    put_row(&r->text, "dev-000002", 20);
    assert_int_equal(import(r), LK_ERR_FORMAT);
    assert_int_equal(r->result.rows_conflicting, 1);
    assert_int_equal(r->result.rows_updated, 0);
    lk_enrollment_fini(&e);
}

/* ---- the bytes that were judged, and resuming ------------------------------------------------ */

static void
digest_of(struct run *r, uint8_t ret[32])
{
    const struct lk_part part = LK_PART(r->text.data, r->text.len);

    assert_int_equal(lk_digest(LK_SHA256, &part, 1, ret), LK_OK);
}

/* Other bytes than those that were judged take no effect, though every row is good. */
static void
other_bytes(void **state)
{
    struct run *r = *state;
    uint8_t sha256[32];

    put_rows(&r->text, 0, 300);
    digest_of(r, sha256);
    put_rows(&r->text, 300, 1);
    r->options.sha256 = sha256;
    assert_int_equal(import(r), LK_ERR_REFUSED);
    expect_nothing(r, 0);
    digest_of(r, sha256);
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(enrolled(r), 301);
}

/* The record names signer and digest. */
static void
signer_is_recorded(void **state)
{
    struct run *r = *state;
    const struct lk_import_signer signer = {.subject = "CN=Line 7", .cert_sha256 = {0xab}};
    uint8_t sha256[32];
    char detail[512];

    put_rows(&r->text, 0, 1);
    digest_of(r, sha256);
    r->options.sha256 = sha256;
    r->options.signer = &signer;
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(rig_audit_count(&r->rig, "enrollment.import", detail, sizeof(detail)), 1);
    assert_non_null(strstr(detail, "\"signer\":\"CN=Line 7\""));
    assert_non_null(strstr(detail, "\"signerSha256\":\"ab00"));
    assert_non_null(strstr(detail, "\"sha256\":\""));
}

/* After an interruption: the same bytes only, only by resuming, and a bad row is still bad. */
static void
resumes(void **state)
{
    struct run *r = *state;
    uint8_t sha256[32];
    int64_t id;

    put_rows(&r->text, 0, 700);
    put(&r->text, "bad\n");
    put_rows(&r->text, 700, 300);
    digest_of(r, sha256);
    r->options.sha256 = sha256;
    r->options.skip_bad = true;
    r->fail = LK_ERR_CANCELLED;
    assert_int_equal(import(r), LK_ERR_CANCELLED);
    assert_true(r->result.resumable);
    id = r->result.import_id;
    expect_nothing(r, 0);
    r->fail = LK_OK;
    assert_int_equal(import(r), LK_ERR_EXISTS);
    assert_int_equal(r->result.import_id, id);
    r->options.resume_id = id + 1;
    assert_int_equal(import(r), LK_ERR_NOT_FOUND);
    r->options.resume_id = id;
    sha256[0] ^= 1;
    assert_int_equal(import(r), LK_ERR_PRECONDITION);
    sha256[0] ^= 1;
    r->options.source = "elsewhere/devices.csv";
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(r->result.import_id, id);
    assert_int_equal(r->result.rows_bad, 1);
    assert_int_equal(r->result.rows_imported, 1000);
    assert_int_equal(enrolled(r), 1000);
    assert_int_equal(import(r), LK_ERR_NOT_FOUND);
}

/* ---- undo ------------------------------------------------------------------------------------ */

static enum lk_err
disable_run(struct lk_txn *tx, void *arg)
{
    struct lk_enrollment e;
    enum lk_err err;

    lk_enrollment_init(&e);
    if ((err = lk_txn_enrollment_get(tx, RIG_SCOPE, "dev-000007", &e)) == LK_OK) {
        e.enabled = false;
        err = lk_txn_enrollment_replace(tx, &e, NULL, NULL);
    }
    lk_enrollment_fini(&e);
    return err;
}

static void
count_progress(void *ctx, int64_t rows_removed)
{
    ++*(unsigned *)ctx;
}

static enum lk_err
undo(struct run *r, const char *scope, bool force, unsigned *steps, struct lk_import_undone *ret)
{
    *steps = 0;
    return lk_import_undo(r->rig.session, scope, r->result.import_id, force, "cli:tester",
                          count_progress, steps, ret);
}

/* One that was changed since is kept, all others go, in several steps; then there is no import. */
static void
undoes(void **state)
{
    struct run *r = *state;
    struct lk_import_undone undone;
    unsigned steps;

    put_rows(&r->text, 0, 5000);
    assert_int_equal(import(r), LK_OK);
    rig_write(&r->rig, disable_run, NULL);
    assert_int_equal(undo(r, "0neFFFFFFFF", false, &steps, &undone), LK_ERR_NOT_FOUND);
    assert_int_equal(undo(r, RIG_SCOPE, false, &steps, &undone), LK_OK);
    assert_int_equal(undone.rows_gone, 4999);
    assert_int_equal(undone.rows_kept, 1);
    assert_false(undone.unfinished);
    assert_true(steps >= 2);
    assert_int_equal(enrolled(r), 1);
    assert_int_equal(rig_audit_count(&r->rig, "enrollment.undo", NULL, 0), 1);
    assert_int_equal(undo(r, RIG_SCOPE, false, &steps, &undone), LK_ERR_NOT_FOUND);
    assert_int_equal(enrolled(r), 1);
}

/* With force the changed one goes too. */
static void
undoes_by_force(void **state)
{
    struct run *r = *state;
    struct lk_import_undone undone;
    unsigned steps;

    put_rows(&r->text, 0, 20);
    assert_int_equal(import(r), LK_OK);
    rig_write(&r->rig, disable_run, NULL);
    assert_int_equal(undo(r, RIG_SCOPE, true, &steps, &undone), LK_OK);
    assert_int_equal(undone.rows_gone, 20);
    assert_int_equal(undone.rows_kept, 0);
    assert_int_equal(enrolled(r), 0);
    assert_int_equal(import(r), LK_OK);
}

/* An unfinished one is given up, and its rows can be imported anew. */
static void
gives_up(void **state)
{
    struct run *r = *state;
    struct lk_import_undone undone;
    uint8_t sha256[32];
    unsigned steps;

    put_rows(&r->text, 0, 600);
    digest_of(r, sha256);
    r->options.sha256 = sha256;
    r->fail = LK_ERR_IO;
    assert_int_equal(import(r), LK_ERR_IO);
    assert_int_equal(undo(r, RIG_SCOPE, false, &steps, &undone), LK_OK);
    assert_true(undone.unfinished);
    r->fail = LK_OK;
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(enrolled(r), 600);
}

/* ---- imports that died ----------------------------------------------------------------------- */

static enum lk_err
die_run(struct lk_txn *tx, void *arg)
{
    struct lk_enrollment e;
    int64_t import_id;
    enum lk_err err;

    lk_enrollment_init(&e);
    assert_int_equal(lk_strcpy(e.scope, sizeof(e.scope), RIG_SCOPE), LK_OK);
    assert_int_equal(lk_strcpy(e.id, sizeof(e.id), "dev-000001"), LK_OK);
    if ((err = lk_txn_import_begin(tx, RIG_SCOPE, "other.csv", &import_id)) != LK_OK) {
        return err;
    }
    *(int64_t *)arg = import_id;
    return lk_txn_import_stage(tx, import_id, 77, &e, NULL);
}

/* Rows of an import under way are in the way; those of one that died a minute ago are not. */
static void
dead_imports_are_dropped(void **state)
{
    struct run *r = *state;
    int64_t import_id = 0;
    char want[128];

    rig_write(&r->rig, die_run, &import_id);
    put_rows(&r->text, 0, 3);
    assert_int_equal(import(r), LK_ERR_FORMAT);
    (void)snprintf(want, sizeof(want),
                   "3 registrationId: the same registration ID as in line 77 of import %lld, "
                   "which is not finished\n",
                   (long long)import_id);
    expect_problems(r, want);
    expect_nothing(r, 0);
    rig_advance_s(&r->rig, LK_IMPORT_IDLE_MS / 1000 + 1);
    assert_int_equal(import(r), LK_OK);
    assert_int_equal(enrolled(r), 3);
}

/* ---- rows that do not fit the service -------------------------------------------------------- */

/* Hubs that are not linked, a static policy without its hub, a custom one without its
 * webhook. */
static void
hubs_and_policies(void **state)
{
    struct run *r = *state;

    lk_buf_reset(&r->text);
    put(&r->text, "iotHubs,allocationPolicy,registrationId,endorsementKey\n");
    put(&r->text, "hub3.example.test,,");
    put_row(&r->text, "dev-1", 1);
    put(&r->text, ",static,");
    put_row(&r->text, "dev-2", 2);
    put(&r->text, ",geoLatency,");
    put_row(&r->text, "dev-3", 3);
    put(&r->text, "hub.example.test,hashed,");
    put_row(&r->text, "dev-4", 4);
    put(&r->text, ",custom,");
    put_row(&r->text, "dev-5", 5);
    r->options.skip_bad = true;
    assert_int_equal(import(r), LK_OK);
    expect_problems(r, "2 iotHubs: hub3.example.test is not a linked hub\n"
                       "3 iotHubs: a static policy names exactly one hub\n"
                       "6 customAllocationDefinition: a custom policy needs the URL of a webhook: "
                       "https://HOST/...\n");
    assert_int_equal(r->result.rows_imported, 2);
}

/* The identity that the factory line wrote must be that of the key. */
static void
ek_id_is_checked(void **state)
{
    struct run *r = *state;
    LK_AUTO_BUF struct lk_buf ek = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf id = LK_BUF_INIT;
    struct lk_tpm_key key;

    ek_make(1, 0, &ek);
    assert_int_equal(lk_tpm_key_parse(LK_ROLE_EK, ek.data, ek.len, NULL, &key), LK_OK);
    assert_int_equal(lk_hex_encode(key.id, sizeof(key.id), &id), LK_OK);
    lk_buf_reset(&r->text);
    put(&r->text, "ekId,registrationId,endorsementKey\n");
    assert_int_equal(lk_buf_printf(&r->text, "%s,", lk_buf_text(&id)), LK_OK);
    put_row(&r->text, "dev-1", 1);
    assert_int_equal(lk_buf_printf(&r->text, "%s,", lk_buf_text(&id)), LK_OK);
    put_row(&r->text, "dev-2", 2);
    r->options.skip_bad = true;
    assert_int_equal(import(r), LK_OK);
    expect_problems(r, "3 ekId: is not the identity of the endorsement key in this row\n");
    assert_int_equal(r->result.rows_imported, 1);
}

/* ---- enrollments as rows --------------------------------------------------------------------- */

/* What an enrollment says comes back from its row, for each reprovision policy, chosen or not. */
static void
enrollment_round_trip(void **state)
{
    static const bool policies[][3] = {
        {true, true, false}, {true, true, true}, {true, false, true}, {false, false, true}};
    LK_AUTO_BUF struct lk_buf ek = LK_BUF_INIT;
    struct lk_manifest_problem problem = {.line = 0};
    struct lk_manifest_row row;
    struct lk_enrollment e, again;

    ek_make(1, 0, &ek);
    lk_enrollment_init(&e);
    lk_enrollment_init(&again);
    lk_manifest_row_init(&row);
    assert_int_equal(lk_strcpy(e.id, sizeof(e.id), "dev-1"), LK_OK);
    assert_int_equal(lk_enrollment_ek_add(&e, ek.data, ek.len, NULL), LK_OK);
    assert_int_equal(lk_enrollment_ek_add(&e, ek.data, ek.len, NULL), LK_ERR_EXISTS);
    assert_int_equal(lk_buf_puts(&e.initial_twin, "{}"), LK_OK);
    assert_int_equal(lk_strcpy(e.hubs[0], sizeof(e.hubs[0]), "hub.example.test"), LK_OK);
    e.hubs_count = 1;
    e.allocation = LK_ALLOC_STATIC;
    e.enabled = false;
    for (size_t i = 0; i < LK_ARRAY_LEN(policies); i++) {
        e.reprovision_update_hub = policies[i][0];
        e.reprovision_migrate = policies[i][1];
        e.reprovision_chosen = policies[i][2];
        assert_int_equal(lk_enrollment_to_row(&e, &row), LK_OK);
        assert_int_equal(lk_enrollment_from_row(RIG_SCOPE, &row, &again, &problem), LK_OK);
        assert_string_equal(again.scope, RIG_SCOPE);
        assert_string_equal(again.id, "dev-1");
        assert_int_equal(again.enabled, false);
        assert_int_equal(again.allocation, LK_ALLOC_STATIC);
        assert_int_equal(again.eks_count, 1);
        assert_memory_equal(again.eks[0].id, e.eks[0].id, LK_EK_ID_LEN);
        assert_memory_equal(again.eks[0].pub, e.eks[0].pub, e.eks[0].pub_len);
        assert_string_equal(again.hubs[0], "hub.example.test");
        assert_string_equal(lk_buf_text(&again.initial_twin), "{}");
        assert_int_equal(again.reprovision_update_hub, policies[i][0]);
        assert_int_equal(again.reprovision_migrate, policies[i][1]);
        assert_int_equal(again.reprovision_chosen, policies[i][2]);
    }
    lk_manifest_row_fini(&row);
    lk_enrollment_fini(&e);
    lk_enrollment_fini(&again);
}

/* Eight keys fit, a ninth does not. */
static void
ek_count_limit(void **state)
{
    struct lk_enrollment e;
    const char *why = NULL;

    lk_enrollment_init(&e);
    for (unsigned i = 0; i <= LK_EKS_MAX; i++) {
        LK_AUTO_BUF struct lk_buf ek = LK_BUF_INIT;

        ek_make(i, 0, &ek);
        assert_int_equal(lk_enrollment_ek_add(&e, ek.data, ek.len, &why),
                         i < LK_EKS_MAX ? LK_OK : LK_ERR_LIMIT);
    }
    assert_string_equal(why, "ek.too_many");
    assert_int_equal(e.eks_count, LK_EKS_MAX);
    lk_enrollment_fini(&e);
}

#define RUN_TEST(f) cmocka_unit_test_setup_teardown(f, run_setup, run_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_TEST(imports_all),
        RUN_TEST(imports_none),
        RUN_TEST(imports_fields),
        RUN_TEST(counts_software),
        RUN_TEST(one_bad_row_stops_all),
        RUN_TEST(skips_bad_rows),
        RUN_TEST(dry_run_leaves_nothing),
        RUN_TEST(bad_header),
        RUN_TEST(stops_at_many_bad_rows),
        RUN_TEST(interrupted),
        RUN_TEST(unknown_scope),
        RUN_TEST(duplicates_in_file),
        RUN_TEST(duplicates_in_row),
        RUN_TEST(duplicates_in_store),
        RUN_TEST(diff_with_store),
        RUN_TEST(update),
        RUN_TEST(other_bytes),
        RUN_TEST(signer_is_recorded),
        RUN_TEST(resumes),
        RUN_TEST(undoes),
        RUN_TEST(undoes_by_force),
        RUN_TEST(gives_up),
        RUN_TEST(dead_imports_are_dropped),
        RUN_TEST(hubs_and_policies),
        RUN_TEST(ek_id_is_checked),
        cmocka_unit_test(enrollment_round_trip),
        cmocka_unit_test(ek_count_limit),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
