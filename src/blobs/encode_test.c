/* Encoder and decoder against every row of spec/05, 2.6, and against each other. */
#include "base/mem.h"
#include "base/test.h"
#include "blobs/decode.h"
#include "blobs/encode.h"
#include "crypto/blake3.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct blob {
    uint64_t size;
    uint8_t *bytes, *outboard;
    struct kith_hash hash;
};

static void blob_make(struct blob *blob, uint64_t size)
{
    struct kith_tree_builder builder;

    blob->size = size;
    blob->bytes = malloc(size + 1);
    blob->outboard = malloc(kith__outboard_size(size) + 1);
    for (uint64_t i = 0; i < size; i++)
        blob->bytes[i] = (uint8_t)(i % 251);
    kith__tree_builder_init(&builder, size, blob->outboard);
    kith__tree_builder_update(&builder, blob->bytes, size);
    kith__tree_builder_final(&builder, &blob->hash);
}

static void blob_free(struct blob *blob)
{
    free(blob->bytes);
    free(blob->outboard);
}

static int read_blob(void *ctx, uint64_t offset, uint8_t *out, size_t size)
{
    struct blob *blob = ctx;

    if (offset + size > blob->size)
        return KITH_ERR_TRUNCATED;
    memcpy(out, blob->bytes + offset, size);
    return 0;
}

static int read_pair(void *ctx, uint64_t index, uint8_t out[KITH_PAIR_SIZE])
{
    struct blob *blob = ctx;

    KITH_CHECK((index + 1) * KITH_PAIR_SIZE <= kith__outboard_size(blob->size));
    memcpy(out, blob->outboard + index * KITH_PAIR_SIZE, KITH_PAIR_SIZE);
    return 0;
}

/* The whole encoding; *err is how it ended (END when complete). */
static struct kith_buf encode(struct blob *blob, const struct kith_chunk_set *asked, int *err)
{
    struct kith_blob_source source = { read_blob, read_pair, blob };
    struct kith_blob_encoder encoder;
    struct kith_buf out;
    static uint8_t step[20000];
    size_t size;

    kith__buf_init(&out, kith_mem_default());
    KITH_CHECK_EQ(kith__blob_encoder_init(&encoder, kith_mem_default(), &blob->hash, blob->size, asked, &source), 0);
    while ((*err = kith__blob_encoder_next(&encoder, step, sizeof step, &size)) == 0)
        KITH_CHECK_EQ(kith__buf_append(&out, step, size), 0);
    kith__blob_encoder_dispose(&encoder);
    return out;
}

static void check_hash(const char *expected_hex, const uint8_t *bytes, size_t size, size_t hash_size)
{
    uint8_t hash[KITH_HASH_SIZE];
    char text[2 * KITH_HASH_SIZE + 1];

    kith__blake3(bytes, size, hash);
    for (size_t i = 0; i < hash_size; i++)
        sprintf(text + 2 * i, "%02x", hash[i]);
    KITH_CHECK_STR(text, expected_hex);
}

/* Boundaries of the asked set; count odd means open-ended. */
static void set_of(struct kith_chunk_set *set, const uint64_t *bounds, size_t count)
{
    uint8_t wire[128];
    struct kith_buf spec;
    struct kith_reader reader;

    (void)wire;
    kith__buf_init(&spec, kith_mem_default());
    kith__chunk_set_init(set, kith_mem_default());
    set->bounds = kith__alloc(set->mem, (count + 1) * sizeof *bounds);
    set->cap = count + 1;
    set->count = count;
    memcpy(set->bounds, bounds, count * sizeof *bounds);
    /* Through the wire form and back, so that both codecs are in every case. */
    KITH_CHECK_EQ(kith__chunk_set_encode(set, &spec), 0);
    reader = kith__reader(spec.ptr, spec.size);
    KITH_CHECK_EQ(kith__chunk_set_decode(&reader, set), 0);
    KITH_CHECK_EQ(kith__reader_left(&reader), 0);
    KITH_CHECK_EQ(set->count, count);
    kith__buf_dispose(&spec);
}

KITH_TEST(outboards_and_roots_equal_those_of_the_reference)
{
    static const struct {
        uint64_t size;
        const char *root;
        size_t outboard_size;
        const char *outboard_hash;
    } rows[] = {
        { 0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", 0, NULL },
        { 1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213", 0, NULL },
        { 1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7", 0, NULL },
        { 1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444", 0, NULL },
        { 16384, "f875d6646de28985646f34ee13be9a576fd515f76b5b0a26bb324735041ddde4", 0, NULL },
        { 16385, "1dabe216be2578830263b049de1639f39f05a4da616b9b78c7a5e4e41662fd1f", 64,
          "5626a11c3fae62894290bd6e4fdd50f8199c5775352737fa9f6f63df38a6838f" },
        { 49152, "88c8baf84eb0b231f985d2be3540430506a9280fd0ec4cec74524bbc33bbc5df", 128,
          "8ed3fff5ace2ba116c5c99a66514d8494b8270d34872ac93c4073f0bd8411e84" },
        { 100000, "d93c23eedaf165a7e0be908ba86f1a7a520d568d2d13cde787c8580c5c72cc54", 384,
          "5cd8e354c507dcd17e7d4c9fac4c1d59aadf90177cd7d98d1e681bf33221bfc1" },
        { 1000000, "5e82c663d164c54e4fcdfcd70e3ca464662228bdbad45cce2e0c2bff999064ef", 3904,
          "941f94d90aecc6510b73a263946c2293d57cf3ed1eb8a039410d1eb853182923" },
        { 5000000, "1ab09ef1af116159d8d394fc5a13c25842753b617048329dc8874051d1b9e171", 19520,
          "817e5a2c3b57dae03b62f14347aa2d015f9b4ceda807e19f94ab7691be8a73fb" },
    };

    for (size_t i = 0; i < KITH_COUNT(rows); i++) {
        struct blob blob;
        char text[65];

        blob_make(&blob, rows[i].size);
        for (size_t j = 0; j < KITH_HASH_SIZE; j++)
            sprintf(text + 2 * j, "%02x", blob.hash.bytes[j]);
        KITH_CHECK_STR(text, rows[i].root);
        KITH_CHECK_EQ(kith__outboard_size(blob.size), rows[i].outboard_size);
        if (rows[i].outboard_hash != NULL)
            check_hash(rows[i].outboard_hash, blob.outboard, rows[i].outboard_size, 32);
        blob_free(&blob);
    }
}

static const struct row {
    uint64_t size;
    uint64_t bounds[4];
    size_t bound_count;
    size_t encoded_size;
    const char *hash;
} encoding_rows[] = {
    { 0, { 0 }, 1, 8, "71e0a99173564931" },
    { 1, { 0 }, 1, 9, "9b779f74b305adc3" },
    { 1024, { 0 }, 1, 1032, "a841c51e2d0c467c" },
    { 16384, { 0 }, 1, 16392, "118894c58ca1e81d" },
    { 16385, { 0 }, 1, 16457, "0c6fa6b6ec04fc36" },
    { 49152, { 0 }, 1, 49288, "df8c06d5bf1764b5" },
    { 100000, { 0 }, 1, 100392, "e956ede102804468" },
    { 1000000, { 0 }, 1, 1003912, "afc17b6e6393b0d0" },
    { 16384, { 0, 1 }, 2, 1288, "4e9914c7610fd68d" },
    { 16384, { 3 }, 1, 13576, "b9c531ff8305c5c0" },
    { 16384, { UINT64_MAX }, 1, 1288, "082a87c55c0617e9" },
    { 16385, { 0, 1 }, 2, 1352, "5e20155fd76e7299" },
    { 16385, { 0, 16 }, 2, 16456, "e7699a8fbd4957b7" },
    { 16385, { UINT64_MAX }, 1, 73, "6e645bbea45e6328" },
    { 49152, { 31, 33 }, 2, 2696, "93dcdd67f9667553" },
    { 100000, { 0, 1 }, 2, 1480, "505c9063078fbc89" },
    { 100000, { 5, 7 }, 2, 2568, "6f2e5947a01464f4" },
    { 100000, { 15, 17 }, 2, 2760, "0ac871a46dd51251" },
    { 100000, { 16, 32 }, 2, 16584, "08cc4cd0c820583c" },
    { 100000, { 90 }, 1, 8232, "6dcfece15760b89b" },
    { 100000, { 0, 97 }, 2, 99784, "b4b08a2d270a2d79" },
    { 100000, { 0, 98 }, 2, 100392, "e956ede102804468" },
    { 100000, { UINT64_MAX }, 1, 872, "adaa08982c6d6955" },
    { 100000, { 200, 300 }, 2, 872, "adaa08982c6d6955" },
    { 100000, { 0, 5, 200, 300 }, 4, 6376, "311fba2f7147dcdf" },
    { 1, { 5 }, 1, 9, "9b779f74b305adc3" },
    { 0, { 5, 7 }, 2, 8, "71e0a99173564931" },
};

KITH_TEST(encodings_equal_those_of_the_reference)
{
    for (size_t i = 0; i < KITH_COUNT(encoding_rows); i++) {
        const struct row *row = &encoding_rows[i];
        struct kith_chunk_set asked, effective;
        struct kith_buf wire;
        struct blob blob;
        int err;

        blob_make(&blob, row->size);
        set_of(&asked, row->bounds, row->bound_count);
        wire = encode(&blob, &asked, &err);
        KITH_CHECK_EQ(err, KITH_ERR_END);
        KITH_CHECK_EQ(wire.size, row->encoded_size);
        check_hash(row->hash, wire.ptr, wire.size, 8);
        kith__chunk_set_init(&effective, kith_mem_default());
        KITH_CHECK_EQ(kith__chunk_set_effective(&asked, row->size, &effective), 0);
        KITH_CHECK_EQ(kith__tree_encoded_size(row->size, &effective), row->encoded_size);
        kith__chunk_set_dispose(&effective);
        kith__chunk_set_dispose(&asked);
        kith__buf_dispose(&wire);
        blob_free(&blob);
    }
}

/* Decodes in pieces of random sizes; compares leaves with the blob. Returns how it ended. */
static int decode(const struct blob *blob, const struct kith_chunk_set *asked, struct kith_slice wire, uint64_t *random,
                  uint64_t *leaf_bytes)
{
    struct kith_blob_decoder decoder;
    struct kith_blob_found found;
    int err = KITH_ERR_AGAIN;

    *leaf_bytes = 0;
    KITH_CHECK_EQ(kith__blob_decoder_init(&decoder, kith_mem_default(), &blob->hash, asked), 0);
    KITH_CHECK(kith__blob_decoder_is_untouched(&decoder));
    do {
        size_t size = (size_t)(kith__test_random(random) % 40000);
        struct kith_slice part = { wire.ptr, size < wire.size ? size : wire.size };
        struct kith_slice rest = part;

        while ((err = kith__blob_decoder_step(&decoder, &rest, &found)) == 0) {
            if (!found.item.is_leaf)
                continue;
            KITH_CHECK(found.item.offset + found.item.size <= blob->size);
            KITH_CHECK_BYTES(found.bytes, blob->bytes + found.item.offset, found.item.size);
            *leaf_bytes += found.item.size;
        }
        wire.ptr += part.size - rest.size;
        wire.size -= part.size - rest.size;
    } while (err == KITH_ERR_AGAIN && wire.size > 0);
    if (err == KITH_ERR_END)
        KITH_CHECK_EQ(wire.size, 0);
    kith__blob_decoder_dispose(&decoder);
    return err;
}

KITH_TEST(decoder_takes_pieces_of_any_size)
{
    uint64_t random = kith__test_seed(7);

    for (size_t i = 0; i < KITH_COUNT(encoding_rows); i++) {
        const struct row *row = &encoding_rows[i];
        struct kith_chunk_set asked;
        struct kith_buf wire;
        struct blob blob;
        uint64_t got;
        int err;

        blob_make(&blob, row->size);
        set_of(&asked, row->bounds, row->bound_count);
        wire = encode(&blob, &asked, &err);
        KITH_CHECK_EQ(decode(&blob, &asked, kith__buf_slice(&wire), &random, &got), KITH_ERR_END);
        if (row->bound_count == 1 && row->bounds[0] == 0)
            KITH_CHECK_EQ(got, row->size);
        kith__chunk_set_dispose(&asked);
        kith__buf_dispose(&wire);
        blob_free(&blob);
    }
}

KITH_TEST(decoder_refuses_every_flipped_bit_and_shows_only_what_was_right)
{
    uint64_t random = kith__test_seed(11), all = 0, got;
    struct kith_chunk_set asked;
    struct kith_buf wire;
    struct blob blob;
    int err;

    blob_make(&blob, 50000);
    set_of(&asked, &all, 1);
    wire = encode(&blob, &asked, &err);
    for (int round = 0; round < 300; round++) {
        size_t at = (size_t)(kith__test_random(&random) % wire.size);
        uint8_t bit = (uint8_t)(1u << kith__test_random(&random) % 8);

        wire.ptr[at] ^= bit;
        /* A wrong size gives another geometry: a check fails, or the bytes run out first. Never the end. */
        err = decode(&blob, &asked, kith__buf_slice(&wire), &random, &got);
        KITH_CHECK(err == KITH_ERR_HASH || (at < 8 && err == KITH_ERR_AGAIN));
        wire.ptr[at] ^= bit;
    }
    for (size_t cut = 0; cut < wire.size; cut += 997) {
        struct kith_slice part = { wire.ptr, cut };

        KITH_CHECK_EQ(decode(&blob, &asked, part, &random, &got), KITH_ERR_AGAIN);
    }
    kith__chunk_set_dispose(&asked);
    kith__buf_dispose(&wire);
    blob_free(&blob);
}

KITH_TEST(encoder_stops_before_a_changed_byte)
{
    uint64_t all = 0;
    struct kith_chunk_set asked;
    struct kith_buf wire;
    struct blob blob;
    int err;

    blob_make(&blob, 100000);
    blob.bytes[40000] ^= 1; /* in the third group */
    set_of(&asked, &all, 1);
    wire = encode(&blob, &asked, &err);
    KITH_CHECK_EQ(err, KITH_ERR_HASH);
    /* Header, four parents, two leaves are right and went out: spec/05, 2.6. */
    KITH_CHECK_EQ(wire.size, 8 + 4 * 64 + 2 * 16384);
    kith__buf_dispose(&wire);
    blob.bytes[40000] ^= 1;
    blob.outboard[70] ^= 1;
    wire = encode(&blob, &asked, &err);
    KITH_CHECK_EQ(err, KITH_ERR_HASH);
    KITH_CHECK_EQ(wire.size, 8 + 64);
    kith__buf_dispose(&wire);
    kith__chunk_set_dispose(&asked);
    blob_free(&blob);
}

KITH_TEST(random_ranges_decode_to_what_was_asked)
{
    uint64_t seed = kith__test_seed(5), random = seed;

    for (int round = 0; round < 200; round++) {
        struct kith_chunk_set asked;
        struct kith_buf wire;
        struct blob blob;
        uint64_t bounds[4], got, at = 0;
        size_t count = 1 + (size_t)(kith__test_random(&random) % 4);
        int err;

        blob_make(&blob, kith__test_random(&random) % 200000);
        for (size_t i = 0; i < count; i++) {
            at += (i > 0) + kith__test_random(&random) % 100;
            bounds[i] = at;
        }
        set_of(&asked, bounds, count);
        wire = encode(&blob, &asked, &err);
        KITH_CHECK_EQ(err, KITH_ERR_END);
        KITH_CHECK_EQ(decode(&blob, &asked, kith__buf_slice(&wire), &random, &got), KITH_ERR_END);
        kith__chunk_set_dispose(&asked);
        kith__buf_dispose(&wire);
        blob_free(&blob);
    }
}

KITH_TEST(encoder_and_decoder_survive_every_failed_allocation)
{
    uint64_t all = 0;
    struct kith_chunk_set asked;
    struct kith_test_mem test_mem;
    struct blob blob;
    bool done = false;

    blob_make(&blob, 70000);
    set_of(&asked, &all, 1);
    for (uint64_t n = 1; !done && n < 50; n++) {
        struct kith_blob_source source = { read_blob, read_pair, &blob };
        struct kith_blob_encoder encoder;
        struct kith_blob_decoder decoder;
        struct kith_blob_found found;
        static uint8_t step[20000];
        size_t size;
        int err, decoded = KITH_ERR_AGAIN;

        kith__test_mem_init(&test_mem, n);
        if (kith__blob_encoder_init(&encoder, &test_mem.mem, &blob.hash, blob.size, &asked, &source) != 0) {
            KITH_CHECK_EQ(test_mem.live, 0);
            continue;
        }
        if (kith__blob_decoder_init(&decoder, &test_mem.mem, &blob.hash, &asked) == 0) {
            while (decoded == KITH_ERR_AGAIN &&
                   (err = kith__blob_encoder_next(&encoder, step, sizeof step, &size)) == 0) {
                struct kith_slice bytes = { step, size };

                while ((decoded = kith__blob_decoder_step(&decoder, &bytes, &found)) == 0)
                    continue;
            }
            KITH_CHECK(err == KITH_ERR_NOMEM || decoded == KITH_ERR_NOMEM || decoded == KITH_ERR_END ||
                       err == KITH_ERR_END);
            kith__blob_decoder_dispose(&decoder);
        }
        kith__blob_encoder_dispose(&encoder);
        KITH_CHECK_EQ(test_mem.live, 0);
        done = test_mem.calls < n;
    }
    KITH_CHECK(done);
    kith__chunk_set_dispose(&asked);
    blob_free(&blob);
}
