/* Where the other side may be. */
#include "endpoint/seek.h"

#include "base/assert.h"
#include <string.h>

void kith__seek_init(struct kith_seek *seek, const struct kith_seek_world *world, const struct kith_id *id,
                     const struct kith_sockaddr *local, const struct kith_seek_events *events)
{
    memset(seek, 0, sizeof *seek);
    seek->world = *world;
    seek->id = *id;
    seek->local = *local;
    seek->events = *events;
}

void kith__seek_dispose(struct kith_seek *seek)
{
    kith__lookup_cancel(seek->request);
    seek->request = NULL;
    for (size_t i = 0; i < seek->relay_count; i++)
        kith__relay_release(seek->relays[i]);
    seek->relay_count = seek->relay_used = 0;
    seek->quic = NULL;
    seek->ways = NULL;
}

/* ---- What is of use ---- */

static bool is_in(const struct kith_sockaddr *list, size_t count, const struct kith_sockaddr *address)
{
    for (size_t i = 0; i < count; i++)
        if (kith_sockaddr_equal(&list[i], address))
            return true;
    return false;
}

/** No single host is there: 0.0.0.0/8, 224.0.0.0/3 (groups, reserved, broadcast), [::], [ff00::]/8. */
static bool is_nobodys(const struct kith_sockaddr *address)
{
    static const uint8_t none[16];

    if (address->family == KITH_FAMILY_V4)
        return address->ip[0] == 0 || address->ip[0] >= 224;
    return address->ip[0] == 0xff || memcmp(address->ip, none, sizeof none) == 0;
}

/* ---- Handing on ---- */

/** To the handshake, while nobody has answered it, and to the ways of the connection. */
static void give(struct kith_seek *seek, const struct kith_sockaddr *remote, uint64_t now_ns)
{
    int err = kith_quic_conn_add_remote(seek->quic, remote, now_ns);

    seek->left_out += err != 0 && err != KITH_ERR_STATE && err != KITH_ERR_EXISTS;
}

static void hand_on(struct kith_seek *seek, uint64_t now_ns)
{
    struct kith_sockaddr way;

    for (; seek->ip_used < seek->ip_count; seek->ip_used++) {
        give(seek, &seek->ips[seek->ip_used], now_ns);
        kith__conn_ways_add_ip(seek->ways, &seek->ips[seek->ip_used]);
    }
    for (; seek->relay_used < seek->relay_count; seek->relay_used++) {
        struct kith_relay_peer *relay = seek->relays[seek->relay_used];

        if (kith__relay_way(relay, &seek->id, &way) == 0)
            give(seek, &way, now_ns);
        kith__conn_ways_add_relay(seek->ways, relay);
    }
    kith__conn_ways_review(seek->ways, now_ns);
}

/** Something was added: whoever is to use it does. */
static void tell(struct kith_seek *seek, uint64_t now_ns)
{
    if (seek->ip_used == seek->ip_count && seek->relay_used == seek->relay_count)
        return;
    if (seek->quic != NULL)
        hand_on(seek, now_ns);
    seek->events.on_remote(seek->events.ctx);
}

/* ---- Adding ---- */

static void add_ip(struct kith_seek *seek, const struct kith_sockaddr *ip)
{
    if (is_in(seek->ips, seek->ip_count, ip))
        return;
    if (seek->ip_count == KITH_SEEK_IPS_MAX || is_in(seek->wrong, seek->wrong_count, ip)) {
        seek->left_out++;
        return;
    }
    seek->ips[seek->ip_count++] = *ip;
}

void kith__seek_add_ips(struct kith_seek *seek, const struct kith_sockaddr *ips, size_t count)
{
    struct kith_sockaddr usable[KITH_SEEK_IPS_MAX], best[KITH_SEEK_IPS_MAX];
    size_t usable_count = 0, best_count;

    for (size_t i = 0; i < count && !seek->world.is_relay_only && usable_count < KITH_SEEK_IPS_MAX; i++)
        if (!is_nobodys(&ips[i]) && !kith__driver_is_own(seek->world.driver, &ips[i]))
            usable[usable_count++] = ips[i];
    best_count = kith__driver_candidates(seek->world.driver, usable, usable_count, &seek->local, best,
                                         KITH_SEEK_IPS_MAX);
    seek->left_out += count - best_count;
    for (size_t i = 0; i < best_count; i++)
        add_ip(seek, &best[i]);
}

static void add_relay(struct kith_seek *seek, struct kith_relay_peer *relay)
{
    for (size_t i = 0; i < seek->relay_count; i++)
        if (seek->relays[i] == relay)
            return;
    if (seek->relay_count == KITH_SEEK_RELAYS_MAX) {
        seek->left_out++;
        return;
    }
    kith__relay_retain(relay);
    seek->relays[seek->relay_count++] = relay;
}

void kith__seek_add_relay(struct kith_seek *seek, const char *url)
{
    struct kith_relay_peer *relay;

    if (seek->world.relays == NULL || kith__relays_get(seek->world.relays, url, &relay) != 0)
        seek->left_out++;
    else
        add_relay(seek, relay);
}

void kith__seek_add_path(struct kith_seek *seek, const struct kith_sockaddr *remote)
{
    struct kith_relay_peer *relay;

    if (remote->family != KITH_FAMILY_RELAY)
        add_ip(seek, remote);
    else if (seek->world.relays != NULL && (relay = kith__relays_find(seek->world.relays, remote, NULL)) != NULL)
        add_relay(seek, relay);
    else
        seek->left_out++;
}

/* ---- Finding ---- */

static void add_found(struct kith_seek *seek, const struct kith_endpoint_addr *found)
{
    struct kith_sockaddr ips[KITH_SEEK_IPS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < found->count; i++) {
        const struct kith_transport_addr *addr = &found->addrs[i];

        if (addr->kind == KITH_TRANSPORT_RELAY)
            kith__seek_add_relay(seek, (const char *)addr->bytes.ptr);
        else if (addr->kind == KITH_TRANSPORT_IP && count < KITH_COUNT(ips))
            ips[count++] = addr->ip;
        else
            seek->left_out++;
    }
    kith__seek_add_ips(seek, ips, count);
}

void kith__seek_add_found(struct kith_seek *seek, const struct kith_lookup_info *info)
{
    seek->has_found = true;
    add_found(seek, &info->addr);
    tell(seek, kith__rt_now(seek->world.rt));
}

static void on_item(void *ctx, const struct kith_lookup_item *item)
{
    kith__seek_add_found(ctx, item->info);
}

static void on_end(void *ctx, int err, const char *why)
{
    struct kith_seek *seek = ctx;

    seek->request = NULL;
    seek->events.on_end(seek->events.ctx, err, why);
}

int kith__seek_start(struct kith_seek *seek)
{
    struct kith_lookup_events events = { .on_item = on_item, .on_end = on_end, .ctx = seek };

    if (seek->request != NULL)
        return 0;
    if (seek->world.lookup == NULL || !kith__lookup_can_resolve(seek->world.lookup))
        return KITH_ERR_STATE;
    return kith__lookup_resolve(seek->world.lookup, &seek->id, &events, &seek->request);
}

/* ---- Dialling ---- */

bool kith__seek_has_remote(const struct kith_seek *seek)
{
    return seek->ip_count != 0 || seek->relay_count != 0;
}

/** Nothing but an id: it may be at a relay of ours. */
static void guess(struct kith_seek *seek)
{
    struct kith_relay_peer *ours[2];

    if (kith__seek_has_remote(seek) || seek->world.relays == NULL)
        return;
    ours[0] = kith__relays_home(seek->world.relays);
    ours[1] = kith__relays_warm(seek->world.relays);
    for (size_t i = 0; i < KITH_COUNT(ours); i++)
        if (ours[i] != NULL)
            add_relay(seek, ours[i]);
    seek->is_guess = seek->relay_count != 0;
}

size_t kith__seek_first(struct kith_seek *seek, struct kith_sockaddr *out)
{
    size_t count = 0;

    guess(seek);
    for (; seek->ip_used < seek->ip_count && seek->ip_used < KITH_SEEK_FIRST_IPS_MAX; seek->ip_used++)
        out[count++] = seek->ips[seek->ip_used];
    for (; seek->relay_used < seek->relay_count && seek->relay_used < KITH_SEEK_FIRST_RELAYS_MAX; seek->relay_used++)
        count += kith__relay_way(seek->relays[seek->relay_used], &seek->id, &out[count]) == 0;
    return count;
}

void kith__seek_attach(struct kith_seek *seek, struct kith_quic_conn *quic, struct kith_conn_ways *ways,
                       uint64_t now_ns)
{
    seek->quic = quic;
    seek->ways = ways;
    for (size_t i = 0; i < seek->ip_used; i++)
        kith__conn_ways_add_ip(ways, &seek->ips[i]);
    for (size_t i = 0; i < seek->relay_used; i++)
        kith__conn_ways_add_relay(ways, seek->relays[i]);
    if (seek->ip_used != seek->ip_count || seek->relay_used != seek->relay_count)
        hand_on(seek, now_ns);
}

void kith__seek_detach(struct kith_seek *seek, const struct kith_sockaddr *wrong)
{
    seek->quic = NULL;
    seek->ways = NULL;
    seek->ip_used = seek->relay_used = 0;
    for (size_t i = 0; wrong != NULL && i < seek->ip_count; i++)
        if (kith_sockaddr_equal(&seek->ips[i], wrong)) {
            memmove(&seek->ips[i], &seek->ips[i + 1], (--seek->ip_count - i) * sizeof *wrong);
            break;
        }
    if (wrong != NULL && seek->wrong_count < KITH_SEEK_WRONG_MAX)
        seek->wrong[seek->wrong_count++] = *wrong;
}
