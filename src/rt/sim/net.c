/* The way of a datagram: sockets, links, core. */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/multicast.h"
#include "rt/sim/world.h"

enum { HEADERS_V4 = 28, HEADERS_V6 = 48, ECN_CE = 3 };

#define DROP(sim, packet, reason) drop((sim), (packet), &(sim)->stats.drop_##reason)

static void packet_arrive(struct kith_sim *sim, struct sim_event *event);

/* ---- Addresses ---- */

static bool ip_is_zero(const struct kith_sockaddr *addr)
{
    static const uint8_t zero[16];

    return memcmp(addr->ip, zero, sizeof zero) == 0;
}

static bool ip_is_loopback(const struct kith_sockaddr *addr)
{
    static const uint8_t v6[16] = { [15] = 1 };

    return addr->family == KITH_FAMILY_V4 ? addr->ip[0] == 127 : memcmp(addr->ip, v6, sizeof v6) == 0;
}

static bool ip_is_multicast(const struct kith_sockaddr *addr)
{
    return addr->family == KITH_FAMILY_V4 ? (addr->ip[0] & 0xf0) == 0xe0 : addr->ip[0] == 0xff;
}

static bool ip_equal(const struct kith_sockaddr *a, const struct kith_sockaddr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* ---- Packets ---- */

static struct sim_packet *packet_new(struct kith_sim *sim, const uint8_t *bytes, size_t size)
{
    struct kith_list *node = kith__list_first(&sim->pool);
    struct sim_packet *packet;

    if (node != NULL) {
        kith__list_remove(node);
        packet = KITH_CONTAINER(node, struct sim_packet, node);
    } else {
        if ((packet = kith__alloc(sim->mem, sizeof *packet)) == NULL)
            return NULL;
        kith__list_init(&packet->node);
    }
    packet->bytes = size <= SIM_PACKET_INSIDE ? packet->inside : kith__alloc(sim->mem, size);
    if (packet->bytes == NULL || kith__sim_event_add(sim, &packet->event, packet_arrive) != 0) {
        if (packet->bytes != packet->inside)
            kith__free(sim->mem, packet->bytes);
        kith__list_push_front(&sim->pool, &packet->node);
        return NULL;
    }
    memcpy(packet->bytes, bytes, size);
    packet->size = size;
    packet->receiver = NULL;
    packet->is_inside = false;
    return packet;
}

/** At the same place on its way. NULL: no memory. */
static struct sim_packet *packet_copy(struct kith_sim *sim, const struct sim_packet *packet)
{
    struct sim_packet *copy = packet_new(sim, packet->bytes, packet->size);

    if (copy == NULL)
        return NULL;
    copy->from = packet->from;
    copy->to = packet->to;
    copy->sender = packet->sender;
    copy->receiver = packet->receiver;
    copy->hop = packet->hop;
    copy->ecn = packet->ecn;
    copy->is_inside = packet->is_inside;
    return copy;
}

void kith__sim_packet_free(struct kith_sim *sim, struct sim_packet *packet)
{
    kith__sim_event_remove(sim, &packet->event);
    if (packet->bytes != packet->inside)
        kith__free(sim->mem, packet->bytes);
    kith__list_remove(&packet->node);
    kith__list_push_front(&sim->pool, &packet->node);
}

void kith__sim_pool_free(struct kith_sim *sim)
{
    for (size_t i = sim->events.count; i-- > 0;) {
        struct sim_event *event = KITH_CONTAINER(sim->events.nodes[i], struct sim_event, node);

        if (event->run != packet_arrive)
            continue;
        kith__sim_packet_free(sim, KITH_CONTAINER(event, struct sim_packet, event));
        i = sim->events.count; /* the heap has moved its nodes */
    }
    KITH_LIST_EACH_SAFE(node, after, &sim->pool)
    kith__free(sim->mem, KITH_CONTAINER(node, struct sim_packet, node));
    kith__list_init(&sim->pool);
}

static void trace_address(struct kith_sim *sim, const struct kith_sockaddr *addr)
{
    uint64_t words[2];

    memcpy(words, addr->ip, sizeof words);
    kith__sim_trace(sim, words[0]);
    kith__sim_trace(sim, words[1] ^ (uint64_t)addr->port << 48);
}

static void trace_packet(struct kith_sim *sim, const struct sim_packet *packet)
{
    uint64_t word = 0;
    size_t at = 0;

    kith__sim_trace(sim, sim->now_ns);
    trace_address(sim, &packet->from);
    trace_address(sim, &packet->to);
    kith__sim_trace(sim, packet->size << 8 | packet->ecn);
    for (; at + sizeof word <= packet->size; at += sizeof word) {
        memcpy(&word, packet->bytes + at, sizeof word);
        kith__sim_trace(sim, word);
    }
    word = 0;
    memcpy(&word, packet->bytes + at, packet->size - at);
    kith__sim_trace(sim, word);
}

static void drop(struct kith_sim *sim, struct sim_packet *packet, uint64_t *count)
{
    ++*count;
    kith__sim_trace(sim, sim->now_ns);
    kith__sim_trace(sim, (uint64_t)(count - (uint64_t *)&sim->stats));
    kith__sim_packet_free(sim, packet);
}

/* ---- Links ---- */

static size_t wire_size(const struct sim_packet *packet)
{
    return packet->size + (packet->to.family == KITH_FAMILY_V4 ? HEADERS_V4 : HEADERS_V6);
}

/** Waits for the link's rate. False: the queue is full. */
static bool queue_up(struct kith_sim *sim, const struct kith_sim_link *link, struct sim_link_state *state,
                     struct sim_packet *packet, uint64_t *departs_ns)
{
    uint64_t start = KITH_MAX(sim->now_ns, state->busy_until_ns);
    uint64_t waiting = (start - sim->now_ns) / 1000 * link->rate / 8000000; /* bytes */
    bool is_marked;

    if (link->queue_size != 0 && waiting + wire_size(packet) > link->queue_size)
        return false;
    if (link->rate != 0)
        state->busy_until_ns = start += wire_size(packet) * 8 * KITH_NS_PER_S / link->rate;
    *departs_ns = KITH_MAX(start, sim->now_ns);
    if (link->bleaches_ecn)
        packet->ecn = 0;
    is_marked = (link->mark_size != 0 && waiting > link->mark_size) || kith__sim_chance(sim, link->mark_ppm);
    if (is_marked && packet->ecn != 0) {
        packet->ecn = ECN_CE;
        sim->stats.marked++;
    }
    return true;
}

static void schedule(struct kith_sim *sim, const struct kith_sim_link *link, struct sim_link_state *state,
                     struct sim_packet *packet, uint64_t departs_ns)
{
    uint64_t at = departs_ns + link->delay_ns;

    if (link->jitter_ns != 0)
        at += kith__random_below(&sim->random, link->jitter_ns + 1);
    if (kith__sim_chance(sim, link->reorder_ppm)) {
        at += link->reorder_ns;
        sim->stats.reordered++;
    } else {
        at = KITH_MAX(at, state->last_arrival_ns);
        state->last_arrival_ns = at;
    }
    kith__sim_event_set(sim, &packet->event, at);
}

static bool is_silent(const struct kith_sim_link *link, uint64_t now_ns)
{
    for (size_t i = 0; i < KITH_SIM_BLACKOUTS_MAX; i++)
        if (now_ns >= link->blackouts[i].from_ns && now_ns < link->blackouts[i].until_ns)
            return true;
    return link->is_cut;
}

/** Sends a packet over a link; it goes on at `hop` when it comes out. */
static void pass(struct kith_sim *sim, const struct kith_sim_link *link, struct sim_link_state *state,
                 struct sim_packet *packet, enum sim_hop hop)
{
    struct sim_packet *twin = NULL;
    uint64_t departs_ns;

    packet->hop = (uint8_t)hop;
    if (is_silent(link, sim->now_ns)) {
        DROP(sim, packet, blackout);
        return;
    }
    if (link->mtu != 0 && wire_size(packet) > link->mtu) {
        DROP(sim, packet, mtu);
        return;
    }
    if (!queue_up(sim, link, state, packet, &departs_ns)) {
        DROP(sim, packet, queue);
        return;
    }
    if (kith__sim_chance(sim, link->loss_ppm)) { /* after the queue: it has used the link's time */
        DROP(sim, packet, loss);
        return;
    }
    if (kith__sim_chance(sim, link->duplicate_ppm) && (twin = packet_copy(sim, packet)) != NULL)
        sim->stats.duplicated++;
    if (packet->size != 0 && kith__sim_chance(sim, link->corrupt_ppm)) { /* after the copy: one of two may be right */
        uint64_t bit = kith__random_below(&sim->random, packet->size * 8);

        packet->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        sim->stats.corrupted++;
    }
    schedule(sim, link, state, packet, departs_ns);
    if (twin != NULL)
        schedule(sim, link, state, twin, departs_ns);
}

/* ---- The way ---- */

static struct sim_udp *find_socket(struct kith_sim_host *host, const struct kith_sockaddr *to)
{
    KITH_LIST_EACH(node, &host->sockets)
    {
        struct sim_udp *udp = KITH_CONTAINER(node, struct sim_udp, node);
        const struct kith_sockaddr *local = &udp->head.local;

        if (udp->member_of == NULL && local->family == to->family && local->port == to->port &&
            (ip_is_zero(local) || ip_equal(local, to)))
            return udp;
    }
    return NULL;
}

static void arrive_at_socket(struct kith_sim *sim, struct sim_packet *packet, struct sim_udp *udp)
{
    trace_packet(sim, packet);
    sim->stats.delivered++;
    sim->stats.delivered_bytes += packet->size;
    kith__sim_event_set(sim, &packet->event, KITH_NEVER);
    kith__list_push_back(&udp->queue, &packet->node);
    kith__sim_host_ready(packet->receiver->host);
}

/** Each member of the group on the interface gets a copy. */
static void arrive_at_group(struct kith_sim *sim, struct sim_packet *packet)
{
    struct sim_packet *copy;

    KITH_LIST_EACH(node, &packet->receiver->host->sockets)
    {
        struct sim_udp *udp = KITH_CONTAINER(node, struct sim_udp, node);

        if (udp->member_of != packet->receiver || udp->head.local.port != packet->to.port ||
            !ip_equal(&udp->head.local, &packet->to))
            continue;
        if ((copy = packet_copy(sim, packet)) != NULL)
            arrive_at_socket(sim, copy, udp);
        else
            sim->stats.drop_no_memory++;
    }
    kith__sim_packet_free(sim, packet);
}

static void arrive_at_host(struct kith_sim *sim, struct sim_packet *packet)
{
    struct kith_sim_host *host = packet->receiver->host;
    bool is_to_group = ip_is_multicast(&packet->to);
    struct sim_udp *udp;

    /* An address may have gone while the datagram was on its way. What a host sends to itself needs no interface. */
    if (host->is_down ||
        (!packet->is_inside &&
         (!packet->receiver->is_up || (!is_to_group && !kith__sim_interface_has(packet->receiver, &packet->to))))) {
        DROP(sim, packet, down);
        return;
    }
    if (is_to_group) { /* firewalls here are told apart by who was written to: they let groups pass, as those of today do */
        arrive_at_group(sim, packet);
        return;
    }
    if (!packet->is_inside && !kith__sim_firewall_in(packet->receiver, packet)) {
        DROP(sim, packet, firewall);
        return;
    }
    if ((udp = find_socket(host, &packet->to)) == NULL)
        DROP(sim, packet, no_socket);
    else
        arrive_at_socket(sim, packet, udp);
}

static bool is_partitioned(const struct kith_sim *sim, const struct kith_sim_host *a, const struct kith_sim_host *b)
{
    for (size_t i = 0; i < sim->partition_count; i++)
        if ((sim->partitions[i].a == a && sim->partitions[i].b == b) ||
            (sim->partitions[i].a == b && sim->partitions[i].b == a))
            return true;
    return false;
}

static bool matches(const struct kith_sockaddr *rule, const struct kith_sockaddr *addr)
{
    return rule->family == KITH_FAMILY_NONE || (ip_equal(rule, addr) && (rule->port == 0 || rule->port == addr->port));
}

static bool is_swallowed(const struct kith_sim *sim, const struct sim_packet *packet)
{
    for (size_t i = 0; i < sim->blackhole_count; i++)
        if (matches(&sim->blackholes[i].from, &packet->from) && matches(&sim->blackholes[i].to, &packet->to))
            return true;
    return false;
}

bool kith__sim_way_is_open(const struct sim_interface *from, const struct kith_sockaddr *from_addr,
                           const struct sim_interface *to, const struct kith_sockaddr *to_addr)
{
    const struct kith_sim *sim = from->host->sim;
    const struct kith_sim_nat *from_nat = from->options.nat, *to_nat = to->options.nat;

    if (!from->is_up || !to->is_up || is_silent(&from->options.up, sim->now_ns) ||
        is_silent(&to->options.down, sim->now_ns) || is_partitioned(sim, from->host, to->host))
        return false;
    if (from_nat != to_nat && ((from_nat != NULL && is_silent(&from_nat->options.up, sim->now_ns)) ||
                               (to_nat != NULL && is_silent(&to_nat->options.down, sim->now_ns))))
        return false;
    for (size_t i = 0; i < sim->blackhole_count; i++)
        if (matches(&sim->blackholes[i].from, from_addr) && matches(&sim->blackholes[i].to, to_addr))
            return false;
    return true;
}

static void go_down(struct kith_sim *sim, struct sim_packet *packet, struct sim_interface *interface)
{
    packet->receiver = interface;
    if (is_partitioned(sim, packet->sender->host, interface->host))
        DROP(sim, packet, partition);
    else
        pass(sim, &interface->options.down, &interface->down, packet, SIM_HOP_ARRIVED);
}

static void cross_core(struct kith_sim *sim, struct sim_packet *packet)
{
    struct sim_owner *owner = kith__sim_address_find(sim, 0, &packet->to);
    struct sim_owner *inner;

    if (is_swallowed(sim, packet)) {
        DROP(sim, packet, blackhole);
    } else if (owner == NULL) {
        DROP(sim, packet, no_route);
    } else if (owner->interface != NULL) {
        go_down(sim, packet, owner->interface);
    } else if (!kith__sim_nat_in(owner->nat, packet) ||
               (inner = kith__sim_address_find(sim, owner->nat->scope, &packet->to)) == NULL) {
        DROP(sim, packet, nat);
    } else {
        packet->receiver = inner->interface;
        pass(sim, &owner->nat->options.down, &owner->nat->down, packet, SIM_HOP_NAT_INSIDE);
    }
}

/** To everybody else on the sender's network: that is who shares its NAT. */
static void leave_for_group(struct kith_sim *sim, struct sim_packet *packet)
{
    const struct kith_sim_nat *nat = packet->sender->options.nat;
    struct sim_packet *copy;

    KITH_LIST_EACH(node, &sim->hosts)
    {
        struct kith_sim_host *host = KITH_CONTAINER(node, struct kith_sim_host, node);

        for (size_t i = 0; nat != NULL && i < host->interface_count; i++) {
            if (host->interfaces[i].options.nat != nat || &host->interfaces[i] == packet->sender)
                continue;
            if ((copy = packet_copy(sim, packet)) != NULL)
                go_down(sim, copy, &host->interfaces[i]);
            else
                sim->stats.drop_no_memory++;
        }
    }
    kith__sim_packet_free(sim, packet);
}

static void leave_host(struct kith_sim *sim, struct sim_packet *packet)
{
    struct kith_sim_nat *nat = packet->to.family == KITH_FAMILY_V4 ? packet->sender->options.nat : NULL;
    struct sim_owner *neighbour = kith__sim_neighbour(packet->sender, &packet->to);

    if (ip_is_multicast(&packet->to))
        leave_for_group(sim, packet);
    else if (neighbour != NULL)
        go_down(sim, packet, neighbour->interface);
    else if (nat == NULL)
        cross_core(sim, packet);
    else if (!kith__sim_nat_out(nat, packet))
        DROP(sim, packet, nat);
    else
        pass(sim, &nat->options.up, &nat->up, packet, SIM_HOP_CORE);
}

static void packet_arrive(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_packet *packet = KITH_CONTAINER(event, struct sim_packet, event);

    switch ((enum sim_hop)packet->hop) {
    case SIM_HOP_LEFT_HOST:
        leave_host(sim, packet);
        break;
    case SIM_HOP_CORE:
        cross_core(sim, packet);
        break;
    case SIM_HOP_NAT_INSIDE:
        go_down(sim, packet, packet->receiver);
        break;
    case SIM_HOP_ARRIVED:
        arrive_at_host(sim, packet);
        break;
    }
}

/* ---- Sockets: sending ---- */

/** Where a datagram says it comes from, and by which interface it leaves. NULL: by none. */
static struct sim_interface *choose_source(const struct sim_udp *udp, const struct kith_quic_transmit *transmit,
                                           struct kith_sockaddr *from)
{
    struct kith_sim_host *host = kith__sim_host_of(udp->head.rt);
    struct sim_interface *interface;

    *from = udp->head.local;
    if (udp->member_of != NULL) {
        memcpy(from->ip, kith__sim_interface_source(udp->member_of, from->family).ip, sizeof from->ip);
        return udp->member_of->is_up && !ip_is_zero(from) ? udp->member_of : NULL;
    }
    if (transmit->local.family != KITH_FAMILY_NONE && !ip_is_zero(&transmit->local))
        memcpy(from->ip, transmit->local.ip, sizeof from->ip);
    if (ip_is_loopback(&transmit->remote)) {
        memcpy(from->ip, transmit->remote.ip, sizeof from->ip);
        return &host->interfaces[0];
    }
    if (!ip_is_zero(from))
        return kith__sim_interface_of(host, from);
    if ((interface = kith__sim_route(host, &transmit->remote)) == NULL)
        return NULL;
    memcpy(from->ip, kith__sim_interface_source(interface, from->family).ip, sizeof from->ip);
    return interface;
}

/** One for the members of this host, one for the others. */
static void send_to_group(struct kith_sim *sim, struct sim_packet *packet)
{
    struct sim_packet *own = packet_copy(sim, packet);

    if (own == NULL) {
        sim->stats.drop_no_memory++;
    } else {
        own->receiver = packet->sender;
        own->is_inside = true;
        own->hop = SIM_HOP_ARRIVED;
        kith__sim_event_set(sim, &own->event, sim->now_ns);
    }
    pass(sim, &packet->sender->options.up, &packet->sender->up, packet, SIM_HOP_LEFT_HOST);
}

static void send_datagram(struct sim_udp *udp, const struct kith_quic_transmit *transmit,
                          const struct kith_sockaddr *from, struct sim_interface *interface, const uint8_t *bytes,
                          size_t size)
{
    struct kith_sim_host *host = interface->host;
    struct kith_sim *sim = host->sim;
    size_t mtu = interface->options.mtu != 0 ? interface->options.mtu : 65535;
    struct sim_packet *packet;

    if (size + (from->family == KITH_FAMILY_V4 ? HEADERS_V4 : HEADERS_V6) > mtu) {
        udp->head.stats.drop_too_large++;
        return;
    }
    udp->head.stats.sent_datagrams++;
    udp->head.stats.sent_bytes += size;
    host->sent_datagrams++;
    sim->stats.sent++;
    if ((packet = packet_new(sim, bytes, size)) == NULL) {
        sim->stats.drop_no_memory++;
        return;
    }
    packet->from = *from;
    packet->to = transmit->remote;
    packet->sender = interface;
    packet->ecn = transmit->ecn & 3;
    trace_packet(sim, packet);
    if (host->is_down) {
        DROP(sim, packet, down);
    } else if (ip_is_multicast(&packet->to)) {
        send_to_group(sim, packet);
    } else if (ip_is_loopback(&packet->to) || kith__sim_interface_of(host, &packet->to) != NULL) {
        packet->receiver = interface;
        packet->is_inside = true;
        packet->hop = SIM_HOP_ARRIVED;
        kith__sim_event_set(sim, &packet->event, sim->now_ns);
    } else {
        kith__sim_firewall_out(interface, packet);
        pass(sim, &interface->options.up, &interface->up, packet, SIM_HOP_LEFT_HOST);
    }
}

void kith__sim_udp_send(struct kith_rt_udp *head, const struct kith_quic_transmit *transmit, const uint8_t *bytes)
{
    struct sim_udp *udp = (struct sim_udp *)head;
    struct kith_sim_host *host = kith__sim_host_of(head->rt);
    size_t segment = transmit->segment_size != 0 ? transmit->segment_size : transmit->size;
    struct sim_interface *interface;
    struct kith_sockaddr from;

    head->stats.sent_calls++;
    if ((interface = choose_source(udp, transmit, &from)) == NULL) {
        head->stats.drop_unreachable += kith__rt_segments(transmit->size, segment);
        return;
    }
    for (size_t at = 0; at < transmit->size; at += segment)
        send_datagram(udp, transmit, &from, interface, bytes + at, KITH_MIN(segment, transmit->size - at));
    if (kith__sim_chance(host->sim, host->options.block_ppm)) {
        head->is_blocked = true;
        head->stats.blocked++;
        kith__sim_event_set(host->sim, &udp->unblock, host->sim->now_ns + host->options.block_ns);
    }
}

/* ---- Sockets: receiving ---- */

static bool merges_with(const struct sim_packet *first, const struct sim_packet *last, const struct sim_packet *packet)
{
    return packet->size <= first->size && last->size == first->size && packet->ecn == first->ecn &&
           kith_sockaddr_equal(&packet->from, &first->from) && kith_sockaddr_equal(&packet->to, &first->to);
}

/** Takes one buffer's worth of packets from the queue into `done`. Merges into scratch as far as there is room. */
static void take_buffer(struct sim_udp *udp, struct kith_list *done, size_t *scratch_used,
                        struct kith_quic_received *out)
{
    struct kith_sim *sim = kith__sim_host_of(udp->head.rt)->sim;
    uint8_t *merged = sim->scratch + *scratch_used;
    struct sim_packet *first = KITH_CONTAINER(kith__list_first(&udp->queue), struct sim_packet, node);
    struct sim_packet *last = first;
    struct kith_list *node;
    size_t count = 1;

    kith__list_remove(&first->node);
    kith__list_push_back(done, &first->node);
    *out = (struct kith_quic_received) { first->to, first->from, first->bytes, first->size, 0, first->ecn };
    while (udp->merges && count < KITH_RT_UDP_SEGMENTS_MAX && (node = kith__list_first(&udp->queue)) != NULL) {
        struct sim_packet *packet = KITH_CONTAINER(node, struct sim_packet, node);

        if (!merges_with(first, last, packet) || out->size + packet->size > KITH_RT_UDP_SEND_MAX ||
            *scratch_used + out->size + packet->size > SIM_SCRATCH_SIZE)
            break;
        if (count++ == 1)
            memcpy(merged, first->bytes, first->size);
        memcpy(merged + out->size, packet->bytes, packet->size);
        out->size += packet->size;
        kith__list_remove(node);
        kith__list_push_back(done, node);
        last = packet;
    }
    if (count > 1) {
        out->bytes = merged;
        out->segment_size = first->size;
        *scratch_used += out->size;
    }
    udp->head.stats.received_datagrams += count;
    udp->head.stats.received_bytes += out->size;
}

static void deliver(struct sim_udp *udp)
{
    struct kith_sim *sim = kith__sim_host_of(udp->head.rt)->sim;
    struct kith_quic_received batch[KITH_RT_UDP_BATCH_MAX];
    struct kith_list done;

    while (!udp->is_closed && !kith__list_is_empty(&udp->queue)) {
        size_t count = 0, scratch_used = 0;

        kith__list_init(&done);
        while (count < KITH_RT_UDP_BATCH_MAX && !kith__list_is_empty(&udp->queue))
            take_buffer(udp, &done, &scratch_used, &batch[count++]);
        udp->head.stats.received_calls++;
        udp->head.events.on_receive(udp->head.events.ctx, batch, count, sim->now_ns);
        KITH_LIST_EACH_SAFE(node, after, &done)
        kith__sim_packet_free(sim, KITH_CONTAINER(node, struct sim_packet, node));
    }
    if (!udp->is_closed && udp->is_unblocked) {
        udp->is_unblocked = false;
        if (udp->head.events.on_writable != NULL)
            udp->head.events.on_writable(udp->head.events.ctx);
    }
}

static struct sim_udp *next_socket(struct kith_sim_host *host)
{
    KITH_LIST_EACH(node, &host->sockets)
    {
        struct sim_udp *udp = KITH_CONTAINER(node, struct sim_udp, node);

        if (!kith__list_is_empty(&udp->queue) || udp->is_unblocked)
            return udp;
    }
    return NULL;
}

void kith__sim_udp_deliver(struct kith_sim_host *host)
{
    struct sim_udp *udp;

    while ((udp = next_socket(host)) != NULL) /* from the start each time: callbacks open and close sockets */
        deliver(udp);
}

static void clear_queue(struct sim_udp *udp)
{
    struct kith_sim *sim = kith__sim_host_of(udp->head.rt)->sim;
    struct kith_list *node;

    while ((node = kith__list_first(&udp->queue)) != NULL) { /* it had arrived, but nobody reads it */
        struct sim_packet *packet = KITH_CONTAINER(node, struct sim_packet, node);

        sim->stats.delivered--;
        sim->stats.delivered_bytes -= packet->size;
        DROP(sim, packet, down);
    }
}

void kith__sim_udp_clear(struct kith_sim_host *host)
{
    KITH_LIST_EACH(node, &host->sockets)
    clear_queue(KITH_CONTAINER(node, struct sim_udp, node));
}

/* ---- Sockets: life ---- */

static void on_unblock(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_udp *udp = KITH_CONTAINER(event, struct sim_udp, unblock);

    kith__sim_event_set(sim, event, KITH_NEVER);
    udp->head.is_blocked = false;
    udp->is_unblocked = true;
    kith__sim_host_ready(kith__sim_host_of(udp->head.rt));
}

static int choose_port(struct kith_sim_host *host, struct kith_sockaddr *local)
{
    struct kith_sockaddr probe = *local;

    if (local->port != 0)
        return find_socket(host, local) != NULL ? KITH_ERR_ADDRESS_IN_USE : 0;
    for (unsigned tries = 0; tries < 20000; tries++) {
        host->next_port = host->next_port < 60000 ? (uint16_t)(host->next_port + 1) : 40001;
        probe.port = host->next_port;
        if (find_socket(host, &probe) == NULL) {
            local->port = probe.port;
            return 0;
        }
    }
    return KITH_ERR_ADDRESS_IN_USE;
}

/** An ordinary socket takes a port; members of groups share theirs. */
static int take_place(struct kith_sim_host *host, const struct kith_rt_member_options *member,
                      struct kith_sockaddr *local, struct sim_interface **member_of)
{
    *member_of = NULL;
    if (member != NULL) {
        KITH_ASSERT(member->interface != 0 && member->interface <= host->interface_count);
        *member_of = &host->interfaces[member->interface - 1];
        return 0;
    }
    if (!ip_is_zero(local) && !ip_is_loopback(local) && kith__sim_interface_of(host, local) == NULL)
        return KITH_ERR_UNREACHABLE;
    return choose_port(host, local);
}

int kith__sim_udp_open(struct kith_rt *rt, const struct kith_rt_udp_options *options,
                       const struct kith_rt_udp_events *events, struct kith_rt_udp **out)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    struct kith_sockaddr local = options->local;
    struct sim_interface *member_of;
    struct sim_udp *udp;
    int err;

    if ((err = take_place(host, options->member, &local, &member_of)) != 0)
        return err;
    if ((udp = kith__alloc_zero(rt->mem, sizeof *udp)) == NULL)
        return KITH_ERR_NOMEM;
    udp->head.rt = rt;
    udp->head.events = *events;
    udp->head.local = local;
    udp->member_of = member_of;
    udp->merges = !options->no_offload && !host->options.no_gro;
    udp->head.features = (struct kith_rt_udp_features) { .gso = !options->no_offload,
                                                         .gro = udp->merges,
                                                         .ecn = true,
                                                         .dont_fragment = true,
                                                         .local_address = true,
                                                         .receive_buffer_size = KITH_RT_UDP_BUFFER_SIZE,
                                                         .send_buffer_size = KITH_RT_UDP_BUFFER_SIZE };
    if ((err = kith__sim_event_add(host->sim, &udp->unblock, on_unblock)) != 0) {
        kith__free(rt->mem, udp);
        return err;
    }
    kith__list_init(&udp->queue);
    kith__list_push_back(&host->sockets, &udp->node);
    *out = &udp->head;
    return 0;
}

void kith__sim_udp_close(struct kith_rt_udp *head)
{
    struct sim_udp *udp = (struct sim_udp *)head;
    struct kith_sim_host *host = kith__sim_host_of(head->rt);

    KITH_ASSERT(!udp->is_closed);
    udp->is_closed = true;
    clear_queue(udp);
    kith__sim_event_remove(host->sim, &udp->unblock);
    kith__list_remove(&udp->node);
    if (host->is_in_turn) /* its callback may be on the stack */
        kith__list_push_back(&host->sim->closed, &udp->node);
    else
        kith__free(head->rt->mem, udp);
}

void kith__sim_udp_bury(struct kith_sim *sim)
{
    struct kith_list *node;

    while ((node = kith__list_first(&sim->closed)) != NULL) {
        struct sim_udp *udp = KITH_CONTAINER(node, struct sim_udp, node);

        kith__list_remove(node);
        kith__free(udp->head.rt->mem, udp);
    }
}
