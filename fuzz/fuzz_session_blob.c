/* Session blobs come back from files: any bytes are read or refused, and what is read is inside the bytes. */
#include "base/assert.h"
#include "crypto/hkdf.h"
#include "tls/blob.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const uint8_t key[KITH_BLOB_KEY_SIZE] = { 1 };

static void check_inside(struct kith_slice part, const uint8_t *bytes, size_t size)
{
    KITH_ASSERT(part.ptr >= bytes && part.size <= size && part.ptr + part.size <= bytes + size);
}

/* Reads, and writes again what was read: the result must be the same bytes. */
static void read_back(const uint8_t *bytes, size_t size)
{
    uint8_t again[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_blob blob;
    size_t again_size = 0;

    if (kith__blob_read(key, (struct kith_slice) { bytes, size }, &blob) != 0)
        return;
    check_inside(blob.alpn, bytes, size);
    check_inside(blob.params, bytes, size);
    check_inside(blob.data, bytes, size);
    KITH_ASSERT(kith__blob_write(key, &blob, again, sizeof again, &again_size) == 0);
    KITH_ASSERT(again_size == size && memcmp(again, bytes, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t sealed[KITH_TLS_BLOB_SIZE_MAX];

    read_back(bytes, size);
    if (size > sizeof sealed - KITH_BLOB_MAC_SIZE)
        return 0;
    /* The same with a right authentication code, which a fuzzer does not guess. */
    if (size != 0)
        memcpy(sealed, bytes, size);
    kith__hmac(KITH_DIGEST_SHA256, (struct kith_slice) { key, sizeof key }, (struct kith_slice) { sealed, size },
               sealed + size);
    read_back(sealed, size + KITH_BLOB_MAC_SIZE);
    return 0;
}
