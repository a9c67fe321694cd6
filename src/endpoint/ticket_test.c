#include "base/mem.h"
#include "base/test.h"
#include "codec/base32.h"
#include "endpoint/ticket.h"
#include <string.h>

#define ID       "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
#define ID2      "ae58ff8833241ac82d6ff7611046ed67b5072d142c588d0063e942d9a75502b6"
#define HASH     "0b84d358e4c8be6c38626b2182ff575818ba6bd3f4b90464994be14cb354a072"
#define NO_ADDRS "endpointaab2cb576phbbpq5odorrz2lycmwpzgwgcn2kdk7dxoimzaskuy3qaa"
#define ONE_ADDR "endpointaab2cb576phbbpq5odorrz2lycmwpzgwgcn2kdk7dxoimzaskuy3qaibab7qaaab2ieq"
#define DERP     "endpointacxfr74igmsbvsbnn73wcecg5vt3kbzncqwfrdiampuufwnhkublmaqacbuhi5dqhixs6zdfojyc43lffyxqcad7aaaadaai"
#define BLOB                                                                                                           \
    "blobaab2cb576phbbpq5odorrz2lycmwpzgwgcn2kdk7dxoimzaskuy3qaaaaafyju2y4tel43bymjvsdax7k5mbrotl2p2lsbdetff6ctftksqh" \
    "e"

static void unhex(const char *hex, uint8_t out[32])
{
    KITH_ASSERT(kith__hex_decode(hex, 64, out) == 0);
}

/** The ticket text of a payload given in hex, which may contain spaces; ends in 0. The caller disposes of it. */
static struct kith_buf text_of(const char *kind, const char *hex)
{
    char digits[1024];
    uint8_t bytes[512];
    size_t size = 0;
    struct kith_buf text;

    for (; *hex != '\0'; hex++)
        if (*hex != ' ')
            digits[size++] = *hex;
    KITH_ASSERT(kith__hex_decode(digits, size, bytes) == 0);
    kith__buf_init(&text, kith_mem_default());
    KITH_ASSERT(kith__ticket_text_encode(kind, (struct kith_slice) { bytes, size / 2 }, &text) == 0);
    KITH_ASSERT(kith__buf_append_byte(&text, '\0') == 0);
    return text;
}

static int parse(const char *text, struct kith_endpoint_addr *out)
{
    return kith__endpoint_ticket_parse(text, strlen(text), kith_mem_default(), out);
}

static int parse_payload(const char *hex, struct kith_endpoint_addr *out)
{
    struct kith_buf text = text_of("endpoint", hex);
    int err = parse((const char *)text.ptr, out);

    kith__buf_dispose(&text);
    return err;
}

static void check_text(struct kith_buf *text, const char *want)
{
    KITH_CHECK_EQ(kith__buf_append_byte(text, '\0'), 0);
    KITH_CHECK_STR((const char *)text->ptr, want);
    kith__buf_dispose(text);
}

static void add_ip(struct kith_endpoint_addr *addr, const char *text)
{
    struct kith_sockaddr ip;

    KITH_ASSERT(kith_sockaddr_parse(text, &ip) == 0);
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(addr, &ip), 0);
}

/* spec/03, 3.2. */
KITH_TEST(endpoint_tickets_are_those_of_peers)
{
    struct kith_endpoint_addr addr;
    struct kith_buf text;
    struct kith_id id;

    kith__buf_init(&text, kith_mem_default());
    unhex(ID, id.bytes);
    kith__endpoint_addr_init(&addr, kith_mem_default(), &id);
    KITH_CHECK_EQ(kith__endpoint_ticket_format(&addr, &text), 0);
    check_text(&text, NO_ADDRS);
    add_ip(&addr, "127.0.0.1:1234");
    KITH_CHECK_EQ(kith__endpoint_ticket_format(&addr, &text), 0);
    check_text(&text, ONE_ADDR);
    kith__endpoint_addr_dispose(&addr);
    unhex(ID2, addr.id.bytes);
    add_ip(&addr, "127.0.0.1:1024");
    KITH_CHECK_EQ(kith__endpoint_addr_add_relay(&addr, "http://derp.me./", 16), 0);
    KITH_CHECK_EQ(kith__endpoint_ticket_format(&addr, &text), 0);
    check_text(&text, DERP);
    kith__endpoint_addr_dispose(&addr);
}

KITH_TEST(endpoint_tickets_of_peers_are_read)
{
    static const char *const texts[] = { NO_ADDRS, ONE_ADDR, DERP };

    for (size_t i = 0; i < KITH_COUNT(texts); i++) {
        struct kith_endpoint_addr addr;
        struct kith_buf text;

        KITH_CHECK_EQ(parse(texts[i], &addr), 0);
        KITH_CHECK_EQ(addr.count, i);
        kith__buf_init(&text, kith_mem_default());
        KITH_CHECK_EQ(kith__endpoint_ticket_format(&addr, &text), 0);
        check_text(&text, texts[i]);
        kith__endpoint_addr_dispose(&addr);
    }
}

KITH_TEST(ticket_text_is_strict_but_for_case)
{
    static const char *const bad[] = {
        "",
        "endpoint",
        "endpoin",
        "ENDPOINTAAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QAA",
        " " NO_ADDRS,
        NO_ADDRS " ",
        NO_ADDRS "=",
        "endpointaab2cb576phbbpq5odorrz2lycmwpzgwgcn2kdk7dxoimzaskuy3qab",
        "nodeaab2cb576phbbpq5odorrz2lycmwpzgwgcn2kdk7dxoimzaskuy3qaa",
        BLOB,
    };
    struct kith_endpoint_addr addr;

    KITH_CHECK_EQ(parse("endpointAAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QAA", &addr), 0);
    kith__endpoint_addr_dispose(&addr);
    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK_EQ(parse(bad[i], &addr), i == 1 ? KITH_ERR_TRUNCATED : KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__endpoint_ticket_parse(NO_ADDRS, KITH_TICKET_TEXT_MAX + 1, kith_mem_default(), &addr),
                  KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__endpoint_ticket_parse(NULL, 0, kith_mem_default(), &addr), KITH_ERR_PARSE);
}

KITH_TEST(endpoint_ticket_payload_errors_are_those_of_peers)
{
    struct kith_endpoint_addr addr;

    KITH_CHECK_EQ(parse_payload("01 " ID " 00", &addr), KITH_ERR_PARSE);                         /* variant */
    KITH_CHECK_EQ(parse_payload("00 " ID " 02 01 00 7f000001 d209", &addr), KITH_ERR_TRUNCATED); /* count */
    KITH_CHECK_EQ(parse_payload("00 " ID " 01 01 02 7f000001 d209", &addr), KITH_ERR_PARSE);     /* IP variant */
    KITH_CHECK_EQ(parse_payload("00 " ID " 01 03 00 7f000001 d209", &addr), KITH_ERR_PARSE);     /* transport */
    KITH_CHECK_EQ(parse_payload("00 " ID " 01 01 00 7f000001 808004", &addr), KITH_ERR_PARSE);   /* port */
    KITH_CHECK_EQ(parse_payload("00 " ID " 01 00 03 666f6f", &addr), KITH_ERR_PARSE);            /* URL */
    KITH_CHECK_EQ(parse_payload("00 0200000000000000000000000000000000000000000000000000000000000000 00", &addr),
                  KITH_ERR_CRYPTO);
    KITH_CHECK_EQ(parse_payload("00 " ID " 00 ffff", &addr), 0); /* bytes after the payload are ignored */
    kith__endpoint_addr_dispose(&addr);
    KITH_CHECK_EQ(parse_payload("00 " ID " 02 00 09 687474703a2f2f612f 00 09 687474703a2f2f622f", &addr), 0);
    KITH_CHECK_EQ(addr.count, 2);
    kith__endpoint_addr_dispose(&addr);
    KITH_CHECK_EQ(parse_payload("00 " ID " 01 01 01 00000000000000000000000000000001 ffff03", &addr), 0);
    KITH_CHECK(addr.addrs[0].ip.port == 65535 && addr.addrs[0].ip.family == KITH_FAMILY_V6);
    kith__endpoint_addr_dispose(&addr);
}

/* spec/03, 2.4: the old form has no mark of its own. */
KITH_TEST(custom_addresses_in_tickets_are_read_in_both_forms)
{
    static const char *const payloads[] = {
        "00 " ID " 01 02 20 06 a1b2c3d4e5f6",
        "00 " ID " 01 02 20 00 06 a1b2c3d4e5f6 000000000000000000000000000000000000000000000000",
        "00 " ID " 01 02 20 01 06 a1b2c3d4e5f6",
    };

    for (size_t i = 0; i < KITH_COUNT(payloads); i++) {
        struct kith_endpoint_addr addr;

        KITH_CHECK_EQ(parse_payload(payloads[i], &addr), 0);
        KITH_CHECK_EQ(addr.count, 1);
        KITH_CHECK_EQ(addr.addrs[0].custom_id, 0x20);
        KITH_CHECK_EQ(addr.addrs[0].bytes.size, 6);
        KITH_CHECK_BYTES(addr.addrs[0].bytes.ptr, "\xa1\xb2\xc3\xd4\xe5\xf6", 6);
        kith__endpoint_addr_dispose(&addr);
    }
}

static int parse_blob(const char *hex, struct kith_blob_ref *out)
{
    struct kith_buf text = text_of("blob", hex);
    int err = kith__blob_ref_parse((const char *)text.ptr, text.size - 1, kith_mem_default(), out);

    kith__buf_dispose(&text);
    return err;
}

/* spec/03, 3.3. */
KITH_TEST(blob_tickets_are_those_of_peers)
{
    static const char full[] = "00 " ID " 01 1b 68747470733a2f2f72656c61792e6578616d706c652e636f6d2e2f 02 00 7f000001 "
                               "d209 01 00000000000000000000000000000001 bb03 01 " HASH;
    struct kith_blob_ref ticket;
    struct kith_buf text, want;
    uint8_t hash[32];

    unhex(HASH, hash);
    kith__buf_init(&text, kith_mem_default());
    KITH_CHECK_EQ(kith__blob_ref_parse(BLOB, strlen(BLOB), kith_mem_default(), &ticket), 0);
    KITH_CHECK(ticket.addr.count == 0 && !ticket.is_hash_seq);
    KITH_CHECK_BYTES(ticket.hash.bytes, hash, 32);
    KITH_CHECK_EQ(kith__blob_ref_format(&ticket, &text), 0);
    check_text(&text, BLOB);
    kith__blob_ref_dispose(&ticket);
    KITH_CHECK_EQ(parse_blob(full, &ticket), 0);
    KITH_CHECK(ticket.addr.count == 3 && ticket.is_hash_seq);
    /* What has no place in this ticket is left out: later relays and custom addresses. */
    KITH_CHECK_EQ(kith__endpoint_addr_add_relay(&ticket.addr, "https://z/", 10), 0);
    KITH_CHECK_EQ(kith__endpoint_addr_add_custom_text(&ticket.addr, "20_aa", 5), 0);
    KITH_CHECK_EQ(kith__blob_ref_format(&ticket, &text), 0);
    want = text_of("blob", full);
    check_text(&text, (const char *)want.ptr);
    kith__buf_dispose(&want);
    kith__blob_ref_dispose(&ticket);
    KITH_CHECK_EQ(parse_blob("00 " ID2 " 00 00 00 " HASH, &ticket), 0);
    kith__blob_ref_dispose(&ticket);
}

KITH_TEST(blob_tickets_with_errors_are_refused)
{
    struct kith_blob_ref ticket;

    KITH_CHECK_EQ(parse_blob("00 " ID " 00 01 00 7f000001 01 02 " HASH, &ticket), KITH_ERR_PARSE);
    KITH_CHECK_EQ(parse_blob("00 " ID " 02 00 00 " HASH, &ticket), KITH_ERR_PARSE);
    KITH_CHECK_EQ(parse_blob("01 " ID " 00 00 00 " HASH, &ticket), KITH_ERR_PARSE);
    KITH_CHECK_EQ(parse_blob("00 " ID " 00 00 00 0b84", &ticket), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(parse_blob("00 " ID " 00 ffff7f 00 " HASH, &ticket), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__blob_ref_parse(NO_ADDRS, strlen(NO_ADDRS), kith_mem_default(), &ticket), KITH_ERR_PARSE);
}

static int parse_doc(const char *hex, struct kith_doc_ticket *out)
{
    struct kith_buf text = text_of("doc", hex);
    int err = kith__doc_ticket_parse((const char *)text.ptr, text.size - 1, kith_mem_default(), out);

    kith__buf_dispose(&text);
    return err;
}

/* spec/03, 3.4. */
KITH_TEST(doc_tickets_come_back)
{
    static const char *const payloads[] = {
        "00 01 " ID2 " 01 " ID2 " 00",
        "00 00 20 3e375208cb3587e428a7b819bc849004f505302acf3b1ce2ee51dc62f38803ed 02 " ID2 " 00 " ID
        " 01 01 00 7f000001 d209",
    };

    for (size_t i = 0; i < KITH_COUNT(payloads); i++) {
        struct kith_doc_ticket ticket;
        struct kith_buf text, want = text_of("doc", payloads[i]);

        kith__buf_init(&text, kith_mem_default());
        KITH_CHECK_EQ(parse_doc(payloads[i], &ticket), 0);
        KITH_CHECK_EQ(ticket.count, i + 1);
        KITH_CHECK_EQ(ticket.can_write, i == 1);
        KITH_CHECK_EQ(kith__doc_ticket_format(&ticket, &text), 0);
        check_text(&text, (const char *)want.ptr);
        kith__buf_dispose(&want);
        kith__doc_ticket_dispose(&ticket);
        KITH_CHECK_EQ(kith__doc_ticket_format(&ticket, &text), KITH_ERR_INVALID);
    }
}

KITH_TEST(doc_tickets_of_older_releases_are_read)
{
    struct kith_doc_ticket ticket;

    /* With a relay the new layout fails; without one it would lose the direct address. */
    KITH_CHECK_EQ(parse_doc("00 01 " ID2 " 01 " ID " 01 09 687474703a2f2f612f 01 00 7f000001 d209", &ticket), 0);
    KITH_CHECK_EQ(ticket.nodes[0].count, 2);
    kith__doc_ticket_dispose(&ticket);
    KITH_CHECK_EQ(parse_doc("00 01 " ID2 " 01 " ID " 00 01 00 7f000001 d209", &ticket), 0);
    KITH_CHECK_EQ(ticket.nodes[0].count, 1);
    kith__doc_ticket_dispose(&ticket);
}

KITH_TEST(doc_tickets_with_errors_are_refused)
{
    struct kith_doc_ticket ticket;

    KITH_CHECK_EQ(parse_doc("00 01 " ID2 " 00", &ticket), KITH_ERR_PARSE);
    KITH_CHECK_EQ(parse_doc("00 02 " ID2 " 01 " ID2 " 00", &ticket), KITH_ERR_PARSE);
    KITH_CHECK_EQ(parse_doc("00 00 1f " ID2 " 01 " ID2 " 00", &ticket), KITH_ERR_PARSE);
    KITH_CHECK_EQ(parse_doc("00 01 " ID2 " 02 " ID2 " 00 " ID2, &ticket), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(parse_doc("00 01", &ticket), KITH_ERR_TRUNCATED);
}

static int round_trip(const struct kith_mem *mem, const char *doc)
{
    struct kith_doc_ticket ticket;
    struct kith_blob_ref blob;
    struct kith_endpoint_addr addr;
    struct kith_buf text;
    int err;

    kith__buf_init(&text, mem);
    if ((err = kith__endpoint_ticket_parse(DERP, strlen(DERP), mem, &addr)) != 0)
        return err;
    err = kith__endpoint_ticket_format(&addr, &text);
    kith__endpoint_addr_dispose(&addr);
    if (err == 0 && (err = kith__blob_ref_parse(BLOB, strlen(BLOB), mem, &blob)) == 0) {
        err = kith__blob_ref_format(&blob, &text);
        kith__blob_ref_dispose(&blob);
    }
    if (err == 0 && (err = kith__doc_ticket_parse(doc, strlen(doc), mem, &ticket)) == 0) {
        err = kith__doc_ticket_format(&ticket, &text);
        kith__doc_ticket_dispose(&ticket);
    }
    kith__buf_dispose(&text);
    return err;
}

KITH_TEST(tickets_survive_every_failed_allocation)
{
    struct kith_buf doc = text_of("doc", "00 01 " ID2 " 01 " ID " 01 09 687474703a2f2f612f 01 00 7f000001 d209");
    int err = KITH_ERR_NOMEM;

    for (uint64_t fail_at = 1; err != 0; fail_at++) {
        struct kith_test_mem mem;

        kith__test_mem_init(&mem, fail_at);
        err = round_trip(&mem.mem, (const char *)doc.ptr);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        KITH_CHECK_EQ(mem.live, 0);
        KITH_CHECK_EQ(err == 0, mem.calls < fail_at);
    }
    kith__buf_dispose(&doc);
}
