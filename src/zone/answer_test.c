/* Questions and answers: what is there, what is not, what does not fit, and what is no question. */
#include "zone/answer.h"

#include "base/mem.h"
#include "zone/parts.h"

enum { KEY = 0x12345678, OTHER_KEY = 7 };

/** A zone, one packet of KEY, and the last answer. */
struct rig {
    struct kith_zone *zone;
    struct kith_pkarr packet;
    bool has_packet;
    int source_err; /* not 0: what the source says to everything */
    bool no_edns;
    uint16_t udp_size; /* EDNS of questions */
    bool is_tcp;
    uint32_t ttl_max_s;
    uint8_t query[600], bytes[KITH_DNS_MESSAGE_SIZE_MAX];
    size_t query_size;
    struct kith_zone_answer answer;
    char text[8192], key[64];
};

static const struct kith_dns_origin *origins_of(size_t *count)
{
    static const struct kith_sockaddr addresses[] = { { .family = KITH_FAMILY_V4, .ip = { 192, 0, 2, 1 } },
                                                      { .family = KITH_FAMILY_V6, .ip = { 0x20, 1, 0xd, 0xb8 } } };
    static const char *const servers[] = { "ns1.dns.test.", "a.ns.elsewhere.", "x.y.dns.test" };
    static const struct kith_dns_origin origins[] = {
        { .name = "test", .ttl_s = 1000 },
        { .name = "dns.test.",
          .soa = "ns1.dns.test. admin.dns.test. 5 10800 3600 604800 300",
          .addresses = addresses,
          .address_count = 2,
          .name_servers = servers,
          .name_server_count = 3 },
    };

    *count = KITH_COUNT(origins);
    return origins;
}

static void rig_open(struct rig *rig, const struct record *records, size_t count)
{
    struct kith_zone_problem problem;
    size_t origin_count;
    const struct kith_dns_origin *origins = origins_of(&origin_count);

    memset(rig, 0, sizeof *rig);
    rig->udp_size = 4096;
    rig->packet = packet_with(KEY, records, count);
    rig->has_packet = true;
    kith__base32_encode(KITH_BASE32_Z, rig->packet.bytes, KITH_ID_SIZE, rig->key);
    KITH_CHECK_EQ(kith__zone_new(kith_mem_default(), origins, origin_count, &rig->zone, &problem), 0);
}

static void rig_close(struct rig *rig)
{
    kith__zone_release(rig->zone);
}

static int get(void *ctx, const struct kith_id *id, struct kith_pkarr *out)
{
    struct rig *rig = ctx;

    if (rig->source_err != 0)
        return rig->source_err;
    if (!rig->has_packet || memcmp(id->bytes, rig->packet.bytes, KITH_ID_SIZE) != 0)
        return KITH_ERR_NOT_FOUND;
    *out = rig->packet;
    return 0;
}

static void add(struct rig *rig, const char *text)
{
    size_t at = strlen(rig->text), key_size = strlen(rig->key);

    for (; *text != 0; at++) {
        KITH_CHECK(at < sizeof rig->text - 2);
        if (strncmp(text, rig->key, key_size) == 0) {
            rig->text[at] = 'K';
            text += key_size;
        } else {
            rig->text[at] = *text++;
        }
    }
    rig->text[at] = 0;
}

static void add_data(struct rig *rig, const struct kith_dns_record *record)
{
    char text[KITH_DNS_NAME_TEXT_SIZE + 80], ip[KITH_SOCKADDR_TEXT_SIZE];
    struct kith_dns_name name;
    struct kith_sockaddr addr;
    struct kith_dns_soa soa;
    uint8_t txt[600];
    size_t size;

    switch (record->type) {
    case KITH_DNS_A:
    case KITH_DNS_AAAA:
        KITH_CHECK_EQ(kith__dns_rdata_ip(record, &addr), 0);
        add(rig, kith_sockaddr_format(&addr, ip));
        break;
    case KITH_DNS_TXT:
        KITH_CHECK_EQ(kith__dns_rdata_txt(record, txt, sizeof txt, &size), 0);
        snprintf(text, sizeof text, "%.*s", (int)size, (const char *)txt);
        add(rig, text);
        break;
    case KITH_DNS_CNAME:
    case KITH_DNS_NS:
        KITH_CHECK_EQ(kith__dns_rdata_name(record, &name), 0);
        add(rig, kith__dns_name_format(&name, text));
        break;
    case KITH_DNS_SOA:
        KITH_CHECK_EQ(kith__dns_rdata_soa(record, &soa), 0);
        add(rig, kith__dns_name_format(&soa.mname, text));
        break;
    default:
        snprintf(text, sizeof text, "%zu bytes", record->rdata.size);
        add(rig, text);
        break;
    }
}

/* The answer as text: rcode, flags, records. */
static void tell(struct rig *rig)
{
    static const char *const sections[] = { "", "", " | ", " + " };
    struct kith_dns_reader reader;
    struct kith_dns_record record;
    char text[KITH_DNS_NAME_TEXT_SIZE + 80], name[KITH_DNS_NAME_TEXT_SIZE];
    int err;

    KITH_CHECK_EQ(kith__dns_reader_init(&reader, (struct kith_slice) { rig->bytes, rig->answer.size }), 0);
    KITH_CHECK((reader.header.flags & KITH_DNS_QR) != 0 && (reader.header.flags & KITH_DNS_RA) == 0);
    KITH_CHECK_EQ(reader.header.id, 0xabcd);
    snprintf(text, sizeof text, "%u%s%s:", rig->answer.rcode, reader.header.flags & KITH_DNS_AA ? " aa" : "",
             reader.header.flags & KITH_DNS_TC ? " tc" : "");
    add(rig, text);
    KITH_CHECK_EQ(rig->answer.is_truncated, (reader.header.flags & KITH_DNS_TC) != 0);
    while ((err = kith__dns_next_record(&reader, &record)) == 0) {
        if (record.type == KITH_DNS_OPT) {
            struct kith_dns_opt opt;

            KITH_CHECK_EQ(kith__dns_rdata_opt(&record, &opt), 0);
            KITH_CHECK_EQ(opt.udp_size, KITH_ZONE_UDP_SIZE);
            KITH_CHECK_EQ((unsigned)opt.rcode_upper << 4 | (reader.header.flags & 15u), rig->answer.rcode);
            add(rig, " opt");
            continue;
        }
        snprintf(text, sizeof text, " %s%s %u %u ", sections[record.section], kith__dns_name_format(&record.name, name),
                 record.ttl_s, record.type);
        add(rig, text);
        add_data(rig, &record);
    }
    KITH_CHECK_EQ(err, KITH_ERR_END);
}

static void send_query(struct rig *rig)
{
    size_t capacity = rig->is_tcp ? sizeof rig->bytes : KITH_ZONE_UDP_SIZE;
    struct kith_zone_source source = { get, rig, rig->ttl_max_s };
    struct kith_slice query = { rig->query, rig->query_size };

    rig->text[0] = 0;
    kith__zone_answer(rig->zone, &source, query, !rig->is_tcp, rig->bytes, capacity, &rig->answer);
    KITH_CHECK(rig->answer.size <= capacity);
    if (rig->answer.size != 0)
        tell(rig);
}

static void write_query(struct rig *rig, const char *text, uint16_t type, uint16_t class_code, uint16_t flags)
{
    struct kith_dns_header header = { .id = 0xabcd, .flags = flags };
    struct kith_dns_opt opt = { .udp_size = rig->udp_size };
    char full[300], *at;
    struct kith_dns_name name;
    struct kith_dns_writer w;

    /* "K" stands for the key. */
    snprintf(full, sizeof full, "%s", text);
    if ((at = strchr(full, 'K')) != NULL)
        snprintf(at, sizeof full - (size_t)(at - full), "%s%s", rig->key, text + (at - full) + 1);
    KITH_CHECK_EQ(kith__dns_name_parse(full, strlen(full), &name), 0);
    KITH_CHECK_EQ(kith__dns_writer_init(&w, rig->query, sizeof rig->query, &header), 0);
    KITH_CHECK_EQ(kith__dns_write_question(&w, &name, type, class_code), 0);
    if (!rig->no_edns)
        KITH_CHECK_EQ(kith__dns_write_opt(&w, &opt), 0);
    rig->query_size = kith__dns_writer_finish(&w);
}

static const char *ask(struct rig *rig, const char *name, uint16_t type)
{
    write_query(rig, name, type, KITH_DNS_IN, KITH_DNS_RD);
    send_query(rig);
    return rig->text;
}

static const struct record usual[] = { { "_iroh", KITH_DNS_TXT, 30, "relay=https://r/" },
                                       { "_iroh", KITH_DNS_TXT, 20, "addr=1.2.3.4:5" },
                                       { "www", KITH_DNS_A, 1000000, "198.51.100.1" },
                                       { "a.b", KITH_DNS_AAAA, 4000000000, "2001:db8::5" },
                                       { "", KITH_DNS_NS, 30, "ns" },
                                       { "", KITH_DNS_SOA, 30, "xx" },
                                       { "else.where.", KITH_DNS_TXT, 30, "not ours" } };

static void rig_usual(struct rig *rig)
{
    rig_open(rig, usual, KITH_COUNT(usual));
}

KITH_TEST(answer_has_the_records_of_a_packet_under_the_asked_name)
{
    struct rig rig;

    rig_usual(&rig);
    KITH_CHECK_STR(ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT),
                   "0 aa: _iroh.K.dns.test. 20 16 relay=https://r/ _iroh.K.dns.test. 20 16 addr=1.2.3.4:5 opt");
    KITH_CHECK_EQ(rig.answer.outcome, KITH_ZONE_FOUND);
    KITH_CHECK_STR(ask(&rig, "www.K.dns.test", KITH_DNS_A), "0 aa: www.K.dns.test. 86400 1 198.51.100.1:0 opt");
    /* A TTL with the highest bit is none (RFC 2181, 8). */
    KITH_CHECK_STR(ask(&rig, "a.b.K.dns.test", KITH_DNS_AAAA), "0 aa: a.b.K.dns.test. 0 28 [2001:db8::5]:0 opt");
    rig_close(&rig);
}

KITH_TEST(answer_tells_no_such_type_from_no_such_name)
{
    struct rig rig;

    rig_usual(&rig);
    KITH_CHECK_STR(ask(&rig, "_iroh.K.dns.test.", KITH_DNS_A), "0 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_EQ(rig.answer.outcome, KITH_ZONE_NOT_FOUND);
    KITH_CHECK_STR(ask(&rig, "b.K.dns.test.", KITH_DNS_A), "0 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "K.dns.test.", KITH_DNS_NS), "0 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "nope.K.dns.test.", KITH_DNS_TXT), "3 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "x.www.K.dns.test.", KITH_DNS_TXT), "3 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "where.K.dns.test.", KITH_DNS_TXT), "3 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "nokey.dns.test.", KITH_DNS_TXT), "3 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    rig.has_packet = false;
    KITH_CHECK_STR(ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT), "3 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "K.dns.test.", KITH_DNS_TXT), "3 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    rig_close(&rig);
}

KITH_TEST(answer_of_an_empty_packet_denies_the_records_but_not_the_key)
{
    struct rig rig;

    rig_open(&rig, NULL, 0);
    KITH_CHECK_STR(ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT), "3 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "K.dns.test.", KITH_DNS_TXT), "0 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    rig_close(&rig);
}

KITH_TEST(answer_takes_the_longest_origin_and_its_own_static_records)
{
    struct rig rig;

    rig_usual(&rig);
    KITH_CHECK_STR(ask(&rig, "_iroh.K.test.", KITH_DNS_A), "0 aa:  | test. 60 6 ns1.test. opt");
    KITH_CHECK_STR(ask(&rig, "www.K.test.", KITH_DNS_A), "0 aa: www.K.test. 86400 1 198.51.100.1:0 opt");
    KITH_CHECK_STR(ask(&rig, "test.", KITH_DNS_NS), "0 aa: test. 1000 2 ns1.test. opt");
    KITH_CHECK_STR(ask(&rig, "dns.test.", KITH_DNS_SOA), "0 aa: dns.test. 900 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "dns.test.", KITH_DNS_A), "0 aa: dns.test. 900 1 192.0.2.1:0 opt");
    KITH_CHECK_STR(ask(&rig, "dns.test.", KITH_DNS_AAAA), "0 aa: dns.test. 900 28 [2001:db8::]:0 opt");
    KITH_CHECK_STR(ask(&rig, "dns.test.", KITH_DNS_TXT), "0 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "dns.test.", KITH_DNS_NS),
                   "0 aa: dns.test. 900 2 ns1.dns.test. dns.test. 900 2 a.ns.elsewhere. dns.test. 900 2 x.y.dns.test. "
                   " + ns1.dns.test. 900 1 192.0.2.1:0  + ns1.dns.test. 900 28 [2001:db8::]:0 "
                   " + x.y.dns.test. 900 1 192.0.2.1:0  + x.y.dns.test. 900 28 [2001:db8::]:0 opt");
    KITH_CHECK_STR(ask(&rig, "ns1.dns.test.", KITH_DNS_A), "0 aa: ns1.dns.test. 900 1 192.0.2.1:0 opt");
    KITH_CHECK_STR(ask(&rig, "ns1.dns.test.", KITH_DNS_SOA), "0 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "y.dns.test.", KITH_DNS_A), "0 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    rig_close(&rig);
}

KITH_TEST(answer_refuses_what_is_not_ours)
{
    struct rig rig;

    rig_usual(&rig);
    KITH_CHECK_STR(ask(&rig, "_iroh.K.example.", KITH_DNS_TXT), "5: opt");
    KITH_CHECK_EQ(rig.answer.outcome, KITH_ZONE_FAILED);
    KITH_CHECK_STR(ask(&rig, ".", KITH_DNS_NS), "5: opt");
    KITH_CHECK_STR(ask(&rig, "dns.test.", KITH_DNS_AXFR), "5: opt");
    KITH_CHECK_STR(ask(&rig, "dns.test.", KITH_DNS_IXFR), "5: opt");
    write_query(&rig, "version.bind.", KITH_DNS_TXT, KITH_DNS_CH, 0);
    send_query(&rig);
    KITH_CHECK_STR(rig.text, "5: opt");
    write_query(&rig, "dns.test.", KITH_DNS_SOA, KITH_DNS_IN, KITH_DNS_OPCODE_UPDATE << KITH_DNS_OPCODE_SHIFT);
    send_query(&rig);
    KITH_CHECK_STR(rig.text, "4:");
    rig.source_err = KITH_ERR_IO;
    KITH_CHECK_STR(ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT), "2: opt");
    rig_close(&rig);
}

KITH_TEST(answer_under_the_root_knows_keys_and_refuses_everybody_elses_names)
{
    static const struct kith_dns_origin root = { .name = "." };
    struct kith_zone_problem problem;
    struct rig rig;

    rig_usual(&rig);
    kith__zone_release(rig.zone);
    KITH_CHECK_EQ(kith__zone_new(kith_mem_default(), &root, 1, &rig.zone, &problem), 0);
    rig.ttl_max_s = 25;
    KITH_CHECK_STR(ask(&rig, "www.K.", KITH_DNS_A), "0 aa: www.K. 25 1 198.51.100.1:0 opt");
    KITH_CHECK_STR(ask(&rig, "no.K.", KITH_DNS_A), "3 aa:  | . 60 6 ns1. opt");
    KITH_CHECK_STR(ask(&rig, "www.example.com.", KITH_DNS_A), "5: opt");
    KITH_CHECK_STR(ask(&rig, ".", KITH_DNS_SOA), "0 aa: . 900 6 ns1. opt");
    rig_close(&rig);
}

KITH_TEST(answer_follows_aliases_inside_the_packet_and_stops)
{
    static const struct record records[] = {
        { "a", KITH_DNS_CNAME, 50, "b" },          { "b", KITH_DNS_CNAME, 40, "c" },
        { "c", KITH_DNS_A, 30, "198.51.100.1" },   { "out", KITH_DNS_CNAME, 50, "www.example." },
        { "gone", KITH_DNS_CNAME, 50, "nowhere" }, { "loop", KITH_DNS_CNAME, 50, "loop" }
    };
    struct rig rig;
    unsigned links = 0;

    rig_open(&rig, records, KITH_COUNT(records));
    KITH_CHECK_STR(ask(&rig, "a.K.dns.test.", KITH_DNS_A),
                   "0 aa: a.K.dns.test. 50 5 b.K.dns.test. b.K.dns.test. 40 5 c.K.dns.test. c.K.dns.test. 30 1 "
                   "198.51.100.1:0 opt");
    KITH_CHECK_STR(ask(&rig, "a.K.dns.test.", KITH_DNS_CNAME), "0 aa: a.K.dns.test. 50 5 b.K.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "out.K.dns.test.", KITH_DNS_A), "0 aa: out.K.dns.test. 50 5 www.example. opt");
    KITH_CHECK_STR(ask(&rig, "gone.K.dns.test.", KITH_DNS_A),
                   "3 aa: gone.K.dns.test. 50 5 nowhere.K.dns.test.  | dns.test. 300 6 ns1.dns.test. opt");
    KITH_CHECK_STR(ask(&rig, "b.K.dns.test.", KITH_DNS_AAAA),
                   "0 aa: b.K.dns.test. 40 5 c.K.dns.test.  | dns.test. 300 6 ns1.dns.test. opt");
    ask(&rig, "loop.K.dns.test.", KITH_DNS_A);
    KITH_CHECK_EQ(rig.answer.rcode, 0);
    for (const char *at = rig.text; (at = strstr(at, " 5 ")) != NULL; at++)
        links++;
    KITH_CHECK_EQ(links, KITH_ZONE_CNAMES_MAX);
    rig_close(&rig);
}

KITH_TEST(answer_to_any_is_one_small_record)
{
    struct rig rig;

    rig_usual(&rig);
    KITH_CHECK_STR(ask(&rig, "_iroh.K.dns.test.", KITH_DNS_ANY), "0 aa: _iroh.K.dns.test. 3600 13 9 bytes opt");
    KITH_CHECK_STR(ask(&rig, "dns.test.", KITH_DNS_ANY), "0 aa: dns.test. 3600 13 9 bytes opt");
    KITH_CHECK_STR(ask(&rig, "no.K.dns.test.", KITH_DNS_ANY), "3 aa:  | dns.test. 300 6 ns1.dns.test. opt");
    rig_close(&rig);
}

KITH_TEST(answer_keeps_the_case_of_the_question_and_finds_it_in_any)
{
    char mixed[64];
    struct rig rig;

    rig_usual(&rig);
    for (size_t i = 0; i <= strlen(rig.key); i++)
        mixed[i] = (char)(i % 2 == 0 && rig.key[i] >= 'a' ? rig.key[i] - 32 : rig.key[i]);
    memcpy(rig.key, mixed, sizeof mixed); /* both of the question and, in tell(), of the answer */
    KITH_CHECK_STR(ask(&rig, "wWw.K.DnS.tESt.", KITH_DNS_A), "0 aa: wWw.K.DnS.tESt. 86400 1 198.51.100.1:0 opt");
    KITH_CHECK_STR(ask(&rig, "nOpe.K.DnS.tESt.", KITH_DNS_A), "3 aa:  | DnS.tESt. 300 6 ns1.dns.test. opt");
    rig_close(&rig);
}

KITH_TEST(answer_over_udp_is_bounded_by_the_client_and_by_us_and_else_only_says_so)
{
    struct record records[40];
    struct rig rig;

    for (size_t i = 0; i < 4; i++)
        records[i] = (struct record) { "_iroh", KITH_DNS_TXT, 30,
                                       "0123456789012345678901234567890123456789012345678901234567890123456789"
                                       "0123456789012345678901234567890123456789012345678901234567890123456789" };
    rig_open(&rig, records, 4);
    ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT);
    KITH_CHECK(!rig.answer.is_truncated && rig.answer.size > 512);
    rig.udp_size = 600;
    KITH_CHECK_STR(ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT), "0 aa tc: opt");
    KITH_CHECK(rig.answer.size <= rig.query_size);
    rig.udp_size = 10; /* means 512 */
    KITH_CHECK_STR(ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT), "0 aa tc: opt");
    rig.no_edns = true;
    KITH_CHECK_STR(ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT), "0 aa tc:");
    rig.is_tcp = true;
    ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT);
    KITH_CHECK(!rig.answer.is_truncated && rig.answer.size > 512);
    rig_close(&rig);
    /* A packet as large as they come, with a name that is written in full in each record. */
    for (size_t i = 0; i < 40; i++)
        records[i] = (struct record) { "_iroh", KITH_DNS_TXT, 30, "0123456789" };
    rig_open(&rig, records, 40);
    ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT);
    KITH_CHECK(rig.answer.size <= KITH_ZONE_UDP_SIZE && !rig.answer.is_truncated);
    rig_close(&rig);
}

KITH_TEST(answer_to_what_is_no_query_is_an_error_or_silence)
{
    static const uint8_t silent[][12] = { { 0xab, 0xcd, 0x80, 0, 0, 1 }, { 0xab, 0xcd, 0x84, 0, 0, 1 } };
    struct rig rig;

    rig_usual(&rig);
    for (size_t i = 0; i < KITH_COUNT(silent); i++) {
        memcpy(rig.query, silent[i], rig.query_size = 12);
        send_query(&rig);
        KITH_CHECK_EQ(rig.answer.outcome, KITH_ZONE_SILENT);
        KITH_CHECK_EQ(rig.answer.size, 0);
        KITH_CHECK_EQ(kith__zone_shorten((struct kith_slice) { rig.query, 12 }, rig.bytes, 512), 0);
    }
    rig.query_size = 11;
    send_query(&rig);
    KITH_CHECK_EQ(rig.answer.size, 0);
    write_query(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT, KITH_DNS_IN, 0);
    rig.query[5] = 2; /* two questions */
    send_query(&rig);
    KITH_CHECK_STR(rig.text, "1:");
    rig.query[5] = 0;
    send_query(&rig);
    KITH_CHECK_STR(rig.text, "1:");
    rig.query[5] = 1;
    rig.query_size -= 4; /* the OPT record is cut */
    send_query(&rig);
    KITH_CHECK_STR(rig.text, "1:");
    rig.query_size = 20;
    send_query(&rig);
    KITH_CHECK_STR(rig.text, "1:");
    rig_close(&rig);
}

KITH_TEST(answer_knows_only_version_zero_of_edns_and_one_opt)
{
    struct rig rig;

    rig_usual(&rig);
    write_query(&rig, "dns.test.", KITH_DNS_SOA, KITH_DNS_IN, 0);
    rig.query[rig.query_size - 5] = 1; /* version */
    send_query(&rig);
    KITH_CHECK_STR(rig.text, "16: opt");
    write_query(&rig, "dns.test.", KITH_DNS_SOA, KITH_DNS_IN, 0);
    memcpy(rig.query + rig.query_size, rig.query + rig.query_size - KITH_DNS_OPT_SIZE, KITH_DNS_OPT_SIZE);
    rig.query_size += KITH_DNS_OPT_SIZE;
    rig.query[11] = 2;
    send_query(&rig);
    KITH_CHECK_STR(rig.text, "1:");
    rig_close(&rig);
}

KITH_TEST(answer_waits_for_a_packet_that_is_being_looked_for)
{
    struct rig rig;

    rig_usual(&rig);
    rig.source_err = KITH_ERR_AGAIN;
    ask(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT);
    KITH_CHECK_EQ(rig.answer.outcome, KITH_ZONE_WAIT);
    KITH_CHECK_EQ(rig.answer.size, 0);
    KITH_CHECK_BYTES(rig.answer.id.bytes, rig.packet.bytes, KITH_ID_SIZE);
    rig_close(&rig);
}

KITH_TEST(answer_can_be_shortened_to_an_invitation_to_tcp)
{
    struct rig rig;
    size_t size;

    rig_usual(&rig);
    write_query(&rig, "_iroh.K.dns.test.", KITH_DNS_TXT, KITH_DNS_IN, KITH_DNS_RD);
    size = kith__zone_shorten((struct kith_slice) { rig.query, rig.query_size }, rig.bytes, 512);
    KITH_CHECK_EQ(size, rig.query_size - KITH_DNS_OPT_SIZE);
    KITH_CHECK_EQ(rig.bytes[2], 0x83); /* QR, TC, RD */
    rig_close(&rig);
}

KITH_TEST(zone_says_what_is_wrong_with_an_origin)
{
    static const struct kith_sockaddr none = { .family = KITH_FAMILY_NONE };
    static const char *const servers[] = { "ns..test" };
    static const struct {
        struct kith_dns_origin origin;
        int err;
        const char *what;
    } cases[] = {
        { { .name = "a..b" }, KITH_ERR_PARSE, "the name" },
        { { .name = NULL }, KITH_ERR_PARSE, "the name" },
        { { .name = "t", .soa = "a b 1 2 3 4" }, KITH_ERR_PARSE, "the SOA record" },
        { { .name = "t", .soa = "a b 1 2 3 4 5 6" }, KITH_ERR_PARSE, "the SOA record" },
        { { .name = "t", .soa = "a b 1 2 3 4 4294967296" }, KITH_ERR_PARSE, "the SOA record" },
        { { .name = "t", .addresses = &none, .address_count = 1 }, KITH_ERR_INVALID, "an address" },
        { { .name = "t", .address_count = 1 }, KITH_ERR_INVALID, "the number of its addresses" },
        { { .name = "t", .name_servers = servers, .name_server_count = 1 }, KITH_ERR_PARSE, "a name server" },
        { { .name = "t", .ttl_s = 0x80000000 }, KITH_ERR_INVALID, "the TTL" },
        { { .name = "FIRST." }, KITH_ERR_INVALID, "the name, which is there twice" },
    };
    struct kith_zone_problem problem;
    struct kith_zone *zone;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_dns_origin both[] = { { .name = "first" }, cases[i].origin };

        KITH_CHECK_EQ(kith__zone_new(kith_mem_default(), both, 2, &zone, &problem), cases[i].err);
        KITH_CHECK_STR(problem.what, cases[i].what);
        KITH_CHECK_EQ(problem.origin, 1);
    }
    KITH_CHECK_EQ(kith__zone_new(kith_mem_default(), NULL, 0, &zone, &problem), KITH_ERR_INVALID);
}
