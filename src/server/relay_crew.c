/* A whole relay on threads. */
#include "server/relay_crew.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "rt/uv/uv.h"
#include "server/bind.h"
#include "server/locks.h"
#include "server/relay_house.h"
#include "server/relay_news.h"
#include "tls/stream.h"

enum { KINDS = KITH_RELAY_ADDRESS_DISCOVERY + 1 };

/* What Restarting frames tell: for how long it makes sense to try this relay again. */
#define TRY_FOR_NS    (60 * KITH_NS_PER_S)
#define SPREAD_MAX_NS (10 * KITH_NS_PER_S)

/* One thread: a worker, or the house. */
struct member {
    struct kith_relay *relay;
    struct kith_rt *rt;
    struct kith_rt_thread *thread;
    struct kith_relay_worker *worker; /* NULL: the house */
    _Atomic bool must_stop;
    bool is_drained; /* under relay->lock */
    _Atomic uint64_t turns;
    uint64_t turns_seen; /* by the last kith_relay_check_alive */
};

struct kith_relay {
    const struct kith_mem *mem;
    struct kith_log log;
    void (*log_user)(void *ctx, int level, const char *part, const char *text);
    void *log_user_ctx;
    bool wants_news;
    struct kith_relay_sync sync;
    struct kith_relay_shared shared;
    struct kith_relay_routes routes[KITH_RELAY_WORKERS_MAX];
    struct member members[KITH_RELAY_WORKERS_MAX + 1]; /* workers, then the house */
    unsigned worker_count;
    struct kith_relay_house *house;
    struct kith_relay_news_queue *news;
    struct kith_rt_lock *lock; /* of is_drained */
    struct kith_rt_condition *changed;
    struct kith_sockaddr bound[KINDS][KITH_RELAY_BINDS_MAX];
    size_t bound_count[KINDS];
    struct kith_buf authority; /* of SELF: PEM */
};

_Static_assert((int)KITH_RELAY_THREADS_MAX == (int)KITH_RELAY_WORKERS_MAX, "one limit in two headers");

/* ---- What the workers share ---- */

static void sync_wake(void *ctx, unsigned worker)
{
    struct kith_relay *relay = ctx;

    kith__rt_wake(relay->members[worker].rt);
}

static void write_log(void *ctx, enum kith_log_level level, const char *part, const char *text)
{
    struct kith_relay *relay = ctx;

    relay->log_user(relay->log_user_ctx, (int)level, part, text);
}

/* ---- News ---- */

/* A connection's number: no two workers make the same. */
static uint64_t number_of(unsigned worker, uint64_t handle)
{
    return handle * KITH_RELAY_WORKERS_MAX + worker;
}

static bool on_told(void *ctx, const struct kith_relay_told *told)
{
    struct kith_relay *relay = ctx;
    struct kith_relay_news news = { .connection = number_of(told->worker, told->handle),
                                    .id = told->id,
                                    .remote = told->remote };

    if (told->kind != KITH_RELAY_EVENT_ACCESS && !relay->wants_news)
        return false;
    news.kind = told->kind == KITH_RELAY_EVENT_ACCESS  ? KITH_RELAY_ASKED
                : told->kind == KITH_RELAY_EVENT_READY ? KITH_RELAY_CONNECTED
                                                       : KITH_RELAY_DISCONNECTED;
    if (kith__relay_news_put(relay->news, &news))
        return true;
    atomic_fetch_add_explicit(&relay->shared.news_dropped, 1, memory_order_relaxed);
    return false;
}

/* ---- Threads ---- */

static void run(void *ctx)
{
    struct member *member = ctx;
    struct kith_relay *relay = member->relay;

    while (!atomic_load(&member->must_stop)) {
        kith__rt_process(member->rt);
        atomic_fetch_add_explicit(&member->turns, 1, memory_order_relaxed);
        if (member->worker != NULL && !member->is_drained && kith__relay_worker_is_drained(member->worker)) {
            kith__rt_lock_acquire(relay->lock);
            member->is_drained = true;
            kith__rt_condition_broadcast(relay->changed);
            kith__rt_lock_release(relay->lock);
        }
        /* A turn may have used up the wake of stop_threads: asked again after it, the wait cannot miss the stop. */
        if (!atomic_load(&member->must_stop))
            kith__rt_wait(member->rt, kith__rt_deadline(member->rt));
    }
}

static void stop_threads(struct kith_relay *relay)
{
    for (unsigned i = 0; i <= relay->worker_count; i++) {
        if (relay->members[i].thread == NULL)
            continue;
        atomic_store(&relay->members[i].must_stop, true);
        kith__rt_wake(relay->members[i].rt);
    }
    for (unsigned i = 0; i <= relay->worker_count; i++) {
        kith__rt_thread_join(relay->members[i].thread);
        relay->members[i].thread = NULL;
    }
}

static int start_threads(struct kith_relay *relay, struct kith_server_why *why)
{
    int err = 0;

    for (unsigned i = 0; err == 0 && i <= relay->worker_count; i++)
        err = kith__rt_thread_start(relay->mem, run, &relay->members[i], &relay->members[i].thread);
    return err == 0 ? 0 : kith__server_why(why, err, "a thread cannot be started: %s", kith_strerror(err));
}

/* ---- Making and freeing ---- */

static void crew_free(struct kith_relay *relay)
{
    stop_threads(relay);
    kith__relay_house_free(relay->house);
    for (unsigned i = 0; i < relay->worker_count; i++)
        kith__relay_worker_free(relay->members[i].worker);
    kith__relay_routes_free(&relay->routes[0]);
    for (unsigned i = 0; i <= relay->worker_count; i++)
        kith__rt_free(relay->members[i].rt);
    kith__relay_shared_dispose(&relay->shared);
    kith__relay_news_free(relay->news);
    kith__buf_dispose(&relay->authority);
    kith__rt_condition_free(relay->changed);
    kith__rt_lock_free(relay->lock);
    kith__free(relay->mem, relay);
}

static struct kith_relay *crew_alloc(const struct kith_relay_options *options)
{
    const struct kith_mem *mem = options->mem != NULL ? options->mem : kith_mem_default();
    struct kith_relay *relay = kith__alloc_zero(mem, sizeof *relay);

    if (relay == NULL)
        return NULL;
    relay->mem = mem;
    kith__buf_init(&relay->authority, mem);
    relay->log_user = options->log;
    relay->log_user_ctx = options->log_ctx;
    relay->log = (struct kith_log) { options->log != NULL ? write_log : NULL, relay,
                                     (enum kith_log_level)options->log_level };
    relay->wants_news = options->wants_news;
    relay->sync = (struct kith_relay_sync) { kith__server_locks(mem), sync_wake, relay };
    relay->worker_count = options->worker_count != 0 ? options->worker_count : kith__rt_core_count();
    if (relay->worker_count > KITH_RELAY_WORKERS_MAX)
        relay->worker_count = KITH_RELAY_WORKERS_MAX;
    return relay;
}

/* What belongs to no thread: routes, admission, locks. */
static int make_shared(struct kith_relay *relay, const struct kith_relay_options *options, const char *version,
                       const struct kith_relay_admission_limits *limits)
{
    const struct kith_random *random = kith__rt_system_random();
    struct kith_relay_routes_shared_options shared = {
        .mem = relay->mem, .sync = &relay->sync, .worker_count = relay->worker_count, .seed = kith__random_u64(random)
    };
    int err;

    if ((err = kith__rt_lock_new(relay->mem, &relay->lock)) != 0 ||
        (err = kith__rt_condition_new(relay->mem, &relay->changed)) != 0 ||
        (err = kith__relay_news_new(relay->mem, &relay->news)) != 0 ||
        (err = kith__relay_shared_init(&relay->shared, relay->mem, &relay->sync, relay->worker_count)) != 0)
        return err;
    for (unsigned i = 0; i <= relay->worker_count; i++)
        if ((err = kith__rt_uv_new(relay->mem, &relay->log, &relay->members[i].rt)) != 0)
            return err;
    relay->shared.version = version;
    relay->shared.started_ns = kith__rt_now(relay->members[0].rt);
    relay->shared.has_tls = options->https_count != 0;
    err = kith__relay_admission_new(relay->mem, &relay->sync, limits, kith__random_u64(random),
                                    &relay->shared.admission);
    if (err != 0)
        return err;
    if (relay->worker_count == 1)
        return kith__relay_routes_local_new(relay->mem, shared.seed, &relay->routes[0]);
    return kith__relay_routes_shared_new(&shared, relay->routes);
}

/* Each worker serves with it from its next turn on. */
static void on_certificate(void *ctx, struct kith_tls_stream_context *context)
{
    struct kith_relay *relay = ctx;

    for (unsigned i = 0; i < relay->worker_count; i++) {
        struct kith_relay_order *order = kith__relay_order_new(relay->mem, KITH_RELAY_ORDER_TLS);

        if (order == NULL) {
            kith__log(&relay->log, KITH_LOG_ERROR, "certs", "no memory: a worker goes on with the old certificate");
            continue;
        }
        order->tls = kith__tls_stream_context_retain(context);
        kith__relay_worker_order(relay->members[i].worker, order);
    }
}

static int make_members(struct kith_relay *relay, const struct kith_relay_options *options,
                        const struct kith_relay_server_limits *limits, struct kith_server_why *why)
{
    struct kith_relay_house_options house = {
        .mem = relay->mem, .shared = &relay->shared, .relay = options, .on_certificate = on_certificate, .ctx = relay
    };
    int err = 0;

    for (unsigned i = 0; err == 0 && i < relay->worker_count; i++) {
        struct kith_relay_worker_options worker = { .rt = relay->members[i].rt,
                                                    .mem = relay->mem,
                                                    .shared = &relay->shared,
                                                    .routes = &relay->routes[i],
                                                    .limits = limits,
                                                    .pass_on = options->pass_on,
                                                    .http_limit_ns = limits->handshake_ns,
                                                    .tell = on_told,
                                                    .ctx = relay };

        relay->members[i].relay = relay;
        err = kith__relay_worker_new(&worker, &relay->members[i].worker);
    }
    relay->members[relay->worker_count].relay = relay;
    house.rt = relay->members[relay->worker_count].rt;
    if (err != 0)
        return kith__server_why(why, err, "the relay cannot be made: %s", kith_strerror(err));
    return kith__relay_house_new(&house, &relay->house, why);
}

/* ---- Listening ---- */

static void note_bound(struct kith_relay *relay, enum kith_relay_address kind, const struct kith_sockaddr *bound)
{
    relay->bound[kind][relay->bound_count[kind]++] = *bound;
}

static int listen_all(struct kith_relay *relay, enum kith_relay_door door, enum kith_relay_address kind,
                      const struct kith_sockaddr *binds, size_t count, struct kith_server_why *why)
{
    bool is_shared = relay->worker_count > 1;

    for (size_t i = 0; i < count; i++) {
        struct kith_sockaddr at = binds[i], bound;
        int err = is_shared ? kith__server_probe(relay->members[0].rt, &at) : 0;

        for (unsigned w = 0; err == 0 && w < relay->worker_count; w++)
            err = kith__relay_worker_listen(relay->members[w].worker, door, &at, is_shared, &bound);
        if (err != 0)
            return kith__server_fail_bind(why, err, kind == KITH_RELAY_ADDRESS_HTTPS ? "https" : "http", &binds[i]);
        note_bound(relay, kind, &bound);
    }
    return 0;
}

static int listen_everywhere(struct kith_relay *relay, const struct kith_relay_options *options,
                             struct kith_server_why *why)
{
    enum kith_relay_door plain = options->https_count != 0 ? KITH_RELAY_DOOR_CAPTIVE : KITH_RELAY_DOOR_PLAIN;
    struct kith_sockaddr bound;
    int err;

    if ((err = listen_all(relay, KITH_RELAY_DOOR_TLS, KITH_RELAY_ADDRESS_HTTPS, options->https, options->https_count,
                          why)) != 0 ||
        (err = listen_all(relay, plain, KITH_RELAY_ADDRESS_HTTP, options->http, options->http_count, why)) != 0)
        return err;
    for (size_t i = 0; i < options->discovery_count; i++) {
        if ((err = kith__relay_house_discover(relay->house, &options->discovery[i], &bound)) != 0)
            return kith__server_fail_bind(why, err, "address discovery", &options->discovery[i]);
        note_bound(relay, KITH_RELAY_ADDRESS_DISCOVERY, &bound);
        relay->shared.qad_port = bound.port;
    }
    for (size_t i = 0; i < options->metrics_count; i++) {
        if ((err = kith__relay_house_listen(relay->house, &options->metrics[i], &bound)) != 0)
            return kith__server_fail_bind(why, err, "metrics", &options->metrics[i]);
        note_bound(relay, KITH_RELAY_ADDRESS_METRICS, &bound);
    }
    return 0;
}

/* ---- Orders ---- */

static void give_all(struct kith_relay *relay, struct kith_relay_order **orders)
{
    for (unsigned i = 0; i < relay->worker_count; i++)
        kith__relay_worker_order(relay->members[i].worker, orders[i]);
}

static void free_all(struct kith_relay *relay, struct kith_relay_order **orders)
{
    for (unsigned i = 0; i < relay->worker_count; i++)
        kith__relay_order_free(relay->mem, orders[i]);
}

/* One order of a kind for each worker, or none at all. */
static int new_orders(struct kith_relay *relay, enum kith_relay_order_kind kind, struct kith_relay_order **orders)
{
    memset(orders, 0, KITH_RELAY_WORKERS_MAX * sizeof *orders);
    for (unsigned i = 0; i < relay->worker_count; i++) {
        if ((orders[i] = kith__relay_order_new(relay->mem, kind)) == NULL) {
            free_all(relay, orders);
            return KITH_ERR_NOMEM;
        }
    }
    return 0;
}

int kith__relay_crew_set_access(struct kith_relay *relay, const struct kith_relay_access_rules *rules,
                                struct kith_server_why *why)
{
    struct kith_relay_order *orders[KITH_RELAY_WORKERS_MAX] = { NULL };
    const char *text = "";
    int err = 0;

    for (unsigned i = 0; err == 0 && i < relay->worker_count; i++)
        err = kith__relay_access_order(relay->members[i].rt, relay->mem, rules, &orders[i], &text, why);
    if (err != 0) {
        free_all(relay, orders);
        return err;
    }
    give_all(relay, orders);
    kith__relay_shared_set_access(&relay->shared, text);
    return 0;
}

int kith__relay_crew_set_quota(struct kith_relay *relay, const struct kith_relay_quota *quota,
                               struct kith_server_why *why)
{
    struct kith_relay_order *orders[KITH_RELAY_WORKERS_MAX];
    struct kith_relay_admission_limits admission;
    struct kith_relay_server_limits limits;
    int err;

    if ((err = kith__relay_quota_limits(quota, &admission, &limits, why)) != 0)
        return err;
    if ((err = new_orders(relay, KITH_RELAY_ORDER_LIMITS, orders)) != 0)
        return kith__server_why(why, err, "no memory for new quotas");
    for (unsigned i = 0; i < relay->worker_count; i++)
        orders[i]->limits = limits;
    give_all(relay, orders);
    kith__relay_admission_set_limits(relay->shared.admission, &admission);
    kith__relay_house_set_rates(relay->house, quota != NULL ? quota->discovery_rate : 0,
                                quota != NULL ? quota->discovery_per_ip_rate : 0);
    return 0;
}

int kith__relay_crew_disconnect(struct kith_relay *relay, const struct kith_id *id)
{
    struct kith_relay_order *orders[KITH_RELAY_WORKERS_MAX];
    int err = new_orders(relay, KITH_RELAY_ORDER_DISCONNECT, orders);

    if (err != 0)
        return err;
    for (unsigned i = 0; i < relay->worker_count; i++)
        orders[i]->id = *id;
    give_all(relay, orders);
    return 0;
}

int kith__relay_crew_answer(struct kith_relay *relay, uint64_t connection, bool is_allowed, const char *reason)
{
    struct kith_relay_order *order;
    unsigned worker = (unsigned)(connection % KITH_RELAY_WORKERS_MAX);

    if (worker >= relay->worker_count)
        return 0; /* no such connection: it has no effect, as with one that is gone */
    if ((order = kith__relay_order_new(relay->mem, KITH_RELAY_ORDER_ANSWER)) == NULL)
        return KITH_ERR_NOMEM;
    order->handle = connection / KITH_RELAY_WORKERS_MAX;
    order->is_allowed = is_allowed;
    if (reason != NULL)
        strncpy(order->reason, reason, sizeof order->reason - 1);
    kith__relay_worker_order(relay->members[worker].worker, order);
    return 0;
}

void kith__relay_crew_reload(struct kith_relay *relay)
{
    kith__relay_house_reload(relay->house);
}

/* ---- Start and stop ---- */

static int check_and_limit(const struct kith_relay_options *options, struct kith_relay_admission_limits *admission,
                           struct kith_relay_server_limits *limits, struct kith_server_why *why)
{
    int err = kith__relay_options_check(options, why);

    return err == 0 ? kith__relay_quota_limits(options->quota, admission, limits, why) : err;
}

int kith__relay_crew_new(const struct kith_relay_options *options, const char *version, struct kith_relay **out,
                         struct kith_server_why *why)
{
    struct kith_relay_admission_limits admission;
    struct kith_relay_server_limits limits;
    struct kith_relay *relay;
    int err;

    if ((err = check_and_limit(options, &admission, &limits, why)) != 0)
        return err;
    if ((relay = crew_alloc(options)) == NULL)
        return kith__server_why(why, KITH_ERR_NOMEM, "no memory for a relay");
    if ((err = make_shared(relay, options, version, &admission)) != 0) {
        kith__server_why(why, err, "the relay cannot be made: %s", kith_strerror(err));
        goto fail;
    }
    if ((err = make_members(relay, options, &limits, why)) != 0 ||
        (err = kith__relay_crew_set_access(relay, options->access, why)) != 0 ||
        (err = listen_everywhere(relay, options, why)) != 0)
        goto fail;
    if (options->tls != NULL && options->tls->source == KITH_CERTIFICATE_SELF &&
        (err = kith__certs_authority(relay->members[0].rt, relay->mem, options->tls->directory, &relay->authority,
                                     why)) != 0)
        goto fail;
    for (unsigned i = 0; i < relay->worker_count; i++)
        kith__relay_worker_settle(relay->members[i].worker);
    if ((err = start_threads(relay, why)) != 0)
        goto fail;
    *out = relay;
    return 0;
fail:
    crew_free(relay);
    return err;
}

int kith__relay_crew_check(const struct kith_relay_options *options, struct kith_server_why *why)
{
    struct kith_relay_admission_limits admission;
    struct kith_relay_server_limits limits;
    struct kith_relay_order *order = NULL;
    struct kith_rt *rt;
    const char *text;
    const struct kith_mem *mem = options->mem != NULL ? options->mem : kith_mem_default();
    int err;

    if ((err = check_and_limit(options, &admission, &limits, why)) != 0)
        return err;
    if ((err = kith__rt_uv_new(mem, NULL, &rt)) != 0)
        return kith__server_why(why, err, "files cannot be read: %s", kith_strerror(err));
    if ((err = kith__relay_access_order(rt, mem, options->access, &order, &text, why)) == 0)
        kith__relay_order_free(mem, order);
    if (err == 0)
        err = kith__certs_check(rt, mem, options->tls, why);
    kith__rt_free(rt);
    return err;
}

static bool all_drained(const struct kith_relay *relay)
{
    for (unsigned i = 0; i < relay->worker_count; i++)
        if (!relay->members[i].is_drained)
            return false;
    return true;
}

/* Waits until no client is left. */
static int drain(struct kith_relay *relay, uint64_t limit_ns)
{
    struct kith_relay_order *orders[KITH_RELAY_WORKERS_MAX];
    uint64_t now = kith__relay_crew_now(relay), until = limit_ns >= KITH_NEVER - now ? KITH_NEVER : now + limit_ns;
    int err = new_orders(relay, KITH_RELAY_ORDER_DRAIN, orders);

    if (err != 0)
        return err;
    for (unsigned i = 0; i < relay->worker_count; i++) {
        orders[i]->spread_ns = KITH_MIN(limit_ns / 2, SPREAD_MAX_NS);
        orders[i]->try_for_ns = TRY_FOR_NS;
    }
    give_all(relay, orders);
    kith__rt_lock_acquire(relay->lock);
    while (!all_drained(relay) && err == 0)
        err = kith__rt_condition_wait(relay->changed, relay->lock, until);
    if (all_drained(relay))
        err = 0;
    kith__rt_lock_release(relay->lock);
    return err;
}

int kith__relay_crew_stop(struct kith_relay *relay, uint64_t limit_ns)
{
    int err = 0;

    if (limit_ns != 0)
        err = drain(relay, limit_ns);
    else if (KITH_RELAY_GAUGE(&relay->shared, sessions) != 0)
        err = KITH_ERR_TIMEOUT;
    crew_free(relay);
    return err;
}

/* ---- Questions ---- */

size_t kith__relay_crew_addresses(const struct kith_relay *relay, enum kith_relay_address kind,
                                  struct kith_sockaddr *out, size_t capacity)
{
    if ((unsigned)kind >= KINDS)
        return 0;
    for (size_t i = 0; i < relay->bound_count[kind] && i < capacity; i++)
        out[i] = relay->bound[kind][i];
    return relay->bound_count[kind];
}

bool kith__relay_crew_check_alive(struct kith_relay *relay)
{
    bool is_alive = true;

    for (unsigned i = 0; i <= relay->worker_count; i++) {
        struct member *member = &relay->members[i];
        uint64_t turns = atomic_load_explicit(&member->turns, memory_order_relaxed);

        is_alive = is_alive && turns != member->turns_seen;
        member->turns_seen = turns;
        kith__rt_wake(member->rt);
    }
    return is_alive;
}

/* Datagram frames that came and did not go out again, for whatever reason. */
static uint64_t frames_dropped(const struct kith_relay_counters *sum)
{
    return kith__relay_counter(&sum->send_packets_dropped) + kith__relay_counter(&sum->drops_queue_full) +
           kith__relay_counter(&sum->drops_queue_share) + kith__relay_counter(&sum->drops_memory) +
           kith__relay_counter(&sum->drops_inbox_full) + kith__relay_counter(&sum->drops_empty) +
           kith__relay_counter(&sum->drops_oversize) + kith__relay_counter(&sum->drops_rate_limited) +
           kith__relay_counter(&sum->drops_closing) + kith__relay_counter(&sum->drops_disconnect);
}

void kith__relay_crew_stats(const struct kith_relay *relay, struct kith_relay_stats *out)
{
    const struct kith_relay_shared *shared = &relay->shared;
    struct kith_relay_counters sum;

    kith__relay_shared_count(shared, &sum);
    *out = (struct kith_relay_stats) {
        .workers = relay->worker_count,
        .uptime_ns = kith__relay_crew_now(relay) - shared->started_ns,
        .clients = KITH_RELAY_GAUGE(shared, clients),
        .endpoints = KITH_RELAY_GAUGE(shared, endpoints),
        .accepts = kith__relay_counter(&sum.accepts),
        .disconnects = kith__relay_counter(&sum.disconnects),
        .denied = kith__relay_counter(&sum.handshakes_denied),
        .frames_received = kith__relay_counter(&sum.send_packets_recv),
        .frames_sent = kith__relay_counter(&sum.send_packets_sent),
        .frames_dropped = frames_dropped(&sum),
        .bytes_received = kith__relay_counter(&sum.bytes_recv),
        .bytes_sent = kith__relay_counter(&sum.bytes_sent),
        .frames_per_s = kith__relay_counter(&shared->frames_per_s),
        .bits_per_s = kith__relay_counter(&shared->bits_per_s),
        .certificate_ends_s = kith__relay_counter(&shared->certs.certificate_ends_s),
        .news_dropped = kith__relay_counter(&shared->news_dropped),
    };
}

int kith__relay_crew_metrics(const struct kith_relay *relay, struct kith_buf *out)
{
    return kith__relay_metrics_write(&relay->shared, kith__relay_crew_now(relay), out);
}

int kith__relay_crew_authority(const struct kith_relay *relay, struct kith_buf *out)
{
    if (relay->authority.size == 0)
        return KITH_ERR_STATE;
    return kith__buf_append(out, relay->authority.ptr, relay->authority.size);
}

struct kith_relay_news_queue *kith__relay_crew_news(const struct kith_relay *relay)
{
    return relay->news;
}

const struct kith_mem *kith__relay_crew_mem(const struct kith_relay *relay)
{
    return relay->mem;
}

uint64_t kith__relay_crew_now(const struct kith_relay *relay)
{
    return kith__rt_now(relay->members[0].rt);
}
