/* Address discovery in virtual time: what is asked, kept, told and given up. The relays are the engine with certificates. */
#include "endpoint/discovery.h"

#include "base/mem.h"
#include "base/test.h"
#include "quic/host/x509.h"
#include "rt/sim/sim.h"
#include "tls/selfmade.h"

#include <string.h>
#include <time.h>

enum { RELAYS = 3, PORT = 7842 };

/** The address discovery of a relay: answers every handshake. */
struct server {
    struct kith_sim_host *host;
    struct kith_driver *driver;
    struct kith_quic_conn *last; /* the newest connection */
    uint64_t accepted, live, finished, left;
};

struct world {
    struct kith_sim *sim;
    struct kith_sim_nat *nat;
    struct server servers[RELAYS];
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_driver *driver;
    struct kith_discovery *discovery;
    struct kith_selfmade authority;
    uint64_t foreign_events, changes, results;
    uint64_t latency_ns[RELAYS];
    int errs[RELAYS];
    char why[RELAYS][192];
};

static struct world world_d;
static const struct kith_slice alpn = { (const uint8_t *)KITH_DISCOVERY_ALPN, sizeof KITH_DISCOVERY_ALPN - 1 };

/* ---- Servers ---- */

static void on_server_event(void *ctx, const struct kith_quic_event *event)
{
    struct server *server = ctx;
    struct kith_quic_close_info info;

    if (event->kind == KITH_QUIC_INCOMING) {
        KITH_CHECK_EQ(kith_quic_incoming_accept(event->incoming, NULL, kith__sim_now(world_d.sim), &server->last), 0);
        server->accepted++;
        server->live++;
    } else if (event->kind == KITH_QUIC_CLOSED) {
        KITH_CHECK_EQ(kith_quic_conn_close_info(event->conn, &info), 0);
        server->finished += info.by_peer && info.is_application && info.code == 1 && info.reason.size == 8;
        server->left += info.by_peer && info.is_application && info.code == 0 && info.reason.size == 0;
        server->live--;
    } else if (event->kind == KITH_QUIC_DRAINED) {
        kith_quic_conn_free(event->conn);
    }
}

static void server_open(size_t index, const char *name)
{
    struct server *server = &world_d.servers[index];
    struct kith_selfmade made = { { .mem = kith_mem_default() }, { .mem = kith_mem_default() } };
    struct kith_sockaddr bind = kith__sim_interface_addr(server->host, 0, 0);
    struct kith_quic_host_options host;
    struct kith_driver_options options = { .mem = kith_mem_default(),
                                           .rt = kith__sim_rt(server->host),
                                           .host = &host,
                                           .binds = &bind,
                                           .bind_count = 1,
                                           .on_event = on_server_event,
                                           .ctx = server };
    struct kith_tls_x509 x509;

    kith_quic_host_defaults(&host);
    host.secret.bytes[0] = (uint8_t)(index + 10);
    host.alpns = &alpn;
    host.alpn_count = 1;
    host.transport.observed_address = KITH_QUIC_OBSERVED_SEND;
    bind.port = PORT;
    KITH_CHECK_EQ(kith__driver_new(&options, &server->driver), 0);
    KITH_CHECK_EQ(kith__selfmade_server(kith_mem_default(), kith__buf_slice(&world_d.authority.certificate),
                                        kith__buf_slice(&world_d.authority.key), &name, 1, (uint64_t)time(NULL), &made),
                  0);
    x509 = (struct kith_tls_x509) { .chain = kith__buf_slice(&made.certificate), .key = kith__buf_slice(&made.key) };
    KITH_CHECK_EQ(kith__host_set_x509(kith__driver_host(server->driver), &x509), 0);
    kith__selfmade_dispose(&made);
}

static void server_close(size_t index)
{
    kith__driver_free(world_d.servers[index].driver);
    world_d.servers[index] = (struct server) { .host = world_d.servers[index].host };
}

/* ---- The endpoint ---- */

static void on_event(void *ctx, const struct kith_quic_event *event)
{
    (void)ctx;
    world_d.foreign_events += !kith__discovery_on_event(world_d.discovery, event);
}

static void on_latency(void *ctx, size_t index, uint64_t rtt_ns)
{
    (void)ctx;
    world_d.latency_ns[index] = rtt_ns;
}

static void on_result(void *ctx, size_t index, int err, const char *why)
{
    (void)ctx;
    world_d.results++;
    world_d.errs[index] = err;
    strcpy(world_d.why[index], why);
}

static void on_change(void *ctx)
{
    (void)ctx;
    world_d.changes++;
}

static void add_host(const char *name, const char *address, struct kith_sim_nat *nat, uint64_t delay_ns,
                     const struct kith_mem *mem, struct kith_sim_host **out)
{
    struct kith_sim_host_options options = {
        .name = name, .nat = nat, .up = { .delay_ns = delay_ns }, .down = { .delay_ns = delay_ns }, .mem = mem
    };

    KITH_CHECK_EQ(kith_sockaddr_parse(address, &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(world_d.sim, &options, out), 0);
}

/** Three relays ("r1.test" is 10.0.0.1, 10 ms away), none of which serves yet; an endpoint behind a NAT of that kind. */
static void world_open(uint8_t mapping, const struct kith_mem *mem)
{
    struct kith_sim_nat_options nat = { .mapping = mapping, .filtering = KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT };
    static const char *const names[RELAYS] = { "r1.test", "r2.test.", "r3.test" };
    static const char *const addresses[RELAYS] = { "10.0.0.1:0", "10.0.0.2:0", "10.0.0.3:0" };

    memset(&world_d, 0, sizeof world_d);
    world_d.authority = (struct kith_selfmade) { { .mem = kith_mem_default() }, { .mem = kith_mem_default() } };
    KITH_CHECK_EQ(kith__selfmade_authority(kith_mem_default(), "test", (uint64_t)time(NULL), &world_d.authority), 0);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, kith__test_seed(3), &world_d.sim), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("203.0.113.7:0", &nat.outer), 0);
    KITH_CHECK_EQ(kith__sim_nat_new(world_d.sim, &nat, &world_d.nat), 0);
    for (size_t i = 0; i < RELAYS; i++)
        add_host(names[i], addresses[i], NULL, (10 + 5 * i) * KITH_NS_PER_MS / 2, NULL, &world_d.servers[i].host);
    add_host("endpoint", "192.168.0.2:0", world_d.nat, 0, mem, &world_d.host);
    world_d.rt = kith__sim_rt(world_d.host);
}

/** The endpoint asks so many relays. Errors of what it is made of. */
static int begin(size_t relays, const struct kith_mem *mem)
{
    static const char *const names[RELAYS] = { "r1.test", "r2.test.", "10.0.0.3" };
    struct kith_sockaddr bind = kith__sim_interface_addr(world_d.host, 0, 0);
    struct kith_quic_host_options host;
    struct kith_driver_options driver = {
        .mem = mem, .rt = world_d.rt, .host = &host, .binds = &bind, .bind_count = 1, .on_event = on_event
    };
    struct kith_discovery_events events = { on_latency, on_result, on_change, NULL };
    struct kith_discovery_options options = { .rt = world_d.rt };
    int err;

    kith_quic_host_defaults(&host);
    host.secret.bytes[0] = 1;
    bind.port = 4433;
    if ((err = kith__driver_new(&driver, &world_d.driver)) != 0)
        return err;
    options.driver = world_d.driver;
    options.trust.anchors = kith__buf_slice(&world_d.authority.certificate);
    if ((err = kith__discovery_new(&options, &events, &world_d.discovery)) != 0)
        return err;
    for (size_t i = 0; err == 0 && i < relays; i++)
        err = kith__discovery_add(world_d.discovery,
                                  (struct kith_slice) { (const uint8_t *)names[i], strlen(names[i]) }, PORT);
    return err;
}

static void end(void)
{
    kith__discovery_free(world_d.discovery);
    kith__driver_free(world_d.driver);
    world_d.discovery = NULL;
    world_d.driver = NULL;
}

static void world_close(void)
{
    end();
    for (size_t i = 0; i < RELAYS; i++) {
        kith__driver_free(world_d.servers[i].driver);
        kith__rt_free(kith__sim_rt(world_d.servers[i].host));
    }
    kith__rt_free(world_d.rt);
    kith__sim_free(world_d.sim);
    kith__selfmade_dispose(&world_d.authority);
}

static void pass(uint64_t ns)
{
    KITH_CHECK_EQ(kith__sim_run(world_d.sim, NULL, NULL, kith__sim_now(world_d.sim) + ns), KITH_SIM_OK);
}

/** What is known now; until the next call. */
static const struct kith_discovery_side *v4(void)
{
    static struct kith_discovery_side side;

    side = kith__discovery_side(world_d.discovery, KITH_FAMILY_V4);
    return &side;
}

static bool is_outer(const struct kith_sockaddr *address)
{
    static const uint8_t outer[4] = { 203, 0, 113, 7 };

    return address->family == KITH_FAMILY_V4 && memcmp(address->ip, outer, 4) == 0 && address->port != 0;
}

/* ---- Tests ---- */

KITH_TEST(discovery_learns_the_outer_address_and_keeps_one_connection)
{
    uint64_t opened, live;

    world_open(KITH_SIM_NAT_ENDPOINT_INDEPENDENT, NULL);
    server_open(0, "r1.test");
    server_open(1, "r2.test");
    server_open(2, "10.0.0.3");
    KITH_CHECK_EQ(begin(3, kith_mem_default()), 0);
    pass(KITH_NS_PER_S);
    KITH_CHECK(is_outer(&v4()->address));
    KITH_CHECK_EQ(v4()->mapping, KITH_DISCOVERY_MAPPING_SAME);
    KITH_CHECK_EQ(world_d.changes, 2); /* the address, then that it is the same for all */
    KITH_CHECK_EQ(world_d.results, 3);
    for (size_t i = 0; i < RELAYS; i++) {
        KITH_CHECK_EQ(world_d.errs[i], 0);
        KITH_CHECK_EQ(world_d.latency_ns[i], (10 + 5 * i) * KITH_NS_PER_MS);
    }
    KITH_CHECK_EQ(world_d.servers[0].live, 1); /* the fastest one */
    KITH_CHECK_EQ(world_d.servers[1].finished, 1);
    KITH_CHECK_EQ(world_d.servers[2].finished, 1);
    pass(2 * KITH_NS_PER_S);
    kith__discovery_conns(world_d.discovery, &opened, &live);
    KITH_CHECK_EQ(opened, 3);
    KITH_CHECK_EQ(live, 1);
    /* It lives through the next rounds, which use it again and ask only the others. */
    pass(2 * KITH_DISCOVERY_EVERY_NS);
    KITH_CHECK_EQ(world_d.servers[0].accepted, 1);
    KITH_CHECK_EQ(world_d.servers[1].accepted, 3);
    KITH_CHECK_EQ(world_d.changes, 2);
    KITH_CHECK_EQ(world_d.foreign_events, 0);
    kith__discovery_leave(world_d.discovery);
    kith__driver_pump(world_d.driver);
    pass(KITH_NS_PER_S);
    KITH_CHECK_EQ(world_d.servers[0].left, 1);
    world_close();
}

KITH_TEST(discovery_tells_a_mapping_that_varies)
{
    world_open(KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT, NULL);
    server_open(0, "r1.test");
    server_open(1, "r2.test");
    KITH_CHECK_EQ(begin(2, kith_mem_default()), 0);
    pass(KITH_NS_PER_S);
    KITH_CHECK(is_outer(&v4()->address));
    KITH_CHECK_EQ(v4()->mapping, KITH_DISCOVERY_MAPPING_VARIES);
    world_close();
}

KITH_TEST(discovery_follows_a_new_address_over_the_kept_connection)
{
    struct kith_sockaddr before;

    world_open(KITH_SIM_NAT_ENDPOINT_INDEPENDENT, NULL);
    server_open(0, "r1.test");
    KITH_CHECK_EQ(begin(1, kith_mem_default()), 0);
    pass(KITH_NS_PER_S);
    before = v4()->address;
    KITH_CHECK(is_outer(&before));
    kith__sim_nat_rebind(world_d.nat);
    pass(2 * KITH_DISCOVERY_KEEP_NS);
    KITH_CHECK(is_outer(&v4()->address) && !kith_sockaddr_equal(&before, &v4()->address));
    KITH_CHECK_EQ(world_d.servers[0].accepted, 1);
    /* A change of the network is not waited for so long. */
    before = v4()->address;
    kith__sim_nat_rebind(world_d.nat);
    kith__discovery_refresh(world_d.discovery);
    pass(KITH_NS_PER_S);
    KITH_CHECK(is_outer(&v4()->address) && !kith_sockaddr_equal(&before, &v4()->address));
    KITH_CHECK_EQ(world_d.servers[0].accepted, 2);
    world_close();
}

KITH_TEST(discovery_gives_up_in_time_and_says_why)
{
    uint64_t opened, live;

    world_open(KITH_SIM_NAT_ENDPOINT_INDEPENDENT, NULL);
    server_open(1, "another.test"); /* the certificate of someone else */
    KITH_CHECK_EQ(begin(3, kith_mem_default()), 0);
    pass(KITH_DISCOVERY_LIMIT_NS - KITH_NS_PER_MS);
    KITH_CHECK_EQ(world_d.results, 0);
    pass(2 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(world_d.results, 3);
    KITH_CHECK_EQ(world_d.errs[0], KITH_ERR_TIMEOUT);
    KITH_CHECK(strstr(world_d.why[0], "UDP") != NULL);
    KITH_CHECK_EQ(world_d.errs[1], KITH_ERR_WRONG_PEER);
    KITH_CHECK_EQ(world_d.errs[2], KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(v4()->address.family, KITH_FAMILY_NONE);
    pass(2 * KITH_NS_PER_S);
    kith__discovery_conns(world_d.discovery, &opened, &live);
    KITH_CHECK_EQ(live, 0);
    /* One that serves from now on is found. */
    server_open(0, "r1.test");
    pass(2 * KITH_DISCOVERY_AGAIN_NS);
    KITH_CHECK(is_outer(&v4()->address));
    world_close();
}

KITH_TEST(discovery_goes_to_another_relay_when_the_kept_one_ends)
{
    world_open(KITH_SIM_NAT_ENDPOINT_INDEPENDENT, NULL);
    server_open(0, "r1.test");
    server_open(1, "r2.test");
    KITH_CHECK_EQ(begin(2, kith_mem_default()), 0);
    pass(60 * KITH_NS_PER_S);
    kith_quic_conn_close(world_d.servers[0].last, 1, (struct kith_slice) { (const uint8_t *)"\x1b[31m", 5 },
                         kith__sim_now(world_d.sim));
    kith__driver_pump(world_d.servers[0].driver);
    pass(KITH_NS_PER_S / 2);
    KITH_CHECK(is_outer(&v4()->address)); /* nobody said that it is another one */
    server_close(0);
    pass(KITH_DISCOVERY_LOST_NS + KITH_NS_PER_S);
    KITH_CHECK_EQ(world_d.servers[1].live, 1);
    KITH_CHECK(is_outer(&v4()->address));
    /* Without any the address is not told any longer. */
    server_close(1);
    pass(KITH_DISCOVERY_IDLE_NS + 2 * KITH_DISCOVERY_KEEP_NS);
    KITH_CHECK_EQ(v4()->address.family, KITH_FAMILY_NONE);
    world_close();
}

KITH_TEST(discovery_survives_every_failed_allocation)
{
    struct kith_test_mem mem;

    for (uint64_t n = 1; n < 160; n++) {
        kith__test_mem_init(&mem, 0);
        world_open(KITH_SIM_NAT_ENDPOINT_INDEPENDENT, &mem.mem);
        server_open(0, "r1.test");
        server_open(1, "r2.test");
        mem.fail_at = mem.calls + n;
        if (begin(2, &mem.mem) == 0) {
            pass(20 * KITH_NS_PER_S); /* whatever fails, the next round gets there */
            KITH_CHECK(is_outer(&v4()->address));
        }
        world_close();
        KITH_CHECK_EQ(mem.live, 0);
    }
}
