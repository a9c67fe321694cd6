/* From what the user of kith/dns.h gives to what the parts of a lookup server take. */
#include "server/dns_setup.h"

#include "base/random.h"
#include "zone/store_lmdb.h"
#include "zone/store_memory.h"
#include <stdio.h>

int kith__dns_options_check(const struct kith_dns_server_options *options, struct kith_server_why *why)
{
    bool has_tls = options->tls != NULL && options->tls->source != KITH_CERTIFICATE_NONE;
    int err;

    if ((err = kith__server_check_binds(options->dns, options->dns_count, "dns", why)) != 0 ||
        (err = kith__server_check_binds(options->http, options->http_count, "http", why)) != 0 ||
        (err = kith__server_check_binds(options->https, options->https_count, "https", why)) != 0 ||
        (err = kith__server_check_binds(options->metrics, options->metrics_count, "metrics", why)) != 0 ||
        (err = kith__server_check_tls(options->tls, why)) != 0)
        return err;
    if (options->https_count != 0 && !has_tls)
        return kith__server_why(why, KITH_ERR_INVALID, "https needs a certificate");
    if (options->dns_count + options->http_count + options->https_count == 0)
        return kith__server_why(why, KITH_ERR_INVALID, "there is nothing to serve: no address for dns, http or https");
    if (options->worker_count > KITH_DNS_SERVER_THREADS_MAX)
        return kith__server_why(why, KITH_ERR_INVALID, "more than %d workers", KITH_DNS_SERVER_THREADS_MAX);
    if (options->dht != NULL && options->dht->bootstrap_count > KITH_DNS_SERVER_BOOTSTRAP_MAX)
        return kith__server_why(why, KITH_ERR_INVALID, "more than %d nodes to join the DHT through",
                                KITH_DNS_SERVER_BOOTSTRAP_MAX);
    return 0;
}

int kith__dns_zone_make(const struct kith_mem *mem, const struct kith_dns_origin *origins, size_t count,
                        struct kith_zone **out, struct kith_server_why *why)
{
    struct kith_zone_problem problem;
    int err = kith__zone_new(mem, origins, count, out, &problem);

    if (err == 0)
        return 0;
    if (err == KITH_ERR_NOMEM)
        return kith__server_why(why, err, "no memory for origins");
    if (count == 0 || count > KITH_DNS_SERVER_ORIGINS_MAX || origins == NULL)
        return kith__server_why(why, err, "there must be 1 to %d origins", KITH_DNS_SERVER_ORIGINS_MAX);
    return kith__server_why(why, err, "%s of the origin %.100s is wrong: %s", problem.what,
                            origins[problem.origin].name != NULL ? origins[problem.origin].name : "(without a name)",
                            kith_strerror(err));
}

static int make_directory(struct kith_rt *rt, const char *path, struct kith_server_why *why)
{
    struct kith_rt_stat stat;
    int err;

    /* A sandbox may forbid to make it, but then it is there. */
    if (kith__rt_stat(rt, NULL, path, true, &stat) == 0 && stat.kind == KITH_RT_KIND_DIR)
        return 0;
    err = kith__rt_mkdir(rt, NULL, path, 0700);
    return err == 0 || err == KITH_ERR_EXISTS
               ? 0
               : kith__server_why(why, err, "the data directory cannot be made: %s: %s", path, kith_strerror(err));
}

/* Two servers on one store would each believe that they know it all. */
static int take_directory(struct kith_rt *rt, const char *directory, struct kith_rt_file **lock,
                          struct kith_server_why *why)
{
    char path[KITH_RT_PATH_MAX + 1];
    struct kith_rt_file *file;
    int err;

    snprintf(path, sizeof path, "%s/lock", directory);
    err = kith__rt_file_open(rt, NULL, path, KITH_RT_READ | KITH_RT_WRITE | KITH_RT_CREATE | KITH_RT_REGULAR, 0600,
                             &file);
    if (err != 0)
        return kith__server_why(why, err, "%s cannot be opened: %s", path, kith_strerror(err));
    if ((err = kith__rt_file_lock(file)) == 0) {
        *lock = file;
        return 0;
    }
    kith__rt_file_close(file);
    if (err == KITH_ERR_AGAIN)
        return kith__server_why(why, KITH_ERR_STATE, "another process uses the data directory %s", directory);
    return kith__server_why(why, err, "%s cannot be locked: %s", path, kith_strerror(err));
}

static int open_lmdb(const struct kith_mem *mem, const struct kith_dns_server_options *options, uint64_t packets_max,
                     struct kith_store **out, struct kith_server_why *why)
{
    char path[KITH_RT_PATH_MAX + 1];
    struct kith_store_lmdb_options lmdb = { .mem = mem, .path = path, .packets_max = packets_max };
    int err;

    snprintf(path, sizeof path, "%s/packets.mdb", options->data_dir);
    if (options->storage != NULL)
        lmdb.size_max = options->storage->size_max;
    if ((err = kith__store_lmdb_open(&lmdb, out)) == 0)
        return 0;
    return kith__server_why(why, err, "the store cannot be opened: %s: %s", path,
                            err == KITH_ERR_STATE ? "it is damaged, or no store; it was left as it is. Move it away to "
                                                    "begin with an empty one: endpoints publish again within minutes"
                                                  : kith_strerror(err));
}

int kith__dns_store_make(struct kith_rt *rt, const struct kith_mem *mem, const struct kith_sync *sync,
                         const struct kith_dns_server_options *options, uint64_t packets_max, struct kith_store **out,
                         struct kith_rt_file **lock, struct kith_server_why *why)
{
    struct kith_store_memory_options memory = {
        .mem = mem, .sync = sync, .seed = kith__random_u64(kith__rt_random(rt)), .packets_max = packets_max
    };
    int err;

    *lock = NULL;
    if (options->data_dir == NULL) {
        if ((err = kith__store_memory_new(&memory, out)) != 0)
            kith__server_why(why, err, "no memory for a store");
        return err;
    }
    if (strlen(options->data_dir) > KITH_RT_PATH_MAX - 32)
        return kith__server_why(why, KITH_ERR_INVALID, "the name of the data directory is too long");
    if ((err = make_directory(rt, options->data_dir, why)) != 0 ||
        (err = take_directory(rt, options->data_dir, lock, why)) != 0)
        return err;
    if ((err = open_lmdb(mem, options, packets_max, out, why)) != 0) {
        kith__rt_file_close(*lock);
        *lock = NULL;
    }
    return err;
}
