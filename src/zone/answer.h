/**
 * The answering core of a lookup server: a DNS query in, the answer out. Sans-IO, allocates nothing. What it answers comes from the
 * origins (zone/zone.h) and from signed packets. Source: spec/03, 9.2, with the reference's defects mended; RFC 1034, 4.3; RFC 2308
 * (no such name, no such type); RFC 6891 (EDNS); RFC 8482 (ANY).
 *
 *     qname             <labels>.<z32 key>.<origin>
 *     in the packet     <labels>.<z32 key>.
 *
 * Thread rules: any thread; the source's own.
 */
#ifndef KITH_ZONE_ANSWER_H
#define KITH_ZONE_ANSWER_H

#include "lookup/pkarr.h"
#include "zone/zone.h"

enum {
    KITH_ZONE_UDP_SIZE =
        1232, /* of an answer over UDP, at most: passes everywhere without fragments (DNS flag day 2020) */
    KITH_ZONE_CNAMES_MAX = 8 /* followed for one answer */
};

/** Where packets come from. */
struct kith_zone_source {
    /** 0, NOT_FOUND, AGAIN: it is being looked for, ask again later; others: a failure of ours. */
    int (*get)(void *ctx, const struct kith_id *id, struct kith_pkarr *out);
    void *ctx;
    uint32_t ttl_max_s; /* of their records; 0: KITH_ZONE_TTL_MAX_S */
};

enum kith_zone_outcome {
    KITH_ZONE_FOUND,     /* there are records */
    KITH_ZONE_NOT_FOUND, /* no such name, or no such type */
    KITH_ZONE_FAILED,    /* another rcode */
    KITH_ZONE_SILENT,    /* no answer is to be sent: it was none of DNS, or itself an answer */
    KITH_ZONE_WAIT       /* the source said AGAIN about `id`: answer the same query once more, later */
};

struct kith_zone_answer {
    uint8_t outcome;   /* enum kith_zone_outcome */
    uint8_t rcode;     /* enum kith_dns_rcode */
    bool is_truncated; /* TC: the client is to come over TCP */
    size_t size;       /* of the answer; 0: none */
    struct kith_id id; /* WAIT */
};

/**
 * Answers one query (untrusted). is_udp: the answer is at most as long as the client takes and KITH_ZONE_UDP_SIZE; what does not fit
 * leaves only TC. out holds `capacity` bytes, at least KITH_ZONE_UDP_SIZE; a whole answer always fits in KITH_DNS_MESSAGE_SIZE_MAX.
 */
void kith__zone_answer(const struct kith_zone *zone, const struct kith_zone_source *source, struct kith_slice query,
                       bool is_udp, uint8_t *out, size_t capacity, struct kith_zone_answer *answer);
/** Only the head and the question of a query, with TC: for clients that are to come over TCP. Returns the size; 0: no query. */
size_t kith__zone_shorten(struct kith_slice query, uint8_t *out, size_t capacity);
/** The key in the label before an origin: z-base-32 in any case. */
bool kith__zone_key(struct kith_slice label, struct kith_id *out);

#endif
