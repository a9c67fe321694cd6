/**
 * Attributes: the "key=value" texts in which TXT records say where an endpoint is, in the DNS, in signed packets and on the
 * local network; and the domain name under which they stand. Bytes in, bytes out. Source: spec/03, 4.
 *
 *     relay=https://relay.example.com/     any number
 *     addr=203.0.113.7:4433                any number; also a custom address, "544f52_aabb"
 *     user-data=some text                  the first
 */
#ifndef KITH_LOOKUP_ATTRS_H
#define KITH_LOOKUP_ATTRS_H

#include "codec/dns_name.h"
#include "lookup/info.h"

enum {
    KITH_ATTRS_LABEL_SIZE = 52, /* of the label that is an id: z-base-32 */
    KITH_ATTRS_NAME_SIZE = 60   /* of kith__attrs_name */
};

/** "_iroh.<id in z-base-32>.": the name inside signed packets. */
void kith__attrs_name(const struct kith_id *id, struct kith_dns_name *out);
/** The same below an origin. TOO_LARGE. */
KITH_MUST_USE int kith__attrs_name_below(const struct kith_id *id, const struct kith_dns_name *origin,
                                         struct kith_dns_name *out);
/** The id that a label is (untrusted), in lower case only. PARSE: it is none; CRYPTO: no key. */
KITH_MUST_USE int kith__attrs_label_id(struct kith_slice label, struct kith_id *out);

/** How many attributes an endpoint has: one for each address, one for user data. */
size_t kith__attrs_count(const struct kith_lookup_info *info);
/**
 * Appends the text of the index-th: relays, then addresses, both in the order of the set, then user data. Never longer than
 * KITH_URL_SIZE_MAX + 6 bytes. index < count. NOMEM leaves buf as it was.
 */
KITH_MUST_USE int kith__attrs_format(const struct kith_lookup_info *info, size_t index, struct kith_buf *buf);

/**
 * Adds what one attribute (untrusted) says to info. The key ends at the first '='; "addr" may hold several addresses with spaces
 * between them, which old peers wrote. What is unknown, malformed, a second user-data, or too much for us changes nothing
 * and is counted: *ignored. So one bad attribute never hides the others. Errors: NOMEM.
 */
KITH_MUST_USE int kith__attrs_take(struct kith_lookup_info *info, struct kith_slice text, size_t *ignored);

#endif
