/*
 * Clients that wait for a decision. An Initial must authenticate before anybody is told of it, so that noise costs nobody
 * anything; copies of it from other addresses (a client that dials all addresses it knows) belong to the same client.
 * Source: RFC 9000, 7.2, 8.1; spec/01, 1.4 and 1.7.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "quic/conn/conn.h"
#include "quic/guard/seal.h"
#include "quic/host/host.h"
#include "quic/wire/frame.h"
#include "quic/wire/retry.h"

#include <string.h>

enum { FIRST_DCID_SIZE_MIN = 8, INITIAL_CHECK_SIZE_MAX = 2048 };

struct kith_quic_incoming {
    struct kith_incoming_entry entry;
    struct kith_list news; /* in host->incoming_news until the event was taken */
    struct kith_quic_host *host;
    struct kith_sockaddr local, remote;
    struct kith_cid dcid, scid; /* of its first Initial */
    struct kith_cid odcid;      /* what the client chose first; differs from dcid after a Retry */
    bool is_retried, is_validated;
};

/* ---- Answers without a connection ---- */

static struct kith_reply *reply_slot(struct kith_quic_host *host, const struct kith_sockaddr *local,
                                     const struct kith_sockaddr *remote)
{
    struct kith_reply *reply = kith__replies_slot(&host->replies, host->mem);

    if (reply == NULL) {
        kith__host_drop(host, KITH_DROP_no_memory);
        return NULL;
    }
    reply->local = *local;
    reply->remote = *remote;
    return reply;
}

/** An Initial with a CONNECTION_CLOSE and nothing else. */
static size_t write_close(const struct kith_quic_host *host, const struct kith_cid *client, const struct kith_cid *dcid,
                          uint64_t code, const char *reason, uint8_t *out, size_t capacity)
{
    struct kith_packet_header header = { .type = KITH_PACKET_INITIAL, .pn_size = 1, .dcid = *client, .scid = *dcid };
    struct kith_writer w = kith__writer(out, capacity - KITH_AEAD_TAG_SIZE);
    struct kith_frame frame = kith__frame(KITH_FRAME_CONNECTION_CLOSE);
    struct kith_packet_marks marks;
    struct kith_keys keys = { 0 };
    size_t size, payload;

    frame.close.code = code;
    frame.close.reason = (struct kith_slice) { (const uint8_t *)reason, strlen(reason) };
    if (kith__packet_write_header(&w, &header, &marks) != 0 || kith__frame_write(&w, &frame) != 0 ||
        kith__keys_install_initial(&keys, host->mem, kith__cid_slice(dcid), false) != 0)
        return 0;
    payload = kith__writer_size(&w) - marks.payload_offset;
    size = kith__writer_size(&w) + KITH_AEAD_TAG_SIZE;
    kith__packet_set_length(out, &marks, size - marks.pn_offset);
    if (kith__packet_seal(&keys, out, marks.pn_offset, 1, payload, 0, 0) != 0)
        size = 0;
    kith__keys_dispose(&keys);
    return size;
}

static void send_close(struct kith_quic_host *host, const struct kith_sockaddr *local,
                       const struct kith_sockaddr *remote, const struct kith_cid *client, const struct kith_cid *dcid,
                       uint64_t code, const char *reason)
{
    struct kith_reply *reply = reply_slot(host, local, remote);

    if (reply == NULL)
        return;
    reply->size = write_close(host, client, dcid, code, reason, reply->bytes, sizeof reply->bytes);
    if (reply->size == 0) {
        kith__host_drop(host, KITH_DROP_no_memory);
        return;
    }
    kith__replies_push(&host->replies);
    host->stats.refusals_sent++;
}

/* ---- Arrival ---- */

/** Opens a copy of the first packet: true if it is authentic. */
static bool is_authentic(struct kith_quic_host *host, const struct kith_quic_received *datagram,
                         const struct kith_packet *packet)
{
    uint8_t copy[INITIAL_CHECK_SIZE_MAX];
    struct kith_keys keys = { 0 };
    struct kith_open_space space;
    struct kith_opened opened;
    bool ok;

    if (packet->size > sizeof copy || kith__keys_install_initial(&keys, host->mem, packet->dcid, false) != 0)
        return false;
    memcpy(copy, datagram->bytes, packet->size);
    kith__open_space_init(&space, 0);
    ok = kith__packet_open(&keys, &space, copy, packet->pn_offset, packet->size, &opened) == 0;
    kith__keys_dispose(&keys);
    return ok;
}

/** What the token says about the client. False: it was answered, and is not to be told of. */
static bool check_token(struct kith_quic_host *host, struct kith_quic_incoming *incoming,
                        const struct kith_packet *packet, uint64_t now_ns)
{
    struct kith_token_info info;

    if (packet->token.size == 0)
        return true;
    kith__token_open(&host->tokens, &incoming->remote, packet->token, now_ns, &info);
    if (info.verdict == KITH_TOKEN_NOT_OURS || (!info.is_retry && info.verdict != KITH_TOKEN_VALID))
        return true; /* as if there were none */
    if (info.verdict != KITH_TOKEN_VALID)
        kith__host_drop(host, KITH_DROP_bad_token);
    /*
     * A client that dials all addresses it knows sends copies of this packet too, and those have other sources: an
     * answer to one of them would end an attempt that is fine.
     */
    if (info.verdict == KITH_TOKEN_OTHER_ADDRESS)
        return false;
    if (info.verdict != KITH_TOKEN_VALID) {
        send_close(host, &incoming->local, &incoming->remote, &incoming->scid, &incoming->dcid, KITH_WIRE_INVALID_TOKEN,
                   "");
        return false;
    }
    incoming->is_validated = true;
    if (info.is_retry) {
        incoming->is_retried = true;
        incoming->odcid = kith__cid(info.odcid, info.odcid_size);
    }
    return true;
}

/** Adds the client and its first datagram. KITH_ERR_LIMIT, NOMEM, EXISTS. */
static int add(struct kith_quic_host *host, const struct kith_quic_received *datagram,
               const struct kith_quic_incoming *made)
{
    struct kith_quic_incoming *incoming = kith__alloc(host->mem, sizeof *incoming);
    struct kith_slice bytes = { datagram->bytes, datagram->size };
    int err;

    if (incoming == NULL)
        return KITH_ERR_NOMEM;
    *incoming = *made;
    err = kith__incoming_store_add(&host->incoming, &incoming->entry, kith__cid_slice(&incoming->dcid));
    if (err == 0) {
        err = kith__incoming_store_push(&host->incoming, &incoming->entry, &datagram->local, &datagram->remote,
                                        datagram->ecn, bytes, 0);
        if (err != 0)
            kith__incoming_store_remove(&host->incoming, &incoming->entry);
    }
    if (err != 0) {
        kith__free(host->mem, incoming);
        return err;
    }
    kith__list_init(&incoming->news);
    kith__list_push_back(&host->incoming_news, &incoming->news);
    return 0;
}

void kith__incoming_on_initial(struct kith_quic_host *host, const struct kith_quic_received *datagram,
                               const struct kith_packet *packet, uint64_t now_ns)
{
    struct kith_quic_incoming made = { .host = host, .local = datagram->local, .remote = datagram->remote };
    int err;

    if (!is_authentic(host, datagram, packet)) {
        kith__host_drop(host, KITH_DROP_decrypt);
        return;
    }
    made.dcid = made.odcid = kith__cid(packet->dcid.ptr, packet->dcid.size);
    made.scid = kith__cid(packet->scid.ptr, packet->scid.size);
    if (packet->dcid.size < FIRST_DCID_SIZE_MIN) {
        send_close(host, &made.local, &made.remote, &made.scid, &made.dcid, KITH_WIRE_PROTOCOL_VIOLATION,
                   "invalid destination CID length");
        kith__host_drop(host, KITH_DROP_malformed_header);
        return;
    }
    if (!check_token(host, &made, packet, now_ns))
        return;
    err = add(host, datagram, &made);
    if (err != 0)
        kith__host_drop(host, err == KITH_ERR_LIMIT ? KITH_DROP_incoming_limit : KITH_DROP_no_memory);
}

bool kith__incoming_on_datagram(struct kith_quic_host *host, const struct kith_quic_received *datagram,
                                struct kith_slice dcid, uint64_t now_ns)
{
    struct kith_incoming_entry *entry = dcid.size <= KITH_CID_SIZE_MAX
                                            ? kith__incoming_store_find(&host->incoming, dcid)
                                            : NULL;
    struct kith_quic_incoming *incoming;
    int err;

    if (entry == NULL)
        return false;
    incoming = KITH_CONTAINER(entry, struct kith_quic_incoming, entry);
    if (!kith_sockaddr_equal(&incoming->remote, &datagram->remote)) {
        kith__host_drop(host, KITH_DROP_wrong_remote); /* a copy: the first one is answered */
        return true;
    }
    err = kith__incoming_store_push(&host->incoming, entry, &datagram->local, &datagram->remote, datagram->ecn,
                                    (struct kith_slice) { datagram->bytes, datagram->size }, now_ns);
    if (err != 0)
        kith__host_drop(host, err == KITH_ERR_LIMIT ? KITH_DROP_incoming_limit : KITH_DROP_no_memory);
    return true;
}

bool kith__incoming_next_event(struct kith_quic_host *host, struct kith_quic_event *out)
{
    struct kith_list *node = kith__list_first(&host->incoming_news);

    if (node == NULL)
        return false;
    kith__list_remove(node);
    *out = (struct kith_quic_event) { .kind = KITH_QUIC_INCOMING,
                                      .incoming = KITH_CONTAINER(node, struct kith_quic_incoming, news) };
    return true;
}

/* ---- Decisions ---- */

static void forget(struct kith_quic_incoming *incoming)
{
    kith__incoming_store_remove(&incoming->host->incoming, &incoming->entry);
    kith__list_remove(&incoming->news);
    kith__free(incoming->host->mem, incoming);
}

void kith__incoming_dispose_all(struct kith_quic_host *host)
{
    struct kith_incoming_entry *entry;

    while ((entry = kith__incoming_store_first(&host->incoming)) != NULL)
        forget(KITH_CONTAINER(entry, struct kith_quic_incoming, entry));
}

struct kith_sockaddr kith_quic_incoming_remote(const struct kith_quic_incoming *incoming)
{
    return incoming->remote;
}

bool kith_quic_incoming_is_validated(const struct kith_quic_incoming *incoming)
{
    return incoming->is_validated;
}

/** Hands the datagrams that waited to the new connection. */
static void feed(struct kith_quic_incoming *incoming, struct kith_quic_conn *conn, uint64_t now_ns)
{
    struct kith_quic_host *host = incoming->host;
    struct kith_incoming_datagram *datagram;

    while ((datagram = kith__incoming_store_pop(&host->incoming, &incoming->entry)) != NULL) {
        struct kith_tuple tuple = { datagram->local, datagram->remote };

        kith__conn_receive(conn, &tuple, datagram->bytes, datagram->size, datagram->ecn, now_ns);
        kith__free(host->mem, datagram);
    }
}

int kith_quic_incoming_accept(struct kith_quic_incoming *incoming, const struct kith_quic_transport *transport,
                              uint64_t now_ns, struct kith_quic_conn **out)
{
    struct kith_quic_host *host = incoming->host;
    struct kith_conn_options options = { .transport = transport != NULL ? transport : &host->transport,
                                         .tuple = { incoming->local, incoming->remote },
                                         .odcid = incoming->odcid,
                                         .initial_dcid = incoming->dcid,
                                         .remote_scid = incoming->scid,
                                         .is_address_proved = incoming->is_validated };
    int err;

    if (incoming->is_retried)
        options.retry_scid = incoming->dcid;
    err = kith__conn_new(host, &options, now_ns, out);
    if (err == 0) {
        feed(incoming, *out, now_ns);
        kith__conn_touch(*out);
    }
    forget(incoming);
    return err;
}

void kith_quic_incoming_refuse(struct kith_quic_incoming *incoming, uint64_t now_ns)
{
    (void)now_ns;
    send_close(incoming->host, &incoming->local, &incoming->remote, &incoming->scid, &incoming->dcid,
               KITH_WIRE_CONNECTION_REFUSED, "");
    forget(incoming);
}

int kith_quic_incoming_retry(struct kith_quic_incoming *incoming, uint64_t now_ns)
{
    struct kith_quic_host *host = incoming->host;
    struct kith_cid scid = { .size = KITH_CIDGEN_SIZE };
    uint8_t token[KITH_TOKEN_SIZE_MAX], random;
    struct kith_reply *reply;
    size_t size;

    if (incoming->is_validated)
        return KITH_ERR_STATE;
    kith__random_fill(&host->random, &random, 1);
    kith__cidgen_next(&host->cidgen, &host->random, scid.bytes);
    reply = reply_slot(host, &incoming->local, &incoming->remote);
    if (reply != NULL &&
        kith__token_seal_retry(&host->tokens, &host->random, &incoming->remote, kith__cid_slice(&incoming->dcid),
                               now_ns, token, &size) == 0 &&
        kith__retry_write(host->mem, &incoming->scid, &scid, &incoming->dcid, (struct kith_slice) { token, size },
                          random, reply->bytes, sizeof reply->bytes, &reply->size) == 0) {
        kith__replies_push(&host->replies);
        host->stats.retries_sent++;
    }
    forget(incoming); /* without a Retry the client asks again */
    return 0;
}

void kith_quic_incoming_ignore(struct kith_quic_incoming *incoming)
{
    forget(incoming);
}
