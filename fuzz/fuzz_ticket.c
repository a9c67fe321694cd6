/*
 * Tickets. The input is tried as text, and as the payload of each kind, so that a fuzzer need not learn base32. What was
 * read can be written, and reads back as the same text.
 */
#include "base/mem.h"
#include "endpoint/ticket.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/** Reads a ticket of any kind and writes it to `out`; false if it is none. */
static bool rewrite(const char *text, size_t size, struct kith_buf *out)
{
    struct kith_endpoint_addr addr;
    struct kith_blob_ref blob;
    struct kith_doc_ticket doc;

    if (kith__endpoint_ticket_parse(text, size, out->mem, &addr) == 0) {
        KITH_ASSERT(kith__endpoint_ticket_format(&addr, out) == 0);
        kith__endpoint_addr_dispose(&addr);
    } else if (kith__blob_ref_parse(text, size, out->mem, &blob) == 0) {
        KITH_ASSERT(kith__blob_ref_format(&blob, out) == 0);
        kith__blob_ref_dispose(&blob);
    } else if (kith__doc_ticket_parse(text, size, out->mem, &doc) == 0) {
        KITH_ASSERT(kith__doc_ticket_format(&doc, out) == 0);
        kith__doc_ticket_dispose(&doc);
    } else {
        return false;
    }
    return true;
}

static void check(const char *text, size_t size)
{
    struct kith_buf first, second;

    kith__buf_init(&first, kith_mem_default());
    kith__buf_init(&second, kith_mem_default());
    /* A written ticket can pass the limit for texts, or that for addresses of old and new layout; then it is refused. */
    if (rewrite(text, size, &first) && first.size <= KITH_TICKET_TEXT_MAX &&
        rewrite((const char *)first.ptr, first.size, &second))
        KITH_ASSERT(first.size == second.size && memcmp(first.ptr, second.ptr, first.size) == 0);
    kith__buf_dispose(&first);
    kith__buf_dispose(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const kinds[] = { "endpoint", "blob", "doc" };

    check((const char *)bytes, size);
    for (size_t i = 0; i < KITH_COUNT(kinds); i++) {
        struct kith_buf text;

        kith__buf_init(&text, kith_mem_default());
        KITH_ASSERT(kith__ticket_text_encode(kinds[i], (struct kith_slice) { bytes, size }, &text) == 0);
        check((const char *)text.ptr, text.size);
        kith__buf_dispose(&text);
    }
    return 0;
}
