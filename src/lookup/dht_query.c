/* Iterative queries. */
#include "lookup/dht_query.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

int kith__dht_query_init(struct kith_dht_query *query, const struct kith_mem *mem, const struct kith_dht_id *target)
{
    *query = (struct kith_dht_query) { .target = *target };
    query->candidates = kith__alloc_array(mem, KITH_DHT_CANDIDATES_MAX, sizeof *query->candidates);
    return query->candidates != NULL ? 0 : KITH_ERR_NOMEM;
}

void kith__dht_query_dispose(struct kith_dht_query *query, const struct kith_mem *mem)
{
    kith__free(mem, query->candidates);
    *query = (struct kith_dht_query) { 0 };
}

static struct kith_dht_candidate *at(const struct kith_dht_query *query, size_t index)
{
    return &query->candidates[query->order[index]];
}

static bool is_under_way(const struct kith_dht_candidate *candidate)
{
    return candidate->state == KITH_DHT_CANDIDATE_ASKED || candidate->state == KITH_DHT_CANDIDATE_SLOW;
}

/** The index in order of a place that holds someone. */
static size_t index_of(const struct kith_dht_query *query, uint8_t place)
{
    for (size_t i = 0; i < query->count; i++)
        if (query->order[i] == place)
            return i;
    KITH_ASSERT(!"a place that nobody has");
    return 0;
}

/* ---- Who is known ---- */

static bool may_add(const struct kith_dht_query *query, const struct kith_dht_node *node)
{
    size_t neighbours = 0;

    if (!kith__dht_addr_is_usable(&node->addr))
        return false;
    for (size_t i = 0; i < query->count; i++) {
        const struct kith_sockaddr *other = &at(query, i)->node.addr;

        /* Two ids at one address: the first that was heard of. Its answer will say which is right. */
        if (kith_sockaddr_equal(other, &node->addr))
            return false;
        neighbours += memcmp(other->ip, node->addr.ip, 4) == 0;
    }
    return neighbours < KITH_DHT_PER_IP_MAX || kith__dht_addr_is_local(&node->addr);
}

/** Puts a place where it belongs by its distance; equal ones in the order in which they came. */
static void insert_in_order(struct kith_dht_query *query, uint8_t place)
{
    size_t index = query->count;
    const struct kith_dht_id *id = &query->candidates[place].node.id;

    while (index > 0 && kith__dht_id_compare(&query->target, id, &at(query, index - 1)->node.id) < 0)
        index--;
    memmove(&query->order[index + 1], &query->order[index], query->count - index);
    query->order[index] = place;
    query->count++;
}

static void remove_from_order(struct kith_dht_query *query, size_t index)
{
    memmove(&query->order[index], &query->order[index + 1], query->count - index - 1);
    query->count--;
}

/** A place for someone: a free one, or that of whoever is farthest and farther, and not being asked. */
static uint8_t find_place(struct kith_dht_query *query, const struct kith_dht_id *id)
{
    bool is_taken[KITH_DHT_CANDIDATES_MAX] = { false };
    uint8_t place = 0;

    if (query->count == KITH_DHT_CANDIDATES_MAX) {
        size_t index = query->count;

        do {
            if (index-- == 0 || kith__dht_id_compare(&query->target, id, &at(query, index)->node.id) >= 0)
                return KITH_DHT_NOBODY;
        } while (is_under_way(at(query, index)));
        place = query->order[index];
        remove_from_order(query, index);
        return place;
    }
    for (size_t i = 0; i < query->count; i++)
        is_taken[query->order[i]] = true;
    while (is_taken[place])
        place++;
    return place;
}

uint8_t kith__dht_query_add(struct kith_dht_query *query, const struct kith_dht_node *node)
{
    uint8_t place;

    if (!may_add(query, node) || (place = find_place(query, &node->id)) == KITH_DHT_NOBODY)
        return KITH_DHT_NOBODY;
    query->candidates[place] = (struct kith_dht_candidate) { .node = *node };
    query->candidates[place].is_secure = kith__dht_id_is_secure(&node->id, &node->addr);
    insert_in_order(query, place);
    return place;
}

/* ---- Whom to ask ---- */

/**
 * The index of the next one from `index` on, count if there is none, that is among the closest: *any and *secure count those that
 * were passed. `speaking`: those that are slow do not count, as silent ones never do.
 */
static size_t next_close(const struct kith_dht_query *query, size_t index, bool speaking, size_t *any, size_t *secure)
{
    for (; index < query->count; index++) {
        const struct kith_dht_candidate *candidate = at(query, index);
        bool is_close;

        if (candidate->state == KITH_DHT_CANDIDATE_SILENT || (speaking && candidate->state == KITH_DHT_CANDIDATE_SLOW))
            continue;
        is_close = *any < KITH_DHT_CLOSEST_MAX || (candidate->is_secure && *secure < KITH_DHT_CLOSEST_MAX);
        *any += 1;
        *secure += candidate->is_secure;
        if (is_close)
            return index;
    }
    return index;
}

#define EACH_CLOSE(query, speaking, index)                                                                             \
    for (size_t any_ = 0, secure_ = 0, index = next_close(query, 0, speaking, &any_, &secure_);                        \
         index < (query)->count; index = next_close(query, index + 1, speaking, &any_, &secure_))

uint8_t kith__dht_query_next(struct kith_dht_query *query)
{
    if (query->asked >= KITH_DHT_ALPHA)
        return KITH_DHT_NOBODY;
    /* Who would take the place of a slow one is asked already: where many are dead, their silences do not add up. */
    EACH_CLOSE(query, true, i)
    {
        struct kith_dht_candidate *candidate = at(query, i);

        if (candidate->state == KITH_DHT_CANDIDATE_NEW) {
            candidate->state = KITH_DHT_CANDIDATE_ASKED;
            query->asked++;
            return query->order[i];
        }
    }
    return KITH_DHT_NOBODY;
}

bool kith__dht_query_is_done(const struct kith_dht_query *query)
{
    EACH_CLOSE(query, false, i)
    {
        if (at(query, i)->state != KITH_DHT_CANDIDATE_ANSWERED)
            return false;
    }
    return true;
}

size_t kith__dht_query_mark_close(struct kith_dht_query *query)
{
    size_t ready = 0;

    for (size_t i = 0; i < query->count; i++)
        at(query, i)->is_close = false;
    EACH_CLOSE(query, false, i)
    {
        struct kith_dht_candidate *candidate = at(query, i);

        candidate->is_close = true;
        ready += candidate->state == KITH_DHT_CANDIDATE_ANSWERED && candidate->token_size != 0;
    }
    return ready;
}

/* ---- What became of it ---- */

static void leave_asked(struct kith_dht_query *query, struct kith_dht_candidate *candidate,
                        enum kith_dht_candidate_state state)
{
    query->asked -= candidate->state == KITH_DHT_CANDIDATE_ASKED;
    candidate->state = (uint8_t)state;
}

void kith__dht_query_on_slow(struct kith_dht_query *query, uint8_t place)
{
    struct kith_dht_candidate *candidate = &query->candidates[place];

    if (candidate->state == KITH_DHT_CANDIDATE_ASKED)
        leave_asked(query, candidate, KITH_DHT_CANDIDATE_SLOW);
}

void kith__dht_query_on_silence(struct kith_dht_query *query, uint8_t place)
{
    leave_asked(query, &query->candidates[place], KITH_DHT_CANDIDATE_SILENT);
}

void kith__dht_query_on_answer(struct kith_dht_query *query, uint8_t place, const struct kith_dht_id *id,
                               struct kith_slice token)
{
    struct kith_dht_candidate *candidate = &query->candidates[place];

    leave_asked(query, candidate, KITH_DHT_CANDIDATE_ANSWERED);
    query->answered++;
    if (!kith__dht_id_equal(&candidate->node.id, id)) {
        size_t index = index_of(query, place);

        remove_from_order(query, index);
        candidate->node.id = *id;
        candidate->is_secure = kith__dht_id_is_secure(id, &candidate->node.addr);
        insert_in_order(query, place);
    }
    if (token.size <= KITH_KRPC_TOKEN_MAX && token.size != 0) {
        memcpy(candidate->token, token.ptr, token.size);
        candidate->token_size = (uint8_t)token.size;
    }
}
