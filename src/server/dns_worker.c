/* One worker of a lookup server: turns, queries that wait, what other threads want. */
#include "server/dns_worker.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "server/dns_parts.h"
#include "tls/stream.h"

static uint64_t now(const struct kith_dns_worker *worker)
{
    return kith__rt_now(worker->rt);
}

/* ---- Answers ---- */

static int get(void *ctx, const struct kith_id *id, struct kith_pkarr *out)
{
    struct kith_dns_worker *worker = ctx;
    int err = worker->shared->store->ops->get(worker->shared->store, id, out, NULL);

    if (err != KITH_ERR_NOT_FOUND || worker->options.ask.find == NULL)
        return err;
    if (worker->is_late)
        return KITH_ERR_TIMEOUT;
    return worker->options.ask.find(worker->options.ask.ctx, id, out);
}

void kith__dns_worker_answer(struct kith_dns_worker *worker, struct kith_slice query, bool is_udp,
                             struct kith_zone_answer *answer)
{
    struct kith_dns_counters *counters = worker->counters;

    kith__zone_answer(worker->zone, &worker->source, query, is_udp, worker->buffer,
                      is_udp ? (size_t)KITH_ZONE_UDP_SIZE : (size_t)KITH_DNS_MESSAGE_SIZE_MAX, answer);
    switch (answer->outcome) {
    case KITH_ZONE_FOUND:
        kith__dns_count(&counters->dns_lookup_success, 1);
        break;
    case KITH_ZONE_NOT_FOUND:
        kith__dns_count(&counters->dns_lookup_notfound, 1);
        break;
    case KITH_ZONE_FAILED:
        kith__dns_count(&counters->dns_lookup_error, 1);
        break;
    case KITH_ZONE_SILENT:
        kith__dns_count(&counters->dns_ignored, 1);
        break;
    default:
        break; /* counted when it is answered */
    }
}

/* ---- Waiting for the DHT ---- */

static void wait_free(struct kith_dns_wait *wait)
{
    kith__list_remove(&wait->node);
    wait->worker->wait_count--;
    kith__free(wait->worker->mem, wait);
}

static void wait_arm(struct kith_dns_worker *worker)
{
    struct kith_list *first = kith__list_first(&worker->waits);

    kith__rt_timer_set(&worker->timer,
                       first != NULL ? KITH_CONTAINER(first, struct kith_dns_wait, node)->until_ns : KITH_NEVER);
}

struct kith_dns_wait *kith__dns_wait_new(struct kith_dns_worker *worker, struct kith_slice query, void *owner)
{
    struct kith_dns_wait *wait = NULL;

    if (worker->wait_count < KITH_DNS_WAITS_MAX && query.size <= KITH_DNS_WAIT_QUERY_MAX)
        wait = kith__alloc_zero(worker->mem, sizeof *wait);
    if (wait == NULL) {
        kith__dns_count(&worker->counters->dht_refused, 1);
        return NULL;
    }
    wait->worker = worker;
    wait->owner = owner;
    wait->until_ns = now(worker) + KITH_DNS_WAIT_NS;
    wait->query_size = query.size;
    memcpy(wait->query, query.ptr, query.size);
    kith__list_push_back(&worker->waits, &wait->node);
    worker->wait_count++;
    wait_arm(worker);
    return wait;
}

void kith__dns_wait_forget(struct kith_dns_worker *worker, const void *owner)
{
    KITH_LIST_EACH_SAFE(node, after, &worker->waits)
    {
        struct kith_dns_wait *wait = KITH_CONTAINER(node, struct kith_dns_wait, node);

        if (wait->owner == owner)
            wait_free(wait);
    }
}

/* Answers it if that is possible by now. A reply may end its connection, and with it other waits: so the list is begun anew. */
static bool wait_try(struct kith_dns_worker *worker, struct kith_dns_wait *wait)
{
    struct kith_zone_answer answer;

    kith__dns_worker_answer(worker, (struct kith_slice) { wait->query, wait->query_size }, wait->is_udp, &answer);
    if (answer.outcome == KITH_ZONE_WAIT)
        return false;
    kith__list_remove(&wait->node);
    kith__list_init(&wait->node); /* whoever forgets the owner does not find it any more */
    worker->wait_count--;
    wait->reply(wait, worker->buffer, answer.size);
    kith__free(worker->mem, wait);
    return true;
}

static void wait_try_all(struct kith_dns_worker *worker)
{
    struct kith_list *node;

    worker->round++;
    for (node = worker->waits.next; node != &worker->waits;) {
        struct kith_dns_wait *wait = KITH_CONTAINER(node, struct kith_dns_wait, node);
        bool is_tried = wait->round == worker->round;

        wait->round = worker->round;
        node = !is_tried && wait_try(worker, wait) ? worker->waits.next : node->next;
    }
    wait_arm(worker);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_dns_worker *worker = ctx;
    struct kith_list *first;

    while ((first = kith__list_first(&worker->waits)) != NULL) {
        struct kith_dns_wait *wait = KITH_CONTAINER(first, struct kith_dns_wait, node);

        if (wait->until_ns > now_ns)
            break;
        kith__dns_count(&worker->counters->dht_timeouts, 1);
        worker->is_late = true;
        KITH_ASSERT(wait_try(worker, wait));
        worker->is_late = false;
    }
    wait_arm(worker);
}

/* ---- Turns ---- */

static void take_rules(struct kith_dns_worker *worker)
{
    if (!kith__dns_shared_refresh(worker->shared, &worker->generation, &worker->zone, &worker->rules))
        return;
    worker->source.ttl_max_s = worker->rules->ttl_max_s;
    if (worker->tcp != NULL)
        kith__dns_tcp_set_rules(worker->tcp);
    if (worker->httpd != NULL)
        kith__httpd_set_limits(worker->httpd, worker->rules->http_max, worker->rules->http_ns);
}

static void take_wishes(struct kith_dns_worker *worker)
{
    struct kith_tls_stream_context *tls;
    bool has_tls, wants_drain;

    kith__sync_lock(worker->shared->sync, worker->lock);
    tls = worker->new_tls;
    has_tls = worker->has_new_tls;
    wants_drain = worker->wants_drain && !worker->is_draining;
    worker->new_tls = NULL;
    worker->has_new_tls = false;
    kith__sync_unlock(worker->shared->sync, worker->lock);
    if (has_tls) {
        kith__httpd_set_tls(worker->httpd, tls);
        kith__tls_stream_context_release(tls);
    }
    if (!wants_drain)
        return;
    worker->is_draining = true;
    kith__httpd_drain(worker->httpd);
    kith__dns_tcp_drain(worker->tcp);
    while (worker->socket_count > 0) {
        struct kith_dns_socket *socket = &worker->sockets[--worker->socket_count];

        kith__dns_wait_forget(worker, socket);
        kith__rt_udp_close(socket->udp);
    }
}

static void take_done(struct kith_dns_worker *worker)
{
    struct kith_dns_put *put;

    while ((put = kith__dns_scribe_done(worker->options.scribe, worker->options.index)) != NULL) {
        worker->put_count--;
        kith__dns_pkarr_done(worker, put);
    }
}

static void on_wake(void *ctx)
{
    struct kith_dns_worker *worker = ctx;

    take_rules(worker);
    take_wishes(worker);
    take_done(worker);
    wait_try_all(worker);
}

/* What only the listeners know. */
static void note_refused(struct kith_dns_worker *worker)
{
    struct kith_rt_listener_stats stats = kith__httpd_listener_stats(worker->httpd);

    atomic_store_explicit(&worker->counters->http_refused_no_handles, stats.closed_no_handles, memory_order_relaxed);
    atomic_store_explicit(&worker->counters->http_refused_no_memory, stats.closed_no_memory, memory_order_relaxed);
}

static void on_turn_end(void *ctx)
{
    struct kith_dns_worker *worker = ctx;

    note_refused(worker);
    if (!worker->options.runs_scribe) {
        if (worker->has_put)
            kith__dns_scribe_wake(worker->options.scribe);
        worker->has_put = false;
        return;
    }
    while (kith__dns_scribe_run(worker->options.scribe, now(worker), kith__rt_wall_us(worker->rt)))
        ;
    take_done(worker);
}

void kith__dns_worker_set_tls(struct kith_dns_worker *worker, struct kith_tls_stream_context *tls)
{
    struct kith_tls_stream_context *old;

    kith__tls_stream_context_retain(tls);
    kith__sync_lock(worker->shared->sync, worker->lock);
    old = worker->new_tls;
    worker->new_tls = tls;
    worker->has_new_tls = true;
    kith__sync_unlock(worker->shared->sync, worker->lock);
    kith__tls_stream_context_release(old);
    kith__rt_wake(worker->rt);
}

void kith__dns_worker_drain(struct kith_dns_worker *worker)
{
    kith__sync_lock(worker->shared->sync, worker->lock);
    worker->wants_drain = true;
    kith__sync_unlock(worker->shared->sync, worker->lock);
    kith__rt_wake(worker->rt);
}

bool kith__dns_worker_is_drained(const struct kith_dns_worker *worker)
{
    return worker->is_draining && worker->put_count == 0 && kith__httpd_is_idle(worker->httpd) &&
           kith__dns_tcp_count(worker->tcp) == 0;
}

/* ---- Life ---- */

static int make_parts(struct kith_dns_worker *worker)
{
    struct kith_relay_admission_limits limits = { .connections_per_ip_max = KITH_DNS_HTTP_PER_IP_MAX };
    struct kith_httpd_options http = { .rt = worker->rt,
                                       .mem = worker->mem,
                                       .counters = { .accepted = &worker->counters->http_connections,
                                                     .closed = &worker->counters->http_connections_closed,
                                                     .errored = &worker->counters->http_connections_errored,
                                                     .refused_total = &worker->counters->http_refused,
                                                     .refused_per_ip = &worker->counters->http_refused_per_ip },
                                       .connections_max = worker->rules->http_max,
                                       .limit_ns = worker->rules->http_ns,
                                       .limits_each = true,
                                       .body_max = KITH_DNS_HTTP_BODY_MAX,
                                       .on_request = kith__dns_http_on_request,
                                       .on_gone = kith__dns_http_on_gone,
                                       .ctx = worker };
    int err;

    if ((worker->buffer = kith__alloc(worker->mem, KITH_DNS_MESSAGE_SIZE_MAX)) == NULL)
        return KITH_ERR_NOMEM;
    if ((err = kith__relay_admission_new(worker->mem, NULL, &limits, kith__random_u64(kith__rt_random(worker->rt)),
                                         &worker->admission)) != 0)
        return err;
    http.admission = worker->admission;
    if ((err = kith__rt_timer_init(worker->rt, &worker->timer, on_timer, worker)) != 0 ||
        (err = kith__dns_tcp_new(worker, &worker->tcp)) != 0)
        return err;
    return kith__httpd_new(&http, &worker->httpd);
}

int kith__dns_worker_new(const struct kith_dns_worker_options *options, struct kith_dns_worker **out)
{
    struct kith_dns_worker *worker = kith__alloc_zero(options->mem, sizeof *worker);
    struct kith_rt_hooks hooks = { .on_wake = on_wake, .on_turn_end = on_turn_end, .ctx = worker };
    int err;

    if (worker == NULL)
        return KITH_ERR_NOMEM;
    worker->options = *options;
    worker->mem = options->mem;
    worker->rt = options->rt;
    worker->shared = options->shared;
    worker->counters = &options->shared->counters[options->index];
    worker->source = (struct kith_zone_source) { get, worker, 0 };
    kith__list_init(&worker->waits);
    take_rules(worker);
    if ((err = kith__sync_lock_new(worker->shared->sync, &worker->lock)) != 0 || (err = make_parts(worker)) != 0) {
        kith__dns_worker_free(worker);
        return err;
    }
    kith__rt_set_hooks(worker->rt, &hooks);
    *out = worker;
    return 0;
}

void kith__dns_worker_free(struct kith_dns_worker *worker)
{
    static const struct kith_rt_hooks none;

    if (worker == NULL)
        return;
    kith__rt_set_hooks(worker->rt, &none);
    while (worker->socket_count > 0)
        kith__rt_udp_close(worker->sockets[--worker->socket_count].udp);
    kith__dns_tcp_free(worker->tcp);
    kith__httpd_free(worker->httpd);
    KITH_LIST_EACH_SAFE(node, after, &worker->waits)
    wait_free(KITH_CONTAINER(node, struct kith_dns_wait, node));
    kith__relay_admission_free(worker->admission);
    kith__tls_stream_context_release(worker->new_tls);
    kith__rt_timer_dispose(&worker->timer);
    kith__sync_lock_free(worker->shared->sync, worker->lock);
    kith__zone_release(worker->zone);
    kith__dns_rules_release(worker->rules);
    kith__free(worker->mem, worker->buffer);
    kith__free(worker->mem, worker);
}

void kith__dns_worker_settle(struct kith_dns_worker *worker)
{
    take_wishes(worker);
}

int kith__dns_worker_listen(struct kith_dns_worker *worker, enum kith_dns_door door, const struct kith_sockaddr *at,
                            bool is_shared, struct kith_sockaddr *bound)
{
    struct kith_httpd_listen listen = { .at = *at,
                                        .tag = (int)door,
                                        .is_tls = door == KITH_DNS_DOOR_HTTPS,
                                        .is_shared = is_shared,
                                        .has_keep_alive = true };

    return kith__httpd_listen(worker->httpd, &listen, bound);
}

int kith__dns_worker_serve(struct kith_dns_worker *worker, const struct kith_sockaddr *at, bool is_shared,
                           struct kith_sockaddr *bound)
{
    int err;

    if (worker->socket_count == KITH_DNS_SOCKETS_MAX)
        return KITH_ERR_LIMIT;
    /* TCP first: a port that it picks is more rarely taken for UDP than the other way round. */
    if ((err = kith__dns_tcp_listen(worker->tcp, at, is_shared, bound)) != 0)
        return err;
    return kith__dns_udp_open(worker, bound, is_shared, bound);
}
