/* Who gets how much of a relay that has too little for all: honest pairs, each client with a window, beside clients that send all
   that their sockets take (a window of 0: so do the honest ones). One thread drives them all by turns, so that what differs is how the relay treats them. One more pair
   exchanges single datagrams at a low rate, before and during the flood: what others delay them. */
#include "relay_load.h"

#include <errno.h>

enum {
    FLOOD_BURST = 4 * BURST, /* of one client, before the others have their turn */
    PINGS_PER_S = 500,
    SAMPLES_MAX = 1 << 16,
    TURN_NS = 200000,
    STALL_CHECK_NS = 300000000
};

static struct {
    uint64_t ns[SAMPLES_MAX];
    size_t count;
} samples;

static void on_stamp(const struct load_client *receiver, uint64_t sent_ns)
{
    /* Of the first pair alone. */
    if (receiver->is_pinging && samples.count < SAMPLES_MAX)
        samples.ns[samples.count++] = load_now() - sent_ns;
}

static void on_arrival(struct load *load, struct load_client *receiver)
{
    if (load->window != 0 && !receiver->is_pinging && receiver->peer != receiver)
        load_refill(load, receiver);
}

static int compare(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static uint64_t percentile(double part)
{
    if (samples.count == 0)
        return 0;
    qsort(samples.ns, samples.count, sizeof samples.ns[0], compare);
    return samples.ns[(size_t)((double)(samples.count - 1) * part)];
}

static void ping(struct load *load, uint64_t *next_ns)
{
    if (load_now() < *next_ns)
        return;
    *next_ns = load_now() + 1000000000u / PINGS_PER_S;
    for (int i = 0; i < 2; i++) {
        load->clients[i].wanted++;
        load_send(load, &load->clients[i]);
    }
}

static void run_for(struct load *load, double seconds, bool floods)
{
    size_t first_abuser = load->count - load->abusers;
    uint64_t end = load_now() + (uint64_t)(seconds * 1e9), check = load_now(), next_ping = 0;

    for (uint64_t now; (now = load_now()) < end;) {
        ping(load, &next_ping);
        for (size_t i = load->window == 0 ? 2 : first_abuser; floods && i < load->count; i++) {
            if (load->clients[i].waits_for_room)
                continue;
            load->clients[i].wanted = FLOOD_BURST;
            load_send(load, &load->clients[i]);
        }
        if (floods && load->window != 0 && now - check > STALL_CHECK_NS) {
            load_restart_stalled(load, 2, first_abuser);
            check = now;
        }
        load_turn(load, TURN_NS);
    }
}

/* What a client has got of the relay: an honest one with a window, of what it sent, what arrived; else what was taken from it. */
static uint64_t gained(const struct load *load, size_t index)
{
    const struct load_client *client = &load->clients[index];

    return index < load->count - load->abusers && load->window != 0 ? client->peer->got : client->sent;
}

static void print_kind(const char *name, const struct load *load, const uint64_t *before, size_t first, size_t end,
                       double seconds)
{
    uint64_t least = UINT64_MAX, most = 0, sum = 0;

    for (size_t i = first; i < end; i++) {
        uint64_t part = gained(load, i) - before[i];

        least = part < least ? part : least;
        most = part > most ? part : most;
        sum += part;
    }
    printf("\"%s_min\":%.0f,\"%s_mean\":%.0f,\"%s_max\":%.0f,", name, (double)least / seconds, name,
           (double)sum / (double)(end - first) / seconds, name, (double)most / seconds);
}

static void start_flood(struct load *load)
{
    for (size_t i = 2; i < load->count - load->abusers; i++) {
        load->clients[i].wanted = load->window;
        load_send(load, &load->clients[i]);
    }
    run_for(load, 1, true);
}

void load_share(struct load *load, long pid, size_t pairs, double seconds)
{
    size_t honest_end = 2 + 2 * pairs;
    uint64_t *before, begun, quiet[2], flooded[2];
    double cpu, took;

    load->on_arrival = on_arrival;
    load->on_stamp = on_stamp;
    load->is_timed = true;
    load_open(load, honest_end + load->abusers, 64, true);
    load->clients[0].is_pinging = load->clients[1].is_pinging = true;
    CHECK((before = calloc(load->count, sizeof *before)) != NULL);
    run_for(load, seconds / 2, false);
    quiet[0] = percentile(0.5);
    quiet[1] = percentile(0.99);
    start_flood(load);
    for (size_t i = 0; i < load->count; i++)
        before[i] = gained(load, i);
    samples.count = 0;
    load->lost = 0;
    cpu = load_cpu_seconds(pid);
    begun = load_now();
    run_for(load, seconds, true);
    took = (double)(load_now() - begun) / 1e9;
    cpu = load_cpu_seconds(pid) - cpu;
    flooded[0] = percentile(0.5);
    flooded[1] = percentile(0.99);
    printf("{");
    print_kind("honest", load, before, 2, honest_end, took);
    if (load->abusers > 0)
        print_kind("abuser", load, before, honest_end, load->count, took);
    printf("\"relay_cpu_part\":%.2f,\"lost\":%llu,\"pings\":%zu,\"quiet_p50_ns\":%llu,\"quiet_p99_ns\":%llu,"
           "\"flooded_p50_ns\":%llu,\"flooded_p99_ns\":%llu}\n",
           cpu / took, (unsigned long long)load->lost, samples.count, (unsigned long long)quiet[0],
           (unsigned long long)quiet[1], (unsigned long long)flooded[0], (unsigned long long)flooded[1]);
    free(before);
}
