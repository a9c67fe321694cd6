/*
 * Lookup services of the program's own. The registry asks inside the loop; the program hears of it in callbacks outside of it, and
 * answers when it likes, from where it may call kith. So each side has a queue: calls for the program, and answers for the loop.
 */
#include "api/lookup_custom.h"

#include "api/error.h"
#include "base/assert.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

struct custom {
    struct kith_lookup_service base;
    struct kith_lookup_service_ops ops; /* its own: they have its name, and only what the program does */
    struct kith_context *context;
    struct kith_lookup_custom with;
    char name[KITH_SEARCH_NAME_SIZE];
    struct kith_list questions; /* that the program has, or is to get */
    struct kith_call publishing;
    struct kith_lookup_info info; /* what to publish */
    uint64_t told_count, told_ns;
};

struct answer {
    struct answer *next;
    struct kith_lookup_info info;
    uint64_t updated_us;
};

struct kith_question {
    struct kith_list node;
    struct custom *custom; /* NULL: the service is gone */
    struct kith_context *context;
    struct kith_id id;
    struct kith_lookup_sink sink;
    bool is_wanted;        /* the registry waits */
    bool is_given;         /* the program has it */
    bool is_ended;         /* the program gave it back; it waits for the loop */
    struct kith_call call; /* resolve, or cancel, is due */
    struct kith_job job;   /* answers, or the end, are due */
    struct answer *answers, **last;
    size_t answer_count;
    int err;
    char why[KITH_SEARCH_WHY_SIZE];
    void *user;
};

/* ---- Words ---- */

void kith__api_addr_of(const struct kith_lookup_info *info, struct kith_addr *out)
{
    kith_addr_init(out, &info->addr.id);
    out->ignored_count = info->addr.ignored_count;
    for (size_t i = 0; i < info->addr.count; i++) {
        const struct kith_transport_addr *addr = &info->addr.addrs[i];

        if (addr->kind == KITH_TRANSPORT_RELAY)
            out->ignored_count += kith_addr_add_relay(out, (const char *)addr->bytes.ptr) != 0;
        else if (addr->kind == KITH_TRANSPORT_IP)
            out->ignored_count += kith_addr_add_ip(out, &addr->ip) != 0;
        else
            out->ignored_count++;
    }
}

int kith__api_info_of(const struct kith_addr *addr, const char *text, struct kith_lookup_info *info)
{
    int err = 0;

    for (size_t i = 0; err == 0 && i < addr->relay_count; i++)
        err = kith__endpoint_addr_add_relay(&info->addr, addr->relays[i], strlen(addr->relays[i]));
    for (size_t i = 0; err == 0 && i < addr->ip_count; i++)
        err = kith__endpoint_addr_add_ip(&info->addr, &addr->ips[i]);
    if (err == 0 && text != NULL)
        err = kith__lookup_info_set_user_data(info, (struct kith_slice) { (const uint8_t *)text, strlen(text) });
    return err;
}

/* ---- Questions ---- */

static void drop_answers(struct kith_question *question)
{
    while (question->answers != NULL) {
        struct answer *answer = question->answers;

        question->answers = answer->next;
        kith__lookup_info_dispose(&answer->info);
        kith__free(question->context->mem, answer);
    }
    question->last = &question->answers;
    question->answer_count = 0;
}

static void question_free(struct kith_question *question)
{
    drop_answers(question);
    kith__call_cancel(&question->call);
    kith__job_cancel(&question->job);
    kith__list_remove(&question->node);
    question->context->object_count--;
    kith__free(question->context->mem, question);
}

/* The registry does not wait any more; what the program has stays until it gives it back. */
static void question_unwanted(struct kith_question *question)
{
    question->is_wanted = false;
    drop_answers(question);
    if (!question->is_given || question->is_ended)
        question_free(question);
}

static void run_question(struct kith_call *call)
{
    struct kith_question *question = KITH_CONTAINER(call, struct kith_question, call);
    struct kith_context *context = question->context;
    const struct kith_lookup_custom with = question->custom->with;
    void (*callback)(void *ctx, struct kith_question *) = question->is_wanted ? with.resolve : with.cancel;

    question->is_given = true;
    kith__context_leave(context);
    callback(with.ctx, question); /* may end it */
    kith__context_enter(context);
}

/* In a turn: what the program said goes to the registry, which may cancel the question at any of it. */
static void deliver(void *ctx)
{
    struct kith_question *question = ctx;
    struct kith_lookup_sink sink = question->sink;
    char why[KITH_SEARCH_WHY_SIZE];
    int err = question->err;

    if (question->answers != NULL) {
        struct answer *answer = question->answers;
        struct kith_lookup_found found = { &answer->info, answer->updated_us };
        const struct kith_mem *mem = question->context->mem;

        question->answers = answer->next;
        if (question->answers == NULL)
            question->last = &question->answers;
        question->answer_count--;
        if (question->answers != NULL || question->is_ended)
            kith__context_schedule(question->context, &question->job);
        sink.on_found(sink.ctx, &found); /* the question may be gone after this */
        kith__lookup_info_dispose(&answer->info);
        kith__free(mem, answer);
        return;
    }
    snprintf(why, sizeof why, "%s", question->why);
    question_free(question);
    sink.on_end(sink.ctx, err, why);
}

static int resolve(struct kith_lookup_service *service, const struct kith_id *id, const struct kith_lookup_sink *sink,
                   struct kith_lookup_query **out)
{
    struct custom *custom = KITH_CONTAINER(service, struct custom, base);
    struct kith_question *question = kith__alloc_zero(custom->context->mem, sizeof *question);

    if (question == NULL)
        return KITH_ERR_NOMEM;
    question->custom = custom;
    question->context = custom->context;
    question->context->object_count++;
    question->id = *id;
    question->sink = *sink;
    question->is_wanted = true;
    question->last = &question->answers;
    kith__call_init(&question->call, run_question);
    kith__job_init(&question->job, deliver, question);
    kith__list_push_back(&custom->questions, &question->node);
    kith__context_call(custom->context, &question->call);
    *out = (struct kith_lookup_query *)question;
    return 0;
}

static void cancel(struct kith_lookup_query *query)
{
    struct kith_question *question = (struct kith_question *)query;
    bool must_tell = question->is_given && !question->is_ended && question->custom->with.cancel != NULL;

    kith__job_cancel(&question->job);
    question->is_wanted = false;
    if (must_tell)
        kith__context_call(question->context, &question->call);
    question_unwanted(question);
}

/* ---- Publishing ---- */

static void run_publish(struct kith_call *call)
{
    struct custom *custom = KITH_CONTAINER(call, struct custom, publishing);
    struct kith_context *context = custom->context;
    const struct kith_lookup_custom with = custom->with;
    char text[KITH_USER_DATA_SIZE_MAX + 1];
    struct kith_addr addr;

    kith__api_addr_of(&custom->info, &addr);
    memcpy(text, custom->info.user_data, sizeof text);
    text[custom->info.user_data_size] = '\0';
    custom->told_count++;
    custom->told_ns = kith__context_now(context);
    kith__context_leave(context);
    with.publish(with.ctx, &addr, text);
    kith__context_enter(context);
}

static void publish(struct kith_lookup_service *service, const struct kith_lookup_info *info)
{
    struct custom *custom = KITH_CONTAINER(service, struct custom, base);

    if (kith__lookup_info_equal(info, &custom->info) || kith__lookup_info_copy(info, &custom->info) != 0)
        return;
    kith__context_call(custom->context, &custom->publishing);
}

static void published(const struct kith_lookup_service *service, struct kith_lookup_published *out)
{
    const struct custom *custom = KITH_CONTAINER(service, struct custom, base);

    *out = (struct kith_lookup_published) { .accepted_count = custom->told_count, .accepted_ns = custom->told_ns };
}

/* ---- The service ---- */

static void custom_free(struct kith_lookup_service *service)
{
    struct custom *custom = KITH_CONTAINER(service, struct custom, base);
    struct kith_list *node;

    while ((node = kith__list_first(&custom->questions)) != NULL) {
        struct kith_question *question = KITH_CONTAINER(node, struct kith_question, node);

        KITH_ASSERT(!question->is_wanted);
        kith__call_cancel(&question->call);
        kith__list_remove(node);
        question->custom = NULL;
    }
    kith__call_cancel(&custom->publishing);
    if (custom->with.closed != NULL)
        custom->with.closed(custom->with.ctx);
    kith__lookup_info_dispose(&custom->info);
    kith__free(custom->context->mem, custom);
}

int kith__lookup_custom_new(struct kith_context *context, const struct kith_lookup_custom *with,
                            struct kith_lookup_service **out)
{
    struct custom *custom;

    if (with->publish == NULL && with->resolve == NULL)
        return KITH_ERR_INVALID;
    if ((custom = kith__alloc_zero(context->mem, sizeof *custom)) == NULL)
        return KITH_ERR_NOMEM;
    custom->context = context;
    custom->with = *with;
    snprintf(custom->name, sizeof custom->name, "%s", with->name != NULL ? with->name : "custom");
    custom->with.name = custom->name;
    custom->ops = (struct kith_lookup_service_ops) { .name = custom->name, .cancel = cancel, .free = custom_free };
    if (with->publish != NULL) {
        custom->ops.publish = publish;
        custom->ops.published = published;
    }
    if (with->resolve != NULL)
        custom->ops.resolve = resolve;
    custom->base.ops = &custom->ops;
    snprintf(custom->base.label, sizeof custom->base.label, "%s", custom->name);
    kith__list_init(&custom->questions);
    kith__call_init(&custom->publishing, run_publish);
    kith__lookup_info_init(&custom->info, context->mem, NULL);
    *out = &custom->base;
    return 0;
}

/* ---- Public ---- */

struct kith_id kith_question_id(const struct kith_question *question)
{
    return question->id;
}

void kith_question_set_user(struct kith_question *question, void *user)
{
    question->user = user;
}

void *kith_question_user(const struct kith_question *question)
{
    return question->user;
}

static int answer_locked(struct kith_question *question, const struct kith_addr *addr, const char *user_data,
                         uint64_t updated_us)
{
    struct answer *answer;
    int err;

    if (!question->is_wanted)
        return 0;
    if (question->answer_count == KITH_ANSWERS_MAX)
        return kith__fail(KITH_ERR_LIMIT, 0, "%d answers wait already: let the loop take them first", KITH_ANSWERS_MAX);
    if ((answer = kith__alloc_zero(question->context->mem, sizeof *answer)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the answer cannot be kept");
    kith__lookup_info_init(&answer->info, question->context->mem, &question->id);
    answer->updated_us = updated_us;
    if ((err = kith__api_info_of(addr, user_data, &answer->info)) != 0) {
        kith__lookup_info_dispose(&answer->info);
        kith__free(question->context->mem, answer);
        return kith__fail_because(err, "the answer cannot be used");
    }
    *question->last = answer;
    question->last = &answer->next;
    question->answer_count++;
    kith__context_schedule(question->context, &question->job);
    return 0;
}

int kith_question_answer(struct kith_question *question, const struct kith_addr *addr, const char *user_data,
                         uint64_t updated_us)
{
    int err;

    if (addr == NULL)
        return kith__fail_null("an address");
    if (!kith_id_equal(&addr->id, &question->id))
        return kith__fail(KITH_ERR_INVALID, 0, "the answer is about another endpoint than the question");
    kith__context_enter(question->context);
    err = answer_locked(question, addr, user_data, updated_us);
    kith__context_leave(question->context);
    return err;
}

void kith_question_end(struct kith_question *question, int err, const char *why)
{
    struct kith_context *context;

    if (question == NULL)
        return;
    context = question->context;
    kith__context_enter(context);
    if (!question->is_wanted) {
        question_free(question);
    } else {
        question->is_ended = true;
        question->err = err;
        snprintf(question->why, sizeof question->why, "%s", why != NULL ? why : "");
        kith__context_schedule(context, &question->job);
    }
    kith__context_leave(context);
}
