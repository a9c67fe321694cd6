/* Secret keys in files, and new ones. */
#include "api/error.h"
#include "codec/cursor.h"
#include "crypto/sign.h"
#include "endpoint/textkey.h"
#include "rt/uv/uv.h"
#include <kith/endpoint.h>
#include <stdio.h>
#include <string.h>

enum { KEY_FILE_SIZE_MAX = 128 }; /* 64 digits, a line end, some white space */

/* These functions belong to no context: a loop of their own lends them files and random numbers for a moment. */
static int borrow_rt(struct kith_rt **out)
{
    int err = kith__rt_uv_new(kith_mem_default(), NULL, out);

    return err == 0 ? 0 : kith__fail_because(err, "the system gives no event loop");
}

void kith_secret_generate(struct kith_secret *out)
{
    kith__secret_random(kith__rt_system_random(), out);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static int read_secret(struct kith_rt *rt, const char *path, struct kith_secret *out)
{
    char text[KEY_FILE_SIZE_MAX];
    struct kith_rt_file *file;
    struct kith_rt_stat stat;
    size_t size = 0, begin = 0;
    int err;

    if ((err = kith__rt_file_open(rt, NULL, path, KITH_RT_READ, 0, &file)) != 0)
        return kith__fail_because(err, "the key file %s cannot be read", path);
    if ((err = kith__rt_file_stat(file, &stat)) == 0 && stat.kind != KITH_RT_KIND_FILE)
        err = kith__fail(KITH_ERR_INVALID, 0, "%s is not a file: the name of a key file is expected", path);
    else if (err == 0 && (stat.mode & 077) != 0)
        err = kith__fail(KITH_ERR_PERMISSION, 0, "the key file %s can be read by others: run chmod 600 on it", path);
    else if (err == 0 && (err = kith__rt_file_pread(file, text, sizeof text, 0, &size)) != 0)
        err = kith__fail_because(err, "the key file %s cannot be read", path);
    kith__rt_file_close(file);
    while (err == 0 && size > 0 && is_space(text[size - 1]))
        size--;
    while (begin < size && is_space(text[begin]))
        begin++;
    if (err == 0 && kith__secret_parse(text + begin, size - begin, out) != 0)
        err = kith__fail(KITH_ERR_PARSE, 0,
                         "the file %s holds no secret key: 64 lower-case hex digits or base32 are expected", path);
    kith__wipe(text, sizeof text);
    return err;
}

int kith_secret_load(const char *path, struct kith_secret *out)
{
    struct kith_rt *rt;
    int err;

    if (path == NULL)
        return kith__fail_null("the path of a key file");
    if ((err = borrow_rt(&rt)) == 0) {
        err = read_secret(rt, path, out);
        kith__rt_free(rt);
    }
    return err;
}

/* Makes the directories above a file, private ones. */
static int make_parents(struct kith_rt *rt, const char *path)
{
    char part[KITH_RT_PATH_MAX + 1];
    size_t size = strlen(path);
    int err;

    if (size > KITH_RT_PATH_MAX)
        return KITH_ERR_TOO_LARGE;
    memcpy(part, path, size + 1);
    for (size_t i = 1; i < size; i++) {
        if (part[i] != '/')
            continue;
        part[i] = 0;
        if ((err = kith__rt_mkdir(rt, NULL, part, 0700)) != 0 && err != KITH_ERR_EXISTS)
            return err;
        part[i] = '/';
    }
    return 0;
}

static int write_secret(struct kith_rt *rt, const char *path, const struct kith_secret *secret, bool replace)
{
    struct kith_rt_replace_options options = { .name = path, .mode = 0600, .overwrite = replace };
    struct kith_rt_replace *file;
    char text[KITH_SECRET_TEXT_SIZE + 1];
    int err;

    if ((err = make_parents(rt, path)) != 0 || (err = kith__rt_replace_begin(rt, &options, &file)) != 0)
        return err;
    kith__secret_format(secret, text);
    strcat(text, "\n");
    if ((err = kith__rt_file_pwrite(kith__rt_replace_file(file), text, strlen(text), 0)) == 0)
        err = kith__rt_replace_commit(file);
    if (err != 0)
        kith__rt_replace_abort(file, false);
    kith__wipe(text, sizeof text);
    return err;
}

int kith_secret_store(const char *path, const struct kith_secret *secret, bool replace)
{
    struct kith_rt *rt;
    int err;

    if (path == NULL || secret == NULL)
        return kith__fail_null("a key, or the path of its file,");
    if ((err = borrow_rt(&rt)) != 0)
        return err;
    if ((err = write_secret(rt, path, secret, replace)) == KITH_ERR_EXISTS)
        kith__fail(err, 0, "the key file %s exists already: it is not overwritten", path);
    else if (err != 0)
        kith__fail_because(err, "the key file %s cannot be written", path);
    kith__rt_free(rt);
    return err;
}
