#include "api/pair.h"
#include "endpoint/ticket.h"
#include <kith/blobs.h>
#include <stdlib.h>

KITH_TEST(text_keys_and_signatures)
{
    struct kith_slice message = { (const uint8_t *)"message", 7 };
    uint8_t signature[KITH_SIGNATURE_SIZE];
    struct kith_secret secret, back, zero = { { 0 } };
    char text[KITH_SECRET_TEXT_SIZE], brief[KITH_ID_SHORT_SIZE];
    struct kith_id id, id_back;

    kith_secret_generate(&secret);
    PAIR_CHECK(kith_secret_parse(kith_secret_format(&secret, text), &back), 0);
    KITH_CHECK_BYTES(&back, &secret, sizeof back);
    PAIR_CHECK(kith_secret_parse("what", &back), KITH_ERR_PARSE);
    KITH_CHECK(strstr(kith_error_last()->text, "what") == NULL); /* it might be one, mistyped */
    id = kith_secret_id(&secret);
    PAIR_CHECK(kith_id_parse(kith_id_format(&id, text), &id_back), 0);
    KITH_CHECK(kith_id_equal(&id, &id_back));
    KITH_CHECK(strncmp(text, kith_id_format_short(&id, brief), 10) == 0 && strlen(brief) == 10);
    id_back.bytes[0] ^= 1;
    KITH_CHECK(!kith_id_equal(&id, &id_back));
    PAIR_CHECK(kith_id_parse("zz", &id_back), KITH_ERR_PARSE);
    PAIR_CHECK(kith_id_parse("0200000000000000000000000000000000000000000000000000000000000000", &id_back),
               KITH_ERR_PARSE); /* no point of the curve */
    kith_sign(&secret, message, signature);
    PAIR_CHECK(kith_verify(&id, message, signature), 0);
    signature[3] ^= 1;
    PAIR_CHECK(kith_verify(&id, message, signature), KITH_ERR_CRYPTO);
    kith_secret_wipe(&secret);
    KITH_CHECK_BYTES(&secret, &zero, sizeof secret);
}

KITH_TEST(text_addr_keeps_order_and_limits)
{
    char text[KITH_TICKET_TEXT_SIZE], url[64], id_text[KITH_ID_TEXT_SIZE];
    struct kith_sockaddr ip = { .ip = { 10, 0, 0, 1 }, .family = KITH_FAMILY_V4 };
    struct kith_secret secret;
    struct kith_addr addr, back;
    struct kith_id id;

    kith_secret_generate(&secret);
    id = kith_secret_id(&secret);
    kith_addr_init(&addr, &id);
    for (int i = KITH_ADDR_IPS_MAX; i > 0; i--) {
        ip.port = (uint16_t)i;
        PAIR_CHECK(kith_addr_add_ip(&addr, &ip), 0);
        PAIR_CHECK(kith_addr_add_ip(&addr, &ip), 0); /* twice is once */
    }
    KITH_CHECK_EQ(addr.ip_count, KITH_ADDR_IPS_MAX);
    for (size_t i = 1; i < addr.ip_count; i++)
        KITH_CHECK(addr.ips[i - 1].port < addr.ips[i].port);
    ip.port = 9999;
    PAIR_CHECK(kith_addr_add_ip(&addr, &ip), KITH_ERR_LIMIT);
    ip.family = KITH_FAMILY_NONE;
    PAIR_CHECK(kith_addr_add_ip(&addr, &ip), KITH_ERR_INVALID);
    for (int i = 0; i < KITH_ADDR_RELAYS_MAX; i++) {
        snprintf(url, sizeof url, "https://r%d.example", KITH_ADDR_RELAYS_MAX - i);
        PAIR_CHECK(kith_addr_add_relay(&addr, url), 0);
        PAIR_CHECK(kith_addr_add_relay(&addr, url), 0);
    }
    KITH_CHECK_EQ(addr.relay_count, KITH_ADDR_RELAYS_MAX);
    KITH_CHECK_STR(addr.relays[0], "https://r1.example/");
    PAIR_CHECK(kith_addr_add_relay(&addr, "https://more.example"), KITH_ERR_LIMIT);
    PAIR_CHECK(kith_addr_add_relay(&addr, "no url"), KITH_ERR_PARSE);
    PAIR_CHECK(kith_ticket_format(&addr, text, sizeof text), 0);
    PAIR_CHECK(kith_addr_parse(text, &back), 0);
    KITH_CHECK(kith_id_equal(&back.id, &addr.id));
    KITH_CHECK_EQ(back.ip_count, addr.ip_count);
    KITH_CHECK_EQ(back.relay_count, addr.relay_count);
    KITH_CHECK_EQ(back.ignored_count, 0);
    KITH_CHECK_BYTES(back.ips, addr.ips, sizeof back.ips);
    PAIR_CHECK(kith_ticket_format(&addr, text, 20), KITH_ERR_TOO_LARGE);
    text[strlen(text) - 4] = '0'; /* not a letter of base32 */
    PAIR_CHECK(kith_addr_parse(text, &back), KITH_ERR_PARSE);
    PAIR_CHECK(kith_ticket_format(&addr, text, sizeof text), 0);
    text[strlen(text) - 6] = 0; /* cut */
    PAIR_CHECK(kith_addr_parse(text, &back), KITH_ERR_PARSE);
    PAIR_CHECK(kith_addr_parse("endpointnonsense", &back), KITH_ERR_PARSE);
    PAIR_CHECK(kith_addr_parse("", &back), KITH_ERR_PARSE);
    PAIR_CHECK(kith_addr_parse("blobnonsense", &back), KITH_ERR_PARSE);
    PAIR_CHECK(kith_addr_parse(kith_id_format(&id, id_text), &back), 0);
    KITH_CHECK(back.ip_count == 0 && back.relay_count == 0 && kith_id_equal(&back.id, &id));
}

/* The text of a ticket whose relay has a URL of 5,000 bytes; peers take it. Ends in 0; the caller disposes of it. */
static struct kith_buf long_relay_ticket(const struct kith_id *id)
{
    static const uint8_t head[] = { 2, 0, 0x88, 0x27 }, tail[] = { 1, 0, 127, 0, 0, 1, 80 };
    struct kith_buf payload, text;

    kith__buf_init(&payload, kith_mem_default());
    kith__buf_init(&text, kith_mem_default());
    KITH_CHECK_EQ(kith__buf_append_byte(&payload, 0), 0);
    KITH_CHECK_EQ(kith__buf_append(&payload, id->bytes, sizeof id->bytes), 0);
    KITH_CHECK_EQ(kith__buf_append(&payload, head, sizeof head), 0);
    KITH_CHECK_EQ(kith__buf_append(&payload, "https://r.example/", 18), 0);
    for (int i = 18; i < 5000; i++)
        KITH_CHECK_EQ(kith__buf_append_byte(&payload, 'a'), 0);
    KITH_CHECK_EQ(kith__buf_append(&payload, tail, sizeof tail), 0);
    KITH_CHECK_EQ(kith__ticket_text_encode("endpoint", kith__buf_slice(&payload), &text), 0);
    KITH_CHECK_EQ(kith__buf_append_byte(&text, 0), 0);
    kith__buf_dispose(&payload);
    return text;
}

KITH_TEST(text_addresses_that_are_too_long_are_left_out_and_counted)
{
    struct kith_secret secret;
    struct kith_addr back;
    struct kith_buf text;
    struct kith_id id;
    char *longest;

    kith_secret_generate(&secret);
    id = kith_secret_id(&secret);
    text = long_relay_ticket(&id);
    PAIR_CHECK(kith_addr_parse((const char *)text.ptr, &back), 0);
    KITH_CHECK(back.relay_count == 0 && back.ip_count == 1 && back.ips[0].port == 80);
    KITH_CHECK_EQ(back.ignored_count, 1);
    kith__buf_dispose(&text);
    longest = malloc(KITH_TICKET_TEXT_MAX + 2);
    assert_non_null(longest);
    memset(longest, 'a', KITH_TICKET_TEXT_MAX + 1);
    longest[KITH_TICKET_TEXT_MAX + 1] = 0;
    memcpy(longest, "blob", 4);
    PAIR_CHECK(kith_addr_parse(longest, &back), KITH_ERR_TOO_LARGE);
    memcpy(longest, "endpoint", 8);
    PAIR_CHECK(kith_addr_parse(longest, &back), KITH_ERR_TOO_LARGE);
    KITH_CHECK(strstr(kith_error_last()->text, "65536") != NULL);
    free(longest);
}

KITH_TEST(text_parsers_refuse_null)
{
    struct kith_blob_ticket ticket = { .format = KITH_BLOB_RAW };
    struct kith_secret secret;
    struct kith_sockaddr ip;
    struct kith_hash hash;
    struct kith_addr addr = { .ip_count = 0 };
    struct kith_id id;

    PAIR_CHECK(kith_secret_parse(NULL, &secret), KITH_ERR_INVALID);
    PAIR_CHECK(kith_secret_load(NULL, &secret), KITH_ERR_INVALID);
    PAIR_CHECK(kith_secret_store(NULL, &secret, false), KITH_ERR_INVALID);
    PAIR_CHECK(kith_id_parse(NULL, &id), KITH_ERR_INVALID);
    PAIR_CHECK(kith_hash_parse(NULL, &hash), KITH_ERR_INVALID);
    PAIR_CHECK(kith_addr_parse(NULL, &addr), KITH_ERR_INVALID);
    PAIR_CHECK(kith_addr_add_relay(&addr, NULL), KITH_ERR_INVALID);
    PAIR_CHECK(kith_addr_add_ip(&addr, NULL), KITH_ERR_INVALID);
    PAIR_CHECK(kith_blob_ticket_parse(NULL, &ticket), KITH_ERR_INVALID);
    PAIR_CHECK(kith_ticket_format(&addr, NULL, 0), KITH_ERR_INVALID);
    PAIR_CHECK(kith_blob_ticket_format(&ticket, NULL, 0), KITH_ERR_INVALID);
    KITH_CHECK_STR(kith_error_last()->text, "NULL was given where what a ticket names, or room for it, is needed");
    KITH_CHECK_EQ(kith_sockaddr_parse(NULL, &ip), KITH_ERR_INVALID); /* a pure function: it leaves no text */
}

KITH_TEST(text_errors_of_threads_are_their_own)
{
    struct kith_id id;

    KITH_CHECK(kith_error_last() != NULL);
    PAIR_CHECK(kith_id_parse("\x1b[31m", &id), KITH_ERR_PARSE);
    KITH_CHECK(strchr(kith_error_last()->text, '\x1b') == NULL);
    KITH_CHECK(strstr(kith_error_last()->text, "\\x1b") != NULL);
}
