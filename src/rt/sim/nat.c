/* NATs: mappings from inner to outer addresses, who may use them, and forgetting them. RFC 4787. */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/sim/world.h"

enum { FIRST_PORT = 20000, CONTACTS = KITH_COUNT(((struct sim_nat_mapping *)0)->contacts) };

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
    nat->count = 0;
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

/** As much of a remote address as the kind looks at. */
static struct kith_sockaddr part_of(const struct kith_sockaddr *remote, uint8_t kind)
{
    struct kith_sockaddr part = { 0 };

    if (kind == KITH_SIM_NAT_ENDPOINT_INDEPENDENT)
        return part;
    part = *remote;
    if (kind == KITH_SIM_NAT_ADDRESS_DEPENDENT)
        part.port = 0;
    return part;
}

static bool is_alive(const struct kith_sim_nat *nat, const struct sim_nat_mapping *mapping)
{
    return nat->options.mapping_ns == 0 || nat->sim->now_ns - mapping->used_ns < nat->options.mapping_ns;
}

static void mapping_remove(struct kith_sim_nat *nat, size_t index)
{
    nat->count--;
    memmove(&nat->mappings[index], &nat->mappings[index + 1], (nat->count - index) * sizeof nat->mappings[0]);
}

static struct sim_nat_mapping *mapping_add(struct kith_sim_nat *nat)
{
    if (nat->count == KITH_SIM_NAT_MAPPINGS_MAX)
        mapping_remove(nat, 0);
    if (nat->count == nat->cap) {
        size_t cap = nat->cap != 0 ? nat->cap * 2 : 8;
        struct sim_nat_mapping *mappings = kith__realloc(nat->sim->mem, nat->mappings, cap * sizeof *mappings);

        if (mappings == NULL)
            return NULL;
        nat->mappings = mappings;
        nat->cap = cap;
    }
    nat->mappings[nat->count] = (struct sim_nat_mapping) { .outer_port = ++nat->next_port };
    if (nat->next_port == UINT16_MAX)
        nat->next_port = FIRST_PORT;
    return &nat->mappings[nat->count++];
}

bool kith__sim_nat_out(struct kith_sim_nat *nat, struct sim_packet *packet)
{
    struct kith_sockaddr remote = part_of(&packet->to, nat->options.mapping);
    struct kith_sockaddr to_ip = packet->to;
    struct sim_nat_mapping *mapping = NULL;

    to_ip.port = 0;
    if (!nat->options.hairpins && kith_sockaddr_equal(&to_ip, &nat->options.outer))
        return false;
    for (size_t i = 0; i < nat->count && mapping == NULL; i++) {
        struct sim_nat_mapping *at = &nat->mappings[i];

        if (!kith_sockaddr_equal(&at->inner, &packet->from) || !kith_sockaddr_equal(&at->remote, &remote))
            continue;
        if (is_alive(nat, at))
            mapping = at;
        else
            mapping_remove(nat, i--);
    }
    if (mapping == NULL) {
        if ((mapping = mapping_add(nat)) == NULL)
            return false;
        mapping->inner = packet->from;
        mapping->remote = remote;
    }
    mapping->used_ns = nat->sim->now_ns;
    mapping->contacts[mapping->contact_count++ % CONTACTS] = packet->to;
    packet->from = nat->options.outer;
    packet->from.port = mapping->outer_port;
    return true;
}

static bool may_enter(const struct kith_sim_nat *nat, const struct sim_nat_mapping *mapping,
                      const struct kith_sockaddr *from)
{
    struct kith_sockaddr part = part_of(from, nat->options.filtering);

    for (uint32_t i = 0; i < KITH_MIN(mapping->contact_count, (uint32_t)CONTACTS); i++) {
        struct kith_sockaddr contact = part_of(&mapping->contacts[i], nat->options.filtering);

        if (kith_sockaddr_equal(&contact, &part))
            return true;
    }
    return false;
}

bool kith__sim_nat_in(struct kith_sim_nat *nat, struct sim_packet *packet)
{
    for (size_t i = 0; i < nat->count; i++) {
        struct sim_nat_mapping *mapping = &nat->mappings[i];

        if (mapping->outer_port != packet->to.port || !is_alive(nat, mapping))
            continue;
        if (!may_enter(nat, mapping, &packet->from))
            return false;
        packet->to = mapping->inner;
        return true;
    }
    return false;
}
