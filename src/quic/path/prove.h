/**
 * Path challenges: proving that the peer is at an address, and answering when it asks. Values and times only; what is
 * proved belongs to path.h. Owner: struct kith_path, by value. Source: RFC 9000, 8.2; spec/01, 1.18 and 4.6.
 */
#ifndef KITH_QUIC_PATH_PROVE_H
#define KITH_QUIC_PATH_PROVE_H

#include <kith/types.h>

enum {
    KITH_CHALLENGE_SIZE = 8,
    KITH_CHALLENGES_OUT_MAX = 8,  /* values that a response may still carry; the oldest is replaced */
    KITH_FULL_ANSWERS_MAX = 128,  /* see struct kith_full_answers */
    KITH_FULL_ANSWERS_PER_S = 16, /* ... and how many more each second allows */
    KITH_RESPONSES_MAX =
        32 /* answers that wait to be sent, one for each pair of addresses; then the oldest is dropped */
};

struct kith_challenge {
    uint8_t value[KITH_CHALLENGE_SIZE];
    uint64_t sent_ns;
    bool is_padded; /* its datagram had 1200 bytes: the answer proves the size too (RFC 9000, 8.2.1) */
};

/** One attempt to prove one 4-tuple. All zero: idle. */
struct kith_prove {
    struct kith_challenge out[KITH_CHALLENGES_OUT_MAX];
    uint8_t out_count;
    bool is_active;
    uint32_t tries;      /* challenges sent */
    uint64_t next_ns;    /* when the next challenge is due; KITH_NEVER if idle */
    uint64_t give_up_ns; /* KITH_NEVER: goes on until told to stop */
};

/** Starts (or starts again): a challenge is due now. give_up_ns: after it the attempt fails; KITH_NEVER. */
void kith__prove_start(struct kith_prove *prove, uint64_t now_ns, uint64_t give_up_ns);
/** Stops; values that are out are forgotten. Fine when idle. */
void kith__prove_stop(struct kith_prove *prove);
static inline bool kith__prove_is_due(const struct kith_prove *prove, uint64_t now_ns)
{
    return prove->is_active && prove->next_ns <= now_ns;
}
/**
 * A PATH_CHALLENGE with a new random value went out; the next is due after the path's probe timeout with the backoff of
 * spec/01, 1.10 (kith__loss_backoff_ns with cap_ns).
 */
void kith__prove_on_sent(struct kith_prove *prove, const uint8_t value[KITH_CHALLENGE_SIZE], bool is_padded,
                         uint64_t pto_ns, uint64_t cap_ns, uint64_t now_ns);
/**
 * A round trip is known now: the interval starts from its (smaller) probe timeout again, counted from the last
 * challenge.
 */
void kith__prove_on_rtt(struct kith_prove *prove, uint64_t pto_ns, uint64_t now_ns);
/**
 * A PATH_RESPONSE, untrusted. True if its value is out: the attempt is over, *rtt_ns tells its round trip,
 * *is_padded that
 * the size is proved.
 */
bool kith__prove_on_response(struct kith_prove *prove, const uint8_t value[KITH_CHALLENGE_SIZE], uint64_t now_ns,
                             uint64_t *rtt_ns, bool *is_padded);
/** The earlier of next_ns and give_up_ns; KITH_NEVER if idle. */
uint64_t kith__prove_deadline(const struct kith_prove *prove);
/** True (once) if give_up_ns passed: the attempt failed and is idle now. */
bool kith__prove_has_failed(struct kith_prove *prove, uint64_t now_ns);

/** An answer that is owed. */
struct kith_response {
    struct kith_sockaddr local, remote; /* of the datagram with the challenge: the answer goes back there */
    uint8_t value[KITH_CHALLENGE_SIZE];
    uint64_t number;        /* packet number of the challenge */
    uint32_t datagram_size; /* of the challenge: an answer to an address that is not proved may not be much larger */
};

/** Answers owed on one path id, allocated while there are any. Owner: struct kith_path, by value. */
struct kith_responses {
    struct kith_response *queue; /* KITH_RESPONSES_MAX, oldest first; NULL while empty */
    uint8_t count;
    uint64_t dropped; /* because the queue was full, or memory was short; replaced ones do not count */
    const struct kith_mem *mem;
};

void kith__responses_init(struct kith_responses *responses, const struct kith_mem *mem);
void kith__responses_dispose(struct kith_responses *responses);
/** A PATH_CHALLENGE came: the newest of a pair of addresses wins. A drop (queue full, no memory) is counted. */
void kith__responses_on_challenge(struct kith_responses *responses, const struct kith_response *response);
/**
 * Takes the oldest answer: for this pair of addresses (on-path), or for any other one (off-path). local NULL or of family
 * NONE: any; remote NULL: any. False if there is none. An answer is sent once: the peer asks again if it is lost.
 */
bool kith__responses_take(struct kith_responses *responses, const struct kith_sockaddr *local,
                          const struct kith_sockaddr *remote, bool on_path, struct kith_response *out);
/** The same question without taking. */
bool kith__responses_has(const struct kith_responses *responses, const struct kith_sockaddr *local,
                         const struct kith_sockaddr *remote, bool on_path);

/**
 * How many answers may still have 1200 bytes although the challenge was small and came from an address that nobody proved.
 * Without NAT traversal none may: an answer has at most three times the size of the challenge (RFC 9000, 8.2.2). NAT
 * traversal needs them (spec/01, 5.5): its probes are as small as they can be, and come from addresses that no one could
 * announce. A peer that forges source addresses could make us send 34 times what it sends to a victim, so there are a few
 * rounds' worth of them, and then as many as do not matter; more answers are small again, which proves the address as well.
 * Owner: the connection, by value.
 */
struct kith_full_answers {
    uint64_t counted_ns; /* when `left` was right */
    uint32_t left;
};

static inline void kith__full_answers_init(struct kith_full_answers *answers, uint64_t now_ns)
{
    *answers = (struct kith_full_answers) { now_ns, KITH_FULL_ANSWERS_MAX };
}
/** True: one more may have full size; it is taken. */
bool kith__full_answers_take(struct kith_full_answers *answers, uint64_t now_ns);

#endif
