#include "quic/stream/credit.h"

#include "base/assert.h"

void kith__credit_init(struct kith_credit *credit, uint64_t window, uint64_t window_max)
{
    window = KITH_MIN(window, KITH_VARINT_MAX);
    *credit = (struct kith_credit) {
        .window = window,
        .window_max = KITH_MAX(window, KITH_MIN(window_max, KITH_VARINT_MAX)),
        .announced = window,
    };
}

uint64_t kith__credit_announce(struct kith_credit *credit)
{
    credit->announced = KITH_MAX(credit->announced, kith__credit_target(credit));
    credit->resend = false;
    return credit->announced;
}

void kith__credit_on_lost(struct kith_credit *credit, uint64_t limit)
{
    if (limit == credit->announced) /* an older value was replaced by a newer packet already */
        credit->resend = true;
}

static void grow(struct kith_credit *credit, struct kith_credit_pool *pool)
{
    uint64_t by = KITH_MIN(credit->window, credit->window_max - credit->window);

    if (pool != NULL) {
        by = KITH_MIN(by, pool->left);
        pool->left -= by;
        credit->grown += by;
    }
    credit->window += by;
}

void kith__credit_give_back(struct kith_credit *credit, struct kith_credit_pool *pool, uint64_t count, uint64_t now_ns,
                            uint64_t rtt_ns)
{
    KITH_ASSERT(count <= KITH_VARINT_MAX - credit->used);
    credit->used += count;
    if (rtt_ns == 0 || credit->window == credit->window_max)
        return;
    if (credit->tune_start_ns == 0) {
        credit->tune_start_ns = now_ns;
        credit->tune_used = credit->used;
        return;
    }
    if (credit->used - credit->tune_used < credit->window)
        return;
    if (now_ns - credit->tune_start_ns < 2 * rtt_ns)
        grow(credit, pool);
    credit->tune_start_ns = now_ns;
    credit->tune_used = credit->used;
}

void kith__credit_release(struct kith_credit *credit, struct kith_credit_pool *pool)
{
    pool->left += credit->grown;
    credit->window -= credit->grown;
    credit->window_max = credit->window;
    credit->grown = 0;
}

bool kith__limit_raise(struct kith_limit *limit, uint64_t max)
{
    if (max <= limit->max)
        return false;
    limit->max = max;
    limit->blocked_due = limit->blocked_told = false;
    return true;
}

void kith__limit_take(struct kith_limit *limit, uint64_t count)
{
    KITH_ASSERT(count <= kith__limit_left(limit));
    limit->used += count;
}

void kith__limit_on_blocked(struct kith_limit *limit)
{
    if (!limit->blocked_told)
        limit->blocked_due = true;
}

uint64_t kith__limit_tell_blocked(struct kith_limit *limit)
{
    limit->blocked_due = false;
    limit->blocked_told = true;
    return limit->max;
}

void kith__limit_on_blocked_lost(struct kith_limit *limit, uint64_t max)
{
    if (max == limit->max && kith__limit_left(limit) == 0) {
        limit->blocked_told = false;
        limit->blocked_due = true;
    }
}
