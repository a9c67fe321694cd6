/** Texts for callers who bring the room for them. */
#ifndef KITH_API_GIVE_H
#define KITH_API_GIVE_H

#include "base/buf.h"

/**
 * Copies what was made (err 0), with an end, to text of `capacity` bytes, and disposes of it; *size is what there is, without the end.
 * Errors, noted for kith_error_last: err; TOO_LARGE: no room, nothing is written. what: "the metrics".
 */
int kith__give_text(struct kith_buf *made, int err, const char *what, char *text, size_t capacity, size_t *size);

#endif
