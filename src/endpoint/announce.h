/**
 * Tells the lookup services where an endpoint is: its public addresses and those of its interfaces, the relays that it can be
 * reached through (home and spare, once they let it in), and its user data. Anew when any of that changes, at most once a turn;
 * what each service makes of it (filter, repetition) is its own affair. A home relay that was lost is told on until another one is
 * there: an old address is better than none. Thread rules: those of the rt. Source: spec/03, 12.2.
 */
#ifndef KITH_ENDPOINT_ANNOUNCE_H
#define KITH_ENDPOINT_ANNOUNCE_H

#include "endpoint/driver.h"
#include "endpoint/relays.h"
#include "lookup/lookup.h"

struct kith_announce;

/** All borrowed, and outlive it. */
struct kith_announce_options {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_driver *driver;
    const struct kith_relays *relays; /* NULL: none are used */
    struct kith_lookup *lookup;
    struct kith_id id;
    bool is_relay_only;    /* there are no direct addresses */
    const char *user_data; /* NULL: none; copied */
};

/** Begins with the next turn. TOO_LARGE, PARSE: the user data; NOMEM. */
KITH_MUST_USE int kith__announce_new(const struct kith_announce_options *options, struct kith_announce **out);
/** Tells nothing any more, and takes nothing back. NULL is fine. */
void kith__announce_free(struct kith_announce *announce);
/** Something may have changed (relays had news): it is looked at in the next turn. NULL is fine. */
void kith__announce_soon(struct kith_announce *announce);
/** TOO_LARGE, PARSE: the old text stays. */
KITH_MUST_USE int kith__announce_set_user_data(struct kith_announce *announce, struct kith_slice text);

#endif
