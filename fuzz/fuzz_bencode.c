/* Bencoded values: the parts of a value lie side by side inside it, and written again they are the same bytes. */
#include "base/assert.h"
#include "codec/bencode.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { SCRATCH_SIZE = 1 << 16 };

static void check_leaf(const struct kith_bencode *value)
{
    static uint8_t scratch[SCRATCH_SIZE];
    struct kith_bencode_writer w = kith__bencode_writer(scratch, sizeof scratch);
    size_t size;

    if (value->kind == KITH_BENCODE_INTEGER)
        kith__bencode_put_integer(&w, value->integer);
    else
        kith__bencode_put_bytes(&w, value->bytes);
    if (kith__bencode_finish(&w, &size) == 0)
        KITH_ASSERT(size == value->whole.size && memcmp(scratch, value->whole.ptr, size) == 0);
}

static void check(const struct kith_bencode *value, unsigned depth)
{
    struct kith_reader inside = kith__reader_of_slice(value->bytes);
    struct kith_bencode item, found;
    struct kith_slice key;

    KITH_ASSERT(depth <= KITH_BENCODE_DEPTH_MAX);
    if (value->kind == KITH_BENCODE_INTEGER || value->kind == KITH_BENCODE_BYTES) {
        check_leaf(value);
        return;
    }
    KITH_ASSERT(value->bytes.ptr == value->whole.ptr + 1 && value->bytes.size == value->whole.size - 2);
    while (value->kind == KITH_BENCODE_LIST && kith__bencode_next(&inside, &item))
        check(&item, depth + 1);
    while (value->kind == KITH_BENCODE_DICT && kith__bencode_next_pair(&inside, &key, &item)) {
        char name[8];

        check(&item, depth + 1);
        if (key.size < sizeof name && memchr(key.ptr, 0, key.size) == NULL) {
            memcpy(name, key.ptr, key.size);
            name[key.size] = '\0';
            KITH_ASSERT(kith__bencode_find(value, name, &found) && found.whole.ptr <= item.whole.ptr);
        }
    }
    KITH_ASSERT(kith__reader_left(&inside) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kith_reader r = kith__reader(bytes, size);
    struct kith_bencode value;

    while (size <= SCRATCH_SIZE / 2 && kith__bencode_read(&r, &value) == 0) {
        KITH_ASSERT(value.whole.ptr >= bytes && value.whole.ptr + value.whole.size == r.at);
        check(&value, 0);
    }
    return 0;
}
