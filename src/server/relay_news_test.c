/* News of clients: order, bounds, questions first. */
#include "server/relay_news.h"

#include "base/test.h"
#include <poll.h>

static bool is_readable(const struct kith_relay_news_queue *queue)
{
    struct pollfd poll_on = { .fd = kith__relay_news_fd(queue), .events = POLLIN };

    return poll(&poll_on, 1, 0) == 1;
}

KITH_TEST(news_come_in_order_and_the_descriptor_tells)
{
    struct kith_relay_news_queue *queue;
    struct kith_relay_news news = { .kind = KITH_RELAY_CONNECTED };

    KITH_CHECK_EQ(kith__relay_news_new(kith_mem_default(), &queue), 0);
    KITH_CHECK(!is_readable(queue));
    KITH_CHECK_EQ(kith__relay_news_take(queue, 0, &news), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith__relay_news_take(queue, 1, &news), KITH_ERR_TIMEOUT);
    for (uint64_t i = 0; i < 3; i++) {
        news.connection = i;
        KITH_CHECK(kith__relay_news_put(queue, &news));
    }
    KITH_CHECK(is_readable(queue));
    for (uint64_t i = 0; i < 3; i++) {
        KITH_CHECK_EQ(kith__relay_news_take(queue, 0, &news), 0);
        KITH_CHECK_EQ(news.connection, i);
    }
    KITH_CHECK(!is_readable(queue));
    kith__relay_news_free(queue);
}

KITH_TEST(a_question_finds_room_where_other_news_wait)
{
    struct kith_relay_news_queue *queue;
    struct kith_relay_news news = { .kind = KITH_RELAY_CONNECTED };

    KITH_CHECK_EQ(kith__relay_news_new(kith_mem_default(), &queue), 0);
    for (uint64_t i = 0; i < KITH_RELAY_NEWS_MAX; i++) {
        news.connection = i;
        KITH_CHECK(kith__relay_news_put(queue, &news));
    }
    KITH_CHECK(!kith__relay_news_put(queue, &news));
    news = (struct kith_relay_news) { .kind = KITH_RELAY_ASKED, .connection = 9999 };
    for (uint64_t i = 0; i < KITH_RELAY_NEWS_MAX; i++)
        KITH_CHECK(kith__relay_news_put(queue, &news));
    KITH_CHECK(!kith__relay_news_put(queue, &news)); /* nothing but questions now */
    KITH_CHECK_EQ(kith__relay_news_take(queue, 0, &news), 0);
    KITH_CHECK_EQ(news.kind, KITH_RELAY_ASKED);
    kith__relay_news_free(queue);
}
