/*
 * Questions, tries and the cache. A question is what equal requests share. It begins in the turn after the request, with the
 * cache or with its first try; each try goes to the next server, beginning with the one that answered last, so that a dead
 * server costs the first stagger once.
 */
#include "lookup/dns_client.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "crypto/blake3.h"

#include <stdio.h>

/** An answer, shared by the cache and by those who are told right now. */
struct answer {
    unsigned holders;
    size_t size;
    uint8_t bytes[];
};

struct cached {
    struct kith_list node; /* of cache, used longest ago first */
    uint8_t key[KITH_HASH_SIZE];
    uint64_t until_ns;
    struct answer *answer;
};

struct kith_dns_client {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_sockaddr given[KITH_DNS_SERVERS_MAX], servers[KITH_DNS_SERVERS_MAX];
    size_t given_count, server_count;
    size_t first; /* server that answered last */
    bool has_fallback;
    char *resolv_conf; /* NULL: the default */
    struct kith_map questions_by_key, cache_by_key;
    struct kith_list questions, waiting, cache;
    size_t running, cache_size, busy;
    struct kith_dns_stats stats;
};

struct
try {
    struct question *question;
    struct kith_dns_ask *ask; /* NULL: over, or not begun */
    struct kith_sockaddr server;
    int err;
    const char *why; /* static */
};

enum question_state { QUESTION_NEW, QUESTION_WAITING, QUESTION_RUNNING, QUESTION_OVER };

struct question {
    struct kith_list node, waiting_node;
    struct kith_dns_client *client;
    struct kith_list requests;
    uint8_t key[KITH_HASH_SIZE], cache_key[KITH_HASH_SIZE];
    uint16_t type;
    uint8_t how;                /* KITH_DNS_... */
    uint8_t state;              /* enum question_state */
    struct kith_rt_timer timer; /* its turn; then the next try */
    uint64_t begun_ns;
    struct try tries[KITH_DNS_TRIES];
    size_t try_count, asking; /* begun; of them: not over */
    struct kith_dns_name name;
};

struct kith_dns_request {
    struct kith_list node;
    struct question *question;
    kith_dns_done *done;
    void *ctx;
};

/* ---- Servers ---- */

static const char *const fallback_servers[] = {
    "8.8.8.8:53",
    "8.8.4.4:53",
    "[2001:4860:4860::8888]:53",
    "[2001:4860:4860::8844]:53",
};

static int load_servers(struct kith_dns_client *client)
{
    struct kith_sockaddr servers[KITH_DNS_SERVERS_MAX];
    size_t count = client->given_count;
    int err;

    memcpy(servers, client->given, sizeof servers);
    if (count == 0 && (err = kith__dns_system_servers(client->rt, client->resolv_conf, servers, &count)) != 0)
        return err;
    for (size_t i = 0; client->has_fallback && client->given_count == 0 && i < KITH_COUNT(fallback_servers); i++) {
        if (count > i) /* the system has some */
            break;
        err = kith_sockaddr_parse(fallback_servers[i], &servers[count++]);
        KITH_ASSERT(err == 0);
    }
    memcpy(client->servers, servers, sizeof servers);
    client->server_count = count;
    client->first = 0;
    return 0;
}

const struct kith_sockaddr *kith__dns_client_servers(const struct kith_dns_client *client, size_t *count)
{
    *count = client->server_count;
    return client->servers;
}

/* ---- The cache ---- */

static void release(struct kith_dns_client *client, struct answer *answer)
{
    if (answer != NULL && --answer->holders == 0)
        kith__free(client->mem, answer);
}

static void uncache(struct kith_dns_client *client, struct cached *cached)
{
    client->cache_size -= cached->answer->size;
    kith__map_remove(&client->cache_by_key, cached->key, sizeof cached->key);
    kith__list_remove(&cached->node);
    release(client, cached->answer);
    kith__free(client->mem, cached);
}

static void uncache_all(struct kith_dns_client *client)
{
    struct kith_list *node;

    while ((node = kith__list_first(&client->cache)) != NULL)
        uncache(client, KITH_CONTAINER(node, struct cached, node));
}

/** The answer if it is there and not too old. */
static struct answer *find_cached(struct kith_dns_client *client, const uint8_t key[KITH_HASH_SIZE])
{
    struct cached *cached = kith__map_get(&client->cache_by_key, key, KITH_HASH_SIZE);

    if (cached == NULL)
        return NULL;
    if (cached->until_ns <= kith__rt_now(client->rt)) {
        uncache(client, cached);
        return NULL;
    }
    kith__list_remove(&cached->node);
    kith__list_push_back(&client->cache, &cached->node);
    return cached->answer;
}

/** Keeps an answer for its time. Without memory it is not kept. */
static void cache(struct kith_dns_client *client, const uint8_t key[KITH_HASH_SIZE], struct answer *answer,
                  uint32_t ttl_s)
{
    struct cached *old = kith__map_get(&client->cache_by_key, key, KITH_HASH_SIZE), *cached;

    if (old != NULL)
        uncache(client, old);
    if (ttl_s == 0 || answer->size > KITH_DNS_CACHE_SIZE_MAX)
        return;
    cached = kith__alloc_zero(client->mem, sizeof *cached);
    if (cached == NULL)
        return;
    memcpy(cached->key, key, sizeof cached->key);
    if (kith__map_put(&client->cache_by_key, key, KITH_HASH_SIZE, cached) != 0) {
        kith__free(client->mem, cached);
        return;
    }
    cached->until_ns = kith__rt_now(client->rt) + ttl_s * KITH_NS_PER_S;
    cached->answer = answer;
    answer->holders++;
    client->cache_size += answer->size;
    kith__list_push_back(&client->cache, &cached->node);
    while (client->cache_by_key.count > KITH_DNS_CACHE_ENTRIES_MAX || client->cache_size > KITH_DNS_CACHE_SIZE_MAX) {
        client->stats.cache_evicted++;
        uncache(client, KITH_CONTAINER(client->cache.next, struct cached, node));
    }
}

/* ---- The end of a question ---- */

static void cancel_asks(struct question *question)
{
    for (size_t i = 0; i < question->try_count; i++) {
        kith__dns_ask_cancel(question->tries[i].ask);
        question->tries[i].ask = NULL;
    }
    question->asking = 0;
}

/** Takes it out of everything; another one may begin in its place. Its memory stays. */
static void close_question(struct question *question)
{
    struct kith_dns_client *client = question->client;
    struct kith_list *next;

    KITH_ASSERT(question->state != QUESTION_OVER);
    cancel_asks(question);
    if (question->state == QUESTION_RUNNING) {
        client->running--;
        if ((next = kith__list_first(&client->waiting)) != NULL) {
            struct question *other = KITH_CONTAINER(next, struct question, waiting_node);

            kith__list_remove(next);
            other->state = QUESTION_NEW;
            kith__rt_timer_set(&other->timer, kith__rt_now(client->rt));
        }
    }
    question->state = QUESTION_OVER;
    kith__rt_timer_dispose(&question->timer);
    kith__list_remove(&question->node);
    kith__list_remove(&question->waiting_node);
    kith__map_remove(&client->questions_by_key, question->key, sizeof question->key);
}

static void remove_request(struct kith_dns_request *request)
{
    kith__list_remove(&request->node);
    kith__free(request->question->client->mem, request);
}

/** Tells all who asked, who may cancel each other and ask anew meanwhile. */
static void end_question(struct question *question, int err, const char *why, struct answer *answer)
{
    struct kith_dns_client *client = question->client;
    struct kith_slice message = { answer != NULL ? answer->bytes : NULL, answer != NULL ? answer->size : 0 };
    struct kith_list *node;

    if (answer != NULL)
        answer->holders++;
    close_question(question);
    client->busy++;
    while ((node = kith__list_first(&question->requests)) != NULL) {
        struct kith_dns_request *request = KITH_CONTAINER(node, struct kith_dns_request, node);
        kith_dns_done *done = request->done;
        void *ctx = request->ctx;

        remove_request(request);
        done(ctx, err, why, message);
    }
    client->busy--;
    release(client, answer);
    kith__free(client->mem, question);
}

/* ---- Tries ---- */

static bool is_same_failure(const struct try *a, const struct try *b)
{
    return b->why != NULL && kith_sockaddr_equal(&a->server, &b->server) && strcmp(a->why, b->why) == 0;
}

/** "10.0.0.1:53: no such name (4 tries); 10.0.0.2:53: no answer in time (3 tries)" */
static void write_why(const struct question *question, char why[KITH_DNS_WHY_SIZE])
{
    char server[KITH_SOCKADDR_TEXT_SIZE];
    size_t at = 0;

    why[0] = '\0';
    for (size_t i = 0; i < question->try_count && at < KITH_DNS_WHY_SIZE; i++) {
        const struct try *try = &question->tries[i];
        size_t equal = 0, before = 0;

        for (size_t j = 0; j < question->try_count && try->why != NULL; j++)
            if (is_same_failure(try, &question->tries[j])) {
                equal++;
                before += j < i;
            }
        if (before > 0 || try->why == NULL) /* told; or still open, and of no interest any more */
            continue;
        kith_sockaddr_format(&try->server, server);
        at += (size_t)snprintf(why + at, KITH_DNS_WHY_SIZE - at, "%sname server %s: %s (%zu %s)", at > 0 ? "; " : "",
                               server, try->why, equal, equal == 1 ? "try" : "tries");
    }
}

/** Nothing is left to hope for. */
static void fail_question(struct question *question)
{
    char why[KITH_DNS_WHY_SIZE];
    int err = question->tries[question->try_count - 1].err;

    for (size_t i = 0; i < question->try_count; i++)
        if (question->tries[i].err == KITH_ERR_NOT_FOUND)
            err = KITH_ERR_NOT_FOUND;
    write_why(question, why);
    question->client->stats.failed++;
    end_question(question, err, why, NULL);
}

/** Notes it, which may be the end of the question. */
static void fail_try(struct try *try, int err, const char *why)
{
    struct question *question = try->question;

    try->err = err;
    try->why = why;
    question->client->stats.tries_failed++;
    if ((err == KITH_ERR_NOT_FOUND && (question->how & KITH_DNS_NEGATIVE_IS_FINAL) != 0) ||
        (question->asking == 0 && question->try_count == KITH_DNS_TRIES)) {
        fail_question(question);
    }
}

static struct answer *new_answer(struct kith_dns_client *client, struct kith_slice message)
{
    struct answer *answer = kith__alloc(client->mem, sizeof *answer + message.size);

    if (answer == NULL)
        return NULL;
    answer->holders = 1;
    answer->size = message.size;
    memcpy(answer->bytes, message.ptr, message.size);
    return answer;
}

static void on_answer(void *ctx, int err, const char *why, struct kith_slice message)
{
    struct try *try = ctx;
    struct question *question = try->question;
    struct kith_dns_client *client = question->client;
    struct answer *answer;
    uint32_t ttl_s;

    try->ask = NULL;
    question->asking--;
    if (err == 0 && (err = kith__dns_answer_check(message, question->type, &ttl_s)) != 0)
        why = err == KITH_ERR_PARSE ? "a malformed answer" : "no record of that type";
    if (err == KITH_ERR_PARSE)
        client->stats.answers_malformed++;
    if (err != 0) {
        fail_try(try, err, why);
        return;
    }
    answer = new_answer(client, message);
    if (answer == NULL) {
        fail_try(try, KITH_ERR_NOMEM, "no memory for the answer");
        return;
    }
    for (size_t i = 0; i < client->server_count; i++)
        if (kith_sockaddr_equal(&client->servers[i], &try->server))
            client->first = i;
    client->stats.answered++;
    cache(client, question->cache_key, answer, ttl_s);
    end_question(question, 0, "", answer);
    release(client, answer);
}

/** When the next try is due, after `count` of them: each has its delay, a fifth more or less. */
static uint64_t next_try_ns(const struct question *question)
{
    static const uint16_t delays_ms[KITH_DNS_TRIES] = { 0, 200, 300, 600, 1000, 2000, 3000 };
    uint64_t delay_ns = delays_ms[question->try_count] * KITH_NS_PER_MS;

    if (delay_ns == 0)
        return question->begun_ns;
    return question->begun_ns + delay_ns / 5 * 4 +
           kith__random_below(kith__rt_random(question->client->rt), delay_ns / 5 * 2);
}

/** Begins the next try, and sets the clock for the one after it. That may be the end of the question. */
static void start_try(struct question *question)
{
    struct kith_dns_client *client = question->client;
    struct try *try = &question->tries[question->try_count];
    struct kith_dns_ask_options options = {
        .rt = client->rt,
        .mem = client->mem,
        .name = &question->name,
        .type = question->type,
        .timeout_ns = KITH_DNS_TRY_NS,
        .stats = &client->stats.asks,
    };
    int err;

    if (client->server_count == 0) {
        client->stats.failed++;
        end_question(question, KITH_ERR_UNREACHABLE, "no name server is known: the system has none; give one", NULL);
        return;
    }
    options.server = client->servers[(client->first + question->try_count) % client->server_count];
    *try = (struct try) { .question = question, .server = options.server };
    question->try_count++;
    if (question->try_count < KITH_DNS_TRIES)
        kith__rt_timer_set(&question->timer, next_try_ns(question));
    if ((err = kith__dns_ask(&options, on_answer, try, &try->ask)) != 0)
        fail_try(try, err, kith_strerror(err));
    else
        question->asking++;
}

/* ---- The beginning of a question ---- */

static void begin_question(struct question *question)
{
    struct kith_dns_client *client = question->client;

    if (client->running == KITH_DNS_RUNNING_MAX) {
        question->state = QUESTION_WAITING;
        kith__list_push_back(&client->waiting, &question->waiting_node);
        return;
    }
    question->state = QUESTION_RUNNING;
    client->running++;
    client->stats.questions++;
    question->begun_ns = kith__rt_now(client->rt);
    start_try(question);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct question *question = ctx;
    struct kith_dns_client *client = question->client;
    struct answer *answer;

    (void)now_ns;
    if (question->state == QUESTION_RUNNING) {
        start_try(question);
        return;
    }
    answer = (question->how & KITH_DNS_AFRESH) == 0 ? find_cached(client, question->cache_key) : NULL;
    if (answer == NULL && (question->how & KITH_DNS_REMEMBERED) != 0) {
        end_question(question, KITH_ERR_NOT_FOUND, "it was forgotten meanwhile", NULL);
        return;
    }
    if (answer == NULL) {
        begin_question(question);
        return;
    }
    client->stats.from_cache++;
    end_question(question, 0, "", answer);
}

/** What makes questions equal; without `how`: answers. */
static void make_key(const struct kith_dns_name *name, uint16_t type, unsigned how, uint8_t key[KITH_HASH_SIZE])
{
    struct kith_dns_name lower = *name;
    uint8_t head[3] = { (uint8_t)(type >> 8), (uint8_t)type, (uint8_t)how };
    struct kith_blake3 hasher;

    kith__dns_name_lower(&lower);
    kith__blake3_init(&hasher);
    kith__blake3_update(&hasher, head, sizeof head);
    kith__blake3_update(&hasher, lower.bytes, lower.size);
    kith__blake3_final(&hasher, key);
}

static int new_question(struct kith_dns_client *client, const struct kith_dns_name *name, uint16_t type, unsigned how,
                        struct question **out)
{
    struct question *question;
    int err;

    if (client->questions_by_key.count == KITH_DNS_QUESTIONS_MAX)
        return KITH_ERR_LIMIT;
    question = kith__alloc_zero(client->mem, sizeof *question);
    if (question == NULL)
        return KITH_ERR_NOMEM;
    question->client = client;
    question->type = type;
    question->how = (uint8_t)how;
    kith__list_init(&question->node);
    kith__list_init(&question->waiting_node);
    kith__list_init(&question->requests);
    question->name = *name;
    make_key(name, type, how, question->key);
    make_key(name, type, 0, question->cache_key);
    if ((err = kith__rt_timer_init(client->rt, &question->timer, on_timer, question)) != 0 ||
        (err = kith__map_put(&client->questions_by_key, question->key, sizeof question->key, question)) != 0) {
        kith__rt_timer_dispose(&question->timer);
        kith__free(client->mem, question);
        return err;
    }
    kith__list_push_back(&client->questions, &question->node);
    kith__rt_timer_set(&question->timer, kith__rt_now(client->rt));
    *out = question;
    return 0;
}

int kith__dns_query(struct kith_dns_client *client, const struct kith_dns_name *name, uint16_t type, unsigned how,
                    kith_dns_done *done, void *ctx, struct kith_dns_request **out)
{
    struct kith_dns_request *request;
    struct question *question;
    uint8_t key[KITH_HASH_SIZE];
    int err;

    make_key(name, type, 0, key);
    if ((how & KITH_DNS_REMEMBERED) != 0 && find_cached(client, key) == NULL)
        return KITH_ERR_NOT_FOUND;
    request = kith__alloc_zero(client->mem, sizeof *request);
    if (request == NULL)
        return KITH_ERR_NOMEM;
    make_key(name, type, how, key);
    question = kith__map_get(&client->questions_by_key, key, sizeof key);
    client->stats.merged += question != NULL;
    if (question == NULL && (err = new_question(client, name, type, how, &question)) != 0) {
        kith__free(client->mem, request);
        return err;
    }
    client->stats.requests++;
    request->question = question;
    request->done = done;
    request->ctx = ctx;
    kith__list_push_back(&question->requests, &request->node);
    *out = request;
    return 0;
}

/** Nobody is told. */
static void drop_question(struct question *question)
{
    close_question(question);
    kith__free(question->client->mem, question);
}

void kith__dns_cancel(struct kith_dns_request *request)
{
    struct question *question;

    if (request == NULL)
        return;
    question = request->question;
    remove_request(request);
    if (question->state != QUESTION_OVER && kith__list_is_empty(&question->requests))
        drop_question(question);
}

/* ---- The client ---- */

int kith__dns_client_new(struct kith_rt *rt, const struct kith_mem *mem, const struct kith_dns_options *options,
                         struct kith_dns_client **out)
{
    struct kith_dns_client *client;
    int err;

    if (options->server_count > KITH_DNS_SERVERS_MAX)
        return KITH_ERR_LIMIT;
    client = kith__alloc_zero(mem, sizeof *client);
    if (client == NULL)
        return KITH_ERR_NOMEM;
    client->rt = rt;
    client->mem = mem;
    client->has_fallback = options->has_fallback;
    client->given_count = options->server_count;
    for (size_t i = 0; i < options->server_count; i++) {
        client->given[i] = options->servers[i];
        if (client->given[i].port == 0)
            client->given[i].port = KITH_DNS_PORT;
    }
    kith__map_init(&client->questions_by_key, mem, kith__random_u64(kith__rt_random(rt)));
    kith__map_init(&client->cache_by_key, mem, kith__random_u64(kith__rt_random(rt)));
    kith__list_init(&client->questions);
    kith__list_init(&client->waiting);
    kith__list_init(&client->cache);
    if (options->resolv_conf != NULL) {
        client->resolv_conf = kith__alloc(mem, strlen(options->resolv_conf) + 1);
        if (client->resolv_conf == NULL) {
            kith__dns_client_free(client);
            return KITH_ERR_NOMEM;
        }
        strcpy(client->resolv_conf, options->resolv_conf);
    }
    if ((err = load_servers(client)) != 0) {
        kith__dns_client_free(client);
        return err;
    }
    *out = client;
    return 0;
}

void kith__dns_client_free(struct kith_dns_client *client)
{
    struct kith_list *node, *request;

    if (client == NULL)
        return;
    KITH_ASSERT(client->busy == 0);
    while ((node = kith__list_first(&client->questions)) != NULL) {
        struct question *question = KITH_CONTAINER(node, struct question, node);

        while ((request = kith__list_first(&question->requests)) != NULL)
            remove_request(KITH_CONTAINER(request, struct kith_dns_request, node));
        drop_question(question);
    }
    uncache_all(client);
    kith__map_dispose(&client->questions_by_key);
    kith__map_dispose(&client->cache_by_key);
    kith__free(client->mem, client->resolv_conf);
    kith__free(client->mem, client);
}

void kith__dns_client_on_network_change(struct kith_dns_client *client)
{
    if (load_servers(client) != 0)
        kith__log(&client->rt->log, KITH_LOG_WARN, "dns", "no memory to read the system's name servers again");
    uncache_all(client);
    KITH_LIST_EACH(node, &client->questions)
    {
        struct question *question = KITH_CONTAINER(node, struct question, node);

        if (question->state != QUESTION_RUNNING)
            continue;
        cancel_asks(question);
        question->try_count = 0;
        question->begun_ns = kith__rt_now(client->rt);
        kith__rt_timer_set(&question->timer, question->begun_ns);
        client->stats.restarted++;
    }
}

struct kith_dns_stats kith__dns_client_stats(const struct kith_dns_client *client)
{
    return client->stats;
}
