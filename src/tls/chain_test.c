/* What is said of a chain and a key that do not fit. */
#include "tls/chain.h"

#include "base/mem.h"
#include "base/test.h"
#include "tls/selfmade.h"

enum { NOW_S = 1790000000 };

/** An authority and a server of it. */
struct pair {
    struct kith_selfmade authority, server;
};

static void pair_make(struct pair *pair)
{
    static const char *const names[] = { "a.test" };
    const struct kith_selfmade none = { { .mem = kith_mem_default() }, { .mem = kith_mem_default() } };

    *pair = (struct pair) { none, none };
    KITH_CHECK_EQ(kith__selfmade_authority(kith_mem_default(), "tests", NOW_S, &pair->authority), 0);
    KITH_CHECK_EQ(kith__selfmade_server(kith_mem_default(), kith__buf_slice(&pair->authority.certificate),
                                        kith__buf_slice(&pair->authority.key), names, 1, NOW_S, &pair->server),
                  0);
}

static void pair_dispose(struct pair *pair)
{
    kith__selfmade_dispose(&pair->authority);
    kith__selfmade_dispose(&pair->server);
}

/* The fault of these texts one after the other, with this key; *number as reported. */
static int fault_of(const struct kith_buf *first, const struct kith_buf *second, const struct kith_buf *key,
                    size_t *number)
{
    struct kith_chain_report report = { 99, 99 };
    struct kith_buf chain = { .mem = kith_mem_default() };

    KITH_CHECK_EQ(kith__buf_append(&chain, first->ptr, first->size), 0);
    if (second != NULL)
        KITH_CHECK_EQ(kith__buf_append(&chain, second->ptr, second->size), 0);
    KITH_CHECK_EQ(kith__chain_check(kith__buf_slice(&chain), kith__buf_slice(key), &report), 0);
    kith__buf_dispose(&chain);
    *number = report.number;
    return report.fault;
}

KITH_TEST(chain_and_key_that_fit_are_fine_in_their_order_only)
{
    struct pair one, two;
    size_t number;

    pair_make(&one);
    pair_make(&two);
    KITH_CHECK_EQ(fault_of(&one.server.certificate, NULL, &one.server.key, &number), KITH_CHAIN_FINE);
    KITH_CHECK_EQ(fault_of(&one.server.certificate, &one.authority.certificate, &one.server.key, &number),
                  KITH_CHAIN_FINE);
    KITH_CHECK_EQ(fault_of(&one.authority.certificate, &one.server.certificate, &one.server.key, &number),
                  KITH_CHAIN_KEY_OF_LATER);
    KITH_CHECK_EQ(number, 2);
    KITH_CHECK_EQ(fault_of(&one.server.certificate, &two.authority.certificate, &one.server.key, &number),
                  KITH_CHAIN_ORDER);
    KITH_CHECK_EQ(number, 2);
    KITH_CHECK_EQ(fault_of(&one.server.certificate, &one.authority.certificate, &two.server.key, &number),
                  KITH_CHAIN_FOREIGN_KEY);
    pair_dispose(&one);
    pair_dispose(&two);
}

KITH_TEST(chain_says_which_of_the_two_files_is_something_else)
{
    struct kith_buf noise = { .mem = kith_mem_default() };
    struct pair pair;
    size_t number;

    pair_make(&pair);
    KITH_CHECK_EQ(fault_of(&noise, NULL, &pair.server.key, &number), KITH_CHAIN_NO_CERTIFICATE);
    KITH_CHECK_EQ(fault_of(&pair.server.certificate, NULL, &noise, &number), KITH_CHAIN_NO_KEY);
    KITH_CHECK_EQ(kith__buf_append(&noise, "no PEM", 6), 0);
    KITH_CHECK_EQ(fault_of(&noise, NULL, &pair.server.key, &number), KITH_CHAIN_NO_CERTIFICATE);
    KITH_CHECK_EQ(fault_of(&pair.server.certificate, NULL, &noise, &number), KITH_CHAIN_NO_KEY);
    KITH_CHECK_EQ(fault_of(&pair.server.key, NULL, &pair.server.certificate, &number), KITH_CHAIN_NO_CERTIFICATE);
    KITH_CHECK_EQ(fault_of(&pair.server.certificate, NULL, &pair.server.certificate, &number), KITH_CHAIN_NO_KEY);
    kith__buf_dispose(&noise);
    pair_dispose(&pair);
}
