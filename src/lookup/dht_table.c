/* The routing table. */
#include "lookup/dht_table.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

/* A node in the way of another is asked again at once, but not twice in this time. */
#define CHECK_AGAIN_NS (10 * KITH_NS_PER_S)

/* For `entry` over all entries. */
#define EACH_ENTRY(table, entry)                                                                                       \
    for (size_t depth_ = 0; depth_ < KITH_DHT_ID_BITS; depth_++)                                                       \
        if ((table)->buckets[depth_] != NULL)                                                                          \
            for (struct kith_dht_entry *entry = (table)->buckets[depth_]->entries;                                     \
                 entry < (table)->buckets[depth_]->entries + (table)->buckets[depth_]->count; entry++)

void kith__dht_table_init(struct kith_dht_table *table, const struct kith_mem *mem, const struct kith_dht_id *own,
                          struct kith_dht_stats *stats)
{
    *table = (struct kith_dht_table) { .mem = mem, .stats = stats, .own = *own };
}

void kith__dht_table_dispose(struct kith_dht_table *table)
{
    for (size_t i = 0; i < KITH_DHT_ID_BITS; i++)
        kith__free(table->mem, table->buckets[i]);
    memset(table->buckets, 0, sizeof table->buckets);
    table->count = 0;
}

static bool is_bad(const struct kith_dht_entry *entry)
{
    return entry->failures >= KITH_DHT_FAILURES_MAX;
}

/* ---- Places ---- */

static void remove_at(struct kith_dht_table *table, struct kith_dht_bucket *bucket, size_t index)
{
    memmove(&bucket->entries[index], &bucket->entries[index + 1],
            (size_t)(bucket->count - index - 1) * sizeof bucket->entries[0]);
    bucket->count--;
    table->count--;
}

static void append(struct kith_dht_table *table, struct kith_dht_bucket *bucket, const struct kith_dht_entry *entry)
{
    KITH_ASSERT(bucket->count < KITH_DHT_BUCKET_SIZE);
    bucket->entries[bucket->count++] = *entry;
    table->count++;
}

/** Forgets who was at an address under another id, or had this id at another address but is silent. True: it may be added. */
static bool make_unique(struct kith_dht_table *table, const struct kith_dht_node *node)
{
    for (size_t depth = 0; depth < KITH_DHT_ID_BITS; depth++) {
        struct kith_dht_bucket *bucket = table->buckets[depth];

        for (size_t i = 0; bucket != NULL && i < bucket->count; i++) {
            const struct kith_dht_entry *entry = &bucket->entries[i];
            bool is_same_id = kith__dht_id_equal(&entry->node.id, &node->id);
            bool is_same_addr = kith_sockaddr_equal(&entry->node.addr, &node->addr);

            if (is_same_id && !is_same_addr && entry->failures == 0)
                return false; /* the one that is known keeps its id: nobody takes it over by claiming it */
            if (is_same_id != is_same_addr)
                remove_at(table, bucket, i--);
        }
    }
    return true;
}

static size_t count_at_ip(const struct kith_dht_table *table, const struct kith_sockaddr *addr)
{
    size_t count = 0;

    EACH_ENTRY(table, entry)
    count += memcmp(entry->node.addr.ip, addr->ip, 4) == 0;
    return count;
}

static bool is_ip_full(const struct kith_dht_table *table, const struct kith_sockaddr *addr)
{
    return !kith__dht_addr_is_local(addr) && count_at_ip(table, addr) >= KITH_DHT_PER_IP_MAX;
}

/** Which entry of a full bucket goes for a newcomer; SIZE_MAX: none. */
static size_t index_to_replace(const struct kith_dht_bucket *bucket, bool is_secure)
{
    size_t insecure = SIZE_MAX;

    for (size_t i = 0; i < bucket->count; i++) {
        if (is_bad(&bucket->entries[i]))
            return i;
        if (!bucket->entries[i].is_secure)
            insecure = i; /* the youngest of them */
    }
    return is_secure ? insecure : SIZE_MAX;
}

static struct kith_dht_bucket *bucket_of(struct kith_dht_table *table, const struct kith_dht_id *id)
{
    unsigned depth = kith__dht_id_prefix(&table->own, id);

    KITH_ASSERT(depth < KITH_DHT_ID_BITS);
    if (table->buckets[depth] == NULL)
        table->buckets[depth] = kith__alloc_zero(table->mem, sizeof *table->buckets[depth]);
    return table->buckets[depth];
}

static void add(struct kith_dht_table *table, const struct kith_dht_entry *entry, uint64_t now_ns)
{
    struct kith_dht_bucket *bucket = bucket_of(table, &entry->node.id);
    size_t index;

    if (bucket == NULL || is_ip_full(table, &entry->node.addr)) {
        table->stats->nodes_no_room++;
        return;
    }
    if (bucket->count == KITH_DHT_BUCKET_SIZE) {
        if ((index = index_to_replace(bucket, entry->is_secure)) == SIZE_MAX) {
            bucket->waiting = *entry;
            bucket->has_waiting = true;
            table->stats->nodes_no_room++;
            return;
        }
        table->stats->nodes_bad += is_bad(&bucket->entries[index]);
        remove_at(table, bucket, index);
    }
    append(table, bucket, entry);
    table->stats->nodes_joined++;
    bucket->changed_ns = now_ns;
}

void kith__dht_table_on_answer(struct kith_dht_table *table, const struct kith_dht_node *node, uint64_t now_ns)
{
    struct kith_dht_entry fresh = { .node = *node, .answered_ns = now_ns };

    if (kith__dht_id_equal(&node->id, &table->own) || !kith__dht_addr_is_usable(&node->addr) ||
        !make_unique(table, node))
        return;
    fresh.is_secure = kith__dht_id_is_secure(&node->id, &node->addr);
    EACH_ENTRY(table, entry)
    {
        if (kith__dht_id_equal(&entry->node.id, &node->id)) {
            entry->answered_ns = now_ns;
            entry->failures = 0;
            table->buckets[depth_]->changed_ns = now_ns;
            return;
        }
    }
    add(table, &fresh, now_ns);
}

void kith__dht_table_on_silence(struct kith_dht_table *table, const struct kith_sockaddr *addr)
{
    for (size_t depth = 0; depth < KITH_DHT_ID_BITS; depth++) {
        struct kith_dht_bucket *bucket = table->buckets[depth];

        for (size_t i = 0; bucket != NULL && i < bucket->count; i++) {
            struct kith_dht_entry *entry = &bucket->entries[i];

            if (!kith_sockaddr_equal(&entry->node.addr, addr))
                continue;
            entry->failures += entry->failures < KITH_DHT_FAILURES_MAX;
            /* A bad one stays as long as nobody needs its place: when our own network is gone, nobody answers. */
            if (is_bad(entry) && bucket->has_waiting) {
                struct kith_dht_entry waiting = bucket->waiting;

                bucket->has_waiting = false;
                table->stats->nodes_bad++;
                remove_at(table, bucket, i);
                if (make_unique(table, &waiting.node))
                    add(table, &waiting, waiting.answered_ns);
            }
            return;
        }
    }
}

void kith__dht_table_set_own(struct kith_dht_table *table, const struct kith_dht_id *own)
{
    struct kith_dht_table old = *table;

    kith__dht_table_init(table, old.mem, own, old.stats);
    EACH_ENTRY(&old, entry)
    {
        if (!kith__dht_id_equal(&entry->node.id, own))
            add(table, entry, entry->answered_ns);
    }
    kith__dht_table_dispose(&old);
}

bool kith__dht_table_wants(const struct kith_dht_table *table, const struct kith_dht_node *node)
{
    unsigned depth = kith__dht_id_prefix(&table->own, &node->id);
    const struct kith_dht_bucket *bucket;

    if (depth >= KITH_DHT_ID_BITS || !kith__dht_addr_is_usable(&node->addr) || is_ip_full(table, &node->addr))
        return false;
    EACH_ENTRY(table, entry)
    if (kith_sockaddr_equal(&entry->node.addr, &node->addr) || kith__dht_id_equal(&entry->node.id, &node->id))
        return false;
    bucket = table->buckets[depth];
    return bucket == NULL || bucket->count < KITH_DHT_BUCKET_SIZE ||
           index_to_replace(bucket, kith__dht_id_is_secure(&node->id, &node->addr)) != SIZE_MAX;
}

/* ---- Asking it ---- */

size_t kith__dht_table_good_count(const struct kith_dht_table *table)
{
    size_t count = 0;

    EACH_ENTRY(table, entry)
    count += !is_bad(entry);
    return count;
}

size_t kith__dht_table_closest(const struct kith_dht_table *table, const struct kith_dht_id *target,
                               struct kith_dht_node *out, size_t max)
{
    size_t count = 0;

    KITH_ASSERT(max <= KITH_DHT_CLOSEST_MAX);
    EACH_ENTRY(table, entry)
    {
        size_t at = count;

        if (is_bad(entry))
            continue;
        while (at > 0 && kith__dht_id_compare(target, &entry->node.id, &out[at - 1].id) < 0)
            at--;
        if (at == max)
            continue;
        count += count < max;
        memmove(&out[at + 1], &out[at], (count - at - 1) * sizeof out[0]);
        out[at] = entry->node;
    }
    return count;
}

/** When an entry is to be asked again. */
static uint64_t check_at(const struct kith_dht_bucket *bucket, const struct kith_dht_entry *entry)
{
    uint64_t at = entry->answered_ns + KITH_DHT_FRESH_NS;

    if (is_bad(entry))
        return KITH_NEVER;
    if (entry->failures > 0 && bucket->has_waiting)
        at = entry->answered_ns;
    return entry->checked_ns != 0 ? KITH_MAX(at, entry->checked_ns + CHECK_AGAIN_NS) : at;
}

bool kith__dht_table_next_check(struct kith_dht_table *table, uint64_t now_ns, struct kith_dht_node *out,
                                uint64_t *next_ns)
{
    EACH_ENTRY(table, entry)
    {
        uint64_t at = check_at(table->buckets[depth_], entry);

        if (at <= now_ns) {
            entry->checked_ns = now_ns;
            *out = entry->node;
            return true;
        }
        *next_ns = KITH_MIN(*next_ns, at);
    }
    return false;
}

/** A random id that has exactly `depth` leading bits in common with ours. */
static struct kith_dht_id random_id_at(const struct kith_dht_table *table, const struct kith_random *random,
                                       unsigned depth)
{
    struct kith_dht_id id;

    kith__random_fill(random, id.bytes, sizeof id.bytes);
    for (unsigned bit = 0; bit <= depth; bit++) {
        uint8_t mask = (uint8_t)(0x80 >> bit % 8);
        uint8_t wanted = (uint8_t)(table->own.bytes[bit / 8] ^ (bit == depth ? mask : 0));

        id.bytes[bit / 8] = (uint8_t)((id.bytes[bit / 8] & ~mask) | (wanted & mask));
    }
    return id;
}

bool kith__dht_table_next_refresh(struct kith_dht_table *table, const struct kith_random *random, uint64_t now_ns,
                                  struct kith_dht_id *out, uint64_t *next_ns)
{
    for (unsigned depth = 0; depth < KITH_DHT_ID_BITS; depth++) {
        struct kith_dht_bucket *bucket = table->buckets[depth];

        if (bucket == NULL)
            continue;
        if (bucket->changed_ns + KITH_DHT_FRESH_NS <= now_ns) {
            bucket->changed_ns = now_ns;
            *out = random_id_at(table, random, depth);
            return true;
        }
        *next_ns = KITH_MIN(*next_ns, bucket->changed_ns + KITH_DHT_FRESH_NS);
    }
    return false;
}
