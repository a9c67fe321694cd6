/*
 * What the kernel may answer to a UDP send and what becomes of the datagrams. The answers come from a script that stands in for
 * sendmsg (struct kith_uv, send_message), since no test can make a real kernel refuse at a chosen call.
 */
#include "base/test.h"
#include "rt/uv/loop.h"
#include "rt/uv/uv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_S = 20, SCRIPT_MAX = 16, SIZE = 100 }; /* LIMIT_S: a hang guard; SIZE: bytes of a datagram */

/** The answers to the next calls of sendmsg: an errno, or 0 for the real call. After the last one: real calls. */
static struct {
    int answers[SCRIPT_MAX];
    size_t count, at;
    size_t calls, batches; /* with UDP_SEGMENT */
    size_t marked;         /* with an ECN mark */
} script;

static bool has_control(const struct msghdr *header, int level, int type)
{
    struct msghdr copy = *header;

    for (struct cmsghdr *message = CMSG_FIRSTHDR(&copy); message != NULL; message = CMSG_NXTHDR(&copy, message))
        if (message->cmsg_level == level && message->cmsg_type == type)
            return true;
    return false;
}

static ssize_t scripted_send(int fd, const struct msghdr *header, int flags)
{
    int answer = script.at < script.count ? script.answers[script.at++] : 0;

    script.calls++;
    script.batches += has_control(header, IPPROTO_UDP, 103 /* UDP_SEGMENT */);
    script.marked += has_control(header, IPPROTO_IP, IP_TOS);
    if (answer == 0)
        return sendmsg(fd, header, flags);
    errno = answer;
    return -1;
}

static void answer_with(const int *answers, size_t count)
{
    memset(&script, 0, sizeof script);
    memcpy(script.answers, answers, count * sizeof *answers);
    script.count = count;
}
#define ANSWER(...) answer_with((int[]) { __VA_ARGS__ }, sizeof((int[]) { __VA_ARGS__ }) / sizeof(int))

/** Two sockets on loopback; `to` collects the first byte of each datagram, which is its number. */
struct pair {
    struct kith_rt *rt;
    struct kith_rt_udp *from, *to;
    uint8_t numbers[256];
    size_t count, wanted, writable_calls;
    bool is_done;
};

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct pair *pair = ctx;

    (void)now_ns;
    for (size_t i = 0; i < count; i++) {
        size_t segment = batch[i].segment_size != 0 ? batch[i].segment_size : batch[i].size;

        for (size_t at = 0; at < batch[i].size; at += segment)
            pair->numbers[pair->count++ % sizeof pair->numbers] = batch[i].bytes[at];
    }
    pair->is_done = pair->count >= pair->wanted;
}

static void on_writable(void *ctx)
{
    struct pair *pair = ctx;

    pair->writable_calls++;
}

static void pair_open(struct pair *pair, const struct kith_mem *mem, bool no_offload)
{
    struct kith_rt_udp_options options = { .no_offload = no_offload };
    struct kith_rt_udp_events events = { on_receive, on_writable, pair };

    *pair = (struct pair) { 0 };
    KITH_CHECK_EQ(kith_sockaddr_parse("127.0.0.1:0", &options.local), 0);
    KITH_CHECK_EQ(kith__rt_uv_new(mem, NULL, &pair->rt), 0);
    KITH_CHECK_EQ(kith__rt_udp_open(pair->rt, &options, &events, &pair->from), 0);
    KITH_CHECK_EQ(kith__rt_udp_open(pair->rt, &options, &events, &pair->to), 0);
    kith__uv_of(pair->rt)->send_message = scripted_send;
}

static void pair_close(struct pair *pair)
{
    kith__rt_udp_close(pair->from);
    kith__rt_udp_close(pair->to);
    kith__rt_free(pair->rt);
}

/** Sends datagrams numbered from `first` on in one transmit. Returns what the socket said. */
static int send_numbered(struct pair *pair, uint8_t first, size_t count, uint8_t ecn)
{
    uint8_t bytes[KITH_RT_UDP_SEGMENTS_MAX * SIZE] = { 0 };
    struct kith_quic_transmit transmit = {
        .remote = kith__rt_udp_local(pair->to), .size = count * SIZE, .segment_size = count > 1 ? SIZE : 0, .ecn = ecn
    };

    for (size_t i = 0; i < count; i++)
        bytes[i * SIZE] = (uint8_t)(first + i);
    return kith__rt_udp_send(pair->from, &transmit, bytes);
}

/** Waits for `count` datagrams in all, which must be those with the numbers 0, 1, 2, ... in order. */
static void check_arrived(struct pair *pair, size_t count)
{
    pair->wanted = count;
    pair->is_done = pair->count >= count;
    KITH_CHECK_EQ(kith__rt_run(pair->rt, &pair->is_done, kith__rt_now(pair->rt) + LIMIT_S * KITH_NS_PER_S), 0);
    KITH_CHECK_EQ(pair->count, count);
    for (size_t i = 0; i < count; i++)
        KITH_CHECK_EQ(pair->numbers[i], i);
}

static bool has_gso(void)
{
    struct pair pair;
    bool answer;

    pair_open(&pair, NULL, false);
    answer = kith__rt_udp_features(pair.from).gso;
    pair_close(&pair);
    return answer;
}

KITH_TEST(uv_udp_a_refused_batch_goes_out_one_by_one_and_segmentation_stays_off)
{
    static const int refusals[] = { EIO, EINVAL, EOPNOTSUPP };

    for (size_t i = 0; has_gso() && i < KITH_COUNT(refusals); i++) {
        struct pair pair;

        pair_open(&pair, NULL, false);
        ANSWER(refusals[i]);
        KITH_CHECK_EQ(send_numbered(&pair, 0, 5, 0), 0);
        KITH_CHECK_EQ(script.calls, 6);
        KITH_CHECK(!kith__rt_udp_features(pair.from).gso);
        KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).gso_refused, 1);
        ANSWER(0);
        KITH_CHECK_EQ(send_numbered(&pair, 5, 4, 0), 0);
        KITH_CHECK_EQ(script.batches, 0); /* not asked a second time */
        KITH_CHECK_EQ(script.calls, 4);
        KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).sent_datagrams, 9);
        KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).gso_refused, 1);
        check_arrived(&pair, 9);
        pair_close(&pair);
    }
}

KITH_TEST(uv_udp_a_batch_refused_for_its_size_leaves_segmentation_on)
{
    struct pair pair;

    if (!has_gso())
        return;
    pair_open(&pair, NULL, false);
    ANSWER(EINVAL, EMSGSIZE, EMSGSIZE, EMSGSIZE); /* as kernels before 6.12 answer for segments above the MTU */
    KITH_CHECK_EQ(send_numbered(&pair, 0, 3, 0), 0);
    KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).drop_too_large, 3);
    KITH_CHECK(kith__rt_udp_features(pair.from).gso);
    KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).gso_refused, 0);
    ANSWER(0);
    KITH_CHECK_EQ(send_numbered(&pair, 0, 3, 0), 0);
    KITH_CHECK_EQ(script.calls, 1);
    check_arrived(&pair, 3);
    pair_close(&pair);
}

static void check_full_socket(bool no_offload)
{
    struct pair pair;

    pair_open(&pair, NULL, no_offload);
    if (no_offload)
        ANSWER(0, 0, EAGAIN, EAGAIN); /* full after two of six, and still full at the first try after it */
    else
        ANSWER(EAGAIN, EAGAIN);
    KITH_CHECK_EQ(send_numbered(&pair, 0, 6, 0), 0); /* taken: the socket keeps what the kernel did not */
    KITH_CHECK(kith__rt_udp_is_blocked(pair.from));
    KITH_CHECK_EQ(send_numbered(&pair, 6, 2, 0), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(pair.writable_calls, 0);
    check_arrived(&pair, 6);
    KITH_CHECK(!kith__rt_udp_is_blocked(pair.from));
    KITH_CHECK_EQ(pair.writable_calls, 1);
    KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).blocked, 1);
    KITH_CHECK_EQ(send_numbered(&pair, 6, 2, 0), 0);
    check_arrived(&pair, 8);
    KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).sent_datagrams, 8);
    pair_close(&pair);
}

KITH_TEST(uv_udp_a_full_socket_keeps_its_datagrams_in_order_and_says_when_it_takes_more)
{
    check_full_socket(true);
    if (has_gso())
        check_full_socket(false);
}

KITH_TEST(uv_udp_a_full_socket_without_memory_counts_what_it_could_not_keep)
{
    struct kith_test_mem mem;
    struct pair pair;

    kith__test_mem_init(&mem, 0);
    pair_open(&pair, &mem.mem, true);
    ANSWER(0, EAGAIN);
    mem.fail_at = mem.calls + 1;
    KITH_CHECK_EQ(send_numbered(&pair, 0, 5, 0), 0);
    KITH_CHECK(!kith__rt_udp_is_blocked(pair.from));
    KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).drop_no_buffer, 4);
    KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).sent_datagrams, 1);
    pair_close(&pair);
    KITH_CHECK_EQ(mem.live, 0);
}

KITH_TEST(uv_udp_a_socket_closed_while_full_frees_what_it_kept)
{
    struct kith_test_mem mem;
    struct pair pair;

    kith__test_mem_init(&mem, 0);
    pair_open(&pair, &mem.mem, true);
    ANSWER(EAGAIN);
    KITH_CHECK_EQ(send_numbered(&pair, 0, 5, 0), 0);
    KITH_CHECK(kith__rt_udp_is_blocked(pair.from));
    pair_close(&pair);
    KITH_CHECK_EQ(mem.live, 0);
}

KITH_TEST(uv_udp_every_refusal_is_counted_under_its_reason_and_the_rest_still_goes)
{
    static const struct {
        int number;
        size_t offset; /* of the counter in struct kith_rt_udp_stats */
    } cases[] = {
        { EMSGSIZE, offsetof(struct kith_rt_udp_stats, drop_too_large) },
        { EPERM, offsetof(struct kith_rt_udp_stats, drop_permission) },
        { EACCES, offsetof(struct kith_rt_udp_stats, drop_permission) },
        { ENETUNREACH, offsetof(struct kith_rt_udp_stats, drop_unreachable) },
        { EHOSTUNREACH, offsetof(struct kith_rt_udp_stats, drop_unreachable) },
        { ENETDOWN, offsetof(struct kith_rt_udp_stats, drop_unreachable) },
        { EADDRNOTAVAIL, offsetof(struct kith_rt_udp_stats, drop_unreachable) },
        { ECONNREFUSED, offsetof(struct kith_rt_udp_stats, drop_unreachable) },
        { ENOBUFS, offsetof(struct kith_rt_udp_stats, drop_no_buffer) },
        { ENOMEM, offsetof(struct kith_rt_udp_stats, drop_no_buffer) },
        { EPIPE, offsetof(struct kith_rt_udp_stats, drop_send_other) },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_rt_udp_stats stats;
        struct pair pair;
        uint64_t counted;

        pair_open(&pair, NULL, true);
        ANSWER(0, 0, cases[i].number); /* the third of three */
        KITH_CHECK_EQ(send_numbered(&pair, 0, 3, 0), 0);
        KITH_CHECK_EQ(send_numbered(&pair, 2, 1, 0), 0);
        stats = kith__rt_udp_stats(pair.from);
        memcpy(&counted, (const char *)&stats + cases[i].offset, sizeof counted);
        KITH_CHECK_EQ(counted, 1);
        KITH_CHECK_EQ(stats.drop_too_large + stats.drop_permission + stats.drop_unreachable + stats.drop_no_buffer +
                          stats.drop_send_other,
                      1);
        KITH_CHECK_EQ(stats.sent_datagrams, 3);
        check_arrived(&pair, 3);
        pair_close(&pair);
    }
}

KITH_TEST(uv_udp_a_batch_refused_for_good_is_counted_in_datagrams)
{
    struct pair pair;

    if (!has_gso())
        return;
    pair_open(&pair, NULL, false);
    ANSWER(EPERM);
    KITH_CHECK_EQ(send_numbered(&pair, 0, 7, 0), 0);
    KITH_CHECK_EQ(script.calls, 1);
    KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).drop_permission, 7);
    KITH_CHECK(kith__rt_udp_features(pair.from).gso);
    pair_close(&pair);
}

KITH_TEST(uv_udp_an_interrupted_send_is_repeated_and_a_refused_mark_left_out)
{
    struct pair pair;

    pair_open(&pair, NULL, true);
    ANSWER(EINTR, EINTR);
    KITH_CHECK_EQ(send_numbered(&pair, 0, 1, 0), 0);
    KITH_CHECK_EQ(script.calls, 3);
    ANSWER(EINVAL);
    KITH_CHECK_EQ(send_numbered(&pair, 1, 1, 2), 0);
    KITH_CHECK_EQ(script.calls, 2);
    KITH_CHECK_EQ(script.marked, 1); /* the first try only */
    KITH_CHECK_EQ(kith__rt_udp_stats(pair.from).ecn_refused, 1);
    check_arrived(&pair, 2);
    pair_close(&pair);
}
