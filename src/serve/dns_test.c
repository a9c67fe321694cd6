/* kith/dns.h from outside: options, start with a store on the disk, real sockets and threads, the end. */
#include "base/test.h"
#include "codec/base32.h"
#include "codec/dns.h"
#include "crypto/sign.h"
#include "lookup/pkarr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <kith/dns.h>
#include <kith/kith.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const struct kith_sockaddr loopback = { .family = KITH_FAMILY_V4, .ip = { 127, 0, 0, 1 } };
static const struct kith_dns_origin origin = { .name = "dns.test" };

static struct kith_dns_server_options usual(void)
{
    return (struct kith_dns_server_options) {
        KITH_DNS_SERVER_OPTIONS_INIT, .dns = &loopback,   .dns_count = 1,     .http = &loopback, .http_count = 1,
        .metrics = &loopback,         .metrics_count = 1, .origins = &origin, .origin_count = 1, .worker_count = 2
    };
}

static int dial(const struct kith_dns_server *server, enum kith_dns_server_address kind, int type)
{
    struct timeval limit = { .tv_sec = 10 };
    struct sockaddr_in to = { .sin_family = AF_INET };
    struct kith_sockaddr bound;
    int fd = socket(AF_INET, type, 0);

    KITH_CHECK_EQ(kith_dns_server_addresses(server, kind, &bound, 1), 1);
    to.sin_port = htons(bound.port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    KITH_CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Kernels interrupt a thread in which a loop with an io_uring ran, and a wait with a limit is not begun again. */
static ssize_t receive(int fd, void *out, size_t size)
{
    ssize_t got;

    while ((got = recv(fd, out, size, 0)) < 0 && errno == EINTR)
        ;
    return got;
}

static struct kith_pkarr packet_of(uint8_t number, uint64_t timestamp_us)
{
    struct kith_secret secret = { { number } };
    struct kith_id id = kith__secret_id(&secret);
    struct kith_lookup_info info;
    struct kith_pkarr packet;
    size_t left_out;

    kith__lookup_info_init(&info, kith_mem_default(), &id);
    KITH_CHECK_EQ(kith__lookup_info_set_user_data(&info, (struct kith_slice) { (const uint8_t *)"hi", 2 }), 0);
    KITH_CHECK_EQ(kith__pkarr_make(&info, &secret, timestamp_us, 30, kith_mem_default(), &packet, &left_out), 0);
    kith__lookup_info_dispose(&info);
    return packet;
}

static int put(const struct kith_dns_server *server, const struct kith_pkarr *packet)
{
    struct kith_slice payload = kith__pkarr_payload(packet);
    char bytes[2048], key[64], answer[1024] = "";
    int fd = dial(server, KITH_DNS_SERVER_ADDRESS_HTTP, SOCK_STREAM), size;

    kith__base32_encode(KITH_BASE32_Z, packet->bytes, KITH_ID_SIZE, key);
    size = snprintf(bytes, sizeof bytes, "PUT /pkarr/%s HTTP/1.1\r\nhost: x\r\ncontent-length: %zu\r\n\r\n", key,
                    payload.size);
    memcpy(bytes + size, payload.ptr, payload.size);
    KITH_CHECK_EQ(send(fd, bytes, (size_t)size + payload.size, 0), (size_t)size + payload.size);
    KITH_CHECK(receive(fd, answer, sizeof answer - 1) > 12);
    close(fd);
    return atoi(answer + 9);
}

/* How many answers there are over UDP. */
static unsigned ask(const struct kith_dns_server *server, const struct kith_pkarr *packet)
{
    struct kith_dns_header header = { .id = 5 };
    struct kith_dns_name name;
    struct kith_dns_writer w;
    uint8_t bytes[1500];
    char key[64], text[128];
    int fd = dial(server, KITH_DNS_SERVER_ADDRESS_DNS, SOCK_DGRAM);
    size_t size;

    kith__base32_encode(KITH_BASE32_Z, packet->bytes, KITH_ID_SIZE, key);
    snprintf(text, sizeof text, "_iroh.%s.dns.test", key);
    KITH_CHECK_EQ(kith__dns_name_parse(text, strlen(text), &name), 0);
    KITH_CHECK_EQ(kith__dns_writer_init(&w, bytes, sizeof bytes, &header), 0);
    KITH_CHECK_EQ(kith__dns_write_question(&w, &name, KITH_DNS_TXT, KITH_DNS_IN), 0);
    size = kith__dns_writer_finish(&w);
    KITH_CHECK_EQ(send(fd, bytes, size, 0), size);
    KITH_CHECK(receive(fd, bytes, sizeof bytes) >= 12);
    close(fd);
    return bytes[7];
}

KITH_TEST(dns_server_options_that_make_no_sense_are_refused_with_a_sentence)
{
    struct kith_dns_server_options options = { .size = 0 };
    struct kith_dns_limits limits = { .put_rate = -1 };
    struct kith_dns_origin wrong = { .name = "a..b" };
    struct kith_dns_server *server = NULL;

    KITH_CHECK_EQ(kith_dns_server_start(NULL, &server), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith_dns_server_start(&options, &server), KITH_ERR_INVALID);
    KITH_CHECK(strstr(kith_error_last()->text, "KITH_DNS_SERVER_OPTIONS_INIT") != NULL);
    options.size = sizeof options;
    KITH_CHECK_EQ(kith_dns_server_check(&options), KITH_ERR_INVALID);
    KITH_CHECK(strstr(kith_error_last()->text, "nothing to serve") != NULL);
    options = usual();
    KITH_CHECK_EQ(kith_dns_server_check(&options), 0);
    options.limits = &limits;
    KITH_CHECK_EQ(kith_dns_server_check(&options), KITH_ERR_INVALID);
    options.limits = NULL;
    options.origins = &wrong;
    KITH_CHECK_EQ(kith_dns_server_start(&options, &server), KITH_ERR_PARSE);
    KITH_CHECK(strstr(kith_error_last()->text, "the name of the origin a..b is wrong") != NULL);
    options.origin_count = 0;
    KITH_CHECK_EQ(kith_dns_server_start(&options, &server), KITH_ERR_INVALID);
    KITH_CHECK(server == NULL);
}

KITH_TEST(dns_server_keeps_on_the_disk_what_it_said_it_has_and_its_directory_for_itself)
{
    struct kith_dns_server_options options = usual();
    struct kith_dns_server *server, *second;
    struct kith_dns_server_stats stats;
    char dir[] = "/tmp/kith-dns-XXXXXX", command[64];
    struct kith_pkarr packet;
    static char text[65536];
    size_t size;

    KITH_CHECK(mkdtemp(dir) != NULL);
    options.data_dir = dir;
    KITH_CHECK_EQ(kith_dns_server_start(&options, &server), 0);
    KITH_CHECK_EQ(kith_dns_server_start(&options, &second), KITH_ERR_STATE);
    KITH_CHECK(strstr(kith_error_last()->text, "another process uses the data directory") != NULL);
    for (uint8_t i = 0; i < 20; i++) {
        packet = packet_of(i, (uint64_t)time(NULL) * 1000000);
        KITH_CHECK_EQ(put(server, &packet), 204);
        KITH_CHECK_EQ(ask(server, &packet), 1);
    }
    kith_dns_server_stats(server, &stats);
    KITH_CHECK_EQ(stats.workers, 2);
    KITH_CHECK_EQ(stats.puts_stored, 20);
    KITH_CHECK_EQ(stats.queries_udp, 20);
    KITH_CHECK_EQ(stats.found, 20);
    KITH_CHECK_EQ(kith_dns_server_metrics(server, text, 10, &size), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith_dns_server_metrics(server, text, sizeof text, &size), 0);
    KITH_CHECK(strstr(text, "dns_server_pkarr_publish_update_total 20\n") != NULL);
    KITH_CHECK(strstr(text, "dns_server_cache_zones 20\n") != NULL);
    KITH_CHECK_EQ(kith_dns_server_authority(server, text, sizeof text, &size), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith_dns_server_stop(server, 5 * KITH_NS_PER_S), 0);
    KITH_CHECK_EQ(kith_dns_server_start(&options, &server), 0);
    KITH_CHECK_EQ(ask(server, &packet), 1);
    KITH_CHECK_EQ(kith_dns_server_stop(server, 0), 0);
    snprintf(command, sizeof command, "rm -r %s", dir);
    KITH_CHECK_EQ(system(command), 0);
}

KITH_TEST(dns_server_takes_new_origins_and_limits_and_shows_that_it_lives)
{
    static const struct kith_dns_origin other = { .name = "other.test" }, wrong = { .name = "" };
    static const struct kith_dns_limits none = { .put_limit = KITH_DNS_PUT_DISABLED }, few = { .put_burst = 1 };
    static const char *const proxies[] = { "10.0.0.0/33" };
    const struct kith_dns_limits bad = { .trusted_proxies = proxies, .trusted_proxy_count = 1 };
    struct kith_dns_server_options options = usual();
    struct kith_pkarr packet = packet_of(1, (uint64_t)time(NULL) * 1000000);
    struct kith_dns_server *server;
    bool is_alive = false;

    KITH_CHECK_EQ(kith_dns_server_start(&options, &server), 0);
    KITH_CHECK_EQ(put(server, &packet), 204);
    KITH_CHECK_EQ(kith_dns_server_set_origins(server, &wrong, 1), KITH_ERR_PARSE);
    KITH_CHECK_EQ(ask(server, &packet), 1);
    KITH_CHECK_EQ(kith_dns_server_set_origins(server, &other, 1), 0);
    while (ask(server, &packet) != 0)
        ;
    KITH_CHECK_EQ(kith_dns_server_set_limits(server, &bad), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith_dns_server_set_limits(server, &few), 0);
    while (put(server, &packet) != 429)
        ;
    KITH_CHECK_EQ(kith_dns_server_set_limits(server, &none), 0);
    while (put(server, &packet) != 204)
        ;
    for (int i = 0; i < 1000 && !is_alive; i++) {
        is_alive = kith_dns_server_check_alive(server);
        KITH_CHECK(put(server, &packet) != 0); /* takes its time */
    }
    KITH_CHECK(is_alive);
    KITH_CHECK_EQ(kith_dns_server_stop(server, 5 * KITH_NS_PER_S), 0);
    KITH_CHECK_EQ(kith_dns_server_stop(NULL, 0), 0);
}

/** The failing allocator, for several threads. */
struct locked_mem {
    struct kith_test_mem inner;
    struct kith_mem mem;
    pthread_mutex_t lock;
};

static void *locked_resize(void *ctx, void *ptr, size_t size)
{
    struct locked_mem *locked = ctx;
    void *out;

    pthread_mutex_lock(&locked->lock);
    out = locked->inner.mem.resize(locked->inner.mem.ctx, ptr, size);
    pthread_mutex_unlock(&locked->lock);
    return out;
}

KITH_TEST(dns_server_survives_every_failed_allocation_of_its_start)
{
    bool was_fine = false;

    for (uint64_t n = 1; !was_fine; n++) {
        struct locked_mem locked = { .mem = { locked_resize, &locked }, .lock = PTHREAD_MUTEX_INITIALIZER };
        struct kith_dns_server_options options = usual();
        struct kith_dns_server *server;
        int err;

        kith__test_mem_init(&locked.inner, n);
        options.mem = &locked.mem;
        options.worker_count = 1;
        err = kith_dns_server_start(&options, &server);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        if (err == 0)
            KITH_CHECK_EQ(kith_dns_server_stop(server, 0), 0);
        was_fine = err == 0;
        KITH_CHECK_EQ(locked.inner.live, 0);
        KITH_CHECK(n < 500);
    }
}
