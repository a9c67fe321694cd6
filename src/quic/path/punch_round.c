/*
 * Rounds: who is probed when, which answers count, and what was proved. The probes of a round are allocated while it
 * lasts; a round has no end on the wire, so it ends when answers cannot be expected any more.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "quic/path/punch_inner.h"

/** How long after each transmission the next one follows: t = 0, 33, 67, 133, 267, 533, 1067, 2133, 4133 ms. */
static const uint16_t gaps_ms[KITH_PUNCH_TRIES - 1] = { 33, 34, 66, 134, 266, 534, 1066, 2000 };

static struct kith_punch_probe *find_probe(const struct kith_punch *punch, const struct kith_sockaddr *address)
{
    for (size_t i = 0; i < punch->probe_count; i++)
        if (kith_sockaddr_equal(&punch->probes[i].address, address))
            return &punch->probes[i];
    return NULL;
}

static void clear_probes(struct kith_punch *punch)
{
    kith__free(punch->mem, punch->probes);
    punch->probes = NULL;
    punch->probe_count = 0;
    punch->expires_ns = KITH_NEVER;
}

static void clear_ready(struct kith_punch *punch)
{
    kith__free(punch->mem, punch->ready);
    punch->ready = NULL;
    punch->ready_count = 0;
}

static void take_out_probe(struct kith_punch *punch, size_t index)
{
    punch->probes = kith__punch_take_out(punch, punch->probes, &punch->probe_count, index, sizeof *punch->probes);
    if (punch->probe_count == 0)
        punch->expires_ns = KITH_NEVER;
}

void kith__punch_forget(struct kith_punch *punch, const struct kith_sockaddr *address)
{
    struct kith_punch_probe *probe = find_probe(punch, address);

    if (probe != NULL)
        take_out_probe(punch, (size_t)(probe - punch->probes));
    kith__punch_take_ready(punch, address);
}

static void extend(struct kith_punch *punch, uint64_t now_ns)
{
    punch->expires_ns = now_ns + KITH_PUNCH_LINGER_MS * KITH_NS_PER_MS;
}

/** An address that takes part in the round from now on; NULL without memory. */
static struct kith_punch_probe *add_probe(struct kith_punch *punch, const struct kith_sockaddr *address,
                                          uint64_t now_ns)
{
    struct kith_punch_probe *probes = kith__punch_room(punch, punch->probes, punch->probe_count, sizeof *punch->probes);

    if (probes == NULL)
        return NULL;
    punch->probes = probes;
    probes[punch->probe_count] = (struct kith_punch_probe) { .address = *address, .next_ns = KITH_NEVER };
    extend(punch, now_ns); /* also for one that is not probed: it must not stay for ever */
    return &probes[punch->probe_count++];
}

static bool can_reach(const struct kith_punch *punch, const struct kith_sockaddr *address)
{
    return kith__punch_is_usable(address) && (address->family == KITH_FAMILY_V4 ? punch->can_v4 : punch->can_v6);
}

/* ---- Starting ---- */

/** The client's own addresses are named in the round, as many as the server takes. */
static void reach_out(struct kith_punch *punch)
{
    for (size_t i = 0; i < punch->ours_count; i++)
        punch->ours[i].intent = i < punch->remote_max ? KITH_INTENT_DUE : KITH_INTENT_NONE;
}

/** Takes one of the starts that a peer may cause; false: there are too many at a time. */
static bool take_start(struct kith_punch *punch, uint64_t now_ns)
{
    uint64_t passed_ms = (now_ns - punch->starts_ns) / KITH_NS_PER_MS;

    punch->starts = KITH_MIN(punch->starts + KITH_MIN(passed_ms, 60000) * KITH_PUNCH_STARTS_PER_S,
                             KITH_PUNCH_STARTS_MAX * UINT64_C(1000));
    punch->starts_ns += passed_ms * KITH_NS_PER_MS;
    if (punch->starts < 1000)
        return false;
    punch->starts -= 1000;
    return true;
}

int kith__punch_start_round(struct kith_punch *punch, uint64_t now_ns)
{
    struct kith_punch next = *punch; /* the new round, until nothing can fail any more */

    if (!punch->is_on || punch->is_server)
        return KITH_ERR_UNSUPPORTED;
    if (punch->ours_count == 0)
        return KITH_ERR_STATE;
    next.probes = NULL;
    next.probe_count = 0;
    next.expires_ns = KITH_NEVER;
    for (size_t i = 0; i < punch->theirs_count; i++) {
        const struct kith_sockaddr *address = &punch->theirs[i].address;
        struct kith_punch_probe *probe;

        if (find_probe(&next, address) != NULL)
            continue;
        if (!can_reach(punch, address)) {
            next.dropped++;
            continue;
        }
        if ((probe = add_probe(&next, address, now_ns)) == NULL) {
            clear_probes(&next);
            return KITH_ERR_NOMEM;
        }
        if (take_start(&next, now_ns))
            probe->next_ns = now_ns;
        else
            next.dropped++;
    }
    clear_probes(punch);
    next.round++;
    *punch = next;
    clear_ready(punch);
    reach_out(punch);
    return 0;
}

int kith__punch_on_reach_out(struct kith_punch *punch, uint64_t round, const struct kith_sockaddr *address,
                             uint64_t now_ns, const char **reason)
{
    struct kith_punch_probe *probe;

    KITH_ASSERT(punch->is_on && punch->is_server);
    if (round > punch->round) {
        clear_probes(punch);
        punch->round = round;
    }
    if (round < punch->round || find_probe(punch, address) != NULL) {
        punch->ignored++;
        return 0;
    }
    if (punch->probe_count == punch->local_max) {
        *reason = "Nat traversal(REACH_OUT): Tried to add too many addresses to their advertised set";
        return KITH_WIRE_PROTOCOL_VIOLATION;
    }
    if ((probe = add_probe(punch, address, now_ns)) == NULL || !can_reach(punch, address) || !take_start(punch, now_ns))
        punch->dropped++; /* with memory it stays in the round as an address that was named */
    else
        probe->next_ns = now_ns;
    return 0;
}

/* ---- Sending ---- */

bool kith__punch_next_probe(const struct kith_punch *punch, uint64_t now_ns, struct kith_sockaddr *address)
{
    const struct kith_punch_probe *next = NULL;

    for (size_t i = 0; i < punch->probe_count; i++)
        if (punch->probes[i].next_ns <= now_ns && (next == NULL || punch->probes[i].next_ns < next->next_ns))
            next = &punch->probes[i];
    if (next == NULL)
        return false;
    *address = next->address;
    return true;
}

static void remember(struct kith_punch_probe *probe, const uint8_t value[KITH_CHALLENGE_SIZE])
{
    if (probe->value_count == KITH_PUNCH_VALUES_MAX) {
        memmove(probe->values[0], probe->values[1], sizeof probe->values - sizeof probe->values[0]);
        probe->value_count--;
    }
    memcpy(probe->values[probe->value_count++], value, KITH_CHALLENGE_SIZE);
}

void kith__punch_on_probe_sent(struct kith_punch *punch, const struct kith_sockaddr *address,
                               const uint8_t value[KITH_CHALLENGE_SIZE], uint64_t now_ns)
{
    struct kith_punch_probe *probe = find_probe(punch, address);

    if (probe == NULL || probe->next_ns == KITH_NEVER)
        return;
    remember(probe, value);
    /* Gaps, not points in time: whoever could not send for a while must not send several at once. */
    probe->next_ns = probe->tries < KITH_PUNCH_TRIES - 1 ? now_ns + gaps_ms[probe->tries] * KITH_NS_PER_MS : KITH_NEVER;
    probe->tries++;
    extend(punch, now_ns);
}

bool kith__punch_wants_challenge(const struct kith_punch *punch, const struct kith_sockaddr *address)
{
    const struct kith_punch_probe *probe = find_probe(punch, address);

    return punch->is_on && !punch->is_server && (probe == NULL || !probe->is_proved);
}

/** Makes room for one more address that nobody advertised. */
static void drop_oldest_seen(struct kith_punch *punch)
{
    size_t seen = 0, oldest = 0;

    for (size_t i = punch->probe_count; i-- != 0;)
        if (punch->probes[i].is_seen) {
            seen++;
            oldest = i;
        }
    if (seen < KITH_PUNCH_SEEN_MAX)
        return;
    punch->dropped++;
    take_out_probe(punch, oldest);
}

void kith__punch_on_answer_challenged(struct kith_punch *punch, const struct kith_sockaddr *address,
                                      const uint8_t value[KITH_CHALLENGE_SIZE], uint64_t now_ns)
{
    struct kith_punch_probe *probe = find_probe(punch, address);

    KITH_ASSERT(punch->is_on && !punch->is_server);
    if (probe == NULL) {
        drop_oldest_seen(punch);
        if ((probe = add_probe(punch, address, now_ns)) == NULL) {
            punch->dropped++;
            return;
        }
        probe->is_seen = true;
    }
    remember(probe, value);
    extend(punch, now_ns); /* also for one that was there */
}

/* ---- Answers ---- */

static size_t find_ready(const struct kith_punch *punch, const struct kith_sockaddr *remote)
{
    size_t i = 0;

    while (i < punch->ready_count && !kith_sockaddr_equal(&punch->ready[i].remote, remote))
        i++;
    return i;
}

static void take_out_ready(struct kith_punch *punch, size_t index)
{
    punch->ready = kith__punch_take_out(punch, punch->ready, &punch->ready_count, index, sizeof *punch->ready);
}

/** False without memory. */
static bool add_ready(struct kith_punch *punch, const struct kith_sockaddr *remote, const struct kith_sockaddr *local)
{
    struct kith_punch_ready *ready;

    if (find_ready(punch, remote) < punch->ready_count)
        return true;
    if (punch->ready_count == KITH_PUNCH_READY_MAX) {
        punch->dropped++;
        take_out_ready(punch, 0);
    }
    ready = kith__punch_room(punch, punch->ready, punch->ready_count, sizeof *ready);
    if (ready == NULL)
        return false;
    punch->ready = ready;
    ready[punch->ready_count++] = (struct kith_punch_ready) { .local = *local, .remote = *remote };
    return true;
}

enum kith_punch_verdict kith__punch_on_response(struct kith_punch *punch, const struct kith_sockaddr *remote,
                                                const struct kith_sockaddr *local,
                                                const uint8_t value[KITH_CHALLENGE_SIZE])
{
    struct kith_punch_probe *probe = find_probe(punch, remote);

    if (probe == NULL || probe->is_proved)
        return KITH_PUNCH_NOT_OURS;
    for (size_t i = 0; i < probe->value_count; i++) {
        if (memcmp(probe->values[i], value, KITH_CHALLENGE_SIZE) != 0)
            continue;
        if (!punch->is_server && !add_ready(punch, remote, local)) {
            punch->dropped++; /* the next answer may find memory */
            return KITH_PUNCH_NOT_OURS;
        }
        probe->is_proved = true;
        probe->next_ns = KITH_NEVER;
        return KITH_PUNCH_PROVED;
    }
    return KITH_PUNCH_NOT_OURS;
}

bool kith__punch_next_ready(const struct kith_punch *punch, struct kith_punch_ready *out)
{
    if (punch->ready_count == 0)
        return false;
    *out = punch->ready[0];
    return true;
}

void kith__punch_take_ready(struct kith_punch *punch, const struct kith_sockaddr *remote)
{
    size_t index = find_ready(punch, remote);

    if (index < punch->ready_count)
        take_out_ready(punch, index);
}

/* ---- Time ---- */

uint64_t kith__punch_deadline(const struct kith_punch *punch)
{
    uint64_t next_ns = KITH_NEVER;

    for (size_t i = 0; i < punch->probe_count; i++)
        next_ns = KITH_MIN(next_ns, punch->probes[i].next_ns);
    return next_ns != KITH_NEVER ? next_ns : punch->expires_ns;
}

void kith__punch_on_deadline(struct kith_punch *punch, uint64_t now_ns)
{
    if (punch->expires_ns <= now_ns && kith__punch_deadline(punch) == punch->expires_ns)
        clear_probes(punch);
}
