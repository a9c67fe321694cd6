#include "base/mem.h"

#include <stdlib.h>

static void *default_resize(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, size);
}

const struct kith_mem *kith_mem_default(void)
{
    static const struct kith_mem mem = { default_resize, NULL };

    return &mem;
}
