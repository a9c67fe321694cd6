/* Catalog and target on the simulated file system: full disks, failing calls, lost power. */
#include "base/mem.h"
#include "base/test.h"
#include "blobs/catalog.h"
#include "blobs/target.h"
#include "rt/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
    struct kith_sim *sim;
    struct kith_sim_host *host;
    struct kith_rt *rt;
};

static void world_open_seeded(struct world *world, uint64_t seed)
{
    struct kith_sim_host_options options = { .name = "one" };

    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, kith__test_seed(1) + seed, &world->sim), 0);
    KITH_CHECK_EQ(kith__sim_host_new(world->sim, &options, &world->host), 0);
    world->rt = kith__sim_rt(world->host);
}

static void world_open(struct world *world)
{
    world_open_seeded(world, 0);
}

static uint8_t *pattern(size_t size)
{
    uint8_t *bytes = malloc(size + 1);

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i % 251);
    return bytes;
}

static void file_put(struct world *world, const char *path, const void *bytes, size_t size)
{
    struct kith_rt_file *file;

    KITH_CHECK_EQ(
        kith__rt_file_open(world->rt, NULL, path, KITH_RT_WRITE | KITH_RT_CREATE | KITH_RT_TRUNCATE, 0644, &file), 0);
    KITH_CHECK_EQ(kith__rt_file_pwrite(file, bytes, size, 0), 0);
    kith__rt_file_close(file);
}

/* True if the file holds exactly these bytes. */
static bool file_is(struct world *world, const char *path, const uint8_t *bytes, size_t size)
{
    struct kith_rt_file *file;
    uint8_t *got_bytes = malloc(size + 1);
    size_t got = 0;
    bool is_equal;

    if (kith__rt_file_open(world->rt, NULL, path, KITH_RT_READ, 0, &file) != 0) {
        free(got_bytes);
        return false;
    }
    KITH_CHECK_EQ(kith__rt_file_pread(file, got_bytes, size + 1, 0, &got), 0);
    kith__rt_file_close(file);
    is_equal = got == size && memcmp(got_bytes, bytes, size) == 0;
    free(got_bytes);
    return is_equal;
}

static bool exists(struct world *world, const char *path)
{
    struct kith_rt_stat stat;

    return kith__rt_stat(world->rt, NULL, path, false, &stat) == 0;
}

static bool count_entry(void *ctx, const char *name)
{
    (void)name;
    ++*(int *)ctx;
    return true;
}

static int entries_in(struct world *world, const char *path)
{
    struct kith_rt_dir *dir;
    int count = 0;

    KITH_CHECK_EQ(kith__rt_dir_open(world->rt, NULL, path, 0, &dir), 0);
    KITH_CHECK_EQ(kith__rt_dir_read(dir, count_entry, &count), 0);
    kith__rt_dir_close(dir);
    return count;
}

/* Adds a file in slices of one group's reading; *hashed: whether it had to be read. */
static struct kith_hash add_file(struct kith_catalog *catalog, const char *path, bool *hashed)
{
    struct kith_catalog_add add;
    struct kith_hash hash;
    int err;

    KITH_CHECK_EQ(kith__catalog_add_begin(&add, catalog, path), 0);
    *hashed = !add.is_done;
    while ((err = kith__catalog_add_step(&add, 1)) == KITH_ERR_AGAIN)
        ;
    KITH_CHECK_EQ(err, 0);
    hash = add.hash;
    kith__catalog_add_dispose(&add);
    return hash;
}

/* Gets from a catalog into a target; die_after: bytes of answers that come through. */
static int get(struct world *world, struct kith_catalog *catalog, const struct kith_target_options *options,
               const struct kith_getter_options *wanted, uint64_t die_after)
{
    struct kith_blob_store from = kith__catalog_store(catalog);
    struct kith_get_store to;
    struct kith_target target;
    struct kith_getter getter;
    int err = kith__target_init(&target, kith_mem_default(), world->rt, options, wanted);

    if (err != 0)
        return err;
    to = kith__target_store(&target);
    KITH_CHECK_EQ(kith__getter_init(&getter, kith_mem_default(), wanted, &to), 0);
    while (getter.step != KITH_GETTER_DONE && getter.step != KITH_GETTER_FAILED) {
        struct kith_provider provider;
        struct kith_slice bytes;
        bool going = true;

        if (getter.step == KITH_GETTER_WORK) {
            kith__getter_work(&getter);
            continue;
        }
        kith__provider_init(&provider, kith_mem_default(), &from);
        kith__provider_receive(&provider, kith__getter_request(&getter), true);
        kith__getter_on_requested(&getter);
        while (going && die_after > 0 && kith__provider_peek(&provider, &bytes) == 0) {
            size_t size = bytes.size < die_after ? bytes.size : (size_t)die_after;

            going = kith__getter_receive(&getter, (struct kith_slice) { bytes.ptr, size }) == 0;
            kith__provider_take(&provider, bytes.size);
            die_after -= size;
        }
        if (going)
            kith__getter_on_end(&getter, die_after == 0 ? KITH_ERR_CLOSED_BY_PEER : KITH_ERR_END, 0);
        kith__provider_dispose(&provider);
    }
    err = getter.step == KITH_GETTER_DONE ? 0 : getter.err;
    kith__getter_dispose(&getter);
    kith__target_dispose(&target);
    return err;
}

KITH_TEST(a_file_is_hashed_once_and_found_in_the_cache)
{
    struct world world;
    struct kith_catalog catalog;
    struct kith_hash first, second;
    uint8_t *bytes = pattern(3000000);
    bool hashed;

    world_open(&world);
    file_put(&world, "file", bytes, 3000000);
    KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, "cache", 1), 0);
    first = add_file(&catalog, "file", &hashed);
    KITH_CHECK(hashed);
    kith__catalog_dispose(&catalog);
    KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, "cache", 1), 0);
    second = add_file(&catalog, "file", &hashed);
    KITH_CHECK(!hashed);
    KITH_CHECK_EQ(memcmp(&first, &second, sizeof first), 0);
    /* And it is served from the kept hashes. */
    KITH_CHECK_EQ(get(&world, &catalog, &(struct kith_target_options) { .target = "out" },
                      &(struct kith_getter_options) { .hash = first }, UINT64_MAX),
                  0);
    KITH_CHECK(file_is(&world, "out", bytes, 3000000));
    /* Another size is another file. */
    file_put(&world, "file", bytes, 2000000);
    second = add_file(&catalog, "file", &hashed);
    KITH_CHECK(hashed);
    KITH_CHECK_NE(memcmp(&first, &second, sizeof first), 0);
    kith__catalog_dispose(&catalog);
    kith__sim_free(world.sim);
    free(bytes);
}

KITH_TEST(a_file_that_changes_while_it_is_hashed_is_not_added)
{
    struct world world;
    struct kith_catalog catalog;
    struct kith_catalog_add add;
    uint8_t *bytes = pattern(3000000);
    int err;

    world_open(&world);
    file_put(&world, "file", bytes, 3000000);
    KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, "cache", 1), 0);
    KITH_CHECK_EQ(kith__catalog_add_begin(&add, &catalog, "file"), 0);
    KITH_CHECK_EQ(kith__catalog_add_step(&add, 1), KITH_ERR_AGAIN);
    file_put(&world, "file", bytes, 3000001); /* what is read from now on fits what was read before */
    while ((err = kith__catalog_add_step(&add, 1)) == KITH_ERR_AGAIN)
        ;
    KITH_CHECK_EQ(err, KITH_ERR_STATE);
    kith__catalog_add_dispose(&add);
    KITH_CHECK_EQ(entries_in(&world, "cache"), 0);
    kith__catalog_dispose(&catalog);
    kith__sim_free(world.sim);
    free(bytes);
}

KITH_TEST(small_files_leave_nothing_in_the_cache)
{
    struct world world;
    struct kith_catalog catalog;
    struct kith_hash hash;
    uint8_t *bytes = pattern(200000);
    bool hashed;

    world_open(&world);
    file_put(&world, "small", bytes, 100000);
    KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, "cache", 1), 0);
    hash = add_file(&catalog, "small", &hashed);
    KITH_CHECK_EQ(entries_in(&world, "cache"), 0);
    KITH_CHECK_EQ(get(&world, &catalog, &(struct kith_target_options) { .target = "out" },
                      &(struct kith_getter_options) { .hash = hash }, UINT64_MAX),
                  0);
    KITH_CHECK(file_is(&world, "out", bytes, 100000));
    file_put(&world, "larger", bytes, 200000);
    (void)add_file(&catalog, "larger", &hashed);
    KITH_CHECK_EQ(entries_in(&world, "cache"), 2);
    kith__catalog_dispose(&catalog);
    kith__sim_free(world.sim);
    free(bytes);
}

KITH_TEST(a_full_disk_leaves_nothing_under_the_name_and_is_resumed)
{
    struct world world;
    struct kith_catalog catalog;
    struct kith_getter_options wanted = { 0 };
    struct kith_target_options options = { .target = "out" };
    struct kith_sim_fs_faults faults = { .space_max = 2000000 };
    uint8_t *bytes = pattern(3000000);

    world_open(&world);
    KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, NULL, 1), 0);
    KITH_CHECK_EQ(kith__catalog_add_bytes(&catalog, bytes, 3000000, &wanted.hash), 0);
    kith__sim_fs_set_faults(world.host, &faults);
    KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), KITH_ERR_NO_SPACE);
    KITH_CHECK(!exists(&world, "out"));
    faults.space_max = 0;
    kith__sim_fs_set_faults(world.host, &faults);
    KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), 0);
    KITH_CHECK(file_is(&world, "out", bytes, 3000000));
    KITH_CHECK_EQ(entries_in(&world, "."), 1);
    kith__catalog_dispose(&catalog);
    kith__sim_free(world.sim);
    free(bytes);
}

KITH_TEST(lost_power_leaves_the_whole_file_or_none)
{
    uint8_t *bytes = pattern(300000);

    for (uint64_t cut = 20000; cut < 360000; cut += 20000) {
        struct world world;
        struct kith_catalog catalog;
        struct kith_getter_options wanted = { 0 };
        struct kith_target_options options = { .target = "out" };
        bool is_done;

        world_open(&world);
        KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, NULL, 1), 0);
        KITH_CHECK_EQ(kith__catalog_add_bytes(&catalog, bytes, 300000, &wanted.hash), 0);
        is_done = get(&world, &catalog, &options, &wanted, cut) == 0;
        KITH_CHECK_EQ(exists(&world, "out"), is_done);
        kith__sim_fs_crash(world.host, true);
        KITH_CHECK_EQ(exists(&world, "out"), is_done);
        if (is_done)
            KITH_CHECK(file_is(&world, "out", bytes, 300000));
        else
            KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), 0);
        KITH_CHECK(file_is(&world, "out", bytes, 300000));
        kith__catalog_dispose(&catalog);
        kith__sim_free(world.sim);
    }
    free(bytes);
}

/* A collection of two files, made by hand. */
static struct kith_hash make_collection(struct kith_catalog *catalog, const uint8_t *bytes, size_t a_size,
                                        size_t b_size)
{
    struct kith_buf names;
    struct kith_hash hashes[3], root;

    kith__buf_init(&names, kith_mem_default());
    KITH_CHECK_EQ(kith__collection_begin(&names, 2), 0);
    KITH_CHECK_EQ(kith__collection_append_name(&names, (struct kith_slice) { (const uint8_t *)"d/a", 3 }), 0);
    KITH_CHECK_EQ(kith__collection_append_name(&names, (struct kith_slice) { (const uint8_t *)"d/e/b", 5 }), 0);
    KITH_CHECK_EQ(kith__catalog_add_bytes(catalog, names.ptr, names.size, &hashes[0]), 0);
    KITH_CHECK_EQ(kith__catalog_add_bytes(catalog, bytes, a_size, &hashes[1]), 0);
    KITH_CHECK_EQ(kith__catalog_add_bytes(catalog, bytes, b_size, &hashes[2]), 0);
    KITH_CHECK_EQ(kith__catalog_add_bytes(catalog, hashes, sizeof hashes, &root), 0);
    kith__buf_dispose(&names);
    return root;
}

KITH_TEST(every_failing_call_of_the_file_system_is_a_clean_error)
{
    uint8_t *bytes = pattern(40000);
    bool was_hit = true;

    for (uint64_t n = 1; was_hit; n++) {
        struct world world;
        struct kith_catalog catalog;
        struct kith_getter_options wanted = { .format = KITH_BLOB_HASH_SEQ };
        struct kith_target_options options = { .target = "out" };
        struct kith_sim_fs_faults faults = { .fail_at = n, .fail_err = KITH_ERR_IO };

        KITH_CHECK(n < 200);
        world_open(&world);
        KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, NULL, 1), 0);
        wanted.hash = make_collection(&catalog, bytes, 100, 40000);
        kith__sim_fs_set_faults(world.host, &faults);
        was_hit = get(&world, &catalog, &options, &wanted, UINT64_MAX) != 0;
        /* Whatever is there under a final name is whole. */
        KITH_CHECK(!exists(&world, "out/d/a") || file_is(&world, "out/d/a", bytes, 100));
        KITH_CHECK(!exists(&world, "out/d/e/b") || file_is(&world, "out/d/e/b", bytes, 40000));
        if (was_hit) {
            options.replace = true;
            KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), 0);
        }
        KITH_CHECK(file_is(&world, "out/d/a", bytes, 100));
        KITH_CHECK(file_is(&world, "out/d/e/b", bytes, 40000));
        kith__catalog_dispose(&catalog);
        kith__sim_free(world.sim);
    }
    free(bytes);
}

KITH_TEST(two_receivers_do_not_share_unfinished_files)
{
    struct world world;
    struct kith_catalog catalog;
    struct kith_getter_options wanted = { 0 };
    struct kith_target_options options = { .target = "out" }, elsewhere = { .target = "out", .partial_directory = "p" };
    struct kith_target first;
    uint8_t *bytes = pattern(40000);

    world_open(&world);
    KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, NULL, 1), 0);
    KITH_CHECK_EQ(kith__catalog_add_bytes(&catalog, bytes, 40000, &wanted.hash), 0);
    KITH_CHECK_EQ(kith__target_init(&first, kith_mem_default(), world.rt, &options, &wanted), 0);
    KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), KITH_ERR_STATE);
    KITH_CHECK(!exists(&world, "out"));
    kith__target_dispose(&first);
    KITH_CHECK_EQ(entries_in(&world, "."), 0); /* the lock's file is gone with it */
    KITH_CHECK_EQ(kith__target_init(&first, kith_mem_default(), world.rt, &elsewhere, &wanted), 0);
    KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), 0);
    kith__target_dispose(&first);
    kith__catalog_dispose(&catalog);
    kith__sim_free(world.sim);
    free(bytes);
}

KITH_TEST(two_receivers_do_not_share_an_unfinished_collection)
{
    struct world world;
    struct kith_catalog catalog;
    struct kith_getter_options wanted = { .format = KITH_BLOB_HASH_SEQ };
    struct kith_target_options options = { .target = "out" };
    struct kith_collection no_names = { 0 };
    struct kith_get_store store;
    struct kith_target first;
    uint8_t *bytes = pattern(40000);

    world_open(&world);
    KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, NULL, 1), 0);
    wanted.hash = make_collection(&catalog, bytes, 100, 40000);
    KITH_CHECK_EQ(kith__target_init(&first, kith_mem_default(), world.rt, &options, &wanted), 0);
    store = kith__target_store(&first);
    KITH_CHECK_EQ(store.accept(&first, &no_names), 0);
    KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), KITH_ERR_STATE);
    KITH_CHECK(!exists(&world, "out/d"));
    kith__target_dispose(&first);
    KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), 0);
    KITH_CHECK_EQ(entries_in(&world, "out"), 1);
    kith__catalog_dispose(&catalog);
    kith__sim_free(world.sim);
    free(bytes);
}

KITH_TEST(a_collection_is_not_put_over_what_exists)
{
    struct world world;
    struct kith_catalog catalog;
    struct kith_getter_options wanted = { .format = KITH_BLOB_HASH_SEQ };
    struct kith_target_options options = { .target = "out", .partial_directory = "parts" };
    struct kith_rt_dir *dir;
    uint8_t *bytes = pattern(40000);

    world_open(&world);
    KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, NULL, 1), 0);
    wanted.hash = make_collection(&catalog, bytes, 100, 40000);
    KITH_CHECK_EQ(kith__rt_dir_open(world.rt, NULL, "out", KITH_RT_CREATE, &dir), 0);
    kith__rt_dir_close(dir);
    KITH_CHECK_EQ(kith__rt_dir_open(world.rt, NULL, "out/d", KITH_RT_CREATE, &dir), 0);
    kith__rt_dir_close(dir);
    file_put(&world, "out/d/a", "mine", 4);
    KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), KITH_ERR_EXISTS);
    KITH_CHECK(file_is(&world, "out/d/a", (const uint8_t *)"mine", 4));
    KITH_CHECK(!exists(&world, "out/d/e"));
    options.replace = true;
    KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), 0);
    KITH_CHECK(file_is(&world, "out/d/a", bytes, 100));
    KITH_CHECK_EQ(entries_in(&world, "parts"), 0);
    KITH_CHECK_EQ(entries_in(&world, "out"), 1);
    kith__catalog_dispose(&catalog);
    kith__sim_free(world.sim);
    free(bytes);
}

/* ---- Many files, few syncs ---- */

enum { MANY = 40, SMALL_SIZE = 1500 };

/* Files 0 to count - 1 as d<i % 3>/f<i>, each of its own content. */
static struct kith_hash make_many(struct kith_catalog *catalog, const uint8_t *bytes, int count)
{
    struct kith_hash hashes[1 + MANY], root;
    struct kith_buf names;

    kith__buf_init(&names, kith_mem_default());
    KITH_CHECK_EQ(kith__collection_begin(&names, (size_t)count), 0);
    for (int i = 0; i < count; i++) {
        char text[16];
        struct kith_slice name = { (const uint8_t *)text, (size_t)snprintf(text, sizeof text, "d%d/f%d", i % 3, i) };

        KITH_CHECK_EQ(kith__collection_append_name(&names, name), 0);
        KITH_CHECK_EQ(kith__catalog_add_bytes(catalog, bytes + i, SMALL_SIZE, &hashes[1 + i]), 0);
    }
    KITH_CHECK_EQ(kith__catalog_add_bytes(catalog, names.ptr, names.size, &hashes[0]), 0);
    KITH_CHECK_EQ(kith__catalog_add_bytes(catalog, hashes, (size_t)(1 + count) * sizeof hashes[0], &root), 0);
    kith__buf_dispose(&names);
    return root;
}

/* How many of the files are there; what is there must be whole. */
static int whole_files(struct world *world, const uint8_t *bytes, int count)
{
    int found = 0;

    for (int i = 0; i < count; i++) {
        char path[32];

        snprintf(path, sizeof path, "out/d%d/f%d", i % 3, i);
        if (!exists(world, path))
            continue;
        KITH_CHECK(file_is(world, path, bytes + i, SMALL_SIZE));
        found++;
    }
    return found;
}

/* Stops at change n of the file system, then loses power: what has a final name is whole, and what was reported stays. */
static bool stop_and_lose_power(const uint8_t *bytes, int count, uint64_t n, bool is_torn)
{
    struct world world;
    struct kith_catalog catalog;
    struct kith_getter_options wanted = { .format = KITH_BLOB_HASH_SEQ };
    struct kith_target_options options = { .target = "out" };
    struct kith_sim_fs_faults faults = { .fail_at = n, .fail_err = KITH_ERR_IO };
    bool was_hit;

    world_open_seeded(&world, n); /* a disk keeps other things each time */
    KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, NULL, 1), 0);
    wanted.hash = make_many(&catalog, bytes, count);
    kith__sim_fs_set_faults(world.host, &faults);
    was_hit = get(&world, &catalog, &options, &wanted, UINT64_MAX) != 0;
    kith__sim_fs_crash(world.host, is_torn);
    KITH_CHECK(whole_files(&world, bytes, count) == count || was_hit);
    options.replace = true;
    kith__sim_fs_set_faults(world.host, &(struct kith_sim_fs_faults) { 0 });
    KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, UINT64_MAX), 0);
    KITH_CHECK_EQ(whole_files(&world, bytes, count), count);
    kith__catalog_dispose(&catalog);
    kith__sim_free(world.sim);
    return was_hit;
}

KITH_TEST(files_stopped_at_any_write_and_lost_power_are_whole_or_absent)
{
    static const int counts[] = { 3, MANY }; /* one by one, and together */
    uint8_t *bytes = pattern(SMALL_SIZE + MANY);

    for (size_t i = 0; i < KITH_COUNT(counts); i++) {
        uint64_t n = 1;
        int misses = 0; /* in a row: a leftover that cannot be removed ends nothing */

        for (; misses < 8; n++)
            misses = stop_and_lose_power(bytes, counts[i], n, n % 2 != 0) ? 0 : misses + 1;
        KITH_CHECK(n > 3 * (uint64_t)counts[i] && n < 1000);
    }
    free(bytes);
}

KITH_TEST(small_files_are_resumed_although_nothing_lies_beside_them)
{
    struct world world;
    struct kith_catalog catalog;
    struct kith_getter_options wanted = { .format = KITH_BLOB_HASH_SEQ };
    struct kith_target_options options = { .target = "out" };
    uint8_t *bytes = pattern(SMALL_SIZE + MANY);
    /* Root and names, the last chunks that prove the sizes, then the files: 24 and 60 KB. */
    uint64_t part = 60000;

    world_open(&world);
    KITH_CHECK_EQ(kith__catalog_init(&catalog, kith_mem_default(), world.rt, NULL, 1), 0);
    wanted.hash = make_many(&catalog, bytes, MANY);
    KITH_CHECK_NE(get(&world, &catalog, &options, &wanted, part), 0);
    KITH_CHECK_NE(get(&world, &catalog, &options, &wanted, 10000), 0); /* dies before any file comes */
    KITH_CHECK_EQ(whole_files(&world, bytes, MANY), 0);
    KITH_CHECK_EQ(get(&world, &catalog, &options, &wanted, part), 0);
    KITH_CHECK_EQ(whole_files(&world, bytes, MANY), MANY);
    kith__catalog_dispose(&catalog);
    kith__sim_free(world.sim);
    free(bytes);
}
