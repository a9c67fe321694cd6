/*
 * TCP of the simulated world: reliable, in order, late by delay, jitter and rate of the links (whose time it shares with
 * datagrams). Instead of packets and acknowledgements there are pieces of the byte stream:
 *
 *   - A piece that a link would lose comes later, by a retransmission timeout.
 *   - Sent and not read yet are at most as many bytes as the receiver's window: a slow reader holds up the writer.
 *   - While the way is closed in one direction or the other (a cut link, a partition, a blackhole, a host or an interface
 *     that is down) nothing arrives, and neither side is told. The sender tries again, ever more rarely. It gives up after
 *     its time limit; the other side learns of that only if it sends, or asks for a sign of life.
 *   - An end that is gone answers with a reset.
 *
 * NATs and firewalls do not hold up TCP. Closing on a host that is down leaves no trace on the network: a crash.
 */
#include "rt/sim/tcp.h"
#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>

enum { CHUNK_MAX = 16384 };

#define RETRY_MIN_NS   (200 * KITH_NS_PER_MS) /* Linux's shortest retransmission timeout */
#define RETRY_MAX_NS   (5 * KITH_NS_PER_S)
#define CONNECT_MIN_NS KITH_NS_PER_S
#define CONNECT_MAX_NS (127 * KITH_NS_PER_S) /* Linux: six tries */
#define GIVE_UP_NS     (900 * KITH_NS_PER_S) /* Linux: fifteen tries, some 15 minutes */
#define NO_MEMORY_NS   (10 * KITH_NS_PER_MS)

/* ---- Pieces ---- */

static void queue_push(struct sim_queue *queue, struct sim_chunk *chunk)
{
    chunk->next = NULL;
    if (queue->last != NULL)
        queue->last->next = chunk;
    else
        queue->first = chunk;
    queue->last = chunk;
    queue->size += chunk->size;
}

static struct sim_chunk *queue_pop(struct sim_queue *queue)
{
    struct sim_chunk *chunk = queue->first;

    queue->first = chunk->next;
    if (queue->first == NULL)
        queue->last = NULL;
    queue->size -= chunk->size;
    return chunk;
}

static void queue_clear(struct kith_sim *sim, struct sim_queue *queue)
{
    while (queue->first != NULL)
        kith__free(sim->mem, queue_pop(queue));
}

/* ---- The way ---- */

static bool is_local(const struct sim_end *end)
{
    return end->host == kith__sim_end_other(end)->host;
}

/** False while anything between the two keeps packets from passing in either direction. */
static bool way_is_open(const struct sim_end *end)
{
    const struct sim_end *other = kith__sim_end_other(end);

    if (end->host->is_down || other->host->is_down)
        return false;
    if (is_local(end))
        return true;
    return kith__sim_interface_has(end->interface, &end->local) &&
           kith__sim_interface_has(other->interface, &other->local) &&
           kith__sim_way_is_open(end->interface, &other->remote, other->interface, &end->remote) &&
           kith__sim_way_is_open(other->interface, &end->remote, end->interface, &other->remote);
}

static uint64_t over_link(struct kith_sim *sim, const struct kith_sim_link *link, struct sim_link_state *state,
                          size_t size, uint64_t at)
{
    if (link->rate != 0)
        at = state->busy_until_ns = KITH_MAX(at, state->busy_until_ns) + size * 8 * KITH_NS_PER_S / link->rate;
    if (link->jitter_ns != 0)
        at += kith__random_below(&sim->random, link->jitter_ns + 1);
    if (kith__sim_chance(sim, link->loss_ppm))
        at += RETRY_MIN_NS;
    return at + link->delay_ns;
}

/** When `size` bytes arrive that leave now. */
static uint64_t arrival(struct sim_end *end, size_t size)
{
    struct kith_sim *sim = end->conn->sim;
    struct sim_interface *from = end->interface, *to = kith__sim_end_other(end)->interface;
    struct kith_sim_nat *from_nat = from->options.nat, *to_nat = to->options.nat;
    uint64_t at = sim->now_ns;

    if (is_local(end))
        return at;
    at = over_link(sim, &from->options.up, &from->up, size, at);
    if (from_nat != to_nat && from_nat != NULL)
        at = over_link(sim, &from_nat->options.up, &from_nat->up, size, at);
    if (from_nat != to_nat && to_nat != NULL)
        at = over_link(sim, &to_nat->options.down, &to_nat->down, size, at);
    return over_link(sim, &to->options.down, &to->down, size, at);
}

/** The delay alone: of answers that take no time of a link. */
static uint64_t way_delay(const struct sim_end *end)
{
    const struct sim_interface *from = end->interface, *to = kith__sim_end_other(end)->interface;
    const struct kith_sim_nat *from_nat = from->options.nat, *to_nat = to->options.nat;
    uint64_t delay_ns = 0;

    if (is_local(end))
        return 0;
    if (from_nat != to_nat)
        delay_ns = (from_nat != NULL ? from_nat->options.up.delay_ns : 0) +
                   (to_nat != NULL ? to_nat->options.down.delay_ns : 0);
    return delay_ns + from->options.up.delay_ns + to->options.down.delay_ns;
}

/* ---- Life ---- */

static void end_dispose(struct sim_end *end)
{
    struct kith_sim *sim = end->conn->sim;

    kith__sim_event_remove(sim, &end->act);
    kith__sim_event_remove(sim, &end->arrive);
    kith__sim_event_remove(sim, &end->room);
    kith__sim_event_remove(sim, &end->keep);
    queue_clear(sim, &end->way);
    queue_clear(sim, &end->inbox);
    kith__list_remove(&end->node);
    kith__sim_tcp_leave(end);
}

void kith__sim_tcp_leave(struct sim_end *end)
{
    if (end->listener == NULL)
        return;
    kith__list_remove(&end->waiting);
    end->listener->waiting_count--;
    end->listener = NULL;
}

static void conn_free(struct sim_conn *conn)
{
    end_dispose(&conn->ends[0]);
    end_dispose(&conn->ends[1]);
    kith__list_remove(&conn->node);
    kith__free(conn->sim->mem, conn);
}

static bool is_over(const struct sim_end *end)
{
    return end->stream == NULL && end->state != SIM_END_WAITING;
}

void kith__sim_tcp_use(struct sim_conn *conn)
{
    conn->uses++;
}

void kith__sim_tcp_release(struct sim_conn *conn)
{
    KITH_ASSERT(conn->uses > 0);
    if (--conn->uses == 0 && is_over(&conn->ends[0]) && is_over(&conn->ends[1]))
        conn_free(conn);
}

void kith__sim_tcp_bury(struct kith_sim *sim)
{
    KITH_LIST_EACH_SAFE(node, after, &sim->conns)
    {
        struct sim_conn *conn = KITH_CONTAINER(node, struct sim_conn, node);

        if (conn->ends[0].stream == NULL && conn->ends[1].stream == NULL)
            conn_free(conn);
    }
}

void kith__sim_tcp_act(struct sim_end *end)
{
    kith__sim_event_set(end->conn->sim, &end->act, end->conn->sim->now_ns);
}

static void silence(struct sim_end *end)
{
    struct kith_sim *sim = end->conn->sim;

    queue_clear(sim, &end->way);
    kith__sim_event_set(sim, &end->arrive, KITH_NEVER);
    kith__sim_event_set(sim, &end->room, KITH_NEVER);
    kith__sim_event_set(sim, &end->keep, KITH_NEVER);
}

void kith__sim_tcp_fail(struct sim_end *end, int err)
{
    struct kith_sim *sim = end->conn->sim;

    if (end->state == SIM_END_DEAD)
        return;
    kith__sim_trace(sim, sim->now_ns ^ (uint64_t)(unsigned)err);
    sim->stats.tcp_resets += err == KITH_ERR_RESET;
    sim->stats.tcp_timeouts += err == KITH_ERR_TIMEOUT;
    if (end->stream != NULL && end->state == SIM_END_CONNECTING) {
        end->stream->open_err = err;
        end->stream->is_open_due = true;
    }
    end->state = SIM_END_DEAD;
    end->error = err;
    kith__sim_tcp_leave(end);
    silence(end);
    if (end->stream != NULL && end->stream->slices != NULL) {
        end->stream->written_err = err;
        end->stream->is_written_due = true;
    }
    if (end->stream != NULL)
        kith__sim_tcp_act(end);
}

/* ---- Sending ---- */

static bool send_chunk(struct sim_end *end, enum sim_chunk_kind kind, const uint8_t *bytes, size_t size)
{
    struct kith_sim *sim = end->conn->sim;
    struct sim_chunk *chunk = kith__alloc(sim->mem, sizeof *chunk + size);

    if (chunk == NULL) {
        kith__sim_event_set(sim, &end->room, sim->now_ns + NO_MEMORY_NS);
        return false;
    }
    *chunk = (struct sim_chunk) { .size = size, .kind = (uint8_t)kind, .sent_ns = sim->now_ns };
    if (size > 0)
        memcpy(chunk->bytes, bytes, size);
    chunk->arrives_ns = arrival(end, size);
    chunk->arrives_ns = end->last_arrival_ns = KITH_MAX(chunk->arrives_ns, end->last_arrival_ns);
    if (end->way.first == NULL)
        kith__sim_event_set(sim, &end->arrive, chunk->arrives_ns);
    queue_push(&end->way, chunk);
    return true;
}

static size_t room_of(const struct sim_end *end)
{
    size_t used = end->way.size + kith__sim_end_other(end)->inbox.size;
    size_t window = kith__sim_end_other(end)->host->options.tcp_window;

    return used < window ? window - used : 0;
}

static void write_done(struct sim_end *end)
{
    end->stream->written_err = 0;
    end->stream->is_written_due = true;
    kith__sim_tcp_act(end);
}

void kith__sim_tcp_pump(struct sim_end *end)
{
    struct sim_stream *stream = end->stream;
    size_t room;

    if (stream == NULL || end->state != SIM_END_OPEN)
        return;
    while (stream->slices != NULL && !stream->is_written_due && (room = room_of(end)) > 0) {
        struct kith_slice slice = stream->slices[stream->slice_index];
        size_t part = KITH_MIN(KITH_MIN(slice.size - stream->slice_done, room), (size_t)CHUNK_MAX);

        if (!send_chunk(end, SIM_CHUNK_DATA, slice.ptr + stream->slice_done, part))
            return;
        stream->slice_done += part;
        if (stream->slice_done == slice.size) {
            stream->slice_index++;
            stream->slice_done = 0;
        }
        if (stream->slice_index == stream->slice_count)
            write_done(end);
    }
    if (stream->is_shut && !end->is_end_sent && (stream->slices == NULL || stream->is_written_due))
        end->is_end_sent = send_chunk(end, SIM_CHUNK_END, NULL, 0);
}

static void on_room(struct kith_sim *sim, struct sim_event *event)
{
    kith__sim_event_set(sim, event, KITH_NEVER);
    kith__sim_tcp_pump(KITH_CONTAINER(event, struct sim_end, room));
}

struct sim_chunk *kith__sim_tcp_take(struct sim_end *end)
{
    struct sim_end *other = kith__sim_end_other(end);
    struct kith_sim *sim = end->conn->sim;

    struct sim_chunk *chunk = queue_pop(&end->inbox);

    if (other->state == SIM_END_OPEN && other->room.node.key == KITH_NEVER)
        kith__sim_event_set(sim, &other->room, sim->now_ns + way_delay(end));
    return chunk;
}

/* ---- Arriving ---- */

static void trace_chunk(const struct sim_end *end, const struct sim_chunk *chunk)
{
    struct kith_sim *sim = end->conn->sim;
    uint64_t word;

    kith__sim_trace(sim, sim->now_ns);
    kith__sim_trace(sim, chunk->size << 8 | chunk->kind);
    kith__sim_trace(sim, (uint64_t)end->local.port << 16 | end->remote.port);
    for (size_t at = 0; at + sizeof word <= chunk->size; at += sizeof word) {
        memcpy(&word, chunk->bytes + at, sizeof word);
        kith__sim_trace(sim, word);
    }
    word = 0;
    memcpy(&word, chunk->bytes + chunk->size / sizeof word * sizeof word, chunk->size % sizeof word);
    kith__sim_trace(sim, word);
}

static void take_chunk(struct sim_end *from, struct sim_end *to, struct sim_chunk *chunk)
{
    struct kith_sim *sim = from->conn->sim;

    trace_chunk(from, chunk);
    if (chunk->kind == SIM_CHUNK_DATA && to->state != SIM_END_DEAD) {
        sim->stats.tcp_bytes += chunk->size;
        queue_push(&to->inbox, chunk);
        return;
    }
    if (chunk->kind == SIM_CHUNK_DATA) /* nobody is there any more */
        kith__sim_tcp_fail(from, KITH_ERR_RESET);
    else if (chunk->kind == SIM_CHUNK_RESET)
        kith__sim_tcp_fail(to, KITH_ERR_RESET);
    else
        to->has_end = true;
    kith__free(sim->mem, chunk);
}

static uint64_t limit_of(const struct sim_end *end)
{
    return end->timeout_ns != 0 ? end->timeout_ns : GIVE_UP_NS;
}

static void try_again_later(struct sim_end *end)
{
    struct kith_sim *sim = end->conn->sim;
    uint64_t limit_ns = end->way.first->sent_ns + limit_of(end);

    if (sim->now_ns >= limit_ns) {
        kith__sim_tcp_fail(end, KITH_ERR_TIMEOUT);
        if (end->stream == NULL)
            silence(end); /* closed before: nobody is to be told */
        return;
    }
    sim->stats.tcp_retries++;
    end->retry_ns = end->retry_ns == 0 ? RETRY_MIN_NS : KITH_MIN(end->retry_ns * 2, RETRY_MAX_NS);
    kith__sim_event_set(sim, &end->arrive, KITH_MIN(sim->now_ns + end->retry_ns, limit_ns));
}

static void deliver(struct sim_end *end)
{
    struct kith_sim *sim = end->conn->sim;
    struct sim_end *other = kith__sim_end_other(end);

    end->retry_ns = 0;
    end->heard_ns = other->heard_ns = sim->now_ns;
    while (end->way.first != NULL && end->way.first->arrives_ns <= sim->now_ns)
        take_chunk(end, other, queue_pop(&end->way));
    if (end->way.first != NULL)
        kith__sim_event_set(sim, &end->arrive, end->way.first->arrives_ns);
    if (other->stream != NULL)
        kith__sim_tcp_act(other);
    kith__sim_tcp_pump(end); /* an end without bytes needs no room, but memory may have been short */
}

static void try_to_connect(struct sim_end *client);

static void on_arrive(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_end *end = KITH_CONTAINER(event, struct sim_end, arrive);
    struct sim_conn *conn = end->conn;

    kith__sim_event_set(sim, event, KITH_NEVER);
    kith__sim_tcp_use(conn);
    if (end->state == SIM_END_CONNECTING)
        try_to_connect(end);
    else if (end->way.first != NULL && !way_is_open(end))
        try_again_later(end);
    else if (end->way.first != NULL)
        deliver(end);
    kith__sim_tcp_release(conn);
}

static void on_act(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_end *end = KITH_CONTAINER(event, struct sim_end, act);
    struct sim_conn *conn = end->conn;
    struct kith_sim_host *host = end->host;

    kith__sim_event_set(sim, event, KITH_NEVER);
    if (end->stream == NULL || host->is_down) /* asked again when the host is up */
        return;
    kith__sim_tcp_use(conn);
    if (end->state == SIM_END_CONNECTING) { /* the answer has come */
        end->state = SIM_END_OPEN;
        end->stream->is_open_due = true;
    }
    kith__sim_stream_tell(end->stream);
    kith__sim_host_ready(host);
    kith__sim_tcp_release(conn);
}

/* ---- Signs of life ---- */

static void on_keep(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_end *end = KITH_CONTAINER(event, struct sim_end, keep);
    uint64_t idle_ns = sim->now_ns - end->heard_ns;

    kith__sim_event_set(sim, event, KITH_NEVER);
    if (end->state != SIM_END_OPEN || end->stream == NULL)
        return;
    if (end->host->is_down || idle_ns < KITH_RT_TCP_IDLE_NS) {
        end->probes = 0;
        kith__sim_event_set(sim, event, sim->now_ns + KITH_RT_TCP_IDLE_NS - (end->host->is_down ? 0 : idle_ns));
    } else if (way_is_open(end) && kith__sim_end_other(end)->state == SIM_END_DEAD) {
        kith__sim_tcp_fail(end, KITH_ERR_RESET);
    } else if (way_is_open(end)) {
        end->heard_ns = sim->now_ns;
        end->probes = 0;
        kith__sim_event_set(sim, event, sim->now_ns + KITH_RT_TCP_IDLE_NS);
    } else if (end->probes++ == KITH_RT_TCP_PROBES) {
        kith__sim_tcp_fail(end, KITH_ERR_TIMEOUT);
    } else {
        kith__sim_event_set(sim, event, sim->now_ns + KITH_RT_TCP_PROBE_NS);
    }
}

/* ---- Connecting ---- */

static void end_init(struct sim_conn *conn, struct sim_end *end)
{
    end->conn = conn;
    kith__heap_node_init(&end->act.node);
    kith__heap_node_init(&end->arrive.node);
    kith__heap_node_init(&end->room.node);
    kith__heap_node_init(&end->keep.node);
    kith__list_init(&end->node);
    kith__list_init(&end->waiting);
}

static int end_add_events(struct sim_end *end)
{
    struct kith_sim *sim = end->conn->sim;
    int err;

    if ((err = kith__sim_event_add(sim, &end->act, on_act)) != 0 ||
        (err = kith__sim_event_add(sim, &end->arrive, on_arrive)) != 0 ||
        (err = kith__sim_event_add(sim, &end->room, on_room)) != 0)
        return err;
    return kith__sim_event_add(sim, &end->keep, on_keep);
}

/** Where a connection leads to: to the host itself for unix and loopback, else by address, in the core or behind our NAT. */
static struct sim_interface *find_interface(struct kith_sim_host *host, const struct kith_rt_stream_addr *to)
{
    static const uint8_t v6_loopback[16] = { [15] = 1 };
    struct sim_interface *route;
    struct sim_owner *owner;

    if (to->unix_path != NULL || (to->ip.family == KITH_FAMILY_V4 && to->ip.ip[0] == 127) ||
        (to->ip.family == KITH_FAMILY_V6 && memcmp(to->ip.ip, v6_loopback, sizeof v6_loopback) == 0))
        return &host->interfaces[0];
    route = kith__sim_route(host, &to->ip);
    owner = route != NULL ? kith__sim_neighbour(route, &to->ip) : NULL;
    if (owner == NULL)
        owner = kith__sim_address_find(host->sim, 0, &to->ip);
    return owner != NULL ? owner->interface : NULL;
}

static struct kith_sockaddr first_address(const struct sim_interface *interface, uint8_t family)
{
    for (size_t i = 0; i < KITH_SIM_HOST_ADDRS_MAX; i++)
        if (interface->options.addrs[i].family == family)
            return interface->options.addrs[i];
    return (struct kith_sockaddr) { .family = family };
}

/** Both sides' addresses, as each sees them. */
static void set_addresses(struct sim_conn *conn)
{
    struct sim_end *client = &conn->ends[0], *server = &conn->ends[1];
    const struct kith_sim_nat *nat = client->interface->options.nat;

    if (conn->to.unix_path != NULL)
        return;
    client->remote = server->local = conn->to.ip;
    client->local = is_local(client) ? conn->to.ip : first_address(client->interface, conn->to.ip.family);
    client->local.port = client->host->next_port++;
    if (client->host->next_port == 0)
        client->host->next_port = 40000;
    server->remote = client->local;
    if (nat != NULL && nat != server->interface->options.nat && conn->to.ip.family == KITH_FAMILY_V4)
        memcpy(server->remote.ip, nat->options.outer.ip, sizeof server->remote.ip);
}

int kith__sim_tcp_connect(struct kith_sim_host *host, const struct kith_rt_stream_addr *to, struct sim_stream *stream)
{
    struct kith_sim *sim = host->sim;
    struct sim_conn *conn = kith__alloc_zero(sim->mem, sizeof *conn);
    struct sim_end *client;

    if (conn == NULL)
        return KITH_ERR_NOMEM;
    conn->sim = sim;
    conn->to = *to;
    if (to->unix_path != NULL) {
        snprintf(conn->unix_path, sizeof conn->unix_path, "%s", to->unix_path);
        conn->to.unix_path = conn->unix_path;
    }
    kith__list_push_back(&sim->conns, &conn->node);
    end_init(conn, &conn->ends[0]);
    end_init(conn, &conn->ends[1]);
    if (end_add_events(&conn->ends[0]) != 0 || end_add_events(&conn->ends[1]) != 0) {
        conn_free(conn);
        return KITH_ERR_NOMEM;
    }
    client = &conn->ends[0];
    client->host = host;
    client->stream = stream;
    client->state = SIM_END_CONNECTING;
    client->heard_ns = sim->now_ns; /* while connecting: when it began */
    kith__list_push_back(&host->ends, &client->node);
    stream->end = client;
    try_to_connect(client);
    return 0;
}

static void answer(struct sim_end *client, int err)
{
    struct kith_sim *sim = client->conn->sim;
    uint64_t delay_ns = client->conn->ends[1].host != NULL ? way_delay(&client->conn->ends[1]) : 0;

    if (err != 0)
        kith__sim_tcp_fail(client, err);
    kith__sim_event_set(sim, &client->act, sim->now_ns + delay_ns);
}

static void connect_later(struct sim_end *client)
{
    struct kith_sim *sim = client->conn->sim;
    uint64_t limit_ns = client->heard_ns + (client->timeout_ns != 0 ? client->timeout_ns : CONNECT_MAX_NS);

    if (sim->now_ns >= limit_ns) {
        kith__sim_tcp_fail(client, KITH_ERR_TIMEOUT);
        return;
    }
    client->retry_ns = client->retry_ns == 0 ? CONNECT_MIN_NS : client->retry_ns * 2;
    kith__sim_event_set(sim, &client->arrive, KITH_MIN(sim->now_ns + client->retry_ns, limit_ns));
}

/** The server's end comes to be. */
static void meet(struct sim_end *client, struct sim_listener *listener)
{
    struct sim_conn *conn = client->conn;
    struct sim_end *server = &conn->ends[1];
    struct kith_sim *sim = conn->sim;

    server->state = SIM_END_WAITING;
    client->retry_ns = 0;
    client->heard_ns = server->heard_ns = sim->now_ns;
    sim->stats.tcp_connections++;
    kith__list_push_back(&server->host->ends, &server->node);
    kith__sim_listener_offer(listener, server);
    if (conn->to.unix_path == NULL)
        kith__sim_event_set(sim, &client->keep, sim->now_ns + KITH_RT_TCP_IDLE_NS);
    answer(client, 0);
}

void kith__sim_tcp_accept(struct sim_end *end, struct sim_stream *stream)
{
    struct kith_sim *sim = end->conn->sim;

    kith__sim_tcp_leave(end);
    end->stream = stream;
    stream->end = end;
    end->state = SIM_END_OPEN;
    end->heard_ns = sim->now_ns;
    if (end->conn->to.unix_path == NULL)
        kith__sim_event_set(sim, &end->keep, sim->now_ns + KITH_RT_TCP_IDLE_NS);
    kith__sim_tcp_act(end);
}

/** First called when the user connects, then when the request has passed the way, or again later. */
static void try_to_connect(struct sim_end *client)
{
    struct sim_conn *conn = client->conn;
    struct sim_end *server = &conn->ends[1];
    struct sim_listener *listener;
    bool is_new = client->interface == NULL;

    if (is_new) {
        struct sim_interface *there = find_interface(client->host, &conn->to);
        struct sim_interface *here = kith__sim_route(client->host, &conn->to.ip);

        client->interface = here != NULL ? here : &client->host->interfaces[0];
        if (there == NULL || (here == NULL && there->host != client->host)) {
            answer(client, KITH_ERR_UNREACHABLE);
            return;
        }
        server->interface = there;
        server->host = there->host;
        set_addresses(conn);
        kith__sim_event_set(conn->sim, &client->arrive, conn->sim->now_ns + way_delay(client));
        return;
    }
    if (!way_is_open(client)) {
        connect_later(client);
        return;
    }
    if ((listener = kith__sim_listener_find(server->host, &conn->to)) == NULL)
        answer(client, conn->to.unix_path != NULL ? KITH_ERR_NOT_FOUND : KITH_ERR_REFUSED);
    else if (listener->waiting_count >= listener->backlog)
        connect_later(client); /* as Linux does: the request is dropped */
    else
        meet(client, listener);
}

/* ---- Closing ---- */

void kith__sim_tcp_close(struct sim_end *end)
{
    struct sim_conn *conn = end->conn;
    struct sim_end *other = kith__sim_end_other(end);
    bool was_connecting = end->state == SIM_END_CONNECTING;
    bool was_waiting = end->state == SIM_END_WAITING;
    bool is_there = end->state == SIM_END_OPEN || was_waiting || (was_connecting && other->state != SIM_END_IDLE);
    /* Bytes that nobody reads; an answer that nobody wants; a connection that nobody takes. */
    bool resets = end->inbox.first != NULL || was_connecting || was_waiting;

    kith__sim_tcp_use(conn);
    end->stream = NULL;
    end->state = SIM_END_DEAD;
    kith__sim_tcp_leave(end);
    kith__sim_event_set(conn->sim, &end->act, KITH_NEVER);
    queue_clear(conn->sim, &end->inbox);
    if (!is_there || end->host->is_down || other->state == SIM_END_DEAD)
        silence(end);
    else if (!end->is_end_sent || resets)
        end->is_end_sent = send_chunk(end, resets ? SIM_CHUNK_RESET : SIM_CHUNK_END, NULL, 0);
    kith__sim_tcp_release(conn);
}
