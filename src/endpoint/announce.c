/* What an endpoint tells the lookup services about itself. */
#include "endpoint/announce.h"

#include "base/assert.h"
#include "base/mem.h"
#include <string.h>

enum { ANNOUNCE_IPS_MAX = 32 }; /* of interfaces; what a ticket holds, too */

struct kith_announce {
    struct kith_announce_options with; /* without the user data */
    struct kith_lookup_info info;      /* no addresses; the user data */
    struct kith_rt_timer timer;
    struct kith_rt_watch *watch; /* NULL: the system does not tell */
};

#define AGAIN_NS KITH_NS_PER_S /* without memory */

static int add_ip(struct kith_lookup_info *info, const struct kith_sockaddr *ip)
{
    return ip->family != KITH_FAMILY_NONE ? kith__endpoint_addr_add_ip(&info->addr, ip) : 0;
}

static int add_relay(struct kith_lookup_info *info, const struct kith_relay_peer *relay)
{
    struct kith_relay_info now;

    if (relay == NULL)
        return 0;
    kith__relay_info(relay, &now);
    if (!now.was_on || now.is_denied) /* who was never let in cannot be reached there */
        return 0;
    return kith__endpoint_addr_add_relay(&info->addr, now.url, strlen(now.url));
}

static int add_relays(const struct kith_announce *announce, struct kith_lookup_info *info)
{
    const struct kith_relays *relays = announce->with.relays;
    struct kith_discovery_side v4, v6;
    int err;

    if (relays == NULL)
        return 0;
    v4 = kith__relays_public(relays, KITH_FAMILY_V4);
    v6 = kith__relays_public(relays, KITH_FAMILY_V6);
    if ((err = add_ip(info, &v4.address)) != 0 || (err = add_ip(info, &v6.address)) != 0 ||
        (err = add_relay(info, kith__relays_home(relays))) != 0)
        return err;
    return add_relay(info, kith__relays_warm(relays));
}

static int gather(const struct kith_announce *announce, struct kith_lookup_info *info)
{
    struct kith_sockaddr ips[ANNOUNCE_IPS_MAX];
    size_t count = 0;
    int err = add_relays(announce, info);

    if (!announce->with.is_relay_only) {
        count = kith__driver_reachable(announce->with.driver, ips, KITH_COUNT(ips));
        count += kith__driver_on_links(announce->with.driver, ips + count, KITH_COUNT(ips) - count);
    }
    for (size_t i = 0; err == 0 && i < count; i++)
        err = add_ip(info, &ips[i]);
    return err;
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_announce *announce = ctx;
    struct kith_lookup_info info;
    int err;

    kith__lookup_info_init(&info, announce->with.mem, &announce->with.id);
    if ((err = kith__lookup_info_copy(&announce->info, &info)) == 0 && (err = gather(announce, &info)) == 0)
        err = kith__lookup_publish(announce->with.lookup, &info);
    kith__lookup_info_dispose(&info);
    if (err != 0)
        kith__rt_timer_set(&announce->timer, now_ns + AGAIN_NS);
}

static void on_network(void *ctx)
{
    struct kith_announce *announce = ctx;

    kith__lookup_on_network_change(announce->with.lookup);
    kith__announce_soon(announce);
}

int kith__announce_new(const struct kith_announce_options *options, struct kith_announce **out)
{
    struct kith_slice text = { (const uint8_t *)options->user_data,
                               options->user_data != NULL ? strlen(options->user_data) : 0 };
    struct kith_announce *announce = kith__alloc_zero(options->mem, sizeof *announce);
    int err;

    if (announce == NULL)
        return KITH_ERR_NOMEM;
    announce->with = *options;
    announce->with.user_data = NULL;
    kith__lookup_info_init(&announce->info, options->mem, &options->id);
    if ((err = kith__lookup_info_set_user_data(&announce->info, text)) != 0 ||
        (err = kith__rt_timer_init(options->rt, &announce->timer, on_timer, announce)) != 0) {
        kith__lookup_info_dispose(&announce->info);
        kith__free(options->mem, announce);
        return err;
    }
    if (kith__rt_watch_open(options->rt, on_network, announce, &announce->watch) != 0)
        announce->watch = NULL; /* addresses are looked at with every news of relays all the same */
    kith__announce_soon(announce);
    *out = announce;
    return 0;
}

void kith__announce_free(struct kith_announce *announce)
{
    if (announce == NULL)
        return;
    kith__rt_watch_close(announce->watch);
    kith__rt_timer_dispose(&announce->timer);
    kith__lookup_info_dispose(&announce->info);
    kith__free(announce->with.mem, announce);
}

void kith__announce_soon(struct kith_announce *announce)
{
    if (announce != NULL)
        kith__rt_timer_set(&announce->timer, 0);
}

int kith__announce_set_user_data(struct kith_announce *announce, struct kith_slice text)
{
    int err = kith__lookup_info_set_user_data(&announce->info, text);

    if (err == 0)
        kith__announce_soon(announce);
    return err;
}
