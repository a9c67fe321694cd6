/**
 * What happened to clients, from all workers to the program: a bounded queue with a descriptor to poll. Questions (ASKED) always
 * find room before other news, so that a program which never fetches CONNECTED does not lock clients out by that.
 *
 * Thread rules: any thread, but new and free.
 */
#ifndef KITH_SERVER_RELAY_NEWS_H
#define KITH_SERVER_RELAY_NEWS_H

#include "rt/thread.h"
#include <kith/relay.h>

struct kith_relay_news_queue;

/** Errors: NOMEM, LIMIT (descriptors). */
KITH_MUST_USE int kith__relay_news_new(const struct kith_mem *mem, struct kith_relay_news_queue **out);
/** NULL is fine. */
void kith__relay_news_free(struct kith_relay_news_queue *queue);
/** Adds one. When KITH_RELAY_NEWS_MAX wait, the oldest that is no question makes room for a question. False: dropped. */
bool kith__relay_news_put(struct kith_relay_news_queue *queue, const struct kith_relay_news *news);
/** Takes the oldest, waiting until until_ns (kith__rt_now; 0: not at all). AGAIN, TIMEOUT. */
KITH_MUST_USE int kith__relay_news_take(struct kith_relay_news_queue *queue, uint64_t until_ns,
                                        struct kith_relay_news *out);
/** Readable while news wait. */
int kith__relay_news_fd(const struct kith_relay_news_queue *queue);

#endif
