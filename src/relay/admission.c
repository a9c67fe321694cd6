/* Limits of connections. One lock: it is taken twice for each connection, not for each packet. */
#include "relay/admission.h"

#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "relay/limits.h"
#include <string.h>

/* The bucket counts thousandths of a connection, so that rates below one a second are exact enough. */
enum { UNIT = 1000, IP_KEY_SIZE = 9, IP_V6_PREFIX = 8 };
#define RATE_MAX 1000000.0

/** One address that has connections. */
struct source {
    uint64_t connections, unauthenticated;
    uint8_t key[IP_KEY_SIZE];
};

struct kith_relay_admission {
    const struct kith_mem *mem;
    const struct kith_relay_sync *sync;
    void *lock;
    struct kith_relay_admission_limits limits;
    struct kith_relay_bucket bucket;
    bool is_bucket_new; /* filled at the next connection: only that one knows the time */
    struct kith_map sources;
    uint64_t connections, unauthenticated;
};

/** The part of an address that counts as one: the family, and all of IPv4 or the first half of IPv6. */
static void source_key(const struct kith_sockaddr *remote, uint8_t key[IP_KEY_SIZE])
{
    memset(key, 0, IP_KEY_SIZE);
    key[0] = remote->family;
    memcpy(key + 1, remote->ip, remote->family == KITH_FAMILY_V4 ? 4 : IP_V6_PREFIX);
}

int kith__relay_admission_new(const struct kith_mem *mem, const struct kith_relay_sync *sync,
                              const struct kith_relay_admission_limits *limits, uint64_t seed,
                              struct kith_relay_admission **out)
{
    struct kith_relay_admission *admission = kith__alloc_zero(mem, sizeof *admission);
    int err;

    if (admission == NULL)
        return KITH_ERR_NOMEM;
    admission->mem = mem;
    admission->sync = sync;
    if ((err = kith__relay_lock_new(sync, &admission->lock)) != 0) {
        kith__free(mem, admission);
        return err;
    }
    kith__map_init(&admission->sources, mem, seed);
    admission->limits = *limits;
    admission->is_bucket_new = true;
    *out = admission;
    return 0;
}

void kith__relay_admission_free(struct kith_relay_admission *admission)
{
    if (admission == NULL)
        return;
    KITH_ASSERT(admission->connections == 0 && admission->sources.count == 0);
    kith__map_dispose(&admission->sources);
    kith__relay_lock_free(admission->sync, admission->lock);
    kith__free(admission->mem, admission);
}

void kith__relay_admission_set_limits(struct kith_relay_admission *admission,
                                      const struct kith_relay_admission_limits *limits)
{
    kith__relay_lock(admission->sync, admission->lock);
    admission->limits = *limits;
    admission->is_bucket_new = true;
    kith__relay_unlock(admission->sync, admission->lock);
}

static void bucket_start(struct kith_relay_admission *admission, uint64_t now_ns)
{
    double rate = KITH_MIN(admission->limits.accept_rate, RATE_MAX);
    uint64_t units = rate > 0 ? KITH_MAX((uint64_t)(rate * UNIT + 0.5), (uint64_t)1) : 0;
    uint64_t burst = KITH_MIN(admission->limits.accept_burst, (uint64_t)RATE_MAX);

    if (burst == 0)
        burst = (units + UNIT - 1) / UNIT;
    kith__relay_bucket_init(&admission->bucket, units, burst * UNIT, now_ns);
    admission->is_bucket_new = false;
}

static bool is_at(uint64_t count, uint64_t max)
{
    return max != 0 && count >= max;
}

static enum kith_relay_refusal refusal_of(const struct kith_relay_admission *admission, const struct source *source)
{
    const struct kith_relay_admission_limits *limits = &admission->limits;

    if (is_at(admission->connections, limits->connections_max))
        return KITH_RELAY_REFUSED_TOTAL;
    if (is_at(source->connections, limits->connections_per_ip_max))
        return KITH_RELAY_REFUSED_PER_IP;
    if (is_at(admission->unauthenticated, limits->unauthenticated_max) ||
        is_at(source->unauthenticated, limits->unauthenticated_per_ip_max))
        return KITH_RELAY_REFUSED_UNAUTHENTICATED;
    return KITH_RELAY_ADMITTED;
}

static void source_drop_if_unused(struct kith_relay_admission *admission, struct source *source)
{
    if (source->connections != 0)
        return;
    (void)kith__map_remove(&admission->sources, source->key, IP_KEY_SIZE);
    kith__free(admission->mem, source);
}

static struct source *source_get(struct kith_relay_admission *admission, const struct kith_sockaddr *remote)
{
    uint8_t key[IP_KEY_SIZE];
    struct source *source;

    source_key(remote, key);
    source = kith__map_get(&admission->sources, key, IP_KEY_SIZE);
    if (source != NULL)
        return source;
    source = kith__alloc_zero(admission->mem, sizeof *source);
    if (source == NULL)
        return NULL;
    memcpy(source->key, key, IP_KEY_SIZE);
    if (kith__map_put(&admission->sources, key, IP_KEY_SIZE, source) != 0) {
        kith__free(admission->mem, source);
        return NULL;
    }
    return source;
}

/** With the lock. The rate is asked last, so that who is refused for another reason takes nothing of it. */
static enum kith_relay_refusal take(struct kith_relay_admission *admission, const struct kith_sockaddr *remote,
                                    uint64_t now_ns, struct kith_relay_ticket *ticket)
{
    struct source *source = source_get(admission, remote);
    enum kith_relay_refusal refusal;

    if (source == NULL)
        return KITH_RELAY_REFUSED_NOMEM;
    if (admission->is_bucket_new)
        bucket_start(admission, now_ns);
    refusal = refusal_of(admission, source);
    if (refusal == KITH_RELAY_ADMITTED && !kith__relay_bucket_take(&admission->bucket, UNIT, now_ns))
        refusal = KITH_RELAY_REFUSED_RATE;
    if (refusal != KITH_RELAY_ADMITTED) {
        source_drop_if_unused(admission, source);
        return refusal;
    }
    admission->connections++;
    admission->unauthenticated++;
    source->connections++;
    source->unauthenticated++;
    *ticket = (struct kith_relay_ticket) { .admission = admission, .source = source };
    return KITH_RELAY_ADMITTED;
}

enum kith_relay_refusal kith__relay_admission_take(struct kith_relay_admission *admission,
                                                   const struct kith_sockaddr *remote, uint64_t now_ns,
                                                   struct kith_relay_ticket *ticket)
{
    enum kith_relay_refusal refusal;

    *ticket = (struct kith_relay_ticket) { 0 };
    kith__relay_lock(admission->sync, admission->lock);
    refusal = take(admission, remote, now_ns, ticket);
    kith__relay_unlock(admission->sync, admission->lock);
    return refusal;
}

/** With the lock. */
static void authenticated(struct kith_relay_ticket *ticket)
{
    struct source *source = ticket->source;

    if (ticket->is_authenticated)
        return;
    ticket->is_authenticated = true;
    KITH_ASSERT(source->unauthenticated > 0 && ticket->admission->unauthenticated > 0);
    source->unauthenticated--;
    ticket->admission->unauthenticated--;
}

void kith__relay_ticket_authenticated(struct kith_relay_ticket *ticket)
{
    struct kith_relay_admission *admission = ticket->admission;

    if (admission == NULL)
        return;
    kith__relay_lock(admission->sync, admission->lock);
    authenticated(ticket);
    kith__relay_unlock(admission->sync, admission->lock);
}

void kith__relay_ticket_release(struct kith_relay_ticket *ticket)
{
    struct kith_relay_admission *admission = ticket->admission;
    struct source *source = ticket->source;

    if (admission == NULL)
        return;
    kith__relay_lock(admission->sync, admission->lock);
    authenticated(ticket);
    KITH_ASSERT(source->connections > 0 && admission->connections > 0);
    source->connections--;
    admission->connections--;
    source_drop_if_unused(admission, source);
    kith__relay_unlock(admission->sync, admission->lock);
    *ticket = (struct kith_relay_ticket) { 0 };
}

struct kith_relay_admission_stats kith__relay_admission_stats(struct kith_relay_admission *admission)
{
    struct kith_relay_admission_stats stats;

    kith__relay_lock(admission->sync, admission->lock);
    stats = (struct kith_relay_admission_stats) { admission->connections, admission->unauthenticated,
                                                  admission->sources.count };
    kith__relay_unlock(admission->sync, admission->lock);
    return stats;
}
