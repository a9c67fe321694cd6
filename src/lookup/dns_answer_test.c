#include "lookup/dns_answer.h"

#include "base/mem.h"
#include "base/test.h"

/** Builds answers to one question. */
struct builder {
    uint8_t bytes[16384];
    struct kith_dns_writer w;
    struct kith_dns_name name;
};

static void begin(struct builder *b, uint16_t type)
{
    struct kith_dns_header header = { .id = 7, .flags = KITH_DNS_QR };

    KITH_CHECK_EQ(kith__dns_name_parse("a.example", 9, &b->name), 0);
    KITH_CHECK_EQ(kith__dns_writer_init(&b->w, b->bytes, sizeof b->bytes, &header), 0);
    KITH_CHECK_EQ(kith__dns_write_question(&b->w, &b->name, type, KITH_DNS_IN), 0);
}

static struct kith_dns_owner owner(struct builder *b, uint32_t ttl_s)
{
    return (struct kith_dns_owner) { &b->name, KITH_DNS_ANSWER, KITH_DNS_IN, ttl_s };
}

static void add_raw(struct builder *b, uint16_t type, uint32_t ttl_s, const char *data, size_t size)
{
    struct kith_dns_owner at = owner(b, ttl_s);

    KITH_CHECK_EQ(kith__dns_write_raw(&b->w, &at, type, (struct kith_slice) { (const uint8_t *)data, size }), 0);
}

static void add_text(struct builder *b, const char *text)
{
    struct kith_dns_owner at = owner(b, 30);
    struct kith_slice parts[2] = { { (const uint8_t *)text, strlen(text) / 2 }, { NULL, 0 } };

    parts[1] = (struct kith_slice) { parts[0].ptr + parts[0].size, strlen(text) - parts[0].size };
    KITH_CHECK_EQ(kith__dns_write_txt(&b->w, &at, parts, 2), 0);
}

static struct kith_slice end(struct builder *b)
{
    return (struct kith_slice) { b->bytes, kith__dns_writer_finish(&b->w) };
}

KITH_TEST(answer_lives_as_long_as_its_shortest_record)
{
    struct builder b;
    uint32_t ttl_s;

    begin(&b, KITH_DNS_A);
    add_raw(&b, KITH_DNS_CNAME, 20, "\1b\7example", 11);
    add_raw(&b, KITH_DNS_A, 300, "\1\2\3\4", 4);
    add_raw(&b, KITH_DNS_A, 40, "\1\2\3\5", 4);
    KITH_CHECK_EQ(kith__dns_answer_check(end(&b), KITH_DNS_A, &ttl_s), 0);
    KITH_CHECK_EQ(ttl_s, 20);
    begin(&b, KITH_DNS_A);
    add_raw(&b, KITH_DNS_A, KITH_DNS_TTL_MAX_S + 1, "\1\2\3\4", 4);
    KITH_CHECK_EQ(kith__dns_answer_check(end(&b), KITH_DNS_A, &ttl_s), 0);
    KITH_CHECK_EQ(ttl_s, KITH_DNS_TTL_MAX_S);
    begin(&b, KITH_DNS_A);
    add_raw(&b, KITH_DNS_A, 0x80000000u, "\1\2\3\4", 4);
    KITH_CHECK_EQ(kith__dns_answer_check(end(&b), KITH_DNS_A, &ttl_s), 0);
    KITH_CHECK_EQ(ttl_s, 0);
}

KITH_TEST(answer_without_the_record_is_none)
{
    struct builder b;
    uint32_t ttl_s = 1;
    struct kith_dns_owner at;
    struct kith_slice text = { (const uint8_t *)"x", 1 };

    begin(&b, KITH_DNS_TXT);
    add_raw(&b, KITH_DNS_CNAME, 20, "\1b\7example", 11);
    KITH_CHECK_EQ(kith__dns_answer_check(end(&b), KITH_DNS_TXT, &ttl_s), KITH_ERR_NOT_FOUND);
    begin(&b, KITH_DNS_TXT);
    at = owner(&b, 30);
    at.class_code = KITH_DNS_CH; /* another class */
    KITH_CHECK_EQ(kith__dns_write_txt(&b.w, &at, &text, 1), 0);
    at.class_code = KITH_DNS_IN;
    at.section = KITH_DNS_ADDITIONAL; /* another section */
    KITH_CHECK_EQ(kith__dns_write_txt(&b.w, &at, &text, 1), 0);
    KITH_CHECK_EQ(kith__dns_answer_check(end(&b), KITH_DNS_TXT, &ttl_s), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(ttl_s, 1);
}

KITH_TEST(answer_that_is_malformed_anywhere_is_none)
{
    struct builder b;
    struct kith_slice message;
    uint32_t ttl_s;

    begin(&b, KITH_DNS_TXT);
    add_text(&b, "relay=https://r.example/");
    add_raw(&b, KITH_DNS_TXT, 30, "\5abc", 4); /* a string beyond its record */
    KITH_CHECK_EQ(kith__dns_answer_check(end(&b), KITH_DNS_TXT, &ttl_s), KITH_ERR_PARSE);
    begin(&b, KITH_DNS_A);
    add_raw(&b, KITH_DNS_A, 30, "\1\2\3", 3);
    KITH_CHECK_EQ(kith__dns_answer_check(end(&b), KITH_DNS_A, &ttl_s), KITH_ERR_PARSE);
    begin(&b, KITH_DNS_TXT);
    add_text(&b, "relay=https://r.example/");
    add_text(&b, "addr=10.0.0.1:1");
    message = end(&b);
    for (message.size--; message.size > 0; message.size--) /* cut */
        KITH_CHECK_EQ(kith__dns_answer_check(message, KITH_DNS_TXT, &ttl_s), KITH_ERR_PARSE);
}

KITH_TEST(answer_tells_where_an_endpoint_is_and_bad_attributes_cost_only_themselves)
{
    static const struct kith_id id = { { 1 } };
    struct kith_lookup_info info;
    struct builder b;
    struct kith_slice message;
    char text[10000];
    uint32_t ttl_s;
    size_t ignored;

    begin(&b, KITH_DNS_TXT);
    add_text(&b, "colour=green");
    add_text(&b, "relay=not a url");
    add_text(&b, "relay=https://r.example/?x=1&y=2");
    add_text(&b, "addr=10.0.0.1:99999");
    add_text(&b, "addr=10.0.0.1:9");
    add_text(&b, "");
    add_text(&b, "user-data=first");
    add_text(&b, "user-data=second");
    message = end(&b);
    KITH_CHECK_EQ(kith__dns_answer_check(message, KITH_DNS_TXT, &ttl_s), 0);
    kith__lookup_info_init(&info, kith_mem_default(), &id);
    KITH_CHECK_EQ(kith__dns_answer_info(message, &info, &ignored), 0);
    KITH_CHECK_EQ(info.addr.count, 2);
    KITH_CHECK_STR((const char *)info.addr.addrs[0].bytes.ptr, "https://r.example/?x=1&y=2");
    KITH_CHECK_STR(info.user_data, "first");
    KITH_CHECK_EQ(ignored, 5);
    kith__lookup_info_dispose(&info);

    for (size_t i = 0; i < sizeof text; i++) /* strings of one byte: a text that is too long for an attribute */
        text[i] = i % 2 == 0 ? 1 : 'a';
    begin(&b, KITH_DNS_TXT);
    add_raw(&b, KITH_DNS_TXT, 30, text, sizeof text);
    add_text(&b, "addr=10.0.0.1:9");
    message = end(&b);
    KITH_CHECK_EQ(kith__dns_answer_check(message, KITH_DNS_TXT, &ttl_s), 0);
    kith__lookup_info_init(&info, kith_mem_default(), &id);
    KITH_CHECK_EQ(kith__dns_answer_info(message, &info, &ignored), 0);
    KITH_CHECK_EQ(info.addr.count, 1);
    KITH_CHECK_EQ(ignored, 1);
    kith__lookup_info_dispose(&info);
}

KITH_TEST(answer_lists_addresses_behind_aliases)
{
    struct builder b;
    struct kith_sockaddr ips[4];
    struct kith_slice message, ip = { (const uint8_t *)"\1\2\3\4", 4 };
    struct kith_dns_owner other;

    begin(&b, KITH_DNS_AAAA);
    add_raw(&b, KITH_DNS_CNAME, 20, "\1b\7example", 11);
    KITH_CHECK_EQ(kith__dns_name_parse("b.example", 9, &b.name), 0);
    add_raw(&b, KITH_DNS_AAAA, 30, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    add_raw(&b, KITH_DNS_A, 30, "\1\2\3\4", 4);
    add_raw(&b, KITH_DNS_AAAA, 30, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16);
    other = owner(&b, 30);
    other.class_code = KITH_DNS_CH;
    KITH_CHECK_EQ(kith__dns_write_raw(&b.w, &other, KITH_DNS_A, ip), 0);
    message = end(&b);
    KITH_CHECK_EQ(kith__dns_answer_ips(message, KITH_DNS_AAAA, ips, 4), 2);
    KITH_CHECK_EQ(ips[1].ip[15], 2);
    KITH_CHECK_EQ(ips[1].family, KITH_FAMILY_V6);
    KITH_CHECK_EQ(kith__dns_answer_ips(message, KITH_DNS_AAAA, ips, 1), 1);
    KITH_CHECK_EQ(kith__dns_answer_ips(message, KITH_DNS_A, ips, 4), 1);
}
