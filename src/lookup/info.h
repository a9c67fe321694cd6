/**
 * What is known about an endpoint: where it is, and a text of its own ("user data"). This is what is published and what a
 * lookup finds. Owner: whoever holds the struct by value; end with kith__lookup_info_dispose. Source: spec/03, 2 and 2.6.
 */
#ifndef KITH_LOOKUP_INFO_H
#define KITH_LOOKUP_INFO_H

#include "lookup/addr.h"

struct kith_lookup_info {
    struct kith_endpoint_addr addr;
    uint8_t user_data_size;                      /* 0: none */
    char user_data[KITH_USER_DATA_SIZE_MAX + 1]; /* UTF-8, with an end */
};

/** Nothing known yet. */
void kith__lookup_info_init(struct kith_lookup_info *info, const struct kith_mem *mem, const struct kith_id *id);
void kith__lookup_info_dispose(struct kith_lookup_info *info);
/** Makes `to` (initialised) an equal copy. NOMEM leaves `to` as it was. */
KITH_MUST_USE int kith__lookup_info_copy(const struct kith_lookup_info *from, struct kith_lookup_info *to);
bool kith__lookup_info_equal(const struct kith_lookup_info *a, const struct kith_lookup_info *b);
/** Sets the text. TOO_LARGE, PARSE (not UTF-8, or with a zero byte): the old one stays. */
KITH_MUST_USE int kith__lookup_info_set_user_data(struct kith_lookup_info *info, struct kith_slice text);

/** What goes out: spec/03, 12.1. */
enum kith_lookup_filter {
    KITH_LOOKUP_RELAYS, /* relays only: the default of pkarr and DHT */
    KITH_LOOKUP_DIRECT, /* all but relays */
    KITH_LOOKUP_ALL,    /* but for link-local addresses, whose scope is lost */
    KITH_LOOKUP_LOCAL,  /* these, too: of the local network, whose service tells each on its own link */
    KITH_LOOKUP_NONE    /* the service is told nothing, ever */
};
/** Makes `to` (initialised, another one) a copy with only what passes; user data stay but with NONE. NOMEM leaves `to` as it was. */
KITH_MUST_USE int kith__lookup_info_filter(const struct kith_lookup_info *from, enum kith_lookup_filter filter,
                                           struct kith_lookup_info *to);
/**
 * Adds from's addresses to those of `to`. What is too much (KITH_ADDRS_MAX) is left out and counted: to->addr.ignored_count.
 * NOMEM: some may have been added.
 */
KITH_MUST_USE int kith__lookup_info_add_addrs(const struct kith_lookup_info *from, struct kith_lookup_info *to);
/** True if there is nothing to publish: no address and no user data. */
bool kith__lookup_info_is_empty(const struct kith_lookup_info *info);

#endif
