/**
 * The queue of a handshake's outputs: records with their bytes in one block of memory, which is wiped whenever it moves
 * or goes, because traffic secrets lie in it. CRYPTO bytes of one level that follow each other become one record.
 */
#ifndef KITH_TLS_OUTBOX_H
#define KITH_TLS_OUTBOX_H

#include "tls/tls.h"

/** By value in its owner; zeroed with `mem` set it is valid and empty. End with kith__outbox_dispose. */
struct kith_outbox {
    uint8_t *bytes;
    size_t at, size, cap; /* records to take: [at, size) */
    size_t last;          /* where the last record begins, if size > at */
    const struct kith_mem *mem;
};

/**
 * Appends kind, level, is_write, cipher and a copy of bytes; other fields are not kept. KITH_ERR_NOMEM changes nothing.
 */
KITH_MUST_USE int kith__outbox_push(struct kith_outbox *box, const struct kith_tls_output *output);

/**
 * Takes the oldest; its bytes are borrowed until the next push, next or dispose. False when empty; the memory is given
 * back then.
 */
bool kith__outbox_next(struct kith_outbox *box, struct kith_tls_output *out);

/** Wipes and frees; the outbox is empty and valid afterwards. */
void kith__outbox_dispose(struct kith_outbox *box);

#endif
