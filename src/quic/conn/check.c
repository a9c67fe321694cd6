/* The invariants of a connection: see conn.h. */
#include "base/assert.h"
#include "quic/conn/conn.h"

void kith__conn_check(const struct kith_quic_conn *conn)
{
    KITH_ASSERT(conn->phase < KITH_PHASE_COUNT);
    KITH_ASSERT(kith__phase_is_open(conn->phase) || conn->close.deadline_ns != KITH_NEVER ||
                conn->phase == KITH_PHASE_DRAINED);
    KITH_ASSERT(conn->phase != KITH_PHASE_CONFIRMED || conn->early == NULL);
    KITH_ASSERT(conn->mem.size >= sizeof *conn);
    for (size_t i = 0; i < conn->path_count; i++) {
        KITH_ASSERT(i == 0 || conn->paths[i - 1]->id < conn->paths[i]->id);
        KITH_ASSERT(!conn->paths[i]->sent.building &&
                    kith__conn_open_space(conn->paths[i])->path == conn->paths[i]->id);
        kith__path_check(conn->paths[i]);
    }
    kith__multipath_check(&conn->mp);
    kith__punch_check_invariants(&conn->punch);
    for (size_t i = 0; i < conn->mp.count && kith__phase_is_open(conn->phase); i++) {
        const struct kith_path *path = kith__conn_path(conn, conn->mp.ids[i].id);

        KITH_ASSERT((conn->mp.ids[i].state == KITH_PATH_ID_LIVE) == (path != NULL && kith__path_is_live(path)));
    }
    KITH_ASSERT(conn->path_count >= 1 && (conn->early == NULL || conn->paths[0]->id == 0));
    kith__stream_set_check(&conn->streams);
    for (int i = 0; conn->early != NULL && i < 2; i++) {
        KITH_ASSERT(!conn->early->spaces[i].sent.building);
        KITH_ASSERT(conn->kept_count <= KITH_CONN_EARLY_PACKETS_MAX);
        kith__sent_check(&conn->early->spaces[i].sent);
    }
    /* Whatever waits for an acknowledgement has a timer, and so has an open connection with an idle timeout. */
    if (kith__phase_is_open(conn->phase) &&
        kith__conn_idle_timeout(conn) - 1 < KITH_NEVER / 2) /* 0: none; and not in ages */
        KITH_ASSERT(kith__conn_deadline(conn) != KITH_NEVER);
}
