#include "quic/guard/handshake.h"

#include "base/test.h"
#include "quic/wire/frame.h"
#include "tls/duo.h"

enum { CLIENT, SERVER, FLYING_MAX = 2048, FRAME_MAX = 200 };

static const char *const alpn[] = { "a" };
static const enum kith_tls_level levels[] = { KITH_TLS_INITIAL, KITH_TLS_HANDSHAKE, KITH_TLS_APPLICATION };

/* A CRYPTO frame under way. */
struct flying {
    enum kith_tls_level level;
    struct kith_crypto_sent sent;
    uint8_t bytes[FRAME_MAX];
    size_t size;
};

struct ends {
    struct duo duo; /* only for its contexts and its making of handshakes */
    struct kith_handshake handshakes[2];
    struct kith_crypto_stream early[2][KITH_HANDSHAKE_EARLY_STREAMS];
    unsigned done[2], failed[2];
    uint16_t code[2];
    int err; /* of a run without memory */
    struct flying flying[FLYING_MAX];
    size_t flying_count;
};

static struct ends ends;

static void ends_init(const struct kith_mem *mem, const char *const *client_alpn)
{
    memset(&ends, 0, sizeof ends);
    KITH_CHECK_EQ(duo_init(&ends.duo, kith_mem_default()), 0);
    KITH_CHECK_EQ(duo_client(&ends.duo, client_alpn, 1, (struct kith_slice) { NULL, 0 }, false), 0);
    KITH_CHECK_EQ(duo_server(&ends.duo, alpn, 1, 0), 0);
    kith__handshake_init(&ends.handshakes[CLIENT], mem, ends.duo.client.tls, ends.early[CLIENT]);
    kith__handshake_init(&ends.handshakes[SERVER], mem, ends.duo.server.tls, ends.early[SERVER]);
    ends.duo.client.tls = ends.duo.server.tls = NULL;
}

static void ends_dispose(void)
{
    kith__handshake_dispose(&ends.handshakes[CLIENT]);
    kith__handshake_dispose(&ends.handshakes[SERVER]);
    duo_dispose(&ends.duo);
}

static void pull(int side)
{
    struct kith_tls_output out;
    int err;

    while ((err = kith__handshake_next(&ends.handshakes[side], &out)) == 0) {
        ends.done[side] += out.kind == KITH_TLS_DONE;
        ends.failed[side] += out.kind == KITH_TLS_FAILED;
        if (out.kind == KITH_TLS_FAILED)
            ends.code[side] = out.code;
    }
    if (err != KITH_ERR_AGAIN)
        ends.err = err;
}

static int deliver(int to, const struct flying *frame)
{
    struct kith_reader r = kith__reader(frame->bytes, frame->size);
    struct kith_frame_error error;
    struct kith_frame decoded;
    const char *reason;
    int err;

    KITH_CHECK_EQ(kith__frame_decode(&r, KITH_PACKET_ONE_RTT, &decoded, &error), 0);
    KITH_CHECK_EQ(kith__reader_left(&r), 0);
    err = kith__handshake_on_crypto(&ends.handshakes[to], frame->level, decoded.crypto.offset, decoded.crypto.data,
                                    &reason);
    KITH_CHECK_EQ(reason != NULL, err != 0);
    pull(to);
    return err;
}

/* Everything that waits at a side becomes frames of at most `room` bytes. */
static void collect(int from, size_t room)
{
    for (size_t i = 0; i < KITH_COUNT(levels); i++)
        for (;;) {
            struct flying *frame = &ends.flying[ends.flying_count];
            struct kith_writer w = kith__writer(frame->bytes, room);

            KITH_ASSERT(ends.flying_count < FLYING_MAX);
            frame->level = levels[i];
            if (!kith__handshake_write(&ends.handshakes[from], levels[i], &w, &frame->sent))
                break;
            frame->size = kith__writer_size(&w);
            ends.flying_count++;
        }
}

/* One flight from a side to the other: shuffled, some lost, some doubled. Returns 0 or the first error. */
static int fly(int from, size_t room, unsigned loss_percent, uint64_t *seed)
{
    int err = 0;

    ends.flying_count = 0;
    collect(from, room);
    for (size_t i = ends.flying_count; i > 1; i--) {
        size_t j = kith__test_random(seed) % i;
        struct flying kept = ends.flying[i - 1];

        ends.flying[i - 1] = ends.flying[j];
        ends.flying[j] = kept;
    }
    for (size_t i = 0; i < ends.flying_count && err == 0; i++) {
        const struct flying *frame = &ends.flying[i];

        if (kith__test_random(seed) % 100 < loss_percent) {
            err = kith__handshake_on_lost(&ends.handshakes[from], frame->level, frame->sent.offset, frame->sent.size);
            continue;
        }
        err = deliver(1 - from, frame);
        if (err == 0 && kith__test_random(seed) % 4 == 0)
            err = deliver(1 - from, frame);
        if (err == 0)
            err = kith__handshake_on_acked(&ends.handshakes[from], frame->level, frame->sent.offset, frame->sent.size);
    }
    return err;
}

static int run(size_t room, unsigned loss_percent, uint64_t seed)
{
    int err = 0;

    pull(CLIENT);
    for (int round = 0; round < 200 && err == 0 && ends.err == 0; round++) {
        err = fly(CLIENT, room, loss_percent, &seed);
        if (err == 0 && ends.err == 0)
            err = fly(SERVER, room, loss_percent, &seed);
    }
    return err != 0 ? err : ends.err;
}

KITH_TEST(handshake_completes_over_a_good_link)
{
    ends_init(kith_mem_default(), alpn);
    KITH_CHECK_EQ(run(FRAME_MAX, 0, 1), 0);
    KITH_CHECK_EQ(ends.done[CLIENT], 1);
    KITH_CHECK_EQ(ends.done[SERVER], 1);
    for (size_t i = 0; i < KITH_COUNT(levels); i++) {
        KITH_CHECK(!kith__handshake_has_data(&ends.handshakes[CLIENT], levels[i]));
        KITH_CHECK(!kith__handshake_has_unacked(&ends.handshakes[SERVER], levels[i]));
    }
    ends_dispose();
}

KITH_TEST(handshake_survives_loss_reordering_and_doubles)
{
    uint64_t first = kith__test_seed(3);

    for (uint64_t seed = first; seed < first + 12; seed++) {
        ends_init(kith_mem_default(), alpn);
        KITH_CHECK_EQ(run(8 + seed % 5 * 48, 40, seed), 0);
        KITH_CHECK_EQ(ends.done[CLIENT], 1);
        KITH_CHECK_EQ(ends.done[SERVER], 1);
        ends_dispose();
    }
}

KITH_TEST(handshake_failure_is_among_the_outputs)
{
    static const char *const other[] = { "b" };

    ends_init(kith_mem_default(), other);
    KITH_CHECK_EQ(run(FRAME_MAX, 0, 1), 0);
    KITH_CHECK_EQ(ends.failed[SERVER], 1);
    KITH_CHECK_EQ(ends.code[SERVER], 0x178);
    KITH_CHECK_EQ(ends.done[SERVER], 0);
    ends_dispose();
}

static int give(int side, enum kith_tls_level level, uint64_t offset, size_t size, const char **reason)
{
    static const uint8_t bytes[KITH_HANDSHAKE_BUFFER_MAX + 1];

    return kith__handshake_on_crypto(&ends.handshakes[side], level, offset, (struct kith_slice) { bytes, size },
                                     reason);
}

KITH_TEST(crypto_bytes_too_far_ahead_exceed_the_buffer)
{
    const char *reason;

    ends_init(kith_mem_default(), alpn);
    KITH_CHECK_EQ(give(SERVER, KITH_TLS_INITIAL, KITH_HANDSHAKE_BUFFER_MAX - 10, 10, &reason), 0);
    KITH_CHECK_EQ(give(SERVER, KITH_TLS_INITIAL, KITH_HANDSHAKE_BUFFER_MAX - 10, 11, &reason),
                  KITH_WIRE_CRYPTO_BUFFER_EXCEEDED);
    KITH_CHECK(reason != NULL);
    KITH_CHECK_EQ(give(SERVER, KITH_TLS_INITIAL, KITH_VARINT_MAX - 10, 10, &reason), KITH_WIRE_CRYPTO_BUFFER_EXCEEDED);
    ends_dispose();
}

KITH_TEST(too_many_holes_in_crypto_bytes_are_an_error)
{
    const char *reason;
    int err = 0;
    uint64_t offset;

    ends_init(kith_mem_default(), alpn);
    for (offset = 1; offset < KITH_HANDSHAKE_BUFFER_MAX && err == 0; offset += 2)
        err = give(SERVER, KITH_TLS_INITIAL, offset, 1, &reason);
    KITH_CHECK_EQ(err, KITH_WIRE_INTERNAL_ERROR);
    KITH_CHECK(offset / 2 >= 1024 && offset / 2 < 1030);
    ends_dispose();
}

KITH_TEST(new_bytes_at_a_finished_level_are_a_violation)
{
    const char *reason;

    ends_init(kith_mem_default(), alpn);
    KITH_CHECK_EQ(run(FRAME_MAX, 0, 1), 0);
    KITH_CHECK_EQ(give(CLIENT, KITH_TLS_INITIAL, 0, 1, &reason), 0); /* old bytes again: a late copy */
    KITH_CHECK_EQ(give(CLIENT, KITH_TLS_INITIAL, 200, 1, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    kith__handshake_discard(&ends.handshakes[CLIENT], KITH_TLS_INITIAL);
    kith__handshake_discard(&ends.handshakes[CLIENT], KITH_TLS_INITIAL);
    KITH_CHECK_EQ(give(CLIENT, KITH_TLS_INITIAL, 200, 1, &reason), 0); /* nobody listens any more */
    KITH_CHECK_EQ(kith__handshake_on_acked(&ends.handshakes[CLIENT], KITH_TLS_INITIAL, 0, 9), 0);
    KITH_CHECK_EQ(kith__handshake_on_lost(&ends.handshakes[CLIENT], KITH_TLS_INITIAL, 0, 9), 0);
    KITH_CHECK_EQ(kith__handshake_resend(&ends.handshakes[CLIENT], KITH_TLS_INITIAL), 0);
    KITH_CHECK(!kith__handshake_has_data(&ends.handshakes[CLIENT], KITH_TLS_INITIAL));
    ends_dispose();
}

KITH_TEST(resend_sends_everything_that_is_not_acknowledged)
{
    uint64_t total = 0, again = 0;

    ends_init(kith_mem_default(), alpn);
    pull(CLIENT);
    collect(CLIENT, 64);
    KITH_CHECK(ends.flying_count > 2);
    for (size_t i = 0; i < ends.flying_count; i++)
        total += ends.flying[i].sent.size;
    KITH_CHECK(!kith__handshake_has_data(&ends.handshakes[CLIENT], KITH_TLS_INITIAL));
    KITH_CHECK_EQ(kith__handshake_on_acked(&ends.handshakes[CLIENT], KITH_TLS_INITIAL, ends.flying[1].sent.offset,
                                           ends.flying[1].sent.size),
                  0);
    total -= ends.flying[1].sent.size;
    KITH_CHECK_EQ(kith__handshake_resend(&ends.handshakes[CLIENT], KITH_TLS_INITIAL), 0);
    KITH_CHECK(kith__handshake_has_data(&ends.handshakes[CLIENT], KITH_TLS_INITIAL));
    ends.flying_count = 0;
    collect(CLIENT, 64);
    for (size_t i = 0; i < ends.flying_count; i++)
        again += ends.flying[i].sent.size;
    KITH_CHECK_EQ(again, total);
    ends_dispose();
}

KITH_TEST(handshake_without_memory_fails_cleanly)
{
    bool finished = false;

    for (uint64_t fail_at = 1; !finished; fail_at++) {
        struct kith_test_mem mem;
        int err;

        kith__test_mem_init(&mem, fail_at);
        ends_init(&mem.mem, alpn);
        err = run(60, 30, 5);
        finished = mem.calls < fail_at;
        KITH_CHECK_EQ(err, finished ? 0 : KITH_ERR_NOMEM);
        ends_dispose();
        KITH_CHECK_EQ(mem.live, 0);
        KITH_CHECK(fail_at < 2000);
    }
}
