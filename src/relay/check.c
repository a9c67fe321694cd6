/* The invariants of a relay server, walked. */
#include "relay/server_parts.h"

static void check_session(const struct kith_relay_server *server, const struct kith_relay_session *session)
{
    uint64_t deadline_ns = kith__relay_session_deadline(session);
    struct kith_relay_place place;

    KITH_ASSERT(kith__relay_server_find(server, session->handle) == session);
    KITH_ASSERT(session->is_joined == (session->state == KITH_RELAY_SESSION_READY));
    KITH_ASSERT(session->is_joined == (session->party != NULL));
    KITH_ASSERT((session->events != 0) == kith__list_is_linked(&session->in_events));
    KITH_ASSERT(session->held_charged == session->reader.held.cap);
    KITH_ASSERT((session->held_charged != 0) == kith__list_is_linked(&session->in_holders));
    /* A deadline is never missed, and who has something to say and nothing under way is among the writers. */
    KITH_ASSERT(deadline_ns == KITH_NEVER ||
                (session->timer.index != KITH_HEAP_OUT && session->timer.key <= deadline_ns));
    KITH_ASSERT(session->state == KITH_RELAY_SESSION_ENDED || kith__relay_outbox_is_planned(session->outbox) ||
                kith__relay_outbox_size(session->outbox) == 0 || kith__list_is_linked(&session->in_writers));
    if (session->is_joined) {
        KITH_ASSERT(memcmp(&session->party->id, &session->id, sizeof session->id) == 0);
        KITH_ASSERT(server->routes->ops->find(server->routes->ctx, &session->id, &place));
    }
}

/** Returns the pairs of which it is the source. */
static uint64_t check_party(const struct kith_relay_party *party)
{
    uint64_t to_tell = 0, heard = 0;

    KITH_LIST_EACH(node, &party->to_tell)
    {
        KITH_ASSERT(KITH_CONTAINER(node, struct kith_relay_pair, of_source)->source == party);
        to_tell++;
    }
    KITH_LIST_EACH(node, &party->heard)
    {
        const struct kith_relay_pair *pair = KITH_CONTAINER(node, struct kith_relay_pair, of_target);

        KITH_ASSERT(pair->target == party && pair->source != party);
        heard++;
    }
    KITH_ASSERT(to_tell == party->to_tell_count && to_tell <= KITH_RELAY_GONE_SOURCES_MAX);
    KITH_ASSERT(heard == party->heard_count && heard <= KITH_RELAY_GONE_SOURCES_MAX);
    return heard;
}

void kith__relay_server_check(const struct kith_relay_server *server)
{
    uint64_t sessions = 0, clients = 0, endpoints = 0, charged = 0, heard = 0, held = 0;

    KITH_LIST_EACH(node, &server->sessions)
    {
        const struct kith_relay_session *session = KITH_CONTAINER(node, struct kith_relay_session, in_all);

        check_session(server, session);
        sessions++;
        clients += session->is_joined;
        held += session->held_charged;
        charged += session->held_charged + kith__relay_outbox_check(session->outbox, &server->outbox_limits);
        if (session->is_joined && session->party->sessions.prev == &session->of_party) {
            heard += check_party(session->party);
            endpoints++;
        }
    }
    KITH_ASSERT(sessions == server->session_count && clients == server->client_count &&
                endpoints == server->endpoint_count);
    KITH_ASSERT(held == server->held_used);
    KITH_ASSERT(charged == server->pool.used && server->pool.used <= server->pool.max);
    KITH_ASSERT(heard == server->pair_count && heard == server->pairs.count && heard <= KITH_RELAY_GONE_PAIRS_MAX);
}
