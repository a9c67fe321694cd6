/* One set of rules for every store, and what each has for itself. */
#include "zone/store_lmdb.h"
#include "zone/store_memory.h"

#include "base/mem.h"
#include "zone/parts.h"
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MEMORY, LMDB, KINDS };

/** A store, and the directory in which it lies. */
struct rig {
    int kind;
    char dir[64], path[80];
    struct kith_store *store;
};

static int rig_start(struct rig *rig, const struct kith_mem *mem, uint64_t packets_max)
{
    struct kith_store_memory_options memory = { .mem = mem, .seed = 3, .packets_max = packets_max };
    struct kith_store_lmdb_options lmdb = {
        .mem = mem, .path = rig->path, .packets_max = packets_max, .size_max = 1 << 30
    };

    return rig->kind == MEMORY ? kith__store_memory_new(&memory, &rig->store)
                               : kith__store_lmdb_open(&lmdb, &rig->store);
}

static void rig_open(struct rig *rig, int kind, uint64_t packets_max)
{
    *rig = (struct rig) { .kind = kind, .dir = "/tmp/kith-store-XXXXXX" };
    if (kind == LMDB)
        KITH_CHECK(mkdtemp(rig->dir) != NULL);
    snprintf(rig->path, sizeof rig->path, "%s/packets", rig->dir);
    KITH_CHECK_EQ(rig_start(rig, kith_mem_default(), packets_max), 0);
}

static void rig_remove(struct rig *rig)
{
    char lock[100];

    if (rig->kind != LMDB)
        return;
    snprintf(lock, sizeof lock, "%s-lock", rig->path);
    unlink(rig->path);
    unlink(lock);
    rmdir(rig->dir);
}

static void rig_close(struct rig *rig)
{
    rig->store->ops->free(rig->store);
    rig_remove(rig);
}

static enum kith_store_put put(struct rig *rig, const struct kith_pkarr *packet, uint64_t arrived_us)
{
    enum kith_store_put how = KITH_STORE_OLDER;

    KITH_CHECK_EQ(rig->store->ops->put(rig->store, packet, arrived_us, &how), 0);
    return how;
}

static void commit(struct rig *rig)
{
    KITH_CHECK_EQ(rig->store->ops->commit(rig->store), 0);
}

static int get(struct rig *rig, uint32_t number, struct kith_pkarr *out, uint64_t *arrived_us)
{
    struct kith_pkarr key = packet_of(number, 0, 0);
    struct kith_id id = kith__pkarr_id(&key);

    return rig->store->ops->get(rig->store, &id, out, arrived_us);
}

static bool has(struct rig *rig, uint32_t number)
{
    struct kith_pkarr out;
    int err = get(rig, number, &out, NULL);

    KITH_CHECK(err == 0 || err == KITH_ERR_NOT_FOUND);
    return err == 0;
}

KITH_TEST(store_takes_what_is_newer_and_keeps_what_is_not)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct kith_pkarr old = packet_of(1, 100, 20), new = packet_of(1, 101, 900), tie = packet_of(1, 101, 900), got;
        uint64_t arrived_us = 0;
        struct rig rig;

        rig_open(&rig, kind, 0);
        KITH_CHECK(!has(&rig, 1));
        KITH_CHECK_EQ(put(&rig, &old, 5), KITH_STORE_INSERTED);
        KITH_CHECK_EQ(put(&rig, &new, 6), KITH_STORE_UPDATED);
        KITH_CHECK_EQ(put(&rig, &old, 7), KITH_STORE_OLDER);
        tie.bytes[KITH_PKARR_HEAD_SIZE]--; /* the same time, and smaller */
        KITH_CHECK_EQ(put(&rig, &tie, 8), KITH_STORE_OLDER);
        commit(&rig);
        KITH_CHECK_EQ(get(&rig, 1, &got, &arrived_us), 0);
        KITH_CHECK_EQ(got.size, new.size);
        KITH_CHECK_BYTES(got.bytes, new.bytes, new.size);
        KITH_CHECK_EQ(arrived_us, 6);
        tie.bytes[KITH_PKARR_HEAD_SIZE] += 2;
        KITH_CHECK_EQ(put(&rig, &tie, 9), KITH_STORE_UPDATED);
        rig_close(&rig);
    }
}

KITH_TEST(store_lets_packets_go_by_arrival_and_the_same_one_again_lives_on)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct kith_store_stats stats;
        struct kith_pkarr packet;
        struct rig rig;
        size_t count;

        rig_open(&rig, kind, 0);
        for (uint32_t i = 0; i < 10; i++) {
            packet = packet_of(i, 1000 - i, 10); /* dated in the other order */
            put(&rig, &packet, 10 + i);
        }
        packet = packet_of(2, 998, 10);
        KITH_CHECK_EQ(put(&rig, &packet, 30), KITH_STORE_SAME);
        commit(&rig);
        KITH_CHECK_EQ(rig.store->ops->expire(rig.store, 14, 2, &count), 0);
        KITH_CHECK_EQ(count, 2);
        KITH_CHECK_EQ(rig.store->ops->expire(rig.store, 14, 100, &count), 0);
        KITH_CHECK_EQ(count, 1);
        KITH_CHECK_EQ(rig.store->ops->expire(rig.store, 14, 100, &count), 0);
        KITH_CHECK_EQ(count, 0);
        commit(&rig);
        for (uint32_t i = 0; i < 10; i++)
            KITH_CHECK_EQ(has(&rig, i), i == 2 || i >= 4);
        rig.store->ops->stats(rig.store, &stats);
        KITH_CHECK_EQ(stats.packets, 7);
        KITH_CHECK(stats.size_bytes > 0);
        KITH_CHECK_EQ(rig.store->ops->expire(rig.store, UINT64_MAX, 100, &count), 0);
        KITH_CHECK_EQ(count, 7);
        commit(&rig);
        rig_close(&rig);
    }
}

KITH_TEST(store_that_is_full_takes_no_new_keys_but_news_of_those_it_has)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct kith_pkarr packet;
        enum kith_store_put how;
        struct rig rig;

        rig_open(&rig, kind, 3);
        for (uint32_t i = 0; i < 3; i++) {
            packet = packet_of(i, 5, 10);
            put(&rig, &packet, 1);
        }
        packet = packet_of(9, 5, 10);
        KITH_CHECK_EQ(rig.store->ops->put(rig.store, &packet, 2, &how), KITH_ERR_LIMIT);
        packet = packet_of(1, 6, 10);
        KITH_CHECK_EQ(put(&rig, &packet, 2), KITH_STORE_UPDATED);
        commit(&rig); /* what was refused has spoilt nothing */
        KITH_CHECK(has(&rig, 0) && has(&rig, 1) && has(&rig, 2) && !has(&rig, 9));
        rig_close(&rig);
    }
}

/** What a scan has seen. */
struct seen {
    uint32_t count, stop_at;
    uint32_t last;
};

static bool see(void *ctx, const struct kith_pkarr *packet, uint64_t arrived_us)
{
    struct seen *seen = ctx;
    uint32_t number = (uint32_t)packet->bytes[2] << 8 | packet->bytes[3];

    KITH_CHECK(seen->count == 0 || number > seen->last);
    KITH_CHECK_EQ(arrived_us, 7);
    seen->last = number;
    return ++seen->count != seen->stop_at;
}

KITH_TEST(store_scans_in_the_order_of_ids)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct seen all = { 0 }, some = { .stop_at = 3 };
        struct rig rig;

        rig_open(&rig, kind, 0);
        for (uint32_t i = 0; i < 500; i++) {
            struct kith_pkarr packet = packet_of((i * 7) % 500, 5, 100);

            put(&rig, &packet, 7);
        }
        commit(&rig);
        KITH_CHECK_EQ(rig.store->ops->scan(rig.store, see, &all), 0);
        KITH_CHECK_EQ(all.count, 500);
        KITH_CHECK_EQ(rig.store->ops->scan(rig.store, see, &some), 0);
        KITH_CHECK_EQ(some.count, 3);
        rig_close(&rig);
    }
}

KITH_TEST(store_memory_survives_every_failed_allocation)
{
    for (uint64_t fail_at = 1;; fail_at++) {
        struct kith_test_mem mem;
        struct rig rig = { .kind = MEMORY };
        struct kith_pkarr packet = packet_of(1, 5, 10);
        enum kith_store_put how;
        int err;

        kith__test_mem_init(&mem, fail_at);
        if ((err = rig_start(&rig, &mem.mem, 0)) == 0) {
            err = rig.store->ops->put(rig.store, &packet, 1, &how);
            rig.store->ops->free(rig.store);
        }
        KITH_CHECK_EQ(mem.live, 0);
        if (err == 0)
            break;
        KITH_CHECK_EQ(err, KITH_ERR_NOMEM);
    }
}

KITH_TEST(store_lmdb_shows_and_keeps_only_what_was_committed)
{
    struct kith_pkarr packet = packet_of(1, 5, 10), other = packet_of(2, 5, 10);
    struct rig rig;

    rig_open(&rig, LMDB, 0);
    put(&rig, &packet, 1);
    KITH_CHECK(!has(&rig, 1));
    commit(&rig);
    KITH_CHECK(has(&rig, 1));
    put(&rig, &other, 1);
    rig.store->ops->free(rig.store);
    KITH_CHECK_EQ(rig_start(&rig, kith_mem_default(), 0), 0);
    KITH_CHECK(has(&rig, 1) && !has(&rig, 2));
    rig_close(&rig);
}

KITH_TEST(store_lmdb_keeps_what_was_committed_when_its_process_is_killed)
{
    struct kith_pkarr packet;
    struct rig rig;
    int status;
    pid_t child;

    rig_open(&rig, LMDB, 0);
    rig.store->ops->free(rig.store);
    if ((child = fork()) == 0) {
        if (rig_start(&rig, kith_mem_default(), 0) != 0)
            _exit(1);
        for (uint32_t i = 0; i < 150; i++) {
            packet = packet_of(i, 5, 300);
            put(&rig, &packet, i);
            if (i == 99)
                commit(&rig);
        }
        kill(getpid(), SIGKILL);
    }
    KITH_CHECK_EQ(waitpid(child, &status, 0), child);
    KITH_CHECK(WIFSIGNALED(status));
    KITH_CHECK_EQ(rig_start(&rig, kith_mem_default(), 0), 0);
    for (uint32_t i = 0; i < 150; i++)
        KITH_CHECK_EQ(has(&rig, i), i < 100);
    rig_close(&rig);
}

KITH_TEST(store_lmdb_holds_no_lock_when_nothing_was_due)
{
    struct kith_pkarr packet = packet_of(1, 5, 10);
    struct rig rig;
    int ready[2], status;
    size_t count;
    pid_t child;
    char byte;

    rig_open(&rig, LMDB, 0);
    rig.store->ops->free(rig.store);
    KITH_CHECK_EQ(pipe(ready), 0);
    if ((child = fork()) == 0) {
        byte = rig_start(&rig, kith_mem_default(), 0) == 0 &&
               rig.store->ops->expire(rig.store, UINT64_MAX, 10, &count) == 0 && count == 0;
        (void)!write(ready[1], &byte, 1);
        pause();
    }
    KITH_CHECK_EQ(read(ready[0], &byte, 1), 1);
    KITH_CHECK_EQ(byte, 1);
    KITH_CHECK_EQ(rig_start(&rig, kith_mem_default(), 0), 0);
    alarm(10); /* else a put would wait for the other process for ever */
    put(&rig, &packet, 1);
    commit(&rig);
    alarm(0);
    kill(child, SIGKILL);
    KITH_CHECK_EQ(waitpid(child, &status, 0), child);
    close(ready[0]);
    close(ready[1]);
    rig_close(&rig);
}

static void overwrite(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "r+b");

    KITH_CHECK(file != NULL);
    KITH_CHECK_EQ(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

KITH_TEST(store_lmdb_that_is_damaged_is_refused_and_left_as_it_is)
{
    static const char garbage[9000] = "this is no database";
    struct stat before, after;
    struct kith_pkarr packet;
    struct rig rig;

    rig_open(&rig, LMDB, 0);
    for (uint32_t i = 0; i < 1000; i++) {
        packet = packet_of(i, 5, 900);
        put(&rig, &packet, i);
    }
    commit(&rig);
    rig.store->ops->free(rig.store);
    KITH_CHECK_EQ(truncate(rig.path, 64 << 10), 0);
    KITH_CHECK_EQ(rig_start(&rig, kith_mem_default(), 0), KITH_ERR_STATE);
    overwrite(rig.path, garbage, sizeof garbage);
    KITH_CHECK_EQ(stat(rig.path, &before), 0);
    KITH_CHECK_EQ(rig_start(&rig, kith_mem_default(), 0), KITH_ERR_STATE);
    KITH_CHECK_EQ(stat(rig.path, &after), 0);
    KITH_CHECK_EQ(after.st_size, before.st_size);
    KITH_CHECK_EQ(after.st_mtime, before.st_mtime);
    rig_remove(&rig);
}

/* What a disk that errs, or another program, may leave of the value of a packet. */
static void spoil(const struct rig *rig, uint32_t number, size_t size)
{
    struct kith_pkarr packet = packet_of(number, 0, 0);
    static uint8_t bytes[KITH_PKARR_PAYLOAD_SIZE_MAX + 9];
    MDB_val key = { KITH_ID_SIZE, packet.bytes }, value = { size, bytes };
    MDB_dbi packets;
    MDB_env *env;
    MDB_txn *txn;

    KITH_CHECK_EQ(mdb_env_create(&env), 0);
    KITH_CHECK_EQ(mdb_env_set_maxdbs(env, 2), 0);
    KITH_CHECK_EQ(mdb_env_open(env, rig->path, MDB_NOSUBDIR, 0600), 0);
    KITH_CHECK_EQ(mdb_txn_begin(env, NULL, 0, &txn), 0);
    KITH_CHECK_EQ(mdb_dbi_open(txn, "packets", 0, &packets), 0);
    KITH_CHECK_EQ(mdb_put(txn, packets, &key, &value, 0), 0);
    KITH_CHECK_EQ(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

KITH_TEST(store_lmdb_replaces_a_value_that_is_damaged_and_lets_it_go_when_it_is_due)
{
    static const size_t sizes[] = { 0, 7, 8, 8 + KITH_PKARR_PAYLOAD_SIZE_MIN - 1, 8 + KITH_PKARR_PAYLOAD_SIZE_MAX + 1 };
    struct kith_store_stats stats;
    struct kith_pkarr packet = packet_of(1, 100, 20), got;
    struct rig rig;
    size_t count;

    rig_open(&rig, LMDB, 1);
    put(&rig, &packet, 5);
    commit(&rig);
    for (size_t i = 0; i < KITH_COUNT(sizes); i++) {
        rig.store->ops->free(rig.store);
        spoil(&rig, 1, sizes[i]);
        KITH_CHECK_EQ(rig_start(&rig, kith_mem_default(), 1), 0);
        KITH_CHECK_EQ(get(&rig, 1, &got, NULL), KITH_ERR_STATE);
        KITH_CHECK_EQ(put(&rig, &packet, 6 + i), KITH_STORE_UPDATED);
        commit(&rig);
        KITH_CHECK_EQ(get(&rig, 1, &got, NULL), 0);
        KITH_CHECK_BYTES(got.bytes, packet.bytes, packet.size);
    }
    rig.store->ops->free(rig.store);
    spoil(&rig, 1, 3);
    KITH_CHECK_EQ(rig_start(&rig, kith_mem_default(), 1), 0);
    KITH_CHECK_EQ(rig.store->ops->expire(rig.store, 100, 100, &count), 0);
    commit(&rig);
    rig.store->ops->stats(rig.store, &stats);
    KITH_CHECK_EQ(stats.packets, 0);
    rig_close(&rig);
}

KITH_TEST(store_lmdb_says_what_hinders_it)
{
    struct rig rig = { .kind = LMDB, .path = "/tmp/kith-there-is-no-such-directory/packets" };

    KITH_CHECK_EQ(rig_start(&rig, kith_mem_default(), 0), KITH_ERR_NOT_FOUND);
}

KITH_TEST(store_lmdb_that_has_no_room_left_loses_the_batch_and_nothing_else)
{
    struct kith_store_lmdb_options options = { .mem = kith_mem_default(), .size_max = 1 << 20 };
    struct kith_pkarr packet = packet_of(1, 5, 900);
    enum kith_store_put how;
    struct rig rig;
    int err = 0;

    rig_open(&rig, LMDB, 0);
    rig.store->ops->free(rig.store);
    options.path = rig.path;
    KITH_CHECK_EQ(kith__store_lmdb_open(&options, &rig.store), 0);
    put(&rig, &packet, 1);
    commit(&rig);
    for (uint32_t i = 2; err == 0 && i < 5000; i++) {
        packet = packet_of(i, 5, 900);
        err = rig.store->ops->put(rig.store, &packet, 1, &how);
    }
    KITH_CHECK_EQ(err, KITH_ERR_LIMIT);
    KITH_CHECK_EQ(rig.store->ops->put(rig.store, &packet, 1, &how), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(rig.store->ops->commit(rig.store), KITH_ERR_LIMIT);
    KITH_CHECK(has(&rig, 1) && !has(&rig, 2));
    packet = packet_of(2, 5, 100);
    put(&rig, &packet, 1);
    commit(&rig);
    KITH_CHECK(has(&rig, 2));
    rig_close(&rig);
}
