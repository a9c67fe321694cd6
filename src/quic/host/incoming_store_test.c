#include "quic/host/incoming_store.h"

#include "base/mem.h"
#include "base/test.h"

static const struct kith_sockaddr local = { .family = KITH_FAMILY_V4, .port = 1 };
static const struct kith_sockaddr remote = { .family = KITH_FAMILY_V4, .port = 2 };

static struct kith_slice key(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

static int push(struct kith_incoming_store *store, struct kith_incoming_entry *entry, size_t size)
{
    static const uint8_t bytes[1000] = { 42 };

    return kith__incoming_store_push(store, entry, &local, &remote, 1, (struct kith_slice) { bytes, size }, 9);
}

KITH_TEST(incoming_store_keeps_clients_and_datagrams_in_order)
{
    struct kith_test_mem tm;
    struct kith_incoming_store store;
    struct kith_incoming_entry a = { 0 }, b = { 0 };
    struct kith_incoming_datagram *datagram;

    kith__test_mem_init(&tm, 0);
    kith__incoming_store_init(&store, &tm.mem, 5, 10, 10000, 10000);
    KITH_CHECK_EQ(kith__incoming_store_add(&store, &a, key("aaaaaaaa")), 0);
    KITH_CHECK_EQ(kith__incoming_store_add(&store, &b, key("bbbbbbbb")), 0);
    KITH_CHECK(kith__incoming_store_find(&store, key("bbbbbbbb")) == &b);
    KITH_CHECK(kith__incoming_store_find(&store, key("cccccccc")) == NULL);
    KITH_CHECK(kith__incoming_store_first(&store) == &a);
    KITH_CHECK_EQ(push(&store, &a, 10), 0);
    KITH_CHECK_EQ(push(&store, &a, 20), 0);
    datagram = kith__incoming_store_pop(&store, &a);
    KITH_CHECK_EQ(datagram->size, 10);
    KITH_CHECK_EQ(datagram->bytes[0], 42);
    KITH_CHECK_EQ(datagram->remote.port, 2);
    KITH_CHECK_EQ(datagram->received_ns, 9);
    kith__free(store.mem, datagram);
    kith__incoming_store_remove(&store, &a);
    kith__incoming_store_remove(&store, &a);
    KITH_CHECK(kith__incoming_store_first(&store) == &b);
    KITH_CHECK(kith__incoming_store_find(&store, key("aaaaaaaa")) == NULL);
    KITH_CHECK_EQ(store.size, 0);
    kith__incoming_store_remove(&store, &b);
    kith__incoming_store_dispose(&store);
    KITH_CHECK_EQ(tm.live, 0);
}

KITH_TEST(incoming_store_has_three_bounds)
{
    struct kith_incoming_store store;
    struct kith_incoming_entry a = { 0 }, b = { 0 }, c = { 0 };

    kith__incoming_store_init(&store, kith_mem_default(), 5, 2, 500, 800);
    KITH_CHECK_EQ(kith__incoming_store_add(&store, &a, key("a")), 0);
    KITH_CHECK_EQ(kith__incoming_store_add(&store, &b, key("a")), KITH_ERR_EXISTS);
    KITH_CHECK_EQ(kith__incoming_store_add(&store, &b, key("b")), 0);
    KITH_CHECK_EQ(kith__incoming_store_add(&store, &c, key("c")), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(push(&store, &a, 500 - KITH_INCOMING_OVERHEAD + 1), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(push(&store, &a, 500 - KITH_INCOMING_OVERHEAD), 0);
    KITH_CHECK_EQ(push(&store, &a, 0), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(push(&store, &b, 300 - KITH_INCOMING_OVERHEAD + 1), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(push(&store, &b, 300 - KITH_INCOMING_OVERHEAD), 0);
    kith__incoming_store_remove(&store, &a);
    KITH_CHECK_EQ(push(&store, &b, 100), 0);
    kith__incoming_store_remove(&store, &b);
    kith__incoming_store_dispose(&store);
}

KITH_TEST(incoming_store_without_memory_stays_as_it_was)
{
    for (uint64_t fail_at = 1; fail_at <= 2; fail_at++) {
        struct kith_test_mem tm;
        struct kith_incoming_store store;
        struct kith_incoming_entry a = { 0 };

        kith__test_mem_init(&tm, fail_at);
        kith__incoming_store_init(&store, &tm.mem, 5, 2, 500, 800);
        if (fail_at == 1) {
            KITH_CHECK_EQ(kith__incoming_store_add(&store, &a, key("a")), KITH_ERR_NOMEM);
            KITH_CHECK_EQ(store.count, 0);
        } else {
            KITH_CHECK_EQ(kith__incoming_store_add(&store, &a, key("a")), 0);
            KITH_CHECK_EQ(push(&store, &a, 5), KITH_ERR_NOMEM);
            KITH_CHECK_EQ(store.size, 0);
        }
        kith__incoming_store_remove(&store, &a);
        kith__incoming_store_dispose(&store);
        KITH_CHECK_EQ(tm.live, 0);
    }
}
