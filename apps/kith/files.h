/** Directories and names that send and receive need. Paths of CLI_PATH_SIZE bytes. */
#ifndef APPS_FILES_H
#define APPS_FILES_H

#include <stdbool.h>
#include <stdint.h>

/** Makes a directory with its parents (mode 0700 for those that are missing). 0 or an errno. */
int files_make_directory(const char *path);
/** "directory/name". False if it is too long. */
bool files_join(const char *directory, const char *name, char *path);
/** The directory part ("." if there is none) and the last component of a path without a '/' at its end. */
bool files_split(const char *path, char *directory, char *name);
bool files_exists(const char *path);
bool files_is_directory(const char *path);
/** Removes a file, or a directory with all that is in it. What is not there is fine. 0 or an errno. */
int files_remove_tree(const char *path);
/** Counts what is neither a file nor a directory below a directory: links, sockets, pipes, devices. */
uint64_t files_count_others(const char *path);
/** Removes a directory if nothing is in it, or only directories with nothing in them. */
void files_remove_empty(const char *path);
/** Renames; what is at `to` is an error (EEXIST), or with `replace` it goes away. 0 or an errno. */
int files_move(const char *from, const char *to, bool replace);

#endif
