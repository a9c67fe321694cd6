/**
 * For tests only: a DHT of many nodes in the simulated world, some of which are dead, come and go, or lie; packets to publish, and
 * who looks for them.
 */
#ifndef KITH_LOOKUP_DHT_CROWD_H
#define KITH_LOOKUP_DHT_CROWD_H

#include "base/mem.h"
#include "base/random.h"
#include "base/test.h"
#include "crypto/sign.h"
#include "lookup/dht.h"
#include "lookup/dht_krpc.h"
#include "rt/sim/sim.h"

#include <stdio.h>
#include <string.h>

enum { CROWD_MAX = 300 };

/** What a liar answers to `get` and `put`. */
enum crowd_lie {
    CROWD_HONEST,
    CROWD_STALE,     /* an old packet, well signed */
    CROWD_FORGED,    /* a larger seq, and a signature that does not fit */
    CROWD_OTHER_KEY, /* a packet of another key, well signed */
    CROWD_HUGE,      /* a message far beyond any limit */
    CROWD_GARBAGE,   /* no bencoding */
    CROWD_OTHER_ID,  /* another id each time, and nodes that are not there, close to the target */
    CROWD_TOKEN,     /* a token of someone else; what is stored with it is refused */
    CROWD_SWALLOW,   /* takes everything, has nothing */
    CROWD_LIES
};

struct crowd;

struct crowd_node {
    struct crowd *crowd;
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_sockaddr addr;
    struct kith_dht *dht;    /* honest ones; NULL: dead */
    struct kith_rt_udp *udp; /* liars */
    enum crowd_lie lie;
    struct kith_dht_id id; /* liars */
    uint64_t asked;        /* liars */
};

struct crowd {
    struct kith_sim *sim;
    struct kith_sim_link link;
    bool is_local; /* addresses of a private network, where ids are free */
    size_t count;
    struct crowd_node nodes[CROWD_MAX];
    struct kith_pkarr stale, other; /* for liars */
    struct kith_dht_id target;      /* what liars are near to */
    uint64_t lies_told;
};

/* ---- Packets ---- */

/** The packet number `number` of the key of `seed`: a relay whose name has the number. */
static inline void crowd_packet(uint8_t seed, unsigned number, struct kith_pkarr *out)
{
    struct kith_secret secret = { .bytes = { seed } };
    struct kith_id id = kith__secret_id(&secret);
    struct kith_lookup_info info;
    size_t left_out = 0;
    char url[64];

    snprintf(url, sizeof url, "https://relay%u.example/", number);
    kith__lookup_info_init(&info, kith_mem_default(), &id);
    KITH_CHECK_EQ(kith__endpoint_addr_add_relay(&info.addr, url, strlen(url)), 0);
    KITH_CHECK_EQ(kith__pkarr_make(&info, &secret, 1700000000000000ull + number, KITH_PKARR_TTL_S, kith_mem_default(),
                                   out, &left_out),
                  0);
    kith__lookup_info_dispose(&info);
}

/* ---- Liars ---- */

static inline void crowd_send(struct crowd_node *node, const struct kith_sockaddr *to, const uint8_t *bytes,
                              size_t size)
{
    struct kith_quic_transmit transmit = { .remote = *to, .size = size };

    KITH_CHECK_EQ(kith__rt_udp_send(node->udp, &transmit, bytes), 0);
}

/** Nodes that lead to other liars, or nowhere. */
static inline size_t crowd_nodes(struct crowd_node *node, uint8_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < node->crowd->count && count < 20; i++) {
        struct crowd_node *other = &node->crowd->nodes[(i + node->asked) % node->crowd->count];
        struct kith_dht_node told = { .id = other->id, .addr = other->addr };

        if (node->lie == CROWD_OTHER_ID) {
            told.id = node->crowd->target;
            told.id.bytes[19] ^= (uint8_t)(i + 1);
            told.addr.ip[1] ^= 0x55; /* nobody */
            told.addr.ip[2] = (uint8_t)(node->asked + i);
        } else if (other->lie == CROWD_HONEST) {
            continue;
        }
        kith__dht_node_write(&told, out + count++ * KITH_DHT_NODE_SIZE);
    }
    return count * KITH_DHT_NODE_SIZE;
}

static inline void crowd_fill_value(struct kith_krpc *answer, const struct kith_pkarr *packet)
{
    answer->key = (struct kith_slice) { packet->bytes, KITH_ID_SIZE };
    answer->signature = (struct kith_slice) { packet->bytes + KITH_ID_SIZE, KITH_SIGNATURE_SIZE };
    answer->has_seq = true;
    answer->seq = (int64_t)kith__pkarr_timestamp(packet);
    answer->value_bytes = kith__pkarr_dns(packet);
}

static inline void crowd_lie_back(struct crowd_node *node, const struct kith_sockaddr *from,
                                  const struct kith_krpc *question)
{
    static uint8_t huge[60000];
    uint8_t bytes[KITH_KRPC_SIZE_MAX], nodes[20 * KITH_DHT_NODE_SIZE];
    struct kith_krpc answer = { .kind = KITH_KRPC_ANSWER, .transaction = question->transaction, .id = node->id };
    size_t size = 0;

    answer.nodes = (struct kith_slice) { nodes, crowd_nodes(node, nodes) };
    node->asked++;
    if (question->method == KITH_KRPC_GET || question->method == KITH_KRPC_PUT) {
        node->crowd->lies_told++;
        answer.token = (struct kith_slice) { (const uint8_t *)"otherstoken", 11 };
        if (node->lie == CROWD_STALE || node->lie == CROWD_FORGED)
            crowd_fill_value(&answer, &node->crowd->stale);
        if (node->lie == CROWD_FORGED)
            answer.seq += 1000000;
        if (node->lie == CROWD_OTHER_KEY)
            crowd_fill_value(&answer, &node->crowd->other);
        if (node->lie == CROWD_OTHER_ID)
            kith__random_fill(kith__rt_random(node->rt), answer.id.bytes, sizeof answer.id.bytes);
        if (node->lie == CROWD_TOKEN && question->method == KITH_KRPC_PUT) {
            answer.kind = KITH_KRPC_ERROR;
            answer.error_code = KITH_KRPC_PROTOCOL;
            answer.error_text = (struct kith_slice) { (const uint8_t *)"Bad token", 9 };
        }
        if (node->lie == CROWD_HUGE || node->lie == CROWD_GARBAGE) {
            memset(huge, 'l', sizeof huge);
            crowd_send(node, from, huge, node->lie == CROWD_HUGE ? sizeof huge : 700);
            return;
        }
    }
    KITH_CHECK_EQ(kith__krpc_write(&answer, bytes, sizeof bytes, &size), 0);
    crowd_send(node, from, bytes, size);
}

static inline void crowd_on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct crowd_node *node = ctx;

    (void)now_ns;
    for (size_t i = 0; i < count; i++) {
        size_t step = batch[i].segment_size != 0 ? batch[i].segment_size : batch[i].size;

        for (size_t at = 0; at < batch[i].size; at += step) {
            struct kith_krpc question;

            if (kith__krpc_read((struct kith_slice) { batch[i].bytes + at, KITH_MIN(step, batch[i].size - at) },
                                &question) == 0 &&
                question.kind == KITH_KRPC_QUESTION)
                crowd_lie_back(node, &batch[i].remote, &question);
        }
    }
}

/** Makes itself known to an honest node, which will ask it whether it is there. */
static inline void crowd_introduce(struct crowd_node *node, const struct kith_sockaddr *to)
{
    struct kith_krpc question = { .kind = KITH_KRPC_QUESTION,
                                  .method = KITH_KRPC_FIND_NODE,
                                  .transaction = { (const uint8_t *)"hi", 2 },
                                  .id = node->id,
                                  .has_target = true,
                                  .target = node->id };
    uint8_t bytes[KITH_KRPC_SIZE_MAX];
    size_t size = 0;

    KITH_CHECK_EQ(kith__krpc_write(&question, bytes, sizeof bytes, &size), 0);
    crowd_send(node, to, bytes, size);
}

/* ---- The crowd ---- */

static inline void crowd_open(struct crowd *crowd, uint64_t seed, bool is_local, uint32_t loss_ppm)
{
    memset(crowd, 0, sizeof *crowd);
    crowd->is_local = is_local;
    crowd->link = (struct kith_sim_link) { .delay_ns = 20 * KITH_NS_PER_MS,
                                           .jitter_ns = 10 * KITH_NS_PER_MS,
                                           .loss_ppm = loss_ppm };
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, seed, &crowd->sim), 0);
    crowd_packet(1, 1, &crowd->stale);
    crowd_packet(2, 1, &crowd->other);
}

static inline void crowd_close(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++) {
        kith__dht_free(crowd->nodes[i].dht);
        kith__rt_udp_close(crowd->nodes[i].udp);
        kith__rt_free(crowd->nodes[i].rt);
    }
    kith__sim_free(crowd->sim);
}

static inline struct crowd_node *crowd_host(struct crowd *crowd)
{
    size_t index = crowd->count++;
    struct crowd_node *node = &crowd->nodes[index];
    struct kith_sim_host_options options = { .up = crowd->link, .down = crowd->link };
    char name[32];

    KITH_CHECK(index < CROWD_MAX);
    snprintf(name, sizeof name, "node%zu", index);
    options.name = name;
    node->crowd = crowd;
    node->addr = (struct kith_sockaddr) { .family = KITH_FAMILY_V4, .port = KITH_DHT_PORT };
    node->addr.ip[0] = crowd->is_local ? 10 : (uint8_t)(20 + index % 50);
    node->addr.ip[1] = (uint8_t)(index * 37);
    node->addr.ip[2] = (uint8_t)(index / 7);
    node->addr.ip[3] = (uint8_t)(1 + index % 250);
    options.addrs[0] = node->addr;
    options.addrs[0].port = 0;
    KITH_CHECK_EQ(kith__sim_host_new(crowd->sim, &options, &node->host), 0);
    node->rt = kith__sim_rt(node->host);
    return node;
}

/** Starts the DHT of a node that has none. All join through the name of the first. */
static inline void crowd_start(struct crowd_node *node, bool is_server)
{
    static const char *const bootstrap[] = { "node0:6881", "nobody.example:6881" };
    struct kith_dht_options options = { .bootstrap = bootstrap, .bootstrap_count = 2, .is_server = is_server };

    if (node == &node->crowd->nodes[0])
        options.bootstrap_count = 0;
    KITH_CHECK_EQ(kith__dht_new(node->rt, &options, &node->dht), 0);
}

static inline struct crowd_node *crowd_add(struct crowd *crowd, bool is_server)
{
    struct crowd_node *node = crowd_host(crowd);

    crowd_start(node, is_server);
    return node;
}

/** A liar whose id is so close to the target that no honest one comes between. */
static inline struct crowd_node *crowd_add_liar(struct crowd *crowd, enum crowd_lie lie)
{
    struct crowd_node *node = crowd_host(crowd);
    struct kith_rt_udp_options options = { .local = { .family = KITH_FAMILY_V4, .port = KITH_DHT_PORT } };
    const struct kith_rt_udp_events events = { .on_receive = crowd_on_receive, .ctx = node };

    node->lie = lie;
    node->id = crowd->target;
    node->id.bytes[17] ^= (uint8_t)(1 + crowd->count % 200);
    node->id.bytes[18] ^= (uint8_t)crowd->count;
    KITH_CHECK_EQ(kith__rt_udp_open(node->rt, &options, &events, &node->udp), 0);
    return node;
}

static inline void crowd_kill(struct crowd_node *node)
{
    kith__dht_free(node->dht);
    node->dht = NULL;
}

static inline void crowd_pass(struct crowd *crowd, uint64_t ns)
{
    KITH_CHECK_EQ(kith__sim_run(crowd->sim, NULL, NULL, kith__sim_now(crowd->sim) + ns), KITH_SIM_OK);
}

/** What a get or put came to. */
struct crowd_end {
    bool is_done;
    int err;
    uint64_t timestamp_us, took_ns;
    size_t found, stored, refused, silent;
    char why[KITH_DHT_WHY_SIZE];
};

static inline void crowd_on_found(void *ctx, const struct kith_pkarr *packet)
{
    struct crowd_end *end = ctx;

    KITH_CHECK(!end->is_done && kith__pkarr_timestamp(packet) > end->timestamp_us); /* newer each time */
    end->timestamp_us = kith__pkarr_timestamp(packet);
    end->found++;
}

static inline void crowd_on_end(void *ctx, int err, const struct kith_pkarr *newest, const char *why)
{
    struct crowd_end *end = ctx;

    KITH_CHECK(!end->is_done && (err == 0) == (newest != NULL) && (err == 0) == (why[0] == '\0'));
    if (err == 0)
        KITH_CHECK_EQ(kith__pkarr_timestamp(newest), end->timestamp_us);
    end->is_done = true;
    end->err = err;
    snprintf(end->why, sizeof end->why, "%s", why);
}

static inline void crowd_on_put(void *ctx, const struct kith_dht_put_result *result)
{
    struct crowd_end *end = ctx;

    KITH_CHECK(!end->is_done && (result->err == 0) == (result->why[0] == '\0'));
    *end = (struct crowd_end) { .is_done = true,
                                .err = result->err,
                                .timestamp_us = result->newest_us,
                                .stored = result->stored,
                                .refused = result->refused,
                                .silent = result->silent };
    snprintf(end->why, sizeof end->why, "%s", result->why);
}

static inline bool crowd_is_done(void *ctx)
{
    return ((struct crowd_end *)ctx)->is_done;
}

static inline void crowd_wait(struct crowd *crowd, struct crowd_end *end)
{
    uint64_t begin_ns = kith__sim_now(crowd->sim);

    KITH_CHECK_EQ(kith__sim_run(crowd->sim, crowd_is_done, end, begin_ns + 30 * KITH_NS_PER_S), KITH_SIM_OK);
    end->took_ns = kith__sim_now(crowd->sim) - begin_ns;
}

/** Publishes packet `number` of the key 1 and waits. */
static inline struct crowd_end crowd_put(struct crowd_node *node, unsigned number)
{
    struct crowd_end end = { .is_done = false };
    struct kith_pkarr packet;
    struct kith_dht_put *put;

    crowd_packet(1, number, &packet);
    KITH_CHECK_EQ(kith__dht_put(node->dht, &packet, crowd_on_put, &end, &put), 0);
    KITH_CHECK(!end.is_done); /* callbacks come out of turns only */
    crowd_wait(node->crowd, &end);
    return end;
}

/** Looks for the packet of a key and waits. */
static inline struct crowd_end crowd_get(struct crowd_node *node, uint8_t seed)
{
    struct kith_secret secret = { .bytes = { seed } };
    struct kith_id id = kith__secret_id(&secret);
    struct crowd_end end = { .is_done = false };
    struct kith_dht_get *get;

    KITH_CHECK_EQ(
        kith__dht_get(node->dht, &id, &(struct kith_dht_get_events) { crowd_on_found, crowd_on_end, &end }, &get), 0);
    KITH_CHECK(!end.is_done && end.found == 0);
    crowd_wait(node->crowd, &end);
    return end;
}

/** The timestamp of packet `number`. */
static inline uint64_t crowd_us(unsigned number)
{
    return 1700000000000000ull + number;
}

#endif
