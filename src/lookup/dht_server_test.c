#include "lookup/dht_server.h"

#include "base/mem.h"
#include "base/random.h"
#include "base/test.h"
#include "crypto/sign.h"

#include <stdio.h>
#include <string.h>

struct fixture {
    struct kith_test_mem mem;
    struct kith_prng prng;
    struct kith_random random;
    struct kith_dht_stats stats;
    struct kith_dht_server server;
    struct kith_sockaddr from;
    uint64_t now_ns;
    /* what a put borrows */
    struct kith_id key;
    uint8_t token[KITH_DHT_OUR_TOKEN_SIZE], signature[KITH_SIGNATURE_SIZE], value[1200];
};

static void open_fixture(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    kith__test_mem_init(&fixture->mem, 0);
    kith__prng_init(&fixture->prng, 3);
    fixture->random = kith__prng_source(&fixture->prng);
    fixture->now_ns = KITH_NS_PER_S;
    KITH_CHECK_EQ(kith_sockaddr_parse("9.8.7.6:5", &fixture->from), 0);
    KITH_CHECK_EQ(
        kith__dht_server_init(&fixture->server, &fixture->mem.mem, &fixture->random, &fixture->stats, fixture->now_ns),
        0);
}

static void close_fixture(struct fixture *fixture)
{
    kith__dht_server_dispose(&fixture->server);
    KITH_CHECK_EQ(fixture->mem.live, 0);
}

/** A put of text under a key, signed, with a token. salt may be NULL. */
static struct kith_krpc make_put(struct fixture *fixture, uint8_t seed, int64_t seq, const char *text, const char *salt)
{
    struct kith_krpc put = { .kind = KITH_KRPC_QUESTION, .method = KITH_KRPC_PUT, .has_seq = true, .seq = seq };
    struct kith_secret secret = { .bytes = { seed } };
    struct kith_keypair pair;
    uint8_t bytes[1500];

    kith__keypair_init(&pair, &secret);
    fixture->key = pair.id;
    put.value = (struct kith_slice) { fixture->value, (size_t)snprintf((char *)fixture->value, sizeof fixture->value,
                                                                       "%zu:%s", strlen(text), text) };
    if (salt != NULL)
        put.salt = (struct kith_slice) { (const uint8_t *)salt, strlen(salt) };
    kith__sign(&pair, (struct kith_slice) { bytes, kith__dht_signed_bytes(put.salt, seq, put.value, bytes) },
               fixture->signature);
    put.key = (struct kith_slice) { fixture->key.bytes, sizeof fixture->key.bytes };
    put.signature = (struct kith_slice) { fixture->signature, sizeof fixture->signature };
    kith__dht_server_token(&fixture->server, &fixture->from, fixture->now_ns, fixture->token);
    put.token = (struct kith_slice) { fixture->token, sizeof fixture->token };
    return put;
}

static int store(struct fixture *fixture, const struct kith_krpc *put)
{
    const char *text = NULL;
    int code = kith__dht_server_put(&fixture->server, put, &fixture->from, fixture->now_ns, &text);

    KITH_CHECK_EQ(code != 0, text != NULL);
    return code;
}

static const struct kith_dht_value *find(struct fixture *fixture, uint8_t seed)
{
    struct kith_secret secret = { .bytes = { seed } };
    struct kith_id key = kith__secret_id(&secret);
    struct kith_dht_id target = kith__dht_id_of_key(&key);

    return kith__dht_server_find(&fixture->server, &target, fixture->now_ns);
}

KITH_TEST(dht_signed_bytes_are_those_of_bep_44)
{
    uint8_t bytes[256];
    struct kith_slice value = { (const uint8_t *)"12:Hello World!", 15 };

    KITH_CHECK_EQ(kith__dht_signed_bytes((struct kith_slice) { NULL, 0 }, 1, value, bytes), 26);
    KITH_CHECK_BYTES(bytes, "3:seqi1e1:v12:Hello World!", 26);
    KITH_CHECK_EQ(kith__dht_signed_bytes((struct kith_slice) { (const uint8_t *)"foobar", 6 }, 1, value, bytes), 40);
    KITH_CHECK_BYTES(bytes, "4:salt6:foobar3:seqi1e1:v12:Hello World!", 40);
}

KITH_TEST(dht_server_keeps_the_newest_value_of_a_key)
{
    struct fixture fixture;
    struct kith_krpc put;

    open_fixture(&fixture);
    put = make_put(&fixture, 1, 5, "first", NULL);
    KITH_CHECK_EQ(store(&fixture, &put), 0);
    put = make_put(&fixture, 1, 4, "older", NULL);
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_OLD_SEQ);
    put = make_put(&fixture, 1, 5, "first", NULL);
    KITH_CHECK_EQ(store(&fixture, &put), 0);
    put = make_put(&fixture, 1, 5, "aaaaa", NULL);
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_OLD_SEQ);
    put = make_put(&fixture, 1, 5, "other", NULL);
    KITH_CHECK_EQ(store(&fixture, &put), 0); /* the larger one of two with one seq */
    put = make_put(&fixture, 1, 6, "newer", NULL);
    put.has_cas = true;
    put.cas = 4;
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_CAS_MISMATCH);
    put.cas = 5;
    KITH_CHECK_EQ(store(&fixture, &put), 0);
    KITH_CHECK_EQ(find(&fixture, 1)->seq, 6);
    KITH_CHECK_BYTES(find(&fixture, 1)->bytes, "5:newer", 7);
    KITH_CHECK(find(&fixture, 2) == NULL);
    KITH_CHECK_EQ(fixture.server.value_count, 1);
    KITH_CHECK_EQ(fixture.stats.stored, 4);
    KITH_CHECK_EQ(fixture.stats.stored_refused, 3);
    close_fixture(&fixture);
}

KITH_TEST(dht_server_refuses_puts_that_are_not_right)
{
    struct fixture fixture;
    struct kith_krpc put;
    char large[1002], salt[66];

    memset(large, 'x', sizeof large);
    large[1001] = '\0';
    memset(salt, 's', sizeof salt);
    salt[65] = '\0';
    open_fixture(&fixture);
    put = make_put(&fixture, 1, 5, "text", NULL);
    put.seq = 6;
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_BAD_SIGNATURE);
    put = make_put(&fixture, 1, 5, "text", NULL);
    put.has_target = true;
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_PROTOCOL);
    put.target = kith__dht_id_of_key(&fixture.key);
    KITH_CHECK_EQ(store(&fixture, &put), 0);
    put.has_seq = false;
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_PROTOCOL);
    put = make_put(&fixture, 1, 5, "text", NULL);
    put.signature.ptr = NULL;
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_PROTOCOL);
    put = make_put(&fixture, 1, 5, "text", NULL);
    put.value.ptr = NULL;
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_PROTOCOL);
    put = make_put(&fixture, 1, 5, large, NULL);
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_VALUE_TOO_BIG);
    large[1000] = '\0';
    put = make_put(&fixture, 1, 5, large, NULL);
    KITH_CHECK_EQ(store(&fixture, &put), 0); /* as much as a pkarr packet may have */
    put = make_put(&fixture, 1, 5, "text", salt);
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_SALT_TOO_BIG);
    salt[64] = '\0';
    put = make_put(&fixture, 1, 5, "text", salt);
    KITH_CHECK_EQ(store(&fixture, &put), 0);
    KITH_CHECK_EQ(fixture.server.value_count, 2); /* with a salt it lies elsewhere */
    put = make_put(&fixture, 1, 5, "text", NULL);
    put.key.ptr = NULL; /* immutable: where its SHA-1 says */
    KITH_CHECK_EQ(store(&fixture, &put), 0);
    {
        struct kith_dht_id target = kith__dht_id_of_bytes(put.value);

        KITH_CHECK(!kith__dht_server_find(&fixture.server, &target, fixture.now_ns)->is_mutable);
    }
    close_fixture(&fixture);
}

KITH_TEST(dht_server_tokens_are_of_one_address_and_grow_old)
{
    struct fixture fixture;
    struct kith_krpc put;
    const char *text;

    open_fixture(&fixture);
    put = make_put(&fixture, 1, 5, "text", NULL);
    for (size_t i = 0; i < 2; i++) {
        struct kith_sockaddr other = fixture.from;

        if (i == 0)
            other.port++;
        else
            other.ip[3]++;
        KITH_CHECK_EQ(kith__dht_server_put(&fixture.server, &put, &other, fixture.now_ns, &text), KITH_KRPC_PROTOCOL);
    }
    put.token.size--;
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_PROTOCOL);
    put.token.size++;
    fixture.now_ns += KITH_DHT_TOKEN_NS;
    KITH_CHECK_EQ(store(&fixture, &put), 0);
    fixture.now_ns += KITH_DHT_TOKEN_NS;
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_PROTOCOL);
    put = make_put(&fixture, 1, 5, "text", NULL);
    fixture.now_ns += 3 * KITH_DHT_TOKEN_NS; /* nobody asked in between */
    KITH_CHECK_EQ(store(&fixture, &put), KITH_KRPC_PROTOCOL);
    close_fixture(&fixture);
}

KITH_TEST(dht_server_forgets_in_time_and_when_it_is_full)
{
    struct fixture fixture;
    struct kith_krpc put;

    open_fixture(&fixture);
    put = make_put(&fixture, 1, 5, "text", NULL);
    KITH_CHECK_EQ(store(&fixture, &put), 0);
    fixture.now_ns += KITH_DHT_VALUE_NS - 1;
    KITH_CHECK(find(&fixture, 1) != NULL);
    fixture.now_ns += 1;
    KITH_CHECK(find(&fixture, 1) == NULL);
    KITH_CHECK_EQ(fixture.stats.stored_expired, 1);
    /* One address may have so many, and loses its own oldest. */
    for (int i = 0; i <= KITH_DHT_VALUES_PER_IP_MAX; i++) {
        put = make_put(&fixture, (uint8_t)(i + 1), 5, "text", NULL);
        KITH_CHECK_EQ(store(&fixture, &put), 0);
        fixture.now_ns += KITH_NS_PER_MS;
    }
    KITH_CHECK_EQ(fixture.server.value_count, KITH_DHT_VALUES_PER_IP_MAX);
    KITH_CHECK(find(&fixture, 1) == NULL && find(&fixture, 2) != NULL);
    put = make_put(&fixture, 2, 6, "text", NULL);
    KITH_CHECK_EQ(store(&fixture, &put), 0); /* a newer one takes no place */
    KITH_CHECK_EQ(fixture.stats.stored_evicted, 1);
    /* All together: values that are not mutable are cheap to make. */
    for (int i = 0; i < KITH_DHT_VALUES_MAX; i++) {
        char text[16];

        snprintf(text, sizeof text, "text %d", i);
        fixture.from.ip[1] = (uint8_t)(i / KITH_DHT_VALUES_PER_IP_MAX + 100);
        put = make_put(&fixture, 1, 1, text, NULL);
        put.key.ptr = NULL;
        KITH_CHECK_EQ(store(&fixture, &put), 0);
    }
    KITH_CHECK_EQ(fixture.server.value_count, KITH_DHT_VALUES_MAX);
    KITH_CHECK(find(&fixture, 2) == NULL);
    close_fixture(&fixture);
}

KITH_TEST(dht_server_bounds_what_one_address_asks_and_what_all_ask)
{
    struct fixture fixture;
    struct kith_sockaddr other, local;
    size_t admitted = 0;

    open_fixture(&fixture);
    other = fixture.from;
    other.ip[0] = 77;
    for (int i = 0; i < 1000; i++)
        admitted += kith__dht_server_admit(&fixture.server, &fixture.from, fixture.now_ns);
    KITH_CHECK_EQ(admitted, KITH_DHT_RATE_PER_IP_BURST);
    KITH_CHECK(kith__dht_server_admit(&fixture.server, &other, fixture.now_ns));
    admitted = 0;
    for (int i = 0; i < 1000; i++) {
        fixture.now_ns += 10 * KITH_NS_PER_MS;
        admitted += kith__dht_server_admit(&fixture.server, &fixture.from, fixture.now_ns);
    }
    KITH_CHECK(admitted >= 10 * KITH_DHT_RATE_PER_IP - 1 && admitted <= 10 * KITH_DHT_RATE_PER_IP + 1);
    fixture.now_ns += 3600 * KITH_NS_PER_S;
    admitted = 0;
    KITH_CHECK_EQ(kith_sockaddr_parse("127.0.0.1:5", &local), 0); /* for these only the rate of all counts */
    for (int i = 0; i < 20000; i++)
        admitted += kith__dht_server_admit(&fixture.server, &local, fixture.now_ns);
    KITH_CHECK_EQ(admitted, KITH_DHT_RATE_ALL_BURST);
    close_fixture(&fixture);
}

KITH_TEST(dht_server_without_memory_counts_what_it_does_not_store)
{
    for (uint64_t fail_at = 2; fail_at < 6; fail_at++) {
        struct fixture fixture;
        struct kith_krpc put;
        int code;

        open_fixture(&fixture);
        fixture.mem.fail_at = fixture.mem.calls + fail_at - 1;
        put = make_put(&fixture, 1, 5, "text", NULL);
        code = store(&fixture, &put);
        KITH_CHECK_EQ(code, fail_at <= 3 ? KITH_KRPC_SERVER : 0); /* the value, the map */
        KITH_CHECK_EQ(fixture.stats.stored, code == 0);
        KITH_CHECK_EQ(fixture.stats.stored_refused, code != 0);
        put = make_put(&fixture, 1, 6, "text", NULL);
        KITH_CHECK_EQ(store(&fixture, &put), 0);
        close_fixture(&fixture);
    }
}
