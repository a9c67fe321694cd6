/* Directories and names. */
#include "files.h"

#include "cli.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_DIRECTORIES_MAX = 32 };

int files_make_directory(const char *path)
{
    char part[CLI_PATH_SIZE];
    size_t size = strlen(path);

    if (size == 0 || size >= sizeof part)
        return size == 0 ? ENOENT : ENAMETOOLONG;
    memcpy(part, path, size + 1);
    for (size_t i = 1; i <= size; i++) {
        if (part[i] != '/' && part[i] != 0)
            continue;
        part[i] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return errno;
        part[i] = path[i];
    }
    return files_is_directory(path) ? 0 : ENOTDIR;
}

bool files_join(const char *directory, const char *name, char *path)
{
    size_t size = strlen(directory);
    const char *slash = size > 0 && directory[size - 1] == '/' ? "" : "/";

    return snprintf(path, CLI_PATH_SIZE, "%s%s%s", directory, slash, name) < CLI_PATH_SIZE;
}

bool files_split(const char *path, char *directory, char *name)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - path);

    if (strlen(path) >= CLI_PATH_SIZE || path[0] == 0)
        return false;
    if (slash == NULL)
        strcpy(directory, ".");
    else
        snprintf(directory, CLI_PATH_SIZE, "%.*s", (int)(size > 0 ? size : 1), path);
    strcpy(name, slash == NULL ? path : slash + 1);
    return name[0] != 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

bool files_exists(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0;
}

bool files_is_directory(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path) == 0 || errno == ENOENT ? 0 : errno;
}

int files_remove_tree(const char *path)
{
    if (!files_exists(path))
        return 0;
    return nftw(path, remove_one, OPEN_DIRECTORIES_MAX, FTW_DEPTH | FTW_PHYS);
}

static uint64_t others; /* nftw has no place for a pointer of ours */

static int count_other(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)path;
    (void)kind;
    (void)where;
    others += !S_ISREG(info->st_mode) && !S_ISDIR(info->st_mode);
    return 0;
}

uint64_t files_count_others(const char *path)
{
    others = 0;
    (void)nftw(path, count_other, OPEN_DIRECTORIES_MAX, FTW_PHYS);
    return others;
}

static int remove_if_empty(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)where;
    if (kind == FTW_DP)
        (void)rmdir(path); /* fails where something is in it */
    return 0;
}

void files_remove_empty(const char *path)
{
    (void)nftw(path, remove_if_empty, OPEN_DIRECTORIES_MAX, FTW_DEPTH | FTW_PHYS);
}

int files_move(const char *from, const char *to, bool replace)
{
    int err;

    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if ((errno == EINVAL || errno == ENOSYS) && !files_exists(to)) /* a file system that cannot say "only if new" */
        return rename(from, to) == 0 ? 0 : errno;
    if (errno != EEXIST || !replace)
        return errno;
    if (rename(from, to) == 0) /* a file over a file, at one stroke */
        return 0;
    if ((err = files_remove_tree(to)) != 0)
        return err;
    return rename(from, to) == 0 ? 0 : errno;
}
