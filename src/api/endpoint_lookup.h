/** The lookup services of an endpoint. Lock held. */
#ifndef KITH_API_ENDPOINT_LOOKUP_H
#define KITH_API_ENDPOINT_LOOKUP_H

#include "api/objects.h"
#include "crypto/sign.h"
#include "endpoint/announce.h"
#include "link/dial.h"
#include "lookup/memory.h"
#include "tls/stream.h"
#include <kith/lookup.h>

struct kith_api_lookup {
    struct kith_endpoint *endpoint;
    struct kith_lookup *registry;
    struct kith_announce *announce;      /* NULL: nothing is published */
    struct kith_lookup_memory *memory;   /* in the registry; NULL: not used yet */
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
