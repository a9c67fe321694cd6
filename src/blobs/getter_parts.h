/** What the files of the getter share: getter.c decides and asks, getter_answer.c takes in, getter_names.c judges names. */
#ifndef KITH_BLOBS_GETTER_PARTS_H
#define KITH_BLOBS_GETTER_PARTS_H

#include "blobs/getter.h"

/** True for a range of a single blob. */
bool kith__getter_is_range(const struct kith_getter *getter);
/** Shows a file's name in the progress; SIZE_MAX-like indexes beyond the names show nothing. */
void kith__getter_show(struct kith_getter *getter, uint64_t index);
/** Opens blob `index` as getter->partial with what is known of it. Errors of the store, NOT_FOUND if !make. */
KITH_MUST_USE int kith__getter_open(struct kith_getter *getter, uint64_t index, const struct kith_hash *hash,
                                    bool make);
/** Closes it again; what waits in it must have been flushed. */
void kith__getter_close(struct kith_getter *getter);
/** Hash of child `child` (0: the names) of the verified root. */
struct kith_hash kith__getter_child(const struct kith_getter *getter, uint64_t child);
/** A request was answered in full: what comes next. */
void kith__getter_on_answered(struct kith_getter *getter);
/** Verified names: checks them, makes the table of files, asks the store. PARSE (problem and failed_name tell), NOMEM, ... */
KITH_MUST_USE int kith__getter_take_names(struct kith_getter *getter);

#endif
