#include "lookup/pkarr.h"

#include "base/mem.h"
#include "base/test.h"
#include "codec/base32.h"
#include "codec/dns.h"
#include "crypto/sign.h"
#include "lookup/attrs.h"
#include <stdio.h>

static struct kith_slice text_of(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

static size_t bytes_of(const char *hex, uint8_t *out)
{
    size_t size = strlen(hex) / 2;

    KITH_CHECK_EQ(kith__hex_decode(hex, 2 * size, out), 0);
    return size;
}

/** The secret of the examples: 00 01 .. 1f. */
static struct kith_secret example_secret(void)
{
    struct kith_secret secret;

    for (size_t i = 0; i < sizeof secret.bytes; i++)
        secret.bytes[i] = (uint8_t)i;
    return secret;
}

static void example_info(struct kith_lookup_info *info, const char *const *attributes, size_t count)
{
    struct kith_secret secret = example_secret();
    struct kith_id id = kith__secret_id(&secret);
    size_t ignored = 0;

    kith__lookup_info_init(info, kith_mem_default(), &id);
    for (size_t i = 0; i < count; i++)
        KITH_CHECK_EQ(kith__attrs_take(info, text_of(attributes[i]), &ignored), 0);
    KITH_CHECK_EQ(ignored, 0);
}

static void make(const struct kith_lookup_info *info, uint64_t timestamp_us, struct kith_pkarr *out, size_t *left_out)
{
    struct kith_secret secret = example_secret();

    KITH_CHECK_EQ(kith__pkarr_make(info, &secret, timestamp_us, KITH_PKARR_TTL_S, kith_mem_default(), out, left_out),
                  0);
}

/** The examples of spec/03, 5.1, as bodies of PUT. */
static const struct example {
    const char *attributes[4];
    size_t count;
    uint64_t timestamp_us;
    size_t size;
    const char *payload;
} examples[] = {
    { { "relay=http://127.0.0.1:3340/" },
      1,
      1795432028452851,
      183,
      "d05716ee4a53e07dcc88be5e918121f756a5233efc4adc65dc80d25e72ed552c"
      "6a332ce20c865e932d3ea018e1d2b1f73cf96682751a844794bb001f01b58701"
      "000660ef984637f3"
      "000080000000000100000000055f69726f683479716f6f787839753361656d68386d6f3577637171313679756675366a6974"
      "6f7571316f347a613735316467657231696767687900001000010000001e001d1c72656c61793d687474703a2f2f3132372e"
      "302e302e313a333334302f" },
    { { "relay=https://relay.example.com/", "addr=203.0.113.7:4433", "addr=[2001:db8::1]:4433", "user-data=foobar" },
      4,
      1767225600000000,
      286,
      "312bdbabf91bbbd99a3c27c7960a7ceba40277ae74346ce2a5d2a16d80a88503"
      "5eb781f919cd7a1a624ab3991f5643eaf7380a2308b8209a840e44b62b1dd80d"
      "0006474846204000"
      "000080000000000400000000055f69726f683479716f6f787839753361656d68386d6f3577637171313679756675366a6974"
      "6f7571316f347a613735316467657231696767687900001000010000001e00212072656c61793d68747470733a2f2f72656c"
      "61792e6578616d706c652e636f6d2fc00c001000010000001e001615616464723d3230332e302e3131332e373a34343333c0"
      "0c001000010000001e001817616464723d5b323030313a6462383a3a315d3a34343333c00c001000010000001e0011107573"
      "65722d646174613d666f6f626172" },
    { { NULL },
      0,
      1767225600000000,
      84,
      "d6faec16c147a6a9abac62f818813766f4a2826c996a165c8615e3f6d4058561"
      "b3b686f50888b51d7b657cef6fd756b25119dde25935d8b0df1a1a3374bded0b"
      "0006474846204000"
      "000080000000000000000000" },
};

KITH_TEST(signed_packets_have_the_bytes_of_real_peers)
{
    for (size_t i = 0; i < KITH_COUNT(examples); i++) {
        const struct example *example = &examples[i];
        struct kith_lookup_info info;
        struct kith_pkarr packet;
        uint8_t expected[KITH_PKARR_SIZE_MAX];
        size_t left_out = 1;

        example_info(&info, example->attributes, example->count);
        make(&info, example->timestamp_us, &packet, &left_out);
        KITH_CHECK_EQ(left_out, 0);
        KITH_CHECK_EQ(kith__pkarr_payload(&packet).size, example->size);
        KITH_CHECK_EQ(bytes_of(example->payload, expected), example->size);
        KITH_CHECK_BYTES(kith__pkarr_payload(&packet).ptr, expected, example->size);
        KITH_CHECK_EQ(kith__pkarr_timestamp(&packet), example->timestamp_us);
        kith__lookup_info_dispose(&info);
    }
}

KITH_TEST(signed_packets_of_real_peers_say_where_they_are)
{
    for (size_t i = 0; i < KITH_COUNT(examples); i++) {
        const struct example *example = &examples[i];
        struct kith_lookup_info expected, info;
        struct kith_pkarr packet, whole;
        uint8_t payload[KITH_PKARR_SIZE_MAX];
        size_t size = bytes_of(example->payload, payload), ignored = 1;

        example_info(&expected, example->attributes, example->count);
        KITH_CHECK_EQ(kith__pkarr_read(&expected.addr.id, (struct kith_slice) { payload, size }, &packet), 0);
        KITH_CHECK_EQ(kith__pkarr_read(NULL, (struct kith_slice) { packet.bytes, packet.size }, &whole), 0);
        KITH_CHECK_BYTES(whole.bytes, packet.bytes, packet.size);
        KITH_CHECK_EQ(kith__pkarr_info(&packet, kith_mem_default(), &info, &ignored), 0);
        KITH_CHECK(kith__lookup_info_equal(&info, &expected));
        KITH_CHECK_EQ(ignored, 0);
        kith__lookup_info_dispose(&info);
        kith__lookup_info_dispose(&expected);
    }
}

KITH_TEST(signed_bytes_are_those_of_bep_44)
{
    static const char expected[] = "3:seqi1795432028452851e1:v3:abc";
    uint8_t out[64 + KITH_PKARR_DNS_SIZE_MAX];
    size_t size = kith__pkarr_signed_bytes(1795432028452851, text_of("abc"), out);

    KITH_CHECK_EQ(size, strlen(expected));
    KITH_CHECK_BYTES(out, expected, size);
    KITH_CHECK_EQ(kith__pkarr_signed_bytes(UINT64_MAX, text_of(""), out), 32); /* the longest number there is */
}

KITH_TEST(a_packet_with_any_bit_changed_is_refused)
{
    uint8_t bytes[KITH_PKARR_SIZE_MAX];
    struct kith_lookup_info info;
    struct kith_pkarr packet, out;
    size_t left_out;

    example_info(&info, examples[1].attributes, examples[1].count);
    make(&info, examples[1].timestamp_us, &packet, &left_out);
    memcpy(bytes, packet.bytes, packet.size);
    for (size_t bit = 0; bit < 8u * packet.size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        KITH_CHECK_EQ(kith__pkarr_read(NULL, (struct kith_slice) { bytes, packet.size }, &out), KITH_ERR_CRYPTO);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t size = 0; size < packet.size; size++)
        KITH_CHECK_EQ(kith__pkarr_read(NULL, (struct kith_slice) { bytes, size }, &out),
                      size < KITH_PKARR_HEAD_SIZE ? KITH_ERR_TRUNCATED : KITH_ERR_CRYPTO);
    kith__lookup_info_dispose(&info);
}

/** A packet of any message, well signed. */
static struct kith_pkarr signed_packet(uint64_t timestamp_us, struct kith_slice dns)
{
    uint8_t message[64 + KITH_PKARR_DNS_SIZE_MAX];
    struct kith_secret secret = example_secret();
    struct kith_pkarr packet = { .size = (uint16_t)(KITH_PKARR_HEAD_SIZE + dns.size) };
    struct kith_writer w = kith__writer(packet.bytes + 96, 8);
    struct kith_keypair pair;

    kith__keypair_init(&pair, &secret);
    memcpy(packet.bytes, pair.id.bytes, KITH_ID_SIZE);
    KITH_CHECK_EQ(kith__write_u64(&w, timestamp_us), 0);
    if (dns.size != 0)
        memcpy(packet.bytes + KITH_PKARR_HEAD_SIZE, dns.ptr, dns.size);
    kith__sign(&pair, (struct kith_slice) { message, kith__pkarr_signed_bytes(timestamp_us, dns, message) },
               packet.bytes + KITH_ID_SIZE);
    kith__keypair_wipe(&pair);
    return packet;
}

KITH_TEST(messages_that_real_peers_refuse_are_refused)
{
    static const struct {
        const char *dns;
        int err;
    } cases[] = {
        { "000080000000000000000000", 0 },
        { "000080000000000000000000ffff", 0 },                   /* bytes behind the sections */
        { "00008000000000010000000000001000010000001e0000", 0 }, /* the root's, without a string */
        { "00008000000000010000000000001080010000001e0000", 0 }, /* the cache-flush bit */
        { "00008000000000010000000000001000fe0000001e0000", 0 }, /* class NONE */
        { "000080000001000000000000000010"
          "00ff",
          0 },                                                   /* a question of class ANY */
        { "00008000000000010000000000002904d0000000000000", 0 }, /* OPT has a size for a class */
        { "", KITH_ERR_PARSE },                                  /* no header */
        { "00008000000000000000", KITH_ERR_PARSE },
        { "000080400000000000000000", KITH_ERR_PARSE },                       /* Z */
        { "000080000000000100000000", KITH_ERR_PARSE },                       /* fewer records than it says */
        { "00008000000000010000000000001000050000001e0000", KITH_ERR_PARSE }, /* class 5 */
        { "00008000000000010000000000001000ff0000001e0000", KITH_ERR_PARSE }, /* class ANY of a record */
        { "0000800000000000000000010000100005"
          "0000001e0000",
          KITH_ERR_PARSE },                                                     /* also in other sections */
        { "0000800000010000000000000000100005", KITH_ERR_PARSE },               /* and in questions */
        { "000080000000000100000000c00c001000010000001e0000", KITH_ERR_PARSE }, /* a name that never ends */
        { "00008000000000010000000000001000010000001e0001", KITH_ERR_PARSE },   /* data cut */
    };
    uint8_t dns[128];
    struct kith_pkarr packet, out;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        packet = signed_packet(1, (struct kith_slice) { dns, bytes_of(cases[i].dns, dns) });
        KITH_CHECK_EQ(kith__pkarr_read(NULL, (struct kith_slice) { packet.bytes, packet.size }, &out), cases[i].err);
    }
}

KITH_TEST(packets_larger_than_the_limit_are_refused)
{
    uint8_t dns[KITH_PKARR_DNS_SIZE_MAX] = { 0, 0, 0x80 }, bytes[KITH_PKARR_SIZE_MAX + 1] = { 0 };
    struct kith_pkarr packet = signed_packet(1, (struct kith_slice) { dns, sizeof dns }), out;

    KITH_CHECK_EQ(packet.size, KITH_PKARR_SIZE_MAX);
    memcpy(bytes, packet.bytes, packet.size);
    KITH_CHECK_EQ(kith__pkarr_read(NULL, (struct kith_slice) { bytes, packet.size }, &out), 0);
    KITH_CHECK_EQ(kith__pkarr_read(NULL, (struct kith_slice) { bytes, sizeof bytes }, &out), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__pkarr_read(&(struct kith_id) { { 0 } }, (struct kith_slice) { bytes, sizeof bytes - 31 }, &out),
                  KITH_ERR_TOO_LARGE);
}

KITH_TEST(a_key_that_is_no_point_or_signs_without_a_secret_is_refused)
{
    struct kith_pkarr out;
    uint8_t payload[84] = { 1 }; /* R of small order, S = 0: fits for a key of small order */
    struct kith_id no_point = { { 2 } }, small = { { 1 } };

    payload[74] = 0x80;
    KITH_CHECK_EQ(kith__pkarr_read(&no_point, (struct kith_slice) { payload, sizeof payload }, &out), KITH_ERR_CRYPTO);
    KITH_CHECK_EQ(kith__pkarr_read(&small, (struct kith_slice) { payload, sizeof payload }, &out), KITH_ERR_CRYPTO);
}

KITH_TEST(only_text_records_of_the_owner_itself_count)
{
    struct kith_secret secret = example_secret();
    struct kith_id id = kith__secret_id(&secret);
    uint8_t dns[KITH_PKARR_DNS_SIZE_MAX];
    struct kith_dns_writer w;
    struct kith_dns_name name, other, upper;
    struct kith_dns_owner owner = { &name, KITH_DNS_ANSWER, KITH_DNS_IN, 30 };
    struct kith_slice parts[] = { text_of("addr=127.0."), text_of("0.1:80") }, text = text_of("addr=192.0.2.1:1");
    struct kith_slice unknown = text_of("future=1"), bad_utf8 = text_of("user-data=\xff");
    struct kith_lookup_info info;
    struct kith_pkarr packet;
    size_t ignored;
    char formatted[KITH_SOCKADDR_TEXT_SIZE];

    kith__attrs_name(&id, &name);
    kith__dns_name_strip(&name, 1, &other);
    upper = name;
    upper.bytes[1] = '_';
    upper.bytes[2] = 'I';
    KITH_CHECK_EQ(kith__dns_writer_init(&w, dns, sizeof dns, &(struct kith_dns_header) { .flags = KITH_DNS_QR }), 0);
    w.compress = false;
    owner.name = &other;
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, &text, 1), 0);
    owner.name = &upper;
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, &text, 1), 0);
    owner.name = &name;
    KITH_CHECK_EQ(kith__dns_write_raw(&w, &owner, 99,
                                      (struct kith_slice) { (const uint8_t *)"\x10"
                                                                             "addr=192.0.2.1:1",
                                                            17 }),
                  0);
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, &unknown, 1), 0);
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, &bad_utf8, 1), 0);
    KITH_CHECK_EQ(kith__dns_write_raw(&w, &owner, KITH_DNS_TXT, (struct kith_slice) { (const uint8_t *)"\x7f", 1 }), 0);
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, NULL, 0), 0);
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, parts, 2), 0);
    owner.section = KITH_DNS_ADDITIONAL;
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, &text, 1), 0);
    packet = signed_packet(1, (struct kith_slice) { dns, kith__dns_writer_finish(&w) });
    KITH_CHECK_EQ(kith__pkarr_read(NULL, (struct kith_slice) { packet.bytes, packet.size }, &packet), 0);
    KITH_CHECK_EQ(kith__pkarr_info(&packet, kith_mem_default(), &info, &ignored), 0);
    KITH_CHECK_EQ(info.addr.count, 1);
    KITH_CHECK_STR(kith_sockaddr_format(&info.addr.addrs[0].ip, formatted), "127.0.0.1:80");
    KITH_CHECK_EQ(info.user_data_size, 0);
    KITH_CHECK_EQ(ignored, 4);
    kith__lookup_info_dispose(&info);
}

KITH_TEST(what_does_not_fit_is_left_out_and_user_data_stay)
{
    struct kith_lookup_info info, read;
    struct kith_pkarr packet;
    char text[64];
    size_t left_out, ignored = 0;

    example_info(&info, (const char *const[]) { "relay=https://relay.example.com/", "user-data=foobar" }, 2);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "addr=203.0.113.%u:44330", i);
        KITH_CHECK_EQ(kith__attrs_take(&info, text_of(text), &ignored), 0);
    }
    make(&info, 1, &packet, &left_out);
    KITH_CHECK(packet.size <= KITH_PKARR_SIZE_MAX && packet.size > KITH_PKARR_SIZE_MAX - 40);
    KITH_CHECK_EQ(kith__pkarr_read(NULL, (struct kith_slice) { packet.bytes, packet.size }, &packet), 0);
    KITH_CHECK_EQ(kith__pkarr_info(&packet, kith_mem_default(), &read, &ignored), 0);
    KITH_CHECK_EQ(read.addr.count + left_out, 101);
    KITH_CHECK(read.addr.count > 20);
    KITH_CHECK_EQ(kith__endpoint_addr_first_relay(&read.addr).size, 26);
    KITH_CHECK_STR(read.user_data, "foobar");
    for (size_t i = 1; i < read.addr.count; i++) /* the first ones */
        KITH_CHECK_EQ(read.addr.addrs[i].ip.ip[3], i - 1);
    kith__lookup_info_dispose(&info);
    kith__lookup_info_dispose(&read);
}

KITH_TEST(user_data_of_any_size_have_room_beside_too_many_addresses)
{
    char user_data[10 + KITH_USER_DATA_SIZE_MAX] = "user-data=", text[64];

    memset(user_data + 10, 'x', KITH_USER_DATA_SIZE_MAX);
    for (size_t size = 1; size <= KITH_USER_DATA_SIZE_MAX; size++) {
        struct kith_lookup_info info, read;
        struct kith_pkarr packet;
        size_t left_out, ignored = 0;

        example_info(&info, NULL, 0);
        for (unsigned i = 0; i < 50; i++) {
            snprintf(text, sizeof text, "addr=203.0.113.%u:44330", i);
            KITH_CHECK_EQ(kith__attrs_take(&info, text_of(text), &ignored), 0);
        }
        KITH_CHECK_EQ(kith__attrs_take(&info, (struct kith_slice) { (uint8_t *)user_data, 10 + size }, &ignored), 0);
        make(&info, 1, &packet, &left_out);
        KITH_CHECK_EQ(kith__pkarr_info(&packet, kith_mem_default(), &read, &ignored), 0);
        KITH_CHECK_EQ(read.user_data_size, size);
        KITH_CHECK_EQ(read.addr.count + left_out, 50);
        kith__lookup_info_dispose(&info);
        kith__lookup_info_dispose(&read);
    }
}

KITH_TEST(a_relay_with_a_long_url_takes_several_strings)
{
    struct kith_lookup_info info, read;
    struct kith_pkarr packet;
    char text[1200] = "relay=https://relay.example.com/";
    size_t left_out, ignored = 0, begin = strlen(text);

    for (size_t size = 240; size < sizeof text; size += 5) {
        memset(text + begin, 'x', size - begin);
        example_info(&info, NULL, 0);
        KITH_CHECK_EQ(kith__attrs_take(&info, (struct kith_slice) { (uint8_t *)text, size }, &ignored), 0);
        make(&info, 1, &packet, &left_out);
        KITH_CHECK_EQ(left_out, 83 + size + (size + 254) / 255 - 1 > KITH_PKARR_DNS_SIZE_MAX);
        KITH_CHECK_EQ(kith__pkarr_info(&packet, kith_mem_default(), &read, &ignored), 0);
        KITH_CHECK_EQ(kith__lookup_info_equal(&info, &read), left_out == 0);
        kith__lookup_info_dispose(&info);
        kith__lookup_info_dispose(&read);
    }
}

KITH_TEST(the_later_packet_is_newer_and_of_equal_ones_the_greater)
{
    static const char *const ordered[] = { "a", "ab", "b" };
    struct kith_pkarr packets[6];

    for (size_t i = 0; i < 6; i++)
        packets[i] = signed_packet(1 + i / 3 * 1000, text_of(ordered[i % 3]));
    for (size_t a = 0; a < 6; a++)
        for (size_t b = 0; b < 6; b++)
            KITH_CHECK_EQ(kith__pkarr_is_newer(&packets[a], &packets[b]), a > b);
}

KITH_TEST(packets_survive_every_failed_allocation)
{
    struct kith_secret secret = example_secret();
    uint64_t fail_at = 0;
    struct kith_test_mem mem;

    do {
        struct kith_lookup_info info, read;
        struct kith_pkarr packet;
        size_t left_out, ignored;
        int err;

        example_info(&info, examples[1].attributes, examples[1].count);
        kith__test_mem_init(&mem, ++fail_at);
        err = kith__pkarr_make(&info, &secret, 1, KITH_PKARR_TTL_S, &mem.mem, &packet, &left_out);
        if (err == 0)
            err = kith__pkarr_info(&packet, &mem.mem, &read, &ignored);
        KITH_CHECK_EQ(err, mem.calls >= fail_at ? KITH_ERR_NOMEM : 0);
        if (err == 0)
            kith__lookup_info_dispose(&read);
        kith__lookup_info_dispose(&info);
        KITH_CHECK_EQ(mem.live, 0);
    } while (mem.calls >= fail_at);
    KITH_CHECK(fail_at > 3);
}
