/*
 * Whole endpoints that know nothing but each other's ids, and whole lookup servers, in virtual time: signed packets over HTTP and
 * DNS over UDP and TCP between them. Every script says how soon an id is found whatever happens to answers, clocks and servers; the
 * invariants of all trials hold throughout, and nobody is ever connected to another endpoint than was asked for.
 */
#include "lookup_world.h"

enum { BOTH = KITH_SIMLOOKUP_PKARR | KITH_SIMLOOKUP_DNS };

#define pass     kith__simlookup_pass
#define find     kith__simlookup_find
#define FOUND_NS KITH_SIMLOOKUP_FOUND_NS

static unsigned ways_of(const struct kith_trial *trial)
{
    static const uint8_t ways[] = { KITH_SIMLOOKUP_PKARR, KITH_SIMLOOKUP_DNS, BOTH };

    return ways[trial->seed % KITH_COUNT(ways)];
}

static enum kith_sim_verdict open_with(struct kith_trial *trial, size_t servers, size_t relays, size_t apps,
                                       unsigned ways)
{
    return kith__simlookup_open(
        trial, &(struct kith_simlookup_options) { .servers = servers, .relays = relays, .apps = apps, .ways = ways });
}

/* The server moves every minute, for some minutes; whoever has its id finds it as soon as it has told. */
static enum kith_sim_verdict roam(struct kith_trial *trial)
{
    TRY(open_with(trial, 1, trial->seed % 2 == 0 ? 2 : 0, 2, ways_of(trial)));
    for (int i = 0; i < 6; i++) {
        TRY(find(trial, FOUND_NS)); /* where it is about to leave: what was remembered of it is of no use soon */
        TRY(pass(trial, 1000, 60000));
        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
        TRY(pass(trial, 1000, 60000));
    }
    return KITH_SIM_OK;
}

/** The scripts, by the scenario's `extra`. */
static enum kith_sim_verdict (*const scripts[])(struct kith_trial *trial) = { roam };

static enum kith_sim_verdict play(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    enum kith_sim_verdict verdict = scripts[scenario->extra.min](trial);

    if (verdict == KITH_SIM_OK)
        verdict = kith__trial_close(trial);
    kith__simlookup_close(trial);
    return verdict; /* what the check at the end finds is seen by the trial */
}

#define NET                                                                                                            \
    .net = {                                                                                                           \
        .delay_us = { 1000, 30000 }, .jitter_us = { 0, 5000 }, .loss_ppm = { 0, 1000 }, .rate_kbit = { 5000, 100000 }  \
    }

const struct kith_scenario kith__scenarios_lookup[] = {
    { .name = "lookup-roam", .play = play, .extra = { 0 }, .seeds_percent = 50, NET },
    { .name = NULL },
};
