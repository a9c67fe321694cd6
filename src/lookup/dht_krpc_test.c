#define _GNU_SOURCE /* memmem */
#include "lookup/dht_krpc.h"

#include "base/test.h"

#include <stdio.h>
#include <string.h>

static struct kith_slice text_of(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

static int read_text(const char *text, struct kith_krpc *out)
{
    return kith__krpc_read(text_of(text), out);
}

static void check_writes(const struct kith_krpc *message, const char *wanted, size_t wanted_size)
{
    uint8_t bytes[KITH_KRPC_SIZE_MAX];
    size_t size = 0;

    KITH_CHECK_EQ(kith__krpc_write(message, bytes, sizeof bytes, &size), 0);
    KITH_CHECK_EQ(size, wanted_size);
    KITH_CHECK_BYTES(bytes, wanted, wanted_size);
}

/** Id a0 .. b3, as in spec/03, 11. */
static struct kith_dht_id example_id(void)
{
    struct kith_dht_id id;

    for (size_t i = 0; i < sizeof id.bytes; i++)
        id.bytes[i] = (uint8_t)(0xa0 + i);
    return id;
}

KITH_TEST(krpc_get_is_as_real_clients_write_it)
{
    static const uint8_t target[20] = { 0xfd, 0x81, 0xa6, 0xdb, 0x64, 0xd6, 0xfa, 0xf7, 0xf7, 0x02,
                                        0xc0, 0x79, 0x71, 0xa8, 0x2c, 0x25, 0xc1, 0xdc, 0x3c, 0x90 };
    struct kith_krpc get = { .kind = KITH_KRPC_QUESTION,
                             .method = KITH_KRPC_GET,
                             .transaction = { (const uint8_t *)"\0\0\0\1", 4 },
                             .version = { (const uint8_t *)"RS\0\6", 4 },
                             .id = example_id(),
                             .has_target = true,
                             .is_read_only = true },
                     again;
    char wanted[128];
    size_t size = 0;

    memcpy(get.target.bytes, target, sizeof target);
    size = (size_t)sprintf(wanted, "d1:ad2:id20:");
    memcpy(wanted + size, get.id.bytes, 20);
    size += 20 + (size_t)sprintf(wanted + size + 20, "6:target20:");
    memcpy(wanted + size, target, 20);
    memcpy(wanted + size + 20,
           "e1:q3:get2:roi1e1:t4:\0\0\0\1"
           "1:v4:RS\0\6"
           "1:y1:qe",
           41);
    size += 20 + 41;
    check_writes(&get, wanted, size);
    KITH_CHECK_EQ(kith__krpc_read((struct kith_slice) { (uint8_t *)wanted, size }, &again), 0);
    KITH_CHECK(again.method == KITH_KRPC_GET && again.is_read_only && again.has_target);
    KITH_CHECK(kith__dht_id_equal(&again.target, &get.target) && kith__dht_id_equal(&again.id, &get.id));
}

KITH_TEST(krpc_put_has_its_arguments_in_order)
{
    struct kith_krpc put = { .kind = KITH_KRPC_QUESTION,
                             .method = KITH_KRPC_PUT,
                             .transaction = text_of("aa"),
                             .id = example_id(),
                             .has_target = true,
                             .target = example_id(),
                             .key = text_of("kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"),
                             .has_seq = true,
                             .seq = 5,
                             .signature = text_of("ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"),
                             .token = text_of("tok"),
                             .value_bytes = text_of("hello") };
    uint8_t bytes[KITH_KRPC_SIZE_MAX];
    struct kith_krpc again;
    const char *const order[] = { "2:id20:",     "1:k32:",       "3:seqi5e",  "3:sig64:",
                                  "6:target20:", "5:token3:tok", "1:v5:hello" };
    const uint8_t *at = bytes;
    size_t size = 0;

    KITH_CHECK_EQ(kith__krpc_write(&put, bytes, sizeof bytes, &size), 0);
    for (size_t i = 0; i < KITH_COUNT(order); i++) {
        at = memmem(at, size - (size_t)(at - bytes), order[i], strlen(order[i]));
        KITH_CHECK(at != NULL);
    }
    KITH_CHECK_EQ(kith__krpc_read((struct kith_slice) { bytes, size }, &again), 0);
    KITH_CHECK(again.has_seq && again.seq == 5 && again.key.size == 32 && again.signature.size == 64);
    KITH_CHECK(again.value.size == 7 && again.value_bytes.size == 5 && !again.has_cas && again.salt.ptr == NULL);
}

KITH_TEST(krpc_reads_the_examples_of_bep_5)
{
    struct kith_krpc message;

    KITH_CHECK_EQ(
        read_text("d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
                  &message),
        0);
    KITH_CHECK(message.kind == KITH_KRPC_QUESTION && message.method == KITH_KRPC_FIND_NODE && !message.is_read_only);
    KITH_CHECK_EQ(
        read_text("d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
                  &message),
        0);
    KITH_CHECK(message.method == KITH_KRPC_GET_PEERS && message.has_target);
    KITH_CHECK_EQ(
        read_text("d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
                  &message),
        0);
    KITH_CHECK(message.kind == KITH_KRPC_ANSWER && message.token.size == 8);
    KITH_CHECK_EQ(read_text("d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee", &message), 0);
    KITH_CHECK(message.kind == KITH_KRPC_ERROR && message.error_code == 201 && message.error_text.size == 23);
}

KITH_TEST(krpc_refuses_what_is_no_message)
{
    static const char *const bad[] = {
        "",
        "i1e",
        "le",
        "de",
        "d1:t2:aae",                                                            /* no kind */
        "d1:y1:qe",                                                             /* no transaction */
        "d1:t0:1:y1:ee",                                                        /* an empty one */
        "d1:t17:aaaaaaaaaaaaaaaaa1:y1:ee",                                      /* too long a one */
        "d1:t2:aa1:y1:xe",                                                      /* another kind */
        "d1:q4:ping1:t2:aa1:y1:qe",                                             /* no arguments */
        "d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1:qe",              /* a short id */
        "d1:ad2:id20:abcdefghij0123456789e1:t2:aa1:y1:qe",                      /* no method */
        "d1:ad2:id20:abcdefghij0123456789e1:q3:get1:t2:aa1:y1:qe",              /* no target */
        "d1:ad2:id20:abcdefghij01234567896:target3:abce1:q3:get1:t2:aa1:y1:qe", /* a short one */
        "d1:rde1:t2:aa1:y1:re",                                                 /* no id */
        "d1:rl2:id20:abcdefghij0123456789e1:t2:aa1:y1:re",                      /* a list */
        "d1:rd2:id20:abcdefghij0123456789e1:t2:aa1:y1:r",                       /* cut off */
    };
    struct kith_krpc message;

    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK(read_text(bad[i], &message) != 0);
}

KITH_TEST(krpc_tolerates_what_does_not_matter)
{
    struct kith_krpc message;

    /* Keys in any order, unknown ones, bytes behind, a value that is no string, parts of a wrong size, a put without target. */
    KITH_CHECK_EQ(read_text("d1:y1:r1:t2:aa1:rd1:vli1ee1:k2:xx3:sig1:y5:nodes28:000000000000000000001234560x1:zi1e"
                            "2:id20:abcdefghij0123456789e2:ip4:abcd4:what2:noegarbage",
                            &message),
                  0);
    KITH_CHECK(message.value.size == 5 && message.value_bytes.ptr == NULL && message.key.ptr == NULL);
    KITH_CHECK(message.signature.ptr == NULL && kith__krpc_node_count(&message) == 1 &&
               message.ip.family == KITH_FAMILY_NONE);
    KITH_CHECK_EQ(read_text("d1:ad2:id20:abcdefghij0123456789e1:q3:put1:t2:aa1:y1:qe", &message), 0);
    KITH_CHECK(!message.has_target);
    KITH_CHECK_EQ(read_text("d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t2:aa1:y1:qe", &message), 0);
    KITH_CHECK_EQ(message.method, KITH_KRPC_METHODS);
    KITH_CHECK_EQ(read_text("d1:e3:bad1:t2:aa1:y1:ee", &message), 0);
    KITH_CHECK_EQ(message.error_code, 0);
}

KITH_TEST(krpc_answers_tell_the_address_of_who_asked)
{
    struct kith_krpc answer = { .kind = KITH_KRPC_ANSWER,
                                .transaction = text_of("aa"),
                                .id = example_id(),
                                .ip = { .ip = { 1, 2, 3, 4 }, .port = 258, .family = KITH_FAMILY_V4 } },
                     again;
    uint8_t bytes[128];
    size_t size = 0;

    KITH_CHECK_EQ(kith__krpc_write(&answer, bytes, sizeof bytes, &size), 0);
    KITH_CHECK_BYTES(bytes,
                     "d2:ip6:\1\2\3\4\1\2"
                     "1:rd2:id20:",
                     24);
    KITH_CHECK_EQ(kith__krpc_read((struct kith_slice) { bytes, size }, &again), 0);
    KITH_CHECK(kith_sockaddr_equal(&again.ip, &answer.ip));
    KITH_CHECK_EQ(kith__krpc_write(&answer, bytes, size - 1, &size), KITH_ERR_TOO_LARGE);
}
