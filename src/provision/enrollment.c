#include "provision/enrollment.h"

#include <stdio.h>
#include <string.h>

#include "base/codec.h"

_Static_assert(LK_EKS_MAX == LK_MANIFEST_EKS_MAX, "a row holds what an enrollment holds");
_Static_assert(LK_HUBS_PER_ENROLLMENT == LK_MANIFEST_HUBS_MAX, "of hubs too");
_Static_assert(LK_MANIFEST_EK_MAX >= LK_TPM_PUBLIC_MAX, "a row holds every acceptable key");

/* Hosts of either case are one; the store's key is in lower case. */
static void
hub_key(const char *name, char ret[LK_HOST_NAME_MAX + 1])
{
    memcpy(ret, name, strlen(name) + 1);
    lk_ascii_lower(ret);
}

static enum lk_err refuse(struct lk_manifest_problem *problem, const char *field, const char *fmt,
                          ...) __attribute__((format(printf, 3, 4)));

static enum lk_err
refuse(struct lk_manifest_problem *problem, const char *field, const char *fmt, ...)
{
    va_list ap;

    (void)snprintf(problem->field, sizeof(problem->field), "%s", field);
    va_start(ap, fmt);
    (void)vsnprintf(problem->reason, sizeof(problem->reason), fmt, ap);
    va_end(ap);
    return LK_ERR_FORMAT;
}

enum lk_err
lk_enrollment_ek_add(struct lk_enrollment *e, const void *tpm2b, size_t len, const char **ret_why)
{
    const char *unused;
    const char **why = ret_why != NULL ? ret_why : &unused;
    struct lk_tpm_key key;
    struct lk_ek *ek;
    enum lk_err err;

    if (e->eks_count == LK_EKS_MAX) {
        *why = "ek.too_many";
        return LK_ERR_LIMIT;
    }
    if ((err = lk_tpm_key_parse(LK_ROLE_EK, tpm2b, len, why, &key)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < e->eks_count; i++) {
        if (memcmp(e->eks[i].id, key.id, LK_EK_ID_LEN) == 0) {
            *why = "ek.repeated";
            return LK_ERR_EXISTS;
        }
    }
    ek = &e->eks[e->eks_count++];
    memcpy(ek->id, key.id, LK_EK_ID_LEN);
    memcpy(ek->pub, tpm2b, len);
    ek->pub_len = len;
    return LK_OK;
}

/* ---- manifest rows --------------------------------------------------------------------------- */

static enum lk_err
eks_from_row(const struct lk_manifest_row *row, struct lk_enrollment *e,
             struct lk_manifest_problem *problem)
{
    const char *why = NULL;

    for (size_t i = 0; i < row->eks_count; i++) {
        enum lk_err err = lk_enrollment_ek_add(e, row->eks[i].data, row->eks[i].len, &why);

        if (err == LK_ERR_CRYPTO || err == LK_ERR_NOMEM) {
            return err;
        }
        if (err != LK_OK) {
            return refuse(problem, "endorsementKey", "not an acceptable endorsement key: %s", why);
        }
    }
    return LK_OK;
}

static enum lk_err
ek_id_check(const struct lk_manifest_row *row, const struct lk_enrollment *e,
            struct lk_manifest_problem *problem)
{
    LK_AUTO_BUF struct lk_buf id = LK_BUF_INIT;
    enum lk_err err;

    if (row->ek_id[0] == '\0') {
        return LK_OK;
    }
    if ((err = lk_hex_decode(row->ek_id, strlen(row->ek_id), &id)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < e->eks_count; i++) {
        if (id.len == LK_EK_ID_LEN && memcmp(e->eks[i].id, id.data, LK_EK_ID_LEN) == 0) {
            return LK_OK;
        }
    }
    return refuse(problem, "ekId", "is not the identity of the endorsement key in this row");
}

enum lk_err
lk_enrollment_from_row(const char *scope, const struct lk_manifest_row *row,
                       struct lk_enrollment *e, struct lk_manifest_problem *problem)
{
    enum lk_err err;

    lk_enrollment_fini(e);
    lk_enrollment_init(e);
    if ((err = lk_strcpy(e->scope, sizeof(e->scope), scope)) != LK_OK ||
        (err = lk_strcpy(e->id, sizeof(e->id), row->registration_id)) != LK_OK ||
        (err = lk_strcpy(e->device_id, sizeof(e->device_id), row->device_id)) != LK_OK ||
        (err = lk_buf_put(&e->initial_twin, row->initial_twin.data, row->initial_twin.len)) !=
            LK_OK) {
        return err;
    }
    e->enabled = !row->disabled;
    e->allocation = (enum lk_allocation)row->allocation;
    e->reprovision_chosen = row->reprovision != LK_MANIFEST_REPROVISION_DEFAULT;
    e->reprovision_update_hub = row->reprovision != LK_MANIFEST_NEVER;
    e->reprovision_migrate = row->reprovision == LK_MANIFEST_REPROVISION_DEFAULT ||
                             row->reprovision == LK_MANIFEST_MIGRATE;
    memcpy(e->hubs, row->hubs, sizeof(e->hubs));
    e->hubs_count = row->hubs_count;
    err = eks_from_row(row, e, problem);
    return err != LK_OK ? err : ek_id_check(row, e, problem);
}

_Static_assert((int)LK_ALLOC_DEFAULT == (int)LK_MANIFEST_ALLOC_DEFAULT &&
                   (int)LK_ALLOC_HASHED == (int)LK_MANIFEST_ALLOC_HASHED &&
                   (int)LK_ALLOC_GEO == (int)LK_MANIFEST_ALLOC_GEO &&
                   (int)LK_ALLOC_STATIC == (int)LK_MANIFEST_ALLOC_STATIC &&
                   (int)LK_ALLOC_CUSTOM == (int)LK_MANIFEST_ALLOC_CUSTOM,
               "the policies have the same numbers");

enum lk_err
lk_enrollment_to_row(const struct lk_enrollment *e, struct lk_manifest_row *row)
{
    enum lk_err err;

    lk_manifest_row_fini(row);
    lk_manifest_row_init(row);
    if ((err = lk_strcpy(row->registration_id, sizeof(row->registration_id), e->id)) != LK_OK ||
        (err = lk_strcpy(row->device_id, sizeof(row->device_id), e->device_id)) != LK_OK ||
        (err = lk_buf_put(&row->initial_twin, e->initial_twin.data, e->initial_twin.len)) !=
            LK_OK) {
        return err;
    }
    for (size_t i = 0; i < e->eks_count; i++) {
        if ((err = lk_buf_put(&row->eks[i], e->eks[i].pub, e->eks[i].pub_len)) != LK_OK) {
            return err;
        }
    }
    row->eks_count = e->eks_count;
    row->disabled = !e->enabled;
    row->allocation = (enum lk_manifest_allocation)e->allocation;
    row->reprovision = !e->reprovision_update_hub ? LK_MANIFEST_NEVER
                       : !e->reprovision_migrate  ? LK_MANIFEST_RESET
                       : e->reprovision_chosen    ? LK_MANIFEST_MIGRATE
                                                  : LK_MANIFEST_REPROVISION_DEFAULT;
    memcpy(row->hubs, e->hubs, sizeof(row->hubs));
    row->hubs_count = e->hubs_count;
    return LK_OK;
}

/* A key that was pinned for another TPM's key is no use. */
static void
evidence_drop(struct lk_enrollment *e)
{
    e->attestation = LK_ATTESTATION_TPM;
    lk_buf_reset(&e->sealed_keys);
    for (size_t i = 0; i < LK_ARRAY_LEN(e->certs); i++) {
        lk_buf_reset(&e->certs[i]);
    }
}

enum lk_err
lk_enrollment_merge(const struct lk_enrollment *row, struct lk_enrollment *e)
{
    lk_buf_reset(&e->initial_twin);
    if (e->attestation != LK_ATTESTATION_TPM) {
        evidence_drop(e);
    }
    memcpy(e->id, row->id, sizeof(e->id));
    memcpy(e->device_id, row->device_id, sizeof(e->device_id));
    e->enabled = row->enabled;
    e->allocation = row->allocation;
    if (row->allocation != LK_ALLOC_CUSTOM) { /* a webhook goes with no other */
        e->webhook_url[0] = '\0';
        e->webhook_api_version[0] = '\0';
    }
    e->reprovision_chosen = row->reprovision_chosen;
    e->reprovision_update_hub = row->reprovision_update_hub;
    e->reprovision_migrate = row->reprovision_migrate;
    memcpy(e->hubs, row->hubs, sizeof(e->hubs));
    e->hubs_count = row->hubs_count;
    memcpy(e->eks, row->eks, sizeof(e->eks));
    e->eks_count = row->eks_count;
    return lk_buf_put(&e->initial_twin, row->initial_twin.data, row->initial_twin.len);
}

bool
lk_webhook_url_ok(const char *url)
{
    const char *authority = strncmp(url, "https://", 8) == 0  ? url + 8
                            : strncmp(url, "http://", 7) == 0 ? url + 7
                                                              : NULL;
    size_t len = authority == NULL ? 0 : strcspn(authority, "/?#");

    if (len == 0 || memchr(authority, '@', len) != NULL) {
        return false;
    }
    for (const char *at = url; *at != '\0'; at++) {
        if (*at <= 0x20 || *at >= 0x7f || strchr("\"\\<>^`{|}", *at) != NULL) {
            return false;
        }
    }
    return true;
}

/* ---- roots that are imported -------------------------------------------------------------------
 */

struct roots_seen {
    struct lk_ek_rules rules;
    bool seen[LK_EK_ROOTS_MAX];
};

static enum lk_err
root_see(void *ctx, const struct lk_trust *t)
{
    struct roots_seen *s = (struct roots_seen *)ctx;

    for (size_t i = 0; i < s->rules.roots_count; i++) {
        s->seen[i] = s->seen[i] || (t->kind == LK_TRUST_ROOT &&
                                    memcmp(t->id, s->rules.roots[i], sizeof(t->id)) == 0);
    }
    return LK_OK;
}

enum lk_err
lk_enrollment_roots_check(struct lk_txn *tx, const struct lk_enrollment *g,
                          char ret[2 * LK_EK_FINGERPRINT_LEN + 1])
{
    struct roots_seen s = {.rules = {.roots_count = 0}};
    enum lk_err err = lk_ek_rules_parse(g->rules.data, g->rules.len, NULL, &s.rules);

    if (err != LK_OK || (err = lk_txn_trust_each(tx, root_see, &s)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < s.rules.roots_count; i++) {
        for (size_t b = 0; !s.seen[i] && b < LK_EK_FINGERPRINT_LEN; b++) {
            (void)snprintf(ret + 2 * b, 3, "%02x", s.rules.roots[i][b]);
        }
        if (!s.seen[i]) {
            return LK_ERR_NOT_FOUND;
        }
    }
    return LK_OK;
}

/* ---- check ----------------------------------------------------------------------------------- */

#define STATIC_HUBS "a static policy names exactly one hub"

static enum lk_err
hubs_check(struct lk_txn *tx, const struct lk_enrollment *e, struct lk_manifest_problem *problem)
{
    for (size_t i = 0; i < e->hubs_count; i++) {
        struct lk_hub hub = {.weight = 0};
        char key[LK_HOST_NAME_MAX + 1];
        enum lk_err err;

        hub_key(e->hubs[i], key);
        err = lk_txn_hub_get(tx, key, &hub);
        lk_hub_fini(&hub);
        if (err == LK_ERR_NOT_FOUND) {
            return refuse(problem, "iotHubs", "%.140s is not a linked hub", e->hubs[i]);
        }
        if (err != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

enum lk_err
lk_enrollment_check_open(struct lk_txn *tx, const struct lk_enrollment *e,
                         struct lk_manifest_problem *problem)
{
    if (e->allocation == LK_ALLOC_CUSTOM && !lk_webhook_url_ok(e->webhook_url)) {
        return refuse(problem, "customAllocationDefinition",
                      "a custom policy needs the URL of a webhook: https://HOST/...");
    }
    if (e->allocation == LK_ALLOC_STATIC && e->hubs_count > 1) {
        return refuse(problem, "iotHubs", STATIC_HUBS);
    }
    return hubs_check(tx, e, problem);
}

enum lk_err
lk_enrollment_check(struct lk_txn *tx, const struct lk_enrollment *e,
                    struct lk_manifest_problem *problem)
{
    if (e->allocation == LK_ALLOC_STATIC && e->hubs_count == 0) {
        return refuse(problem, "iotHubs", STATIC_HUBS);
    }
    return lk_enrollment_check_open(tx, e, problem);
}
