/*
 * The test program `paths`: one connection of kith's engine over two sockets, 127.0.0.1 and 127.0.0.2, with a real peer
 * (tests/interop/README.md). What happens to its paths is printed line by line.
 *
 *     paths dial TICKET second|kill|generations|keys|punch
 *     paths serve
 */
#include "quic/conn/conn.h"
#include "rt/uv/uv.h"
#include <kith/endpoint.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOCKETS = 2, LIMIT_S = 60, GENERATIONS = 100, BYTES = 30000000 };

struct paths {
    struct kith_rt *rt;
    struct kith_rt_udp *udp[SOCKETS];
    struct kith_rt_timer timer;
    struct kith_quic_host *host;
    struct kith_quic_conn *conn;
    struct kith_addr peer;
    const char *what;
    bool is_server, is_dead[SOCKETS]; /* of a dead socket nothing leaves, and nothing arrives */
    bool done, failed;
    uint64_t stream, written, generation, died_ns;
    uint64_t received[SOCKETS]; /* datagrams, or several in one buffer */
    uint32_t second;            /* path id over the second socket */
    uint8_t answer[8];
    size_t answered;
};

static uint8_t packet[KITH_RT_UDP_SEND_MAX];

static uint64_t now_of(struct paths *p)
{
    return kith__rt_now(p->rt);
}

static void fail(struct paths *p, const char *what, int err)
{
    printf("ERROR %s: %s\n", what, kith_err_name(err));
    p->failed = p->done = true;
}

static size_t socket_of(struct paths *p, const struct kith_sockaddr *local)
{
    for (size_t i = 0; i < SOCKETS; i++)
        if (kith__rt_udp_local(p->udp[i]).port == local->port)
            return i;
    return 0;
}

static void flush(struct paths *p)
{
    struct kith_quic_transmit transmit;

    while (kith_quic_host_transmit(p->host, packet, sizeof packet, &transmit, now_of(p))) {
        size_t index = socket_of(p, &transmit.local);

        if (!p->is_dead[index] && kith__rt_udp_send(p->udp[index], &transmit, packet) != 0)
            printf("NOTE a datagram was not sent\n");
    }
    kith__rt_timer_set(&p->timer, kith_quic_host_deadline(p->host));
}

/* ---- Dialling ---- */

static void open_second(struct paths *p)
{
    struct kith_sockaddr local = kith__rt_udp_local(p->udp[1]);
    bool is_backup = strcmp(p->what, "kill") == 0;
    int err = kith_quic_conn_path_open(p->conn, &local, &p->peer.ips[0], is_backup, now_of(p), &p->second);

    if (err == KITH_ERR_AGAIN || err == KITH_ERR_LIMIT)
        printf("WAIT\n");
    else if (err != 0)
        fail(p, "path_open", err);
}

/** As many bytes as fit; the server answers with their number when all are there. */
static void upload(struct paths *p)
{
    static const uint8_t zeros[65536];
    size_t written, size;

    while (p->written < BYTES) {
        size = (size_t)KITH_MIN((uint64_t)sizeof zeros, BYTES - p->written);
        if (kith_quic_stream_write(p->conn, p->stream, zeros, size, p->written + size == BYTES, &written) != 0)
            break;
        p->written += written;
    }
    if (strcmp(p->what, "kill") == 0 && p->written > BYTES / 3 && !p->is_dead[0]) {
        p->is_dead[0] = true;
        p->died_ns = now_of(p);
        printf("DIED\n");
    }
}

static void begin_upload(struct paths *p)
{
    int err = 0;

    if (strcmp(p->what, "second") == 0) /* all goes over the second path now */
        err = kith_quic_conn_path_set_backup(p->conn, 0, true, now_of(p));
    if (err == 0)
        err = kith_quic_stream_open(p->conn, true, &p->stream);
    if (err != 0)
        fail(p, "upload", err);
    else
        upload(p);
}

/** Names the second socket to the server, which then probes it, and probes the server's address. */
static void punch(struct paths *p)
{
    struct kith_sockaddr candidate = kith__rt_udp_local(p->udp[1]);
    int err;

    printf("CANDIDATES %zu\n", kith_quic_conn_candidates(p->conn, NULL, 0));
    if (strcmp(p->what, "punch") != 0 || p->stream != UINT64_MAX)
        return;
    if ((err = kith_quic_conn_add_candidate(p->conn, &candidate, now_of(p))) != 0 ||
        (err = kith_quic_conn_punch(p->conn, now_of(p))) != 0)
        fail(p, "punch", err);
    else
        begin_upload(p);
}

static void on_validated(struct paths *p, uint32_t path)
{
    int err;

    printf("VALIDATED %u\n", path);
    if (p->is_server)
        return;
    if (strcmp(p->what, "generations") != 0) {
        begin_upload(p);
        return;
    }
    err = kith_quic_conn_path_close(p->conn, path, 0x3e, now_of(p));
    if (err != 0)
        fail(p, "path_close", err);
    else if (++p->generation == GENERATIONS)
        begin_upload(p);
    else
        open_second(p);
}

static void say_paths(struct kith_quic_conn *conn)
{
    struct kith_quic_path_info infos[KITH_PATH_IDS_MAX];
    size_t count = kith_quic_conn_paths(conn, infos, KITH_PATH_IDS_MAX);

    for (size_t i = 0; i < count; i++)
        printf("PATH %u state %u validated %d sent %" PRIu64 " received %" PRIu64 " lost %" PRIu64 "\n", infos[i].id,
               infos[i].state, infos[i].is_validated, infos[i].bytes_sent, infos[i].bytes_received,
               infos[i].packets_lost);
}

static void on_answer(struct paths *p)
{
    struct kith_quic_conn_stats stats;
    uint64_t count = 0;

    for (int i = 0; i < 8; i++)
        count = count << 8 | p->answer[i];
    kith_quic_conn_stats(p->conn, &stats);
    printf("ANSWER %" PRIu64 " key_updates %" PRIu64 "\n", count, stats.key_updates);
    if (p->died_ns != 0)
        printf("TOOK %d ms\n", (int)((now_of(p) - p->died_ns) / KITH_NS_PER_MS));
    printf("PROBES %" PRIu64 "\n", p->received[1]);
    say_paths(p->conn);
    kith_quic_conn_close(p->conn, 0, (struct kith_slice) { (const uint8_t *)"done", 4 }, now_of(p));
}

static void on_readable(struct paths *p, struct kith_quic_conn *conn, uint64_t stream)
{
    struct kith_slice bytes;
    size_t written;
    int err;

    while ((err = kith_quic_stream_peek(conn, stream, &bytes, NULL)) == 0) {
        if (p->is_server) { /* small echoes only */
            if (kith_quic_stream_write(conn, stream, bytes.ptr, bytes.size, false, &written) != 0 ||
                written != bytes.size)
                fail(p, "echo", KITH_ERR_AGAIN);
        } else {
            memcpy(p->answer + p->answered, bytes.ptr, KITH_MIN(bytes.size, 8 - p->answered));
            p->answered += KITH_MIN(bytes.size, 8 - p->answered);
        }
        if (kith_quic_stream_consume(conn, stream, bytes.size) != 0)
            abort();
    }
    if (err != KITH_ERR_END)
        return;
    if (!p->is_server)
        on_answer(p);
    else if (kith_quic_stream_finish(conn, stream) != 0)
        fail(p, "finish", KITH_ERR_STATE);
}

/* ---- Events ---- */

static void on_closed(struct paths *p, struct kith_quic_conn *conn)
{
    struct kith_quic_close_info info;

    if (kith_quic_conn_close_info(conn, &info) == 0)
        printf("CLOSED %s %s 0x%" PRIx64 " %.*s\n", kith_err_name(info.err), info.by_peer ? "peer" : "local", info.code,
               (int)info.reason.size, (const char *)info.reason.ptr);
    if (info.err != KITH_ERR_CLOSED && !p->is_server)
        p->failed = true;
}

static void on_confirmed(struct paths *p, struct kith_quic_conn *conn)
{
    struct kith_sockaddr candidate = kith__rt_udp_local(p->udp[1]);
    int err;

    printf("CONFIRMED\n");
    if (!p->is_server) {
        if (strcmp(p->what, "punch") != 0)
            open_second(p);
        return;
    }
    if ((err = kith_quic_conn_add_candidate(conn, &candidate, now_of(p))) != 0)
        fail(p, "add_candidate", err);
}

static void on_event(struct paths *p, const struct kith_quic_event *event)
{
    struct kith_quic_conn *accepted;

    switch ((enum kith_quic_event_kind)event->kind) {
    case KITH_QUIC_INCOMING:
        if (kith_quic_incoming_accept(event->incoming, NULL, now_of(p), &accepted) != 0)
            fail(p, "accept", KITH_ERR_NOMEM);
        break;
    case KITH_QUIC_CONFIRMED:
        on_confirmed(p, event->conn);
        break;
    case KITH_QUIC_PATHS_AVAILABLE:
        open_second(p);
        break;
    case KITH_QUIC_PATH_OPENED:
        printf("OPENED %u\n", event->path);
        break;
    case KITH_QUIC_PATH_VALIDATED:
        on_validated(p, event->path);
        break;
    case KITH_QUIC_PATH_ABANDONED:
        printf("ABANDONED %u code 0x%" PRIx64 " by %s\n", event->path, event->code, event->by_peer ? "peer" : "us");
        break;
    case KITH_QUIC_CANDIDATES_CHANGED:
        punch(p);
        break;
    case KITH_QUIC_STREAM_READABLE:
        on_readable(p, event->conn, event->stream);
        break;
    case KITH_QUIC_STREAM_WRITABLE:
        if (!p->is_server)
            upload(p);
        break;
    case KITH_QUIC_CLOSED:
        if (p->is_server)
            say_paths(event->conn);
        on_closed(p, event->conn);
        break;
    case KITH_QUIC_DRAINED:
        kith_quic_conn_free(event->conn);
        p->done = !p->is_server;
        break;
    default:
        break;
    }
}

static void on_turn_end(void *ctx)
{
    struct paths *p = ctx;
    struct kith_quic_event event;

    while (kith_quic_host_next_event(p->host, &event))
        on_event(p, &event);
    flush(p);
    fflush(stdout);
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct paths *p = ctx;

    for (size_t i = 0; i < count; i++) {
        size_t index = socket_of(p, &batch[i].local);

        p->received[index]++;
        if (!p->is_dead[index])
            kith_quic_host_receive(p->host, &batch[i], now_ns);
    }
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct paths *p = ctx;

    kith_quic_host_on_deadline(p->host, now_ns);
}

/* ---- Start ---- */

static int open_sockets(struct paths *p)
{
    struct kith_rt_udp_events events = { on_receive, NULL, p };
    struct kith_rt_udp_options options = { .local = { .family = KITH_FAMILY_V4, .ip = { 127, 0, 0, 1 } } };
    int err = 0;

    for (int i = 0; i < SOCKETS && err == 0; i++) {
        options.local.ip[3] = (uint8_t)(1 + i);
        err = kith__rt_udp_open(p->rt, &options, &events, &p->udp[i]);
    }
    return err;
}

static int make_host(struct paths *p)
{
    struct kith_slice alpn = { (const uint8_t *)"kith-test/echo", 14 };
    struct kith_quic_host_options options;

    kith_quic_host_defaults(&options);
    options.random = *kith__rt_system_random();
    options.random.fill(options.random.ctx, options.secret.bytes, sizeof options.secret.bytes);
    options.alpns = &alpn;
    options.alpn_count = p->is_server ? 1 : 0;
    options.transport.paths_max = 8;
    options.transport.nat_traversal_max = 32;
    if (strcmp(p->what, "keys") == 0) {
        options.transport.key_update_after = 500;
        options.transport.schedule = KITH_QUIC_SCHEDULE_SPREAD;
    }
    return kith_quic_host_new(&options, &p->host);
}

static int dial(struct paths *p)
{
    struct kith_slice alpn = { (const uint8_t *)"kith-test/sink", 14 };
    struct kith_quic_connect_options options = { .remote_id = p->peer.id,
                                                 .remotes = p->peer.ips,
                                                 .remote_count = 1,
                                                 .alpns = &alpn,
                                                 .alpn_count = 1,
                                                 .local = kith__rt_udp_local(p->udp[0]) };

    return kith_quic_connect(p->host, &options, now_of(p), &p->conn);
}

static void say_ready(struct paths *p)
{
    struct kith_id id = kith_quic_host_id(p->host);
    struct kith_sockaddr address = kith__rt_udp_local(p->udp[0]);
    char text[KITH_TICKET_TEXT_SIZE];

    kith_addr_init(&p->peer, &id);
    if (kith_addr_add_ip(&p->peer, &address) != 0 || kith_ticket_format(&p->peer, text, sizeof text) != 0)
        abort();
    printf("READY %s\n", text);
}

static int start(struct paths *p)
{
    struct kith_rt_hooks hooks = { .on_turn_end = on_turn_end, .ctx = p };
    int err;

    if ((err = kith__rt_uv_new(NULL, NULL, &p->rt)) != 0 || (err = open_sockets(p)) != 0 ||
        (err = kith__rt_timer_init(p->rt, &p->timer, on_timer, p)) != 0 || (err = make_host(p)) != 0)
        return err;
    kith__rt_set_hooks(p->rt, &hooks);
    if (p->is_server)
        say_ready(p);
    else if ((err = dial(p)) != 0)
        return err;
    flush(p);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    static struct paths p;
    int err;

    p.stream = UINT64_MAX;
    p.is_server = argc == 2 && strcmp(argv[1], "serve") == 0;
    p.what = argc == 4 ? argv[3] : "";
    if (!p.is_server && (argc != 4 || kith_addr_parse(argv[2], &p.peer) != 0 || p.peer.ip_count == 0)) {
        fprintf(stderr, "usage: paths dial TICKET second|kill|generations|keys|punch\n       paths serve\n");
        return 2;
    }
    if ((err = start(&p)) != 0)
        fail(&p, "start", err);
    else if ((err = kith__rt_run(p.rt, &p.done, p.is_server ? KITH_NEVER : now_of(&p) + LIMIT_S * KITH_NS_PER_S)) != 0)
        fail(&p, "time", err);
    kith_quic_host_free(p.host);
    return p.failed;
}
