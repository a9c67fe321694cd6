/** An owned, growing byte buffer. Owner: whoever holds it by value; end with kith__buf_dispose. A zeroed one with `mem` set is valid and empty. */
#ifndef KITH_BASE_BUF_H
#define KITH_BASE_BUF_H

#include <kith/types.h>

struct kith_buf {
    uint8_t *ptr;
    size_t size, cap;
    const struct kith_mem *mem; /* borrowed; outlives the buffer */
};

static inline void kith__buf_init(struct kith_buf *buf, const struct kith_mem *mem)
{
    *buf = (struct kith_buf) { .mem = mem };
}
/** Makes room for `size` more bytes (amortised doubling). KITH_ERR_NOMEM leaves the buffer as it was. */
int kith__buf_reserve(struct kith_buf *buf, size_t size);
/** Appends a copy of size bytes. KITH_ERR_NOMEM leaves the buffer as it was. */
int kith__buf_append(struct kith_buf *buf, const void *bytes, size_t size);
/** Appends one byte. */
int kith__buf_append_byte(struct kith_buf *buf, uint8_t byte);
/** Drops the first `size` <= buf->size bytes. */
void kith__buf_consume(struct kith_buf *buf, size_t size);
/** Moves the bytes out of `from`, which stays valid and empty. The caller disposes of the result. */
struct kith_buf kith__buf_take(struct kith_buf *from);
/** Frees the bytes; the buffer is empty and valid afterwards. */
void kith__buf_dispose(struct kith_buf *buf);
static inline struct kith_slice kith__buf_slice(const struct kith_buf *buf)
{
    return (struct kith_slice) { buf->ptr, buf->size };
}

#endif
