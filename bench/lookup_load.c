/* Load for a lookup server: signed packets of thousands of endpoints put over HTTP, and asked for over DNS, in one thread, so
   that the server is what is measured. Endpoint number i has the secret whose first bytes are i: who fills and who asks may be two runs. */
#define _GNU_SOURCE /* memmem */
#include "base/mem.h"
#include "codec/base32.h"
#include "codec/dns.h"
#include "crypto/sign.h"
#include "lookup/pkarr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNS_MAX = 1024,
    SOCKETS = 8,
    WINDOW = 16, /* queries that one socket has out */
    REQUEST_MAX = 2048,
    ANSWER_MAX = 4096,
    Z32_SIZE = 52
};

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: errno %d\n", __FILE__, __LINE__, #condition, errno);                           \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static struct {
    uint16_t http_port, dns_port;
    long pid;           /* of the server; 0: its memory and CPU time are not looked at */
    const char *origin; /* "dns.iroh.link" */
    size_t conns;
    uint64_t time_us; /* of the packets; 0: now */
} options = { 8080, 53, 0, "dns.iroh.link", 64, 0 };

static uint64_t now_ns(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

/* Of field `skip` of /proc/PID/stat on: user and system time. */
static double cpu_seconds(void)
{
    unsigned long long user = 0, system = 0;
    char path[64], text[1024];
    size_t size;
    FILE *file;

    if (options.pid == 0)
        return 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", options.pid);
    CHECK((file = fopen(path, "r")) != NULL);
    size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    CHECK(strrchr(text, ')') != NULL);
    CHECK(sscanf(strrchr(text, ')') + 2, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu", &user, &system) == 2);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* A line of /proc/PID/status, in bytes. */
static uint64_t memory(const char *name)
{
    char path[64], line[256];
    unsigned long long found = 0;
    FILE *file;

    if (options.pid == 0)
        return 0;
    snprintf(path, sizeof path, "/proc/%ld/status", options.pid);
    CHECK((file = fopen(path, "r")) != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            sscanf(line + strlen(name), " %llu", &found);
    fclose(file);
    return found * 1024;
}

static uint64_t packet_time(void)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    return options.time_us != 0 ? options.time_us : (uint64_t)at.tv_sec * 1000000u;
}

static struct kith_secret secret_of(uint64_t number)
{
    struct kith_secret secret = { { 0 } };

    for (size_t i = 0; i < 8; i++)
        secret.bytes[i] = (uint8_t)(number >> (8 * i));
    secret.bytes[31] = 1;
    return secret;
}

/* What an endpoint with a relay and two addresses would put: as real ones are. */
static void packet_of(uint64_t number, uint64_t timestamp_us, struct kith_pkarr *out)
{
    struct kith_secret secret = secret_of(number);
    struct kith_id id = kith__secret_id(&secret);
    struct kith_lookup_info info;
    struct kith_sockaddr ip = { .family = KITH_FAMILY_V4, .port = 4433 };
    size_t left_out;

    kith__lookup_info_init(&info, kith_mem_default(), &id);
    CHECK(kith__endpoint_addr_add_relay(&info.addr, "https://relay.example.com/", 26) == 0);
    for (uint8_t i = 0; i < 2; i++) {
        memcpy(ip.ip, (uint8_t[]) { 10, i, (uint8_t)(number >> 8), (uint8_t)number }, 4);
        CHECK(kith__endpoint_addr_add_ip(&info.addr, &ip) == 0);
    }
    CHECK(kith__pkarr_make(&info, &secret, timestamp_us, KITH_PKARR_TTL_S, kith_mem_default(), out, &left_out) == 0);
    kith__lookup_info_dispose(&info);
}

static int connect_to(int type, uint16_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, type, 0), on = 1;

    CHECK(fd >= 0);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    if (type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void watch(int poll, int fd, uint32_t index)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u32 = index };

    CHECK(epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) == 0);
}

/* ---- Puts ---- */

struct conn {
    int fd;
    size_t size; /* of the answer so far */
    char answer[ANSWER_MAX];
};

/* The requests, made before the clock runs: signing costs as much as checking. */
struct requests {
    uint8_t (*bytes)[REQUEST_MAX];
    uint16_t *sizes;
};

static void make_request(uint64_t number, uint64_t timestamp_us, uint8_t *out, uint16_t *size)
{
    char z32[Z32_SIZE + 1];
    struct kith_pkarr packet;
    struct kith_id id;
    struct kith_slice body;
    int head;

    packet_of(number, timestamp_us, &packet);
    id = kith__pkarr_id(&packet);
    body = kith__pkarr_payload(&packet);
    kith__base32_encode(KITH_BASE32_Z, id.bytes, KITH_ID_SIZE, z32);
    head = snprintf((char *)out, REQUEST_MAX,
                    "PUT /pkarr/%s HTTP/1.1\r\nhost: 127.0.0.1:%u\r\naccept: */*\r\ncontent-length: %zu\r\n\r\n", z32,
                    options.http_port, body.size);
    CHECK((size_t)head + body.size <= REQUEST_MAX);
    memcpy(out + head, body.ptr, body.size);
    *size = (uint16_t)((size_t)head + body.size);
}

/* True when the answer is whole; it must say that the packet was taken. */
static bool answer_is_whole(struct conn *conn)
{
    ssize_t got = recv(conn->fd, conn->answer + conn->size, sizeof conn->answer - conn->size - 1, 0);

    CHECK(got > 0);
    conn->size += (size_t)got;
    conn->answer[conn->size] = 0;
    if (strstr(conn->answer, "\r\n\r\n") == NULL)
        return false;
    if (strncmp(conn->answer, "HTTP/1.1 204", 12) != 0) {
        fprintf(stderr, "lookup-load: the server answered %.200s\n", conn->answer);
        exit(1);
    }
    conn->size = 0;
    return true;
}

/* Sends requests, one at a time on each connection, until all are answered. Returns the ns that it took. */
static uint64_t put_all(struct conn *conns, int poll, const struct requests *requests, size_t count)
{
    uint64_t begun = now_ns();
    size_t sent = 0, done = 0;
    struct epoll_event events[CONNS_MAX];

    for (; sent < options.conns && sent < count; sent++)
        CHECK(send(conns[sent].fd, requests->bytes[sent], requests->sizes[sent], 0) == requests->sizes[sent]);
    while (done < count) {
        int ready = epoll_wait(poll, events, CONNS_MAX, 10000);

        CHECK(ready > 0);
        for (int i = 0; i < ready; i++) {
            struct conn *conn = &conns[events[i].data.u32];

            if (!answer_is_whole(conn))
                continue;
            done++;
            if (sent == count)
                continue;
            CHECK(send(conn->fd, requests->bytes[sent], requests->sizes[sent], 0) == requests->sizes[sent]);
            sent++;
        }
    }
    return now_ns() - begun;
}

static void fill(uint64_t first, size_t count)
{
    enum { CHUNK = 50000 };
    static struct conn conns[CONNS_MAX];
    struct requests requests = { malloc((size_t)CHUNK * REQUEST_MAX), malloc(CHUNK * sizeof(uint16_t)) };
    uint64_t took = 0, before = memory("RssAnon:"), wall = packet_time();
    int poll = epoll_create1(0);
    double cpu = 0;

    CHECK(requests.bytes != NULL && requests.sizes != NULL && poll >= 0);
    for (uint32_t i = 0; i < options.conns; i++)
        watch(poll, conns[i].fd = connect_to(SOCK_STREAM, options.http_port), i);
    for (size_t done = 0, part; done < count; done += part) {
        part = count - done < CHUNK ? count - done : CHUNK;
        for (size_t i = 0; i < part; i++)
            make_request(first + done + i, wall, requests.bytes[i], &requests.sizes[i]);
        cpu -= cpu_seconds();
        took += put_all(conns, poll, &requests, part);
        cpu += cpu_seconds();
    }
    printf("{\"puts\":%zu,\"puts_per_second\":%.0f,\"server_cpu_us_per_put\":%.2f,\"resident_before\":%llu,"
           "\"resident_anonymous\":%llu,\"resident\":%llu}\n",
           count, (double)count * 1e9 / (double)took, cpu * 1e6 / (double)count, (unsigned long long)before,
           (unsigned long long)memory("RssAnon:"), (unsigned long long)memory("VmRSS:"));
}

/* ---- For who kills the server ---- */

/* Puts like fill, and prints the number of each packet that was taken, at once, until the server is gone. */
static void put_until_gone(uint64_t first, size_t count)
{
    static struct conn conns[CONNS_MAX];
    static uint64_t numbers[CONNS_MAX];
    struct epoll_event events[CONNS_MAX];
    uint8_t request[REQUEST_MAX];
    int poll = epoll_create1(0);
    uint64_t next = first;
    uint16_t size;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint32_t i = 0; i < options.conns && next < first + count; i++) {
        watch(poll, conns[i].fd = connect_to(SOCK_STREAM, options.http_port), i);
        make_request(numbers[i] = next++, packet_time(), request, &size);
        send(conns[i].fd, request, size, MSG_NOSIGNAL);
    }
    for (size_t done = 0; done < count;) {
        int ready = epoll_wait(poll, events, CONNS_MAX, 10000);

        CHECK(ready > 0);
        for (int i = 0; i < ready; i++) {
            struct conn *conn = &conns[events[i].data.u32];
            char byte;

            if (recv(conn->fd, &byte, 1, MSG_PEEK) <= 0)
                return;
            if (!answer_is_whole(conn))
                continue;
            printf("%llu\n", (unsigned long long)numbers[events[i].data.u32]);
            done++;
            if (next == first + count)
                continue;
            make_request(numbers[events[i].data.u32] = next++, packet_time(), request, &size);
            send(conn->fd, request, size, MSG_NOSIGNAL);
        }
    }
}

/* Gets each packet whose number comes on standard input; it must be the one that packet_of makes. */
static void check_kept(void)
{
    int fd = connect_to(SOCK_STREAM, options.http_port);
    unsigned long long number;
    size_t missing = 0, count = 0;

    while (scanf("%llu", &number) == 1) {
        char request[256], z32[Z32_SIZE + 1], answer[ANSWER_MAX + 1] = "", *body = NULL;
        struct kith_pkarr packet;
        size_t size = 0;
        struct kith_id id;
        struct kith_slice payload;

        packet_of(number, packet_time(), &packet);
        id = kith__pkarr_id(&packet);
        payload = kith__pkarr_payload(&packet);
        kith__base32_encode(KITH_BASE32_Z, id.bytes, KITH_ID_SIZE, z32);
        snprintf(request, sizeof request, "GET /pkarr/%s HTTP/1.1\r\nhost: localhost\r\n\r\n", z32);
        CHECK(send(fd, request, strlen(request), MSG_NOSIGNAL) > 0);
        while (body == NULL ||
               (strncmp(answer, "HTTP/1.1 200", 12) == 0 && size < (size_t)(body - answer) + payload.size)) {
            ssize_t got = recv(fd, answer + size, ANSWER_MAX - size, 0);

            CHECK(got > 0);
            size += (size_t)got;
            answer[size] = 0;
            body = memmem(answer, size, "\r\n\r\n", 4);
            body = body != NULL ? body + 4 : NULL;
        }
        count++;
        if (strncmp(answer, "HTTP/1.1 200", 12) != 0 || memcmp(body, payload.ptr, payload.size) != 0) {
            printf("missing %llu\n", number);
            missing++;
            close(fd); /* whatever follows of that answer goes with it */
            fd = connect_to(SOCK_STREAM, options.http_port);
        }
    }
    printf("{\"checked\":%zu,\"missing\":%zu}\n", count, missing);
}

/* ---- Queries ---- */

struct asker {
    int fd;
    unsigned out;
    uint64_t last_ns; /* when something came last */
};

struct query {
    uint8_t bytes[160];
    size_t size;
};

static void make_query(uint64_t number, struct query *out)
{
    struct kith_secret secret = secret_of(number);
    struct kith_id id = kith__secret_id(&secret);
    char text[512], z32[Z32_SIZE + 1], *label, *rest = text;
    size_t size = 12;

    memset(out, 0, sizeof *out);
    memcpy(out->bytes, (uint8_t[]) { 0, 0, 1, 0, 0, 1 }, 6);
    kith__base32_encode(KITH_BASE32_Z, id.bytes, KITH_ID_SIZE, z32);
    snprintf(text, sizeof text, "_iroh.%s.%s", z32, options.origin);
    while ((label = strsep(&rest, ".")) != NULL && *label != 0) {
        out->bytes[size++] = (uint8_t)strlen(label);
        memcpy(out->bytes + size, label, strlen(label));
        size += strlen(label);
    }
    memcpy(out->bytes + size, (uint8_t[]) { 0, 0, KITH_DNS_TXT, 0, KITH_DNS_IN }, 5);
    out->size = size + 5;
}

/* Anything but an answer with records is an error: the server has them all. */
static void take_answers(struct asker *asker, uint64_t *answers)
{
    uint8_t bytes[ANSWER_MAX];

    for (ssize_t got; (got = recv(asker->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;) {
        CHECK(got > 12 && (bytes[3] & 15) == 0 && bytes[7] > 0);
        *answers += 1;
        asker->out -= asker->out > 0;
        asker->last_ns = now_ns();
    }
}

static void ask_for(const struct query *queries, size_t count, double seconds)
{
    static struct asker askers[SOCKETS];
    uint64_t begun = now_ns(), end = begun + (uint64_t)(seconds * 1e9), answers = 0, lost = 0, at = 0, seed = 1;
    double cpu = cpu_seconds(), took;
    struct epoll_event events[SOCKETS];
    int poll = epoll_create1(0);

    for (uint32_t i = 0; i < SOCKETS; i++) {
        watch(poll, askers[i].fd = connect_to(SOCK_DGRAM, options.dns_port), i);
        askers[i].last_ns = begun;
    }
    while (now_ns() < end) {
        for (size_t i = 0; i < SOCKETS; i++) {
            struct asker *asker = &askers[i];

            if (asker->out == WINDOW && now_ns() - asker->last_ns > 200000000u) {
                lost += asker->out;
                asker->out = 0;
            }
            while (asker->out < WINDOW) {
                struct query query;

                seed = seed * 6364136223846793005u + 1442695040888963407u;
                query = queries[(seed >> 20) % count];
                query.bytes[0] = (uint8_t)(at >> 8);
                query.bytes[1] = (uint8_t)at++;
                if (send(asker->fd, query.bytes, query.size, MSG_DONTWAIT) < 0)
                    break;
                asker->out++;
            }
        }
        int ready = epoll_wait(poll, events, SOCKETS, 10);

        for (int i = 0; i < ready; i++)
            take_answers(&askers[events[i].data.u32], &answers);
    }
    took = (double)(now_ns() - begun) / 1e9;
    cpu = cpu_seconds() - cpu;
    printf("{\"queries_per_second\":%.0f,\"server_cpu_us_per_query\":%.3f,\"lost\":%llu}\n", (double)answers / took,
           answers > 0 ? cpu * 1e6 / (double)answers : 0, (unsigned long long)lost);
}

int main(int argc, char **argv)
{
    int at = 1;

    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (strcmp(argv[at], "--http") == 0)
            options.http_port = (uint16_t)atoi(argv[at + 1]);
        else if (strcmp(argv[at], "--dns") == 0)
            options.dns_port = (uint16_t)atoi(argv[at + 1]);
        else if (strcmp(argv[at], "--pid") == 0)
            options.pid = atol(argv[at + 1]);
        else if (strcmp(argv[at], "--origin") == 0)
            options.origin = argv[at + 1];
        else if (strcmp(argv[at], "--time") == 0)
            options.time_us = (uint64_t)atoll(argv[at + 1]);
        else if (strcmp(argv[at], "--conns") == 0)
            options.conns = (size_t)atol(argv[at + 1]);
        else
            break;
    }
    CHECK(options.conns >= 1 && options.conns <= CONNS_MAX);
    if (at + 2 < argc && strcmp(argv[at], "fill") == 0) {
        fill((uint64_t)atoll(argv[at + 1]), (size_t)atol(argv[at + 2]));
    } else if (at + 2 < argc && strcmp(argv[at], "acks") == 0) {
        put_until_gone((uint64_t)atoll(argv[at + 1]), (size_t)atol(argv[at + 2]));
    } else if (at < argc && strcmp(argv[at], "check") == 0) {
        check_kept();
    } else if (at + 2 < argc && strcmp(argv[at], "ask") == 0) {
        size_t count = (size_t)atol(argv[at + 1]), kept = count < 100000 ? count : 100000;
        struct query *queries = malloc(kept * sizeof *queries);

        CHECK(queries != NULL && count > 0);
        for (size_t i = 0; i < kept; i++)
            make_query(i * (count / kept), &queries[i]);
        ask_for(queries, kept, atof(argv[at + 2]));
    } else {
        fprintf(stderr,
                "usage: lookup-load [--http PORT] [--dns PORT] [--pid SERVER] [--origin NAME] [--conns N] [--time US]\n"
                "  fill FIRST COUNT | ask COUNT SECONDS | acks FIRST COUNT | check <NUMBERS\n");
        return 2;
    }
    return 0;
}
