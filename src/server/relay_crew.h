/**
 * A whole relay on threads: workers, the house, what they share. The implementation of kith/relay.h, whose functions say what these
 * do; errors come with a sentence.
 */
#ifndef KITH_SERVER_RELAY_CREW_H
#define KITH_SERVER_RELAY_CREW_H

#include "server/relay_setup.h"
#include <kith/relay.h>

/** version: of the program, static; for pages. */
KITH_MUST_USE int kith__relay_crew_new(const struct kith_relay_options *options, const char *version,
                                       struct kith_relay **out, struct kith_server_why *why);
/** See kith_relay_check. */
KITH_MUST_USE int kith__relay_crew_check(const struct kith_relay_options *options, struct kith_server_why *why);
/** See kith_relay_stop. */
int kith__relay_crew_stop(struct kith_relay *relay, uint64_t limit_ns);

KITH_MUST_USE int kith__relay_crew_set_access(struct kith_relay *relay, const struct kith_relay_access_rules *rules,
                                              struct kith_server_why *why);
KITH_MUST_USE int kith__relay_crew_set_quota(struct kith_relay *relay, const struct kith_relay_quota *quota,
                                             struct kith_server_why *why);
KITH_MUST_USE int kith__relay_crew_disconnect(struct kith_relay *relay, const struct kith_id *id);
KITH_MUST_USE int kith__relay_crew_answer(struct kith_relay *relay, uint64_t connection, bool is_allowed,
                                          const char *reason);
void kith__relay_crew_reload(struct kith_relay *relay);
size_t kith__relay_crew_addresses(const struct kith_relay *relay, enum kith_relay_address kind,
                                  struct kith_sockaddr *out, size_t capacity);
bool kith__relay_crew_check_alive(struct kith_relay *relay);
void kith__relay_crew_stats(const struct kith_relay *relay, struct kith_relay_stats *out);
/** Appends. NOMEM. */
KITH_MUST_USE int kith__relay_crew_metrics(const struct kith_relay *relay, struct kith_buf *out);
/** Appends. STATE, NOMEM. */
KITH_MUST_USE int kith__relay_crew_authority(const struct kith_relay *relay, struct kith_buf *out);
/** The news; borrowed. */
struct kith_relay_news_queue *kith__relay_crew_news(const struct kith_relay *relay);
const struct kith_mem *kith__relay_crew_mem(const struct kith_relay *relay);
/** kith__rt_now for limits. */
uint64_t kith__relay_crew_now(const struct kith_relay *relay);

#endif
