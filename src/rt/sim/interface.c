/* Addresses and interfaces: who has an address, by which interface a datagram leaves, and who wants to know of changes. */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/sim/world.h"

#include <stdio.h>

/* ---- The table of addresses ---- */

static size_t address_key(uint32_t scope, const struct kith_sockaddr *addr, uint8_t key[21])
{
    memcpy(key, &scope, 4);
    key[4] = addr->family;
    memcpy(key + 5, addr->ip, 16);
    return 21;
}

struct sim_owner *kith__sim_address_find(struct kith_sim *sim, uint32_t scope, const struct kith_sockaddr *addr)
{
    uint8_t key[21];

    return kith__map_get(&sim->addresses, key, address_key(scope, addr, key));
}

int kith__sim_address_add(struct kith_sim *sim, uint32_t scope, const struct kith_sockaddr *addr,
                          struct sim_owner *owner)
{
    uint8_t key[21];

    if (kith__sim_address_find(sim, scope, addr) != NULL)
        return KITH_ERR_INVALID;
    return kith__map_put(&sim->addresses, key, address_key(scope, addr, key), owner);
}

void kith__sim_address_remove(struct kith_sim *sim, uint32_t scope, const struct kith_sockaddr *addr)
{
    uint8_t key[21];

    kith__map_remove(&sim->addresses, key, address_key(scope, addr, key));
}

/* ---- Interfaces ---- */

static uint32_t scope_of(const struct sim_interface *interface, const struct kith_sockaddr *addr)
{
    return interface->options.nat != NULL && addr->family == KITH_FAMILY_V4 ? interface->options.nat->scope : 0;
}

static void addresses_give_up(struct sim_interface *interface)
{
    struct kith_sim *sim = interface->host->sim;

    for (size_t i = 0; i < KITH_SIM_HOST_ADDRS_MAX; i++) {
        struct kith_sockaddr *addr = &interface->options.addrs[i];

        if (addr->family != KITH_FAMILY_NONE &&
            kith__sim_address_find(sim, scope_of(interface, addr), addr) == &interface->owner)
            kith__sim_address_remove(sim, scope_of(interface, addr), addr);
        addr->family = KITH_FAMILY_NONE;
    }
}

/** The interface has none. On an error it has none again. */
static int addresses_take(struct sim_interface *interface, const struct kith_sockaddr *addrs, size_t count)
{
    int err;

    for (size_t i = 0; i < count; i++) {
        struct kith_sockaddr *addr = &interface->options.addrs[i];

        if (addrs[i].family == KITH_FAMILY_NONE)
            continue;
        *addr = addrs[i];
        addr->port = 0;
        err = kith__sim_address_add(interface->host->sim, scope_of(interface, addr), addr, &interface->owner);
        if (err == 0)
            continue;
        addr->family = KITH_FAMILY_NONE;
        addresses_give_up(interface);
        return err;
    }
    return 0;
}

int kith__sim_interface_add(struct kith_sim_host *host, const struct kith_sim_interface_options *options,
                            unsigned *index)
{
    struct sim_interface *interface;
    int err;

    if (host->interface_count == KITH_SIM_INTERFACES_MAX)
        return KITH_ERR_LIMIT;
    interface = &host->interfaces[host->interface_count];
    *interface = (struct sim_interface) { .host = host, .options = *options, .is_up = true };
    interface->owner.interface = interface;
    snprintf(interface->name, sizeof interface->name, "sim%u", (unsigned)host->interface_count);
    if (options->name != NULL)
        snprintf(interface->name, sizeof interface->name, "%s", options->name);
    interface->options.name = interface->name;
    memset(interface->options.addrs, 0, sizeof interface->options.addrs);
    if ((err = addresses_take(interface, options->addrs, KITH_SIM_HOST_ADDRS_MAX)) != 0)
        return err;
    *index = (unsigned)host->interface_count++;
    kith__sim_interfaces_changed(host);
    return 0;
}

void kith__sim_interfaces_dispose(struct kith_sim_host *host)
{
    for (size_t i = 0; i < host->interface_count; i++)
        addresses_give_up(&host->interfaces[i]);
}

static struct sim_interface *interface_at(struct kith_sim_host *host, unsigned index)
{
    KITH_ASSERT(index < host->interface_count);
    return &host->interfaces[index];
}

void kith__sim_interface_set_up(struct kith_sim_host *host, unsigned index, bool is_up)
{
    struct sim_interface *interface = interface_at(host, index);

    if (interface->is_up == is_up)
        return;
    interface->is_up = is_up;
    interface->contacts.count = 0;
    kith__sim_interfaces_changed(host);
}

int kith__sim_interface_set_addrs(struct kith_sim_host *host, unsigned index, const struct kith_sockaddr *addrs,
                                  size_t count)
{
    struct sim_interface *interface = interface_at(host, index);
    struct kith_sockaddr old[KITH_SIM_HOST_ADDRS_MAX];
    int err;

    if (count > KITH_SIM_HOST_ADDRS_MAX)
        return KITH_ERR_LIMIT;
    memcpy(old, interface->options.addrs, sizeof old);
    addresses_give_up(interface);
    if ((err = addresses_take(interface, addrs, count)) != 0) {
        int again = addresses_take(interface, old, KITH_SIM_HOST_ADDRS_MAX);

        KITH_ASSERT(again == 0); /* they were ours, and the table has room for them */
        return err;
    }
    kith__sim_interfaces_changed(host);
    return 0;
}

struct kith_sim_link *kith__sim_interface_uplink(struct kith_sim_host *host, unsigned index)
{
    return &interface_at(host, index)->options.up;
}

struct kith_sim_link *kith__sim_interface_downlink(struct kith_sim_host *host, unsigned index)
{
    return &interface_at(host, index)->options.down;
}

struct kith_sockaddr kith__sim_interface_addr(const struct kith_sim_host *host, unsigned index, size_t which)
{
    KITH_ASSERT(index < host->interface_count && which < KITH_SIM_HOST_ADDRS_MAX);
    return host->interfaces[index].options.addrs[which];
}

bool kith__sim_interface_has(const struct sim_interface *interface, const struct kith_sockaddr *addr)
{
    for (size_t i = 0; i < KITH_SIM_HOST_ADDRS_MAX; i++) {
        const struct kith_sockaddr *own = &interface->options.addrs[i];

        if (own->family == addr->family && memcmp(own->ip, addr->ip, sizeof own->ip) == 0)
            return own->family != KITH_FAMILY_NONE;
    }
    return false;
}

struct sim_interface *kith__sim_interface_of(struct kith_sim_host *host, const struct kith_sockaddr *addr)
{
    for (size_t i = 0; i < host->interface_count; i++)
        if (host->interfaces[i].is_up && kith__sim_interface_has(&host->interfaces[i], addr))
            return &host->interfaces[i];
    return NULL;
}

struct kith_sockaddr kith__sim_interface_source(const struct sim_interface *interface, uint8_t family)
{
    for (size_t i = 0; i < KITH_SIM_HOST_ADDRS_MAX; i++)
        if (interface->options.addrs[i].family == family)
            return interface->options.addrs[i];
    return (struct kith_sockaddr) { .family = KITH_FAMILY_NONE };
}

struct sim_owner *kith__sim_neighbour(const struct sim_interface *interface, const struct kith_sockaddr *addr)
{
    uint32_t scope = scope_of(interface, addr);

    return scope != 0 ? kith__sim_address_find(interface->host->sim, scope, addr) : NULL;
}

struct sim_interface *kith__sim_route(struct kith_sim_host *host, const struct kith_sockaddr *to)
{
    struct sim_interface *first = NULL;

    for (size_t i = 0; i < host->interface_count; i++) {
        struct sim_interface *interface = &host->interfaces[i];

        if (!interface->is_up || kith__sim_interface_source(interface, to->family).family == KITH_FAMILY_NONE)
            continue;
        if (kith__sim_neighbour(interface, to) != NULL)
            return interface;
        if (first == NULL)
            first = interface;
    }
    return first;
}

int kith__sim_rt_interfaces(struct kith_rt *rt, struct kith_rt_interface *out, size_t cap, size_t *count)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    size_t kept = 0;

    for (size_t n = 0; n < host->interface_count; n++) {
        const struct sim_interface *interface = &host->interfaces[n];

        for (size_t i = 0; interface->is_up && i < KITH_SIM_HOST_ADDRS_MAX && kept < cap; i++) {
            if (interface->options.addrs[i].family == KITH_FAMILY_NONE)
                continue;
            out[kept] = (struct kith_rt_interface) { .addr = interface->options.addrs[i],
                                                     .index = (uint32_t)n + 1,
                                                     .is_multicast = true };
            memcpy(out[kept++].name, interface->name, sizeof interface->name);
        }
    }
    *count = kept;
    return 0;
}

/* ---- Who wants to know ---- */

struct sim_watch {
    struct kith_rt_watch head;
    struct kith_list node; /* in host->watches */
    bool is_due;
};

int kith__sim_watch_open(struct kith_rt *rt, const struct kith_rt_watch *head, struct kith_rt_watch **out)
{
    struct sim_watch *watch = kith__alloc_zero(rt->mem, sizeof *watch);

    if (watch == NULL)
        return KITH_ERR_NOMEM;
    watch->head = *head;
    kith__list_push_back(&kith__sim_host_of(rt)->watches, &watch->node);
    *out = &watch->head;
    return 0;
}

void kith__sim_watch_close(struct kith_rt_watch *head)
{
    struct sim_watch *watch = (struct sim_watch *)head;

    kith__list_remove(&watch->node);
    kith__free(head->rt->mem, watch);
}

void kith__sim_interfaces_changed(struct kith_sim_host *host)
{
    KITH_LIST_EACH(node, &host->watches)
    KITH_CONTAINER(node, struct sim_watch, node)->is_due = true;
    if (!kith__list_is_empty(&host->watches))
        kith__sim_host_ready(host);
}

static struct sim_watch *next_due(struct kith_sim_host *host)
{
    KITH_LIST_EACH(node, &host->watches)
    if (KITH_CONTAINER(node, struct sim_watch, node)->is_due)
        return KITH_CONTAINER(node, struct sim_watch, node);
    return NULL;
}

void kith__sim_watches_tell(struct kith_sim_host *host)
{
    struct sim_watch *watch;

    while ((watch = next_due(host)) != NULL) { /* from the start each time: callbacks open and close watches */
        watch->is_due = false;
        watch->head.on_change(watch->head.ctx);
    }
}
