/* Serving one request. */
#include "blobs/provider.h"

#include "base/assert.h"
#include "base/mem.h"
#include "blobs/tree.h"

void kith__provider_init(struct kith_provider *provider, const struct kith_mem *mem,
                         const struct kith_blob_store *store)
{
    *provider = (struct kith_provider) { .mem = mem, .store = *store };
    kith__buf_init(&provider->in, mem);
    kith__request_init(&provider->request, mem);
}

static void close_blob(struct kith_provider *provider)
{
    if (!provider->has_blob)
        return;
    kith__blob_encoder_dispose(&provider->encoder);
    provider->store.close(provider->store.ctx, &provider->blob);
    provider->has_blob = false;
}

void kith__provider_dispose(struct kith_provider *provider)
{
    close_blob(provider);
    if (provider->has_root)
        provider->store.close(provider->store.ctx, &provider->root);
    kith__buf_dispose(&provider->in);
    kith__request_dispose(&provider->request);
    kith__free(provider->mem, provider->hashes);
    kith__free(provider->mem, provider->out);
    provider->has_root = false;
    provider->hashes = provider->out = NULL;
}

static void end_with(struct kith_provider *provider, enum kith_provider_end end, uint64_t code, int err)
{
    if (provider->end != KITH_PROVIDER_OPEN)
        return;
    provider->end = (uint8_t)end;
    provider->code = code;
    provider->err = err;
    provider->failed_offset = provider->next_offset;
    kith__buf_dispose(&provider->in);
}

/* Refused by its type, which is known from the first byte on: what follows need not be waited for. */
static bool is_refused(uint8_t type)
{
    return type == KITH_REQUEST_PUSH || type == KITH_REQUEST_OBSERVE;
}

static void understand(struct kith_provider *provider)
{
    int err = kith__request_decode(kith__buf_slice(&provider->in), &provider->request);

    if (err == KITH_ERR_NOMEM)
        end_with(provider, KITH_PROVIDER_RESET, KITH_BLOBS_ERR_INTERNAL, err);
    else if (err != 0)
        end_with(provider, KITH_PROVIDER_BAD_REQUEST, 0, err);
    else
        provider->is_understood = true;
    kith__buf_dispose(&provider->in);
}

void kith__provider_receive(struct kith_provider *provider, struct kith_slice bytes, bool fin)
{
    if (provider->end != KITH_PROVIDER_OPEN || provider->is_understood)
        return;
    if (bytes.size > 1 + KITH_REQUEST_SIZE_MAX - provider->in.size)
        end_with(provider, KITH_PROVIDER_BAD_REQUEST, 0, KITH_ERR_TOO_LARGE);
    else if (bytes.size > 0 && kith__buf_append(&provider->in, bytes.ptr, bytes.size) != 0)
        end_with(provider, KITH_PROVIDER_RESET, KITH_BLOBS_ERR_INTERNAL, KITH_ERR_NOMEM);
    else if (provider->in.size > 0 && is_refused(provider->in.ptr[0]))
        end_with(provider, KITH_PROVIDER_RESET, KITH_BLOBS_ERR_PERMISSION, KITH_ERR_UNSUPPORTED);
    else if (fin)
        understand(provider);
}

int kith__blob_read_group(const struct kith_mem *mem, const struct kith_blob_source *source,
                          const struct kith_hash *root, uint64_t blob_size, uint64_t group, uint8_t *out, size_t *size)
{
    struct kith_chunk_set asked;
    struct kith_tree_walk walk;
    struct kith_tree_check check;
    struct kith_tree_item item;
    uint64_t end = (group + 1) * KITH_GROUP_CHUNKS;
    uint8_t pair[KITH_PAIR_SIZE];
    int err;

    if (group >= kith__group_count(blob_size))
        return KITH_ERR_END;
    kith__chunk_set_init(&asked, mem);
    if (end > kith__chunk_count(blob_size))
        end = kith__chunk_count(blob_size);
    err = kith__chunk_set_range(&asked, group * KITH_GROUP_CHUNKS, end);
    kith__tree_walk_init(&walk, blob_size, &asked);
    kith__tree_check_init(&check, root);
    while (err == 0 && kith__tree_walk_next(&walk, &item)) {
        if (!item.is_leaf) {
            if ((err = source->pair(source->ctx, item.pair_index, pair)) == 0)
                err = kith__tree_check_parent(&check, &item, pair);
        } else if ((err = source->read(source->ctx, item.offset, out, item.size)) == 0) {
            err = kith__tree_check_leaf(&check, &item, out);
            *size = item.size;
        }
    }
    kith__chunk_set_dispose(&asked);
    return err;
}

/* Entry `index` of the root as a hash sequence, checked. END beyond its last one. */
static int child_hash(struct kith_provider *provider, uint64_t index, struct kith_hash *out)
{
    uint64_t group = index / KITH_HASHES_PER_GROUP;
    size_t size;
    int err;

    if (!provider->has_root) {
        err = provider->store.open(provider->store.ctx, &provider->request.hashes[0], &provider->root);
        if (err != 0)
            return err;
        provider->has_root = true;
    }
    if (provider->root.size % KITH_HASH_SIZE != 0)
        return KITH_ERR_INVALID;
    if (index >= provider->root.size / KITH_HASH_SIZE)
        return KITH_ERR_END;
    if (provider->hashes == NULL && (provider->hashes = kith__alloc(provider->mem, KITH_GROUP_SIZE)) == NULL)
        return KITH_ERR_NOMEM;
    if (!provider->has_hashes || provider->hashes_group != group) {
        provider->has_hashes = false;
        err = kith__blob_read_group(provider->mem, &provider->root.source, &provider->request.hashes[0],
                                    provider->root.size, group, provider->hashes, &size);
        if (err != 0)
            return err;
        provider->has_hashes = true;
        provider->hashes_group = group;
    }
    memcpy(out->bytes, provider->hashes + index % KITH_HASHES_PER_GROUP * KITH_HASH_SIZE, KITH_HASH_SIZE);
    return 0;
}

static int hash_at(struct kith_provider *provider, uint64_t offset, struct kith_hash *out)
{
    const struct kith_request *request = &provider->request;

    if (request->type == KITH_REQUEST_GET && offset > 0)
        return child_hash(provider, offset - 1, out);
    if (offset >= request->hash_count)
        return KITH_ERR_END;
    *out = request->hashes[offset];
    return 0;
}

/* Opens the next blob that is asked for. END: there is none. */
static int open_next(struct kith_provider *provider)
{
    struct kith_hash hash;
    int err;

    provider->next_offset = kith__chunk_seq_next(&provider->request.ranges, provider->next_offset);
    if (provider->next_offset == UINT64_MAX)
        return KITH_ERR_END;
    if ((err = hash_at(provider, provider->next_offset, &hash)) != 0)
        return err;
    if ((err = provider->store.open(provider->store.ctx, &hash, &provider->blob)) != 0)
        return err;
    err = kith__blob_encoder_init(&provider->encoder, provider->mem, &hash, provider->blob.size,
                                  kith__chunk_seq_at(&provider->request.ranges, provider->next_offset),
                                  &provider->blob.source);
    if (err != 0) {
        provider->store.close(provider->store.ctx, &provider->blob);
        return err;
    }
    provider->has_blob = true;
    return 0;
}

/* One step of filling the buffer. */
static int fill_once(struct kith_provider *provider)
{
    size_t size;
    int err;

    if (!provider->has_blob && (err = open_next(provider)) != 0)
        return err;
    err = kith__blob_encoder_next(&provider->encoder, provider->out + provider->out_end,
                                  KITH_PROVIDER_BUFFER_SIZE - provider->out_end, &size);
    if (err == 0) {
        provider->out_end += size;
    } else if (err == KITH_ERR_END) {
        provider->payload_done += provider->encoder.payload_size;
        close_blob(provider);
        provider->next_offset++;
        err = 0;
    }
    return err;
}

/* Makes bytes until the buffer is nearly full, or the request ends: then `end` says how. */
static void fill(struct kith_provider *provider)
{
    int err = 0;

    provider->out_begin = provider->out_end = 0;
    if (provider->out == NULL && (provider->out = kith__alloc(provider->mem, KITH_PROVIDER_BUFFER_SIZE)) == NULL)
        err = KITH_ERR_NOMEM;
    while (err == 0 && KITH_PROVIDER_BUFFER_SIZE - provider->out_end >= KITH_ENCODE_STEP_SIZE_MAX)
        err = fill_once(provider);
    if (err == KITH_ERR_END)
        end_with(provider, KITH_PROVIDER_FIN, 0, 0);
    else if (err == KITH_ERR_NOT_FOUND)
        end_with(provider, KITH_PROVIDER_FIN, 0, err);
    else if (err != 0)
        end_with(provider, KITH_PROVIDER_RESET, KITH_BLOBS_ERR_INTERNAL, err);
}

uint64_t kith__provider_payload(const struct kith_provider *provider)
{
    return provider->payload_done + (provider->has_blob ? provider->encoder.payload_size : 0);
}

uint64_t kith__provider_total(struct kith_provider *provider)
{
    const struct kith_chunk_seq *ranges = &provider->request.ranges;
    struct kith_chunk_set set;
    struct kith_hash hash;
    uint64_t total = 0, size, offset = 0;

    kith__chunk_set_init(&set, provider->mem);
    for (int i = 0; provider->is_understood && i < KITH_PROVIDER_TOTAL_BLOBS_MAX; i++, offset++) {
        offset = kith__chunk_seq_next(ranges, offset);
        if (offset == UINT64_MAX || hash_at(provider, offset, &hash) != 0)
            break;
        if (provider->store.size(provider->store.ctx, &hash, &size) != 0 ||
            kith__chunk_set_effective(kith__chunk_seq_at(ranges, offset), size, &set) != 0)
            continue;
        total += kith__chunk_set_payload(&set, size);
    }
    kith__chunk_set_dispose(&set);
    return total;
}

int kith__provider_peek(struct kith_provider *provider, struct kith_slice *out)
{
    if (provider->out_begin == provider->out_end && provider->end == KITH_PROVIDER_OPEN) {
        if (!provider->is_understood)
            return KITH_ERR_AGAIN;
        fill(provider);
    }
    if (provider->out_begin == provider->out_end)
        return KITH_ERR_END;
    *out = (struct kith_slice) { provider->out + provider->out_begin, provider->out_end - provider->out_begin };
    return 0;
}

void kith__provider_take(struct kith_provider *provider, size_t size)
{
    KITH_ASSERT(size <= provider->out_end - provider->out_begin);
    provider->out_begin += size;
    provider->bytes_out += size;
}
