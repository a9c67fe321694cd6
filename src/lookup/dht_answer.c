/* The side that answers: everybody may ask within the rates, and leave a value with a token. */
#include "lookup/dht_core_parts.h"

enum {
    NODES_BESIDE_VALUE = 8, /* with 20 of them a large value would not fit one packet of an Ethernet */
    CHECKS_MAX = 64         /* newcomers that are being asked whether they are there */
};

struct answer {
    struct kith_krpc message;
    uint8_t nodes[KITH_DHT_CLOSEST_MAX * KITH_DHT_NODE_SIZE];
    uint8_t token[KITH_DHT_OUR_TOKEN_SIZE];
};

/** Nodes near a target, and a token. */
static void fill(struct kith_dht_core *core, const struct kith_sockaddr *from, const struct kith_dht_id *target,
                 size_t max, bool with_token, uint64_t now_ns, struct answer *answer)
{
    struct kith_dht_node nodes[KITH_DHT_CLOSEST_MAX];
    size_t count = kith__dht_table_closest(&core->table, target, nodes, max);

    for (size_t i = 0; i < count; i++)
        kith__dht_node_write(&nodes[i], answer->nodes + i * KITH_DHT_NODE_SIZE);
    answer->message.nodes = (struct kith_slice) { answer->nodes, count * KITH_DHT_NODE_SIZE };
    if (with_token) {
        kith__dht_server_token(&core->server, from, now_ns, answer->token);
        answer->message.token = (struct kith_slice) { answer->token, sizeof answer->token };
    }
}

static void answer_get(struct kith_dht_core *core, const struct kith_sockaddr *from, const struct kith_krpc *question,
                       uint64_t now_ns, struct answer *answer)
{
    const struct kith_dht_value *value = kith__dht_server_find(&core->server, &question->target, now_ns);
    struct kith_krpc *message = &answer->message;

    fill(core, from, &question->target, value != NULL ? NODES_BESIDE_VALUE : KITH_DHT_CLOSEST_MAX, true, now_ns,
         answer);
    if (value == NULL)
        return;
    message->has_seq = value->is_mutable;
    message->seq = value->seq;
    if (value->is_mutable && question->has_seq && value->seq <= question->seq)
        return; /* what it has is as new */
    message->value = (struct kith_slice) { value->bytes, value->size };
    if (value->is_mutable) {
        message->key = (struct kith_slice) { value->key.bytes, sizeof value->key.bytes };
        message->signature = (struct kith_slice) { value->signature, sizeof value->signature };
    }
}

static void set_error(struct answer *answer, int code, const char *text)
{
    answer->message.kind = KITH_KRPC_ERROR;
    answer->message.error_code = code;
    answer->message.error_text = (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

/** Someone who asks may be a node that we do not know: it is, when it answers. */
static void get_to_know(struct kith_dht_core *core, const struct kith_sockaddr *from, const struct kith_krpc *question,
                        uint64_t now_ns)
{
    struct kith_dht_node node = { .id = question->id, .addr = *from };

    if (!question->is_read_only && core->check_count < CHECKS_MAX && kith__dht_table_wants(&core->table, &node))
        kith__dht_call(core, KITH_DHT_CALL_CHECK, NULL, KITH_DHT_NOBODY, from, now_ns);
}

void kith__dht_answer(struct kith_dht_core *core, const struct kith_sockaddr *from, const struct kith_krpc *question,
                      uint64_t now_ns)
{
    struct answer answer = { .message = { .kind = KITH_KRPC_ANSWER,
                                          .transaction = question->transaction,
                                          .ip = *from,
                                          .id = core->table.own } };
    const char *text = "";
    int code;

    switch (question->method) {
    case KITH_KRPC_PING:
        break;
    case KITH_KRPC_FIND_NODE:
        fill(core, from, &question->target, KITH_DHT_CLOSEST_MAX, false, now_ns, &answer);
        break;
    case KITH_KRPC_GET_PEERS:
        fill(core, from, &question->target, KITH_DHT_CLOSEST_MAX, true, now_ns, &answer);
        break;
    case KITH_KRPC_GET:
        answer_get(core, from, question, now_ns, &answer);
        break;
    case KITH_KRPC_PUT:
        if ((code = kith__dht_server_put(&core->server, question, from, now_ns, &text)) != 0)
            set_error(&answer, code, text);
        break;
    default: /* peers of torrents are not kept here */
        set_error(&answer, KITH_KRPC_METHOD, "Method unknown");
        break;
    }
    if (!kith__dht_send(core, from, &answer.message))
        core->stats.drop_no_room++;
    else
        core->stats.received_questions++;
    get_to_know(core, from, question, now_ns);
}
