/* A small HTTP/1.1 server. */
#include "server/httpd.h"

#include "base/assert.h"
#include "base/mem.h"
#include "http/body.h"
#include "tls/stream.h"
#include <stdio.h>

struct listener {
    struct kith_httpd *httpd;
    struct kith_rt_listener *listener;
    int tag;
    bool is_tls, has_keep_alive;
};

struct kith_httpd {
    struct kith_httpd_options options;
    struct kith_tls_stream_context *tls;
    struct listener listeners[KITH_HTTPD_LISTENERS_MAX];
    size_t listener_count;
    struct kith_rt_listener_stats ended; /* of listeners that were closed */
    struct kith_list conns;              /* in the order of their limits */
    size_t conn_count;
    struct kith_rt_timer timer;
    bool is_draining;
};

struct kith_httpd_conn {
    struct kith_list node;
    struct kith_httpd *httpd;
    struct kith_link *link;
    struct kith_relay_ticket ticket;
    struct kith_sockaddr remote;
    uint64_t accepted_ns, limit_from_ns;
    struct kith_http_intake intake;
    struct kith_buf head; /* of a request whose body is still coming; empty: none is */
    struct kith_http_body reader;
    struct kith_buf body; /* of the present request */
    struct kith_buf out;  /* the answer that is being written */
    struct kith_buf kept; /* what came behind the request that is being answered */
    size_t extra;
    int tag;
    bool has_keep_alive;
    bool is_head;     /* of the present request: HEAD */
    bool is_answered; /* the present request */
    bool is_last;     /* the connection ends with the answer */
    bool is_taken;
    bool is_deferred;  /* the answer comes later */
    bool is_paused;    /* nothing is read: something is kept already */
    void *user;        /* of is_deferred */
    bool is_finishing; /* kith__link_finish: on_closed follows */
    bool is_fine;      /* ends as it should: for the counters */
};

/* One writer: a load and a store, no locked instruction. */
static void count(_Atomic uint64_t *counter)
{
    if (counter != NULL)
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void arm(struct kith_httpd *httpd)
{
    struct kith_list *first = kith__list_first(&httpd->conns);

    kith__rt_timer_set(&httpd->timer, first == NULL
                                          ? KITH_NEVER
                                          : KITH_CONTAINER(first, struct kith_httpd_conn, node)->limit_from_ns +
                                                httpd->options.limit_ns);
}

/* Frees it; the link is gone, or somebody else's. */
static void conn_dispose(struct kith_httpd_conn *conn)
{
    struct kith_httpd *httpd = conn->httpd;

    if (conn->is_taken || conn->is_fine)
        count(httpd->options.counters.closed);
    else
        count(httpd->options.counters.errored);
    kith__list_remove(&conn->node);
    httpd->conn_count--;
    kith__relay_ticket_release(&conn->ticket);
    kith__http_intake_dispose(&conn->intake);
    kith__buf_dispose(&conn->head);
    kith__buf_dispose(&conn->body);
    kith__buf_dispose(&conn->out);
    kith__buf_dispose(&conn->kept);
    if (conn->is_deferred)
        httpd->options.on_gone(httpd->options.ctx, conn->user);
    kith__free(httpd->options.mem, conn);
}

static void conn_close(struct kith_httpd_conn *conn)
{
    kith__link_close(conn->link);
    conn_dispose(conn);
}

/* ---- Answers ---- */

static bool status_has_body(uint16_t status)
{
    return status >= 200 && status != 204 && status != 304;
}

static int write_head(struct kith_httpd_conn *conn, const struct kith_httpd_reply *reply, struct kith_writer *w)
{
    char date[KITH_HTTPD_DATE_SIZE];
    int err = kith__http_write_status(w, reply->status);

    for (size_t i = 0; err == 0 && i < reply->header_count; i++) {
        char name[64];

        if (reply->headers[i].name.size >= sizeof name)
            return KITH_ERR_INVALID;
        memcpy(name, reply->headers[i].name.ptr, reply->headers[i].name.size);
        name[reply->headers[i].name.size] = 0;
        err = kith__http_write_header(w, name, reply->headers[i].value);
    }
    if (err == 0 && status_has_body(reply->status))
        err = kith__http_write_header_number(w, "content-length", reply->body.size);
    if (err == 0)
        err = kith__http_write_header_text(w, "date",
                                           kith__httpd_date(kith__rt_wall_us(conn->httpd->options.rt) / 1000000, date));
    if (err == 0 && conn->is_last)
        err = kith__http_write_header_text(w, "connection", "close");
    return err == 0 ? kith__http_write_end(w) : err;
}

int kith__httpd_reply(struct kith_httpd_conn *conn, const struct kith_httpd_reply *reply)
{
    struct kith_writer w;
    int err;

    KITH_ASSERT(!conn->is_answered && !conn->is_taken && !conn->is_deferred && conn->out.size == 0);
    if (reply->header_count > KITH_HTTPD_HEADERS_MAX || reply->body.size > KITH_HTTPD_BODY_MAX)
        return KITH_ERR_TOO_LARGE;
    conn->is_last = conn->is_last || reply->is_last || conn->httpd->is_draining;
    if ((err = kith__buf_reserve(&conn->out, KITH_HTTP_HEAD_SIZE_MAX + reply->body.size)) != 0)
        return err;
    w = kith__writer(conn->out.ptr, KITH_HTTP_HEAD_SIZE_MAX);
    if ((err = write_head(conn, reply, &w)) != 0)
        return err;
    conn->out.size = kith__writer_size(&w);
    if (!conn->is_head && status_has_body(reply->status))
        err = kith__buf_append(&conn->out, reply->body.ptr, reply->body.size);
    conn->is_answered = err == 0;
    return err;
}

void kith__httpd_take(struct kith_httpd_conn *conn, struct kith_httpd_taken *out)
{
    KITH_ASSERT(!conn->is_answered && !conn->is_taken && !conn->is_deferred);
    *out = (struct kith_httpd_taken) { conn->link, conn->ticket, conn->remote, conn->accepted_ns };
    conn->link = NULL;
    conn->ticket = (struct kith_relay_ticket) { 0 };
    conn->is_taken = true;
}

void kith__httpd_defer(struct kith_httpd_conn *conn, void *user)
{
    KITH_ASSERT(!conn->is_answered && !conn->is_taken && conn->httpd->options.on_gone != NULL);
    conn->is_deferred = true;
    conn->user = user;
}

struct kith_slice kith__httpd_conn_body(const struct kith_httpd_conn *conn)
{
    return kith__buf_slice(&conn->body);
}

size_t kith__httpd_conn_extra(const struct kith_httpd_conn *conn)
{
    return conn->extra;
}

struct kith_sockaddr kith__httpd_conn_remote(const struct kith_httpd_conn *conn)
{
    return conn->remote;
}

const struct kith_link *kith__httpd_conn_link(const struct kith_httpd_conn *conn)
{
    return conn->link;
}

/* ---- Requests ---- */

/* The time of the next request begins. */
static void begin_limit(struct kith_httpd_conn *conn)
{
    struct kith_httpd *httpd = conn->httpd;

    if (!httpd->options.limits_each)
        return;
    conn->limit_from_ns = kith__rt_now(httpd->options.rt);
    kith__list_remove(&conn->node);
    kith__list_push_back(&httpd->conns, &conn->node);
}

/* Sends what kith__httpd_reply made. False: the connection is gone. */
static bool send_answer(struct kith_httpd_conn *conn)
{
    if (!conn->is_answered || kith__link_write(conn->link, conn->out.ptr, conn->out.size) != 0) {
        conn_close(conn);
        return false;
    }
    if (!conn->is_last) {
        begin_limit(conn);
        return true;
    }
    conn->is_finishing = true;
    kith__link_finish(conn->link, 0);
    return true;
}

void kith__httpd_answer(struct kith_httpd_conn *conn, const struct kith_httpd_reply *reply)
{
    KITH_ASSERT(conn->is_deferred);
    conn->is_deferred = false;
    if (kith__httpd_reply(conn, reply) != 0)
        conn_close(conn);
    else
        send_answer(conn);
}

/* Nothing that could be answered by the owner: says what was wrong with it. */
static void refuse(struct kith_httpd_conn *conn, uint16_t status)
{
    struct kith_httpd_reply reply = { .status = status, .is_last = true };

    conn->is_head = conn->is_answered = false;
    if (status == 0 || kith__httpd_reply(conn, &reply) != 0)
        conn_close(conn);
    else
        send_answer(conn);
}

static uint16_t status_of(int err, bool is_body)
{
    switch (err) {
    case KITH_ERR_NOMEM:
        return 0;
    case KITH_ERR_TOO_LARGE:
        return is_body ? 413 : 431;
    case KITH_ERR_VERSION:
        return 505;
    default:
        return 400;
    }
}

/* What came behind the present request waits for its turn, and what follows it is not read. Most clients send nothing before they have
 * their answer: reading is paused only for those that do, as to pause and resume costs two system calls. False: there is no room, and
 * the connection is gone. */
static bool keep(struct kith_httpd_conn *conn, const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return true;
    if (conn->kept.size + size > KITH_HTTPD_PIPELINE_MAX || kith__buf_append(&conn->kept, bytes, size) != 0) {
        conn_close(conn);
        return false;
    }
    if (!conn->is_paused)
        kith__link_read_pause(conn->link);
    conn->is_paused = true;
    return true;
}

/* A whole request; `rest` came behind it, and is dealt with here unless the result is true: then reading may go on. */
static bool dispatch(struct kith_httpd_conn *conn, const struct kith_http_head *head, struct kith_slice rest)
{
    struct kith_httpd *httpd = conn->httpd;

    conn->extra = rest.size;
    conn->is_answered = false;
    conn->is_head = kith__http_is(head->method, "HEAD");
    conn->is_last = !conn->has_keep_alive || !head->keeps_alive || httpd->is_draining ||
                    (httpd->options.body_max == 0 && (head->is_chunked || head->length != 0));
    conn->is_fine = true;
    httpd->options.on_request(httpd->options.ctx, conn, head, conn->tag);
    kith__http_intake_dispose(&conn->intake);
    kith__buf_dispose(&conn->head);
    kith__buf_dispose(&conn->body);
    if (conn->is_taken) {
        conn_dispose(conn);
        arm(httpd);
        return false;
    }
    if (conn->is_deferred || (send_answer(conn) && !conn->is_last))
        (void)keep(conn, rest.ptr, rest.size);
    return false;
}

/* Some clients wait for this before they send a body (RFC 9110, 10.1.1). What comes while it is written is kept. */
static bool invite_body(struct kith_httpd_conn *conn, const struct kith_http_head *head)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (head->minor_version == 0 || !kith__http_has_token(head, "expect", "100-continue"))
        return true;
    if (kith__link_write(conn->link, (const uint8_t *)text, sizeof text - 1) == 0)
        return true;
    conn_close(conn);
    return false;
}

/* More of the body of the request whose head is kept. */
static bool take_body(struct kith_httpd_conn *conn, const uint8_t *bytes, size_t size, size_t *used)
{
    struct kith_http_head head;
    int err = kith__http_body_receive(&conn->reader, bytes, size, &conn->body, used);

    if (err != 0) {
        refuse(conn, status_of(err, true));
        return false;
    }
    if (!conn->reader.is_done) {
        *used = size;
        return true;
    }
    KITH_ASSERT(kith__http_head_parse(KITH_HTTP_REQUEST, conn->head.ptr, conn->head.size, &head) == 0);
    return dispatch(conn, &head, (struct kith_slice) { bytes + *used, size - *used });
}

/* A head with a body: the request, if all of it is there; else the head is kept. */
static bool begin_body(struct kith_httpd_conn *conn, const struct kith_http_head *head, const uint8_t *bytes,
                       size_t size, size_t *used)
{
    const uint8_t *head_bytes = conn->intake.bytes.size != 0 ? conn->intake.bytes.ptr : bytes;
    size_t more = 0;
    int err = kith__http_body_init(&conn->reader, head, false, conn->httpd->options.body_max);

    if (err == 0)
        err = kith__http_body_receive(&conn->reader, bytes + *used, size - *used, &conn->body, &more);
    if (err != 0) {
        refuse(conn, status_of(err, true));
        return false;
    }
    if (conn->reader.is_done) {
        *used += more;
        return dispatch(conn, head, (struct kith_slice) { bytes + *used, size - *used });
    }
    *used = size;
    if (kith__buf_append(&conn->head, head_bytes, head->size) != 0) {
        conn_close(conn);
        return false;
    }
    if (conn->body.size == 0 && !invite_body(conn, head))
        return false;
    kith__http_intake_dispose(&conn->intake);
    return true;
}

/* One request of what came. Returns false if the connection is gone, finishing, or waits for an answer. */
static bool take_request(struct kith_httpd_conn *conn, const uint8_t *bytes, size_t size, size_t *used)
{
    struct kith_http_head head;
    int err;

    if (conn->head.size != 0)
        return take_body(conn, bytes, size, used);
    err = kith__http_intake_receive(&conn->intake, bytes, size, &head, used);
    if (err == KITH_ERR_AGAIN) {
        *used = size;
        return true;
    }
    if (err != 0) {
        refuse(conn, status_of(err, false));
        return false;
    }
    if (conn->httpd->options.body_max != 0 && (head.is_chunked || head.length != 0))
        return begin_body(conn, &head, bytes, size, used);
    return dispatch(conn, &head, (struct kith_slice) { bytes + *used, size - *used });
}

static void take_bytes(struct kith_httpd_conn *conn, const uint8_t *bytes, size_t size)
{
    size_t used = 0;

    while (size > 0 && take_request(conn, bytes, size, &used)) {
        bytes += used;
        size -= used;
    }
}

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct kith_httpd_conn *conn = ctx;

    if (kith__link_is_writing(conn->link) || conn->is_deferred)
        (void)keep(conn, bytes, size);
    else
        take_bytes(conn, bytes, size);
}

static void on_writable(void *ctx, int err)
{
    struct kith_httpd_conn *conn = ctx;
    struct kith_buf kept;

    if (conn->is_finishing)
        return;
    if (err != 0) {
        conn_close(conn);
        return;
    }
    kith__buf_dispose(&conn->out);
    if (conn->is_paused)
        kith__link_read_resume(conn->link);
    conn->is_paused = false;
    if (conn->kept.size == 0)
        return;
    kept = kith__buf_take(&conn->kept);
    take_bytes(conn, kept.ptr, kept.size);
    kith__buf_dispose(&kept);
}

static void on_open(void *ctx, int err, const char *why)
{
    struct kith_httpd_conn *conn = ctx;

    if (err == 0)
        return;
    kith__log(&conn->httpd->options.rt->log, KITH_LOG_DEBUG, "http", "%s", why);
    conn_close(conn);
}

static void on_end(void *ctx, int err)
{
    struct kith_httpd_conn *conn = ctx;

    /* It may have ended its own direction only: an answer under way still arrives. Else there is nothing left to do. */
    if (conn->is_deferred && err == 0) {
        conn->is_last = true;
        return;
    }
    if (kith__link_is_writing(conn->link)) {
        conn->is_finishing = true;
        kith__link_finish(conn->link, 0);
        return;
    }
    conn->is_fine = conn->is_fine || (conn->intake.bytes.size == 0 && conn->head.size == 0);
    conn_close(conn);
}

static void on_closed(void *ctx)
{
    struct kith_httpd_conn *conn = ctx;

    conn_dispose(conn);
}

/* ---- Connections ---- */

static bool admit(struct kith_httpd *httpd, struct kith_httpd_conn *conn)
{
    if (httpd->options.connections_max != 0 && httpd->conn_count >= httpd->options.connections_max) {
        count(httpd->options.counters.refused_total);
        conn_close(KITH_CONTAINER(kith__list_first(&httpd->conns), struct kith_httpd_conn, node));
    }
    if (httpd->options.admission == NULL)
        return true;
    switch (kith__relay_admission_take(httpd->options.admission, &conn->remote, conn->accepted_ns, &conn->ticket)) {
    case KITH_RELAY_ADMITTED:
        return true;
    case KITH_RELAY_REFUSED_RATE:
        count(httpd->options.counters.refused_rate);
        return false;
    case KITH_RELAY_REFUSED_PER_IP:
        count(httpd->options.counters.refused_per_ip);
        return false;
    case KITH_RELAY_REFUSED_UNAUTHENTICATED:
        count(httpd->options.counters.refused_unauthenticated);
        return false;
    case KITH_RELAY_REFUSED_TOTAL:
    case KITH_RELAY_REFUSED_NOMEM:
        break;
    }
    count(httpd->options.counters.refused_total);
    return false;
}

static void on_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct listener *listener = ctx;
    struct kith_httpd *httpd = listener->httpd;
    struct kith_httpd_conn *conn = kith__alloc_zero(httpd->options.mem, sizeof *conn);
    struct kith_link_events events = { on_open, on_data, on_end, on_writable, on_closed, conn };

    if (conn == NULL || (listener->is_tls && httpd->tls == NULL)) {
        count(httpd->options.counters.refused_total);
        kith__free(httpd->options.mem, conn);
        kith__rt_stream_close(stream);
        return;
    }
    conn->httpd = httpd;
    conn->tag = listener->tag;
    conn->has_keep_alive = listener->has_keep_alive;
    conn->remote = kith__rt_stream_remote(stream);
    conn->accepted_ns = kith__rt_now(httpd->options.rt);
    conn->limit_from_ns = conn->accepted_ns;
    kith__http_intake_init(&conn->intake, httpd->options.mem, KITH_HTTP_REQUEST);
    kith__buf_init(&conn->head, httpd->options.mem);
    kith__buf_init(&conn->body, httpd->options.mem);
    kith__buf_init(&conn->out, httpd->options.mem);
    kith__buf_init(&conn->kept, httpd->options.mem);
    if (!admit(httpd, conn)) {
        kith__rt_stream_close(stream);
        kith__free(httpd->options.mem, conn);
        return;
    }
    count(httpd->options.counters.accepted);
    kith__list_push_back(&httpd->conns, &conn->node);
    httpd->conn_count++;
    if (kith__link_accept(httpd->options.rt, stream, listener->is_tls ? httpd->tls : NULL, &events, &conn->link) != 0)
        conn_dispose(conn);
    if (!kith__rt_timer_is_set(&httpd->timer))
        arm(httpd);
}

/* The time of the oldest connections is over. */
static void on_limit(void *ctx, uint64_t now_ns)
{
    struct kith_httpd *httpd = ctx;
    struct kith_list *first;

    while ((first = kith__list_first(&httpd->conns)) != NULL) {
        struct kith_httpd_conn *conn = KITH_CONTAINER(first, struct kith_httpd_conn, node);

        if (conn->limit_from_ns + httpd->options.limit_ns > now_ns)
            break;
        conn->is_fine = conn->is_fine && conn->intake.bytes.size == 0 && conn->head.size == 0 && !conn->is_deferred &&
                        !kith__link_is_writing(conn->link);
        conn_close(conn);
    }
    arm(httpd);
}

int kith__httpd_new(const struct kith_httpd_options *options, struct kith_httpd **out)
{
    struct kith_httpd *httpd = kith__alloc_zero(options->mem, sizeof *httpd);

    if (httpd == NULL)
        return KITH_ERR_NOMEM;
    httpd->options = *options;
    if (httpd->options.limit_ns == 0)
        httpd->options.limit_ns = KITH_HTTPD_LIMIT_NS;
    kith__list_init(&httpd->conns);
    if (kith__rt_timer_init(options->rt, &httpd->timer, on_limit, httpd) != 0) {
        kith__free(options->mem, httpd);
        return KITH_ERR_NOMEM;
    }
    *out = httpd;
    return 0;
}

void kith__httpd_free(struct kith_httpd *httpd)
{
    struct kith_list *first;

    if (httpd == NULL)
        return;
    kith__httpd_drain(httpd);
    while ((first = kith__list_first(&httpd->conns)) != NULL)
        conn_close(KITH_CONTAINER(first, struct kith_httpd_conn, node));
    kith__rt_timer_dispose(&httpd->timer);
    kith__tls_stream_context_release(httpd->tls);
    kith__free(httpd->options.mem, httpd);
}

int kith__httpd_listen(struct kith_httpd *httpd, const struct kith_httpd_listen *listen, struct kith_sockaddr *bound)
{
    /* A client that takes nothing for so long is dead, or as good as that: relays do not keep clients that do not read. */
    struct kith_rt_listen_options options = { .at = { .ip = listen->at },
                                              .is_shared = listen->is_shared,
                                              .timeout_ns = KITH_RT_TCP_TIMEOUT_NS };
    struct listener *listener = &httpd->listeners[httpd->listener_count];
    int err;

    if (httpd->listener_count == KITH_HTTPD_LISTENERS_MAX)
        return KITH_ERR_LIMIT;
    *listener = (struct listener) { httpd, NULL, listen->tag, listen->is_tls, listen->has_keep_alive };
    if ((err = kith__rt_listen_with(httpd->options.rt, &options, on_accept, listener, &listener->listener)) != 0)
        return err;
    httpd->listener_count++;
    *bound = kith__rt_listener_local(listener->listener);
    return 0;
}

void kith__httpd_set_tls(struct kith_httpd *httpd, struct kith_tls_stream_context *tls)
{
    if (tls != NULL)
        kith__tls_stream_context_retain(tls);
    kith__tls_stream_context_release(httpd->tls);
    httpd->tls = tls;
}

static void add_stats(struct kith_rt_listener_stats *sum, const struct kith_rt_listener_stats *one)
{
    sum->accepted += one->accepted;
    sum->closed_no_memory += one->closed_no_memory;
    sum->closed_no_handles += one->closed_no_handles;
    sum->failed += one->failed;
}

struct kith_rt_listener_stats kith__httpd_listener_stats(const struct kith_httpd *httpd)
{
    struct kith_rt_listener_stats sum = httpd->ended;

    for (size_t i = 0; i < httpd->listener_count; i++) {
        struct kith_rt_listener_stats one = kith__rt_listener_stats(httpd->listeners[i].listener);

        add_stats(&sum, &one);
    }
    return sum;
}

void kith__httpd_drain(struct kith_httpd *httpd)
{
    httpd->is_draining = true;
    httpd->ended = kith__httpd_listener_stats(httpd);
    while (httpd->listener_count > 0)
        kith__rt_listener_close(httpd->listeners[--httpd->listener_count].listener);
}

size_t kith__httpd_conn_count(const struct kith_httpd *httpd)
{
    return httpd->conn_count;
}

bool kith__httpd_is_idle(const struct kith_httpd *httpd)
{
    KITH_LIST_EACH(node, &httpd->conns)
    {
        const struct kith_httpd_conn *conn = KITH_CONTAINER(node, struct kith_httpd_conn, node);

        if (conn->is_deferred || conn->head.size != 0 || kith__link_is_writing(conn->link))
            return false;
    }
    return true;
}

void kith__httpd_set_limits(struct kith_httpd *httpd, size_t connections_max, uint64_t limit_ns)
{
    httpd->options.connections_max = connections_max;
    httpd->options.limit_ns = limit_ns;
    arm(httpd);
}
