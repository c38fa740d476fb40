/* Frames between plugin and service: what is read is written again as the same bytes. */
#include <string.h>

#include "fuzz.h"
#include "wire/plug.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_reader r = lk_reader_of(data, size);
    struct lk_plug_msg m;

    for (;;) {
        LK_AUTO_BUF struct lk_buf again = LK_BUF_INIT;
        struct lk_reader before = r;
        enum lk_err err = lk_plug_read(&r, &m);

        if (err != LK_OK) {
            check(err == LK_ERR_NOT_FOUND || err == LK_ERR_FORMAT || err == LK_ERR_LIMIT);
            check(err != LK_ERR_NOT_FOUND || (r.p == before.p && r.left == before.left));
            return 0;
        }
        check(lk_plug_fields(m.type) != 0);
        check(memchr(m.device_id, '\0', sizeof(m.device_id)) != NULL);
        check(memchr(m.hub, '\0', sizeof(m.hub)) != NULL);
        check(lk_plug_write(&m, &again) == LK_OK);
        check(again.len == before.left - r.left && memcmp(again.data, before.p, again.len) == 0);
    }
}
