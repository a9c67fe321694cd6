/** Locks of the system (rt/thread.h) for objects of layers that know no threads. */
#ifndef KITH_SERVER_LOCKS_H
#define KITH_SERVER_LOCKS_H

#include "base/sync.h"

/** mem is borrowed; it must bear several threads. */
struct kith_sync kith__server_locks(const struct kith_mem *mem);

#endif
