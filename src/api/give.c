/* Texts for callers who bring the room for them. */
#include "api/give.h"

#include "api/error.h"
#include <string.h>

int kith__give_text(struct kith_buf *made, int err, const char *what, char *text, size_t capacity, size_t *size)
{
    if (err == 0) {
        *size = made->size;
        if (made->size >= capacity)
            err = KITH_ERR_TOO_LARGE;
        else
            memcpy(text, made->ptr, made->size);
    }
    if (err == 0)
        text[made->size] = 0;
    kith__buf_dispose(made);
    return err == 0 ? 0 : kith__fail_because(err, "%s cannot be given", what);
}
