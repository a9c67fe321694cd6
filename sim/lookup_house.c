#include "lookup_house.h"

#include "base/assert.h"
#include "server/dns_parts.h"
#include "zone/store_memory.h"

#include <stdio.h>
#include <string.h>

enum { MEMORY_MAX = 64 << 20 };

/* ---- The disk ---- */

static struct kith_simdns_disk *disk_of(struct kith_store *store)
{
    return (struct kith_simdns_disk *)(void *)store;
}

static const struct kith_pkarr *old_of(const struct kith_simdns_disk *disk, const struct kith_id *id)
{
    for (size_t i = 0; i < disk->old_count; i++)
        if (memcmp(disk->old[i].bytes, id->bytes, KITH_ID_SIZE) == 0)
            return &disk->old[i];
    return NULL;
}

/* Nobody is to be told that there is nothing to tell, unless it was told before. */
static bool is_empty(const struct kith_pkarr *packet)
{
    struct kith_lookup_info info;
    size_t ignored;
    bool is;

    KITH_ASSERT(kith__pkarr_info(packet, kith_mem_default(), &info, &ignored) == 0);
    is = info.addr.count == 0;
    kith__lookup_info_dispose(&info);
    return is;
}

static int disk_put(struct kith_store *store, const struct kith_pkarr *packet, uint64_t arrived_us,
                    enum kith_store_put *how)
{
    struct kith_simdns_disk *disk = disk_of(store);
    struct kith_id id = kith__pkarr_id(packet);
    int err = disk->inner->ops->put(disk->inner, packet, arrived_us, how);

    if (err == 0 && *how == KITH_STORE_INSERTED && is_empty(packet))
        kith__sim_wrong(KITH_CONTAINER(disk, struct kith_simdns, disk)->trial->sim,
                        "a packet without an address was put where there was nothing");
    if (err == 0 && *how == KITH_STORE_INSERTED && old_of(disk, &id) == NULL && disk->old_count < KITH_SIMDNS_OLD_MAX)
        disk->old[disk->old_count++] = *packet;
    return err;
}

static int disk_commit(struct kith_store *store)
{
    return disk_of(store)->inner->ops->commit(disk_of(store)->inner);
}

static int disk_get(struct kith_store *store, const struct kith_id *id, struct kith_pkarr *out, uint64_t *arrived_us)
{
    struct kith_simdns_disk *disk = disk_of(store);
    int err = disk->inner->ops->get(disk->inner, id, out, arrived_us);
    const struct kith_pkarr *old;

    if (disk->lie == KITH_SIMDNS_HONEST || err != 0)
        return err;
    disk->lies++;
    if (disk->lie == KITH_SIMDNS_DENIES)
        return KITH_ERR_NOT_FOUND;
    if (disk->lie == KITH_SIMDNS_OLD && (old = old_of(disk, id)) != NULL)
        *out = *old;
    if (disk->lie == KITH_SIMDNS_FORGED) {
        *out = disk->liar;
        memcpy(out->bytes, id->bytes, KITH_ID_SIZE);
    }
    return 0;
}

static int disk_expire(struct kith_store *store, uint64_t before_us, size_t max, size_t *count)
{
    return disk_of(store)->inner->ops->expire(disk_of(store)->inner, before_us, max, count);
}

static int disk_scan(struct kith_store *store,
                     bool (*each)(void *ctx, const struct kith_pkarr *packet, uint64_t arrived_us), void *ctx)
{
    return disk_of(store)->inner->ops->scan(disk_of(store)->inner, each, ctx);
}

static void disk_stats(struct kith_store *store, struct kith_store_stats *out)
{
    disk_of(store)->inner->ops->stats(disk_of(store)->inner, out);
}

/* The process lets go of it; what is on it stays. */
static void disk_free(struct kith_store *store)
{
    (void)store;
}

static const struct kith_store_ops disk_ops = {
    .put = disk_put,
    .commit = disk_commit,
    .get = disk_get,
    .expire = disk_expire,
    .scan = disk_scan,
    .stats = disk_stats,
    .free = disk_free,
};

static void disk_new(struct kith_simdns *dns)
{
    struct kith_store_memory_options options = { .mem = &dns->disk_mem.mem, .seed = dns->trial->seed };

    KITH_ASSERT(kith__store_memory_new(&options, &dns->disk.inner) == 0);
}

void kith__simdns_wipe(struct kith_simdns *dns)
{
    KITH_ASSERT(dns->worker == NULL);
    kith__trial_note(dns->trial, "a lookup server has lost its disk");
    dns->disk.inner->ops->free(dns->disk.inner);
    disk_new(dns);
}

bool kith__simdns_stored(struct kith_simdns *dns, const struct kith_id *id, struct kith_pkarr *out)
{
    return dns->disk.inner->ops->get(dns->disk.inner, id, out, NULL) == 0;
}

/* ---- Life ---- */

static void nobody(void *ctx)
{
    (void)ctx;
}

static void nobody_worker(void *ctx, unsigned worker)
{
    (void)ctx;
    (void)worker;
}

static void make_shared(struct kith_simdns *dns)
{
    static const struct kith_dns_origin origin = { .name = KITH_SIMDNS_ORIGIN };
    struct kith_dns_scribe_options scribe = { .shared = &dns->shared,
                                              .wake_scribe = nobody,
                                              .wake_worker = nobody_worker,
                                              .log = &kith__sim_rt(dns->host)->log };
    struct kith_zone_problem problem;
    struct kith_dns_rules *rules;
    struct kith_server_why why;
    struct kith_zone *zone;

    KITH_ASSERT(kith__zone_new(&dns->mem.mem, &origin, 1, &zone, &problem) == 0);
    KITH_ASSERT(kith__dns_rules_new(&dns->mem.mem, &dns->limits, dns->trial->seed, &rules, &why) == 0);
    KITH_ASSERT(kith__dns_shared_init(&dns->shared, &dns->mem.mem, NULL, 1, &dns->disk.store, zone, rules) == 0);
    dns->shared.version = "sim";
    KITH_ASSERT(kith__dns_scribe_new(&scribe, &dns->scribe) == 0);
}

void kith__simdns_start(struct kith_simdns *dns)
{
    struct kith_sockaddr at = kith__sim_interface_addr(dns->host, 0, 0), bound;
    struct kith_dns_worker_options options = {
        .rt = kith__sim_rt(dns->host), .mem = &dns->mem.mem, .shared = &dns->shared, .runs_scribe = true
    };

    KITH_ASSERT(dns->worker == NULL);
    kith__trial_note(dns->trial, "a lookup server starts");
    kith__sim_host_set_down(dns->host, false);
    make_shared(dns);
    options.scribe = dns->scribe;
    KITH_ASSERT(kith__dns_worker_new(&options, &dns->worker) == 0);
    at.port = 80;
    KITH_ASSERT(kith__dns_worker_listen(dns->worker, KITH_DNS_DOOR_HTTP, &at, false, &bound) == 0);
    at.port = 53;
    KITH_ASSERT(kith__dns_worker_serve(dns->worker, &at, false, &dns->dns) == 0);
}

void kith__simdns_open(struct kith_simdns *dns, struct kith_trial *trial, unsigned number,
                       const struct kith_dns_limits *limits)
{
    struct kith_sim_host_options options = { .name = dns->name, .mem = &dns->rt_mem.mem };
    char address[32];

    *dns = (struct kith_simdns) { .trial = trial, .disk = { .store = { &disk_ops } } };
    if (limits != NULL)
        dns->limits = *limits;
    kith__simmem_init(&dns->mem, MEMORY_MAX);
    kith__simmem_init(&dns->rt_mem, MEMORY_MAX);
    kith__simmem_init(&dns->disk_mem, MEMORY_MAX);
    kith__trial_add_mem(trial, &dns->rt_mem);
    disk_new(dns);
    snprintf(dns->name, sizeof dns->name, "dns%u", number);
    snprintf(address, sizeof address, "10.0.8.%u:0", number);
    snprintf(dns->url, sizeof dns->url, "http://10.0.8.%u/pkarr", number);
    options.addrs[0] = kith__trial_address(address);
    kith__trial_choose_link(trial, &options.up);
    kith__trial_choose_link(trial, &options.down);
    KITH_ASSERT(kith__sim_host_new(trial->sim, &options, &dns->host) == 0);
    kith__simdns_start(dns);
}

/* ---- Accounts ---- */

static void add_counters(const struct kith_dns_counters *from, struct kith_dns_counters *to)
{
#define ADD(field, help) to->field += from->field;
    KITH_DNS_COUNTERS(ADD)
#undef ADD
}

struct kith_dns_counters kith__simdns_counted(const struct kith_simdns *dns)
{
    struct kith_dns_counters sum = { 0 }, now;

    add_counters(&dns->lives, &sum);
    if (dns->worker != NULL) {
        kith__dns_shared_count(&dns->shared, &now);
        add_counters(&now, &sum);
    }
    return sum;
}

static void demand(struct kith_simdns *dns, bool fact, const char *text)
{
    if (!fact)
        kith__sim_wrong(dns->trial->sim, text);
}

void kith__simdns_check(struct kith_simdns *dns)
{
    const struct kith_dns_worker *worker = dns->worker;
    struct kith_rt_udp_stats udp;
    struct kith_dns_counters c;

    demand(dns, dns->mem.refused + dns->rt_mem.refused + dns->disk_mem.refused == 0,
           "a lookup server takes more memory than its limit");
    if (worker == NULL)
        return;
    dns->trial->check.walks++;
    kith__dns_shared_count(&dns->shared, &c);
    udp = kith__rt_udp_stats(worker->sockets[0].udp);
    demand(dns, udp.received_datagrams == c.dns_requests_udp, "a datagram of a lookup server is no counted query");
    demand(dns,
           c.dns_requests_udp == udp.sent_datagrams + c.dns_limited_dropped + c.dns_unsent + c.dns_ignored +
                                     worker->wait_count + c.dht_refused,
           "a query over UDP is neither answered nor counted as dropped");
    demand(dns, c.dns_requests == c.dns_requests_udp + c.dns_requests_tcp + c.dns_requests_https,
           "a query came by no way");
    demand(dns,
           c.dns_requests == c.dns_lookup_success + c.dns_lookup_notfound + c.dns_lookup_error + c.dns_ignored +
                                 c.dns_limited_dropped + c.dns_limited_truncated + worker->wait_count + c.dht_refused,
           "a query has no outcome");
    demand(dns, c.http_requests >= c.http_requests_success + c.http_requests_error,
           "more HTTP requests were answered than came");
    demand(dns, c.http_requests - c.http_requests_success - c.http_requests_error >= worker->put_count,
           "a packet waits without a request");
}

/* ---- Death ---- */

void kith__simdns_kill(struct kith_simdns *dns, bool with_machine)
{
    struct kith_dns_counters c;

    if (dns->worker == NULL)
        return;
    kith__simdns_check(dns);
    kith__trial_note(dns->trial, with_machine ? "a lookup server loses its power" : "a lookup server is killed");
    if (with_machine)
        kith__sim_host_set_down(dns->host, true);
    else
        kith__sim_tcp_reset_all(dns->host);
    kith__dns_shared_count(&dns->shared, &c);
    add_counters(&c, &dns->lives);
    kith__dns_worker_free(dns->worker);
    dns->worker = NULL;
    kith__dns_scribe_free(dns->scribe);
    kith__dns_shared_dispose(&dns->shared);
    demand(dns, dns->mem.live == 0, "a lookup server has not given back all of its memory");
}

void kith__simdns_close(struct kith_simdns *dns)
{
    kith__simdns_kill(dns, false);
    dns->trial->check.sent += kith__sim_host_sent(dns->host);
    dns->disk.inner->ops->free(dns->disk.inner);
    demand(dns, dns->disk_mem.live == 0, "a store has not given back all of its memory");
}

void kith__simdns_cut(struct kith_simdns *dns, bool is_cut)
{
    kith__trial_note(dns->trial, is_cut ? "a lookup server is cut off" : "a lookup server is connected again");
    kith__sim_host_up(dns->host)->is_cut = is_cut;
    kith__sim_host_down(dns->host)->is_cut = is_cut;
}
