/**
 * A caching DNS client: questions with staggered tries over several servers, of which the first good answer wins; equal questions at the
 * same time are one. For lookups of endpoints, and of hosts where name servers were given. Source: spec/03, 7.
 *
 * Thread rules: those of the rt. Callbacks come only out of kith__rt_process.
 */
#ifndef KITH_LOOKUP_DNS_CLIENT_H
#define KITH_LOOKUP_DNS_CLIENT_H

#include "lookup/dns_answer.h"
#include "lookup/dns_ask.h"

struct kith_dns_client;
struct kith_dns_request; /* gone after done or cancel */

/** How a question is asked: bits. */
enum {
    KITH_DNS_NEGATIVE_IS_FINAL =
        1, /* the first NOT_FOUND ends it; else later tries may succeed, for a record that is just being published */
    KITH_DNS_REMEMBERED = 2, /* nobody is asked: the answer is that of the cache */
    KITH_DNS_AFRESH = 4      /* the servers are asked whatever the cache has */
};

enum {
    KITH_DNS_TRIES = 7,
    KITH_DNS_QUESTIONS_MAX = 1024, /* different ones at once; with more: LIMIT */
    KITH_DNS_RUNNING_MAX = 32,     /* of them being asked: each may have KITH_DNS_TRIES sockets; the others wait */
    KITH_DNS_CACHE_ENTRIES_MAX = 1024,
    KITH_DNS_CACHE_SIZE_MAX = 1 << 20, /* bytes of messages; what was used longest ago goes first */
    KITH_DNS_WHY_SIZE = 512
};

#define KITH_DNS_TRY_NS (3 * KITH_NS_PER_S) /* of one try */

/** All zero: the system's servers. */
struct kith_dns_options {
    const struct kith_sockaddr *servers; /* port 0: 53; copied */
    size_t
        server_count;  /* 0: the system's, read again when the network changes; more than KITH_DNS_SERVERS_MAX: LIMIT */
    bool has_fallback; /* with none of both: Google's public ones. Else questions fail with UNREACHABLE */
    const char *resolv_conf; /* the system's file; NULL: /etc/resolv.conf. Copied */
};

struct kith_dns_stats {
    struct kith_dns_ask_stats asks; /* on the wire */
    uint64_t requests, merged, from_cache;
    uint64_t questions;         /* that tries were made for */
    uint64_t answered, failed;  /* of them */
    uint64_t tries_failed;      /* for whatever reason */
    uint64_t answers_malformed; /* of them: an answer that is none */
    uint64_t cache_evicted;     /* for want of room */
    uint64_t restarted;         /* questions under way when the network changed */
};

/** rt and mem are borrowed; options are copied. Errors: NOMEM, LIMIT. */
KITH_MUST_USE int kith__dns_client_new(struct kith_rt *rt, const struct kith_mem *mem,
                                       const struct kith_dns_options *options, struct kith_dns_client **out);
/** Ends all requests without callbacks. Not from within a callback of a request. NULL is fine. */
void kith__dns_client_free(struct kith_dns_client *client);
/** Reads the system's servers again, forgets all answers, and begins all questions under way anew. */
void kith__dns_client_on_network_change(struct kith_dns_client *client);
struct kith_dns_stats kith__dns_client_stats(const struct kith_dns_client *client);
/** The servers in use, borrowed until the network changes. */
const struct kith_sockaddr *kith__dns_client_servers(const struct kith_dns_client *client, size_t *count);

/**
 * err 0: message was checked (kith__dns_answer_check) and is borrowed during the callback. NOT_FOUND: a server says that there is no such
 * name or record; else the error of the last try: TIMEOUT, REFUSED, PARSE, IO, UNREACHABLE, ... why: each server with its reason; "" for 0.
 */
typedef void kith_dns_done(void *ctx, int err, const char *why, struct kith_slice message);

/**
 * Asks for records of a type at an absolute name. how: KITH_DNS_... bits. Errors: NOMEM, LIMIT; NOT_FOUND: nothing is
 * remembered.
 */
KITH_MUST_USE int kith__dns_query(struct kith_dns_client *client, const struct kith_dns_name *name, uint16_t type,
                                  unsigned how, kith_dns_done *done, void *ctx, struct kith_dns_request **out);
/** No callback follows. NULL is fine. */
void kith__dns_cancel(struct kith_dns_request *request);

#endif
