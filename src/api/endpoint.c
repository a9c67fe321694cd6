/* Endpoints of the public API: binding, dialling, ending. Clients that come: accept.c. */
#include "api/dial.h"

#include "api/endpoint_lookup.h"
#include "api/logs.h"
#include "base/assert.h"
#include "base/mem.h"
#include <string.h>

/* ---- Events ---- */

void kith__api_endpoint_touch(struct kith_endpoint *endpoint)
{
    if (!endpoint->is_gone && !kith__list_is_linked(&endpoint->dirty_node))
        kith__list_push_back(&endpoint->context->dirty, &endpoint->dirty_node);
}

void kith__api_endpoint_on_event(void *ctx, const struct kith_quic_event *event)
{
    struct kith_endpoint *endpoint = ctx;
    struct kith_conn *conn;

    if (event->kind == KITH_QUIC_INCOMING) {
        kith__api_endpoint_on_incoming(endpoint, event->incoming);
        return;
    }
    if (kith__api_relays_on_any_event(endpoint, event))
        return;
    if ((conn = kith_quic_conn_user(event->conn)) != NULL)
        kith__api_conn_on_event(conn, event);
    else if (event->kind == KITH_QUIC_DRAINED)
        kith_quic_conn_free(event->conn);
}

/* ---- Binding ---- */

/* The ALPNs of the options as slices; *out is allocated. */
static int collect_alpns(const struct kith_mem *mem, const struct kith_endpoint_options *options,
                         struct kith_slice **out, size_t *count)
{
    size_t n = 0;

    *out = NULL;
    *count = 0;
    if (options->alpns == NULL && options->alpns_raw_count == 0)
        return 0;
    while (options->alpns != NULL && options->alpns[n] != NULL)
        n++;
    if (n + options->alpns_raw_count == 0)
        return 0;
    if ((*out = kith__alloc_array(mem, n + options->alpns_raw_count, sizeof **out)) == NULL)
        return KITH_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (struct kith_slice) { (const uint8_t *)options->alpns[i], strlen(options->alpns[i]) };
    for (size_t i = 0; i < options->alpns_raw_count; i++)
        (*out)[n + i] = options->alpns_raw[i];
    *count = n + options->alpns_raw_count;
    return 0;
}

static struct kith_endpoint *endpoint_alloc(struct kith_context *context)
{
    struct kith_endpoint *endpoint = kith__alloc_zero(context->mem, sizeof *endpoint);
    uint64_t seed;

    if (endpoint == NULL)
        return NULL;
    endpoint->context = context;
    kith__list_init(&endpoint->node);
    kith__list_init(&endpoint->dirty_node);
    kith__list_init(&endpoint->dials);
    kith__list_init(&endpoint->dial_ops);
    kith__list_init(&endpoint->conns);
    kith__list_init(&endpoint->incoming);
    kith__list_init(&endpoint->handed);
    kith__list_init(&endpoint->handshaking);
    kith__list_init(&endpoint->accepted);
    kith__list_init(&endpoint->accept_ops);
    kith__list_init(&endpoint->incoming_ops);
    kith__list_init(&endpoint->peers);
    kith__list_init(&endpoint->online_ops);
    kith__list_init(&endpoint->changed_ops);
    if (kith__rt_timer_init(context->rt, &endpoint->room_timer, kith__api_endpoint_on_room, endpoint) != 0) {
        kith__free(context->mem, endpoint);
        return NULL;
    }
    kith__rt_random(context->rt)->fill(kith__rt_random(context->rt)->ctx, (uint8_t *)&seed, sizeof seed);
    kith__map_init(&endpoint->peer_map, context->mem, seed);
    context->object_count++;
    return endpoint;
}

/* The driver is pumped when the turn ends, and the callbacks of operations ran: see flush_dirty in context.c. */
static void on_pending(void *ctx)
{
    kith__api_endpoint_touch(ctx);
}

static void on_relay_send(void *ctx, const struct kith_quic_transmit *transmit, const uint8_t *bytes)
{
    struct kith_endpoint *endpoint = ctx;

    if (endpoint->relays != NULL)
        kith__relays_send(endpoint->relays, transmit, bytes);
}

static void on_relay_flush(void *ctx)
{
    struct kith_endpoint *endpoint = ctx;

    if (endpoint->relays != NULL)
        kith__relays_flush(endpoint->relays);
}

/* Lock held. failed: the address that could not be bound; of no family if something else failed. *is_told: see there. */
static int endpoint_open(struct kith_endpoint *endpoint, const struct kith_endpoint_options *options,
                         struct kith_sockaddr *failed, bool *is_told)
{
    struct kith_context *context = endpoint->context;
    struct kith_quic_host_options host;
    struct kith_driver_options driver = { .mem = context->mem,
                                          .rt = context->rt,
                                          .host = &host,
                                          .binds = options->binds,
                                          .bind_count = options->bind_count,
                                          .no_sockets = options->relay_only,
                                          .on_event = kith__api_endpoint_on_event,
                                          .on_pending = on_pending,
                                          .on_relay_send = on_relay_send,
                                          .on_relay_flush = on_relay_flush,
                                          .ctx = endpoint,
                                          .failed = failed };
    struct kith_slice *alpns = NULL;
    int err;

    kith_quic_host_defaults(&host);
    if (options->transport != NULL)
        host.transport = *options->transport;
    if (options->secret != NULL)
        host.secret = *options->secret;
    else
        kith__rt_random(context->rt)
            ->fill(kith__rt_random(context->rt)->ctx, host.secret.bytes, sizeof host.secret.bytes);
    if ((err = collect_alpns(context->mem, options, &alpns, &host.alpn_count)) == 0 &&
        (err = kith__endpoint_logs_new(context->rt, options, &host, &endpoint->logs)) == 0) {
        host.alpns = alpns;
        err = kith__driver_new(&driver, &endpoint->driver);
    }
    if (err == 0)
        err = kith__context_use_dns(context, options->dns_servers, options->dns_server_count);
    if (err == 0 && ((err = kith__api_relays_open(endpoint, options, &host.secret)) != 0 ||
                     (err = kith__api_lookup_open(endpoint, options, &host.secret)) != 0))
        *is_told = true;
    kith__free(context->mem, alpns);
    kith_secret_wipe(&host.secret);
    return err;
}

void kith__api_endpoint_release_if_done(struct kith_endpoint *endpoint)
{
    struct kith_context *context = endpoint->context;

    if (!endpoint->is_gone || !kith__list_is_empty(&endpoint->conns) || !kith__list_is_empty(&endpoint->handed))
        return;
    context->object_count--;
    kith__free(context->mem, endpoint);
}

void kith__api_endpoint_destroy(struct kith_endpoint *endpoint)
{
    struct kith_error error;

    endpoint->is_closing = true;
    kith__fail_into(&error, KITH_ERR_CLOSED, 0, "the endpoint was closed");
    kith__op_fail_all(&endpoint->accept_ops, &error);
    kith__op_fail_all(&endpoint->incoming_ops, &error);
    kith__api_dials_fail(endpoint, &error);
    while (!kith__list_is_empty(&endpoint->incoming))
        kith__api_incoming_free(KITH_CONTAINER(endpoint->incoming.next, struct kith_incoming, node));
    KITH_LIST_EACH(node, &endpoint->handed)
    KITH_CONTAINER(node, struct kith_incoming, node)->quic = NULL; /* goes with the host */
    KITH_LIST_EACH_SAFE(node, after, &endpoint->conns)
    kith__api_conn_destroy(KITH_CONTAINER(node, struct kith_conn, node));
    kith__rt_timer_dispose(&endpoint->room_timer);
    kith__api_lookup_close(endpoint, &error);
    kith__api_relays_close(endpoint, &error);
    kith__driver_free(endpoint->driver);
    endpoint->driver = NULL;
    kith__endpoint_logs_free(endpoint->logs);
    kith__api_endpoint_forget_peers(endpoint);
    kith__map_dispose(&endpoint->peer_map);
    kith__list_remove(&endpoint->dirty_node);
    kith__list_remove(&endpoint->node);
    endpoint->is_gone = true;
    kith__api_endpoint_release_if_done(endpoint);
}

/* Why an endpoint could not be opened. */
static int open_error(int err, const struct kith_endpoint_options *options, const struct kith_sockaddr *failed)
{
    char text[KITH_SOCKADDR_TEXT_SIZE];

    if (failed->family != KITH_FAMILY_NONE && err == KITH_ERR_PERMISSION)
        return kith__fail_because(err, "the endpoint cannot use %s (ports below 1024 need a right of their own)",
                                  kith_sockaddr_format(failed, text));
    if (failed->family != KITH_FAMILY_NONE)
        return kith__fail_because(err, "the endpoint cannot use %s", kith_sockaddr_format(failed, text));
    if (err == KITH_ERR_LIMIT && options->bind_count > KITH_DRIVER_SOCKETS_MAX)
        return kith__fail(err, 0, "%zu addresses to bind are too many: at most %d", options->bind_count,
                          KITH_DRIVER_SOCKETS_MAX);
    if (err == KITH_ERR_INVALID)
        return kith__fail(err, 0,
                          "the endpoint could not be opened: addresses to bind, protocol names (at most %d, of 1 to "
                          "255 bytes) or transport settings are out of their ranges",
                          KITH_QUIC_ALPN_COUNT_MAX);
    if (options->key_log_file != NULL)
        return kith__fail_because(err, "the endpoint could not be opened with the key log %s", options->key_log_file);
    return kith__fail_because(err, "the endpoint could not be opened");
}

static int bind_in(struct kith_context *context, const struct kith_endpoint_options *options,
                   struct kith_endpoint **out)
{
    struct kith_endpoint *endpoint = endpoint_alloc(context);
    struct kith_sockaddr failed = { 0 };
    bool is_told = false; /* the error is noted already */
    int err;

    if (endpoint == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the endpoint cannot be made");
    if ((err = endpoint_open(endpoint, options, &failed, &is_told)) != 0) {
        if (!is_told)
            open_error(err, options, &failed); /* before anything else is asked of the system */
        kith__api_endpoint_destroy(endpoint);
        return err;
    }
    kith__list_push_back(&context->endpoints, &endpoint->node);
    *out = endpoint;
    return 0;
}

int kith_endpoint_bind(const struct kith_endpoint_options *options, struct kith_endpoint **out)
{
    struct kith_endpoint_options with_defaults = { 0 };
    struct kith_context_options context_options = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_THREAD };
    struct kith_context *context;
    int err;

    if (options == NULL || options->size > sizeof with_defaults ||
        options->size < offsetof(struct kith_endpoint_options, secret))
        return kith__fail(KITH_ERR_INVALID, 0, "the options were not initialised with KITH_OPTIONS_INIT");
    memcpy(&with_defaults, options, options->size);
    if ((err = kith__api_lookup_check(&with_defaults)) != 0)
        return err;
    if ((with_defaults.bind_count > 0 && with_defaults.binds == NULL) ||
        (with_defaults.alpns_raw_count > 0 && with_defaults.alpns_raw == NULL))
        return kith__fail(KITH_ERR_INVALID, 0, "addresses to bind or protocol names are counted but not given");
    context = with_defaults.context;
    if (context == NULL && (err = kith_context_new(&context_options, &context)) != 0)
        return err;
    kith__context_enter(context);
    if (with_defaults.context == NULL)
        context->is_owned_by_endpoint = true;
    err = bind_in(context, &with_defaults, out);
    kith__context_leave(context);
    if (err != 0 && with_defaults.context == NULL)
        kith_context_free(context);
    return err;
}

struct kith_id kith_endpoint_id(const struct kith_endpoint *endpoint)
{
    return kith_quic_host_id(kith__driver_host(endpoint->driver));
}

size_t kith_endpoint_bound(struct kith_endpoint *endpoint, struct kith_sockaddr *out, size_t capacity)
{
    return kith__driver_bound(endpoint->driver, out, capacity);
}

void kith_endpoint_addr(struct kith_endpoint *endpoint, struct kith_addr *out)
{
    struct kith_sockaddr ips[KITH_ADDR_IPS_MAX];
    struct kith_id id = kith_endpoint_id(endpoint);
    size_t count;

    kith_addr_init(out, &id);
    kith__context_enter(endpoint->context);
    kith__api_relays_public_addr(endpoint, out); /* first: of interfaces there may be more than fit */
    count = kith__driver_reachable(endpoint->driver, ips, KITH_ADDR_IPS_MAX);
    for (size_t i = 0; i < count; i++)
        out->ignored_count += kith_addr_add_ip(out, &ips[i]) != 0;
    kith__api_relays_addr(endpoint, out);
    kith__context_leave(endpoint->context);
}

int kith_endpoint_set_alpns(struct kith_endpoint *endpoint, const struct kith_slice *alpns, size_t count)
{
    int err = KITH_ERR_INVALID;

    kith__context_enter(endpoint->context);
    if (alpns != NULL || count == 0)
        err = kith_quic_host_set_alpns(kith__driver_host(endpoint->driver), alpns, count);
    kith__context_leave(endpoint->context);
    return err == 0 ? 0
                    : kith__fail(err, 0, "the protocol names cannot be used: at most %d, each of 1 to 255 bytes",
                                 KITH_QUIC_ALPN_COUNT_MAX);
}

void kith_endpoint_stats(struct kith_endpoint *endpoint, struct kith_quic_host_stats *out)
{
    kith__context_enter(endpoint->context);
    kith_quic_host_stats(kith__driver_host(endpoint->driver), out);
    kith__api_relays_adjust_stats(endpoint, out);
    kith__context_leave(endpoint->context);
}

/* ---- Ending ---- */

static bool is_flushed(const struct kith_endpoint *endpoint)
{
    KITH_LIST_EACH(node, &endpoint->conns)
    {
        const struct kith_conn *conn = KITH_CONTAINER(node, struct kith_conn, node);

        if (!conn->is_closed && conn->unsent_count > 0)
            return false;
    }
    return true;
}

/* An attempt that nobody ever answered: there is no other side that a repeated close could be for. */
static bool was_never_answered(const struct kith_conn *conn)
{
    struct kith_quic_conn_stats stats;

    if (!conn->is_client || conn->is_connected || conn->quic == NULL)
        return false;
    kith_quic_conn_stats(conn->quic, &stats);
    return stats.packets_received == 0;
}

static bool is_drained(const struct kith_endpoint *endpoint)
{
    KITH_LIST_EACH(node, &endpoint->conns)
    {
        const struct kith_conn *conn = KITH_CONTAINER(node, struct kith_conn, node);

        if (!conn->is_drained && !was_never_answered(conn))
            return false;
    }
    return true;
}

static bool has_left_relays(const struct kith_endpoint *endpoint)
{
    return endpoint->relays == NULL || kith__relays_is_left(endpoint->relays);
}

/* Lock held: waits until the question is answered with yes, or until the time. */
static bool wait_for(struct kith_endpoint *endpoint, bool (*is_so)(const struct kith_endpoint *), uint64_t until_ns)
{
    while (!is_so(endpoint)) {
        if (kith__context_now(endpoint->context) >= until_ns || kith__context_take_wake(endpoint->context))
            return false;
        kith__context_wait(endpoint->context, until_ns);
    }
    return true;
}

static void close_all(struct kith_endpoint *endpoint)
{
    struct kith_slice none = { NULL, 0 };
    struct kith_error error;

    kith__fail_into(&error, KITH_ERR_CLOSED, 0, "the endpoint was closed");
    kith__api_dials_fail(endpoint, &error);
    while (!kith__list_is_empty(&endpoint->incoming)) {
        struct kith_incoming *incoming = KITH_CONTAINER(endpoint->incoming.next, struct kith_incoming, node);

        kith_quic_incoming_refuse(incoming->quic, kith__context_now(endpoint->context));
        kith__api_incoming_free(incoming);
    }
    KITH_LIST_EACH_SAFE(node, after, &endpoint->conns)
    kith__api_conn_close(KITH_CONTAINER(node, struct kith_conn, node), 0, none);
}

int kith_endpoint_close(struct kith_endpoint *endpoint, uint64_t limit_ns)
{
    struct kith_context *context;
    uint64_t until;
    bool in_time;

    if (endpoint == NULL)
        return 0;
    context = endpoint->context;
    kith__context_enter(context);
    until = kith__context_until(context, limit_ns);
    endpoint->is_closing = true;
    kith__driver_pump(endpoint->driver); /* datagrams that wait: as many as may go */
    in_time = wait_for(endpoint, is_flushed, until);
    close_all(endpoint);
    if (endpoint->relays != NULL)
        kith__relays_end_discovery(endpoint->relays);
    /* The close itself goes out in any case; what is given up without time is the wait for its echo. */
    kith__driver_pump(endpoint->driver);
    in_time = wait_for(endpoint, is_drained, until) && in_time;
    /* What a relay has not taken yet is sent, whatever the limit: it is the close. Bounded by itself. */
    if (endpoint->relays != NULL)
        kith__relays_leave(endpoint->relays);
    (void)wait_for(endpoint, has_left_relays, kith__context_now(context) + KITH_RELAY_CLOSE_LIMIT_NS);
    if (context->is_owned_by_endpoint) {
        kith__context_leave(context);
        kith_context_free(context); /* with the endpoint in it */
    } else {
        kith__api_endpoint_destroy(endpoint);
        kith__context_leave(context);
    }
    return in_time ? 0 : kith__fail(KITH_ERR_TIMEOUT, 0, "the endpoint was closed before everything was acknowledged");
}
