/* The parts below a handshake: session blobs, issued tickets, outputs, message parsers. */
#include "base/mem.h"
#include "base/test.h"
#include "tls/blob.h"
#include "tls/hello.h"
#include "tls/issued.h"
#include "tls/outbox.h"

#include <string.h>

static const uint8_t blob_key[KITH_BLOB_KEY_SIZE] = { 1, 2, 3 };

static struct kith_slice text(const char *bytes)
{
    return (struct kith_slice) { (const uint8_t *)bytes, strlen(bytes) };
}

static size_t write_blob(uint8_t *out, size_t capacity)
{
    struct kith_blob blob = {
        .peer = { { 7 } }, .allows_early = true, .alpn = text("alpn"), .params = text("params"), .data = text("data")
    };
    size_t size = 0;

    return kith__blob_write(blob_key, &blob, out, capacity, &size) == 0 ? size : 0;
}

KITH_TEST(a_blob_comes_back_as_written)
{
    uint8_t bytes[256];
    struct kith_blob blob;
    size_t size = write_blob(bytes, sizeof bytes);

    KITH_CHECK_EQ(size, 6 + 32 + 1 + 4 + 2 + 6 + 2 + 4 + 32);
    KITH_CHECK_EQ(kith__blob_read(blob_key, (struct kith_slice) { bytes, size }, &blob), 0);
    KITH_CHECK(blob.allows_early && blob.peer.bytes[0] == 7);
    KITH_CHECK(blob.alpn.size == 4 && memcmp(blob.alpn.ptr, "alpn", 4) == 0);
    KITH_CHECK(blob.params.size == 6 && memcmp(blob.params.ptr, "params", 6) == 0);
    KITH_CHECK(blob.data.size == 4 && memcmp(blob.data.ptr, "data", 4) == 0);
}

KITH_TEST(a_blob_that_does_not_fit_is_not_written)
{
    uint8_t bytes[256];

    for (size_t capacity = 0; capacity < 89; capacity++)
        KITH_CHECK_EQ(write_blob(bytes, capacity), 0);
    KITH_CHECK_EQ(write_blob(bytes, 89), 89);
}

KITH_TEST(a_blob_with_any_bit_changed_or_cut_is_refused)
{
    uint8_t bytes[256], key[KITH_BLOB_KEY_SIZE] = { 1, 2, 4 };
    struct kith_blob blob;
    size_t size = write_blob(bytes, sizeof bytes);

    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        KITH_CHECK_EQ(kith__blob_read(blob_key, (struct kith_slice) { bytes, size }, &blob), KITH_ERR_PARSE);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++)
        KITH_CHECK_EQ(kith__blob_read(blob_key, (struct kith_slice) { bytes, cut }, &blob), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__blob_read(key, (struct kith_slice) { bytes, size }, &blob), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__blob_read(blob_key, (struct kith_slice) { bytes, size }, &blob), 0);
}

/* A ticket whose end holds the number. */
static struct kith_slice ticket(uint8_t *bytes, unsigned number)
{
    memset(bytes, 0, 40);
    memcpy(bytes + 40 - sizeof number, &number, sizeof number);
    return (struct kith_slice) { bytes, 40 };
}

KITH_TEST(a_ticket_is_taken_once_and_only_with_its_binding)
{
    struct kith_issued issued = { .mem = kith_mem_default() };
    uint8_t bytes[40], a[KITH_ISSUED_BINDING_SIZE] = { 1 }, b[KITH_ISSUED_BINDING_SIZE] = { 2 };

    kith__issued_add(&issued, ticket(bytes, 1), a);
    kith__issued_add(&issued, ticket(bytes, 2), a);
    KITH_CHECK(!kith__issued_take(&issued, ticket(bytes, 3), a));
    KITH_CHECK(kith__issued_take(&issued, ticket(bytes, 1), a));
    KITH_CHECK(!kith__issued_take(&issued, ticket(bytes, 1), a));
    KITH_CHECK(!kith__issued_take(&issued, ticket(bytes, 2), b));
    KITH_CHECK(!kith__issued_take(&issued, ticket(bytes, 2), a)); /* the wrong try has used it up */
    KITH_CHECK(!kith__issued_take(&issued, (struct kith_slice) { bytes, 3 }, a));
    kith__issued_dispose(&issued);
}

KITH_TEST(the_oldest_ticket_is_forgotten_when_the_record_is_full)
{
    struct kith_issued issued = { .mem = kith_mem_default() };
    uint8_t bytes[40], a[KITH_ISSUED_BINDING_SIZE] = { 1 };

    for (unsigned i = 0; i < KITH_ISSUED_MAX + 1; i++)
        kith__issued_add(&issued, ticket(bytes, i), a);
    KITH_CHECK_EQ(issued.cap, KITH_ISSUED_MAX);
    KITH_CHECK(!kith__issued_take(&issued, ticket(bytes, 0), a));
    KITH_CHECK(kith__issued_take(&issued, ticket(bytes, 1), a));
    KITH_CHECK(kith__issued_take(&issued, ticket(bytes, KITH_ISSUED_MAX), a));
    kith__issued_dispose(&issued);
}

KITH_TEST(without_memory_no_ticket_opens_early_data)
{
    struct kith_test_mem memory;
    struct kith_issued issued = { .mem = &memory.mem };
    uint8_t bytes[40], a[KITH_ISSUED_BINDING_SIZE] = { 1 };

    kith__test_mem_init(&memory, 1);
    kith__issued_add(&issued, ticket(bytes, 1), a);
    KITH_CHECK(!kith__issued_take(&issued, ticket(bytes, 1), a));
    kith__issued_add(&issued, ticket(bytes, 2), a);
    KITH_CHECK(kith__issued_take(&issued, ticket(bytes, 2), a));
    kith__issued_dispose(&issued);
    KITH_CHECK_EQ(memory.live, 0);
}

static void push(struct kith_outbox *box, uint8_t kind, uint8_t level, const char *bytes)
{
    struct kith_tls_output out = { .kind = kind, .level = level, .bytes = text(bytes) };

    KITH_CHECK_EQ(kith__outbox_push(box, &out), 0);
}

static void check_next(struct kith_outbox *box, uint8_t kind, uint8_t level, const char *bytes)
{
    struct kith_tls_output out;

    KITH_CHECK(kith__outbox_next(box, &out));
    KITH_CHECK_EQ(out.kind, kind);
    KITH_CHECK_EQ(out.level, level);
    KITH_CHECK_EQ(out.bytes.size, strlen(bytes));
    KITH_CHECK_BYTES(out.bytes.ptr, bytes, out.bytes.size);
}

KITH_TEST(crypto_bytes_of_one_level_become_one_output)
{
    struct kith_outbox box = { .mem = kith_mem_default() };
    struct kith_tls_output out;

    push(&box, KITH_TLS_CRYPTO, KITH_TLS_INITIAL, "ab");
    push(&box, KITH_TLS_CRYPTO, KITH_TLS_INITIAL, "cd");
    push(&box, KITH_TLS_CRYPTO, KITH_TLS_HANDSHAKE, "ef");
    push(&box, KITH_TLS_SECRET, KITH_TLS_HANDSHAKE, "s");
    push(&box, KITH_TLS_CRYPTO, KITH_TLS_HANDSHAKE, "gh");
    check_next(&box, KITH_TLS_CRYPTO, KITH_TLS_INITIAL, "abcd");
    check_next(&box, KITH_TLS_CRYPTO, KITH_TLS_HANDSHAKE, "ef");
    check_next(&box, KITH_TLS_SECRET, KITH_TLS_HANDSHAKE, "s");
    check_next(&box, KITH_TLS_CRYPTO, KITH_TLS_HANDSHAKE, "gh");
    push(&box, KITH_TLS_CRYPTO, KITH_TLS_HANDSHAKE, "ij"); /* what was taken is not joined */
    check_next(&box, KITH_TLS_CRYPTO, KITH_TLS_HANDSHAKE, "ij");
    KITH_CHECK(!kith__outbox_next(&box, &out));
    KITH_CHECK(box.bytes == NULL);
}

KITH_TEST(outputs_survive_the_growth_of_their_memory)
{
    static char large[5000];
    struct kith_outbox box = { .mem = kith_mem_default() };

    memset(large, 'x', sizeof large - 1);
    push(&box, KITH_TLS_CRYPTO, KITH_TLS_INITIAL, "ab");
    push(&box, KITH_TLS_SECRET, KITH_TLS_EARLY, "s");
    check_next(&box, KITH_TLS_CRYPTO, KITH_TLS_INITIAL, "ab");
    push(&box, KITH_TLS_CRYPTO, KITH_TLS_HANDSHAKE, "cd");
    push(&box, KITH_TLS_CRYPTO, KITH_TLS_HANDSHAKE, large);
    check_next(&box, KITH_TLS_SECRET, KITH_TLS_EARLY, "s");
    kith__outbox_dispose(&box);
    push(&box, KITH_TLS_SECRET, KITH_TLS_EARLY, large);
    check_next(&box, KITH_TLS_SECRET, KITH_TLS_EARLY, large);
    kith__outbox_dispose(&box);
}

KITH_TEST(protocols_are_chosen_in_our_order)
{
    struct kith_slice ours = text("\1a\2bb\1c"), chosen = kith__alpn_choose(ours, text("\1x\1c\2bb"));

    KITH_CHECK(chosen.size == 2 && chosen.ptr == ours.ptr + 3);
    KITH_CHECK_EQ(kith__alpn_choose(ours, text("\1b\1x")).size, 0);
    KITH_CHECK_EQ(kith__alpn_choose(ours, text("\7a")).size, 0); /* malformed */
    KITH_CHECK_EQ(kith__alpn_choose(ours, (struct kith_slice) { NULL, 0 }).size, 0);
}

KITH_TEST(a_ticket_message_is_read_and_broken_ones_are_not)
{
    static const uint8_t message[] = { 4, 0, 0, 23, 0, 1, 0x51, 0x80, 1, 2,    3,    4,    1,   9,
                                       0, 1, 7, 0,  8, 0, 42,   0,    4, 0xff, 0xff, 0xff, 0xff };
    struct kith_ticket out;

    KITH_CHECK_EQ(kith__ticket_parse((struct kith_slice) { message, sizeof message }, &out), 0);
    KITH_CHECK_EQ(out.lifetime_s, 86400);
    KITH_CHECK(out.has_early_data && out.early_data_size == UINT32_MAX);
    KITH_CHECK(out.ticket.size == 1 && out.ticket.ptr[0] == 7);
    for (size_t cut = 0; cut < sizeof message; cut++)
        KITH_CHECK_EQ(kith__ticket_parse((struct kith_slice) { message, cut }, &out), KITH_ERR_PARSE);
}
