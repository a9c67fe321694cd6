/*
 * The registry of lookup services. All requests for one id share a round: one question to each service that resolves, and
 * what they found, merged. A round lives as long as somebody waits for it.
 *
 * Any callback may cancel any request and make new ones. So a round that is over while its callbacks run (is_busy) is taken
 * out of everything at once, but its memory stays until they are through; and the one loop over its requests keeps its
 * place in the round (cursor), which leaving requests move.
 */
#include "lookup/lookup.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"

#include <stdio.h>

enum { ASK_WHY_SIZE = 256 };

struct service {
    struct kith_lookup_service *service;
    bool was_told; /* something: then it must also hear that there is nothing any more */
    struct kith_lookup_stats stats;
    int failed_err; /* of the last round that it failed; 0: none */
    char failed_why[ASK_WHY_SIZE];
};

struct kith_lookup {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_id id;
    struct service services[KITH_LOOKUP_SERVICES_MAX];
    size_t service_count;
    struct kith_lookup_info published;
    bool has_published;
    struct kith_map rounds_by_id;
    struct kith_list rounds;
    size_t busy; /* callbacks of requests on the stack */
};

struct round;

enum ask_state { ASK_RUNNING, ASK_ENDED, ASK_END_TOLD };

/** One service's part in a round. */
struct ask {
    struct round *round;
    struct service *of;
    struct kith_lookup_query *query; /* RUNNING only */
    struct kith_lookup_info found;   /* what it said last, if has_found */
    uint64_t updated_us;
    uint8_t state; /* enum ask_state */
    bool has_found;
    int err;
    char why[ASK_WHY_SIZE];
};

struct round {
    struct kith_list node;
    struct kith_lookup *lookup;
    struct kith_list requests;
    struct kith_list *cursor; /* the next request that the loop under way comes to */
    struct kith_lookup_info merged;
    uint64_t updated_us; /* of merged's user data */
    uint64_t begun_ns;
    struct kith_rt_timer limit, soon; /* soon: tells what is due without an answer of a service */
    size_t running;
    bool has_found, is_busy, is_over;
    size_t ask_count;
    struct ask asks[]; /* only of services that resolve */
};

struct kith_lookup_request {
    struct kith_list node;
    struct round *round;
    struct kith_lookup_events events;
    bool is_late; /* joined, and was not told yet what is known */
};

/* ---- Services ---- */

int kith__lookup_new(struct kith_rt *rt, const struct kith_mem *mem, const struct kith_id *id, struct kith_lookup **out)
{
    struct kith_lookup *lookup = kith__alloc_zero(mem, sizeof *lookup);

    if (lookup == NULL)
        return KITH_ERR_NOMEM;
    lookup->rt = rt;
    lookup->mem = mem;
    lookup->id = *id;
    kith__lookup_info_init(&lookup->published, mem, id);
    kith__map_init(&lookup->rounds_by_id, mem, kith__random_u64(kith__rt_random(rt)));
    kith__list_init(&lookup->rounds);
    *out = lookup;
    return 0;
}

/** Tells one service what its filter lets pass. */
static int publish_through(struct kith_lookup *lookup, struct service *of)
{
    const struct kith_lookup_service_ops *ops = of->service->ops;
    struct kith_lookup_info passed;
    int err;

    if (ops->publish == NULL || of->service->filter == KITH_LOOKUP_NONE)
        return 0;
    kith__lookup_info_init(&passed, lookup->mem, &lookup->id);
    err = kith__lookup_info_filter(&lookup->published, of->service->filter, &passed);
    if (err == 0 && (of->was_told || !kith__lookup_info_is_empty(&passed))) {
        of->was_told = true;
        ops->publish(of->service, &passed);
    }
    kith__lookup_info_dispose(&passed);
    return err;
}

int kith__lookup_add(struct kith_lookup *lookup, struct kith_lookup_service *service)
{
    struct service *of = &lookup->services[lookup->service_count];
    int err = 0;

    if (lookup->service_count == KITH_LOOKUP_SERVICES_MAX) {
        service->ops->free(service);
        return KITH_ERR_LIMIT;
    }
    *of = (struct service) { .service = service };
    if (lookup->has_published)
        err = publish_through(lookup, of);
    if (err == 0)
        lookup->service_count++;
    else
        service->ops->free(service);
    return err;
}

size_t kith__lookup_count(const struct kith_lookup *lookup)
{
    return lookup->service_count;
}

struct kith_lookup_service *kith__lookup_service(const struct kith_lookup *lookup, size_t index)
{
    KITH_ASSERT(index < lookup->service_count);
    return lookup->services[index].service;
}

struct kith_lookup_stats kith__lookup_stats(const struct kith_lookup *lookup, size_t index)
{
    KITH_ASSERT(index < lookup->service_count);
    return lookup->services[index].stats;
}

int kith__lookup_failure(const struct kith_lookup *lookup, size_t index, const char **why)
{
    KITH_ASSERT(index < lookup->service_count);
    *why = lookup->services[index].failed_why;
    return lookup->services[index].failed_err;
}

bool kith__lookup_can_resolve(const struct kith_lookup *lookup)
{
    for (size_t i = 0; i < lookup->service_count; i++)
        if (lookup->services[i].service->ops->resolve != NULL)
            return true;
    return false;
}

int kith__lookup_publish(struct kith_lookup *lookup, const struct kith_lookup_info *info)
{
    int err = kith__lookup_info_copy(info, &lookup->published);

    if (err != 0)
        return err;
    lookup->has_published = true;
    for (size_t i = 0; i < lookup->service_count; i++) { /* one that cannot be told does not keep it from the others */
        int its_err = publish_through(lookup, &lookup->services[i]);

        err = err != 0 ? err : its_err;
    }
    return err;
}

void kith__lookup_on_network_change(struct kith_lookup *lookup)
{
    for (size_t i = 0; i < lookup->service_count; i++)
        if (lookup->services[i].service->ops->on_network_change != NULL)
            lookup->services[i].service->ops->on_network_change(lookup->services[i].service);
}

/* ---- The life of a round ---- */

static void free_round(struct round *round)
{
    const struct kith_mem *mem = round->lookup->mem;

    for (size_t i = 0; i < round->ask_count; i++)
        kith__lookup_info_dispose(&round->asks[i].found);
    kith__lookup_info_dispose(&round->merged);
    kith__rt_timer_dispose(&round->limit);
    kith__rt_timer_dispose(&round->soon);
    kith__free(mem, round);
}

/** Nobody waits any more, or all is told: from here on it is in no table, and its memory goes as soon as it may. */
static void finish_round(struct round *round)
{
    KITH_ASSERT(!round->is_over && kith__list_is_empty(&round->requests));
    round->is_over = true;
    for (size_t i = 0; i < round->ask_count; i++) {
        struct ask *ask = &round->asks[i];

        if (ask->query != NULL)
            ask->of->service->ops->cancel(ask->query);
        ask->query = NULL;
    }
    kith__rt_timer_set(&round->limit, KITH_NEVER);
    kith__rt_timer_set(&round->soon, KITH_NEVER);
    kith__map_remove(&round->lookup->rounds_by_id, round->merged.addr.id.bytes, KITH_ID_SIZE);
    kith__list_remove(&round->node);
    if (!round->is_busy)
        free_round(round);
}

static void remove_request(struct kith_lookup_request *request)
{
    struct round *round = request->round;

    if (round->cursor == &request->node)
        round->cursor = request->node.next;
    kith__list_remove(&request->node);
    kith__free(round->lookup->mem, request);
}

static void begin_busy(struct round *round)
{
    KITH_ASSERT(!round->is_busy); /* callbacks of services never come out of calls */
    round->is_busy = true;
    round->lookup->busy++;
}

static void end_busy(struct round *round)
{
    round->is_busy = false;
    round->lookup->busy--;
    if (round->is_over)
        free_round(round);
}

/* ---- Telling requests; all within busy ---- */

/** The next request of the loop, which began with round->cursor at the first; NULL: no more. */
static struct kith_lookup_request *next_request(struct round *round)
{
    struct kith_list *node = round->cursor;

    if (node == &round->requests)
        return NULL;
    round->cursor = node->next;
    return KITH_CONTAINER(node, struct kith_lookup_request, node);
}

static void tell_item(struct kith_lookup_request *request, const struct ask *ask, bool is_news)
{
    struct round *round = ask->round;
    struct kith_lookup_item item = {
        .service = ask->of->service,
        .info = &ask->found,
        .merged = &round->merged,
        .is_news = is_news,
        .updated_us = ask->updated_us,
        .took_ns = kith__rt_now(round->lookup->rt) - round->begun_ns,
    };

    if (request->events.on_item != NULL)
        request->events.on_item(request->events.ctx, &item);
}

static void tell_item_to_all(const struct ask *ask, bool is_news)
{
    struct round *round = ask->round;
    struct kith_lookup_request *request;

    round->cursor = round->requests.next;
    while ((request = next_request(round)) != NULL)
        if (!request->is_late)
            tell_item(request, ask, is_news);
}

static void tell_service_end(const struct kith_lookup_request *request, const struct ask *ask)
{
    if (request->events.on_service_end != NULL)
        request->events.on_service_end(request->events.ctx, ask->of->service, ask->err, ask->why);
}

/** What ended and was not told, to those who know the rest already. */
static void tell_service_ends(struct round *round)
{
    struct kith_lookup_request *request;

    for (size_t i = 0; i < round->ask_count && !round->is_over; i++) {
        struct ask *ask = &round->asks[i];

        if (ask->state != ASK_ENDED)
            continue;
        ask->state = ASK_END_TOLD;
        round->cursor = round->requests.next;
        while ((request = next_request(round)) != NULL)
            if (!request->is_late)
                tell_service_end(request, ask);
    }
}

/** True if the request is still there: it may be gone after any callback, and a new one, which is late, have its memory. */
static bool is_there(const struct round *round, const struct kith_lookup_request *request)
{
    KITH_LIST_EACH(node, &round->requests)
    if (node == &request->node)
        return !request->is_late;
    return false;
}

/** All that is known, to one who came late. Nothing is lost and nothing told twice: others are told by other loops. */
static void tell_late_one(struct round *round, struct kith_lookup_request *request)
{
    bool is_news = round->merged.addr.count > 0;

    request->is_late = false;
    for (size_t i = 0; i < round->ask_count && is_there(round, request); i++)
        if (round->asks[i].has_found) {
            tell_item(request, &round->asks[i], is_news);
            is_news = false;
        }
    for (size_t i = 0; i < round->ask_count && is_there(round, request); i++)
        if (round->asks[i].state == ASK_END_TOLD)
            tell_service_end(request, &round->asks[i]);
}

static void tell_late_ones(struct round *round)
{
    struct kith_lookup_request *request;

    round->cursor = round->requests.next;
    while ((request = next_request(round)) != NULL)
        if (request->is_late)
            tell_late_one(round, request);
}

/** "dns:example: no such record; pkarr:https://example/: refused" */
static void write_why(const struct round *round, char why[KITH_LOOKUP_WHY_SIZE])
{
    size_t at = 0;

    why[0] = '\0';
    for (size_t i = 0; i < round->ask_count && at < KITH_LOOKUP_WHY_SIZE; i++) {
        const struct ask *ask = &round->asks[i];

        at += (size_t)snprintf(why + at, KITH_LOOKUP_WHY_SIZE - at, "%s%s: %s", i > 0 ? "; " : "",
                               ask->of->service->label, ask->why);
    }
}

/** Ends all requests, and with them the round. Those that come out of these callbacks begin a new round. */
static void tell_end(struct round *round)
{
    char why[KITH_LOOKUP_WHY_SIZE] = "";
    int err = round->has_found ? 0 : KITH_ERR_NOT_FOUND;
    struct kith_list ending, *node;

    if (err != 0)
        write_why(round, why);
    kith__list_init(&ending);
    while ((node = kith__list_first(&round->requests)) != NULL) {
        kith__list_remove(node);
        kith__list_push_back(&ending, node);
    }
    finish_round(round);
    while ((node = kith__list_first(&ending)) != NULL) {
        struct kith_lookup_request *request = KITH_CONTAINER(node, struct kith_lookup_request, node);
        struct kith_lookup_events events = request->events;

        remove_request(request);
        if (events.on_end != NULL)
            events.on_end(events.ctx, err, why);
    }
}

static bool has_late_ones(const struct round *round)
{
    KITH_LIST_EACH(node, &round->requests)
    if (KITH_CONTAINER(node, struct kith_lookup_request, node)->is_late)
        return true;
    return false;
}

/** Tells what is due, and ends the round if that was all; who joins in these callbacks has a timer set (soon). */
static void settle(struct round *round)
{
    if (!round->is_over)
        tell_late_ones(round);
    if (!round->is_over)
        tell_service_ends(round);
    if (!round->is_over && round->running == 0 && !has_late_ones(round))
        tell_end(round);
}

/* ---- What services say ---- */

/** A finding is not handed on; the service that has no other one did not find anything. */
static void drop_found(struct ask *ask, uint64_t *counter, int err, const char *why)
{
    ++*counter;
    ask->err = err;
    snprintf(ask->why, sizeof ask->why, "%s", why);
    kith__log(&ask->round->lookup->rt->log, KITH_LOG_WARN, "lookup", "%s: %s", ask->of->service->label, why);
}

static void merge_user_data(struct round *round, const struct kith_lookup_found *found)
{
    const struct kith_lookup_info *info = found->info;

    if (found->updated_us < round->updated_us || (found->updated_us == 0 && info->user_data_size == 0))
        return;
    round->updated_us = found->updated_us;
    memcpy(round->merged.user_data, info->user_data, sizeof info->user_data);
    round->merged.user_data_size = info->user_data_size;
}

static int merge(struct ask *ask, const struct kith_lookup_found *found)
{
    struct round *round = ask->round;
    size_t ignored_before = round->merged.addr.ignored_count;
    int err;

    if ((err = kith__lookup_info_copy(found->info, &ask->found)) != 0 ||
        (err = kith__lookup_info_add_addrs(found->info, &round->merged)) != 0)
        return err;
    merge_user_data(round, found);
    ask->of->stats.addrs_ignored += round->merged.addr.ignored_count - ignored_before;
    ask->updated_us = found->updated_us;
    ask->has_found = round->has_found = true;
    return 0;
}

static void ask_found(void *ctx, const struct kith_lookup_found *found)
{
    struct ask *ask = ctx;
    struct round *round = ask->round;
    size_t count_before = round->merged.addr.count, ignored = found->ignored;

    KITH_ASSERT(ask->state == ASK_RUNNING && !round->is_over);
    if (memcmp(found->info->addr.id.bytes, round->merged.addr.id.bytes, KITH_ID_SIZE) != 0) {
        drop_found(ask, &ask->of->stats.drop_wrong_id, KITH_ERR_PARSE, "the answer is about another endpoint");
        return;
    }
    if (merge(ask, found) != 0) { /* before any callback, which may change what `found` borrows */
        drop_found(ask, &ask->of->stats.drop_no_memory, KITH_ERR_NOMEM, "no memory for the answer");
        return;
    }
    ask->of->stats.items++;
    ask->of->stats.attrs_ignored += ignored;
    begin_busy(round);
    tell_item_to_all(ask, round->merged.addr.count > count_before);
    if (!round->is_over)
        tell_late_ones(round);
    end_busy(round);
}

/** err and why as of on_end of a sink; why may be NULL. */
static void end_ask(struct ask *ask, int err, const char *why)
{
    struct kith_lookup_stats *stats = &ask->of->stats;

    KITH_ASSERT(ask->state == ASK_RUNNING);
    if (err == 0 && !ask->has_found) { /* all that it found was dropped, and ask->why says so; or it found nothing */
        err = ask->err != 0 ? ask->err : KITH_ERR_NOT_FOUND;
        why = ask->err != 0 ? ask->why : NULL;
    }
    if (err == 0)
        ask->why[0] = '\0';
    else if (why != ask->why)
        snprintf(ask->why, sizeof ask->why, "%s", why != NULL && why[0] != '\0' ? why : kith_strerror(err));
    ask->err = err;
    ask->state = ASK_ENDED;
    ask->query = NULL;
    ask->round->running--;
    stats->ended_found += err == 0;
    stats->ended_not_found += err == KITH_ERR_NOT_FOUND;
    if (err == 0 || err == KITH_ERR_NOT_FOUND)
        return;
    stats->ended_failed++;
    ask->of->failed_err = err;
    memcpy(ask->of->failed_why, ask->why, sizeof ask->why);
}

static void ask_end(void *ctx, int err, const char *why)
{
    struct ask *ask = ctx;
    struct round *round = ask->round;

    KITH_ASSERT(!round->is_over);
    end_ask(ask, err, why);
    begin_busy(round);
    settle(round);
    end_busy(round);
}

/* ---- Timers ---- */

static void round_soon(void *ctx, uint64_t now_ns)
{
    struct round *round = ctx;

    (void)now_ns;
    begin_busy(round);
    settle(round);
    end_busy(round);
}

static void round_limit(void *ctx, uint64_t now_ns)
{
    struct round *round = ctx;

    for (size_t i = 0; i < round->ask_count; i++) {
        struct ask *ask = &round->asks[i];

        if (ask->state != ASK_RUNNING)
            continue;
        ask->of->service->ops->cancel(ask->query);
        if (ask->has_found) /* it might have had more, but it did its part */
            end_ask(ask, 0, NULL);
        else
            end_ask(ask, KITH_ERR_TIMEOUT, "no answer in the time that a lookup has");
    }
    round_soon(round, now_ns);
}

/* ---- Requests ---- */

/** Asks every service that resolves. What fails at once is told in the next turn. */
static void ask_all(struct round *round)
{
    struct kith_lookup *lookup = round->lookup;

    for (size_t i = 0; i < lookup->service_count; i++) {
        struct ask *ask = &round->asks[round->ask_count];
        struct service *of = &lookup->services[i];
        struct kith_lookup_sink sink = { ask_found, ask_end, ask };
        int err;

        if (of->service->ops->resolve == NULL)
            continue;
        *ask = (struct ask) { .round = round, .of = of, .state = ASK_RUNNING };
        kith__lookup_info_init(&ask->found, lookup->mem, &round->merged.addr.id);
        round->ask_count++;
        round->running++;
        of->stats.asked++;
        err = of->service->ops->resolve(of->service, &round->merged.addr.id, &sink, &ask->query);
        if (err != 0)
            end_ask(ask, err, NULL);
    }
    if (round->running < round->ask_count)
        kith__rt_timer_set(&round->soon, round->begun_ns);
}

static int new_round(struct kith_lookup *lookup, const struct kith_id *id, struct round **out)
{
    struct round *round;
    int err;

    if (lookup->rounds_by_id.count == KITH_LOOKUP_IDS_MAX)
        return KITH_ERR_LIMIT;
    round = kith__alloc_zero(lookup->mem, sizeof *round + lookup->service_count * sizeof round->asks[0]);
    if (round == NULL)
        return KITH_ERR_NOMEM;
    round->lookup = lookup;
    round->begun_ns = kith__rt_now(lookup->rt);
    kith__list_init(&round->node);
    kith__list_init(&round->requests);
    kith__lookup_info_init(&round->merged, lookup->mem, id);
    if ((err = kith__rt_timer_init(lookup->rt, &round->limit, round_limit, round)) != 0 ||
        (err = kith__rt_timer_init(lookup->rt, &round->soon, round_soon, round)) != 0 ||
        (err = kith__map_put(&lookup->rounds_by_id, id->bytes, KITH_ID_SIZE, round)) != 0) {
        free_round(round);
        return err;
    }
    kith__list_push_back(&lookup->rounds, &round->node);
    kith__rt_timer_set(&round->limit, round->begun_ns + KITH_LOOKUP_LIMIT_NS);
    *out = round;
    return 0;
}

int kith__lookup_resolve(struct kith_lookup *lookup, const struct kith_id *id, const struct kith_lookup_events *events,
                         struct kith_lookup_request **out)
{
    struct kith_lookup_request *request;
    struct round *round;
    bool is_first;
    int err;

    if (memcmp(id->bytes, lookup->id.bytes, KITH_ID_SIZE) == 0)
        return KITH_ERR_INVALID;
    if (!kith__lookup_can_resolve(lookup))
        return KITH_ERR_STATE;
    request = kith__alloc_zero(lookup->mem, sizeof *request);
    if (request == NULL)
        return KITH_ERR_NOMEM;
    round = kith__map_get(&lookup->rounds_by_id, id->bytes, KITH_ID_SIZE);
    is_first = round == NULL;
    if (is_first && (err = new_round(lookup, id, &round)) != 0) {
        kith__free(lookup->mem, request);
        return err;
    }
    request->round = round;
    request->events = *events;
    kith__list_push_back(&round->requests, &request->node);
    if (is_first) {
        ask_all(round);
    } else {
        request->is_late = true;
        kith__rt_timer_set(&round->soon, kith__rt_now(lookup->rt));
    }
    *out = request;
    return 0;
}

void kith__lookup_cancel(struct kith_lookup_request *request)
{
    struct round *round;

    if (request == NULL)
        return;
    round = request->round;
    remove_request(request);
    if (!round->is_over && kith__list_is_empty(&round->requests))
        finish_round(round);
}

void kith__lookup_free(struct kith_lookup *lookup)
{
    struct kith_list *node, *request;

    if (lookup == NULL)
        return;
    KITH_ASSERT(lookup->busy == 0);
    while ((node = kith__list_first(&lookup->rounds)) != NULL) {
        struct round *round = KITH_CONTAINER(node, struct round, node);

        while ((request = kith__list_first(&round->requests)) != NULL)
            remove_request(KITH_CONTAINER(request, struct kith_lookup_request, node));
        finish_round(round);
    }
    while (lookup->service_count > 0) {
        struct kith_lookup_service *service = lookup->services[--lookup->service_count].service;

        service->ops->free(service);
    }
    kith__lookup_info_dispose(&lookup->published);
    kith__map_dispose(&lookup->rounds_by_id);
    kith__free(lookup->mem, lookup);
}
