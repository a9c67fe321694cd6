/* A queue of records in one block: [struct record][bytes] back to back, unaligned. */
#include "tls/outbox.h"
#include "base/assert.h"
#include "base/mem.h"
#include "crypto/secure.h"

enum { OUTBOX_SIZE_MIN = 1024 }; /* a client's whole first flight fits */

struct record {
    uint32_t size;
    uint16_t cipher;
    uint8_t kind, level, is_write;
};

static int reserve(struct kith_outbox *box, size_t size)
{
    size_t used = box->size - box->at;
    size_t cap = KITH_MAX(box->cap, OUTBOX_SIZE_MIN);
    uint8_t *bytes;

    if (box->cap - box->size >= size)
        return 0;
    while (cap - used < size)
        cap *= 2;
    if ((bytes = kith__alloc(box->mem, cap)) == NULL)
        return KITH_ERR_NOMEM;
    if (used != 0)
        memcpy(bytes, box->bytes + box->at, used);
    if (box->bytes != NULL)
        kith__wipe(box->bytes, box->size);
    kith__free(box->mem, box->bytes);
    box->last -= KITH_MIN(box->at, box->last);
    box->bytes = bytes;
    box->at = 0;
    box->size = used;
    box->cap = cap;
    return 0;
}

static struct record record_at(const struct kith_outbox *box, size_t at)
{
    struct record record;

    memcpy(&record, box->bytes + at, sizeof record);
    return record;
}

static bool joins_last(const struct kith_outbox *box, const struct kith_tls_output *output)
{
    struct record last;

    if (output->kind != KITH_TLS_CRYPTO || box->size == box->at)
        return false;
    last = record_at(box, box->last);
    return last.kind == KITH_TLS_CRYPTO && last.level == output->level;
}

int kith__outbox_push(struct kith_outbox *box, const struct kith_tls_output *output)
{
    struct record record = { .size = (uint32_t)output->bytes.size,
                             .cipher = output->cipher,
                             .kind = output->kind,
                             .level = output->level,
                             .is_write = output->is_write };

    KITH_ASSERT(output->bytes.size <= UINT32_MAX / 2);
    if (reserve(box, sizeof record + output->bytes.size) != 0)
        return KITH_ERR_NOMEM;
    if (joins_last(box, output)) {
        record.size += record_at(box, box->last).size;
    } else {
        box->last = box->size;
        box->size += sizeof record;
    }
    memcpy(box->bytes + box->last, &record, sizeof record);
    if (output->bytes.size != 0)
        memcpy(box->bytes + box->size, output->bytes.ptr, output->bytes.size);
    box->size += output->bytes.size;
    return 0;
}

bool kith__outbox_next(struct kith_outbox *box, struct kith_tls_output *out)
{
    struct record record;

    if (box->at == box->size) {
        kith__outbox_dispose(box);
        return false;
    }
    record = record_at(box, box->at);
    *out = (struct kith_tls_output) { .kind = record.kind,
                                      .level = record.level,
                                      .is_write = record.is_write,
                                      .cipher = record.cipher,
                                      .bytes = { box->bytes + box->at + sizeof record, record.size } };
    box->at += sizeof record + record.size;
    KITH_ASSERT(box->at <= box->size);
    return true;
}

void kith__outbox_dispose(struct kith_outbox *box)
{
    if (box->bytes != NULL)
        kith__wipe(box->bytes, box->size);
    kith__free(box->mem, box->bytes);
    *box = (struct kith_outbox) { .mem = box->mem };
}
