#include "relay_world.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "rt/sim/world.h"

#include <stdio.h>
#include <string.h>

enum { CLIENTS_OF_A_HOST = 100, CHECK_OFTEN = 8, CHECK_SELDOM = 2000, WRITE_MAX = 32 << 10, HEAD_SIZE = 16 };

/* From the dial to the relay's word that we are its client. */
#define DIAL_NS (5 * KITH_NS_PER_S)

/** The relay's end of a connection. */
struct relay_link {
    struct kith_list node;
    struct kith_simrelay *world;
    struct kith_rt_stream *stream;
    struct kith_relay_session *session;
    size_t writing; /* bytes under way */
    bool is_paused;
};

static uint64_t now_of(const struct kith_simrelay *world)
{
    return kith__sim_now(world->trial->sim);
}

/* ---- The relay: the core, driven as its header says ---- */

static void link_close(struct relay_link *link)
{
    kith__rt_stream_close(link->stream);
    link->world->paused_count -= link->is_paused;
    kith__relay_session_free(link->session, now_of(link->world));
    kith__list_remove(&link->node);
    kith__free(kith_mem_default(), link);
}

static void link_on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct relay_link *link = ctx;

    kith__relay_session_receive(link->session, bytes, size, now_of(link->world));
    if (kith__relay_session_turn_left(link->session) == 0) {
        link->world->paused_count += !link->is_paused;
        link->is_paused = true;
        kith__rt_stream_read_stop(link->stream);
    }
}

static void link_on_end(void *ctx, int err)
{
    (void)err;
    link_close(ctx);
}

static void link_on_written(void *ctx, int err)
{
    struct relay_link *link = ctx;
    size_t size = link->writing;

    link->writing = 0;
    if (err != 0)
        link_close(link);
    else
        kith__relay_session_sent(link->session, size, now_of(link->world));
}

static void on_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct kith_simrelay *world = ctx;
    struct relay_link *link = kith__alloc_zero(kith_mem_default(), sizeof *link);
    struct kith_relay_open open = { .version = KITH_RELAY_V2, .remote = kith__rt_stream_remote(stream), .user = link };
    int err;

    KITH_ASSERT(link != NULL);
    open.accepted_ns = now_of(world);
    link->world = world;
    link->stream = stream;
    kith__list_push_back(&world->links, &link->node);
    err = kith__relay_session_open(world->server, &open, open.accepted_ns, &link->session);
    if (err != 0) {
        link_close(link); /* it is draining */
        return;
    }
    kith__rt_stream_set_events(
        stream, &(struct kith_rt_stream_events) {
                    .on_data = link_on_data, .on_end = link_on_end, .on_written = link_on_written, .ctx = link });
    kith__rt_stream_read_start(stream);
}

static void write_out(struct kith_simrelay *world)
{
    struct kith_slice slices[KITH_RT_STREAM_SLICES_MAX];
    struct kith_relay_session *session;

    while ((session = kith__relay_server_next_writer(world->server)) != NULL) {
        struct relay_link *link = kith__relay_session_user(session);
        size_t count = kith__relay_session_output(session, slices, KITH_COUNT(slices));

        for (size_t i = 0; i < count; i++)
            link->writing += slices[i].size;
        if (count != 0 && kith__rt_stream_write_slices(link->stream, slices, count) != 0)
            kith__sim_wrong(world->trial->sim, "a write was not taken");
    }
}

static void resume_paused(struct kith_simrelay *world)
{
    if (world->paused_count == 0)
        return;
    KITH_LIST_EACH(node, &world->links)
    {
        struct relay_link *link = KITH_CONTAINER(node, struct relay_link, node);

        if (link->is_paused && kith__relay_session_turn_left(link->session) != 0) {
            world->paused_count--;
            link->is_paused = false;
            kith__rt_stream_read_start(link->stream);
        }
    }
}

static void on_turn_end(void *ctx)
{
    struct kith_simrelay *world = ctx;
    struct kith_relay_event event;

    if (world->server == NULL)
        return;
    write_out(world);
    while (kith__relay_server_next_event(world->server, &event))
        if (event.kind == KITH_RELAY_EVENT_ENDED) {
            world->ends[event.end]++;
            link_close(event.user);
        }
    kith__relay_server_flush(world->server);
    resume_paused(world);
    kith__rt_timer_set(&world->timer, kith__relay_server_deadline(world->server));
}

static void on_relay_timer(void *ctx, uint64_t now_ns)
{
    struct kith_simrelay *world = ctx;

    if (world->server != NULL)
        kith__relay_server_on_deadline(world->server, now_ns);
}

void kith__simrelay_start(struct kith_simrelay *world)
{
    struct kith_rt *rt = kith__sim_rt(world->host);
    struct kith_rt_stream_addr at = { .ip = kith__trial_address("10.0.0.2:3340") };
    struct kith_relay_server_options options = { .mem = kith_mem_default(),
                                                 .random = &rt->random,
                                                 .routes = &world->routes,
                                                 .counters = &world->counters,
                                                 .limits = &world->limits };

    KITH_ASSERT(kith__relay_routes_local_new(kith_mem_default(), world->trial->seed, &world->routes) == 0);
    KITH_ASSERT(kith__relay_server_new(&options, &world->server) == 0);
    KITH_ASSERT(kith__rt_listen(rt, &at, on_accept, world, &world->listener) == 0);
}

void kith__simrelay_crash(struct kith_simrelay *world)
{
    struct kith_list *node;

    kith__rt_listener_close(world->listener);
    while ((node = kith__list_first(&world->links)) != NULL)
        link_close(KITH_CONTAINER(node, struct relay_link, node));
    kith__relay_server_free(world->server);
    kith__relay_routes_free(&world->routes);
    kith__rt_timer_set(&world->timer, KITH_NEVER);
    world->server = NULL;
}

void kith__simrelay_open(struct kith_simrelay *world, struct kith_trial *trial, const struct kith_sim_link *link,
                         const struct kith_relay_server_limits *limits, size_t client_max)
{
    struct kith_sim_host_options options = { .name = "relay", .up = *link, .down = *link };

    *world = (struct kith_simrelay) { .trial = trial, .client_cap = client_max };
    if (limits != NULL)
        world->limits = *limits;
    kith__list_init(&world->links);
    options.addrs[0] = kith__trial_address("10.0.0.2:0");
    KITH_ASSERT(kith__sim_host_new(trial->sim, &options, &world->host) == 0);
    kith__rt_set_hooks(kith__sim_rt(world->host), &(struct kith_rt_hooks) { .on_turn_end = on_turn_end, .ctx = world });
    KITH_ASSERT(kith__rt_timer_init(kith__sim_rt(world->host), &world->timer, on_relay_timer, world) == 0);
    world->clients = kith__alloc_array(kith_mem_default(), client_max, sizeof *world->clients);
    KITH_ASSERT(world->clients != NULL);
    kith__simrelay_start(world);
}

/* ---- Clients ---- */

static void client_pump(struct kith_simrelay_client *client);

static void client_drop(struct kith_simrelay_client *client)
{
    if (client->stream == NULL)
        return;
    kith__rt_stream_close(client->stream);
    client->stream = NULL;
    client->is_writing = false;
    client->world->ready_count -= client->ready_ns != 0;
    client->ready_ns = 0;
    client->out.size = 0;
    kith__ws_reader_dispose(&client->reader);
    kith__relay_client_stop(&client->machine);
    client->dial_at_ns = now_of(client->world) + KITH_NS_PER_MS * (50 + kith__random_below(&client->random, 200));
}

static void client_on_datagram(struct kith_simrelay_client *client, const struct kith_relay_datagram *datagram)
{
    struct kith_reader r = kith__reader_of_slice(datagram->payload);
    uint64_t sent_ns = 0;
    uint32_t index = 0;

    if (kith__read_u64(&r, &sent_ns) != 0 || kith__read_u32(&r, &index) != 0 || index >= client->world->client_count ||
        memcmp(datagram->key, client->world->clients[index].pair.id.bytes, KITH_ID_SIZE) != 0) {
        kith__sim_wrong(client->world->trial->sim, "a datagram came with the key of another sender");
        return;
    }
    client->received++;
    if (index >= KITH_SIMRELAY_SENDERS_MAX)
        return;
    client->received_from[index]++;
    client->delay_max_ns[index] = KITH_MAX(client->delay_max_ns[index], now_of(client->world) - sent_ns);
}

static bool client_on_message(struct kith_simrelay_client *client, struct kith_ws_event *message)
{
    struct kith_relay_client_event event;

    if (kith__relay_client_receive(&client->machine, message->bytes, message->size, now_of(client->world), &event) !=
        0) {
        kith__sim_wrong(client->world->trial->sim, "the relay sent a frame that its client refuses");
        return false;
    }
    switch (event.kind) {
    case KITH_RELAY_EVENT_ACCEPTED:
        client->readies++;
        client->world->ready_count++;
        client->ready_ns = now_of(client->world);
        break;
    case KITH_RELAY_EVENT_DATAGRAM:
        client_on_datagram(client, &event.datagram);
        break;
    case KITH_RELAY_EVENT_GONE:
        client->gone++;
        break;
    case KITH_RELAY_EVENT_RESTARTING:
        client->restarts++;
        break;
    default:
        break;
    }
    return true;
}

static void client_on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct kith_simrelay_client *client = ctx;
    struct kith_ws_event event;
    uint8_t *end = bytes + size;

    while (kith__ws_reader_next(&client->reader, &bytes, end, &event) == 0) {
        if (event.kind == KITH_WS_CLOSE) {
            client_drop(client);
            break;
        }
        if (event.kind == KITH_WS_BINARY && !client_on_message(client, &event))
            return;
    }
    client_pump(client);
}

static void client_on_end(void *ctx, int err)
{
    (void)err;
    client_drop(ctx);
    client_pump(ctx);
}

static void client_on_open(void *ctx, int err)
{
    struct kith_simrelay_client *client = ctx;

    if (err != 0) {
        client_drop(client);
    } else {
        kith__relay_client_start(&client->machine, KITH_RELAY_V2, now_of(client->world));
        if (client->is_reading)
            kith__rt_stream_read_start(client->stream);
    }
    client_pump(client);
}

static void client_on_written(void *ctx, int err)
{
    struct kith_simrelay_client *client = ctx;

    client->is_writing = false;
    client->out.size = 0;
    if (err != 0)
        client_drop(client);
    client_pump(client);
}

static void client_dial(struct kith_simrelay_client *client)
{
    struct kith_rt_stream_addr to = { .ip = kith__trial_address("10.0.0.2:3340") };
    struct kith_rt_stream_events events = { client_on_open,    client_on_data, client_on_end,
                                            client_on_written, NULL,           client };

    client->dials++;
    client->dialled_ns = now_of(client->world);
    kith__ws_reader_init(
        &client->reader,
        &(struct kith_ws_reader_options) { .mem = kith_mem_default(), .message_size_max = KITH_WS_MESSAGE_SIZE_MAX });
    if (kith__rt_stream_connect(kith__sim_rt(client->host), &to, &events, &client->stream) != 0) {
        client->stream = NULL;
        client->dial_at_ns = now_of(client->world) + 100 * KITH_NS_PER_MS;
    }
}

static void client_send_datagram(struct kith_simrelay_client *client, uint64_t now_ns)
{
    static uint8_t payload[KITH_RELAY_DATAGRAM_PAYLOAD_MAX];
    struct kith_writer w = kith__writer(payload, sizeof payload);

    (void)kith__write_u64(&w, now_ns);
    (void)kith__write_u32(&w, client->index);
    kith__relay_client_send(&client->machine, &client->to, 0, 0, payload, client->payload_size, now_ns);
    client->sent++;
}

/** Puts messages of the machine into one write. */
static void client_write(struct kith_simrelay_client *client, uint64_t now_ns)
{
    struct kith_slice message;

    while (client->out.size < WRITE_MAX && kith__relay_client_next(&client->machine, now_ns, &message)) {
        uint8_t head[KITH_WS_FRAME_HEAD_MAX], mask[4];
        size_t head_size, at;

        kith__random_fill(&client->random, mask, sizeof mask);
        head_size = kith__ws_frame_write(head, KITH_WS_BINARY, mask, message.size);
        KITH_ASSERT(kith__buf_append(&client->out, head, head_size) == 0);
        at = client->out.size;
        KITH_ASSERT(kith__buf_append(&client->out, message.ptr, message.size) == 0);
        kith__ws_mask(client->out.ptr + at, message.size, mask, 0);
        kith__relay_client_sent(&client->machine);
    }
    if (client->out.size == 0)
        return;
    client->is_writing = true;
    if (kith__rt_stream_write(client->stream, client->out.ptr, client->out.size) != 0)
        client_drop(client);
}

static void client_pump(struct kith_simrelay_client *client)
{
    uint64_t now_ns = now_of(client->world), next_ns;

    if (client->is_stopped)
        return;
    if (client->stream == NULL && client->dial_at_ns <= now_ns)
        client_dial(client);
    if (client->stream != NULL && client->ready_ns == 0 && now_ns >= client->dialled_ns + DIAL_NS)
        client_drop(client);
    if (client->stream != NULL && kith__relay_client_deadline(&client->machine) <= now_ns &&
        kith__relay_client_on_deadline(&client->machine, now_ns) != 0)
        client_drop(client);
    while (client->every_ns != 0 && client->send_at_ns <= now_ns) {
        client_send_datagram(client, now_ns);
        client->send_at_ns += client->every_ns;
    }
    if (client->stream != NULL && !client->is_writing && client->machine.state != KITH_RELAY_CLIENT_OFF)
        client_write(client, now_ns);
    next_ns = client->stream == NULL ? client->dial_at_ns : kith__relay_client_deadline(&client->machine);
    if (client->stream != NULL && client->ready_ns == 0)
        next_ns = KITH_MIN(next_ns, client->dialled_ns + DIAL_NS);
    if (client->every_ns != 0)
        next_ns = KITH_MIN(next_ns, client->send_at_ns);
    kith__rt_timer_set(&client->timer, next_ns);
}

static void client_on_timer(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    client_pump(ctx);
}

/** The host of a new client: its own, or the one that others share. */
static struct kith_sim_host *client_host(struct kith_simrelay *world, const struct kith_sim_link *link,
                                         size_t tcp_window)
{
    struct kith_sim_host_options options = { .name = "client", .tcp_window = tcp_window };
    char text[KITH_SOCKADDR_TEXT_SIZE];
    struct kith_sim_host *host;

    if (link == NULL && world->last_host != NULL && world->last_host_clients < CLIENTS_OF_A_HOST) {
        world->last_host_clients++;
        return world->last_host;
    }
    world->host_count++;
    snprintf(text, sizeof text, "10.1.%u.%u:0", (unsigned)(world->host_count / 250),
             (unsigned)(1 + world->host_count % 250));
    options.addrs[0] = kith__trial_address(text);
    if (link != NULL)
        options.up = options.down = *link;
    else
        options.up.delay_ns = options.down.delay_ns = 10 * KITH_NS_PER_MS;
    KITH_ASSERT(kith__sim_host_new(world->trial->sim, &options, &host) == 0);
    if (link == NULL) {
        world->last_host = host;
        world->last_host_clients = 1;
    }
    return host;
}

struct kith_simrelay_client *kith__simrelay_add(struct kith_simrelay *world, const struct kith_sim_link *link,
                                                size_t tcp_window)
{
    struct kith_simrelay_client *client = &world->clients[world->client_count];
    struct kith_secret secret;

    KITH_ASSERT(world->client_count < world->client_cap);
    client->world = world;
    client->index = (uint32_t)world->client_count++;
    client->host = client_host(world, link, tcp_window);
    client->is_reading = true;
    kith__prng_init(&client->prng, world->trial->seed * 100003 + client->index);
    client->random = kith__prng_source(&client->prng);
    kith__secret_random(&client->random, &secret);
    kith__keypair_init(&client->pair, &secret);
    kith__buf_init(&client->out, kith_mem_default());
    kith__relay_client_init(&client->machine, kith_mem_default(), &client->pair, &client->random);
    KITH_ASSERT(kith__rt_timer_init(kith__sim_rt(client->host), &client->timer, client_on_timer, client) == 0);
    client->dial_at_ns = now_of(world) + kith__random_below(&client->random, 100 * KITH_NS_PER_MS);
    client_pump(client);
    return client;
}

void kith__simrelay_send(struct kith_simrelay_client *from, const struct kith_simrelay_client *to, uint32_t size,
                         uint64_t every_ns)
{
    KITH_ASSERT(size >= HEAD_SIZE);
    from->to = to->pair.id;
    from->payload_size = size;
    from->every_ns = every_ns;
    from->send_at_ns = now_of(from->world);
    client_pump(from);
}

void kith__simrelay_set_reading(struct kith_simrelay_client *client, bool is_reading)
{
    client->is_reading = is_reading;
    if (client->stream == NULL || client->machine.state == KITH_RELAY_CLIENT_OFF)
        return;
    if (is_reading)
        kith__rt_stream_read_start(client->stream);
    else
        kith__rt_stream_read_stop(client->stream);
}

/* ---- Running and checking ---- */

bool kith__simrelay_sums_match(const struct kith_simrelay *world)
{
    const struct kith_relay_counters *c = &world->counters;
    struct kith_relay_session *session = NULL;
    uint64_t out = kith__relay_counter(&c->send_packets_sent);

    out += kith__relay_counter(&c->send_packets_dropped) + kith__relay_counter(&c->drops_queue_full) +
           kith__relay_counter(&c->drops_queue_share) + kith__relay_counter(&c->drops_memory) +
           kith__relay_counter(&c->drops_empty) + kith__relay_counter(&c->drops_oversize) +
           kith__relay_counter(&c->drops_rate_limited) + kith__relay_counter(&c->drops_disconnect);
    while (world->server != NULL && (session = kith__relay_server_next_session(world->server, session)) != NULL)
        out += kith__relay_session_info(session).queued_frames;
    return kith__relay_counter(&c->send_packets_recv) == out;
}

static void check(struct kith_simrelay *world)
{
    struct kith_trial *trial = world->trial;
    struct kith_relay_server_stats stats;

    trial->check.steps++;
    if (world->server == NULL || trial->check.steps % (world->client_count < 100 ? CHECK_OFTEN : CHECK_SELDOM) != 0)
        return;
    trial->check.walks++;
    kith__relay_server_check(world->server); /* queues within their bounds, memory within its own */
    stats = kith__relay_server_stats(world->server);
    world->memory_peak = KITH_MAX(world->memory_peak, stats.queued_bytes);
    if (!kith__simrelay_sums_match(world))
        kith__sim_wrong(trial->sim, "a datagram is neither sent, nor waiting, nor counted as dropped");
}

struct until {
    struct kith_simrelay *world;
    bool (*done)(struct kith_simrelay *world);
};

static bool after_step(void *ctx)
{
    struct until *until = ctx;

    check(until->world);
    return until->world->trial->sim->is_wrong || (until->done != NULL && until->done(until->world));
}

enum kith_sim_verdict kith__simrelay_until(struct kith_simrelay *world, bool (*done)(struct kith_simrelay *world),
                                           uint64_t for_ns)
{
    struct until until = { world, done };
    enum kith_sim_verdict verdict = kith__sim_run(world->trial->sim, after_step, &until, now_of(world) + for_ns);

    if (world->trial->sim->is_wrong)
        return KITH_SIM_WRONG;
    return done == NULL ? KITH_SIM_OK : verdict;
}

enum kith_sim_verdict kith__simrelay_sleep(struct kith_simrelay *world, uint64_t for_ns)
{
    enum kith_sim_verdict verdict;

    kith__sim_host_set_down(world->host, true);
    verdict = kith__sim_run(world->trial->sim, NULL, NULL, now_of(world) + for_ns);
    kith__sim_host_set_down(world->host, false);
    return verdict;
}

bool kith__simrelay_all_ready(struct kith_simrelay *world)
{
    return world->ready_count == world->client_count;
}

enum kith_sim_verdict kith__simrelay_close(struct kith_simrelay *world)
{
    for (size_t i = 0; i < world->client_count; i++) {
        struct kith_simrelay_client *client = &world->clients[i];

        client_drop(client);
        client->is_stopped = true;
        kith__rt_timer_dispose(&client->timer);
        kith__relay_client_dispose(&client->machine);
        kith__buf_dispose(&client->out);
    }
    if (world->server != NULL)
        kith__simrelay_crash(world);
    if (!kith__simrelay_sums_match(world))
        kith__sim_wrong(world->trial->sim, "at the end a datagram is neither sent nor counted as dropped");
    kith__rt_timer_dispose(&world->timer);
    kith__rt_set_hooks(kith__sim_rt(world->host), &(struct kith_rt_hooks) { 0 });
    kith__free(kith_mem_default(), world->clients);
    world->trial->result->memory_peak = world->memory_peak;
    return world->trial->sim->is_wrong ? KITH_SIM_WRONG : KITH_SIM_OK;
}
