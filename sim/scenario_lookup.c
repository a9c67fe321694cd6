/*
 * Whole endpoints that know nothing but each other's ids, and whole lookup servers, in virtual time: signed packets over HTTP and
 * DNS over UDP and TCP between them. Every script says how soon an id is found whatever happens to answers; the invariants of all
 * trials hold throughout, and nobody is ever connected to another endpoint than was asked for.
 */
#include "lookup_world.h"

#include "base/assert.h"
#include "lookup/pkarr_publish.h"
#include <string.h>

#define world_l  kith__simlookup
#define pass     kith__simlookup_pass
#define until    kith__simlookup_until
#define find     kith__simlookup_find
#define seeded   kith__simlookup_seeded
#define FOUND_NS KITH_SIMLOOKUP_FOUND_NS

enum { BOTH = KITH_SIMLOOKUP_BOTH };

static enum kith_sim_verdict open_with(struct kith_trial *trial, size_t servers, size_t relays, size_t apps,
                                       unsigned ways)
{
    return kith__simlookup_open(
        trial, &(struct kith_simlookup_options) { .servers = servers, .relays = relays, .apps = apps, .ways = ways });
}

/* The server moves every minute, for some minutes; whoever has its id finds it as soon as it has told. */
static enum kith_sim_verdict roam(struct kith_trial *trial)
{
    TRY(open_with(trial, 1, trial->seed % 2 == 0 ? 2 : 0, 2, kith__simlookup_ways(trial)));
    for (int i = 0; i < 6; i++) {
        TRY(find(trial, FOUND_NS)); /* where it is about to leave: what was remembered of it is of no use soon */
        TRY(pass(trial, 1000, 60000));
        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
        TRY(pass(trial, 1000, 60000));
    }
    return KITH_SIM_OK;
}

/* Who dials a little before the server tells its new place is told soon. */
static enum kith_sim_verdict too_early(struct kith_trial *trial)
{
    TRY(open_with(trial, 1, trial->seed % 2 == 0 ? 2 : 0, 2, kith__simlookup_ways(trial)));
    for (int i = 0; i < 4; i++) {
        TRY(find(trial, FOUND_NS));
        TRY(pass(trial, 5000, 60000));
        kith__simlookup_begin(trial);
        kith__simlookup_move(trial); /* it does not even get the first packet */
        TRY(until(trial, kith__simlookup_is_published, 3 * KITH_NS_PER_S));
        TRY(until(trial, kith__simlookup_is_decided, FOUND_NS));
        DEMAND(world_l.dial->connected_ns != 0);
        TRY(kith__simlookup_hang_up(trial));
    }
    return KITH_SIM_OK;
}

/* An endpoint that tells its relays only: nothing before there is one, never an address, and it is found all the same. */
static enum kith_sim_verdict relays_only(struct kith_trial *trial)
{
    struct kith_simlookup_survey survey;

    TRY(kith__simlookup_open(
        trial,
        &(struct kith_simlookup_options) {
            .servers = 1, .relays = 2, .apps = 2, .ways = kith__simlookup_ways(trial), .tells_relays_only = true }));
    for (int i = 0; i < 4; i++) {
        TRY(kith__simlookup_move_and_find(trial, 5 * KITH_NS_PER_S));
        TRY(kith__simlookup_survey(trial, &survey));
        DEMAND(survey.err == 0 && !survey.has_now && !survey.has_old);
        TRY(pass(trial, 1000, 60000));
    }
    return KITH_SIM_OK;
}

/* ---- Answers that are lost, or come twice ---- */

/* Datagrams are lost: who asks hears it nevertheless, at the third time of asking at the latest. */
static enum kith_sim_verdict lost(struct kith_trial *trial)
{
    struct kith_simlookup_survey survey;

    TRY(open_with(trial, 2, 0, 2, kith__simlookup_ways(trial)));
    for (int i = 0; i < 6; i++) {
        kith__simlookup_move(trial);
        TRY(until(trial, kith__simlookup_is_published, 15 * KITH_NS_PER_S));
        TRY(pass(trial, 1000, 10000));
        for (int asked = 0; asked < 3; asked++) {
            TRY(kith__simlookup_survey(trial, &survey));
            if (survey.has_now)
                break;
        }
        DEMAND(survey.err == 0 && survey.has_now);
        kith__simlookup_begin(trial); /* what comes behind the handshake is no matter of lookup */
        TRY(until(trial, kith__simlookup_is_decided, 90 * KITH_NS_PER_S));
        kith__simdial_end(world_l.dial);
    }
    return KITH_SIM_OK;
}

/* One name server's datagrams do not get through: the other one is asked in time. */
static enum kith_sim_verdict deaf(struct kith_trial *trial)
{
    static const struct kith_sockaddr any = { 0 };
    bool is_way_back = trial->seed % 2 == 0; /* questions get there, answers do not come back */

    TRY(open_with(trial, 2, 0, 2, KITH_SIMLOOKUP_DNS));
    for (unsigned i = 0; i < 6; i++) {
        const struct kith_simdns *dead = &world_l.servers[i % 2];

        TRY(pass(trial, 1000, 40000));
        KITH_ASSERT(kith__sim_set_blackhole(trial->sim, is_way_back ? &dead->dns : &any,
                                            is_way_back ? &any : &dead->dns, true) == 0);
        world_l.looked_at = (i + 1) % 2;
        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
        KITH_ASSERT(kith__sim_set_blackhole(trial->sim, is_way_back ? &dead->dns : &any,
                                            is_way_back ? &any : &dead->dns, false) == 0);
    }
    DEMAND(kith__dns_client_stats(trial->apps[KITH_TRIAL_CLIENT].dns).answered >= 6);
    return KITH_SIM_OK;
}

/* A name server that shortens its answers, for it has too many questions of this network: TCP has them whole. */
static enum kith_sim_verdict shortened(struct kith_trial *trial)
{
    struct kith_dns_limits limits = { .response_rate = 0.001, .response_burst = 1 };
    struct kith_dns_counters counted;

    TRY(kith__simlookup_open(trial, &(struct kith_simlookup_options) {
                                        .servers = 1, .apps = 2, .ways = KITH_SIMLOOKUP_DNS, .limits = &limits }));
    for (int i = 0; i < 6; i++) {
        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
        TRY(pass(trial, 1000, 40000));
    }
    counted = kith__simdns_counted(&world_l.servers[0]);
    DEMAND(counted.dns_limited_truncated >= 5 && counted.dns_requests_tcp >= 5);
    return KITH_SIM_OK;
}

/* Datagrams come twice, and overtake each other. */
static enum kith_sim_verdict twice(struct kith_trial *trial)
{
    TRY(open_with(trial, 2, trial->seed % 2 == 0 ? 2 : 0, 2, kith__simlookup_ways(trial)));
    for (int i = 0; i < 6; i++) {
        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
        TRY(pass(trial, 1000, 60000));
    }
    DEMAND(kith__sim_stats(trial->sim).duplicated >= 1);
    return KITH_SIM_OK;
}

/* ---- Answers that are not true ---- */

/* The servers' answers of now on: the second one's are old, or somebody else's, or it denies. */
static void begin_to_lie(struct kith_trial *trial, enum kith_simdns_lie lie)
{
    struct kith_simdns_disk *disk = &world_l.servers[1].disk;
    struct kith_id other = kith__secret_id(&trial->apps[KITH_TRIAL_OTHER].secret);

    if (lie == KITH_SIMDNS_FORGED)
        KITH_ASSERT(kith__simdns_stored(&world_l.servers[0], &other, &disk->liar));
    kith__trial_note(trial, "a lookup server begins to lie");
    disk->lie = (uint8_t)lie;
}

/*
 * The answer that is true comes late, to a dial that tries where the server was long ago: it goes there within moments. Without
 * loss, so that nothing but the lookup takes time.
 */
static enum kith_sim_verdict late(struct kith_trial *trial)
{
    struct kith_sim_link *slow;

    TRY(open_with(trial, 2, 0, 2, BOTH));
    TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
    begin_to_lie(trial, KITH_SIMDNS_OLD);
    slow = kith__sim_host_up(world_l.servers[0].host);
    for (int i = 0; i < 4; i++) {
        uint64_t delay_ns = seeded(trial, 500, 1200) * KITH_NS_PER_MS; /* a connection may take 1.5 s */
        const struct kith_simdial *dial;

        TRY(pass(trial, 1000, 60000));
        kith__simlookup_move(trial);
        TRY(until(trial, kith__simlookup_is_published, 3 * KITH_NS_PER_S));
        slow->delay_ns += delay_ns;
        kith__simlookup_begin(trial);
        dial = world_l.dial;
        TRY(until(trial, kith__simlookup_is_decided, 3 * delay_ns + KITH_NS_PER_S));
        slow->delay_ns -= delay_ns;
        DEMAND(dial->connected_ns != 0);
        DEMAND(dial->news_ns - dial->found_ns >= delay_ns / 2);             /* it was under way for long */
        DEMAND(dial->connected_ns - dial->news_ns <= 500 * KITH_NS_PER_MS); /* and then two round trips or three */
        trial->result->gap_ns = KITH_MAX(trial->result->gap_ns, dial->connected_ns - dial->news_ns);
        TRY(kith__simlookup_hang_up(trial));
        TRY(pass(trial, 5000, 6000)); /* what is late still comes */
    }
    return KITH_SIM_OK;
}

static bool is_told_by(const struct kith_simlookup_survey *survey, const char *label, bool is_now)
{
    for (size_t i = 0; i < survey->count; i++)
        if (strncmp(survey->told[i].label, label, strlen(label)) == 0 &&
            (is_now ? survey->told[i].has_now : survey->told[i].has_old))
            return true;
    return false;
}

/* Sources contradict each other: what is out of date hides nothing, and who said what and when is known. */
static enum kith_sim_verdict contradicted(struct kith_trial *trial)
{
    struct kith_simlookup_survey survey;
    struct kith_sockaddr honest;

    TRY(open_with(trial, 2, trial->seed % 2 == 0 ? 2 : 0, 3, BOTH));
    honest = world_l.servers[0].dns;
    begin_to_lie(trial, KITH_SIMDNS_OLD);
    for (int i = 0; i < 4; i++) {
        uint64_t fresh_us = 0, old_us = 0;

        TRY(pass(trial, 1000, 60000));
        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
        /* Names in the DNS have one answer: the first name server's. The other one's here, in turns. */
        KITH_ASSERT(kith__sim_set_blackhole(trial->sim, &honest, &(struct kith_sockaddr) { 0 }, i % 2 == 0) == 0);
        TRY(kith__simlookup_survey(trial, &survey));
        DEMAND(survey.err == 0 && survey.has_now && survey.has_old);
        DEMAND(is_told_by(&survey, "pkarr:http://10.0.8.1/", true));
        DEMAND(is_told_by(&survey, "pkarr:http://10.0.8.2/", false));
        DEMAND(i % 2 != 0 || is_told_by(&survey, "dns:", false));
        for (size_t j = 0; j < survey.count; j++)
            if (survey.told[j].updated_us != 0)
                *(survey.told[j].has_now ? &fresh_us : &old_us) = survey.told[j].updated_us;
        DEMAND(old_us != 0 && fresh_us > old_us);
    }
    DEMAND(world_l.servers[1].disk.lies > 0);
    return KITH_SIM_OK;
}

static uint64_t told_before;

/* How often the DHT took a packet of the server. */
static uint64_t told_to_dht(struct kith_trial *trial)
{
    struct kith_lookup_service *service = kith__simlookup_service(&trial->apps[KITH_TRIAL_SERVER], "dht");
    struct kith_lookup_published published;

    service->ops->published(service, &published);
    return published.accepted_count;
}

static bool is_in_dht(struct kith_trial *trial)
{
    return told_to_dht(trial) > told_before;
}

/* The same with the DHT: the only one that knows better; or, in every other seed, the only one that did not hear of it. */
static enum kith_sim_verdict contradicted_by_dht(struct kith_trial *trial)
{
    struct kith_sim_host *host;
    struct kith_simlookup_survey survey;
    bool is_old = trial->seed % 2 == 0;

    TRY(kith__simlookup_open(
        trial, &(struct kith_simlookup_options) { .servers = 2, .apps = 3, .ways = BOTH, .has_dht = true }));
    host = trial->apps[KITH_TRIAL_SERVER].host;
    TRY(until(trial, is_in_dht, 30 * KITH_NS_PER_S));
    begin_to_lie(trial, KITH_SIMDNS_OLD);
    world_l.servers[0].disk.lie = is_old ? KITH_SIMDNS_HONEST : KITH_SIMDNS_OLD;
    for (int i = 0; i < 3; i++) {
        TRY(pass(trial, 1000, 60000));
        if (is_old)
            kith__simdht_part(&world_l.dht, host, true);
        told_before = told_to_dht(trial);
        kith__simlookup_move(trial);
        TRY(until(trial, is_old ? kith__simlookup_is_published : is_in_dht, 20 * KITH_NS_PER_S));
        TRY(find(trial, FOUND_NS));
        TRY(kith__simlookup_survey(trial, &survey));
        DEMAND(survey.err == 0 && survey.has_now && survey.has_old);
        DEMAND(is_told_by(&survey, "dht", !is_old));
        DEMAND(is_told_by(&survey, "pkarr:http://10.0.8.1/", is_old));
        DEMAND(is_told_by(&survey, "pkarr:http://10.0.8.2/", false));
    }
    return KITH_SIM_OK;
}

/* A server has nothing, or somebody else's packet under this key, who answers at that address: no signature, no connection. */
static enum kith_sim_verdict forged(struct kith_trial *trial)
{
    enum kith_simdns_lie lie = trial->seed % 2 == 0 ? KITH_SIMDNS_FORGED : KITH_SIMDNS_DENIES;
    struct kith_simlookup_survey survey;
    struct kith_lookup *registry;
    uint64_t failed = 0;

    TRY(open_with(trial, 2, 0, 3, trial->seed % 4 < 2 ? KITH_SIMLOOKUP_PKARR : BOTH));
    registry = trial->apps[KITH_TRIAL_CLIENT].registry;
    TRY(pass(trial, 3000, 4000)); /* the other one has told where it is, too */
    begin_to_lie(trial, lie);
    for (int i = 0; i < 4; i++) {
        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
        TRY(pass(trial, 1000, 40000));
    }
    TRY(kith__simlookup_survey(trial, &survey));
    DEMAND(survey.has_now && !is_told_by(&survey, "pkarr:http://10.0.8.2/", false));
    for (size_t i = 0; i < kith__lookup_count(registry); i++)
        failed += kith__lookup_stats(registry, i).ended_failed;
    DEMAND(lie != KITH_SIMDNS_FORGED || failed > 0);
    return KITH_SIM_OK;
}

/* ---- A server of no use ---- */

/* Refusals, failures, garbage, silence: others are asked at the same time, and it is not asked over and over. */
static enum kith_sim_verdict fool(struct kith_trial *trial)
{
    struct kith_simfool *its = &world_l.fool;
    uint64_t asked;

    TRY(kith__simlookup_open(trial,
                             &(struct kith_simlookup_options) {
                                 .servers = 1, .apps = 2, .ways = kith__simlookup_ways(trial), .has_fool = true }));
    for (int i = 0; i < 4; i++) {
        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
        TRY(pass(trial, 1000, 60000));
    }
    DEMAND(its->puts > 0 && (its->gets > 0 || its->questions > 0));
    TRY(pass(trial, 60000, 60000));
    asked = its->puts;
    TRY(pass(trial, 300000, 300000));
    /* Two endpoints: after a minute of failures each waits for ten seconds and more. */
    DEMAND(its->puts - asked <= (its->way == KITH_SIMFOOL_LIMITS  ? 2 * (300 / KITH_SIMFOOL_SILENCE_S + 2)
                                 : its->way == KITH_SIMFOOL_LOOPS ? 60 * (1 + KITH_PKARR_REDIRECTS_MAX)
                                                                  : 60));
    asked = its->way == KITH_SIMFOOL_GARBAGE ? KITH_PKARR_REPUBLISH_NS
                                             : 0; /* it said yes until now, as if it meant it */
    its->way = KITH_SIMFOOL_TAKES;
    TRY(pass(trial, (KITH_SIMLOOKUP_RETRY_NS + asked) / KITH_NS_PER_MS, 400000));
    DEMAND(its->taken >= 2);
    return KITH_SIM_OK;
}

/** The scripts, by the scenario's `extra`. */
static enum kith_sim_verdict (*const scripts[])(struct kith_trial *trial) = {
    roam, lost, deaf, shortened, twice, late, contradicted, forged, fool, contradicted_by_dht, relays_only, too_early,
};

static enum kith_sim_verdict play(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    return kith__simlookup_play(trial, scripts[scenario->extra.min]);
}

#define LINK .delay_us = { 1000, 30000 }, .jitter_us = { 0, 5000 }, .rate_kbit = { 5000, 100000 }
#define NET  .net = { LINK, .loss_ppm = { 0, 1000 } }

const struct kith_scenario kith__scenarios_lookup[] = {
    { .name = "lookup-roam", .play = play, .extra = { 0 }, .seeds_percent = 40, NET },
    { .name = "lookup-too-early", .play = play, .extra = { 11 }, .seeds_percent = 15, .net = { LINK } },
    { .name = "lookup-relays-only", .play = play, .extra = { 10 }, .seeds_percent = 15, NET },
    { .name = "lookup-lost",
      .play = play,
      .extra = { 1 },
      .seeds_percent = 15,
      .net = { LINK, .loss_ppm = { 100000, 200000 } } },
    { .name = "lookup-deaf-name-server", .play = play, .extra = { 2 }, .seeds_percent = 15, NET },
    { .name = "lookup-shortened", .play = play, .extra = { 3 }, .seeds_percent = 15, NET },
    { .name = "lookup-twice",
      .play = play,
      .extra = { 4 },
      .seeds_percent = 15,
      .net = { .delay_us = { 1000, 30000 }, /* without jitter: twins that do not overtake arrive together */
               .duplicate_ppm = { 200000, 500000 },
               .reorder_ppm = { 100000, 300000 },
               .reorder_us = { 10000, 100000 } } },
    { .name = "lookup-late", .play = play, .extra = { 5 }, .seeds_percent = 15, .net = { LINK } },
    { .name = "lookup-contradicted", .play = play, .extra = { 6 }, .seeds_percent = 15, NET },
    { .name = "lookup-contradicted-by-dht", .play = play, .extra = { 9 }, .seeds_percent = 15, NET },
    { .name = "lookup-forged", .play = play, .extra = { 7 }, .seeds_percent = 15, NET },
    { .name = "lookup-server-of-no-use", .play = play, .extra = { 8 }, .seeds_percent = 20, NET },
    { .name = NULL },
};
