/** A worker's inside: shared by relay_worker.c (turns, orders) and relay_conn.c (connections). */
#ifndef KITH_SERVER_RELAY_WORKER_PARTS_H
#define KITH_SERVER_RELAY_WORKER_PARTS_H

#include "server/relay_pages.h"
#include "server/relay_pass.h"
#include "server/relay_worker.h"

struct kith_relay_worker {
    struct kith_relay_worker_options options;
    const struct kith_mem *mem;
    struct kith_rt *rt;
    struct kith_relay_counters *counters;
    struct kith_relay_gauges *gauges;
    struct kith_httpd *httpd;
    struct kith_relay_server *server;
    struct kith_relay_access *access;
    struct kith_relay_ask *ask;   /* NULL: no callback over HTTP */
    struct kith_relay_pass *pass; /* NULL: nothing is passed on */
    struct kith_rt_timer timer;
    struct kith_list conns;  /* struct kith_relay_conn: all */
    struct kith_list hellos; /* those whose 101 is still to be written */
    struct kith_list paused; /* those that had their share of this turn, or whose access is being decided */
    size_t conn_count;
    bool is_draining;
    void *lock;              /* of orders */
    struct kith_list orders; /* given, not carried out yet */
};

/** A connection after its upgrade. */
struct kith_relay_conn {
    struct kith_list node, hello_node, paused_node;
    struct kith_relay_worker *worker;
    struct kith_link *link;
    struct kith_relay_session *session; /* NULL: ended, and the link is being closed in order */
    struct kith_relay_ticket ticket;
    struct kith_buf hello; /* the 101, until it is written */
    size_t writing_size;   /* of the session's output under way */
    bool is_told;          /* kith__relay_worker_on_end was called */
};

/** A session ends, for whatever reason, and is still there: tells the owner, if it had proved an id, and the log. Once. */
void kith__relay_worker_on_end(struct kith_relay_worker *worker, const struct kith_relay_session *session,
                               enum kith_relay_end end, const char *why);

/** Answers GET /relay: a 101 and a session, or 400. */
void kith__relay_conn_upgrade(struct kith_relay_worker *worker, struct kith_httpd_conn *http,
                              const struct kith_http_head *head);
/** Writes what waits for it, together with its 101 if that is still due. The connection may be gone after it. */
void kith__relay_conn_write(struct kith_relay_conn *conn);
/** Its session has ended (KITH_RELAY_EVENT_ENDED): closes the link in order. */
void kith__relay_conn_end(struct kith_relay_conn *conn, enum kith_relay_end end, const char *why);
/** Closes at once and frees. */
void kith__relay_conn_close(struct kith_relay_conn *conn);
/** Reads on, if it may by now. False: it may not before more turns have passed, which should come at once. */
bool kith__relay_conn_resume(struct kith_relay_conn *conn);

#endif
