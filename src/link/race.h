/**
 * The schedule of happy eyeballs (RFC 8305; numbers: spec/02, 4.1): which address is tried when, as answers of the name
 * service and fates of attempts come in. Sans-IO: time in, attempts and a deadline out.
 */
#ifndef KITH_LINK_RACE_H
#define KITH_LINK_RACE_H

#include <kith/types.h>

enum { KITH_RACE_ADDRS_MAX = 32, KITH_RACE_NONE = KITH_RACE_ADDRS_MAX };

#define KITH_RACE_RESOLUTION_NS (50 * KITH_NS_PER_MS)   /* only the other family has answered: wait so long for ours */
#define KITH_RACE_STAGGER_NS    (250 * KITH_NS_PER_MS)  /* from one attempt to the next while one is under way */
#define KITH_RACE_ATTEMPT_NS    (1500 * KITH_NS_PER_MS) /* of one attempt */
#define KITH_RACE_LOOKUP_NS     (3 * KITH_NS_PER_S)     /* of the lookup of one family */

enum kith_race_attempt { KITH_RACE_WAITING, KITH_RACE_RUNNING, KITH_RACE_FAILED };

/** By value in its owner; needs no dispose. Addresses are tried in turns of both families, the preferred one first. */
struct kith_race {
    struct {
        struct kith_sockaddr addr;
        uint64_t since_ns; /* RUNNING */
        uint8_t state;     /* enum kith_race_attempt */
    } attempts[KITH_RACE_ADDRS_MAX];
    uint32_t count;
    uint64_t begun_ns;                     /* the lookups */
    uint64_t other_since_ns;               /* the family that is not preferred has answered; KITH_NEVER: it has not */
    uint64_t last_ns;                      /* start of the last attempt; KITH_NEVER: none */
    uint64_t addrs_dropped;                /* more than KITH_RACE_ADDRS_MAX, or named twice */
    bool prefers_v6, is_v4_due, is_v6_due; /* due: that lookup has not ended */
    bool was_v6;                           /* the last attempt */
    int err_v4, err_v6, err_connect;       /* of the lookups; of the last attempt that failed */
};

/** What to do now. */
struct kith_race_step {
    size_t start; /* start an attempt to this one; KITH_RACE_NONE: none */
    size_t stop;  /* it had its time: stop it, it counts as failed; KITH_RACE_NONE: none */
};

/** Begins, with both lookups under way. */
void kith__race_init(struct kith_race *race, bool prefers_v6, uint64_t now_ns);
/** A lookup (family V4 or V6) ended: err, or 1.. addresses of that family. The second end of one is ignored. */
void kith__race_on_answer(struct kith_race *race, uint8_t family, int err, const struct kith_sockaddr *addrs,
                          size_t count, uint64_t now_ns);
/** An attempt that was started failed. */
void kith__race_on_failed(struct kith_race *race, size_t index, int err, uint64_t now_ns);
/** The next thing to do at this time; call until neither is set. False then. */
bool kith__race_next(struct kith_race *race, uint64_t now_ns, struct kith_race_step *out);
/** When kith__race_next has something to do by the clock alone; KITH_NEVER. */
uint64_t kith__race_deadline(const struct kith_race *race);
/**
 * 0 while there is hope; else why not: the error of the last attempt that failed, or without an address that of the
 * lookup: NOT_FOUND, TIMEOUT, ...
 */
int kith__race_verdict(const struct kith_race *race);

#endif
