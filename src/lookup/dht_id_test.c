#include "lookup/dht_id.h"

#include "base/test.h"
#include "codec/base32.h"

#include <string.h>

static struct kith_dht_id id_of(const char *hex)
{
    struct kith_dht_id id;

    KITH_CHECK_EQ(kith__hex_decode(hex, 40, id.bytes), 0);
    return id;
}

static struct kith_sockaddr addr_of(const char *text)
{
    struct kith_sockaddr addr;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &addr), 0);
    return addr;
}

KITH_TEST(dht_target_of_a_key_is_its_sha1)
{
    struct kith_id key;
    struct kith_dht_id wanted = id_of("fd81a6db64d6faf7f702c07971a82c25c1dc3c90"), target;

    /* spec/03, 11: the key of its section 1.1. */
    KITH_CHECK_EQ(kith__hex_decode("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8", 64, key.bytes),
                  0);
    target = kith__dht_id_of_key(&key);
    KITH_CHECK_BYTES(target.bytes, wanted.bytes, sizeof wanted.bytes);
}

KITH_TEST(dht_ids_fit_addresses_as_bep_42_says)
{
    /* The examples of BEP 42; of the third byte only five bits count. */
    static const struct {
        const char *addr, *id;
    } cases[] = {
        { "124.31.75.21:1", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401" },
        { "21.75.31.124:1", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256" },
        { "65.23.51.170:1", "a5d43220bc8f112a3d426c84764f8c2a1150e616" },
        { "84.124.73.14:1", "1b0321dd1bb1fe518101ceef99462b947a01ff41" },
        { "43.213.53.83:1", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a" },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_sockaddr addr = addr_of(cases[i].addr);
        struct kith_dht_id id = id_of(cases[i].id), made = { .bytes = { 0 } };

        KITH_CHECK(kith__dht_id_is_secure(&id, &addr));
        id.bytes[2] ^= 8;
        KITH_CHECK(!kith__dht_id_is_secure(&id, &addr));
        id.bytes[2] ^= 8 | 7; /* the lower three are free */
        KITH_CHECK(kith__dht_id_is_secure(&id, &addr));
        addr.ip[3] ^= 1;
        KITH_CHECK(!kith__dht_id_is_secure(&id, &addr));
        made.bytes[KITH_DHT_ID_SIZE - 1] = (uint8_t)(i * 77);
        kith__dht_id_secure(&made, &addr);
        KITH_CHECK(kith__dht_id_is_secure(&made, &addr));
        addr = addr_of("192.168.1.1:1");
        KITH_CHECK(kith__dht_id_is_secure(&made, &addr)); /* local addresses may have any */
    }
}

KITH_TEST(dht_distance_is_exclusive_or)
{
    struct kith_dht_id target = id_of("8000000000000000000000000000000000000000");
    struct kith_dht_id near = id_of("8000000000000000000000000000000000000002");
    struct kith_dht_id far = id_of("0000000000000000000000000000000000000000");

    KITH_CHECK(kith__dht_id_compare(&target, &near, &far) < 0 && kith__dht_id_compare(&target, &far, &near) > 0);
    KITH_CHECK_EQ(kith__dht_id_compare(&target, &near, &near), 0);
    KITH_CHECK_EQ(kith__dht_id_prefix(&target, &near), 158);
    KITH_CHECK_EQ(kith__dht_id_prefix(&target, &far), 0);
    KITH_CHECK_EQ(kith__dht_id_prefix(&far, &far), KITH_DHT_ID_BITS);
}

KITH_TEST(dht_addresses_that_lead_nowhere_are_told_apart)
{
    static const struct {
        const char *addr;
        bool is_local, is_usable;
    } cases[] = {
        { "8.8.8.8:53", false, true },   { "10.0.0.1:1", true, true },        { "127.0.0.1:6881", true, true },
        { "172.16.0.1:1", true, true },  { "172.32.0.1:1", false, true },     { "192.168.255.1:1", true, true },
        { "169.254.0.1:1", true, true }, { "100.64.0.1:1", true, true },      { "100.128.0.1:1", false, true },
        { "0.0.0.0:1", false, false },   { "224.0.0.1:1", false, false },     { "255.255.255.255:1", false, false },
        { "8.8.8.8:0", false, false },   { "[2001:db8::1]:1", false, false },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_sockaddr addr = addr_of(cases[i].addr);

        KITH_CHECK_EQ(kith__dht_addr_is_usable(&addr), cases[i].is_usable);
        if (addr.family == KITH_FAMILY_V4)
            KITH_CHECK_EQ(kith__dht_addr_is_local(&addr), cases[i].is_local);
    }
}

KITH_TEST(dht_nodes_have_26_bytes)
{
    struct kith_dht_node node = { id_of("0102030405060708090a0b0c0d0e0f1011121314"), addr_of("1.2.3.4:258") }, again;
    uint8_t bytes[KITH_DHT_NODE_SIZE];

    kith__dht_node_write(&node, bytes);
    KITH_CHECK_BYTES(bytes + 20, "\1\2\3\4\1\2", 6);
    again = kith__dht_node_read(bytes);
    KITH_CHECK(kith__dht_id_equal(&again.id, &node.id) && kith_sockaddr_equal(&again.addr, &node.addr));
}
