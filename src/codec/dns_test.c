#include "base/test.h"
#include "codec/dns_parts.h"
#include <stdio.h>
#include <stdlib.h>

static const char id_z32[] = "yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy";
static const char id_base32[] = "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4a";

static void check_hex(const uint8_t *bytes, size_t size, const char *hex)
{
    uint8_t expected[2048];

    KITH_CHECK_EQ(size, bytes_of(hex, expected));
    KITH_CHECK_BYTES(bytes, expected, size);
}

static struct kith_dns_reader reader_of(const uint8_t *bytes, size_t size)
{
    struct kith_dns_reader r;

    KITH_CHECK_EQ(kith__dns_reader_init(&r, (struct kith_slice) { bytes, size }), 0);
    return r;
}

KITH_TEST(a_query_for_text_records_has_the_bytes_of_the_real_resolver)
{
    uint8_t message[512];
    char text[128];
    struct kith_dns_writer w;
    struct kith_dns_name name;

    snprintf(text, sizeof text, "_iroh.%s.dns.iroh.link.", id_z32);
    name = name_of(text);
    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message,
                                        &(struct kith_dns_header) { .id = 0x1234, .flags = KITH_DNS_RD }),
                  0);
    KITH_CHECK_EQ(kith__dns_write_question(&w, &name, KITH_DNS_TXT, KITH_DNS_IN), 0);
    KITH_CHECK_EQ(kith__dns_writer_finish(&w), 90);
    check_hex(message, 90,
              "1234 0100 0001 0000 0000 0000 05 5f69726f68 34"
              "79716f6f787839753361656d68386d6f3577637171313679756675366a69746f7571316f347a6137353164676572316967676879"
              "03 646e73 04 69726f68 04 6c696e6b 00 0010 0001");
}

/** The announcement of spec/03, 10.1. */
static const char announcement[] =
    "00008400000000020000000134616f7171707037747a79696c34686c7133756d6f6f733661746674366a767271746f737132787935337364"
    "676965737667673461075f69726f687631045f756470056c6f63616c0000210001000000000048000000002b673a616f7171707037747a79"
    "696c34686c7133756d6f6f733661746674366a767271746f7371327879353373646769657376676734612d3131313131056c6f63616c00c0"
    "0c001000010000000000322072656c61793d68747470733a2f2f72656c61792e6578616d706c652e636f6d2f10757365722d646174613d66"
    "6f6f626172c06500010001000000000004c0a80102";

KITH_TEST(an_announcement_on_the_local_network_has_the_bytes_of_the_spec)
{
    uint8_t message[1472];
    char text[256];
    struct kith_dns_writer w;
    struct kith_dns_name name, host;
    struct kith_dns_owner owner = { .name = &name, .section = KITH_DNS_ANSWER, .class_code = KITH_DNS_IN };
    struct kith_dns_srv srv = { .port = 11111 };
    struct kith_sockaddr ip;
    struct kith_slice strings[] = { slice_of("relay=https://relay.example.com/"), slice_of("user-data=foobar") };

    snprintf(text, sizeof text, "%s._irohv1._udp.local.", id_base32);
    name = name_of(text);
    snprintf(text, sizeof text, "%s-11111.local.", id_base32);
    host = srv.target = name_of(text);
    KITH_CHECK_EQ(kith_sockaddr_parse("192.168.1.2:11111", &ip), 0);
    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message,
                                        &(struct kith_dns_header) { .flags = KITH_DNS_QR | KITH_DNS_AA }),
                  0);
    KITH_CHECK_EQ(kith__dns_write_srv(&w, &owner, &srv), 0);
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, strings, 2), 0);
    owner.name = &host;
    owner.section = KITH_DNS_ADDITIONAL;
    KITH_CHECK_EQ(kith__dns_write_ip(&w, &owner, &ip), 0);
    KITH_CHECK_EQ(kith__dns_writer_finish(&w), 245);
    check_hex(message, 245, announcement);
}

KITH_TEST(the_question_on_the_local_network_has_the_bytes_of_the_spec)
{
    uint8_t message[64];
    struct kith_dns_writer w;
    struct kith_dns_name name = name_of("_irohv1._udp.local");

    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message, &(struct kith_dns_header) { .id = 0 }), 0);
    KITH_CHECK_EQ(kith__dns_write_question(&w, &name, KITH_DNS_PTR, KITH_DNS_IN), 0);
    KITH_CHECK_EQ(kith__dns_writer_finish(&w), 36);
    check_hex(message, 36, "0000 0000 0001 0000 0000 0000 07 5f69726f687631 04 5f756470 05 6c6f63616c 00 000c 0001");
}

KITH_TEST(an_announcement_is_read_record_by_record)
{
    uint8_t bytes[512], text[128];
    size_t size = bytes_of(announcement, bytes);
    struct kith_dns_reader r = reader_of(bytes, size);
    struct kith_dns_record record;
    struct kith_dns_srv srv;
    struct kith_sockaddr ip;
    struct kith_reader strings;
    struct kith_slice string;

    KITH_CHECK_EQ(r.header.flags, KITH_DNS_QR | KITH_DNS_AA);
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    KITH_CHECK_EQ(record.section, KITH_DNS_ANSWER);
    KITH_CHECK_EQ(record.class_code, KITH_DNS_IN);
    KITH_CHECK(kith__dns_name_label_is(&record.name, 1, "_IROHV1"));
    KITH_CHECK_EQ(kith__dns_rdata_srv(&record, &srv), 0);
    KITH_CHECK_EQ(srv.port, 11111);
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    strings = kith__reader_of_slice(record.rdata);
    KITH_CHECK_EQ(kith__dns_next_string(&strings, &string), 0);
    KITH_CHECK_EQ(string.size, 32);
    KITH_CHECK_EQ(kith__dns_next_string(&strings, &string), 0);
    KITH_CHECK_BYTES(string.ptr, "user-data=foobar", string.size);
    KITH_CHECK_EQ(kith__dns_next_string(&strings, &string), KITH_ERR_END);
    KITH_CHECK_EQ(kith__dns_rdata_txt(&record, text, sizeof text, &size), 0);
    KITH_CHECK_EQ(size, 48);
    KITH_CHECK_EQ(kith__dns_rdata_txt(&record, text, 47, &size), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    KITH_CHECK_EQ(record.section, KITH_DNS_ADDITIONAL);
    KITH_CHECK(kith__dns_name_equal(&record.name, &srv.target));
    KITH_CHECK_EQ(kith__dns_rdata_ip(&record, &ip), 0);
    KITH_CHECK_BYTES(ip.ip, ((const uint8_t[]) { 192, 168, 1, 2 }), 4);
    KITH_CHECK_EQ(kith__dns_rdata_srv(&record, &srv), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), KITH_ERR_END);
}

KITH_TEST(every_cut_of_a_message_is_told)
{
    uint8_t bytes[512];
    size_t size = bytes_of(announcement, bytes);
    struct kith_dns_reader r;
    struct kith_dns_record record;

    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *copy = malloc(cut + 1); /* its own block: reading beyond it is seen by sanitizers */
        int err = 0;

        memcpy(copy, bytes, cut);
        if (cut < KITH_DNS_HEADER_SIZE) {
            KITH_CHECK_EQ(kith__dns_reader_init(&r, (struct kith_slice) { copy, cut }), KITH_ERR_TRUNCATED);
        } else {
            r = reader_of(copy, cut);
            while (err == 0)
                err = kith__dns_next_record(&r, &record);
            KITH_CHECK_EQ(err, KITH_ERR_TRUNCATED);
        }
        free(copy);
    }
}

/** One record of every kind that has a helper; stops at the first that finds no room. */
static int write_all_kinds(struct kith_dns_writer *w)
{
    struct kith_dns_name zone = name_of("example.com"), www = name_of("www.example.com"),
                         host = name_of("ns1.example.com");
    struct kith_dns_owner owner = { &zone, KITH_DNS_ANSWER, KITH_DNS_IN, 300 };
    struct kith_dns_soa soa = { host, name_of("hostmaster.example.com"), 1, 2, 3, 4, 5 };
    struct kith_dns_srv srv = { 1, 2, 443, www };
    struct kith_dns_opt opt = { .udp_size = 1232, .rcode_upper = 1, .dnssec_ok = true };
    struct kith_sockaddr v4, v6;
    struct kith_slice strings[] = { slice_of("one"), slice_of("") };
    int err;

    KITH_CHECK_EQ(kith_sockaddr_parse("192.0.2.1:0", &v4), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("[2001:db8::1]:0", &v6), 0);
    if ((err = kith__dns_write_question(w, &www, KITH_DNS_ANY, KITH_DNS_IN)) != 0 ||
        (err = kith__dns_write_soa(w, &owner, &soa)) != 0 ||
        (err = kith__dns_write_name(w, &owner, KITH_DNS_NS, &host)) != 0 ||
        (err = kith__dns_write_txt(w, &owner, strings, 2)) != 0 || (err = kith__dns_write_srv(w, &owner, &srv)) != 0)
        return err;
    owner.section = KITH_DNS_AUTHORITY;
    owner.name = &www;
    if ((err = kith__dns_write_ip(w, &owner, &v4)) != 0 || (err = kith__dns_write_ip(w, &owner, &v6)) != 0)
        return err;
    owner.section = KITH_DNS_ADDITIONAL;
    if ((err = kith__dns_write_raw(w, &owner, 65280, slice_of("data"))) != 0)
        return err;
    return kith__dns_write_opt(w, &opt);
}

static const struct kith_dns_header no_header = { .id = 7, .flags = KITH_DNS_QR };

KITH_TEST(what_is_written_is_read)
{
    uint8_t message[1024];
    struct kith_dns_writer w;
    struct kith_dns_reader r;
    struct kith_dns_question question;
    struct kith_dns_record record;
    struct kith_dns_soa soa;
    struct kith_dns_opt opt;
    struct kith_dns_name name;
    struct kith_sockaddr ip;
    char text[KITH_SOCKADDR_TEXT_SIZE];

    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message, &no_header), 0);
    KITH_CHECK_EQ(write_all_kinds(&w), 0);
    r = reader_of(message, kith__dns_writer_finish(&w));
    KITH_CHECK_EQ(r.header.id, 7);
    KITH_CHECK_EQ(r.header.counts[KITH_DNS_ANSWER], 4);
    KITH_CHECK_EQ(r.header.counts[KITH_DNS_AUTHORITY], 2);
    KITH_CHECK_EQ(kith__dns_next_question(&r, &question), 0);
    check_text(&question.name, "www.example.com.");
    KITH_CHECK_EQ(kith__dns_next_question(&r, &question), KITH_ERR_END);
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    check_text(&record.name, "example.com.");
    KITH_CHECK_EQ(record.ttl_s, 300);
    KITH_CHECK_EQ(kith__dns_rdata_soa(&record, &soa), 0);
    check_text(&soa.mname, "ns1.example.com.");
    check_text(&soa.rname, "hostmaster.example.com.");
    KITH_CHECK_EQ(soa.serial * 10000 + soa.refresh_s * 1000 + soa.retry_s * 100 + soa.expire_s * 10 + soa.minimum_s,
                  12345);
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    KITH_CHECK_EQ(record.rdata.size, 2); /* all of it a pointer */
    KITH_CHECK_EQ(kith__dns_rdata_name(&record, &name), 0);
    check_text(&name, "ns1.example.com.");
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    KITH_CHECK_EQ(record.rdata.size, 5);
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    KITH_CHECK_EQ(record.rdata.size, 6 + 17); /* in full */
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    KITH_CHECK_EQ(record.section, KITH_DNS_AUTHORITY);
    KITH_CHECK_EQ(kith__dns_rdata_ip(&record, &ip), 0);
    KITH_CHECK_STR(kith_sockaddr_format(&ip, text), "192.0.2.1:0");
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    KITH_CHECK_EQ(kith__dns_rdata_ip(&record, &ip), 0);
    KITH_CHECK_STR(kith_sockaddr_format(&ip, text), "[2001:db8::1]:0");
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    KITH_CHECK_EQ(record.type, 65280);
    KITH_CHECK_BYTES(record.rdata.ptr, "data", 4);
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    KITH_CHECK_EQ(kith__dns_rdata_opt(&record, &opt), 0);
    KITH_CHECK_EQ(opt.udp_size, 1232);
    KITH_CHECK_EQ(opt.rcode_upper, 1);
    KITH_CHECK_EQ(opt.version, 0);
    KITH_CHECK(opt.dnssec_ok);
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), KITH_ERR_END);
}

KITH_TEST(a_record_that_finds_no_room_leaves_no_trace)
{
    uint8_t whole[1024];
    struct kith_dns_writer w;
    size_t whole_size;

    KITH_CHECK_EQ(kith__dns_writer_init(&w, whole, sizeof whole, &no_header), 0);
    KITH_CHECK_EQ(write_all_kinds(&w), 0);
    whole_size = kith__dns_writer_finish(&w);
    for (size_t room = KITH_DNS_HEADER_SIZE; room < whole_size; room++) {
        uint8_t *cut = malloc(room);
        struct kith_dns_reader r;
        struct kith_dns_record record;
        size_t size;
        int err;

        KITH_CHECK_EQ(kith__dns_writer_init(&w, cut, room, &no_header), 0);
        KITH_CHECK_EQ(write_all_kinds(&w), KITH_ERR_TOO_LARGE);
        size = kith__dns_writer_finish(&w);
        KITH_CHECK(size <= room);
        KITH_CHECK_BYTES(cut + KITH_DNS_HEADER_SIZE, whole + KITH_DNS_HEADER_SIZE, size - KITH_DNS_HEADER_SIZE);
        r = reader_of(cut, size);
        while ((err = kith__dns_next_record(&r, &record)) == 0)
            ;
        KITH_CHECK_EQ(err, KITH_ERR_END);
        KITH_CHECK_EQ(r.at, size);
        free(cut);
    }
    KITH_CHECK_EQ(kith__dns_writer_init(&w, whole, KITH_DNS_HEADER_SIZE - 1, &no_header), KITH_ERR_TOO_LARGE);
}

KITH_TEST(names_never_point_to_what_was_taken_back)
{
    uint8_t message[512];
    struct kith_dns_writer w;
    struct kith_dns_mark mark;
    struct kith_dns_name a = name_of("a.example"), b = name_of("b.a.example"), name;
    struct kith_dns_owner owner = { &b, KITH_DNS_ANSWER, KITH_DNS_IN, 0 };
    size_t at = KITH_DNS_HEADER_SIZE;

    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message, &no_header), 0);
    mark = kith__dns_writer_mark(&w);
    KITH_CHECK_EQ(kith__dns_write_raw(&w, &owner, 99, slice_of("")), 0);
    kith__dns_writer_rollback(&w, &mark);
    owner.name = &a;
    KITH_CHECK_EQ(kith__dns_write_raw(&w, &owner, 99, slice_of("")), 0);
    KITH_CHECK_EQ(kith__dns_writer_finish(&w), KITH_DNS_HEADER_SIZE + 11 + 10);
    KITH_CHECK_EQ(kith__dns_read_name((struct kith_slice) { message, sizeof message }, &at, &name), 0);
    check_text(&name, "a.example.");
}

KITH_TEST(a_limit_keeps_room_for_what_comes_last)
{
    uint8_t message[100];
    struct kith_dns_writer w;
    struct kith_dns_name name = name_of("a");
    struct kith_dns_owner owner = { &name, KITH_DNS_ANSWER, KITH_DNS_IN, 0 };
    struct kith_dns_opt opt = { .udp_size = 1232 };

    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message, &no_header), 0);
    kith__dns_writer_limit(&w, sizeof message - KITH_DNS_OPT_SIZE);
    while (kith__dns_write_raw(&w, &owner, 99, slice_of("x")) == 0)
        ;
    kith__dns_writer_flags(&w, KITH_DNS_RCODE_MASK, KITH_DNS_TC);
    kith__dns_writer_limit(&w, SIZE_MAX);
    KITH_CHECK_EQ(kith__dns_write_opt(&w, &opt), 0);
    KITH_CHECK(kith__dns_writer_finish(&w) <= sizeof message);
    KITH_CHECK_EQ(reader_of(message, sizeof message).header.flags, KITH_DNS_QR | KITH_DNS_TC);
    kith__dns_writer_limit(&w, 0); /* what is written stays */
    KITH_CHECK_EQ(kith__writer_left(&w.w), 0);
}

KITH_TEST(without_compression_names_are_in_full)
{
    uint8_t message[512];
    struct kith_dns_writer w;
    struct kith_dns_name name = name_of("a.example");
    struct kith_dns_owner owner = { &name, KITH_DNS_ANSWER, KITH_DNS_IN, 0 };

    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message, &no_header), 0);
    w.compress = false;
    for (size_t i = 0; i < 2; i++)
        KITH_CHECK_EQ(kith__dns_write_name(&w, &owner, KITH_DNS_CNAME, &name), 0);
    KITH_CHECK_EQ(kith__dns_writer_finish(&w), 12 + 2 * (11 + 10 + 11));
    w.compress = true;
    KITH_CHECK_EQ(kith__dns_write_name(&w, &owner, KITH_DNS_CNAME, &name), 0);
    KITH_CHECK_EQ(kith__dns_writer_finish(&w), 12 + 2 * (11 + 10 + 11) + 2 + 10 + 2);
}

KITH_TEST(more_names_than_can_be_remembered_are_written_in_full)
{
    static uint8_t message[KITH_DNS_MESSAGE_SIZE_MAX];
    struct kith_dns_writer w;
    struct kith_dns_reader r;
    struct kith_dns_record record;
    struct kith_dns_name name;
    struct kith_dns_owner owner = { &name, KITH_DNS_ANSWER, KITH_DNS_IN, 0 };
    char text[32];
    size_t count = 0;

    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message, &no_header), 0);
    do {
        snprintf(text, sizeof text, "host%zu.example", count);
        name = name_of(text);
    } while (kith__dns_write_raw(&w, &owner, 99, slice_of("x")) == 0 && ++count != 0);
    r = reader_of(message, kith__dns_writer_finish(&w));
    KITH_CHECK(count > 2 * KITH_DNS_TARGETS_MAX);
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "host%zu.example.", i);
        KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
        check_text(&record.name, text);
    }
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), KITH_ERR_END);
}

KITH_TEST(names_beyond_the_reach_of_pointers_are_written_in_full)
{
    static uint8_t message[KITH_DNS_MESSAGE_SIZE_MAX], filler[0x4000];
    struct kith_dns_writer w;
    struct kith_dns_reader r;
    struct kith_dns_record record;
    struct kith_dns_name root = name_of("."), far = name_of("far.example");
    struct kith_dns_owner owner = { &root, KITH_DNS_ANSWER, KITH_DNS_IN, 0 };

    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message, &no_header), 0);
    KITH_CHECK_EQ(kith__dns_write_raw(&w, &owner, 99, (struct kith_slice) { filler, sizeof filler }), 0);
    owner.name = &far;
    for (size_t i = 0; i < 2; i++)
        KITH_CHECK_EQ(kith__dns_write_raw(&w, &owner, 99, slice_of("x")), 0);
    r = reader_of(message, kith__dns_writer_finish(&w));
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    for (size_t i = 0; i < 2; i++) {
        KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
        check_text(&record.name, "far.example.");
    }
}

KITH_TEST(copied_records_have_no_pointers_into_the_old_message)
{
    /* MX, NAPTR and an unknown type of a zone; the names in the first two point to the owner of the first. */
    static const char from_hex[] = "0000 8000 0000 0003 0000 0000"
                                   "0161 047a6f6e65 00 000f 0001 0000003c 0007 000a 026d78 c00e"
                                   "c00c 0023 0001 0000003c 000e 0001 0002 0162 0163 0164 0178 c00e"
                                   "c00c ff00 0001 0000003c 0002 c00c";
    uint8_t from[256], to[512], expected[64];
    struct kith_dns_writer w;
    struct kith_dns_reader r = reader_of(from, bytes_of(from_hex, from)), again;
    struct kith_dns_record record;
    struct kith_dns_name owner_name = name_of("other.example");
    struct kith_dns_owner owner = { &owner_name, KITH_DNS_ANSWER, KITH_DNS_IN, 5 };
    size_t size;

    KITH_CHECK_EQ(kith__dns_writer_init(&w, to, sizeof to, &no_header), 0);
    for (size_t i = 0; i < 3; i++) {
        KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
        KITH_CHECK_EQ(kith__dns_write_copy(&w, &owner, &record), 0);
    }
    again = reader_of(to, kith__dns_writer_finish(&w));
    KITH_CHECK_EQ(kith__dns_next_record(&again, &record), 0);
    check_text(&record.name, "other.example.");
    size = bytes_of("000a 026d78 047a6f6e65 00", expected);
    KITH_CHECK_EQ(record.rdata.size, size);
    KITH_CHECK_BYTES(record.rdata.ptr, expected, size);
    KITH_CHECK_EQ(kith__dns_next_record(&again, &record), 0);
    size = bytes_of("0001 0002 0162 0163 0164 0178 047a6f6e65 00", expected);
    KITH_CHECK_EQ(record.rdata.size, size);
    KITH_CHECK_BYTES(record.rdata.ptr, expected, size);
    KITH_CHECK_EQ(kith__dns_next_record(&again, &record), 0);
    KITH_CHECK_EQ(record.type, 0xff00);
    KITH_CHECK_BYTES(record.rdata.ptr, "\xc0\x0c", 2);
}

KITH_TEST(malformed_data_are_not_copied_and_not_read)
{
    static const struct {
        uint16_t type;
        const char *data;
    } cases[] = {
        { KITH_DNS_NS, "" },
        { KITH_DNS_NS, "01" },
        { KITH_DNS_NS, "00 00" },
        { KITH_DNS_NS, "c0ff" },
        { KITH_DNS_SOA, "00" }, /* the second name would be that of the next record */
        { KITH_DNS_SOA, "00 00 00000000 00000000 00000000 00000000 000000" },
        { KITH_DNS_SOA, "00 00 00000000 00000000 00000000 00000000 00000000 00" },
        { KITH_DNS_SRV, "0000 0000 00" },
        { KITH_DNS_SRV, "0000 0000 0000 00 00" },
    };
    uint8_t from[256], to[256], data[64];
    struct kith_dns_name root = name_of(".");
    struct kith_dns_owner owner = { &root, KITH_DNS_ANSWER, KITH_DNS_IN, 5 };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_dns_writer w;
        struct kith_dns_reader r;
        struct kith_dns_record record;
        struct kith_dns_name name;
        struct kith_dns_soa soa;
        struct kith_dns_srv srv;
        size_t size = bytes_of(cases[i].data, data);
        int err;

        KITH_CHECK_EQ(kith__dns_writer_init(&w, from, sizeof from, &no_header), 0);
        KITH_CHECK_EQ(kith__dns_write_raw(&w, &owner, cases[i].type, (struct kith_slice) { data, size }), 0);
        KITH_CHECK_EQ(kith__dns_write_raw(&w, &owner, 99, slice_of("")), 0); /* so that something follows */
        r = reader_of(from, kith__dns_writer_finish(&w));
        KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
        KITH_CHECK_EQ(kith__dns_writer_init(&w, to, sizeof to, &no_header), 0);
        err = kith__dns_write_copy(&w, &owner, &record);
        KITH_CHECK(err == KITH_ERR_PARSE || err == KITH_ERR_TRUNCATED);
        KITH_CHECK_EQ(kith__dns_writer_finish(&w), KITH_DNS_HEADER_SIZE);
        err = record.type == KITH_DNS_NS    ? kith__dns_rdata_name(&record, &name)
              : record.type == KITH_DNS_SOA ? kith__dns_rdata_soa(&record, &soa)
                                            : kith__dns_rdata_srv(&record, &srv);
        KITH_CHECK(err == KITH_ERR_PARSE || err == KITH_ERR_TRUNCATED);
    }
}

KITH_TEST(options_of_edns_are_gone_through)
{
    uint8_t message[128], data[64];
    struct kith_dns_writer w;
    struct kith_dns_reader r;
    struct kith_dns_record record;
    struct kith_dns_opt opt = { .udp_size = 4096 }, read;
    struct kith_reader options;
    struct kith_slice option;
    uint16_t code;

    opt.options = (struct kith_slice) { data, bytes_of("000a 0008 0102030405060708 000c 0000", data) };
    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message, &no_header), 0);
    KITH_CHECK_EQ(kith__dns_write_opt(&w, &opt), 0);
    r = reader_of(message, kith__dns_writer_finish(&w));
    KITH_CHECK_EQ(kith__dns_next_record(&r, &record), 0);
    KITH_CHECK_EQ(kith__dns_rdata_opt(&record, &read), 0);
    options = kith__reader_of_slice(read.options);
    KITH_CHECK_EQ(kith__dns_next_option(&options, &code, &option), 0);
    KITH_CHECK_EQ(code, KITH_DNS_OPTION_COOKIE);
    KITH_CHECK_EQ(option.size, 8);
    KITH_CHECK_EQ(kith__dns_next_option(&options, &code, &option), 0);
    KITH_CHECK_EQ(code, KITH_DNS_OPTION_PADDING);
    KITH_CHECK_EQ(kith__dns_next_option(&options, &code, &option), KITH_ERR_END);
    record.rdata.size -= 1;
    KITH_CHECK_EQ(kith__dns_rdata_opt(&record, &read), KITH_ERR_TRUNCATED);
}

KITH_TEST(strings_of_more_than_255_bytes_are_refused)
{
    uint8_t message[512], text[256] = { 0 };
    struct kith_dns_writer w;
    struct kith_dns_name root = name_of(".");
    struct kith_dns_owner owner = { &root, KITH_DNS_ANSWER, KITH_DNS_IN, 5 };

    KITH_CHECK_EQ(kith__dns_writer_init(&w, message, sizeof message, &no_header), 0);
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, &(struct kith_slice) { text, 256 }, 1), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, &(struct kith_slice) { text, 255 }, 1), 0);
    KITH_CHECK_EQ(kith__dns_writer_finish(&w), 12 + 1 + 10 + 256);
    KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, NULL, 0), 0);
    KITH_CHECK_EQ(kith__dns_writer_finish(&w), 12 + 1 + 10 + 256 + 1 + 10 + 1);
}
