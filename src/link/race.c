/* Happy eyeballs as a schedule. */
#include "link/race.h"

#include "base/assert.h"

#include <string.h>

void kith__race_init(struct kith_race *race, bool prefers_v6, uint64_t now_ns)
{
    memset(race, 0, sizeof *race);
    race->begun_ns = now_ns;
    race->other_since_ns = race->last_ns = KITH_NEVER;
    race->prefers_v6 = prefers_v6;
    race->is_v4_due = race->is_v6_due = true;
}

static bool is_known(const struct kith_race *race, const struct kith_sockaddr *addr)
{
    for (uint32_t i = 0; i < race->count; i++)
        if (kith_sockaddr_equal(&race->attempts[i].addr, addr))
            return true;
    return false;
}

static void add(struct kith_race *race, const struct kith_sockaddr *addr)
{
    if (race->count == KITH_RACE_ADDRS_MAX || is_known(race, addr)) {
        race->addrs_dropped++;
        return;
    }
    race->attempts[race->count].addr = *addr;
    race->attempts[race->count++].state = KITH_RACE_WAITING;
}

void kith__race_on_answer(struct kith_race *race, uint8_t family, int err, const struct kith_sockaddr *addrs,
                          size_t count, uint64_t now_ns)
{
    bool is_v6 = family == KITH_FAMILY_V6;
    bool *is_due = is_v6 ? &race->is_v6_due : &race->is_v4_due;

    if (!*is_due)
        return;
    *is_due = false;
    if (err == 0 && count == 0)
        err = KITH_ERR_NOT_FOUND;
    *(is_v6 ? &race->err_v6 : &race->err_v4) = err;
    for (size_t i = 0; err == 0 && i < count; i++)
        if (addrs[i].family == family)
            add(race, &addrs[i]);
    if (err == 0 && is_v6 != race->prefers_v6)
        race->other_since_ns = now_ns;
}

void kith__race_on_failed(struct kith_race *race, size_t index, int err, uint64_t now_ns)
{
    (void)now_ns;
    KITH_ASSERT(index < race->count && race->attempts[index].state == KITH_RACE_RUNNING);
    race->attempts[index].state = KITH_RACE_FAILED;
    race->err_connect = err;
}

/** The first address of a family that waits; KITH_RACE_NONE. */
static size_t find_waiting(const struct kith_race *race, bool is_v6)
{
    for (uint32_t i = 0; i < race->count; i++)
        if (race->attempts[i].state == KITH_RACE_WAITING && (race->attempts[i].addr.family == KITH_FAMILY_V6) == is_v6)
            return i;
    return KITH_RACE_NONE;
}

/** Whose turn it is: the preferred family first, then each in turn while it has addresses. */
static size_t next_waiting(const struct kith_race *race)
{
    bool wants_v6 = race->last_ns == KITH_NEVER ? race->prefers_v6 : !race->was_v6;
    size_t index = find_waiting(race, wants_v6);

    return index != KITH_RACE_NONE ? index : find_waiting(race, !wants_v6);
}

static bool is_running(const struct kith_race *race)
{
    for (uint32_t i = 0; i < race->count; i++)
        if (race->attempts[i].state == KITH_RACE_RUNNING)
            return true;
    return false;
}

/** When the next attempt may start; KITH_NEVER without an address. */
static uint64_t start_time(const struct kith_race *race)
{
    bool is_preferred_due = race->prefers_v6 ? race->is_v6_due : race->is_v4_due;

    if (next_waiting(race) == KITH_RACE_NONE)
        return KITH_NEVER;
    if (race->last_ns != KITH_NEVER)
        return is_running(race) ? race->last_ns + KITH_RACE_STAGGER_NS : race->last_ns;
    if (is_preferred_due) /* the only addresses are of the other family */
        return race->other_since_ns + KITH_RACE_RESOLUTION_NS;
    return race->begun_ns;
}

bool kith__race_next(struct kith_race *race, uint64_t now_ns, struct kith_race_step *out)
{
    struct kith_race_step step = { KITH_RACE_NONE, KITH_RACE_NONE };
    size_t index;

    if (now_ns >= race->begun_ns + KITH_RACE_LOOKUP_NS) {
        kith__race_on_answer(race, KITH_FAMILY_V4, KITH_ERR_TIMEOUT, NULL, 0, now_ns);
        kith__race_on_answer(race, KITH_FAMILY_V6, KITH_ERR_TIMEOUT, NULL, 0, now_ns);
    }
    for (uint32_t i = 0; i < race->count && step.stop == KITH_RACE_NONE; i++)
        if (race->attempts[i].state == KITH_RACE_RUNNING &&
            now_ns >= race->attempts[i].since_ns + KITH_RACE_ATTEMPT_NS) {
            step.stop = i;
            kith__race_on_failed(race, i, KITH_ERR_TIMEOUT, now_ns);
        }
    if (start_time(race) <= now_ns) {
        index = step.start = next_waiting(race);
        race->attempts[index].state = KITH_RACE_RUNNING;
        race->attempts[index].since_ns = race->last_ns = now_ns;
        race->was_v6 = race->attempts[index].addr.family == KITH_FAMILY_V6;
    }
    *out = step;
    return step.start != KITH_RACE_NONE || step.stop != KITH_RACE_NONE;
}

uint64_t kith__race_deadline(const struct kith_race *race)
{
    uint64_t deadline = start_time(race);

    if (race->is_v4_due || race->is_v6_due)
        deadline = KITH_MIN(deadline, race->begun_ns + KITH_RACE_LOOKUP_NS);
    for (uint32_t i = 0; i < race->count; i++)
        if (race->attempts[i].state == KITH_RACE_RUNNING)
            deadline = KITH_MIN(deadline, race->attempts[i].since_ns + KITH_RACE_ATTEMPT_NS);
    return deadline;
}

int kith__race_verdict(const struct kith_race *race)
{
    if (race->is_v4_due || race->is_v6_due || is_running(race) || next_waiting(race) != KITH_RACE_NONE)
        return 0;
    if (race->err_connect != 0)
        return race->err_connect;
    return race->err_v4 != KITH_ERR_NOT_FOUND && race->err_v4 != 0 ? race->err_v4 : race->err_v6;
}
