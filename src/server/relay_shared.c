/* What all threads of a relay have in common. */
#include "server/relay_shared.h"

#include "base/assert.h"
#include "base/mem.h"

int kith__relay_shared_init(struct kith_relay_shared *shared, const struct kith_mem *mem,
                            const struct kith_relay_sync *sync, unsigned worker_count)
{
    int err;

    *shared = (struct kith_relay_shared) {
        .mem = mem, .sync = sync, .worker_count = worker_count, .version = "", .access_text = ""
    };
    shared->counters = kith__alloc_array(mem, worker_count + 1, sizeof *shared->counters);
    shared->gauges = kith__alloc_array(mem, worker_count, sizeof *shared->gauges);
    err = shared->counters == NULL || shared->gauges == NULL ? KITH_ERR_NOMEM
                                                             : kith__relay_lock_new(sync, &shared->lock);
    if (err == 0)
        err = kith__certs_shared_init(&shared->certs, mem, sync);
    if (err != 0)
        kith__relay_shared_dispose(shared);
    return err;
}

void kith__relay_shared_dispose(struct kith_relay_shared *shared)
{
    if (shared->mem == NULL)
        return;
    kith__certs_shared_dispose(&shared->certs);
    kith__relay_lock_free(shared->sync, shared->lock);
    kith__relay_admission_free(shared->admission);
    kith__free(shared->mem, shared->counters);
    kith__free(shared->mem, shared->gauges);
    *shared = (struct kith_relay_shared) { 0 };
}

void kith__relay_shared_count(const struct kith_relay_shared *shared, struct kith_relay_counters *sum)
{
    memset(sum, 0, sizeof *sum);
    for (unsigned i = 0; i <= shared->worker_count; i++)
        kith__relay_counters_add(sum, &shared->counters[i]);
}

uint64_t kith__relay_shared_gauge(const struct kith_relay_shared *shared, size_t offset)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < shared->worker_count; i++)
        sum += kith__relay_counter((_Atomic uint64_t *)(void *)((char *)&shared->gauges[i] + offset));
    return sum;
}

void kith__relay_shared_set_access(struct kith_relay_shared *shared, const char *text)
{
    kith__relay_lock(shared->sync, shared->lock);
    shared->access_text = text;
    kith__relay_unlock(shared->sync, shared->lock);
}

const char *kith__relay_shared_access(struct kith_relay_shared *shared)
{
    const char *text;

    kith__relay_lock(shared->sync, shared->lock);
    text = shared->access_text;
    kith__relay_unlock(shared->sync, shared->lock);
    return text;
}
