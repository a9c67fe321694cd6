/* What all threads of a lookup server have in common. */
#include "server/dns_shared.h"

#include "base/assert.h"
#include "base/mem.h"
#include "relay/counters.h"

int kith__dns_shared_init(struct kith_dns_shared *shared, const struct kith_mem *mem, const struct kith_sync *sync,
                          unsigned worker_count, struct kith_store *store, struct kith_zone *zone,
                          struct kith_dns_rules *rules)
{
    int err;

    *shared = (struct kith_dns_shared) { .mem = mem,
                                         .sync = sync,
                                         .version = "",
                                         .store = store,
                                         .worker_count = worker_count,
                                         .zone = zone,
                                         .rules = rules };
    if (sync != NULL)
        shared->relay_sync.locks = *sync;
    shared->counters = kith__alloc_array(mem, worker_count + 2, sizeof *shared->counters);
    err = shared->counters == NULL ? KITH_ERR_NOMEM : kith__sync_lock_new(sync, &shared->lock);
    if (err == 0)
        err = kith__certs_shared_init(&shared->certs, mem, sync != NULL ? &shared->relay_sync : NULL);
    atomic_init(&shared->generation, 1);
    if (err != 0)
        kith__dns_shared_dispose(shared);
    return err;
}

void kith__dns_shared_dispose(struct kith_dns_shared *shared)
{
    if (shared->mem == NULL)
        return;
    kith__certs_shared_dispose(&shared->certs);
    kith__dns_rules_release(shared->rules);
    kith__zone_release(shared->zone);
    if (shared->store != NULL)
        shared->store->ops->free(shared->store);
    kith__sync_lock_free(shared->sync, shared->lock);
    kith__free(shared->mem, shared->counters);
    *shared = (struct kith_dns_shared) { 0 };
}

void kith__dns_shared_set(struct kith_dns_shared *shared, struct kith_zone *zone, struct kith_dns_rules *rules)
{
    struct kith_zone *old_zone = NULL;
    struct kith_dns_rules *old_rules = NULL;

    kith__sync_lock(shared->sync, shared->lock);
    if (zone != NULL) {
        old_zone = shared->zone;
        shared->zone = zone;
    }
    if (rules != NULL) {
        old_rules = shared->rules;
        shared->rules = rules;
    }
    atomic_fetch_add_explicit(&shared->generation, 1, memory_order_release);
    kith__sync_unlock(shared->sync, shared->lock);
    kith__zone_release(old_zone);
    kith__dns_rules_release(old_rules);
}

bool kith__dns_shared_refresh(struct kith_dns_shared *shared, uint64_t *generation, struct kith_zone **zone,
                              struct kith_dns_rules **rules)
{
    uint64_t now = atomic_load_explicit(&shared->generation, memory_order_acquire);

    if (now == *generation)
        return false;
    kith__zone_release(*zone);
    kith__dns_rules_release(*rules);
    kith__sync_lock(shared->sync, shared->lock);
    *generation = atomic_load_explicit(&shared->generation, memory_order_relaxed);
    *zone = kith__zone_retain(shared->zone);
    *rules = kith__dns_rules_retain(shared->rules);
    kith__sync_unlock(shared->sync, shared->lock);
    return true;
}

void kith__dns_shared_count(const struct kith_dns_shared *shared, struct kith_dns_counters *sum)
{
    memset(sum, 0, sizeof *sum);
#define KITH_DNS_COUNTER_ADD(field, help) kith__dns_count(&sum->field, kith__dns_counter(&shared->counters[i].field));
    for (unsigned i = 0; i < shared->worker_count + 2; i++) {
        KITH_DNS_COUNTERS(KITH_DNS_COUNTER_ADD)
    }
#undef KITH_DNS_COUNTER_ADD
}

int kith__dns_metrics_write(const struct kith_dns_shared *shared, uint64_t now_ns, struct kith_buf *out)
{
    static const char prefix[] = "dns_server_", end[] = "# EOF\n";
    const struct {
        const char *name, *help;
        uint64_t value;
    } gauges[] = {
        { "cache_zones", "Packets in the store now", kith__dns_counter(&shared->packets) },
        { "cache_zones_dht", "Keys of the DHT that are remembered now", kith__dns_counter(&shared->cache_dht) },
        { "store_bytes", "Size of the store now", kith__dns_counter(&shared->store_bytes) },
        { "workers", "Threads that serve clients", shared->worker_count },
        { "uptime_seconds", "Seconds since the start", (now_ns - shared->started_ns) / KITH_NS_PER_S },
        { "certificate_ends_seconds", "End of the certificate in use, in seconds since 1970; 0 without one",
          kith__dns_counter(&shared->certs.certificate_ends_s) },
        { "certificate_loads", "Certificates taken over since the start", kith__dns_counter(&shared->certs.reloads) },
        { "certificate_failures", "Tries to get a certificate that failed",
          kith__dns_counter(&shared->certs.failures) },
    };
    struct kith_dns_counters sum;
    size_t before = out->size;
    int err = 0;

    kith__dns_shared_count(shared, &sum);
#define KITH_DNS_COUNTER_WRITE(field, help)                                                                            \
    if (err == 0)                                                                                                      \
        err = kith__metric_write(out, prefix, #field, help, true, kith__dns_counter(&sum.field));
    KITH_DNS_COUNTERS(KITH_DNS_COUNTER_WRITE)
#undef KITH_DNS_COUNTER_WRITE
    for (size_t i = 0; err == 0 && i < KITH_COUNT(gauges); i++)
        err = kith__metric_write(out, prefix, gauges[i].name, gauges[i].help, false, gauges[i].value);
    if (err == 0)
        err = kith__buf_append(out, end, sizeof end - 1);
    if (err != 0)
        out->size = before;
    return err;
}
