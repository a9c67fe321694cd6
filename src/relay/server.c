/* The server as a whole: sessions by handle, timers, turns, notes of other workers, draining. */
#include "base/mem.h"
#include "base/random.h"
#include "relay/server_parts.h"

enum { QUEUE_SIZE_MIN = 128 << 10, SLOTS_START = 16, EVENT_KINDS = KITH_RELAY_EVENT_ENDED + 1 };

/* A timer that comes this late was not the clients' fault: the machine slept, or we were starved. */
#define LATE_NS (1 * KITH_NS_PER_S)

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static void limits_fill(struct kith_relay_server *server, const struct kith_relay_server_limits *given)
{
    struct kith_relay_server_limits limits = { 0 };

    if (given != NULL)
        limits = *given;
    server->limits = (struct kith_relay_server_limits) {
        .handshake_ns = or_default(limits.handshake_ns, 30 * KITH_NS_PER_S),
        .stall_ns = or_default(limits.stall_ns, 2 * KITH_NS_PER_S),
        .ping_idle_ns = or_default(limits.ping_idle_ns, 15 * KITH_NS_PER_S),
        .pong_ns = or_default(limits.pong_ns, 5 * KITH_NS_PER_S),
        .access_ns = or_default(limits.access_ns, 10 * KITH_NS_PER_S),
        .queue_size_max = KITH_MAX((uint32_t)or_default(limits.queue_size_max, 1 << 20), (uint32_t)QUEUE_SIZE_MIN),
        .queue_frames_max = (uint32_t)or_default(limits.queue_frames_max, 2048),
        .memory_max = or_default(limits.memory_max, 256 << 20),
        .turn_size = (uint32_t)or_default(limits.turn_size, KITH_RELAY_TURN_SIZE),
        .rx_bytes_per_s = limits.rx_bytes_per_s,
        .rx_burst = limits.rx_burst,
    };
    server->outbox_limits = (struct kith_relay_outbox_limits) { server->limits.queue_size_max,
                                                                server->limits.queue_frames_max,
                                                                KITH_RELAY_CONTROL_SIZE_MAX };
}

int kith__relay_server_new(const struct kith_relay_server_options *options, struct kith_relay_server **out)
{
    struct kith_relay_server *server = kith__alloc_zero(options->mem, sizeof *server);

    if (server == NULL)
        return KITH_ERR_NOMEM;
    server->mem = options->mem;
    server->random = options->random;
    server->log = options->log;
    server->routes = options->routes;
    server->counters = options->counters;
    server->access = options->access;
    limits_fill(server, options->limits);
    kith__relay_pool_init(&server->pool, options->mem, server->limits.memory_max);
    kith__list_init(&server->sessions);
    kith__list_init(&server->events);
    kith__list_init(&server->writers);
    kith__list_init(&server->holders);
    kith__heap_init(&server->timers, options->mem);
    kith__map_init(&server->parties, options->mem, kith__random_u64(options->random));
    kith__map_init(&server->pairs, options->mem, kith__random_u64(options->random));
    server->tag_factor = kith__random_u64(options->random) | 1;
    *out = server;
    return 0;
}

void kith__relay_server_free(struct kith_relay_server *server)
{
    struct kith_list *node;

    if (server == NULL)
        return;
    while ((node = kith__list_first(&server->sessions)) != NULL)
        kith__relay_session_free(KITH_CONTAINER(node, struct kith_relay_session, in_all), server->now_ns);
    KITH_ASSERT(server->pair_count == 0 && server->parties.count == 0);
    kith__map_dispose(&server->parties);
    kith__map_dispose(&server->pairs);
    kith__heap_dispose(&server->timers);
    kith__relay_pool_dispose(&server->pool);
    kith__free(server->mem, server->slots);
    kith__free(server->mem, server);
}

void kith__relay_server_set_access(struct kith_relay_server *server, const struct kith_relay_access *access)
{
    server->access = access;
}

void kith__relay_server_set_limits(struct kith_relay_server *server, const struct kith_relay_server_limits *limits,
                                   uint64_t now_ns)
{
    now_ns = kith__relay_server_now(server, now_ns);
    limits_fill(server, limits);
    server->pool.max = KITH_MAX(server->limits.memory_max, server->pool.used);
    KITH_LIST_EACH(node, &server->sessions)
    {
        struct kith_relay_session *session = KITH_CONTAINER(node, struct kith_relay_session, in_all);

        kith__relay_bucket_init(&session->bucket, server->limits.rx_bytes_per_s, server->limits.rx_burst, now_ns);
        session->has_begun_limit = false;
        kith__relay_session_arm(session);
    }
}

uint64_t kith__relay_server_now(struct kith_relay_server *server, uint64_t now_ns)
{
    server->now_ns = KITH_MAX(server->now_ns, now_ns);
    return server->now_ns;
}

/* ---- Sessions by handle ---- */

static int slots_grow(struct kith_relay_server *server)
{
    uint32_t count = server->slot_count != 0 ? server->slot_count * 2 : SLOTS_START;
    struct kith_relay_slot *slots;

    if (server->slot_count > UINT32_MAX / 4)
        return KITH_ERR_LIMIT;
    slots = kith__realloc(server->mem, server->slots, count * sizeof *slots);
    if (slots == NULL)
        return KITH_ERR_NOMEM;
    for (uint32_t i = server->slot_count; i < count; i++)
        slots[i] = (struct kith_relay_slot) { .generation = 1, .next_free = i + 1 };
    server->slots = slots;
    server->free_slot = server->slot_count;
    server->slot_count = count;
    return 0;
}

int kith__relay_server_add(struct kith_relay_server *server, struct kith_relay_session *session)
{
    struct kith_relay_slot *slot;
    int err;

    if ((err = kith__heap_reserve(&server->timers, (size_t)server->session_count + 1)) != 0)
        return err;
    if (server->free_slot == server->slot_count && (err = slots_grow(server)) != 0)
        return err;
    slot = &server->slots[server->free_slot];
    session->handle = (uint64_t)slot->generation << 32 | server->free_slot;
    server->free_slot = slot->next_free;
    slot->session = session;
    kith__list_push_back(&server->sessions, &session->in_all);
    server->session_count++;
    return 0;
}

void kith__relay_server_remove(struct kith_relay_server *server, struct kith_relay_session *session)
{
    uint32_t index = (uint32_t)session->handle;
    struct kith_relay_slot *slot = &server->slots[index];

    KITH_ASSERT(slot->session == session);
    slot->session = NULL;
    slot->generation++;
    slot->next_free = server->free_slot;
    server->free_slot = index;
    kith__heap_remove(&server->timers, &session->timer);
    kith__list_remove(&session->in_all);
    server->session_count--;
}

struct kith_relay_session *kith__relay_server_find(const struct kith_relay_server *server, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;

    if (index >= server->slot_count || server->slots[index].generation != handle >> 32)
        return NULL;
    return server->slots[index].session;
}

struct kith_relay_session *kith__relay_server_next_session(const struct kith_relay_server *server,
                                                           const struct kith_relay_session *after)
{
    const struct kith_list *node = after != NULL ? after->in_all.next : server->sessions.next;

    return node != &server->sessions ? KITH_CONTAINER(node, struct kith_relay_session, in_all) : NULL;
}

size_t kith__relay_server_disconnect(struct kith_relay_server *server, const struct kith_id *id, uint64_t now_ns)
{
    struct kith_relay_party *party = kith__map_get(&server->parties, id->bytes, KITH_ID_SIZE);
    size_t count = 0;

    /* The party goes with its last session. */
    while (party != NULL && !kith__list_is_empty(&party->sessions)) {
        kith__relay_session_close(KITH_CONTAINER(party->sessions.next, struct kith_relay_session, of_party),
                                  KITH_WS_CLOSE_GOING_AWAY, now_ns);
        count++;
        party = kith__map_get(&server->parties, id->bytes, KITH_ID_SIZE);
    }
    return count;
}

/* ---- What the driver asks for ---- */

bool kith__relay_server_next_event(struct kith_relay_server *server, struct kith_relay_event *out)
{
    struct kith_list *node = kith__list_first(&server->events);
    struct kith_relay_session *session;
    unsigned kind = 0;

    if (node == NULL)
        return false;
    session = KITH_CONTAINER(node, struct kith_relay_session, in_events);
    while (kind < EVENT_KINDS && (session->events & 1u << kind) == 0)
        kind++;
    KITH_ASSERT(kind < EVENT_KINDS);
    session->events &= (uint8_t) ~(1u << kind);
    if (session->events == 0)
        kith__list_remove(&session->in_events);
    *out = (struct kith_relay_event) { (enum kith_relay_event_kind)kind,
                                       (enum kith_relay_end)session->end,
                                       session->why,
                                       session,
                                       session->user,
                                       session->id,
                                       session->handle };
    return true;
}

struct kith_relay_session *kith__relay_server_next_writer(struct kith_relay_server *server)
{
    struct kith_list *node = kith__list_first(&server->writers);

    if (node == NULL)
        return NULL;
    kith__list_remove(node);
    return KITH_CONTAINER(node, struct kith_relay_session, in_writers);
}

void kith__relay_server_flush(struct kith_relay_server *server)
{
    server->routes->ops->flush(server->routes->ctx, server->routes->worker);
    /* Nobody waited: debts are forgiven. */
    server->turn += server->turn_is_busy ? 1 : KITH_RELAY_DEBT_TURNS;
    server->turn_is_busy = false;
}

static void on_note(struct kith_relay_server *server, const struct kith_relay_note *note)
{
    struct kith_relay_session *session = kith__relay_server_find(server, note->handle);

    if (note->kind == KITH_RELAY_NOTE_GONE) {
        kith__relay_party_gone(server, &note->id);
        return;
    }
    if (session == NULL || !session->is_joined) { /* it ended while the note was on its way */
        kith__relay_count(&server->counters->drops_closing, note->kind == KITH_RELAY_NOTE_DATAGRAM);
        return;
    }
    switch (note->kind) {
    case KITH_RELAY_NOTE_DATAGRAM:
        if (kith__relay_session_deliver(session, &note->id, &note->datagram))
            kith__relay_party_note(server, &note->id, session->party);
        break;
    case KITH_RELAY_NOTE_GONE_FOR:
        kith__relay_count(&server->counters->gone_sent, 1);
        kith__relay_session_say(session,
                                &(struct kith_relay_frame) { .kind = KITH_RELAY_ENDPOINT_GONE, .key = note->id.bytes });
        break;
    case KITH_RELAY_NOTE_STATUS:
        kith__relay_session_update_status(session);
        break;
    default:
        kith__relay_session_finish(session, KITH_RELAY_END_SUPERSEDED, kith__relay_end_text(KITH_RELAY_END_SUPERSEDED),
                                   KITH_WS_CLOSE_GOING_AWAY);
    }
}

bool kith__relay_server_on_inbox(struct kith_relay_server *server, uint64_t now_ns)
{
    struct kith_relay_note note;
    size_t size = 0;

    (void)kith__relay_server_now(server, now_ns);
    while (size < KITH_RELAY_INBOX_TURN_SIZE) {
        if (!server->routes->ops->take(server->routes->ctx, server->routes->worker, &note))
            return false;
        on_note(server, &note);
        size += sizeof note + note.datagram.payload.size;
    }
    return true;
}

/* ---- Timers ---- */

void kith__relay_session_arm(struct kith_relay_session *session)
{
    uint64_t deadline_ns = kith__relay_session_deadline(session);
    int err;

    if (session->timer.index != KITH_HEAP_OUT && session->timer.key <= deadline_ns)
        return; /* looked at again when that comes: so a packet that postpones a deadline costs nothing */
    if (deadline_ns == KITH_NEVER)
        return;
    err = kith__heap_set(&session->server->timers, &session->timer, deadline_ns);
    KITH_ASSERT(err == 0); /* reserved when the session was added */
}

uint64_t kith__relay_server_deadline(const struct kith_relay_server *server)
{
    const struct kith_heap_node *node = kith__heap_first(&server->timers);

    return node != NULL ? node->key : KITH_NEVER;
}

void kith__relay_server_on_deadline(struct kith_relay_server *server, uint64_t now_ns)
{
    struct kith_heap_node *node = kith__heap_first(&server->timers);

    now_ns = kith__relay_server_now(server, now_ns);
    if (node != NULL && now_ns > node->key && now_ns - node->key > LATE_NS)
        server->grace_until_ns = now_ns + server->limits.stall_ns;
    while ((node = kith__heap_first(&server->timers)) != NULL && node->key <= now_ns) {
        struct kith_relay_session *session = KITH_CONTAINER(node, struct kith_relay_session, timer);

        kith__heap_remove(&server->timers, node);
        kith__relay_session_on_timer(session, now_ns);
        kith__relay_session_arm(session);
    }
}

void kith__relay_server_drain(struct kith_relay_server *server, uint64_t spread_ns, uint64_t try_for_ns,
                              uint64_t now_ns)
{
    uint64_t done = 0, count = server->session_count;

    now_ns = kith__relay_server_now(server, now_ns);
    server->is_draining = true;
    server->restart_spread_ns = KITH_MIN(spread_ns, 3600 * KITH_NS_PER_S);
    server->restart_try_ns = try_for_ns;
    KITH_LIST_EACH(node, &server->sessions)
    {
        struct kith_relay_session *session = KITH_CONTAINER(node, struct kith_relay_session, in_all);

        done++;
        if (session->state == KITH_RELAY_SESSION_READY) {
            session->until_ns = now_ns + server->restart_spread_ns / count * (done - 1);
            kith__relay_session_arm(session);
        } else {
            kith__relay_session_finish(session, KITH_RELAY_END_BY_US, "the relay is restarting", KITH_WS_CLOSE_RESTART);
        }
    }
}

/* ---- Numbers ---- */

struct kith_relay_server_stats kith__relay_server_stats(const struct kith_relay_server *server)
{
    return (struct kith_relay_server_stats) {
        .sessions = server->session_count,
        .clients = server->client_count,
        .endpoints = server->endpoint_count,
        .queued_bytes = server->pool.used,
        .gone_pairs = server->pair_count,
    };
}

size_t kith__relay_server_session_count(const struct kith_relay_server *server)
{
    return (size_t)server->session_count;
}
