#include "base/buf.h"

#include "base/assert.h"
#include "base/mem.h"
#include <string.h>

enum { CAP_MIN = 64 };

int kith__buf_reserve(struct kith_buf *buf, size_t size)
{
    size_t need, cap;
    uint8_t *ptr;

    if (size <= buf->cap - buf->size)
        return 0;
    if (size > SIZE_MAX / 2 - buf->size)
        return KITH_ERR_NOMEM;
    need = buf->size + size;
    cap = KITH_MAX(buf->cap * 2, (size_t)CAP_MIN);
    if (cap < need)
        cap = need;
    ptr = kith__realloc(buf->mem, buf->ptr, cap);
    if (ptr == NULL)
        return KITH_ERR_NOMEM;
    buf->ptr = ptr;
    buf->cap = cap;
    return 0;
}

int kith__buf_append(struct kith_buf *buf, const void *bytes, size_t size)
{
    int err = kith__buf_reserve(buf, size);

    if (err != 0 || size == 0)
        return err;
    memcpy(buf->ptr + buf->size, bytes, size);
    buf->size += size;
    return 0;
}

int kith__buf_append_byte(struct kith_buf *buf, uint8_t byte)
{
    return kith__buf_append(buf, &byte, 1);
}

void kith__buf_consume(struct kith_buf *buf, size_t size)
{
    KITH_ASSERT(size <= buf->size);
    if (size == 0)
        return;
    buf->size -= size;
    memmove(buf->ptr, buf->ptr + size, buf->size);
}

struct kith_buf kith__buf_take(struct kith_buf *from)
{
    struct kith_buf out = *from;

    *from = (struct kith_buf) { .mem = out.mem };
    return out;
}

void kith__buf_dispose(struct kith_buf *buf)
{
    kith__free(buf->mem, buf->ptr);
    *buf = (struct kith_buf) { .mem = buf->mem };
}
