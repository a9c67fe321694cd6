#include "lookup/mdns_core.h"

#include "base/assert.h"
#include "base/mem.h"
#include "lookup/mdns_link.h"
#include "lookup/mdns_peers.h"

struct kith_mdns_core {
    const struct kith_mem *mem;
    const struct kith_random *random;
    struct kith_mdns_names names;
    struct kith_mdns_link links[KITH_MDNS_LINKS_MAX];
    struct kith_mdns_peers peers;
    struct kith_lookup_info info; /* of ours, while peers.is_saying */
    struct kith_mdns_stats stats;
};

_Static_assert(KITH_MDNS_LINKS_MAX <= 32, "a bit for each in kith_mdns_peer.ask_links");

/* ---- Life ---- */

int kith__mdns_core_new(const struct kith_mdns_core_options *options, struct kith_mdns_core **out)
{
    struct kith_mdns_core *core = kith__alloc_zero(options->mem, sizeof *core);
    int err;

    if (core == NULL)
        return KITH_ERR_NOMEM;
    if ((err = kith__mdns_names_init(&core->names, &options->id, options->service)) != 0) {
        kith__free(options->mem, core);
        return err;
    }
    core->mem = options->mem;
    core->random = options->random;
    kith__mdns_peers_init(&core->peers, options->mem, options->random, &core->stats);
    kith__lookup_info_init(&core->info, options->mem, &options->id);
    *out = core;
    return 0;
}

void kith__mdns_core_free(struct kith_mdns_core *core)
{
    if (core == NULL)
        return;
    kith__mdns_peers_dispose(&core->peers);
    kith__lookup_info_dispose(&core->info);
    kith__free(core->mem, core);
}

/* ---- Links ---- */

static uint32_t bit_of(unsigned link)
{
    return UINT32_C(1) << link;
}

static uint32_t open_links(const struct kith_mdns_core *core)
{
    uint32_t bits = 0;

    for (unsigned i = 0; i < KITH_MDNS_LINKS_MAX; i++)
        if (core->links[i].is_open)
            bits |= bit_of(i);
    return bits;
}

int kith__mdns_core_link_open(struct kith_mdns_core *core, uint32_t interface, uint64_t now_ns, unsigned *link)
{
    unsigned at = 0;

    while (at < KITH_MDNS_LINKS_MAX && core->links[at].is_open)
        at++;
    if (at == KITH_MDNS_LINKS_MAX)
        return KITH_ERR_LIMIT;
    kith__mdns_link_open(&core->links[at], interface, core->random, now_ns);
    if (core->peers.is_saying)
        kith__mdns_link_announce(&core->links[at], now_ns);
    kith__mdns_peers_ask_again(&core->peers, bit_of(at));
    if (!kith__list_is_empty(&core->peers.asking))
        kith__mdns_link_ask(&core->links[at], now_ns);
    *link = at;
    return 0;
}

void kith__mdns_core_link_close(struct kith_mdns_core *core, unsigned link)
{
    KITH_ASSERT(link < KITH_MDNS_LINKS_MAX && core->links[link].is_open);
    core->links[link].is_open = false;
    KITH_LIST_EACH_SAFE(node, after, &core->peers.asking)
    kith__mdns_peer_asked(KITH_CONTAINER(node, struct kith_mdns_peer, asking), bit_of(link));
}

/* ---- What we say ---- */

static void leave(struct kith_mdns_link *link)
{
    link->respond_ns = KITH_NEVER;
    link->announcements = 0;
    link->is_leaving = link->has_said;
}

void kith__mdns_core_leave(struct kith_mdns_core *core)
{
    core->peers.is_saying = false;
    for (unsigned i = 0; i < KITH_MDNS_LINKS_MAX; i++)
        if (core->links[i].is_open)
            leave(&core->links[i]);
}

int kith__mdns_core_say(struct kith_mdns_core *core, const struct kith_lookup_info *info, uint64_t now_ns)
{
    int err;

    if (info == NULL || info->addr.count == 0) {
        kith__mdns_core_leave(core);
        return 0;
    }
    if (core->peers.is_saying && kith__lookup_info_equal(info, &core->info))
        return 0;
    if ((err = kith__lookup_info_copy(info, &core->info)) != 0)
        return err;
    core->peers.is_saying = true;
    for (unsigned i = 0; i < KITH_MDNS_LINKS_MAX; i++)
        if (core->links[i].is_open)
            kith__mdns_link_announce(&core->links[i], now_ns);
    return 0;
}

/* ---- Whom somebody looks for ---- */

int kith__mdns_core_want(struct kith_mdns_core *core, const struct kith_id *id, uint64_t now_ns)
{
    return kith__mdns_peers_want(&core->peers, id, now_ns);
}

void kith__mdns_core_unwant(struct kith_mdns_core *core, const struct kith_id *id)
{
    kith__mdns_peers_unwant(&core->peers, id);
}

/* ---- Hearing ---- */

static void on_question(struct kith_mdns_core *core, struct kith_mdns_link *link, const struct kith_mdns_heard *heard,
                        uint64_t now_ns)
{
    core->stats.heard_queries++;
    if (heard->asks_all)
        kith__mdns_link_on_browsed(link, now_ns);
    if (!core->peers.is_saying)
        return;
    if (heard->asks_us)
        kith__mdns_link_on_asked(link, now_ns);
    else if (heard->knows_us)
        core->stats.kept_quiet++;
    else
        kith__mdns_link_on_query(link, kith__mdns_peers_size(&core->peers), now_ns);
}

static void on_response(struct kith_mdns_core *core, struct kith_mdns_link *link, struct kith_mdns_heard *heard,
                        uint64_t now_ns)
{
    if (heard->count == 0) {
        if (heard->is_own)
            core->stats.drop_own++;
        else
            core->stats.drop_foreign++;
        return;
    }
    core->stats.heard_responses++;
    core->stats.kept_quiet += kith__mdns_link_on_responses(link, heard->count);
    for (size_t i = 0; i < heard->count; i++)
        kith__mdns_peers_heard(&core->peers, &heard->said[i], link->interface, now_ns);
}

void kith__mdns_core_heard(struct kith_mdns_core *core, unsigned link, struct kith_slice bytes, uint64_t now_ns)
{
    struct kith_mdns_heard heard;
    int err;

    KITH_ASSERT(link < KITH_MDNS_LINKS_MAX && core->links[link].is_open);
    if (!kith__mdns_link_may_hear(&core->links[link], now_ns)) {
        core->stats.drop_rate++;
        return;
    }
    if ((err = kith__mdns_read(&core->names, bytes, core->links[link].interface, core->mem, &heard)) != 0) {
        if (err == KITH_ERR_NOMEM)
            core->stats.drop_no_memory++;
        else
            core->stats.drop_malformed++;
        return;
    }
    core->stats.drop_part += heard.ignored;
    if (heard.asks_all || heard.asks_us)
        on_question(core, &core->links[link], &heard, now_ns);
    else
        on_response(core, &core->links[link], &heard, now_ns);
    kith__mdns_heard_dispose(&heard);
}

/* ---- Speaking ---- */

/** Asks for those who are to be asked for on this link, as many as one query takes, and lists who need not answer. */
static size_t write_query(struct kith_mdns_core *core, unsigned at, uint64_t now_ns, uint8_t *out)
{
    struct kith_mdns_link *link = &core->links[at];
    struct kith_mdns_query query;
    size_t asked = 0;
    bool more = false;

    kith__mdns_query_begin(&query, &core->names, out);
    KITH_LIST_EACH_SAFE(node, after, &core->peers.asking)
    {
        struct kith_mdns_peer *peer = KITH_CONTAINER(node, struct kith_mdns_peer, asking);

        if ((peer->ask_links & bit_of(at)) == 0)
            continue;
        if (asked == KITH_MDNS_ASKED_MAX || !kith__mdns_query_want(&query, &peer->id)) {
            more = true;
            break;
        }
        asked++;
        kith__mdns_peer_asked(peer, bit_of(at));
    }
    if (core->peers.is_saying) /* so that we do not answer ourselves when we hear it */
        kith__mdns_query_known(&query, &core->names.own, KITH_MDNS_TTL_S);
    kith__mdns_peers_write_known(&core->peers, link->interface, now_ns, &query);
    kith__mdns_link_queried(link, more, now_ns);
    core->stats.sent_queries++;
    return kith__mdns_query_end(&query);
}

/** What is due on one link. 0: nothing. */
static size_t next_of(struct kith_mdns_core *core, unsigned at, uint64_t now_ns, uint8_t *out)
{
    struct kith_mdns_link *link = &core->links[at];
    size_t size, left_out;

    if (link->is_leaving) {
        link->is_leaving = link->has_said = false;
        core->stats.sent_goodbyes++;
        return kith__mdns_write_goodbye(&core->names, out);
    }
    if (link->respond_ns <= now_ns) {
        size = kith__mdns_write_response(&core->names, &core->info, link->interface, KITH_MDNS_TTL_S, out, &left_out);
        kith__mdns_link_responded(link, size != 0, now_ns);
        core->stats.left_out += left_out;
        core->stats.sent_responses += size != 0;
        if (size != 0)
            return size;
    }
    return kith__mdns_link_query_ns(link) <= now_ns ? write_query(core, at, now_ns, out) : 0;
}

size_t kith__mdns_core_next(struct kith_mdns_core *core, uint64_t now_ns, uint8_t *out, unsigned *link)
{
    size_t size = 0;

    if (kith__mdns_peers_run(&core->peers, open_links(core), now_ns))
        for (unsigned i = 0; i < KITH_MDNS_LINKS_MAX; i++)
            if (core->links[i].is_open)
                kith__mdns_link_ask(&core->links[i], now_ns);
    for (unsigned i = 0; size == 0 && i < KITH_MDNS_LINKS_MAX; i++) {
        if (!core->links[i].is_open || (size = next_of(core, i, now_ns, out)) == 0)
            continue;
        *link = i;
    }
    return size;
}

uint64_t kith__mdns_core_deadline(const struct kith_mdns_core *core)
{
    const struct kith_heap_node *first = kith__heap_first(&core->peers.due);
    uint64_t at_ns = first != NULL ? first->key : KITH_NEVER;

    if (!kith__list_is_empty(&core->peers.news))
        return 0;
    for (unsigned i = 0; i < KITH_MDNS_LINKS_MAX; i++) {
        const struct kith_mdns_link *link = &core->links[i];

        if (!link->is_open)
            continue;
        if (link->is_leaving)
            return 0;
        at_ns = KITH_MIN(at_ns, KITH_MIN(link->respond_ns, kith__mdns_link_query_ns(link)));
    }
    return at_ns;
}

/* ---- What is known ---- */

bool kith__mdns_core_news(struct kith_mdns_core *core, struct kith_mdns_news *out)
{
    return kith__mdns_peers_take_news(&core->peers, out);
}

int kith__mdns_core_get(const struct kith_mdns_core *core, const struct kith_id *id, struct kith_lookup_info *out,
                        uint64_t *heard_ns)
{
    return kith__mdns_peers_get(&core->peers, id, out, heard_ns);
}

size_t kith__mdns_core_count(const struct kith_mdns_core *core)
{
    return core->peers.known_count;
}

struct kith_mdns_stats kith__mdns_core_stats(const struct kith_mdns_core *core)
{
    return core->stats;
}
