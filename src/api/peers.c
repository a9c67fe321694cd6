/* What an endpoint remembers of the peers it dialled: session tickets and address tokens. */
#include "api/objects.h"

#include "base/mem.h"

static void forget_peer(struct kith_endpoint *endpoint, struct kith_peer_memory *peer)
{
    kith__map_remove(&endpoint->peer_map, peer->id.bytes, KITH_ID_SIZE);
    kith__list_remove(&peer->node);
    endpoint->peer_count--;
    for (size_t i = 0; i < KITH_SESSIONS_PER_PEER_MAX; i++)
        kith__buf_dispose(&peer->sessions[i]);
    kith__buf_dispose(&peer->token);
    kith__free(endpoint->context->mem, peer);
}

struct kith_peer_memory *kith__api_endpoint_peer(struct kith_endpoint *endpoint, const struct kith_id *id, bool make)
{
    const struct kith_mem *mem = endpoint->context->mem;
    struct kith_peer_memory *peer = kith__map_get(&endpoint->peer_map, id->bytes, KITH_ID_SIZE);

    if (peer != NULL) {
        kith__list_remove(&peer->node);
        kith__list_push_front(&endpoint->peers, &peer->node);
        return peer;
    }
    if (!make || (peer = kith__alloc_zero(mem, sizeof *peer)) == NULL)
        return NULL;
    peer->id = *id;
    for (size_t i = 0; i < KITH_SESSIONS_PER_PEER_MAX; i++)
        kith__buf_init(&peer->sessions[i], mem);
    kith__buf_init(&peer->token, mem);
    if (kith__map_put(&endpoint->peer_map, id->bytes, KITH_ID_SIZE, peer) != 0) {
        kith__free(mem, peer);
        return NULL;
    }
    kith__list_push_front(&endpoint->peers, &peer->node);
    if (++endpoint->peer_count > KITH_SESSION_PEERS_MAX)
        forget_peer(endpoint, KITH_CONTAINER(endpoint->peers.prev, struct kith_peer_memory, node));
    return peer;
}

void kith__api_endpoint_forget_peers(struct kith_endpoint *endpoint)
{
    while (!kith__list_is_empty(&endpoint->peers))
        forget_peer(endpoint, KITH_CONTAINER(endpoint->peers.prev, struct kith_peer_memory, node));
}
