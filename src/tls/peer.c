/* Raw public keys: a fixed DER prefix. */
#include "tls/peer.h"

#include <string.h>

enum { SPKI_PREFIX_SIZE = KITH_SPKI_SIZE - KITH_ID_SIZE };

static const uint8_t spki_prefix[SPKI_PREFIX_SIZE] = { 0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                       0x2b, 0x65, 0x70, 0x03, 0x21, 0x00 };

void kith__spki_write(const struct kith_id *id, uint8_t out[KITH_SPKI_SIZE])
{
    memcpy(out, spki_prefix, SPKI_PREFIX_SIZE);
    memcpy(out + SPKI_PREFIX_SIZE, id->bytes, KITH_ID_SIZE);
}

int kith__spki_read(struct kith_slice bytes, struct kith_id *out)
{
    if (bytes.size != KITH_SPKI_SIZE || memcmp(bytes.ptr, spki_prefix, SPKI_PREFIX_SIZE) != 0)
        return KITH_ERR_PARSE;
    memcpy(out->bytes, bytes.ptr + SPKI_PREFIX_SIZE, KITH_ID_SIZE);
    return 0;
}
