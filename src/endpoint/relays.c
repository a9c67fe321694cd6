/* The relays of an endpoint: objects, ways, datagrams. Which ones are connected is decided in relays_keep.c. */
#include "endpoint/relays_inner.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "codec/url.h"

#include <string.h>

static struct kith_relay_peer *relay_of(struct kith_list *node)
{
    return KITH_CONTAINER(node, struct kith_relay_peer, node);
}

/* ---- Objects ---- */

static char *copy_text(const struct kith_mem *mem, const void *text, size_t size)
{
    char *copy = kith__alloc(mem, size + 1);

    if (copy != NULL) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

static int relay_new(struct kith_relays *relays, struct kith_slice url, const char *token, struct kith_relay_peer **out)
{
    struct kith_relay_peer *relay = kith__alloc_zero(relays->mem, sizeof *relay);

    if (relay == NULL)
        return KITH_ERR_NOMEM;
    relay->relays = relays;
    relay->latency_ns = relay->quic_latency_ns = KITH_NEVER;
    relay->dial_at_ns = KITH_NEVER;
    kith__list_init(&relay->node);
    kith__list_init(&relay->dirty_node);
    kith__relay_ways_of_init(&relays->ways, &relay->through);
    kith__relay_client_init(&relay->client, relays->mem, &relays->pair, kith__rt_random(relays->rt));
    relay->url = copy_text(relays->mem, url.ptr, url.size);
    if (token != NULL)
        relay->token = copy_text(relays->mem, token, strlen(token));
    if (relay->url == NULL || (token != NULL && relay->token == NULL)) {
        kith__relay_free(relay);
        return KITH_ERR_NOMEM;
    }
    kith__list_push_back(&relays->all, &relay->node);
    relays->count++;
    *out = relay;
    return 0;
}

/** Counters of a client go over to those of all. */
static void add_client_stats(const struct kith_relay_client *client, struct kith_relays_stats *out)
{
    out->datagrams_sent += client->stats.frames_sent;
    out->bytes_sent += client->stats.payload_sent;
    out->datagrams_received += client->stats.frames_received;
    out->bytes_received += client->stats.payload_received;
#define ADD(name) out->drop_##name += client->stats.drop_##name;
    KITH_RELAY_CLIENT_DROPS(ADD)
#undef ADD
}

void kith__relay_free(struct kith_relay_peer *relay)
{
    struct kith_relays *relays = relay->relays;

    kith__relay_line_close(relay->line);
    kith__fetch_cancel(relay->probe);
    add_client_stats(&relay->client, &relays->stats);
    kith__relay_client_dispose(&relay->client);
    kith__relay_ways_of_dispose(&relays->ways, &relay->through);
    if (kith__list_is_linked(&relay->node))
        relays->count--;
    kith__list_remove(&relay->node);
    kith__list_remove(&relay->dirty_node);
    kith__free(relays->mem, relay->url);
    if (relay->token != NULL)
        kith__wipe(relay->token, strlen(relay->token));
    kith__free(relays->mem, relay->token);
    kith__free(relays->mem, relay);
}

bool kith__relay_is_unused(const struct kith_relay_peer *relay)
{
    return !relay->is_configured && relay->references == 0 && relay->through.count == 0 && relay->line == NULL &&
           relay->client.queue_size == 0;
}

static struct kith_relay_peer *find_url(const struct kith_relays *relays, struct kith_slice url)
{
    KITH_LIST_EACH(node, &relays->all)
    if (strlen(relay_of(node)->url) == url.size && memcmp(relay_of(node)->url, url.ptr, url.size) == 0)
        return relay_of(node);
    return NULL;
}

/** The normalised text of a URL that we can reach. */
static int normalise(const char *url, struct kith_buf *out)
{
    struct kith_url parts;
    int err = kith__url_normalise(url, strlen(url), out);

    return err != 0 ? err : kith__url_split(kith__buf_slice(out), &parts);
}

/** Room for one more: the first one that nobody needs goes. */
static int make_room(struct kith_relays *relays)
{
    if (relays->count < KITH_RELAYS_MAX)
        return 0;
    KITH_LIST_EACH(node, &relays->all)
    if (kith__relay_is_unused(relay_of(node))) {
        kith__relay_free(relay_of(node));
        return 0;
    }
    return KITH_ERR_LIMIT;
}

int kith__relays_get(struct kith_relays *relays, const char *url, struct kith_relay_peer **out)
{
    struct kith_buf text;
    struct kith_relay_peer *found;
    int err;

    kith__buf_init(&text, relays->mem);
    if ((err = normalise(url, &text)) == 0) {
        found = find_url(relays, kith__buf_slice(&text));
        if (found != NULL)
            *out = found;
        else if ((err = make_room(relays)) == 0)
            err = relay_new(relays, kith__buf_slice(&text), NULL, out);
    }
    kith__buf_dispose(&text);
    return err;
}

static int add_configured(struct kith_relays *relays, const struct kith_relay_config *config)
{
    struct kith_relay_peer *relay;
    struct kith_buf text;
    int err;

    if (config->token != NULL && strlen(config->token) > KITH_RELAY_TOKEN_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    kith__buf_init(&text, relays->mem);
    /* Named twice is once, with the first token. */
    if ((err = normalise(config->url, &text)) == 0 && find_url(relays, kith__buf_slice(&text)) == NULL &&
        (err = relay_new(relays, kith__buf_slice(&text), config->token, &relay)) == 0) {
        relay->is_configured = true;
        relay->qad_port = config->qad_port;
        relays->configured_count++;
    }
    kith__buf_dispose(&text);
    return err;
}

/* ---- All of them ---- */

static void on_timer(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    kith__relays_step(ctx);
}

/** The last line has said goodbye. */
static void on_left(void *ctx)
{
    struct kith_relays *relays = ctx;

    if (relays->is_ended)
        kith__relays_tell(relays, KITH_RELAYS_LEFT, NULL, NULL);
}

static int relays_init(struct kith_relays *relays, const struct kith_relays_options *options, size_t *bad)
{
    int err;

    if ((err = kith__rt_timer_init(relays->rt, &relays->timer, on_timer, relays)) != 0)
        return err;
    if (options->anchors.size != 0 &&
        (err = kith__buf_append(&relays->anchors, options->anchors.ptr, options->anchors.size)) != 0)
        return err;
    if (options->anchors.size != 0 && (err = kith__relays_make_tls(relays)) != 0)
        return err; /* a file that is none is told of at once, not with the first relay */
    for (size_t i = 0; i < options->config_count; i++) {
        *bad = i;
        if ((err = add_configured(relays, &options->configs[i])) != 0)
            return err;
    }
    *bad = options->config_count;
    kith__relays_step_soon(relays);
    return kith__relays_begin_discovery(relays, options->driver);
}

int kith__relays_new(const struct kith_relays_options *options, const struct kith_relays_events *events,
                     struct kith_relays **out, size_t *bad)
{
    struct kith_relays *relays;
    size_t index = options->config_count;
    int err;

    if (bad != NULL)
        *bad = index;
    if (options->config_count > KITH_RELAYS_CONFIGURED_MAX)
        return KITH_ERR_LIMIT;
    if ((relays = kith__alloc_zero(options->rt->mem, sizeof *relays)) == NULL)
        return KITH_ERR_NOMEM;
    relays->mem = options->rt->mem;
    relays->rt = options->rt;
    relays->events = *events;
    relays->trust = options->trust;
    relays->begun_ns = kith__rt_now(options->rt);
    if (options->proxy != NULL)
        relays->proxy = *options->proxy;
    kith__keypair_init(&relays->pair, options->secret);
    kith__list_init(&relays->all);
    kith__list_init(&relays->dirty);
    relays->leaving = (struct kith_relay_leaving) { .on_empty = on_left, .ctx = relays };
    kith__list_init(&relays->leaving.lines);
    kith__buf_init(&relays->anchors, relays->mem);
    kith__relay_ways_init(&relays->ways, relays->mem, kith__random_u64(kith__rt_random(options->rt)));
    if ((err = relays_init(relays, options, &index)) != 0) {
        if (bad != NULL)
            *bad = index;
        kith__relays_free(relays);
        return err;
    }
    *out = relays;
    return 0;
}

void kith__relays_free(struct kith_relays *relays)
{
    struct kith_list *node;

    if (relays == NULL)
        return;
    kith__rt_watch_close(relays->watch);
    kith__discovery_free(relays->discovery);
    while ((node = kith__list_first(&relays->all)) != NULL)
        kith__relay_free(relay_of(node));
    kith__relay_line_close_leaving(&relays->leaving);
    kith__relay_ways_dispose(&relays->ways);
    kith__tls_stream_context_release(relays->tls);
    kith__buf_dispose(&relays->anchors);
    kith__rt_timer_dispose(&relays->timer);
    kith__keypair_wipe(&relays->pair);
    kith__wipe(&relays->proxy, sizeof relays->proxy);
    kith__free(relays->mem, relays);
}

void kith__relays_tell(struct kith_relays *relays, enum kith_relays_news news, struct kith_relay_peer *relay,
                       const struct kith_sockaddr *gone)
{
    if (relays->events.on_news != NULL)
        relays->events.on_news(relays->events.ctx, news, relay, gone);
}

/* ---- Ways ---- */

int kith__relay_way(struct kith_relay_peer *relay, const struct kith_id *id, struct kith_sockaddr *out)
{
    struct kith_relays *relays = relay->relays;
    struct kith_relay_way *way = kith__relay_ways_get(&relays->ways, &relay->through, id, kith__rt_now(relays->rt));

    if (way == NULL)
        return KITH_ERR_NOMEM;
    *out = way->address;
    return 0;
}

int kith__relays_way(struct kith_relays *relays, const char *url, const struct kith_id *id, struct kith_sockaddr *out)
{
    struct kith_relay_peer *relay;
    int err = kith__relays_get(relays, url, &relay);

    return err != 0 ? err : kith__relay_way(relay, id, out);
}

static struct kith_relay_peer *relay_of_way(const struct kith_relay_way *way)
{
    return KITH_CONTAINER(way->through, struct kith_relay_peer, through);
}

struct kith_relay_peer *kith__relays_find(const struct kith_relays *relays, const struct kith_sockaddr *way,
                                          struct kith_id *id)
{
    const struct kith_relay_way *found = kith__relay_ways_find(&relays->ways, way);

    if (found != NULL && id != NULL)
        *id = found->id;
    return found != NULL ? relay_of_way(found) : NULL;
}

void kith__relays_send(struct kith_relays *relays, const struct kith_quic_transmit *transmit, const uint8_t *bytes)
{
    struct kith_relay_way *way = kith__relay_ways_find(&relays->ways, &transmit->remote);
    uint64_t now_ns = kith__rt_now(relays->rt);
    struct kith_relay_peer *relay;

    if (way == NULL) {
        relays->stats.drop_unroutable++;
        return;
    }
    relay = relay_of_way(way);
    kith__relay_ways_touch(&relays->ways, way, now_ns);
    kith__relay_client_send(&relay->client, &way->id, transmit->ecn, (uint16_t)transmit->segment_size, bytes,
                            transmit->size, now_ns);
    if (!kith__list_is_linked(&relay->dirty_node))
        kith__list_push_back(&relays->dirty, &relay->dirty_node);
}

void kith__relays_flush(struct kith_relays *relays)
{
    struct kith_list *node;

    while ((node = kith__list_first(&relays->dirty)) != NULL) {
        struct kith_relay_peer *relay = KITH_CONTAINER(node, struct kith_relay_peer, dirty_node);

        kith__list_remove(node);
        if (relay->line != NULL)
            kith__relay_line_flush(relay->line);
        else
            kith__relay_want(relay, kith__rt_now(relays->rt));
    }
}

/* ---- Questions ---- */

struct kith_relay_peer *kith__relays_home(const struct kith_relays *relays)
{
    return relays->home;
}

struct kith_relay_peer *kith__relays_warm(const struct kith_relays *relays)
{
    return relays->warm;
}

struct kith_relay_peer *kith__relays_next(const struct kith_relays *relays, const struct kith_relay_peer *before)
{
    struct kith_list *next = before == NULL ? relays->all.next : before->node.next;

    return next == &relays->all ? NULL : relay_of(next);
}

void kith__relay_retain(struct kith_relay_peer *relay)
{
    relay->references++;
}

void kith__relay_release(struct kith_relay_peer *relay)
{
    KITH_ASSERT(relay->references != 0);
    relay->references--; /* the next step frees it, if nothing else needs it */
}

void kith__relay_check(struct kith_relay_peer *relay)
{
    kith__relay_client_check(&relay->client, false, kith__rt_now(relay->relays->rt));
    if (relay->line != NULL)
        kith__relay_line_flush(relay->line);
}

bool kith__relay_is_fit(const struct kith_relay_peer *relay)
{
    return relay->state == KITH_RELAY_ON && !relay->client.is_doubtful && !relay->is_restarting;
}

void kith__relay_info(const struct kith_relay_peer *relay, struct kith_relay_info *out)
{
    *out = (struct kith_relay_info) { .url = relay->url,
                                      .state = relay->state,
                                      .is_configured = relay->is_configured,
                                      .is_home = relay == relay->relays->home,
                                      .is_warm = relay == relay->relays->warm,
                                      .is_denied = relay->is_denied,
                                      .was_on = relay->was_on,
                                      .is_displaced = relay->is_displaced,
                                      .rtt_ns = relay->client.rtt_ns,
                                      .latency_ns = relay->latency_ns,
                                      .quic_latency_ns = relay->quic_latency_ns,
                                      .has_qad = relay->qad_port != 0 && relay->relays->discovery != NULL,
                                      .qad_err = relay->qad_err,
                                      .qad_why = relay->qad_why,
                                      .err = relay->err,
                                      .why = relay->why };
}

void kith__relays_stats(const struct kith_relays *relays, struct kith_relays_stats *out)
{
    *out = relays->stats;
    KITH_LIST_EACH(node, &relays->all)
    add_client_stats(&relay_of(node)->client, out);
    out->ways = relays->ways.count;
    out->ways_evicted = relays->ways.evicted;
}
