/* Tests of src/provision/errand_body.c: what an errand is about comes back as it was, or not at
 * all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "provision/errand.h"

#define SCOPE "0ne00000001"
#define TWIN_MAX 65536u

static struct lk_keyring *ring;

static int
ring_make(void **state)
{
    char path[] = "/tmp/latchkey-errand-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(lk_keyring_create(path, 1, &lk_rand_system), LK_OK);
    assert_int_equal(lk_keyring_load(path, NULL, &ring), LK_OK);
    return unlink(path);
}

static int
ring_free(void **state)
{
    lk_keyring_free(ring);
    return 0;
}

static void
fill(struct lk_buf *b, size_t len, uint8_t with)
{
    uint8_t *to = lk_buf_extend(b, len);

    assert_non_null(to);
    memset(to, with, len);
}

/* Everything at its largest. */
static void
largest(struct lk_errand_body *b)
{
    memset(b, 0, sizeof(*b));
    memset(b->hub, 'h', LK_HOST_NAME_MAX);
    memset(b->device_id, 'd', LK_DEVICE_ID_MAX);
    memset(b->request_id, 'r', LK_REQUEST_ID_MAX);
    memset(&b->keys, 'k', sizeof(b->keys));
    b->keys.primary.len = b->keys.secondary.len = LK_SHARED_KEY_MAX;
    b->has_thumbprint = b->keep_old_key = b->migrate = b->iot_edge = true;
    memset(b->thumbprint, 't', sizeof(b->thumbprint));
    memset(b->untold, 'u', sizeof(b->untold));
    b->untold_count = LK_ERRAND_UNTOLD_MAX;
    fill(&b->auth_key, LK_AUTH_KEY_MAX, 'a');
    fill(&b->initial_twin, TWIN_MAX, 'i');
    fill(&b->payload, LK_DPS_PAYLOAD_MAX, 'p');
}

static void
bufs_equal(const struct lk_buf *a, const struct lk_buf *b)
{
    assert_int_equal(a->len, b->len);
    if (a->len > 0) {
        assert_memory_equal(a->data, b->data, a->len);
    }
}

static void
assert_comes_back(const struct lk_errand_body *b)
{
    LK_AUTO_BUF struct lk_buf sealed = LK_BUF_INIT;
    struct lk_errand_body got = {.untold_count = 0};

    assert_int_equal(lk_errand_body_seal(ring, &lk_rand_system, SCOPE, "Dev-1", 7, b, &sealed),
                     LK_OK);
    assert_int_equal(lk_errand_body_open(ring, SCOPE, "DEV-1", 7, &sealed, &got), LK_OK);
    assert_string_equal(got.hub, b->hub);
    assert_string_equal(got.device_id, b->device_id);
    assert_string_equal(got.request_id, b->request_id);
    assert_int_equal(got.keys.primary.len, b->keys.primary.len);
    assert_memory_equal(got.keys.primary.data, b->keys.primary.data, LK_SHARED_KEY_MAX);
    assert_memory_equal(got.keys.secondary.data, b->keys.secondary.data, LK_SHARED_KEY_MAX);
    assert_int_equal(got.has_thumbprint, b->has_thumbprint);
    assert_int_equal(got.keep_old_key, b->keep_old_key);
    assert_int_equal(got.migrate, b->migrate);
    assert_int_equal(got.iot_edge, b->iot_edge);
    assert_memory_equal(got.thumbprint, b->thumbprint, sizeof(b->thumbprint));
    assert_int_equal(got.untold_count, b->untold_count);
    assert_memory_equal(got.untold, b->untold, sizeof(b->untold));
    bufs_equal(&got.auth_key, &b->auth_key);
    bufs_equal(&got.initial_twin, &b->initial_twin);
    bufs_equal(&got.payload, &b->payload);
    lk_errand_body_fini(&got);
}

/* Empty and largest. */
static void
round_trip(void **state)
{
    struct lk_errand_body b = {.untold_count = 0};

    assert_comes_back(&b);
    largest(&b);
    assert_comes_back(&b);
    lk_errand_body_fini(&b);
    assert_int_equal(b.keys.primary.len, 0);
}

/* Another registration's, another generation's, one byte changed or cut off: nothing comes back. */
static void
bound_to_its_place(void **state)
{
    LK_AUTO_BUF struct lk_buf sealed = LK_BUF_INIT;
    struct lk_errand_body b, got = {.untold_count = 9};

    largest(&b);
    assert_int_equal(lk_errand_body_seal(ring, &lk_rand_system, SCOPE, "dev-1", 7, &b, &sealed),
                     LK_OK);
    assert_int_equal(lk_errand_body_open(ring, SCOPE, "dev-2", 7, &sealed, &got), LK_ERR_STORE);
    assert_int_equal(lk_errand_body_open(ring, SCOPE, "dev-1", 8, &sealed, &got), LK_ERR_STORE);
    assert_int_equal(lk_errand_body_open(ring, "other", "dev-1", 7, &sealed, &got), LK_ERR_STORE);
    sealed.data[sealed.len / 2] ^= 1;
    assert_int_equal(lk_errand_body_open(ring, SCOPE, "dev-1", 7, &sealed, &got), LK_ERR_STORE);
    sealed.data[sealed.len / 2] ^= 1;
    sealed.len--;
    assert_int_equal(lk_errand_body_open(ring, SCOPE, "dev-1", 7, &sealed, &got), LK_ERR_STORE);
    sealed.len++;
    sealed.data[0] ^= 1; /* the master key's number */
    assert_int_equal(lk_errand_body_open(ring, SCOPE, "dev-1", 7, &sealed, &got), LK_ERR_CONFIG);
    lk_buf_reset(&sealed);
    assert_int_equal(lk_errand_body_open(ring, SCOPE, "dev-1", 7, &sealed, &got), LK_ERR_STORE);
    assert_int_equal(got.untold_count, 9);
    lk_errand_body_fini(&b);
}

/* Well sealed, but not of this form: cut anywhere, longer, of another version. */
static void
other_forms(void **state)
{
    LK_AUTO_BUF struct lk_buf sealed = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf bytes = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf again = LK_BUF_INIT;
    static const char place[] = "errand|" SCOPE "|dev-1|7";
    struct lk_errand_body b = {.hub = "h", .device_id = "d"}, got = {.untold_count = 0};

    assert_int_equal(lk_errand_body_seal(ring, &lk_rand_system, SCOPE, "dev-1", 7, &b, &sealed),
                     LK_OK);
    assert_int_equal(lk_keyring_unseal(ring, place, sealed.data, sealed.len, &bytes), LK_OK);
    for (size_t len = 0; len < bytes.len; len++) {
        lk_buf_reset(&again);
        assert_int_equal(lk_keyring_seal(ring, place, bytes.data, len, &lk_rand_system, &again),
                         LK_OK);
        assert_int_equal(lk_errand_body_open(ring, SCOPE, "dev-1", 7, &again, &got), LK_ERR_STORE);
    }
    bytes.data[0]++;
    lk_buf_reset(&again);
    assert_int_equal(lk_keyring_seal(ring, place, bytes.data, bytes.len, &lk_rand_system, &again),
                     LK_OK);
    assert_int_equal(lk_errand_body_open(ring, SCOPE, "dev-1", 7, &again, &got), LK_ERR_STORE);
    bytes.data[0]--;
    assert_int_equal(lk_buf_put_u8(&bytes, 0), LK_OK);
    lk_buf_reset(&again);
    assert_int_equal(lk_keyring_seal(ring, place, bytes.data, bytes.len, &lk_rand_system, &again),
                     LK_OK);
    assert_int_equal(lk_errand_body_open(ring, SCOPE, "dev-1", 7, &again, &got), LK_ERR_STORE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(bound_to_its_place),
        cmocka_unit_test(other_forms),
    };

    return lk_crypto_init() == LK_OK ? cmocka_run_group_tests(tests, ring_make, ring_free) : 1;
}
