/**
 * Where an endpoint can be reached, as tickets and messages carry it: its id and an ordered set of transport addresses.
 * Owner: whoever holds the struct by value; end with kith__endpoint_addr_dispose. Source: spec/03, section 2.
 *
 * The set is kept in the order in which it is encoded: relays by the bytes of their URL, then IPv4, then IPv6, by address
 * and port, then custom addresses by id and data. Adding what is there already changes nothing.
 */
#ifndef KITH_LOOKUP_ADDR_H
#define KITH_LOOKUP_ADDR_H

#include "base/buf.h"
#include "codec/cursor.h"
#include <kith/types.h>

enum {
    KITH_ADDRS_MAX = 1024,            /* per endpoint; the reference has no limit, real ones have a dozen */
    KITH_CUSTOM_ADDR_SIZE_MAX = 1024, /* data of one custom address */
    KITH_CUSTOM_ADDR_INLINE_SIZE = 30 /* old encoding: data up to this size is padded to it */
};

/** Also the variant's index in postcard. */
enum kith_transport_kind { KITH_TRANSPORT_RELAY, KITH_TRANSPORT_IP, KITH_TRANSPORT_CUSTOM, KITH_TRANSPORT_KINDS };

/** Released iroh-base versions disagree about custom addresses: spec/03, 2.4. */
enum kith_custom_form {
    KITH_CUSTOM_FORM_NEW, /* after 1.0.3: id, byte string */
    KITH_CUSTOM_FORM_OLD  /* up to 1.0.2: id, then inline or heap variant */
};

struct kith_transport_addr {
    enum kith_transport_kind kind;
    struct kith_slice bytes; /* RELAY: normalised URL; CUSTOM: data; owned by the set, followed by a 0 byte */
    struct kith_sockaddr ip; /* IP; the scope id is not part of what is encoded */
    uint64_t custom_id;      /* CUSTOM */
};

struct kith_endpoint_addr {
    struct kith_id id;
    struct kith_transport_addr *addrs;
    size_t count, cap;
    size_t ignored_count;       /* addresses that a decoder left out: see kith__endpoint_addr_ignore */
    const struct kith_mem *mem; /* borrowed */
};

/** No addresses yet. `id` may be NULL: all zero then. */
void kith__endpoint_addr_init(struct kith_endpoint_addr *addr, const struct kith_mem *mem, const struct kith_id *id);
void kith__endpoint_addr_dispose(struct kith_endpoint_addr *addr);
/** Makes `to` (initialised, it is disposed of first) an equal copy. KITH_ERR_NOMEM leaves `to` as it was. */
int kith__endpoint_addr_copy(const struct kith_endpoint_addr *from, struct kith_endpoint_addr *to);
/** True if id and sets are equal. */
bool kith__endpoint_addr_equal(const struct kith_endpoint_addr *a, const struct kith_endpoint_addr *b);

/* All three: 0 also if it is there already; KITH_ERR_LIMIT beyond KITH_ADDRS_MAX, KITH_ERR_NOMEM; the set is unchanged on errors. */

/** Adds a relay, normalising the URL. Errors of kith__url_normalise too. */
int kith__endpoint_addr_add_relay(struct kith_endpoint_addr *addr, const char *url, size_t size);
/** Adds a socket address. KITH_ERR_INVALID without a family. */
int kith__endpoint_addr_add_ip(struct kith_endpoint_addr *addr, const struct kith_sockaddr *ip);
/** Adds a custom address. KITH_ERR_TOO_LARGE. */
int kith__endpoint_addr_add_custom(struct kith_endpoint_addr *addr, uint64_t id, struct kith_slice data);

/** The first relay in set order, or an empty slice. */
struct kith_slice kith__endpoint_addr_first_relay(const struct kith_endpoint_addr *addr);

/**
 * For decoders: the answer to `err`, which adding an address gave. Real peers know no limits, so one that is too long, too
 * many, or has a host name that we cannot write (TOO_LARGE, LIMIT, UNSUPPORTED) costs itself only: counted, and 0. Other
 * errors are returned. Source: spec/03, 2.1; checked against a peer.
 */
int kith__endpoint_addr_ignore(struct kith_endpoint_addr *addr, int err);

/** Postcard of the address, without a variant: id, count, addresses. KITH_ERR_NOMEM leaves buf as it was. */
int kith__endpoint_addr_encode(const struct kith_endpoint_addr *addr, enum kith_custom_form form, struct kith_buf *buf);
/**
 * Reads one that kith__endpoint_addr_encode or a peer wrote (untrusted) into `out`, which the caller disposes of.
 * KITH_ERR_TRUNCATED; KITH_ERR_PARSE for unknown variants, bad URLs, bad ports; KITH_ERR_CRYPTO for an id that is not a point;
 * KITH_ERR_NOMEM. Neither r nor *out changes then. What is only too much for us is left out and counted.
 */
int kith__endpoint_addr_decode(struct kith_reader *r, enum kith_custom_form form, const struct kith_mem *mem,
                               struct kith_endpoint_addr *out);

/** A socket address alone: variant, address bytes, port (blob tickets). The scope id is lost. KITH_ERR_NOMEM. */
int kith__sockaddr_encode(const struct kith_sockaddr *ip, struct kith_buf *buf);
/** KITH_ERR_TRUNCATED, KITH_ERR_PARSE. */
int kith__sockaddr_decode(struct kith_reader *r, struct kith_sockaddr *out);

/** Text of a custom address: "544f52_aabb". Appends it; KITH_ERR_NOMEM. */
int kith__custom_addr_format(uint64_t id, struct kith_slice data, struct kith_buf *out);
/** Parses that text and adds the address to the set. KITH_ERR_PARSE and the errors of adding. */
int kith__endpoint_addr_add_custom_text(struct kith_endpoint_addr *addr, const char *text, size_t size);

/** The text of a transport address: "relay:URL", "ip:ADDRESS", "custom:ID_DATA". Appends it; KITH_ERR_NOMEM. */
int kith__transport_addr_format(const struct kith_transport_addr *addr, struct kith_buf *out);

#endif
