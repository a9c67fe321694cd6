/* The in-memory pair of hosts that the engine's tests share: see pair.h. */
#include "quic/conn/pair.h"

#include "base/test.h"
#include "quic/conn/conn.h"
#include "quic/host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill_random(void *ctx, uint8_t *out, size_t size)
{
    uint64_t *state = ctx;

    for (size_t i = 0; i < size; i += 8) {
        uint64_t value = kith__test_random(state);

        memcpy(out + i, &value, KITH_MIN(size - i, sizeof value));
    }
}

static struct kith_sockaddr address(uint8_t last, uint16_t port)
{
    return (struct kith_sockaddr) { .ip = { 10, 0, 0, last }, .port = port, .family = KITH_FAMILY_V4 };
}

void kith__pair_defaults(struct kith_pair_config *config)
{
    *config = (struct kith_pair_config) { .seed = kith__test_seed(1) };
    config->link.delay_ns = 15 * KITH_NS_PER_MS;
    kith_quic_transport_defaults(&config->transport[0]);
    kith_quic_transport_defaults(&config->transport[1]);
    config->alpn[0] = config->alpn[1] = "test";
}

static int side_init(struct kith_pair *pair, int index)
{
    struct kith_pair_side *side = &pair->sides[index];
    struct kith_quic_host_options options;
    struct kith_slice alpn = { (const uint8_t *)pair->config.alpn[index], strlen(pair->config.alpn[index]) };

    side->random = pair->config.seed * 2 + (uint64_t)index + 77;
    side->inner = side->outer = address((uint8_t)(index + 1), (uint16_t)(4000 + index));
    kith_quic_host_defaults(&options);
    options.mem = pair->config.mem[index];
    options.random = (struct kith_random) { fill_random, &side->random };
    memset(options.secret.bytes, index + 1, sizeof options.secret.bytes);
    options.secret.bytes[31] = index == KITH_PAIR_SERVER ? pair->config.server_secret_last_byte : 0;
    if (pair->config.instance[index] != NULL)
        options.instance = (struct kith_slice) { (const uint8_t *)pair->config.instance[index],
                                                 strlen(pair->config.instance[index]) };
    options.qlog = pair->config.qlog;
    options.sink_ctx = pair->config.user;
    options.alpns = &alpn;
    options.alpn_count = index == KITH_PAIR_SERVER ? 1 : 0;
    options.transport = pair->config.transport[index];
    return kith_quic_host_new(&options, &side->host);
}

int kith__pair_init(struct kith_pair *pair, const struct kith_pair_config *config)
{
    int err = 0;

    *pair = (struct kith_pair) { .config = *config, .now_ns = KITH_NS_PER_S, .random = config->seed + 1 };
    pair->queue = calloc(KITH_PAIR_QUEUE_MAX, sizeof *pair->queue);
    KITH_CHECK(pair->queue != NULL);
    for (int i = 0; i < 2 && err == 0; i++)
        err = side_init(pair, i);
    return err;
}

void kith__pair_dispose(struct kith_pair *pair)
{
    for (size_t i = 0; i < pair->queue_count; i++)
        free(pair->queue[i].bytes);
    free(pair->queue);
    for (int i = 0; i < 2; i++)
        kith_quic_host_free(pair->sides[i].host);
    *pair = (struct kith_pair) { 0 };
}

void kith__pair_restart(struct kith_pair *pair, int side)
{
    kith_quic_host_free(pair->sides[side].host);
    pair->sides[side].conn = NULL;
    pair->config.seed += 1000;
    KITH_CHECK_EQ(side_init(pair, side), 0);
}

int kith__pair_dial(struct kith_pair *pair, struct kith_quic_connect_options *options)
{
    struct kith_quic_connect_options own = { 0 };
    struct kith_slice alpn = { (const uint8_t *)pair->config.alpn[0], strlen(pair->config.alpn[0]) };
    struct kith_pair_side *client = &pair->sides[KITH_PAIR_CLIENT];

    if (options == NULL)
        options = &own;
    if (options->remotes == NULL) {
        options->remotes = &pair->sides[KITH_PAIR_SERVER].outer;
        options->remote_count = 1;
    }
    if (options->alpns == NULL) {
        options->alpns = &alpn;
        options->alpn_count = 1;
    }
    options->remote_id = kith_quic_host_id(pair->sides[KITH_PAIR_SERVER].host);
    if (pair->config.server_secret_last_byte != 0)
        options->remote_id.bytes[3] ^= 1;
    return kith_quic_connect(client->host, options, pair->now_ns, &client->conn);
}

/* ---- The link ---- */

static bool sooner(const struct kith_pair_datagram *a, const struct kith_pair_datagram *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

static void queue_swap(struct kith_pair *pair, size_t a, size_t b)
{
    struct kith_pair_datagram kept = pair->queue[a];

    pair->queue[a] = pair->queue[b];
    pair->queue[b] = kept;
}

static void queue_push(struct kith_pair *pair, const struct kith_pair_datagram *datagram)
{
    size_t i = pair->queue_count;

    KITH_CHECK(pair->queue_count < KITH_PAIR_QUEUE_MAX);
    pair->queue[pair->queue_count++] = *datagram;
    for (; i > 0 && sooner(&pair->queue[i], &pair->queue[(i - 1) / 2]); i = (i - 1) / 2)
        queue_swap(pair, i, (i - 1) / 2);
}

static struct kith_pair_datagram queue_pop(struct kith_pair *pair)
{
    struct kith_pair_datagram first = pair->queue[0];

    pair->queue[0] = pair->queue[--pair->queue_count];
    for (size_t i = 0;;) {
        size_t least = i;

        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < pair->queue_count && sooner(&pair->queue[child], &pair->queue[least]))
                least = child;
        if (least == i)
            return first;
        queue_swap(pair, i, least);
        i = least;
    }
}

static void link_put(struct kith_pair *pair, const struct kith_pair_link *link,
                     const struct kith_pair_datagram *datagram)
{
    struct kith_pair_datagram copy = *datagram;

    copy.bytes = malloc(datagram->size);
    KITH_CHECK(copy.bytes != NULL);
    memcpy(copy.bytes, datagram->bytes, datagram->size);
    copy.at_ns = pair->now_ns + link->delay_ns;
    if (link->jitter_ns != 0)
        copy.at_ns += kith__test_random(&pair->random) % link->jitter_ns;
    copy.order = pair->order++;
    queue_push(pair, &copy);
}

static bool chance(struct kith_pair *pair, uint32_t permille)
{
    return permille != 0 && kith__test_random(&pair->random) % 1000 < permille;
}

struct kith_sockaddr kith__pair_server(const struct kith_pair *pair, size_t n)
{
    struct kith_sockaddr address_n = pair->sides[KITH_PAIR_SERVER].outer;

    address_n.port = (uint16_t)(address_n.port + n);
    return address_n;
}

struct kith_pair_link *kith__pair_link(struct kith_pair *pair, size_t n)
{
    return n == 0 ? &pair->config.link : &pair->config.more[n - 1];
}

/** The way of a datagram: told by the server's port. Other ports are no way of ours: the first one counts. */
static struct kith_pair_link *link_of(struct kith_pair *pair, const struct kith_pair_datagram *datagram)
{
    uint16_t port = datagram->sender == KITH_PAIR_CLIENT ? datagram->to.port : datagram->from.port;
    size_t n = (size_t)(uint16_t)(port - pair->sides[KITH_PAIR_SERVER].outer.port);

    return kith__pair_link(pair, n <= pair->config.more_count ? n : 0);
}

static void link_send(struct kith_pair *pair, int sender, const struct kith_quic_transmit *transmit, uint8_t *bytes,
                      size_t size)
{
    struct kith_pair_side *side = &pair->sides[sender];
    struct kith_pair_link *link;
    struct kith_pair_datagram datagram = { .from = side->outer,
                                           .to = transmit->remote,
                                           .bytes = bytes,
                                           .size = size,
                                           .ecn = transmit->ecn,
                                           .sender = (uint8_t)sender };

    side->sent_datagrams++;
    side->sent_bytes += size;
    if (transmit->local.family != KITH_FAMILY_NONE && transmit->local.port != side->inner.port)
        datagram.from.port = (uint16_t)(datagram.from.port + transmit->local.port - side->inner.port);
    link = link_of(pair, &datagram);
    if (pair->config.tap != NULL && !pair->config.tap(pair, sender, bytes, &datagram.size))
        return;
    if (link->blocked[sender] || (link->size_max != 0 && size > link->size_max) || chance(pair, link->loss_permille)) {
        pair->lost++;
        return;
    }
    if (link->bleach_ecn)
        datagram.ecn = 0;
    else if (datagram.ecn == 2 && chance(pair, link->mark_ce_permille))
        datagram.ecn = 3;
    link_put(pair, link, &datagram);
    if (chance(pair, link->dup_permille))
        link_put(pair, link, &datagram);
}

static void deliver(struct kith_pair *pair, struct kith_pair_datagram *datagram)
{
    int target = 1 - datagram->sender;
    struct kith_pair_side *side = &pair->sides[target];
    struct kith_quic_received received = { .local = side->inner,
                                           .remote = datagram->from,
                                           .bytes = datagram->bytes,
                                           .size = datagram->size,
                                           .ecn = datagram->ecn };

    /* The NAT only lets in what goes to the present outer port; a local address that is no mapping of it is a move. */
    if (datagram->to.port == side->outer.port || target == KITH_PAIR_CLIENT || pair->config.more_count != 0) {
        if (datagram->to.port != side->outer.port) {
            int delta = datagram->to.port - side->outer.port;
            int most = target == KITH_PAIR_CLIENT ? 99 : (int)pair->config.more_count;

            if (delta < 0 || delta > most) {
                pair->lost++;
                free(datagram->bytes);
                return;
            }
            received.local.port = (uint16_t)(received.local.port + delta);
        }
        side->received_bytes += datagram->size;
        pair->delivered++;
        kith_quic_host_receive(side->host, &received, pair->now_ns);
    } else {
        pair->lost++;
    }
    free(datagram->bytes);
}

/* ---- Events ---- */

static void on_incoming(struct kith_pair *pair, struct kith_quic_incoming *incoming)
{
    enum kith_pair_answer answer = pair->config.answer;

    if (answer == KITH_PAIR_RETRY && kith_quic_incoming_is_validated(incoming))
        answer = KITH_PAIR_ACCEPT;
    switch (answer) {
    case KITH_PAIR_ACCEPT:
        if (kith_quic_incoming_accept(incoming, NULL, pair->now_ns, &pair->sides[KITH_PAIR_SERVER].conn) != 0)
            pair->sides[KITH_PAIR_SERVER].conn = NULL;
        break;
    case KITH_PAIR_REFUSE:
        kith_quic_incoming_refuse(incoming, pair->now_ns);
        break;
    case KITH_PAIR_RETRY:
        KITH_CHECK_EQ(kith_quic_incoming_retry(incoming, pair->now_ns), 0);
        break;
    case KITH_PAIR_IGNORE:
        kith_quic_incoming_ignore(incoming);
        break;
    }
}

static void on_closed(struct kith_pair_side *side, struct kith_quic_conn *conn)
{
    KITH_CHECK_EQ(kith_quic_conn_close_info(conn, &side->closed), 0);
    KITH_CHECK(side->closed.reason.size < sizeof side->closed_reason);
    if (side->closed.reason.size != 0)
        memcpy(side->closed_reason, side->closed.reason.ptr, side->closed.reason.size);
    side->closed_reason[side->closed.reason.size] = '\0';
}

static bool take_events(struct kith_pair *pair, int index)
{
    struct kith_pair_side *side = &pair->sides[index];
    struct kith_quic_event event;
    bool any = false;

    while (kith_quic_host_next_event(side->host, &event)) {
        any = true;
        KITH_CHECK(event.kind <= KITH_QUIC_DRAINED);
        side->seen[event.kind]++;
        side->last[event.kind] = event;
        if (event.kind == KITH_QUIC_INCOMING)
            on_incoming(pair, event.incoming);
        if (event.kind == KITH_QUIC_CLOSED)
            on_closed(side, event.conn);
        if (pair->config.on_event != NULL)
            pair->config.on_event(pair, index, &event);
    }
    return any;
}

static bool send_all(struct kith_pair *pair, int index)
{
    static uint8_t buffer[65536];
    struct kith_quic_transmit transmit;
    bool any = false;

    while (kith_quic_host_transmit(pair->sides[index].host, buffer, 65507, &transmit, pair->now_ns)) {
        size_t step = transmit.segment_size != 0 ? transmit.segment_size : transmit.size;

        KITH_CHECK(transmit.size != 0 && transmit.size <= 65507 && step <= KITH_QUIC_UDP_SIZE_MAX);
        any = true;
        for (size_t at = 0; at < transmit.size; at += step)
            link_send(pair, index, &transmit, buffer + at, KITH_MIN(step, transmit.size - at));
    }
    return any;
}

/** All connections of a side keep their invariants. Large sets of streams are walked now and then only: it is slow. */
static void check_conns(struct kith_pair *pair, int index)
{
    KITH_LIST_EACH(node, &pair->sides[index].host->conns)
    {
        const struct kith_quic_conn *conn = KITH_CONTAINER(node, struct kith_quic_conn, host_node);

        if (conn->streams.count < 100 || pair->order % 512 == 0)
            kith__conn_check(conn);
    }
}

void kith__pair_flush(struct kith_pair *pair)
{
    bool any = true;

    for (int rounds = 0; any; rounds++) {
        KITH_CHECK(rounds < 10000); /* events and packets must run dry without time passing */
        any = false;
        for (int i = 0; i < 2; i++) {
            any |= take_events(pair, i);
            any |= send_all(pair, i);
            check_conns(pair, i);
        }
    }
}

bool kith__pair_step(struct kith_pair *pair, uint64_t until_ns)
{
    uint64_t next = KITH_NEVER;

    kith__pair_flush(pair);
    if (pair->queue_count != 0)
        next = pair->queue[0].at_ns;
    for (int i = 0; i < 2; i++)
        next = KITH_MIN(next, kith_quic_host_deadline(pair->sides[i].host));
    if (next > until_ns) {
        pair->now_ns = KITH_MAX(pair->now_ns, until_ns);
        return false;
    }
    pair->now_ns = KITH_MAX(pair->now_ns, next);
    while (pair->queue_count != 0 && pair->queue[0].at_ns <= pair->now_ns) {
        struct kith_pair_datagram datagram = queue_pop(pair);

        deliver(pair, &datagram);
    }
    for (int i = 0; i < 2; i++)
        if (kith_quic_host_deadline(pair->sides[i].host) <= pair->now_ns)
            kith_quic_host_on_deadline(pair->sides[i].host, pair->now_ns);
    kith__pair_flush(pair);
    return true;
}

void kith__pair_run(struct kith_pair *pair, uint64_t for_ns)
{
    uint64_t until = pair->now_ns + for_ns;

    while (kith__pair_step(pair, until)) {
    }
}

bool kith__pair_run_until(struct kith_pair *pair, bool (*done)(struct kith_pair *pair), uint64_t for_ns)
{
    uint64_t until = pair->now_ns + for_ns;

    kith__pair_flush(pair);
    while (!done(pair))
        if (!kith__pair_step(pair, until))
            return done(pair);
    return true;
}

static bool both_confirmed(struct kith_pair *pair)
{
    return pair->sides[0].seen[KITH_QUIC_CONFIRMED] != 0 && pair->sides[1].seen[KITH_QUIC_CONFIRMED] != 0;
}

bool kith__pair_connect(struct kith_pair *pair)
{
    for (int i = 0; i < 2; i++)
        pair->sides[i].seen[KITH_QUIC_CONFIRMED] = 0;
    return kith__pair_dial(pair, NULL) == 0 && kith__pair_run_until(pair, both_confirmed, 60 * KITH_NS_PER_S);
}

void kith__pair_rebind(struct kith_pair *pair, int side)
{
    pair->sides[side].outer.port = (uint16_t)(pair->sides[side].outer.port + 1000);
}
