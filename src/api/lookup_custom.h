/** Lookup services that are the program's own, as the registry sees them. Lock held. */
#ifndef KITH_API_LOOKUP_CUSTOM_H
#define KITH_API_LOOKUP_CUSTOM_H

#include "api/context.h"
#include "lookup/service.h"
#include <kith/lookup.h>

enum {
    KITH_ANSWERS_MAX = 64 /* of one question that the loop did not take yet; with more: LIMIT */
};

/** INVALID: neither publishes nor resolves; NOMEM. */
KITH_MUST_USE int kith__lookup_custom_new(struct kith_context *context, const struct kith_lookup_custom *custom,
                                          struct kith_lookup_service **out);

/** What a finding says in words of kith/endpoint.h; what does not fit is left out, and counted in ignored_count. */
void kith__api_addr_of(const struct kith_lookup_info *info, struct kith_addr *out);
/** The other way round; info is initialised, and its addresses are added to. text: NULL: its user data stay. */
KITH_MUST_USE int kith__api_info_of(const struct kith_addr *addr, const char *text, struct kith_lookup_info *info);

#endif
