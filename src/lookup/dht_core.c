/* A node of the DHT: its life, what arrives, and the care of its table. */
#include "lookup/dht_core_parts.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

enum { CHECKS_AT_ONCE = 8 };
#define TEND_PAUSE_NS (10 * KITH_NS_PER_S) /* between two rounds of care at least */

/* ---- Life ---- */

int kith__dht_core_new(const struct kith_mem *mem, const struct kith_random *random, bool is_server, uint64_t now_ns,
                       struct kith_dht_core **out)
{
    struct kith_dht_core *core = kith__alloc_zero(mem, sizeof *core);
    struct kith_dht_id own;

    if (core == NULL)
        return KITH_ERR_NOMEM;
    core->mem = mem;
    core->random = random;
    core->is_server = is_server;
    core->tend_ns = KITH_NEVER;
    kith__list_init(&core->ops);
    kith__list_init(&core->events);
    kith__list_init(&core->past);
    kith__list_init(&core->outbox);
    kith__heap_init(&core->due, mem);
    kith__map_init(&core->calls, mem, kith__random_u64(random));
    kith__random_fill(random, own.bytes, sizeof own.bytes);
    kith__dht_table_init(&core->table, mem, &own, &core->stats);
    if (is_server && kith__dht_server_init(&core->server, mem, random, &core->stats, now_ns) != 0) {
        kith__dht_core_free(core);
        return KITH_ERR_NOMEM;
    }
    *out = core;
    return 0;
}

void kith__dht_core_free(struct kith_dht_core *core)
{
    struct kith_heap_node *first;

    if (core == NULL)
        return;
    kith__dht_release(core);
    KITH_LIST_EACH_SAFE(node, after, &core->ops)
    kith__dht_op_free(core, KITH_CONTAINER(node, struct kith_dht_op, list));
    while ((first = kith__heap_first(&core->due)) != NULL)
        kith__dht_call_end(core, KITH_CONTAINER(first, struct kith_dht_call, due));
    KITH_LIST_EACH_SAFE(node, after, &core->outbox)
    kith__free(core->mem, KITH_CONTAINER(node, struct kith_dht_datagram, list));
    kith__heap_dispose(&core->due);
    kith__map_dispose(&core->calls);
    kith__dht_server_dispose(&core->server);
    kith__dht_table_dispose(&core->table);
    kith__free(core->mem, core);
}

struct kith_dht_id kith__dht_core_id(const struct kith_dht_core *core)
{
    return core->table.own;
}

size_t kith__dht_core_node_count(const struct kith_dht_core *core)
{
    return kith__dht_table_good_count(&core->table);
}

const struct kith_dht_stats *kith__dht_core_stats(const struct kith_dht_core *core)
{
    return &core->stats;
}

/* ---- Operations ---- */

void kith__dht_core_join(struct kith_dht_core *core, uint64_t now_ns)
{
    kith__dht_release(core);
    kith__dht_look_for(core, &core->table.own, now_ns);
}

void kith__dht_look_for(struct kith_dht_core *core, const struct kith_dht_id *target, uint64_t now_ns)
{
    struct kith_dht_op *op;

    if (core->join != NULL || kith__dht_op_new(core, KITH_DHT_OP_NODES, target, &op) != 0)
        return; /* without memory: the next time */
    core->join = op;
    op->until_ns = now_ns + KITH_DHT_SEARCH_NS;
    kith__dht_op_pump(core, op, now_ns);
}

bool kith__dht_core_is_joining(const struct kith_dht_core *core)
{
    return core->join != NULL;
}

static int start(struct kith_dht_core *core, enum kith_dht_op_kind kind, const struct kith_id *key,
                 const struct kith_pkarr *packet, void *user, uint64_t now_ns, struct kith_dht_op **out)
{
    struct kith_dht_id target = kith__dht_id_of_key(key);
    struct kith_dht_op *op;
    int err;

    kith__dht_release(core);
    if ((err = kith__dht_op_new(core, kind, &target, &op)) != 0)
        return err;
    op->key = *key;
    op->user = user;
    op->until_ns = now_ns + KITH_DHT_SEARCH_NS;
    if (packet != NULL)
        op->packet = *packet;
    core->stats.gets += kind == KITH_DHT_OP_GET;
    core->stats.puts += kind == KITH_DHT_OP_PUT;
    if (core->is_server && kith__dht_take_own(core, op, now_ns) && kind == KITH_DHT_OP_GET)
        kith__dht_op_tell(core, op);
    *out = op;
    kith__dht_op_pump(core, op, now_ns);
    return 0;
}

int kith__dht_core_get(struct kith_dht_core *core, const struct kith_id *key, void *user, uint64_t now_ns,
                       struct kith_dht_op **out)
{
    return start(core, KITH_DHT_OP_GET, key, NULL, user, now_ns, out);
}

int kith__dht_core_put(struct kith_dht_core *core, const struct kith_pkarr *packet, void *user, uint64_t now_ns,
                       struct kith_dht_op **out)
{
    struct kith_id key = kith__pkarr_id(packet);

    return start(core, KITH_DHT_OP_PUT, &key, packet, user, now_ns, out);
}

void kith__dht_core_cancel(struct kith_dht_core *core, struct kith_dht_op *op)
{
    KITH_ASSERT(op != core->told);
    kith__dht_release(core);
    kith__dht_op_free(core, op);
}

bool kith__dht_core_event(struct kith_dht_core *core, struct kith_dht_event *out)
{
    struct kith_dht_op *op;
    struct kith_list *first;

    kith__dht_release(core);
    if ((first = kith__list_first(&core->events)) == NULL)
        return false;
    op = KITH_CONTAINER(first, struct kith_dht_op, event);
    *out = (struct kith_dht_event) { .user = op->user,
                                     .is_put = op->kind == KITH_DHT_OP_PUT,
                                     .newest = op->has_newest ? &op->newest : NULL };
    if (op->has_news) {
        op->has_news = false;
        out->kind = KITH_DHT_EVENT_FOUND;
        out->why = "";
        if (op->state != KITH_DHT_OP_ENDED)
            kith__list_remove(first);
        return true;
    }
    KITH_ASSERT(op->state == KITH_DHT_OP_ENDED);
    kith__list_remove(first);
    core->told = op;
    out->kind = KITH_DHT_EVENT_END;
    out->err = op->err;
    out->why = op->why;
    out->stored = op->stored;
    out->refused = op->refused;
    out->silent = op->silent;
    return true;
}

/* ---- Seeds ---- */

void kith__dht_core_add_seed(struct kith_dht_core *core, const struct kith_sockaddr *addr, uint64_t now_ns)
{
    kith__dht_release(core);
    if (!kith__dht_addr_is_usable(addr))
        return;
    for (size_t i = 0; i < core->seed_count; i++)
        if (kith_sockaddr_equal(&core->seeds[i], addr))
            return;
    if (core->seed_count == KITH_DHT_SEEDS_MAX)
        memmove(&core->seeds[0], &core->seeds[1], --core->seed_count * sizeof core->seeds[0]);
    core->seeds[core->seed_count++] = *addr;
    /* Who asked the others already, asks this one too if it got nowhere. */
    KITH_LIST_EACH(node, &core->ops)
    {
        struct kith_dht_op *op = KITH_CONTAINER(node, struct kith_dht_op, list);

        if (op->state == KITH_DHT_OP_SEARCHING && op->are_seeds_asked && op->query.answered == 0)
            kith__dht_call(core, KITH_DHT_CALL_SEED, op, KITH_DHT_NOBODY, addr, now_ns);
    }
    kith__dht_op_pump_all(core, now_ns);
}

void kith__dht_core_expect_seeds(struct kith_dht_core *core, bool may_come, uint64_t now_ns)
{
    kith__dht_release(core);
    core->may_seeds_come = may_come;
    if (!may_come)
        kith__dht_op_pump_all(core, now_ns);
}

/* ---- Our address: BEP 42 ---- */

/** The address that most voters of different addresses say we have, if they are enough. */
static bool is_agreed(const struct kith_dht_core *core, const uint8_t said[4])
{
    size_t count = 0;

    for (size_t i = 0; i < core->vote_count; i++)
        count += memcmp(core->votes[i].said, said, 4) == 0;
    return count >= KITH_DHT_VOTES_NEEDED && 2 * count > core->vote_count;
}

static void vote(struct kith_dht_core *core, const struct kith_sockaddr *from, const struct kith_sockaddr *said,
                 uint64_t now_ns)
{
    struct kith_dht_id own = core->table.own;
    size_t at = 0;

    if (!kith__dht_addr_is_usable(said) || kith__dht_addr_is_local(said))
        return;
    while (at < core->vote_count && memcmp(core->votes[at].voter, from->ip, 4) != 0)
        at++;
    if (at == KITH_DHT_VOTES_MAX) {
        at = core->vote_next;
        core->vote_next = (core->vote_next + 1) % KITH_DHT_VOTES_MAX;
    }
    core->vote_count = KITH_MAX(core->vote_count, at + 1);
    memcpy(core->votes[at].voter, from->ip, 4);
    memcpy(core->votes[at].said, said->ip, 4);
    if (kith__dht_id_is_secure(&own, said) || !is_agreed(core, said->ip))
        return;
    kith__random_fill(core->random, own.bytes, sizeof own.bytes);
    kith__dht_id_secure(&own, said);
    kith__dht_table_set_own(&core->table, &own);
    core->stats.id_changes++;
    core->tend_ns = now_ns; /* our neighbourhood is another one */
    core->joined_ns = 0;
}

/* ---- What arrives ---- */

/** The table is looked after from the first node on. */
static void on_node(struct kith_dht_core *core, const struct kith_dht_node *node, uint64_t now_ns)
{
    kith__dht_table_on_answer(&core->table, node, now_ns);
    if (core->tend_ns == KITH_NEVER && core->table.count > 0)
        core->tend_ns = now_ns + KITH_DHT_FRESH_NS;
}

/** An answer or an error. */
static void on_reply(struct kith_dht_core *core, const struct kith_sockaddr *from, const struct kith_krpc *reply,
                     uint64_t now_ns)
{
    struct kith_dht_call *call = kith__dht_call_find(core, reply->transaction);
    struct kith_dht_node node = { .id = reply->id, .addr = *from };
    struct kith_dht_call gone;

    if (call == NULL) {
        core->stats.drop_unexpected++;
        return;
    }
    if (!kith_sockaddr_equal(&call->addr, from)) {
        core->stats.drop_wrong_peer++;
        return;
    }
    gone = *call;
    kith__dht_call_end(core, call);
    if (reply->kind == KITH_KRPC_ERROR) {
        core->stats.received_errors++;
        if (gone.op != NULL)
            kith__dht_op_on_error(core, gone.op, &gone, reply, now_ns);
        return;
    }
    core->stats.received_answers++;
    if (!reply->is_read_only)
        on_node(core, &node, now_ns);
    if (reply->ip.family == KITH_FAMILY_V4)
        vote(core, from, &reply->ip, now_ns);
    if (gone.op != NULL)
        kith__dht_op_on_answer(core, gone.op, &gone, reply, now_ns);
}

static void on_question(struct kith_dht_core *core, const struct kith_sockaddr *from, const struct kith_krpc *question,
                        uint64_t now_ns)
{
    if (!core->is_server)
        core->stats.drop_read_only++;
    else if (!kith__dht_server_admit(&core->server, from, now_ns))
        core->stats.drop_rate++;
    else
        kith__dht_answer(core, from, question, now_ns);
}

void kith__dht_core_receive(struct kith_dht_core *core, const struct kith_sockaddr *from, struct kith_slice bytes,
                            uint64_t now_ns)
{
    struct kith_krpc message;

    kith__dht_release(core);
    if (from->family != KITH_FAMILY_V4 || from->port == 0)
        core->stats.drop_family++;
    else if (bytes.size > KITH_DHT_DATAGRAM_MAX)
        core->stats.drop_too_large++;
    else if (kith__krpc_read(bytes, &message) != 0)
        core->stats.drop_malformed++;
    else if (message.kind == KITH_KRPC_QUESTION)
        on_question(core, from, &message, now_ns);
    else
        on_reply(core, from, &message, now_ns);
    if (core->is_short && core->call_count < KITH_DHT_CALLS_MAX)
        kith__dht_op_pump_all(core, now_ns);
}

/* ---- Time ---- */

/** Asks nodes that were silent long, and looks around in our neighbourhood and where nothing happened. */
static void tend(struct kith_dht_core *core, uint64_t now_ns)
{
    uint64_t next_ns = core->joined_ns + KITH_DHT_JOIN_NS;
    struct kith_dht_node node;
    struct kith_dht_id target;
    int checks = 0;

    while (checks < CHECKS_AT_ONCE && kith__dht_table_next_check(&core->table, now_ns, &node, &next_ns)) {
        kith__dht_call(core, KITH_DHT_CALL_CHECK, NULL, KITH_DHT_NOBODY, &node.addr, now_ns);
        checks++;
    }
    if (core->joined_ns == 0 || core->joined_ns + KITH_DHT_JOIN_NS <= now_ns)
        kith__dht_look_for(core, &core->table.own, now_ns);
    /* Others need a whole table of a server; for what we look for ourselves, what comes of it is enough. */
    else if (core->is_server && core->join == NULL &&
             kith__dht_table_next_refresh(&core->table, core->random, now_ns, &target, &next_ns))
        kith__dht_look_for(core, &target, now_ns);
    core->tend_ns = core->table.count == 0 ? KITH_NEVER : KITH_MAX(next_ns, now_ns + TEND_PAUSE_NS);
}

uint64_t kith__dht_core_deadline(const struct kith_dht_core *core)
{
    const struct kith_heap_node *first = kith__heap_first(&core->due);
    uint64_t at_ns = first != NULL ? KITH_MIN(first->key, core->tend_ns) : core->tend_ns;

    KITH_LIST_EACH(node, &core->ops)
    {
        const struct kith_dht_op *op = KITH_CONTAINER(node, struct kith_dht_op, list);

        if (op->state == KITH_DHT_OP_SEARCHING)
            at_ns = KITH_MIN(at_ns, op->until_ns);
    }
    return at_ns;
}

void kith__dht_core_on_deadline(struct kith_dht_core *core, uint64_t now_ns)
{
    kith__dht_release(core);
    kith__dht_calls_on_deadline(core, now_ns);
    kith__dht_ops_on_deadline(core, now_ns);
    if (core->tend_ns <= now_ns)
        tend(core, now_ns);
    if (core->is_short && core->call_count < KITH_DHT_CALLS_MAX)
        kith__dht_op_pump_all(core, now_ns);
}

/* ---- Invariants ---- */

void kith__dht_core_check(const struct kith_dht_core *core)
{
    size_t ops = 0, calls = 0, nodes = 0;

    KITH_LIST_EACH(node, &core->ops)
    {
        const struct kith_dht_op *op = KITH_CONTAINER(node, struct kith_dht_op, list);

        ops++;
        calls += op->calls;
        KITH_ASSERT(op->query.count <= KITH_DHT_CANDIDATES_MAX && op->query.asked <= KITH_DHT_ALPHA);
        KITH_ASSERT(op->state != KITH_DHT_OP_ENDED || op->calls == 0);
        KITH_ASSERT(op->state != KITH_DHT_OP_STORING || op->calls > 0);
        for (size_t i = 1; i < op->query.count; i++)
            KITH_ASSERT(kith__dht_id_compare(&op->query.target, &op->query.candidates[op->query.order[i - 1]].node.id,
                                             &op->query.candidates[op->query.order[i]].node.id) <= 0);
    }
    KITH_ASSERT(ops == core->op_count && ops <= KITH_DHT_OPERATIONS_MAX + 1);
    KITH_ASSERT(calls <= core->call_count && core->call_count <= KITH_DHT_CALLS_MAX);
    KITH_ASSERT(core->call_count == core->due.count && core->call_count == core->calls.count);
    KITH_ASSERT(core->outbox_count <= KITH_DHT_OUTBOX_MAX && core->seed_count <= KITH_DHT_SEEDS_MAX);
    for (size_t i = 0; i < KITH_DHT_ID_BITS; i++)
        nodes += core->table.buckets[i] != NULL ? core->table.buckets[i]->count : 0;
    KITH_ASSERT(nodes == core->table.count && core->server.value_count <= KITH_DHT_VALUES_MAX);
}
