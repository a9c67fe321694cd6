/*
 * Operations on a relay's server core (one or two workers) and up to 24 clients: they come, prove themselves or do not, send good frames,
 * bad frames, pieces and noise, stop reading, go; time passes. After each step the server's own invariants hold, every frame that
 * a client gets is a good one, and at the end each datagram was delivered or is counted with a reason.
 */
#include "relay/crowd.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { CLIENTS_MAX = 24, STEPS_MAX = 300 };

static struct crowd crowd; /* does not move */

static uint8_t next(struct kith_reader *r)
{
    uint8_t byte = 0;

    (void)kith__read_u8(r, &byte);
    return byte;
}

/** Up to `max` of the next bytes. */
static struct kith_slice next_bytes(struct kith_reader *r, size_t max)
{
    struct kith_slice out = { NULL, 0 };

    (void)kith__read_slice(r, KITH_MIN(max, kith__reader_left(r)), &out);
    return out;
}

static void op_connect(struct kith_reader *r)
{
    uint8_t choice = next(r);
    struct crowd_client *client;

    if (crowd.client_count == CLIENTS_MAX)
        return;
    client = crowd_add(&crowd, choice & 7, choice & 8 ? KITH_RELAY_V1 : KITH_RELAY_V2);
    client->is_silent = (choice & 0x30) == 0x30;
    (void)crowd_open(client, (choice >> 6) % crowd.worker_count, (struct kith_relay_open) { 0 });
}

/** A datagram frame whose size may be wrong. */
static void op_datagram(struct kith_reader *r, struct crowd_client *client)
{
    static uint8_t message[KITH_RELAY_BODY_MAX + 64];
    uint8_t choice = next(r), to = next(r);
    size_t size = (size_t)next(r) << 8 | next(r);

    if (crowd.client_count == 0)
        return;
    message[0] = choice & 1 ? KITH_RELAY_CLIENT_BATCH : KITH_RELAY_CLIENT_DATAGRAM;
    memcpy(message + 1, crowd.clients[to % crowd.client_count].pair.id.bytes, KITH_ID_SIZE);
    message[34] = next(r);
    message[35] = next(r);
    for (int i = 0; i < (choice >> 4) + 1; i++)
        crowd_send_message(client, KITH_WS_BINARY, message, KITH_MIN(size + (choice & 2 ? 64 : 0), sizeof message));
}

static void op_time(struct kith_reader *r)
{
    static const uint64_t spans[] = { KITH_NS_PER_MS, 100 * KITH_NS_PER_MS, KITH_NS_PER_S, 7 * KITH_NS_PER_S,
                                      40 * KITH_NS_PER_S };
    uint8_t choice = next(r);

    if (choice < 250) {
        crowd_advance(&crowd, spans[choice % KITH_COUNT(spans)]);
        return;
    }
    crowd.now_ns += 3600 * KITH_NS_PER_S; /* a jump */
    for (unsigned i = 0; i < crowd.worker_count; i++)
        kith__relay_server_on_deadline(crowd.servers[i], crowd.now_ns);
}

/** A client reads, does not, or takes a part of each write. */
static void op_reading(struct kith_reader *r, struct crowd_client *client)
{
    uint8_t choice = next(r);

    client->rate = choice & 2 ? 1 + (size_t)next(r) * 16 : 0;
    if (client->is_stuck && client->session != NULL)
        kith__relay_session_sent(client->session, 0, crowd.now_ns);
    client->is_stuck = choice & 1;
}

static void op_server(struct kith_reader *r, struct crowd_client *client)
{
    uint8_t choice = next(r);

    switch (choice % 8) {
    case 0:
        kith__relay_session_grant(client->session, crowd.now_ns);
        break;
    case 1:
        kith__relay_session_deny(client->session, "no", crowd.now_ns);
        break;
    case 2:
        kith__relay_session_close(client->session, KITH_WS_CLOSE_GOING_AWAY, crowd.now_ns);
        break;
    case 3:
        (void)kith__relay_server_disconnect(client->server, &client->pair.id, crowd.now_ns);
        break;
    case 4:
        if (choice > 240)
            kith__relay_server_drain(client->server, KITH_NS_PER_S, KITH_NS_PER_S, crowd.now_ns);
        break;
    default:
        crowd_leave(client);
    }
}

static void step(struct kith_reader *r)
{
    uint8_t op = next(r), which = next(r);
    struct crowd_client *client = crowd.client_count != 0 ? &crowd.clients[which % crowd.client_count] : NULL;
    struct kith_slice bytes;

    if (client == NULL || op % 8 == 0) {
        op_connect(r);
        return;
    }
    switch (op % 8) {
    case 1:
    case 2:
        op_datagram(r, client);
        break;
    case 3:
        bytes = next_bytes(r, next(r));
        crowd_send_message(client, op & 0x80 ? (enum kith_ws_opcode)(op >> 3 & 15) : KITH_WS_BINARY, bytes.ptr,
                           bytes.size);
        break;
    case 4:
        bytes = next_bytes(r, next(r));
        crowd_send_raw(client, bytes.ptr, bytes.size);
        break;
    case 5:
        op_time(r);
        break;
    case 6:
        op_reading(r, client);
        break;
    default:
        if (client->session != NULL)
            op_server(r, client);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kith_reader r = kith__reader(bytes, size);
    uint8_t choice = next(&r);
    struct kith_relay_server_limits limits = { .queue_size_max = 1,
                                               .queue_frames_max = choice & 4 ? 20 : 0,
                                               .memory_max = choice & 8 ? 300 << 10 : 0,
                                               .rx_bytes_per_s = choice & 16 ? 100000 : 0 };
    struct kith_relay_access *access = NULL;
    int err;

    if (choice & 2) {
        err = kith__relay_access_new(kith_mem_default(),
                                     &(struct kith_relay_access_options) { .mode = KITH_RELAY_ACCESS_ASK }, &access);
        KITH_ASSERT(err == 0);
    }
    err = crowd_init(&crowd, kith_mem_default(), choice & 1 ? 2 : 1, choice & 32 ? 100 << 10 : 0, &limits, access);
    KITH_ASSERT(err == 0);
    for (int i = 0; i < STEPS_MAX && kith__reader_left(&r) != 0; i++) {
        step(&r);
        crowd_check(&crowd);
        if ((i & 3) == 3)
            crowd_pump(&crowd);
    }
    crowd_advance(&crowd, KITH_NS_PER_S);
    crowd_check_sums(&crowd);
    crowd_dispose(&crowd);
    kith__relay_access_free(access);
    return 0;
}
