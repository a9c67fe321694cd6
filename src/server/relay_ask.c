/* Access by HTTP callback. */
#include "server/relay_ask.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"
#include "codec/base32.h"
#include "codec/url.h"
#include "crypto/secure.h"
#include "link/fetch.h"
#include "tls/stream.h"
#include <stdio.h>

struct question {
    struct kith_list node;
    struct kith_relay_ask *ask;
    struct kith_fetch *fetch; /* NULL: waits in line */
    uint64_t handle, since_ns;
    struct kith_id id;
};

struct kith_relay_ask {
    struct kith_relay_ask_options options;
    char *authorization; /* "Bearer ...", or NULL */
    struct kith_list waiting, under_way;
    size_t waiting_count, under_way_count;
    uint64_t too_slow_count, told_ns; /* denied unasked; when that was logged */
};

static int copy_text(const struct kith_mem *mem, const char *before, const char *text, char **out)
{
    size_t head = strlen(before), size = head + strlen(text) + 1;
    char *copy = kith__alloc(mem, size);

    if (copy == NULL)
        return KITH_ERR_NOMEM;
    memcpy(copy, before, head);
    memcpy(copy + head, text, size - head);
    *out = copy;
    return 0;
}

static void free_secret(const struct kith_mem *mem, char *text)
{
    if (text != NULL)
        kith__wipe(text, strlen(text));
    kith__free(mem, text);
}

static int check_url(const struct kith_mem *mem, const char *url)
{
    struct kith_buf normal;
    struct kith_url parts;
    int err;

    kith__buf_init(&normal, mem);
    if ((err = kith__url_normalise(url, strlen(url), &normal)) == 0)
        err = kith__url_split(kith__buf_slice(&normal), &parts);
    kith__buf_dispose(&normal);
    return err;
}

int kith__relay_ask_rules_new(const struct kith_mem *mem, const char *url, const char *bearer,
                              struct kith_tls_stream_context *tls, struct kith_relay_ask_rules **out)
{
    struct kith_relay_ask_rules *rules;
    int err;

    if ((err = check_url(mem, url)) != 0)
        return err;
    if ((rules = kith__alloc_zero(mem, sizeof *rules)) == NULL)
        return KITH_ERR_NOMEM;
    if ((err = copy_text(mem, "", url, &rules->url)) != 0 ||
        (bearer != NULL && (err = copy_text(mem, "", bearer, &rules->bearer)) != 0)) {
        kith__relay_ask_rules_free(mem, rules);
        return err;
    }
    rules->tls = tls != NULL ? kith__tls_stream_context_retain(tls) : NULL;
    *out = rules;
    return 0;
}

void kith__relay_ask_rules_free(const struct kith_mem *mem, struct kith_relay_ask_rules *rules)
{
    if (rules == NULL)
        return;
    kith__free(mem, rules->url);
    free_secret(mem, rules->bearer);
    kith__tls_stream_context_release(rules->tls);
    kith__free(mem, rules);
}

int kith__relay_ask_new(const struct kith_relay_ask_options *options, struct kith_relay_ask **out)
{
    struct kith_relay_ask *ask = kith__alloc_zero(options->mem, sizeof *ask);
    int err = 0;

    if (ask == NULL) {
        kith__relay_ask_rules_free(options->mem, options->rules);
        return KITH_ERR_NOMEM;
    }
    ask->options = *options;
    kith__list_init(&ask->waiting);
    kith__list_init(&ask->under_way);
    if (options->rules->bearer != NULL)
        err = copy_text(options->mem, "Bearer ", options->rules->bearer, &ask->authorization);
    if (err != 0) {
        kith__relay_ask_free(ask);
        return err;
    }
    *out = ask;
    return 0;
}

static void question_free(struct question *question)
{
    struct kith_relay_ask *ask = question->ask;

    if (question->fetch != NULL)
        ask->under_way_count--;
    else
        ask->waiting_count--;
    kith__fetch_cancel(question->fetch);
    kith__list_remove(&question->node);
    kith__free(ask->options.mem, question);
}

void kith__relay_ask_free(struct kith_relay_ask *ask)
{
    if (ask == NULL)
        return;
    KITH_LIST_EACH_SAFE(node, after, &ask->waiting)
    question_free(KITH_CONTAINER(node, struct question, node));
    KITH_LIST_EACH_SAFE(node, after, &ask->under_way)
    question_free(KITH_CONTAINER(node, struct question, node));
    free_secret(ask->options.mem, ask->authorization);
    kith__relay_ask_rules_free(ask->options.mem, ask->options.rules);
    kith__free(ask->options.mem, ask);
}

static void start_next(struct kith_relay_ask *ask);

static void on_done(void *ctx, const struct kith_fetch_result *result)
{
    struct question *question = ctx;
    struct kith_relay_ask *ask = question->ask;
    uint64_t handle = question->handle;
    bool is_allowed = result->err == 0 && result->status == 200 && kith__http_is(result->body, "true");

    if (result->err != 0)
        kith__log(&ask->options.rt->log, KITH_LOG_WARN, "relay", "the access callback failed, the client is denied: %s",
                  result->why);
    else if (!is_allowed)
        kith__log(&ask->options.rt->log, KITH_LOG_DEBUG, "relay", "the access callback denied a client (status %u)",
                  result->status);
    question->fetch = NULL; /* gone with this call */
    ask->under_way_count--;
    ask->waiting_count++; /* which question_free takes back */
    question_free(question);
    start_next(ask);
    ask->options.on_answer(ask->options.ctx, handle, is_allowed);
}

static int start(struct kith_relay_ask *ask, struct question *question)
{
    char hex[2 * KITH_ID_SIZE + 1] = "";
    struct kith_http_header headers[3];
    struct kith_fetch_options options = { .rt = ask->options.rt,
                                          .url = ask->options.rules->url,
                                          .method = "POST",
                                          .headers = headers,
                                          .header_count = 2,
                                          .response_size_max = KITH_RELAY_ASK_ANSWER_MAX,
                                          .tls = ask->options.rules->tls,
                                          .limit_ns = KITH_RELAY_ASK_LIMIT_NS };

    kith__hex_encode(question->id.bytes, KITH_ID_SIZE, hex);
    /* Newer relays of the reference send both, so a server may look at either. */
    headers[0] = (struct kith_http_header) { kith__http_text("X-Iroh-Endpoint-Id"), kith__http_text(hex) };
    headers[1] = (struct kith_http_header) { kith__http_text("X-Iroh-NodeId"), kith__http_text(hex) };
    if (ask->authorization != NULL)
        headers[options.header_count++] = (struct kith_http_header) { kith__http_text("Authorization"),
                                                                      kith__http_text(ask->authorization) };
    return kith__fetch(&options, on_done, question, &question->fetch);
}

/* Denies the first in line, who has waited for too long; there may be thousands, and the log has one line a second of them. */
static void give_up(struct kith_relay_ask *ask, struct question *question, uint64_t now_ns)
{
    uint64_t handle = question->handle;

    ask->too_slow_count++;
    if (ask->told_ns == 0 || now_ns - ask->told_ns >= KITH_NS_PER_S) {
        ask->told_ns = now_ns;
        kith__log(&ask->options.rt->log, KITH_LOG_WARN, "relay",
                  "the access callback is too slow: clients are denied without being asked about (%llu so far)",
                  (unsigned long long)ask->too_slow_count);
    }
    question_free(question);
    ask->options.on_answer(ask->options.ctx, handle, false);
}

/* Those in line that can be asked now. One that cannot be asked is left to the core, which gives up on it. */
static void start_next(struct kith_relay_ask *ask)
{
    uint64_t now_ns = kith__rt_now(ask->options.rt);
    struct kith_list *first;

    while (ask->under_way_count < KITH_RELAY_ASK_UNDER_WAY_MAX && (first = kith__list_first(&ask->waiting)) != NULL) {
        struct question *question = KITH_CONTAINER(first, struct question, node);

        if (now_ns - question->since_ns > KITH_RELAY_ASK_WAIT_NS) {
            give_up(ask, question, now_ns);
            continue;
        }
        if (start(ask, question) != 0) {
            kith__log(&ask->options.rt->log, KITH_LOG_ERROR, "relay", "the access callback cannot be asked");
            question_free(question);
            continue;
        }
        kith__list_remove(&question->node);
        kith__list_push_back(&ask->under_way, &question->node);
        ask->waiting_count--;
        ask->under_way_count++;
    }
}

int kith__relay_ask_about(struct kith_relay_ask *ask, uint64_t handle, const struct kith_id *id)
{
    struct question *question;

    if (ask->waiting_count >= KITH_RELAY_ASK_WAITING_MAX)
        return KITH_ERR_LIMIT;
    if ((question = kith__alloc_zero(ask->options.mem, sizeof *question)) == NULL)
        return KITH_ERR_NOMEM;
    question->ask = ask;
    question->handle = handle;
    question->since_ns = kith__rt_now(ask->options.rt);
    question->id = *id;
    kith__list_push_back(&ask->waiting, &question->node);
    ask->waiting_count++;
    start_next(ask);
    return 0;
}
