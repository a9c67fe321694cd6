/* Questions on their way: each is asked twice, then given up; and the queue of datagrams. */
#include "lookup/dht_core_parts.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

static const uint8_t our_version[4] = { 'k', 'h', 0, 1 };

/* ---- The queue ---- */

void kith__dht_release(struct kith_dht_core *core)
{
    struct kith_dht_op *told = core->told;

    kith__free(core->mem, core->sent);
    core->sent = NULL;
    core->told = NULL;
    if (told != NULL)
        kith__dht_op_free(core, told);
    KITH_LIST_EACH_SAFE(node, after, &core->past)
    kith__dht_op_free(core, KITH_CONTAINER(node, struct kith_dht_op, event));
}

bool kith__dht_send(struct kith_dht_core *core, const struct kith_sockaddr *to, const struct kith_krpc *message)
{
    struct kith_krpc complete = *message;
    uint8_t bytes[KITH_KRPC_SIZE_MAX];
    struct kith_dht_datagram *datagram;
    size_t size = 0;

    complete.version = (struct kith_slice) { our_version, sizeof our_version };
    if (core->outbox_count == KITH_DHT_OUTBOX_MAX || kith__krpc_write(&complete, bytes, sizeof bytes, &size) != 0 ||
        (datagram = kith__alloc(core->mem, sizeof *datagram + size)) == NULL)
        return false;
    datagram->to = *to;
    datagram->size = size;
    memcpy(datagram->bytes, bytes, size);
    kith__list_init(&datagram->list);
    kith__list_push_back(&core->outbox, &datagram->list);
    core->outbox_count++;
    return true;
}

bool kith__dht_core_next(struct kith_dht_core *core, struct kith_sockaddr *to, struct kith_slice *bytes)
{
    struct kith_list *first;

    kith__dht_release(core);
    if ((first = kith__list_first(&core->outbox)) == NULL)
        return false;
    kith__list_remove(first);
    core->outbox_count--;
    core->sent = KITH_CONTAINER(first, struct kith_dht_datagram, list);
    *to = core->sent->to;
    *bytes = (struct kith_slice) { core->sent->bytes, core->sent->size };
    return true;
}

/* ---- Calls ---- */

static enum kith_krpc_method method_of(const struct kith_dht_call *call)
{
    switch (call->kind) {
    case KITH_DHT_CALL_CHECK:
        return KITH_KRPC_PING;
    case KITH_DHT_CALL_SEED:
        return KITH_KRPC_FIND_NODE; /* the public ones know no other */
    case KITH_DHT_CALL_STORE:
        return KITH_KRPC_PUT;
    default:
        return call->op->kind == KITH_DHT_OP_NODES ? KITH_KRPC_FIND_NODE : KITH_KRPC_GET;
    }
}

/** Sends the question of a call, first or again. */
static void ask(struct kith_dht_core *core, const struct kith_dht_call *call)
{
    struct kith_krpc question = { .kind = KITH_KRPC_QUESTION,
                                  .method = method_of(call),
                                  .transaction = { call->transaction, sizeof call->transaction },
                                  .id = core->table.own,
                                  .is_read_only = !core->is_server };

    if (question.method != KITH_KRPC_PING) {
        question.has_target = true;
        question.target = call->op->query.target;
    }
    if (call->kind == KITH_DHT_CALL_STORE) {
        const struct kith_dht_candidate *candidate = &call->op->query.candidates[call->place];

        kith__dht_fill_put(&call->op->packet, &question);
        question.token = (struct kith_slice) { candidate->token, candidate->token_size };
    }
    if (!kith__dht_send(core, &call->addr, &question))
        core->stats.outbox_full++;
    else if (call->is_again)
        core->stats.asked_again++;
    else
        core->stats.asked++;
}

bool kith__dht_call(struct kith_dht_core *core, enum kith_dht_call_kind kind, struct kith_dht_op *op, uint8_t place,
                    const struct kith_sockaddr *addr, uint64_t now_ns)
{
    struct kith_dht_call *call;

    if (core->call_count == KITH_DHT_CALLS_MAX || (call = kith__alloc_zero(core->mem, sizeof *call)) == NULL)
        return false;
    call->kind = kind;
    call->op = op;
    call->place = place;
    call->addr = *addr;
    call->asked_ns = now_ns;
    kith__heap_node_init(&call->due);
    do {
        kith__random_fill(core->random, call->transaction, sizeof call->transaction);
    } while (kith__map_get(&core->calls, call->transaction, sizeof call->transaction) != NULL);
    if (kith__map_put(&core->calls, call->transaction, sizeof call->transaction, call) != 0) {
        kith__free(core->mem, call);
        return false;
    }
    if (kith__heap_set(&core->due, &call->due, now_ns + KITH_DHT_RETRY_NS) != 0) {
        kith__map_remove(&core->calls, call->transaction, sizeof call->transaction);
        kith__free(core->mem, call);
        return false;
    }
    core->call_count++;
    core->check_count += kind == KITH_DHT_CALL_CHECK;
    if (op != NULL)
        op->calls++;
    ask(core, call);
    return true;
}

struct kith_dht_call *kith__dht_call_find(const struct kith_dht_core *core, struct kith_slice transaction)
{
    return transaction.size == KITH_DHT_TRANSACTION_SIZE
               ? kith__map_get(&core->calls, transaction.ptr, transaction.size)
               : NULL;
}

void kith__dht_call_end(struct kith_dht_core *core, struct kith_dht_call *call)
{
    kith__map_remove(&core->calls, call->transaction, sizeof call->transaction);
    kith__heap_remove(&core->due, &call->due);
    core->call_count--;
    core->check_count -= call->kind == KITH_DHT_CALL_CHECK;
    if (call->op != NULL)
        call->op->calls--;
    kith__free(core->mem, call);
}

void kith__dht_calls_leave(struct kith_dht_core *core, struct kith_dht_op *op)
{
    for (size_t i = 0; i < core->due.count && op->calls > 0; i++) {
        struct kith_dht_call *call = KITH_CONTAINER(core->due.nodes[i], struct kith_dht_call, due);

        if (call->op == op) {
            call->op = NULL;
            op->calls--;
        }
    }
    KITH_ASSERT(op->calls == 0);
}

/** Nobody is there. */
static void give_up(struct kith_dht_core *core, struct kith_dht_call *call, uint64_t now_ns)
{
    struct kith_dht_call gone = *call;

    core->stats.unanswered++;
    kith__dht_table_on_silence(&core->table, &gone.addr);
    kith__dht_call_end(core, call);
    if (gone.op != NULL)
        kith__dht_op_on_silence(core, gone.op, &gone, now_ns);
}

void kith__dht_calls_on_deadline(struct kith_dht_core *core, uint64_t now_ns)
{
    struct kith_heap_node *first;

    while ((first = kith__heap_first(&core->due)) != NULL && first->key <= now_ns) {
        struct kith_dht_call *call = KITH_CONTAINER(first, struct kith_dht_call, due);

        if (call->is_again) {
            give_up(core, call, now_ns);
            continue;
        }
        call->is_again = true;
        /* Nobody's question is waited for, so that the table learns, but not repeated: what it was is not known any more. */
        if (call->op != NULL || call->kind == KITH_DHT_CALL_CHECK)
            ask(core, call);
        if (kith__heap_set(&core->due, &call->due, call->asked_ns + KITH_DHT_GIVE_UP_NS) != 0)
            KITH_ASSERT(!"a node that is inside needs no memory");
        if (call->op != NULL && call->kind == KITH_DHT_CALL_SEARCH) {
            kith__dht_query_on_slow(&call->op->query, call->place);
            kith__dht_op_pump(core, call->op, now_ns);
        }
    }
}
