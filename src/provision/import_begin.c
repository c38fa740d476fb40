/* Beginning an import, or taking one up again: which bytes it is of. */
#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "provision/import_int.h"

#define SHA256_PREFIX "sha256:"
#define SOURCES_PAGE 200u /* imports looked through at a time */

/* A long name is cut; the digest is what an import is found by. */
enum lk_err
lk_importing_source_make(struct lk_importing *im)
{
    const struct lk_import_options *o = im->options;
    LK_AUTO_BUF struct lk_buf hex = LK_BUF_INIT;
    enum lk_err err;

    if (o->sha256 == NULL) {
        (void)snprintf(im->source_text, sizeof(im->source_text), "%s", o->source);
        return LK_OK;
    }
    if ((err = lk_hex_encode(o->sha256, LK_IMPORT_SHA256_LEN, &hex)) != LK_OK ||
        lk_buf_text(&hex) == NULL) {
        return err != LK_OK ? err : LK_ERR_NOMEM;
    }
    (void)snprintf(im->source_text, sizeof(im->source_text), SHA256_PREFIX "%s %s",
                   lk_buf_text(&hex), o->source);
    return LK_OK;
}

const char *
lk_import_source_split(const char *source, char ret_sha256[LK_IMPORT_SHA256_CAP])
{
    size_t head = strlen(SHA256_PREFIX), len = LK_IMPORT_SHA256_CAP - 1;

    ret_sha256[0] = '\0';
    if (strncmp(source, SHA256_PREFIX, head) != 0 ||
        strspn(source + head, "0123456789abcdef") != len || source[head + len] != ' ') {
        return source;
    }
    memcpy(ret_sha256, source + head, len);
    ret_sha256[len] = '\0';
    return source + head + len + 1;
}

/* An unfinished import of the same bytes, if there is one. */
static enum lk_err
twin_take(void *ctx, const struct lk_import *import)
{
    struct lk_importing *im = (struct lk_importing *)ctx;
    char sha256[LK_IMPORT_SHA256_CAP], own[LK_IMPORT_SHA256_CAP];

    (void)lk_import_source_split(import->source, sha256);
    (void)lk_import_source_split(im->source_text, own);
    im->page_last = import->id;
    im->page_count++;
    if (import->state == LK_IMPORT_STAGING && strcmp(sha256, own) == 0) {
        im->result->import_id = import->id;
        return LK_ERR_EXISTS;
    }
    return LK_OK;
}

static enum lk_err
twin_find(struct lk_txn *tx, struct lk_importing *im)
{
    enum lk_err err = LK_OK;

    if (im->options->sha256 == NULL) {
        return LK_OK;
    }
    im->page_last = 0;
    do {
        im->page_count = 0;
        err =
            lk_txn_import_page(tx, im->options->scope, im->page_last, SOURCES_PAGE, twin_take, im);
    } while (err == LK_OK && im->page_count == SOURCES_PAGE);
    return err;
}

enum lk_err
lk_importing_begin(struct lk_txn *tx, void *arg)
{
    struct lk_importing *im = (struct lk_importing *)arg;
    struct lk_scope scope;
    enum lk_err err = lk_txn_scope_get(tx, im->options->scope, &scope);

    if (err != LK_OK || (err = twin_find(tx, im)) != LK_OK) {
        return err;
    }
    return lk_txn_import_begin(tx, im->options->scope, im->source_text, &im->result->import_id);
}

/* The name may be another this time; the bytes may not. */
static enum lk_err
resumed_take(void *ctx, const struct lk_import *import)
{
    struct lk_importing *im = (struct lk_importing *)ctx;
    char sha256[LK_IMPORT_SHA256_CAP], own[LK_IMPORT_SHA256_CAP];

    (void)lk_import_source_split(import->source, sha256);
    (void)lk_import_source_split(im->source_text, own);
    if (import->id != im->options->resume_id) {
        return LK_ERR_NOT_FOUND;
    }
    if (own[0] == '\0' || strcmp(sha256, own) != 0) {
        return LK_ERR_PRECONDITION;
    }
    im->page_count++;
    return lk_strcpy(im->source_text, sizeof(im->source_text), import->source);
}

/* Rows that are staged are found to be so one by one: those that were bad are bad again. */
enum lk_err
lk_importing_resume(struct lk_txn *tx, void *arg)
{
    struct lk_importing *im = (struct lk_importing *)arg;
    int64_t id = im->options->resume_id, last_line;
    enum lk_err err;

    im->page_count = 0;
    err = lk_txn_import_page(tx, im->options->scope, id + 1, 1, resumed_take, im);
    if (err != LK_OK || im->page_count == 0) {
        return err != LK_OK ? err : LK_ERR_NOT_FOUND;
    }
    if ((err = lk_txn_import_resume(tx, id, im->source_text, &last_line)) == LK_OK) {
        im->result->import_id = id;
    }
    return err;
}
