/**
 * Collections: a hash sequence whose first entry is a metadata blob with the names of the others (spec/05, 4.2). And which
 * of these names, chosen by the sender, may become paths here (5.3).
 */
#ifndef KITH_BLOBS_COLLECTION_H
#define KITH_BLOBS_COLLECTION_H

#include "base/buf.h"

enum {
    KITH_COLLECTION_META_SIZE_MAX = 256 << 20, /* bytes of names we are ready to hold */
    KITH_COLLECTION_COUNT_MAX = 1 << 20,       /* files; 32 MiB of hashes */
    KITH_COLLECTION_NAME_SIZE_MAX = 4096,
    KITH_COLLECTION_COMPONENT_SIZE_MAX = 255,
    KITH_COLLECTION_DEPTH_MAX = 255,    /* components of a name */
    KITH_COLLECTION_PARTS_MAX = 2 << 20 /* files and directories: what checking the names costs in time and memory */
};

/** Names of a decoded metadata blob: slices into its bytes, in order. */
struct kith_collection {
    struct kith_slice *names; /* owned array; the slices are borrowed from the metadata bytes */
    size_t count;
    const struct kith_mem *mem;
};

void kith__collection_init(struct kith_collection *collection, const struct kith_mem *mem);
void kith__collection_dispose(struct kith_collection *collection);
/** Starts a metadata blob: header and the number of names; then one kith__collection_append_name each. NOMEM. */
int kith__collection_begin(struct kith_buf *out, size_t count);
int kith__collection_append_name(struct kith_buf *out, struct kith_slice name);
/** Reads a metadata blob; untrusted. PARSE (header, UTF-8, bytes left over), TRUNCATED, TOO_LARGE, NOMEM. */
int kith__collection_decode(struct kith_slice meta, struct kith_collection *out);

/**
 * Whether a name may be used as a path below a directory of ours: relative, `/` between components, no empty component, no
 * `.` or `..`, no NUL, backslash, colon-drive form or control character, UTF-8, at most 255 bytes a component and 255
 * components. Untrusted.
 * Returns NULL if it may, else a reason for a person.
 */
const char *kith__collection_name_problem(struct kith_slice name);

#endif
