/* Which relays an endpoint is connected to, and which one is home. */
#include "endpoint/relays_inner.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "codec/url.h"

#include <stdio.h>
#include <string.h>

/* With more than two relays their latencies are waited for so long before two are chosen. */
#define FIRST_PROBE_WAIT_NS KITH_NS_PER_S
#define WAYS_AGE_EVERY_NS   (30 * KITH_NS_PER_S)

static void set_why(struct kith_relay_peer *relay, int err, const char *why)
{
    relay->err = err;
    snprintf(relay->why, sizeof relay->why, "%s", why);
}

static struct kith_relay_peer *relay_at(struct kith_list *node)
{
    return KITH_CONTAINER(node, struct kith_relay_peer, node);
}

void kith__relays_step_soon(struct kith_relays *relays)
{
    kith__rt_timer_set(&relays->timer, 0);
}

int kith__relays_make_tls(struct kith_relays *relays)
{
    struct kith_tls_stream_context_options options = {
        .mem = relays->mem, .is_client = true, .trust = relays->trust, .anchors = kith__buf_slice(&relays->anchors)
    };

    return relays->tls != NULL ? 0 : kith__tls_stream_context_new(&options, &relays->tls);
}

/** 0 if the URL needs no TLS, or there is TLS. */
static int prepare_tls(struct kith_relay_peer *relay)
{
    struct kith_url url;
    int err = kith__url_split((struct kith_slice) { (const uint8_t *)relay->url, strlen(relay->url) }, &url);

    if (err == 0 && url.is_https)
        err = kith__relays_make_tls(relay->relays);
    return err;
}

/* ---- Which ones are needed ---- */

/** Something was to be sent through it not long ago. */
static bool was_used(const struct kith_relay_peer *relay, uint64_t within_ns, uint64_t now_ns)
{
    return relay->client.sent_ns != 0 && now_ns - relay->client.sent_ns < within_ns;
}

static bool is_kept(const struct kith_relay_peer *relay)
{
    return relay == relay->relays->home || relay == relay->relays->warm;
}

static bool is_wanted(const struct kith_relay_peer *relay, uint64_t now_ns)
{
    return !relay->relays->is_ended && (is_kept(relay) || was_used(relay, KITH_RELAY_IDLE_NS, now_ns));
}

static struct kith_relay_rank rank_of(const struct kith_relay_peer *relay)
{
    struct kith_relay_rank rank = { KITH_RELAY_UNKNOWN, KITH_MIN(relay->latency_ns, relay->quic_latency_ns) };

    if (kith__relay_is_fit(relay))
        rank.fitness = KITH_RELAY_FIT;
    else if (relay->state == KITH_RELAY_ON)
        rank.fitness = KITH_RELAY_DOUBTED;
    else if (relay->failures != 0)
        rank.fitness = KITH_RELAY_FAILING;
    if (rank.latency_ns == KITH_NEVER && relay->client.rtt_ns != 0)
        rank.latency_ns = relay->client.rtt_ns;
    return rank;
}

/** Home and warm anew. With many relays not before something is known of them. */
static void choose(struct kith_relays *relays, uint64_t now_ns)
{
    struct kith_relay_rank ranks[KITH_RELAYS_CONFIGURED_MAX];
    struct kith_relay_peer *configured[KITH_RELAYS_CONFIGURED_MAX], *home;
    size_t count = 0, present = KITH_RELAY_NONE;
    struct kith_relay_choice choice;
    bool is_fit;

    if (relays->is_ended || (relays->home == NULL && relays->configured_count > 2 && !relays->has_probed &&
                             now_ns - relays->begun_ns < FIRST_PROBE_WAIT_NS))
        return;
    KITH_LIST_EACH(node, &relays->all)
    {
        if (!relay_at(node)->is_configured)
            continue;
        if (relay_at(node) == relays->home)
            present = count;
        configured[count] = relay_at(node);
        ranks[count++] = rank_of(relay_at(node));
    }
    choice = kith__relay_choose(ranks, count, present);
    home = choice.home != KITH_RELAY_NONE ? configured[choice.home] : NULL;
    relays->warm = choice.warm != KITH_RELAY_NONE ? configured[choice.warm] : NULL;
    is_fit = home != NULL && kith__relay_is_fit(home);
    if (home == relays->home && is_fit == relays->was_home_fit)
        return;
    relays->stats.home_changes += relays->home != NULL && home != relays->home;
    relays->home = home;
    relays->was_home_fit = is_fit;
    kith__relays_tell(relays, KITH_RELAYS_HOME, home, NULL);
}

/* ---- News of a connection ---- */

/**
 * What is relied on from now on is asked whether it is there: a spare that died in silence would be found out by its next ping
 * only, 15 s later.
 */
static void check_others(struct kith_relay_peer *lost)
{
    KITH_LIST_EACH(node, &lost->relays->all)
    if (relay_at(node) != lost && relay_at(node)->state == KITH_RELAY_ON)
        kith__relay_check(relay_at(node));
}

static void tell_fit(struct kith_relay_peer *relay)
{
    bool is_fit = kith__relay_is_fit(relay);

    if (is_fit && relay->is_told_lost) {
        relay->is_told_lost = false;
        kith__relays_tell(relay->relays, KITH_RELAYS_CONNECTED, relay, NULL);
    } else if (!is_fit && !relay->is_told_lost && relay->was_on) {
        relay->is_told_lost = true;
        check_others(relay);
        kith__relays_tell(relay->relays, KITH_RELAYS_LOST, relay, NULL);
    }
    choose(relay->relays, kith__rt_now(relay->relays->rt));
    kith__relays_step_soon(relay->relays);
}

static void on_accepted(struct kith_relay_peer *relay, uint64_t now_ns)
{
    relay->state = KITH_RELAY_ON;
    relay->on_ns = now_ns;
    relay->is_told_lost = true; /* CONNECTED is due */
    relay->was_on = true;
    relay->is_denied = relay->is_displaced = relay->is_restarting = relay->is_limited = false;
    relay->failures = 0;
    set_why(relay, 0, "");
    relay->relays->stats.conns_success++;
    kith__log(&relay->relays->rt->log, KITH_LOG_INFO, "relay", "%s: connected", relay->url);
    tell_fit(relay);
}

static void on_status(struct kith_relay_peer *relay, uint8_t status)
{
    const struct kith_log *log = &relay->relays->rt->log;

    if (status == KITH_RELAY_STATUS_RATE_LIMITED) {
        relay->relays->stats.conns_ratelimited += !relay->is_limited;
        relay->is_limited = true;
        kith__log(log, KITH_LOG_WARN, "relay", "%s: we send more than it allows: it slows us down", relay->url);
    } else if (status == KITH_RELAY_STATUS_SAME_ID_CONNECTED) {
        relay->is_displaced = true;
        kith__log(log, KITH_LOG_WARN, "relay",
                  "%s: another endpoint with the same key has connected: it receives what is for us", relay->url);
    } else if (status == KITH_RELAY_STATUS_HEALTHY) {
        relay->is_displaced = false;
        kith__log(log, KITH_LOG_INFO, "relay", "%s: all is well again", relay->url);
    } else {
        kith__log(log, KITH_LOG_INFO, "relay", "%s: it tells of a status that we do not know: %u", relay->url, status);
    }
    kith__relays_tell(relay->relays, KITH_RELAYS_STATUS, relay, NULL);
}

static void on_datagram(struct kith_relay_peer *relay, const struct kith_relay_datagram *datagram, uint64_t now_ns)
{
    struct kith_relays *relays = relay->relays;
    struct kith_quic_received received = { .bytes = (uint8_t *)(uintptr_t)datagram->payload.ptr, /* see the event */
                                           .size = datagram->payload.size,
                                           .segment_size = datagram->segment_size,
                                           .ecn = datagram->ecn };
    struct kith_relay_way *way;
    struct kith_id id;

    memcpy(id.bytes, datagram->key, sizeof id.bytes);
    if ((way = kith__relay_ways_get(&relays->ways, &relay->through, &id, now_ns)) == NULL) {
        relays->stats.drop_no_way++;
        return;
    }
    received.remote = way->address;
    relays->events.on_receive(relays->events.ctx, &received, 1, now_ns);
}

static void on_gone(struct kith_relay_peer *relay, const uint8_t *key)
{
    const struct kith_relay_way *way = kith__map_get(&relay->through.by_id, key, KITH_ID_SIZE);
    struct kith_sockaddr address;

    if (way == NULL)
        return;
    address = way->address;
    kith__relays_tell(relay->relays, KITH_RELAYS_GONE, relay, &address);
}

static void on_event(void *ctx, const struct kith_relay_client_event *event, uint64_t now_ns)
{
    struct kith_relay_peer *relay = ctx;

    switch (event->kind) {
    case KITH_RELAY_EVENT_ACCEPTED:
        on_accepted(relay, now_ns);
        break;
    case KITH_RELAY_EVENT_DATAGRAM:
        on_datagram(relay, &event->datagram, now_ns);
        break;
    case KITH_RELAY_EVENT_GONE:
        on_gone(relay, event->key);
        break;
    case KITH_RELAY_EVENT_STATUS:
        on_status(relay, event->status);
        break;
    case KITH_RELAY_EVENT_HEALTH:
        kith__log(&relay->relays->rt->log, KITH_LOG_WARN, "relay", "%s: %.*s", relay->url, (int)event->text.size,
                  (const char *)event->text.ptr);
        break;
    case KITH_RELAY_EVENT_RESTARTING:
        relay->is_restarting = true;
        kith__log(&relay->relays->rt->log, KITH_LOG_INFO, "relay", "%s: it will restart", relay->url);
        tell_fit(relay);
        break;
    default: /* ESTABLISHED: its latency is known now */
        kith__relays_step_soon(relay->relays);
        break;
    }
}

static void on_batch_end(void *ctx)
{
    struct kith_relay_peer *relay = ctx;

    if (relay->relays->events.on_batch_end != NULL)
        relay->relays->events.on_batch_end(relay->relays->events.ctx);
}

static void on_doubt(void *ctx)
{
    tell_fit(ctx);
}

/** A connection depends on it: on the relay that it goes through, and on those where its other side may look for us. */
static bool is_needed(const struct kith_relay_peer *relay, uint64_t now_ns)
{
    if (relay->is_denied || !is_kept(relay))
        return !relay->is_denied && was_used(relay, KITH_RELAY_NEEDED_NS, now_ns);
    KITH_LIST_EACH(node, &relay->relays->all)
    if (was_used(relay_at(node), KITH_RELAY_NEEDED_NS, now_ns))
        return true;
    return false;
}

/**
 * When to dial again: at once after a sound connection; else later and later. Being let in and lost at once, again and again, is a
 * row of failures too.
 */
static void plan(struct kith_relay_peer *relay, bool was_on, bool was_sound, uint64_t now_ns)
{
    relay->state = KITH_RELAY_WAITING;
    relay->short_lives = was_sound ? 0 : relay->short_lives + was_on;
    relay->failures = was_on ? relay->short_lives : relay->failures + 1;
    relay->dial_at_ns = now_ns;
    if (!was_sound)
        relay->dial_at_ns += kith__relay_backoff_ns(relay->failures, is_needed(relay, now_ns),
                                                    kith__random_u64(kith__rt_random(relay->relays->rt)));
}

static void on_end(void *ctx, int err, const char *why)
{
    struct kith_relay_peer *relay = ctx;
    uint64_t now_ns = kith__rt_now(relay->relays->rt);
    bool was_on = relay->state == KITH_RELAY_ON;

    kith__log(&relay->relays->rt->log, was_on ? KITH_LOG_INFO : KITH_LOG_DEBUG, "relay", "%s: %s", relay->url, why);
    set_why(relay, err, why);
    relay->is_denied = err == KITH_ERR_PERMISSION;
    relay->relays->stats.conns_closed += was_on;
    relay->relays->stats.conns_failed += !was_on;
    kith__relay_line_close(relay->line);
    relay->line = NULL;
    plan(relay, was_on, was_on && now_ns - relay->on_ns >= KITH_RELAY_SOUND_NS, now_ns);
    tell_fit(relay);
}

/* ---- Dialling ---- */

/** From the first connection on. Without it a change of the network is found out by silence: slower, but no reason to fail. */
static void watch_network(struct kith_relays *relays)
{
    if (relays->watch == NULL && kith__rt_watch_open(relays->rt, kith__relays_on_network, relays, &relays->watch) != 0)
        relays->watch = NULL;
}

/* IPv6 first, if relays have seen us there: spec/02, 4.1. */
static bool prefers_v6(const struct kith_relays *relays)
{
    return kith__relays_public(relays, KITH_FAMILY_V6).address.family == KITH_FAMILY_V6;
}

static void dial(struct kith_relay_peer *relay, uint64_t now_ns)
{
    struct kith_relays *relays = relay->relays;
    struct kith_relay_line_events events = { on_event, on_batch_end, on_doubt, on_end, relay };
    struct kith_relay_line_options options = { .rt = relays->rt,
                                               .client = &relay->client,
                                               .url = { (const uint8_t *)relay->url, strlen(relay->url) },
                                               .token = relay->token,
                                               .proxy = relays->proxy.host[0] != '\0' ? &relays->proxy : NULL,
                                               .prefers_v6 = prefers_v6(relays) };
    int err = prepare_tls(relay);

    watch_network(relays);
    relay->dialled_ns = now_ns;
    options.tls = relays->tls;
    if (err == 0)
        err = kith__relay_line_open(&options, &events, &relay->line);
    if (err == 0) {
        relay->state = KITH_RELAY_CONNECTING;
        return;
    }
    set_why(relay, err,
            err == KITH_ERR_NOT_FOUND ? "this machine has no certificates to check the relay's against: install "
                                        "ca-certificates, or name a file of them"
                                      : kith_strerror(err));
    relays->stats.conns_failed++;
    plan(relay, false, false, now_ns);
}

void kith__relay_want(struct kith_relay_peer *relay, uint64_t now_ns)
{
    uint64_t soonest_ns = relay->dialled_ns + KITH_RELAY_BACKOFF_NEEDED_NS;

    if (relay->relays->is_ended)
        return;
    if (relay->state == KITH_RELAY_OFF) {
        dial(relay, now_ns);
    } else if (relay->state == KITH_RELAY_WAITING && !relay->is_denied && relay->dial_at_ns > soonest_ns) {
        relay->dial_at_ns = soonest_ns > now_ns ? soonest_ns : now_ns;
        kith__relays_step_soon(relay->relays);
    }
}

/* ---- Latencies ---- */

static void on_probed(void *ctx, const struct kith_fetch_result *result)
{
    struct kith_relay_peer *relay = ctx;
    bool is_fine = result->err == 0 && result->status >= 200 && result->status < 300;

    relay->probe = NULL;
    relay->latency_ns = is_fine ? result->exchange_ns : KITH_NEVER;
    relay->relays->has_probed |= is_fine;
    kith__relays_step_soon(relay->relays);
}

/** "https://user@host:port/ping": the rest of the relay's URL does not count (spec/02, 1.1). */
static void format_probe(const char *url, char out[KITH_URL_SIZE_MAX + 8])
{
    const char *host = strstr(url, "//"), *path = host != NULL ? strchr(host + 2, '/') : NULL;

    KITH_ASSERT(path != NULL); /* it is normalised */
    snprintf(out, KITH_URL_SIZE_MAX + 8, "%.*s/ping", (int)(path - url), url);
}

static void probe(struct kith_relay_peer *relay)
{
    struct kith_relays *relays = relay->relays;
    struct kith_fetch_options options = { .rt = relays->rt,
                                          .wants_head_only = true,
                                          .proxy = relays->proxy.host[0] != '\0' ? &relays->proxy : NULL,
                                          .prefers_v6 = prefers_v6(relays),
                                          .limit_ns = KITH_RELAY_PROBE_LIMIT_NS };
    char url[KITH_URL_SIZE_MAX + 8];

    if (relay->probe != NULL || prepare_tls(relay) != 0)
        return;
    format_probe(relay->url, url);
    options.url = url;
    options.tls = options.proxy_tls = relays->tls;
    if (kith__fetch(&options, on_probed, relay, &relay->probe) != 0)
        relay->probe = NULL;
}

static void probe_all(struct kith_relays *relays, uint64_t now_ns)
{
    relays->probe_at_ns = now_ns + KITH_RELAY_PROBE_EVERY_NS;
    if (relays->configured_count < 2)
        return; /* nothing to choose */
    KITH_LIST_EACH(node, &relays->all)
    if (relay_at(node)->is_configured)
        probe(relay_at(node));
}

/* ---- One step ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/** Does what is due for one relay; returns when to look again. */
static uint64_t relay_step(struct kith_relay_peer *relay, uint64_t now_ns)
{
    bool wanted = is_wanted(relay, now_ns);

    if (relay->line != NULL && !wanted) {
        kith__relay_line_leave(relay->line, &relay->relays->leaving);
        relay->line = NULL;
        relay->state = KITH_RELAY_OFF;
        relay->is_told_lost = true;
        relay->relays->stats.conns_closed++;
    } else if (relay->state == KITH_RELAY_WAITING && !wanted) {
        relay->state = KITH_RELAY_OFF;
    } else if ((relay->state == KITH_RELAY_OFF && wanted) ||
               (relay->state == KITH_RELAY_WAITING && relay->dial_at_ns <= now_ns)) {
        dial(relay, now_ns);
    }
    if (relay->state == KITH_RELAY_WAITING)
        return relay->dial_at_ns;
    return wanted && !is_kept(relay) ? relay->client.sent_ns + KITH_RELAY_IDLE_NS : KITH_NEVER;
}

static void age(struct kith_relays *relays, uint64_t now_ns)
{
    relays->age_at_ns = now_ns + WAYS_AGE_EVERY_NS;
    kith__relay_ways_age(&relays->ways, now_ns);
    KITH_LIST_EACH_SAFE(node, after, &relays->all)
    if (kith__relay_is_unused(relay_at(node)))
        kith__relay_free(relay_at(node));
}

void kith__relays_step(struct kith_relays *relays)
{
    uint64_t now_ns = kith__rt_now(relays->rt), at = KITH_NEVER;

    if (now_ns >= relays->probe_at_ns && !relays->is_ended)
        probe_all(relays, now_ns);
    if (now_ns >= relays->age_at_ns)
        age(relays, now_ns);
    choose(relays, now_ns);
    KITH_LIST_EACH(node, &relays->all)
    at = sooner(at, relay_step(relay_at(node), now_ns));
    if (!relays->is_ended)
        at = sooner(at, relays->configured_count > 1 ? relays->probe_at_ns : KITH_NEVER);
    if (relays->home == NULL && relays->configured_count > 2)
        at = sooner(at, relays->begun_ns + FIRST_PROBE_WAIT_NS);
    if (relays->ways.count != 0 || relays->count > relays->configured_count)
        at = sooner(at, relays->age_at_ns);
    kith__rt_timer_set(&relays->timer, at);
}

/* ---- The network changes ---- */

/** Whether the machine still has the address that a connection goes from. */
static bool has_address(struct kith_relays *relays, const struct kith_sockaddr *local)
{
    struct kith_rt_interface interfaces[KITH_RT_INTERFACES_MAX];
    size_t count = 0;

    if (local->family == KITH_FAMILY_NONE ||
        kith__rt_interfaces(relays->rt, interfaces, KITH_COUNT(interfaces), &count) != 0)
        return true; /* not known: the check will tell */
    for (size_t i = 0; i < count; i++)
        if (interfaces[i].addr.family == local->family && memcmp(interfaces[i].addr.ip, local->ip, 16) == 0)
            return true;
    return false;
}

static void recheck(struct kith_relay_peer *relay, uint64_t now_ns)
{
    struct kith_sockaddr local;

    if (relay->state == KITH_RELAY_WAITING && !relay->is_denied)
        relay->dial_at_ns = now_ns; /* what failed before may work now */
    if (relay->state != KITH_RELAY_ON)
        return;
    local = kith__relay_line_local(relay->line);
    if (!has_address(relay->relays, &local)) {
        on_end(relay, KITH_ERR_UNREACHABLE, "the network changed: the address that the connection came from is gone");
        return;
    }
    kith__relay_client_check(&relay->client, true, now_ns);
    kith__relay_line_flush(relay->line);
}

void kith__relays_on_network(void *ctx)
{
    struct kith_relays *relays = ctx;
    uint64_t now_ns = kith__rt_now(relays->rt);

    KITH_LIST_EACH(node, &relays->all)
    recheck(relay_at(node), now_ns);
    relays->probe_at_ns = now_ns;
    if (relays->discovery != NULL)
        kith__discovery_refresh(relays->discovery);
    kith__relays_step_soon(relays);
}

/* ---- The end ---- */

void kith__relays_leave(struct kith_relays *relays)
{
    relays->is_ended = true;
    kith__relays_end_discovery(relays);
    KITH_LIST_EACH(node, &relays->all)
    {
        kith__fetch_cancel(relay_at(node)->probe);
        relay_at(node)->probe = NULL;
    }
    kith__relays_step(relays);
}

bool kith__relays_is_left(const struct kith_relays *relays)
{
    return relays->is_ended && kith__list_is_empty(&relays->leaving.lines);
}
