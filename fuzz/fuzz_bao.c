/*
 * Foreign bytes of the blobs protocol. The first byte chooses what the rest is: an encoding to decode, a request to answer, a
 * set of chunks, a collection. Besides not crashing: what was decoded encodes to the same bytes, and nothing that did not
 * match its hash is shown.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "blobs/collection.h"
#include "blobs/decode.h"
#include "blobs/provider.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { BLOB_SIZE = 100000 };

/* The blob that everything is about. */
static struct {
    bool is_made;
    uint8_t bytes[BLOB_SIZE], outboard[64 * 6];
    struct kith_hash hash;
} blob;

static void make_blob(void)
{
    struct kith_tree_builder builder;

    if (blob.is_made)
        return;
    KITH_ASSERT(kith__outboard_size(BLOB_SIZE) == sizeof blob.outboard);
    for (size_t i = 0; i < BLOB_SIZE; i++)
        blob.bytes[i] = (uint8_t)(i % 251);
    kith__tree_builder_init(&builder, BLOB_SIZE, blob.outboard);
    kith__tree_builder_update(&builder, blob.bytes, BLOB_SIZE);
    kith__tree_builder_final(&builder, &blob.hash);
    blob.is_made = true;
}

static int read_blob(void *ctx, uint64_t offset, uint8_t *out, size_t size)
{
    (void)ctx;
    KITH_ASSERT(offset <= BLOB_SIZE && size <= BLOB_SIZE - offset);
    memcpy(out, blob.bytes + offset, size);
    return 0;
}

static int read_pair(void *ctx, uint64_t index, uint8_t out[KITH_PAIR_SIZE])
{
    (void)ctx;
    KITH_ASSERT(index < sizeof blob.outboard / KITH_PAIR_SIZE);
    memcpy(out, blob.outboard + index * KITH_PAIR_SIZE, KITH_PAIR_SIZE);
    return 0;
}

static int open_blob(void *ctx, const struct kith_hash *hash, struct kith_blob_view *out)
{
    (void)ctx;
    if (memcmp(hash, &blob.hash, sizeof *hash) != 0)
        return KITH_ERR_NOT_FOUND;
    *out = (struct kith_blob_view) { BLOB_SIZE, { read_blob, read_pair, NULL }, NULL };
    return 0;
}

static void close_blob(void *ctx, struct kith_blob_view *view)
{
    (void)ctx;
    (void)view;
}

static int size_of_blob(void *ctx, const struct kith_hash *hash, uint64_t *out)
{
    (void)ctx;
    if (memcmp(hash, &blob.hash, sizeof *hash) != 0)
        return KITH_ERR_NOT_FOUND;
    *out = BLOB_SIZE;
    return 0;
}

/* The true encoding of the asked set with the input's bytes written over it: nearly right is what finds mistakes. */
static void decode(const struct kith_chunk_set *asked, const uint8_t *patch, size_t patch_size)
{
    static uint8_t answer[BLOB_SIZE + 8192];
    struct kith_blob_source source = { read_blob, read_pair, NULL };
    struct kith_blob_encoder encoder;
    struct kith_blob_decoder decoder;
    struct kith_blob_found found;
    struct kith_slice slice;
    size_t used = 0, step, at = patch_size >= 3 ? (size_t)patch[0] << 16 | (size_t)patch[1] << 8 | patch[2] : 0;

    if (kith__blob_encoder_init(&encoder, kith_mem_default(), &blob.hash, BLOB_SIZE, asked, &source) != 0)
        return;
    while (kith__blob_encoder_next(&encoder, answer + used, sizeof answer - used, &step) == 0) {
        used += step;
        if (sizeof answer - used < KITH_ENCODE_STEP_SIZE_MAX)
            break; /* many small ranges: the rest is cut off */
    }
    kith__blob_encoder_dispose(&encoder);
    for (size_t i = 3; i < patch_size && used > 0; i++)
        answer[(at + i - 3) % used] ^= patch[i];
    KITH_ASSERT(kith__blob_decoder_init(&decoder, kith_mem_default(), &blob.hash, asked) == 0);
    for (size_t from = 0; from < used; from += slice.size) {
        struct kith_slice rest;
        int err = 0;

        slice = (struct kith_slice) {
            answer + from, KITH_MIN((size_t)(patch_size > 0 ? patch[patch_size - 1] * 97 + 1 : 5000), used - from)
        };
        rest = slice;
        while (err == 0 && (err = kith__blob_decoder_step(&decoder, &rest, &found)) == 0)
            if (found.item.is_leaf)
                KITH_ASSERT(found.item.offset + found.item.size <= BLOB_SIZE &&
                            memcmp(found.bytes, blob.bytes + found.item.offset, found.item.size) == 0);
        if (err != KITH_ERR_AGAIN)
            break;
    }
    kith__blob_decoder_dispose(&decoder);
}

static void fuzz_decoder(const uint8_t *bytes, size_t size)
{
    struct kith_reader reader = kith__reader(bytes, size);
    struct kith_chunk_set asked;

    kith__chunk_set_init(&asked, kith_mem_default());
    if (kith__chunk_set_decode(&reader, &asked) == 0)
        decode(&asked, reader.at, kith__reader_left(&reader));
    kith__chunk_set_dispose(&asked);
}

static void fuzz_request(const uint8_t *bytes, size_t size)
{
    struct kith_blob_store store = { open_blob, close_blob, size_of_blob, NULL };
    struct kith_provider provider;
    struct kith_request request;
    struct kith_slice out;
    struct kith_buf again;

    kith__request_init(&request, kith_mem_default());
    kith__buf_init(&again, kith_mem_default());
    if (kith__request_decode((struct kith_slice) { bytes, size }, &request) == 0) {
        KITH_ASSERT(kith__request_encode(&request, &again) == 0);
        KITH_ASSERT(again.size <= size); /* equal but for overlong numbers */
    }
    kith__buf_dispose(&again);
    kith__request_dispose(&request);
    kith__provider_init(&provider, kith_mem_default(), &store);
    kith__provider_receive(&provider, (struct kith_slice) { bytes, size / 2 }, false);
    kith__provider_receive(&provider, (struct kith_slice) { bytes + size / 2, size - size / 2 }, true);
    kith__provider_total(&provider);
    for (int i = 0; i < 64 && kith__provider_peek(&provider, &out) == 0; i++)
        kith__provider_take(&provider, out.size);
    kith__provider_dispose(&provider);
}

static void fuzz_set(const uint8_t *bytes, size_t size)
{
    struct kith_reader reader = kith__reader(bytes, size);
    struct kith_chunk_set set, effective;
    uint64_t blob_size = size > 8 ? (uint64_t)bytes[size - 1] << 50 | (uint64_t)bytes[size - 2] << 10 | bytes[size - 3]
                                  : size;

    kith__chunk_set_init(&set, kith_mem_default());
    kith__chunk_set_init(&effective, kith_mem_default());
    if (kith__chunk_set_decode(&reader, &set) == 0 && kith__chunk_set_effective(&set, blob_size, &effective) == 0) {
        uint64_t count = kith__chunk_count(blob_size);

        KITH_ASSERT(kith__chunk_set_is_empty(&set) == kith__chunk_set_is_empty(&effective));
        KITH_ASSERT(kith__chunk_set_payload(&effective, blob_size) <= blob_size);
        KITH_ASSERT(!kith__chunk_set_intersects(&effective, count, UINT64_MAX));
    }
    kith__chunk_set_dispose(&set);
    kith__chunk_set_dispose(&effective);
}

static void fuzz_collection(const uint8_t *bytes, size_t size)
{
    struct kith_collection collection;

    kith__collection_init(&collection, kith_mem_default());
    if (kith__collection_decode((struct kith_slice) { bytes, size }, &collection) == 0)
        for (size_t i = 0; i < collection.count; i++)
            if (kith__collection_name_problem(collection.names[i]) == NULL)
                KITH_ASSERT(collection.names[i].ptr[0] != '/' &&
                            memchr(collection.names[i].ptr, 0, collection.names[i].size) == NULL);
    kith__collection_dispose(&collection);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static void (*const parts[4])(const uint8_t *, size_t) = { fuzz_decoder, fuzz_request, fuzz_set, fuzz_collection };

    make_blob();
    if (size > 0)
        parts[bytes[0] % 4](bytes + 1, size - 1);
    return 0;
}
