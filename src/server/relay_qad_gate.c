/* Who may begin a handshake of address discovery. */
#include "server/relay_qad.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

/* Rates may be below one a second: a bucket counts thousandths. */
enum { UNIT = 1000, RATE_MAX = 1000000 /* a second; more is as good as no limit */ };

struct source {
    struct kith_list node; /* seen last first */
    uint8_t key[9];        /* family; address, of IPv6 the first half: a host usually has all of its /64 */
    struct kith_relay_bucket bucket;
};

struct kith_relay_qad_gate {
    const struct kith_mem *mem;
    struct kith_map map;
    struct kith_list sources;
    size_t count;
    struct kith_relay_bucket all;
    uint64_t per_ip;
};

static void key_of(const struct kith_sockaddr *remote, uint8_t key[9])
{
    memset(key, 0, 9);
    key[0] = remote->family;
    memcpy(key + 1, remote->ip, remote->family == KITH_FAMILY_V4 ? 4 : 8);
}

/* A second's worth may come at once. */
static void fill(struct kith_relay_bucket *bucket, uint64_t rate, uint64_t now_ns)
{
    kith__relay_bucket_init(bucket, rate, rate < UNIT ? UNIT : rate, now_ns);
}

static uint64_t units_of(double rate)
{
    return (uint64_t)((rate < RATE_MAX ? rate : RATE_MAX) * UNIT) + 1;
}

int kith__relay_qad_gate_new(const struct kith_mem *mem, uint64_t seed, double rate, double per_ip_rate,
                             uint64_t now_ns, struct kith_relay_qad_gate **out)
{
    struct kith_relay_qad_gate *gate = kith__alloc_zero(mem, sizeof *gate);

    if (gate == NULL)
        return KITH_ERR_NOMEM;
    gate->mem = mem;
    kith__map_init(&gate->map, mem, seed);
    kith__list_init(&gate->sources);
    fill(&gate->all, units_of(rate), now_ns);
    gate->per_ip = units_of(per_ip_rate);
    *out = gate;
    return 0;
}

static void forget(struct kith_relay_qad_gate *gate, struct source *source)
{
    kith__map_remove(&gate->map, source->key, sizeof source->key);
    kith__list_remove(&source->node);
    gate->count--;
    kith__free(gate->mem, source);
}

void kith__relay_qad_gate_free(struct kith_relay_qad_gate *gate)
{
    if (gate == NULL)
        return;
    KITH_LIST_EACH_SAFE(node, after, &gate->sources)
    forget(gate, KITH_CONTAINER(node, struct source, node));
    kith__map_dispose(&gate->map);
    kith__free(gate->mem, gate);
}

/* NULL: no memory to know it. */
static struct source *find(struct kith_relay_qad_gate *gate, const struct kith_sockaddr *remote, uint64_t now_ns)
{
    uint8_t key[9];
    struct source *source;

    key_of(remote, key);
    if ((source = kith__map_get(&gate->map, key, sizeof key)) != NULL) {
        kith__list_remove(&source->node);
        kith__list_push_front(&gate->sources, &source->node);
        return source;
    }
    if (gate->count == KITH_RELAY_QAD_SOURCES_MAX)
        forget(gate, KITH_CONTAINER(gate->sources.prev, struct source, node));
    if ((source = kith__alloc_zero(gate->mem, sizeof *source)) == NULL)
        return NULL;
    memcpy(source->key, key, sizeof key);
    fill(&source->bucket, gate->per_ip, now_ns);
    if (kith__map_put(&gate->map, key, sizeof key, source) != 0) {
        kith__free(gate->mem, source);
        return NULL;
    }
    kith__list_push_front(&gate->sources, &source->node);
    gate->count++;
    return source;
}

enum kith_relay_qad_verdict kith__relay_qad_gate_ask(struct kith_relay_qad_gate *gate,
                                                     const struct kith_sockaddr *remote, bool is_validated,
                                                     uint64_t now_ns)
{
    struct source *source;

    /* A first look at the level of all, without taking: a Retry costs next to nothing and is not counted. */
    if (!is_validated && kith__relay_bucket_ready_ns(&gate->all, gate->all.burst / 2, now_ns) > now_ns)
        return KITH_RELAY_QAD_RETRY;
    if ((source = find(gate, remote, now_ns)) == NULL || !kith__relay_bucket_take(&source->bucket, UNIT, now_ns))
        return KITH_RELAY_QAD_IGNORE;
    return kith__relay_bucket_take(&gate->all, UNIT, now_ns) ? KITH_RELAY_QAD_ACCEPT : KITH_RELAY_QAD_IGNORE;
}
