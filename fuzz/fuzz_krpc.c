/*
 * Messages of the DHT. The input is one: what was read lies inside it, and means the same after writing and reading. Then a node that
 * serves gets it as a question, a put with a token that is good, and one that looks for a packet as the answer to its own question,
 * whose number is put into it.
 */
#include "base/mem.h"
#include "base/random.h"
#include "lookup/dht_core.h"
#include "lookup/dht_krpc.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { INPUT_MAX = KITH_KRPC_SIZE_MAX };

static const struct kith_sockaddr there = { .ip = { 9, 8, 7, 6 }, .port = 5, .family = KITH_FAMILY_V4 };

static void check_inside(struct kith_slice part, struct kith_slice whole)
{
    if (part.ptr != NULL)
        KITH_ASSERT(part.ptr >= whole.ptr && part.ptr + part.size <= whole.ptr + whole.size);
}

static bool same(struct kith_slice a, struct kith_slice b)
{
    return (a.ptr == NULL) == (b.ptr == NULL) && a.size == b.size && (a.size == 0 || memcmp(a.ptr, b.ptr, a.size) == 0);
}

static void check_message(const struct kith_krpc *message, struct kith_slice whole)
{
    const struct kith_slice parts[] = { message->transaction, message->version,   message->token,     message->nodes,
                                        message->key,         message->salt,      message->signature, message->value,
                                        message->value_bytes, message->error_text };
    uint8_t bytes[2 * INPUT_MAX];
    struct kith_krpc again;
    size_t size = 0;

    for (size_t i = 0; i < KITH_COUNT(parts); i++)
        check_inside(parts[i], whole);
    for (size_t i = 0; i < kith__krpc_node_count(message); i++)
        (void)kith__krpc_node(message, i);
    if (message->kind == KITH_KRPC_QUESTION && message->method == KITH_KRPC_METHODS)
        return; /* a word that we do not know cannot be written */
    KITH_ASSERT(kith__krpc_write(message, bytes, sizeof bytes, &size) == 0);
    KITH_ASSERT(kith__krpc_read((struct kith_slice) { bytes, size }, &again) == 0);
    KITH_ASSERT(again.kind == message->kind && again.method == message->method &&
                again.has_target == message->has_target);
    KITH_ASSERT(same(again.transaction, message->transaction) && same(again.version, message->version));
    KITH_ASSERT(again.is_read_only == message->is_read_only && kith_sockaddr_equal(&again.ip, &message->ip));
    KITH_ASSERT(again.error_code == message->error_code && again.error_text.size == message->error_text.size);
    KITH_ASSERT(same(again.token, message->token) && same(again.nodes, message->nodes) &&
                same(again.value, message->value));
    KITH_ASSERT(same(again.key, message->key) && same(again.signature, message->signature) &&
                same(again.salt, message->salt));
    KITH_ASSERT(again.has_seq == message->has_seq && (!again.has_seq || again.seq == message->seq));
    KITH_ASSERT(kith__dht_id_equal(&again.id, &message->id) && kith__dht_id_equal(&again.target, &message->target));
}

/** Everything that a core wants to send is a message. */
static void drain(struct kith_dht_core *core)
{
    struct kith_sockaddr to;
    struct kith_slice sent;
    struct kith_krpc message;

    kith__dht_core_check(core);
    while (kith__dht_core_next(core, &to, &sent))
        KITH_ASSERT(kith__krpc_read(sent, &message) == 0 && sent.size < 1472);
}

/** A token of the core for `there`. */
static void take_token(struct kith_dht_core *core, uint8_t out[8])
{
    static const uint8_t get[] =
        "d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q3:get2:roi1e1:t2:aa1:y1:qe";
    struct kith_sockaddr to;
    struct kith_slice sent;
    struct kith_krpc answer;

    kith__dht_core_receive(core, &there, (struct kith_slice) { get, sizeof get - 1 }, KITH_NS_PER_S);
    KITH_ASSERT(kith__dht_core_next(core, &to, &sent) && kith__krpc_read(sent, &answer) == 0 && answer.token.size == 8);
    memcpy(out, answer.token.ptr, 8);
}

static void serve(const struct kith_random *random, uint8_t *bytes, size_t size)
{
    struct kith_slice input = { bytes, size };
    struct kith_dht_core *core;
    struct kith_krpc message;

    KITH_ASSERT(kith__dht_core_new(kith_mem_default(), random, true, KITH_NS_PER_S, &core) == 0);
    if (kith__krpc_read(input, &message) == 0 && message.method == KITH_KRPC_PUT && message.token.size == 8)
        take_token(core, bytes + (message.token.ptr - bytes));
    for (int i = 0; i < 3; i++) {
        kith__dht_core_receive(core, &there, input, (uint64_t)(1 + i) * KITH_NS_PER_S);
        drain(core);
        kith__dht_core_on_deadline(core, (uint64_t)(1 + i) * KITH_NS_PER_S);
        drain(core);
    }
    kith__dht_core_free(core);
}

/** The question that was sent, for its number. */
static bool take_transaction(struct kith_dht_core *core, uint8_t out[4])
{
    struct kith_sockaddr to;
    struct kith_slice sent;
    struct kith_krpc question;

    if (!kith__dht_core_next(core, &to, &sent))
        return false;
    KITH_ASSERT(kith__krpc_read(sent, &question) == 0 && question.transaction.size == 4);
    memcpy(out, question.transaction.ptr, 4);
    return true;
}

static void look(const struct kith_random *random, const struct kith_krpc *message, uint8_t *bytes, size_t size)
{
    size_t at = (size_t)(message->transaction.ptr - bytes);
    struct kith_id key = { .bytes = { 1 } };
    struct kith_dht_core *core;
    struct kith_dht_event event;
    struct kith_dht_op *op;

    if (message->transaction.size != 4)
        return;
    if (message->key.ptr != NULL)
        memcpy(key.bytes, message->key.ptr, sizeof key.bytes);
    KITH_ASSERT(kith__dht_core_new(kith_mem_default(), random, false, KITH_NS_PER_S, &core) == 0);
    kith__dht_core_add_seed(core, &there, KITH_NS_PER_S);
    KITH_ASSERT(kith__dht_core_get(core, &key, NULL, KITH_NS_PER_S, &op) == 0);
    /* First as a seed, then as a node. */
    for (int i = 0; i < 2 && take_transaction(core, bytes + at); i++) {
        kith__dht_core_receive(core, &there, (struct kith_slice) { bytes, size }, KITH_NS_PER_S);
        kith__dht_core_check(core);
    }
    for (int i = 0; i < 100 && kith__dht_core_deadline(core) != KITH_NEVER; i++) {
        kith__dht_core_on_deadline(core, kith__dht_core_deadline(core));
        drain(core);
        while (kith__dht_core_event(core, &event))
            KITH_ASSERT(event.kind != KITH_DHT_EVENT_END || event.err == 0 || event.why[0] != '\0');
    }
    kith__dht_core_free(core);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t copy[INPUT_MAX];
    struct kith_prng prng;
    struct kith_random random;
    struct kith_krpc message;
    struct kith_slice input = { copy, size };

    if (size > sizeof copy)
        return 0;
    if (size != 0)
        memcpy(copy, bytes, size);
    kith__prng_init(&prng, 1);
    random = kith__prng_source(&prng);
    serve(&random, copy, size);
    if (kith__krpc_read(input, &message) != 0)
        return 0;
    check_message(&message, input);
    look(&random, &message, copy, size);
    return 0;
}
