#include "base/mem.h"
#include "base/test.h"
#include "relay/access.h"
#include <string.h>

static struct kith_slice text(const char *s)
{
    return (struct kith_slice) { (const uint8_t *)s, strlen(s) };
}

static struct kith_id id_of(uint8_t byte)
{
    struct kith_id id;

    memset(id.bytes, byte, sizeof id.bytes);
    return id;
}

static enum kith_relay_verdict verdict(const struct kith_relay_access *access, uint8_t byte)
{
    struct kith_id id = id_of(byte);

    return kith__relay_access_check(access, &id, false);
}

KITH_TEST(relay_access_of_lists_is_what_they_say)
{
    struct kith_id ids[] = { id_of(9), id_of(3), id_of(200), id_of(3) };
    struct kith_relay_access *access;

    KITH_CHECK_EQ(verdict(NULL, 1), KITH_RELAY_ALLOWED);
    for (int mode = KITH_RELAY_ACCESS_ALLOW; mode <= KITH_RELAY_ACCESS_DENY; mode++) {
        bool is_allow = mode == KITH_RELAY_ACCESS_ALLOW;

        KITH_CHECK_EQ(kith__relay_access_new(
                          kith_mem_default(),
                          &(struct kith_relay_access_options) { .mode = mode, .ids = ids, .id_count = 4 }, &access),
                      0);
        for (unsigned byte = 0; byte < 256; byte++) {
            bool is_listed = byte == 9 || byte == 3 || byte == 200;

            KITH_CHECK_EQ(verdict(access, (uint8_t)byte),
                          is_listed == is_allow ? KITH_RELAY_ALLOWED : KITH_RELAY_DENIED);
        }
        kith__relay_access_free(access);
    }
    KITH_CHECK_EQ(kith__relay_access_new(kith_mem_default(),
                                         &(struct kith_relay_access_options) { .mode = KITH_RELAY_ACCESS_ALLOW },
                                         &access),
                  0);
    KITH_CHECK_EQ(verdict(access, 1), KITH_RELAY_DENIED); /* an empty list allows nobody */
    kith__relay_access_free(access);
    KITH_CHECK_EQ(kith__relay_access_new(kith_mem_default(),
                                         &(struct kith_relay_access_options) { .mode = KITH_RELAY_ACCESS_ASK },
                                         &access),
                  0);
    KITH_CHECK_EQ(verdict(access, 1), KITH_RELAY_ASK);
    kith__relay_access_free(access);
}

KITH_TEST(relay_access_by_token_takes_each_of_them_and_nothing_else)
{
    struct kith_slice tokens[] = { text("token-a"), text("token-bb") };
    struct kith_relay_access_options options = { .mode = KITH_RELAY_ACCESS_TOKEN, .tokens = tokens, .token_count = 2 };
    struct kith_relay_access *access;
    struct kith_id id = id_of(1);

    KITH_CHECK_EQ(kith__relay_access_new(kith_mem_default(), &options, &access), 0);
    KITH_CHECK(kith__relay_access_knows_token(access, text("token-a")));
    KITH_CHECK(kith__relay_access_knows_token(access, text("token-bb")));
    KITH_CHECK(!kith__relay_access_knows_token(access, text("token-b")));
    KITH_CHECK(!kith__relay_access_knows_token(access, text("token-a ")));
    KITH_CHECK(!kith__relay_access_knows_token(access, text("Token-a")));
    KITH_CHECK(!kith__relay_access_knows_token(access, text("")));
    KITH_CHECK(!kith__relay_access_knows_token(NULL, text("token-a")));
    KITH_CHECK_EQ(kith__relay_access_check(access, &id, true), KITH_RELAY_ALLOWED);
    KITH_CHECK_EQ(kith__relay_access_check(access, &id, false), KITH_RELAY_DENIED);
    kith__relay_access_free(access);
    options.token_count = 0;
    KITH_CHECK_EQ(kith__relay_access_new(kith_mem_default(), &options, &access), KITH_ERR_INVALID);
    options.token_count = 2;
    tokens[1] = text("");
    KITH_CHECK_EQ(kith__relay_access_new(kith_mem_default(), &options, &access), KITH_ERR_INVALID);
}

KITH_TEST(relay_access_survives_failing_allocations)
{
    struct kith_slice tokens[] = { text("token-a") };
    struct kith_id ids[] = { id_of(1) };
    int err = -1;

    for (uint64_t fail_at = 1; err != 0; fail_at++) {
        struct kith_test_mem mem;
        struct kith_relay_access *access = NULL;

        kith__test_mem_init(&mem, fail_at);
        err = kith__relay_access_new(
            &mem.mem,
            &(struct kith_relay_access_options) { .mode = KITH_RELAY_ACCESS_TOKEN, .tokens = tokens, .token_count = 1 },
            &access);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        kith__relay_access_free(access);
        access = NULL;
        if (kith__relay_access_new(
                &mem.mem,
                &(struct kith_relay_access_options) { .mode = KITH_RELAY_ACCESS_DENY, .ids = ids, .id_count = 1 },
                &access) == 0)
            kith__relay_access_free(access);
        KITH_CHECK_EQ(mem.live, 0);
    }
}
