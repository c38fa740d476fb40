#include "link/board.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static const char *const outcome_names[LK_HUB_OUTCOMES] = {"answered", "throttled", "refused",
                                                           "unreachable", "faulty"};

struct place {
    char name[LK_HOST_NAME_MAX + 1];
    struct lk_breaker breaker;
    uint64_t calls[LK_HUB_OUTCOMES];
    uint64_t opened;
    int64_t used_mono_ms; /* when an errand to it was last asked for */
};

struct lk_hub_board {
    const struct lk_clock *clock;
    unsigned most;
    pthread_mutex_t lock; /* over what follows; a plain mutex, which has no way to fail */
    size_t places_count;
    struct place places[LK_BOARD_HUBS_MAX];
};

enum lk_err
lk_hub_board_new(const struct lk_clock *clock, unsigned most, struct lk_hub_board **ret)
{
    struct lk_hub_board *b = calloc(1, sizeof(*b));

    if (b == NULL) {
        return LK_ERR_NOMEM;
    }
    if (pthread_mutex_init(&b->lock, NULL) != 0) {
        free(b);
        return LK_ERR_NOMEM;
    }
    b->clock = clock;
    b->most = most;
    *ret = b;
    return LK_OK;
}

void
lk_hub_board_free(struct lk_hub_board *b)
{
    if (b != NULL) {
        (void)pthread_mutex_destroy(&b->lock); /* fails only while it is held */
        free(b);
    }
}

/* A place for one hub more: of one that was unlinked long ago, when there is no other. */
static struct place *
place_free(struct lk_hub_board *b)
{
    struct place *oldest = NULL;

    if (b->places_count < LK_BOARD_HUBS_MAX) {
        return &b->places[b->places_count++];
    }
    for (size_t i = 0; i < b->places_count; i++) {
        struct place *p = &b->places[i];

        if (p->breaker.running == 0 && (oldest == NULL || p->used_mono_ms < oldest->used_mono_ms)) {
            oldest = p;
        }
    }
    return oldest;
}

/* NULL when it is not there, or there are too many to be made. */
static struct place *
place_find(struct lk_hub_board *b, const char *hub, bool make)
{
    struct place *p;

    for (size_t i = 0; i < b->places_count; i++) {
        if (strcmp(b->places[i].name, hub) == 0) {
            return &b->places[i];
        }
    }
    if (!make || strlen(hub) > LK_HOST_NAME_MAX || (p = place_free(b)) == NULL) {
        return NULL;
    }
    memset(p, 0, sizeof(*p));
    (void)strcpy(p->name, hub); /* it fits */
    return p;
}

unsigned
lk_hub_board_reserve(struct lk_hub_board *b, const char *hub, unsigned wanted)
{
    int64_t now = lk_clock_mono_ms(b->clock);
    struct place *p;
    unsigned granted = 0;

    (void)pthread_mutex_lock(&b->lock);
    if ((p = place_find(b, hub, true)) != NULL) {
        granted = lk_breaker_reserve(&p->breaker, wanted, b->most, now);
        p->used_mono_ms = now;
    }
    (void)pthread_mutex_unlock(&b->lock);
    return granted;
}

void
lk_hub_board_release(struct lk_hub_board *b, const char *hub, unsigned count)
{
    struct place *p;

    (void)pthread_mutex_lock(&b->lock);
    if ((p = place_find(b, hub, false)) != NULL) {
        lk_breaker_release(&p->breaker, count);
    }
    (void)pthread_mutex_unlock(&b->lock);
}

/* True when the breaker opened or closed by it. */
static bool
place_report(struct place *p, enum lk_hub_outcome outcome, uint32_t retry_after_s, int64_t now)
{
    bool turned;

    p->calls[outcome]++;
    if (retry_after_s > 0) {
        lk_breaker_patience(&p->breaker, retry_after_s, now);
    }
    if (outcome == LK_HUB_ANSWERED || outcome == LK_HUB_THROTTLED) {
        return lk_breaker_success(&p->breaker);
    }
    turned = lk_breaker_failure(&p->breaker, now);
    p->opened += turned;
    return turned;
}

void
lk_hub_board_report(struct lk_hub_board *b, const char *hub, enum lk_hub_outcome outcome,
                    uint32_t retry_after_s, const char *detail)
{
    bool well = outcome == LK_HUB_ANSWERED || outcome == LK_HUB_THROTTLED;
    int64_t now = lk_clock_mono_ms(b->clock);
    struct place *p;
    bool turned = false;

    (void)pthread_mutex_lock(&b->lock);
    if ((p = place_find(b, hub, true)) != NULL) {
        turned = place_report(p, outcome, retry_after_s, now);
    }
    (void)pthread_mutex_unlock(&b->lock);
    if (turned && well) {
        lk_log(LK_LOG_INFO, "hub.recovered", LK_F_TEXT("hub", hub));
    } else if (turned) {
        lk_log(LK_LOG_ERROR, "hub.not_called", LK_F_TEXT("hub", hub),
               LK_F_TEXT("outcome", outcome_names[outcome]), LK_F_TEXT("reason", detail));
    }
}

/* ---- metrics ----------------------------------------------------------------------------------
 */

static enum lk_err
calls_write(const struct lk_hub_board *b, struct lk_buf *ret)
{
    enum lk_err err =
        lk_buf_puts(ret, "# HELP latchkey_hub_calls_total Calls to hubs elsewhere by "
                         "how they ended.\n# TYPE latchkey_hub_calls_total counter\n");

    for (size_t i = 0; i < b->places_count; i++) {
        for (size_t k = 0; err == LK_OK && k < LK_HUB_OUTCOMES; k++) {
            err = lk_buf_printf(ret,
                                "latchkey_hub_calls_total{hub=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                                b->places[i].name, outcome_names[k], b->places[i].calls[k]);
        }
    }
    return err;
}

static enum lk_err
breakers_write(const struct lk_hub_board *b, int64_t now, struct lk_buf *ret)
{
    enum lk_err err = lk_buf_puts(
        ret,
        "# HELP latchkey_hub_breaker_state Whether a hub elsewhere is called: 0 it is, 1 it is "
        "not, 2 one call at a time.\n# TYPE latchkey_hub_breaker_state gauge\n");

    for (size_t i = 0; err == LK_OK && i < b->places_count; i++) {
        err = lk_buf_printf(ret, "latchkey_hub_breaker_state{hub=\"%s\"} %d\n", b->places[i].name,
                            (int)lk_breaker_state(&b->places[i].breaker, now));
    }
    if (err != LK_OK ||
        (err = lk_buf_puts(ret, "# HELP latchkey_hub_breaker_opened_total How often calls to a hub "
                                "elsewhere were stopped.\n"
                                "# TYPE latchkey_hub_breaker_opened_total counter\n")) != LK_OK) {
        return err;
    }
    for (size_t i = 0; err == LK_OK && i < b->places_count; i++) {
        err = lk_buf_printf(ret, "latchkey_hub_breaker_opened_total{hub=\"%s\"} %" PRIu64 "\n",
                            b->places[i].name, b->places[i].opened);
    }
    return err;
}

static enum lk_err
running_write(const struct lk_hub_board *b, struct lk_buf *ret)
{
    enum lk_err err = lk_buf_puts(
        ret, "# HELP latchkey_hub_errands_running Errands to a hub elsewhere that are under way.\n"
             "# TYPE latchkey_hub_errands_running gauge\n");

    for (size_t i = 0; err == LK_OK && i < b->places_count; i++) {
        err = lk_buf_printf(ret, "latchkey_hub_errands_running{hub=\"%s\"} %u\n", b->places[i].name,
                            b->places[i].breaker.running);
    }
    return err;
}

enum lk_err
lk_hub_board_metrics(struct lk_hub_board *b, struct lk_buf *ret)
{
    int64_t now = lk_clock_mono_ms(b->clock);
    enum lk_err err = LK_OK;

    (void)pthread_mutex_lock(&b->lock);
    if (b->places_count > 0 && (err = calls_write(b, ret)) == LK_OK &&
        (err = breakers_write(b, now, ret)) == LK_OK) {
        err = running_write(b, ret);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return err;
}
