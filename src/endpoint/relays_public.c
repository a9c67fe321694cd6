/* Address discovery at the relays of an endpoint: who is asked, and what the answers mean for the choice of a home relay. */
#include "endpoint/relays_inner.h"

#include "codec/url.h"

#include <stdio.h>
#include <string.h>

static void on_latency(void *ctx, size_t index, uint64_t rtt_ns)
{
    struct kith_relays *relays = ctx;

    relays->asked[index]->quic_latency_ns = rtt_ns;
    relays->has_probed = true;
    kith__relays_step_soon(relays);
}

static void on_result(void *ctx, size_t index, int err, const char *why)
{
    struct kith_relays *relays = ctx;
    struct kith_relay_peer *relay = relays->asked[index];
    bool is_news = err != relay->qad_err;

    /* Not dialled less for it: UDP may be blocked where https is not. */
    if (err != 0 && is_news)
        kith__log(&relays->rt->log, KITH_LOG_INFO, "discovery", "%s: no address discovery: %s", relay->url, why);
    if (err != 0)
        relay->quic_latency_ns = KITH_NEVER;
    relay->qad_err = err;
    snprintf(relay->qad_why, sizeof relay->qad_why, "%s", why);
    if (is_news)
        kith__relays_tell(relays, KITH_RELAYS_STATUS, relay, NULL);
}

static void on_change(void *ctx)
{
    kith__relays_tell(ctx, KITH_RELAYS_PUBLIC, NULL, NULL);
}

/** The relay is asked too, if it is one of the first ones. */
static void add(struct kith_relays *relays, size_t *count, struct kith_relay_peer *relay)
{
    struct kith_slice text = { (const uint8_t *)relay->url, strlen(relay->url) };
    struct kith_url url;

    if (relay->qad_port == 0)
        return;
    if (kith__url_split(text, &url) != 0 || kith__discovery_add(relays->discovery, url.host, relay->qad_port) != 0) {
        relay->qad_port = 0;
        return;
    }
    relays->asked[(*count)++] = relay;
}

static bool is_to_be_asked(const struct kith_relays *relays)
{
    KITH_LIST_EACH(node, &relays->all)
    if (KITH_CONTAINER(node, struct kith_relay_peer, node)->qad_port != 0)
        return true;
    return false;
}

int kith__relays_begin_discovery(struct kith_relays *relays, struct kith_driver *driver)
{
    struct kith_discovery_events events = { on_latency, on_result, on_change, relays };
    struct kith_discovery_options options = { .rt = relays->rt,
                                              .driver = driver,
                                              .trust = { .anchors = kith__buf_slice(&relays->anchors),
                                                         .adds_system = relays->trust == KITH_TLS_TRUST_SYSTEM,
                                                         .accept_any = relays->trust == KITH_TLS_TRUST_ANY } };
    size_t count = 0;
    int err;

    if (driver == NULL || !is_to_be_asked(relays) ||
        (!kith__driver_has_family(driver, KITH_FAMILY_V4) && !kith__driver_has_family(driver, KITH_FAMILY_V6)))
        return 0;
    if ((err = kith__discovery_new(&options, &events, &relays->discovery)) != 0)
        return err;
    KITH_LIST_EACH(node, &relays->all)
    add(relays, &count, KITH_CONTAINER(node, struct kith_relay_peer, node));
    return 0;
}

bool kith__relays_on_event(struct kith_relays *relays, const struct kith_quic_event *event)
{
    return relays->discovery != NULL && kith__discovery_on_event(relays->discovery, event);
}

struct kith_discovery_side kith__relays_public(const struct kith_relays *relays, enum kith_family family)
{
    struct kith_discovery_side none = { .mapping = KITH_DISCOVERY_MAPPING_UNKNOWN };

    return relays->discovery != NULL ? kith__discovery_side(relays->discovery, family) : none;
}

void kith__relays_discovery_conns(const struct kith_relays *relays, uint64_t *opened, uint64_t *live)
{
    *opened = *live = 0;
    if (relays->discovery != NULL)
        kith__discovery_conns(relays->discovery, opened, live);
}

void kith__relays_end_discovery(struct kith_relays *relays)
{
    if (relays->discovery != NULL)
        kith__discovery_leave(relays->discovery);
}
