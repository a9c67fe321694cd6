#include "lookup/mdns_service.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"
#include "rt/multicast.h"

#include <stdio.h>
#include <string.h>

enum { HOPS = 255 /* RFC 6762, 11 */ };

/** A link of the core and its socket. */
struct way {
    struct mdns_service *service;
    struct kith_rt_member *member; /* NULL: not in use */
    uint32_t interface;
    uint8_t family;
    unsigned link;  /* of the core */
    bool is_wanted; /* while interfaces are compared */
};

struct mdns_service {
    struct kith_lookup_service base; /* first */
    struct kith_rt *rt;
    struct kith_mdns_core *core;
    struct kith_rt_timer timer;  /* the core's deadline */
    struct kith_rt_timer look;   /* at the interfaces, again */
    struct kith_rt_watch *watch; /* NULL: the system does not tell */
    struct way ways[KITH_MDNS_LINKS_MAX];
    size_t way_count;
    struct kith_list queries; /* of struct query */
    uint16_t port;
    uint64_t sent_responses;  /* of the core, so far */
    int open_err, logged_err; /* why an interface cannot be used: the last, and the last that was logged */
    struct kith_lookup_published published;
};

struct query { /* is a struct kith_lookup_query for those who hold it */
    struct kith_list node;
    struct mdns_service *service;
    struct kith_id id;
    struct kith_lookup_sink sink;
    struct kith_rt_timer timer; /* its next step: to tell what is new, or to end */
    uint64_t end_ns;
    bool has_news; /* that are to be told; at first what is known already */
    bool has_found, is_telling, is_cancelled;
    int err; /* how it ends if nothing was found */
};

static struct mdns_service *of(const struct kith_lookup_service *base)
{
    return (struct mdns_service *)(void *)(uintptr_t)base;
}

/* ---- Searches ---- */

static void free_query(struct query *query)
{
    kith__mdns_core_unwant(query->service->core, &query->id);
    kith__list_remove(&query->node);
    kith__rt_timer_dispose(&query->timer);
    kith__free(query->service->rt->mem, query);
}

/** Tells what is known now. The query may be gone then. */
static void tell(struct query *query)
{
    struct mdns_service *service = query->service;
    struct kith_lookup_found found = { 0 };
    struct kith_lookup_info info;
    uint64_t heard_ns, ago_us;
    int err;

    kith__lookup_info_init(&info, service->rt->mem, &query->id);
    if ((err = kith__mdns_core_get(service->core, &query->id, &info, &heard_ns)) == 0) {
        ago_us = (kith__rt_now(service->rt) - heard_ns) / KITH_NS_PER_US;
        found.info = &info;
        found.updated_us = kith__rt_wall_us(service->rt);
        found.updated_us -= KITH_MIN(ago_us, found.updated_us); /* it said so just when it was heard */
        query->has_found = query->is_telling = true;
        query->sink.on_found(query->sink.ctx, &found);
        query->is_telling = false;
        if (query->is_cancelled)
            free_query(query);
    } else if (err != KITH_ERR_NOT_FOUND) {
        query->err = err;
    }
    kith__lookup_info_dispose(&info);
}

static void on_query_timer(void *ctx, uint64_t now_ns)
{
    struct query *query = ctx;
    struct kith_lookup_sink sink = query->sink;
    int err;

    if (query->has_news) {
        query->has_news = false;
        kith__rt_timer_set(&query->timer, query->end_ns);
        tell(query);
        return;
    }
    KITH_ASSERT(now_ns >= query->end_ns);
    err = query->has_found ? 0 : query->err;
    free_query(query);
    sink.on_end(sink.ctx, err,
                err == 0                    ? ""
                : err == KITH_ERR_NOT_FOUND ? "nobody on the local network answers for it"
                                            : kith_strerror(err));
}

/** The endpoint spoke: whoever looks for it hears what it says if that is new to them, and is through soon. */
static void on_word(struct query *query, enum kith_mdns_change change, uint64_t now_ns)
{
    query->end_ns = KITH_MIN(query->end_ns, now_ns + KITH_MDNS_LINGER_NS);
    query->has_news |= change != KITH_MDNS_HEARD || !query->has_found;
    kith__rt_timer_set(&query->timer, query->has_news ? now_ns : query->end_ns);
}

static void take_news(struct mdns_service *service)
{
    uint64_t now_ns = kith__rt_now(service->rt);
    struct kith_mdns_news news;

    while (kith__mdns_core_news(service->core, &news)) {
        if (news.change == KITH_MDNS_GONE)
            continue;
        KITH_LIST_EACH(node, &service->queries)
        {
            struct query *query = KITH_CONTAINER(node, struct query, node);

            if (memcmp(&query->id, &news.id, sizeof news.id) == 0)
                on_word(query, news.change, now_ns);
        }
    }
}

/* ---- Speaking and hearing ---- */

static struct way *way_of(struct mdns_service *service, unsigned link)
{
    for (size_t i = 0; i < KITH_MDNS_LINKS_MAX; i++)
        if (service->ways[i].member != NULL && service->ways[i].link == link)
            return &service->ways[i];
    KITH_ASSERT(false);
    return NULL;
}

static void count_accepted(struct mdns_service *service)
{
    service->published.accepted_count++;
    service->published.accepted_ns = kith__rt_now(service->rt);
    service->published.err = 0;
    service->published.why[0] = '\0';
}

/** Sends what is due, and waits for what comes next. */
static void speak(struct mdns_service *service)
{
    uint64_t now_ns = kith__rt_now(service->rt);
    uint8_t message[KITH_MDNS_MESSAGE_SIZE];
    unsigned link;
    size_t size;

    while ((size = kith__mdns_core_next(service->core, now_ns, message, &link)) != 0) {
        uint64_t sent = kith__mdns_core_stats(service->core).sent_responses;

        kith__rt_member_send(way_of(service, link)->member, (struct kith_slice) { message, size });
        if (sent != service->sent_responses)
            count_accepted(service);
        service->sent_responses = sent;
    }
    kith__rt_timer_set(&service->timer, kith__mdns_core_deadline(service->core));
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    speak(ctx);
    take_news(ctx);
    speak(ctx); /* queries that ended may change what is next */
}

static void on_heard(void *ctx, const struct kith_rt_heard *heard, uint64_t now_ns)
{
    struct way *way = ctx;
    struct mdns_service *service = way->service;

    kith__mdns_core_heard(service->core, way->link, heard->bytes, now_ns);
    take_news(service);
    speak(service);
}

static void rearm(struct mdns_service *service)
{
    kith__rt_timer_set(&service->timer, kith__mdns_core_deadline(service->core));
}

/* ---- Interfaces ---- */

static const struct kith_sockaddr groups[] = {
    { .family = KITH_FAMILY_V4, .ip = { 224, 0, 0, 251 } },
    { .family = KITH_FAMILY_V6, .ip = { 0xff, 0x02, [15] = 0xfb } },
};

static void close_way(struct mdns_service *service, struct way *way)
{
    kith__mdns_core_link_close(service->core, way->link);
    kith__rt_member_close(way->member);
    way->member = NULL;
    service->way_count--;
}

static struct way *find_way(struct mdns_service *service, uint32_t interface, uint8_t family)
{
    for (size_t i = 0; i < KITH_MDNS_LINKS_MAX; i++)
        if (service->ways[i].member != NULL && service->ways[i].interface == interface &&
            service->ways[i].family == family)
            return &service->ways[i];
    return NULL;
}

static int open_way(struct mdns_service *service, uint32_t interface, uint8_t family)
{
    struct kith_rt_member_options options = { .group = groups[family == KITH_FAMILY_V6],
                                              .interface = interface,
                                              .hops = HOPS };
    struct kith_rt_member_events events = { .on_heard = on_heard };
    struct way *way = service->ways;
    int err;

    if (service->way_count == KITH_MDNS_LINKS_MAX)
        return KITH_ERR_LIMIT;
    while (way->member != NULL)
        way++;
    options.group.port = service->port;
    *way = (struct way) { .service = service, .interface = interface, .family = family, .is_wanted = true };
    events.ctx = way;
    if ((err = kith__rt_member_open(service->rt, &options, &events, &way->member)) != 0) {
        way->member = NULL;
        return err;
    }
    err = kith__mdns_core_link_open(service->core, interface, kith__rt_now(service->rt), &way->link);
    KITH_ASSERT(err == 0); /* as many as ways */
    service->way_count++;
    return 0;
}

/** Opens what is new. False: something failed that may work later. */
static bool open_ways(struct mdns_service *service, const struct kith_rt_interface *list, size_t count, bool loopback)
{
    bool is_all = true;

    for (size_t i = 0; i < count; i++) {
        struct way *way = find_way(service, list[i].index, list[i].addr.family);
        int err = 0;

        if (list[i].is_loopback != loopback || (!list[i].is_multicast && !loopback))
            continue;
        if (way != NULL)
            way->is_wanted = true;
        else
            err = open_way(service, list[i].index, list[i].addr.family);
        if (err == 0)
            continue;
        is_all = false;
        service->open_err = err;
        if (err != service->logged_err)
            kith__log(&service->rt->log, KITH_LOG_INFO, "mdns", "no multicast on %s: %s", list[i].name,
                      kith_strerror(err));
        service->logged_err = err;
    }
    return is_all;
}

static bool has_multicast(const struct kith_rt_interface *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].is_multicast && !list[i].is_loopback)
            return true;
    return false;
}

/** Compares the interfaces with the ways that are open. */
static void look(void *ctx, uint64_t now_ns)
{
    struct mdns_service *service = ctx;
    struct kith_rt_interface list[KITH_RT_INTERFACES_MAX];
    bool is_all = true;
    size_t count = 0;
    int err = kith__rt_interfaces(service->rt, list, KITH_COUNT(list), &count);

    service->open_err = err;
    if (err == 0) {
        for (size_t i = 0; i < KITH_MDNS_LINKS_MAX; i++)
            service->ways[i].is_wanted = false;
        is_all = open_ways(service, list, count, !has_multicast(list, count));
        for (size_t i = 0; i < KITH_MDNS_LINKS_MAX; i++)
            if (service->ways[i].member != NULL && !service->ways[i].is_wanted)
                close_way(service, &service->ways[i]);
    }
    if (err != 0 || !is_all || service->watch == NULL)
        kith__rt_timer_set(&service->look, now_ns + KITH_MDNS_RETRY_NS);
    rearm(service);
}

static void on_change(void *ctx)
{
    struct mdns_service *service = ctx;

    kith__rt_timer_set(&service->look, 0);
}

static void on_network_change(struct kith_lookup_service *base)
{
    on_change(of(base));
}

/* ---- As a service ---- */

static void publish(struct kith_lookup_service *base, const struct kith_lookup_info *info)
{
    struct mdns_service *service = of(base);
    int err = kith__mdns_core_say(service->core, info, kith__rt_now(service->rt));

    if (err != 0) {
        service->published.failed_count++;
        service->published.err = err;
        snprintf(service->published.why, sizeof service->published.why, "%s", kith_strerror(err));
    }
    rearm(service);
}

static void published(const struct kith_lookup_service *base, struct kith_lookup_published *out)
{
    const struct mdns_service *service = of(base);

    *out = service->published;
    if (service->way_count > 0 || out->err != 0)
        return;
    out->err = service->open_err != 0 ? service->open_err : KITH_ERR_UNREACHABLE;
    snprintf(out->why, sizeof out->why, "no interface of this machine takes multicast%s%s",
             service->open_err != 0 ? ": " : "", service->open_err != 0 ? kith_strerror(service->open_err) : "");
}

static int resolve(struct kith_lookup_service *base, const struct kith_id *id, const struct kith_lookup_sink *sink,
                   struct kith_lookup_query **out)
{
    struct mdns_service *service = of(base);
    uint64_t now_ns = kith__rt_now(service->rt);
    struct query *query = kith__alloc_zero(service->rt->mem, sizeof *query);
    int err;

    if (query == NULL)
        return KITH_ERR_NOMEM;
    *query = (struct query) { .service = service,
                              .id = *id,
                              .sink = *sink,
                              .end_ns = now_ns + KITH_MDNS_SEARCH_NS,
                              .has_news = true,
                              .err = KITH_ERR_NOT_FOUND };
    if ((err = kith__rt_timer_init(service->rt, &query->timer, on_query_timer, query)) == 0 &&
        (err = kith__mdns_core_want(service->core, id, now_ns)) != 0)
        kith__rt_timer_dispose(&query->timer);
    if (err != 0) {
        kith__free(service->rt->mem, query);
        return err;
    }
    kith__list_init(&query->node);
    kith__list_push_back(&service->queries, &query->node);
    kith__rt_timer_set(&query->timer, now_ns);
    rearm(service);
    *out = (struct kith_lookup_query *)(void *)query;
    return 0;
}

static void cancel(struct kith_lookup_query *base)
{
    struct query *query = (struct query *)(void *)base;

    if (query->is_telling)
        query->is_cancelled = true;
    else
        free_query(query);
}

static void service_free(struct kith_lookup_service *base)
{
    struct mdns_service *service = of(base);

    KITH_ASSERT(kith__list_is_empty(&service->queries));
    if (service->way_count > 0) {
        kith__mdns_core_leave(service->core);
        speak(service);
    }
    for (size_t i = 0; i < KITH_MDNS_LINKS_MAX; i++)
        if (service->ways[i].member != NULL)
            close_way(service, &service->ways[i]);
    kith__rt_watch_close(service->watch);
    kith__rt_timer_dispose(&service->timer);
    kith__rt_timer_dispose(&service->look);
    kith__mdns_core_free(service->core);
    kith__free(service->rt->mem, service);
}

/* ops for both, only the one half, only the other */
static const struct kith_lookup_service_ops both = {
    .name = "mdns",
    .publish = publish,
    .published = published,
    .resolve = resolve,
    .cancel = cancel,
    .on_network_change = on_network_change,
    .free = service_free,
};

static const struct kith_lookup_service_ops only_resolves = {
    .name = "mdns",
    .resolve = resolve,
    .cancel = cancel,
    .on_network_change = on_network_change,
    .free = service_free,
};

static const struct kith_lookup_service_ops only_publishes = {
    .name = "mdns",
    .publish = publish,
    .published = published,
    .on_network_change = on_network_change,
    .free = service_free,
};

int kith__mdns_service_new(struct kith_rt *rt, const struct kith_mdns_service_options *options,
                           struct kith_lookup_service **out)
{
    struct kith_mdns_core_options core = {
        .mem = rt->mem, .random = kith__rt_random(rt), .id = options->id, .service = options->service
    };
    struct mdns_service *service;
    int err;

    if (options->no_publish && options->no_resolve)
        return KITH_ERR_INVALID;
    if ((service = kith__alloc_zero(rt->mem, sizeof *service)) == NULL)
        return KITH_ERR_NOMEM;
    service->base.ops = options->no_publish ? &only_resolves : options->no_resolve ? &only_publishes : &both;
    service->base.filter = KITH_LOOKUP_LOCAL;
    snprintf(service->base.label, sizeof service->base.label, "mdns");
    service->rt = rt;
    service->port = options->port != 0 ? options->port : KITH_MDNS_PORT;
    kith__list_init(&service->queries);
    if ((err = kith__mdns_core_new(&core, &service->core)) != 0 ||
        (err = kith__rt_timer_init(rt, &service->timer, on_timer, service)) != 0 ||
        (err = kith__rt_timer_init(rt, &service->look, look, service)) != 0) {
        service_free(&service->base);
        return err;
    }
    if (kith__rt_watch_open(rt, on_change, service, &service->watch) != 0)
        service->watch = NULL; /* it is looked at now and then */
    kith__rt_timer_set(&service->look, 0);
    *out = &service->base;
    return 0;
}

struct kith_mdns_stats kith__mdns_service_stats(const struct kith_lookup_service *base)
{
    return kith__mdns_core_stats(of(base)->core);
}

size_t kith__mdns_service_links(const struct kith_lookup_service *base)
{
    return of(base)->way_count;
}
