/*
 * What a name server sends back, through c-ares and our own checks. The first byte: its lowest two bits are the type that is asked for (A,
 * TXT, AAAA, TXT); 4: the question is put behind the header; 8: the first answer over UDP is cut, and the bytes come over
 * TCP, in pieces; 16: twice. Behind it is the message without its id.
 *
 * An answer that is taken was checked and is the message byte for byte; whatever comes, it ends.
 */
#include "base/mem.h"
#include "lookup/dns_answer.h"
#include "lookup/dns_ask.h"
#include "rt/ops.h"

enum { MESSAGE_SIZE_MAX = 8192, PIECE_SIZE = 7 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/** An rt that keeps what is sent, and whose sockets are this one UDP socket and this one stream. */
struct world {
    struct kith_rt rt; /* first */
    struct kith_rt_udp udp;
    struct kith_rt_stream stream;
    bool is_udp_open, is_stream_open;
    uint8_t asked[512]; /* over UDP; over TCP with the size in front */
    size_t asked_size;
    bool is_done;
    int err;
    uint16_t type;
    uint8_t message[MESSAGE_SIZE_MAX]; /* what is answered */
    size_t size;
};

static uint64_t world_now(const struct kith_rt *rt)
{
    (void)rt;
    return KITH_NS_PER_S;
}

static void world_timers_changed(struct kith_rt *rt)
{
    (void)rt;
}

static int world_udp_open(struct kith_rt *rt, const struct kith_rt_udp_options *options,
                          const struct kith_rt_udp_events *events, struct kith_rt_udp **out)
{
    struct world *world = (struct world *)rt;

    KITH_ASSERT(!world->is_udp_open);
    world->udp = (struct kith_rt_udp) { .rt = rt, .events = *events, .local = options->local };
    world->is_udp_open = true;
    *out = &world->udp;
    return 0;
}

static void world_udp_close(struct kith_rt_udp *udp)
{
    ((struct world *)udp->rt)->is_udp_open = false;
}

static void keep(struct world *world, const uint8_t *bytes, size_t size)
{
    KITH_ASSERT(size <= sizeof world->asked);
    memcpy(world->asked, bytes, size);
    world->asked_size = size;
}

static void world_udp_send(struct kith_rt_udp *udp, const struct kith_quic_transmit *transmit, const uint8_t *bytes)
{
    keep((struct world *)udp->rt, bytes, transmit->size);
}

static int world_connect(struct kith_rt *rt, const struct kith_rt_stream_addr *to,
                         const struct kith_rt_stream_events *events, struct kith_rt_stream **out)
{
    struct world *world = (struct world *)rt;

    (void)to;
    KITH_ASSERT(!world->is_stream_open);
    world->stream = (struct kith_rt_stream) { rt, *events };
    world->is_stream_open = true;
    *out = &world->stream;
    return 0;
}

static void world_read_start(struct kith_rt_stream *stream)
{
    (void)stream;
}

static int world_write(struct kith_rt_stream *stream, const struct kith_slice *slices, size_t count)
{
    KITH_ASSERT(count == 1);
    keep((struct world *)stream->rt, slices[0].ptr, slices[0].size);
    return 0;
}

static void world_stream_close(struct kith_rt_stream *stream)
{
    ((struct world *)stream->rt)->is_stream_open = false;
}

static void fill(void *ctx, uint8_t *out, size_t size)
{
    (void)ctx;
    memset(out, 0x5a, size);
}

static void check_answer(struct kith_slice message, uint16_t type)
{
    struct kith_sockaddr ips[8];
    struct kith_lookup_info info;
    uint32_t ttl_s = UINT32_MAX;
    size_t ignored, count;

    if (kith__dns_answer_check(message, type, &ttl_s) != 0)
        return;
    KITH_ASSERT(ttl_s <= KITH_DNS_TTL_MAX_S);
    if (type == KITH_DNS_TXT) {
        kith__lookup_info_init(&info, kith_mem_default(), NULL);
        KITH_ASSERT(kith__dns_answer_info(message, &info, &ignored) == 0);
        kith__lookup_info_dispose(&info);
        return;
    }
    count = kith__dns_answer_ips(message, type, ips, KITH_COUNT(ips));
    KITH_ASSERT(count > 0);
    for (size_t i = 0; i < count; i++)
        KITH_ASSERT(ips[i].port == 0 && (ips[i].family == KITH_FAMILY_V4) == (type == KITH_DNS_A));
}

static void on_done(void *ctx, int err, const char *why, struct kith_slice message)
{
    struct world *world = ctx;

    KITH_ASSERT(!world->is_done && (err == 0) == (why[0] == '\0'));
    world->is_done = true;
    world->err = err;
    if (err != 0)
        return;
    KITH_ASSERT(message.size == world->size);
    KITH_ASSERT(memcmp(message.ptr + 2, world->message + 2, message.size - 2) == 0); /* behind the id */
    check_answer(message, world->type);
}

static void receive(struct world *world, const struct kith_sockaddr *from, uint8_t *bytes, size_t size)
{
    struct kith_quic_received received = { .remote = *from, .bytes = bytes, .size = size };

    if (world->is_udp_open)
        world->udp.events.on_receive(world->udp.events.ctx, &received, 1, KITH_NS_PER_S);
}

/** Cuts the answer over UDP, and sends the message over TCP. */
static void receive_tcp(struct world *world, const struct kith_sockaddr *from)
{
    uint8_t stream[2 + MESSAGE_SIZE_MAX], cut[512];
    size_t size = world->asked_size;

    memcpy(cut, world->asked, size);
    cut[2] = KITH_DNS_QR >> 8 | KITH_DNS_TC >> 8 | KITH_DNS_RD >> 8;
    receive(world, from, cut, size);
    if (world->is_done || !world->is_stream_open)
        return;
    world->stream.events.on_open(world->stream.events.ctx, 0);
    KITH_ASSERT(world->asked_size == size + 2);
    memcpy(world->message, world->asked + 2, 2); /* the same id again */
    stream[0] = (uint8_t)(world->size >> 8);
    stream[1] = (uint8_t)world->size;
    memcpy(stream + 2, world->message, world->size);
    world->stream.events.on_written(world->stream.events.ctx, 0);
    for (size_t at = 0; at < world->size + 2 && !world->is_done; at += PIECE_SIZE)
        world->stream.events.on_data(world->stream.events.ctx, stream + at,
                                     KITH_MIN((size_t)PIECE_SIZE, world->size + 2 - at));
    if (!world->is_done)
        world->stream.events.on_end(world->stream.events.ctx, 0);
}

/** The message: the id of what was asked, the input, and perhaps the question. */
static void make_message(struct world *world, const uint8_t *bytes, size_t size, bool has_question)
{
    size_t head = KITH_MIN(size, (size_t)KITH_DNS_HEADER_SIZE - 2), at = 2 + head;
    size_t question = has_question ? world->asked_size - KITH_DNS_HEADER_SIZE : 0;

    memcpy(world->message, world->asked, 2);
    memcpy(world->message + 2, bytes, head);
    memcpy(world->message + at, world->asked + KITH_DNS_HEADER_SIZE, question);
    at += question;
    size = KITH_MIN(size - head, sizeof world->message - at);
    memcpy(world->message + at, bytes + head, size);
    world->size = at + size;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct kith_rt_ops ops = {
        .now = world_now,
        .timers_changed = world_timers_changed,
        .udp_open = world_udp_open,
        .udp_close = world_udp_close,
        .udp_send = world_udp_send,
        .stream_connect = world_connect,
        .stream_read_start = world_read_start,
        .stream_write = world_write,
        .stream_close = world_stream_close,
    };
    static const uint16_t types[] = { KITH_DNS_A, KITH_DNS_TXT, KITH_DNS_AAAA, KITH_DNS_TXT };
    static struct world world;
    struct kith_random random = { fill, NULL };
    struct kith_dns_ask_stats stats = { 0 };
    struct kith_dns_name name;
    struct kith_dns_ask_options options = {
        &world.rt, kith_mem_default(), { .family = KITH_FAMILY_V4, .ip = { 10, 0, 0, 1 }, .port = 53 }, &name
    };
    struct kith_dns_ask *ask;

    if (size == 0)
        return 0;
    world = (struct world) { .type = types[bytes[0] & 3] };
    kith__rt_init(&world.rt, &ops, kith_mem_default(), NULL, &random);
    KITH_ASSERT(kith__dns_name_parse("_iroh.a.example", 15, &name) == 0);
    options.type = world.type;
    options.stats = &stats;
    KITH_ASSERT(kith__dns_ask(&options, on_done, &world, &ask) == 0 && !world.is_done);
    make_message(&world, bytes + 1, size - 1, (bytes[0] & 4) != 0);
    check_answer((struct kith_slice) { world.message, world.size }, world.type);
    if ((bytes[0] & 8) != 0) {
        receive_tcp(&world, &options.server);
    } else {
        uint8_t copy[MESSAGE_SIZE_MAX]; /* it is changed in place */

        for (int i = 0; i < ((bytes[0] & 16) != 0 ? 2 : 1) && !world.is_done; i++) {
            memcpy(copy, world.message, world.size);
            receive(&world, &options.server, copy, world.size);
        }
    }
    if (!world.is_done)
        kith__dns_ask_cancel(ask);
    KITH_ASSERT(!world.is_udp_open && !world.is_stream_open);
    kith__rt_dispose(&world.rt);
    return 0;
}
