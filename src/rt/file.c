/* The calls of file.h: checks, the walk below a root, then the table. */
#include "rt/ops.h"

#include <string.h>

static int name_is_usable(const char *name)
{
    size_t size = strlen(name);

    if (size == 0)
        return KITH_ERR_INVALID;
    return size <= KITH_RT_PATH_MAX ? 0 : KITH_ERR_TOO_LARGE;
}

int kith__rt_file_open(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, unsigned flags, uint32_t mode,
                       struct kith_rt_file **out)
{
    int err = name_is_usable(name);

    if (err != 0)
        return err;
    if ((flags & (KITH_RT_READ | KITH_RT_WRITE)) == 0)
        return KITH_ERR_INVALID;
    return rt->ops->file_open(rt, dir, name, flags, mode, out);
}

void kith__rt_file_close(struct kith_rt_file *file)
{
    if (file != NULL)
        file->rt->ops->file_close(file);
}

int kith__rt_file_read(struct kith_rt_file *file, void *bytes, size_t size, size_t *done)
{
    return file->rt->ops->file_read(file, bytes, size, done);
}

int kith__rt_file_pread(struct kith_rt_file *file, void *bytes, size_t size, uint64_t offset, size_t *done)
{
    return offset > INT64_MAX - size ? KITH_ERR_TOO_LARGE : file->rt->ops->file_pread(file, bytes, size, offset, done);
}

int kith__rt_file_write(struct kith_rt_file *file, const void *bytes, size_t size)
{
    return file->rt->ops->file_write(file, bytes, size);
}

int kith__rt_file_pwrite(struct kith_rt_file *file, const void *bytes, size_t size, uint64_t offset)
{
    return offset > INT64_MAX - size ? KITH_ERR_TOO_LARGE : file->rt->ops->file_pwrite(file, bytes, size, offset);
}

int kith__rt_file_sync(struct kith_rt_file *file)
{
    return file->rt->ops->file_sync(file);
}

int kith__rt_file_lock(struct kith_rt_file *file)
{
    return file->rt->ops->file_lock(file);
}

int kith__rt_file_truncate(struct kith_rt_file *file, uint64_t size)
{
    return size > INT64_MAX ? KITH_ERR_TOO_LARGE : file->rt->ops->file_truncate(file, size);
}

int kith__rt_file_stat(struct kith_rt_file *file, struct kith_rt_stat *out)
{
    return file->rt->ops->file_stat(file, out);
}

int kith__rt_dir_open(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, unsigned flags,
                      struct kith_rt_dir **out)
{
    int err = name_is_usable(name);

    return err != 0 ? err : rt->ops->dir_open(rt, dir, name, flags, out);
}

void kith__rt_dir_close(struct kith_rt_dir *dir)
{
    if (dir != NULL)
        dir->rt->ops->dir_close(dir);
}

int kith__rt_dir_sync(struct kith_rt_dir *dir)
{
    return dir->rt->ops->dir_sync(dir);
}

int kith__rt_dir_sync_all(struct kith_rt_dir *dir)
{
    return dir->rt->ops->dir_sync_all(dir);
}

int kith__rt_dir_read(struct kith_rt_dir *dir, bool (*each)(void *ctx, const char *name), void *ctx)
{
    return dir->rt->ops->dir_read(dir, each, ctx);
}

int kith__rt_stat(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, bool follow, struct kith_rt_stat *out)
{
    int err = name_is_usable(name);

    return err != 0 ? err : rt->ops->stat(rt, dir, name, follow, out);
}

int kith__rt_mkdir(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, uint32_t mode)
{
    int err = name_is_usable(name);

    return err != 0 ? err : rt->ops->mkdir(rt, dir, name, mode);
}

int kith__rt_unlink(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name)
{
    int err = name_is_usable(name);

    return err != 0 ? err : rt->ops->unlink(rt, dir, name, false);
}

int kith__rt_rmdir(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name)
{
    int err = name_is_usable(name);

    return err != 0 ? err : rt->ops->unlink(rt, dir, name, true);
}

int kith__rt_rename(struct kith_rt *rt, struct kith_rt_dir *from_dir, const char *from, struct kith_rt_dir *to_dir,
                    const char *to, bool overwrite)
{
    int err;

    if ((err = name_is_usable(from)) != 0 || (err = name_is_usable(to)) != 0)
        return err;
    return rt->ops->rename(rt, from_dir, from, to_dir, to, overwrite);
}

static bool part_is_valid(const char *part, size_t size)
{
    if (size == 0 || size > KITH_RT_NAME_MAX)
        return false;
    if (part[0] == '.' && (size == 1 || (size == 2 && part[1] == '.')))
        return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)part[i] < 0x20 || part[i] == 0x7f || part[i] == '\\')
            return false;
    return true;
}

int kith__rt_name_check(const char *name, size_t size)
{
    size_t begin = 0;

    if (size > KITH_RT_PATH_MAX)
        return KITH_ERR_INVALID;
    for (size_t i = 0; i <= size; i++) {
        if (i < size && name[i] != '/')
            continue;
        if (!part_is_valid(name + begin, i - begin))
            return KITH_ERR_INVALID;
        begin = i + 1;
    }
    return 0;
}

int kith__rt_dir_walk(struct kith_rt *rt, struct kith_rt_dir *root, const char *name, bool create,
                      struct kith_rt_dir **out, const char **last)
{
    struct kith_rt_dir *dir = NULL, *next;
    char part[KITH_RT_NAME_MAX + 1];
    const char *slash;
    int err;

    if ((err = kith__rt_name_check(name, strlen(name))) != 0)
        return err;
    if ((err = kith__rt_dir_open(rt, root, ".", 0, &dir)) != 0)
        return err;
    while ((slash = strchr(name, '/')) != NULL) {
        memcpy(part, name, (size_t)(slash - name));
        part[slash - name] = '\0';
        err = kith__rt_dir_open(rt, dir, part, KITH_RT_NOFOLLOW | (create ? KITH_RT_CREATE : 0), &next);
        kith__rt_dir_close(dir);
        if (err != 0)
            return err;
        dir = next;
        name = slash + 1;
    }
    *out = dir;
    *last = name;
    return 0;
}
