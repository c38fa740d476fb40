/* In what two enrollments of one id differ: as far as a manifest carries it, and in who they are.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "provision/enrollment.h"

static bool
has_hub(const struct lk_enrollment *e, const char *name)
{
    for (size_t i = 0; i < e->hubs_count; i++) {
        if (strcasecmp(e->hubs[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* In any order; the same one twice is once. */
static bool
hubs_equal(const struct lk_enrollment *a, const struct lk_enrollment *b)
{
    for (size_t i = 0; i < a->hubs_count; i++) {
        if (!has_hub(b, a->hubs[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < b->hubs_count; i++) {
        if (!has_hub(a, b->hubs[i])) {
            return false;
        }
    }
    return true;
}

static bool
has_ek(const struct lk_enrollment *e, const struct lk_ek *ek)
{
    for (size_t i = 0; i < e->eks_count; i++) {
        if (memcmp(e->eks[i].id, ek->id, LK_EK_ID_LEN) == 0) {
            return true;
        }
    }
    return false;
}

/* Keys, however they are spelt, in any order; no enrollment has one twice. */
static bool
eks_equal(const struct lk_enrollment *a, const struct lk_enrollment *b)
{
    for (size_t i = 0; i < a->eks_count; i++) {
        if (!has_ek(b, &a->eks[i])) {
            return false;
        }
    }
    return a->eks_count == b->eks_count;
}

/* As JSON says it: the order of members does not count. */
static enum lk_err
twins_equal(const struct lk_buf *a, const struct lk_buf *b, bool *ret)
{
    LK_AUTO(json) json_t *x = NULL;
    LK_AUTO(json) json_t *y = NULL;
    enum lk_err err;

    if (a->len == 0 || b->len == 0 || (a->len == b->len && memcmp(a->data, b->data, a->len) == 0)) {
        *ret = a->len == b->len;
        return LK_OK;
    }
    if ((err = lk_json_parse(a->data, a->len, true, NULL, &x)) != LK_OK ||
        (err = lk_json_parse(b->data, b->len, true, NULL, &y)) != LK_OK) {
        return err;
    }
    *ret = json_equal(x, y) == 1;
    return LK_OK;
}

static const char *
device_of(const struct lk_enrollment *e)
{
    return e->device_id[0] != '\0' ? e->device_id : e->id;
}

static bool
bufs_equal(const struct lk_buf *a, const struct lk_buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

bool
lk_enrollment_same_proof(const struct lk_enrollment *a, const struct lk_enrollment *b)
{
    return a->attestation == b->attestation && strcmp(device_of(a), device_of(b)) == 0 &&
           eks_equal(a, b) && bufs_equal(&a->srk_pub, &b->srk_pub) && a->pin_srk == b->pin_srk &&
           bufs_equal(&a->certs[0], &b->certs[0]) && bufs_equal(&a->certs[1], &b->certs[1]) &&
           bufs_equal(&a->rules, &b->rules);
}

enum lk_err
lk_enrollment_diff(const struct lk_enrollment *a, const struct lk_enrollment *b, char *buf,
                   size_t cap)
{
    bool twins = true;
    enum lk_err err = twins_equal(&a->initial_twin, &b->initial_twin, &twins);
    const struct {
        const char *name;
        bool equal;
    } fields[] = {
        {"attestation", a->attestation == b->attestation},
        {"registrationId", strcmp(a->id, b->id) == 0},
        {"endorsementKey", eks_equal(a, b)},
        {"deviceId", strcmp(device_of(a), device_of(b)) == 0},
        {"provisioningStatus", a->enabled == b->enabled},
        {"allocationPolicy", a->allocation == b->allocation},
        {"iotHubs", hubs_equal(a, b)},
        {"initialTwin", twins},
        {"reprovisionPolicy",
         a->reprovision_update_hub == b->reprovision_update_hub &&
             (!a->reprovision_update_hub || a->reprovision_migrate == b->reprovision_migrate) &&
             (a->reprovision_chosen || !b->reprovision_chosen)},
    };
    size_t at = 0;

    buf[0] = '\0';
    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(fields); i++) {
        int n = fields[i].equal
                    ? 0
                    : snprintf(buf + at, cap - at, "%s%s", at > 0 ? ", " : "", fields[i].name);

        at += n > 0 ? (size_t)n : 0;
        if (at >= cap) {
            break;
        }
    }
    return err;
}
