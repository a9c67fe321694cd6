/* A host: options, tables, scheduling of its connections. What a datagram means is in dispatch.c, clients that wait are in incoming.c. */
#include "quic/host/host.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "crypto/sign.h"
#include "quic/conn/conn.h"
#include "quic/host/derive.h"
#include "tls/tls.h"

#include <string.h>

void kith_quic_transport_defaults(struct kith_quic_transport *transport)
{
    *transport = (struct kith_quic_transport) {
        .idle_timeout_ns = 30 * KITH_NS_PER_S,
        .handshake_timeout_ns = 30 * KITH_NS_PER_S,
        .keep_alive_ns = 5 * KITH_NS_PER_S,
        .data_max = KITH_VARINT_MAX,
        .stream_data_max = 1250000,
        .stream_data_auto_max = 16 * 1024 * 1024,
        .stream_data_auto_total = 32 * 1024 * 1024,
        .streams_bidi_max = 100,
        .streams_uni_max = 100,
        .send_buffer_max = 10000000,
        .datagram_send_max = 1024 * 1024,
        .datagram_receive_max = 1250000,
        .initial_rtt_ns = 333 * KITH_NS_PER_MS,
        .max_ack_delay_ns = 25 * KITH_NS_PER_MS,
        .min_ack_delay_ns = KITH_NS_PER_MS,
        .udp_size_max = 1452,
        .initial_udp_size = 1200,
        .congestion = KITH_QUIC_CUBIC,
        .paths_max = 8,
        .nat_traversal_max = 32,
        .path_idle_timeout_ns = 15 * KITH_NS_PER_S,
        .relay_idle_timeout_ns = 30 * KITH_NS_PER_S,
        .cid_size = KITH_CIDGEN_SIZE,
        .ecn = true,
        .pacing = true,
        .mtu_discovery = true,
        .grease = true,
        .spin_bit = true,
        .allow_early_data = true,
    };
}

void kith_quic_host_defaults(struct kith_quic_host_options *options)
{
    *options = (struct kith_quic_host_options) { .incoming_max = KITH_INCOMING_COUNT_MAX };
    kith_quic_transport_defaults(&options->transport);
}

int kith__alpn_list_copy(const struct kith_mem *mem, const struct kith_slice *alpns, size_t count,
                         struct kith_alpn_list *out)
{
    size_t size = count * sizeof *alpns;
    uint8_t *bytes;

    if (count > KITH_QUIC_ALPN_COUNT_MAX)
        return KITH_ERR_INVALID;
    for (size_t i = 0; i < count; i++) {
        if (alpns[i].size == 0 || alpns[i].size > KITH_QUIC_ALPN_SIZE_MAX)
            return KITH_ERR_INVALID;
        size += alpns[i].size;
    }
    if (count == 0) {
        *out = (struct kith_alpn_list) { 0 };
        return 0;
    }
    out->items = kith__alloc(mem, size);
    if (out->items == NULL)
        return KITH_ERR_NOMEM;
    out->count = count;
    bytes = (uint8_t *)(out->items + count);
    for (size_t i = 0; i < count; i++) {
        memcpy(bytes, alpns[i].ptr, alpns[i].size);
        out->items[i] = (struct kith_slice) { bytes, alpns[i].size };
        bytes += alpns[i].size;
    }
    return 0;
}

void kith__alpn_list_dispose(const struct kith_mem *mem, struct kith_alpn_list *list)
{
    kith__free(mem, list->items);
    *list = (struct kith_alpn_list) { 0 };
}

/**
 * The keys by which a host knows its ids and resets connections that it forgot outlive it. Not those of address tokens:
 * which ones were used is forgotten with the host, and times have no common beginning; a token that is not ours any more
 * only costs its client a round trip.
 */
static void init_lasting_keys(struct kith_quic_host *host, const struct kith_quic_host_options *options)
{
    uint8_t key[KITH_DERIVED_KEY_SIZE];

    if (options->instance.size == 0)
        return;
    kith__derive_key(&options->secret, options->instance, "kith connection ids", key);
    kith__cidgen_set_key(&host->cidgen, key);
    kith__derive_key(&options->secret, options->instance, "kith stateless reset", key);
    kith__reset_set_key(&host->reset, key);
    kith__wipe(key, sizeof key);
}

static void init_tables(struct kith_quic_host *host, const struct kith_quic_host_options *options)
{
    kith__list_init(&host->conns);
    kith__list_init(&host->sending);
    kith__list_init(&host->ending);
    kith__list_init(&host->eventful);
    kith__list_init(&host->touched);
    kith__list_init(&host->incoming_news);
    kith__heap_init(&host->deadlines, host->mem);
    kith__blocks_init(&host->blocks, host->mem);
    kith__map_init(&host->cids, host->mem, kith__random_u64(&host->random));
    kith__map_init(&host->reset_tokens, host->mem, kith__random_u64(&host->random));
    kith__cidgen_init(&host->cidgen, &host->random);
    kith__reset_init(&host->reset, &host->random, KITH_RESET_INTERVAL_NS);
    kith__token_keys_init(&host->tokens, host->mem, &host->random);
    kith__incoming_store_init(&host->incoming, host->mem, kith__random_u64(&host->random), options->incoming_max,
                              KITH_INCOMING_BYTES_MAX, KITH_INCOMING_BYTES_TOTAL_MAX);
}

int kith_quic_host_new(const struct kith_quic_host_options *options, struct kith_quic_host **out)
{
    const struct kith_mem *mem = options->mem != NULL ? options->mem : kith_mem_default();
    struct kith_tls_context_options tls = { .mem = mem, .random = options->random };
    struct kith_quic_host *host;
    int err;

    if (options->random.fill == NULL || kith__conn_check_transport(&options->transport) != 0)
        return KITH_ERR_INVALID;
    host = kith__alloc_zero(mem, sizeof *host);
    if (host == NULL)
        return KITH_ERR_NOMEM;
    host->mem = mem;
    host->random = options->random;
    host->log = options->log;
    host->key_log = options->key_log;
    host->qlog = options->qlog;
    host->sink_ctx = options->sink_ctx;
    host->secret = options->secret;
    host->transport = options->transport;
    init_tables(host, options);
    init_lasting_keys(host, options);
    host->id = kith__secret_id(&host->secret);
    if ((err = kith__alpn_list_copy(mem, options->alpns, options->alpn_count, &host->alpns)) != 0)
        goto fail;
    tls.secret = &host->secret;
    if ((err = kith__tls_context_new(&tls, &host->tls)) != 0)
        goto fail;
    *out = host;
    return 0;
fail:
    kith_quic_host_free(host);
    return err;
}

void kith_quic_host_free(struct kith_quic_host *host)
{
    const struct kith_mem *mem;

    if (host == NULL)
        return;
    mem = host->mem;
    kith__incoming_dispose_all(host);
    KITH_LIST_EACH_SAFE(node, after, &host->conns)
    kith_quic_conn_free(KITH_CONTAINER(node, struct kith_quic_conn, host_node));
    kith__incoming_store_dispose(&host->incoming);
    kith__tls_context_free(host->tls_x509);
    kith__tls_context_free(host->tls);
    kith__alpn_list_dispose(mem, &host->alpns);
    kith__replies_dispose(&host->replies, mem);
    kith__map_dispose(&host->cids);
    kith__map_dispose(&host->reset_tokens);
    kith__heap_dispose(&host->deadlines);
    kith__blocks_dispose(&host->blocks);
    kith__token_keys_dispose(&host->tokens);
    kith__reset_dispose(&host->reset);
    kith__cidgen_dispose(&host->cidgen);
    kith__wipe(&host->secret, sizeof host->secret);
    kith__free(mem, host);
}

struct kith_id kith_quic_host_id(const struct kith_quic_host *host)
{
    return host->id;
}

int kith_quic_host_set_alpns(struct kith_quic_host *host, const struct kith_slice *alpns, size_t count)
{
    struct kith_alpn_list list;
    int err = kith__alpn_list_copy(host->mem, alpns, count, &list);

    if (err != 0)
        return err;
    kith__alpn_list_dispose(host->mem, &host->alpns);
    host->alpns = list;
    return 0;
}

void kith_quic_host_stats(const struct kith_quic_host *host, struct kith_quic_host_stats *out)
{
    *out = host->stats;
    out->incoming_waiting = host->incoming.count;
}

void kith__host_drop(struct kith_quic_host *host, enum kith_drop reason)
{
    switch (reason) {
#define KITH_DROP_CASE(name)                                                                                           \
    case KITH_DROP_##name:                                                                                             \
        host->stats.dropped_##name++;                                                                                  \
        break;
        KITH_QUIC_DROPS(KITH_DROP_CASE)
#undef KITH_DROP_CASE
    case KITH_DROP_COUNT:
        break;
    }
}

/* ---- Connection ids ---- */

struct kith_quic_conn *kith__host_find(const struct kith_quic_host *host, struct kith_slice cid)
{
    return kith__map_get(&host->cids, cid.ptr, cid.size);
}

int kith__host_issue_cid(struct kith_quic_host *host, struct kith_quic_conn *conn, struct kith_cid *cid)
{
    struct kith_cid made = { .size = KITH_CIDGEN_SIZE };
    int err;

    do
        kith__cidgen_next(&host->cidgen, &host->random, made.bytes);
    while (kith__map_get(&host->cids, made.bytes, KITH_CIDGEN_SIZE) != NULL);
    err = kith__map_put(&host->cids, made.bytes, KITH_CIDGEN_SIZE, conn);
    if (err == 0)
        *cid = made;
    return err;
}

void kith__host_reset_token(const struct kith_quic_host *host, const struct kith_cid *cid,
                            uint8_t token[KITH_RESET_TOKEN_SIZE])
{
    kith__reset_token(&host->reset, cid->bytes, cid->size, token);
}

int kith__host_add_cid(struct kith_quic_host *host, struct kith_quic_conn *conn, struct kith_slice cid)
{
    if (kith__map_get(&host->cids, cid.ptr, cid.size) != NULL)
        return KITH_ERR_EXISTS;
    return kith__map_put(&host->cids, cid.ptr, cid.size, conn);
}

void kith__host_remove_cid(struct kith_quic_host *host, const struct kith_quic_conn *conn, struct kith_slice cid)
{
    host->found = NULL;
    if (kith__map_get(&host->cids, cid.ptr, cid.size) == conn)
        kith__map_remove(&host->cids, cid.ptr, cid.size);
}

void kith__host_add_reset_token(struct kith_quic_host *host, struct kith_quic_conn *conn, const uint8_t *token)
{
    if (kith__map_put(&host->reset_tokens, token, KITH_RESET_TOKEN_SIZE, conn) != 0)
        kith__host_drop(host, KITH_DROP_no_memory);
}

void kith__host_remove_reset_token(struct kith_quic_host *host, const struct kith_quic_conn *conn, const uint8_t *token)
{
    if (kith__map_get(&host->reset_tokens, token, KITH_RESET_TOKEN_SIZE) == conn)
        kith__map_remove(&host->reset_tokens, token, KITH_RESET_TOKEN_SIZE);
}

/* ---- Scheduling ---- */

bool kith_quic_host_next_event(struct kith_quic_host *host, struct kith_quic_event *out)
{
    struct kith_list *node;

    if (kith__incoming_next_event(host, out))
        return true;
    while ((node = kith__list_first(&host->eventful)) != NULL) {
        struct kith_quic_conn *conn = KITH_CONTAINER(node, struct kith_quic_conn, event_node);

        kith__list_remove(node);
        if (!kith__conn_next_event(conn, out))
            continue;
        if (kith__conn_has_event(conn)) /* behind the others: one event a turn */
            kith__list_push_back(&host->eventful, node);
        return true;
    }
    return false;
}

static bool transmit_reply(struct kith_quic_host *host, uint8_t *buffer, struct kith_quic_transmit *out)
{
    const struct kith_reply *reply = kith__replies_pop(&host->replies);

    if (reply == NULL)
        return false;
    memcpy(buffer, reply->bytes, reply->size);
    *out = (struct kith_quic_transmit) { .local = reply->local, .remote = reply->remote, .size = reply->size };
    host->stats.datagrams_sent++;
    host->stats.bytes_sent += reply->size;
    return true;
}

void kith__host_want_transmit(struct kith_quic_host *host, struct kith_quic_conn *conn)
{
    bool is_open = kith__phase_is_open(conn->phase);

    if (conn->phase == KITH_PHASE_DRAINED || (is_open && kith__list_is_linked(&conn->send_node)))
        return;
    kith__list_remove(&conn->send_node); /* it may still stand among those that go on */
    kith__list_push_back(is_open ? &host->sending : &host->ending, &conn->send_node);
}

/* Nobody waits for a close as for an answer; but it is not kept back for ever by others that always have something. */
static struct kith_list *next_sender(struct kith_quic_host *host)
{
    struct kith_list *going_on = kith__list_first(&host->sending), *ending = kith__list_first(&host->ending);

    if (ending == NULL || (going_on != NULL && ++host->ending_waits < KITH_HOST_ENDING_WAITS_MAX))
        return going_on;
    host->ending_waits = 0;
    return ending;
}

bool kith_quic_host_transmit(struct kith_quic_host *host, uint8_t *buffer, size_t capacity,
                             struct kith_quic_transmit *out, uint64_t now_ns)
{
    struct kith_list *node;

    if (capacity < KITH_QUIC_UDP_SIZE_MAX)
        return false;
    if (transmit_reply(host, buffer, out))
        return true;
    while ((node = next_sender(host)) != NULL) {
        struct kith_quic_conn *conn = KITH_CONTAINER(node, struct kith_quic_conn, send_node);
        bool any = kith__conn_transmit(conn, buffer, capacity, out, now_ns);

        kith__list_remove(node);
        kith__conn_schedule(conn);
        if (any) {
            kith__list_remove(node);
            kith__host_want_transmit(host, conn);
            host->stats.datagrams_sent += out->segment_size != 0
                                              ? (out->size + out->segment_size - 1) / out->segment_size
                                              : 1;
            host->stats.bytes_sent += out->size;
            return true;
        }
    }
    return false;
}

uint64_t kith_quic_host_deadline(const struct kith_quic_host *host)
{
    const struct kith_heap_node *first = kith__heap_first(&host->deadlines);

    return first != NULL ? first->key : KITH_NEVER;
}

void kith_quic_host_on_deadline(struct kith_quic_host *host, uint64_t now_ns)
{
    struct kith_heap_node *first;
    uint64_t rounds = 0;

    kith__blocks_age(&host->blocks, now_ns);
    while ((first = kith__heap_first(&host->deadlines)) != NULL && first->key <= now_ns) {
        struct kith_quic_conn *conn = KITH_CONTAINER(first, struct kith_quic_conn, deadline_node);

        kith__conn_on_deadline(conn, now_ns);
        kith__conn_touch(conn);
        /* One timer may make another one due, but a few rounds later each is done, or this would never end. */
        KITH_ASSERT(rounds++ <= 8 * host->stats.conns_live);
    }
}
