/* Files over the system's *at calls: a directory is a descriptor, so nobody can move the ground from under a name. */
#define _GNU_SOURCE 1 /* renameat2, syncfs */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/uv/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITEBACK_SIZE_MIN = 1 << 20 };

struct uv_file {
    struct kith_rt_file head;
    int fd;
};

struct uv_dir {
    struct kith_rt_dir head;
    int fd;
};

static int fd_of_dir(const struct kith_rt_dir *dir)
{
    return dir != NULL ? ((const struct uv_dir *)dir)->fd : AT_FDCWD;
}

static int fd_of_file(const struct kith_rt_file *file)
{
    return ((const struct uv_file *)file)->fd;
}

static int result_of(int result)
{
    return result == 0 ? 0 : kith__uv_errno(errno);
}

/** An open failed: with NOFOLLOW, a symbolic link is refused and not called "not found" (ENOTDIR of O_DIRECTORY). */
static int open_error(int at, const char *name, unsigned flags)
{
    int number = errno;
    struct stat info;

    if ((flags & KITH_RT_NOFOLLOW) && fstatat(at, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode))
        return kith__uv_errno(ELOOP);
    return kith__uv_errno(number);
}

static void uv_file_close(struct kith_rt_file *head)
{
    close(fd_of_file(head));
    kith__free(head->rt->mem, head);
}

/* After an open that did not wait: true if it is what it must be; reads and writes wait again from now on. */
static bool is_regular(int fd)
{
    struct stat info;

    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && fcntl(fd, F_SETFL, 0) == 0;
}

static int uv_file_open(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, unsigned flags, uint32_t mode,
                        struct kith_rt_file **out)
{
    int how = O_CLOEXEC | O_NOCTTY | O_NONBLOCK; /* a fifo under the name must not hold the loop; files do not care */
    struct uv_file *file;

    how |= (flags & KITH_RT_WRITE) == 0 ? O_RDONLY : (flags & KITH_RT_READ) == 0 ? O_WRONLY : O_RDWR;
    how |= (flags & KITH_RT_CREATE ? O_CREAT : 0) | (flags & KITH_RT_EXCLUSIVE ? O_EXCL : 0);
    how |= (flags & KITH_RT_TRUNCATE ? O_TRUNC : 0) | (flags & KITH_RT_NOFOLLOW ? O_NOFOLLOW : 0);
    how |= flags & KITH_RT_REGULAR ? O_NONBLOCK : 0;
    if ((file = kith__alloc_zero(rt->mem, sizeof *file)) == NULL)
        return KITH_ERR_NOMEM;
    file->head.rt = rt;
    if ((file->fd = openat(fd_of_dir(dir), name, how, (mode_t)mode)) < 0) {
        /* ENXIO: a pipe that nobody reads. */
        int err = (flags & KITH_RT_REGULAR) && errno == ENXIO ? KITH_ERR_INVALID
                                                              : open_error(fd_of_dir(dir), name, flags);

        kith__free(rt->mem, file);
        return err;
    }
    if ((flags & KITH_RT_REGULAR) && !is_regular(file->fd)) {
        uv_file_close(&file->head);
        return KITH_ERR_INVALID;
    }
    *out = &file->head;
    return 0;
}

static int uv_file_read(struct kith_rt_file *file, void *bytes, size_t size, size_t *done)
{
    ssize_t got;

    do
        got = read(fd_of_file(file), bytes, size);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return kith__uv_errno(errno);
    *done = (size_t)got;
    return 0;
}

static int uv_file_pread(struct kith_rt_file *file, void *bytes, size_t size, uint64_t offset, size_t *done)
{
    size_t at = 0;

    while (at < size) {
        ssize_t got = pread(fd_of_file(file), (uint8_t *)bytes + at, size - at, (off_t)(offset + at));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kith__uv_errno(errno);
        if (got == 0)
            break;
        at += (size_t)got;
    }
    *done = at;
    return 0;
}

static int uv_file_write(struct kith_rt_file *file, const void *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t put = write(fd_of_file(file), (const uint8_t *)bytes + at, size - at);

        if (put < 0 && errno != EINTR)
            return kith__uv_errno(errno);
        at += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

/*
 * Large pieces start on their way to the disk at once, in the background: a sync of a whole file would else have all of it
 * to do, and everybody waits for that. Only a hint: a file system that cannot do it says so, and nothing is lost.
 */
static void begin_writeback(int fd, uint64_t offset, size_t size)
{
    if (size >= WRITEBACK_SIZE_MIN)
        (void)sync_file_range(fd, (off64_t)offset, (off64_t)size, SYNC_FILE_RANGE_WRITE);
}

static int uv_file_pwrite(struct kith_rt_file *file, const void *bytes, size_t size, uint64_t offset)
{
    for (size_t at = 0; at < size;) {
        ssize_t put = pwrite(fd_of_file(file), (const uint8_t *)bytes + at, size - at, (off_t)(offset + at));

        if (put < 0 && errno != EINTR)
            return kith__uv_errno(errno);
        at += put > 0 ? (size_t)put : 0;
    }
    begin_writeback(fd_of_file(file), offset, size);
    return 0;
}

static int uv_file_sync(struct kith_rt_file *file)
{
    return result_of(fsync(fd_of_file(file)));
}

static int uv_file_lock(struct kith_rt_file *file)
{
    if (flock(fd_of_file(file), LOCK_EX | LOCK_NB) == 0 || errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS)
        return 0;
    return kith__uv_errno(errno);
}

static int uv_file_truncate(struct kith_rt_file *file, uint64_t size)
{
    return result_of(ftruncate(fd_of_file(file), (off_t)size));
}

static void stat_convert(const struct stat *info, struct kith_rt_stat *out)
{
    *out = (struct kith_rt_stat) {
        .size = (uint64_t)info->st_size,
        .modified_ns = (uint64_t)info->st_mtim.tv_sec * KITH_NS_PER_S + (uint64_t)info->st_mtim.tv_nsec,
        .device = (uint64_t)info->st_dev,
        .inode = (uint64_t)info->st_ino,
        .mode = info->st_mode & 07777,
        .kind = S_ISREG(info->st_mode)   ? KITH_RT_KIND_FILE
                : S_ISDIR(info->st_mode) ? KITH_RT_KIND_DIR
                : S_ISLNK(info->st_mode) ? KITH_RT_KIND_LINK
                                         : KITH_RT_KIND_OTHER,
    };
}

static int uv_file_stat(struct kith_rt_file *file, struct kith_rt_stat *out)
{
    struct stat info;

    if (fstat(fd_of_file(file), &info) != 0)
        return kith__uv_errno(errno);
    stat_convert(&info, out);
    return 0;
}

/* ---- Directories ---- */

static int uv_dir_open(struct kith_rt *rt, struct kith_rt_dir *parent, const char *name, unsigned flags,
                       struct kith_rt_dir **out)
{
    int at = fd_of_dir(parent);
    struct uv_dir *dir;

    if ((flags & KITH_RT_CREATE) && mkdirat(at, name, 0777) != 0 && errno != EEXIST)
        return kith__uv_errno(errno);
    if ((dir = kith__alloc_zero(rt->mem, sizeof *dir)) == NULL)
        return KITH_ERR_NOMEM;
    dir->head.rt = rt;
    dir->fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (flags & KITH_RT_NOFOLLOW ? O_NOFOLLOW : 0));
    if (dir->fd < 0) {
        int err = open_error(at, name, flags);

        kith__free(rt->mem, dir);
        return err;
    }
    *out = &dir->head;
    return 0;
}

static void uv_dir_close(struct kith_rt_dir *head)
{
    close(fd_of_dir(head));
    kith__free(head->rt->mem, head);
}

static int uv_dir_sync(struct kith_rt_dir *dir)
{
    if (fsync(fd_of_dir(dir)) == 0 || errno == EINVAL) /* EINVAL: a file system that has no such thing */
        return 0;
    return kith__uv_errno(errno);
}

static int uv_dir_sync_all(struct kith_rt_dir *dir)
{
    return result_of(syncfs(fd_of_dir(dir)));
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct names {
    const struct kith_mem *mem;
    char **list;
    size_t count, cap;
};

static int names_add(struct names *names, const char *name)
{
    size_t size = strlen(name) + 1;
    char *copy;

    if (names->count == names->cap) {
        size_t cap = names->cap != 0 ? names->cap * 2 : 32;
        char **list = kith__realloc(names->mem, names->list, cap * sizeof(char *));

        if (list == NULL)
            return KITH_ERR_NOMEM;
        names->list = list;
        names->cap = cap;
    }
    if ((copy = kith__alloc(names->mem, size)) == NULL)
        return KITH_ERR_NOMEM;
    memcpy(copy, name, size);
    names->list[names->count++] = copy;
    return 0;
}

static void names_dispose(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        kith__free(names->mem, names->list[i]);
    kith__free(names->mem, names->list);
}

static int names_read(struct names *names, DIR *stream)
{
    int err = 0;

    while (err == 0) {
        struct dirent *entry;

        errno = 0;
        if ((entry = readdir(stream)) == NULL)
            return errno == 0 ? 0 : kith__uv_errno(errno);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            err = names_add(names, entry->d_name);
    }
    return err;
}

static int uv_dir_read(struct kith_rt_dir *dir, bool (*each)(void *ctx, const char *name), void *ctx)
{
    struct names names = { .mem = dir->rt->mem };
    int fd = openat(fd_of_dir(dir), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a reading position of its own */
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    int err;

    if (stream == NULL) {
        err = kith__uv_errno(errno);
        if (fd >= 0)
            close(fd);
        return err;
    }
    err = names_read(&names, stream);
    closedir(stream);
    if (err == 0 && names.count > 0)
        qsort(names.list, names.count, sizeof(char *), compare_names);
    for (size_t i = 0; err == 0 && i < names.count && each(ctx, names.list[i]); i++)
        ;
    names_dispose(&names);
    return err;
}

static int uv_stat(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, bool follow, struct kith_rt_stat *out)
{
    struct stat info;

    (void)rt;
    if (fstatat(fd_of_dir(dir), name, &info, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
        return kith__uv_errno(errno);
    stat_convert(&info, out);
    return 0;
}

static int uv_mkdir(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, uint32_t mode)
{
    (void)rt;
    return result_of(mkdirat(fd_of_dir(dir), name, (mode_t)mode));
}

static int uv_unlink(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, bool is_dir)
{
    (void)rt;
    return result_of(unlinkat(fd_of_dir(dir), name, is_dir ? AT_REMOVEDIR : 0));
}

static int uv_rename(struct kith_rt *rt, struct kith_rt_dir *from_dir, const char *from, struct kith_rt_dir *to_dir,
                     const char *to, bool overwrite)
{
    int from_fd = fd_of_dir(from_dir), to_fd = fd_of_dir(to_dir);

    (void)rt;
    if (overwrite)
        return result_of(renameat(from_fd, from, to_fd, to));
    if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return kith__uv_errno(errno);
    /* A file system without NOREPLACE: a second name cannot overwrite either. */
    if (linkat(from_fd, from, to_fd, to, 0) != 0)
        return kith__uv_errno(errno);
    return result_of(unlinkat(from_fd, from, 0));
}

void kith__uv_file_ops(struct kith_rt_ops *ops)
{
    ops->file_open = uv_file_open;
    ops->file_close = uv_file_close;
    ops->file_read = uv_file_read;
    ops->file_pread = uv_file_pread;
    ops->file_write = uv_file_write;
    ops->file_pwrite = uv_file_pwrite;
    ops->file_sync = uv_file_sync;
    ops->file_lock = uv_file_lock;
    ops->file_truncate = uv_file_truncate;
    ops->file_stat = uv_file_stat;
    ops->dir_open = uv_dir_open;
    ops->dir_close = uv_dir_close;
    ops->dir_sync = uv_dir_sync;
    ops->dir_sync_all = uv_dir_sync_all;
    ops->dir_read = uv_dir_read;
    ops->stat = uv_stat;
    ops->mkdir = uv_mkdir;
    ops->unlink = uv_unlink;
    ops->rename = uv_rename;
}
