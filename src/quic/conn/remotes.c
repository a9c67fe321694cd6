/* Where a server may be: until it answers, each Initial of a client goes to all addresses. */
#include "base/assert.h"
#include "base/mem.h"
#include "quic/conn/conn.h"
#include "quic/conn/fate.h"
#include <string.h>

enum { FIRST_PROBES = 2 }; /* a client's first flight has rarely more datagrams than this */

/** Room for all, and for the datagram that is copied. */
static int make_room(struct kith_quic_conn *conn)
{
    struct kith_conn_early *early = conn->early;

    if (early->remotes == NULL)
        early->remotes = kith__alloc_array(&conn->mem.mem, KITH_CONN_REMOTES_ALL_MAX - 1, sizeof *early->remotes);
    if (early->copy == NULL && early->remotes != NULL)
        early->copy = kith__alloc(&conn->mem.mem, KITH_QUIC_UDP_SIZE_MAX);
    return early->copy != NULL ? 0 : KITH_ERR_NOMEM;
}

int kith__conn_init_remotes(struct kith_quic_conn *conn, const struct kith_sockaddr *remotes, size_t count)
{
    struct kith_conn_early *early = conn->early;
    int err;

    KITH_ASSERT(count >= 1 && count <= KITH_CONN_REMOTES_MAX);
    if (count == 1)
        return 0;
    if ((err = make_room(conn)) != 0)
        return err;
    memcpy(early->remotes, remotes + 1, (count - 1) * sizeof *remotes);
    early->remote_count = (uint8_t)(count - 1);
    return 0;
}

static bool has_remote(const struct kith_quic_conn *conn, const struct kith_sockaddr *remote)
{
    if (kith_sockaddr_equal(&conn->paths[0]->tuple.remote, remote))
        return true;
    for (size_t i = 0; i < conn->early->remote_count; i++)
        if (kith_sockaddr_equal(&conn->early->remotes[i], remote))
            return true;
    return false;
}

/**
 * What was sent goes out again now, and with it the copies: also to the other addresses, as a second try that they are due for
 * soon anyway. How long the old ones were silent says nothing about the new one: timeouts begin anew.
 */
static void resend_first(struct kith_quic_conn *conn)
{
    struct kith_conn_space *space = &conn->early->spaces[KITH_SPACE_INITIAL];

    if (space->sent.eliciting == 0)
        return; /* nothing was sent yet, and the first packet will go everywhere */
    conn->paths[0]->loss.pto_count = 0;
    space->probes = KITH_MAX(space->probes, (uint8_t)KITH_MIN(space->sent.eliciting, (size_t)FIRST_PROBES));
    kith__fate_resend_for_probe(conn, conn->paths[0], KITH_SPACE_INITIAL, space->probes);
}

int kith_quic_conn_add_remote(struct kith_quic_conn *conn, const struct kith_sockaddr *remote, uint64_t now_ns)
{
    struct kith_conn_early *early = conn->early;
    int err;

    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    if (!conn->is_client || early == NULL || early->has_remote_cid || early->retry_scid.size != 0)
        return KITH_ERR_STATE;
    if (remote->family == KITH_FAMILY_NONE)
        return KITH_ERR_INVALID;
    if (has_remote(conn, remote))
        return KITH_ERR_EXISTS;
    if (early->remote_count == KITH_CONN_REMOTES_ALL_MAX - 1)
        return KITH_ERR_LIMIT;
    if ((err = make_room(conn)) != 0)
        return err;
    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    early->remotes[early->remote_count++] = *remote;
    resend_first(conn);
    kith__conn_touch(conn);
    return 0;
}
