#include "base/mem.h"
#include "base/test.h"
#include "codec/base32.h"
#include "codec/postcard.h"
#include "lookup/addr.h"
#include <string.h>

#define ID "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"

/** Bytes of a hex literal, which may contain spaces. */
static struct kith_slice bytes_of(const char *hex, uint8_t *out)
{
    char digits[1024];
    size_t size = 0;

    for (; *hex != '\0'; hex++)
        if (*hex != ' ')
            digits[size++] = *hex;
    KITH_ASSERT(kith__hex_decode(digits, size, out) == 0);
    return (struct kith_slice) { out, size / 2 };
}

static void start(struct kith_endpoint_addr *addr, const struct kith_mem *mem)
{
    struct kith_id id;

    bytes_of(ID, id.bytes);
    kith__endpoint_addr_init(addr, mem, &id);
}

static int add_ip(struct kith_endpoint_addr *addr, const char *text)
{
    struct kith_sockaddr ip;

    KITH_ASSERT(kith_sockaddr_parse(text, &ip) == 0);
    return kith__endpoint_addr_add_ip(addr, &ip);
}

static int add_relay(struct kith_endpoint_addr *addr, const char *url)
{
    return kith__endpoint_addr_add_relay(addr, url, strlen(url));
}

static void check_encoding(const struct kith_endpoint_addr *addr, enum kith_custom_form form, const char *hex)
{
    struct kith_buf buf;
    uint8_t want[512];
    struct kith_slice slice = bytes_of(hex, want);

    kith__buf_init(&buf, kith_mem_default());
    KITH_CHECK_EQ(kith__endpoint_addr_encode(addr, form, &buf), 0);
    KITH_CHECK_EQ(buf.size, slice.size);
    KITH_CHECK_BYTES(buf.ptr, want, buf.size);
    kith__buf_dispose(&buf);
}

static int decode(const char *hex, enum kith_custom_form form, struct kith_endpoint_addr *out, size_t *left)
{
    uint8_t bytes[512];
    struct kith_reader r = kith__reader_of_slice(bytes_of(hex, bytes));
    int err = kith__endpoint_addr_decode(&r, form, kith_mem_default(), out);

    *left = kith__reader_left(&r);
    return err;
}

/* The order of a real peer: spec/03, 2.1 and 3.2. */
KITH_TEST(addr_keeps_the_order_of_peers_and_no_duplicates)
{
    static const char hex[] = ID " 05 00 1a 68747470733a2f2f72656c61792e6578616d706c652e636f6d2f 01 00 0a000001 09 "
                                 "01 00 0a000001 0b 01 00 0a000002 09 01 01 20010db8000000000000000000000001 bb03";
    struct kith_endpoint_addr addr, back, copy;
    size_t left;

    start(&addr, kith_mem_default());
    KITH_CHECK_EQ(add_ip(&addr, "[2001:db8::1]:443"), 0);
    KITH_CHECK_EQ(add_ip(&addr, "10.0.0.2:9"), 0);
    KITH_CHECK_EQ(add_ip(&addr, "10.0.0.1:11"), 0);
    KITH_CHECK_EQ(add_relay(&addr, "https://RELAY.example.com:443"), 0);
    KITH_CHECK_EQ(add_ip(&addr, "10.0.0.1:9"), 0);
    KITH_CHECK_EQ(add_relay(&addr, "https://relay.example.com/"), 0);
    KITH_CHECK_EQ(add_ip(&addr, "10.0.0.1:9"), 0);
    KITH_CHECK_EQ(addr.count, 5);
    check_encoding(&addr, KITH_CUSTOM_FORM_NEW, hex);
    KITH_CHECK_EQ(kith__endpoint_addr_first_relay(&addr).size, 26);
    KITH_CHECK_EQ(decode(hex, KITH_CUSTOM_FORM_NEW, &back, &left), 0);
    KITH_CHECK_EQ(left, 0);
    KITH_CHECK(kith__endpoint_addr_equal(&addr, &back));
    kith__endpoint_addr_init(&copy, kith_mem_default(), NULL);
    KITH_CHECK(!kith__endpoint_addr_equal(&addr, &copy));
    KITH_CHECK_EQ(kith__endpoint_addr_copy(&back, &copy), 0);
    kith__endpoint_addr_dispose(&back);
    KITH_CHECK(kith__endpoint_addr_equal(&addr, &copy));
    kith__endpoint_addr_dispose(&addr);
    kith__endpoint_addr_dispose(&copy);
}

KITH_TEST(addr_is_read_in_any_order_and_normalised)
{
    struct kith_endpoint_addr addr;
    size_t left;

    /* 127.0.0.1:1 twice, its port once longer than necessary, then a relay that is not normalised, then a byte more. */
    KITH_CHECK_EQ(decode(ID " 03 01 00 7f000001 01 01 00 7f000001 8100 00 08 687474703a2f2f41 ff", KITH_CUSTOM_FORM_NEW,
                         &addr, &left),
                  0);
    KITH_CHECK_EQ(left, 1);
    KITH_CHECK_EQ(addr.count, 2);
    KITH_CHECK_BYTES(addr.addrs[0].bytes.ptr, "http://a/", 10);
    kith__endpoint_addr_dispose(&addr);
}

/* spec/03, 3.2, error behaviour. */
KITH_TEST(addr_that_peers_refuse_is_refused)
{
    static const struct {
        const char *hex;
        int err;
    } cases[] = {
        { "", KITH_ERR_TRUNCATED },
        { ID, KITH_ERR_TRUNCATED },
        { ID " 01", KITH_ERR_TRUNCATED },
        { ID " ffffffffffffffffff01", KITH_ERR_TRUNCATED },
        { ID " 02 01 00 7f000001 d209", KITH_ERR_TRUNCATED },
        { ID " 01 01 00 7f0000", KITH_ERR_TRUNCATED },
        { ID " 01 01 02 7f000001 d209", KITH_ERR_PARSE },
        { ID " 01 03 00 7f000001 d209", KITH_ERR_PARSE },
        { ID " 01 01 00 7f000001 808004", KITH_ERR_PARSE },
        { ID " 01 00 03 666f6f", KITH_ERR_PARSE },
        { ID " 01 00 01 ff", KITH_ERR_PARSE },
        { ID " 01 00 7f 666f6f", KITH_ERR_TRUNCATED },
        { "0200000000000000000000000000000000000000000000000000000000000000 00", KITH_ERR_CRYPTO },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_endpoint_addr addr;
        size_t left;

        KITH_CHECK_EQ(decode(cases[i].hex, KITH_CUSTOM_FORM_NEW, &addr, &left), cases[i].err);
    }
}

KITH_TEST(scope_of_ipv6_is_lost_on_the_wire_and_mapped_addresses_stay)
{
    struct kith_endpoint_addr addr;

    start(&addr, kith_mem_default());
    KITH_CHECK_EQ(add_ip(&addr, "[fe80::1%2]:80"), 0);
    KITH_CHECK_EQ(add_ip(&addr, "[::ffff:1.2.3.4]:80"), 0);
    check_encoding(&addr, KITH_CUSTOM_FORM_NEW,
                   ID " 02 01 01 00000000000000000000ffff01020304 50 01 01 fe800000000000000000000000000001 50");
    kith__endpoint_addr_dispose(&addr);
}

/* spec/03, 2.4. */
KITH_TEST(custom_addr_has_two_encodings)
{
    static const uint8_t mac[] = { 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6 };
    static const char old[] = ID " 01 02 20 00 06 a1b2c3d4e5f6 000000000000000000000000000000000000000000000000";
    uint8_t large[31] = { 1 };
    struct kith_endpoint_addr addr, back;
    size_t left;

    start(&addr, kith_mem_default());
    KITH_CHECK_EQ(kith__endpoint_addr_add_custom(&addr, 0x20, (struct kith_slice) { mac, sizeof mac }), 0);
    check_encoding(&addr, KITH_CUSTOM_FORM_NEW, ID " 01 02 20 06 a1b2c3d4e5f6");
    check_encoding(&addr, KITH_CUSTOM_FORM_OLD, old);
    KITH_CHECK_EQ(decode(old, KITH_CUSTOM_FORM_OLD, &back, &left), 0);
    KITH_CHECK_EQ(left, 0);
    KITH_CHECK(kith__endpoint_addr_equal(&addr, &back));
    kith__endpoint_addr_dispose(&back);
    kith__endpoint_addr_dispose(&addr);
    start(&addr, kith_mem_default());
    KITH_CHECK_EQ(kith__endpoint_addr_add_custom(&addr, 0x544f52, (struct kith_slice) { large, sizeof large }), 0);
    check_encoding(&addr, KITH_CUSTOM_FORM_OLD,
                   ID " 01 02 d29ed102 01 1f 01 000000000000000000000000000000000000000000000000000000000000");
    kith__endpoint_addr_dispose(&addr);
    /* The reference once crashed on an inline size over 30. */
    KITH_CHECK_EQ(decode(ID " 01 02 20 00 1f a1b2c3d4e5f6 000000000000000000000000000000000000000000000000",
                         KITH_CUSTOM_FORM_OLD, &back, &left),
                  KITH_ERR_PARSE);
}

KITH_TEST(custom_addr_has_a_text)
{
    static const char *const good[][2] = {
        { "544f52_aabb", NULL }, { "0_", NULL }, { "00Ff_00", "ff_00" }, { "ffffffffffffffff_01", NULL }
    };
    static const char *const bad[] = { "",   "_", "_aa", "1", "1_a", "1_AA", "1_aa_", "g_aa", "1ffffffffffffffff_00",
                                       "+1_" };

    for (size_t i = 0; i < KITH_COUNT(good); i++) {
        struct kith_endpoint_addr addr;
        struct kith_buf text;

        start(&addr, kith_mem_default());
        kith__buf_init(&text, kith_mem_default());
        KITH_CHECK_EQ(kith__endpoint_addr_add_custom_text(&addr, good[i][0], strlen(good[i][0])), 0);
        KITH_CHECK_EQ(kith__transport_addr_format(&addr.addrs[0], &text), 0);
        KITH_CHECK_EQ(kith__buf_append_byte(&text, 0), 0);
        KITH_CHECK_BYTES(text.ptr, "custom:", 7);
        KITH_CHECK_STR((const char *)text.ptr + 7, good[i][1] != NULL ? good[i][1] : good[i][0]);
        kith__buf_dispose(&text);
        kith__endpoint_addr_dispose(&addr);
    }
    for (size_t i = 0; i < KITH_COUNT(bad); i++) {
        struct kith_endpoint_addr addr;

        start(&addr, kith_mem_default());
        KITH_CHECK_EQ(kith__endpoint_addr_add_custom_text(&addr, bad[i], strlen(bad[i])), KITH_ERR_PARSE);
        KITH_CHECK_EQ(addr.count, 0);
    }
}

KITH_TEST(transport_addr_text_names_its_kind)
{
    struct kith_endpoint_addr addr;
    struct kith_buf text;

    start(&addr, kith_mem_default());
    kith__buf_init(&text, kith_mem_default());
    KITH_CHECK_EQ(add_relay(&addr, "http://a"), 0);
    KITH_CHECK_EQ(add_ip(&addr, "[::1]:80"), 0);
    KITH_CHECK_EQ(kith__transport_addr_format(&addr.addrs[0], &text), 0);
    KITH_CHECK_EQ(kith__transport_addr_format(&addr.addrs[1], &text), 0);
    KITH_CHECK_EQ(text.size, 15 + 11);
    KITH_CHECK_BYTES(text.ptr, "relay:http://a/ip:[::1]:80", text.size);
    kith__buf_dispose(&text);
    kith__endpoint_addr_dispose(&addr);
}

KITH_TEST(addr_has_a_largest_size)
{
    struct kith_endpoint_addr addr;
    struct kith_sockaddr ip = { .family = KITH_FAMILY_V4 };
    static uint8_t data[KITH_CUSTOM_ADDR_SIZE_MAX + 1];

    start(&addr, kith_mem_default());
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&addr, &(struct kith_sockaddr) { 0 }), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__endpoint_addr_add_custom(&addr, 1, (struct kith_slice) { data, sizeof data }),
                  KITH_ERR_TOO_LARGE);
    for (size_t i = 0; i < KITH_ADDRS_MAX; i++) {
        ip.port = (uint16_t)(i * 7919);
        KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&addr, &ip), 0);
    }
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&addr, &ip), 0);
    ip.port++;
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&addr, &ip), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(addr.count, KITH_ADDRS_MAX);
    kith__endpoint_addr_dispose(&addr);
}

/* Peers have no limits: what is only too much for us costs itself, and the rest of the address can be used. */
KITH_TEST(addr_decoding_leaves_out_what_is_too_much_and_counts_it)
{
    struct kith_endpoint_addr addr, copy;
    struct kith_sockaddr ip = { .family = KITH_FAMILY_V4 };
    struct kith_buf buf;
    struct kith_reader r;

    start(&addr, kith_mem_default());
    kith__buf_init(&buf, kith_mem_default());
    KITH_CHECK_EQ(kith__buf_append(&buf, addr.id.bytes, sizeof addr.id.bytes), 0);
    KITH_CHECK_EQ(kith__postcard_write_uint(&buf, KITH_ADDRS_MAX + 2), 0);
    KITH_CHECK_EQ(kith__buf_append(&buf, "\x02\x05\x81\x08", 4), 0); /* custom, id 5, 1,025 bytes */
    for (int i = 0; i < KITH_CUSTOM_ADDR_SIZE_MAX + 1; i++)
        KITH_CHECK_EQ(kith__buf_append_byte(&buf, 0), 0);
    for (int i = 0; i < KITH_ADDRS_MAX + 1; i++) {
        ip.port = (uint16_t)i;
        KITH_CHECK_EQ(kith__buf_append_byte(&buf, KITH_TRANSPORT_IP), 0);
        KITH_CHECK_EQ(kith__sockaddr_encode(&ip, &buf), 0);
    }
    kith__endpoint_addr_dispose(&addr);
    r = kith__reader_of_slice(kith__buf_slice(&buf));
    KITH_CHECK_EQ(kith__endpoint_addr_decode(&r, KITH_CUSTOM_FORM_NEW, kith_mem_default(), &addr), 0);
    KITH_CHECK_EQ(kith__reader_left(&r), 0);
    KITH_CHECK_EQ(addr.count, KITH_ADDRS_MAX);
    KITH_CHECK_EQ(addr.ignored_count, 2);
    kith__endpoint_addr_init(&copy, kith_mem_default(), NULL);
    KITH_CHECK_EQ(kith__endpoint_addr_copy(&addr, &copy), 0);
    KITH_CHECK_EQ(copy.ignored_count, 2);
    kith__endpoint_addr_dispose(&addr);
    kith__endpoint_addr_dispose(&copy);
    kith__buf_dispose(&buf);
}

static int build_and_copy(const struct kith_mem *mem)
{
    struct kith_endpoint_addr addr, copy;
    struct kith_buf buf;
    int err;

    start(&addr, mem);
    kith__endpoint_addr_init(&copy, mem, NULL);
    kith__buf_init(&buf, mem);
    if ((err = add_relay(&addr, "http://a")) == 0 && (err = add_ip(&addr, "1.2.3.4:5")) == 0 &&
        (err = kith__endpoint_addr_add_custom_text(&addr, "20_aabb", 7)) == 0 &&
        (err = kith__endpoint_addr_copy(&addr, &copy)) == 0)
        err = kith__endpoint_addr_encode(&copy, KITH_CUSTOM_FORM_NEW, &buf);
    KITH_CHECK(err == 0 || buf.size == 0);
    kith__buf_dispose(&buf);
    kith__endpoint_addr_dispose(&addr);
    kith__endpoint_addr_dispose(&copy);
    return err;
}

KITH_TEST(addr_survives_every_failed_allocation)
{
    int err = KITH_ERR_NOMEM;

    for (uint64_t fail_at = 1; err != 0; fail_at++) {
        struct kith_test_mem mem;

        kith__test_mem_init(&mem, fail_at);
        err = build_and_copy(&mem.mem);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        KITH_CHECK_EQ(mem.live, 0);
        KITH_CHECK_EQ(err == 0, mem.calls < fail_at);
    }
}
