/**
 * pkarr signed packets: an endpoint's records as a DNS message, with a timestamp, signed by its key as BEP 44 says. Bytes in,
 * bytes out. Source: spec/03, 4 and 5.
 */
#ifndef KITH_LOOKUP_PKARR_H
#define KITH_LOOKUP_PKARR_H

#include "lookup/info.h"

enum {
    KITH_PKARR_DNS_SIZE_MAX = 1000,
    KITH_PKARR_HEAD_SIZE = 104, /* key, signature, timestamp */
    KITH_PKARR_SIZE_MAX = KITH_PKARR_HEAD_SIZE + KITH_PKARR_DNS_SIZE_MAX,
    KITH_PKARR_PAYLOAD_SIZE_MIN = KITH_PKARR_HEAD_SIZE - KITH_ID_SIZE, /* of the form without the key */
    KITH_PKARR_PAYLOAD_SIZE_MAX = KITH_PKARR_SIZE_MAX - KITH_ID_SIZE,
    KITH_PKARR_TTL_S = 30 /* what endpoints give their records */
};

/** A packet whose signature was checked (or made here). By value. */
struct kith_pkarr {
    uint16_t size;                      /* KITH_PKARR_HEAD_SIZE..KITH_PKARR_SIZE_MAX */
    uint8_t bytes[KITH_PKARR_SIZE_MAX]; /* key, signature, timestamp (big endian, us), DNS message */
};

static inline struct kith_slice kith__pkarr_payload(const struct kith_pkarr *packet) /* without the key: HTTP bodies */
{
    return (struct kith_slice) { packet->bytes + KITH_ID_SIZE, (size_t)packet->size - KITH_ID_SIZE };
}
static inline struct kith_slice kith__pkarr_dns(const struct kith_pkarr *packet)
{
    return (struct kith_slice) { packet->bytes + KITH_PKARR_HEAD_SIZE, (size_t)packet->size - KITH_PKARR_HEAD_SIZE };
}
uint64_t kith__pkarr_timestamp(const struct kith_pkarr *packet);
struct kith_id kith__pkarr_id(const struct kith_pkarr *packet);
/** True if `a` replaces `b`: larger timestamp; if equal, the lexicographically larger message. */
bool kith__pkarr_is_newer(const struct kith_pkarr *a, const struct kith_pkarr *b);

/**
 * Makes the packet of an endpoint, whose secret must be that of info's id. What does not fit in KITH_PKARR_DNS_SIZE_MAX is left out, last
 * addresses first: *left_out of them. Errors: none but NOMEM.
 */
KITH_MUST_USE int kith__pkarr_make(const struct kith_lookup_info *info, const struct kith_secret *secret,
                                   uint64_t timestamp_us, uint32_t ttl_s, const struct kith_mem *mem,
                                   struct kith_pkarr *out, size_t *left_out);
/**
 * Reads one (untrusted). id NULL: it is in front; else `bytes` are the payload. TRUNCATED, TOO_LARGE, PARSE (the DNS message),
 * CRYPTO (key or signature).
 */
KITH_MUST_USE int kith__pkarr_read(const struct kith_id *id, struct kith_slice bytes, struct kith_pkarr *out);
/** The records of a packet that say where its owner is. Bad and unknown attributes cost themselves only: *ignored. NOMEM. */
KITH_MUST_USE int kith__pkarr_info(const struct kith_pkarr *packet, const struct kith_mem *mem,
                                   struct kith_lookup_info *out, size_t *ignored);
/** Appends what is signed: "3:seqi<timestamp>e1:v<size>:" and the message. out holds 64 + KITH_PKARR_DNS_SIZE_MAX bytes. Returns the size. */
size_t kith__pkarr_signed_bytes(uint64_t timestamp_us, struct kith_slice dns, uint8_t *out);

#endif
