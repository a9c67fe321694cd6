#define _GNU_SOURCE 1 /* mkdtemp, unshare */
#include "base/test.h"
#include "rt/uv/loop.h"
#include "rt/uv/uv.h"

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_S = 20 }; /* a hang guard, not a measure: nothing asserts how long anything took */

static struct kith_rt *rt_new(const struct kith_mem *mem)
{
    struct kith_rt *rt = NULL;

    KITH_CHECK_EQ(kith__rt_uv_new(mem, NULL, &rt), 0);
    return rt;
}

static void run_until(struct kith_rt *rt, const bool *done)
{
    KITH_CHECK_EQ(kith__rt_run(rt, done, kith__rt_now(rt) + LIMIT_S * KITH_NS_PER_S), 0);
}

static struct kith_sockaddr addr(const char *text)
{
    struct kith_sockaddr out = { 0 };

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

/* ---- UDP ---- */

struct receiver {
    struct kith_rt_udp *udp;
    uint64_t datagrams, bytes, wanted;
    size_t segment_seen;
    uint8_t ecn;
    struct kith_sockaddr local, remote;
    bool is_done, is_in_order, closes_itself;
    uint32_t next;
};

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct receiver *receiver = ctx;

    KITH_CHECK(now_ns > 0 && count >= 1 && count <= KITH_RT_UDP_BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t segment = batch[i].segment_size != 0 ? batch[i].segment_size : batch[i].size;

        for (size_t at = 0; at < batch[i].size; at += segment) {
            uint32_t number = 0;

            memcpy(&number, batch[i].bytes + at, batch[i].size - at < 4 ? batch[i].size - at : 4);
            receiver->is_in_order = receiver->is_in_order && number == receiver->next;
            receiver->next++;
            receiver->datagrams++;
        }
        receiver->bytes += batch[i].size;
        receiver->ecn = batch[i].ecn;
        receiver->local = batch[i].local;
        receiver->remote = batch[i].remote;
        if (batch[i].segment_size != 0)
            receiver->segment_seen = batch[i].segment_size;
    }
    receiver->is_done = receiver->datagrams >= receiver->wanted;
    if (receiver->closes_itself && receiver->is_done) {
        kith__rt_udp_close(receiver->udp);
        receiver->udp = NULL;
    }
}

static int udp_open(struct kith_rt *rt, const char *local, bool no_offload, struct receiver *receiver)
{
    struct kith_rt_udp_options options = { .local = addr(local), .no_offload = no_offload };
    struct kith_rt_udp_events events = { on_receive, NULL, receiver };

    *receiver = (struct receiver) { .is_in_order = true, .wanted = 1 };
    return kith__rt_udp_open(rt, &options, &events, &receiver->udp);
}

/** count datagrams of `size` bytes in one transmit, the last `last` bytes long; each begins with its number. */
static void send_batch(struct receiver *from, struct receiver *to, size_t count, size_t size, size_t last, uint8_t ecn)
{
    static uint8_t bytes[KITH_RT_UDP_SEND_MAX];
    struct kith_quic_transmit transmit = { .remote = kith__rt_udp_local(to->udp),
                                           .size = (count - 1) * size + last,
                                           .segment_size = count > 1 ? size : 0,
                                           .ecn = ecn };

    for (uint32_t i = 0; i < count; i++)
        memcpy(bytes + i * size, &i, 4);
    KITH_CHECK_EQ(kith__rt_udp_send(from->udp, &transmit, bytes), 0);
}

static void check_loopback(const char *local, bool sender_plain, bool receiver_plain)
{
    struct kith_rt *rt = rt_new(NULL);
    struct receiver a, b;
    struct kith_sockaddr expected;

    KITH_CHECK_EQ(udp_open(rt, local, sender_plain, &a), 0);
    KITH_CHECK_EQ(udp_open(rt, local, receiver_plain, &b), 0);
    KITH_CHECK(!sender_plain || !kith__rt_udp_features(a.udp).gso);
    KITH_CHECK(!receiver_plain || !kith__rt_udp_features(b.udp).gro);
    KITH_CHECK(kith__rt_udp_features(b.udp).dont_fragment);
    b.wanted = 40;
    send_batch(&a, &b, 40, 1452, 100, 2);
    run_until(rt, &b.is_done);
    KITH_CHECK_EQ(b.datagrams, 40);
    KITH_CHECK_EQ(b.bytes, 39 * 1452 + 100);
    KITH_CHECK(b.is_in_order);
    KITH_CHECK_EQ(b.ecn, 2);
    expected = kith__rt_udp_local(a.udp);
    KITH_CHECK(kith_sockaddr_equal(&b.remote, &expected));
    expected = kith__rt_udp_local(b.udp);
    KITH_CHECK(kith_sockaddr_equal(&b.local, &expected));
    KITH_CHECK_EQ(kith__rt_udp_stats(a.udp).sent_datagrams, 40);
    KITH_CHECK_EQ(kith__rt_udp_stats(a.udp).sent_calls, sender_plain || !kith__rt_udp_features(a.udp).gso ? 40 : 1);
    KITH_CHECK_EQ(kith__rt_udp_stats(b.udp).received_datagrams, 40);
    if (!sender_plain && !receiver_plain && kith__rt_udp_features(b.udp).gro && kith__rt_udp_features(a.udp).gso)
        KITH_CHECK_EQ(b.segment_seen, 1452);
    if (receiver_plain)
        KITH_CHECK_EQ(b.segment_seen, 0);
    kith__rt_udp_close(a.udp);
    kith__rt_udp_close(b.udp);
    kith__rt_free(rt);
}

static bool has_v6(void)
{
    struct kith_rt *rt = rt_new(NULL);
    struct receiver probe;
    int err = udp_open(rt, "[::1]:0", false, &probe);

    if (err == 0)
        kith__rt_udp_close(probe.udp);
    kith__rt_free(rt);
    return err == 0;
}

KITH_TEST(uv_udp_moves_batches_whole_and_in_order_with_every_mix_of_offload)
{
    for (int mix = 0; mix < 4; mix++) {
        check_loopback("127.0.0.1:0", mix & 1, mix & 2);
        if (has_v6())
            check_loopback("[::1]:0", mix & 1, mix & 2);
    }
}

KITH_TEST(uv_udp_environment_switches_offload_off)
{
    struct kith_rt *rt = rt_new(NULL);
    struct receiver a;

    setenv("KITH_UDP_OFFLOAD", "off", 1);
    KITH_CHECK_EQ(udp_open(rt, "127.0.0.1:0", false, &a), 0);
    unsetenv("KITH_UDP_OFFLOAD");
    KITH_CHECK(!kith__rt_udp_features(a.udp).gso);
    KITH_CHECK(!kith__rt_udp_features(a.udp).gro);
    kith__rt_udp_close(a.udp);
    kith__rt_free(rt);
}

KITH_TEST(uv_udp_says_on_which_address_a_datagram_arrived_and_answers_from_it)
{
    struct kith_rt *rt = rt_new(NULL);
    struct receiver a, b;
    struct kith_quic_transmit transmit = { .size = 4 };
    struct kith_sockaddr expected = addr("127.0.0.9:0");

    KITH_CHECK_EQ(udp_open(rt, "127.0.0.1:0", false, &a), 0);
    KITH_CHECK_EQ(udp_open(rt, "0.0.0.0:0", false, &b), 0);
    transmit.remote = expected;
    transmit.remote.port = kith__rt_udp_local(b.udp).port;
    KITH_CHECK_EQ(kith__rt_udp_send(a.udp, &transmit, (const uint8_t *)"abcd"), 0);
    run_until(rt, &b.is_done);
    expected.port = kith__rt_udp_local(b.udp).port;
    KITH_CHECK(kith_sockaddr_equal(&b.local, &expected));
    transmit.local = b.local;
    transmit.remote = b.remote;
    KITH_CHECK_EQ(kith__rt_udp_send(b.udp, &transmit, (const uint8_t *)"abcd"), 0);
    run_until(rt, &a.is_done);
    KITH_CHECK(kith_sockaddr_equal(&a.remote, &expected));
    kith__rt_udp_close(a.udp);
    kith__rt_udp_close(b.udp);
    kith__rt_free(rt);
}

KITH_TEST(uv_udp_refuses_what_cannot_be_sent_and_counts_what_was_dropped)
{
    static uint8_t bytes[65536];
    struct kith_rt *rt = rt_new(NULL);
    struct receiver a, b;
    struct kith_quic_transmit transmit = { .size = KITH_RT_UDP_SEND_MAX + 1 };

    KITH_CHECK_EQ(udp_open(rt, "127.0.0.1:0", false, &a), 0);
    KITH_CHECK_EQ(udp_open(rt, "127.0.0.1:0", false, &b), 0);
    transmit.remote = kith__rt_udp_local(b.udp);
    KITH_CHECK_EQ(kith__rt_udp_send(a.udp, &transmit, bytes), KITH_ERR_INVALID);
    transmit.size = 65 * 100;
    transmit.segment_size = 100;
    KITH_CHECK_EQ(kith__rt_udp_send(a.udp, &transmit, bytes), KITH_ERR_INVALID);
    transmit.size = 100;
    transmit.remote = addr("[::1]:9");
    KITH_CHECK_EQ(kith__rt_udp_send(a.udp, &transmit, bytes), KITH_ERR_INVALID);
    /* An address that is not ours as source: no route, or an invalid argument, as the kernel likes; counted either way. */
    transmit.remote = kith__rt_udp_local(b.udp);
    transmit.local = addr("192.0.2.1:0");
    KITH_CHECK_EQ(kith__rt_udp_send(a.udp, &transmit, bytes), 0);
    KITH_CHECK_EQ(kith__rt_udp_stats(a.udp).drop_unreachable + kith__rt_udp_stats(a.udp).drop_send_other, 1);
    KITH_CHECK_EQ(kith__rt_udp_stats(a.udp).sent_datagrams, 0);
    kith__rt_udp_close(a.udp);
    kith__rt_udp_close(b.udp);
    kith__rt_free(rt);
}

KITH_TEST(uv_udp_above_the_mtu_is_too_large_and_batches_still_work_after_it)
{
    static uint8_t bytes[KITH_RT_UDP_SEND_MAX];
    struct kith_rt *rt = rt_new(NULL);
    struct receiver a, b;
    struct kith_quic_transmit transmit = { .remote = addr("[::1]:9"), .size = KITH_RT_UDP_SEND_MAX };
    bool had_gso;

    if (!has_v6()) {
        kith__rt_free(rt);
        return;
    }
    /* IPv6 loopback: 65,507 + 48 bytes do not fit into its MTU of 65,536, and DF forbids fragments. */
    KITH_CHECK_EQ(udp_open(rt, "[::1]:0", false, &a), 0);
    KITH_CHECK_EQ(udp_open(rt, "[::1]:0", false, &b), 0);
    had_gso = kith__rt_udp_features(a.udp).gso;
    KITH_CHECK_EQ(kith__rt_udp_send(a.udp, &transmit, bytes), 0);
    KITH_CHECK_EQ(kith__rt_udp_stats(a.udp).drop_too_large, 1);
    b.wanted = 3;
    send_batch(&a, &b, 3, 1200, 1200, 0);
    run_until(rt, &b.is_done);
    KITH_CHECK_EQ(kith__rt_udp_features(a.udp).gso, had_gso);
    kith__rt_udp_close(a.udp);
    kith__rt_udp_close(b.udp);
    kith__rt_free(rt);
}

KITH_TEST(uv_udp_taken_port_bad_address_and_close_inside_the_callback)
{
    struct kith_rt *rt = rt_new(NULL);
    struct receiver a, b, c;
    char text[KITH_SOCKADDR_TEXT_SIZE];
    struct kith_sockaddr local;

    KITH_CHECK_EQ(udp_open(rt, "127.0.0.1:0", false, &a), 0);
    KITH_CHECK_EQ(udp_open(rt, "127.0.0.1:0", false, &b), 0);
    local = kith__rt_udp_local(a.udp);
    KITH_CHECK_EQ(udp_open(rt, kith_sockaddr_format(&local, text), false, &c), KITH_ERR_ADDRESS_IN_USE);
    KITH_CHECK_EQ(udp_open(rt, "192.0.2.1:0", false, &c), KITH_ERR_UNREACHABLE);
    b.closes_itself = true;
    b.wanted = 2;
    send_batch(&a, &b, 2, 1200, 1200, 0);
    run_until(rt, &b.is_done);
    KITH_CHECK(b.udp == NULL);
    kith__rt_udp_close(a.udp);
    kith__rt_free(rt);
}

/* ---- Loop ---- */

struct sequence {
    struct kith_rt_timer timers[3];
    int order[4], count;
    bool is_done;
};

static void fire_first(void *ctx, uint64_t now_ns)
{
    struct sequence *sequence = ctx;

    (void)now_ns;
    sequence->order[sequence->count++] = 1;
}

static void fire_second(void *ctx, uint64_t now_ns)
{
    struct sequence *sequence = ctx;

    (void)now_ns;
    sequence->order[sequence->count++] = 2;
}

static void fire_last(void *ctx, uint64_t now_ns)
{
    struct sequence *sequence = ctx;

    (void)now_ns;
    sequence->order[sequence->count++] = 3;
    sequence->is_done = true;
}

KITH_TEST(uv_timers_fire_in_order_and_not_before_their_time)
{
    struct kith_rt *rt = rt_new(NULL);
    struct sequence sequence = { .count = 0 };
    uint64_t now = kith__rt_now(rt);

    KITH_CHECK_EQ(kith__rt_timer_init(rt, &sequence.timers[0], fire_first, &sequence), 0);
    KITH_CHECK_EQ(kith__rt_timer_init(rt, &sequence.timers[1], fire_second, &sequence), 0);
    KITH_CHECK_EQ(kith__rt_timer_init(rt, &sequence.timers[2], fire_last, &sequence), 0);
    kith__rt_timer_set(&sequence.timers[2], now + 2 * KITH_NS_PER_MS);
    kith__rt_timer_set(&sequence.timers[0], now + KITH_NS_PER_MS);
    kith__rt_timer_set(&sequence.timers[1], now + KITH_NS_PER_MS);
    run_until(rt, &sequence.is_done);
    KITH_CHECK(kith__rt_now(rt) >= now + 2 * KITH_NS_PER_MS);
    for (int i = 0; i < 3; i++) {
        KITH_CHECK_EQ(sequence.order[i], i + 1);
        kith__rt_timer_dispose(&sequence.timers[i]);
    }
    kith__rt_free(rt);
}

struct waker {
    struct kith_rt *rt;
    struct kith_rt_lock *lock;
    struct kith_rt_condition *condition;
    bool was_started, is_woken;
};

static void wake_from_thread(void *ctx)
{
    struct waker *waker = ctx;

    kith__rt_lock_acquire(waker->lock);
    waker->was_started = true;
    kith__rt_condition_broadcast(waker->condition);
    kith__rt_lock_release(waker->lock);
    kith__rt_wake(waker->rt);
}

static void on_wake(void *ctx)
{
    ((struct waker *)ctx)->is_woken = true;
}

KITH_TEST(uv_wake_from_another_thread_ends_the_wait)
{
    struct waker waker = { .rt = rt_new(NULL) };
    struct kith_rt_thread *thread;

    kith__rt_set_hooks(waker.rt, &(struct kith_rt_hooks) { .on_wake = on_wake, .ctx = &waker });
    KITH_CHECK_EQ(kith__rt_lock_new(kith_mem_default(), &waker.lock), 0);
    KITH_CHECK_EQ(kith__rt_condition_new(kith_mem_default(), &waker.condition), 0);
    KITH_CHECK_EQ(kith__rt_thread_start(kith_mem_default(), wake_from_thread, &waker, &thread), 0);
    KITH_CHECK(!kith__rt_thread_is_current(thread));
    run_until(waker.rt, &waker.is_woken);
    kith__rt_lock_acquire(waker.lock);
    while (!waker.was_started)
        kith__rt_condition_wait(waker.condition, waker.lock, KITH_NEVER);
    KITH_CHECK_EQ(kith__rt_condition_wait(waker.condition, waker.lock, 1), KITH_ERR_TIMEOUT);
    kith__rt_lock_release(waker.lock);
    kith__rt_thread_join(thread);
    kith__rt_condition_free(waker.condition);
    kith__rt_lock_free(waker.lock);
    kith__rt_free(waker.rt);
}

KITH_TEST(uv_descriptor_and_notice_are_readable_exactly_when_there_is_work)
{
    struct kith_rt *rt = rt_new(NULL);
    struct kith_rt_notice *notice;
    struct pollfd fd;

    while (kith__rt_deadline(rt) == 0)
        kith__rt_process(rt);
    fd = (struct pollfd) { .fd = kith__rt_fd(rt), .events = POLLIN };
    KITH_CHECK_EQ(poll(&fd, 1, 0), 0);
    kith__rt_wake(rt);
    KITH_CHECK_EQ(poll(&fd, 1, 0), 1);
    kith__rt_process(rt);
    KITH_CHECK_EQ(poll(&fd, 1, 0), 0);
    KITH_CHECK_EQ(kith__rt_notice_new(kith_mem_default(), &notice), 0);
    fd.fd = kith__rt_notice_fd(notice);
    KITH_CHECK_EQ(poll(&fd, 1, 0), 0);
    kith__rt_notice_set(notice);
    kith__rt_notice_set(notice);
    KITH_CHECK_EQ(poll(&fd, 1, 0), 1);
    kith__rt_notice_clear(notice);
    kith__rt_notice_clear(notice);
    KITH_CHECK_EQ(poll(&fd, 1, 0), 0);
    kith__rt_notice_free(notice);
    kith__rt_free(rt);
}

KITH_TEST(uv_rt_survives_every_allocation_failing)
{
    for (uint64_t fail_at = 1;; fail_at++) {
        struct kith_test_mem mem;
        struct kith_rt *rt;
        struct receiver a;
        struct kith_rt_timer timer = { 0 };

        kith__test_mem_init(&mem, fail_at);
        if (kith__rt_uv_new(&mem.mem, NULL, &rt) == 0) {
            if (udp_open(rt, "127.0.0.1:0", false, &a) == 0)
                kith__rt_udp_close(a.udp);
            if (kith__rt_timer_init(rt, &timer, fire_first, NULL) == 0)
                kith__rt_timer_dispose(&timer);
            kith__rt_free(rt);
        }
        KITH_CHECK_EQ(mem.live, 0);
        if (mem.calls < fail_at)
            return;
    }
}

KITH_TEST(uv_interfaces_and_names_of_this_machine)
{
    struct kith_rt *rt = rt_new(NULL);
    struct kith_rt_interface interfaces[KITH_RT_INTERFACES_MAX];
    size_t count;
    bool has_loopback = false;

    KITH_CHECK_EQ(kith__rt_interfaces(rt, interfaces, KITH_RT_INTERFACES_MAX, &count), 0);
    for (size_t i = 0; i < count; i++)
        has_loopback = has_loopback || (interfaces[i].is_loopback && interfaces[i].addr.ip[0] == 127);
    KITH_CHECK(has_loopback);
    kith__rt_free(rt);
}

struct answer {
    int err;
    size_t count;
    struct kith_sockaddr first;
    bool is_done;
};

static void on_answer(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count)
{
    struct answer *answer = ctx;

    *answer = (struct answer) { .err = err, .count = count, .is_done = true };
    if (count > 0)
        answer->first = addrs[0];
}

KITH_TEST(uv_numeric_names_resolve_and_a_cancelled_lookup_stays_silent)
{
    struct kith_rt *rt = rt_new(NULL);
    struct kith_rt_resolve *resolve;
    struct answer answer = { 0 }, silent = { 0 };
    struct kith_sockaddr expected = addr("127.0.0.1:80");

    KITH_CHECK_EQ(kith__rt_resolve(rt, "127.0.0.1", 81, on_answer, &silent, &resolve), 0);
    kith__rt_resolve_cancel(resolve);
    KITH_CHECK_EQ(kith__rt_resolve(rt, "127.0.0.1", 80, on_answer, &answer, &resolve), 0);
    run_until(rt, &answer.is_done);
    KITH_CHECK_EQ(answer.err, 0);
    KITH_CHECK(kith_sockaddr_equal(&answer.first, &expected));
    KITH_CHECK_EQ(kith__rt_resolve(rt, "", 80, on_answer, &answer, &resolve), KITH_ERR_INVALID);
    kith__rt_free(rt);
    KITH_CHECK(!silent.is_done);
}

KITH_TEST(uv_names_resolve_in_one_family_alone)
{
    struct kith_rt *rt = rt_new(NULL);
    struct kith_sockaddr v4 = addr("127.0.0.1:80"), v6 = addr("[::1]:80");
    struct kith_rt_resolve *resolve;
    struct answer answer = { 0 }, other = { 0 };

    KITH_CHECK_EQ(kith__rt_resolve_family(rt, "127.0.0.1", 80, KITH_FAMILY_V4, on_answer, &answer, &resolve), 0);
    KITH_CHECK_EQ(kith__rt_resolve_family(rt, "::1", 80, KITH_FAMILY_V6, on_answer, &other, &resolve), 0);
    run_until(rt, &answer.is_done);
    run_until(rt, &other.is_done);
    KITH_CHECK(kith_sockaddr_equal(&answer.first, &v4));
    KITH_CHECK(kith_sockaddr_equal(&other.first, &v6));
    answer.is_done = false;
    KITH_CHECK_EQ(kith__rt_resolve_family(rt, "127.0.0.1", 80, KITH_FAMILY_V6, on_answer, &answer, &resolve), 0);
    run_until(rt, &answer.is_done);
    KITH_CHECK_EQ(answer.err, KITH_ERR_NOT_FOUND);
    kith__rt_free(rt);
}

static struct {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_over;
    unsigned asked, ended;
} silence = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0 };

/* A name server that says nothing about names until the silence is over. */
static int get_addresses_in_silence(const char *host, const char *service, const struct addrinfo *hints,
                                    struct addrinfo **out)
{
    if (strcmp(host, "silent.test") != 0)
        return getaddrinfo(host, service, hints, out);
    pthread_mutex_lock(&silence.lock);
    silence.asked++;
    pthread_cond_broadcast(&silence.cond);
    while (!silence.is_over)
        pthread_cond_wait(&silence.cond, &silence.lock);
    silence.ended++;
    pthread_cond_broadcast(&silence.cond);
    pthread_mutex_unlock(&silence.lock);
    return EAI_AGAIN;
}

KITH_TEST(uv_names_whose_servers_are_silent_hold_up_nobody_and_not_the_end)
{
    enum { SILENT = 12 };
    struct kith_rt *rt = rt_new(NULL);
    struct kith_rt_resolve *silent[SILENT], *resolve;
    struct answer answer = { 0 }, none = { 0 };

    kith__uv_of(rt)->get_addresses = get_addresses_in_silence;
    for (size_t i = 0; i < SILENT; i++)
        KITH_CHECK_EQ(kith__rt_resolve(rt, "silent.test", 80, on_answer, &none, &silent[i]), 0);
    KITH_CHECK_EQ(kith__rt_resolve(rt, "127.0.0.1", 80, on_answer, &answer, &resolve), 0);
    run_until(rt, &answer.is_done);
    KITH_CHECK_EQ(answer.err, 0);
    for (size_t i = 0; i < SILENT; i++)
        kith__rt_resolve_cancel(silent[i]);
    pthread_mutex_lock(&silence.lock);
    while (silence.asked < SILENT)
        pthread_cond_wait(&silence.cond, &silence.lock);
    pthread_mutex_unlock(&silence.lock);
    kith__rt_free(rt); /* while all of them are still asked */
    pthread_mutex_lock(&silence.lock);
    KITH_CHECK_EQ(silence.ended, 0);
    silence.is_over = true;
    pthread_cond_broadcast(&silence.cond);
    while (silence.ended < SILENT)
        pthread_cond_wait(&silence.cond, &silence.lock);
    pthread_mutex_unlock(&silence.lock);
    KITH_CHECK(!none.is_done);
}

KITH_TEST(uv_more_lookups_than_threads_all_come_to_their_end)
{
    enum { MANY = 200 };
    struct kith_rt *rt = rt_new(NULL);
    struct kith_rt_resolve *resolve;
    static struct answer answers[MANY];

    for (size_t i = 0; i < MANY; i++)
        KITH_CHECK_EQ(kith__rt_resolve(rt, "127.0.0.1", 80, on_answer, &answers[i], &resolve), 0);
    for (size_t i = 0; i < MANY; i++) {
        run_until(rt, &answers[i].is_done);
        KITH_CHECK_EQ(answers[i].err, 0);
    }
    kith__rt_free(rt);
}

/* ---- Changes of addresses ---- */

static void on_change(void *ctx)
{
    *(bool *)ctx = true;
}

/** Takes the loopback interface of this network namespace up. */
static void loopback_up(void)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    KITH_CHECK(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0);
    close(fd);
}

KITH_TEST(uv_watch_tells_of_an_interface_that_comes_up)
{
    struct kith_rt_watch *watch = NULL;
    struct kith_rt *rt = rt_new(NULL);
    bool has_changed = false;
    int status = 0;
    pid_t child;

    KITH_CHECK_EQ(kith__rt_watch_open(rt, on_change, &has_changed, &watch), 0);
    kith__rt_watch_close(watch);
    kith__rt_free(rt);
    if ((child = fork()) == 0) { /* an empty network of its own, where that is allowed */
        if (unshare(CLONE_NEWNET) != 0)
            _exit(0);
        rt = rt_new(NULL);
        KITH_CHECK_EQ(kith__rt_watch_open(rt, on_change, &has_changed, &watch), 0);
        KITH_CHECK_EQ(kith__rt_run(rt, &has_changed, kith__rt_now(rt) + KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
        loopback_up();
        run_until(rt, &has_changed);
        kith__rt_watch_close(watch);
        kith__rt_free(rt);
        _exit(0);
    }
    KITH_CHECK(child > 0 && waitpid(child, &status, 0) == child);
    KITH_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
