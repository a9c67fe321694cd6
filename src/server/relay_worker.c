/* One worker of a relay: turns, orders, listeners. */
#include "base/assert.h"
#include "base/mem.h"
#include "server/relay_worker_parts.h"
#include "tls/stream.h"

static uint64_t now(const struct kith_relay_worker *worker)
{
    return kith__rt_now(worker->rt);
}

/* ---- Pages ---- */

static void gather_facts(struct kith_relay_worker *worker, struct kith_relay_facts *facts)
{
    struct kith_relay_shared *shared = worker->options.shared;

    *facts = (struct kith_relay_facts) {
        .version = shared->version,
        .access = kith__relay_shared_access(shared),
        .uptime_s = (now(worker) - shared->started_ns) / KITH_NS_PER_S,
        .clients = KITH_RELAY_GAUGE(shared, clients),
        .endpoints = KITH_RELAY_GAUGE(shared, endpoints),
        .frames_per_s = kith__relay_counter(&shared->frames_per_s),
        .bits_per_s = kith__relay_counter(&shared->bits_per_s),
        .has_tls = shared->has_tls,
        .qad_port = shared->qad_port,
    };
}

/* http-01 is asked on port 80: with TLS that is the captive portal's helper. */
static int make_acme(struct kith_relay_worker *worker, struct kith_slice token, struct kith_relay_page *page)
{
    int err;

    kith__relay_page_init(page, worker->mem, KITH_RELAY_DOOR_CAPTIVE, 200);
    kith__relay_page_header(page, "content-type", "application/octet-stream");
    err = kith__http01_find(&worker->options.shared->certs, token, &page->body);
    if (err == KITH_ERR_NOT_FOUND) {
        page->status = 404;
        err = 0;
    }
    return err;
}

static void on_gone(void *ctx, void *user)
{
    (void)ctx;
    kith__relay_pass_on_gone(user);
}

static void on_request(void *ctx, struct kith_httpd_conn *conn, const struct kith_http_head *head, int tag)
{
    struct kith_relay_worker *worker = ctx;
    enum kith_relay_door door = (enum kith_relay_door)tag;
    struct kith_slice token = kith__relay_page_acme_token(head);
    struct kith_relay_facts facts;
    struct kith_relay_page page;
    struct kith_httpd_reply reply = { 0 };
    int err;

    if (door != KITH_RELAY_DOOR_CAPTIVE && kith__relay_page_is(head, "/relay")) {
        kith__relay_conn_upgrade(worker, conn, head);
        return;
    }
    if (door != KITH_RELAY_DOOR_CAPTIVE && kith__relay_pass_wants(worker->pass, head)) {
        kith__relay_pass_request(worker->pass, conn, head);
        return;
    }
    if (token.size != 0 && door != KITH_RELAY_DOOR_TLS) {
        err = make_acme(worker, token, &page);
    } else {
        gather_facts(worker, &facts);
        err = kith__relay_page_make(head, door, &facts, worker->mem, &page);
    }
    if (err != 0)
        return; /* the connection is closed */
    reply.status = page.status;
    reply.headers = page.headers;
    reply.header_count = page.header_count;
    reply.body = kith__buf_slice(&page.body);
    if (kith__httpd_reply(conn, &reply) != 0)
        kith__log(&worker->rt->log, KITH_LOG_WARN, "relay", "no memory for an answer");
    kith__relay_page_dispose(&page);
}

/* ---- Events of the core ---- */

static void on_answer(void *ctx, uint64_t handle, bool is_allowed)
{
    struct kith_relay_worker *worker = ctx;
    struct kith_relay_session *session = kith__relay_server_find(worker->server, handle);

    if (session == NULL)
        return;
    if (is_allowed)
        kith__relay_session_grant(session, now(worker));
    else
        kith__relay_session_deny(session, NULL, now(worker));
}

static bool tell(struct kith_relay_worker *worker, const struct kith_relay_event *event)
{
    struct kith_relay_told told = { .kind = event->kind,
                                    .handle = event->handle,
                                    .worker = worker->options.routes->worker,
                                    .id = event->id,
                                    .remote = kith__relay_session_info(event->session).remote };

    if (worker->options.tell == NULL)
        return false;
    return worker->options.tell(worker->options.ctx, &told);
}

void kith__relay_worker_on_end(struct kith_relay_worker *worker, const struct kith_relay_session *session,
                               enum kith_relay_end end, const char *why)
{
    static const struct kith_id none;
    struct kith_relay_session_info info = kith__relay_session_info(session);
    struct kith_relay_told told = { .kind = KITH_RELAY_EVENT_ENDED,
                                    .handle = kith__relay_session_handle(session),
                                    .worker = worker->options.routes->worker,
                                    .id = info.id,
                                    .remote = info.remote,
                                    .end = end };
    char remote[KITH_SOCKADDR_TEXT_SIZE];

    kith__log(&worker->rt->log, KITH_LOG_DEBUG, "relay", "connection %u-%llu from %s ended: %s: %s", told.worker,
              (unsigned long long)told.handle, kith_sockaddr_format(&info.remote, remote), kith__relay_end_text(end),
              why);
    if (worker->options.tell != NULL && memcmp(&info.id, &none, sizeof none) != 0)
        worker->options.tell(worker->options.ctx, &told);
}

static void on_access(struct kith_relay_worker *worker, const struct kith_relay_event *event)
{
    bool is_asked;

    if (worker->ask != NULL)
        is_asked = kith__relay_ask_about(worker->ask, event->handle, &event->id) == 0;
    else
        is_asked = tell(worker, event);
    if (!is_asked)
        kith__relay_session_deny(event->session, NULL, now(worker));
}

static void take_events(struct kith_relay_worker *worker)
{
    struct kith_relay_event event;

    while (kith__relay_server_next_event(worker->server, &event)) {
        switch (event.kind) {
        case KITH_RELAY_EVENT_ACCESS:
            on_access(worker, &event);
            break;
        case KITH_RELAY_EVENT_READY:
            tell(worker, &event);
            break;
        case KITH_RELAY_EVENT_ENDED:
            kith__relay_conn_end(event.user, event.end, event.why);
            break;
        }
    }
}

/* ---- Turns ---- */

static void write_all(struct kith_relay_worker *worker)
{
    struct kith_relay_session *session;
    struct kith_list *first;

    while ((first = kith__list_first(&worker->hellos)) != NULL)
        kith__relay_conn_write(KITH_CONTAINER(first, struct kith_relay_conn, hello_node));
    while ((session = kith__relay_server_next_writer(worker->server)) != NULL)
        kith__relay_conn_write(kith__relay_session_user(session));
}

static void publish(struct kith_relay_worker *worker)
{
    struct kith_relay_server_stats stats = kith__relay_server_stats(worker->server);
    struct kith_rt_listener_stats listeners = kith__httpd_listener_stats(worker->httpd);

    atomic_store_explicit(&worker->gauges->no_handles, listeners.closed_no_handles, memory_order_relaxed);
    atomic_store_explicit(&worker->gauges->no_memory, listeners.closed_no_memory, memory_order_relaxed);
    atomic_store_explicit(&worker->gauges->sessions, stats.sessions, memory_order_relaxed);
    atomic_store_explicit(&worker->gauges->clients, stats.clients, memory_order_relaxed);
    atomic_store_explicit(&worker->gauges->endpoints, stats.endpoints, memory_order_relaxed);
    atomic_store_explicit(&worker->gauges->queued_bytes, stats.queued_bytes, memory_order_relaxed);
    atomic_store_explicit(&worker->gauges->http_connections, kith__httpd_conn_count(worker->httpd),
                          memory_order_relaxed);
}

static void on_turn_end(void *ctx)
{
    struct kith_relay_worker *worker = ctx;
    bool has_debtor = false;

    take_events(worker);
    write_all(worker);
    take_events(worker); /* what the writing ended */
    kith__relay_server_flush(worker->server);
    KITH_LIST_EACH_SAFE(node, after, &worker->paused)
    has_debtor |= !kith__relay_conn_resume(KITH_CONTAINER(node, struct kith_relay_conn, paused_node));
    publish(worker);
    kith__rt_timer_set(&worker->timer, has_debtor ? now(worker) : kith__relay_server_deadline(worker->server));
}

static void on_deadline(void *ctx, uint64_t now_ns)
{
    struct kith_relay_worker *worker = ctx;

    kith__relay_server_on_deadline(worker->server, now_ns);
}

/* ---- Orders ---- */

struct kith_relay_order *kith__relay_order_new(const struct kith_mem *mem, enum kith_relay_order_kind kind)
{
    struct kith_relay_order *order = kith__alloc_zero(mem, sizeof *order);

    if (order != NULL) {
        kith__list_init(&order->node);
        order->kind = kind;
    }
    return order;
}

void kith__relay_order_free(const struct kith_mem *mem, struct kith_relay_order *order)
{
    if (order == NULL)
        return;
    kith__tls_stream_context_release(order->tls);
    kith__relay_access_free(order->access);
    kith__relay_ask_rules_free(mem, order->ask);
    kith__free(mem, order);
}

void kith__relay_worker_order(struct kith_relay_worker *worker, struct kith_relay_order *order)
{
    kith__relay_lock(worker->options.shared->sync, worker->lock);
    kith__list_push_back(&worker->orders, &order->node);
    kith__relay_unlock(worker->options.shared->sync, worker->lock);
    kith__rt_wake(worker->rt);
}

/* New rules; who has asked under the old ones and waits for an answer is denied, and comes again. */
static void take_access(struct kith_relay_worker *worker, struct kith_relay_order *order)
{
    struct kith_relay_access *old = worker->access;
    struct kith_relay_ask *ask = NULL;

    if (order->ask != NULL) {
        struct kith_relay_ask_options options = { worker->rt, worker->mem, order->ask, on_answer, worker };

        order->ask = NULL;
        if (kith__relay_ask_new(&options, &ask) != 0) {
            kith__log(&worker->rt->log, KITH_LOG_ERROR, "relay",
                      "no memory for new rules of access: the old ones stay");
            return;
        }
    }
    kith__relay_ask_free(worker->ask);
    worker->ask = ask;
    worker->access = order->access;
    order->access = NULL;
    kith__relay_server_set_access(worker->server, worker->access);
    kith__relay_access_free(old);
}

static void carry_out(struct kith_relay_worker *worker, struct kith_relay_order *order)
{
    struct kith_relay_session *session;

    switch (order->kind) {
    case KITH_RELAY_ORDER_TLS:
        kith__httpd_set_tls(worker->httpd, order->tls);
        break;
    case KITH_RELAY_ORDER_ACCESS:
        take_access(worker, order);
        break;
    case KITH_RELAY_ORDER_LIMITS:
        kith__relay_server_set_limits(worker->server, &order->limits, now(worker));
        break;
    case KITH_RELAY_ORDER_DISCONNECT:
        kith__relay_server_disconnect(worker->server, &order->id, now(worker));
        break;
    case KITH_RELAY_ORDER_ANSWER:
        if ((session = kith__relay_server_find(worker->server, order->handle)) == NULL)
            break;
        if (order->is_allowed)
            kith__relay_session_grant(session, now(worker));
        else
            kith__relay_session_deny(session, order->reason[0] != 0 ? order->reason : NULL, now(worker));
        break;
    case KITH_RELAY_ORDER_DRAIN:
        worker->is_draining = true;
        kith__httpd_drain(worker->httpd);
        kith__relay_server_drain(worker->server, order->spread_ns, order->try_for_ns, now(worker));
        break;
    }
}

static struct kith_relay_order *take_order(struct kith_relay_worker *worker)
{
    struct kith_list *first;

    kith__relay_lock(worker->options.shared->sync, worker->lock);
    if ((first = kith__list_first(&worker->orders)) != NULL)
        kith__list_remove(first);
    kith__relay_unlock(worker->options.shared->sync, worker->lock);
    return first != NULL ? KITH_CONTAINER(first, struct kith_relay_order, node) : NULL;
}

void kith__relay_worker_settle(struct kith_relay_worker *worker)
{
    struct kith_relay_order *order;

    while ((order = take_order(worker)) != NULL) {
        carry_out(worker, order);
        kith__relay_order_free(worker->mem, order);
    }
}

static void on_wake(void *ctx)
{
    struct kith_relay_worker *worker = ctx;

    kith__relay_worker_settle(worker);
    if (kith__relay_server_on_inbox(worker->server, now(worker)))
        kith__rt_wake(worker->rt);
}

/* ---- Life ---- */

static struct kith_httpd_counters count_http(struct kith_relay_counters *counters)
{
    return (struct kith_httpd_counters) { .accepted = &counters->http_connections,
                                          .closed = &counters->http_connections_closed,
                                          .errored = &counters->http_connections_errored,
                                          .refused_total = &counters->refused_total,
                                          .refused_rate = &counters->refused_rate,
                                          .refused_per_ip = &counters->refused_per_ip,
                                          .refused_unauthenticated = &counters->refused_unauthenticated };
}

static int worker_init(struct kith_relay_worker *worker)
{
    const struct kith_relay_worker_options *options = &worker->options;
    struct kith_httpd_options http = { .rt = worker->rt,
                                       .mem = worker->mem,
                                       .admission = options->shared->admission,
                                       .counters = count_http(worker->counters),
                                       .limit_ns = options->http_limit_ns,
                                       .body_max = options->pass_on != NULL ? KITH_RELAY_PASS_BODY_MAX : 0,
                                       .on_request = on_request,
                                       .on_gone = on_gone,
                                       .ctx = worker };
    struct kith_relay_server_options core = { .mem = worker->mem,
                                              .random = kith__rt_random(worker->rt),
                                              .log = &worker->rt->log,
                                              .routes = options->routes,
                                              .counters = worker->counters,
                                              .limits = options->limits };
    struct kith_rt_hooks hooks = { on_wake, on_turn_end, worker };
    int err;

    if ((err = kith__relay_lock_new(options->shared->sync, &worker->lock)) != 0)
        return err;
    if ((err = kith__rt_timer_init(worker->rt, &worker->timer, on_deadline, worker)) != 0)
        return err;
    if ((err = kith__httpd_new(&http, &worker->httpd)) != 0)
        return err;
    if (options->pass_on != NULL &&
        (err = kith__relay_pass_new(worker->rt, worker->mem, worker->counters, options->pass_on, &worker->pass)) != 0)
        return err;
    if ((err = kith__relay_server_new(&core, &worker->server)) != 0)
        return err;
    kith__rt_set_hooks(worker->rt, &hooks);
    return 0;
}

int kith__relay_worker_new(const struct kith_relay_worker_options *options, struct kith_relay_worker **out)
{
    struct kith_relay_worker *worker = kith__alloc_zero(options->mem, sizeof *worker);
    int err;

    if (worker == NULL)
        return KITH_ERR_NOMEM;
    worker->options = *options;
    worker->mem = options->mem;
    worker->rt = options->rt;
    worker->counters = &options->shared->counters[options->routes->worker];
    worker->gauges = &options->shared->gauges[options->routes->worker];
    kith__list_init(&worker->conns);
    kith__list_init(&worker->hellos);
    kith__list_init(&worker->paused);
    kith__list_init(&worker->orders);
    if ((err = worker_init(worker)) != 0) {
        kith__relay_worker_free(worker);
        return err;
    }
    *out = worker;
    return 0;
}

void kith__relay_worker_free(struct kith_relay_worker *worker)
{
    static const struct kith_rt_hooks none;
    struct kith_list *first;

    if (worker == NULL)
        return;
    kith__rt_set_hooks(worker->rt, &none);
    while ((first = kith__list_first(&worker->orders)) != NULL) { /* nobody gives orders any more */
        kith__list_remove(first);
        kith__relay_order_free(worker->mem, KITH_CONTAINER(first, struct kith_relay_order, node));
    }
    kith__httpd_free(worker->httpd);
    kith__relay_pass_free(worker->pass);
    while ((first = kith__list_first(&worker->conns)) != NULL)
        kith__relay_conn_close(KITH_CONTAINER(first, struct kith_relay_conn, node));
    kith__relay_ask_free(worker->ask);
    kith__relay_server_free(worker->server);
    kith__relay_access_free(worker->access);
    kith__rt_timer_dispose(&worker->timer);
    kith__relay_lock_free(worker->options.shared->sync, worker->lock);
    kith__free(worker->mem, worker);
}

int kith__relay_worker_listen(struct kith_relay_worker *worker, enum kith_relay_door door,
                              const struct kith_sockaddr *at, bool is_shared, struct kith_sockaddr *bound)
{
    struct kith_httpd_listen listen = { .at = *at,
                                        .tag = door,
                                        .is_tls = door == KITH_RELAY_DOOR_TLS,
                                        .is_shared = is_shared,
                                        .has_keep_alive = door != KITH_RELAY_DOOR_CAPTIVE };

    return kith__httpd_listen(worker->httpd, &listen, bound);
}

bool kith__relay_worker_is_drained(const struct kith_relay_worker *worker)
{
    return worker->is_draining && worker->conn_count == 0 && kith__httpd_is_idle(worker->httpd);
}
