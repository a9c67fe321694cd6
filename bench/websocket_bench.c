/*
 * What one WebSocket message costs a server on its way in: masked binary messages of 1200 bytes, in received pieces of 64 KiB,
 * taken out whole, as a relay forwards them. Our reader, and libwslay in its three ways where it is installed.
 */
#include "base/mem.h"
#include "http/websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef KITH_HAVE_WSLAY
#include <wslay/wslay.h>
#endif

enum { MESSAGE_SIZE = 1200, READ_SIZE = 65536, MESSAGES = 2000, ROUNDS = 200 };

static uint8_t stream[MESSAGES * (MESSAGE_SIZE + KITH_WS_FRAME_HEAD_MAX)];
static uint8_t work[sizeof stream]; /* a fresh copy for each round, as a socket gives it: its time is not counted */
static size_t stream_size;
static uint64_t message_count, byte_sum;

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void make_stream(void)
{
    static const uint8_t mask[4] = { 0x11, 0x22, 0x33, 0x44 };

    for (int i = 0; i < MESSAGES; i++) {
        size_t head_size = kith__ws_frame_write(stream + stream_size, KITH_WS_BINARY, mask, MESSAGE_SIZE);
        uint8_t *payload = stream + stream_size + head_size;

        memset(payload, i, MESSAGE_SIZE);
        kith__ws_mask(payload, MESSAGE_SIZE, mask, 0);
        stream_size += head_size + MESSAGE_SIZE;
    }
}

/** The forwarder's part: looks at the message. */
static void take(const uint8_t *bytes, size_t size)
{
    message_count++;
    byte_sum += bytes[0] + bytes[size - 1] + size;
}

static void run_ours(void)
{
    const struct kith_ws_reader_options options = { kith_mem_default(), true, KITH_WS_MESSAGE_SIZE_MAX };
    struct kith_ws_reader reader;
    struct kith_ws_event event;

    kith__ws_reader_init(&reader, &options);
    for (size_t from = 0; from < stream_size; from += READ_SIZE) {
        uint8_t *at = work + from, *end = at + KITH_MIN((size_t)READ_SIZE, stream_size - from);

        while (kith__ws_reader_next(&reader, &at, end, &event) == 0)
            take(event.bytes, event.size);
    }
    kith__ws_reader_dispose(&reader);
}

#ifdef KITH_HAVE_WSLAY

static size_t fed, fed_end; /* what wslay may read now: [fed, fed_end) of work */
static uint8_t message[READ_SIZE];
static size_t message_size;

static size_t feed(uint8_t *buf, size_t size)
{
    size_t part = KITH_MIN(size, fed_end - fed);

    memcpy(buf, work + fed, part);
    fed += part;
    return part;
}

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t size, int flags, void *user)
{
    size_t part = feed(buf, size);

    (void)flags, (void)user;
    if (part == 0)
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
    return part == 0 ? -1 : (ssize_t)part;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
    (void)ctx, (void)user;
    take(arg->msg, arg->msg_length);
}

static void on_chunk(wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_chunk_arg *arg, void *user)
{
    (void)ctx, (void)user;
    memcpy(message + message_size, arg->data, arg->data_length);
    message_size += arg->data_length;
}

static void on_frame_end(wslay_event_context_ptr ctx, void *user)
{
    (void)ctx, (void)user;
    take(message, message_size);
    message_size = 0;
}

static void run_wslay_events(bool is_buffered)
{
    const struct wslay_event_callbacks callbacks = { .recv_callback = on_recv,
                                                     .on_msg_recv_callback = is_buffered ? on_message : NULL,
                                                     .on_frame_recv_chunk_callback = is_buffered ? NULL : on_chunk,
                                                     .on_frame_recv_end_callback = is_buffered ? NULL : on_frame_end };
    wslay_event_context_ptr ctx;

    if (wslay_event_context_server_init(&ctx, &callbacks, NULL) != 0)
        abort();
    wslay_event_config_set_no_buffering(ctx, !is_buffered);
    for (fed = fed_end = 0; fed_end < stream_size;) {
        fed_end = KITH_MIN(fed_end + READ_SIZE, stream_size);
        if (wslay_event_recv(ctx) != 0)
            abort();
    }
    wslay_event_context_free(ctx);
}

static void run_wslay_buffered(void)
{
    run_wslay_events(true);
}

static void run_wslay_chunks(void)
{
    run_wslay_events(false);
}

static ssize_t on_frame_recv(uint8_t *buf, size_t size, int flags, void *user)
{
    size_t part = feed(buf, size);

    (void)flags, (void)user;
    return part == 0 ? -1 : (ssize_t)part;
}

/** The lower half alone: frames in pieces of its 4 KiB buffer. */
static void run_wslay_frames(void)
{
    const struct wslay_frame_callbacks callbacks = { .recv_callback = on_frame_recv };
    struct wslay_frame_iocb iocb;
    wslay_frame_context_ptr ctx;
    ssize_t got;

    if (wslay_frame_context_init(&ctx, &callbacks, NULL) != 0)
        abort();
    for (fed = fed_end = 0; fed_end < stream_size;) {
        fed_end = KITH_MIN(fed_end + READ_SIZE, stream_size);
        while (memset(&iocb, 0, sizeof iocb), (got = wslay_frame_recv(ctx, &iocb)) >= 0) {
            memcpy(message + message_size, iocb.data, iocb.data_length);
            message_size += iocb.data_length;
            if (message_size == iocb.payload_length) {
                take(message, message_size);
                message_size = 0;
            }
        }
    }
    wslay_frame_context_free(ctx);
}

#endif

static void measure(const char *name, void (*run)(void))
{
    double best_s = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        double began_s;

        memcpy(work, stream, stream_size);
        message_count = 0;
        began_s = now_s();
        run();
        best_s = KITH_MIN(best_s, now_s() - began_s);
        if (message_count != MESSAGES) {
            fprintf(stderr, "%s: %llu messages\n", name, (unsigned long long)message_count);
            exit(1);
        }
    }
    printf("%-28s %7.1f ns a message, %6.2f million a second\n", name, best_s / MESSAGES * 1e9,
           MESSAGES / best_s / 1e6);
}

int main(void)
{
    make_stream();
    measure("kith", run_ours);
#ifdef KITH_HAVE_WSLAY
    measure("wslay, whole messages", run_wslay_buffered);
    measure("wslay, chunks", run_wslay_chunks);
    measure("wslay, frames", run_wslay_frames);
#else
    printf("libwslay is not installed: nothing to compare with\n");
#endif
    return byte_sum == 0;
}
