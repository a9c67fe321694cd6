/**
 * The store of a server with a disk: one LMDB file and its lock file. Puts are one transaction until the commit, which is on the disk
 * when it returns: after a crash everything up to some commit is there, and nothing in between. Readers see what was committed.
 *
 *     packets    id -> arrival (8 bytes, big endian, us since 1970), then the packet without the id
 *     arrivals   arrival, id -> nothing: the order of eviction
 *
 * The file is mapped as a whole into address space, once, with its largest size: so it grows without a stop. A file that is damaged is
 * refused with STATE and left as it is.
 *
 * Thread rules: as store.h says; also, what lies between two commits (put, expire) belongs to one thread.
 */
#ifndef KITH_ZONE_STORE_LMDB_H
#define KITH_ZONE_STORE_LMDB_H

#include "zone/store.h"

#define KITH_STORE_LMDB_SIZE_MAX (64ull << 30) /* default */

struct kith_store_lmdb_options {
    const struct kith_mem *mem;
    const char *path;     /* of the file; its directory exists. "-lock" is added for the lock file */
    uint64_t size_max;    /* of the file; 0: KITH_STORE_LMDB_SIZE_MAX. Less address space does too, down to 64 MiB */
    uint64_t packets_max; /* put says LIMIT to a new key beyond it; 0: no limit */
};

/**
 * Opens, or makes it (0600). Ends with its ops->free; what was not committed is lost then. Errors: NOMEM; PERMISSION, NOT_FOUND, IO,
 * NO_SPACE (with cause); STATE: the file is damaged, or is none of ours.
 */
KITH_MUST_USE int kith__store_lmdb_open(const struct kith_store_lmdb_options *options, struct kith_store **out);

#endif
