/* A whole lookup server on threads. */
#include "server/dns_crew.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "rt/uv/uv.h"
#include "server/bind.h"
#include "server/certs.h"
#include "server/dns_house.h"
#include "server/dns_setup.h"
#include "server/dns_worker.h"
#include "server/locks.h"

enum { KINDS = KITH_DNS_SERVER_ADDRESS_METRICS + 1 };
#define DRAIN_LOOK_NS (20 * KITH_NS_PER_MS)

/* One thread with an rt: a worker, or the house. */
struct member {
    struct kith_dns_server *server;
    struct kith_rt *rt;
    struct kith_rt_thread *thread;
    struct kith_dns_worker *worker; /* NULL: the house */
    _Atomic bool must_stop, is_drained;
    _Atomic uint64_t turns;
    uint64_t turns_seen; /* by the last kith_dns_server_check_alive */
};

struct kith_dns_server {
    const struct kith_mem *mem;
    struct kith_log log;
    void (*log_user)(void *ctx, int level, const char *part, const char *text);
    void *log_user_ctx;
    struct kith_sync sync;
    struct kith_dns_shared shared;
    struct kith_rt_file *store_lock;
    struct member members[KITH_DNS_WORKERS_MAX + 1]; /* workers, then the house */
    unsigned worker_count;
    struct kith_dns_house *house;
    struct kith_dns_scribe *scribe;
    struct kith_rt_thread *scribe_thread;
    struct kith_rt_lock *lock; /* of what follows */
    struct kith_rt_condition *changed;
    bool scribe_is_wanted, scribe_must_stop;
    _Atomic uint64_t scribe_turns;
    uint64_t scribe_turns_seen;
    struct kith_sockaddr bound[KINDS][KITH_DNS_SERVER_BINDS_MAX];
    size_t bound_count[KINDS];
    struct kith_buf authority; /* of SELF: PEM */
};

_Static_assert((int)KITH_DNS_SERVER_BINDS_MAX == (int)KITH_SERVER_BINDS_MAX, "one limit in two headers");

static void write_log(void *ctx, enum kith_log_level level, const char *part, const char *text)
{
    struct kith_dns_server *server = ctx;

    server->log_user(server->log_user_ctx, (int)level, part, text);
}

static struct member *house_of(struct kith_dns_server *server)
{
    return &server->members[server->worker_count];
}

static uint64_t now(const struct kith_dns_server *server)
{
    return kith__rt_now(server->members[0].rt);
}

/* ---- Who wakes whom ---- */

static void wake_scribe(void *ctx)
{
    struct kith_dns_server *server = ctx;

    kith__rt_lock_acquire(server->lock);
    server->scribe_is_wanted = true;
    kith__rt_condition_broadcast(server->changed);
    kith__rt_lock_release(server->lock);
}

static void wake_worker(void *ctx, unsigned worker)
{
    struct kith_dns_server *server = ctx;

    kith__rt_wake(server->members[worker].rt);
}

static void wake_workers(void *ctx)
{
    struct kith_dns_server *server = ctx;

    for (unsigned i = 0; i < server->worker_count; i++)
        kith__rt_wake(server->members[i].rt);
}

static void on_certificate(void *ctx, struct kith_tls_stream_context *context)
{
    struct kith_dns_server *server = ctx;

    for (unsigned i = 0; i < server->worker_count; i++)
        kith__dns_worker_set_tls(server->members[i].worker, context);
}

/* ---- Threads ---- */

static void run(void *ctx)
{
    struct member *member = ctx;

    while (!atomic_load(&member->must_stop)) {
        kith__rt_process(member->rt);
        atomic_fetch_add_explicit(&member->turns, 1, memory_order_relaxed);
        if (member->worker != NULL)
            atomic_store(&member->is_drained, kith__dns_worker_is_drained(member->worker));
        /* A turn may have used up the wake of stop_threads: asked again after it, the wait cannot miss the stop. */
        if (!atomic_load(&member->must_stop))
            kith__rt_wait(member->rt, kith__rt_deadline(member->rt));
    }
}

/* With the lock: sleeps until there is something to write, or to let go. */
static void scribe_wait(struct kith_dns_server *server)
{
    uint64_t until_ns = kith__dns_scribe_deadline(server->scribe);

    while (!server->scribe_must_stop && !server->scribe_is_wanted && now(server) < until_ns)
        if (kith__rt_condition_wait(server->changed, server->lock, until_ns) != 0)
            break;
    server->scribe_is_wanted = false;
}

static void run_scribe(void *ctx)
{
    struct kith_dns_server *server = ctx;
    bool must_stop = false;

    while (!must_stop) {
        kith__rt_lock_acquire(server->lock);
        scribe_wait(server);
        must_stop = server->scribe_must_stop;
        kith__rt_lock_release(server->lock);
        while (kith__dns_scribe_run(server->scribe, now(server), kith__rt_wall_us(server->members[0].rt)))
            ;
        atomic_fetch_add_explicit(&server->scribe_turns, 1, memory_order_relaxed);
    }
}

static void stop_threads(struct kith_dns_server *server)
{
    for (unsigned i = 0; i <= server->worker_count; i++) {
        if (server->members[i].thread == NULL)
            continue;
        atomic_store(&server->members[i].must_stop, true);
        kith__rt_wake(server->members[i].rt);
    }
    if (server->scribe_thread != NULL) {
        kith__rt_lock_acquire(server->lock);
        server->scribe_must_stop = true;
        kith__rt_condition_broadcast(server->changed);
        kith__rt_lock_release(server->lock);
    }
    for (unsigned i = 0; i <= server->worker_count; i++) {
        kith__rt_thread_join(server->members[i].thread);
        server->members[i].thread = NULL;
    }
    kith__rt_thread_join(server->scribe_thread);
    server->scribe_thread = NULL;
}

static int start_threads(struct kith_dns_server *server, struct kith_server_why *why)
{
    int err = kith__rt_thread_start(server->mem, run_scribe, server, &server->scribe_thread);

    for (unsigned i = 0; err == 0 && i <= server->worker_count; i++)
        err = kith__rt_thread_start(server->mem, run, &server->members[i], &server->members[i].thread);
    return err == 0 ? 0 : kith__server_why(why, err, "a thread cannot be started: %s", kith_strerror(err));
}

/* ---- Making and freeing ---- */

static void crew_free(struct kith_dns_server *server)
{
    stop_threads(server);
    for (unsigned i = 0; i < server->worker_count; i++)
        kith__dns_worker_free(server->members[i].worker);
    kith__dns_house_free(server->house);
    kith__dns_scribe_free(server->scribe);
    kith__dns_shared_dispose(&server->shared);
    kith__rt_file_close(server->store_lock);
    for (unsigned i = 0; i <= server->worker_count; i++)
        kith__rt_free(server->members[i].rt);
    kith__buf_dispose(&server->authority);
    kith__rt_condition_free(server->changed);
    kith__rt_lock_free(server->lock);
    kith__free(server->mem, server);
}

static struct kith_dns_server *crew_alloc(const struct kith_dns_server_options *options)
{
    const struct kith_mem *mem = options->mem != NULL ? options->mem : kith_mem_default();
    struct kith_dns_server *server = kith__alloc_zero(mem, sizeof *server);

    if (server == NULL)
        return NULL;
    server->mem = mem;
    kith__buf_init(&server->authority, mem);
    server->log_user = options->log;
    server->log_user_ctx = options->log_ctx;
    server->log = (struct kith_log) { options->log != NULL ? write_log : NULL, server,
                                      (enum kith_log_level)options->log_level };
    server->sync = kith__server_locks(mem);
    server->worker_count = options->worker_count != 0 ? options->worker_count : kith__rt_core_count();
    if (server->worker_count > KITH_DNS_WORKERS_MAX)
        server->worker_count = KITH_DNS_WORKERS_MAX;
    return server;
}

static int make_system(struct kith_dns_server *server, struct kith_server_why *why)
{
    int err;

    if ((err = kith__rt_lock_new(server->mem, &server->lock)) == 0)
        err = kith__rt_condition_new(server->mem, &server->changed);
    for (unsigned i = 0; err == 0 && i <= server->worker_count; i++) {
        server->members[i].server = server;
        err = kith__rt_uv_new(server->mem, &server->log, &server->members[i].rt);
    }
    return err == 0 ? 0 : kith__server_why(why, err, "the server cannot be made: %s", kith_strerror(err));
}

/* Origins, limits, the store, and what holds them. */
static int make_shared(struct kith_dns_server *server, const struct kith_dns_server_options *options,
                       const char *version, struct kith_server_why *why)
{
    struct kith_rt *rt = server->members[0].rt;
    struct kith_dns_rules *rules = NULL;
    struct kith_store *store = NULL;
    struct kith_zone *zone = NULL;
    int err;

    if ((err = kith__dns_zone_make(server->mem, options->origins, options->origin_count, &zone, why)) != 0 ||
        (err = kith__dns_rules_new(server->mem, options->limits, kith__random_u64(kith__rt_random(rt)), &rules, why)) !=
            0 ||
        (err = kith__dns_store_make(rt, server->mem, &server->sync, options, rules->packets_max, &store,
                                    &server->store_lock, why)) != 0) {
        kith__zone_release(zone);
        kith__dns_rules_release(rules);
        return err;
    }
    err = kith__dns_shared_init(&server->shared, server->mem, &server->sync, server->worker_count, store, zone, rules);
    if (err != 0)
        return kith__server_why(why, err, "the server cannot be made: %s", kith_strerror(err));
    server->shared.version = version;
    server->shared.started_ns = now(server);
    return 0;
}

static int make_workers(struct kith_dns_server *server, struct kith_server_why *why)
{
    struct kith_dns_finder *finder = kith__dns_house_finder(server->house);
    int err = 0;

    for (unsigned i = 0; err == 0 && i < server->worker_count; i++) {
        struct kith_dns_worker_options options = { .rt = server->members[i].rt,
                                                   .mem = server->mem,
                                                   .shared = &server->shared,
                                                   .scribe = server->scribe,
                                                   .index = i };

        if (finder != NULL)
            options.ask = (struct kith_dns_ask) { kith__dns_finder_find, finder };
        err = kith__dns_worker_new(&options, &server->members[i].worker);
    }
    return err == 0 ? 0 : kith__server_why(why, err, "the server cannot be made: %s", kith_strerror(err));
}

static int make_members(struct kith_dns_server *server, const struct kith_dns_server_options *options,
                        struct kith_server_why *why)
{
    struct kith_dns_scribe_options scribe = { .shared = &server->shared,
                                              .storage = options->storage,
                                              .wake_scribe = wake_scribe,
                                              .wake_worker = wake_worker,
                                              .log = &server->log,
                                              .ctx = server };
    struct kith_dns_house_options house = { .rt = house_of(server)->rt,
                                            .shared = &server->shared,
                                            .server = options,
                                            .on_certificate = on_certificate,
                                            .wake_workers = wake_workers,
                                            .ctx = server };
    int err;

    if ((err = kith__dns_scribe_new(&scribe, &server->scribe)) != 0)
        return kith__server_why(why, err, "the server cannot be made: %s", kith_strerror(err));
    if ((err = kith__dns_house_new(&house, &server->house, why)) != 0 || (err = make_workers(server, why)) != 0)
        return err;
    /* After the workers, who are told of the first certificate. */
    err = kith__dns_house_certify(server->house, options, why);
    for (unsigned i = 0; err == 0 && i < server->worker_count; i++)
        kith__dns_worker_settle(server->members[i].worker);
    return err;
}

/* ---- Listening ---- */

static void note_bound(struct kith_dns_server *server, enum kith_dns_server_address kind,
                       const struct kith_sockaddr *bound)
{
    server->bound[kind][server->bound_count[kind]++] = *bound;
}

static int listen_http(struct kith_dns_server *server, enum kith_dns_door door, const struct kith_sockaddr *binds,
                       size_t count, struct kith_server_why *why)
{
    bool is_shared = server->worker_count > 1;

    for (size_t i = 0; i < count; i++) {
        struct kith_sockaddr at = binds[i], bound = binds[i];
        int err = is_shared ? kith__server_probe(server->members[0].rt, &at) : 0;

        for (unsigned w = 0; err == 0 && w < server->worker_count; w++)
            err = kith__dns_worker_listen(server->members[w].worker, door, &at, is_shared, &bound);
        if (err != 0)
            return kith__server_fail_bind(why, err, door == KITH_DNS_DOOR_HTTPS ? "https" : "http", &binds[i]);
        note_bound(server, door == KITH_DNS_DOOR_HTTPS ? KITH_DNS_SERVER_ADDRESS_HTTPS : KITH_DNS_SERVER_ADDRESS_HTTP,
                   &bound);
    }
    return 0;
}

static void on_probe(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    (void)ctx;
    (void)batch;
    (void)count;
    (void)now_ns;
}

/* Is the UDP port free too, that TCP has told? */
static int probe_udp(struct kith_rt *rt, const struct kith_sockaddr *at)
{
    struct kith_rt_udp_options options = { .local = *at };
    struct kith_rt_udp_events events = { .on_receive = on_probe };
    struct kith_rt_udp *udp;
    int err = kith__rt_udp_open(rt, &options, &events, &udp);

    if (err == 0)
        kith__rt_udp_close(udp);
    return err;
}

static int serve_dns(struct kith_dns_server *server, const struct kith_dns_server_options *options,
                     struct kith_server_why *why)
{
    bool is_shared = server->worker_count > 1;
    struct kith_rt *rt = server->members[0].rt;

    for (size_t i = 0; i < options->dns_count; i++) {
        struct kith_sockaddr at = options->dns[i], bound = at;
        int err = kith__server_probe(rt, &at);

        if (err == 0)
            err = probe_udp(rt, &at);
        for (unsigned w = 0; err == 0 && w < server->worker_count; w++)
            err = kith__dns_worker_serve(server->members[w].worker, &at, is_shared, &bound);
        if (err != 0)
            return kith__server_fail_bind(why, err, "dns", &options->dns[i]);
        note_bound(server, KITH_DNS_SERVER_ADDRESS_DNS, &bound);
    }
    return 0;
}

static int listen_everywhere(struct kith_dns_server *server, const struct kith_dns_server_options *options,
                             struct kith_server_why *why)
{
    struct kith_sockaddr bound;
    int err;

    if ((err = serve_dns(server, options, why)) != 0 ||
        (err = listen_http(server, KITH_DNS_DOOR_HTTPS, options->https, options->https_count, why)) != 0 ||
        (err = listen_http(server, KITH_DNS_DOOR_HTTP, options->http, options->http_count, why)) != 0)
        return err;
    for (size_t i = 0; i < options->metrics_count; i++) {
        if ((err = kith__dns_house_listen(server->house, &options->metrics[i], &bound)) != 0)
            return kith__server_fail_bind(why, err, "metrics", &options->metrics[i]);
        note_bound(server, KITH_DNS_SERVER_ADDRESS_METRICS, &bound);
    }
    return 0;
}

/* ---- Start and stop ---- */

int kith__dns_crew_new(const struct kith_dns_server_options *options, const char *version, struct kith_dns_server **out,
                       struct kith_server_why *why)
{
    struct kith_dns_server *server;
    int err;

    if ((err = kith__dns_options_check(options, why)) != 0)
        return err;
    if ((server = crew_alloc(options)) == NULL)
        return kith__server_why(why, KITH_ERR_NOMEM, "no memory for a lookup server");
    if ((err = make_system(server, why)) != 0 || (err = make_shared(server, options, version, why)) != 0 ||
        (err = make_members(server, options, why)) != 0 || (err = listen_everywhere(server, options, why)) != 0)
        goto fail;
    if (options->tls != NULL && options->tls->source == KITH_CERTIFICATE_SELF &&
        (err = kith__certs_authority(server->members[0].rt, server->mem, options->tls->directory, &server->authority,
                                     why)) != 0)
        goto fail;
    if ((err = start_threads(server, why)) != 0)
        goto fail;
    *out = server;
    return 0;
fail:
    crew_free(server);
    return err;
}

int kith__dns_crew_check(const struct kith_dns_server_options *options, struct kith_server_why *why)
{
    const struct kith_mem *mem = options->mem != NULL ? options->mem : kith_mem_default();
    struct kith_dns_rules *rules;
    struct kith_zone *zone;
    struct kith_rt *rt;
    int err;

    if ((err = kith__dns_options_check(options, why)) != 0 ||
        (err = kith__dns_zone_make(mem, options->origins, options->origin_count, &zone, why)) != 0)
        return err;
    kith__zone_release(zone);
    if ((err = kith__dns_rules_new(mem, options->limits, 0, &rules, why)) != 0)
        return err;
    kith__dns_rules_release(rules);
    if ((err = kith__rt_uv_new(mem, NULL, &rt)) != 0)
        return kith__server_why(why, err, "files cannot be read: %s", kith_strerror(err));
    err = kith__certs_check(rt, mem, options->tls, why);
    kith__rt_free(rt);
    return err;
}

static bool all_drained(struct kith_dns_server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        if (!atomic_load(&server->members[i].is_drained))
            return false;
    return true;
}

/* Waits until nothing is under way. A worker's turn is what shows it, so they are woken while we wait. */
static int drain(struct kith_dns_server *server, uint64_t limit_ns)
{
    uint64_t start = now(server), until = limit_ns >= KITH_NEVER - start ? KITH_NEVER : start + limit_ns;

    for (unsigned i = 0; i < server->worker_count; i++)
        kith__dns_worker_drain(server->members[i].worker);
    while (!all_drained(server)) {
        uint64_t at = now(server);

        if (at >= until)
            return KITH_ERR_TIMEOUT;
        kith__rt_lock_acquire(server->lock);
        (void)kith__rt_condition_wait(server->changed, server->lock, KITH_MIN(until, at + DRAIN_LOOK_NS));
        kith__rt_lock_release(server->lock);
        wake_workers(server);
    }
    return 0;
}

int kith__dns_crew_stop(struct kith_dns_server *server, uint64_t limit_ns)
{
    int err = limit_ns != 0 ? drain(server, limit_ns) : 0;

    crew_free(server);
    return err;
}

/* ---- While it runs ---- */

int kith__dns_crew_set_origins(struct kith_dns_server *server, const struct kith_dns_origin *origins, size_t count,
                               struct kith_server_why *why)
{
    struct kith_zone *zone;
    int err = kith__dns_zone_make(server->mem, origins, count, &zone, why);

    if (err != 0)
        return err;
    kith__dns_shared_set(&server->shared, zone, NULL);
    wake_workers(server);
    return 0;
}

int kith__dns_crew_set_limits(struct kith_dns_server *server, const struct kith_dns_limits *limits,
                              struct kith_server_why *why)
{
    uint64_t seed = kith__random_u64(kith__rt_system_random());
    struct kith_dns_rules *rules;
    int err = kith__dns_rules_new(server->mem, limits, seed, &rules, why);

    if (err != 0)
        return err;
    kith__dns_shared_set(&server->shared, NULL, rules);
    wake_workers(server);
    return 0;
}

void kith__dns_crew_reload(struct kith_dns_server *server)
{
    kith__dns_house_reload(server->house);
}

size_t kith__dns_crew_addresses(const struct kith_dns_server *server, enum kith_dns_server_address kind,
                                struct kith_sockaddr *out, size_t capacity)
{
    if ((unsigned)kind >= KINDS)
        return 0;
    for (size_t i = 0; i < server->bound_count[kind] && i < capacity; i++)
        out[i] = server->bound[kind][i];
    return server->bound_count[kind];
}

bool kith__dns_crew_check_alive(struct kith_dns_server *server)
{
    uint64_t scribe_turns = atomic_load_explicit(&server->scribe_turns, memory_order_relaxed);
    bool is_alive = scribe_turns != server->scribe_turns_seen;

    server->scribe_turns_seen = scribe_turns;
    wake_scribe(server);
    for (unsigned i = 0; i <= server->worker_count; i++) {
        struct member *member = &server->members[i];
        uint64_t turns = atomic_load_explicit(&member->turns, memory_order_relaxed);

        is_alive = is_alive && turns != member->turns_seen;
        member->turns_seen = turns;
        kith__rt_wake(member->rt);
    }
    return is_alive;
}

void kith__dns_crew_stats(const struct kith_dns_server *server, struct kith_dns_server_stats *out)
{
    const struct kith_dns_shared *shared = &server->shared;
    struct kith_dns_counters sum;

    kith__dns_shared_count(shared, &sum);
    *out = (struct kith_dns_server_stats) {
        .workers = server->worker_count,
        .uptime_ns = now(server) - shared->started_ns,
        .packets = kith__dns_counter(&shared->packets),
        .store_bytes = kith__dns_counter(&shared->store_bytes),
        .queries = kith__dns_counter(&sum.dns_requests),
        .queries_udp = kith__dns_counter(&sum.dns_requests_udp),
        .queries_tcp = kith__dns_counter(&sum.dns_requests_tcp),
        .queries_https = kith__dns_counter(&sum.dns_requests_https),
        .found = kith__dns_counter(&sum.dns_lookup_success),
        .not_found = kith__dns_counter(&sum.dns_lookup_notfound),
        .failed = kith__dns_counter(&sum.dns_lookup_error),
        .http_requests = kith__dns_counter(&sum.http_requests),
        .puts_stored = kith__dns_counter(&sum.pkarr_publish_update),
        .puts_same = kith__dns_counter(&sum.puts_same),
        .puts_refused = kith__dns_counter(&sum.puts_older) + kith__dns_counter(&sum.puts_invalid) +
                        kith__dns_counter(&sum.puts_future) + kith__dns_counter(&sum.puts_limited) +
                        kith__dns_counter(&sum.puts_keys_limited) + kith__dns_counter(&sum.puts_full) +
                        kith__dns_counter(&sum.puts_failed) + kith__dns_counter(&sum.puts_overload),
        .responses_limited = kith__dns_counter(&sum.dns_limited_dropped) +
                             kith__dns_counter(&sum.dns_limited_truncated),
        .packets_expired = kith__dns_counter(&sum.store_packets_expired),
        .certificate_ends_s = kith__dns_counter(&shared->certs.certificate_ends_s),
    };
}

int kith__dns_crew_metrics(const struct kith_dns_server *server, struct kith_buf *out)
{
    return kith__dns_metrics_write(&server->shared, now(server), out);
}

int kith__dns_crew_authority(const struct kith_dns_server *server, struct kith_buf *out)
{
    if (server->authority.size == 0)
        return KITH_ERR_STATE;
    return kith__buf_append(out, server->authority.ptr, server->authority.size);
}

const struct kith_mem *kith__dns_crew_mem(const struct kith_dns_server *server)
{
    return server->mem;
}
