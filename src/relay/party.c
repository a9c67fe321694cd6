/*
 * Who is told of whose end (spec/02, 5.4). A pair is noted where its target is, when the first datagram is delivered: looked for
 * only when a sender's target changes. It goes when either side goes, and the oldest goes when there are too many.
 */
#include "base/mem.h"
#include "relay/server_parts.h"

struct pair_key {
    const struct kith_relay_party *source, *target;
};

_Static_assert(sizeof(struct pair_key) <= KITH_MAP_KEY_MAX, "a pair is found by the addresses of its parties");

struct kith_relay_party *kith__relay_party_get(struct kith_relay_server *server, const struct kith_id *id)
{
    struct kith_relay_party *party = kith__map_get(&server->parties, id->bytes, KITH_ID_SIZE);

    if (party != NULL)
        return party;
    party = kith__alloc_zero(server->mem, sizeof *party);
    if (party == NULL)
        return NULL;
    party->id = *id;
    kith__list_init(&party->sessions);
    kith__list_init(&party->to_tell);
    kith__list_init(&party->heard);
    if (kith__map_put(&server->parties, id->bytes, KITH_ID_SIZE, party) != 0) {
        kith__free(server->mem, party);
        return NULL;
    }
    return party;
}

void kith__relay_party_settle(struct kith_relay_server *server, struct kith_relay_party *party)
{
    if (!kith__list_is_empty(&party->sessions) || !kith__list_is_empty(&party->to_tell))
        return;
    KITH_ASSERT(kith__list_is_empty(&party->heard));
    (void)kith__map_remove(&server->parties, party->id.bytes, KITH_ID_SIZE);
    kith__free(server->mem, party);
}

static void pair_free(struct kith_relay_server *server, struct kith_relay_pair *pair)
{
    struct pair_key key = { pair->source, pair->target };

    (void)kith__map_remove(&server->pairs, &key, sizeof key);
    kith__list_remove(&pair->of_source);
    kith__list_remove(&pair->of_target);
    pair->source->to_tell_count--;
    pair->target->heard_count--;
    if (pair->target->last_source == pair->source)
        pair->target->last_source = NULL;
    server->pair_count--;
    kith__free(server->mem, pair);
}

void kith__relay_party_forget_heard(struct kith_relay_server *server, struct kith_relay_party *party)
{
    struct kith_list *node;

    while ((node = kith__list_first(&party->heard)) != NULL) {
        struct kith_relay_pair *pair = KITH_CONTAINER(node, struct kith_relay_pair, of_target);
        struct kith_relay_party *source = pair->source;

        pair_free(server, pair);
        if (source != party)
            kith__relay_party_settle(server, source);
    }
}

/** The oldest pair of a party that has too many: as a source or as a target. */
static void forget_oldest(struct kith_relay_server *server, struct kith_relay_party *source,
                          struct kith_relay_party *target)
{
    struct kith_list *node = NULL;
    struct kith_relay_pair *pair;
    struct kith_relay_party *other;

    if (source->to_tell_count >= KITH_RELAY_GONE_SOURCES_MAX)
        node = kith__list_first(&source->to_tell);
    if (node != NULL) {
        pair = KITH_CONTAINER(node, struct kith_relay_pair, of_source);
    } else if (target->heard_count >= KITH_RELAY_GONE_SOURCES_MAX) {
        pair = KITH_CONTAINER(kith__list_first(&target->heard), struct kith_relay_pair, of_target);
    } else {
        return;
    }
    other = pair->source;
    pair_free(server, pair);
    kith__relay_count(&server->counters->gone_forgotten, 1);
    if (other != source && other != target)
        kith__relay_party_settle(server, other);
}

static struct kith_relay_pair *pair_new(struct kith_relay_server *server, struct kith_relay_party *source,
                                        struct kith_relay_party *target)
{
    struct pair_key key = { source, target };
    struct kith_relay_pair *pair;

    if (server->pair_count >= KITH_RELAY_GONE_PAIRS_MAX)
        return NULL;
    pair = kith__alloc_zero(server->mem, sizeof *pair);
    if (pair == NULL)
        return NULL;
    *pair = (struct kith_relay_pair) { .source = source, .target = target };
    if (kith__map_put(&server->pairs, &key, sizeof key, pair) != 0) {
        kith__free(server->mem, pair);
        return NULL;
    }
    kith__list_push_back(&source->to_tell, &pair->of_source);
    kith__list_push_back(&target->heard, &pair->of_target);
    source->to_tell_count++;
    target->heard_count++;
    server->pair_count++;
    return pair;
}

void kith__relay_party_note(struct kith_relay_server *server, const struct kith_id *source_id,
                            struct kith_relay_party *target)
{
    struct kith_relay_party *source;
    struct pair_key key;

    if (target->last_source != NULL && memcmp(&target->last_source->id, source_id, sizeof *source_id) == 0)
        return;
    if (memcmp(source_id, &target->id, sizeof *source_id) == 0)
        return; /* nobody is told of one's own end */
    source = kith__relay_party_get(server, source_id);
    if (source == NULL) {
        kith__relay_count(&server->counters->gone_forgotten, 1);
        return;
    }
    key = (struct pair_key) { source, target };
    if (kith__map_get(&server->pairs, &key, sizeof key) == NULL) {
        forget_oldest(server, source, target);
        if (pair_new(server, source, target) == NULL) {
            kith__relay_count(&server->counters->gone_forgotten, 1);
            kith__relay_party_settle(server, source);
            return;
        }
    }
    target->last_source = source;
}

/** Tells an endpoint, wherever its newest session is. */
static void tell_gone(struct kith_relay_server *server, const struct kith_id *to, const struct kith_id *gone)
{
    struct kith_relay_routes *routes = server->routes;
    struct kith_relay_session *session;
    struct kith_relay_place place;

    if (!routes->ops->find(routes->ctx, to, &place))
        return;
    if (place.worker != routes->worker) {
        kith__relay_post(
            server, place.worker,
            &(struct kith_relay_note) { .kind = KITH_RELAY_NOTE_GONE_FOR, .handle = place.handle, .id = *gone });
        return;
    }
    session = kith__relay_server_find(server, place.handle);
    KITH_ASSERT(session != NULL);
    kith__relay_count(&server->counters->gone_sent, 1);
    kith__relay_session_say(session,
                            &(struct kith_relay_frame) { .kind = KITH_RELAY_ENDPOINT_GONE, .key = gone->bytes });
}

void kith__relay_party_gone(struct kith_relay_server *server, const struct kith_id *id)
{
    struct kith_relay_party *party = kith__map_get(&server->parties, id->bytes, KITH_ID_SIZE);
    struct kith_list *node;

    if (party == NULL)
        return;
    while ((node = kith__list_first(&party->to_tell)) != NULL) {
        struct kith_relay_pair *pair = KITH_CONTAINER(node, struct kith_relay_pair, of_source);
        struct kith_id target = pair->target->id;

        pair_free(server, pair);
        tell_gone(server, &target, id);
    }
    kith__relay_party_settle(server, party);
}
