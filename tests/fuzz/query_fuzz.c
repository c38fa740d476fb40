/* Queries of the service API, on every collection, and what they then say of rows. */
#include <stdlib.h>
#include <string.h>

#include "wire/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const hubs[] = {"one.example", "two.example"};
    const struct lk_query_row row = {.text = {[LK_QF_ID] = "dev-1",
                                              [LK_QF_EXACT_ID] = "dev-1",
                                              [LK_QF_STATUS] = "enabled",
                                              [LK_QF_ATTESTATION] = "tpm"},
                                     .hubs = hubs,
                                     .hubs_count = 2};

    for (int c = 0; c < LK_QUERY_COLLECTIONS; c++) {
        char error[LK_QUERY_ERROR_CAP] = "";
        struct lk_query q;
        char start[129];

        if (lk_query_parse((enum lk_query_collection)c, (const char *)data, size, error, &q) !=
            LK_OK) {
            if (error[0] == '\0') {
                abort();
            }
            continue;
        }
        if (size > LK_QUERY_MAX || q.conditions_count > LK_QUERY_CONDITIONS_MAX) {
            abort();
        }
        /* A row that matches lies within the bounds of the walk. */
        lk_query_walk_start(&q, sizeof(start) - 1, start);
        if (lk_query_matches(&q, &row) &&
            (strcmp(start, "dev-1") >= 0 || lk_query_id_past(&q, "dev-1"))) {
            abort();
        }
    }
    return 0;
}
