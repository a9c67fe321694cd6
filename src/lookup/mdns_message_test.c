#include "lookup/mdns_parts.h"

static struct kith_mdns_names names_of(const struct kith_id *id)
{
    struct kith_mdns_names names;

    KITH_CHECK_EQ(kith__mdns_names_init(&names, id, NULL), 0);
    return names;
}

static size_t bytes_of(const char *hex, uint8_t *out)
{
    size_t size = strlen(hex) / 2;

    KITH_CHECK_EQ(kith__hex_decode(hex, 2 * size, out), 0);
    return size;
}

/* spec/03, 10.1 */
static const char example_query[] = "000000000001000000000000075f69726f687631045f756470056c6f63616c00000c0001";
static const char example_response[] =
    "00008400000000020000000134616f7171707037747a79696c34686c7133756d6f6f733661746674366a767271746f7371327879353373"
    "64676965737667673461075f69726f687631045f756470056c6f63616c0000210001000000000048000000002b673a616f717170703774"
    "7a79696c34686c7133756d6f6f733661746674366a767271746f7371327879353373646769657376676734612d3131313131056c6f6361"
    "6c00c00c001000010000000000322072656c61793d68747470733a2f2f72656c61792e6578616d706c652e636f6d2f10757365722d6461"
    "74613d666f6f626172c06500010001000000000004c0a80102";

KITH_TEST(mdns_query_and_response_are_those_of_the_specification_byte_for_byte)
{
    struct kith_id id = parts_id();
    struct kith_mdns_names names = names_of(&id);
    struct kith_lookup_info info = PARTS_INFO(&id, "192.168.1.2:11111", "https://relay.example.com/", "=foobar");
    uint8_t out[KITH_MDNS_MESSAGE_SIZE], want[KITH_MDNS_MESSAGE_SIZE];
    struct kith_mdns_query query;
    size_t size, left_out;

    kith__mdns_query_begin(&query, &names, out);
    size = kith__mdns_query_end(&query);
    KITH_CHECK_EQ(size, bytes_of(example_query, want));
    KITH_CHECK_BYTES(out, want, size);
    size = kith__mdns_write_response(&names, &info, 1, 0, out, &left_out);
    KITH_CHECK_EQ(left_out, 0);
    KITH_CHECK_EQ(size, bytes_of(example_response, want));
    KITH_CHECK_BYTES(out, want, size);
    kith__lookup_info_dispose(&info);
}

KITH_TEST(mdns_response_of_the_specification_is_read)
{
    struct kith_id own = parts_key(1), id = parts_id();
    struct kith_mdns_names names = names_of(&own);
    struct kith_lookup_info info = PARTS_INFO(&id, "192.168.1.2:11111", "https://relay.example.com/", "=foobar");
    uint8_t bytes[KITH_MDNS_MESSAGE_SIZE];
    size_t size = bytes_of(example_response, bytes);
    struct kith_mdns_heard heard;

    KITH_CHECK_EQ(kith__mdns_read(&names, (struct kith_slice) { bytes, size }, 1, kith_mem_default(), &heard), 0);
    KITH_CHECK(!heard.asks_all && !heard.asks_us && !heard.is_own);
    KITH_CHECK_EQ(heard.count, 1);
    KITH_CHECK_EQ(heard.ignored, 0);
    KITH_CHECK_EQ(heard.said[0].ttl_s, 0);
    KITH_CHECK(!heard.said[0].is_goodbye);
    KITH_CHECK(kith__lookup_info_equal(&heard.said[0].info, &info));
    kith__mdns_heard_dispose(&heard);
    kith__lookup_info_dispose(&info);
}

/** A message that a test writes record by record. */
struct draft {
    uint8_t bytes[16384];
    struct kith_dns_writer w;
};

static void draft_begin(struct draft *draft)
{
    struct kith_dns_header header = { .flags = KITH_DNS_QR | KITH_DNS_AA };

    KITH_CHECK_EQ(kith__dns_writer_init(&draft->w, draft->bytes, sizeof draft->bytes, &header), 0);
}

static struct kith_dns_name name_of(const char *text)
{
    struct kith_dns_name name;

    KITH_CHECK_EQ(kith__dns_name_parse(text, strlen(text), &name), 0);
    return name;
}

static struct kith_dns_name instance_name(const struct kith_id *id)
{
    char text[KITH_MDNS_LABEL_SIZE + 32];

    kith__base32_encode(KITH_BASE32_LOWER, id->bytes, KITH_ID_SIZE, text);
    strcat(text, "._irohv1._udp.local.");
    return name_of(text);
}

static struct kith_dns_owner owner_of(const struct kith_dns_name *name, enum kith_dns_section section, uint32_t ttl_s)
{
    return (struct kith_dns_owner) { name, section, KITH_DNS_IN, ttl_s };
}

static void put_srv(struct draft *draft, const struct kith_id *id, uint16_t port, const char *host, uint32_t ttl_s)
{
    struct kith_dns_name name = instance_name(id);
    struct kith_dns_owner owner = owner_of(&name, KITH_DNS_ANSWER, ttl_s);
    struct kith_dns_srv srv = { .port = port, .target = name_of(host) };

    KITH_CHECK_EQ(kith__dns_write_srv(&draft->w, &owner, &srv), 0);
}

static void put_txt(struct draft *draft, const struct kith_id *id, uint32_t ttl_s, const char *a, const char *b)
{
    struct kith_slice strings[2] = { parts_text(a), parts_text(b) };
    struct kith_dns_name name = instance_name(id);
    struct kith_dns_owner owner = owner_of(&name, KITH_DNS_ANSWER, ttl_s);

    KITH_CHECK_EQ(kith__dns_write_txt(&draft->w, &owner, strings, 2), 0);
}

static void put_ip(struct draft *draft, enum kith_dns_section section, const char *host, const char *text)
{
    struct kith_dns_name name = name_of(host);
    struct kith_dns_owner owner = owner_of(&name, section, 0);
    struct kith_sockaddr ip = parts_ip(text);

    KITH_CHECK_EQ(kith__dns_write_ip(&draft->w, &owner, &ip), 0);
}

static int read_with(struct draft *draft, const struct kith_id *own, const struct kith_mem *mem,
                     struct kith_mdns_heard *heard)
{
    struct kith_mdns_names names = names_of(own);

    return kith__mdns_read(&names, (struct kith_slice) { draft->bytes, kith__dns_writer_finish(&draft->w) }, 7, mem,
                           heard);
}

static void read_draft(struct draft *draft, struct kith_mdns_heard *heard)
{
    struct kith_id own = parts_key(1);

    KITH_CHECK_EQ(read_with(draft, &own, kith_mem_default(), heard), 0);
}

KITH_TEST(mdns_questions_are_understood_whatever_their_class_bit_and_case)
{
    static const struct {
        const char *name; /* NULL: our own */
        uint16_t type, class_code;
        bool asks_all, asks_us;
    } cases[] = {
        { "_irohv1._udp.local.", KITH_DNS_PTR, KITH_DNS_IN, true, false },
        { "_IROHV1._udp.LOCAL.", KITH_DNS_PTR, KITH_DNS_IN, true, false },
        { "_irohv1._udp.local.", KITH_DNS_PTR, KITH_DNS_IN | KITH_DNS_FLUSH, true, false },
        { "_irohv1._udp.local.", KITH_DNS_ANY, KITH_DNS_IN, true, false },
        { "_irohv1._udp.local.", KITH_DNS_SRV, KITH_DNS_IN, false, false },
        { "_irohv1._udp.local.", KITH_DNS_PTR, KITH_DNS_CH, false, false },
        { "_irohv2._udp.local.", KITH_DNS_PTR, KITH_DNS_IN, false, false },
        { "_services._dns-sd._udp.local.", KITH_DNS_PTR, KITH_DNS_IN, false, false },
        { NULL, KITH_DNS_SRV, KITH_DNS_IN, false, true },
        { NULL, KITH_DNS_TXT, KITH_DNS_IN | KITH_DNS_FLUSH, false, true },
        { NULL, KITH_DNS_ANY, KITH_DNS_IN, false, true },
        { NULL, KITH_DNS_A, KITH_DNS_IN, false, false },
    };
    struct kith_id own = parts_key(1);
    struct kith_mdns_heard heard;
    struct draft draft;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_dns_name name = cases[i].name != NULL ? name_of(cases[i].name) : instance_name(&own);

        draft_begin(&draft);
        KITH_CHECK_EQ(kith__dns_write_question(&draft.w, &name, cases[i].type, cases[i].class_code), 0);
        read_draft(&draft, &heard);
        KITH_CHECK_EQ(heard.asks_all, cases[i].asks_all);
        KITH_CHECK_EQ(heard.asks_us, cases[i].asks_us);
        KITH_CHECK_EQ(heard.count, 0);
        kith__mdns_heard_dispose(&heard);
    }
}

KITH_TEST(mdns_queries_of_ours_name_who_is_wanted_and_who_is_known)
{
    static const struct {
        uint32_t ttl_s;
        bool knows;
    } cases[] = {
        { KITH_MDNS_TTL_S, true }, { KITH_MDNS_TTL_S / 2, true }, { KITH_MDNS_TTL_S / 2 - 1, false }, { 0, false }
    };
    struct kith_id asker = parts_key(1), wanted = parts_key(2), known = parts_key(3);
    struct kith_mdns_names names = names_of(&asker), of_wanted = names_of(&wanted), of_known = names_of(&known);
    uint8_t out[KITH_MDNS_MESSAGE_SIZE];
    struct kith_mdns_query query;
    struct kith_mdns_heard heard;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_slice bytes = { out, 0 };

        kith__mdns_query_begin(&query, &names, out);
        KITH_CHECK(kith__mdns_query_want(&query, &wanted));
        KITH_CHECK(kith__mdns_query_known(&query, &known, cases[i].ttl_s));
        bytes.size = kith__mdns_query_end(&query);
        KITH_CHECK_EQ(kith__mdns_read(&of_wanted, bytes, 1, kith_mem_default(), &heard), 0);
        KITH_CHECK(heard.asks_all && heard.asks_us && !heard.knows_us);
        KITH_CHECK_EQ(kith__mdns_read(&of_known, bytes, 1, kith_mem_default(), &heard), 0);
        KITH_CHECK(heard.asks_all && !heard.asks_us);
        KITH_CHECK_EQ(heard.knows_us, cases[i].knows);
        KITH_CHECK_EQ(heard.count, 0); /* what is known is no response */
    }
}

KITH_TEST(mdns_a_query_ends_where_the_message_is_full)
{
    struct kith_id asker = parts_key(1);
    struct kith_mdns_names names = names_of(&asker);
    uint8_t out[KITH_MDNS_MESSAGE_SIZE + 1];
    struct kith_mdns_query query;
    struct kith_mdns_heard heard;
    unsigned count = 0;
    size_t size;

    out[KITH_MDNS_MESSAGE_SIZE] = 0xa5;
    kith__mdns_query_begin(&query, &names, out);
    while (kith__mdns_query_known(&query, &(struct kith_id) { { (uint8_t)count } }, KITH_MDNS_TTL_S))
        count++;
    size = kith__mdns_query_end(&query);
    KITH_CHECK(count >= 20 && count < 40);
    KITH_CHECK(size > KITH_MDNS_MESSAGE_SIZE - 70 && size <= KITH_MDNS_MESSAGE_SIZE);
    KITH_CHECK_EQ(out[KITH_MDNS_MESSAGE_SIZE], 0xa5);
    KITH_CHECK_EQ(kith__mdns_read(&names, (struct kith_slice) { out, size }, 1, kith_mem_default(), &heard), 0);
    KITH_CHECK(heard.asks_all);
}

KITH_TEST(mdns_addresses_belong_to_whom_the_srv_records_name)
{
    struct kith_id a = parts_key(2), b = parts_key(3);
    struct kith_mdns_heard heard;
    struct draft draft;

    draft_begin(&draft);
    put_srv(&draft, &a, 1, "one.local.", 0);
    put_srv(&draft, &b, 2, "two.local.", 0);
    put_srv(&draft, &a, 3, "TWO.local.", 0); /* the same host: its addresses are of both */
    put_ip(&draft, KITH_DNS_ANSWER, "one.local.", "10.0.0.1:0");
    put_ip(&draft, KITH_DNS_ADDITIONAL, "two.local.", "10.0.0.2:0");
    put_ip(&draft, KITH_DNS_ADDITIONAL, "three.local.", "10.0.0.3:0");
    read_draft(&draft, &heard);
    KITH_CHECK_EQ(heard.count, 2);
    KITH_CHECK_BYTES(&heard.said[0].info.addr.id, &a, sizeof a);
    KITH_CHECK_EQ(heard.said[0].info.addr.count, 2);
    KITH_CHECK_STR(parts_first_ip(&heard.said[0].info), "10.0.0.1:1");
    KITH_CHECK_EQ(heard.said[0].info.addr.addrs[1].ip.port, 3);
    KITH_CHECK_EQ(heard.said[1].info.addr.count, 1);
    KITH_CHECK_STR(parts_first_ip(&heard.said[1].info), "10.0.0.2:2");
    kith__mdns_heard_dispose(&heard);
}

KITH_TEST(mdns_records_of_the_cache_flush_kind_are_heard_and_those_of_other_classes_not)
{
    struct kith_id a = parts_key(2);
    struct kith_dns_name name = instance_name(&a), host = name_of("one.local.");
    struct kith_mdns_heard heard;
    struct draft draft;

    for (int i = 0; i < 2; i++) {
        struct kith_dns_owner owner = { &name, KITH_DNS_ANSWER, i == 0 ? KITH_DNS_IN | KITH_DNS_FLUSH : KITH_DNS_CH,
                                        0 };
        struct kith_dns_srv srv = { .port = 1, .target = host };
        struct kith_sockaddr ip = parts_ip("10.0.0.1:0");

        draft_begin(&draft);
        KITH_CHECK_EQ(kith__dns_write_srv(&draft.w, &owner, &srv), 0);
        owner.name = &host;
        owner.section = KITH_DNS_ADDITIONAL;
        KITH_CHECK_EQ(kith__dns_write_ip(&draft.w, &owner, &ip), 0);
        read_draft(&draft, &heard);
        KITH_CHECK_EQ(heard.count, i == 0);
        kith__mdns_heard_dispose(&heard);
    }
}

KITH_TEST(mdns_who_has_no_address_says_nothing_unless_with_a_ttl)
{
    struct kith_id a = parts_key(2), b = parts_key(3), c = parts_key(4), d = parts_key(5);
    struct kith_mdns_heard heard;
    struct draft draft;

    draft_begin(&draft);
    put_srv(&draft, &a, 1, "one.local.", 0);                  /* of another maker, without an address */
    put_txt(&draft, &b, 0, "relay=https://r.example/", "");   /* likewise */
    put_txt(&draft, &c, 120, "relay=https://r.example/", ""); /* who has a relay only */
    put_srv(&draft, &d, 1, "two.local.", 120);                /* nothing at all */
    read_draft(&draft, &heard);
    KITH_CHECK_EQ(heard.count, 1);
    KITH_CHECK_BYTES(&heard.said[0].info.addr.id, &c, sizeof c);
    KITH_CHECK_EQ(heard.said[0].ttl_s, 120);
    KITH_CHECK_EQ(heard.ignored, 3);
    kith__mdns_heard_dispose(&heard);
}

KITH_TEST(mdns_goodbye_is_read_and_is_none_beside_an_address)
{
    struct kith_id a = parts_key(2), own = parts_key(1);
    struct kith_mdns_names names = names_of(&a), other = names_of(&own);
    uint8_t out[KITH_MDNS_MESSAGE_SIZE];
    struct kith_slice bytes = { out, kith__mdns_write_goodbye(&names, out) };
    struct kith_mdns_heard heard;
    struct draft draft;

    KITH_CHECK_EQ(kith__mdns_read(&other, bytes, 1, kith_mem_default(), &heard), 0);
    KITH_CHECK_EQ(heard.count, 1);
    KITH_CHECK(heard.said[0].is_goodbye);
    KITH_CHECK_EQ(heard.said[0].info.addr.count, 0);
    kith__mdns_heard_dispose(&heard);
    draft_begin(&draft);
    put_srv(&draft, &a, 0, "one.local.", 0);
    put_srv(&draft, &a, 1, "one.local.", 0);
    put_ip(&draft, KITH_DNS_ADDITIONAL, "one.local.", "10.0.0.1:0");
    read_draft(&draft, &heard);
    KITH_CHECK_EQ(heard.count, 1);
    KITH_CHECK(!heard.said[0].is_goodbye);
    KITH_CHECK_EQ(heard.said[0].info.addr.count, 1);
    kith__mdns_heard_dispose(&heard);
}

KITH_TEST(mdns_what_we_said_ourselves_and_what_is_no_endpoint_is_passed_over)
{
    struct kith_id own = parts_key(1);
    struct kith_dns_name printer = name_of("Printer._irohv1._udp.local."), web = name_of("x._http._tcp.local.");
    struct kith_dns_name bare = name_of("_irohv1._udp.local.");
    struct kith_dns_owner owner = owner_of(&printer, KITH_DNS_ANSWER, 120);
    struct kith_dns_srv srv = { .port = 1, .target = name_of("one.local.") };
    struct kith_mdns_heard heard;
    struct draft draft;

    draft_begin(&draft);
    KITH_CHECK_EQ(kith__dns_write_srv(&draft.w, &owner, &srv), 0);
    owner.name = &web;
    KITH_CHECK_EQ(kith__dns_write_srv(&draft.w, &owner, &srv), 0);
    owner.name = &bare;
    KITH_CHECK_EQ(kith__dns_write_srv(&draft.w, &owner, &srv), 0);
    put_ip(&draft, KITH_DNS_ADDITIONAL, "one.local.", "10.0.0.1:0");
    read_draft(&draft, &heard);
    KITH_CHECK_EQ(heard.count, 0);
    KITH_CHECK(!heard.is_own);
    draft_begin(&draft);
    put_srv(&draft, &own, 1, "one.local.", 0);
    put_ip(&draft, KITH_DNS_ADDITIONAL, "one.local.", "10.0.0.1:0");
    read_draft(&draft, &heard);
    KITH_CHECK_EQ(heard.count, 0);
    KITH_CHECK(heard.is_own);
}

KITH_TEST(mdns_link_local_addresses_get_the_scope_of_the_interface_and_are_told_on_theirs_only)
{
    struct kith_id a = parts_key(2);
    struct kith_mdns_names names = names_of(&a);
    struct kith_lookup_info info = PARTS_INFO(&a, "10.0.0.1:1", "[fe80::1%7]:1", "[fe80::2%8]:1", "[2001:db8::1]:1");
    uint8_t out[KITH_MDNS_MESSAGE_SIZE];
    struct kith_id own = parts_key(1);
    struct kith_mdns_names other = names_of(&own);
    struct kith_mdns_heard heard;
    struct kith_slice bytes = { out, 0 };
    size_t left_out;

    bytes.size = kith__mdns_write_response(&names, &info, 7, 0, out, &left_out);
    KITH_CHECK_EQ(left_out, 0);
    KITH_CHECK_EQ(kith__mdns_read(&other, bytes, 99, kith_mem_default(), &heard), 0);
    KITH_CHECK_EQ(heard.said[0].info.addr.count, 3);
    KITH_CHECK_EQ(heard.said[0].info.addr.addrs[1].ip.scope_id, 0);
    KITH_CHECK_EQ(heard.said[0].info.addr.addrs[2].ip.ip[15], 1);
    KITH_CHECK_EQ(heard.said[0].info.addr.addrs[2].ip.scope_id, 99);
    kith__mdns_heard_dispose(&heard);
    kith__lookup_info_dispose(&info);
}

KITH_TEST(mdns_addresses_that_nobody_can_send_to_are_not_taken)
{
    static const char *const bad[] = { "0.0.0.0:0", "224.0.0.251:0", "255.255.255.255:0",
                                       "[::]:0",    "[ff02::1]:0",   "[::ffff:10.0.0.1]:0" };
    struct kith_id a = parts_key(2);
    struct kith_mdns_heard heard;
    struct draft draft;

    draft_begin(&draft);
    put_srv(&draft, &a, 1, "one.local.", 0);
    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        put_ip(&draft, KITH_DNS_ADDITIONAL, "one.local.", bad[i]);
    put_ip(&draft, KITH_DNS_ADDITIONAL, "one.local.", "10.0.0.1:0");
    read_draft(&draft, &heard);
    KITH_CHECK_EQ(heard.count, 1);
    KITH_CHECK_EQ(heard.said[0].info.addr.count, 1);
    KITH_CHECK_EQ(heard.ignored, KITH_COUNT(bad));
    kith__mdns_heard_dispose(&heard);
}

KITH_TEST(mdns_bad_texts_cost_only_themselves_and_the_first_of_a_kind_counts)
{
    struct kith_id a = parts_key(2);
    struct kith_mdns_heard heard;
    struct draft draft;

    draft_begin(&draft);
    put_srv(&draft, &a, 1, "one.local.", 0);
    put_txt(&draft, &a, 0, "flag", "color=red");
    put_txt(&draft, &a, 0, "addr=10.9.9.9:1", ""); /* no attribute of this kind here */
    put_txt(&draft, &a, 0, "relay=nonsense", "user-data=\xff");
    put_txt(&draft, &a, 0, "relay=https://r.example/", "user-data=a=b");
    put_txt(&draft, &a, 0, "relay=https://s.example/", "user-data=second");
    put_ip(&draft, KITH_DNS_ADDITIONAL, "one.local.", "10.0.0.1:0");
    read_draft(&draft, &heard);
    KITH_CHECK_EQ(heard.count, 1);
    KITH_CHECK_EQ(heard.said[0].info.addr.count, 2);
    KITH_CHECK_EQ(kith__endpoint_addr_first_relay(&heard.said[0].info.addr).ptr[8], 'r');
    KITH_CHECK_STR(heard.said[0].info.user_data, "a=b");
    KITH_CHECK_EQ(heard.ignored, 7);
    kith__mdns_heard_dispose(&heard);
}

KITH_TEST(mdns_more_endpoints_hosts_or_addresses_than_the_maximum_are_counted)
{
    struct kith_mdns_heard heard;
    struct draft draft;
    struct kith_id a = parts_key(500);
    char text[32];

    draft_begin(&draft);
    for (unsigned i = 0; i < KITH_MDNS_SAID_MAX + 3; i++) {
        struct kith_id id = parts_key(100 + i);

        put_srv(&draft, &id, 1, "one.local.", 0);
    }
    put_ip(&draft, KITH_DNS_ADDITIONAL, "one.local.", "10.0.0.1:0");
    read_draft(&draft, &heard);
    KITH_CHECK_EQ(heard.count, KITH_MDNS_SAID_MAX);
    KITH_CHECK_EQ(heard.ignored, 3);
    kith__mdns_heard_dispose(&heard);

    draft_begin(&draft);
    for (unsigned i = 0; i < KITH_MDNS_PORTS_MAX + 2; i++)
        put_srv(&draft, &a, (uint16_t)(i + 1), "one.local.", 0);
    put_ip(&draft, KITH_DNS_ADDITIONAL, "one.local.", "10.0.0.1:0");
    put_ip(&draft, KITH_DNS_ADDITIONAL, "one.local.", "10.0.0.2:0");
    read_draft(&draft, &heard);
    KITH_CHECK_EQ(heard.count, 1);
    KITH_CHECK_EQ(heard.said[0].info.addr.count, KITH_MDNS_ADDRS_MAX);
    KITH_CHECK_EQ(heard.ignored, 2 + 2 * KITH_MDNS_PORTS_MAX - KITH_MDNS_ADDRS_MAX);
    kith__mdns_heard_dispose(&heard);

    draft_begin(&draft);
    put_srv(&draft, &a, 1, "one.local.", 0);
    for (unsigned i = 0; i < KITH_MDNS_RECORDS_MAX - 1; i++) {
        snprintf(text, sizeof text, "10.0.%u.1:0", i);
        put_ip(&draft, KITH_DNS_ADDITIONAL, "two.local.", text);
    }
    read_draft(&draft, &heard);
    kith__mdns_heard_dispose(&heard);
    put_ip(&draft, KITH_DNS_ADDITIONAL, "two.local.", "10.1.0.1:0");
    KITH_CHECK_EQ(read_with(&draft, &a, kith_mem_default(), &heard), KITH_ERR_PARSE);
}

KITH_TEST(mdns_a_response_that_is_full_leaves_out_what_is_too_much_and_says_so)
{
    struct kith_id a = parts_key(2), own = parts_key(1);
    struct kith_mdns_names names = names_of(&a), other = names_of(&own);
    uint8_t out[KITH_MDNS_MESSAGE_SIZE + 1];
    struct kith_lookup_info info;
    struct kith_mdns_heard heard;
    struct kith_slice bytes = { out, 0 };
    char relay[300] = "https://";
    size_t left_out, count = 0;

    out[KITH_MDNS_MESSAGE_SIZE] = 0xa5;
    kith__lookup_info_init(&info, kith_mem_default(), &a);
    for (unsigned i = 0; i < KITH_MDNS_ADDRS_MAX + 4; i++) {
        struct kith_sockaddr ip = parts_ip("10.0.0.1:1");

        ip.ip[2] = (uint8_t)i;
        ip.port = (uint16_t)(1000 + i); /* each port costs an SRV record */
        KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&info.addr, &ip), 0);
    }
    bytes.size = kith__mdns_write_response(&names, &info, 1, KITH_MDNS_TTL_S, out, &left_out);
    KITH_CHECK(bytes.size > 0 && bytes.size <= KITH_MDNS_MESSAGE_SIZE);
    KITH_CHECK_EQ(out[KITH_MDNS_MESSAGE_SIZE], 0xa5);
    KITH_CHECK(left_out > 4);
    kith__lookup_info_dispose(&info);
    /* A relay and user data that are as long as they may be go out; a longer relay does not. */
    for (size_t size = 249; size <= 250; size++) {
        memset(relay + 8, 'a', sizeof relay - 8);
        for (size_t at = 8 + 60; at < size - 1; at += 61)
            relay[at] = '.';
        relay[size - 1] = '/';
        relay[size] = '\0';
        info = PARTS_INFO(&a, "10.0.0.1:1", relay);
        KITH_CHECK_EQ(kith__endpoint_addr_first_relay(&info.addr).size, size);
        bytes.size = kith__mdns_write_response(&names, &info, 1, KITH_MDNS_TTL_S, out, &left_out);
        KITH_CHECK_EQ(left_out, size == 250);
        KITH_CHECK_EQ(kith__mdns_read(&other, bytes, 1, kith_mem_default(), &heard), 0);
        KITH_CHECK_EQ(heard.count, 1);
        KITH_CHECK_EQ(heard.said[0].info.addr.count, size == 250 ? 1 : 2);
        count += heard.count;
        kith__mdns_heard_dispose(&heard);
        kith__lookup_info_dispose(&info);
    }
    KITH_CHECK_EQ(count, 2);
}

KITH_TEST(mdns_nothing_to_say_is_no_message_and_a_relay_alone_is_one)
{
    struct kith_id a = parts_key(2);
    struct kith_mdns_names names = names_of(&a);
    struct kith_lookup_info relay = PARTS_INFO(&a, "https://r.example/"), nothing = PARTS_INFO(&a, "[fe80::1%3]:1");
    uint8_t out[KITH_MDNS_MESSAGE_SIZE];
    size_t left_out;

    KITH_CHECK(kith__mdns_write_response(&names, &relay, 1, KITH_MDNS_TTL_S, out, &left_out) > 0);
    KITH_CHECK_EQ(kith__mdns_write_response(&names, &nothing, 1, KITH_MDNS_TTL_S, out, &left_out), 0);
    kith__lookup_info_dispose(&relay);
    kith__lookup_info_dispose(&nothing);
}

KITH_TEST(mdns_a_message_cut_anywhere_or_without_memory_is_an_error_and_leaks_nothing)
{
    struct kith_id own = parts_key(1);
    struct kith_mdns_names names = names_of(&own);
    uint8_t bytes[KITH_MDNS_MESSAGE_SIZE];
    size_t size = bytes_of(example_response, bytes);
    struct kith_mdns_heard heard;
    struct kith_test_mem mem;
    uint64_t fail_at = 0;
    int err;

    for (size_t cut = 0; cut < size; cut++)
        KITH_CHECK(kith__mdns_read(&names, (struct kith_slice) { bytes, cut }, 1, kith_mem_default(), &heard) != 0);
    do {
        kith__test_mem_init(&mem, ++fail_at);
        err = kith__mdns_read(&names, (struct kith_slice) { bytes, size }, 1, &mem.mem, &heard);
        KITH_CHECK_EQ(err, mem.calls >= fail_at ? KITH_ERR_NOMEM : 0);
        if (err == 0)
            kith__mdns_heard_dispose(&heard);
        KITH_CHECK_EQ(mem.live, 0);
    } while (err != 0);
    KITH_CHECK(fail_at > 2);
}

KITH_TEST(mdns_a_service_of_another_name_is_another_world)
{
    struct kith_id own = parts_key(1), a = parts_key(2);
    char long_name[200];
    struct kith_mdns_names names, other;
    uint8_t out[KITH_MDNS_MESSAGE_SIZE];
    struct kith_lookup_info info = PARTS_INFO(&a, "10.0.0.1:1");
    struct kith_mdns_heard heard;
    struct kith_slice bytes = { out, 0 };
    size_t left_out;

    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    KITH_CHECK_EQ(kith__mdns_names_init(&names, &own, "my.swarm"), 0);
    KITH_CHECK_EQ(kith__mdns_names_init(&other, &a, "my.swarm"), 0);
    bytes.size = kith__mdns_write_response(&other, &info, 1, 0, out, &left_out);
    KITH_CHECK_EQ(kith__mdns_read(&names, bytes, 1, kith_mem_default(), &heard), 0);
    KITH_CHECK_EQ(heard.count, 1);
    kith__mdns_heard_dispose(&heard);
    names = names_of(&own);
    KITH_CHECK_EQ(kith__mdns_read(&names, bytes, 1, kith_mem_default(), &heard), 0);
    KITH_CHECK_EQ(heard.count, 0);
    KITH_CHECK_EQ(kith__mdns_names_init(&names, &own, long_name), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__mdns_names_init(&names, &own, "a..b"), KITH_ERR_PARSE);
    kith__lookup_info_dispose(&info);
}
