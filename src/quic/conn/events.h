/**
 * What a connection has to report. Repeated news of one kind is one event, and streams keep their own flags, so that the
 * queue is bounded by what exists and never allocates. Source: kith/quic.h, enum kith_quic_event_kind.
 */
#ifndef KITH_QUIC_CONN_EVENTS_H
#define KITH_QUIC_CONN_EVENTS_H

#include "quic/path/path.h"

struct kith_quic_conn;
struct kith_path;

/** By value in the connection; zero is empty. */
struct kith_conn_events {
    uint32_t pending;     /* bit n: an event of kind n waits */
    bool early_accepted;  /* for CONNECTED */
    bool closed_reported; /* CLOSED was taken: no more data events */
};

/** An event of a kind without a stream waits now. Before CLOSED was taken, or the kind is DRAINED. */
void kith__conn_note(struct kith_quic_conn *conn, enum kith_quic_event_kind kind);
/** The user is to hear of a path: news in their order, each once. */
void kith__conn_note_path_news(struct kith_quic_conn *conn, struct kith_path *path, enum kith_path_news news);
/** A path of the connection changed. */
void kith__conn_note_path(struct kith_quic_conn *conn, struct kith_path *path);
/** The server's addresses changed. */
void kith__conn_note_candidates(struct kith_quic_conn *conn);
/** True if kith__conn_next_event would find one. */
bool kith__conn_has_event(const struct kith_quic_conn *conn);
/** Takes the next event. */
bool kith__conn_next_event(struct kith_quic_conn *conn, struct kith_quic_event *out);

#endif
