/* Keys that nobody put here are looked for in the Mainline DHT. */
#include "server/dns_dht.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "lookup/dht.h"

enum state { ASKED, RUNNING, KNOWN };

/** One key. Under the finder's lock, except `get`. */
struct key {
    struct kith_list node; /* of asked, running or known */
    struct kith_dns_finder *finder;
    struct kith_id id;
    enum state state;
    struct kith_dht_get *get;  /* RUNNING */
    uint64_t until_ns;         /* KNOWN: to be asked for again afterwards */
    struct kith_pkarr *packet; /* KNOWN; NULL: there is none */
};

struct kith_dns_finder {
    struct kith_dns_finder_options options;
    struct kith_dns_shared *shared;
    const struct kith_mem *mem;
    struct kith_dns_counters *counters;
    struct kith_dht *dht;
    void *lock; /* of what follows */
    struct kith_map keys;
    struct kith_list asked, running, known; /* known: the oldest first */
    size_t asked_count, running_count;
};

static void lock(struct kith_dns_finder *finder)
{
    kith__sync_lock(finder->shared->sync, finder->lock);
}

static void unlock(struct kith_dns_finder *finder)
{
    atomic_store_explicit(&finder->shared->cache_dht, finder->keys.count, memory_order_relaxed);
    kith__sync_unlock(finder->shared->sync, finder->lock);
}

/* With the lock. */
static void forget(struct kith_dns_finder *finder, struct key *key)
{
    (void)kith__map_remove(&finder->keys, key->id.bytes, sizeof key->id.bytes);
    kith__list_remove(&key->node);
    kith__free(finder->mem, key->packet);
    kith__free(finder->mem, key);
}

/* With the lock. */
static void ask(struct kith_dns_finder *finder, struct key *key)
{
    key->state = ASKED;
    kith__list_push_back(&finder->asked, &key->node);
    finder->asked_count++;
}

/* With the lock. A key that was not known, or is not any more. */
static int ask_anew(struct kith_dns_finder *finder, struct key *key, const struct kith_id *id)
{
    struct kith_list *oldest = kith__list_first(&finder->known);

    if (finder->asked_count == KITH_DNS_FINDER_ASKED_MAX)
        return KITH_ERR_LIMIT;
    if (key != NULL) {
        kith__free(finder->mem, key->packet);
        key->packet = NULL;
        kith__list_remove(&key->node);
        ask(finder, key);
        return KITH_ERR_AGAIN;
    }
    if (finder->keys.count >= KITH_DNS_FINDER_KEYS_MAX && oldest != NULL)
        forget(finder, KITH_CONTAINER(oldest, struct key, node));
    if ((key = kith__alloc_zero(finder->mem, sizeof *key)) == NULL)
        return KITH_ERR_NOMEM;
    key->finder = finder;
    key->id = *id;
    if (kith__map_put(&finder->keys, id->bytes, sizeof id->bytes, key) != 0) {
        kith__free(finder->mem, key);
        return KITH_ERR_NOMEM;
    }
    ask(finder, key);
    return KITH_ERR_AGAIN;
}

int kith__dns_finder_find(void *ctx, const struct kith_id *id, struct kith_pkarr *out)
{
    struct kith_dns_finder *finder = ctx;
    bool is_new = false;
    struct key *key;
    int err;

    lock(finder);
    key = kith__map_get(&finder->keys, id->bytes, sizeof id->bytes);
    if (key == NULL || (key->state == KNOWN && key->until_ns <= kith__rt_now(finder->options.rt))) {
        err = ask_anew(finder, key, id);
        is_new = err == KITH_ERR_AGAIN;
    } else if (key->state != KNOWN) {
        err = KITH_ERR_AGAIN;
    } else if (key->packet == NULL) {
        err = KITH_ERR_NOT_FOUND;
    } else {
        out->size = key->packet->size;
        memcpy(out->bytes, key->packet->bytes, key->packet->size);
        err = 0;
    }
    unlock(finder);
    if (is_new)
        finder->options.wake_house(finder->options.house);
    return err;
}

/* ---- Looking ---- */

static void on_end(void *ctx, int err, const struct kith_pkarr *newest, const char *why)
{
    struct key *key = ctx;
    struct kith_dns_finder *finder = key->finder;
    /* Nobody to ask, or no answer, is no knowledge: the next query asks again; this one is told that there is nothing. */
    uint64_t keep_ns = err == 0                    ? KITH_DNS_FINDER_KEEP_NS
                       : err == KITH_ERR_NOT_FOUND ? KITH_DNS_FINDER_KEEP_NONE_NS
                                                   : KITH_NS_PER_S;

    (void)why;
    lock(finder);
    key->get = NULL;
    key->state = KNOWN;
    key->until_ns = kith__rt_now(finder->options.rt) + keep_ns;
    kith__list_remove(&key->node);
    finder->running_count--;
    if (newest != NULL && (key->packet = kith__alloc(finder->mem, sizeof *key->packet)) != NULL)
        *key->packet = *newest;
    kith__list_push_back(&finder->known, &key->node);
    unlock(finder);
    if (newest != NULL)
        kith__dns_count(&finder->counters->dht_found, 1);
    finder->options.wake_workers(finder->options.ctx);
    kith__dns_finder_run(finder);
}

/* The next key that was asked for; NULL: there is none, or too many are running. */
static struct key *next_key(struct kith_dns_finder *finder)
{
    struct kith_list *first;

    lock(finder);
    first = finder->running_count < KITH_DNS_FINDER_RUNNING_MAX ? kith__list_first(&finder->asked) : NULL;
    if (first != NULL) {
        kith__list_remove(first);
        finder->asked_count--;
        kith__list_push_back(&finder->running, first);
        finder->running_count++;
        KITH_CONTAINER(first, struct key, node)->state = RUNNING;
    }
    unlock(finder);
    return first != NULL ? KITH_CONTAINER(first, struct key, node) : NULL;
}

void kith__dns_finder_run(struct kith_dns_finder *finder)
{
    struct key *key;

    while ((key = next_key(finder)) != NULL) {
        struct kith_dht_get_events events = { .on_end = on_end, .ctx = key };

        kith__dns_count(&finder->counters->dht_queries, 1);
        if (kith__dht_get(finder->dht, &key->id, &events, &key->get) == 0)
            continue;
        kith__dns_count(&finder->counters->dht_refused, 1);
        lock(finder);
        finder->running_count--;
        forget(finder, key);
        unlock(finder);
        finder->options.wake_workers(finder->options.ctx); /* who waits for it asks again, or waits in vain */
        return;
    }
}

/* ---- Life ---- */

static void forget_all(struct kith_dns_finder *finder, struct kith_list *list)
{
    struct kith_list *first;

    while ((first = kith__list_first(list)) != NULL)
        forget(finder, KITH_CONTAINER(first, struct key, node));
}

void kith__dns_finder_free(struct kith_dns_finder *finder)
{
    if (finder == NULL)
        return;
    kith__dht_free(finder->dht);
    forget_all(finder, &finder->asked);
    forget_all(finder, &finder->running);
    forget_all(finder, &finder->known);
    kith__map_dispose(&finder->keys);
    kith__sync_lock_free(finder->shared->sync, finder->lock);
    kith__free(finder->mem, finder);
}

int kith__dns_finder_new(const struct kith_dns_finder_options *options, struct kith_dns_finder **out)
{
    const struct kith_mem *mem = options->shared->mem;
    struct kith_dns_finder *finder = kith__alloc_zero(mem, sizeof *finder);
    struct kith_dht_options dht = { .bootstrap = options->dht->bootstrap,
                                    .bootstrap_count = options->dht->bootstrap_count,
                                    .local = options->dht->local };
    int err;

    if (finder == NULL)
        return KITH_ERR_NOMEM;
    finder->options = *options;
    finder->options.dht = NULL;
    finder->shared = options->shared;
    finder->mem = mem;
    finder->counters = kith__dns_house_counters(options->shared);
    kith__map_init(&finder->keys, mem, options->seed);
    kith__list_init(&finder->asked);
    kith__list_init(&finder->running);
    kith__list_init(&finder->known);
    if ((err = kith__sync_lock_new(options->shared->sync, &finder->lock)) != 0 ||
        (err = kith__dht_new(options->rt, &dht, &finder->dht)) != 0) {
        kith__dns_finder_free(finder);
        return err;
    }
    *out = finder;
    return 0;
}
