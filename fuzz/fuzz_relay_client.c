/*
 * A relay that says anything: a list of steps, each a byte that chooses what happens and what it needs. The client must keep its
 * bounds, must always have a deadline while it is connected and asked something, and must give back all memory.
 */
#include "relay/client.h"

#include "base/assert.h"
#include "base/mem.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void fill(void *ctx, uint8_t *out, size_t size)
{
    uint8_t *next = ctx;

    memset(out, ++*next, size);
}

/** The next `size` bytes of the input, or fewer. */
static struct kith_slice take(const uint8_t **at, const uint8_t *end, size_t size)
{
    struct kith_slice taken = { *at, KITH_MIN(size, (size_t)(end - *at)) };

    *at += taken.size;
    return taken;
}

static void receive(struct kith_relay_client *client, struct kith_slice message, uint64_t now_ns)
{
    uint8_t *copy = malloc(message.size + 1);
    struct kith_relay_client_event event;

    KITH_ASSERT(copy != NULL);
    memcpy(copy, message.ptr, message.size);
    if (client->state != KITH_RELAY_CLIENT_OFF &&
        (kith__relay_client_receive(client, copy, message.size, now_ns, &event) != 0 ||
         event.kind == KITH_RELAY_EVENT_DENIED))
        kith__relay_client_stop(client);
    else if (client->state != KITH_RELAY_CLIENT_OFF && event.kind == KITH_RELAY_EVENT_DATAGRAM)
        KITH_ASSERT(event.datagram.payload.ptr > copy &&
                    event.datagram.payload.ptr + event.datagram.payload.size <= copy + message.size);
    free(copy);
}

static void send_all(struct kith_relay_client *client, uint64_t now_ns)
{
    struct kith_slice message;

    for (int i = 0; i < 100 && kith__relay_client_next(client, now_ns, &message); i++) {
        KITH_ASSERT(message.size >= 1 && message.size <= KITH_RELAY_FRAME_MAX);
        KITH_ASSERT(client->state != KITH_RELAY_CLIENT_OFF);
        kith__relay_client_sent(client);
    }
}

static void step(struct kith_relay_client *client, uint8_t what, const uint8_t **at, const uint8_t *end,
                 uint64_t *now_ns)
{
    static const uint8_t payload[1 << 16];
    struct kith_id to = { { 5 } };
    uint64_t deadline_ns = kith__relay_client_deadline(client);

    switch (what & 7) {
    case 0:
        kith__relay_client_start(client, what & 8 ? KITH_RELAY_V1 : KITH_RELAY_V2, *now_ns);
        break;
    case 1:
        kith__relay_client_stop(client);
        break;
    case 2:
        kith__relay_client_send(client, &to, what >> 6, (uint16_t)(what >> 3), payload, (size_t)(what >> 3) * 2100,
                                *now_ns);
        break;
    case 3:
        send_all(client, *now_ns);
        break;
    case 4:
        kith__relay_client_check(client, what & 8, *now_ns);
        break;
    case 5: /* until the deadline, or a while */
        *now_ns = deadline_ns != KITH_NEVER && (what & 8) ? KITH_MAX(deadline_ns, *now_ns)
                                                          : *now_ns + (what >> 4) * 100 * KITH_NS_PER_MS;
        if (kith__relay_client_on_deadline(client, *now_ns) != 0)
            kith__relay_client_stop(client);
        break;
    default:
        receive(client, take(at, end, what >> 3), *now_ns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const uint8_t *at = bytes, *end = bytes + size;
    uint8_t random_state = 0;
    struct kith_random random = { fill, &random_state };
    struct kith_secret secret = { { 1 } };
    struct kith_relay_client client;
    struct kith_keypair pair;
    uint64_t now_ns = KITH_NS_PER_S;

    kith__keypair_init(&pair, &secret);
    kith__relay_client_init(&client, kith_mem_default(), &pair, &random);
    while (at < end) {
        uint8_t what = *at++;

        step(&client, what, &at, end, &now_ns);
        KITH_ASSERT(client.queue_size <= KITH_RELAY_QUEUE_SIZE_MAX);
        KITH_ASSERT(client.pong_count <= KITH_RELAY_PONGS_MAX);
        if (client.pinged_ns != 0)
            KITH_ASSERT(kith__relay_client_deadline(&client) != KITH_NEVER);
    }
    kith__relay_client_dispose(&client);
    return 0;
}
