/*
 * The HTTP side of a lookup server: any bytes on a connection, cut into pieces, to a server in the simulated world. Whatever comes, the
 * server lives on and answers the next honest request, and every answer is an HTTP message.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "http/head.h"
#include "rt/sim/sim.h"
#include "server/dns_worker.h"
#include "zone/store_memory.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/** A server, and a client that remembers the first bytes of what it was told. */
struct rig {
    struct kith_sim *sim;
    struct kith_sim_host *hosts[2];
    struct kith_rt *client, *server;
    struct kith_dns_shared shared;
    struct kith_dns_scribe *scribe;
    struct kith_dns_worker *worker;
    struct kith_sockaddr at;
    char got[16];
    size_t got_size;
};

static void nobody(void *ctx)
{
    (void)ctx;
}

static void nobody_worker(void *ctx, unsigned worker)
{
    (void)ctx;
    (void)worker;
}

static void start_world(struct rig *rig)
{
    struct kith_sim_host_options host = { .name = "client" };

    KITH_ASSERT(kith__sim_new(NULL, NULL, 1, &rig->sim) == 0);
    KITH_ASSERT(kith_sockaddr_parse("10.0.0.1:0", &host.addrs[0]) == 0);
    KITH_ASSERT(kith__sim_host_new(rig->sim, &host, &rig->hosts[0]) == 0);
    host.name = "server";
    KITH_ASSERT(kith_sockaddr_parse("10.0.0.2:0", &host.addrs[0]) == 0);
    KITH_ASSERT(kith__sim_host_new(rig->sim, &host, &rig->hosts[1]) == 0);
    rig->client = kith__sim_rt(rig->hosts[0]);
    rig->server = kith__sim_rt(rig->hosts[1]);
    rig->at = host.addrs[0];
}

static void start(struct rig *rig)
{
    static const struct kith_dns_origin origin = { .name = "dns.test" };
    static const struct kith_dns_limits limits = { .put_limit = KITH_DNS_PUT_DISABLED };
    struct kith_store_memory_options memory = { .mem = kith_mem_default() };
    struct kith_dns_worker_options options = { .mem = kith_mem_default(), .shared = &rig->shared, .runs_scribe = true };
    struct kith_dns_scribe_options scribe = { .shared = &rig->shared,
                                              .wake_scribe = nobody,
                                              .wake_worker = nobody_worker };
    struct kith_zone_problem problem;
    struct kith_server_why why;
    struct kith_dns_rules *rules;
    struct kith_store *store;
    struct kith_zone *zone;

    start_world(rig);
    KITH_ASSERT(kith__store_memory_new(&memory, &store) == 0);
    KITH_ASSERT(kith__zone_new(kith_mem_default(), &origin, 1, &zone, &problem) == 0);
    KITH_ASSERT(kith__dns_rules_new(kith_mem_default(), &limits, 1, &rules, &why) == 0);
    KITH_ASSERT(kith__dns_shared_init(&rig->shared, kith_mem_default(), NULL, 1, store, zone, rules) == 0);
    scribe.log = &rig->server->log;
    KITH_ASSERT(kith__dns_scribe_new(&scribe, &rig->scribe) == 0);
    options.rt = rig->server;
    options.scribe = rig->scribe;
    KITH_ASSERT(kith__dns_worker_new(&options, &rig->worker) == 0);
    KITH_ASSERT(kith__dns_worker_listen(rig->worker, KITH_DNS_DOOR_HTTP, &rig->at, false, &rig->at) == 0);
}

static void stop(struct rig *rig)
{
    kith__dns_worker_free(rig->worker);
    kith__dns_scribe_free(rig->scribe);
    kith__dns_shared_dispose(&rig->shared);
    kith__rt_free(rig->client);
    kith__rt_free(rig->server);
    kith__sim_free(rig->sim);
}

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct rig *rig = ctx;
    size_t more = size < sizeof rig->got - rig->got_size ? size : sizeof rig->got - rig->got_size;

    memcpy(rig->got + rig->got_size, bytes, more);
    rig->got_size += more;
}

static void pass(struct rig *rig, uint64_t ns)
{
    KITH_ASSERT(kith__sim_run(rig->sim, NULL, NULL, kith__sim_now(rig->sim) + ns) == KITH_SIM_OK);
}

/* Says all of it in two pieces, and waits for what comes. */
static void say(struct rig *rig, const uint8_t *bytes, size_t size, size_t cut)
{
    struct kith_rt_stream_events events = { .on_data = on_data, .ctx = rig };
    struct kith_rt_stream_addr to = { .ip = rig->at };
    struct kith_rt_stream *stream;

    rig->got_size = 0;
    KITH_ASSERT(kith__rt_stream_connect(rig->client, &to, &events, &stream) == 0);
    pass(rig, KITH_NS_PER_MS);
    kith__rt_stream_read_start(stream);
    for (size_t at = 0; at < size;) {
        size_t piece = at < cut ? cut - at : size - at;

        if (kith__rt_stream_write(stream, bytes + at, piece) != 0)
            break; /* the server has had enough */
        at += piece;
        pass(rig, KITH_NS_PER_MS);
    }
    pass(rig, 10 * KITH_NS_PER_MS);
    kith__rt_stream_close(stream);
    pass(rig, KITH_NS_PER_MS);
    KITH_ASSERT(rig->got_size == 0 || memcmp(rig->got, "HTTP/1.1 ", rig->got_size < 9 ? rig->got_size : 9) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char honest[] = "GET /healthcheck HTTP/1.1\r\nhost: x\r\n\r\n";
    static struct rig rig;
    size_t cut;

    if (size < 2 || size > 100000)
        return 0;
    memset(&rig, 0, sizeof rig);
    start(&rig);
    cut = ((size_t)bytes[0] << 8 | bytes[1]) % (size - 1);
    say(&rig, bytes + 2, size - 2, cut < size - 2 ? cut : 0);
    say(&rig, (const uint8_t *)honest, sizeof honest - 1, 0);
    KITH_ASSERT(rig.got_size == sizeof rig.got && memcmp(rig.got, "HTTP/1.1 200 OK\r", 16) == 0);
    stop(&rig);
    return 0;
}
