/* What all threads of a relay have in common. */
#include "server/relay_shared.h"

#include "base/assert.h"
#include "base/mem.h"

struct challenge {
    struct kith_list node;
    size_t token_size, answer_size;
    uint8_t bytes[]; /* token, answer */
};

int kith__relay_shared_init(struct kith_relay_shared *shared, const struct kith_mem *mem,
                            const struct kith_relay_sync *sync, unsigned worker_count)
{
    int err;

    *shared = (struct kith_relay_shared) {
        .mem = mem, .sync = sync, .worker_count = worker_count, .version = "", .access_text = ""
    };
    kith__list_init(&shared->challenges);
    shared->counters = kith__alloc_array(mem, worker_count + 1, sizeof *shared->counters);
    shared->gauges = kith__alloc_array(mem, worker_count, sizeof *shared->gauges);
    err = shared->counters == NULL || shared->gauges == NULL ? KITH_ERR_NOMEM
                                                             : kith__relay_lock_new(sync, &shared->lock);
    if (err != 0)
        kith__relay_shared_dispose(shared);
    return err;
}

static void challenge_free(struct kith_relay_shared *shared, struct challenge *challenge)
{
    kith__list_remove(&challenge->node);
    shared->challenge_count--;
    kith__free(shared->mem, challenge);
}

void kith__relay_shared_dispose(struct kith_relay_shared *shared)
{
    if (shared->mem == NULL)
        return;
    KITH_LIST_EACH_SAFE(node, after, &shared->challenges)
    challenge_free(shared, KITH_CONTAINER(node, struct challenge, node));
    kith__relay_lock_free(shared->sync, shared->lock);
    kith__relay_admission_free(shared->admission);
    kith__free(shared->mem, shared->counters);
    kith__free(shared->mem, shared->gauges);
    *shared = (struct kith_relay_shared) { 0 };
}

void kith__relay_shared_count(const struct kith_relay_shared *shared, struct kith_relay_counters *sum)
{
    memset(sum, 0, sizeof *sum);
    for (unsigned i = 0; i <= shared->worker_count; i++)
        kith__relay_counters_add(sum, &shared->counters[i]);
}

uint64_t kith__relay_shared_gauge(const struct kith_relay_shared *shared, size_t offset)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < shared->worker_count; i++)
        sum += kith__relay_counter((_Atomic uint64_t *)(void *)((char *)&shared->gauges[i] + offset));
    return sum;
}

void kith__relay_shared_set_access(struct kith_relay_shared *shared, const char *text)
{
    kith__relay_lock(shared->sync, shared->lock);
    shared->access_text = text;
    kith__relay_unlock(shared->sync, shared->lock);
}

const char *kith__relay_shared_access(struct kith_relay_shared *shared)
{
    const char *text;

    kith__relay_lock(shared->sync, shared->lock);
    text = shared->access_text;
    kith__relay_unlock(shared->sync, shared->lock);
    return text;
}

static struct challenge *find(struct kith_relay_shared *shared, struct kith_slice token)
{
    KITH_LIST_EACH(node, &shared->challenges)
    {
        struct challenge *challenge = KITH_CONTAINER(node, struct challenge, node);

        if (challenge->token_size == token.size && memcmp(challenge->bytes, token.ptr, token.size) == 0)
            return challenge;
    }
    return NULL;
}

int kith__relay_challenge_add(struct kith_relay_shared *shared, const char *token, struct kith_slice answer)
{
    size_t token_size = strlen(token);
    struct challenge *challenge;
    int err = 0;

    if (token_size == 0 || answer.size == 0)
        return KITH_ERR_INVALID;
    if ((challenge = kith__alloc_zero(shared->mem, sizeof *challenge + token_size + answer.size)) == NULL)
        return KITH_ERR_NOMEM;
    challenge->token_size = token_size;
    challenge->answer_size = answer.size;
    memcpy(challenge->bytes, token, token_size);
    memcpy(challenge->bytes + token_size, answer.ptr, answer.size);
    kith__relay_challenge_remove(shared, token);
    kith__relay_lock(shared->sync, shared->lock);
    if (shared->challenge_count < KITH_RELAY_CHALLENGES_MAX) {
        kith__list_push_back(&shared->challenges, &challenge->node);
        shared->challenge_count++;
    } else {
        err = KITH_ERR_LIMIT;
    }
    kith__relay_unlock(shared->sync, shared->lock);
    if (err != 0)
        kith__free(shared->mem, challenge);
    return err;
}

void kith__relay_challenge_remove(struct kith_relay_shared *shared, const char *token)
{
    struct challenge *challenge;

    kith__relay_lock(shared->sync, shared->lock);
    if ((challenge = find(shared, (struct kith_slice) { (const uint8_t *)token, strlen(token) })) != NULL)
        challenge_free(shared, challenge);
    kith__relay_unlock(shared->sync, shared->lock);
}

int kith__relay_challenge_find(struct kith_relay_shared *shared, struct kith_slice token, struct kith_buf *answer)
{
    const struct challenge *challenge;
    int err = KITH_ERR_NOT_FOUND;

    kith__relay_lock(shared->sync, shared->lock);
    if (token.size != 0 && (challenge = find(shared, token)) != NULL)
        err = kith__buf_append(answer, challenge->bytes + challenge->token_size, challenge->answer_size);
    kith__relay_unlock(shared->sync, shared->lock);
    return err;
}
