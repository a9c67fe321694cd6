/*
 * A file that appears under its name only when it is whole: temporary file beside the target, fsync, rename, fsync of the
 * directory. A crash at any point leaves the old file or the new one, and perhaps the temporary one.
 */
#include "base/mem.h"
#include "base/random.h"
#include "rt/ops.h"

#include <stdio.h>

struct kith_rt_replace {
    struct kith_rt *rt;
    struct kith_rt_dir *dir;
    struct kith_rt_file *file;
    bool overwrite;
    bool is_made; /* the temporary file exists */
    char name[KITH_RT_NAME_MAX + 1], temp_name[KITH_RT_NAME_MAX + 1];
};

/** Opens the target's directory and finds the last part of the name. */
static int open_target_dir(struct kith_rt *rt, const struct kith_rt_replace_options *options, struct kith_rt_dir **dir,
                           const char **last)
{
    const char *slash = strrchr(options->name, '/');
    char path[KITH_RT_PATH_MAX + 1];
    size_t size;

    if (options->root != NULL)
        return kith__rt_dir_walk(rt, options->root, options->name, true, dir, last);
    if (slash == NULL) {
        *last = options->name;
        return kith__rt_dir_open(rt, NULL, ".", 0, dir);
    }
    size = slash == options->name ? 1 : (size_t)(slash - options->name);
    if (size > KITH_RT_PATH_MAX)
        return KITH_ERR_TOO_LARGE;
    memcpy(path, options->name, size);
    path[size] = '\0';
    *last = slash + 1;
    return kith__rt_dir_open(rt, NULL, path, 0, dir);
}

static int choose_names(struct kith_rt_replace *replace, const struct kith_rt_replace_options *options,
                        const char *last)
{
    if (strlen(last) > KITH_RT_NAME_MAX || kith__rt_name_check(last, strlen(last)) != 0)
        return KITH_ERR_INVALID;
    memcpy(replace->name, last, strlen(last) + 1);
    if (options->temp_name == NULL) {
        snprintf(replace->temp_name, sizeof replace->temp_name, ".kith-%016llx.tmp",
                 (unsigned long long)kith__random_u64(&replace->rt->random));
        return 0;
    }
    if (strchr(options->temp_name, '/') != NULL || strcmp(options->temp_name, last) == 0 ||
        strlen(options->temp_name) > KITH_RT_NAME_MAX ||
        kith__rt_name_check(options->temp_name, strlen(options->temp_name)) != 0)
        return KITH_ERR_INVALID;
    memcpy(replace->temp_name, options->temp_name, strlen(options->temp_name) + 1);
    return 0;
}

static int target_is_free(const struct kith_rt_replace *replace)
{
    struct kith_rt_stat stat;
    int err = kith__rt_stat(replace->rt, replace->dir, replace->name, false, &stat);

    if (err == 0)
        return replace->overwrite && stat.kind != KITH_RT_KIND_DIR ? 0 : KITH_ERR_EXISTS;
    return err == KITH_ERR_NOT_FOUND ? 0 : err;
}

static void replace_free(struct kith_rt_replace *replace)
{
    kith__rt_file_close(replace->file);
    kith__rt_dir_close(replace->dir);
    kith__free(replace->rt->mem, replace);
}

int kith__rt_replace_begin(struct kith_rt *rt, const struct kith_rt_replace_options *options,
                           struct kith_rt_replace **out)
{
    struct kith_rt_replace *replace = kith__alloc_zero(rt->mem, sizeof *replace);
    unsigned flags = KITH_RT_READ | KITH_RT_WRITE | KITH_RT_CREATE | KITH_RT_NOFOLLOW;
    const char *last;
    int err;

    if (replace == NULL)
        return KITH_ERR_NOMEM;
    replace->rt = rt;
    replace->overwrite = options->overwrite;
    if ((err = open_target_dir(rt, options, &replace->dir, &last)) != 0)
        goto fail;
    if ((err = choose_names(replace, options, last)) != 0 || (err = target_is_free(replace)) != 0)
        goto fail;
    if (options->temp_name == NULL)
        flags |= KITH_RT_EXCLUSIVE;
    else if (!options->resume)
        flags |= KITH_RT_TRUNCATE;
    err = kith__rt_file_open(rt, replace->dir, replace->temp_name, flags, options->mode != 0 ? options->mode : 0666,
                             &replace->file);
    if (err != 0)
        goto fail;
    replace->is_made = true;
    *out = replace;
    return 0;
fail:
    replace_free(replace);
    return err;
}

struct kith_rt_file *kith__rt_replace_file(struct kith_rt_replace *replace)
{
    return replace->file;
}

int kith__rt_replace_commit(struct kith_rt_replace *replace)
{
    int err;

    if (replace->is_made) {
        if ((err = kith__rt_file_sync(replace->file)) != 0)
            return err;
        err = kith__rt_rename(replace->rt, replace->dir, replace->temp_name, replace->dir, replace->name,
                              replace->overwrite);
        if (err != 0)
            return err;
        replace->is_made = false; /* a second try after a failed directory sync must not rename again */
    }
    if ((err = kith__rt_dir_sync(replace->dir)) != 0)
        return err;
    replace_free(replace);
    return 0;
}

void kith__rt_replace_abort(struct kith_rt_replace *replace, bool keep)
{
    if (replace == NULL)
        return;
    if (replace->is_made && !keep) {
        int err = kith__rt_unlink(replace->rt, replace->dir, replace->temp_name);

        if (err != 0 && err != KITH_ERR_NOT_FOUND)
            kith__log(&replace->rt->log, KITH_LOG_WARN, "rt", "cannot remove %s: %s", replace->temp_name,
                      kith_strerror(err));
    }
    replace_free(replace);
}
