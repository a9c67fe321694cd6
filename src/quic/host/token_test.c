#include "quic/host/token.h"

#include "base/random.h"
#include "base/test.h"
#include <string.h>

struct world {
    struct kith_test_mem tm;
    struct kith_prng prng;
    struct kith_random random;
    struct kith_token_keys keys;
    struct kith_sockaddr remote;
    uint8_t token[KITH_TOKEN_SIZE_MAX];
    size_t size;
    struct kith_token_info info;
};

static void set_up(struct world *w)
{
    memset(w, 0, sizeof *w);
    kith__test_mem_init(&w->tm, 0);
    kith__prng_init(&w->prng, 11);
    w->random = kith__prng_source(&w->prng);
    w->remote = (struct kith_sockaddr) { .ip = { 192, 0, 2, 1 }, .port = 4433, .family = KITH_FAMILY_V4 };
    kith__token_keys_init(&w->keys, &w->tm.mem, &w->random);
}

static void tear_down(struct world *w)
{
    kith__token_keys_dispose(&w->keys);
    kith__token_keys_dispose(&w->keys);
    KITH_CHECK_EQ(w->tm.live, 0);
}

static void seal_retry(struct world *w, uint64_t now_ns)
{
    static const uint8_t odcid[20] = { 9, 8, 7 };

    KITH_CHECK_EQ(kith__token_seal_retry(&w->keys, &w->random, &w->remote, (struct kith_slice) { odcid, sizeof odcid },
                                         now_ns, w->token, &w->size),
                  0);
}

static void seal_new(struct world *w, uint64_t now_ns)
{
    KITH_CHECK_EQ(kith__token_seal_new(&w->keys, &w->random, &w->remote, now_ns, w->token, &w->size), 0);
}

static int open_token(struct world *w, uint64_t now_ns)
{
    kith__token_open(&w->keys, &w->remote, (struct kith_slice) { w->token, w->size }, now_ns, &w->info);
    return w->info.verdict;
}

KITH_TEST(token_retry_gives_back_the_first_id)
{
    struct world w;

    set_up(&w);
    seal_retry(&w, 100);
    KITH_CHECK(w.size <= KITH_TOKEN_SIZE_MAX);
    KITH_CHECK_EQ(open_token(&w, 200), KITH_TOKEN_VALID);
    KITH_CHECK(w.info.is_retry);
    KITH_CHECK_EQ(w.info.issued_ns, 100);
    KITH_CHECK_EQ(w.info.odcid_size, 20);
    KITH_CHECK_EQ(w.info.odcid[2], 7);
    tear_down(&w);
}

KITH_TEST(token_is_bound_to_address_and_retry_to_the_port_too)
{
    struct world w;

    set_up(&w);
    seal_retry(&w, 0);
    w.remote.port++;
    KITH_CHECK_EQ(open_token(&w, 0), KITH_TOKEN_OTHER_ADDRESS);
    KITH_CHECK(w.info.is_retry);
    seal_new(&w, 0);
    w.remote.ip[3]++;
    KITH_CHECK_EQ(open_token(&w, 0), KITH_TOKEN_OTHER_ADDRESS);
    w.remote.ip[3]--;
    w.remote.family = KITH_FAMILY_V6;
    KITH_CHECK_EQ(open_token(&w, 0), KITH_TOKEN_OTHER_ADDRESS);
    w.remote.family = KITH_FAMILY_V4;
    w.remote.port++;
    KITH_CHECK_EQ(open_token(&w, 0), KITH_TOKEN_VALID);
    KITH_CHECK(!w.info.is_retry);
    tear_down(&w);
}

KITH_TEST(token_expires)
{
    struct world w;

    set_up(&w);
    seal_retry(&w, 1000);
    KITH_CHECK_EQ(open_token(&w, 1000 + KITH_TOKEN_RETRY_LIFETIME_NS), KITH_TOKEN_VALID);
    KITH_CHECK_EQ(open_token(&w, 1001 + KITH_TOKEN_RETRY_LIFETIME_NS), KITH_TOKEN_EXPIRED);
    KITH_CHECK_EQ(open_token(&w, 999), KITH_TOKEN_EXPIRED); /* from the future */
    seal_new(&w, 1000);
    KITH_CHECK_EQ(open_token(&w, 1001 + KITH_TOKEN_NEW_LIFETIME_NS), KITH_TOKEN_EXPIRED);
    KITH_CHECK_EQ(open_token(&w, 1000 + KITH_TOKEN_NEW_LIFETIME_NS), KITH_TOKEN_VALID);
    tear_down(&w);
}

KITH_TEST(token_of_another_host_or_changed_in_any_bit_is_not_ours)
{
    struct world w, other;

    set_up(&w);
    seal_retry(&w, 0);
    for (size_t bit = 0; bit < w.size * 8; bit++) {
        w.token[bit / 8] ^= (uint8_t)(1u << bit % 8);
        KITH_CHECK_EQ(open_token(&w, 0), KITH_TOKEN_NOT_OURS);
        w.token[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t size = w.size; w.size-- != 0;)
        KITH_CHECK(open_token(&w, 0) == KITH_TOKEN_NOT_OURS && size != w.size);
    set_up(&other);
    other.keys.secret[0] ^= 1;
    seal_new(&other, 0);
    memcpy(w.token, other.token, sizeof w.token);
    w.size = other.size;
    KITH_CHECK_EQ(open_token(&w, 0), KITH_TOKEN_NOT_OURS);
    tear_down(&w);
    tear_down(&other);
}

KITH_TEST(token_from_new_token_works_once_across_generations)
{
    struct world w;
    uint64_t late = KITH_TOKEN_NEW_LIFETIME_NS - 5;

    set_up(&w);
    seal_new(&w, 0);
    KITH_CHECK_EQ(open_token(&w, 0), KITH_TOKEN_VALID); /* the first generation begins */
    KITH_CHECK_EQ(open_token(&w, 1), KITH_TOKEN_REUSED);
    seal_new(&w, late);
    KITH_CHECK_EQ(open_token(&w, late), KITH_TOKEN_VALID);
    KITH_CHECK_EQ(open_token(&w, late + 10), KITH_TOKEN_REUSED); /* the second one has begun */
    KITH_CHECK_EQ(open_token(&w, late + KITH_TOKEN_NEW_LIFETIME_NS), KITH_TOKEN_REUSED);
    tear_down(&w);
}

KITH_TEST(token_log_is_bounded_and_fails_on_the_safe_side)
{
    struct world w;
    uint32_t valid = 0;
    uint64_t failing = 0;

    set_up(&w);
    w.keys.used.count = KITH_TOKEN_USED_MAX - 1000;
    for (int i = 0; i < 1100; i++) {
        seal_new(&w, 0);
        valid += open_token(&w, 0) == KITH_TOKEN_VALID;
    }
    KITH_CHECK(valid == 1000);
    tear_down(&w);
    set_up(&w);
    seal_new(&w, 0);
    /* Whatever allocation fails (the AEAD key, the log), the token is not taken; later it still is. */
    do {
        w.tm.fail_at = w.tm.calls + ++failing;
    } while (open_token(&w, 0) != KITH_TOKEN_VALID);
    KITH_CHECK(failing > 1 && w.tm.calls < w.tm.fail_at);
    tear_down(&w);
}
