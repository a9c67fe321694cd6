#include "lookup_world.h"

#include "base/assert.h"
#include "lookup/pkarr.h"
#include <stdio.h>
#include <string.h>

enum { CHECK_EVERY = 16 };

/* The services' own limit, and two idle times: the other side may begin a handshake, and be heard of for one of them. */
#define DIAL_LIMIT_NS (KITH_LOOKUP_LIMIT_NS + 65 * KITH_NS_PER_S)

struct kith_simlookup kith__simlookup;

static struct {
    bool (*done)(struct kith_trial *trial);
    unsigned moves;
} inner;

uint64_t kith__simlookup_seeded(struct kith_trial *trial, uint64_t min, uint64_t max)
{
    return kith__trial_choose(trial, (struct kith_choice) { min, max });
}

static struct kith_simapp *server_of(struct kith_trial *trial)
{
    return &trial->apps[KITH_TRIAL_SERVER];
}

/* ---- Running ---- */

static void check_dials(struct kith_trial *trial)
{
    uint64_t now_ns = kith__sim_now(trial->sim);

    for (size_t i = 0; i < trial->app_count; i++)
        KITH_LIST_EACH(node, &trial->apps[i].dials)
        {
            const struct kith_simdial *dial = KITH_CONTAINER(node, struct kith_simdial, node);

            if (dial->over_ns == 0 && dial->connected_ns == 0 && now_ns - dial->began_ns > DIAL_LIMIT_NS)
                kith__simapp_wrong(&trial->apps[i], "a dial hangs");
        }
}

static bool after_step(struct kith_trial *trial)
{
    if (trial->check.steps % CHECK_EVERY == 0) {
        for (size_t i = 0; i < kith__simlookup.server_count; i++)
            kith__simdns_check(&kith__simlookup.servers[i]);
        for (size_t i = 0; i < kith__simlookup.relay_count; i++)
            kith__simhouse_check(&kith__simlookup.relays[i]);
        check_dials(trial);
    }
    return inner.done != NULL && inner.done(trial);
}

enum kith_sim_verdict kith__simlookup_until(struct kith_trial *trial, bool (*done)(struct kith_trial *trial),
                                            uint64_t for_ns)
{
    enum kith_sim_verdict verdict;

    inner.done = done;
    verdict = kith__trial_until(trial, after_step, for_ns);
    return done == NULL && verdict == KITH_SIM_STUCK ? KITH_SIM_OK : verdict;
}

enum kith_sim_verdict kith__simlookup_pass(struct kith_trial *trial, uint64_t min_ms, uint64_t max_ms)
{
    return kith__simlookup_until(trial, NULL, kith__simlookup_seeded(trial, min_ms, max_ms) * KITH_NS_PER_MS);
}

static bool all_online(struct kith_trial *trial)
{
    for (size_t i = 0; i < trial->app_count && kith__simlookup.relay_count != 0; i++)
        if (!kith__simapp_is_online(&trial->apps[i]))
            return false;
    return true;
}

static bool is_answered(struct kith_trial *trial)
{
    const struct kith_simdial *dial = kith__simlookup.dial;

    (void)trial;
    return dial->over_ns != 0 || kith__simconn_is_done(dial->conn);
}

/* ---- What is published ---- */

struct kith_lookup_service *kith__simlookup_service(const struct kith_simapp *app, const char *name)
{
    for (size_t i = 0; i < kith__lookup_count(app->registry); i++)
        if (strcmp(kith__lookup_service(app->registry, i)->ops->name, name) == 0)
            return kith__lookup_service(app->registry, i);
    KITH_ASSERT(!"it has no such service");
    return NULL;
}

/* A packet names the home relay of now, if there are relays, and the address of now, if it is told. */
static bool says_where(struct kith_trial *trial, const struct kith_pkarr *packet)
{
    const struct kith_simapp *server = server_of(trial);
    bool has_ip = server->lookups.filter == KITH_LOOKUP_RELAYS, has_home = server->relays == NULL;
    struct kith_relay_info home = { .url = NULL };
    struct kith_lookup_info info;
    size_t ignored;

    if (!has_home && kith__relays_home(server->relays) != NULL)
        kith__relay_info(kith__relays_home(server->relays), &home);
    KITH_ASSERT(kith__pkarr_info(packet, kith_mem_default(), &info, &ignored) == 0);
    for (size_t i = 0; i < info.addr.count; i++) {
        const struct kith_transport_addr *addr = &info.addr.addrs[i];

        has_ip |= addr->kind == KITH_TRANSPORT_IP && kith_sockaddr_equal(&addr->ip, &kith__simlookup.address);
        has_home |= addr->kind == KITH_TRANSPORT_RELAY && home.url != NULL &&
                    strcmp((const char *)addr->bytes.ptr, home.url) == 0;
    }
    kith__lookup_info_dispose(&info);
    return has_ip && has_home;
}

bool kith__simlookup_is_published(struct kith_trial *trial)
{
    struct kith_id id = kith__secret_id(&server_of(trial)->secret);
    struct kith_pkarr packet;

    return kith__simdns_stored(&kith__simlookup.servers[kith__simlookup.looked_at], &id, &packet) &&
           says_where(trial, &packet);
}

void kith__simlookup_move(struct kith_trial *trial)
{
    struct kith_sockaddr *now = &kith__simlookup.address, there;

    inner.moves++;
    now->ip[2] = (uint8_t)(20 + inner.moves / 200);
    now->ip[3] = (uint8_t)(1 + inner.moves % 200);
    there = *now;
    there.port = 0;
    kith__simapp_note(server_of(trial), "moves to 10.0.%u.%u", now->ip[2], now->ip[3]);
    KITH_ASSERT(kith__sim_interface_set_addrs(server_of(trial)->host, 0, &there, 1) == 0);
}

/* ---- Asking ---- */

static struct kith_sockaddr first_address(void)
{
    return kith__trial_address("10.0.1.2:4433");
}

static bool names(const struct kith_endpoint_addr *addr, const struct kith_sockaddr *ip)
{
    for (size_t i = 0; i < addr->count; i++)
        if (addr->addrs[i].kind == KITH_TRANSPORT_IP && kith_sockaddr_equal(&addr->addrs[i].ip, ip))
            return true;
    return false;
}

static void survey_item(void *ctx, const struct kith_lookup_item *item)
{
    struct kith_simlookup_survey *survey = ctx;
    struct kith_sockaddr old = first_address();

    survey->has_now = names(&item->merged->addr, &kith__simlookup.address);
    survey->has_old = names(&item->merged->addr, &old);
    if (survey->count == KITH_SIMLOOKUP_TOLD_MAX)
        return;
    snprintf(survey->told[survey->count].label, sizeof survey->told[0].label, "%s", item->service->label);
    survey->told[survey->count].has_now = names(&item->info->addr, &kith__simlookup.address);
    survey->told[survey->count].has_old = names(&item->info->addr, &old);
    survey->told[survey->count++].updated_us = item->updated_us;
}

static void survey_end(void *ctx, int err, const char *why)
{
    struct kith_simlookup_survey *survey = ctx;

    (void)why;
    survey->is_over = true;
    survey->err = err;
}

static const struct kith_simlookup_survey *surveyed;

static bool is_surveyed(struct kith_trial *trial)
{
    (void)trial;
    return surveyed->is_over;
}

enum kith_sim_verdict kith__simlookup_survey(struct kith_trial *trial, struct kith_simlookup_survey *out)
{
    struct kith_lookup_events events = { .on_item = survey_item, .on_end = survey_end, .ctx = out };
    struct kith_id id = kith__secret_id(&server_of(trial)->secret);
    struct kith_lookup_request *request;

    memset(out, 0, sizeof *out);
    surveyed = out;
    KITH_ASSERT(kith__lookup_resolve(trial->apps[KITH_TRIAL_CLIENT].registry, &id, &events, &request) == 0);
    return kith__simlookup_until(trial, is_surveyed, KITH_LOOKUP_LIMIT_NS + KITH_NS_PER_S);
}

/* ---- Setting up ---- */

static void open_servers(struct kith_trial *trial, const struct kith_simlookup_options *options)
{
    struct kith_simapp_lookups *lookups = &trial->lookups;
    size_t at = 0;

    if (options->has_fool) {
        kith__simfool_open(&kith__simlookup.fool, trial,
                           (enum kith_simfool_way)kith__simlookup_seeded(trial, 0, KITH_SIMFOOL_WAYS - 1));
        lookups->publish[at] = lookups->resolve[at] = kith__simlookup.fool.url;
        lookups->dns[at++] = kith__simlookup.fool.dns;
    }
    if (options->has_dht) {
        kith__simdht_open(&kith__simlookup.dht, trial);
        lookups->dht = kith__simlookup.dht.bootstrap;
    }
    kith__simlookup.server_count = options->servers;
    kith__simlookup.relay_count = trial->relay_count = options->relays;
    for (unsigned i = 0; i < options->servers; i++) {
        struct kith_simdns *server = &kith__simlookup.servers[i];

        kith__simdns_open(server, trial, i + 1, options->limits);
        lookups->publish[at + i] = server->url;
        if (options->ways & KITH_SIMLOOKUP_PKARR)
            lookups->resolve[at + i] = server->url;
        if (options->ways & KITH_SIMLOOKUP_DNS)
            lookups->dns[at + i] = server->dns;
    }
    if (options->ways & KITH_SIMLOOKUP_DNS)
        lookups->origin = KITH_SIMDNS_ORIGIN;
    lookups->filter = options->tells_relays_only ? KITH_LOOKUP_RELAYS : KITH_LOOKUP_ALL;
    lookups->republish_ns = options->republish_ns;
    for (unsigned i = 0; i < options->relays; i++) {
        kith__simhouse_open(&kith__simlookup.relays[i], trial, i + 1);
        trial->relay_urls[i] = kith__simlookup.relays[i].url;
    }
}

enum kith_sim_verdict kith__simlookup_open(struct kith_trial *trial, const struct kith_simlookup_options *options)
{
    static const char *const names[] = { "client", "server", "other" };

    trial->transport.paths_max = 8; /* in every seed: what is found late may need a path of its own */
    open_servers(trial, options);
    for (size_t i = 0; i < options->apps; i++) {
        struct kith_sim_host_options host = { .addrs[0] = kith__trial_address("10.0.1.1:0") };
        struct kith_simapp *app;

        host.addrs[0].ip[3] = (uint8_t)(i + 1);
        kith__trial_choose_link(trial, &host.up);
        kith__trial_choose_link(trial, &host.down);
        app = kith__trial_add_app(trial, names[i], &host, false);
        app->may_end = true; /* who dialled hangs up when it likes */
    }
    kith__simlookup.address = first_address();
    TRY(kith__simlookup_until(trial, all_online, 10 * KITH_NS_PER_S));
    for (size_t i = options->servers; i-- > 0;) {
        kith__simlookup.looked_at = i;
        TRY(kith__simlookup_until(trial, kith__simlookup_is_published, 10 * KITH_NS_PER_S));
    }
    return KITH_SIM_OK;
}

static void close_all(struct kith_trial *trial)
{
    for (size_t i = 0; i < kith__simlookup.relay_count; i++)
        kith__simhouse_kill(&kith__simlookup.relays[i], false);
    for (size_t i = 0; i < kith__simlookup.server_count; i++) {
        trial->result->memory_peak = KITH_MAX(trial->result->memory_peak, kith__simlookup.servers[i].mem.peak);
        kith__simdns_close(&kith__simlookup.servers[i]);
    }
    kith__simfool_close(&kith__simlookup.fool);
    kith__simdht_close(&kith__simlookup.dht);
}

enum kith_sim_verdict kith__simlookup_play(struct kith_trial *trial,
                                           enum kith_sim_verdict (*script)(struct kith_trial *trial))
{
    enum kith_sim_verdict verdict = script(trial);

    if (verdict == KITH_SIM_OK)
        verdict = kith__trial_close(trial);
    close_all(trial);
    return verdict; /* what the checks at the end find is seen by the trial */
}

unsigned kith__simlookup_ways(const struct kith_trial *trial)
{
    static const uint8_t ways[] = { KITH_SIMLOOKUP_PKARR, KITH_SIMLOOKUP_DNS, KITH_SIMLOOKUP_BOTH };

    return ways[trial->seed % KITH_COUNT(ways)];
}

/* ---- Finding ---- */

static const struct kith_simapp_plan one_question = {
    .streams = 1, .up_min = 100, .up_max = 1000, .down_min = 100, .down_max = 1000
};

void kith__simlookup_begin(struct kith_trial *trial)
{
    struct kith_id id = kith__secret_id(&server_of(trial)->secret);

    kith__simlookup.dial = kith__simapp_find(&trial->apps[KITH_TRIAL_CLIENT], &id, &one_question);
}

bool kith__simlookup_is_decided(struct kith_trial *trial)
{
    (void)trial;
    return kith__simlookup.dial->connected_ns != 0 || kith__simlookup.dial->over_ns != 0;
}

enum kith_sim_verdict kith__simlookup_hang_up(struct kith_trial *trial)
{
    TRY(kith__simlookup_until(trial, is_answered, 10 * KITH_NS_PER_S));
    DEMAND(kith__simlookup.dial->over_ns == 0);
    kith__simdial_end(kith__simlookup.dial);
    return KITH_SIM_OK;
}

enum kith_sim_verdict kith__simlookup_find(struct kith_trial *trial, uint64_t limit_ns)
{
    uint64_t began_ns = kith__sim_now(trial->sim);

    kith__simlookup_begin(trial);
    TRY(kith__simlookup_until(trial, kith__simlookup_is_decided, limit_ns));
    DEMAND(kith__simlookup.dial->connected_ns != 0);
    trial->result->gap_ns = KITH_MAX(trial->result->gap_ns, kith__sim_now(trial->sim) - began_ns);
    return kith__simlookup_hang_up(trial);
}

enum kith_sim_verdict kith__simlookup_move_and_find(struct kith_trial *trial, uint64_t limit_ns)
{
    kith__simlookup_move(trial);
    TRY(kith__simlookup_until(trial, kith__simlookup_is_published, limit_ns));
    return kith__simlookup_find(trial, KITH_SIMLOOKUP_FOUND_NS);
}
