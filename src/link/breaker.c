#include "link/breaker.h"

enum lk_breaker_state
lk_breaker_state(const struct lk_breaker *b, int64_t now_mono_ms)
{
    if (!b->opened) {
        return LK_BREAKER_CLOSED;
    }
    return now_mono_ms < b->until_mono_ms ? LK_BREAKER_OPEN : LK_BREAKER_HALF_OPEN;
}

unsigned
lk_breaker_reserve(struct lk_breaker *b, unsigned wanted, unsigned most, int64_t now_mono_ms)
{
    enum lk_breaker_state state = lk_breaker_state(b, now_mono_ms);
    unsigned limit = state == LK_BREAKER_CLOSED ? most : state == LK_BREAKER_HALF_OPEN ? 1 : 0;
    unsigned room;

    if (now_mono_ms < b->patient_mono_ms || b->running >= limit) {
        return 0;
    }
    room = limit - b->running;
    room = wanted < room ? wanted : room;
    b->running += room;
    return room;
}

void
lk_breaker_release(struct lk_breaker *b, unsigned count)
{
    b->running -= count < b->running ? count : b->running;
}

bool
lk_breaker_success(struct lk_breaker *b)
{
    bool was = b->opened;

    b->failures = 0;
    b->opened = false;
    b->pause_ms = 0;
    return was;
}

/* What fails while it is open began before: that says nothing new. */
bool
lk_breaker_failure(struct lk_breaker *b, int64_t now_mono_ms)
{
    bool was = b->opened;

    b->failures++;
    if (lk_breaker_state(b, now_mono_ms) == LK_BREAKER_OPEN ||
        (!was && b->failures < LK_BREAKER_FAILURES)) {
        return false;
    }
    b->pause_ms = b->pause_ms == 0 ? LK_BREAKER_PAUSE_MS : b->pause_ms * 2;
    b->pause_ms = b->pause_ms < LK_BREAKER_PAUSE_MAX_MS ? b->pause_ms : LK_BREAKER_PAUSE_MAX_MS;
    b->opened = true;
    b->until_mono_ms = now_mono_ms + b->pause_ms;
    return !was;
}

void
lk_breaker_patience(struct lk_breaker *b, uint32_t retry_after_s, int64_t now_mono_ms)
{
    int64_t ms = (int64_t)retry_after_s * 1000, until;

    ms = ms < LK_BREAKER_PATIENCE_MAX_MS ? ms : LK_BREAKER_PATIENCE_MAX_MS;
    until = now_mono_ms + ms;
    b->patient_mono_ms = until > b->patient_mono_ms ? until : b->patient_mono_ms;
}
