#include "rt/sim/node.h"

#include <string.h>

enum { INNER = 0, OTHER = 1, A = 2, B = 3, NODES = 4 };

/** Two hosts behind one NAT; outside A with ports 2000 and 2001, and B with port 2000. All delays 1 ms. */
struct yard {
    struct kith_sim *sim;
    struct kith_sim_nat *nat;
    struct node nodes[NODES];
    struct node_socket *inner, *other, *a, *a2, *b;
    struct kith_sockaddr at_a, at_a2, at_b, outer;
};

static void yard_open(struct yard *yard, const struct kith_sim_nat_options *nat)
{
    static const char *const addrs[NODES] = { "192.168.1.2:0", "192.168.1.3:0", "10.0.0.2:0", "10.0.0.3:0" };

    memset(yard, 0, sizeof *yard);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, 1, &yard->sim), 0);
    KITH_CHECK_EQ(kith__sim_nat_new(yard->sim, nat, &yard->nat), 0);
    for (int i = 0; i < NODES; i++) {
        struct kith_sim_host_options options = { .up.delay_ns = KITH_NS_PER_MS, .nat = i < A ? yard->nat : NULL };

        options.addrs[0] = node_addr(addrs[i]);
        node_open(&yard->nodes[i], yard->sim, &options);
    }
    yard->inner = node_bind(&yard->nodes[INNER], 0, "0.0.0.0:1000");
    yard->other = node_bind(&yard->nodes[OTHER], 0, "0.0.0.0:1000");
    yard->a = node_bind(&yard->nodes[A], 0, "0.0.0.0:2000");
    yard->a2 = node_bind(&yard->nodes[A], 1, "0.0.0.0:2001");
    yard->b = node_bind(&yard->nodes[B], 0, "0.0.0.0:2000");
    yard->at_a = node_addr("10.0.0.2:2000");
    yard->at_a2 = node_addr("10.0.0.2:2001");
    yard->at_b = node_addr("10.0.0.3:2000");
    yard->outer = nat->outer;
}

static void yard_close(struct yard *yard)
{
    for (int i = 0; i < NODES; i++)
        node_close(&yard->nodes[i]);
    kith__sim_free(yard->sim);
}

/** Sends and returns the outer port that `at` saw. */
static uint16_t port_seen(struct yard *yard, struct node_socket *from, struct node_socket *at,
                          const struct kith_sockaddr *to)
{
    uint64_t before = at->received;

    node_send(from, to, NULL);
    node_run(yard->sim, 10 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(at->received, before + 1);
    return at->remote.port;
}

/** Whether a datagram to that outer port reaches `at`. */
static bool gets_in(struct yard *yard, struct node_socket *from, uint16_t port, const struct node_socket *at)
{
    struct kith_sockaddr to = yard->outer;
    uint64_t before = at->received;

    to.port = port;
    node_send(from, &to, NULL);
    node_run(yard->sim, 10 * KITH_NS_PER_MS);
    return at->received == before + 1;
}

static struct kith_sim_nat_options nat_of(uint8_t mapping, uint8_t filtering)
{
    return (struct kith_sim_nat_options) { .outer = node_addr("203.0.113.1:0"),
                                           .mapping = mapping,
                                           .filtering = filtering };
}

KITH_TEST(nat_of_each_mapping_and_filtering_keeps_apart_what_it_says)
{
    for (uint8_t mapping = 0; mapping <= KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT; mapping++)
        for (uint8_t filtering = 0; filtering <= KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT; filtering++) {
            struct kith_sim_nat_options options = nat_of(mapping, filtering);
            struct yard yard;
            uint16_t a, a2, b;

            yard_open(&yard, &options);
            a = port_seen(&yard, yard.inner, yard.a, &yard.at_a);
            KITH_CHECK(gets_in(&yard, yard.a, a, yard.inner));
            KITH_CHECK_EQ(gets_in(&yard, yard.a2, a, yard.inner), filtering <= KITH_SIM_NAT_ADDRESS_DEPENDENT);
            KITH_CHECK_EQ(gets_in(&yard, yard.b, a, yard.inner), filtering == KITH_SIM_NAT_ENDPOINT_INDEPENDENT);
            a2 = port_seen(&yard, yard.inner, yard.a2, &yard.at_a2);
            b = port_seen(&yard, yard.inner, yard.b, &yard.at_b);
            KITH_CHECK_EQ(a == a2, mapping <= KITH_SIM_NAT_ADDRESS_DEPENDENT);
            KITH_CHECK_EQ(a == b, mapping == KITH_SIM_NAT_ENDPOINT_INDEPENDENT);
            KITH_CHECK_EQ(a2 == b, mapping == KITH_SIM_NAT_ENDPOINT_INDEPENDENT);
            KITH_CHECK_NE(port_seen(&yard, yard.other, yard.a, &yard.at_a), a);
            KITH_CHECK(!gets_in(&yard, yard.a, 9, yard.inner));
            yard_close(&yard);
        }
}

KITH_TEST(nat_keeps_the_port_for_the_first_who_has_it_if_it_preserves_ports)
{
    struct kith_sim_nat_options options = nat_of(0, 0);
    struct yard yard;
    uint16_t first, second;

    options.preserves_ports = true;
    yard_open(&yard, &options);
    first = port_seen(&yard, yard.inner, yard.a, &yard.at_a);
    second = port_seen(&yard, yard.other, yard.a, &yard.at_a);
    KITH_CHECK_EQ(first, 1000);
    KITH_CHECK_NE(second, 1000);
    KITH_CHECK(gets_in(&yard, yard.a, first, yard.inner));
    KITH_CHECK(gets_in(&yard, yard.a, second, yard.other));
    yard_close(&yard);
}

KITH_TEST(nat_mapping_dies_unused_and_incoming_datagrams_keep_it_only_if_the_nat_says_so)
{
    for (int refreshes = 0; refreshes <= 1; refreshes++) {
        struct kith_sim_nat_options options = nat_of(0, 0);
        struct yard yard;
        uint16_t port;

        options.mapping_ns = 30 * KITH_NS_PER_S;
        options.inbound_refreshes = refreshes != 0;
        yard_open(&yard, &options);
        port = port_seen(&yard, yard.inner, yard.a, &yard.at_a);
        node_run(yard.sim, 20 * KITH_NS_PER_S);
        KITH_CHECK_EQ(port_seen(&yard, yard.inner, yard.a, &yard.at_a), port); /* outgoing ones always do */
        node_run(yard.sim, 20 * KITH_NS_PER_S);
        KITH_CHECK(gets_in(&yard, yard.a, port, yard.inner));
        node_run(yard.sim, 20 * KITH_NS_PER_S);
        KITH_CHECK_EQ(gets_in(&yard, yard.a, port, yard.inner), refreshes);
        node_run(yard.sim, 31 * KITH_NS_PER_S);
        KITH_CHECK(!gets_in(&yard, yard.a, port, yard.inner));
        KITH_CHECK_NE(port_seen(&yard, yard.inner, yard.a, &yard.at_a), port);
        yard_close(&yard);
    }
}

KITH_TEST(nat_remembers_a_quiet_contact_beside_a_busy_one)
{
    struct kith_sim_nat_options options = nat_of(0, KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT);
    struct yard yard;
    uint16_t port;

    yard_open(&yard, &options);
    port = port_seen(&yard, yard.inner, yard.b, &yard.at_b);
    for (int i = 0; i < 200; i++)
        node_send(yard.inner, &yard.at_a, NULL);
    KITH_CHECK(gets_in(&yard, yard.b, port, yard.inner));
    yard_close(&yard);
}

KITH_TEST(nat_hairpins_only_if_it_says_so_and_shows_outer_sources)
{
    for (int hairpins = 0; hairpins <= 1; hairpins++) {
        struct kith_sim_nat_options options = nat_of(0, 0);
        struct yard yard;
        struct kith_sockaddr to;

        options.hairpins = hairpins != 0;
        yard_open(&yard, &options);
        to = yard.outer;
        to.port = port_seen(&yard, yard.other, yard.a, &yard.at_a);
        yard.other->echoes = true;
        node_send(yard.inner, &to, NULL);
        node_run(yard.sim, 20 * KITH_NS_PER_MS);
        KITH_CHECK_EQ(yard.other->received, hairpins);
        KITH_CHECK_EQ(yard.inner->received, hairpins);
        KITH_CHECK_EQ(kith__sim_stats(yard.sim).drop_nat, 1 - hairpins);
        if (hairpins == 1) {
            KITH_CHECK_BYTES(yard.other->remote.ip, yard.outer.ip, 16);
            KITH_CHECK(kith_sockaddr_equal(&yard.inner->remote, &to));
        }
        yard_close(&yard);
    }
}

KITH_TEST(nat_forwarded_port_is_open_to_all_and_survives_a_reboot_and_a_new_address)
{
    struct kith_sim_nat_options options = nat_of(KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT,
                                                 KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT);
    struct kith_sockaddr inner = node_addr("192.168.1.2:1000"), moved = node_addr("203.0.113.9:0");
    struct yard yard;

    options.mapping_ns = KITH_NS_PER_S;
    yard_open(&yard, &options);
    KITH_CHECK_EQ(kith__sim_nat_forward(yard.nat, 4433, &inner), 0);
    KITH_CHECK_EQ(kith__sim_nat_forward(yard.nat, 4433, &inner), KITH_ERR_INVALID);
    KITH_CHECK(gets_in(&yard, yard.a, 4433, yard.inner));
    node_run(yard.sim, 5 * KITH_NS_PER_S);
    kith__sim_nat_rebind(yard.nat);
    KITH_CHECK_EQ(kith__sim_nat_move(yard.nat, &moved), 0);
    KITH_CHECK(!gets_in(&yard, yard.b, 4433, yard.inner)); /* the old address is gone */
    yard.outer = moved;
    KITH_CHECK(gets_in(&yard, yard.b, 4433, yard.inner));
    KITH_CHECK_EQ(port_seen(&yard, yard.inner, yard.a, &yard.at_a), 4433);
    yard_close(&yard);
}

KITH_TEST(firewall_lets_in_who_was_written_to_for_as_long_as_it_holds)
{
    for (uint8_t filtering = 0; filtering <= KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT; filtering++) {
        struct kith_sim_host_options inside = { .firewall = { true, filtering, 30 * KITH_NS_PER_S } }, outside = { 0 };
        struct kith_sockaddr at_inner = node_addr("[2001:db8::1]:1000"), at_a = node_addr("[2001:db8::2]:2000");
        struct node inner, a, b;
        struct kith_sim *sim;

        KITH_CHECK_EQ(kith__sim_new(NULL, NULL, 1, &sim), 0);
        inside.addrs[0] = node_addr("[2001:db8::1]:0");
        node_open(&inner, sim, &inside);
        outside.addrs[0] = node_addr("[2001:db8::2]:0");
        node_open(&a, sim, &outside);
        outside.addrs[0] = node_addr("[2001:db8::3]:0");
        node_open(&b, sim, &outside);
        node_bind(&inner, 0, "[::]:1000");
        node_bind(&a, 0, "[::]:2000");
        node_bind(&a, 1, "[::]:2001");
        node_bind(&b, 0, "[::]:2000");
        node_send(&a.sockets[0], &at_inner, NULL);
        node_run(sim, KITH_NS_PER_MS);
        KITH_CHECK_EQ(inner.sockets[0].received, 0);
        KITH_CHECK_EQ(kith__sim_stats(sim).drop_firewall, 1);
        node_send(&inner.sockets[0], &at_a, NULL);
        node_run(sim, KITH_NS_PER_MS);
        KITH_CHECK_EQ(a.sockets[0].received, 1);
        node_send(&a.sockets[0], &at_inner, NULL);
        node_send(&a.sockets[1], &at_inner, NULL);
        node_send(&b.sockets[0], &at_inner, NULL);
        node_run(sim, KITH_NS_PER_MS);
        KITH_CHECK_EQ(inner.sockets[0].received, 3 - filtering);
        node_run(sim, 31 * KITH_NS_PER_S);
        node_send(&a.sockets[0], &at_inner, NULL);
        node_run(sim, KITH_NS_PER_MS);
        KITH_CHECK_EQ(inner.sockets[0].received, 3 - filtering);
        KITH_CHECK_EQ(kith__sim_stats(sim).drop_firewall, 2 + filtering);
        node_close(&inner);
        node_close(&a);
        node_close(&b);
        kith__sim_free(sim);
    }
}
