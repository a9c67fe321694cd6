/* qlog and key log files. */
#include "api/logs.h"

#include "base/list.h"
#include "base/mem.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { QLOG_FILES_OPEN_MAX = 64 }; /* at once; the one written longest ago is closed (and opened again when needed) */

struct qlog_file {
    struct kith_list node; /* written last first */
    uint64_t serial;
    struct kith_rt_file *file;
};

struct kith_endpoint_logs {
    struct kith_rt *rt;
    struct kith_rt_file *key_log;
    char *qlog_directory;
    uint64_t started_ms;
    struct kith_list qlogs;
    size_t qlog_count;
};

static void write_key_log(void *ctx, const char *line)
{
    struct kith_endpoint_logs *logs = ctx;

    if (logs->key_log == NULL)
        return;
    if (kith__rt_file_write(logs->key_log, line, strlen(line)) != 0 ||
        kith__rt_file_write(logs->key_log, "\n", 1) != 0) {
        kith__log(&logs->rt->log, KITH_LOG_WARN, "api", "the key log cannot be written; it ends here");
        kith__rt_file_close(logs->key_log);
        logs->key_log = NULL;
    }
}

static void close_qlog(struct kith_endpoint_logs *logs, struct qlog_file *one)
{
    kith__rt_file_close(one->file);
    kith__list_remove(&one->node);
    kith__free(logs->rt->mem, one);
    logs->qlog_count--;
}

static struct qlog_file *open_qlog(struct kith_endpoint_logs *logs, uint64_t serial)
{
    struct qlog_file *one = kith__alloc_zero(logs->rt->mem, sizeof *one);
    char path[KITH_RT_PATH_MAX];
    struct kith_rt_stat stat;
    int err;

    if (one == NULL)
        return NULL;
    snprintf(path, sizeof path, "%s/%" PRIu64 "-%" PRIu64 ".qlog", logs->qlog_directory, logs->started_ms, serial);
    err = kith__rt_file_open(logs->rt, NULL, path, KITH_RT_WRITE | KITH_RT_CREATE, 0600, &one->file);
    if (err != 0 || kith__rt_file_stat(one->file, &stat) != 0) {
        kith__log(&logs->rt->log, KITH_LOG_WARN, "api", "%s cannot be written: %s", path, kith_strerror(err));
        kith__free(logs->rt->mem, one);
        return NULL;
    }
    one->serial = serial;
    if (logs->qlog_count == QLOG_FILES_OPEN_MAX)
        close_qlog(logs, KITH_CONTAINER(logs->qlogs.prev, struct qlog_file, node));
    kith__list_push_front(&logs->qlogs, &one->node);
    logs->qlog_count++;
    return one;
}

static struct qlog_file *find_qlog(struct kith_endpoint_logs *logs, uint64_t serial)
{
    KITH_LIST_EACH(node, &logs->qlogs)
    {
        struct qlog_file *one = KITH_CONTAINER(node, struct qlog_file, node);

        if (one->serial != serial)
            continue;
        kith__list_remove(node);
        kith__list_push_front(&logs->qlogs, node);
        return one;
    }
    return open_qlog(logs, serial);
}

/* Records come with their separators; a file may have been closed in between, so each goes to the end. */
static void write_qlog(void *ctx, uint64_t conn_serial, const char *record)
{
    struct kith_endpoint_logs *logs = ctx;
    struct qlog_file *one = find_qlog(logs, conn_serial);
    struct kith_rt_stat stat;

    if (one == NULL)
        return;
    if (kith__rt_file_stat(one->file, &stat) != 0 ||
        kith__rt_file_pwrite(one->file, record, strlen(record), stat.size) != 0) {
        kith__log(&logs->rt->log, KITH_LOG_WARN, "api", "a qlog file cannot be written; it ends here");
        close_qlog(logs, one);
    }
}

int kith__endpoint_logs_new(struct kith_rt *rt, const struct kith_endpoint_options *options,
                            struct kith_quic_host_options *host, struct kith_endpoint_logs **out)
{
    struct kith_endpoint_logs *logs;
    int err = KITH_ERR_NOMEM;

    if (options->qlog_directory == NULL && options->key_log_file == NULL)
        return 0;
    if ((logs = kith__alloc_zero(rt->mem, sizeof *logs)) == NULL)
        return KITH_ERR_NOMEM;
    logs->rt = rt;
    logs->started_ms = kith__rt_wall_us(rt) / 1000;
    kith__list_init(&logs->qlogs);
    host->sink_ctx = logs;
    if (options->key_log_file != NULL) {
        err = kith__rt_file_open(rt, NULL, options->key_log_file, KITH_RT_WRITE | KITH_RT_CREATE | KITH_RT_TRUNCATE,
                                 0600, &logs->key_log);
        if (err != 0)
            goto fail;
        host->key_log = write_key_log;
        host->transport.key_log = true;
    }
    if (options->qlog_directory != NULL) {
        size_t size = strlen(options->qlog_directory) + 1;

        err = KITH_ERR_NOMEM;
        if ((logs->qlog_directory = kith__alloc(rt->mem, size)) == NULL)
            goto fail;
        memcpy(logs->qlog_directory, options->qlog_directory, size);
        host->qlog = write_qlog;
        host->transport.qlog = true;
    }
    *out = logs;
    return 0;
fail:
    kith__endpoint_logs_free(logs);
    return err;
}

bool kith__endpoint_logs_has_key_log(const struct kith_endpoint_logs *logs)
{
    return logs != NULL && logs->key_log != NULL;
}

bool kith__endpoint_logs_has_qlog(const struct kith_endpoint_logs *logs)
{
    return logs != NULL && logs->qlog_directory != NULL;
}

void kith__endpoint_logs_free(struct kith_endpoint_logs *logs)
{
    if (logs == NULL)
        return;
    KITH_LIST_EACH_SAFE(node, after, &logs->qlogs)
    close_qlog(logs, KITH_CONTAINER(node, struct qlog_file, node));
    kith__rt_file_close(logs->key_log);
    kith__free(logs->rt->mem, logs->qlog_directory);
    kith__free(logs->rt->mem, logs);
}
