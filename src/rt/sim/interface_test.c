#include "rt/sim/node.h"

#include <string.h>

enum { WIFI = 0, CELL = 1 };

/** A phone with Wi-Fi and cellular, each behind a NAT of its own and with IPv6, and a server with both families. */
struct town {
    struct kith_sim *sim;
    struct kith_sim_nat *nats[2];
    struct node phone, server;
    struct node_socket *v4, *v6, *server4, *server6;
    struct kith_sockaddr at_server4, at_server6, wifi4, cell4, cell6;
};

static void town_open(struct town *town)
{
    struct kith_sim_nat_options nat = { .outer = node_addr("203.0.113.1:0") };
    struct kith_sim_host_options wifi = { .up.delay_ns = 2 * KITH_NS_PER_MS, .down.delay_ns = 2 * KITH_NS_PER_MS };
    struct kith_sim_interface_options cell = { .name = "cell0",
                                               .up.delay_ns = 30 * KITH_NS_PER_MS,
                                               .down.delay_ns = 30 * KITH_NS_PER_MS };
    struct kith_sim_host_options server = { 0 };
    unsigned index = 99;

    memset(town, 0, sizeof *town);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, 1, &town->sim), 0);
    KITH_CHECK_EQ(kith__sim_nat_new(town->sim, &nat, &town->nats[WIFI]), 0);
    nat.outer = node_addr("198.51.100.1:0");
    KITH_CHECK_EQ(kith__sim_nat_new(town->sim, &nat, &town->nats[CELL]), 0);
    wifi.nat = town->nats[WIFI];
    wifi.addrs[0] = town->wifi4 = node_addr("192.168.1.2:0");
    wifi.addrs[1] = node_addr("[2001:db8:1::2]:0");
    node_open(&town->phone, town->sim, &wifi);
    cell.nat = town->nats[CELL];
    cell.addrs[0] = town->cell4 = node_addr("10.64.0.7:0");
    cell.addrs[1] = town->cell6 = node_addr("[2001:db8:2::2]:0");
    KITH_CHECK_EQ(kith__sim_interface_add(town->phone.host, &cell, &index), 0);
    KITH_CHECK_EQ(index, CELL);
    server.addrs[0] = node_addr("10.0.0.2:0");
    server.addrs[1] = node_addr("[2001:db8::2]:0");
    node_open(&town->server, town->sim, &server);
    town->v4 = node_bind(&town->phone, 0, "0.0.0.0:1000");
    town->v6 = node_bind(&town->phone, 1, "[::]:1000");
    town->server4 = node_bind(&town->server, 0, "0.0.0.0:2000");
    town->server6 = node_bind(&town->server, 1, "[::]:2000");
    town->server4->echoes = town->server6->echoes = true;
    town->at_server4 = node_addr("10.0.0.2:2000");
    town->at_server6 = node_addr("[2001:db8::2]:2000");
}

static void town_close(struct town *town)
{
    node_close(&town->phone);
    node_close(&town->server);
    kith__sim_free(town->sim);
}

/** Sends and waits for the echo; returns the round trip, or 0 if none came. */
static uint64_t round_trip(struct town *town, struct node_socket *socket, const struct kith_sockaddr *to,
                           const struct kith_sockaddr *from)
{
    uint64_t before = socket->received, start_ns = kith__sim_now(town->sim);

    node_send(socket, to, from);
    node_run(town->sim, KITH_NS_PER_S);
    return socket->received == before + 1 ? socket->last_ns - start_ns : 0;
}

static size_t list(struct town *town, struct kith_rt_interface *out)
{
    size_t count = 0;

    KITH_CHECK_EQ(kith__rt_interfaces(town->phone.rt, out, KITH_RT_INTERFACES_MAX, &count), 0);
    return count;
}

KITH_TEST(interface_is_chosen_by_source_address_and_else_the_first_that_is_up)
{
    struct town town;

    town_open(&town);
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, NULL), 4 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(town.server4->remote.ip[0], 203);
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, &town.cell4), 60 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(town.server4->remote.ip[0], 198);
    KITH_CHECK_EQ(round_trip(&town, town.v6, &town.at_server6, NULL), 4 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(round_trip(&town, town.v6, &town.at_server6, &town.cell6), 60 * KITH_NS_PER_MS);
    KITH_CHECK_BYTES(town.server6->remote.ip, town.cell6.ip, 16); /* no NAT for IPv6 */
    kith__sim_interface_set_up(town.phone.host, WIFI, false);
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, NULL), 60 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, &town.wifi4), 0);
    KITH_CHECK_EQ(kith__rt_udp_stats(town.v4->udp).drop_unreachable, 1);
    kith__sim_interface_set_up(town.phone.host, CELL, false);
    KITH_CHECK_EQ(round_trip(&town, town.v6, &town.at_server6, NULL), 0);
    KITH_CHECK_EQ(kith__rt_udp_stats(town.v6->udp).drop_unreachable, 1);
    kith__sim_interface_set_up(town.phone.host, WIFI, true);
    KITH_CHECK_EQ(round_trip(&town, town.v6, &town.at_server6, NULL), 4 * KITH_NS_PER_MS);
    town_close(&town);
}

KITH_TEST(interface_whose_nat_hides_a_neighbour_is_the_way_to_it)
{
    struct kith_sim_host_options options = { 0 };
    struct kith_sockaddr to = node_addr("10.64.0.8:2000");
    struct town town;
    struct node printer;

    town_open(&town);
    options.nat = town.nats[CELL];
    options.addrs[0] = node_addr("10.64.0.8:0");
    node_open(&printer, town.sim, &options);
    node_bind(&printer, 0, "0.0.0.0:2000")->echoes = true;
    KITH_CHECK_EQ(round_trip(&town, town.v4, &to, NULL), 60 * KITH_NS_PER_MS);
    KITH_CHECK_BYTES(printer.sockets[0].remote.ip, town.cell4.ip, 16);
    node_close(&printer);
    town_close(&town);
}

KITH_TEST(interface_that_goes_down_loses_what_is_on_its_way)
{
    struct town town;

    town_open(&town);
    node_send(town.v4, &town.at_server4, &town.cell4);
    node_run(town.sim, 40 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(town.server4->received, 1);
    kith__sim_interface_set_up(town.phone.host, CELL, false);
    node_run(town.sim, KITH_NS_PER_S);
    KITH_CHECK_EQ(town.v4->received, 0);
    KITH_CHECK_EQ(kith__sim_stats(town.sim).drop_down, 1);
    town_close(&town);
}

KITH_TEST(interfaces_are_listed_by_name_while_they_are_up)
{
    struct kith_rt_interface listed[KITH_RT_INTERFACES_MAX];
    struct town town;

    town_open(&town);
    KITH_CHECK_EQ(list(&town, listed), 4);
    KITH_CHECK_STR(listed[0].name, "sim0");
    KITH_CHECK_STR(listed[2].name, "cell0");
    KITH_CHECK(kith_sockaddr_equal(&listed[2].addr, &town.cell4));
    kith__sim_interface_set_up(town.phone.host, WIFI, false);
    KITH_CHECK_EQ(list(&town, listed), 2);
    KITH_CHECK(kith_sockaddr_equal(&listed[1].addr, &town.cell6));
    town_close(&town);
}

KITH_TEST(interface_gets_other_addresses_or_keeps_the_old_ones_if_one_is_taken)
{
    struct kith_sockaddr taken[2] = { node_addr("[2001:db8:2::9]:0"), node_addr("[2001:db8::2]:0") };
    struct kith_sockaddr fresh = node_addr("[2001:db8:2::9]:0");
    struct town town;

    town_open(&town);
    KITH_CHECK_EQ(kith__sim_interface_set_addrs(town.phone.host, CELL, taken, 2), KITH_ERR_INVALID);
    KITH_CHECK_EQ(round_trip(&town, town.v6, &town.at_server6, &town.cell6), 60 * KITH_NS_PER_MS);
    node_send(town.v6, &town.at_server6, &town.cell6);
    node_run(town.sim, 40 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith__sim_interface_set_addrs(town.phone.host, CELL, &fresh, 1), 0);
    node_run(town.sim, KITH_NS_PER_S); /* the echo comes to an address that is gone */
    KITH_CHECK_EQ(town.v6->received, 1);
    KITH_CHECK_EQ(kith__sim_stats(town.sim).drop_down, 1);
    KITH_CHECK_EQ(round_trip(&town, town.v6, &town.at_server6, &town.cell6), 0);
    KITH_CHECK_EQ(round_trip(&town, town.v6, &town.at_server6, &fresh), 60 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, &town.cell4), 0);
    town_close(&town);
}

struct watcher {
    struct kith_rt *rt;
    struct kith_rt_watch *watch;
    size_t calls, listed;
    bool closes_itself;
};

static void on_change(void *ctx)
{
    struct kith_rt_interface listed[KITH_RT_INTERFACES_MAX];
    struct watcher *watcher = ctx;

    watcher->calls++;
    KITH_CHECK_EQ(kith__rt_interfaces(watcher->rt, listed, KITH_RT_INTERFACES_MAX, &watcher->listed), 0);
    if (watcher->closes_itself) {
        kith__rt_watch_close(watcher->watch);
        watcher->watch = NULL;
    }
}

KITH_TEST(interface_changes_are_told_to_every_watch_in_the_same_instant)
{
    struct kith_sockaddr fresh = node_addr("[2001:db8:2::9]:0");
    struct watcher first = { 0 }, second = { .closes_itself = true };
    struct town town;
    uint64_t now_ns;

    town_open(&town);
    first.rt = second.rt = town.phone.rt;
    KITH_CHECK_EQ(kith__rt_watch_open(first.rt, on_change, &first, &first.watch), 0);
    KITH_CHECK_EQ(kith__rt_watch_open(second.rt, on_change, &second, &second.watch), 0);
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, NULL), 4 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(first.calls, 0);
    now_ns = kith__sim_now(town.sim);
    kith__sim_interface_set_up(town.phone.host, WIFI, true); /* it is */
    kith__sim_interface_set_up(town.phone.host, WIFI, false);
    kith__sim_interface_set_up(town.phone.host, CELL, false);
    KITH_CHECK(kith__sim_step(town.sim));
    KITH_CHECK_EQ(kith__sim_now(town.sim), now_ns);
    KITH_CHECK_EQ(first.calls, 1);
    KITH_CHECK_EQ(first.listed, 0);
    KITH_CHECK_EQ(second.calls, 1);
    KITH_CHECK_EQ(kith__sim_interface_set_addrs(town.phone.host, CELL, &fresh, 1), 0);
    kith__sim_host_set_down(town.phone.host, true); /* asleep: it hears of it when it wakes up */
    kith__sim_interface_set_up(town.phone.host, CELL, true);
    node_run(town.sim, KITH_NS_PER_S);
    KITH_CHECK_EQ(first.calls, 1);
    kith__sim_host_set_down(town.phone.host, false);
    node_run(town.sim, KITH_NS_PER_S);
    KITH_CHECK_EQ(first.calls, 2);
    KITH_CHECK_EQ(first.listed, 1);
    KITH_CHECK_EQ(second.calls, 1);
    kith__rt_watch_close(first.watch);
    town_close(&town);
}

KITH_TEST(link_can_be_cut_in_one_direction_of_one_interface)
{
    struct town town;

    town_open(&town);
    kith__sim_interface_downlink(town.phone.host, WIFI)->is_cut = true;
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, NULL), 0);
    KITH_CHECK_EQ(town.server4->received, 1);
    KITH_CHECK_EQ(kith__sim_stats(town.sim).drop_blackout, 1);
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, &town.cell4), 60 * KITH_NS_PER_MS);
    kith__sim_interface_downlink(town.phone.host, WIFI)->is_cut = false;
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, NULL), 4 * KITH_NS_PER_MS);
    town_close(&town);
}

KITH_TEST(blackhole_swallows_one_direction_of_one_pair)
{
    struct kith_sockaddr wifi_outer = node_addr("203.0.113.1:0"), any = { 0 }, server = node_addr("10.0.0.2:0");
    struct kith_sockaddr other_port = node_addr("10.0.0.2:2001");
    struct town town;

    town_open(&town);
    KITH_CHECK_EQ(kith__sim_set_blackhole(town.sim, &wifi_outer, &server, true), 0);
    KITH_CHECK_EQ(kith__sim_set_blackhole(town.sim, &wifi_outer, &server, true), 0);
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, NULL), 0);
    KITH_CHECK_EQ(town.server4->received, 0);
    KITH_CHECK_EQ(kith__sim_stats(town.sim).drop_blackhole, 1);
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, &town.cell4), 60 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith__sim_set_blackhole(town.sim, &wifi_outer, &server, false), 0);
    KITH_CHECK_EQ(kith__sim_set_blackhole(town.sim, &any, &other_port, true), 0);
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, NULL), 4 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith__sim_set_blackhole(town.sim, &any, &wifi_outer, true), 0); /* answers only */
    KITH_CHECK_EQ(round_trip(&town, town.v4, &town.at_server4, NULL), 0);
    KITH_CHECK_EQ(town.server4->received, 3);
    KITH_CHECK_EQ(kith__sim_stats(town.sim).drop_blackhole, 2);
    town_close(&town);
}

KITH_TEST(interfaces_of_a_host_have_a_maximum_and_their_own_mtu)
{
    struct kith_sim_interface_options options = { .mtu = 1280 };
    struct kith_quic_transmit transmit = { .size = 1253 };
    static const uint8_t bytes[1300];
    struct town town;
    unsigned index;

    town_open(&town);
    options.addrs[0] = node_addr("10.0.0.50:0");
    transmit.remote = town.at_server4;
    for (unsigned i = 2; i < KITH_SIM_INTERFACES_MAX; i++) {
        KITH_CHECK_EQ(kith__sim_interface_add(town.phone.host, &options, &index), 0);
        KITH_CHECK_EQ(index, i);
        options.addrs[0].ip[3]++;
    }
    KITH_CHECK_EQ(kith__sim_interface_add(town.phone.host, &options, &index), KITH_ERR_LIMIT);
    transmit.local = node_addr("10.0.0.50:0");
    KITH_CHECK_EQ(kith__rt_udp_send(town.v4->udp, &transmit, bytes), 0);
    KITH_CHECK_EQ(kith__rt_udp_stats(town.v4->udp).drop_too_large, 1);
    transmit.size = 1252;
    KITH_CHECK_EQ(kith__rt_udp_send(town.v4->udp, &transmit, bytes), 0);
    KITH_CHECK_EQ(kith__rt_udp_stats(town.v4->udp).drop_too_large, 1);
    town_close(&town);
}
