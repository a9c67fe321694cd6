/**
 * One question, put to one name server, once: the part of a lookup that c-ares does (the query, what belongs to it of what
 * comes in, TCP where an answer was cut). It reaches the world through c-ares' socket functions over rt, so the simulator
 * serves it, and has no clock: the time limit is the rt's. All that differs between versions of c-ares is in dns_ask.c.
 *
 * Against forged answers: a new port and a random id for each question; what comes from another address or port, under another
 * id, or for another question, is dropped and waited on. Source: RFC 5452, 9.
 *
 * Thread rules: those of the rt.
 */
#ifndef KITH_LOOKUP_DNS_ASK_H
#define KITH_LOOKUP_DNS_ASK_H

#include "codec/dns.h"
#include "rt/rt.h"

struct kith_dns_ask;

enum { KITH_DNS_SERVERS_MAX = 7 }; /* one for each try of a lookup */

/** Owned by whoever asks many questions; read-only for others. */
struct kith_dns_ask_stats {
    uint64_t asked;               /* questions begun */
    uint64_t asked_tcp;           /* of them: again over TCP, as the answer was cut */
    uint64_t drop_wrong_source;   /* datagrams from others than the server */
    uint64_t drop_wrong_id;       /* messages under another id, or without one */
    uint64_t drop_wrong_question; /* messages that are no response to the question, or malformed before they say so */
    uint64_t drop_late;           /* messages for a socket that is done with */
};

struct kith_dns_ask_options {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_sockaddr server;      /* with its port */
    const struct kith_dns_name *name; /* used during the call only */
    uint16_t type;                    /* enum kith_dns_type */
    uint64_t timeout_ns;
    struct kith_dns_ask_stats *stats; /* borrowed until done was called or cancel */
};

/**
 * What became of it. err 0: message is the answer, with rcode 0 and at least one record, borrowed during the callback.
 * NOT_FOUND: there is no such name, or no such record; TIMEOUT; REFUSED (by its rcode, or the TCP connection); PARSE; IO (the
 * server failed, or the system did); UNREACHABLE; NOMEM. why: a few words, static; "" for 0.
 */
typedef void kith_dns_ask_done(void *ctx, int err, const char *why, struct kith_slice message);

/** Starts. done is called once, from within kith__rt_process; the ask is gone then. Errors: NOMEM; those of opening a socket. */
KITH_MUST_USE int kith__dns_ask(const struct kith_dns_ask_options *options, kith_dns_ask_done *done, void *ctx,
                                struct kith_dns_ask **out);
/** Gives up: no callback follows. Not from inside done. NULL is fine. */
void kith__dns_ask_cancel(struct kith_dns_ask *ask);

/**
 * The system's name servers, as c-ares reads them from `path` (NULL: /etc/resolv.conf), at most KITH_DNS_SERVERS_MAX; link-local
 * ones are left out. *count 0: none, as always in the simulator, whose files have no such one. Errors: NOMEM.
 */
KITH_MUST_USE int kith__dns_system_servers(struct kith_rt *rt, const char *path, struct kith_sockaddr *out,
                                           size_t *count);
/**
 * Addresses of one family (V4, V6), port 0, that the machine's hosts file has for a name: at most `cap`. Returns how many; 0
 * in the simulator.
 */
size_t kith__dns_hosts_file(struct kith_rt *rt, const char *name, enum kith_family family, struct kith_sockaddr *out,
                            size_t cap);

#endif
