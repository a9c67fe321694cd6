/* Decisions about relays. */
#include "endpoint/relay_choice.h"

static bool is_better(const struct kith_relay_rank *a, const struct kith_relay_rank *b)
{
    return a->fitness != b->fitness ? a->fitness > b->fitness : a->latency_ns < b->latency_ns;
}

/** The best but `without`; the first of equal ones. */
static size_t best_of(const struct kith_relay_rank *ranks, size_t count, size_t without)
{
    size_t best = KITH_RELAY_NONE;

    for (size_t i = 0; i < count; i++)
        if (i != without && (best == KITH_RELAY_NONE || is_better(&ranks[i], &ranks[best])))
            best = i;
    return best;
}

/** spec/02, 4.6: the new one must need less than two thirds of the time. */
static bool is_worth_a_move(const struct kith_relay_rank *from, const struct kith_relay_rank *to)
{
    if (from->fitness != to->fitness)
        return true;
    return from->latency_ns != KITH_NEVER && to->latency_ns != KITH_NEVER &&
           to->latency_ns < from->latency_ns - from->latency_ns / 3;
}

struct kith_relay_choice kith__relay_choose(const struct kith_relay_rank *ranks, size_t count, size_t home)
{
    struct kith_relay_choice choice = { best_of(ranks, count, KITH_RELAY_NONE), KITH_RELAY_NONE };

    if (home != KITH_RELAY_NONE && choice.home != home && !is_worth_a_move(&ranks[home], &ranks[choice.home]))
        choice.home = home;
    choice.warm = best_of(ranks, count, choice.home);
    return choice;
}

uint64_t kith__relay_backoff_ns(unsigned failures, bool is_needed, uint64_t random)
{
    uint64_t most = is_needed ? KITH_RELAY_BACKOFF_NEEDED_NS : KITH_RELAY_BACKOFF_MAX_NS;
    uint64_t wait_ns = KITH_RELAY_BACKOFF_MIN_NS;

    for (unsigned i = 1; i < failures && wait_ns < most; i++)
        wait_ns *= 2;
    if (wait_ns > most)
        wait_ns = most;
    return wait_ns + random % (wait_ns + 1);
}
