#include "lookup/mdns_link.h"

#include "base/assert.h"
#include "base/random.h"
#include "lookup/mdns_core.h"

/* So that those who start at once, or hear the same, do not speak at once: RFC 6762, 5.2 and 6. */
#define START_MIN_NS (20 * KITH_NS_PER_MS)
#define START_MAX_NS (120 * KITH_NS_PER_MS)
#define SOON_MAX_NS  (20 * KITH_NS_PER_MS)
/* Those who answer a question to all do so within this: spec/03, 10.2. */
#define ROUND_NS (100 * KITH_NS_PER_MS)

enum { ANNOUNCEMENTS = 2, EXTRA_ROUNDS_MAX = 10 };

#define HEARD_NS (KITH_NS_PER_S / KITH_MDNS_HEARD_RATE)

static uint64_t some(const struct kith_mdns_link *link, uint64_t below_ns)
{
    return kith__random_below(link->random, KITH_MAX(below_ns, UINT64_C(1)));
}

void kith__mdns_link_open(struct kith_mdns_link *link, uint32_t interface, const struct kith_random *random,
                          uint64_t now_ns)
{
    *link = (struct kith_mdns_link) { .is_open = true,
                                      .interface = interface,
                                      .random = random,
                                      .respond_ns = KITH_NEVER,
                                      .ask_ns = KITH_NEVER,
                                      .browse_gap_ns = KITH_MDNS_ASK_MIN_NS,
                                      .budget_ns = KITH_MDNS_HEARD_BURST * HEARD_NS,
                                      .filled_ns = now_ns };
    link->browse_ns = now_ns + START_MIN_NS + some(link, START_MAX_NS - START_MIN_NS);
}

bool kith__mdns_link_may_hear(struct kith_mdns_link *link, uint64_t now_ns)
{
    link->budget_ns = KITH_MIN(link->budget_ns + (now_ns - link->filled_ns), KITH_MDNS_HEARD_BURST * HEARD_NS);
    link->filled_ns = now_ns;
    if (link->budget_ns < HEARD_NS)
        return false;
    link->budget_ns -= HEARD_NS;
    return true;
}

/** A response at that time, or when the last one is long enough ago, or when one is due anyway. */
static void respond_at(struct kith_mdns_link *link, uint64_t at_ns, bool must)
{
    if (link->responded_ns != 0)
        at_ns = KITH_MAX(at_ns, link->responded_ns + KITH_MDNS_RESPONSE_GAP_NS);
    link->respond_ns = KITH_MIN(link->respond_ns, at_ns);
    link->must_respond |= must;
}

void kith__mdns_link_announce(struct kith_mdns_link *link, uint64_t now_ns)
{
    link->announcements = ANNOUNCEMENTS;
    link->is_leaving = false;
    respond_at(link, now_ns + (link->has_said ? some(link, SOON_MAX_NS) : START_MIN_NS + some(link, ROUND_NS)), true);
}

void kith__mdns_link_on_query(struct kith_mdns_link *link, size_t size, uint64_t now_ns)
{
    uint64_t rounds = KITH_MIN(size / KITH_MDNS_CUTOFF, (size_t)EXTRA_ROUNDS_MAX);

    if (link->respond_ns != KITH_NEVER)
        return; /* it is an answer to this one, too */
    if (link->has_responded)
        link->extra_ns = ROUND_NS * rounds;
    else
        link->extra_ns -= KITH_MIN(link->extra_ns, ROUND_NS);
    link->has_responded = false;
    link->heard = 0;
    respond_at(link, now_ns + some(link, ROUND_NS * size / KITH_MDNS_CUTOFF) + link->extra_ns, false);
}

void kith__mdns_link_on_browsed(struct kith_mdns_link *link, uint64_t now_ns)
{
    link->browse_ns = KITH_MAX(link->browse_ns, now_ns + link->browse_gap_ns);
}

void kith__mdns_link_on_asked(struct kith_mdns_link *link, uint64_t now_ns)
{
    respond_at(link, now_ns + some(link, SOON_MAX_NS), true);
}

bool kith__mdns_link_on_responses(struct kith_mdns_link *link, size_t count)
{
    link->heard += (unsigned)count;
    if (link->respond_ns == KITH_NEVER || link->must_respond || link->heard < KITH_MDNS_CUTOFF)
        return false;
    link->respond_ns = KITH_NEVER;
    return true;
}

void kith__mdns_link_ask(struct kith_mdns_link *link, uint64_t now_ns)
{
    uint64_t at_ns = now_ns + some(link, SOON_MAX_NS);

    if (link->queried_ns != 0)
        at_ns = KITH_MAX(at_ns, link->queried_ns + KITH_MDNS_QUERY_GAP_NS);
    link->ask_ns = KITH_MIN(link->ask_ns, at_ns);
}

void kith__mdns_link_responded(struct kith_mdns_link *link, bool has_said, uint64_t now_ns)
{
    link->respond_ns = KITH_NEVER;
    link->must_respond = false;
    link->has_responded = has_said;
    if (!has_said) {
        link->announcements = 0;
        return;
    }
    link->has_said = true;
    link->responded_ns = now_ns;
    if (link->announcements > 0 && --link->announcements > 0)
        respond_at(link, now_ns + KITH_NS_PER_S, true);
}

void kith__mdns_link_queried(struct kith_mdns_link *link, bool more, uint64_t now_ns)
{
    link->queried_ns = now_ns;
    link->ask_ns = more ? now_ns + KITH_MDNS_QUERY_GAP_NS : KITH_NEVER;
    /* One that was about some asked all as well. */
    link->browse_ns = now_ns + link->browse_gap_ns + some(link, link->browse_gap_ns / 10);
    link->browse_gap_ns = KITH_MIN(2 * link->browse_gap_ns, KITH_MDNS_ASK_MAX_NS);
}
