/* What path-agent hears from the engine: it serves streams, and tells the rest. */
#include "base/assert.h"
#include "path_agent.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PATTERN = 251, BLOCK = PATTERN * 256 };

/* ---- Streams ---- */

static const uint8_t *pattern(void)
{
    static uint8_t block[BLOCK + PATTERN];

    if (block[1] == 0)
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = (uint8_t)(i % PATTERN);
    return block;
}

static struct paths_stream *new_stream(struct paths *paths, struct kith_quic_conn *conn, uint64_t id)
{
    struct paths_stream *stream = calloc(1, sizeof *stream);

    if (stream == NULL)
        abort();
    stream->id = id;
    stream->conn = conn;
    stream->next = paths->streams;
    paths->streams = stream;
    kith_quic_stream_set_user(conn, id, stream);
    return stream;
}

static void send_pattern(struct kith_quic_conn *conn, struct paths_stream *stream)
{
    size_t written;

    while (stream->sent < stream->size) {
        uint64_t left = stream->size - stream->sent;
        size_t size = left < BLOCK ? (size_t)left : BLOCK;

        if (kith_quic_stream_write(conn, stream->id, pattern() + stream->sent % PATTERN, size, size == left,
                                   &written) != 0)
            return;
        stream->sent += written;
    }
}

int paths_echo(struct paths *paths, uint64_t size)
{
    struct paths_stream *stream;
    uint64_t id;
    int err = size == 0 ? KITH_ERR_INVALID : kith_quic_stream_open(paths->conn, true, &id);

    if (err != 0)
        return err;
    stream = new_stream(paths, paths->conn, id);
    stream->is_mine = true;
    stream->size = size;
    send_pattern(paths->conn, stream);
    return 0;
}

int paths_fetch(struct paths *paths, uint64_t size)
{
    struct paths_stream *stream;
    uint8_t wanted[8];
    uint64_t id;
    size_t written;
    int err = kith_quic_stream_open(paths->conn, true, &id);

    if (err != 0)
        return err;
    for (int i = 0; i < 8; i++)
        wanted[i] = (uint8_t)(size >> (56 - 8 * i));
    stream = new_stream(paths, paths->conn, id);
    stream->is_mine = true;
    stream->sent = stream->size = size; /* the pattern comes from there only */
    return kith_quic_stream_write(paths->conn, id, wanted, sizeof wanted, true, &written);
}

/* A path dies in the middle of what is being moved, at a point that does not depend on how fast this machine is. */
static void count_moved(struct paths *paths, size_t size)
{
    paths->moved += size;
    if (paths->kill_at == 0 || paths->moved < paths->kill_at)
        return;
    paths->kill_at = 0;
    printf("{\"event\":\"killed\",\"path\":%" PRIu32 ",\"ok\":%s,\"after\":%" PRIu64 "}\n", paths->kill_path,
           paths_kill(paths, paths->kill_path) == 0 ? "true" : "false", paths->moved);
}

static void check_pattern(struct paths_stream *stream, const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t part = size - at < BLOCK ? size - at : BLOCK;

        if (memcmp(bytes + at, pattern() + (stream->received + at) % PATTERN, part) != 0)
            stream->is_bad = true;
        at += part;
    }
}

static void finish(struct paths *paths, struct kith_quic_conn *conn, struct paths_stream *stream, int err)
{
    stream->is_done = true;
    if (stream->is_mine)
        printf("{\"event\":\"echoed\",\"size\":%" PRIu64 ",\"ok\":%s,\"why\":\"%s\",\"dropped\":%" PRIu64 "}\n",
               stream->size,
               err == KITH_ERR_END && !stream->is_bad && stream->received == stream->size ? "true" : "false",
               kith_err_name(err), paths->dropped);
    else if (err == KITH_ERR_END && kith_quic_stream_finish(conn, stream->id) != 0)
        printf("{\"event\":\"note\",\"text\":\"an echo could not be finished\"}\n");
}

/* Reads on; what is echoed is taken out only as far as it could be written back, so that the peer feels it. */
static void move(struct paths *paths, struct kith_quic_conn *conn, struct paths_stream *stream)
{
    struct kith_slice bytes;
    size_t size;
    int err;

    if (stream->is_done)
        return;
    while ((err = kith_quic_stream_peek(conn, stream->id, &bytes, NULL)) == 0) {
        size = bytes.size;
        if (stream->is_mine)
            check_pattern(stream, bytes.ptr, bytes.size);
        else if (kith_quic_stream_write(conn, stream->id, bytes.ptr, bytes.size, false, &size) != 0)
            return;
        if (kith_quic_stream_consume(conn, stream->id, size) != 0)
            abort();
        stream->received += size;
        count_moved(paths, size);
    }
    if (err != KITH_ERR_AGAIN)
        finish(paths, conn, stream, err);
}

/* ---- What is told ---- */

static void say_path_event(const struct kith_quic_event *event, const char *name)
{
    struct kith_quic_path_info infos[KITH_QUIC_PATHS_MAX * 2];
    char remote[KITH_SOCKADDR_TEXT_SIZE] = "none", local[KITH_SOCKADDR_TEXT_SIZE] = "none";
    char address[KITH_SOCKADDR_TEXT_SIZE];
    size_t count = kith_quic_conn_paths(event->conn, infos, KITH_COUNT(infos));

    for (size_t i = 0; i < count && i < KITH_COUNT(infos); i++)
        if (infos[i].id == event->path) {
            kith_sockaddr_format(&infos[i].remote, remote);
            kith_sockaddr_format(&infos[i].local, local);
        }
    printf("{\"event\":\"%s\",\"path\":%" PRIu32 ",\"code\":%" PRIu64
           ",\"by_peer\":%s,\"cause\":%u,\"local\":\"%s\",\"remote\":\"%s\",\"address\":\"%s\"}\n",
           name, event->path, event->code, event->by_peer ? "true" : "false", event->cause, local, remote,
           kith_sockaddr_format(&event->address, address));
}

static void say_candidate(const struct kith_quic_event *event)
{
    char address[KITH_SOCKADDR_TEXT_SIZE];

    printf("{\"event\":\"candidates_changed\",\"added\":%s,\"address\":\"%s\"}\n",
           event->kind == KITH_QUIC_CANDIDATE_ADDED ? "true" : "false", kith_sockaddr_format(&event->address, address));
}

static void say_closed(struct kith_quic_conn *conn)
{
    struct kith_quic_close_info info;

    if (kith_quic_conn_close_info(conn, &info) == 0)
        printf("{\"event\":\"closed\",\"why\":\"%s\",\"by_peer\":%s,\"code\":%" PRIu64 ",\"application\":%s}\n",
               kith_err_name(info.err), info.by_peer ? "true" : "false", info.code,
               info.is_application ? "true" : "false");
}

static void on_incoming(struct paths *paths, struct kith_quic_incoming *incoming)
{
    struct kith_quic_conn *conn;
    int err = kith_quic_incoming_accept(incoming, NULL, kith__rt_now(paths->rt), &conn);

    if (err != 0)
        printf("{\"event\":\"refused\",\"why\":\"%s\"}\n", kith_err_name(err));
}

static void on_drained(struct paths *paths, struct kith_quic_conn *conn)
{
    struct paths_stream **at = &paths->streams, *stream;

    while ((stream = *at) != NULL) {
        if (stream->conn != conn) {
            at = &stream->next;
            continue;
        }
        *at = stream->next;
        free(stream);
    }
    kith_quic_conn_free(conn);
    if (conn == paths->conn)
        paths->conn = NULL;
    paths->is_done = paths->is_ending;
}

static void on_stream_event(struct paths *paths, const struct kith_quic_event *event)
{
    struct paths_stream *stream = kith_quic_stream_user(event->conn, event->stream);

    if (event->kind == KITH_QUIC_STREAM_OPENED && event->stream % 4 < 2)
        stream = new_stream(paths, event->conn, event->stream);
    if (stream == NULL)
        return;
    if (event->kind == KITH_QUIC_STREAM_WRITABLE && stream->is_mine)
        send_pattern(event->conn, stream);
    else
        move(paths, event->conn, stream);
}

void paths_event(struct paths *paths, const struct kith_quic_event *event)
{
    static const char *const path_events[] = {
        [KITH_QUIC_PATH_OPENED] = "path_opened",   [KITH_QUIC_PATH_VALIDATED] = "path_validated",
        [KITH_QUIC_PATH_CHANGED] = "path_changed", [KITH_QUIC_PATH_ABANDONED] = "path_abandoned",
        [KITH_QUIC_PATH_OBSERVED] = "observed",    [KITH_QUIC_PATHS_AVAILABLE] = "paths_available",
    };

    if (event->kind == KITH_QUIC_CANDIDATE_ADDED || event->kind == KITH_QUIC_CANDIDATE_REMOVED) {
        say_candidate(event);
        return;
    }
    if (event->kind < KITH_COUNT(path_events) && path_events[event->kind] != NULL) {
        say_path_event(event, path_events[event->kind]);
        return;
    }
    switch (event->kind) {
    case KITH_QUIC_INCOMING:
        on_incoming(paths, event->incoming);
        break;
    case KITH_QUIC_CONNECTED:
        paths->conn = event->conn;
        printf("{\"event\":\"connected\"}\n");
        break;
    case KITH_QUIC_CONFIRMED:
        printf("{\"event\":\"confirmed\"}\n");
        break;
    case KITH_QUIC_STREAM_OPENED:
    case KITH_QUIC_STREAM_READABLE:
    case KITH_QUIC_STREAM_WRITABLE:
        on_stream_event(paths, event);
        break;
    case KITH_QUIC_CLOSED:
        say_closed(event->conn);
        break;
    case KITH_QUIC_DRAINED:
        on_drained(paths, event->conn);
        break;
    default:
        break;
    }
}
