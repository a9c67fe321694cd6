/* What waits for one client: order, turns of senders, bounds, parts of messages, the end, memory that is short. */
#include "relay/outbox.h"

#include "base/random.h"
#include "base/test.h"
#include "http/websocket.h"
#include "relay/frames.h"
#include <stdlib.h>

enum { HEAD = 40, MESSAGE_MAX = 70000, SLICES = 16, STREAM_MAX = 4 << 20 };

static const struct kith_relay_outbox_limits usual = { 256 << 10, 1000, 4096 };

struct rig {
    struct kith_relay_pool pool;
    struct kith_relay_outbox *box;
    struct kith_relay_outbox_limits limits;
    uint8_t *sent; /* all that was sent, */
    size_t size;   /* so many bytes */
};

static void rig_open(struct rig *rig, const struct kith_mem *mem, uint64_t memory)
{
    *rig = (struct rig) { .limits = usual, .sent = malloc(STREAM_MAX) };
    KITH_CHECK(rig->sent != NULL);
    kith__relay_pool_init(&rig->pool, mem, memory);
}

static void rig_close(struct rig *rig)
{
    (void)kith__relay_outbox_free(&rig->box, &rig->pool);
    KITH_CHECK_EQ(rig->pool.used, 0);
    kith__relay_pool_dispose(&rig->pool);
    free(rig->sent);
}

static void check(const struct rig *rig)
{
    KITH_CHECK_EQ(kith__relay_outbox_check(rig->box, &rig->limits), rig->pool.used);
    KITH_CHECK(rig->pool.used <= rig->pool.max);
}

/* A whole message: a frame of `size` bytes after the WebSocket head, the first of them `type`, the others `mark`. Returns its size. */
static size_t message(uint8_t *out, uint8_t type, size_t size, uint8_t mark)
{
    size_t head = kith__ws_frame_write(out, KITH_WS_BINARY, NULL, size);

    memset(out + head, mark, size);
    out[head] = type;
    return head + size;
}

static enum kith_relay_push push(struct rig *rig, uint64_t tag, size_t size, uint8_t mark)
{
    static uint8_t bytes[MESSAGE_MAX];
    size_t whole = message(bytes, KITH_RELAY_SERVER_DATAGRAM, size, mark);
    enum kith_relay_push pushed = kith__relay_outbox_push(&rig->box, &rig->pool, &rig->limits, tag,
                                                          (struct kith_slice) { bytes, HEAD },
                                                          (struct kith_slice) { bytes + HEAD, whole - HEAD });

    check(rig);
    return pushed;
}

static enum kith_relay_push push_control(struct rig *rig, size_t size, uint8_t mark)
{
    uint8_t bytes[512];
    size_t whole = message(bytes, KITH_RELAY_PONG, size, mark);
    enum kith_relay_push pushed = kith__relay_outbox_push_control(&rig->box, &rig->pool, &rig->limits,
                                                                  (struct kith_slice) { bytes, whole });

    check(rig);
    return pushed;
}

/* Plans about size_max bytes, and sends at most send_max of the plan. Returns what left. */
static struct kith_relay_sent turn(struct rig *rig, size_t size_max, size_t send_max)
{
    struct kith_slice slices[SLICES];
    size_t count = kith__relay_outbox_plan(rig->box, size_max, slices, SLICES), left = send_max, sent = 0;
    struct kith_relay_sent out;

    KITH_CHECK(count != 0 && kith__relay_outbox_is_planned(rig->box));
    for (size_t i = 0; i < count && left != 0; i++) {
        size_t part = KITH_MIN(slices[i].size, left);

        KITH_CHECK(rig->size + part <= STREAM_MAX);
        memcpy(rig->sent + rig->size, slices[i].ptr, part);
        rig->size += part;
        sent += part;
        left -= part;
    }
    out = kith__relay_outbox_sent(&rig->box, &rig->pool, sent);
    check(rig);
    return out;
}

static void drain(struct rig *rig)
{
    while (rig->box != NULL)
        (void)turn(rig, KITH_RELAY_OUTPUT_MAX, SIZE_MAX);
}

/* The marks of the messages that were sent, one after the other; all of them whole and unmixed. */
static size_t marks(const struct rig *rig, uint8_t *out, size_t cap)
{
    size_t count = 0;

    for (size_t at = 0; at < rig->size;) {
        struct kith_ws_frame frame;

        KITH_CHECK_EQ(kith__ws_frame_parse(rig->sent + at, rig->size - at, &frame), 0);
        at += frame.head_size;
        KITH_CHECK(at + frame.size <= rig->size && count < cap);
        out[count] = rig->sent[at + 1];
        for (size_t i = 1; i < frame.size; i++)
            KITH_CHECK_EQ(rig->sent[at + i], out[count]);
        at += (size_t)frame.size;
        count++;
    }
    return count;
}

KITH_TEST(outbox_sends_control_first_and_datagrams_of_one_sender_in_their_order)
{
    static const size_t sizes[] = { 100, 1200, 65000, 60, 16384, 2016, 40000 };
    uint8_t seen[16];
    struct rig rig;

    rig_open(&rig, kith_mem_default(), 64 << 20);
    for (size_t i = 0; i < KITH_COUNT(sizes); i++)
        KITH_CHECK_EQ(push(&rig, 7, sizes[i], (uint8_t)(i + 1)), KITH_RELAY_PUSHED);
    KITH_CHECK_EQ(kith__relay_outbox_frames(rig.box), KITH_COUNT(sizes));
    KITH_CHECK_EQ(push_control(&rig, 9, 100), KITH_RELAY_PUSHED);
    KITH_CHECK_EQ(push_control(&rig, 9, 101), KITH_RELAY_PUSHED);
    drain(&rig);
    KITH_CHECK_EQ(marks(&rig, seen, sizeof seen), KITH_COUNT(sizes) + 2);
    KITH_CHECK(seen[0] == 100 && seen[1] == 101);
    for (size_t i = 0; i < KITH_COUNT(sizes); i++)
        KITH_CHECK_EQ(seen[2 + i], i + 1);
    rig_close(&rig);
}

KITH_TEST(outbox_serves_senders_in_turns_by_bytes)
{
    enum { FLOOD = 80 };
    uint8_t seen[FLOOD + 1];
    size_t at = 0, count;
    struct rig rig;

    rig_open(&rig, kith_mem_default(), 64 << 20);
    for (int i = 0; i < FLOOD; i++)
        KITH_CHECK_EQ(push(&rig, 1, 1200, 1), KITH_RELAY_PUSHED);
    KITH_CHECK_EQ(push(&rig, 2, 1200, 2), KITH_RELAY_PUSHED);
    drain(&rig);
    count = marks(&rig, seen, sizeof seen);
    KITH_CHECK_EQ(count, FLOOD + 1);
    while (seen[at] != 2)
        at++;
    KITH_CHECK(at * 1200 <= KITH_RELAY_LANE_QUANTUM + 1200); /* not behind the flood */
    rig_close(&rig);
}

KITH_TEST(outbox_bounds_are_those_of_bytes_frames_and_control)
{
    struct rig rig;
    size_t alone = 0, frames = 0;

    rig_open(&rig, kith_mem_default(), 64 << 20);
    while (push(&rig, 1, 1000, 1) == KITH_RELAY_PUSHED)
        alone += 1004;
    KITH_CHECK_EQ(push(&rig, 1, 1000, 1), KITH_RELAY_PUSH_QUEUE_SHARE);
    KITH_CHECK(alone <= usual.size_max / 2 + 502 && alone > usual.size_max / 2 - 502); /* half of it, alone */
    KITH_CHECK_EQ(push(&rig, 2, 1000, 2), KITH_RELAY_PUSHED);                          /* a newcomer finds room */
    KITH_CHECK_EQ(kith__relay_outbox_free(&rig.box, &rig.pool), alone / 1004 + 1);

    rig.limits.frames_max = 10;
    while (push(&rig, frames, 60, 1) == KITH_RELAY_PUSHED)
        frames++;
    KITH_CHECK_EQ(frames, 10);
    KITH_CHECK_EQ(push(&rig, 99, 60, 1), KITH_RELAY_PUSH_QUEUE_FULL);
    for (frames = 0; push_control(&rig, 98, 1) == KITH_RELAY_PUSHED;) /* 100 bytes each */
        frames++;
    KITH_CHECK_EQ(frames, usual.control_size_max / 100);
    KITH_CHECK_EQ(push_control(&rig, 98, 1), KITH_RELAY_PUSH_QUEUE_FULL);
    rig_close(&rig);
}

KITH_TEST(outbox_takes_a_part_of_the_memory_that_is_left_only)
{
    enum { MEMORY = 1 << 20 };
    struct rig rig;
    struct kith_relay_outbox *other = NULL;
    uint64_t first;

    rig_open(&rig, kith_mem_default(), MEMORY);
    rig.limits.size_max = 16 << 20;
    while (push(&rig, 1, 1200, 1) == KITH_RELAY_PUSHED)
        ;
    KITH_CHECK_EQ(push(&rig, 1, 1200, 1), KITH_RELAY_PUSH_MEMORY);
    first = rig.pool.used;
    KITH_CHECK(first <= MEMORY / 16 && first > MEMORY / 32);
    /* Another client's queue is made nevertheless; and a message that does not get in leaves no outbox behind. */
    KITH_CHECK_EQ(kith__relay_outbox_push(&other, &rig.pool, &rig.limits, 1,
                                          (struct kith_slice) { (const uint8_t *)"\x82\x01\x06", 3 },
                                          (struct kith_slice) { NULL, 0 }),
                  KITH_RELAY_PUSHED);
    KITH_CHECK(kith__relay_outbox_free(&other, &rig.pool) == 1 && other == NULL);
    rig.pool.max = rig.pool.used;
    KITH_CHECK_EQ(kith__relay_outbox_push_control(&other, &rig.pool, &rig.limits,
                                                  (struct kith_slice) { (const uint8_t *)"\x82\x01\x0a", 3 }),
                  KITH_RELAY_PUSH_MEMORY);
    KITH_CHECK(other == NULL);
    rig_close(&rig);
}

KITH_TEST(outbox_bytes_come_out_the_same_however_they_are_cut)
{
    struct kith_prng prng;
    struct kith_random random;
    struct rig rig;
    uint8_t seen[256];
    uint64_t frames = 0, payload = 0, wanted = 0;
    size_t messages = 0;

    kith__prng_init(&prng, kith__test_seed(5));
    random = kith__prng_source(&prng);
    rig_open(&rig, kith_mem_default(), 64 << 20);
    for (int i = 0; i < 200; i++) {
        size_t size = 60 + (size_t)kith__random_below(&random, i % 10 == 0 ? 30000 : 1500);

        if (push(&rig, kith__random_below(&random, 40), size, (uint8_t)(i % 200)) == KITH_RELAY_PUSHED) {
            wanted += size - KITH_RELAY_DATAGRAM_OVERHEAD;
            messages++;
        }
        if (rig.box != NULL && i % 3 == 0) {
            struct kith_relay_sent sent = turn(&rig, 1 + kith__random_below(&random, 20000),
                                               kith__random_below(&random, 5000));

            frames += sent.frames;
            payload += sent.payload_bytes;
        }
    }
    while (rig.box != NULL) {
        struct kith_relay_sent sent = turn(&rig, 1 + kith__random_below(&random, 70000),
                                           1 + kith__random_below(&random, 9000));

        frames += sent.frames;
        payload += sent.payload_bytes;
    }
    KITH_CHECK_EQ(marks(&rig, seen, sizeof seen), messages);
    KITH_CHECK_EQ(frames, messages);
    KITH_CHECK_EQ(payload, wanted);
    rig_close(&rig);
}

KITH_TEST(outbox_that_closes_ends_what_has_begun_and_says_what_it_has_to_say)
{
    uint8_t seen[8];
    struct rig rig;

    rig_open(&rig, kith_mem_default(), 64 << 20);
    KITH_CHECK_EQ(push(&rig, 1, 5000, 1), KITH_RELAY_PUSHED);
    KITH_CHECK_EQ(push(&rig, 2, 5000, 2), KITH_RELAY_PUSHED);
    (void)turn(&rig, 1, 100); /* a part of the first */
    kith__relay_outbox_close(rig.box);
    KITH_CHECK_EQ(push_control(&rig, 30, 9), KITH_RELAY_PUSHED);
    KITH_CHECK_EQ(kith__relay_outbox_size(rig.box), 5004 - 100 + 32);
    while (kith__relay_outbox_size(rig.box) != 0)
        (void)turn(&rig, KITH_RELAY_OUTPUT_MAX, 1000);
    KITH_CHECK_EQ(marks(&rig, seen, sizeof seen), 2);
    KITH_CHECK(seen[0] == 1 && seen[1] == 9);
    KITH_CHECK_EQ(kith__relay_outbox_free(&rig.box, &rig.pool), 1);
    rig_close(&rig);
}

KITH_TEST(outbox_survives_every_failed_allocation)
{
    struct kith_test_mem mem;
    uint64_t fail_at = 0;
    bool has_failed = true;

    while (has_failed) {
        enum kith_relay_push pushed[3];
        struct rig rig;

        kith__test_mem_init(&mem, ++fail_at);
        rig_open(&rig, &mem.mem, 64 << 20);
        pushed[0] = push(&rig, 1, 40000, 1);
        pushed[1] = push(&rig, 1, 1200, 2);
        pushed[2] = push_control(&rig, 60, 3);
        has_failed = mem.calls >= fail_at;
        for (size_t i = 0; i < KITH_COUNT(pushed); i++)
            KITH_CHECK(pushed[i] == KITH_RELAY_PUSHED || (has_failed && pushed[i] == KITH_RELAY_PUSH_MEMORY));
        drain(&rig);
        rig_close(&rig);
        KITH_CHECK_EQ(mem.live, 0);
    }
    KITH_CHECK(fail_at > 3);
}
