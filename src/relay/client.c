/* One relay connection, the client's side. */
#include "relay/client.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

/** A datagram frame that waits. */
struct queued {
    struct kith_list node;
    uint64_t queued_ns;
    size_t size;
    uint8_t bytes[];
};

enum shown { SHOWN_NOTHING, SHOWN_AUTH, SHOWN_PONG, SHOWN_PING, SHOWN_DATAGRAM };

static struct queued *first_queued(const struct kith_relay_client *client)
{
    struct kith_list *node = kith__list_first(&client->queue);

    return node != NULL ? KITH_CONTAINER(node, struct queued, node) : NULL;
}

static void unqueue(struct kith_relay_client *client, struct queued *queued)
{
    client->queue_size -= queued->size;
    kith__list_remove(&queued->node);
    kith__free(client->mem, queued);
}

void kith__relay_client_init(struct kith_relay_client *client, const struct kith_mem *mem,
                             const struct kith_keypair *pair, const struct kith_random *random)
{
    *client = (struct kith_relay_client) { .mem = mem,
                                           .pair = pair,
                                           .random = random,
                                           .doubt_ns = KITH_NEVER,
                                           .give_up_ns = KITH_NEVER,
                                           .ping_at_ns = KITH_NEVER,
                                           .reason = "" };
    kith__list_init(&client->queue);
}

void kith__relay_client_dispose(struct kith_relay_client *client)
{
    struct queued *queued;

    while ((queued = first_queued(client)) != NULL)
        unqueue(client, queued);
}

/* ---- Connections ---- */

static void forget_pings(struct kith_relay_client *client)
{
    client->has_ping = client->has_auth = client->is_doubtful = client->is_established = false;
    client->pong_count = 0;
    client->pinged_ns = client->asked_ns = 0;
    client->doubt_ns = client->give_up_ns = client->ping_at_ns = KITH_NEVER;
}

void kith__relay_client_start(struct kith_relay_client *client, enum kith_relay_version version, uint64_t now_ns)
{
    forget_pings(client);
    client->state = KITH_RELAY_CLIENT_GREETED;
    client->version = (uint8_t)version;
    client->heard_ns = now_ns;
    client->rtt_ns = 0;
    client->reason = "";
}

void kith__relay_client_stop(struct kith_relay_client *client)
{
    forget_pings(client);
    client->state = KITH_RELAY_CLIENT_OFF;
}

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/** A new ping; only the newest one counts, and one that is not on its way yet is as good. */
static void ask(struct kith_relay_client *client, bool is_urgent, uint64_t now_ns)
{
    uint64_t doubt_ns = client->rtt_ns == 0
                            ? KITH_RELAY_PONG_MAX_NS
                            : clamp(3 * client->rtt_ns, KITH_RELAY_DOUBT_MIN_NS, KITH_RELAY_PONG_MAX_NS);
    uint64_t wait_ns = is_urgent ? doubt_ns : clamp(doubt_ns, KITH_RELAY_PONG_MIN_NS, KITH_RELAY_PONG_MAX_NS);

    if (!client->has_ping)
        kith__random_fill(client->random, client->ping, sizeof client->ping);
    client->has_ping = true;
    client->pinged_ns = now_ns;
    client->doubt_ns = now_ns + doubt_ns;
    client->give_up_ns = now_ns + wait_ns;
    client->ping_at_ns = KITH_NEVER;
}

void kith__relay_client_check(struct kith_relay_client *client, bool is_urgent, uint64_t now_ns)
{
    if (client->state != KITH_RELAY_CLIENT_READY)
        return;
    if (client->pinged_ns == 0)
        ask(client, is_urgent, now_ns);
    else if (is_urgent && client->doubt_ns != KITH_NEVER)
        client->give_up_ns = client->doubt_ns;
}

/* ---- Receiving ---- */

static int on_challenge(struct kith_relay_client *client, const uint8_t *challenge)
{
    if (client->state != KITH_RELAY_CLIENT_GREETED) {
        client->reason = "a second challenge";
        return KITH_ERR_TRANSPORT;
    }
    kith__relay_client_auth_write(client->pair, challenge, client->auth);
    client->has_auth = true;
    client->state = KITH_RELAY_CLIENT_SIGNED;
    return 0;
}

static void on_accepted(struct kith_relay_client *client, uint64_t now_ns, struct kith_relay_client_event *out)
{
    client->state = KITH_RELAY_CLIENT_READY;
    ask(client, false, now_ns);
    out->kind = KITH_RELAY_EVENT_ACCEPTED;
}

static void on_ping(struct kith_relay_client *client, const uint8_t *bytes)
{
    client->stats.pings_received++;
    if (client->pong_count == KITH_RELAY_PONGS_MAX) {
        memmove(client->pongs[0], client->pongs[1], (KITH_RELAY_PONGS_MAX - 1) * sizeof client->pongs[0]);
        client->pong_count--;
        client->stats.drop_pong++;
    }
    memcpy(client->pongs[client->pong_count++], bytes, KITH_RELAY_PING_SIZE);
}

static void on_pong(struct kith_relay_client *client, const uint8_t *bytes, uint64_t now_ns,
                    struct kith_relay_client_event *out)
{
    if (client->pinged_ns == 0 || client->has_ping || memcmp(bytes, client->ping, KITH_RELAY_PING_SIZE) != 0)
        return;                                      /* of an older ping, or of none */
    client->rtt_ns = now_ns - client->pinged_ns + 1; /* 0 stands for "none" */
    client->pinged_ns = 0;
    client->doubt_ns = client->give_up_ns = KITH_NEVER;
    client->ping_at_ns = now_ns + KITH_RELAY_PING_EVERY_NS;
    if (!client->is_established)
        out->kind = KITH_RELAY_EVENT_ESTABLISHED;
    client->is_established = true;
}

static void on_datagram(struct kith_relay_client *client, const struct kith_relay_datagram *datagram,
                        struct kith_relay_client_event *out)
{
    if (datagram->payload.size == 0) {
        client->stats.drop_empty++;
        return;
    }
    client->stats.frames_received++;
    client->stats.payload_received += datagram->payload.size;
    out->kind = KITH_RELAY_EVENT_DATAGRAM;
    out->datagram = *datagram;
}

/** Any frame shows that the relay is there. */
static void on_heard(struct kith_relay_client *client, uint64_t now_ns)
{
    client->heard_ns = now_ns;
    client->asked_ns = 0;
    client->is_doubtful = false;
    if (client->pinged_ns == 0 && client->state == KITH_RELAY_CLIENT_READY)
        client->ping_at_ns = now_ns + KITH_RELAY_PING_EVERY_NS;
}

static void on_other(const struct kith_relay_frame *frame, struct kith_relay_client_event *out)
{
    switch (frame->kind) {
    case KITH_RELAY_ENDPOINT_GONE:
        out->kind = KITH_RELAY_EVENT_GONE;
        out->key = frame->key;
        break;
    case KITH_RELAY_HEALTH:
        out->kind = KITH_RELAY_EVENT_HEALTH;
        out->text = frame->text;
        break;
    case KITH_RELAY_STATUS:
        out->kind = KITH_RELAY_EVENT_STATUS;
        out->status = frame->status;
        break;
    case KITH_RELAY_RESTARTING:
        out->kind = KITH_RELAY_EVENT_RESTARTING;
        out->reconnect_in_ms = frame->restarting.reconnect_in_ms;
        out->try_for_ms = frame->restarting.try_for_ms;
        break;
    default: /* the decoder lets nothing else through */
        break;
    }
}

static int on_frame(struct kith_relay_client *client, const struct kith_relay_frame *frame, uint64_t now_ns,
                    struct kith_relay_client_event *out)
{
    switch (frame->kind) {
    case KITH_RELAY_SERVER_CHALLENGE:
        return on_challenge(client, frame->challenge);
    case KITH_RELAY_SERVER_CONFIRMS_AUTH:
        on_accepted(client, now_ns, out);
        return 0;
    case KITH_RELAY_SERVER_DENIES_AUTH:
        out->kind = KITH_RELAY_EVENT_DENIED;
        out->text = frame->text;
        return 0;
    case KITH_RELAY_SERVER_DATAGRAM:
    case KITH_RELAY_SERVER_BATCH:
        on_datagram(client, &frame->datagram, out);
        return 0;
    case KITH_RELAY_PING:
        on_ping(client, frame->ping);
        return 0;
    case KITH_RELAY_PONG:
        on_pong(client, frame->ping, now_ns, out);
        return 0;
    default:
        on_other(frame, out);
        return 0;
    }
}

int kith__relay_client_receive(struct kith_relay_client *client, uint8_t *message, size_t size, uint64_t now_ns,
                               struct kith_relay_client_event *out)
{
    struct kith_relay_rules rules = { KITH_RELAY_FROM_SERVER,
                                      client->state == KITH_RELAY_CLIENT_READY ? KITH_RELAY_AFTER_HANDSHAKE
                                                                               : KITH_RELAY_IN_HANDSHAKE,
                                      client->version };
    struct kith_relay_frame frame;
    int err = kith__relay_frame_decode((struct kith_slice) { message, size }, rules, &frame, &client->reason);

    KITH_ASSERT(client->state != KITH_RELAY_CLIENT_OFF);
    *out = (struct kith_relay_client_event) { .kind = KITH_RELAY_EVENT_NOTHING };
    if (err == KITH_ERR_UNSUPPORTED && client->state == KITH_RELAY_CLIENT_READY) {
        client->stats.drop_unknown++; /* of the future: no reason to lose the connection (spec/02, 9.4) */
        on_heard(client, now_ns);
        return 0;
    }
    if (err != 0)
        return err;
    on_heard(client, now_ns);
    return on_frame(client, &frame, now_ns, out);
}

const char *kith__relay_client_reason(const struct kith_relay_client *client)
{
    return client->reason != NULL ? client->reason : "";
}

/* ---- Sending ---- */

/** Makes room for `size` bytes: QUIC sends again what was dropped, and what is newest is of most use. */
static void drop_oldest(struct kith_relay_client *client, size_t size)
{
    while (client->queue_size + size > KITH_RELAY_QUEUE_SIZE_MAX) {
        client->stats.drop_full++;
        unqueue(client, first_queued(client));
    }
}

static void queue_one(struct kith_relay_client *client, const struct kith_relay_datagram *datagram, uint64_t now_ns)
{
    uint8_t head[KITH_RELAY_BATCH_OVERHEAD];
    size_t head_size = kith__relay_datagram_head(KITH_RELAY_FROM_CLIENT, datagram, head);
    struct queued *queued = kith__alloc(client->mem, sizeof *queued + head_size + datagram->payload.size);

    if (queued == NULL) {
        client->stats.drop_no_memory++;
        return;
    }
    queued->queued_ns = now_ns;
    queued->size = head_size + datagram->payload.size;
    memcpy(queued->bytes, head, head_size);
    memcpy(queued->bytes + head_size, datagram->payload.ptr, datagram->payload.size);
    drop_oldest(client, queued->size);
    kith__list_init(&queued->node);
    kith__list_push_back(&client->queue, &queued->node);
    client->queue_size += queued->size;
}

void kith__relay_client_send(struct kith_relay_client *client, const struct kith_id *to, uint8_t ecn,
                             uint16_t segment_size, const uint8_t *bytes, size_t size, uint64_t now_ns)
{
    bool is_batch = segment_size != 0 && size > segment_size;
    size_t step = size; /* whole segments in one frame */

    if (is_batch && size > KITH_RELAY_BATCH_PAYLOAD_MAX)
        step = KITH_RELAY_BATCH_PAYLOAD_MAX / segment_size * segment_size;
    if (size == 0 || (!is_batch && size > KITH_RELAY_DATAGRAM_PAYLOAD_MAX) || step == 0) {
        client->stats.drop_size++;
        return;
    }
    for (size_t at = 0; at < size; at += step) {
        size_t part = size - at < step ? size - at : step;
        struct kith_relay_datagram datagram = { .key = to->bytes,
                                                .payload = { bytes + at, part },
                                                .segment_size = part > segment_size ? segment_size : 0,
                                                .ecn = ecn };

        queue_one(client, &datagram, now_ns);
    }
    client->sent_ns = now_ns;
}

/** A control message that is due; they go first, answers before questions. */
static bool next_control(struct kith_relay_client *client, struct kith_slice *out)
{
    client->shown = client->has_auth          ? SHOWN_AUTH
                    : client->pong_count != 0 ? SHOWN_PONG
                    : client->has_ping        ? SHOWN_PING
                                              : SHOWN_NOTHING;
    if (client->shown == SHOWN_NOTHING)
        return false;
    if (client->shown == SHOWN_AUTH) {
        *out = (struct kith_slice) { client->auth, sizeof client->auth };
        return true;
    }
    client->control[0] = client->shown == SHOWN_PONG ? KITH_RELAY_PONG : KITH_RELAY_PING;
    memcpy(client->control + 1, client->shown == SHOWN_PONG ? client->pongs[0] : client->ping, KITH_RELAY_PING_SIZE);
    *out = (struct kith_slice) { client->control, sizeof client->control };
    return true;
}

static void drop_stale(struct kith_relay_client *client, uint64_t now_ns)
{
    struct queued *first;

    while ((first = first_queued(client)) != NULL && now_ns - first->queued_ns > KITH_RELAY_QUEUE_AGE_NS) {
        client->stats.drop_stale++;
        unqueue(client, first);
    }
}

bool kith__relay_client_next(struct kith_relay_client *client, uint64_t now_ns, struct kith_slice *out)
{
    struct queued *first;

    if (next_control(client, out))
        return true;
    drop_stale(client, now_ns);
    if (client->state != KITH_RELAY_CLIENT_READY || (first = first_queued(client)) == NULL)
        return false;
    client->shown = SHOWN_DATAGRAM;
    if (client->asked_ns == 0)
        client->asked_ns = now_ns;
    *out = (struct kith_slice) { first->bytes, first->size };
    return true;
}

static void datagram_sent(struct kith_relay_client *client)
{
    struct queued *first = first_queued(client);
    bool is_batch = first->bytes[0] == KITH_RELAY_CLIENT_BATCH;

    client->stats.frames_sent++;
    client->stats.payload_sent += first->size -
                                  (size_t)(is_batch ? KITH_RELAY_BATCH_OVERHEAD : KITH_RELAY_DATAGRAM_OVERHEAD);
    unqueue(client, first);
}

void kith__relay_client_sent(struct kith_relay_client *client)
{
    switch (client->shown) {
    case SHOWN_AUTH:
        client->has_auth = false;
        break;
    case SHOWN_PONG:
        memmove(client->pongs[0], client->pongs[1], --client->pong_count * sizeof client->pongs[0]);
        break;
    case SHOWN_PING:
        client->has_ping = false;
        client->stats.pings_sent++;
        break;
    default:
        KITH_ASSERT(client->shown == SHOWN_DATAGRAM);
        datagram_sent(client);
    }
    client->shown = SHOWN_NOTHING;
}

/* ---- Time ---- */

/** When silence after something was sent becomes a question. */
static uint64_t unheard_at(const struct kith_relay_client *client)
{
    return client->asked_ns != 0 && client->pinged_ns == 0 ? client->asked_ns + KITH_RELAY_UNHEARD_NS : KITH_NEVER;
}

/** A pong is overdue; while other frames come the relay lives, and only the last limit counts. */
static uint64_t over_at(const struct kith_relay_client *client)
{
    if (client->give_up_ns == KITH_NEVER)
        return KITH_NEVER;
    if (client->heard_ns > client->pinged_ns)
        return clamp(client->heard_ns + KITH_RELAY_PONG_MIN_NS, client->give_up_ns,
                     client->pinged_ns + KITH_RELAY_PONG_LAST_NS);
    return client->give_up_ns;
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t kith__relay_client_deadline(const struct kith_relay_client *client)
{
    if (client->state != KITH_RELAY_CLIENT_READY)
        return KITH_NEVER;
    return earliest(earliest(client->ping_at_ns, unheard_at(client)), earliest(client->doubt_ns, over_at(client)));
}

int kith__relay_client_on_deadline(struct kith_relay_client *client, uint64_t now_ns)
{
    if (client->state != KITH_RELAY_CLIENT_READY)
        return 0;
    if (over_at(client) <= now_ns) {
        client->reason = "the relay does not answer";
        return KITH_ERR_TIMEOUT;
    }
    if (client->doubt_ns <= now_ns) {
        client->doubt_ns = KITH_NEVER;
        client->stats.pongs_missed++;
        client->is_doubtful = client->heard_ns <= client->pinged_ns;
    }
    if (client->ping_at_ns <= now_ns || unheard_at(client) <= now_ns)
        ask(client, false, now_ns);
    return 0;
}
