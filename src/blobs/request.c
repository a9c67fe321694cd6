/* Requests of the blobs protocol. */
#include "blobs/request.h"

#include "base/mem.h"
#include "codec/postcard.h"

void kith__request_init(struct kith_request *request, const struct kith_mem *mem)
{
    *request = (struct kith_request) { .mem = mem };
    kith__chunk_seq_init(&request->ranges, mem);
}

void kith__request_dispose(struct kith_request *request)
{
    kith__free(request->mem, request->hashes);
    kith__chunk_seq_dispose(&request->ranges);
    kith__request_init(request, request->mem);
}

int kith__request_make_get(struct kith_request *request, const struct kith_hash *root)
{
    request->hashes = kith__alloc(request->mem, sizeof *root);
    if (request->hashes == NULL)
        return KITH_ERR_NOMEM;
    request->type = KITH_REQUEST_GET;
    request->hashes[0] = *root;
    request->hash_count = 1;
    return 0;
}

int kith__request_encode(const struct kith_request *request, struct kith_buf *out)
{
    size_t before = out->size;
    int err;

    if ((err = kith__buf_append_byte(out, request->type)) != 0)
        return err;
    if (request->type == KITH_REQUEST_GET_MANY && (err = kith__postcard_write_uint(out, request->hash_count)) != 0)
        return err;
    for (size_t i = 0; i < request->hash_count; i++)
        if ((err = kith__buf_append(out, request->hashes[i].bytes, KITH_HASH_SIZE)) != 0)
            return err;
    if ((err = kith__chunk_seq_encode(&request->ranges, out)) != 0)
        return err;
    return out->size - before - 1 > KITH_REQUEST_SIZE_MAX ? KITH_ERR_TOO_LARGE : 0;
}

static int decode_hashes(struct kith_reader *r, struct kith_request *out)
{
    size_t count = 1;
    int err;

    if (out->type == KITH_REQUEST_GET_MANY && (err = kith__postcard_read_count(r, KITH_HASH_SIZE, &count)) != 0)
        return err;
    if (count == 0)
        return 0;
    if ((out->hashes = kith__alloc_array(out->mem, count, sizeof *out->hashes)) == NULL)
        return KITH_ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        if ((err = kith__read_bytes(r, out->hashes[i].bytes, KITH_HASH_SIZE)) != 0)
            return err;
    out->hash_count = count;
    return 0;
}

int kith__request_decode(struct kith_slice bytes, struct kith_request *out)
{
    struct kith_reader r = kith__reader_of_slice(bytes);
    int err;

    if (bytes.size > 1 + KITH_REQUEST_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    if ((err = kith__read_u8(&r, &out->type)) != 0)
        return err;
    if (out->type != KITH_REQUEST_GET && out->type != KITH_REQUEST_GET_MANY)
        return KITH_ERR_UNSUPPORTED;
    if ((err = decode_hashes(&r, out)) != 0 || (err = kith__chunk_seq_decode(&r, &out->ranges)) != 0)
        return err;
    return kith__reader_left(&r) == 0 ? 0 : KITH_ERR_PARSE;
}
