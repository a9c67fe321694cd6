#include "lookup_dht.h"

#include "base/assert.h"
#include <stdio.h>

enum { MEMORY_MAX = 64 << 20 };

void kith__simdht_open(struct kith_simdht *dht, struct kith_trial *trial)
{
    *dht = (struct kith_simdht) { .trial = trial };
    kith__simmem_init(&dht->mem, MEMORY_MAX);
    kith__trial_add_mem(trial, &dht->mem);
    for (unsigned i = 0; i < KITH_SIMDHT_NODES; i++) {
        struct kith_sim_host_options host = { .name = "node", .mem = &dht->mem.mem };
        struct kith_dht_options options = { .bootstrap = dht->bootstrap, .bootstrap_count = i != 0, .is_server = true };

        snprintf(dht->names[i], sizeof dht->names[i], "10.0.6.%u:%d", i + 1, KITH_DHT_PORT);
        host.addrs[0] = kith__trial_address(dht->names[i]);
        host.addrs[0].port = 0;
        dht->bootstrap[0] = dht->names[0];
        dht->bootstrap[1] = dht->names[1];
        kith__trial_choose_link(trial, &host.up);
        kith__trial_choose_link(trial, &host.down);
        KITH_ASSERT(kith__sim_host_new(trial->sim, &host, &dht->hosts[i]) == 0);
        KITH_ASSERT(kith__dht_new(kith__sim_rt(dht->hosts[i]), &options, &dht->nodes[i]) == 0);
    }
}

void kith__simdht_part(struct kith_simdht *dht, struct kith_sim_host *host, bool is_cut)
{
    for (size_t i = 0; i < KITH_SIMDHT_NODES; i++)
        KITH_ASSERT(kith__sim_set_partition(dht->trial->sim, host, dht->hosts[i], is_cut) == 0);
}

void kith__simdht_close(struct kith_simdht *dht)
{
    for (size_t i = 0; dht->trial != NULL && i < KITH_SIMDHT_NODES; i++) {
        kith__dht_free(dht->nodes[i]);
        dht->trial->check.sent += kith__sim_host_sent(dht->hosts[i]);
    }
}
