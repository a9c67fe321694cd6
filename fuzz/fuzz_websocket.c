/*
 * The WebSocket reader. The first byte: server or client, and the size of the pieces in which the rest arrives. Whole and in
 * pieces the same messages come out, and the same end; no message is above the limit; held memory is bounded.
 */
#include "base/mem.h"
#include "http/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { SIZE_MAX_HERE = 1000 };

/** A sum over everything that was handed out, and how it ended. */
struct story {
    uint64_t hash;
    int err;
    uint16_t close_code;
};

static void take_byte(struct story *story, uint64_t byte)
{
    story->hash = (story->hash ^ byte) * UINT64_C(0x100000001b3);
}

static void take_event(struct story *story, const struct kith_ws_event *event)
{
    KITH_ASSERT(event->size <= SIZE_MAX_HERE);
    KITH_ASSERT(event->kind <= KITH_WS_BINARY || event->size <= KITH_WS_CONTROL_PAYLOAD_MAX);
    take_byte(story, event->kind);
    take_byte(story, event->code);
    take_byte(story, event->size);
    for (size_t i = 0; i < event->size; i++)
        take_byte(story, event->bytes[i]);
}

static struct story run(const uint8_t *bytes, size_t size, size_t step, bool is_server)
{
    const struct kith_ws_reader_options options = { kith_mem_default(), is_server, SIZE_MAX_HERE };
    struct story story = { 0, KITH_ERR_AGAIN, 0 };
    struct kith_ws_reader reader;

    kith__ws_reader_init(&reader, &options);
    for (size_t at = 0; at < size && story.err == KITH_ERR_AGAIN; at += step) {
        size_t part = KITH_MIN(step, size - at);
        uint8_t *piece = kith__alloc(kith_mem_default(), part), *from = piece;
        struct kith_ws_event event;

        memcpy(piece, bytes + at, part);
        while ((story.err = kith__ws_reader_next(&reader, &from, piece + part, &event)) == 0)
            take_event(&story, &event);
        KITH_ASSERT(from <= piece + part && (story.err != KITH_ERR_AGAIN || from == piece + part));
        KITH_ASSERT(reader.held.size <= SIZE_MAX_HERE + KITH_WS_CONTROL_PAYLOAD_MAX);
        kith__free(kith_mem_default(), piece);
    }
    story.close_code = reader.close_code;
    KITH_ASSERT((story.err == KITH_ERR_AGAIN) == (story.close_code == 0));
    kith__ws_reader_dispose(&reader);
    return story;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct story whole, pieces;

    if (size < 2)
        return 0;
    whole = run(bytes + 1, size - 1, size - 1, bytes[0] & 1);
    pieces = run(bytes + 1, size - 1, 1 + (bytes[0] >> 1) % 64, bytes[0] & 1);
    KITH_ASSERT(whole.hash == pieces.hash && whole.err == pieces.err && whole.close_code == pieces.close_code);
    return 0;
}
