/*
 * A message of the relay protocol: the first byte chooses sender, phase and version. A frame that is taken lies inside the message; if it
 * may be sent, it is written again and reads back the same.
 */
#include "relay/frames.h"

#include "base/assert.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_inside(struct kith_slice message, const uint8_t *at, size_t size)
{
    KITH_ASSERT(at >= message.ptr && size <= (size_t)(message.ptr + message.size - at));
}

static void check_parts(struct kith_slice message, const struct kith_relay_frame *frame)
{
    switch (frame->kind) {
    case KITH_RELAY_SERVER_CHALLENGE:
        check_inside(message, frame->challenge, KITH_RELAY_CHALLENGE_SIZE);
        break;
    case KITH_RELAY_CLIENT_AUTH:
        check_inside(message, frame->auth.key, KITH_ID_SIZE);
        check_inside(message, frame->auth.signature, KITH_SIGNATURE_SIZE);
        break;
    case KITH_RELAY_SERVER_DENIES_AUTH:
    case KITH_RELAY_HEALTH:
        check_inside(message, frame->text.ptr, frame->text.size);
        break;
    case KITH_RELAY_CLIENT_DATAGRAM:
    case KITH_RELAY_CLIENT_BATCH:
    case KITH_RELAY_SERVER_DATAGRAM:
    case KITH_RELAY_SERVER_BATCH:
        check_inside(message, frame->datagram.key, KITH_ID_SIZE);
        check_inside(message, frame->datagram.payload.ptr, frame->datagram.payload.size);
        break;
    case KITH_RELAY_ENDPOINT_GONE:
        check_inside(message, frame->key, KITH_ID_SIZE);
        break;
    case KITH_RELAY_PING:
    case KITH_RELAY_PONG:
        check_inside(message, frame->ping, KITH_RELAY_PING_SIZE);
        break;
    default:
        break;
    }
}

static void check_again(const struct kith_relay_frame *frame, struct kith_relay_rules rules)
{
    size_t size = kith__relay_frame_size(frame);
    uint8_t *first = malloc(size), *second = malloc(size);
    struct kith_writer w = kith__writer(first, size);
    struct kith_relay_frame back;
    int err = kith__relay_frame_encode(frame, &w);

    KITH_ASSERT(first != NULL && second != NULL);
    if (err == 0) {
        KITH_ASSERT(kith__writer_left(&w) == 0);
        KITH_ASSERT(kith__relay_frame_decode((struct kith_slice) { first, size }, rules, &back, NULL) == 0);
        KITH_ASSERT(back.kind == frame->kind && kith__relay_frame_size(&back) == size);
        w = kith__writer(second, size);
        KITH_ASSERT(kith__relay_frame_encode(&back, &w) == 0 && memcmp(first, second, size) == 0);
    } else { /* only what may be received and not sent */
        KITH_ASSERT(err == KITH_ERR_INVALID || (err == KITH_ERR_TOO_LARGE && size > KITH_RELAY_FRAME_MAX));
    }
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kith_relay_rules rules = { KITH_RELAY_FROM_CLIENT, KITH_RELAY_IN_HANDSHAKE, KITH_RELAY_V1 };
    struct kith_slice message = { bytes + (size != 0), size != 0 ? size - 1 : 0 };
    struct kith_relay_frame frame;
    const char *reason = NULL;
    int err;

    if (size != 0)
        rules = (struct kith_relay_rules) { 1 + (bytes[0] & 1), bytes[0] >> 1 & 1, 1 + (bytes[0] >> 2 & 1) };
    err = kith__relay_frame_decode(message, rules, &frame, &reason);
    if (err != 0) {
        KITH_ASSERT(reason != NULL);
        return 0;
    }
    KITH_ASSERT((kith__relay_frame_info(frame.kind)->sides & rules.from) != 0);
    check_parts(message, &frame);
    check_again(&frame, rules);
    return 0;
}
