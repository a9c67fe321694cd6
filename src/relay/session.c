/* The life of a session: proof of the id, access, frames, timers, the end. */
#include "base/mem.h"
#include "base/random.h"
#include "relay/server_parts.h"

/* Up to this much more silence before a ping, so that those who came together are not pinged together. */
#define PING_SPREAD_MIN_NS (1 * KITH_NS_PER_S)
#define PING_SPREAD_MAX_NS (5 * KITH_NS_PER_S)

/* Bytes a second that a client must take of a large write, beyond the first part. */
enum { STALL_RATE = 32 << 10 };

/* In the order of enum kith_relay_end. */
static const char *const end_texts[] = {
    "the other side closed the connection",
    "the handshake took too long",
    "the signature of the endpoint id is invalid",
    "access was denied",
    "the other side broke the protocol",
    "the other side did not read",
    "a ping was not answered",
    "there was not enough memory",
    "too many connections have the same endpoint id",
    "the relay closed the connection",
};

const char *kith__relay_end_text(enum kith_relay_end end)
{
    return (size_t)end < KITH_COUNT(end_texts) ? end_texts[end] : "unknown";
}

static void count_end(struct kith_relay_counters *counters, enum kith_relay_end end)
{
    _Atomic uint64_t *const fields[] = {
        &counters->ends_by_peer,
        &counters->ends_handshake_timeout,
        &counters->handshakes_bad_signature,
        &counters->handshakes_denied,
        &counters->ends_protocol,
        &counters->ends_stalled,
        &counters->ends_ping_timeout,
        &counters->ends_memory,
        &counters->ends_superseded,
        &counters->ends_closed_by_us,
    };

    kith__relay_count(fields[end], 1);
}

/* ---- Coming and going ---- */

void kith__relay_session_tell(struct kith_relay_session *session, enum kith_relay_event_kind kind)
{
    session->events |= (uint8_t)(1u << kind);
    if (!kith__list_is_linked(&session->in_events))
        kith__list_push_back(&session->server->events, &session->in_events);
}

void kith__relay_session_update_status(struct kith_relay_session *session)
{
    struct kith_relay_server *server = session->server;
    struct kith_relay_counters *counters = server->counters;
    struct kith_relay_place place;
    bool is_newest;

    if (!session->is_joined)
        return;
    is_newest = server->routes->ops->find(server->routes->ctx, &session->id, &place) &&
                place.worker == server->routes->worker && place.handle == session->handle;
    if (is_newest == session->was_told_newest)
        return;
    session->was_told_newest = is_newest;
    kith__relay_count(is_newest ? &counters->clients_inactive_removed : &counters->clients_inactive_added, 1);
    kith__relay_session_say_status(session,
                                   is_newest ? KITH_RELAY_STATUS_HEALTHY : KITH_RELAY_STATUS_SAME_ID_CONNECTED);
}

/** A session of the same id, here or elsewhere, has become the newest, or no longer is. */
static void tell_place(struct kith_relay_server *server, const struct kith_relay_place *place,
                       enum kith_relay_note_kind kind)
{
    struct kith_relay_session *session;

    if (place->worker == KITH_RELAY_WORKER_NONE)
        return;
    if (place->worker != server->routes->worker) {
        kith__relay_post(server, place->worker, &(struct kith_relay_note) { .kind = kind, .handle = place->handle });
        return;
    }
    session = kith__relay_server_find(server, place->handle);
    KITH_ASSERT(session != NULL);
    if (kind == KITH_RELAY_NOTE_CLOSE)
        kith__relay_session_finish(session, KITH_RELAY_END_SUPERSEDED, kith__relay_end_text(KITH_RELAY_END_SUPERSEDED),
                                   KITH_WS_CLOSE_GOING_AWAY);
    else
        kith__relay_session_update_status(session);
}

/** The last session of an id has ended: those to whom it had sent are told, on every worker that has some of them. */
static void tell_gone(struct kith_relay_server *server, const struct kith_id *id, uint64_t reached)
{
    for (unsigned worker = 0; worker < server->routes->worker_count; worker++) {
        if ((reached & UINT64_C(1) << worker) == 0)
            continue;
        if (worker == server->routes->worker)
            kith__relay_party_gone(server, id);
        else
            kith__relay_post(server, worker, &(struct kith_relay_note) { .kind = KITH_RELAY_NOTE_GONE, .id = *id });
    }
}

/** Out of the directory: nothing is sent to it any more. */
static void leave(struct kith_relay_session *session)
{
    struct kith_relay_server *server = session->server;
    struct kith_relay_routes *routes = server->routes;
    struct kith_relay_party *party = session->party;
    struct kith_relay_left left;

    if (!session->is_joined)
        return;
    session->is_joined = false;
    session->party = NULL;
    server->client_count--;
    kith__relay_count(&server->counters->disconnects, 1);
    if (!session->was_told_newest)
        kith__relay_count(&server->counters->clients_inactive_removed, 1);
    kith__list_remove(&session->of_party);
    if (kith__list_is_empty(&party->sessions)) {
        server->endpoint_count--;
        kith__relay_party_forget_heard(server, party);
    }
    kith__relay_party_settle(server, party);
    routes->ops->leave(routes->ctx, &session->id,
                       (struct kith_relay_place) { session->handle, (uint16_t)routes->worker }, session->reached,
                       &left);
    tell_place(server, &left.newest, KITH_RELAY_NOTE_STATUS);
    if (left.is_last)
        tell_gone(server, &session->id, left.reached);
}

/** Into the directory: a client from now on. */
static void enter(struct kith_relay_session *session)
{
    struct kith_relay_server *server = session->server;
    struct kith_relay_routes *routes = server->routes;
    struct kith_relay_joined joined;
    struct kith_relay_party *party = kith__relay_party_get(server, &session->id);

    if (party == NULL) {
        kith__relay_session_finish(session, KITH_RELAY_END_MEMORY, "no memory for a client", KITH_WS_CLOSE_INTERNAL);
        return;
    }
    if (routes->ops->join(routes->ctx, &session->id,
                          (struct kith_relay_place) { session->handle, (uint16_t)routes->worker }, &joined) != 0) {
        kith__relay_party_settle(server, party);
        kith__relay_session_finish(session, KITH_RELAY_END_MEMORY, "no memory for a client", KITH_WS_CLOSE_INTERNAL);
        return;
    }
    session->party = party;
    server->endpoint_count += kith__list_is_empty(&party->sessions);
    kith__list_push_back(&party->sessions, &session->of_party);
    session->is_joined = session->was_told_newest = true;
    session->state = KITH_RELAY_SESSION_READY;
    session->until_ns = KITH_NEVER;
    session->last_received_ns = server->now_ns;
    session->reader.options.message_size_max = KITH_RELAY_MESSAGE_MAX;
    server->client_count++;
    kith__relay_count(&server->counters->accepts, 1);
    if (joined.previous.worker == KITH_RELAY_WORKER_NONE)
        kith__relay_count(&server->counters->unique_client_keys, 1);
    if (session->ticket != NULL)
        kith__relay_ticket_authenticated(session->ticket);
    kith__relay_session_say(session, &(struct kith_relay_frame) { .kind = KITH_RELAY_SERVER_CONFIRMS_AUTH });
    kith__relay_session_tell(session, KITH_RELAY_EVENT_READY);
    kith__relay_session_arm(session);
    tell_place(server, &joined.previous, KITH_RELAY_NOTE_STATUS);
    tell_place(server, &joined.evicted, KITH_RELAY_NOTE_CLOSE);
}

void kith__relay_session_end(struct kith_relay_session *session, enum kith_relay_end end, const char *why)
{
    if (session->state == KITH_RELAY_SESSION_ENDED)
        return;
    if (session->state != KITH_RELAY_SESSION_CLOSING)
        count_end(session->server->counters, end);
    leave(session);
    session->state = KITH_RELAY_SESSION_ENDED;
    session->end = (uint8_t)end;
    session->why = why;
    kith__list_remove(&session->in_writers);
    kith__heap_remove(&session->server->timers, &session->timer);
    kith__relay_session_tell(session, KITH_RELAY_EVENT_ENDED);
}

void kith__relay_session_finish(struct kith_relay_session *session, enum kith_relay_end end, const char *why,
                                uint16_t code)
{
    struct kith_relay_server *server = session->server;
    uint8_t bytes[2] = { (uint8_t)(code >> 8), (uint8_t)code };

    if (session->state >= KITH_RELAY_SESSION_CLOSING)
        return;
    count_end(server->counters, end);
    leave(session);
    session->state = KITH_RELAY_SESSION_CLOSING;
    session->end = (uint8_t)end;
    session->why = why;
    session->until_ns = server->now_ns + server->limits.stall_ns;
    if (code != 0)
        kith__relay_session_say_ws(session, KITH_WS_CLOSE, bytes, sizeof bytes);
    if (session->outbox != NULL)
        kith__relay_outbox_close(session->outbox);
    if (kith__relay_outbox_size(session->outbox) == 0)
        kith__relay_session_end(session, end, why);
    else
        kith__relay_session_arm(session);
}

static void deny(struct kith_relay_session *session, enum kith_relay_end end, const char *reason)
{
    size_t size = strlen(reason);

    if (size > KITH_RELAY_DENIAL_SIZE_MAX)
        for (size = KITH_RELAY_DENIAL_SIZE_MAX; size > 0 && ((uint8_t)reason[size] & 0xc0) == 0x80;)
            size--; /* not in the middle of a character */
    kith__relay_session_say(session, &(struct kith_relay_frame) { .kind = KITH_RELAY_SERVER_DENIES_AUTH,
                                                                  .text = { (const uint8_t *)reason, size } });
    kith__relay_session_finish(session, end, kith__relay_end_text(end), 0);
}

/* ---- Proof and access ---- */

static void on_proved(struct kith_relay_session *session, const struct kith_id *id)
{
    struct kith_relay_server *server = session->server;

    session->id = *id;
    switch (kith__relay_access_check(server->access, id, session->knows_token)) {
    case KITH_RELAY_ALLOWED:
        enter(session);
        break;
    case KITH_RELAY_DENIED:
        deny(session, KITH_RELAY_END_DENIED, KITH_RELAY_REASON_NOT_AUTHORIZED);
        break;
    case KITH_RELAY_ASK:
        session->state = KITH_RELAY_SESSION_AUTHORIZING;
        session->until_ns = KITH_MIN(session->until_ns, server->now_ns + server->limits.access_ns);
        kith__relay_session_tell(session, KITH_RELAY_EVENT_ACCESS);
        kith__relay_session_arm(session);
        break;
    }
}

/** True if the header proves an id; if not, the client may still answer a challenge. */
static bool header_proves(const struct kith_relay_open *open)
{
    return open->header != NULL && open->exported != NULL &&
           kith__relay_auth_header_verify(open->header, open->exported) == 0;
}

static void on_auth(struct kith_relay_session *session, const struct kith_relay_frame *frame)
{
    struct kith_relay_counters *counters = session->server->counters;
    struct kith_id id;

    memcpy(id.bytes, frame->auth.key, sizeof id.bytes);
    if (kith__relay_challenge_verify(&id, session->challenge, frame->auth.signature) != 0) {
        deny(session, KITH_RELAY_END_BAD_SIGNATURE, KITH_RELAY_REASON_SIGNATURE_INVALID);
        return;
    }
    kith__relay_count(&counters->handshakes_challenge, 1);
    on_proved(session, &id);
}

static void release_held(struct kith_relay_session *session)
{
    kith__ws_reader_dispose(&session->reader);
    session->server->pool.used -= session->held_charged;
    session->server->held_used -= session->held_charged;
    session->held_charged = 0;
    kith__list_remove(&session->in_holders);
}

static void session_init(struct kith_relay_session *session, struct kith_relay_server *server,
                         const struct kith_relay_open *open)
{
    session->server = server;
    session->user = open->user;
    session->ticket = open->ticket;
    session->version = (uint8_t)open->version;
    session->remote = open->remote;
    session->accepted_ns = open->accepted_ns;
    session->until_ns = open->accepted_ns + server->limits.handshake_ns;
    session->last_received_ns = session->progress_ns = server->now_ns;
    session->plan_max = KITH_RELAY_PLAN_START;
    session->knows_token = kith__relay_access_knows_token(server->access, open->token);
    session->idle_ns = server->limits.ping_idle_ns + PING_SPREAD_MIN_NS +
                       kith__random_below(server->random, PING_SPREAD_MAX_NS - PING_SPREAD_MIN_NS);
    session->why = "";
    session->turn = server->turn;
    kith__list_init(&session->in_all);
    kith__list_init(&session->in_events);
    kith__list_init(&session->in_writers);
    kith__list_init(&session->in_holders);
    kith__list_init(&session->of_party);
    kith__heap_node_init(&session->timer);
    kith__relay_bucket_init(&session->bucket, server->limits.rx_bytes_per_s, server->limits.rx_burst, server->now_ns);
    kith__ws_reader_init(&session->reader, &(struct kith_ws_reader_options) {
                                               .mem = server->mem,
                                               .is_server = true,
                                               .message_size_max = KITH_RELAY_HANDSHAKE_MESSAGE_MAX,
                                           });
}

int kith__relay_session_open(struct kith_relay_server *server, const struct kith_relay_open *open, uint64_t now_ns,
                             struct kith_relay_session **out)
{
    struct kith_relay_session *session;
    int err;

    (void)kith__relay_server_now(server, now_ns);
    if (server->is_draining)
        return KITH_ERR_STATE;
    session = kith__alloc_zero(server->mem, sizeof *session);
    if (session == NULL)
        return KITH_ERR_NOMEM;
    session_init(session, server, open);
    if ((err = kith__relay_server_add(server, session)) != 0) {
        kith__free(server->mem, session);
        return err;
    }
    kith__relay_session_arm(session);
    *out = session;
    if (header_proves(open)) {
        kith__relay_count(&server->counters->handshakes_header, 1);
        on_proved(session, &open->header->id);
        return 0;
    }
    kith__random_fill(server->random, session->challenge, sizeof session->challenge);
    kith__relay_session_say(
        session, &(struct kith_relay_frame) { .kind = KITH_RELAY_SERVER_CHALLENGE, .challenge = session->challenge });
    return 0;
}

void kith__relay_session_free(struct kith_relay_session *session, uint64_t now_ns)
{
    struct kith_relay_server *server;

    if (session == NULL)
        return;
    server = session->server;
    (void)kith__relay_server_now(server, now_ns);
    if (session->state < KITH_RELAY_SESSION_CLOSING)
        count_end(server->counters, KITH_RELAY_END_BY_PEER);
    leave(session);
    kith__relay_count(&server->counters->drops_disconnect, kith__relay_outbox_free(&session->outbox, &server->pool));
    release_held(session);
    kith__list_remove(&session->in_events);
    kith__list_remove(&session->in_writers);
    kith__relay_server_remove(server, session);
    kith__free(server->mem, session);
}

void kith__relay_session_grant(struct kith_relay_session *session, uint64_t now_ns)
{
    (void)kith__relay_server_now(session->server, now_ns);
    if (session->state == KITH_RELAY_SESSION_AUTHORIZING)
        enter(session);
}

void kith__relay_session_deny(struct kith_relay_session *session, const char *reason, uint64_t now_ns)
{
    (void)kith__relay_server_now(session->server, now_ns);
    if (session->state == KITH_RELAY_SESSION_AUTHORIZING)
        deny(session, KITH_RELAY_END_DENIED, reason != NULL ? reason : KITH_RELAY_REASON_NOT_AUTHORIZED);
}

void kith__relay_session_close(struct kith_relay_session *session, uint16_t code, uint64_t now_ns)
{
    (void)kith__relay_server_now(session->server, now_ns);
    kith__relay_session_finish(session, KITH_RELAY_END_BY_US, kith__relay_end_text(KITH_RELAY_END_BY_US), code);
}

/* ---- What comes in ---- */

static void on_pong(struct kith_relay_session *session, const uint8_t *ping)
{
    if (!session->is_ping_out || memcmp(session->ping, ping, sizeof session->ping) != 0)
        return; /* an old one */
    session->is_ping_out = false;
    session->rtt_ns = KITH_MAX(session->server->now_ns - session->ping_sent_ns, (uint64_t)1);
}

static void on_message(struct kith_relay_session *session, struct kith_slice message)
{
    bool is_ready = session->state == KITH_RELAY_SESSION_READY;
    struct kith_relay_rules rules = { KITH_RELAY_FROM_CLIENT,
                                      is_ready ? KITH_RELAY_AFTER_HANDSHAKE : KITH_RELAY_IN_HANDSHAKE,
                                      (enum kith_relay_version)session->version };
    struct kith_relay_counters *counters = session->server->counters;
    struct kith_relay_frame frame;
    const char *why = "a message while access is being decided";
    int err = KITH_ERR_TRANSPORT;

    if (session->state != KITH_RELAY_SESSION_AUTHORIZING)
        err = kith__relay_frame_decode(message, rules, &frame, &why);
    if (err != 0) {
        kith__relay_count(&counters->unknown_frames, err == KITH_ERR_UNSUPPORTED);
        kith__relay_session_finish(session, KITH_RELAY_END_PROTOCOL, why, KITH_WS_CLOSE_PROTOCOL);
        return;
    }
    switch (frame.kind) {
    case KITH_RELAY_CLIENT_AUTH:
        on_auth(session, &frame);
        break;
    case KITH_RELAY_PING:
        kith__relay_count(&counters->got_ping, 1);
        kith__relay_count(&counters->sent_pong, 1);
        frame.kind = KITH_RELAY_PONG;
        kith__relay_session_say(session, &frame);
        break;
    case KITH_RELAY_PONG:
        on_pong(session, frame.ping);
        break;
    default: /* the rules let nothing else through */
        kith__relay_forward(session, &frame.datagram, message.size);
    }
}

static void on_ws_close(struct kith_relay_session *session, uint16_t code)
{
    kith__relay_session_finish(session, KITH_RELAY_END_BY_PEER, kith__relay_end_text(KITH_RELAY_END_BY_PEER),
                               code == KITH_WS_CLOSE_NONE ? KITH_WS_CLOSE_NORMAL : code);
}

static void on_ws_error(struct kith_relay_session *session, int err)
{
    if (err == KITH_ERR_NOMEM)
        kith__relay_session_finish(session, KITH_RELAY_END_MEMORY, "no memory for a message", KITH_WS_CLOSE_INTERNAL);
    else
        kith__relay_session_finish(session, KITH_RELAY_END_PROTOCOL,
                                   err == KITH_ERR_TOO_LARGE ? "a message that is too long" : "broken WebSocket frames",
                                   session->reader.close_code);
}

static void on_ws_event(struct kith_relay_session *session, const struct kith_ws_event *event)
{
    session->turn_used += KITH_RELAY_MESSAGE_WORK;
    switch (event->kind) {
    case KITH_WS_BINARY:
        on_message(session, (struct kith_slice) { event->bytes, event->size });
        break;
    case KITH_WS_TEXT:
        kith__relay_count(&session->server->counters->text_messages, 1);
        break;
    case KITH_WS_PING:
        kith__relay_session_say_ws(session, KITH_WS_PONG, event->bytes, event->size);
        break;
    case KITH_WS_CLOSE:
        on_ws_close(session, event->code);
        break;
    default: /* PONG: we send no pings of that kind */
        break;
    }
}

static bool has_room(const struct kith_relay_server *server, size_t growth)
{
    const struct kith_relay_pool *pool = &server->pool;

    return server->held_used + growth <= pool->max / 2 && growth <= (pool->max - pool->used) / 2;
}

static void end_holder(struct kith_relay_session *session)
{
    release_held(session);
    kith__relay_session_finish(session, KITH_RELAY_END_MEMORY, "no memory for a message", KITH_WS_CLOSE_INTERNAL);
}

/**
 * The memory of a message that is not complete counts with that of the queues. When it is scarce, whose message began first has
 * to go: messages are complete soon, and those that never are shall not leave nothing to the others.
 */
static void charge_held(struct kith_relay_session *session, bool is_another)
{
    struct kith_relay_server *server = session->server;
    size_t held = session->reader.held.cap, growth = held > session->held_charged ? held - session->held_charged : 0;

    while (growth != 0 && !has_room(server, growth)) {
        struct kith_list *first = kith__list_first(&server->holders);
        struct kith_relay_session *oldest = first == NULL || (first == &session->in_holders && is_another)
                                                ? session
                                                : KITH_CONTAINER(first, struct kith_relay_session, in_holders);

        end_holder(oldest);
        if (oldest == session)
            return;
    }
    server->held_used = server->held_used - session->held_charged + held;
    server->pool.used = server->pool.used - session->held_charged + held;
    if (held == 0 || is_another)
        kith__list_remove(&session->in_holders);
    if (held != 0 && !kith__list_is_linked(&session->in_holders))
        kith__list_push_back(&server->holders, &session->in_holders);
    session->held_charged = (uint32_t)held;
}

/** Its work that counts against this turn: each turn since then has paid for one share. */
static uint64_t turn_used(const struct kith_relay_session *session)
{
    uint64_t paid = (uint64_t)(session->server->turn - session->turn) * session->server->limits.turn_size;

    return session->turn_used - KITH_MIN(session->turn_used, paid);
}

void kith__relay_session_receive(struct kith_relay_session *session, uint8_t *bytes, size_t size, uint64_t now_ns)
{
    struct kith_relay_server *server = session->server;
    uint8_t *end = bytes + size;
    struct kith_ws_event event;
    bool is_another = false; /* the message that is not complete now is not the one of before */
    int err = 0;

    (void)kith__relay_server_now(server, now_ns);
    if (session->turn != server->turn) {
        session->turn_used = turn_used(session);
        session->turn_posted = 0;
        session->turn = server->turn;
    }
    server->turn_is_busy = true;
    session->turn_used += size;
    session->received_bytes += size;
    session->last_received_ns = server->now_ns; /* also a part of a long message is a sign of life */
    while (session->state < KITH_RELAY_SESSION_CLOSING &&
           (err = kith__ws_reader_next(&session->reader, &bytes, end, &event)) == 0) {
        is_another |= event.kind == KITH_WS_BINARY || event.kind == KITH_WS_TEXT;
        on_ws_event(session, &event);
    }
    if (session->state < KITH_RELAY_SESSION_CLOSING && err != KITH_ERR_AGAIN)
        on_ws_error(session, err);
    charge_held(session, is_another);
    session->turn_used = KITH_MIN(session->turn_used, (uint64_t)KITH_RELAY_DEBT_TURNS * server->limits.turn_size);
}

bool kith__relay_session_is_in_debt(const struct kith_relay_session *session)
{
    return session->state < KITH_RELAY_SESSION_CLOSING && turn_used(session) >= session->server->limits.turn_size;
}

size_t kith__relay_session_turn_left(const struct kith_relay_session *session)
{
    const struct kith_relay_server *server = session->server;

    if (session->state == KITH_RELAY_SESSION_AUTHORIZING)
        return 0;
    return server->limits.turn_size - (size_t)KITH_MIN(turn_used(session), (uint64_t)server->limits.turn_size);
}

/* ---- Timers ---- */

/** How long a pong may take: three round trips, within bounds that a busy moment on either side does not exceed. */
static uint64_t pong_limit(const struct kith_relay_session *session)
{
    uint64_t least = session->server->limits.pong_ns;

    return KITH_MIN(KITH_MAX(3 * session->rtt_ns, least), 3 * least);
}

/** Progress is seen when a whole write is through: a large one, begun when a full buffer was not noticed yet, gets more time. */
static uint64_t stall_deadline(const struct kith_relay_session *session)
{
    uint64_t more_ns = 0;

    if (kith__relay_outbox_size(session->outbox) == 0)
        return KITH_NEVER;
    if (session->planned_size > KITH_RELAY_PLAN_START)
        more_ns = (session->planned_size - KITH_RELAY_PLAN_START) * (KITH_NS_PER_S / STALL_RATE);
    return session->progress_ns + session->server->limits.stall_ns + more_ns;
}

static uint64_t ping_deadline(const struct kith_relay_session *session)
{
    return session->is_ping_out ? KITH_MAX(session->ping_sent_ns, session->last_received_ns) + pong_limit(session)
                                : session->last_received_ns + session->idle_ns;
}

uint64_t kith__relay_session_deadline(const struct kith_relay_session *session)
{
    switch ((enum kith_relay_session_state)session->state) {
    case KITH_RELAY_SESSION_READY:
        return KITH_MIN(session->until_ns, KITH_MIN(stall_deadline(session), ping_deadline(session)));
    case KITH_RELAY_SESSION_ENDED:
        return KITH_NEVER;
    default:
        return KITH_MIN(session->until_ns, stall_deadline(session));
    }
}

static void send_ping(struct kith_relay_session *session)
{
    struct kith_relay_server *server = session->server;

    kith__random_fill(server->random, session->ping, sizeof session->ping);
    session->is_ping_out = true;
    session->ping_sent_ns = server->now_ns;
    kith__relay_count(&server->counters->pings_sent, 1);
    kith__relay_session_say(session, &(struct kith_relay_frame) { .kind = KITH_RELAY_PING, .ping = session->ping });
}

/** Its turn to be drained: when to come back is spread too, or all would come at once. */
static void restart(struct kith_relay_session *session)
{
    struct kith_relay_server *server = session->server;
    uint64_t in_ns = kith__random_below(server->random, server->restart_spread_ns + 1);

    kith__relay_session_say(
        session, &(struct kith_relay_frame) {
                     .kind = KITH_RELAY_RESTARTING,
                     .restarting = { (uint32_t)KITH_MIN(in_ns / KITH_NS_PER_MS, UINT32_MAX),
                                     (uint32_t)KITH_MIN(server->restart_try_ns / KITH_NS_PER_MS, UINT32_MAX) } });
    kith__relay_session_finish(session, KITH_RELAY_END_BY_US, "the relay is restarting", KITH_WS_CLOSE_RESTART);
}

/** We were late ourselves: what the other side did in the meantime has not been looked at. It gets its time again. */
static void forgive(struct kith_relay_session *session, uint64_t now_ns)
{
    struct kith_relay_server *server = session->server;

    session->progress_ns = now_ns;
    if (session->is_ping_out)
        session->ping_sent_ns = now_ns;
    if (session->state != KITH_RELAY_SESSION_READY)
        session->until_ns = KITH_MAX(session->until_ns, now_ns + server->limits.stall_ns);
}

static void on_deadline_of_ready(struct kith_relay_session *session, uint64_t now_ns)
{
    if (session->until_ns <= now_ns)
        restart(session);
    else if (ping_deadline(session) > now_ns)
        return;
    else if (session->is_ping_out)
        kith__relay_session_finish(session, KITH_RELAY_END_PING_TIMEOUT,
                                   kith__relay_end_text(KITH_RELAY_END_PING_TIMEOUT), KITH_WS_CLOSE_GOING_AWAY);
    else
        send_ping(session);
}

void kith__relay_session_on_timer(struct kith_relay_session *session, uint64_t now_ns)
{
    if (now_ns < session->server->grace_until_ns)
        forgive(session, now_ns);
    if (stall_deadline(session) <= now_ns) {
        kith__relay_session_end(session, KITH_RELAY_END_STALLED, kith__relay_end_text(KITH_RELAY_END_STALLED));
        return;
    }
    switch ((enum kith_relay_session_state)session->state) {
    case KITH_RELAY_SESSION_READY:
        on_deadline_of_ready(session, now_ns);
        break;
    case KITH_RELAY_SESSION_PROVING:
        if (session->until_ns <= now_ns)
            kith__relay_session_finish(session, KITH_RELAY_END_HANDSHAKE_TIMEOUT,
                                       kith__relay_end_text(KITH_RELAY_END_HANDSHAKE_TIMEOUT), KITH_WS_CLOSE_PROTOCOL);
        break;
    case KITH_RELAY_SESSION_AUTHORIZING:
        if (session->until_ns <= now_ns)
            deny(session, KITH_RELAY_END_DENIED, KITH_RELAY_REASON_NOT_AUTHORIZED);
        break;
    case KITH_RELAY_SESSION_CLOSING:
        if (session->until_ns <= now_ns)
            kith__relay_session_end(session, (enum kith_relay_end)session->end, session->why);
        break;
    case KITH_RELAY_SESSION_ENDED:
        break;
    }
}

/* ---- Questions ---- */

struct kith_relay_session_info kith__relay_session_info(const struct kith_relay_session *session)
{
    return (struct kith_relay_session_info) {
        .state = (enum kith_relay_session_state)session->state,
        .version = (enum kith_relay_version)session->version,
        .remote = session->remote,
        .id = session->id,
        .accepted_ns = session->accepted_ns,
        .last_received_ns = session->last_received_ns,
        .rtt_ns = session->rtt_ns,
        .received_bytes = session->received_bytes,
        .sent_bytes = session->sent_bytes,
        .dropped_frames = session->dropped_frames,
        .queued_bytes = (uint32_t)kith__relay_session_output_size(session),
        .queued_frames = (uint32_t)kith__relay_outbox_frames(session->outbox),
        .is_newest = session->is_joined && session->was_told_newest,
    };
}

void *kith__relay_session_user(const struct kith_relay_session *session)
{
    return session->user;
}

uint64_t kith__relay_session_handle(const struct kith_relay_session *session)
{
    return session->handle;
}
