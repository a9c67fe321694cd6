/*
 * The ceiling under everything else: how fast the UDP sockets of src/rt move bytes over loopback, one process on the first CPU
 * that sends, another on the second that receives, without QUIC, encryption or flow control. What the receiver does not keep
 * up with the kernel drops, so both rates are shown.
 * Usage: udp_bench [SECONDS]   (default 2 for each row)
 */
#define _GNU_SOURCE 1 /* sched_setaffinity */
#include "rt/uv/uv.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEGMENT_SIZE = 1452, SEGMENTS = 45, END_SIZE = 1, END_TIMES = 20, SETTLE_MS = 200 };

struct receiver {
    struct kith_rt_udp *udp;
    uint64_t bytes, first_ns, last_ns;
    bool is_done;
};

struct report {
    double gbits, calls, datagrams_a_call;
};

static void die(const char *what, int err)
{
    fprintf(stderr, "udp_bench: %s: %s\n", what, kith_err_name(err));
    exit(1);
}

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set); /* one CPU only: then both share it */
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct receiver *receiver = ctx;

    for (size_t i = 0; i < count; i++) {
        if (batch[i].size == END_SIZE) {
            receiver->is_done = true;
            return;
        }
        receiver->bytes += batch[i].size;
    }
    if (receiver->first_ns == 0)
        receiver->first_ns = now_ns;
    receiver->last_ns = now_ns;
}

static struct kith_rt *open_one(bool no_offload, struct receiver *receiver)
{
    struct kith_rt_udp_options options = { .no_offload = no_offload };
    struct kith_rt_udp_events events = { on_receive, NULL, receiver };
    struct kith_rt *rt = NULL;
    int err;

    if ((err = kith_sockaddr_parse("127.0.0.1:0", &options.local)) != 0 ||
        (err = kith__rt_uv_new(NULL, NULL, &rt)) != 0 ||
        (err = kith__rt_udp_open(rt, &options, &events, &receiver->udp)) != 0)
        die("socket", err);
    return rt;
}

static struct report report_of(uint64_t bytes, uint64_t ns, uint64_t calls, uint64_t datagrams)
{
    double seconds = ns > 0 ? (double)ns / 1e9 : 1;

    return (struct report) { (double)bytes * 8 / 1e9 / seconds, (double)calls / seconds,
                             calls > 0 ? (double)datagrams / (double)calls : 0 };
}

static void receive(bool no_offload, int to_parent)
{
    struct receiver receiver = { 0 };
    struct kith_rt *rt = open_one(no_offload, &receiver);
    struct kith_sockaddr local = kith__rt_udp_local(receiver.udp);
    struct kith_rt_udp_stats stats;
    struct report report;

    pin(1);
    if (write(to_parent, &local, sizeof local) != sizeof local)
        exit(1);
    (void)kith__rt_run(rt, &receiver.is_done, KITH_NEVER);
    stats = kith__rt_udp_stats(receiver.udp);
    report = report_of(receiver.bytes, receiver.last_ns - receiver.first_ns, stats.received_calls,
                       stats.received_datagrams);
    if (write(to_parent, &report, sizeof report) != sizeof report)
        exit(1);
    kith__rt_udp_close(receiver.udp);
    kith__rt_free(rt);
    exit(0);
}

/** Sends until the time is over; then, once the receiver has had time to empty its buffer, the word that it was all. */
static struct report send_to(struct kith_sockaddr remote, bool no_offload, uint64_t limit_ns)
{
    static uint8_t bytes[SEGMENT_SIZE * SEGMENTS];
    struct kith_quic_transmit transmit = { .remote = remote, .size = sizeof bytes, .segment_size = SEGMENT_SIZE };
    struct kith_quic_transmit end = { .remote = remote, .size = END_SIZE };
    struct receiver unused = { 0 };
    struct kith_rt *rt = open_one(no_offload, &unused);
    uint64_t start = kith__rt_now(rt), now = start;
    struct kith_rt_udp_stats stats;

    for (; now - start < limit_ns; now = kith__rt_now(rt))
        if (kith__rt_udp_send(unused.udp, &transmit, bytes) == KITH_ERR_AGAIN) {
            kith__rt_wait(rt, now + KITH_NS_PER_MS);
            kith__rt_process(rt);
        }
    stats = kith__rt_udp_stats(unused.udp);
    for (int i = 0; i < END_TIMES; i++) { /* each may meet a full buffer */
        usleep(SETTLE_MS * 1000 / END_TIMES);
        if (kith__rt_udp_send(unused.udp, &end, bytes) == KITH_ERR_AGAIN)
            kith__rt_process(rt);
    }
    kith__rt_udp_close(unused.udp);
    kith__rt_free(rt);
    return report_of(stats.sent_bytes, now - start, stats.sent_calls, stats.sent_datagrams);
}

static void row(const char *name, bool sender_plain, bool receiver_plain, uint64_t limit_ns)
{
    struct kith_sockaddr remote;
    struct report sent, received;
    int ends[2];
    pid_t child = -1;

    fflush(stdout);
    if (pipe(ends) != 0 || (child = fork()) < 0)
        die("fork", KITH_ERR_IO);
    if (child == 0)
        receive(receiver_plain, ends[1]);
    pin(0);
    if (read(ends[0], &remote, sizeof remote) != sizeof remote)
        die("receiver", KITH_ERR_IO);
    sent = send_to(remote, sender_plain, limit_ns);
    if (read(ends[0], &received, sizeof received) != sizeof received)
        die("receiver", KITH_ERR_IO);
    waitpid(child, NULL, 0);
    close(ends[0]);
    close(ends[1]);
    printf("%-24s %8.1f %10.1f %12.0f %12.0f %10.1f\n", name, sent.gbits, received.gbits, sent.calls, received.calls,
           received.datagrams_a_call);
}

int main(int argc, char **argv)
{
    uint64_t limit_ns = (uint64_t)((argc > 1 ? atof(argv[1]) : 2) * (double)KITH_NS_PER_S);

    printf("datagrams of %d bytes, loopback\n%-24s %8s %10s %12s %12s %10s\n", SEGMENT_SIZE, "", "sent", "received",
           "sends/s", "receives/s", "a receive");
    printf("%-24s %8s %10s\n", "", "Gbit/s", "Gbit/s");
    row("GSO and GRO", false, false, limit_ns);
    row("GSO, plain receiver", false, true, limit_ns);
    row("plain sender, GRO", true, false, limit_ns);
    row("plain", true, true, limit_ns);
    return 0;
}
