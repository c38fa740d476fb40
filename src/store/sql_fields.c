/* The columns that enrollments and groups share: written and read in one place. */
#include "store/sql_int.h"

#include <string.h>

/* The column update_hub is 0, 1, or this where nobody chose a policy. */
#define UPDATE_HUB_BY_DEFAULT 2

#define HUBS_TEXT_CAP (LK_HUBS_PER_ENROLLMENT * (LK_HOST_NAME_MAX + 1u) + 1u)

static enum lk_err
hubs_join(const struct lk_enrollment *e, struct lk_buf *ret)
{
    enum lk_err err;

    for (size_t i = 0; i < e->hubs_count; i++) {
        if ((i > 0 && (err = lk_buf_puts(ret, " ")) != LK_OK) ||
            (err = lk_buf_puts(ret, e->hubs[i])) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

static void
hubs_read(struct sq *q, int at, struct lk_enrollment *e)
{
    char text[HUBS_TEXT_CAP];
    char *rest = NULL;

    sq_text(q, at, text, sizeof(text));
    for (char *name = strtok_r(text, " ", &rest); name != NULL; name = strtok_r(NULL, " ", &rest)) {
        if (e->hubs_count == LK_HUBS_PER_ENROLLMENT ||
            lk_strcpy(e->hubs[e->hubs_count], sizeof(e->hubs[0]), name) != LK_OK) {
            sq_corrupt(q);
            return;
        }
        e->hubs_count++;
    }
}

void
sq_fields_read(struct sq *q, struct lk_enrollment *e)
{
    sq_text(q, 0, e->scope, sizeof(e->scope));
    sq_text(q, 1, e->id, sizeof(e->id));
    e->attestation = (enum lk_attestation)sq_int(q, 2);
    e->enabled = sq_int(q, 3) != 0;
    e->allocation = (enum lk_allocation)sq_int(q, 4);
    e->reprovision_update_hub = sq_int(q, 5) != 0;
    e->reprovision_chosen = sq_int(q, 5) != UPDATE_HUB_BY_DEFAULT;
    e->reprovision_migrate = sq_int(q, 6) != 0;
    hubs_read(q, 7, e);
    e->pin_srk = sq_int(q, 8) != 0;
    sq_buf(q, 9, &e->sealed_keys);
    sq_buf(q, 10, &e->certs[0]);
    sq_buf(q, 11, &e->certs[1]);
    sq_buf(q, 12, &e->initial_twin);
    sq_buf(q, 13, &e->device_info);
    e->iot_edge = sq_int(q, 14) != 0;
    sq_text(q, 15, e->webhook_url, sizeof(e->webhook_url));
    sq_text(q, 16, e->webhook_api_version, sizeof(e->webhook_api_version));
    sq_text(q, 17, e->etag, sizeof(e->etag));
    e->created_ms = sq_int(q, 18);
    e->updated_ms = sq_int(q, 19);
}

enum lk_err
sq_fields_bind(struct sq *q, const struct lk_enrollment *e, struct lk_buf *hubs)
{
    bool update_hub = e->reprovision_update_hub, migrate = e->reprovision_migrate;
    const char *hubs_text;
    enum lk_err err;

    hubs->max = HUBS_TEXT_CAP;
    if ((err = hubs_join(e, hubs)) != LK_OK) {
        return err;
    }
    if ((hubs_text = lk_buf_text(hubs)) == NULL) {
        return LK_ERR_NOMEM;
    }
    sq_bind_text(q, 1, e->id);
    sq_bind_int(q, 2, e->attestation);
    sq_bind_int(q, 3, e->enabled);
    sq_bind_int(q, 4, e->allocation);
    sq_bind_int(
        q, 5, update_hub && migrate && !e->reprovision_chosen ? UPDATE_HUB_BY_DEFAULT : update_hub);
    sq_bind_int(q, 6, migrate);
    sq_bind_text(q, 7, hubs_text);
    sq_bind_int(q, 8, e->pin_srk);
    sq_bind_blob(q, 9, e->sealed_keys.data, e->sealed_keys.len);
    sq_bind_blob(q, 10, e->certs[0].data, e->certs[0].len);
    sq_bind_blob(q, 11, e->certs[1].data, e->certs[1].len);
    sq_bind_blob(q, 12, e->initial_twin.data, e->initial_twin.len);
    sq_bind_blob(q, 13, e->device_info.data, e->device_info.len);
    sq_bind_int(q, 14, e->iot_edge);
    sq_bind_text(q, 15, e->webhook_url);
    sq_bind_text(q, 16, e->webhook_api_version);
    sq_bind_text(q, 17, e->etag);
    sq_bind_int(q, 18, e->updated_ms);
    return LK_OK;
}
