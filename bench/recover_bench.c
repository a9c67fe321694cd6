/*
 * What loss recovery costs for each packet: sending (record, in-flight sums, pacing) and being acknowledged in groups of 64,
 * on a clean path and with one packet in a hundred lost; and recording received packets. Prints nanoseconds a packet.
 */
#include "quic/path/path.h"

#include <stdio.h>
#include <time.h>

enum { GROUP = 64, PACKETS = 1000000, DATA = KITH_SENT_ELICITING | KITH_SENT_COUNTED };

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void send_one(struct kith_path *path, uint64_t now_ns)
{
    struct kith_sent_frame frame = { .kind = 8, .size = 1400 };
    uint64_t number;

    if (kith__sent_begin(&path->sent, &number) != 0 || kith__sent_add_frame(&path->sent, &frame) != 0)
        return;
    kith__path_stamp(path, kith__sent_building(&path->sent));
    kith__sent_commit(&path->sent, 1452, DATA, now_ns);
    kith__path_on_sent(path, 1452, DATA, now_ns);
}

/** Acknowledges [first, last] but every lost_each-th number (0: all), as one ACK frame of several ranges. */
static uint64_t acknowledge(struct kith_path *path, uint64_t first, uint64_t last, uint64_t lost_each, uint64_t now_ns)
{
    struct kith_path_ack sum;
    struct kith_sent_walk walk;
    const struct kith_sent *packet;
    uint64_t count = 0;
    bool fell = false;

    kith__path_ack_begin(path, &path->sent, &sum);
    while (first <= last) {
        uint64_t end = lost_each == 0 ? last : first + lost_each - 2 - first % lost_each;

        if (lost_each == 0 || first % lost_each != lost_each - 1) {
            end = end < last ? end : last;
            if (kith__sent_ack_begin(&path->sent, first, end, &walk) != 0)
                return 0;
            while ((packet = kith__sent_ack_next(&path->sent, &walk)) != NULL)
                count += kith__sent_frame(&path->sent, packet, 0)->size != 0 &&
                         !kith__path_ack_packet(path, &path->sent, packet, &sum, now_ns);
            first = end + 1;
        } else {
            first++;
        }
    }
    kith__path_ack_end(path, KITH_SPACE_DATA, &path->sent, &sum, 0, 0, NULL, true, now_ns);
    while (kith__path_take_lost(path, KITH_SPACE_DATA, &path->sent, 0, &fell, now_ns) != NULL)
        count++;
    return count;
}

static void bench_sent(const char *name, uint64_t lost_each)
{
    struct kith_path_options options = {
        .pacing = true, .udp_size_initial = 1200, .udp_size_max = 1452, .initial_rtt_ns = 50000
    };
    struct kith_tuple tuple = { .remote = { .family = KITH_FAMILY_V4 } };
    struct kith_path path;
    uint64_t now_ns = KITH_NS_PER_S, count = 0;
    double begin = seconds();

    kith__path_init(&path, 0, &options, &tuple, 0, kith_mem_default(), now_ns);
    for (uint64_t i = 0; i < PACKETS / GROUP; i++) {
        uint64_t from = path.sent.next > 512 ? path.sent.next - 512 : 0;

        for (int k = 0; k < GROUP; k++)
            send_one(&path, now_ns += 500);
        now_ns += 50000;
        count += acknowledge(&path, from, path.sent.next - 1, lost_each,
                             now_ns); /* with older ranges, as peers send them */
    }
    printf("%-32s %6.1f ns a packet (%llu settled)\n", name, (seconds() - begin) * 1e9 / PACKETS,
           (unsigned long long)count);
    kith__path_dispose(&path);
}

static void bench_received(void)
{
    struct kith_received received;
    struct kith_ack_policy policy;
    double begin = seconds();

    kith__received_init(&received, kith_mem_default());
    kith__ack_policy_init(&policy, 25 * KITH_NS_PER_MS);
    for (uint64_t number = 0; number < PACKETS; number++) {
        if (kith__received_is_duplicate(&received, number) ||
            kith__received_on_packet(&received, number, true, 2, &policy, number) != 0)
            break;
        if (kith__received_is_due(&received, number))
            kith__received_on_ack_sent(&received);
    }
    printf("%-32s %6.1f ns a packet\n", "received", (seconds() - begin) * 1e9 / PACKETS);
    kith__received_dispose(&received);
}

int main(void)
{
    bench_sent("sent and acknowledged", 0);
    bench_sent("the same, 1 in 100 lost", 100);
    bench_received();
    return 0;
}
