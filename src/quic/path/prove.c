#include "quic/path/prove.h"

#include "base/assert.h"
#include "base/mem.h"
#include "quic/recover/loss.h"

void kith__prove_start(struct kith_prove *prove, uint64_t now_ns, uint64_t give_up_ns)
{
    *prove = (struct kith_prove) { .is_active = true, .next_ns = now_ns, .give_up_ns = give_up_ns };
}

void kith__prove_stop(struct kith_prove *prove)
{
    *prove = (struct kith_prove) { .next_ns = KITH_NEVER, .give_up_ns = KITH_NEVER };
}

void kith__prove_on_sent(struct kith_prove *prove, const uint8_t value[KITH_CHALLENGE_SIZE], bool is_padded,
                         uint64_t pto_ns, uint64_t cap_ns, uint64_t now_ns)
{
    struct kith_challenge *slot;

    KITH_ASSERT(prove->is_active);
    if (prove->out_count == KITH_CHALLENGES_OUT_MAX) {
        memmove(&prove->out[0], &prove->out[1], sizeof prove->out - sizeof prove->out[0]);
        prove->out_count--;
    }
    slot = &prove->out[prove->out_count++];
    memcpy(slot->value, value, KITH_CHALLENGE_SIZE);
    slot->sent_ns = now_ns;
    slot->is_padded = is_padded;
    prove->next_ns = now_ns + kith__loss_backoff_ns(pto_ns, prove->tries, cap_ns);
    prove->tries++;
}

void kith__prove_on_rtt(struct kith_prove *prove, uint64_t pto_ns, uint64_t now_ns)
{
    uint64_t sent_ns;

    if (!prove->is_active || prove->out_count == 0)
        return;
    sent_ns = prove->out[prove->out_count - 1].sent_ns;
    prove->tries = 1;
    prove->next_ns = KITH_MIN(prove->next_ns, KITH_MAX(sent_ns + pto_ns, now_ns));
}

bool kith__prove_on_response(struct kith_prove *prove, const uint8_t value[KITH_CHALLENGE_SIZE], uint64_t now_ns,
                             uint64_t *rtt_ns, bool *is_padded)
{
    for (size_t i = 0; i < prove->out_count; i++) {
        if (memcmp(prove->out[i].value, value, KITH_CHALLENGE_SIZE) != 0)
            continue;
        *rtt_ns = now_ns - prove->out[i].sent_ns;
        *is_padded = prove->out[i].is_padded;
        kith__prove_stop(prove);
        return true;
    }
    return false;
}

uint64_t kith__prove_deadline(const struct kith_prove *prove)
{
    return prove->is_active ? KITH_MIN(prove->next_ns, prove->give_up_ns) : KITH_NEVER;
}

bool kith__prove_has_failed(struct kith_prove *prove, uint64_t now_ns)
{
    if (!prove->is_active || prove->give_up_ns > now_ns)
        return false;
    kith__prove_stop(prove);
    return true;
}

bool kith__full_answers_take(struct kith_full_answers *answers, uint64_t now_ns)
{
    uint64_t interval_ns = KITH_NS_PER_S / KITH_FULL_ANSWERS_PER_S, more = (now_ns - answers->counted_ns) / interval_ns;

    answers->counted_ns += more * interval_ns;
    answers->left = (uint32_t)KITH_MIN(answers->left + more, (uint64_t)KITH_FULL_ANSWERS_MAX);
    if (answers->left == 0)
        return false;
    answers->left--;
    return true;
}

void kith__responses_init(struct kith_responses *responses, const struct kith_mem *mem)
{
    *responses = (struct kith_responses) { .mem = mem };
}

void kith__responses_dispose(struct kith_responses *responses)
{
    kith__free(responses->mem, responses->queue);
    responses->queue = NULL;
    responses->count = 0;
}

/** Takes one out, keeps the order; the memory goes with the last. */
static void remove_at(struct kith_responses *responses, size_t index)
{
    responses->count--;
    memmove(&responses->queue[index], &responses->queue[index + 1],
            (responses->count - index) * sizeof responses->queue[0]);
    if (responses->count == 0)
        kith__responses_dispose(responses);
}

void kith__responses_on_challenge(struct kith_responses *responses, const struct kith_response *response)
{
    for (size_t i = 0; i < responses->count; i++) {
        if (!kith_sockaddr_equal(&responses->queue[i].remote, &response->remote) ||
            !kith_sockaddr_equal(&responses->queue[i].local, &response->local))
            continue;
        if (response->number >= responses->queue[i].number) /* a late packet does not replace a newer challenge */
            responses->queue[i] = *response;
        return;
    }
    if (responses->count == KITH_RESPONSES_MAX) {
        responses->dropped++;
        remove_at(responses, 0);
    }
    if (responses->queue == NULL)
        responses->queue = kith__alloc_array(responses->mem, KITH_RESPONSES_MAX, sizeof responses->queue[0]);
    if (responses->queue == NULL)
        responses->dropped++;
    else
        responses->queue[responses->count++] = *response;
}

/** Index of the oldest that fits; count if there is none. */
static size_t find_response(const struct kith_responses *responses, const struct kith_sockaddr *local,
                            const struct kith_sockaddr *remote, bool on_path)
{
    for (size_t i = 0; i < responses->count; i++) {
        const struct kith_response *owed = &responses->queue[i];
        bool is_there = remote == NULL || kith_sockaddr_equal(&owed->remote, remote);
        bool is_here = local == NULL || local->family == KITH_FAMILY_NONE || kith_sockaddr_equal(&owed->local, local);

        if ((is_there && is_here) == on_path)
            return i;
    }
    return responses->count;
}

bool kith__responses_has(const struct kith_responses *responses, const struct kith_sockaddr *local,
                         const struct kith_sockaddr *remote, bool on_path)
{
    return find_response(responses, local, remote, on_path) < responses->count;
}

bool kith__responses_take(struct kith_responses *responses, const struct kith_sockaddr *local,
                          const struct kith_sockaddr *remote, bool on_path, struct kith_response *out)
{
    size_t index = find_response(responses, local, remote, on_path);

    if (index == responses->count)
        return false;
    *out = responses->queue[index];
    remove_at(responses, index);
    return true;
}
