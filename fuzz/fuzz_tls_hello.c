/* The parsers of handshake messages: any bytes are read or refused, and what is read is inside the bytes. */
#include "base/assert.h"
#include "tls/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_inside(struct kith_slice part, const uint8_t *bytes, size_t size)
{
    if (part.size != 0)
        KITH_ASSERT(part.ptr >= bytes && part.size <= size && part.ptr + part.size <= bytes + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint8_t ours[] = { 1, 'a', 3, 'a', 'b', 'c', 2, 'b', 'b' };
    struct kith_slice message = { bytes, size }, chosen;
    struct kith_client_hello hello;
    struct kith_encrypted_extensions extensions;
    struct kith_ticket ticket;

    if (kith__client_hello_parse(message, &hello) == 0) {
        check_inside(hello.alpns, bytes, size);
        check_inside(hello.params, bytes, size);
        check_inside(hello.first_ticket, bytes, size);
    }
    if (kith__encrypted_extensions_parse(message, &extensions) == 0) {
        check_inside(extensions.alpns, bytes, size);
        check_inside(extensions.params, bytes, size);
    }
    if (kith__ticket_parse(message, &ticket) == 0)
        check_inside(ticket.ticket, bytes, size);
    chosen = kith__alpn_choose((struct kith_slice) { ours, sizeof ours }, message);
    check_inside(chosen, ours, sizeof ours);
    chosen = kith__alpn_choose(message, (struct kith_slice) { ours, sizeof ours });
    check_inside(chosen, bytes, size);
    (void)kith__server_hello_is_retry(message);
    return 0;
}
