/*
 * DNS over TCP (RFC 7766): messages with their length in front, many on one connection, answered in the order in which the answers
 * are there. A connection that brings no whole query for a while ends, whatever else it brings; who takes no answers is not read from.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "relay/admission.h"
#include "server/dns_parts.h"

enum {
    LENGTH_SIZE = 2,
    IN_MAX = LENGTH_SIZE + KITH_DNS_MESSAGE_SIZE_MAX,
    OUT_MAX = 256 << 10, /* answers that wait; with more nothing is read */
    LISTENERS_MAX = KITH_DNS_SERVER_BINDS_MAX
};
#define IDLE_NS (10 * KITH_NS_PER_S) /* RFC 7766, 6.2.3: a few seconds */

struct kith_dns_tcp {
    struct kith_dns_worker *worker;
    struct kith_relay_admission *admission;
    struct kith_rt_listener *listeners[LISTENERS_MAX];
    size_t listener_count;
    struct kith_list conns; /* in the order of their last query */
    size_t count;
    struct kith_rt_timer timer;
    bool is_draining;
};

struct conn {
    struct kith_list node;
    struct kith_dns_tcp *tcp;
    struct kith_rt_stream *stream;
    struct kith_relay_ticket ticket;
    uint64_t active_ns;
    size_t wait_count;
    bool is_writing, is_reading, has_ended;
    struct kith_buf in, out, written; /* written: what the stream is writing */
};

static void arm(struct kith_dns_tcp *tcp)
{
    struct kith_list *first = kith__list_first(&tcp->conns);

    kith__rt_timer_set(&tcp->timer,
                       first != NULL ? KITH_CONTAINER(first, struct conn, node)->active_ns + IDLE_NS : KITH_NEVER);
}

static void conn_close(struct conn *conn)
{
    struct kith_dns_tcp *tcp = conn->tcp;

    kith__dns_wait_forget(tcp->worker, conn);
    kith__rt_stream_close(conn->stream);
    kith__list_remove(&conn->node);
    tcp->count--;
    kith__relay_ticket_release(&conn->ticket);
    kith__buf_dispose(&conn->in);
    kith__buf_dispose(&conn->out);
    kith__buf_dispose(&conn->written);
    kith__free(tcp->worker->mem, conn);
}

static void touch(struct conn *conn)
{
    conn->active_ns = kith__rt_now(conn->tcp->worker->rt);
    kith__list_remove(&conn->node);
    kith__list_push_back(&conn->tcp->conns, &conn->node);
}

static bool is_over(const struct conn *conn)
{
    return (conn->has_ended || conn->tcp->is_draining) && !conn->is_writing && conn->out.size == 0 &&
           conn->wait_count == 0;
}

/* Writes what waits, reads on if there is room. False: the connection is gone. */
static bool move_on(struct conn *conn)
{
    if (!conn->is_writing && conn->out.size != 0) {
        kith__buf_dispose(&conn->written);
        conn->written = kith__buf_take(&conn->out);
        if (kith__rt_stream_write(conn->stream, conn->written.ptr, conn->written.size) != 0) {
            conn_close(conn);
            return false;
        }
        conn->is_writing = true;
    }
    if (is_over(conn)) {
        conn_close(conn);
        return false;
    }
    if (conn->is_reading != (conn->out.size < OUT_MAX)) {
        conn->is_reading = !conn->is_reading;
        if (conn->is_reading)
            kith__rt_stream_read_start(conn->stream);
        else
            kith__rt_stream_read_stop(conn->stream);
    }
    return true;
}

static int append_answer(struct conn *conn, const uint8_t *bytes, size_t size)
{
    uint8_t length[LENGTH_SIZE] = { (uint8_t)(size >> 8), (uint8_t)size };
    int err;

    if (size == 0)
        return 0;
    if ((err = kith__buf_reserve(&conn->out, sizeof length + size)) != 0 ||
        (err = kith__buf_append(&conn->out, length, sizeof length)) != 0)
        return err;
    return kith__buf_append(&conn->out, bytes, size);
}

static void on_answered(struct kith_dns_wait *wait, const uint8_t *bytes, size_t size)
{
    struct conn *conn = wait->owner;

    conn->wait_count--;
    if (append_answer(conn, bytes, size) != 0)
        conn_close(conn);
    else
        move_on(conn);
}

/* One query. Not 0: the connection is of no use any more. */
static int take_query(struct conn *conn, struct kith_slice query)
{
    struct kith_dns_worker *worker = conn->tcp->worker;
    struct kith_zone_answer answer;
    struct kith_dns_wait *wait;

    kith__dns_count(&worker->counters->dns_requests, 1);
    kith__dns_count(&worker->counters->dns_requests_tcp, 1);
    kith__dns_worker_answer(worker, query, false, &answer);
    if (answer.outcome == KITH_ZONE_SILENT)
        return KITH_ERR_PARSE;
    if (answer.outcome != KITH_ZONE_WAIT)
        return append_answer(conn, worker->buffer, answer.size);
    if ((wait = kith__dns_wait_new(worker, query, conn)) == NULL)
        return KITH_ERR_LIMIT;
    wait->reply = on_answered;
    conn->wait_count++;
    return 0;
}

/* The queries that are complete. False: the connection is gone. */
static bool take_queries(struct conn *conn)
{
    size_t at = 0;

    while (conn->in.size - at >= LENGTH_SIZE && conn->out.size < OUT_MAX) {
        size_t size = (size_t)conn->in.ptr[at] << 8 | conn->in.ptr[at + 1];

        if (conn->in.size - at - LENGTH_SIZE < size)
            break;
        if (take_query(conn, (struct kith_slice) { conn->in.ptr + at + LENGTH_SIZE, size }) != 0) {
            conn_close(conn);
            return false;
        }
        at += LENGTH_SIZE + size;
    }
    kith__buf_consume(&conn->in, at);
    if (at != 0)
        touch(conn);
    if (conn->in.size == 0)
        kith__buf_dispose(&conn->in);
    return move_on(conn);
}

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct conn *conn = ctx;

    /* Read in pieces of 64 KiB: a whole message, and what came with it. */
    if (conn->in.size > IN_MAX || kith__buf_append(&conn->in, bytes, size) != 0)
        conn_close(conn);
    else
        take_queries(conn);
}

static void on_end(void *ctx, int err)
{
    struct conn *conn = ctx;

    conn->has_ended = true;
    if (err != 0)
        conn_close(conn);
    else
        move_on(conn);
}

static void on_written(void *ctx, int err)
{
    struct conn *conn = ctx;

    conn->is_writing = false;
    kith__buf_dispose(&conn->written);
    if (err != 0) {
        conn_close(conn);
        return;
    }
    touch(conn);
    take_queries(conn); /* some may have waited for room */
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_dns_tcp *tcp = ctx;
    struct kith_list *first;

    while ((first = kith__list_first(&tcp->conns)) != NULL) {
        struct conn *conn = KITH_CONTAINER(first, struct conn, node);

        if (conn->active_ns + IDLE_NS > now_ns)
            break;
        kith__dns_count(&tcp->worker->counters->tcp_idle, 1);
        conn_close(conn);
    }
    arm(tcp);
}

static bool admit(struct kith_dns_tcp *tcp, struct kith_rt_stream *stream, struct kith_relay_ticket *ticket)
{
    struct kith_sockaddr remote = kith__rt_stream_remote(stream);
    struct kith_list *first;

    if (kith__relay_admission_take(tcp->admission, &remote, kith__rt_now(tcp->worker->rt), ticket) !=
        KITH_RELAY_ADMITTED)
        return false;
    /* Who says nothing does not keep out those who do. */
    if (tcp->count >= tcp->worker->rules->tcp_max && (first = kith__list_first(&tcp->conns)) != NULL) {
        kith__dns_count(&tcp->worker->counters->tcp_idle, 1);
        conn_close(KITH_CONTAINER(first, struct conn, node));
    }
    return true;
}

static void on_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct kith_dns_tcp *tcp = ctx;
    struct conn *conn = kith__alloc_zero(tcp->worker->mem, sizeof *conn);
    struct kith_rt_stream_events events = {
        .on_data = on_data, .on_end = on_end, .on_written = on_written, .ctx = conn
    };

    if (conn == NULL || !admit(tcp, stream, &conn->ticket)) {
        kith__dns_count(&tcp->worker->counters->tcp_refused, 1);
        kith__free(tcp->worker->mem, conn);
        kith__rt_stream_close(stream);
        return;
    }
    kith__dns_count(&tcp->worker->counters->tcp_connections, 1);
    conn->tcp = tcp;
    conn->stream = stream;
    conn->active_ns = kith__rt_now(tcp->worker->rt);
    kith__buf_init(&conn->in, tcp->worker->mem);
    kith__buf_init(&conn->out, tcp->worker->mem);
    kith__buf_init(&conn->written, tcp->worker->mem);
    kith__list_push_back(&tcp->conns, &conn->node);
    tcp->count++;
    kith__rt_stream_set_events(stream, &events);
    conn->is_reading = true;
    kith__rt_stream_read_start(stream);
    if (!kith__rt_timer_is_set(&tcp->timer))
        arm(tcp);
}

/* ---- Life ---- */

static struct kith_relay_admission_limits limits_of(const struct kith_dns_tcp *tcp)
{
    return (struct kith_relay_admission_limits) { .connections_per_ip_max = tcp->worker->rules->tcp_per_client_max };
}

int kith__dns_tcp_new(struct kith_dns_worker *worker, struct kith_dns_tcp **out)
{
    struct kith_dns_tcp *tcp = kith__alloc_zero(worker->mem, sizeof *tcp);
    struct kith_relay_admission_limits limits;
    int err;

    if (tcp == NULL)
        return KITH_ERR_NOMEM;
    tcp->worker = worker;
    kith__list_init(&tcp->conns);
    limits = limits_of(tcp);
    if ((err = kith__relay_admission_new(worker->mem, NULL, &limits, kith__random_u64(kith__rt_random(worker->rt)),
                                         &tcp->admission)) != 0 ||
        (err = kith__rt_timer_init(worker->rt, &tcp->timer, on_timer, tcp)) != 0) {
        kith__dns_tcp_free(tcp);
        return err;
    }
    *out = tcp;
    return 0;
}

static void stop_listening(struct kith_dns_tcp *tcp)
{
    while (tcp->listener_count > 0)
        kith__rt_listener_close(tcp->listeners[--tcp->listener_count]);
}

void kith__dns_tcp_free(struct kith_dns_tcp *tcp)
{
    if (tcp == NULL)
        return;
    stop_listening(tcp);
    KITH_LIST_EACH_SAFE(node, after, &tcp->conns)
    conn_close(KITH_CONTAINER(node, struct conn, node));
    kith__relay_admission_free(tcp->admission);
    kith__rt_timer_dispose(&tcp->timer);
    kith__free(tcp->worker->mem, tcp);
}

void kith__dns_tcp_drain(struct kith_dns_tcp *tcp)
{
    stop_listening(tcp);
    tcp->is_draining = true;
    KITH_LIST_EACH_SAFE(node, after, &tcp->conns)
    move_on(KITH_CONTAINER(node, struct conn, node));
}

size_t kith__dns_tcp_count(const struct kith_dns_tcp *tcp)
{
    return tcp->count;
}

void kith__dns_tcp_set_rules(struct kith_dns_tcp *tcp)
{
    struct kith_relay_admission_limits limits = limits_of(tcp);

    kith__relay_admission_set_limits(tcp->admission, &limits);
}

int kith__dns_tcp_listen(struct kith_dns_tcp *tcp, const struct kith_sockaddr *at, bool is_shared,
                         struct kith_sockaddr *bound)
{
    struct kith_rt_listen_options options = { .at = { .ip = *at },
                                              .is_shared = is_shared,
                                              .timeout_ns = KITH_RT_TCP_TIMEOUT_NS };
    struct kith_rt_listener **listener = &tcp->listeners[tcp->listener_count];
    int err;

    if (tcp->listener_count == LISTENERS_MAX)
        return KITH_ERR_LIMIT;
    if ((err = kith__rt_listen_with(tcp->worker->rt, &options, on_accept, tcp, listener)) != 0)
        return err;
    tcp->listener_count++;
    *bound = kith__rt_listener_local(*listener);
    return 0;
}
