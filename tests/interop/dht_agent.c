/* kith's DHT alone, driven by test_dht.py: nodes that answer, who publishes, who looks. Its command line is described in README.md. */
#include "base/mem.h"
#include "crypto/sign.h"
#include "endpoint/textkey.h"
#include "lookup/dht.h"
#include "rt/uv/uv.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NODES_MAX = 64 };

/** Ends the program if something failed. */
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        int must_err = (call);                                                                                         \
        if (must_err != 0) {                                                                                           \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, kith_strerror(must_err));                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static const char *bootstrap[KITH_DHT_BOOTSTRAP_MAX];
static struct kith_rt *rt;

/** Options of a node on a port of loopback that joins through those of the command line. */
static struct kith_dht_options node_options(bool is_server, size_t bootstrap_count)
{
    struct kith_dht_options options = { .bootstrap = bootstrap,
                                        .bootstrap_count = bootstrap_count,
                                        .is_server = is_server };

    MUST(kith_sockaddr_parse("127.0.0.1:0", &options.local));
    return options;
}

/** Until *done, or standard input ends. True: done. */
static bool run(const bool *done)
{
    for (;;) {
        uint64_t until_ns = kith__rt_deadline(rt), now_ns = kith__rt_now(rt);
        uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
        struct pollfd fds[2] = { { kith__rt_fd(rt), POLLIN, 0 }, { 0, POLLIN, 0 } };
        char scratch[64];

        if (done != NULL && *done)
            return true;
        if (poll(fds, 2, until_ns == KITH_NEVER ? -1 : (int)KITH_MIN(wait_ns / KITH_NS_PER_MS + 1, 60000u)) < 0)
            return false;
        if (fds[1].revents != 0 && read(0, scratch, sizeof scratch) <= 0)
            return false;
        kith__rt_process(rt);
    }
}

/* ---- node [COUNT] ---- */

static int nodes(size_t bootstrap_count, size_t count)
{
    struct kith_dht *all[NODES_MAX];
    static char first[KITH_SOCKADDR_TEXT_SIZE];

    if (count > NODES_MAX)
        return 2;
    for (size_t i = 0; i < count; i++) {
        struct kith_dht_options options;
        struct kith_sockaddr local;
        char text[KITH_SOCKADDR_TEXT_SIZE];

        if (i == 1)
            bootstrap[bootstrap_count++] = first;
        options = node_options(true, bootstrap_count);
        MUST(kith__dht_new(rt, &options, &all[i]));
        local = kith__dht_local(all[i]);
        kith_sockaddr_format(&local, i == 0 ? first : text);
        printf("READY %s\n", i == 0 ? first : text);
    }
    run(NULL);
    for (size_t i = 0; i < count; i++)
        kith__dht_free(all[i]);
    return 0;
}

/* ---- publish SECRET [--relay URL | --ip ADDRESS | --user-data TEXT]... ---- */

static void take(struct kith_lookup_info *info, const char *option, const char *value)
{
    struct kith_sockaddr ip;

    if (strcmp(option, "--relay") == 0)
        MUST(kith__endpoint_addr_add_relay(&info->addr, value, strlen(value)));
    else if (strcmp(option, "--user-data") == 0)
        MUST(kith__lookup_info_set_user_data(info, (struct kith_slice) { (const uint8_t *)value, strlen(value) }));
    else {
        MUST(kith_sockaddr_parse(value, &ip));
        MUST(kith__endpoint_addr_add_ip(&info->addr, &ip));
    }
}

static int publish(size_t bootstrap_count, int argc, char **argv)
{
    struct kith_dht_service_options options = { .node = node_options(false, bootstrap_count),
                                                .filter = KITH_LOOKUP_ALL };
    struct kith_lookup_service *service;
    struct kith_lookup_published published = { .err = 0 };
    struct kith_lookup_info info;
    struct kith_secret secret;
    struct kith_id id;
    char text[KITH__SIGNATURE_TEXT_SIZE];

    MUST(kith__secret_parse(argv[0], strlen(argv[0]), &secret));
    id = kith__secret_id(&secret);
    options.secret = &secret;
    kith__lookup_info_init(&info, kith_mem_default(), &id);
    for (int i = 1; i + 1 < argc; i += 2)
        take(&info, argv[i], argv[i + 1]);
    MUST(kith__dht_service_new(rt, &options, &service));
    service->ops->publish(service, &info);
    while (published.accepted_count == 0 && published.failed_count == 0) {
        kith__rt_process(rt);
        kith__rt_wait(rt, kith__rt_deadline(rt));
        service->ops->published(service, &published);
    }
    if (published.accepted_count != 0)
        printf("PUBLISHED %s\n", kith__id_format(&id, text));
    else
        printf("FAILED %s\n", published.why);
    run(NULL);
    service->ops->free(service);
    kith__lookup_info_dispose(&info);
    return 0;
}

/* ---- resolve ID ---- */

struct found {
    struct kith_lookup_info info;
    bool is_ended;
    int err;
};

static void on_found(void *ctx, const struct kith_lookup_found *item)
{
    struct found *found = ctx;

    MUST(kith__lookup_info_copy(item->info, &found->info));
}

static void on_end(void *ctx, int err, const char *why)
{
    struct found *found = ctx;

    found->is_ended = true;
    found->err = err;
    if (err != 0)
        printf("FAILED %s %s\n", kith_err_name(err), why);
}

static int resolve(size_t bootstrap_count, const char *text)
{
    struct kith_dht_service_options options = { .node = node_options(false, bootstrap_count) };
    struct kith_lookup_service *service;
    struct kith_lookup_query *query;
    struct found found = { .is_ended = false };
    struct kith_lookup_sink sink = { .on_found = on_found, .on_end = on_end, .ctx = &found };
    struct kith_id id;

    MUST(kith__id_parse(text, strlen(text), &id));
    kith__lookup_info_init(&found.info, kith_mem_default(), &id);
    MUST(kith__dht_service_new(rt, &options, &service));
    MUST(service->ops->resolve(service, &id, &sink, &query));
    if (!run(&found.is_ended))
        service->ops->cancel(query);
    for (size_t i = 0; i < found.info.addr.count; i++) {
        const struct kith_transport_addr *addr = &found.info.addr.addrs[i];
        char ip[KITH_SOCKADDR_TEXT_SIZE];

        if (addr->kind == KITH_TRANSPORT_RELAY)
            printf("relay %.*s\n", (int)addr->bytes.size, (const char *)addr->bytes.ptr);
        else if (addr->kind == KITH_TRANSPORT_IP)
            printf("ip %s\n", kith_sockaddr_format(&addr->ip, ip));
    }
    if (found.info.user_data_size != 0)
        printf("user-data %s\n", found.info.user_data);
    printf("END\n");
    service->ops->free(service);
    kith__lookup_info_dispose(&found.info);
    return found.err == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    int result = 2;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (; argc >= 4 && strcmp(argv[2], "--bootstrap") == 0 && count < KITH_DHT_BOOTSTRAP_MAX - 1; argc -= 2) {
        bootstrap[count++] = argv[3];
        memmove(argv + 2, argv + 4, (size_t)(argc - 4) * sizeof argv[0]);
    }
    MUST(kith__rt_uv_new(NULL, NULL, &rt));
    if (argc >= 2 && strcmp(argv[1], "node") == 0)
        result = nodes(count, argc >= 3 ? strtoul(argv[2], NULL, 10) : 1);
    else if (argc >= 3 && strcmp(argv[1], "publish") == 0)
        result = publish(count, argc - 2, argv + 2);
    else if (argc == 3 && strcmp(argv[1], "resolve") == 0)
        result = resolve(count, argv[2]);
    else
        fprintf(stderr, "usage: dht-agent node|publish|resolve [--bootstrap ADDRESS:PORT]... [ARGUMENT...]\n");
    kith__rt_free(rt);
    return result;
}
