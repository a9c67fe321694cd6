/**
 * DNS as JSON, as browsers' scripts ask for it over HTTP: parameters to a query, an answer to JSON. Source: spec/03, 9.3; there is no
 * standard for it, but common practice.
 */
#ifndef KITH_SERVER_DNS_JSON_H
#define KITH_SERVER_DNS_JSON_H

#include "base/buf.h"
#include "codec/dns.h"

/**
 * The query of the parameters name, type (a mnemonic or a number; A without one), cd, do, rd (true or false). parameters: of a URL,
 * untrusted. Errors: NOT_FOUND: no name; PARSE, TOO_LARGE.
 */
KITH_MUST_USE int kith__dns_json_query(struct kith_slice parameters, uint8_t *out, size_t capacity, size_t *size);
/** Appends an answer of ours as JSON. Errors: NOMEM; PARSE, TRUNCATED: it is malformed. */
KITH_MUST_USE int kith__dns_json_write(struct kith_slice message, struct kith_buf *out);
/** The data of a record as people write them (RFC 1035, 5; TXT without quotes; RFC 3597 for unknown types). Appends. Errors as above. */
KITH_MUST_USE int kith__dns_data_text(const struct kith_dns_record *record, struct kith_buf *out);

#endif
