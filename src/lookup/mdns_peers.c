#include "lookup/mdns_peers.h"

#include "base/mem.h"
#include "base/random.h"
#include "crypto/sign.h"

/* Who is looked for is asked for when this has passed, then after twice as long, and so on. */
#define WANTED_GAP_NS KITH_MDNS_BEAT_NS

/* Whose time runs out is asked for when so many hundredths of it are over: RFC 6762, 5.2. */
static const uint8_t refresh_percent[] = { 80, 90, 95 };

void kith__mdns_peers_init(struct kith_mdns_peers *peers, const struct kith_mem *mem, const struct kith_random *random,
                           struct kith_mdns_stats *stats)
{
    *peers = (struct kith_mdns_peers) { .mem = mem, .random = random, .stats = stats };
    kith__map_init(&peers->by_id, mem, kith__random_u64(random));
    kith__heap_init(&peers->due, mem);
    kith__list_init(&peers->all);
    kith__list_init(&peers->news);
    kith__list_init(&peers->asking);
}

static void free_peer(struct kith_mdns_peers *peers, struct kith_mdns_peer *peer)
{
    for (size_t i = 0; i < peer->voice_count; i++)
        kith__lookup_info_dispose(&peer->voices[i].info);
    kith__list_remove(&peer->node);
    kith__list_remove(&peer->news);
    kith__list_remove(&peer->asking);
    kith__heap_remove(&peers->due, &peer->due);
    kith__map_remove(&peers->by_id, peer->id.bytes, KITH_ID_SIZE);
    kith__free(peers->mem, peer);
}

void kith__mdns_peers_dispose(struct kith_mdns_peers *peers)
{
    struct kith_list *node;

    while ((node = kith__list_first(&peers->all)) != NULL)
        free_peer(peers, KITH_CONTAINER(node, struct kith_mdns_peer, node));
    kith__map_dispose(&peers->by_id);
    kith__heap_dispose(&peers->due);
}

size_t kith__mdns_peers_size(const struct kith_mdns_peers *peers)
{
    return KITH_MAX(peers->known_count + peers->is_saying, (size_t)1);
}

struct kith_mdns_peer *kith__mdns_peers_find(const struct kith_mdns_peers *peers, const struct kith_id *id)
{
    return kith__map_get(&peers->by_id, id->bytes, KITH_ID_SIZE);
}

static int new_peer(struct kith_mdns_peers *peers, const struct kith_id *id, struct kith_mdns_peer **out)
{
    struct kith_mdns_peer *peer = kith__alloc_zero(peers->mem, sizeof *peer);
    int err;

    if (peer == NULL)
        return KITH_ERR_NOMEM;
    peer->id = *id;
    peer->ask_ns = KITH_NEVER;
    kith__heap_node_init(&peer->due);
    kith__list_init(&peer->news);
    kith__list_init(&peer->asking);
    if ((err = kith__heap_reserve(&peers->due, peers->by_id.count + 1)) != 0 ||
        (err = kith__map_put(&peers->by_id, id->bytes, KITH_ID_SIZE, peer)) != 0) {
        kith__free(peers->mem, peer);
        return err;
    }
    kith__list_init(&peer->node);
    kith__list_push_back(&peers->all, &peer->node);
    *out = peer;
    return 0;
}

/* ---- Times ---- */

/** For how long a voice is believed. */
static uint64_t life_of(const struct kith_mdns_peers *peers, const struct kith_mdns_voice *voice)
{
    uint64_t size = kith__mdns_peers_size(peers);

    if (voice->ttl_ns != 0)
        return voice->ttl_ns;
    /* Of so many, CUTOFF speak at each beat; one that missed three of its turns is gone: spec/03, 10.2. */
    return KITH_MIN(
        KITH_MAX(3 * size * KITH_MDNS_BEAT_NS / KITH_MIN(size, (uint64_t)KITH_MDNS_CUTOFF), KITH_MDNS_SILENCE_MIN_NS),
        KITH_MDNS_SILENCE_MAX_NS);
}

static struct kith_mdns_voice *freshest(struct kith_mdns_peer *peer)
{
    struct kith_mdns_voice *best = NULL;

    for (size_t i = 0; i < peer->voice_count; i++)
        if (best == NULL || peer->voices[i].heard_ns > best->heard_ns)
            best = &peer->voices[i];
    return best;
}

/** When its time comes next. */
static void arm(struct kith_mdns_peers *peers, struct kith_mdns_peer *peer)
{
    uint64_t at_ns = peer->ask_ns;
    int err;

    for (size_t i = 0; i < peer->voice_count; i++)
        at_ns = KITH_MIN(at_ns, peer->voices[i].heard_ns + life_of(peers, &peer->voices[i]));
    if (at_ns == KITH_NEVER) {
        kith__heap_remove(&peers->due, &peer->due);
        return;
    }
    err = kith__heap_set(&peers->due, &peer->due, at_ns);
    KITH_ASSERT(err == 0);
}

/** When to ask for one that is known, before its time is over. */
static void plan_refresh(struct kith_mdns_peers *peers, struct kith_mdns_peer *peer)
{
    struct kith_mdns_voice *voice = freshest(peer);
    uint64_t life_ns;

    peer->ask_ns = KITH_NEVER;
    if (voice == NULL || peer->asks >= KITH_COUNT(refresh_percent))
        return;
    life_ns = life_of(peers, voice);
    peer->ask_ns = voice->heard_ns + life_ns / 100 * refresh_percent[peer->asks] +
                   kith__random_below(peers->random, life_ns / 50);
}

/** When to ask for one that is looked for: now, then less and less often. */
static void plan_wanted(struct kith_mdns_peer *peer, uint64_t now_ns)
{
    peer->ask_ns = now_ns;
    peer->ask_gap_ns = WANTED_GAP_NS;
    peer->asks = 0;
}

/* ---- News ---- */

static void tell(struct kith_mdns_peers *peers, struct kith_mdns_peer *peer, enum kith_mdns_change change)
{
    if (!kith__list_is_linked(&peer->news)) {
        kith__list_push_back(&peers->news, &peer->news);
        peer->change = (uint8_t)change;
    } else if (change == KITH_MDNS_FOUND && peer->change == KITH_MDNS_GONE) {
        peer->change = KITH_MDNS_CHANGED; /* nobody heard yet that it was gone */
    } else if (change == KITH_MDNS_GONE || peer->change == KITH_MDNS_HEARD) {
        peer->change = (uint8_t)change;
    }
}

/** Nothing is known of it, and nobody asks. */
static void forget_if_idle(struct kith_mdns_peers *peers, struct kith_mdns_peer *peer)
{
    if (peer->voice_count == 0 && peer->wanted == 0 && !kith__list_is_linked(&peer->news))
        free_peer(peers, peer);
}

bool kith__mdns_peers_take_news(struct kith_mdns_peers *peers, struct kith_mdns_news *out)
{
    struct kith_list *node = kith__list_first(&peers->news);
    struct kith_mdns_peer *peer;

    if (node == NULL)
        return false;
    peer = KITH_CONTAINER(node, struct kith_mdns_peer, news);
    kith__list_remove(node);
    *out = (struct kith_mdns_news) { .change = (enum kith_mdns_change)peer->change, .id = peer->id };
    forget_if_idle(peers, peer);
    return true;
}

/* ---- Hearing ---- */

static void drop_voice(struct kith_mdns_peers *peers, struct kith_mdns_peer *peer, struct kith_mdns_voice *voice,
                       uint64_t now_ns)
{
    kith__lookup_info_dispose(&voice->info);
    *voice = peer->voices[--peer->voice_count];
    if (peer->voice_count > 0)
        return;
    peers->known_count--;
    tell(peers, peer, KITH_MDNS_GONE);
    kith__mdns_peer_asked(peer, UINT32_MAX);
    peer->ask_ns = KITH_NEVER;
    if (peer->wanted > 0)
        plan_wanted(peer, now_ns);
}

static struct kith_mdns_voice *voice_on(struct kith_mdns_peer *peer, uint32_t interface)
{
    for (size_t i = 0; i < peer->voice_count; i++)
        if (peer->voices[i].interface == interface)
            return &peer->voices[i];
    return NULL;
}

/** Room for one voice more. */
static struct kith_mdns_voice *new_voice(struct kith_mdns_peers *peers, struct kith_mdns_peer *peer, uint32_t interface)
{
    struct kith_mdns_voice *voice = &peer->voices[0];

    if (peer->voice_count < KITH_MDNS_VOICES_MAX) {
        voice = &peer->voices[peer->voice_count++];
        peers->known_count += peer->voice_count == 1;
    } else {
        for (size_t i = 1; i < peer->voice_count; i++)
            if (peer->voices[i].heard_ns < voice->heard_ns)
                voice = &peer->voices[i];
        kith__lookup_info_dispose(&voice->info);
        peers->stats->voices_replaced++;
    }
    *voice = (struct kith_mdns_voice) { .interface = interface };
    kith__lookup_info_init(&voice->info, peers->mem, &peer->id);
    return voice;
}

static void take_voice(struct kith_mdns_peers *peers, struct kith_mdns_peer *peer, struct kith_mdns_said *said,
                       uint32_t interface, uint64_t now_ns)
{
    struct kith_mdns_voice *voice = voice_on(peer, interface);
    enum kith_mdns_change change = peer->voice_count == 0 ? KITH_MDNS_FOUND : KITH_MDNS_CHANGED;

    if (voice != NULL && kith__lookup_info_equal(&voice->info, &said->info))
        change = KITH_MDNS_HEARD;
    else if (voice == NULL)
        voice = new_voice(peers, peer, interface);
    if (change != KITH_MDNS_HEARD) {
        struct kith_lookup_info old = voice->info;

        voice->info = said->info; /* the last word counts: what was said before may be wrong by now */
        said->info = old;
        peers->stats->found += change == KITH_MDNS_FOUND;
        peers->stats->changed += change == KITH_MDNS_CHANGED;
    }
    voice->heard_ns = now_ns;
    voice->ttl_ns = KITH_MIN(said->ttl_s, (uint32_t)KITH_MDNS_TTL_MAX_S) * KITH_NS_PER_S;
    peer->asks = 0;
    kith__mdns_peer_asked(peer, UINT32_MAX);
    plan_refresh(peers, peer);
    if (change != KITH_MDNS_HEARD || peer->wanted > 0)
        tell(peers, peer, change);
}

/** Makes the entry of a peer that is not known and not looked for. NULL: refused, and counted. */
static struct kith_mdns_peer *meet(struct kith_mdns_peers *peers, const struct kith_mdns_said *said)
{
    struct kith_mdns_peer *peer;

    if (said->is_goodbye)
        return NULL;
    if (peers->known_count >= KITH_MDNS_PEERS_MAX) {
        peers->stats->drop_full++;
        return NULL;
    }
    if (!kith__id_is_point(said->info.addr.id.bytes)) {
        peers->stats->drop_no_key++;
        return NULL;
    }
    if (new_peer(peers, &said->info.addr.id, &peer) != 0) {
        peers->stats->drop_no_memory++;
        return NULL;
    }
    return peer;
}

void kith__mdns_peers_heard(struct kith_mdns_peers *peers, struct kith_mdns_said *said, uint32_t interface,
                            uint64_t now_ns)
{
    struct kith_mdns_peer *peer = kith__mdns_peers_find(peers, &said->info.addr.id);
    struct kith_mdns_voice *voice;

    if (peer == NULL && (peer = meet(peers, said)) == NULL)
        return;
    if (!said->is_goodbye) {
        take_voice(peers, peer, said, interface, now_ns);
    } else if ((voice = voice_on(peer, interface)) != NULL) {
        peers->stats->left += peer->voice_count == 1;
        drop_voice(peers, peer, voice, now_ns);
    }
    arm(peers, peer);
}

/* ---- Looking for ---- */

int kith__mdns_peers_want(struct kith_mdns_peers *peers, const struct kith_id *id, uint64_t now_ns)
{
    struct kith_mdns_peer *peer = kith__mdns_peers_find(peers, id);
    int err;

    if ((peer == NULL || peer->wanted == 0) && peers->wanted_count == KITH_MDNS_WANTED_MAX)
        return KITH_ERR_LIMIT;
    if (peer == NULL && (err = new_peer(peers, id, &peer)) != 0)
        return err;
    peers->wanted_count += peer->wanted++ == 0;
    plan_wanted(peer, now_ns);
    arm(peers, peer);
    return 0;
}

void kith__mdns_peers_unwant(struct kith_mdns_peers *peers, const struct kith_id *id)
{
    struct kith_mdns_peer *peer = kith__mdns_peers_find(peers, id);

    KITH_ASSERT(peer != NULL && peer->wanted > 0);
    if (--peer->wanted > 0)
        return;
    peers->wanted_count--;
    kith__mdns_peer_asked(peer, UINT32_MAX);
    plan_refresh(peers, peer);
    arm(peers, peer);
    forget_if_idle(peers, peer);
}

static void ask(struct kith_mdns_peers *peers, struct kith_mdns_peer *peer, uint32_t links)
{
    if (links == 0)
        return;
    peer->ask_links |= links;
    if (!kith__list_is_linked(&peer->asking))
        kith__list_push_back(&peers->asking, &peer->asking);
}

void kith__mdns_peer_asked(struct kith_mdns_peer *peer, uint32_t links)
{
    peer->ask_links &= ~links;
    if (peer->ask_links == 0)
        kith__list_remove(&peer->asking);
}

void kith__mdns_peers_ask_again(struct kith_mdns_peers *peers, uint32_t links)
{
    KITH_LIST_EACH(node, &peers->all)
    {
        struct kith_mdns_peer *peer = KITH_CONTAINER(node, struct kith_mdns_peer, node);

        if (peer->wanted > 0)
            ask(peers, peer, links);
    }
}

/** Asks for one whose time it is, and plans the next time. */
static void ask_due(struct kith_mdns_peers *peers, struct kith_mdns_peer *peer, uint32_t links, uint64_t now_ns)
{
    ask(peers, peer, links);
    peer->asks = (uint8_t)KITH_MIN(peer->asks + 1, UINT8_MAX);
    if (peer->wanted == 0) {
        plan_refresh(peers, peer);
        return;
    }
    peer->ask_ns = now_ns + peer->ask_gap_ns;
    peer->ask_gap_ns *= 2;
}

bool kith__mdns_peers_run(struct kith_mdns_peers *peers, uint32_t links, uint64_t now_ns)
{
    struct kith_heap_node *first;
    bool has_more = false;

    while ((first = kith__heap_first(&peers->due)) != NULL && first->key <= now_ns) {
        struct kith_mdns_peer *peer = KITH_CONTAINER(first, struct kith_mdns_peer, due);

        for (size_t i = peer->voice_count; i-- > 0;)
            if (peer->voices[i].heard_ns + life_of(peers, &peer->voices[i]) <= now_ns) {
                peers->stats->expired += peer->voice_count == 1;
                drop_voice(peers, peer, &peer->voices[i], now_ns);
            }
        if (peer->ask_ns <= now_ns) {
            ask_due(peers, peer, links, now_ns);
            has_more = true;
        }
        arm(peers, peer);
    }
    return has_more;
}

/* ---- What is known ---- */

void kith__mdns_peers_write_known(const struct kith_mdns_peers *peers, uint32_t interface, uint64_t now_ns,
                                  struct kith_mdns_query *query)
{
    KITH_LIST_EACH(node, &peers->all)
    {
        struct kith_mdns_peer *peer = KITH_CONTAINER(node, struct kith_mdns_peer, node);
        const struct kith_mdns_voice *voice = voice_on(peer, interface);
        uint64_t over_ns = voice != NULL ? voice->heard_ns + voice->ttl_ns : 0;

        /* Those who tell no TTL do not look at this list; those whose time is half over are to speak. */
        if (over_ns < now_ns + KITH_MDNS_TTL_S / 2 * KITH_NS_PER_S || peer->wanted > 0)
            continue;
        if (!kith__mdns_query_known(query, &peer->id, (uint32_t)((over_ns - now_ns) / KITH_NS_PER_S)))
            return;
    }
}

int kith__mdns_peers_get(const struct kith_mdns_peers *peers, const struct kith_id *id, struct kith_lookup_info *out,
                         uint64_t *heard_ns)
{
    struct kith_mdns_peer *peer = kith__mdns_peers_find(peers, id);
    const struct kith_mdns_voice *voice = peer != NULL ? freshest(peer) : NULL;
    int err;

    if (voice == NULL)
        return KITH_ERR_NOT_FOUND;
    err = kith__lookup_info_copy(&voice->info, out); /* its user data are those that count */
    for (size_t i = 0; err == 0 && i < peer->voice_count; i++)
        err = kith__lookup_info_add_addrs(&peer->voices[i].info, out);
    if (err == 0)
        *heard_ns = voice->heard_ns;
    return err;
}
