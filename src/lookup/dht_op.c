/* Operations: a search for the nodes closest to a target, and what is done with them. */
#include "lookup/dht_core_parts.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>

/* Fewer nodes than this in the table that could be asked: the seeds are asked beside them. */
enum { FEW_NODES = 8 };

int kith__dht_op_new(struct kith_dht_core *core, enum kith_dht_op_kind kind, const struct kith_dht_id *target,
                     struct kith_dht_op **out)
{
    struct kith_dht_node nodes[KITH_DHT_CLOSEST_MAX];
    struct kith_dht_op *op;
    size_t count;

    if (core->op_count >= KITH_DHT_OPERATIONS_MAX + (kind == KITH_DHT_OP_NODES))
        return KITH_ERR_LIMIT;
    if ((op = kith__alloc_zero(core->mem, sizeof *op)) == NULL)
        return KITH_ERR_NOMEM;
    if (kith__dht_query_init(&op->query, core->mem, target) != 0) {
        kith__free(core->mem, op);
        return KITH_ERR_NOMEM;
    }
    op->kind = kind;
    kith__list_init(&op->list);
    kith__list_init(&op->event);
    kith__list_push_back(&core->ops, &op->list);
    core->op_count++;
    count = kith__dht_table_closest(&core->table, target, nodes, KITH_COUNT(nodes));
    for (size_t i = 0; i < count; i++)
        kith__dht_query_add(&op->query, &nodes[i]);
    *out = op;
    return 0;
}

void kith__dht_op_free(struct kith_dht_core *core, struct kith_dht_op *op)
{
    if (core->join == op)
        core->join = NULL;
    kith__dht_calls_leave(core, op);
    kith__list_remove(&op->list);
    kith__list_remove(&op->event);
    core->op_count--;
    kith__dht_query_dispose(&op->query, core->mem);
    kith__free(core->mem, op);
}

/* ---- The end ---- */

void kith__dht_op_tell(struct kith_dht_core *core, struct kith_dht_op *op)
{
    op->has_news |= op->state != KITH_DHT_OP_ENDED;
    if (op->kind != KITH_DHT_OP_NODES && !kith__list_is_linked(&op->event))
        kith__list_push_back(&core->events, &op->event);
}

static void end(struct kith_dht_core *core, struct kith_dht_op *op, int err, const char *why, uint64_t now_ns)
{
    op->state = KITH_DHT_OP_ENDED;
    op->err = err;
    snprintf(op->why, sizeof op->why, "%s", why);
    kith__dht_calls_leave(core, op);
    core->stats.gets_found += op->kind == KITH_DHT_OP_GET && err == 0;
    core->stats.puts_stored += op->kind == KITH_DHT_OP_PUT && err == 0;
    if (op->kind == KITH_DHT_OP_NODES) {
        if (kith__dht_id_equal(&op->query.target, &core->table.own))
            core->joined_ns = now_ns;
        core->join = NULL;
        kith__list_push_back(&core->past, &op->event);
        return;
    }
    kith__dht_op_tell(core, op);
}

/** Nobody answered: why. */
static void end_unanswered(struct kith_dht_core *core, struct kith_dht_op *op, uint64_t now_ns)
{
    if (op->query.count == 0 && core->seed_count == 0)
        end(core, op, KITH_ERR_UNREACHABLE,
            "no node of the DHT is known: the names of those to join through could not be resolved, or none are "
            "configured",
            now_ns);
    else
        end(core, op, KITH_ERR_TIMEOUT, "no node of the DHT answered: is UDP let through to the Internet?", now_ns);
}

static const char *refusal(int64_t code, int *err)
{
    switch (code) {
    case KITH_KRPC_OLD_SEQ:
    case KITH_KRPC_CAS_MISMATCH:
        *err = KITH_ERR_STATE;
        return "the nodes have a newer packet of this key: is the clock of this machine right, or does another use the "
               "key?";
    case KITH_KRPC_VALUE_TOO_BIG:
        *err = KITH_ERR_TOO_LARGE;
        return "the nodes say that the packet is too large: publish fewer addresses";
    case KITH_KRPC_BAD_SIGNATURE:
        *err = KITH_ERR_CRYPTO;
        return "the nodes say that the packet's signature is wrong";
    default:
        *err = KITH_ERR_REFUSED;
        return "the nodes refused the packet";
    }
}

static void end_stored(struct kith_dht_core *core, struct kith_dht_op *op, uint64_t now_ns)
{
    int err = KITH_ERR_TIMEOUT;

    core->stats.put_stored += op->stored;
    core->stats.put_refused += op->refused;
    core->stats.put_silent += op->silent;
    if (op->stored > 0)
        end(core, op, 0, "", now_ns);
    else if (op->refused > 0) {
        const char *why = refusal(op->refused_code, &err);

        end(core, op, err, why, now_ns);
    } else
        end(core, op, err, "the nodes closest to the key fell silent before they took the packet", now_ns);
}

/* ---- Storing ---- */

static void store_at(struct kith_dht_core *core, struct kith_dht_op *op, uint8_t place, uint64_t now_ns)
{
    if (!kith__dht_call(core, KITH_DHT_CALL_STORE, op, place, &op->query.candidates[place].node.addr, now_ns))
        op->silent++;
}

static void begin_storing(struct kith_dht_core *core, struct kith_dht_op *op, uint64_t now_ns)
{
    size_t ready = kith__dht_query_mark_close(&op->query);

    kith__dht_calls_leave(core, op); /* the late ones, if the search was ended by time */
    if (op->has_newest && kith__pkarr_is_newer(&op->newest, &op->packet)) {
        int err;
        const char *why = refusal(KITH_KRPC_OLD_SEQ, &err);

        end(core, op, err, why, now_ns);
        return;
    }
    op->state = KITH_DHT_OP_STORING;
    if (core->is_server && kith__dht_keep_own(core, op, now_ns)) {
        op->stored++;
    } else if (op->query.answered == 0) {
        end_unanswered(core, op, now_ns);
        return;
    } else if (ready == 0) {
        end(core, op, KITH_ERR_REFUSED, "no node near the key lets anything be stored", now_ns);
        return;
    }
    for (size_t i = 0; i < op->query.count; i++) {
        const struct kith_dht_candidate *candidate = &op->query.candidates[op->query.order[i]];

        if (candidate->is_close && candidate->state == KITH_DHT_CANDIDATE_ANSWERED && candidate->token_size != 0)
            store_at(core, op, op->query.order[i], now_ns);
    }
}

/* ---- Searching ---- */

static void end_search(struct kith_dht_core *core, struct kith_dht_op *op, uint64_t now_ns)
{
    if (op->kind == KITH_DHT_OP_NODES)
        end(core, op, 0, "", now_ns);
    else if (op->kind == KITH_DHT_OP_PUT)
        begin_storing(core, op, now_ns);
    else if (op->has_newest)
        end(core, op, 0, "", now_ns);
    else if (op->query.answered > 0 || core->is_server)
        end(core, op, KITH_ERR_NOT_FOUND, "the nodes of the DHT that are closest to this key have no packet of it",
            now_ns);
    else
        end_unanswered(core, op, now_ns);
}

/** True: some were asked. */
static bool ask_seeds(struct kith_dht_core *core, struct kith_dht_op *op, uint64_t now_ns)
{
    bool is_any = false;

    for (size_t i = 0; i < core->seed_count; i++)
        is_any |= kith__dht_call(core, KITH_DHT_CALL_SEED, op, 0, &core->seeds[i], now_ns);
    op->are_seeds_asked |= is_any;
    return is_any;
}

static void search(struct kith_dht_core *core, struct kith_dht_op *op, uint64_t now_ns)
{
    uint8_t place;

    while ((place = kith__dht_query_next(&op->query)) != KITH_DHT_NOBODY) {
        struct kith_dht_candidate *candidate = &op->query.candidates[place];

        if (kith__dht_call(core, KITH_DHT_CALL_SEARCH, op, place, &candidate->node.addr, now_ns))
            continue;
        if (core->call_count < KITH_DHT_CALLS_MAX) { /* no memory: as if it had not answered */
            kith__dht_query_on_silence(&op->query, place);
            continue;
        }
        candidate->state = KITH_DHT_CANDIDATE_NEW;
        op->query.asked--;
        core->is_short = true;
        return; /* goes on when a call ends */
    }
    if (!op->are_seeds_asked && (op->query.count < FEW_NODES || (op->calls == 0 && op->query.answered == 0)) &&
        ask_seeds(core, op, now_ns))
        return;
    if (op->calls > 0 && (!kith__dht_query_is_done(&op->query) || op->query.answered == 0))
        return;
    if (op->calls == 0 && op->query.answered == 0 && core->may_seeds_come)
        return; /* goes on when they come, or when they will not */
    end_search(core, op, now_ns);
}

void kith__dht_op_pump(struct kith_dht_core *core, struct kith_dht_op *op, uint64_t now_ns)
{
    if (op->state == KITH_DHT_OP_SEARCHING)
        search(core, op, now_ns);
    /* Not else: what was found may all be refused here and now. */
    if (op->state == KITH_DHT_OP_STORING && op->calls == 0)
        end_stored(core, op, now_ns);
}

void kith__dht_op_pump_all(struct kith_dht_core *core, uint64_t now_ns)
{
    core->is_short = false;
    KITH_LIST_EACH_SAFE(node, after, &core->ops)
    kith__dht_op_pump(core, KITH_CONTAINER(node, struct kith_dht_op, list), now_ns);
}

/* ---- What comes back ---- */

/** Nodes that somebody tells of. From the Internet nobody sends us into local networks. */
static void hear_of(struct kith_dht_core *core, struct kith_dht_op *op, const struct kith_sockaddr *from,
                    const struct kith_krpc *answer)
{
    size_t count = KITH_MIN(kith__krpc_node_count(answer), (size_t)KITH_DHT_HEARD_MAX);

    for (size_t i = 0; i < count; i++) {
        struct kith_dht_node node = kith__krpc_node(answer, i);

        core->stats.nodes_heard_of++;
        if (!kith__dht_addr_is_usable(&node.addr) || kith__dht_id_equal(&node.id, &core->table.own) ||
            (kith__dht_addr_is_local(&node.addr) && !kith__dht_addr_is_local(from)))
            core->stats.nodes_refused++;
        else
            kith__dht_query_add(&op->query, &node);
    }
}

static void on_token(struct kith_dht_core *core, struct kith_dht_op *op, uint8_t place, const struct kith_krpc *answer,
                     uint64_t now_ns)
{
    struct kith_dht_candidate *candidate = &op->query.candidates[place];

    if (answer->token.size == 0 || answer->token.size > KITH_KRPC_TOKEN_MAX) {
        op->refused++;
        return;
    }
    memcpy(candidate->token, answer->token.ptr, answer->token.size);
    candidate->token_size = (uint8_t)answer->token.size;
    store_at(core, op, place, now_ns);
}

void kith__dht_op_on_answer(struct kith_dht_core *core, struct kith_dht_op *op, const struct kith_dht_call *call,
                            const struct kith_krpc *answer, uint64_t now_ns)
{
    struct kith_dht_node node = { .id = answer->id, .addr = call->addr };

    switch (call->kind) {
    case KITH_DHT_CALL_SEED:
        hear_of(core, op, &call->addr, answer);
        kith__dht_query_add(&op->query, &node);
        break;
    case KITH_DHT_CALL_SEARCH:
        if (!kith__dht_id_equal(&op->query.candidates[call->place].node.id, &answer->id))
            core->stats.answers_other_id++;
        kith__dht_query_on_answer(&op->query, call->place, &answer->id, answer->token);
        hear_of(core, op, &call->addr, answer);
        if (op->kind != KITH_DHT_OP_NODES && kith__dht_take_value(core, op, answer) && op->kind == KITH_DHT_OP_GET)
            kith__dht_op_tell(core, op);
        break;
    case KITH_DHT_CALL_STORE:
        op->stored++;
        break;
    case KITH_DHT_CALL_TOKEN:
        on_token(core, op, call->place, answer, now_ns);
        break;
    case KITH_DHT_CALL_CHECK:
        break;
    }
    kith__dht_op_pump(core, op, now_ns);
}

void kith__dht_op_on_error(struct kith_dht_core *core, struct kith_dht_op *op, const struct kith_dht_call *call,
                           const struct kith_krpc *error, uint64_t now_ns)
{
    struct kith_dht_candidate *candidate = &op->query.candidates[call->place];

    if (call->kind == KITH_DHT_CALL_SEARCH)
        kith__dht_query_on_silence(&op->query, call->place); /* it is there, but of no use for this */
    /* A bad token may only be too old: once another is asked for. */
    if (call->kind == KITH_DHT_CALL_STORE && error->error_code == KITH_KRPC_PROTOCOL && !candidate->is_token_new) {
        candidate->is_token_new = true;
        if (kith__dht_call(core, KITH_DHT_CALL_TOKEN, op, call->place, &call->addr, now_ns))
            return;
    }
    if (call->kind == KITH_DHT_CALL_STORE || call->kind == KITH_DHT_CALL_TOKEN) {
        op->refused++;
        op->refused_code = error->error_code;
    }
    kith__dht_op_pump(core, op, now_ns);
}

void kith__dht_op_on_silence(struct kith_dht_core *core, struct kith_dht_op *op, const struct kith_dht_call *call,
                             uint64_t now_ns)
{
    if (call->kind == KITH_DHT_CALL_SEARCH)
        kith__dht_query_on_silence(&op->query, call->place);
    else if (call->kind == KITH_DHT_CALL_STORE || call->kind == KITH_DHT_CALL_TOKEN)
        op->silent++;
    kith__dht_op_pump(core, op, now_ns);
}

void kith__dht_ops_on_deadline(struct kith_dht_core *core, uint64_t now_ns)
{
    KITH_LIST_EACH_SAFE(node, after, &core->ops)
    {
        struct kith_dht_op *op = KITH_CONTAINER(node, struct kith_dht_op, list);

        if (op->state == KITH_DHT_OP_SEARCHING && op->until_ns <= now_ns) {
            end_search(core, op, now_ns);
            if (op->state == KITH_DHT_OP_STORING)
                kith__dht_op_pump(core, op, now_ns);
        }
    }
}
