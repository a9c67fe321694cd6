/* Answers of the provider: what is refused and how, several blobs, missing ones. */
#include "base/mem.h"
#include "base/test.h"
#include "blobs/catalog.h"
#include "crypto/blake3.h"

#include <stdlib.h>
#include <string.h>

struct scene {
    struct kith_catalog catalog;
    struct kith_hash one, big, names, root; /* 1 byte; 16,385 bytes; the collection of spec/05, 4.2 */
};

static void scene_open(struct scene *scene)
{
    static const char names[] = "CollectionV0.\x02\x05"
                                "a.txt\x09"
                                "dir/b.bin";
    struct kith_hash hashes[3];
    uint8_t *bytes = malloc(16385);

    for (size_t i = 0; i < 16385; i++)
        bytes[i] = (uint8_t)(i % 251);
    KITH_CHECK_EQ(kith__catalog_init(&scene->catalog, kith_mem_default(), NULL, NULL, 1), 0);
    KITH_CHECK_EQ(kith__catalog_add_bytes(&scene->catalog, bytes, 1, &scene->one), 0);
    KITH_CHECK_EQ(kith__catalog_add_bytes(&scene->catalog, bytes, 16385, &scene->big), 0);
    KITH_CHECK_EQ(kith__catalog_add_bytes(&scene->catalog, names, sizeof names - 1, &scene->names), 0);
    hashes[0] = scene->names;
    hashes[1] = scene->one;
    hashes[2] = scene->big;
    KITH_CHECK_EQ(kith__catalog_add_bytes(&scene->catalog, hashes, sizeof hashes, &scene->root), 0);
    free(bytes);
}

/* Answers a request of a type byte, hashes and ranges. The answer's size; *provider is disposed of, its end stays. */
static size_t answer(struct scene *scene, const void *request, size_t size, struct kith_provider *provider)
{
    struct kith_blob_store store = kith__catalog_store(&scene->catalog);
    struct kith_slice out;
    size_t total = 0;
    int err;

    kith__provider_init(provider, kith_mem_default(), &store);
    for (size_t i = 0; i < size; i++)
        kith__provider_receive(provider, (struct kith_slice) { (const uint8_t *)request + i, 1 }, false);
    kith__provider_receive(provider, (struct kith_slice) { NULL, 0 }, true);
    while ((err = kith__provider_peek(provider, &out)) == 0) {
        total += out.size;
        kith__provider_take(provider, out.size);
    }
    KITH_CHECK_EQ(err, KITH_ERR_END);
    KITH_CHECK_EQ(provider->bytes_out, total);
    kith__provider_dispose(provider);
    return total;
}

static size_t get(struct scene *scene, const struct kith_hash *hash, const void *ranges, size_t size,
                  struct kith_provider *provider)
{
    uint8_t request[200] = { KITH_REQUEST_GET };

    memcpy(request + 1, hash->bytes, KITH_HASH_SIZE);
    memcpy(request + 33, ranges, size);
    return answer(scene, request, 33 + size, provider);
}

KITH_TEST(a_collection_is_answered_as_by_a_real_peer)
{
    static const uint8_t all[] = { 1, 0, 1, 0 };
    static const uint8_t sizes[] = { 2, 0, 1, 0, 1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1 };
    static const uint8_t second[] = { 2, 2, 1, 0, 1, 0 };
    struct kith_provider provider;
    struct scene scene;

    scene_open(&scene);
    /* Sizes of the real answers, spec/05, 3.5. */
    KITH_CHECK_EQ(get(&scene, &scene.root, all, sizeof all, &provider), 16608);
    KITH_CHECK_EQ(provider.end, KITH_PROVIDER_FIN);
    KITH_CHECK_EQ(provider.err, 0);
    KITH_CHECK_EQ(get(&scene, &scene.root, sizes, sizeof sizes, &provider), 224);
    KITH_CHECK_EQ(provider.end, KITH_PROVIDER_FIN);
    KITH_CHECK_EQ(get(&scene, &scene.root, second, sizeof second, &provider), 9);
    KITH_CHECK_EQ(provider.end, KITH_PROVIDER_FIN);
    kith__catalog_dispose(&scene.catalog);
}

KITH_TEST(several_blobs_are_answered_in_the_order_asked)
{
    static const uint8_t ranges[] = { 3, 0, 1, 0, 1, 2, 0, 1, 1, 0 };
    uint8_t request[2 + 64 + sizeof ranges] = { KITH_REQUEST_GET_MANY, 2 };
    struct kith_provider provider;
    struct scene scene;

    scene_open(&scene);
    memcpy(request + 2, scene.one.bytes, 32);
    memcpy(request + 34, scene.big.bytes, 32);
    memcpy(request + 66, ranges, sizeof ranges);
    KITH_CHECK_EQ(answer(&scene, request, sizeof request, &provider), 9 + 1352);
    KITH_CHECK_EQ(provider.end, KITH_PROVIDER_FIN);
    kith__catalog_dispose(&scene.catalog);
}

KITH_TEST(what_is_missing_ends_the_stream_at_its_first_byte)
{
    static const uint8_t all[] = { 1, 0, 1, 0 };
    struct kith_hash hashes[3], root, nowhere = { { 7 } };
    struct kith_provider provider;
    struct scene scene;

    scene_open(&scene);
    KITH_CHECK_EQ(get(&scene, &nowhere, all, sizeof all, &provider), 0);
    KITH_CHECK_EQ(provider.end, KITH_PROVIDER_FIN);
    KITH_CHECK_EQ(provider.err, KITH_ERR_NOT_FOUND);
    hashes[0] = scene.one;
    hashes[1] = nowhere;
    hashes[2] = scene.big;
    KITH_CHECK_EQ(kith__catalog_add_bytes(&scene.catalog, hashes, sizeof hashes, &root), 0);
    KITH_CHECK_EQ(get(&scene, &root, all, sizeof all, &provider), 104 + 9);
    KITH_CHECK_EQ(provider.end, KITH_PROVIDER_FIN);
    KITH_CHECK_EQ(provider.err, KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(provider.failed_offset, 2);
    kith__catalog_dispose(&scene.catalog);
}

KITH_TEST(children_of_what_is_no_hash_sequence_are_an_error)
{
    static const uint8_t all[] = { 1, 0, 1, 0 };
    struct kith_provider provider;
    struct scene scene;

    scene_open(&scene);
    get(&scene, &scene.one, all, sizeof all, &provider);
    KITH_CHECK_EQ(provider.end, KITH_PROVIDER_RESET);
    KITH_CHECK_EQ(provider.code, KITH_BLOBS_ERR_INTERNAL);
    kith__catalog_dispose(&scene.catalog);
}

KITH_TEST(the_empty_blob_is_always_there)
{
    static const uint8_t blob[] = { 2, 0, 1, 0, 1, 0 };
    struct kith_provider provider;
    struct kith_hash empty;
    struct scene scene;

    scene_open(&scene);
    kith__blake3("", 0, empty.bytes);
    KITH_CHECK_EQ(get(&scene, &empty, blob, sizeof blob, &provider), 8);
    KITH_CHECK_EQ(provider.end, KITH_PROVIDER_FIN);
    kith__catalog_dispose(&scene.catalog);
}

KITH_TEST(other_requests_get_their_defined_answers)
{
    static const struct {
        uint8_t bytes[40];
        size_t size;
        uint8_t end, code;
    } rows[] = {
        { { 0 }, 0, KITH_PROVIDER_BAD_REQUEST, 0 },                                    /* no type */
        { { KITH_REQUEST_GET }, 20, KITH_PROVIDER_BAD_REQUEST, 0 },                    /* too short */
        { { 2 }, 36, KITH_PROVIDER_BAD_REQUEST, 0 },                                   /* reserved */
        { { 77 }, 36, KITH_PROVIDER_BAD_REQUEST, 0 },                                  /* unknown */
        { { KITH_REQUEST_PUSH }, 36, KITH_PROVIDER_RESET, KITH_BLOBS_ERR_PERMISSION }, /* taken from nobody */
        { { KITH_REQUEST_OBSERVE }, 36, KITH_PROVIDER_RESET, KITH_BLOBS_ERR_PERMISSION },
    };
    struct scene scene;

    scene_open(&scene);
    for (size_t i = 0; i < KITH_COUNT(rows); i++) {
        struct kith_provider provider;

        KITH_CHECK_EQ(answer(&scene, rows[i].bytes, rows[i].size, &provider), 0);
        KITH_CHECK_EQ(provider.end, rows[i].end);
        KITH_CHECK_EQ(provider.code, rows[i].code);
        KITH_CHECK_NE(provider.err, 0);
    }
    kith__catalog_dispose(&scene.catalog);
}

KITH_TEST(a_request_that_never_ends_is_cut_at_its_limit)
{
    static uint8_t zeros[65536];
    struct kith_blob_store store;
    struct kith_provider provider;
    struct scene scene;
    int pieces = 0;

    scene_open(&scene);
    store = kith__catalog_store(&scene.catalog);
    kith__provider_init(&provider, kith_mem_default(), &store);
    for (; provider.end == KITH_PROVIDER_OPEN; pieces++) {
        KITH_CHECK(pieces <= KITH_REQUEST_SIZE_MAX / (int)sizeof zeros);
        kith__provider_receive(&provider, (struct kith_slice) { zeros, sizeof zeros }, false);
    }
    KITH_CHECK_EQ(provider.end, KITH_PROVIDER_BAD_REQUEST);
    KITH_CHECK_EQ(provider.err, KITH_ERR_TOO_LARGE);
    kith__provider_dispose(&provider);
    kith__catalog_dispose(&scene.catalog);
}
