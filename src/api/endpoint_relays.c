/* Relays of an endpoint: what its options, operations and connections have to do with them. */
#include "api/dial.h"

#include "base/assert.h"
#include "base/mem.h"
#include <stdio.h>

_Static_assert((int)KITH_RELAY_TRUST_SYSTEM == (int)KITH_TLS_TRUST_SYSTEM &&
                   (int)KITH_RELAY_TRUST_ONLY == (int)KITH_TLS_TRUST_ONLY &&
                   (int)KITH_RELAY_TRUST_ANY == (int)KITH_TLS_TRUST_ANY,
               "the public words are the layer's");
_Static_assert((int)KITH_ENDPOINT_RELAYS_MAX == (int)KITH_RELAYS_CONFIGURED_MAX, "as many as the layer takes");

/* ---- Datagrams ---- */

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct kith_endpoint *endpoint = ctx;

    kith__driver_receive(endpoint->driver, batch, count, now_ns);
}

static void on_batch_end(void *ctx)
{
    struct kith_endpoint *endpoint = ctx;

    kith__driver_received(endpoint->driver);
}

/* ---- Connections ---- */

void kith__api_relays_arm(struct kith_conn *conn)
{
    kith__rt_timer_set(&conn->ways_timer,
                       KITH_MIN(kith__conn_ways_deadline(&conn->ways), kith__api_dial_deadline(conn)));
}

/** Paths through relays: how many of all (KITH_QUIC_PATHS_MAX at most) have this id, or live (id UINT32_MAX). */
static uint64_t count_relay_paths(const struct kith_conn *conn, uint32_t id)
{
    struct kith_quic_path_info paths[KITH_QUIC_PATHS_MAX];
    size_t count = KITH_MIN(kith_quic_conn_paths(conn->quic, paths, KITH_QUIC_PATHS_MAX), KITH_COUNT(paths));
    uint64_t found = 0;

    for (size_t i = 0; i < count; i++)
        if (paths[i].remote.family == KITH_FAMILY_RELAY)
            found += id == UINT32_MAX ? paths[i].state != KITH_QUIC_PATH_CLOSING : paths[i].id == id;
    return found;
}

static void count_paths(struct kith_conn *conn, const struct kith_quic_event *event)
{
    if (event->kind == KITH_QUIC_CONNECTED || event->kind == KITH_QUIC_PATH_OPENED)
        conn->endpoint->relay_paths_added += count_relay_paths(conn, event->path);
    else if (event->kind == KITH_QUIC_PATH_ABANDONED)
        conn->endpoint->relay_paths_removed += count_relay_paths(conn, event->path);
}

void kith__api_relays_on_conn_end(struct kith_conn *conn)
{
    if (conn->ways.quic == NULL)
        return;
    if (conn->is_connected)
        conn->endpoint->relay_paths_removed += count_relay_paths(conn, UINT32_MAX);
    kith__conn_ways_dispose(&conn->ways);
    kith__api_relays_arm(conn);
}

void kith__api_relays_on_event(struct kith_conn *conn, const struct kith_quic_event *event)
{
    if (conn->endpoint->relays != NULL)
        count_paths(conn, event);
    kith__conn_ways_on_event(&conn->ways, event, kith__context_now(conn->endpoint->context));
    kith__api_dial_on_ways(conn);
    kith__api_relays_arm(conn);
}

void kith__api_relays_explain(const struct kith_conn *conn, struct kith_error *error)
{
    struct kith_relay_info info;

    if (conn->is_connected || !conn->is_client || (error->code != KITH_ERR_IDLE && error->code != KITH_ERR_TIMEOUT))
        return;
    for (size_t i = 0; i < conn->ways.known_count; i++) {
        kith__relay_info(conn->ways.known[i].relay, &info);
        if (info.why[0] == '\0')
            continue;
        kith__fail_into(error, error->code, error->cause, "%s the relay %.150s: %s",
                        conn->ways.ip_count == 0 ? "the other side did not answer, and it was to be reached through"
                                                 : "the other side did not answer, neither directly nor through",
                        info.url, info.why);
        return;
    }
    if (conn->ways.ip_count == 0 && conn->ways.known_count > 0)
        kith__fail_into(
            error, error->code, error->cause,
            "the other side did not answer through its relay: it is not connected there any more, or not yet");
}

/* ---- News ---- */

static bool is_online(const struct kith_endpoint *endpoint)
{
    const struct kith_relay_peer *home = kith__relays_home(endpoint->relays);

    return home != NULL && kith__relay_is_fit(home);
}

static void finish_all(struct kith_list *ops)
{
    struct kith_op *op;

    while ((op = kith__op_first(ops)) != NULL)
        kith__op_done(op, 0);
}

static void on_news(void *ctx, enum kith_relays_news news, struct kith_relay_peer *relay,
                    const struct kith_sockaddr *gone)
{
    struct kith_endpoint *endpoint = ctx;
    uint64_t now_ns = kith__context_now(endpoint->context);

    KITH_LIST_EACH(node, &endpoint->conns)
    {
        struct kith_conn *conn = KITH_CONTAINER(node, struct kith_conn, node);

        kith__conn_ways_on_news(&conn->ways, news, relay, gone, now_ns);
        kith__api_dial_on_ways(conn);
        kith__api_relays_arm(conn);
    }
    kith__api_lookup_on_news(endpoint);
    kith__api_endpoint_touch(endpoint);
    if (news == KITH_RELAYS_GONE)
        return;
    if (endpoint->relays != NULL && is_online(endpoint)) /* NULL: the first news come before it is known here */
        finish_all(&endpoint->online_ops);
    finish_all(&endpoint->changed_ops);
    kith__context_changed(endpoint->context);
}

/* ---- Address discovery ---- */

_Static_assert((int)KITH_ENDPOINT_MAPPING_UNKNOWN == (int)KITH_DISCOVERY_MAPPING_UNKNOWN &&
                   (int)KITH_ENDPOINT_MAPPING_SAME == (int)KITH_DISCOVERY_MAPPING_SAME &&
                   (int)KITH_ENDPOINT_MAPPING_VARIES == (int)KITH_DISCOVERY_MAPPING_VARIES,
               "the public words are the layer's");

static void public_locked(const struct kith_endpoint *endpoint, struct kith_endpoint_public_info *out)
{
    struct kith_discovery_side side;

    memset(out, 0, sizeof *out);
    if (endpoint->relays == NULL)
        return;
    side = kith__relays_public(endpoint->relays, KITH_FAMILY_V4);
    out->v4 = side.address;
    out->mapping_v4 = side.mapping;
    side = kith__relays_public(endpoint->relays, KITH_FAMILY_V6);
    out->v6 = side.address;
    out->mapping_v6 = side.mapping;
}

void kith_endpoint_public(struct kith_endpoint *endpoint, struct kith_endpoint_public_info *out)
{
    kith__context_enter(endpoint->context);
    public_locked(endpoint, out);
    kith__context_leave(endpoint->context);
}

void kith__api_relays_public_addr(const struct kith_endpoint *endpoint, struct kith_addr *out)
{
    struct kith_endpoint_public_info info;

    public_locked(endpoint, &info);
    if (info.v4.family != KITH_FAMILY_NONE)
        out->ignored_count += kith_addr_add_ip(out, &info.v4) != 0;
    if (info.v6.family != KITH_FAMILY_NONE)
        out->ignored_count += kith_addr_add_ip(out, &info.v6) != 0;
}

bool kith__api_relays_on_any_event(struct kith_endpoint *endpoint, const struct kith_quic_event *event)
{
    return endpoint->relays != NULL && kith__relays_on_event(endpoint->relays, event);
}

void kith__api_relays_adjust_stats(const struct kith_endpoint *endpoint, struct kith_quic_host_stats *stats)
{
    uint64_t opened = 0, live = 0;

    if (endpoint->relays != NULL)
        kith__relays_discovery_conns(endpoint->relays, &opened, &live);
    stats->conns_opened -= opened;
    stats->conns_live -= live;
}

/* ---- Opening and closing ---- */

static int open_error(int err, const struct kith_endpoint_options *options, size_t bad)
{
    if (bad < options->relay_count && err == KITH_ERR_TOO_LARGE)
        return kith__fail(err, 0, "the URL or the token of relay %zu is too long: at most %d and %d bytes", bad + 1,
                          KITH_ADDR_RELAY_SIZE - 1, KITH_RELAY_TOKEN_SIZE_MAX);
    if (bad < options->relay_count && (err == KITH_ERR_PARSE || err == KITH_ERR_UNSUPPORTED))
        return kith__fail(err, 0, "'%.200s' is no URL of a relay: those begin with https:// or http://",
                          options->relays[bad].url);
    if (err == KITH_ERR_LIMIT)
        return kith__fail(err, 0, "%zu relays are too many: at most %d", options->relay_count,
                          KITH_ENDPOINT_RELAYS_MAX);
    if (options->relay_ca_pem.size != 0 && (err == KITH_ERR_PARSE || err == KITH_ERR_NOT_FOUND))
        return kith__fail(err, 0,
                          "the certificates for relays cannot be used: they must be PEM, as in a file that "
                          "begins with -----BEGIN CERTIFICATE-----");
    return kith__fail_because(err, "the relays cannot be used");
}

static int check_options(const struct kith_endpoint_options *options)
{
    if (options->relay_count > 0 && options->relays == NULL)
        return kith__fail(KITH_ERR_INVALID, 0, "relays are counted but not given");
    for (size_t i = 0; i < options->relay_count; i++)
        if (options->relays[i].url == NULL)
            return kith__fail(KITH_ERR_INVALID, 0, "relay %zu has no URL", i + 1);
    if (options->no_relays && (options->relay_count > 0 || options->relay_only))
        return kith__fail(KITH_ERR_INVALID, 0, "relays are given, and not to be used");
    if (options->relay_trust > KITH_RELAY_TRUST_ANY ||
        (options->relay_trust == KITH_RELAY_TRUST_ONLY && options->relay_ca_pem.size == 0))
        return kith__fail(KITH_ERR_INVALID, 0,
                          "whom to trust for relays is not clear: no such choice, or no certificates are given");
    return 0;
}

int kith__api_proxy(struct kith_endpoint *endpoint, const struct kith_endpoint_options *options, struct kith_proxy *out)
{
    int err;

    *out = (struct kith_proxy) { .port = 0 };
    if (options->proxy == NULL)
        return 0;
    if (options->no_proxy != NULL && strlen(options->no_proxy) > KITH_PROXY_EXCEPT_SIZE_MAX)
        return kith__fail(KITH_ERR_TOO_LARGE, 0, "no_proxy is too long: %d bytes are the most",
                          KITH_PROXY_EXCEPT_SIZE_MAX);
    err = kith__proxy_parse(endpoint->context->mem, options->proxy, options->no_proxy, out);
    return err == 0 ? 0
                    : kith__fail(err, 0, "'%.200s' is no proxy: give http://user:password@host:port", options->proxy);
}

int kith__api_relays_open(struct kith_endpoint *endpoint, const struct kith_endpoint_options *options,
                          const struct kith_secret *secret)
{
    struct kith_relays_events events = { on_receive, on_batch_end, on_news, endpoint };
    struct kith_relay_config configs[KITH_ENDPOINT_RELAYS_MAX];
    struct kith_relays_options relays = { .rt = endpoint->context->rt,
                                          .secret = secret,
                                          .configs = configs,
                                          .config_count = options->relay_count,
                                          .trust = (enum kith_tls_trust)options->relay_trust,
                                          .anchors = options->relay_ca_pem,
                                          .driver = endpoint->driver };
    struct kith_proxy proxy;
    size_t bad = options->relay_count;
    int err = check_options(options);

    endpoint->is_relay_only = options->relay_only;
    if (err != 0 || options->no_relays)
        return err;
    if (options->relay_count > KITH_ENDPOINT_RELAYS_MAX)
        return open_error(KITH_ERR_LIMIT, options, bad);
    for (size_t i = 0; i < options->relay_count; i++)
        configs[i] = (struct kith_relay_config) { options->relays[i].url, options->relays[i].token,
                                                  options->relays[i].qad_port };
    if ((err = kith__api_proxy(endpoint, options, &proxy)) != 0)
        return err;
    relays.proxy = &proxy;
    err = kith__relays_new(&relays, &events, &endpoint->relays, &bad);
    return err == 0 ? 0 : open_error(err, options, bad);
}

void kith__api_relays_close(struct kith_endpoint *endpoint, const struct kith_error *error)
{
    kith__op_fail_all(&endpoint->online_ops, error);
    kith__op_fail_all(&endpoint->changed_ops, error);
    kith__relays_free(endpoint->relays);
    endpoint->relays = NULL;
}

void kith__api_relays_addr(const struct kith_endpoint *endpoint, struct kith_addr *out)
{
    struct kith_relay_peer *told[2];
    struct kith_relay_info info;

    if (endpoint->relays == NULL)
        return;
    told[0] = kith__relays_home(endpoint->relays);
    told[1] = kith__relays_warm(endpoint->relays);
    for (size_t i = 0; i < 2; i++) {
        if (told[i] == NULL)
            continue;
        kith__relay_info(told[i], &info);
        if (info.was_on && !info.is_denied) /* who was never let in cannot be reached there */
            out->ignored_count += kith_addr_add_relay(out, info.url) != 0;
    }
}

/* ---- Public ---- */

/** What keeps the endpoint from being online, for people. */
static int offline_error(struct kith_endpoint *endpoint, int code)
{
    struct kith_relay_peer *home = kith__relays_home(endpoint->relays);
    struct kith_relay_info info = { .why = "" };

    if (home != NULL)
        kith__relay_info(home, &info);
    if (home == NULL || info.why[0] == '\0')
        return kith__fail(code, 0, "no relay was reached in time");
    return kith__fail(code, 0, "no relay was reached in time: %.200s: %s", info.url, info.why);
}

static int online_start(struct kith_endpoint *endpoint, struct kith_op **out)
{
    if (endpoint->is_closing)
        return kith__fail(KITH_ERR_CLOSED, 0, "the endpoint is closing");
    if (endpoint->relays == NULL || kith__relays_next(endpoint->relays, NULL) == NULL)
        return kith__fail(KITH_ERR_STATE, 0, "the endpoint has no relays: name some when it is opened");
    if ((*out = kith__op_new(endpoint->context, KITH_OP_ONLINE, &endpoint->online_ops)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the relay cannot be waited for");
    if (is_online(endpoint))
        kith__op_done(*out, 0);
    return 0;
}

int kith_endpoint_online_start(struct kith_endpoint *endpoint, struct kith_op **out)
{
    int err;

    kith__context_enter(endpoint->context);
    err = online_start(endpoint, out);
    kith__context_leave(endpoint->context);
    return err;
}

int kith_endpoint_online(struct kith_endpoint *endpoint, uint64_t limit_ns)
{
    struct kith_context *context = endpoint->context;
    struct kith_op *op;
    int err;

    kith__context_enter(context);
    if ((err = online_start(endpoint, &op)) == 0) {
        err = kith__op_wait_locked(op, limit_ns, NULL);
        if (err == KITH_ERR_TIMEOUT)
            err = offline_error(endpoint, err);
        kith__op_free_locked(op);
    }
    kith__context_leave(context);
    return err;
}

int kith_endpoint_relays_changed_start(struct kith_endpoint *endpoint, struct kith_op **out)
{
    int err = 0;

    kith__context_enter(endpoint->context);
    if (endpoint->is_closing)
        err = kith__fail(KITH_ERR_CLOSED, 0, "the endpoint is closing");
    else if ((*out = kith__op_new(endpoint->context, KITH_OP_RELAYS_CHANGED, &endpoint->changed_ops)) == NULL)
        err = kith__fail_because(KITH_ERR_NOMEM, "news of relays cannot be waited for");
    kith__context_leave(endpoint->context);
    return err;
}

static uint8_t state_of(const struct kith_relay_info *info)
{
    switch (info->state) {
    case KITH_RELAY_ON:
        return KITH_ENDPOINT_RELAY_CONNECTED;
    case KITH_RELAY_WAITING:
        return info->is_denied ? KITH_ENDPOINT_RELAY_REFUSED : KITH_ENDPOINT_RELAY_DISCONNECTED;
    case KITH_RELAY_CONNECTING:
        return info->is_denied ? KITH_ENDPOINT_RELAY_REFUSED : KITH_ENDPOINT_RELAY_CONNECTING;
    default:
        return KITH_ENDPOINT_RELAY_IDLE;
    }
}

static void status_of(const struct kith_relay_peer *relay, struct kith_endpoint_relay_info *out)
{
    struct kith_relay_info info;

    kith__relay_info(relay, &info);
    memset(out, 0, sizeof *out);
    snprintf(out->url, sizeof out->url, "%s", info.url);
    out->state = state_of(&info);
    out->is_configured = info.is_configured;
    out->is_home = info.is_home;
    out->is_spare = info.is_warm;
    out->is_displaced = info.is_displaced;
    out->rtt_ns = info.rtt_ns;
    out->err = info.err;
    snprintf(out->why, sizeof out->why, "%s", info.why);
    out->http_latency_ns = info.latency_ns != KITH_NEVER ? info.latency_ns : 0;
    out->quic_latency_ns = info.quic_latency_ns != KITH_NEVER ? info.quic_latency_ns : 0;
    out->has_qad = info.has_qad;
    out->qad_err = info.qad_err;
    snprintf(out->qad_why, sizeof out->qad_why, "%s", info.qad_why);
}

size_t kith_endpoint_relays(struct kith_endpoint *endpoint, struct kith_endpoint_relay_info *out, size_t capacity)
{
    struct kith_relay_peer *relay = NULL;
    size_t count = 0;

    kith__context_enter(endpoint->context);
    while (endpoint->relays != NULL && (relay = kith__relays_next(endpoint->relays, relay)) != NULL) {
        if (count < capacity)
            status_of(relay, &out[count]);
        count++;
    }
    kith__context_leave(endpoint->context);
    return count;
}

int kith_endpoint_relay_of(struct kith_endpoint *endpoint, const struct kith_sockaddr *address, char *url,
                           struct kith_id *id)
{
    struct kith_relay_info info;
    struct kith_relay_peer *relay = NULL;

    kith__context_enter(endpoint->context);
    if (endpoint->relays != NULL && (relay = kith__relays_find(endpoint->relays, address, id)) != NULL) {
        kith__relay_info(relay, &info);
        snprintf(url, KITH_ADDR_RELAY_SIZE, "%s", info.url);
    }
    kith__context_leave(endpoint->context);
    return relay != NULL ? 0 : kith__fail(KITH_ERR_NOT_FOUND, 0, "no relay belongs to that address (any more)");
}

int kith_conn_relay_of(struct kith_conn *conn, const struct kith_sockaddr *address, char *url)
{
    if (conn->endpoint->is_gone)
        return kith__fail(KITH_ERR_NOT_FOUND, 0, "the endpoint was closed");
    return kith_endpoint_relay_of(conn->endpoint, address, url, NULL);
}

void kith_endpoint_relay_stats(struct kith_endpoint *endpoint, struct kith_endpoint_relay_stats *out)
{
    struct kith_relays_stats stats = { 0 };

    kith__context_enter(endpoint->context);
    if (endpoint->relays != NULL)
        kith__relays_stats(endpoint->relays, &stats);
    *out = (struct kith_endpoint_relay_stats) { .batches_sent = stats.datagrams_sent,
                                                .bytes_sent = stats.bytes_sent,
                                                .batches_received = stats.datagrams_received,
                                                .bytes_received = stats.bytes_received,
                                                .home_changes = stats.home_changes,
                                                .conns_success = stats.conns_success,
                                                .conns_failed = stats.conns_failed,
                                                .conns_closed = stats.conns_closed,
                                                .conns_ratelimited = stats.conns_ratelimited,
                                                .paths_added = endpoint->relay_paths_added,
                                                .paths_removed = endpoint->relay_paths_removed,
                                                .dropped_full = stats.drop_full,
                                                .dropped_stale = stats.drop_stale,
                                                .dropped_size = stats.drop_size,
                                                .dropped_unroutable = stats.drop_unroutable,
                                                .dropped_no_memory = stats.drop_no_memory + stats.drop_no_way,
                                                .dropped_empty = stats.drop_empty,
                                                .dropped_unknown = stats.drop_unknown };
    kith__context_leave(endpoint->context);
}
