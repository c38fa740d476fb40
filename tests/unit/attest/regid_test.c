/* Tests of src/attest/regid.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "attest/attest.h"
#include "support/vectors.h"

/* The IDs that the SDKs derive. */
static void
default_registration_ids(void **state)
{
    json_t *ids = vectors_load("registration-id.json"), *one;
    size_t i;

    json_array_foreach(ids, i, one)
    {
        char id[LK_DEFAULT_REGISTRATION_ID_CAP];
        uint8_t area[1024];
        size_t len = vectors_base64(one, "ek_tpm2b_public", area, sizeof(area));

        assert_int_equal(lk_default_registration_id(area, len, id), LK_OK);
        assert_string_equal(id, vectors_text(one, "registration_id"));
    }
    assert_int_equal(i, 4);
    json_decref(ids);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_registration_ids),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
