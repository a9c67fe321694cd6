/* Members of a group: on a simulated network, and on the loopback interface of this machine. */
#include "rt/multicast.h"

#include "base/assert.h"
#include "base/test.h"
#include "rt/sim/sim.h"
#include "rt/uv/uv.h"
#include <net/if.h>
#include <string.h>

struct ear {
    struct kith_rt_member *member;
    unsigned heard;
    struct kith_sockaddr remote;
    uint8_t last[16];
    size_t last_size;
    bool closes; /* itself, in the callback */
};

static void on_heard(void *ctx, const struct kith_rt_heard *heard, uint64_t now_ns)
{
    struct ear *ear = ctx;

    KITH_CHECK(now_ns != 0);
    ear->heard++;
    ear->remote = heard->remote;
    ear->last_size = heard->bytes.size;
    memcpy(ear->last, heard->bytes.ptr, KITH_MIN(sizeof ear->last, heard->bytes.size));
    if (ear->closes) {
        kith__rt_member_close(ear->member);
        ear->member = NULL;
    }
}

static struct kith_sockaddr address(const char *text)
{
    struct kith_sockaddr out;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

static int open_at(struct kith_rt *rt, const char *group, uint32_t interface, struct ear *ear)
{
    struct kith_rt_member_options options = { .group = address(group), .interface = interface, .hops = 255 };

    return kith__rt_member_open(rt, &options, &(struct kith_rt_member_events) { on_heard, ear }, &ear->member);
}

static struct kith_slice text(const char *bytes)
{
    return (struct kith_slice) { (const uint8_t *)bytes, strlen(bytes) };
}

/* ---- The simulated network: two hosts at home, one elsewhere ---- */

enum { ANNE, BEN, FAR, HOST_COUNT };

struct home {
    struct kith_sim *sim;
    struct kith_sim_host *hosts[HOST_COUNT];
    struct kith_rt *rts[HOST_COUNT];
    struct ear ears[HOST_COUNT];
};

static void home_open(struct home *home)
{
    static const char *const outer[] = { "192.0.2.1:0", "192.0.2.2:0" };
    static const char *const inner[] = { "10.0.0.1:0", "10.0.0.2:0", "10.0.0.3:0" };
    struct kith_sim_nat *nats[2];

    memset(home, 0, sizeof *home);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, 1, &home->sim), 0);
    for (int i = 0; i < 2; i++)
        KITH_CHECK_EQ(
            kith__sim_nat_new(home->sim, &(struct kith_sim_nat_options) { .outer = address(outer[i]) }, &nats[i]), 0);
    for (int i = 0; i < HOST_COUNT; i++) {
        struct kith_sim_host_options options = { .addrs = { address(inner[i]) }, .nat = nats[i == FAR] };

        options.up.delay_ns = KITH_NS_PER_MS;
        KITH_CHECK_EQ(kith__sim_host_new(home->sim, &options, &home->hosts[i]), 0);
        home->rts[i] = kith__sim_rt(home->hosts[i]);
        KITH_CHECK_EQ(open_at(home->rts[i], "224.0.0.251:5353", 1, &home->ears[i]), 0);
    }
}

static void run(struct home *home)
{
    KITH_CHECK_EQ(kith__sim_run(home->sim, NULL, NULL, kith__sim_now(home->sim) + KITH_NS_PER_S), KITH_SIM_OK);
}

static void home_close(struct home *home)
{
    for (int i = 0; i < HOST_COUNT; i++)
        kith__rt_member_close(home->ears[i].member);
    kith__sim_free(home->sim);
}

KITH_TEST(multicast_everybody_on_the_network_hears_the_sender_too_and_nobody_elsewhere)
{
    struct home home;

    home_open(&home);
    kith__rt_member_send(home.ears[ANNE].member, text("who is there"));
    run(&home);
    KITH_CHECK_EQ(home.ears[ANNE].heard, 1);
    KITH_CHECK_EQ(home.ears[BEN].heard, 1);
    KITH_CHECK_EQ(home.ears[FAR].heard, 0);
    KITH_CHECK_BYTES(home.ears[BEN].last, "who is there", 12);
    KITH_CHECK_EQ(home.ears[BEN].last_size, 12);
    KITH_CHECK_EQ(home.ears[BEN].remote.port, 5353);
    KITH_CHECK_EQ(home.ears[BEN].remote.ip[3], 1);
    KITH_CHECK_EQ(kith__rt_member_stats(home.ears[ANNE].member).sent_bytes, 12);
    KITH_CHECK_EQ(kith__rt_member_stats(home.ears[BEN].member).heard_datagrams, 1);
    home_close(&home);
}

KITH_TEST(multicast_members_of_one_host_share_the_port_and_each_hears_its_own_group_only)
{
    struct ear second = { 0 }, other_group = { 0 }, other_port = { 0 };
    struct home home;

    home_open(&home);
    KITH_CHECK_EQ(open_at(home.rts[BEN], "224.0.0.251:5353", 1, &second), 0);
    KITH_CHECK_EQ(open_at(home.rts[BEN], "224.0.0.252:5353", 1, &other_group), 0);
    KITH_CHECK_EQ(open_at(home.rts[BEN], "224.0.0.251:5354", 1, &other_port), 0);
    kith__rt_member_send(home.ears[ANNE].member, text("x"));
    kith__rt_member_send(second.member, text("y"));
    run(&home);
    KITH_CHECK_EQ(home.ears[BEN].heard, 2);
    KITH_CHECK_EQ(second.heard, 2);
    KITH_CHECK_EQ(home.ears[ANNE].heard, 2);
    KITH_CHECK_EQ(other_group.heard, 0);
    KITH_CHECK_EQ(other_port.heard, 0);
    kith__rt_member_close(second.member);
    kith__rt_member_close(other_group.member);
    kith__rt_member_close(other_port.member);
    home_close(&home);
}

KITH_TEST(multicast_links_lose_cut_and_duplicate_as_they_do_all_datagrams)
{
    struct home home;

    home_open(&home);
    kith__sim_host_down(home.hosts[BEN])->duplicate_ppm = 1000000;
    kith__rt_member_send(home.ears[ANNE].member, text("twice"));
    run(&home);
    KITH_CHECK_EQ(home.ears[BEN].heard, 2);
    kith__sim_host_down(home.hosts[BEN])->is_cut = true;
    kith__rt_member_send(home.ears[ANNE].member, text("lost"));
    run(&home);
    KITH_CHECK_EQ(home.ears[BEN].heard, 2);
    KITH_CHECK_EQ(home.ears[ANNE].heard, 2); /* that is inside the host */
    home_close(&home);
}

KITH_TEST(multicast_an_interface_that_is_down_hears_nothing_and_its_sends_are_counted)
{
    struct ear ear;
    struct home home;

    home_open(&home);
    kith__sim_interface_set_up(home.hosts[BEN], 0, false);
    kith__rt_member_send(home.ears[ANNE].member, text("x"));
    kith__rt_member_send(home.ears[BEN].member, text("y"));
    run(&home);
    KITH_CHECK_EQ(home.ears[BEN].heard, 0);
    KITH_CHECK_EQ(home.ears[ANNE].heard, 1);
    KITH_CHECK_EQ(kith__rt_member_stats(home.ears[BEN].member).drop_sent, 1);
    KITH_CHECK_EQ(open_at(home.rts[BEN], "224.0.0.251:5353", 1, &ear), KITH_ERR_NOT_FOUND);
    kith__sim_interface_set_up(home.hosts[BEN], 0, true);
    kith__rt_member_send(home.ears[BEN].member, text("z"));
    run(&home);
    KITH_CHECK_EQ(home.ears[ANNE].heard, 2);
    home_close(&home);
}

KITH_TEST(multicast_a_member_may_close_itself_while_it_hears)
{
    struct home home;

    home_open(&home);
    home.ears[BEN].closes = true;
    kith__rt_member_send(home.ears[ANNE].member, text("x"));
    kith__rt_member_send(home.ears[ANNE].member, text("y"));
    run(&home);
    KITH_CHECK_EQ(home.ears[BEN].heard, 1);
    home_close(&home);
}

KITH_TEST(multicast_options_that_make_no_sense_and_too_large_datagrams_are_refused)
{
    static uint8_t large[KITH_RT_MULTICAST_SIZE_MAX + 1];
    struct ear ear = { 0 };
    struct home home;

    home_open(&home);
    KITH_CHECK_EQ(open_at(home.rts[ANNE], "10.0.0.1:5353", 1, &ear), KITH_ERR_INVALID);
    KITH_CHECK_EQ(open_at(home.rts[ANNE], "224.0.0.251:0", 1, &ear), KITH_ERR_INVALID);
    KITH_CHECK_EQ(open_at(home.rts[ANNE], "224.0.0.251:5353", 0, &ear), KITH_ERR_INVALID);
    KITH_CHECK_EQ(open_at(home.rts[ANNE], "224.0.0.251:5353", 9, &ear), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(open_at(home.rts[ANNE], "[ff02::fb]:5353", 1, &ear), KITH_ERR_UNREACHABLE);
    kith__rt_member_send(home.ears[ANNE].member, (struct kith_slice) { large, sizeof large });
    kith__rt_member_send(home.ears[ANNE].member, (struct kith_slice) { large, 0 });
    run(&home);
    KITH_CHECK_EQ(home.ears[BEN].heard, 0);
    KITH_CHECK_EQ(kith__rt_member_stats(home.ears[ANNE].member).drop_sent, 2);
    kith__rt_member_send(home.ears[ANNE].member, (struct kith_slice) { large, KITH_RT_MULTICAST_SIZE_MAX });
    run(&home);
    KITH_CHECK_EQ(home.ears[BEN].last_size, KITH_RT_MULTICAST_SIZE_MAX);
    home_close(&home);
}

/* ---- The real one ---- */

KITH_TEST(multicast_members_on_a_real_interface_hear_each_other)
{
    static uint8_t large[5000] = { 7 }; /* in fragments, where the MTU asks for them */
    struct ear ears[2] = { 0 };
    struct kith_rt *rt;
    bool is_done = false;

    KITH_CHECK_EQ(kith__rt_uv_new(NULL, NULL, &rt), 0);
    for (int i = 0; i < 2; i++)
        KITH_CHECK_EQ(open_at(rt, "239.1.2.3:45353", if_nametoindex("lo"), &ears[i]), 0);
    kith__rt_member_send(ears[0].member, text("hello"));
    while (ears[0].heard < 1 || ears[1].heard < 1)
        KITH_CHECK_EQ(kith__rt_run(rt, &is_done, kith__rt_now(rt) + 20 * KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
    KITH_CHECK_BYTES(ears[1].last, "hello", 5);
    ears[0].closes = true;
    kith__rt_member_send(ears[1].member, (struct kith_slice) { large, sizeof large });
    while (ears[0].heard < 2 || ears[1].heard < 2)
        KITH_CHECK_EQ(kith__rt_run(rt, &is_done, kith__rt_now(rt) + 20 * KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(ears[1].last_size, sizeof large);
    KITH_CHECK(ears[0].member == NULL);
    kith__rt_member_close(ears[1].member);
    kith__rt_free(rt);
}
