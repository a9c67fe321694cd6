/* Connections of a worker after their upgrade: between a link and a session of the core. */
#include "base/assert.h"
#include "base/mem.h"
#include "http/websocket.h"
#include "relay/outbox.h"
#include "server/relay_worker_parts.h"

enum { SLICES_MAX = KITH_RT_STREAM_SLICES_MAX };

/* A client's stream is read once in a turn, and written once: were the first one larger, who sends to somebody else would get
 * less through than who sends to nobody. */
_Static_assert((int)KITH_RT_STREAM_READ_MAX <= (int)KITH_RELAY_OUTPUT_MAX, "a turn reads more than it can write");

static const char *const protocols[] = { "iroh-relay-v2", "iroh-relay-v1" };
static const uint8_t versions[] = { KITH_RELAY_V2, KITH_RELAY_V1 };

static void conn_dispose(struct kith_relay_conn *conn)
{
    struct kith_relay_worker *worker = conn->worker;

    kith__list_remove(&conn->node);
    kith__list_remove(&conn->hello_node);
    kith__list_remove(&conn->paused_node);
    worker->conn_count--;
    kith__relay_ticket_release(&conn->ticket);
    kith__buf_dispose(&conn->hello);
    kith__free(worker->mem, conn);
}

static void tell_end(struct kith_relay_conn *conn, enum kith_relay_end end, const char *why)
{
    if (conn->session == NULL || conn->is_told)
        return;
    conn->is_told = true;
    kith__relay_worker_on_end(conn->worker, conn->session, end, why);
}

void kith__relay_conn_close(struct kith_relay_conn *conn)
{
    tell_end(conn, KITH_RELAY_END_BY_PEER, "the connection was cut");
    /* The link first: slices of the session's output are lent to it. */
    kith__link_close(conn->link);
    kith__relay_session_free(conn->session, kith__rt_now(conn->worker->rt));
    conn_dispose(conn);
}

void kith__relay_conn_end(struct kith_relay_conn *conn, enum kith_relay_end end, const char *why)
{
    tell_end(conn, end, why);
    if (kith__link_is_writing(conn->link) || !kith__link_is_open(conn->link)) {
        kith__relay_conn_close(conn);
        return;
    }
    kith__relay_session_free(conn->session, kith__rt_now(conn->worker->rt));
    conn->session = NULL;
    kith__list_remove(&conn->hello_node);
    kith__list_remove(&conn->paused_node);
    kith__link_finish(conn->link, 0);
}

void kith__relay_conn_write(struct kith_relay_conn *conn)
{
    struct kith_slice slices[SLICES_MAX];
    size_t first = 0, count;

    kith__list_remove(&conn->hello_node);
    if (kith__link_is_writing(conn->link))
        return; /* the 101 went out alone, as there was nothing else to say: on_writable comes back for the rest */
    if (conn->hello.size != 0)
        slices[first++] = kith__buf_slice(&conn->hello);
    count = kith__relay_session_output(conn->session, slices + first, SLICES_MAX - first);
    conn->writing_size = 0;
    for (size_t i = first; i < first + count; i++)
        conn->writing_size += slices[i].size;
    if (first + count != 0 && kith__link_write_slices(conn->link, slices, first + count) != 0)
        kith__relay_conn_close(conn);
}

/* ---- Events of the link ---- */

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct kith_relay_conn *conn = ctx;

    if (conn->session == NULL)
        return;
    kith__relay_session_receive(conn->session, bytes, size, kith__rt_now(conn->worker->rt));
    if (kith__relay_session_turn_left(conn->session) != 0 || kith__list_is_linked(&conn->paused_node))
        return;
    kith__link_read_pause(conn->link);
    kith__list_push_back(&conn->worker->paused, &conn->paused_node);
}

bool kith__relay_conn_resume(struct kith_relay_conn *conn)
{
    if (kith__relay_session_turn_left(conn->session) == 0) /* in debt, or its access is being decided */
        return !kith__relay_session_is_in_debt(conn->session);
    kith__list_remove(&conn->paused_node);
    kith__link_read_resume(conn->link);
    return true;
}

static void on_end(void *ctx, int err)
{
    (void)err;
    kith__relay_conn_close(ctx);
}

static void on_writable(void *ctx, int err)
{
    struct kith_relay_conn *conn = ctx;
    size_t size = conn->writing_size;

    if (conn->session == NULL)
        return;
    if (err != 0) {
        kith__relay_conn_close(conn);
        return;
    }
    kith__buf_dispose(&conn->hello);
    conn->writing_size = 0;
    kith__relay_session_sent(conn->session, size, kith__rt_now(conn->worker->rt));
}

static void on_closed(void *ctx)
{
    conn_dispose(ctx);
}

/* ---- The upgrade ---- */

static void reply_problem(struct kith_relay_worker *worker, struct kith_httpd_conn *http, uint16_t status,
                          enum kith_ws_problem problem, const char *text)
{
    struct kith_relay_page page;
    struct kith_httpd_reply reply = { .status = status };

    kith__relay_page_init(&page, worker->mem, KITH_RELAY_DOOR_TLS, status);
    if (problem == KITH_WS_BAD_VERSION)
        kith__relay_page_header(&page, "sec-websocket-version", "13");
    if (kith__relay_page_text(&page, text) == 0) {
        reply.headers = page.headers;
        reply.header_count = page.header_count;
        reply.body = kith__buf_slice(&page.body);
        /* Without an answer the server closes the connection: all that is left to do without memory. */
        if (kith__httpd_reply(http, &reply) != 0)
            kith__log(&worker->rt->log, KITH_LOG_WARN, "relay", "no memory for an answer");
    }
    kith__relay_page_dispose(&page);
}

static int write_hello(struct kith_buf *hello, const struct kith_ws_offer *offer)
{
    struct kith_writer w;
    uint8_t text[1024];
    int err;

    w = kith__writer(text, sizeof text);
    if ((err = kith__ws_write_response(&w, offer)) != 0 || (err = kith__relay_page_write_security(&w)) != 0 ||
        (err = kith__http_write_end(&w)) != 0)
        return err;
    return kith__buf_append(hello, text, kith__writer_size(&w));
}

/* What a client says of itself in its request, beside the upgrade. */
struct claim {
    struct kith_relay_auth_header header;
    uint8_t exported[KITH_RELAY_EXPORT_SIZE], token[KITH_RELAY_TOKEN_SIZE_MAX];
    bool has_header, is_exported;
    size_t token_size;
};

/* False: a proof that makes no sense, on which the connection is closed without a word (spec/02, 2.1). */
static bool read_claim(const struct kith_http_head *head, const struct kith_link *link, struct claim *claim)
{
    const struct kith_http_header *header = kith__http_header(head, KITH_RELAY_AUTH_HEADER);

    *claim = (struct claim) { 0 };
    claim->token_size = kith__relay_request_token(head, claim->token);
    if (header == NULL)
        return true;
    if (kith__relay_auth_header_parse(header->value, &claim->header) != 0)
        return false;
    claim->has_header = true;
    claim->is_exported = kith__link_is_tls(link) &&
                         kith__link_export(link, kith__http_text(KITH_RELAY_EXPORT_LABEL),
                                           (struct kith_slice) { claim->header.id.bytes, KITH_ID_SIZE },
                                           claim->exported, sizeof claim->exported) == 0;
    return true;
}

static enum kith_relay_version version_of(const struct kith_ws_offer *offer)
{
    size_t i = 0;

    while (offer->protocol != protocols[i])
        i++;
    return (enum kith_relay_version)versions[i];
}

/* Takes the connection over from the HTTP server. On an error everything of it is closed. */
static void start(struct kith_relay_worker *worker, struct kith_httpd_conn *http, struct kith_relay_conn *conn,
                  enum kith_relay_version version, const struct claim *claim)
{
    struct kith_link_events events = { NULL, on_data, on_end, on_writable, on_closed, conn };
    struct kith_httpd_taken taken;
    struct kith_relay_open open = { .version = version, .user = conn };

    kith__httpd_take(http, &taken);
    conn->worker = worker;
    conn->link = taken.link;
    conn->ticket = taken.ticket;
    kith__list_init(&conn->hello_node);
    kith__list_init(&conn->paused_node);
    kith__list_push_back(&worker->conns, &conn->node);
    worker->conn_count++;
    kith__link_set_events(conn->link, &events);
    open.remote = taken.remote;
    open.accepted_ns = taken.accepted_ns;
    open.header = claim->has_header ? &claim->header : NULL;
    open.exported = claim->is_exported ? claim->exported : NULL;
    open.token = (struct kith_slice) { claim->token, claim->token_size };
    open.ticket = &conn->ticket;
    if (kith__relay_session_open(worker->server, &open, kith__rt_now(worker->rt), &conn->session) != 0) {
        kith__relay_conn_close(conn);
        return;
    }
    kith__list_push_back(&worker->hellos, &conn->hello_node);
}

void kith__relay_conn_upgrade(struct kith_relay_worker *worker, struct kith_httpd_conn *http,
                              const struct kith_http_head *head)
{
    struct kith_relay_conn *conn;
    struct kith_ws_offer offer;
    enum kith_ws_problem problem = kith__ws_check_request(head, protocols, KITH_COUNT(protocols), &offer);
    struct claim claim;

    if (problem != KITH_WS_FINE) {
        reply_problem(worker, http, 400, problem, kith__ws_problem_text(problem));
        return;
    }
    if (worker->is_draining) {
        reply_problem(worker, http, 503, KITH_WS_FINE, "This relay is shutting down");
        return;
    }
    /* Nothing may come before the 101 (spec/02, 1.3): who sends at once does not speak this protocol. */
    if (kith__httpd_conn_extra(http) != 0 || !read_claim(head, kith__httpd_conn_link(http), &claim))
        return;
    if ((conn = kith__alloc_zero(worker->mem, sizeof *conn)) == NULL)
        return;
    kith__buf_init(&conn->hello, worker->mem);
    if (write_hello(&conn->hello, &offer) != 0) {
        kith__buf_dispose(&conn->hello);
        kith__free(worker->mem, conn);
        return;
    }
    start(worker, http, conn, version_of(&offer), &claim);
}
