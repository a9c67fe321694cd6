/*
 * Address discovery. A round asks every relay over every family there is a socket for; a probe is one of these questions: name, handshake,
 * answer. The first probe of a family that is answered is kept, until it is lost or the network changes; a round leaves its relay out.
 */
#include "endpoint/discovery.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/sockaddr.h"
#include "endpoint/candidates.h"
#include "quic/host/x509.h"

#include <stdio.h>
#include <string.h>

enum {
    FAMILIES = 2,
    ASKED_MAX = KITH_DISCOVERY_RELAYS_MAX * FAMILIES,
    PROBES_MAX = 2 * ASKED_MAX +
                 FAMILIES, /* of this round, of the last one that still say goodbye, and the kept ones */
    WHY_SIZE = 192
};

enum probe_state { PROBE_FREE, PROBE_RESOLVING, PROBE_ASKING, PROBE_KEPT, PROBE_ENDING };

struct probe {
    struct kith_discovery *discovery;
    uint8_t state; /* enum probe_state */
    uint8_t side;  /* index of the family */
    size_t relay;
    struct kith_rt_resolve *resolve; /* RESOLVING */
    struct kith_quic_conn *conn;     /* ASKING, KEPT, ENDING */
    uint64_t deadline_ns;            /* RESOLVING, ASKING */
    uint64_t kept_ns;                /* KEPT: since when */
};

/** A relay, and how this round goes there. */
struct relay {
    char host[KITH_DISCOVERY_HOST_SIZE]; /* as it is looked up */
    char name[KITH_DISCOVERY_HOST_SIZE]; /* as it proves itself: without a dot at the end */
    uint16_t port;
    bool is_asked, is_answered;
    int err; /* the first that says more than that there is no such address */
    char why[WHY_SIZE];
};

struct side {
    struct kith_discovery_side known;
    struct probe *kept; /* NULL: none */
    bool has_compared;  /* this round: another relay answered too */
};

struct kith_discovery {
    const struct kith_mem *mem;
    struct kith_rt *rt;
    struct kith_driver *driver;
    struct kith_discovery_events events;
    struct kith_tls_x509 trust;
    struct relay relays[KITH_DISCOVERY_RELAYS_MAX];
    size_t relay_count;
    struct probe probes[PROBES_MAX];
    struct side sides[FAMILIES];
    struct kith_rt_timer timer;
    uint64_t round_at_ns; /* the next one; not while one is under way */
    uint64_t opened;
    unsigned failures; /* rounds in a row without an answer, and kept connections that were lost at once */
    bool is_running;   /* a round is under way */
    bool is_again;     /* another one is due after it */
    bool is_trusting;  /* the host has its certificates */
    bool is_ended;
};

static const enum kith_family families[FAMILIES] = { KITH_FAMILY_V4, KITH_FAMILY_V6 };

static uint64_t now_of(const struct kith_discovery *discovery)
{
    return kith__rt_now(discovery->rt);
}

static bool is_open(const struct probe *probe)
{
    return probe->state == PROBE_RESOLVING || probe->state == PROBE_ASKING;
}

/* ---- The end of a probe ---- */

static void end_conn(struct probe *probe, uint64_t code, const char *reason)
{
    struct kith_slice text = { (const uint8_t *)reason, strlen(reason) };

    kith_quic_conn_close(probe->conn, code, text, now_of(probe->discovery));
    probe->state = PROBE_ENDING; /* until DRAINED */
}

static void end_probe(struct probe *probe)
{
    if (probe->state == PROBE_RESOLVING) {
        kith__rt_resolve_cancel(probe->resolve);
        probe->state = PROBE_FREE;
    } else if (probe->state == PROBE_ASKING || probe->state == PROBE_KEPT) {
        end_conn(probe, KITH_DISCOVERY_CODE_FINISHED, "finished");
    }
}

/** Notes why a probe failed; the one who calls ends it. */
static void note_failure(struct probe *probe, int err, const char *why)
{
    struct relay *relay = &probe->discovery->relays[probe->relay];

    kith__log(&probe->discovery->rt->log, KITH_LOG_DEBUG, "discovery", "%s, port %u, IPv%d: %s", relay->host,
              relay->port, probe->side == 0 ? 4 : 6, why);
    if (relay->err != 0 && (relay->err != KITH_ERR_NOT_FOUND || err == KITH_ERR_NOT_FOUND))
        return;
    relay->err = err;
    snprintf(relay->why, sizeof relay->why, "%s", why);
}

/* ---- Rounds ---- */

static uint64_t pause_ns(const struct kith_discovery *discovery)
{
    uint64_t pause = KITH_DISCOVERY_AGAIN_NS;

    for (unsigned i = 1; i < discovery->failures && pause < KITH_DISCOVERY_EVERY_NS; i++)
        pause *= 2;
    return KITH_MIN(pause, KITH_DISCOVERY_EVERY_NS);
}

static void tell_change(struct kith_discovery *discovery, size_t side)
{
    const struct kith_discovery_side *known = &discovery->sides[side].known;
    char text[KITH_SOCKADDR_TEXT_SIZE];

    kith__log(&discovery->rt->log, KITH_LOG_INFO, "discovery", "public IPv%d address: %s%s", side == 0 ? 4 : 6,
              known->address.family != KITH_FAMILY_NONE ? kith_sockaddr_format(&known->address, text) : "not known",
              known->mapping == KITH_DISCOVERY_MAPPING_VARIES ? "; others see another one" : "");
    discovery->events.on_change(discovery->events.ctx);
}

/** What nobody confirms any more is not told any longer. */
static void forget_unconfirmed(struct kith_discovery *discovery)
{
    for (size_t i = 0; i < FAMILIES; i++) {
        struct side *side = &discovery->sides[i];

        if (side->kept != NULL || side->known.address.family == KITH_FAMILY_NONE)
            continue;
        side->known = (struct kith_discovery_side) { .mapping = KITH_DISCOVERY_MAPPING_UNKNOWN };
        tell_change(discovery, i);
    }
}

static void end_round(struct kith_discovery *discovery)
{
    bool has_answer = discovery->sides[0].kept != NULL || discovery->sides[1].kept != NULL;

    discovery->is_running = false;
    forget_unconfirmed(discovery);
    for (size_t i = 0; i < discovery->relay_count; i++) {
        const struct relay *relay = &discovery->relays[i];

        if (relay->is_answered)
            discovery->events.on_result(discovery->events.ctx, i, 0, "");
        else if (relay->is_asked)
            discovery->events.on_result(discovery->events.ctx, i, relay->err, relay->why);
    }
    if (!has_answer)
        discovery->failures++;
    discovery->round_at_ns = now_of(discovery) + (has_answer ? KITH_DISCOVERY_EVERY_NS : pause_ns(discovery));
    if (discovery->is_again)
        discovery->round_at_ns = now_of(discovery);
    discovery->is_again = false;
}

static void arm(struct kith_discovery *discovery)
{
    uint64_t at = discovery->is_running || discovery->relay_count == 0 ? KITH_NEVER : discovery->round_at_ns;

    for (size_t i = 0; i < PROBES_MAX; i++)
        if (is_open(&discovery->probes[i]))
            at = KITH_MIN(at, discovery->probes[i].deadline_ns);
    kith__rt_timer_set(&discovery->timer, discovery->is_ended ? KITH_NEVER : at);
}

/** After something happened: the round may be over; arms the timer. */
static void settle(struct kith_discovery *discovery)
{
    bool is_busy = false;

    for (size_t i = 0; i < PROBES_MAX; i++)
        is_busy = is_busy || is_open(&discovery->probes[i]);
    if (discovery->is_running && !is_busy && !discovery->is_ended)
        end_round(discovery);
    arm(discovery);
}

/* ---- A probe begins ---- */

/**
 * Nothing is to be sent to us, and the server is not trusted: it gets no stream and no path. The large initial round trip of the
 * engine would make an attempt that is given up end too late.
 */
static void set_transport(struct kith_quic_transport *transport)
{
    kith_quic_transport_defaults(transport);
    transport->idle_timeout_ns = KITH_DISCOVERY_IDLE_NS;
    transport->keep_alive_ns = KITH_DISCOVERY_KEEP_NS;
    transport->initial_rtt_ns = KITH_DISCOVERY_RTT_NS;
    transport->observed_address = KITH_QUIC_OBSERVED_RECEIVE;
    transport->streams_bidi_max = transport->streams_uni_max = 0;
    transport->datagram_receive_max = 0;
    transport->paths_max = 0;
    transport->nat_traversal_max = 0;
    transport->mtu_discovery = false;
}

/** The same trust as for https. Read when it is first needed: the system's authorities are many. */
static int make_trust(struct kith_discovery *discovery)
{
    int err;

    if (discovery->is_trusting)
        return 0;
    if ((err = kith__host_set_x509(kith__driver_host(discovery->driver), &discovery->trust)) == 0)
        discovery->is_trusting = true;
    return err;
}

static int ask(struct probe *probe, const struct kith_sockaddr *at)
{
    static const struct kith_slice alpn = { (const uint8_t *)KITH_DISCOVERY_ALPN, sizeof KITH_DISCOVERY_ALPN - 1 };
    struct kith_discovery *discovery = probe->discovery;
    struct kith_quic_transport transport;
    struct kith_quic_connect_options options = {
        .remotes = at, .remote_count = 1, .alpns = &alpn, .alpn_count = 1, .transport = &transport
    };
    int err = make_trust(discovery);

    set_transport(&transport);
    if (err == 0)
        err = kith__host_connect_by_name(kith__driver_host(discovery->driver), discovery->relays[probe->relay].name,
                                         &options, now_of(discovery), &probe->conn);
    if (err == 0) {
        probe->state = PROBE_ASKING;
        discovery->opened++;
    }
    return err;
}

static void on_resolved(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count)
{
    struct probe *probe = ctx;
    struct kith_discovery *discovery = probe->discovery;

    probe->resolve = NULL;
    probe->state = PROBE_FREE;
    if (err == 0 && count == 0)
        err = KITH_ERR_NOT_FOUND;
    if (err != 0)
        note_failure(probe, err, err == KITH_ERR_NOT_FOUND ? "the name has no such address" : kith_strerror(err));
    else if ((err = ask(probe, &addrs[0])) != 0)
        note_failure(probe, err,
                     err == KITH_ERR_NOT_FOUND ? "this machine has no certificates to check the relay's against"
                                               : kith_strerror(err));
    settle(discovery);
    kith__driver_pump(discovery->driver);
}

static bool is_other_family(const char *host, enum kith_family family)
{
    uint8_t ip[16];

    return family == KITH_FAMILY_V4 ? kith__ip_parse_v6(host, ip) == 0 : kith__ip_parse_v4(host, ip) == 0;
}

static struct probe *free_probe(struct kith_discovery *discovery)
{
    for (size_t i = 0; i < PROBES_MAX; i++)
        if (discovery->probes[i].state == PROBE_FREE)
            return &discovery->probes[i];
    return NULL;
}

static void begin_probe(struct kith_discovery *discovery, size_t index, size_t side)
{
    struct relay *relay = &discovery->relays[index];
    struct probe *probe = free_probe(discovery),
                 none = { .discovery = discovery, .relay = index, .side = (uint8_t)side };
    int err;

    relay->is_asked = true;
    if (probe == NULL) { /* goodbyes take a second, rounds come seldom: only if networks change all the time */
        note_failure(&none, KITH_ERR_LIMIT, "connections of earlier questions have not ended yet");
        return;
    }
    *probe = none;
    probe->deadline_ns = now_of(discovery) + KITH_DISCOVERY_LIMIT_NS;
    err = kith__rt_resolve_family(discovery->rt, relay->host, relay->port, families[side], on_resolved, probe,
                                  &probe->resolve);
    if (err == 0)
        probe->state = PROBE_RESOLVING;
    else
        note_failure(probe, err, kith_strerror(err));
}

static void tell_latency(const struct probe *probe, bool is_first)
{
    struct kith_discovery *discovery = probe->discovery;
    struct kith_quic_path_info path;
    uint64_t rtt_ns;

    if (kith_quic_conn_paths(probe->conn, &path, 1) == 0)
        return;
    rtt_ns = is_first ? path.rtt_min_ns : path.rtt_ns; /* first: one sample is late by what the server computed */
    if (rtt_ns != 0 && rtt_ns != UINT64_MAX)
        discovery->events.on_latency(discovery->events.ctx, probe->relay, rtt_ns);
}

static void begin_round(struct kith_discovery *discovery)
{
    discovery->is_running = true;
    for (size_t i = 0; i < discovery->relay_count; i++) {
        discovery->relays[i].is_asked = discovery->relays[i].is_answered = false;
        discovery->relays[i].err = 0;
        discovery->relays[i].why[0] = '\0';
    }
    for (size_t side = 0; side < FAMILIES; side++) {
        struct probe *kept = discovery->sides[side].kept;

        discovery->sides[side].has_compared = false;
        if (!kith__driver_has_family(discovery->driver, families[side]))
            continue;
        for (size_t i = 0; i < discovery->relay_count; i++) {
            if (kept != NULL && kept->relay == i) {
                discovery->relays[i].is_answered = true;
                tell_latency(kept, false);
            } else if (!is_other_family(discovery->relays[i].host, families[side])) {
                begin_probe(discovery, i, side);
            }
        }
    }
}

/* ---- Answers ---- */

/** An address of a kind that we can have, as seen over that family. Loopback only where the relay itself is there. */
static bool is_credible(const struct kith_sockaddr *address, const struct kith_sockaddr *remote)
{
    static const uint8_t none[16];

    if (address->family != remote->family || address->port == 0 || memcmp(address->ip, none, sizeof none) == 0)
        return false;
    if (address->family == KITH_FAMILY_V4 ? address->ip[0] >= 224 || address->ip[0] == 0 : address->ip[0] == 0xff)
        return false;
    return kith__candidate_is_loopback(address) == kith__candidate_is_loopback(remote);
}

static void compare(struct kith_discovery *discovery, size_t index, const struct kith_sockaddr *address)
{
    struct side *side = &discovery->sides[index];
    bool is_same = kith_sockaddr_equal(address, &side->known.address);
    uint8_t before = side->known.mapping;

    if (!is_same)
        side->known.mapping = KITH_DISCOVERY_MAPPING_VARIES;
    else if (!side->has_compared)
        side->known.mapping = KITH_DISCOVERY_MAPPING_SAME;
    side->has_compared = true;
    if (side->known.mapping != before)
        tell_change(discovery, index);
}

static void keep(struct probe *probe, const struct kith_sockaddr *address)
{
    struct kith_discovery *discovery = probe->discovery;
    struct side *side = &discovery->sides[probe->side];
    bool is_new = !kith_sockaddr_equal(address, &side->known.address);

    if (probe->state != PROBE_KEPT)
        probe->kept_ns = now_of(discovery);
    probe->state = PROBE_KEPT;
    side->kept = probe;
    if (!is_new)
        return;
    side->known.address = *address;
    side->known.mapping = KITH_DISCOVERY_MAPPING_UNKNOWN; /* of the old one */
    tell_change(discovery, probe->side);
}

static void on_observed(struct probe *probe, const struct kith_sockaddr *address)
{
    struct kith_discovery *discovery = probe->discovery;
    struct kith_quic_path_info path;

    if (probe->state != PROBE_ASKING && probe->state != PROBE_KEPT)
        return;
    if (kith_quic_conn_paths(probe->conn, &path, 1) == 0 || !is_credible(address, &path.remote)) {
        if (probe->state == PROBE_ASKING) {
            note_failure(probe, KITH_ERR_TRANSPORT, "it tells an address that cannot be ours");
            end_probe(probe);
        }
        return; /* of a kept one: what it told before stands */
    }
    if (probe->state == PROBE_ASKING) {
        discovery->relays[probe->relay].is_answered = true;
        tell_latency(probe, true);
    }
    if (discovery->sides[probe->side].kept == NULL || probe->state == PROBE_KEPT) {
        keep(probe, address);
        return;
    }
    compare(discovery, probe->side, address);
    end_probe(probe);
}

static void on_lost(struct probe *probe)
{
    struct kith_discovery *discovery = probe->discovery;
    bool was_sound = now_of(discovery) - probe->kept_ns >= KITH_DISCOVERY_SOUND_NS;

    discovery->sides[probe->side].kept = NULL; /* its address stays until another relay was asked */
    discovery->failures = was_sound ? 0 : discovery->failures + 1;
    if (discovery->is_running)
        discovery->is_again = discovery->is_again || was_sound;
    else
        discovery->round_at_ns = KITH_MIN(
            discovery->round_at_ns, now_of(discovery) + (was_sound ? KITH_DISCOVERY_LOST_NS : pause_ns(discovery)));
}

static void on_closed(struct probe *probe)
{
    struct kith_quic_close_info info = { .err = KITH_ERR_CLOSED };
    char why[WHY_SIZE], *text = why;

    if (probe->state != PROBE_ASKING && probe->state != PROBE_KEPT)
        return;
    if (kith_quic_conn_close_info(probe->conn, &info) != 0 || info.reason.size == 0)
        snprintf(why, sizeof why, "%s", kith_strerror(info.err));
    else
        snprintf(why, sizeof why, "%s: %.*s", kith_strerror(info.err), (int)KITH_MIN(info.reason.size, 120),
                 (const char *)info.reason.ptr);
    for (; *text != '\0'; text++) /* the reason may be the server's */
        if (*text < ' ' || *text > '~')
            *text = '?';
    note_failure(probe, info.err, why);
    if (probe->state == PROBE_KEPT)
        on_lost(probe);
    probe->state = PROBE_ENDING;
}

bool kith__discovery_on_event(struct kith_discovery *discovery, const struct kith_quic_event *event)
{
    struct probe *probe = NULL;

    for (size_t i = 0; i < PROBES_MAX && event->conn != NULL; i++)
        if (discovery->probes[i].conn == event->conn)
            probe = &discovery->probes[i];
    if (probe == NULL)
        return false;
    if (event->kind == KITH_QUIC_PATH_OBSERVED) {
        on_observed(probe, &event->address);
    } else if (event->kind == KITH_QUIC_CLOSED) {
        on_closed(probe);
    } else if (event->kind == KITH_QUIC_DRAINED) {
        kith_quic_conn_free(probe->conn);
        *probe = (struct probe) { .state = PROBE_FREE };
    }
    settle(discovery);
    return true;
}

/* ---- Time ---- */

static void expire(struct probe *probe, uint64_t now_ns)
{
    if (!is_open(probe) || probe->deadline_ns > now_ns)
        return;
    if (probe->state == PROBE_RESOLVING)
        note_failure(probe, KITH_ERR_TIMEOUT, "its name was not found in time");
    else if (kith_quic_conn_is_established(probe->conn))
        note_failure(probe, KITH_ERR_TIMEOUT, "it does not tell our address");
    else
        note_failure(probe, KITH_ERR_TIMEOUT, "no answer over UDP: nothing listens there, or the way is blocked");
    end_probe(probe);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_discovery *discovery = ctx;

    for (size_t i = 0; i < PROBES_MAX; i++)
        expire(&discovery->probes[i], now_ns);
    if (!discovery->is_running && !discovery->is_ended && now_ns >= discovery->round_at_ns)
        begin_round(discovery);
    settle(discovery);
    kith__driver_pump(discovery->driver);
}

/* ---- Life ---- */

int kith__discovery_new(const struct kith_discovery_options *options, const struct kith_discovery_events *events,
                        struct kith_discovery **out)
{
    struct kith_discovery *discovery = kith__alloc_zero(options->rt->mem, sizeof *discovery);
    int err;

    if (discovery == NULL)
        return KITH_ERR_NOMEM;
    discovery->mem = options->rt->mem;
    discovery->rt = options->rt;
    discovery->driver = options->driver;
    discovery->trust = options->trust;
    discovery->events = *events;
    if ((err = kith__rt_timer_init(options->rt, &discovery->timer, on_timer, discovery)) != 0) {
        kith__free(discovery->mem, discovery);
        return err;
    }
    *out = discovery;
    return 0;
}

void kith__discovery_free(struct kith_discovery *discovery)
{
    if (discovery == NULL)
        return;
    for (size_t i = 0; i < PROBES_MAX; i++) {
        if (discovery->probes[i].state == PROBE_RESOLVING)
            kith__rt_resolve_cancel(discovery->probes[i].resolve);
        else if (discovery->probes[i].state != PROBE_FREE)
            kith_quic_conn_free(discovery->probes[i].conn);
    }
    kith__rt_timer_dispose(&discovery->timer);
    kith__free(discovery->mem, discovery);
}

int kith__discovery_add(struct kith_discovery *discovery, struct kith_slice host, uint16_t port)
{
    struct relay *relay = &discovery->relays[discovery->relay_count];

    if (discovery->relay_count == KITH_DISCOVERY_RELAYS_MAX)
        return KITH_ERR_LIMIT;
    if (host.size == 0 || host.size >= sizeof relay->host)
        return KITH_ERR_TOO_LARGE;
    *relay = (struct relay) { .port = port };
    memcpy(relay->host, host.ptr, host.size);
    memcpy(relay->name, host.ptr, host.size);
    if (host.size > 1 && relay->name[host.size - 1] == '.') /* RFC 6066, 3: a name in a handshake has none */
        relay->name[host.size - 1] = '\0';
    discovery->relay_count++;
    discovery->round_at_ns = 0;
    arm(discovery);
    return 0;
}

void kith__discovery_refresh(struct kith_discovery *discovery)
{
    if (discovery->is_ended || discovery->relay_count == 0)
        return;
    for (size_t i = 0; i < FAMILIES; i++) {
        if (discovery->sides[i].kept != NULL)
            end_probe(discovery->sides[i].kept);
        discovery->sides[i].kept = NULL;
    }
    discovery->failures = 0;
    discovery->is_again = discovery->is_running;
    discovery->round_at_ns = now_of(discovery);
    arm(discovery);
    kith__driver_pump(discovery->driver);
}

struct kith_discovery_side kith__discovery_side(const struct kith_discovery *discovery, enum kith_family family)
{
    KITH_ASSERT(family == KITH_FAMILY_V4 || family == KITH_FAMILY_V6);
    return discovery->sides[family == KITH_FAMILY_V4 ? 0 : 1].known;
}

void kith__discovery_conns(const struct kith_discovery *discovery, uint64_t *opened, uint64_t *live)
{
    *opened = discovery->opened;
    *live = 0;
    for (size_t i = 0; i < PROBES_MAX; i++)
        *live += discovery->probes[i].conn != NULL;
}

void kith__discovery_leave(struct kith_discovery *discovery)
{
    discovery->is_ended = true;
    for (size_t i = 0; i < PROBES_MAX; i++) {
        struct probe *probe = &discovery->probes[i];

        if (probe->state == PROBE_KEPT)
            end_conn(probe, 0, "");
        else
            end_probe(probe);
    }
    discovery->sides[0].kept = discovery->sides[1].kept = NULL;
    arm(discovery);
}
