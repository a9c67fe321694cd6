/**
 * Tickets that a server sent and that may still open 0-RTT: each once, and only for the application protocol and the
 * limits it was made under. What is not in here (used, forgotten, of another process) is refused 0-RTT, which costs a
 * round trip and nothing else. This is stronger than a record of what was seen: nothing that is forgotten can be
 * replayed. Source: RFC 8446, 8.1 (single-use tickets) and 4.2.10; RFC 9000, 7.4.1; spec/01, 1.14.
 */
#ifndef KITH_TLS_ISSUED_H
#define KITH_TLS_ISSUED_H

#include <kith/types.h>

enum {
    KITH_ISSUED_MAX = 1024,    /* tickets that are remembered; when full the oldest is forgotten */
    KITH_ISSUED_KEY_SIZE = 16, /* the end of a ticket, which is the end of its authentication code */
    KITH_ISSUED_BINDING_SIZE = 16
};

/** By value in its owner; zeroed with `mem` set it is valid and empty. Grows on demand to 32 KiB. */
struct kith_issued {
    struct kith_issued_entry *entries;
    size_t count, cap, next;
    const struct kith_mem *mem;
};

/** Remembers a ticket, of any size >= KITH_ISSUED_KEY_SIZE. Without memory to grow an older one is forgotten for it. */
void kith__issued_add(struct kith_issued *issued, struct kith_slice ticket,
                      const uint8_t binding[KITH_ISSUED_BINDING_SIZE]);

/** True, once for each ticket, if the ticket (untrusted) is known and was added with the same binding. */
bool kith__issued_take(struct kith_issued *issued, struct kith_slice ticket,
                       const uint8_t binding[KITH_ISSUED_BINDING_SIZE]);

/** Frees; empty and valid afterwards. */
void kith__issued_dispose(struct kith_issued *issued);

#endif
