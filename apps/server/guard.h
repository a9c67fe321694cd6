/**
 * What a server does so that a break-in stays small: no core dumps (keys), no new privileges, only the files it needs (landlock),
 * only the system calls it needs (seccomp). Every step says what it could not do; none is a reason not to serve.
 */
#ifndef APPS_SERVER_GUARD_H
#define APPS_SERVER_GUARD_H

#include <stdbool.h>
#include <stddef.h>

enum { GUARD_PATHS_MAX = 64 };

/** Files and directories that are needed after the start. */
struct guard_paths {
    const char *readable[GUARD_PATHS_MAX]; /* of a file: its directory counts, as files are replaced by renaming */
    size_t readable_count;
    const char *writable[GUARD_PATHS_MAX]; /* directories */
    size_t writable_count;
};

/** Adds; NULL is skipped. */
void guard_add_readable(struct guard_paths *paths, const char *path);
void guard_add_writable(struct guard_paths *paths, const char *path);
/** Adds a directory that is to be written in. It must be there to be an exception to the fence: it is made (0700), with those above it, where it is missing. */
void guard_add_directory(struct guard_paths *paths, const char *path);

/** No core dumps; as many descriptors as the system allows. First of all. */
void guard_process(void);
/** Only these files from now on, for threads that are started later. Before the threads. */
void guard_files(const struct guard_paths *paths);
/** No io_uring for threads that are started later. Before the threads. */
void guard_rings(void);
/** Only what our servers do from now on, for all threads. When all is bound. */
void guard_calls(void);

#endif
