/** The lookup services of an endpoint. Lock held. */
#ifndef KITH_API_ENDPOINT_LOOKUP_H
#define KITH_API_ENDPOINT_LOOKUP_H

#include "api/objects.h"
#include "crypto/sign.h"
#include "endpoint/announce.h"
#include "link/dial.h"
#include "lookup/dns_client.h"
#include "lookup/memory.h"
#include "tls/stream.h"
#include <kith/lookup.h>

/** Where the time of the newest signed packet is kept between runs. */
struct kith_publish_times {
    struct kith_rt *rt;
    char *path; /* owned; NULL: in no file */
    const struct kith_mem *mem;
    struct kith_publish_time with; /* the program's own; zeroes: none */
    uint64_t last_us;              /* what was there when it was opened, at most; 0: nothing */
};
/** Reads what is kept. A file that is not there, or holds something else, is as good as none. NOMEM. */
KITH_MUST_USE int kith__publish_time_open(struct kith_publish_times *time, const struct kith_context *context,
                                          const char *path, const struct kith_publish_time *with);
void kith__publish_time_dispose(struct kith_publish_times *time);
/** As `store` of kith_pkarr_publish_options; what cannot be written is only logged. */
void kith__publish_time_store(void *time, uint64_t timestamp_us);

struct kith_api_lookup {
    struct kith_endpoint *endpoint;
    struct kith_lookup *registry;
    struct kith_announce *announce;    /* NULL: nothing is published */
    struct kith_lookup_memory *memory; /* in the registry; NULL: not used yet */
    struct kith_dns_client *dns;       /* likewise */
    struct kith_publish_times time;
    struct kith_tls_stream_context *tls; /* made when it is first needed; NULL */
    struct kith_proxy proxy;             /* without a host: none */
    struct kith_list searches;           /* kith_search */
};

/** What services are made with; borrowed. */
struct kith_lookup_making {
    struct kith_api_lookup *lookup;
    const struct kith_endpoint_options *options;
    const struct kith_secret *secret;
};
/** Makes the services of one option and adds them. Errors are noted in full. */
KITH_MUST_USE int kith__api_lookup_make(const struct kith_lookup_making *making,
                                        const struct kith_lookup_option *option);
/** Whether the options can be used. INVALID, LIMIT; noted in full. */
KITH_MUST_USE int kith__api_lookup_check(const struct kith_endpoint_options *options);
/** The table in memory, made and added if need be. NOMEM, LIMIT. */
KITH_MUST_USE int kith__api_lookup_memory(struct kith_api_lookup *lookup, struct kith_lookup_memory **out);
/** Ends all searches. */
void kith__api_searches_fail(struct kith_api_lookup *lookup, const struct kith_error *error);

#endif
