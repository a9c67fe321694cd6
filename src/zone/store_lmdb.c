/* The store of a server with a disk. */
#include "zone/store_lmdb.h"

#include "base/cause.h"
#include "base/list.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ARRIVAL_SIZE = 8,
    INDEX_KEY_SIZE = ARRIVAL_SIZE + KITH_ID_SIZE,
    READERS_MAX = 128,
    READERS_FILE_MAX = READERS_MAX + 64,
    LOCK_FILE_SIZE = 64 * (READERS_FILE_MAX + 8) /* a cache line for each reader, and what is before them */
};
#define MAP_SIZE_MIN (64ull << 20)

/* A read transaction that is kept between gets: making one anew costs more than the get. */
struct reader {
    atomic_flag is_taken;
    MDB_txn *txn; /* NULL: not made yet */
};

struct lmdb {
    struct kith_store store;
    const struct kith_mem *mem;
    uint64_t packets_max;
    MDB_env *env;
    MDB_dbi packets, arrivals;
    MDB_txn *writing; /* NULL: nothing since the last commit */
    int failed;       /* of the present transaction: it can only be given up */
    struct reader readers[READERS_MAX];
};

static struct lmdb *lmdb_of(struct kith_store *store)
{
    return KITH_CONTAINER(store, struct lmdb, store);
}

static int error_of(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return KITH_ERR_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case MDB_READERS_FULL:
        return KITH_ERR_LIMIT;
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_INCOMPATIBLE:
        return KITH_ERR_STATE;
    case ENOMEM:
        return KITH_ERR_NOMEM;
    case ENOSPC:
        return kith__cause_note(KITH_ERR_NO_SPACE, rc);
    case EACCES:
    case EPERM:
    case EROFS:
        return kith__cause_note(KITH_ERR_PERMISSION, rc);
    case ENOENT:
        return kith__cause_note(KITH_ERR_NOT_FOUND, rc);
    default:
        return rc > 0 ? kith__cause_note(KITH_ERR_IO, rc) : KITH_ERR_IO;
    }
}

/* ---- Forms ---- */

static void write_arrival(uint64_t us, uint8_t out[ARRIVAL_SIZE])
{
    for (int i = 0; i < ARRIVAL_SIZE; i++)
        out[i] = (uint8_t)(us >> (56 - 8 * i));
}

static uint64_t read_arrival(const uint8_t *bytes)
{
    uint64_t us = 0;

    for (int i = 0; i < ARRIVAL_SIZE; i++)
        us = us << 8 | bytes[i];
    return us;
}

/* A value as it stands in the file; untrusted, as disks err. */
static int read_value(const uint8_t *id, const MDB_val *value, struct kith_pkarr *out, uint64_t *arrived_us)
{
    size_t size = value->mv_size - ARRIVAL_SIZE;

    if (value->mv_size < ARRIVAL_SIZE + KITH_PKARR_PAYLOAD_SIZE_MIN || size > KITH_PKARR_PAYLOAD_SIZE_MAX)
        return KITH_ERR_STATE;
    memcpy(out->bytes, id, KITH_ID_SIZE);
    memcpy(out->bytes + KITH_ID_SIZE, (const uint8_t *)value->mv_data + ARRIVAL_SIZE, size);
    out->size = (uint16_t)(KITH_ID_SIZE + size);
    if (arrived_us != NULL)
        *arrived_us = read_arrival(value->mv_data);
    return 0;
}

/* ---- Writing ---- */

static int begin(struct lmdb *lmdb)
{
    int err;

    if (lmdb->failed != 0)
        return lmdb->failed;
    if (lmdb->writing != NULL)
        return 0;
    if ((err = error_of(mdb_txn_begin(lmdb->env, NULL, 0, &lmdb->writing))) != 0)
        lmdb->writing = NULL;
    return err;
}

/* A transaction in which a write failed is in an unknown state: the next commit says so, and gives it up. */
static int note(struct lmdb *lmdb, int rc)
{
    int err = error_of(rc);

    if (err != 0)
        lmdb->failed = err;
    return err;
}

static int index_set(struct lmdb *lmdb, uint64_t arrived_us, const uint8_t *id, bool is_there)
{
    uint8_t bytes[INDEX_KEY_SIZE];
    MDB_val key = { sizeof bytes, bytes }, nothing = { 0, NULL };
    int rc;

    write_arrival(arrived_us, bytes);
    memcpy(bytes + ARRIVAL_SIZE, id, KITH_ID_SIZE);
    if (is_there)
        return mdb_put(lmdb->writing, lmdb->arrivals, &key, &nothing, 0);
    rc = mdb_del(lmdb->writing, lmdb->arrivals, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int write_packet(struct lmdb *lmdb, const struct kith_pkarr *packet, uint64_t arrived_us)
{
    struct kith_slice payload = kith__pkarr_payload(packet);
    MDB_val key = { KITH_ID_SIZE, (void *)packet->bytes }, value = { ARRIVAL_SIZE + payload.size, NULL };
    int rc = mdb_put(lmdb->writing, lmdb->packets, &key, &value, MDB_RESERVE);

    if (rc != 0)
        return rc;
    write_arrival(arrived_us, value.mv_data);
    memcpy((uint8_t *)value.mv_data + ARRIVAL_SIZE, payload.ptr, payload.size);
    return index_set(lmdb, arrived_us, packet->bytes, true);
}

static int has_room(struct lmdb *lmdb)
{
    MDB_stat stat;
    int err;

    if (lmdb->packets_max == 0)
        return 0;
    err = note(lmdb, mdb_stat(lmdb->writing, lmdb->packets, &stat));
    return err != 0 ? err : stat.ms_entries < lmdb->packets_max ? 0 : KITH_ERR_LIMIT;
}

static int lmdb_put(struct kith_store *store, const struct kith_pkarr *packet, uint64_t arrived_us,
                    enum kith_store_put *how)
{
    struct lmdb *lmdb = lmdb_of(store);
    MDB_val key = { KITH_ID_SIZE, (void *)packet->bytes }, value;
    struct kith_pkarr stored;
    uint64_t stored_us;
    int err, rc;

    if ((err = begin(lmdb)) != 0)
        return err;
    rc = mdb_get(lmdb->writing, lmdb->packets, &key, &value);
    if (rc == MDB_NOTFOUND) {
        if ((err = has_room(lmdb)) != 0)
            return err;
        *how = KITH_STORE_INSERTED;
        return note(lmdb, write_packet(lmdb, packet, arrived_us));
    }
    if ((err = note(lmdb, rc)) != 0)
        return err;
    if (read_value(packet->bytes, &value, &stored, &stored_us) != 0) {
        /* Damaged: its owner mends it. An entry of the index may stay behind; it goes when it is due, and takes nothing with it. */
        *how = KITH_STORE_UPDATED;
        return note(lmdb, write_packet(lmdb, packet, arrived_us));
    }
    if (stored.size == packet->size && memcmp(stored.bytes, packet->bytes, packet->size) == 0) {
        *how = KITH_STORE_SAME;
        if (stored_us == arrived_us)
            return 0;
    } else if (kith__pkarr_is_newer(packet, &stored)) {
        *how = KITH_STORE_UPDATED;
    } else {
        *how = KITH_STORE_OLDER;
        return 0;
    }
    if ((err = note(lmdb, index_set(lmdb, stored_us, packet->bytes, false))) != 0)
        return err;
    return note(lmdb, write_packet(lmdb, packet, arrived_us));
}

static int lmdb_commit(struct kith_store *store)
{
    struct lmdb *lmdb = lmdb_of(store);
    int failed = lmdb->failed, err = 0;

    lmdb->failed = 0;
    if (lmdb->writing == NULL)
        return failed;
    if (failed != 0)
        mdb_txn_abort(lmdb->writing);
    else
        err = error_of(mdb_txn_commit(lmdb->writing)); /* frees it, whatever it says */
    lmdb->writing = NULL;
    return failed != 0 ? failed : err;
}

/* Removes the packet of an entry of the index, and the entry. */
static int expire_one(struct lmdb *lmdb, MDB_cursor *cursor, const uint8_t *id, uint64_t arrived_us)
{
    MDB_val key = { KITH_ID_SIZE, (void *)id }, value;
    int rc = mdb_get(lmdb->writing, lmdb->packets, &key, &value);

    /* An entry that is not the packet's (which only damage leaves) must not take it away. */
    if (rc == 0 && (value.mv_size < ARRIVAL_SIZE || read_arrival(value.mv_data) == arrived_us))
        rc = mdb_del(lmdb->writing, lmdb->packets, &key, NULL);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    return mdb_cursor_del(cursor, 0);
}

static int lmdb_expire(struct kith_store *store, uint64_t before_us, size_t max, size_t *count)
{
    struct lmdb *lmdb = lmdb_of(store);
    bool was_idle = lmdb->writing == NULL;
    uint8_t id[KITH_ID_SIZE];
    MDB_cursor *cursor;
    MDB_val key, value;
    int err, rc;

    *count = 0;
    if ((err = begin(lmdb)) != 0 || (err = note(lmdb, mdb_cursor_open(lmdb->writing, lmdb->arrivals, &cursor))) != 0)
        return err;
    while (*count < max && (rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)) != MDB_NOTFOUND) {
        uint64_t arrived_us;

        if ((err = note(lmdb, rc)) != 0)
            break;
        if (key.mv_size != INDEX_KEY_SIZE) {
            err = lmdb->failed = KITH_ERR_STATE;
            break;
        }
        arrived_us = read_arrival(key.mv_data);
        if (arrived_us >= before_us)
            break;
        memcpy(id, (const uint8_t *)key.mv_data + ARRIVAL_SIZE, KITH_ID_SIZE); /* the page may move */
        if ((err = note(lmdb, expire_one(lmdb, cursor, id, arrived_us))) != 0)
            break;
        ++*count;
    }
    mdb_cursor_close(cursor);
    /* Nothing was due: a transaction must not wait for a commit that nobody sees a reason for. It would keep its lock. */
    if (err == 0 && *count == 0 && was_idle) {
        mdb_txn_abort(lmdb->writing);
        lmdb->writing = NULL;
    }
    return err;
}

/* ---- Reading ---- */

/* A fresh snapshot; *slot NULL: a transaction only for this once. */
static int read_begin(struct lmdb *lmdb, struct reader **slot, MDB_txn **out)
{
    int err;

    for (size_t i = 0; i < READERS_MAX; i++) {
        struct reader *reader = &lmdb->readers[i];

        if (atomic_flag_test_and_set_explicit(&reader->is_taken, memory_order_acquire))
            continue;
        err = error_of(reader->txn != NULL ? mdb_txn_renew(reader->txn)
                                           : mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &reader->txn));
        if (err != 0) {
            if (reader->txn != NULL)
                mdb_txn_abort(reader->txn);
            reader->txn = NULL;
            atomic_flag_clear_explicit(&reader->is_taken, memory_order_release);
            return err;
        }
        *slot = reader;
        *out = reader->txn;
        return 0;
    }
    *slot = NULL;
    return error_of(mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, out));
}

static void read_end(struct reader *slot, MDB_txn *txn)
{
    if (slot == NULL) {
        mdb_txn_abort(txn);
        return;
    }
    mdb_txn_reset(txn);
    atomic_flag_clear_explicit(&slot->is_taken, memory_order_release);
}

static int lmdb_get(struct kith_store *store, const struct kith_id *id, struct kith_pkarr *out, uint64_t *arrived_us)
{
    struct lmdb *lmdb = lmdb_of(store);
    MDB_val key = { KITH_ID_SIZE, (void *)id->bytes }, value;
    struct reader *slot;
    MDB_txn *txn;
    int err;

    if ((err = read_begin(lmdb, &slot, &txn)) != 0)
        return err;
    if ((err = error_of(mdb_get(txn, lmdb->packets, &key, &value))) == 0)
        err = read_value(id->bytes, &value, out, arrived_us);
    read_end(slot, txn);
    return err;
}

static int lmdb_scan(struct kith_store *store,
                     bool (*each)(void *ctx, const struct kith_pkarr *packet, uint64_t arrived_us), void *ctx)
{
    struct lmdb *lmdb = lmdb_of(store);
    struct reader *slot;
    struct kith_pkarr packet;
    uint64_t arrived_us;
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_txn *txn;
    int err, rc = 0;

    if ((err = read_begin(lmdb, &slot, &txn)) != 0)
        return err;
    if ((err = error_of(mdb_cursor_open(txn, lmdb->packets, &cursor))) == 0) {
        while (err == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
            err = key.mv_size == KITH_ID_SIZE ? read_value(key.mv_data, &value, &packet, &arrived_us) : KITH_ERR_STATE;
            if (err == 0 && !each(ctx, &packet, arrived_us))
                break;
        }
        if (err == 0 && rc != MDB_NOTFOUND)
            err = error_of(rc);
        mdb_cursor_close(cursor);
    }
    read_end(slot, txn);
    return err;
}

static void lmdb_stats(struct kith_store *store, struct kith_store_stats *out)
{
    struct lmdb *lmdb = lmdb_of(store);
    struct reader *slot;
    MDB_envinfo info;
    MDB_stat stat;
    MDB_txn *txn;

    *out = (struct kith_store_stats) { 0 };
    if (read_begin(lmdb, &slot, &txn) != 0)
        return;
    if (mdb_stat(txn, lmdb->packets, &stat) == 0 && mdb_env_info(lmdb->env, &info) == 0)
        *out = (struct kith_store_stats) { stat.ms_entries, (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize };
    read_end(slot, txn);
}

/* ---- Life ---- */

static void lmdb_free(struct kith_store *store)
{
    struct lmdb *lmdb = lmdb_of(store);

    if (lmdb->writing != NULL)
        mdb_txn_abort(lmdb->writing);
    for (size_t i = 0; i < READERS_MAX; i++)
        if (lmdb->readers[i].txn != NULL)
            mdb_txn_abort(lmdb->readers[i].txn);
    if (lmdb->env != NULL)
        mdb_env_close(lmdb->env);
    kith__free(lmdb->mem, lmdb);
}

static const struct kith_store_ops lmdb_ops = {
    .put = lmdb_put,
    .commit = lmdb_commit,
    .get = lmdb_get,
    .expire = lmdb_expire,
    .scan = lmdb_scan,
    .stats = lmdb_stats,
    .free = lmdb_free,
};

/* A file that lost its end would be read beyond it, which ends the process with SIGBUS. */
static int check_size(struct lmdb *lmdb)
{
    MDB_envinfo info;
    struct stat file;
    MDB_stat stat;
    int fd, rc;

    if ((rc = mdb_env_info(lmdb->env, &info)) != 0 || (rc = mdb_env_stat(lmdb->env, &stat)) != 0 ||
        (rc = mdb_env_get_fd(lmdb->env, &fd)) != 0)
        return error_of(rc);
    if (fstat(fd, &file) != 0)
        return error_of(errno);
    /* A new file has its two head pages, but no others. */
    return (uint64_t)file.st_size >= (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize ? 0 : KITH_ERR_STATE;
}

/* LMDB writes to this file through memory: a page of it for which the disk has no room would end the process with SIGBUS. */
static int reserve_lock_file(const struct kith_mem *mem, const char *path)
{
    static const char suffix[] = "-lock";
    size_t size = strlen(path) + sizeof suffix;
    char *name = kith__alloc(mem, size);
    int fd, rc = 0;

    if (name == NULL)
        return KITH_ERR_NOMEM;
    snprintf(name, size, "%s%s", path, suffix);
    if ((fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
        rc = errno;
    kith__free(mem, name);
    if (fd < 0)
        return error_of(rc);
    rc = posix_fallocate(fd, 0, LOCK_FILE_SIZE);
    close(fd);
    return rc == EOPNOTSUPP || rc == EINVAL ? 0 : error_of(rc); /* a file system without that: as it comes */
}

static bool is_new(const char *path)
{
    struct stat file;

    return stat(path, &file) != 0 ? errno == ENOENT : S_ISREG(file.st_mode) && file.st_size == 0;
}

/* Opens with as much address space as there is. */
static int open_env(struct lmdb *lmdb, const char *path, uint64_t size_max)
{
    uint64_t size = KITH_MIN(size_max, (uint64_t)SIZE_MAX / 4);
    int rc;

    for (;; size /= 2) {
        if ((rc = mdb_env_create(&lmdb->env)) != 0)
            return error_of(rc);
        if ((rc = mdb_env_set_mapsize(lmdb->env, (size_t)size)) != 0 || (rc = mdb_env_set_maxdbs(lmdb->env, 2)) != 0 ||
            (rc = mdb_env_set_maxreaders(lmdb->env, READERS_FILE_MAX)) != 0)
            return error_of(rc);
        rc = mdb_env_open(lmdb->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD, 0600);
        if (rc != ENOMEM || size / 2 < MAP_SIZE_MIN)
            return error_of(rc);
        mdb_env_close(lmdb->env);
        lmdb->env = NULL;
    }
}

static int open_tables(struct lmdb *lmdb)
{
    MDB_txn *txn;
    int rc;

    if ((rc = mdb_txn_begin(lmdb->env, NULL, 0, &txn)) != 0)
        return error_of(rc);
    if ((rc = mdb_dbi_open(txn, "packets", MDB_CREATE, &lmdb->packets)) != 0 ||
        (rc = mdb_dbi_open(txn, "arrivals", MDB_CREATE, &lmdb->arrivals)) != 0) {
        mdb_txn_abort(txn);
        return error_of(rc);
    }
    return error_of(mdb_txn_commit(txn));
}

int kith__store_lmdb_open(const struct kith_store_lmdb_options *options, struct kith_store **out)
{
    struct lmdb *lmdb = kith__alloc_zero(options->mem, sizeof *lmdb);
    bool was_new = is_new(options->path);
    int dead, err;

    if (lmdb == NULL)
        return KITH_ERR_NOMEM;
    lmdb->store.ops = &lmdb_ops;
    lmdb->mem = options->mem;
    lmdb->packets_max = options->packets_max;
    for (size_t i = 0; i < READERS_MAX; i++)
        atomic_flag_clear(&lmdb->readers[i].is_taken);
    err = reserve_lock_file(options->mem, options->path);
    if (err == 0)
        err = open_env(lmdb, options->path, options->size_max != 0 ? options->size_max : KITH_STORE_LMDB_SIZE_MAX);
    if (err == 0)
        err = check_size(lmdb);
    /* Readers of a process that was killed would keep pages from being used again. */
    if (err == 0)
        err = error_of(mdb_reader_check(lmdb->env, &dead));
    if (err == 0)
        err = open_tables(lmdb);
    if (err != 0) {
        lmdb_free(&lmdb->store);
        if (was_new) /* half of a store, with nothing in it: it would be called damaged from now on */
            (void)unlink(options->path);
        return err;
    }
    *out = &lmdb->store;
    return 0;
}
