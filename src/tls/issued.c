/* A ring of ticket ends, searched from end to end: 16 KiB at most, and only when a client offers 0-RTT. */
#include "tls/issued.h"
#include "base/assert.h"
#include "base/mem.h"

enum { ISSUED_MIN = 32 };

struct kith_issued_entry {
    uint8_t key[KITH_ISSUED_KEY_SIZE];
    uint8_t binding[KITH_ISSUED_BINDING_SIZE];
    bool live;
};

static void grow(struct kith_issued *issued)
{
    size_t cap = issued->cap == 0 ? ISSUED_MIN : issued->cap * 2;
    struct kith_issued_entry *entries;

    if (cap > KITH_ISSUED_MAX)
        return;
    if ((entries = kith__realloc(issued->mem, issued->entries, cap * sizeof *entries)) == NULL)
        return;
    issued->entries = entries;
    issued->cap = cap;
}

void kith__issued_add(struct kith_issued *issued, struct kith_slice ticket,
                      const uint8_t binding[KITH_ISSUED_BINDING_SIZE])
{
    struct kith_issued_entry *entry;

    KITH_ASSERT(ticket.size >= KITH_ISSUED_KEY_SIZE);
    if (issued->next == issued->cap)
        grow(issued);
    if (issued->next == issued->cap)
        issued->next = 0;
    if (issued->cap == 0)
        return;
    entry = &issued->entries[issued->next++];
    memcpy(entry->key, ticket.ptr + ticket.size - KITH_ISSUED_KEY_SIZE, KITH_ISSUED_KEY_SIZE);
    memcpy(entry->binding, binding, KITH_ISSUED_BINDING_SIZE);
    entry->live = true;
    issued->count = KITH_MAX(issued->count, issued->next);
}

bool kith__issued_take(struct kith_issued *issued, struct kith_slice ticket,
                       const uint8_t binding[KITH_ISSUED_BINDING_SIZE])
{
    const uint8_t *key;

    if (ticket.size < KITH_ISSUED_KEY_SIZE)
        return false;
    key = ticket.ptr + ticket.size - KITH_ISSUED_KEY_SIZE;
    for (size_t i = 0; i < issued->count; i++) {
        struct kith_issued_entry *entry = &issued->entries[i];

        if (!entry->live || memcmp(entry->key, key, KITH_ISSUED_KEY_SIZE) != 0)
            continue;
        entry->live = false;
        return memcmp(entry->binding, binding, KITH_ISSUED_BINDING_SIZE) == 0;
    }
    return false;
}

void kith__issued_dispose(struct kith_issued *issued)
{
    kith__free(issued->mem, issued->entries);
    *issued = (struct kith_issued) { .mem = issued->mem };
}
