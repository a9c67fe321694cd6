/** For tests only: one core on a stage, without sockets: the nodes around it do what a test says, time jumps from deadline to deadline. */
#ifndef KITH_LOOKUP_DHT_STAGE_H
#define KITH_LOOKUP_DHT_STAGE_H

#include "base/mem.h"
#include "base/random.h"
#include "base/test.h"
#include "crypto/sign.h"
#include "lookup/dht_core.h"
#include "lookup/dht_krpc.h"

#include <stdio.h>
#include <string.h>

enum { STAGE_NODES_MAX = 64 };

struct stage_node {
    struct kith_dht_node node;
    bool is_silent;
    int silent_for; /* so many questions more */
    bool has_packet;
    struct kith_pkarr packet; /* what it has, and keeps of a put */
    int put_error;            /* of a put; once: then 0 */
    bool is_error_for_ever;
    int get_error;
    bool gives_no_token, is_read_only;
    uint8_t token; /* of ours; a put with another is error 203 */
    size_t asked, put;
};

struct stage {
    struct kith_test_mem mem;
    struct kith_prng prng;
    struct kith_random random;
    struct kith_dht_core *core;
    uint64_t now_ns;
    size_t count;
    struct stage_node nodes[STAGE_NODES_MAX];
    size_t found, ended; /* events */
    struct kith_dht_event end;
    char why[KITH_DHT_CORE_WHY_SIZE];
    struct kith_pkarr newest;
    bool has_newest;
};

static inline int stage_open(struct stage *stage, bool is_server, uint64_t fail_at)
{
    memset(stage, 0, sizeof *stage);
    kith__test_mem_init(&stage->mem, fail_at);
    kith__prng_init(&stage->prng, 7);
    stage->random = kith__prng_source(&stage->prng);
    stage->now_ns = KITH_NS_PER_S;
    return kith__dht_core_new(&stage->mem.mem, &stage->random, is_server, stage->now_ns, &stage->core);
}

static inline void stage_close(struct stage *stage)
{
    kith__dht_core_free(stage->core);
    KITH_CHECK_EQ(stage->mem.live, 0);
}

/** A node of the network 10/8, or of the Internet with an id that fits. */
static inline struct stage_node *stage_add(struct stage *stage, bool is_public)
{
    struct stage_node *node = &stage->nodes[stage->count];

    KITH_CHECK(stage->count < STAGE_NODES_MAX);
    kith__random_fill(&stage->random, node->node.id.bytes, KITH_DHT_ID_SIZE);
    node->node.addr = (struct kith_sockaddr) { .family = KITH_FAMILY_V4, .port = 6881 };
    node->node.addr.ip[0] = is_public ? 80 : 10;
    node->node.addr.ip[1] = (uint8_t)stage->count;
    node->node.addr.ip[3] = 1;
    if (is_public)
        kith__dht_id_secure(&node->node.id, &node->node.addr);
    node->token = (uint8_t)stage->count;
    stage->count++;
    return node;
}

static inline struct stage_node *stage_at(struct stage *stage, const struct kith_sockaddr *addr)
{
    for (size_t i = 0; i < stage->count; i++)
        if (kith_sockaddr_equal(&stage->nodes[i].node.addr, addr))
            return &stage->nodes[i];
    return NULL;
}

static inline void stage_send(struct stage *stage, const struct kith_sockaddr *from, const struct kith_krpc *message)
{
    uint8_t bytes[KITH_KRPC_SIZE_MAX];
    size_t size = 0;

    KITH_CHECK_EQ(kith__krpc_write(message, bytes, sizeof bytes, &size), 0);
    kith__dht_core_receive(stage->core, from, (struct kith_slice) { bytes, size }, stage->now_ns);
}

static inline void stage_fill(const struct kith_pkarr *packet, struct kith_krpc *message)
{
    message->key = (struct kith_slice) { packet->bytes, KITH_ID_SIZE };
    message->signature = (struct kith_slice) { packet->bytes + KITH_ID_SIZE, KITH_SIGNATURE_SIZE };
    message->has_seq = true;
    message->seq = (int64_t)kith__pkarr_timestamp(packet);
    message->value_bytes = kith__pkarr_dns(packet);
}

/** What a put brings; its seq goes back into a timestamp. */
static inline void stage_keep(struct stage_node *node, const struct kith_krpc *put)
{
    uint8_t bytes[KITH_PKARR_SIZE_MAX];
    size_t size = KITH_PKARR_HEAD_SIZE + put->value_bytes.size;
    uint64_t seq = (uint64_t)put->seq;

    KITH_CHECK(put->has_target && put->has_seq && put->key.ptr != NULL && put->signature.ptr != NULL);
    memcpy(bytes, put->key.ptr, KITH_ID_SIZE);
    memcpy(bytes + KITH_ID_SIZE, put->signature.ptr, KITH_SIGNATURE_SIZE);
    for (int i = 7; i >= 0; i--, seq >>= 8)
        bytes[KITH_ID_SIZE + KITH_SIGNATURE_SIZE + i] = (uint8_t)seq;
    memcpy(bytes + KITH_PKARR_HEAD_SIZE, put->value_bytes.ptr, put->value_bytes.size);
    KITH_CHECK_EQ(kith__pkarr_read(NULL, (struct kith_slice) { bytes, size }, &node->packet), 0);
    node->has_packet = true;
    node->put++;
}

/** The answer of a node to a question of ours. */
static inline void stage_answer(struct stage *stage, struct stage_node *node, const struct kith_krpc *question)
{
    struct kith_krpc answer = { .kind = KITH_KRPC_ANSWER, .transaction = question->transaction, .id = node->node.id };
    uint8_t nodes[20 * KITH_DHT_NODE_SIZE], token[1] = { node->token };
    size_t told = 0;

    answer.is_read_only = node->is_read_only;

    if (question->method != KITH_KRPC_PING && question->method != KITH_KRPC_PUT) {
        for (size_t i = 0; i < stage->count && told < 20; i++)
            kith__dht_node_write(&stage->nodes[(i + node->token) % stage->count].node,
                                 nodes + told++ * KITH_DHT_NODE_SIZE);
        answer.nodes = (struct kith_slice) { nodes, told * KITH_DHT_NODE_SIZE };
    }
    if (question->method == KITH_KRPC_GET && !node->gives_no_token)
        answer.token = (struct kith_slice) { token, 1 };
    if (question->method == KITH_KRPC_GET && node->has_packet)
        stage_fill(&node->packet, &answer);
    if (question->method == KITH_KRPC_GET && node->get_error != 0) {
        answer.kind = KITH_KRPC_ERROR;
        answer.error_code = node->get_error;
    }
    if (question->method == KITH_KRPC_PUT) {
        bool is_token = question->token.size == 1 && question->token.ptr[0] == node->token;

        if (node->put_error != 0 || !is_token) {
            answer.kind = KITH_KRPC_ERROR;
            answer.error_code = node->put_error != 0 ? node->put_error : KITH_KRPC_PROTOCOL;
            node->put_error = node->is_error_for_ever ? node->put_error : 0;
        } else {
            stage_keep(node, question);
        }
    }
    stage_send(stage, &node->node.addr, &answer);
}

static inline void stage_events(struct stage *stage)
{
    struct kith_dht_event event;

    while (kith__dht_core_event(stage->core, &event)) {
        if (event.newest != NULL)
            stage->newest = *event.newest;
        stage->has_newest = event.newest != NULL;
        stage->found += event.kind == KITH_DHT_EVENT_FOUND;
        stage->ended += event.kind == KITH_DHT_EVENT_END;
        if (event.kind == KITH_DHT_EVENT_END) {
            stage->end = event;
            snprintf(stage->why, sizeof stage->why, "%s", event.why);
        }
    }
}

/** Delivers all that is sent and answers it at once. */
static inline void stage_deliver(struct stage *stage)
{
    struct kith_sockaddr to;
    struct kith_slice sent;

    while (kith__dht_core_next(stage->core, &to, &sent)) {
        struct stage_node *node = stage_at(stage, &to);
        uint8_t bytes[KITH_KRPC_SIZE_MAX];
        struct kith_krpc question;

        KITH_CHECK(sent.size <= sizeof bytes);
        memcpy(bytes, sent.ptr, sent.size); /* the core frees its own with the next call */
        KITH_CHECK_EQ(kith__krpc_read((struct kith_slice) { bytes, sent.size }, &question), 0);
        if (node == NULL || question.kind != KITH_KRPC_QUESTION)
            continue;
        node->asked++;
        if (node->is_silent || (node->silent_for > 0 && node->silent_for-- > 0))
            continue;
        stage_answer(stage, node, &question);
        kith__dht_core_check(stage->core);
    }
    stage_events(stage);
    kith__dht_core_check(stage->core);
}

/** Runs until an operation ended, or for so long. */
static inline void stage_run(struct stage *stage, uint64_t limit_ns)
{
    uint64_t until_ns = stage->now_ns + limit_ns;
    size_t ended = stage->ended;

    stage_deliver(stage);
    while (stage->ended == ended && kith__dht_core_deadline(stage->core) <= until_ns) {
        stage->now_ns = KITH_MAX(stage->now_ns, kith__dht_core_deadline(stage->core));
        kith__dht_core_on_deadline(stage->core, stage->now_ns);
        stage_deliver(stage);
    }
    if (stage->ended == ended)
        stage->now_ns = until_ns;
}

/** The packet number `number` of key 1. */
static inline void stage_packet(uint8_t seed, unsigned number, struct kith_pkarr *out)
{
    struct kith_secret secret = { .bytes = { seed } };
    struct kith_id id = kith__secret_id(&secret);
    struct kith_lookup_info info;
    char url[64];
    size_t left_out;

    snprintf(url, sizeof url, "https://relay%u.example/", number);
    kith__lookup_info_init(&info, kith_mem_default(), &id);
    KITH_CHECK_EQ(kith__endpoint_addr_add_relay(&info.addr, url, strlen(url)), 0);
    KITH_CHECK_EQ(kith__pkarr_make(&info, &secret, 1700000000000000ull + number, KITH_PKARR_TTL_S, kith_mem_default(),
                                   out, &left_out),
                  0);
    kith__lookup_info_dispose(&info);
}

static inline struct kith_id stage_key(uint8_t seed)
{
    struct kith_secret secret = { .bytes = { seed } };

    return kith__secret_id(&secret);
}

/** Everybody joined through the first node. */
static inline void stage_join(struct stage *stage)
{
    kith__dht_core_add_seed(stage->core, &stage->nodes[0].node.addr, stage->now_ns);
    kith__dht_core_join(stage->core, stage->now_ns);
    stage_run(stage, 20 * KITH_NS_PER_S);
    KITH_CHECK(!kith__dht_core_is_joining(stage->core));
}

#endif
