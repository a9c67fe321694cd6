/* Datagrams from one client to another: the path of every packet. */
#include "relay/server_parts.h"

void kith__relay_post(struct kith_relay_server *server, unsigned worker, const struct kith_relay_note *note)
{
    struct kith_relay_routes *routes = server->routes;

    if (routes->ops->post(routes->ctx, routes->worker, worker, note) != 0)
        kith__relay_count(&server->counters->drops_notes, 1);
}

/** Where a key is; remembers it, for most packets go where the one before went. */
static bool find_target(struct kith_relay_session *session, const uint8_t *key, struct kith_relay_place *out)
{
    struct kith_relay_routes *routes = session->server->routes;
    struct kith_relay_last_target *last = &session->last;
    uint64_t epoch = atomic_load_explicit(routes->epoch, memory_order_acquire);

    if (last->is_known && last->epoch == epoch && memcmp(last->id.bytes, key, KITH_ID_SIZE) == 0) {
        *out = last->place;
        return true;
    }
    last->is_known = last->is_noted = false;
    memcpy(last->id.bytes, key, KITH_ID_SIZE);
    if (!routes->ops->find(routes->ctx, &last->id, &last->place))
        return false;
    last->epoch = epoch;
    last->is_known = true;
    *out = last->place;
    return true;
}

/**
 * To a client of another worker. Of what the inbox still takes, one client may use half in a turn: so a flood leaves room for
 * the others.
 */
static void forward_away(struct kith_relay_session *session, const struct kith_relay_place *place,
                         const struct kith_relay_datagram *datagram)
{
    struct kith_relay_server *server = session->server;
    struct kith_relay_routes *routes = server->routes;
    struct kith_relay_note note = {
        .kind = KITH_RELAY_NOTE_DATAGRAM, .handle = place->handle, .id = session->id, .datagram = *datagram
    };
    size_t room = routes->ops->room(routes->ctx, routes->worker, place->worker);

    if (datagram->payload.size + session->turn_posted > (room + session->turn_posted) / 2 ||
        routes->ops->post(routes->ctx, routes->worker, place->worker, &note) != 0) {
        kith__relay_count(&server->counters->drops_inbox_full, 1);
        return;
    }
    session->turn_posted += (uint32_t)datagram->payload.size;
}

static bool is_within_rate(struct kith_relay_session *session, size_t frame_size)
{
    struct kith_relay_counters *counters = session->server->counters;

    if (kith__relay_bucket_take(&session->bucket, frame_size, session->server->now_ns))
        return true;
    kith__relay_count(&counters->drops_rate_limited, 1);
    kith__relay_count(&counters->bytes_rx_ratelimited_total, frame_size);
    if (!session->has_begun_limit) {
        session->has_begun_limit = true;
        kith__relay_count(&counters->conns_rx_ratelimited_total, 1);
        kith__relay_session_say_status(session, KITH_RELAY_STATUS_RATE_LIMITED);
    }
    return false;
}

void kith__relay_forward(struct kith_relay_session *session, const struct kith_relay_datagram *datagram,
                         size_t frame_size)
{
    struct kith_relay_server *server = session->server;
    struct kith_relay_counters *counters = server->counters;
    struct kith_relay_session *target;
    struct kith_relay_place place;

    kith__relay_count(&counters->send_packets_recv, 1);
    kith__relay_count(&counters->bytes_recv, datagram->payload.size);
    if (!kith__relay_payload_is_sendable(datagram->payload.size, datagram->segment_size)) {
        kith__relay_count(datagram->payload.size == 0 ? &counters->drops_empty : &counters->drops_oversize, 1);
        return;
    }
    if (!is_within_rate(session, frame_size))
        return;
    if (!find_target(session, datagram->key, &place)) {
        kith__relay_count(&counters->send_packets_dropped, 1);
        return;
    }
    session->reached |= UINT64_C(1) << place.worker;
    if (place.worker != server->routes->worker) {
        forward_away(session, &place, datagram);
        return;
    }
    target = kith__relay_server_find(server, place.handle);
    KITH_ASSERT(target != NULL && target->is_joined); /* a session leaves the directory before it ends */
    if (kith__relay_session_deliver(target, &session->id, datagram) && !session->last.is_noted) {
        kith__relay_party_note(server, &session->id, target->party);
        session->last.is_noted = true;
    }
}
