/**
 * Between the calls of rt.h and the two implementations: the table of functions and the common heads of their objects.
 * Only files below src/rt include this.
 */
#ifndef KITH_RT_OPS_H
#define KITH_RT_OPS_H

#include "base/list.h"
#include "rt/rt.h"

/* The heads below are the first member of each implementation's own struct. */

struct kith_rt_udp {
    struct kith_rt *rt;
    struct kith_rt_udp_events events;
    struct kith_rt_udp_stats stats;
    struct kith_rt_udp_features features;
    struct kith_sockaddr local;
    bool is_blocked;
};

struct kith_rt_stream {
    struct kith_rt *rt;
    struct kith_rt_stream_events events;
};

struct kith_rt_listener {
    struct kith_rt *rt;
    void (*on_accept)(void *ctx, struct kith_rt_stream *stream);
    void *ctx;
    struct kith_sockaddr local;
    struct kith_rt_listener_stats stats;
};

struct kith_rt_signal {
    struct kith_rt *rt;
    void (*on_signal)(void *ctx);
    void *ctx;
    enum kith_rt_signal_kind kind;
};

struct kith_rt_resolve {
    struct kith_rt *rt;
    void (*done)(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count);
    void *ctx;
    uint16_t port;
    uint8_t family; /* enum kith_family; NONE: both */
    bool is_asked;  /* of rt->resolver */
};

struct kith_rt_watch {
    struct kith_rt *rt;
    void (*on_change)(void *ctx);
    void *ctx;
};

struct kith_rt_file {
    struct kith_rt *rt;
};

struct kith_rt_dir {
    struct kith_rt *rt;
};

/** One implementation. Each function has the contract of the call of the same name; arguments were checked. */
struct kith_rt_ops {
    void (*free)(struct kith_rt *rt);
    uint64_t (*now)(const struct kith_rt *rt);
    uint64_t (*wall_us)(const struct kith_rt *rt);
    void (*timers_changed)(struct kith_rt *rt); /* the first deadline may be another one now */
    int (*fd)(const struct kith_rt *rt);
    bool (*is_ready)(const struct kith_rt *rt); /* process has work besides timers, without a descriptor to say so */
    void (*process)(struct kith_rt *rt);
    void (*wait)(struct kith_rt *rt, uint64_t until_ns);
    void (*wake)(struct kith_rt *rt);

    int (*udp_open)(struct kith_rt *rt, const struct kith_rt_udp_options *options,
                    const struct kith_rt_udp_events *events, struct kith_rt_udp **out);
    void (*udp_close)(struct kith_rt_udp *udp);
    void (*udp_send)(struct kith_rt_udp *udp, const struct kith_quic_transmit *transmit, const uint8_t *bytes);

    int (*interfaces)(struct kith_rt *rt, struct kith_rt_interface *out, size_t cap, size_t *count);
    int (*watch_open)(struct kith_rt *rt, const struct kith_rt_watch *watch_head, struct kith_rt_watch **out);
    void (*watch_close)(struct kith_rt_watch *watch);
    int (*resolve)(struct kith_rt *rt, const char *host, struct kith_rt_resolve *resolve_head,
                   struct kith_rt_resolve **out);
    void (*resolve_cancel)(struct kith_rt_resolve *resolve);

    int (*stream_connect)(struct kith_rt *rt, const struct kith_rt_stream_addr *to,
                          const struct kith_rt_stream_events *events, struct kith_rt_stream **out);
    int (*stream_open_stdio)(struct kith_rt *rt, int descriptor, const struct kith_rt_stream_events *events,
                             struct kith_rt_stream **out);
    void (*stream_read_start)(struct kith_rt_stream *stream);
    void (*stream_read_stop)(struct kith_rt_stream *stream);
    int (*stream_write)(struct kith_rt_stream *stream, const struct kith_slice *slices, size_t count);
    int (*stream_shutdown)(struct kith_rt_stream *stream);
    void (*stream_close)(struct kith_rt_stream *stream);
    struct kith_sockaddr (*stream_address)(const struct kith_rt_stream *stream, bool is_remote);
    void (*stream_set_timeout)(struct kith_rt_stream *stream, uint64_t timeout_ns);
    int (*listen)(struct kith_rt *rt, const struct kith_rt_listen_options *options,
                  void (*on_accept)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                  struct kith_rt_listener **out);
    void (*listener_close)(struct kith_rt_listener *listener);
    void (*listener_set_paused)(struct kith_rt_listener *listener, bool is_paused);
    int (*signal_open)(struct kith_rt *rt, const struct kith_rt_signal *signal_head, struct kith_rt_signal **out);
    void (*signal_close)(struct kith_rt_signal *signal);

    int (*file_open)(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, unsigned flags, uint32_t mode,
                     struct kith_rt_file **out);
    void (*file_close)(struct kith_rt_file *file);
    int (*file_read)(struct kith_rt_file *file, void *bytes, size_t size, size_t *done);
    int (*file_pread)(struct kith_rt_file *file, void *bytes, size_t size, uint64_t offset, size_t *done);
    int (*file_write)(struct kith_rt_file *file, const void *bytes, size_t size);
    int (*file_pwrite)(struct kith_rt_file *file, const void *bytes, size_t size, uint64_t offset);
    int (*file_sync)(struct kith_rt_file *file);
    int (*file_lock)(struct kith_rt_file *file);
    int (*file_truncate)(struct kith_rt_file *file, uint64_t size);
    int (*file_stat)(struct kith_rt_file *file, struct kith_rt_stat *out);
    int (*dir_open)(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, unsigned flags,
                    struct kith_rt_dir **out);
    void (*dir_close)(struct kith_rt_dir *dir);
    int (*dir_sync)(struct kith_rt_dir *dir);
    int (*dir_sync_all)(struct kith_rt_dir *dir);
    int (*dir_read)(struct kith_rt_dir *dir, bool (*each)(void *ctx, const char *name), void *ctx);
    int (*stat)(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, bool follow, struct kith_rt_stat *out);
    int (*mkdir)(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, uint32_t mode);
    int (*unlink)(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, bool is_dir);
    int (*rename)(struct kith_rt *rt, struct kith_rt_dir *from_dir, const char *from, struct kith_rt_dir *to_dir,
                  const char *to, bool overwrite);
};

/** Prepares the head of an rt. Cannot fail. */
void kith__rt_init(struct kith_rt *rt, const struct kith_rt_ops *ops, const struct kith_mem *mem,
                   const struct kith_log *log, const struct kith_random *random);
/** Frees what the head holds; all timers were disposed of. */
void kith__rt_dispose(struct kith_rt *rt);
/** Fires what is due at now_ns, each timer at most once per armed time, at most as many as there are timers. */
void kith__rt_fire_timers(struct kith_rt *rt, uint64_t now_ns);
/** When the first timer is due; KITH_NEVER. */
uint64_t kith__rt_first_timer(const struct kith_rt *rt);
/** Calls a hook if it is there. */
void kith__rt_call_wake(struct kith_rt *rt);
void kith__rt_call_turn_end(struct kith_rt *rt);

/** How many datagrams a transmit holds. */
static inline size_t kith__rt_segments(size_t size, size_t segment_size)
{
    return segment_size == 0 || size <= segment_size ? 1 : (size + segment_size - 1) / segment_size;
}

#endif
