#include "lookup/dns_hosts.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"

struct kith_dns_hosts {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_dns_client *client;
    size_t query_count;
};

struct host_query;

/** The question for one family. */
struct half {
    struct host_query *query;
    struct kith_dns_request *request; /* NULL: over, or not asked */
    uint16_t type;
    int err;
};

struct host_query {
    struct kith_dns_hosts *hosts;
    struct half halves[2]; /* IPv4 first */
    struct kith_rt_timer due;
    void (*done)(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count);
    void *ctx;
    struct kith_sockaddr addrs[KITH_RT_RESOLVED_MAX];
    size_t count;
};

static void dispose(struct host_query *query)
{
    query->hosts->query_count--;
    kith__rt_timer_dispose(&query->due);
    kith__free(query->hosts->mem, query);
}

/** Tells, if all is in; one family's failure does not matter if the other has an address. */
static void finish(struct host_query *query)
{
    struct host_query copy;
    int err = query->halves[0].err != 0 ? query->halves[0].err : query->halves[1].err;

    if (query->halves[0].request != NULL || query->halves[1].request != NULL)
        return;
    if (query->halves[0].err == KITH_ERR_NOT_FOUND && query->halves[1].err != 0)
        err = query->halves[1].err; /* says more */
    copy = *query;
    dispose(query);
    copy.done(copy.ctx, copy.count > 0 ? 0 : err, copy.addrs, copy.count);
}

static void on_due(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    finish(ctx);
}

static void add_addrs(struct host_query *query, const struct kith_sockaddr *addrs, size_t count)
{
    count = KITH_MIN(count, KITH_RT_RESOLVED_MAX - query->count);
    if (count > 0)
        memcpy(query->addrs + query->count, addrs, count * sizeof *addrs);
    query->count += count;
}

static void on_done(void *ctx, int err, const char *why, struct kith_slice message)
{
    struct half *half = ctx;
    struct host_query *query = half->query;
    struct kith_sockaddr addrs[KITH_RT_RESOLVED_MAX];

    (void)why;
    half->request = NULL;
    half->err = err;
    if (err == 0)
        add_addrs(query, addrs, kith__dns_answer_ips(message, half->type, addrs, KITH_RT_RESOLVED_MAX));
    finish(query);
}

/** localhost and names below it are this machine, whatever name servers say: RFC 6761, 6.3. */
static bool is_localhost(const struct kith_dns_name *name)
{
    size_t labels = kith__dns_name_label_count(name);

    return labels > 0 && kith__dns_name_label_is(name, labels - 1, "localhost");
}

/** What the machine knows about a name by itself. */
static void take_known(struct host_query *query, const char *host, const struct kith_dns_name *name,
                       enum kith_family family)
{
    struct kith_sockaddr addrs[KITH_RT_RESOLVED_MAX];
    struct kith_sockaddr loopback = { .family = (uint8_t)family };
    size_t count = kith__dns_hosts_file(query->hosts->rt, host, family, addrs, KITH_RT_RESOLVED_MAX);

    if (count == 0 && is_localhost(name)) {
        loopback.ip[0] = family == KITH_FAMILY_V4 ? 127 : 0;
        loopback.ip[family == KITH_FAMILY_V4 ? 3 : 15] = 1;
        addrs[count++] = loopback;
    }
    add_addrs(query, addrs, count);
}

static int ask(struct host_query *query, const struct kith_dns_name *name, enum kith_family family)
{
    static const struct {
        uint8_t family;
        uint16_t type;
    } kinds[2] = { { KITH_FAMILY_V4, KITH_DNS_A }, { KITH_FAMILY_V6, KITH_DNS_AAAA } };
    int err;

    for (size_t i = 0; i < KITH_COUNT(kinds); i++) {
        struct half *half = &query->halves[i];

        if (family != KITH_FAMILY_NONE && family != kinds[i].family)
            continue;
        half->query = query;
        half->type = kinds[i].type;
        if ((err = kith__dns_query(query->hosts->client, name, half->type, KITH_DNS_NEGATIVE_IS_FINAL, on_done, half,
                                   &half->request)) != 0)
            return err;
    }
    return 0;
}

static void cancel(void *ctx, void *base)
{
    struct host_query *query = base;

    (void)ctx;
    kith__dns_cancel(query->halves[0].request);
    kith__dns_cancel(query->halves[1].request);
    dispose(query);
}

static int start(void *ctx, const char *host, enum kith_family family,
                 void (*done)(void *done_ctx, int err, const struct kith_sockaddr *addrs, size_t count), void *done_ctx,
                 void **out)
{
    struct kith_dns_hosts *hosts = ctx;
    struct kith_dns_name name;
    struct host_query *query;
    int err;

    if (kith__dns_name_parse(host, strlen(host), &name) != 0)
        return KITH_ERR_INVALID;
    query = kith__alloc_zero(hosts->mem, sizeof *query);
    if (query == NULL)
        return KITH_ERR_NOMEM;
    *query = (struct host_query) { .hosts = hosts, .done = done, .ctx = done_ctx };
    hosts->query_count++;
    if (family != KITH_FAMILY_V6)
        take_known(query, host, &name, KITH_FAMILY_V4);
    if (family != KITH_FAMILY_V4)
        take_known(query, host, &name, KITH_FAMILY_V6);
    err = kith__rt_timer_init(hosts->rt, &query->due, on_due, query);
    if (err == 0 && query->count > 0)
        kith__rt_timer_set(&query->due, kith__rt_now(hosts->rt));
    else if (err == 0)
        err = ask(query, &name, family);
    if (err != 0) {
        cancel(hosts, query);
        return err;
    }
    *out = query;
    return 0;
}

int kith__dns_hosts_new(struct kith_rt *rt, const struct kith_mem *mem, struct kith_dns_client *client,
                        struct kith_dns_hosts **out)
{
    struct kith_dns_hosts *hosts;
    struct kith_rt_resolver resolver = { start, cancel, NULL };

    if (rt->resolver.start != NULL)
        return KITH_ERR_STATE;
    hosts = kith__alloc_zero(mem, sizeof *hosts);
    if (hosts == NULL)
        return KITH_ERR_NOMEM;
    *hosts = (struct kith_dns_hosts) { .rt = rt, .mem = mem, .client = client };
    resolver.ctx = hosts;
    kith__rt_set_resolver(rt, &resolver);
    *out = hosts;
    return 0;
}

void kith__dns_hosts_free(struct kith_dns_hosts *hosts)
{
    if (hosts == NULL)
        return;
    KITH_ASSERT(hosts->query_count == 0);
    kith__rt_set_resolver(hosts->rt, NULL);
    kith__free(hosts->mem, hosts);
}
