/** Allocation through the user's hook. All functions accept NULL pointers to free. */
#ifndef KITH_BASE_MEM_H
#define KITH_BASE_MEM_H

#include <kith/types.h>
#include <string.h>

/** n > 0 bytes, or NULL. Contents are undefined. */
static inline void *kith__alloc(const struct kith_mem *mem, size_t size)
{
    return mem->resize(mem->ctx, NULL, size);
}
/** n > 0 zeroed bytes, or NULL. */
static inline void *kith__alloc_zero(const struct kith_mem *mem, size_t size)
{
    void *ptr = mem->resize(mem->ctx, NULL, size);

    return ptr != NULL ? memset(ptr, 0, size) : NULL;
}
/** count * size zeroed bytes; NULL also where the product would overflow. */
static inline void *kith__alloc_array(const struct kith_mem *mem, size_t count, size_t size)
{
    return count == 0 || size > SIZE_MAX / count ? NULL : kith__alloc_zero(mem, count * size);
}
/** Moves to size > 0 bytes; NULL leaves ptr as it was. */
static inline void *kith__realloc(const struct kith_mem *mem, void *ptr, size_t size)
{
    return mem->resize(mem->ctx, ptr, size);
}
static inline void kith__free(const struct kith_mem *mem, void *ptr)
{
    if (ptr != NULL)
        mem->resize(mem->ctx, ptr, 0);
}

#endif
