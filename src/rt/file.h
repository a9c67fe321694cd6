/**
 * Files. All calls are synchronous: they may block for as long as the disk takes. Names that a peer chose go through
 * kith__rt_dir_walk and kith__rt_replace_*, which never follow a symbolic link and never leave the given directory.
 *
 * Errors, everywhere below: NOT_FOUND, EXISTS, PERMISSION, NO_SPACE, INVALID (name), TOO_LARGE (name or file), LIMIT (too
 * many open files), UNSUPPORTED, NOMEM, IO (anything else).
 */
#ifndef KITH_RT_FILE_H
#define KITH_RT_FILE_H

#include <kith/types.h>

struct kith_rt;
struct kith_rt_file; /* an open file; kith__rt_file_close */
struct
    kith_rt_dir; /* an open directory; kith__rt_dir_close. NULL as an argument: names are paths from the working directory */

enum {
    KITH_RT_READ = 1,
    KITH_RT_WRITE = 2,
    KITH_RT_CREATE = 4,    /* made if missing, with the given mode less the umask */
    KITH_RT_EXCLUSIVE = 8, /* with CREATE: EXISTS if it is there, even as a dangling link */
    KITH_RT_TRUNCATE = 16,
    KITH_RT_NOFOLLOW = 32, /* a symbolic link as the last part of the name is refused (PERMISSION) */
    KITH_RT_REGULAR = 64   /* what is no regular file is refused (INVALID), without waiting for a pipe's other end */
};
enum { KITH_RT_NAME_MAX = 255, KITH_RT_PATH_MAX = 4095 };

enum kith_rt_kind { KITH_RT_KIND_FILE, KITH_RT_KIND_DIR, KITH_RT_KIND_LINK, KITH_RT_KIND_OTHER };

struct kith_rt_stat {
    uint64_t size;
    uint64_t modified_ns;   /* since 1970, wall clock */
    uint64_t device, inode; /* together: which file it is */
    uint32_t mode;          /* permission bits */
    uint8_t kind;           /* enum kith_rt_kind */
};

/** Opens the file `name` in dir (or a path if dir is NULL). flags: KITH_RT_*. */
KITH_MUST_USE int kith__rt_file_open(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, unsigned flags,
                                     uint32_t mode, struct kith_rt_file **out);
/** Closes. NULL is fine. Data that was not synced may be lost in a crash; use kith__rt_file_sync to hear of errors. */
void kith__rt_file_close(struct kith_rt_file *file);
/** Reads up to size bytes at the file's own position, which moves: also for pipes. *done = 0: the end. */
KITH_MUST_USE int kith__rt_file_read(struct kith_rt_file *file, void *bytes, size_t size, size_t *done);
/** Reads at offset; *done < size only at the end of the file. */
KITH_MUST_USE int kith__rt_file_pread(struct kith_rt_file *file, void *bytes, size_t size, uint64_t offset,
                                      size_t *done);
/** Writes all bytes at the file's own position. On an error part of them may be written. */
KITH_MUST_USE int kith__rt_file_write(struct kith_rt_file *file, const void *bytes, size_t size);
/** Writes all bytes at offset; a hole before it reads as zeros. */
KITH_MUST_USE int kith__rt_file_pwrite(struct kith_rt_file *file, const void *bytes, size_t size, uint64_t offset);
/** Puts data and size on the disk (fsync). */
KITH_MUST_USE int kith__rt_file_sync(struct kith_rt_file *file);
/**
 * Takes the file for this handle, until it is closed; a note to others who do the same, not a barrier to reading or writing.
 * AGAIN: another handle, here or in another process, has it. A file system that knows no such notes: 0.
 */
KITH_MUST_USE int kith__rt_file_lock(struct kith_rt_file *file);
/** Cuts or extends with zeros. */
KITH_MUST_USE int kith__rt_file_truncate(struct kith_rt_file *file, uint64_t size);
KITH_MUST_USE int kith__rt_file_stat(struct kith_rt_file *file, struct kith_rt_stat *out);

/** Opens a directory. flags: 0, KITH_RT_CREATE (made if missing; parents are not), KITH_RT_NOFOLLOW. */
KITH_MUST_USE int kith__rt_dir_open(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, unsigned flags,
                                    struct kith_rt_dir **out);
void kith__rt_dir_close(struct kith_rt_dir *dir);
/** Puts the directory's entries on the disk: after rename, so that it survives a crash. */
KITH_MUST_USE int kith__rt_dir_sync(struct kith_rt_dir *dir);
/**
 * Puts everything on the disk that was written to the file system of dir, by whomever: data, names, directories. For many
 * files at once; a few are faster one by one, as the others' data does not hold them up. IO also for what others wrote there
 * since dir was opened.
 */
KITH_MUST_USE int kith__rt_dir_sync_all(struct kith_rt_dir *dir);
/** Calls `each` for every entry except . and .., in byte order of the names, until it returns false. */
KITH_MUST_USE int kith__rt_dir_read(struct kith_rt_dir *dir, bool (*each)(void *ctx, const char *name), void *ctx);
/** What `name` is. follow: through a symbolic link at its end. */
KITH_MUST_USE int kith__rt_stat(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, bool follow,
                                struct kith_rt_stat *out);
KITH_MUST_USE int kith__rt_mkdir(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, uint32_t mode);
KITH_MUST_USE int kith__rt_unlink(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name);
/** Removes an empty directory. */
KITH_MUST_USE int kith__rt_rmdir(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name);
/** Renames within one file system. overwrite false: EXISTS if the target is there, decided atomically. */
KITH_MUST_USE int kith__rt_rename(struct kith_rt *rt, struct kith_rt_dir *from_dir, const char *from,
                                  struct kith_rt_dir *to_dir, const char *to, bool overwrite);

/**
 * Checks a name from a peer: relative, parts split by '/', no part empty, "." or "..", longer than KITH_RT_NAME_MAX, or
 * with a NUL, backslash or control byte; not empty. KITH_ERR_INVALID.
 */
KITH_MUST_USE int kith__rt_name_check(const char *name, size_t size);

/**
 * Opens the directory in which the last part of `name` (which must pass kith__rt_name_check) lives, below root, without
 * following any link. create: missing directories are made (mode 0777 less the umask). *last points into name. Close *out.
 * PERMISSION where a part is a symbolic link.
 */
KITH_MUST_USE int kith__rt_dir_walk(struct kith_rt *rt, struct kith_rt_dir *root, const char *name, bool create,
                                    struct kith_rt_dir **out, const char **last);

/** How a file comes to its name: written under another one beside it, synced, renamed, directory synced. */
struct kith_rt_replace_options {
    struct kith_rt_dir *root; /* NULL: `name` is a path of the user, links in its directory part are followed */
    const char *name;         /* with root: a name that a peer may have chosen */
    const char *temp_name;    /* name beside the target, so that a later run can resume; NULL: a random one */
    uint32_t mode;            /* 0 = 0666 less the umask */
    bool overwrite;           /* false: EXISTS, checked at the start and again, atomically, at the end */
    bool resume;              /* with temp_name: what is there already is kept, else it is cut to nothing */
};

struct kith_rt_replace; /* a file on its way to its name */

/** Starts. root and the strings may go after the call. */
KITH_MUST_USE int kith__rt_replace_begin(struct kith_rt *rt, const struct kith_rt_replace_options *options,
                                         struct kith_rt_replace **out);
/** The temporary file, open for reading and writing; borrowed. */
struct kith_rt_file *kith__rt_replace_file(struct kith_rt_replace *replace);
/** Makes it final. On success `replace` is gone; on an error it is as before: try again or abort. */
KITH_MUST_USE int kith__rt_replace_commit(struct kith_rt_replace *replace);
/** Gives up. keep: the temporary file stays for a resume. Frees `replace`; NULL is fine. */
void kith__rt_replace_abort(struct kith_rt_replace *replace, bool keep);

#endif
