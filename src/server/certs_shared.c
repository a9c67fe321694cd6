/* What the certificates of a server leave for all its threads. */
#include "server/certs_shared.h"

#include "base/assert.h"
#include "base/mem.h"

struct challenge {
    struct kith_list node;
    size_t token_size, answer_size;
    uint8_t bytes[]; /* token, answer */
};

int kith__certs_shared_init(struct kith_certs_shared *shared, const struct kith_mem *mem,
                            const struct kith_relay_sync *sync)
{
    *shared = (struct kith_certs_shared) { .mem = mem, .sync = sync };
    kith__list_init(&shared->challenges);
    return kith__relay_lock_new(sync, &shared->lock);
}

static void challenge_free(struct kith_certs_shared *shared, struct challenge *challenge)
{
    kith__list_remove(&challenge->node);
    shared->challenge_count--;
    kith__free(shared->mem, challenge);
}

void kith__certs_shared_dispose(struct kith_certs_shared *shared)
{
    if (shared->mem == NULL)
        return;
    KITH_LIST_EACH_SAFE(node, after, &shared->challenges)
    challenge_free(shared, KITH_CONTAINER(node, struct challenge, node));
    kith__relay_lock_free(shared->sync, shared->lock);
    shared->mem = NULL;
}

static struct challenge *find(struct kith_certs_shared *shared, struct kith_slice token)
{
    KITH_LIST_EACH(node, &shared->challenges)
    {
        struct challenge *challenge = KITH_CONTAINER(node, struct challenge, node);

        if (challenge->token_size == token.size && memcmp(challenge->bytes, token.ptr, token.size) == 0)
            return challenge;
    }
    return NULL;
}

int kith__http01_add(struct kith_certs_shared *shared, const char *token, struct kith_slice answer)
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
    kith__http01_remove(shared, token);
    kith__relay_lock(shared->sync, shared->lock);
    if (shared->challenge_count < KITH_HTTP01_MAX) {
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

void kith__http01_remove(struct kith_certs_shared *shared, const char *token)
{
    struct challenge *challenge;

    kith__relay_lock(shared->sync, shared->lock);
    if ((challenge = find(shared, (struct kith_slice) { (const uint8_t *)token, strlen(token) })) != NULL)
        challenge_free(shared, challenge);
    kith__relay_unlock(shared->sync, shared->lock);
}

int kith__http01_find(struct kith_certs_shared *shared, struct kith_slice token, struct kith_buf *answer)
{
    const struct challenge *challenge;
    int err = KITH_ERR_NOT_FOUND;

    kith__relay_lock(shared->sync, shared->lock);
    if (token.size != 0 && (challenge = find(shared, token)) != NULL)
        err = kith__buf_append(answer, challenge->bytes + challenge->token_size, challenge->answer_size);
    kith__relay_unlock(shared->sync, shared->lock);
    return err;
}
