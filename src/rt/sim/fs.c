/*
 * A file system in memory, one for each host. Contents and directory entries exist twice: as running programs see them and
 * as they were at the last sync; a crash brings the second back. There are no links and no permissions; ".." is refused.
 */
#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "rt/sim/world.h"

struct sim_fs_entry {
    char *name;
    struct sim_fs_node *node; /* holds a reference */
};

struct sim_fs_entries { /* sorted by name */
    struct sim_fs_entry *list;
    size_t count, cap;
};

struct sim_fs_node {
    unsigned references; /* entries, synced entries, open handles */
    bool is_dir;
    bool is_linked; /* has a name: its bytes count against the space */
    uint32_t mode;
    const struct sim_file *locked_by; /* NULL: nobody */
    uint64_t inode, modified_ns;
    struct kith_buf data, synced_data;             /* of a file */
    struct sim_fs_entries entries, synced_entries; /* of a directory */
};

struct sim_file {
    struct kith_rt_file head;
    struct sim_fs_node *node;
    unsigned flags;
    uint64_t position;
};

struct sim_dir {
    struct kith_rt_dir head;
    struct sim_fs_node *node;
};

/* ---- Nodes and entries ---- */

static void entries_clear(const struct kith_mem *mem, struct sim_fs_entries *entries);

static void node_release(const struct kith_mem *mem, struct sim_fs_node *node)
{
    if (--node->references > 0)
        return;
    entries_clear(mem, &node->entries);
    entries_clear(mem, &node->synced_entries);
    kith__buf_dispose(&node->data);
    kith__buf_dispose(&node->synced_data);
    kith__free(mem, node);
}

static void entries_clear(const struct kith_mem *mem, struct sim_fs_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        kith__free(mem, entries->list[i].name);
        node_release(mem, entries->list[i].node);
    }
    kith__free(mem, entries->list);
    *entries = (struct sim_fs_entries) { 0 };
}

/** Index of the name, or where it belongs. */
static size_t entries_find(const struct sim_fs_entries *entries, const char *name, bool *is_there)
{
    size_t low = 0, high = entries->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (strcmp(entries->list[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *is_there = low < entries->count && strcmp(entries->list[low].name, name) == 0;
    return low;
}

static struct sim_fs_node *entries_get(const struct sim_fs_entries *entries, const char *name)
{
    bool is_there;
    size_t index = entries_find(entries, name, &is_there);

    return is_there ? entries->list[index].node : NULL;
}

/** Adds a new name, or lets an old one mean another node. Takes a reference. */
static int entries_set(const struct kith_mem *mem, struct sim_fs_entries *entries, const char *name,
                       struct sim_fs_node *node)
{
    bool is_there;
    size_t index = entries_find(entries, name, &is_there), size = strlen(name) + 1;
    char *copy;

    if (is_there) {
        node->references++;
        node_release(mem, entries->list[index].node);
        entries->list[index].node = node;
        return 0;
    }
    if (entries->count == entries->cap) {
        size_t cap = entries->cap != 0 ? entries->cap * 2 : 8;
        struct sim_fs_entry *list = kith__realloc(mem, entries->list, cap * sizeof *list);

        if (list == NULL)
            return KITH_ERR_NOMEM;
        entries->list = list;
        entries->cap = cap;
    }
    if ((copy = kith__alloc(mem, size)) == NULL)
        return KITH_ERR_NOMEM;
    memcpy(copy, name, size);
    memmove(&entries->list[index + 1], &entries->list[index], (entries->count - index) * sizeof entries->list[0]);
    entries->list[index] = (struct sim_fs_entry) { copy, node };
    entries->count++;
    node->references++;
    return 0;
}

static void entries_remove(const struct kith_mem *mem, struct sim_fs_entries *entries, const char *name)
{
    bool is_there;
    size_t index = entries_find(entries, name, &is_there);
    struct sim_fs_entry entry;

    KITH_ASSERT(is_there);
    entry = entries->list[index];
    entries->count--;
    memmove(&entries->list[index], &entries->list[index + 1], (entries->count - index) * sizeof entries->list[0]);
    kith__free(mem, entry.name);
    node_release(mem, entry.node);
}

static int entries_copy(const struct kith_mem *mem, const struct sim_fs_entries *from, struct sim_fs_entries *to)
{
    struct sim_fs_entries copy = { 0 };
    int err = 0;

    for (size_t i = 0; err == 0 && i < from->count; i++)
        err = entries_set(mem, &copy, from->list[i].name, from->list[i].node);
    if (err != 0) {
        entries_clear(mem, &copy);
        return err;
    }
    entries_clear(mem, to);
    *to = copy;
    return 0;
}

/** A node with one reference: the caller's. */
static struct sim_fs_node *node_new(struct kith_sim_host *host, bool is_dir, uint32_t mode)
{
    struct sim_fs_node *node = kith__alloc_zero(host->sim->mem, sizeof *node);

    if (node == NULL)
        return NULL;
    node->references = 1;
    node->is_dir = is_dir;
    node->mode = mode;
    node->inode = ++host->fs_next_inode;
    node->modified_ns = kith__rt_wall_us(&host->rt) * KITH_NS_PER_US;
    node->data.mem = node->synced_data.mem = host->sim->mem;
    return node;
}

/** Counts a change; the planned fault comes up here. */
static int change(struct kith_sim_host *host)
{
    return ++host->fs_changes == host->faults.fail_at ? host->faults.fail_err : 0;
}

/* ---- Names ---- */

/** Takes the next part off the path. False at its end. */
static bool next_part(const char **path, char part[KITH_RT_NAME_MAX + 1], int *err)
{
    size_t size;

    do {
        *path += strspn(*path, "/");
        if ((size = strcspn(*path, "/")) == 0)
            return false;
        if (size > KITH_RT_NAME_MAX) {
            *err = KITH_ERR_TOO_LARGE;
            return false;
        }
        memcpy(part, *path, size);
        part[size] = '\0';
        *path += size;
    } while (strcmp(part, ".") == 0);
    if (strcmp(part, "..") == 0) {
        *err = KITH_ERR_INVALID;
        return false;
    }
    return true;
}

/** Finds the directory in which the last part of the path lives. last is "" if the path is that directory itself. */
static int find_parent(struct kith_sim_host *host, struct kith_rt_dir *dir, const char *path,
                       struct sim_fs_node **parent, char last[KITH_RT_NAME_MAX + 1])
{
    struct sim_fs_node *at = dir != NULL && path[0] != '/' ? ((struct sim_dir *)dir)->node : host->root;
    char part[KITH_RT_NAME_MAX + 1];
    int err = 0;

    last[0] = '\0';
    while (next_part(&path, part, &err)) {
        if (last[0] != '\0') {
            at = entries_get(&at->entries, last);
            if (at == NULL || !at->is_dir)
                return KITH_ERR_NOT_FOUND;
        }
        memcpy(last, part, sizeof part);
    }
    *parent = at;
    return err;
}

static int find(struct kith_sim_host *host, struct kith_rt_dir *dir, const char *path, struct sim_fs_node **out)
{
    char last[KITH_RT_NAME_MAX + 1];
    struct sim_fs_node *parent;
    int err = find_parent(host, dir, path, &parent, last);

    if (err != 0)
        return err;
    *out = last[0] == '\0' ? parent : entries_get(&parent->entries, last);
    return *out != NULL ? 0 : KITH_ERR_NOT_FOUND;
}

/** Makes a new node under a name that is free. */
static int make(struct kith_sim_host *host, struct sim_fs_node *parent, const char *name, bool is_dir, uint32_t mode,
                struct sim_fs_node **out)
{
    struct sim_fs_node *node;
    int err = change(host);

    if (err != 0)
        return err;
    if ((node = node_new(host, is_dir, mode)) == NULL)
        return KITH_ERR_NOMEM;
    err = entries_set(host->sim->mem, &parent->entries, name, node);
    node_release(host->sim->mem, node); /* the entry holds it now */
    if (err != 0)
        return err;
    node->is_linked = true;
    *out = node;
    return 0;
}

/* ---- Files ---- */

static struct kith_sim_host *host_of(const struct kith_rt_file *file)
{
    return kith__sim_host_of(file->rt);
}

static int set_size(struct kith_sim_host *host, struct sim_fs_node *node, size_t size)
{
    if (size > node->data.size) {
        size_t more = size - node->data.size;

        if (host->faults.space_max != 0 && host->fs_used + more > host->faults.space_max)
            return KITH_ERR_NO_SPACE;
        if (kith__buf_reserve(&node->data, more) != 0)
            return KITH_ERR_NOMEM;
        memset(node->data.ptr + node->data.size, 0, more);
        host->fs_used += node->is_linked ? more : 0;
    } else {
        host->fs_used -= node->is_linked ? node->data.size - size : 0;
    }
    node->data.size = size;
    node->modified_ns = kith__rt_wall_us(&host->rt) * KITH_NS_PER_US;
    return 0;
}

static int sim_file_open(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, unsigned flags, uint32_t mode,
                         struct kith_rt_file **out)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    char last[KITH_RT_NAME_MAX + 1];
    struct sim_fs_node *parent, *node;
    struct sim_file *file;
    int err = find_parent(host, dir, name, &parent, last);

    if (err != 0)
        return err;
    node = last[0] == '\0' ? parent : entries_get(&parent->entries, last);
    if (node == NULL && (flags & KITH_RT_CREATE) == 0)
        return KITH_ERR_NOT_FOUND;
    if (node != NULL && (flags & KITH_RT_CREATE) && (flags & KITH_RT_EXCLUSIVE))
        return KITH_ERR_EXISTS;
    if (node != NULL && node->is_dir)
        return KITH_ERR_INVALID;
    if ((file = kith__alloc_zero(rt->mem, sizeof *file)) == NULL)
        return KITH_ERR_NOMEM;
    if (node == NULL)
        err = make(host, parent, last, false, mode, &node);
    else if (flags & KITH_RT_TRUNCATE)
        err = (err = change(host)) != 0 ? err : set_size(host, node, 0);
    if (err != 0) {
        kith__free(rt->mem, file);
        return err;
    }
    *file = (struct sim_file) { { rt }, node, flags, 0 };
    node->references++;
    host->fs_open_count++;
    *out = &file->head;
    return 0;
}

static void sim_file_close(struct kith_rt_file *head)
{
    struct sim_file *file = (struct sim_file *)head;
    struct kith_sim_host *host = host_of(head);

    host->fs_open_count--;
    if (file->node->locked_by == file)
        file->node->locked_by = NULL;
    node_release(host->sim->mem, file->node);
    kith__free(head->rt->mem, file);
}

static int sim_file_pread(struct kith_rt_file *head, void *bytes, size_t size, uint64_t offset, size_t *done)
{
    struct sim_file *file = (struct sim_file *)head;
    const struct kith_buf *data = &file->node->data;

    if ((file->flags & KITH_RT_READ) == 0)
        return KITH_ERR_INVALID;
    *done = offset < data->size ? (size_t)KITH_MIN((uint64_t)size, data->size - offset) : 0;
    if (*done > 0)
        memcpy(bytes, data->ptr + offset, *done);
    return 0;
}

static int sim_file_read(struct kith_rt_file *head, void *bytes, size_t size, size_t *done)
{
    struct sim_file *file = (struct sim_file *)head;
    int err = sim_file_pread(head, bytes, size, file->position, done);

    if (err == 0)
        file->position += *done;
    return err;
}

/** Like a real disk, a full one takes the part that fits before it says no. */
static size_t size_that_fits(const struct kith_sim_host *host, const struct sim_fs_node *node, uint64_t end)
{
    uint64_t room;

    if (host->faults.space_max == 0 || end <= node->data.size)
        return (size_t)end;
    room = host->faults.space_max > host->fs_used ? host->faults.space_max - host->fs_used : 0;
    return (size_t)KITH_MIN(end, node->data.size + room);
}

static int sim_file_pwrite(struct kith_rt_file *head, const void *bytes, size_t size, uint64_t offset)
{
    struct sim_file *file = (struct sim_file *)head;
    struct kith_sim_host *host = host_of(head);
    size_t end = size_that_fits(host, file->node, offset + size);
    int err;

    if ((file->flags & KITH_RT_WRITE) == 0)
        return KITH_ERR_INVALID;
    if ((err = change(host)) != 0)
        return err;
    if (end > file->node->data.size && (err = set_size(host, file->node, end)) != 0)
        return err;
    if (end > offset)
        memcpy(file->node->data.ptr + offset, bytes, end - (size_t)offset);
    return end == offset + size ? 0 : KITH_ERR_NO_SPACE;
}

static int sim_file_write(struct kith_rt_file *head, const void *bytes, size_t size)
{
    struct sim_file *file = (struct sim_file *)head;
    int err = sim_file_pwrite(head, bytes, size, file->position);

    if (err == 0)
        file->position += size;
    return err;
}

static int sync_contents(const struct kith_mem *mem, struct sim_fs_node *node)
{
    struct kith_buf copy = { .mem = mem };
    int err;

    if (node->data.size > 0 && (err = kith__buf_append(&copy, node->data.ptr, node->data.size)) != 0)
        return err;
    kith__buf_dispose(&node->synced_data);
    node->synced_data = copy;
    return 0;
}

static int sim_file_sync(struct kith_rt_file *head)
{
    struct kith_sim_host *host = host_of(head);
    int err = change(host);

    return err != 0 ? err : sync_contents(host->sim->mem, ((struct sim_file *)head)->node);
}

static int sim_file_lock(struct kith_rt_file *head)
{
    struct sim_file *file = (struct sim_file *)head;

    if (file->node->locked_by != NULL && file->node->locked_by != file)
        return KITH_ERR_AGAIN;
    file->node->locked_by = file;
    return 0;
}

static int sim_file_truncate(struct kith_rt_file *head, uint64_t size)
{
    int err = change(host_of(head));

    return err != 0 ? err : set_size(host_of(head), ((struct sim_file *)head)->node, (size_t)size);
}

static void stat_of(const struct sim_fs_node *node, struct kith_rt_stat *out)
{
    *out = (struct kith_rt_stat) { .size = node->data.size,
                                   .modified_ns = node->modified_ns,
                                   .device = 1,
                                   .inode = node->inode,
                                   .mode = node->mode,
                                   .kind = node->is_dir ? KITH_RT_KIND_DIR : KITH_RT_KIND_FILE };
}

static int sim_file_stat(struct kith_rt_file *head, struct kith_rt_stat *out)
{
    stat_of(((struct sim_file *)head)->node, out);
    return 0;
}

/* ---- Directories ---- */

static int sim_mkdir(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, uint32_t mode)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    char last[KITH_RT_NAME_MAX + 1];
    struct sim_fs_node *parent, *node;
    int err = find_parent(host, dir, name, &parent, last);

    if (err != 0)
        return err;
    if (last[0] == '\0' || entries_get(&parent->entries, last) != NULL)
        return KITH_ERR_EXISTS;
    return make(host, parent, last, true, mode, &node);
}

static int sim_dir_open(struct kith_rt *rt, struct kith_rt_dir *parent, const char *name, unsigned flags,
                        struct kith_rt_dir **out)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    struct sim_fs_node *node;
    struct sim_dir *dir;
    int err;

    if ((flags & KITH_RT_CREATE) && (err = sim_mkdir(rt, parent, name, 0777)) != 0 && err != KITH_ERR_EXISTS)
        return err;
    if ((err = find(host, parent, name, &node)) != 0)
        return err;
    if (!node->is_dir)
        return KITH_ERR_NOT_FOUND;
    if ((dir = kith__alloc_zero(rt->mem, sizeof *dir)) == NULL)
        return KITH_ERR_NOMEM;
    *dir = (struct sim_dir) { { rt }, node };
    node->references++;
    host->fs_open_count++;
    *out = &dir->head;
    return 0;
}

static void sim_dir_close(struct kith_rt_dir *head)
{
    struct kith_sim_host *host = kith__sim_host_of(head->rt);

    host->fs_open_count--;
    node_release(host->sim->mem, ((struct sim_dir *)head)->node);
    kith__free(head->rt->mem, head);
}

static int sim_dir_sync(struct kith_rt_dir *head)
{
    struct kith_sim_host *host = kith__sim_host_of(head->rt);
    struct sim_fs_node *node = ((struct sim_dir *)head)->node;
    int err = change(host);

    return err != 0 ? err : entries_copy(host->sim->mem, &node->entries, &node->synced_entries);
}

/* As deep as the names are. */
static int sync_below(const struct kith_mem *mem, struct sim_fs_node *node)
{
    int err;

    if (!node->is_dir)
        return sync_contents(mem, node);
    err = entries_copy(mem, &node->entries, &node->synced_entries);
    for (size_t i = 0; err == 0 && i < node->entries.count; i++)
        err = sync_below(mem, node->entries.list[i].node);
    return err;
}

static int sim_dir_sync_all(struct kith_rt_dir *head)
{
    struct kith_sim_host *host = kith__sim_host_of(head->rt);
    int err = change(host);

    return err != 0 ? err : sync_below(host->sim->mem, host->root);
}

static int sim_dir_read(struct kith_rt_dir *head, bool (*each)(void *ctx, const char *name), void *ctx)
{
    const struct kith_mem *mem = kith__sim_host_of(head->rt)->sim->mem;
    struct sim_fs_entries copy = { 0 }; /* `each` may change the directory */
    int err = entries_copy(mem, &((struct sim_dir *)head)->node->entries, &copy);

    for (size_t i = 0; err == 0 && i < copy.count && each(ctx, copy.list[i].name); i++)
        ;
    entries_clear(mem, &copy);
    return err;
}

static int sim_stat(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, bool follow,
                    struct kith_rt_stat *out)
{
    struct sim_fs_node *node;
    int err = find(kith__sim_host_of(rt), dir, name, &node);

    (void)follow;
    if (err == 0)
        stat_of(node, out);
    return err;
}

/** The last name of a node goes (there are no hard links); open handles keep its bytes, which no longer count. */
static void unlink_node(struct kith_sim_host *host, struct sim_fs_node *node)
{
    host->fs_used -= node->data.size;
    node->is_linked = false;
}

static int sim_unlink(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, bool is_dir)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    char last[KITH_RT_NAME_MAX + 1];
    struct sim_fs_node *parent, *node;
    int err = find_parent(host, dir, name, &parent, last);

    if (err != 0)
        return err;
    if (last[0] == '\0' || (node = entries_get(&parent->entries, last)) == NULL)
        return KITH_ERR_NOT_FOUND;
    if (node->is_dir != is_dir)
        return is_dir ? KITH_ERR_NOT_FOUND : KITH_ERR_INVALID;
    if (node->entries.count > 0)
        return KITH_ERR_EXISTS;
    if ((err = change(host)) != 0)
        return err;
    unlink_node(host, node);
    entries_remove(host->sim->mem, &parent->entries, last);
    return 0;
}

static int sim_rename(struct kith_rt *rt, struct kith_rt_dir *from_dir, const char *from, struct kith_rt_dir *to_dir,
                      const char *to, bool overwrite)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    char last_from[KITH_RT_NAME_MAX + 1], last_to[KITH_RT_NAME_MAX + 1];
    struct sim_fs_node *parent_from, *parent_to, *node, *old;
    int err;

    if ((err = find_parent(host, from_dir, from, &parent_from, last_from)) != 0 ||
        (err = find_parent(host, to_dir, to, &parent_to, last_to)) != 0)
        return err;
    if (last_from[0] == '\0' || (node = entries_get(&parent_from->entries, last_from)) == NULL)
        return KITH_ERR_NOT_FOUND;
    if (last_to[0] == '\0')
        return KITH_ERR_INVALID;
    old = entries_get(&parent_to->entries, last_to);
    if (old == node)
        return overwrite ? 0 : KITH_ERR_EXISTS;
    if (old != NULL && (!overwrite || old->is_dir || node->is_dir))
        return KITH_ERR_EXISTS;
    if ((err = change(host)) != 0)
        return err;
    if (old != NULL)
        unlink_node(host, old);
    if ((err = entries_set(host->sim->mem, &parent_to->entries, last_to, node)) != 0) {
        KITH_ASSERT(old == NULL); /* replacing allocates nothing */
        return err;
    }
    entries_remove(host->sim->mem, &parent_from->entries, last_from);
    return 0;
}

void kith__sim_fs_ops(struct kith_rt_ops *ops)
{
    ops->file_open = sim_file_open;
    ops->file_close = sim_file_close;
    ops->file_read = sim_file_read;
    ops->file_pread = sim_file_pread;
    ops->file_write = sim_file_write;
    ops->file_pwrite = sim_file_pwrite;
    ops->file_sync = sim_file_sync;
    ops->file_lock = sim_file_lock;
    ops->file_truncate = sim_file_truncate;
    ops->file_stat = sim_file_stat;
    ops->dir_open = sim_dir_open;
    ops->dir_close = sim_dir_close;
    ops->dir_sync = sim_dir_sync;
    ops->dir_sync_all = sim_dir_sync_all;
    ops->dir_read = sim_dir_read;
    ops->stat = sim_stat;
    ops->mkdir = sim_mkdir;
    ops->unlink = sim_unlink;
    ops->rename = sim_rename;
}

/* ---- Life, faults, crash ---- */

int kith__sim_fs_init(struct kith_sim_host *host)
{
    host->root = node_new(host, true, 0755);
    return host->root != NULL ? 0 : KITH_ERR_NOMEM;
}

void kith__sim_fs_dispose(struct kith_sim_host *host)
{
    KITH_ASSERT(host->fs_open_count == 0);
    if (host->root != NULL)
        node_release(host->sim->mem, host->root);
    host->root = NULL;
}

void kith__sim_fs_set_faults(struct kith_sim_host *host, const struct kith_sim_fs_faults *faults)
{
    host->faults = *faults;
    host->fs_changes = 0;
}

static bool is_dirty(const struct sim_fs_node *node)
{
    return node->data.size != node->synced_data.size ||
           (node->data.size > 0 && memcmp(node->data.ptr, node->synced_data.ptr, node->data.size) != 0);
}

/** Makes `to` an equal copy; without memory it stays empty, which a crash may always leave. */
static void copy_data(const struct kith_buf *from, struct kith_buf *to)
{
    to->size = 0;
    if (from->size > 0 && kith__buf_append(to, from->ptr, from->size) != 0)
        to->size = 0;
}

static void crash_file(struct kith_sim_host *host, struct sim_fs_node *node, bool is_torn)
{
    if (!is_dirty(node))
        return;
    if (is_torn) { /* what the disk took before the end */
        node->data.size = (size_t)kith__random_below(&host->sim->random, node->data.size + 1);
        copy_data(&node->data, &node->synced_data);
    } else {
        copy_data(&node->synced_data, &node->data);
    }
}

static void crash_node(struct kith_sim_host *host, struct sim_fs_node *node, bool is_torn)
{
    bool keeps_new = is_torn && kith__random_below(&host->sim->random, 2) != 0;
    int err;

    node->is_linked = true;
    if (!node->is_dir) {
        crash_file(host, node, is_torn);
        host->fs_used += node->data.size;
        return;
    }
    if (keeps_new)
        err = entries_copy(host->sim->mem, &node->entries, &node->synced_entries);
    else
        err = entries_copy(host->sim->mem, &node->synced_entries, &node->entries);
    KITH_ASSERT(err == 0); /* crashes do not go with an allocator that fails */
    for (size_t i = 0; i < node->entries.count; i++)
        crash_node(host, node->entries.list[i].node, is_torn);
}

void kith__sim_fs_crash(struct kith_sim_host *host, bool is_torn)
{
    KITH_ASSERT(host->fs_open_count == 0);
    host->fs_used = 0;
    crash_node(host, host->root, is_torn);
}
