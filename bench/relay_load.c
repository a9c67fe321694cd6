/* Load for a relay: many clients that authenticate and send datagrams to each other in pairs, or only stay. Each line that it
   prints is a JSON object. bench/README.md describes it; bench/run.py runs it against the real iroh-relay and kith-relay. */
#include "relay_load.h"

#include "base/assert.h"
#include "tls/stream.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    WINDOW_DEFAULT = 128, /* datagrams of one client under way: a quarter of what the reference queues for a client */
    STALL_NS = 300000000, /* nothing arrived for so long: what is under way is lost */
    LATE_MAX = 3,         /* seconds */
    BUCKETS_PER_DOUBLING = 64 /* of the histogram: 1.1 % wide */
};

static struct {
    uint64_t counts[64 * BUCKETS_PER_DOUBLING];
    uint64_t total;
} histogram;

static size_t bucket_of(uint64_t value)
{
    unsigned doubling = 0;

    while (value >> doubling >= 2 * BUCKETS_PER_DOUBLING)
        doubling++;
    return (size_t)doubling * BUCKETS_PER_DOUBLING + (size_t)(value >> doubling);
}

static uint64_t percentile(double part)
{
    uint64_t seen = 0;

    for (size_t i = 0; i < KITH_COUNT(histogram.counts); i++) {
        seen += histogram.counts[i];
        if ((double)seen >= part * (double)histogram.total) {
            unsigned doubling = i < 2 * BUCKETS_PER_DOUBLING ? 0 : (unsigned)(i / BUCKETS_PER_DOUBLING - 1);

            return (uint64_t)(i - (size_t)doubling * BUCKETS_PER_DOUBLING) << doubling;
        }
    }
    return 0;
}

static void on_stamp(const struct load_client *receiver, uint64_t sent_ns)
{
    size_t bucket = bucket_of(load_now() - sent_ns);

    (void)receiver;
    if (bucket < KITH_COUNT(histogram.counts))
        histogram.counts[bucket]++;
    histogram.total++;
}

double load_cpu_seconds(long pid)
{
    char path[64], text[1024];
    unsigned long user = 0, kernel = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    if (pid == 0 || (file = fopen(path, "r")) == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t resident(long pid)
{
    char path[64];
    unsigned long pages = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/statm", pid);
    if (pid == 0 || (file = fopen(path, "r")) == NULL)
        return 0;
    CHECK(fscanf(file, "%*u %lu", &pages) == 1);
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void load_refill(struct load *load, struct load_client *receiver)
{
    struct load_client *sender = receiver->peer;

    if (sender->wanted == 0 && sender->in_flight + BURST <= load->window) {
        sender->wanted = BURST;
        load_send(load, sender);
    }
}

static void on_arrival_nothing(struct load *load, struct load_client *receiver)
{
    (void)load;
    (void)receiver;
}

void load_restart_stalled(struct load *load, size_t first, size_t end)
{
    uint64_t now = load_now();

    for (size_t i = first; i < end; i++) {
        struct load_client *client = &load->clients[i];

        if (client->in_flight == 0 || now - client->peer->progress_ns < STALL_NS)
            continue;
        load->lost += client->in_flight;
        client->in_flight = 0;
        if (client->wanted == 0)
            client->wanted = BURST;
        load_send(load, client);
    }
}

static void run_for(struct load *load, double seconds)
{
    uint64_t end = load_now() + (uint64_t)(seconds * 1e9), check = 0;

    for (uint64_t now; (now = load_now()) < end;) {
        if (now - check > STALL_NS) {
            load_restart_stalled(load, 0, load->count);
            check = now;
        }
        load_turn(load, 50000000);
    }
}

static void print_rates(const struct load *load, uint64_t arrived, double seconds, double relay_cpu, double own_cpu)
{
    printf("{\"packets_per_second\":%.0f,\"gbit_per_second\":%.3f,\"relay_cpu_seconds\":%.2f,\"packets_per_cpu_"
           "second\":%.0f,"
           "\"gbit_per_cpu_second\":%.3f,\"own_cpu_part\":%.2f,\"relay_cpu_part\":%.2f,\"lost\":%llu",
           (double)arrived / seconds, (double)arrived * PAYLOAD * 8e-9 / seconds, relay_cpu,
           relay_cpu > 0 ? (double)arrived / relay_cpu : 0,
           relay_cpu > 0 ? (double)arrived * PAYLOAD * 8e-9 / relay_cpu : 0, own_cpu / seconds, relay_cpu / seconds,
           (unsigned long long)load->lost);
}

/* As much as goes, each client with a window. */
static void throughput(struct load *load, long pid, size_t pairs, double seconds)
{
    uint64_t arrived, begun;
    double relay_cpu, own_cpu, took;

    load->on_arrival = load_refill;
    load_open(load, 2 * pairs, 64, true);
    for (size_t i = 0; i < load->count; i++) {
        load->clients[i].wanted = load->window;
        load_send(load, &load->clients[i]);
    }
    run_for(load, 0.5);
    arrived = load->arrived;
    load->lost = 0;
    begun = load_now();
    relay_cpu = load_cpu_seconds(pid);
    own_cpu = load_cpu_seconds(getpid());
    run_for(load, seconds);
    took = (double)(load_now() - begun) / 1e9;
    print_rates(load, load->arrived - arrived, took, load_cpu_seconds(pid) - relay_cpu,
                load_cpu_seconds(getpid()) - own_cpu);
    printf("}\n");
}

/* One datagram of one client after another, at a fixed rate; how long each takes. */
static void latency(struct load *load, long pid, size_t pairs, double seconds, double rate)
{
    uint64_t begun, sent = 0;
    double relay_cpu, own_cpu, took;
    size_t next = 0;

    load->on_arrival = on_arrival_nothing;
    load->on_stamp = on_stamp;
    load->is_timed = true;
    load_open(load, 2 * pairs, 64, true);
    begun = load_now();
    relay_cpu = load_cpu_seconds(pid);
    own_cpu = load_cpu_seconds(getpid());
    for (;;) {
        double elapsed = (double)(load_now() - begun) / 1e9;
        uint64_t due = (uint64_t)((elapsed < seconds ? elapsed : seconds) * rate);

        for (; sent < due; sent++, next = (next + 1) % load->count) {
            load->clients[next].wanted++;
            load_send(load, &load->clients[next]);
        }
        /* Late is not lost: what is under way at the end has its time. */
        if (elapsed > seconds + LATE_MAX || (elapsed > seconds && sent == due && histogram.total == sent))
            break;
        load_turn(load, 20000);
    }
    took = (double)(load_now() - begun) / 1e9;
    load->lost = sent - histogram.total;
    print_rates(load, load->arrived, took, load_cpu_seconds(pid) - relay_cpu, load_cpu_seconds(getpid()) - own_cpu);
    printf(",\"p50_ns\":%llu,\"p99_ns\":%llu,\"p999_ns\":%llu,\"rate\":%.0f}\n", (unsigned long long)percentile(0.5),
           (unsigned long long)percentile(0.99), (unsigned long long)percentile(0.999), rate);
}

/* Clients that authenticate and then only answer pings. */
static void idle(struct load *load, long pid, size_t count)
{
    uint64_t before = resident(pid), begun = load_now();
    double relay_cpu = load_cpu_seconds(pid), took, opening_cpu;

    load->on_arrival = on_arrival_nothing;
    load_open(load, count, 64, false);
    took = (double)(load_now() - begun) / 1e9;
    opening_cpu = load_cpu_seconds(pid) - relay_cpu;
    for (uint64_t end = load_now() + 3000000000u; load_now() < end;)
        load_turn(load, 50000000);
    printf("{\"clients\":%zu,\"bytes_per_client\":%.0f,\"resident_before\":%llu,\"resident\":%llu,\"seconds\":%.2f,"
           "\"relay_cpu_us_per_connect\":%.1f}\n",
           count, (double)(resident(pid) - before) / (double)count, (unsigned long long)before,
           (unsigned long long)resident(pid), took, opening_cpu * 1e6 / (double)count);
}

static void trust(struct load *load, const char *path)
{
    static char pem[65536];
    FILE *file = fopen(path, "r");
    struct kith_tls_stream_context_options options = { .mem = kith_mem_default(),
                                                       .is_client = true,
                                                       .trust = KITH_TLS_TRUST_ONLY };

    CHECK(file != NULL);
    options.anchors = (struct kith_slice) { (const uint8_t *)pem, fread(pem, 1, sizeof pem, file) };
    fclose(file);
    CHECK(kith__tls_stream_context_new(&options, &load->tls) == 0);
}

static void raise_limit(void)
{
    struct rlimit limit = { 300000, 300000 };

    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum load_abuse abuse_of(const char *text)
{
    return strcmp(text, "tiny") == 0     ? LOAD_ABUSE_TINY
           : strcmp(text, "nobody") == 0 ? LOAD_ABUSE_NOBODY
                                         : LOAD_ABUSE_SELF;
}

int main(int argc, char **argv)
{
    struct load load = { .host = "127.0.0.1", .window = WINDOW_DEFAULT };
    long pid = 0;
    int at = 1;

    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (strcmp(argv[at], "--port") == 0)
            load.port = (uint16_t)atoi(argv[at + 1]);
        else if (strcmp(argv[at], "--pid") == 0)
            pid = atol(argv[at + 1]);
        else if (strcmp(argv[at], "--tls") == 0)
            trust(&load, argv[at + 1]);
        else if (strcmp(argv[at], "--window") == 0)
            load.window = (uint32_t)atoi(argv[at + 1]);
        else if (strcmp(argv[at], "--sources") == 0)
            load.sources = (unsigned)atoi(argv[at + 1]);
        else if (strcmp(argv[at], "--abusers") == 0)
            load.abusers = (size_t)atol(argv[at + 1]);
        else if (strcmp(argv[at], "--abuse") == 0)
            load.abuse = abuse_of(argv[at + 1]);
        else
            break;
    }
    raise_limit();
    if (at + 2 < argc && strcmp(argv[at], "throughput") == 0) {
        throughput(&load, pid, (size_t)atol(argv[at + 1]), atof(argv[at + 2]));
    } else if (at + 3 < argc && strcmp(argv[at], "latency") == 0) {
        latency(&load, pid, (size_t)atol(argv[at + 1]), atof(argv[at + 2]), atof(argv[at + 3]));
    } else if (at + 1 < argc && strcmp(argv[at], "idle") == 0) {
        idle(&load, pid, (size_t)atol(argv[at + 1]));
    } else if (at + 2 < argc && strcmp(argv[at], "share") == 0) {
        load_share(&load, pid, (size_t)atol(argv[at + 1]), atof(argv[at + 2]));
    } else {
        fprintf(stderr,
                "usage: relay-load --port PORT [--pid RELAY] [--tls ROOTS.pem] [--sources N] [--window DATAGRAMS]\n"
                "  throughput PAIRS SECONDS | latency PAIRS SECONDS RATE | idle COUNT\n"
                "  [--abusers EVEN] [--abuse self|nobody|tiny] share PAIRS SECONDS\n");
        return 2;
    }
    return 0;
}
