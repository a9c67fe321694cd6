/**
 * Where fetched blobs go: the files behind a kith_getter. Unfinished data lies under names of its own until it is whole and
 * on the disk, then it is renamed to its final name (or copied, where that is on another file system). Names that the other
 * side chose never lead through a link or out of the target directory.
 *
 * One receiver at a time works on unfinished files: a lock file lies beside them, `.kith-HASH.lock` or `.kith-HASH/lock`.
 *
 * A single blob keeps `.kith-HASH.data` and `.kith-HASH.tree` beside its target, a collection the directory `.kith-HASH`
 * below its target, or each in the partial directory if there is one. A range of a blob is not resumed: `.kith-HASH.range`.
 */
#ifndef KITH_BLOBS_TARGET_H
#define KITH_BLOBS_TARGET_H

#include "blobs/getter.h"
#include "rt/rt.h"

struct kith_target_options {
    const char *target;            /* the file to make, or the directory below which the names go */
    const char *partial_directory; /* made if missing; NULL: as above */
    bool replace;                  /* what exists is replaced; else EXISTS before anything is fetched */
};

struct kith_target {
    const struct kith_mem *mem;
    struct kith_rt *rt;
    char *path, *partial_path; /* owned; partial_path may be NULL */
    bool replace, is_collection, is_range;
    bool syncs_all;                        /* so many files that the disk takes them together, not one by one */
    char stem[2 * KITH_HASH_SIZE + 8];     /* ".kith-HASH" */
    struct kith_rt_dir *root, *partials;   /* root: of a collection, or the directory of the file */
    const char *last;                      /* of a single blob: its name in root; points into path */
    char problem[KITH_BLOB_NAME_SIZE_MAX]; /* the name that an error is about; empty if there is none */
    const char *why;                       /* static: more than the code of an error says; NULL */
    struct kith_rt_file *lock;             /* held while unfinished files are ours */
    /* A copy to another file system under way. */
    struct kith_rt_replace *copy;
    struct kith_rt_file *copy_from;
    uint64_t copied;
    uint8_t *copy_buffer;
};

/**
 * Prepares and checks the target of a single blob; a collection's is opened once its names are known. EXISTS, NOT_FOUND (a
 * directory on the way), PERMISSION, INVALID (name), STATE (another receiver is at work there), NOMEM, IO. On an error only `problem` and
 * `why` may be looked at.
 */
KITH_MUST_USE int kith__target_init(struct kith_target *target, const struct kith_mem *mem, struct kith_rt *rt,
                                    const struct kith_target_options *options, const struct kith_getter_options *get);
void kith__target_dispose(struct kith_target *target);
/** The target as the store of a getter. */
struct kith_get_store kith__target_store(struct kith_target *target);

#endif
