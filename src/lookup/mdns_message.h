/**
 * Messages of the lookup on the local network: multicast DNS as iroh's endpoints speak it. Bytes in, bytes out.
 * Source: spec/03, 10.1; RFC 6762.
 *
 *     query     _irohv1._udp.local. PTR ?                              "who is there"
 *     response  <id>._irohv1._udp.local. SRV <port> <id>-<port>.local., TXT "relay=..." "user-data=...";
 *               <id>-<port>.local. AAAA, link-local ones; additional: A, AAAA, the others
 *
 * Peers of other makers ask for everybody only, and say no goodbye: their TTL, if they write one, means nothing, and they write a
 * PTR record with it. What we add, they pass over: without a PTR record, a TTL says for how long an endpoint means to
 * stay; a second question in a query names endpoints that are looked for; the answer section of a query
 * holds those that are known (RFC 6762, 7.1); an SRV record with TTL 0 and port 0 is a goodbye; and a TXT record with a TTL needs no
 * address beside it, so that who has only a relay is found.
 */
#ifndef KITH_LOOKUP_MDNS_MESSAGE_H
#define KITH_LOOKUP_MDNS_MESSAGE_H

#include "codec/dns.h"
#include "lookup/info.h"

enum {
    KITH_MDNS_PORT = 5353,
    KITH_MDNS_MESSAGE_SIZE = 1472, /* that we write: real peers cut longer ones, and drop them then */
    KITH_MDNS_LABEL_SIZE = 52,     /* of the label that is an id: base32 */
    KITH_MDNS_TTL_S = 120,         /* of our records: RFC 6762, 10, for what depends on a host */
    KITH_MDNS_SAID_MAX = 16,       /* endpoints of one message that are listened to; real ones have one */
    KITH_MDNS_PORTS_MAX = 32,      /* SRV records of one message that are listened to */
    KITH_MDNS_ADDRS_MAX = 32,      /* of one endpoint, read or written */
    KITH_MDNS_RECORDS_MAX = 256    /* of one message; more is malformed */
};

/** The names that an endpoint's messages are about. By value. */
struct kith_mdns_names {
    struct kith_id own;
    struct kith_dns_name service, instance; /* instance: <own>.<service> */
};

/** service: its name without "_", as one label or several; NULL: iroh's own, "irohv1". PARSE, TOO_LARGE: no such name. */
KITH_MUST_USE int kith__mdns_names_init(struct kith_mdns_names *names, const struct kith_id *own, const char *service);

/* ---- Reading ---- */

/** What a message says about one endpoint. */
struct kith_mdns_said {
    struct kith_lookup_info info; /* the id is not checked to be a key */
    uint32_t ttl_s;               /* 0: not told, or without meaning, as by other makers */
    bool is_goodbye;
    bool has_ptr; /* by one of these */
};

/** What a message says, or asks. End with kith__mdns_heard_dispose. */
struct kith_mdns_heard {
    bool asks_all, asks_us; /* the PTR question; a question for our own records */
    bool knows_us;          /* asks_all: with us among the known answers, for half their time at least */
    bool is_own;            /* it says something about ourselves: our own, heard again */
    size_t count;           /* of said; 0 for what asks */
    struct kith_mdns_said said[KITH_MDNS_SAID_MAX];
    size_t ignored; /* records, attributes and addresses that are too many or make no sense */
};

/**
 * Reads a message (untrusted). What it says about others than endpoints is passed over; *out is then empty. interface: where it
 * was heard, the scope of link-local addresses. PARSE, TRUNCATED: malformed; NOMEM. *out is written only on success.
 */
KITH_MUST_USE int kith__mdns_read(const struct kith_mdns_names *names, struct kith_slice bytes, uint32_t interface,
                                  const struct kith_mem *mem, struct kith_mdns_heard *out);
void kith__mdns_heard_dispose(struct kith_mdns_heard *heard);

/* ---- Writing: into KITH_MDNS_MESSAGE_SIZE bytes ---- */

/**
 * What info says about us: addresses (link-local ones only of this interface), its first relay, and user data, if they are not
 * too long for a text of TXT. Returns the size; 0: there is nothing to say. *left_out counts what found no room.
 */
size_t kith__mdns_write_response(const struct kith_mdns_names *names, const struct kith_lookup_info *info,
                                 uint32_t interface, uint32_t ttl_s, uint8_t *out, size_t *left_out);
/** We are gone. Returns the size. */
size_t kith__mdns_write_goodbye(const struct kith_mdns_names *names, uint8_t *out);

/** A query as it is written: begin, want in any number, then known in any number, end. By value. */
struct kith_mdns_query {
    const struct kith_mdns_names *names;
    struct kith_dns_writer w;
};
/** Asks who is there. */
void kith__mdns_query_begin(struct kith_mdns_query *query, const struct kith_mdns_names *names, uint8_t *out);
/** And this one above all. False: no room. */
bool kith__mdns_query_want(struct kith_mdns_query *query, const struct kith_id *id);
/** This one need not answer: we know of it for ttl_s more. False: no room. */
bool kith__mdns_query_known(struct kith_mdns_query *query, const struct kith_id *id, uint32_t ttl_s);
/** Returns the size. */
size_t kith__mdns_query_end(struct kith_mdns_query *query);

#endif
