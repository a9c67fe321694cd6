/* Making and ending the object: what a connection owns, and its place in the host's tables. */
#include "quic/conn/conn.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "crypto/sign.h"
#include "quic/conn/fate.h"
#include "quic/host/host.h"

#include <string.h>

/*
 * When the TLS library's part of the connection is not needed any more. A server has made its tickets by the end of the
 * handshake, and a connection that is over soon needs no timer for it; a client waits for them: they follow at once.
 */
#define TLS_DROP_SERVER_NS (100 * KITH_NS_PER_MS)
#define TLS_DROP_CLIENT_NS (5 * KITH_NS_PER_S)

/* ---- Memory that is counted ---- */

enum { BLOCK_HEADER_SIZE = 16 }; /* keeps every alignment */

static void *counted_resize(void *ctx, void *ptr, size_t size)
{
    struct kith_conn_mem *mem = ctx;
    uint8_t *block = ptr != NULL ? (uint8_t *)ptr - BLOCK_HEADER_SIZE : NULL;
    size_t old = 0, whole = size + BLOCK_HEADER_SIZE;

    if (block != NULL)
        memcpy(&old, block, sizeof old);
    if (size == 0) {
        if (block != NULL && kith__blocks_fits(old + BLOCK_HEADER_SIZE))
            kith__blocks_give(mem->blocks, block);
        else
            kith__free(mem->base, block);
        mem->size -= old;
        return NULL;
    }
    if (size > SIZE_MAX - BLOCK_HEADER_SIZE)
        return NULL;
    if (block == NULL && kith__blocks_fits(whole))
        block = kith__blocks_take(mem->blocks);
    else
        block = mem->base->resize(mem->base->ctx, block, kith__blocks_fits(whole) ? KITH_BLOCKS_SIZE : whole);
    if (block == NULL)
        return NULL;
    memcpy(block, &size, sizeof size);
    mem->size += size - old;
    return block + BLOCK_HEADER_SIZE;
}

/* ---- New ---- */

int kith__conn_check_transport(const struct kith_quic_transport *config)
{
    if (config->initial_udp_size < 1200 || config->udp_size_max < config->initial_udp_size ||
        config->udp_size_max > KITH_QUIC_UDP_SIZE_MAX || config->cid_size != KITH_CIDGEN_SIZE ||
        config->congestion > KITH_QUIC_NEWRENO || config->paths_max > KITH_PATHS_MAX ||
        config->schedule > KITH_QUIC_SCHEDULE_SPREAD || config->observed_address > KITH_QUIC_OBSERVED_BOTH ||
        config->nat_traversal_max > KITH_PUNCH_ADDRESSES_MAX || config->initial_rtt_ns == 0 ||
        config->streams_bidi_max > UINT64_C(1) << 60 || config->streams_uni_max > UINT64_C(1) << 60 ||
        config->max_ack_delay_ns >= (UINT64_C(1) << 14) * KITH_NS_PER_MS ||
        /* As they go out, in whole units: the other side refuses a minimum above the maximum. */
        config->min_ack_delay_ns / KITH_NS_PER_US > config->max_ack_delay_ns / KITH_NS_PER_MS * 1000)
        return KITH_ERR_INVALID;
    return 0;
}

static struct kith_stream_limits own_limits(const struct kith_quic_transport *config)
{
    uint64_t stream_data_max = KITH_MIN(config->stream_data_max, KITH_VARINT_MAX);

    return (struct kith_stream_limits) { .data_max = KITH_MIN(config->data_max, KITH_VARINT_MAX),
                                         .bidi_local_max = stream_data_max,
                                         .bidi_remote_max = stream_data_max,
                                         .uni_max = stream_data_max,
                                         .streams_bidi_max = config->streams_bidi_max,
                                         .streams_uni_max = config->streams_uni_max };
}

static void init_streams(struct kith_quic_conn *conn)
{
    struct kith_stream_set_config config = { .mem = &conn->mem.mem,
                                             .is_server = !conn->is_client,
                                             .map_seed = kith__random_u64(&conn->host->random),
                                             .ours = own_limits(&conn->config),
                                             .stream_auto_max = conn->config.stream_data_auto_max,
                                             .stream_auto_total = conn->config.stream_data_auto_total,
                                             .send_buffer_max = conn->config.send_buffer_max };

    kith__stream_set_init(&conn->streams, &config);
}

/** All members that need no allocation: from here on kith_quic_conn_free works. */
static void init_parts(struct kith_quic_conn *conn)
{
    struct kith_quic_host *host = conn->host;
    const struct kith_mem *mem = &conn->mem.mem;

    kith__list_init(&conn->host_node);
    kith__list_init(&conn->send_node);
    kith__list_init(&conn->event_node);
    kith__list_init(&conn->touch_node);
    kith__heap_node_init(&conn->deadline_node);
    kith__buf_init(&conn->alpn, mem);
    kith__buf_init(&conn->session, mem);
    kith__buf_init(&conn->token, mem);
    init_streams(conn);
    kith__datagram_queue_init(&conn->datagrams_out, mem, conn->config.datagram_send_max);
    kith__datagram_queue_init(&conn->datagrams_in, mem, conn->config.datagram_receive_max);
    kith__ack_policy_init(&conn->ack_policy, conn->config.max_ack_delay_ns);
    kith__full_answers_init(&conn->full_answers, conn->now_ns);
    conn->close.deadline_ns = KITH_NEVER;
    conn->keys_drop_ns = conn->tls_drop_ns = KITH_NEVER;
    conn->peer_delay_max_ns = 25 * KITH_NS_PER_MS;
    conn->peer_delay_exponent = 3;
    conn->key_update_at = conn->config.key_update_after != 0 ? conn->config.key_update_after
                                                             : 10 + kith__random_below(&host->random, 990);
    conn->spin_enabled = conn->config.spin_bit && kith__random_below(&host->random, 8) != 0;
    kith__punch_init(&conn->punch, !conn->is_client, conn->config.nat_traversal_max, mem);
    kith__list_push_back(&host->conns, &conn->host_node);
}

static int init_path(struct kith_quic_conn *conn, const struct kith_conn_options *options)
{
    const struct kith_quic_transport *config = &conn->config;
    struct kith_path *path;
    struct kith_rtt fresh;
    int err;

    kith__rtt_init(&fresh, config->initial_rtt_ns);
    kith__multipath_init(&conn->mp, !conn->is_client, config->paths_max != 0 ? config->paths_max - 1u : 0,
                         KITH_DRAIN_PTOS * kith__rtt_pto_ns(&fresh, conn->peer_delay_max_ns));
    err = kith__conn_add_path(conn, 0, &options->tuple, &path);

    if (err == 0)
        kith__path_start(path, false, conn->now_ns);
    return err;
}

static int init_early(struct kith_quic_conn *conn, const struct kith_conn_options *options)
{
    struct kith_conn_early *early = kith__alloc_zero(&conn->mem.mem, sizeof *early);
    struct kith_random *random = &conn->host->random;

    if (early == NULL)
        return KITH_ERR_NOMEM;
    conn->early = early;
    kith__buf_init(&early->token, &conn->mem.mem);
    for (int i = 0; i < 2; i++) {
        kith__received_init(&early->spaces[i].received, &conn->mem.mem);
        kith__sent_init(&early->spaces[i].sent, &conn->mem.mem, 0);
        kith__open_space_init(&early->spaces[i].open, 0);
    }
    early->odcid = options->odcid;
    early->retry_scid = options->retry_scid;
    conn->initial_dcid = options->initial_dcid;
    early->is_peer_waiting = conn->is_client;
    early->give_up_ns = KITH_NEVER;
    if (conn->is_client) {
        early->odcid.size = KITH_CID_SIZE_MAX;
        kith__random_fill(random, early->odcid.bytes, KITH_CID_SIZE_MAX);
        conn->initial_dcid = early->odcid;
        kith__cid_theirs_set_first(&conn->paths[0]->cids_theirs, &early->odcid);
    } else {
        early->has_remote_cid = true;
        early->first_remote_cid = options->remote_scid;
        if (conn->config.handshake_timeout_ns != 0)
            early->give_up_ns = conn->now_ns + KITH_MIN(conn->config.handshake_timeout_ns, KITH_NEVER - conn->now_ns);
        kith__cid_theirs_set_first(&conn->paths[0]->cids_theirs, &options->remote_scid);
    }
    return kith__keys_install_initial(&early->spaces[KITH_SPACE_INITIAL].keys, &conn->mem.mem,
                                      kith__cid_slice(&conn->initial_dcid), conn->is_client);
}

/** Our first id, and at a server the one that the client's Initials carry. */
static int init_cids(struct kith_quic_conn *conn)
{
    struct kith_cid cid;
    int err = kith__host_issue_cid(conn->host, conn, &cid);

    if (err != 0)
        return err;
    kith__cid_ours_add(&conn->paths[0]->cids_ours, &cid, true);
    if (conn->is_client)
        return 0;
    return kith__host_add_cid(conn->host, conn, kith__cid_slice(&conn->initial_dcid));
}

static int start_client(struct kith_quic_conn *conn, const struct kith_quic_connect_options *connect,
                        const char *server_name)
{
    uint8_t params[KITH_TPARAMS_SIZE_MAX];
    struct kith_tls_context *ctx = server_name != NULL ? conn->host->tls_x509 : conn->host->tls;
    struct kith_tls_client_options options = { .expected = connect->remote_id,
                                               .server_name = server_name,
                                               .alpns = connect->alpns,
                                               .alpn_count = connect->alpn_count,
                                               .session = connect->session,
                                               .early_data = connect->early_data,
                                               .key_log = conn->config.key_log };
    struct kith_tls *tls;
    int err;

    if ((err = kith__conn_init_remotes(conn, connect->remotes, connect->remote_count)) != 0)
        return err;
    if ((err = kith__buf_append(&conn->early->token, connect->token.ptr, connect->token.size)) != 0)
        return err;
    options.params = (struct kith_slice) { params, kith__conn_write_params(conn, params) };
    if ((err = kith__tls_new_client(ctx, &options, &tls)) != 0)
        return err;
    kith__handshake_init(&conn->handshake, &conn->mem.mem, tls, conn->early->streams);
    return 0;
}

static int start_server(struct kith_quic_conn *conn, bool is_address_proved)
{
    uint8_t bytes[KITH_TPARAMS_SIZE_MAX];
    struct kith_tparams params;
    struct kith_quic_host *host = conn->host;
    struct kith_tls_server_options options = { .alpns = host->alpns.items,
                                               .alpn_count = host->alpns.count,
                                               .early_data = conn->config.allow_early_data,
                                               .key_log = conn->config.key_log };
    struct kith_tls *tls;
    int err;

    kith__conn_own_params(conn, &params);
    options.early_tag = kith__tparams_early_tag(&params);
    if ((err = kith__tls_new_server(host->serves_x509 ? host->tls_x509 : host->tls, &options, &tls)) != 0)
        return err;
    kith__handshake_init(&conn->handshake, &conn->mem.mem, tls, conn->early->streams);
    if (is_address_proved)
        kith__path_on_proved(conn->paths[0], conn->now_ns);
    return kith__tls_set_params(tls, (struct kith_slice) { bytes, kith__conn_write_params(conn, bytes) });
}

static void start_qlog(struct kith_quic_conn *conn, const struct kith_tuple *tuple)
{
    const struct kith_path *path = conn->paths[0];

    if (!conn->config.qlog)
        return;
    kith__qlog_init(&conn->qlog, conn->host->qlog, conn->host->sink_ctx, conn->serial, conn->is_client,
                    kith__cid_slice(&conn->early->odcid), conn->now_ns);
    kith__qlog_connection_started(&conn->qlog, &tuple->local, &tuple->remote,
                                  kith__cid_slice(&path->cids_ours.slots[0].cid),
                                  kith__cid_slice(kith__cid_theirs_active(&path->cids_theirs)), conn->now_ns);
    kith__qlog_tuple_assigned(&conn->qlog, 0, &tuple->local, &tuple->remote, conn->now_ns);
}

int kith__conn_new(struct kith_quic_host *host, const struct kith_conn_options *options, uint64_t now_ns,
                   struct kith_quic_conn **out)
{
    struct kith_quic_conn *conn;
    int err = kith__conn_check_transport(options->transport);

    if (err != 0)
        return err;
    if ((err = kith__heap_reserve(&host->deadlines, host->stats.conns_live + 1)) != 0)
        return err;
    conn = kith__alloc_zero(host->mem, sizeof *conn);
    if (conn == NULL)
        return KITH_ERR_NOMEM;
    conn->host = host;
    conn->mem = (struct kith_conn_mem) { { counted_resize, &conn->mem }, host->mem, &host->blocks, sizeof *conn };
    conn->config = *options->transport;
    conn->is_client = options->is_client;
    conn->now_ns = now_ns;
    conn->serial = host->next_serial++;
    host->stats.conns_opened++;
    host->stats.conns_live++;
    init_parts(conn);
    if ((err = init_path(conn, options)) != 0 || (err = init_early(conn, options)) != 0 || (err = init_cids(conn)) != 0)
        goto fail;
    start_qlog(conn, &options->tuple);
    err = conn->is_client ? start_client(conn, options->connect, options->server_name)
                          : start_server(conn, options->is_address_proved);
    if (err != 0)
        goto fail;
    if (conn->is_client) {
        conn->remote_id = options->connect->remote_id;
        if (kith__conn_run_handshake(conn) != 0) {
            err = conn->close.info.err;
            goto fail;
        }
    }
    kith__conn_touch(conn);
    *out = conn;
    return 0;
fail:
    host->stats.conns_opened--;
    kith_quic_conn_free(conn);
    return err;
}

int kith_quic_connect(struct kith_quic_host *host, const struct kith_quic_connect_options *options, uint64_t now_ns,
                      struct kith_quic_conn **out)
{
    struct kith_conn_options made = { .transport = options->transport != NULL ? options->transport : &host->transport,
                                      .is_client = true,
                                      .connect = options };

    if (options->remote_count == 0)
        return KITH_ERR_NO_ADDRESS;
    if (options->remote_count > KITH_CONN_REMOTES_MAX || options->token.size > KITH_CONN_TOKEN_SIZE_MAX)
        return KITH_ERR_INVALID;
    if (memcmp(options->remote_id.bytes, host->id.bytes, KITH_ID_SIZE) == 0)
        return KITH_ERR_WRONG_PEER;
    made.tuple = (struct kith_tuple) { options->local, options->remotes[0] };
    return kith__conn_new(host, &made, now_ns, out);
}

/* ---- End ---- */

void kith__conn_free_kept(struct kith_quic_conn *conn)
{
    while (conn->kept != NULL) {
        struct kith_kept_packet *next = conn->kept->next;

        kith__free(&conn->mem.mem, conn->kept);
        conn->kept = next;
    }
    conn->kept_count = 0;
}

static void free_early(struct kith_quic_conn *conn)
{
    struct kith_conn_early *early = conn->early;

    if (early == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        kith__received_dispose(&early->spaces[i].received);
        kith__sent_dispose(&early->spaces[i].sent);
        kith__keys_dispose(&early->spaces[i].keys);
    }
    kith__keys_dispose(&early->zero_rtt);
    kith__buf_dispose(&early->token);
    kith__free(&conn->mem.mem, early->remotes);
    kith__free(&conn->mem.mem, early->copy);
    kith__free(&conn->mem.mem, early);
    conn->early = NULL;
}

void kith_quic_conn_free(struct kith_quic_conn *conn)
{
    struct kith_quic_host *host;

    if (conn == NULL)
        return;
    host = conn->host;
    kith__conn_unregister(conn);
    kith__handshake_dispose(&conn->handshake);
    free_early(conn);
    kith__conn_free_kept(conn);
    kith__keys_dispose(&conn->keys);
    kith__stream_set_dispose(&conn->streams);
    kith__datagram_queue_dispose(&conn->datagrams_in);
    kith__datagram_queue_dispose(&conn->datagrams_out);
    kith__conn_free_paths(conn);
    kith__punch_dispose(&conn->punch);
    kith__qlog_dispose(&conn->qlog);
    kith__buf_dispose(&conn->alpn);
    if (conn->session.ptr != NULL)
        kith__wipe(conn->session.ptr, conn->session.cap); /* lets its holder read 0-RTT data */
    kith__buf_dispose(&conn->session);
    kith__buf_dispose(&conn->token);
    kith__free(&conn->mem.mem, conn->close.reason);
    KITH_ASSERT(conn->mem.size == sizeof *conn);
    kith__list_remove(&conn->host_node);
    kith__list_remove(&conn->send_node);
    kith__list_remove(&conn->event_node);
    kith__list_remove(&conn->touch_node);
    kith__heap_remove(&host->deadlines, &conn->deadline_node);
    host->stats.conns_live--;
    host->found = NULL;
    kith__free(host->mem, conn);
}

/* ---- Handshake progress ---- */

struct kith_sent_log *kith__conn_sent_log(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space)
{
    if (space == KITH_SPACE_DATA)
        return &path->sent;
    return conn->early != NULL && !conn->early->spaces[space].is_gone ? &conn->early->spaces[space].sent : NULL;
}

struct kith_received *kith__conn_received(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space)
{
    if (space == KITH_SPACE_DATA)
        return &path->received;
    return conn->early != NULL && !conn->early->spaces[space].is_gone ? &conn->early->spaces[space].received : NULL;
}

void kith__conn_drop_space(struct kith_quic_conn *conn, enum kith_space space)
{
    struct kith_conn_space *dropped;

    if (conn->early == NULL || conn->early->spaces[space].is_gone)
        return;
    dropped = &conn->early->spaces[space];
    while (kith__path_take_dropped(conn->paths[0], &dropped->sent) != NULL) {
    }
    kith__loss_on_space_dropped(&conn->paths[0]->loss, space, conn->now_ns);
    kith__handshake_discard(&conn->handshake, space == KITH_SPACE_INITIAL ? KITH_TLS_INITIAL : KITH_TLS_HANDSHAKE);
    kith__sent_dispose(&dropped->sent);
    kith__received_dispose(&dropped->received);
    kith__keys_dispose(&dropped->keys);
    dropped->probes = 0;
    dropped->is_gone = true;
}

void kith__conn_on_confirmed(struct kith_quic_conn *conn)
{
    if (conn->phase != KITH_PHASE_ESTABLISHED)
        return;
    kith__conn_drop_space(conn, KITH_SPACE_INITIAL);
    kith__conn_drop_space(conn, KITH_SPACE_HANDSHAKE);
    kith__phase_enter(&conn->phase, KITH_PHASE_CONFIRMED);
    kith__mtu_put_off(&conn->paths[0]->now.mtu, conn->now_ns + KITH_MTU_START_NS);
    kith__conn_note(conn, KITH_QUIC_CONFIRMED);
    conn->tls_drop_ns = conn->now_ns + (conn->is_client ? TLS_DROP_CLIENT_NS : TLS_DROP_SERVER_NS);
    free_early(conn);
    kith__conn_free_drained(conn);
}

/* ---- Scheduling ---- */

void kith__conn_schedule(struct kith_quic_conn *conn)
{
    struct kith_quic_host *host = conn->host;
    uint64_t deadline = kith__conn_deadline(conn);

    if (kith__qlog_is_on(&conn->qlog))
        kith__conn_log_timers(conn);

    if (kith__conn_has_event(conn) && !kith__list_is_linked(&conn->event_node))
        kith__list_push_back(&host->eventful, &conn->event_node);
    if (deadline == KITH_NEVER)
        kith__heap_remove(&host->deadlines, &conn->deadline_node);
    else if (conn->deadline_node.index == KITH_HEAP_OUT || conn->deadline_node.key != deadline)
        KITH_ASSERT(kith__heap_set(&host->deadlines, &conn->deadline_node, deadline) == 0); /* room was reserved */
}

void kith__conn_touch(struct kith_quic_conn *conn)
{
    kith__host_want_transmit(conn->host, conn);
    kith__conn_schedule(conn);
#ifdef KITH_CONN_CHECK
    kith__conn_check(conn);
#endif
}
