/* Order of events: the handshake's, then streams and datagrams, then the end. */
#include "quic/conn/events.h"

#include "base/assert.h"
#include "quic/conn/conn.h"

static const uint8_t kinds_first[] = { KITH_QUIC_EARLY_READY,     KITH_QUIC_CONNECTED,
                                       KITH_QUIC_CONFIRMED,       KITH_QUIC_PATH_CHANGED,
                                       KITH_QUIC_PATHS_AVAILABLE, KITH_QUIC_CANDIDATE_ADDED,
                                       KITH_QUIC_SESSION,         KITH_QUIC_TOKEN };
static const uint8_t kinds_data[] = { KITH_QUIC_DATAGRAM_READABLE, KITH_QUIC_DATAGRAM_WRITABLE };
static const uint8_t kinds_last[] = { KITH_QUIC_CLOSED, KITH_QUIC_DRAINED };

void kith__conn_note(struct kith_quic_conn *conn, enum kith_quic_event_kind kind)
{
    if (!conn->events.closed_reported || kind == KITH_QUIC_DRAINED)
        conn->events.pending |= 1u << kind;
}

void kith__conn_note_path_news(struct kith_quic_conn *conn, struct kith_path *path, enum kith_path_news news)
{
    path->news |= (uint8_t)news;
    kith__conn_note(conn, KITH_QUIC_PATH_CHANGED); /* stands for all news of paths: see fill_path */
}

void kith__conn_note_path(struct kith_quic_conn *conn, struct kith_path *path)
{
    kith__conn_note_path_news(conn, path, KITH_PATH_NEWS_CHANGED);
}

void kith__conn_note_candidates(struct kith_quic_conn *conn)
{
    conn->events.pending &= ~(1u << KITH_QUIC_CANDIDATE_ADDED); /* what waited may be no news any more */
    if (kith__punch_has_news(&conn->punch))
        kith__conn_note(conn, KITH_QUIC_CANDIDATE_ADDED); /* stands for both kinds of news */
}

bool kith__conn_has_event(const struct kith_quic_conn *conn)
{
    return conn->events.pending != 0 || (!conn->events.closed_reported && kith__stream_set_has_event(&conn->streams));
}

static struct kith_path *path_with_news(const struct kith_quic_conn *conn)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (conn->paths[i]->news != 0)
            return conn->paths[i];
    return NULL;
}

/** The oldest news of the path with the lowest id. What has drained goes when its end was told. */
static void fill_path(struct kith_quic_conn *conn, struct kith_quic_event *out)
{
    static const uint8_t kinds[] = { KITH_QUIC_PATH_OPENED, KITH_QUIC_PATH_VALIDATED, KITH_QUIC_PATH_CHANGED,
                                     KITH_QUIC_PATH_OBSERVED, KITH_QUIC_PATH_ABANDONED };
    struct kith_path *path = path_with_news(conn);
    size_t bit = 0;

    KITH_ASSERT(path != NULL);
    while ((path->news & 1u << bit) == 0)
        bit++;
    path->news &= (uint8_t) ~(1u << bit);
    out->kind = kinds[bit];
    out->path = path->id;
    if (out->kind == KITH_QUIC_PATH_ABANDONED) {
        out->code = path->close_code;
        out->cause = path->close_cause;
        out->by_peer = path->close_cause == KITH_QUIC_CAUSE_PEER;
        out->was_validated = path->was_proved;
    }
    if (out->kind == KITH_QUIC_PATH_OBSERVED)
        out->address = kith__conn_observed(path)->address;
    kith__conn_free_drained(conn);
    if (path_with_news(conn) != NULL)
        conn->events.pending |= 1u << KITH_QUIC_PATH_CHANGED;
}

/** What the server added and took back since the last one was told. */
static void fill_candidate(struct kith_quic_conn *conn, struct kith_quic_event *out)
{
    struct kith_punch_news news;
    bool is_there = kith__punch_next_news(&conn->punch, &news);

    KITH_ASSERT(is_there);
    out->kind = news.is_added ? KITH_QUIC_CANDIDATE_ADDED : KITH_QUIC_CANDIDATE_REMOVED;
    out->address = news.address;
    kith__conn_note_candidates(conn);
}

static void fill(struct kith_quic_conn *conn, uint8_t kind, struct kith_quic_event *out)
{
    struct kith_conn_events *events = &conn->events;

    events->pending &= ~(1u << kind);
    *out = (struct kith_quic_event) { .kind = kind, .conn = conn };
    if (kind == KITH_QUIC_CONNECTED)
        out->early_accepted = events->early_accepted;
    if (kind == KITH_QUIC_CLOSED)
        events->closed_reported = true;
    if (kind == KITH_QUIC_PATH_CHANGED)
        fill_path(conn, out);
    if (kind == KITH_QUIC_CANDIDATE_ADDED)
        fill_candidate(conn, out);
}

static bool next_of(struct kith_quic_conn *conn, const uint8_t *kinds, size_t count, struct kith_quic_event *out)
{
    for (size_t i = 0; i < count; i++)
        if ((conn->events.pending & 1u << kinds[i]) != 0) {
            fill(conn, kinds[i], out);
            return true;
        }
    return false;
}

static bool next_of_streams(struct kith_quic_conn *conn, struct kith_quic_event *out)
{
    struct kith_stream_event event;

    if (conn->events.closed_reported || !kith__stream_set_next_event(&conn->streams, &event))
        return false;
    *out = (struct kith_quic_event) {
        .kind = event.kind, .bidi = event.bidi, .conn = conn, .stream = event.id, .user = event.user, .code = event.code
    };
    return true;
}

bool kith__conn_next_event(struct kith_quic_conn *conn, struct kith_quic_event *out)
{
    return next_of(conn, kinds_first, KITH_COUNT(kinds_first), out) || next_of_streams(conn, out) ||
           next_of(conn, kinds_data, KITH_COUNT(kinds_data), out) ||
           next_of(conn, kinds_last, KITH_COUNT(kinds_last), out);
}
