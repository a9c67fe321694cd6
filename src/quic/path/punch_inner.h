/** What the files of punch share. */
#ifndef KITH_QUIC_PATH_PUNCH_INNER_H
#define KITH_QUIC_PATH_PUNCH_INNER_H

#include "quic/path/punch.h"

/**
 * The list with room for one more of `size` bytes behind its `count`: the list itself or where it moved; NULL without
 * memory, the list stays then.
 */
void *kith__punch_room(const struct kith_punch *punch, void *list, size_t count, size_t size);
/** Takes the element at `index` out and keeps the order; returns the list, NULL if it is empty (and freed) now. */
void *kith__punch_take_out(const struct kith_punch *punch, void *list, uint8_t *count, size_t index, size_t size);
/** True if it is the address of one host, with a port. */
bool kith__punch_is_usable(const struct kith_sockaddr *address);
/** Nobody wants to reach this address any more: its probe and its place among the proved ones go. */
void kith__punch_forget(struct kith_punch *punch, const struct kith_sockaddr *address);

#endif
