/* NATs: mappings from inner to outer addresses, who may use them, and forgetting them. RFC 4787. */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/sim/world.h"

enum { FIRST_PORT = 20000 };

int kith__sim_nat_new(struct kith_sim *sim, const struct kith_sim_nat_options *options, struct kith_sim_nat **out)
{
    struct kith_sim_nat *nat;
    int err;

    if (sim->nat_count == KITH_SIM_NATS_MAX)
        return KITH_ERR_LIMIT;
    if (options->outer.family != KITH_FAMILY_V4)
        return KITH_ERR_INVALID;
    if ((nat = kith__alloc_zero(sim->mem, sizeof *nat)) == NULL)
        return KITH_ERR_NOMEM;
    nat->sim = sim;
    nat->options = *options;
    nat->owner.nat = nat;
    nat->next_port = options->outer.port != 0 ? options->outer.port : FIRST_PORT;
    nat->options.outer.port = 0;
    if ((err = kith__sim_address_add(sim, 0, &nat->options.outer, &nat->owner)) != 0) {
        kith__free(sim->mem, nat);
        return err;
    }
    nat->scope = (uint32_t)++sim->nat_count;
    kith__list_push_back(&sim->nats, &nat->node);
    *out = nat;
    return 0;
}

void kith__sim_nat_free(struct kith_sim_nat *nat)
{
    kith__sim_address_remove(nat->sim, 0, &nat->options.outer);
    kith__list_remove(&nat->node);
    kith__free(nat->sim->mem, nat->mappings);
    kith__free(nat->sim->mem, nat);
}

struct kith_sim_link *kith__sim_nat_up(struct kith_sim_nat *nat)
{
    return &nat->options.up;
}

struct kith_sim_link *kith__sim_nat_down(struct kith_sim_nat *nat)
{
    return &nat->options.down;
}

void kith__sim_nat_rebind(struct kith_sim_nat *nat)
{
    size_t kept = 0;

    for (size_t i = 0; i < nat->count; i++)
        if (nat->mappings[i].is_fixed)
            nat->mappings[kept++] = nat->mappings[i];
    nat->count = kept;
}

int kith__sim_nat_move(struct kith_sim_nat *nat, const struct kith_sockaddr *outer)
{
    struct kith_sockaddr addr = *outer;
    int err;

    addr.port = 0;
    if (addr.family != KITH_FAMILY_V4)
        return KITH_ERR_INVALID;
    if ((err = kith__sim_address_add(nat->sim, 0, &addr, &nat->owner)) != 0)
        return err;
    kith__sim_address_remove(nat->sim, 0, &nat->options.outer);
    nat->options.outer = addr;
    kith__sim_nat_rebind(nat);
    return 0;
}

static bool is_alive(const struct kith_sim_nat *nat, const struct sim_nat_mapping *mapping)
{
    return mapping->is_fixed || nat->options.mapping_ns == 0 ||
           nat->sim->now_ns - mapping->used_ns < nat->options.mapping_ns;
}

static void mapping_remove(struct kith_sim_nat *nat, size_t index)
{
    nat->count--;
    memmove(&nat->mappings[index], &nat->mappings[index + 1], (nat->count - index) * sizeof nat->mappings[0]);
}

/** The mapping that has an outer port; NULL: it is free, also where one has died. */
static struct sim_nat_mapping *mapping_at(struct kith_sim_nat *nat, uint16_t outer_port)
{
    for (size_t i = 0; i < nat->count; i++)
        if (nat->mappings[i].outer_port == outer_port && is_alive(nat, &nat->mappings[i]))
            return &nat->mappings[i];
    return NULL;
}

/** The mapping that datagrams from `inner` to `remote` use; dead ones on the way are removed. NULL: none yet. */
static struct sim_nat_mapping *mapping_of(struct kith_sim_nat *nat, const struct kith_sockaddr *inner,
                                          const struct kith_sockaddr *remote)
{
    for (size_t i = 0; i < nat->count; i++) {
        struct sim_nat_mapping *at = &nat->mappings[i];

        if (!kith_sockaddr_equal(&at->inner, inner) || !(at->is_fixed || kith_sockaddr_equal(&at->remote, remote)))
            continue;
        if (is_alive(nat, at))
            return at;
        mapping_remove(nat, i--);
    }
    return NULL;
}

/** The oldest that may go. */
static void make_room(struct kith_sim_nat *nat)
{
    size_t i = 0;

    while (i < nat->count && nat->mappings[i].is_fixed)
        i++;
    if (i < nat->count)
        mapping_remove(nat, i);
}

static struct sim_nat_mapping *mapping_add(struct kith_sim_nat *nat)
{
    if (nat->count == KITH_SIM_NAT_MAPPINGS_MAX)
        make_room(nat);
    if (nat->count == KITH_SIM_NAT_MAPPINGS_MAX)
        return NULL;
    if (nat->count == nat->cap) {
        size_t cap = nat->cap != 0 ? nat->cap * 2 : 8;
        struct sim_nat_mapping *mappings = kith__realloc(nat->sim->mem, nat->mappings, cap * sizeof *mappings);

        if (mappings == NULL)
            return NULL;
        nat->mappings = mappings;
        nat->cap = cap;
    }
    nat->mappings[nat->count] = (struct sim_nat_mapping) { .used_ns = nat->sim->now_ns };
    return &nat->mappings[nat->count++];
}

static uint16_t choose_outer_port(struct kith_sim_nat *nat, const struct kith_sockaddr *inner)
{
    if (nat->options.preserves_ports && mapping_at(nat, inner->port) == NULL)
        return inner->port;
    do /* there are far more ports than mappings */
        nat->next_port = nat->next_port < UINT16_MAX ? (uint16_t)(nat->next_port + 1) : FIRST_PORT;
    while (mapping_at(nat, nat->next_port) != NULL);
    return nat->next_port;
}

int kith__sim_nat_forward(struct kith_sim_nat *nat, uint16_t outer_port, const struct kith_sockaddr *inner)
{
    struct sim_nat_mapping *mapping;

    if (outer_port == 0 || mapping_at(nat, outer_port) != NULL)
        return KITH_ERR_INVALID;
    if ((mapping = mapping_add(nat)) == NULL)
        return KITH_ERR_NOMEM;
    mapping->inner = *inner;
    mapping->outer_port = outer_port;
    mapping->is_fixed = true;
    return 0;
}

bool kith__sim_nat_out(struct kith_sim_nat *nat, struct sim_packet *packet)
{
    struct kith_sockaddr remote = kith__sim_part_of(&packet->to, nat->options.mapping);
    struct kith_sockaddr to_ip = packet->to;
    struct sim_nat_mapping *mapping;

    to_ip.port = 0;
    if (!nat->options.hairpins && kith_sockaddr_equal(&to_ip, &nat->options.outer))
        return false;
    if ((mapping = mapping_of(nat, &packet->from, &remote)) == NULL) {
        uint16_t port = choose_outer_port(nat, &packet->from);

        if ((mapping = mapping_add(nat)) == NULL)
            return false;
        mapping->outer_port = port;
        mapping->inner = packet->from;
        mapping->remote = remote;
    }
    mapping->used_ns = nat->sim->now_ns;
    kith__sim_contacts_note(&mapping->contacts, &packet->to, nat->sim->now_ns);
    packet->from = nat->options.outer;
    packet->from.port = mapping->outer_port;
    return true;
}

bool kith__sim_nat_in(struct kith_sim_nat *nat, struct sim_packet *packet)
{
    struct sim_nat_mapping *mapping = mapping_at(nat, packet->to.port);

    if (mapping == NULL)
        return false;
    if (!mapping->is_fixed &&
        !kith__sim_contacts_allow(&mapping->contacts, &packet->from, nat->options.filtering, nat->sim->now_ns, 0))
        return false;
    if (nat->options.inbound_refreshes)
        mapping->used_ns = nat->sim->now_ns;
    packet->to = mapping->inner;
    return true;
}
